/* Calls that fail when a test says so: the linker's --wrap leads malloc, files and threads of
 * everything linked statically through here. One kind of call at a time: the k-th fails, or the
 * k-th and all after it. What is allocated and not freed is counted. Used by test_alloc_fail.c
 * alone, which must be linked with a --wrap for each name below. */
#ifndef FP_FAILING_CALLS_H
#define FP_FAILING_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

typedef enum call_kind {
    CALL_NONE,
    CALL_ALLOC,
    CALL_THREAD,
    CALL_OPEN,
    CALL_READ,
    CALL_WRITE,
    CALL_SYNC,
    CALL_SYNC_FOLDER,
    CALL_TRUNCATE,
    CALL_RENAME,
    CALL_PROCESS /* what worker processes take: forking, memory to share, sockets */
} call_kind;

static atomic_int failing_kind;
static atomic_long failing_calls; /* of that kind so far */
static atomic_long failing_at;
static atomic_bool failing_on;    /* and all after it */
static atomic_bool failing_short; /* writes: the k-th writes half, the one after it fails */
static atomic_int failing_errno;
static atomic_int failing_process; /* the one whose calls fail; negative: all but that one's */
static atomic_long failed_calls;
static atomic_long allocated; /* pieces of memory that are not freed */
static atomic_long mapped;    /* bytes that are not unmapped */

static void fail_call(call_kind kind, long at, bool on, int os_errno)
{
    failing_process = (int)getpid();
    failing_calls = 0;
    failed_calls = 0;
    failing_at = at;
    failing_on = on;
    failing_short = false;
    failing_errno = os_errno;
    failing_kind = (int)kind;
}

/* Ends it; returns how many calls failed. */
static long stop_failing(void)
{
    failing_kind = CALL_NONE;
    return failed_calls;
}

static bool call_fails(call_kind kind)
{
    if (atomic_load_explicit(&failing_kind, memory_order_relaxed) != (int)kind)
        return false;
    int me = (int)getpid();
    if (failing_process < 0 ? -failing_process == me : failing_process != me)
        return false;
    long at = failing_at, call = atomic_fetch_add(&failing_calls, 1) + 1;
    if (failing_short)
        at++;
    if (call != at && !(failing_on && call > at))
        return false;
    atomic_fetch_add(&failed_calls, 1);
    errno = failing_errno;
    return true;
}

/* ------------------------------------------------------------------ memory */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *memory, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *memory, size_t bytes);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t bytes)
{
    if (call_fails(CALL_ALLOC))
        return NULL;
    void *memory = __real_malloc(bytes);
    atomic_fetch_add(&allocated, memory != NULL);
    return memory;
}

void *__wrap_calloc(size_t n, size_t each)
{
    if (call_fails(CALL_ALLOC))
        return NULL;
    void *memory = __real_calloc(n, each);
    atomic_fetch_add(&allocated, memory != NULL);
    return memory;
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    if (call_fails(CALL_ALLOC))
        return NULL;
    void *grown = __real_realloc(memory, bytes);
    atomic_fetch_add(&allocated, grown && !memory);
    return grown;
}

void __wrap_free(void *memory)
{
    atomic_fetch_sub(&allocated, memory != NULL);
    __real_free(memory);
}

#define WRAP_MMAP(name)                                                                            \
    void *__real_##name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);  \
    void *__wrap_##name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);  \
    void *__wrap_##name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)   \
    {                                                                                              \
        if (call_fails(CALL_ALLOC))                                                                \
            return MAP_FAILED;                                                                     \
        void *memory = __real_##name(at, bytes, protection, flags, fd, offset);                    \
        atomic_fetch_add(&mapped, memory == MAP_FAILED ? 0 : (long)bytes);                         \
        return memory;                                                                             \
    }

int __real_munmap(void *at, size_t bytes);
int __wrap_munmap(void *at, size_t bytes);

