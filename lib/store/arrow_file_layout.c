/* Where everything lies in a block of the memory_map format, and the Arrow message that says so to
 * foreign readers. Called by the format's encoder, checks and reader; it reads and writes no file.
 */
#include "store/arrow_file.h"

#include "base/alloc.h"
#include "base/error.h"

/* date, code, timestamp and status come before the factors. */
#define FIXED_COLUMNS 4
/* A column has two buffers, validity and values; code one more. */
#define FIXED_BUFFERS 9

static size_t n_columns_of(size_t n_factors)
{
    return FIXED_COLUMNS + n_factors;
}

static size_t n_buffers_of(size_t n_factors)
{
    return FIXED_BUFFERS + 2 * n_factors;
}

uint32_t fp_arrow_envelope_bytes(size_t n_factors)
{
    return (uint32_t)fp_arrow_batch_bytes(n_columns_of(n_factors), n_buffers_of(n_factors));
}

fp_front_rules fp_arrow_rules(size_t n_factors)
{
    return (fp_front_rules){.magic = FP_ARROW_BLOCK_MAGIC,
                            .at = fp_arrow_envelope_bytes(n_factors),
                            .ok_columns = (uint32_t)(FP_SECTION_FACTOR + n_factors),
                            .not_ok_columns = FP_SECTIONS_NOT_OK,
                            .column_bytes = FP_CHUNKS_OF_PAGE * FP_CHUNK_SUM_BYTES,
                            .more_bytes = FP_MORE_BYTES,
                            .least_tail_bytes = FP_ARROW_TRAILER_BYTES + FP_ARROW_END_BYTES,
                            .most_tail_bytes = FP_ARROW_TRAILER_BYTES + (uint32_t)INT32_MAX};
}

/* ------------------------------------------------------------------ sections */

static bool is_offsets(uint32_t section, bool all_ok)
{
    return section == FP_SECTION_CODE_OFFSET || (!all_ok && section == FP_SECTION_MESSAGE_OFFSET);
}

uint32_t fp_arrow_texts_of(const fp_arrow_layout *layout, uint32_t section)
{
    return is_offsets(section, layout->all_ok) ? section + 1 : 0;
}

uint32_t fp_arrow_section_width(const fp_arrow_layout *layout, uint32_t section)
{
    switch (section) {
    case FP_SECTION_NUMBER:
    case FP_SECTION_CODE_OFFSET:
        return 4;
    case FP_SECTION_CODE_TEXT:
        return 0;
    case FP_SECTION_STATUS:
        return 1;
    case FP_SECTION_FAILURE_CODE:
    case FP_SECTION_MESSAGE_OFFSET:
        return layout->all_ok ? 8 : 4;
    case FP_SECTION_MESSAGE_TEXT:
        return layout->all_ok ? 8 : 0;
    default:
        return 8;
    }
}

uint64_t fp_arrow_section_bytes(const fp_arrow_layout *layout, uint32_t section)
{
    uint32_t width = fp_arrow_section_width(layout, section);
    if (width == 0)
        return layout->text_bytes[section == FP_SECTION_MESSAGE_TEXT];
    return (uint64_t)width * (layout->n_rows + is_offsets(section, layout->all_ok));
}

static uint64_t padded(uint64_t bytes)
{
    return bytes + fp_front_padding(bytes);
}

fp_arrow_layout fp_arrow_layout_of(bool all_ok, uint32_t n_rows, size_t n_factors,
                                   uint64_t code_bytes, uint64_t message_bytes, uint64_t first)
{
    fp_arrow_layout layout = {
        .all_ok = all_ok,
        .n_rows = n_rows,
        .n_chunks = fp_front_n_pages(n_rows) * FP_CHUNKS_OF_PAGE,
        .n_sections = all_ok ? (uint32_t)(FP_SECTION_FACTOR + n_factors) : FP_SECTIONS_NOT_OK,
        .envelope_bytes = fp_arrow_envelope_bytes(n_factors),
        .text_bytes = {code_bytes, message_bytes},
        .end = first,
    };
    uint32_t listed = all_ok ? FP_SECTION_FACTOR : FP_SECTIONS_NOT_OK;
    for (uint32_t section = 0; section < listed; section++) {
        layout.at[section] = layout.end;
        layout.end += padded(fp_arrow_section_bytes(&layout, section));
    }
    if (all_ok) {
        layout.at[FP_SECTION_FACTOR] = layout.end;
        layout.end += n_factors * padded((uint64_t)n_rows * sizeof(double));
    }
    return layout;
}

uint64_t fp_arrow_section_at(const fp_arrow_layout *layout, uint32_t section)
{
    if (!layout->all_ok || section <= FP_SECTION_FACTOR)
        return layout->at[section];
    return layout->at[FP_SECTION_FACTOR] +
           (section - FP_SECTION_FACTOR) * padded((uint64_t)layout->n_rows * sizeof(double));
}

