/* facpool_backup_convert: the rows that a reader over one or many backups sees, written into a new
 * backup of any format or a store of the caller's own. It knows no format; a new file appears whole
 * under its name, or not at all. */
#include "api/transfer.h"
#include "base/alloc.h"
#include "base/error.h"
#include "model/schema.h"
#include "run/config.h"

/* One conversion: both of its ends. */
typedef struct conversion {
    const char *const *paths;
    size_t n_paths;
    facpool_backup_options to;
    facpool_reader *reader;
    fp_schema schema; /* of what is written */
    fp_sink *sink;
} conversion;

static int read_options(conversion *c, const facpool_backup_options *to, facpool_error *err)
{
    if (!to)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "to is NULL: give the backup options of what is to be written");
    int rc = fp_backup_options_read(&c->to, to, err);
    if (!rc && c->to.mode == FACPOOL_MODE_RESUME)
        rc = fp_fail(err, FACPOOL_E_INVALID,
                     "rows can't be converted into a backup that is continued (mode resume): give "
                     "FACPOOL_MODE_CREATE, or FACPOOL_MODE_OVERWRITE to replace what is there");
    return rc;
}

/* The tag is that of the first backup where the caller names none ("" is none). */
static int make_schema(conversion *c, facpool_error *err)
{
    size_t n = facpool_reader_n_factors(c->reader);
    const char **names = fp_alloc(NULL, n * sizeof *names);
    if (!names)
        return fp_fail_nomem(err, n * sizeof *names);
    for (size_t i = 0; i < n; i++)
        names[i] = facpool_reader_factor_name(c->reader, i);
    const facpool_info *first = NULL;
    int rc = c->to.tag ? 0 : facpool_backup_info(&first, c->paths[0], err);
    if (!rc)
        rc = fp_schema_init(&c->schema, n, names, first ? first->tag : c->to.tag, err);
    facpool_info_free(first);
    fp_free(NULL, names);
    return rc;
}

static int open_sink(conversion *c, facpool_error *err)
{
    if (c->to.sink)
        return fp_sink_open(&c->sink, &c->to, &c->schema, NULL, err);
    return fp_sink_open_hidden(&c->sink, &c->to, &c->schema, NULL, err);
}

/* The snapshot is taken anew, now that what is written is locked: where a backup replaces itself,
 * no writer can have added a row that is not seen. */
static int copy_rows(conversion *c, facpool_error *err)
{
    facpool_cursor *cursor = NULL;
    facpool_error cause = FACPOOL_ERROR_INIT;
    facpool_filter filter = fp_transfer_filter(FACPOOL_ORDER_FILE);
    int rc = facpool_reader_refresh(c->reader, &cause);
    if (!rc)
        rc = facpool_query(c->reader, &filter, &cursor, &cause);
    if (!rc)
        rc = fp_transfer(cursor, c->sink, &cause);
    facpool_cursor_free(cursor);
    if (rc != FACPOOL_E_CORRUPT)
        return rc ? fp_error_copy(err, &cause) : 0;
    return fp_fail(err, rc,
                   "nothing was converted, as rows would be lost: resume a run of all their "
                   "tasks first, so that they are computed again. The cause: %s",
                   cause.message);
}

/* A store of the caller's own has to be closed well even so; what it then holds is its affair. */
static void give_up(conversion *c)
{
    if (c->to.sink)
        (void)fp_sink_close(c->sink, NULL);
    else
        fp_sink_abandon(c->sink);
}

int facpool_backup_convert(const char *const *paths, size_t n_paths,
                           const facpool_backup_options *to, facpool_error *err)
{
    conversion c = {.paths = paths, .n_paths = n_paths};
    int rc = read_options(&c, to, err);
    if (!rc)
        rc = facpool_reader_open(&c.reader, paths, n_paths, err);
    if (!rc)
        rc = make_schema(&c, err);
    if (!rc)
        rc = open_sink(&c, err);
    if (!rc) {
        rc = copy_rows(&c, err);
        if (rc)
            give_up(&c);
        else
            rc = fp_sink_close(c.sink, err);
    }
    fp_schema_free(&c.schema);
    facpool_reader_free(c.reader);
    return rc;
}
