/* A disk that fills up: a file system in memory of every size from nearly nothing to more than
 * enough, with runs (serial, threads, worker processes) in every file format and the example's
 * SQLite sink. A run either ends well or with IO and ENOSPC, never by a signal; the rows it
 * reported written are there and right, a reader that has the file open reads on, a resume on the
 * full disk loses nothing, and a resume after room was made ends as if nothing had ever happened.
 * Compact and convert leave the old file or the new one, and no other. */
#include "private_mount.h"
#include "real_judge.h"

#define PAGE   4096
#define AMPLE  ((uint64_t)64 << 20)
#define N_ROWS 5760

static char disk[256];
static unsigned n_full, n_whole, n_nothing, size_number;

static void resize_disk(uint64_t bytes)
{
    CHECK(mount_memory(disk, bytes, true));
}

static const char *disk_path(void)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/store%s", disk, store->suffix);
    return path;
}

/* How many files there are on the disk. */
static unsigned count_files(void)
{
    unsigned n = 0;
    DIR *listing = opendir(disk);
    CHECK(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    return n;
}

/* ------------------------------------------------------------------ runs */

static void prepare_job(job_page *s, random_numbers *r)
{
    static const int32_t executors[] = {FACPOOL_EXECUTOR_SERIAL, WITH_THREADS, WITH_PROCESSES};
    *s = (job_page){.seed = random_bits(r),
                    .store = (uint32_t)(store - storage_cases),
                    .n_dates = 60,
                    .n_codes = N_ROWS / 60,
                    .n_factors = 6,
                    .executor = executors[size_number % 3],
                    .group_by = FACPOOL_GROUP_NONE,
                    .durability = (int32_t)random_between(r, 1, 3),
                    .no_async = random_chance(r, 25),
                    .by_slices = random_chance(r, 50),
                    .batch_rows = 20,
                    .flush_ms = 1,
                    .queue_bytes = 1};
    s->workers = s->executor == FACPOOL_EXECUTOR_SERIAL ? 1 : random_between(r, 1, WORKERS_MAX);
    describe_job(s);
}

/* The run's error is that of a full disk. SQLite gives no errno. */
static void check_disk_full(int rc)
{
    if (rc != FACPOOL_E_IO)
        printf("  %d: %s\n", rc, err.message);
    CHECK_INT(rc, FACPOOL_E_IO);
    CHECK(strstr(err.message, "full"));
    if (!store->sink)
        CHECK_INT(err.os_errno, ENOSPC);
}

/* Runs on what room there is. Returns whether it ended well. */
static bool run_on_disk(job_page *s)
{
    static stored_rows before, after;
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(make_tasks(s, &tasks), err);
    read_backup(s, disk_path(), &before);
    reset_counts(s);
    int rc = run_job(s, disk_path(), tasks, &result);
    if (rc)
        check_disk_full(rc);
    if (result)
        CHECK_OK(facpool_result_report(result, &report, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    CHECK(rc || report.ok + report.resumed > 0);
    if (store->sink) /* whose readers need room of their own */
        resize_disk(AMPLE);
    read_after(s, disk_path(), &before, &after);
    check_reported(&before, &after, report.rows_written);
    if (!store->sink) /* nor is there a row that was not reported */
        CHECK_INT(after.n_stored - before.n_stored, report.rows_written);
    n_nothing += after.n == 0;
    return rc == 0;
}

/* Rows that are left in an answer, each looked at. */
static size_t read_on(const job_page *s, facpool_cursor *cursor)
{
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        check_row(s, index_of(s, row.date, row.code), &row);
        n++;
    }
    CHECK_OK(rc, err);
    return n;
}

/* A second try on the full disk, with a reader that began before it and ends behind it. */
static void try_again_with_a_reader(job_page *s)
{
    static stored_rows before;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    read_backup(s, disk_path(), &before);
    if (before.n == 0 || store->sink) /* whose reader would keep what needs room */
        return;
    filter.statuses = FACPOOL_STATUS_ALL;
    reader = storage_reader(disk_path());
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    run_on_disk(s);
    CHECK_INT(read_on(s, cursor), before.n - 1);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
}

/* How much room the job's store takes at most: threads write smaller blocks, and SQLite has its log
 * beside it. */
static uint64_t room_needed(random_numbers *r)
{
    static job_page s;
    prepare_job(&s, r);
    s.executor = FACPOOL_EXECUTOR_SERIAL;
    resize_disk(AMPLE);
    CHECK(run_on_disk(&s));
    uint64_t bytes = (uint64_t)file_bytes(disk_path()) * (store->sink ? 6 : 2);
    remove_store(disk_path());
    return bytes;
}

static void try_size(job_page *s, random_numbers *r, uint64_t bytes, const char *page_path)
{
    prepare_job(s, r);
    resize_disk(bytes);
    bool whole = run_on_disk(s);
    n_full += !whole;
    n_whole += whole;
    if (!whole && random_chance(r, 50))
        try_again_with_a_reader(s);
    resize_disk(AMPLE);
    resume_to_end(s, r, disk_path(), page_path);
    CHECK(store->sink || count_files() == 1);
    remove_store(disk_path());
    CHECK_INT(count_files(), 0);
}

static void runs_on_disks_of_every_size(void)
{
    random_numbers r = {environment_seed()};
    unsigned n_sizes = of_tier(6, 64, 1024);
    char page_path[512];
    snprintf(page_path, sizeof page_path, "%s", scratch_path("page"));
    job_page *s = map_page(page_path);
    CHECK(s);
    for (size_t i = 0; i < N_STORAGE_CASES; i++) {
        store = &storage_cases[i];
        n_full = n_whole = n_nothing = 0;
        uint64_t pages = room_needed(&r) / PAGE + 2;
        for (size_number = 0; size_number < n_sizes; size_number++)
            try_size(s, &r, PAGE * (1 + pages * size_number / (n_sizes - 1)), page_path);
        printf("  %s: %u sizes up to %llu pages, %u of them too small (%u for any row)\n",
               store->name, n_sizes, (unsigned long long)pages, n_full, n_nothing);
        CHECK(n_full > 0 && n_whole > 0);
    }
    munmap(s, sizeof *s);
}

/* ------------------------------------------------------------------ rewriting */

/* A finished backup, and so much room beside it. */
static void rewrite_in(job_page *s, uint64_t room, bool by_convert, bool *succeeded)
{
    static stored_rows rows;
    const char *path = disk_path();
    facpool_backup_options to = storage_options(path, FACPOOL_MODE_OVERWRITE);
    uint64_t used = ((uint64_t)file_bytes(path) + PAGE - 1) / PAGE * PAGE;
    resize_disk(used + room);
    int rc = by_convert ? facpool_backup_convert(&path, 1, &to, &err)
                        : facpool_backup_compact(path, &err);
    if (rc)
        check_disk_full(rc);
    CHECK_INT(count_files(), 1);
    read_backup(s, path, &rows);
    CHECK_INT(rows.n, n_tasks(s));
    *succeeded = rc == 0;
}

static void compact_and_convert_without_room_change_nothing(void)
{
    resize_disk(AMPLE);
    remove_store(disk_path()); /* where the test before failed */
    random_numbers r = {environment_seed()};
    static job_page s;
    unsigned n_sizes = of_tier(4, 12, 200), n_done = 0, n_refused = 0;
    for (size_t i = 0; i < N_FILE_FORMATS; i++) {
        store = &storage_cases[i];
        for (size_number = 0; size_number < n_sizes; size_number++) {
            bool succeeded;
            resize_disk(AMPLE);
            prepare_job(&s, &r);
            s.executor = FACPOOL_EXECUTOR_SERIAL; /* the page is this process's alone */
            CHECK(run_on_disk(&s));
            uint64_t room = (uint64_t)file_bytes(disk_path()) * 5 / 4;
            room = room / PAGE * size_number / (n_sizes - 1) * PAGE;
            rewrite_in(&s, room, size_number % 2, &succeeded);
            n_done += succeeded;
            n_refused += !succeeded;
            remove_store(disk_path());
        }
    }
    printf("  %u rewrites had room, %u had not\n", n_done, n_refused);
    CHECK(n_done > 0 && n_refused > 0);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child_main(argv[1], argv[2], NULL);
    int refused = enter_mount_namespace(true);
    if (!refused && !scratch_make("full-disk"))
        return EXIT_FAILURE;
    snprintf(disk, sizeof disk, "%s/disk", scratch_folder);
    if (!refused && (mkdir(disk, 0700) != 0 || !mount_memory(disk, AMPLE, false)))
        refused = errno;
    if (refused) {
        printf("SKIP: no file system can be mounted here: %s\n", strerror(refused));
        rmdir(disk);
        scratch_remove();
        return EXIT_SKIPPED;
    }
    RUN(runs_on_disks_of_every_size);
    if (test_failures)
        printf("at size %u:\n%s", size_number, parameters);
    RUN(compact_and_convert_without_room_change_nothing);
    umount2(disk, MNT_DETACH);
    rmdir(disk);
    scratch_remove();
    return TEST_END();
}
