/* From a batch to lines of JSON. Called by the file log, by several threads at once, each with its
 * own encoder. It writes no file. */
#include "store/json.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

/* A block of lines is made in memory: about so much of it at most. */
#define MOST_ENCODED_BYTES ((size_t)64 << 20)
#define BYTES_OF_A_ROW     ((size_t)256) /* about, factors apart */
#define BYTES_OF_A_FACTOR  ((size_t)48)

typedef struct json_encoder {
    fp_encoder base;
    fp_json_layout layout;
    fp_decimal_powers powers;
    fp_buffer out;
} json_encoder;

void fp_json_free_encoder(fp_encoder *base)
{
    json_encoder *encoder = (json_encoder *)base;
    fp_json_layout_free(&encoder->layout);
    fp_buffer_free(&encoder->out);
    fp_free(NULL, encoder);
}

/* Text that a person can read is not compressed. */
fp_encoder *fp_json_new_encoder(const fp_schema *schema, int compression_level)
{
    (void)compression_level;
    json_encoder *encoder = fp_alloc_zero(NULL, 1, sizeof *encoder);
    if (!encoder)
        return NULL;
    if (fp_json_layout_init(&encoder->layout, &schema->names, schema->tag)) {
        fp_json_free_encoder(&encoder->base);
        return NULL;
    }
    fp_decimal_powers_init(&encoder->powers);
    return &encoder->base;
}

size_t fp_json_most_rows(size_t n_factors)
{
    size_t most = MOST_ENCODED_BYTES / (BYTES_OF_A_ROW + n_factors * BYTES_OF_A_FACTOR);
    if (most < 1)
        return 1;
    return most < FP_BLOCK_ROWS ? most : FP_BLOCK_ROWS;
}

/* ------------------------------------------------------------------ rows */

static fp_json_row row_of(const fp_batch *batch, size_t i)
{
    uint32_t code = batch->code_ids[i];
    fp_json_row row = {.date = batch->dates[i],
                       .code = fp_texts_at(&batch->codes->texts, code),
                       .code_length = fp_texts_length(&batch->codes->texts, code),
                       .timestamp = batch->timestamps[i],
                       .status = FACPOOL_STATUS_OK,
                       .factors = batch->factors,
                       .row = i};
    if (!batch->ok) {
        row.status = batch->statuses[i];
        row.failure_code = batch->failure_codes[i];
        row.message = fp_texts_at(&batch->messages, i);
        row.message_length = fp_texts_length(&batch->messages, i);
    }
    return row;
}

static int put_rows(json_encoder *encoder, const fp_batch *batch, size_t first, size_t n,
                    facpool_error *err)
{
    fp_buffer *out = &encoder->out;
    out->size = 0;
    for (size_t i = first; i < first + n; i++) {
        fp_json_row row = row_of(batch, i);
        size_t room = fp_json_line_bytes(&encoder->layout, &row);
        char *at = (char *)fp_buffer_reserve(out, room);
        if (!at)
            return fp_fail_nomem(err, room);
        char *end = fp_json_put_line(at, &encoder->layout, &encoder->powers, &row);
        out->size += (size_t)(end - at);
    }
    return 0;
}

/* ------------------------------------------------------------------ what the index keeps of them
 */

static bool comes_before(const fp_codes *codes, uint32_t a, uint32_t b)
{
    if (codes->rank)
        return codes->rank[a] < codes->rank[b];
    return strcmp(fp_texts_at(&codes->texts, a), fp_texts_at(&codes->texts, b)) < 0;
}

static void describe(const fp_batch *batch, size_t first, size_t n, fp_block *out)
{
    const fp_codes *codes = batch->codes;
    uint32_t code_min = batch->code_ids[first], code_max = code_min, code_before = code_min;
    fp_block block = {.n_rows = (uint32_t)n,
                      .n_pages = (uint32_t)((n + FP_PAGE_ROWS - 1) / FP_PAGE_ROWS),
                      .all_ok = batch->ok,
                      .has_factors = batch->ok,
                      .date_min = batch->dates[first],
                      .date_max = batch->dates[first + n - 1],
                      .timestamp_min = batch->timestamps[first],
                      .timestamp_max = batch->timestamps[first]};
    for (size_t i = first; i < first + n; i++) {
        uint32_t code = batch->code_ids[i];
        int64_t timestamp = batch->timestamps[i];
        if (code != code_before && comes_before(codes, code, code_min))
            code_min = code;
        if (code != code_before && comes_before(codes, code_max, code))
            code_max = code;
        code_before = code;
        block.timestamp_min = timestamp < block.timestamp_min ? timestamp : block.timestamp_min;
        block.timestamp_max = timestamp > block.timestamp_max ? timestamp : block.timestamp_max;
        block.status_rows[batch->ok ? FACPOOL_STATUS_OK : batch->statuses[i]]++;
    }
    block.code_min = fp_texts_at(&codes->texts, code_min);
    block.code_max = fp_texts_at(&codes->texts, code_max);
    *out = block;
}

int fp_json_encode(fp_encoder *base, const fp_batch *batch, size_t first, size_t n,
                   fp_encoded_block *out, facpool_error *err)
{
    json_encoder *encoder = (json_encoder *)base;
    int rc = put_rows(encoder, batch, first, n, err);
    if (rc)
        return rc;
    *out = (fp_encoded_block){.bytes = encoder->out.data, .size = encoder->out.size};
    describe(batch, first, n, &out->entry.block);
    out->entry.block.bytes = out->size;
    return 0;
}
