/* See fake_source.h. */
#include "fake_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"

typedef struct fake_open {
    fp_open_block head;
    fake_block *block;
    void *lent[FAKE_COLUMNS]; /* whole columns, given out by reference until it is closed */
} fake_open;

static void *need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "out of memory\n");
        exit(EXIT_FAILURE);
    }
    return memory;
}

static fake_source *fake_of(const fp_source *source)
{
    return (fake_source *)(uintptr_t)source;
}

static bool is_damaged(const fake_source *fake, size_t block, uint32_t column, uint32_t page)
{
    for (size_t i = 0; i < fake->n_damages; i++)
        if (fake->damages[i].block == block && fake->damages[i].column == column &&
            fake->damages[i].page == page)
            return true;
    return false;
}

static int fake_open_block(const fp_source *source, size_t block, fp_read_context *context,
                           fp_open_block **out, facpool_error *err)
{
    fake_source *fake = fake_of(source);
    context->bytes_read += 100;
    if (fake->failing)
        return fp_fail(err, FACPOOL_E_IO, "the fake disk is gone");
    if (is_damaged(fake, block, FAKE_OPENING, 0))
        return fp_fail(err, FACPOOL_E_CORRUPT, "fake damage when opened");
    fake_open *open = need(calloc(1, sizeof *open));
    open->block = &fake->blocks[block];
    open->head =
        (fp_open_block){source, &source->blocks[block], &open->block->codes, open->block->pages};
    fake->opened++;
    fake->open++;
    *out = &open->head;
    return 0;
}

static void fake_close_block(fp_open_block *head)
{
    fake_open *open = (fake_open *)head;
    for (size_t i = 0; i < FAKE_COLUMNS; i++)
        free(open->lent[i]);
    fake_of(head->source)->open--;
    free(open);
}

static size_t width_of(uint32_t column)
{
    switch (column) {
    case FP_COLUMN_CODE:
    case FP_COLUMN_FAILURE_CODE:
        return 4;
    case FP_COLUMN_STATUS:
        return 1;
    default:
        return 8;
    }
}

static void put_value(const fake_block *block, uint32_t column, size_t row, void *to)
{
    const fake_row *from = &block->rows[row];
    switch (column) {
    case FP_COLUMN_DATE:
        memcpy(to, &from->date, 8);
        break;
    case FP_COLUMN_CODE:
        memcpy(to, &block->code_ids[row], 4);
        break;
    case FP_COLUMN_TIMESTAMP:
        memcpy(to, &from->timestamp, 8);
        break;
    case FP_COLUMN_STATUS:
        memcpy(to, &from->status, 1);
        break;
    case FP_COLUMN_FAILURE_CODE:
        memcpy(to, &from->failure_code, 4);
        break;
    default:
        memcpy(to, &from->factors[column - FP_COLUMN_FACTOR], 8);
    }
}

static void put_rows(const fake_block *block, uint32_t column, size_t first, size_t n, void *to)
{
    for (size_t i = 0; i < n; i++)
        put_value(block, column, first + i, (char *)to + i * width_of(column));
}

/* What the contract forbids ends the test program. */
static void check_request(const fp_open_block *open, uint32_t column, uint32_t first_page,
                          uint32_t n_pages)
{
    bool not_ok_only = column == FP_COLUMN_STATUS || column == FP_COLUMN_FAILURE_CODE;
    bool factor = column >= FP_COLUMN_FACTOR;
    if (column >= FP_COLUMN_FACTOR + open->source->schema.names.n || column == FP_COLUMN_MESSAGE ||
        n_pages == 0 || first_page + n_pages > open->block->n_pages ||
        (not_ok_only && open->block->all_ok) || (factor && !open->block->has_factors)) {
        fprintf(stderr, "a request that no source allows: column %u, pages %u + %u\n", column,
                first_page, n_pages);
        abort();
    }
}

