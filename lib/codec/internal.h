/* What the files of this folder share: the codec's memory, and one pair of functions per layout
 * and transform. Nobody outside lib/codec includes this.
 *
 * Encoders write to `out`, which has FP_BITS_SLACK bytes beyond `limit`, and set *size to the bytes
 * written, or to 0 where the result would be larger than `limit`: the encoding does not pay, which
 * is no error. Decoders take from `in` what is theirs; the caller checks that nothing is left. */
#ifndef FP_CODEC_INTERNAL_H
#define FP_CODEC_INTERNAL_H

#include <zstd.h>
#include "base/error.h"
#include "codec/bits.h"
#include "codec/codec.h"

/* The words of a page that are wanted, first .. end - 1: decoders that can leave out the others do.
 */
typedef struct fp_part {
    size_t first; /* a multiple of 8: eight packed values end on a whole byte */
    size_t end;
} fp_part;

/* Values of a page that its rule does not give, with where they stand. */
typedef struct fp_exceptions {
    uint16_t *positions; /* ascending */
    uint64_t *values;
    size_t count;
} fp_exceptions;

struct fp_codec {
    const facpool_allocator *allocator;
    facpool_allocator own_allocator; /* what `allocator` points to, when one was given */
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    size_t capacity;      /* words that each of the arrays below has room for */
    void *memory;         /* they are parts of it */
    uint64_t *integers;   /* what a transform gives */
    uint64_t *work;       /* differences, distinct values */
    uint64_t *offsets;    /* what is going to be packed */
    uint8_t *planes;      /* 8 * capacity */
    fp_exceptions outer;  /* of the transform */
    fp_exceptions inner;  /* of the layout */
    uint32_t *left_codes; /* one per possible left half of a split word; zero between calls */
    fp_buffer trial;      /* what choosing tries; the content of text pages */
};

/* Room for pages of n words. Errors: NOMEM. */
int fp_codec_ensure(fp_codec *codec, size_t n, facpool_error *err);

static inline int fp_corrupt(facpool_error *err, const char *what)
{
    return fp_fail(err, FACPOOL_E_CORRUPT, "damaged column page: %s", what);
}

/* page.c: a page without the fallbacks to constant and raw; *id is what was used. */
int fp_page_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                   uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err);
int fp_layout_encode(fp_codec *codec, const fp_encoding *encoding, unsigned layout,
                     const uint64_t *words, size_t n, uint8_t *out, size_t limit, size_t *size,
                     facpool_error *err);
int fp_layout_decode(fp_codec *codec, unsigned layout, fp_bytes *in, uint64_t *words, size_t n,
                     fp_part part, facpool_error *err);
bool fp_words_all_equal(const uint64_t *words, size_t n);

/* exceptions.c. read: positions are checked to be ascending and below n. */
size_t fp_exceptions_size(const fp_exceptions *exceptions, size_t n);
void fp_exceptions_write(const fp_exceptions *exceptions, size_t n, uint8_t *out);
int fp_exceptions_read(fp_exceptions *exceptions, fp_bytes *in, size_t n, facpool_error *err);
size_t fp_bitmap_count(const uint8_t *bitmap, size_t n); /* SIZE_MAX: bits set beyond n */

/* packed.c */
size_t fp_packed_encode(fp_codec *codec, const uint64_t *words, size_t n, uint8_t *out,
                        size_t limit);
int fp_packed_decode(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, fp_part part,
                     facpool_error *err);
size_t fp_delta_encode(fp_codec *codec, const uint64_t *words, size_t n, uint8_t *out,
                       size_t limit);
int fp_delta_decode(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, facpool_error *err);

/* split.c */
int fp_split_encode(fp_codec *codec, unsigned low_bits, const uint64_t *words, size_t n,
                    uint8_t *out, size_t limit, size_t *size, facpool_error *err);
int fp_split_decode(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, fp_part part,
                    facpool_error *err);
int fp_split_measure(fp_codec *codec, unsigned low_bits, const uint64_t *words, size_t n,
                     size_t *size, facpool_error *err); /* without writing */

/* planes.c */
int fp_planes_encode(fp_codec *codec, int level, const uint64_t *words, size_t n, uint8_t *out,
                     size_t limit, size_t *size, facpool_error *err);
int fp_planes_decode(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, facpool_error *err);
/* A size, in bytes, that planes of these words do not come below. */
size_t fp_planes_least(fp_codec *codec, const uint64_t *words, size_t n);

/* decimal.c. to_integers: what is no decimal of that exponent is left in codec->outer, with a
 * neighbour's integer in its place. */
void fp_decimal_to_integers(fp_codec *codec, unsigned exponent, const uint64_t *words, size_t n);
void fp_decimal_from_integers(unsigned exponent, uint64_t *words, size_t n);
/* The least exponent that gives a double; NONE also where it takes so many digits (more than 13 or
 * 14) that it may be chance. */
unsigned fp_decimal_digits(uint64_t word);
#define FP_DECIMAL_MAX_EXPONENT 18
#define FP_DECIMAL_NONE         255

/* transforms.c */
int fp_decimal_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                      uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err);
int fp_decimal_decode(fp_codec *codec, unsigned layout, fp_bytes *in, uint64_t *words, size_t n,
                      fp_part part, facpool_error *err);
int fp_sparse_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                     uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err);
int fp_sparse_decode(fp_codec *codec, unsigned layout, fp_bytes *in, uint64_t *words, size_t n,
                     facpool_error *err);

/* A transform's words: by the layout asked for, or as a constant, or as they are, whichever is
 * right. Adds the layout used to *id. */
int fp_body_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                   uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err);
/* The host may have left this thread with another rounding, under which the same division would
 * give other bits. Returns the rounding before. */
int fp_round_to_nearest(void);
void fp_round_as_before(int before);

/* ratio.c. count: how many of the doubles are ratios worth storing as such, give or take `ulps`;
 * for the usual rounding only. */
int fp_ratio_encode(fp_codec *codec, const fp_encoding *encoding, const uint64_t *words, size_t n,
                    uint8_t *out, size_t limit, size_t *size, uint8_t *id, facpool_error *err);
int fp_ratio_decode(fp_codec *codec, unsigned layout, fp_bytes *in, uint64_t *words, size_t n,
                    fp_part part, facpool_error *err);
size_t fp_ratio_count(const uint64_t *words, size_t n, unsigned ulps);
#define FP_RATIO_MAX_ULPS 3

/* compress.c: one zstd frame that says how long its content is. */
int fp_compress(fp_codec *codec, int level, const void *bytes, size_t n, uint8_t *out, size_t limit,
                size_t *size, facpool_error *err);
int fp_decompress(fp_codec *codec, const uint8_t *frame, size_t size, void *out, size_t n,
                  facpool_error *err);
/* The content size a frame states, SIZE_MAX where it states none. */
size_t fp_compressed_content(const uint8_t *frame, size_t size);

#endif
