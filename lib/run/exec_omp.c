/* The OpenMP executor: the only file that touches OpenMP. Every region names its number of
 * threads; no setting of OpenMP is ever changed.
 *
 * libgomp does not survive fork: a child that enters a region after its parent used one waits for
 * threads that are not there. The process that used OpenMP is remembered (the one thing this
 * library keeps per process), and refused in its children. */
#include "run/exec.h"

#include "base/error.h"

#ifdef FACPOOL_WITH_OPENMP

#include <omp.h>

static _Atomic int64_t process_with_openmp;

static int check_user(int64_t used_by, facpool_error *err)
{
    if (!used_by || used_by == fp_process_id())
        return 0;
    return fp_fail(err, FACPOOL_E_FORKED,
                   "process %lld used OpenMP and then forked this one, where OpenMP would hang: "
                   "use the serial executor here, or exec a fresh process",
                   (long long)used_by);
}

int fp_exec_omp_check(facpool_error *err)
{
    return check_user(atomic_load(&process_with_openmp), err);
}

int fp_exec_omp_claim(facpool_error *err)
{
    int64_t used_by = 0;
    atomic_compare_exchange_strong(&process_with_openmp, &used_by, fp_process_id());
    return check_user(used_by, err);
}

/* Threads of OpenMP may serve others when the run is over: they get their processors back. */
static void run_worker(facpool_job *job, uint32_t number)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_worker *worker = &job->workers[number];
    fp_affinity affinity;
    if (job->config.run.n_cpus)
        fp_affinity_save(&affinity);
    int rc = fp_exec_pin(job, worker, &error);
    if (rc)
        fp_job_stop(job, rc, &error);
    else
        fp_call_worker(job, worker, NULL, NULL, NULL);
    if (job->config.run.n_cpus)
        fp_affinity_restore(&affinity);
}

int fp_exec_omp(facpool_job *job, facpool_error *err)
{
    int n_workers = (int)job->n_workers;
    (void)err;
    /* Workers are dealt out one an iteration, so that none is missing where OpenMP gives fewer
     * threads than asked for (OMP_THREAD_LIMIT, nested regions): a thread then serves several,
     * and those that come late find nothing left. */
#pragma omp parallel for num_threads(n_workers) schedule(static, 1)
    for (int i = 0; i < n_workers; i++)
        run_worker(job, (uint32_t)i);
    return 0;
}

#else

int fp_exec_omp_check(facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                   "the library was built without OpenMP: use the serial executor");
}

int fp_exec_omp_claim(facpool_error *err)
{
    return fp_exec_omp_check(err);
}

int fp_exec_omp(facpool_job *job, facpool_error *err)
{
    (void)job;
    return fp_exec_omp_check(err);
}

#endif
