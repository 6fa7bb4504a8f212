/* The inside of a task set: a list of (date, code id), or the two axes of a grid. Immutable while a
 * run or result holds a reference. */
#ifndef FP_MODEL_TASKS_H
#define FP_MODEL_TASKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include "model/codes.h"
#include "os/os.h"

struct facpool_tasks {
    bool is_grid;
    size_t count;   /* of tasks */
    int64_t *dates; /* list: one a task; grid: the date axis */
    size_t dates_capacity;
    uint32_t *code_ids; /* list: one a task; grid: the code axis */
    size_t code_ids_capacity;
    size_t n_dates; /* grid only */
    size_t n_codes; /* grid only: length of the code axis */
    fp_codes codes;
    fp_lock rank_lock;        /* of codes.rank, while fp_tasks_hold makes it */
    atomic_size_t references; /* the caller's own counts as one */
    _Atomic bool caller_gone;
};

/* Grid: axis positions of task i are i / n_codes and i % n_codes. */
static inline int64_t fp_tasks_date(const facpool_tasks *t, size_t i)
{
    return t->dates[t->is_grid ? i / t->n_codes : i];
}

static inline uint32_t fp_tasks_code_id(const facpool_tasks *t, size_t i)
{
    return t->code_ids[t->is_grid ? i % t->n_codes : i];
}

/* Room in a list for `more` tasks behind the last. 0 or NOMEM. */
int fp_tasks_reserve(facpool_tasks *tasks, size_t more, facpool_error *err);

/* Takes a reference, and makes sure that codes.rank is there (thread-safe between runs). 0 or
 * NOMEM. */
int fp_tasks_hold(const facpool_tasks *tasks);
void fp_tasks_release(const facpool_tasks *tasks);

#endif
