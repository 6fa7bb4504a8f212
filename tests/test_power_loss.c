/* Power loss on a real file system: jobs, single writers and compact work on an ext4 whose device
 * takes no write any more in the middle of it. After what it had taken is mounted again every row
 * that had been reported durable is there, for each durability what it promises, no row is wrong, a
 * compacted file is the old one or the new one, and a resumed job ends as if nothing had ever
 * happened.
 *
 * FACPOOL_TEST_SEED, FACPOOL_TEST_FIRST and FACPOOL_TEST_CYCLES choose the cycles. */
#include "loop_disk.h"
#include "real_judge.h"

#include <pthread.h>

typedef enum kind { JOB_CYCLE, WRITER_CYCLE, COMPACT_CYCLE, N_KINDS } cycle_kind;

static volatile sig_atomic_t interrupted;
static unsigned cycle, n_cuts[N_KINDS], n_between, n_lost_some, n_none_lost, n_just_closed;
static uint64_t n_durable, n_kept;

static const char *disk_path(void)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/store%u%s", disk, cycle, store->suffix);
    return path;
}

static void lose_power(void)
{
    CHECK(!interrupted);
    CHECK(cut_power());
}

static void get_power_back(void)
{
    CHECK(restore_power());
}

/* ------------------------------------------------------------------ jobs */

/* Whether the job comes so far that it has called so many tasks and written, or synced, something;
 * false where it is over before. */
static bool gets_going(const job_page *s, pid_t pid, uint64_t target)
{
    siginfo_t ended = {0};
    while (!s->over && !interrupted) {
        bool shows = s->durability == FACPOOL_DURABILITY_NONE ? s->rows_written : s->rows_durable;
        if (s->done >= target && shows)
            return true;
        if (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) || ended.si_pid)
            return false;
        sleep_us(100);
    }
    return false;
}

/* Cuts the power under a child; it is killed, or finds out by itself. Returns how many rows it had
 * reported durable; all, where it had ended well. */
static uint64_t cut_under_child(job_page *s, random_numbers *r, const char *page_path,
                                uint32_t left)
{
    int state = 0, alive;
    pid_t pid = spawn_child(disk_path(), page_path, &alive);
    gets_going(s, pid, (uint64_t)left * random_between(r, 0, 95) / 100);
    uint64_t durable = s->rows_durable;
    bool was_over = s->over;
    lose_power();
    if (random_chance(r, 50))
        kill(pid, SIGKILL);
    state = wait_child(pid, alive);
    /* SQLite has a file of its own mapped, which is cut off under it; and what it reads then, or
     * does not, it may call damaged. */
    bool is_sqlite = strcmp(storage_cases[s->store].name, "sqlite") == 0;
    bool is_cut_off = is_sqlite && ((WIFSIGNALED(state) && WTERMSIG(state) == SIGBUS) ||
                                    ended_with(state, FACPOOL_E_CORRUPT));
    if (!was_killed(state) && !is_cut_off && !ended_with(state, FACPOOL_E_IO))
        CHECK_INT(state, 0);
    bool safe = was_over && s->durability != FACPOOL_DURABILITY_NONE;
    return safe && ended_with(state, 0) ? left : durable;
}

/* Mostly synced after every block; where syncs come in groups it lasts for some of them. */
static void choose_durable_job(job_page *s, random_numbers *r)
{
    uint32_t which = random_below(r, 100);
    choose_job(s, r);
    s->durability = which < 55   ? FACPOOL_DURABILITY_BATCH
                    : which < 85 ? FACPOOL_DURABILITY_GROUP
                                 : FACPOOL_DURABILITY_NONE;
    s->queue_bytes = 1;
    if (s->durability == FACPOOL_DURABILITY_GROUP)
        s->task_us = random_between(r, 250000, 400000) * (s->workers < 2 ? 1 : 2) / n_tasks(s);
    describe_job(s);
}

static void cut_under_a_job(random_numbers *r, const char *page_path, job_page *s)
{
    static stored_rows before, after;
    choose_durable_job(s, r);
    for (uint32_t times = random_between(r, 1, 2); times; times--) {
        read_backup(s, disk_path(), &before);
        reset_counts(s);
        uint32_t left = n_tasks(s) - before.n_final;
        uint64_t durable = cut_under_child(s, r, page_path, left);
        get_power_back();
        read_after(s, disk_path(), &before, &after);
        check_reported(&before, &after, durable);
        n_cuts[JOB_CYCLE]++;
        n_durable += store->sink ? 0 : durable;
        n_kept += store->sink ? 0 : after.n_stored - before.n_stored;
        n_between += after.n < n_tasks(s) && durable > 0;
        n_lost_some += after.n_stored - before.n_stored < s->rows_written;
    }
    resume_to_end(s, r, disk_path(), page_path);
}

/* ------------------------------------------------------------------ single writers */

