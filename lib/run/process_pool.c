/* Making the memory that a process run shares, starting its helper, and talking to it. Done before
 * the backup is opened, so that no other process ever holds its lock. */
#include "run/process_pool.h"

#include <string.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"

/* A desk holds at most so many tasks, and so many bytes of factors: what both sides touch should
 * stay in a processor's cache. */
#define DESK_TASKS_MAX    16384
#define DESK_FACTOR_BYTES (1u << 20)

/* How long a worker that is gone is asked how it ended. */
#define ENDING_NS 50000000

/* ------------------------------------------------------------------ sizes */

static size_t largest_group(const fp_plan *plan)
{
    size_t largest = 0;
    for (size_t i = 0; i < plan->n_groups; i++) {
        size_t n = fp_plan_group_start(plan, i + 1) - fp_plan_group_start(plan, i);
        largest = n > largest ? n : largest;
        if (plan->group_size)
            break; /* all alike */
    }
    return largest;
}

static size_t desk_capacity(const facpool_job *job)
{
    if (job->plan.group_by != FACPOOL_GROUP_NONE)
        return largest_group(&job->plan);
    size_t fits = DESK_FACTOR_BYTES / sizeof(double) / job->config.run.n_factors;
    return fits < 16 ? 16 : fits > DESK_TASKS_MAX ? DESK_TASKS_MAX : fits;
}

static int describe_board(fp_board *board, const facpool_job *job, facpool_error *err)
{
    const facpool_run_options *run = &job->config.run;
    const fp_texts *codes = &job->tasks->codes.texts;
    *board = (fp_board){.n_seats = job->n_workers / FP_DESKS_A_SEAT,
                        .n_codes = (uint32_t)codes->n,
                        .n_factors = run->n_factors,
                        .capacity = desk_capacity(job),
                        .code_bytes = codes->n ? codes->offsets[codes->n] : 0,
                        .group_by = run->group_by,
                        .is_batch = run->batch_fn != NULL,
                        .one_worker_each = job->config.process.one_worker_each != 0,
                        .on_error = run->on_error,
                        .attempts = run->attempts,
                        .tasks_per_worker = job->config.process.tasks_per_worker,
                        .memory_limit_bytes = job->config.process.memory_limit_bytes};
    board->bytes = fp_layout_bytes(board);
    if (!board->bytes)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "%zu tasks of %zu factors in a group are too much for worker processes: use "
                       "threads",
                       (size_t)board->capacity, run->n_factors);
    return 0;
}

/* ------------------------------------------------------------------ the segment */

static void fill_segment(fp_pool *pool, const fp_board *board, const facpool_job *job)
{
    const fp_texts *codes = &job->tasks->codes.texts;
    const facpool_run_options *run = &job->config.run;
    memcpy(pool->segment.memory, board, sizeof *board);
    fp_layout_init(&pool->layout, pool->segment.memory);
    if (codes->n) {
        memcpy(pool->layout.code_offsets, codes->offsets, (codes->n + 1) * sizeof(uint32_t));
        memcpy(pool->layout.code_bytes, codes->bytes, codes->offsets[codes->n]);
    }
    for (uint32_t i = 0; i < pool->n_seats; i++)
        pool->layout.seats[i].cpu = run->n_cpus ? job->config.cpus[i % run->n_cpus] : -1;
}

/* The job's workers stand for desks: each writes where its desk's worker process does. */
static void place_proxies(fp_pool *pool, facpool_job *job)
{
    for (size_t i = 0; i < pool->n_desks; i++) {
        fp_desk_view_init(&pool->views[i], &pool->layout, i);
        fp_worker *w = &job->workers[i];
        w->is_borrowed = true;
        w->factors = pool->views[i].factors;
        w->capacity = pool->capacity;
    }
}

/* What the proxies keep of each slot for themselves: as large as the desk from the start. */
static int reserve_slots(const fp_pool *pool, facpool_job *job, facpool_error *err)
{
    size_t n = pool->capacity;
    for (size_t i = 0; i < pool->n_desks; i++) {
        fp_worker *w = &job->workers[i];
        w->positions = fp_alloc_zero(job->config.allocator, n, sizeof *w->positions);
        w->statuses = fp_alloc_zero(job->config.allocator, n, 1);
        if (!w->positions || !w->statuses)
            return fp_fail_nomem(err, n * sizeof *w->positions);
    }
    return 0;
}

