/* os/: large memory is aligned and zeroed, threads take no signal, and processors are counted as
 * the process may use them. */
#include "scratch.h"
#include "test.h"

#include "base/error.h"
#include "os/file.h"
#include "os/os.h"
#include "os/processors.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

static void write_text(const char *path, const char *text)
{
    CHECK(file_write(path, (const uint8_t *)text, strlen(text)));
}

static void make_folder(const char *path)
{
    CHECK_INT(mkdir(path, 0777), 0);
}

/* ------------------------------------------------------------------ memory, clocks, random bytes
 */

static void pages_are_zeroed_and_large_ones_aligned(void)
{
    size_t sizes[] = {
        1, 4096, 100000, ((size_t)4 << 20) - 1, (size_t)4 << 20, ((size_t)9 << 20) + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *memory = fp_pages_alloc(sizes[i]);
        CHECK(memory);
        if (sizes[i] >= (size_t)4 << 20)
            CHECK_INT((uintptr_t)memory % ((size_t)2 << 20), 0);
        CHECK_INT(memory[0] | memory[sizes[i] / 2] | memory[sizes[i] - 1], 0);
        memset(memory, 1, sizes[i]);
        fp_pages_free(memory, sizes[i]);
    }
    fp_pages_free(NULL, 5);
    CHECK(!fp_pages_alloc(SIZE_MAX));
    CHECK(!fp_pages_alloc(SIZE_MAX / 2));
}

/* Address space given back is what /proc says; without that file there is nothing to compare. */
static void pages_are_given_back_whole(void)
{
    long before = 0, after = 0;
    for (int i = 0; i < 200; i++) {
        size_t bytes = ((size_t)64 << 20) + 12345;
        void *memory = fp_pages_alloc(bytes);
        CHECK(memory);
        fp_pages_free(memory, bytes);
        FILE *file = fopen("/proc/self/statm", "r");
        if (!file)
            return;
        CHECK_INT(fscanf(file, "%ld", &after), 1);
        (void)fclose(file);
        if (i == 0)
            before = after;
    }
    CHECK((after - before) * 4096 < (long)64 << 20);
}

static void clocks_run_forward(void)
{
    int64_t start = fp_clock_ns();
    fp_sleep_ns(1000);
    fp_sleep_ns(-5);
    CHECK(fp_clock_ns() >= start + 1000);
    CHECK(fp_clock_wall_us() > (int64_t)1700000000 * 1000000);
    CHECK_INT(fp_process_id(), getpid());
}

static void random_bytes_differ(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    uint8_t a[32] = {0}, b[32] = {0}, large[1000] = {0};
    CHECK_OK(fp_random(a, sizeof a, &err), err);
    CHECK_OK(fp_random(b, sizeof b, &err), err);
    CHECK_OK(fp_random(large, sizeof large, &err), err);
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK_OK(fp_random(a, 0, &err), err);
}

static void file_is_no_terminal(void)
{
    FILE *file = tmpfile();
    CHECK(file);
    int columns = 99;
    CHECK(!fp_stream_is_terminal(file, &columns));
    CHECK_INT(columns, 0);
    CHECK_INT(fclose(file), 0);
}

/* ------------------------------------------------------------------ processors */

static void first_number_of_a_list_is_read(void)
{
    CHECK_INT(fp_first_number("4"), 4);
    CHECK_INT(fp_first_number(" 8 ,2"), 8);
    CHECK_INT(fp_first_number("4,2"), 4);
    static const char *const none[] = {"", "x", "0", "-3", "4x", "99999999999999999999", ","};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        CHECK_INT(fp_first_number(none[i]), FP_PROCESSORS_NO_LIMIT);
    CHECK_INT(fp_first_number(NULL), FP_PROCESSORS_NO_LIMIT);
}

static uint32_t quota(const char *membership)
{
    write_text(scratch_path("membership"), membership);
    return fp_cgroup_processors(scratch_path("membership"), scratch_path("cgroup"));
}

