/* The loop of the tests of failing calls: something is done again and again, and each time another
 * call of a kind fails. Each time it says what went wrong as the public header promises, or goes
 * well, and leaves no memory, mapping, descriptor or child behind. How many calls failed is counted
 * by kind, and a kind that a test names and never fails is a failure of that test. */
#ifndef FP_FAIL_EACH_H
#define FP_FAIL_EACH_H

#include "failing_calls.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>

#include "scratch.h"
#include "test.h"

#include <facpool/facpool.h>

/* Something to be done while calls fail; frees whatever it got. Returns 0 or the first error. */
typedef int (*scenario)(void);

/* Looks at what a scenario with that outcome left. */
typedef void (*aftermath)(int rc);

typedef struct trial {
    const char *name;
    scenario run;
    aftermath look; /* NULL: there is nothing to see */
} trial;

#define TRIAL(run, look) ((trial){#run, run, look})

typedef struct injection {
    call_kind kind;
    failure_mode mode;
    int os_errno;
    uint32_t may_give; /* GIVES(code) of each error that may come of it; 0: all goes well */
    bool elsewhere;    /* in other processes than this one */
} injection;

#define GIVES(code) (1u << -(code))

static facpool_error err = FACPOOL_ERROR_INIT; /* of the last public call */
static const char *file_at_fault;              /* which errors of files have to name */

/* ------------------------------------------------------------------ what is left behind */

typedef struct balance {
    long allocated;
    long mapped;
    size_t descriptors;
} balance;

static inline size_t count_open_files(void)
{
    size_t n = 0;
    DIR *open_ones = opendir("/proc/self/fd");
    while (open_ones && readdir(open_ones))
        n++;
    if (open_ones)
        closedir(open_ones);
    return n;
}

static inline balance take_balance(void)
{
    return (balance){allocated, mapped, count_open_files()};
}

