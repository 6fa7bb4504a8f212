/* Opens blocks and walks their pages; the only place that reads from a source. What a source gives
 * is checked here for what the rest relies on: pages that lie side by side, and code numbers within
 * the dictionary. */
#include "query/stream.h"

#include <assert.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"

static const uint32_t slot_columns[FP_SLOTS] = {FP_COLUMN_DATE, FP_COLUMN_CODE, FP_COLUMN_TIMESTAMP,
                                                FP_COLUMN_STATUS};
static const size_t slot_bytes[FP_SLOTS] = {sizeof(int64_t), sizeof(uint32_t), sizeof(int64_t),
                                            sizeof(uint8_t)};

static int stream_new(fp_stream **out, fp_question *q, facpool_error *err)
{
    fp_stream *stream = q->spare;
    if (stream) {
        q->spare = stream->next;
    } else {
        stream = fp_alloc_zero(NULL, 1, sizeof *stream);
        if (!stream)
            return fp_fail_nomem(err, sizeof *stream);
        stream->question = q;
    }
    stream->open = NULL;
    stream->page = 0;
    stream->n_selected = 0;
    stream->at = 0;
    stream->first_run = FP_NO_RUN;
    stream->messages_page = FP_NO_PAGE;
    stream->kept_page = FP_NO_PAGE;
    stream->next = NULL;
    *out = stream;
    return 0;
}

fp_stream *fp_stream_free_one(fp_stream *stream)
{
    fp_stream *next = stream->next;
    for (int slot = 0; slot < FP_SLOTS; slot++)
        fp_free(NULL, stream->slots[slot].own);
    fp_free(NULL, stream->rows);
    fp_free(NULL, stream->kept_columns);
    fp_texts_free(&stream->messages);
    fp_block_filter_free(&stream->bound);
    fp_free(NULL, stream);
    return next;
}

void fp_stream_close(fp_stream *stream)
{
    fp_question *q = stream->question;
    if (stream->open)
        stream->scope->source->type->close_block(stream->open);
    stream->open = NULL;
    stream->next = q->spare;
    q->spare = stream;
}

/* ------------------------------------------------------------------ opening */

static bool page_is_sound(const fp_page *page, uint32_t first_row, size_t n_codes)
{
    return page->first_row == first_row && page->n_rows > 0 && page->n_rows <= FP_BLOCK_ROWS &&
           page->date_first <= page->date_last && page->code_first < n_codes &&
           page->code_last < n_codes && page->code_min <= page->code_max &&
           page->code_max < n_codes;
}

static int check_pages(const fp_open_block *open, facpool_error *err)
{
    uint32_t first_row = 0;
    for (uint32_t i = 0; i < open->block->n_pages; i++) {
        if (!page_is_sound(&open->pages[i], first_row, open->codes->n))
            return fp_fail(err, FACPOOL_E_CORRUPT, "entry %u of its page directory can't be", i);
        first_row += open->pages[i].n_rows;
    }
    if (first_row != open->block->n_rows || first_row > FP_BLOCK_ROWS)
        return fp_fail(err, FACPOOL_E_CORRUPT, "its pages hold %u rows, its header says %u",
                       first_row, open->block->n_rows);
    return 0;
}

static int make_marks(fp_scope_block *scope, facpool_error *err)
{
    if (scope->marks)
        return 0;
    scope->marks = fp_alloc_zero(NULL, scope->block->n_pages, 1);
    return scope->marks ? 0 : fp_fail_nomem(err, scope->block->n_pages);
}

static int open_block(fp_stream *stream, fp_scope_block *scope, facpool_error *err)
{
    fp_question *q = stream->question;
    facpool_error cause = FACPOOL_ERROR_INIT;
    fp_open_block *open = NULL;
    q->stats.blocks_read += !scope->opened;
    scope->opened = true;
    int rc = scope->source->type->open_block(scope->source, scope->block_index, &q->context, &open,
                                             &cause);
    if (!rc) {
        stream->scope = scope;
        stream->block = scope->block;
        stream->open = open;
        rc = check_pages(open, &cause);
    }
    if (rc == FACPOOL_E_CORRUPT)
        return fp_question_note_damage(q, scope, 0, 0, NULL, &cause, err);
    if (rc)
        return fp_error_copy(err, &cause);
    rc = make_marks(scope, err);
    return rc ? rc : 1;
}

static bool has_other_statuses(const fp_block *block, uint32_t statuses)
{
    for (int status = 0; status <= FACPOOL_STATUS_CRASHED; status++)
        if (block->status_rows[status] && !(statuses & FACPOOL_STATUS_BIT(status)))
            return true;
    return false;
}

