/* Opening, stopping and ending a job, and taking back what workers finished. Giving out is claim.c.
 */
#include "run/job.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "os/file.h"
#include "run/claim.h"
#include "run/outcome.h"
#include "run/process_desk.h"

/* A chunk's factors should stay in the first-level cache. */
#define CHUNK_FACTOR_BYTES 32768
#define CHUNK_TASKS_MAX    1024

/* A chunk should take about so long: long enough that claiming costs nothing, short enough that
 * workers end together. */
#define CHUNK_TARGET_NS 100000

/* What is laid before a worker process at once should last until the run looks again. */
#define PROCESS_CHUNK_TARGET_NS 4000000

/* ------------------------------------------------------------------ opening */

static void job_log(const facpool_job *job, const char *format, ...) FP_PRINTF(2, 3);

static void job_log(const facpool_job *job, const char *format, ...)
{
    if (!job->config.run.log)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    job->config.run.log(text, job->config.run.log_user);
}

static void log_opening(const facpool_job *job)
{
    const char *path = job->config.backup_path;
    if (job->opening.tail_bytes_cut)
        job_log(job, "backup '%s' ended in a torn tail: %" PRIu64 " bytes were cut off", path,
                job->opening.tail_bytes_cut);
    if (job->damaged_blocks && job->leaves_damage)
        job_log(
            job,
            "backup '%s' has %" PRIu64 " damaged blocks, which stay and are reported: it holds "
            "rows of tasks that this run does not have, and theirs may be lost. Resume a run of "
            "all its tasks to have them computed again",
            path, job->damaged_blocks);
    else if (job->damaged_blocks)
        job_log(job, "backup '%s' has %" PRIu64 " damaged blocks: their tasks run again", path,
                job->damaged_blocks);
    if (job->opening.existed)
        job_log(job, "backup '%s' holds %zu of %zu tasks: %zu are left to run", path,
                job->plan.n_done, job->plan.count, job->to_run);
}

/* Takes off what the source holds. */
static int subtract(facpool_job *job, fp_source *source, fp_plan_findings *found,
                    facpool_error *err)
{
    int rc =
        fp_plan_subtract(&job->plan, source, job->config.backup.no_retry_failed != 0, found, err);
    job->to_run = job->plan.count - job->plan.n_done;
    return rc;
}

static int subtract_sink(facpool_job *job, fp_sink *sink, fp_plan_findings *found,
                         facpool_error *err)
{
    fp_source *source = NULL;
    int rc = fp_sink_source(sink, &source, err);
    if (!rc)
        rc = subtract(job, source, found, err);
    fp_source_release(source);
    return rc;
}

/* Takes off what is there. A file's damaged blocks are given up, to be computed again, where they
 * are this run's: all of their keys are its tasks; or some can't be read, but all that can be read
 * in the file are. What may be another run's stays, and who asks is told. */
static int resume_backup(facpool_job *job, fp_sink *sink, facpool_error *err)
{
    fp_plan_findings found = {0};
    uint64_t n_left = 0;
    int rc = subtract_sink(job, sink, &found, err);
    job->damaged_blocks = job->opening.damaged_blocks;
    if (!rc && job->opening.keeps_damage) {
        rc = fp_sink_give_up(sink, found.has_others ? found.is_ours : NULL, &n_left, err);
        if (!rc)
            rc = subtract_sink(job, sink, &found, err);
    } else {
        job->damaged_blocks += found.unreadable;
    }
    job->leaves_damage = n_left > 0;
    fp_plan_findings_free(&found);
    return rc;
}

static void remember_row(facpool_job *job, int64_t row_us)
{
    job->config.schema.row_us = row_us;
    if (job->memory)
        job->memory->schema.row_us = row_us;
}

/* So that a result reads its rows back from this very file, not from one that replaced it. */
static void remember_file(facpool_job *job, const fp_schema *stored)
{
    memcpy(job->config.schema.file_id, stored->file_id, sizeof stored->file_id);
    if (job->memory)
        memcpy(job->memory->schema.file_id, stored->file_id, sizeof stored->file_id);
    remember_row(job, stored->row_us);
}

