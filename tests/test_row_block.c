/* Blocks made of rows in memory: rows of every kind come back sorted, column by column and page by
 * page, and what does not fit the block's entry is CORRUPT. */
#include "model/batch.h"
#include "store/row_block.h"
#include "test.h"

#include <math.h>

static facpool_error err = FACPOOL_ERROR_INIT;

enum { N_FACTORS = 2, MOST_ROWS = 2500 };

/* A source with one block; only what row blocks look at. */
typedef struct world {
    fp_source source;
    fp_block block;
    char path[8];
} world;

static void make_world(world *w, uint32_t n_rows, bool all_ok, bool has_factors)
{
    static const char *const names[] = {"a", "b"};
    memset(w, 0, sizeof *w);
    CHECK_OK(fp_schema_init(&w->source.schema, N_FACTORS, names, NULL, &err), err);
    strcpy(w->path, "x");
    w->source.path = w->path;
    w->source.blocks = &w->block;
    w->source.n_blocks = 1;
    w->block = (fp_block){.n_rows = n_rows,
                          .n_pages = (n_rows + FP_PAGE_ROWS - 1) / FP_PAGE_ROWS,
                          .all_ok = all_ok,
                          .has_factors = has_factors,
                          .date_min = -10,
                          .date_max = MOST_ROWS,
                          .timestamp_min = INT64_MIN,
                          .timestamp_max = INT64_MAX,
                          .code_min = "c000",
                          .code_max = "c999"};
}

static void free_world(world *w)
{
    fp_schema_free(&w->source.schema);
}

/* Row i, in the order of keys: dates of 100 codes each. */
static int status_of(uint32_t i, bool mixed, bool all_ok)
{
    if (all_ok || (mixed && i % 3))
        return FACPOOL_STATUS_OK;
    return i % 2 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_SKIPPED;
}

static int add_row(fp_row_block *rows, uint32_t i, int status)
{
    char code[8], message[32];
    snprintf(code, sizeof code, "c%03u", (unsigned)(i % 100));
    snprintf(message, sizeof message, "message %u", (unsigned)i);
    double factors[N_FACTORS] = {(double)i, (double)i / 7};
    bool is_ok = status == FACPOOL_STATUS_OK;
    fp_row_values row = {.date = (int64_t)(i / 100) - 10,
                         .code = code,
                         .code_length = 4,
                         .timestamp = (int64_t)i * 1000 - 5,
                         .status = (uint8_t)status,
                         .failure_code = is_ok ? 0 : (int32_t)i - 50,
                         .message = status == FACPOOL_STATUS_FAILED ? message : NULL,
                         .message_length = strlen(message),
                         .factors = is_ok ? factors : NULL};
    return fp_row_block_add(rows, &row, &err);
}

/* The place of row k of a shuffled order: 7 and n have no common divisor. */
static uint32_t shuffled(uint32_t k, uint32_t n)
{
    return (uint32_t)((uint64_t)k * 7 % n);
}

static int open_rows(world *w, fp_open_block **out, bool mixed, bool shuffle)
{
    uint32_t n = w->block.n_rows;
    fp_row_block *rows;
    CHECK_OK(fp_row_block_new(&rows, &w->source, &w->block, &err), err);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = shuffle ? shuffled(k, n) : k;
        CHECK_OK(add_row(rows, i, status_of(i, mixed, w->block.all_ok)), err);
    }
    return fp_row_block_open(out, rows, &err);
}

static void count_statuses(world *w, bool mixed)
{
    memset(w->block.status_rows, 0, sizeof w->block.status_rows);
    for (uint32_t i = 0; i < w->block.n_rows; i++)
        w->block.status_rows[status_of(i, mixed, w->block.all_ok)]++;
}

static const void *column(fp_open_block *block, uint32_t which, uint32_t first, uint32_t n)
{
    const void *out = NULL;
    CHECK_OK(fp_row_block_read(block, NULL, which, first, n, NULL, &out, &err), err);
    return out;
}

