/* Rows in columns, the one currency of the house: workers fill batches, sinks take them, readers
 * give them. A batch is all ok or all not ok; only ok rows have factors, only the others have a
 * status, a failure code and a message. */
#ifndef FP_MODEL_BATCH_H
#define FP_MODEL_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include "model/codes.h"

#define FP_BLOCK_ROWS 65536
#define FP_PAGE_ROWS  1024

typedef struct fp_batch {
    bool ok;
    size_t n_factors;
    size_t n_rows;
    size_t capacity;
    int64_t *dates;
    uint32_t *code_ids;     /* into codes */
    int64_t *timestamps;    /* us UTC */
    double **factors;       /* ok: n_factors columns */
    uint8_t *statuses;      /* not ok */
    int32_t *failure_codes; /* not ok */
    fp_texts messages;      /* not ok: one a row */
    const fp_codes *codes;  /* not owned. codes->rank may be NULL: then ids say nothing of order */
    void *sort_memory;      /* of fp_batch_sort, kept for the next one */
    size_t sort_memory_bytes;
    const facpool_allocator *allocator;
} fp_batch;

int fp_batch_init(fp_batch *batch, bool ok, size_t n_factors, const fp_codes *codes,
                  const facpool_allocator *allocator, facpool_error *err);
void fp_batch_free(fp_batch *batch);
void fp_batch_clear(fp_batch *batch); /* keeps the memory */

/* Room for `more` rows. Errors: NOMEM; the batch is then as it was. */
int fp_batch_reserve(fp_batch *batch, size_t more, facpool_error *err);

/* Appends rows first .. first + n - 1 of another batch of the same kind and codes. */
int fp_batch_append(fp_batch *batch, const fp_batch *from, size_t first, size_t n,
                    facpool_error *err);

/* Sorts rows by (date, code), keeping the order of equal keys. Runs that are sorted already are
 * merged, so a sorted batch costs one pass. */
int fp_batch_sort(fp_batch *batch, facpool_error *err);

/* About how much memory its rows take. */
size_t fp_batch_bytes(const fp_batch *batch);

#endif
