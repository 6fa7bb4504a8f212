/* The contract of <facpool/sink.h>, held against a store that no one but this test knows: in which
 * order its functions are called and by how many threads, what they are given, and that runs resume
 * on it. What becomes of its errors is test_sink_errors.c, what is read back test_source.c. */
#include "vault_runs.h"

#define N_WORKERS 4

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
    RUN(a_store_that_is_there_is_not_created_again);
    RUN(a_second_writer_is_kept_out);
    RUN(other_factors_or_another_tag_are_a_mismatch);
    RUN(resume_runs_what_failed_and_what_is_new);
    RUN(a_cancelled_run_resumes_to_what_an_uninterrupted_one_gives);
    RUN(a_dry_run_looks_and_writes_nothing);
    return TEST_END();
}
