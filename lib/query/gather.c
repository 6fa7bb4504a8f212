/* Plans the rows of a batch, lays out its texts and gives views of it. Called by cursors; columns
 * are read by gather_columns.c. */
#include "query/gather.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"

/* Codes are copied in pieces of this size where source and target have room for it. */
#define CODE_PIECE 16

static void set_column(fp_gather_column *column, uint32_t id, size_t each, bool needed)
{
    *column = (fp_gather_column){.id = id, .each = (uint32_t)each, .needed = needed};
}

static void set_columns(fp_gather *g)
{
    const fp_filter *filter = &g->question->filter;
    uint32_t asked = filter->columns;
    bool not_ok = !fp_filter_ok_only(filter);
    fp_gather_column *columns = g->columns;
    set_column(&columns[FP_GATHER_DATE], FP_COLUMN_DATE, sizeof(int64_t),
               asked & FACPOOL_COLUMN_DATE);
    set_column(&columns[FP_GATHER_CODE], FP_COLUMN_CODE, sizeof(uint32_t),
               asked & FACPOOL_COLUMN_CODE);
    set_column(&columns[FP_GATHER_TIMESTAMP], FP_COLUMN_TIMESTAMP, sizeof(int64_t),
               asked & FACPOOL_COLUMN_TIMESTAMP);
    /* Which values are null must be known, whether statuses are asked for or not. */
    set_column(&columns[FP_GATHER_STATUS], FP_COLUMN_STATUS, sizeof(uint8_t), not_ok);
    g->wants_messages = not_ok && (asked & FACPOOL_COLUMN_STATUS);
    set_column(&columns[FP_GATHER_FAILURE_CODE], FP_COLUMN_FAILURE_CODE, sizeof(int32_t),
               g->wants_messages);
    for (size_t k = 0; k < filter->n_factors; k++)
        set_column(&columns[FP_GATHER_FACTOR + k], FP_COLUMN_FACTOR + filter->factors[k],
                   sizeof(double), true);
}

static size_t rows_that_fit(size_t n_columns)
{
    size_t rows = FP_BATCH_BYTES_MAX / (n_columns * sizeof(double));
    return rows > FP_BLOCK_ROWS ? FP_BLOCK_ROWS : rows < FP_PAGE_ROWS ? FP_PAGE_ROWS : rows;
}

int fp_gather_init(fp_gather *out, fp_question *question, facpool_error *err)
{
    fp_gather g = {.question = question};
    size_t n_factors = question->filter.n_factors;
    g.n_columns = FP_GATHER_FACTOR + n_factors;
    g.rows_max = rows_that_fit(g.n_columns);
    g.columns = fp_alloc_zero(NULL, g.n_columns, sizeof *g.columns);
    g.factor_views = fp_alloc_zero(NULL, n_factors, sizeof *g.factor_views);
    if (!g.columns || !g.factor_views) {
        fp_gather_free(&g);
        return fp_fail_nomem(err, g.n_columns * sizeof *g.columns);
    }
    set_columns(&g);
    *out = g;
    fp_gather_begin(out);
    return 0;
}

void fp_gather_free(fp_gather *g)
{
    for (size_t i = 0; g->columns && i < g->n_columns; i++)
        fp_aligned_free(&g->columns[i].own);
    fp_free(NULL, g->columns);
    fp_free(NULL, g->factor_views);
    fp_free(NULL, g->runs);
    fp_free(NULL, g->stripped_runs);
    fp_free(NULL, g->parted);
    fp_free(NULL, g->row_numbers);
    fp_free(NULL, g->page);
    fp_aligned_free(&g->code_offsets);
    fp_aligned_free(&g->code_bytes);
    fp_aligned_free(&g->message_offsets);
    fp_aligned_free(&g->message_bytes);
    fp_free(NULL, g->ok_statuses);
    *g = (fp_gather){.n_rows = 0};
}

void fp_gather_begin(fp_gather *g)
{
    g->n_rows = 0;
    g->planned = 0;
    g->n_runs = 0;
    g->all_ok = true;
    g->borrowed = g->codes_borrowed = false;
    g->lender = NULL;
    for (size_t i = 0; i < g->n_columns; i++) {
        g->columns[i].borrowed = false;
        g->columns[i].skipped = 0;
    }
}

/* ------------------------------------------------------------------ planning */

