/* Batches: rows in columns that grow together, and their sort by key. Called by workers, writers,
 * sinks and readers, each of which owns its batches; nothing here is shared between threads. */
#include "model/batch.h"

#include "base/alloc.h"
#include "base/error.h"

#include <assert.h>
#include <string.h>

#define FIRST_CAPACITY 64

int fp_batch_init(fp_batch *batch, bool ok, size_t n_factors, const fp_codes *codes,
                  const facpool_allocator *allocator, facpool_error *err)
{
    double **factors = NULL;
    if (ok && n_factors) {
        factors = fp_alloc_zero(allocator, n_factors, sizeof *factors);
        if (!factors)
            return fp_fail_nomem(err, n_factors * sizeof *factors);
    }
    *batch = (fp_batch){.ok = ok,
                        .n_factors = n_factors,
                        .factors = factors,
                        .messages = {.allocator = allocator},
                        .codes = codes,
                        .allocator = allocator};
    return 0;
}

void fp_batch_free(fp_batch *batch)
{
    const facpool_allocator *a = batch->allocator;
    fp_free(a, batch->dates);
    fp_free(a, batch->code_ids);
    fp_free(a, batch->timestamps);
    if (batch->factors)
        for (size_t f = 0; f < batch->n_factors; f++)
            fp_free(a, batch->factors[f]);
    fp_free(a, batch->factors);
    fp_free(a, batch->statuses);
    fp_free(a, batch->failure_codes);
    fp_texts_free(&batch->messages);
    fp_free(a, batch->sort_memory);
    *batch = (fp_batch){.allocator = a};
}

void fp_batch_clear(fp_batch *batch)
{
    batch->n_rows = 0;
    fp_texts_clear(&batch->messages);
}

static bool grow_column(const facpool_allocator *a, void *column_place, size_t capacity,
                        size_t each)
{
    void *column;
    memcpy(&column, column_place, sizeof column);
    if (capacity > SIZE_MAX / each)
        return false;
    column = fp_realloc(a, column, capacity * each);
    if (!column)
        return false;
    memcpy(column_place, &column, sizeof column);
    return true;
}

/* A column that grew while a later one could not keeps its room: the capacity only counts once all
 * have it. */
static bool grow_columns(fp_batch *b, size_t capacity)
{
    const facpool_allocator *a = b->allocator;
    if (!grow_column(a, &b->dates, capacity, sizeof *b->dates) ||
        !grow_column(a, &b->code_ids, capacity, sizeof *b->code_ids) ||
        !grow_column(a, &b->timestamps, capacity, sizeof *b->timestamps))
        return false;
    if (!b->ok)
        return grow_column(a, &b->statuses, capacity, sizeof *b->statuses) &&
               grow_column(a, &b->failure_codes, capacity, sizeof *b->failure_codes);
    for (size_t f = 0; f < b->n_factors; f++)
        if (!grow_column(a, &b->factors[f], capacity, sizeof(double)))
            return false;
    return true;
}

int fp_batch_reserve(fp_batch *batch, size_t more, facpool_error *err)
{
    if (more <= batch->capacity - batch->n_rows)
        return 0;
    if (more > SIZE_MAX / 2 - batch->n_rows)
        return fp_fail_nomem(err, more);
    size_t capacity = batch->capacity ? batch->capacity * 2 : FIRST_CAPACITY;
    if (capacity < batch->n_rows + more)
        capacity = batch->n_rows + more;
    if (!grow_columns(batch, capacity))
        return fp_fail_nomem(err, capacity * (sizeof(double) * (batch->n_factors + 3)));
    batch->capacity = capacity;
    return 0;
}

static int append_messages(fp_batch *batch, const fp_batch *from, size_t first, size_t n,
                           facpool_error *err)
{
    size_t before = batch->messages.n;
    for (size_t i = first; i < first + n; i++)
        if (fp_texts_add(&batch->messages, fp_texts_at(&from->messages, i),
                         fp_texts_length(&from->messages, i))) {
            batch->messages.n = before;
            return fp_fail_nomem(err, fp_texts_length(&from->messages, i) + 1);
        }
    return 0;
}

int fp_batch_append(fp_batch *batch, const fp_batch *from, size_t first, size_t n,
                    facpool_error *err)
{
    assert(batch->ok == from->ok && batch->n_factors == from->n_factors);
    assert(batch->codes == from->codes && first <= from->n_rows && n <= from->n_rows - first);
    if (n == 0)
        return 0;
    int code = fp_batch_reserve(batch, n, err);
    if (!code && !batch->ok)
        code = append_messages(batch, from, first, n, err);
    if (code)
        return code;
    size_t at = batch->n_rows;
    memcpy(batch->dates + at, from->dates + first, n * sizeof *from->dates);
    memcpy(batch->code_ids + at, from->code_ids + first, n * sizeof *from->code_ids);
    memcpy(batch->timestamps + at, from->timestamps + first, n * sizeof *from->timestamps);
    if (batch->ok) {
        for (size_t f = 0; f < batch->n_factors; f++)
            memcpy(batch->factors[f] + at, from->factors[f] + first, n * sizeof(double));
    } else {
        memcpy(batch->statuses + at, from->statuses + first, n * sizeof *from->statuses);
        memcpy(batch->failure_codes + at, from->failure_codes + first,
               n * sizeof *from->failure_codes);
    }
    batch->n_rows += n;
    return 0;
}

size_t fp_batch_bytes(const fp_batch *batch)
{
    size_t row = sizeof *batch->dates + sizeof *batch->code_ids + sizeof *batch->timestamps;
    if (batch->ok)
        return batch->n_rows * (row + batch->n_factors * sizeof(double));
    row += sizeof *batch->statuses + sizeof *batch->failure_codes + sizeof *batch->messages.offsets;
    size_t messages = batch->messages.n ? batch->messages.offsets[batch->messages.n] : 0;
    return batch->n_rows * row + messages;
}
