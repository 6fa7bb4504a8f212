/* Proves that runs, writers and readers bear what many threads do to them at once: runs that are
 * cancelled, killed, polled and read at random moments, with queues so short that every worker
 * waits for the file; many runs at a time over one task set and over others, with every executor; a
 * writer with several appenders beside readers that refresh and keep old answers. Whatever
 * happened, every row is right and there once, what is reported written is in the file, and
 * resuming ends the work. Public header only. Meant to be run under the thread sanitizer too.
 *
 * FACPOOL_TEST_SEED repeats the choices, though not the moments. */
#include <pthread.h>
#include <sched.h>
#include "run_helpers.h"
#include "scratch.h"

#define N_DATES 12
#define N_CODES 40
#define N_TASKS ((size_t)N_DATES * N_CODES)

static uint64_t seed;

static const char *const suffixes[] = {"fpb", "jsonl", "arrow"};

static const char *backup_path(unsigned i, unsigned suffix)
{
    static char paths[16][400];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/stress%u.%s", test_folder, i, suffixes[suffix]);
    return path;
}

/* ------------------------------------------------------------------ runs in a storm */

typedef struct storm {
    facpool_run_handle *run;
    facpool_cancel *token;
    const char *path;
    uint64_t seed;
    atomic_bool is_over;
    atomic_uint wrong; /* rows that readers saw and that were not right */
    bool asks_to_end;
    bool may_kill;
} storm;

static void look_away(random_numbers *random)
{
    for (uint32_t i = random_below(random, 200); i; i--)
        sched_yield();
}

/* Asks the run to end, in one of three ways, again and again. */
static void *ask_to_end(void *arg)
{
    storm *s = arg;
    random_numbers random = {s->seed};
    look_away(&random);
    while (s->asks_to_end && !atomic_load(&s->is_over)) {
        switch (random_below(&random, s->may_kill ? 3 : 2)) {
        case 0:
            facpool_run_cancel(s->run);
            break;
        case 1:
            facpool_cancel_set(s->token);
            break;
        default:
            facpool_run_kill(s->run);
        }
        look_away(&random);
    }
    return NULL;
}

static unsigned wrong_values(const facpool_row *row)
{
    unsigned wrong = 0;
    for (size_t f = 0; row->factors && f < row->n_factors; f++) {
        double expected = value_of(row->date, row->code, f);
        wrong += isnan(expected) ? !isnan(row->factors[f])
                                 : memcmp(&row->factors[f], &expected, sizeof expected) != 0;
    }
    return wrong;
}

/* Reads what is there, refreshes, and goes on with the answer that it had begun. */
static void *read_along(void *arg)
{
    storm *s = arg;
    facpool_reader *reader = NULL;
    random_numbers random = {s->seed ^ 77};
    while (!atomic_load(&s->is_over)) {
        facpool_cursor *cursor = NULL;
        facpool_row row = FACPOOL_ROW_INIT;
        look_away(&random);
        if (!reader && facpool_reader_open(&reader, &s->path, 1, NULL))
            continue;
        if (facpool_query(reader, NULL, &cursor, NULL))
            continue;
        for (int i = 0; facpool_cursor_next(cursor, &row, NULL) == 1; i++) {
            atomic_fetch_add(&s->wrong, wrong_values(&row));
            if (i == 3)
                (void)facpool_reader_refresh(reader, NULL);
        }
        facpool_cursor_free(cursor);
    }
    facpool_reader_free(reader);
    return NULL;
}

static int note_progress(const facpool_progress *progress, void *user)
{
    facpool_progress *last = user;
    CHECK(progress->done >= last->done && progress->done <= progress->total);
    CHECK(progress->rows_written >= last->rows_written);
    *last = *progress;
    return 0;
}

static int32_t any_executor(random_numbers *random)
{
    static const int32_t executors[] = {
        FACPOOL_EXECUTOR_SERIAL,
#ifdef _OPENMP
        FACPOOL_EXECUTOR_OMP,
#endif
#ifdef __linux__
        FACPOOL_EXECUTOR_PROCESS,
#endif
    };
    return executors[random_below(random, sizeof executors / sizeof *executors)];
}

