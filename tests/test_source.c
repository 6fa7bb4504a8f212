/* What a store of a user's own gives back (<facpool/sink.h>): questions over it are answered as
 * over any backup, only blocks that can match are read, and whatever does not fit what the store
 * said of itself is found before anyone sees it. */
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

/* ------------------------------------------------------------------ crooked sources */

/* A source of one block, five rows, of which the third has failed; then one thing is wrong. */
typedef struct crooked {
    facpool_source_options options;
    facpool_source_block block;
    facpool_rows rows;
    int64_t dates[6];
    const char *codes[6];
    int64_t timestamps[6];
    uint8_t statuses[6];
    double factors[6];
    const double *columns[1];
    const char *messages[6];
    const char *factor_name;
    int read_fails;
    const char *message;
    int n_reads, n_releases, n_freed;
} crooked;

static crooked bent;
static bool one_by_one; /* it gives its rows by facpool_source_add */

/* What one row points to is gone after each call. */
static int add_crooked(const crooked *c, facpool_rows *rows, facpool_error *error)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < c->rows.n; i++) {
        char *code = c->codes[i] ? strdup(c->codes[i]) : NULL;
        char *message = c->messages[i] ? strdup(c->messages[i]) : NULL;
        double *factor = malloc(sizeof *factor);
        *factor = c->factors[i];
        facpool_row row = FACPOOL_ROW_INIT;
        row.date = c->dates[i];
        row.code = code;
        row.timestamp = c->timestamps[i];
        row.status = c->rows.statuses ? c->statuses[i] : FACPOOL_STATUS_OK;
        row.message = message;
        row.n_factors = 1;
        row.factors = factor;
        rc = facpool_source_add(rows, &row, error);
        free(code);
        free(message);
        free(factor);
    }
    return rc;
}

static int crooked_read(void *state, size_t block, facpool_rows *rows, facpool_error *error)
{
    crooked *c = state;
    (void)block;
    c->n_reads++;
    if (c->read_fails)
        return c->message ? facpool_sink_fail(error, c->read_fails, "%s", c->message)
                          : c->read_fails;
    if (one_by_one)
        return add_crooked(c, rows, error);
    *rows = c->rows;
    return 0;
}

static void crooked_release(void *state, size_t block, facpool_rows *rows)
{
    crooked *c = state;
    (void)block;
    c->n_releases += rows->dates == c->rows.dates;
}

static void crooked_free(void *state)
{
    ((crooked *)state)->n_freed++;
}

static void make_crooked(void)
{
    crooked *c = &bent;
    static const char *const codes[] = {"a", "b", "c", "a", "b", "c"};
    *c = (crooked){.factor_name = "f"};
    c->options = (facpool_source_options)FACPOOL_SOURCE_OPTIONS_INIT;
    c->rows = (facpool_rows)FACPOOL_ROWS_INIT;
    for (int i = 0; i < 6; i++) {
        c->dates[i] = 10 + i / 3;
        c->codes[i] = codes[i];
        c->timestamps[i] = i;
        c->statuses[i] = i == 2 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
        c->factors[i] = i;
    }
    c->block = (facpool_source_block){
        .n_rows = 5, .date_min = 10, .date_max = 11, .code_min = "a", .code_max = "c"};
    c->block.status_rows[FACPOOL_STATUS_OK] = 4;
    c->block.status_rows[FACPOOL_STATUS_FAILED] = 1;
    c->rows.n = 5;
    c->rows.dates = c->dates;
    c->rows.codes = c->codes;
    c->rows.timestamps = c->timestamps;
    c->rows.statuses = c->statuses;
    c->rows.factors = c->factors;
    c->columns[0] = c->factors;
    c->options.name = "crooked";
    c->options.n_factors = 1;
    c->options.factor_names = &c->factor_name;
    c->options.n_blocks = 1;
    c->options.blocks = &c->block;
    c->options.read = crooked_read;
    c->options.release = crooked_release;
    c->options.free = crooked_free;
    c->options.state = c;
}

static int crooked_open(void **state, const facpool_sink_request *request,
                        facpool_sink_opening *opening, facpool_error *error)
{
    (void)opening, (void)error;
    *state = request->user;
    return 0;
}

static int crooked_close(void *state, facpool_error *error)
{
    (void)state, (void)error;
    return 0;
}

static int crooked_scan(void *state, facpool_source *previous, facpool_source **out,
                        facpool_error *error)
{
    (void)previous;
    return facpool_source_new(out, &((crooked *)state)->options, error);
}

/* A store that is only read needs no more than this. */
static const facpool_sink_type crooked_type = {.size = sizeof(facpool_sink_type),
                                               .name = "crooked",
                                               .open = crooked_open,
                                               .close = crooked_close,
                                               .scan = crooked_scan};

