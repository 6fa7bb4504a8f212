/* An allocator for runs that counts the pieces of memory they have, for tests that none are left.
 */
#ifndef FP_TEST_COUNTED_MEMORY_H
#define FP_TEST_COUNTED_MEMORY_H

#include <facpool/facpool.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_long outstanding; /* pieces of memory that runs have */

static inline void *count_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    atomic_fetch_add(&outstanding, 1);
    return malloc(bytes);
}

static inline void *count_realloc(void *ctx, void *memory, size_t bytes)
{
    (void)ctx;
    atomic_fetch_add(&outstanding, memory ? 0 : 1);
    return realloc(memory, bytes);
}

static inline void count_free(void *ctx, void *memory)
{
    (void)ctx;
    atomic_fetch_sub(&outstanding, memory ? 1 : 0);
    free(memory);
}

static const facpool_allocator counting_allocator = {sizeof counting_allocator, count_alloc,
                                                     count_realloc, count_free, NULL};

#endif
