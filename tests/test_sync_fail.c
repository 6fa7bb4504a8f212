/* What is reported durable survives power loss, also where a sync failed before. The disk is the
 * worst that a kernel may make of it: pages whose sync fails are forgotten and called clean, so
 * that a second sync succeeds and saves nothing of them; only what is written again and synced then
 * is on the disk. Whichever syncs fail, a run, a resume and a writer report no row durable that is
 * not in the image of that disk; and a resume that follows leaves all rows there. */
#include "fail_scenarios.h"

#define IO GIVES(FACPOOL_E_IO)

#define N_OF(list) (sizeof(list) / sizeof *(list))

/* ------------------------------------------------------------------ a forgetful disk */

#define DISK_BYTES ((size_t)4 << 20)

/* One file: the first one that is written after forget_file. */
static struct {
    pthread_mutex_t lock;
    bool has_file;
    ino_t inode;
    uint8_t cached[DISK_BYTES]; /* as programs see it */
    uint8_t dirty[DISK_BYTES];  /* 1: differs from the disk, and the kernel knows */
    size_t cached_size;
    uint8_t sent[DISK_BYTES];  /* what the sync under way is to save, */
    uint8_t sends[DISK_BYTES]; /* and which bytes of it */
    size_t sent_size;
    uint8_t saved[DISK_BYTES]; /* on the disk */
    size_t saved_size;
    size_t most_saved; /* ever */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void forget_file(void)
{
    disk.has_file = false;
    memset(disk.dirty, 0, disk.cached_size);
    memset(disk.saved, 0, disk.most_saved);
    disk.cached_size = disk.saved_size = 0;
}

static bool is_on_disk(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && disk.has_file && status.st_ino == disk.inode;
}

/* What was written, also through a descriptor that can't be read from. */
static void read_back(int fd, uint64_t offset, uint64_t bytes)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int readable = __real_open(name, O_RDONLY | O_CLOEXEC);
    if (__real_pread(readable, disk.cached + offset, bytes, (off_t)offset) != (ssize_t)bytes)
        abort();
    __real_close(readable);
}

static void disk_wrote(int fd, uint64_t offset, uint64_t bytes)
{
    struct stat status;
    pthread_mutex_lock(&disk.lock);
    if (!disk.has_file && fstat(fd, &status) == 0) {
        disk.has_file = true;
        disk.inode = status.st_ino;
    }
    if (is_on_disk(fd) && offset + bytes <= DISK_BYTES) {
        read_back(fd, offset, bytes);
        memset(disk.dirty + offset, 1, bytes);
        if (disk.cached_size < offset + bytes)
            disk.cached_size = offset + bytes;
    }
    pthread_mutex_unlock(&disk.lock);
}

static void disk_cut(int fd, uint64_t size)
{
    pthread_mutex_lock(&disk.lock);
    if (is_on_disk(fd) && size < disk.cached_size) {
        memset(disk.dirty + size, 0, disk.cached_size - size);
        disk.cached_size = size;
    }
    pthread_mutex_unlock(&disk.lock);
}

/* What is written from here on is not part of this sync. */
static void disk_sync_begins(int fd)
{
    pthread_mutex_lock(&disk.lock);
    if (is_on_disk(fd)) {
        disk.sent_size = disk.cached_size;
        memcpy(disk.sent, disk.cached, disk.sent_size);
        memcpy(disk.sends, disk.dirty, disk.sent_size);
        memset(disk.dirty, 0, disk.sent_size);
    }
    pthread_mutex_unlock(&disk.lock);
}

static void disk_sync_ended(int fd, bool well)
{
    pthread_mutex_lock(&disk.lock);
    if (is_on_disk(fd) && well) {
        for (size_t i = 0; i < disk.sent_size; i++)
            disk.saved[i] = disk.sends[i] ? disk.sent[i] : disk.saved[i];
        disk.saved_size = disk.sent_size;
        if (disk.most_saved < disk.saved_size)
            disk.most_saved = disk.saved_size;
    }
    pthread_mutex_unlock(&disk.lock);
}

static const file_observer forgetful_disk = {disk_wrote, disk_cut, disk_sync_begins,
                                             disk_sync_ended};

/* ------------------------------------------------------------------ after the power is back */

