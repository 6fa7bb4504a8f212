/* Proves that the library opens no door to others: files have the rights that the umask, or the
 * file that they replace, says, also while they are made; no descriptor of its own reaches a
 * program that is started meanwhile; temporary names can't be foreseen, and what somebody planted
 * in the folder is neither followed nor touched; nothing is opened for writing outside a backup's
 * folder, whatever the environment says; and memory shared with workers has no name and is nobody
 * else's. Numbers from outside are test_security_numbers.c.
 *
 * The library's calls of open, pwrite and getenv pass through here: see the link arguments. With
 * "--descriptors" the program tells which descriptors it was given. */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include "access_list.h"
#include "process_helpers.h"
#include "security_paths.h"

/* ------------------------------------------------------------------ what the library calls */

typedef struct watched_calls {
    bool is_on;
    char folder[300];  /* where the library may write */
    unsigned n_made;   /* files that were to be made */
    char made[8][400]; /* their names */
    unsigned n_plants; /* the next so many names are taken as soon as they are chosen */
    const char *plant_target;
    mode_t most_rights; /* of a file that is written to */
    char fault[600];
} watched_calls;

static watched_calls *watched; /* shared with workers */

static void blame(const char *what, const char *name)
{
    if (!watched->fault[0])
        snprintf(watched->fault, sizeof watched->fault, "%s: %s", what, name);
}

static void look_at_open(const char *path, int flags)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
    if (!watched || !watched->is_on)
        return;
    if (!(flags & O_CLOEXEC))
        blame("opened without O_CLOEXEC", path);
    if (writes && strncmp(path, watched->folder, strlen(watched->folder)) != 0)
        blame("opened for writing outside the backup's folder", path);
    if (!(flags & O_CREAT))
        return;
    if (!(flags & O_EXCL) || !(flags & O_NOFOLLOW))
        blame("made without O_EXCL and O_NOFOLLOW", path);
    snprintf(watched->made[watched->n_made++ % 8], sizeof watched->made[0], "%s", path);
    if (watched->n_plants && watched->n_plants--)
        if (symlink(watched->plant_target, path))
            blame("no link could be planted", path);
}

static void look_at_rights(int fd)
{
    struct stat status;
    if (!watched || !watched->is_on || fstat(fd, &status) || !S_ISREG(status.st_mode))
        return;
    if (status.st_mode & 0777 & ~watched->most_rights)
        blame("others may do more than they should", "made, or written to");
}

#define WATCH_OPEN(name)                                                                           \
    int __real_##name(const char *path, int flags, ...);                                           \
    int __wrap_##name(const char *path, int flags, ...);                                           \
    int __wrap_##name(const char *path, int flags, ...)                                            \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;                             \
        va_end(arguments);                                                                         \
        look_at_open(path, flags);                                                                 \
        int fd = __real_##name(path, flags, mode);                                                 \
        if (fd >= 0 && flags & O_CREAT)                                                            \
            look_at_rights(fd);                                                                    \
        return fd;                                                                                 \
    }
WATCH_OPEN(open)
WATCH_OPEN(open64)

#define WATCH_PWRITE(name)                                                                         \
    ssize_t __real_##name(int fd, const void *from, size_t n, off_t offset);                       \
    ssize_t __wrap_##name(int fd, const void *from, size_t n, off_t offset);                       \
    ssize_t __wrap_##name(int fd, const void *from, size_t n, off_t offset)                        \
    {                                                                                              \
        look_at_rights(fd);                                                                        \
        return __real_##name(fd, from, n, offset);                                                 \
    }
WATCH_PWRITE(pwrite)
WATCH_PWRITE(pwrite64)

char *__real_getenv(const char *name);
char *__wrap_getenv(const char *name);

char *__wrap_getenv(const char *name)
{
    bool is_count = strcmp(name, "OMP_NUM_THREADS") == 0 || strcmp(name, "OMP_THREAD_LIMIT") == 0;
    if (watched && watched->is_on && !is_count)
        blame("asked of the environment", name);
    return __real_getenv(name);
}

