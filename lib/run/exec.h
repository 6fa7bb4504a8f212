/* Executors: threads that work a job off. Each runs until the job has nothing more for it; errors
 * are kept by the job. */
#ifndef FP_RUN_EXEC_H
#define FP_RUN_EXEC_H

#include "run/call.h"

/* All workers in one OpenMP region, the calling thread being worker 0. */
int fp_exec_omp(facpool_job *job, facpool_error *err);

/* FORKED in a forked child of a process that used OpenMP here. */
int fp_exec_omp_check(facpool_error *err);

/* The same, remembering that this process uses it from now on. */
int fp_exec_omp_claim(facpool_error *err);

/* Worker 0 on the calling thread; `between` is called between tasks. */
int fp_exec_serial(facpool_job *job, fp_between_fn between, void *context, facpool_error *err);

/* Pins the calling thread where the options say so. */
int fp_exec_pin(const facpool_job *job, const fp_worker *worker, facpool_error *err);

#endif
