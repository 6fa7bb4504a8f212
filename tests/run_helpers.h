/* What tests of runs share: a folder for files, memory that worker processes share, a task set, a
 * callback whose values anyone can recompute, and looking into results and backups through the
 * public header. Callbacks may run in other processes: what they write to lies in shared memory,
 * and they note what is wrong there instead of ending the test. */
#ifndef FP_TEST_RUN_HELPERS_H
#define FP_TEST_RUN_HELPERS_H

#include <facpool/facpool.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include "parent_folder.h"
#include "shared_memory.h"
#include "test.h"

#define FACTORS 3

static char test_folder[256];
static pid_t test_process; /* this program's, not a worker's */
static facpool_error err = FACPOOL_ERROR_INIT;

static inline void make_folder(void)
{
    test_process = getpid();
    snprintf(test_folder, sizeof test_folder, "%s/facpool-test-XXXXXX", parent_folder());
    if (!mkdtemp(test_folder)) {
        perror(test_folder);
        exit(1);
    }
}

static inline void remove_folder(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", test_folder);
    if (system(command) != 0)
        printf("  could not remove %s\n", test_folder);
}

/* A path in the test_folder that no test used before. */
static inline const char *fresh_path(void)
{
    static char path[8][320];
    static int number;
    char *out = path[number % 8];
    snprintf(out, sizeof path[0], "%s/backup%d.fpb", test_folder, number++);
    return out;
}

/* ------------------------------------------------------------------ tasks and values */

static inline uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline uint64_t key_hash(int64_t date, const char *code)
{
    uint64_t h = mix((uint64_t)date);
    for (; *code; code++)
        h = mix(h ^ (uint8_t)*code);
    return h;
}

/* Doubles of every kind, NaN payloads and infinities among them. */
static inline double value_of(int64_t date, const char *code, size_t factor)
{
    uint64_t h = mix(key_hash(date, code) + factor);
    double price = (double)(h % 1000000) / 100;
    if (factor % 3 == 1)
        return price;
    if (factor % 3 == 2)
        return (double)(h % 5000) / 5000;
    uint64_t bits = h % 64 == 0 ? (h | UINT64_C(0x7ff8000000000000)) : 0;
    double odd;
    memcpy(&odd, &bits, sizeof odd);
    if (bits)
        return odd;
    return h % 64 == 1 ? INFINITY : h % 64 == 2 ? -0.0 : (double)(int64_t)h * 1e-19;
}

/* Text keeps no NaN's payload: set for tests that read it. */
static bool any_nan_will_do;

static inline bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (any_nan_will_do && isnan(a) && isnan(b));
}

static inline facpool_tasks *make_grid(size_t n_dates, size_t n_codes)
{
    facpool_tasks *tasks = NULL;
    int64_t *dates = malloc((n_dates + 1) * sizeof *dates);
    const char **codes = malloc((n_codes + 1) * sizeof *codes);
    char(*texts)[32] = malloc((n_codes + 1) * sizeof *texts);
    for (size_t i = 0; i < n_dates; i++)
        dates[i] = 20240101 + (int64_t)i;
    for (size_t i = 0; i < n_codes; i++) {
        snprintf(texts[i], sizeof texts[i], "%06zu", i + 1);
        codes[i] = texts[i];
    }
    CHECK_OK(facpool_tasks_grid(&tasks, dates, n_dates, codes, n_codes, &err), err);
    free(dates);
    free(codes);
    free(texts);
    return tasks;
}

/* The same tasks as a list, in an order that is nobody's. */
static inline facpool_tasks *make_list(size_t n_dates, size_t n_codes)
{
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    size_t n = n_dates * n_codes, step = 7919;
    while (n % step == 0 && n)
        step += 2;
    for (size_t i = 0; i < n; i++) {
        size_t at = i * step % n;
        char code[32];
        snprintf(code, sizeof code, "%06zu", at % n_codes + 1);
        CHECK_OK(facpool_tasks_add(tasks, 20240101 + (int64_t)(at / n_codes), code, &err), err);
    }
    return tasks;
}

