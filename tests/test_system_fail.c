/* What the library asks of the system besides memory, reading and writing fails in turn: looking at
 * files, locks, names, permissions, random bytes, mutexes, threads, signal masks, processors, and
 * what other libraries take. Whatever can be done without is done without; all else is an error of
 * the public call, naming the file where one is at fault, that leaves the backup good and nothing
 * behind. Linux. */
#include <sys/wait.h>

#include "access_list.h"
#include "fail_outside.h"

#define IO          GIVES(FACPOOL_E_IO)
#define NOMEM       GIVES(FACPOOL_E_NOMEM)
#define SYSTEM      GIVES(FACPOOL_E_SYSTEM)
#define BUSY        GIVES(FACPOOL_E_BUSY)
#define UNSUPPORTED GIVES(FACPOOL_E_UNSUPPORTED)

#define N_OF(list) (sizeof(list) / sizeof *(list))

static void fail_list(trial t, const injection *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fail_each(t, list[i]);
}

/* Everything that opens, continues, replaces, reads or mends a backup. */
static void fail_all_of_backups(const injection *list, size_t n)
{
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_list(TRIAL(run_fresh, file_can_be_completed), list, n);
    fail_list(TRIAL(run_resumed, file_can_be_completed), list, n);
    fail_list(TRIAL(run_overwriting, file_can_be_completed), list, n);
    choose_backup_run(WITH_THREADS, true, FACPOOL_RESULTS_KEEP, false, FACPOOL_DURABILITY_GROUP);
    fail_list(TRIAL(run_fresh, file_can_be_completed), list, n);
    fail_list(TRIAL(append_rows, appended_rows_are_there), list, n);
    fail_list(TRIAL(repair_torn, repaired_or_as_it_was), list, n);
    remove_backup();
    complete_backup();
    fail_list(TRIAL(read_everything, NULL), list, n);
}

/* ------------------------------------------------------------------ files and their names */

/* What can't be looked at may be somebody else's by now. */
static void files_that_cannot_be_looked_at(void)
{
    static const injection list[] = {
        {CALL_STAT, FAIL_ALONE, EIO, IO | BUSY, false},
        {CALL_STAT, FAIL_ON, ENOMEM, IO | BUSY, false},
    };
    fail_all_of_backups(list, N_OF(list));
}

static void locks_that_fail(void)
{
    static const injection list[] = {
        {CALL_LOCK, FAIL_ALONE, ENOLCK, UNSUPPORTED, false},
        {CALL_LOCK, FAIL_ON, EOPNOTSUPP, UNSUPPORTED, false},
        {CALL_LOCK, FAIL_ALONE, ENOSYS, UNSUPPORTED, false},
        {CALL_LOCK, FAIL_ALONE, EINVAL, UNSUPPORTED, false},
        {CALL_LOCK, FAIL_ALONE, EAGAIN, BUSY, false},
        {CALL_LOCK, FAIL_ON, EACCES, BUSY, false},
        {CALL_LOCK, FAIL_ALONE, EIO, IO, false},
        {CALL_LOCK, FAIL_ALTERNATELY, EINTR, 0, false},
    };
    fail_all_of_backups(list, N_OF(list));
}

/* Where names can't be moved without replacing, they are made by link and unlink. */
static void names_by_link(void)
{
    static const injection list[] = {
        {CALL_LINK, FAIL_ALONE, ENOSPC, IO, false},
        {CALL_LINK, FAIL_ON, EPERM, IO, false},
        {CALL_LINK, FAIL_ALONE, EEXIST, 0, false}, /* looks again, and nothing is there */
        {CALL_LINK, FAIL_ON, EEXIST, GIVES(FACPOOL_E_EXISTS), false},
        {CALL_WRITE, FAIL_ALONE, ENOSPC, IO, false},
    };
    make_part();
    without_renameat2 = true;
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_list(TRIAL(run_fresh, file_can_be_completed), list, N_OF(list));
    without_renameat2 = false;
}

