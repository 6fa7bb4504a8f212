/* Turns the bytes that a fuzzer gives into numbers, choices and texts, for targets that build calls
 * and structs out of them. Bytes that ran out read as zeros, so that every prefix of an input is an
 * input, and a choice costs as few bytes as it can: a mutated byte changes one decision, not all
 * that follow. Knows nothing of the library. */
#ifndef FP_FUZZ_BYTES_H
#define FP_FUZZ_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* EXPECT of fuzz.h, with words on what it is about. */
#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: does not hold: ", __FILE__, __LINE__, #condition);         \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct fuzz_bytes {
    const uint8_t *at;
    size_t left;
} fuzz_bytes;

/* ------------------------------------------------------------------ numbers */

static inline uint8_t take_byte(fuzz_bytes *b)
{
    if (b->left == 0)
        return 0;
    b->left--;
    return *b->at++;
}

/* `bytes` bytes, little-endian. */
static inline uint64_t take_number(fuzz_bytes *b, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)take_byte(b) << 8 * i;
    return value;
}

/* 0 to n - 1, for n up to 65,536. */
static inline uint32_t take_below(fuzz_bytes *b, uint32_t n)
{
    return n <= 1 ? 0 : (uint32_t)(take_number(b, n <= 256 ? 1 : 2) % n);
}

/* True in about one of n cases, and never where the bytes ran out. */
static inline bool take_rarely(fuzz_bytes *b, uint32_t n)
{
    return take_below(b, n) == n - 1;
}

/* A number of the kinds that break things: about zero, about powers of two, about the ends of what
 * fits, or any. */
static inline int64_t take_wild(fuzz_bytes *b)
{
    static const uint8_t shifts[] = {0, 7, 8, 15, 16, 31, 32, 40, 53, 62, 63};
    uint8_t kind = take_byte(b);
    if (kind < 96)
        return kind % 12;
    if (kind < 128)
        return -(int64_t)(kind % 12);
    if (kind < 224) {
        uint64_t power = UINT64_C(1) << shifts[kind % sizeof shifts];
        return (int64_t)(power + (uint64_t)(kind / 11 % 3) - 1);
    }
    return (int64_t)take_number(b, 8);
}

/* ------------------------------------------------------------------ texts */

/* Up to `most` bytes of any kind, and a NUL behind them; returns how many. */
static inline size_t take_raw_text(fuzz_bytes *b, char *out, size_t most)
{
    size_t n = take_below(b, most < 65535 ? (uint32_t)most + 1 : 65536);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)take_byte(b);
    out[n] = '\0';
    return n;
}

/* How many bytes the character at `at` has, by decoding it and looking whether it is one; else 0.
 */
static inline size_t character_bytes(const unsigned char *at, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80             ? 1
                    : (at[0] & 0xe0) == 0xc0 ? 2
                    : (at[0] & 0xf0) == 0xe0 ? 3
                    : (at[0] & 0xf8) == 0xf0 ? 4
                                             : 0;
    if (length == 0 || length > n)
        return 0;
    uint32_t value = length == 1 ? at[0] : at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3f);
    }
    bool is_surrogate = value >= 0xd800 && value <= 0xdfff;
    return value < least[length] || value > 0x10ffff || is_surrogate ? 0 : length;
}

static inline bool is_utf8(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = character_bytes((const unsigned char *)text + i, n - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

/* Whether the library must take these bytes for a code (or a name). */
static inline bool is_good_code(const char *text, size_t n)
{
    return n >= 1 && n <= 255 && !memchr(text, '\0', n) && is_utf8(text, n);
}

/* ------------------------------------------------------------------ memory */

/* Memory of exactly so many bytes, so that an address checker sees each byte too many. */
static inline void *exact_memory(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory)
        abort();
    return memory;
}

static inline void *exact_copy(const void *from, size_t bytes)
{
    void *memory = exact_memory(bytes);
    if (bytes)
        memcpy(memory, from, bytes);
    return memory;
}

#endif
