/* Proves what the model test can't see: how little a question reads, what it says when something is
 * damaged or can't be had, and that no key competes with more rows than it must. */
#include <math.h>
#include "query_helpers.h"

/* ------------------------------------------------------------------ pruning */

static void a_point_question_reads_one_page_of_one_block(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    const char *codes[] = {"000007"}, *factors[] = {"f1"};
    int64_t dates[] = {25};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.dates = dates;
    filter.n_dates = 1;
    filter.codes = codes;
    filter.n_codes = 1;
    filter.factors = factors;
    filter.n_factors = 1;
    facpool_cursor *cursor = ask(fake, &filter);
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    CHECK_INT(row.date, 25);
    CHECK_TEXT(row.code, "000007");
    CHECK_INT(row.status, FACPOOL_STATUS_OK);
    CHECK_TEXT(row.message, "");
    CHECK(row.factors[0] == -25.07);
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_query_stats stats = stats_of(cursor);
    CHECK_INT(stats.blocks_total, 4);
    CHECK_INT(stats.blocks_read, 1);
    CHECK_INT(stats.pages_total, 100);
    CHECK_INT(stats.pages_read, 1);
    CHECK_INT(stats.rows_matched, 1);
    CHECK_INT(fake->pages_read[FP_COLUMN_FACTOR], 0);
    CHECK_INT(fake->pages_read[FP_COLUMN_FACTOR + 1], 1);
    CHECK_INT(fake->pages_read[FP_COLUMN_STATUS], 0);
    facpool_cursor_free(cursor);
    release(fake);
}

static void a_key_between_pages_reads_none(void)
{
    fake_source *fake = fake_source_new("gap.fpb", 1, 2, false);
    fake_row rows[] = {ok_row(1, 0), ok_row(1, 1), ok_row(1, 8), ok_row(1, 9), ok_row(2, 5)};
    fake_source_add(fake, rows, 5);
    const char *codes[] = {"000005"};
    int64_t date = 1;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.date_max = &date;
    filter.codes = codes;
    filter.n_codes = 1;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), 0);
    CHECK_INT(stats_of(cursor).pages_read, 0);
    facpool_cursor_free(cursor);
    release(fake);
}

static void one_code_reads_the_pages_that_can_hold_it(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    const char *codes[] = {"000049"};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.codes = codes;
    filter.n_codes = 1;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), DATES);
    facpool_query_stats stats = stats_of(cursor);
    CHECK_INT(stats.blocks_read, 4);
    CHECK(stats.pages_read <= DATES);
    CHECK_INT(fake->pages_read[FP_COLUMN_FACTOR], DATES);
    facpool_cursor_free(cursor);
    release(fake);
}

static void factors_are_read_for_pages_with_a_match_alone(void)
{
    fake_source *fake = fake_source_new("sparse.fpb", 1, 4, false);
    fake_row rows[8];
    for (int i = 0; i < 8; i++)
        rows[i] = ok_row(1 + i / 2, i % 2 ? 9 : 1);
    rows[5].code = "000005"; /* makes it a code of the block that only the second page has */
    fake_source_add(fake, rows, 8);
    const char *codes[] = {"000005"};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.codes = codes;
    filter.n_codes = 1;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), 1);
    CHECK_INT(fake->pages_read[FP_COLUMN_CODE], 2); /* the directory can't tell */
    CHECK_INT(fake->pages_read[FP_COLUMN_FACTOR], 1);
    facpool_cursor_free(cursor);
    release(fake);
}

static void a_full_scan_reads_each_column_of_a_block_at_once(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    facpool_cursor *cursor = ask(fake, NULL);
    CHECK_INT(count_rows(cursor), DATES * CODES);
    /* date, code, timestamp, two factors; small blocks share a batch, pages are never read twice */
    CHECK_INT(fake->reads, 4 * 5);
    CHECK_INT(fake_source_pages_read(fake), 100 * 5);
    facpool_cursor_free(cursor);
    release(fake);
}

