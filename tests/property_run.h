/* One run of a property case: its task set, the functions it hands to the library, and what the
 * model says the backup holds when it is over. The functions run on any thread and in worker
 * processes, so the plan lies in shared memory, and they note what is wrong instead of ending the
 * test. Used by test_property.c alone. */
#ifndef FP_PROPERTY_RUN_H
#define FP_PROPERTY_RUN_H

#include <signal.h>
#include <stdatomic.h>

#include "executors.h"
#include "property_world.h"
#include "shared_memory.h"

typedef struct run_plan {
    const world *w;
    uint32_t epoch;
    size_t n;         /* tasks */
    size_t *keys;     /* of each task, in the set's order */
    uint8_t *in_set;  /* of each key */
    uint8_t *to_run;  /* of each key: has no final row */
    key_state *after; /* of each key, once everything ran */
    size_t n_to_run;
    size_t n_done;           /* of the set, before */
    size_t n_retry[6];       /* to run, by the status of the row they have */
    _Atomic uint32_t *calls; /* of each key */
    _Atomic uint64_t n_calls;
    uint64_t cancel_at_call;     /* sets the token then; 0: never */
    facpool_cancel *cancel;      /* the test process's own */
    pid_t process;               /* of the test */
    uint64_t cancel_at_progress; /* cancels at that progress call; 0: never */
    uint64_t n_progress;
    bool fail_init; /* of the last worker */
    bool is_job;    /* on the test's own threads: no second attempts */
    facpool_run_options options;
    facpool_backup_options backup;
    atomic_int wrong;
    char wrong_text[200];
} run_plan;

static inline void note_wrong(run_plan *p, const char *what, long long value)
{
    if (atomic_fetch_add(&p->wrong, 1) == 0)
        snprintf(p->wrong_text, sizeof p->wrong_text, "%s (%lld)", what, value);
}

/* ------------------------------------------------------------------ the task set */

static inline void shuffle(random_numbers *r, size_t *values, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t at = random_below(r, (uint32_t)i), keep = values[at];
        values[at] = values[i - 1];
        values[i - 1] = keep;
    }
}

/* Picks part of 0 .. n - 1, in order or shuffled; at least one, but rarely none at all. */
static inline size_t pick_some(random_numbers *r, size_t n, size_t *out)
{
    uint32_t percent = random_chance(r, 50) ? 100 : random_between(r, 1, 100);
    size_t picked = 0;
    for (size_t i = 0; i < n; i++)
        if (random_chance(r, percent))
            out[picked++] = i;
    if (picked == 0 && !random_chance(r, 5))
        out[picked++] = random_below(r, (uint32_t)n);
    if (random_chance(r, 50))
        shuffle(r, out, picked);
    return picked;
}

static inline int make_list_tasks(run_plan *p, random_numbers *r, facpool_tasks *tasks)
{
    const world *w = p->w;
    facpool_error err = FACPOOL_ERROR_INIT;
    bool columns = random_chance(r, 50);
    int64_t *dates = malloc((p->n + 1) * sizeof *dates);
    const char **codes = malloc((p->n + 1) * sizeof *codes);
    int rc = 0;
    for (size_t i = 0; i < p->n; i++) {
        dates[i] = key_date(w, p->keys[i]);
        codes[i] = key_code(w, p->keys[i]);
        if (!columns && !rc)
            rc = facpool_tasks_add(tasks, dates[i], codes[i], &err);
    }
    size_t half = columns ? p->n / 2 : 0;
    if (columns)
        rc = facpool_tasks_add_columns(tasks, half, dates, codes, &err);
    if (columns && !rc)
        rc = facpool_tasks_add_columns(tasks, p->n - half, dates + half, codes + half, &err);
    free(dates);
    free(codes);
    return rc;
}

static inline int make_grid_tasks(run_plan *p, random_numbers *r, facpool_tasks **out)
{
    const world *w = p->w;
    facpool_error err = FACPOOL_ERROR_INIT;
    size_t *date_at = malloc(w->n_dates * sizeof *date_at);
    size_t *code_at = malloc(w->n_codes * sizeof *code_at);
    int64_t *dates = calloc(w->n_dates, sizeof *dates);
    const char **codes = calloc(w->n_codes, sizeof *codes);
    size_t n_dates = pick_some(r, w->n_dates, date_at), n_codes = pick_some(r, w->n_codes, code_at);
    for (size_t i = 0; i < n_dates; i++)
        dates[i] = w->dates[date_at[i]];
    for (size_t i = 0; i < n_codes; i++)
        codes[i] = w->codes[code_at[i]];
    int rc = facpool_tasks_grid(out, dates, n_dates, codes, n_codes, &err);
    p->n = 0;
    for (size_t d = 0; d < n_dates; d++)
        for (size_t c = 0; c < n_codes; c++)
            p->keys[p->n++] = date_at[d] * w->n_codes + code_at[c];
    free(date_at);
    free(code_at);
    free(dates);
    free(codes);
    return rc;
}

