/* Key order of a task set: axes or rows sorted once, duplicates found on the way; and the matching
 * of stored rows against it, which resume and results are built on. */
#include "model/key_order.h"

#include <stdlib.h>
#include "base/alloc.h"
#include "base/error.h"

/* ------------------------------------------------------------------ sorting a grid's axes */

typedef struct axis_entry {
    int64_t key;
    uint32_t place;
} axis_entry;

static int compare_axis(const void *a, const void *b)
{
    const axis_entry *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* order[i] = place on the axis of the i-th smallest key. *twice gets a place whose key occurs
 * twice, or UINT32_MAX. */
static int sort_axis(const facpool_allocator *allocator, axis_entry *entries, size_t n,
                     uint32_t **order, uint32_t *twice)
{
    *twice = UINT32_MAX;
    *order = fp_alloc_zero(allocator, n ? n : 1, sizeof **order);
    if (!*order)
        return FACPOOL_E_NOMEM;
    qsort(entries, n, sizeof *entries, compare_axis);
    for (size_t i = 0; i < n; i++) {
        (*order)[i] = entries[i].place;
        if (i && entries[i].key == entries[i - 1].key)
            *twice = entries[i].place;
    }
    return 0;
}

static int sort_grid(fp_key_order *keys, facpool_error *err)
{
    const facpool_tasks *tasks = keys->tasks;
    size_t longest = tasks->n_dates > tasks->n_codes ? tasks->n_dates : tasks->n_codes;
    axis_entry *entries = fp_alloc_zero(keys->allocator, longest ? longest : 1, sizeof *entries);
    if (!entries)
        return fp_fail_nomem(err, longest * sizeof *entries);
    uint32_t date_twice, code_twice = UINT32_MAX;
    for (size_t i = 0; i < tasks->n_dates; i++)
        entries[i] = (axis_entry){tasks->dates[i], (uint32_t)i};
    int rc = sort_axis(keys->allocator, entries, tasks->n_dates, &keys->date_order, &date_twice);
    if (!rc) {
        for (size_t i = 0; i < tasks->n_codes; i++)
            entries[i] = (axis_entry){tasks->codes.rank[tasks->code_ids[i]], (uint32_t)i};
        rc = sort_axis(keys->allocator, entries, tasks->n_codes, &keys->code_order, &code_twice);
    }
    fp_free(keys->allocator, entries);
    if (rc)
        return fp_fail_nomem(err, longest * sizeof(uint32_t));
    if (tasks->count && date_twice != UINT32_MAX)
        return fp_fail_task(err, FACPOOL_E_DUPLICATE, tasks->dates[date_twice],
                            fp_texts_at(&tasks->codes.texts, tasks->code_ids[0]),
                            "date %lld is twice on the grid's date axis: give every date once",
                            (long long)tasks->dates[date_twice]);
    if (tasks->count && code_twice != UINT32_MAX) {
        const char *code = fp_texts_at(&tasks->codes.texts, tasks->code_ids[code_twice]);
        return fp_fail_task(err, FACPOOL_E_DUPLICATE, tasks->dates[0], code,
                            "code '%s' is twice on the grid's code axis: give every code once",
                            code);
    }
    return 0;
}

/* ------------------------------------------------------------------ sorting a list */

/* Signed order of dates as unsigned. */
static inline uint64_t date_bits(int64_t date)
{
    return (uint64_t)date ^ (UINT64_C(1) << 63);
}

static inline int compare_keys(const fp_key_order *keys, int64_t date_a, uint32_t rank_a,
                               int64_t date_b, uint32_t rank_b)
{
    int by_date = date_a < date_b ? -1 : date_a > date_b;
    int by_code = rank_a < rank_b ? -1 : rank_a > rank_b;
    if (keys->code_major)
        return by_code ? by_code : by_date;
    return by_date ? by_date : by_code;
}

/* -1, 0 or 1 for the tasks at two indexes. */
static int compare_tasks(const fp_key_order *keys, size_t a, size_t b)
{
    const facpool_tasks *t = keys->tasks;
    return compare_keys(keys, t->dates[a], t->codes.rank[t->code_ids[a]], t->dates[b],
                        t->codes.rank[t->code_ids[b]]);
}

static bool list_is_sorted(const fp_key_order *keys)
{
    for (size_t i = 1; i < keys->tasks->count; i++)
        if (compare_tasks(keys, i - 1, i) > 0)
            return false;
    return true;
}

static inline uint8_t digit_of(const facpool_tasks *tasks, uint32_t index, int digit)
{
    if (digit < 4)
        return (uint8_t)(tasks->codes.rank[tasks->code_ids[index]] >> (8 * digit));
    return (uint8_t)(date_bits(tasks->dates[index]) >> (8 * (digit - 4)));
}

/* One pass of a least-significant-digit radix sort; false where all tasks share the digit. */
static bool radix_pass(const facpool_tasks *tasks, const uint32_t *from, uint32_t *to, size_t n,
                       int digit)
{
    size_t starts[257] = {0};
    for (size_t i = 0; i < n; i++)
        starts[digit_of(tasks, from[i], digit) + 1]++;
    for (int d = 1; d <= 256; d++) {
        if (starts[d] == n)
            return false;
        starts[d] += starts[d - 1];
    }
    for (size_t i = 0; i < n; i++)
        to[starts[digit_of(tasks, from[i], digit)]++] = from[i];
    return true;
}

static int sort_list(fp_key_order *keys, facpool_error *err)
{
    static const int date_major[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const int code_major[12] = {4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3};
    size_t n = keys->tasks->count;
    uint32_t *from = fp_alloc(keys->allocator, n * sizeof *from);
    uint32_t *to = fp_alloc(keys->allocator, n * sizeof *to);
    if (!from || !to) {
        fp_free(keys->allocator, from);
        fp_free(keys->allocator, to);
        return fp_fail_nomem(err, n * sizeof *from);
    }
    for (size_t i = 0; i < n; i++)
        from[i] = (uint32_t)i;
    const int *digits = keys->code_major ? code_major : date_major;
    for (int d = 0; d < 12; d++) {
        if (radix_pass(keys->tasks, from, to, n, digits[d])) {
            uint32_t *swap = from;
            from = to;
            to = swap;
        }
    }
    fp_free(keys->allocator, to);
    keys->order = from;
    return 0;
}

static int order_list(fp_key_order *keys, facpool_error *err)
{
    const facpool_tasks *tasks = keys->tasks;
    if (tasks->count >= UINT32_MAX)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "a list of %zu tasks is too long (limit 4294967294): use a grid",
                       tasks->count);
    if (!list_is_sorted(keys)) {
        int rc = sort_list(keys, err);
        if (rc)
            return rc;
    }
    for (size_t i = 1; i < tasks->count; i++) {
        size_t a = keys->order ? keys->order[i - 1] : i - 1, b = keys->order ? keys->order[i] : i;
        if (compare_tasks(keys, a, b) == 0) {
            const char *code = fp_texts_at(&tasks->codes.texts, tasks->code_ids[b]);
            return fp_fail_task(err, FACPOOL_E_DUPLICATE, tasks->dates[b], code,
                                "task (%lld, '%s') is in the set twice, at %zu and %zu: give "
                                "every task once",
                                (long long)tasks->dates[b], code, a, b);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ the order */

int fp_key_order_init(fp_key_order *out, const facpool_tasks *tasks, bool code_major,
                      const facpool_allocator *allocator, facpool_error *err)
{
    fp_key_order keys = {.tasks = tasks, .code_major = code_major, .allocator = allocator};
    int rc = tasks->is_grid ? sort_grid(&keys, err) : order_list(&keys, err);
    if (rc) {
        fp_key_order_free(&keys);
        return rc;
    }
    *out = keys;
    return 0;
}

void fp_key_order_free(fp_key_order *keys)
{
    fp_free(keys->allocator, keys->order);
    fp_free(keys->allocator, keys->date_order);
    fp_free(keys->allocator, keys->code_order);
    keys->order = keys->date_order = keys->code_order = NULL;
}

static bool is_counting(const uint32_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (order[i] != i)
            return false;
    return true;
}

bool fp_key_order_is_identity(const fp_key_order *keys)
{
    const facpool_tasks *tasks = keys->tasks;
    if (!tasks->is_grid)
        return !keys->order;
    bool one_line = tasks->n_dates <= 1 || tasks->n_codes <= 1;
    return (!keys->code_major || one_line) && is_counting(keys->date_order, tasks->n_dates) &&
           is_counting(keys->code_order, tasks->n_codes);
}

/* What the major axis gives for the line that the walk is on. */
static void begin_line(fp_key_walk *walk)
{
    const fp_key_order *keys = walk->keys;
    const facpool_tasks *tasks = keys->tasks;
    if (walk->outer >= (keys->code_major ? tasks->n_codes : tasks->n_dates))
        return; /* behind the last task */
    if (keys->code_major) {
        size_t place = keys->code_order[walk->outer];
        walk->line_code = tasks->code_ids[place];
        walk->line_index = place;
    } else {
        size_t place = keys->date_order[walk->outer];
        walk->line_date = tasks->dates[place];
        walk->line_index = place * tasks->n_codes;
    }
}

void fp_key_walk_start(fp_key_walk *walk, const fp_key_order *keys, size_t position)
{
    const facpool_tasks *tasks = keys->tasks;
    *walk = (fp_key_walk){.keys = keys, .position = position, .n_inner = SIZE_MAX};
    if (!tasks->is_grid || !tasks->count)
        return;
    walk->inner_order = keys->code_major ? keys->date_order : keys->code_order;
    walk->n_inner = keys->code_major ? tasks->n_dates : tasks->n_codes;
    walk->stride = keys->code_major ? tasks->n_codes : 1;
    walk->outer = position / walk->n_inner;
    walk->inner = position % walk->n_inner;
    begin_line(walk);
}

void fp_key_walk_next_line(fp_key_walk *walk)
{
    walk->inner = 0;
    walk->outer++;
    begin_line(walk);
}

/* ------------------------------------------------------------------ matching stored rows */

int fp_key_matcher_init(fp_key_matcher *out, const fp_key_order *keys, facpool_error *err)
{
    fp_key_matcher matcher = {.keys = keys};
    const facpool_tasks *tasks = keys->tasks;
    if (tasks->is_grid) {
        size_t n = tasks->codes.texts.n;
        matcher.place_of = fp_alloc_zero(keys->allocator, n ? n : 1, sizeof(uint32_t));
        if (!matcher.place_of)
            return fp_fail_nomem(err, n * sizeof(uint32_t));
        for (size_t i = 0; i < tasks->n_codes; i++)
            matcher.place_of[tasks->code_ids[keys->code_order[i]]] = (uint32_t)i;
    }
    *out = matcher;
    return 0;
}

void fp_key_matcher_free(fp_key_matcher *m)
{
    if (!m->keys)
        return;
    fp_free(m->keys->allocator, m->places);
    fp_free(m->keys->allocator, m->hints);
    fp_free(m->keys->allocator, m->place_of);
    *m = (fp_key_matcher){0};
}

int fp_key_matcher_use(fp_key_matcher *m, const fp_texts *dictionary, facpool_error *err)
{
    const facpool_tasks *tasks = m->keys->tasks;
    const facpool_allocator *allocator = m->keys->allocator;
    if (dictionary->n > m->capacity) {
        fp_free(allocator, m->places);
        fp_free(allocator, m->hints);
        m->capacity = 0;
        m->places = fp_alloc(allocator, dictionary->n * sizeof *m->places);
        m->hints = fp_alloc(allocator, dictionary->n * sizeof *m->hints);
        if (!m->places || !m->hints)
            return fp_fail_nomem(err, dictionary->n * sizeof *m->hints);
        m->capacity = dictionary->n;
    }
    for (size_t i = 0; i < dictionary->n; i++) {
        uint32_t id = fp_codes_find(&tasks->codes, fp_texts_at(dictionary, i),
                                    fp_texts_length(dictionary, i));
        m->places[i] = id == FP_CODE_NONE ? FP_CODE_NONE
                       : tasks->is_grid   ? m->place_of[id]
                                          : tasks->codes.rank[id];
        m->hints[i] = 0;
    }
    return 0;
}

/* Sorted place of a date on a grid's axis, or SIZE_MAX. */
static size_t find_date(const fp_key_order *keys, int64_t date)
{
    const facpool_tasks *tasks = keys->tasks;
    size_t low = 0, high = tasks->n_dates;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tasks->dates[keys->date_order[middle]] < date)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < tasks->n_dates && tasks->dates[keys->date_order[low]] == date;
    return found ? low : SIZE_MAX;
}

static void find_in_grid(fp_key_matcher *m, const int64_t *dates, const uint32_t *codes, size_t n,
                         size_t *positions)
{
    const fp_key_order *keys = m->keys;
    size_t n_dates = keys->tasks->n_dates, n_codes = keys->tasks->n_codes;
    size_t date_at = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || dates[i] != dates[i - 1])
            date_at = find_date(keys, dates[i]);
        uint32_t code_at = m->places[codes[i]];
        if (date_at == SIZE_MAX || code_at == FP_CODE_NONE)
            positions[i] = FP_POSITION_NONE;
        else
            positions[i] =
                keys->code_major ? code_at * n_dates + date_at : date_at * n_codes + code_at;
    }
}

static int compare_at(const fp_key_order *keys, size_t position, int64_t date, uint32_t rank)
{
    const facpool_tasks *t = keys->tasks;
    size_t index = keys->order ? keys->order[position] : position;
    return compare_keys(keys, t->dates[index], t->codes.rank[t->code_ids[index]], date, rank);
}

/* First position at or behind `from` whose key is not below (date, rank): in steps that double,
 * so that neighbours cost one comparison and far ones a logarithm. */
static size_t search_from(const fp_key_order *keys, size_t from, int64_t date, uint32_t rank)
{
    size_t count = keys->tasks->count, low = from, step = 1;
    while (low < count && compare_at(keys, low, date, rank) < 0) {
        size_t next = step < count - low ? low + step : count;
        if (next == count || compare_at(keys, next, date, rank) >= 0) {
            size_t high = next;
            low++;
            while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare_at(keys, middle, date, rank) < 0)
                    low = middle + 1;
                else
                    high = middle;
            }
            return low;
        }
        low = next;
        step *= 2;
    }
    return low;
}

static void find_in_list(fp_key_matcher *m, const int64_t *dates, const uint32_t *codes, size_t n,
                         size_t *positions)
{
    const fp_key_order *keys = m->keys;
    size_t hint = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t rank = m->places[codes[i]];
        positions[i] = FP_POSITION_NONE;
        if (rank == FP_CODE_NONE)
            continue;
        /* Rows ascend by (date, code), so each search goes on where one that is surely not behind
         * it ended: the last row's, or by (code, date) the last one of the same code. */
        size_t *from = keys->code_major ? &m->hints[codes[i]] : &hint;
        size_t at = search_from(keys, *from, dates[i], rank);
        *from = at;
        if (at < keys->tasks->count && compare_at(keys, at, dates[i], rank) == 0)
            positions[i] = at;
    }
}

void fp_key_matcher_find(fp_key_matcher *m, const int64_t *dates, const uint32_t *codes, size_t n,
                         size_t *positions)
{
    if (m->keys->tasks->is_grid)
        find_in_grid(m, dates, codes, n, positions);
    else
        find_in_list(m, dates, codes, n, positions);
}
