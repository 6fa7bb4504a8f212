/* A job that runs in a process of its own, for tests that kill, stop or starve it: random shapes of
 * task sets and options, tasks whose rows anyone can recompute, and what the job says of itself
 * while it runs, in memory of a file that outlives it. The process is the test's own program, run
 * with the names of its two files; it, its helper and its workers hold one end of a pipe, so that
 * the test sees when the last of them is gone. */
#ifndef FP_REAL_JOB_H
#define FP_REAL_JOB_H

#include "executors.h"
#include "storage_suite.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define TASKS_MAX       6000
#define FACTORS_MAX     6
#define WORKERS_MAX     4
#define FILE_CALL_KINDS 6
#define JOB_LINE_BYTES  400

/* A child of which another process is the victim ends with this where the helper died. */
#define EXIT_OF(rc) (-(rc))

extern char **environ;

/* ------------------------------------------------------------------ the page */

/* What the test and the processes of the job share. */
typedef struct job_page {
    /* written by the test */
    uint64_t seed;
    uint32_t store; /* of storage_cases */
    uint32_t n_dates;
    uint32_t n_codes;
    uint32_t n_factors;
    uint32_t task_us; /* how long a task takes */
    int32_t executor;
    uint32_t workers;
    uint32_t task_timeout_ms;
    int32_t group_by;
    int32_t by_slices; /* batch_fn */
    int32_t durability;
    int32_t no_async;
    uint32_t batch_rows;
    uint32_t flush_ms;
    uint64_t queue_bytes;
    uint32_t errand;    /* for test_kill_points.c: what the child does instead; 0: runs */
    uint32_t kill_kind; /* a chosen point: see killing_calls.h */
    uint32_t kill_call;
    uint32_t kill_part;
    uint64_t file_limit_bytes; /* for test_signals.c, as the next; 0: none */
    uint32_t storm_us;
    uint32_t stop_at; /* the task whose worker stops, once, counted from 1 */
    /* written by the job's processes */
    _Atomic uint32_t file_calls[FILE_CALL_KINDS]; /* that change or sync a file, by kind */
    atomic_int was_deadly;                        /* it died in the chosen one */
    _Atomic uint64_t done;                        /* tasks called */
    _Atomic uint64_t rows_written;                /* as last reported by progress */
    _Atomic uint64_t rows_durable;
    atomic_int over;      /* the run has returned */
    atomic_int os_errno;  /* of its error */
    atomic_int n_signals; /* that it handled */
    atomic_int has_stopped;
    atomic_int helper; /* process ids */
    atomic_int worker_pids[WORKERS_MAX];
    _Atomic uint32_t calls[TASKS_MAX]; /* of each task */
} job_page;

static inline uint32_t n_tasks(const job_page *s)
{
    return s->n_dates * s->n_codes;
}