static int new_run(fp_run **out, fp_gather *g, fp_stream *stream, facpool_error *err)
{
    void *memory = g->runs;
    if (fp_grow(NULL, &memory, &g->runs_capacity, g->n_runs + 1, sizeof *g->runs))
        return fp_fail_nomem(err, (g->n_runs + 1) * sizeof *g->runs);
    g->runs = memory;
    *out = &g->runs[g->n_runs++];
    **out = (fp_run){.stream = stream, .out = (uint32_t)(g->n_rows + g->planned)};
    return 0;
}

static int add_stretch(fp_gather *g, fp_stream *stream, uint32_t first_row, uint32_t n,
                       bool has_dates, bool has_codes, facpool_error *err)
{
    fp_run *last = g->n_runs ? &g->runs[g->n_runs - 1] : NULL;
    if (last && last->stream == stream && !last->picked && last->first_row + last->n == first_row &&
        last->has_dates == has_dates && last->has_codes == has_codes) {
        last->n += n;
        return 0;
    }
    fp_run *run = NULL;
    int rc = new_run(&run, g, stream, err);
    if (rc)
        return rc;
    run->first_row = first_row;
    run->n = n;
    run->has_dates = has_dates;
    run->has_codes = has_codes;
    return 0;
}

static int add_picked(fp_gather *g, fp_stream *stream, const uint32_t *rows, uint32_t n,
                      bool has_dates, bool has_codes, facpool_error *err)
{
    size_t at = g->n_rows + g->planned;
    void *memory = g->row_numbers;
    if (fp_grow(NULL, &memory, &g->row_numbers_capacity, at + n, sizeof *g->row_numbers))
        return fp_fail_nomem(err, (at + n) * sizeof *g->row_numbers);
    g->row_numbers = memory;
    memcpy(g->row_numbers + at, rows, n * sizeof *rows);
    fp_run *last = g->n_runs ? &g->runs[g->n_runs - 1] : NULL;
    if (last && last->stream == stream && last->picked && last->page == stream->page &&
        last->has_dates == has_dates && last->has_codes == has_codes) {
        last->n += n;
        return 0;
    }
    fp_run *run = NULL;
    int rc = new_run(&run, g, stream, err);
    if (rc)
        return rc;
    run->picked = true;
    run->page = stream->page;
    run->n = n;
    run->has_dates = has_dates;
    run->has_codes = has_codes;
    return 0;
}

/* Keys of the page at hand that were read already are put down now: once the stream has gone on
 * they would have to be read again. */
static int put_keys(fp_gather *g, const fp_stream *stream, int slot, int column, uint32_t first,
                    uint32_t n, facpool_error *err)
{
    fp_gather_column *to = &g->columns[column];
    size_t at = g->n_rows + g->planned;
    int rc = fp_gather_settle(g, to, at + n, err);
    if (rc)
        return rc;
    if (slot == FP_SLOT_DATE) {
        const int64_t *dates = stream->slots[slot].view;
        int64_t *out = (int64_t *)to->own.data + at;
        for (uint32_t i = 0; i < n; i++)
            out[i] = dates[fp_stream_row(stream, first + i)];
    } else {
        const uint32_t *codes = stream->slots[slot].view;
        uint32_t *out = (uint32_t *)to->own.data + at;
        for (uint32_t i = 0; i < n; i++)
            out[i] = codes[fp_stream_row(stream, first + i)];
    }
    return 0;
}

int fp_gather_add(fp_gather *g, fp_stream *stream, uint32_t first, uint32_t n, facpool_error *err)
{
    const fp_page *page = &stream->open->pages[stream->page];
    assert(n > 0 && n <= fp_gather_room(g) && first + n <= stream->n_selected);
    uint32_t first_row = fp_stream_row(stream, first);
    uint32_t last_row = fp_stream_row(stream, first + n - 1);
    /* Where pages can be given as they lie, or read as a whole, that is better than keeping keys.
     */
    bool keep = n < page->n_rows && !fp_question_lends(g->question, stream->scope->source);
    bool has_dates = keep && stream->slots[FP_SLOT_DATE].view && g->columns[FP_GATHER_DATE].needed;
    bool has_codes = keep && stream->slots[FP_SLOT_CODE].view && g->columns[FP_GATHER_CODE].needed;
    int rc = 0;
    if (has_dates)
        rc = put_keys(g, stream, FP_SLOT_DATE, FP_GATHER_DATE, first, n, err);
    if (!rc && has_codes)
        rc = put_keys(g, stream, FP_SLOT_CODE, FP_GATHER_CODE, first, n, err);
    if (rc)
        return rc;
    if (last_row - first_row + 1 == n)
        rc = add_stretch(g, stream, page->first_row + first_row, n, has_dates, has_codes, err);
    else
        rc = add_picked(g, stream, stream->rows + first, n, has_dates, has_codes, err);
    if (!rc)
        g->planned += n;
    return rc;
}

