/* Proves that readers and cursors do on real files what the unit tests show on made-up ones:
 * through the public header, over files that are closed, being written, replaced, sharded, torn and
 * damaged, over a run's result, and from several threads at once. */
#include <facpool/facpool.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include "scratch.h"
#include "test.h"

#define CODES 100

static facpool_error err = FACPOOL_ERROR_INIT;
static char code_texts[CODES][16];
static const char *codes[CODES];

static double factor_of(int64_t date, int code, int factor)
{
    return (double)(date * 1000 + code) / (factor ? -7.0 : 64.0);
}

static facpool_writer *open_writer(const char *path, int32_t mode, const char *const *names)
{
    static const char *const usual[] = {"alpha", "beta"};
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.mode = mode;
    options.durability = FACPOOL_DURABILITY_NONE;
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &options, names ? names : usual, 2, &err), err);
    return writer;
}

/* Ok rows of all codes for dates first .. last, stamped `timestamp`, shifted by `shift`. */
static void append_dates(facpool_writer *writer, int64_t first, int64_t last, int64_t timestamp,
                         double shift)
{
    static int64_t dates[CODES], timestamps[CODES];
    static double factors[CODES][2];
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = CODES;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = timestamps;
    rows.factors = factors[0];
    for (int64_t date = first; date <= last; date++) {
        for (int i = 0; i < CODES; i++) {
            dates[i] = date;
            timestamps[i] = timestamp;
            factors[i][0] = factor_of(date, i, 0) + shift;
            factors[i][1] = factor_of(date, i, 1) + shift;
        }
        CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    }
}

static void append_failed(facpool_writer *writer, int64_t date, int code, int64_t timestamp,
                          const char *message)
{
    uint8_t status = FACPOOL_STATUS_FAILED;
    int32_t failure_code = 42;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &codes[code];
    rows.timestamps = &timestamp;
    rows.statuses = &status;
    rows.failure_codes = &failure_code;
    rows.messages = &message;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
}

static void write_file(const char *path, int64_t first, int64_t last, int64_t timestamp,
                       double shift)
{
    facpool_writer *writer = open_writer(path, FACPOOL_MODE_OVERWRITE, NULL);
    append_dates(writer, first, last, timestamp, shift);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

static facpool_reader *open_reader(const char *const *paths, size_t n)
{
    facpool_reader *reader = NULL;
    CHECK_OK(facpool_reader_open(&reader, paths, n, &err), err);
    return reader;
}

static facpool_cursor *ask(facpool_reader *reader, const facpool_filter *filter)
{
    facpool_cursor *cursor = NULL;
    CHECK_OK(facpool_query(reader, filter, &cursor, &err), err);
    return cursor;
}

static size_t count_and_free(facpool_cursor *cursor)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    size_t n = 0;
    int rc;
    while ((rc = facpool_cursor_next_batch(cursor, &view, &err)) == 1)
        n += view.n_rows;
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    return n;
}

static size_t count_all(facpool_reader *reader)
{
    return count_and_free(ask(reader, NULL));
}

/* ------------------------------------------------------------------ one file */

static void rows_come_back_as_they_were_written(void)
{
    const char *path = scratch_path("one.fpb");
    write_file(path, 1, 50, 777, 0);
    facpool_reader *reader = open_reader(&path, 1);
    CHECK_INT(facpool_reader_n_factors(reader), 2);
    CHECK_TEXT(facpool_reader_factor_name(reader, 1), "beta");
    CHECK(facpool_reader_factor_name(reader, 2) == NULL);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.order = FACPOOL_ORDER_KEY;
    facpool_cursor *cursor = ask(reader, &filter);
    facpool_reader_free(reader); /* the cursor keeps what it needs */
    facpool_row row = FACPOOL_ROW_INIT;
    for (int64_t date = 1; date <= 50; date++)
        for (int i = 0; i < CODES; i++) {
            CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
            CHECK_INT(row.date, date);
            CHECK_TEXT(row.code, codes[i]);
            CHECK_INT(row.timestamp, 777);
            CHECK(row.factors[0] == factor_of(date, i, 0));
            CHECK(row.factors[1] == factor_of(date, i, 1));
        }
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_cursor_free(cursor);
}

