/* The suite for all stores, second part: runs that write every file format and the example's SQLite
 * sink, are cancelled, and resumed. Through the public headers alone. */
#include "storage_suite.h"

/* ------------------------------------------------------------------ runs */

/* Runs all tasks in a round over what is there; returns what facpool_run did. */
static int run_suite(const char *path, unsigned round, facpool_report *report,
                     facpool_result **result)
{
    facpool_tasks *tasks = suite_tasks();
    facpool_backup_options backup = storage_options(path, FACPOOL_MODE_RESUME);
    backup.batch_rows = 8;
    facpool_run_options options = suite_run_options(&backup);
    options.cancel = run_cancel;
    run_round = round;
    run_calls = 0;
    int rc = facpool_run(tasks, &options, result, &err);
    CHECK(*result);
    *report = (facpool_report)FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(*result, report, &err), err);
    facpool_tasks_free(tasks);
    return rc;
}

/* What the result says of each task is what the model does. */
static void check_result(facpool_result *result, const suite_model *model)
{
    CHECK_OK(facpool_result_load(result, &err), err);
    const uint8_t *status = facpool_result_status(result);
    size_t n_failures = 0;
    for (size_t key = 0; key < SUITE_KEYS; key++) {
        suite_row wanted = suite_row_of(key, (unsigned)model->round[key]);
        CHECK_INT(status[key], wanted.status);
        for (size_t f = 0; f < SUITE_FACTORS && wanted.status == FACPOOL_STATUS_OK; f++)
            CHECK(same_double(facpool_result_factor(result, f)[key], wanted.factors[f]));
        if (wanted.status <= FACPOOL_STATUS_SKIPPED)
            continue;
        facpool_failure failure = FACPOOL_FAILURE_INIT;
        CHECK_OK(facpool_result_failure(result, n_failures++, &failure, &err), err);
        CHECK_INT(failure.index, key);
        CHECK_INT(failure.failure_code, wanted.failure_code);
        CHECK_TEXT(failure.message, wanted.message);
    }
    CHECK_INT(facpool_result_n_failures(result), n_failures);
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.order = FACPOOL_ORDER_KEY;
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_result_query(result, &filter, &cursor, &err), err);
    check_suite_answer(cursor, &filter, model);
}

static size_t count_not_final(unsigned round)
{
    size_t n = 0;
    for (size_t key = 0; key < SUITE_KEYS; key++)
        n += suite_status(key, SUITE_BY_RUN + round) > FACPOOL_STATUS_SKIPPED;
    return n;
}

/* Each round tries again what is not final, and nothing else. */
static void runs_try_failed_tasks_again_and_leave_the_rest(void)
{
    suite_model model;
    facpool_report report;
    facpool_result *result = NULL;
    const char *path = storage_path();
    suite_model_clear(&model);
    for (unsigned round = 0; round < 4; round++) {
        size_t to_run = round ? count_not_final(round - 1) : SUITE_KEYS;
        CHECK_OK(run_suite(path, round, &report, &result), err);
        CHECK_INT(run_calls, to_run);
        CHECK_INT(report.resumed, SUITE_KEYS - to_run);
        CHECK_INT(report.rows_written, to_run);
        CHECK_INT(report.rows_durable, to_run);
        CHECK_INT(report.failed, count_not_final(round));
        for (size_t key = 0; key < SUITE_KEYS; key++)
            if (round == 0 || suite_status(key, SUITE_BY_RUN + round - 1) > FACPOOL_STATUS_SKIPPED)
                model.round[key] = (int8_t)(SUITE_BY_RUN + round);
        check_suite_store(path, &model);
        check_result(result, &model);
        facpool_result_free(result);
        result = NULL;
    }
    CHECK_INT(count_not_final(2), 0);
}

static void a_run_that_was_cancelled_goes_on_where_it_stopped(void)
{
    suite_model model;
    facpool_report report;
    suite_model_clear(&model);
    suite_model_add(&model, 0, SUITE_KEYS, 1, SUITE_BY_RUN);
    for (run_cancel_at = 1; run_cancel_at < SUITE_KEYS; run_cancel_at += 13) {
        facpool_result *result = NULL;
        const char *path = storage_path();
        CHECK_OK(facpool_cancel_new(&run_cancel, &err), err);
        CHECK_INT(run_suite(path, 0, &report, &result), FACPOOL_E_CANCELLED);
        facpool_result_free(result);
        result = NULL;
        facpool_cancel_free(run_cancel);
        run_cancel = NULL;
        uint64_t failed = report.failed, written = report.rows_written;
        CHECK(written >= run_cancel_at && written < SUITE_KEYS);
        CHECK_OK(run_suite(path, 0, &report, &result), err);
        CHECK_INT(run_calls, SUITE_KEYS - written + failed);
        CHECK_INT(report.resumed, written - failed);
        check_result(result, &model);
        check_suite_store(path, &model);
        facpool_result_free(result);
    }
    run_cancel_at = 0;
}

