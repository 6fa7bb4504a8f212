/* What a sink promises of durability, and what it does when a sync or a write fails: nothing is
 * reported that is not so, and nothing is tried again that could only pretend. */
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "store_rows.h"

/* Stands in for the system's call: counts syncs, and fails them on demand. */
static int syncs;
static bool syncs_fail;

int fdatasync(int fd)
{
    syncs++;
    if (syncs_fail) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static facpool_error err = FACPOOL_ERROR_INIT;

static rows make_rows(size_t n, int status)
{
    rows r = {0};
    for (size_t i = 0; i < n; i++)
        *rows_add(&r) = row_of(i, 50, status);
    return r;
}

/* Reads the file and compares with `expected`, which gets sorted. */
static void check_file(const char *path, rows *expected)
{
    rows found = {0};
    uint64_t n_damaged = 0, tail = 0;
    CHECK_OK(read_file(path, &found, &n_damaged, &tail, &err), err);
    rows_sort(expected);
    CHECK_INT(found.n, expected->n);
    CHECK(rows_are_same(&found, expected));
    CHECK_INT(n_damaged, 0);
    CHECK_INT(tail, 0);
    CHECK_INT(found.corrupt_blocks, 0);
    rows_free(&found);
}

static void groups_are_synced_by_tick(void)
{
    const char *path = path_of("group.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows r = make_rows(300, FACPOOL_STATUS_OK);
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
    rows r = make_rows(300, FACPOOL_STATUS_OK);
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
    rows r = make_rows(300, FACPOOL_STATUS_OK);
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
    check_file(path, &r);
    rows_free(&r);
}

static void a_failed_sync_is_final(void)
{
    const char *path = path_of("sync.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows r = make_rows(300, FACPOOL_STATUS_OK);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &r, 0, 100, &err), err);
    CHECK_OK(fp_sink_sync(sink, &err), err);
    CHECK_OK(append_rows(sink, &r, 100, 100, &err), err);
    syncs_fail = true;
    CHECK_INT(fp_sink_sync(sink, &err), FACPOOL_E_IO);
    CHECK_INT(err.os_errno, EIO);
    syncs_fail = false;
    int before = syncs;
    int64_t next;
    CHECK_INT(sink->rows_durable, 100);
    CHECK_INT(fp_sink_sync(sink, &err), FACPOOL_E_IO);
    CHECK_INT(fp_sink_tick(sink, INT64_MAX, &next, &err), FACPOOL_E_IO);
    CHECK_INT(append_rows(sink, &r, 200, 100, &err), FACPOOL_E_IO);
    CHECK_INT(sink->rows_durable, 100);
    CHECK_INT(sink->rows_written, 200);
    CHECK_INT(fp_sink_close(sink, &err), FACPOOL_E_IO);
    CHECK_INT(syncs, before); /* never again, not even at close */
    r.n = 200;
    check_file(path, &r);
    rows_free(&r);
}

/* As on a full disk: the file may not grow beyond a limit, which strikes within a block. */
static void a_full_disk_leaves_the_last_good_block(void)
{
    const char *path = path_of("full.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows r = make_rows(4000, FACPOOL_STATUS_OK);
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
    check_file(path, &r);
    free(one.at);
    free(left.at);
    rows_free(&r);
}

int main(void)
{
    make_folder();
    RUN(groups_are_synced_by_tick);
    RUN(batch_durability_syncs_every_block);
    RUN(no_durability_syncs_only_what_it_creates);
    RUN(a_failed_sync_is_final);
    RUN(a_full_disk_leaves_the_last_good_block);
    remove_folder();
    return TEST_END();
}