static facpool_run_options random_options(random_numbers *random, work *w,
                                          facpool_backup_options *backup)
{
    facpool_run_options options = make_options(w, any_executor(random));
    backup->mode = FACPOOL_MODE_RESUME;
    backup->batch_rows = random_chance(random, 50) ? 1 : random_between(random, 1, 50);
    backup->flush_ms = random_between(random, 1, 20);
    backup->queue_bytes = random_chance(random, 50) ? 1 : 4096;
    backup->no_async = random_chance(random, 30);
    backup->durability =
        random_chance(random, 50) ? FACPOOL_DURABILITY_NONE : FACPOOL_DURABILITY_BATCH;
    if (random_chance(random, 25)) {
        options.fn = NULL;
        options.batch_fn = batch_fn;
    }
    if (random_chance(random, 25))
        options.group_by = random_chance(random, 50) ? FACPOOL_GROUP_DATE : FACPOOL_GROUP_CODE;
    options.backup = backup;
    options.no_stop_if_first_fail = 1;
    return options;
}

/* One run with everybody at it; returns whether it came to its end. */
static bool run_in_storm(random_numbers *random, const facpool_tasks *tasks, work *w,
                         const char *path)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = random_options(random, w, &backup);
    facpool_progress last = FACPOOL_PROGRESS_INIT;
    facpool_result *result = NULL;
    storm s = {.path = path,
               .seed = random_bits(random),
               .asks_to_end = random_chance(random, 60),
               .may_kill = random_chance(random, 50)};
    pthread_t threads[3];
    backup.path = path;
    CHECK_OK(facpool_cancel_new(&s.token, &err), err);
    options.cancel = s.token;
    options.progress = note_progress;
    options.progress_user = &last;
    options.progress_interval_ms = 1;
    CHECK_OK(facpool_run_start(&s.run, tasks, &options, &err), err);
    CHECK_INT(pthread_create(&threads[0], NULL, ask_to_end, &s), 0);
    CHECK_INT(pthread_create(&threads[1], NULL, read_along, &s), 0);
    CHECK_INT(pthread_create(&threads[2], NULL, read_along, &s), 0);
    while (random_chance(random, 95) && facpool_run_poll(s.run, NULL, &err) == 0)
        sched_yield();
    /* Who asks must have gone before the handle has. */
    while (facpool_run_poll(s.run, NULL, &err) == 0)
        pause_ms(1);
    atomic_store(&s.is_over, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    int rc = facpool_run_wait(s.run, &result, &err);
    CHECK(rc == 0 || rc == FACPOOL_E_CANCELLED);
    CHECK_INT(atomic_load(&s.wrong), 0);
    facpool_report report = report_of(result);
    CHECK_INT(report.rows_written, report.ok + report.skipped + report.failed);
    CHECK_INT(report.total, N_TASKS);
    facpool_result_free(result);
    facpool_cancel_free(s.token);
    return rc == 0;
}

/* Failed tasks are run again, and fail again. */
static void check_backup(const char *path, const facpool_tasks *tasks, work *w)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = make_options(w, FACPOOL_EXECUTOR_SERIAL);
    facpool_result *result = NULL;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.no_retry_failed = 1;
    options.backup = &backup;
    options.no_stop_if_first_fail = 1;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    check_result(result, w);
    facpool_result_free(result);
    CHECK_INT(count_rows(path, FACPOOL_STATUS_ALL), N_TASKS);
    unlink(path);
}

