/* The job: what is left to do and what is done. It gives out chunks of the plan and takes back
 * finished ones; it holds no thread (but the writer's). Executors, and the caller's own threads
 * through the public calls, are its clients. */
#ifndef FP_RUN_JOB_H
#define FP_RUN_JOB_H

#include "run/config.h"
#include "run/worker.h"

/* Bits of facpool_job.signal: what workers look at between tasks. */
#define FP_SIGNAL_HUNGRY 1 /* others have nothing to do: give back what you have not begun */
#define FP_SIGNAL_STOP   2 /* end after the task in hand */
#define FP_SIGNAL_CANCEL 4 /* the same, asked for by facpool_job_cancel */
#define FP_SIGNAL_KILL   8 /* and worker processes don't end their tasks either */

struct facpool_cancel {
    atomic_int set;
};

typedef struct fp_range {
    size_t first;
    size_t end;
} fp_range;

struct facpool_job {
    fp_config config;
    const facpool_tasks *tasks; /* held */
    fp_plan plan;
    fp_writer *writer; /* NULL without a backup */
    fp_memory *memory; /* NULL where rows are not kept */
    fp_worker *workers;
    void *workers_memory; /* what was allocated for them */
    void *memory_of_job;  /* and for the job itself */
    uint32_t n_workers;
    size_t chunk_max;
    int64_t chunk_target_ns;   /* a chunk should take so long */
    struct fp_pool *pool;      /* the process executor's; else NULL */
    bool keeps_order;          /* memory: position and index are the same */
    size_t to_run;             /* tasks that were left when the job opened */
    uint64_t failures_allowed; /* so many before the first good task stop the job */
    fp_sink_opening opening;
    uint64_t damaged_blocks; /* of the backup, when it was opened */
    bool leaves_damage;      /* rows of other tasks may be lost with them */
    uint64_t rows_written;   /* once the writer is closed */
    uint64_t rows_durable;
    int64_t write_ns;
    int64_t began_ns;
    facpool_cancel no_cancel; /* stands in for a token that is not given */
    facpool_cancel *cancel;

    alignas(64) atomic_size_t next; /* position, or group, to give out next */
    alignas(64) atomic_int signal;
    atomic_size_t in_hand; /* workers that have a chunk or a reserve */
    atomic_int stop_code;  /* why the job ends early, or 0 */
    atomic_bool any_good;  /* a task has finished that did not fail */

    fp_lock lock;     /* guards what follows */
    size_t n_waiting; /* workers that wait for something to come back */
    fp_range *returned;
    atomic_size_t n_returned; /* changed with the lock held */
    size_t returned_capacity;
    facpool_error stop_error;
};

/* Opens a job; `kind` as for fp_config_init. Errors: as facpool_run's at the start. */
int fp_job_open(facpool_job **out, const facpool_tasks *tasks, const facpool_run_options *options,
                fp_config_kind kind, facpool_error *err);

/* Takes the next chunk in hand of the worker. With `wait` it waits for chunks that others may give
 * back. Returns 1, or 0 when there is nothing (more) to do, or an error, which also stops the job.
 */
int fp_job_claim(facpool_job *job, fp_worker *worker, bool wait, facpool_error *err);

/* Takes back a chunk of which the first n_finished slots are finished; what was not begun is given
 * to others, or left when the job is stopping. Errors: IO, NOMEM: then the job is stopped. */
int fp_job_return(facpool_job *job, fp_worker *worker, size_t n_finished, facpool_error *err);

/* Collects what is finished of a chunk that goes on. Errors: IO, NOMEM. */
int fp_job_collect_some(facpool_job *job, fp_worker *worker, facpool_error *err);

/* Whether workers should look up from their chunk: something was signalled, or cancel was set. */
static inline bool fp_job_is_signalled(const facpool_job *job)
{
    return atomic_load_explicit(&job->signal, memory_order_relaxed) |
           atomic_load_explicit(&job->cancel->set, memory_order_relaxed);
}

/* Ends the job early: the first reason counts. Returns `code`. */
int fp_job_stop(facpool_job *job, int code, const facpool_error *why);

/* The same, and hands the reason to the caller. */
int fp_job_stop_with(facpool_job *job, int code, const facpool_error *why, facpool_error *err);

/* Finished tasks of this run, by whether they failed. */
void fp_job_count_finished(const facpool_job *job, uint64_t *good, uint64_t *failed);

/* Whether the job has been stopped or cancelled. */
bool fp_job_is_stopping(facpool_job *job);

/* fp_worker_collect for a lane, in the shape that the writer calls. */
int fp_job_collect(void *job, uint32_t lane, facpool_error *err);

/* Closes the writer, builds the result, frees the job. */
int fp_job_finish(facpool_job *job, facpool_result **out, facpool_error *err);

/* The last step before tasks are given out, when nothing can keep them from running any more: a
 * backup that is overwritten is replaced now. Errors: BUSY, IO, NOMEM. */
int fp_job_begin(facpool_job *job, facpool_error *err);

/* Ends a job that never began: no result. */
void fp_job_abandon(facpool_job *job);

#endif