static void a_run_that_wrote_nothing_has_a_result_all_the_same(void)
{
    facpool_report report;
    facpool_result *result = NULL;
    const char *path = storage_path();
    CHECK_OK(facpool_cancel_new(&run_cancel, &err), err);
    facpool_cancel_set(run_cancel);
    int rc = run_suite(path, 0, &report, &result);
    facpool_cancel_free(run_cancel);
    run_cancel = NULL;
    CHECK_INT(rc, FACPOOL_E_CANCELLED);
    CHECK_INT(report.rows_written, 0);
    CHECK_OK(facpool_result_load(result, &err), err);
    for (size_t key = 0; key < SUITE_KEYS; key++)
        CHECK_INT(facpool_result_status(result)[key], FACPOOL_STATUS_NONE);
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_OK(facpool_result_query(result, NULL, &cursor, &err), err);
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_cursor_free(cursor);
    facpool_result_free(result);
}

static void options_of_a_resume_are_kept(void)
{
    suite_model model;
    facpool_report report;
    facpool_result *result = NULL;
    const char *path = storage_path();
    CHECK_OK(run_suite(path, 0, &report, &result), err);
    facpool_result_free(result);
    suite_model_clear(&model);
    suite_model_add(&model, 0, SUITE_KEYS, 1, SUITE_BY_RUN);

    facpool_tasks *tasks = suite_tasks();
    facpool_backup_options backup = storage_options(path, FACPOOL_MODE_RESUME);
    facpool_run_options options = suite_run_options(&backup);
    options.dry_run = 1;
    run_calls = 0;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    report = (facpool_report)FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    CHECK_INT(report.not_run, count_not_final(0));
    CHECK_INT(report.retry_failed, count_not_final(0));
    facpool_result_free(result);
    options.dry_run = 0;
    backup.no_retry_failed = 1;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(run_calls, 0);
    check_result(result, &model);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    check_suite_store(path, &model);
}

/* On several threads, written by a thread of its own or by the workers. */
static void parallel_runs_write_every_row_once(void)
{
    suite_model model;
    suite_model_clear(&model);
    suite_model_add(&model, 0, SUITE_KEYS, 1, SUITE_BY_RUN);
    for (int32_t durability = FACPOOL_DURABILITY_GROUP; durability <= FACPOOL_DURABILITY_BATCH;
         durability++)
        for (int no_async = 0; no_async < 2; no_async++) {
            const char *path = storage_path();
            facpool_tasks *tasks = suite_tasks();
            facpool_backup_options backup = storage_options(path, FACPOOL_MODE_CREATE);
            backup.durability = durability;
            backup.no_async = no_async;
            backup.batch_rows = 3;
            backup.queue_bytes = 1;
            facpool_run_options options = suite_run_options(&backup);
#ifdef _OPENMP
            options.executor = FACPOOL_EXECUTOR_OMP;
#endif
            options.workers = 3;
            facpool_result *result = NULL;
            facpool_report report = FACPOOL_REPORT_INIT;
            run_round = 0;
            CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
            CHECK_OK(facpool_result_report(result, &report, &err), err);
            CHECK_INT(report.rows_written, SUITE_KEYS);
            if (durability != FACPOOL_DURABILITY_NONE)
                CHECK_INT(report.rows_durable, SUITE_KEYS);
            check_result(result, &model);
            facpool_result_free(result);
            facpool_tasks_free(tasks);
            check_suite_store(path, &model);
        }
}

static void tests(void)
{
    RUN(runs_try_failed_tasks_again_and_leave_the_rest);
    RUN(a_run_that_was_cancelled_goes_on_where_it_stopped);
    RUN(a_run_that_wrote_nothing_has_a_result_all_the_same);
    RUN(options_of_a_resume_are_kept);
    RUN(parallel_runs_write_every_row_once);
}

int main(int argc, char **argv)
{
    return suite_main(argc, argv, "formats-runs", N_STORAGE_CASES, tests);
}
