/* A store of one's own: rows in an SQLite database, as a table that any SQLite tool can read. All
 * that libfacpool asks of a store is in the table at the end of this file: open, append, sync and
 * close to write, scan to resume and to query. sqlite_demo.c uses it.
 *
 * An append is a transaction in WAL mode. With synchronous=NORMAL it is in the system's hands when
 * it returns and outlives the process; sync commits once with synchronous=FULL, which brings all
 * commits before it to the disk. Readers neither wait for the writer nor make it wait: a snapshot
 * is a read transaction, open for as long as the snapshot lives. (So long SQLite's log grows.)
 *
 * SQLite has no NaN: it becomes NULL, and NULL in an ok row is NaN again. Columns of factors have
 * no type, so that doubles stay what they are, -0.0 too; their names may not differ by case alone.
 */
#include "sqlite_sink.h"

#include <math.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>

#define BLOCK_ROWS     65536
#define FIXED_COLUMNS  6     /* before the factors' */
#define PATIENCE_MS    10000 /* with whoever else works on the database */
#define WRITER_WAIT_MS 100   /* for another writer: two that come at once would both give up */

/* What SQLite said last, as an error of the library's. db NULL: out of memory. */
static int fail(sqlite3 *db, facpool_error *err)
{
    int was = sqlite3_errcode(db);
    int code = was == SQLITE_NOMEM     ? FACPOOL_E_NOMEM
               : was == SQLITE_BUSY    ? FACPOOL_E_BUSY
               : was == SQLITE_CORRUPT ? FACPOOL_E_CORRUPT
               : was == SQLITE_ERROR   ? FACPOOL_E_UNSUPPORTED /* say, names no columns can have */
                                       : FACPOOL_E_IO;
    return facpool_sink_fail(err, code, "'%s': %s", db ? sqlite3_db_filename(db, "main") : "SQLite",
                             sqlite3_errmsg(db));
}

/* Runs statements, made as printf would; %q, %Q and %w quote. */
static int exec(sqlite3 *db, facpool_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *sql = sqlite3_vmprintf(format, args);
    va_end(args);
    int rc = !sql ? fail(NULL, err) : sqlite3_exec(db, sql, NULL, NULL, NULL) ? fail(db, err) : 0;
    sqlite3_free(sql);
    return rc;
}

/* SQLite keeps other writers out only within a transaction. So a writer also has a database beside
 * the real one, in a mode that keeps its lock until the connection ends, or the process dies. Which
 * tables there are is looked at anew once it has it: ATTACH looked before. */
static int open_database(sqlite3 **db, const char *path, int writes, facpool_error *err)
{
    int flags = writes ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    int rc = sqlite3_open_v2(path, db, flags | SQLITE_OPEN_FULLMUTEX, NULL);
    if (rc)
        return facpool_sink_fail(err, rc == SQLITE_CANTOPEN ? FACPOOL_E_NOT_FOUND : FACPOOL_E_IO,
                                 "'%s': %s", path, sqlite3_errmsg(*db));
    sqlite3_busy_timeout(*db, WRITER_WAIT_MS);
    if (writes)
        rc = exec(*db, err,
                  "ATTACH '%q-writer' AS writer; PRAGMA writer.locking_mode=EXCLUSIVE;"
                  "PRAGMA writer.user_version=1; SELECT 1 FROM main.sqlite_master",
                  path);
    if (rc == FACPOOL_E_BUSY)
        facpool_sink_fail(err, rc, "another writer has '%s' open: wait, or choose another", path);
    sqlite3_busy_timeout(*db, PATIENCE_MS);
    return rc;
}

/* ------------------------------------------------------------------ writing */

/* Makes the tables, in the place of what may be there, unless that is to be resumed. (Its factor
 * names and tag are then compared by the library, with those that scan gives.) */
static int make_tables(sqlite3 *db, const facpool_sink_request *r, int existed, facpool_error *err)
{
    if (existed && r->mode == FACPOOL_MODE_CREATE)
        return facpool_sink_fail(err, FACPOOL_E_EXISTS,
                                 "'%s' is there already: resume it, or overwrite it", r->path);
    int rc = exec(db, err, "PRAGMA main.journal_mode=WAL; PRAGMA main.synchronous=NORMAL");
    if (rc || (existed && r->mode == FACPOOL_MODE_RESUME))
        return rc;
    rc = exec(db, err,
              "BEGIN; DROP TABLE IF EXISTS rows; DROP TABLE IF EXISTS meta;"
              "CREATE TABLE meta(tag TEXT, syncs INTEGER); INSERT INTO meta VALUES(%Q, 0);"
              "CREATE TABLE rows(date INTEGER, code TEXT, timestamp INTEGER, status INTEGER,"
              "failure_code INTEGER, message TEXT, PRIMARY KEY(date, code)) WITHOUT ROWID",
              r->tag);
    for (size_t f = 0; !rc && f < r->n_factors; f++)
        rc = exec(db, err, "ALTER TABLE rows ADD \"%w\"", r->factor_names[f]);
    return rc ? rc : exec(db, err, "COMMIT");
}

