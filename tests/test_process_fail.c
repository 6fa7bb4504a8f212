/* What worker processes are made of fails in turn: forking, shared memory, sockets, messages,
 * waiting, watching, in the run's process, in its helper and in its workers. A run then ends, one
 * way or the other: every row is right, or missing with an error, or lost with its worker and said
 * to be; its backup can be completed; and no process, descriptor or memory stays behind. Linux. */
#include "fail_outside.h"

#define NOMEM  GIVES(FACPOOL_E_NOMEM)
#define SYSTEM GIVES(FACPOOL_E_SYSTEM)
#define WORKER GIVES(FACPOOL_E_WORKER)
/* What a run says whose helper or workers could not go on. */
#define NO_WORKERS (NOMEM | SYSTEM | WORKER | GIVES(FACPOOL_E_TASK) | GIVES(FACPOOL_E_INVALID))

#define N_OF(list) (sizeof(list) / sizeof *(list))

static void fail_list(trial t, const injection *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fail_each(t, list[i]);
}

/* ------------------------------------------------------------------ in the run's own process */

static const injection own_calls[] = {
    {CALL_FORK, FAIL_ALONE, EAGAIN, SYSTEM, false},
    {CALL_FORK, FAIL_ON, ENOMEM, SYSTEM, false},
    {CALL_SHARE, FAIL_ALONE, EMFILE, SYSTEM, false},
    {CALL_SHARE, FAIL_ALONE, EINVAL, 0, false}, /* an older kernel: asked for less */
    {CALL_SHARE, FAIL_ON, ENOSYS, SYSTEM, false},
    {CALL_MAP, FAIL_ALONE, ENOMEM, NOMEM, false},
    {CALL_TRUNCATE, FAIL_ALONE, ENOSPC, NOMEM, false},
    {CALL_SOCKET, FAIL_ALONE, EMFILE, SYSTEM, false},
    {CALL_SOCKET, FAIL_ON, ENFILE, SYSTEM, false},
    {CALL_SEND, FAIL_ALONE, EAGAIN, WORKER, false}, /* its greeting has to go out */
    {CALL_SEND, FAIL_ALONE, ENOMEM, SYSTEM | WORKER, false},
    {CALL_SEND, FAIL_ON, ENOMEM, SYSTEM | WORKER, false},
    {CALL_SEND, FAIL_ALONE, EPIPE, WORKER, false},
    {CALL_SEND, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_RECEIVE, FAIL_ALONE, EIO, WORKER, false},
    {CALL_RECEIVE, FAIL_ON, ENOMEM, WORKER, false},
    {CALL_RECEIVE, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_SLEEP, FAIL_ON, EINTR, 0, false},
    {CALL_CHILD, FAIL_ALTERNATELY, EINTR, 0, false},
};

static void runs_whose_own_calls_fail(void)
{
    choose_run(FACPOOL_EXECUTOR_PROCESS, false, 0);
    fail_list(TRIAL(run_once, NULL), own_calls, N_OF(own_calls));
    fail_list(TRIAL(run_started, NULL), own_calls, N_OF(own_calls));
}

static void runs_with_a_backup_whose_own_calls_fail(void)
{
    choose_backup_run(FACPOOL_EXECUTOR_PROCESS, true, FACPOOL_RESULTS_KEEP, false,
                      FACPOOL_DURABILITY_GROUP);
    fail_list(TRIAL(run_fresh, file_can_be_completed), own_calls, N_OF(own_calls));
}

/* ------------------------------------------------------------------ in its helper and workers */

/* Which of them it is that fails its k-th call is chance; with all after it, all of them do. */
static const injection their_calls[] = {
    {CALL_ALLOC, FAIL_ALONE, ENOMEM, NO_WORKERS, true},
    {CALL_ALLOC, FAIL_ON, ENOMEM, NO_WORKERS, true},
    {CALL_FORK, FAIL_ALONE, EAGAIN, SYSTEM, true},
    {CALL_FORK, FAIL_ON, ENOMEM, SYSTEM, true},
    {CALL_STAT, FAIL_ON, EIO, NO_WORKERS, true},
    {CALL_MAP, FAIL_ON, ENOMEM, NO_WORKERS, true},
    {CALL_WATCH_CHILDREN, FAIL_ON, EMFILE, NO_WORKERS, true},
    {CALL_MASK, FAIL_ALONE, EINVAL, NO_WORKERS, true},
    {CALL_MASK, FAIL_ON, EINVAL, NO_WORKERS, true},
    {CALL_SEND, FAIL_ALONE, ENOMEM, NO_WORKERS, true},
    {CALL_SEND, FAIL_ON, ENOMEM, NO_WORKERS, true},
    {CALL_RECEIVE, FAIL_ALONE, EIO, NO_WORKERS, true},
    {CALL_RECEIVE, FAIL_ON, EIO, NO_WORKERS, true},
    {CALL_RECEIVE, FAIL_ALTERNATELY, EINTR, 0, true},
    {CALL_WATCH_PROCESS, FAIL_ON, ENOSYS, 0, true},
    {CALL_POLL, FAIL_ON, ENOMEM, 0, true},
    {CALL_POLL, FAIL_ALTERNATELY, EINTR, 0, true},
    {CALL_SLEEP, FAIL_ON, EINTR, 0, true},
    {CALL_CHILD, FAIL_ALTERNATELY, EINTR, 0, true},
    {CALL_MANNERS, FAIL_ON, EPERM, 0, true},
    {CALL_OPEN, FAIL_ON, EMFILE, 0, true},
    {CALL_STREAM, FAIL_ON, EIO, 0, true},
    {CALL_AFFINITY, FAIL_ON, EPERM, 0, true},
};