static void leftovers_do_no_harm(int rc)
{
    CHECK_INT(rc, 0);
    remove_leftovers();
    file_can_be_completed(rc);
}

/* The backup is there; its temporary name is, too. */
static void temporary_names_that_stay(void)
{
    static const injection stays = {CALL_UNLINK, FAIL_ALONE, EBUSY, 0, false};
    without_renameat2 = true;
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_each(TRIAL(run_fresh, leftovers_do_no_harm), stays);
    without_renameat2 = false;
}

/* Given by a path that the working folder completes. */
static void paths_that_cannot_be_resolved(void)
{
    static const injection list[] = {
        {CALL_PATH, FAIL_ALONE, ENOMEM, 0, false},
        {CALL_PATH, FAIL_ON, EACCES, 0, false},
        {CALL_PATH, FAIL_ON, EIO, 0, false},
    };
    char before[512], absolute[sizeof path];
    CHECK(getcwd(before, sizeof before) && chdir(scratch_folder) == 0);
    memcpy(absolute, path, sizeof path);
    memcpy(path, file_name, sizeof file_name);
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_list(TRIAL(run_fresh, file_can_be_completed), list, N_OF(list));
    fail_list(TRIAL(run_resumed, file_can_be_completed), list, N_OF(list));
    fail_list(TRIAL(run_overwriting, file_can_be_completed), list, N_OF(list));
    memcpy(path, absolute, sizeof path);
    CHECK(chdir(before) == 0);
}

/* ------------------------------------------------------------------ a backup behind a link */

static char target[sizeof path];

static int overwrite_behind_link(void)
{
    int kind = pause_failing();
    unlink(path);
    bool made = file_write(target, part_bytes, part_size) && symlink(target, path) == 0;
    go_on_failing(kind);
    CHECK(made);
    scenario_backup.mode = FACPOOL_MODE_OVERWRITE;
    return run_once();
}

/* The link is never what is replaced. */
static void link_is_still_there(int rc)
{
    struct stat status;
    CHECK(lstat(path, &status) == 0 && S_ISLNK(status.st_mode));
    file_can_be_completed(rc);
    CHECK(lstat(path, &status) == 0 && S_ISLNK(status.st_mode));
}

static void links_that_cannot_be_followed(void)
{
    static const injection list[] = {
        {CALL_PATH, FAIL_ALONE, EIO, IO, false},
        {CALL_PATH, FAIL_ON, EACCES, IO, false},
        {CALL_STAT, FAIL_ALONE, EIO, IO | BUSY, false},
        {CALL_RENAME, FAIL_ON, EIO, IO, false},
    };
    char name[sizeof file_name + 8];
    make_part();
    snprintf(name, sizeof name, "to-%s", file_name);
    snprintf(target, sizeof target, "%s", scratch_path(name));
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_list(TRIAL(overwrite_behind_link, link_is_still_there), list, N_OF(list));
    unlink(target);
    unlink(path);
}

/* ------------------------------------------------------------------ permissions */

static bool with_list;
static mode_t mode_afterwards;
static bool list_afterwards;

/* In the place of one that others may not read, and that may be somebody else's. */
static int overwrite_private(void)
{
    access_list list = list_of(6, 0, 6);
    int kind = pause_failing();
    bool made = file_write(path, part_bytes, part_size) && chmod(path, 0640) == 0 &&
                (geteuid() != 0 || chown(path, 1, 1) == 0) &&
                (!with_list || setxattr(path, LIST_OF_FILE, &list, sizeof list, 0) == 0);
    go_on_failing(kind);
    CHECK(made);
    scenario_backup.mode = FACPOOL_MODE_OVERWRITE;
    int rc = run_once();
    struct stat status;
    kind = pause_failing();
    mode_afterwards = stat(path, &status) == 0 ? status.st_mode & 0777 : 0777;
    list_afterwards = !has_list(path, NULL);
    go_on_failing(kind);
    return rc;
}

/* What one group may is not given to another. */
static void is_still_private(int rc)
{
    CHECK(mode_afterwards == 0640 || mode_afterwards == 0600 ||
          (with_list && list_afterwards && mode_afterwards == 0660));
    file_can_be_completed(rc);
}

