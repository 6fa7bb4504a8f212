/* The public task sets: built by the user, read by jobs through model/tasks.h. A list costs 12
 * bytes a task and each distinct code once; a grid costs its two axes. Whether a key occurs twice
 * is for the run to find: here codes and dates are kept as they were given. */
#include "model/tasks.h"

#include "base/alloc.h"
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#define GRID_TASKS_MAX ((size_t)1 << 40)

static int new_tasks(facpool_tasks **out, bool is_grid, facpool_error *err)
{
    facpool_tasks *tasks = fp_alloc_zero(NULL, 1, sizeof *tasks);
    if (!tasks)
        return fp_fail_nomem(err, sizeof *tasks);
    int failure = fp_lock_init(&tasks->rank_lock, err);
    if (failure) {
        fp_free(NULL, tasks);
        return failure;
    }
    tasks->is_grid = is_grid;
    fp_codes_init(&tasks->codes, NULL);
    atomic_init(&tasks->references, 1);
    atomic_init(&tasks->caller_gone, false);
    *out = tasks;
    return 0;
}

int facpool_tasks_new(facpool_tasks **out, facpool_error *err)
{
    if (!out)
        return fp_fail(err, FACPOOL_E_INVALID, "out is NULL: give a place for the task set");
    return new_tasks(out, false, err);
}

static int check_may_add(const facpool_tasks *tasks, facpool_error *err)
{
    if (!tasks)
        return fp_fail(err, FACPOOL_E_INVALID, "tasks is NULL: make a task set first");
    if (tasks->is_grid)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "tasks is a grid, which has its tasks from the start: add to a list from "
                       "facpool_tasks_new");
    /* Pairs with the release in fp_tasks_release: the last run's reads come before our writes. */
    if (atomic_load_explicit(&tasks->references, memory_order_acquire) > 1)
        return fp_fail(err, FACPOOL_E_STATE,
                       "the task set is in use by a run or a result: add before the run, or after "
                       "its result was freed");
    return 0;
}

int fp_tasks_reserve(facpool_tasks *tasks, size_t more, facpool_error *err)
{
    size_t needed = tasks->count + more;
    void *dates = tasks->dates;
    if (needed < more ||
        fp_grow(NULL, &dates, &tasks->dates_capacity, needed, sizeof *tasks->dates))
        return fp_fail_nomem(err, more * sizeof *tasks->dates);
    tasks->dates = dates;
    void *code_ids = tasks->code_ids;
    if (fp_grow(NULL, &code_ids, &tasks->code_ids_capacity, needed, sizeof *tasks->code_ids))
        return fp_fail_nomem(err, more * sizeof *tasks->code_ids);
    tasks->code_ids = code_ids;
    return 0;
}

/* A code that is in the table was checked when it came in, so only new ones are looked at byte by
 * byte. `what` names the code in a message. */
static int intern_code(facpool_tasks *tasks, const char *code, uint32_t *id, const char *what,
                       facpool_error *err)
{
    if (code) {
        size_t length = strnlen(code, FP_CODE_MAX_BYTES + 1);
        uint32_t found = fp_codes_find(&tasks->codes, code, length);
        if (found != FP_CODE_NONE) {
            *id = found;
            return 0;
        }
    }
    size_t length = fp_text_check(code, what, err);
    if (length == 0)
        return FACPOOL_E_INVALID;
    if (fp_codes_intern(&tasks->codes, code, length, id))
        return fp_fail_nomem(err, length + 1);
    return 0;
}

/* Interns codes[0 .. n - 1] into ids. Codes met before a bad one stay in the table, unused. */
static int intern_codes(facpool_tasks *tasks, size_t n, const char *const *codes, uint32_t *ids,
                        const char *place, facpool_error *err)
{
    for (size_t i = 0; i < n; i++) {
        /* Neighbours often share one pointer: by value columns, a code's dates in a row. */
        if (i > 0 && codes[i] == codes[i - 1]) {
            ids[i] = ids[i - 1];
            continue;
        }
        int code = intern_code(tasks, codes[i], &ids[i], "code", NULL);
        if (code) {
            char what[64];
            snprintf(what, sizeof what, "code of %s %zu:", place, i);
            return intern_code(tasks, codes[i], &ids[i], what, err);
        }
    }
    return 0;
}

int facpool_tasks_add(facpool_tasks *tasks, int64_t date, const char *code, facpool_error *err)
{
    int failure = check_may_add(tasks, err);
    if (failure)
        return failure;
    if (tasks->count == tasks->dates_capacity || tasks->count == tasks->code_ids_capacity)
        failure = fp_tasks_reserve(tasks, 1, err);
    uint32_t id = 0;
    if (!failure)
        failure = intern_code(tasks, code, &id, "code", err);
    if (failure)
        return failure;
    tasks->dates[tasks->count] = date;
    tasks->code_ids[tasks->count] = id;
    tasks->count++;
    return 0;
}

