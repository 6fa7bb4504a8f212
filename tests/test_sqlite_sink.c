/* The example's SQLite sink as a store for real runs, through the public headers alone: children
 * that are killed at random moments, runs resumed to what an uninterrupted one gives, a second
 * writer kept out, readers that neither wait for the writer nor disturb it. It is the proof that
 * <facpool/sink.h> is enough.
 *
 * FACPOOL_TEST_SEED and FACPOOL_TEST_CYCLES choose the killed runs. A child is this very program,
 * run with the names of its two files; it counts in memory of a file, which outlives it. */
#include "scratch.h"
#include "test.h"

#include <sqlite_sink.h>

#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define N_FACTORS 3
#define TASKS_MAX 6000

/* The library has OpenMP where its tests have. */
#ifdef _OPENMP
#define WITH_THREADS FACPOOL_EXECUTOR_OMP
#else
#define WITH_THREADS FACPOOL_EXECUTOR_SERIAL
#endif

extern char **environ;
static facpool_error err = FACPOOL_ERROR_INIT;

static const char *const names[] = {"momentum", "turn\"over", "z score"};

/* ------------------------------------------------------------------ one job */

/* What parent and child share. The child stops for good at task `hang_at`, until it is killed. */
typedef struct shared_page {
    uint64_t seed;
    uint32_t n_dates;
    uint32_t n_codes;
    int32_t executor;
    int32_t durability;
    int32_t no_async;
    uint32_t batch_rows;
    uint64_t hang_at; /* 0: never */
    _Atomic uint64_t done;
    _Atomic uint64_t rows_written;
    _Atomic uint64_t rows_durable;
    atomic_int over;
    _Atomic uint32_t calls[TASKS_MAX];
} shared_page;

static uint32_t n_tasks(const shared_page *s)
{
    return s->n_dates * s->n_codes;
}

static int status_of(const shared_page *s, size_t index)
{
    uint64_t h = mix_bits(s->seed + index) % 100;
    return h < 5 ? FACPOOL_STATUS_SKIPPED : h < 12 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
}

/* Of every kind that SQLite keeps bit for bit, and NaN without a payload. */
static double value_of(const shared_page *s, size_t index, size_t factor)
{
    uint64_t h = mix_bits(s->seed ^ mix_bits(index * N_FACTORS + factor));
    switch (h % 16) {
    case 0:
        return (double)NAN;
    case 1:
        return -0.0;
    case 2:
        return -INFINITY;
    case 3:
        return 4.9e-324;
    case 4:
        return (double)(int64_t)h;
    case 5:
        return (double)(h % 1000);
    default:
        return (double)(h >> 11) / 9007199254740992.0 - 0.5;
    }
}

static bool same_value(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void pause_briefly(long ns)
{
    struct timespec briefly = {0, ns};
    nanosleep(&briefly, NULL);
}

static int compute(const facpool_task *task, double *factors, void *user)
{
    shared_page *s = user;
    atomic_fetch_add(&s->calls[task->index], 1);
    uint64_t call = atomic_fetch_add(&s->done, 1) + 1;
    while (s->hang_at && call >= s->hang_at)
        sleep(60); /* until the parent has seen enough and kills it */
    if (s->hang_at)
        pause_briefly(1000); /* so that it is killed at work, too */
    for (size_t f = 0; f < N_FACTORS; f++)
        factors[f] = value_of(s, task->index, f);
    switch (status_of(s, task->index)) {
    case FACPOOL_STATUS_SKIPPED:
        return FACPOOL_SKIP;
    case FACPOOL_STATUS_FAILED:
        return facpool_task_fail(task, (int)task->index + 1, "was 'told' to \xc3\xa4");
    default:
        return 0;
    }
}

static int report_progress(const facpool_progress *progress, void *user)
{
    shared_page *s = user;
    atomic_store(&s->rows_written, progress->rows_written);
    atomic_store(&s->rows_durable, progress->rows_durable);
    return 0;
}

static facpool_tasks *make_tasks(const shared_page *s)
{
    int64_t dates[100];
    char texts[200][16];
    const char *codes[200];
    facpool_tasks *tasks = NULL;
    for (uint32_t i = 0; i < s->n_dates; i++)
        dates[i] = 20240000 + (int64_t)i;
    for (uint32_t i = 0; i < s->n_codes; i++) {
        snprintf(texts[i], sizeof texts[i], "%06u", i);
        codes[i] = texts[i];
    }
    return facpool_tasks_grid(&tasks, dates, s->n_dates, codes, s->n_codes, &err) ? NULL : tasks;
}

static facpool_backup_options backup_of(const shared_page *s, const char *path)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.sink = &sqlite_sink;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.tag = "it's v1";
    backup.durability = s->durability;
    backup.no_async = s->no_async;
    backup.batch_rows = s->batch_rows;
    backup.flush_ms = 1;
    backup.queue_bytes = 1;
    return backup;
}