static void columns_that_are_not_asked_for_are_not_read(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    const char *factors[] = {"f0"};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.columns = FACPOOL_COLUMN_NONE;
    filter.factors = factors;
    filter.n_factors = 1;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), DATES * CODES);
    CHECK_INT(fake_source_pages_read(fake), 100);
    CHECK_INT(fake->pages_read[FP_COLUMN_FACTOR], 100);
    facpool_cursor_free(cursor);
    release(fake);
}

static void key_order_of_blocks_in_sequence_reads_hardly_more(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.order = FACPOOL_ORDER_KEY;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), DATES * CODES);
    CHECK_INT(fake->pages_read[FP_COLUMN_FACTOR], 100);
    CHECK(fake->reads <= 4 * 5 + 4 * 2);
    facpool_cursor_free(cursor);
    release(fake);
}

/* Two blocks whose rows take turns: a page is decoded once, also where batches part it. */
static void pages_that_batches_part_are_decoded_once(void)
{
    enum { N = 50000 };
    static fake_row rows[2][N];
    fake_source *fake = fake_source_new("turns.fpb", 1, 1024, false);
    for (int i = 0; i < N; i++)
        for (int b = 0; b < 2; b++)
            rows[b][i] = ok_row(i, b);
    fake_source_add(fake, rows[0], N);
    fake_source_add(fake, rows[1], N);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.order = FACPOOL_ORDER_KEY;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), 2 * N);
    CHECK_INT(fake->pages_read[FP_COLUMN_FACTOR], 2 * 49);
    facpool_cursor_free(cursor);
    release(fake);
}

static void failures_of_a_large_file_are_found_without_reading_it(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    fake_row failed[] = {failed_row(5, 3, 1, "superseded"), failed_row(99, 3, 1, "stands"),
                         failed_row(99, 3, 2, "stands, later")};
    fake_source_add(fake, failed, 3);
    for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        fake_source_forget(fake);
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.statuses = FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED);
        filter.order = order;
        facpool_cursor *cursor = ask(fake, &filter);
        facpool_row row = FACPOOL_ROW_INIT;
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(row.date, 99);
        CHECK_TEXT(row.message, "stands, later");
        CHECK_INT(row.failure_code, 7);
        CHECK(row.factors == NULL);
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
        CHECK_INT(stats_of(cursor).blocks_read, 2); /* its own, and the one around (5, 000003) */
        CHECK_INT(fake->pages_read[FP_COLUMN_FACTOR], 0);
        CHECK(fake->pages_read[FP_COLUMN_CODE] <= 3);
        facpool_cursor_free(cursor);
    }
    release(fake);
}

static void an_empty_list_matches_nothing(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    int64_t no_dates[1] = {0};
    const char *no_codes[1] = {NULL};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.dates = no_dates;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), 0);
    CHECK_INT(stats_of(cursor).blocks_read, 0);
    facpool_cursor_free(cursor);
    filter = (facpool_filter)FACPOOL_FILTER_INIT;
    filter.codes = no_codes;
    cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), 0);
    CHECK_INT(stats_of(cursor).bytes_read, 0);
    facpool_cursor_free(cursor);
    release(fake);
}

/* ------------------------------------------------------------------ rule 12 */

static double factor_of_key(fake_source *a, fake_source *b, int64_t date, int32_t order,
                            int *status)
{
    int64_t dates[] = {date};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.dates = dates;
    filter.n_dates = 1;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = order;
    facpool_cursor *cursor = ask_two(a, b, &filter);
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    double value = row.factors ? row.factors[0] : NAN;
    *status = row.status;
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_cursor_free(cursor);
    return value;
}