int facpool_tasks_add_columns(facpool_tasks *tasks, size_t n, const int64_t *dates,
                              const char *const *codes, facpool_error *err)
{
    int failure = check_may_add(tasks, err);
    if (failure || n == 0)
        return failure;
    if (!dates || !codes)
        return fp_fail(err, FACPOOL_E_INVALID, "%s is NULL with n = %zu: give both columns",
                       dates ? "codes" : "dates", n);
    failure = fp_tasks_reserve(tasks, n, err);
    if (!failure)
        failure = intern_codes(tasks, n, codes, tasks->code_ids + tasks->count, "row", err);
    if (failure)
        return failure;
    memcpy(tasks->dates + tasks->count, dates, n * sizeof *dates);
    tasks->count += n;
    return 0;
}

static int check_grid(facpool_tasks **out, const int64_t *dates, size_t n_dates,
                      const char *const *codes, size_t n_codes, facpool_error *err)
{
    if (!out)
        return fp_fail(err, FACPOOL_E_INVALID, "out is NULL: give a place for the task set");
    if ((!dates && n_dates) || (!codes && n_codes))
        return fp_fail(err, FACPOOL_E_INVALID, "%s is NULL: give both axes",
                       dates ? "codes" : "dates");
    if (n_codes && n_dates > GRID_TASKS_MAX / n_codes)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "a grid of %zu dates and %zu codes has more than 2^40 tasks: split it",
                       n_dates, n_codes);
    return 0;
}

int facpool_tasks_grid(facpool_tasks **out, const int64_t *dates, size_t n_dates,
                       const char *const *codes, size_t n_codes, facpool_error *err)
{
    int failure = check_grid(out, dates, n_dates, codes, n_codes, err);
    if (failure)
        return failure;
    facpool_tasks *tasks = NULL;
    failure = new_tasks(&tasks, true, err);
    if (failure)
        return failure;
    tasks->dates = fp_alloc_zero(NULL, n_dates, sizeof *tasks->dates);
    tasks->code_ids = fp_alloc_zero(NULL, n_codes, sizeof *tasks->code_ids);
    if (!tasks->dates || !tasks->code_ids)
        failure = fp_fail_nomem(err, n_dates * sizeof *dates + n_codes * sizeof(uint32_t));
    else
        failure = intern_codes(tasks, n_codes, codes, tasks->code_ids, "grid column", err);
    if (failure) {
        facpool_tasks_free(tasks);
        return failure;
    }
    if (n_dates)
        memcpy(tasks->dates, dates, n_dates * sizeof *dates);
    tasks->n_dates = tasks->dates_capacity = n_dates;
    tasks->n_codes = tasks->code_ids_capacity = n_codes;
    tasks->count = n_dates * n_codes;
    *out = tasks;
    return 0;
}

size_t facpool_tasks_count(const facpool_tasks *tasks)
{
    return tasks ? tasks->count : 0;
}

size_t facpool_tasks_n_codes(const facpool_tasks *tasks)
{
    return tasks->codes.texts.n;
}

int facpool_tasks_get(const facpool_tasks *tasks, size_t index, int64_t *date, const char **code,
                      facpool_error *err)
{
    if (!tasks || index >= tasks->count)
        return fp_fail(err, FACPOOL_E_INVALID, "there is no task %zu: the set has %zu", index,
                       facpool_tasks_count(tasks));
    if (date)
        *date = fp_tasks_date(tasks, index);
    if (code)
        *code = fp_texts_at(&tasks->codes.texts, fp_tasks_code_id(tasks, index));
    return 0;
}

void facpool_tasks_free(facpool_tasks *tasks)
{
    if (!tasks)
        return;
    atomic_store_explicit(&tasks->caller_gone, true, memory_order_relaxed);
    fp_tasks_release(tasks);
}

int fp_tasks_hold(const facpool_tasks *tasks)
{
    facpool_tasks *own = (facpool_tasks *)tasks;
    /* Whoever comes second finds the rank there, and everything before it: the lock says so. */
    fp_lock_enter(&own->rank_lock);
    int code = fp_codes_rank(&own->codes);
    fp_lock_leave(&own->rank_lock);
    if (!code)
        atomic_fetch_add_explicit(&own->references, 1, memory_order_relaxed);
    return code;
}

void fp_tasks_release(const facpool_tasks *tasks)
{
    facpool_tasks *own = (facpool_tasks *)tasks;
    if (atomic_fetch_sub_explicit(&own->references, 1, memory_order_acq_rel) > 1)
        return;
    fp_codes_free(&own->codes);
    fp_free(NULL, own->dates);
    fp_free(NULL, own->code_ids);
    fp_lock_destroy(&own->rank_lock);
    fp_free(NULL, own);
}