static int make_segment(fp_pool *pool, facpool_job *job, facpool_error *err)
{
    fp_board board;
    int rc = describe_board(&board, job, err);
    if (!rc)
        rc = fp_segment_create(&pool->segment, (size_t)board.bytes, err);
    if (rc)
        return rc;
    pool->capacity = (size_t)board.capacity;
    pool->one_worker_each = board.one_worker_each;
    fill_segment(pool, &board, job);
    place_proxies(pool, job);
    job->chunk_max = pool->capacity;
    return reserve_slots(pool, job, err);
}

/* ------------------------------------------------------------------ the helper */

/* Other processes that were forked meanwhile may have this end, too: shutting it ends them all. */
static void end_channel(int *end)
{
    fp_channel_shut(*end);
    fp_channel_close(*end);
    *end = -1;
}

static facpool_serve_options options_of_run(const facpool_job *job)
{
    const facpool_run_options *run = &job->config.run;
    const facpool_process_options *process = &job->config.process;
    return (facpool_serve_options){.size = sizeof(facpool_serve_options),
                                   .fn = run->fn,
                                   .batch_fn = run->batch_fn,
                                   .user = run->user,
                                   .worker_init = run->worker_init,
                                   .worker_exit = run->worker_exit,
                                   .before_fork = process->before_fork,
                                   .after_fork_parent = process->after_fork_parent,
                                   .after_fork_child = process->after_fork_child,
                                   .hooks_user = process->hooks_user};
}

static _Noreturn void be_helper(fp_pool *pool, const facpool_job *job, int end)
{
    facpool_serve_options options = options_of_run(job);
    fp_channel_close(pool->end);
    fp_segment_close(&pool->segment); /* comes with the greeting, as to a helper of the host's */
    fp_leave_process(fp_helper_serve(end, &options, NULL) ? 1 : 0);
}

static int fork_helper(fp_pool *pool, const facpool_job *job, int end, facpool_error *err)
{
    const facpool_process_options *process = &job->config.process;
    fp_flush_streams();
    if (process->before_fork)
        process->before_fork(process->hooks_user);
    int64_t pid = fp_fork(err);
    if (pid == 0) {
        fp_drop_streams();
        if (process->after_fork_child)
            process->after_fork_child(process->hooks_user);
        be_helper(pool, job, end);
    }
    if (process->after_fork_parent)
        process->after_fork_parent(process->hooks_user);
    if (pid < 0)
        return (int)pid;
    pool->helper_pid = pool->served_by = pid;
    return 0;
}

static int start_helper(fp_pool *pool, const facpool_job *job, int end, facpool_error *err)
{
    const facpool_process_options *process = &job->config.process;
    if (!process->start)
        return fork_helper(pool, job, end, err);
    /* Where this is a thread of the library's, which blocks all signals, a process that is started
     * here would do the same. */
    fp_signal_mask own;
    fp_signal_mask_swap(&pool->signals, &own);
    int code = process->start(end, process->start_user);
    fp_signal_mask_swap(&own, &pool->signals);
    if (code)
        return fp_fail(err, FACPOOL_E_WORKER,
                       "`start` returned %d: the helper of the worker processes was not started",
                       code);
    return 0;
}

/* Starts a process, and greets it. *end gets the socket to it. */
static int make_helper(fp_pool *pool, const facpool_job *job, uint32_t seat, int *end,
                       facpool_error *err)
{
    int ends[2];
    int rc = fp_channel_pair(ends, err);
    if (rc)
        return rc;
    *end = ends[0];
    rc = start_helper(pool, job, ends[1], err);
    fp_channel_close(ends[1]);
    fp_letter hello = {.magic = FP_HELPER_MAGIC,
                       .version = fp_helper_version(),
                       .kind = FP_LETTER_HELLO,
                       .seat = seat,
                       .bytes = pool->segment.bytes,
                       .pid = fp_process_id()};
    if (!rc && fp_channel_send(ends[0], &hello, sizeof hello, pool->segment.fd, NULL))
        rc = fp_fail(err, FACPOOL_E_WORKER,
                     "the process that was started for the workers has ended before it served");
    return rc;
}

/* ------------------------------------------------------------------ opening and closing */

