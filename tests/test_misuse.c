/* Public calls with arguments that can't be meant, at their limits or beyond: each is refused by a
 * word that names what is wrong, or does nothing, and what is given back stays untouched. What the
 * functions of a run may say of their tasks is odd here, too: codes that mean something else,
 * messages that are not there, tasks that are not theirs. */
#include <errno.h>

#include "run_helpers.h"

static int give_one(const facpool_task *task, double *factors, void *user)
{
    (void)task, (void)user;
    factors[0] = 1;
    return 0;
}

static facpool_run_options plain_options(void)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = give_one;
    options.n_factors = 1;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    return options;
}

static bool says(int rc, int code, const char *words)
{
    bool right = rc == code && strstr(err.message, words);
    if (!right)
        printf("  %d, not %d: %s\n", rc, code, err.message);
    return right;
}

/* ------------------------------------------------------------------ options */

static bool run_says(const facpool_run_options *options, const char *words)
{
    facpool_tasks *tasks = make_grid(1, 2);
    facpool_result *result = NULL;
    int rc = facpool_run(tasks, options, &result, &err);
    facpool_tasks_free(tasks);
    return !result && says(rc, FACPOOL_E_INVALID, words);
}

static void run_options_are_checked(void)
{
    facpool_run_options o = plain_options();
    facpool_allocator no_free = FACPOOL_ALLOCATOR_INIT;
    static const int32_t cpus[] = {-1, INT32_MAX};
    CHECK(run_says(NULL, "no options"));
    o.allocator = &no_free;
    CHECK(run_says(&o, "lacks a function"));
    o = plain_options();
    o.workers = 1u << 30;
    CHECK(run_says(&o, "workers is"));
    o = plain_options();
    o.results = 3;
    CHECK(run_says(&o, "results is 3"));
    o.results = -1;
    CHECK(run_says(&o, "results is -1"));
    o = plain_options();
    o.on_error = 9;
    CHECK(run_says(&o, "on_error is 9"));
    o = plain_options();
    o.n_cpus = 1;
    o.cpus = &cpus[0];
    CHECK(run_says(&o, "cpus[0] is -1"));
    o.cpus = &cpus[1];
    CHECK(run_says(&o, "cpus[0] is"));
    o = plain_options();
    o.n_cpus = 5; /* without a list: none */
    facpool_tasks *tasks = make_grid(1, 2);
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &o, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void backup_options_are_checked(void)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options o = plain_options();
    o.backup = &backup;
    CHECK(run_says(&o, "no path"));
    backup.path = "";
    CHECK(run_says(&o, "no path"));
    backup.path = fresh_path();
    backup.compression_level = 20;
    CHECK(run_says(&o, "compression_level is 20"));
    backup.compression_level = 0;
    backup.mode = 4;
    CHECK(run_says(&o, "backup mode is 4"));
    backup.mode = 0;
    backup.durability = -1;
    CHECK(run_says(&o, "backup durability is -1"));
    backup.durability = 0;
    o.backup_path = backup.path;
    CHECK(run_says(&o, "backup"));
    CHECK(access(backup.path, F_OK) != 0);
}

/* ------------------------------------------------------------------ tasks */

