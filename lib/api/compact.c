/* facpool_backup_compact: a backup rewritten in place of itself, in full blocks and by key. The new
 * file takes the old one's name, format, tag and identity when it is whole; until then nothing but
 * the old one can be seen, and its lock keeps writers out. */
#include "api/transfer.h"
#include "base/error.h"
#include "query/cursor.h"

#include <string.h>

/* Another process may replace the file between the look at it and its lock. More often than this
 * only something else than a race does so. */
#define ATTEMPTS 16

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Whether two snapshots are of one backup, or of backups that nothing tells apart. */
static bool same_backup(const fp_source *a, const fp_source *b)
{
    const fp_schema *x = &a->schema, *y = &b->schema;
    return a->type == b->type && x->created_us == y->created_us &&
           memcmp(x->file_id, y->file_id, sizeof x->file_id) == 0 && same_text(x->tag, y->tag) &&
           fp_schema_match_factors(x, y, a->path, NULL) == 0;
}

static int copy_rows(fp_source *source, fp_sink *sink, facpool_error *err)
{
    facpool_cursor *cursor = NULL;
    facpool_error cause = FACPOOL_ERROR_INIT;
    facpool_filter filter = fp_transfer_filter(FACPOOL_ORDER_KEY);
    int rc = fp_cursor_open(&cursor, &source, 1, &filter, &cause);
    if (!rc)
        rc = fp_transfer(cursor, sink, &cause);
    facpool_cursor_free(cursor);
    if (rc != FACPOOL_E_CORRUPT)
        return rc ? fp_error_copy(err, &cause) : 0;
    return fp_fail(err, rc,
                   "'%.300s' was left as it is, as rows would be lost: resume a run of all "
                   "its tasks first, so that they are computed again. The cause: %s",
                   source->path, cause.message);
}

/* A file that takes the place of the one that `seen` is a snapshot of, which is locked. */
static int open_successor(fp_sink **out, const char *path, const fp_source *seen,
                          facpool_error *err)
{
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.format = seen->type->name;
    options.mode = FACPOOL_MODE_OVERWRITE;
    return fp_sink_open_hidden(out, &options, &seen->schema, &seen->schema, err);
}

/* What is copied is what is there once the lock is held. *again: that is no longer what was seen.
 */
static int compact_seen(const char *path, const fp_source *seen, bool *again, facpool_error *err)
{
    fp_sink *sink = NULL;
    fp_source *locked = NULL;
    int rc = open_successor(&sink, path, seen, err);
    if (rc)
        return rc;
    rc = fp_source_open(&locked, path, seen, err);
    *again = !rc && !same_backup(seen, locked);
    if (*again)
        rc = fp_fail(err, FACPOOL_E_BUSY, "'%s' keeps being replaced by other processes", path);
    if (!rc)
        rc = copy_rows(locked, sink, err);
    if (rc)
        fp_sink_abandon(sink);
    else
        rc = fp_sink_close(sink, err);
    fp_source_release(locked);
    return rc;
}

int facpool_backup_compact(const char *path, facpool_error *err)
{
    if (!path || !*path)
        return fp_fail(err, FACPOOL_E_INVALID, "path is %s: name a backup",
                       path ? "empty" : "NULL");
    int rc = 0;
    bool again = true;
    facpool_error cause = FACPOOL_ERROR_INIT; /* what was overcome is no news */
    for (int attempt = 0; again && attempt < ATTEMPTS; attempt++) {
        fp_source *seen = NULL;
        again = false;
        rc = fp_source_open(&seen, path, NULL, &cause);
        if (!rc)
            rc = compact_seen(path, seen, &again, &cause);
        fp_source_release(seen);
    }
    return rc ? fp_error_copy(err, &cause) : 0;
}