static int open_backup(facpool_job *job, facpool_error *err)
{
    const fp_config *config = &job->config;
    fp_sink *sink = NULL;
    int rc = fp_sink_open(&sink, &config->backup, &config->schema, &job->opening, err);
    if (rc)
        return rc;
    if (job->opening.existed)
        rc = resume_backup(job, sink, err);
    if (rc) {
        fp_sink_close(sink, NULL);
        return rc;
    }
    remember_file(job, &sink->schema);
    fp_writer_config writer = {.n_lanes = job->n_workers,
                               .n_factors = config->run.n_factors,
                               .codes = &job->tasks->codes,
                               .options = &config->backup,
                               .collect = fp_job_collect,
                               .owner = job,
                               .allocator = config->allocator};
    return fp_writer_open(&job->writer, sink, &writer, err);
}

/* As a run sees it: an empty file counts as absent. A store of the user's own tells by opening. */
static int is_absent(const facpool_backup_options *backup, bool *absent, facpool_error *err)
{
    fp_file file;
    uint64_t size = 0;
    *absent = false;
    if (backup->sink)
        return 0;
    int rc = fp_file_open(&file, backup->path, false, err);
    if (!rc) {
        rc = fp_file_size(&file, &size, err);
        fp_file_close(&file);
    } else if (rc == FACPOOL_E_NOT_FOUND) {
        rc = 0;
    }
    *absent = size == 0;
    return rc;
}

/* A dry run reads the backup and leaves it alone. */
static int look_at_backup(facpool_job *job, facpool_error *err)
{
    const fp_config *config = &job->config;
    fp_source *source = NULL;
    bool absent = false;
    facpool_error cause = FACPOOL_ERROR_INIT; /* that there is no backup yet is no news */
    int rc = is_absent(&config->backup, &absent, &cause);
    if (!rc && absent)
        return 0;
    fp_store store = {config->backup.sink, config->backup.sink_user, config->backup_path};
    if (!rc)
        rc = fp_store_source(&source, &store, NULL, &cause);
    if (rc == FACPOOL_E_NOT_FOUND && store.type)
        return 0;
    if (rc)
        return fp_error_copy(err, &cause);
    remember_file(job, &source->schema);
    fp_plan_findings found = {0};
    if (config->backup.mode == FACPOOL_MODE_CREATE) {
        rc = fp_fail(err, FACPOOL_E_EXISTS,
                     "backup '%s' exists: resume it, overwrite it, or choose another file",
                     config->backup_path);
    } else if (config->backup.mode == FACPOOL_MODE_RESUME) {
        rc = fp_schema_match_factors(&source->schema, &config->schema, config->backup_path, err);
        if (!rc)
            rc = fp_schema_match_tag(&source->schema, &config->schema, config->backup_path, err);
        if (!rc)
            rc = subtract(job, source, &found, err);
    }
    job->damaged_blocks = source->n_damaged + found.unreadable;
    job->leaves_damage = found.has_others;
    fp_plan_findings_free(&found);
    fp_source_release(source);
    return rc;
}

static int make_workers(facpool_job *job, facpool_error *err)
{
    const facpool_allocator *allocator = job->config.allocator;
    /* Workers begin on cache lines of their own, whatever the allocator gives. */
    job->workers_memory = fp_alloc_zero(allocator, job->n_workers + 1, sizeof *job->workers);
    if (!job->workers_memory)
        return fp_fail_nomem(err, job->n_workers * sizeof *job->workers);
    uintptr_t at = (uintptr_t)job->workers_memory;
    job->workers = (fp_worker *)((at + 63) / 64 * 64);
    for (uint32_t i = 0; i < job->n_workers; i++)
        fp_worker_init(&job->workers[i], job, i);
    return 0;
}

static size_t longest_chunk(const facpool_job *job)
{
    const facpool_run_options *run = &job->config.run;
    if (!run->fn)
        return FP_SLICE_TASKS_MAX;
    size_t fits = CHUNK_FACTOR_BYTES / sizeof(double) / run->n_factors;
    return fits < 16 ? 16 : fits > CHUNK_TASKS_MAX ? CHUNK_TASKS_MAX : fits;
}