static void check_messages(fp_open_block *block, uint32_t page, bool mixed)
{
    fp_texts messages = {0};
    CHECK_OK(fp_row_block_read_messages(block, NULL, page, &messages, &err), err);
    CHECK_INT(messages.n, block->pages[page].n_rows);
    for (uint32_t k = 0; k < messages.n; k++) {
        uint32_t i = block->pages[page].first_row + k;
        char expected[32] = "";
        if (status_of(i, mixed, false) == FACPOOL_STATUS_FAILED)
            snprintf(expected, sizeof expected, "message %u", (unsigned)i);
        CHECK_TEXT(fp_texts_at(&messages, k), expected);
    }
    fp_texts_free(&messages);
}

static void check_page(fp_open_block *block, uint32_t page, bool mixed)
{
    const fp_page *p = &block->pages[page];
    const fp_block *info = block->block;
    const int64_t *dates = column(block, FP_COLUMN_DATE, page, 1);
    const uint32_t *codes = column(block, FP_COLUMN_CODE, page, 1);
    const int64_t *timestamps = column(block, FP_COLUMN_TIMESTAMP, page, 1);
    const uint8_t *statuses = info->all_ok ? NULL : column(block, FP_COLUMN_STATUS, page, 1);
    const int32_t *failures = info->all_ok ? NULL : column(block, FP_COLUMN_FAILURE_CODE, page, 1);
    const double *b = info->has_factors ? column(block, FP_COLUMN_FACTOR + 1, page, 1) : NULL;
    for (uint32_t k = 0; k < p->n_rows; k++) {
        uint32_t i = p->first_row + k;
        int status = status_of(i, mixed, info->all_ok);
        CHECK_INT(dates[k], (int64_t)(i / 100) - 10);
        CHECK_INT(codes[k], i % 100);
        CHECK_INT(timestamps[k], (int64_t)i * 1000 - 5);
        if (statuses)
            CHECK_INT(statuses[k], status);
        if (failures)
            CHECK_INT(failures[k], status == FACPOOL_STATUS_OK ? 0 : (int32_t)i - 50);
        if (b && status == FACPOOL_STATUS_OK)
            CHECK(b[k] == (double)i / 7);
        if (b && status != FACPOOL_STATUS_OK)
            CHECK(isnan(b[k]));
        CHECK(codes[k] >= p->code_min && codes[k] <= p->code_max);
    }
    CHECK_INT(p->date_first, dates[0]);
    CHECK_INT(p->date_last, dates[p->n_rows - 1]);
    CHECK_INT(p->code_first, codes[0]);
    CHECK_INT(p->code_last, codes[p->n_rows - 1]);
    if (!info->all_ok)
        check_messages(block, page, mixed);
}

static void check_block(uint32_t n_rows, bool all_ok, bool mixed, bool shuffle)
{
    world w;
    make_world(&w, n_rows, all_ok, all_ok || mixed);
    count_statuses(&w, mixed);
    fp_open_block *block;
    CHECK_OK(open_rows(&w, &block, mixed, shuffle), err);
    CHECK_INT(block->codes->n, n_rows < 100 ? n_rows : 100);
    for (uint32_t page = 0; page < w.block.n_pages; page++)
        check_page(block, page, mixed);
    const void *out;
    CHECK_INT(
        fp_row_block_read(block, NULL, FP_COLUMN_DATE, 0, w.block.n_pages + 1, NULL, &out, &err),
        FACPOOL_E_INVALID);
    CHECK_INT(fp_row_block_read(block, NULL, FP_COLUMN_FACTOR + N_FACTORS, 0, 1, NULL, &out, &err),
              FACPOOL_E_INVALID);
    if (all_ok)
        CHECK_INT(fp_row_block_read(block, NULL, FP_COLUMN_STATUS, 0, 1, NULL, &out, &err),
                  FACPOOL_E_INVALID);
    fp_row_block_close(block);
    free_world(&w);
}

static void rows_of_every_kind_come_back_sorted(void)
{
    static const uint32_t sizes[] = {1, 2, 99, 1023, 1024, 1025, 2048, 2500};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int shuffle = 0; shuffle < 2; shuffle++) {
            check_block(sizes[s], true, false, shuffle);
            check_block(sizes[s], false, false, shuffle);
            check_block(sizes[s], false, true, shuffle);
        }
}

