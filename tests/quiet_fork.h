/* With AddressSanitizer or ThreadSanitizer a child can be forked safely only while no other thread
 * is inside malloc, or starts or ends: their own locks, other than the C library's, stay taken in
 * the child for ever. Here each fork of a test program waits until every other thread sleeps. Where
 * threads never do so it gives up waiting: such tests leave themselves out (CAN_FORK_BUSY). */
#ifndef FP_QUIET_FORK_H
#define FP_QUIET_FORK_H

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAN_FORK_BUSY 0
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define CAN_FORK_BUSY 0
#endif

#ifdef CAN_FORK_BUSY

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* "task (name) S ...": the state stands after the last bracket. A thread that is gone sleeps. */
static bool thread_sleeps(const char *id)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%.16s/stat", id);
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    const char *name_end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    fclose(file);
    return !name_end || strncmp(name_end, ") S", 3) == 0;
}

static bool others_sleep(void)
{
    long me = syscall(SYS_gettid);
    bool all = true;
    DIR *threads = opendir("/proc/self/task");
    for (struct dirent *entry; all && threads && (entry = readdir(threads));)
        all = entry->d_name[0] == '.' || atol(entry->d_name) == me || thread_sleeps(entry->d_name);
    if (threads)
        closedir(threads);
    return all;
}

/* Twice, as a thread may sleep for a lock that it needs on its way. */
static void wait_for_quiet(void)
{
    for (int i = 0, seen = 0; i < 2000 && seen < 2; i++) {
        seen = others_sleep() ? seen + 1 : 0;
        struct timespec pause = {.tv_nsec = 1000000};
        if (seen == 1 || (seen == 0 && i > 0))
            nanosleep(&pause, NULL);
    }
}

/* One at a time: the look itself takes memory, and who waits for its turn sleeps. */
static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
    pthread_mutex_lock(&forking);
    wait_for_quiet();
}

static void after_fork(void)
{
    pthread_mutex_unlock(&forking);
}

__attribute__((constructor)) static void fork_quietly(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

#else
#define CAN_FORK_BUSY 1
#endif

#endif
