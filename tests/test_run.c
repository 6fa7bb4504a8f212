/* Proves what runs do beyond the numbered promises: executors, jobs on foreign threads, groups,
 * attempts, worker state, stopping rules, nesting, progress display. Public header only. */
#include <pthread.h>
#include <sched.h>
#include "run_helpers.h"

#ifdef _OPENMP
#include <omp.h>
#endif

static int32_t executor;

static facpool_result *run_ok(facpool_tasks *tasks, facpool_run_options *options)
{
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, options, &result, &err), err);
    return result;
}

/* ------------------------------------------------------------------ task sets */

static void duplicates_are_refused_by_name_when_the_run_starts(void)
{
    work *w = SHARED(work, 0);
    facpool_run_options options = make_options(w, executor);
    facpool_result *result = NULL;
    facpool_tasks *list = make_list(10, 10);
    CHECK_OK(facpool_tasks_add(list, 20240105, "000003", &err), err);
    CHECK_INT(facpool_run(list, &options, &result, &err), FACPOOL_E_DUPLICATE);
    CHECK_INT(err.date, 20240105);
    CHECK_TEXT(err.task_code, "000003");
    facpool_tasks_free(list);
    const int64_t dates[] = {3, 1, 3};
    const char *codes[] = {"b", "a"}, *twice[] = {"x", "y", "x"};
    facpool_tasks *grid = NULL;
    CHECK_OK(facpool_tasks_grid(&grid, dates, 3, codes, 2, &err), err);
    CHECK_INT(facpool_run(grid, &options, &result, &err), FACPOOL_E_DUPLICATE);
    CHECK_INT(err.date, 3);
    facpool_tasks_free(grid);
    CHECK_OK(facpool_tasks_grid(&grid, dates, 2, twice, 3, &err), err);
    CHECK_INT(facpool_run(grid, &options, &result, &err), FACPOOL_E_DUPLICATE);
    CHECK_TEXT(err.task_code, "x");
    facpool_tasks_free(grid);
    CHECK_INT(atomic_load(&w->calls), 0);
}

static void empty_sets_run_to_an_empty_result(void)
{
    work *w = SHARED(work, 0);
    for (int32_t group = 1; group <= 3; group++) {
        facpool_run_options options = make_options(w, executor);
        options.group_by = group;
        options.backup_path = fresh_path();
        facpool_tasks *list = NULL, *grid = NULL;
        CHECK_OK(facpool_tasks_new(&list, &err), err);
        facpool_result *result = run_ok(list, &options);
        CHECK_INT(facpool_result_count(result), 0);
        facpool_result_free(result);
        facpool_tasks_free(list);
        const char *codes[] = {"a"};
        CHECK_OK(facpool_tasks_grid(&grid, NULL, 0, codes, 1, &err), err);
        options.backup_path = NULL;
        result = run_ok(grid, &options);
        CHECK_INT(report_of(result).total, 0);
        facpool_result_free(result);
        facpool_tasks_free(grid);
    }
}

static void a_task_set_is_frozen_while_a_result_holds_it(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_list(3, 3);
    facpool_run_options options = make_options(w, executor);
    facpool_result *result = run_ok(tasks, &options);
    CHECK_INT(facpool_tasks_add(tasks, 1, "a", &err), FACPOOL_E_STATE);
    facpool_result_free(result);
    CHECK_OK(facpool_tasks_add(tasks, 1, "a", &err), err);
    result = run_ok(tasks, &options);
    facpool_tasks_free(tasks); /* the result keeps it alive */
    check_result(result, w);
    facpool_result_free(result);
}

