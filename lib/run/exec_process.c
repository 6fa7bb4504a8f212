/* The process executor: one thread that keeps the desks of worker processes filled, collects what
 * they finish, and deals with those that die. It is a client of the job as other executors are: for
 * each desk one of the job's workers takes chunks and returns them. A slow file slows this thread
 * down, and so the workers. */
#include "base/error.h"
#include "run/process_run.h"

/* How long the thread sleeps at most: rows then go to the file, cancelling is seen. */
#define LOOK_NS 50000000

/* How long after they were killed workers are waited for: a helper may be stopped, or never come.
 */
#define KILLED_NS 1000000000

/* ------------------------------------------------------------------ stopping */

void fp_process_stop(fp_process_run *r, int code, const facpool_error *why)
{
    fp_job_stop(r->job, code, why);
}

static void kill_all(fp_process_run *r)
{
    for (uint32_t i = 0; i < r->pool->n_seats; i++) {
        if (!r->pool->seats[i].is_taken)
            continue;
        r->pool->seats[i].reason = FP_KILL_ASKED;
        fp_pool_kill_worker(r->pool, i, FP_KILL_ASKED);
    }
    r->was_killed = true;
    r->killed_ns = fp_clock_ns();
}

void fp_process_look_for_stop(fp_process_run *r)
{
    if (!r->is_stopping && fp_job_is_stopping(r->job)) {
        r->is_stopping = true;
        fp_desks_call_off(r);
    }
    if (!r->was_killed && (atomic_load(&r->job->signal) & FP_SIGNAL_KILL))
        kill_all(r);
}

bool fp_process_can_start(const fp_process_run *r)
{
    return !r->pool->is_helper_gone && !r->pool->cannot_start && !r->was_killed;
}

/* ------------------------------------------------------------------ a round */

static void look_at_call(fp_process_run *r, uint32_t seat, size_t i, int64_t now_ns)
{
    fp_seat_state *state = &r->pool->seats[seat];
    const fp_desk *desk = r->pool->views[i].desk;
    fp_call_seen now = {.is_set = true,
                        .desk = i,
                        .slot = fp_desks_finished(r, i),
                        .attempt = atomic_load_explicit(&desk->attempt_shown, memory_order_relaxed),
                        .since_ns = now_ns};
    if (now.slot >= fp_claim_begun(atomic_load(&desk->claim))) {
        state->call.is_set = false;
        return;
    }
    const fp_call_seen *before = &state->call;
    if (!before->is_set || before->desk != now.desk || before->slot != now.slot ||
        before->attempt != now.attempt) {
        state->call = now;
        return;
    }
    int64_t limit_ns = (int64_t)r->job->config.run.task_timeout_ms * 1000000;
    if (state->reason == FP_KILL_NONE && now_ns - before->since_ns >= limit_ns)
        fp_pool_kill_worker(r->pool, seat, FP_KILL_TIMEOUT);
}

static void tend_seat(fp_process_run *r, uint32_t seat, int64_t now_ns)
{
    bool has_timeout = r->job->config.run.task_timeout_ms != 0;
    if (fp_pool_has_ended(r->pool, seat))
        fp_process_bury(r, seat);
    for (size_t i = (size_t)seat * FP_DESKS_A_SEAT; i < (size_t)(seat + 1) * FP_DESKS_A_SEAT; i++) {
        if (!r->pool->desks[i].is_laid)
            continue;
        uint32_t desk_state =
            atomic_load_explicit(&r->pool->views[i].desk->state, memory_order_acquire);
        if (desk_state == FP_DESK_DONE) {
            fp_desks_clear(r, i);
        } else if (desk_state == FP_DESK_BUSY) {
            if (has_timeout)
                look_at_call(r, seat, i, now_ns);
            fp_desks_drain(r, i);
        }
    }
}

static void share_out(fp_process_run *r)
{
    for (uint32_t seat = 0; seat < r->pool->n_seats && !r->is_stopping; seat++) {
        if (!fp_desks_idle(r, seat))
            continue;
        if (!fp_desks_take_back(r))
            return;
        fp_desks_fill(r);
    }
}

/* Desks that no worker will ever come to, or has nothing to do at. The latter also where one is on
 * its way, when the job is stopping: nothing is laid any more that it could mistake. */
