/* The public writer: rows computed elsewhere, appended to a backup under the same rules as a run's
 * own. An ok row is final, so every key with one is remembered: a bit where keys are dense. */
#include <string.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "model/key_set.h"
#include "run/config.h"
#include "run/writer.h"

struct facpool_writer {
    fp_writer *writer;
    fp_codes codes;
    fp_key_set *ok_keys;
    size_t n_factors;
    char *path;
    fp_lock lock; /* one append at a time */
};

/* ------------------------------------------------------------------ what is there already */

typedef struct key_columns {
    int64_t dates[FP_PAGE_ROWS];
    uint32_t codes[FP_PAGE_ROWS];
    uint8_t statuses[FP_PAGE_ROWS];
} key_columns;

static int remember_page(facpool_writer *w, fp_open_block *open, fp_read_context *context,
                         uint32_t page, key_columns *keys, facpool_error *err)
{
    size_t n = open->pages[page].n_rows;
    bool all_ok = open->block->all_ok;
    if (n > FP_PAGE_ROWS)
        return fp_fail(err, FACPOOL_E_CORRUPT, "a page of %zu rows (limit %d)", n, FP_PAGE_ROWS);
    int rc =
        fp_source_copy(open, context, FP_COLUMN_DATE, page, 1, keys->dates, sizeof(int64_t), err);
    if (!rc)
        rc = fp_source_copy(open, context, FP_COLUMN_CODE, page, 1, keys->codes, sizeof(uint32_t),
                            err);
    if (!rc && !all_ok)
        rc = fp_source_copy(open, context, FP_COLUMN_STATUS, page, 1, keys->statuses, 1, err);
    for (size_t i = 0; !rc && i < n; i++) {
        if (!all_ok && keys->statuses[i] != FACPOOL_STATUS_OK)
            continue;
        uint32_t id;
        bool was_there;
        const fp_texts *codes = open->codes;
        if (fp_codes_intern(&w->codes, fp_texts_at(codes, keys->codes[i]),
                            fp_texts_length(codes, keys->codes[i]), &id) ||
            fp_key_set_add(w->ok_keys, keys->dates[i], id, &was_there))
            rc = fp_fail_nomem(err, sizeof(fp_key_set *));
    }
    return rc;
}

/* Pages whose keys can't be read count as not there, as in a resume. */
static int remember_keys(facpool_writer *w, fp_source *source, facpool_error *err)
{
    fp_read_context context = {0};
    key_columns *keys = fp_alloc(NULL, sizeof *keys);
    if (!keys)
        return fp_fail_nomem(err, sizeof *keys);
    int rc = fp_read_context_init(&context, err);
    context.copies = true; /* as a resume reads */
    for (size_t b = 0; !rc && b < source->n_blocks; b++) {
        fp_open_block *open = NULL;
        if (!source->blocks[b].has_factors)
            continue;
        rc = source->type->open_block(source, b, &context, &open, err);
        for (uint32_t page = 0; !rc && page < open->block->n_pages; page++) {
            rc = remember_page(w, open, &context, page, keys, err);
            if (rc == FACPOOL_E_CORRUPT)
                rc = 0;
        }
        if (open)
            source->type->close_block(open);
        if (rc == FACPOOL_E_CORRUPT)
            rc = 0;
    }
    fp_read_context_free(&context);
    fp_free(NULL, keys);
    return rc;
}

/* ------------------------------------------------------------------ opening */

static void handle_free(facpool_writer *w)
{
    fp_key_set_free(w->ok_keys);
    fp_codes_free(&w->codes);
    fp_lock_destroy(&w->lock);
    fp_free(NULL, w->path);
    fp_free(NULL, w);
}

static int open_sink(facpool_writer *w, const facpool_backup_options *options,
                     const fp_schema *schema, facpool_error *err)
{
    fp_sink *sink = NULL;
    fp_source *source = NULL;
    fp_sink_opening opening = {0};
    int rc = fp_sink_open(&sink, options, schema, &opening, err);
    if (rc)
        return rc;
    if (opening.existed) {
        rc = fp_sink_source(sink, &source, err);
        if (!rc)
            rc = remember_keys(w, source, err);
        fp_source_release(source);
    }
    if (rc) {
        fp_sink_close(sink, NULL);
        return rc;
    }
    fp_writer_config config = {.n_lanes = 1,
                               .n_factors = w->n_factors,
                               .codes = &w->codes,
                               .options = options,
                               .keys_repeat = true};
    rc = fp_writer_open(&w->writer, sink, &config, err);
    if (rc)
        return rc;
    rc = fp_writer_begin(w->writer, err);
    if (rc) {
        fp_writer_totals nothing;
        (void)fp_writer_close(w->writer, &nothing, NULL);
    }
    return rc;
}

