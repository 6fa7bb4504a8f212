/* Signals to a job in the middle of it, in every file format and the example's SQLite sink: being
 * stopped and continued costs it (or its worker, or its helper) nothing but time, and a stopped
 * worker is late where tasks may take only so long; what ends a process by default leaves what a
 * kill leaves; a limit on the size of files is an error and not the end of the process; a storm of
 * signals that the host handles interrupts every call and loses nothing; and what the host made of
 * its signals stays as it was.
 *
 * FACPOOL_TEST_SEED, FACPOOL_TEST_FIRST and FACPOOL_TEST_CYCLES choose the cycles of each test. */
#include "real_judge.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>

typedef enum victim { THE_RUN, A_WORKER, THE_HELPER, N_VICTIMS } victim;

static unsigned cycle;
static job_page *page;
static char page_path[512];

/* ------------------------------------------------------------------ cycles */

/* Runs `body` so often, on a fresh path of every store in turn. */
static void for_cycles(unsigned n_usual, void (*body)(random_numbers *r, const char *path))
{
    uint64_t seed = environment_seed();
    unsigned first = (unsigned)environment_number("FACPOOL_TEST_FIRST", 0);
    unsigned n = (unsigned)environment_number(
        "FACPOOL_TEST_CYCLES", of_tier(n_usual / 8 < 4 ? 4 : n_usual / 8, n_usual, n_usual * 50));
    for (cycle = first; cycle < first + n; cycle++) {
        char path[512];
        random_numbers r = {mix_bits(seed + cycle)};
        store = &storage_cases[cycle % N_STORAGE_CASES];
        snprintf(path, sizeof path, "%s", storage_path());
        body(&r, path);
        remove_store(path);
    }
}

static bool reaches(const job_page *s, pid_t pid, uint64_t target)
{
    siginfo_t ended = {0};
    while (!s->over) {
        if (s->done >= target)
            return true;
        if (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) || ended.si_pid)
            return false;
        sleep_us(100);
    }
    return false;
}

static victim choose_victim(const job_page *s, random_numbers *r)
{
    if (s->executor != FACPOOL_EXECUTOR_PROCESS)
        return THE_RUN;
    return (victim)random_below(r, N_VICTIMS);
}

/* A process of the job; 0 where it has none of the kind, or not yet. */
static pid_t find_victim(const job_page *s, random_numbers *r, victim who, pid_t child)
{
    if (who == THE_RUN)
        return child;
    if (who == THE_HELPER)
        return s->helper;
    for (uint32_t i = 0, first = random_below(r, WORKERS_MAX); i < WORKERS_MAX; i++)
        if (s->worker_pids[(first + i) % WORKERS_MAX])
            return s->worker_pids[(first + i) % WORKERS_MAX];
    return 0;
}

/* ------------------------------------------------------------------ being stopped */

