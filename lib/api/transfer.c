/* Rows from a cursor into a sink. Ok rows and the others are gathered apart, since a block holds
 * one kind; each kind keeps the cursor's order. Called by convert and compact; opens and closes
 * neither end. */
#include "api/transfer.h"

#include <string.h>
#include "base/alloc.h"
#include "base/error.h"

/* Rows of very many factors fill a block of fewer rows. */
#define BLOCK_BYTES_MAX ((size_t)256 << 20)

/* Past so many codes the table is begun anew: what it holds is bounded, however many there are. */
#define CODES_MAX ((size_t)4 * FP_BLOCK_ROWS)

/* A sync now and then keeps what waits for the disk small, and tells blocks written after it up to
 * where all is safe. */
#define SYNC_BYTES ((uint64_t)64 << 20)

/* The block being filled of one kind of rows. */
typedef struct filling {
    fp_codes codes;
    fp_batch batch;
    uint32_t last_id; /* of the row before */
} filling;

typedef struct transfer {
    fp_sink *sink;
    size_t rows_max;
    uint64_t bytes_unsynced;
    filling ok;
    filling not_ok;
} transfer;

facpool_filter fp_transfer_filter(int32_t order)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = order;
    filter.copy = 1; /* a file that another cuts short must not end the process */
    return filter;
}

/* ------------------------------------------------------------------ a full block */

static int sync_now_and_then(transfer *t, const fp_batch *batch, facpool_error *err)
{
    t->bytes_unsynced += fp_batch_bytes(batch);
    if (t->sink->durability != FACPOOL_DURABILITY_GROUP || t->bytes_unsynced < SYNC_BYTES)
        return 0;
    t->bytes_unsynced = 0;
    return fp_sink_sync(t->sink, err);
}

static int flush(transfer *t, filling *f, facpool_error *err)
{
    if (f->batch.n_rows == 0)
        return 0;
    int rc = f->codes.rank ? 0 : fp_codes_rank(&f->codes);
    if (rc)
        return fp_fail_nomem(err, f->codes.texts.n * sizeof *f->codes.rank);
    rc = fp_batch_sort(&f->batch, err);
    if (!rc)
        rc = fp_sink_append(t->sink, &f->batch, err);
    if (!rc)
        rc = sync_now_and_then(t, &f->batch, err);
    fp_batch_clear(&f->batch);
    if (f->codes.texts.n > CODES_MAX) {
        fp_codes_free(&f->codes);
        f->last_id = FP_CODE_NONE;
    }
    return rc;
}

/* ------------------------------------------------------------------ rows */

/* By key, codes come in the same order date after date: the code behind the last one is tried
 * before the table is asked. */
static int intern(filling *f, const char *code, size_t length, uint32_t *id, facpool_error *err)
{
    const fp_texts *texts = &f->codes.texts;
    uint32_t guess = f->last_id + 1;
    if (guess < texts->n && fp_texts_length(texts, guess) == length &&
        memcmp(fp_texts_at(texts, guess), code, length) == 0)
        *id = guess;
    else if (fp_codes_intern(&f->codes, code, length, id))
        return fp_fail_nomem(err, length);
    f->last_id = *id;
    return 0;
}

static int copy_codes(filling *f, const facpool_batch_view *view, size_t first, size_t n,
                      facpool_error *err)
{
    const int32_t *offsets = view->code_offsets + first;
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = intern(f, view->code_bytes + offsets[i], (size_t)(offsets[i + 1] - offsets[i]),
                    &f->batch.code_ids[f->batch.n_rows + i], err);
    return rc;
}

static int copy_failures(fp_batch *batch, const facpool_batch_view *view, size_t first, size_t n,
                         facpool_error *err)
{
    const int32_t *offsets = view->message_offsets + first;
    memcpy(batch->statuses + batch->n_rows, view->statuses + first, n);
    memcpy(batch->failure_codes + batch->n_rows, view->failure_codes + first,
           n * sizeof *view->failure_codes);
    for (size_t i = 0; i < n; i++) {
        size_t length = (size_t)(offsets[i + 1] - offsets[i]);
        if (fp_texts_add(&batch->messages, view->message_bytes + offsets[i], length))
            return fp_fail_nomem(err, length);
    }
    return 0;
}

