/* kill -9 at chosen points: a child dies before, in the middle of or after the k-th call that
 * writes, cuts, syncs, renames or removes a file, over all of a job's life: while it makes its
 * backup, while it works, while it closes, and while it resumes what an earlier death left. What is
 * left is judged each time, and the job resumed to its end (real_judge.h). So it is with children
 * that compact, convert or repair a backup: the old file is left, or the new one, with all rows.
 *
 * FACPOOL_TEST_SEED, FACPOOL_TEST_FIRST and FACPOOL_TEST_CYCLES choose the cycles. */
#include "real_judge.h"
#include "killing_calls.h"

_Static_assert((int)N_FILE_CALLS == FILE_CALL_KINDS, "each kind of call has its count");

static unsigned n_children, n_kills, n_of_resumes, n_in_call[N_FILE_CALLS], n_in_part[N_KILL_PARTS];
static unsigned cycle;

static void prepare_child(job_page *s)
{
    choose_deadly_call((file_call)s->kill_kind, s->kill_call, (kill_part)s->kill_part,
                       &s->was_deadly);
    count_calls(s->file_calls);
}

/* How many calls of each kind the job makes when it is let alone, about. */
static void count_whole_life(job_page *s, uint32_t *n_calls)
{
    char path[512];
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    snprintf(path, sizeof path, "%s", storage_path());
    CHECK_OK(make_tasks(s, &tasks), err);
    reset_counts(s);
    count_calls(s->file_calls);
    int rc = run_job(s, path, tasks, &result);
    counted_calls = NULL;
    CHECK_OK(rc, err);
    for (int kind = 0; kind < N_FILE_CALLS; kind++)
        n_calls[kind] = s->file_calls[kind];
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    remove_store(path);
}

static file_call choose_kind(random_numbers *r, const uint32_t *n_calls)
{
    static const file_call kinds[] = {CALL_WRITE, CALL_WRITE, CALL_WRITE, CALL_WRITE, CALL_SYNC,
                                      CALL_SYNC,  CALL_CUT,   CALL_NAME,  CALL_REMOVE};
    file_call kind;
    do
        kind = kinds[random_below(r, sizeof kinds / sizeof *kinds)];
    while (!n_calls[kind]);
    return kind;
}

/* A third of the points are where the file is made or opened, some where it is closed. */
static void choose_point(job_page *s, random_numbers *r, const uint32_t *n_calls)
{
    s->kill_kind = choose_kind(r, n_calls);
    s->kill_part = random_below(r, N_KILL_PARTS);
    uint32_t n = n_calls[s->kill_kind], where = random_below(r, 100);
    if (where < 35)
        s->kill_call = random_between(r, 1, n < 3 ? n : 3);
    else if (where < 50)
        s->kill_call = n - random_below(r, n < 3 ? n : 3);
    else
        s->kill_call = random_between(r, 1, n);
}

/* Returns false where the child came to its end. */
static bool kill_once(job_page *s, random_numbers *r, const char *path, const char *page_path,
                      const uint32_t *n_calls)
{
    static stored_rows before, after;
    int state = 0, alive;
    read_backup(s, path, &before);
    reset_counts(s);
    choose_point(s, r, n_calls);
    pid_t pid = spawn_child(path, page_path, &alive);
    state = wait_child(pid, alive);
    CHECK(was_killed(state) ? s->was_deadly : ended_with(state, 0));
    read_after(s, path, &before, &after);
    check_reported(&before, &after, s->rows_written);
    n_children++;
    if (!was_killed(state)) {
        CHECK_INT(after.n, n_tasks(s));
        return false;
    }
    n_kills++;
    n_of_resumes += before.n > 0;
    n_in_call[s->kill_kind]++;
    n_in_part[s->kill_part]++;
    return true;
}

