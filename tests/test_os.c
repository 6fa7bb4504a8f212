/* os/: files are whole-or-error and published whole, the writer's lock keeps two writers apart, a
 * file size limit is an error and no death, large memory is aligned and zeroed, threads take no
 * signal, and processors are counted as the process may use them. */
#include "parent_folder.h"
#include "test.h"

#include "base/error.h"
#include "os/file.h"
#include "os/os.h"
#include "os/processors.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[200];

/* A path in the test's own folder; the last eight stay valid. */
static const char *in_folder(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file);
    CHECK(fputs(text, file) >= 0);
    CHECK_INT(fclose(file), 0);
}

static void make_folder(const char *path)
{
    CHECK_INT(mkdir(path, 0777), 0);
}

static long count_entries(const char *needle)
{
    char command[600];
    snprintf(command, sizeof command, "ls -A '%s' | grep -c -- '%s'", folder, needle);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    long count = -1;
    CHECK_INT(fscanf(pipe, "%ld", &count), 1);
    (void)pclose(pipe);
    return count;
}

/* ------------------------------------------------------------------ files */

static void file_that_is_not_there_is_not_found(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file = FP_FILE_CLOSED;
    CHECK_INT(fp_file_open(&file, in_folder("none"), false, &err), FACPOOL_E_NOT_FOUND);
    CHECK_INT(err.os_errno, ENOENT);
    CHECK(strstr(err.message, in_folder("none")));
    CHECK_INT(file.fd, -1);
}