static void promise_12_across_files_ok_then_the_later_time_then_the_later_path(void)
{
    fake_source *a = fake_source_new("a.fpb", 1, 4, false);
    fake_source *b = fake_source_new("b.fpb", 1, 4, false);
    add_one(a, 1, FACPOOL_STATUS_OK, 10, 1); /* ok beats a later failure */
    add_one(b, 1, FACPOOL_STATUS_FAILED, 99, 0);
    add_one(a, 2, FACPOOL_STATUS_SKIPPED, 99, 0); /* and a later skip */
    add_one(b, 2, FACPOOL_STATUS_OK, 10, 2);
    add_one(a, 3, FACPOOL_STATUS_OK, 20, 3); /* the later of two ok rows */
    add_one(b, 3, FACPOOL_STATUS_OK, 10, -1);
    add_one(a, 4, FACPOOL_STATUS_OK, 10, -1); /* the later path at the same time */
    add_one(b, 4, FACPOOL_STATUS_OK, 10, 4);
    add_one(a, 5, FACPOOL_STATUS_TIMEOUT, 11, 0); /* the later of two failures */
    add_one(b, 5, FACPOOL_STATUS_FAILED, 10, 0);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        int status = 0;
        for (int date = 1; date <= 4; date++) {
            CHECK(factor_of_key(a, b, date, order, &status) == date);
            CHECK_INT(status, FACPOOL_STATUS_OK);
        }
        CHECK(isnan(factor_of_key(a, b, 5, order, &status)));
        CHECK_INT(status, FACPOOL_STATUS_TIMEOUT);
    }
    release(a);
    release(b);
}

static void files_of_different_dates_are_not_compared(void)
{
    fake_source *a = grid_source("a.fpb", false);
    fake_source *b = fake_source_new("b.fpb", 2, 4, false);
    fake_row later[] = {ok_row(50, 1), ok_row(51, 2)};
    fake_source_add(b, later, 2);
    facpool_cursor *cursor = ask_two(a, b, NULL);
    CHECK_INT(count_rows(cursor), DATES * CODES + 2);
    CHECK_INT(a->pages_read[FP_COLUMN_DATE], 100);
    CHECK_INT(a->reads, 4 * 5);
    facpool_cursor_free(cursor);
    release(a);
    release(b);
}

/* A run's own result: blocks in which ok and other rows mix, and tasks that were not run. */
static void mixed_blocks_are_told_apart_row_by_row(void)
{
    fake_source *fake = fake_source_new("the run's result", 1, 3, true);
    fake_row rows[6];
    for (int i = 0; i < 6; i++) {
        rows[i] = ok_row(1, i);
        rows[i].status = (uint8_t)i;
        rows[i].factors[0] = i;
    }
    fake_source_add(fake, rows, 6);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = order;
        facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
        facpool_cursor *cursor = ask(fake, &filter);
        CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
        CHECK_INT(view.n_rows, 1);
        CHECK(view.all_ok && view.factors[0][0] == 1);
        facpool_cursor_free(cursor);
        filter.statuses = FACPOOL_STATUS_ALL;
        cursor = ask(fake, &filter);
        CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
        CHECK_INT(view.n_rows, 5);
        CHECK(!view.all_ok);
        for (int i = 0; i < 5; i++) {
            CHECK_INT(view.statuses[i], i + 1);
            CHECK(i == 0 ? view.factors[0][i] == 1 : isnan(view.factors[0][i]));
        }
        CHECK_INT(stats_of(cursor).rows_matched, 5);
        facpool_cursor_free(cursor);
    }
    release(fake);
}

static void a_task_that_was_not_run_supersedes_nothing(void)
{
    fake_source *file = fake_source_new("file.fpb", 1, 4, false);
    fake_source *result = fake_source_new("the run's result", 1, 4, true);
    fake_row rows[] = {ok_row(1, 0), ok_row(1, 1)};
    rows[0].status = FACPOOL_STATUS_NONE;
    rows[0].timestamp = 99;
    fake_source_add(result, rows, 2);
    add_one(file, 1, FACPOOL_STATUS_TIMEOUT, 10, 0);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_BIT(FACPOOL_STATUS_TIMEOUT);
    facpool_cursor *cursor = ask_two(file, result, &filter);
    CHECK_INT(count_rows(cursor), 1);
    facpool_cursor_free(cursor);
    release(file);
    release(result);
}

