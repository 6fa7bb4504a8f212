/* Workers that end: by themselves, by the call they were in, or because it took too long. One bad
 * task costs one row; the rest of its chunk goes on with the next worker. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "run/process_run.h"

/* A worker that ends so often in a row before its first task ends the run. */
#define FAILED_STARTS_MAX 3

static void describe_ending(char *text, size_t size, const fp_process_run *r, uint32_t seat)
{
    const fp_seat *shared = &r->pool->layout.seats[seat];
    const fp_ending *ending = &shared->ending;
    const char *name = fp_signal_name(ending->signal);
    int64_t pid = atomic_load(&shared->pid);
    if (!r->pool->seats[seat].knows_ending)
        snprintf(text, size, "worker process %" PRId64 " ended, nobody knows how", pid);
    else if (ending->signal)
        snprintf(text, size, "worker process %" PRId64 " was killed by signal %d%s%s%s", pid,
                 (int)ending->signal, name ? " (" : "", name ? name : "",
                 !name                          ? ""
                 : strcmp(name, "SIGKILL") == 0 ? ": by somebody, or for lack of memory)"
                                                : ")");
    else
        snprintf(text, size, "worker process %" PRId64 " ended with exit status %d", pid,
                 (int)ending->exit_status);
}

/* Slots that a dead worker was called for get their status. */
static void blame(fp_process_run *r, size_t i, size_t first, size_t n)
{
    uint32_t seat = (uint32_t)(i / FP_DESKS_A_SEAT);
    const fp_ending *ending = &r->pool->layout.seats[seat].ending;
    bool is_timeout = r->pool->seats[seat].reason == FP_KILL_TIMEOUT;
    int32_t code = is_timeout ? 124 : ending->signal ? 128 + ending->signal : ending->exit_status;
    if (!code || !r->pool->seats[seat].knows_ending)
        code = 1;
    char text[160];
    if (is_timeout)
        snprintf(text, sizeof text, "took longer than %u ms and was stopped",
                 (unsigned)r->job->config.run.task_timeout_ms);
    else
        describe_ending(text, sizeof text, r, seat);
    fp_worker *w = &r->job->workers[i];
    facpool_error error = FACPOOL_ERROR_INIT;
    memset(w->statuses + first, FACPOOL_STATUS_OK, n);
    for (size_t slot = first; slot < first + n; slot++) {
        if (!fp_worker_mark(w, slot, is_timeout ? FACPOOL_STATUS_TIMEOUT : FACPOOL_STATUS_CRASHED,
                            code, text, strlen(text)))
            continue;
        r->pool->desks[i].is_broken = true;
        fp_fail_nomem(&error, sizeof text);
        fp_process_stop(r, FACPOOL_E_NOMEM, &error);
        return;
    }
    r->pool->desks[i].n_taken = first + n;
    /* Pairs with the acquire in fp_worker_collect. */
    atomic_store_explicit(w->finished, first + n, memory_order_release);
    int rc = fp_job_collect_some(r->job, w, &error);
    if (rc)
        fp_process_stop(r, rc, &error);
}

/* Whether the worker's end speaks against the call it was in. */
static bool is_to_blame(const fp_process_run *r, size_t i, size_t slot)
{
    uint32_t seat = (uint32_t)(i / FP_DESKS_A_SEAT);
    const fp_seat_state *state = &r->pool->seats[seat];
    if (state->reason == FP_KILL_ASKED || r->pool->is_helper_gone ||
        atomic_load(&r->pool->layout.seats[seat].is_leaving))
        return false;
    const fp_call_seen *late = &state->call;
    return state->reason != FP_KILL_TIMEOUT ||
           (late->is_set && late->desk == i && late->slot == slot);
}

/* Slots f .. b - 1 were in a call when their worker died: marks them, or has them called again.
 * Returns the slot to go on with, and its attempt. */
