/* The serial executor: the calling thread does all the work. For debuggers, and for functions that
 * must not leave their thread. */
#include "run/exec.h"

int fp_exec_pin(const facpool_job *job, const fp_worker *worker, facpool_error *err)
{
    const facpool_run_options *run = &job->config.run;
    if (!run->n_cpus)
        return 0;
    return fp_thread_pin(job->config.cpus[worker->number % run->n_cpus], err);
}

int fp_exec_serial(facpool_job *job, fp_between_fn between, void *context, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_affinity affinity;
    fp_affinity_save(&affinity);
    int rc = fp_exec_pin(job, &job->workers[0], &error);
    if (!rc)
        rc = fp_call_worker(job, &job->workers[0], between, context, err);
    else
        rc = fp_job_stop(job, rc, &error);
    if (job->config.run.n_cpus)
        fp_affinity_restore(&affinity);
    return rc;
}
