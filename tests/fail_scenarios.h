/* What both tests of failing calls share: a small world whose rows are known, the scenarios that go
 * through every part of the library, and the loop that fails one call after another in them. Every
 * scenario frees what it got and returns 0 or the first error. */
#ifndef FP_FAIL_SCENARIOS_H
#define FP_FAIL_SCENARIOS_H

#include <sched.h>
#include "failing_calls.h"
#include "scratch.h"
#include "test.h"

#include <facpool/facpool.h>

/* The library has OpenMP where its tests have. */
#ifdef _OPENMP
#define WITH_THREADS FACPOOL_EXECUTOR_OMP
#else
#define WITH_THREADS FACPOOL_EXECUTOR_SERIAL
#endif

#define N_DATES   12
#define N_CODES   25
#define N_TASKS   (N_DATES * N_CODES)
#define N_FACTORS 3

/* Outputs begin as this, and are still this where a call gave nothing. */
#define UNTOUCHED(type) ((type *)(uintptr_t)0x5a5a)

static facpool_error err = FACPOOL_ERROR_INIT;
static char path[512]; /* of the backup; its suffix says which format it has: see choose_format */
static bool is_lines;  /* a file that is its rows: without one it is as good as none */
static int64_t dates[N_DATES];
static char code_texts[N_CODES][16];
static const char *codes[N_CODES];

/* ------------------------------------------------------------------ what tasks do */

static inline int status_of(size_t index)
{
    return index % 17 == 3   ? FACPOOL_STATUS_FAILED
           : index % 19 == 5 ? FACPOOL_STATUS_SKIPPED
                             : FACPOOL_STATUS_OK;
}

static inline double factor_of(size_t index, size_t factor)
{
    return (double)(mix_bits(index * N_FACTORS + factor) % 1000000) / 7;
}

static inline int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    for (size_t f = 0; f < N_FACTORS; f++)
        factors[f] = factor_of(task->index, f);
    switch (status_of(task->index)) {
    case FACPOOL_STATUS_FAILED:
        return facpool_task_fail(task, 11, "a message that has to be kept somewhere");
    case FACPOOL_STATUS_SKIPPED:
        return FACPOOL_SKIP;
    default:
        return 0;
    }
}

static inline int compute_slice(const facpool_slice *slice, double *factors, void *user)
{
    (void)user;
    for (size_t i = 0; i < slice->n; i++) {
        size_t index = slice->indexes[i];
        for (size_t f = 0; f < N_FACTORS; f++)
            factors[i * N_FACTORS + f] = factor_of(index, f);
        if (status_of(index) == FACPOOL_STATUS_FAILED)
            facpool_slice_fail(slice, i, 11, "a message that has to be kept somewhere");
        else if (status_of(index) == FACPOOL_STATUS_SKIPPED)
            facpool_slice_skip(slice, i);
    }
    return 0;
}

static inline void make_axes(void)
{
    for (size_t d = 0; d < N_DATES; d++)
        dates[d] = 20240101 + (int64_t)d;
    for (size_t c = 0; c < N_CODES; c++) {
        snprintf(code_texts[c], sizeof code_texts[c], "%06zu", c * 31);
        codes[c] = code_texts[c];
    }
}

/* Made once: runs of it are what is tested. */
static facpool_tasks *tasks;

static inline size_t index_of(int64_t date, const char *code)
{
    size_t d = (size_t)(date - 20240101), c = (size_t)atoi(code) / 31;
    CHECK(d < N_DATES && c < N_CODES && strcmp(code, codes[c]) == 0);
    return d * N_CODES + c;
}

/* ------------------------------------------------------------------ the file afterwards */

static inline size_t check_row(const facpool_row *row)
{
    size_t index = index_of(row->date, row->code);
    CHECK_INT(row->status, status_of(index));
    for (size_t f = 0; row->factors && f < N_FACTORS; f++)
        CHECK(row->factors[f] == factor_of(index, f));
    return index;
}

/* Rows of the backup, each right and given once; 0 where there is no file. */
static inline size_t count_rows(void)
{
    uint8_t seen[N_TASKS] = {0};
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    const char *paths[] = {path};
    size_t n = 0;
    int rc = facpool_reader_open(&reader, paths, 1, &err);
    if (rc == FACPOOL_E_NOT_FOUND || (is_lines && file_bytes(path) == 0))
        return 0;
    CHECK_OK(rc, err);
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        size_t index = check_row(&row);
        CHECK(!seen[index]);
        seen[index] = 1;
        n++;
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return n;
}