int fp_gather_add_row(fp_gather *g, fp_stream *stream, uint32_t row, int64_t date, uint32_t code_id,
                      facpool_error *err)
{
    fp_gather_column *dates = &g->columns[FP_GATHER_DATE], *codes = &g->columns[FP_GATHER_CODE];
    size_t at = g->n_rows + g->planned;
    int rc = dates->needed ? fp_gather_settle(g, dates, at + 1, err) : 0;
    if (!rc && codes->needed)
        rc = fp_gather_settle(g, codes, at + 1, err);
    if (!rc)
        rc = add_stretch(g, stream, row, 1, dates->needed, codes->needed, err);
    if (rc)
        return rc;
    if (dates->needed)
        ((int64_t *)dates->own.data)[at] = date;
    if (codes->needed)
        ((uint32_t *)codes->own.data)[at] = code_id;
    g->planned++;
    return 0;
}

/* ------------------------------------------------------------------ damage */

static int strip_run(fp_gather *g, const fp_run *old, facpool_error *err)
{
    fp_stream *stream = old->stream;
    fp_run *run = NULL;
    if (old->picked) {
        if (fp_stream_page_is_damaged(stream, old->page))
            return 0;
        int rc = new_run(&run, g, stream, err);
        if (rc)
            return rc;
        uint32_t out = run->out;
        *run = *old;
        run->out = out;
        run->has_dates = run->has_codes = false;
        memmove(g->row_numbers + out, g->row_numbers + old->out, old->n * sizeof *g->row_numbers);
        g->planned += old->n;
        return 0;
    }
    uint32_t row = old->first_row, end = old->first_row + old->n;
    for (uint32_t number = fp_stream_page_of(stream, row); row < end; number++) {
        const fp_page *page = &stream->open->pages[number];
        uint32_t page_end = page->first_row + page->n_rows;
        uint32_t n = (page_end < end ? page_end : end) - row;
        int rc = fp_stream_page_is_damaged(stream, number)
                     ? 0
                     : add_stretch(g, stream, row, n, false, false, err);
        if (rc)
            return rc;
        g->planned += fp_stream_page_is_damaged(stream, number) ? 0 : n;
        row += n;
    }
    return 0;
}

/* A batch that may copy nothing is one stretch: the others wait. */
static int part_stretches(fp_gather *g, facpool_error *err)
{
    if (!g->question->filter.zero_copy || g->n_runs <= 1)
        return 0;
    size_t n = g->n_parted + g->n_runs - 1;
    void *memory = g->parted;
    if (fp_grow(NULL, &memory, &g->parted_capacity, n, sizeof *g->parted))
        return fp_fail_nomem(err, n * sizeof *g->parted);
    g->parted = memory;
    for (size_t i = g->n_runs; i-- > 1;)
        g->parted[g->n_parted++] = g->runs[i];
    g->n_runs = 1;
    g->planned = g->runs[0].n;
    return 0;
}

/* Plans again what was planned, without the pages that turned out damaged. */
static int strip_damage(fp_gather *g, facpool_error *err)
{
    fp_run *old = g->runs;
    size_t n_old = g->n_runs, old_capacity = g->runs_capacity;
    g->runs = g->stripped_runs;
    g->runs_capacity = g->stripped_capacity;
    g->stripped_runs = old;
    g->stripped_capacity = old_capacity;
    g->n_runs = 0;
    g->planned = 0;
    for (size_t i = 0; i < n_old; i++) {
        int rc = strip_run(g, &old[i], err);
        if (rc)
            return rc;
    }
    return part_stretches(g, err);
}

int fp_gather_begin_parted(fp_gather *g, facpool_error *err)
{
    assert(g->n_parted > 0);
    fp_gather_begin(g);
    fp_run *run = NULL;
    const fp_run *next = &g->parted[g->n_parted - 1];
    int rc = new_run(&run, g, next->stream, err);
    if (rc)
        return rc;
    run->first_row = next->first_row;
    run->n = next->n;
    g->planned = next->n;
    g->n_parted--;
    return 0;
}