static void permissions_that_cannot_be_given(void)
{
    static const injection list[] = {
        {CALL_RIGHTS, FAIL_ALONE, EPERM, IO, false},
        {CALL_RIGHTS, FAIL_ON, EPERM, IO, false},
        {CALL_RIGHTS, FAIL_ON, EROFS, IO, false},
    };
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_list(TRIAL(overwrite_private, is_still_private), list, N_OF(list));
    access_list any = list_of(6, 0, 6);
    with_list =
        setxattr(path, LIST_OF_FILE, &any, sizeof any, 0) == 0; /* the file system has them */
    if (with_list)
        fail_list(TRIAL(overwrite_private, is_still_private), list, N_OF(list));
    with_list = false;
}

/* ------------------------------------------------------------------ random bytes */

static void random_bytes_that_cannot_be_had(void)
{
    static const injection with_call[] = {
        {CALL_RANDOM, FAIL_ALTERNATELY, EINTR, 0, false},
        {CALL_RANDOM, FAIL_HALF, 0, 0, false},
        {CALL_RANDOM, FAIL_HALF_ON, 0, 0, false},
        {CALL_RANDOM, FAIL_ALONE, ENOSYS, 0, false},
        {CALL_RANDOM, FAIL_ON, EPERM, 0, false},
    };
    static const injection with_device[] = {
        {CALL_OPEN, FAIL_ALONE, EMFILE, IO | SYSTEM, false},
        {CALL_OPEN, FAIL_ALTERNATELY, EINTR, 0, false},
        {CALL_STREAM, FAIL_ALONE, EIO, SYSTEM, false},
        {CALL_STREAM, FAIL_ALONE, 0, SYSTEM, false},
        {CALL_STREAM, FAIL_ALTERNATELY, EINTR, 0, false},
        {CALL_STREAM, FAIL_HALF_ON, 0, 0, false},
    };
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_list(TRIAL(run_fresh, file_can_be_completed), with_call, N_OF(with_call));
    without_getrandom = true;
    fail_list(TRIAL(run_fresh, file_can_be_completed), with_device, N_OF(with_device));
    without_getrandom = false;
}

/* ------------------------------------------------------------------ locks, threads, signals */

static void mutexes_that_cannot_be_made(void)
{
    static const injection list[] = {
        {CALL_MUTEX, FAIL_ALONE, EAGAIN, SYSTEM, false},
        {CALL_MUTEX, FAIL_ON, ENOMEM, SYSTEM, false},
    };
    fail_all_of_backups(list, N_OF(list));
    choose_run(WITH_THREADS, false, 0);
    fail_list(TRIAL(run_once, NULL), list, N_OF(list));
    fail_list(TRIAL(run_started, NULL), list, N_OF(list));
    fail_list(TRIAL(run_as_job, NULL), list, N_OF(list));
    choose_run(FACPOOL_EXECUTOR_PROCESS, false, 0);
    fail_list(TRIAL(run_once, NULL), list, N_OF(list));
}

/* A run that can't begin leaves the backup that it was to overwrite. */
static void old_rows_are_there_unless_it_ran(int rc)
{
    if (rc == FACPOOL_E_SYSTEM) {
        size_t size;
        uint8_t *bytes = file_read(path, &size);
        CHECK(bytes && size == part_size && memcmp(bytes, part_bytes, size) == 0);
        free(bytes);
    }
    file_can_be_completed(rc);
}

