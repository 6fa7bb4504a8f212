/* The contract of <facpool/sink.h>, held against a store that no one but this test knows: in which
 * order its functions are called and by how many threads, what they are given, what becomes of
 * their errors, and that runs resume on it. What is read back is test_source.c. */
#include "test.h"
#include "vault_sink.h"

#include <math.h>
#include <stddef.h>

#define N_FACTORS 2
#define N_WORKERS 4

static facpool_error err = FACPOOL_ERROR_INIT;
static vault v;

static const char *const names[] = {"momentum", "turnover"};

static void init(void)
{
    vault_init(&v);
    err = (facpool_error)FACPOOL_ERROR_INIT;
}

static void destroy(void)
{
    CHECK_TEXT(v.wrong ? v.wrong : "", "");
    CHECK_INT(v.overlaps, 0);
    CHECK_INT(v.snapshots, 0);
    CHECK_INT(v.reads, v.releases);
    CHECK_INT(v.writing_states, 0);
    vault_destroy(&v);
}

static facpool_backup_options backup_of(const facpool_sink_type *type, int32_t mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = "the vault";
    backup.sink = type;
    backup.sink_user = &v;
    backup.mode = mode;
    backup.tag = "v1";
    return backup;
}

/* ------------------------------------------------------------------ runs */

/* What a task makes: factors and status that anyone can work out again. */
typedef struct work {
    int fail_every; /* tasks with an index that is a multiple; 0: none */
    int skip_every;
    size_t cancel_at;
    facpool_cancel *cancel;
    atomic_size_t calls;
} work;

static double value_of(size_t index, size_t factor)
{
    return index % 50 == 7 ? -0.0 : index % 50 == 8 ? INFINITY : (double)(index * 10 + factor) / 7;
}

static int status_of(const work *w, size_t index)
{
    if (w->skip_every && index % (size_t)w->skip_every == 1)
        return FACPOOL_STATUS_SKIPPED;
    return w->fail_every && index % (size_t)w->fail_every == 0 ? FACPOOL_STATUS_FAILED
                                                               : FACPOOL_STATUS_OK;
}

static int run_task(const facpool_task *task, double *factors, void *user)
{
    work *w = user;
    size_t call = atomic_fetch_add(&w->calls, 1) + 1;
    if (w->cancel && call >= w->cancel_at)
        facpool_cancel_set(w->cancel);
    int status = status_of(w, task->index);
    for (size_t f = 0; f < N_FACTORS; f++)
        factors[f] = value_of(task->index, f);
    if (status == FACPOOL_STATUS_FAILED)
        return facpool_task_fail(task, (int)task->index + 1, "told to fail");
    return status == FACPOOL_STATUS_SKIPPED ? FACPOOL_SKIP : 0;
}

static facpool_tasks *make_tasks(size_t n_dates, size_t n_codes)
{
    static int64_t dates[300];
    static char texts[1000][16];
    const char *codes[1000];
    facpool_tasks *tasks = NULL;
    for (size_t i = 0; i < n_dates; i++)
        dates[i] = 20240000 + (int64_t)i;
    for (size_t i = 0; i < n_codes; i++) {
        snprintf(texts[i], sizeof texts[i], "%06zu", i);
        codes[i] = texts[i];
    }
    CHECK_OK(facpool_tasks_grid(&tasks, dates, n_dates, codes, n_codes, &err), err);
    return tasks;
}

static facpool_run_options options_of(work *w, const facpool_backup_options *backup)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = run_task;
    options.user = w;
    options.n_factors = N_FACTORS;
    options.factor_names = names;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.no_stop_if_first_fail = 1;
    options.backup = backup;
    return options;
}

