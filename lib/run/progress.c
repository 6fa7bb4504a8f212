/* Reading and showing progress: nothing here is called by workers. */
#include "run/progress.h"

void fp_progress_read(const facpool_job *job, facpool_progress *out)
{
    uint64_t done[6] = {0};
    for (uint32_t w = 0; w < job->n_workers; w++)
        for (int status = 0; status < 6; status++)
            done[status] +=
                atomic_load_explicit(&job->workers[w].done[status], memory_order_relaxed);
    facpool_progress p = FACPOOL_PROGRESS_INIT;
    p.total = job->plan.count;
    p.resumed = job->plan.n_done;
    p.ok = done[FACPOOL_STATUS_OK];
    p.skipped = done[FACPOOL_STATUS_SKIPPED];
    p.failed =
        done[FACPOOL_STATUS_FAILED] + done[FACPOOL_STATUS_TIMEOUT] + done[FACPOOL_STATUS_CRASHED];
    uint64_t finished = p.ok + p.skipped + p.failed;
    p.done = p.resumed + finished;
    if (job->writer) {
        const fp_sink *sink = fp_writer_sink(job->writer);
        p.rows_written = atomic_load_explicit(&sink->rows_written, memory_order_relaxed);
        p.rows_durable = atomic_load_explicit(&sink->rows_durable, memory_order_relaxed);
    }
    p.elapsed_s = (double)(fp_clock_ns() - job->began_ns) / 1e9;
    p.rate = p.elapsed_s > 0 ? (double)finished / p.elapsed_s : 0;
    p.eta_s = p.done == p.total ? 0 : finished ? (double)(p.total - p.done) / p.rate : -1;
    *out = p;
}

void fp_ticker_start(fp_ticker *t, facpool_job *job)
{
    *t = (fp_ticker){.job = job,
                     .interval_ns = (int64_t)job->config.run.progress_interval_ms * 1000000};
    t->next_ns = fp_clock_ns() + t->interval_ns;
}

static void call_progress(const fp_ticker *t)
{
    const facpool_run_options *run = &t->job->config.run;
    if (!run->progress)
        return;
    facpool_progress progress;
    fp_progress_read(t->job, &progress);
    if (run->progress(&progress, run->progress_user))
        facpool_job_cancel(t->job);
}

void fp_ticker_tick(fp_ticker *t)
{
    /* What a poll fails with, the workers meet too. */
    if (t->job->writer)
        fp_writer_poll(t->job->writer, NULL);
    int64_t now_ns = fp_clock_ns();
    if (now_ns < t->next_ns)
        return;
    call_progress(t);
    t->next_ns = now_ns + t->interval_ns;
}

void fp_ticker_end(fp_ticker *t)
{
    call_progress(t);
}
