/* The rows that the tests of cut and damaged files write, run again and look for: made from a
 * number, of every status, some of them superseded. A question's answer is judged row by row: each
 * must be one that was written, bit for bit. Through the public header only. */
#ifndef FP_DAMAGE_ROWS_H
#define FP_DAMAGE_ROWS_H

#include "damage_formats.h"

#include <math.h>

#define MOST_DATES 1280
#define N_CODES    8
#define MOST_KEYS  (MOST_DATES * N_CODES)
#define N_FACTORS  3

/* The keys of the file in hand, and which values its rows have: files of different worlds have the
 * same keys, names and statuses, and no double in common. */
static size_t n_keys;
static uint64_t world;
static const char *tag;

/* ------------------------------------------------------------------ what the rows are */

static const char *const codes[N_CODES] = {"000001", "000002",       "300750", "600000",
                                           "AAPL",   "\xe4\xb8\xad", "z",      "z1"};

static inline int64_t date_of(size_t key)
{
    return 20240101 + (int64_t)(key / N_CODES);
}

static inline size_t key_of(int64_t date, const char *code)
{
    for (size_t c = 0; c < N_CODES; c++)
        if (strcmp(code, codes[c]) == 0 && date >= 20240101 && date < date_of(n_keys))
            return (size_t)(date - 20240101) * N_CODES + c;
    return n_keys;
}

static inline void factors_of(size_t key, double *out)
{
    uint64_t h = mix_bits(key + 1 + (world << 32));
    out[0] = (double)(h >> 11) / 9007199254740992.0 - 0.5;
    out[1] = (double)(h % 100000) / 100;
    out[2] = key % 7 ? (double)(key % 5 + 5 * world) : (double)NAN;
}

/* In the last round one task of eleven still fails, one of thirteen is skipped; in rounds before it
 * some more failed. */
static inline int status_of(size_t key, int round)
{
    if (key % 13 == 5)
        return FACPOOL_STATUS_SKIPPED;
    if (key % 11 == 3 || (round < 2 && key % 5 == 1))
        return FACPOOL_STATUS_FAILED;
    return FACPOOL_STATUS_OK;
}

static inline int32_t failure_code_of(size_t key)
{
    return 7 + (int32_t)key + 1000000 * (int32_t)world;
}

static int round_now = 2;
static unsigned calls;

static inline int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    size_t key = key_of(task->date, task->code);
    calls++;
    switch (status_of(key, round_now)) {
    case FACPOOL_STATUS_SKIPPED:
        return FACPOOL_SKIP;
    case FACPOOL_STATUS_FAILED:
        return facpool_task_fail(task, failure_code_of(key), round_now < 2 ? "not yet" : "no bars");
    default:
        factors_of(key, factors);
        return 0;
    }
}

/* ------------------------------------------------------------------ runs */

static inline facpool_tasks *make_tasks(size_t n_dates)
{
    facpool_tasks *tasks = NULL;
    int64_t dates[MOST_DATES];
    for (size_t d = 0; d < n_dates; d++)
        dates[d] = date_of(d * N_CODES);
    CHECK_OK(facpool_tasks_grid(&tasks, dates, n_dates, codes, N_CODES, &err), err);
    return tasks;
}

/* Resumes the file over the first dates; returns what the run does, and how many tasks were called
 * in `calls`. `damaged` may be NULL. */
static inline int try_resume(size_t n_dates, int32_t durability, uint64_t *damaged)
{
    facpool_tasks *tasks = make_tasks(n_dates);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.durability = durability;
    backup.tag = tag;
    backup.no_async = 1;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = N_FACTORS;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.backup = &backup;
    options.results = FACPOOL_RESULTS_DROP;
    facpool_result *result = NULL;
    calls = 0;
    int rc = facpool_run(tasks, &options, &result, &err);
    if (rc >= 0) {
        facpool_report report = FACPOOL_REPORT_INIT;
        CHECK_OK(facpool_result_report(result, &report, &err), err);
        if (damaged)
            *damaged = report.damaged_blocks;
    }
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return rc;
}

static inline unsigned resume(size_t n_dates, int32_t durability, uint64_t *damaged)
{
    CHECK_OK(try_resume(n_dates, durability, damaged), err);
    return calls;
}