static bool plan_is_damaged(const fp_gather *g)
{
    for (size_t i = 0; i < g->n_runs; i++)
        if (g->runs[i].stream->scope->damaged)
            return true;
    return false;
}

/* ------------------------------------------------------------------ texts */

static int reserve(fp_aligned *memory, size_t bytes, facpool_error *err)
{
    return fp_aligned_reserve(memory, bytes) ? fp_fail_nomem(err, bytes) : 0;
}

static int reserve_codes(fp_gather *g, size_t rows, size_t bytes, facpool_error *err)
{
    int rc = reserve(&g->code_offsets, (rows + 1) * sizeof(int32_t), err);
    return rc ? rc : reserve(&g->code_bytes, bytes + CODE_PIECE, err);
}

static void copy_codes(char *to, const int32_t *offsets, const fp_texts *codes, const uint32_t *ids,
                       size_t n)
{
    size_t end = codes->offsets[codes->n];
    for (size_t i = 0; i < n; i++) {
        size_t from = codes->offsets[ids[i]];
        size_t length = (size_t)(offsets[i + 1] - offsets[i]);
        char *at = to + offsets[i];
        if (length <= CODE_PIECE && from + CODE_PIECE <= end)
            memcpy(at, codes->bytes + from, CODE_PIECE); /* the next code overwrites what's over */
        else
            memcpy(at, codes->bytes + from, length);
    }
}

static int put_codes(fp_gather *g, facpool_error *err)
{
    assert(!g->codes_borrowed); /* a batch that borrows is given before more is planned */
    const uint32_t *ids = fp_gather_rows(&g->columns[FP_GATHER_CODE]);
    int rc = reserve_codes(g, g->n_rows + g->planned, 0, err);
    if (rc)
        return rc;
    ((int32_t *)g->code_offsets.data)[0] = 0;
    for (size_t r = 0; r < g->n_runs; r++) {
        const fp_run *run = &g->runs[r];
        const fp_texts *codes = run->stream->open->codes;
        int32_t *offsets = (int32_t *)g->code_offsets.data + run->out;
        for (uint32_t i = 0; i < run->n; i++)
            offsets[i + 1] = offsets[i] + (int32_t)fp_texts_length(codes, ids[run->out + i]);
        rc = reserve_codes(g, g->n_rows + g->planned, (size_t)offsets[run->n], err);
        if (rc)
            return rc;
        copy_codes(g->code_bytes.data, offsets, codes, ids + run->out, run->n);
    }
    g->codes = (fp_code_column){g->code_offsets.data, g->code_bytes.data};
    return 0;
}

static int put_message(fp_gather *g, size_t row, const fp_texts *texts, uint32_t i,
                       facpool_error *err)
{
    int32_t *offsets = g->message_offsets.data;
    size_t at = (size_t)offsets[row], length = texts ? fp_texts_length(texts, i) : 0;
    int rc = reserve(&g->message_bytes, at + length + 1, err);
    if (rc)
        return rc;
    if (length)
        memcpy((char *)g->message_bytes.data + at, fp_texts_at(texts, i), length);
    offsets[row + 1] = (int32_t)(at + length);
    return 0;
}

