/* What tests of worker processes share: ways for a worker to die, runs of the process executor, and
 * what a run may have left of processes, descriptors and mapped memory. */
#ifndef FP_TEST_PROCESS_HELPERS_H
#define FP_TEST_PROCESS_HELPERS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "run_helpers.h"

#define LONG_MS 120000 /* what is to end before is waited for so long */

/* The limit of a call's time where only what hangs is to meet it: a busy machine may stand still
 * for a second, and then everything on it is late. */
#define PATIENCE_MS 3000
#define PATIENCE    "3000 ms"

/* ------------------------------------------------------------------ trouble */

/* Memory that may not be touched: no null pointer, which a sanitizer would see first. */
static inline void die_by_segfault(void)
{
    volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
}

static inline void die_by_abort(void)
{
    abort();
}

static inline void die_by_exit_0(void)
{
    _exit(0);
}

static inline void die_by_exit_3(void)
{
    _exit(3);
}

static inline void die_by_kill(void)
{
    kill(getpid(), SIGKILL);
}

static volatile int recursion_ends_at = -1;

/* Not to be made a loop of: every call is looked at after the next one. */
static inline int recurse(int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    if (depth == recursion_ends_at)
        return 0;
    int below = recurse(depth + 1);
    return below + frame[0];
}

static inline void die_by_stack_overflow(void)
{
    recurse(0);
}

/* Ends by being killed, or after a long time. */
static inline void hang_asleep(void)
{
    pause_ms(LONG_MS);
}

static inline void hang_busy(void)
{
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (now.tv_sec - start.tv_sec < LONG_MS / 1000);
}

/* ------------------------------------------------------------------ runs */

static facpool_run_options process_options(work *w)
{
    return make_options(w, FACPOOL_EXECUTOR_PROCESS);
}

static inline facpool_result *run_to_end(const facpool_tasks *tasks,
                                         const facpool_run_options *options, int expected)
{
    facpool_result *result = NULL;
    int rc = facpool_run(tasks, options, &result, &err);
    if (rc != expected)
        printf("  rc %d: %s\n", rc, err.message);
    CHECK_INT(rc, expected);
    return result;
}

/* Tasks of the grid that get into trouble. */
static inline size_t count_troubled(const work *w, size_t n_dates, size_t n_codes)
{
    size_t n = 0;
    for (size_t d = 0; d < n_dates; d++)
        for (size_t c = 0; c < n_codes; c++) {
            char code[32];
            snprintf(code, sizeof code, "%06zu", c + 1);
            n += is_hit(20240101 + (int64_t)d, code, w->trouble_every, 3);
        }
    return n;
}

/* Waits for a value that another process or thread writes; false where it does not come. */
static inline bool comes_to_be(const atomic_int *value, int wanted)
{
    for (int i = 0; i < LONG_MS && atomic_load(value) < wanted; i++)
        pause_ms(1);
    return atomic_load(value) >= wanted;
}

/* ------------------------------------------------------------------ what is left */

static inline bool is_gone(pid_t pid)
{
    for (int i = 0; i < LONG_MS && kill(pid, 0) == 0; i++)
        pause_ms(1);
    return kill(pid, 0) != 0 && errno == ESRCH;
}

static inline bool has_children(void)
{
    return waitpid(-1, NULL, WNOHANG | __WALL) >= 0 || errno != ECHILD;
}

static inline size_t count_descriptors(void)
{
    size_t n = 0;
    DIR *open_ones = opendir("/proc/self/fd");
    CHECK(open_ones);
    for (struct dirent *entry; (entry = readdir(open_ones));)
        n += entry->d_name[0] != '.';
    closedir(open_ones);
    return n - 1; /* the folder's own */
}

/* Mappings of memory that is shared and has no file. */
static inline size_t count_shared_maps(void)
{
    char line[1024];
    size_t n = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    while (fgets(line, sizeof line, file))
        n += strstr(line, "memfd:") || strstr(line, "/dev/zero") || strstr(line, "SYSV");
    fclose(file);
    return n;
}

/* Taken before and after what may leave something behind. */
typedef struct belongings {
    size_t descriptors;
    size_t maps;
} belongings;

static inline belongings take_stock(void)
{
    shared_alloc(1); /* is mapped now, if it was not before */
    return (belongings){count_descriptors(), count_shared_maps()};
}

static inline void check_stock(const belongings *before)
{
    belongings now = take_stock();
    CHECK_INT(now.descriptors, before->descriptors);
    CHECK_INT(now.maps, before->maps);
    CHECK(!has_children());
}

#endif
