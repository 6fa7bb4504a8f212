/* What a sink promises of durability, and what it does when a sync or a write fails: nothing is
 * reported that is not so, nothing is tried again that could only pretend, and writes, syncs and
 * names come in the order that a power failure at any moment allows. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "store_rows.h"

/* These stand in for the system's calls, and note them in the order in which they come: Write, Cut,
 * Sync, Name, Folder sync. Syncs are counted, and fail on demand; what is to happen in the middle
 * of the next one can be given. */
static char calls[256];
static size_t n_calls;
static int syncs;
static bool syncs_fail;
static void (*during_sync)(void);

static void note_call(char letter)
{
    if (n_calls + 1 < sizeof calls)
        calls[n_calls++] = letter;
    calls[n_calls] = '\0';
}

int fdatasync(int fd)
{
    void (*meanwhile)(void) = during_sync;
    during_sync = NULL;
    syncs++;
    note_call('S');
    if (meanwhile)
        meanwhile();
    if (syncs_fail) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    note_call('F');
    return (int)syscall(SYS_fsync, fd);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t offset)
{
    note_call('W');
    return syscall(SYS_pwrite64, fd, from, n, offset);
}

int ftruncate(int fd, off_t size)
{
    note_call('C');
    return (int)syscall(SYS_ftruncate, fd, size);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    note_call('N');
    return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}