/* ------------------------------------------------------------------ executors */

static inline const char *executor_name(int32_t executor)
{
    return executor == FACPOOL_EXECUTOR_OMP       ? "OpenMP"
           : executor == FACPOOL_EXECUTOR_PROCESS ? "process"
                                                  : "serial";
}

/* Runs all tests with each executor this build has. Worker processes come first: once OpenMP was
 * used, their callbacks could not use it. */
static inline void for_each_executor(void (*run_all)(int32_t executor))
{
    static const int32_t executors[] = {
#ifdef __linux__
        FACPOOL_EXECUTOR_PROCESS,
#endif
        FACPOOL_EXECUTOR_SERIAL,
#ifdef _OPENMP
        FACPOOL_EXECUTOR_OMP,
#endif
    };
    for (size_t i = 0; i < sizeof executors / sizeof *executors; i++) {
        printf("-- %s executor\n", executor_name(executors[i]));
        run_all(executors[i]);
    }
}

static inline void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* ------------------------------------------------------------------ cancelling from a callback */

/* A token is its process's own: a callback in a worker process asks the test's by a signal. */
typedef struct cancelling {
    facpool_cancel *token;
    pid_t process;
    atomic_bool *is_set; /* shared */
    struct sigaction before;
} cancelling;

static cancelling canceller;

static inline void cancel_on_signal(int number)
{
    (void)number;
    facpool_cancel_set(canceller.token);
    atomic_store(canceller.is_set, true);
}

/* Makes a token for request_cancel to set, until forget_cancel frees it. */
static inline facpool_cancel *listen_for_cancel(void)
{
    struct sigaction action = {.sa_handler = cancel_on_signal};
    CHECK_OK(facpool_cancel_new(&canceller.token, &err), err);
    canceller.process = getpid();
    canceller.is_set = shared_alloc(sizeof *canceller.is_set);
    sigaction(SIGUSR2, &action, &canceller.before);
    return canceller.token;
}

static inline void forget_cancel(void)
{
    sigaction(SIGUSR2, &canceller.before, NULL);
    facpool_cancel_free(canceller.token);
    canceller.token = NULL;
}

/* Has the token set by a signal handler of the test's process; returns when it is. */
static inline void request_cancel_by_signal(void)
{
    kill(canceller.process, SIGUSR2);
    while (!atomic_load(canceller.is_set))
        pause_ms(1);
}

/* Returns when the token is set. Workers of other processes hear of it in their own time, in which
 * they are to leave something undone. */
static inline void request_cancel(void)
{
    if (getpid() == canceller.process) {
        facpool_cancel_set(canceller.token);
        return;
    }
    request_cancel_by_signal();
    pause_ms(1);
}

/* First in a callback that uses CHECK: where it fails in a worker process, that one ends. */
#define CHECKS_END_THE_WORKER()                                                                    \
    do {                                                                                           \
        if (getpid() != test_process)                                                              \
            if (setjmp(test_end))                                                                  \
                _exit(97);                                                                         \
    } while (0)

/* ------------------------------------------------------------------ the callback */

/* Made by SHARED(work, ...). Counts calls; fails, skips and cancels where told, or does what a
 * worker process doesn't survive. A nonzero modulus makes tasks whose hash is 0 for it do so. */
typedef struct work {
    atomic_size_t calls;
    unsigned fail_every;
    unsigned skip_every;
    size_t cancel_at_call; /* asks for the end from the so-manyth call on; 0: never */
    size_t n_factors;
    unsigned trouble_every;
    void (*trouble)(void);
    uint32_t trouble_attempts; /* the first ones of such a task; 0: all */
    uint8_t trouble_status;    /* of the task, where all are */
} work;

static inline bool is_hit(int64_t date, const char *code, unsigned every, uint64_t salt)
{
    return every && mix(key_hash(date, code) ^ salt) % every == 0;
}

