/* Storms over worker processes: random runs whose tasks crash, hang, fail and skip, while workers
 * and helpers are killed from outside and runs are cancelled or killed, in every file format. After
 * each run every row is right or missing, nobody but tasks in hand is blamed, nothing is left
 * behind; then the run is resumed in fair weather, and everything is as the tasks make it.
 *
 * FACPOOL_TEST_SEED and FACPOOL_TEST_CASES choose the cases; a failure prints its own. */
#include <pthread.h>
#include "process_helpers.h"
#include "scratch.h"

#define WORKERS_MAX 5

typedef enum fate { GOES_WELL, IS_SKIPPED, FAILS, CRASHES, CRASHES_ONCE, HANGS } fate;

/* Shared by the test, the killer and all workers. */
typedef struct storm {
    uint64_t seed;
    uint32_t crash_percent;
    uint32_t hang_per_mille;
    bool is_calm;
    atomic_int pids[WORKERS_MAX]; /* of those at work */
    atomic_int helper;
    atomic_int over;
    atomic_int n_calls;
    atomic_int wrong;
    /* what the killer does, every so many calls */
    uint32_t kill_every;
    int kills_left;
    int helper_at_call; /* 0: never */
    int n_kills;
} storm;

static unsigned n_runs, n_cut_short, n_killed_workers, n_killed_helpers, n_blamed;
static unsigned case_number;
static char parameters[600];

/* ------------------------------------------------------------------ what tasks do */

static fate fate_of(const storm *s, int64_t date, const char *code)
{
    uint64_t h = mix(key_hash(date, code) ^ s->seed);
    uint32_t roll = (uint32_t)(h % 1000), crash = s->crash_percent * 10;
    if (roll < s->hang_per_mille)
        return HANGS;
    if (roll >= 900)
        return roll < 950 ? IS_SKIPPED : FAILS;
    if (roll >= 900 - crash)
        return roll % 2 ? CRASHES : CRASHES_ONCE;
    return GOES_WELL;
}

static uint8_t status_of(const storm *s, int64_t date, const char *code, uint32_t attempts)
{
    fate f = fate_of(s, date, code);
    if (f == CRASHES || f == HANGS || (f == CRASHES_ONCE && attempts < 2))
        f = s->is_calm ? GOES_WELL : f;
    switch (f) {
    case IS_SKIPPED:
        return FACPOOL_STATUS_SKIPPED;
    case FAILS:
        return FACPOOL_STATUS_FAILED;
    case CRASHES:
        return FACPOOL_STATUS_CRASHED;
    case CRASHES_ONCE:
        return attempts > 1 ? FACPOOL_STATUS_OK : FACPOOL_STATUS_CRASHED;
    case HANGS:
        return FACPOOL_STATUS_TIMEOUT;
    default:
        return FACPOOL_STATUS_OK;
    }
}

static void get_into_trouble(const storm *s, fate f, uint32_t attempt, uint64_t salt)
{
    static void (*const ways[])(void) = {die_by_segfault, die_by_abort, die_by_exit_0,
                                         die_by_exit_3, die_by_kill};
    if (s->is_calm)
        return;
    if (f == CRASHES || (f == CRASHES_ONCE && attempt == 1))
        ways[salt % 5]();
    if (f == HANGS)
        hang_asleep();
}

static int do_task(storm *s, int64_t date, const char *code, uint32_t attempt, double *factors)
{
    fate f = fate_of(s, date, code);
    atomic_fetch_add(&s->n_calls, 1);
    for (size_t i = 0; i < FACTORS; i++)
        if (!isnan(factors[i]))
            atomic_fetch_add(&s->wrong, 1);
    for (size_t i = 0; i < FACTORS; i++)
        factors[i] = value_of(date, code, i);
    get_into_trouble(s, f, attempt, key_hash(date, code));
    return f == IS_SKIPPED ? FACPOOL_SKIP : f == FAILS ? 7 : 0;
}

static int storm_task(const facpool_task *task, double *factors, void *user)
{
    int rc = do_task(user, task->date, task->code, task->attempt, factors);
    return rc == 7 ? facpool_task_fail(task, 7, task->code) : rc;
}