/* Rows first .. first + n - 1 of a view, for which the block has room. */
static int copy_rows(filling *f, const facpool_batch_view *view, size_t first, size_t n,
                     facpool_error *err)
{
    fp_batch *batch = &f->batch;
    int rc = fp_batch_reserve(batch, n, err);
    if (!rc)
        rc = copy_codes(f, view, first, n, err);
    if (!rc && !batch->ok)
        rc = copy_failures(batch, view, first, n, err);
    if (rc)
        return rc;
    size_t at = batch->n_rows;
    memcpy(batch->dates + at, view->dates + first, n * sizeof *view->dates);
    memcpy(batch->timestamps + at, view->timestamps + first, n * sizeof *view->timestamps);
    for (size_t k = 0; batch->ok && k < batch->n_factors; k++)
        memcpy(batch->factors[k] + at, view->factors[k] + first, n * sizeof(double));
    batch->n_rows += n;
    return 0;
}

static int put_rows(transfer *t, filling *f, const facpool_batch_view *view, size_t first, size_t n,
                    facpool_error *err)
{
    int rc = 0;
    while (!rc && n > 0) {
        size_t room = t->rows_max - f->batch.n_rows;
        size_t taken = n < room ? n : room;
        rc = copy_rows(f, view, first, taken, err);
        first += taken;
        n -= taken;
        if (!rc && f->batch.n_rows == t->rows_max)
            rc = flush(t, f, err);
    }
    return rc;
}

/* Splits the view into stretches of rows that are all ok or all not. */
static int put_view(transfer *t, const facpool_batch_view *view, facpool_error *err)
{
    if (view->all_ok)
        return put_rows(t, &t->ok, view, 0, view->n_rows, err);
    int rc = 0;
    for (size_t first = 0, end; !rc && first < view->n_rows; first = end) {
        bool ok = view->statuses[first] == FACPOOL_STATUS_OK;
        end = first + 1;
        while (end < view->n_rows && (view->statuses[end] == FACPOOL_STATUS_OK) == ok)
            end++;
        rc = put_rows(t, ok ? &t->ok : &t->not_ok, view, first, end - first, err);
    }
    return rc;
}

/* ------------------------------------------------------------------ all of it */

static size_t rows_that_fit(size_t n_factors)
{
    size_t rows = BLOCK_BYTES_MAX / (sizeof(double) * (n_factors + 3));
    if (rows >= FP_BLOCK_ROWS)
        return FP_BLOCK_ROWS;
    return rows < FP_PAGE_ROWS ? FP_PAGE_ROWS : rows - rows % FP_PAGE_ROWS;
}

static int filling_init(filling *f, bool ok, size_t n_factors, facpool_error *err)
{
    fp_codes_init(&f->codes, NULL);
    f->last_id = FP_CODE_NONE;
    return fp_batch_init(&f->batch, ok, n_factors, &f->codes, NULL, err);
}

static void filling_free(filling *f)
{
    fp_batch_free(&f->batch);
    fp_codes_free(&f->codes);
}

static int run(transfer *t, facpool_cursor *cursor, facpool_error *err)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    int rc;
    while ((rc = facpool_cursor_next_batch(cursor, &view, err)) == 1) {
        rc = put_view(t, &view, err);
        if (rc)
            return rc;
    }
    if (!rc)
        rc = flush(t, &t->ok, err);
    return rc ? rc : flush(t, &t->not_ok, err);
}

int fp_transfer(facpool_cursor *cursor, fp_sink *sink, facpool_error *err)
{
    size_t n_factors = sink->schema.names.n;
    transfer t = {.sink = sink, .rows_max = rows_that_fit(n_factors)};
    int rc = filling_init(&t.ok, true, n_factors, err);
    if (!rc)
        rc = filling_init(&t.not_ok, false, n_factors, err);
    if (!rc)
        rc = run(&t, cursor, err);
    filling_free(&t.ok);
    filling_free(&t.not_ok);
    return rc;
}
