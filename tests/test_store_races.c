/* What another process does to a name between two calls of ours: it replaces the file that is being
 * locked, takes the name that a new file is to get, or the one that it just got. Proves that rows
 * never go to a file that has no name any more, that nobody's file is written over, and that no
 * temporary file stays. Each time the very moment is hit: the system's call stands still meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "store_rows.h"

static facpool_error err = FACPOOL_ERROR_INIT;
static const char *path;  /* of the backup */
static const char *other; /* of one that comes in between */

/* ------------------------------------------------------------------ the moments */

static void (*before_lock)(void); /* is called that often: */
static int locks_left;
static void (*before_name)(void);
static void (*after_name)(void); /* before the folder is synced */
static bool knows_no_replace;

static void take_turn(void (**turn)(void))
{
    void (*now)(void) = *turn;
    *turn = NULL;
    if (now)
        now();
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    bool locks = command == F_OFD_SETLK && ((struct flock *)argument)->l_type == F_WRLCK;
    if (locks && before_lock && locks_left-- > 0)
        before_lock();
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    take_turn(&before_name);
    if (!knows_no_replace) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}

int fsync(int fd)
{
    take_turn(&after_name);
    return (int)syscall(SYS_fsync, fd);
}

static void expect_nothing(void)
{
    before_lock = before_name = after_name = NULL;
    knows_no_replace = true;
}

/* ------------------------------------------------------------------ files */

static rows rows_from(size_t first, size_t n)
{
    rows r = {0};
    for (size_t i = first; i < first + n; i++)
        *rows_add(&r) = row_of(i, 50, FACPOOL_STATUS_OK);
    return r;
}

static void write_backup(const char *to, size_t first, size_t n)
{
    facpool_backup_options options = options_for(to, FACPOOL_MODE_OVERWRITE);
    rows r = rows_from(first, n);
    CHECK_OK(write_rows(&options, &r, 50, &err), err);
    rows_free(&r);
}

static void check_backup(const char *at, size_t first, size_t n)
{
    rows found = {0}, expected = rows_from(first, n);
    uint64_t n_damaged, tail;
    CHECK_OK(read_file(at, &found, &n_damaged, &tail, &err), err);
    CHECK_INT(found.n, n);
    CHECK(rows_are_same(&found, &expected));
    rows_free(&found);
    rows_free(&expected);
}

/* The other one takes the name; the one that was there keeps another, so that it can be looked at.
 */
static void replace(void)
{
    CHECK(link(path, path_of("was-there.fpb")) == 0 || errno == ENOENT);
    CHECK_INT(rename(other, path), 0);
}

static void replace_and_go_on(void)
{
    bytes same = load_file(path);
    save_file(path, same.at, same.n);
    free(same.at);
}

static void begin(void)
{
    static char names[2][512];
    expect_nothing();
    snprintf(names[0], sizeof names[0], "%s", path_of("backup.fpb"));
    snprintf(names[1], sizeof names[1], "%s", path_of("other.fpb"));
    path = names[0];
    other = names[1];
    unlink(path);
    unlink(other);
    unlink(path_of("was-there.fpb"));
}

static void no_temporary_file_is_left(void)
{
    DIR *folder = opendir(path_of("."));
    CHECK(folder);
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        n += strstr(entry->d_name, ".tmp") != NULL;
    closedir(folder);
    CHECK_INT(n, 0);
}

/* ------------------------------------------------------------------ while it is locked */

static void a_file_that_was_replaced_while_it_was_locked_is_not_written_to(void)
{
    begin();
    write_backup(path, 0, 50);
    write_backup(other, 100, 50);
    bytes before = load_file(path);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    rows more = rows_from(150, 50);
    before_lock = replace;
    locks_left = 1;
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &more, 0, 50, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    check_backup(path, 100, 100);
    bytes after = load_file(path_of("was-there.fpb"));
    CHECK_INT(after.n, before.n);
    CHECK(memcmp(after.at, before.at, before.n) == 0);
    free(before.at);
    free(after.at);
    rows_free(&more);
}

static void an_overwrite_leaves_a_file_that_was_replaced_to_its_owner(void)
{
    begin();
    write_backup(path, 0, 50);
    write_backup(other, 100, 50);
    before_lock = replace;
    locks_left = 1;
    write_backup(path, 200, 50);
    check_backup(path, 200, 50);
    check_backup(path_of("was-there.fpb"), 0, 50);
    no_temporary_file_is_left();
}

static void a_file_that_keeps_being_replaced_is_an_error(void)
{
    begin();
    write_backup(path, 0, 50);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    before_lock = replace_and_go_on;
    locks_left = 1000;
    fp_sink *sink = NULL;
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_BUSY);
    CHECK(!sink);
    CHECK(strstr(err.message, "keeps being replaced"));
    CHECK(locks_left > 900); /* it gives up before long */
    expect_nothing();
    check_backup(path, 0, 50);
}

/* One that is to be replaced by a file that appears whole (as compact does it) has no other writer
 * until it is: what that one wrote would be gone. */
