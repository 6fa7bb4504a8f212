/* Calls that change or sync files, counted, with a chosen one being the last thing a process does:
 * it dies by SIGKILL before the call, after it, or (writes) with half of the bytes written. These
 * definitions stand in for the C library's, also for what shared libraries call, so that the
 * library's files and those of SQLite are treated alike. Used by test_kill_points.c alone. */
#ifndef FP_KILLING_CALLS_H
#define FP_KILLING_CALLS_H

#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

typedef enum file_call {
    CALL_NONE,
    CALL_WRITE,
    CALL_SYNC,
    CALL_CUT,
    CALL_NAME, /* rename, link */
    CALL_REMOVE,
    N_FILE_CALLS
} file_call;

static const char *const file_call_names[N_FILE_CALLS] = {"",     "writes",  "syncs",
                                                          "cuts", "renames", "removals"};

typedef enum kill_part { BEFORE, HALFWAY, AFTER, N_KILL_PARTS } kill_part;

/* Where to count, by kind; nothing is where it is NULL. */
static _Atomic uint32_t *counted_calls;
static atomic_int *was_deadly;
static file_call deadly_kind; /* CALL_NONE: nothing is deadly */
static uint32_t deadly_call;
static kill_part deadly_part;
static pid_t counted_process;

static void count_calls(_Atomic uint32_t *calls)
{
    counted_process = getpid();
    counted_calls = calls;
}

static void choose_deadly_call(file_call kind, uint32_t call, kill_part part, atomic_int *told)
{
    deadly_kind = kind;
    deadly_call = call;
    deadly_part = part;
    was_deadly = told;
}

static void die(void)
{
    atomic_store(was_deadly, 1);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* To be called as a call begins; whether it is the deadly one. */
static bool begin_call(file_call kind)
{
    if (!counted_calls || counted_process != getpid())
        return false;
    uint32_t call = atomic_fetch_add(&counted_calls[kind], 1) + 1;
    bool deadly = kind == deadly_kind && call == deadly_call;
    if (deadly && deadly_part == BEFORE)
        die();
    return deadly;
}

static void end_call(bool deadly)
{
    if (deadly)
        die();
}

/* The function of that name that this one stands in for. */
static void *real_function(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        fprintf(stderr, "there is no %s\n", name);
        abort();
    }
    return found;
}

/* REPLACE(what it returns, its name, its arguments in brackets, how they are passed on, kind):
 * under a name of our own in C, as headers may lead the real one elsewhere. Looked up at each call:
 * a static of the function would have to be guarded. */
#define REPLACE(type, name, parameters, arguments, kind)                                           \
    type killing_##name parameters __asm__(#name) __attribute__((visibility("default")));          \
    type killing_##name parameters                                                                 \
    {                                                                                              \
        type(*real) parameters = (type(*) parameters)(uintptr_t)real_function(#name);              \
        bool deadly = begin_call(kind);                                                            \
        type result = real arguments;                                                              \
        end_call(deadly);                                                                          \
        return result;                                                                             \
    }

#define REPLACE_WRITE(name, parameters, part_arguments, arguments)                                 \
    ssize_t killing_##name parameters __asm__(#name) __attribute__((visibility("default")));       \
    ssize_t killing_##name parameters                                                              \
    {                                                                                              \
        ssize_t(*real) parameters = (ssize_t(*) parameters)(uintptr_t)real_function(#name);        \
        bool deadly = begin_call(CALL_WRITE);                                                      \
        if (deadly && deadly_part == HALFWAY && n > 1) {                                           \
            ssize_t written = real part_arguments;                                                 \
            (void)written;                                                                         \
            die();                                                                                 \
        }                                                                                          \
        ssize_t result = real arguments;                                                           \
        end_call(deadly);                                                                          \
        return result;                                                                             \
    }

REPLACE_WRITE(pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n / 2, at),
              (fd, from, n, at))
REPLACE(int, ftruncate, (int fd, off_t size), (fd, size), CALL_CUT)
#ifdef __GLIBC__ /* whose headers lead to these names where file offsets have 64 bits */
REPLACE_WRITE(pwrite64, (int fd, const void *from, size_t n, off_t at), (fd, from, n / 2, at),
              (fd, from, n, at))
REPLACE(int, ftruncate64, (int fd, off_t size), (fd, size), CALL_CUT)
#endif
REPLACE(int, fdatasync, (int fd), (fd), CALL_SYNC)
REPLACE(int, fsync, (int fd), (fd), CALL_SYNC)
REPLACE(int, rename, (const char *from, const char *to), (from, to), CALL_NAME)
REPLACE(int, renameat2, (int from_at, const char *from, int to_at, const char *to, unsigned flags),
        (from_at, from, to_at, to, flags), CALL_NAME)
REPLACE(int, unlink, (const char *path), (path), CALL_REMOVE)

#endif
