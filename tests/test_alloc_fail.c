/* Every allocation and every thread is refused in turn: the k-th, for every k, alone and with all
 * after it. Every public call then returns FACPOOL_E_NOMEM (FACPOOL_E_SYSTEM) or succeeds, nothing
 * leaks, outputs stay untouched, and the next attempt works. */
#include "fail_scenarios.h"

/* Alone, and with all after it. */
static void fail_allocations(scenario run, aftermath look)
{
    fail_each(run, look, CALL_ALLOC, ENOMEM, false);
    fail_each(run, look, CALL_ALLOC, ENOMEM, true);
}

/* ------------------------------------------------------------------ task sets */

static int build_list(void)
{
    facpool_tasks *list = UNTOUCHED(facpool_tasks);
    int rc = facpool_tasks_new(&list, &err);
    if (rc) {
        CHECK(list == UNTOUCHED(facpool_tasks));
        return rc;
    }
    size_t count = 0;
    for (size_t i = 0; !rc && i < N_TASKS; i++) {
        rc = facpool_tasks_add(list, dates[i / N_CODES], codes[i % N_CODES], &err);
        count += !rc;
    }
    CHECK_INT(facpool_tasks_count(list), count);
    int64_t more_dates[N_CODES];
    for (size_t i = 0; i < N_CODES; i++)
        more_dates[i] = -5;
    if (!rc) {
        rc = facpool_tasks_add_columns(list, N_CODES, more_dates, codes, &err);
        count += rc ? 0 : N_CODES;
    }
    CHECK_INT(facpool_tasks_count(list), count);
    for (size_t i = 0; i < count; i++) {
        int64_t date;
        const char *code;
        CHECK_OK(facpool_tasks_get(list, i, &date, &code, &err), err);
        CHECK(date == (i < N_TASKS ? dates[i / N_CODES] : -5));
        CHECK_TEXT(code, codes[i % N_CODES]);
    }
    facpool_tasks_free(list);
    return rc;
}

static int build_grid(void)
{
    facpool_tasks *grid = UNTOUCHED(facpool_tasks);
    int rc = facpool_tasks_grid(&grid, dates, N_DATES, codes, N_CODES, &err);
    if (rc)
        CHECK(grid == UNTOUCHED(facpool_tasks));
    else
        facpool_tasks_free(grid);
    return rc;
}

static int build_small_things(void)
{
    facpool_cancel *cancel = UNTOUCHED(facpool_cancel);
    facpool_console *console = UNTOUCHED(facpool_console);
    int rc = facpool_cancel_new(&cancel, &err);
    CHECK((rc != 0) == (cancel == UNTOUCHED(facpool_cancel)));
    if (rc)
        return rc;
    rc = facpool_console_new(&console, stderr, &err);
    CHECK((rc != 0) == (console == UNTOUCHED(facpool_console)));
    if (!rc)
        facpool_console_free(console);
    facpool_cancel_free(cancel);
    return rc;
}

static void task_sets_without_memory(void)
{
    fail_allocations(build_list, NULL);
    fail_allocations(build_grid, NULL);
    fail_allocations(build_small_things, NULL);
}

/* ------------------------------------------------------------------ runs */

static void runs_in_memory_without_memory(void)
{
    static const int32_t executors[] = {FACPOOL_EXECUTOR_SERIAL, WITH_THREADS};
    for (int i = 0; i < 2; i++) {
        choose_run(executors[i], false, 0);
        fail_allocations(run_once, NULL);
        choose_run(executors[i], true, 0);
        fail_allocations(run_once, NULL);
    }
    choose_run(WITH_THREADS, false, 0);
    fail_allocations(run_started, NULL);
    choose_run(WITH_THREADS, false, 0);
    fail_allocations(run_as_job, NULL);
}

static void runs_with_a_backup_without_memory(void)
{
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_NONE);
    fail_allocations(run_fresh, file_can_be_completed);
    choose_backup_run(WITH_THREADS, true, FACPOOL_RESULTS_KEEP, false, FACPOOL_DURABILITY_GROUP);
    fail_allocations(run_fresh, file_can_be_completed);
    inner_run = run_as_job;
    fail_allocations(run_fresh, file_can_be_completed);
}

