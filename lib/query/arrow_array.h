/* A batch as an array of the Arrow C data interface: what the stream of arrow_stream.c gives. */
#ifndef FP_QUERY_ARROW_ARRAY_H
#define FP_QUERY_ARROW_ARRAY_H

#include <facpool/arrow.h>
#include "query/gather.h"

/* What a batch of this question has, in this order. Factors follow. */
typedef enum fp_arrow_column {
    FP_ARROW_DATE,
    FP_ARROW_CODE,
    FP_ARROW_TIMESTAMP,
    FP_ARROW_STATUS,
    FP_ARROW_FAILURE_CODE,
    FP_ARROW_MESSAGE,
    FP_ARROW_FIXED
} fp_arrow_column;

/* Whether the arrays have it; failure codes and messages come with statuses other than ok. */
bool fp_arrow_has(const fp_gather *gather, fp_arrow_column column);

/* Makes rows `first` and on of the batch a struct array. What lies in a source stays there, and the
 * array holds the source; what was gathered is taken out of the gatherer where that wastes little,
 * else copied. On failure the batch is as it was. Errors: NOMEM. */
int fp_arrow_array_new(struct ArrowArray *out, fp_gather *gather, size_t first, facpool_error *err);

#endif
