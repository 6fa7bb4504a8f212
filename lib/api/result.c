/* Results: getters, reading rows back from the backup on demand, and questions. It stands above
 * both wings: what run/ left and what query/ asks. */
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "query/cursor.h"
#include "run/outcome.h"

/* ------------------------------------------------------------------ rows on demand */

/* Where neither this run nor an earlier one wrote a row, there is nothing to read, and the backup
 * may not even say what its factors are. */
static bool has_rows(const facpool_report *r)
{
    return r->rows_written || r->resumed || r->retry_failed || r->retry_timeout || r->retry_crashed;
}

static int load_locked(facpool_result *r, facpool_error *err)
{
    if (r->memory)
        return 0;
    if (r->dropped || !r->store.path)
        return fp_fail(err, FACPOOL_E_STATE,
                       "this run dropped its rows: run with results = keep, "
                       "or query the backup");
    fp_source *source = NULL;
    fp_memory *memory = NULL;
    int rc = has_rows(&r->report) ? fp_store_source(&source, &r->store, NULL, err) : 0;
    if (!rc)
        rc = fp_memory_new(&memory, r->tasks, r->code_major, &r->schema, r->allocator, err);
    if (!rc && source)
        rc = fp_memory_load(memory, source, err);
    fp_source_release(source);
    if (rc) {
        fp_memory_release(memory);
        return rc;
    }
    fp_memory_settle(memory, false);
    r->memory = memory;
    return 0;
}

int facpool_result_load(const facpool_result *result, facpool_error *err)
{
    facpool_result *r = (facpool_result *)result; /* made on demand, with the lock held */
    fp_lock_enter(&r->lock);
    int rc = load_locked(r, err);
    fp_lock_leave(&r->lock);
    return rc;
}

/* ------------------------------------------------------------------ columns */

size_t facpool_result_count(const facpool_result *result)
{
    return result->tasks->count;
}

size_t facpool_result_n_factors(const facpool_result *result)
{
    return result->schema.names.n;
}

const char *facpool_result_factor_name(const facpool_result *result, size_t factor)
{
    return factor < result->schema.names.n ? fp_texts_at(&result->schema.names, factor) : NULL;
}

const double *facpool_result_factor(const facpool_result *result, size_t factor)
{
    if (factor >= result->schema.names.n || facpool_result_load(result, NULL))
        return NULL;
    return result->memory->factors[factor];
}

const uint8_t *facpool_result_status(const facpool_result *result)
{
    return facpool_result_load(result, NULL) ? NULL : result->memory->statuses;
}

const int64_t *facpool_result_dates(const facpool_result *result)
{
    facpool_result *r = (facpool_result *)result;
    const facpool_tasks *tasks = r->tasks;
    if (!tasks->is_grid)
        return tasks->dates;
    fp_lock_enter(&r->lock);
    if (!r->dates) {
        r->dates = fp_alloc_zero(r->allocator, tasks->count ? tasks->count : 1, sizeof *r->dates);
        for (size_t i = 0; r->dates && i < tasks->count; i++)
            r->dates[i] = fp_tasks_date(tasks, i);
    }
    fp_lock_leave(&r->lock);
    return r->dates;
}

const char *facpool_result_code(const facpool_result *result, size_t index)
{
    const facpool_tasks *tasks = result->tasks;
    if (index >= tasks->count)
        return NULL;
    return fp_texts_at(&tasks->codes.texts, fp_tasks_code_id(tasks, index));
}

/* ------------------------------------------------------------------ failures and report */

size_t facpool_result_n_failures(const facpool_result *result)
{
    if (facpool_result_load(result, NULL))
        return result->report.n_failures;
    return result->memory->n_failed;
}

int facpool_result_failure(const facpool_result *result, size_t i, facpool_failure *failure,
                           facpool_error *err)
{
    /* Looked at once: another thread's load may succeed where this one's does not. */
    const fp_memory *m = facpool_result_load(result, NULL) ? NULL : result->memory;
    size_t n = m ? m->n_failed : result->report.n_failures;
    if (i >= n)
        return fp_fail(err, FACPOOL_E_INVALID, "failure %zu: there are %zu", i, n);
    facpool_failure own = FACPOOL_FAILURE_INIT;
    if (!m) {
        own = result->failures[i];
    } else {
        const fp_failed *failed = &m->failed[i];
        own.index = failed->index;
        own.date = fp_tasks_date(result->tasks, failed->index);
        own.code = facpool_result_code(result, failed->index);
        own.status = failed->status;
        own.failure_code = failed->code;
        own.message = fp_texts_at(&m->messages, failed->message);
    }
    return fp_abi_export(failure, &own, sizeof own, "facpool_failure", err);
}

int facpool_result_report(const facpool_result *result, facpool_report *report, facpool_error *err)
{
    return fp_abi_export(report, &result->report, sizeof result->report, "facpool_report", err);
}

int facpool_result_query(const facpool_result *result, const facpool_filter *filter,
                         facpool_cursor **out, facpool_error *err)
{
    int rc = facpool_result_load(result, err);
    fp_source *source = NULL;
    if (!rc)
        rc = fp_memory_source(result->memory, &source, err);
    if (!rc)
        rc = fp_cursor_open(out, &source, 1, filter, err);
    fp_source_release(source);
    return rc;
}

void facpool_result_free(facpool_result *result)
{
    fp_outcome_free(result);
}