/* Three rounds: blocks of ok rows, of others, superseded failures, and index blocks between. */
static inline void make_backup(int32_t durability)
{
    unlink(path);
    for (round_now = 0; round_now < 3; round_now++)
        resume(round_now == 0 ? format->n_dates / 2 : format->n_dates, durability, NULL);
    round_now = 2;
}

/* ------------------------------------------------------------------ asking */

typedef struct answer {
    unsigned n_rows;
    unsigned n_errors; /* damage reported while reading */
    unsigned n_twice;  /* rows of a key that was given before */
    unsigned n_older;  /* rows that a later one should supersede */
    int open_error;
    uint8_t seen[MOST_KEYS]; /* 1: the key's latest row, 2: an older one. As far as n_keys goes */
} answer;

static inline bool answer_is_silent(const answer *a)
{
    return !a->n_errors && !a->open_error;
}

/* A row must be one that was written: the key's latest, or an earlier failure. */
static inline void take_row(answer *a, const facpool_row *row)
{
    size_t key = key_of(row->date, row->code);
    CHECK(key < n_keys);
    double factors[N_FACTORS];
    factors_of(key, factors);
    a->n_twice += a->seen[key] != 0;
    a->n_rows++;
    bool is_latest = row->status == status_of(key, 2);
    if (!is_latest) {
        CHECK_INT(row->status, FACPOOL_STATUS_FAILED);
        CHECK_INT(row->status, status_of(key, 0));
        a->n_older++;
    }
    if (a->seen[key] != 1)
        a->seen[key] = is_latest ? 1 : 2;
    if (row->status == FACPOOL_STATUS_OK) {
        CHECK(row->factors && memcmp(row->factors, factors, sizeof factors) == 0);
    } else if (row->status == FACPOOL_STATUS_FAILED) {
        CHECK_INT(row->failure_code, failure_code_of(key));
        if (strcmp(row->message, "not yet") != 0)
            CHECK_TEXT(row->message, "no bars");
    }
    CHECK(row->timestamp > INT64_C(1500000000000000) && row->timestamp < INT64_C(9000000000000000));
}

static inline void ask_for(answer *a, facpool_reader *reader, const facpool_filter *filter)
{
    memset(a, 0, offsetof(answer, seen) + n_keys);
    facpool_cursor *cursor = NULL;
    a->open_error = facpool_query(reader, filter, &cursor, &err);
    if (a->open_error) {
        CHECK_INT(a->open_error, FACPOOL_E_CORRUPT);
        return;
    }
    for (;;) {
        facpool_row row = FACPOOL_ROW_INIT;
        int rc = facpool_cursor_next(cursor, &row, &err);
        if (rc == 0)
            break;
        if (rc == 1) {
            take_row(a, &row);
        } else {
            CHECK_INT(rc, FACPOOL_E_CORRUPT);
            CHECK(++a->n_errors < 1000);
        }
    }
    facpool_cursor_free(cursor);
}

static inline void ask(answer *a, facpool_reader *reader, int32_t order, uint32_t statuses)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.order = order;
    filter.statuses = statuses;
    ask_for(a, reader, &filter);
}

/* The file in hand opened; NULL where that says that it is damaged, or no backup any more. */
static inline facpool_reader *open_reader(void)
{
    facpool_reader *reader = NULL;
    const char *paths[] = {path};
    int rc = facpool_reader_open(&reader, paths, 1, &err);
    if (rc)
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
    return rc ? NULL : reader;
}

static inline unsigned rows_of_status(int status)
{
    unsigned n = 0;
    for (size_t key = 0; key < n_keys; key++)
        n += status_of(key, 2) == status;
    return n;
}

/* ------------------------------------------------------------------ what verify says */

/* True where verify says that something is not as it was. */
static inline bool verify_notices(facpool_verify_report *report)
{
    *report = (facpool_verify_report)FACPOOL_VERIFY_REPORT_INIT;
    int rc = facpool_backup_verify(path, report, &err);
    CHECK(rc == 0 || rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
    if (rc == FACPOOL_E_CORRUPT && report->blocks)
        CHECK(report->damaged_blocks > 0);
    return rc != 0 || report->tail_bytes > 0 || !report->closed;
}

#endif