/* ------------------------------------------------------------------ batches */

static void small_blocks_share_a_batch_and_large_ones_have_their_own(void)
{
    static fake_row rows[6000];
    fake_source *fake = fake_source_new("sizes.fpb", 1, 1024, true);
    for (int i = 0; i < 6000; i++)
        rows[i] = ok_row(i, 0);
    for (int i = 0; i < 3; i++)
        fake_source_add(fake, rows + i * 10, 10);
    fake_source_add(fake, rows + 100, 5000);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
    CHECK_INT(view.n_rows, 30);
    CHECK_INT(view.dates[29], 29);
    CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
    CHECK_INT(view.n_rows, 5000);
    CHECK_INT(view.dates[4999], 5099);
    CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 0);
    facpool_cursor_free(cursor);
    release(fake);
}

static void a_batch_never_has_more_than_65536_rows(void)
{
    static fake_row rows[FP_BLOCK_ROWS];
    fake_source *fake = fake_source_new("full.fpb", 1, 1024, false);
    for (int i = 0; i < FP_BLOCK_ROWS; i++)
        rows[i] = ok_row(i, 0);
    fake_source_add(fake, rows, 100);
    fake_source_add(fake, rows, FP_BLOCK_ROWS);
    int64_t first = 1; /* so that the large block is not taken as a whole */
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.date_min = &first;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_cursor *cursor = ask(fake, &filter);
    size_t n = 0;
    while (facpool_cursor_next_batch(cursor, &view, &err) == 1) {
        CHECK(view.n_rows <= FP_BLOCK_ROWS);
        for (size_t i = 0; i < view.n_rows; i++, n++) {
            int64_t date = n < 99 ? (int64_t)n + 1 : (int64_t)n - 98;
            CHECK_INT(view.dates[i], date);
            CHECK(view.factors[0][i] == (double)date);
        }
    }
    CHECK_INT(n, 99 + FP_BLOCK_ROWS - 1);
    facpool_cursor_free(cursor);
    release(fake);
}

/* Two thousand columns: a batch of 65,536 rows would take a gigabyte. */
static void many_columns_make_smaller_batches(void)
{
    enum { N = 9000, COLUMNS = 2000 };
    static fake_row rows[N];
    static const char *names[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        names[i] = "f0";
    for (int i = 0; i < N; i++)
        rows[i] = ok_row(i, 0);
    static const uint32_t page_sizes[] = {1024, N};
    for (int i = 0; i < 4; i++) {
        fake_source *fake = fake_source_new("wide.fpb", 1, page_sizes[i % 2], false);
        fake_source_add(fake, rows, N);
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.factors = names;
        filter.n_factors = COLUMNS;
        filter.order = i < 2 ? FACPOOL_ORDER_FILE : FACPOOL_ORDER_KEY;
        facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
        facpool_cursor *cursor = ask(fake, &filter);
        size_t n = 0;
        while (facpool_cursor_next_batch(cursor, &view, &err) == 1) {
            CHECK(view.n_rows * COLUMNS * sizeof(double) <= (size_t)64 << 20);
            CHECK(view.dates[0] == (int64_t)n && view.factors[COLUMNS - 1][0] == (double)n);
            n += view.n_rows;
            CHECK(view.factors[0][view.n_rows - 1] == (double)(n - 1));
        }
        CHECK_INT(n, N);
        facpool_cursor_free(cursor);
        release(fake);
    }
}

static void a_batch_begins_behind_the_last_row_given(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    facpool_cursor *cursor = ask(fake, NULL);
    facpool_row row = FACPOOL_ROW_INIT;
    for (int i = 0; i < 3; i++)
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
    CHECK_INT(view.n_rows, DATES * CODES - 3);
    CHECK_INT(view.dates[0], 1);
    CHECK(memcmp(view.code_bytes + view.code_offsets[0], "000003", 6) == 0);
    CHECK(view.factors[0][0] == 1.03);
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_cursor_free(cursor);
    release(fake);
}

/* ------------------------------------------------------------------ damage and errors */

static void damage_is_told_once_and_gone_past(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    fake_source_damage(fake, 1, FP_COLUMN_FACTOR, 4);
    fake_source_damage(fake, 2, FAKE_OPENING, 0);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = order;
        facpool_cursor *cursor = ask(fake, &filter);
        facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
        size_t n = 0, reports = 0, lost_reports = 0;
        int rc;
        while ((rc = facpool_cursor_next_batch(cursor, &view, &err)) != 0) {
            if (rc == 1) {
                n += view.n_rows;
                continue;
            }
            CHECK_INT(rc, FACPOOL_E_CORRUPT);
            CHECK(strstr(err.message, "grid.fpb"));
            bool lost = strstr(err.message, "offset 12288") != NULL;
            CHECK(lost || strstr(err.message, "offset 8192"));
            CHECK(strstr(err.message, lost ? "500 of its 500" : "20 of its 500"));
            CHECK(strstr(err.message, "fake damage"));
            reports++;
            lost_reports += lost;
        }
        CHECK_INT(reports, 2);
        CHECK_INT(lost_reports, 1);
        CHECK_INT(n, DATES * CODES - 500 - 20);
        CHECK_INT(stats_of(cursor).blocks_damaged, 2);
        facpool_cursor_free(cursor);
    }
    release(fake);
}