static inline int compute(int64_t date, const char *code, uint32_t attempt, double *factors,
                          work *w)
{
    size_t call = atomic_fetch_add(&w->calls, 1) + 1;
    if (w->cancel_at_call && call >= w->cancel_at_call)
        request_cancel();
    bool may_trouble = !w->trouble_attempts || attempt <= w->trouble_attempts;
    if (may_trouble && is_hit(date, code, w->trouble_every, 3))
        w->trouble();
    if (is_hit(date, code, w->skip_every, 1))
        return FACPOOL_SKIP;
    if (is_hit(date, code, w->fail_every, 2))
        return 7;
    for (size_t f = 0; f < (w->n_factors ? w->n_factors : FACTORS); f++)
        factors[f] = value_of(date, code, f);
    return 0;
}

static inline int task_fn(const facpool_task *task, double *factors, void *user)
{
    int rc = compute(task->date, task->code, task->attempt, factors, user);
    return rc == 7 ? facpool_task_fail(task, 7, "the task was told to fail") : rc;
}

static inline int batch_fn(const facpool_slice *slice, double *factors, void *user)
{
    work *w = user;
    size_t n_factors = w->n_factors ? w->n_factors : FACTORS;
    for (size_t i = 0; i < slice->n; i++) {
        int rc =
            compute(slice->dates[i], slice->codes[i], slice->attempt, factors + i * n_factors, w);
        if (rc == FACPOOL_SKIP)
            facpool_slice_skip(slice, i);
        else if (rc)
            facpool_slice_fail(slice, i, rc, "the task was told to fail");
    }
    return 0;
}

static inline facpool_run_options make_options(work *w, int32_t executor)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = task_fn;
    options.user = w;
    options.n_factors = FACTORS;
    options.executor = executor;
    options.workers = executor == FACPOOL_EXECUTOR_SERIAL ? 1 : 3;
    return options;
}

static inline facpool_result *run_ok(facpool_tasks *tasks, const facpool_run_options *options)
{
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, options, &result, &err), err);
    return result;
}

/* ------------------------------------------------------------------ looking */

static inline facpool_report report_of(const facpool_result *result)
{
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    return report;
}

static inline uint8_t expected_status(const work *w, int64_t date, const char *code)
{
    if (!w->trouble_attempts && is_hit(date, code, w->trouble_every, 3))
        return w->trouble_status;
    if (is_hit(date, code, w->skip_every, 1))
        return FACPOOL_STATUS_SKIPPED;
    return is_hit(date, code, w->fail_every, 2) ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
}

/* Every task of a finished result is what a plain loop would have made of it. */
static inline void check_result(const facpool_result *result, const work *w)
{
    size_t n = facpool_result_count(result);
    CHECK_OK(facpool_result_load(result, &err), err);
    const uint8_t *status = facpool_result_status(result);
    const int64_t *dates = facpool_result_dates(result);
    CHECK(n == 0 || (status && dates));
    for (size_t f = 0; f < facpool_result_n_factors(result); f++) {
        const double *values = facpool_result_factor(result, f);
        CHECK(values);
        for (size_t i = 0; i < n; i++) {
            const char *code = facpool_result_code(result, i);
            uint8_t expected = expected_status(w, dates[i], code);
            CHECK_INT(status[i], expected);
            if (expected == FACPOOL_STATUS_OK)
                CHECK(same_bits(values[i], value_of(dates[i], code, f)));
            else
                CHECK(isnan(values[i]));
        }
    }
}

/* Rows of a backup with one of the statuses; each is checked for its values. */
static inline size_t count_rows(const char *path, uint32_t statuses)
{
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.statuses = statuses;
    CHECK_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    size_t n = 0;
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        n++;
        for (size_t f = 0; row.factors && f < row.n_factors; f++)
            CHECK(same_bits(row.factors[f], value_of(row.date, row.code, f)));
        CHECK(!row.factors == (row.status != FACPOOL_STATUS_OK));
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return n;
}

#endif
