/* Cursors: batch after batch, or row by row, in file or key order. The public face of a question;
 * how rows are found and put together is the business of streams, the merge and the gatherer. */
#include "query/cursor.h"

#include <assert.h>
#include <string.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "query/merge.h"

struct facpool_cursor {
    fp_question question;
    fp_gather gather;
    fp_merge merge;
    bool merging;       /* merge is open: key order */
    bool prepared;      /* losers are marked, or the merge is open */
    bool ended;         /* nothing is left to gather */
    size_t next_block;  /* file order: of the scope */
    size_t next_source; /* whose unlisted blocks are not told of yet */
    fp_stream *stream;  /* file order: the block at hand, NULL: none */
    fp_stream *used;    /* streams whose rows the batch may be borrowing */
    size_t rows_given;  /* of the batch at hand */
    int failed;         /* the error that ended it all, or 0 */
    facpool_error failure;
    double *row_factors;
    char code[FP_CODE_MAX_BYTES + 1];
    char message[FP_MESSAGE_MAX_BYTES + 1];
};

int fp_cursor_open(facpool_cursor **out, fp_source *const *sources, size_t n_sources,
                   const facpool_filter *filter, facpool_error *err)
{
    facpool_cursor *c = fp_alloc_zero(NULL, 1, sizeof *c);
    if (!c)
        return fp_fail_nomem(err, sizeof *c);
    int rc = fp_question_init(&c->question, sources, n_sources, filter, err);
    if (rc) {
        fp_free(NULL, c);
        return rc;
    }
    if (c->question.filter.zero_copy)
        rc = fp_scope_check_zero_copy(&c->question, err);
    if (!rc)
        rc = fp_gather_init(&c->gather, &c->question, err);
    if (rc) {
        facpool_cursor_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

static void close_used(facpool_cursor *c)
{
    if (c->used)
        fp_stream_close(c->used);
    c->used = NULL;
    if (c->merging)
        fp_merge_close_finished(&c->merge);
}

void facpool_cursor_free(facpool_cursor *c)
{
    if (!c)
        return;
    close_used(c);
    if (c->stream)
        fp_stream_close(c->stream);
    if (c->merging)
        fp_merge_free(&c->merge);
    fp_gather_free(&c->gather);
    fp_question_free(&c->question);
    fp_free(NULL, c->row_factors);
    fp_free(NULL, c);
}

/* ------------------------------------------------------------------ file order */

/* Tells of the unlisted blocks of all sources before `end`. */
static int note_unlisted(facpool_cursor *c, size_t end, facpool_error *err)
{
    for (; c->next_source < end; c->next_source++) {
        const fp_source *source = c->question.sources[c->next_source];
        int rc = source->n_damaged ? fp_question_note_unlisted(&c->question, source, err) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

/* Whether the block is given as a whole and large enough for a batch of its own. */
static bool stands_alone(const facpool_cursor *c, const fp_scope_block *scope)
{
    const fp_filter *filter = &c->question.filter;
    const fp_block *block = scope->block;
    return filter->zero_copy ||
           (block->n_rows >= FP_BATCH_ROWS_AIMED && filter->any_code && block->all_ok &&
            !scope->losers && fp_filter_takes_dates(filter, block->date_min, block->date_max));
}

/* Opens the next block that has rows to give. Returns 0 where the batch had better be given first,
 * or where there is none. */
static int open_next(facpool_cursor *c, facpool_error *err)
{
    fp_question *q = &c->question;
    while (c->next_block < q->n_blocks) {
        fp_scope_block *scope = &q->blocks[c->next_block];
        int rc = note_unlisted(c, scope->source_index + 1, err);
        if (rc)
            return rc;
        if (scope->given && c->gather.n_rows && (q->n_damages || stands_alone(c, scope)))
            return 0;
        c->next_block++;
        rc = scope->given ? fp_stream_open(&c->stream, q, scope, q->filter.statuses, err) : 0;
        if (rc)
            return rc;
    }
    c->ended = true;
    return note_unlisted(c, q->n_sources, err);
}

/* Plans the pages of the block at hand until its end or the batch's. *done gets which. */
static int plan_block(facpool_cursor *c, bool *done, facpool_error *err)
{
    fp_stream *stream = c->stream;
    for (;;) {
        if (stream->at == stream->n_selected) {
            int rc = fp_stream_next_page(stream, err);
            *done = rc == 0;
            if (rc <= 0)
                return rc;
        }
        size_t left = stream->n_selected - stream->at, room = fp_gather_room(&c->gather);
        if (left > room && (room == 0 || c->gather.n_rows + c->gather.planned > 0)) {
            *done = false;
            return 0;
        }
        uint32_t n = (uint32_t)(left < room ? left : room); /* less: a page larger than a batch */
        int rc = fp_gather_add(&c->gather, stream, stream->at, n, err);
        if (rc)
            return rc;
        stream->at += n;
    }
}

static int gather_file_order(facpool_cursor *c, facpool_error *err)
{
    for (;;) {
        if (!c->stream) {
            int rc = c->gather.n_rows >= FP_BATCH_ROWS_AIMED ? 0 : open_next(c, err);
            if (rc <= 0)
                return rc;
        }
        bool done = false;
        int rc = plan_block(c, &done, err);
        if (!rc)
            rc = fp_gather_fill(&c->gather, err);
        if (rc)
            return rc;
        if (!done)
            return 0;
        fp_stream *stream = c->stream;
        c->stream = NULL;
        if (c->gather.borrowed || c->gather.n_parted) {
            c->used = stream;
            return 0;
        }
        fp_stream_close(stream);
    }
}

/* ------------------------------------------------------------------ key order */

static int gather_key_order(facpool_cursor *c, facpool_error *err)
{
    bool more = true;
    int rc = 0;
    while (!rc && more && fp_gather_room(&c->gather) > 0) {
        if (c->merge.finished && c->gather.planned >= FP_BATCH_ROWS_AIMED)
            break;
        rc = fp_merge_step(&c->merge, &more, err);
    }
    c->ended = !more;
    return rc ? rc : fp_gather_fill(&c->gather, err);
}

/* ------------------------------------------------------------------ batches */

static int prepare(facpool_cursor *c, facpool_error *err)
{
    fp_question *q = &c->question;
    c->prepared = true;
    if (!q->filter.by_key)
        return q->contested ? fp_merge_find_losers(q, err) : 0;
    int rc = note_unlisted(c, q->n_sources, err);
    if (!rc)
        rc = fp_merge_init(&c->merge, q, &c->gather, err);
    c->merging = !rc;
    return rc;
}

static int gather_batch(facpool_cursor *c, facpool_error *err)
{
    c->rows_given = 0;
    if (c->gather.n_parted) {
        int rc = fp_gather_begin_parted(&c->gather, err);
        return rc ? rc : fp_gather_fill(&c->gather, err);
    }
    close_used(c);
    fp_gather_begin(&c->gather);
    int rc = c->prepared ? 0 : prepare(c, err);
    if (rc)
        return rc;
    return c->merging ? gather_key_order(c, err) : gather_file_order(c, err);
}

/* Keeps an error that ends the cursor: asking again gets it again. */
static int fail_for_good(facpool_cursor *c, int code, const facpool_error *cause,
                         facpool_error *err)
{
    c->failed = code;
    c->failure = *cause;
    c->gather.n_rows = c->rows_given = 0;
    return fp_error_copy(err, cause);
}

/* Makes sure that the batch at hand has a row to give. Returns 0 at the end. */
static int need_rows(facpool_cursor *c, facpool_error *err)
{
    if (c->failed)
        return fp_error_copy(err, &c->failure);
    for (;;) {
        int rc = fp_question_tell_damage(&c->question, err);
        if (rc)
            return rc;
        if (c->rows_given < c->gather.n_rows)
            return 1;
        if (c->ended && c->gather.n_parted == 0)
            return 0;
        facpool_error cause = FACPOOL_ERROR_INIT;
        rc = gather_batch(c, &cause);
        if (rc)
            return fail_for_good(c, rc, &cause, err);
    }
}

fp_gather *fp_cursor_gather(facpool_cursor *c)
{
    return &c->gather;
}

int fp_cursor_need_batch(facpool_cursor *c, size_t *first, facpool_error *err)
{
    int rc = need_rows(c, err);
    if (rc == 1)
        *first = c->rows_given;
    return rc;
}

void fp_cursor_end_batch(facpool_cursor *c)
{
    c->question.stats.rows_matched += c->gather.n_rows - c->rows_given;
    c->rows_given = c->gather.n_rows;
}

int facpool_cursor_next_batch(facpool_cursor *c, facpool_batch_view *view, facpool_error *err)
{
    if (!c || !view)
        return fp_fail(err, FACPOOL_E_INVALID, "%s is NULL: give one", c ? "view" : "cursor");
    size_t first = 0;
    int rc = fp_cursor_need_batch(c, &first, err);
    if (rc != 1)
        return rc;
    rc = fp_gather_view(&c->gather, first, view, err);
    if (rc)
        return rc;
    fp_cursor_end_batch(c);
    return 1;
}

/* ------------------------------------------------------------------ rows */

/* Column of the batch at hand; NULL where it was not asked for. */
static const void *column_of(const facpool_cursor *c, uint32_t asked, int column)
{
    bool has = c->question.filter.columns & asked;
    return has ? fp_gather_rows(&c->gather.columns[column]) : NULL;
}

static void copy_text(char *to, const char *bytes, const int32_t *offsets, size_t row, size_t most)
{
    size_t length = (size_t)(offsets[row + 1] - offsets[row]);
    length = length < most ? length : most;
    memcpy(to, bytes + offsets[row], length);
    to[length] = '\0';
}

static void fill_status(facpool_cursor *c, facpool_row *row)
{
    const fp_gather *g = &c->gather;
    size_t at = c->rows_given;
    row->status = FACPOOL_STATUS_OK;
    row->message = c->message;
    c->message[0] = '\0';
    if (g->all_ok)
        return;
    row->status = ((const uint8_t *)fp_gather_rows(&g->columns[FP_GATHER_STATUS]))[at];
    if (!g->wants_messages)
        return;
    row->failure_code = ((const int32_t *)fp_gather_rows(&g->columns[FP_GATHER_FAILURE_CODE]))[at];
    copy_text(c->message, g->message_bytes.data, g->message_offsets.data, at, FP_MESSAGE_MAX_BYTES);
}

static void fill_row(facpool_cursor *c, facpool_row *row)
{
    const fp_gather *g = &c->gather;
    size_t at = c->rows_given;
    const int64_t *dates = column_of(c, FACPOOL_COLUMN_DATE, FP_GATHER_DATE);
    const int64_t *timestamps = column_of(c, FACPOOL_COLUMN_TIMESTAMP, FP_GATHER_TIMESTAMP);
    row->date = dates ? dates[at] : 0;
    row->timestamp = timestamps ? timestamps[at] : 0;
    row->code = c->code;
    c->code[0] = '\0';
    if (c->question.filter.columns & FACPOOL_COLUMN_CODE)
        copy_text(c->code, g->codes.bytes, g->codes.offsets, at, FP_CODE_MAX_BYTES);
    fill_status(c, row);
    row->n_factors = g->n_columns - FP_GATHER_FACTOR;
    if (row->status != FACPOOL_STATUS_OK)
        return;
    for (size_t k = 0; k < row->n_factors; k++)
        c->row_factors[k] = ((const double *)fp_gather_rows(&g->columns[FP_GATHER_FACTOR + k]))[at];
    row->factors = c->row_factors;
}

static int make_row_factors(facpool_cursor *c, facpool_error *err)
{
    size_t n = c->question.filter.n_factors;
    if (!c->row_factors)
        c->row_factors = fp_alloc(NULL, n * sizeof(double));
    return c->row_factors ? 0 : fp_fail_nomem(err, n * sizeof(double));
}

int facpool_cursor_next(facpool_cursor *c, facpool_row *row, facpool_error *err)
{
    if (!c || !row)
        return fp_fail(err, FACPOOL_E_INVALID, "%s is NULL: give one", c ? "row" : "cursor");
    int rc = make_row_factors(c, err);
    if (!rc)
        rc = need_rows(c, err);
    if (rc != 1)
        return rc;
    facpool_row own = FACPOOL_ROW_INIT;
    fill_row(c, &own);
    rc = fp_abi_export(row, &own, sizeof own, "facpool_row", err);
    if (rc)
        return rc;
    c->rows_given++;
    c->question.stats.rows_matched++;
    return 1;
}

int facpool_cursor_stats(const facpool_cursor *c, facpool_query_stats *stats, facpool_error *err)
{
    if (!c)
        return fp_fail(err, FACPOOL_E_INVALID, "cursor is NULL: give one");
    facpool_query_stats own = c->question.stats;
    own.bytes_read = c->question.context.bytes_read;
    return fp_abi_export(stats, &own, sizeof own, "facpool_query_stats", err);
}