/* A run of dates x codes into the vault. *result may be NULL. */
static int run(work *w, const facpool_backup_options *backup, size_t n_dates, size_t n_codes,
               facpool_result **result)
{
    facpool_result *own = NULL;
    facpool_tasks *tasks = make_tasks(n_dates, n_codes);
    facpool_run_options options = options_of(w, backup);
    options.cancel = w->cancel;
    int rc = facpool_run(tasks, &options, result ? result : &own, &err);
    facpool_result_free(own);
    facpool_tasks_free(tasks);
    return rc;
}

static facpool_report report_of(const facpool_result *result)
{
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    return report;
}

/* The vault holds each task of dates x codes once, as the work makes it. */
static void check_vault(const work *w, size_t n_dates, size_t n_codes)
{
    CHECK_INT(v.n, n_dates * n_codes);
    qsort(v.rows, v.n, sizeof *v.rows, vault_compare);
    for (size_t i = 0; i < v.n; i++) {
        const vault_row *row = &v.rows[i];
        size_t index = (size_t)(row->date - 20240000) * n_codes + (size_t)atoi(row->code);
        int status = status_of(w, index);
        CHECK_INT(index, i);
        CHECK_INT(row->status, status);
        CHECK(row->timestamp > 0);
        for (size_t f = 0; status == FACPOOL_STATUS_OK && f < N_FACTORS; f++) {
            double wanted = value_of(index, f);
            CHECK(memcmp(&row->factors[f], &wanted, sizeof wanted) == 0);
        }
        CHECK_INT(row->failure_code, status == FACPOOL_STATUS_FAILED ? (int)index + 1 : 0);
        CHECK_TEXT(row->message, status == FACPOOL_STATUS_FAILED ? "told to fail" : "");
    }
}

static size_t count_letter(char letter)
{
    size_t n = 0;
    for (size_t i = 0; i < v.n_log; i++)
        n += v.log[i] == letter;
    return n;
}

/* "oals..." as open, lock, perhaps scan, any number of appends and syncs, close. */
static void check_order(const char *log, bool scans)
{
    CHECK(log[0] == 'o' && log[1] == 'l');
    log += 2;
    CHECK(!scans || *log == 's');
    log += *log == 's';
    log += strspn(log, "ay");
    CHECK_TEXT(log, "c");
}

/* ------------------------------------------------------------------ order and forms */

static void a_run_opens_locks_appends_syncs_and_closes_in_this_order(void)
{
    init();
    work w = {.fail_every = 9, .skip_every = 11};
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 10, 30, NULL), err);
    check_order(v.log, false);
    CHECK(count_letter('a') > 0);
    check_vault(&w, 10, 30);
    CHECK_TEXT(v.path, "the vault");
    CHECK_TEXT(v.tag, "v1");
    CHECK_TEXT(v.names[1], "turnover");
    CHECK_INT(v.mode, FACPOOL_MODE_CREATE);
    CHECK_INT(v.durability, FACPOOL_DURABILITY_GROUP);
    vault_forget_log(&v);
    backup.mode = FACPOOL_MODE_RESUME;
    CHECK_OK(run(&w, &backup, 10, 30, NULL), err);
    check_order(v.log, true); /* what failed is tried again, so it is scanned */
    check_vault(&w, 10, 30);
    destroy();
}

static void a_writer_handle_goes_the_same_way(void)
{
    init();
    facpool_writer *writer = NULL;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    facpool_backup_options backup = backup_of(&vault_type, 0);
    backup.path = NULL; /* a store may need none */
    backup.tag = NULL;
    const int64_t dates[] = {2, 1};
    const char *const codes[] = {"b", "a"};
    const double factors[] = {1, 2, 3, 4};
    rows.n = 2;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    size_t a = strcspn(v.log, "a"), y = strcspn(v.log, "y");
    CHECK(a < y && y < v.n_log);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    check_order(v.log, false);
    CHECK_TEXT(v.path, "");
    CHECK_TEXT(v.tag, "");
    CHECK_INT(v.n, 2);
    CHECK_TEXT(v.rows[0].code, "a");
    CHECK(v.rows[0].factors[1] == 4);
    destroy();
}