/* Files of the folder other than the backup: a temporary one that was left behind. */
static inline size_t count_leftovers(void)
{
    size_t n = 0;
    DIR *folder = opendir(scratch_folder);
    CHECK(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        n += strstr(entry->d_name, ".tmp") != NULL;
    closedir(folder);
    return n;
}

static facpool_run_options run_options(int32_t executor)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = N_FACTORS;
    options.executor = executor;
    options.workers = 2;
    return options;
}

static facpool_backup_options backup_options(int32_t mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = mode;
    backup.queue_bytes = 1; /* blocks of 64 rows */
    return backup;
}

/* Continues whatever is there, undisturbed; then every row is there once. */
static inline void complete_backup(void)
{
    facpool_run_options options = run_options(FACPOOL_EXECUTOR_SERIAL);
    facpool_backup_options backup = backup_options(FACPOOL_MODE_RESUME);
    facpool_result *result = NULL;
    options.backup = &backup;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_result_free(result);
    CHECK_INT(count_rows(), N_TASKS);
}

/* The finished part of a run, to be resumed. */
#define TORN_BYTES 9
static uint8_t *part_bytes; /* and the first few of them again */
static size_t part_size;

static inline void free_part(void)
{
    free(part_bytes);
    part_bytes = NULL;
}

static inline void make_part(void)
{
    free_part();
    facpool_run_options options = run_options(FACPOOL_EXECUTOR_SERIAL);
    facpool_backup_options backup = backup_options(FACPOOL_MODE_OVERWRITE);
    facpool_tasks *half = NULL;
    facpool_result *result = NULL;
    options.backup = &backup;
    /* The last date's tasks come later in the full set, so that indexes agree. */
    CHECK_OK(facpool_tasks_grid(&half, dates, N_DATES / 2, codes, N_CODES, &err), err);
    CHECK_OK(facpool_run(half, &options, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(half);
    uint8_t *bytes = file_read(path, &part_size);
    CHECK(bytes);
    part_bytes = malloc(part_size + TORN_BYTES);
    memcpy(part_bytes, bytes, part_size);
    memcpy(part_bytes + part_size, bytes, TORN_BYTES);
    free(bytes);
}

/* ------------------------------------------------------------------ calls failing in turn */

/* Something to be done while calls fail; frees whatever it got. Returns 0 or the first error. */
typedef int (*scenario)(void);

/* Looks at what a scenario with that outcome left. */
typedef void (*aftermath)(int rc);

typedef struct balance {
    long allocated;
    long mapped;
    int next_fd;
} balance;

static inline balance take_balance(void)
{
    balance b = {allocated, mapped, open("/dev/null", O_RDONLY)};
    close(b.next_fd);
    return b;
}

/* Threads of OpenMP's pool that are just ending may have a file of the C library's own open for a
 * moment: descriptors are looked at again before they count as leaked. One that was open in
 * `before` only is no leak. */
static inline void check_balance(const balance *before)
{
    balance now = take_balance();
    CHECK_INT(now.allocated, before->allocated);
    CHECK_INT(now.mapped, before->mapped);
    for (int look = 0; now.next_fd > before->next_fd && look < 10000; look++) {
        sched_yield();
        now = take_balance();
    }
    CHECK(now.next_fd <= before->next_fd);
}

static inline bool is_expected(call_kind kind, int rc)
{
    if (kind == CALL_ALLOC)
        return rc == FACPOOL_E_NOMEM;
    if (kind == CALL_THREAD)
        return rc == FACPOOL_E_SYSTEM;
    if (kind == CALL_PROCESS)
        return rc == FACPOOL_E_SYSTEM || rc == FACPOOL_E_WORKER || rc == FACPOOL_E_NOMEM;
    return rc == FACPOOL_E_IO;
}

static long n_failed_in_all;

/* Fails the first call of a kind, then the second, and so on until none is left to fail; with `on`
 * also all calls after it. */
static inline void fail_each(scenario run, aftermath look, call_kind kind, int os_errno, bool on)
{
    /* What is made once and kept, the task set's order of codes say, is made before. */
    CHECK_INT(run(), 0);
    balance before = take_balance();
    long at = 1, n_errors = 0;
    for (;; at++) {
        err = (facpool_error)FACPOOL_ERROR_INIT;
        fail_call(kind, at, on, os_errno);
        int rc = run();
        long n_failed = stop_failing();
        n_failed_in_all += n_failed;
        n_errors += rc != 0;
        if (rc && !(n_failed && is_expected(kind, rc)))
            printf("  call %ld of kind %d failed (%ld times): %d %s\n", at, (int)kind, n_failed, rc,
                   err.message);
        CHECK(rc == 0 || (n_failed && is_expected(kind, rc)));
        if (rc && kind > CALL_ALLOC && kind != CALL_PROCESS)
            CHECK_INT(err.os_errno, os_errno);
        check_balance(&before);
        if (look)
            look(rc);
        if (!n_failed)
            break;
        CHECK(at < 20000);
    }
    if (kind != CALL_OPEN && kind != CALL_READ)
        CHECK(n_errors > 0 || at == 1);
    CHECK_INT(run(), 0);
    check_balance(&before);
}

/* ------------------------------------------------------------------ runs */

static facpool_run_options scenario_options;
static facpool_backup_options scenario_backup;
static facpool_report last_report; /* of the last run that gave a result */
static bool has_report;

/* Reads a whole answer; 0, or the error that ended it. */
static inline int drain(facpool_cursor *cursor, size_t *n)
{
    facpool_row row = FACPOOL_ROW_INIT;
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        check_row(&row);
        ++*n;
    }
    return rc;
}

static inline int ask_result(const facpool_result *result)
{
    static const char *const some[] = {"000031", "000093", "x"};
    int64_t date_max = dates[4];
    int rc = 0;
    for (int32_t order = FACPOOL_ORDER_FILE; !rc && order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = order;
        filter.statuses = FACPOOL_STATUS_ALL;
        if (order == FACPOOL_ORDER_KEY) {
            filter.codes = some;
            filter.n_codes = 3;
            filter.date_max = &date_max;
        }
        facpool_cursor *cursor = UNTOUCHED(facpool_cursor);
        size_t n = 0;
        rc = facpool_result_query(result, &filter, &cursor, &err);
        if (rc) {
            CHECK(cursor == UNTOUCHED(facpool_cursor));
            return rc;
        }
        rc = drain(cursor, &n);
        facpool_cursor_free(cursor);
        if (!rc)
            CHECK_INT(n, order == FACPOOL_ORDER_KEY ? 10 : N_TASKS);
    }
    return rc;
}

/* What a result says is right, as far as it goes. */
static inline void look_at_result(const facpool_result *result)
{
    size_t n[6] = {0};
    last_report = (facpool_report)FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &last_report, &err), err);
    has_report = true;
    const uint8_t *status = facpool_result_status(result);
    if (!status)
        return;
    for (size_t i = 0; i < N_TASKS; i++) {
        CHECK(status[i] == status_of(i) || status[i] == FACPOOL_STATUS_NONE);
        n[status[i]]++;
    }
    /* What was computed is there, where it was kept in memory. */
    if (scenario_options.results == FACPOOL_RESULTS_KEEP && failing_kind != CALL_ALLOC)
        CHECK(n[FACPOOL_STATUS_OK] >= last_report.ok);
    for (size_t f = 0; f < N_FACTORS; f++) {
        const double *column = facpool_result_factor(result, f);
        for (size_t i = 0; column && i < N_TASKS; i++)
            if (status[i] == FACPOOL_STATUS_OK)
                CHECK(column[i] == factor_of(i, f));
    }
}

