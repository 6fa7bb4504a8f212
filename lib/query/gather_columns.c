/* Reads the planned rows of a batch, one column of one stream after the other. Called by
 * fp_gather_fill alone; reads pages through streams, so damage is noted there. */
#include <assert.h>
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "query/gather.h"

/* Where streams take turns, a page is often used up only by the next batch. So much of such pages
 * is kept decoded; past it they are read again. */
#define KEPT_BYTES_MAX ((uint64_t)64 << 20)

int fp_gather_reserve(fp_gather_column *column, size_t rows, facpool_error *err)
{
    size_t bytes = rows * column->each;
    return fp_aligned_reserve(&column->own, bytes) ? fp_fail_nomem(err, bytes) : 0;
}

/* Brings rows of an earlier fill of the same batch to where more can follow them. */
int fp_gather_settle(fp_gather *g, fp_gather_column *column, size_t rows, facpool_error *err)
{
    int rc = fp_gather_reserve(column, rows, err);
    if (rc)
        return rc;
    size_t bytes = g->n_rows * column->each;
    if (column->borrowed && bytes)
        memcpy(column->own.data, column->lent, bytes);
    else if (column->skipped && bytes)
        memmove(column->own.data, (char *)column->own.data + column->skipped * column->each, bytes);
    column->borrowed = false;
    column->skipped = 0;
    return 0;
}

/* Whether the block has the column; else it is made up. */
static bool is_stored(const fp_stream *stream, const fp_gather_column *column)
{
    switch (column->id) {
    case FP_COLUMN_DATE:
    case FP_COLUMN_CODE:
    case FP_COLUMN_TIMESTAMP:
        return true;
    case FP_COLUMN_STATUS:
    case FP_COLUMN_FAILURE_CODE:
        return !stream->block->all_ok;
    default:
        return stream->block->has_factors;
    }
}

static void make_up(const fp_gather_column *column, size_t out, size_t n)
{
    char *to = (char *)column->own.data + out * column->each;
    if (column->id == FP_COLUMN_STATUS)
        memset(to, FACPOOL_STATUS_OK, n);
    else if (column->id == FP_COLUMN_FAILURE_CODE)
        memset(to, 0, n * sizeof(int32_t));
    else
        for (size_t i = 0; i < n; i++)
            ((double *)(void *)to)[i] = NAN;
}

/* ------------------------------------------------------------------ one run given as it lies */

static uint32_t end_page_of(const fp_stream *stream, const fp_run *run)
{
    return fp_stream_page_of(stream, run->first_row + run->n - 1) + 1;
}

/* Few rows are sooner copied than looked after. */
static bool is_lent(const fp_gather *g, const fp_run *run)
{
    return run->n >= FP_BATCH_ROWS_AIMED || g->question->filter.zero_copy;
}

static bool has_codes_to_lend(const fp_gather *g, const fp_run *run)
{
    const fp_source *source = run->stream->scope->source;
    return is_lent(g, run) && source->type->read_codes && fp_question_lends(g->question, source);
}

static void note_lender(fp_gather *g, const fp_stream *stream)
{
    const fp_scope_block *scope = stream->scope;
    g->borrowed = true;
    if (fp_question_lends(g->question, scope->source))
        g->lender = g->question->sources[scope->source_index];
}

/* A source that lent a column when the question was opened, and has it to decode now. */
static int fail_not_lent(const fp_stream *stream, const fp_gather_column *column,
                         facpool_error *err)
{
    const fp_source *source = stream->scope->source;
    const char *name = column->id == FP_COLUMN_DATE        ? "date"
                       : column->id == FP_COLUMN_TIMESTAMP ? "timestamp"
                                                           : NULL;
    if (!name)
        name = fp_texts_at(&source->schema.names, column->id - FP_COLUMN_FACTOR);
    return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                   "zero copy was required, but column '%.255s' of a block of '%.300s' had to be "
                   "decoded: ask without require_zero_copy",
                   name, source->path);
}

/* The plan is one stretch: the pages it lies in are read as they are, and a view of the stretch
 * given. */
