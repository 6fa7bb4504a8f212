/* From a job that is over to its result: counts summed, failures and slow chunks picked, rows
 * handed on. Called once, by fp_job_finish. */
#include "run/outcome.h"

#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"

static void count_tasks(facpool_report *r, const facpool_job *job)
{
    uint64_t done[6] = {0};
    for (uint32_t w = 0; w < job->n_workers; w++) {
        const fp_worker *worker = &job->workers[w];
        for (int status = 0; status < 6; status++)
            done[status] += atomic_load_explicit(&worker->done[status], memory_order_relaxed);
        r->compute_s += (double)worker->compute_ns / 1e9;
        r->wait_s += (double)worker->wait_ns / 1e9;
    }
    r->total = job->plan.count;
    r->resumed = job->plan.n_done;
    r->ok = done[FACPOOL_STATUS_OK];
    r->skipped = done[FACPOOL_STATUS_SKIPPED];
    r->failed = done[FACPOOL_STATUS_FAILED];
    r->timeout = done[FACPOOL_STATUS_TIMEOUT];
    r->crashed = done[FACPOOL_STATUS_CRASHED];
    r->not_run = r->total - r->resumed - r->ok - r->skipped - r->failed - r->timeout - r->crashed;
}

static void describe_run(facpool_report *r, const facpool_job *job)
{
    const uint64_t *retry = job->plan.retry;
    r->retry_failed = retry[FACPOOL_STATUS_FAILED];
    r->retry_timeout = retry[FACPOOL_STATUS_TIMEOUT];
    r->retry_crashed = retry[FACPOOL_STATUS_CRASHED];
    r->new_tasks = r->total - r->resumed - r->retry_failed - r->retry_timeout - r->retry_crashed;
    r->rows_written = job->rows_written;
    r->rows_durable = job->rows_durable;
    r->damaged_blocks = job->damaged_blocks;
    r->tail_bytes_cut = job->opening.tail_bytes_cut;
    r->workers = job->config.run.workers;
    r->write_s = (double)job->write_ns / 1e9;
    r->elapsed_s = (double)(fp_clock_ns() - job->began_ns) / 1e9;
}

/* ------------------------------------------------------------------ failures */

typedef struct found_failure {
    const fp_failed *failed;
    const fp_texts *messages;
} found_failure;

static int compare_found(const void *a, const void *b)
{
    const found_failure *x = a, *y = b;
    return x->failed->index < y->failed->index ? -1 : x->failed->index > y->failed->index;
}

static int add_failure(facpool_result *result, const found_failure *found)
{
    facpool_report *r = &result->report;
    const fp_failed *failed = found->failed;
    facpool_failure *f = &result->failures[r->n_failures];
    *f = (facpool_failure){.size = sizeof *f,
                           .index = failed->index,
                           .date = fp_tasks_date(result->tasks, failed->index),
                           .code = fp_texts_at(&result->tasks->codes.texts,
                                               fp_tasks_code_id(result->tasks, failed->index)),
                           .status = failed->status,
                           .failure_code = failed->code};
    if (fp_texts_add(&result->messages, fp_texts_at(found->messages, failed->message),
                     fp_texts_length(found->messages, failed->message)))
        return FACPOOL_E_NOMEM;
    r->n_failures++;
    return 0;
}

/* The first failures by task order, of those that the workers kept. */
static int pick_failures(facpool_result *result, const facpool_job *job)
{
    size_t n = 0, at = 0;
    for (uint32_t w = 0; w < job->n_workers; w++)
        n += job->workers[w].n_failed;
    if (!n)
        return 0;
    found_failure *found = fp_alloc(result->allocator, n * sizeof *found);
    if (!found)
        return FACPOOL_E_NOMEM;
    for (uint32_t w = 0; w < job->n_workers; w++)
        for (size_t i = 0; i < job->workers[w].n_failed; i++)
            found[at++] =
                (found_failure){&job->workers[w].failed[i], &job->workers[w].failed_messages};
    qsort(found, n, sizeof *found, compare_found);
    int rc = 0;
    for (size_t i = 0; !rc && i < n && i < FP_REPORT_FAILURES; i++)
        rc = add_failure(result, &found[i]);
    /* The texts no longer move: point into them. */
    for (size_t i = 0; i < result->report.n_failures; i++)
        result->failures[i].message = fp_texts_at(&result->messages, i);
    fp_free(result->allocator, found);
    return rc;
}

/* ------------------------------------------------------------------ slow chunks */

