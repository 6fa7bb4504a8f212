/* The values of a page that its rule does not give, as bytes. Used by the packed and split layouts
 * and by the decimal transform; decides nothing about which values those are.
 *
 * EXCEPTIONS, for a page of n values:
 *   u16  count; when it is 0, nothing follows
 *   u8   width: 1 to 8 bytes a value, or 0: all values are the same
 *   positions, counted from 0:
 *        where 2 * count <= ceil(n / 8): count u16, each above the one before it and below n
 *        else: a bitmap of ceil(n / 8) bytes with count bits set; position p is bit p % 8 (the
 *        lowest is 0) of byte p / 8; bits from n on are zero
 *   values: count little-endian integers of `width` bytes, in order of position;
 *        for width 0 one u64 */
#include "codec/internal.h"

static bool are_listed(size_t count, size_t n)
{
    return 2 * count <= (n + 7) / 8;
}

/* Bytes a value; 0 where they are all the same and that is shorter. */
static unsigned value_width(const fp_exceptions *exceptions)
{
    uint64_t any = 0, differing = 0;
    for (size_t i = 0; i < exceptions->count; i++) {
        any |= exceptions->values[i];
        differing |= exceptions->values[i] ^ exceptions->values[0];
    }
    unsigned width = (fp_bit_length(any | 1) + 7) / 8;
    return differing == 0 && exceptions->count * width > 8 ? 0 : width;
}

static size_t values_size(size_t count, unsigned width)
{
    return width ? count * width : 8;
}

static size_t positions_size(size_t count, size_t n)
{
    return are_listed(count, n) ? 2 * count : (n + 7) / 8;
}

size_t fp_exceptions_size(const fp_exceptions *exceptions, size_t n)
{
    size_t count = exceptions->count;
    if (count == 0)
        return 2;
    return 3 + positions_size(count, n) + values_size(count, value_width(exceptions));
}

static uint8_t *write_positions(const fp_exceptions *exceptions, size_t n, uint8_t *out)
{
    size_t count = exceptions->count, size = positions_size(count, n);
    if (are_listed(count, n)) {
        for (size_t i = 0; i < count; i++)
            fp_half_store(out + 2 * i, exceptions->positions[i]);
        return out + size;
    }
    memset(out, 0, size);
    for (size_t i = 0; i < count; i++) {
        size_t position = exceptions->positions[i];
        out[position >> 3] = (uint8_t)(out[position >> 3] | 1u << (position & 7));
    }
    return out + size;
}

void fp_exceptions_write(const fp_exceptions *exceptions, size_t n, uint8_t *out)
{
    size_t count = exceptions->count;
    fp_half_store(out, (uint16_t)count);
    if (count == 0)
        return;
    unsigned width = value_width(exceptions);
    out[2] = (uint8_t)width;
    out = write_positions(exceptions, n, out + 3);
    if (width == 0) {
        fp_word_store(out, exceptions->values[0]);
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (unsigned byte = 0; byte < width; byte++)
            *out++ = (uint8_t)(exceptions->values[i] >> 8 * byte);
}

/* Without an instruction for it, which not every machine has: sums of 2, 4 and 8 bits. */
static size_t count_ones(uint64_t word)
{
    word -= word >> 1 & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (size_t)(word * 0x0101010101010101u >> 56);
}

size_t fp_bitmap_count(const uint8_t *bitmap, size_t n)
{
    size_t count = 0, bytes = (n + 7) / 8, i = 0;
    for (; i + 8 <= bytes; i += 8)
        count += count_ones(fp_word_load(bitmap + i));
    for (; i < bytes; i++)
        count += count_ones(bitmap[i]);
    if (n % 8 != 0 && bitmap[n / 8] >> n % 8 != 0)
        return SIZE_MAX;
    return count;
}

static int read_positions(fp_exceptions *exceptions, fp_bytes *in, size_t n, facpool_error *err)
{
    size_t count = exceptions->count;
    const uint8_t *at = fp_bytes_take(in, positions_size(count, n));
    if (!at)
        return fp_corrupt(err, "exceptions end early");
    if (are_listed(count, n)) {
        for (size_t i = 0; i < count; i++) {
            uint16_t position = fp_half_load(at + 2 * i);
            if (position >= n || (i > 0 && position <= exceptions->positions[i - 1]))
                return fp_corrupt(err, "exceptions out of order");
            exceptions->positions[i] = position;
        }
        return 0;
    }
    if (fp_bitmap_count(at, n) != count)
        return fp_corrupt(err, "exceptions miscounted");
    uint16_t *position = exceptions->positions;
    for (size_t byte = 0; byte < (n + 7) / 8; byte++)
        for (unsigned bits = at[byte]; bits != 0; bits &= bits - 1)
            *position++ = (uint16_t)(8 * byte + (unsigned)__builtin_ctz(bits));
    return 0;
}

int fp_exceptions_read(fp_exceptions *exceptions, fp_bytes *in, size_t n, facpool_error *err)
{
    const uint8_t *counted = fp_bytes_take(in, 2);
    if (!counted)
        return fp_corrupt(err, "no exception count");
    exceptions->count = fp_half_load(counted);
    if (exceptions->count == 0)
        return 0;
    unsigned width = fp_bytes_u8(in);
    if (exceptions->count > n || width > 8)
        return fp_corrupt(err, "impossible exceptions");
    int code = read_positions(exceptions, in, n, err);
    if (code)
        return code;
    const uint8_t *at = fp_bytes_take(in, values_size(exceptions->count, width));
    if (!at)
        return fp_corrupt(err, "exceptions end early");
    for (size_t i = 0; i < exceptions->count; i++) {
        uint64_t value = 0;
        if (width == 0)
            value = fp_word_load(at);
        for (unsigned byte = 0; byte < width; byte++)
            value |= (uint64_t)*at++ << 8 * byte;
        exceptions->values[i] = value;
    }
    return 0;
}
