/* Interned codes: each distinct code once, numbered in order of arrival, found again by a hash with
 * a seed of each table's own: codes come out of files, which may be made to do harm. */
#ifndef FP_MODEL_CODES_H
#define FP_MODEL_CODES_H

#include <stdint.h>
#include "base/text.h"

typedef struct fp_codes {
    fp_texts texts;  /* id -> code */
    uint32_t *slots; /* hash table of id + 1, 0: free */
    size_t n_slots;  /* a power of two, or 0 */
    uint64_t seed;   /* of the hash: drawn with the first slots */
    uint32_t *rank;  /* id -> place in byte order; NULL until fp_codes_rank, dropped by add */
    const facpool_allocator *allocator;
} fp_codes;

#define FP_CODE_NONE UINT32_MAX

void fp_codes_init(fp_codes *codes, const facpool_allocator *allocator);
void fp_codes_free(fp_codes *codes);

/* The id of a code that was already checked, adding it if new. 0 or NOMEM. */
int fp_codes_intern(fp_codes *codes, const char *code, size_t length, uint32_t *id);

/* The id, or FP_CODE_NONE. */
uint32_t fp_codes_find(const fp_codes *codes, const char *code, size_t length);

/* Fills codes->rank. 0 or NOMEM. */
int fp_codes_rank(fp_codes *codes);

#endif
