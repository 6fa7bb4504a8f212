/* Calls that fail when a test says so: the linker's --wrap leads memory, files, threads and
 * processes of everything linked statically through here. One kind of call at a time: the k-th
 * fails, or does half of its work, alone or with all after it, in this process or in all others.
 * What is allocated and not freed is counted. Programs that include it must be linked with a --wrap
 * for each name below: see meson.build. */
#ifndef FP_FAILING_CALLS_H
#define FP_FAILING_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "wrapped_memory.h"

typedef enum call_kind {
    CALL_NONE,
    CALL_ALLOC, /* and memory mapped without a file */
    CALL_MAP,   /* a file, or memory to share */
    CALL_OPEN,
    CALL_READ,
    CALL_WRITE,
    CALL_SYNC,
    CALL_SYNC_FOLDER,
    CALL_TRUNCATE,
    CALL_STAT,
    CALL_LOCK,
    CALL_CLOSE,
    CALL_RENAME,
    CALL_LINK,
    CALL_UNLINK,
    CALL_PATH, /* realpath, getcwd */
    CALL_RIGHTS,
    CALL_RANDOM,
    CALL_STREAM, /* what is read without an offset: devices, /proc, stdio */
    CALL_THREAD,
    CALL_MUTEX,
    CALL_MASK, /* of signals */
    CALL_AFFINITY,
    CALL_LOCALE,
    CALL_LIBRARY, /* memory that zstd and json-c take for themselves */
    CALL_WISH,    /* madvise: nothing depends on it */
    CALL_FORK,
    CALL_SHARE, /* memfd_create */
    CALL_SOCKET,
    CALL_SEND,
    CALL_RECEIVE,
    CALL_POLL,
    CALL_CHILD, /* waitpid, waitid */
    CALL_WATCH_CHILDREN,
    CALL_WATCH_PROCESS,
    CALL_SLEEP,   /* on a futex */
    CALL_MANNERS, /* prctl, setpgid, dup2: how a worker process behaves */
    N_CALL_KINDS
} call_kind;

static const char *const call_names[N_CALL_KINDS] = {
    "nothing",        "allocation", "map",     "open",    "read",   "write",    "sync",
    "sync of folder", "truncate",   "stat",    "lock",    "close",  "rename",   "link",
    "unlink",         "path",       "rights",  "random",  "stream", "thread",   "mutex",
    "signal mask",    "affinity",   "locale",  "library", "wish",   "fork",     "memfd",
    "socket",         "send",       "receive", "poll",    "child",  "signalfd", "pidfd",
    "futex",          "manners",
};

typedef enum failure_mode {
    FAIL_ALONE,
    FAIL_ON,         /* and all after it */
    FAIL_HALF,       /* reads, writes and messages: half of the bytes, which is no error */
    FAIL_HALF_ON,    /* ... and all after it */
    FAIL_HALF_THEN,  /* half of the bytes, and all after it fail: a disk that is full */
    FAIL_ALTERNATELY /* and every other one after it */
} failure_mode;

static const char *const mode_names[] = {
    "alone",
    "and all after it",
    "by half",
    "and all after it, by half",
    "by half, and all after it",
    "and every other one after it",
};

static atomic_int failing_kind;
static atomic_int failing_mode;
static atomic_long failing_calls; /* of that kind so far */
static atomic_long failing_at;
static atomic_int failing_errno;
static atomic_int failing_process; /* the one whose calls fail; negative: all but that one's */
static atomic_long failed_calls;
static atomic_long allocated; /* pieces of memory that are not freed */
static atomic_long mapped;    /* bytes that are not unmapped */

/* Systems that have no such call: then others do its work, and can fail. */
static atomic_bool without_renameat2;
static atomic_bool without_getrandom;

/* Once a call has failed, no sync of this process goes well any more. */
static atomic_bool syncs_fail_after;

/* How many calls failed by kind, those in other processes too: shared with them. */
typedef struct call_tally {
    atomic_long failed[N_CALL_KINDS];
    atomic_long halved[N_CALL_KINDS];
} call_tally;
static call_tally *tally;

static inline void fail_call(call_kind kind, long at, failure_mode mode, int os_errno)
{
    failing_process = (int)getpid();
    failing_calls = 0;
    failed_calls = 0;
    failing_at = at;
    failing_mode = (int)mode;
    failing_errno = os_errno;
    failing_kind = (int)kind;
}

/* Ends it; returns how many calls failed. */
static inline long stop_failing(void)
{
    failing_kind = CALL_NONE;
    return failed_calls;
}