static int put_run_messages(fp_gather *g, const fp_run *run, facpool_error *err)
{
    fp_stream *stream = run->stream;
    for (uint32_t i = 0; i < run->n; i++) {
        if (stream->block->all_ok) {
            int rc = put_message(g, run->out + i, NULL, 0, err);
            if (rc)
                return rc;
            continue;
        }
        uint32_t page = run->picked ? run->page : fp_stream_page_of(stream, run->first_row + i);
        uint32_t row = run->picked ? g->row_numbers[run->out + i]
                                   : run->first_row + i - stream->open->pages[page].first_row;
        int rc = fp_stream_load_messages(stream, page, err);
        if (rc == 1)
            rc = put_message(g, run->out + i, &stream->messages, row, err);
        else if (rc == 0) {
            g->damaged = true;
            return 0;
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int put_messages(fp_gather *g, facpool_error *err)
{
    int rc = reserve(&g->message_offsets, (g->n_rows + g->planned + 1) * sizeof(int32_t), err);
    if (rc)
        return rc;
    if (g->n_rows == 0)
        ((int32_t *)g->message_offsets.data)[0] = 0;
    for (size_t r = 0; !rc && !g->damaged && r < g->n_runs; r++)
        rc = put_run_messages(g, &g->runs[r], err);
    return rc;
}

/* ------------------------------------------------------------------ filling */

/* Whether rows of the run may be other than ok; their factors are null, and so NaN here whatever
 * the source has in their place. */
static void blank_not_ok(fp_gather *g, const fp_run *run)
{
    const uint8_t *statuses = fp_gather_rows(&g->columns[FP_GATHER_STATUS]);
    for (uint32_t i = run->out; i < run->out + run->n; i++) {
        if (statuses[i] == FACPOOL_STATUS_OK)
            continue;
        g->all_ok = false;
        for (size_t k = FP_GATHER_FACTOR; run->stream->block->has_factors && k < g->n_columns; k++)
            ((double *)g->columns[k].own.data)[i] = NAN;
    }
}

int fp_gather_fill(fp_gather *g, facpool_error *err)
{
    if (plan_is_damaged(g)) {
        int rc = strip_damage(g, err);
        if (rc)
            return rc;
    }
    do { /* each turn leaves out at least one page more */
        g->damaged = false;
        int rc = g->n_runs ? fp_gather_fill_columns(g, err) : 0;
        if (!rc && !g->damaged && g->wants_messages)
            rc = put_messages(g, err);
        if (!rc && g->damaged)
            rc = strip_damage(g, err);
        if (rc)
            return rc;
    } while (g->damaged);
    bool makes_codes = g->columns[FP_GATHER_CODE].needed && !g->codes_borrowed;
    int rc = makes_codes && g->n_runs ? put_codes(g, err) : 0;
    if (rc)
        return rc;
    for (size_t r = 0; r < g->n_runs; r++)
        if (g->columns[FP_GATHER_STATUS].needed && !g->runs[r].stream->block->all_ok)
            blank_not_ok(g, &g->runs[r]);
    g->n_rows += g->planned;
    g->planned = 0;
    g->n_runs = 0;
    return 0;
}

/* ------------------------------------------------------------------ views */

static int make_ok_statuses(fp_gather *g, facpool_error *err)
{
    size_t had = g->ok_statuses_capacity;
    void *memory = g->ok_statuses;
    if (fp_grow(NULL, &memory, &g->ok_statuses_capacity, g->n_rows, 1))
        return fp_fail_nomem(err, g->n_rows);
    g->ok_statuses = memory;
    if (g->ok_statuses_capacity > had)
        memset(g->ok_statuses + had, FACPOOL_STATUS_OK, g->ok_statuses_capacity - had);
    return 0;
}

static const void *rows_from(const fp_gather *g, int column, size_t first)
{
    const fp_gather_column *from = &g->columns[column];
    return (const char *)fp_gather_rows(from) + first * from->each;
}

int fp_gather_view(fp_gather *g, size_t first, facpool_batch_view *view, facpool_error *err)
{
    uint32_t asked = g->question->filter.columns;
    facpool_batch_view own = FACPOOL_BATCH_VIEW_INIT;
    own.n_rows = g->n_rows - first;
    own.n_factors = g->n_columns - FP_GATHER_FACTOR;
    own.all_ok = g->all_ok;
    if (asked & FACPOOL_COLUMN_DATE)
        own.dates = rows_from(g, FP_GATHER_DATE, first);
    if (asked & FACPOOL_COLUMN_TIMESTAMP)
        own.timestamps = rows_from(g, FP_GATHER_TIMESTAMP, first);
    if (asked & FACPOOL_COLUMN_CODE) {
        own.code_offsets = g->codes.offsets + first;
        own.code_bytes = g->codes.bytes;
    }
    if (asked & FACPOOL_COLUMN_STATUS) {
        bool made = !g->columns[FP_GATHER_STATUS].needed;
        int rc = made ? make_ok_statuses(g, err) : 0;
        if (rc)
            return rc;
        own.statuses = made ? g->ok_statuses : rows_from(g, FP_GATHER_STATUS, first);
    }
    if (g->wants_messages && !g->all_ok) {
        own.failure_codes = rows_from(g, FP_GATHER_FAILURE_CODE, first);
        own.message_offsets = (const int32_t *)g->message_offsets.data + first;
        own.message_bytes = g->message_bytes.data;
    }
    for (size_t k = 0; k < own.n_factors; k++)
        g->factor_views[k] = rows_from(g, FP_GATHER_FACTOR + (int)k, first);
    own.factors = g->factor_views;
    return fp_abi_export(view, &own, sizeof own, "facpool_batch_view", err);
}