/* How many calls a helper, or a worker, makes of that kind, and a few more. */
static long calls_elsewhere(call_kind kind)
{
    return kind == CALL_ALLOC ? (long)of_tier(6, 25, 40) : (long)of_tier(2, 6, 10);
}

static void fail_theirs(trial t)
{
    for (size_t i = 0; i < N_OF(their_calls); i++)
        fail_calls(t, their_calls[i], calls_elsewhere(their_calls[i].kind));
}

static facpool_process_options process;

/* Workers are replaced now and then, and pinned: so that more of them is asked of the system. */
static void choose_process_run(bool with_backup)
{
    static const int32_t cpus[] = {0};
    choose_backup_run(FACPOOL_EXECUTOR_PROCESS, false, FACPOOL_RESULTS_KEEP, false,
                      FACPOOL_DURABILITY_GROUP);
    process = (facpool_process_options)FACPOOL_PROCESS_OPTIONS_INIT;
    process.tasks_per_worker = 100;
    process.memory_limit_bytes = (uint64_t)1 << 40;
    scenario_options.process = &process;
    scenario_options.cpus = cpus;
    scenario_options.n_cpus = 1;
    if (!with_backup)
        scenario_options.backup = NULL;
    may_crash = true;
}

static void helpers_and_workers_whose_calls_fail(void)
{
    choose_process_run(false);
    fail_theirs(TRIAL(run_once, NULL));
    may_crash = false;
}

static void helpers_and_workers_of_a_run_with_a_backup(void)
{
    choose_process_run(true);
    fail_theirs(TRIAL(run_fresh, file_can_be_completed));
    may_crash = false;
}

/* ------------------------------------------------------------------ that the host starts */

static const injection calls_of_host[] = {
    {CALL_ALLOC, FAIL_ALONE, ENOMEM, NOMEM, false},
    {CALL_SHARE, FAIL_ALONE, EMFILE, SYSTEM, false},
    {CALL_SOCKET, FAIL_ALONE, EMFILE, SYSTEM, false},
    {CALL_SEND, FAIL_ALONE, EPIPE, WORKER, false},
    {CALL_RECEIVE, FAIL_ALONE, EIO, WORKER | SYSTEM, false},
    {CALL_RECEIVE, FAIL_ON, ENOMEM, WORKER | SYSTEM, false},
    {CALL_MASK, FAIL_ON, EINVAL, SYSTEM, false},
};

static const injection calls_of_servers[] = {
    {CALL_ALLOC, FAIL_ALONE, ENOMEM, NO_WORKERS, true},
    {CALL_MAP, FAIL_ON, ENOMEM, NO_WORKERS, true},
    {CALL_STAT, FAIL_ON, EIO, NO_WORKERS, true},
    {CALL_SEND, FAIL_ON, ENOMEM, NO_WORKERS, true},
    {CALL_RECEIVE, FAIL_ALONE, EIO, NO_WORKERS, true},
    {CALL_THREAD, FAIL_ON, EAGAIN, NO_WORKERS, true},
    {CALL_WATCH_PROCESS, FAIL_ON, ENOSYS, 0, true},
};

static void processes_that_the_host_starts(void)
{
    static bool is_worker;
    for (int i = 0; i < 2; i++) {
        is_worker = i == 1;
        choose_process_run(false);
        process.tasks_per_worker = 0;
        process.start = start_by_fork;
        process.start_user = &is_worker;
        process.one_worker_each = is_worker;
        fail_list(TRIAL(run_once, NULL), calls_of_host, N_OF(calls_of_host));
        for (size_t j = 0; j < N_OF(calls_of_servers); j++)
            fail_calls(TRIAL(run_once, NULL), calls_of_servers[j],
                       calls_elsewhere(calls_of_servers[j].kind));
    }
    may_crash = false;
}

int main(void)
{
    static const call_kind kinds[] = {
        CALL_ALLOC,  CALL_FORK, CALL_SHARE,          CALL_MAP,           CALL_TRUNCATE,
        CALL_SOCKET, CALL_SEND, CALL_RECEIVE,        CALL_POLL,          CALL_CHILD,
        CALL_SLEEP,  CALL_MASK, CALL_WATCH_CHILDREN, CALL_WATCH_PROCESS, CALL_MANNERS};
    if (!begin("process"))
        return EXIT_FAILURE;
    most_failing = of_tier(4, UINT_MAX, UINT_MAX);
    RUN_FAILING(runs_whose_own_calls_fail);
    RUN_FAILING(runs_with_a_backup_whose_own_calls_fail);
    RUN_FAILING(helpers_and_workers_whose_calls_fail);
    RUN_FAILING(helpers_and_workers_of_a_run_with_a_backup);
    RUN_FAILING(processes_that_the_host_starts);
    end_world();
    return END_FAILING(kinds);
}