static int open_parts(facpool_job *job, facpool_error *err)
{
    const facpool_run_options *run = &job->config.run;
    int rc = fp_lock_init(&job->lock, err);
    if (!rc)
        rc = fp_plan_init(&job->plan, job->tasks, run->group_by, job->config.allocator, err);
    if (rc)
        return rc;
    bool has_processes = run->executor == FACPOOL_EXECUTOR_PROCESS && !run->dry_run;
    job->n_workers = has_processes ? run->workers * FP_DESKS_A_SEAT : run->workers;
    job->chunk_max = longest_chunk(job);
    job->chunk_target_ns = has_processes ? PROCESS_CHUNK_TARGET_NS : CHUNK_TARGET_NS;
    job->to_run = job->plan.count;
    job->keeps_order = fp_key_order_is_identity(&job->plan.keys);
    rc = make_workers(job, err);
    if (!rc && has_processes)
        rc = fp_pool_open(job, err);
    if (!rc && run->results == FACPOOL_RESULTS_KEEP && !run->dry_run)
        rc = fp_memory_new(&job->memory, job->tasks, run->group_by == FACPOOL_GROUP_CODE,
                           &job->config.schema, job->config.allocator, err);
    if (!rc && job->config.has_backup)
        rc = run->dry_run ? look_at_backup(job, err) : open_backup(job, err);
    /* Tasks that failed in an earlier run and fail again say nothing against the function. */
    const uint64_t *retry = job->plan.retry;
    job->failures_allowed = run->stop_if_first_fail + retry[FACPOOL_STATUS_FAILED] +
                            retry[FACPOOL_STATUS_TIMEOUT] + retry[FACPOOL_STATUS_CRASHED];
    for (uint32_t i = 0; !rc && job->writer && i < job->n_workers; i++)
        job->workers[i].lane = fp_writer_lane(job->writer, i);
    return rc;
}

static void job_free(facpool_job *job)
{
    fp_pool_close(job);
    for (uint32_t i = 0; job->workers && i < job->n_workers; i++)
        fp_worker_free(&job->workers[i]);
    const facpool_allocator *allocator = job->config.allocator;
    fp_free(allocator, job->workers_memory);
    fp_memory_release(job->memory);
    fp_plan_free(&job->plan);
    fp_free(allocator, job->returned);
    fp_lock_destroy(&job->lock);
    fp_tasks_release(job->tasks);
    facpool_allocator own = job->config.own_allocator;
    bool has_own = job->config.allocator != NULL;
    fp_config_free(&job->config);
    fp_free(has_own ? &own : NULL, job->memory_of_job);
}

/* The job itself, on a cache line of its own. */
static facpool_job *job_alloc(const facpool_allocator *allocator)
{
    void *memory = fp_alloc_zero(allocator, 1, sizeof(facpool_job) + 64);
    if (!memory)
        return NULL;
    facpool_job *job = (facpool_job *)(((uintptr_t)memory + 63) / 64 * 64);
    job->memory_of_job = memory;
    return job;
}

int fp_job_open(facpool_job **out, const facpool_tasks *tasks, const facpool_run_options *options,
                fp_config_kind kind, facpool_error *err)
{
    if (!tasks || !out)
        return fp_fail(err, FACPOOL_E_INVALID, "%s",
                       tasks ? "out is NULL: give a place for the job" : "no task set is given");
    fp_config config;
    int rc = fp_config_init(&config, options, kind, err);
    if (rc)
        return rc;
    facpool_job *job = job_alloc(config.allocator);
    if (!job) {
        fp_config_free(&config);
        return fp_fail_nomem(err, sizeof *job);
    }
    job->config = config;
    if (config.allocator)
        job->config.allocator = &job->config.own_allocator;
    job->config.backup.path = job->config.backup_path;
    job->began_ns = fp_clock_ns();
    job->cancel = config.run.cancel ? config.run.cancel : &job->no_cancel;
    rc = fp_tasks_hold(tasks);
    if (rc) {
        fp_config_free(&job->config);
        fp_free(config.allocator ? &config.own_allocator : NULL, job->memory_of_job);
        return fp_fail_nomem(err, tasks->codes.texts.n * sizeof(uint32_t));
    }
    job->tasks = tasks;
    rc = open_parts(job, err);
    if (rc) {
        job_free(job);
        return rc;
    }
    log_opening(job);
    *out = job;
    return 0;
}