static inline int make_tasks(run_plan *p, random_numbers *r, facpool_tasks **out)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc;
    if (random_chance(r, 40)) {
        rc = make_grid_tasks(p, r, out);
    } else {
        p->n = pick_some(r, p->w->n_keys, p->keys);
        rc = facpool_tasks_new(out, &err);
        if (!rc)
            rc = make_list_tasks(p, r, *out);
    }
    for (size_t i = 0; i < p->n; i++)
        p->in_set[p->keys[i]] = 1;
    return rc;
}

/* ------------------------------------------------------------------ the functions */

static inline void note_call(run_plan *p, size_t key)
{
    atomic_fetch_add_explicit(&p->calls[key], 1, memory_order_relaxed);
    uint64_t call = atomic_fetch_add_explicit(&p->n_calls, 1, memory_order_relaxed) + 1;
    if (call == p->cancel_at_call && getpid() == p->process)
        facpool_cancel_set(p->cancel);
    else if (call == p->cancel_at_call)
        kill(p->process, SIGUSR2); /* see cancel_on_signal */
}

static inline void check_call(run_plan *p, uint32_t worker, const void *worker_state,
                              const double *factors, size_t n)
{
    bool serial = p->options.executor == FACPOOL_EXECUTOR_SERIAL && !p->is_job;
    uint32_t workers = serial ? 1 : p->options.workers;
    if (worker >= workers)
        note_wrong(p, "a call has a worker number that can't be", worker);
    if (!p->is_job && worker_state != (const char *)p + worker)
        note_wrong(p, "a call has another worker's state", worker);
    if (!factors_are_nan(factors, n * p->w->n_factors))
        note_wrong(p, "factors do not arrive as NaN", (long long)n);
}

static inline size_t check_key(run_plan *p, size_t index, int64_t date, const char *code)
{
    if (index >= p->n) {
        note_wrong(p, "a call has an index beyond the set", (long long)index);
        return SIZE_MAX;
    }
    size_t key = p->keys[index];
    if (date != key_date(p->w, key) || strcmp(code, key_code(p->w, key)) != 0)
        note_wrong(p, "a call's index, date and code do not belong together", (long long)index);
    return key;
}

static inline int task_function(const facpool_task *task, double *factors, void *user)
{
    run_plan *p = user;
    char message[WORLD_TEXT_MAX];
    size_t key = check_key(p, task->index, task->date, task->code);
    check_call(p, task->worker, task->worker_state, factors, 1);
    if (key == SIZE_MAX)
        return 1;
    note_call(p, key);
    fate f = fate_of(p->w, key, p->epoch);
    if (!f.skips || key % 2)
        fill_factors(p->w, key, p->epoch, factors);
    if (f.skips)
        return FACPOOL_SKIP;
    if (f.needs <= task->attempt)
        return 0;
    if (!f.speaks)
        return f.code;
    message_text(p->w, key, p->epoch, message);
    return facpool_task_fail(task, f.code, message);
}

static inline bool all_skip(const run_plan *p, const facpool_slice *slice)
{
    for (size_t i = 0; i < slice->n; i++)
        if (slice->indexes[i] >= p->n || !fate_of(p->w, p->keys[slice->indexes[i]], p->epoch).skips)
            return false;
    return true;
}

/* A failing task that does not speak fails its whole slice, on the library's executors. */
static inline int batch_function(const facpool_slice *slice, double *factors, void *user)
{
    run_plan *p = user;
    char message[WORLD_TEXT_MAX];
    int code = 0;
    check_call(p, slice->worker, slice->worker_state, factors, slice->n);
    /* A slice to be skipped whole may say so by its return value, with nothing marked. */
    bool marks_skips = p->epoch % 2 || !all_skip(p, slice);
    for (size_t i = 0; i < slice->n; i++) {
        size_t key = check_key(p, slice->indexes[i], slice->dates[i], slice->codes[i]);
        if (key == SIZE_MAX)
            return 1;
        note_call(p, key);
        fate f = fate_of(p->w, key, p->epoch);
        fill_factors(p->w, key, p->epoch, factors + i * p->w->n_factors);
        if (f.skips && marks_skips)
            facpool_slice_skip(slice, i);
        if (f.skips || f.needs <= slice->attempt)
            continue;
        if (f.speaks) {
            message_text(p->w, key, p->epoch, message);
            if (facpool_slice_fail(slice, i, f.code, message) != f.code)
                note_wrong(p, "slice_fail does not return its code", f.code);
        } else if (p->is_job) {
            facpool_slice_fail(slice, i, f.code, NULL);
        } else if (!code) {
            code = f.code;
        }
    }
    return marks_skips ? code : FACPOOL_SKIP;
}

static inline int worker_init_function(uint32_t worker, void **state, void *user)
{
    run_plan *p = user;
    *state = (char *)p + worker;
    return p->fail_init && worker + 1 == p->options.workers ? 5 : 0;
}

static inline int progress_function(const facpool_progress *progress, void *user)
{
    run_plan *p = user;
    if (progress->total != p->n ||
        progress->done != progress->resumed + progress->ok + progress->skipped + progress->failed ||
        progress->done > progress->total || progress->rows_durable > progress->rows_written)
        note_wrong(p, "progress does not add up", (long long)progress->done);
    return ++p->n_progress == p->cancel_at_progress;
}

