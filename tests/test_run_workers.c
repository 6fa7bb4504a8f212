/* Proves who does the work of a run, beyond the numbered promises: state and places of workers,
 * jobs on foreign threads, uneven work that is shared, callbacks that run OpenMP themselves, runs
 * beside each other and beside their caller. Public header only. */
#include <pthread.h>
#include <sched.h>
#include "run_helpers.h"

static int32_t executor;

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

/* ------------------------------------------------------------------ */

static void run_all(int32_t which)
{
    executor = which;
    RUN(every_worker_has_its_own_state);
    RUN(workers_can_be_pinned);
    RUN(a_callback_may_run_openmp_itself);
    if (CAN_FORK_BUSY || which != FACPOOL_EXECUTOR_PROCESS)
        RUN(two_runs_at_once_work_over_one_task_set);
    RUN(a_started_run_is_polled_to_its_end);
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
