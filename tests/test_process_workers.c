/* Proves how worker processes come and go: worker_init and worker_exit, workers that are replaced
 * when they are old or have eaten too much, runs that are cancelled or killed; and that nothing is
 * too long or too wide for what is shared with them. Public header only; Linux. */
#include "process_helpers.h"

/* ------------------------------------------------------------------ worker_init */

typedef struct entering {
    atomic_int inits;
    atomic_int exits;
    int die_until; /* so many inits kill their worker */
    int fail_at;   /* the so-manyth returns 42 */
    bool die_in_exit;
} entering;

static int enter(uint32_t worker, void **state, void *user)
{
    entering *e = user;
    int n = atomic_fetch_add(&e->inits, 1) + 1;
    *state = (void *)(uintptr_t)(worker + 1);
    if (n <= e->die_until)
        die_by_abort();
    return n == e->fail_at ? 42 : 0;
}

static void leave(uint32_t worker, void *state, void *user)
{
    entering *e = user;
    if (state == (void *)(uintptr_t)(worker + 1))
        atomic_fetch_add(&e->exits, 1);
    if (e->die_in_exit)
        die_by_abort();
}

static int take_a_while(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(task->date, task->code, f);
    pause_ms(1);
    return 0;
}

static facpool_run_options entering_options(entering *e)
{
    facpool_run_options options = process_options(NULL);
    options.fn = take_a_while;
    options.user = e;
    options.worker_init = enter;
    options.worker_exit = leave;
    return options;
}

static void workers_that_die_before_they_work_end_the_run(void)
{
    entering *e = SHARED(entering, .die_until = INT32_MAX);
    facpool_tasks *tasks = make_grid(20, 20);
    facpool_run_options options = entering_options(e);
    options.backup_path = fresh_path();
    belongings before = take_stock();
    facpool_result *result = run_to_end(tasks, &options, FACPOOL_E_WORKER);
    CHECK(strstr(err.message, "SIGABRT"));
    CHECK(result && report_of(result).not_run == 400);
    CHECK(atomic_load(&e->inits) < 100 && atomic_load(&e->exits) == 0);
    facpool_result_free(result);
    check_stock(&before);
    facpool_tasks_free(tasks);
}