static void extreme_dates_and_unsorted_axes_come_back_in_place(void)
{
    const int64_t dates[] = {INT64_MAX, -5, INT64_MIN, 0, 20240101};
    const char *codes[] = {"z", "a", "\xe4\xb8\xad", "aa", "B"};
    work *w = SHARED(work, 0);
    for (int32_t group = 1; group <= 3; group++) {
        facpool_tasks *grid = NULL;
        CHECK_OK(facpool_tasks_grid(&grid, dates, 5, codes, 5, &err), err);
        facpool_run_options options = make_options(w, executor);
        options.group_by = group;
        options.backup_path = fresh_path();
        options.results = group == 2 ? FACPOOL_RESULTS_KEEP : 0;
        facpool_result *result = run_ok(grid, &options);
        check_result(result, w);
        for (size_t i = 0; i < 25; i++) {
            CHECK_INT(facpool_result_dates(result)[i], dates[i / 5]);
            CHECK_TEXT(facpool_result_code(result, i), codes[i % 5]);
        }
        facpool_result_free(result);
        facpool_tasks_free(grid);
    }
}

/* ------------------------------------------------------------------ options */

static void wrong_options_are_named(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(2, 2);
    facpool_result *result = NULL;
    const char *twice[] = {"a", "a", "b"}, *fixed[] = {"a", "date", "b"};
    facpool_run_options good = make_options(w, executor), bad;
#define REFUSED(change, code)                                                                      \
    do {                                                                                           \
        bad = good;                                                                                \
        change;                                                                                    \
        err.message[0] = 0;                                                                        \
        CHECK_INT(facpool_run(tasks, &bad, &result, &err), code);                                  \
        CHECK(err.message[0] && !result);                                                          \
    } while (0)
    REFUSED(bad.fn = NULL, FACPOOL_E_INVALID);
    REFUSED(bad.batch_fn = batch_fn, FACPOOL_E_INVALID);
    REFUSED(bad.n_factors = 0, FACPOOL_E_INVALID);
    REFUSED(bad.n_factors = 65536, FACPOOL_E_INVALID);
    REFUSED(bad.factor_names = twice, FACPOOL_E_INVALID);
    REFUSED(bad.factor_names = fixed, FACPOOL_E_INVALID);
    REFUSED(bad.executor = 9, FACPOOL_E_INVALID);
    if (executor != FACPOOL_EXECUTOR_PROCESS)
        REFUSED(bad.task_timeout_ms = 5, FACPOOL_E_UNSUPPORTED);
    REFUSED(bad.group_by = -1, FACPOOL_E_INVALID);
    REFUSED(bad.results = 3, FACPOOL_E_INVALID);
    REFUSED(bad.on_error = 3, FACPOOL_E_INVALID);
    REFUSED(bad.backup_path = "/no/such/folder/x.fpb", FACPOOL_E_NOT_FOUND);
#undef REFUSED
    CHECK_INT(facpool_run(NULL, &good, &result, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_run(tasks, NULL, &result, &err), FACPOOL_E_INVALID);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ failing */

typedef struct flaky {
    atomic_uint calls;
    atomic_uint not_nan; /* factors that did not arrive as NaN */
    uint32_t good_at;    /* the attempt that goes well */
} flaky;

static int flaky_fn(const facpool_task *task, double *factors, void *user)
{
    flaky *f = user;
    atomic_fetch_add(&f->calls, 1);
    atomic_fetch_add(&f->not_nan, !isnan(factors[0]) || !isnan(factors[1]));
    factors[0] = 5;
    if (task->index % 3 || task->attempt >= f->good_at)
        return 0;
    return facpool_task_fail(task, 3, task->attempt == 1 ? "first" : "later");
}

static void attempts_are_made_and_the_last_one_counts(void)
{
    facpool_tasks *tasks = make_grid(3, 10);
    for (uint32_t attempts = 1; attempts <= 3; attempts++) {
        flaky *f = SHARED(flaky, .good_at = 3);
        facpool_run_options options = make_options(NULL, executor);
        options.fn = flaky_fn;
        options.user = f;
        options.attempts = attempts;
        facpool_result *result = run_ok(tasks, &options);
        CHECK_INT(report_of(result).failed, attempts < 3 ? 10 : 0);
        CHECK_INT(atomic_load(&f->calls), 20 + 10 * attempts);
        CHECK_INT(atomic_load(&f->not_nan), 0);
        if (attempts == 2)
            CHECK_TEXT(report_of(result).failures[0].message, "later");
        CHECK(isnan(facpool_result_factor(result, 0)[0]) == (attempts < 3));
        facpool_result_free(result);
    }
    facpool_tasks_free(tasks);
}

/* Fails the whole slice when one of its tasks is bad. */
static int all_or_nothing(const facpool_slice *slice, double *factors, void *user)
{
    work *w = user;
    bool bad = false;
    for (size_t i = 0; i < slice->n; i++) {
        bad = bad || is_hit(slice->dates[i], slice->codes[i], w->fail_every, 2);
        for (size_t f = 0; f < FACTORS; f++)
            factors[i * FACTORS + f] = value_of(slice->dates[i], slice->codes[i], f);
    }
    return bad ? 7 : 0;
}

static void one_bad_task_of_a_failing_slice_costs_one_row(void)
{
    work *w = SHARED(work, .fail_every = 40);
    facpool_tasks *tasks = make_grid(50, 50);
    facpool_run_options options = make_options(w, executor);
    options.fn = NULL;
    options.batch_fn = all_or_nothing;
    facpool_result *result = run_ok(tasks, &options);
    check_result(result, w);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void a_failing_group_fails_whole(void)
{
    work *w = SHARED(work, .fail_every = 150);
    facpool_tasks *tasks = make_list(20, 20);
    facpool_run_options options = make_options(w, executor);
    options.fn = NULL;
    options.batch_fn = all_or_nothing;
    options.group_by = FACPOOL_GROUP_DATE;
    facpool_result *result = run_ok(tasks, &options);
    size_t failed = 0;
    bool bad_date[20] = {false};
    for (size_t i = 0; i < 400; i++) {
        int64_t date = facpool_result_dates(result)[i];
        bad_date[date - 20240101] |= is_hit(date, facpool_result_code(result, i), 150, 2);
    }
    for (size_t i = 0; i < 400; i++) {
        bool is_failed = facpool_result_status(result)[i] == FACPOOL_STATUS_FAILED;
        CHECK_INT(is_failed, bad_date[facpool_result_dates(result)[i] - 20240101]);
        failed += is_failed;
    }
    CHECK(failed > 0 && failed < 400 && failed % 20 == 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void a_run_whose_first_tasks_all_fail_stops(void)
{
    work *w = SHARED(work, .fail_every = 1);
    facpool_tasks *tasks = make_grid(100, 100);
    facpool_run_options options = make_options(w, executor);
    facpool_result *result = NULL;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_TASK);
    CHECK(strstr(err.message, "all failed") && strstr(err.message, "told to fail"));
    CHECK(atomic_load(&w->calls) >= 100 && atomic_load(&w->calls) < 400);
    facpool_result_free(result);
    options.stop_if_first_fail = 5;
    result = NULL;
    atomic_store(&w->calls, 0);
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_TASK);
    CHECK(atomic_load(&w->calls) < 20);
    facpool_result_free(result);
    options.no_stop_if_first_fail = 1;
    atomic_store(&w->calls, 0);
    result = run_ok(tasks, &options);
    CHECK_INT(report_of(result).failed, 10000);
    facpool_result_free(result);
    w->fail_every = 0;
    w->skip_every = 1; /* skips are no failures */
    options.no_stop_if_first_fail = 0;
    result = run_ok(tasks, &options);
    CHECK_INT(report_of(result).skipped, 10000);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ numbers of codes */

/* What was seen of each code's number. */
typedef struct numbering {
    size_t n_codes;
    _Atomic uint64_t hash_of[64]; /* of the code with that number */
    atomic_bool broken;
} numbering;

static void note_number(numbering *n, uint32_t number, const char *code)
{
    uint64_t hash = key_hash(0, code), seen = 0;
    if (number >= n->n_codes ||
        (!atomic_compare_exchange_strong(&n->hash_of[number], &seen, hash) && seen != hash))
        atomic_store(&n->broken, true);
}

static int number_task(const facpool_task *task, double *factors, void *user)
{
    note_number(user, task->code_number, task->code);
    factors[0] = 1;
    return 0;
}

static int number_slice(const facpool_slice *slice, double *factors, void *user)
{
    for (size_t i = 0; i < slice->n; i++) {
        note_number(user, slice->code_numbers[i], slice->codes[i]);
        factors[i * FACTORS] = 1;
    }
    return 0;
}

static void codes_have_numbers_that_stay_all_through_a_run(void)
{
    for (int variant = 0; variant < 12; variant++) {
        numbering *n = SHARED(numbering, 0);
        facpool_tasks *tasks = variant % 2 ? make_list(30, 40) : make_grid(30, 40);
        facpool_run_options options = make_options(NULL, executor);
        options.fn = variant % 4 < 2 ? number_task : NULL;
        options.batch_fn = variant % 4 < 2 ? NULL : number_slice;
        options.group_by = 1 + variant / 4;
        options.user = n;
        CHECK_INT(facpool_tasks_n_codes(tasks), 40);
        n->n_codes = 40;
        facpool_result_free(run_ok(tasks, &options));
        CHECK(!atomic_load(&n->broken));
        for (size_t i = 0; i < 40; i++)
            CHECK(atomic_load(&n->hash_of[i]));
        facpool_tasks_free(tasks);
    }
}

/* ------------------------------------------------------------------ workers */

typedef struct worker_work {
    atomic_int inits;
    atomic_int exits;
    atomic_bool broken;
    int states[64];
} worker_work;

static int init_worker(uint32_t worker, void **state, void *user)
{
    worker_work *w = user;
    atomic_fetch_add(&w->inits, 1);
    w->states[worker]++;
    *state = &w->states[worker];
    return 0;
}

static void exit_worker(uint32_t worker, void *state, void *user)
{
    worker_work *w = user;
    if (state != &w->states[worker])
        atomic_store(&w->broken, true);
    atomic_fetch_add(&w->exits, 1);
}

static int count_in_state(const facpool_task *task, double *factors, void *user)
{
    worker_work *w = user;
    if (task->worker_state != &w->states[task->worker])
        atomic_store(&w->broken, true);
    ++*(int *)task->worker_state; /* nobody else's: a race here is a bug that TSan sees */
    factors[0] = 1;
    return 0;
}

static int refuse_worker(uint32_t worker, void **state, void *user)
{
    (void)worker;
    (void)state;
    (void)user;
    return 42;
}

static void every_worker_has_its_own_state(void)
{
    worker_work *w = SHARED(worker_work, 0);
    facpool_tasks *tasks = make_grid(100, 100);
    facpool_run_options options = make_options(NULL, executor);
    options.fn = count_in_state;
    options.user = w;
    options.worker_init = init_worker;
    options.worker_exit = exit_worker;
    facpool_result *result = run_ok(tasks, &options);
    int seen = 0;
    for (int i = 0; i < 64; i++)
        seen += w->states[i];
    CHECK_INT(seen, 10000 + (int)report_of(result).workers);
    CHECK_INT(atomic_load(&w->inits), report_of(result).workers);
    CHECK_INT(atomic_load(&w->exits), report_of(result).workers);
    CHECK(!atomic_load(&w->broken));
    facpool_result_free(result);
    options.worker_init = refuse_worker;
    result = NULL;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_TASK);
    CHECK(strstr(err.message, "42") && report_of(result).not_run == 10000);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void workers_can_be_pinned(void)
{
    work *w = SHARED(work, 0);
    int32_t cpus[] = {0}, none[] = {100000};
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = make_options(w, executor);
    options.cpus = cpus;
    options.n_cpus = 1;
    facpool_result *result = run_ok(tasks, &options);
    check_result(result, w);
    facpool_result_free(result);
    options.cpus = none;
    result = NULL;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "100000"));
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ jobs on foreign threads */

#define POOL 4

typedef struct pool {
    facpool_job *job;
    work *w;
    uint32_t next_worker;
    pthread_mutex_t mutex;
    atomic_bool failed;
} pool;

static void *pool_thread(void *arg)
{
    pool *p = arg;
    pthread_mutex_lock(&p->mutex);
    uint32_t worker = p->next_worker++;
    pthread_mutex_unlock(&p->mutex);
    facpool_slice slice = FACPOOL_SLICE_INIT;
    double *factors;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc;
    while ((rc = facpool_job_take(p->job, worker, &slice, &factors, &error)) > 0) {
        rc = batch_fn(&slice, factors, p->w);
        if (facpool_job_complete(p->job, &slice, rc, &error))
            atomic_store(&p->failed, true);
    }
    if (rc < 0)
        atomic_store(&p->failed, true);
    return NULL;
}

static void a_job_runs_on_a_plain_pthread_pool(void)
{
    for (int32_t group = 1; group <= 3; group++) {
        work *w = SHARED(work, .fail_every = 30, .skip_every = 40);
        facpool_tasks *tasks = group == 2 ? make_list(60, 50) : make_grid(60, 50);
        facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
        options.n_factors = FACTORS;
        options.workers = POOL;
        options.group_by = group;
        options.backup_path = fresh_path();
        pool p = {.w = w, .mutex = PTHREAD_MUTEX_INITIALIZER};
        CHECK_OK(facpool_job_open(&p.job, tasks, &options, &err), err);
        pthread_t threads[POOL];
        for (int i = 0; i < POOL; i++)
            CHECK_INT(pthread_create(&threads[i], NULL, pool_thread, &p), 0);
        for (int i = 0; i < POOL; i++)
            pthread_join(threads[i], NULL);
        CHECK(!atomic_load(&p.failed));
        facpool_progress progress = FACPOOL_PROGRESS_INIT;
        CHECK_INT(facpool_job_progress(p.job, &progress), 0);
        CHECK_INT(progress.done, 3000);
        facpool_result *result = NULL;
        CHECK_OK(facpool_job_finish(p.job, &result, &err), err);
        check_result(result, w);
        CHECK_INT(count_rows(options.backup_path, FACPOOL_STATUS_ALL), 3000);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

static void a_job_minds_its_states(void)
{
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.n_factors = FACTORS;
    facpool_job *job = NULL;
    CHECK_INT(facpool_job_open(&job, tasks, &options, &err), FACPOOL_E_INVALID);
    options.workers = 2;
    CHECK_OK(facpool_job_open(&job, tasks, &options, &err), err);
    facpool_slice slice = FACPOOL_SLICE_INIT, again = FACPOOL_SLICE_INIT;
    double *factors;
    CHECK_INT(facpool_job_take(job, 2, &slice, &factors, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_job_take(job, 0, &slice, &factors, &err), 1);
    CHECK(isnan(factors[0]));
    CHECK_INT(facpool_job_take(job, 0, &again, &factors, &err), FACPOOL_E_STATE);
    CHECK_OK(facpool_job_complete(job, &slice, FACPOOL_SKIP, &err), err);
    CHECK_INT(facpool_job_complete(job, &slice, 0, &err), FACPOOL_E_STATE);
    CHECK_INT(facpool_job_take(job, 1, &slice, &factors, &err), 1);
    facpool_job_cancel(job);
    CHECK_INT(facpool_job_take(job, 0, &again, &factors, &err), 0);
    facpool_result *result = NULL;
    CHECK_INT(facpool_job_finish(job, &result, &err), FACPOOL_E_CANCELLED);
    facpool_report r = report_of(result);
    CHECK(r.skipped > 0 && r.not_run == 100 - r.skipped && r.ok == 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ uneven work */

typedef struct uneven {
    atomic_bool others_done;
    atomic_int left;
    bool timed_out;
} uneven;

/* The first task waits for all others: were any of them stuck behind it in the same chunk, or its
 * chunk not shared, they could not all finish. */
static int first_waits(const facpool_task *task, double *factors, void *user)
{
    uneven *u = user;
    factors[0] = 1;
    if (task->index != 0) {
        if (atomic_fetch_sub(&u->left, 1) == 1)
            atomic_store(&u->others_done, true);
        return 0;
    }
    for (int i = 0; i < 3000 && !atomic_load(&u->others_done); i++) {
        pause_ms(10);
    }
    u->timed_out = !atomic_load(&u->others_done);
    return 0;
}

/* It takes a second worker. */
static void tasks_are_not_stuck_behind_a_long_one(void)
{
    if (executor == FACPOOL_EXECUTOR_SERIAL)
        return;
    facpool_tasks *tasks = make_grid(100, 100);
    uneven *u = SHARED(uneven, .left = 9999);
    facpool_run_options options = make_options(NULL, executor);
    options.fn = first_waits;
    options.user = u;
    facpool_result *result = run_ok(tasks, &options);
    CHECK(!u->timed_out);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ nesting and company */

static int nested_fn(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    int sum = 0;
#ifdef _OPENMP
#pragma omp parallel for num_threads(2) reduction(+ : sum)
#endif
    for (int i = 0; i < 10; i++)
        sum += i;
    factors[0] = sum + (double)task->index;
    return 0;
}

static void a_callback_may_run_openmp_itself(void)
{
    facpool_tasks *tasks = make_grid(20, 20);
    facpool_run_options options = make_options(NULL, executor);
    options.fn = nested_fn;
    facpool_result *result = run_ok(tasks, &options);
    for (size_t i = 0; i < 400; i++)
        CHECK(facpool_result_factor(result, 0)[i] == 45 + (double)i);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void *run_beside(void *arg)
{
    work w = {.fail_every = 29}; /* what it counts is of no interest */
    facpool_run_options options = make_options(&w, executor);
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    int rc = facpool_run(arg, &options, &result, &error);
    bool good = rc == 0 && facpool_result_n_failures(result) > 0;
    facpool_result_free(result);
    return good ? arg : NULL;
}

static void two_runs_at_once_work_over_one_task_set(void)
{
    facpool_tasks *tasks = make_list(100, 100);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, run_beside, tasks), 0);
    for (int i = 0; i < 2; i++) {
        void *answer;
        pthread_join(threads[i], &answer);
        CHECK(answer == tasks);
    }
    facpool_tasks_free(tasks);
}

static void a_started_run_is_polled_to_its_end(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(300, 300);
    facpool_run_options options = make_options(w, executor);
    facpool_run_handle *run = NULL;
    facpool_progress progress = FACPOOL_PROGRESS_INIT;
    CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
    int over;
    while (!(over = facpool_run_poll(run, &progress, &err)))
        sched_yield();
    CHECK_INT(over, 1);
    CHECK_INT(progress.done, 90000);
    facpool_result *result = NULL;
    CHECK_OK(facpool_run_wait(run, &result, &err), err);
    check_result(result, w);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ rows without a thread */

static void without_a_writer_thread_workers_write(void)
{
    work *w = SHARED(work, .fail_every = 50);
    for (int32_t durability = 1; durability <= 3; durability++) {
        facpool_tasks *tasks = make_grid(100, 200);
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        backup.path = fresh_path();
        backup.no_async = 1;
        backup.durability = durability;
        facpool_run_options options = make_options(w, executor);
        options.backup = &backup;
        facpool_result *result = run_ok(tasks, &options);
        check_result(result, w);
        CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), 20000);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

static void a_result_can_be_queried_like_a_file(void)
{
    work *w = SHARED(work, .fail_every = 20, .skip_every = 30);
    for (int variant = 0; variant < 4; variant++) {
        facpool_tasks *tasks = variant % 2 ? make_list(30, 40) : make_grid(30, 40);
        facpool_run_options options = make_options(w, executor);
        options.group_by = variant < 2 ? FACPOOL_GROUP_NONE : FACPOOL_GROUP_CODE;
        facpool_result *result = run_ok(tasks, &options);
        const char *codes[] = {"000007", "000031", "nobody"};
        int64_t from = 20240105;
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.codes = codes;
        filter.n_codes = 3;
        filter.date_min = &from;
        filter.statuses = FACPOOL_STATUS_ALL;
        filter.order = FACPOOL_ORDER_KEY;
        facpool_cursor *cursor = NULL;
        facpool_row row = FACPOOL_ROW_INIT;
        CHECK_OK(facpool_result_query(result, &filter, &cursor, &err), err);
        size_t n = 0;
        while (facpool_cursor_next(cursor, &row, &err) > 0) {
            CHECK_INT(row.date, 20240105 + (int64_t)n / 2);
            CHECK_TEXT(row.code, codes[n % 2]);
            CHECK_INT(row.status, expected_status(w, row.date, row.code));
            CHECK(row.timestamp > INT64_C(1700000000000000));
            if (row.status == FACPOOL_STATUS_OK)
                CHECK(same_bits(row.factors[2], value_of(row.date, row.code, 2)));
            if (row.status == FACPOOL_STATUS_FAILED)
                CHECK_TEXT(row.message, "the task was told to fail");
            n++;
        }
        CHECK_INT(n, 52);
        facpool_cursor_free(cursor);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

/* ------------------------------------------------------------------ the console */

static void the_console_writes_plain_lines_to_the_stream_it_is_given(void)
{
    work *w = SHARED(work, .fail_every = 60, .skip_every = 50);
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    facpool_console *console = NULL;
    CHECK_OK(facpool_console_new(&console, stream, &err), err);
    facpool_tasks *tasks = make_grid(20, 20);
    facpool_run_options options = make_options(w, executor);
    options.progress = facpool_console_progress;
    options.progress_user = console;
    options.progress_interval_ms = 1;
    facpool_result_free(run_ok(tasks, &options));
    facpool_console_free(console);
    fclose(stream);
    CHECK(strstr(text, "100.0 %") && strstr(text, "400/400 done") && strstr(text, "failed"));
    CHECK(strstr(text, "skipped") && strstr(text, "/s") && strstr(text, "took"));
    CHECK(!strchr(text, '\r'));
    CHECK(text[size - 1] == '\n');
    free(text);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ */

static void run_all(int32_t which)
{
    executor = which;
    RUN(duplicates_are_refused_by_name_when_the_run_starts);
    RUN(empty_sets_run_to_an_empty_result);
    RUN(a_task_set_is_frozen_while_a_result_holds_it);
    RUN(extreme_dates_and_unsorted_axes_come_back_in_place);
    RUN(wrong_options_are_named);
    RUN(attempts_are_made_and_the_last_one_counts);
    RUN(one_bad_task_of_a_failing_slice_costs_one_row);
    RUN(a_failing_group_fails_whole);
    RUN(a_run_whose_first_tasks_all_fail_stops);
    RUN(codes_have_numbers_that_stay_all_through_a_run);
    RUN(every_worker_has_its_own_state);
    RUN(workers_can_be_pinned);
    RUN(a_callback_may_run_openmp_itself);
    RUN(two_runs_at_once_work_over_one_task_set);
    RUN(a_started_run_is_polled_to_its_end);
    RUN(without_a_writer_thread_workers_write);
    RUN(a_result_can_be_queried_like_a_file);
    RUN(the_console_writes_plain_lines_to_the_stream_it_is_given);
    RUN(tasks_are_not_stuck_behind_a_long_one);
}

int main(void)
{
    make_folder();
    RUN(a_job_runs_on_a_plain_pthread_pool);
    RUN(a_job_minds_its_states);
    for_each_executor(run_all);
    remove_folder();
    return TEST_END();
}
