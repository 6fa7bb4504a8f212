/* Runs into the store of vault_sink.h, for the tests of what is asked of such stores: tasks whose
 * rows anyone can work out again, and what the vault holds and was asked after them. Included by
 * test programs; everything is static. */
#ifndef FP_VAULT_RUNS_H
#define FP_VAULT_RUNS_H

#include "test.h"
#include "vault_sink.h"

#include <math.h>

#define N_FACTORS 2

static facpool_error err = FACPOOL_ERROR_INIT;
static vault v;

static const char *const names[] = {"momentum", "turnover"};

static inline void init(void)
{
    vault_init(&v);
    err = (facpool_error)FACPOOL_ERROR_INIT;
}

static inline void destroy(void)
{
    CHECK_TEXT(v.wrong ? v.wrong : "", "");
    CHECK_INT(v.overlaps, 0);
    CHECK_INT(v.snapshots, 0);
    CHECK_INT(v.reads, v.releases);
    CHECK_INT(v.writing_states, 0);
    vault_destroy(&v);
}

static inline facpool_backup_options backup_of(const facpool_sink_type *type, int32_t mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = "the vault";
    backup.sink = type;
    backup.sink_user = &v;
    backup.mode = mode;
    backup.tag = "v1";
    return backup;
}

/* ------------------------------------------------------------------ runs */

/* What a task makes: factors and status that anyone can work out again. */
typedef struct work {
    int fail_every; /* tasks with an index that is a multiple; 0: none */
    int skip_every;
    size_t cancel_at;
    facpool_cancel *cancel;
    atomic_size_t calls;
} work;

static inline double value_of(size_t index, size_t factor)
{
    return index % 50 == 7 ? -0.0 : index % 50 == 8 ? INFINITY : (double)(index * 10 + factor) / 7;
}

static inline int status_of(const work *w, size_t index)
{
    if (w->skip_every && index % (size_t)w->skip_every == 1)
        return FACPOOL_STATUS_SKIPPED;
    return w->fail_every && index % (size_t)w->fail_every == 0 ? FACPOOL_STATUS_FAILED
                                                               : FACPOOL_STATUS_OK;
}

static inline int run_task(const facpool_task *task, double *factors, void *user)
{
    work *w = user;
    size_t call = atomic_fetch_add(&w->calls, 1) + 1;
    if (w->cancel && call >= w->cancel_at)
        facpool_cancel_set(w->cancel);
    int status = status_of(w, task->index);
    for (size_t f = 0; f < N_FACTORS; f++)
        factors[f] = value_of(task->index, f);
    if (status == FACPOOL_STATUS_FAILED)
        return facpool_task_fail(task, (int)task->index + 1, "told to fail");
    return status == FACPOOL_STATUS_SKIPPED ? FACPOOL_SKIP : 0;
}

static inline facpool_tasks *make_tasks(size_t n_dates, size_t n_codes)
{
    static int64_t dates[300];
    static char texts[1000][32];
    const char *codes[1000];
    facpool_tasks *tasks = NULL;
    for (size_t i = 0; i < n_dates; i++)
        dates[i] = 20240000 + (int64_t)i;
    for (size_t i = 0; i < n_codes; i++) {
        snprintf(texts[i], sizeof texts[i], "%06zu", i);
        codes[i] = texts[i];
    }
    CHECK_OK(facpool_tasks_grid(&tasks, dates, n_dates, codes, n_codes, &err), err);
    return tasks;
}

static inline facpool_run_options options_of(work *w, const facpool_backup_options *backup)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = run_task;
    options.user = w;
    options.n_factors = N_FACTORS;
    options.factor_names = names;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.no_stop_if_first_fail = 1;
    options.backup = backup;
    return options;
}

/* A run of dates x codes into the vault. *result may be NULL. */
static inline int run(work *w, const facpool_backup_options *backup, size_t n_dates, size_t n_codes,
                      facpool_result **result)
{
    facpool_result *own = NULL;
    facpool_tasks *tasks = make_tasks(n_dates, n_codes);
    facpool_run_options options = options_of(w, backup);
    options.cancel = w->cancel;
    int rc = facpool_run(tasks, &options, result ? result : &own, &err);
    facpool_result_free(own);
    facpool_tasks_free(tasks);
    return rc;
}

static inline facpool_report report_of(const facpool_result *result)
{
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    return report;
}

/* The vault holds each task of dates x codes once, as the work makes it. */
static inline void check_vault(const work *w, size_t n_dates, size_t n_codes)
{
    CHECK_INT(v.n, n_dates * n_codes);
    qsort(v.rows, v.n, sizeof *v.rows, vault_compare);
    for (size_t i = 0; i < v.n; i++) {
        const vault_row *row = &v.rows[i];
        size_t index = (size_t)(row->date - 20240000) * n_codes + (size_t)atoi(row->code);
        int status = status_of(w, index);
        CHECK_INT(index, i);
        CHECK_INT(row->status, status);
        CHECK(row->timestamp > 0);
        for (size_t f = 0; status == FACPOOL_STATUS_OK && f < N_FACTORS; f++) {
            double wanted = value_of(index, f);
            CHECK(memcmp(&row->factors[f], &wanted, sizeof wanted) == 0);
        }
        CHECK_INT(row->failure_code, status == FACPOOL_STATUS_FAILED ? (int)index + 1 : 0);
        CHECK_TEXT(row->message, status == FACPOOL_STATUS_FAILED ? "told to fail" : "");
    }
}

static inline size_t count_letter(char letter)
{
    size_t n = 0;
    for (size_t i = 0; i < v.n_log; i++)
        n += v.log[i] == letter;
    return n;
}

/* "oals..." as open, lock, perhaps scan, any number of appends and syncs, close. */
static inline void check_order(const char *log, bool scans)
{
    CHECK(log[0] == 'o' && log[1] == 'l');
    log += 2;
    CHECK(!scans || *log == 's');
    log += *log == 's';
    log += strspn(log, "ay");
    CHECK_TEXT(log, "c");
}

#endif