/* Opens and asks; the first error, or how many rows came. */
static int ask_crooked(void)
{
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    int n = 0;
    err = (facpool_error)FACPOOL_ERROR_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    int rc = facpool_reader_from_source(&reader, &crooked_type, &bent, &path, 1, &err);
    if (!rc)
        rc = facpool_query(reader, &filter, &cursor, &err);
    while (!rc && (rc = facpool_cursor_next(cursor, &row, &err)) == 1) {
        n++;
        rc = 0;
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return rc ? rc : n;
}

/* What bent is made to be gives this error, in words that hold all of these. */
static void check_bent(int code, const char *words, const char *more)
{
    int rc = ask_crooked();
    if (rc != code || !strstr(err.message, words) || !strstr(err.message, more))
        printf("  %d: %s\n", rc, err.message);
    CHECK_INT(rc, code);
    CHECK_INT(err.code, code);
    CHECK(strstr(err.message, words));
    CHECK(strstr(err.message, more));
    CHECK_INT(bent.n_freed, 1);
    if (!one_by_one) /* else a read may fail because a row was refused */
        CHECK_INT(bent.n_releases, bent.read_fails ? 0 : bent.n_reads);
    make_crooked();
}

static void what_does_not_fit_the_blocks_entry_is_corrupt(void)
{
    static char long_code[300];
    memset(long_code, 'x', sizeof long_code - 1);
    make_crooked();
    CHECK_INT(ask_crooked(), 5);
    CHECK_INT(bent.n_releases, one_by_one ? 0 : bent.n_reads);
    make_crooked();
    bent.block.code_min = bent.block.code_max = NULL; /* then any code is in range */
    bent.codes[0] = "\x01";
    bent.codes[4] = "\xf4\x8f\xbf\xbf";
    CHECK_INT(ask_crooked(), 5);
    make_crooked();
    bent.rows.n = 4;
    check_bent(FACPOOL_E_CORRUPT, "store 'crooked', block 0", "4 rows, where 5 were announced");
    bent.rows.n = 6;
    check_bent(FACPOOL_E_CORRUPT, "store 'crooked', block 0", "6 rows");
    bent.dates[1] = 9;
    check_bent(FACPOOL_E_CORRUPT, "block 0: row 1 has date 9", "outside of 10 to 11");
    bent.dates[1] = 12;
    check_bent(FACPOOL_E_CORRUPT, "block 0: row 1 has date 12", "outside of 10 to 11");
    bent.codes[4] = "d";
    check_bent(FACPOOL_E_CORRUPT, "row 4 has code 'd'", "outside of 'a' to 'c'");
    bent.codes[4] = "A";
    check_bent(FACPOOL_E_CORRUPT, "row 4 has code 'A'", "outside of 'a' to 'c'");
    bent.codes[0] = NULL;
    check_bent(FACPOOL_E_CORRUPT, "row 0", "NULL");
    bent.codes[0] = "";
    check_bent(FACPOOL_E_CORRUPT, "row 0", "empty");
    bent.codes[0] = "a\xff";
    check_bent(FACPOOL_E_CORRUPT, "row 0", "not valid UTF-8");
    bent.codes[0] = long_code;
    check_bent(FACPOOL_E_CORRUPT, "row 0", "longer than 255 bytes");
    bent.statuses[3] = 6;
    check_bent(FACPOOL_E_CORRUPT, "row 3 has status 6", "block 0");
    bent.statuses[3] = 0;
    check_bent(FACPOOL_E_CORRUPT, "row 3 has status 0", "block 0");
    bent.statuses[3] = FACPOOL_STATUS_FAILED;
    check_bent(FACPOOL_E_CORRUPT, "3 rows are ok, where 4 were announced", "block 0");
    bent.rows.statuses = NULL;
    check_bent(FACPOOL_E_CORRUPT, "5 rows are ok, where 4 were announced", "block 0");
    bent.dates[3] = 10; /* 'a' again */
    check_bent(FACPOOL_E_CORRUPT, "(10, 'a') is in it twice", "block 0");
    bent.block.status_rows[FACPOOL_STATUS_OK] = 0;
    bent.block.status_rows[FACPOOL_STATUS_FAILED] = 5;
    bent.rows.factors = NULL; /* as no row should have any */
    check_bent(FACPOOL_E_CORRUPT, "4 rows are ok, where 0 were announced", "block 0");
}

static void a_read_of_the_wrong_form_stops_the_question(void)
{
    make_crooked();
    bent.rows.dates = NULL;
    int rc = ask_crooked();
    CHECK_INT(rc, FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "no dates"));
    make_crooked();
    bent.rows.codes = NULL;
    check_bent(FACPOOL_E_INVALID, "'crooked' read block 0", "no codes");
    bent.rows.timestamps = NULL;
    check_bent(FACPOOL_E_INVALID, "'crooked' read block 0", "no timestamps");
    bent.rows.factors = NULL;
    check_bent(FACPOOL_E_INVALID, "'crooked' read block 0", "no factors");
    bent.rows.factors = NULL;
    bent.rows.factor_columns = bent.columns;
    CHECK_INT(ask_crooked(), 5);
    bent.n_freed = 0;
    bent.columns[0] = NULL;
    bent.n_reads = bent.n_releases = 0;
    check_bent(FACPOOL_E_INVALID, "'crooked' read block 0", "a factor column that is NULL");
    bent.rows.size = 0;
    check_bent(FACPOOL_E_ABI, "facpool_rows", "size 0");
}

