/* Which processors the calling thread runs on: pinned for a worker, put back afterwards. Called by
 * executors whose user gave a list of processors. Touches no thread but its own. */
#include "os/os.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

#ifdef __linux__
#include <sched.h>

_Static_assert(sizeof(cpu_set_t) == sizeof(((fp_affinity *)0)->mask), "a mask is one cpu_set_t");

int fp_thread_pin(int32_t cpu, facpool_error *err)
{
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return fp_fail(err, FACPOOL_E_INVALID, "there is no processor %d to pin a worker to", cpu);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) == 0)
        return 0;
    int failure = errno;
    if (failure == EINVAL)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "there is no processor %d to pin a worker to, or this process may not use "
                       "it: see `taskset -p`",
                       cpu);
    return fp_fail_errno(err, FACPOOL_E_SYSTEM, failure, "a worker can't be pinned to processor %d",
                         cpu);
}

void fp_affinity_save(fp_affinity *a)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    a->saved = sched_getaffinity(0, sizeof set, &set) == 0;
    memcpy(a->mask, &set, sizeof set);
}

void fp_affinity_restore(const fp_affinity *a)
{
    if (!a->saved)
        return;
    cpu_set_t set;
    memcpy(&set, a->mask, sizeof set);
    /* Fails only where the processors saved were taken from the process since: nothing to put back.
     */
    (void)sched_setaffinity(0, sizeof set, &set);
}

#else

int fp_thread_pin(int32_t cpu, facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_SYSTEM,
                   "this system can't pin a worker to processor %d: leave cpus out", cpu);
}

void fp_affinity_save(fp_affinity *a)
{
    memset(a, 0, sizeof *a);
}

void fp_affinity_restore(const fp_affinity *a)
{
    (void)a;
}

#endif
