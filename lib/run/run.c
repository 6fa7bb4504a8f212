/* Runs: a job, an executor, and the thread that waits. The OpenMP executor works on threads of the
 * library, so that the caller's thread is free to show progress however long a task takes; the
 * serial executor works on the caller's own. */
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "run/exec.h"
#include "run/process_desk.h"
#include "run/progress.h"

struct facpool_run_handle {
    facpool_job *job;
    fp_ticker ticker;
    fp_thread driver;
    fp_lock lock; /* guards what follows; woken when some of it is set */
    enum { WAITS, GOES, GIVEN_UP } state; /* of the driver's thread */
    bool over;
    const facpool_allocator *allocator; /* the job's, copied below */
    facpool_allocator own_allocator;
};

/* ------------------------------------------------------------------ driving a job */

/* The thread is there before the job begins, which replaces what a backup held: a run that can't
 * begin leaves it. */
static bool may_go(facpool_run_handle *run)
{
    fp_lock_enter(&run->lock);
    while (run->state == WAITS)
        fp_lock_wait(&run->lock);
    bool goes = run->state == GOES;
    fp_lock_leave(&run->lock);
    return goes;
}

static void *drive(void *arg)
{
    facpool_run_handle *run = arg;
    facpool_job *job = run->job;
    if (!may_go(run))
        return NULL;
    /* Errors stop the job, which keeps them. */
    if (job->config.run.executor == FACPOOL_EXECUTOR_OMP && !job->config.run.dry_run)
        fp_exec_omp(job, NULL);
    else if (job->pool)
        fp_exec_process(job);
    else if (!job->config.run.dry_run)
        fp_exec_serial(job, NULL, NULL, NULL);
    fp_lock_enter(&run->lock);
    run->over = true;
    fp_lock_wake_all(&run->lock);
    fp_lock_leave(&run->lock);
    return NULL;
}

static void run_free(facpool_run_handle *run)
{
    facpool_allocator own = run->own_allocator;
    fp_lock_destroy(&run->lock);
    fp_free(run->allocator ? &own : NULL, run);
}

static int open_run(facpool_run_handle **out, const facpool_tasks *tasks,
                    const facpool_run_options *options, facpool_error *err)
{
    facpool_job *job = NULL;
    if (!out)
        return fp_fail(err, FACPOOL_E_INVALID, "out is NULL: give a place for the run");
    int rc = fp_job_open(&job, tasks, options, FP_CONFIG_RUN, err);
    if (rc)
        return rc;
    facpool_run_handle *run = fp_alloc_zero(job->config.allocator, 1, sizeof *run);
    if (run && job->config.allocator) {
        run->own_allocator = job->config.own_allocator;
        run->allocator = &run->own_allocator;
    }
    rc = run ? fp_lock_init(&run->lock, err) : fp_fail_nomem(err, sizeof *run);
    if (!rc && job->config.run.executor == FACPOOL_EXECUTOR_OMP && !job->config.run.dry_run)
        rc = fp_exec_omp_claim(err);
    if (rc) {
        fp_job_abandon(job);
        if (run)
            run_free(run);
        return rc;
    }
    run->job = job;
    fp_ticker_start(&run->ticker, job);
    *out = run;
    return 0;
}

static void give_up_run(facpool_run_handle *run)
{
    fp_job_abandon(run->job);
    run_free(run);
}

/* Starts the job on a thread of its own, or frees the run. */
static int start_driver(facpool_run_handle *run, facpool_error *err)
{
    int rc = fp_thread_start(&run->driver, drive, run, err);
    if (!rc) {
        rc = fp_job_begin(run->job, err);
        fp_lock_enter(&run->lock);
        run->state = rc ? GIVEN_UP : GOES;
        fp_lock_wake_all(&run->lock);
        fp_lock_leave(&run->lock);
    }
    if (rc) {
        fp_thread_join(&run->driver);
        give_up_run(run);
    }
    return rc;
}