static void print_counts(unsigned n_cycles)
{
    printf("%u cycles, %u children, %u killed (%u of them while resuming): in", n_cycles,
           n_children, n_kills, n_of_resumes);
    for (int kind = 1; kind < N_FILE_CALLS; kind++)
        printf(" %u %s", n_in_call[kind], file_call_names[kind]);
    printf("; %u before the call, %u halfway, %u after\n", n_in_part[BEFORE], n_in_part[HALFWAY],
           n_in_part[AFTER]);
}

static void run_cycle(job_page *s, random_numbers *r, const char *page_path)
{
    char path[512];
    snprintf(path, sizeof path, "%s", storage_path());
    choose_job(s, r);
    s->task_us /= 4; /* the moment is chosen, not met by chance */
    describe_job(s);
    uint32_t n_calls[N_FILE_CALLS];
    count_whole_life(s, n_calls);
    CHECK(n_calls[CALL_WRITE] > 0);
    for (uint32_t times = random_between(r, 1, 3); times; times--)
        if (!kill_once(s, r, path, page_path, n_calls))
            break;
    resume_to_end(s, r, path, page_path);
    remove_store(path);
}

static void runs_killed_in_a_file_call_resume_to_the_uninterrupted_result(void)
{
    uint64_t seed = environment_seed();
    unsigned first = (unsigned)environment_number("FACPOOL_TEST_FIRST", 0);
    unsigned n_cycles =
        (unsigned)environment_number("FACPOOL_TEST_CYCLES", of_tier(20, 220, 16000));
    char page_path[512];
    snprintf(page_path, sizeof page_path, "%s", scratch_path("page"));
    job_page *s = map_page(page_path);
    CHECK(s);
    for (cycle = first; cycle < first + n_cycles; cycle++) {
        random_numbers r = {mix_bits(seed ^ mix_bits(cycle))};
        store = &storage_cases[cycle % N_STORAGE_CASES];
        run_cycle(s, &r, page_path);
    }
    munmap(s, sizeof *s);
    print_counts(n_cycles);
    if (n_cycles < 100)
        return;
    CHECK(n_kills * 10 >= n_cycles * 8);
    for (int kind = 1; kind < N_FILE_CALLS; kind++)
        CHECK(n_in_call[kind] > 0);
}

/* ------------------------------------------------------------------ rewriting */

typedef enum errand { RUNS, COMPACTS, CONVERTS, REPAIRS, N_ERRANDS } errand;

static unsigned n_errands_killed[N_ERRANDS], n_replaced, errand_number;

static int do_errand(errand what, const char *path)
{
    facpool_backup_options to = storage_options(path, FACPOOL_MODE_OVERWRITE);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    if (what == COMPACTS)
        return facpool_backup_compact(path, &err);
    return what == CONVERTS ? facpool_backup_convert(&path, 1, &to, &err)
                            : facpool_backup_repair(path, &report, &err);
}

static int errand_main(const char *path, const char *page_path)
{
    job_page *s = map_page(page_path);
    if (!s)
        return 99;
    store = &storage_cases[s->store];
    prepare_child(s);
    return EXIT_OF(do_errand((errand)s->errand, path));
}

/* A finished backup, whose end is torn off where it is to be repaired. */
static void prepare_errand(job_page *s, random_numbers *r, const char *path)
{
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    choose_job(s, r);
    s->task_us = 0;
    s->executor = FACPOOL_EXECUTOR_SERIAL;
    s->workers = 1;
    s->errand = random_between(r, COMPACTS, REPAIRS);
    describe_job(s);
    CHECK_OK(make_tasks(s, &tasks), err);
    CHECK_OK(run_job(s, path, tasks, &result), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    long long torn = s->errand == REPAIRS ? file_bytes(path) / 20 : 0;
    CHECK(truncate(path, file_bytes(path) - (torn ? random_below(r, (uint32_t)torn) : 0)) == 0);
}

/* How many calls the errand makes, on a copy. */
static void count_errand(job_page *s, const char *path, uint32_t *n_calls)
{
    const char *copy = scratch_path("copy");
    size_t size = 0;
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes && file_write(copy, bytes, size));
    free(bytes);
    reset_counts(s);
    count_calls(s->file_calls);
    int rc = do_errand((errand)s->errand, copy);
    counted_calls = NULL;
    CHECK_OK(rc, err);
    for (int kind = 0; kind < N_FILE_CALLS; kind++)
        n_calls[kind] = s->file_calls[kind];
    unlink(copy);
}

