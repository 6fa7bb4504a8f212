/* Sinks: the writing half of every store, as a run or a writer handle uses it, and the doors to
 * what is stored. A sink is a table of facpool/sink.h, the library's own or a user's, and what all
 * of them need around it: batches handed over, one call at a time where the table can't do more,
 * group commit, counts. */
#ifndef FP_STORE_SINK_H
#define FP_STORE_SINK_H

#include "os/os.h"
#include "store/source.h"

#include <facpool/sink.h>

/* Where rows are: a file, or what a table of the user's own opens. */
typedef struct fp_store {
    const facpool_sink_type *type; /* NULL: a file */
    void *user;
    const char *path; /* NULL only where the type is the user's own */
} fp_store;

/* What opening found, for the log and the report. */
typedef struct fp_sink_opening {
    bool existed;      /* continues a backup that was there */
    bool keeps_damage; /* a file's, until fp_sink_give_up; other stores have put theirs right */
    uint64_t damaged_blocks;
    uint64_t tail_bytes_cut;
} fp_sink_opening;

typedef struct fp_sink {
    facpool_sink_type type; /* as the caller's header knows it, the rest zero */
    void *state;
    fp_schema schema; /* as stored: the file id, where there is one, included */
    int32_t durability;
    bool concurrent;  /* several calls at once are fine */
    bool waits;       /* for fp_sink_begin */
    fp_source *found; /* what was there when it was opened; NULL once it was taken */
    fp_lock call;     /* held around calls that must come one at a time */
    fp_lock lock;     /* guards all below that is not atomic */
    bool has_locks;
    bool knows_row; /* schema.row_us is that of an ok row appended here */
    bool failed;    /* then `failure` says why: nothing but close is called any more */
    facpool_error failure;
    uint64_t bytes_unsynced; /* about how much memory those rows took */
    int64_t unsynced_since_ns;
    _Atomic uint64_t rows_written; /* since it was opened */
    _Atomic uint64_t rows_durable;
    _Atomic int64_t write_ns; /* time encoding, writing and syncing, summed over threads */
} fp_sink;

/* Opens the backup that `options` names for writing: finds the format, applies the mode (create,
 * resume, overwrite), takes the lock, checks factors and tag, cuts off a torn tail. A file that is
 * to be replaced stays until fp_sink_begin: closed before, the sink has done nothing. Errors:
 * EXISTS, MISMATCH, BUSY, UNSUPPORTED, CORRUPT (header), NOT_FOUND (folder), INVALID, IO, NOMEM. */
int fp_sink_open(fp_sink **out, const facpool_backup_options *options, const fp_schema *wanted,
                 fp_sink_opening *opening, facpool_error *err);

/* The same for a file that gets its name only when it is closed, whole; mode create or overwrite.
 * `identity`: NULL, or whose file id and time it keeps. A file it replaces stays locked until then.
 */
int fp_sink_open_hidden(fp_sink **out, const facpool_backup_options *options,
                        const fp_schema *wanted, const fp_schema *identity, facpool_error *err);

/* Called when nothing can keep the caller from appending any more, and before it does: now a new
 * file takes the place of one that it replaces. Errors: BUSY, IO, NOMEM. */
int fp_sink_begin(fp_sink *sink, facpool_error *err);

/* Gives up what was found damaged in a file that was just opened, which the caller will store
 * again: it is no part of later snapshots. `blocks`: NULL, all of it; else a flag a block of the
 * snapshot, and what could not be listed stays. *n_left gets how much is still damaged. Errors: IO,
 * NOMEM. */
int fp_sink_give_up(fp_sink *sink, const uint8_t *blocks, uint64_t *n_left, facpool_error *err);

/* Appends rows: sorted by fp_batch_sort, at most FP_BLOCK_ROWS, at least one. When it returns 0
 * they are in the store, not yet safe from power loss, unless durability is batch. Any number of
 * threads at once. Errors, as of all below: the first one stays for good. */
int fp_sink_append(fp_sink *sink, const fp_batch *batch, facpool_error *err);

/* Called now and then (every 10 to 100 ms while rows are unsynced) by one thread: commits the group
 * whose time has come. *next_ns gets when to call again at the latest (INT64_MAX: nothing to sync).
 */
int fp_sink_tick(fp_sink *sink, int64_t now_ns, int64_t *next_ns, facpool_error *err);

/* Returns when everything appended is durable. */
int fp_sink_sync(fp_sink *sink, facpool_error *err);

/* A snapshot of what it holds, counted for the caller. Errors: UNSUPPORTED (no scan), ... */
int fp_sink_source(fp_sink *sink, fp_source **out, facpool_error *err);

/* Ends the store well and frees the sink, also on error. */
int fp_sink_close(fp_sink *sink, facpool_error *err);

/* Frees a sink that was opened hidden: its file never appears. */
void fp_sink_abandon(fp_sink *sink);

/* ------------------------------------------------------------------ reading */

/* Opens a backup for reading; a file's format is found from its content. `previous` (or NULL) is an
 * older snapshot of the same store, from which what is still true is taken over. */
int fp_store_source(fp_source **out, const fp_store *store, const fp_source *previous,
                    facpool_error *err);

/* The same for a file. */
int fp_source_open(fp_source **out, const char *path, const fp_source *previous,
                   facpool_error *err);

/* Whole-file work for the public calls of the same name, for any format. */
int fp_store_info(const facpool_info **out, const char *path, facpool_error *err);
int fp_store_verify(const char *path, facpool_verify_report *report, facpool_error *err);
int fp_store_repair(const char *path, facpool_verify_report *report, facpool_error *err);

#endif
