/* The packed and delta layouts: integers as a base plus offsets of a few bits each, where the few
 * that lie far off are exceptions. Called by page.c. Words are taken modulo 2^64 throughout, so
 * that signed and unsigned integers, wraps and the bits of doubles all come back as they were.
 *
 * PACKED, for n words:
 *   u8   bits 0-6: width, 0 to 64; bit 7: a step is given
 *   u64  base
 *   u64  step, 2 or more, only where bit 7 says so (else the step is 1)
 *   EXCEPTIONS (exceptions.c)
 *   n offsets of `width` bits: bit b of offset i is bit (i * width + b) of the bytes, counted from
 *        the lowest bit of the first byte; ceil(n * width / 8) bytes
 *   word[i] = base + step * offset[i], modulo 2^64. Where i is an exception with value x it is
 *   base + unzigzag(x) instead, unzigzag(x) being x / 2 for even x and -(x + 1) / 2 for odd x.
 *
 * DELTA, for n words:
 *   u64  word[0]
 *   PACKED of n - 1 differences word[i] - word[i - 1], modulo 2^64; absent where n is 1 */
#include "codec/internal.h"

#define STEP_FLAG 0x80u

/* Distances from a pivot at which a range may end, and how many words that takes in. The first
 * takes in none. */
struct cuts {
    size_t count;
    uint64_t distance[65];
    size_t within[65];
};

/* How the words lie around a pivot: a cut for each bit length of distance that occurs, the last
 * at the farthest word. */
struct spread {
    uint64_t pivot;
    uint64_t down, up; /* the largest distance either way */
    struct cuts below, above;
};

/* A range of words worth packing; `all`: no word lies outside. */
struct range {
    uint64_t base, extent;
    bool all;
};

static uint64_t median_of_three(uint64_t a, uint64_t b, uint64_t c)
{
    int64_t x = (int64_t)a, y = (int64_t)b, z = (int64_t)c;
    if ((x <= y) == (y <= z))
        return b;
    return (y <= x) == (x <= z) ? a : c;
}

/* Median of medians of nine words: unlikely to be an outlier. */
static uint64_t typical_word(const uint64_t *words, size_t n)
{
    uint64_t medians[3];
    size_t last = n - 1;
    for (size_t i = 0; i < 3; i++)
        medians[i] = median_of_three(words[last * (3 * i) / 8], words[last * (3 * i + 1) / 8],
                                     words[last * (3 * i + 2) / 8]);
    return median_of_three(medians[0], medians[1], medians[2]);
}

static void add_cut(struct cuts *cuts, uint64_t distance, size_t words, uint64_t farthest)
{
    size_t last = cuts->count++;
    cuts->distance[last + 1] = distance < farthest ? distance : farthest;
    cuts->within[last + 1] = cuts->within[last] + words;
}

/* Neighbours count in different rows: a run of alike words would wait on one counter. */
#define COUNTER_ROWS 4

static void measure_spread(struct spread *spread, uint64_t pivot, const uint64_t *words, size_t n)
{
    uint32_t counts[COUNTER_ROWS][128] = {{0}};
    uint64_t down = 0, up = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t distance = words[i] - pivot;
        uint64_t below = 0 - (distance >> 63);
        uint64_t magnitude = distance ^ below; /* distance, or -distance - 1 */
        unsigned length = 63u - (unsigned)__builtin_clzll(magnitude << 1 | 1);
        counts[i % COUNTER_ROWS][length | (unsigned)(below & 64)]++;
        uint64_t lower = magnitude & below, upper = magnitude & ~below;
        down = lower > down ? lower : down;
        up = upper > up ? upper : up;
    }
    uint32_t sums[128] = {0}, any_below = 0;
    for (size_t row = 0; row < COUNTER_ROWS; row++)
        for (size_t i = 0; i < 128; i++)
            sums[i] += counts[row][i];
    for (size_t i = 64; i < 128; i++)
        any_below |= sums[i];
    *spread = (struct spread){.pivot = pivot, .down = any_below ? down + 1 : 0, .up = up};
    for (unsigned length = 0; length < 64; length++) {
        if (sums[64 + length] != 0)
            add_cut(&spread->below, (uint64_t)1 << length, sums[64 + length], spread->down);
        if (sums[length] != 0)
            add_cut(&spread->above, fp_low_mask(length), sums[length], spread->up);
    }
}

/* Bits for n words of which `outside` are exceptions, an estimate. */
static size_t packing_cost(size_t n, size_t outside, unsigned width, unsigned outlier_bytes)
{
    size_t positions = 16 * outside < n ? 16 * outside : n;
    return n * width + positions + 8 * outlier_bytes * outside;
}

