/* The suite for all stores, third part: second writers, killed writers, and readers of what is
 * being written. Where another process has to hold a store it is this very program, run with the
 * work's name, the store's and the path. */
#include "storage_suite.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

/* ------------------------------------------------------------------ locks */

static const storage_case *find_case(const char *name)
{
    for (size_t i = 0; i < N_STORAGE_CASES; i++)
        if (strcmp(storage_cases[i].name, name) == 0)
            return &storage_cases[i];
    return NULL;
}

/* Tries to write, and exits with what came of it. */
static int child_try(const char *path)
{
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_RESUME);
    facpool_writer *writer = NULL;
    int rc = facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err);
    if (!rc)
        rc = facpool_writer_close(writer, &err);
    return -rc;
}

/* Writes half of the rows, says so, and waits to be killed. */
static int child_hold(const char *path)
{
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_RESUME);
    facpool_writer *writer = NULL;
    suite_rows r;
    char byte = 'x';
    suite_rows_range(&r, 0, SUITE_KEYS, 2, 0);
    if (facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err) ||
        facpool_writer_append(writer, &r.rows, &err) || facpool_writer_sync(writer, &err)) {
        fprintf(stderr, "child: %s\n", err.message);
        return 1;
    }
    if (write(STDOUT_FILENO, &byte, 1) != 1)
        return 2;
    for (;;)
        pause();
}