/* A result is given on success, and where a run has ended early: then it is a whole one. */
static inline int use_result(int rc, facpool_result *result)
{
    if (result == UNTOUCHED(facpool_result)) {
        CHECK(rc != 0);
        return rc;
    }
    CHECK(result);
    facpool_error first = err;
    look_at_result(result);
    if (!rc) {
        rc = facpool_result_load(result, &err);
        if (!rc)
            rc = ask_result(result);
    } else {
        err = first;
    }
    facpool_result_free(result);
    return rc;
}

static inline int run_once(void)
{
    facpool_result *result = UNTOUCHED(facpool_result);
    has_report = false;
    int rc = facpool_run(tasks, &scenario_options, &result, &err);
    return use_result(rc, result);
}

static inline int run_started(void)
{
    facpool_run_handle *run = UNTOUCHED(facpool_run_handle);
    facpool_result *result = UNTOUCHED(facpool_result);
    has_report = false;
    int rc = facpool_run_start(&run, tasks, &scenario_options, &err);
    if (rc) {
        CHECK(run == UNTOUCHED(facpool_run_handle));
        return rc;
    }
    rc = facpool_run_wait(run, &result, &err);
    return use_result(rc, result);
}

static inline int run_as_job(void)
{
    facpool_job *job = UNTOUCHED(facpool_job);
    facpool_result *result = UNTOUCHED(facpool_result);
    has_report = false;
    int rc = facpool_job_open(&job, tasks, &scenario_options, &err);
    if (rc) {
        CHECK(job == UNTOUCHED(facpool_job));
        return rc;
    }
    facpool_slice slice = FACPOOL_SLICE_INIT;
    double *factors = NULL;
    while ((rc = facpool_job_take(job, 1, &slice, &factors, &err)) > 0) {
        int outcome = compute_slice(&slice, factors, NULL);
        rc = facpool_job_complete(job, &slice, outcome, &err);
        if (rc)
            break;
    }
    int finish_rc = facpool_job_finish(job, &result, &err);
    /* What take or complete met ends the job, which says so in the end. */
    if (rc)
        CHECK(finish_rc != 0);
    return use_result(rc ? rc : finish_rc, result);
}

