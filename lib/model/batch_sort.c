/* fp_batch_sort: a natural merge sort by (date, code). Batches are a few sorted runs one behind the
 * other (one a worker's slice), so merging the runs that are there costs a pass or three, where a
 * general sort would cost sixteen. Keys are sorted with their row numbers, then every column is
 * gathered once. */
#include "model/batch.h"

#include "base/alloc.h"
#include "base/error.h"

#include <assert.h>
#include <string.h>

/* A row while it is sorted. Where the codes have a rank and the dates lie within 2^32 of each other
 * (all but odd batches), `order` is the whole order: date above, rank below. Else it is the date
 * alone, and equal dates are told apart by their codes. */
typedef struct sort_key {
    uint64_t order;
    uint32_t row;
    uint32_t code_id;
} sort_key;

/* Whether b must come before a, where a stands first now. Equal keys keep their order. */
static inline bool ids_out_of_order(const fp_codes *codes, uint32_t a, uint32_t b)
{
    if (a == b)
        return false;
    if (codes->rank)
        return codes->rank[b] < codes->rank[a];
    return fp_text_compare(fp_texts_at(&codes->texts, b), fp_texts_length(&codes->texts, b),
                           fp_texts_at(&codes->texts, a), fp_texts_length(&codes->texts, a)) < 0;
}

static inline bool rows_out_of_order(const fp_batch *b, size_t row)
{
    if (b->dates[row] != b->dates[row + 1])
        return b->dates[row + 1] < b->dates[row];
    return ids_out_of_order(b->codes, b->code_ids[row], b->code_ids[row + 1]);
}

/* The row behind the sorted run that begins at `first`. */
static size_t run_end(const fp_batch *b, size_t first)
{
    size_t row = first;
    while (row + 1 < b->n_rows && !rows_out_of_order(b, row))
        row++;
    return row + 1;
}

/* What is left when one of two runs is used up. */
static void copy_rest(sort_key *to, const sort_key *a, size_t n_a, const sort_key *b, size_t n_b)
{
    memcpy(to, a, n_a * sizeof *a);
    memcpy(to + n_a, b, n_b * sizeof *b);
}

/* Two runs on their way into one. */
typedef struct merge {
    sort_key *to;
    const sort_key *a, *a_end;
    const sort_key *b, *b_end;
} merge;

/* The outcome of the comparison is a number and never a branch: in interleaved runs it is a coin
 * toss, which the processor would guess wrong half of the time. */
static inline void merge_step(merge *m)
{
    uint64_t take_b = m->b->order < m->a->order;
    uint64_t mask = (uint64_t)0 - take_b;
    m->to->order = m->a->order ^ ((m->a->order ^ m->b->order) & mask);
    m->to->row = m->a->row ^ ((m->a->row ^ m->b->row) & (uint32_t)mask);
    m->to++;
    m->b += take_b;
    m->a += take_b ^ 1;
}

/* Runs come from slices of neighbouring tasks, so one of them mostly wins for a long stretch:
 * looked for once every so many rows. */
#define STRETCH_ROWS 16

static void merge_stretches(merge *m)
{
    while (m->a_end - m->a >= STRETCH_ROWS && m->b_end - m->b >= STRETCH_ROWS) {
        if (m->a[STRETCH_ROWS - 1].order <= m->b->order) {
            memcpy(m->to, m->a, STRETCH_ROWS * sizeof *m->to);
            m->to += STRETCH_ROWS;
            m->a += STRETCH_ROWS;
        } else if (m->b[STRETCH_ROWS - 1].order < m->a->order) {
            memcpy(m->to, m->b, STRETCH_ROWS * sizeof *m->to);
            m->to += STRETCH_ROWS;
            m->b += STRETCH_ROWS;
        } else {
            for (int step = 0; step < STRETCH_ROWS; step++)
                merge_step(m);
        }
    }
}

static void merge_whole_orders(sort_key *to, const sort_key *a, size_t n_a, const sort_key *b,
                               size_t n_b)
{
    merge m = {to, a, a + n_a, b, b + n_b};
    merge_stretches(&m);
    while (m.a < m.a_end && m.b < m.b_end)
        merge_step(&m);
    copy_rest(m.to, m.a, (size_t)(m.a_end - m.a), m.b, (size_t)(m.b_end - m.b));
}

static void merge_by_code(const fp_codes *codes, sort_key *to, const sort_key *a, size_t n_a,
                          const sort_key *b, size_t n_b)
{
    size_t i = 0, j = 0;
    while (i < n_a && j < n_b) {
        bool take_b = a[i].order != b[j].order
                          ? b[j].order < a[i].order
                          : ids_out_of_order(codes, a[i].code_id, b[j].code_id);
        to[i + j] = take_b ? b[j] : a[i];
        j += take_b;
        i += !take_b;
    }
    copy_rest(to + i + j, a + i, n_a - i, b + j, n_b - j);
}