static void a_worker_that_dies_before_it_works_is_replaced(void)
{
    entering *e = SHARED(entering, .die_until = 1);
    work none = {0};
    facpool_tasks *tasks = make_grid(20, 20);
    facpool_run_options options = entering_options(e);
    facpool_result *result = run_to_end(tasks, &options, 0);
    check_result(result, &none);
    CHECK_INT(atomic_load(&e->exits), atomic_load(&e->inits) - 1);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void a_failing_worker_init_of_a_replaced_worker_ends_the_run(void)
{
    entering *e = SHARED(entering, .fail_at = 6);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    facpool_tasks *tasks = make_grid(20, 20);
    facpool_run_options options = entering_options(e);
    process.tasks_per_worker = 10;
    options.process = &process;
    facpool_result *result = run_to_end(tasks, &options, FACPOOL_E_TASK);
    CHECK(strstr(err.message, "42"));
    facpool_report r = report_of(result);
    CHECK(r.ok > 0 && r.not_run > 0 && r.ok + r.not_run == 400);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void a_worker_that_dies_in_worker_exit_is_nobodys_fault(void)
{
    entering *e = SHARED(entering, .die_in_exit = true);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    work none = {0};
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = entering_options(e);
    process.tasks_per_worker = 20;
    options.process = &process;
    facpool_result *result = run_to_end(tasks, &options, 0);
    check_result(result, &none);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ replacing workers */

#define PIDS_MAX 256

typedef struct census {
    atomic_int lock;
    atomic_int n_pids;
    int pids[PIDS_MAX];
    atomic_int tasks[PIDS_MAX]; /* each worker did */
    atomic_int inits;
    atomic_int exits;
    size_t eats; /* bytes a task keeps */
} census;

static void count_me(census *c)
{
    int me = (int)getpid(), n, i;
    while (atomic_exchange(&c->lock, 1))
        sched_yield();
    n = atomic_load(&c->n_pids);
    for (i = 0; i < n && c->pids[i] != me; i++)
        ;
    if (i == n && n < PIDS_MAX) {
        c->pids[n] = me;
        atomic_store(&c->n_pids, n + 1);
    }
    atomic_fetch_add(&c->tasks[i < PIDS_MAX ? i : PIDS_MAX - 1], 1);
    atomic_store(&c->lock, 0);
}

static void *volatile eaten; /* keeps what is kept from being optimised away */

static int be_counted(const facpool_task *task, double *factors, void *user)
{
    census *c = user;
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(task->date, task->code, f);
    count_me(c);
    if (c->eats) {
        void **food = malloc(c->eats);
        memset(food, 1, c->eats);
        food[0] = eaten; /* so that nothing is lost track of */
        eaten = food;
    }
    return 0;
}

static int enter_census(uint32_t worker, void **state, void *user)
{
    (void)worker;
    (void)state;
    atomic_fetch_add(&((census *)user)->inits, 1);
    return 0;
}

static void leave_census(uint32_t worker, void *state, void *user)
{
    (void)worker;
    (void)state;
    atomic_fetch_add(&((census *)user)->exits, 1);
}

/* Nothing is lost or blamed, every worker came and went in order. */
static void run_census(census *c, const facpool_process_options *process, size_t n_dates)
{
    work none = {0};
    facpool_tasks *tasks = make_grid(n_dates, 20);
    facpool_run_options options = process_options(NULL);
    options.fn = be_counted;
    options.user = c;
    options.workers = 2;
    options.worker_init = enter_census;
    options.worker_exit = leave_census;
    options.process = process;
    facpool_result *result = run_to_end(tasks, &options, 0);
    check_result(result, &none);
    CHECK_INT(atomic_load(&c->inits), atomic_load(&c->exits));
    CHECK(atomic_load(&c->inits) >= atomic_load(&c->n_pids));
    for (int i = 0; i < atomic_load(&c->n_pids); i++)
        CHECK(is_gone(c->pids[i]));
    CHECK(!has_children());
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void workers_are_replaced_after_so_many_tasks(void)
{
    census *c = SHARED(census, 0);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    run_census(c, &process, 50);
    CHECK(atomic_load(&c->n_pids) <= 2);
    c = SHARED(census, 0);
    process.tasks_per_worker = 50;
    run_census(c, &process, 50);
    CHECK(atomic_load(&c->n_pids) >= 10 && atomic_load(&c->n_pids) <= 25);
    for (int i = 0; i < atomic_load(&c->n_pids); i++)
        CHECK(atomic_load(&c->tasks[i]) <= 100); /* about */
}

static int be_counted_slowly(const facpool_task *task, double *factors, void *user)
{
    pause_ms(20);
    return be_counted(task, factors, user);
}

static void no_more_workers_are_started_than_there_is_work(void)
{
    census *c = SHARED(census, 0);
    work none = {0};
    facpool_tasks *tasks = make_grid(1, 3);
    facpool_run_options options = process_options(NULL);
    options.fn = be_counted_slowly;
    options.user = c;
    options.workers = 64;
    options.worker_init = enter_census;
    facpool_result *result = run_to_end(tasks, &options, 0);
    check_result(result, &none);
    CHECK(atomic_load(&c->inits) <= 3);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static size_t resident_bytes(void)
{
    char line[200];
    size_t kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %zu", &kilobytes) == 1)
            break;
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

static void workers_are_replaced_when_they_have_eaten_too_much(void)
{
    census *c = SHARED(census, .eats = 4 << 20);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    process.memory_limit_bytes = resident_bytes() + (64 << 20);
    run_census(c, &process, 4);
    CHECK(atomic_load(&c->n_pids) >= 3 && atomic_load(&c->n_pids) <= 20);
}

/* ------------------------------------------------------------------ cancel and kill */

typedef struct stuck {
    atomic_int in_hand;
    size_t from; /* tasks from this index on don't end */
} stuck;

static int get_stuck(const facpool_task *task, double *factors, void *user)
{
    stuck *s = user;
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(task->date, task->code, f);
    if (task->index >= s->from) {
        atomic_fetch_add(&s->in_hand, 1);
        hang_asleep();
    }
    return 0;
}

static void a_killed_run_does_not_wait_for_what_is_in_hand(void)
{
    stuck *s = SHARED(stuck, .from = 30);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = process_options(NULL);
    options.fn = get_stuck;
    options.user = s;
    options.backup = &backup;
    facpool_run_handle *run = NULL;
    facpool_result *result = NULL;
    belongings before = take_stock();
    CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
    CHECK(comes_to_be(&s->in_hand, 3));
    facpool_run_cancel(run);
    facpool_run_kill(run);
    facpool_run_kill(run);
    CHECK_INT(facpool_run_wait(run, &result, &err), FACPOOL_E_CANCELLED);
    facpool_report r = report_of(result);
    CHECK(r.ok <= 30 && r.ok >= 27); /* all but those given out behind one that is stuck */
    CHECK_INT(r.ok + r.not_run, 100);
    CHECK_INT(count_rows(backup.path, FACPOOL_STATUS_ALL), r.ok);
    facpool_result_free(result);
    check_stock(&before);
    s->from = SIZE_MAX;
    result = run_to_end(tasks, &options, 0);
    CHECK_INT(report_of(result).resumed, r.ok);
    CHECK_INT(report_of(result).new_tasks, 100 - r.ok);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void killing_is_cancelling_for_other_executors(void)
{
    work *w = SHARED(work, 0);
    facpool_tasks *tasks = make_grid(3000, 1000);
    facpool_run_options options = make_options(w, FACPOOL_EXECUTOR_SERIAL);
    facpool_run_handle *run = NULL;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
    facpool_run_kill(run);
    CHECK_INT(facpool_run_wait(run, &result, &err), FACPOOL_E_CANCELLED);
    CHECK_INT(report_of(result).ok, atomic_load(&w->calls));
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* Tasks in hand when a run is cancelled come to their end, which the test brings about. */
typedef struct door {
    atomic_int in_hand;
    atomic_int is_open;
} door;

static int wait_at_the_door(const facpool_task *task, double *factors, void *user)
{
    door *d = user;
    factors[0] = (double)task->index;
    atomic_fetch_add(&d->in_hand, 1);
    if (atomic_load(&d->is_open)) /* workers hear of cancelling in their own time */
        pause_ms(10);
    return comes_to_be(&d->is_open, 1) ? 0 : 1;
}

static void a_cancelled_run_waits_for_what_is_in_hand(void)
{
    door *d = SHARED(door, 0);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = process_options(NULL);
    options.fn = wait_at_the_door;
    options.user = d;
    facpool_run_handle *run = NULL;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
    CHECK(comes_to_be(&d->in_hand, 3));
    facpool_run_cancel(run);
    CHECK_INT(facpool_run_poll(run, NULL, &err), 0);
    atomic_store(&d->is_open, 1);
    CHECK_INT(facpool_run_wait(run, &result, &err), FACPOOL_E_CANCELLED);
    facpool_report r = report_of(result);
    CHECK_INT(r.ok, atomic_load(&d->in_hand));
    CHECK(r.not_run > 0 && r.ok + r.not_run == 100);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* Also where its worker is replaced in the middle of it. */
static void a_cancelled_run_ends_the_group_in_hand(void)
{
    work *w = SHARED(work, .cancel_at_call = 10);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    facpool_tasks *tasks = make_grid(20, 100);
    facpool_run_options options = process_options(w);
    options.group_by = FACPOOL_GROUP_DATE;
    options.cancel = listen_for_cancel();
    options.process = &process;
    process.tasks_per_worker = 30;
    facpool_result *result = run_to_end(tasks, &options, FACPOOL_E_CANCELLED);
    facpool_report r = report_of(result);
    CHECK(r.ok > 0 && r.not_run > 0);
    CHECK_INT(r.ok % 100, 0);
    facpool_result_free(result);
    forget_cancel();
    facpool_tasks_free(tasks);
}

static void a_token_set_before_the_run_lets_nothing_begin(void)
{
    work *w = SHARED(work, 0);
    facpool_cancel *token = NULL;
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = process_options(w);
    CHECK_OK(facpool_cancel_new(&token, &err), err);
    facpool_cancel_set(token);
    options.cancel = token;
    facpool_result *result = run_to_end(tasks, &options, FACPOOL_E_CANCELLED);
    CHECK_INT(atomic_load(&w->calls), 0);
    CHECK_INT(report_of(result).not_run, 100);
    facpool_result_free(result);
    facpool_cancel_free(token);
    facpool_tasks_free(tasks);
}

static void count_forks(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

static void a_dry_run_starts_no_process(void)
{
    work *w = SHARED(work, 0);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = process_options(w);
    process.hooks_user = shared_alloc(sizeof(atomic_int));
    process.before_fork = count_forks;
    options.process = &process;
    options.dry_run = 1;
    facpool_result *result = run_to_end(tasks, &options, 0);
    CHECK_INT(report_of(result).not_run, 100);
    CHECK_INT(atomic_load((atomic_int *)process.hooks_user), 0);
    CHECK_INT(atomic_load(&w->calls), 0);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ long messages */

#define MESSAGE_BYTES 16384

static void make_message(size_t index, char *out)
{
    size_t length = index % 3 ? MESSAGE_BYTES : 10000;
    for (size_t i = 0; i < length; i++)
        out[i] = (char)('a' + (mix(index + i / 64) + i) % 26);
    out[length] = '\0';
}

static int fail_at_length(const facpool_task *task, double *factors, void *user)
{
    char message[MESSAGE_BYTES + 1];
    (void)factors;
    (void)user;
    make_message(task->index, message);
    return facpool_task_fail(task, 9, message);
}

static int fail_at_length_in_slices(const facpool_slice *slice, double *factors, void *user)
{
    char message[MESSAGE_BYTES + 1];
    (void)factors;
    (void)user;
    for (size_t i = 0; i < slice->n; i++) {
        make_message(slice->indexes[i], message);
        facpool_slice_fail(slice, i, 9, message);
    }
    return 0;
}

static void long_messages_of_many_tasks_at_once_are_kept_whole(void)
{
    char message[MESSAGE_BYTES + 1];
    for (int by_slices = 0; by_slices < 2; by_slices++) {
        facpool_tasks *tasks = make_grid(30, 50);
        facpool_run_options options = process_options(NULL);
        options.fn = by_slices ? NULL : fail_at_length;
        options.batch_fn = by_slices ? fail_at_length_in_slices : NULL;
        options.no_stop_if_first_fail = 1;
        options.backup_path = by_slices ? NULL : fresh_path();
        facpool_result *result = run_to_end(tasks, &options, 0);
        CHECK_INT(report_of(result).failed, 1500);
        CHECK_INT(facpool_result_n_failures(result), 1500);
        for (size_t i = 0; i < 1500; i++) {
            facpool_failure failure = FACPOOL_FAILURE_INIT;
            CHECK_OK(facpool_result_failure(result, i, &failure, &err), err);
            make_message(i, message);
            CHECK_INT(failure.failure_code, 9);
            CHECK_TEXT(failure.message, message);
        }
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

/* ------------------------------------------------------------------ odd sizes */

static int wide_fn(const facpool_task *task, double *factors, void *user)
{
    size_t n_factors = *(size_t *)user;
    for (size_t f = 0; f < n_factors; f++)
        factors[f] = (double)(task->index * n_factors + f);
    return 0;
}

static void rows_may_be_wide_and_workers_more_than_tasks(void)
{
    static const struct {
        size_t n_factors;
        size_t n_codes;
        uint32_t workers;
    } cases[] = {{65535, 5, 2}, {1, 2, 9}, {1000, 300, 3}, {1, 1, 1}, {3, 0, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = cases[i].n_factors;
        facpool_tasks *tasks = make_grid(1, cases[i].n_codes);
        facpool_run_options options = process_options(NULL);
        options.fn = wide_fn;
        options.user = &n;
        options.n_factors = n;
        options.workers = cases[i].workers;
        facpool_result *result = run_to_end(tasks, &options, 0);
        for (size_t f = 0; cases[i].n_codes && f < n; f++)
            for (size_t t = 0; t < cases[i].n_codes; t++)
                CHECK(facpool_result_factor(result, f)[t] == (double)(t * n + f));
        CHECK_INT(report_of(result).ok, cases[i].n_codes);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

int main(void)
{
    make_folder();
    RUN(workers_that_die_before_they_work_end_the_run);
    RUN(a_worker_that_dies_before_it_works_is_replaced);
    RUN(a_failing_worker_init_of_a_replaced_worker_ends_the_run);
    RUN(a_worker_that_dies_in_worker_exit_is_nobodys_fault);
    RUN(workers_are_replaced_after_so_many_tasks);
    RUN(no_more_workers_are_started_than_there_is_work);
    RUN(workers_are_replaced_when_they_have_eaten_too_much);
    RUN(a_killed_run_does_not_wait_for_what_is_in_hand);
    RUN(killing_is_cancelling_for_other_executors);
    RUN(a_cancelled_run_waits_for_what_is_in_hand);
    RUN(a_cancelled_run_ends_the_group_in_hand);
    RUN(a_token_set_before_the_run_lets_nothing_begin);
    RUN(a_dry_run_starts_no_process);
    RUN(long_messages_of_many_tasks_at_once_are_kept_whole);
    RUN(rows_may_be_wide_and_workers_more_than_tasks);
    remove_folder();
    return TEST_END();
}
