/* The ratio transform: doubles that came from dividing one smallish integer by another (shares of a
 * volume, ranks k / n, a price by a price) become two columns of integers. Called by page.c and
 * choose.c. The integers are found by the continued fraction of each double, and checked by
 * dividing them again: what does not come back to the very bits is an exception, so nothing is
 * rounded away.
 *
 * RATIO, for n doubles:
 *   u8   noise_bits, 0 to 3
 *   u8   whole, 0 or 1
 *   u8   the denominators' layout, 1 to 7
 *   u32  bytes of the denominators
 *   EXCEPTIONS (exceptions.c): the bits of doubles that are no ratio
 *   the denominators: that layout, for n integers of 1 to 2^32
 *   the numerators: the chunk's layout, for n integers below 2^48
 *   word[i] = the bits of (double)(unzigzag(numerator >> noise_bits) + whole * denominator) /
 *   (double)denominator, divided as IEEE doubles, to nearest, ties to even; plus
 *   unzigzag(numerator mod 2^noise_bits), modulo 2^64; or the exception's bits where i is one */
#include "codec/internal.h"

#include <math.h>

#define HEADER_SIZE 7

/* What is looked for. A random double is a ratio within these bounds once in a thousand times, and
 * what is above takes as much room as the double. */
#define MAX_DENOMINATOR 0x1p22
#define MAX_PRODUCT     0x1p43 /* of numerator and denominator */
#define MAX_STEPS       40

/* Added to a double below 2^51 and taken away again, it leaves the nearest integer. */
#define ROUNDER 0x1.8p52

/* What is believed when it is read: sums and quotients of these are exact or well rounded. */
#define DENOMINATOR_BITS 32
#define NUMERATOR_BITS   48
#define MAX_NOISE_BITS   3

/* What may be nothing but rounding, within these bounds, where the convergent is the ratio. */
#define SMALL_FRACTION 0x1p-6

/* Denominators up to this are worth making the same for rows next to one another; so many rows have
 * to share one, on average, to make up for larger numerators. */
#define MAX_SHARED_DENOMINATOR 65536
#define MIN_SHARING_ROWS       16
#define MAX_SHARING_BITS       27 /* of a numerator, so that it stays within what is read */

struct ratio {
    int64_t numerator;
    uint64_t denominator;
    int64_t noise; /* what the double's bits lie above those of the quotient */
};

/* Whether numerator / denominator is the double of these bits, give or take `ulps`. */
static inline bool divides_to(struct ratio *ratio, double numerator, double denominator,
                              uint64_t word, int64_t ulps)
{
    double signed_numerator = (word >> 63) ^ (denominator < 0) ? -numerator : numerator;
    denominator = fabs(denominator);
    if (numerator == 0) /* an integer has no negative zero */
        return false;
    int64_t noise = (int64_t)(word - fp_word_of(signed_numerator / denominator));
    if (noise > ulps || noise < -ulps)
        return false;
    *ratio = (struct ratio){(int64_t)signed_numerator, (uint64_t)denominator, noise};
    return true;
}

/* Continued fractions, by nearest integers, of several doubles at once: a step of one is a chain of
 * operations that wait for each other. Numerators and denominators are integers that a double
 * holds, of either sign, until they are out of bounds. */
#define LANES 8

struct lanes {
    double value[LANES];    /* what is left to take apart */
    double fraction[LANES]; /* of the value before */
    double numerator[LANES], denominator[LANES];
    double last_numerator[LANES], last_denominator[LANES];
};

static void begin_lanes(struct lanes *lanes, const uint64_t *words, size_t n)
{
    for (size_t i = 0; i < LANES; i++) {
        lanes->value[i] = i < n ? fp_double_of(words[i] & ~((uint64_t)1 << 63)) : 0;
        lanes->numerator[i] = lanes->last_denominator[i] = 1;
        lanes->denominator[i] = lanes->last_numerator[i] = 0;
    }
}