/* The letter that /proc has for what a process does: after its name in brackets. */
static char state_of(pid_t pid)
{
    char where[64], line[512] = "";
    snprintf(where, sizeof where, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(where, "re");
    const char *end = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    if (file)
        fclose(file);
    return end ? end[2] : 0;
}

/* Whether it stands still, which takes a moment; false where it ended before. */
static bool comes_to_a_stop(pid_t pid)
{
    for (;;) {
        char state = state_of(pid);
        if (state == 'T' || state == 0 || state == 'Z')
            return state == 'T';
        sleep_us(50);
    }
}

static unsigned n_stopped[N_VICTIMS];

static void stop_and_continue(random_numbers *r, const char *path)
{
    static stored_rows none, meanwhile, after;
    int state = 0, alive;
    choose_job(page, r);
    reset_counts(page);
    victim who = choose_victim(page, r);
    pid_t child = spawn_child(path, page_path, &alive);
    for (uint32_t times = random_between(r, 1, 4); times; times--) {
        uint64_t target = n_tasks(page) * (uint64_t)random_between(r, 1, 95) / 100;
        pid_t pid = reaches(page, child, target) ? find_victim(page, r, who, child) : 0;
        if (pid < 2 || kill(pid, SIGSTOP) != 0)
            break;
        if (comes_to_a_stop(pid)) {
            n_stopped[who]++;
            read_rows(page, path, &meanwhile); /* maybe in the middle of a write */
        }
        CHECK(kill(pid, SIGCONT) == 0 || errno == ESRCH);
    }
    state = wait_child(child, alive);
    CHECK(ended_with(state, 0));
    read_after(page, path, &none, &after);
    CHECK_INT(after.n, n_tasks(page));
    CHECK_INT(after.n_crashed, 0);
    check_complete(page, path);
}

static void being_stopped_and_continued_costs_only_time(void)
{
    for_cycles(48, stop_and_continue);
    printf("  stopped: the run %u times, a worker %u, the helper %u\n", n_stopped[THE_RUN],
           n_stopped[A_WORKER], n_stopped[THE_HELPER]);
    CHECK(n_stopped[THE_RUN] > 0);
}

/* What stands still can't see that its run is gone. */
static void stop_and_kill(random_numbers *r, const char *path)
{
    static stored_rows none, after;
    int state = 0, alive;
    choose_job(page, r);
    page->executor = WITH_PROCESSES;
    describe_job(page);
    reset_counts(page);
    victim who = choose_victim(page, r);
    pid_t child = spawn_child(path, page_path, &alive);
    if (reaches(page, child, n_tasks(page) / 5)) {
        pid_t pid = find_victim(page, r, who, child);
        n_stopped[who] += pid > 1 && kill(pid, SIGSTOP) == 0 && comes_to_a_stop(pid);
        kill(child, SIGKILL);
    }
    state = wait_child(child, alive); /* nobody is left */
    CHECK(was_killed(state) || ended_with(state, 0));
    read_after(page, path, &none, &after);
    resume_to_end(page, r, path, page_path);
}

static void what_stands_still_ends_with_its_run(void)
{
    memset(n_stopped, 0, sizeof n_stopped);
    for_cycles(16, stop_and_kill);
    CHECK(n_stopped[THE_RUN] + n_stopped[A_WORKER] + n_stopped[THE_HELPER] > 0);
}

#ifdef __linux__

#define TIMEOUT_MS 700

/* Stopped in a task once and for all: that lasts too long, and the worker is replaced. */
static void stop_in_a_task(random_numbers *r, const char *path)
{
    static stored_rows none, after;
    int alive;
    choose_job(page, r);
    page->executor = FACPOOL_EXECUTOR_PROCESS;
    page->workers = random_between(r, 1, 3);
    page->group_by = FACPOOL_GROUP_NONE;
    page->by_slices = 0;
    page->task_timeout_ms = TIMEOUT_MS;
    page->stop_at = random_between(r, 1, n_tasks(page));
    describe_job(page);
    reset_counts(page);
    pid_t child = spawn_child(path, page_path, &alive);
    int state = wait_child(child, alive); /* nor does the stopped one stay */
    CHECK(ended_with(state, 0));
    read_after(page, path, &none, &after);
    CHECK_INT(after.n, n_tasks(page));
    CHECK_INT(after.status[page->stop_at - 1], FACPOOL_STATUS_TIMEOUT);
    page->stop_at = 0;
    resume_to_end(page, r, path, page_path);
}

static void a_worker_stopped_in_a_task_is_late_and_replaced(void)
{
    for_cycles(4, stop_in_a_task);
}

#endif

/* ------------------------------------------------------------------ being ended */

static unsigned n_ended[N_VICTIMS];

static void end_by_default(random_numbers *r, const char *path)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    static stored_rows none, after;
    int state = 0, alive;
    choose_job(page, r);
    reset_counts(page);
    victim who = choose_victim(page, r);
    int number = who == THE_RUN ? numbers[random_below(r, 3)] : SIGTERM;
    pid_t child = spawn_child(path, page_path, &alive), pid = 0;
    if (reaches(page, child, n_tasks(page) * (uint64_t)random_between(r, 1, 90) / 100))
        pid = find_victim(page, r, who, child);
    bool sent = pid > 1 && kill(pid, number) == 0;
    state = wait_child(child, alive);
    bool hit = sent && WIFSIGNALED(state) && WTERMSIG(state) == number && pid == child;
    CHECK(hit || ended_with(state, 0) || (sent && ended_with(state, FACPOOL_E_WORKER)));
    read_after(page, path, &none, &after);
    check_reported(&none, &after, page->rows_written);
    n_ended[who] += sent;
    resume_to_end(page, r, path, page_path);
}

static void what_ends_a_process_leaves_what_a_kill_leaves(void)
{
    for_cycles(48, end_by_default);
    printf("  ended: the run %u times, a worker %u, the helper %u\n", n_ended[THE_RUN],
           n_ended[A_WORKER], n_ended[THE_HELPER]);
    CHECK(n_ended[THE_RUN] > 0);
}

/* ------------------------------------------------------------------ files that may not grow */

static unsigned n_limited, n_refused, n_ended_by_sqlite;