static void runs_in_a_storm_lose_nothing(void)
{
    unsigned n = of_tier(12, 120, 5000);
    facpool_tasks *tasks = make_list(N_DATES, N_CODES);
    for (unsigned i = 0; i < n; i++) {
        random_numbers random = {mix_bits(seed + i)};
        work *w = SHARED(work, .fail_every = 7, .skip_every = 11, .n_factors = FACTORS);
        const char *path = backup_path(i, i % 3);
        any_nan_will_do = i % 3 == 1;
        for (int attempts = 0; attempts < 6; attempts++)
            if (run_in_storm(&random, tasks, w, path))
                break;
        check_backup(path, tasks, w);
        shared_reset();
    }
    any_nan_will_do = false;
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ many runs at once */

typedef struct crowd_member {
    const facpool_tasks *tasks;
    work *w;
    int32_t executor;
    char path[400]; /* "": none */
    unsigned n_runs;
    unsigned n_wrong;
    char fault[200];
} crowd_member;

static unsigned wrong_rows(const facpool_result *result, const work *w)
{
    size_t n = facpool_result_count(result);
    const uint8_t *status = facpool_result_status(result);
    const int64_t *dates = facpool_result_dates(result);
    const double *last = facpool_result_factor(result, FACTORS - 1);
    unsigned wrong = !status || !dates || !last;
    for (size_t i = 0; !wrong && i < n; i++) {
        const char *code = facpool_result_code(result, i);
        wrong += status[i] != expected_status(w, dates[i], code);
        if (status[i] == FACPOOL_STATUS_OK)
            wrong += last[i] != value_of(dates[i], code, FACTORS - 1);
    }
    return wrong;
}

static void *run_in_a_crowd(void *arg)
{
    crowd_member *m = arg;
    for (unsigned i = 0; i < m->n_runs; i++) {
        facpool_error error = FACPOOL_ERROR_INIT;
        facpool_run_options options = make_options(m->w, m->executor);
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        facpool_result *result = NULL;
        backup.path = m->path;
        backup.mode = FACPOOL_MODE_OVERWRITE;
        backup.durability = FACPOOL_DURABILITY_NONE;
        options.backup = m->path[0] ? &backup : NULL;
        int rc = facpool_run(m->tasks, &options, &result, &error);
        if (rc)
            snprintf(m->fault, sizeof m->fault, "%.190s", error.message);
        m->n_wrong += rc || wrong_rows(result, m->w);
        facpool_result_free(result);
    }
    return NULL;
}

/* Members share a task set two by two. Worker processes are forked where the sanitizers allow it
 * while other threads run. */
static void many_runs_at_once_do_not_mind_each_other(void)
{
    enum { MEMBERS = 8 };
    crowd_member members[MEMBERS];
    pthread_t threads[MEMBERS];
    facpool_tasks *sets[MEMBERS / 2];
    for (size_t i = 0; i < MEMBERS / 2; i++)
        sets[i] = i % 2 ? make_grid(N_DATES, 20 + i) : make_list(N_DATES, 20 + i);
    for (unsigned i = 0; i < MEMBERS; i++) {
        int32_t executor = i % 4 == 3 ? FACPOOL_EXECUTOR_SERIAL : 0;
#ifdef __linux__
        if (CAN_FORK_BUSY && i % 4 == 1)
            executor = FACPOOL_EXECUTOR_PROCESS;
#endif
#ifndef _OPENMP
        executor = executor ? executor : FACPOOL_EXECUTOR_SERIAL;
#endif
        members[i] = (crowd_member){.tasks = sets[i / 2],
                                    .w = SHARED(work, .fail_every = 9, .n_factors = FACTORS),
                                    .executor = executor,
                                    .n_runs = of_tier(3, 12, 300)};
        if (i % 3)
            snprintf(members[i].path, sizeof members[i].path, "%s", backup_path(i, i % 3));
    }
    for (size_t i = 0; i < MEMBERS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, run_in_a_crowd, &members[i]), 0);
    for (size_t i = 0; i < MEMBERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < MEMBERS; i++) {
        CHECK_TEXT(members[i].fault, "");
        CHECK_INT(members[i].n_wrong, 0);
        if (members[i].path[0])
            unlink(members[i].path);
    }
    for (size_t i = 0; i < MEMBERS / 2; i++)
        facpool_tasks_free(sets[i]);
}

/* ------------------------------------------------------------------ a writer and its readers */

enum { APPENDERS = 3, READERS = 3 };

typedef struct traffic {
    facpool_writer *writer;
    const char *path;
    atomic_uint n_ended;    /* appenders */
    atomic_size_t n_synced; /* rows that a sync has said to be safe */
    atomic_size_t n_appended;
    unsigned rows_each;
    atomic_uint next_number; /* of a thread */
    atomic_uint wrong;
} traffic;

static void *append_rows(void *arg)
{
    traffic *t = arg;
    unsigned number = atomic_fetch_add(&t->next_number, 1);
    for (unsigned i = 0; i < t->rows_each; i++) {
        facpool_rows rows = FACPOOL_ROWS_INIT;
        char text[32];
        snprintf(text, sizeof text, "%06u", number);
        const char *code = text;
        int64_t date = 20240101 + (int64_t)i;
        double factors[FACTORS];
        for (size_t f = 0; f < FACTORS; f++)
            factors[f] = value_of(date, code, f);
        rows.n = 1;
        rows.dates = &date;
        rows.codes = &code;
        rows.factors = factors;
        if (facpool_writer_append(t->writer, &rows, NULL))
            atomic_fetch_add(&t->wrong, 1);
        atomic_fetch_add(&t->n_appended, 1);
        if (i % 64 == number) {
            size_t before = atomic_load(&t->n_appended), synced = atomic_load(&t->n_synced);
            if (facpool_writer_sync(t->writer, NULL))
                atomic_fetch_add(&t->wrong, 1);
            while (synced < before && !atomic_compare_exchange_weak(&t->n_synced, &synced, before))
                ;
        }
    }
    atomic_fetch_add(&t->n_ended, 1);
    return NULL;
}