/* A thread that appends suite rows one at a time, each round of all keys telling itself from the
 * one before. */
typedef struct lone_writer {
    facpool_writer *writer;
    atomic_uint appended;
    atomic_uint synced; /* the first so many keys are safe */
    atomic_uint is_closed;
    uint32_t sync_every;
    bool close_syncs;
    int rc;
    facpool_error err;
} lone_writer;

static void *append_alone(void *user)
{
    lone_writer *w = user;
    int rc = 0;
    for (unsigned key = 0; !rc && key < SUITE_KEYS; key++) {
        suite_rows row;
        suite_rows_range(&row, key, key + 1, 1, 0);
        rc = facpool_writer_append(w->writer, &row.rows, &w->err);
        w->appended = key + 1;
        if (rc || (key + 1) % w->sync_every)
            continue;
        rc = facpool_writer_sync(w->writer, &w->err);
        if (!rc)
            w->synced = key + 1;
    }
    int close_rc = facpool_writer_close(w->writer, rc ? NULL : &w->err);
    w->rc = rc ? rc : close_rc;
    if (!w->rc && w->close_syncs)
        w->synced = SUITE_KEYS;
    w->is_closed = 1;
    return NULL;
}

/* Which keys the store has: each with its row. What was not synced may be there in part, in any
 * order: blocks are all ok or all not ok. */
static void read_keys(suite_model *model)
{
    facpool_reader *reader = NULL;
    const char *path = disk_path();
    suite_model_clear(model);
    int rc = storage_open(&reader, &path, 1);
    if (has_no_rows_yet(rc, path))
        return;
    CHECK_OK(rc, err);
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        size_t key = suite_key(row.date, row.code);
        CHECK(key < SUITE_KEYS);
        suite_model_add(model, key, key + 1, 1, 0);
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    check_suite_reader(reader, model);
    facpool_reader_free(reader);
}

static void cut_under_a_writer(random_numbers *r)
{
    facpool_backup_options options = storage_options(disk_path(), FACPOOL_MODE_CREATE);
    lone_writer w = {.sync_every = random_between(r, 1, 12), .err = FACPOOL_ERROR_INIT};
    pthread_t thread;
    options.durability = (int32_t)random_between(r, 1, 3);
    options.batch_rows = random_between(r, 1, 10);
    options.flush_ms = 1;
    w.close_syncs = options.durability != FACPOOL_DURABILITY_NONE;
    w.writer = suite_writer(&options);
    bool when_closed = random_chance(r, 25);
    unsigned target = random_below(r, SUITE_KEYS);
    CHECK_INT(pthread_create(&thread, NULL, append_alone, &w), 0);
    while (when_closed ? !w.is_closed : w.appended < target)
        sched_yield(); /* the sooner after that the better */
    unsigned synced = w.synced;
    bool cut = cut_power();
    pthread_join(thread, NULL);
    CHECK(cut && (w.rc == 0 || w.rc == FACPOOL_E_IO));
    get_power_back();
    suite_model kept;
    read_keys(&kept);
    unsigned n_more = 0;
    for (unsigned key = 0; key < SUITE_KEYS; key++) {
        bool has = kept.round[key] >= 0;
        if (has ? key >= w.appended : key < synced)
            printf("  row %u is %s: %u were synced, %u appended, durability %d, batches of %u\n",
                   key, has ? "there" : "missing", synced, w.appended, (int)options.durability,
                   options.batch_rows);
        CHECK(has ? key < w.appended : key >= synced);
        n_more += has && key >= synced;
    }
    n_cuts[WRITER_CYCLE]++;
    n_just_closed += when_closed && w.close_syncs;
    n_none_lost += n_more == 0 && synced < w.appended;
    options.mode = FACPOOL_MODE_RESUME;
    facpool_writer *writer = suite_writer(&options);
    for (unsigned key = 0; key < SUITE_KEYS; key++)
        if (kept.round[key] < 0)
            suite_append(writer, key, key + 1, 1, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    suite_model_add(&kept, 0, SUITE_KEYS, 1, 0);
    check_suite_store(disk_path(), &kept);
}

/* ------------------------------------------------------------------ compact */

static void *compact_for_ever(void *user)
{
    const char *path = user;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc;
    while ((rc = facpool_backup_compact(path, &error)) == 0)
        ;
    return rc == FACPOOL_E_IO ? NULL : user;
}

static void cut_under_compact(random_numbers *r)
{
    suite_model model;
    pthread_t thread;
    void *wrong = NULL;
    char path[300];
    snprintf(path, sizeof path, "%s", disk_path());
    suite_write_all(path, &model);
    CHECK_INT(pthread_create(&thread, NULL, compact_for_ever, path), 0);
    sleep_us(random_below(r, 20000)); /* any moment will do */
    bool cut = cut_power();
    pthread_join(thread, &wrong);
    CHECK(cut && !wrong);
    get_power_back();
    check_suite_store(path, &model);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK(report.closed);
    CHECK_OK(facpool_backup_compact(path, &err), err);
    check_suite_store(path, &model);
    n_cuts[COMPACT_CYCLE]++;
}

/* ------------------------------------------------------------------ the cut itself */

/* Returns its descriptor: it is written, and on its way at most. */
static int write_on_disk(const char *name)
{
    char file[300];
    snprintf(file, sizeof file, "%s/%s", disk, name);
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, name, strlen(name)), strlen(name));
    return fd;
}

