/* The job of the model's world, which only the run's own thread touches, its workers' tools, and
 * the user's function. The job gives tasks out and takes rows; each of these says where it is asked
 * for what must not be. */
#include "world_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "run/call.h"

/* ------------------------------------------------------------------ the job */

void fp_key_walk_start(fp_key_walk *walk, const fp_key_order *keys, size_t position)
{
    *walk = (fp_key_walk){.keys = keys, .position = position, .n_inner = SIZE_MAX};
}

void fp_key_walk_next_line(fp_key_walk *walk)
{
    (void)walk;
}

/* The lowest tasks that nobody has, as many as one claim takes; groups whole. */
int fp_job_claim(facpool_job *j, fp_worker *w, bool wait, facpool_error *err)
{
    (void)wait, (void)err;
    size_t first = 0, n = 0;
    if (fp_job_is_stopping(j) || !state.unclaimed)
        return 0;
    while (!(state.unclaimed >> first & 1))
        first++;
    while (n < now.chunk && first + n < now.tasks && (state.unclaimed >> (first + n) & 1))
        state.unclaimed &= ~(UINT64_C(1) << (first + n++));
    w->first = first;
    w->end = w->reserve_first = w->reserve_end = first + n;
    w->n = n;
    w->whole = true;
    w->collected = 0;
    w->n_failed_in_chunk = 0;
    atomic_store(w->finished, 0);
    memset(w->statuses, FACPOOL_STATUS_OK, n);
    return 1;
}

static void put_back(size_t first, size_t end)
{
    for (size_t task = first; task < end; task++) {
        if (state.collected[task] || (state.unclaimed >> task & 1))
            explorer_blame("task %zu goes back to the job, which has it or its row", task);
        state.unclaimed |= UINT64_C(1) << task;
    }
}

int fp_claim_give_back(facpool_job *j, fp_worker *w, size_t n_finished)
{
    size_t first = n_finished < w->n ? w->first + n_finished : w->reserve_first;
    if (first >= w->reserve_end || j->stop_code)
        return 0;
    put_back(first, w->reserve_end);
    w->reserve_first = w->reserve_end;
    return 0;
}

static void take_row(const fp_worker *w, size_t slot)
{
    size_t task = w->first + slot;
    const double *factors = w->factors + slot * FACTORS;
    state.collected[task]++;
    state.status[task] = w->statuses[slot];
    if (state.collected[task] > 1)
        explorer_blame("task %zu is collected twice", task);
    bool is_whole = factors[0] == (double)(task + 1) && factors[1] == (double)(task + 1) * 16;
    if (w->statuses[slot] == FACPOOL_STATUS_OK && !is_whole)
        explorer_blame("the row of task %zu is collected before it is whole", task);
    if (w->statuses[slot] == FACPOOL_STATUS_FAILED && task + 1 != now.fails)
        explorer_blame("task %zu is collected as failed, and never was", task);
    if (w->statuses[slot] == FACPOOL_STATUS_OK && task + 1 == now.fails)
        explorer_blame("task %zu failed, and is collected as ok", task);
}

int fp_job_collect_some(facpool_job *j, fp_worker *w, facpool_error *err)
{
    (void)err;
    size_t finished = atomic_load(w->finished);
    for (; w->collected < finished; w->collected++) {
        take_row(w, w->collected);
        if (w->statuses[w->collected] > FACPOOL_STATUS_SKIPPED)
            w->n_failed_in_chunk++;
        else
            atomic_store(&j->any_good, true);
    }
    return 0;
}

int fp_job_return(facpool_job *j, fp_worker *w, size_t n_finished, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_job_collect_some(j, w, err);
    if (w->n_failed_in_chunk && now.stops) {
        error.code = FACPOOL_E_TASK;
        fp_job_stop(j, FACPOOL_E_TASK, &error);
    }
    if (n_finished < w->n)
        fp_claim_give_back(j, w, n_finished);
    w->n = 0;
    return 0;
}

int fp_job_stop(facpool_job *j, int code, const facpool_error *why)
{
    (void)why;
    if (code == FACPOOL_E_WORKER || code == FACPOOL_E_NOMEM)
        explorer_blame("the run ends with %s", facpool_error_name(code));
    if (!j->stop_code)
        j->stop_code = code;
    atomic_fetch_or(&j->signal, FP_SIGNAL_STOP);
    return code;
}

bool fp_job_is_stopping(facpool_job *j)
{
    if (!j->stop_code && (atomic_load(&j->signal) & FP_SIGNAL_CANCEL))
        j->stop_code = FACPOOL_E_CANCELLED;
    return j->stop_code != 0;
}