static int end_run(facpool_run_handle *run, facpool_result **out, facpool_error *err)
{
    fp_thread_join(&run->driver);
    fp_ticker_end(&run->ticker);
    int rc = fp_job_finish(run->job, out, err);
    run_free(run);
    return rc;
}

/* ------------------------------------------------------------------ waiting */

/* How long the waiting thread may sleep: progress is due, or a writer without a thread wants a
 * look. */
static int64_t next_look(const facpool_run_handle *run)
{
    const fp_config *config = &run->job->config;
    int64_t at = run->ticker.next_ns;
    if (config->has_backup && config->backup.no_async) {
        int64_t soon = fp_clock_ns() + 20 * 1000000;
        at = soon < at ? soon : at;
    }
    return at;
}

static void wait_until_over(facpool_run_handle *run)
{
    fp_lock_enter(&run->lock);
    while (!run->over) {
        int64_t at = next_look(run);
        fp_lock_wait_until(&run->lock, at);
        if (run->over)
            break;
        fp_lock_leave(&run->lock);
        fp_ticker_tick(&run->ticker);
        fp_lock_enter(&run->lock);
    }
    fp_lock_leave(&run->lock);
}

/* A serial run has nobody else to show progress, or to write where the writer has no thread. */
static bool needs_ticks(const facpool_job *job)
{
    const fp_config *config = &job->config;
    return config->run.progress || (config->has_backup && config->backup.no_async);
}

static void tick_between(void *context)
{
    fp_ticker_tick(context);
}

/* ------------------------------------------------------------------ public calls */

int facpool_run(const facpool_tasks *tasks, const facpool_run_options *options,
                facpool_result **out, facpool_error *err)
{
    facpool_run_handle *run = NULL;
    if (!out)
        return fp_fail(err, FACPOOL_E_INVALID, "out is NULL: give a place for the result");
    int rc = open_run(&run, tasks, options, err);
    if (rc)
        return rc;
    facpool_job *job = run->job;
    if (job->config.run.dry_run)
        return end_run(run, out, err);
    if (job->config.run.executor == FACPOOL_EXECUTOR_SERIAL) {
        rc = fp_job_begin(job, err);
        if (rc) {
            give_up_run(run);
            return rc;
        }
        fp_exec_serial(job, needs_ticks(job) ? tick_between : NULL, &run->ticker, NULL);
        return end_run(run, out, err);
    }
    rc = start_driver(run, err);
    if (rc)
        return rc;
    wait_until_over(run);
    return end_run(run, out, err);
}

int facpool_run_start(facpool_run_handle **out, const facpool_tasks *tasks,
                      const facpool_run_options *options, facpool_error *err)
{
    facpool_run_handle *run = NULL;
    int rc = open_run(out ? &run : NULL, tasks, options, err);
    if (rc)
        return rc;
    rc = start_driver(run, err);
    if (!rc)
        *out = run;
    return rc;
}

int facpool_run_poll(facpool_run_handle *run, facpool_progress *progress, facpool_error *err)
{
    fp_lock_enter(&run->lock);
    bool over = run->over;
    fp_lock_leave(&run->lock);
    if (!over)
        fp_ticker_tick(&run->ticker);
    if (progress) {
        facpool_progress own;
        fp_progress_read(run->job, &own);
        int rc = fp_abi_export(progress, &own, sizeof own, "facpool_progress", err);
        if (rc)
            return rc;
    }
    return over;
}

void facpool_run_cancel(facpool_run_handle *run)
{
    facpool_job_cancel(run->job);
    if (run->job->pool)
        fp_pool_ring(run->job);
}

void facpool_run_kill(facpool_run_handle *run)
{
    atomic_fetch_or(&run->job->signal, FP_SIGNAL_KILL);
    facpool_run_cancel(run);
}

int facpool_run_wait(facpool_run_handle *run, facpool_result **out, facpool_error *err)
{
    wait_until_over(run);
    return end_run(run, out, err);
}