static void next_convergents(struct lanes *lanes)
{
    for (size_t i = 0; i < LANES; i++) {
        double whole = lanes->value[i] + ROUNDER - ROUNDER;
        double numerator = whole * lanes->numerator[i] + lanes->last_numerator[i];
        double denominator = whole * lanes->denominator[i] + lanes->last_denominator[i];
        lanes->last_numerator[i] = lanes->numerator[i];
        lanes->last_denominator[i] = lanes->denominator[i];
        lanes->numerator[i] = numerator;
        lanes->denominator[i] = denominator;
        lanes->fraction[i] = lanes->value[i] - whole;
        lanes->value[i] = 1 / lanes->fraction[i]; /* infinite for 0: then out of bounds */
    }
}

static bool in_bounds(const struct lanes *lanes, unsigned i)
{
    return fabs(lanes->denominator[i]) <= MAX_DENOMINATOR &&
           fabs(lanes->numerator[i] * lanes->denominator[i]) <= MAX_PRODUCT;
}

static unsigned lanes_in_bounds(const struct lanes *lanes)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < LANES; i++)
        bits |= (unsigned)in_bounds(lanes, i) << i;
    return bits;
}

static unsigned lanes_with_small_fraction(const struct lanes *lanes)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < LANES; i++)
        bits |= (unsigned)(fabs(lanes->fraction[i]) < SMALL_FRACTION) << i;
    return bits;
}

static unsigned zero_words(struct ratio ratios[LANES], const uint64_t *words, size_t n)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < n; i++) {
        ratios[i] = (struct ratio){0, 1, 0};
        bits |= (unsigned)(words[i] == 0) << i;
    }
    return bits;
}

/* Ratios of up to LANES doubles; returns the bits of those that are one. */
static unsigned find_ratios(struct ratio ratios[LANES], const uint64_t *words, size_t n,
                            int64_t ulps)
{
    struct lanes lanes;
    unsigned found = zero_words(ratios, words, n), open = ((1u << n) - 1) & ~found;
    begin_lanes(&lanes, words, n);
    for (unsigned step = 1; step <= MAX_STEPS && open; step++) {
        next_convergents(&lanes);
        unsigned left = open & lanes_with_small_fraction(&lanes);
        for (; left; left &= left - 1) {
            unsigned i = (unsigned)__builtin_ctz(left);
            if (in_bounds(&lanes, i) &&
                divides_to(&ratios[i], lanes.numerator[i], lanes.denominator[i], words[i], ulps))
                found |= 1u << i;
        }
        open &= ~found;
        if (step % 4 == 0) /* those beyond come to nothing by themselves: no hurry */
            open &= lanes_in_bounds(&lanes);
    }
    return found;
}

size_t fp_ratio_count(const uint64_t *words, size_t n, unsigned ulps)
{
    struct ratio ratios[LANES];
    size_t count = 0;
    for (size_t i = 0; i < n; i += LANES) {
        unsigned found = find_ratios(ratios, words + i, n - i < LANES ? n - i : LANES, ulps);
        count += (size_t)__builtin_popcount(found);
    }
    return count;
}

/* Where the parts of the ratios are while they are made into bytes. */
struct parts {
    uint64_t *numerators; /* signed */
    uint64_t *denominators;
    uint64_t *noise; /* zigzag */
};

/* Takes the page apart; what is no ratio is left in codec->outer, with a neighbour's parts in its
 * place. */
static void take_ratios(fp_codec *codec, const struct parts *parts, unsigned ulps,
                        const uint64_t *words, size_t n)
{
    struct ratio ratios[LANES], last = {0, 1, 0};
    size_t count = 0;
    unsigned found = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned lane = i % LANES;
        if (lane == 0)
            found = find_ratios(ratios, words + i, n - i < LANES ? n - i : LANES, ulps);
        bool is_ratio = found >> lane & 1;
        codec->outer.positions[count] = (uint16_t)i;
        codec->outer.values[count] = words[i];
        count += !is_ratio;
        last = is_ratio ? ratios[lane] : (struct ratio){last.numerator, last.denominator, 0};
        parts->numerators[i] = (uint64_t)last.numerator;
        parts->denominators[i] = last.denominator;
        parts->noise[i] = fp_zigzag((uint64_t)last.noise);
    }
    codec->outer.count = count;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The end of the rows from `first` on that can share a denominator, which is given. */