static void threads_that_cannot_be_had(void)
{
    static const injection list[] = {
        {CALL_THREAD, FAIL_ALONE, EAGAIN, SYSTEM, false},
        {CALL_THREAD, FAIL_ON, EPERM, SYSTEM, false},
        {CALL_MASK, FAIL_ALONE, EINVAL, SYSTEM, false},
        {CALL_MASK, FAIL_ON, EINVAL, SYSTEM, false},
    };
    static const int32_t executors[] = {WITH_THREADS, FACPOOL_EXECUTOR_SERIAL,
                                        FACPOOL_EXECUTOR_PROCESS};
    for (size_t i = 0; i < N_OF(executors); i++) {
        choose_run(executors[i], false, 0);
        fail_list(TRIAL(run_once, NULL), list, N_OF(list));
        fail_list(TRIAL(run_started, NULL), list, N_OF(list));
        choose_backup_run(executors[i], false, 0, false, FACPOOL_DURABILITY_GROUP);
        fail_list(TRIAL(run_fresh, file_can_be_completed), list, N_OF(list));
    }
    make_part();
    for (size_t i = 0; i < 2; i++) { /* worker processes start when the run has begun */
        choose_backup_run(executors[i], false, 0, false, FACPOOL_DURABILITY_GROUP);
        fail_list(TRIAL(run_overwriting, old_rows_are_there_unless_it_ran), list, N_OF(list));
        inner_run = run_started;
        fail_list(TRIAL(run_overwriting, old_rows_are_there_unless_it_ran), list, N_OF(list));
    }
    fail_list(TRIAL(append_rows, appended_rows_are_there), list, N_OF(list));
}

/* ------------------------------------------------------------------ processors */

static void processors_that_cannot_be_had(void)
{
    static const injection pinning[] = {
        {CALL_AFFINITY, FAIL_ALONE, EPERM, SYSTEM, false},
        {CALL_AFFINITY, FAIL_ON, EPERM, SYSTEM, false},
        {CALL_AFFINITY, FAIL_ALONE, EINVAL, GIVES(FACPOOL_E_INVALID), false},
    };
    static const int32_t executors[] = {FACPOOL_EXECUTOR_SERIAL, WITH_THREADS,
                                        FACPOOL_EXECUTOR_PROCESS};
    cpu_set_t before, after;
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    int32_t cpu = 0;
    while (!CPU_ISSET((size_t)cpu, &before))
        cpu++;
    for (size_t i = 0; i < N_OF(executors); i++) {
        choose_run(executors[i], false, 0);
        scenario_options.cpus = &cpu;
        scenario_options.n_cpus = 1;
        fail_list(TRIAL(run_once, NULL), pinning, N_OF(pinning));
        CHECK(sched_getaffinity(0, sizeof after, &after) == 0);
        sched_setaffinity(0, sizeof before, &before); /* what the failing calls did not put back */
    }
}

/* How many there are is a guess where the system does not tell. */
static void processors_that_are_not_told(void)
{
    static const injection list[] = {
        {CALL_AFFINITY, FAIL_ALONE, EPERM, 0, false},   {CALL_AFFINITY, FAIL_ON, EINVAL, 0, false},
        {CALL_STREAM, FAIL_ALONE, EMFILE, 0, false},    {CALL_STREAM, FAIL_ON, EIO, 0, false},
        {CALL_ALLOC, FAIL_ALONE, ENOMEM, NOMEM, false},
    };
    choose_run(WITH_THREADS, false, 0);
    scenario_options.workers = 0;
    fail_list(TRIAL(run_once, NULL), list, N_OF(list));
}

/* ------------------------------------------------------------------ other libraries */

/* Their memory, and the locale that numbers are read in. */
static void libraries_that_get_no_memory(void)
{
    static const injection list[] = {
        {CALL_LIBRARY, FAIL_ALONE, ENOMEM, NOMEM, false},
        {CALL_LIBRARY, FAIL_ON, ENOMEM, NOMEM, false},
        {CALL_LOCALE, FAIL_ALONE, ENOMEM, NOMEM, false},
        {CALL_LOCALE, FAIL_ON, ENOMEM, NOMEM, false},
    };
    fail_all_of_backups(list, N_OF(list));
}

/* ------------------------------------------------------------------ wishes, a console */

enum { N_MANY_DATES = 1000, N_MANY_CODES = 600 };

static int compute_nothing(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = (double)task->index;
    return 0;
}