static void a_point_question_of_a_large_file_reads_one_page(void)
{
    const char *path = scratch_path("large.fpb");
    write_file(path, 1, 2000, 1, 0);
    facpool_reader *reader = open_reader(&path, 1);
    int64_t date = 1234;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.dates = &date;
    filter.n_dates = 1;
    filter.codes = &codes[17];
    filter.n_codes = 2;
    facpool_cursor *cursor = ask(reader, &filter);
    facpool_row row = FACPOOL_ROW_INIT;
    for (int code = 17; code < 19; code++) {
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK(row.factors[1] == factor_of(1234, code, 1));
    }
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    CHECK_OK(facpool_cursor_stats(cursor, &stats, &err), err);
    CHECK_INT(stats.blocks_read, 1);
    CHECK_INT(stats.pages_read, 1);
    CHECK(stats.pages_total >= 2000 * CODES / 1024);
    CHECK(stats.bytes_read < (uint64_t)file_bytes(path) / 10);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
}

static void failures_are_given_until_an_ok_row_supersedes_them(void)
{
    const char *path = scratch_path("failures.fpb");
    facpool_writer *writer = open_writer(path, FACPOOL_MODE_OVERWRITE, NULL);
    append_failed(writer, 1, 3, 10, "no bars");
    append_failed(writer, 1, 3, 20, "still no bars");
    append_failed(writer, 5, 3, 10, "no bars yet");
    append_dates(writer, 5, 5, 30, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    facpool_reader *reader = open_reader(&path, 1);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = order;
        filter.statuses = FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED);
        facpool_cursor *cursor = ask(reader, &filter);
        facpool_row row = FACPOOL_ROW_INIT;
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(row.date, 1);
        CHECK_INT(row.status, FACPOOL_STATUS_FAILED);
        CHECK_INT(row.failure_code, 42);
        CHECK_TEXT(row.message, "still no bars");
        CHECK(row.factors == NULL);
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
        facpool_cursor_free(cursor);
        filter.statuses = FACPOOL_STATUS_ALL;
        CHECK_INT(count_and_free(ask(reader, &filter)), CODES + 1);
    }
    CHECK_INT(count_all(reader), CODES);
    facpool_reader_free(reader);
}

/* ------------------------------------------------------------------ many files */

static void promise_12_many_files_are_asked_as_one(void)
{
    const char *paths[] = {scratch_path("a.fpb"), scratch_path("b.fpb"), scratch_path("c.fpb")};
    write_file(paths[0], 1, 20, 100, 0);
    write_file(paths[1], 11, 30, 200, 1); /* later: it counts where both have a row */
    write_file(paths[2], 15, 16, 200, 2); /* as late, and a later path */
    facpool_reader *reader = open_reader(paths, 3);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = order;
        facpool_cursor *cursor = ask(reader, &filter);
        facpool_row row = FACPOOL_ROW_INIT;
        size_t n = 0;
        int rc;
        while ((rc = facpool_cursor_next(cursor, &row, &err)) == 1) {
            double shift = row.date == 15 || row.date == 16 ? 2 : row.date > 10 ? 1 : 0;
            CHECK(row.factors[0] == factor_of(row.date, atoi(row.code), 0) + shift);
            n++;
        }
        CHECK_OK(rc, err);
        CHECK_INT(n, 30 * CODES);
        facpool_cursor_free(cursor);
    }
    facpool_reader_free(reader);
}

static void files_that_do_not_belong_together_are_refused(void)
{
    static const char *const other[] = {"alpha", "gamma"};
    const char *paths[] = {scratch_path("first.fpb"), scratch_path("second.fpb")};
    write_file(paths[0], 1, 1, 1, 0);
    CHECK_OK(facpool_writer_close(open_writer(paths[1], FACPOOL_MODE_OVERWRITE, other), &err), err);
    facpool_reader *reader = NULL;
    CHECK_INT(facpool_reader_open(&reader, paths, 2, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "first.fpb") && strstr(err.message, "second.fpb"));
    CHECK(strstr(err.message, "beta") && strstr(err.message, "gamma"));
    paths[1] = paths[0];
    CHECK_INT(facpool_reader_open(&reader, paths, 2, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "twice"));
    paths[1] = scratch_path("not-there.fpb");
    CHECK_INT(facpool_reader_open(&reader, paths, 2, &err), FACPOOL_E_NOT_FOUND);
    CHECK(strstr(err.message, "not-there.fpb"));
    CHECK_INT(facpool_reader_open(&reader, paths, 0, &err), FACPOOL_E_INVALID);
    paths[1] = "";
    CHECK_INT(facpool_reader_open(&reader, paths, 2, &err), FACPOOL_E_INVALID);
    CHECK(reader == NULL);
}