int __wrap_munmap(void *at, size_t bytes)
{
    atomic_fetch_sub(&mapped, (long)bytes);
    return __real_munmap(at, bytes);
}

/* ------------------------------------------------------------------ threads */

int __real_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *arg);

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*body)(void *),
                          void *arg)
{
    return call_fails(CALL_THREAD) ? failing_errno
                                   : __real_pthread_create(id, attributes, body, arg);
}

/* ------------------------------------------------------------------ processes */

pid_t __real_fork(void);
pid_t __wrap_fork(void);
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_socketpair(int domain, int type, int protocol, int ends[2]);
int __wrap_socketpair(int domain, int type, int protocol, int ends[2]);

pid_t __wrap_fork(void)
{
    return call_fails(CALL_PROCESS) ? -1 : __real_fork();
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
    return call_fails(CALL_PROCESS) ? -1 : __real_memfd_create(name, flags);
}

int __wrap_socketpair(int domain, int type, int protocol, int ends[2])
{
    return call_fails(CALL_PROCESS) ? -1 : __real_socketpair(domain, type, protocol, ends);
}

/* ------------------------------------------------------------------ files */

#define WRAP_OPEN(name)                                                                            \
    int __real_##name(const char *path, int flags, ...);                                           \
    int __wrap_##name(const char *path, int flags, ...);                                           \
    int __wrap_##name(const char *path, int flags, ...)                                            \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;                                  \
        va_end(args);                                                                              \
        return call_fails(CALL_OPEN) ? -1 : __real_##name(path, flags, mode);                      \
    }

#define WRAP_PREAD(name)                                                                           \
    ssize_t __real_##name(int fd, void *to, size_t n, off_t offset);                               \
    ssize_t __wrap_##name(int fd, void *to, size_t n, off_t offset);                               \
    ssize_t __wrap_##name(int fd, void *to, size_t n, off_t offset)                                \
    {                                                                                              \
        return call_fails(CALL_READ) ? -1 : __real_##name(fd, to, n, offset);                      \
    }

#define WRAP_PWRITE(name)                                                                          \
    ssize_t __real_##name(int fd, const void *from, size_t n, off_t offset);                       \
    ssize_t __wrap_##name(int fd, const void *from, size_t n, off_t offset);                       \
    ssize_t __wrap_##name(int fd, const void *from, size_t n, off_t offset)                        \
    {                                                                                              \
        if (call_fails(CALL_WRITE))                                                                \
            return -1;                                                                             \
        bool half = failing_short && failing_kind == CALL_WRITE && failing_calls == failing_at;    \
        return __real_##name(fd, from, half ? n / 2 : n, offset);                                  \
    }

#define WRAP_FTRUNCATE(name)                                                                       \
    int __real_##name(int fd, off_t size);                                                         \
    int __wrap_##name(int fd, off_t size);                                                         \
    int __wrap_##name(int fd, off_t size)                                                          \
    {                                                                                              \
        return call_fails(CALL_TRUNCATE) ? -1 : __real_##name(fd, size);                           \
    }

WRAP_MMAP(mmap)
WRAP_OPEN(open)
WRAP_PREAD(pread)
WRAP_PWRITE(pwrite)
WRAP_FTRUNCATE(ftruncate)
#ifdef __GLIBC__ /* whose headers lead to these names where file offsets have 64 bits */
WRAP_MMAP(mmap64)
WRAP_OPEN(open64)
WRAP_PREAD(pread64)
WRAP_PWRITE(pwrite64)
WRAP_FTRUNCATE(ftruncate64)
#endif

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);

int __wrap_fdatasync(int fd)
{
    return call_fails(CALL_SYNC) ? -1 : __real_fdatasync(fd);
}

int __wrap_fsync(int fd)
{
    return call_fails(CALL_SYNC_FOLDER) ? -1 : __real_fsync(fd);
}

int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    return call_fails(CALL_RENAME) ? -1 : __real_renameat2(from_at, from, to_at, to, flags);
}

#endif
