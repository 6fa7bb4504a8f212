/* The one door to zstd. Called by the layouts and the text pages; makes its contexts when they are
 * first needed and keeps them. Frames carry their content's size and neither checksum nor
 * dictionary id: the stores check what they read before it comes here, and zstd's own check would
 * come too late to be of use. */
#include "codec/internal.h"

#include <limits.h>
#include <zstd_errors.h>

static int fail_zstd(facpool_error *err, size_t result)
{
    if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
        return fp_fail(err, FACPOOL_E_NOMEM, "zstd ran out of memory");
    return fp_fail(err, FACPOOL_E_SYSTEM, "zstd failed: %s", ZSTD_getErrorName(result));
}

static int make_compressor(fp_codec *codec, facpool_error *err)
{
    if (codec->compressor)
        return 0;
    ZSTD_CCtx *made = ZSTD_createCCtx();
    if (!made)
        return fp_fail(err, FACPOOL_E_NOMEM, "zstd ran out of memory");
    size_t result = ZSTD_CCtx_setParameter(made, ZSTD_c_contentSizeFlag, 1);
    if (!ZSTD_isError(result))
        result = ZSTD_CCtx_setParameter(made, ZSTD_c_checksumFlag, 0);
    if (!ZSTD_isError(result))
        result = ZSTD_CCtx_setParameter(made, ZSTD_c_dictIDFlag, 0);
    if (ZSTD_isError(result)) {
        ZSTD_freeCCtx(made);
        return fail_zstd(err, result);
    }
    codec->compressor = made;
    return 0;
}

int fp_compress(fp_codec *codec, int level, const void *bytes, size_t n, uint8_t *out, size_t limit,
                size_t *size, facpool_error *err)
{
    int code = make_compressor(codec, err);
    if (code)
        return code;
    size_t result = ZSTD_CCtx_setParameter(codec->compressor, ZSTD_c_compressionLevel, level);
    if (!ZSTD_isError(result))
        result = ZSTD_compress2(codec->compressor, out, limit, bytes, n);
    if (!ZSTD_isError(result)) {
        *size = result;
        return 0;
    }
    if (ZSTD_getErrorCode(result) != ZSTD_error_dstSize_tooSmall)
        return fail_zstd(err, result);
    *size = 0;
    return 0;
}

size_t fp_compressed_content(const uint8_t *frame, size_t size)
{
    unsigned long long content = ZSTD_getFrameContentSize(frame, size);
    if (content == ZSTD_CONTENTSIZE_UNKNOWN || content == ZSTD_CONTENTSIZE_ERROR ||
        content > SIZE_MAX)
        return SIZE_MAX;
    return (size_t)content;
}

int fp_decompress(fp_codec *codec, const uint8_t *frame, size_t size, void *out, size_t n,
                  facpool_error *err)
{
    if (fp_compressed_content(frame, size) != n)
        return fp_corrupt(err, "compressed part of another size");
    /* Else further frames could follow, or part of one be ignored. */
    if (ZSTD_findFrameCompressedSize(frame, size) != size)
        return fp_corrupt(err, "compressed part ends elsewhere");
    if (!codec->decompressor)
        codec->decompressor = ZSTD_createDCtx();
    if (!codec->decompressor)
        return fp_fail(err, FACPOOL_E_NOMEM, "zstd ran out of memory");
    size_t result = ZSTD_decompressDCtx(codec->decompressor, out, n, frame, size);
    if (ZSTD_isError(result) && ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
        return fail_zstd(err, result);
    if (result != n)
        return fp_corrupt(err, "compressed part does not decompress");
    return 0;
}