static size_t sharing_end(const uint64_t *denominators, size_t first, size_t n, uint32_t *shared)
{
    uint32_t multiple = (uint32_t)denominators[first];
    size_t i = first + 1;
    for (; i < n; i++) {
        uint32_t wanted = (uint32_t)denominators[i]; /* at most MAX_DENOMINATOR */
        if (wanted == multiple || multiple % wanted == 0)
            continue;
        uint32_t factor = wanted / common_divisor(multiple, wanted);
        if (multiple > MAX_SHARED_DENOMINATOR / factor)
            break;
        multiple *= factor;
    }
    *shared = multiple;
    return i;
}

/* Ranks k / n of one date have the denominators that reducing left, which may be any divisor of n:
 * gives them n back. Left as they are where the rows have nothing in common. */
static void share_denominators(const struct parts *parts, size_t n)
{
    size_t groups = 0;
    uint32_t shared;
    uint64_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= fp_zigzag(parts->numerators[i]);
    if (fp_bit_length(any) > MAX_SHARING_BITS)
        return;
    for (size_t i = 0; i < n; groups++) {
        i = sharing_end(parts->denominators, i, n, &shared);
        if ((groups + 1) * MIN_SHARING_ROWS > n)
            return;
    }
    for (size_t i = 0; i < n;) {
        size_t end = sharing_end(parts->denominators, i, n, &shared);
        for (; i < end; i++) {
            uint32_t factor = shared / (uint32_t)parts->denominators[i];
            parts->numerators[i] *= factor;
            parts->denominators[i] = shared;
        }
    }
}

/* 1 where numerators take fewer bits as distances from their denominators: ratios about 1. */
static unsigned best_whole(const struct parts *parts, size_t n)
{
    size_t bits = 0, bits_from_one = 0;
    for (size_t i = 0; i < n; i++) {
        bits += fp_bit_length(fp_zigzag(parts->numerators[i]));
        bits_from_one += fp_bit_length(fp_zigzag(parts->numerators[i] - parts->denominators[i]));
    }
    return bits_from_one < bits;
}

/* Joins numerators and noise to what is stored as numerators; returns the noise's bits. */
static unsigned join_noise(const struct parts *parts, unsigned whole, size_t n)
{
    uint64_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= parts->noise[i];
    unsigned bits = fp_bit_length(any);
    for (size_t i = 0; i < n; i++) {
        uint64_t numerator = parts->numerators[i] - whole * parts->denominators[i];
        parts->numerators[i] = fp_zigzag(numerator) << bits | parts->noise[i];
    }
    return bits;
}

/* Header, exceptions and denominators; *size is 0 where they do not fit. */
static int encode_denominators(fp_codec *codec, const fp_encoding *encoding, unsigned noise_bits,
                               unsigned whole, size_t n, uint8_t *out, size_t limit, size_t *size,
                               facpool_error *err)
{
    fp_encoding body = {.level = encoding->level};
    body.id = encoding->level >= 0 ? FP_LAYOUT_PLANES : FP_LAYOUT_PACKED;
    size_t header = HEADER_SIZE + fp_exceptions_size(&codec->outer, n), bytes = 0;
    uint8_t layout = 0;
    *size = 0;
    if (codec->outer.count > UINT16_MAX || header > limit)
        return 0;
    fp_exceptions_write(&codec->outer, n, out + HEADER_SIZE);
    int code = fp_body_encode(codec, &body, codec->work, n, out + header, limit - header, &bytes,
                              &layout, err);
    if (code || bytes == 0)
        return code;
    out[0] = (uint8_t)noise_bits;
    out[1] = (uint8_t)whole;
    out[2] = layout;
    fp_store_u32(out + 3, (uint32_t)bytes);
    *size = header + bytes;
    return 0;
}

