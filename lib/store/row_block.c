/* An opened block made of rows in memory: see row_block.h. Called by stores that read whole rows,
 * which have checked every row's parts; what a block's entry says of its rows is checked here. It
 * reads no file. */
#include "store/row_block.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "model/codes.h"

/* Columns of block->n_rows rows, in one piece of memory with the pages that end it. */
struct fp_row_block {
    fp_open_block base;
    size_t n_rows;     /* added so far; those beyond the block's own are only counted */
    bool has_odd_rows; /* that are not ok, where all are said to be */
    int64_t *dates;
    int64_t *timestamps;
    uint32_t *code_ids; /* into interned; once opened, into sorted_codes */
    uint8_t *statuses;  /* not where all are ok, as the next two */
    int32_t *failure_codes;
    fp_texts messages;
    double *factors; /* column by column; NULL where no row has any */
    fp_codes interned;
    fp_texts sorted_codes;
    fp_page *pages;
};

static const fp_block *block_of(const fp_row_block *rows)
{
    return rows->base.block;
}

static size_t n_factors_of(const fp_row_block *rows)
{
    return block_of(rows)->has_factors ? rows->base.source->schema.names.n : 0;
}

/* ------------------------------------------------------------------ filling */

static bool make_columns(fp_row_block *rows)
{
    const fp_block *block = block_of(rows);
    size_t n = block->n_rows;
    rows->dates = fp_alloc_zero(NULL, n, sizeof *rows->dates);
    rows->timestamps = fp_alloc_zero(NULL, n, sizeof *rows->timestamps);
    rows->code_ids = fp_alloc_zero(NULL, n, sizeof *rows->code_ids);
    rows->pages = fp_alloc_zero(NULL, n / FP_PAGE_ROWS + 1, sizeof *rows->pages);
    bool made = rows->dates && rows->timestamps && rows->code_ids && rows->pages;
    if (!block->all_ok) {
        rows->statuses = fp_alloc_zero(NULL, n, sizeof *rows->statuses);
        rows->failure_codes = fp_alloc_zero(NULL, n, sizeof *rows->failure_codes);
        made = made && rows->statuses && rows->failure_codes;
    }
    if (block->has_factors) {
        rows->factors = fp_alloc_zero(NULL, n, n_factors_of(rows) * sizeof *rows->factors);
        made = made && rows->factors;
    }
    return made;
}

int fp_row_block_new(fp_row_block **out, const fp_source *source, const fp_block *block,
                     facpool_error *err)
{
    fp_row_block *rows = fp_alloc_zero(NULL, 1, sizeof *rows);
    if (!rows)
        return fp_fail_nomem(err, sizeof *rows);
    rows->base = (fp_open_block){.source = source, .block = block, .codes = &rows->sorted_codes};
    fp_codes_init(&rows->interned, NULL);
    if (!make_columns(rows)) {
        size_t bytes = block->n_rows * (n_factors_of(rows) + 4) * sizeof(double);
        fp_row_block_free(rows);
        return fp_fail_nomem(err, bytes);
    }
    rows->base.pages = rows->pages;
    *out = rows;
    return 0;
}

void fp_row_block_free(fp_row_block *rows)
{
    if (!rows)
        return;
    fp_free(NULL, rows->dates);
    fp_free(NULL, rows->timestamps);
    fp_free(NULL, rows->code_ids);
    fp_free(NULL, rows->statuses);
    fp_free(NULL, rows->failure_codes);
    fp_texts_free(&rows->messages);
    fp_free(NULL, rows->factors);
    fp_codes_free(&rows->interned);
    fp_texts_free(&rows->sorted_codes);
    fp_free(NULL, rows->pages);
    fp_free(NULL, rows);
}

/* Rows that are not ok have NaN among the factors of others. */
static void put_factors(fp_row_block *rows, size_t at, const fp_row_values *row)
{
    size_t n = n_factors_of(rows), stride = block_of(rows)->n_rows;
    bool has_values = row->status == FACPOOL_STATUS_OK;
    double *to = rows->factors + at;
    for (size_t k = 0; k < n; k++, to += stride)
        *to = has_values ? row->factors[k] : NAN;
}