static size_t settle_call(fp_process_run *r, size_t i, size_t f, size_t b, uint32_t *attempt)
{
    const facpool_run_options *run = &r->job->config.run;
    const fp_desk *desk = r->pool->views[i].desk;
    bool is_batch = run->batch_fn != NULL;
    size_t n = is_batch ? b - f : 1;
    uint32_t shown = atomic_load_explicit(&desk->attempt_shown, memory_order_relaxed);
    *attempt = 1;
    if (is_batch && !r->is_grouped && n > 1) {
        r->pool->desks[i].single_end = (uint32_t)b; /* to find the one at fault */
        return f;
    }
    if (shown < run->attempts) {
        *attempt = shown < 1 ? 2 : shown + 1;
        return f;
    }
    blame(r, i, f, n);
    return f + n;
}

/* Whether the rest of a desk, from slot `next` on, goes to the next worker at once. */
static bool goes_on(const fp_process_run *r, size_t next, bool is_blamed)
{
    const facpool_job *job = r->job;
    /* A group that was begun is ended also where the job is stopping. */
    if (r->is_grouped)
        return !r->is_stopping || next;
    /* Where a failure may end the job, the chunk goes back to the job, which judges it. */
    bool may_end = job->config.run.on_error == FACPOOL_ON_ERROR_STOP ||
                   !atomic_load_explicit(&job->any_good, memory_order_relaxed);
    return !r->is_stopping && !(is_blamed && may_end);
}

/* A desk at which a worker died. */
static void settle_desk(fp_process_run *r, size_t i)
{
    fp_desk *desk = r->pool->views[i].desk;
    fp_desks_drain(r, i);
    uint64_t word = atomic_load(&desk->claim);
    size_t next = r->pool->desks[i].n_taken, begun = fp_claim_begun(word), n = r->job->workers[i].n;
    uint32_t attempt = atomic_load_explicit(&desk->attempt_shown, memory_order_relaxed);
    size_t first = next;
    if (next < begun && begun <= n && is_to_blame(r, i, next))
        next = settle_call(r, i, next, begun, &attempt);
    else if (!attempt || attempt > r->job->config.run.attempts)
        attempt = 1;
    bool is_blamed = next > first;
    if (next < n && fp_process_can_start(r) && !r->pool->desks[i].is_broken &&
        goes_on(r, next, is_blamed)) {
        fp_desks_make_ready(r, i, next, n, attempt);
        return;
    }
    atomic_store_explicit(&desk->state, FP_DESK_DONE, memory_order_relaxed);
    fp_desks_clear(r, i);
}

static void judge_start(fp_process_run *r, uint32_t seat)
{
    fp_seat *shared = &r->pool->layout.seats[seat];
    fp_seat_state *state = &r->pool->seats[seat];
    facpool_error error = FACPOOL_ERROR_INIT;
    char text[160];
    if (atomic_load(&shared->has_entered) || state->reason == FP_KILL_ASKED ||
        r->pool->is_helper_gone || r->pool->cannot_start) {
        state->failed_starts = 0;
    } else if (shared->init_code) {
        fp_fail(&error, FACPOOL_E_TASK,
                "worker_init of worker %u returned %d: no task was run by it", (unsigned)seat,
                (int)shared->init_code);
        fp_process_stop(r, FACPOOL_E_TASK, &error);
    } else if (++state->failed_starts >= FAILED_STARTS_MAX) {
        describe_ending(text, sizeof text, r, seat);
        fp_fail(&error, FACPOOL_E_WORKER,
                "%s before it could begin a task, the %u times that it was started", text,
                (unsigned)state->failed_starts);
        fp_process_stop(r, FACPOOL_E_WORKER, &error);
    }
}

void fp_process_bury(fp_process_run *r, uint32_t seat)
{
    fp_seat_state *state = &r->pool->seats[seat];
    judge_start(r, seat);
    fp_process_look_for_stop(r);
    for (size_t i = (size_t)seat * FP_DESKS_A_SEAT; i < (size_t)(seat + 1) * FP_DESKS_A_SEAT; i++) {
        uint32_t desk_state =
            atomic_load_explicit(&r->pool->views[i].desk->state, memory_order_acquire);
        if (r->pool->desks[i].is_laid && desk_state == FP_DESK_BUSY)
            settle_desk(r, i);
    }
    state->is_taken = false;
}
