/* Progress: summing what workers count, and calling the user's function when its time has come. */
#ifndef FP_RUN_PROGRESS_H
#define FP_RUN_PROGRESS_H

#include "run/job.h"

void fp_progress_read(const facpool_job *job, facpool_progress *out);

/* For the one thread that waits for a run. */
typedef struct fp_ticker {
    facpool_job *job;
    int64_t interval_ns;
    int64_t next_ns;
} fp_ticker;

void fp_ticker_start(fp_ticker *ticker, facpool_job *job);

/* Calls the progress function if it is time, and lets a writer without a thread do its work. */
void fp_ticker_tick(fp_ticker *ticker);

/* Calls it a last time, so that it sees the end. */
void fp_ticker_end(fp_ticker *ticker);

#endif
