/* What the library is measured against when it stores and finds rows: SQLite, LMDB and plain
 * write(2), each at its best and with the durability that our run has. Called by bench_write.c and
 * bench_read.c. A peer whose library was missing when the benchmarks were built is not available.
 */
#ifndef FP_BENCH_PEER_H
#define FP_BENCH_PEER_H

#include "bench.h"

#define PEER_GROUP_SECONDS 0.1
#define PEER_TIMESTAMP     1700000000000000 /* us; a peer reads no clock for its rows */

typedef struct peer_load {
    const bench_work *work;
    const char *path;        /* not there yet; becomes a file, or a folder for LMDB */
    int32_t durability;      /* FACPOOL_DURABILITY_* */
    size_t transaction_rows; /* for durability batch: as many rows as our blocks really have */
    double row_bytes;        /* write(2) alone: so many a row; 0: its own 48 */
} peer_load;

typedef struct peer_store {
    const char *name;
    const char *how;     /* how it is used, in a few words */
    const char *version; /* "": it has none */

    /* Computes every row with bench_factors on one thread, stores (date, code, timestamp, factors)
     * in key order, syncs and closes. NULL: not available. */
    void (*load)(const peer_load *load);
} peer_store;

extern const peer_store peer_sqlite;
extern const peer_store peer_lmdb;
extern const peer_store peer_raw;

/* ------------------------------------------------------------------ questions to SQLite */

/* Makes a loaded file as quick to open as it gets. */
void peer_sqlite_settle(const char *path);

/* Opens the file, asks for one date and two codes, closes. Gives the number of rows found and adds
 * their factors to *sum. */
size_t peer_sqlite_point(const char *path, int64_t date, const char *const codes[2], double *sum);

/* The same for one code on every date of the work. */
size_t peer_sqlite_history(const char *path, const bench_work *work, const char *code, double *sum);

/* ------------------------------------------------------------------ when a transaction ends */

typedef struct peer_pace {
    int32_t durability;
    size_t transaction_rows;
    size_t rows;     /* in this transaction */
    double deadline; /* of this group */
} peer_pace;

/* `best_rows`: the transaction size the peer is fastest with, where it may choose. */
void peer_pace_begin(peer_pace *pace, const peer_load *load, size_t best_rows);

/* Counts rows; true when the transaction ends with them. */
bool peer_pace_rows(peer_pace *pace, size_t n);

#endif