static int open_stream(fp_stream **out, fp_question *q, fp_scope_block *scope, uint32_t statuses,
                       bool whole, facpool_error *err)
{
    if (scope->lost)
        return 0;
    fp_stream *stream = NULL;
    int rc = stream_new(&stream, q, err);
    if (rc)
        return rc;
    rc = open_block(stream, scope, err);
    if (rc == 1) {
        bool matches = true;
        stream->whole = whole;
        stream->statuses = statuses;
        stream->test_status = !scope->block->all_ok && has_other_statuses(scope->block, statuses);
        int bound = whole ? 0
                          : fp_block_filter_bind(&stream->bound, &q->filter, scope->block,
                                                 stream->open->codes, &matches, err);
        rc = bound ? bound : matches;
    }
    if (rc == 1)
        *out = stream;
    else
        fp_stream_close(stream);
    return rc;
}

int fp_stream_open(fp_stream **out, fp_question *q, fp_scope_block *scope, uint32_t statuses,
                   facpool_error *err)
{
    int rc = open_stream(out, q, scope, statuses, false, err);
    if (rc == 1)
        (*out)->page = FP_NO_PAGE; /* the next one is 0 */
    return rc;
}

int fp_stream_open_whole(fp_stream **out, fp_question *q, fp_scope_block *scope, facpool_error *err)
{
    return open_stream(out, q, scope, FACPOOL_STATUS_ALL | 1u, true, err);
}

/* ------------------------------------------------------------------ reading */

static void mark_read(fp_stream *stream, uint32_t first_page, uint32_t n_pages)
{
    uint8_t *marks = stream->scope->marks;
    for (uint32_t page = first_page; page < first_page + n_pages; page++) {
        stream->question->stats.pages_read += !(marks[page] & FP_MARK_READ);
        marks[page] |= FP_MARK_READ;
    }
}

static uint32_t count_rows(const fp_stream *stream, uint32_t first_page, uint32_t n_pages)
{
    const fp_page *first = &stream->open->pages[first_page], *last = first + n_pages - 1;
    return last->first_row + last->n_rows - first->first_row;
}

static int check_codes(const uint32_t *codes, uint32_t n, size_t n_codes, facpool_error *err)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < n; i++)
        largest = codes[i] > largest ? codes[i] : largest;
    return largest < n_codes
               ? 0
               : fp_fail(err, FACPOOL_E_CORRUPT, "code number %u is not in its dictionary of %zu",
                         largest, n_codes);
}

static int read_checked(fp_stream *stream, uint32_t column, uint32_t first_page, uint32_t n_pages,
                        void *scratch, const void **out, facpool_error *err)
{
    fp_read_context *context = &stream->question->context;
    int rc = stream->scope->source->type->read(stream->open, context, column, first_page, n_pages,
                                               scratch, out, err);
    if (rc || column != FP_COLUMN_CODE)
        return rc;
    /* Of a page of which only some rows are wanted the others need not be there. */
    bool is_part = n_pages == 1 && context->wanted_end;
    uint32_t first = is_part ? context->wanted_first : 0;
    uint32_t end = is_part ? context->wanted_end : count_rows(stream, first_page, n_pages);
    const uint32_t *codes = *out;
    return check_codes(codes + first, end - first, stream->open->codes->n, err);
}

/* For a column: codes as a source gives them, in the place of their numbers. */
#define CODES_AS_GIVEN UINT32_MAX

/* Reads one page to see whether it can be read. */
static int try_page(fp_stream *stream, uint32_t column, uint32_t page, void *scratch,
                    facpool_error *err)
{
    const void *ignored = NULL;
    fp_code_column codes;
    if (column != CODES_AS_GIVEN)
        return read_checked(stream, column, page, 1, scratch, &ignored, err);
    return stream->scope->source->type->read_codes(stream->open, &stream->question->context, page,
                                                   1, &codes, err);
}

/* Finds which of several pages it was that could not be read. */
static int find_damaged(fp_stream *stream, uint32_t column, uint32_t first_page, uint32_t n_pages,
                        void *scratch, const facpool_error *cause, facpool_error *err)
{
    fp_question *q = stream->question;
    bool found = false;
    for (uint32_t page = first_page; n_pages > 1 && page < first_page + n_pages; page++) {
        facpool_error page_error = FACPOOL_ERROR_INIT;
        int rc = try_page(stream, column, page, scratch, &page_error);
        if (rc == FACPOOL_E_CORRUPT) {
            found = true;
            rc = fp_question_note_damage(q, stream->scope, page, 1, stream->open->pages,
                                         &page_error, &page_error);
        }
        if (rc)
            return fp_error_copy(err, &page_error);
    }
    return found ? 0
                 : fp_question_note_damage(q, stream->scope, first_page, n_pages,
                                           stream->open->pages, cause, err);
}

