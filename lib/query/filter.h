/* What is asked for, in a form that blocks, pages and rows can be held against: checked and copied
 * from the caller's facpool_filter once, then only read. */
#ifndef FP_QUERY_FILTER_H
#define FP_QUERY_FILTER_H

#include <stdbool.h>
#include "store/source.h"

typedef struct fp_filter {
    bool nothing;         /* no row can match */
    bool any_date;        /* no condition on dates */
    bool any_code;        /* no condition on codes */
    bool by_key;          /* order by key, not as stored */
    bool zero_copy;       /* give nothing that had to be decoded or copied */
    bool copies;          /* no pointers into mapped files */
    uint64_t skip_bytes; /* of each source: rows of blocks that end by there are not given */
    int64_t date_min;     /* inclusive; of the list where there is one */
    int64_t date_max;
    int64_t *dates; /* sorted, distinct, within the bounds; NULL: the bounds say it all */
    size_t n_dates;
    fp_texts codes;    /* sorted, distinct */
    uint32_t statuses; /* FACPOOL_STATUS_BIT()s */
    uint32_t columns;  /* FACPOOL_COLUMN_* without _NONE */
    uint32_t *factors; /* which ones, in the order asked */
    size_t n_factors;
} fp_filter;

/* Only ok rows are asked for. */
static inline bool fp_filter_ok_only(const fp_filter *filter)
{
    return filter->statuses == FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK);
}

/* `asked` NULL: all ok rows. `path` names the backup in messages. Errors: INVALID, NOT_FOUND (a
 * factor), ABI, NOMEM. */
int fp_filter_init(fp_filter *out, const facpool_filter *asked, const fp_schema *schema,
                   const char *path, facpool_error *err);
void fp_filter_free(fp_filter *filter);

/* Whether the block's ranges leave room for a row that matches. Status is not looked at. */
bool fp_filter_may_match(const fp_filter *filter, const fp_block *block);

/* Whether every date from `first` to `last` matches. */
bool fp_filter_takes_dates(const fp_filter *filter, int64_t first, int64_t last);

/* A filter held against one block's dictionary. Zeroed memory is a valid one to bind; binding again
 * reuses its memory. */
typedef struct fp_block_filter {
    const fp_filter *filter;
    bool any_date;
    bool any_code;
    uint32_t *ids; /* dictionary numbers asked for, ascending */
    size_t n_ids;
    size_t ids_capacity;
    uint8_t *wanted; /* by dictionary number: 1 where asked for */
    size_t wanted_capacity;
} fp_block_filter;

/* *matches gets whether any code is asked for that the block has. Errors: NOMEM. */
int fp_block_filter_bind(fp_block_filter *bound, const fp_filter *filter, const fp_block *block,
                         const fp_texts *dictionary, bool *matches, facpool_error *err);
void fp_block_filter_free(fp_block_filter *bound);

/* What a page's entry tells of its rows. */
enum { FP_PAGE_NONE, FP_PAGE_SOME, FP_PAGE_ALL };
int fp_block_filter_page(const fp_block_filter *bound, const fp_page *page);

/* Whether rows of such a page can only be told apart by their dates. */
bool fp_block_filter_needs_dates(const fp_block_filter *bound, const fp_page *page);

/* Numbers of the matching rows within the page, ascending, into `rows` (room for all of them).
 * `dates` may be NULL where they are not needed, `codes` where any_code. Returns how many. */
size_t fp_block_filter_rows(const fp_block_filter *bound, const fp_page *page, const int64_t *dates,
                            const uint32_t *codes, uint32_t *rows);

/* First of the texts that is not before `text`; n where all are before it. */
size_t fp_texts_lower_bound(const fp_texts *texts, const char *text, size_t length);

#endif
