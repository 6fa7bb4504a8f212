/* SQLite at its best for rows that come in key order: a WITHOUT ROWID table on (date, code), 50
 * rows an insert, big transactions in a write-ahead log, no mutexes. Chosen by trying: other page
 * sizes, journals, checkpoints and numbers of rows were no faster. Called by bench_write.c and
 * bench_read.c. */
#include "peer.h"

#ifdef BENCH_HAVE_SQLITE
#include <sqlite3.h>
#include <stdio.h>

#define INSERT_ROWS      50
#define COLUMNS          6
#define BEST_TRANSACTION 100000

static void check(sqlite3 *db, int code, int wanted, const char *what)
{
    if (code != wanted) {
        bench_die("SQLite, %s: %s", what, db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
    }
}

static void execute(sqlite3 *db, const char *sql)
{
    check(db, sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, sql);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;

    check(db, sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK, sql);
    return statement;
}

/* One thread uses SQLite here, so that it needs neither locks nor statistics. */
static void configure_once(void)
{
    static bool done;

    if (!done) {
        check(NULL, sqlite3_config(SQLITE_CONFIG_SINGLETHREAD), SQLITE_OK, "single thread");
        check(NULL, sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0), SQLITE_OK, "no statistics");
        done = true;
    }
}

static sqlite3 *open_file(const char *path, int flags)
{
    sqlite3 *db = NULL;

    configure_once();
    check(db, sqlite3_open_v2(path, &db, flags, NULL), SQLITE_OK, path);
    return db;
}

static void close_file(sqlite3 *db)
{
    check(db, sqlite3_close(db), SQLITE_OK, "close");
}

static sqlite3 *create(const peer_load *load)
{
    sqlite3 *db = open_file(load->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);

    execute(db, "PRAGMA page_size = 8192");
    execute(db, "PRAGMA locking_mode = EXCLUSIVE");
    execute(db, "PRAGMA journal_mode = WAL");
    execute(db, "PRAGMA wal_autocheckpoint = 10000");
    execute(db, "PRAGMA cache_size = -262144"); /* KiB */
    execute(db, load->durability == FACPOOL_DURABILITY_NONE ? "PRAGMA synchronous = OFF"
                                                            : "PRAGMA synchronous = FULL");
    execute(db, "CREATE TABLE rows (date INTEGER, code TEXT, timestamp INTEGER, zscore REAL, "
                "price REAL, rank REAL, PRIMARY KEY (date, code)) WITHOUT ROWID");
    return db;
}

static sqlite3_stmt *prepare_insert(sqlite3 *db, size_t n_rows)
{
    char sql[64 + INSERT_ROWS * 16];
    size_t length = (size_t)snprintf(sql, sizeof(sql), "INSERT INTO rows VALUES (?,?,?,?,?,?)");

    for (size_t i = 1; i < n_rows; i++) {
        length += (size_t)snprintf(sql + length, sizeof(sql) - length, ",(?,?,?,?,?,?)");
    }
    return prepare(db, sql);
}

static void bind_row(sqlite3_stmt *insert, size_t row, int64_t date, const char *code)
{
    facpool_task task = {.size = sizeof(task), .date = date, .code = code};
    int first = (int)row * COLUMNS + 1;
    double factors[BENCH_FACTORS];

    bench_factors(&task, factors, NULL);
    sqlite3_bind_int64(insert, first, date);
    sqlite3_bind_text(insert, first + 1, code, 6, SQLITE_STATIC);
    sqlite3_bind_int64(insert, first + 2, PEER_TIMESTAMP);
    for (int k = 0; k < BENCH_FACTORS; k++) {
        sqlite3_bind_double(insert, first + 3 + k, factors[k]);
    }
}

static void insert_rows(sqlite3 *db, sqlite3_stmt *insert, const bench_work *work, size_t first,
                        size_t n)
{
    for (size_t k = 0; k < n; k++) {
        size_t i = first + k;
        bind_row(insert, k, work->dates[i / work->n_codes], work->codes[i % work->n_codes]);
    }
    check(db, sqlite3_step(insert), SQLITE_DONE, "insert");
    check(db, sqlite3_reset(insert), SQLITE_OK, "reset");
}

