/* The library's calls for memory, for programs that have them led elsewhere by their link arguments
 * (--wrap): __real_* is the system's, __wrap_* is the program's own. */
#ifndef FP_TEST_WRAPPED_MEMORY_H
#define FP_TEST_WRAPPED_MEMORY_H

#include <stddef.h>
#include <sys/types.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *memory, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *memory, size_t bytes);
void __wrap_free(void *memory);

/* Those that map: with 64 and without. */
#define DECLARE_MMAP(name)                                                                         \
    void *__real_##name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);  \
    void *__wrap_##name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
DECLARE_MMAP(mmap)
DECLARE_MMAP(mmap64)

#endif