static int fake_read(fp_open_block *head, fp_read_context *context, uint32_t column,
                     uint32_t first_page, uint32_t n_pages, void *scratch, const void **out,
                     facpool_error *err)
{
    fake_open *open = (fake_open *)head;
    fake_source *fake = fake_of(head->source);
    check_request(head, column, first_page, n_pages);
    fake->reads++;
    fake->pages_read[column] += n_pages;
    if (fake->failing)
        return fp_fail(err, FACPOOL_E_IO, "the fake disk is gone");
    size_t block = (size_t)(head->block - head->source->blocks);
    for (uint32_t page = first_page; page < first_page + n_pages; page++)
        if (is_damaged(fake, block, column, page))
            return fp_fail(err, FACPOOL_E_CORRUPT, "fake damage in column %u, page %u", column,
                           page);
    const fp_page *first = &head->pages[first_page], *last = first + n_pages - 1;
    size_t n = last->first_row + last->n_rows - first->first_row, width = width_of(column);
    context->bytes_read += n * width;
    bool maps = head->source->zero_copy && !context->copies;
    bool decodes = !maps && !fake->lends;
    if (decodes || (fake->not_lent && column == fake->not_lent)) {
        put_rows(open->block, column, first->first_row, n, scratch);
        *out = scratch;
        return 0;
    }
    void **whole = maps ? &open->block->mapped[column] : &open->lent[column];
    if (!*whole) {
        *whole = need(malloc(head->block->n_rows * width));
        put_rows(open->block, column, 0, head->block->n_rows, *whole);
    }
    *out = (char *)*whole + first->first_row * width;
    return 0;
}

/* Behind a few bytes that are no code's. */
static void lay_out_codes(fake_block *block, size_t n)
{
    static const char before[] = "not a code";
    size_t bytes = sizeof before;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(block->rows[i].code);
    block->code_offsets = need(malloc((n + 1) * sizeof *block->code_offsets));
    block->code_bytes = need(malloc(bytes));
    memcpy(block->code_bytes, before, sizeof before);
    block->code_offsets[0] = (int32_t)sizeof before;
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(block->rows[i].code);
        memcpy(block->code_bytes + block->code_offsets[i], block->rows[i].code, length);
        block->code_offsets[i + 1] = block->code_offsets[i] + (int32_t)length;
    }
}

static int fake_read_codes(fp_open_block *head, fp_read_context *context, uint32_t first_page,
                           uint32_t n_pages, fp_code_column *out, facpool_error *err)
{
    fake_open *open = (fake_open *)head;
    fake_source *fake = fake_of(head->source);
    if (context->copies || !head->source->zero_copy || n_pages == 0 ||
        first_page + n_pages > head->block->n_pages) {
        fprintf(stderr, "a request for codes that no source allows\n");
        abort();
    }
    fake->reads++;
    fake->pages_read[FP_COLUMN_CODE] += n_pages;
    if (fake->failing)
        return fp_fail(err, FACPOOL_E_IO, "the fake disk is gone");
    size_t block = (size_t)(head->block - head->source->blocks);
    for (uint32_t page = first_page; page < first_page + n_pages; page++)
        if (is_damaged(fake, block, FP_COLUMN_CODE, page))
            return fp_fail(err, FACPOOL_E_CORRUPT, "fake damage in codes, page %u", page);
    if (!open->block->code_offsets)
        lay_out_codes(open->block, head->block->n_rows);
    out->offsets = open->block->code_offsets + head->pages[first_page].first_row;
    out->bytes = open->block->code_bytes;
    return 0;
}

static int fake_read_messages(fp_open_block *head, fp_read_context *context, uint32_t page,
                              fp_texts *out, facpool_error *err)
{
    fake_source *fake = fake_of(head->source);
    const fake_block *block = ((fake_open *)head)->block;
    context->bytes_read += 10;
    fake->pages_read[FP_COLUMN_MESSAGE]++;
    size_t number = (size_t)(head->block - head->source->blocks);
    if (is_damaged(fake, number, FP_COLUMN_MESSAGE, page))
        return fp_fail(err, FACPOOL_E_CORRUPT, "fake damage in messages, page %u", page);
    for (uint32_t i = 0; i < head->pages[page].n_rows; i++) {
        const char *message = block->rows[head->pages[page].first_row + i].message;
        message = message ? message : "";
        if (fp_texts_add(out, message, strlen(message)))
            return fp_fail_nomem(err, strlen(message));
    }
    return 0;
}