#define REPEATED_ROWS 200

/* Every second key in a row that is not ok; then all keys, in rows that are. */
static void append_failed_and_ok(facpool_writer *writer)
{
    int64_t dates[REPEATED_ROWS];
    const char *codes[REPEATED_ROWS];
    uint8_t statuses[REPEATED_ROWS];
    double factors[REPEATED_ROWS * N_FACTORS] = {0};
    for (size_t step = 2; step >= 1; step--) {
        facpool_rows rows = FACPOOL_ROWS_INIT;
        for (size_t i = 0; i < REPEATED_ROWS; i += step, rows.n++) {
            dates[rows.n] = (int64_t)i;
            codes[rows.n] = "a";
            statuses[rows.n] = step == 2 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
        }
        rows.dates = dates;
        rows.codes = codes;
        rows.statuses = statuses;
        rows.factors = factors;
        CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    }
}

/* Whether they wait together until the writer gathers them, or one kind fills its lane before. */
static void an_ok_row_is_appended_after_the_failure_that_it_supersedes(void)
{
    static const uint64_t queues[] = {0, 1 << 14, 1};
    for (size_t q = 0; q < sizeof queues / sizeof *queues; q++) {
        init();
        facpool_writer *writer = NULL;
        facpool_backup_options backup = backup_of(&vault_type, 0);
        backup.batch_rows = 1000000;
        backup.flush_ms = 1000000;
        backup.queue_bytes = queues[q];
        CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
        append_failed_and_ok(writer);
        CHECK_OK(facpool_writer_close(writer, &err), err);
        CHECK_INT(v.n, REPEATED_ROWS);
        for (size_t i = 0; i < v.n; i++)
            CHECK_INT(v.rows[i].status, FACPOOL_STATUS_OK);
        destroy(); /* which says so where a row came for a key with an ok row */
    }
}

static void a_batch_has_at_most_65536_rows(void)
{
    init();
    v.counts_only = true;
    work w = {0};
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    backup.batch_rows = 1000000;
    backup.flush_ms = 100000;
    CHECK_OK(run(&w, &backup, 140, 1000, NULL), err);
    CHECK(v.most_rows > 20000 && v.most_rows <= 65536);
    destroy();
}

static void without_durability_sync_is_never_called(void)
{
    init();
    work w = {0};
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    backup.durability = FACPOOL_DURABILITY_NONE;
    backup.batch_rows = 10;
    backup.flush_ms = 1;
    CHECK_OK(run(&w, &backup, 10, 30, NULL), err);
    CHECK_INT(count_letter('y'), 0);
    CHECK_INT(v.durability, FACPOOL_DURABILITY_NONE);
    check_order(v.log, false);
    destroy();
}

static void durability_batch_syncs_after_every_append(void)
{
    init();
    work w = {.fail_every = 3};
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    facpool_result *result = NULL;
    backup.durability = FACPOOL_DURABILITY_BATCH;
    backup.no_async = 1;
    backup.queue_bytes = 1;
    CHECK_OK(run(&w, &backup, 30, 100, &result), err);
    CHECK(count_letter('a') >= 2);
    for (size_t i = 0; i < v.n_log; i++)
        CHECK(v.log[i] != 'a' || v.log[i + 1] == 'y');
    CHECK_INT(report_of(result).rows_written, 3000);
    CHECK_INT(report_of(result).rows_durable, 3000);
    facpool_result_free(result);
    destroy();
}

/* ------------------------------------------------------------------ threads */

typedef struct worker {
    facpool_job *job;
    uint32_t number;
    int rc;
} worker;