static void pick_slowest(facpool_result *result, const facpool_job *job)
{
    fp_slow_chunk best[FP_SLOW_CHUNKS] = {{0}};
    for (uint32_t w = 0; w < job->n_workers; w++) {
        for (int i = 0; i < FP_SLOW_CHUNKS; i++) {
            fp_slow_chunk slow = job->workers[w].slow[i];
            int at = FP_SLOW_CHUNKS;
            for (; at > 0 && best[at - 1].ns < slow.ns; at--)
                if (at < FP_SLOW_CHUNKS)
                    best[at] = best[at - 1];
            if (at < FP_SLOW_CHUNKS)
                best[at] = slow;
        }
    }
    for (int i = 0; i < FP_SLOW_CHUNKS && best[i].n; i++) {
        fp_key_walk walk;
        fp_key_walk_start(&walk, &job->plan.keys, best[i].position);
        fp_key_walk_load(&walk);
        result->slowest[i] =
            (facpool_slow_chunk){.date = walk.date,
                                 .code = fp_texts_at(&job->tasks->codes.texts, walk.code_id),
                                 .n = best[i].n,
                                 .seconds = (double)best[i].ns / 1e9};
        result->report.n_slowest++;
    }
}

/* ------------------------------------------------------------------ rows */

static int settle_memory(fp_memory *m, const facpool_job *job)
{
    int rc = 0;
    for (uint32_t w = 0; !rc && w < job->n_workers; w++) {
        const fp_worker *worker = &job->workers[w];
        rc = fp_memory_add_stamps(m, worker->stamps, worker->n_stamps);
        if (!rc)
            rc =
                fp_memory_add_failed(m, worker->failed, worker->n_failed, &worker->failed_messages);
    }
    return rc;
}

/* Rows of earlier runs, where this one keeps its rows in memory. */
static int load_resumed(fp_memory *m, const facpool_job *job, facpool_error *err)
{
    fp_source *source = NULL;
    fp_store store = {job->config.backup.sink, job->config.backup.sink_user,
                      job->config.backup_path};
    int rc = fp_store_source(&source, &store, NULL, err);
    if (!rc)
        rc = fp_memory_load(m, source, err);
    fp_source_release(source);
    return rc;
}

/* Whether rows of earlier runs stand: final ones, and failures that this run did not come to. */
static bool has_older_rows(const facpool_report *r)
{
    uint64_t to_retry = r->retry_failed + r->retry_timeout + r->retry_crashed;
    return r->resumed || (to_retry && r->not_run);
}

/* Rows of earlier runs that can't be read don't cost the ones of this run: the error is given
 * with the result. */
static int take_rows(facpool_result *result, facpool_job *job, facpool_error *err)
{
    fp_memory *m = job->memory;
    if (!m)
        return 0;
    if (settle_memory(m, job))
        return fp_fail_nomem(err, job->plan.count);
    int rc = has_older_rows(&result->report) ? load_resumed(m, job, err) : 0;
    fp_memory_settle(m, !rc && result->report.not_run == 0);
    result->memory = m;
    job->memory = NULL;
    return rc;
}

static int fill(facpool_result *result, facpool_job *job, facpool_error *err)
{
    int rc = fp_lock_init(&result->lock, err);
    if (!rc)
        rc = fp_schema_copy(&result->schema, &job->config.schema, err);
    if (rc)
        return rc;
    if (job->config.backup_path) {
        char *path = fp_strdup(result->allocator, job->config.backup_path);
        if (!path)
            return fp_fail_nomem(err, strlen(job->config.backup_path));
        result->store = (fp_store){job->config.backup.sink, job->config.backup.sink_user, path};
    }
    count_tasks(&result->report, job);
    if (pick_failures(result, job))
        return fp_fail_nomem(err, FP_REPORT_FAILURES * FP_MESSAGE_MAX_BYTES);
    pick_slowest(result, job);
    describe_run(&result->report, job);
    return take_rows(result, job, err);
}

int fp_outcome_new(facpool_result **out, facpool_job *job, facpool_error *err)
{
    const facpool_allocator *allocator = job->config.allocator;
    facpool_result *result = fp_alloc_zero(allocator, 1, sizeof *result);
    if (!result)
        return fp_fail_nomem(err, sizeof *result);
    if (allocator) {
        result->own_allocator = *allocator;
        result->allocator = &result->own_allocator;
    }
    result->messages.allocator = result->allocator;
    if (fp_tasks_hold(job->tasks)) {
        fp_free(allocator, result);
        return fp_fail_nomem(err, sizeof *result);
    }
    result->tasks = job->tasks;
    result->code_major = job->plan.keys.code_major;
    result->dropped = job->config.run.results == FACPOOL_RESULTS_DROP;
    result->report.size = sizeof result->report;
    int rc = fill(result, job, err);
    if (rc && !result->memory) {
        fp_outcome_free(result);
        return rc;
    }
    result->report.failures = result->failures;
    result->report.slowest = result->slowest;
    *out = result;
    return rc;
}

void fp_outcome_free(facpool_result *result)
{
    if (!result)
        return;
    facpool_allocator own = result->own_allocator;
    const facpool_allocator *allocator = result->allocator ? &own : NULL;
    fp_memory_release(result->memory);
    fp_schema_free(&result->schema);
    fp_texts_free(&result->messages);
    fp_free(allocator, (char *)(uintptr_t)result->store.path);
    fp_free(allocator, result->dates);
    fp_lock_destroy(&result->lock);
    fp_tasks_release(result->tasks);
    fp_free(allocator, result);
}