static int make_pool(fp_pool *pool, facpool_job *job, facpool_error *err)
{
    const facpool_allocator *allocator = job->config.allocator;
    pool->end = -1;
    fp_signal_mask_read(&pool->signals);
    pool->n_desks = job->n_workers;
    pool->n_seats = job->n_workers / FP_DESKS_A_SEAT;
    pool->views = fp_alloc_zero(allocator, pool->n_desks, sizeof *pool->views);
    pool->desks = fp_alloc_zero(allocator, pool->n_desks, sizeof *pool->desks);
    pool->seats = fp_alloc_zero(allocator, pool->n_seats, sizeof *pool->seats);
    if (!pool->views || !pool->desks || !pool->seats)
        return fp_fail_nomem(err, pool->n_desks * sizeof *pool->views);
    for (uint32_t i = 0; i < pool->n_seats; i++)
        pool->seats[i].end = -1;
    int rc = make_segment(pool, job, err);
    if (rc || job->config.process.one_worker_each)
        return rc;
    return make_helper(pool, job, 0, &pool->end, err);
}

int fp_pool_open(facpool_job *job, facpool_error *err)
{
    job->pool = fp_alloc_zero(job->config.allocator, 1, sizeof *job->pool);
    if (!job->pool)
        return fp_fail_nomem(err, sizeof *job->pool);
    int rc = make_pool(job->pool, job, err);
    if (rc)
        fp_pool_close(job);
    return rc;
}

void fp_pool_close(facpool_job *job)
{
    fp_pool *pool = job->pool;
    const facpool_allocator *allocator = job->config.allocator;
    if (!pool)
        return;
    end_channel(&pool->end); /* which ends the helper */
    for (uint32_t i = 0; pool->seats && i < pool->n_seats; i++)
        end_channel(&pool->seats[i].end);
    fp_ending ending;
    if (!pool->is_serving || pool->is_helper_gone)
        fp_child_kill(pool->helper_pid); /* it may hang in a hook */
    if (pool->helper_pid)
        (void)fp_child_ended(pool->helper_pid, true, &ending);
    fp_segment_close(&pool->segment);
    fp_free(allocator, pool->views);
    fp_free(allocator, pool->desks);
    fp_free(allocator, pool->seats);
    fp_free(allocator, pool);
    job->pool = NULL;
}

void fp_pool_abandon(fp_pool *pool)
{
    end_channel(&pool->end);
    fp_child_kill(pool->helper_pid); /* and with it, its workers */
    for (uint32_t i = 0; i < pool->n_seats; i++) {
        fp_seat_state *state = &pool->seats[i];
        end_channel(&state->end);
        state->has_ended = state->is_taken;
    }
    pool->is_helper_gone = true;
}

void fp_pool_ring(const facpool_job *job)
{
    fp_board *board = job->pool->layout.board;
    fp_bell_ring(&board->bell, &board->is_asleep);
}

/* ------------------------------------------------------------------ talking */

/* BUSY: the helper is gone, which receive tells, or behind with its letters. */
static int tell(fp_pool *pool, fp_letter_kind kind, uint32_t seat, facpool_error *err)
{
    fp_letter letter = {.magic = FP_HELPER_MAGIC,
                        .version = fp_helper_version(),
                        .kind = (uint32_t)kind,
                        .seat = seat,
                        .n_endings = pool->seats[seat].n_endings};
    return fp_channel_send(pool->end, &letter, sizeof letter, -1, err);
}

int fp_pool_start_worker(fp_pool *pool, const facpool_job *job, uint32_t seat, facpool_error *err)
{
    fp_seat *shared = &pool->layout.seats[seat];
    fp_seat_state *state = &pool->seats[seat];
    atomic_store(&shared->has_entered, 0);
    atomic_store(&shared->is_leaving, 0);
    shared->init_code = 0;
    state->is_taken = true;
    state->reason = FP_KILL_NONE;
    state->call.is_set = false;
    state->has_ended = false;
    state->knows_ending = true;
    state->pid = 0;
    if (job->config.process.one_worker_each)
        return make_helper(pool, job, seat, &state->end, err);
    int rc = tell(pool, FP_LETTER_START, seat, err);
    state->is_taken = !rc; /* else it is told again, where that has a chance */
    return rc == FACPOOL_E_BUSY ? 0 : rc;
}

