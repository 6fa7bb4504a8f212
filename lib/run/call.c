/* The inner loops of a run. Per task: the call, one store that says it is finished, one look at the
 * signals; no clock and no lock. */
#include "run/call.h"

#include <math.h>
#include <string.h>
#include "base/error.h"

/* How often `between` is called at most. */
#define COMPANY_NS 1000000

static void fill_nan(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = NAN;
}

/* What a return value other than 0 means. */
static uint8_t status_of(int outcome)
{
    return outcome == FACPOOL_SKIP ? FACPOOL_STATUS_SKIPPED : FACPOOL_STATUS_FAILED;
}

static int out_of_memory(facpool_job *job, facpool_error *err)
{
    facpool_error why = FACPOOL_ERROR_INIT;
    fp_fail_nomem(&why, sizeof(fp_mark) + FP_MESSAGE_MAX_BYTES);
    fp_job_stop(job, FACPOOL_E_NOMEM, &why);
    return fp_error_copy(err, &why);
}

static void show_attempt(const fp_worker *w)
{
    if (w->attempt_shown)
        atomic_store_explicit(w->attempt_shown, w->attempt, memory_order_relaxed);
}

/* Before finished slots show, so that none shows without its mark. */
static int publish(fp_worker *w, size_t first_slot, size_t n)
{
    return w->publish && w->n_marks ? w->publish(w, first_slot, n) : 0;
}

/* ------------------------------------------------------------------ task by task */

static void start_task(fp_worker *w, facpool_task *task, double *factors)
{
    w->pending_length = 0;
    task->attempt = w->attempt;
    show_attempt(w);
    fill_nan(factors, w->job->config.run.n_factors);
}

/* The rare end of a call: tries again while attempts are left, then marks the slot. */
static int task_not_ok(fp_worker *w, size_t slot, facpool_task *task, double *factors, int outcome)
{
    const facpool_run_options *run = &w->job->config.run;
    w->attempt = task->attempt;
    while (outcome != 0 && outcome != FACPOOL_SKIP && w->attempt < run->attempts) {
        w->attempt++;
        start_task(w, task, factors);
        outcome = run->fn(task, factors, run->user);
    }
    if (w->attempt > 1) {
        w->attempt = 1;
        show_attempt(w);
    }
    if (outcome == 0)
        return 0;
    int32_t code = outcome == FACPOOL_SKIP ? 0 : outcome;
    int rc = fp_worker_mark(w, slot, status_of(outcome), code, w->pending_message,
                            outcome == FACPOOL_SKIP ? 0 : w->pending_length);
    return rc ? rc : publish(w, slot, 1);
}

/* Where this thread has to see to progress and writing itself: between tasks that are slow. */
typedef struct company {
    fp_between_fn between; /* or NULL */
    void *context;
    int64_t last_ns;
} company;

static void keep_company(company *c)
{
    int64_t now_ns = fp_clock_ns();
    if (now_ns - c->last_ns < COMPANY_NS)
        return;
    c->between(c->context);
    c->last_ns = now_ns;
}

/* Calls fn for every slot, or until something is signalled or a failure is to end the run;
 * *n_finished gets how many. */
static int call_tasks(facpool_job *job, fp_worker *w, company *c, size_t *n_finished)
{
    const facpool_run_options *run = &job->config.run;
    const fp_texts *codes = &job->tasks->codes.texts;
    size_t n = w->n, n_factors = run->n_factors, slot = 0;
    bool is_group = job->plan.group_by != FACPOOL_GROUP_NONE;
    bool stops = run->on_error == FACPOOL_ON_ERROR_STOP && !is_group, is_over = false;
    facpool_task task = {.size = sizeof task,
                         .worker = w->number,
                         .attempt = w->first_attempt,
                         .worker_state = w->state,
                         .internal = w};
    fp_key_walk walk;
    fp_key_walk_start(&walk, &job->plan.keys, fp_worker_position(w, 0));
    w->pending_length = 0;
    for (;;) {
        double *factors = w->factors + slot * n_factors;
        fp_key_walk_load(&walk);
        task.index = w->desk_indexes ? w->desk_indexes[walk.index] : walk.index;
        task.date = walk.date;
        task.code_number = walk.code_id;
        task.code = fp_texts_at(codes, walk.code_id);
        int outcome = run->fn(&task, factors, run->user);
        if (outcome != 0 && task_not_ok(w, slot, &task, factors, outcome)) {
            *n_finished = slot;
            return FACPOOL_E_NOMEM;
        }
        is_over = stops && w->statuses[slot] == FACPOOL_STATUS_FAILED;
        w->pending_length = 0;
        task.attempt = 1;
        slot++;
        /* Pairs with the acquire in fp_worker_collect. */
        atomic_store_explicit(w->finished, slot, memory_order_release);
        if (slot == n || is_over || (!is_group && fp_job_is_signalled(job)))
            break;
        if (c->between)
            keep_company(c);
        if (w->whole)
            fp_key_walk_next(&walk);
        else
            fp_key_walk_to(&walk, w->positions[slot]);
    }
    *n_finished = slot;
    return 0;
}