/* The range that costs least, over all cuts below and above the pivot. */
static struct range best_range(const struct spread *spread, size_t n)
{
    unsigned outlier_bytes = (fp_bit_length(spread->down + spread->up) + 8) / 8;
    uint64_t best_down = spread->down, best_up = spread->up;
    size_t best = n * fp_bit_length(spread->down + spread->up);
    outlier_bytes = outlier_bytes > 8 ? 8 : outlier_bytes;
    for (size_t low = 0; low <= spread->below.count; low++) {
        uint64_t down = spread->below.distance[low];
        for (size_t high = 1; high <= spread->above.count; high++) {
            uint64_t up = spread->above.distance[high];
            size_t within = spread->below.within[low] + spread->above.within[high];
            size_t cost = packing_cost(n, n - within, fp_bit_length(down + up), outlier_bytes);
            if (cost < best) {
                best = cost;
                best_down = down;
                best_up = up;
            }
        }
    }
    return (struct range){spread->pivot - best_down, best_down + best_up,
                          best_down == spread->down && best_up == spread->up};
}

/* Tightens a range to the words that lie in it. */
static void shrink_range(struct range *range, const uint64_t *words, size_t n)
{
    uint64_t least = range->extent, most = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t offset = words[i] - range->base;
        bool inside = offset <= range->extent;
        least = inside && offset < least ? offset : least;
        most = inside && offset > most ? offset : most;
    }
    range->base += least;
    range->extent = most - least;
}

/* Words looked at together: alike ones, as differences of keys mostly are, cost no branch each. */
#define GROUP_WORDS 16

static bool differs(const uint64_t *words, size_t n, uint64_t word)
{
    uint64_t differing = 0;
    for (size_t i = 0; i < n; i++)
        differing |= words[i] ^ word;
    return differing != 0;
}

/* Where all but a few words are the typical one, nothing is packed: true, and those few are in
 * codec->inner. Few: so that as exceptions they cost less than one bit for each word would. */
static bool take_nearly_constant(fp_codec *codec, uint64_t typical, const uint64_t *words, size_t n)
{
    const size_t most = n / (16 + 64);
    size_t count = 0;
    for (size_t first = 0; first < n; first += GROUP_WORDS) {
        size_t end = n - first < GROUP_WORDS ? n : first + GROUP_WORDS;
        if (!differs(words + first, end - first, typical))
            continue;
        for (size_t i = first; i < end; i++) {
            if (words[i] == typical)
                continue;
            if (count == most)
                return false;
            codec->inner.positions[count] = (uint16_t)i;
            codec->inner.values[count++] = fp_zigzag(words[i] - typical);
        }
    }
    codec->inner.count = count;
    return true;
}

/* The range of all words, by their distances from one of them. */
static struct range whole_range(uint64_t pivot, const uint64_t *words, size_t n)
{
    int64_t least = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t distance = (int64_t)(words[i] - pivot);
        least = distance < least ? distance : least;
        most = distance > most ? distance : most;
    }
    return (struct range){pivot + (uint64_t)least, (uint64_t)most - (uint64_t)least, true};
}

#define SAMPLE_WORDS 128

/* The range to pack. Only where a sample leaves it open whether some words are better left out is
 * every word's distance counted. */
static struct range choose_range(uint64_t pivot, const uint64_t *words, size_t n)
{
    struct spread spread;
    struct range range = whole_range(pivot, words, n);
    if (n >= 4 * SAMPLE_WORDS) {
        uint64_t sample[SAMPLE_WORDS];
        for (size_t i = 0; i < SAMPLE_WORDS; i++)
            sample[i] = words[(n - 1) * i / (SAMPLE_WORDS - 1)];
        measure_spread(&spread, pivot, sample, SAMPLE_WORDS);
        struct range likely = best_range(&spread, SAMPLE_WORDS);
        if (likely.all && fp_bit_length(likely.extent) == fp_bit_length(range.extent))
            return range;
    }
    measure_spread(&spread, pivot, words, n);
    range = best_range(&spread, n);
    if (!range.all)
        shrink_range(&range, words, n);
    return range;
}

/* Offsets from the base into codec->offsets; what is out of range into codec->inner, with offset
 * 0 in its place. */
static void take_offsets(fp_codec *codec, const struct range *range, const uint64_t *words,
                         size_t n)
{
    uint64_t *offsets = codec->offsets;
    codec->inner.count = 0;
    if (range->all) {
        for (size_t i = 0; i < n; i++)
            offsets[i] = words[i] - range->base;
        return;
    }
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t offset = words[i] - range->base;
        bool outside = offset > range->extent;
        codec->inner.positions[count] = (uint16_t)i;
        codec->inner.values[count] = fp_zigzag(offset);
        count += outside;
        offsets[i] = outside ? 0 : offset;
    }
    codec->inner.count = count;
}

/* Exact division by a number without dividing: its odd part by the inverse modulo 2^64, its powers
 * of two by a shift. */
struct divisor {
    uint64_t odd_inverse, largest_quotient;
    unsigned twos;
};

static struct divisor divisor_of(uint64_t number)
{
    unsigned twos = (unsigned)__builtin_ctzll(number);
    uint64_t odd = number >> twos, inverse = odd;
    /* Newton: the first guess is right to 3 bits, each turn doubles them. */
    for (int turn = 0; turn < 5; turn++)
        inverse *= 2 - odd * inverse;
    return (struct divisor){inverse, UINT64_MAX / odd, twos};
}

