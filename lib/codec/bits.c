/* Packing and unpacking of bits: see bits.h. Unaligned 8-byte accesses do the work; the last few
 * values of a page, whose 8 bytes would reach past its end, are read from a copy. */
#include "codec/bits.h"

void fp_words_load(uint64_t *words, const uint8_t *bytes, size_t n)
{
    if (fp_machine_is_little_endian()) {
        memcpy(words, bytes, 8 * n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        words[i] = fp_word_load(bytes + 8 * i);
}

void fp_words_store(uint8_t *bytes, const uint64_t *words, size_t n)
{
    if (fp_machine_is_little_endian()) {
        memcpy(bytes, words, 8 * n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        fp_word_store(bytes + 8 * i, words[i]);
}

/* What has been packed but does not fill a byte yet. Holds at most 7 bits between values, so that
 * up to 56 more fit. */
struct packer {
    uint8_t *at;
    uint64_t pending;
    unsigned fill;
};

static inline void pack_one(struct packer *packer, uint64_t value, unsigned width)
{
    packer->pending |= value << packer->fill;
    fp_word_store(packer->at, packer->pending);
    unsigned fill = packer->fill + width;
    packer->at += fill >> 3;
    packer->pending >>= fill & ~7u;
    packer->fill = fill & 7u;
}

/* Each value waits for the one before it, so narrow ones are joined into fours or twos first;
 * returns how many were packed. */
static size_t pack_joined(struct packer *packer, const uint64_t *values, size_t n, unsigned width)
{
    size_t i = 0;
    if (width <= 14) {
        for (; i + 4 <= n; i += 4) {
            uint64_t low = values[i] | values[i + 1] << width;
            uint64_t high = values[i + 2] | values[i + 3] << width;
            pack_one(packer, low | high << 2 * width, 4 * width);
        }
    } else if (width <= 28) {
        for (; i + 2 <= n; i += 2)
            pack_one(packer, values[i] | values[i + 1] << width, 2 * width);
    }
    return i;
}

void fp_bits_pack(uint8_t *out, const uint64_t *values, size_t n, unsigned width)
{
    if (width == 0)
        return;
    if (width == 64) {
        fp_words_store(out, values, n);
        return;
    }
    struct packer packer = {.at = out};
    if (width <= 56) {
        for (size_t i = pack_joined(&packer, values, n, width); i < n; i++)
            pack_one(&packer, values[i], width);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        pack_one(&packer, values[i] & 0xffffffffu, 32);
        pack_one(&packer, values[i] >> 32, width - 32);
    }
}

static inline uint64_t bits_at(const uint8_t *in, size_t bit)
{
    return fp_word_load(in + (bit >> 3)) >> (bit & 7);
}

/* Values first to end - 1, each within one load: width <= 57. */
static void unpack_narrow(uint64_t *values, const uint8_t *in, size_t first, size_t end,
                          unsigned width)
{
    const uint64_t mask = fp_low_mask(width);
    size_t bit = first * width;
    for (size_t i = first; i < end; i++, bit += width)
        values[i] = bits_at(in, bit) & mask;
}

/* The same for 58 to 63 bits, in two loads. */
static void unpack_wide(uint64_t *values, const uint8_t *in, size_t first, size_t end,
                        unsigned width)
{
    const uint64_t mask = fp_low_mask(width - 32);
    size_t bit = first * width;
    for (size_t i = first; i < end; i++, bit += width)
        values[i] = (bits_at(in, bit) & 0xffffffffu) | (bits_at(in, bit + 32) & mask) << 32;
}

static void unpack_range(uint64_t *values, const uint8_t *in, size_t first, size_t end,
                         unsigned width)
{
    if (width <= 57)
        unpack_narrow(values, in, first, end, width);
    else
        unpack_wide(values, in, first, end, width);
}

/* How many values from the first on have all their loads within `size` bytes. A value's last load
 * starts at its first bit, or 32 bits on. */
static size_t values_within(size_t n, size_t size, unsigned width)
{
    size_t margin = width <= 57 ? 8 : 12;
    if (size < margin)
        return 0;
    size_t within = (8 * (size - margin) + 7) / width + 1;
    return within < n ? within : n;
}

void fp_bits_unpack(uint64_t *values, const uint8_t *in, size_t n, unsigned width)
{
    if (width == 0) {
        memset(values, 0, 8 * n);
        return;
    }
    if (width == 64) {
        fp_words_load(values, in, n);
        return;
    }
    size_t size = fp_bits_size(n, width), within = values_within(n, size, width);
    unpack_range(values, in, 0, within, width);
    if (within == n)
        return;
    /* The rest starts less than 12 bytes before the end and at a bit within a byte. */
    uint8_t tail[32] = {0};
    size_t start = within * width >> 3;
    memcpy(tail, in + start, size - start);
    size_t bit = (within * width) & 7;
    for (size_t i = within; i < n; i++, bit += width) {
        uint64_t value = bits_at(tail, bit);
        if (width > 57)
            value = (value & 0xffffffffu) | bits_at(tail, bit + 32) << 32;
        values[i] = value & fp_low_mask(width);
    }
}
