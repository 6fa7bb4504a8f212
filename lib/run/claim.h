/* What job.c and claim.c share beyond job.h: workers lay down what they claimed. */
#ifndef FP_RUN_CLAIM_H
#define FP_RUN_CLAIM_H

#include "run/job.h"

/* Puts what a worker did not begin where others find it: the rest of its chunk and reserve, which
 * are neighbours. Errors: NOMEM. */
int fp_claim_give_back(facpool_job *job, fp_worker *worker, size_t n_finished);

/* Leaves the rest of the reserve, which nobody will run: the job is stopping, or it is empty. */
void fp_claim_drop(facpool_job *job, fp_worker *worker);

#endif
