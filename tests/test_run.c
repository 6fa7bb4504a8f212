/* Proves what runs do beyond the numbered promises, on every executor: which tasks and options they
 * take, attempts, groups and stopping rules, numbers of codes, rows without a writer thread,
 * results that are queried, and the console. Who works is test_run_workers.c. Public header only.
 */
#include "run_helpers.h"

static int32_t executor;

/* ------------------------------------------------------------------ task sets */

static void duplicates_are_refused_by_name_when_the_run_starts(void)
{
    work *w = SHARED(work, 0);
    facpool_run_options options = make_options(w, executor);
    facpool_result *result = NULL;
    facpool_tasks *list = make_list(10, 10);
    CHECK_OK(facpool_tasks_add(list, 20240105, "000003", &err), err);
    CHECK_INT(facpool_run(list, &options, &result, &err), FACPOOL_E_DUPLICATE);
    CHECK_INT(err.date, 20240105);
    CHECK_TEXT(err.task_code, "000003");
    facpool_tasks_free(list);
    const int64_t dates[] = {3, 1, 3};
    const char *codes[] = {"b", "a"}, *twice[] = {"x", "y", "x"};
    facpool_tasks *grid = NULL;
    CHECK_OK(facpool_tasks_grid(&grid, dates, 3, codes, 2, &err), err);
    CHECK_INT(facpool_run(grid, &options, &result, &err), FACPOOL_E_DUPLICATE);
    CHECK_INT(err.date, 3);
    facpool_tasks_free(grid);
    CHECK_OK(facpool_tasks_grid(&grid, dates, 2, twice, 3, &err), err);
    CHECK_INT(facpool_run(grid, &options, &result, &err), FACPOOL_E_DUPLICATE);
    CHECK_TEXT(err.task_code, "x");
    facpool_tasks_free(grid);
    CHECK_INT(atomic_load(&w->calls), 0);
}

static void empty_sets_run_to_an_empty_result(void)
{
    work *w = SHARED(work, 0);
    for (int32_t group = 1; group <= 3; group++) {
        facpool_run_options options = make_options(w, executor);
        options.group_by = group;
        options.backup_path = fresh_path();
        facpool_tasks *list = NULL, *grid = NULL;
        CHECK_OK(facpool_tasks_new(&list, &err), err);
        facpool_result *result = run_ok(list, &options);
        CHECK_INT(facpool_result_count(result), 0);
        facpool_result_free(result);
        facpool_tasks_free(list);
        const char *codes[] = {"a"};
        CHECK_OK(facpool_tasks_grid(&grid, NULL, 0, codes, 1, &err), err);
        options.backup_path = NULL;
        result = run_ok(grid, &options);
        CHECK_INT(report_of(result).total, 0);
        facpool_result_free(result);
        facpool_tasks_free(grid);
    }
}

static void a_task_set_is_frozen_while_a_result_holds_it(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_list(3, 3);
    facpool_run_options options = make_options(w, executor);
    facpool_result *result = run_ok(tasks, &options);
    CHECK_INT(facpool_tasks_add(tasks, 1, "a", &err), FACPOOL_E_STATE);
    facpool_result_free(result);
    CHECK_OK(facpool_tasks_add(tasks, 1, "a", &err), err);
    result = run_ok(tasks, &options);
    facpool_tasks_free(tasks); /* the result keeps it alive */
    check_result(result, w);
    facpool_result_free(result);
}

static void extreme_dates_and_unsorted_axes_come_back_in_place(void)
{
    const int64_t dates[] = {INT64_MAX, -5, INT64_MIN, 0, 20240101};
    const char *codes[] = {"z", "a", "\xe4\xb8\xad", "aa", "B"};
    work *w = SHARED(work, 0);
    for (int32_t group = 1; group <= 3; group++) {
        facpool_tasks *grid = NULL;
        CHECK_OK(facpool_tasks_grid(&grid, dates, 5, codes, 5, &err), err);
        facpool_run_options options = make_options(w, executor);
        options.group_by = group;
        options.backup_path = fresh_path();
        options.results = group == 2 ? FACPOOL_RESULTS_KEEP : 0;
        facpool_result *result = run_ok(grid, &options);
        check_result(result, w);
        for (size_t i = 0; i < 25; i++) {
            CHECK_INT(facpool_result_dates(result)[i], dates[i / 5]);
            CHECK_TEXT(facpool_result_code(result, i), codes[i % 5]);
        }
        facpool_result_free(result);
        facpool_tasks_free(grid);
    }
}

