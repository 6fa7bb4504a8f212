/* Proves what forking does to runs, and callbacks to their own run: a process that forks in the
 * middle of a run goes on as before, whether the child ends, becomes another program, or runs and
 * reads by itself; what the child inherited keeps no backup locked; and a function may fork, start
 * threads, or run something of its own. Public header only; on every executor.
 *
 * Where a fork has to wait until other threads sleep (see quiet_fork.h), they do. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include "run_helpers.h"

/* ThreadSanitizer ends a child of a process with threads that starts one of its own. */
#ifdef __SANITIZE_THREAD__
#define CAN_START_THREADS_IN_CHILDREN 0
#endif
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define CAN_START_THREADS_IN_CHILDREN 0
#endif
#endif
#ifndef CAN_START_THREADS_IN_CHILDREN
#define CAN_START_THREADS_IN_CHILDREN 1
#endif

static int32_t executor;

#define N_DATES 4
#define N_CODES 10

static bool may_start_processes(void)
{
#ifdef __linux__
    return true;
#else
    return false;
#endif
}

/* Waits for a child: 0, or what was wrong with its end. */
static int end_of(pid_t pid)
{
    int state = 0;
    if (pid < 0 || waitpid(pid, &state, 0) != pid)
        return 254;
    return WIFEXITED(state) ? WEXITSTATUS(state) : 253;
}

/* ------------------------------------------------------------------ a fork in the middle */

/* Tasks that wait until they are let go: the run stands still, and its threads sleep. */
typedef struct gate {
    work w;
    int pipe[2];
    atomic_int n_waiting;
} gate;

static int wait_at_gate(const facpool_task *task, double *factors, void *user)
{
    gate *g = user;
    char byte;
    atomic_fetch_add(&g->n_waiting, 1);
    while (read(g->pipe[0], &byte, 1) < 0)
        ;
    return task_fn(task, factors, &g->w);
}

/* What children do. */

static int run_in_child(int32_t which, const char *path)
{
    work *w = SHARED(work, .n_factors = FACTORS);
    facpool_run_options options = make_options(w, which);
    facpool_tasks *tasks = make_grid(N_DATES, N_CODES);
    facpool_result *result = NULL;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.no_async = !CAN_START_THREADS_IN_CHILDREN;
    options.backup = &backup;
    int rc = facpool_run(tasks, &options, &result, &err);
    bool is_whole = !rc && report_of(result).ok == N_DATES * N_CODES;
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return is_whole ? 0 : 1;
}

static int run_serially(const char *path, int held)
{
    (void)held;
    return run_in_child(FACPOOL_EXECUTOR_SERIAL, path);
}

static int run_processes(const char *path, int held)
{
    (void)held;
    return may_start_processes() ? run_in_child(FACPOOL_EXECUTOR_PROCESS, path) : 0;
}

static int end_at_once(const char *path, int held)
{
    (void)path, (void)held;
    return 0;
}

static int become_another_program(const char *path, int held)
{
    (void)path, (void)held;
    execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
    return 1;
}

/* Stays for as long as the parent holds the other end of a pipe. */
static int outlive_the_run(const char *path, int held)
{
    char byte;
    (void)path;
    return read(held, &byte, 1) == 0 ? 0 : 1;
}

static void check_resumed(const facpool_tasks *tasks, const char *path)
{
    work *w = SHARED(work, .n_factors = FACTORS);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = make_options(w, FACPOOL_EXECUTOR_SERIAL);
    facpool_result *result = NULL;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    options.backup = &backup;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(report_of(result).resumed, N_DATES * N_CODES);
    check_result(result, w);
    facpool_result_free(result);
    CHECK_INT(count_rows(path, FACPOOL_STATUS_ALL), N_DATES * N_CODES);
}

static void fork_in_the_middle(int (*child)(const char *path, int held))
{
    gate *g = SHARED(gate, .w = {.n_factors = FACTORS});
    facpool_run_options options = make_options(&g->w, executor);
    facpool_tasks *tasks = make_grid(N_DATES, N_CODES);
    facpool_run_handle *run = NULL;
    facpool_result *result = NULL;
    const char *path = fresh_path(), *childs = fresh_path();
    int held[2];
    CHECK_INT(pipe(g->pipe), 0);
    CHECK_INT(pipe2(held, O_CLOEXEC), 0);
    options.fn = wait_at_gate;
    options.user = g;
    options.backup_path = path;
    CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
    while (atomic_load(&g->n_waiting) == 0)
        pause_ms(1);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(held[1]);
        close(g->pipe[1]);
        if (setjmp(test_end))
            _exit(99);
        _exit(child(childs, held[0]));
    }
    close(held[0]);
    if (child != outlive_the_run)
        CHECK_INT(end_of(pid), 0);
    for (size_t i = 0; i < N_DATES * N_CODES; i++)
        CHECK_INT(write(g->pipe[1], "", 1), 1);
    CHECK_OK(facpool_run_wait(run, &result, &err), err);
    check_result(result, &g->w);
    facpool_result_free(result);
    check_resumed(tasks, path); /* the lock is free, though a child may have the descriptor */
    close(held[1]);
    if (child == outlive_the_run)
        CHECK_INT(end_of(pid), 0);
    close(g->pipe[0]);
    close(g->pipe[1]);
    facpool_tasks_free(tasks);
}

static void a_child_that_ends_leaves_the_run_alone(void)
{
    fork_in_the_middle(end_at_once);
}

static void a_child_that_becomes_another_program_leaves_the_run_alone(void)
{
    fork_in_the_middle(become_another_program);
}

static void a_child_may_run_something_of_its_own(void)
{
    fork_in_the_middle(run_serially);
    if (CAN_START_THREADS_IN_CHILDREN) /* such a run has a thread of its own */
        fork_in_the_middle(run_processes);
}

