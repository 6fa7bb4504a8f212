/* Readers: one or many backups asked as one, each as it was at the last snapshot. The public face;
 * several threads may query a reader while one of them refreshes it. */
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "os/os.h"
#include "query/cursor.h"
#include "store/sink.h"

struct facpool_reader {
    size_t n;
    char **paths;     /* NULL entries: a user's own store that needs none */
    fp_store kind;    /* what the paths name: files, or stores of a user's own */
    fp_schema schema; /* the factors of them all, as they were when it was opened */
    bool has_schema;
    fp_lock lock; /* guards `sources` */
    bool has_lock;
    fp_source **sources; /* a counted snapshot of each path */
};

static void release_sources(fp_source **sources, size_t n)
{
    for (size_t i = 0; sources && i < n; i++)
        fp_source_release(sources[i]);
    fp_free(NULL, sources);
}

/* Opens every path, `previous` (or NULL) being the snapshots known. All or none. */
static int open_sources(fp_source ***out, const facpool_reader *reader, fp_source *const *previous,
                        facpool_error *err)
{
    fp_source **sources = fp_alloc_zero(NULL, reader->n, sizeof *sources);
    if (!sources)
        return fp_fail_nomem(err, reader->n * sizeof *sources);
    for (size_t i = 0; i < reader->n; i++) {
        fp_store store = reader->kind;
        store.path = reader->paths[i];
        int rc = fp_store_source(&sources[i], &store, previous ? previous[i] : NULL, err);
        if (rc) {
            release_sources(sources, reader->n);
            return rc;
        }
    }
    *out = sources;
    return 0;
}

static bool same_factors(const fp_schema *a, const fp_schema *b)
{
    if (a->names.n != b->names.n)
        return false;
    for (size_t i = 0; i < a->names.n; i++)
        if (strcmp(fp_texts_at(&a->names, i), fp_texts_at(&b->names, i)) != 0)
            return false;
    return true;
}

/* Says where two lists of factors part, naming both files. */
static int fail_mismatch(const fp_schema *a, const char *a_path, const fp_schema *b,
                         const char *b_path, facpool_error *err)
{
    size_t at = 0;
    while (at < a->names.n && at < b->names.n &&
           strcmp(fp_texts_at(&a->names, at), fp_texts_at(&b->names, at)) == 0)
        at++;
    const char *a_name = at < a->names.n ? fp_texts_at(&a->names, at) : "no more";
    const char *b_name = at < b->names.n ? fp_texts_at(&b->names, at) : "no more";
    return fp_fail(err, FACPOOL_E_MISMATCH,
                   "'%.200s' holds %zu factors, '%.200s' holds %zu; number %zu is '%.100s' in one "
                   "and '%.100s' in the other: open backups with the same factors, in the same "
                   "order, or each on its own",
                   a_path, a->names.n, b_path, b->names.n, at, a_name, b_name);
}

static int check_factors(const facpool_reader *reader, fp_source *const *sources,
                         facpool_error *err)
{
    for (size_t i = 0; i < reader->n; i++)
        if (!same_factors(&reader->schema, &sources[i]->schema))
            return fail_mismatch(&reader->schema, sources[0]->path, &sources[i]->schema,
                                 sources[i]->path, err);
    return 0;
}