static void task_sets_are_checked(void)
{
    facpool_tasks *tasks = NULL;
    int64_t date = 5;
    const char *code = "x";
    CHECK_INT(facpool_tasks_new(NULL, &err), FACPOOL_E_INVALID);
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    CHECK_INT(facpool_tasks_get(tasks, 0, &date, &code, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_get(NULL, 0, &date, &code, &err), FACPOOL_E_INVALID);
    CHECK(date == 5 && strcmp(code, "x") == 0);
    CHECK_OK(facpool_tasks_add(tasks, 20240102, "000001", &err), err);
    CHECK_OK(facpool_tasks_get(tasks, 0, NULL, NULL, &err), err);
    facpool_tasks_free(tasks);
    facpool_tasks_free(NULL);
}

/* ------------------------------------------------------------------ what functions say */

static int say_odd_things(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = 1;
    switch (task->index) {
    case 0:
        return facpool_task_fail(task, 0, NULL); /* a failure it is */
    case 1:
        return facpool_task_fail(task, FACPOOL_SKIP, "");
    case 2:
        return facpool_task_fail(task, -7, "minus seven");
    default:
        return 0;
    }
}

static void a_failure_is_one_whatever_its_code(void)
{
    facpool_tasks *tasks = make_grid(1, 4);
    facpool_run_options o = plain_options();
    o.fn = say_odd_things;
    facpool_result *result = NULL;
    facpool_failure failure = FACPOOL_FAILURE_INIT;
    CHECK_OK(facpool_run(tasks, &o, &result, &err), err);
    CHECK_INT(facpool_result_n_failures(result), 3);
    CHECK_OK(facpool_result_failure(result, 0, &failure, &err), err);
    CHECK_INT(failure.failure_code, 1);
    CHECK_TEXT(failure.message, "");
    CHECK_OK(facpool_result_failure(result, 1, &failure, &err), err);
    CHECK_INT(failure.failure_code, 1);
    CHECK_OK(facpool_result_failure(result, 2, &failure, &err), err);
    CHECK_INT(failure.failure_code, -7);
    CHECK_TEXT(failure.message, "minus seven");
    CHECK_INT(facpool_result_failure(result, 3, &failure, &err), FACPOOL_E_INVALID);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static int mark_odd_things(const facpool_slice *slice, double *factors, void *user)
{
    (void)user;
    for (size_t i = 0; i < slice->n; i++) {
        factors[i] = 1;
        if (slice->indexes[i] == 0)
            facpool_slice_fail(slice, i, 0, NULL);
        else if (slice->indexes[i] == 1)
            facpool_slice_fail(slice, i, FACPOOL_SKIP, "not skipped");
        else if (slice->indexes[i] == 2)
            facpool_slice_skip(slice, i);
    }
    facpool_slice_fail(slice, slice->n, 5, "of nobody");
    facpool_slice_fail(slice, SIZE_MAX, 5, "of nobody");
    facpool_slice_skip(slice, slice->n);
    facpool_slice_skip(slice, SIZE_MAX);
    return 0;
}

static void marks_beyond_a_slice_are_nobodys(void)
{
    facpool_tasks *tasks = make_grid(1, 50);
    facpool_run_options o = plain_options();
    o.fn = NULL;
    o.batch_fn = mark_odd_things;
    facpool_result *result = NULL;
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_run(tasks, &o, &result, &err), err);
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    CHECK_INT(report.failed, 2);
    CHECK_INT(report.skipped, 1);
    CHECK_INT(report.ok, 47);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ results, readers, questions */

static void results_have_so_much_and_no_more(void)
{
    facpool_tasks *tasks = make_grid(1, 4);
    facpool_run_options o = plain_options();
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &o, &result, &err), err);
    CHECK(facpool_result_factor(result, 0) && !facpool_result_factor(result, 1));
    CHECK_TEXT(facpool_result_factor_name(result, 0), "f0");
    CHECK(!facpool_result_factor_name(result, 1));
    CHECK(facpool_result_code(result, 3) && !facpool_result_code(result, 4));
    CHECK(facpool_result_dates(result) == facpool_result_dates(result));
    facpool_result_free(result);
    facpool_result_free(NULL);
    facpool_tasks_free(tasks);
}