/* ------------------------------------------------------------------ stopping */

int fp_job_stop(facpool_job *job, int code, const facpool_error *why)
{
    fp_lock_enter(&job->lock);
    if (!atomic_load(&job->stop_code)) {
        job->stop_error = *why;
        atomic_store(&job->stop_code, code);
        atomic_fetch_or(&job->signal, FP_SIGNAL_STOP);
    }
    fp_lock_wake_all(&job->lock);
    fp_lock_leave(&job->lock);
    return code;
}

int fp_job_stop_with(facpool_job *job, int rc, const facpool_error *error, facpool_error *err)
{
    fp_job_stop(job, rc, error);
    fp_error_copy(err, error);
    return rc;
}

bool fp_job_is_stopping(facpool_job *job)
{
    if (atomic_load_explicit(&job->stop_code, memory_order_relaxed))
        return true;
    if (!atomic_load_explicit(&job->cancel->set, memory_order_relaxed) &&
        !(atomic_load_explicit(&job->signal, memory_order_relaxed) & FP_SIGNAL_CANCEL))
        return false;
    facpool_error why = FACPOOL_ERROR_INIT;
    fp_fail(&why, FACPOOL_E_CANCELLED,
            "the run was cancelled: what was finished is kept, resume runs the rest");
    fp_job_stop(job, FACPOOL_E_CANCELLED, &why);
    return true;
}

void fp_job_count_finished(const facpool_job *job, uint64_t *good, uint64_t *failed)
{
    *good = *failed = 0;
    for (uint32_t i = 0; i < job->n_workers; i++) {
        for (int status = FACPOOL_STATUS_OK; status <= FACPOOL_STATUS_CRASHED; status++) {
            uint64_t n = atomic_load_explicit(&job->workers[i].done[status], memory_order_relaxed);
            *(status <= FACPOOL_STATUS_SKIPPED ? good : failed) += n;
        }
    }
}

/* After a chunk with failures: ends the job where the options say so. */
static void judge_failures(facpool_job *job, const fp_worker *worker)
{
    const facpool_run_options *run = &job->config.run;
    bool stop_now = run->on_error == FACPOOL_ON_ERROR_STOP;
    if (!stop_now && (run->no_stop_if_first_fail || atomic_load(&job->any_good)))
        return;
    uint64_t good, failed;
    fp_job_count_finished(job, &good, &failed);
    if (!stop_now && (good || failed < job->failures_allowed))
        return;
    fp_key_walk walk;
    fp_key_walk_start(&walk, &job->plan.keys, worker->failed_position);
    fp_key_walk_load(&walk);
    const char *code = fp_texts_at(&job->tasks->codes.texts, walk.code_id);
    facpool_error why = FACPOOL_ERROR_INIT;
    if (stop_now)
        fp_fail_task(&why, FACPOOL_E_TASK, walk.date, code,
                     "task (%lld, '%s') failed with code %d%s%s, and on_error is stop",
                     (long long)walk.date, code, (int)worker->failed_code,
                     worker->failed_message[0] ? ": " : "", worker->failed_message);
    else
        fp_fail_task(&why, FACPOOL_E_TASK, walk.date, code,
                     "the first %llu finished tasks all failed, one of them (%lld, '%s') with "
                     "code %d%s%s: mend the function, or set no_stop_if_first_fail",
                     (unsigned long long)failed, (long long)walk.date, code,
                     (int)worker->failed_code, worker->failed_message[0] ? ": " : "",
                     worker->failed_message);
    fp_job_stop(job, FACPOOL_E_TASK, &why);
}

/* ------------------------------------------------------------------ taking back */

int fp_job_collect(void *owner, uint32_t lane, facpool_error *err)
{
    facpool_job *job = owner;
    return fp_worker_collect(&job->workers[lane], err);
}