static void watch(mode_t most_rights)
{
    memset(watched, 0, sizeof *watched);
    snprintf(watched->folder, sizeof watched->folder, "%s/", test_folder);
    watched->most_rights = most_rights;
    watched->is_on = true;
}

static void watch_no_more(void)
{
    watched->is_on = false;
    CHECK_TEXT(watched->fault, "");
}

/* ------------------------------------------------------------------ making files */

static void write_backup(const char *path, int32_t mode, int32_t executor)
{
    work *w = SHARED(work, .fail_every = 5, .n_factors = FACTORS);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = make_options(w, executor);
    facpool_tasks *tasks = make_grid(3, 5);
    facpool_result *result = NULL;
    backup.path = path;
    backup.mode = mode;
    options.backup = &backup;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void convert(const char *from, const char *to, int32_t mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = to;
    backup.mode = mode;
    CHECK_OK(facpool_backup_convert(&from, 1, &backup, &err), err);
}

static void repair(const char *path)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_repair(path, &report, &err), err);
}

static mode_t rights_of(const char *path)
{
    struct stat status;
    CHECK_INT(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static size_t files_in(const char *folder)
{
    size_t n = 0;
    DIR *listing = opendir(folder);
    CHECK(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    return n;
}

/* ------------------------------------------------------------------ rights */

static void new_files_have_the_rights_that_the_umask_leaves(void)
{
    static const mode_t masks[] = {0022, 0077, 0000, 0027};
    for (size_t m = 0; m < 4; m++)
        for (size_t i = 0; i < N_SUFFIXES; i++) {
            const char *path = path_of("new", suffixes[i]), *other = path_of("other", suffixes[i]);
            mode_t before = umask(masks[m]);
            watch(0666 & ~masks[m]);
            write_backup(path, FACPOOL_MODE_CREATE, FACPOOL_EXECUTOR_SERIAL);
            convert(path, other, FACPOOL_MODE_CREATE);
            (void)umask(before);
            watch_no_more();
            CHECK_INT(rights_of(path), 0666 & ~masks[m]);
            CHECK_INT(rights_of(other), 0666 & ~masks[m]);
            unlink(path);
            unlink(other);
        }
}

/* Whatever the umask says now; and there is no moment at which anybody may more. */
static void files_that_take_a_place_have_the_rights_of_what_was_there(void)
{
    static const mode_t kept[] = {0600, 0640, 0400 | 0200};
    for (size_t m = 0; m < 3; m++)
        for (size_t i = 0; i < N_SUFFIXES; i++) {
            const char *path = path_of("private", suffixes[i]),
                       *from = path_of("from", suffixes[i]);
            mode_t before = umask(0000);
            write_backup(path, FACPOOL_MODE_CREATE, FACPOOL_EXECUTOR_SERIAL);
            write_backup(from, FACPOOL_MODE_CREATE, FACPOOL_EXECUTOR_SERIAL);
            CHECK_INT(chmod(path, kept[m]), 0);
            watch(kept[m]);
            write_backup(path, FACPOOL_MODE_RESUME, FACPOOL_EXECUTOR_SERIAL);
            CHECK_INT(rights_of(path), kept[m]);
            write_backup(path, FACPOOL_MODE_OVERWRITE, FACPOOL_EXECUTOR_SERIAL);
            CHECK_INT(rights_of(path), kept[m]);
            convert(from, path, FACPOOL_MODE_OVERWRITE);
            CHECK_INT(rights_of(path), kept[m]);
            CHECK_OK(facpool_backup_compact(path, &err), err);
            CHECK_INT(rights_of(path), kept[m]);
            repair(path);
            CHECK_INT(rights_of(path), kept[m]);
            watch_no_more();
            (void)umask(before);
            unlink(path);
            unlink(from);
        }
}

/* With a list the mode's bits of the group say how much anybody of the list may, not what the group
 * may; and a folder may give lists to what is made in it. */
static void files_that_take_a_place_have_the_access_list_of_what_was_there(void)
{
    access_list of_file = list_of(6, 0, 6), of_folder = list_of(7, 7, 7);
    for (size_t i = 0; i < 2 * N_SUFFIXES; i++) {
        const char *path = path_of("listed", suffixes[i / 2]);
        const access_list *list = i % 2 ? &of_file : NULL;
        write_backup(path, FACPOOL_MODE_CREATE, FACPOOL_EXECUTOR_SERIAL);
        CHECK_INT(chmod(path, 0640), 0);
        if ((list && setxattr(path, LIST_OF_FILE, list, sizeof *list, 0)) ||
            setxattr(test_folder, LIST_OF_FOLDER, &of_folder, sizeof of_folder, 0)) {
            printf("  not tried: %s has no access control lists\n", test_folder);
            unlink(path);
            return;
        }
        for (int32_t way = 0; way < 2; way++) {
            if (way)
                CHECK_OK(facpool_backup_compact(path, &err), err);
            else
                write_backup(path, FACPOOL_MODE_OVERWRITE, FACPOOL_EXECUTOR_SERIAL);
            CHECK(has_list(path, list));
            CHECK_INT(rights_of(path), list ? 0660 : 0640);
        }
        CHECK_INT(removexattr(test_folder, LIST_OF_FOLDER), 0);
        unlink(path);
    }
}

/* ------------------------------------------------------------------ descriptors */

/* In another program: how many descriptors beside the standard ones it was given. */
static int tell_descriptors(void)
{
    int n = 0;
    for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n > 200 ? 200 : n;
}

static int descriptors_of_a_new_program(void)
{
    int state = 0;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "test_security", "--descriptors", (char *)NULL);
        _exit(250);
    }
    return pid > 0 && waitpid(pid, &state, 0) == pid && WIFEXITED(state) ? WEXITSTATUS(state) : 251;
}

typedef struct starting {
    int expected;
    atomic_int wrong; /* -1: nothing was looked at */
} starting;

static int start_a_program(const facpool_task *task, double *factors, void *user)
{
    starting *s = user;
    factors[0] = (double)task->index;
    if (task->index == 0) {
        int given = descriptors_of_a_new_program();
        atomic_store(&s->wrong, given == s->expected ? 0 : given + 1);
    }
    return 0;
}

/* From within a run: backup, lock, sockets and shared memory are open then. */
static void check_descriptors_in_a_run(int32_t executor, const char *suffix, int expected)
{
    starting *s = SHARED(starting, .expected = expected, .wrong = -1);
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_tasks *tasks = make_grid(2, 2);
    facpool_result *result = NULL;
    const char *path = path_of("descriptors", suffix);
    options.fn = start_a_program;
    options.user = s;
    options.n_factors = 1;
    options.executor = executor;
    options.workers = executor == FACPOOL_EXECUTOR_SERIAL ? 1 : 2;
    options.backup_path = path;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    CHECK_INT(atomic_load(&s->wrong), 0);
    unlink(path);
}

static void no_descriptor_reaches_a_program_that_is_started(void)
{
    int expected = descriptors_of_a_new_program();
    for (size_t i = 0; i < N_SUFFIXES; i++) {
        check_descriptors_in_a_run(FACPOOL_EXECUTOR_SERIAL, suffixes[i], expected);
        check_descriptors_in_a_run(FACPOOL_EXECUTOR_PROCESS, suffixes[i], expected);
        const char *path = path_of("open", suffixes[i]);
        facpool_reader *reader = NULL;
        facpool_cursor *cursor = NULL;
        facpool_row row = FACPOOL_ROW_INIT;
        write_backup(path, FACPOOL_MODE_CREATE, FACPOOL_EXECUTOR_SERIAL);
        CHECK_OK(facpool_reader_open(&reader, &path, 1, &err), err);
        CHECK_OK(facpool_query(reader, NULL, &cursor, &err), err);
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(descriptors_of_a_new_program(), expected);
        facpool_cursor_free(cursor);
        facpool_reader_free(reader);
        unlink(path);
    }
}

/* ------------------------------------------------------------------ names */

static void change_in_every_way(const char *path)
{
    write_backup(path, FACPOOL_MODE_CREATE, FACPOOL_EXECUTOR_SERIAL);
    write_backup(path, FACPOOL_MODE_RESUME, FACPOOL_EXECUTOR_SERIAL);
    write_backup(path, FACPOOL_MODE_OVERWRITE, FACPOOL_EXECUTOR_SERIAL);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    repair(path);
}

/* Sixteen digits, others each time. */
static void temporary_names_can_not_be_foreseen(void)
{
    for (size_t i = 0; i < N_SUFFIXES; i++) {
        const char *path = path_of("names", suffixes[i]);
        watch(0666);
        change_in_every_way(path);
        watch_no_more();
        CHECK_INT(watched->n_made, 3);
        for (unsigned a = 0; a < 3; a++) {
            char digits[17] = "", end[8] = "";
            const char *name = strrchr(watched->made[a], '/') + 1;
            CHECK_INT(sscanf(strchr(name + 1, '.') + 1, "%*[^.].%16[0-9a-f]%7s", digits, end), 2);
            CHECK_INT(strlen(digits), 16);
            CHECK_TEXT(end, ".tmp");
            for (unsigned b = 0; b < a; b++)
                CHECK(strcmp(watched->made[a], watched->made[b]) != 0);
        }
        unlink(path);
    }
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    CHECK(file);
    fputs(text, file);
    fclose(file);
}

static void check_text(const char *path, const char *expected)
{
    char text[64] = "";
    FILE *file = fopen(path, "re");
    CHECK(file);
    CHECK(fgets(text, sizeof text, file));
    fclose(file);
    CHECK_TEXT(text, expected);
}

/* Names that other programs use for such files, and, the moment it is chosen, the right one. */
static void what_is_planted_in_the_folder_is_neither_followed_nor_touched(void)
{
    static const char *const planted[] = {".planted.%s.tmp", "planted.%s.tmp",  "planted.%s~",
                                          "planted.%s.lock", ".planted.%s.swp", "planted.%s.new"};
    const char *victim = path_of("victim", "txt");
    for (size_t i = 0; i < N_SUFFIXES; i++) {
        char names[6][400];
        const char *path = path_of("planted", suffixes[i]);
        write_text(victim, "not yours");
        for (size_t k = 0; k < 6; k++) {
            char format[400];
            snprintf(format, sizeof format, "%s/%s", test_folder, planted[k]);
            snprintf(names[k], sizeof names[k], "%s/", test_folder);
            size_t at = strlen(names[k]);
            const char *hole = strstr(planted[k], "%s");
            snprintf(names[k] + at, sizeof names[k] - at, "%.*s%s%s", (int)(hole - planted[k]),
                     planted[k], suffixes[i], hole + 2);
            CHECK_INT(symlink(victim, names[k]), 0);
        }
        size_t n_before = files_in(test_folder);
        watch(0666);
        watched->plant_target = victim;
        watched->n_plants = 5;
        change_in_every_way(path);
        watch_no_more();
        CHECK_INT(watched->n_plants, 0);
        check_text(victim, "not yours");
        CHECK_INT(files_in(test_folder), n_before + 1 + 5);
        for (unsigned k = 0; k < 5; k++)
            CHECK_INT(unlink(watched->made[k]), 0); /* the links are there still */
        for (size_t k = 0; k < 6; k++) {
            char target[400] = "";
            CHECK(readlink(names[k], target, sizeof target - 1) > 0);
            CHECK_TEXT(target, victim);
            unlink(names[k]);
        }
        unlink(path);
    }
    unlink(victim);
}

static void nothing_is_written_outside_the_folder_whatever_the_environment_says(void)
{
    static const char *const names[] = {"TMPDIR",         "TMP", "TEMP",         "HOME",
                                        "XDG_CACHE_HOME", "PWD", "FACPOOL_HOME", "LANG",
                                        "LC_NUMERIC"};
    char elsewhere[300], before[9][4096], working[4096];
    bool was_set[9];
    snprintf(elsewhere, sizeof elsewhere, "%s-elsewhere", test_folder);
    CHECK_INT(mkdir(elsewhere, 0700), 0);
    for (size_t i = 0; i < 9; i++) {
        const char *value = __real_getenv(names[i]);
        was_set[i] = value != NULL;
        snprintf(before[i], sizeof before[i], "%s", value ? value : "");
        setenv(names[i], elsewhere, 1);
    }
    CHECK(getcwd(working, sizeof working));
    CHECK_INT(chdir(elsewhere), 0);
    for (size_t i = 0; i < N_SUFFIXES; i++) {
        const char *path = path_of("inside", suffixes[i]), *to = path_of("to", suffixes[i]);
        watch(0666);
        change_in_every_way(path);
        convert(path, to, FACPOOL_MODE_CREATE);
        unlink(path);
        write_backup(path, FACPOOL_MODE_CREATE, FACPOOL_EXECUTOR_PROCESS);
        watch_no_more();
        unlink(path);
        unlink(to);
    }
    CHECK_INT(chdir(working), 0);
    CHECK_INT(files_in(elsewhere), 0);
    for (size_t i = 0; i < 9; i++)
        was_set[i] ? setenv(names[i], before[i], 1) : unsetenv(names[i]);
    CHECK_INT(rmdir(elsewhere), 0);
}

/* ------------------------------------------------------------------ shared memory */

typedef struct looking {
    size_t named_before;
    atomic_int result; /* 1: as it should be; else what was wrong */
} looking;

/* Whether a process of nobody's can open what this one shares with its workers. */
static int stranger_can_look(pid_t whose)
{
    char path[400], folder[64];
    int found = 0;
    if (setgid(65534) || setuid(65534))
        return 0;
    snprintf(folder, sizeof folder, "/proc/%d/fd", (int)whose);
    DIR *listing = opendir(folder);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        found |= fd >= 0 && entry->d_name[0] != '.';
        if (fd >= 0)
            close(fd);
    }
    if (listing)
        closedir(listing);
    snprintf(path, sizeof path, "/proc/%d/mem", (int)whose);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    return found || fd >= 0;
}

