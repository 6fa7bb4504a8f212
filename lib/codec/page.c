/* A column page as bytes and back: hands it to the transform and the layout its encoding names.
 * Called by the stores; the bytes it reads may be anything. Never picks an encoding (choose.c does)
 * beyond falling back to constant and raw.
 *
 * A page is stored with its encoding byte (layout in the low 4 bits, transform in the high ones)
 * and its number of words, 1 to 65536; neither is part of its bytes.
 *   CONSTANT: u64, the one word.    RAW: n u64.    ZSTD: one zstd frame whose header states
 *   content size 8 n; the content is n u64.    The others: packed.c, split.c, planes.c. */
#include "codec/internal.h"

bool fp_words_all_equal(const uint64_t *words, size_t n)
{
    uint64_t differing = 0;
    size_t i = 0;
    while (i < n && differing == 0)
        for (size_t end = n - i < 64 ? n : i + 64; i < end; i++)
            differing |= words[i] ^ words[0];
    return differing == 0;
}

static int encode_zstd(fp_codec *codec, int level, const uint64_t *words, size_t n, uint8_t *out,
                       size_t limit, size_t *size, facpool_error *err)
{
    const void *bytes = words;
    if (!fp_machine_is_little_endian()) {
        fp_words_store(codec->planes, words, n);
        bytes = codec->planes;
    }
    return fp_compress(codec, level, bytes, 8 * n, out, limit, size, err);
}

static int decode_zstd(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, facpool_error *err)
{
    size_t left = in->size - in->at;
    const uint8_t *frame = fp_bytes_take(in, left);
    if (!frame)
        return fp_corrupt(err, "no compressed part");
    if (fp_machine_is_little_endian())
        return fp_decompress(codec, frame, left, words, 8 * n, err);
    int code = fp_decompress(codec, frame, left, codec->planes, 8 * n, err);
    if (!code)
        fp_words_load(words, codec->planes, n);
    return code;
}

int fp_layout_encode(fp_codec *codec, const fp_encoding *encoding, unsigned layout,
                     const uint64_t *words, size_t n, uint8_t *out, size_t limit, size_t *size,
                     facpool_error *err)
{
    int level = encoding->level;
    *size = 0;
    switch (layout) {
    case FP_LAYOUT_CONSTANT:
        if (limit < 8 || !fp_words_all_equal(words, n))
            return 0;
        fp_word_store(out, words[0]);
        *size = 8;
        return 0;
    case FP_LAYOUT_RAW:
        if (limit < 8 * n)
            return 0;
        fp_words_store(out, words, n);
        *size = 8 * n;
        return 0;
    case FP_LAYOUT_PACKED:
        *size = fp_packed_encode(codec, words, n, out, limit);
        return 0;
    case FP_LAYOUT_DELTA:
        *size = fp_delta_encode(codec, words, n, out, limit);
        return 0;
    case FP_LAYOUT_ZSTD:
        return level < 0 ? 0 : encode_zstd(codec, level, words, n, out, limit, size, err);
    case FP_LAYOUT_PLANES:
        return fp_planes_encode(codec, level, words, n, out, limit, size, err);
    case FP_LAYOUT_SPLIT:
        return fp_split_encode(codec, encoding->low_bits ? encoding->low_bits : 52, words, n, out,
                               limit, size, err);
    default:
        return fp_fail(err, FACPOOL_E_INVALID, "no column layout %u", layout);
    }
}

int fp_layout_decode(fp_codec *codec, unsigned layout, fp_bytes *in, uint64_t *words, size_t n,
                     fp_part part, facpool_error *err)
{
    switch (layout) {
    case FP_LAYOUT_CONSTANT: {
        uint64_t word = fp_bytes_u64(in);
        for (size_t i = part.first; i < part.end; i++)
            words[i] = word;
        return in->failed ? fp_corrupt(err, "no constant") : 0;
    }
    case FP_LAYOUT_RAW: {
        const uint8_t *bytes = fp_bytes_take(in, 8 * n);
        if (!bytes)
            return fp_corrupt(err, "words end early");
        fp_words_load(words + part.first, bytes + 8 * part.first, part.end - part.first);
        return 0;
    }
    case FP_LAYOUT_PACKED:
        return fp_packed_decode(codec, in, words, n, part, err);
    case FP_LAYOUT_DELTA:
        return fp_delta_decode(codec, in, words, n, err);
    case FP_LAYOUT_ZSTD:
        return decode_zstd(codec, in, words, n, err);
    case FP_LAYOUT_PLANES:
        return fp_planes_decode(codec, in, words, n, err);
    case FP_LAYOUT_SPLIT:
        return fp_split_decode(codec, in, words, n, part, err);
    default:
        return fp_corrupt(err, "unknown layout");
    }
}