static void fake_free(fp_source *source)
{
    fake_source *fake = fake_of(source);
    for (size_t i = 0; i < source->n_blocks; i++) {
        free(fake->blocks[i].rows);
        free(fake->blocks[i].code_ids);
        free(fake->blocks[i].pages);
        fp_texts_free(&fake->blocks[i].codes);
        for (size_t column = 0; column < FAKE_COLUMNS; column++)
            free(fake->blocks[i].mapped[column]);
        free(fake->blocks[i].code_offsets);
        free(fake->blocks[i].code_bytes);
    }
    free(fake->blocks);
    free(source->blocks);
    fp_schema_free(&source->schema);
    free(source->path);
    free(fake);
}

static const fp_source_type fake_type = {.name = "fake",
                                         .open_block = fake_open_block,
                                         .close_block = fake_close_block,
                                         .read = fake_read,
                                         .read_messages = fake_read_messages,
                                         .free = fake_free};

static const fp_source_type fake_type_with_codes = {.name = "fake",
                                                    .open_block = fake_open_block,
                                                    .close_block = fake_close_block,
                                                    .read = fake_read,
                                                    .read_messages = fake_read_messages,
                                                    .read_codes = fake_read_codes,
                                                    .free = fake_free};

void fake_source_keep_codes(fake_source *fake)
{
    fake->source.type = &fake_type_with_codes;
}

const void *fake_source_column(const fake_source *fake, size_t block, uint32_t column)
{
    return fake->blocks[block].mapped[column];
}