static int storm_slice(const facpool_slice *slice, double *factors, void *user)
{
    for (size_t i = 0; i < slice->n; i++) {
        int rc =
            do_task(user, slice->dates[i], slice->codes[i], slice->attempt, factors + i * FACTORS);
        if (rc == FACPOOL_SKIP)
            facpool_slice_skip(slice, i);
        else if (rc)
            facpool_slice_fail(slice, i, rc, slice->codes[i]);
    }
    return 0;
}

static int come_to_work(uint32_t worker, void **state, void *user)
{
    storm *s = user;
    (void)state;
    atomic_store(&s->helper, (int)getppid());
    atomic_store(&s->pids[worker], (int)getpid());
    return 0;
}

static void leave_work(uint32_t worker, void *state, void *user)
{
    storm *s = user;
    (void)state;
    atomic_store(&s->pids[worker], 0);
}

/* ------------------------------------------------------------------ the killer */

static void *kill_now_and_then(void *arg)
{
    storm *s = arg;
    random_numbers r = {s->seed ^ 1};
    int next = (int)s->kill_every;
    while (!atomic_load(&s->over)) {
        int calls = atomic_load(&s->n_calls);
        int victim = atomic_load(&s->pids[random_below(&r, WORKERS_MAX)]);
        if (s->kills_left && calls >= next && victim) {
            kill(victim, SIGKILL);
            next = calls + (int)s->kill_every;
            s->kills_left--;
            s->n_kills++;
        }
        if (s->helper_at_call && calls >= s->helper_at_call) {
            kill(atomic_load(&s->helper), SIGKILL);
            s->helper_at_call = 0;
            n_killed_helpers++;
        }
        pause_ms(1);
    }
    return NULL;
}

/* ------------------------------------------------------------------ a case */

typedef struct storm_case {
    storm *s;
    size_t n_dates;
    size_t n_codes;
    bool is_list;
    int32_t cut; /* 1: cancelled, 2: killed, at some call */
    int cut_at;
    facpool_run_options options;
    facpool_backup_options backup;
    facpool_process_options process;
} storm_case;

static void choose_case(storm_case *c, random_numbers *r, const char *path)
{
    static const char *const formats[] = {"binary", "json", "memory_map"};
    static const uint32_t tasks_per_worker[] = {0, 0, 1, 7, 100};
    storm *s = c->s;
    c->n_dates = random_between(r, 1, 40);
    c->n_codes = random_between(r, 1, 40);
    c->is_list = random_chance(r, 50);
    c->options = process_options(NULL);
    c->options.group_by = (int32_t)random_between(r, 1, 3);
    bool by_slices = random_chance(r, 50);
    c->options.fn = by_slices ? NULL : storm_task;
    c->options.batch_fn = by_slices ? storm_slice : NULL;
    c->options.user = s;
    c->options.workers = random_between(r, 1, WORKERS_MAX);
    c->options.attempts = random_between(r, 1, 3);
    c->options.worker_init = come_to_work;
    c->options.worker_exit = leave_work;
    c->options.no_stop_if_first_fail = 1;
    c->options.results = random_chance(r, 50) ? FACPOOL_RESULTS_KEEP : 0;
    /* A group's death is everybody's: only strangers' kills there. */
    bool dies_whole = by_slices && c->options.group_by > FACPOOL_GROUP_NONE;
    s->crash_percent = dies_whole || random_chance(r, 30) ? 0 : random_below(r, 8);
    s->hang_per_mille = dies_whole || random_chance(r, 85) ? 0 : 1;
    c->options.task_timeout_ms = s->hang_per_mille ? PATIENCE_MS : random_chance(r, 50) ? 60000 : 0;
    s->kill_every = random_between(r, 1, 400);
    s->kills_left = random_chance(r, 60) ? (int)random_between(r, 1, 8) : 0;
    s->helper_at_call = random_chance(r, 10) ? (int)random_between(r, 1, 500) : 0;
    c->cut = random_chance(r, 25) ? (int32_t)random_between(r, 1, 2) : 0;
    c->cut_at = (int)random_below(r, 1000);
    c->process = (facpool_process_options)FACPOOL_PROCESS_OPTIONS_INIT;
    c->process.tasks_per_worker = tasks_per_worker[random_below(r, 5)];
    c->options.process = &c->process;
    c->backup = (facpool_backup_options)FACPOOL_BACKUP_OPTIONS_INIT;
    c->backup.path = path;
    c->backup.mode = FACPOOL_MODE_RESUME;
    c->backup.format = formats[random_below(r, 3)];
    c->backup.durability = FACPOOL_DURABILITY_NONE;
    c->backup.batch_rows = random_chance(r, 50) ? 10 : 0;
    c->backup.no_async = random_chance(r, 30);
    c->options.backup = &c->backup;
    any_nan_will_do = strcmp(c->backup.format, "json") == 0;
}

