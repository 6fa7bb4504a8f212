/* What is left when a job is over: the report, the rows or where they are. The getters are in
 * lib/api/result.c. */
#ifndef FP_RUN_OUTCOME_H
#define FP_RUN_OUTCOME_H

#include "run/job.h"

struct facpool_result {
    const facpool_tasks *tasks; /* held */
    fp_schema schema;
    bool code_major; /* the run's order, for reading rows back */
    fp_store store;  /* where rows can be read from; its path is owned, NULL: nowhere */
    bool dropped;
    fp_memory *memory; /* NULL: not (yet) in memory */
    int64_t *dates;    /* made on demand */
    fp_lock lock;      /* guards what is made on demand */
    facpool_report report;
    facpool_failure failures[FP_REPORT_FAILURES];
    fp_texts messages; /* of the report's failures */
    facpool_slow_chunk slowest[FP_SLOW_CHUNKS];
    facpool_allocator own_allocator;
    const facpool_allocator *allocator;
};

/* Builds the result from a job whose writer is closed; takes job->memory over. Errors: NOMEM,
 * SYSTEM; and CORRUPT, IO where rows of earlier runs can't be read: *out is then given all the
 * same. */
int fp_outcome_new(facpool_result **out, facpool_job *job, facpool_error *err);
void fp_outcome_free(facpool_result *result);

#endif