int fp_row_block_add(fp_row_block *rows, const fp_row_values *row, facpool_error *err)
{
    size_t at = rows->n_rows;
    if (at >= block_of(rows)->n_rows) {
        rows->n_rows++; /* opening says that they are too many */
        return 0;
    }
    if (fp_codes_intern(&rows->interned, row->code, row->code_length, &rows->code_ids[at]))
        return fp_fail_nomem(err, row->code_length + 1);
    if (rows->statuses) {
        const char *message = row->message ? row->message : "";
        size_t length = row->message ? row->message_length : 0;
        if (fp_texts_add(&rows->messages, message, length))
            return fp_fail_nomem(err, length + 1);
        rows->statuses[at] = row->status;
        rows->failure_codes[at] = row->failure_code;
    } else {
        rows->has_odd_rows |= row->status != FACPOOL_STATUS_OK;
    }
    rows->dates[at] = row->date;
    rows->timestamps[at] = row->timestamp;
    if (rows->factors)
        put_factors(rows, at, row);
    rows->n_rows++;
    return 0;
}

/* ------------------------------------------------------------------ checking */

static int damaged(const fp_row_block *rows, const char *what, facpool_error *err)
{
    const fp_block *block = block_of(rows);
    return fp_fail(err, FACPOOL_E_CORRUPT,
                   "'%s': block %zu (%u rows) is damaged: %s other than its entry says",
                   rows->base.source->path, (size_t)(block - rows->base.source->blocks),
                   (unsigned)block->n_rows, what);
}

/* Cursors skip blocks by their ranges: a row outside of them would be there or not, depending on
 * the question. */
static bool codes_are_in_range(const fp_row_block *rows)
{
    const fp_block *block = block_of(rows);
    const fp_texts *codes = &rows->sorted_codes;
    return (!block->code_min || strcmp(block->code_min, fp_texts_at(codes, 0)) <= 0) &&
           (!block->code_max || strcmp(fp_texts_at(codes, codes->n - 1), block->code_max) <= 0);
}

static bool numbers_are_in_range(const fp_row_block *rows)
{
    const fp_block *block = block_of(rows);
    bool inside = true;
    for (size_t i = 0; i < rows->n_rows; i++) {
        inside &= block->date_min <= rows->dates[i] && rows->dates[i] <= block->date_max;
        inside &= block->timestamp_min <= rows->timestamps[i] &&
                  rows->timestamps[i] <= block->timestamp_max;
    }
    return inside;
}

static bool statuses_are_as_counted(const fp_row_block *rows)
{
    const fp_block *block = block_of(rows);
    if (!rows->statuses)
        return !rows->has_odd_rows;
    uint32_t counts[6] = {0};
    for (size_t i = 0; i < rows->n_rows; i++)
        if (rows->statuses[i] < 6)
            counts[rows->statuses[i]]++;
    return memcmp(counts, block->status_rows, sizeof counts) == 0;
}

static int check_entry(const fp_row_block *rows, facpool_error *err)
{
    if (!numbers_are_in_range(rows))
        return damaged(rows, "dates or timestamps are", err);
    if (!codes_are_in_range(rows))
        return damaged(rows, "codes are", err);
    if (!statuses_are_as_counted(rows))
        return damaged(rows, "statuses are", err);
    return 0;
}

/* ------------------------------------------------------------------ sorting */

/* The distinct codes in byte order; the rows' code numbers become places in it. */
static int number_codes(fp_row_block *rows, facpool_error *err)
{
    fp_codes *interned = &rows->interned;
    size_t n = interned->texts.n;
    uint32_t *by_rank = fp_alloc_zero(NULL, n, sizeof *by_rank);
    if (!by_rank || fp_codes_rank(interned) ||
        fp_texts_reserve(&rows->sorted_codes, n, interned->texts.offsets[n])) {
        fp_free(NULL, by_rank);
        return fp_fail_nomem(err, n * sizeof *by_rank);
    }
    for (size_t id = 0; id < n; id++)
        by_rank[interned->rank[id]] = (uint32_t)id;
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = fp_texts_add(&rows->sorted_codes, fp_texts_at(&interned->texts, by_rank[i]),
                          fp_texts_length(&interned->texts, by_rank[i]));
    fp_free(NULL, by_rank);
    if (rc)
        return fp_fail_nomem(err, interned->texts.offsets[n]);
    for (size_t i = 0; i < rows->n_rows; i++)
        rows->code_ids[i] = interned->rank[rows->code_ids[i]];
    return 0;
}