static void kill_errand(job_page *s, random_numbers *r, const char *path, const char *page_path)
{
    static stored_rows before, after;
    uint32_t n_calls[N_FILE_CALLS];
    struct stat old, new;
    int alive;
    prepare_errand(s, r, path);
    count_errand(s, path, n_calls);
    read_backup(s, path, &before);
    CHECK(stat(path, &old) == 0);
    reset_counts(s);
    choose_point(s, r, n_calls);
    pid_t pid = spawn_child(path, page_path, &alive);
    int state = wait_child(pid, alive);
    CHECK(was_killed(state) ? s->was_deadly : ended_with(state, 0));
    CHECK(stat(path, &new) == 0);
    n_errands_killed[s->errand] += was_killed(state);
    n_replaced += was_killed(state) && old.st_ino != new.st_ino;
    read_backup(s, path, &after);
    CHECK(memcmp(before.status, after.status, sizeof before.status) == 0);
    CHECK_OK(do_errand((errand)s->errand, path), err);
    s->errand = RUNS;
    resume_to_end(s, r, path, page_path);
}

/* What a killed child could not remove. */
static void remove_leftovers(void)
{
    DIR *listing = opendir(scratch_folder);
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        if (strstr(entry->d_name, ".tmp"))
            unlink(scratch_path(entry->d_name));
    if (listing)
        closedir(listing);
}

static void rewriting_killed_in_a_file_call_leaves_the_old_file_or_the_new_one(void)
{
    uint64_t seed = environment_seed();
    unsigned n = of_tier(9, 90, 6000);
    char path[512], page_path[512];
    snprintf(page_path, sizeof page_path, "%s", scratch_path("page"));
    job_page *s = map_page(page_path);
    CHECK(s);
    for (errand_number = 0; errand_number < n; errand_number++) {
        random_numbers r = {mix_bits(seed ^ mix_bits(errand_number))};
        store = &storage_cases[errand_number % N_FILE_FORMATS];
        snprintf(path, sizeof path, "%s", storage_path());
        kill_errand(s, &r, path, page_path);
        remove_store(path);
        remove_leftovers();
    }
    munmap(s, sizeof *s);
    printf("%u killed in compact, %u in convert, %u in repair; %u had replaced the file\n",
           n_errands_killed[COMPACTS], n_errands_killed[CONVERTS], n_errands_killed[REPAIRS],
           n_replaced);
    if (n >= 90)
        CHECK(n_errands_killed[COMPACTS] + n_errands_killed[CONVERTS] + n_errands_killed[REPAIRS] >=
              n * 8 / 10);
}

static bool is_on_an_errand(const char *page_path)
{
    job_page *s = map_page(page_path);
    bool is = s && s->errand != RUNS;
    if (s)
        munmap(s, sizeof *s);
    return is;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return is_on_an_errand(argv[2]) ? errand_main(argv[1], argv[2])
                                        : child_main(argv[1], argv[2], prepare_child);
    if (!scratch_make("kill-points")) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    RUN(runs_killed_in_a_file_call_resume_to_the_uninterrupted_result);
    end_running_child();
    if (test_failures)
        printf("in cycle %u (FACPOOL_TEST_FIRST=%u FACPOOL_TEST_CYCLES=1):\n%s", cycle, cycle,
               parameters);
    RUN(rewriting_killed_in_a_file_call_leaves_the_old_file_or_the_new_one);
    end_running_child();
    if (test_failures)
        printf("last at rewrite %u:\n%s", errand_number, parameters);
    scratch_remove();
    return TEST_END();
}
