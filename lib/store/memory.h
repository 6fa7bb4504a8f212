/* Rows in memory: a run's own result, in the order of its task set. Workers store what they
 * compute, each its own rows; a backup's rows can be loaded into it; and it is a source, so that
 * cursors read a result as they read a file. */
#ifndef FP_STORE_MEMORY_H
#define FP_STORE_MEMORY_H

#include "model/key_order.h"
#include "os/os.h"
#include "store/source.h"

/* Rows of neighbouring positions of the run's order that share a timestamp: kept apart from the
 * columns so that no store per task is spent on it. */
typedef struct fp_stamp {
    size_t position;
    size_t n;
    int64_t timestamp;
} fp_stamp;

/* A task that is neither ok nor skipped. */
typedef struct fp_failed {
    size_t index;
    int64_t timestamp;
    int32_t code;
    uint32_t message; /* number in the messages kept beside it */
    uint8_t status;
} fp_failed;

typedef struct fp_memory {
    atomic_size_t references;
    const facpool_tasks *tasks; /* held */
    fp_key_order keys;          /* of the run: what positions mean */
    fp_schema schema;
    size_t count;
    double **factors; /* n_factors columns by index */
    uint8_t *statuses;
    int64_t *timestamps; /* by index; NULL until asked for */
    fp_stamp *stamps;
    size_t n_stamps;
    size_t stamps_capacity;
    fp_failed *failed; /* by index once sorted */
    size_t n_failed;
    size_t failed_capacity;
    fp_texts messages;
    fp_lock lock; /* guards what is made on demand: timestamps and view */
    struct fp_memory_view *view;
    facpool_allocator own_allocator;
    const facpool_allocator *allocator;
} fp_memory;

/* Empty columns for a held task set; every status is "not run". Errors: NOMEM, SYSTEM, and those
 * of fp_key_order_init. */
int fp_memory_new(fp_memory **out, const facpool_tasks *tasks, bool code_major,
                  const fp_schema *schema, const facpool_allocator *allocator, facpool_error *err);
void fp_memory_release(fp_memory *memory); /* takes NULL */

/* These are for one thread at a time, when workers are done. Errors: NOMEM. */
int fp_memory_add_stamps(fp_memory *memory, const fp_stamp *stamps, size_t n);
int fp_memory_add_failed(fp_memory *memory, const fp_failed *failed, size_t n,
                         const fp_texts *messages);

/* Takes over the rows of a source that belong to its tasks: ok beats not ok, then the later
 * timestamp. Errors: MISMATCH (another file, or other factors), CORRUPT, IO, NOMEM. */
int fp_memory_load(fp_memory *memory, fp_source *source, facpool_error *err);

/* Sorts failures, drops superseded ones, and fills the factors of tasks that were not run with NaN.
 */
void fp_memory_settle(fp_memory *memory, bool complete);

/* Timestamps by index, made on first use. NULL: out of memory. Thread-safe. */
const int64_t *fp_memory_timestamps(fp_memory *memory);

/* The rows as a source, counted for the caller; it keeps the memory alive. Thread-safe. */
int fp_memory_source(fp_memory *memory, fp_source **out, facpool_error *err);

#endif
