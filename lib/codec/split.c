/* The split layout, for doubles that use all their digits: sign and exponent take few values, so
 * they become short codes into a dictionary; the digits below are kept as they are. Called by
 * page.c. The idea is that of ALP for real doubles (Afroozeh, Kuffo, Boncz, 2023). Never looks at
 * what the bits mean.
 *
 * SPLIT, for n words:
 *   u8   low_bits, 48 to 63: a word's left half is word >> low_bits, its right half the rest
 *   u8   dropped, 0 to low_bits: this many lowest bits are zero in every word
 *   u8   code_bits, 0 to 8
 *   u8   entries - 1; entries is at most 2^code_bits
 *   entries u16: left halves, the dictionary
 *   EXCEPTIONS (exceptions.c): left halves that are not in it
 *   n values of code_bits + low_bits - dropped bits (at most 64), packed as in packed.c:
 *        the code is the value's top code_bits bits, its other bits are right half >> dropped
 *   word[i] = left << low_bits | (right >> dropped) << dropped, where left is dictionary[code], or
 *        the exception's value where i is one */
#include "codec/internal.h"

#include "base/alloc.h"

#define LEFT_COUNT    65536
#define MAX_ENTRIES   256
#define MAX_CODE_BITS 8
#define HEADER_SIZE   4

/* Of a page this long or longer every third word is counted: enough to know what is frequent. An
 * odd distance, since columns like to repeat after 2, 4 or 5. */
#define SAMPLED_WORDS 256
#define SAMPLE_STEP   3

struct split {
    unsigned low_bits, dropped, code_bits;
    size_t entries;
    size_t distinct; /* left halves counted, in codec->work: count << 16 | left half */
};

static size_t left_half(uint64_t word, unsigned low_bits)
{
    return (size_t)(word >> low_bits);
}

/* The largest first. Shell's sort: a few dozen keys, and no memory. */
static void sort_descending(uint64_t *keys, size_t n)
{
    static const size_t gaps[] = {1750, 701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
        size_t gap = gaps[g];
        for (size_t i = gap; i < n; i++) {
            uint64_t key = keys[i];
            size_t to = i;
            for (; to >= gap && keys[to - gap] < key; to -= gap)
                keys[to] = keys[to - gap];
            keys[to] = key;
        }
    }
}

/* Counts the left halves of every step-th word and sorts them, the most frequent first. Leaves
 * left_codes zero. Returns the words counted. */
static size_t count_left_halves(fp_codec *codec, struct split *split, const uint64_t *words,
                                size_t n, size_t step)
{
    uint32_t *counts = codec->left_codes;
    uint64_t *keys = codec->work;
    size_t distinct = 0;
    for (size_t i = 0; i < n; i += step) {
        size_t left = left_half(words[i], split->low_bits);
        keys[distinct] = left;
        distinct += counts[left]++ == 0;
    }
    for (size_t i = 0; i < distinct; i++) {
        size_t left = (size_t)keys[i];
        keys[i] |= (uint64_t)counts[left] << 16;
        counts[left] = 0;
    }
    sort_descending(keys, distinct);
    split->distinct = distinct;
    return (n + step - 1) / step;
}

static unsigned common_zero_bits(const uint64_t *words, size_t n, unsigned low_bits)
{
    uint64_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= words[i];
    any &= fp_low_mask(low_bits);
    return any ? (unsigned)__builtin_ctzll(any) : low_bits;
}

/* Picks the dictionary for n words of which `counted` were; returns the page's size in bytes, an
 * estimate: exceptions are taken as 4 bytes each. */
static size_t choose_dictionary(struct split *split, const uint64_t *keys, size_t counted, size_t n)
{
    size_t best = SIZE_MAX, covered = 0, taken = 0;
    for (unsigned bits = 0; bits <= MAX_CODE_BITS; bits++) {
        size_t entries = (size_t)1 << bits;
        entries = entries < split->distinct ? entries : split->distinct;
        for (; taken < entries; taken++)
            covered += (size_t)(keys[taken] >> 16);
        unsigned width = bits + split->low_bits - split->dropped;
        size_t exceptions = (counted - covered) * n / counted;
        size_t size = HEADER_SIZE + 2 * entries + 3 + 4 * exceptions + fp_bits_size(n, width);
        if (size < best && width <= 64) {
            best = size;
            split->code_bits = bits;
            split->entries = entries;
        }
        if (entries == split->distinct)
            break;
    }
    return best;
}

static size_t plan_split(fp_codec *codec, struct split *split, const uint64_t *words, size_t n,
                         size_t step)
{
    split->dropped = common_zero_bits(words, n, split->low_bits);
    size_t counted = count_left_halves(codec, split, words, n, step);
    return choose_dictionary(split, codec->work, counted, n);
}

static int make_left_codes(fp_codec *codec, facpool_error *err)
{
    if (codec->left_codes)
        return 0;
    codec->left_codes = fp_alloc_zero(codec->allocator, LEFT_COUNT, sizeof *codec->left_codes);
    return codec->left_codes ? 0 : fp_fail_nomem(err, LEFT_COUNT * sizeof *codec->left_codes);
}

int fp_split_measure(fp_codec *codec, unsigned low_bits, const uint64_t *words, size_t n,
                     size_t *size, facpool_error *err)
{
    int code = make_left_codes(codec, err);
    if (code)
        return code;
    struct split split = {.low_bits = low_bits};
    *size = plan_split(codec, &split, words, n, 1);
    return 0;
}