static void *work_off(void *argument)
{
    worker *w = argument;
    facpool_slice slice = FACPOOL_SLICE_INIT;
    double *factors = NULL;
    while (!w->rc && (w->rc = facpool_job_take(w->job, w->number, &slice, &factors, NULL)) == 1) {
        for (size_t i = 0; i < slice.n; i++)
            for (size_t f = 0; f < N_FACTORS; f++)
                factors[i * N_FACTORS + f] = value_of(slice.indexes[i], f);
        w->rc = facpool_job_complete(w->job, &slice, 0, NULL);
    }
    return NULL;
}

/* Threads of our own, each of which writes what it has, all the time. `wanted`: how it ends. */
static void run_on_threads(const facpool_sink_type *type, size_t n_dates, size_t n_codes,
                           int wanted)
{
    facpool_tasks *tasks = make_tasks(n_dates, n_codes);
    facpool_backup_options backup = backup_of(type, FACPOOL_MODE_CREATE);
    backup.batch_rows = 1;
    backup.queue_bytes = 1;
    backup.flush_ms = 1;
    facpool_run_options options = options_of(NULL, &backup);
    options.fn = NULL;
    options.executor = 0;
    options.workers = N_WORKERS;
    facpool_job *job = NULL;
    facpool_result *result = NULL;
    pthread_t threads[N_WORKERS];
    worker workers[N_WORKERS];
    CHECK_OK(facpool_job_open(&job, tasks, &options, &err), err);
    for (uint32_t i = 0; i < N_WORKERS; i++) {
        workers[i] = (worker){job, i, 0};
        CHECK_INT(pthread_create(&threads[i], NULL, work_off, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < N_WORKERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(workers[i].rc == 0 || workers[i].rc == wanted);
    }
    CHECK_INT(facpool_job_finish(job, &result, &err), wanted);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void one_thread_at_a_time_calls_a_plain_sink(void)
{
    init();
    work w = {0};
    run_on_threads(&vault_type, 20, 300, 0);
    CHECK(count_letter('a') > 4);
    check_vault(&w, 20, 300);
    destroy(); /* sees to it that no two calls met */
}

static void several_threads_call_a_sink_that_allows_it(void)
{
    init();
    facpool_sink_type type = vault_type;
    type.capabilities = FACPOOL_SINK_CONCURRENT_APPEND;
    v.meets = true;
    v.counts_only = true;
    run_on_threads(&type, 100, 1000, 0);
    CHECK(v.met);
    CHECK(v.overlaps > 0);
    v.overlaps = 0;
    destroy();
}

/* Those who wait for their turn when a call fails don't get one any more. */
static void threads_at_the_door_of_a_failed_sink_are_sent_away(void)
{
    for (int round = 0; round < 100; round++) {
        init();
        v.fails_at = 'a';
        v.fails_after = 1;
        run_on_threads(&vault_type, 20, 300, FACPOOL_E_IO);
        CHECK_INT(count_letter('a'), 2);
        destroy();
    }
}

/* ------------------------------------------------------------------ errors */

/* The vault is told to fail at a letter: the run fails with the vault's words, and the log is as
 * said. */
static void check_failure(char letter, size_t after, const char *what, const char *log)
{
    char message[100];
    init();
    work w = {.fail_every = 2};
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
    vault_forget_log(&v);
    v.fails_at = letter;
    v.fails_after = after;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.durability = FACPOOL_DURABILITY_BATCH;
    err = (facpool_error)FACPOOL_ERROR_INIT;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_IO);
    CHECK_INT(err.code, FACPOOL_E_IO);
    snprintf(message, sizeof message, "the vault's %s was told to fail, code 42", what);
    CHECK_TEXT(err.message, message);
    CHECK(strncmp(v.log, log, strlen(log)) == 0);
    CHECK(letter == 'c' || v.n_log == strlen(log));
    destroy();
}

static void errors_of_every_function_reach_the_caller_and_only_close_follows(void)
{
    check_failure('o', 0, "open", "o");
    check_failure('l', 0, "lock", "olc");
    check_failure('s', 0, "scan", "olsc");
    check_failure('a', 0, "append", "olsac");
    check_failure('y', 0, "sync", "olsayc");
    check_failure('c', 0, "close", "olsay");
}

static void an_error_without_a_word_still_says_something(void)
{
    static const char letters[] = "olsayc";
    for (const char *at = letters; *at; at++) {
        init();
        work w = {.fail_every = 2};
        facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
        CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
        v.fails_at = *at;
        v.fails_silently = true;
        backup.mode = FACPOOL_MODE_RESUME;
        backup.durability = FACPOOL_DURABILITY_BATCH;
        err = (facpool_error)FACPOOL_ERROR_INIT;
        CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_IO);
        CHECK_INT(err.code, FACPOOL_E_IO);
        CHECK(strstr(err.message, "vault"));
        destroy();
    }
}

/* Callers test for what is below 0, and look codes up: theirs is one of the library's, always. */
static void odd_codes_of_a_sink_become_an_io_error(void)
{
    static const char letters[] = "olsayc";
    static const int codes[] = {1, 42, -4711};
    for (const char *at = letters; *at; at++) {
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
            init();
            work w = {.fail_every = 2};
            facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
            CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
            v.fails_at = *at;
            v.odd_code = codes[i];
            backup.mode = FACPOOL_MODE_RESUME;
            backup.durability = FACPOOL_DURABILITY_BATCH;
            err = (facpool_error)FACPOOL_ERROR_INIT;
            CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_IO);
            CHECK_INT(err.code, FACPOOL_E_IO);
            CHECK(strstr(err.message, "vault") && strstr(err.message, "return 0 or"));
            destroy();
        }
    }
}

