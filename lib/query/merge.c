/* The merge of blocks by key. Blocks wait until the keys before them are dealt with; of open ones
 * the one with the smallest key gives as many rows as come before the next one's. Called by cursors
 * that ask for key order, and before file order where rows can be superseded. */
#include "query/merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "query/witness.h"

static int compare_waiting(const void *a, const void *b)
{
    return fp_key_compare(&((const fp_waiting *)a)->bound, &((const fp_waiting *)b)->bound);
}

/* A block's smallest date and smallest code bound its keys, whichever rows they are of. */
static fp_key bound_of(const fp_block *block)
{
    return fp_key_of(block->date_min, block->code_min, strlen(block->code_min));
}

static bool goes_through(const fp_merge *m, const fp_scope_block *scope)
{
    return m->gather ? scope->given : scope->contested;
}

int fp_merge_init(fp_merge *out, fp_question *q, fp_gather *gather, facpool_error *err)
{
    fp_merge m = {.question = q, .gather = gather};
    m.waiting = fp_alloc(NULL, q->n_blocks * sizeof *m.waiting);
    m.witnesses = fp_alloc(NULL, q->n_blocks * sizeof *m.witnesses);
    if (!m.waiting || !m.witnesses) {
        fp_free(NULL, m.waiting);
        fp_free(NULL, m.witnesses);
        return fp_fail_nomem(err, q->n_blocks * sizeof *m.witnesses);
    }
    for (size_t i = 0; i < q->n_blocks; i++) {
        fp_scope_block *scope = &q->blocks[i];
        fp_key bound = bound_of(scope->block);
        if (goes_through(&m, scope))
            m.waiting[m.n_waiting++] = (fp_waiting){bound, scope};
        else
            m.witnesses[m.n_witnesses++] =
                (fp_witness){.bound = bound, .scope = scope, .page = FP_NO_PAGE};
    }
    qsort(m.waiting, m.n_waiting, sizeof *m.waiting, compare_waiting);
    fp_witnesses_order(&m);
    *out = m;
    return 0;
}

void fp_merge_close_finished(fp_merge *m)
{
    while (m->finished) {
        fp_stream *stream = m->finished;
        m->finished = stream->next;
        fp_stream_close(stream);
    }
}

void fp_merge_free(fp_merge *m)
{
    fp_merge_close_finished(m);
    for (size_t i = 0; i < m->n_heads; i++)
        fp_stream_close(m->heads[i].stream);
    for (size_t i = 0; i < m->n_witnesses; i++)
        if (m->witnesses[i].stream)
            fp_stream_close(m->witnesses[i].stream);
    fp_free(NULL, m->waiting);
    fp_free(NULL, m->heads);
    fp_free(NULL, m->witnesses);
    *m = (fp_merge){.n_heads = 0};
}

/* ------------------------------------------------------------------ heads */

static void sift_down(fp_merge *m)
{
    if (m->n_heads == 0)
        return;
    fp_merge_head moved = m->heads[0];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->n_heads)
            break;
        if (child + 1 < m->n_heads &&
            fp_key_compare(&m->heads[child + 1].key, &m->heads[child].key) < 0)
            child++;
        if (fp_key_compare(&moved.key, &m->heads[child].key) <= 0)
            break;
        m->heads[at] = m->heads[child];
        at = child;
    }
    m->heads[at] = moved;
}