/* Rows that can be read from what the disk kept; each of them is right. */
static size_t count_saved_rows(void)
{
    char name[sizeof file_name + 8];
    facpool_error image_err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    int kind = pause_failing();
    const file_observer *observing = observer;
    observer = NULL;
    snprintf(name, sizeof name, "image-%s", file_name);
    const char *image = scratch_path(name);
    CHECK(disk.cached_size < DISK_BYTES && file_write(image, disk.saved, disk.saved_size));
    filter.statuses = FACPOOL_STATUS_ALL;
    if (facpool_reader_open(&reader, &image, 1, &image_err) == 0) {
        CHECK_OK(facpool_query(reader, &filter, &cursor, &image_err), image_err);
        int rc;
        while ((rc = facpool_cursor_next(cursor, &row, &image_err)) > 0 || rc == FACPOOL_E_CORRUPT)
            if (rc > 0) {
                check_row(&row);
                n++;
            }
        CHECK_OK(rc, image_err);
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    unlink(image);
    observer = observing;
    go_on_failing(kind);
    return n;
}

/* ------------------------------------------------------------------ rows of a writer */

enum { AT_ONCE = 30 };

static int append_and_sync(facpool_writer *writer, size_t first)
{
    int64_t row_dates[AT_ONCE];
    const char *row_codes[AT_ONCE];
    uint8_t statuses[AT_ONCE];
    double factors[AT_ONCE * N_FACTORS];
    for (size_t i = 0; i < AT_ONCE; i++) {
        row_dates[i] = dates[(first + i) / N_CODES];
        row_codes[i] = codes[(first + i) % N_CODES];
        statuses[i] = (uint8_t)status_of(first + i);
        for (size_t f = 0; f < N_FACTORS; f++)
            factors[i * N_FACTORS + f] = factor_of(first + i, f);
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = AT_ONCE;
    rows.dates = row_dates;
    rows.codes = row_codes;
    rows.statuses = statuses;
    rows.factors = factors;
    int rc = facpool_writer_append(writer, &rows, &err);
    return rc ? rc : facpool_writer_sync(writer, &err);
}

/* The half as a writer leaves it that is killed: what it wrote last is not known to be synced. */
static void make_part_of_killed_writer(void)
{
    remove_backup();
    free_part();
    facpool_backup_options backup = backup_options(FACPOOL_MODE_CREATE);
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, NULL, N_FACTORS, &err), err);
    for (size_t first = 0; first < N_TASKS / 2; first += AT_ONCE)
        CHECK_OK(append_and_sync(writer, first), err);
    part_bytes = file_read(path, &part_size);
    CHECK(part_bytes);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* The same with one of its first rows damaged: a resume gives up what held it, and notes that. */
static void make_damaged_part(void)
{
    make_part_of_killed_writer();
    size_t at = is_lines ? 100 : part_size / 20;
    part_bytes[at] ^= 0x11;
}

/* ------------------------------------------------------------------ runs */

static int run_on_disk(void)
{
    remove_backup();
    forget_file();
    observer = &forgetful_disk;
    int rc = run_fresh();
    observer = NULL;
    return rc;
}

/* What a killed writer had surely synced, by what its file says. */
static void save_what_is_known_durable(void)
{
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    CHECK(info->durable_bytes < disk.cached_size);
    disk.saved_size = disk.most_saved = (size_t)info->durable_bytes;
    memcpy(disk.saved, disk.cached, disk.saved_size);
    memset(disk.dirty, 0, disk.saved_size);
    facpool_info_free(info);
}

/* What a killed writer left was there, the last of it never synced. */
static void put_part_on_disk(void)
{
    remove_backup();
    forget_file();
    observer = &forgetful_disk;
    put_part(false);
    int kind = pause_failing();
    save_what_is_known_durable();
    go_on_failing(kind);
}

static int resume_on_disk(void)
{
    put_part_on_disk();
    scenario_backup.mode = FACPOOL_MODE_RESUME;
    int rc = inner_run();
    observer = NULL;
    return rc;
}

static void durable_rows_are_saved(int rc)
{
    size_t saved = count_saved_rows();
    if (has_report && saved < last_report.rows_durable)
        printf("  %d rows are durable, and %d on the disk\n", (int)last_report.rows_durable,
               (int)saved);
    CHECK(!has_report || saved >= last_report.rows_durable);
    if (rc == 0)
        CHECK_INT(saved, N_TASKS);
    file_can_be_completed(rc);
}

/* Whoever resumes after the failure, before the power is lost, is not told of it by the kernel, and
 * still ends with every row on the disk. */
static void what_is_resumed_is_saved_too(int rc)
{
    size_t saved = count_saved_rows();
    CHECK(!has_report || saved >= last_report.rows_durable);
    if (file_bytes(path) <= 0)
        forget_file(); /* another one takes its place */
    observer = &forgetful_disk;
    file_can_be_completed(rc);
    observer = NULL;
    CHECK_INT(count_saved_rows(), N_TASKS);
}

/* The damage is there until somebody has given it up for good; then no row is there twice, and none
 * that was given up comes back, whatever the disk forgets. */
static void what_was_given_up_is_computed_once(int rc)
{
    (void)rc;
    observer = &forgetful_disk;
    complete_backup();
    observer = NULL;
    CHECK_INT(count_saved_rows(), N_TASKS);
}

/* ------------------------------------------------------------------ a writer */

/* Rows, a sync, and a look at what it has promised, ten times. */
static int write_on_disk(void)
{
    remove_backup();
    forget_file();
    facpool_backup_options backup = backup_options(FACPOOL_MODE_CREATE);
    facpool_writer *writer = NULL;
    observer = &forgetful_disk;
    int rc = facpool_writer_open(&writer, &backup, NULL, N_FACTORS, &err);
    bool is_open = rc == 0;
    for (size_t first = 0; !rc && first < N_TASKS; first += AT_ONCE) {
        rc = append_and_sync(writer, first);
        if (!rc)
            CHECK(count_saved_rows() >= first + AT_ONCE);
    }
    facpool_error again = FACPOOL_ERROR_INIT;
    if (rc && is_open) /* asked once more it does not say that all is well */
        CHECK_INT(facpool_writer_sync(writer, &again), FACPOOL_E_IO);
    int close_rc = facpool_writer_close(writer, rc ? &again : &err);
    CHECK(!rc || !is_open || close_rc == FACPOOL_E_IO);
    observer = NULL;
    has_report = false;
    rc = rc ? rc : close_rc;
    if (!rc)
        CHECK_INT(count_saved_rows(), N_TASKS);
    return rc;
}

/* A writer that does not sync by itself goes on behind a killed one, and syncs when it is asked. */
static int write_more_on_disk(void)
{
    put_part_on_disk();
    facpool_backup_options backup = backup_options(FACPOOL_MODE_RESUME);
    backup.durability = FACPOOL_DURABILITY_NONE;
    facpool_writer *writer = NULL;
    int rc = facpool_writer_open(&writer, &backup, NULL, N_FACTORS, &err);
    bool is_open = rc == 0;
    for (size_t first = N_TASKS / 2; !rc && first < N_TASKS; first += AT_ONCE)
        rc = append_and_sync(writer, first);
    facpool_error untold = FACPOOL_ERROR_INIT;
    int close_rc = is_open ? facpool_writer_close(writer, rc ? &untold : &err) : 0;
    observer = NULL;
    has_report = false;
    return rc ? rc : close_rc;
}

static void written_rows_can_be_completed(int rc)
{
    (void)rc;
    check_soundness();
    complete_backup();
}

/* ------------------------------------------------------------------ which syncs fail */

static const injection syncs[] = {
    {CALL_SYNC, FAIL_ALONE, EIO, IO, false},         {CALL_SYNC, FAIL_ON, EIO, IO, false},
    {CALL_SYNC, FAIL_ALTERNATELY, EIO, IO, false},   {CALL_SYNC, FAIL_ALONE, ENOSPC, IO, false},
    {CALL_SYNC, FAIL_ALONE, EDQUOT, IO, false},      {CALL_WRITE, FAIL_ALONE, ENOSPC, IO, false},
    {CALL_WRITE, FAIL_HALF_THEN, ENOSPC, IO, false},
};

static void fail_syncs(trial t)
{
    for (size_t i = 0; i < N_OF(syncs); i++)
        if (!is_left_out())
            fail_each(t, syncs[i]);
}

static void runs_report_no_row_durable_that_is_lost(void)
{
    static const int32_t executors[] = {FACPOOL_EXECUTOR_SERIAL, WITH_THREADS,
                                        FACPOOL_EXECUTOR_PROCESS};
    for (size_t i = 0; i < N_OF(executors); i++)
        for (int no_async = 0; no_async < 2; no_async++) {
            choose_backup_run(executors[i], false, 0, no_async, FACPOOL_DURABILITY_BATCH);
            fail_syncs(TRIAL(run_on_disk, durable_rows_are_saved));
            choose_backup_run(executors[i], false, 0, no_async, FACPOOL_DURABILITY_GROUP);
            fail_syncs(TRIAL(run_on_disk, what_is_resumed_is_saved_too));
        }
}

static void resumes_report_no_row_durable_that_is_lost(void)
{
    make_part_of_killed_writer();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_BATCH);
    fail_syncs(TRIAL(resume_on_disk, durable_rows_are_saved));
    fail_syncs(TRIAL(resume_on_disk, what_is_resumed_is_saved_too));
    choose_backup_run(WITH_THREADS, false, 0, false, FACPOOL_DURABILITY_GROUP);
    fail_syncs(TRIAL(resume_on_disk, durable_rows_are_saved));
}