static void a_failing_append_ends_the_run_and_keeps_what_was_computed(void)
{
    init();
    v.fails_at = 'a';
    v.fails_after = 2;
    work w = {0};
    facpool_result *result = NULL;
    facpool_tasks *tasks = make_tasks(50, 100);
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    backup.no_async = 1;
    backup.queue_bytes = 1;
    facpool_run_options options = options_of(&w, &backup);
    options.results = FACPOOL_RESULTS_KEEP;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_IO);
    CHECK_TEXT(err.message, "the vault's append was told to fail, code 42");
    CHECK(result);
    facpool_report report = report_of(result);
    CHECK_INT(report.rows_written, v.n);
    CHECK(report.ok > v.n);
    CHECK(report.not_run > 0);
    const uint8_t *status = facpool_result_status(result);
    size_t n_ok = 0;
    for (size_t i = 0; i < 5000; i++)
        n_ok += status[i] == FACPOOL_STATUS_OK;
    CHECK_INT(n_ok, report.ok);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    destroy();
}

static void a_writer_that_failed_stays_failed(void)
{
    init();
    v.fails_at = 'a';
    facpool_writer *writer = NULL;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    facpool_backup_options backup = backup_of(&vault_type, 0);
    const int64_t date = 1;
    const char *const code = "a";
    const double factors[] = {1, 2};
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.factors = factors;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_INT(facpool_writer_sync(writer, &err), FACPOOL_E_IO);
    CHECK_INT(facpool_writer_sync(writer, &err), FACPOOL_E_IO);
    CHECK_INT(facpool_writer_close(writer, &err), FACPOOL_E_IO);
    CHECK_INT(count_letter('a'), 1);
    CHECK_INT(v.log[v.n_log - 1], 'c');
    destroy();
}

/* ------------------------------------------------------------------ modes */

static void a_store_that_is_there_is_not_created_again(void)
{
    init();
    work w = {0};
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_EXISTS);
    CHECK_TEXT(err.message, "the vault is in use");
    backup.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_OK(run(&w, &backup, 3, 10, NULL), err);
    check_vault(&w, 3, 10);
    destroy();
}