static int push_head(fp_merge *m, fp_stream *stream, fp_key key, facpool_error *err)
{
    void *memory = m->heads;
    if (fp_grow(NULL, &memory, &m->heads_capacity, m->n_heads + 1, sizeof *m->heads))
        return fp_fail_nomem(err, (m->n_heads + 1) * sizeof *m->heads);
    m->heads = memory;
    size_t at = m->n_heads++;
    while (at > 0 && fp_key_compare(&key, &m->heads[(at - 1) / 2].key) < 0) {
        m->heads[at] = m->heads[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    m->heads[at] = (fp_merge_head){key, stream};
    return 0;
}

static void finish_stream(fp_merge *m, fp_stream *stream)
{
    stream->next = m->finished;
    m->finished = stream;
}

/* The first head's stream has moved on: finds its new place, or takes it out at its end. */
static int replace_first(fp_merge *m, facpool_error *err)
{
    int rc = fp_stream_key(m->heads[0].stream, &m->heads[0].key, err);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        finish_stream(m, m->heads[0].stream);
        m->heads[0] = m->heads[--m->n_heads];
    }
    sift_down(m);
    return 0;
}

/* Whether every row that the stream selects is to be given: its keys are its own alone in its
 * source, and statuses are told apart when rows are selected. Where blocks are skipped, a witness
 * may have ok rows, of another source, that supersede ok rows. */
static bool gives_all(const fp_question *q, const fp_scope_block *scope)
{
    if (q->filter.skip_bytes && q->n_sources > 1 && scope->contested)
        return false;
    return scope->block->all_ok || (scope->unique && q->n_sources == 1);
}

/* Where rows of one key compete, rows of any status do. */
static uint32_t statuses_to_select(const fp_question *q, const fp_scope_block *scope)
{
    bool asked_only = gives_all(q, scope) || fp_filter_ok_only(&q->filter);
    return asked_only ? q->filter.statuses : FACPOOL_STATUS_ALL;
}

static int open_waiting(fp_merge *m, fp_scope_block *scope, facpool_error *err)
{
    fp_stream *stream = NULL;
    fp_key key;
    int rc =
        fp_stream_open(&stream, m->question, scope, statuses_to_select(m->question, scope), err);
    if (rc <= 0)
        return rc;
    rc = fp_stream_key(stream, &key, err);
    if (rc == 1 && !(rc = push_head(m, stream, key, err)))
        return 0;
    fp_stream_close(stream);
    return rc;
}

static int open_due(fp_merge *m, facpool_error *err)
{
    while (m->next_waiting < m->n_waiting) {
        const fp_waiting *next = &m->waiting[m->next_waiting];
        if (m->n_heads && fp_key_compare(&next->bound, &m->heads[0].key) > 0)
            break;
        m->next_waiting++;
        int rc = open_waiting(m, next->scope, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ------------------------------------------------------------------ stretches */

/* The smallest key of any other block; NULL: there is none. */
static const fp_key *limit_of(const fp_merge *m)
{
    const fp_key *limit = NULL;
    if (m->next_waiting < m->n_waiting)
        limit = &m->waiting[m->next_waiting].bound;
    for (size_t i = 1; i < 3 && i < m->n_heads; i++)
        if (!limit || fp_key_compare(&m->heads[i].key, limit) < 0)
            limit = &m->heads[i].key;
    return limit;
}

static bool page_is_before(const fp_stream *stream, const fp_key *limit)
{
    const fp_page *page = &stream->open->pages[stream->page];
    fp_key last = fp_key_of_id(page->date_last, stream->open->codes, page->code_last);
    return fp_key_compare(&last, limit) < 0;
}

static bool row_is_before(const fp_stream *stream, uint32_t i, const fp_key *limit)
{
    fp_key key = fp_stream_key_of_row(stream, fp_stream_row(stream, i));
    return fp_key_compare(&key, limit) < 0;
}

/* First of the selected rows, from the one at hand, that is not before the limit. Steps double
 * until one is, since stretches are often short. */
static uint32_t end_before(const fp_stream *stream, const fp_key *limit)
{
    uint32_t first = stream->at, step = 1;
    while (first + step < stream->n_selected && row_is_before(stream, first + step, limit)) {
        first += step;
        step *= 2;
    }
    uint32_t end = first + step < stream->n_selected ? first + step : stream->n_selected;
    first++; /* the row at `first` is before the limit */
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (row_is_before(stream, middle, limit))
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* The first stream's rows before the limit, at most to the end of its page. */
static int take_stretch(fp_merge *m, const fp_key *limit, facpool_error *err)
{
    fp_stream *stream = m->heads[0].stream;
    uint32_t end = stream->n_selected;
    if (limit && !page_is_before(stream, limit)) {
        int rc = fp_stream_load_keys(stream, err);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            stream->at = stream->n_selected;
            return replace_first(m, err);
        }
        end = end_before(stream, limit);
    }
    uint32_t n = end - stream->at;
    if (m->gather) {
        size_t room = fp_gather_room(m->gather);
        n = n < room ? n : (uint32_t)room;
        int rc = fp_gather_add(m->gather, stream, stream->at, n, err);
        if (rc)
            return rc;
    }
    stream->at += n;
    return replace_first(m, err);
}

/* ------------------------------------------------------------------ equal keys */

typedef struct candidate {
    fp_stream *stream; /* NULL: none yet */
    bool witness;
    uint8_t status;
    int64_t timestamp;
    uint32_t row; /* in its block */
    int64_t date;
    uint32_t code_id;
} candidate;

static bool stands_against(const candidate *a, const candidate *b)
{
    bool a_ok = a->status == FACPOOL_STATUS_OK, b_ok = b->status == FACPOOL_STATUS_OK;
    if (a_ok != b_ok)
        return a_ok;
    if (a->timestamp != b->timestamp)
        return a->timestamp > b->timestamp;
    const fp_scope_block *x = a->stream->scope, *y = b->stream->scope;
    if (x->source_index != y->source_index)
        return x->source_index > y->source_index;
    if (x->block_index != y->block_index)
        return x->block_index > y->block_index;
    return a->row > b->row;
}

static int mark_loser(const candidate *loser, facpool_error *err)
{
    fp_scope_block *scope = loser->stream->scope;
    if (loser->witness)
        return 0;
    if (!scope->losers) {
        size_t words = (scope->block->n_rows + 63) / 64;
        scope->losers = fp_alloc_zero(NULL, words, sizeof *scope->losers);
        if (!scope->losers)
            return fp_fail_nomem(err, words * sizeof *scope->losers);
    }
    scope->losers[loser->row / 64] |= (uint64_t)1 << (loser->row % 64);
    return 0;
}

/* Reads the row a stream stands on. Returns 0 where it is damaged. */
static int read_candidate(fp_stream *stream, candidate *out, facpool_error *err)
{
    int rc = fp_stream_load_keys(stream, err);
    if (rc == 1)
        rc = fp_stream_load(stream, FP_SLOT_TIMESTAMP, err);
    if (rc == 1 && !stream->block->all_ok)
        rc = fp_stream_load(stream, FP_SLOT_STATUS, err);
    if (rc <= 0)
        return rc;
    uint32_t row = fp_stream_row(stream, stream->at);
    const uint8_t *statuses = stream->slots[FP_SLOT_STATUS].view;
    out->stream = stream;
    out->status = stream->block->all_ok ? FACPOOL_STATUS_OK : statuses[row];
    out->timestamp = ((const int64_t *)stream->slots[FP_SLOT_TIMESTAMP].view)[row];
    out->date = ((const int64_t *)stream->slots[FP_SLOT_DATE].view)[row];
    out->code_id = ((const uint32_t *)stream->slots[FP_SLOT_CODE].view)[row];
    out->row = stream->open->pages[stream->page].first_row + row;
    return 1;
}

/* Holds the row a stream stands on against the best so far, and moves the stream on. */
static int consider(fp_merge *m, fp_stream *stream, bool witness, candidate *best,
                    facpool_error *err)
{
    candidate found = {.witness = witness};
    int rc = read_candidate(stream, &found, err);
    if (rc <= 0) {
        stream->at = stream->n_selected;
        return rc;
    }
    stream->at++;
    if (found.status == FACPOOL_STATUS_NONE)
        return 0;
    candidate loser = found;
    if (!best->stream || stands_against(&found, best)) {
        loser = *best;
        *best = found;
    }
    return loser.stream && !m->gather ? mark_loser(&loser, err) : 0;
}

static int consult_witnesses(fp_merge *m, const fp_key *key, candidate *best, facpool_error *err)
{
    for (;;) {
        fp_stream *stream = NULL;
        int rc = fp_witnesses_find(m, key, &stream, err);
        if (rc <= 0)
            return rc;
        rc = consider(m, stream, true, best, err);
        if (!rc)
            rc = fp_witnesses_move_on(m, err);
        if (rc < 0)
            return rc;
    }
}

static int give(fp_merge *m, const candidate *best, facpool_error *err)
{
    bool asked = m->question->filter.statuses >> (best->status & 31) & 1;
    if (!m->gather || best->witness || !asked)
        return 0;
    return fp_gather_add_row(m->gather, best->stream, best->row, best->date, best->code_id, err);
}

/* All rows of the smallest key, of which one stands. */
static int resolve_key(fp_merge *m, facpool_error *err)
{
    fp_key key = m->heads[0].key;
    candidate best = {.stream = NULL};
    while (m->n_heads && fp_key_compare(&m->heads[0].key, &key) == 0) {
        int rc = consider(m, m->heads[0].stream, false, &best, err);
        if (!rc)
            rc = replace_first(m, err);
        if (rc < 0)
            return rc;
    }
    int rc = best.stream ? consult_witnesses(m, &key, &best, err) : 0;
    return rc || !best.stream ? rc : give(m, &best, err);
}

/* ------------------------------------------------------------------ going through */

int fp_merge_step(fp_merge *m, bool *more, facpool_error *err)
{
    int rc = open_due(m, err);
    if (rc)
        return rc;
    *more = m->n_heads > 0;
    if (m->n_heads == 0)
        return 0;
    const fp_merge_head *first = &m->heads[0];
    const fp_key *limit = limit_of(m);
    bool alone = !limit || fp_key_compare(&first->key, limit) < 0;
    if (alone && gives_all(m->question, first->stream->scope))
        return take_stretch(m, limit, err);
    return resolve_key(m, err);
}

int fp_merge_find_losers(fp_question *q, facpool_error *err)
{
    fp_merge m;
    int rc = fp_merge_init(&m, q, NULL, err);
    if (rc)
        return rc;
    bool more = true;
    while (!rc && more) {
        rc = fp_merge_step(&m, &more, err);
        fp_merge_close_finished(&m);
    }
    fp_merge_free(&m);
    return rc;
}
