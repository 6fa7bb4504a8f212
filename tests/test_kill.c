/* kill -9 at random moments: a child runs a job with a backup, in every file format and the
 * example's SQLite sink in turn, and the parent kills it somewhere between the first and the last
 * write, once or several times; or kills its workers one by one, or the helper that forks them.
 * Then the run is resumed to its end. The result is that of an uninterrupted run, bit for bit,
 * every row is in the file once, what had been reported written is there, nothing that was done was
 * computed again, and no worker process outlives its run.
 *
 * FACPOOL_TEST_SEED, FACPOOL_TEST_FIRST and FACPOOL_TEST_CYCLES choose the cycles. */
#include "real_judge.h"

typedef enum victim { THE_RUN, WORKERS, HELPER, N_VICTIMS } victim;

static const char *const victim_names[N_VICTIMS] = {"the run", "single workers", "the helper"};

static unsigned n_kills[N_VICTIMS], n_hits[N_VICTIMS], n_tries, n_in_processes, cycle;

/* ------------------------------------------------------------------ killing */

static victim choose_victim(const job_page *s, random_numbers *r)
{
    if (s->executor != FACPOOL_EXECUTOR_PROCESS || random_chance(r, 50))
        return THE_RUN;
    return random_chance(r, 50) ? WORKERS : HELPER;
}

static bool kill_process(int pid)
{
    return pid > 1 && kill(pid, SIGKILL) == 0;
}

/* Kills one of those at work. */
static bool kill_worker(const job_page *s, random_numbers *r)
{
    uint32_t first = random_below(r, WORKERS_MAX);
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        if (kill_process(s->worker_pids[(first + i) % WORKERS_MAX]))
            return true;
    return false;
}

/* Waits until the job has called so many tasks and (unless `early`) written something, or is over.
 */
static bool reaches(const job_page *s, pid_t pid, uint64_t target, bool early)
{
    siginfo_t ended = {0};
    while (!s->over) {
        if (s->done >= target && (early || s->rows_written))
            return true;
        if (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) || ended.si_pid)
            return false;
        sleep_us(150);
    }
    return false;
}

/* Returns how many kills there were before the run was over. */
static unsigned strike(const job_page *s, random_numbers *r, victim who, pid_t pid, uint64_t left)
{
    bool early = random_chance(r, 3); /* now and then before the first write */
    unsigned wanted = who == WORKERS ? random_between(r, 1, 4) : 1, n = 0;
    for (unsigned i = 0; i < wanted; i++) {
        if (!reaches(s, pid, left * random_between(r, 2, 90) / 100, early))
            return n;
        n += who == THE_RUN   ? kill_process((int)pid)
             : who == WORKERS ? kill_worker(s, r)
                              : kill_process(s->helper);
    }
    return n;
}

/* A task is blamed for its worker's death, or its group. */
static void check_blame(const job_page *s, const stored_rows *before, const stored_rows *after,
                        unsigned kills)
{
    uint32_t at_once = s->group_by == FACPOOL_GROUP_NONE   ? 1
                       : s->group_by == FACPOOL_GROUP_DATE ? s->n_codes
                                                           : s->n_dates;
    CHECK(after->n_crashed <= before->n_crashed + kills * at_once);
}

/* A run ends as its victim's death lets it. */
static void check_end(int state, victim who, unsigned kills)
{
    if (who == THE_RUN && kills)
        CHECK(was_killed(state) || ended_with(state, 0));
    else if (who == HELPER && kills)
        CHECK(ended_with(state, FACPOOL_E_WORKER) || ended_with(state, 0));
    else
        CHECK(ended_with(state, 0));
}

/* Starts a child, kills it or what belongs to it, and looks at what it left. Returns false where it
 * came to its end. */
static bool kill_once(job_page *s, random_numbers *r, const char *path, const char *page_path)
{
    static stored_rows before, after;
    int state = 0, alive;
    read_backup(s, path, &before);
    reset_counts(s);
    victim who = choose_victim(s, r);
    pid_t pid = spawn_child(path, page_path, &alive);
    unsigned kills = strike(s, r, who, pid, n_tasks(s) - before.n_final);
    state = wait_child(pid, alive);
    check_end(state, who, kills);
    read_after(s, path, &before, &after);
    check_reported(&before, &after, s->rows_written);
    CHECK(s->rows_written >= s->rows_durable);
    check_blame(s, &before, &after, who == WORKERS ? kills : 0);
    if (ended_with(state, 0))
        CHECK_INT(after.n, n_tasks(s));
    bool wrote = after.n_stored > before.n_stored || s->rows_written;
    n_tries++;
    n_kills[who] += kills;
    n_hits[who] += wrote && (who == WORKERS || after.n < n_tasks(s)) ? kills : 0;
    n_in_processes += kills && s->executor == FACPOOL_EXECUTOR_PROCESS;
    return after.n < n_tasks(s);
}

/* ------------------------------------------------------------------ cycles */

static void print_counts(unsigned n_cycles)
{
    printf("%u cycles, %u children (%u with worker processes killed)\n", n_cycles, n_tries,
           n_in_processes);
    for (int v = 0; v < N_VICTIMS; v++)
        printf("  %u kills of %s, %u of them between the first and the last write\n", n_kills[v],
               victim_names[v], n_hits[v]);
}

static void killed_runs_resume_to_the_uninterrupted_result(void)
{
    uint64_t seed = environment_seed();
    unsigned first = (unsigned)environment_number("FACPOOL_TEST_FIRST", 0);
    unsigned n_cycles =
        (unsigned)environment_number("FACPOOL_TEST_CYCLES", of_tier(20, 280, 24000));
    char path[512], page_path[512];
    snprintf(page_path, sizeof page_path, "%s", scratch_path("page"));
    job_page *s = map_page(page_path);
    CHECK(s);
    for (cycle = first; cycle < first + n_cycles; cycle++) {
        random_numbers r = {mix_bits(seed + cycle)};
        store = &storage_cases[cycle % N_STORAGE_CASES];
        snprintf(path, sizeof path, "%s", storage_path());
        choose_job(s, &r);
        uint32_t times = random_chance(&r, 60) ? 1 : random_between(&r, 2, 4);
        while (times-- && kill_once(s, &r, path, page_path))
            ;
        resume_to_end(s, &r, path, page_path);
        remove_store(path);
    }
    munmap(s, sizeof *s);
    print_counts(n_cycles);
    if (n_cycles < 100)
        return;
    CHECK(n_kills[THE_RUN] + n_kills[WORKERS] + n_kills[HELPER] >= n_cycles * 9 / 10);
    CHECK(n_hits[THE_RUN] * 10 >= n_kills[THE_RUN] * 8);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2], NULL);
    if (!scratch_make("kill")) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    RUN(killed_runs_resume_to_the_uninterrupted_result);
    end_running_child();
    if (test_failures)
        printf("in cycle %u (FACPOOL_TEST_FIRST=%u FACPOOL_TEST_CYCLES=1):\n%s", cycle, cycle,
               parameters);
    scratch_remove();
    return TEST_END();
}