static int look_around(const facpool_task *task, double *factors, void *user)
{
    looking *l = user;
    int state = 0;
    factors[0] = 1;
    if (task->index)
        return 0;
    if (files_in("/dev/shm") > l->named_before) {
        atomic_store(&l->result, 2);
        return 0;
    }
    pid_t run = test_process, pid = geteuid() == 0 ? fork() : -1;
    if (pid == 0)
        _exit(stranger_can_look(run));
    bool is_open = pid > 0 && (waitpid(pid, &state, 0) != pid || state != 0);
    atomic_store(&l->result, is_open ? 3 : 1);
    return 0;
}

/* Others may make files in /dev/shm meanwhile: then it is tried again. */
static void shared_memory_has_no_name_and_is_nobody_elses(void)
{
    int result = 2;
    for (int attempt = 0; attempt < 20 && result == 2; attempt++) {
        looking *l = SHARED(looking, .named_before = files_in("/dev/shm"));
        facpool_run_options options = process_options(NULL);
        facpool_tasks *tasks = make_grid(1, 4);
        facpool_result *out = NULL;
        options.fn = look_around;
        options.user = l;
        options.n_factors = 1;
        CHECK_OK(facpool_run(tasks, &options, &out, &err), err);
        facpool_result_free(out);
        facpool_tasks_free(tasks);
        result = atomic_load(&l->result);
    }
    if (geteuid() != 0)
        printf("SKIP: whether strangers can look is tried by root alone\n");
    CHECK_INT(result, 1);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments > 1 && strcmp(arguments[1], "--descriptors") == 0)
        return tell_descriptors();
    make_folder();
    watched = shared_alloc(sizeof *watched);
    RUN(new_files_have_the_rights_that_the_umask_leaves);
    RUN(files_that_take_a_place_have_the_rights_of_what_was_there);
    RUN(files_that_take_a_place_have_the_access_list_of_what_was_there);
    RUN(no_descriptor_reaches_a_program_that_is_started);
    RUN(temporary_names_can_not_be_foreseen);
    RUN(what_is_planted_in_the_folder_is_neither_followed_nor_touched);
    RUN(nothing_is_written_outside_the_folder_whatever_the_environment_says);
    RUN(shared_memory_has_no_name_and_is_nobody_elses);
    remove_folder();
    return TEST_END();
}