static void load_rows(const peer_load *load)
{
    const bench_work *work = load->work;
    sqlite3 *db = create(load);
    sqlite3_stmt *insert = prepare_insert(db, INSERT_ROWS);
    size_t whole = work->n / INSERT_ROWS * INSERT_ROWS;
    peer_pace pace;

    peer_pace_begin(&pace, load, BEST_TRANSACTION);
    execute(db, "BEGIN");
    for (size_t i = 0; i < whole; i += INSERT_ROWS) {
        insert_rows(db, insert, work, i, INSERT_ROWS);
        if (peer_pace_rows(&pace, INSERT_ROWS)) {
            execute(db, "COMMIT; BEGIN");
        }
    }
    sqlite3_finalize(insert);
    if (whole < work->n) {
        insert = prepare_insert(db, work->n - whole);
        insert_rows(db, insert, work, whole, work->n - whole);
        sqlite3_finalize(insert);
    }
    execute(db, "COMMIT");
    close_file(db);
    bench_sync_file(load->path);
}

const peer_store peer_sqlite = {
    "SQLite", "WITHOUT ROWID (date, code), 50 rows an insert, WAL, no mutex; one thread",
    SQLITE_VERSION, load_rows};

/* ------------------------------------------------------------------ questions */

/* A file in WAL mode would make a shared-memory file at each opening. */
void peer_sqlite_settle(const char *path)
{
    sqlite3 *db = open_file(path, SQLITE_OPEN_READWRITE);

    execute(db, "PRAGMA journal_mode = DELETE");
    close_file(db);
}

static size_t add_rows(sqlite3 *db, sqlite3_stmt *select, double *sum)
{
    size_t n = 0;
    int code;

    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
        for (int k = 0; k < BENCH_FACTORS; k++) {
            *sum += sqlite3_column_double(select, k);
        }
        n++;
    }
    check(db, code, SQLITE_DONE, "select");
    check(db, sqlite3_reset(select), SQLITE_OK, "reset");
    return n;
}

size_t peer_sqlite_point(const char *path, int64_t date, const char *const codes[2], double *sum)
{
    sqlite3 *db = open_file(path, SQLITE_OPEN_READONLY);
    sqlite3_stmt *select =
        prepare(db, "SELECT zscore, price, rank FROM rows WHERE date = ? AND code IN (?, ?)");
    size_t n;

    sqlite3_bind_int64(select, 1, date);
    sqlite3_bind_text(select, 2, codes[0], -1, SQLITE_STATIC);
    sqlite3_bind_text(select, 3, codes[1], -1, SQLITE_STATIC);
    n = add_rows(db, select, sum);
    sqlite3_finalize(select);
    close_file(db);
    return n;
}

/* Knowing the dates is what the key (date, code) can use: a look-up each, one transaction. */
size_t peer_sqlite_history(const char *path, const bench_work *work, const char *code, double *sum)
{
    sqlite3 *db = open_file(path, SQLITE_OPEN_READONLY);
    sqlite3_stmt *select;
    size_t n = 0;

    execute(db, "BEGIN");
    select = prepare(db, "SELECT zscore, price, rank FROM rows WHERE date = ? AND code = ?");
    sqlite3_bind_text(select, 2, code, -1, SQLITE_STATIC);
    for (size_t i = 0; i < work->n_dates; i++) {
        sqlite3_bind_int64(select, 1, work->dates[i]);
        n += add_rows(db, select, sum);
    }
    sqlite3_finalize(select);
    execute(db, "COMMIT");
    close_file(db);
    return n;
}

#else

const peer_store peer_sqlite = {"SQLite", "", "", NULL};

void peer_sqlite_settle(const char *path)
{
    (void)path;
}

size_t peer_sqlite_point(const char *path, int64_t date, const char *const codes[2], double *sum)
{
    (void)path;
    (void)date;
    (void)codes;
    (void)sum;
    return 0;
}

size_t peer_sqlite_history(const char *path, const bench_work *work, const char *code, double *sum)
{
    (void)path;
    (void)work;
    (void)code;
    (void)sum;
    return 0;
}

#endif