/* The page's entry tells the dates of a page of one date. */
static bool dates_are_known(const fp_stream *stream, uint32_t column, uint32_t page,
                            uint32_t n_pages)
{
    const fp_page *entry = &stream->open->pages[page];
    return column == FP_COLUMN_DATE && n_pages == 1 && entry->date_first == entry->date_last &&
           !fp_question_lends(stream->question, stream->scope->source);
}

static const void *put_dates(const fp_page *page, int64_t *dates)
{
    for (uint32_t i = 0; i < page->n_rows; i++)
        dates[i] = page->date_first;
    return dates;
}

int fp_stream_read(fp_stream *stream, uint32_t column, uint32_t first_page, uint32_t n_pages,
                   void *scratch, const void **out, facpool_error *err)
{
    if (dates_are_known(stream, column, first_page, n_pages)) {
        *out = put_dates(&stream->open->pages[first_page], scratch);
        return 1;
    }
    facpool_error cause = FACPOOL_ERROR_INIT;
    mark_read(stream, first_page, n_pages);
    int rc = read_checked(stream, column, first_page, n_pages, scratch, out, &cause);
    if (!rc)
        return 1;
    if (rc == FACPOOL_E_CORRUPT)
        return find_damaged(stream, column, first_page, n_pages, scratch, &cause, err);
    return fp_error_copy(err, &cause);
}

int fp_stream_read_codes(fp_stream *stream, uint32_t first_page, uint32_t n_pages,
                         fp_code_column *out, facpool_error *err)
{
    facpool_error cause = FACPOOL_ERROR_INIT;
    mark_read(stream, first_page, n_pages);
    int rc = stream->scope->source->type->read_codes(stream->open, &stream->question->context,
                                                     first_page, n_pages, out, &cause);
    if (!rc)
        return 1;
    if (rc == FACPOOL_E_CORRUPT)
        return find_damaged(stream, CODES_AS_GIVEN, first_page, n_pages, NULL, &cause, err);
    return fp_error_copy(err, &cause);
}

int fp_stream_load(fp_stream *stream, int which, facpool_error *err)
{
    fp_slot *slot = &stream->slots[which];
    if (slot->view)
        return 1;
    size_t bytes = stream->open->pages[stream->page].n_rows * slot_bytes[which];
    if (fp_grow(NULL, &slot->own, &slot->capacity, bytes, 1))
        return fp_fail_nomem(err, bytes);
    return fp_stream_read(stream, slot_columns[which], stream->page, 1, slot->own, &slot->view,
                          err);
}

static int check_messages(fp_stream *stream, uint32_t page, facpool_error *err)
{
    uint32_t n = stream->open->pages[page].n_rows;
    if (stream->messages.n == n)
        return 0;
    return fp_fail(err, FACPOOL_E_CORRUPT, "a page of %u rows has %zu messages", n,
                   stream->messages.n);
}

int fp_stream_load_messages(fp_stream *stream, uint32_t page, facpool_error *err)
{
    if (stream->messages_page == page)
        return 1;
    fp_question *q = stream->question;
    facpool_error cause = FACPOOL_ERROR_INIT;
    fp_texts_clear(&stream->messages);
    stream->messages_page = FP_NO_PAGE;
    mark_read(stream, page, 1);
    int rc = stream->scope->source->type->read_messages(stream->open, &q->context, page,
                                                        &stream->messages, &cause);
    if (!rc)
        rc = check_messages(stream, page, &cause);
    if (rc == FACPOOL_E_CORRUPT)
        return fp_question_note_damage(q, stream->scope, page, 1, stream->open->pages, &cause, err);
    if (rc)
        return fp_error_copy(err, &cause);
    stream->messages_page = page;
    return 1;
}

/* ------------------------------------------------------------------ pages */

static int load_for_selection(fp_stream *stream, bool codes, bool dates, facpool_error *err)
{
    int rc = 1;
    if (codes)
        rc = fp_stream_load(stream, FP_SLOT_CODE, err);
    if (rc == 1 && dates)
        rc = fp_stream_load(stream, FP_SLOT_DATE, err);
    if (rc == 1 && stream->test_status)
        rc = fp_stream_load(stream, FP_SLOT_STATUS, err);
    return rc;
}

static bool is_loser(const fp_stream *stream, uint32_t row_in_block)
{
    return stream->scope->losers[row_in_block / 64] >> (row_in_block % 64) & 1;
}

