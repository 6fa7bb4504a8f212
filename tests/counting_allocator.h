/* An allocator for tests that counts what is out and can be told to fail, and the random numbers of
 * tests that run the same every time. */
#ifndef FP_TEST_COUNTING_ALLOCATOR_H
#define FP_TEST_COUNTING_ALLOCATOR_H

#include <facpool/facpool.h>
#include <stdlib.h>

/* An allocator that counts what is out, and fails once `left` calls are used up. */
typedef struct counting {
    long out;
    long left;
} counting;

static inline void *counting_alloc(void *ctx, size_t bytes)
{
    counting *c = ctx;
    if (c->left-- <= 0)
        return NULL;
    c->out++;
    return malloc(bytes);
}

static inline void *counting_realloc(void *ctx, void *memory, size_t bytes)
{
    counting *c = ctx;
    if (c->left-- <= 0)
        return NULL;
    c->out += memory == NULL;
    return realloc(memory, bytes);
}

static inline void counting_free(void *ctx, void *memory)
{
    ((counting *)ctx)->out--;
    free(memory);
}

#define COUNTING(c)                                                                                \
    {                                                                                              \
        sizeof(facpool_allocator), counting_alloc, counting_realloc, counting_free, &c             \
    }

#define PLENTY 1000000

#endif