/* ------------------------------------------------------------------ workers' tools */

void fp_worker_init(fp_worker *w, facpool_job *j, uint32_t number)
{
    w->job = j;
    w->number = number;
    w->chunk_size = w->attempt = w->first_attempt = 1;
    w->finished = &w->own_finished;
    int seat = seat_of_self();
    if (seat < 0)
        return;
    worker_memory *m = &memories[seat];
    w->marks = m->marks;
    w->marks_capacity = WORLD_TASKS_MAX;
    w->messages = (fp_texts){.offsets = m->offsets,
                             .offsets_capacity = WORLD_TASKS_MAX + 1,
                             .bytes = m->text,
                             .bytes_capacity = sizeof m->text};
}

void fp_worker_free(fp_worker *w)
{
    (void)w;
}

/* In the run a mark is a status and no more. */
int fp_worker_mark(fp_worker *w, size_t slot, uint8_t status, int32_t code, const char *message,
                   size_t length)
{
    w->statuses[slot] = status;
    w->factors[slot * FACTORS] = w->factors[slot * FACTORS + 1] = NAN;
    if (seat_of_self() < 0)
        return 0;
    if (fp_texts_add(&w->messages, message, length))
        abort();
    w->marks[w->n_marks++] = (fp_mark){slot, code, (uint32_t)(w->messages.n - 1)};
    return 0;
}

void fp_worker_unmark(fp_worker *w, size_t slot)
{
    for (size_t i = 0; i < w->n_marks; i++)
        if (w->marks[i].slot == slot)
            w->marks[i] = w->marks[--w->n_marks];
    w->statuses[slot] = FACPOOL_STATUS_OK;
}

int fp_worker_fill_slice(fp_worker *w, size_t first_slot, size_t n, facpool_slice *slice,
                         facpool_error *err)
{
    (void)err;
    worker_memory *m = &memories[seat_of_self()];
    for (size_t i = 0; i < n; i++) {
        size_t at = w->first + first_slot + i;
        m->dates[i] = w->job->tasks->dates[at];
        m->codes[i] = code_bytes;
        m->indexes[i] = w->desk_indexes[at];
        m->code_numbers[i] = 0;
    }
    w->slice_first = first_slot;
    *slice = (facpool_slice){.size = sizeof *slice,
                             .n = n,
                             .dates = m->dates,
                             .codes = m->codes,
                             .indexes = m->indexes,
                             .worker = w->number,
                             .attempt = w->attempt,
                             .internal = w,
                             .code_numbers = m->code_numbers};
    return 0;
}

/* ------------------------------------------------------------------ the user's function */

/* A slice that killed a worker is called again task by task, with the same attempt. */
static unsigned most_calls(void)
{
    bool may_repeat = now.batch || now.timed;
    return may_repeat ? 1 + now.deaths + now.wakings : 1;
}

static void note_call(size_t task, int64_t date, uint32_t attempt)
{
    if (task >= now.tasks || date != task_dates[task]) {
        explorer_blame("a function is called for a task that is none");
        return;
    }
    if (attempt < 1 || attempt > (now.attempts ? now.attempts : 1))
        explorer_blame("task %zu is called in attempt %u", task, attempt);
    else if (++state.called[task][attempt] > most_calls())
        explorer_blame("task %zu is called twice in attempt %u", task, attempt);
    if (state.is_finished[task])
        explorer_blame("task %zu is called after it was finished", task);
    if (state.collected[task])
        explorer_blame("task %zu is called after its row was collected", task);
    if (state.unclaimed >> task & 1)
        explorer_blame("task %zu is called while the job has it to give out", task);
}

/* The run must not see a row between these two stores. */
static int compute(size_t task, double *factors)
{
    factors[0] = (double)(task + 1);
    explorer_pause(STEP_CALL);
    factors[1] = (double)(task + 1) * 16;
    return task + 1 == now.fails ? 5 : 0;
}

int call_task(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    note_call(task->index, task->date, task->attempt);
    int outcome = compute(task->index, factors);
    return outcome ? facpool_task_fail(task, outcome, "bad luck") : 0;
}

int call_slice(const facpool_slice *slice, double *factors, void *user)
{
    (void)user;
    for (size_t i = 0; i < slice->n; i++)
        note_call(slice->indexes[i], slice->dates[i], slice->attempt);
    for (size_t i = 0; i < slice->n; i++) {
        int outcome = compute(slice->indexes[i], factors + i * FACTORS);
        if (outcome)
            facpool_slice_fail(slice, i, outcome, "bad luck");
    }
    return 0;
}
