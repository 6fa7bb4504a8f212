/* The dictionary of a block: the distinct codes of its rows in byte order, and each row's place in
 * it. Built by the encoders of formats that store codes by number; scratch is kept between blocks.
 */
#ifndef FP_STORE_DICTIONARY_H
#define FP_STORE_DICTIONARY_H

#include "model/batch.h"

typedef struct fp_dictionary {
    fp_texts texts;    /* the codes, in byte order */
    uint32_t *numbers; /* row -> number in texts; FP_BLOCK_ROWS of them */
    /* Scratch. */
    uint32_t *place;    /* code id -> place in `distinct`, where stamp says so; later the number */
    uint32_t *stamp;    /* code id -> generation that saw it last */
    uint32_t *by_rank;  /* rank -> code id */
    uint64_t *ranks;    /* a bit a rank */
    size_t n_known;     /* code ids the four above have room for */
    uint32_t *distinct; /* ids in order of arrival, then in byte order; FP_BLOCK_ROWS of them */
    struct fp_code_key *keys[2]; /* for sorting by text; NULL until it is needed */
    uint32_t generation;
} fp_dictionary;

void fp_dictionary_free(fp_dictionary *dictionary);

/* Builds it for rows first .. first + n - 1 of a batch. Costs O(rows + codes) where the codes are
 * ranked. Errors: NOMEM. */
int fp_dictionary_build(fp_dictionary *dictionary, const fp_batch *batch, size_t first, size_t n,
                        facpool_error *err);

#endif