/* ------------------------------------------------------------------ slices */

int fp_call_apply(fp_worker *w, size_t first_slot, size_t n, int outcome)
{
    if (outcome == 0)
        return 0;
    uint8_t status = status_of(outcome);
    int32_t code = outcome == FACPOOL_SKIP ? 0 : outcome;
    for (size_t slot = first_slot; slot < first_slot + n; slot++) {
        /* Tasks that the function marked itself keep their own code and message. */
        bool keeps = w->statuses[slot] != FACPOOL_STATUS_OK;
        if (!keeps && fp_worker_mark(w, slot, status, code, "", 0))
            return FACPOOL_E_NOMEM;
    }
    return 0;
}

static bool any_failed(const fp_worker *w, size_t first_slot, size_t n)
{
    for (size_t slot = first_slot; w->n_marks && slot < first_slot + n; slot++)
        if (w->statuses[slot] == FACPOOL_STATUS_FAILED)
            return true;
    return false;
}

/* Calls batch_fn once for some slots, from a clean start. */
static int call_once(fp_worker *w, size_t first_slot, size_t n, int *outcome, facpool_error *err)
{
    const facpool_run_options *run = &w->job->config.run;
    facpool_slice slice;
    int rc = fp_worker_fill_slice(w, first_slot, n, &slice, err);
    if (rc)
        return rc;
    show_attempt(w);
    double *factors = w->factors + first_slot * run->n_factors;
    bool is_first = w->attempt == 1 && n == w->n;
    for (size_t slot = first_slot; w->n_marks && slot < first_slot + n; slot++)
        fp_worker_unmark(w, slot);
    if (!is_first) /* else they are NaN since the chunk began */
        fill_nan(factors, n * run->n_factors);
    w->out_of_memory = false;
    *outcome = run->batch_fn(&slice, factors, run->user);
    return w->out_of_memory ? fp_fail_nomem(err, FP_MESSAGE_MAX_BYTES) : 0;
}

/* Calls until it goes well or attempts are used up, then marks by the last outcome. */
static int call_with_attempts(fp_worker *w, size_t first_slot, size_t n, uint32_t first_attempt,
                              facpool_error *err)
{
    const facpool_run_options *run = &w->job->config.run;
    int outcome = 0, rc = 0;
    for (w->attempt = first_attempt; !rc; w->attempt++) {
        rc = call_once(w, first_slot, n, &outcome, err);
        bool failed = (outcome != 0 && outcome != FACPOOL_SKIP) || any_failed(w, first_slot, n);
        if (!failed || w->attempt >= run->attempts)
            break;
    }
    w->attempt = 1;
    if (!rc && fp_call_apply(w, first_slot, n, outcome))
        rc = fp_fail_nomem(err, sizeof(fp_mark));
    return rc;
}

/* A slice that is no group. One that fails as a whole is called again task by task, which finds
 * the tasks at fault; tasks that it marked failed get their further attempts alone. So the outcome
 * does not depend on how tasks were sliced. */
static int call_slice(fp_worker *w, facpool_error *err)
{
    const facpool_run_options *run = &w->job->config.run;
    int outcome = 0;
    w->attempt = w->first_attempt;
    int rc = call_once(w, 0, w->n, &outcome, err);
    w->attempt = 1;
    if (rc)
        return rc;
    bool failed = outcome != 0 && outcome != FACPOOL_SKIP;
    bool is_last = w->first_attempt >= run->attempts;
    if (failed && w->n == 1 && is_last)
        return fp_call_apply(w, 0, 1, outcome) ? fp_fail_nomem(err, sizeof(fp_mark)) : 0;
    if (!failed) {
        rc = fp_call_apply(w, 0, w->n, outcome) ? fp_fail_nomem(err, sizeof(fp_mark)) : 0;
        if (is_last || !any_failed(w, 0, w->n))
            return rc;
    }
    /* The call above was the first attempt of a task that it alone was for, or that it marked. */
    uint32_t first_attempt = failed && w->n > 1 ? 1 : w->first_attempt + 1;
    for (size_t slot = 0; !rc && slot < w->n; slot++)
        if (failed || w->statuses[slot] == FACPOOL_STATUS_FAILED)
            rc = call_with_attempts(w, slot, 1, first_attempt, err);
    return rc;
}