/* The state is the connection. */
static int open_store(void **state, const facpool_sink_request *r, facpool_sink_opening *opening,
                      facpool_error *err)
{
    int writes = r->purpose == FACPOOL_SINK_WRITE;
    sqlite3 *db = NULL;
    int rc = open_database(&db, r->path, writes, err);
    int found = rc ? rc : sqlite3_table_column_metadata(db, "main", "rows", 0, 0, 0, 0, 0, 0);
    /* A writer died as it turned WAL mode on, before it made tables: the next one cleans up. */
    if (!rc && sqlite3_extended_errcode(db) == SQLITE_READONLY_ROLLBACK)
        found = SQLITE_ERROR;
    if (!rc && found != SQLITE_OK && found != SQLITE_ERROR) /* which is: no such table */
        rc = fail(db, err);
    else if (!rc && writes)
        rc = make_tables(db, r, found == SQLITE_OK, err);
    else if (!rc && found == SQLITE_ERROR)
        rc = facpool_sink_fail(err, FACPOOL_E_NOT_FOUND, "'%s' holds no rows", r->path);
    if (rc) {
        sqlite3_close(db);
        return rc;
    }
    opening->existed = found == SQLITE_OK && r->mode == FACPOOL_MODE_RESUME;
    *state = db;
    return 0;
}

/* With as many places as the table has columns. */
static int prepare_insert(sqlite3_stmt **out, sqlite3 *db, facpool_error *err)
{
    const char *sql = "SELECT 'INSERT OR REPLACE INTO rows VALUES(' || group_concat('?') || ')' "
                      "FROM pragma_table_info('rows')";
    sqlite3_stmt *made = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &made, NULL) || sqlite3_step(made) != SQLITE_ROW ||
        sqlite3_prepare_v2(db, (const char *)sqlite3_column_text(made, 0), -1, out, NULL))
        rc = fail(db, err);
    sqlite3_finalize(made);
    return rc;
}

/* What is not bound is NULL. */
static int bind_row(sqlite3_stmt *to, const facpool_sink_batch *b, size_t row)
{
    int rc = sqlite3_bind_int64(to, 1, b->dates[row]);
    rc |= sqlite3_bind_text(to, 2, facpool_sink_code(b, row), -1, SQLITE_STATIC);
    rc |= sqlite3_bind_int64(to, 3, b->timestamps[row]);
    rc |= sqlite3_bind_int(to, 4, facpool_sink_status(b, row));
    if (!b->all_ok) {
        rc |= sqlite3_bind_int(to, 5, b->failure_codes[row]);
        rc |= sqlite3_bind_text(to, 6, facpool_sink_message(b, row), -1, SQLITE_STATIC);
    }
    for (size_t f = 0; b->all_ok && f < b->n_factors; f++)
        rc |= sqlite3_bind_double(to, (int)f + FIXED_COLUMNS + 1, b->factors[f][row]);
    return rc;
}

static int append(void *state, const facpool_sink_batch *b, facpool_error *err)
{
    sqlite3_stmt *insert = NULL;
    int rc = prepare_insert(&insert, state, err);
    if (!rc)
        rc = exec(state, err, "BEGIN");
    for (size_t row = 0; !rc && row < b->n_rows; row++) {
        if (bind_row(insert, b, row) || sqlite3_step(insert) != SQLITE_DONE)
            rc = fail(state, err);
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    return rc ? rc : exec(state, err, "COMMIT"); /* else close rolls it back */
}

static int sync_store(void *state, facpool_error *err)
{
    return exec(state, err,
                "PRAGMA main.synchronous=FULL; UPDATE meta SET syncs = syncs + 1;"
                "PRAGMA main.synchronous=NORMAL");
}

static int close_store(void *state, facpool_error *err)
{
    int rc = sqlite3_db_readonly(state, "main") ? 0 : sync_store(state, err);
    sqlite3_close(state);
    return rc;
}

/* ------------------------------------------------------------------ reading */

/* A read transaction. Blocks are so many rows in key order; one is found by its first date and by
 * how many rows of that date are in blocks before it. */
struct snapshot {
    sqlite3 *db;
    facpool_source_block *blocks;
    int64_t *skips;
};

static int add_row(facpool_rows *to, sqlite3_stmt *from, double *factors, facpool_error *err)
{
    int n_factors = sqlite3_column_count(from) - FIXED_COLUMNS;
    for (int f = 0; f < n_factors; f++) {
        int column = f + FIXED_COLUMNS, is_null = sqlite3_column_type(from, column) == SQLITE_NULL;
        factors[f] = is_null ? NAN : sqlite3_column_double(from, column);
    }
    facpool_row row = {.size = sizeof row,
                       .date = sqlite3_column_int64(from, 0),
                       .code = (const char *)sqlite3_column_text(from, 1),
                       .timestamp = sqlite3_column_int64(from, 2),
                       .status = sqlite3_column_int(from, 3),
                       .failure_code = sqlite3_column_int(from, 4),
                       .message = (const char *)sqlite3_column_text(from, 5),
                       .n_factors = (size_t)n_factors,
                       .factors = factors};
    return facpool_source_add(to, &row, err);
}

/* Several cursors may read at once: SQLITE_OPEN_FULLMUTEX makes them take turns. */
static int read_block(void *state, size_t block, facpool_rows *rows, facpool_error *err)
{
    const char *sql = "SELECT * FROM rows WHERE date >= ? ORDER BY date, code LIMIT ? OFFSET ?";
    const struct snapshot *s = state;
    uint32_t n_rows = s->blocks[block].n_rows;
    sqlite3_stmt *from = NULL;
    double *factors = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(s->db, sql, -1, &from, NULL) ||
        sqlite3_bind_int64(from, 1, s->blocks[block].date_min) ||
        sqlite3_bind_int64(from, 2, n_rows) || sqlite3_bind_int64(from, 3, s->skips[block]))
        rc = fail(s->db, err);
    else if (!(factors = calloc((size_t)sqlite3_column_count(from), sizeof *factors)))
        rc = fail(NULL, err);
    for (uint32_t row = 0; !rc && row < n_rows; row++)
        rc =
            sqlite3_step(from) == SQLITE_ROW ? add_row(rows, from, factors, err) : fail(s->db, err);
    sqlite3_finalize(from);
    free(factors);
    return rc;
}

