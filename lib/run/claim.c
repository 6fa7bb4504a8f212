/* Giving out work: whole groups, or stretches of positions that workers take chunks from. One
 * atomic addition in the common case; the job's lock is taken only at the end of the work, where
 * workers wait for what others give back. */
#include "run/claim.h"

#include "base/alloc.h"
#include "base/error.h"

/* A group that has something left. */
static bool claim_group(facpool_job *job, fp_range *range)
{
    const fp_plan *plan = &job->plan;
    while (atomic_load_explicit(&job->next, memory_order_relaxed) < plan->n_groups) {
        size_t group = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (group >= plan->n_groups)
            return false;
        range->first = fp_plan_group_start(plan, group);
        range->end = fp_plan_group_start(plan, group + 1);
        if (fp_plan_left(plan, range->first, range->end))
            return true;
    }
    return false;
}

/* While nothing but failures has come in, chunks stay so short that the limit is met closely. */
static size_t cautious_size(const facpool_job *job, size_t size)
{
    const facpool_run_options *run = &job->config.run;
    if (run->no_stop_if_first_fail || atomic_load_explicit(&job->any_good, memory_order_relaxed))
        return size;
    uint64_t good, failed;
    fp_job_count_finished(job, &good, &failed);
    uint64_t left = failed < job->failures_allowed ? job->failures_allowed - failed : 1;
    uint64_t each = left / job->n_workers;
    return each < 1 ? 1 : size < each ? size : (size_t)each;
}

/* Positions for some chunks at once, so that a worker of fast tasks works on a stretch of its own:
 * its rows are neighbours in memory and in the file. Stretches that are all done are passed over in
 * steps that grow, so that resuming a finished run costs little. */
static bool claim_stretch(facpool_job *job, const fp_worker *worker, fp_range *range)
{
    size_t count = job->plan.count;
    size_t wanted =
        worker->reserve_size > worker->chunk_size ? worker->reserve_size : worker->chunk_size;
    size_t size = cautious_size(job, wanted);
    for (;;) {
        size_t next = atomic_load_explicit(&job->next, memory_order_relaxed);
        if (next >= count)
            return false;
        size_t share = (count - next) / (4 * job->n_workers);
        size_t n = size < share ? size : share ? share : 1;
        size_t first = atomic_fetch_add_explicit(&job->next, n, memory_order_relaxed);
        if (first >= count)
            return false;
        size_t end = n < count - first ? first + n : count;
        range->first = fp_plan_next_left(&job->plan, first, end);
        range->end = end;
        if (range->first < end)
            return true;
        size = size < 32768 ? size * 2 : size;
    }
}

/* Half of what came back last, so that all who wait get some; of groups, all of it. */
static bool claim_returned(facpool_job *job, fp_range *range)
{
    bool is_grouped = job->plan.group_by != FACPOOL_GROUP_NONE;
    if (!atomic_load_explicit(&job->n_returned, memory_order_relaxed))
        return false;
    fp_lock_enter(&job->lock);
    size_t n = atomic_load_explicit(&job->n_returned, memory_order_relaxed);
    if (n) {
        fp_range *last = &job->returned[n - 1];
        size_t half = is_grouped ? last->end - last->first : (last->end - last->first + 1) / 2;
        *range = (fp_range){last->first, last->first + half};
        last->first += half;
        if (last->first == last->end)
            atomic_store_explicit(&job->n_returned, n - 1, memory_order_relaxed);
    }
    fp_lock_leave(&job->lock);
    return n > 0;
}

static bool claim_range(facpool_job *job, const fp_worker *worker, fp_range *range)
{
    if (job->plan.group_by != FACPOOL_GROUP_NONE)
        return claim_returned(job, range) || claim_group(job, range);
    return claim_returned(job, range) || claim_stretch(job, worker, range);
}

/* Whether chunks can come back: single tasks of no group, and what lies before worker processes. */
static bool can_come_back(const facpool_job *job)
{
    return job->pool || (job->plan.group_by == FACPOOL_GROUP_NONE && job->config.run.fn);
}

/* Waits until something comes back or nobody has anything any more; false: there will be nothing.
 */