static void clear_abandoned(fp_process_run *r)
{
    for (size_t i = 0; i < r->pool->n_desks; i++) {
        if (!r->pool->desks[i].is_laid)
            continue;
        bool is_taken = r->pool->seats[i / FP_DESKS_A_SEAT].is_taken;
        uint32_t begun = fp_claim_begun(atomic_load(&r->pool->views[i].desk->claim));
        bool is_empty = r->job->workers[i].n <= begun;
        bool is_in_hand = r->job->workers[i].n > r->pool->desks[i].n_taken;
        if (is_taken ? r->is_stopping && !is_in_hand : is_empty || !fp_process_can_start(r))
            fp_desks_clear(r, i);
    }
}

static void lose_helper(fp_process_run *r)
{
    for (uint32_t i = 0; i < r->pool->n_seats; i++)
        if (r->pool->seats[i].is_taken)
            fp_process_bury(r, i);
}

static void hear_helper(fp_process_run *r)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    bool was_gone = r->pool->is_helper_gone;
    int rc = fp_pool_receive(r->pool, &error);
    if (rc)
        fp_process_stop(r, rc, &error);
    fp_process_look_for_stop(r);
    if (r->was_killed && !r->pool->is_helper_gone && fp_clock_ns() - r->killed_ns > KILLED_NS)
        fp_pool_abandon(r->pool);
    if (r->pool->is_helper_gone && !was_gone)
        lose_helper(r);
}

static void start_workers(fp_process_run *r)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    if (!fp_process_can_start(r))
        return;
    for (uint32_t seat = 0; seat < r->pool->n_seats; seat++) {
        if (r->pool->seats[seat].is_taken || fp_desks_idle(r, seat))
            continue;
        int rc = fp_pool_start_worker(r->pool, r->job, seat, &error);
        if (!rc)
            continue;
        r->pool->seats[seat].is_taken = false;
        r->pool->cannot_start = true;
        fp_process_stop(r, rc, &error);
        return;
    }
}

static bool is_over(const fp_process_run *r)
{
    for (size_t i = 0; i < r->pool->n_desks; i++)
        if (r->pool->desks[i].is_laid)
            return false;
    return !r->has_claimed;
}

static int64_t next_look(const fp_process_run *r)
{
    int64_t timeout_ns = (int64_t)r->job->config.run.task_timeout_ms * 1000000 / 8;
    if (!timeout_ns || timeout_ns > LOOK_NS)
        return LOOK_NS;
    return timeout_ns < 1000000 ? 1000000 : timeout_ns;
}

static void sleep_until_rung(fp_process_run *r, uint32_t seen)
{
    fp_board *board = r->pool->layout.board;
    atomic_store(&board->is_asleep, 1);
    fp_word_wait(&board->bell, seen, next_look(r));
    atomic_store(&board->is_asleep, 0);
}

static void work_off(fp_process_run *r)
{
    fp_board *board = r->pool->layout.board;
    for (;;) {
        uint32_t seen = atomic_load(&board->bell);
        int64_t now_ns = fp_clock_ns();
        hear_helper(r);
        for (uint32_t seat = 0; seat < r->pool->n_seats; seat++)
            tend_seat(r, seat, now_ns);
        fp_process_look_for_stop(r);
        r->has_claimed = false;
        fp_desks_fill(r);
        share_out(r);
        clear_abandoned(r);
        start_workers(r);
        if (is_over(r))
            return;
        if (!r->has_claimed)
            sleep_until_rung(r, seen);
    }
}

/* ------------------------------------------------------------------ the end */

/* Of a job that is stopping, those that never came to work are not waited for. */
static bool any_at_work(const fp_process_run *r)
{
    for (uint32_t i = 0; i < r->pool->n_seats; i++)
        if (r->pool->seats[i].is_taken &&
            (!r->is_stopping || atomic_load(&r->pool->layout.seats[i].has_entered)))
            return true;
    return false;
}

/* Has the workers end, each after its worker_exit. */
static void dismiss(fp_process_run *r)
{
    fp_board *board = r->pool->layout.board;
    atomic_store(&board->is_over, 1);
    for (uint32_t i = 0; i < r->pool->n_seats; i++)
        fp_bell_ring(&r->pool->layout.seats[i].bell, &r->pool->layout.seats[i].is_asleep);
    for (;;) {
        uint32_t seen = atomic_load(&board->bell);
        hear_helper(r);
        for (uint32_t seat = 0; seat < r->pool->n_seats; seat++)
            tend_seat(r, seat, 0);
        if (r->pool->is_helper_gone || !any_at_work(r))
            return;
        sleep_until_rung(r, seen);
    }
}

void fp_exec_process(facpool_job *job)
{
    fp_process_run run = {.job = job,
                          .pool = job->pool,
                          .is_grouped = job->config.run.group_by != FACPOOL_GROUP_NONE};
    work_off(&run);
    dismiss(&run);
}