static int fill_as_is(fp_gather *g, const fp_run *run, fp_gather_column *column, facpool_error *err)
{
    fp_stream *stream = run->stream;
    uint32_t first = fp_stream_page_of(stream, run->first_row), end = end_page_of(stream, run);
    const fp_page *pages = stream->open->pages;
    size_t skipped = run->first_row - pages[first].first_row;
    size_t rows = pages[end - 1].first_row + pages[end - 1].n_rows - pages[first].first_row;
    column->borrowed = false;
    column->skipped = 0;
    int rc = fp_gather_reserve(column, rows, err);
    if (rc)
        return rc;
    const void *got = NULL;
    rc = fp_stream_read(stream, column->id, first, end - first, column->own.data, &got, err);
    if (rc <= 0) {
        g->damaged = g->damaged || rc == 0;
        return rc;
    }
    if (got == column->own.data) {
        if (g->question->filter.zero_copy)
            return fail_not_lent(stream, column, err);
        column->skipped = skipped;
    } else if (is_lent(g, run)) {
        column->borrowed = true;
        column->lent = (const char *)got + skipped * column->each;
        note_lender(g, stream);
    } else {
        memcpy(column->own.data, (const char *)got + skipped * column->each, run->n * column->each);
    }
    return 0;
}

/* Codes of the stretch as they lie in the source. */
static int borrow_codes(fp_gather *g, const fp_run *run, facpool_error *err)
{
    fp_stream *stream = run->stream;
    uint32_t first = fp_stream_page_of(stream, run->first_row), end = end_page_of(stream, run);
    fp_code_column codes;
    int rc = fp_stream_read_codes(stream, first, end - first, &codes, err);
    if (rc <= 0) {
        g->damaged = g->damaged || rc == 0;
        return rc;
    }
    codes.offsets += run->first_row - stream->open->pages[first].first_row;
    g->codes = codes;
    g->codes_borrowed = true;
    note_lender(g, stream);
    return 0;
}

static bool is_as_is(const fp_gather *g)
{
    const fp_run *run = &g->runs[0];
    return g->n_rows == 0 && g->n_runs == 1 && !run->picked && !run->has_dates && !run->has_codes &&
           (run->stream->block->all_ok || !g->columns[FP_GATHER_STATUS].needed);
}

static int fill_all_as_is(fp_gather *g, facpool_error *err)
{
    const fp_run *run = &g->runs[0];
    for (size_t i = 0; i < g->n_columns; i++) {
        fp_gather_column *column = &g->columns[i];
        if (!column->needed)
            continue;
        int rc = 0;
        if (column->id == FP_COLUMN_CODE && has_codes_to_lend(g, run))
            rc = borrow_codes(g, run, err);
        else if (is_stored(run->stream, column))
            rc = fill_as_is(g, run, column, err);
        else if (!(rc = fp_gather_reserve(column, run->n, err)))
            make_up(column, 0, run->n);
        if (rc)
            return rc;
    }
    return 0;
}

/* ------------------------------------------------------------------ kept pages */

typedef struct kept {
    uint32_t *pages; /* by column: whose values are kept */
    char *values;
} kept;

static size_t kept_stride(const fp_stream *stream)
{
    uint32_t most = 0;
    for (uint32_t page = 0; page < stream->block->n_pages; page++)
        most = stream->open->pages[page].n_rows > most ? stream->open->pages[page].n_rows : most;
    return most * sizeof(double);
}

static kept kept_at(const fp_stream *stream, const fp_gather *g, size_t column, size_t stride)
{
    size_t head = (g->n_columns * sizeof(uint32_t) + 7) / 8 * 8;
    char *base = stream->kept_columns;
    return (kept){(uint32_t *)stream->kept_columns, base + head + column * stride};
}

/* Makes room for the columns of a page that later batches will want again. False where there is
 * none; then it is read again. */
static bool make_kept(fp_gather *g, fp_stream *stream, size_t stride)
{
    size_t bytes = (g->n_columns * sizeof(uint32_t) + 7) / 8 * 8 + g->n_columns * stride;
    if (stream->kept_capacity < bytes) {
        if (g->kept_bytes + bytes - stream->kept_capacity > KEPT_BYTES_MAX)
            return false;
        void *memory = fp_realloc(NULL, stream->kept_columns, bytes);
        if (!memory)
            return false;
        g->kept_bytes += bytes - stream->kept_capacity;
        stream->kept_columns = memory;
        stream->kept_capacity = bytes;
        stream->kept_page = FP_NO_PAGE;
    }
    if (stream->kept_page == FP_NO_PAGE) {
        memset(stream->kept_columns, 0xff, g->n_columns * sizeof(uint32_t));
        stream->kept_page = 0; /* from here on each column has its own */
    }
    return true;
}

