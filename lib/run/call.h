/* Calling the user's function for the chunk in hand: task by task or as slices, with attempts and
 * marks. What every executor of the library runs in its threads. */
#ifndef FP_RUN_CALL_H
#define FP_RUN_CALL_H

#include "run/job.h"

/* Claims and runs chunks until there is nothing left for this worker. `between` (or NULL) is called
 * between chunks and, where tasks are called one by one, between tasks, at most once a millisecond.
 * Returns 0, or the error that stopped the job. */
typedef void (*fp_between_fn)(void *context);
int fp_call_worker(facpool_job *job, fp_worker *worker, fp_between_fn between, void *context,
                   facpool_error *err);

/* Calls the function for the slots in hand: for all, or until something is signalled. NOMEM. */
int fp_call_chunk(facpool_job *job, fp_worker *worker, size_t *n_finished);

/* Marks slots by what a function returned for tasks first_slot .. first_slot + n - 1. Errors:
 * NOMEM. */
int fp_call_apply(fp_worker *worker, size_t first_slot, size_t n, int outcome);

#endif
