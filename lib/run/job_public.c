/* The job as a public handle: slices for the caller's own threads. */
#include "base/abi.h"
#include "base/error.h"
#include "run/call.h"
#include "run/progress.h"

int facpool_job_open(facpool_job **out, const facpool_tasks *tasks,
                     const facpool_run_options *options, facpool_error *err)
{
    facpool_job *job;
    int rc = fp_job_open(out ? &job : NULL, tasks, options, FP_CONFIG_JOB, err);
    if (rc)
        return rc;
    rc = fp_job_begin(job, err);
    if (rc)
        fp_job_abandon(job);
    else
        *out = job;
    return rc;
}

static fp_worker *worker_of(facpool_job *job, uint32_t number, facpool_error *err)
{
    if (number < job->n_workers)
        return &job->workers[number];
    fp_fail(err, FACPOOL_E_INVALID, "worker %u: this job has workers 0 to %u", (unsigned)number,
            (unsigned)(job->n_workers - 1));
    return NULL;
}

/* A slice can be completed only where it has room for what the library finds it again by. */
static int check_slice(const facpool_slice *slice, facpool_error *err)
{
    facpool_slice own;
    int rc = fp_abi_import(&own, sizeof own, slice, "facpool_slice", err);
    if (!rc && slice->size < sizeof own)
        rc = fp_fail(err, FACPOOL_E_ABI,
                     "facpool_slice has %zu bytes, but a job needs all %zu: initialise it with "
                     "FACPOOL_SLICE_INIT",
                     slice->size, sizeof own);
    return rc;
}

int facpool_job_take(facpool_job *job, uint32_t number, facpool_slice *slice, double **factors,
                     facpool_error *err)
{
    fp_worker *worker = worker_of(job, number, err);
    if (!worker)
        return FACPOOL_E_INVALID;
    if (worker->busy)
        return fp_fail(err, FACPOOL_E_STATE,
                       "worker %u has a slice in hand: complete it before taking another",
                       (unsigned)number);
    int rc = check_slice(slice, err);
    if (!rc)
        rc = fp_job_claim(job, worker, false, err);
    if (rc <= 0)
        return rc;
    facpool_slice own;
    rc = fp_worker_fill_slice(worker, 0, worker->n, &own, err);
    if (!rc)
        rc = fp_abi_export(slice, &own, sizeof own, "facpool_slice", err);
    if (rc) {
        fp_job_return(job, worker, 0, NULL);
        return rc;
    }
    *factors = worker->factors;
    return 1;
}

int facpool_job_complete(facpool_job *job, const facpool_slice *slice, int outcome,
                         facpool_error *err)
{
    int slice_rc = check_slice(slice, err);
    if (slice_rc)
        return slice_rc;
    fp_worker *worker = slice->internal;
    if (!worker || worker->job != job || !worker->busy)
        return fp_fail(err, FACPOOL_E_STATE,
                       "this slice is not in hand: complete what take gave, once");
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = worker->out_of_memory || fp_call_apply(worker, 0, worker->n, outcome)
                 ? fp_fail_nomem(&error, sizeof(fp_mark))
                 : 0;
    /* Pairs with the acquire in fp_worker_collect. */
    if (!rc)
        atomic_store_explicit(worker->finished, worker->n, memory_order_release);
    int return_rc = fp_job_return(job, worker, rc ? 0 : worker->n, err);
    if (!rc)
        return return_rc;
    fp_job_stop(job, rc, &error);
    return fp_error_copy(err, &error);
}

int facpool_job_progress(const facpool_job *job, facpool_progress *progress)
{
    facpool_progress own;
    fp_progress_read(job, &own);
    return fp_abi_export(progress, &own, sizeof own, "facpool_progress", NULL);
}

void facpool_job_cancel(facpool_job *job)
{
    atomic_fetch_or(&job->signal, FP_SIGNAL_CANCEL);
}

int facpool_job_finish(facpool_job *job, facpool_result **out, facpool_error *err)
{
    return fp_job_finish(job, out, err);
}