static int call_batch(facpool_job *job, fp_worker *w, size_t *n_finished, facpool_error *err)
{
    bool is_group = job->plan.group_by != FACPOOL_GROUP_NONE;
    int rc = is_group ? call_with_attempts(w, 0, w->n, w->first_attempt, err) : call_slice(w, err);
    if (!rc && publish(w, 0, w->n))
        rc = fp_fail_nomem(err, FP_MESSAGE_MAX_BYTES);
    if (rc)
        return rc;
    *n_finished = w->n;
    /* Pairs with the acquire in fp_worker_collect. */
    atomic_store_explicit(w->finished, w->n, memory_order_release);
    return 0;
}

/* ------------------------------------------------------------------ a worker's life */

int fp_call_chunk(facpool_job *job, fp_worker *w, size_t *n_finished)
{
    company nobody = {0};
    *n_finished = 0;
    return job->config.run.fn ? call_tasks(job, w, &nobody, n_finished)
                              : call_batch(job, w, n_finished, NULL);
}

static int call_chunk(facpool_job *job, fp_worker *w, company *c, facpool_error *err)
{
    size_t n_finished = 0;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = job->config.run.fn ? call_tasks(job, w, c, &n_finished)
                                : call_batch(job, w, &n_finished, &error);
    int return_rc = fp_job_return(job, w, n_finished, err);
    if (!rc)
        return return_rc;
    return out_of_memory(job, err);
}

static int enter_worker(facpool_job *job, fp_worker *w, facpool_error *err)
{
    const facpool_run_options *run = &job->config.run;
    int code = run->worker_init ? run->worker_init(w->number, &w->state, run->user) : 0;
    if (!code)
        return 0;
    facpool_error why = FACPOOL_ERROR_INIT;
    fp_fail(&why, FACPOOL_E_TASK, "worker_init of worker %u returned %d: no task was run by it",
            (unsigned)w->number, code);
    fp_job_stop(job, FACPOOL_E_TASK, &why);
    return fp_error_copy(err, &why);
}

int fp_call_worker(facpool_job *job, fp_worker *w, fp_between_fn between, void *context,
                   facpool_error *err)
{
    int rc = enter_worker(job, w, err);
    if (rc)
        return rc;
    bool wait = job->n_workers > 1;
    company c = {.between = between, .context = context, .last_ns = fp_clock_ns()};
    while ((rc = fp_job_claim(job, w, wait, err)) > 0) {
        rc = call_chunk(job, w, &c, err);
        if (rc)
            break;
        if (between)
            keep_company(&c);
    }
    if (job->config.run.worker_exit)
        job->config.run.worker_exit(w->number, w->state, job->config.run.user);
    return rc;
}

/* ------------------------------------------------------------------ what callbacks may call */

int facpool_task_fail(const facpool_task *task, int code, const char *message)
{
    fp_worker *w = task->internal;
    size_t length = message ? strnlen(message, FP_MESSAGE_MAX_BYTES + 1) : 0;
    length = fp_utf8_cut(message ? message : "", length, FP_MESSAGE_MAX_BYTES);
    if (length)
        memcpy(w->pending_message, message, length);
    w->pending_length = length;
    return code == 0 || code == FACPOOL_SKIP ? 1 : code;
}

int facpool_slice_fail(const facpool_slice *slice, size_t i, int code, const char *message)
{
    fp_worker *w = slice->internal;
    if (code == 0 || code == FACPOOL_SKIP)
        code = 1;
    size_t length = message ? strnlen(message, FP_MESSAGE_MAX_BYTES + 1) : 0;
    if (i < slice->n && fp_worker_mark(w, w->slice_first + i, FACPOOL_STATUS_FAILED, code,
                                       message ? message : "", length))
        w->out_of_memory = true;
    return code;
}

int facpool_slice_skip(const facpool_slice *slice, size_t i)
{
    fp_worker *w = slice->internal;
    if (i < slice->n && fp_worker_mark(w, w->slice_first + i, FACPOOL_STATUS_SKIPPED, 0, "", 0))
        w->out_of_memory = true;
    return 0;
}
