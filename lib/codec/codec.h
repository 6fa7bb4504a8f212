/* Column encodings. A column page is n 64-bit words (the bits of a double, or an integer); a text
 * page is n short texts. Both become bytes and back, bit for bit. Bytes in, bytes out: nothing
 * here knows files, blocks or rows. lib/store/FORMAT.md gives the byte layouts.
 *
 * An encoding is a layout, and for doubles optionally a transform to integers first. */
#ifndef FP_CODEC_CODEC_H
#define FP_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"
#include "base/text.h"

/* The low 4 bits of an encoding byte. Values are stored in files: frozen. */
enum {
    FP_LAYOUT_CONSTANT = 1, /* one word, n times */
    FP_LAYOUT_RAW = 2,      /* n words */
    FP_LAYOUT_PACKED = 3,   /* base + bit-packed offsets, outliers as exceptions */
    FP_LAYOUT_DELTA = 4,    /* the same over differences of neighbours */
    FP_LAYOUT_ZSTD = 5,     /* n words, zstd */
    FP_LAYOUT_PLANES = 6,   /* eight byte planes, each constant, raw or zstd */
    FP_LAYOUT_SPLIT = 7     /* high bits by a small dictionary, low bits as they are: doubles */
};

/* The high 4 bits. */
enum {
    FP_TRANSFORM_NONE = 0,
    FP_TRANSFORM_DECIMAL = 1, /* doubles that are integers / 10^e, the others as exceptions */
    FP_TRANSFORM_SPARSE = 2,  /* one common word (NaN, zero) taken out, a bitmap says where */
    FP_TRANSFORM_RATIO = 3    /* doubles that are integer / integer, the others as exceptions */
};

#define FP_PAGE_MAX_WORDS 65536

/* Working memory of one encoder or decoder: zstd contexts and scratch. One thread at a time. */
typedef struct fp_codec fp_codec;
fp_codec *fp_codec_new(const facpool_allocator *allocator); /* NULL: out of memory */
void fp_codec_free(fp_codec *codec);

/* What a whole block's column is encoded with: chosen once from a sample of it. Only `used` of
 * fp_words_encode is needed to decode. */
typedef struct fp_encoding {
    uint8_t id;       /* layout | transform << 4 */
    uint8_t exponent; /* of the decimal transform */
    int8_t level;     /* of zstd */
    uint8_t low_bits; /* of the split layout, 48 to 63; 0: 52, a double's mantissa */
    uint8_t ulps;     /* of the ratio transform: how far a quotient may be off, 0 to 3 */
    uint64_t common;  /* the sparse transform's word */
} fp_encoding;

/* Picks the smallest encoding for a column of n words from samples of it; a slower one must earn
 * its time by a few per cent of size. is_double: words are doubles. level < 0: no zstd. */
int fp_words_choose(fp_codec *codec, const uint64_t *words, size_t n, bool is_double, int level,
                    fp_encoding *out, facpool_error *err);

/* Appends one page to `out`; *used gets the encoding id really used (constant or raw where the
 * chosen one does not pay). Decoding gives back the very same words: what an encoding can't keep
 * bit for bit is stored as an exception, checked value by value as it is written. n <= 65536. */
int fp_words_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                    fp_buffer *out, uint8_t *used, facpool_error *err);

/* Decodes a page of exactly n words. Bytes are untrusted: CORRUPT where they don't add up, what is
 * in `words` then means nothing. */
int fp_words_decode(fp_codec *codec, uint8_t encoding, const uint8_t *bytes, size_t size,
                    uint64_t *words, size_t n, facpool_error *err);

/* The same where only words first .. end - 1 are wanted: the others may be left as they are. */
int fp_words_decode_part(fp_codec *codec, uint8_t encoding, const uint8_t *bytes, size_t size,
                         uint64_t *words, size_t n, size_t first, size_t end, facpool_error *err);

/* Texts i0 .. i0 + n - 1 of a list as one page (raw or zstd), and back, appended to `out`. Each
 * text is at most 16 KiB. */
int fp_texts_encode(fp_codec *codec, const fp_texts *texts, size_t i0, size_t n, int level,
                    fp_buffer *out, facpool_error *err);
int fp_texts_decode(fp_codec *codec, const uint8_t *bytes, size_t size, size_t n, fp_texts *out,
                    facpool_error *err);

/* The same for texts of at most so many bytes each: no page of them takes more memory. */
int fp_short_texts_decode(fp_codec *codec, const uint8_t *bytes, size_t size, size_t n,
                          size_t most_each, fp_texts *out, facpool_error *err);

#endif
