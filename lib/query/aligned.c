/* Aligned memory on top of base/alloc.h, which knows of no alignment: a little more is taken, and
 * the boundary found inside. Called by the gatherer and by Arrow arrays; keeps no list. */
#include "query/aligned.h"

#include <stdint.h>
#include <string.h>
#include "base/alloc.h"

static size_t wanted_bytes(size_t had, size_t needed)
{
    size_t wanted = had > SIZE_MAX / 4 || 2 * had < needed ? needed : 2 * had;
    return (wanted + FP_ALIGNMENT - 1) / FP_ALIGNMENT * FP_ALIGNMENT;
}

int fp_aligned_reserve(fp_aligned *memory, size_t bytes)
{
    if (bytes <= memory->capacity && memory->data)
        return 0;
    if (bytes > SIZE_MAX / 2)
        return FACPOOL_E_NOMEM;
    size_t capacity = wanted_bytes(memory->capacity, bytes ? bytes : 1);
    char *base = fp_alloc(NULL, capacity + FP_ALIGNMENT - 1);
    if (!base)
        return FACPOOL_E_NOMEM;
    fp_aligned grown = {.capacity = capacity, .base = base};
    grown.data = base + (FP_ALIGNMENT - (uintptr_t)base % FP_ALIGNMENT) % FP_ALIGNMENT;
    if (memory->capacity)
        memcpy(grown.data, memory->data, memory->capacity);
    fp_free(NULL, memory->base);
    *memory = grown;
    return 0;
}

void fp_aligned_free(fp_aligned *memory)
{
    fp_free(NULL, memory->base);
    *memory = (fp_aligned){.capacity = 0};
}