static void what_a_resume_gives_up_stays_given_up(void)
{
    make_damaged_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_BATCH);
    fail_syncs(TRIAL(resume_on_disk, what_was_given_up_is_computed_once));
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_syncs(TRIAL(resume_on_disk, what_was_given_up_is_computed_once));
}

static void rows_before_a_failed_write_are_not_believed_unsynced(void)
{
    static const injection write = {CALL_WRITE, FAIL_ALONE, ENOSPC, IO, false};
    syncs_fail_after = true;
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_each(TRIAL(run_on_disk, what_is_resumed_is_saved_too), write);
    syncs_fail_after = false;
}

static void writers_promise_no_row_that_is_lost(void)
{
    fail_syncs(TRIAL(write_on_disk, written_rows_can_be_completed));
    make_part_of_killed_writer();
    fail_syncs(TRIAL(write_more_on_disk, what_is_resumed_is_saved_too));
}

/* Not when the writer is closed, but at once: it may die before. */
static void rows_of_a_failed_sync_are_given_up_though_the_writer_dies(void)
{
    remove_backup();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        facpool_backup_options backup = backup_options(FACPOOL_MODE_CREATE);
        facpool_writer *writer = NULL;
        bool well = facpool_writer_open(&writer, &backup, NULL, N_FACTORS, NULL) == 0 &&
                    append_and_sync(writer, 0) == 0;
        fail_call(CALL_SYNC, 1, FAIL_ON, EIO);
        _exit(well && append_and_sync(writer, AT_ONCE) == FACPOOL_E_IO ? 0 : 1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    CHECK_INT(count_rows(), AT_ONCE);
    facpool_backup_options backup = backup_options(FACPOOL_MODE_RESUME);
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &backup, NULL, N_FACTORS, &err), err);
    CHECK_INT(append_and_sync(writer, 0), FACPOOL_E_EXISTS);
    CHECK_OK(append_and_sync(writer, AT_ONCE), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(count_rows(), 2 * AT_ONCE);
}

