/* Proves what runs do where things are unusual: refused runs leave files alone, replaced backups
 * are noticed, tasks that turn slow, retried failures, writers without a thread. Public header
 * only. */
#include <sys/wait.h>
#include "run_helpers.h"

static int32_t executor;

/* One worker, so that the order of tasks is known. */
static facpool_run_options options_of_one(work *w)
{
    facpool_run_options options = make_options(w, executor);
    options.workers = 1;
    return options;
}

static facpool_result *run_with(facpool_tasks *tasks, facpool_run_options *options, int expected)
{
    facpool_result *result = NULL;
    int rc = facpool_run(tasks, options, &result, &err);
    if (rc != expected)
        printf("  %s\n", err.message);
    CHECK_INT(rc, expected);
    return result;
}

/* ------------------------------------------------------------------ files that are not to change
 */

#ifdef _OPENMP
static void a_run_refused_after_fork_leaves_the_backup_it_was_to_overwrite(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_OVERWRITE;
    facpool_run_options options = make_options(w, FACPOOL_EXECUTOR_OMP);
    options.backup = &backup;
    facpool_result_free(run_with(tasks, &options, 0));
    pid_t child = fork();
    if (child == 0) {
        facpool_result *result = NULL;
        _exit(facpool_run(tasks, &options, &result, NULL) == FACPOOL_E_FORKED ? 0 : 1);
    }
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), 100);
    facpool_tasks_free(tasks);
}
#endif

static void a_run_with_wrong_processors_leaves_the_backup_it_was_to_overwrite(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_OVERWRITE;
    facpool_run_options options = options_of_one(w);
    options.backup = &backup;
    facpool_result_free(run_with(tasks, &options, 0));
    const int32_t cpus[] = {0, 9999};
    options.cpus = cpus;
    options.n_cpus = 2;
    facpool_result *result = NULL;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_INVALID);
    CHECK(!result && strstr(err.message, "9999"));
    CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), 100);
    facpool_tasks_free(tasks);
}

static int fail_with_bytes(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = 1;
    return task->index ? 0 : facpool_task_fail(task, 9, "caf\xe9 \xe4\xb8\xad \xff.");
}

