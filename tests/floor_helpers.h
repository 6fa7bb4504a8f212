/* What tests of the floors share: an allocator that counts what is out and can be told to fail,
 * random numbers that are the same at every start, and interning a code. */
#ifndef FP_TEST_FLOOR_HELPERS_H
#define FP_TEST_FLOOR_HELPERS_H

#include <facpool/facpool.h>
#include <stdlib.h>
#include "model/codes.h"
#include "test.h"

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

/* The same numbers at every start, so that a failure can be had again. */
static uint64_t random_state;

static inline uint64_t next_random(void)
{
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint32_t intern(fp_codes *codes, const char *code)
{
    uint32_t id = FP_CODE_NONE;
    CHECK_INT(fp_codes_intern(codes, code, strlen(code), &id), 0);
    return id;
}

#endif
