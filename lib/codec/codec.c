/* The working memory of one encoder or decoder. Made by whoever reads or writes column pages, one
 * per thread; what it holds grows with the largest page met and means nothing between calls. */
#include "codec/internal.h"

#include "base/alloc.h"

/* Bytes per word of a page over all arrays, and how many words they have beyond its own: every
 * array may be written one past what is used, so that loops need no test. */
#define BYTES_PER_WORD (5 * sizeof(uint64_t) + 8 + 2 * sizeof(uint16_t))
#define SPARE_WORDS    8

fp_codec *fp_codec_new(const facpool_allocator *allocator)
{
    fp_codec *codec = fp_alloc_zero(allocator, 1, sizeof *codec);
    if (!codec)
        return NULL;
    if (allocator) {
        codec->own_allocator = *allocator;
        codec->allocator = &codec->own_allocator;
    }
    codec->trial.allocator = codec->allocator;
    return codec;
}

void fp_codec_free(fp_codec *codec)
{
    if (!codec)
        return;
    ZSTD_freeCCtx(codec->compressor);
    ZSTD_freeDCtx(codec->decompressor);
    fp_buffer_free(&codec->trial);
    fp_free(codec->allocator, codec->left_codes);
    fp_free(codec->allocator, codec->memory);
    const facpool_allocator allocator = codec->own_allocator;
    fp_free(codec->allocator ? &allocator : NULL, codec);
}

/* Cuts the memory into the arrays, those of the widest elements first. */
static void place_arrays(fp_codec *codec, size_t words)
{
    uint64_t *at = codec->memory;
    codec->integers = at;
    codec->work = at + words;
    codec->offsets = at + 2 * words;
    codec->outer.values = at + 3 * words;
    codec->inner.values = at + 4 * words;
    codec->planes = (uint8_t *)(at + 5 * words);
    codec->outer.positions = (uint16_t *)(at + 6 * words);
    codec->inner.positions = codec->outer.positions + words;
}

int fp_codec_ensure(fp_codec *codec, size_t n, facpool_error *err)
{
    if (n <= codec->capacity)
        return 0;
    size_t words = n + SPARE_WORDS;
    void *memory = fp_alloc(codec->allocator, words * BYTES_PER_WORD);
    if (!memory)
        return fp_fail_nomem(err, words * BYTES_PER_WORD);
    fp_free(codec->allocator, codec->memory);
    codec->memory = memory;
    codec->capacity = n;
    place_arrays(codec, words);
    return 0;
}