static void errors_of_read_reach_whoever_asked(void)
{
    make_crooked();
    bent.read_fails = FACPOOL_E_IO;
    bent.message = "the disk is gone";
    check_bent(FACPOOL_E_IO, "the disk is gone", "");
    bent.read_fails = FACPOOL_E_IO;
    check_bent(FACPOOL_E_IO, "'crooked' could not read block 0", "FACPOOL_E_IO");
    bent.read_fails = 3;
    check_bent(FACPOOL_E_IO, "'crooked' read block 0", "returned 3");
    bent.read_fails = -1000;
    check_bent(FACPOOL_E_IO, "'crooked' read block 0", "returned -1000");
    bent.read_fails = FACPOOL_E_CORRUPT;
    bent.message = "bad sectors";
    check_bent(FACPOOL_E_CORRUPT, "bad sectors", "left out");
}

static void messages_are_cut_and_mended(void)
{
    static char longer[20000];
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    memset(longer, 'm', sizeof longer - 1);
    longer[0] = '\xff';
    make_crooked();
    bent.messages[2] = longer;
    bent.messages[3] = "ok rows have none";
    bent.rows.messages = bent.messages;
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_reader_from_source(&reader, &crooked_type, &bent, &path, 1, &err), err);
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(strlen(row.message), i == 2 ? 16384 : 0);
        if (i == 2)
            CHECK(row.message[0] == '?' && row.message[16383] == 'm');
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
}

static void rows_may_be_given_one_by_one(void)
{
    one_by_one = true;
    what_does_not_fit_the_blocks_entry_is_corrupt();
    messages_are_cut_and_mended();
    one_by_one = false;
}

/* Adds the crooked rows, one of them as `state` has it. */
typedef struct odd_row {
    size_t at;
    facpool_row row;
    bool goes_on; /* whatever facpool_source_add says */
    int n_refused;
} odd_row;

static int odd_read(void *state, size_t block, facpool_rows *rows, facpool_error *error)
{
    odd_row *odd = state;
    int rc = 0;
    (void)block;
    for (size_t i = 0; !rc && i < 5; i++) {
        facpool_row row = odd->row;
        if (i != odd->at) {
            row = (facpool_row)FACPOOL_ROW_INIT;
            row.date = bent.dates[i];
            row.code = bent.codes[i];
            row.status = bent.statuses[i];
            row.n_factors = row.status == FACPOOL_STATUS_OK ? 1 : 0;
            row.factors = row.n_factors ? &bent.factors[i] : NULL;
        }
        rc = facpool_source_add(rows, &row, error);
        odd->n_refused += rc != 0;
        rc = odd->goes_on ? 0 : rc;
    }
    return rc;
}

static odd_row make_odd(size_t at)
{
    make_crooked();
    odd_row odd = {.at = at, .row = FACPOOL_ROW_INIT};
    odd.row.date = bent.dates[at];
    odd.row.code = bent.codes[at];
    odd.row.status = bent.statuses[at];
    odd.row.n_factors = 1;
    odd.row.factors = &bent.factors[at];
    bent.options.read = odd_read;
    bent.options.release = NULL;
    bent.options.free = NULL;
    return odd;
}

static void check_odd(odd_row *odd, int code, const char *words)
{
    bent.options.state = odd;
    CHECK_INT(ask_crooked(), code);
    CHECK(code > 0 || strstr(err.message, words));
    CHECK(code > 0 || odd->n_refused > 0);
}

