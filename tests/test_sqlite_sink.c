/* What the example's SQLite sink is beyond any other store, through the public headers alone: names
 * and tags that SQL would have to quote, names that no table can have, dates of more rows than a
 * block, and readers that neither wait for the writer nor disturb it. That it is a store as the
 * file formats are is shown by the suite over all stores (storage_suite.h), that it survives kills,
 * races and full disks by the tests of real processes (real_judge.h): with these it is the proof
 * that <facpool/sink.h> is enough. */
#include "scratch.h"
#include "test.h"

#include <sqlite_sink.h>

#define N_FACTORS 3

static facpool_error err = FACPOOL_ERROR_INIT;

static const char *const names[] = {"momentum", "turn\"over", "z score"};

static facpool_backup_options backup_of(const char *path)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.sink = &sqlite_sink;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.tag = "it's v1";
    return backup;
}

/* ------------------------------------------------------------------ writers and readers */

static facpool_rows one_row(int64_t date)
{
    static int64_t dates[1];
    static const char *const codes[] = {"000001"};
    static const double factors[N_FACTORS] = {1, 2, 3};
    facpool_rows rows = FACPOOL_ROWS_INIT;
    dates[0] = date;
    rows.n = 1;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    return rows;
}

static facpool_writer *open_writer(const char *path)
{
    facpool_backup_options backup = backup_of(path);
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    return writer;
}

static size_t count_rows(facpool_reader *reader)
{
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    int rc;
    CHECK_OK(facpool_query(reader, NULL, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) == 1)
        n++;
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    return n;
}

static void a_second_writer_is_busy_until_the_first_has_ended(void)
{
    const char *path = scratch_path("busy.db");
    facpool_backup_options backup = backup_of(path);
    facpool_writer *first = open_writer(path), *second = NULL;
    CHECK_INT(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), FACPOOL_E_BUSY);
    CHECK(strstr(err.message, "another writer"));
    backup.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_INT(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), FACPOOL_E_BUSY);
    CHECK_OK(facpool_writer_close(first, &err), err);
    backup.mode = FACPOOL_MODE_RESUME;
    CHECK_OK(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_close(second, &err), err);
}

static void readers_and_the_writer_do_not_block_one_another(void)
{
    const char *path = scratch_path("readers.db");
    facpool_writer *writer = open_writer(path);
    facpool_reader *reader = NULL, *late = NULL;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    for (int64_t date = 1; date <= 200; date++) {
        facpool_rows rows = one_row(date);
        CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
        CHECK_OK(facpool_writer_sync(writer, &err), err);
        if (date == 100) {
            CHECK_OK(facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err), err);
            CHECK_OK(facpool_query(reader, NULL, &cursor, &err), err);
            CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        }
    }
    for (int i = 1; i < 100; i++)
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    CHECK_INT(count_rows(reader), 100);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    CHECK_INT(count_rows(reader), 200);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_OK(facpool_reader_from_source(&late, &sqlite_sink, NULL, &path, 1, &err), err);
    CHECK_INT(count_rows(late), 200);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    facpool_reader_free(late);
}

static void modes_factors_and_tag_are_those_of_any_backup(void)
{
    static const char *const others[] = {"momentum", "turn\"over", "Z"};
    static const char *const alike[] = {"a", "A", "b"};
    const char *path = scratch_path("modes.db");
    facpool_writer *writer = NULL;
    facpool_reader *reader = NULL;
    facpool_backup_options backup = backup_of(path);
    CHECK_INT(facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err),
              FACPOOL_E_NOT_FOUND);
    backup.mode = FACPOOL_MODE_CREATE;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    facpool_rows rows = one_row(7);
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), FACPOOL_E_EXISTS);
    backup.mode = FACPOOL_MODE_RESUME;
    CHECK_INT(facpool_writer_open(&writer, &backup, others, N_FACTORS, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "z score") && strstr(err.message, "Z"));
    CHECK_INT(facpool_writer_open(&writer, &backup, names, 2, &err), FACPOOL_E_MISMATCH);
    backup.tag = "it's v2";
    CHECK_INT(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "it's v1") && strstr(err.message, "it's v2"));
    backup.tag = "it's v1";
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    CHECK_INT(facpool_writer_append(writer, &rows, &err), FACPOOL_E_EXISTS);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    backup.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_INT(facpool_writer_open(&writer, &backup, alike, N_FACTORS, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "duplicate column"));
    CHECK_OK(facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err), err);
    CHECK_INT(count_rows(reader), 1); /* what could not be replaced is still there */
    CHECK_TEXT(facpool_reader_factor_name(reader, 1), "turn\"over");
    backup.tag = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, others, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(count_rows(reader), 1);
    CHECK_INT(facpool_reader_refresh(reader, &err), FACPOOL_E_MISMATCH);
    facpool_reader_free(reader);
}

/* More rows than a block has, of a date that has more than a block: blocks begin within dates. */
static void dates_of_more_rows_than_a_block_are_read(void)
{
    enum { N_CODES = 70000, N = 2 * N_CODES };
    const char *path = scratch_path("large.db");
    facpool_writer *writer = open_writer(path);
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    int64_t *dates = malloc(N * sizeof *dates);
    char(*texts)[8] = malloc(N_CODES * sizeof *texts);
    const char **codes = malloc(N * sizeof *codes);
    double *factors = malloc(N * N_FACTORS * sizeof *factors);
    CHECK(dates && texts && codes && factors);
    for (size_t i = 0; i < N; i++) {
        if (i < N_CODES)
            snprintf(texts[i], sizeof *texts, "%06zu", i);
        dates[i] = 5 + (int64_t)(i / N_CODES);
        codes[i] = texts[i % N_CODES];
        for (size_t f = 0; f < N_FACTORS; f++)
            factors[i * N_FACTORS + f] = (double)(i + f);
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = N;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_OK(facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err), err);
    filter.order = FACPOOL_ORDER_KEY;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (size_t i = 0; i < N; i++) {
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(row.date, dates[i]);
        CHECK(strcmp(row.code, codes[i]) == 0 && row.factors[2] == (double)(i + 2));
    }
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    free(dates);
    free(texts);
    free(codes);
    free(factors);
}

int main(void)
{
    if (!scratch_make("sqlite")) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    RUN(a_second_writer_is_busy_until_the_first_has_ended);
    RUN(readers_and_the_writer_do_not_block_one_another);
    RUN(modes_factors_and_tag_are_those_of_any_backup);
    RUN(dates_of_more_rows_than_a_block_are_read);
    scratch_remove();
    return TEST_END();
}