/* A row while it is sorted. */
typedef struct sort_key {
    int64_t date;
    uint32_t code;
    uint32_t row;
} sort_key;

static int compare_keys(const void *left, const void *right)
{
    const sort_key *a = left, *b = right;
    if (a->date != b->date)
        return a->date < b->date ? -1 : 1;
    if (a->code != b->code)
        return a->code < b->code ? -1 : 1;
    return a->row < b->row ? -1 : 1; /* equal keys keep their order */
}

static bool is_sorted(const fp_row_block *rows)
{
    for (size_t i = 1; i < rows->n_rows; i++) {
        if (rows->dates[i] < rows->dates[i - 1] ||
            (rows->dates[i] == rows->dates[i - 1] && rows->code_ids[i] < rows->code_ids[i - 1]))
            return false;
    }
    return true;
}

/* column[i] = column[keys[i].row], for entries of `each` bytes. */
static void reorder(void *column, size_t each, const sort_key *keys, size_t n, void *scratch)
{
    if (!column)
        return;
    const char *from = column;
    char *to = scratch;
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * each, from + keys[i].row * each, each);
    memcpy(column, scratch, n * each);
}

static int reorder_messages(fp_row_block *rows, const sort_key *keys, facpool_error *err)
{
    fp_texts sorted = {0};
    for (size_t i = 0; i < rows->n_rows; i++) {
        uint32_t row = keys[i].row;
        if (fp_texts_add(&sorted, fp_texts_at(&rows->messages, row),
                         fp_texts_length(&rows->messages, row))) {
            fp_texts_free(&sorted);
            return fp_fail_nomem(err, rows->messages.offsets[rows->n_rows]);
        }
    }
    fp_texts_free(&rows->messages);
    rows->messages = sorted;
    return 0;
}

static int sort_rows(fp_row_block *rows, facpool_error *err)
{
    if (is_sorted(rows))
        return 0;
    size_t n = rows->n_rows;
    sort_key *keys = fp_alloc_zero(NULL, n, sizeof *keys);
    void *scratch = fp_alloc_zero(NULL, n, sizeof(double));
    int rc = keys && scratch ? 0 : fp_fail_nomem(err, n * (sizeof *keys + sizeof(double)));
    if (!rc) {
        for (size_t i = 0; i < n; i++)
            keys[i] = (sort_key){rows->dates[i], rows->code_ids[i], (uint32_t)i};
        qsort(keys, n, sizeof *keys, compare_keys);
        if (rows->statuses)
            rc = reorder_messages(rows, keys, err);
    }
    if (!rc) {
        reorder(rows->dates, sizeof *rows->dates, keys, n, scratch);
        reorder(rows->timestamps, sizeof *rows->timestamps, keys, n, scratch);
        reorder(rows->code_ids, sizeof *rows->code_ids, keys, n, scratch);
        reorder(rows->statuses, sizeof *rows->statuses, keys, n, scratch);
        reorder(rows->failure_codes, sizeof *rows->failure_codes, keys, n, scratch);
        for (size_t k = 0; k < n_factors_of(rows); k++)
            reorder(rows->factors + k * n, sizeof *rows->factors, keys, n, scratch);
    }
    fp_free(NULL, keys);
    fp_free(NULL, scratch);
    return rc;
}

/* ------------------------------------------------------------------ opening */