/* The disk itself: or none of the above would prove anything. */
static void the_disk_forgets_what_could_not_be_synced(void)
{
    static const char text[] = "abcdef";
    remove_backup();
    forget_file();
    observer = &forgetful_disk;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    CHECK(fd >= 0 && pwrite(fd, text, 2, 0) == 2 && fdatasync(fd) == 0);
    CHECK_INT(disk.saved_size, 2);
    CHECK_INT(pwrite(fd, text + 2, 2, 2), 2);
    fail_call(CALL_SYNC, 1, FAIL_ALONE, EIO);
    CHECK_INT(fdatasync(fd), -1);
    CHECK_INT(fdatasync(fd), 0); /* and says that all is well */
    CHECK_INT(stop_failing(), 1);
    CHECK(disk.saved_size == 4 && memcmp(disk.saved, "ab\0\0", 4) == 0);
    CHECK_INT(pwrite(fd, text + 2, 4, 2), 4);
    CHECK_INT(fdatasync(fd), 0);
    CHECK(disk.saved_size == 6 && memcmp(disk.saved, text, 6) == 0);
    observer = NULL;
    close(fd);
    remove_backup();
}

static void all_in_format(const char *suffix)
{
    choose_format(suffix);
    printf("%s\n", file_name);
    RUN_FAILING(runs_report_no_row_durable_that_is_lost);
    RUN_FAILING(resumes_report_no_row_durable_that_is_lost);
    RUN_FAILING(what_a_resume_gives_up_stays_given_up);
    RUN_FAILING(rows_before_a_failed_write_are_not_believed_unsynced);
    RUN_FAILING(writers_promise_no_row_that_is_lost);
    RUN(rows_of_a_failed_sync_are_given_up_though_the_writer_dies);
}

int main(void)
{
    static const call_kind kinds[] = {CALL_SYNC, CALL_WRITE};
    if (!begin("sync"))
        return EXIT_FAILURE;
    most_failing = of_tier(2, UINT_MAX, UINT_MAX);
    RUN_FAILING(the_disk_forgets_what_could_not_be_synced);
    for (size_t i = 0; i < N_FORMATS; i++)
        all_in_format(all_formats[i]);
    end_world();
    return END_FAILING(kinds);
}
