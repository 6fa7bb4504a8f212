/* The writer: what lies between those who finish rows and the sink. Every worker has a lane, where
 * it puts finished rows; a thread of the writer's gathers the lanes into blocks now and then, so
 * that a row waits at most flush_ms, and commits groups. A worker whose lane is full writes it
 * itself: that is the back-pressure, and no queue grows.
 *
 * Used by jobs (a lane a worker) and by the public writer handle (one lane). */
#ifndef FP_RUN_WRITER_H
#define FP_RUN_WRITER_H

#include "os/os.h"
#include "store/sink.h"

typedef struct fp_writer fp_writer;

/* One worker's rows on their way. Fill `ok` and `rest` (not ok) only between enter and leave. */
typedef struct fp_lane {
    fp_lock lock;
    fp_batch ok;
    fp_batch rest;
    size_t known_rows; /* of both, when last left */
    fp_writer *writer;
    int64_t wait_ns; /* what leave took while it wrote or waited; the lane's user reads it */
} fp_lane;

/* Called by the writer with the lane entered, before it gathers: puts what has been finished in the
 * meantime into the lane. */
typedef int (*fp_collect_fn)(void *owner, uint32_t lane, facpool_error *err);

typedef struct fp_writer_config {
    uint32_t n_lanes;
    size_t n_factors;
    const fp_codes *codes; /* what code ids in the lanes mean; must outlive the writer */
    const facpool_backup_options *options;
    fp_collect_fn collect; /* or NULL */
    void *owner;
    bool keys_repeat; /* an ok row may follow one of the same key that is not: then full lanes, too,
                         are written in this order, which stores that keep one row a key need */
    const facpool_allocator *allocator;
} fp_writer_config;

/* Takes the sink over, also when it fails. Errors: NOMEM, SYSTEM. */
int fp_writer_open(fp_writer **out, fp_sink *sink, const fp_writer_config *config,
                   facpool_error *err);

fp_lane *fp_writer_lane(fp_writer *writer, uint32_t i);
void fp_lane_enter(fp_lane *lane);

/* Ends the access; writes the lane where it is full (or where there is no thread to do it). Errors:
 * IO, NOMEM: then also all later calls. */
int fp_lane_leave(fp_lane *lane, facpool_error *err);

/* Keeps the writer from reading batches (and the codes they refer to) until it may go on: for an
 * owner whose code table grows. Enter lanes inside, not around. */
void fp_writer_pause(fp_writer *writer);
void fp_writer_go_on(fp_writer *writer);

/* Writes what waits in all lanes, then makes everything durable. */
int fp_writer_sync(fp_writer *writer, facpool_error *err);

/* Without a thread: does what the thread would do now. Else does nothing. */
int fp_writer_poll(fp_writer *writer, facpool_error *err);

/* The first error met, or 0. From any thread. */
int fp_writer_failed(const fp_writer *writer);
void fp_writer_error(const fp_writer *writer, facpool_error *err);

const fp_sink *fp_writer_sink(const fp_writer *writer);

typedef struct fp_writer_totals {
    uint64_t rows_written;
    uint64_t rows_durable;
    int64_t write_ns; /* encoding, writing and syncing, summed over threads */
    int64_t row_us;   /* see fp_schema; 0 where closing fails */
} fp_writer_totals;

/* fp_sink_begin for its sink: before the first row. */
int fp_writer_begin(fp_writer *writer, facpool_error *err);

/* Writes what waits (unless it has failed), closes the sink, frees the writer, also on error. */
int fp_writer_close(fp_writer *writer, fp_writer_totals *totals, facpool_error *err);

#endif