/* Some pages of a column may not be ratios of small numbers like the rest: those are split as other
 * doubles are, which takes some 6.5 bytes a word. */
static int encode_ratios(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words,
                         size_t n, uint8_t *out, size_t limit, size_t *size, uint8_t *id,
                         facpool_error *err)
{
    size_t most = n * 13 / 2 < limit ? n * 13 / 2 : limit;
    int code = fp_ratio_encode(codec, encoding, words, n, out, most, size, id, err);
    if (code || *size)
        return code;
    *id = FP_LAYOUT_SPLIT;
    return fp_layout_encode(codec, encoding, FP_LAYOUT_SPLIT, words, n, out, limit, size, err);
}

int fp_page_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                   uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err)
{
    switch (encoding->id >> 4) {
    case FP_TRANSFORM_NONE:
        *id = encoding->id;
        return fp_layout_encode(codec, encoding, encoding->id & 15u, words, n, out, limit, size,
                                err);
    case FP_TRANSFORM_DECIMAL:
        return fp_decimal_encode(codec, encoding, words, n, out, limit, size, id, err);
    case FP_TRANSFORM_SPARSE:
        return fp_sparse_encode(codec, encoding, words, n, out, limit, size, id, err);
    case FP_TRANSFORM_RATIO:
        return encode_ratios(codec, encoding, words, n, out, limit, size, id, err);
    default:
        return fp_fail(err, FACPOOL_E_INVALID, "no column transform %u", encoding->id >> 4);
    }
}

static int check_encoding(const fp_encoding *encoding, size_t n, facpool_error *err)
{
    if (n == 0 || n > FP_PAGE_MAX_WORDS)
        return fp_fail(err, FACPOOL_E_INVALID, "a column page of %zu words: it has 1 to %d", n,
                       FP_PAGE_MAX_WORDS);
    if (encoding->exponent > FP_DECIMAL_MAX_EXPONENT)
        return fp_fail(err, FACPOOL_E_INVALID, "decimal exponent %u: it is at most %d",
                       encoding->exponent, FP_DECIMAL_MAX_EXPONENT);
    if (encoding->low_bits && (encoding->low_bits < 48 || encoding->low_bits > 63))
        return fp_fail(err, FACPOOL_E_INVALID, "a split at bit %u: it is at 48 to 63",
                       encoding->low_bits);
    return 0;
}

int fp_words_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                    fp_buffer *out, uint8_t *used, facpool_error *err)
{
    int code = check_encoding(encoding, n, err);
    if (!code)
        code = fp_codec_ensure(codec, n, err);
    if (code)
        return code;
    uint8_t *end = fp_buffer_reserve(out, 8 * n + FP_BITS_SLACK);
    if (!end)
        return fp_fail_nomem(err, 8 * n);
    uint8_t id = FP_LAYOUT_CONSTANT;
    size_t size = 8;
    if (fp_words_all_equal(words, n))
        fp_word_store(end, words[0]);
    else
        code = fp_page_encode(codec, encoding, words, n, end, 8 * n - 1, &size, &id, err);
    if (code)
        return code;
    if (size == 0) {
        id = FP_LAYOUT_RAW;
        size = 8 * n;
        fp_words_store(end, words, n);
    }
    out->size += size;
    *used = id;
    return 0;
}

int fp_words_decode(fp_codec *codec, uint8_t encoding, const uint8_t *bytes, size_t size,
                    uint64_t *words, size_t n, facpool_error *err)
{
    return fp_words_decode_part(codec, encoding, bytes, size, words, n, 0, n, err);
}

int fp_words_decode_part(fp_codec *codec, uint8_t encoding, const uint8_t *bytes, size_t size,
                         uint64_t *words, size_t n, size_t first, size_t end, facpool_error *err)
{
    if (n == 0 || n > FP_PAGE_MAX_WORDS || first > end || end > n)
        return fp_corrupt(err, "impossible number of words");
    int code = fp_codec_ensure(codec, n, err);
    if (code)
        return code;
    fp_bytes in = {.data = bytes, .size = size};
    fp_part part = {first & ~(size_t)7, end};
    unsigned layout = encoding & 15u;
    switch (encoding >> 4) {
    case FP_TRANSFORM_NONE:
        code = fp_layout_decode(codec, layout, &in, words, n, part, err);
        break;
    case FP_TRANSFORM_DECIMAL:
        code = fp_decimal_decode(codec, layout, &in, words, n, part, err);
        break;
    case FP_TRANSFORM_SPARSE:
        code = fp_sparse_decode(codec, layout, &in, words, n, err);
        break;
    case FP_TRANSFORM_RATIO:
        code = fp_ratio_decode(codec, layout, &in, words, n, part, err);
        break;
    default:
        code = fp_corrupt(err, "unknown transform");
    }
    if (!code && in.at != size)
        code = fp_corrupt(err, "bytes left over");
    return code;
}
