/* Proves which questions are answered without a copy, that their columns lie where the source has
 * them, what the others are told, and that skipped blocks are left out and still supersede. */
#include "query_helpers.h"

static void zero_copy_is_given_or_refused_with_the_reason(void)
{
    fake_source *decoded = grid_source("decoded.fpb", false);
    fake_source *mapped = grid_source("mapped.fpb", true);
    const char *codes[] = {"000001"};
    int64_t first = 5, last = 25, dates[] = {5, 7};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.require_zero_copy = 1;
    expect_refusal(mapped, &filter, FACPOOL_E_UNSUPPORTED, "column 'code' of 'mapped.fpb' (fake)");
    filter.columns = FACPOOL_COLUMN_DATE;
    expect_refusal(decoded, &filter, FACPOOL_E_UNSUPPORTED, "'decoded.fpb' (fake)");
    filter.codes = codes;
    filter.n_codes = 1;
    expect_refusal(mapped, &filter, FACPOOL_E_UNSUPPORTED, "picked by code");
    filter.codes = NULL;
    filter.n_codes = 0;
    filter.dates = dates;
    filter.n_dates = 2;
    expect_refusal(mapped, &filter, FACPOOL_E_UNSUPPORTED, "listed dates");
    filter.dates = NULL;
    filter.n_dates = 0;
    filter.copy = 1;
    expect_refusal(mapped, &filter, FACPOOL_E_INVALID, "filter.copy 1");
    filter.copy = 0;
    filter.order = FACPOOL_ORDER_KEY;
    expect_refusal(mapped, &filter, FACPOOL_E_UNSUPPORTED, "FACPOOL_ORDER_FILE");
    filter.order = FACPOOL_ORDER_FILE;
    filter.date_min = &first;
    filter.date_max = &last;
    facpool_cursor *cursor = ask(mapped, &filter);
    CHECK_INT(count_rows(cursor), 21 * CODES);
    facpool_cursor_free(cursor);
    release(decoded);
    release(mapped);
}

/* A run's own result lends its factors, and makes up its dates. */
static void a_column_that_is_not_lent_is_named(void)
{
    fake_source *fake = grid_source("some.fpb", true);
    fake->not_lent = FP_COLUMN_FACTOR + 1;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.require_zero_copy = 1;
    filter.columns = FACPOOL_COLUMN_DATE | FACPOOL_COLUMN_TIMESTAMP;
    expect_refusal(fake, &filter, FACPOOL_E_UNSUPPORTED, "column 'f1' of 'some.fpb' (fake)");
    fake->not_lent = FP_COLUMN_TIMESTAMP;
    expect_refusal(fake, &filter, FACPOOL_E_UNSUPPORTED, "column 'timestamp' of 'some.fpb'");
    filter.columns = FACPOOL_COLUMN_DATE;
    facpool_cursor *cursor = ask(fake, &filter);
    CHECK_INT(count_rows(cursor), DATES * CODES);
    CHECK_INT(stats_of(cursor).pages_read, 100);
    facpool_cursor_free(cursor);
    release(fake);
}

static void check_code(const facpool_batch_view *view, size_t row, const char *code)
{
    size_t length = (size_t)(view->code_offsets[row + 1] - view->code_offsets[row]);
    CHECK_INT(length, strlen(code));
    CHECK(memcmp(view->code_bytes + view->code_offsets[row], code, length) == 0);
}

/* From the middle of the first block to the middle of the third. */
static void zero_copy_gives_every_column_where_it_lies(void)
{
    fake_source *fake = grid_source("mapped.fpb", true);
    fake_source_keep_codes(fake);
    int64_t first = 5, last = 25;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.require_zero_copy = 1;
    filter.date_min = &first;
    filter.date_max = &last;
    facpool_cursor *cursor = ask(fake, &filter);
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    for (size_t block = 0; block < 3; block++) {
        size_t before = block == 0 ? 4 * CODES : 0;
        CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
        CHECK_INT(view.n_rows, block == 0 ? 6 * CODES : block == 1 ? 10 * CODES : 5 * CODES);
        CHECK(view.dates == (const int64_t *)fake_source_column(fake, block, 0) + before);
        CHECK(view.timestamps ==
              (const int64_t *)fake_source_column(fake, block, FP_COLUMN_TIMESTAMP) + before);
        CHECK(view.factors[1] ==
              (const double *)fake_source_column(fake, block, FP_COLUMN_FACTOR + 1) + before);
        CHECK(view.code_offsets == fake->blocks[block].code_offsets + before);
        CHECK(view.code_bytes == fake->blocks[block].code_bytes);
        CHECK(view.code_offsets[0] > 0);
        CHECK_INT(view.dates[0], block * 10 + (block ? 1 : 5));
        check_code(&view, 0, "000000");
        check_code(&view, view.n_rows - 1, "000049");
        CHECK_INT(view.statuses[view.n_rows - 1], FACPOOL_STATUS_OK);
    }
    CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 0);
    facpool_cursor_free(cursor);
    cursor = ask(fake, &filter);
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    CHECK_TEXT(row.code, "000000");
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    CHECK_TEXT(row.code, "000001");
    facpool_cursor_free(cursor);
    release(fake);
}

