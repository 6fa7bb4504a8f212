/* What a call of the library costs, counted and not timed: the most memory that it held at once,
 * the bytes that it read from files, and how many reads that took. For a test that is linked with
 * the library's objects and has its calls of malloc and pread led here: see the link arguments.
 * Memory that the compression and JSON libraries take for themselves is theirs to bound, and not
 * counted. */
#ifndef FP_TEST_COST_OF_CALLS_H
#define FP_TEST_COST_OF_CALLS_H

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "wrapped_memory.h"

typedef struct cost {
    size_t most_bytes; /* held at once, above what was held before */
    size_t read_bytes;
    size_t n_reads;
    size_t n_taken; /* pieces of memory */
} cost;

static struct {
    size_t held;
    size_t most;
    size_t read;
    size_t n_reads;
    size_t n_taken;
    size_t largest; /* one allocation */
} costs;

static inline void cost_begin(size_t *held_before)
{
    *held_before = costs.most = costs.held;
    costs.read = costs.n_reads = costs.n_taken = costs.largest = 0;
}

static inline cost cost_end(size_t held_before)
{
    return (cost){costs.most - held_before, costs.read, costs.n_reads, costs.n_taken};
}

static void took(size_t bytes)
{
    costs.held += bytes;
    costs.n_taken++;
    if (costs.held > costs.most)
        costs.most = costs.held;
    if (bytes > costs.largest)
        costs.largest = bytes;
}

void *__wrap_malloc(size_t bytes)
{
    void *memory = __real_malloc(bytes);
    took(memory ? malloc_usable_size(memory) : 0);
    return memory;
}

void *__wrap_calloc(size_t n, size_t each)
{
    void *memory = __real_calloc(n, each);
    took(memory ? malloc_usable_size(memory) : 0);
    return memory;
}

/* The old piece and the new one may both be there for a moment. */
void *__wrap_realloc(void *memory, size_t bytes)
{
    size_t before = memory ? malloc_usable_size(memory) : 0;
    void *grown = __real_realloc(memory, bytes);
    if (!grown)
        return NULL;
    took(malloc_usable_size(grown));
    costs.held -= before;
    return grown;
}

void __wrap_free(void *memory)
{
    costs.held -= memory ? malloc_usable_size(memory) : 0;
    __real_free(memory);
}

/* Memory straight from the system; maps of files are the system's to give back, and don't count. */
#define COUNT_MMAP(name)                                                                           \
    void *__wrap_##name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)   \
    {                                                                                              \
        void *memory = __real_##name(at, bytes, protection, flags, fd, offset);                    \
        if (memory != MAP_FAILED && fd < 0)                                                        \
            took(bytes);                                                                           \
        return memory;                                                                             \
    }
COUNT_MMAP(mmap)
COUNT_MMAP(mmap64)

#define COUNT_PREAD(name)                                                                          \
    ssize_t __real_##name(int fd, void *to, size_t n, off_t offset);                               \
    ssize_t __wrap_##name(int fd, void *to, size_t n, off_t offset);                               \
    ssize_t __wrap_##name(int fd, void *to, size_t n, off_t offset)                                \
    {                                                                                              \
        ssize_t got = __real_##name(fd, to, n, offset);                                            \
        costs.read += got > 0 ? (size_t)got : 0;                                                   \
        costs.n_reads++;                                                                           \
        return got;                                                                                \
    }
COUNT_PREAD(pread)
COUNT_PREAD(pread64)

#endif