static size_t count_right_rows(facpool_cursor *cursor, atomic_uint *wrong)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    size_t n = 0;
    while (facpool_cursor_next_batch(cursor, &view, NULL) == 1) {
        for (size_t i = 0; i < view.n_rows; i++) {
            char code[16] = "";
            size_t length = (size_t)(view.code_offsets[i + 1] - view.code_offsets[i]);
            memcpy(code, view.code_bytes + view.code_offsets[i], length < 15 ? length : 15);
            double expected = value_of(view.dates[i], code, 1);
            atomic_fetch_add(wrong, view.factors[1][i] != expected);
        }
        n += view.n_rows;
    }
    return n;
}

/* Counts never fall, and are never below what was synced before it looked; an answer that was begun
 * before a refresh ends as it began. */
static void *read_beside(void *arg)
{
    traffic *t = arg;
    facpool_reader *reader = NULL;
    size_t seen = SIZE_MAX; /* nothing yet */
    if (facpool_reader_open(&reader, &t->path, 1, NULL)) {
        atomic_fetch_add(&t->wrong, 1);
        return NULL;
    }
    for (bool is_last = false; !is_last;) {
        facpool_cursor *cursor = NULL, *old = NULL;
        is_last = atomic_load(&t->n_ended) == APPENDERS;
        size_t synced = atomic_load(&t->n_synced);
        if (facpool_query(reader, NULL, &old, NULL) || facpool_reader_refresh(reader, NULL) ||
            facpool_query(reader, NULL, &cursor, NULL)) {
            atomic_fetch_add(&t->wrong, 1);
            break;
        }
        size_t n = count_right_rows(cursor, &t->wrong), n_old = count_right_rows(old, &t->wrong);
        if (seen == SIZE_MAX)
            seen = n_old;
        atomic_fetch_add(&t->wrong, n < synced || n < seen || n_old != seen);
        seen = n;
        facpool_cursor_free(cursor);
        facpool_cursor_free(old);
    }
    facpool_reader_free(reader);
    return NULL;
}

static void readers_beside_appenders_see_whole_rows_and_never_fewer(void)
{
    for (unsigned suffix = 0; suffix < 3; suffix++) {
        traffic t = {.path = backup_path(99, suffix), .rows_each = of_tier(100, 600, 20000)};
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        pthread_t threads[APPENDERS + READERS];
        backup.path = t.path;
        backup.batch_rows = 16;
        backup.flush_ms = 1;
        backup.queue_bytes = 2048;
        CHECK_OK(facpool_writer_open(&t.writer, &backup, NULL, FACTORS, &err), err);
        /* A reader of lines needs one to know the factors. */
        atomic_store(&t.next_number, 50);
        unsigned rows_each = t.rows_each;
        t.rows_each = 1;
        (void)append_rows(&t);
        CHECK_OK(facpool_writer_sync(t.writer, &err), err);
        t.rows_each = rows_each;
        atomic_store(&t.n_ended, 0);
        atomic_store(&t.next_number, 0);
        for (int i = 0; i < APPENDERS + READERS; i++)
            CHECK_INT(
                pthread_create(&threads[i], NULL, i < APPENDERS ? append_rows : read_beside, &t),
                0);
        for (int i = 0; i < APPENDERS + READERS; i++)
            pthread_join(threads[i], NULL);
        CHECK_OK(facpool_writer_close(t.writer, &err), err);
        CHECK_INT(atomic_load(&t.wrong), 0);
        any_nan_will_do = suffix == 1;
        CHECK_INT(count_rows(t.path, 0), (size_t)APPENDERS * rows_each + 1);
        unlink(t.path);
    }
    any_nan_will_do = false;
}

int main(void)
{
    make_folder();
    seed = environment_seed();
    RUN(runs_in_a_storm_lose_nothing);
    RUN(many_runs_at_once_do_not_mind_each_other);
    RUN(readers_beside_appenders_see_whole_rows_and_never_fewer);
    remove_folder();
    return TEST_END();
}
