/* LMDB at its best for rows that come in key order: MDB_APPEND through one cursor, values of fixed
 * size, a map as large as it gets, and the flags that the durability allows. Called by
 * bench_write.c. */
#include "peer.h"

#ifdef BENCH_HAVE_LMDB
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BEST_TRANSACTION 100000
#define CODE_BYTES       6
#define KEY_BYTES        (8 + CODE_BYTES)

typedef struct lmdb_value {
    int64_t timestamp;
    double factors[BENCH_FACTORS];
} lmdb_value;

typedef struct lmdb_store {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi rows;
    MDB_cursor *cursor;
} lmdb_store;

static void check(int code, const char *what)
{
    if (code != 0) {
        bench_die("LMDB, %s: %s", what, mdb_strerror(code));
    }
}

/* With group, LMDB itself syncs nothing and mdb_env_sync is called every 100 ms. */
static unsigned environment_flags(int32_t durability)
{
    return durability == FACPOOL_DURABILITY_BATCH ? MDB_NOMEMINIT
                                                  : MDB_NOMEMINIT | MDB_NOSYNC | MDB_WRITEMAP;
}

static void begin(lmdb_store *store)
{
    check(mdb_txn_begin(store->env, NULL, 0, &store->txn), "begin");
    check(mdb_dbi_open(store->txn, NULL, 0, &store->rows), "open the table");
    check(mdb_cursor_open(store->txn, store->rows, &store->cursor), "open a cursor");
}

static void commit(lmdb_store *store, bool sync)
{
    mdb_cursor_close(store->cursor);
    check(mdb_txn_commit(store->txn), "commit");
    if (sync) {
        check(mdb_env_sync(store->env, 1), "sync");
    }
}

static void create(lmdb_store *store, const peer_load *load)
{
    size_t map_bytes = load->work->n * 96 + ((size_t)256 << 20);

    if (mkdir(load->path, 0700) != 0) {
        bench_die("can't create the folder %s: %s", load->path, strerror(errno));
    }
    check(mdb_env_create(&store->env), "create");
    check(mdb_env_set_mapsize(store->env, map_bytes), "set the map size");
    check(mdb_env_open(store->env, load->path, environment_flags(load->durability), 0600),
          load->path);
    begin(store);
}

/* Keys compare as bytes: the date big-endian with its sign turned, then the code. */
static void put_row(lmdb_store *store, int64_t date, const char *code)
{
    facpool_task task = {.size = sizeof(task), .date = date, .code = code};
    uint64_t ordered = (uint64_t)date ^ (uint64_t)1 << 63;
    uint8_t bytes[KEY_BYTES];
    lmdb_value row = {.timestamp = PEER_TIMESTAMP};
    MDB_val key = {sizeof(bytes), bytes};
    MDB_val value = {sizeof(row), &row};

    for (size_t i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(ordered >> (56 - 8 * i));
    }
    memcpy(bytes + 8, code, CODE_BYTES);
    bench_factors(&task, row.factors, NULL);
    check(mdb_cursor_put(store->cursor, &key, &value, MDB_APPEND), "put");
}

static void load_rows(const peer_load *load)
{
    const bench_work *work = load->work;
    lmdb_store store;
    peer_pace pace;

    create(&store, load);
    peer_pace_begin(&pace, load, BEST_TRANSACTION);
    for (size_t i = 0; i < work->n; i++) {
        put_row(&store, work->dates[i / work->n_codes], work->codes[i % work->n_codes]);
        if (peer_pace_rows(&pace, 1)) {
            commit(&store, load->durability == FACPOOL_DURABILITY_GROUP);
            begin(&store);
        }
    }
    commit(&store, true);
    mdb_env_close(store.env);
}

#define STRING_OF(x)     #x
#define VERSION(a, b, c) STRING_OF(a) "." STRING_OF(b) "." STRING_OF(c)

const peer_store peer_lmdb = {
    "LMDB", "MDB_APPEND through one cursor, MDB_WRITEMAP unless batch; one thread",
    VERSION(MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH), load_rows};

#else

const peer_store peer_lmdb = {"LMDB", "", "", NULL};

#endif