static void resumes_without_memory(void)
{
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, FACPOOL_RESULTS_KEEP, true,
                      FACPOOL_DURABILITY_NONE);
    fail_allocations(run_resumed, file_can_be_completed);
    choose_backup_run(WITH_THREADS, true, 0, false, FACPOOL_DURABILITY_GROUP);
    fail_allocations(run_resumed, file_can_be_completed);
}

/* ------------------------------------------------------------------ a run's own allocator */

static atomic_long own_calls, own_fail_at, own_failed, own_outstanding;

static bool own_fails(void)
{
    bool fails = atomic_fetch_add(&own_calls, 1) + 1 == own_fail_at;
    own_failed += fails;
    return fails;
}

static void *own_alloc(void *ctx, size_t bytes)
{
    CHECK(ctx == &own_calls);
    void *memory = own_fails() ? NULL : malloc(bytes);
    own_outstanding += memory != NULL;
    return memory;
}

static void *own_realloc(void *ctx, void *memory, size_t bytes)
{
    (void)ctx;
    void *grown = own_fails() ? NULL : realloc(memory, bytes);
    own_outstanding += grown && !memory;
    return grown;
}

static void own_free(void *ctx, void *memory)
{
    (void)ctx;
    own_outstanding -= memory != NULL;
    free(memory);
}

static void fail_own_allocator(scenario run, aftermath look)
{
    facpool_allocator allocator = {sizeof allocator, own_alloc, own_realloc, own_free, &own_calls};
    scenario_options.allocator = &allocator;
    own_fail_at = 0;
    do {
        own_fail_at++;
        own_calls = 0;
        own_failed = 0;
        int rc = run();
        CHECK(rc == 0 || (rc == FACPOOL_E_NOMEM && own_failed));
        CHECK_INT(own_outstanding, 0);
        if (look)
            look(rc);
    } while (own_failed);
    CHECK(own_fail_at > 10);
    scenario_options.allocator = NULL;
}

static void runs_whose_own_allocator_fails(void)
{
    choose_run(FACPOOL_EXECUTOR_SERIAL, false, 0);
    fail_own_allocator(run_once, NULL);
    choose_run(WITH_THREADS, true, 0);
    fail_own_allocator(run_once, NULL);
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_NONE);
    fail_own_allocator(run_fresh, file_can_be_completed);
    choose_backup_run(WITH_THREADS, false, FACPOOL_RESULTS_KEEP, false, FACPOOL_DURABILITY_NONE);
    fail_own_allocator(run_resumed, file_can_be_completed);
}

/* ------------------------------------------------------------------ readers and writers */

static void questions_without_memory(void)
{
    unlink(path);
    complete_backup();
    fail_allocations(read_everything, NULL);
}

static void appends_without_memory(void)
{
    make_part();
    fail_allocations(append_rows, appended_rows_are_there);
}

static void repairs_without_memory(void)
{
    fail_allocations(repair_torn, repaired_or_as_it_was);
}

/* ------------------------------------------------------------------ threads */

/* What differs between formats: encoding, recovery, reading, repair. */
static void other_formats_without_memory(void)
{
    for (size_t i = 0; i < 2; i++) {
        choose_format(other_formats[i]);
        make_part();
        choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_NONE);
        fail_each(run_fresh, file_can_be_completed, CALL_ALLOC, ENOMEM, false);
        choose_backup_run(WITH_THREADS, true, FACPOOL_RESULTS_KEEP, false,
                          FACPOOL_DURABILITY_GROUP);
        fail_each(run_resumed, file_can_be_completed, CALL_ALLOC, ENOMEM, true);
        make_part();
        fail_each(append_rows, appended_rows_are_there, CALL_ALLOC, ENOMEM, true);
        fail_allocations(repair_torn, repaired_or_as_it_was);
        unlink(path);
        complete_backup();
        fail_allocations(read_everything, NULL);
    }
    choose_format(".fpb");
}

