/* What the parts of the process executor share: the state of a run with worker processes, the desks
 * as the run sees them (process_desks.c), and workers that end (process_endings.c). All of it is
 * for the one thread of exec_process.c. */
#ifndef FP_RUN_PROCESS_RUN_H
#define FP_RUN_PROCESS_RUN_H

#include "run/process_pool.h"

typedef struct fp_process_run {
    facpool_job *job;
    fp_pool *pool;
    bool is_grouped;
    bool is_stopping;
    bool was_killed; /* the job was asked to end at once, and workers have been told */
    int64_t killed_ns;
    bool has_claimed; /* in this round */
} fp_process_run;

/* ------------------------------------------------------------------ exec_process.c */

/* Ends the job early, as fp_job_stop does. */
void fp_process_stop(fp_process_run *run, int code, const facpool_error *why);

/* Sees whether the job is to end, and then calls desks off or has workers killed. */
void fp_process_look_for_stop(fp_process_run *run);

/* Whether workers can (still) be started, and are wanted. */
bool fp_process_can_start(const fp_process_run *run);

/* ------------------------------------------------------------------ process_desks.c */

/* Finished slots of a desk, within what can be. */
size_t fp_desks_finished(const fp_process_run *run, size_t desk);

/* Takes over what a worker has finished on a desk, and hands it on. */
void fp_desks_drain(fp_process_run *run, size_t desk);

/* Makes a desk ready (again) for slots first .. end - 1; `attempt` is the first one's. */
void fp_desks_make_ready(fp_process_run *run, size_t desk, size_t first, size_t end,
                         uint32_t attempt);

/* Lays chunks on empty desks while the job has some. */
void fp_desks_fill(fp_process_run *run);

/* A desk that its worker let go: the job gets back its chunk, and what of it was not begun. */
void fp_desks_clear(fp_process_run *run, size_t desk);

/* Gives the job back half of what the fullest desk has left, or a whole group of it. False: no desk
 * has anything to spare. */
bool fp_desks_take_back(fp_process_run *run);

/* The job ends: nothing more is begun; tasks, slices or groups in hand are waited for. */
void fp_desks_call_off(fp_process_run *run);

/* Whether none of the seat's desks has tasks. */
bool fp_desks_idle(const fp_process_run *run, uint32_t seat);

/* ------------------------------------------------------------------ process_endings.c */

/* Deals with the end of a seat's worker: who is to blame, what goes on. */
void fp_process_bury(fp_process_run *run, uint32_t seat);

#endif