/* SQLite leaves the signal as it is, and so it ends a host that does: a killed run. What a run
 * shares with worker processes counts as a file, too: there it doesn't even begin. */
static void check_limited(int state, const stored_rows *after)
{
    if (store->sink && WIFSIGNALED(state)) {
        CHECK_INT(WTERMSIG(state), SIGXFSZ);
        n_ended_by_sqlite++;
        return;
    }
    if (ended_with(state, 0)) {
        CHECK_INT(after->n, n_tasks(page));
        return;
    }
    bool refused = page->executor == FACPOOL_EXECUTOR_PROCESS && ended_with(state, FACPOOL_E_NOMEM);
    if (!refused && !ended_with(state, FACPOOL_E_IO))
        printf("  state %x, limit %llu\n", (unsigned)state,
               (unsigned long long)page->file_limit_bytes);
    CHECK(refused || ended_with(state, FACPOOL_E_IO));
    CHECK(store->sink || page->os_errno == EFBIG);
    n_refused += refused;
    n_limited += !refused;
}

static void limit_files(random_numbers *r, const char *path)
{
    static stored_rows none, after;
    int state = 0, alive;
    choose_job(page, r);
    page->task_us = 0;
    page->durability = FACPOOL_DURABILITY_NONE;
    /* Below a page an OpenMP runtime may come to grief over a file of its own in memory. */
    page->file_limit_bytes = 4096 + (uint64_t)random_between(r, 0, 10) * random_between(r, 0, 4000);
    describe_job(page);
    reset_counts(page);
    pid_t child = spawn_child(path, page_path, &alive);
    state = wait_child(child, alive);
    read_after(page, path, &none, &after);
    check_reported(&none, &after, page->rows_written);
    check_limited(state, &after);
    page->file_limit_bytes = 0;
    resume_to_end(page, r, path, page_path);
}

static void a_limit_on_files_is_an_error_and_no_end(void)
{
    for_cycles(64, limit_files);
    printf("  %u runs met the limit, %u more were ended by it within SQLite, %u with worker "
           "processes were refused\n",
           n_limited, n_ended_by_sqlite, n_refused);
    CHECK(n_limited > 0);
}

/* ------------------------------------------------------------------ handled signals */

static _Atomic int *handled; /* in the child's page */

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(handled, 1);
}

/* No call is begun again after it. */
static void handle(int number)
{
    struct sigaction action = {.sa_handler = count_signal};
    sigaction(number, &action, NULL);
}