/* The rows behind a damaged page are no longer side by side with those before it. */
static void damage_parts_a_batch_that_may_not_be_copied(void)
{
    static const uint32_t columns[] = {FP_COLUMN_CODE, FP_COLUMN_FACTOR};
    for (int i = 0; i < 2; i++)
        for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
            fake_source *fake = fake_source_new("parted.fpb", 1, 20, true);
            fake_source_keep_codes(fake);
            fake_row rows[10 * CODES];
            for (int row = 0; row < 10 * CODES; row++)
                rows[row] = ok_row(row / CODES + 1, row % CODES);
            fake_source_add(fake, rows, 10 * CODES);
            fake_source_damage(fake, 0, columns[i], 0);
            fake_source_damage(fake, 0, columns[i], 10);
            fake_source_damage(fake, 0, columns[1 - i], 20);
            facpool_filter filter = FACPOOL_FILTER_INIT;
            filter.require_zero_copy = 1;
            filter.order = order;
            facpool_cursor *cursor = ask(fake, &filter);
            facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
            static const size_t begins[] = {20, 220, 420}, ends[] = {200, 400, 500};
            size_t n_batches = 0, n_reports = 0;
            int rc;
            while ((rc = facpool_cursor_next_batch(cursor, &view, &err)) != 0) {
                if (rc == FACPOOL_E_CORRUPT) {
                    CHECK(++n_reports < 10);
                    continue;
                }
                CHECK_OK(rc, err);
                CHECK(n_batches < 3);
                size_t begin = begins[n_batches], n = ends[n_batches] - begin;
                CHECK_INT(view.n_rows, n);
                CHECK(view.dates == (const int64_t *)fake_source_column(fake, 0, 0) + begin);
                CHECK(view.code_offsets == fake->blocks[0].code_offsets + begin);
                n_batches++;
            }
            CHECK_INT(n_batches, 3);
            CHECK(n_reports > 0);
            facpool_cursor_free(cursor);
            release(fake);
        }
}

static void a_copy_has_no_pointer_into_the_source(void)
{
    enum { N = 5000 };
    static fake_row rows[N];
    for (int i = 0; i < N; i++)
        rows[i] = ok_row(i, i % CODES);
    fake_source *fake = fake_source_new("copied.fpb", 1, 1000, true);
    fake_source_keep_codes(fake);
    fake_source_add(fake, rows, N);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.copy = 1;
    facpool_cursor *cursor = ask(fake, &filter);
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
    CHECK_INT(view.n_rows, N);
    check_code(&view, N - 1, code_names[(N - 1) % CODES]);
    CHECK(view.dates[N - 1] == N - 1);
    for (uint32_t column = 0; column < FAKE_COLUMNS; column++)
        CHECK(fake_source_column(fake, 0, column) == NULL);
    CHECK(fake->blocks[0].code_bytes == NULL);
    facpool_cursor_free(cursor);
    cursor = ask(fake, NULL); /* and without it, large stretches lie where they are */
    CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
    CHECK(view.dates == fake_source_column(fake, 0, FP_COLUMN_DATE));
    CHECK(view.code_bytes == fake->blocks[0].code_bytes);
    facpool_cursor_free(cursor);
    release(fake);
}

/* ------------------------------------------------------------------ following a file */

static void skipped_blocks_are_not_read(void)
{
    fake_source *fake = grid_source("grown.fpb", false);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = order;
        filter.skip_bytes = FAKE_PLACE(3);
        facpool_cursor *cursor = ask(fake, &filter);
        facpool_row row = FACPOOL_ROW_INIT;
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(row.date, 31);
        CHECK_INT(count_rows(cursor), 10 * CODES - 1);
        facpool_query_stats stats = stats_of(cursor);
        CHECK_INT(stats.blocks_total, 4);
        CHECK_INT(stats.blocks_read, 1);
        facpool_cursor_free(cursor);
        filter.skip_bytes = stats.end_bytes;
        cursor = ask(fake, &filter);
        CHECK_INT(count_rows(cursor), 0);
        facpool_cursor_free(cursor);
        filter.skip_bytes = UINT64_MAX;
        cursor = ask(fake, &filter);
        CHECK_INT(count_rows(cursor), 0);
        facpool_cursor_free(cursor);
    }
    release(fake);
}

static void skipped_blocks_still_supersede(void)
{
    fake_source *a = fake_source_new("a.fpb", 1, 4, false);
    fake_source *b = fake_source_new("b.fpb", 1, 4, false);
    add_one(a, 9, FACPOOL_STATUS_OK, 1, 9); /* a's first block, skipped */
    add_one(a, 1, FACPOOL_STATUS_OK, 10, -1);
    add_one(a, 2, FACPOOL_STATUS_OK, 30, 2);
    add_one(b, 1, FACPOOL_STATUS_OK, 20, 1); /* b's first, skipped: stands against a's */
    add_one(b, 2, FACPOOL_STATUS_OK, 20, -2);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = order;
        filter.skip_bytes = FAKE_PLACE(1);
        facpool_cursor *cursor = ask_two(a, b, &filter);
        facpool_row row = FACPOOL_ROW_INIT;
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(row.date, 2);
        CHECK(row.factors[0] == 2);
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
        facpool_cursor_free(cursor);
    }
    release(a);
    release(b);
}

int main(void)
{
    name_codes();
    RUN(zero_copy_is_given_or_refused_with_the_reason);
    RUN(a_column_that_is_not_lent_is_named);
    RUN(zero_copy_gives_every_column_where_it_lies);
    RUN(damage_parts_a_batch_that_may_not_be_copied);
    RUN(a_copy_has_no_pointer_into_the_source);
    RUN(skipped_blocks_are_not_read);
    RUN(skipped_blocks_still_supersede);
    return TEST_END();
}