/* Large enough for huge pages. */
static int run_many(void)
{
    static facpool_tasks *many;
    int64_t days[N_MANY_DATES];
    static char texts[N_MANY_CODES][16];
    const char *names[N_MANY_CODES];
    for (int d = 0; d < N_MANY_DATES; d++)
        days[d] = d;
    for (int c = 0; c < N_MANY_CODES; c++) {
        snprintf(texts[c], sizeof texts[c], "%d", c);
        names[c] = texts[c];
    }
    CHECK_OK(facpool_tasks_grid(&many, days, N_MANY_DATES, names, N_MANY_CODES, &err), err);
    facpool_run_options options = run_options(FACPOOL_EXECUTOR_SERIAL);
    facpool_result *result = NULL;
    options.fn = compute_nothing;
    options.n_factors = 1;
    int rc = facpool_run(many, &options, &result, &err);
    facpool_tasks_free(many);
    const double *column = rc ? NULL : facpool_result_factor(result, 0);
    for (size_t i = 0; column && i < N_MANY_DATES * N_MANY_CODES; i += 997)
        CHECK(column[i] == (double)i);
    CHECK(rc || column);
    facpool_result_free(result);
    return rc;
}

static void wishes_that_are_not_granted(void)
{
    static const injection list[] = {
        {CALL_WISH, FAIL_ALONE, EINVAL, 0, false},
        {CALL_WISH, FAIL_ON, ENOMEM, 0, false},
    };
    fail_list(TRIAL(run_many, NULL), list, N_OF(list));
}

/* A console whose stream takes nothing. */
static void consoles_that_cannot_be_written(void)
{
    FILE *full = fopen("/dev/full", "w");
    if (!full) {
        printf("SKIP: there is no /dev/full\n");
        return;
    }
    facpool_console *console = NULL;
    CHECK_OK(facpool_console_new(&console, full, &err), err);
    setvbuf(full, NULL, _IONBF, 0);
    choose_run(FACPOOL_EXECUTOR_SERIAL, false, 0);
    scenario_options.progress = facpool_console_progress;
    scenario_options.progress_user = console;
    scenario_options.progress_interval_ms = 1;
    CHECK_INT(run_once(), 0);
    CHECK(ferror(full));
    facpool_console_free(console);
    fclose(full);
}

static void all_in_format(const char *suffix)
{
    choose_format(suffix);
    printf("%s\n", file_name);
    RUN_FAILING(files_that_cannot_be_looked_at);
    RUN_FAILING(locks_that_fail);
    RUN_FAILING(names_by_link);
    RUN_FAILING(temporary_names_that_stay);
    RUN_FAILING(paths_that_cannot_be_resolved);
    RUN_FAILING(links_that_cannot_be_followed);
    RUN_FAILING(permissions_that_cannot_be_given);
    RUN_FAILING(random_bytes_that_cannot_be_had);
    RUN_FAILING(mutexes_that_cannot_be_made);
    RUN_FAILING(libraries_that_get_no_memory);
}

int main(void)
{
    static const call_kind kinds[] = {CALL_STAT,    CALL_LOCK,   CALL_LINK,   CALL_UNLINK,
                                      CALL_PATH,    CALL_RIGHTS, CALL_RANDOM, CALL_STREAM,
                                      CALL_MUTEX,   CALL_THREAD, CALL_MASK,   CALL_AFFINITY,
                                      CALL_LIBRARY, CALL_LOCALE, CALL_WISH};
    if (!begin("system"))
        return EXIT_FAILURE;
    most_failing = of_tier(2, UINT_MAX, UINT_MAX);
    for (size_t i = 0; i < N_FORMATS; i++)
        all_in_format(all_formats[i]);
    choose_format(all_formats[0]);
    RUN_FAILING(threads_that_cannot_be_had);
    RUN_FAILING(processors_that_cannot_be_had);
    RUN_FAILING(processors_that_are_not_told);
    RUN_FAILING(wishes_that_are_not_granted);
    RUN_FAILING(consoles_that_cannot_be_written);
    end_world();
    return END_FAILING(kinds);
}