static void begin_storm(uint32_t every_us)
{
    struct itimerval timer = {{0, (suseconds_t)every_us}, {0, (suseconds_t)every_us}};
    handle(SIGALRM);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* In the child, before it runs. */
static void prepare_child(job_page *s)
{
    struct rlimit limit = {s->file_limit_bytes, s->file_limit_bytes}, no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    handled = &s->n_signals;
    if (s->file_limit_bytes)
        setrlimit(RLIMIT_FSIZE, &limit);
    if (s->storm_us)
        begin_storm(s->storm_us);
}

static unsigned n_in_storms;

static void run_in_a_storm(random_numbers *r, const char *path)
{
    static stored_rows none, after;
    int state = 0, alive;
    choose_job(page, r);
    page->storm_us = random_between(r, 100, 1000);
    reset_counts(page);
    pid_t child = spawn_child(path, page_path, &alive);
    state = wait_child(child, alive);
    CHECK(ended_with(state, 0));
    read_after(page, path, &none, &after);
    CHECK_INT(after.n, n_tasks(page));
    CHECK_INT(after.n_crashed, 0);
    check_complete(page, path);
    n_in_storms += (unsigned)page->n_signals;
}

static void a_storm_of_handled_signals_loses_nothing(void)
{
    n_in_storms = 0;
    for_cycles(40, run_in_a_storm);
    printf("  %u signals were handled\n", n_in_storms);
    CHECK(n_in_storms > 0);
}

/* ------------------------------------------------------------------ the host's signals */

static const int hosts_own[] = {SIGINT,  SIGTERM, SIGPIPE, SIGXFSZ, SIGCHLD, SIGALRM,
                                SIGUSR1, SIGUSR2, SIGHUP,  SIGQUIT, SIGTSTP, SIGWINCH};
enum { N_HOSTS_OWN = sizeof hosts_own / sizeof *hosts_own };

typedef struct signal_setup {
    void (*handlers[N_HOSTS_OWN])(int);
    sigset_t mask;
} signal_setup;

static void note_setup(signal_setup *out)
{
    for (int i = 0; i < N_HOSTS_OWN; i++) {
        struct sigaction now;
        sigaction(hosts_own[i], NULL, &now);
        out->handlers[i] = now.sa_handler;
    }
    sigemptyset(&out->mask);
    pthread_sigmask(SIG_SETMASK, NULL, &out->mask);
}

static bool is_setup(const signal_setup *wanted)
{
    signal_setup now;
    note_setup(&now);
    for (int i = 0; i < N_HOSTS_OWN; i++)
        if (now.handlers[i] != wanted->handlers[i])
            return false;
    for (int number = 1; number < 65; number++)
        if (sigismember(&now.mask, number) != sigismember(&wanted->mask, number))
            return false;
    return true;
}

/* What a run may not change, looked at from within it; and signals sent to the host meanwhile. */
typedef struct watch {
    const signal_setup *wanted;
    unsigned n_looks, n_sent;
    bool changed;
} watch;

static int look_and_send(const facpool_progress *progress, void *user)
{
    watch *w = user;
    (void)progress;
    w->changed |= !is_setup(w->wanted);
    w->n_looks++;
    if (w->n_sent < 40) {
        kill(getpid(), w->n_sent % 2 ? SIGINT : SIGPIPE);
        w->n_sent++;
    }
    return 0;
}

static int slow_task(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    sleep_us(300);
    factors[0] = (double)task->index;
    return 0;
}

static void run_watched(int32_t executor, const char *path, watch *w)
{
    facpool_backup_options backup = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_run_options options = suite_run_options(&backup);
    facpool_tasks *tasks = suite_tasks();
    facpool_result *result = NULL;
    options.fn = slow_task;
    options.executor = executor;
    options.workers = executor == FACPOOL_EXECUTOR_SERIAL ? 1 : 2;
    options.progress = look_and_send;
    options.progress_user = w;
    options.progress_interval_ms = 1;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    CHECK_INT(report.ok, SUITE_KEYS);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

static void what_the_host_made_of_its_signals_stays(void)
{
    static const int32_t executors[] = {FACPOOL_EXECUTOR_SERIAL, WITH_THREADS, WITH_PROCESSES};
    static _Atomic int count;
    struct sigaction before[N_HOSTS_OWN];
    sigset_t blocked, mask;
    handled = &count;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigaddset(&blocked, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &blocked, &mask);
    for (int i = 0; i < N_HOSTS_OWN; i++) {
        sigaction(hosts_own[i], NULL, &before[i]);
        if (hosts_own[i] != SIGXFSZ && hosts_own[i] != SIGUSR1) /* which keep their default */
            handle(hosts_own[i]);
    }
    signal_setup setup;
    note_setup(&setup);
    bool held = true;
    unsigned n_sent = 0, n_looks = 0;
    for (size_t i = 0; i < 3 * N_STORAGE_CASES; i++) {
        watch w = {.wanted = &setup};
        store = &storage_cases[i / 3];
        count = 0;
        run_watched(executors[i % 3], storage_path(), &w);
        held = held && !w.changed && is_setup(&setup) && count > 0;
        n_sent += w.n_sent;
        n_looks += w.n_looks;
    }
    for (int i = 0; i < N_HOSTS_OWN; i++)
        sigaction(hosts_own[i], &before[i], NULL);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    printf("  looked at %u times, %u signals sent meanwhile\n", n_looks, n_sent);
    CHECK(held);
    CHECK(n_sent >= 3 * N_STORAGE_CASES);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2], prepare_child);
    if (!scratch_make("signals")) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    suite_begin();
    snprintf(page_path, sizeof page_path, "%s", scratch_path("page"));
    page = map_page(page_path);
    if (!page)
        return EXIT_FAILURE;
    RUN(being_stopped_and_continued_costs_only_time);
    end_running_child();
    RUN(what_stands_still_ends_with_its_run);
    end_running_child();
#ifdef __linux__
    RUN(a_worker_stopped_in_a_task_is_late_and_replaced);
    end_running_child();
#endif
    RUN(what_ends_a_process_leaves_what_a_kill_leaves);
    end_running_child();
    RUN(a_limit_on_files_is_an_error_and_no_end);
    end_running_child();
    RUN(a_storm_of_handled_signals_loses_nothing);
    end_running_child();
    RUN(what_the_host_made_of_its_signals_stays);
    if (test_failures)
        printf("last in cycle %u (FACPOOL_TEST_FIRST=%u FACPOOL_TEST_CYCLES=1):\n%s", cycle, cycle,
               parameters);
    scratch_remove();
    return TEST_END();
}
