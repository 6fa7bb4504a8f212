/* Proves that convert and compact, whichever of their calls to the system fails, say so, lose no
 * memory, and leave the files as they were or as they are to become. Slow: every allocation, open,
 * read, write, sync and rename fails in turn. */
#include "failing_calls.h"

#include "convert_rows.h"

#define ROWS 700

static const struct {
    call_kind kind;
    int os_errno;
    const char *name;
} kinds[] = {{CALL_ALLOC, ENOMEM, "allocation"}, {CALL_OPEN, EMFILE, "open"},
             {CALL_READ, EIO, "read"},           {CALL_WRITE, ENOSPC, "write"},
             {CALL_SYNC, EIO, "sync"},           {CALL_RENAME, EIO, "rename"}};

static char from[300], to[300];
static rows_read expected;

static int convert(void)
{
    const char *const paths[] = {from};
    facpool_backup_options options = options_for(to, "binary", FACPOOL_MODE_CREATE);
    return facpool_backup_convert(paths, 1, &options, &err);
}

static int compact(void)
{
    return facpool_backup_compact(from, &err);
}

static bool is_named(int rc)
{
    return rc == FACPOOL_E_NOMEM || rc == FACPOOL_E_IO || rc == FACPOOL_E_SYSTEM ||
           rc == FACPOOL_E_NOT_FOUND || rc == FACPOOL_E_UNSUPPORTED;
}

static void check_rows(const char *path)
{
    rows_read rows = read_file(path);
    CHECK_INT(rows.n, expected.n);
    CHECK(memcmp(rows.at, expected.at, rows.n * sizeof *rows.at) == 0);
    free(rows.at);
    check_sound(path);
}

/* The first call fails, then the second, until there is none left that could. */
static void fail_each(int (*work)(void), size_t kind, const char *format)
{
    for (long at = 1;; at++) {
        CHECK(at < 20000);
        write_rows(from, format, ROWS, "v1");
        unlink(to);
        long pieces = allocated;
        err = (facpool_error)FACPOOL_ERROR_INIT;
        fail_call(kinds[kind].kind, at, false, kinds[kind].os_errno);
        int rc = work();
        long failed = stop_failing();
        CHECK_INT(allocated, pieces);
        check_rows(from);
        if (rc) {
            CHECK(failed && is_named(rc) && err.message[0]);
            CHECK_INT(count_files(), 1);
            continue;
        }
        if (work == convert)
            check_rows(to);
        CHECK_INT(count_files(), work == convert ? 2 : 1);
        if (!failed)
            return;
    }
}

static void fail_everything(int (*work)(void), const char *name)
{
    snprintf(from, sizeof from, "%s/from", scratch_folder);
    snprintf(to, sizeof to, "%s/to", scratch_folder);
    for (int f = 0; f < N_FORMATS; f++) {
        if (!has_format(formats[f]))
            continue;
        write_rows(from, formats[f], ROWS, "v1");
        expected = read_file(from);
        for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
            printf("  %s of %s: every %s\n", name, formats[f], kinds[kind].name);
            fail_each(work, kind, formats[f]);
        }
        free(expected.at);
        empty_folder();
    }
}

static void convert_survives_any_call_that_fails(void)
{
    fail_everything(convert, "convert");
}

static void compact_survives_any_call_that_fails(void)
{
    fail_everything(compact, "compact");
}

int main(void)
{
    if (!scratch_make("convert-fail", true))
        return EXIT_FAILURE;
    RUN(convert_survives_any_call_that_fails);
    RUN(compact_survives_any_call_that_fails);
    scratch_remove();
    return TEST_END();
}
