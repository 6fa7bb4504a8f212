/* Memory that grows and begins where Arrow recommends it: on a 64-byte boundary, padded to a
 * multiple of 64. Columns of batches are gathered in it, so that they can be handed over to Arrow
 * arrays as they are. */
#ifndef FP_QUERY_ALIGNED_H
#define FP_QUERY_ALIGNED_H

#include <stddef.h>

#define FP_ALIGNMENT ((size_t)64)

/* Zeroed memory is an empty one. */
typedef struct fp_aligned {
    void *data;
    size_t capacity; /* bytes, from data on */
    void *base;      /* what was allocated */
} fp_aligned;

/* Makes room for so many bytes; what is there is kept. Returns 0 or FACPOOL_E_NOMEM, then leaving
 * all as it was. */
int fp_aligned_reserve(fp_aligned *memory, size_t bytes);

void fp_aligned_free(fp_aligned *memory); /* leaves an empty one */

#endif
