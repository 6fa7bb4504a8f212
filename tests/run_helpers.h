/* What tests of runs share: a folder for files, a task set, a callback whose values anyone can
 * recompute, and looking into results and backups through the public header. */
#ifndef FP_TEST_RUN_HELPERS_H
#define FP_TEST_RUN_HELPERS_H

#include <facpool/facpool.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>
#include "test.h"

#define FACTORS 3

static char folder[256];
static facpool_error err = FACPOOL_ERROR_INIT;

static void make_folder(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/facpool-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
}

static void remove_folder(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        printf("  could not remove %s\n", folder);
}

/* A path in the folder that no test used before. */
static const char *fresh_path(void)
{
    static char path[8][320];
    static int number;
    char *out = path[number % 8];
    snprintf(out, sizeof path[0], "%s/backup%d.fpb", folder, number++);
    return out;
}

/* ------------------------------------------------------------------ tasks and values */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t key_hash(int64_t date, const char *code)
{
    uint64_t h = mix((uint64_t)date);
    for (; *code; code++)
        h = mix(h ^ (uint8_t)*code);
    return h;
}

/* Doubles of every kind, NaN payloads and infinities among them. */
static double value_of(int64_t date, const char *code, size_t factor)
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

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static facpool_tasks *make_grid(size_t n_dates, size_t n_codes)
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
static facpool_tasks *make_list(size_t n_dates, size_t n_codes)
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

/* ------------------------------------------------------------------ the callback */

/* Counts calls; fails, skips and cancels where told. A nonzero modulus makes tasks whose hash is
 * 0 for it do so. */
typedef struct work {
    atomic_size_t calls;
    unsigned fail_every;
    unsigned skip_every;
    size_t cancel_at_call; /* sets the token at the so-manyth call; 0: never */
    facpool_cancel *cancel;
    size_t n_factors;
} work;

static bool is_hit(int64_t date, const char *code, unsigned every, uint64_t salt)
{
    return every && mix(key_hash(date, code) ^ salt) % every == 0;
}

static int compute(int64_t date, const char *code, double *factors, work *w)
{
    size_t call = atomic_fetch_add(&w->calls, 1) + 1;
    if (w->cancel_at_call && call >= w->cancel_at_call)
        facpool_cancel_set(w->cancel);
    if (is_hit(date, code, w->skip_every, 1))
        return FACPOOL_SKIP;
    if (is_hit(date, code, w->fail_every, 2))
        return 7;
    for (size_t f = 0; f < (w->n_factors ? w->n_factors : FACTORS); f++)
        factors[f] = value_of(date, code, f);
    return 0;
}

static int task_fn(const facpool_task *task, double *factors, void *user)
{
    int rc = compute(task->date, task->code, factors, user);
    return rc == 7 ? facpool_task_fail(task, 7, "the task was told to fail") : rc;
}

static int batch_fn(const facpool_slice *slice, double *factors, void *user)
{
    work *w = user;
    size_t n_factors = w->n_factors ? w->n_factors : FACTORS;
    for (size_t i = 0; i < slice->n; i++) {
        int rc = compute(slice->dates[i], slice->codes[i], factors + i * n_factors, w);
        if (rc == FACPOOL_SKIP)
            facpool_slice_skip(slice, i);
        else if (rc)
            facpool_slice_fail(slice, i, rc, "the task was told to fail");
    }
    return 0;
}

static facpool_run_options make_options(work *w, int32_t executor)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = task_fn;
    options.user = w;
    options.n_factors = FACTORS;
    options.executor = executor;
    options.workers = executor == FACPOOL_EXECUTOR_OMP ? 3 : 1;
    return options;
}

/* ------------------------------------------------------------------ looking */

static facpool_report report_of(const facpool_result *result)
{
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    return report;
}

static uint8_t expected_status(const work *w, int64_t date, const char *code)
{
    if (is_hit(date, code, w->skip_every, 1))
        return FACPOOL_STATUS_SKIPPED;
    return is_hit(date, code, w->fail_every, 2) ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
}

/* Every task of a finished result is what a plain loop would have made of it. */
static void check_result(const facpool_result *result, const work *w)
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
static size_t count_rows(const char *path, uint32_t statuses)
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
