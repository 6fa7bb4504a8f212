/* What a store of a user's own gives back (<facpool/sink.h>): questions over it are answered as
 * over any backup, and only blocks that can match are read. What does not fit what the store said
 * of itself is test_source_checks.c. */
#include "test.h"
#include "vault_sink.h"

#include <math.h>

#define N_FACTORS 2

static facpool_error err = FACPOOL_ERROR_INIT;
static vault v, w;

static const char *const names[] = {"momentum", "turnover"};
static const char *const path = "the vault";

/* ------------------------------------------------------------------ filling vaults */

static void fill(vault *to, const facpool_rows *rows)
{
    facpool_writer *writer = NULL;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.sink = &vault_type;
    backup.sink_user = to;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_append(writer, rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* Row i: one of every third fails, and says why. */
static void fill_grid(vault *to, int64_t first_date, int n_dates, int n_codes, int fail_every)
{
    size_t n = (size_t)n_dates * (size_t)n_codes;
    int64_t *dates = calloc(n, sizeof *dates), *timestamps = calloc(n, sizeof *timestamps);
    char(*texts)[32] = calloc(n, sizeof *texts);
    const char **codes = calloc(n, sizeof *codes), **messages = calloc(n, sizeof *messages);
    uint8_t *statuses = calloc(n, 1);
    int32_t *failures = calloc(n, sizeof *failures);
    double *factors = calloc(n * N_FACTORS, sizeof *factors);
    for (size_t i = 0; i < n; i++) {
        bool fails = fail_every && i % (size_t)fail_every == 0;
        dates[i] = first_date + (int64_t)(i / (size_t)n_codes);
        snprintf(texts[i], sizeof *texts, "%06zu", i % (size_t)n_codes);
        codes[i] = texts[i];
        timestamps[i] = 1000 + (int64_t)i;
        statuses[i] = fails ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
        failures[i] = fails ? (int32_t)i + 1 : 0;
        messages[i] = fails ? "no bars" : NULL;
        factors[i * N_FACTORS] = i % 10 == 3 ? NAN : (double)i;
        factors[i * N_FACTORS + 1] = i % 10 == 4 ? -0.0 : (double)i / 3;
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = n;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = timestamps;
    rows.statuses = statuses;
    rows.factors = factors;
    rows.failure_codes = failures;
    rows.messages = messages;
    fill(to, &rows);
    free(dates);
    free(timestamps);
    free(texts);
    free(codes);
    free(messages);
    free(statuses);
    free(failures);
    free(factors);
}

static void destroy(vault *of)
{
    CHECK_TEXT(of->wrong ? of->wrong : "", "");
    CHECK_INT(of->snapshots, 0);
    CHECK_INT(of->reads, of->releases);
    vault_destroy(of);
}

/* ------------------------------------------------------------------ asking */

static facpool_reader *open_reader(vault *of)
{
    facpool_reader *reader = NULL;
    CHECK_OK(facpool_reader_from_source(&reader, &vault_type, of, &path, 1, &err), err);
    return reader;
}

/* How many rows answer; each is checked to be what fill_grid made (of so many codes a date). */
static size_t count_rows(facpool_reader *reader, const facpool_filter *filter, int64_t first_date,
                         int n_codes)
{
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    int rc;
    CHECK_OK(facpool_query(reader, filter, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) == 1) {
        size_t i = (size_t)(row.date - first_date) * (size_t)n_codes + (size_t)atoi(row.code);
        bool ok = row.status == FACPOOL_STATUS_OK;
        n++;
        CHECK_INT(row.timestamp, 1000 + (int64_t)i);
        CHECK(ok == (row.factors != NULL));
        CHECK_INT(row.failure_code, ok ? 0 : (int)i + 1);
        CHECK_TEXT(row.message, ok ? "" : "no bars");
        if (!ok)
            continue;
        double turnover = i % 10 == 4 ? -0.0 : (double)i / 3;
        CHECK(i % 10 == 3 ? isnan(row.factors[0]) : row.factors[0] == (double)i);
        CHECK(memcmp(&row.factors[1], &turnover, sizeof turnover) == 0);
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    return n;
}

static void a_reader_gives_the_rows_of_blocks_of_every_kind(void)
{
    for (int kind = 0; kind < 4; kind++) {
        vault_init(&v);
        v.by_column = kind & 1;
        v.hides_codes = kind & 2;
        fill_grid(&v, 20240101, 10, 40, 3); /* 8 mixed blocks of 50 rows */
        facpool_reader *reader = open_reader(&v);
        facpool_filter filter = FACPOOL_FILTER_INIT;
        CHECK_TEXT(facpool_reader_factor_name(reader, 1), "turnover");
        CHECK_INT(count_rows(reader, NULL, 20240101, 40), 400 - 134);
        filter.statuses = FACPOOL_STATUS_ALL;
        CHECK_INT(count_rows(reader, &filter, 20240101, 40), 400);
        filter.statuses = FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED);
        filter.order = FACPOOL_ORDER_KEY;
        CHECK_INT(count_rows(reader, &filter, 20240101, 40), 134);
        facpool_reader_free(reader);
        destroy(&v);
    }
}

static void rows_of_several_pages_and_blocks_come_in_key_order(void)
{
    vault_init(&v);
    v.block_rows = 3000;
    fill_grid(&v, 1, 4, 2000, 0);
    facpool_reader *reader = open_reader(&v);
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.order = FACPOOL_ORDER_KEY;
    CHECK_INT(count_rows(reader, &filter, 1, 2000), 8000);
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (size_t i = 0; i < 8000; i++) {
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(row.date, 1 + (int64_t)(i / 2000));
        CHECK_INT(atoi(row.code), i % 2000);
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    destroy(&v);
}

static size_t reads_for(facpool_reader *reader, const facpool_filter *filter, int n_codes,
                        size_t n_rows)
{
    size_t before = v.reads;
    CHECK_INT(count_rows(reader, filter, 20240101, n_codes), n_rows);
    return v.reads - before;
}

static void blocks_that_cannot_match_are_not_read(void)
{
    vault_init(&v);
    v.block_rows = 40;
    fill_grid(&v, 20240101, 10, 80, 0); /* half a date a block */
    facpool_reader *reader = open_reader(&v);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    int64_t date = 20240104, before = 20230101;
    const char *code = "000050", *none = "x";
    CHECK_INT(v.reads, 0); /* a snapshot reads nothing */
    filter.dates = &date;
    filter.n_dates = 1;
    CHECK_INT(reads_for(reader, &filter, 80, 80), 2);
    filter.codes = &code;
    filter.n_codes = 1;
    CHECK_INT(reads_for(reader, &filter, 80, 1), 1);
    filter.dates = NULL;
    filter.n_dates = 0;
    CHECK_INT(reads_for(reader, &filter, 80, 10), 10);
    filter.codes = &none;
    CHECK_INT(reads_for(reader, &filter, 80, 0), 0);
    filter.codes = NULL;
    filter.n_codes = 0;
    filter.date_max = &before;
    CHECK_INT(reads_for(reader, &filter, 80, 0), 0);
    filter.date_max = NULL;
    filter.statuses = FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED);
    CHECK_INT(reads_for(reader, &filter, 80, 0), 0);
    facpool_reader_free(reader);

    v.hides_codes = true; /* then any code may be in any block */
    reader = open_reader(&v);
    filter = (facpool_filter)FACPOOL_FILTER_INIT;
    filter.codes = &none;
    filter.n_codes = 1;
    CHECK_INT(reads_for(reader, &filter, 80, 0), 20);
    facpool_reader_free(reader);
    destroy(&v);
}

static void refresh_sees_what_was_written_since(void)
{
    vault_init(&v);
    fill_grid(&v, 20240101, 2, 40, 0);
    facpool_reader *reader = open_reader(&v);
    facpool_cursor *old = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_OK(facpool_query(reader, NULL, &old, &err), err);
    fill_grid(&v, 20240103, 3, 40, 0);
    facpool_reader *fresh = open_reader(&v);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    int64_t since = 20240103;
    filter.date_min = &since;
    CHECK_INT(count_rows(reader, &filter, 20240103, 40), 0);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    CHECK_INT(count_rows(reader, &filter, 20240103, 40), 120);
    CHECK_INT(count_rows(fresh, &filter, 20240103, 40), 120);
    size_t n = 0;
    while (facpool_cursor_next(old, &row, &err) == 1)
        n++;
    CHECK_INT(n, 80); /* what was there when it was asked */
    facpool_reader_free(reader);
    facpool_reader_free(fresh);
    CHECK_INT(v.snapshots, 1); /* the cursor keeps its own */
    facpool_cursor_free(old);
    destroy(&v);
}

static void a_store_that_is_not_there_is_not_found(void)
{
    vault_init(&v);
    facpool_reader *reader = NULL;
    CHECK_INT(facpool_reader_from_source(&reader, &vault_type, &v, &path, 1, &err),
              FACPOOL_E_NOT_FOUND);
    CHECK_TEXT(err.message, "the vault is empty");
    CHECK(!reader);
    fill_grid(&v, 1, 1, 10, 0);
    v.fails_at = 's';
    CHECK_INT(facpool_reader_from_source(&reader, &vault_type, &v, &path, 1, &err), FACPOOL_E_IO);
    CHECK_TEXT(err.message, "the vault's scan was told to fail, code 42");
    CHECK_INT(v.log[v.n_log - 1], 'q');
    destroy(&v);
}

static void *ask_all(void *argument)
{
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    if (facpool_query(argument, NULL, &cursor, NULL) == 0)
        while (facpool_cursor_next(cursor, &row, NULL) == 1)
            n++;
    facpool_cursor_free(cursor);
    return (void *)(uintptr_t)n;
}

static void several_threads_read_one_snapshot(void)
{
    vault_init(&v);
    fill_grid(&v, 1, 20, 100, 7);
    facpool_reader *reader = open_reader(&v);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, ask_all, reader), 0);
    for (int i = 0; i < 3; i++) {
        void *n = NULL;
        pthread_join(threads[i], &n);
        CHECK_INT((uintptr_t)n, 2000 - 286);
    }
    facpool_reader_free(reader);
    destroy(&v);
}

/* ------------------------------------------------------------------ several stores as one */

static void fill_one(vault *to, int64_t date, const char *code, int64_t timestamp, uint8_t status,
                     double value)
{
    facpool_rows rows = FACPOOL_ROWS_INIT;
    double factors[N_FACTORS] = {value, value};
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.timestamps = &timestamp;
    rows.statuses = &status;
    rows.factors = factors;
    fill(to, &rows);
}

static const facpool_sink_type *type_of_pair(void);

static void of_two_stores_ok_beats_not_ok_then_the_later_row(void)
{
    enum { OK = FACPOOL_STATUS_OK, FAILED = FACPOOL_STATUS_FAILED };
    static const struct {
        const char *code;
        uint8_t first_status, second_status, wins;
        int64_t first_time, second_time;
    } cases[] = {
        {"a", OK, FAILED, 1, 10, 20},     {"b", FAILED, OK, 2, 20, 10},
        {"c", OK, OK, 1, 20, 10},         {"d", OK, OK, 2, 10, 20},
        {"e", FAILED, FAILED, 1, 20, 10}, {"f", FAILED, FAILED, 2, 10, 10},
    };
    size_t n = sizeof cases / sizeof *cases;
    const char *const paths[] = {"1", "2"};
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    vault_init(&v);
    vault_init(&w);
    for (size_t i = 0; i < n; i++) {
        fill_one(&v, 1, cases[i].code, cases[i].first_time, cases[i].first_status, 1);
        fill_one(&w, 1, cases[i].code, cases[i].second_time, cases[i].second_status, 2);
    }
    CHECK_OK(facpool_reader_from_source(&reader, type_of_pair(), NULL, paths, 2, &err), err);
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = FACPOOL_ORDER_KEY;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (size_t i = 0; i < n; i++) {
        bool first = cases[i].wins == 1;
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_TEXT(row.code, cases[i].code);
        CHECK_INT(row.status, first ? cases[i].first_status : cases[i].second_status);
        CHECK_INT(row.timestamp, first ? cases[i].first_time : cases[i].second_time);
        CHECK(!row.factors || row.factors[0] == cases[i].wins);
    }
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    destroy(&v);
    destroy(&w);
}

/* By its path one of the two vaults. */
static int open_pair(void **state, const facpool_sink_request *request,
                     facpool_sink_opening *opening, facpool_error *error)
{
    facpool_sink_request own = *request;
    own.user = request->path[0] == '1' ? &v : &w;
    return vault_open(state, &own, opening, error);
}

static const facpool_sink_type *type_of_pair(void)
{
    static facpool_sink_type type;
    type = vault_type;
    type.open = open_pair;
    return &type;
}

int main(void)
{
    RUN(a_reader_gives_the_rows_of_blocks_of_every_kind);
    RUN(rows_of_several_pages_and_blocks_come_in_key_order);
    RUN(blocks_that_cannot_match_are_not_read);
    RUN(refresh_sees_what_was_written_since);
    RUN(a_store_that_is_not_there_is_not_found);
    RUN(several_threads_read_one_snapshot);
    RUN(of_two_stores_ok_beats_not_ok_then_the_later_row);
    return TEST_END();
}