static void runs_that_get_no_thread(void)
{
    choose_run(WITH_THREADS, false, 0);
    fail_each(run_once, NULL, CALL_THREAD, EAGAIN, false);
    fail_each(run_started, NULL, CALL_THREAD, EAGAIN, false);
    choose_backup_run(WITH_THREADS, false, 0, false, FACPOOL_DURABILITY_GROUP);
    fail_each(run_fresh, file_can_be_completed, CALL_THREAD, EAGAIN, false);
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, false, FACPOOL_DURABILITY_GROUP);
    fail_each(run_fresh, file_can_be_completed, CALL_THREAD, EAGAIN, false);
}

/* ------------------------------------------------------------------ worker processes */

#ifdef __linux__

/* Calls fail in the test's own process alone: what its workers meet is theirs to survive. */
static void process_runs_without_memory(void)
{
    choose_run(FACPOOL_EXECUTOR_PROCESS, false, 0);
    fail_allocations(run_once, NULL);
    fail_allocations(run_started, NULL);
    choose_run(FACPOOL_EXECUTOR_PROCESS, true, 0);
    fail_each(run_once, NULL, CALL_ALLOC, ENOMEM, false);
    choose_backup_run(FACPOOL_EXECUTOR_PROCESS, false, FACPOOL_RESULTS_KEEP, false,
                      FACPOOL_DURABILITY_GROUP);
    fail_each(run_fresh, file_can_be_completed, CALL_ALLOC, ENOMEM, false);
    choose_backup_run(FACPOOL_EXECUTOR_PROCESS, true, 0, true, FACPOOL_DURABILITY_NONE);
    fail_each(run_fresh, file_can_be_completed, CALL_ALLOC, ENOMEM, true);
}

static void runs_that_get_no_process(void)
{
    choose_run(FACPOOL_EXECUTOR_PROCESS, false, 0);
    fail_each(run_once, NULL, CALL_PROCESS, EAGAIN, false);
    fail_each(run_started, NULL, CALL_PROCESS, EAGAIN, true);
    fail_each(run_once, NULL, CALL_THREAD, EAGAIN, false);
    choose_backup_run(FACPOOL_EXECUTOR_PROCESS, false, 0, false, FACPOOL_DURABILITY_GROUP);
    fail_each(run_fresh, file_can_be_completed, CALL_PROCESS, EAGAIN, false);
    fail_each(run_fresh, file_can_be_completed, CALL_THREAD, EAGAIN, false);
}

/* Workers and helper that get no memory, or no process: the run ends, one way or the other, with
 * every row right or missing. */
static void workers_without_memory(void)
{
    choose_run(FACPOOL_EXECUTOR_PROCESS, false, 0);
    CHECK_INT(run_once(), 0); /* makes what is made once */
    balance before = take_balance();
    for (long at = 1; at <= 40; at++)
        for (int kind = 0; kind < 4; kind++) {
            fail_call(kind < 2 ? CALL_ALLOC : CALL_PROCESS, at, kind % 2, ENOMEM);
            failing_process = -(int)getpid(); /* all others */
            facpool_result *result = NULL;
            int rc = facpool_run(tasks, &scenario_options, &result, &err);
            stop_failing();
            CHECK(rc == 0 || rc == FACPOOL_E_NOMEM || rc == FACPOOL_E_WORKER ||
                  rc == FACPOOL_E_SYSTEM || rc == FACPOOL_E_TASK);
            for (size_t i = 0; result && i < N_TASKS; i++) {
                int status = facpool_result_status(result)[i];
                CHECK(status == status_of(i) || status == FACPOOL_STATUS_CRASHED ||
                      (rc && status == FACPOOL_STATUS_NONE));
            }
            facpool_result_free(result);
            check_balance(&before);
        }
}

#endif

int main(void)
{
    if (!begin("alloc"))
        return EXIT_FAILURE;
    RUN(task_sets_without_memory);
    RUN(runs_in_memory_without_memory);
    RUN(runs_with_a_backup_without_memory);
    RUN(resumes_without_memory);
    RUN(runs_whose_own_allocator_fails);
    RUN(questions_without_memory);
    RUN(appends_without_memory);
    RUN(repairs_without_memory);
    RUN(other_formats_without_memory);
    RUN(runs_that_get_no_thread);
#ifdef __linux__
    RUN(process_runs_without_memory);
    RUN(runs_that_get_no_process);
    RUN(workers_without_memory);
#endif
    free_part();
    return end();
}
