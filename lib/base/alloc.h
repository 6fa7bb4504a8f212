/* Allocation: every byte the library takes goes through here, so that a run can bring its own
 * allocator and a test can fail each allocation in turn. NULL for the allocator means malloc. */
#ifndef FP_BASE_ALLOC_H
#define FP_BASE_ALLOC_H

#include <facpool/facpool.h>

void *fp_alloc(const facpool_allocator *a, size_t bytes); /* NULL when out of memory */
void *fp_alloc_zero(const facpool_allocator *a, size_t n, size_t each); /* checks n * each */
void *fp_realloc(const facpool_allocator *a, void *memory, size_t bytes);
void fp_free(const facpool_allocator *a, void *memory);
char *fp_strdup(const facpool_allocator *a, const char *text);

/* Grows *memory to room for at least `needed` entries of `each` bytes: doubling, above 16 MiB by
 * half. Returns 0 or FACPOOL_E_NOMEM, then leaving both as they were. */
int fp_grow(const facpool_allocator *a, void **memory, size_t *capacity, size_t needed,
            size_t each);

#endif
