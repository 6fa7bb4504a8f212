/* Every allocation is refused in turn, also those of mapped files: the k-th, for every k, alone and
 * with all after it, in every public call that takes memory. Each then returns FACPOOL_E_NOMEM or
 * succeeds, nothing leaks, outputs stay untouched, the backup stays good, and the next attempt
 * works. What zstd and json-c take is refused in test_system_fail.c, and what worker processes take
 * in test_process_fail.c. */
#include "fail_outside.h"

#define NOMEM GIVES(FACPOOL_E_NOMEM)

static const injection alone = {CALL_ALLOC, FAIL_ALONE, ENOMEM, NOMEM, false};
static const injection and_all_after = {CALL_ALLOC, FAIL_ON, ENOMEM, NOMEM, false};
static const injection maps[] = {{CALL_MAP, FAIL_ALONE, ENOMEM, NOMEM, false},
                                 {CALL_MAP, FAIL_ON, ENOMEM, NOMEM, false}};

static void fail_allocations(trial t)
{
    fail_each(t, alone);
    fail_each(t, and_all_after);
    fail_each(t, maps[0]);
    fail_each(t, maps[1]);
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
    fail_allocations(TRIAL(build_list, NULL));
    fail_allocations(TRIAL(build_grid, NULL));
    fail_allocations(TRIAL(build_small_things, NULL));
    fail_allocations(TRIAL(tasks_from_arrow, NULL));
}

/* ------------------------------------------------------------------ runs */

static void runs_in_memory_without_memory(void)
{
    static const int32_t executors[] = {FACPOOL_EXECUTOR_SERIAL, WITH_THREADS};
    for (int i = 0; i < 2; i++) {
        choose_run(executors[i], false, 0);
        fail_allocations(TRIAL(run_once, NULL));
        choose_run(executors[i], true, 0);
        fail_allocations(TRIAL(run_once, NULL));
    }
    choose_run(WITH_THREADS, false, 0);
    fail_allocations(TRIAL(run_started, NULL));
    choose_run(WITH_THREADS, false, 0);
    fail_allocations(TRIAL(run_as_job, NULL));
}

static void runs_with_a_backup_without_memory(void)
{
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_NONE);
    fail_allocations(TRIAL(run_fresh, file_can_be_completed));
    choose_backup_run(WITH_THREADS, true, FACPOOL_RESULTS_KEEP, false, FACPOOL_DURABILITY_GROUP);
    fail_allocations(TRIAL(run_fresh, file_can_be_completed));
    inner_run = run_as_job;
    fail_allocations(TRIAL(run_fresh, file_can_be_completed));
}

static void resumes_without_memory(void)
{
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, FACPOOL_RESULTS_KEEP, true,
                      FACPOOL_DURABILITY_NONE);
    fail_allocations(TRIAL(run_resumed, file_can_be_completed));
    choose_backup_run(WITH_THREADS, true, 0, false, FACPOOL_DURABILITY_GROUP);
    fail_allocations(TRIAL(run_resumed, file_can_be_completed));
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

static void fail_own_allocator(trial t)
{
    facpool_allocator allocator = {sizeof allocator, own_alloc, own_realloc, own_free, &own_calls};
    scenario_options.allocator = &allocator;
    long n_calls = 0;
    own_fail_at = own_calls = 0;
    int first_rc = t.run();
    CHECK_INT(first_rc, 0);
    n_calls = own_calls;
    own_fail_at = 1 - step_of(n_calls);
    do {
        own_fail_at += step_of(n_calls);
        own_calls = 0;
        own_failed = 0;
        int rc = t.run();
        CHECK(rc == 0 || (rc == FACPOOL_E_NOMEM && own_failed));
        CHECK_INT(own_outstanding, 0);
        if (t.look)
            t.look(rc);
    } while (own_failed);
    CHECK(n_calls > 10);
    scenario_options.allocator = NULL;
}

static void runs_whose_own_allocator_fails(void)
{
    choose_run(FACPOOL_EXECUTOR_SERIAL, false, 0);
    fail_own_allocator(TRIAL(run_once, NULL));
    choose_run(WITH_THREADS, true, 0);
    fail_own_allocator(TRIAL(run_once, NULL));
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_NONE);
    fail_own_allocator(TRIAL(run_fresh, file_can_be_completed));
    choose_backup_run(WITH_THREADS, false, FACPOOL_RESULTS_KEEP, false, FACPOOL_DURABILITY_NONE);
    fail_own_allocator(TRIAL(run_resumed, file_can_be_completed));
}