static void free_snapshot(void *state)
{
    struct snapshot *s = state;
    sqlite3_close_v2(s->db); /* when its statements have ended, too */
    free(s->blocks);
    free(s->skips);
    free(s);
}

static int find_blocks(struct snapshot *s, size_t n_rows, sqlite3_stmt *rows, facpool_error *err)
{
    int64_t last_date = 0, skip = 0;
    s->blocks = calloc(n_rows / BLOCK_ROWS + 1, sizeof *s->blocks);
    s->skips = calloc(n_rows / BLOCK_ROWS + 1, sizeof *s->skips);
    if (!s->blocks || !s->skips)
        return fail(NULL, err);
    for (size_t row = 0; row < n_rows; row++) {
        facpool_source_block *block = &s->blocks[row / BLOCK_ROWS];
        if (sqlite3_step(rows) != SQLITE_ROW)
            return fail(s->db, err);
        int64_t date = sqlite3_column_int64(rows, 0);
        int status = sqlite3_column_int(rows, 3);
        skip = row && date == last_date ? skip + 1 : 0;
        if (block->n_rows++ == 0) {
            block->date_min = date;
            s->skips[row / BLOCK_ROWS] = skip;
        }
        block->date_max = last_date = date;
        block->status_rows[status > 0 && status < 6 ? status : 0]++; /* the library refuses 0 */
    }
    return 0;
}

/* The snapshot has a connection of its own, as it outlives the state. */
static int scan(void *state, facpool_source *previous, facpool_source **out, facpool_error *err)
{
    const char *about = "SELECT tag, (SELECT count(*) FROM rows) FROM meta";
    const char *all = "SELECT * FROM rows ORDER BY date, code", **names = NULL;
    facpool_source_options o = {.size = sizeof o, .read = read_block, .free = free_snapshot};
    sqlite3_stmt *meta = NULL, *rows = NULL;
    struct snapshot *s = o.state = calloc(1, sizeof *s);
    o.name = sqlite3_db_filename(state, "main");
    int rc = s ? open_database(&s->db, o.name, 0, err) : fail(NULL, err);
    (void)previous;
    if (!rc &&
        (sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL) ||
         sqlite3_prepare_v2(s->db, about, -1, &meta, NULL) || sqlite3_step(meta) != SQLITE_ROW ||
         sqlite3_prepare_v2(s->db, all, -1, &rows, NULL)))
        rc = fail(s->db, err);
    if (!rc && !(names = calloc((size_t)sqlite3_column_count(rows), sizeof *names)))
        rc = fail(NULL, err);
    if (!rc)
        rc = find_blocks(s, (size_t)sqlite3_column_int64(meta, 1), rows, err);
    if (!rc) {
        o.tag = (const char *)sqlite3_column_text(meta, 0);
        o.n_blocks = ((size_t)sqlite3_column_int64(meta, 1) + BLOCK_ROWS - 1) / BLOCK_ROWS;
        o.blocks = s->blocks;
        o.n_factors = (size_t)sqlite3_column_count(rows) - FIXED_COLUMNS;
        o.factor_names = names;
        for (int f = 0; f < (int)o.n_factors; f++)
            names[f] = sqlite3_column_name(rows, f + FIXED_COLUMNS);
        rc = facpool_source_new(out, &o, err); /* takes the snapshot over, also on failure */
    } else if (s) {
        free_snapshot(s);
    }
    free(names);
    sqlite3_finalize(meta);
    sqlite3_finalize(rows);
    return rc;
}

const facpool_sink_type sqlite_sink = {
    .size = sizeof(facpool_sink_type),
    .name = "SQLite",
    .open = open_store,
    .append = append,
    .sync = sync_store,
    .close = close_store,
    .scan = scan,
};
