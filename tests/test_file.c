/* os/file: files are whole-or-error and published whole, the writer's lock keeps two writers apart,
 * a file size limit is an error and no death. */
#include "scratch.h"
#include "test.h"

#include "base/error.h"
#include "os/file.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void write_text(const char *path, const char *text)
{
    CHECK(file_write(path, (const uint8_t *)text, strlen(text)));
}

static long count_entries(const char *needle)
{
    char command[600];
    snprintf(command, sizeof command, "ls -A '%s' | grep -c -- '%s'", scratch_folder, needle);
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
    CHECK_INT(fp_file_open(&file, scratch_path("none"), false, &err), FACPOOL_E_NOT_FOUND);
    CHECK_INT(err.os_errno, ENOENT);
    CHECK(strstr(err.message, scratch_path("none")));
    CHECK_INT(file.fd, -1);
}

static void file_that_is_not_regular_is_refused_and_not_waited_for(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file = FP_FILE_CLOSED;
    CHECK_INT(mkfifo(scratch_path("pipe"), 0666), 0);
    CHECK_INT(fp_file_open(&file, scratch_path("pipe"), false, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(fp_file_open(&file, scratch_path("pipe"), true, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(fp_file_open(&file, scratch_folder, false, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(fp_file_open(&file, scratch_folder, true, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(fp_file_open(&file, "/dev/null", true, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(file.fd, -1);
}

static void file_reads_what_was_written_and_less_at_its_end_only(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file;
    CHECK_OK(fp_file_create_temp(&file, scratch_path("data"), &err), err);
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
    CHECK_OK(fp_file_create_temp(&file, scratch_path("data"), &err), err);
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
    write_text(scratch_path("readonly"), "abc");
    fp_file file;
    CHECK_OK(fp_file_open(&file, scratch_path("readonly"), false, &err), err);
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
    if (fp_file_create_temp(&file, scratch_path("limited"), &err) ||
        setrlimit(RLIMIT_FSIZE, &limit))
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
    CHECK_OK(fp_file_create_temp(&a, scratch_path("x.fpb"), &err), err);
    CHECK_OK(fp_file_create_temp(&b, scratch_path("x.fpb"), &err), err);
    (void)umask(before);
    CHECK(strcmp(a.path, b.path) != 0);
    const char *start = scratch_path(".x.fpb.");
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
    const char *path = scratch_path(name);
    CHECK_OK(fp_file_create_temp(&file, path, &err), err);
    CHECK_OK(fp_file_publish(&file, path, false, &err), err);
    fp_file_discard(&file);
}

static void temporary_file_needs_its_folder(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_file file = FP_FILE_CLOSED;
    CHECK_INT(fp_file_create_temp(&file, scratch_path("nowhere/x"), &err), FACPOOL_E_NOT_FOUND);
    CHECK(strstr(err.message, "nowhere/x"));
    CHECK_INT(file.fd, -1);
}

static void publish_gives_the_name_only_where_it_is_free(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const char *path = scratch_path("final");
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
    const char *path = scratch_path("replaced");
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
    CHECK_INT(chdir(scratch_folder), 0);
    fp_file file;
    int created = fp_file_create_temp(&file, "plain", &err);
    int published = created ? created : fp_file_publish(&file, "plain", false, &err);
    CHECK_INT(chdir(before), 0);
    CHECK_OK(published, err);
    CHECK(fp_file_is_at(&file, scratch_path("plain")));
    fp_file_close(&file);
}

static void link_that_leads_nowhere_counts_as_there(void)
{
    CHECK_INT(symlink("nowhere", scratch_path("link")), 0);
    CHECK(fp_path_exists(scratch_path("link")));
    CHECK(!fp_path_exists(scratch_path("nothing")));
}

static void lock_keeps_a_second_writer_out_until_the_first_is_gone(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const char *path = scratch_path("locked");
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
    const char *path = scratch_path("inherited");
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

int main(void)
{
    if (!scratch_make("file"))
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
    scratch_remove();
    return TEST_END();
}