static void messages_are_kept_as_text(void)
{
    facpool_tasks *tasks = make_grid(2, 2);
    facpool_run_options options = options_of_one(NULL);
    options.fn = fail_with_bytes;
    facpool_result *result = run_with(tasks, &options, 0);
    facpool_failure failure = FACPOOL_FAILURE_INIT;
    CHECK_OK(facpool_result_failure(result, 0, &failure, &err), err);
    CHECK_TEXT(failure.message, "caf? \xe4\xb8\xad ?.");
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void rows_are_read_back_from_another_working_folder(void)
{
    work *w = SHARED(work, 0);
    char before[4096], name[32];
    CHECK(getcwd(before, sizeof before) && chdir(test_folder) == 0);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = options_of_one(w);
    snprintf(name, sizeof name, "relative%d.fpb", (int)executor);
    options.backup_path = name;
    facpool_result *result = run_with(tasks, &options, 0);
    CHECK(chdir(before) == 0);
    check_result(result, w);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void a_dry_run_counts_an_empty_file_as_absent_as_a_run_does(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_list(5, 5);
    for (int32_t mode = FACPOOL_MODE_CREATE; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        backup.path = fresh_path();
        backup.mode = mode;
        facpool_run_options options = options_of_one(w);
        options.backup = &backup;
        fclose(fopen(backup.path, "w"));
        options.dry_run = 1;
        facpool_result *result = run_with(tasks, &options, 0);
        CHECK_INT(report_of(result).not_run, 25);
        facpool_result_free(result);
        options.dry_run = 0;
        options.fn = NULL;
        options.batch_fn = batch_fn;
        result = run_with(tasks, &options, 0);
        check_result(result, w);
        facpool_result_free(result);
    }
    facpool_tasks_free(tasks);
}

static int note_init(uint32_t worker, void **state, void *user)
{
    (void)worker;
    (void)state;
    atomic_fetch_add(&((work *)user)->calls, 1);
    return 0;
}

static void a_started_dry_run_starts_no_worker(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(5, 5);
    facpool_run_options options = options_of_one(w);
    options.worker_init = note_init;
    options.dry_run = 1;
    facpool_run_handle *run = NULL;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
    CHECK_OK(facpool_run_wait(run, &result, &err), err);
    CHECK_INT(atomic_load(&w->calls), 0);
    CHECK_INT(report_of(result).not_run, 25);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ results */

static const char *const formats[] = {"binary", "json", "memory_map"};

/* Runs, and once more where the result is to be of rows that all were there. */
static facpool_result *first_result(facpool_tasks *tasks, facpool_run_options *options,
                                    facpool_backup_options *backup, bool was_resumed)
{
    backup->mode = FACPOOL_MODE_CREATE;
    facpool_result *result = run_with(tasks, options, 0);
    if (was_resumed) {
        facpool_result_free(result);
        backup->mode = FACPOOL_MODE_RESUME;
        result = run_with(tasks, options, 0);
    }
    return result;
}

static void check_that_it_is_noticed(const char *format, size_t n_factors, unsigned fail_every,
                                     bool was_resumed)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.format = format;
    backup.no_retry_failed = 1;
    w->n_factors = FACTORS;
    w->fail_every = fail_every;
    facpool_run_options options = options_of_one(w);
    options.no_stop_if_first_fail = 1;
    options.backup = &backup;
    facpool_result *result = first_result(tasks, &options, &backup, was_resumed);
    w->n_factors = options.n_factors = n_factors;
    backup.mode = FACPOOL_MODE_OVERWRITE;
    facpool_result_free(run_with(tasks, &options, 0));
    CHECK(!facpool_result_factor(result, 2));
    CHECK_INT(facpool_result_load(result, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, backup.path));
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void a_result_notices_that_its_backup_was_replaced(void)
{
    for (size_t f = 0; f < 3; f++)
        for (int was_resumed = 0; was_resumed < 2; was_resumed++) {
            check_that_it_is_noticed(formats[f], FACTORS, 0, was_resumed);
            check_that_it_is_noticed(formats[f], 1, 0, was_resumed);
            check_that_it_is_noticed(formats[f], FACTORS, 3, was_resumed);
            check_that_it_is_noticed(formats[f], FACTORS, 1, was_resumed);
        }
}

/* Rows from before and after all others, under keys that no task has. */
static void append_first_and_last(const char *path, const char *format, int32_t mode)
{
    const int64_t dates[] = {1, 99999999}, times[] = {1, INT64_MAX};
    const char *const codes[] = {"a", "z"};
    const double factors[2 * FACTORS] = {0};
    facpool_writer *writer = NULL;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    backup.path = path;
    backup.format = format;
    backup.mode = mode;
    rows.n = 2;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = times;
    rows.factors = factors;
    CHECK_OK(facpool_writer_open(&writer, &backup, NULL, FACTORS, &err), err);
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* As long as the rows are there, whatever came to them; not where others are, however old. */
static void a_result_knows_its_backup_among_others(void)
{
    facpool_tasks *tasks = make_grid(10, 10);
    for (size_t f = 0; f < 3; f++) {
        work *w = SHARED(work, 0);
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        backup.path = fresh_path();
        backup.format = formats[f];
        facpool_run_options options = options_of_one(w);
        options.backup = &backup;
        facpool_result *known = run_with(tasks, &options, 0);
        backup.mode = FACPOOL_MODE_RESUME;
        facpool_result *unknown = run_with(tasks, &options, 0);
        append_first_and_last(backup.path, formats[f], FACPOOL_MODE_RESUME);
        CHECK_OK(facpool_backup_compact(backup.path, &err), err);
        CHECK_OK(facpool_result_load(known, &err), err);
        CHECK(facpool_result_factor(known, 2));
        append_first_and_last(backup.path, formats[f], FACPOOL_MODE_OVERWRITE);
        CHECK_INT(facpool_result_load(unknown, &err), FACPOOL_E_MISMATCH);
        facpool_result_free(known);
        facpool_result_free(unknown);
    }
    facpool_tasks_free(tasks);
}

static void a_missing_place_for_the_result_is_refused_at_the_start(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(2, 2);
    facpool_run_options options = options_of_one(w);
    options.backup_path = fresh_path();
    CHECK_INT(facpool_run(tasks, &options, NULL, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_run_start(NULL, tasks, &options, &err), FACPOOL_E_INVALID);
    options.workers = 1;
    CHECK_INT(facpool_job_open(NULL, tasks, &options, &err), FACPOOL_E_INVALID);
    CHECK(access(options.backup_path, F_OK) != 0);
    CHECK_INT(atomic_load(&w->calls), 0);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ tasks that turn slow */

#define QUICK_TASKS 3000
#define SLOW_TASKS  20

typedef struct turning {
    size_t quick;
    int progress_calls;
    int calls_at_first_slow;
    int calls_at_last_slow;
    size_t calls;
    size_t fail_at;
} turning;

static int turn_slow(const facpool_task *task, double *factors, void *user)
{
    turning *t = user;
    t->calls++;
    if (task->index == t->quick)
        t->calls_at_first_slow = t->progress_calls;
    if (task->index == t->quick + SLOW_TASKS - 1)
        t->calls_at_last_slow = t->progress_calls;
    if (task->index >= t->quick)
        pause_ms(3);
    factors[0] = 1;
    return 0;
}

static int count_progress(const facpool_progress *progress, void *user)
{
    (void)progress;
    ((turning *)user)->progress_calls++;
    return 0;
}

static void serial_progress_goes_on_where_quick_tasks_turn_slow(void)
{
    turning *t = SHARED(turning, .quick = QUICK_TASKS);
    facpool_tasks *tasks = make_grid(1, QUICK_TASKS + SLOW_TASKS);
    facpool_run_options options = make_options(NULL, FACPOOL_EXECUTOR_SERIAL);
    options.fn = turn_slow;
    options.user = t;
    options.progress = count_progress;
    options.progress_user = t;
    options.progress_interval_ms = 1;
    facpool_result_free(run_with(tasks, &options, 0));
    CHECK_INT(t->calls_at_last_slow - t->calls_at_first_slow, SLOW_TASKS - 1);
    facpool_tasks_free(tasks);
}

static int fail_once(const facpool_task *task, double *factors, void *user)
{
    turning *t = user;
    t->calls++;
    factors[0] = 1;
    return task->index == t->fail_at ? 5 : 0;
}

static void the_first_failed_task_stops_the_run_and_not_the_end_of_its_chunk(void)
{
    turning *t = SHARED(turning, .fail_at = QUICK_TASKS);
    facpool_tasks *tasks = make_grid(1, 10 * QUICK_TASKS);
    facpool_run_options options = options_of_one(NULL);
    options.fn = fail_once;
    options.user = t;
    options.on_error = FACPOOL_ON_ERROR_STOP;
    facpool_result_free(run_with(tasks, &options, FACPOOL_E_TASK));
    CHECK_INT(t->calls, QUICK_TASKS + 1);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ the end of a writer */

/* Who closes wakes the writer's thread, which may have been told to look again in an hour. Where it
 * does not, this test does not end. */
static void closing_does_not_wait_for_flush_ms(void)
{
    static const char *const names[] = {"a"};
    static const char *const codes[] = {"000001"};
    static const int64_t dates[] = {20240102};
    static const double factors[] = {1.5};
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.flush_ms = 3600000;
    backup.durability = FACPOOL_DURABILITY_NONE; /* so that no sync is due sooner */
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, 1, &err), err);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 1;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    pause_ms(20); /* the thread may sleep by now: it must be woken, not find out by itself */
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* ------------------------------------------------------------------ stop_if_first_fail and resume
 */

/* Fails tasks of codes below `bad_below`, and of those from `bad_from` on. */
typedef struct badness {
    atomic_int calls;
    int bad_below;
    int bad_from;
} badness;

static int fail_by_code(const facpool_task *task, double *factors, void *user)
{
    badness *b = user;
    int code = atoi(task->code);
    atomic_fetch_add(&b->calls, 1);
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(task->date, task->code, f);
    return code < b->bad_below || code >= b->bad_from;
}

static void failures_that_fail_again_do_not_stop_a_resumed_run(void)
{
    badness *b = SHARED(badness, .bad_below = 11, .bad_from = 1000);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = options_of_one(NULL);
    options.fn = fail_by_code;
    options.user = b;
    options.backup = &backup;
    options.group_by = FACPOOL_GROUP_CODE;
    options.no_stop_if_first_fail = 1;
    facpool_tasks *few = make_grid(20, 20), *more = make_grid(20, 40);
    facpool_result_free(run_with(few, &options, 0)); /* 200 fail, 200 are ok */
    options.no_stop_if_first_fail = 0;
    facpool_result *result = run_with(more, &options, 0); /* first the 200 that fail again */
    CHECK_INT(report_of(result).retry_failed, 200);
    CHECK_INT(report_of(result).ok, 400);
    facpool_result_free(result);
    facpool_tasks *most = make_grid(20, 400);
    b->bad_from = 41; /* now nothing that is left goes well */
    result = run_with(most, &options, FACPOOL_E_TASK);
    CHECK(report_of(result).failed >= 300 && report_of(result).failed < 400);
    facpool_result_free(result);
    facpool_tasks_free(few);
    facpool_tasks_free(more);
    facpool_tasks_free(most);
}

static void rows_done_before_in_a_group_do_not_count_as_gone_well(void)
{
    badness *b = SHARED(badness, .bad_below = 0, .bad_from = 11);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = options_of_one(NULL);
    options.fn = fail_by_code;
    options.user = b;
    options.backup = &backup;
    options.group_by = FACPOOL_GROUP_DATE;
    options.stop_if_first_fail = 50;
    facpool_tasks *few = make_grid(50, 10), *more = make_grid(50, 20);
    facpool_result_free(run_with(few, &options, 0));
    facpool_result *result = run_with(more, &options, FACPOOL_E_TASK);
    /* Worker processes may be at the next group before the run has seen the last one. */
    size_t most = executor == FACPOOL_EXECUTOR_PROCESS ? 80 : 50;
    CHECK(report_of(result).failed >= 50 && report_of(result).failed <= most);
    CHECK_INT(report_of(result).ok, 0);
    facpool_result_free(result);
    facpool_tasks_free(few);
    facpool_tasks_free(more);
}

/* ------------------------------------------------------------------ rows without a writer thread
 */

static void append_one(facpool_writer *writer, int64_t date)
{
    const char *code = "000001";
    double factors[FACTORS];
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(date, code, f);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.factors = factors;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
}

static void a_writer_without_a_thread_minds_flush_ms(void)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.no_async = 1;
    backup.flush_ms = 2;
    backup.batch_rows = 1000000;
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, NULL, FACTORS, &err), err);
    append_one(writer, 20240101);
    pause_ms(5);
    append_one(writer, 20240102);
    CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), 2);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* Slow tasks look: rows of all tasks before them are in the file. */
static int look_into_file(const facpool_task *task, double *factors, void *user)
{
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(task->date, task->code, f);
    if (task->index < QUICK_TASKS)
        return 0;
    bool all_there =
        task->index == QUICK_TASKS || count_rows(user, FACPOOL_STATUS_ALL) == task->index;
    pause_ms(5);
    return all_there ? 0 : 9;
}

static void a_serial_run_without_a_writer_thread_minds_flush_ms(void)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    char path[320];
    snprintf(path, sizeof path, "%s", fresh_path());
    backup.path = path;
    backup.no_async = 1;
    backup.flush_ms = 2;
    backup.batch_rows = 1000000;
    facpool_tasks *tasks = make_grid(1, QUICK_TASKS + SLOW_TASKS);
    facpool_run_options options = make_options(NULL, FACPOOL_EXECUTOR_SERIAL);
    options.fn = look_into_file;
    options.user = path;
    options.backup = &backup;
    facpool_result *result = run_with(tasks, &options, 0);
    CHECK_INT(report_of(result).failed, 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void run_all(int32_t which)
{
    executor = which;
    RUN(a_run_with_wrong_processors_leaves_the_backup_it_was_to_overwrite);
    RUN(messages_are_kept_as_text);
    RUN(rows_are_read_back_from_another_working_folder);
    RUN(a_dry_run_counts_an_empty_file_as_absent_as_a_run_does);
    RUN(a_started_dry_run_starts_no_worker);
    RUN(a_result_notices_that_its_backup_was_replaced);
    RUN(a_result_knows_its_backup_among_others);
    RUN(a_missing_place_for_the_result_is_refused_at_the_start);
    RUN(the_first_failed_task_stops_the_run_and_not_the_end_of_its_chunk);
    RUN(closing_does_not_wait_for_flush_ms);
    RUN(failures_that_fail_again_do_not_stop_a_resumed_run);
    RUN(rows_done_before_in_a_group_do_not_count_as_gone_well);
}

int main(void)
{
    make_folder();
    for_each_executor(run_all);
    RUN(serial_progress_goes_on_where_quick_tasks_turn_slow);
    RUN(a_writer_without_a_thread_minds_flush_ms);
    RUN(a_serial_run_without_a_writer_thread_minds_flush_ms);
#ifdef _OPENMP
    RUN(a_run_refused_after_fork_leaves_the_backup_it_was_to_overwrite);
#endif
    remove_folder();
    return TEST_END();
}
