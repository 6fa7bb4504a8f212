/* Holds a filter against blocks, pages and rows: ranges first, then the page directory, then the
 * keys themselves. Called by streams; reads nothing on its own. */
#include <assert.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "query/filter.h"

/* Up to so many codes are looked for one by one, by bisection, among the sorted rows of one date.
 */
#define BISECTED_CODES 8

/* First of the sorted values that is not below `value`. */
static size_t lower_bound_date(const int64_t *dates, size_t first, size_t end, int64_t value)
{
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (dates[middle] < value)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

static size_t upper_bound_date(const int64_t *dates, size_t first, size_t end, int64_t value)
{
    return value == INT64_MAX ? end : lower_bound_date(dates, first, end, value + 1);
}

static size_t lower_bound_id(const uint32_t *ids, size_t first, size_t end, uint32_t value)
{
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (ids[middle] < value)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

size_t fp_texts_lower_bound(const fp_texts *texts, const char *text, size_t length)
{
    size_t first = 0, end = texts->n;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (fp_text_compare(fp_texts_at(texts, middle), fp_texts_length(texts, middle), text,
                            length) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* ------------------------------------------------------------------ blocks */

/* Whether any date from `first` to `last` matches. */
static bool any_date_matches(const fp_filter *filter, int64_t first, int64_t last)
{
    if (filter->any_date)
        return true;
    if (last < filter->date_min || first > filter->date_max)
        return false;
    if (!filter->dates)
        return true;
    size_t at = lower_bound_date(filter->dates, 0, filter->n_dates, first);
    return at < filter->n_dates && filter->dates[at] <= last;
}

bool fp_filter_takes_dates(const fp_filter *filter, int64_t first, int64_t last)
{
    if (filter->any_date)
        return true;
    if (filter->dates)
        return first == last && any_date_matches(filter, first, last);
    return first >= filter->date_min && last <= filter->date_max;
}

static bool any_code_matches(const fp_filter *filter, const char *first, const char *last)
{
    if (filter->any_code)
        return true;
    size_t at = fp_texts_lower_bound(&filter->codes, first, strlen(first));
    return at < filter->codes.n && strcmp(fp_texts_at(&filter->codes, at), last) <= 0;
}

bool fp_filter_may_match(const fp_filter *filter, const fp_block *block)
{
    return !filter->nothing && any_date_matches(filter, block->date_min, block->date_max) &&
           any_code_matches(filter, block->code_min, block->code_max);
}

/* Both lists are sorted: bisecting pays while one of them is much the shorter. */
static void find_ids(fp_block_filter *bound, const fp_texts *codes, const fp_texts *dictionary)
{
    for (size_t i = 0; i < codes->n; i++) {
        const char *code = fp_texts_at(codes, i);
        size_t length = fp_texts_length(codes, i);
        size_t at = fp_texts_lower_bound(dictionary, code, length);
        if (at < dictionary->n && fp_texts_length(dictionary, at) == length &&
            memcmp(fp_texts_at(dictionary, at), code, length) == 0)
            bound->ids[bound->n_ids++] = (uint32_t)at;
    }
}

static void merge_ids(fp_block_filter *bound, const fp_texts *codes, const fp_texts *dictionary)
{
    size_t i = 0, at = 0;
    while (i < codes->n && at < dictionary->n) {
        int order = fp_text_compare(fp_texts_at(codes, i), fp_texts_length(codes, i),
                                    fp_texts_at(dictionary, at), fp_texts_length(dictionary, at));
        if (order == 0)
            bound->ids[bound->n_ids++] = (uint32_t)at;
        i += order <= 0;
        at += order >= 0;
    }
}

/* A map from dictionary number to "asked for", for lists too long to look for one by one. */
static int map_ids(fp_block_filter *bound, size_t n_dictionary, facpool_error *err)
{
    void *memory = bound->wanted;
    if (fp_grow(NULL, &memory, &bound->wanted_capacity, n_dictionary, 1))
        return fp_fail_nomem(err, n_dictionary);
    bound->wanted = memory;
    memset(bound->wanted, 0, n_dictionary);
    for (size_t i = 0; i < bound->n_ids; i++)
        bound->wanted[bound->ids[i]] = 1;
    return 0;
}

static int bind_codes(fp_block_filter *bound, const fp_texts *dictionary, facpool_error *err)
{
    const fp_texts *codes = &bound->filter->codes;
    size_t most = codes->n < dictionary->n ? codes->n : dictionary->n;
    void *memory = bound->ids;
    if (fp_grow(NULL, &memory, &bound->ids_capacity, most, sizeof *bound->ids))
        return fp_fail_nomem(err, most * sizeof *bound->ids);
    bound->ids = memory;
    bound->n_ids = 0;
    if (codes->n < dictionary->n / 8)
        find_ids(bound, codes, dictionary);
    else
        merge_ids(bound, codes, dictionary);
    bound->any_code = bound->n_ids == dictionary->n;
    return bound->any_code || bound->n_ids <= 1 ? 0 : map_ids(bound, dictionary->n, err);
}

int fp_block_filter_bind(fp_block_filter *bound, const fp_filter *filter, const fp_block *block,
                         const fp_texts *dictionary, bool *matches, facpool_error *err)
{
    bound->filter = filter;
    bound->any_date = fp_filter_takes_dates(filter, block->date_min, block->date_max);
    bound->any_code = filter->any_code;
    int rc = filter->any_code ? 0 : bind_codes(bound, dictionary, err);
    if (!rc)
        *matches = bound->any_code || bound->n_ids > 0;
    return rc;
}

void fp_block_filter_free(fp_block_filter *bound)
{
    fp_free(NULL, bound->ids);
    fp_free(NULL, bound->wanted);
    *bound = (fp_block_filter){.filter = NULL};
}

/* ------------------------------------------------------------------ pages */

/* Whether any of the codes asked for has a number from `first` to `last`. */
static bool any_id_matches(const fp_block_filter *bound, uint32_t first, uint32_t last)
{
    if (bound->any_code)
        return true;
    size_t at = lower_bound_id(bound->ids, 0, bound->n_ids, first);
    return at < bound->n_ids && bound->ids[at] <= last;
}

/* A page holds a stretch of the block's keys: the end of its first date, whole dates between, the
 * beginning of its last. */
static bool any_key_matches(const fp_block_filter *bound, const fp_page *page)
{
    const fp_filter *filter = bound->filter;
    int64_t first = page->date_first, last = page->date_last;
    if (first == last)
        return any_date_matches(filter, first, last) &&
               any_id_matches(bound, page->code_first, page->code_last);
    if (any_date_matches(filter, first, first) &&
        any_id_matches(bound, page->code_first, page->code_max))
        return true;
    if (any_date_matches(filter, last, last) &&
        any_id_matches(bound, page->code_min, page->code_last))
        return true;
    return last - 1 > first && any_date_matches(filter, first + 1, last - 1) &&
           any_id_matches(bound, page->code_min, page->code_max);
}

int fp_block_filter_page(const fp_block_filter *bound, const fp_page *page)
{
    bool all_dates =
        bound->any_date || fp_filter_takes_dates(bound->filter, page->date_first, page->date_last);
    if (all_dates && bound->any_code)
        return FP_PAGE_ALL;
    return any_key_matches(bound, page) ? FP_PAGE_SOME : FP_PAGE_NONE;
}

bool fp_block_filter_needs_dates(const fp_block_filter *bound, const fp_page *page)
{
    return !bound->any_date &&
           !fp_filter_takes_dates(bound->filter, page->date_first, page->date_last);
}

/* ------------------------------------------------------------------ rows */

static size_t take_stretch(size_t first, size_t end, uint32_t *rows)
{
    for (size_t i = first; i < end; i++)
        rows[i - first] = (uint32_t)i;
    return end - first;
}

/* Rows of one date are sorted by code. */
static size_t bisect_codes(const fp_block_filter *bound, const uint32_t *codes, size_t first,
                           size_t end, uint32_t *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < bound->n_ids && first < end; i++) {
        first = lower_bound_id(codes, first, end, bound->ids[i]);
        while (first < end && codes[first] == bound->ids[i])
            rows[n++] = (uint32_t)first++;
    }
    return n;
}

/* Without branches on the data: every row is put down, only a match moves on. */
static size_t compare_codes(const fp_block_filter *bound, const uint32_t *codes, size_t first,
                            size_t end, uint32_t *rows)
{
    size_t n = 0;
    uint32_t id = bound->ids[0];
    if (bound->n_ids == 1)
        for (size_t i = first; i < end; i++) {
            rows[n] = (uint32_t)i;
            n += codes[i] == id;
        }
    else
        for (size_t i = first; i < end; i++) {
            rows[n] = (uint32_t)i;
            n += bound->wanted[codes[i]];
        }
    return n;
}

static size_t select_codes(const fp_block_filter *bound, const uint32_t *codes, size_t first,
                           size_t end, bool one_date, uint32_t *rows)
{
    if (bound->any_code)
        return take_stretch(first, end, rows);
    if (one_date && bound->n_ids <= BISECTED_CODES)
        return bisect_codes(bound, codes, first, end, rows);
    return compare_codes(bound, codes, first, end, rows);
}

/* Each listed date is one stretch of the page's rows. */
static size_t select_dates(const fp_block_filter *bound, const fp_page *page, const int64_t *dates,
                           const uint32_t *codes, uint32_t *rows)
{
    const fp_filter *filter = bound->filter;
    size_t n = 0, first = 0;
    size_t at = lower_bound_date(filter->dates, 0, filter->n_dates, page->date_first);
    for (; at < filter->n_dates && first < page->n_rows; at++) {
        first = lower_bound_date(dates, first, page->n_rows, filter->dates[at]);
        size_t end = upper_bound_date(dates, first, page->n_rows, filter->dates[at]);
        n += select_codes(bound, codes, first, end, true, rows + n);
        first = end;
    }
    return n;
}

size_t fp_block_filter_rows(const fp_block_filter *bound, const fp_page *page, const int64_t *dates,
                            const uint32_t *codes, uint32_t *rows)
{
    assert(bound->any_code || codes);
    const fp_filter *filter = bound->filter;
    if (!fp_block_filter_needs_dates(bound, page))
        return select_codes(bound, codes, 0, page->n_rows, page->date_first == page->date_last,
                            rows);
    assert(dates);
    if (filter->dates)
        return select_dates(bound, page, dates, codes, rows);
    size_t first = lower_bound_date(dates, 0, page->n_rows, filter->date_min);
    size_t end = upper_bound_date(dates, first, page->n_rows, filter->date_max);
    bool one_date = filter->date_min == filter->date_max;
    return select_codes(bound, codes, first, end, one_date, rows);
}
