/* Looks keys up in witnesses, by ranges, dictionary and page directory before any key is read.
 * Called by the merge; gives no rows out. */
#include "query/witness.h"

#include <assert.h>
#include <string.h>

static void sift_down(fp_merge *m, size_t at)
{
    fp_witness moved = m->witnesses[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->n_witnesses)
            break;
        if (child + 1 < m->n_witnesses &&
            fp_key_compare(&m->witnesses[child + 1].bound, &m->witnesses[child].bound) < 0)
            child++;
        if (fp_key_compare(&moved.bound, &m->witnesses[child].bound) <= 0)
            break;
        m->witnesses[at] = m->witnesses[child];
        at = child;
    }
    m->witnesses[at] = moved;
}

void fp_witnesses_order(fp_merge *m)
{
    for (size_t i = m->n_witnesses / 2; i-- > 0;)
        sift_down(m, i);
}

static void drop_first(fp_merge *m)
{
    if (m->witnesses[0].stream)
        fp_stream_close(m->witnesses[0].stream);
    m->witnesses[0] = m->witnesses[--m->n_witnesses];
    if (m->n_witnesses)
        sift_down(m, 0);
}

/* No row of the witness with a date up to `date` matters any more, nor those of that date with
 * codes before `code`. Returns 0 where none is left. */
static int set_bound(fp_witness *w, int64_t date, const char *code, size_t length)
{
    w->bound = fp_key_of(date, code, length);
    w->exact = false;
    return 1;
}

static int bound_by_next_date(fp_witness *w, int64_t date, const char *code, size_t length)
{
    if (date >= w->scope->block->date_max)
        return 0;
    return set_bound(w, date + 1, code, length);
}

/* What the block's ranges say of a key that is not in them. Returns 2 where it may be. */
static int seek_by_range(fp_witness *w, const fp_key *key)
{
    const fp_block *block = w->scope->block;
    if (key->date > block->date_max)
        return 0;
    size_t min_length = strlen(block->code_min);
    if (fp_text_compare(key->code, key->length, block->code_min, min_length) < 0)
        return set_bound(w, key->date, block->code_min, min_length);
    if (fp_text_compare(key->code, key->length, block->code_max, strlen(block->code_max)) > 0)
        return bound_by_next_date(w, key->date, block->code_min, min_length);
    return 2;
}

/* The same by its dictionary; *id gets the code's number. */
static int seek_by_dictionary(fp_witness *w, const fp_key *key, uint32_t *id)
{
    const fp_texts *codes = w->stream->open->codes;
    size_t at = fp_texts_lower_bound(codes, key->code, key->length);
    if (at == codes->n)
        return bound_by_next_date(w, key->date, fp_texts_at(codes, 0), fp_texts_length(codes, 0));
    *id = (uint32_t)at;
    bool found = fp_text_compare(fp_texts_at(codes, at), fp_texts_length(codes, at), key->code,
                                 key->length) == 0;
    return found ? 2 : set_bound(w, key->date, fp_texts_at(codes, at), fp_texts_length(codes, at));
}

/* Makes the page at hand that which may hold the key. Returns 0 at the block's end, 1 where the key
 * is before the page (the bound is then its first key), 2 where the page's keys are read. */
static int seek_page(fp_witness *w, int64_t date, uint32_t id, facpool_error *err)
{
    fp_stream *stream = w->stream;
    uint32_t page = w->page == FP_NO_PAGE ? 0 : w->page;
    for (; page < stream->block->n_pages; page++) {
        const fp_page *entry = &stream->open->pages[page];
        bool behind =
            entry->date_last < date || (entry->date_last == date && entry->code_last < id);
        if (behind || fp_stream_page_is_damaged(stream, page))
            continue;
        if (entry->date_first > date || (entry->date_first == date && entry->code_first > id)) {
            const fp_texts *codes = stream->open->codes;
            return set_bound(w, entry->date_first, fp_texts_at(codes, entry->code_first),
                             fp_texts_length(codes, entry->code_first));
        }
        int rc = w->page == page ? 1 : fp_stream_enter_page(stream, page, err);
        w->page = page;
        if (rc == 1)
            rc = fp_stream_load(stream, FP_SLOT_DATE, err);
        if (rc == 1)
            rc = fp_stream_load(stream, FP_SLOT_CODE, err);
        if (rc)
            return rc < 0 ? rc : 2;
    }
    return 0;
}

/* Stands on the page's first row, from the one at hand on, that is not before the key. Never going
 * back keeps this finite even on rows that are not sorted as they should be. */
static int seek_row(fp_witness *w, int64_t date, uint32_t id)
{
    fp_stream *stream = w->stream;
    const int64_t *dates = stream->slots[FP_SLOT_DATE].view;
    const uint32_t *codes = stream->slots[FP_SLOT_CODE].view;
    uint32_t first = stream->at, end = stream->n_selected;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (dates[middle] < date || (dates[middle] == date && codes[middle] < id))
            first = middle + 1;
        else
            end = middle;
    }
    if (first == stream->n_selected) /* the page's entry said otherwise: take the page as used up */
        return 0;
    stream->at = first;
    w->bound = fp_key_of_id(dates[first], stream->open->codes, codes[first]);
    w->exact = true;
    return 1;
}

/* Brings a witness up to the key. Returns 0 where it has nothing left. */
static int seek(fp_merge *m, fp_witness *w, const fp_key *key, facpool_error *err)
{
    int rc = seek_by_range(w, key);
    if (rc < 2)
        return rc;
    if (!w->stream) {
        rc = fp_stream_open_whole(&w->stream, m->question, w->scope, err);
        if (rc <= 0)
            return rc;
    }
    uint32_t id = 0;
    rc = seek_by_dictionary(w, key, &id);
    if (rc < 2)
        return rc;
    rc = seek_page(w, key->date, id, err);
    return rc < 2 ? rc : seek_row(w, key->date, id);
}

int fp_witnesses_find(fp_merge *m, const fp_key *key, fp_stream **stream, facpool_error *err)
{
    while (m->n_witnesses) {
        fp_witness *first = &m->witnesses[0];
        int order = fp_key_compare(&first->bound, key);
        if (order > 0)
            return 0;
        if (order == 0 && first->exact) {
            *stream = first->stream;
            return 1;
        }
        int rc = seek(m, first, key, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            drop_first(m);
        else
            sift_down(m, 0);
    }
    return 0;
}

int fp_witnesses_move_on(fp_merge *m, facpool_error *err)
{
    fp_witness *first = &m->witnesses[0];
    assert(m->n_witnesses > 0 && first->exact);
    int rc = fp_stream_key(first->stream, &first->bound, err);
    if (rc < 0)
        return rc;
    first->page = first->stream->page;
    if (rc == 0)
        drop_first(m);
    else
        sift_down(m, 0);
    return 0;
}