static bool will_be_wanted(const fp_stream *stream, uint32_t page)
{
    return stream->page == page && stream->at > 0 && stream->at < stream->n_selected;
}

/* ------------------------------------------------------------------ runs of several streams */

static const void *slot_view(const fp_stream *stream, uint32_t page, uint32_t id)
{
    if (stream->page != page)
        return NULL;
    switch (id) {
    case FP_COLUMN_DATE:
        return stream->slots[FP_SLOT_DATE].view;
    case FP_COLUMN_CODE:
        return stream->slots[FP_SLOT_CODE].view;
    case FP_COLUMN_TIMESTAMP:
        return stream->slots[FP_SLOT_TIMESTAMP].view;
    case FP_COLUMN_STATUS:
        return stream->slots[FP_SLOT_STATUS].view;
    default:
        return NULL;
    }
}

/* Values of one column of one page, from wherever they are at hand. */
static int page_values(fp_gather *g, fp_stream *stream, size_t column, uint32_t page,
                       const void **out, facpool_error *err)
{
    uint32_t id = g->columns[column].id;
    size_t each = g->columns[column].each;
    *out = slot_view(stream, page, id);
    if (*out)
        return 1;
    size_t stride =
        stream->kept_page == FP_NO_PAGE && !will_be_wanted(stream, page) ? 0 : kept_stride(stream);
    bool has_kept = stream->kept_page != FP_NO_PAGE;
    if (has_kept && kept_at(stream, g, column, stride).pages[column] == page) {
        *out = kept_at(stream, g, column, stride).values;
        return 1;
    }
    if (g->page_number == page) {
        *out = g->page_view;
        return 1;
    }
    size_t bytes = stream->open->pages[page].n_rows * each;
    if (fp_grow(NULL, &g->page, &g->page_capacity, bytes, 1))
        return fp_fail_nomem(err, bytes);
    int rc = fp_stream_read(stream, id, page, 1, g->page, &g->page_view, err);
    g->page_number = rc == 1 ? page : FP_NO_PAGE;
    *out = g->page_view;
    if (rc == 1 && g->page_view == g->page && will_be_wanted(stream, page) &&
        make_kept(g, stream, stride)) {
        kept k = kept_at(stream, g, column, stride);
        memcpy(k.values, g->page, bytes);
        k.pages[column] = page;
    }
    return rc;
}

static void pick(const void *values, size_t each, const uint32_t *rows, size_t n, void *to)
{
    if (each == 8) {
        const uint64_t *from = values;
        uint64_t *out = to;
        for (size_t i = 0; i < n; i++)
            out[i] = from[rows[i]];
    } else if (each == 4) {
        const uint32_t *from = values;
        uint32_t *out = to;
        for (size_t i = 0; i < n; i++)
            out[i] = from[rows[i]];
    } else {
        const uint8_t *from = values;
        uint8_t *out = to;
        for (size_t i = 0; i < n; i++)
            out[i] = from[rows[i]];
    }
}

/* Whether the run after this one looks at the same page. */
static bool next_wants(const fp_gather *g, const fp_run *run, uint32_t page)
{
    if (run->next == FP_NO_RUN)
        return false;
    const fp_run *next = &g->runs[run->next];
    return page == (next->picked ? next->page : fp_stream_page_of(next->stream, next->first_row));
}

/* Values of one page of which a run wants rows first .. end - 1 only. Where these are few, and no
 * other run is going to look at the page, the others need not be decoded. */
static int some_values(fp_gather *g, const fp_run *run, size_t column, uint32_t page,
                       uint32_t first, uint32_t end, const void **out, facpool_error *err)
{
    fp_read_context *context = &run->stream->question->context;
    bool is_part = end - first < run->stream->open->pages[page].n_rows / 2 &&
                   !will_be_wanted(run->stream, page) && !next_wants(g, run, page);
    if (is_part) {
        context->wanted_first = first;
        context->wanted_end = end;
    }
    int rc = page_values(g, run->stream, column, page, out, err);
    context->wanted_first = context->wanted_end = 0;
    if (is_part)
        g->page_number = FP_NO_PAGE;
    return rc;
}

