/* Pages of short texts: codes, and the messages of failures. Called by the stores; bytes read may
 * be anything. Looks only at lengths: whether a text is valid is not its business.
 *
 * A page of n texts:
 *   u8   0: the content follows as it is; 1: as one zstd frame whose header states its size
 *   content: n u16 lengths, 0 to 16 KiB each, then the texts' bytes one after another */
#include "codec/internal.h"

#define TEXT_RAW       0
#define TEXT_ZSTD      1
#define TEXT_MAX_BYTES 16384

static int put_content(fp_buffer *content, const fp_texts *texts, size_t i0, size_t n,
                       facpool_error *err)
{
    size_t bytes = n ? texts->offsets[i0 + n] - texts->offsets[i0] - n : 0;
    uint8_t *lengths = fp_buffer_reserve(content, 2 * n + bytes);
    if (!lengths)
        return fp_fail_nomem(err, 2 * n + bytes);
    uint8_t *to = lengths + 2 * n;
    for (size_t i = 0; i < n; i++) {
        size_t length = fp_texts_length(texts, i0 + i);
        if (length > TEXT_MAX_BYTES)
            return fp_fail(err, FACPOOL_E_INVALID, "a text of %zu bytes: it has at most %d", length,
                           TEXT_MAX_BYTES);
        fp_half_store(lengths + 2 * i, (uint16_t)length);
        memcpy(to, fp_texts_at(texts, i0 + i), length);
        to += length;
    }
    content->size += 2 * n + bytes;
    return 0;
}

int fp_texts_encode(fp_codec *codec, const fp_texts *texts, size_t i0, size_t n, int level,
                    fp_buffer *out, facpool_error *err)
{
    fp_buffer *content = &codec->trial;
    content->size = 0;
    int code = put_content(content, texts, i0, n, err);
    if (code)
        return code;
    uint8_t *end = fp_buffer_reserve(out, 1 + content->size);
    if (!end)
        return fp_fail_nomem(err, 1 + content->size);
    size_t size = 0, limit = content->size - content->size / 32;
    if (level >= 0 && content->size >= 64)
        code = fp_compress(codec, level, content->data, content->size, end + 1, limit, &size, err);
    if (code)
        return code;
    end[0] = size ? TEXT_ZSTD : TEXT_RAW;
    if (size == 0) {
        size = content->size;
        if (size)
            memcpy(end + 1, content->data, size);
    }
    out->size += 1 + size;
    return 0;
}

/* The content of a page that came compressed, in codec->trial. Its size is bounded before memory
 * is taken for it. */
static int decompress_content(fp_codec *codec, fp_bytes *in, size_t n, size_t most_each,
                              fp_bytes *content, facpool_error *err)
{
    size_t left = in->size - in->at, size = fp_compressed_content(in->data + in->at, left);
    if (size == SIZE_MAX || size < 2 * n || size - 2 * n > n * most_each)
        return fp_corrupt(err, "impossible size of texts");
    codec->trial.size = 0;
    uint8_t *room = fp_buffer_reserve(&codec->trial, size);
    if (!room)
        return fp_fail_nomem(err, size);
    *content = (fp_bytes){.data = room, .size = size};
    return fp_decompress(codec, in->data + in->at, left, room, size, err);
}

static int add_texts(fp_texts *out, fp_bytes *content, size_t n, facpool_error *err)
{
    const uint8_t *lengths = fp_bytes_take(content, 2 * n);
    size_t total = 0;
    if (!lengths)
        return fp_corrupt(err, "text lengths end early");
    for (size_t i = 0; i < n; i++) {
        size_t length = fp_half_load(lengths + 2 * i);
        if (length > TEXT_MAX_BYTES)
            return fp_corrupt(err, "text too long");
        total += length;
    }
    if (total != content->size - content->at)
        return fp_corrupt(err, "text lengths do not add up");
    const char *bytes = (const char *)content->data + content->at;
    if (fp_texts_reserve(out, n, total))
        return fp_fail_nomem(err, total);
    uint32_t end = out->n ? out->offsets[out->n] : 0;
    out->offsets[out->n] = end;
    for (size_t i = 0; i < n; i++) {
        size_t length = fp_half_load(lengths + 2 * i);
        memcpy(out->bytes + end, bytes, length);
        bytes += length;
        end += (uint32_t)length + 1;
        out->bytes[end - 1] = '\0';
        out->offsets[out->n + i + 1] = end;
    }
    out->n += n;
    return 0;
}

int fp_texts_decode(fp_codec *codec, const uint8_t *bytes, size_t size, size_t n, fp_texts *out,
                    facpool_error *err)
{
    return fp_short_texts_decode(codec, bytes, size, n, TEXT_MAX_BYTES, out, err);
}

int fp_short_texts_decode(fp_codec *codec, const uint8_t *bytes, size_t size, size_t n,
                          size_t most_each, fp_texts *out, facpool_error *err)
{
    fp_bytes in = {.data = bytes, .size = size};
    unsigned kind = fp_bytes_u8(&in);
    if (in.failed || kind > TEXT_ZSTD || n > SIZE_MAX / (2 + TEXT_MAX_BYTES))
        return fp_corrupt(err, "unknown kind of text page");
    fp_bytes content = in;
    if (kind == TEXT_ZSTD) {
        int code = decompress_content(codec, &in, n, most_each, &content, err);
        if (code)
            return code;
    }
    return add_texts(out, &content, n, err);
}
