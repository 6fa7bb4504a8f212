/* Proves that numbers, keys and places that a caller hands over are errors or work at the ends of
 * their range, and never wrap: sizes of grids, options of runs and of backups, dates and codes
 * through every format and back, and places in what is only so long. */
#include "security_paths.h"

static void grids_do_not_wrap(void)
{
    static const size_t sides[][2] = {{SIZE_MAX, 1},
                                      {1, SIZE_MAX},
                                      {SIZE_MAX, SIZE_MAX},
                                      {SIZE_MAX / 2 + 2, 2},
                                      {(size_t)1 << 32, (size_t)1 << 32},
                                      {((size_t)1 << 40) + 1, 1},
                                      {((size_t)1 << 33) + 1, (size_t)1 << 31}};
    int64_t date = 20240101;
    const char *code = "a";
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        facpool_tasks *tasks = NULL;
        CHECK_INT(facpool_tasks_grid(&tasks, &date, sides[i][0], &code, sides[i][1], &err),
                  FACPOOL_E_INVALID);
        CHECK(!tasks);
    }
}

static int outcome_of(const facpool_run_options *options)
{
    facpool_tasks *tasks = make_grid(2, 2);
    facpool_result *result = NULL;
    int rc = facpool_run(tasks, options, &result, &err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return rc;
}

#define CHECK_REFUSED(field, value)                                                                \
    do {                                                                                           \
        facpool_run_options options_ = make_options(w, FACPOOL_EXECUTOR_SERIAL);                   \
        options_.field = value;                                                                    \
        CHECK_INT(outcome_of(&options_), FACPOOL_E_INVALID);                                       \
    } while (0)

static void numbers_of_a_run_are_refused_or_work(void)
{
    work *w = SHARED(work, .n_factors = FACTORS);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    CHECK_REFUSED(n_factors, 0);
    CHECK_REFUSED(n_factors, 65536);
    CHECK_REFUSED(n_factors, SIZE_MAX);
    CHECK_REFUSED(n_factors, SIZE_MAX / 8 + 4);
    CHECK_REFUSED(executor, INT32_MAX);
    CHECK_REFUSED(executor, INT32_MIN);
    CHECK_REFUSED(group_by, INT32_MIN);
    CHECK_REFUSED(on_error, INT32_MAX);
    CHECK_REFUSED(results, INT32_MAX);
    process.tasks_per_worker = UINT32_MAX;
    process.memory_limit_bytes = UINT64_MAX;
    for (int32_t executor = FACPOOL_EXECUTOR_PROCESS; executor <= FACPOOL_EXECUTOR_SERIAL;
         executor++) {
        facpool_run_options options = make_options(w, executor);
        options.attempts = options.stop_if_first_fail = UINT32_MAX;
        options.progress_interval_ms = UINT32_MAX;
        if (executor == FACPOOL_EXECUTOR_PROCESS) {
            options.task_timeout_ms = UINT32_MAX;
            options.process = &process;
        }
        CHECK_INT(outcome_of(&options), 0);
        options.workers = 4097;
        CHECK_INT(outcome_of(&options), FACPOOL_E_INVALID);
        options.workers = UINT32_MAX;
        CHECK_INT(outcome_of(&options), FACPOOL_E_INVALID);
    }
}

static void numbers_of_a_backup_are_refused_or_work(void)
{
    work *w = SHARED(work, .n_factors = FACTORS);
    for (size_t i = 0; i < N_SUFFIXES; i++) {
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        facpool_run_options options = make_options(w, FACPOOL_EXECUTOR_SERIAL);
        options.backup = &backup;
        backup.path = path_of("numbers", suffixes[i]);
        backup.batch_rows = backup.flush_ms = UINT32_MAX;
        backup.queue_bytes = UINT64_MAX;
        backup.compression_level = INT32_MIN;
        CHECK_INT(outcome_of(&options), 0);
        backup.mode = FACPOOL_MODE_OVERWRITE;
        backup.queue_bytes = 1;
        backup.batch_rows = backup.flush_ms = 1;
        CHECK_INT(outcome_of(&options), 0);
        CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), 4);
        backup.mode = INT32_MAX;
        CHECK_INT(outcome_of(&options), FACPOOL_E_INVALID);
        backup.mode = FACPOOL_MODE_OVERWRITE;
        backup.durability = INT32_MIN;
        CHECK_INT(outcome_of(&options), FACPOOL_E_INVALID);
        backup.durability = 0;
        backup.compression_level = INT32_MAX;
        CHECK_INT(outcome_of(&options), FACPOOL_E_INVALID);
        CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), 4);
        unlink(backup.path);
    }
}