static long long bytes_on_disk(const char *name)
{
    char file[300];
    snprintf(file, sizeof file, "%s/%s", disk, name);
    return access(file, F_OK) == 0 ? (long long)file_bytes(file) : -1;
}

/* A cut that loses nothing would prove nothing. */
static void a_cut_keeps_what_was_synced_and_no_more(void)
{
    CHECK(mount_disk());
    int kept = write_on_disk("kept");
    CHECK_INT(fsync(kept), 0);
    int lost = write_on_disk("lost");
    lose_power();
    CHECK(fsync(lost) != 0);
    close(kept);
    close(lost);
    get_power_back();
    CHECK_INT(bytes_on_disk("kept"), 4);
    CHECK(bytes_on_disk("lost") <= 0);
    CHECK(unmount_disk());
}

/* ------------------------------------------------------------------ cycles */

/* The store, and hidden files that compact may have left. */
static void clear_disk(void)
{
    DIR *listing = opendir(disk);
    CHECK(listing);
    for (struct dirent *entry; (entry = readdir(listing));) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", disk, entry->d_name);
        unlink(path); /* folders stay */
    }
    closedir(listing);
}

static void run_cycle(random_numbers *r, const char *page_path, job_page *s)
{
    store = &storage_cases[cycle % N_STORAGE_CASES];
    CHECK(mount_disk());
    clear_disk();
    uint32_t kind = random_below(r, 100);
    if (kind < 60 || (kind >= 80 && store->sink))
        cut_under_a_job(r, page_path, s);
    else if (kind < 80)
        cut_under_a_writer(r);
    else
        cut_under_compact(r);
    CHECK(unmount_disk());
}

static void what_was_durable_outlives_the_power(void)
{
    uint64_t seed = environment_seed();
    unsigned first = (unsigned)environment_number("FACPOOL_TEST_FIRST", 0);
    unsigned n_cycles = (unsigned)environment_number("FACPOOL_TEST_CYCLES", of_tier(6, 100, 20000));
    char page_path[512];
    snprintf(page_path, sizeof page_path, "%s", scratch_path("page"));
    job_page *s = map_page(page_path);
    CHECK(s);
    for (cycle = first; cycle < first + n_cycles; cycle++) {
        random_numbers r = {mix_bits(seed + cycle)};
        CHECK(!interrupted);
        run_cycle(&r, page_path, s);
    }
    munmap(s, sizeof *s);
    printf(
        "%u cycles: power lost under %u jobs (%u of them between the first durable row and the "
        "last), %u writers (%u as they had just closed what they synced), %u times under compact\n",
        n_cycles, n_cuts[JOB_CYCLE], n_between, n_cuts[WRITER_CYCLE], n_just_closed,
        n_cuts[COMPACT_CYCLE]);
    printf("  jobs: %llu rows had been reported durable in files, %llu were there; %u lost rows "
           "that were "
           "written only; writers: %u kept what was synced and no more\n",
           (unsigned long long)n_durable, (unsigned long long)n_kept, n_lost_some, n_none_lost);
    if (n_cycles >= 40)
        CHECK(n_between * 4 >= n_cuts[JOB_CYCLE] && n_lost_some + n_none_lost > 0);
}

/* The cycle then fails, and the test ends as after any failure. */
static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
    if (running_child)
        kill((pid_t)running_child, SIGKILL);
}

static int skip(const char *reason)
{
    printf("SKIP: %s\n", reason);
    return EXIT_SKIPPED;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2], NULL);
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (geteuid() != 0 || enter_mount_namespace(false) != 0)
        return skip("mounting a disk needs root");
    suite_begin();
    if (!scratch_make("power-loss"))
        return EXIT_FAILURE;
    const char *lacks = make_disk();
    int status = EXIT_SKIPPED;
    if (!lacks) {
        RUN(a_cut_keeps_what_was_synced_and_no_more);
        if (!test_failures)
            RUN(what_was_durable_outlives_the_power);
        end_running_child();
        if (test_failures && store)
            printf("in cycle %u (FACPOOL_TEST_FIRST=%u FACPOOL_TEST_CYCLES=1), %s:\n%s", cycle,
                   cycle, store->name, parameters);
        status = TEST_END();
    }
    remove_disk();
    scratch_remove();
    return lacks ? skip(lacks) : status;
}
