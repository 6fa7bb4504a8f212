/* Files of the json format for the tests of it: rows in runs that are written, read back and
 * compared, and where the lines of a file are. Included by test programs; everything is static. */
#ifndef FP_TEST_JSON_ROWS_H
#define FP_TEST_JSON_ROWS_H

#include "no_sync.h"
#include "store/json.h"
#include "store_rows.h"

static facpool_error err = FACPOOL_ERROR_INIT;

/* ------------------------------------------------------------------ rows */

/* ok and not-ok rows in runs, some keys descending, codes and values of all kinds. */
static rows some_rows(size_t n)
{
    rows r = {0};
    for (size_t i = 0; i < n; i++) {
        *rows_add(&r) = row_of(i, 10, i / 20 % 3 == 2 ? 1 + (int)(i % 5) : (int)FACPOOL_STATUS_OK);
        if (i / 20 % 3 == 2 && r.at[i].status == FACPOOL_STATUS_OK)
            r.at[i] = row_of(i, 10, FACPOOL_STATUS_FAILED);
    }
    return r;
}

enum { RUN_ROWS = 20 };

static bytes write_file(const char *path, const rows *r, const char *tag)
{
    facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
    options.format = "json";
    options.tag = tag;
    CHECK_OK(write_rows(&options, r, RUN_ROWS, &err), err);
    return load_file(path);
}

/* Just these rows, and no damage. Sorts them. */
static void check_rows(const char *path, rows *expected)
{
    check_file(path, expected, &err);
}

/* ------------------------------------------------------------------ lines */

static long long file_bytes_of(const char *path)
{
    bytes b = load_file(path);
    free(b.at);
    return (long long)b.n;
}

static size_t count_lines(const uint8_t *at, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += at[i] == '\n';
    return lines;
}

/* Where line k (from 0) begins. */
static size_t line_at(const bytes *b, size_t k)
{
    size_t at = 0;
    for (; k > 0; k--)
        at = (size_t)((uint8_t *)memchr(b->at + at, '\n', b->n - at) - b->at) + 1;
    return at;
}

#endif