/* ------------------------------------------------------------------ what the model expects */

static inline bool is_final(const key_state *state, bool no_retry_failed)
{
    return state->status == FACPOOL_STATUS_OK || state->status == FACPOOL_STATUS_SKIPPED ||
           (no_retry_failed && state->status);
}

static inline key_state state_of_fate(const run_plan *p, const fate *f, uint32_t attempts)
{
    key_state s = {.epoch = p->epoch};
    s.status = f->skips               ? FACPOOL_STATUS_SKIPPED
               : f->needs <= attempts ? FACPOOL_STATUS_OK
                                      : FACPOOL_STATUS_FAILED;
    if (s.status == FACPOOL_STATUS_FAILED) {
        s.code = f->code;
        s.speaks = f->speaks;
    }
    return s;
}

/* A batch function given a whole group: attempts are the group's, and one silent failure is
 * everybody's. */
static inline void expect_group(run_plan *p, const size_t *keys, size_t n, uint32_t attempts)
{
    const world *w = p->w;
    uint32_t attempt = 1;
    int32_t code = 0;
    for (;; attempt++) {
        bool failed = false;
        code = 0;
        for (size_t i = 0; i < n; i++) {
            fate f = fate_of(w, keys[i], p->epoch);
            if (f.skips || f.needs <= attempt)
                continue;
            failed = true;
            if (!f.speaks && !code)
                code = f.code;
        }
        if (!failed || attempt >= attempts)
            break;
    }
    for (size_t i = 0; i < n; i++) {
        fate f = fate_of(w, keys[i], p->epoch);
        key_state s = state_of_fate(p, &f, attempt);
        bool marked = s.status == FACPOOL_STATUS_SKIPPED || s.speaks;
        if (code && !marked)
            s = (key_state){.status = FACPOOL_STATUS_FAILED, .epoch = p->epoch, .code = code};
        if (p->to_run[keys[i]])
            p->after[keys[i]] = s;
    }
}

static inline void expect_groups(run_plan *p, uint32_t attempts)
{
    const world *w = p->w;
    bool by_date = p->options.group_by == FACPOOL_GROUP_DATE;
    size_t n_groups = by_date ? w->n_dates : w->n_codes;
    size_t n_inner = by_date ? w->n_codes : w->n_dates;
    size_t *keys = malloc(n_inner * sizeof *keys);
    for (size_t g = 0; g < n_groups; g++) {
        size_t n = 0;
        for (size_t i = 0; i < n_inner; i++) {
            size_t key = by_date ? g * w->n_codes + i : i * w->n_codes + g;
            if (p->in_set[key])
                keys[n++] = key;
        }
        expect_group(p, keys, n, attempts);
    }
    free(keys);
}

/* Fills to_run, after and the counts from what the backup holds. */
static inline void expect_run(run_plan *p, bool has_backup)
{
    const world *w = p->w;
    uint32_t attempts = p->is_job || !p->options.attempts ? 1 : p->options.attempts;
    bool overwrites = p->backup.mode == FACPOOL_MODE_OVERWRITE;
    for (size_t key = 0; key < w->n_keys; key++) {
        key_state before = {0};
        if (has_backup && !overwrites)
            before = w->state[key];
        p->after[key] = before;
        if (!p->in_set[key])
            continue;
        p->to_run[key] = !is_final(&before, p->backup.no_retry_failed);
        p->n_to_run += p->to_run[key];
        p->n_done += !p->to_run[key];
        if (!p->to_run[key])
            continue;
        p->n_retry[before.status]++;
        fate f = fate_of(w, key, p->epoch);
        p->after[key] = state_of_fate(p, &f, attempts);
    }
    bool grouped =
        p->options.group_by == FACPOOL_GROUP_DATE || p->options.group_by == FACPOOL_GROUP_CODE;
    if (grouped && p->options.batch_fn && !p->is_job)
        expect_groups(p, attempts);
}

/* ------------------------------------------------------------------ making and freeing */

static inline run_plan *run_plan_new(const world *w)
{
    run_plan *p = SHARED(run_plan, .w = w, .epoch = w->epoch, .process = getpid());
    p->options = (facpool_run_options)FACPOOL_RUN_OPTIONS_INIT;
    p->backup = (facpool_backup_options)FACPOOL_BACKUP_OPTIONS_INIT;
    p->keys = calloc(w->n_keys, sizeof *p->keys);
    p->in_set = calloc(w->n_keys, 1);
    p->to_run = calloc(w->n_keys, 1);
    p->after = calloc(w->n_keys, sizeof *p->after);
    p->calls = shared_alloc(w->n_keys * sizeof *p->calls);
    return p;
}

static inline void run_plan_free(run_plan *p)
{
    free(p->keys);
    free(p->in_set);
    free(p->to_run);
    free(p->after);
    facpool_cancel_free(p->cancel);
}

#endif