static void a_file_that_is_to_be_replaced_stays_locked_until_it_is(void)
{
    begin();
    write_backup(path, 0, 50);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
    facpool_backup_options resume = options_for(path, FACPOOL_MODE_RESUME);
    rows r = rows_from(100, 50);
    fp_schema wanted;
    fp_sink *sink, *second = NULL;
    CHECK_OK(fp_schema_init(&wanted, ROW_FACTORS, row_names, NULL, &err), err);
    CHECK_OK(fp_sink_open_hidden(&sink, &options, &wanted, NULL, &err), err);
    CHECK_INT(open_sink(&second, &resume, NULL, &err), FACPOOL_E_BUSY);
    CHECK_OK(append_rows(sink, &r, 0, 50, &err), err);
    CHECK_INT(open_sink(&second, &resume, NULL, &err), FACPOOL_E_BUSY);
    CHECK_OK(fp_sink_close(sink, &err), err);
    CHECK_OK(open_sink(&second, &resume, NULL, &err), err);
    CHECK_OK(fp_sink_close(second, &err), err);
    check_backup(path, 100, 50);
    fp_schema_free(&wanted);
    rows_free(&r);
}

/* ------------------------------------------------------------------ while it gets its name */

static void come_first(void)
{
    CHECK_INT(rename(other, path), 0);
}

static void a_name_that_was_taken_meanwhile_is_not_taken_again(void)
{
    static const int modes[] = {FACPOOL_MODE_CREATE, FACPOOL_MODE_RESUME};
    for (int known = 0; known < 2; known++) {
        for (size_t i = 0; i < 2; i++) {
            begin();
            write_backup(other, 100, 50);
            knows_no_replace = known;
            before_name = come_first;
            facpool_backup_options options = options_for(path, modes[i]);
            rows more = rows_from(150, 50);
            fp_sink *sink = NULL;
            fp_sink_opening opening;
            int rc = open_sink(&sink, &options, &opening, &err);
            CHECK_INT(rc, i == 0 ? FACPOOL_E_EXISTS : 0);
            if (i == 1) {
                CHECK(opening.existed);
                CHECK_OK(append_rows(sink, &more, 0, 50, &err), err);
                CHECK_OK(fp_sink_close(sink, &err), err);
            }
            check_backup(path, 100, i == 0 ? 50 : 100);
            no_temporary_file_is_left();
            rows_free(&more);
        }
    }
}

/* Some file systems have no rename that keeps what is there: a hard link does it. */
static void a_file_gets_its_name_by_a_link_where_it_has_to(void)
{
    begin();
    knows_no_replace = false;
    write_backup(path, 0, 50);
    check_backup(path, 0, 50);
    struct stat status;
    CHECK_INT(stat(path, &status), 0);
    CHECK_INT(status.st_nlink, 1);
    no_temporary_file_is_left();
}

static void a_file_that_was_replaced_as_soon_as_it_was_there_is_an_error(void)
{
    static const int modes[] = {FACPOOL_MODE_CREATE, FACPOOL_MODE_RESUME};
    for (size_t i = 0; i < 2; i++) {
        begin();
        write_backup(other, 100, 50);
        facpool_backup_options options = options_for(path, modes[i]);
        after_name = replace;
        fp_sink *sink = NULL;
        CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_BUSY);
        CHECK(!sink);
        CHECK(strstr(err.message, "was replaced by another process"));
        check_backup(path, 100, 50);
        no_temporary_file_is_left();
    }
}

/* ------------------------------------------------------------------ behind a reader's back */

/* A reader's snapshot ends with a block that the power then takes, and another block is put in its
 * place: the next snapshot must not go on from the one that is gone. */
static void a_block_that_took_anothers_place_is_seen(void)
{
    begin();
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    rows lost = rows_from(50, 50), instead = rows_from(1000, 200);
    fp_sink *sink;
    fp_source *before = NULL, *after = NULL;
    write_backup(path, 0, 50);
    bytes first = load_file(path);
    options.mode = FACPOOL_MODE_RESUME;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &lost, 0, 50, &err), err);
    CHECK_OK(fp_source_open(&before, path, NULL, &err), err);
    fp_sink_abandon(sink);
    CHECK_INT(truncate(path, (off_t)first.n), 0);
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &instead, 0, 200, &err), err);
    CHECK_OK(fp_source_open(&after, path, before, &err), err);
    rows found = {0}, expected = rows_from(0, 50);
    fp_read_context context;
    CHECK_OK(fp_read_context_init(&context, &err), err);
    CHECK_OK(read_rows(after, &context, &found, &err), err);
    fp_read_context_free(&context);
    for (size_t i = 0; i < instead.n; i++)
        *rows_add(&expected) = instead.at[i];
    rows_sort(&expected);
    CHECK_INT(found.n, 250);
    CHECK(rows_are_same(&found, &expected));
    fp_source_release(before);
    fp_source_release(after);
    CHECK_OK(fp_sink_close(sink, &err), err);
    rows_free(&found);
    rows_free(&expected);
    rows_free(&lost);
    rows_free(&instead);
    free(first.at);
}

int main(void)
{
    make_folder();
    RUN(a_file_that_was_replaced_while_it_was_locked_is_not_written_to);
    RUN(an_overwrite_leaves_a_file_that_was_replaced_to_its_owner);
    RUN(a_file_that_keeps_being_replaced_is_an_error);
    RUN(a_file_that_is_to_be_replaced_stays_locked_until_it_is);
    RUN(a_name_that_was_taken_meanwhile_is_not_taken_again);
    RUN(a_file_gets_its_name_by_a_link_where_it_has_to);
    RUN(a_file_that_was_replaced_as_soon_as_it_was_there_is_an_error);
    RUN(a_block_that_took_anothers_place_is_seen);
    expect_nothing();
    remove_folder();
    return TEST_END();
}
