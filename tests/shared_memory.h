/* Memory that a test shares with the worker processes forked from it: what callbacks count or note
 * lies here, so that tests are the same whichever executor calls them. It knows nothing of the
 * library, and is never freed before the test program ends. */
#ifndef FP_TEST_SHARED_MEMORY_H
#define FP_TEST_SHARED_MEMORY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SHARED_BYTES (256 << 20) /* of address space: pages are had when they are touched */

static uint8_t *shared_memory;
static size_t shared_used;

/* Zeroed memory. */
static inline void *shared_alloc(size_t bytes)
{
    if (!shared_memory) {
        void *memory = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        shared_memory = memory == MAP_FAILED ? NULL : memory;
    }
    bytes = (bytes + 63) / 64 * 64;
    if (!shared_memory || bytes > SHARED_BYTES - shared_used) {
        printf("no %zu bytes of shared memory are left\n", bytes);
        exit(1);
    }
    void *out = shared_memory + shared_used;
    shared_used += bytes;
    memset(out, 0, bytes);
    return out;
}

/* Gives everything back at once: for tests of many cases, between two of them. */
static inline void shared_reset(void)
{
    shared_used = 0;
}

static inline void *shared_copy(const void *from, size_t bytes)
{
    return memcpy(shared_alloc(bytes), from, bytes);
}

/* A fresh object of the type with these initialisers. */
#define SHARED(type, ...) ((type *)shared_copy(&(type){__VA_ARGS__}, sizeof(type)))

#endif