static void describe_case(const storm_case *c)
{
    const facpool_run_options *o = &c->options;
    snprintf(
        parameters, sizeof parameters,
        "  %zu dates x %zu codes %s, %s, workers %u, group_by %d, attempts %u, %s, crash %u %%, "
        "hang %u, kill %d times every %u calls, helper at %d, cut %d at %d, tasks_per_worker "
        "%u, results %d, no_async %d, batch_rows %u\n",
        c->n_dates, c->n_codes, c->is_list ? "list" : "grid", o->fn ? "fn" : "batch_fn", o->workers,
        o->group_by, o->attempts, c->backup.format, c->s->crash_percent, c->s->hang_per_mille,
        c->s->kills_left, c->s->kill_every, c->s->helper_at_call, c->cut, c->cut_at,
        c->process.tasks_per_worker, o->results, c->backup.no_async, c->backup.batch_rows);
}

/* Runs the case; cuts it short where it is to be. */
static int run_case(storm_case *c, const facpool_tasks *tasks, facpool_result **out)
{
    facpool_run_handle *run = NULL;
    storm *s = c->s;
    int rc, cut = s->is_calm ? 0 : c->cut;
    CHECK_OK(facpool_run_start(&run, tasks, &c->options, &err), err);
    while (!(rc = facpool_run_poll(run, NULL, &err))) {
        if (cut && atomic_load(&s->n_calls) >= c->cut_at) {
            if (cut == 1)
                facpool_run_cancel(run);
            else
                facpool_run_kill(run);
            cut = 0;
        }
        pause_ms(1);
    }
    CHECK_OK(rc, err);
    return facpool_run_wait(run, out, &err);
}

/* Every row is as its task makes it, missing where the run was cut short, or its task was in hand
 * when somebody killed the worker. */
static void check_rows(const storm_case *c, const facpool_result *result, bool cut_short)
{
    const storm *s = c->s;
    const facpool_run_options *o = &c->options;
    size_t n = c->n_dates * c->n_codes, n_blamed_here = 0, in_hand = 1;
    CHECK_OK(facpool_result_load(result, &err), err);
    const uint8_t *status = facpool_result_status(result);
    for (size_t i = 0; i < n; i++) {
        int64_t date = facpool_result_dates(result)[i];
        const char *code = facpool_result_code(result, i);
        uint8_t wanted = status_of(s, date, code, o->attempts);
        bool is_missing = status[i] == FACPOOL_STATUS_NONE && cut_short;
        bool is_blamed = status[i] == FACPOOL_STATUS_CRASHED && wanted != status[i];
        n_blamed_here += is_blamed;
        if (is_missing || is_blamed)
            continue;
        CHECK_INT(status[i], wanted);
        for (size_t f = 0; f < FACTORS; f++) {
            double value = facpool_result_factor(result, f)[i];
            if (wanted == FACPOOL_STATUS_OK)
                CHECK(same_bits(value, value_of(date, code, f)));
            else
                CHECK(isnan(value));
        }
    }
    if (o->batch_fn && o->group_by > FACPOOL_GROUP_NONE)
        in_hand = c->n_dates > c->n_codes ? c->n_dates : c->n_codes;
    CHECK(n_blamed_here <= (size_t)s->n_kills * in_hand);
    n_blamed += (unsigned)n_blamed_here;
}

