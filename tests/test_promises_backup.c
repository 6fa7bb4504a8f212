/* Proves the promises that the design makes of a run's backup: nothing happens to one by accident,
 * resume runs what is left, write errors lose nothing, and ok rows are final. One or more tests
 * each, with the promise's number in the name, on every executor, through the public header only.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "run_helpers.h"

static int32_t executor;

/* ------------------------------------------------------------------ 7: nothing by accident */

static void run_to(const char *path, int32_t mode, const char *tag, size_t n_factors, int expected)
{
    work *w = SHARED(work, .n_factors = n_factors);
    facpool_tasks *tasks = make_grid(5, 5);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = mode;
    backup.tag = tag;
    facpool_run_options options = make_options(w, executor);
    options.n_factors = n_factors;
    options.backup = &backup;
    facpool_result *result = NULL;
    int rc = facpool_run(tasks, &options, &result, &err);
    if (rc != expected)
        printf("  rc %d: %s\n", rc, err.message);
    CHECK_INT(rc, expected);
    CHECK(!result == (rc != 0));
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void promise_07_a_backup_is_never_touched_by_accident(void)
{
    const char *path = fresh_path();
    run_to(path, FACPOOL_MODE_CREATE, "v1", 3, 0);
    run_to(path, FACPOOL_MODE_CREATE, "v1", 3, FACPOOL_E_EXISTS);
    run_to(path, FACPOOL_MODE_RESUME, "v2", 3, FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "v1") && strstr(err.message, "v2"));
    run_to(path, FACPOOL_MODE_RESUME, "v1", 2, FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "f2"));
    run_to(path, FACPOOL_MODE_RESUME, "v1", 3, 0);
    CHECK_INT(count_rows(path, 0), 25);
    run_to(path, FACPOOL_MODE_OVERWRITE, "v2", 2, 0);
    CHECK_INT(count_rows(path, 0), 25);
}

static void promise_07_a_second_writer_is_refused_and_readers_are_not(void)
{
    const char *path = fresh_path(), *names[] = {"a"};
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_writer *writer = NULL, *second = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, 1, &err), err);
    CHECK_INT(facpool_writer_open(&second, &backup, names, 1, &err), FACPOOL_E_BUSY);
    backup.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_INT(facpool_writer_open(&second, &backup, names, 1, &err), FACPOOL_E_BUSY);
    CHECK_INT(count_rows(path, 0), 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    backup.mode = FACPOOL_MODE_RESUME;
    CHECK_OK(facpool_writer_open(&second, &backup, names, 1, &err), err);
    CHECK_OK(facpool_writer_close(second, &err), err);
}

/* ------------------------------------------------------------------ 8: resume runs what is left */

static void promise_08_resume_runs_exactly_what_has_no_final_row(void)
{
    work *w = SHARED(work, .fail_every = 9, .skip_every = 7);
    facpool_tasks *tasks = make_list(20, 30);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = make_options(w, executor);
    options.backup = &backup;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    uint64_t failed = report_of(result).failed;
    CHECK(failed > 0);
    facpool_result_free(result);

    backup.no_retry_failed = 1;
    atomic_store(&w->calls, 0);
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(atomic_load(&w->calls), 0);
    check_result(result, w);
    facpool_result_free(result);

    backup.no_retry_failed = 0;
    options.dry_run = 1;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_report dry = report_of(result);
    CHECK_INT(atomic_load(&w->calls), 0);
    CHECK_INT(dry.not_run, failed);
    CHECK_INT(dry.retry_failed, failed);
    CHECK_INT(dry.new_tasks, 0);
    facpool_result_free(result);

    options.dry_run = 0;
    w->fail_every = 0;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(atomic_load(&w->calls), failed);
    check_result(result, w);
    CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED)), 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* Notes the size of every group it is called with. */
typedef struct group_work {
    work base;
    size_t n_dates;
    atomic_bool broken;
} group_work;

static int group_fn(const facpool_slice *slice, double *factors, void *user)
{
    group_work *w = user;
    if (slice->n != w->n_dates)
        atomic_store(&w->broken, true);
    for (size_t i = 1; i < slice->n; i++)
        if (strcmp(slice->codes[i], slice->codes[0]) != 0 || slice->dates[i] <= slice->dates[i - 1])
            atomic_store(&w->broken, true);
    return batch_fn(slice, factors, &w->base);
}

static void promise_08_groups_are_whole_on_resume_and_stored_once(void)
{
    group_work *w = SHARED(group_work, .base = {.fail_every = 23}, .n_dates = 40);
    facpool_tasks *tasks = make_grid(40, 30);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = make_options(NULL, executor);
    options.fn = NULL;
    options.batch_fn = group_fn;
    options.user = w;
    options.group_by = FACPOOL_GROUP_CODE;
    options.backup = &backup;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    uint64_t failed = report_of(result).failed;
    facpool_result_free(result);
    w->base.fail_every = 0;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_report r = report_of(result);
    CHECK(!atomic_load(&w->broken));
    CHECK_INT(r.ok, failed);
    CHECK_INT(r.rows_written, failed);
    check_result(result, &w->base);
    CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), 1200);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ 9: write errors */

