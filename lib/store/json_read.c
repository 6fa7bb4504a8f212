/* From lines of JSON to columns: the source type of the json format. Called by cursors and resume,
 * each with its own read context. A block's lines are read together, each is checked before it is
 * believed, and the JSON library reads what is in them. */
#include "store/json.h"

#include "base/alloc.h"
#include "base/error.h"
#include "store/file_log.h"
#include "store/row_block.h"

#include <string.h>

/* To number damaged lines a file is gone over so many times at most, however many there are. */
#define MOST_TIMES_COUNTED 4

/* Rows whose values go to the library together: so many, or fewer where they are long. */
#define ROWS_TOGETHER  64
#define BYTES_TOGETHER ((size_t)16 << 10)

/* A block on its way into memory. */
typedef struct reading {
    const fp_log_source *source;
    const fp_block *block;
    fp_read_context *context;
    fp_json_layout layout;
    fp_json_values values; /* of the rows that wait, one after another */
    fp_json_parts waiting[ROWS_TOGETHER];
    uint64_t offsets[ROWS_TOGETHER]; /* in the file, of these rows' lines */
    size_t n_waiting;
    fp_json_span *spans; /* of one row's factors, as the next */
    double *factors;
    fp_row_block *rows;
    facpool_error *err;
} reading;

/* The number of the line that begins at an offset, counted from one that is known; 0: it can't be
 * had, or enough lines were counted. */
static uint64_t number_of_line(const reading *r, uint64_t offset)
{
    fp_line_count *known = &r->context->line_count;
    if (known->file != r->source || known->offset > offset)
        *known = (fp_line_count){.file = r->source, .bytes_counted = known->bytes_counted};
    uint64_t bytes = known->bytes_counted + (offset - known->offset), lines;
    if (bytes > MOST_TIMES_COUNTED * r->source->file_bytes)
        return 0;
    fp_window window = {.file = &r->source->file->file, .size = offset};
    int rc = fp_json_count_lines(&window, known->offset, offset, &lines, NULL);
    fp_window_free(&window);
    if (rc)
        return 0;
    *known = (fp_line_count){r->source, offset, known->lines_before + lines, bytes};
    return known->lines_before + 1;
}

/* The number of the line is for people; where it can't be had, the place is said. */
static int damaged(const reading *r, uint64_t offset)
{
    const char *path = r->source->base.path;
    uint64_t number = number_of_line(r, offset);
    if (number)
        return fp_fail(r->err, FACPOOL_E_CORRUPT,
                       "'%s': line %llu is damaged: resume a run of all of the file's tasks", path,
                       (unsigned long long)number);
    return fp_fail(r->err, FACPOOL_E_CORRUPT, "'%s': the line at byte %llu is damaged", path,
                   (unsigned long long)offset);
}

static int out_of_memory(const reading *r)
{
    return fp_fail_nomem(r->err, (size_t)r->block->bytes);
}

/* ------------------------------------------------------------------ rows out of values */

/* Row i of those that wait, whose values begin at *at. */
static int take_row(reading *r, size_t i, size_t *at)
{
    const fp_json_parts *parts = &r->waiting[i];
    const fp_json_values *values = &r->values;
    bool is_ok = parts->status == FACPOOL_STATUS_OK;
    fp_row_values row = {.date = parts->date,
                         .code = parts->code.at,
                         .code_length = parts->code.n,
                         .timestamp = parts->timestamp,
                         .status = (uint8_t)parts->status,
                         .failure_code = parts->failure_code,
                         .factors = r->factors};
    bool is_good = true;
    if (!parts->code_is_plain)
        is_good = fp_json_values_text(values, (*at)++, &row.code, &row.code_length);
    is_good = is_good && fp_json_code_is_good(row.code, row.code_length);
    for (size_t k = 0; is_ok && is_good && k < r->layout.keys.n; k++)
        is_good = fp_json_values_factor(values, (*at)++, &r->factors[k]);
    if (!is_ok && is_good)
        is_good = fp_json_values_text(values, (*at)++, &row.message, &row.message_length) &&
                  row.message_length <= FP_MESSAGE_MAX_BYTES;
    if (!is_good)
        return damaged(r, r->offsets[i]);
    return fp_row_block_add(r->rows, &row, r->err);
}

