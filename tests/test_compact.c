/* Proves that compact keeps every row that stands, gives the old file or the new one whole at any
 * moment, whoever reads, writes, compacts or is killed meanwhile, and leaves the backup the same
 * backup. One test reaches inside, to be at the moment between. */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "convert_rows.h"
#include "store/sink.h"

/* ------------------------------------------------------------------ what is written */

static void rows_stay_and_blocks_fill_in_every_format(void)
{
    const char *path = scratch_path("a");
    for (int f = 0; f < N_FORMATS; f++) {
        if (!has_format(formats[f]))
            continue;
        write_rows(path, formats[f], 3000, "v1");
        rows_read before = read_file(path);
        uint64_t blocks_before = blocks_in(path);
        const facpool_info *old = NULL, *new = NULL;
        CHECK_OK(facpool_backup_info(&old, path, &err), err);
        CHECK_OK(facpool_backup_compact(path, &err), err);
        CHECK_OK(facpool_backup_info(&new, path, &err), err);
        CHECK_TEXT(new->format, formats[f]);
        CHECK_TEXT(new->tag, "v1");
        if (strcmp(formats[f], "json") != 0) /* which keeps no time */
            CHECK_INT(new->created_us, old->created_us);
        CHECK(blocks_in(path) < blocks_before);
        CHECK(memcmp(new->rows, old->rows, sizeof new->rows) == 0);
        facpool_info_free(old);
        facpool_info_free(new);
        check_sound(path);
        check_same(read_file(path), before);
        CHECK_INT(count_files(), 1);
    }
    empty_folder();
}