static bool wait_for_return(facpool_job *job, fp_worker *worker)
{
    int64_t began_ns = fp_clock_ns();
    fp_lock_enter(&job->lock);
    job->n_waiting++;
    /* Both sides are sequentially consistent: a worker that ends its chunk either sees this signal
     * and wakes us, or has lowered in_hand before we look. */
    atomic_fetch_or(&job->signal, FP_SIGNAL_HUNGRY);
    while (!atomic_load(&job->n_returned) && atomic_load(&job->in_hand) &&
           !atomic_load(&job->stop_code))
        fp_lock_wait(&job->lock);
    bool more = atomic_load(&job->n_returned) > 0;
    if (--job->n_waiting == 0)
        atomic_fetch_and(&job->signal, ~FP_SIGNAL_HUNGRY);
    fp_lock_leave(&job->lock);
    worker->wait_ns += fp_clock_ns() - began_ns;
    return more;
}

/* A worker has neither chunk nor reserve any more. */
static void put_down(facpool_job *job)
{
    size_t before = atomic_fetch_sub(&job->in_hand, 1);
    if (before == 1 || (atomic_load(&job->signal) & FP_SIGNAL_HUNGRY)) {
        fp_lock_enter(&job->lock);
        fp_lock_wake_all(&job->lock);
        fp_lock_leave(&job->lock);
    }
}

void fp_claim_drop(facpool_job *job, fp_worker *worker)
{
    if (!worker->reserve_end)
        return;
    worker->reserve_first = worker->reserve_end = 0;
    put_down(job);
}

/* Makes sure that the worker has a reserve. 1, or 0 when there is nothing (more) for it. */
static int fill_reserve(facpool_job *job, fp_worker *worker, bool wait)
{
    fp_range range;
    for (;;) {
        if (worker->reserve_first < worker->reserve_end)
            return 1;
        atomic_fetch_add(&job->in_hand, 1);
        if (claim_range(job, worker, &range)) {
            worker->reserve_first = range.first;
            worker->reserve_end = range.end;
            continue;
        }
        put_down(job);
        if (!wait || !can_come_back(job) || !wait_for_return(job, worker) ||
            fp_job_is_stopping(job))
            return 0;
    }
}

/* The next chunk of the reserve: a whole group, or so many positions as should take the right time.
 */
static fp_range next_chunk(const facpool_job *job, fp_worker *worker)
{
    fp_range range = {worker->reserve_first, worker->reserve_end};
    if (job->plan.group_by == FACPOOL_GROUP_NONE) {
        range.first = fp_plan_next_left(&job->plan, range.first, range.end);
        if (range.end - range.first > worker->chunk_size)
            range.end = range.first + worker->chunk_size;
    }
    worker->reserve_first = range.end;
    return range;
}

int fp_job_claim(facpool_job *job, fp_worker *worker, bool wait, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_range chunk;
    do {
        if (job->writer && fp_writer_failed(job->writer)) {
            fp_writer_error(job->writer, &error);
            fp_job_stop(job, error.code, &error);
        }
        if (fp_job_is_stopping(job) || job->config.run.dry_run ||
            !fill_reserve(job, worker, wait)) {
            fp_claim_drop(job, worker);
            return error.code ? fp_error_copy(err, &error) : 0;
        }
        chunk = next_chunk(job, worker);
        if (chunk.first == chunk.end)
            fp_claim_drop(job, worker); /* all done before */
    } while (chunk.first == chunk.end);
    bool all = job->plan.group_by != FACPOOL_GROUP_NONE;
    int rc = fp_worker_begin(worker, chunk.first, chunk.end, all, &error);
    if (rc) {
        fp_claim_drop(job, worker);
        return fp_job_stop_with(job, rc, &error, err);
    }
    worker->began_ns = fp_clock_ns();
    return 1;
}

int fp_claim_give_back(facpool_job *job, fp_worker *worker, size_t n_finished)
{
    size_t first =
        n_finished < worker->n ? fp_worker_position(worker, n_finished) : worker->reserve_first;
    if (first >= worker->reserve_end || atomic_load(&job->stop_code) || !can_come_back(job))
        return 0;
    fp_lock_enter(&job->lock);
    size_t n = atomic_load_explicit(&job->n_returned, memory_order_relaxed);
    int rc = fp_grow(job->config.allocator, (void **)&job->returned, &job->returned_capacity, n + 1,
                     sizeof *job->returned);
    if (!rc) {
        job->returned[n] = (fp_range){first, worker->reserve_end};
        worker->reserve_first = worker->reserve_end;
        atomic_store(&job->n_returned, n + 1);
    }
    fp_lock_leave(&job->lock);
    return rc;
}