static inline void choose_run(int32_t executor, bool by_slices, int32_t results)
{
    scenario_options = run_options(executor);
    if (by_slices) {
        scenario_options.fn = NULL;
        scenario_options.batch_fn = compute_slice;
        scenario_options.group_by = FACPOOL_GROUP_CODE;
    }
    scenario_options.results = results;
}

/* ------------------------------------------------------------------ runs with a backup */

static scenario inner_run;

/* From nothing; or, with part_size, from the finished half. */
static inline int run_fresh(void)
{
    unlink(path);
    scenario_backup.mode = FACPOOL_MODE_CREATE;
    return inner_run();
}

/* Puts the half there by calls that never fail. */
static inline int run_resumed(void)
{
    int kind = failing_kind;
    failing_kind = CALL_NONE;
    bool written = file_write(path, part_bytes, part_size);
    failing_kind = kind;
    CHECK(written);
    scenario_backup.mode = FACPOOL_MODE_RESUME;
    return inner_run();
}

/* Whatever happened, the file holds what was reported, and can be completed. */
static inline void file_can_be_completed(int rc)
{
    size_t rows = count_rows();
    CHECK_INT(count_leftovers(), 0);
    if (has_report) {
        CHECK(last_report.rows_durable <= last_report.rows_written);
        CHECK(last_report.resumed + last_report.rows_written <= rows + last_report.retry_failed);
    }
    if (rc == 0)
        CHECK_INT(rows, N_TASKS);
    complete_backup();
}

static inline void choose_backup_run(int32_t executor, bool by_slices, int32_t results,
                                     bool no_async, int32_t durability)
{
    choose_run(executor, by_slices, results);
    scenario_backup = backup_options(FACPOOL_MODE_CREATE);
    scenario_backup.no_async = no_async;
    scenario_backup.durability = durability;
    scenario_options.backup = &scenario_backup;
    inner_run = run_once;
}

/* ------------------------------------------------------------------ readers and writers */

static inline int ask_file(facpool_reader *reader, int32_t order)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = UNTOUCHED(facpool_cursor);
    filter.order = order;
    filter.statuses = FACPOOL_STATUS_ALL;
    int rc = facpool_query(reader, &filter, &cursor, &err);
    if (rc) {
        CHECK(cursor == UNTOUCHED(facpool_cursor));
        return rc;
    }
    size_t n = 0;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    rc = facpool_cursor_next_batch(cursor, &view, &err);
    if (rc > 0) {
        n = view.n_rows;
        rc = drain(cursor, &n);
        if (!rc)
            CHECK_INT(n, N_TASKS);
    }
    facpool_cursor_free(cursor);
    return rc;
}

static inline int read_everything(void)
{
    facpool_reader *reader = UNTOUCHED(facpool_reader);
    const char *paths[] = {path};
    int rc = facpool_reader_open(&reader, paths, 1, &err);
    if (rc) {
        CHECK(reader == UNTOUCHED(facpool_reader));
        return rc;
    }
    rc = ask_file(reader, FACPOOL_ORDER_FILE);
    if (!rc)
        rc = ask_file(reader, FACPOOL_ORDER_KEY);
    if (!rc)
        rc = facpool_reader_refresh(reader, &err);
    if (!rc)
        rc = ask_file(reader, FACPOOL_ORDER_FILE);
    facpool_reader_free(reader);
    const facpool_info *info = UNTOUCHED(facpool_info);
    if (!rc)
        rc = facpool_backup_info(&info, path, &err);
    if (info != UNTOUCHED(facpool_info))
        facpool_info_free(info);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    if (!rc)
        rc = facpool_backup_verify(path, &report, &err);
    return rc;
}