static void a_file_that_is_no_backup_is_refused(void)
{
    const char *path = scratch_path("words.txt");
    CHECK(file_write(path, (const uint8_t *)"These are only words.\n", 22));
    facpool_reader *reader = NULL;
    CHECK_INT(facpool_reader_open(&reader, &path, 1, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "words.txt"));
}

/* ------------------------------------------------------------------ files that change */

static void a_snapshot_stays_and_refresh_sees_more(void)
{
    const char *path = scratch_path("growing.fpb");
    facpool_writer *writer = open_writer(path, FACPOOL_MODE_OVERWRITE, NULL);
    append_dates(writer, 1, 3, 1, 0);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    facpool_reader *reader = open_reader(&path, 1);
    CHECK_INT(count_all(reader), 3 * CODES);
    facpool_cursor *early = ask(reader, NULL);
    append_dates(writer, 4, 4, 1, 0);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    CHECK_INT(count_all(reader), 3 * CODES);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    CHECK_INT(count_all(reader), 4 * CODES);
    CHECK_INT(count_and_free(early), 3 * CODES);
    append_dates(writer, 5, 5, 1, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    CHECK_INT(count_all(reader), 5 * CODES);
    facpool_reader_free(reader);
}

static void a_replaced_file_is_seen_by_refresh(void)
{
    const char *path = scratch_path("replaced.fpb");
    static const char *const other[] = {"alpha", "gamma"};
    write_file(path, 1, 3, 1, 0);
    facpool_reader *reader = open_reader(&path, 1);
    facpool_cursor *early = ask(reader, NULL);
    write_file(path, 1, 7, 1, 0);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    CHECK_INT(count_all(reader), 7 * CODES);
    CHECK_INT(count_and_free(early), 3 * CODES);
    /* what can't be taken over leaves the reader as it was */
    CHECK_OK(facpool_writer_close(open_writer(path, FACPOOL_MODE_OVERWRITE, other), &err), err);
    CHECK_INT(facpool_reader_refresh(reader, &err), FACPOOL_E_MISMATCH);
    CHECK_INT(count_all(reader), 7 * CODES);
    CHECK(unlink(path) == 0);
    CHECK_INT(facpool_reader_refresh(reader, &err), FACPOOL_E_NOT_FOUND);
    CHECK_INT(count_all(reader), 7 * CODES);
    facpool_reader_free(reader);
}

static void damage_in_a_file_costs_what_it_touches(void)
{
    const char *path = scratch_path("damaged.fpb");
    write_file(path, 1, 2000, 1, 0);
    size_t size = 0;
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes != NULL);
    bytes[size / 2] ^= 1;
    CHECK(file_write(path, bytes, size));
    free(bytes);
    facpool_reader *reader = open_reader(&path, 1);
    facpool_cursor *cursor = ask(reader, NULL);
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0, reports = 0;
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) != 0) {
        if (rc == 1) {
            CHECK(row.factors[0] == factor_of(row.date, atoi(row.code), 0));
            n++;
            continue;
        }
        CHECK_INT(rc, FACPOOL_E_CORRUPT);
        CHECK(strstr(err.message, "damaged.fpb") && strstr(err.message, "offset"));
        reports++;
    }
    CHECK_INT(reports, 1);
    CHECK(n < 2000 * CODES && n >= 2000 * CODES - 65536);
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    CHECK_OK(facpool_cursor_stats(cursor, &stats, &err), err);
    CHECK_INT(stats.blocks_damaged, 1);
    CHECK_INT(stats.rows_matched, n);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
}

/* ------------------------------------------------------------------ a run's result */

static int mixed_task(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    if (task->index % 5 == 1)
        return FACPOOL_SKIP;
    if (task->index % 5 == 2)
        return facpool_task_fail(task, 7, "two of five");
    factors[0] = (double)task->date;
    return 0;
}