static void rows_of_one_key_keep_their_order(void)
{
    world w;
    make_world(&w, 3, false, false);
    w.block.status_rows[FACPOOL_STATUS_FAILED] = 3;
    fp_row_block *rows;
    CHECK_OK(fp_row_block_new(&rows, &w.source, &w.block, &err), err);
    static const int64_t dates[] = {5, 1, 1};
    for (int32_t i = 0; i < 3; i++) {
        fp_row_values row = {.date = dates[i],
                             .code = "c1",
                             .code_length = 2,
                             .status = FACPOOL_STATUS_FAILED,
                             .failure_code = i};
        CHECK_OK(fp_row_block_add(rows, &row, &err), err);
    }
    fp_open_block *block;
    CHECK_OK(fp_row_block_open(&block, rows, &err), err);
    const int32_t *failures = column(block, FP_COLUMN_FAILURE_CODE, 0, 1);
    CHECK_INT(failures[0], 1);
    CHECK_INT(failures[1], 2);
    CHECK_INT(failures[2], 0);
    fp_row_block_close(block);
    free_world(&w);
}

/* Opens 150 mixed rows under an entry that was tampered with. */
static int open_tampered(void (*tamper)(fp_block *block), bool all_ok, uint32_t n_added)
{
    world w;
    make_world(&w, 150, all_ok, true);
    count_statuses(&w, !all_ok);
    fp_row_block *rows;
    if (tamper)
        tamper(&w.block);
    CHECK_OK(fp_row_block_new(&rows, &w.source, &w.block, &err), err);
    for (uint32_t i = 0; i < n_added; i++)
        CHECK_OK(add_row(rows, i, status_of(i, true, false)), err);
    fp_open_block *block = NULL;
    int rc = fp_row_block_open(&block, rows, &err);
    if (!rc)
        fp_row_block_close(block);
    free_world(&w);
    return rc;
}

static void late_date(fp_block *block)
{
    block->date_min = -9;
}

static void early_date(fp_block *block)
{
    block->date_max = -10;
}

static void high_code(fp_block *block)
{
    block->code_min = "c001";
}

static void low_code(fp_block *block)
{
    block->code_max = "c098";
}

static void no_codes(fp_block *block)
{
    block->code_min = NULL;
    block->code_max = NULL;
}

static void late_timestamp(fp_block *block)
{
    block->timestamp_min = -4;
}

static void early_timestamp(fp_block *block)
{
    block->timestamp_max = 148994;
}

static void other_statuses(fp_block *block)
{
    block->status_rows[FACPOOL_STATUS_OK]--;
    block->status_rows[FACPOOL_STATUS_FAILED]++;
}

static void rows_that_do_not_fit_their_entry_are_corrupt(void)
{
    CHECK_OK(open_tampered(NULL, false, 150), err);
    CHECK_OK(open_tampered(no_codes, false, 150), err);
    CHECK_INT(open_tampered(NULL, false, 149), FACPOOL_E_CORRUPT);
    CHECK_INT(open_tampered(NULL, false, 151), FACPOOL_E_CORRUPT);
    CHECK_INT(open_tampered(NULL, false, 0), FACPOOL_E_CORRUPT);
    CHECK_INT(open_tampered(NULL, true, 150), FACPOOL_E_CORRUPT); /* not all are ok */
    static void (*const tampers[])(fp_block *) = {late_date,     early_date,     high_code,
                                                  low_code,      late_timestamp, early_timestamp,
                                                  other_statuses};
    for (size_t i = 0; i < sizeof tampers / sizeof *tampers; i++)
        CHECK_INT(open_tampered(tampers[i], false, 150), FACPOOL_E_CORRUPT);
}

int main(void)
{
    RUN(rows_of_every_kind_come_back_sorted);
    RUN(rows_of_one_key_keep_their_order);
    RUN(rows_that_do_not_fit_their_entry_are_corrupt);
    return TEST_END();
}