static void promise_09_a_full_disk_stops_the_run_and_loses_nothing(void)
{
    work *w = SHARED(work, 0);
    const char *path = fresh_path();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char self[] = "/proc/self/exe", number[16]; /* OpenMP needs a process of its own */
        snprintf(number, sizeof number, "%d", (int)executor);
        execl(self, self, "--full-disk", path, number, (char *)NULL);
        _exit(99);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    /* The file is whole up to the last good block, and the run can go on. */
    size_t rows = count_rows(path, 0);
    CHECK(rows > 0 && rows < 60000);
    facpool_tasks *tasks = make_grid(60, 1000);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = make_options(w, executor);
    options.backup = &backup;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(report_of(result).resumed, rows);
    CHECK_INT(atomic_load(&w->calls), 60000 - rows);
    check_result(result, w);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* In the child: the run must end with IO, its counts must be true, its result must be usable. */
static int run_on_a_full_disk(const char *path)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(60, 1000);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.queue_bytes = 100000;
    facpool_run_options options = make_options(w, executor);
    options.backup = &backup;
    options.results = FACPOOL_RESULTS_KEEP;
    facpool_result *result = NULL;
    /* A limit on file size is a disk that fills up, once what runs is set up. */
    struct rlimit limit = {200000, 200000};
    signal(SIGXFSZ, SIG_IGN);
    facpool_run_handle *run = NULL;
    if (facpool_run_start(&run, tasks, &options, &err) || setrlimit(RLIMIT_FSIZE, &limit))
        return 6;
    int rc = facpool_run_wait(run, &result, &err);
    if (rc != FACPOOL_E_IO || !result || err.os_errno == 0)
        return 1;
    facpool_report r = FACPOOL_REPORT_INIT;
    facpool_result_report(result, &r, NULL);
    if (setjmp(test_end))
        return 2;
    size_t rows = count_rows(path, 0);
    if (rows != r.rows_written || r.ok < rows || r.rows_durable > rows)
        return 3;
    const uint8_t *statuses = facpool_result_status(result);
    size_t kept = 0;
    for (size_t i = 0; i < 60000; i++) {
        bool ok = statuses[i] == FACPOOL_STATUS_OK;
        kept += ok;
        if (ok && !same_bits(
                      facpool_result_factor(result, 1)[i],
                      value_of(facpool_result_dates(result)[i], facpool_result_code(result, i), 1)))
            return 4;
    }
    if (kept != r.ok)
        return 5;
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return 0;
}

/* ------------------------------------------------------------------ 12: ok rows are final */

static void promise_12_an_ok_row_is_stored_once(void)
{
    const char *path = fresh_path(), *names[] = {"f0", "f1", "f2"}, *codes[] = {"000001", "000002"};
    run_to(path, FACPOOL_MODE_CREATE, NULL, 3, 0);
    run_to(path, FACPOOL_MODE_RESUME, NULL, 3, 0);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, 3, &err), err);
    int64_t dates[] = {20250101, 20240102};
    double factors[6];
    for (size_t f = 0; f < 6; f++)
        factors[f] = value_of(dates[f / 3], codes[f / 3], f % 3);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 2;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    CHECK_INT(facpool_writer_append(writer, &rows, &err), FACPOOL_E_EXISTS);
    CHECK_INT(err.date, 20240102);
    CHECK_TEXT(err.task_code, "000002");
    rows.n = 1; /* all or none: the first of the two was not taken */
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_INT(facpool_writer_append(writer, &rows, &err), FACPOOL_E_EXISTS);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(count_rows(path, FACPOOL_STATUS_ALL), 26);
}

/* ------------------------------------------------------------------ */

static void run_all(int32_t which)
{
    executor = which;
    RUN(promise_07_a_backup_is_never_touched_by_accident);
    RUN(promise_07_a_second_writer_is_refused_and_readers_are_not);
    RUN(promise_08_resume_runs_exactly_what_has_no_final_row);
    RUN(promise_08_groups_are_whole_on_resume_and_stored_once);
    RUN(promise_09_a_full_disk_stops_the_run_and_loses_nothing);
    RUN(promise_12_an_ok_row_is_stored_once);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--full-disk") == 0) {
        executor = atoi(argv[3]);
        return run_on_a_full_disk(argv[2]);
    }
    make_folder();
    for_each_executor(run_all);
    remove_folder();
    return TEST_END();
}
