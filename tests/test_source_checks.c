/* What is checked of a store of a user's own that is read (<facpool/sink.h>): whatever does not fit
 * what the store said of itself is found before anyone sees it, errors of its own reach whoever
 * asked, and a source that can't be is refused and freed. */
#include <facpool/sink.h>
#include <stdbool.h>

#include "test.h"

static facpool_error err = FACPOOL_ERROR_INIT;
static const char *const path = "the crooked store";

/* ------------------------------------------------------------------ a crooked source */

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

/* ------------------------------------------------------------------ what is found, where it is
 * read */

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

/* ------------------------------------------------------------------ row by row */

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

/* ------------------------------------------------------------------ sources that can not be */

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
    RUN(what_does_not_fit_the_blocks_entry_is_corrupt);
    RUN(a_read_of_the_wrong_form_stops_the_question);
    RUN(errors_of_read_reach_whoever_asked);
    RUN(messages_are_cut_and_mended);
    RUN(rows_may_be_given_one_by_one);
    RUN(an_odd_row_is_refused_when_it_is_added);
    RUN(a_source_that_can_not_be_is_refused_and_freed);
    return TEST_END();
}