static void describe_page(const fp_row_block *rows, size_t first, fp_page *page)
{
    size_t left = rows->n_rows - first;
    size_t n = left < FP_PAGE_ROWS ? left : FP_PAGE_ROWS;
    const uint32_t *codes = rows->code_ids + first;
    *page = (fp_page){.first_row = (uint32_t)first,
                      .n_rows = (uint32_t)n,
                      .date_first = rows->dates[first],
                      .date_last = rows->dates[first + n - 1],
                      .code_first = codes[0],
                      .code_last = codes[n - 1],
                      .code_min = codes[0],
                      .code_max = codes[0]};
    for (size_t i = 1; i < n; i++) {
        page->code_min = codes[i] < page->code_min ? codes[i] : page->code_min;
        page->code_max = codes[i] > page->code_max ? codes[i] : page->code_max;
    }
}

int fp_row_block_open(fp_open_block **out, fp_row_block *rows, facpool_error *err)
{
    const fp_block *block = block_of(rows);
    size_t n_pages = ((size_t)block->n_rows + FP_PAGE_ROWS - 1) / FP_PAGE_ROWS;
    int rc = 0;
    if (rows->n_rows == 0 || rows->n_rows != block->n_rows || n_pages != block->n_pages)
        rc = damaged(rows, "there are more or fewer rows", err);
    if (!rc)
        rc = number_codes(rows, err);
    if (!rc)
        rc = check_entry(rows, err);
    if (!rc)
        rc = sort_rows(rows, err);
    if (rc) {
        fp_row_block_free(rows);
        return rc;
    }
    fp_codes_free(&rows->interned);
    for (size_t page = 0; page < n_pages; page++)
        describe_page(rows, page * FP_PAGE_ROWS, &rows->pages[page]);
    *out = &rows->base;
    return 0;
}

void fp_row_block_close(fp_open_block *block)
{
    fp_row_block_free((fp_row_block *)block);
}

/* ------------------------------------------------------------------ reading */

/* Where a column's first row is, or NULL where the block has no such column. */
static const void *column_of(const fp_row_block *rows, uint32_t column, size_t first)
{
    size_t n_factors = n_factors_of(rows);
    switch (column) {
    case FP_COLUMN_DATE:
        return rows->dates + first;
    case FP_COLUMN_CODE:
        return rows->code_ids + first;
    case FP_COLUMN_TIMESTAMP:
        return rows->timestamps + first;
    case FP_COLUMN_STATUS:
        return rows->statuses ? rows->statuses + first : NULL;
    case FP_COLUMN_FAILURE_CODE:
        return rows->failure_codes ? rows->failure_codes + first : NULL;
    default:
        if (column < FP_COLUMN_FACTOR || column - FP_COLUMN_FACTOR >= n_factors)
            return NULL;
        return rows->factors + (column - FP_COLUMN_FACTOR) * rows->n_rows + first;
    }
}

int fp_row_block_read(fp_open_block *block, fp_read_context *context, uint32_t column,
                      uint32_t first_page, uint32_t n_pages, void *scratch, const void **out,
                      facpool_error *err)
{
    (void)context;
    (void)scratch;
    const fp_row_block *rows = (const fp_row_block *)block;
    const void *found = NULL;
    if (first_page < block->block->n_pages && n_pages <= block->block->n_pages - first_page)
        found = column_of(rows, column, (size_t)first_page * FP_PAGE_ROWS);
    if (!found)
        return fp_fail(err, FACPOOL_E_INVALID, "'%s': a block has no column %u in pages %u + %u",
                       block->source->path, (unsigned)column, (unsigned)first_page,
                       (unsigned)n_pages);
    *out = found;
    return 0;
}

int fp_row_block_read_messages(fp_open_block *block, fp_read_context *context, uint32_t page,
                               fp_texts *out, facpool_error *err)
{
    (void)context;
    const fp_row_block *rows = (const fp_row_block *)block;
    if (!rows->statuses || page >= block->block->n_pages)
        return fp_fail(err, FACPOOL_E_INVALID, "'%s': a block has no messages in page %u",
                       block->source->path, (unsigned)page);
    const fp_page *described = &rows->pages[page];
    for (size_t i = 0; i < described->n_rows; i++) {
        size_t row = described->first_row + i;
        size_t length = fp_texts_length(&rows->messages, row);
        if (fp_texts_add(out, fp_texts_at(&rows->messages, row), length))
            return fp_fail_nomem(err, length + 1);
    }
    return 0;
}