/* path NULL: without a store. */
static int run_job(shared_page *s, const char *path, facpool_result **out)
{
    facpool_backup_options backup = backup_of(s, path);
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_tasks *tasks = make_tasks(s);
    if (!tasks)
        return FACPOOL_E_NOMEM;
    options.fn = compute;
    options.user = s;
    options.n_factors = N_FACTORS;
    options.factor_names = names;
    options.executor = s->executor;
    options.workers = s->executor == FACPOOL_EXECUTOR_SERIAL ? 1 : 2;
    options.no_stop_if_first_fail = 1;
    options.backup = path ? &backup : NULL;
    options.progress = report_progress;
    options.progress_user = s;
    options.progress_interval_ms = 1;
    int rc = facpool_run(tasks, &options, out, &err);
    facpool_tasks_free(tasks);
    return rc;
}

static shared_page *map_shared(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(shared_page)) != 0)
        return NULL;
    void *memory = mmap(NULL, sizeof(shared_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

static int child_main(const char *path, const char *shared_path)
{
    shared_page *s = map_shared(shared_path);
    facpool_result *result = NULL;
    int rc = s ? run_job(s, path, &result) : FACPOOL_E_SYSTEM;
    if (s)
        atomic_store(&s->over, 1);
    if (rc)
        fprintf(stderr, "child: %d %s\n", rc, err.message);
    facpool_result_free(result);
    return rc ? 2 : 0;
}

static pid_t spawn_child(const char *path, const char *shared_path)
{
    char program[] = "/proc/self/exe", store[512], shared[512];
    snprintf(store, sizeof store, "%s", path);
    snprintf(shared, sizeof shared, "%s", shared_path);
    char *arguments[] = {program, store, shared, NULL};
    pid_t pid;
    CHECK_INT(posix_spawn(&pid, program, NULL, NULL, arguments, environ), 0);
    return pid;
}

/* ------------------------------------------------------------------ what is stored */

typedef struct stored_rows {
    uint32_t n;
    uint32_t n_final; /* ok or skipped */
    uint8_t status[TASKS_MAX];
} stored_rows;

/* Takes in all rows of the reader's snapshot, and checks every one. */
static void take_rows(const shared_page *s, facpool_reader *reader, stored_rows *out)
{
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    int rc;
    *out = (stored_rows){0};
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) == 1) {
        size_t index = (size_t)(row.date - 20240000) * s->n_codes + (size_t)atoi(row.code);
        CHECK(index < n_tasks(s));
        CHECK_INT(out->status[index], 0);
        CHECK_INT(row.status, status_of(s, index));
        bool failed = row.status == FACPOOL_STATUS_FAILED;
        CHECK_INT(row.failure_code, failed ? (int)index + 1 : 0);
        CHECK_TEXT(row.message, failed ? "was 'told' to \xc3\xa4" : "");
        for (size_t f = 0; row.factors && f < N_FACTORS; f++)
            CHECK(same_value(row.factors[f], value_of(s, index, f)));
        out->status[index] = (uint8_t)row.status;
        out->n++;
        out->n_final += !failed;
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
}

static void read_store(const shared_page *s, const char *path, stored_rows *out)
{
    facpool_reader *reader = NULL;
    *out = (stored_rows){0};
    int rc = facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err);
    if (rc == FACPOOL_E_NOT_FOUND) /* killed before it had made the tables */
        return;
    CHECK_OK(rc, err);
    take_rows(s, reader, out);
    facpool_reader_free(reader);
}

