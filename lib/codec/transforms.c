/* Two of the transforms (the third is in ratio.c): what is done to the words of a page before a
 * layout takes them. Called by page.c; the layout's bytes follow the transform's.
 *
 * DECIMAL, for n doubles:
 *   u8   exponent e, 0 to 18
 *   EXCEPTIONS (exceptions.c): the bits of doubles that are no decimal of that exponent
 *   the layout, for n signed 64-bit integers
 *   word[i] = the bits of (double)integer[i] / 10^e, divided as IEEE doubles, to nearest, ties to
 *   even; or the exception's bits where i is one (its integer then means nothing)
 *
 * SPARSE, for n words:
 *   u64  the common word
 *   bitmap of ceil(n / 8) bytes: bit i % 8 (the lowest is 0) of byte i / 8 is set where word[i] is
 *        the common word; bits from n on are zero
 *   the layout, for the other words in order (there is at least one) */
#include "codec/internal.h"

#include <fenv.h>

int fp_round_to_nearest(void)
{
    int before = fegetround();
    if (before != FE_TONEAREST)
        fesetround(FE_TONEAREST);
    return before;
}

void fp_round_as_before(int before)
{
    if (before != FE_TONEAREST)
        fesetround(before);
}

int fp_body_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                   uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err)
{
    unsigned layout = encoding->id & 15u;
    if (fp_words_all_equal(words, n))
        layout = FP_LAYOUT_CONSTANT;
    size_t most = limit < 8 * n ? limit : 8 * n;
    int code = fp_layout_encode(codec, encoding, layout, words, n, out, most, size, err);
    if (!code && *size == 0) {
        layout = FP_LAYOUT_RAW;
        code = fp_layout_encode(codec, encoding, layout, words, n, out, limit, size, err);
    }
    *id = (uint8_t)(*id | layout);
    return code;
}

int fp_decimal_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                      uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err)
{
    *size = 0;
    int rounding = fp_round_to_nearest();
    fp_decimal_to_integers(codec, encoding->exponent, words, n);
    fp_round_as_before(rounding);
    size_t header = 1 + fp_exceptions_size(&codec->outer, n), body = 0;
    if (codec->outer.count > UINT16_MAX || header > limit)
        return 0;
    out[0] = encoding->exponent;
    fp_exceptions_write(&codec->outer, n, out + 1);
    *id = FP_TRANSFORM_DECIMAL << 4;
    int code = fp_body_encode(codec, encoding, codec->integers, n, out + header, limit - header,
                              &body, id, err);
    if (!code && body)
        *size = header + body;
    return code;
}

int fp_decimal_decode(fp_codec *codec, unsigned layout, fp_bytes *in, uint64_t *words, size_t n,
                      fp_part part, facpool_error *err)
{
    unsigned exponent = fp_bytes_u8(in);
    if (in->failed || exponent > FP_DECIMAL_MAX_EXPONENT)
        return fp_corrupt(err, "impossible decimal exponent");
    const fp_exceptions *exceptions = &codec->outer;
    int code = fp_exceptions_read(&codec->outer, in, n, err);
    if (!code)
        code = fp_layout_decode(codec, layout, in, words, n, part, err);
    if (code)
        return code;
    int rounding = fp_round_to_nearest();
    fp_decimal_from_integers(exponent, words + part.first, part.end - part.first);
    fp_round_as_before(rounding);
    for (size_t i = 0; i < exceptions->count; i++)
        words[exceptions->positions[i]] = exceptions->values[i];
    return 0;
}

/* Marks the common word's places in `bitmap` and gathers the others; returns how many. */
static size_t take_uncommon(uint64_t *others, uint8_t *bitmap, uint64_t common,
                            const uint64_t *words, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; bitmap++) {
        unsigned marks = 0;
        size_t end = n - i < 8 ? n : i + 8;
        for (unsigned bit = 0; i < end; i++, bit++) {
            bool is_common = words[i] == common;
            marks |= (unsigned)is_common << bit;
            others[count] = words[i];
            count += !is_common;
        }
        *bitmap = (uint8_t)marks;
    }
    return count;
}

int fp_sparse_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                     uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err)
{
    size_t header = 8 + (n + 7) / 8, body = 0;
    *size = 0;
    *id = FP_TRANSFORM_NONE;
    if (header > limit)
        return 0;
    size_t count = take_uncommon(codec->integers, out + 8, encoding->common, words, n);
    if (count == 0 || count == n)
        return fp_body_encode(codec, encoding, words, n, out, limit, size, id, err);
    fp_word_store(out, encoding->common);
    *id = FP_TRANSFORM_SPARSE << 4;
    int code = fp_body_encode(codec, encoding, codec->integers, count, out + header, limit - header,
                              &body, id, err);
    if (!code && body)
        *size = header + body;
    return code;
}

int fp_sparse_decode(fp_codec *codec, unsigned layout, fp_bytes *in, uint64_t *words, size_t n,
                     facpool_error *err)
{
    uint64_t common = fp_bytes_u64(in);
    const uint8_t *bitmap = fp_bytes_take(in, (n + 7) / 8);
    if (!bitmap)
        return fp_corrupt(err, "bitmap ends early");
    size_t taken = fp_bitmap_count(bitmap, n);
    if (taken >= n)
        return fp_corrupt(err, "impossible bitmap");
    /* The common word and behind it the others, so that an index stands for either: which of the
     * two comes next can't be foretold, and a branch would cost more than all the rest. */
    uint64_t *source = codec->integers;
    source[0] = common;
    fp_part all = {0, n - taken};
    int code = fp_layout_decode(codec, layout, in, source + 1, n - taken, all, err);
    if (code)
        return code;
    for (size_t i = 0, next = 1; i < n; i++) {
        size_t other = !(bitmap[i >> 3] >> (i & 7) & 1);
        words[i] = source[next & (0 - other)];
        next += other;
    }
    return 0;
}
