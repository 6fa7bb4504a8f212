/* Sinks: the writing half of every store, and the registry of formats. What a run or a writer
 * handle knows of where its rows go is in this file. */
#ifndef FP_STORE_SINK_H
#define FP_STORE_SINK_H

#include "store/source.h"

/* What opening found, for the log and the report. */
typedef struct fp_sink_opening {
    bool existed; /* continues a backup that was there */
    uint64_t damaged_blocks;
    uint64_t tail_bytes_cut;
} fp_sink_opening;

typedef struct fp_sink fp_sink;

typedef struct fp_sink_type {
    const char *name;
    bool concurrent_append; /* append may be called by several threads at once */

    /* Appends rows: sorted by fp_batch_sort, at most FP_BLOCK_ROWS, at least one. When it returns
     * 0 they are in the file (kernel), not yet on the disk, unless durability is batch. Errors: IO
     * (the sink then refuses everything further), NOMEM. */
    int (*append)(fp_sink *sink, const fp_batch *batch, facpool_error *err);

    /* Called now and then (every 10 to 100 ms while rows are unsynced) by one thread: commits the
     * group whose time has come. *next_ns gets when to call again at the latest (INT64_MAX: nothing
     * to sync). */
    int (*tick)(fp_sink *sink, int64_t now_ns, int64_t *next_ns, facpool_error *err);

    /* Returns when everything appended is durable. */
    int (*sync)(fp_sink *sink, facpool_error *err);

    /* Ends the store well (index, sync) and frees the sink, also on error. */
    int (*close)(fp_sink *sink, facpool_error *err);

    /* A snapshot of what it holds, counted for the caller. */
    int (*source)(fp_sink *sink, fp_source **out, facpool_error *err);
} fp_sink_type;

struct fp_sink {
    const fp_sink_type *type;
    fp_schema schema;              /* as stored: file id and tag included */
    _Atomic uint64_t rows_written; /* since it was opened */
    _Atomic uint64_t rows_durable;
    _Atomic int64_t write_ns; /* time encoding, writing and syncing, summed over threads */
};

/* Opens the backup that `options` names for writing: finds the format, applies the mode (create,
 * resume, overwrite), takes the lock, checks factors and tag, cuts off a torn tail. Errors: EXISTS,
 * MISMATCH, BUSY, UNSUPPORTED, CORRUPT (header), NOT_FOUND (folder), INVALID, IO, NOMEM. */
int fp_sink_open(fp_sink **out, const facpool_backup_options *options, const fp_schema *wanted,
                 fp_sink_opening *opening, facpool_error *err);

/* Opens a backup for reading; the format is found from its content. `previous` (or NULL) is an
 * older snapshot of the same path, from which what is still true is taken over. */
int fp_source_open(fp_source **out, const char *path, const fp_source *previous,
                   facpool_error *err);

/* Whole-file work for the public calls of the same name, for any format. */
int fp_store_info(const facpool_info **out, const char *path, facpool_error *err);
int fp_store_verify(const char *path, facpool_verify_report *report, facpool_error *err);
int fp_store_repair(const char *path, facpool_verify_report *report, facpool_error *err);

#endif