static int collect(fp_worker *worker, bool is_over, facpool_error *err)
{
    fp_lane *lane = worker->lane;
    if (lane)
        fp_lane_enter(lane);
    int rc = fp_worker_collect(worker, err);
    if (is_over)
        worker->busy = false;
    if (!lane)
        return rc;
    int lane_rc = fp_lane_leave(lane, rc ? NULL : err);
    worker->wait_ns += lane->wait_ns;
    lane->wait_ns = 0;
    return rc ? rc : lane_rc;
}

/* Rows that a group had before are not counted, so they don't speak for the function. */
static void note_good(facpool_job *job)
{
    if (atomic_load_explicit(&job->any_good, memory_order_relaxed))
        return;
    uint64_t good, failed;
    fp_job_count_finished(job, &good, &failed);
    if (good)
        atomic_store_explicit(&job->any_good, true, memory_order_relaxed);
}

int fp_job_collect_some(facpool_job *job, fp_worker *worker, facpool_error *err)
{
    int rc = collect(worker, false, err);
    note_good(job);
    return rc;
}

int fp_job_return(facpool_job *job, fp_worker *worker, size_t n_finished, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_worker_note_time(worker, n_finished, fp_clock_ns());
    int rc = collect(worker, true, &error);
    note_good(job);
    if (!rc && worker->n_failed_in_chunk)
        judge_failures(job, worker);
    bool is_hungry = atomic_load(&job->signal) & FP_SIGNAL_HUNGRY;
    if (!rc && (is_hungry || n_finished < worker->n) && fp_claim_give_back(job, worker, n_finished))
        rc = fp_fail_nomem(&error, sizeof(fp_range));
    if (worker->reserve_first >= worker->reserve_end)
        fp_claim_drop(job, worker);
    return rc ? fp_job_stop_with(job, rc, &error, err) : 0;
}

/* ------------------------------------------------------------------ ending */

static int close_writer(facpool_job *job, facpool_error *err)
{
    if (!job->writer)
        return 0;
    fp_writer_totals totals = {0};
    int rc = fp_writer_close(job->writer, &totals, err);
    job->writer = NULL;
    for (uint32_t i = 0; i < job->n_workers; i++)
        job->workers[i].lane = NULL;
    job->rows_written = totals.rows_written;
    job->rows_durable = totals.rows_durable;
    job->write_ns = totals.write_ns;
    if (totals.row_us)
        remember_row(job, totals.row_us);
    return rc;
}

/* Whether every task has a final row, from this run or an earlier one. */
static bool is_complete(const facpool_job *job)
{
    uint64_t good, failed;
    fp_job_count_finished(job, &good, &failed);
    return good + failed == job->to_run;
}

/* How the job ended: 0 only where nothing is left. That rows could not be stored, which only
 * closing may have found, weighs more than a task that failed or a caller who cancelled. */
static int verdict(facpool_job *job, int close_rc, facpool_error *error)
{
    int stopped = atomic_load(&job->stop_code);
    if (stopped == FACPOOL_E_CANCELLED || (stopped == FACPOOL_E_TASK && close_rc))
        stopped = 0;
    if (stopped) {
        *error = job->stop_error;
        return stopped;
    }
    if (close_rc || job->config.run.dry_run || is_complete(job))
        return close_rc;
    return fp_fail(
        error, FACPOOL_E_CANCELLED,
        "the run ended with tasks left: what was finished is kept, resume runs the rest");
}

int fp_job_finish(facpool_job *job, facpool_result **out, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT, outcome_error = FACPOOL_ERROR_INIT;
    int rc = verdict(job, close_writer(job, &error), &error);
    facpool_result *result = NULL;
    int outcome_rc = fp_outcome_new(&result, job, &outcome_error);
    bool has_result = result != NULL;
    if (out && result)
        *out = result;
    else
        fp_outcome_free(result);
    /* A run that ended early gives its result: where it can't, that is what the caller must know.
     */
    if (outcome_rc && (!rc || !has_result)) {
        rc = outcome_rc;
        error = outcome_error;
    }
    job_free(job);
    return rc ? fp_error_copy(err, &error) : 0;
}

int fp_job_begin(facpool_job *job, facpool_error *err)
{
    return job->writer ? fp_writer_begin(job->writer, err) : 0;
}

void fp_job_abandon(facpool_job *job)
{
    close_writer(job, NULL);
    job_free(job);
}
