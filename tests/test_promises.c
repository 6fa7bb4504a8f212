/* Proves the promises that the design makes of a run's tasks, one or more tests each, with the
 * promise's number in the name, on every executor, through the public header only. The fourth is
 * test_promises_memory.c; the seventh to ninth and the twelfth, which are of the backup, are
 * test_promises_backup.c. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include "run_helpers.h"

static int32_t executor;

/* ------------------------------------------------------------------ 1: one status each */

static void promise_01_every_task_ends_in_exactly_one_status(void)
{
    work *w = SHARED(work, .fail_every = 11, .skip_every = 13);
    facpool_tasks *tasks = make_list(40, 30);
    facpool_run_options options = make_options(w, executor);
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    check_result(result, w);
    facpool_report r = report_of(result);
    CHECK_INT(r.ok + r.skipped + r.failed, 1200);
    CHECK_INT(r.not_run, 0);
    CHECK_INT(atomic_load(&w->calls), 1200);
    CHECK(r.failed > 0 && r.skipped > 0);
    CHECK_INT(facpool_result_n_failures(result), r.failed);
    facpool_failure failure = FACPOOL_FAILURE_INIT;
    CHECK_OK(facpool_result_failure(result, 0, &failure, &err), err);
    CHECK_INT(failure.failure_code, 7);
    CHECK_TEXT(failure.message, "the task was told to fail");
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void promise_01_a_stopped_run_says_which_task_stopped_it(void)
{
    work *w = SHARED(work, .fail_every = 50);
    facpool_tasks *tasks = make_grid(30, 30);
    facpool_run_options options = make_options(w, executor);
    options.on_error = FACPOOL_ON_ERROR_STOP;
    facpool_result *result = NULL;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_TASK);
    CHECK(result && err.has_task);
    CHECK(is_hit(err.date, err.task_code, 50, 2));
    CHECK(strstr(err.message, "code 7") && strstr(err.message, "told to fail"));
    CHECK(report_of(result).not_run > 0);
    const uint8_t *status = facpool_result_status(result);
    size_t not_run = 0;
    for (size_t i = 0; i < 900; i++) {
        not_run += status[i] == FACPOOL_STATUS_NONE;
        if (status[i] == FACPOOL_STATUS_NONE)
            CHECK(isnan(facpool_result_factor(result, 0)[i]));
    }
    CHECK_INT(not_run, report_of(result).not_run);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ 2: same bits always */

static void promise_02_results_do_not_depend_on_workers_slicing_or_backup(void)
{
    work *w = SHARED(work, .fail_every = 17, .skip_every = 19);
    for (int variant = 0; variant < 12; variant++) {
        facpool_tasks *tasks = variant % 2 ? make_list(25, 40) : make_grid(25, 40);
        facpool_run_options options = make_options(w, executor);
        options.workers = executor == FACPOOL_EXECUTOR_SERIAL ? 1 : 1 + (uint32_t)variant % 4;
        options.group_by = 1 + variant % 3;
        if (variant >= 6) {
            options.fn = NULL;
            options.batch_fn = batch_fn;
        }
        if (variant % 4 >= 2)
            options.backup_path = fresh_path();
        facpool_result *result = NULL;
        CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
        check_result(result, w);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

static void promise_02_a_resumed_result_equals_an_uninterrupted_one(void)
{
    for (int variant = 0; variant < 6; variant++) {
        work *w = SHARED(work, .skip_every = 19, .cancel_at_call = 400);
        facpool_tasks *tasks = variant % 2 ? make_list(25, 40) : make_grid(25, 40);
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        backup.path = fresh_path();
        backup.mode = FACPOOL_MODE_RESUME;
        facpool_run_options options = make_options(w, executor);
        options.backup = &backup;
        options.cancel = listen_for_cancel();
        options.group_by = 1 + variant / 2;
        options.results = variant % 2 ? FACPOOL_RESULTS_KEEP : 0;
        facpool_result *result = NULL;
        CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_CANCELLED);
        facpool_report first = report_of(result);
        facpool_result_free(result);
        forget_cancel();
        CHECK(first.ok + first.skipped > 0 && first.not_run > 0);
        w->cancel_at_call = 0;
        options.cancel = NULL;
        CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
        CHECK_INT(report_of(result).resumed, first.ok + first.skipped);
        check_result(result, w);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

/* ------------------------------------------------------------------ 3: handed over in time */

typedef struct slow_work {
    const char *path;
    atomic_int finished;
    bool seen_early;
} slow_work;

/* The last task does not end before the rows of the first ones can be read from the file: had they
 * to wait for it, this would go on until the deadline and fail. */
static int wait_for_my_predecessors(const facpool_task *task, double *factors, void *user)
{
    CHECKS_END_THE_WORKER();
    slow_work *w = user;
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(task->date, task->code, f);
    if (task->index < 20) {
        atomic_fetch_add(&w->finished, 1);
        return 0;
    }
    for (int i = 0; i < 3000 && !w->seen_early; i++) {
        pause_ms(10);
        if (atomic_load(&w->finished) == 20)
            w->seen_early = count_rows(w->path, 0) == 20;
    }
    return 0;
}

static void promise_03_rows_reach_the_file_while_a_task_takes_long(void)
{
    slow_work *w = SHARED(slow_work, .path = fresh_path());
    facpool_tasks *tasks = make_grid(3, 7);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = w->path;
    backup.flush_ms = 50;
    facpool_run_options options = make_options(NULL, executor);
    options.fn = wait_for_my_predecessors;
    options.user = w;
    options.backup = &backup;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK(w->seen_early);
    facpool_report r = report_of(result);
    CHECK_INT(r.rows_written, 21);
    CHECK_INT(r.rows_durable, 21);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ 5: progress */

typedef struct watching {
    pthread_t caller;
    bool right_thread;
    size_t calls;
    facpool_progress last;
    uint64_t done_before;
    bool monotonic;
    int answer;
    atomic_bool seen_while_busy;
    atomic_bool busy;
} watching;

static int watch(const facpool_progress *progress, void *user)
{
    watching *w = user;
    w->right_thread = w->right_thread && pthread_equal(w->caller, pthread_self());
    w->calls++;
    w->monotonic = w->monotonic && progress->done >= w->done_before;
    w->done_before = progress->done;
    w->last = *progress;
    if (atomic_load(&w->busy))
        atomic_store(&w->seen_while_busy, true);
    return w->answer;
}

/* One task ends only when progress was shown during it (OpenMP), or at once (serial). */
static int busy_until_seen(const facpool_task *task, double *factors, void *user)
{
    watching *w = user;
    factors[0] = 1;
    if (task->index != 5 || executor == FACPOOL_EXECUTOR_SERIAL)
        return 0;
    atomic_store(&w->busy, true);
    for (int i = 0; i < 3000 && !atomic_load(&w->seen_while_busy); i++) {
        pause_ms(10);
    }
    atomic_store(&w->busy, false);
    return 0;
}

static void promise_05_progress_comes_on_the_calling_thread_and_counts_all(void)
{
    watching *w =
        SHARED(watching, .caller = pthread_self(), .right_thread = true, .monotonic = true);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = make_options(NULL, executor);
    options.fn = busy_until_seen;
    options.user = w;
    options.progress = watch;
    options.progress_user = w;
    options.progress_interval_ms = 1;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK(w->right_thread && w->monotonic && w->calls > 0);
    CHECK(executor == FACPOOL_EXECUTOR_SERIAL || atomic_load(&w->seen_while_busy));
    CHECK_INT(w->last.done, 100);
    CHECK_INT(w->last.ok, 100);
    CHECK_INT(w->last.total, 100);
    CHECK(w->last.rate > 0 && w->last.elapsed_s > 0 && w->last.eta_s == 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void promise_05_nonzero_from_progress_cancels(void)
{
    watching *w = SHARED(watching, .caller = pthread_self(), .answer = 1);
    work *unused = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(3000, 1000);
    facpool_run_options options = make_options(unused, executor);
    options.progress = watch;
    options.progress_user = w;
    options.progress_interval_ms = 1;
    facpool_result *result = NULL;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_CANCELLED);
    CHECK(report_of(result).not_run > 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ 6: cancel */

static int raise_at_100(const facpool_task *task, double *factors, void *user)
{
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(task->date, task->code, f);
    if (atomic_fetch_add(&((work *)user)->calls, 1) != 100)
        return 0;
    /* The signal reaches another thread, or process, than this one, in its own time. */
    request_cancel_by_signal();
    return 0;
}

static void promise_06_a_signal_handler_cancels_and_what_was_finished_is_in_the_file(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(4000, 500);
    facpool_run_options options = make_options(w, executor);
    options.fn = raise_at_100;
    options.cancel = listen_for_cancel();
    options.backup_path = fresh_path();
    facpool_result *result = NULL;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_CANCELLED);
    facpool_report r = report_of(result);
    CHECK_INT(r.ok, atomic_load(&w->calls)); /* no task in hand was dropped */
    CHECK(r.not_run > 0);
    CHECK_INT(count_rows(options.backup_path, 0), r.ok);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    forget_cancel();
}

static void *cancel_from_outside(void *run)
{
    facpool_run_cancel(run);
    return NULL;
}

static void promise_06_another_thread_cancels_and_resume_continues(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(2000, 1000);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = make_options(w, executor);
    options.backup = &backup;
    options.results = FACPOOL_RESULTS_DROP;
    facpool_run_handle *run = NULL;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, cancel_from_outside, run), 0);
    pthread_join(thread, NULL);
    CHECK_INT(facpool_run_wait(run, &result, &err), FACPOOL_E_CANCELLED);
    uint64_t finished = report_of(result).ok;
    CHECK_INT(finished, atomic_load(&w->calls));
    facpool_result_free(result);
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(report_of(result).resumed, finished);
    CHECK_INT(atomic_load(&w->calls), 2000000);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ 10: the report */

static void promise_10_the_report_tells_counts_failures_and_times(void)
{
    work *w = SHARED(work, .fail_every = 31, .skip_every = 5);
    facpool_tasks *tasks = make_grid(100, 100);
    facpool_run_options options = make_options(w, executor);
    options.backup_path = fresh_path();
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_report r = report_of(result);
    CHECK_INT(r.total, 10000);
    CHECK_INT(r.ok + r.skipped + r.failed, 10000);
    CHECK_INT(r.rows_written, 10000);
    CHECK_INT(r.n_failures, 20);
    for (size_t i = 0; i < r.n_failures; i++) {
        CHECK_TEXT(r.failures[i].message, "the task was told to fail");
        CHECK(is_hit(r.failures[i].date, r.failures[i].code, 31, 2));
        CHECK(i == 0 || r.failures[i].index > r.failures[i - 1].index);
    }
    CHECK(r.n_slowest > 0 && r.slowest[0].seconds > 0 && r.slowest[0].n > 0);
    for (size_t i = 1; i < r.n_slowest; i++)
        CHECK(r.slowest[i].seconds <= r.slowest[i - 1].seconds);
    CHECK(r.compute_s > 0 && r.write_s > 0 && r.elapsed_s > 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ 11: fork */

#ifdef _OPENMP

/* What an OpenMP run gives in a forked child of this process. */
static int run_in_child(int32_t child_executor)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        work *w = SHARED(work, 0);
        if (setjmp(test_end))
            _exit(98);
        facpool_tasks *tasks = make_grid(4, 4);
        facpool_run_options options = make_options(w, child_executor);
        facpool_result *result = NULL;
        _exit(-facpool_run(tasks, &options, &result, &err));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -999;
}

static void promise_11_openmp_in_a_forked_child_is_refused(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = make_options(w, FACPOOL_EXECUTOR_OMP);
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    CHECK_INT(run_in_child(executor), executor == FACPOOL_EXECUTOR_OMP ? FACPOOL_E_FORKED : 0);
}

#endif

/* ------------------------------------------------------------------ */

static void run_all(int32_t which)
{
    executor = which;
    RUN(promise_01_every_task_ends_in_exactly_one_status);
    RUN(promise_01_a_stopped_run_says_which_task_stopped_it);
    RUN(promise_02_results_do_not_depend_on_workers_slicing_or_backup);
    RUN(promise_02_a_resumed_result_equals_an_uninterrupted_one);
    RUN(promise_03_rows_reach_the_file_while_a_task_takes_long);
    RUN(promise_05_progress_comes_on_the_calling_thread_and_counts_all);
    RUN(promise_05_nonzero_from_progress_cancels);
    RUN(promise_06_a_signal_handler_cancels_and_what_was_finished_is_in_the_file);
    RUN(promise_06_another_thread_cancels_and_resume_continues);
    RUN(promise_10_the_report_tells_counts_failures_and_times);
}

int main(void)
{
    make_folder();
    for_each_executor(run_all);
#ifdef _OPENMP
    executor = FACPOOL_EXECUTOR_OMP;
    RUN(promise_11_openmp_in_a_forked_child_is_refused);
    executor = FACPOOL_EXECUTOR_SERIAL;
    RUN(promise_11_openmp_in_a_forked_child_is_refused);
#endif
    remove_folder();
    return TEST_END();
}