int rename(const char *from, const char *to)
{
    note_call('N');
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static facpool_error err = FACPOOL_ERROR_INIT;

static void groups_are_synced_by_tick(void)
{
    const char *path = path_of("group.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows r = rows_of_status(300, FACPOOL_STATUS_OK);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    int64_t next;
    CHECK_OK(fp_sink_tick(sink, 0, &next, &err), err);
    CHECK(next == INT64_MAX);
    int before = syncs;
    CHECK_OK(append_rows(sink, &r, 0, 100, &err), err);
    CHECK_OK(append_rows(sink, &r, 100, 100, &err), err);
    CHECK_INT(sink->rows_durable, 0);
    CHECK_OK(fp_sink_tick(sink, 0, &next, &err), err);
    CHECK_INT(syncs, before);
    CHECK(next != INT64_MAX);
    CHECK_OK(fp_sink_tick(sink, next, &next, &err), err);
    CHECK_INT(syncs, before + 1);
    CHECK_INT(sink->rows_durable, 200);
    CHECK(next == INT64_MAX);
    CHECK_OK(append_rows(sink, &r, 200, 100, &err), err);
    CHECK_INT(sink->rows_durable, 200);
    CHECK_OK(fp_sink_sync(sink, &err), err);
    CHECK_INT(sink->rows_durable, 300);
    before = syncs;
    CHECK_OK(fp_sink_sync(sink, &err), err);
    CHECK_INT(syncs, before);
    CHECK_OK(fp_sink_close(sink, &err), err);
    CHECK_INT(syncs, before + 1); /* of the index */
    rows_free(&r);
}

static void batch_durability_syncs_every_block(void)
{
    const char *path = path_of("batch.fpb");
    facpool_backup_options options = options_for(path, 0);
    options.durability = FACPOOL_DURABILITY_BATCH;
    rows r = rows_of_status(300, FACPOOL_STATUS_OK);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    for (size_t part = 0; part < 3; part++) {
        CHECK_OK(append_rows(sink, &r, part * 100, 100, &err), err);
        CHECK_INT(sink->rows_durable, part * 100 + 100);
    }
    CHECK_OK(fp_sink_close(sink, &err), err);
    rows_free(&r);
}

static void no_durability_syncs_only_what_it_creates(void)
{
    const char *path = path_of("none.fpb");
    facpool_backup_options options = options_for(path, 0);
    options.durability = FACPOOL_DURABILITY_NONE;
    rows r = rows_of_status(300, FACPOOL_STATUS_OK);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    int before = syncs;
    CHECK_OK(append_rows(sink, &r, 0, 300, &err), err);
    int64_t next;
    CHECK_OK(fp_sink_tick(sink, INT64_MAX, &next, &err), err);
    CHECK(next == INT64_MAX);
    CHECK_INT(sink->rows_durable, 0);
    CHECK_OK(fp_sink_close(sink, &err), err);
    CHECK_INT(syncs, before);
    check_file(path, &r, &err);
    rows_free(&r);
}

static void a_failed_sync_is_final(void)
{
    const char *path = path_of("sync.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows r = rows_of_status(300, FACPOOL_STATUS_OK);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &r, 0, 100, &err), err);
    CHECK_OK(fp_sink_sync(sink, &err), err);
    CHECK_OK(append_rows(sink, &r, 100, 100, &err), err);
    syncs_fail = true;
    int before = syncs;
    CHECK_INT(fp_sink_sync(sink, &err), FACPOOL_E_IO);
    CHECK_INT(err.os_errno, EIO);
    CHECK_INT(syncs, ++before); /* once */
    syncs_fail = false;
    int64_t next;
    CHECK_INT(sink->rows_durable, 100);
    CHECK_INT(fp_sink_sync(sink, &err), FACPOOL_E_IO);
    CHECK_INT(fp_sink_tick(sink, INT64_MAX, &next, &err), FACPOOL_E_IO);
    CHECK_INT(append_rows(sink, &r, 200, 100, &err), FACPOOL_E_IO);
    CHECK_INT(sink->rows_durable, 100);
    CHECK_INT(sink->rows_written, 200);
    CHECK_INT(fp_sink_close(sink, &err), FACPOOL_E_IO);
    CHECK_INT(syncs, before); /* never again, not even at close */
    /* What the failed sync was to save may be gone from the disk, though the kernel still shows it:
     * it is given up, so that a resume computes it again. */
    r.n = 100;
    check_file(path, &r, &err);
    rows_free(&r);
}

/* As on a full disk: the file may not grow beyond a limit, which strikes within a block. */
static void a_full_disk_leaves_the_last_good_block(void)
{
    const char *path = path_of("full.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows r = rows_of_status(4000, FACPOOL_STATUS_OK);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &r, 0, 1000, &err), err);
    bytes one = load_file(path);
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = one.n + one.n / 2;
    setrlimit(RLIMIT_FSIZE, &limit);
    int rc = append_rows(sink, &r, 1000, 1000, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK_INT(rc, FACPOOL_E_IO);
    CHECK_INT(err.os_errno, EFBIG);
    CHECK_INT(append_rows(sink, &r, 1000, 1000, &err), FACPOOL_E_IO);
    CHECK_INT(err.os_errno, EFBIG); /* the first error, again */
    CHECK_INT(sink->rows_written, 1000);
    CHECK_INT(fp_sink_close(sink, &err), FACPOOL_E_IO);
    bytes left = load_file(path);
    CHECK_INT(left.n, one.n);
    CHECK(memcmp(left.at, one.at, one.n) == 0);
    options.mode = FACPOOL_MODE_RESUME;
    fp_sink_opening opening;
    CHECK_OK(open_sink(&sink, &options, &opening, &err), err);
    CHECK_INT(opening.tail_bytes_cut, 0);
    CHECK_OK(append_rows(sink, &r, 1000, 3000, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    check_file(path, &r, &err);
    free(one.at);
    free(left.at);
    rows_free(&r);
}

/* ------------------------------------------------------------------ the order of calls */

/* What was called since the last time. */
static const char *calls_since(void)
{
    static char since[sizeof calls];
    memcpy(since, calls, n_calls + 1);
    n_calls = 0;
    calls[0] = '\0';
    return since;
}

static const char *const formats[] = {"order.fpb", "order.arrow", "order.jsonl"};

/* Before a file has its name its header is on the disk, and before anyone relies on the name the
 * folder is. A file of lines has no header and no index. */
static void a_file_is_made_written_and_closed_in_this_order(void)
{
    rows r = rows_of_status(200, FACPOOL_STATUS_OK);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        bool has_lines = i == 2;
        facpool_backup_options options = options_for(path_of(formats[i]), 0);
        fp_sink *sink;
        calls_since();
        CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
        CHECK_TEXT(calls_since(), has_lines ? "SNF" : "WSNF");
        CHECK_OK(append_rows(sink, &r, 0, 100, &err), err);
        CHECK_TEXT(calls_since(), "W");
        CHECK_OK(fp_sink_sync(sink, &err), err);
        CHECK_TEXT(calls_since(), "S");
        CHECK_OK(append_rows(sink, &r, 100, 100, &err), err);
        CHECK_TEXT(calls_since(), "W");
        CHECK_OK(fp_sink_close(sink, &err), err);
        /* The index says that the rows before it are durable. */
        CHECK_TEXT(calls_since(), has_lines ? "S" : "SWS");
        unlink(options.path);
    }
    rows_free(&r);
}

/* What is cut off must not come back behind what is written in its place. And who is killed between
 * the name and the sync of its folder has nobody else to make the name last. */
static void a_torn_tail_is_cut_and_synced_before_anything_is_written(void)
{
    rows r = rows_of_status(200, FACPOOL_STATUS_OK);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        facpool_backup_options options = options_for(path_of(formats[i]), 0);
        fp_sink *sink;
        CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
        CHECK_OK(append_rows(sink, &r, 0, 100, &err), err);
        CHECK_OK(fp_sink_close(sink, &err), err);
        bytes whole = load_file(options.path);
        save_file(options.path, whole.at, whole.n - 8);
        free(whole.at);
        options.mode = FACPOOL_MODE_RESUME;
        fp_sink_opening opening;
        calls_since();
        CHECK_OK(open_sink(&sink, &options, &opening, &err), err);
        CHECK(opening.tail_bytes_cut > 0);
        CHECK_TEXT(calls_since(), "CSF");
        CHECK_OK(append_rows(sink, &r, 100, 100, &err), err);
        CHECK_TEXT(calls_since(), "W");
        CHECK_OK(fp_sink_close(sink, &err), err);
        unlink(options.path);
    }
    rows_free(&r);
}

/* One that appears whole, as those of convert and compact: all of it is on the disk before its name
 * is. Also where the user wants no syncs: the old file is gone then. */
static void a_file_that_appears_whole_is_synced_before_it_appears(void)
{
    static const int32_t durabilities[] = {FACPOOL_DURABILITY_GROUP, FACPOOL_DURABILITY_NONE};
    rows r = rows_of_status(100, FACPOOL_STATUS_OK);
    for (size_t i = 0; i < sizeof durabilities / sizeof *durabilities; i++) {
        facpool_backup_options options = options_for(path_of("whole.fpb"), 0);
        options.durability = durabilities[i];
        options.mode = FACPOOL_MODE_OVERWRITE;
        fp_schema wanted;
        fp_sink *sink;
        CHECK_OK(fp_schema_init(&wanted, ROW_FACTORS, row_names, NULL, &err), err);
        calls_since();
        CHECK_OK(fp_sink_open_hidden(&sink, &options, &wanted, NULL, &err), err);
        CHECK_OK(append_rows(sink, &r, 0, 100, &err), err);
        CHECK_TEXT(calls_since(), "WW");
        CHECK_OK(fp_sink_close(sink, &err), err);
        CHECK_TEXT(calls_since(), i == 0 ? "SWSNF" : "WSNF");
        fp_schema_free(&wanted);
    }
    rows_free(&r);
}

/* ------------------------------------------------------------------ while a sync goes on */

static fp_sink *busy;
static rows busy_rows;
static int busy_rc;

static void append_meanwhile(void)
{
    busy_rc = append_rows(busy, &busy_rows, 100, 100, NULL);
}

static uint64_t durable_bytes(const char *path)
{
    const facpool_info *info;
    CHECK_OK(fp_store_info(&info, path, &err), err);
    uint64_t end = info->durable_bytes;
    facpool_info_free(info);
    return end;
}

/* A sync speaks for what was written before it began: neither the count, nor the durable end that
 * later blocks carry, may say more. */
static void rows_appended_while_a_sync_goes_on_are_not_durable_by_it(void)
{
    const char *path = path_of("meanwhile.fpb");
    facpool_backup_options options = options_for(path, 0);
    busy_rows = rows_of_status(300, FACPOOL_STATUS_OK);
    CHECK_OK(open_sink(&busy, &options, NULL, &err), err);
    CHECK_OK(append_rows(busy, &busy_rows, 0, 100, &err), err);
    bytes first = load_file(path);
    during_sync = append_meanwhile;
    CHECK_OK(fp_sink_sync(busy, &err), err);
    CHECK_INT(busy_rc, 0);
    CHECK_INT(busy->rows_written, 200);
    CHECK_INT(busy->rows_durable, 100);
    CHECK_OK(append_rows(busy, &busy_rows, 200, 100, &err), err);
    CHECK_INT(durable_bytes(path), first.n);
    free(first.at);
    int before = syncs;
    CHECK_OK(fp_sink_sync(busy, &err), err);
    CHECK_INT(syncs, before + 1);
    CHECK_INT(busy->rows_durable, 300);
    CHECK_OK(fp_sink_close(busy, &err), err);
    check_file(path, &busy_rows, &err);
    rows_free(&busy_rows);
}

int main(void)
{
    make_folder();
    RUN(groups_are_synced_by_tick);
    RUN(batch_durability_syncs_every_block);
    RUN(no_durability_syncs_only_what_it_creates);
    RUN(a_failed_sync_is_final);
    RUN(a_full_disk_leaves_the_last_good_block);
    RUN(a_file_is_made_written_and_closed_in_this_order);
    RUN(a_torn_tail_is_cut_and_synced_before_anything_is_written);
    RUN(a_file_that_appears_whole_is_synced_before_it_appears);
    RUN(rows_appended_while_a_sync_goes_on_are_not_durable_by_it);
    remove_folder();
    return TEST_END();
}