/* ------------------------------------------------------------------ readers and writers */

static void questions_without_memory(void)
{
    remove_backup();
    complete_backup();
    fail_allocations(TRIAL(read_everything, NULL));
    fail_allocations(TRIAL(read_as_arrow, NULL));
    streams_copy = 1;
    fail_allocations(TRIAL(read_as_arrow, NULL));
    streams_copy = 0;
}

static void results_as_arrow_without_memory(void)
{
    choose_run(FACPOOL_EXECUTOR_SERIAL, false, 0);
    fail_allocations(TRIAL(run_to_arrow, NULL));
}

static void appends_without_memory(void)
{
    make_part();
    fail_allocations(TRIAL(append_rows, appended_rows_are_there));
}

static void repairs_without_memory(void)
{
    fail_allocations(TRIAL(repair_torn, repaired_or_as_it_was));
}

/* ------------------------------------------------------------------ a store of one's own */

static void own_stores_without_memory(void)
{
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_allocations(TRIAL(run_with_own_store, store_has_what_was_written));
    choose_backup_run(WITH_THREADS, true, 0, false, FACPOOL_DURABILITY_BATCH);
    fail_allocations(TRIAL(run_with_own_store, store_has_what_was_written));
    scenario_backup.sink = NULL;
    CHECK_INT(run_with_own_store(), 0);
    fail_allocations(TRIAL(read_own_store, NULL));
}

/* ------------------------------------------------------------------ formats */

static void overwriting_without_memory(void)
{
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_NONE);
    fail_allocations(TRIAL(run_overwriting, file_can_be_completed));
}

/* What differs between formats: encoding, recovery, reading, repair. */
static void other_format_without_memory(void)
{
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_NONE);
    fail_each(TRIAL(run_fresh, file_can_be_completed), alone);
    choose_backup_run(WITH_THREADS, true, FACPOOL_RESULTS_KEEP, false, FACPOOL_DURABILITY_GROUP);
    fail_allocations(TRIAL(run_resumed, file_can_be_completed));
    make_part();
    fail_allocations(TRIAL(append_rows, appended_rows_are_there));
    fail_allocations(TRIAL(repair_torn, repaired_or_as_it_was));
}

/* ------------------------------------------------------------------ worker processes */

/* Calls fail in the test's own process alone: what its workers meet is theirs to survive. */
static void process_runs_without_memory(void)
{
    choose_run(FACPOOL_EXECUTOR_PROCESS, false, 0);
    fail_allocations(TRIAL(run_once, NULL));
    fail_allocations(TRIAL(run_started, NULL));
    choose_run(FACPOOL_EXECUTOR_PROCESS, true, 0);
    fail_each(TRIAL(run_once, NULL), alone);
    choose_backup_run(FACPOOL_EXECUTOR_PROCESS, false, FACPOOL_RESULTS_KEEP, false,
                      FACPOOL_DURABILITY_GROUP);
    fail_each(TRIAL(run_fresh, file_can_be_completed), alone);
    choose_backup_run(FACPOOL_EXECUTOR_PROCESS, true, 0, true, FACPOOL_DURABILITY_NONE);
    fail_each(TRIAL(run_fresh, file_can_be_completed), and_all_after);
}

/* ------------------------------------------------------------------ all of it */

static void other_format(const char *suffix)
{
    choose_format(suffix);
    printf("%s\n", file_name);
    RUN_FAILING(other_format_without_memory);
    RUN_FAILING(overwriting_without_memory);
    RUN_FAILING(questions_without_memory);
}

int main(void)
{
    static const call_kind kinds[] = {CALL_ALLOC, CALL_MAP};
    if (!begin("alloc"))
        return EXIT_FAILURE;
    most_failing = of_tier(20, UINT_MAX, UINT_MAX);
    RUN_FAILING(task_sets_without_memory);
    RUN_FAILING(runs_in_memory_without_memory);
    RUN_FAILING(runs_with_a_backup_without_memory);
    RUN_FAILING(resumes_without_memory);
    RUN_FAILING(runs_whose_own_allocator_fails);
    RUN_FAILING(questions_without_memory);
    RUN_FAILING(results_as_arrow_without_memory);
    RUN_FAILING(appends_without_memory);
    RUN_FAILING(repairs_without_memory);
    RUN_FAILING(overwriting_without_memory);
    RUN_FAILING(own_stores_without_memory);
    RUN_FAILING(process_runs_without_memory);
    for (size_t i = 1; i < N_FORMATS; i++)
        other_format(all_formats[i]);
    end_world();
    return END_FAILING(kinds);
}