/* Calls of the test's own, which have to succeed, stand between these two. */
static inline int pause_failing(void)
{
    return atomic_exchange(&failing_kind, CALL_NONE);
}

static inline void go_on_failing(int kind)
{
    failing_kind = kind;
}

typedef enum verdict { GOES_WELL, FAILS, GOES_BY_HALF } verdict;

static inline verdict verdict_of(failure_mode mode, long call, long at)
{
    if (call < at)
        return GOES_WELL;
    switch (mode) {
    case FAIL_ALONE:
        return call == at ? FAILS : GOES_WELL;
    case FAIL_ON:
        return FAILS;
    case FAIL_HALF:
        return call == at ? GOES_BY_HALF : GOES_WELL;
    case FAIL_HALF_ON:
        return GOES_BY_HALF;
    case FAIL_HALF_THEN:
        return call == at ? GOES_BY_HALF : FAILS;
    case FAIL_ALTERNATELY:
    default:
        return (call - at) % 2 == 0 ? FAILS : GOES_WELL;
    }
}

static inline verdict judge_call(call_kind kind)
{
    if (kind == CALL_SYNC && syncs_fail_after && failing_kind != CALL_NONE && failed_calls > 0) {
        errno = EIO;
        return FAILS;
    }
    if (atomic_load_explicit(&failing_kind, memory_order_relaxed) != (int)kind)
        return GOES_WELL;
    int me = (int)getpid();
    if (failing_process < 0 ? -failing_process == me : failing_process != me)
        return GOES_WELL;
    long call = atomic_fetch_add(&failing_calls, 1) + 1;
    verdict v = verdict_of((failure_mode)failing_mode, call, failing_at);
    if (v == GOES_WELL)
        return v;
    atomic_fetch_add(&failed_calls, 1);
    if (tally)
        atomic_fetch_add(v == FAILS ? &tally->failed[kind] : &tally->halved[kind], 1);
    errno = failing_errno;
    return v;
}

static inline bool call_fails(call_kind kind)
{
    return judge_call(kind) == FAILS;
}

/* How many of n bytes the call is to move: one at least, where there is one; -1: it fails. */
static inline ssize_t bytes_of_call(call_kind kind, size_t n)
{
    verdict v = judge_call(kind);
    return v == FAILS ? -1 : v == GOES_BY_HALF ? (ssize_t)((n + 1) / 2) : (ssize_t)n;
}

/* WRAP(type, kind, on_failure, name, (parameters), (arguments)): a call that fails or goes well. */
#define WRAP(type, kind, on_failure, name, parameters, arguments)                                  \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return call_fails(kind) ? (on_failure) : __real_##name arguments;                          \
    }

/* ------------------------------------------------------------------ memory */

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
    void *__wrap_##name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)   \
    {                                                                                              \
        if (call_fails(fd < 0 ? CALL_ALLOC : CALL_MAP))                                            \
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

WRAP(int, CALL_WISH, -1, madvise, (void *at, size_t bytes, int advice), (at, bytes, advice))

/* ------------------------------------------------------------------ files */

/* Told of what is written to files, cut and synced, by a test that keeps a disk of its own. */
typedef struct file_observer {
    void (*wrote)(int fd, uint64_t offset, uint64_t bytes);
    void (*cut)(int fd, uint64_t size);
    void (*sync_begins)(int fd);
    void (*sync_ended)(int fd, bool well);
} file_observer;
static const file_observer *observer;

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
        ssize_t bytes = bytes_of_call(CALL_READ, n);                                               \
        return bytes < 0 ? -1 : __real_##name(fd, to, (size_t)bytes, offset);                      \
    }

/* With errno 0 a write fails by writing nothing. */
#define WRAP_PWRITE(name)                                                                          \
    ssize_t __real_##name(int fd, const void *from, size_t n, off_t offset);                       \
    ssize_t __wrap_##name(int fd, const void *from, size_t n, off_t offset);                       \
    ssize_t __wrap_##name(int fd, const void *from, size_t n, off_t offset)                        \
    {                                                                                              \
        ssize_t bytes = bytes_of_call(CALL_WRITE, n);                                              \
        if (bytes < 0)                                                                             \
            return failing_errno ? -1 : 0;                                                         \
        ssize_t written = __real_##name(fd, from, (size_t)bytes, offset);                          \
        if (observer && written > 0)                                                               \
            observer->wrote(fd, (uint64_t)offset, (uint64_t)written);                              \
        return written;                                                                            \
    }