static void an_odd_row_is_refused_when_it_is_added(void)
{
    odd_row odd = make_odd(1);
    check_odd(&odd, 5, "");
    odd.row.factors = NULL;
    check_odd(&odd, FACPOOL_E_INVALID, "with 0 factors, where its source has 1");
    odd = make_odd(1);
    odd.row.n_factors = 2;
    check_odd(&odd, FACPOOL_E_INVALID, "with 2 factors, where its source has 1");
    odd = make_odd(1);
    odd.row.status = 257; /* 1, if it were cut */
    check_odd(&odd, FACPOOL_E_CORRUPT, "row 1 has status 257");
    odd = make_odd(1);
    odd.row.status = -1;
    check_odd(&odd, FACPOOL_E_CORRUPT, "row 1 has status -1");
    odd = make_odd(3);
    odd.row.size = 3;
    check_odd(&odd, FACPOOL_E_ABI, "size 3");
    odd = make_odd(4);
    odd.row.date = 99;
    odd.goes_on = true;
    check_odd(&odd, FACPOOL_E_CORRUPT, "4 rows, where 5 were announced");
    odd = make_odd(0);
    odd.row.code = NULL;
    check_odd(&odd, FACPOOL_E_CORRUPT, "row 0: code is NULL");
}

static void a_source_that_can_not_be_is_refused_and_freed(void)
{
    static char long_code[300];
    memset(long_code, 'x', sizeof long_code - 1);
    static struct {
        facpool_source_options options;
        size_t newer;
    } longer;
    facpool_source *source = NULL;
    make_crooked();
    bent.options.name = "";
    check_bent(FACPOOL_E_INVALID, "name", "");
    bent.options.read = NULL;
    check_bent(FACPOOL_E_INVALID, "no read", "");
    bent.options.factor_names = NULL;
    check_bent(FACPOOL_E_INVALID, "factor_names", "");
    bent.factor_name = "date";
    check_bent(FACPOOL_E_INVALID, "'date'", "");
    bent.options.n_factors = 0;
    check_bent(FACPOOL_E_INVALID, "n_factors", "");
    bent.options.blocks = NULL;
    check_bent(FACPOOL_E_INVALID, "1 blocks", "");
    bent.options.n_blocks = SIZE_MAX / 2;
    check_bent(FACPOOL_E_NOMEM, "memory", "");
    bent.block.n_rows = 0;
    check_bent(FACPOOL_E_INVALID, "block 0 has 0 rows", "");
    bent.block.n_rows = 65537;
    bent.block.status_rows[FACPOOL_STATUS_OK] = 65536;
    check_bent(FACPOOL_E_INVALID, "block 0 has 65537 rows", "");
    bent.block.status_rows[FACPOOL_STATUS_OK] = 3;
    check_bent(FACPOOL_E_INVALID, "add up to 4", "");
    bent.block.status_rows[FACPOOL_STATUS_OK] = 3;
    bent.block.status_rows[FACPOOL_STATUS_NONE] = 1;
    check_bent(FACPOOL_E_INVALID, "none 1", "");
    bent.block.date_min = 12;
    check_bent(FACPOOL_E_INVALID, "from 12 to 11", "");
    bent.block.code_min = "d";
    check_bent(FACPOOL_E_INVALID, "from 'd' to 'c'", "");
    bent.block.code_max = long_code;
    check_bent(FACPOOL_E_INVALID, "code_max", "255");
    CHECK_INT(facpool_source_new(NULL, &bent.options, &err), FACPOOL_E_INVALID);
    CHECK_INT(bent.n_freed, 1);
    longer.options = bent.options;
    longer.options.size = sizeof longer;
    longer.newer = 1;
    CHECK_INT(facpool_source_new(&source, &longer.options, &err), FACPOOL_E_ABI);
    CHECK_INT(bent.n_freed, 2);
    CHECK_INT(facpool_source_new(&source, NULL, &err), FACPOOL_E_INVALID);
    longer.newer = 0;
    CHECK_OK(facpool_source_new(&source, &longer.options, &err), err);
    CHECK_INT(bent.n_freed, 2);
    facpool_source_free(source);
    CHECK_INT(bent.n_freed, 3);
    facpool_source_free(NULL);
    make_crooked();
    bent.options.free = NULL;
    bent.options.release = NULL;
    bent.options.n_blocks = 0;
    bent.options.blocks = NULL;
    CHECK_INT(ask_crooked(), 0);
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
    RUN(what_does_not_fit_the_blocks_entry_is_corrupt);
    RUN(a_read_of_the_wrong_form_stops_the_question);
    RUN(errors_of_read_reach_whoever_asked);
    RUN(messages_are_cut_and_mended);
    RUN(rows_may_be_given_one_by_one);
    RUN(an_odd_row_is_refused_when_it_is_added);
    RUN(a_source_that_can_not_be_is_refused_and_freed);
    return TEST_END();
}