/* What is to be packed into codec->offsets, left halves without a code into codec->inner. */
static void take_codes(fp_codec *codec, const struct split *split, const uint64_t *words, size_t n)
{
    uint32_t *codes = codec->left_codes;
    const uint64_t mask = fp_low_mask(split->low_bits);
    const unsigned kept = split->low_bits - split->dropped, dropped = split->dropped;
    size_t count = 0;
    for (size_t i = 0; i < split->entries; i++)
        codes[codec->work[i] & 0xffff] = (uint32_t)i + 1;
    for (size_t i = 0; i < n; i++) {
        size_t left = left_half(words[i], split->low_bits);
        uint32_t code = codes[left]; /* 0: none */
        codec->inner.positions[count] = (uint16_t)i;
        codec->inner.values[count] = left;
        count += code == 0;
        uint64_t high = code ? code - 1 : 0;
        codec->offsets[i] = high << kept | (words[i] & mask) >> dropped;
    }
    codec->inner.count = count;
    for (size_t i = 0; i < split->entries; i++)
        codes[codec->work[i] & 0xffff] = 0;
}

static void write_split(fp_codec *codec, const struct split *split, size_t n, uint8_t *out)
{
    out[0] = (uint8_t)split->low_bits;
    out[1] = (uint8_t)split->dropped;
    out[2] = (uint8_t)split->code_bits;
    out[3] = (uint8_t)(split->entries - 1);
    out += HEADER_SIZE;
    for (size_t i = 0; i < split->entries; i++, out += 2)
        fp_half_store(out, (uint16_t)codec->work[i]);
    fp_exceptions_write(&codec->inner, n, out);
    out += fp_exceptions_size(&codec->inner, n);
    fp_bits_pack(out, codec->offsets, n, split->code_bits + split->low_bits - split->dropped);
}

int fp_split_encode(fp_codec *codec, unsigned low_bits, const uint64_t *words, size_t n,
                    uint8_t *out, size_t limit, size_t *size, facpool_error *err)
{
    int code = make_left_codes(codec, err);
    if (code)
        return code;
    *size = 0;
    struct split split = {.low_bits = low_bits};
    if (plan_split(codec, &split, words, n, n < SAMPLED_WORDS ? 1 : SAMPLE_STEP) > limit)
        return 0;
    take_codes(codec, &split, words, n);
    unsigned width = split.code_bits + low_bits - split.dropped;
    size_t exact = HEADER_SIZE + 2 * split.entries + fp_exceptions_size(&codec->inner, n) +
                   fp_bits_size(n, width);
    if (exact > limit || codec->inner.count > UINT16_MAX)
        return 0;
    write_split(codec, &split, n, out);
    *size = exact;
    return 0;
}

/* Header and dictionary, its entries already in place at the top of a word. */
static int read_dictionary(struct split *split, uint64_t *dictionary, fp_bytes *in,
                           facpool_error *err)
{
    split->low_bits = fp_bytes_u8(in);
    split->dropped = fp_bytes_u8(in);
    split->code_bits = fp_bytes_u8(in);
    split->entries = (size_t)fp_bytes_u8(in) + 1;
    if (in->failed || split->low_bits < 48 || split->low_bits > 63 ||
        split->dropped > split->low_bits || split->code_bits > MAX_CODE_BITS ||
        split->entries > (size_t)1 << split->code_bits ||
        split->code_bits + split->low_bits - split->dropped > 64)
        return fp_corrupt(err, "impossible split");
    const uint8_t *at = fp_bytes_take(in, 2 * split->entries);
    if (!at)
        return fp_corrupt(err, "dictionary ends early");
    for (size_t i = 0; i < split->entries; i++) {
        uint64_t left = fp_half_load(at + 2 * i);
        if (left > fp_low_mask(64 - split->low_bits))
            return fp_corrupt(err, "dictionary entry too large");
        dictionary[i] = left << split->low_bits;
    }
    return 0;
}

/* Puts the words together from what was packed; returns the largest code met. */
static uint64_t join_halves(uint64_t *words, size_t n, const struct split *split,
                            const uint64_t *dictionary)
{
    const unsigned kept = split->low_bits - split->dropped, dropped = split->dropped;
    const uint64_t mask = fp_low_mask(kept);
    uint64_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t code = words[i] >> kept;
        largest = code > largest ? code : largest;
        words[i] = dictionary[code] | (words[i] & mask) << dropped;
    }
    return largest;
}

static int put_exceptions(const fp_exceptions *exceptions, uint64_t *words, unsigned low_bits,
                          facpool_error *err)
{
    for (size_t i = 0; i < exceptions->count; i++) {
        uint64_t left = exceptions->values[i], *word = &words[exceptions->positions[i]];
        if (left > fp_low_mask(64 - low_bits))
            return fp_corrupt(err, "left half too large");
        *word = left << low_bits | (*word & fp_low_mask(low_bits));
    }
    return 0;
}

int fp_split_decode(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, fp_part part,
                    facpool_error *err)
{
    struct split split = {0};
    uint64_t dictionary[MAX_ENTRIES] = {0};
    int code = read_dictionary(&split, dictionary, in, err);
    if (!code)
        code = fp_exceptions_read(&codec->inner, in, n, err);
    if (code)
        return code;
    unsigned width = split.code_bits + split.low_bits - split.dropped;
    const uint8_t *packed = fp_bytes_take(in, fp_bits_size(n, width));
    if (!packed)
        return fp_corrupt(err, "values end early");
    uint64_t *wanted = words + part.first;
    size_t n_wanted = part.end - part.first;
    fp_bits_unpack(wanted, packed + part.first / 8 * width, n_wanted, width);
    if (join_halves(wanted, n_wanted, &split, dictionary) >= split.entries)
        return fp_corrupt(err, "code beyond the dictionary");
    return put_exceptions(&codec->inner, words, split.low_bits, err);
}