static void file_that_is_not_regular_is_refused_and_not_waited_for(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file = FP_FILE_CLOSED;
    CHECK_INT(mkfifo(in_folder("pipe"), 0666), 0);
    CHECK_INT(fp_file_open(&file, in_folder("pipe"), false, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(fp_file_open(&file, in_folder("pipe"), true, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(fp_file_open(&file, folder, false, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(fp_file_open(&file, folder, true, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(fp_file_open(&file, "/dev/null", true, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(file.fd, -1);
}

static void file_reads_what_was_written_and_less_at_its_end_only(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file;
    CHECK_OK(fp_file_create_temp(&file, in_folder("data"), &err), err);
    CHECK_OK(fp_file_write(&file, "0123456789", 10, 5, &err), err);
    char read[32];
    size_t got = 99;
    CHECK_OK(fp_file_read(&file, read, 10, 5, &got, &err), err);
    CHECK_INT(got, 10);
    CHECK(memcmp(read, "0123456789", 10) == 0);
    CHECK_OK(fp_file_read(&file, read, 32, 10, &got, &err), err);
    CHECK_INT(got, 5);
    CHECK_OK(fp_file_read(&file, read, 32, 1000, &got, &err), err);
    CHECK_INT(got, 0);
    uint64_t size = 0;
    CHECK_OK(fp_file_size(&file, &size, &err), err);
    CHECK_INT(size, 15);
    CHECK_OK(fp_file_truncate(&file, 7, &err), err);
    CHECK_OK(fp_file_size(&file, &size, &err), err);
    CHECK_INT(size, 7);
    CHECK_OK(fp_file_sync(&file, &err), err);
    fp_file_discard(&file);
    CHECK_INT(file.fd, -1);
    CHECK_INT(count_entries("data"), 0);
}

static void file_offsets_beyond_what_a_file_can_have_are_errors(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file;
    CHECK_OK(fp_file_create_temp(&file, in_folder("data"), &err), err);
    char byte = 0;
    size_t got = 99;
    CHECK_INT(fp_file_read(&file, &byte, 1, UINT64_MAX, &got, &err), FACPOOL_E_IO);
    CHECK_INT(fp_file_read(&file, &byte, 1, INT64_MAX, &got, &err), FACPOOL_E_IO);
    CHECK_INT(got, 99);
    CHECK_INT(fp_file_write(&file, &byte, 1, INT64_MAX, &err), FACPOOL_E_IO);
    CHECK_INT(fp_file_truncate(&file, UINT64_MAX, &err), FACPOOL_E_IO);
    fp_file_discard(&file);
}

static void read_only_files_can_not_be_written(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    write_text(in_folder("readonly"), "abc");
    fp_file file;
    CHECK_OK(fp_file_open(&file, in_folder("readonly"), false, &err), err);
    CHECK_INT(fp_file_write(&file, "x", 1, 0, &err), FACPOOL_E_IO);
    CHECK_INT(err.os_errno, EBADF);
    CHECK_INT(fcntl(file.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    fp_file_close(&file);
    CHECK(!file.path);
}

static void full_disk_is_said_with_its_remedy(void)
{
    int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return; /* not every system has this device */
    facpool_error err = FACPOOL_ERROR_INIT;
    char path[] = "x.fpb";
    fp_file full = {fd, path, 0};
    CHECK_INT(fp_file_write(&full, "x", 1, 0, &err), FACPOOL_E_IO);
    CHECK_INT(err.os_errno, ENOSPC);
    CHECK(strstr(err.message, "x.fpb") && strstr(err.message, "disk full: free some space"));
    (void)close(fd);
}

/* In a child of its own, because a limit can't be raised again by everyone. Exit statuses are read
 * by the parent; a child killed by SIGXFSZ has none. */
static int write_past_the_limit(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file;
    struct rlimit limit = {4096, 4096};
    char block[8192] = {0};
    if (fp_file_create_temp(&file, in_folder("limited"), &err) || setrlimit(RLIMIT_FSIZE, &limit))
        return 1;
    if (fp_file_write(&file, block, sizeof block, 0, &err) != FACPOOL_E_IO || err.os_errno != EFBIG)
        return 2;
    if (fp_file_truncate(&file, 1 << 20, &err) != FACPOOL_E_IO || err.os_errno != EFBIG)
        return 3;
    sigset_t mask, pending;
    if (sigpending(&pending) || sigismember(&pending, SIGXFSZ))
        return 4;
    if (pthread_sigmask(SIG_SETMASK, NULL, &mask) || sigismember(&mask, SIGXFSZ))
        return 5;
    fp_file_discard(&file);
    return 0;
}

static void file_size_limit_is_an_error_and_no_death(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(write_past_the_limit());
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

static void temporary_file_is_beside_its_final_name_with_the_umask_s_mode(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file a, b;
    mode_t before = umask(027);
    CHECK_OK(fp_file_create_temp(&a, in_folder("x.fpb"), &err), err);
    CHECK_OK(fp_file_create_temp(&b, in_folder("x.fpb"), &err), err);
    (void)umask(before);
    CHECK(strcmp(a.path, b.path) != 0);
    const char *start = in_folder(".x.fpb.");
    CHECK(strncmp(a.path, start, strlen(start)) == 0);
    CHECK_INT(strlen(a.path), strlen(start) + 16 + 4);
    CHECK_TEXT(a.path + strlen(a.path) - 4, ".tmp");
    struct stat status;
    CHECK_INT(stat(a.path, &status), 0);
    CHECK_INT(status.st_mode & 0777, 0640);
    fp_file_discard(&a);
    fp_file_discard(&b);
    CHECK_INT(count_entries("x.fpb"), 0);
}

static void temporary_file_of_a_long_name_fits(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    char name[256];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    fp_file file;
    const char *path = in_folder(name);
    CHECK_OK(fp_file_create_temp(&file, path, &err), err);
    CHECK_OK(fp_file_publish(&file, path, false, &err), err);
    fp_file_discard(&file);
}

static void temporary_file_needs_its_folder(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file = FP_FILE_CLOSED;
    CHECK_INT(fp_file_create_temp(&file, in_folder("nowhere/x"), &err), FACPOOL_E_NOT_FOUND);
    CHECK(strstr(err.message, "nowhere/x"));
    CHECK_INT(file.fd, -1);
}

static void publish_gives_the_name_only_where_it_is_free(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const char *path = in_folder("final");
    fp_file first, second;
    CHECK_OK(fp_file_create_temp(&first, path, &err), err);
    CHECK_OK(fp_file_create_temp(&second, path, &err), err);
    CHECK(!fp_path_exists(path));
    CHECK_OK(fp_file_publish(&first, path, false, &err), err);
    CHECK_TEXT(first.path, path);
    CHECK(fp_path_exists(path));
    CHECK(fp_file_is_at(&first, path));
    CHECK_INT(fp_file_publish(&second, path, false, &err), FACPOOL_E_EXISTS);
    CHECK(strcmp(second.path, path) != 0);
    CHECK(fp_file_is_at(&first, path));
    CHECK_INT(count_entries("final"), 2);
    fp_file_discard(&second);
    fp_file_close(&first);
    CHECK_INT(count_entries("final"), 1);
}

static void publish_with_replace_takes_the_name(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const char *path = in_folder("replaced");
    write_text(path, "old");
    fp_file old, file;
    CHECK_OK(fp_file_open(&old, path, true, &err), err);
    CHECK_OK(fp_file_create_temp(&file, path, &err), err);
    CHECK_OK(fp_file_write(&file, "new", 3, 0, &err), err);
    CHECK_OK(fp_file_publish(&file, path, true, &err), err);
    CHECK(fp_file_is_at(&file, path));
    CHECK(!fp_file_is_at(&old, path));
    char read[3];
    size_t got = 0;
    CHECK_OK(fp_file_read(&old, read, 3, 0, &got, &err), err); /* readers keep what they have */
    CHECK(memcmp(read, "old", 3) == 0);
    fp_file_close(&old);
    fp_file_close(&file);
}

static void publish_works_without_a_folder_in_the_path(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    char before[4096];
    CHECK(getcwd(before, sizeof before));
    CHECK_INT(chdir(folder), 0);
    fp_file file;
    int created = fp_file_create_temp(&file, "plain", &err);
    int published = created ? created : fp_file_publish(&file, "plain", false, &err);
    CHECK_INT(chdir(before), 0);
    CHECK_OK(published, err);
    CHECK(fp_file_is_at(&file, in_folder("plain")));
    fp_file_close(&file);
}

static void link_that_leads_nowhere_counts_as_there(void)
{
    CHECK_INT(symlink("nowhere", in_folder("link")), 0);
    CHECK(fp_path_exists(in_folder("link")));
    CHECK(!fp_path_exists(in_folder("nothing")));
}

static void lock_keeps_a_second_writer_out_until_the_first_is_gone(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const char *path = in_folder("locked");
    write_text(path, "x");
    fp_file first, second, reader;
    CHECK_OK(fp_file_open(&first, path, true, &err), err);
    CHECK_OK(fp_file_open(&second, path, true, &err), err);
    CHECK_OK(fp_file_lock(&first, &err), err);
    CHECK_OK(fp_file_lock(&first, &err), err); /* its own */
    CHECK_INT(fp_file_lock(&second, &err), FACPOOL_E_BUSY);
    CHECK(strstr(err.message, "another writer has backup") && strstr(err.message, path));
    /* A reader that comes and goes in the same process must not take the lock with it, as it would
     * with a classic POSIX lock. */
    CHECK_OK(fp_file_open(&reader, path, false, &err), err);
    fp_file_close(&reader);
    CHECK_INT(fp_file_lock(&second, &err), FACPOOL_E_BUSY);
    fp_file_close(&first);
    CHECK_OK(fp_file_lock(&second, &err), err);
    fp_file_close(&second);
}

static void lock_ends_with_close_though_a_forked_child_has_the_file(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const char *path = in_folder("inherited");
    write_text(path, "x");
    fp_file first, second;
    int until_told[2];
    CHECK(!pipe(until_told));
    CHECK_OK(fp_file_open(&first, path, true, &err), err);
    CHECK_OK(fp_file_open(&second, path, true, &err), err);
    CHECK_OK(fp_file_lock(&first, &err), err);
    pid_t child = fork();
    if (child == 0) {
        char nothing;
        close(until_told[1]);
        _exit(read(until_told[0], &nothing, 1) != 0);
    }
    CHECK(child > 0);
    fp_file_close(&first);
    CHECK_OK(fp_file_lock(&second, &err), err);
    fp_file_close(&second);
    close(until_told[1]);
    int status;
    CHECK(waitpid(child, &status, 0) == child && !status);
    close(until_told[0]);
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
    write_text(in_folder("membership"), membership);
    return fp_cgroup_processors(in_folder("membership"), in_folder("cgroup"));
}

static void quota_is_the_least_of_a_group_and_all_above(void)
{
    make_folder(in_folder("cgroup"));
    make_folder(in_folder("cgroup/a"));
    make_folder(in_folder("cgroup/a/b"));
    CHECK_INT(quota("0::/a/b\n"), FP_PROCESSORS_NO_LIMIT);
    write_text(in_folder("cgroup/a/b/cpu.max"), "max 100000\n");
    CHECK_INT(quota("0::/a/b\n"), FP_PROCESSORS_NO_LIMIT);
    write_text(in_folder("cgroup/a/cpu.max"), "250000 100000\n");
    CHECK_INT(quota("0::/a/b\n"), 3); /* rounded up */
    write_text(in_folder("cgroup/a/b/cpu.max"), "50000 100000\n");
    CHECK_INT(quota("0::/a/b\n"), 1);
    CHECK_INT(quota("0::/a\n"), 3);
    CHECK_INT(quota("0::/\n"), FP_PROCESSORS_NO_LIMIT);
    /* Seen from a container: the path is the host's, only the root of the mount is ours. */
    write_text(in_folder("cgroup/cpu.max"), "200000 100000\n");
    CHECK_INT(quota("0::/docker/0123\n"), 2);
    CHECK_INT(quota("0::/\n"), 2);
}

static void quota_of_version_1_is_read(void)
{
    make_folder(in_folder("cgroup/cpu,cpuacct"));
    make_folder(in_folder("cgroup/cpu,cpuacct/job"));
    write_text(in_folder("cgroup/cpu,cpuacct/job/cpu.cfs_quota_us"), "-1\n");
    write_text(in_folder("cgroup/cpu,cpuacct/job/cpu.cfs_period_us"), "100000\n");
    const char *membership = "12:cpuset:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/job\n";
    CHECK_INT(quota(membership), FP_PROCESSORS_NO_LIMIT);
    write_text(in_folder("cgroup/cpu,cpuacct/job/cpu.cfs_quota_us"), "410000\n");
    CHECK_INT(quota(membership), 5);
    CHECK_INT(quota("12:cpuset:/job\n3:cpuacct:/job\n"), FP_PROCESSORS_NO_LIMIT);
    CHECK_INT(quota("nonsense\n\n::\n:\n"), 2); /* "::" is version 2 at the root */
    CHECK_INT(fp_cgroup_processors(in_folder("absent"), folder), FP_PROCESSORS_NO_LIMIT);
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
    snprintf(folder, sizeof folder, "%s/facpool-os-XXXXXX", parent_folder());
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    RUN(file_that_is_not_there_is_not_found);
    RUN(file_that_is_not_regular_is_refused_and_not_waited_for);
    RUN(file_reads_what_was_written_and_less_at_its_end_only);
    RUN(file_offsets_beyond_what_a_file_can_have_are_errors);
    RUN(read_only_files_can_not_be_written);
    RUN(full_disk_is_said_with_its_remedy);
    RUN(file_size_limit_is_an_error_and_no_death);
    RUN(temporary_file_is_beside_its_final_name_with_the_umask_s_mode);
    RUN(temporary_file_of_a_long_name_fits);
    RUN(temporary_file_needs_its_folder);
    RUN(publish_gives_the_name_only_where_it_is_free);
    RUN(publish_with_replace_takes_the_name);
    RUN(publish_works_without_a_folder_in_the_path);
    RUN(link_that_leads_nowhere_counts_as_there);
    RUN(lock_keeps_a_second_writer_out_until_the_first_is_gone);
    RUN(lock_ends_with_close_though_a_forked_child_has_the_file);
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
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        return EXIT_FAILURE;
    return TEST_END();
}