static void check_failure_messages(const storm_case *c, const facpool_result *result)
{
    for (size_t i = 0; i < facpool_result_n_failures(result); i++) {
        facpool_failure failure = FACPOOL_FAILURE_INIT;
        CHECK_OK(facpool_result_failure(result, i, &failure, &err), err);
        if (failure.status == FACPOOL_STATUS_FAILED)
            CHECK_TEXT(failure.message, failure.code);
        else
            CHECK(strstr(failure.message,
                         failure.status == FACPOOL_STATUS_TIMEOUT ? " ms" : "worker process"));
    }
    CHECK_INT(atomic_load(&c->s->wrong), 0);
}

static void weather_a_storm(random_numbers *r)
{
    const char *path = fresh_path();
    pthread_t killer;
    storm_case c = {.s = SHARED(storm, .seed = random_bits(r))};
    facpool_result *result = NULL;
    belongings before = take_stock();
    choose_case(&c, r, path);
    describe_case(&c);
    bool kills_helper = c.s->helper_at_call != 0;
    facpool_tasks *tasks =
        c.is_list ? make_list(c.n_dates, c.n_codes) : make_grid(c.n_dates, c.n_codes);
    CHECK_INT(pthread_create(&killer, NULL, kill_now_and_then, c.s), 0);
    int rc = run_case(&c, tasks, &result);
    atomic_store(&c.s->over, 1);
    pthread_join(killer, NULL);
    n_killed_workers += (unsigned)c.s->n_kills;
    n_cut_short += rc != 0;
    CHECK(rc == 0 || (rc == FACPOOL_E_CANCELLED && c.cut) ||
          (rc == FACPOOL_E_WORKER && (kills_helper || c.s->n_kills)));
    CHECK(result);
    check_rows(&c, result, rc != 0);
    check_failure_messages(&c, result);
    facpool_report report = report_of(result);
    CHECK_INT(report.ok + report.skipped + report.failed + report.timeout + report.crashed +
                  report.not_run,
              c.n_dates * c.n_codes);
    CHECK_INT(report.rows_written, report.total - report.not_run);
    CHECK(rc != 0 || report.not_run == 0);
    facpool_result_free(result);
    check_stock(&before);
    c.s->is_calm = true;
    c.s->n_kills = 0;
    atomic_store(&c.s->n_calls, 0);
    result = NULL;
    CHECK_OK(run_case(&c, tasks, &result), err);
    check_rows(&c, result, false);
    CHECK_INT(report_of(result).resumed, report.ok + report.skipped);
    CHECK_INT(report_of(result).not_run + report_of(result).crashed, 0);
    if (c.options.group_by == FACPOOL_GROUP_NONE && c.options.attempts == 1)
        CHECK_INT(atomic_load(&c.s->n_calls), report.total - report.ok - report.skipped);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    check_stock(&before);
    unlink(path);
    n_runs += 2;
}

static void after_every_storm_all_rows_are_right_and_nothing_is_left(void)
{
    uint64_t seed = environment_seed();
    unsigned first = (unsigned)environment_number("FACPOOL_TEST_FIRST", 0);
    unsigned n = (unsigned)environment_number("FACPOOL_TEST_CASES", of_tier(20, 60, 5000));
    for (case_number = first; case_number < first + n; case_number++) {
        random_numbers r = {mix_bits(seed + case_number)};
        shared_reset();
        weather_a_storm(&r);
    }
    printf("%u runs, %u cut short; %u workers and %u helpers killed, %u tasks blamed for it\n",
           n_runs, n_cut_short, n_killed_workers, n_killed_helpers, n_blamed);
}

int main(void)
{
    make_folder();
    RUN(after_every_storm_all_rows_are_right_and_nothing_is_left);
    if (test_failures)
        printf("case %u, FACPOOL_TEST_FIRST=%u FACPOOL_TEST_CASES=1:\n%s", case_number, case_number,
               parameters);
    remove_folder();
    return TEST_END();
}