void fp_pool_kill_worker(fp_pool *pool, uint32_t seat, fp_kill_reason reason)
{
    fp_seat_state *state = &pool->seats[seat];
    if (!pool->one_worker_each && tell(pool, FP_LETTER_KILL, seat, NULL))
        return; /* asked again where it matters */
    state->reason = reason;
    if (pool->one_worker_each && state->pid > 0 && !state->has_ended)
        fp_child_kill(state->pid);
}

bool fp_pool_has_ended(fp_pool *pool, uint32_t seat)
{
    fp_seat *shared = &pool->layout.seats[seat];
    fp_seat_state *state = &pool->seats[seat];
    /* Acquire: what the worker wrote before it ended is seen. */
    uint32_t n_endings = atomic_load_explicit(&shared->n_endings, memory_order_acquire);
    bool has_ended = state->has_ended || n_endings != state->n_endings;
    state->n_endings = n_endings;
    state->has_ended = false;
    return has_ended;
}

/* ------------------------------------------------------------------ listening */

/* A worker that the host started: its socket is closed when it ends. */
static void note_end_of_worker(fp_pool *pool, uint32_t seat)
{
    fp_seat *shared = &pool->layout.seats[seat];
    fp_seat_state *state = &pool->seats[seat];
    end_channel(&state->end);
    state->has_ended = true;
    /* Sockets of a process that dies are closed a moment before it can be asked about. */
    state->knows_ending =
        state->pid > 0 &&
        fp_child_peek(state->pid, atomic_load(&shared->is_leaving) ? 0 : ENDING_NS,
                      &shared->ending);
    atomic_store(&shared->pid, state->pid);
}

static int hear_worker(fp_pool *pool, uint32_t seat, facpool_error *err)
{
    fp_seat_state *state = &pool->seats[seat];
    while (state->end >= 0) {
        fp_letter letter;
        int n = fp_channel_receive(state->end, &letter, sizeof letter, NULL, false, err);
        if (n == FP_CHANNEL_EMPTY && !(state->pid > 0 && fp_process_is_gone(state->pid)))
            return 0; /* its socket may outlive it in a process that it started */
        bool is_whole = n == (int)sizeof letter && letter.magic == FP_HELPER_MAGIC;
        if (is_whole && letter.kind == FP_LETTER_SERVING) {
            state->pid = letter.pid;
            continue;
        }
        note_end_of_worker(pool, seat);
        if (n < 0) {
            pool->cannot_start = true; /* it may be alive: none may take its place */
            return n;
        }
        letter.text[sizeof letter.text - 1] = 0;
        if (is_whole)
            return fp_fail(err, FACPOOL_E_WORKER, "a worker process: %s", letter.text);
    }
    return 0;
}

static int hear_helper(fp_pool *pool, facpool_error *err)
{
    while (!pool->is_helper_gone) {
        fp_letter letter;
        int n = fp_channel_receive(pool->end, &letter, sizeof letter, NULL, false, NULL);
        /* Its end of the socket may outlive it in a process that was forked meanwhile. */
        if (n == FP_CHANNEL_EMPTY && !(pool->served_by && fp_process_is_gone(pool->served_by)))
            return 0;
        bool is_whole = n == (int)sizeof letter && letter.magic == FP_HELPER_MAGIC;
        if (is_whole && letter.kind == FP_LETTER_SERVING) {
            pool->is_serving = true;
            pool->served_by = letter.pid;
            continue;
        }
        letter.text[sizeof letter.text - 1] = 0;
        pool->is_helper_gone = !is_whole || letter.kind == FP_LETTER_REFUSED;
        if (is_whole && letter.kind == FP_LETTER_FAILED) {
            pool->cannot_start = true;
            return fp_fail(err, letter.code, "%s", letter.text);
        }
        if (is_whole)
            return fp_fail(err, FACPOOL_E_WORKER, "the helper of the worker processes: %s",
                           letter.text);
        return fp_fail(err, FACPOOL_E_WORKER,
                       "the helper of the worker processes has ended: what was finished is kept, "
                       "resume runs the rest");
    }
    return 0;
}

int fp_pool_receive(fp_pool *pool, facpool_error *err)
{
    if (!pool->one_worker_each)
        return hear_helper(pool, err);
    int rc = 0;
    for (uint32_t seat = 0; !rc && seat < pool->n_seats; seat++)
        rc = hear_worker(pool, seat, err);
    return rc;
}