static void quota_is_the_least_of_a_group_and_all_above(void)
{
    make_folder(scratch_path("cgroup"));
    make_folder(scratch_path("cgroup/a"));
    make_folder(scratch_path("cgroup/a/b"));
    CHECK_INT(quota("0::/a/b\n"), FP_PROCESSORS_NO_LIMIT);
    write_text(scratch_path("cgroup/a/b/cpu.max"), "max 100000\n");
    CHECK_INT(quota("0::/a/b\n"), FP_PROCESSORS_NO_LIMIT);
    write_text(scratch_path("cgroup/a/cpu.max"), "250000 100000\n");
    CHECK_INT(quota("0::/a/b\n"), 3); /* rounded up */
    write_text(scratch_path("cgroup/a/b/cpu.max"), "50000 100000\n");
    CHECK_INT(quota("0::/a/b\n"), 1);
    CHECK_INT(quota("0::/a\n"), 3);
    CHECK_INT(quota("0::/\n"), FP_PROCESSORS_NO_LIMIT);
    /* Seen from a container: the path is the host's, only the root of the mount is ours. */
    write_text(scratch_path("cgroup/cpu.max"), "200000 100000\n");
    CHECK_INT(quota("0::/docker/0123\n"), 2);
    CHECK_INT(quota("0::/\n"), 2);
}

static void quota_of_version_1_is_read(void)
{
    make_folder(scratch_path("cgroup/cpu,cpuacct"));
    make_folder(scratch_path("cgroup/cpu,cpuacct/job"));
    write_text(scratch_path("cgroup/cpu,cpuacct/job/cpu.cfs_quota_us"), "-1\n");
    write_text(scratch_path("cgroup/cpu,cpuacct/job/cpu.cfs_period_us"), "100000\n");
    const char *membership = "12:cpuset:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/job\n";
    CHECK_INT(quota(membership), FP_PROCESSORS_NO_LIMIT);
    write_text(scratch_path("cgroup/cpu,cpuacct/job/cpu.cfs_quota_us"), "410000\n");
    CHECK_INT(quota(membership), 5);
    CHECK_INT(quota("12:cpuset:/job\n3:cpuacct:/job\n"), FP_PROCESSORS_NO_LIMIT);
    CHECK_INT(quota("nonsense\n\n::\n:\n"), 2); /* "::" is version 2 at the root */
    CHECK_INT(fp_cgroup_processors(scratch_path("absent"), scratch_folder), FP_PROCESSORS_NO_LIMIT);
}

static void processors_follow_the_environment_and_are_one_at_least(void)
{
    CHECK_INT(unsetenv("OMP_NUM_THREADS"), 0);
    CHECK_INT(unsetenv("OMP_THREAD_LIMIT"), 0);
    uint32_t all = fp_processors();
    CHECK(all >= 1);
    CHECK_INT(setenv("OMP_NUM_THREADS", "1,4", 1), 0);
    CHECK_INT(fp_processors(), 1);
    CHECK_INT(setenv("OMP_NUM_THREADS", "1000000", 1), 0);
    CHECK_INT(fp_processors(), all);
    CHECK_INT(setenv("OMP_THREAD_LIMIT", "1", 1), 0);
    CHECK_INT(fp_processors(), 1);
    CHECK_INT(unsetenv("OMP_NUM_THREADS"), 0);
    CHECK_INT(unsetenv("OMP_THREAD_LIMIT"), 0);
}

static int first_processor(const cpu_set_t *set)
{
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, set))
            return cpu;
    return -1;
}

static void pin_is_for_one_processor_and_can_be_undone(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    cpu_set_t before, pinned, after;
    CHECK_INT(sched_getaffinity(0, sizeof before, &before), 0);
    fp_affinity saved;
    fp_affinity_save(&saved);
    CHECK(saved.saved);
    int cpu = first_processor(&before);
    CHECK_OK(fp_thread_pin(cpu, &err), err);
    CHECK_INT(sched_getaffinity(0, sizeof pinned, &pinned), 0);
    CHECK_INT(CPU_COUNT(&pinned), 1);
    CHECK(CPU_ISSET((size_t)cpu, &pinned));
    CHECK_INT(fp_processors(), 1);
    fp_affinity_restore(&saved);
    CHECK_INT(sched_getaffinity(0, sizeof after, &after), 0);
    CHECK(CPU_EQUAL(&before, &after));
    CHECK_INT(fp_thread_pin(-1, &err), FACPOOL_E_INVALID);
    CHECK_INT(fp_thread_pin(1023, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "1023"));
    CHECK_INT(fp_thread_pin(1 << 20, &err), FACPOOL_E_INVALID);
}