/* Rows in an order that is nobody's, in blocks that each go from end to end. */
static void rows_come_in_key_order(void)
{
    const char *path = scratch_path("a");
    facpool_backup_options options = options_for(path, NULL, FACPOOL_MODE_CREATE);
    facpool_writer *writer = open_writer(&options);
    for (size_t first = 0; first < 50; first++)
        append_rows(writer, first, 100000, 50, 2000);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    rows_read before = read_file(path);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    CHECK_INT(blocks_in(path), 3);
    check_same(read_file(path), before);
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    CHECK_OK(facpool_query(reader, NULL, &cursor, &err), err); /* ok rows as they are stored */
    int64_t date = INT64_MIN;
    char code[32] = "";
    while (facpool_cursor_next(cursor, &row, &err) == 1) {
        CHECK(row.date > date || (row.date == date && strcmp(row.code, code) > 0));
        date = row.date;
        snprintf(code, sizeof code, "%s", row.code);
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    empty_folder();
}

static void compacting_again_changes_nothing(void)
{
    const char *path = scratch_path("a");
    write_rows(path, NULL, 3000, NULL);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    size_t size = 0, size_again = 0;
    uint8_t *bytes = file_read(path, &size);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    uint8_t *again = file_read(path, &size_again);
    CHECK(bytes && again && size == size_again && memcmp(bytes, again, size) == 0);
    free(bytes);
    free(again);
    empty_folder();
}

static void superseded_failures_go(void)
{
    const char *path = scratch_path("a");
    facpool_backup_options options = options_for(path, NULL, FACPOOL_MODE_CREATE);
    facpool_writer *writer = open_writer(&options);
    for (int version = 0; version < 4; version++) {
        for (size_t i = 0; i < 300; i++)
            if (version < 3 || i % 3 == 0)
                append_row(writer, i, version < 3 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK,
                           version);
        CHECK_OK(facpool_writer_sync(writer, &err), err);
    }
    CHECK_OK(facpool_writer_close(writer, &err), err);
    rows_read before = read_file(path);
    CHECK_INT(before.n, 300);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    CHECK_INT(info->rows[FACPOOL_STATUS_OK], 100);
    CHECK_INT(info->rows[FACPOOL_STATUS_FAILED], 200);
    CHECK_INT(info->blocks, 2);
    facpool_info_free(info);
    check_same(read_file(path), before);
    empty_folder();
}

/* As a killed writer leaves it: whole blocks, then part of one. */
static void a_file_that_was_never_closed_is_closed(void)
{
    const char *from = scratch_path("a"), *path = scratch_path("b");
    facpool_backup_options options = options_for(from, NULL, FACPOOL_MODE_CREATE);
    facpool_writer *writer = open_writer(&options);
    append_rows(writer, 0, 1000, 1, 100);
    size_t size = 0;
    uint8_t *bytes = file_read(from, &size);
    CHECK(bytes && file_write(path, bytes, size - 10));
    free(bytes);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    rows_read before = read_file(path);
    CHECK(before.n > 0 && before.n < 1000);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    check_sound(path);
    CHECK_INT(blocks_in(path), 2);
    check_same(read_file(path), before);
    empty_folder();
}

/* ------------------------------------------------------------------ the same backup */

static int compute(const facpool_task *task, double *factors, void *user)
{
    size_t *calls = user;
    __atomic_add_fetch(calls, 1, __ATOMIC_RELAXED);
    if (task->index % 10 == 3)
        return facpool_task_fail(task, 7, "not this one");
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = factor_of(task->index, f);
    return 0;
}

static facpool_result *run(const facpool_tasks *tasks, const char *path, int mode, size_t *calls)
{
    facpool_result *result = NULL;
    facpool_backup_options backup = options_for(path, NULL, mode);
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    backup.tag = "v1";
    options.fn = compute;
    options.user = calls;
    options.n_factors = FACTORS;
    options.factor_names = factor_names;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.backup = &backup;
    *calls = 0;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    return result;
}

static facpool_tasks *make_tasks(size_t n)
{
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    for (size_t i = 0; i < n; i++)
        CHECK_OK(facpool_tasks_add(tasks, date_of(i), code_of(i), &err), err);
    return tasks;
}

static void check_that_it_finds_its_rows(const char *path)
{
    size_t calls;
    facpool_tasks *tasks = make_tasks(2000);
    facpool_result *result = run(tasks, path, FACPOOL_MODE_CREATE, &calls);
    facpool_result_free(run(tasks, path, FACPOOL_MODE_RESUME, &calls));
    CHECK_INT(calls, 200);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    CHECK_OK(facpool_result_load(result, &err), err);
    const double *z = facpool_result_factor(result, 0);
    const uint8_t *statuses = facpool_result_status(result);
    CHECK(z && statuses);
    for (size_t i = 0; i < 2000; i++) {
        double expected = factor_of(i, 0);
        CHECK_INT(statuses[i], i % 10 == 3 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK);
        CHECK(i % 10 == 3 || memcmp(&z[i], &expected, sizeof expected) == 0);
    }
    CHECK_INT(facpool_result_n_failures(result), 200);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    empty_folder();
}

static void a_result_still_finds_its_rows(void)
{
    check_that_it_finds_its_rows(scratch_path("a.fpb"));
    check_that_it_finds_its_rows(scratch_path("a.jsonl"));
    check_that_it_finds_its_rows(scratch_path("a.arrow"));
}

static void resume_goes_on_where_the_run_was(void)
{
    const char *path = scratch_path("a.fpb");
    size_t calls;
    facpool_tasks *tasks = make_tasks(2000), *more = make_tasks(2500);
    facpool_result_free(run(tasks, path, FACPOOL_MODE_CREATE, &calls));
    CHECK_INT(calls, 2000);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    facpool_result_free(run(tasks, path, FACPOOL_MODE_RESUME, &calls));
    CHECK_INT(calls, 200); /* those that failed */
    CHECK_OK(facpool_backup_compact(path, &err), err);
    facpool_result_free(run(more, path, FACPOOL_MODE_RESUME, &calls));
    CHECK_INT(calls, 200 + 500);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    rows_read rows = read_file(path);
    CHECK_INT(rows.n, 2500);
    free(rows.at);
    check_sound(path);
    facpool_tasks_free(tasks);
    facpool_tasks_free(more);
    empty_folder();
}

static void links_and_permissions_stay(void)
{
    const char *path = scratch_path("a.fpb"), *link = scratch_path("link");
    write_rows(path, NULL, 1000, NULL);
    CHECK(symlink("a.fpb", link) == 0);
    CHECK(chmod(path, 0600) == 0);
    struct stat before, after, name;
    CHECK(stat(path, &before) == 0);
    CHECK_OK(facpool_backup_compact(link, &err), err);
    CHECK(stat(path, &after) == 0 && lstat(link, &name) == 0);
    CHECK(S_ISLNK(name.st_mode));
    CHECK(before.st_ino != after.st_ino);
    CHECK_INT(after.st_mode & 0777, 0600);
    CHECK_INT(blocks_in(link), 2);
    CHECK_INT(count_files(), 2);
    empty_folder();
}

/* ------------------------------------------------------------------ others at work */

static void readers_that_have_the_old_file_keep_it(void)
{
    for (int f = 0; f < N_FORMATS; f++) {
        if (!has_format(formats[f]))
            continue;
        const char *path = scratch_path("a");
        write_rows(path, formats[f], 3000, NULL);
        facpool_reader *reader = NULL;
        facpool_cursor *cursor = NULL;
        facpool_filter filter = FACPOOL_FILTER_INIT;
        facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
        CHECK_OK(facpool_reader_open(&reader, &path, 1, &err), err);
        CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
        CHECK_INT(facpool_cursor_next_batch(cursor, &view, &err), 1);
        size_t n = view.n_rows;
        CHECK_OK(facpool_backup_compact(path, &err), err);
        while (facpool_cursor_next_batch(cursor, &view, &err) == 1)
            n += view.n_rows;
        facpool_cursor_free(cursor);
        rows_read old = read_from(reader, FACPOOL_ORDER_KEY);
        CHECK_INT(old.n, 3000);
        CHECK_OK(facpool_reader_refresh(reader, &err), err);
        check_same(read_from(reader, FACPOOL_ORDER_KEY), old);
        facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
        CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
        CHECK_OK(facpool_cursor_stats(cursor, &stats, &err), err);
        CHECK_INT(stats.blocks_total, blocks_in(path));
        facpool_cursor_free(cursor);
        facpool_reader_free(reader);
        CHECK(n > 2000 && n < 3000); /* ok rows alone */
        unlink(path);
    }
    empty_folder();
}

static void a_file_that_is_being_written_is_left_alone(void)
{
    const char *path = scratch_path("a");
    facpool_backup_options options = options_for(path, NULL, FACPOOL_MODE_CREATE);
    facpool_writer *writer = open_writer(&options);
    append_rows(writer, 0, 500, 1, 100);
    CHECK_INT(facpool_backup_compact(path, &err), FACPOOL_E_BUSY);
    CHECK(strstr(err.message, path));
    append_rows(writer, 500, 600, 1, 100);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    rows_read rows = read_file(path);
    CHECK_INT(rows.n, 600);
    free(rows.at);
    CHECK_INT(count_files(), 1);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    empty_folder();
}

/* Rewrites a backup, in one way or the other, when it is no longer busy. */
static int rewrite_at_last(const char *path, bool by_convert)
{
    facpool_backup_options to = options_for(path, NULL, FACPOOL_MODE_OVERWRITE);
    int rc;
    do {
        rc = by_convert ? facpool_backup_convert(&path, 1, &to, &err)
                        : facpool_backup_compact(path, &err);
    } while (rc == FACPOOL_E_BUSY);
    return rc;
}

static pid_t start_child(void)
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    return child;
}