static void blocks_that_can_not_be_listed_are_told_of(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    fake->source.n_damaged = 3;
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = order;
        facpool_cursor *cursor = ask(fake, &filter);
        facpool_row row = FACPOOL_ROW_INIT;
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), FACPOOL_E_CORRUPT);
        CHECK(strstr(err.message, "grid.fpb") && strstr(err.message, "3 damaged"));
        CHECK_INT(count_rows(cursor), DATES * CODES);
        CHECK_INT(stats_of(cursor).blocks_damaged, 3);
        facpool_cursor_free(cursor);
    }
    release(fake);
}

static void damage_where_nothing_matches_is_not_met(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    fake_source_damage(fake, 3, FAKE_OPENING, 0);
    int64_t last = 10;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.date_max = &last;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), 10 * CODES);
    facpool_cursor_free(cursor);
    release(fake);
}

static void an_error_of_the_disk_ends_the_cursor(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    facpool_cursor *cursor = ask(fake, NULL);
    fake->failing = true;
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), FACPOOL_E_IO);
    fake->failing = false;
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), FACPOOL_E_IO);
    CHECK(strstr(err.message, "fake disk"));
    facpool_cursor_free(cursor);
    release(fake);
}

static void wrong_filters_are_refused_by_name(void)
{
    fake_source *fake = grid_source("grid.fpb", false);
    const char *unknown[] = {"f0", "alpha"};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.factors = unknown;
    filter.n_factors = 2;
    expect_refusal(fake, &filter, FACPOOL_E_NOT_FOUND, "'alpha' in 'grid.fpb': it has f0, f1");
    filter = (facpool_filter)FACPOOL_FILTER_INIT;
    filter.statuses = 64;
    expect_refusal(fake, &filter, FACPOOL_E_INVALID, "0x40");
    filter = (facpool_filter)FACPOOL_FILTER_INIT;
    filter.columns = FACPOOL_COLUMN_NONE | FACPOOL_COLUMN_DATE;
    expect_refusal(fake, &filter, FACPOOL_E_INVALID, "FACPOOL_COLUMN_NONE");
    filter = (facpool_filter)FACPOOL_FILTER_INIT;
    filter.order = 3;
    expect_refusal(fake, &filter, FACPOOL_E_INVALID, "order 3");
    filter = (facpool_filter)FACPOOL_FILTER_INIT;
    filter.n_codes = 1;
    expect_refusal(fake, &filter, FACPOOL_E_INVALID, "codes");
    filter = (facpool_filter)FACPOOL_FILTER_INIT;
    filter.size = sizeof filter + 8;
    CHECK(filter.size > sizeof filter);
    filter.size = 3;
    expect_refusal(fake, &filter, FACPOOL_E_ABI, "facpool_filter");
    release(fake);
}