/* Has the library parse what was collected, and takes the rows. */
static int take_waiting(reading *r)
{
    int rc = fp_json_values_parse(&r->values);
    if (rc)
        return rc == FACPOOL_E_NOMEM ? out_of_memory(r) : damaged(r, r->offsets[0]);
    size_t at = 0;
    for (size_t i = 0; !rc && i < r->n_waiting; i++)
        rc = take_row(r, i, &at);
    fp_json_values_clear(&r->values);
    r->n_waiting = 0;
    return rc;
}

/* ------------------------------------------------------------------ values out of lines */

static int collect(reading *r, const fp_json_parts *parts)
{
    int rc = parts->code_is_plain ? 0 : fp_json_values_add_text(&r->values, parts->code);
    if (parts->status != FACPOOL_STATUS_OK)
        return rc ? rc : fp_json_values_add_text(&r->values, parts->message);
    for (size_t k = 0; !rc && k < r->layout.keys.n; k++)
        rc = fp_json_values_add(&r->values, r->spans[k]);
    return rc;
}

static int read_line(reading *r, const char *line, size_t n, uint64_t offset)
{
    fp_json_parts *parts = &r->waiting[r->n_waiting];
    if (fp_json_is_blank(line, n))
        return 0;
    if (!fp_json_line_is_sound(line, n) ||
        fp_json_match_line(&r->layout, line, n, parts, r->spans) != FP_JSON_LINE)
        return damaged(r, offset);
    r->offsets[r->n_waiting++] = offset;
    if (collect(r, parts))
        return out_of_memory(r);
    bool is_full = r->n_waiting == ROWS_TOGETHER || r->values.text.size >= BYTES_TOGETHER;
    return is_full ? take_waiting(r) : 0;
}

static int read_lines(reading *r, const char *text, size_t n)
{
    int rc = 0;
    for (size_t at = 0; !rc && at < n;) {
        const char *newline = memchr(text + at, '\n', n - at);
        if (!newline)
            return damaged(r, r->block->offset + at);
        size_t length = (size_t)(newline - text) - at;
        rc = read_line(r, text + at, length, r->block->offset + at);
        at += length + 1;
    }
    return rc ? rc : take_waiting(r);
}

/* ------------------------------------------------------------------ opening a block */

static int read_bytes(const reading *r)
{
    fp_read_context *context = r->context;
    size_t n = (size_t)r->block->bytes, got;
    context->scratch.size = 0;
    uint8_t *bytes = fp_buffer_reserve(&context->scratch, n);
    if (!bytes)
        return out_of_memory(r);
    int rc = fp_file_read(&r->source->file->file, bytes, n, r->block->offset, &got, r->err);
    if (rc)
        return rc;
    context->bytes_read += got;
    context->scratch.size = got;
    return got == n ? 0 : damaged(r, r->block->offset + got);
}

static int prepare(reading *r)
{
    const fp_schema *schema = &r->source->base.schema;
    size_t n = schema->names.n;
    r->spans = fp_alloc_zero(NULL, n, sizeof *r->spans);
    r->factors = fp_alloc_zero(NULL, n, sizeof *r->factors);
    if (!r->spans || !r->factors || fp_json_layout_init(&r->layout, &schema->names, schema->tag) ||
        fp_json_values_init(&r->values))
        return out_of_memory(r);
    return fp_row_block_new(&r->rows, &r->source->base, r->block, r->err);
}

static void finish(reading *r)
{
    fp_free(NULL, r->spans);
    fp_free(NULL, r->factors);
    fp_json_layout_free(&r->layout);
    fp_json_values_free(&r->values);
    fp_row_block_free(r->rows);
}

static int open_block(const fp_source *source, size_t i, fp_read_context *context,
                      fp_open_block **out, facpool_error *err)
{
    reading r = {.source = (const fp_log_source *)source,
                 .block = &source->blocks[i],
                 .context = context,
                 .err = err};
    int rc = read_bytes(&r);
    if (!rc)
        rc = prepare(&r);
    if (!rc)
        rc = read_lines(&r, (const char *)context->scratch.data, context->scratch.size);
    if (!rc) {
        rc = fp_row_block_open(out, r.rows, err);
        r.rows = NULL; /* taken over, also on failure */
    }
    finish(&r);
    return rc;
}

const fp_source_type fp_json_source_type = {
    .name = "json",
    .open_block = open_block,
    .close_block = fp_row_block_close,
    .read = fp_row_block_read,
    .read_messages = fp_row_block_read_messages,
    .free = fp_log_source_free,
};
