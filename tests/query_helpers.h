/* A grid of rows as a fake source, and short ways to ask questions of it. Used by the tests of
 * cursors. */
#ifndef FP_TEST_QUERY_HELPERS_H
#define FP_TEST_QUERY_HELPERS_H

#include "fake_source.h"
#include "query/cursor.h"
#include "test.h"

#define DATES 40
#define CODES 50

static char code_names[CODES][16];
static facpool_error err = FACPOOL_ERROR_INIT;

static inline fake_row ok_row(int64_t date, int code)
{
    fake_row row = {.date = date, .code = code_names[code], .status = FACPOOL_STATUS_OK};
    row.timestamp = date * 1000 + code;
    row.factors[0] = (double)date + code / 100.0;
    row.factors[1] = -row.factors[0];
    return row;
}

static inline fake_row failed_row(int64_t date, int code, int64_t timestamp, const char *message)
{
    fake_row row = {.date = date, .code = code_names[code], .status = FACPOOL_STATUS_FAILED};
    row.timestamp = timestamp;
    row.failure_code = 7;
    row.message = message;
    return row;
}

/* Every date with every code, ten dates to a block of 500 rows, 20 rows to a page: 4 blocks of 25
 * pages. The dates are 1 .. 40. */
static inline fake_source *grid_source(const char *path, bool zero_copy)
{
    fake_source *fake = fake_source_new(path, 2, 20, zero_copy);
    fake_row rows[10 * CODES];
    for (int block = 0; block < DATES / 10; block++) {
        for (int i = 0; i < 10 * CODES; i++)
            rows[i] = ok_row(block * 10 + i / CODES + 1, i % CODES);
        fake_source_add(fake, rows, 10 * CODES);
    }
    return fake;
}

static inline facpool_cursor *ask(fake_source *fake, const facpool_filter *filter)
{
    facpool_cursor *cursor = NULL;
    fp_source *source = &fake->source;
    CHECK_OK(fp_cursor_open(&cursor, &source, 1, filter, &err), err);
    return cursor;
}

static inline facpool_cursor *ask_two(fake_source *a, fake_source *b, const facpool_filter *filter)
{
    facpool_cursor *cursor = NULL;
    fp_source *sources[] = {&a->source, &b->source};
    CHECK_OK(fp_cursor_open(&cursor, sources, 2, filter, &err), err);
    return cursor;
}

static inline size_t count_rows(facpool_cursor *cursor)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    size_t n = 0;
    int rc;
    while ((rc = facpool_cursor_next_batch(cursor, &view, &err)) == 1)
        n += view.n_rows;
    CHECK_OK(rc, err);
    return n;
}

static inline facpool_query_stats stats_of(facpool_cursor *cursor)
{
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    CHECK_OK(facpool_cursor_stats(cursor, &stats, &err), err);
    return stats;
}

static inline void release(fake_source *fake)
{
    CHECK_INT(fake->open, 0);
    fp_source_release(&fake->source);
}

static inline void name_codes(void)
{
    for (int i = 0; i < CODES; i++)
        snprintf(code_names[i], sizeof code_names[i], "%06d", i % 1000);
}

static inline void add_one(fake_source *fake, int64_t date, uint8_t status, int64_t timestamp,
                           double value)
{
    fake_row row = ok_row(date, 0);
    row.status = status;
    row.timestamp = timestamp;
    row.factors[0] = value;
    fake_source_add(fake, &row, 1);
}

static inline void expect_refusal(fake_source *fake, const facpool_filter *filter, int code,
                                  const char *part)
{
    facpool_cursor *cursor = NULL;
    fp_source *source = &fake->source;
    CHECK_INT(fp_cursor_open(&cursor, &source, 1, filter, &err), code);
    CHECK(cursor == NULL);
    if (!strstr(err.message, part))
        CHECK_TEXT(err.message, part);
}

#endif