/* What was final before a run is not computed in it. */
static void check_calls(const shared_page *s, const stored_rows *before)
{
    for (size_t i = 0; i < n_tasks(s); i++)
        if (before->status[i] == FACPOOL_STATUS_OK || before->status[i] == FACPOOL_STATUS_SKIPPED)
            CHECK_INT(s->calls[i], 0);
}

static void reset_counts(shared_page *s)
{
    s->done = s->rows_written = s->rows_durable = 0;
    s->over = 0;
    for (size_t i = 0; i < TASKS_MAX; i++)
        s->calls[i] = 0;
}

/* ------------------------------------------------------------------ killed runs */

static unsigned n_kills, n_hits;

static void choose_job(shared_page *s, random_numbers *r)
{
    static const uint32_t batch_rows[] = {1, 10, 100};
    *s = (shared_page){.seed = random_bits(r)};
    s->n_dates = random_between(r, 10, 40);
    s->n_codes = random_between(r, 50, 150);
    s->executor = random_chance(r, 60) ? WITH_THREADS : FACPOOL_EXECUTOR_SERIAL;
    s->durability = (int32_t)random_between(r, 1, 3);
    s->no_async = random_chance(r, 25) && s->executor == WITH_THREADS;
    s->batch_rows = batch_rows[random_below(r, 3)];
}

/* Starts a child that hangs once it has called some of the tasks left, and kills it at some moment
 * after it has written something, while it writes or when it hangs. */
static void kill_once(shared_page *s, random_numbers *r, const char *path, const char *shared_path)
{
    static stored_rows before, after;
    read_store(s, path, &before);
    reset_counts(s);
    uint64_t left = n_tasks(s) - before.n_final;
    s->hang_at = 1 + left * random_between(r, 20, 90) / 100;
    uint64_t kill_at = s->hang_at * random_between(r, 10, 100) / 100;
    pid_t pid = spawn_child(path, shared_path);
    int state = 0;
    pid_t ended = 0;
    while (s->done < kill_at && (ended = waitpid(pid, &state, WNOHANG)) == 0)
        pause_briefly(200000);
    CHECK_INT(ended, 0); /* a child that hangs does not end by itself */
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK_INT(waitpid(pid, &state, 0), pid);
    CHECK(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
    read_store(s, path, &after);
    check_calls(s, &before);
    for (size_t i = 0; i < n_tasks(s); i++)
        CHECK(after.status[i] || !before.status[i]);
    CHECK(after.n >= before.n);
    CHECK(s->rows_written >= s->rows_durable);
    n_kills++;
    n_hits += after.n > before.n && after.n < n_tasks(s);
}

/* In this process, without OpenMP where the children use it: all are free to. */
static void resume_to_end(shared_page *s, const char *path)
{
    static stored_rows before, after;
    facpool_result *result = NULL, *whole = NULL;
    read_store(s, path, &before);
    reset_counts(s);
    s->hang_at = 0;
    CHECK_OK(run_job(s, path, &result), err);
    check_calls(s, &before);
    read_store(s, path, &after);
    CHECK_INT(after.n, n_tasks(s));
    CHECK_OK(run_job(s, NULL, &whole), err);
    CHECK_OK(facpool_result_load(result, &err), err);
    CHECK(memcmp(facpool_result_status(result), facpool_result_status(whole), n_tasks(s)) == 0);
    for (size_t f = 0; f < N_FACTORS; f++) {
        const double *column = facpool_result_factor(result, f);
        const double *uncut = facpool_result_factor(whole, f);
        for (size_t i = 0; i < n_tasks(s); i++)
            CHECK(same_value(column[i], uncut[i]));
    }
    facpool_result_free(result);
    facpool_result_free(whole);
}

static void remove_store(const char *path)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-writer", "-writer-journal"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char file[600];
        snprintf(file, sizeof file, "%s%s", path, endings[i]);
        unlink(file);
    }
}