static void end_child(pid_t child)
{
    int state = 0;
    CHECK(waitpid(child, &state, 0) == child);
    CHECK(WIFEXITED(state));
    CHECK_INT(WEXITSTATUS(state), 0);
}

/* A row that a writer added between the look at a file and its replacement would be lost. */
static void rows_written_while_others_rewrite_are_all_there(void)
{
    enum { ROWS = 150 };
    const char *path = scratch_path("a");
    write_rows(path, NULL, 0, NULL);
    pid_t children[2];
    for (int c = 0; c < 2; c++) {
        children[c] = start_child();
        if (children[c] == 0) {
            int rc = 0;
            for (int i = 0; !rc && i < ROWS; i++)
                rc = rewrite_at_last(path, c == 1);
            _exit(rc ? 1 : 0);
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        facpool_backup_options options = options_for(path, NULL, FACPOOL_MODE_RESUME);
        facpool_writer *writer = NULL;
        int rc;
        while ((rc = facpool_writer_open(&writer, &options, factor_names, FACTORS, &err)) ==
               FACPOOL_E_BUSY)
            ;
        CHECK_OK(rc, err);
        append_row(writer, i, 0, 0);
        CHECK_OK(facpool_writer_close(writer, &err), err);
    }
    for (int c = 0; c < 2; c++)
        end_child(children[c]);
    rows_read rows = read_file(path);
    CHECK_INT(rows.n, ROWS);
    free(rows.at);
    check_sound(path);
    CHECK_INT(count_files(), 1);
    empty_folder();
}

/* What took the name of the file meanwhile, by a move that asks for no lock, is not lost. */
static void a_file_that_was_moved_in_its_place_stays(void)
{
    const char *path = scratch_path("a"), *other = scratch_path("b"), *moved = scratch_path("c");
    fp_schema schema = {0};
    fp_sink *sink = NULL;
    facpool_backup_options options = options_for(path, NULL, FACPOOL_MODE_OVERWRITE);
    CHECK_OK(fp_schema_init(&schema, FACTORS, factor_names, NULL, &err), err);
    for (int has_other = 0; has_other < 2; has_other++) {
        write_rows(path, NULL, 100, NULL);
        write_rows(other, NULL, 200, NULL);
        CHECK_OK(fp_sink_open_hidden(&sink, &options, &schema, NULL, &err), err);
        CHECK(rename(path, moved) == 0);
        CHECK(!has_other || rename(other, path) == 0);
        CHECK_INT(fp_sink_close(sink, &err), FACPOOL_E_BUSY);
        CHECK(strstr(err.message, path));
        rows_read rows = read_file(has_other ? path : other);
        CHECK_INT(rows.n, 200);
        free(rows.at);
        rows = read_file(moved);
        CHECK_INT(rows.n, 100);
        free(rows.at);
        CHECK_INT(count_files(), 2);
        empty_folder();
    }
    fp_schema_free(&schema);
}

/* ------------------------------------------------------------------ what goes wrong */

static void wrong_paths_are_told_of(void)
{
    const char *path = scratch_path("a");
    CHECK_INT(facpool_backup_compact(NULL, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_backup_compact("", &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_backup_compact(path, &err), FACPOOL_E_NOT_FOUND);
    CHECK_INT(facpool_backup_compact(scratch_folder, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(file_write(path, (const uint8_t *)"not a backup\n", 13));
    CHECK_INT(facpool_backup_compact(path, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(file_bytes(path), 13);
    CHECK_INT(count_files(), 1);
    empty_folder();
}

static void a_damaged_file_is_left_as_it_is(void)
{
    const char *path = scratch_path("a");
    for (int f = 0; f < N_FORMATS; f++) {
        if (!has_format(formats[f]))
            continue;
        write_rows(path, formats[f], 2000, NULL);
        damage_file(path);
        size_t size = 0, size_after = 0;
        uint8_t *before = file_read(path, &size);
        CHECK_INT(facpool_backup_compact(path, &err), FACPOOL_E_CORRUPT);
        CHECK(strstr(err.message, "resume a run of all"));
        uint8_t *after = file_read(path, &size_after);
        CHECK(before && after && size == size_after && memcmp(before, after, size) == 0);
        free(before);
        free(after);
        CHECK_INT(count_files(), 1);
    }
    empty_folder();
}

static void a_full_disk_changes_nothing(void)
{
    const char *path = scratch_path("a");
    write_rows(path, NULL, 20000, NULL);
    rows_read before = read_file(path);
    for (rlim_t bytes = 0; bytes < 200000; bytes += 25000) {
        pid_t child = start_child();
        if (child == 0) {
            struct rlimit limit = {bytes, bytes};
            setrlimit(RLIMIT_FSIZE, &limit);
            _exit(facpool_backup_compact(path, &err) == FACPOOL_E_IO ? 0 : 1);
        }
        end_child(child);
        CHECK_INT(count_files(), 1);
    }
    check_same(read_file(path), before);
    empty_folder();
}

static void wait_until_replaced(const char *path, ino_t before)
{
    struct stat now;
    do {
        sched_yield();
        CHECK(stat(path, &now) == 0);
    } while (now.st_ino == before);
}

/* A child compacts without end and is killed at any moment, the first one after it was done once; a
 * hidden file may be left beside. */
static void a_kill_leaves_the_old_file_or_the_new_one(void)
{
    random_numbers r = {environment_seed()};
    unsigned cycles = (unsigned)environment_number("FACPOOL_TEST_KILLS", of_tier(12, 60, 3000));
    for (int f = 0; f < N_FORMATS; f++) {
        const char *path = scratch_path("a");
        if (!has_format(formats[f]))
            continue;
        write_rows(path, formats[f], 1000, "v1");
        rows_read before = read_file(path);
        for (unsigned cycle = 0; cycle < cycles; cycle++) {
            struct stat old;
            CHECK(stat(path, &old) == 0);
            pid_t child = start_child();
            if (child == 0)
                for (;;)
                    if (facpool_backup_compact(path, &err))
                        _exit(1);
            if (cycle == 0)
                wait_until_replaced(path, old.st_ino);
            struct timespec moment = {0, (long)random_below(&r, 8000000)};
            nanosleep(&moment, NULL);
            CHECK(kill(child, SIGKILL) == 0);
            int state = 0;
            CHECK(waitpid(child, &state, 0) == child);
            CHECK(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
            check_sound(path);
            rows_read after = read_file(path);
            CHECK(after.n == before.n &&
                  memcmp(after.at, before.at, before.n * sizeof *before.at) == 0);
            free(after.at);
        }
        free(before.at);
        empty_folder();
    }
}

int main(void)
{
    if (!scratch_make("compact"))
        return EXIT_FAILURE;
    RUN(rows_stay_and_blocks_fill_in_every_format);
    RUN(rows_come_in_key_order);
    RUN(compacting_again_changes_nothing);
    RUN(superseded_failures_go);
    RUN(a_file_that_was_never_closed_is_closed);
    RUN(a_result_still_finds_its_rows);
    RUN(resume_goes_on_where_the_run_was);
    RUN(links_and_permissions_stay);
    RUN(readers_that_have_the_old_file_keep_it);
    RUN(a_file_that_is_being_written_is_left_alone);
    RUN(rows_written_while_others_rewrite_are_all_there);
    RUN(a_file_that_was_moved_in_its_place_stays);
    RUN(wrong_paths_are_told_of);
    RUN(a_damaged_file_is_left_as_it_is);
    RUN(a_full_disk_changes_nothing);
    RUN(a_kill_leaves_the_old_file_or_the_new_one);
    scratch_remove();
    return TEST_END();
}
