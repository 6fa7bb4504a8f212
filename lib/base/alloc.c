/* The one door to memory: a run's own allocator where it brought one, else malloc. Called by every
 * floor; knows nothing of what the memory is for, and never keeps a count or a list of it. */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* Arrays up to this size double; bigger ones grow by half, so that the unused part of an array of
 * ten million tasks stays small. */
#define DOUBLING_LIMIT_BYTES ((size_t)16 << 20)

void *fp_alloc(const facpool_allocator *a, size_t bytes)
{
    /* NULL must mean "out of memory" alone, also where malloc(0) gives NULL. */
    size_t wanted = bytes ? bytes : 1;
    return a && a->alloc ? a->alloc(a->ctx, wanted) : malloc(wanted);
}

void *fp_alloc_zero(const facpool_allocator *a, size_t n, size_t each)
{
    if (each && n > SIZE_MAX / each)
        return NULL;
    if (!a || !a->alloc)
        return calloc(n > 0 ? n : 1, each > 0 ? each : 1);
    void *memory = fp_alloc(a, n * each);
    if (memory)
        memset(memory, 0, n * each);
    return memory;
}

void *fp_realloc(const facpool_allocator *a, void *memory, size_t bytes)
{
    size_t wanted = bytes ? bytes : 1;
    return a && a->alloc ? a->realloc(a->ctx, memory, wanted) : realloc(memory, wanted);
}

void fp_free(const facpool_allocator *a, void *memory)
{
    if (!memory)
        return;
    if (a && a->alloc)
        a->free(a->ctx, memory);
    else
        free(memory);
}

char *fp_strdup(const facpool_allocator *a, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = fp_alloc(a, bytes);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

int fp_grow(const facpool_allocator *a, void **memory, size_t *capacity, size_t needed, size_t each)
{
    if (needed <= *capacity)
        return 0;
    size_t most = SIZE_MAX / each;
    if (needed > most)
        return FACPOOL_E_NOMEM;
    size_t step = *capacity <= DOUBLING_LIMIT_BYTES / each ? *capacity : *capacity / 2;
    size_t wanted = step > most - *capacity ? most : *capacity + step;
    if (wanted < needed)
        wanted = needed;
    if (wanted < 8 && most >= 8)
        wanted = 8;
    void *grown = fp_realloc(a, *memory, wanted * each);
    if (!grown)
        return FACPOOL_E_NOMEM;
    *memory = grown;
    *capacity = wanted;
    return 0;
}
