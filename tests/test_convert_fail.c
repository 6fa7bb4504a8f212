/* Proves that convert and compact, whichever of their calls to the system fails, say so, name the
 * file, lose no memory, and leave the files as they were or as they are to become, bit for bit.
 * Every allocation, open, read, write, sync, rename and lock fails in turn, of rows of every status
 * and kind of value. */
#include "fail_each.h"

#define err rows_err /* those rows' own */
#include "convert_rows.h"
#undef err

#define ROWS 250

#define IO    GIVES(FACPOOL_E_IO)
#define NOMEM GIVES(FACPOOL_E_NOMEM)
#define BUSY  GIVES(FACPOOL_E_BUSY)

static const injection injections[] = {
    {CALL_ALLOC, FAIL_ALONE, ENOMEM, NOMEM, false},
    {CALL_ALLOC, FAIL_ON, ENOMEM, NOMEM, false},
    {CALL_OPEN, FAIL_ALONE, EMFILE, IO, false},
    {CALL_OPEN, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_READ, FAIL_ALONE, EIO, IO, false},
    {CALL_READ, FAIL_ON, EIO, IO, false},
    {CALL_READ, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_READ, FAIL_HALF_ON, 0, 0, false},
    {CALL_WRITE, FAIL_ALONE, ENOSPC, IO, false},
    {CALL_WRITE, FAIL_ALONE, EDQUOT, IO, false},
    {CALL_WRITE, FAIL_ON, EIO, IO, false},
    {CALL_WRITE, FAIL_HALF_THEN, ENOSPC, IO, false},
    {CALL_WRITE, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_WRITE, FAIL_HALF_ON, 0, 0, false},
    {CALL_SYNC, FAIL_ALONE, EIO, IO, false},
    {CALL_SYNC, FAIL_ON, ENOSPC, IO, false},
    {CALL_SYNC, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_SYNC_FOLDER, FAIL_ALONE, EIO, IO, false},
    {CALL_RENAME, FAIL_ALONE, EIO, IO, false},
    {CALL_RENAME, FAIL_ALONE, ENOSPC, IO, false},
    {CALL_STAT, FAIL_ALONE, EIO, IO | BUSY, false},
    {CALL_LOCK, FAIL_ALONE, ENOLCK, GIVES(FACPOOL_E_UNSUPPORTED), false},
    {CALL_LOCK, FAIL_ALONE, EAGAIN, BUSY, false},
    {CALL_RIGHTS, FAIL_ALONE, EPERM, IO, false},
    {CALL_MUTEX, FAIL_ALONE, EAGAIN, GIVES(FACPOOL_E_SYSTEM), false},
    {CALL_LIBRARY, FAIL_ALONE, ENOMEM, NOMEM, false},
};

static char from[300], to[300];
static const char *to_format;
static uint8_t *from_bytes;
static size_t from_size;
static rows_read expected;

/* Puts the file there as it was at first, with permissions of its own. */
static void put_files(void)
{
    int kind = pause_failing();
    empty_folder();
    bool written = file_write(from, from_bytes, from_size) && chmod(from, 0640) == 0;
    go_on_failing(kind);
    CHECK(written);
}

static int convert(void)
{
    const char *const paths[] = {from};
    facpool_backup_options options = options_for(to, to_format, FACPOOL_MODE_CREATE);
    put_files();
    return facpool_backup_convert(paths, 1, &options, &err);
}

static int compact(void)
{
    put_files();
    return facpool_backup_compact(from, &err);
}

static void check_rows(const char *path)
{
    rows_read rows = read_file(path);
    CHECK_INT(rows.n, expected.n);
    CHECK(memcmp(rows.at, expected.at, rows.n * sizeof *rows.at) == 0);
    free(rows.at);
    check_sound(path);
}

/* Only the folder's sync fails when the new file is in its place already. */
static void converted_or_nothing(int rc)
{
    check_rows(from);
    if (access(to, F_OK) == 0)
        check_rows(to);
    CHECK(rc || access(to, F_OK) == 0);
    CHECK_INT(count_files(), access(to, F_OK) == 0 ? 2 : 1);
}

static void compacted_or_as_it_was(int rc)
{
    (void)rc;
    check_rows(from);
    CHECK_INT(count_files(), 1);
}

static void fail_all_of(trial t, const char *format)
{
    if (!has_format(format))
        return;
    snprintf(from, sizeof from, "%s/rows-from", scratch_folder);
    snprintf(to, sizeof to, "%s/rows-to", scratch_folder);
    file_at_fault = "rows-";
    empty_folder();
    write_rows(from, format, ROWS, "v1");
    from_bytes = file_read(from, &from_size);
    expected = read_file(from);
    CHECK(from_bytes && expected.n == ROWS);
    for (size_t i = 0; i < sizeof injections / sizeof *injections; i++)
        fail_each(t, injections[i]);
    free(from_bytes);
    free(expected.at);
}

static void convert_survives_any_call_that_fails(void)
{
    for (int f = 0; f < N_FORMATS; f++) {
        to_format = formats[(f + 1) % N_FORMATS];
        fail_all_of(TRIAL(convert, converted_or_nothing), formats[f]);
    }
}

static void compact_survives_any_call_that_fails(void)
{
    for (int f = 0; f < N_FORMATS; f++)
        fail_all_of(TRIAL(compact, compacted_or_as_it_was), formats[f]);
}

int main(void)
{
    static const call_kind kinds[] = {CALL_ALLOC,  CALL_OPEN,   CALL_READ,   CALL_WRITE,
                                      CALL_SYNC,   CALL_RENAME, CALL_STAT,   CALL_LOCK,
                                      CALL_RIGHTS, CALL_MUTEX,  CALL_LIBRARY};
    if (!begin_failing("convert-fail"))
        return EXIT_FAILURE;
    most_failing = of_tier(4, UINT_MAX, UINT_MAX);
    RUN_FAILING(convert_survives_any_call_that_fails);
    RUN_FAILING(compact_survives_any_call_that_fails);
    return END_FAILING(kinds);
}