#define WRAP_FTRUNCATE(name)                                                                       \
    int __real_##name(int fd, off_t size);                                                         \
    int __wrap_##name(int fd, off_t size);                                                         \
    int __wrap_##name(int fd, off_t size)                                                          \
    {                                                                                              \
        if (call_fails(CALL_TRUNCATE))                                                             \
            return -1;                                                                             \
        int rc = __real_##name(fd, size);                                                          \
        if (observer && !rc)                                                                       \
            observer->cut(fd, (uint64_t)size);                                                     \
        return rc;                                                                                 \
    }

/* Locks are those of open files alone; other commands go through. */
#define WRAP_FCNTL(name)                                                                           \
    int __real_##name(int fd, int command, ...);                                                   \
    int __wrap_##name(int fd, int command, ...);                                                   \
    int __wrap_##name(int fd, int command, ...)                                                    \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, command);                                                                   \
        void *arg = va_arg(args, void *);                                                          \
        va_end(args);                                                                              \
        bool locks = command == F_OFD_SETLK && ((struct flock *)arg)->l_type != F_UNLCK;           \
        return locks && call_fails(CALL_LOCK) ? -1 : __real_##name(fd, command, arg);              \
    }

WRAP_MMAP(mmap)
WRAP_OPEN(open)
WRAP_PREAD(pread)
WRAP_PWRITE(pwrite)
WRAP_FTRUNCATE(ftruncate)
WRAP_FCNTL(fcntl)
WRAP(int, CALL_STAT, -1, fstat, (int fd, struct stat *to), (fd, to))
WRAP(int, CALL_STAT, -1, stat, (const char *path, struct stat *to), (path, to))
WRAP(int, CALL_STAT, -1, lstat, (const char *path, struct stat *to), (path, to))
#ifdef __GLIBC__ /* whose headers lead to these names where file offsets have 64 bits */
WRAP_MMAP(mmap64)
WRAP_OPEN(open64)
WRAP_PREAD(pread64)
WRAP_PWRITE(pwrite64)
WRAP_FTRUNCATE(ftruncate64)
WRAP_FCNTL(fcntl64)
WRAP(int, CALL_STAT, -1, fstat64, (int fd, struct stat *to), (fd, to))
WRAP(int, CALL_STAT, -1, stat64, (const char *path, struct stat *to), (path, to))
WRAP(int, CALL_STAT, -1, lstat64, (const char *path, struct stat *to), (path, to))
#endif

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_fdatasync(int fd)
{
    if (observer)
        observer->sync_begins(fd);
    int rc = call_fails(CALL_SYNC) ? -1 : __real_fdatasync(fd);
    int failure = errno;
    if (observer)
        observer->sync_ended(fd, rc == 0);
    errno = failure;
    return rc;
}

/* As on Linux, the descriptor is gone all the same. */
int __wrap_close(int fd)
{
    int rc = __real_close(fd);
    return call_fails(CALL_CLOSE) ? -1 : rc;
}

WRAP(int, CALL_SYNC_FOLDER, -1, fsync, (int fd), (fd))

/* ------------------------------------------------------------------ names */

int __real_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);

int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    if (without_renameat2) {
        errno = ENOSYS;
        return -1;
    }
    return call_fails(CALL_RENAME) ? -1 : __real_renameat2(from_at, from, to_at, to, flags);
}

WRAP(int, CALL_RENAME, -1, rename, (const char *from, const char *to), (from, to))
WRAP(int, CALL_LINK, -1, link, (const char *from, const char *to), (from, to))
WRAP(int, CALL_UNLINK, -1, unlink, (const char *path), (path))
WRAP(char *, CALL_PATH, NULL, realpath, (const char *path, char *to), (path, to))
WRAP(char *, CALL_PATH, NULL, getcwd, (char *to, size_t bytes), (to, bytes))
WRAP(ssize_t, CALL_PATH, -1, readlink, (const char *path, char *to, size_t bytes),
     (path, to, bytes))
WRAP(int, CALL_RIGHTS, -1, fchown, (int fd, uid_t user, gid_t group), (fd, user, group))
WRAP(int, CALL_RIGHTS, -1, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(ssize_t, CALL_RIGHTS, -1, fgetxattr, (int fd, const char *name, void *to, size_t room),
     (fd, name, to, room))
WRAP(int, CALL_RIGHTS, -1, fsetxattr,
     (int fd, const char *name, const void *from, size_t n, int flags), (fd, name, from, n, flags))
WRAP(int, CALL_RIGHTS, -1, fremovexattr, (int fd, const char *name), (fd, name))

#include "failing_system.h"

#endif
