/* kill -9 at random moments: a child runs a job with a backup, in every file format and the
 * example's SQLite sink in turn, the parent kills it somewhere between the first and the last
 * write, once or several times, and the run is resumed to its end. Then the result is that of an
 * uninterrupted run, bit for bit, every row is in the file once, what had been reported durable is
 * there, nothing that was done was computed again, and no worker process outlives its run.
 *
 * FACPOOL_TEST_SEED and FACPOOL_TEST_CYCLES choose the cycles. The child is this very program, run
 * with the names of its two files; both share what the child counts in memory of a file, which
 * outlives it. */
#include "storage_suite.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define TASKS_MAX   20000
#define FACTORS_MAX 6

/* The library has OpenMP where its tests have. */
#ifdef _OPENMP
#define WITH_THREADS FACPOOL_EXECUTOR_OMP
#else
#define WITH_THREADS FACPOOL_EXECUTOR_SERIAL
#endif

/* Worker processes are there on Linux. */
#ifdef __linux__
#define WITH_PROCESSES FACPOOL_EXECUTOR_PROCESS
#else
#define WITH_PROCESSES FACPOOL_EXECUTOR_SERIAL
#endif

extern char **environ;

/* ------------------------------------------------------------------ one job */

/* What parent and child share. */
typedef struct shared_page {
    /* written by the parent */
    uint64_t seed;
    uint32_t store; /* of storage_cases */
    uint32_t n_dates;
    uint32_t n_codes;
    uint32_t n_factors;
    uint32_t task_us; /* how long a task takes */
    int32_t executor;
    uint32_t workers;
    int32_t group_by;
    int32_t by_slices; /* batch_fn */
    int32_t durability;
    int32_t no_async;
    uint32_t batch_rows;
    uint32_t flush_ms;
    uint64_t queue_bytes;
    /* written by the child */
    _Atomic uint64_t done;         /* tasks called */
    _Atomic uint64_t rows_written; /* as last reported by progress */
    _Atomic uint64_t rows_durable;
    atomic_int over; /* the run has returned */
    _Atomic uint32_t calls[TASKS_MAX];
} shared_page;

static uint32_t n_tasks(const shared_page *s)
{
    return s->n_dates * s->n_codes;
}

static int status_of(const shared_page *s, size_t index)
{
    uint64_t h = mix_bits(s->seed + index) % 100;
    return h < 5 ? FACPOOL_STATUS_SKIPPED : h < 12 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
}

static double factor_of(const shared_page *s, size_t index, size_t factor)
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

static void spend(uint32_t us)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t until = (int64_t)at.tv_sec * 1000000000 + at.tv_nsec + (int64_t)us * 1000;
    do {
        clock_gettime(CLOCK_MONOTONIC, &at);
    } while ((int64_t)at.tv_sec * 1000000000 + at.tv_nsec < until);
}

static int compute_one(shared_page *s, size_t index, double *factors)
{
    spend(s->task_us);
    atomic_fetch_add(&s->calls[index], 1);
    atomic_fetch_add(&s->done, 1);
    for (size_t f = 0; f < s->n_factors; f++)
        factors[f] = factor_of(s, index, f);
    return status_of(s, index);
}

static int compute_task(const facpool_task *task, double *factors, void *user)
{
    switch (compute_one(user, task->index, factors)) {
    case FACPOOL_STATUS_SKIPPED:
        return FACPOOL_SKIP;
    case FACPOOL_STATUS_FAILED:
        return facpool_task_fail(task, (int)task->index + 1, "was told to");
    default:
        return 0;
    }
}

static int compute_slice(const facpool_slice *slice, double *factors, void *user)
{
    shared_page *s = user;
    for (size_t i = 0; i < slice->n; i++) {
        int status = compute_one(s, slice->indexes[i], factors + i * s->n_factors);
        if (status == FACPOOL_STATUS_SKIPPED)
            facpool_slice_skip(slice, i);
        else if (status == FACPOOL_STATUS_FAILED)
            facpool_slice_fail(slice, i, (int)slice->indexes[i] + 1, "was told to");
    }
    return 0;
}

static int report(const facpool_progress *progress, void *user)
{
    shared_page *s = user;
    atomic_store(&s->rows_written, progress->rows_written);
    atomic_store(&s->rows_durable, progress->rows_durable);
    return 0;
}

static int make_tasks(const shared_page *s, facpool_tasks **out)
{
    int64_t dates[400];
    char texts[400][16];
    const char *codes[400];
    for (uint32_t d = 0; d < s->n_dates; d++)
        dates[d] = 20200000 + (int64_t)d;
    for (uint32_t c = 0; c < s->n_codes; c++) {
        snprintf(texts[c], sizeof texts[c], "%06u", c * 7);
        codes[c] = texts[c];
    }
    return facpool_tasks_grid(out, dates, s->n_dates, codes, s->n_codes, &err);
}

