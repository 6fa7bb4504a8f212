/* Proves what worker processes do about tasks that kill them or take too long: the task at fault is
 * marked, everything else is as the serial executor makes it. With slices and groups, attempts,
 * runs that stop, and in every file format. Public header only; Linux. */
#include <pthread.h>
#include "process_helpers.h"

/* ------------------------------------------------------------------ death */

typedef struct death {
    void (*cause)(void);
    const char *name; /* in the failure's message */
} death;

static const death deaths[] = {
    {die_by_segfault, "SIGSEGV"}, {die_by_abort, "SIGABRT"}, {die_by_exit_0, "status 0"},
    {die_by_exit_3, "status 3"},  {die_by_kill, "SIGKILL"},  {die_by_stack_overflow, "SIGSEGV"},
};

enum { N_DEATHS = sizeof deaths / sizeof *deaths };

/* Every failure is a troubled task, with its status and a message that holds `name`. */
static void check_failures(const facpool_result *result, const work *w, const char *name)
{
    for (size_t i = 0; i < facpool_result_n_failures(result); i++) {
        facpool_failure failure = FACPOOL_FAILURE_INIT;
        CHECK_OK(facpool_result_failure(result, i, &failure, &err), err);
        if (failure.status == FACPOOL_STATUS_FAILED)
            continue;
        CHECK_INT(failure.status, w->trouble_status);
        CHECK(is_hit(failure.date, failure.code, w->trouble_every, 3));
        if (!strstr(failure.message, name))
            printf("  '%s' says nothing of %s\n", failure.message, name);
        CHECK(strstr(failure.message, name));
    }
}

