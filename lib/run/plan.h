/* The plan of a run: the tasks in key order, cut into groups where asked, less what the backup
 * holds already. Built once by one thread, then only read. */
#ifndef FP_RUN_PLAN_H
#define FP_RUN_PLAN_H

#include "model/key_order.h"
#include "store/source.h"

typedef struct fp_plan {
    fp_key_order keys;
    size_t count;         /* of tasks */
    int32_t group_by;     /* FACPOOL_GROUP_* */
    size_t n_groups;      /* 0 without group_by */
    size_t group_size;    /* grid: every group has so many tasks; 0: see group_starts */
    size_t *group_starts; /* list: n_groups + 1 positions */
    uint64_t *done;       /* a bit a position; NULL: nothing is done */
    size_t n_done;
    uint64_t retry[6]; /* tasks to run again, by the FACPOOL_STATUS_* of their last row */
    const facpool_allocator *allocator;
} fp_plan;

/* The tasks must be held. Errors: DUPLICATE, INVALID, NOMEM. */
int fp_plan_init(fp_plan *out, const facpool_tasks *tasks, int32_t group_by,
                 const facpool_allocator *allocator, facpool_error *err);
void fp_plan_free(fp_plan *plan);

/* What subtracting a backup found. */
typedef struct fp_plan_findings {
    uint64_t unreadable; /* blocks with keys that can't be read: those rows are not there */
    bool has_others;     /* rows of keys that are no tasks of the plan */
    uint8_t *is_ours;    /* one a block of the source: all its keys are tasks of the plan; owned */
} fp_plan_findings;

void fp_plan_findings_free(fp_plan_findings *found);

/* Takes off the tasks that have an ok or skipped row in the source (with keep_failed: any row);
 * what an earlier call took off is forgotten. *found is filled anew. Errors: IO, NOMEM. */
int fp_plan_subtract(fp_plan *plan, fp_source *source, bool keep_failed, fp_plan_findings *found,
                     facpool_error *err);

static inline bool fp_plan_is_done(const fp_plan *plan, size_t position)
{
    return plan->done && (plan->done[position / 64] >> (position % 64) & 1);
}

/* Where a group begins; group n_groups begins behind the last task. */
static inline size_t fp_plan_group_start(const fp_plan *plan, size_t group)
{
    return plan->group_size ? group * plan->group_size : plan->group_starts[group];
}

/* How many of positions first .. end - 1 are not done. */
size_t fp_plan_left(const fp_plan *plan, size_t first, size_t end);

/* The first position from `first` on that is not done, or `end`. */
size_t fp_plan_next_left(const fp_plan *plan, size_t first, size_t end);

#endif