static void a_second_writer_is_kept_out(void)
{
    init();
    facpool_writer *first = NULL, *second = NULL;
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_RESUME);
    CHECK_OK(facpool_writer_open(&first, &backup, names, N_FACTORS, &err), err);
    CHECK_INT(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), FACPOOL_E_BUSY);
    CHECK_TEXT(err.message, "the vault has a writer");
    CHECK(!second);
    CHECK_OK(facpool_writer_close(first, &err), err);
    CHECK_OK(facpool_writer_open(&second, &backup, names, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_close(second, &err), err);
    destroy();
}

static void other_factors_or_another_tag_are_a_mismatch(void)
{
    init();
    work w = {0};
    facpool_writer *writer = NULL;
    static const char *const others[] = {"momentum", "value"};
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
    backup.mode = FACPOOL_MODE_RESUME;
    backup.tag = "v2";
    CHECK_INT(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), FACPOOL_E_MISMATCH);
    CHECK_TEXT(err.message, "the vault holds 2 factors with tag 'v1', not 2 with 'v2'");
    backup.tag = "v1";
    v.compares_nothing = true; /* then the library sees it by the snapshot */
    vault_forget_log(&v);
    CHECK_INT(facpool_writer_open(&writer, &backup, others, N_FACTORS, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "momentum, turnover") && strstr(err.message, "momentum, value"));
    CHECK_TEXT(v.log, "olsc");
    CHECK_INT(facpool_writer_open(&writer, &backup, names, 1, &err), FACPOOL_E_MISMATCH);
    destroy();
}

static void resume_runs_what_failed_and_what_is_new(void)
{
    init();
    work w = {.fail_every = 5, .skip_every = 7};
    facpool_result *result = NULL;
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 10, 20, NULL), err);
    backup.mode = FACPOOL_MODE_RESUME;
    w.fail_every = 0;
    w.calls = 0;
    v.hides_codes = true;
    CHECK_OK(run(&w, &backup, 15, 20, &result), err);
    facpool_report report = report_of(result);
    CHECK_INT(w.calls, 100 + report.retry_failed);
    CHECK(report.retry_failed > 30);
    CHECK_INT(report.new_tasks, 100);
    CHECK_INT(report.resumed, 300 - w.calls);
    check_vault(&w, 15, 20);
    facpool_result_free(result);
    destroy();
}

static void a_cancelled_run_resumes_to_what_an_uninterrupted_one_gives(void)
{
    init();
    work w = {.fail_every = 6, .skip_every = 5, .cancel_at = 400};
    facpool_result *cut = NULL, *result = NULL, *whole = NULL;
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_RESUME);
    CHECK_OK(facpool_cancel_new(&w.cancel, &err), err);
    CHECK_INT(run(&w, &backup, 10, 100, &cut), FACPOOL_E_CANCELLED);
    CHECK(v.n >= 400 && v.n < 1000);
    facpool_result_free(cut);
    facpool_cancel_free(w.cancel);
    w.cancel = NULL;
    v.by_column = true;
    CHECK_OK(run(&w, &backup, 10, 100, &result), err);
    CHECK_OK(run(&w, NULL, 10, 100, &whole), err);
    CHECK_OK(facpool_result_load(result, &err), err); /* reads the vault */
    CHECK(memcmp(facpool_result_status(result), facpool_result_status(whole), 1000) == 0);
    for (size_t f = 0; f < N_FACTORS; f++) {
        const double *a = facpool_result_factor(result, f), *b = facpool_result_factor(whole, f);
        for (size_t i = 0; i < 1000; i++)
            CHECK(memcmp(&a[i], &b[i], sizeof *a) == 0 || (isnan(a[i]) && isnan(b[i])));
    }
    CHECK_INT(facpool_result_n_failures(result), facpool_result_n_failures(whole));
    check_vault(&w, 10, 100);
    facpool_result_free(result);
    facpool_result_free(whole);
    destroy();
}