/* Rows of the second half, half of them at a time. */
static size_t n_appended;

static inline int append_rows(void)
{
    int kind = failing_kind;
    failing_kind = CALL_NONE;
    bool written = file_write(path, part_bytes, part_size);
    failing_kind = kind;
    CHECK(written);
    facpool_backup_options backup = backup_options(FACPOOL_MODE_RESUME);
    facpool_writer *writer = UNTOUCHED(facpool_writer);
    n_appended = 0;
    int rc = facpool_writer_open(&writer, &backup, NULL, N_FACTORS, &err);
    if (rc) {
        CHECK(writer == UNTOUCHED(facpool_writer));
        return rc;
    }
    enum { N_ROWS = N_TASKS / 4 };
    for (size_t half = 0; !rc && half < 2; half++) {
        int64_t row_dates[N_ROWS];
        const char *row_codes[N_ROWS], *messages[N_ROWS];
        uint8_t statuses[N_ROWS];
        double factors[N_ROWS * N_FACTORS];
        for (size_t i = 0; i < N_ROWS; i++) {
            size_t index = N_TASKS / 2 + half * N_ROWS + i;
            row_dates[i] = dates[index / N_CODES];
            row_codes[i] = codes[index % N_CODES];
            statuses[i] = (uint8_t)status_of(index);
            messages[i] = "said by hand";
            for (size_t f = 0; f < N_FACTORS; f++)
                factors[i * N_FACTORS + f] = factor_of(index, f);
        }
        facpool_rows rows = FACPOOL_ROWS_INIT;
        rows.n = N_ROWS;
        rows.dates = row_dates;
        rows.codes = row_codes;
        rows.statuses = statuses;
        rows.factors = factors;
        rows.messages = messages;
        rc = facpool_writer_append(writer, &rows, &err);
        /* What an append could not take it can take later, where only memory was short. */
        if (rc == FACPOOL_E_NOMEM && !failing_on) {
            facpool_error second = FACPOOL_ERROR_INIT;
            int again = facpool_writer_append(writer, &rows, &second);
            CHECK(again == 0 || again == FACPOOL_E_NOMEM || again == FACPOOL_E_EXISTS);
        }
        n_appended += rc ? 0 : N_ROWS;
        if (!rc)
            rc = facpool_writer_sync(writer, &err);
    }
    facpool_error close_err = FACPOOL_ERROR_INIT;
    int close_rc = facpool_writer_close(writer, &close_err);
    if (!rc && close_rc)
        err = close_err;
    return rc ? rc : close_rc;
}

static inline void appended_rows_are_there(int rc)
{
    size_t rows = count_rows();
    has_report = false;
    CHECK(rows >= N_TASKS / 2);
    if (rc == 0)
        CHECK_INT(rows, N_TASKS / 2 + n_appended);
    complete_backup();
}

/* Its index is torn; a file of lines gets the begin of one. */
static inline int repair_torn(void)
{
    int kind = failing_kind;
    failing_kind = CALL_NONE;
    bool written =
        file_write(path, part_bytes, is_lines ? part_size + TORN_BYTES : part_size - TORN_BYTES);
    failing_kind = kind;
    CHECK(written);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    return facpool_backup_repair(path, &report, &err);
}

static inline void repaired_or_as_it_was(int rc)
{
    (void)rc;
    CHECK_INT(count_rows(), N_TASKS / 2);
    has_report = false;
    complete_backup();
}

/* ------------------------------------------------------------------ beginning and end */

/* In which format backups are from now on. */
static inline void choose_format(const char *suffix)
{
    char name[32];
    unlink(path);
    free_part();
    snprintf(name, sizeof name, "backup%s", suffix);
    snprintf(path, sizeof path, "%s", scratch_path(name));
    is_lines = strcmp(suffix, ".jsonl") == 0;
}

/* The formats beside binary, which every scenario is run with. */
static const char *const other_formats[] = {".jsonl", ".arrow"};

static inline bool begin(const char *name)
{
    if (!scratch_make(name, true)) {
        printf("no folder can be made\n");
        return false;
    }
    choose_format(".fpb");
    make_axes();
    return facpool_tasks_grid(&tasks, dates, N_DATES, codes, N_CODES, &err) == 0;
}

static inline int end(void)
{
    printf("%ld calls failed in all\n", n_failed_in_all);
    facpool_tasks_free(tasks);
    scratch_remove();
    return TEST_END();
}

#endif