fp_arrow_stretch fp_arrow_stretch_of(const fp_arrow_layout *layout, uint32_t section,
                                     uint32_t first, uint32_t end, const uint32_t *offsets)
{
    uint64_t first_row = (uint64_t)first * FP_CHUNK_ROWS;
    uint64_t end_row = (uint64_t)end * FP_CHUNK_ROWS;
    if (first_row >= layout->n_rows) /* a chunk that fills up the last page */
        return (fp_arrow_stretch){0};
    if (end_row > layout->n_rows)
        end_row = layout->n_rows;
    uint32_t width = fp_arrow_section_width(layout, section);
    if (width == 0)
        return (fp_arrow_stretch){.at = offsets[first_row],
                                  .bytes = offsets[end_row] - offsets[first_row]};
    end_row += is_offsets(section, layout->all_ok); /* where the last text ends */
    return (fp_arrow_stretch){.at = first_row * width, .bytes = (end_row - first_row) * width};
}

/* ------------------------------------------------------------------ the envelope */

static fp_arrow_buffer buffer_of(const fp_arrow_layout *layout, uint32_t section)
{
    return (fp_arrow_buffer){.offset =
                                 fp_arrow_section_at(layout, section) - layout->envelope_bytes,
                             .bytes = fp_arrow_section_bytes(layout, section)};
}

/* Buffers 2 k and 2 k + 1 of factors: one stretch of zeros stands for all of them where no row has
 * any, as validity and as values. */
static void describe_factors(const fp_arrow_layout *layout, size_t n_factors, uint64_t *nulls,
                             fp_arrow_buffer *buffers)
{
    for (size_t i = 0; i < n_factors; i++) {
        fp_arrow_buffer *validity = &buffers[2 * i], *values = validity + 1;
        if (layout->all_ok) {
            *values = buffer_of(layout, FP_SECTION_FACTOR + (uint32_t)i);
        } else {
            nulls[i] = layout->n_rows;
            *values = buffer_of(layout, FP_SECTION_NULLS);
            *validity = (fp_arrow_buffer){values->offset, (layout->n_rows + 7) / 8};
        }
    }
}

static void describe_columns(const fp_arrow_layout *layout, size_t n_factors, uint64_t *nulls,
                             fp_arrow_buffer *buffers)
{
    /* No column but the factors has a validity: those buffers stay empty. */
    buffers[1] = buffer_of(layout, FP_SECTION_DATE);
    buffers[3] = buffer_of(layout, FP_SECTION_CODE_OFFSET);
    buffers[4] = buffer_of(layout, FP_SECTION_CODE_TEXT);
    buffers[6] = buffer_of(layout, FP_SECTION_TIMESTAMP);
    buffers[8] = buffer_of(layout, FP_SECTION_STATUS);
    describe_factors(layout, n_factors, nulls + FIXED_COLUMNS, buffers + FIXED_BUFFERS);
}

/* Of an index block's batch all buffers are empty. The two arrays are one piece of memory, in
 * *memory. */
static int describe_batch(const fp_arrow_layout *layout, size_t n_factors, uint64_t block_bytes,
                          fp_arrow_batch *out, void **memory, facpool_error *err)
{
    size_t n_columns = n_columns_of(n_factors), n_buffers = n_buffers_of(n_factors);
    size_t bytes = n_buffers * sizeof(fp_arrow_buffer) + n_columns * sizeof(uint64_t);
    fp_arrow_buffer *buffers = fp_alloc_zero(NULL, 1, bytes);
    if (!buffers)
        return fp_fail_nomem(err, bytes);
    uint64_t *nulls = (uint64_t *)(buffers + n_buffers);
    if (layout)
        describe_columns(layout, n_factors, nulls, buffers);
    *out = (fp_arrow_batch){.n_rows = layout ? layout->n_rows : 0,
                            .body_bytes = block_bytes - fp_arrow_envelope_bytes(n_factors),
                            .n_columns = n_columns,
                            .nulls = nulls,
                            .n_buffers = n_buffers,
                            .buffers = buffers};
    *memory = buffers;
    return 0;
}

int fp_arrow_put_envelope(const fp_arrow_layout *layout, size_t n_factors, uint64_t block_bytes,
                          fp_buffer *out, facpool_error *err)
{
    fp_arrow_batch batch;
    void *memory;
    int rc = describe_batch(layout, n_factors, block_bytes, &batch, &memory, err);
    if (rc)
        return rc;
    if (fp_arrow_put_batch(&batch, out))
        rc = fp_fail_nomem(err, fp_arrow_envelope_bytes(n_factors));
    fp_free(NULL, memory);
    return rc;
}

int fp_arrow_check_envelope(const uint8_t *envelope, const fp_arrow_layout *layout,
                            size_t n_factors, uint64_t block_bytes, bool *sound, facpool_error *err)
{
    fp_arrow_batch batch;
    void *memory;
    int rc = describe_batch(layout, n_factors, block_bytes, &batch, &memory, err);
    if (rc)
        return rc;
    *sound = fp_arrow_is_batch(envelope, fp_arrow_envelope_bytes(n_factors), &batch);
    fp_free(NULL, memory);
    return 0;
}