/* Its output goes to `out`, where that is no negative number. */
static pid_t spawn_child(const char *work, const char *path, int out)
{
    char program[] = "/proc/self/exe", name[32], what[32], where[512];
    snprintf(what, sizeof what, "%s", work);
    snprintf(name, sizeof name, "%s", store->name);
    snprintf(where, sizeof where, "%s", path);
    char *arguments[] = {program, what, name, where, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    CHECK_INT(posix_spawn_file_actions_init(&actions), 0);
    if (out >= 0)
        CHECK_INT(posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO), 0);
    CHECK_INT(posix_spawn(&pid, program, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static int try_in_another_process(const char *path)
{
    int state = 0;
    pid_t pid = spawn_child("try", path, -1);
    CHECK_INT(waitpid(pid, &state, 0), pid);
    CHECK(WIFEXITED(state));
    return -WEXITSTATUS(state);
}

static void a_second_writer_is_refused(void)
{
    suite_model model;
    const char *path = storage_path();
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = suite_writer(&options), *second = NULL;
    suite_append(writer, 0, SUITE_KEYS, 1, 0);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    for (int32_t mode = FACPOOL_MODE_RESUME; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
        options.mode = mode;
        CHECK_INT(facpool_writer_open(&second, &options, suite_names, SUITE_FACTORS, &err),
                  FACPOOL_E_BUSY);
        CHECK(!second && strstr(err.message, path));
    }
    CHECK_INT(try_in_another_process(path), FACPOOL_E_BUSY);
    suite_model_clear(&model);
    suite_model_add(&model, 0, SUITE_KEYS, 1, 0);
    check_suite_store(path, &model); /* readers are let in */
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(try_in_another_process(path), 0);
    check_suite_store(path, &model);
}

static void a_killed_writer_leaves_its_rows_and_no_lock(void)
{
    suite_model model;
    int ends[2], state = 0;
    char byte = 0;
    const char *path = storage_path();
    CHECK_INT(pipe(ends), 0);
    pid_t pid = spawn_child("hold", path, ends[1]);
    close(ends[1]);
    CHECK_INT(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_RESUME);
    facpool_writer *writer = NULL;
    CHECK_INT(facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err),
              FACPOOL_E_BUSY);
    suite_model_clear(&model);
    suite_model_add(&model, 0, SUITE_KEYS, 2, 0);
    check_suite_store(path, &model);
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK_INT(waitpid(pid, &state, 0), pid);
    CHECK(WIFSIGNALED(state));
    check_suite_store(path, &model);
    writer = suite_writer(&options);
    suite_append(writer, 1, SUITE_KEYS, 2, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    suite_model_add(&model, 0, SUITE_KEYS, 1, 0);
    check_suite_store(path, &model);
}

/* ------------------------------------------------------------------ reading meanwhile */

static void a_reader_sees_what_was_there_when_it_looked(void)
{
    suite_model before, after;
    const char *path = storage_path();
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = suite_writer(&options);
    suite_append(writer, 0, SUITE_KEYS, 3, 0);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    suite_model_clear(&before);
    suite_model_add(&before, 0, SUITE_KEYS, 3, 0);
    after = before;
    facpool_reader *reader = storage_reader(path);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *open = NULL;
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &open, &err), err);
    suite_append(writer, 1, SUITE_KEYS, 3, 0);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    suite_model_add(&after, 1, SUITE_KEYS, 3, 0);
    check_suite_reader(reader, &before);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    check_suite_reader(reader, &after);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    check_suite_reader(reader, &after);
    check_suite_answer(open, &filter, &before);
    suite_append(writer, 2, SUITE_KEYS, 3, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    check_suite_reader(reader, &after);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    suite_model_add(&after, 2, SUITE_KEYS, 3, 0);
    check_suite_reader(reader, &after);
    facpool_reader_free(reader);
}

#define LIVE_APPENDS 240
#define LIVE_ROWS    6 /* an append */

/* A writer on a thread of its own; numbers go to and fro. */
typedef struct live_writer {
    const char *path;
    atomic_size_t synced; /* rows that a reader must see from now on */
    atomic_size_t looks;  /* how often the reader has looked */
    atomic_int over;
    int rc;
    facpool_error err;
} live_writer;

static int live_status(size_t i)
{
    return i % 7 == 3 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
}

static int live_append(facpool_writer *writer, size_t first, facpool_error *error)
{
    int64_t dates[LIVE_ROWS], timestamps[LIVE_ROWS];
    char texts[LIVE_ROWS][16];
    const char *codes[LIVE_ROWS], *messages[LIVE_ROWS];
    uint8_t statuses[LIVE_ROWS];
    double factors[LIVE_ROWS];
    for (size_t i = 0; i < LIVE_ROWS; i++) {
        dates[i] = 20240101 + (int64_t)((first + i) / 50);
        snprintf(texts[i], sizeof texts[i], "%06u", (unsigned)((first + i) % 50));
        codes[i] = texts[i];
        messages[i] = texts[i];
        timestamps[i] = (int64_t)(first + i);
        statuses[i] = (uint8_t)live_status(first + i);
        factors[i] = (double)(first + i) / 8;
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = LIVE_ROWS;
    rows.dates = dates;
    rows.codes = codes;
    rows.messages = messages;
    rows.timestamps = timestamps;
    rows.statuses = statuses;
    rows.factors = factors;
    return facpool_writer_append(writer, &rows, error);
}

/* Now and then it waits until the reader has looked at what is there. */
static void *write_live(void *user)
{
    live_writer *live = user;
    facpool_backup_options options = storage_options(live->path, FACPOOL_MODE_RESUME);
    facpool_writer *writer = NULL;
    options.batch_rows = 1;
    int rc = facpool_writer_open(&writer, &options, NULL, 1, &live->err);
    for (size_t n = 1; !rc && n < LIVE_APPENDS; n++) {
        rc = live_append(writer, n * LIVE_ROWS, &live->err);
        if (rc || n % 3)
            continue;
        rc = facpool_writer_sync(writer, &live->err);
        live->synced = (n + 1) * LIVE_ROWS;
        /* the second look from now begins behind the sync, and sees what it saved */
        for (size_t looks = live->looks; !rc && n % 12 == 0 && live->looks < looks + 2;)
            sched_yield();
    }
    if (writer) {
        int close_rc = facpool_writer_close(writer, rc ? NULL : &live->err);
        rc = rc ? rc : close_rc;
    }
    live->rc = rc;
    live->over = 1;
    return NULL;
}

/* Reads all there is; everything seen before is there still, and every row is right. */
static size_t look_live(facpool_reader *reader, uint8_t *seen)
{
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    uint8_t now[LIVE_APPENDS * LIVE_ROWS] = {0};
    size_t n = 0;
    int rc;
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        size_t i = (size_t)row.timestamp;
        CHECK(i < sizeof now && !now[i]);
        CHECK(row.date == 20240101 + (int64_t)(i / 50) && atoi(row.code) == (int)(i % 50));
        CHECK_INT(row.status, live_status(i));
        if (row.factors)
            CHECK(row.factors[0] == (double)i / 8);
        else
            CHECK_TEXT(row.message, row.code);
        now[i] = 1;
        n++;
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    for (size_t i = 0; i < sizeof now; i++) {
        CHECK(now[i] || !seen[i]);
        seen[i] = now[i];
    }
    return n;
}

static void rows_read_while_they_are_written_are_whole_and_never_fewer(void)
{
    uint8_t seen[LIVE_APPENDS * LIVE_ROWS] = {0};
    live_writer live = {.path = storage_path(), .err = FACPOOL_ERROR_INIT};
    facpool_backup_options options = storage_options(live.path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &options, NULL, 1, &err), err);
    CHECK_OK(live_append(writer, 0, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    facpool_reader *reader = storage_reader(live.path);
    pthread_t thread;
    size_t n_looks = 0, n_steps = 0, rows = 0;
    CHECK_INT(pthread_create(&thread, NULL, write_live, &live), 0);
    for (bool over = false; !over; n_looks++) {
        over = live.over;
        size_t synced = live.synced;
        if (n_looks % 2) {
            CHECK_OK(facpool_reader_refresh(reader, &err), err);
        } else {
            facpool_reader_free(reader);
            reader = storage_reader(live.path);
        }
        size_t n = look_live(reader, seen);
        CHECK(n >= synced && n >= rows);
        n_steps += n > rows;
        rows = n;
        live.looks++;
    }
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_OK(live.rc, live.err);
    CHECK_INT(rows, sizeof seen);
    CHECK(n_steps >= LIVE_APPENDS / 12 - 1);
    facpool_reader_free(reader);
}

static void tests(void)
{
    RUN(a_second_writer_is_refused);
    RUN(a_killed_writer_leaves_its_rows_and_no_lock);
    RUN(a_reader_sees_what_was_there_when_it_looked);
    RUN(rows_read_while_they_are_written_are_whole_and_never_fewer);
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        suite_begin();
        store = find_case(argv[2]);
        return strcmp(argv[1], "try") == 0 ? child_try(argv[3]) : child_hold(argv[3]);
    }
    return suite_main(argc, argv, "formats-live", N_STORAGE_CASES, tests);
}
