/* What the tests of failing calls do while calls fail: runs of every kind, with and without a
 * backup, readers, writers, repair. Every scenario frees what it got and returns 0 or the first
 * error; an output that a failed call gave is a failure of the test. */
#ifndef FP_FAIL_SCENARIOS_H
#define FP_FAIL_SCENARIOS_H

#include "fail_world.h"

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
        CHECK(status[i] == FACPOOL_STATUS_NONE || is_right_status(i, status[i]));
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
    facpool_progress progress = FACPOOL_PROGRESS_INIT;
    while ((rc = facpool_run_poll(run, &progress, &err)) == 0)
        sched_yield();
    CHECK_INT(rc, 1);
    CHECK(progress.done <= progress.total);
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
    facpool_error finish_err = FACPOOL_ERROR_INIT;
    int finish_rc = facpool_job_finish(job, &result, &finish_err);
    if (!rc)
        err = finish_err;
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
    remove_backup();
    scenario_backup.mode = FACPOOL_MODE_CREATE;
    return inner_run();
}

/* Puts the half there by calls that never fail. */
static inline int run_resumed(void)
{
    put_part(false);
    scenario_backup.mode = FACPOOL_MODE_RESUME;
    return inner_run();
}

/* In the place of the half. */
static inline int run_overwriting(void)
{
    put_part(false);
    scenario_backup.mode = FACPOOL_MODE_OVERWRITE;
    return inner_run();
}

/* Temporary files that could not be removed are no failure of the run; here the test does it. */
static inline void remove_leftovers(void)
{
    DIR *folder = opendir(scratch_folder);
    CHECK(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strstr(entry->d_name, ".tmp"))
            unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
}

/* Whatever happened, the file holds what was reported, and can be completed. */
static inline void file_can_be_completed(int rc)
{
    size_t rows = count_rows();
    check_soundness();
    CHECK_INT(count_leftovers(), 0);
    if (has_report) {
        CHECK(last_report.rows_durable <= last_report.rows_written);
        /* What a failed sync was to save is given up, and runs again. */
        bool syncs_failed = current_kind == CALL_SYNC || syncs_fail_after;
        uint64_t kept = syncs_failed ? last_report.rows_durable : last_report.rows_written;
        CHECK(last_report.resumed + kept <= rows + last_report.retry_failed);
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
    CHECK(rc == 0 || report.blocks == 0);
    return rc;
}

/* Rows of the second half, half of them at a time. */
static size_t n_appended;

static inline int append_rows(void)
{
    put_part(false);
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
        if (rc == FACPOOL_E_NOMEM && failing_mode == FAIL_ALONE) {
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
    check_soundness();
    has_report = false;
    CHECK(rows >= N_TASKS / 2);
    if (rc == 0)
        CHECK_INT(rows, N_TASKS / 2 + n_appended);
    complete_backup();
}

/* Its index is torn; a file of lines gets the begin of one. */
static inline int repair_torn(void)
{
    put_part(true);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    return facpool_backup_repair(path, &report, &err);
}

static inline void repaired_or_as_it_was(int rc)
{
    (void)rc;
    CHECK_INT(count_rows(), N_TASKS / 2);
    check_soundness();
    has_report = false;
    complete_backup();
}

#endif