static bool same_path(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What a path of a user's own store means is the store's business: it may be NULL. */
static int check_paths(const char *const *paths, size_t n, bool are_files, facpool_error *err)
{
    if (!paths || n == 0)
        return fp_fail(err, FACPOOL_E_INVALID, "no path given: give at least one backup to read");
    for (size_t i = 0; i < n; i++) {
        if (are_files && (!paths[i] || !paths[i][0]))
            return fp_fail(err, FACPOOL_E_INVALID, "paths[%zu] is %s: give a backup's path", i,
                           paths[i] ? "empty" : "NULL");
        for (size_t j = 0; j < i; j++)
            if (same_path(paths[i], paths[j]))
                return fp_fail(err, FACPOOL_E_INVALID,
                               "path '%.400s' is given twice: give each backup once",
                               paths[i] ? paths[i] : "(NULL)");
    }
    return 0;
}

static int copy_paths(facpool_reader *reader, const char *const *paths, size_t n,
                      facpool_error *err)
{
    reader->paths = fp_alloc_zero(NULL, n, sizeof *reader->paths);
    if (!reader->paths)
        return fp_fail_nomem(err, n * sizeof *reader->paths);
    reader->n = n;
    for (size_t i = 0; i < n; i++) {
        reader->paths[i] = paths[i] ? fp_strdup(NULL, paths[i]) : NULL;
        if (paths[i] && !reader->paths[i])
            return fp_fail_nomem(err, strlen(paths[i]) + 1);
    }
    return 0;
}

static int init_reader(facpool_reader *reader, const char *const *paths, size_t n_paths,
                       facpool_error *err)
{
    int rc = copy_paths(reader, paths, n_paths, err);
    if (!rc)
        rc = fp_lock_init(&reader->lock, err);
    if (rc)
        return rc;
    reader->has_lock = true;
    rc = open_sources(&reader->sources, reader, NULL, err);
    if (!rc)
        rc = fp_schema_copy(&reader->schema, &reader->sources[0]->schema, err);
    if (rc)
        return rc;
    reader->has_schema = true;
    return check_factors(reader, reader->sources, err);
}

static int open_reader(facpool_reader **out, fp_store kind, const char *const *paths,
                       size_t n_paths, facpool_error *err)
{
    if (!out)
        return fp_fail(err, FACPOOL_E_INVALID, "out is NULL: give a place for the reader");
    int rc = check_paths(paths, n_paths, !kind.type, err);
    if (rc)
        return rc;
    facpool_reader *reader = fp_alloc_zero(NULL, 1, sizeof *reader);
    if (!reader)
        return fp_fail_nomem(err, sizeof *reader);
    reader->kind = kind;
    rc = init_reader(reader, paths, n_paths, err);
    if (rc) {
        facpool_reader_free(reader);
        return rc;
    }
    *out = reader;
    return 0;
}

int facpool_reader_open(facpool_reader **out, const char *const *paths, size_t n_paths,
                        facpool_error *err)
{
    return open_reader(out, (fp_store){.type = NULL}, paths, n_paths, err);
}

int facpool_reader_from_source(facpool_reader **out, const struct facpool_sink_type *type,
                               void *user, const char *const *paths, size_t n_paths,
                               facpool_error *err)
{
    if (!type)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "type is NULL: give the table of the store to read from, or open files with "
                       "facpool_reader_open");
    return open_reader(out, (fp_store){.type = type, .user = user}, paths, n_paths, err);
}

void facpool_reader_free(facpool_reader *reader)
{
    if (!reader)
        return;
    release_sources(reader->sources, reader->n);
    for (size_t i = 0; i < reader->n; i++)
        fp_free(NULL, reader->paths[i]);
    fp_free(NULL, reader->paths);
    if (reader->has_schema)
        fp_schema_free(&reader->schema);
    if (reader->has_lock)
        fp_lock_destroy(&reader->lock);
    fp_free(NULL, reader);
}

/* A list of the snapshots at this moment, each counted for the caller. */
static int hold_sources(facpool_reader *reader, fp_source ***out, facpool_error *err)
{
    fp_source **held = fp_alloc(NULL, reader->n * sizeof *held);
    if (!held)
        return fp_fail_nomem(err, reader->n * sizeof *held);
    fp_lock_enter(&reader->lock);
    for (size_t i = 0; i < reader->n; i++)
        held[i] = fp_source_hold(reader->sources[i]);
    fp_lock_leave(&reader->lock);
    *out = held;
    return 0;
}

int facpool_reader_refresh(facpool_reader *reader, facpool_error *err)
{
    if (!reader)
        return fp_fail(err, FACPOOL_E_INVALID, "reader is NULL: give one");
    fp_source **held = NULL, **fresh = NULL;
    int rc = hold_sources(reader, &held, err);
    if (rc)
        return rc;
    rc = open_sources(&fresh, reader, held, err);
    if (!rc)
        rc = check_factors(reader, fresh, err);
    if (!rc) {
        fp_lock_enter(&reader->lock);
        fp_source **old = reader->sources;
        reader->sources = fresh;
        fp_lock_leave(&reader->lock);
        fresh = old;
    }
    release_sources(fresh, reader->n);
    release_sources(held, reader->n);
    return rc;
}

size_t facpool_reader_n_factors(const facpool_reader *reader)
{
    return reader ? reader->schema.names.n : 0;
}

const char *facpool_reader_factor_name(const facpool_reader *reader, size_t factor)
{
    bool has = reader && factor < reader->schema.names.n;
    return has ? fp_texts_at(&reader->schema.names, factor) : NULL;
}

int facpool_query(facpool_reader *reader, const facpool_filter *filter, facpool_cursor **out,
                  facpool_error *err)
{
    if (!reader || !out)
        return fp_fail(err, FACPOOL_E_INVALID, "%s is NULL: give one", reader ? "out" : "reader");
    fp_source **held = NULL;
    int rc = hold_sources(reader, &held, err);
    if (rc)
        return rc;
    rc = fp_cursor_open(out, held, reader->n, filter, err);
    release_sources(held, reader->n);
    return rc;
}