static void a_task_that_kills_its_worker_costs_one_row(void)
{
    for (int i = 0; i < N_DEATHS; i++) {
        work *w = SHARED(work, .fail_every = 50, .skip_every = 40, .trouble_every = 80,
                         .trouble = deaths[i].cause, .trouble_status = FACPOOL_STATUS_CRASHED);
        facpool_tasks *tasks = i % 2 ? make_list(20, 30) : make_grid(20, 30);
        facpool_run_options options = process_options(w);
        options.backup_path = i < 3 ? fresh_path() : NULL;
        facpool_result *result = run_to_end(tasks, &options, 0);
        size_t troubled = count_troubled(w, 20, 30);
        CHECK(troubled >= 3 && troubled < 20);
        check_result(result, w);
        check_failures(result, w, deaths[i].name);
        facpool_report r = report_of(result);
        CHECK_INT(r.crashed, troubled);
        CHECK_INT(r.ok + r.skipped + r.failed + r.crashed, 600);
        CHECK_INT(r.not_run + r.timeout, 0);
        CHECK_INT(atomic_load(&w->calls), 600); /* nobody else's task was called again */
        if (options.backup_path)
            CHECK_INT(count_rows(options.backup_path, FACPOOL_STATUS_BIT(FACPOOL_STATUS_CRASHED)),
                      troubled);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

static void results_are_those_of_the_serial_executor(void)
{
    work *w = SHARED(work, .fail_every = 50, .trouble_every = 200, .trouble = die_by_kill,
                     .trouble_status = FACPOOL_STATUS_CRASHED);
    work *calm = SHARED(work, .fail_every = 50);
    facpool_tasks *tasks = make_list(30, 40);
    facpool_run_options options = process_options(w);
    facpool_run_options serial = make_options(calm, FACPOOL_EXECUTOR_SERIAL);
    facpool_result *result = run_to_end(tasks, &options, 0);
    facpool_result *wanted = run_to_end(tasks, &serial, 0);
    const uint8_t *status = facpool_result_status(result);
    size_t n_same = 0;
    for (size_t i = 0; i < 1200; i++) {
        bool same = status[i] == facpool_result_status(wanted)[i];
        CHECK(same || status[i] == FACPOOL_STATUS_CRASHED);
        for (size_t f = 0; same && f < FACTORS; f++)
            CHECK(same_bits(facpool_result_factor(result, f)[i],
                            facpool_result_factor(wanted, f)[i]) ||
                  status[i] != FACPOOL_STATUS_OK);
        n_same += same;
    }
    CHECK(n_same < 1200 && n_same > 1150);
    facpool_result_free(result);
    facpool_result_free(wanted);
    facpool_tasks_free(tasks);
}

/* A worker says who it is and waits to be killed. */
typedef struct victim {
    atomic_int pid;
    atomic_int calls;
} victim;

static int wait_to_be_killed(const facpool_task *task, double *factors, void *user)
{
    victim *v = user;
    atomic_fetch_add(&v->calls, 1);
    factors[0] = (double)task->index;
    if (task->index == 77) {
        atomic_store(&v->pid, (int)getpid());
        hang_asleep();
    }
    return 0;
}

static void *kill_the_victim(void *arg)
{
    victim *v = arg;
    if (comes_to_be(&v->pid, 1))
        kill(atomic_load(&v->pid), SIGKILL);
    return NULL;
}

static void a_worker_killed_from_outside_costs_the_task_it_was_at(void)
{
    victim *v = SHARED(victim, 0);
    facpool_tasks *tasks = make_grid(10, 20);
    facpool_run_options options = process_options(NULL);
    options.fn = wait_to_be_killed;
    options.user = v;
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, kill_the_victim, v), 0);
    facpool_result *result = run_to_end(tasks, &options, 0);
    pthread_join(thread, NULL);
    CHECK_INT(report_of(result).crashed, 1);
    CHECK_INT(report_of(result).ok, 199);
    CHECK_INT(atomic_load(&v->calls), 200);
    facpool_failure failure = FACPOOL_FAILURE_INIT;
    CHECK_OK(facpool_result_failure(result, 0, &failure, &err), err);
    CHECK_INT(failure.index, 77);
    CHECK(strstr(failure.message, "SIGKILL"));
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ timeouts */

static void a_task_that_takes_too_long_costs_one_row(void)
{
    void (*hangs[])(void) = {hang_asleep, hang_busy};
    for (int i = 0; i < 2; i++) {
        work *w = SHARED(work, .fail_every = 50, .trouble_every = 300, .trouble = hangs[i],
                         .trouble_status = FACPOOL_STATUS_TIMEOUT);
        facpool_tasks *tasks = make_grid(20, 30);
        facpool_run_options options = process_options(w);
        options.task_timeout_ms = PATIENCE_MS;
        options.backup_path = fresh_path();
        facpool_result *result = run_to_end(tasks, &options, 0);
        size_t troubled = count_troubled(w, 20, 30);
        check_result(result, w);
        check_failures(result, w, PATIENCE);
        CHECK(troubled > 0);
        CHECK_INT(report_of(result).timeout, troubled);
        CHECK_INT(report_of(result).crashed, 0);
        CHECK_INT(atomic_load(&w->calls), 600);
        CHECK_INT(count_rows(options.backup_path, FACPOOL_STATUS_BIT(FACPOOL_STATUS_TIMEOUT)),
                  troubled);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

/* A slow task's time is its own: what came before it in the same place does not count. */
static int slow_and_quick(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = (double)task->index;
    if (task->index % 2)
        pause_ms(PATIENCE_MS / 10);
    return 0;
}

static void tasks_that_take_less_than_the_limit_are_let_alone(void)
{
    facpool_tasks *tasks = make_grid(1, 24);
    facpool_run_options options = process_options(NULL);
    options.fn = slow_and_quick;
    options.workers = 1;
    options.task_timeout_ms = PATIENCE_MS;
    facpool_result *result = run_to_end(tasks, &options, 0);
    CHECK_INT(report_of(result).ok, 24);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ attempts */

/* What a task does in its first three attempts. */
typedef enum deed { GOES_WELL, FAILS, CRASHES, HANGS } deed;

static const deed plans[][3] = {
    {GOES_WELL, GOES_WELL, GOES_WELL}, {CRASHES, GOES_WELL, GOES_WELL}, {FAILS, CRASHES, GOES_WELL},
    {CRASHES, FAILS, GOES_WELL},       {CRASHES, CRASHES, CRASHES},     {FAILS, FAILS, CRASHES},
    {CRASHES, CRASHES, FAILS},         {HANGS, CRASHES, GOES_WELL},
};

enum { N_PLANS = sizeof plans / sizeof *plans, PLANNED_TASKS = 2 * N_PLANS };

typedef struct planned {
    atomic_int calls[PLANNED_TASKS]; /* of each task */
    atomic_int wrong;                /* attempts out of order, or factors that were not NaN */
    bool by_slices;
} planned;

static int follow_plan(planned *p, size_t index, uint32_t attempt, double *factors)
{
    int call = atomic_fetch_add(&p->calls[index], 1) + 1;
    if ((!p->by_slices && call != (int)attempt) || !isnan(factors[0]) || !isnan(factors[2]))
        atomic_fetch_add(&p->wrong, 1);
    factors[0] = factors[1] = factors[2] = (double)index;
    switch (plans[index % N_PLANS][attempt - 1]) {
    case GOES_WELL:
        return 0;
    case FAILS:
        return 30 + (int)attempt;
    case CRASHES:
        die_by_kill();
        return 0;
    default:
        hang_asleep();
        return 0;
    }
}

static int planned_task(const facpool_task *task, double *factors, void *user)
{
    return follow_plan(user, task->index, task->attempt, factors);
}

/* A failing task fails its whole slice. */
static int planned_slice(const facpool_slice *slice, double *factors, void *user)
{
    int code = 0;
    for (size_t i = 0; i < slice->n; i++) {
        int rc = follow_plan(user, slice->indexes[i], slice->attempt, factors + i * FACTORS);
        code = code ? code : rc;
    }
    return code;
}

static void check_plans(const facpool_result *result, uint32_t attempts)
{
    static const uint8_t status_of[] = {FACPOOL_STATUS_OK, FACPOOL_STATUS_FAILED,
                                        FACPOOL_STATUS_CRASHED, FACPOOL_STATUS_TIMEOUT};
    for (size_t i = 0; i < PLANNED_TASKS; i++) {
        const deed *plan = plans[i % N_PLANS];
        uint32_t last = 0;
        while (last + 1 < attempts && plan[last] != GOES_WELL)
            last++;
        CHECK_INT(facpool_result_status(result)[i], status_of[plan[last]]);
        double value = facpool_result_factor(result, 1)[i];
        CHECK(plan[last] == GOES_WELL ? value == (double)i : isnan(value));
    }
}

static void attempts_go_on_after_deaths_and_the_last_one_counts(void)
{
    for (uint32_t attempts = 1; attempts <= 3; attempts++)
        for (int by_slices = 0; by_slices < 2; by_slices++) {
            planned *p = SHARED(planned, .by_slices = by_slices);
            facpool_tasks *tasks = make_grid(2, N_PLANS);
            facpool_run_options options = process_options(NULL);
            options.fn = by_slices ? NULL : planned_task;
            options.batch_fn = by_slices ? planned_slice : NULL;
            options.user = p;
            options.attempts = attempts;
            options.task_timeout_ms = PATIENCE_MS;
            options.workers = 4;
            options.no_stop_if_first_fail = 1;
            facpool_result *result = run_to_end(tasks, &options, 0);
            check_plans(result, attempts);
            CHECK_INT(atomic_load(&p->wrong), 0);
            for (size_t i = 0; i < PLANNED_TASKS && !by_slices; i++) {
                const deed *plan = plans[i % N_PLANS];
                int calls = 1;
                while (calls < (int)attempts && plan[calls - 1] != GOES_WELL)
                    calls++;
                CHECK_INT(atomic_load(&p->calls[i]), calls);
            }
            facpool_result_free(result);
            facpool_tasks_free(tasks);
        }
}

/* ------------------------------------------------------------------ slices and groups */

static void a_slice_that_kills_its_worker_is_called_task_by_task(void)
{
    static void (*const troubles[])(void) = {die_by_segfault, hang_asleep};
    for (int i = 0; i < 2; i++) {
        uint8_t status = i ? FACPOOL_STATUS_TIMEOUT : FACPOOL_STATUS_CRASHED;
        work *w = SHARED(work, .fail_every = 60, .skip_every = 70, .trouble_every = i ? 700 : 300,
                         .trouble = troubles[i], .trouble_status = status);
        facpool_tasks *tasks = make_grid(40, 50);
        facpool_run_options options = process_options(w);
        options.fn = NULL;
        options.batch_fn = batch_fn;
        options.task_timeout_ms = i ? PATIENCE_MS : 0;
        options.backup_path = fresh_path();
        facpool_result *result = run_to_end(tasks, &options, 0);
        CHECK(count_troubled(w, 40, 50) > 0);
        check_result(result, w);
        check_failures(result, w, i ? PATIENCE : "SIGSEGV");
        CHECK_INT(count_rows(options.backup_path, FACPOOL_STATUS_BIT(status)),
                  count_troubled(w, 40, 50));
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

/* A batch function's group fails whole; of a task function's it is the task at fault. */
static void a_group_that_kills_its_worker_fails_whole(void)
{
    for (int by_slices = 0; by_slices < 2; by_slices++) {
        work *w = SHARED(work, .trouble_every = 150, .trouble = die_by_abort,
                         .trouble_status = FACPOOL_STATUS_CRASHED);
        facpool_tasks *tasks = make_grid(20, 20);
        facpool_run_options options = process_options(w);
        options.fn = by_slices ? NULL : task_fn;
        options.batch_fn = by_slices ? batch_fn : NULL;
        options.group_by = FACPOOL_GROUP_DATE;
        facpool_result *result = run_to_end(tasks, &options, 0);
        size_t n_crashed = 0;
        for (size_t d = 0; d < 20; d++) {
            bool bad = false;
            for (size_t i = d * 20; i < d * 20 + 20; i++)
                bad |=
                    is_hit(facpool_result_dates(result)[i], facpool_result_code(result, i), 150, 3);
            for (size_t i = d * 20; bad && by_slices && i < d * 20 + 20; i++)
                CHECK_INT(facpool_result_status(result)[i], FACPOOL_STATUS_CRASHED);
            n_crashed += bad ? 20 : 0;
        }
        if (by_slices)
            CHECK_INT(report_of(result).crashed, n_crashed);
        else
            check_result(result, w);
        CHECK(n_crashed > 0 && report_of(result).ok + report_of(result).crashed == 400);
        CHECK(strstr(report_of(result).failures[0].message, "SIGABRT"));
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

static void a_group_gets_its_attempts_whole(void)
{
    work *w = SHARED(work, .trouble_every = 100, .trouble = die_by_abort, .trouble_attempts = 1);
    facpool_tasks *tasks = make_list(20, 20);
    facpool_run_options options = process_options(w);
    options.fn = NULL;
    options.batch_fn = batch_fn;
    options.group_by = FACPOOL_GROUP_CODE;
    options.attempts = 2;
    facpool_result *result = run_to_end(tasks, &options, 0);
    CHECK(atomic_load(&w->calls) > 400);
    check_result(result, w);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ runs that stop */

static void a_run_whose_tasks_all_kill_their_workers_stops(void)
{
    work *w = SHARED(work, .trouble_every = 1, .trouble = die_by_kill);
    facpool_tasks *tasks = make_grid(100, 100);
    facpool_run_options options = process_options(w);
    options.stop_if_first_fail = 10;
    facpool_result *result = run_to_end(tasks, &options, FACPOOL_E_TASK);
    CHECK(err.has_task && strstr(err.message, "SIGKILL"));
    facpool_report r = report_of(result);
    CHECK(r.crashed >= 10 && r.crashed < 30);
    CHECK_INT(r.crashed + r.not_run, 10000);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void on_error_stop_minds_deaths(void)
{
    work *w = SHARED(work, .trouble_every = 300, .trouble = die_by_exit_3);
    facpool_tasks *tasks = make_grid(100, 100);
    facpool_run_options options = process_options(w);
    options.on_error = FACPOOL_ON_ERROR_STOP;
    options.backup_path = fresh_path();
    facpool_result *result = run_to_end(tasks, &options, FACPOOL_E_TASK);
    CHECK(err.has_task && is_hit(err.date, err.task_code, 300, 3));
    CHECK(strstr(err.message, "status 3"));
    facpool_report r = report_of(result);
    CHECK(r.crashed >= 1 && r.crashed <= 3 && r.not_run > 0);
    CHECK_INT(count_rows(options.backup_path, FACPOOL_STATUS_ALL), r.ok + r.crashed);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ formats and resuming */

static void crashed_and_late_tasks_are_tried_again_in_every_format(void)
{
    static const char *const formats[] = {"binary", "json", "memory_map"};
    for (int i = 0; i < 6; i++) {
        bool late = i >= 3;
        uint8_t status = late ? FACPOOL_STATUS_TIMEOUT : FACPOOL_STATUS_CRASHED;
        work *w = SHARED(work, .fail_every = 70, .trouble_every = late ? 400 : 200,
                         .trouble = late ? hang_asleep : die_by_segfault, .trouble_status = status);
        facpool_tasks *tasks = make_grid(30, 30);
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        backup.path = fresh_path();
        backup.mode = FACPOOL_MODE_RESUME;
        backup.format = formats[i % 3];
        any_nan_will_do = i % 3 == 1;
        facpool_run_options options = process_options(w);
        options.backup = &backup;
        options.task_timeout_ms = late ? PATIENCE_MS : 0;
        size_t troubled = count_troubled(w, 30, 30);
        facpool_result *result = run_to_end(tasks, &options, 0);
        check_result(result, w);
        facpool_result_free(result);
        CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_BIT(status)), troubled);
        w->trouble_every = 0;
        result = run_to_end(tasks, &options, 0);
        facpool_report r = report_of(result);
        CHECK_INT(late ? r.retry_timeout : r.retry_crashed, troubled);
        CHECK(r.retry_failed > 0 && r.new_tasks == 0);
        CHECK_INT(r.ok, troubled);
        check_result(result, w);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
    any_nan_will_do = false;
}

int main(void)
{
    make_folder();
    RUN(a_task_that_kills_its_worker_costs_one_row);
    RUN(results_are_those_of_the_serial_executor);
    RUN(a_worker_killed_from_outside_costs_the_task_it_was_at);
    RUN(a_task_that_takes_too_long_costs_one_row);
    RUN(tasks_that_take_less_than_the_limit_are_let_alone);
    RUN(attempts_go_on_after_deaths_and_the_last_one_counts);
    RUN(a_slice_that_kills_its_worker_is_called_task_by_task);
    RUN(a_group_that_kills_its_worker_fails_whole);
    RUN(a_group_gets_its_attempts_whole);
    RUN(a_run_whose_tasks_all_kill_their_workers_stops);
    RUN(on_error_stop_minds_deaths);
    RUN(crashed_and_late_tasks_are_tried_again_in_every_format);
    remove_folder();
    return TEST_END();
}