/* ------------------------------------------------------------------ options */

static void wrong_options_are_named(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(2, 2);
    facpool_result *result = NULL;
    const char *twice[] = {"a", "a", "b"}, *fixed[] = {"a", "date", "b"};
    facpool_run_options good = make_options(w, executor), bad;
#define REFUSED(change, code)                                                                      \
    do {                                                                                           \
        bad = good;                                                                                \
        change;                                                                                    \
        err.message[0] = 0;                                                                        \
        CHECK_INT(facpool_run(tasks, &bad, &result, &err), code);                                  \
        CHECK(err.message[0] && !result);                                                          \
    } while (0)
    REFUSED(bad.fn = NULL, FACPOOL_E_INVALID);
    REFUSED(bad.batch_fn = batch_fn, FACPOOL_E_INVALID);
    REFUSED(bad.n_factors = 0, FACPOOL_E_INVALID);
    REFUSED(bad.n_factors = 65536, FACPOOL_E_INVALID);
    REFUSED(bad.factor_names = twice, FACPOOL_E_INVALID);
    REFUSED(bad.factor_names = fixed, FACPOOL_E_INVALID);
    REFUSED(bad.executor = 9, FACPOOL_E_INVALID);
    if (executor != FACPOOL_EXECUTOR_PROCESS)
        REFUSED(bad.task_timeout_ms = 5, FACPOOL_E_UNSUPPORTED);
    REFUSED(bad.group_by = -1, FACPOOL_E_INVALID);
    REFUSED(bad.results = 3, FACPOOL_E_INVALID);
    REFUSED(bad.on_error = 3, FACPOOL_E_INVALID);
    REFUSED(bad.backup_path = "/no/such/folder/x.fpb", FACPOOL_E_NOT_FOUND);
#undef REFUSED
    CHECK_INT(facpool_run(NULL, &good, &result, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_run(tasks, NULL, &result, &err), FACPOOL_E_INVALID);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ failing */

typedef struct flaky {
    atomic_uint calls;
    atomic_uint not_nan; /* factors that did not arrive as NaN */
    uint32_t good_at;    /* the attempt that goes well */
} flaky;

static int flaky_fn(const facpool_task *task, double *factors, void *user)
{
    flaky *f = user;
    atomic_fetch_add(&f->calls, 1);
    atomic_fetch_add(&f->not_nan, !isnan(factors[0]) || !isnan(factors[1]));
    factors[0] = 5;
    if (task->index % 3 || task->attempt >= f->good_at)
        return 0;
    return facpool_task_fail(task, 3, task->attempt == 1 ? "first" : "later");
}

static void attempts_are_made_and_the_last_one_counts(void)
{
    facpool_tasks *tasks = make_grid(3, 10);
    for (uint32_t attempts = 1; attempts <= 3; attempts++) {
        flaky *f = SHARED(flaky, .good_at = 3);
        facpool_run_options options = make_options(NULL, executor);
        options.fn = flaky_fn;
        options.user = f;
        options.attempts = attempts;
        facpool_result *result = run_ok(tasks, &options);
        CHECK_INT(report_of(result).failed, attempts < 3 ? 10 : 0);
        CHECK_INT(atomic_load(&f->calls), 20 + 10 * attempts);
        CHECK_INT(atomic_load(&f->not_nan), 0);
        if (attempts == 2)
            CHECK_TEXT(report_of(result).failures[0].message, "later");
        CHECK(isnan(facpool_result_factor(result, 0)[0]) == (attempts < 3));
        facpool_result_free(result);
    }
    facpool_tasks_free(tasks);
}

/* Fails the whole slice when one of its tasks is bad. */
static int all_or_nothing(const facpool_slice *slice, double *factors, void *user)
{
    work *w = user;
    bool bad = false;
    for (size_t i = 0; i < slice->n; i++) {
        bad = bad || is_hit(slice->dates[i], slice->codes[i], w->fail_every, 2);
        for (size_t f = 0; f < FACTORS; f++)
            factors[i * FACTORS + f] = value_of(slice->dates[i], slice->codes[i], f);
    }
    return bad ? 7 : 0;
}

static void one_bad_task_of_a_failing_slice_costs_one_row(void)
{
    work *w = SHARED(work, .fail_every = 40);
    facpool_tasks *tasks = make_grid(50, 50);
    facpool_run_options options = make_options(w, executor);
    options.fn = NULL;
    options.batch_fn = all_or_nothing;
    facpool_result *result = run_ok(tasks, &options);
    check_result(result, w);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void a_failing_group_fails_whole(void)
{
    work *w = SHARED(work, .fail_every = 150);
    facpool_tasks *tasks = make_list(20, 20);
    facpool_run_options options = make_options(w, executor);
    options.fn = NULL;
    options.batch_fn = all_or_nothing;
    options.group_by = FACPOOL_GROUP_DATE;
    facpool_result *result = run_ok(tasks, &options);
    size_t failed = 0;
    bool bad_date[20] = {false};
    for (size_t i = 0; i < 400; i++) {
        int64_t date = facpool_result_dates(result)[i];
        bad_date[date - 20240101] |= is_hit(date, facpool_result_code(result, i), 150, 2);
    }
    for (size_t i = 0; i < 400; i++) {
        bool is_failed = facpool_result_status(result)[i] == FACPOOL_STATUS_FAILED;
        CHECK_INT(is_failed, bad_date[facpool_result_dates(result)[i] - 20240101]);
        failed += is_failed;
    }
    CHECK(failed > 0 && failed < 400 && failed % 20 == 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void a_run_whose_first_tasks_all_fail_stops(void)
{
    work *w = SHARED(work, .fail_every = 1);
    facpool_tasks *tasks = make_grid(100, 100);
    facpool_run_options options = make_options(w, executor);
    facpool_result *result = NULL;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_TASK);
    CHECK(strstr(err.message, "all failed") && strstr(err.message, "told to fail"));
    CHECK(atomic_load(&w->calls) >= 100 && atomic_load(&w->calls) < 400);
    facpool_result_free(result);
    options.stop_if_first_fail = 5;
    result = NULL;
    atomic_store(&w->calls, 0);
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_TASK);
    CHECK(atomic_load(&w->calls) < 20);
    facpool_result_free(result);
    options.no_stop_if_first_fail = 1;
    atomic_store(&w->calls, 0);
    result = run_ok(tasks, &options);
    CHECK_INT(report_of(result).failed, 10000);
    facpool_result_free(result);
    w->fail_every = 0;
    w->skip_every = 1; /* skips are no failures */
    options.no_stop_if_first_fail = 0;
    result = run_ok(tasks, &options);
    CHECK_INT(report_of(result).skipped, 10000);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ numbers of codes */

/* What was seen of each code's number. */
typedef struct numbering {
    size_t n_codes;
    _Atomic uint64_t hash_of[64]; /* of the code with that number */
    atomic_bool broken;
} numbering;

static void note_number(numbering *n, uint32_t number, const char *code)
{
    uint64_t hash = key_hash(0, code), seen = 0;
    if (number >= n->n_codes ||
        (!atomic_compare_exchange_strong(&n->hash_of[number], &seen, hash) && seen != hash))
        atomic_store(&n->broken, true);
}

static int number_task(const facpool_task *task, double *factors, void *user)
{
    note_number(user, task->code_number, task->code);
    factors[0] = 1;
    return 0;
}

static int number_slice(const facpool_slice *slice, double *factors, void *user)
{
    for (size_t i = 0; i < slice->n; i++) {
        note_number(user, slice->code_numbers[i], slice->codes[i]);
        factors[i * FACTORS] = 1;
    }
    return 0;
}

static void codes_have_numbers_that_stay_all_through_a_run(void)
{
    for (int variant = 0; variant < 12; variant++) {
        numbering *n = SHARED(numbering, 0);
        facpool_tasks *tasks = variant % 2 ? make_list(30, 40) : make_grid(30, 40);
        facpool_run_options options = make_options(NULL, executor);
        options.fn = variant % 4 < 2 ? number_task : NULL;
        options.batch_fn = variant % 4 < 2 ? NULL : number_slice;
        options.group_by = 1 + variant / 4;
        options.user = n;
        CHECK_INT(facpool_tasks_n_codes(tasks), 40);
        n->n_codes = 40;
        facpool_result_free(run_ok(tasks, &options));
        CHECK(!atomic_load(&n->broken));
        for (size_t i = 0; i < 40; i++)
            CHECK(atomic_load(&n->hash_of[i]));
        facpool_tasks_free(tasks);
    }
}

/* ------------------------------------------------------------------ rows without a thread */

static void without_a_writer_thread_workers_write(void)
{
    work *w = SHARED(work, .fail_every = 50);
    for (int32_t durability = 1; durability <= 3; durability++) {
        facpool_tasks *tasks = make_grid(100, 200);
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        backup.path = fresh_path();
        backup.no_async = 1;
        backup.durability = durability;
        facpool_run_options options = make_options(w, executor);
        options.backup = &backup;
        facpool_result *result = run_ok(tasks, &options);
        check_result(result, w);
        CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), 20000);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

static void a_result_can_be_queried_like_a_file(void)
{
    work *w = SHARED(work, .fail_every = 20, .skip_every = 30);
    for (int variant = 0; variant < 4; variant++) {
        facpool_tasks *tasks = variant % 2 ? make_list(30, 40) : make_grid(30, 40);
        facpool_run_options options = make_options(w, executor);
        options.group_by = variant < 2 ? FACPOOL_GROUP_NONE : FACPOOL_GROUP_CODE;
        facpool_result *result = run_ok(tasks, &options);
        const char *codes[] = {"000007", "000031", "nobody"};
        int64_t from = 20240105;
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.codes = codes;
        filter.n_codes = 3;
        filter.date_min = &from;
        filter.statuses = FACPOOL_STATUS_ALL;
        filter.order = FACPOOL_ORDER_KEY;
        facpool_cursor *cursor = NULL;
        facpool_row row = FACPOOL_ROW_INIT;
        CHECK_OK(facpool_result_query(result, &filter, &cursor, &err), err);
        size_t n = 0;
        while (facpool_cursor_next(cursor, &row, &err) > 0) {
            CHECK_INT(row.date, 20240105 + (int64_t)n / 2);
            CHECK_TEXT(row.code, codes[n % 2]);
            CHECK_INT(row.status, expected_status(w, row.date, row.code));
            CHECK(row.timestamp > INT64_C(1700000000000000));
            if (row.status == FACPOOL_STATUS_OK)
                CHECK(same_bits(row.factors[2], value_of(row.date, row.code, 2)));
            if (row.status == FACPOOL_STATUS_FAILED)
                CHECK_TEXT(row.message, "the task was told to fail");
            n++;
        }
        CHECK_INT(n, 52);
        facpool_cursor_free(cursor);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

/* ------------------------------------------------------------------ the console */

static void the_console_writes_plain_lines_to_the_stream_it_is_given(void)
{
    work *w = SHARED(work, .fail_every = 60, .skip_every = 50);
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    facpool_console *console = NULL;
    CHECK_OK(facpool_console_new(&console, stream, &err), err);
    facpool_tasks *tasks = make_grid(20, 20);
    facpool_run_options options = make_options(w, executor);
    options.progress = facpool_console_progress;
    options.progress_user = console;
    options.progress_interval_ms = 1;
    facpool_result_free(run_ok(tasks, &options));
    facpool_console_free(console);
    fclose(stream);
    CHECK(strstr(text, "100.0 %") && strstr(text, "400/400 done") && strstr(text, "failed"));
    CHECK(strstr(text, "skipped") && strstr(text, "/s") && strstr(text, "took"));
    CHECK(!strchr(text, '\r'));
    CHECK(text[size - 1] == '\n');
    free(text);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ */

static void run_all(int32_t which)
{
    executor = which;
    RUN(duplicates_are_refused_by_name_when_the_run_starts);
    RUN(empty_sets_run_to_an_empty_result);
    RUN(a_task_set_is_frozen_while_a_result_holds_it);
    RUN(extreme_dates_and_unsorted_axes_come_back_in_place);
    RUN(wrong_options_are_named);
    RUN(attempts_are_made_and_the_last_one_counts);
    RUN(one_bad_task_of_a_failing_slice_costs_one_row);
    RUN(a_failing_group_fails_whole);
    RUN(a_run_whose_first_tasks_all_fail_stops);
    RUN(codes_have_numbers_that_stay_all_through_a_run);
    RUN(without_a_writer_thread_workers_write);
    RUN(a_result_can_be_queried_like_a_file);
    RUN(the_console_writes_plain_lines_to_the_stream_it_is_given);
}

int main(void)
{
    make_folder();
    for_each_executor(run_all);
    remove_folder();
    return TEST_END();
}