/* ------------------------------------------------------------------ threads and locks */

static void *look_at_signals(void *arg)
{
    sigset_t mask;
    int *blocked = arg;
    *blocked = pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && sigismember(&mask, SIGINT) == 1 &&
               sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1;
    return NULL;
}

static void thread_blocks_all_signals_and_the_caller_does_not(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_thread thread = {0};
    fp_thread_join(&thread); /* not started: nothing */
    int blocked = 0;
    CHECK_OK(fp_thread_start(&thread, look_at_signals, &blocked, &err), err);
    fp_thread_join(&thread);
    fp_thread_join(&thread);
    CHECK(blocked);
    sigset_t mask;
    CHECK_INT(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    CHECK_INT(sigismember(&mask, SIGINT), 0);
}

/* Two threads pass a ball; each waits for its turn. */
typedef struct ball {
    fp_lock lock;
    int at;
} ball;

static void *return_the_ball(void *arg)
{
    ball *b = arg;
    fp_lock_enter(&b->lock);
    while (b->at < 1000) {
        while (b->at % 2 == 0 && b->at < 1000)
            fp_lock_wait(&b->lock);
        b->at++;
        fp_lock_wake_all(&b->lock);
    }
    fp_lock_leave(&b->lock);
    return NULL;
}

static void lock_wakes_whoever_waits(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    ball b = {.at = 0};
    fp_thread thread;
    CHECK_OK(fp_lock_init(&b.lock, &err), err);
    CHECK_OK(fp_thread_start(&thread, return_the_ball, &b, &err), err);
    fp_lock_enter(&b.lock);
    while (b.at < 1000) {
        while (b.at % 2 == 1)
            (void)fp_lock_wait_until(&b.lock, INT64_MAX);
        b.at++;
        fp_lock_wake_all(&b.lock);
    }
    fp_lock_leave(&b.lock);
    fp_thread_join(&thread);
    CHECK(b.at >= 1000);
    fp_lock_destroy(&b.lock);
}

static void lock_says_when_the_deadline_has_passed(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_lock lock;
    CHECK_OK(fp_lock_init(&lock, &err), err);
    fp_lock_enter(&lock);
    CHECK(!fp_lock_wait_until(&lock, -1));
    CHECK(!fp_lock_wait_until(&lock, 0));
    /* Monotonic: a deadline of now + a little passes; taken as wall time it would be long past. */
    int64_t deadline = fp_clock_ns() + 2000000;
    while (fp_lock_wait_until(&lock, deadline))
        ;
    CHECK(fp_clock_ns() >= deadline);
    fp_lock_leave(&lock);
    fp_lock_destroy(&lock);
}

int main(void)
{
    if (!scratch_make("os"))
        return EXIT_FAILURE;
    RUN(pages_are_zeroed_and_large_ones_aligned);
    RUN(pages_are_given_back_whole);
    RUN(clocks_run_forward);
    RUN(random_bytes_differ);
    RUN(file_is_no_terminal);
    RUN(first_number_of_a_list_is_read);
    RUN(quota_is_the_least_of_a_group_and_all_above);
    RUN(quota_of_version_1_is_read);
    RUN(processors_follow_the_environment_and_are_one_at_least);
    RUN(pin_is_for_one_processor_and_can_be_undone);
    RUN(thread_blocks_all_signals_and_the_caller_does_not);
    RUN(lock_wakes_whoever_waits);
    RUN(lock_says_when_the_deadline_has_passed);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_folder);
    if (system(command) != 0)
        return EXIT_FAILURE;
    return TEST_END();
}