/* Dropped rows can't be asked for; what the report keeps still can. */
static void what_was_dropped_can_not_be_had(void)
{
    facpool_tasks *tasks = make_grid(1, 4);
    facpool_run_options o = plain_options();
    o.fn = say_odd_things;
    o.results = FACPOOL_RESULTS_DROP;
    facpool_result *result = NULL;
    facpool_failure failure = FACPOOL_FAILURE_INIT;
    facpool_cursor *cursor = NULL;
    CHECK_OK(facpool_run(tasks, &o, &result, &err), err);
    CHECK(!facpool_result_factor(result, 0) && !facpool_result_status(result));
    CHECK_INT(facpool_result_n_failures(result), 3);
    CHECK_OK(facpool_result_failure(result, 2, &failure, &err), err);
    CHECK_INT(failure.failure_code, -7);
    CHECK_INT(facpool_result_failure(result, 3, &failure, &err), FACPOOL_E_INVALID);
    CHECK(facpool_result_query(result, NULL, &cursor, &err) < 0 && !cursor);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static const char *write_backup(void)
{
    static char path[400];
    snprintf(path, sizeof path, "%s", fresh_path());
    facpool_tasks *tasks = make_grid(2, 4);
    facpool_run_options o = plain_options();
    facpool_result *result = NULL;
    o.backup_path = path;
    CHECK_OK(facpool_run(tasks, &o, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return path;
}

static void readers_are_checked(void)
{
    const char *path = write_backup();
    const char *twice[] = {path, path}, *none[] = {NULL}, *empty[] = {""};
    facpool_reader *reader = NULL;
    CHECK_INT(facpool_reader_open(NULL, twice, 1, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_reader_open(&reader, NULL, 1, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_reader_open(&reader, twice, 0, &err), FACPOOL_E_INVALID);
    CHECK(says(facpool_reader_open(&reader, none, 1, &err), FACPOOL_E_INVALID, "paths[0] is NULL"));
    CHECK(
        says(facpool_reader_open(&reader, empty, 1, &err), FACPOOL_E_INVALID, "paths[0] is empty"));
    CHECK(says(facpool_reader_open(&reader, twice, 2, &err), FACPOOL_E_INVALID, "twice"));
    CHECK(says(facpool_reader_from_source(&reader, NULL, NULL, twice, 1, &err), FACPOOL_E_INVALID,
               "type is NULL"));
    CHECK(!reader);
    CHECK_INT(facpool_reader_refresh(NULL, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_reader_n_factors(NULL), 0);
    CHECK(!facpool_reader_factor_name(NULL, 0));
    facpool_reader_free(NULL);
    CHECK_OK(facpool_reader_open(&reader, twice, 1, &err), err);
    CHECK(!facpool_reader_factor_name(reader, 1));
    facpool_cursor *cursor = NULL;
    CHECK(says(facpool_query(NULL, NULL, &cursor, &err), FACPOOL_E_INVALID, "reader is NULL"));
    CHECK(says(facpool_query(reader, NULL, NULL, &err), FACPOOL_E_INVALID, "out is NULL"));
    CHECK(!cursor);
    facpool_reader_free(reader);
}

static bool filter_says(facpool_reader *reader, const facpool_filter *filter, const char *words)
{
    facpool_cursor *cursor = NULL;
    int rc = facpool_query(reader, filter, &cursor, &err);
    return !cursor && says(rc, FACPOOL_E_INVALID, words);
}

static void filters_are_checked(void)
{
    const char *path = write_backup();
    facpool_reader *reader = NULL;
    CHECK_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    const char *null[] = {NULL};
    facpool_filter filter = FACPOOL_FILTER_INIT, good = filter;
    filter.columns = 64;
    CHECK(filter_says(reader, &filter, "no column"));
    filter = good;
    filter.columns = FACPOOL_COLUMN_NONE | FACPOOL_COLUMN_DATE;
    CHECK(filter_says(reader, &filter, "FACPOOL_COLUMN_NONE"));
    filter = good;
    filter.order = -1;
    CHECK(filter_says(reader, &filter, "order -1"));
    filter.order = 3;
    CHECK(filter_says(reader, &filter, "order 3"));
    filter = good;
    filter.reserved = 1;
    CHECK(filter_says(reader, &filter, "reserved"));
    filter = good;
    filter.statuses = 1;
    CHECK(filter_says(reader, &filter, "statuses"));
    filter = good;
    filter.copy = filter.require_zero_copy = 1;
    CHECK(filter_says(reader, &filter, "contradict"));
    filter = good;
    filter.n_dates = 1;
    CHECK(filter_says(reader, &filter, "n_dates"));
    filter = good;
    filter.n_factors = 1;
    CHECK(filter_says(reader, &filter, "n_factors"));
    filter.factors = null;
    CHECK(filter_says(reader, &filter, "factors[0] is NULL"));
    filter = good;
    filter.n_codes = 1;
    CHECK(filter_says(reader, &filter, "n_codes"));
    filter.codes = null;
    CHECK(filter_says(reader, &filter, "codes[0] is NULL"));
    facpool_reader_free(reader);
}

/* ------------------------------------------------------------------ tokens */

static void a_token_tells_whether_it_is_set(void)
{
    facpool_cancel *token = NULL;
    CHECK_OK(facpool_cancel_new(&token, &err), err);
    CHECK(!facpool_cancel_is_set(token));
    facpool_cancel_set(token);
    CHECK(facpool_cancel_is_set(token));
    facpool_cancel_free(token);
    facpool_cancel_free(NULL);
}

int main(void)
{
    make_folder();
    RUN(run_options_are_checked);
    RUN(backup_options_are_checked);
    RUN(task_sets_are_checked);
    RUN(a_failure_is_one_whatever_its_code);
    RUN(marks_beyond_a_slice_are_nobodys);
    RUN(results_have_so_much_and_no_more);
    RUN(what_was_dropped_can_not_be_had);
    RUN(readers_are_checked);
    RUN(filters_are_checked);
    RUN(a_token_tells_whether_it_is_set);
    remove_folder();
    return TEST_END();
}
