/* Cursors over any sources: what facpool_query and facpool_result_query open. */
#ifndef FP_QUERY_CURSOR_H
#define FP_QUERY_CURSOR_H

#include "store/source.h"

/* Opens a question put to the sources, of which there is at least one, all with the same factors.
 * The cursor holds a counted reference to each. `filter` NULL: all ok rows. Errors: INVALID,
 * NOT_FOUND (a factor), UNSUPPORTED (zero copy), ABI, NOMEM. */
int fp_cursor_open(facpool_cursor **out, fp_source *const *sources, size_t n_sources,
                   const facpool_filter *filter, facpool_error *err);

#endif