/* The job, with a backup or (path NULL) without. */
static int run_job(shared_page *s, const char *path, const facpool_tasks *tasks,
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
    options.no_stop_if_first_fail = 1;
    options.backup = path ? &backup : NULL;
    options.progress = report;
    options.progress_user = s;
    options.progress_interval_ms = 1;
    return facpool_run(tasks, &options, out, &err);
}

/* ------------------------------------------------------------------ the child */

static shared_page *map_shared(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || ftruncate(fd, sizeof(shared_page)) != 0)
        return NULL;
    void *memory = mmap(NULL, sizeof(shared_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

static int child_main(const char *backup_path, const char *shared_path)
{
    shared_page *s = map_shared(shared_path);
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    if (!s || make_tasks(s, &tasks))
        return 3;
    store = &storage_cases[s->store];
    int rc = run_job(s, backup_path, tasks, &result);
    atomic_store(&s->over, 1);
    if (rc)
        fprintf(stderr, "child: %d %s\n", rc, err.message);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return rc ? 2 : 0;
}

/* Whether all that hold the other end of the pipe are gone; waits for it, and gives up after a
 * minute. */
static bool all_are_gone(int pipe_end)
{
    struct pollfd ends = {.fd = pipe_end};
    return poll(&ends, 1, 60000) == 1 && (ends.revents & POLLHUP);
}

/* *alive gets the end of a pipe whose other end the child holds, and all that are forked from it.
 */
static pid_t spawn_child(const char *backup_path, const char *shared_path, int *alive)
{
    int ends[2];
    char program[] = "/proc/self/exe", backup[512], shared[512];
    snprintf(backup, sizeof backup, "%s", backup_path);
    snprintf(shared, sizeof shared, "%s", shared_path);
    char *arguments[] = {program, backup, shared, NULL};
    pid_t pid;
    CHECK_INT(pipe(ends), 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    CHECK_INT(posix_spawn(&pid, program, NULL, NULL, arguments, environ), 0);
    close(ends[1]);
    *alive = ends[0];
    return pid;
}

/* ------------------------------------------------------------------ the file between runs */

typedef struct stored_rows {
    uint32_t n;        /* rows given out: one a key */
    uint32_t n_final;  /* ok or skipped */
    uint64_t n_stored; /* rows in the store, superseded failures too where it keeps them */
    uint8_t status[TASKS_MAX];
} stored_rows;

static size_t index_of(const shared_page *s, int64_t date, const char *code)
{
    size_t d = (size_t)(date - 20200000), c = (size_t)atoi(code) / 7;
    CHECK(d < s->n_dates && c < s->n_codes);
    return d * s->n_codes + c;
}

/* What a file says of itself agrees with what was read. */
static void check_info(const char *path, stored_rows *out)
{
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    for (int status = 0; status < 6; status++)
        out->n_stored += info->rows[status];
    CHECK_INT(info->damaged_blocks, 0);
    CHECK_INT(info->rows[FACPOOL_STATUS_OK] + info->rows[FACPOOL_STATUS_SKIPPED], out->n_final);
    facpool_info_free(info);
}

/* Killed before it had made the file, or (a json file is its rows) before it had a row. */
static bool has_no_rows_yet(int rc, const char *path)
{
    return rc == FACPOOL_E_NOT_FOUND ||
           (rc == FACPOOL_E_UNSUPPORTED && store->is_its_rows && file_bytes(path) == 0);
}

/* Reads what is in the file and checks every row of it. */
static void read_file(const shared_page *s, const char *path, stored_rows *out)
{
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    *out = (stored_rows){0};
    int rc = storage_open(&reader, &path, 1);
    if (has_no_rows_yet(rc, path))
        return;
    CHECK_OK(rc, err);
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        size_t index = index_of(s, row.date, row.code);
        CHECK_INT(out->status[index], 0);
        out->status[index] = (uint8_t)row.status;
        out->n++;
        CHECK_INT(row.status, status_of(s, index));
        if (row.status == FACPOOL_STATUS_FAILED)
            CHECK_INT(row.failure_code, index + 1);
        else
            out->n_final++;
        for (size_t f = 0; row.factors && f < s->n_factors; f++) {
            double expected = factor_of(s, index, f);
            CHECK(memcmp(&row.factors[f], &expected, sizeof expected) == 0);
        }
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    if (store->sink)
        out->n_stored = out->n;
    else
        check_info(path, out);
}

/* What was final before a run is not computed in it; with groups, what belongs to a group that was
 * wholly final. */
static void check_calls(const shared_page *s, const stored_rows *before)
{
    bool by_date = s->group_by == FACPOOL_GROUP_DATE;
    bool grouped = s->group_by > FACPOOL_GROUP_NONE;
    uint8_t left[400] = {0};
    for (size_t i = 0; i < n_tasks(s); i++) {
        bool final =
            before->status[i] == FACPOOL_STATUS_OK || before->status[i] == FACPOOL_STATUS_SKIPPED;
        if (!final)
            left[by_date ? i / s->n_codes : i % s->n_codes] = 1;
        if (final && !grouped)
            CHECK_INT(s->calls[i], 0);
    }
    for (size_t i = 0; grouped && i < n_tasks(s); i++)
        if (!left[by_date ? i / s->n_codes : i % s->n_codes])
            CHECK_INT(s->calls[i], 0);
}

static void reset_counts(shared_page *s)
{
    s->done = 0;
    s->rows_written = 0;
    s->rows_durable = 0;
    s->over = 0;
    for (size_t i = 0; i < TASKS_MAX; i++)
        s->calls[i] = 0;
}

/* ------------------------------------------------------------------ cycles */

static unsigned n_kills, n_hits, n_cycles_done, n_of_processes;
static char parameters[400];

static void choose_job(shared_page *s, random_numbers *r)
{
    static const uint32_t batch_rows[] = {1, 10, 100, 1000};
    static const uint64_t queue_bytes[] = {0, 1, 4096, 65536};
    *s = (shared_page){.seed = random_bits(r), .store = (uint32_t)(store - storage_cases)};
    s->n_dates = random_between(r, 5, 60);
    s->n_codes = random_between(r, 10, 100);
    s->n_factors = random_between(r, 1, FACTORS_MAX);
    s->executor = random_chance(r, 40)   ? WITH_THREADS
                  : random_chance(r, 60) ? WITH_PROCESSES
                                         : FACPOOL_EXECUTOR_SERIAL;
    s->workers = s->executor == FACPOOL_EXECUTOR_SERIAL ? 1 : random_between(r, 1, 4);
    s->group_by = (int32_t)random_between(r, 1, 3);
    s->by_slices = random_chance(r, 50);
    s->durability = (int32_t)random_between(r, 1, 3);
    s->no_async = random_chance(r, 25);
    s->batch_rows = batch_rows[random_below(r, 4)];
    s->flush_ms = random_between(r, 1, 20);
    s->queue_bytes = queue_bytes[random_below(r, 4)];
    /* About 100 to 300 ms of work in all. */
    uint32_t workers = s->workers < 2 ? 1 : 2;
    s->task_us = random_between(r, 100000, 300000) * workers / n_tasks(s);
    snprintf(
        parameters, sizeof parameters,
        "  %s: %u dates x %u codes, %u factors, %u us a task, %s, workers %u, group_by %d, %s, "
        "durability %d, no_async %d, batch_rows %u, flush_ms %u, queue_bytes %llu\n",
        store->name, s->n_dates, s->n_codes, s->n_factors, s->task_us,
        s->executor == FACPOOL_EXECUTOR_SERIAL    ? "serial"
        : s->executor == FACPOOL_EXECUTOR_PROCESS ? "process"
                                                  : "omp",
        s->workers, s->group_by, s->by_slices ? "batch_fn" : "fn", s->durability, s->no_async,
        s->batch_rows, s->flush_ms, (unsigned long long)s->queue_bytes);
}

static void pause_briefly(void)
{
    struct timespec briefly = {0, 200000};
    nanosleep(&briefly, NULL);
}

/* Starts a child, kills it when it has called so many tasks (and, mostly, written something), and
 * looks at what it left. Returns false where it came to its end before. */
static bool kill_once(shared_page *s, random_numbers *r, const char *path, const char *shared_path)
{
    static stored_rows before, after;
    read_file(s, path, &before);
    reset_counts(s);
    uint64_t left = n_tasks(s) - before.n_final;
    uint64_t target = left * random_between(r, 2, 90) / 100;
    bool early = random_chance(r, 3); /* now and then before the first write */
    int state = 0, alive;
    pid_t ended = 0, pid = spawn_child(path, shared_path, &alive);
    while (!s->over && (ended = waitpid(pid, &state, WNOHANG)) == 0) {
        if (s->done >= target && (early || s->rows_written))
            break;
        pause_briefly();
    }
    if (ended == 0) {
        CHECK_INT(kill(pid, SIGKILL), 0);
        CHECK_INT(waitpid(pid, &state, 0), pid);
    }
    CHECK(all_are_gone(alive));
    close(alive);
    bool killed = WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL;
    if (!killed)
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    read_file(s, path, &after);
    check_calls(s, &before);
    for (size_t i = 0; i < n_tasks(s); i++)
        CHECK(after.status[i] || !before.status[i]);
    /* What was written or durable by the child's own account is there. Rows that took the place of
     * failures don't count where these are not kept. */
    uint64_t replaced = store->sink ? before.n - before.n_final : 0;
    CHECK(after.n_stored - before.n_stored + replaced >= s->rows_written);
    CHECK(s->rows_written >= s->rows_durable);
    n_kills += killed;
    n_of_processes += killed && s->executor == FACPOOL_EXECUTOR_PROCESS;
    bool wrote = after.n_stored > before.n_stored || s->rows_written;
    n_hits += killed && wrote && after.n < n_tasks(s);
    return killed;
}

/* The end: in this process or in another child, then everything is as if nothing had happened. */
static void resume_to_end(shared_page *s, random_numbers *r, const char *path,
                          const char *shared_path, const facpool_tasks *tasks)
{
    static stored_rows before, after;
    facpool_result *result = NULL, *whole = NULL;
    read_file(s, path, &before);
    reset_counts(s);
    s->task_us = 0;
    if (random_chance(r, 30)) {
        int state = 0, alive;
        pid_t pid = spawn_child(path, shared_path, &alive);
        CHECK_INT(waitpid(pid, &state, 0), pid);
        CHECK(all_are_gone(alive));
        close(alive);
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
        check_calls(s, &before);
        read_file(s, path, &before);
        reset_counts(s);
    }
    s->workers = random_between(r, 1, 4);
    CHECK_OK(run_job(s, path, tasks, &result), err);
    check_calls(s, &before);
    read_file(s, path, &after);
    CHECK_INT(after.n, n_tasks(s));
    CHECK_OK(run_job(s, NULL, tasks, &whole), err);
    const uint8_t *status = facpool_result_status(result), *wanted = facpool_result_status(whole);
    CHECK(status && wanted && memcmp(status, wanted, n_tasks(s)) == 0);
    for (size_t f = 0; f < s->n_factors; f++) {
        const double *column = facpool_result_factor(result, f);
        const double *uncut = facpool_result_factor(whole, f);
        for (size_t i = 0; i < n_tasks(s); i++)
            if (status[i] == FACPOOL_STATUS_OK)
                CHECK(memcmp(&column[i], &uncut[i], sizeof *column) == 0);
    }
    facpool_verify_report verified = FACPOOL_VERIFY_REPORT_INIT;
    if (!store->sink) {
        CHECK_OK(facpool_backup_verify(path, &verified, &err), err);
        CHECK(verified.closed);
    }
    facpool_result_free(result);
    facpool_result_free(whole);
}

static void killed_runs_resume_to_the_uninterrupted_result(void)
{
    uint64_t seed = environment_seed();
    unsigned n_cycles = (unsigned)environment_number("FACPOOL_TEST_CYCLES", 80);
    char path[512], shared_path[512];
    snprintf(shared_path, sizeof shared_path, "%s", scratch_path("shared"));
    shared_page *s = map_shared(shared_path);
    CHECK(s);
    for (unsigned cycle = 0; cycle < n_cycles; cycle++) {
        random_numbers r = {mix_bits(seed + cycle)};
        facpool_tasks *tasks = NULL;
        store = &storage_cases[cycle % N_STORAGE_CASES];
        snprintf(path, sizeof path, "%s", storage_path());
        choose_job(s, &r);
        CHECK_OK(make_tasks(s, &tasks), err);
        uint32_t times = random_chance(&r, 60) ? 1 : random_between(&r, 2, 4);
        while (times-- && kill_once(s, &r, path, shared_path))
            ;
        resume_to_end(s, &r, path, shared_path, tasks);
        facpool_tasks_free(tasks);
        unlink(path);
        n_cycles_done++;
    }
    munmap(s, sizeof *s);
    printf("%u cycles, %u kills (%u of runs with worker processes), %u of them between the first "
           "and the last write\n",
           n_cycles, n_kills, n_of_processes, n_hits);
    CHECK(n_kills >= n_cycles * 9 / 10);
    CHECK(n_hits * 10 >= n_kills * 9);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2]);
    if (!scratch_make("kill", false)) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    RUN(killed_runs_resume_to_the_uninterrupted_result);
    if (test_failures)
        printf("in cycle %u:\n%s", n_cycles_done, parameters);
    scratch_remove();
    return TEST_END();
}