static void killed_runs_resume_to_the_uninterrupted_result(void)
{
    uint64_t seed = environment_seed();
    unsigned n_cycles = (unsigned)environment_number("FACPOOL_TEST_CYCLES", 15);
    char path[512], shared_path[512];
    snprintf(path, sizeof path, "%s", scratch_path("store.db"));
    snprintf(shared_path, sizeof shared_path, "%s", scratch_path("shared"));
    shared_page *s = map_shared(shared_path);
    CHECK(s);
    for (unsigned cycle = 0; cycle < n_cycles; cycle++) {
        random_numbers r = {mix_bits(seed + cycle)};
        remove_store(path);
        choose_job(s, &r);
        for (uint32_t times = random_between(&r, 1, 3); times; times--)
            kill_once(s, &r, path, shared_path);
        resume_to_end(s, path);
    }
    printf("%u kills, %u of them with rows written and rows to go\n", n_kills, n_hits);
    CHECK(n_hits * 2 >= n_kills);
    munmap(s, sizeof *s);
}

/* ------------------------------------------------------------------ writers and readers */

static facpool_rows one_row(int64_t date)
{
    static int64_t dates[1];
    static const char *const codes[] = {"000001"};
    static const double factors[N_FACTORS] = {1, 2, 3};
    facpool_rows rows = FACPOOL_ROWS_INIT;
    dates[0] = date;
    rows.n = 1;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    return rows;
}

static facpool_writer *open_writer(const char *path)
{
    static const shared_page plain;
    facpool_backup_options backup = backup_of(&plain, path);
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    return writer;
}

static size_t count_rows(facpool_reader *reader)
{
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    int rc;
    CHECK_OK(facpool_query(reader, NULL, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) == 1)
        n++;
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    return n;
}

static void a_second_writer_is_busy_until_the_first_has_ended(void)
{
    const char *path = scratch_path("busy.db"), *shared_path = scratch_path("busy");
    static const shared_page plain;
    facpool_backup_options backup = backup_of(&plain, path);
    facpool_writer *first = open_writer(path), *second = NULL;
    CHECK_INT(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), FACPOOL_E_BUSY);
    CHECK(strstr(err.message, "another writer"));
    backup.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_INT(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), FACPOOL_E_BUSY);
    CHECK_OK(facpool_writer_close(first, &err), err);

    /* Nor in another process, until it is dead. */
    shared_page *s = map_shared(shared_path);
    CHECK(s);
    *s = (shared_page){.seed = 1,
                       .n_dates = 10,
                       .n_codes = 50,
                       .executor = FACPOOL_EXECUTOR_SERIAL,
                       .batch_rows = 1,
                       .hang_at = 200};
    pid_t pid = spawn_child(path, shared_path);
    while (s->done < s->hang_at && waitpid(pid, NULL, WNOHANG) == 0)
        pause_briefly(200000);
    backup.mode = FACPOOL_MODE_RESUME;
    CHECK_INT(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), FACPOOL_E_BUSY);
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    CHECK_OK(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_close(second, &err), err);
    munmap(s, sizeof *s);
}

static void readers_and_the_writer_do_not_block_one_another(void)
{
    const char *path = scratch_path("readers.db");
    facpool_writer *writer = open_writer(path);
    facpool_reader *reader = NULL, *late = NULL;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    for (int64_t date = 1; date <= 200; date++) {
        facpool_rows rows = one_row(date);
        CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
        CHECK_OK(facpool_writer_sync(writer, &err), err);
        if (date == 100) {
            CHECK_OK(facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err), err);
            CHECK_OK(facpool_query(reader, NULL, &cursor, &err), err);
            CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        }
    }
    for (int i = 1; i < 100; i++)
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    CHECK_INT(count_rows(reader), 100);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    CHECK_INT(count_rows(reader), 200);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_OK(facpool_reader_from_source(&late, &sqlite_sink, NULL, &path, 1, &err), err);
    CHECK_INT(count_rows(late), 200);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    facpool_reader_free(late);
}