static inline uint64_t exact_quotient(const struct divisor *divisor, uint64_t number)
{
    return (number >> divisor->twos) * divisor->odd_inverse;
}

static inline bool divides(const struct divisor *divisor, uint64_t number)
{
    return (number & fp_low_mask(divisor->twos)) == 0 &&
           exact_quotient(divisor, number) <= divisor->largest_quotient;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The greatest number that divides all offsets: 0 where they are all 0. Over quickly where it
 * is 1, as it mostly is. */
static uint64_t common_step(const uint64_t *offsets, size_t n)
{
    uint64_t step = 0;
    struct divisor divisor = {0, 0, 0};
    for (size_t i = 0; i < n && step != 1; i++) {
        if (step == 0 ? offsets[i] == 0 : divides(&divisor, offsets[i]))
            continue;
        step = common_divisor(offsets[i], step);
        divisor = divisor_of(step);
    }
    return step;
}

/* Divides the offsets by their common step where that saves more than the 8 bytes of saying so.
 * Returns the step used. */
static uint64_t reduce_offsets(uint64_t *offsets, size_t n, uint64_t *extent)
{
    uint64_t step = common_step(offsets, n);
    if (step < 2)
        return 1;
    size_t before = fp_bits_size(n, fp_bit_length(*extent));
    if (fp_bits_size(n, fp_bit_length(*extent / step)) + 8 >= before)
        return 1;
    struct divisor divisor = divisor_of(step);
    for (size_t i = 0; i < n; i++)
        offsets[i] = exact_quotient(&divisor, offsets[i]);
    *extent /= step;
    return step;
}

size_t fp_packed_encode(fp_codec *codec, const uint64_t *words, size_t n, uint8_t *out,
                        size_t limit)
{
    struct range range = {typical_word(words, n), 0, false};
    uint64_t step = 1;
    if (!take_nearly_constant(codec, range.base, words, n)) {
        range = choose_range(range.base, words, n);
        take_offsets(codec, &range, words, n);
        step = reduce_offsets(codec->offsets, n, &range.extent);
    }
    unsigned width = fp_bit_length(range.extent);
    size_t exceptions_size = fp_exceptions_size(&codec->inner, n);
    size_t header = step > 1 ? 17 : 9, size = header + exceptions_size + fp_bits_size(n, width);
    if (size > limit)
        return 0;
    out[0] = (uint8_t)(width | (step > 1 ? STEP_FLAG : 0));
    fp_word_store(out + 1, range.base);
    if (step > 1)
        fp_word_store(out + 9, step);
    fp_exceptions_write(&codec->inner, n, out + header);
    fp_bits_pack(out + header + exceptions_size, codec->offsets, n, width);
    return size;
}

int fp_packed_decode(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, fp_part part,
                     facpool_error *err)
{
    unsigned flags = fp_bytes_u8(in), width = flags & ~STEP_FLAG;
    uint64_t base = fp_bytes_u64(in), step = flags & STEP_FLAG ? fp_bytes_u64(in) : 1;
    if (in->failed || width > 64)
        return fp_corrupt(err, "impossible packing");
    int code = fp_exceptions_read(&codec->inner, in, n, err);
    if (code)
        return code;
    const uint8_t *packed = fp_bytes_take(in, fp_bits_size(n, width));
    if (!packed)
        return fp_corrupt(err, "offsets end early");
    fp_bits_unpack(words + part.first, packed + part.first / 8 * width, part.end - part.first,
                   width);
    if (step == 1) {
        for (size_t i = part.first; i < part.end; i++)
            words[i] += base;
    } else {
        for (size_t i = part.first; i < part.end; i++)
            words[i] = base + step * words[i];
    }
    for (size_t i = 0; i < codec->inner.count; i++)
        words[codec->inner.positions[i]] = base + fp_unzigzag(codec->inner.values[i]);
    return 0;
}

size_t fp_delta_encode(fp_codec *codec, const uint64_t *words, size_t n, uint8_t *out, size_t limit)
{
    if (limit < 8)
        return 0;
    fp_word_store(out, words[0]);
    if (n == 1)
        return 8;
    for (size_t i = 1; i < n; i++)
        codec->work[i - 1] = words[i] - words[i - 1];
    size_t size = fp_packed_encode(codec, codec->work, n - 1, out + 8, limit - 8);
    return size ? 8 + size : 0;
}

int fp_delta_decode(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, facpool_error *err)
{
    words[0] = fp_bytes_u64(in);
    if (in->failed)
        return fp_corrupt(err, "no first word");
    if (n == 1)
        return 0;
    int code = fp_packed_decode(codec, in, words + 1, n - 1, (fp_part){0, n - 1}, err);
    if (code)
        return code;
    for (size_t i = 1; i < n; i++)
        words[i] += words[i - 1];
    return 0;
}