static int fill_picked(fp_gather *g, const fp_run *run, size_t column, facpool_error *err)
{
    const void *values = NULL;
    const uint32_t *rows = g->row_numbers + run->out; /* ascending */
    int rc = some_values(g, run, column, run->page, rows[0], rows[run->n - 1] + 1, &values, err);
    if (rc == 1) {
        const fp_gather_column *to = &g->columns[column];
        pick(values, to->each, g->row_numbers + run->out, run->n,
             (char *)to->own.data + run->out * (size_t)to->each);
    }
    return rc;
}

/* Whole pages are read where they belong; the ends of the stretch are copied from theirs. */
static int fill_stretch(fp_gather *g, const fp_run *run, size_t column, facpool_error *err)
{
    fp_stream *stream = run->stream;
    const fp_page *pages = stream->open->pages;
    size_t each = g->columns[column].each;
    char *to = (char *)g->columns[column].own.data + run->out * each;
    uint32_t row = run->first_row, end = run->first_row + run->n;
    uint32_t page = fp_stream_page_of(stream, row);
    while (row < end) {
        uint32_t next = page, upto = row;
        while (row == pages[page].first_row && next < stream->block->n_pages &&
               pages[next].first_row + pages[next].n_rows <= end)
            upto = pages[next].first_row + pages[next].n_rows, next++;
        const void *values = NULL;
        size_t skipped = 0;
        int rc = 0;
        if (next > page) {
            rc = fp_stream_read(stream, g->columns[column].id, page, next - page, to, &values, err);
        } else {
            next = page + 1;
            upto = pages[page].first_row + pages[page].n_rows;
            upto = upto < end ? upto : end;
            uint32_t first = row - pages[page].first_row;
            skipped = first * each;
            rc = some_values(g, run, column, page, first, first + (upto - row), &values, err);
        }
        if (rc <= 0)
            return rc;
        if (values != to)
            memcpy(to, (const char *)values + skipped, (upto - row) * each);
        to += (upto - row) * each;
        row = upto;
        page = next;
    }
    return 1;
}

static bool has_already(const fp_run *run, size_t column)
{
    return (column == FP_GATHER_DATE && run->has_dates) ||
           (column == FP_GATHER_CODE && run->has_codes);
}

static int fill_stream_column(fp_gather *g, fp_stream *stream, size_t column, facpool_error *err)
{
    g->page_number = FP_NO_PAGE;
    bool stored = is_stored(stream, &g->columns[column]);
    for (uint32_t r = stream->first_run; r != FP_NO_RUN; r = g->runs[r].next) {
        const fp_run *run = &g->runs[r];
        int rc = 1;
        if (!stored)
            make_up(&g->columns[column], run->out, run->n);
        else if (!has_already(run, column))
            rc = run->picked ? fill_picked(g, run, column, err) : fill_stretch(g, run, column, err);
        if (rc < 0)
            return rc;
        g->damaged = g->damaged || rc == 0;
    }
    return 0;
}

/* Runs of one stream are linked in order, so that its pages are gone through once a column. */
static void chain_runs(fp_gather *g)
{
    for (size_t i = 0; i < g->n_runs; i++)
        g->runs[i].stream->first_run = FP_NO_RUN;
    for (size_t i = 0; i < g->n_runs; i++) {
        fp_stream *stream = g->runs[i].stream;
        g->runs[i].next = FP_NO_RUN;
        if (stream->first_run == FP_NO_RUN)
            stream->first_run = (uint32_t)i;
        else
            g->runs[stream->last_run].next = (uint32_t)i;
        stream->last_run = (uint32_t)i;
    }
}

int fp_gather_fill_columns(fp_gather *g, facpool_error *err)
{
    assert(g->n_runs > 0);
    g->codes_borrowed = false;
    if (is_as_is(g))
        return fill_all_as_is(g, err);
    assert(!g->question->filter.zero_copy);
    chain_runs(g);
    for (size_t c = 0; c < g->n_columns; c++) {
        if (!g->columns[c].needed)
            continue;
        int rc = fp_gather_settle(g, &g->columns[c], g->n_rows + g->planned, err);
        for (size_t i = 0; !rc && i < g->n_runs; i++)
            if (g->runs[i].stream->first_run == i) /* once a stream */
                rc = fill_stream_column(g, g->runs[i].stream, c, err);
        if (rc)
            return rc;
    }
    return 0;
}
