/* Cursors over any sources: what facpool_query and facpool_result_query open, and what an export of
 * whole batches needs of them. */
#ifndef FP_QUERY_CURSOR_H
#define FP_QUERY_CURSOR_H

#include "query/gather.h"

/* Opens a question put to the sources, of which there is at least one, all with the same factors.
 * The cursor holds a counted reference to each. `filter` NULL: all ok rows. Errors: INVALID,
 * NOT_FOUND (a factor), UNSUPPORTED (zero copy), ABI, NOMEM; with zero copy also IO. */
int fp_cursor_open(facpool_cursor **out, fp_source *const *sources, size_t n_sources,
                   const facpool_filter *filter, facpool_error *err);

/* Where the cursor's batches are gathered. */
fp_gather *fp_cursor_gather(facpool_cursor *cursor);

/* Makes sure that the gatherer has rows that were not given: 1, and *first gets the first of them,
 * or 0 at the end. Errors: as facpool_cursor_next_batch. */
int fp_cursor_need_batch(facpool_cursor *cursor, size_t *first, facpool_error *err);

/* Counts the rest of the batch as given. Its memory may have been taken out of the gatherer. */
void fp_cursor_end_batch(facpool_cursor *cursor);

#endif