/* In any order, and asked often enough to meet the time limit where each name is looked for among
 * all. */
static void very_many_factors_are_found_in_any_order(void)
{
    enum { FACTORS = 65535, TIMES = 20 };
    static const char *names[FACTORS + 1];
    fp_schema schema;
    CHECK_OK(fp_schema_init(&schema, FACTORS, NULL, NULL, &err), err);
    for (size_t i = 0; i < FACTORS; i++)
        names[i] = fp_texts_at(&schema.names, FACTORS - 1 - i);
    facpool_filter asked = FACPOOL_FILTER_INIT;
    asked.factors = names;
    asked.n_factors = FACTORS;
    fp_filter filter;
    for (int time = 0; time < TIMES; time++) {
        CHECK_OK(fp_filter_init(&filter, &asked, &schema, "wide.fpb", &err), err);
        CHECK_INT(filter.n_factors, FACTORS);
        for (uint32_t i = 0; i < FACTORS; i++)
            CHECK_INT(filter.factors[i], FACTORS - 1 - i);
        fp_filter_free(&filter);
    }
    names[FACTORS] = "alpha";
    asked.n_factors = FACTORS + 1;
    CHECK_INT(fp_filter_init(&filter, &asked, &schema, "wide.fpb", &err), FACPOOL_E_NOT_FOUND);
    CHECK(strstr(err.message, "'alpha' in 'wide.fpb': it has f0, f1, "));
    fp_schema_free(&schema);
}

static void null_handles_are_refused(void)
{
    facpool_row row = FACPOOL_ROW_INIT;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    CHECK_INT(facpool_cursor_next(NULL, &row, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_cursor_next_batch(NULL, &view, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_cursor_stats(NULL, &stats, &err), FACPOOL_E_INVALID);
    facpool_cursor_free(NULL);
}

int main(void)
{
    name_codes();
    RUN(a_point_question_reads_one_page_of_one_block);
    RUN(a_key_between_pages_reads_none);
    RUN(one_code_reads_the_pages_that_can_hold_it);
    RUN(factors_are_read_for_pages_with_a_match_alone);
    RUN(a_full_scan_reads_each_column_of_a_block_at_once);
    RUN(columns_that_are_not_asked_for_are_not_read);
    RUN(key_order_of_blocks_in_sequence_reads_hardly_more);
    RUN(pages_that_batches_part_are_decoded_once);
    RUN(failures_of_a_large_file_are_found_without_reading_it);
    RUN(an_empty_list_matches_nothing);
    RUN(promise_12_across_files_ok_then_the_later_time_then_the_later_path);
    RUN(files_of_different_dates_are_not_compared);
    RUN(mixed_blocks_are_told_apart_row_by_row);
    RUN(a_task_that_was_not_run_supersedes_nothing);
    RUN(small_blocks_share_a_batch_and_large_ones_have_their_own);
    RUN(a_batch_never_has_more_than_65536_rows);
    RUN(many_columns_make_smaller_batches);
    RUN(a_batch_begins_behind_the_last_row_given);
    RUN(damage_is_told_once_and_gone_past);
    RUN(blocks_that_can_not_be_listed_are_told_of);
    RUN(damage_where_nothing_matches_is_not_met);
    RUN(an_error_of_the_disk_ends_the_cursor);
    RUN(wrong_filters_are_refused_by_name);
    RUN(very_many_factors_are_found_in_any_order);
    RUN(null_handles_are_refused);
    return TEST_END();
}