static void a_child_that_stays_keeps_no_backup_locked(void)
{
    fork_in_the_middle(outlive_the_run);
}

/* ------------------------------------------------------------------ busy functions */

typedef struct busy {
    work w;
    int (*business)(const facpool_task *task);
    unsigned every;
    atomic_uint wrong;
    atomic_uint n_done;
} busy;

static int be_busy(const facpool_task *task, double *factors, void *user)
{
    busy *b = user;
    if (task->index % b->every == 0) {
        atomic_fetch_add(&b->wrong, b->business(task) != 0);
        atomic_fetch_add(&b->n_done, 1);
    }
    return task_fn(task, factors, &b->w);
}

static void run_busily(int (*business)(const facpool_task *task), unsigned every)
{
    busy *b = SHARED(busy, .w = {.n_factors = FACTORS}, .business = business, .every = every);
    facpool_run_options options = make_options(&b->w, executor);
    facpool_tasks *tasks = make_grid(N_DATES, N_CODES);
    facpool_result *result = NULL;
    const char *path = fresh_path();
    options.fn = be_busy;
    options.user = b;
    options.backup_path = path;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    check_result(result, &b->w);
    facpool_result_free(result);
    CHECK_INT(atomic_load(&b->n_done), (N_DATES * N_CODES + every - 1) / every);
    CHECK_INT(atomic_load(&b->wrong), 0);
    check_resumed(tasks, path);
    facpool_tasks_free(tasks);
}

static int fork_and_end(const facpool_task *task)
{
    (void)task;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return end_of(pid);
}

/* The child computes, and tells by a pipe. */
static int fork_and_work(const facpool_task *task)
{
    int ends[2];
    double told = 0, expected = value_of(task->date, task->code, 1);
    if (pipe2(ends, O_CLOEXEC))
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        double value = value_of(task->date, task->code, 1);
        _exit(write(ends[1], &value, sizeof value) == sizeof value ? 0 : 1);
    }
    close(ends[1]);
    bool is_told = read(ends[0], &told, sizeof told) == sizeof told && told == expected;
    close(ends[0]);
    return end_of(pid) || !is_told;
}

static void *compute_aside(void *arg)
{
    double *value = arg;
    *value *= 2;
    return NULL;
}

static int start_threads(const facpool_task *task)
{
    pthread_t threads[3];
    double values[3];
    int wrong = 0;
    for (int i = 0; i < 3; i++) {
        values[i] = (double)task->index + i;
        if (pthread_create(&threads[i], NULL, compute_aside, &values[i]))
            return 1;
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        wrong |= values[i] != 2 * ((double)task->index + i);
    }
    return wrong;
}

static int inner_fn(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = (double)task->date;
    return 0;
}

/* A run inside of a run; a second level of OpenMP has one thread, where that is not asked for. */
static int run_inside(int32_t which)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    int64_t dates[] = {1, 2, 3};
    const char *code = "x";
    options.fn = inner_fn;
    options.n_factors = 1;
    options.executor = which;
    options.workers = which == FACPOOL_EXECUTOR_SERIAL ? 1 : 2;
    int rc = facpool_tasks_grid(&tasks, dates, 3, &code, 1, &error);
    if (!rc)
        rc = facpool_run(tasks, &options, &result, &error);
    const double *values = rc ? NULL : facpool_result_factor(result, 0);
    bool is_right = values && values[0] == 1 && values[1] == 2 && values[2] == 3;
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return !is_right;
}

static int run_inside_serially(const facpool_task *task)
{
    (void)task;
    return run_inside(FACPOOL_EXECUTOR_SERIAL);
}

static int run_inside_by_processes(const facpool_task *task)
{
    (void)task;
    return run_inside(FACPOOL_EXECUTOR_PROCESS);
}

#ifdef _OPENMP
static int run_inside_by_openmp(const facpool_task *task)
{
    (void)task;
    return run_inside(FACPOOL_EXECUTOR_OMP);
}
#endif

/* Functions of worker processes are in a child; so are those of a process with threads. */
static bool may_start_threads(void)
{
    return CAN_START_THREADS_IN_CHILDREN || executor != FACPOOL_EXECUTOR_PROCESS;
}

static void a_function_may_fork(void)
{
    run_busily(fork_and_end, 3);
    run_busily(fork_and_work, 3);
}

static void a_function_may_start_threads(void)
{
    run_busily(start_threads, 2);
}

static void a_function_may_run_something_of_its_own(void)
{
    run_busily(run_inside_serially, 2);
    if (may_start_processes() && may_start_threads() &&
        (CAN_FORK_BUSY || executor != FACPOOL_EXECUTOR_OMP))
        run_busily(run_inside_by_processes, 13);
#ifdef _OPENMP
    if (may_start_threads())
        run_busily(run_inside_by_openmp, 7);
#endif
}

static void run_all(int32_t which)
{
    executor = which;
    RUN(a_child_that_ends_leaves_the_run_alone);
    RUN(a_child_that_becomes_another_program_leaves_the_run_alone);
    RUN(a_child_that_stays_keeps_no_backup_locked);
    RUN(a_child_may_run_something_of_its_own);
    /* The sanitizers' own locks would stay held in children of busy threads. */
    if (CAN_FORK_BUSY || executor != FACPOOL_EXECUTOR_OMP)
        RUN(a_function_may_fork);
    if (may_start_threads())
        RUN(a_function_may_start_threads);
    RUN(a_function_may_run_something_of_its_own);
}

int main(void)
{
    make_folder();
    for_each_executor(run_all);
    remove_folder();
    return TEST_END();
}