int facpool_writer_open(facpool_writer **out, const facpool_backup_options *backup,
                        const char *const *factor_names, size_t n_factors, facpool_error *err)
{
    facpool_backup_options options;
    fp_schema schema = {0};
    if (!backup)
        return fp_fail(err, FACPOOL_E_INVALID, "no backup options are given");
    int rc = fp_backup_options_read(&options, backup, err);
    if (!rc)
        rc = fp_schema_init(&schema, n_factors, factor_names, options.tag, err);
    if (rc)
        return rc;
    facpool_writer *w = fp_alloc_zero(NULL, 1, sizeof *w);
    if (!w) {
        fp_schema_free(&schema);
        return fp_fail_nomem(err, sizeof *w);
    }
    fp_codes_init(&w->codes, NULL);
    w->n_factors = n_factors;
    w->ok_keys = fp_key_set_new(NULL);
    w->path = fp_strdup(NULL, options.path ? options.path : "");
    rc = w->ok_keys && w->path ? fp_lock_init(&w->lock, err) : fp_fail_nomem(err, 4096);
    if (!rc)
        rc = open_sink(w, &options, &schema, err);
    fp_schema_free(&schema);
    if (rc) {
        handle_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* ------------------------------------------------------------------ appending */

static uint8_t status_of(const facpool_rows *rows, size_t i)
{
    return rows->statuses ? rows->statuses[i] : FACPOOL_STATUS_OK;
}

static int check_rows(const facpool_rows *rows, facpool_error *err)
{
    if (rows->n && (!rows->dates || !rows->codes))
        return fp_fail(err, FACPOOL_E_INVALID, "rows have no %s", rows->dates ? "codes" : "dates");
    bool has_factors = rows->factors || rows->factor_columns;
    for (size_t i = 0; i < rows->n; i++) {
        uint8_t status = status_of(rows, i);
        if (status < FACPOOL_STATUS_OK || status > FACPOOL_STATUS_CRASHED)
            return fp_fail(err, FACPOOL_E_INVALID, "row %zu has status %d: take 1 (ok) to 5", i,
                           (int)status);
        if (status == FACPOOL_STATUS_OK && !has_factors)
            return fp_fail(err, FACPOOL_E_INVALID,
                           "row %zu is ok, but neither factors nor factor_columns is given", i);
        if (!fp_text_check(rows->codes[i], "code", err))
            return FACPOOL_E_INVALID;
    }
    return 0;
}

/* Marks the ok keys of rows 0 .. n - 1 as there; on a key that is there already takes back what it
 * marked. */
static int claim_keys(facpool_writer *w, const facpool_rows *rows, uint32_t *ids,
                      facpool_error *err)
{
    size_t i = 0;
    int rc = 0;
    for (; !rc && i < rows->n; i++) {
        bool is_ok = status_of(rows, i) == FACPOOL_STATUS_OK, there = false;
        rc = fp_codes_intern(&w->codes, rows->codes[i], strlen(rows->codes[i]), &ids[i]);
        if (!rc && is_ok)
            rc = fp_key_set_add(w->ok_keys, rows->dates[i], ids[i], &there);
        else if (!rc)
            there = fp_key_set_has(w->ok_keys, rows->dates[i], ids[i]);
        if (rc)
            fp_fail_nomem(err, sizeof *ids);
        else if (there)
            rc = fp_fail_task(err, FACPOOL_E_EXISTS, rows->dates[i], rows->codes[i],
                              "row %zu: (%lld, '%s') has an ok row in backup '%s' or before it in "
                              "the same rows, and ok rows are final: leave it out",
                              i, (long long)rows->dates[i], rows->codes[i], w->path);
        if (rc)
            break;
    }
    for (size_t k = 0; rc && k < i; k++)
        if (status_of(rows, k) == FACPOOL_STATUS_OK)
            fp_key_set_remove(w->ok_keys, rows->dates[k], ids[k]);
    return rc;
}

static void put_factors(const facpool_writer *w, const facpool_rows *rows, size_t row,
                        fp_batch *batch, size_t at)
{
    for (size_t f = 0; f < w->n_factors; f++)
        batch->factors[f][at] = rows->factor_columns ? rows->factor_columns[f][row]
                                                     : rows->factors[row * w->n_factors + f];
}

static int put_message(const facpool_rows *rows, size_t row, fp_batch *batch)
{
    const char *message = rows->messages && rows->messages[row] ? rows->messages[row] : "";
    size_t length = strnlen(message, FP_MESSAGE_MAX_BYTES + 1);
    int rc =
        fp_texts_add(&batch->messages, message, fp_utf8_cut(message, length, FP_MESSAGE_MAX_BYTES));
    if (!rc)
        fp_texts_mend_last(&batch->messages);
    return rc;
}

/* Appends to the lane's batches, whose room was made before: only messages can still fail. */
static int put_rows(facpool_writer *w, fp_lane *lane, const facpool_rows *rows, const uint32_t *ids,
                    int64_t now_us)
{
    for (size_t i = 0; i < rows->n; i++) {
        bool is_ok = status_of(rows, i) == FACPOOL_STATUS_OK;
        fp_batch *batch = is_ok ? &lane->ok : &lane->rest;
        size_t at = batch->n_rows;
        batch->dates[at] = rows->dates[i];
        batch->code_ids[at] = ids[i];
        batch->timestamps[at] = rows->timestamps ? rows->timestamps[i] : now_us;
        if (is_ok) {
            put_factors(w, rows, i, batch, at);
        } else {
            if (put_message(rows, i, batch))
                return FACPOOL_E_NOMEM;
            batch->statuses[at] = status_of(rows, i);
            batch->failure_codes[at] = rows->failure_codes ? rows->failure_codes[i] : 0;
        }
        batch->n_rows++;
    }
    return 0;
}

static int append_locked(facpool_writer *w, const facpool_rows *rows, uint32_t *ids,
                         facpool_error *err)
{
    int rc = fp_writer_failed(w->writer);
    if (rc) {
        fp_writer_error(w->writer, err);
        return rc;
    }
    fp_lane *lane = fp_writer_lane(w->writer, 0);
    fp_writer_pause(w->writer); /* codes may grow */
    fp_lane_enter(lane);
    size_t ok_rows = lane->ok.n_rows, rest_rows = lane->rest.n_rows;
    rc = fp_batch_reserve(&lane->ok, rows->n, err);
    if (!rc)
        rc = fp_batch_reserve(&lane->rest, rows->n, err);
    if (!rc)
        rc = claim_keys(w, rows, ids, err);
    if (!rc && put_rows(w, lane, rows, ids, fp_clock_wall_us())) {
        rc = fp_fail_nomem(err, FP_MESSAGE_MAX_BYTES);
        lane->ok.n_rows = ok_rows;
        lane->rest.n_rows = rest_rows;
        fp_texts_cut(&lane->rest.messages, rest_rows);
        for (size_t i = 0; i < rows->n; i++)
            if (status_of(rows, i) == FACPOOL_STATUS_OK)
                fp_key_set_remove(w->ok_keys, rows->dates[i], ids[i]);
    }
    fp_writer_go_on(w->writer);
    int leave_rc = fp_lane_leave(lane, rc ? NULL : err);
    return rc ? rc : leave_rc;
}

int facpool_writer_append(facpool_writer *w, const facpool_rows *given, facpool_error *err)
{
    facpool_rows rows;
    int rc = fp_abi_import(&rows, sizeof rows, given, "facpool_rows", err);
    if (!rc)
        rc = check_rows(&rows, err);
    if (rc || !rows.n)
        return rc;
    uint32_t *ids = fp_alloc_zero(NULL, rows.n, sizeof *ids);
    if (!ids)
        return fp_fail_nomem(err, rows.n * sizeof *ids);
    fp_lock_enter(&w->lock);
    rc = append_locked(w, &rows, ids, err);
    fp_lock_leave(&w->lock);
    fp_free(NULL, ids);
    return rc;
}

int facpool_writer_sync(facpool_writer *w, facpool_error *err)
{
    return fp_writer_sync(w->writer, err);
}

int facpool_writer_close(facpool_writer *w, facpool_error *err)
{
    if (!w)
        return 0;
    fp_writer_totals totals = {0};
    int rc = fp_writer_close(w->writer, &totals, err);
    handle_free(w);
    return rc;
}
