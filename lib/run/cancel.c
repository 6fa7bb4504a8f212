/* Cancel tokens: one flag that is only ever set, by a store that a signal handler may make. */
#include "base/alloc.h"
#include "base/error.h"
#include "run/job.h"

int facpool_cancel_new(facpool_cancel **out, facpool_error *err)
{
    facpool_cancel *cancel = fp_alloc_zero(NULL, 1, sizeof *cancel);
    if (!cancel)
        return fp_fail_nomem(err, sizeof *cancel);
    *out = cancel;
    return 0;
}

void facpool_cancel_set(facpool_cancel *cancel)
{
    atomic_store_explicit(&cancel->set, 1, memory_order_relaxed);
}

int facpool_cancel_is_set(const facpool_cancel *cancel)
{
    return atomic_load_explicit(&cancel->set, memory_order_relaxed);
}

void facpool_cancel_free(facpool_cancel *cancel)
{
    fp_free(NULL, cancel);
}