static void modes_factors_and_tag_are_those_of_any_backup(void)
{
    static const shared_page plain;
    static const char *const others[] = {"momentum", "turn\"over", "Z"};
    static const char *const alike[] = {"a", "A", "b"};
    const char *path = scratch_path("modes.db");
    facpool_writer *writer = NULL;
    facpool_reader *reader = NULL;
    facpool_backup_options backup = backup_of(&plain, path);
    CHECK_INT(facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err),
              FACPOOL_E_NOT_FOUND);
    backup.mode = FACPOOL_MODE_CREATE;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    facpool_rows rows = one_row(7);
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), FACPOOL_E_EXISTS);
    backup.mode = FACPOOL_MODE_RESUME;
    CHECK_INT(facpool_writer_open(&writer, &backup, others, N_FACTORS, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "z score") && strstr(err.message, "Z"));
    CHECK_INT(facpool_writer_open(&writer, &backup, names, 2, &err), FACPOOL_E_MISMATCH);
    backup.tag = "it's v2";
    CHECK_INT(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "it's v1") && strstr(err.message, "it's v2"));
    backup.tag = "it's v1";
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    CHECK_INT(facpool_writer_append(writer, &rows, &err), FACPOOL_E_EXISTS);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    backup.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_INT(facpool_writer_open(&writer, &backup, alike, N_FACTORS, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "duplicate column"));
    CHECK_OK(facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err), err);
    CHECK_INT(count_rows(reader), 1); /* what could not be replaced is still there */
    CHECK_TEXT(facpool_reader_factor_name(reader, 1), "turn\"over");
    backup.tag = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, others, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(count_rows(reader), 1);
    CHECK_INT(facpool_reader_refresh(reader, &err), FACPOOL_E_MISMATCH);
    facpool_reader_free(reader);
}

/* More rows than a block has, of a date that has more than a block: blocks begin within dates. */
static void dates_of_more_rows_than_a_block_are_read(void)
{
    enum { N_CODES = 70000, N = 2 * N_CODES };
    const char *path = scratch_path("large.db");
    facpool_writer *writer = open_writer(path);
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    int64_t *dates = malloc(N * sizeof *dates);
    char(*texts)[8] = malloc(N_CODES * sizeof *texts);
    const char **codes = malloc(N * sizeof *codes);
    double *factors = malloc(N * N_FACTORS * sizeof *factors);
    CHECK(dates && texts && codes && factors);
    for (size_t i = 0; i < N; i++) {
        if (i < N_CODES)
            snprintf(texts[i], sizeof *texts, "%06zu", i);
        dates[i] = 5 + (int64_t)(i / N_CODES);
        codes[i] = texts[i % N_CODES];
        for (size_t f = 0; f < N_FACTORS; f++)
            factors[i * N_FACTORS + f] = (double)(i + f);
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = N;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_OK(facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err), err);
    filter.order = FACPOOL_ORDER_KEY;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (size_t i = 0; i < N; i++) {
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_INT(row.date, dates[i]);
        CHECK(strcmp(row.code, codes[i]) == 0 && row.factors[2] == (double)(i + 2));
    }
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    free(dates);
    free(texts);
    free(codes);
    free(factors);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2]);
    if (!scratch_make("sqlite", false)) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    RUN(killed_runs_resume_to_the_uninterrupted_result);
    RUN(a_second_writer_is_busy_until_the_first_has_ended);
    RUN(readers_and_the_writer_do_not_block_one_another);
    RUN(modes_factors_and_tag_are_those_of_any_backup);
    RUN(dates_of_more_rows_than_a_block_are_read);
    scratch_remove();
    return TEST_END();
}