static void a_dry_run_looks_and_writes_nothing(void)
{
    init();
    work w = {.fail_every = 4};
    facpool_result *result = NULL;
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 4, 10, NULL), err);
    vault_forget_log(&v);
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_tasks *tasks = make_tasks(5, 10);
    facpool_run_options options = options_of(&w, &backup);
    options.dry_run = 1;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(report_of(result).retry_failed, 10);
    CHECK_INT(report_of(result).new_tasks, 10);
    CHECK_TEXT(v.log, "rsq");
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    destroy();
}

/* ------------------------------------------------------------------ tables of other ages */

static void a_table_of_an_older_header_has_no_scan(void)
{
    init();
    facpool_sink_type type = vault_type;
    type.size = offsetof(facpool_sink_type, scan);
    work w = {0};
    facpool_reader *reader = NULL;
    const char *path = "the vault";
    facpool_backup_options backup = backup_of(&type, FACPOOL_MODE_RESUME);
    CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
    CHECK_INT(count_letter('l'), 0);
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "no scan"));
    CHECK_INT(facpool_reader_from_source(&reader, &type, &v, &path, 1, &err),
              FACPOOL_E_UNSUPPORTED);
    type = vault_type;
    type.scan = NULL;
    vault_forget_log(&v);
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_UNSUPPORTED);
    CHECK_TEXT(v.log, "olc");
    destroy();
}

static void a_table_of_a_newer_header_works_while_its_tail_is_zero(void)
{
    init();
    struct {
        facpool_sink_type type;
        size_t newer;
    } longer = {vault_type, 0};
    longer.type.size = sizeof longer;
    work w = {0};
    facpool_backup_options backup = backup_of(&longer.type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
    backup.mode = FACPOOL_MODE_OVERWRITE;
    longer.newer = 1;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_ABI);
    check_vault(&w, 2, 10);
    destroy();
}

static void a_table_that_lacks_a_function_is_refused(void)
{
    init();
    work w = {0};
    facpool_sink_type type = vault_type;
    facpool_backup_options backup = backup_of(&type, FACPOOL_MODE_CREATE);
    type.append = NULL;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "'vault' lacks append"));
    type = vault_type;
    type.sync = NULL;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    type = vault_type;
    type.close = NULL;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    type = vault_type;
    type.open = NULL;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    type = vault_type;
    backup.format = "binary";
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    CHECK_INT(v.n_log, 0);
    destroy();
}

int main(void)
{
    RUN(a_run_opens_locks_appends_syncs_and_closes_in_this_order);
    RUN(a_writer_handle_goes_the_same_way);
    RUN(an_ok_row_is_appended_after_the_failure_that_it_supersedes);
    RUN(a_batch_has_at_most_65536_rows);
    RUN(without_durability_sync_is_never_called);
    RUN(durability_batch_syncs_after_every_append);
    RUN(one_thread_at_a_time_calls_a_plain_sink);
    RUN(several_threads_call_a_sink_that_allows_it);
    RUN(threads_at_the_door_of_a_failed_sink_are_sent_away);
    RUN(errors_of_every_function_reach_the_caller_and_only_close_follows);
    RUN(an_error_without_a_word_still_says_something);
    RUN(odd_codes_of_a_sink_become_an_io_error);
    RUN(a_failing_append_ends_the_run_and_keeps_what_was_computed);
    RUN(a_writer_that_failed_stays_failed);
    RUN(a_store_that_is_there_is_not_created_again);
    RUN(a_second_writer_is_kept_out);
    RUN(other_factors_or_another_tag_are_a_mismatch);
    RUN(resume_runs_what_failed_and_what_is_new);
    RUN(a_cancelled_run_resumes_to_what_an_uninterrupted_one_gives);
    RUN(a_dry_run_looks_and_writes_nothing);
    RUN(a_table_of_an_older_header_has_no_scan);
    RUN(a_table_of_a_newer_header_works_while_its_tail_is_zero);
    RUN(a_table_that_lacks_a_function_is_refused);
    return TEST_END();
}