fake_source *fake_source_new(const char *path, size_t n_factors, uint32_t page_rows, bool zero_copy)
{
    fake_source *fake = need(calloc(1, sizeof *fake));
    facpool_error err = FACPOOL_ERROR_INIT;
    fake->source.type = &fake_type;
    atomic_init(&fake->source.references, 1);
    fake->source.path = need(malloc(strlen(path) + 1));
    strcpy(fake->source.path, path);
    fake->source.zero_copy = zero_copy;
    fake->page_rows = page_rows;
    if (fp_schema_init(&fake->source.schema, n_factors, NULL, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(EXIT_FAILURE);
    }
    return fake;
}

/* ------------------------------------------------------------------ blocks */

static int compare_rows(const fake_row *a, const fake_row *b)
{
    if (a->date != b->date)
        return a->date < b->date ? -1 : 1;
    return strcmp(a->code, b->code);
}

/* Stable, and of no size to speak of; long sorted stretches are quick. */
static void sort_rows(fake_row *rows, size_t n)
{
    if (n < 2)
        return;
    size_t half = n / 2, i = 0, j = half, out = 0;
    sort_rows(rows, half);
    sort_rows(rows + half, n - half);
    if (compare_rows(&rows[half - 1], &rows[half]) <= 0)
        return;
    fake_row *merged = need(malloc(n * sizeof *merged));
    while (i < half || j < n) {
        bool left = j == n || (i < half && compare_rows(&rows[i], &rows[j]) <= 0);
        merged[out++] = left ? rows[i++] : rows[j++];
    }
    memcpy(rows, merged, n * sizeof *rows);
    free(merged);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void number_codes(fake_block *block, size_t n)
{
    const char **sorted = need(malloc(n * sizeof *sorted));
    for (size_t i = 0; i < n; i++)
        sorted[i] = block->rows[i].code;
    qsort(sorted, n, sizeof *sorted, compare_texts);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
            if (fp_texts_add(&block->codes, sorted[i], strlen(sorted[i])))
                need(NULL);
    free(sorted);
    for (size_t i = 0; i < n; i++) {
        size_t first = 0, end = block->codes.n;
        while (end - first > 1) {
            size_t middle = (first + end) / 2;
            if (strcmp(fp_texts_at(&block->codes, middle), block->rows[i].code) <= 0)
                first = middle;
            else
                end = middle;
        }
        block->code_ids[i] = (uint32_t)first;
    }
}

static void cut_pages(fake_block *block, size_t n, uint32_t page_rows)
{
    block->n_pages = (uint32_t)((n + page_rows - 1) / page_rows);
    block->pages = need(calloc(block->n_pages, sizeof *block->pages));
    for (uint32_t p = 0; p < block->n_pages; p++) {
        fp_page *page = &block->pages[p];
        page->first_row = p * page_rows;
        size_t left = n - page->first_row;
        page->n_rows = left < page_rows ? (uint32_t)left : page_rows;
        uint32_t last = page->first_row + page->n_rows - 1;
        page->date_first = block->rows[page->first_row].date;
        page->date_last = block->rows[last].date;
        page->code_first = page->code_min = page->code_max = block->code_ids[page->first_row];
        page->code_last = block->code_ids[last];
        for (uint32_t i = page->first_row; i <= last; i++) {
            uint32_t id = block->code_ids[i];
            page->code_min = id < page->code_min ? id : page->code_min;
            page->code_max = id > page->code_max ? id : page->code_max;
        }
    }
}

static void describe(fp_block *entry, const fake_block *block, size_t n, size_t number)
{
    const fp_texts *codes = &block->codes;
    *entry =
        (fp_block){.offset = FAKE_PLACE(number), .bytes = FAKE_BLOCK_BYTES, .n_rows = (uint32_t)n};
    entry->n_pages = block->n_pages;
    entry->date_min = block->rows[0].date;
    entry->date_max = block->rows[n - 1].date;
    entry->code_min = fp_texts_at(codes, 0);
    entry->code_max = fp_texts_at(codes, codes->n - 1);
    entry->timestamp_min = INT64_MAX;
    entry->timestamp_max = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        const fake_row *row = &block->rows[i];
        entry->status_rows[row->status]++;
        if (row->timestamp < entry->timestamp_min)
            entry->timestamp_min = row->timestamp;
        if (row->timestamp > entry->timestamp_max)
            entry->timestamp_max = row->timestamp;
    }
    entry->all_ok = entry->status_rows[FACPOOL_STATUS_OK] == n;
    entry->has_factors = entry->status_rows[FACPOOL_STATUS_OK] > 0;
}

void fake_source_add(fake_source *fake, const fake_row *rows, size_t n)
{
    fp_source *source = &fake->source;
    size_t number = source->n_blocks++;
    source->blocks = need(realloc(source->blocks, source->n_blocks * sizeof *source->blocks));
    fake->blocks = need(realloc(fake->blocks, source->n_blocks * sizeof *fake->blocks));
    fake_block *block = &fake->blocks[number];
    *block = (fake_block){.n_pages = 0};
    block->rows = need(malloc(n * sizeof *rows));
    memcpy(block->rows, rows, n * sizeof *rows);
    sort_rows(block->rows, n);
    block->code_ids = need(malloc(n * sizeof *block->code_ids));
    number_codes(block, n);
    cut_pages(block, n, fake->page_rows);
    describe(&source->blocks[number], block, n, number);
    source->n_pages += block->n_pages;
    source->end = FAKE_PLACE(source->n_blocks);
}

void fake_source_damage(fake_source *fake, size_t block, uint32_t column, uint32_t page)
{
    if (fake->n_damages == sizeof fake->damages / sizeof *fake->damages)
        need(NULL);
    fake->damages[fake->n_damages++] = (fake_damage){block, column, page};
}

size_t fake_source_pages_read(const fake_source *fake)
{
    size_t pages = 0;
    for (size_t i = 0; i < FAKE_COLUMNS; i++)
        pages += fake->pages_read[i];
    return pages;
}

void fake_source_forget(fake_source *fake)
{
    fake->opened = fake->reads = 0;
    memset(fake->pages_read, 0, sizeof fake->pages_read);
}