static inline job_page *map_page(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || ftruncate(fd, sizeof(job_page)) != 0)
        return NULL;
    void *memory = mmap(NULL, sizeof(job_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Before each run: what the last one said is forgotten. */
static inline void reset_counts(job_page *s)
{
    s->done = s->rows_written = s->rows_durable = 0;
    s->was_deadly = s->over = s->os_errno = s->n_signals = 0;
    s->has_stopped = s->helper = 0;
    for (size_t i = 0; i < FILE_CALL_KINDS; i++)
        s->file_calls[i] = 0;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        s->worker_pids[i] = 0;
    for (size_t i = 0; i < TASKS_MAX; i++)
        s->calls[i] = 0;
}

/* ------------------------------------------------------------------ its tasks */

static inline int status_of(const job_page *s, size_t index)
{
    uint64_t h = mix_bits(s->seed + index) % 100;
    return h < 5 ? FACPOOL_STATUS_SKIPPED : h < 12 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
}

static inline double factor_of(const job_page *s, size_t index, size_t factor)
{
    uint64_t h = mix_bits(s->seed ^ mix_bits(index * FACTORS_MAX + factor));
    switch (factor % 3) {
    case 0:
        return (double)(h >> 11) / 9007199254740992.0 - 0.5;
    case 1:
        return (double)(h % 100000) / 100;
    default:
        return h % 50 ? (double)(h % 3000) : (double)NAN;
    }
}

static inline void sleep_us(uint32_t us)
{
    struct timespec time = {us / 1000000, (long)(us % 1000000) * 1000};
    nanosleep(&time, NULL);
}

/* Short times are spent at work, so that a job may be caught there. */
static inline void spend(uint32_t us)
{
    struct timespec at;
    if (us > 200) {
        sleep_us(us);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t until = (int64_t)at.tv_sec * 1000000000 + at.tv_nsec + (int64_t)us * 1000;
    do {
        clock_gettime(CLOCK_MONOTONIC, &at);
    } while ((int64_t)at.tv_sec * 1000000000 + at.tv_nsec < until);
}

static inline int compute_one(job_page *s, size_t index, double *factors)
{
    spend(s->task_us);
    if (s->stop_at == index + 1 && !atomic_exchange(&s->has_stopped, 1))
        kill(getpid(), SIGSTOP);
    atomic_fetch_add(&s->calls[index], 1);
    atomic_fetch_add(&s->done, 1);
    for (size_t f = 0; f < s->n_factors; f++)
        factors[f] = factor_of(s, index, f);
    return status_of(s, index);
}

static inline void note_worker(job_page *s, uint32_t worker)
{
    if (s->executor != FACPOOL_EXECUTOR_PROCESS || worker >= WORKERS_MAX)
        return;
    s->worker_pids[worker] = (int)getpid();
    s->helper = (int)getppid();
}

static inline int compute_task(const facpool_task *task, double *factors, void *user)
{
    note_worker(user, task->worker);
    switch (compute_one(user, task->index, factors)) {
    case FACPOOL_STATUS_SKIPPED:
        return FACPOOL_SKIP;
    case FACPOOL_STATUS_FAILED:
        return facpool_task_fail(task, (int)task->index + 1, "was told to");
    default:
        return 0;
    }
}

static inline int compute_slice(const facpool_slice *slice, double *factors, void *user)
{
    job_page *s = user;
    note_worker(s, slice->worker);
    for (size_t i = 0; i < slice->n; i++) {
        int status = compute_one(s, slice->indexes[i], factors + i * s->n_factors);
        if (status == FACPOOL_STATUS_SKIPPED)
            facpool_slice_skip(slice, i);
        else if (status == FACPOOL_STATUS_FAILED)
            facpool_slice_fail(slice, i, (int)slice->indexes[i] + 1, "was told to");
    }
    return 0;
}

static inline int note_progress(const facpool_progress *progress, void *user)
{
    job_page *s = user;
    atomic_store(&s->rows_written, progress->rows_written);
    atomic_store(&s->rows_durable, progress->rows_durable);
    return 0;
}

static inline int make_tasks(const job_page *s, facpool_tasks **out)
{
    int64_t dates[100];
    char texts[100][16];
    const char *codes[100];
    for (uint32_t d = 0; d < s->n_dates; d++)
        dates[d] = 20200000 + (int64_t)d;
    for (uint32_t c = 0; c < s->n_codes; c++) {
        snprintf(texts[c], sizeof texts[c], "%06u", c * 7);
        codes[c] = texts[c];
    }
    return facpool_tasks_grid(out, dates, s->n_dates, codes, s->n_codes, &err);
}

/* ------------------------------------------------------------------ running it */

/* With a backup or (path NULL) without. */
static inline int run_job(job_page *s, const char *path, const facpool_tasks *tasks,
                          facpool_result **out)
{
    facpool_backup_options backup = storage_options(path, FACPOOL_MODE_RESUME);
    backup.durability = s->durability;
    backup.no_async = s->no_async;
    backup.batch_rows = s->batch_rows;
    backup.flush_ms = s->flush_ms;
    backup.queue_bytes = s->queue_bytes;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    if (s->by_slices)
        options.batch_fn = compute_slice;
    else
        options.fn = compute_task;
    options.user = s;
    options.n_factors = s->n_factors;
    options.executor = s->executor;
    options.workers = s->workers;
    options.group_by = s->group_by;
    options.task_timeout_ms = s->task_timeout_ms;
    options.no_stop_if_first_fail = 1;
    options.backup = path ? &backup : NULL;
    options.progress = note_progress;
    options.progress_user = s;
    options.progress_interval_ms = 1;
    return facpool_run(tasks, &options, out, &err);
}

/* The child's main: returns its exit status, which tells what the run returned. */
static inline int child_main(const char *backup_path, const char *page_path,
                             void (*prepare)(job_page *))
{
    job_page *s = map_page(page_path);
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    if (!s || make_tasks(s, &tasks))
        return 99;
    store = &storage_cases[s->store];
    if (prepare)
        prepare(s);
    int rc = run_job(s, backup_path, tasks, &result);
    s->os_errno = err.os_errno;
    atomic_store(&s->over, 1);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return EXIT_OF(rc);
}

/* The one that runs now, for who wants to end it from elsewhere; 0: none does. */
static volatile sig_atomic_t running_child;

/* *alive gets the end of a pipe whose other end the child holds, and all that are forked from it.
 */
static inline pid_t spawn_child(const char *backup_path, const char *page_path, int *alive)
{
    int ends[2];
    char program[] = "/proc/self/exe", backup[512], page[512];
    snprintf(backup, sizeof backup, "%s", backup_path);
    snprintf(page, sizeof page, "%s", page_path);
    char *arguments[] = {program, backup, page, NULL};
    pid_t pid;
    CHECK_INT(pipe(ends), 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    int rc = posix_spawn(&pid, program, NULL, NULL, arguments, environ);
    close(ends[1]);
    CHECK_INT(rc, 0);
    *alive = ends[0];
    running_child = (sig_atomic_t)pid;
    return pid;
}

/* Waits until it has ended, and nobody holds the other end of the pipe any more, for which there is
 * a minute. Returns how it ended. */
static inline int wait_child(pid_t pid, int alive)
{
    struct pollfd end = {.fd = alive};
    int state = 0;
    CHECK_INT(waitpid(pid, &state, 0), pid);
    running_child = 0;
    bool all_are_gone = poll(&end, 1, 60000) == 1 && (end.revents & POLLHUP);
    close(alive);
    CHECK(all_are_gone);
    return state;
}

/* After a test that failed meanwhile. */
static inline void end_running_child(void)
{
    if (!running_child)
        return;
    kill((pid_t)running_child, SIGKILL);
    waitpid((pid_t)running_child, NULL, 0);
    running_child = 0;
}

static inline bool was_killed(int state)
{
    return WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL;
}

static inline bool ended_with(int state, int rc)
{
    return WIFEXITED(state) && WEXITSTATUS(state) == EXIT_OF(rc);
}

/* ------------------------------------------------------------------ random jobs */

static char parameters[JOB_LINE_BYTES]; /* of the job, for whom a failure is told */

static inline const char *executor_name(int32_t executor)
{
    return executor == FACPOOL_EXECUTOR_SERIAL    ? "serial"
           : executor == FACPOOL_EXECUTOR_PROCESS ? "process"
                                                  : "omp";
}

static inline void describe_job(const job_page *s)
{
    snprintf(parameters, sizeof parameters,
             "  %s: %u dates x %u codes, %u factors, %u us a task, %s, workers %u, group_by %d, "
             "%s, durability %d, no_async %d, batch_rows %u, flush_ms %u, queue_bytes %llu\n",
             store->name, s->n_dates, s->n_codes, s->n_factors, s->task_us,
             executor_name(s->executor), s->workers, s->group_by, s->by_slices ? "batch_fn" : "fn",
             s->durability, s->no_async, s->batch_rows, s->flush_ms,
             (unsigned long long)s->queue_bytes);
}

/* About so much work in all, of `store`. A batch that is ready waits up to 100 ms for company,
 * where there is room: short jobs have less room, so that they write all the same. */
static inline void choose_job(job_page *s, random_numbers *r)
{
    static const uint32_t batch_rows[] = {1, 10, 100, 1000};
    static const uint64_t queue_bytes[] = {1, 1, 2048, 16384};
    bool is_long = random_chance(r, 10);
    uint32_t work_us = is_long ? random_between(r, 100000, 250000) : random_between(r, 8000, 40000);
    *s = (job_page){.seed = random_bits(r), .store = (uint32_t)(store - storage_cases)};
    s->n_dates = random_between(r, 5, 50);
    s->n_codes = random_between(r, 10, 80);
    s->n_factors = random_between(r, 1, FACTORS_MAX);
    s->executor = random_chance(r, 40)   ? WITH_THREADS
                  : random_chance(r, 60) ? WITH_PROCESSES
                                         : FACPOOL_EXECUTOR_SERIAL;
    s->workers = s->executor == FACPOOL_EXECUTOR_SERIAL ? 1 : random_between(r, 1, WORKERS_MAX);
    s->group_by = (int32_t)random_between(r, 1, 3);
    s->by_slices = random_chance(r, 50);
    s->durability = (int32_t)random_between(r, 1, 3);
    s->no_async = random_chance(r, 25);
    s->batch_rows = batch_rows[random_below(r, 4)];
    s->flush_ms = random_between(r, 1, 20);
    s->queue_bytes = is_long ? 0 : queue_bytes[random_below(r, 4)];
    s->task_us = work_us * (s->workers < 2 ? 1 : 2) / n_tasks(s);
    describe_job(s);
}

#endif