static void drop_other_statuses(fp_stream *stream)
{
    const uint8_t *statuses = stream->slots[FP_SLOT_STATUS].view;
    uint32_t n = 0;
    for (uint32_t i = 0; i < stream->n_selected; i++) {
        uint32_t row = stream->rows[i];
        stream->rows[n] = row;
        n += stream->statuses >> (statuses[row] & 31u) & 1u;
    }
    stream->n_selected = n;
}

static void drop_losers(fp_stream *stream, const fp_page *page)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < stream->n_selected; i++) {
        uint32_t row = stream->rows[i];
        stream->rows[n] = row;
        n += !is_loser(stream, page->first_row + row);
    }
    stream->n_selected = n;
}

static int select_rows(fp_stream *stream, int kind, facpool_error *err)
{
    const fp_page *page = &stream->open->pages[stream->page];
    bool some = kind == FP_PAGE_SOME;
    int rc = load_for_selection(stream, some && !stream->bound.any_code,
                                some && fp_block_filter_needs_dates(&stream->bound, page), err);
    if (rc <= 0)
        return rc;
    void *memory = stream->rows;
    if (fp_grow(NULL, &memory, &stream->rows_capacity, page->n_rows, sizeof *stream->rows))
        return fp_fail_nomem(err, page->n_rows * sizeof *stream->rows);
    stream->rows = memory;
    stream->n_selected = page->n_rows;
    if (some)
        stream->n_selected =
            (uint32_t)fp_block_filter_rows(&stream->bound, page, stream->slots[FP_SLOT_DATE].view,
                                           stream->slots[FP_SLOT_CODE].view, stream->rows);
    else
        for (uint32_t i = 0; i < page->n_rows; i++)
            stream->rows[i] = i;
    if (stream->test_status)
        drop_other_statuses(stream);
    if (stream->scope->losers)
        drop_losers(stream, page);
    stream->all = stream->n_selected == page->n_rows;
    return stream->n_selected > 0;
}

int fp_stream_enter_page(fp_stream *stream, uint32_t number, facpool_error *err)
{
    stream->page = number;
    stream->at = 0;
    stream->n_selected = 0;
    for (int slot = 0; slot < FP_SLOTS; slot++)
        stream->slots[slot].view = NULL;
    if (number >= stream->block->n_pages || fp_stream_page_is_damaged(stream, number))
        return 0;
    const fp_page *page = &stream->open->pages[number];
    int kind = stream->whole ? FP_PAGE_ALL : fp_block_filter_page(&stream->bound, page);
    if (kind == FP_PAGE_NONE)
        return 0;
    if (kind == FP_PAGE_SOME || stream->test_status || stream->scope->losers)
        return select_rows(stream, kind, err);
    stream->all = true;
    stream->n_selected = page->n_rows;
    return 1;
}

int fp_stream_next_page(fp_stream *stream, facpool_error *err)
{
    uint32_t page = stream->page == FP_NO_PAGE ? 0 : stream->page + 1;
    for (; page < stream->block->n_pages; page++) {
        int rc = fp_stream_enter_page(stream, page, err);
        if (rc)
            return rc;
    }
    stream->page = stream->block->n_pages;
    stream->at = stream->n_selected = 0;
    return 0;
}

uint32_t fp_stream_page_of(const fp_stream *stream, uint32_t row)
{
    const fp_page *pages = stream->open->pages;
    uint32_t first = 0, end = stream->block->n_pages;
    assert(row < stream->block->n_rows);
    while (end - first > 1) {
        uint32_t middle = first + (end - first) / 2;
        if (pages[middle].first_row <= row)
            first = middle;
        else
            end = middle;
    }
    return first;
}

/* ------------------------------------------------------------------ keys */

int fp_stream_load_keys(fp_stream *stream, facpool_error *err)
{
    int rc = fp_stream_load(stream, FP_SLOT_DATE, err);
    return rc == 1 ? fp_stream_load(stream, FP_SLOT_CODE, err) : rc;
}

int fp_stream_key(fp_stream *stream, fp_key *key, facpool_error *err)
{
    for (;;) {
        if (stream->at >= stream->n_selected) {
            int rc = fp_stream_next_page(stream, err);
            if (rc <= 0)
                return rc;
        }
        if (stream->all && stream->at == 0) { /* no need to read: the page's entry says it */
            const fp_page *page = &stream->open->pages[stream->page];
            *key = fp_key_of_id(page->date_first, stream->open->codes, page->code_first);
            return 1;
        }
        int rc = fp_stream_load_keys(stream, err);
        if (rc == 1)
            *key = fp_stream_key_of_row(stream, fp_stream_row(stream, stream->at));
        if (rc)
            return rc;
        stream->at = stream->n_selected; /* damaged: go on behind it */
    }
}