/* Dates, times and codes at the ends of what they can be, through every format and back. */
static void keys_at_the_ends_are_kept(void)
{
    static const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = longest[255] = 0;
    const char *codes[] = {"\x01", "\x7f", longest, "\xf4\x8f\xbf\xbf"};
    enum { N = 7 * 4 };
    int64_t dates[N], times[N];
    const char *row_codes[N];
    double values[N];
    for (size_t i = 0; i < N; i++) {
        dates[i] = ends[i % 7];
        times[i] = ends[(i + 3) % 7];
        row_codes[i] = codes[i / 7];
        values[i] = (double)i;
    }
    for (size_t i = 0; i < N_SUFFIXES; i++) {
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        facpool_writer *writer = NULL;
        facpool_rows rows = FACPOOL_ROWS_INIT;
        facpool_reader *reader = NULL;
        facpool_cursor *cursor = NULL;
        facpool_row row = FACPOOL_ROW_INIT;
        backup.path = path_of("ends", suffixes[i]);
        rows.n = N;
        rows.dates = dates;
        rows.timestamps = times;
        rows.codes = row_codes;
        rows.factors = values;
        CHECK_OK(facpool_writer_open(&writer, &backup, NULL, 1, &err), err);
        CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
        CHECK_OK(facpool_writer_close(writer, &err), err);
        CHECK_OK(facpool_reader_open(&reader, &backup.path, 1, &err), err);
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = FACPOOL_ORDER_KEY;
        filter.date_min = &ends[0];
        filter.date_max = &ends[6];
        CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
        size_t n = 0;
        int64_t before = INT64_MIN;
        while (facpool_cursor_next(cursor, &row, &err) > 0) {
            size_t at = (size_t)row.factors[0];
            CHECK(row.date == dates[at] && row.timestamp == times[at]);
            CHECK_TEXT(row.code, row_codes[at]);
            CHECK(row.date >= before);
            before = row.date;
            n++;
        }
        CHECK_INT(n, N);
        facpool_cursor_free(cursor);
        filter.skip_bytes = UINT64_MAX;
        CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
        facpool_cursor_free(cursor);
        facpool_reader_free(reader);
        unlink(backup.path);
    }
}

static void codes_that_are_none_are_refused(void)
{
    char too_long[257];
    memset(too_long, 'x', 256);
    too_long[256] = 0;
    const char *bad[] = {"",
                         too_long,
                         "\xff",
                         "\xc0\x80",
                         "\xed\xa0\x80",
                         "a\x80",
                         "\xf4\x90\x80\x80",
                         "\xe4\xb8",
                         "\xf8\x88\x80\x80\x80"};
    facpool_tasks *tasks = NULL;
    int64_t date = 1;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        facpool_tasks *grid = NULL;
        CHECK_INT(facpool_tasks_add(tasks, date, bad[i], &err), FACPOOL_E_INVALID);
        CHECK_INT(facpool_tasks_grid(&grid, &date, 1, &bad[i], 1, &err), FACPOOL_E_INVALID);
    }
    CHECK_INT(facpool_tasks_add(tasks, date, NULL, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_count(tasks), 0);
    facpool_tasks_free(tasks);
}

static void places_that_are_none_are_refused(void)
{
    work *w = SHARED(work, .n_factors = FACTORS);
    facpool_run_options options = make_options(w, FACPOOL_EXECUTOR_SERIAL);
    facpool_tasks *tasks = make_grid(2, 2);
    facpool_result *result = NULL;
    facpool_failure failure = FACPOOL_FAILURE_INIT;
    int64_t date;
    const char *code;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    static const size_t none[] = {4, 5, SIZE_MAX, SIZE_MAX / 2, (size_t)1 << 32, SIZE_MAX / 8 + 1};
    for (size_t i = 0; i < 6; i++) {
        CHECK_INT(facpool_tasks_get(tasks, none[i], &date, &code, &err), FACPOOL_E_INVALID);
        CHECK(!facpool_result_code(result, none[i]));
        CHECK(!facpool_result_factor(result, none[i]));
        CHECK(!facpool_result_factor_name(result, none[i]));
        CHECK_INT(facpool_result_failure(result, none[i], &failure, &err), FACPOOL_E_INVALID);
    }
    facpool_result_free(result);
    facpool_job *job = NULL;
    facpool_slice slice = FACPOOL_SLICE_INIT;
    double *factors;
    CHECK_OK(facpool_job_open(&job, tasks, &options, &err), err);
    CHECK_INT(facpool_job_take(job, 1, &slice, &factors, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_job_take(job, UINT32_MAX, &slice, &factors, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_job_take(job, 0, &slice, &factors, &err), 1);
    facpool_slice_skip(&slice, SIZE_MAX);
    facpool_slice_fail(&slice, slice.n, 5, "nobody's");
    CHECK_OK(facpool_job_complete(job, &slice, 0, &err), err);
    (void)facpool_job_finish(job, &result, &err);
    CHECK_INT(report_of(result).skipped + report_of(result).failed, 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

int main(void)
{
    make_folder();
    RUN(grids_do_not_wrap);
    RUN(numbers_of_a_run_are_refused_or_work);
    RUN(numbers_of_a_backup_are_refused_or_work);
    RUN(keys_at_the_ends_are_kept);
    RUN(codes_that_are_none_are_refused);
    RUN(places_that_are_none_are_refused);
    remove_folder();
    return TEST_END();
}
