/* Words as little-endian bytes, and words of a few bits next to one another. Used by the column
 * encodings, whose inner loops these are. No function here allocates or fails: sizes are the
 * caller's to check. */
#ifndef FP_CODEC_BITS_H
#define FP_CODEC_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* fp_bits_pack may write this many bytes past the end of what it packs. */
#define FP_BITS_SLACK 16

/* Compilers know the answer, so the test costs nothing where it is used. */
static inline bool fp_machine_is_little_endian(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static inline uint64_t fp_word_swap(uint64_t word)
{
    word = (word & 0x00ff00ff00ff00ffu) << 8 | (word >> 8 & 0x00ff00ff00ff00ffu);
    word = (word & 0x0000ffff0000ffffu) << 16 | (word >> 16 & 0x0000ffff0000ffffu);
    return word << 32 | word >> 32;
}

/* One word at any address. Inline, unlike fp_load_u64: these run once per value. */
static inline uint64_t fp_word_load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return fp_machine_is_little_endian() ? word : fp_word_swap(word);
}

static inline void fp_word_store(uint8_t *at, uint64_t word)
{
    if (!fp_machine_is_little_endian())
        word = fp_word_swap(word);
    memcpy(at, &word, sizeof word);
}

static inline uint16_t fp_half_load(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline void fp_half_store(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

/* A word of which each byte is `byte`. */
#define FP_EIGHT_TIMES(byte) ((uint64_t)(byte)*0x0101010101010101u)

/* How many bits it takes to write `value`: 0 for 0. */
static inline unsigned fp_bit_length(uint64_t value)
{
    return value ? 64u - (unsigned)__builtin_clzll(value) : 0;
}

static inline uint64_t fp_low_mask(unsigned width)
{
    return width >= 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
}

/* A double's bits, and the way back. */
static inline uint64_t fp_word_of(double value)
{
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static inline double fp_double_of(uint64_t word)
{
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* Small for differences of either sign: 0, -1, 1, -2, ... become 0, 1, 2, 3, ... */
static inline uint64_t fp_zigzag(uint64_t difference)
{
    return (difference << 1) ^ (0 - (difference >> 63));
}

static inline uint64_t fp_unzigzag(uint64_t value)
{
    return (value >> 1) ^ (0 - (value & 1));
}

void fp_words_load(uint64_t *words, const uint8_t *bytes, size_t n);
void fp_words_store(uint8_t *bytes, const uint64_t *words, size_t n);

/* Bytes of n values of `width` bits (0 to 64), the last one filled up with zero bits. */
static inline size_t fp_bits_size(size_t n, unsigned width)
{
    return (n * width + 7) / 8;
}

/* Value i takes bits i * width to (i + 1) * width - 1, counted from the lowest bit of the first
 * byte. Each value must be below 2^width. FP_BITS_SLACK bytes after the end are scratch. */
void fp_bits_pack(uint8_t *out, const uint64_t *values, size_t n, unsigned width);

/* The way back; reads exactly fp_bits_size(n, width) bytes. */
void fp_bits_unpack(uint64_t *values, const uint8_t *in, size_t n, unsigned width);

#endif