static void ask_result(const facpool_result *result, int32_t order)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    filter.order = order;
    CHECK_OK(facpool_result_query(result, &filter, &cursor, &err), err);
    CHECK_INT(count_and_free(cursor), 3 * 20 * CODES / 5);
    filter.statuses = FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED);
    CHECK_OK(facpool_result_query(result, &filter, &cursor, &err), err);
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    CHECK_INT(row.failure_code, 7);
    CHECK_TEXT(row.message, "two of five");
    CHECK_INT(count_and_free(cursor), 20 * CODES / 5 - 1);
}

static void the_result_of_a_run_is_asked_like_a_file(void)
{
    int64_t dates[20];
    for (int i = 0; i < 20; i++)
        dates[i] = 20240101 + i;
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_grid(&tasks, dates, 20, codes, CODES, &err), err);
    const char *backups[] = {NULL, scratch_path("run.fpb")};
    for (int i = 0; i < 2; i++) {
        facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
        options.fn = mixed_task;
        options.n_factors = 1;
        options.executor = FACPOOL_EXECUTOR_SERIAL;
        options.no_stop_if_first_fail = 1;
        options.backup_path = backups[i];
        facpool_result *result = NULL;
        CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
        ask_result(result, FACPOOL_ORDER_FILE);
        ask_result(result, FACPOOL_ORDER_KEY);
        facpool_result_free(result);
    }
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ threads */

typedef struct asking {
    facpool_reader *reader;
    atomic_bool stop;
    atomic_int wrong;
    atomic_long asked;
} asking;

/* Asks until told to stop: there are never fewer dates than before, and never part of one. */
static void *ask_on_and_on(void *arg)
{
    asking *a = arg;
    size_t most = 0;
    facpool_error own = FACPOOL_ERROR_INIT;
    while (!atomic_load(&a->stop) || atomic_load(&a->asked) < 50) {
        facpool_cursor *cursor = NULL;
        facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
        size_t n = 0;
        int rc = facpool_query(a->reader, NULL, &cursor, &own);
        while (rc == 0 && (rc = facpool_cursor_next_batch(cursor, &view, &own)) == 1) {
            n += view.n_rows;
            rc = 0;
        }
        facpool_cursor_free(cursor);
        if (rc != 0 || n % CODES || n < most)
            atomic_fetch_add(&a->wrong, 1);
        most = n;
        atomic_fetch_add(&a->asked, 1);
    }
    return NULL;
}

static void threads_ask_while_one_refreshes(void)
{
    const char *path = scratch_path("threads.fpb");
    facpool_writer *writer = open_writer(path, FACPOOL_MODE_OVERWRITE, NULL);
    append_dates(writer, 1, 1, 1, 0);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    asking a = {.reader = open_reader(&path, 1)};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, ask_on_and_on, &a), 0);
    int rc = 0;
    for (int64_t date = 2; !rc && date < 60; date++) {
        append_dates(writer, date, date, 1, 0);
        rc = facpool_writer_sync(writer, &err);
        if (!rc)
            rc = facpool_reader_refresh(a.reader, &err);
    }
    atomic_store(&a.stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK_OK(rc, err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(atomic_load(&a.wrong), 0);
    CHECK_INT(count_all(a.reader), 59 * CODES);
    facpool_reader_free(a.reader);
}

int main(void)
{
    for (int i = 0; i < CODES; i++) {
        snprintf(code_texts[i], sizeof code_texts[i], "%06d", i);
        codes[i] = code_texts[i];
    }
    if (!scratch_make("reader"))
        return EXIT_FAILURE;
    RUN(rows_come_back_as_they_were_written);
    RUN(a_point_question_of_a_large_file_reads_one_page);
    RUN(failures_are_given_until_an_ok_row_supersedes_them);
    RUN(promise_12_many_files_are_asked_as_one);
    RUN(files_that_do_not_belong_together_are_refused);
    RUN(a_file_that_is_no_backup_is_refused);
    RUN(a_snapshot_stays_and_refresh_sees_more);
    RUN(a_replaced_file_is_seen_by_refresh);
    RUN(damage_in_a_file_costs_what_it_touches);
    RUN(the_result_of_a_run_is_asked_like_a_file);
    RUN(threads_ask_while_one_refreshes);
    scratch_remove();
    return TEST_END();
}