static inline bool has_child(void)
{
    siginfo_t info = {0};
    return __real_waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* Threads of OpenMP's pool that are just ending may have a file of the C library's own open for a
 * moment: descriptors are looked at again before they count as leaked. One that was open in
 * `before` only is no leak. */
static inline void check_balance(const balance *before)
{
    balance now = take_balance();
    CHECK_INT(now.allocated, before->allocated);
    CHECK_INT(now.mapped, before->mapped);
    for (int look = 0; now.descriptors > before->descriptors && look < 10000; look++) {
        sched_yield();
        now = take_balance();
    }
    CHECK(now.descriptors <= before->descriptors);
    CHECK(!has_child());
}

/* ------------------------------------------------------------------ what is going on */

static char current_case[512];
static call_kind current_kind; /* that fails */
static uint64_t seed;
static random_numbers choices;

static inline void describe_case(const trial *t, const injection *i, long at)
{
    current_kind = i->kind;
    snprintf(
        current_case, sizeof current_case,
        "  in %s of '%s': call %ld of kind '%s'%s fails %s, errno %d; FACPOOL_TEST_SEED=%llu\n",
        t->name, file_at_fault ? file_at_fault : "", at, call_names[i->kind],
        i->elsewhere ? " in other processes" : "", mode_names[i->mode], i->os_errno,
        (unsigned long long)seed);
}

/* A test that hangs is ended from outside: then this says where. */
static void tell_case(int number)
{
    ssize_t told = write(STDOUT_FILENO, current_case, strlen(current_case));
    _exit(told < 0 ? 1 : 128 + number);
}

/* As RUN, and tells what was failing where it ends badly. */
#define RUN_FAILING(function)                                                                      \
    do {                                                                                           \
        int failures_before = test_failures;                                                       \
        current_case[0] = '\0';                                                                    \
        RUN(function);                                                                             \
        stop_failing();                                                                            \
        observer = NULL;                                                                           \
        if (test_failures > failures_before)                                                       \
            fputs(current_case, stdout);                                                           \
        fflush(stdout);                                                                            \
    } while (0)

/* ------------------------------------------------------------------ the loop */

/* How many calls of a kind fail at most in a trial, spread over all of them; then it is chance, and
 * the seed, that says which. */
static unsigned most_failing = UINT_MAX;

static inline bool is_of_file(int code)
{
    return code == FACPOOL_E_IO || code == FACPOOL_E_UNSUPPORTED || code == FACPOOL_E_BUSY ||
           code == FACPOOL_E_NOT_FOUND || code == FACPOOL_E_EXISTS || code == FACPOOL_E_CORRUPT;
}

static inline void check_error(const injection *i, int rc, long n_failed)
{
    bool is_expected = n_failed && (i->may_give & GIVES(rc));
    if (!is_expected)
        printf("  %d failed calls gave %s: %s\n", (int)n_failed, facpool_error_name(rc),
               err.message);
    CHECK(is_expected);
    CHECK_INT(err.code, rc);
    CHECK(err.message[0]);
    if (is_of_file(rc) && !strstr(err.message, file_at_fault))
        printf("  no file is named: %s\n", err.message);
    CHECK(!is_of_file(rc) || strstr(err.message, file_at_fault));
    /* What was made of it has its errno: a write of nothing became EIO. */
    if (rc == FACPOOL_E_IO && !i->elsewhere)
        CHECK_INT(err.os_errno, i->os_errno ? i->os_errno : EIO);
}

/* Returns how many calls failed. */
static inline long fail_once(const trial *t, const injection *i, long at, int *rc)
{
    describe_case(t, i, at);
    err = (facpool_error)FACPOOL_ERROR_INIT;
    fail_call(i->kind, at, i->mode, i->os_errno);
    if (i->elsewhere)
        failing_process = -failing_process;
    *rc = t->run();
    return stop_failing();
}

static inline long step_of(long n_calls)
{
    long stride = n_calls / (long)most_failing;
    return stride < 2 ? 1 : 1 + (long)random_below(&choices, (uint32_t)(2 * stride - 1));
}

/* Calls that no run can do without: where all of them failed in turn, some run failed, too. */
static inline bool is_vital(call_kind kind)
{
    return kind == CALL_ALLOC || kind == CALL_WRITE || kind == CALL_SYNC ||
           kind == CALL_SYNC_FOLDER || kind == CALL_RENAME || kind == CALL_MUTEX ||
           kind == CALL_SHARE || kind == CALL_SOCKET;
}

/* Fails the first call of a kind, then the second, and so on until none is left to fail. Where
 * calls fail in other processes, it is not known how many are left: the first `n_elsewhere`. */
static inline void fail_calls(trial t, injection i, long n_elsewhere)
{
    int rc;
    long n_errors = 0, n_failing = 0, n_calls = n_elsewhere;
    /* What is made once and kept, the task set's order of codes say, is made before. */
    fail_once(&t, &i, LONG_MAX, &rc);
    CHECK_INT(rc, 0);
    if (!i.elsewhere)
        n_calls = failing_calls;
    balance before = take_balance();
    for (long at = 1;; at += step_of(n_calls)) {
        long n_failed = fail_once(&t, &i, at, &rc);
        n_errors += rc != 0;
        n_failing += n_failed != 0;
        if (rc)
            check_error(&i, rc, i.elsewhere ? 1 : n_failed);
        check_balance(&before);
        if (t.look)
            t.look(rc);
        if (i.elsewhere ? at >= n_calls : !n_failed)
            break;
        CHECK(at < 100000);
    }
    if (i.may_give && is_vital(i.kind) && n_failing > 10)
        CHECK(n_errors > 0);
}

static inline void fail_each(trial t, injection i)
{
    fail_calls(t, i, 0);
}

/* In the small tier four in five are left out of lists of much the same, others in each trial. */
static inline bool is_left_out(void)
{
    static uint64_t n;
    return (seed + n++) % of_tier(5, 1, 1) != 0;
}

/* ------------------------------------------------------------------ beginning and end */

static inline bool begin_failing(const char *name)
{
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED || !scratch_make(name)) {
        printf("no folder, or no memory to share\n");
        return false;
    }
    seed = environment_seed();
    choices.state = seed;
    signal(SIGTERM, tell_case);
    return true;
}

/* Tells how many calls failed; a kind of the list that never did is a failure. */
static inline int end_failing(const call_kind *kinds, size_t n_kinds)
{
    long total = 0;
    for (int kind = 1; kind < N_CALL_KINDS; kind++) {
        total += tally->failed[kind];
        if (tally->failed[kind] || tally->halved[kind])
            printf("%8ld %s", (long)tally->failed[kind], call_names[kind]);
        if (tally->halved[kind])
            printf(", %ld done by half", (long)tally->halved[kind]);
        if (tally->failed[kind] || tally->halved[kind])
            printf("\n");
    }
    printf("%8ld calls failed in all\n", total);
    for (size_t i = 0; i < n_kinds; i++) {
        if (tally->failed[kinds[i]])
            continue;
        printf("  no call of kind '%s' failed: nothing is proved of it\n", call_names[kinds[i]]);
        test_failures++;
    }
    scratch_remove();
    return TEST_END();
}

#define END_FAILING(kinds) end_failing(kinds, sizeof(kinds) / sizeof *(kinds))

#endif