/* What the sort works with, in the batch's own sort memory. Runs are given by where they end. */
typedef struct sorter {
    sort_key *keys;
    sort_key *other; /* as long: each pass merges from one into the other */
    uint32_t *ends;
    size_t n_runs;
    bool whole_orders;
} sorter;

static void fill_keys(sorter *s, const fp_batch *b)
{
    int64_t first = b->dates[0], last = b->dates[0];
    for (size_t row = 1; row < b->n_rows; row++) {
        first = b->dates[row] < first ? b->dates[row] : first;
        last = b->dates[row] > last ? b->dates[row] : last;
    }
    const uint32_t *rank = b->codes->rank;
    s->whole_orders = rank && (uint64_t)last - (uint64_t)first <= UINT32_MAX;
    for (size_t row = 0; row < b->n_rows; row++) {
        uint32_t id = b->code_ids[row];
        uint64_t days = (uint64_t)b->dates[row] - (uint64_t)first;
        uint64_t order = s->whole_orders ? days << 32 | rank[id] : days;
        s->keys[row] = (sort_key){order, (uint32_t)row, id};
    }
}

/* The memory stays with the batch: fresh pages would cost as much as the sort. */
static bool sorter_init(sorter *s, fp_batch *b)
{
    size_t n_runs = 0;
    for (size_t row = 0; row < b->n_rows; row = run_end(b, row))
        n_runs++;
    size_t needed = b->n_rows * 2 * sizeof *s->keys + n_runs * sizeof *s->ends;
    if (fp_grow(b->allocator, &b->sort_memory, &b->sort_memory_bytes, needed, 1))
        return false;
    *s = (sorter){.keys = b->sort_memory};
    s->other = s->keys + b->n_rows;
    s->ends = (uint32_t *)(s->other + b->n_rows);
    for (size_t row = 0; row < b->n_rows;) {
        row = run_end(b, row);
        s->ends[s->n_runs++] = (uint32_t)row;
    }
    fill_keys(s, b);
    return true;
}

/* One pass: neighbouring runs are merged in pairs, an odd last one is copied. */
static void merge_pass(sorter *s, const fp_codes *codes)
{
    size_t merged = 0;
    uint32_t begin = 0;
    for (size_t run = 0; run < s->n_runs; run += 2) {
        uint32_t middle = s->ends[run];
        uint32_t end = run + 1 < s->n_runs ? s->ends[run + 1] : middle;
        const sort_key *from = s->keys;
        size_t n_a = middle - begin, n_b = end - middle;
        if (s->whole_orders)
            merge_whole_orders(s->other + begin, from + begin, n_a, from + middle, n_b);
        else
            merge_by_code(codes, s->other + begin, from + begin, n_a, from + middle, n_b);
        s->ends[merged++] = end;
        begin = end;
    }
    s->n_runs = merged;
    sort_key *swapped = s->keys;
    s->keys = s->other;
    s->other = swapped;
}

/* Brings a column into the order of the keys, by way of memory that the merges no longer need.
 * Through memcpy, so that one function serves columns of every type. */
static inline void gather(void *column, const sorter *s, size_t n, size_t each)
{
    char *to = (char *)s->other;
    const char *from = column;
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * each, from + s->keys[i].row * each, each);
    memcpy(column, to, n * each);
}

/* The only step of gathering that can fail, so it comes first. */
static bool gather_messages(fp_batch *b, const sorter *s)
{
    fp_texts sorted = {.allocator = b->messages.allocator};
    for (size_t i = 0; i < b->n_rows; i++) {
        size_t row = s->keys[i].row;
        if (fp_texts_add(&sorted, fp_texts_at(&b->messages, row),
                         fp_texts_length(&b->messages, row))) {
            fp_texts_free(&sorted);
            return false;
        }
    }
    fp_texts_free(&b->messages);
    b->messages = sorted;
    return true;
}

static void gather_columns(fp_batch *b, const sorter *s)
{
    size_t n = b->n_rows;
    gather(b->dates, s, n, sizeof *b->dates);
    gather(b->code_ids, s, n, sizeof *b->code_ids);
    gather(b->timestamps, s, n, sizeof *b->timestamps);
    if (b->ok) {
        for (size_t f = 0; f < b->n_factors; f++)
            gather(b->factors[f], s, n, sizeof(double));
        return;
    }
    gather(b->statuses, s, n, sizeof *b->statuses);
    gather(b->failure_codes, s, n, sizeof *b->failure_codes);
}

int fp_batch_sort(fp_batch *batch, facpool_error *err)
{
    assert(batch->n_rows <= UINT32_MAX);
    if (batch->n_rows < 2 || run_end(batch, 0) == batch->n_rows)
        return 0;
    sorter s;
    if (!sorter_init(&s, batch))
        return fp_fail_nomem(err, batch->n_rows * 2 * sizeof(sort_key));
    while (s.n_runs > 1)
        merge_pass(&s, batch->codes);
    if (!batch->ok && !gather_messages(batch, &s))
        return fp_fail_nomem(err, fp_batch_bytes(batch));
    gather_columns(batch, &s);
    return 0;
}