int fp_ratio_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                    uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err)
{
    const struct parts parts = {codec->integers, codec->work, codec->offsets};
    unsigned ulps = encoding->ulps < FP_RATIO_MAX_ULPS ? encoding->ulps : FP_RATIO_MAX_ULPS;
    size_t before = 0, body = 0;
    *size = 0;
    int rounding = fp_round_to_nearest();
    take_ratios(codec, &parts, ulps, words, n);
    fp_round_as_before(rounding);
    if (codec->outer.count > n / 2) /* 8 bytes each: can't pay */
        return 0;
    share_denominators(&parts, n);
    unsigned whole = best_whole(&parts, n), noise_bits = join_noise(&parts, whole, n);
    int code = encode_denominators(codec, encoding, noise_bits, whole, n, out, limit, &before, err);
    if (code || before == 0)
        return code;
    *id = FP_TRANSFORM_RATIO << 4;
    code = fp_body_encode(codec, encoding, codec->integers, n, out + before, limit - before, &body,
                          id, err);
    if (!code && body)
        *size = before + body;
    return code;
}

/* Denominators into codec->integers, those wanted checked. */
static int decode_denominators(fp_codec *codec, fp_bytes *in, unsigned layout, size_t bytes,
                               size_t n, fp_part part, facpool_error *err)
{
    fp_bytes own = {.data = fp_bytes_take(in, bytes), .size = bytes};
    if (!own.data)
        return fp_corrupt(err, "denominators end early");
    int code = fp_layout_decode(codec, layout, &own, codec->integers, n, part, err);
    if (code)
        return code;
    if (own.at != bytes)
        return fp_corrupt(err, "bytes left over behind the denominators");
    uint64_t any = 0;
    for (size_t i = part.first; i < part.end; i++)
        any |= codec->integers[i] - 1; /* 0 becomes the largest of all */
    return any >> DENOMINATOR_BITS ? fp_corrupt(err, "impossible denominator") : 0;
}

static void divide(uint64_t *words, const uint64_t *denominators, unsigned noise_bits,
                   unsigned whole, size_t n)
{
    const uint64_t mask = fp_low_mask(noise_bits);
    for (size_t i = 0; i < n; i++) {
        uint64_t numerator = fp_unzigzag(words[i] >> noise_bits) + whole * denominators[i];
        double quotient = (double)(int64_t)numerator / (double)(int64_t)denominators[i];
        words[i] = fp_word_of(quotient) + fp_unzigzag(words[i] & mask);
    }
}

int fp_ratio_decode(fp_codec *codec, unsigned layout, fp_bytes *in, uint64_t *words, size_t n,
                    fp_part part, facpool_error *err)
{
    unsigned noise_bits = fp_bytes_u8(in), whole = fp_bytes_u8(in), own_layout = fp_bytes_u8(in);
    size_t bytes = fp_bytes_u32(in);
    if (in->failed || noise_bits > MAX_NOISE_BITS || whole > 1)
        return fp_corrupt(err, "impossible ratios");
    int code = fp_exceptions_read(&codec->outer, in, n, err);
    if (!code)
        code = decode_denominators(codec, in, own_layout, bytes, n, part, err);
    if (!code)
        code = fp_layout_decode(codec, layout, in, words, n, part, err);
    if (code)
        return code;
    uint64_t any = 0;
    for (size_t i = part.first; i < part.end; i++)
        any |= words[i];
    if (any >> NUMERATOR_BITS)
        return fp_corrupt(err, "impossible numerator");
    int rounding = fp_round_to_nearest();
    divide(words + part.first, codec->integers + part.first, noise_bits, whole,
           part.end - part.first);
    fp_round_as_before(rounding);
    for (size_t i = 0; i < codec->outer.count; i++)
        words[codec->outer.positions[i]] = codec->outer.values[i];
    return 0;
}
