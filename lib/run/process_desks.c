/* Desks as the run sees them: laying tasks down, collecting what is finished, taking back what was
 * not begun. It checks whatever workers wrote before it uses it. */
#include <string.h>
#include "base/error.h"
#include "run/claim.h"
#include "run/process_run.h"

/* ------------------------------------------------------------------ collecting */

/* One mark that a worker left; what can't be is taken for a failure without a message. */
static int take_mark(fp_process_run *r, size_t i, const fp_desk_mark *mark)
{
    fp_worker *w = &r->job->workers[i];
    const char *text = r->pool->views[i].text;
    size_t length = mark->length, at = mark->text;
    if (length > FP_MESSAGE_MAX_BYTES || at > FP_DESK_TEXT_BYTES - length)
        length = at = 0;
    uint8_t status =
        mark->status == FACPOOL_STATUS_SKIPPED ? FACPOOL_STATUS_SKIPPED : FACPOOL_STATUS_FAILED;
    return fp_worker_mark(w, mark->slot, status, mark->code, text + at, length);
}

/* Marks of slots below `end`: they were left before the slots showed as finished. */
static int take_marks(fp_process_run *r, size_t i, size_t end)
{
    fp_desk_view *v = &r->pool->views[i];
    fp_desk_seen *seen = &r->pool->desks[i];
    size_t most = r->pool->capacity;
    uint32_t n = atomic_load_explicit(&v->desk->n_marks, memory_order_acquire);
    int rc = 0;
    for (; !rc && seen->marks_read < n && seen->marks_read < most; seen->marks_read++) {
        fp_desk_mark mark = v->marks[seen->marks_read];
        if (mark.slot >= end)
            break;
        if (mark.slot >= seen->n_taken)
            rc = take_mark(r, i, &mark);
    }
    return rc;
}

size_t fp_desks_finished(const fp_process_run *r, size_t i)
{
    size_t finished = fp_desk_finished(r->pool->views[i].desk), n = r->job->workers[i].n;
    size_t before = r->pool->desks[i].n_taken;
    return finished > n ? n : finished < before ? before : finished;
}

/* Takes over what a worker has finished on a desk, and hands it on. */
void fp_desks_drain(fp_process_run *r, size_t i)
{
    fp_worker *w = &r->job->workers[i];
    fp_desk_seen *seen = &r->pool->desks[i];
    facpool_error error = FACPOOL_ERROR_INIT;
    size_t finished = fp_desks_finished(r, i);
    if (finished == seen->n_taken || seen->is_broken)
        return;
    /* Statuses are the marks' to say: workers' own scribbles count for nothing. */
    memset(w->statuses + seen->n_taken, FACPOOL_STATUS_OK, finished - seen->n_taken);
    int rc = take_marks(r, i, finished);
    if (rc) {
        seen->is_broken = true;
        fp_fail_nomem(&error, FP_MESSAGE_MAX_BYTES);
        fp_process_stop(r, rc, &error);
        return;
    }
    seen->n_taken = finished;
    /* Pairs with the acquire in fp_worker_collect. */
    atomic_store_explicit(w->finished, finished, memory_order_release);
    rc = fp_job_collect_some(r->job, w, &error);
    if (rc)
        fp_process_stop(r, rc, &error);
}

/* Makes a desk ready (again) for slots first .. end - 1. */
void fp_desks_make_ready(fp_process_run *r, size_t i, size_t first, size_t end, uint32_t attempt)
{
    fp_desk *desk = r->pool->views[i].desk;
    fp_desk_seen *seen = &r->pool->desks[i];
    fp_call_seen *call = &r->pool->seats[i / FP_DESKS_A_SEAT].call;
    if (call->desk == i)
        call->is_set = false; /* the next call of this slot is another one */
    seen->marks_read = 0;     /* all that count were taken: those left are of calls that died */
    desk->text_bytes = 0;
    seen->again_end = attempt > 1 ? (uint32_t)first + 1 : 0;
    desk->attempt = attempt;
    desk->single_end = seen->single_end;
    desk->sequence = seen->sequence = r->pool->sequence++;
    atomic_store_explicit(&desk->n_marks, 0, memory_order_relaxed);
    atomic_store_explicit(&desk->chunk_first, first, memory_order_relaxed);
    atomic_store_explicit(&desk->chunk_finished, 0, memory_order_relaxed);
    atomic_store_explicit(&desk->attempt_shown, attempt, memory_order_relaxed);
    atomic_store_explicit(&desk->claim, fp_claim_word((uint32_t)first, (uint32_t)end),
                          memory_order_relaxed);
    /* Release: the worker sees the tasks. */
    atomic_store_explicit(&desk->state, FP_DESK_READY, memory_order_release);
    fp_seat *seat = &r->pool->layout.seats[i / FP_DESKS_A_SEAT];
    fp_bell_ring(&seat->bell, &seat->is_asleep);
}

/* ------------------------------------------------------------------ filling desks */

static void write_tasks(fp_process_run *r, size_t i)
{
    fp_worker *w = &r->job->workers[i];
    fp_desk_view *v = &r->pool->views[i];
    fp_key_walk walk;
    fp_key_walk_start(&walk, &r->job->plan.keys, fp_worker_position(w, 0));
    for (size_t slot = 0; slot < w->n; slot++) {
        fp_key_walk_to(&walk, fp_worker_position(w, slot));
        fp_key_walk_load(&walk);
        v->dates[slot] = walk.date;
        v->indexes[slot] = walk.index;
        v->code_ids[slot] = walk.code_id;
    }
}

/* Gives the job back what a desk's proxy would otherwise keep from the other desks: its chunk from
 * slot `kept` on, and what it holds in reserve. */
static void give_back(fp_process_run *r, size_t i, size_t kept)
{
    fp_worker *w = &r->job->workers[i];
    size_t first = kept < w->n ? fp_worker_position(w, kept) : w->reserve_first;
    if (fp_claim_give_back(r->job, w, kept)) {
        facpool_error error = FACPOOL_ERROR_INIT;
        fp_fail_nomem(&error, sizeof(fp_range));
        fp_process_stop(r, FACPOOL_E_NOMEM, &error);
    }
    /* What is before this may be given back as well, but not this part again. */
    w->reserve_first = w->reserve_end = first;
}

/* Lays the next chunk on an empty desk, where there is one. */
static void fill_desk(fp_process_run *r, size_t i)
{
    facpool_job *job = r->job;
    if (fp_job_claim(job, &job->workers[i], false, NULL) <= 0)
        return;
    r->has_claimed = true;
    give_back(r, i, job->workers[i].n);
    write_tasks(r, i);
    r->pool->desks[i].is_laid = true;
    r->pool->desks[i].n_taken = 0;
    r->pool->desks[i].is_broken = false;
    r->pool->desks[i].single_end = 0;
    atomic_store_explicit(&r->pool->views[i].desk->compute_ns, 0, memory_order_relaxed);
    fp_desks_make_ready(r, i, 0, job->workers[i].n, 1);
}

/* First one desk for every seat, then a second: few tasks are then spread over all workers. */
void fp_desks_fill(fp_process_run *r)
{
    for (uint32_t filled = 0; filled < FP_DESKS_A_SEAT; filled++) {
        for (uint32_t seat = 0; seat < r->pool->n_seats; seat++) {
            size_t first = (size_t)seat * FP_DESKS_A_SEAT, n_laid = 0, empty = SIZE_MAX;
            for (size_t i = first; i < first + FP_DESKS_A_SEAT; i++) {
                if (r->pool->desks[i].is_laid)
                    n_laid++;
                else
                    empty = i;
            }
            if (n_laid == filled)
                fill_desk(r, empty);
        }
    }
}

/* A desk that its worker let go: the job gets back its chunk, and what of it was not begun. */
void fp_desks_clear(fp_process_run *r, size_t i)
{
    facpool_job *job = r->job;
    fp_worker *w = &job->workers[i];
    fp_desk *desk = r->pool->views[i].desk;
    fp_desks_drain(r, i);
    size_t finished = r->pool->desks[i].n_taken;
    if (finished < w->n && r->is_grouped && finished && fp_process_can_start(r) &&
        !r->pool->desks[i].is_broken) {
        /* Its messages were more than a desk holds, or its worker was replaced. */
        fp_desks_make_ready(r, i, finished, w->n, 1);
        return;
    }
    int64_t compute_ns = atomic_load_explicit(&desk->compute_ns, memory_order_relaxed);
    w->began_ns = fp_clock_ns() - compute_ns;
    r->pool->desks[i].is_laid = false;
    fp_job_return(job, w, finished, NULL); /* an error stops the job */
    fp_process_look_for_stop(r);
    /* A worker whose failure may end the run waits for this. */
    atomic_store_explicit(&desk->state, FP_DESK_EMPTY, memory_order_release);
    fp_seat *seat = &r->pool->layout.seats[i / FP_DESKS_A_SEAT];
    if (job->config.run.on_error == FACPOOL_ON_ERROR_STOP)
        fp_bell_ring(&seat->bell, &seat->is_asleep);
}

/* ------------------------------------------------------------------ taking back */

/* Lowers a desk's limit so that keep(begun, limit, bound) slots stay; returns the new limit. */
typedef uint32_t (*keep_fn)(uint32_t begun, uint32_t limit, uint32_t bound);
static uint32_t lower_limit(fp_desk *desk, keep_fn keep, uint32_t bound)
{
    uint64_t word = atomic_load(&desk->claim);
    for (;;) {
        uint32_t begun = fp_claim_begun(word), limit = fp_claim_limit(word);
        uint32_t kept = keep(begun, limit, bound);
        if (kept >= limit)
            return limit;
        if (atomic_compare_exchange_weak(&desk->claim, &word, fp_claim_word(begun, kept)))
            return kept;
    }
}

static uint32_t keep_begun(uint32_t begun, uint32_t limit, uint32_t bound)
{
    (void)limit, (void)bound;
    return begun;
}

static uint32_t keep_half(uint32_t begun, uint32_t limit, uint32_t bound)
{
    uint32_t first = begun < bound ? bound : begun;
    return first < limit ? first + (limit - first) / 2 : limit;
}

static uint32_t keep_group(uint32_t begun, uint32_t limit, uint32_t bound)
{
    return begun || bound ? limit : 0;
}

/* Slots below are bound to their desk: they are to be called again, alone, or once less than the
 * job would have them called. */
static uint32_t bound_to(const fp_process_run *r, size_t i)
{
    const fp_desk_seen *seen = &r->pool->desks[i];
    return seen->again_end > seen->single_end ? seen->again_end : seen->single_end;
}

/* Whether the desk is the one that its seat's worker is at, or comes to next. */
static bool is_next(const fp_process_run *r, size_t i)
{
    size_t first = i / FP_DESKS_A_SEAT * FP_DESKS_A_SEAT;
    for (size_t other = first; other < first + FP_DESKS_A_SEAT; other++)
        if (other != i && r->pool->desks[other].is_laid &&
            (int32_t)(r->pool->desks[other].sequence - r->pool->desks[i].sequence) < 0)
            return false;
    return true;
}

/* Tasks of a desk that another could begin. */
static uint32_t left_on(const fp_process_run *r, size_t i)
{
    if (!r->pool->desks[i].is_laid)
        return 0;
    uint64_t word = atomic_load(&r->pool->views[i].desk->claim);
    uint32_t begun = fp_claim_begun(word), limit = fp_claim_limit(word), bound = bound_to(r, i);
    uint32_t first = begun < bound ? bound : begun;
    if (first >= limit || (r->is_grouped && first))
        return 0;
    /* What a worker begins next is of no use to another, who would have to come for it. */
    if (!begun && is_next(r, i))
        return r->is_grouped ? 0 : limit - first - 1;
    return limit - first;
}

/* For a seat that has nothing to do: half of what the fullest desk still has, or a whole group. */
bool fp_desks_take_back(fp_process_run *r)
{
    facpool_job *job = r->job;
    size_t fullest = 0;
    uint32_t most = 0;
    for (size_t i = 0; i < r->pool->n_desks; i++) {
        uint32_t left = left_on(r, i);
        if (left > most) {
            most = left;
            fullest = i;
        }
    }
    if (!most)
        return false;
    fp_worker *w = &job->workers[fullest];
    uint32_t kept = lower_limit(r->pool->views[fullest].desk,
                                r->is_grouped ? keep_group : keep_half, bound_to(r, fullest));
    if (kept >= w->n)
        return false;
    give_back(r, fullest, kept);
    w->n = kept;
    return true;
}

bool fp_desks_idle(const fp_process_run *r, uint32_t seat)
{
    for (uint32_t i = 0; i < FP_DESKS_A_SEAT; i++)
        if (r->pool->desks[seat * FP_DESKS_A_SEAT + i].is_laid)
            return false;
    return true;
}

/* The job ends: nothing more is begun; tasks, slices or groups in hand are waited for. */
void fp_desks_call_off(fp_process_run *r)
{
    for (size_t i = 0; i < r->pool->n_desks; i++) {
        if (!r->pool->desks[i].is_laid)
            continue;
        fp_worker *w = &r->job->workers[i];
        uint32_t kept =
            lower_limit(r->pool->views[i].desk, r->is_grouped ? keep_group : keep_begun, 0);
        if (kept < w->n)
            w->n = kept;
    }
    for (uint32_t i = 0; i < r->pool->n_seats && !r->is_grouped; i++)
        atomic_store_explicit(&r->pool->layout.seats[i].stop.set, 1, memory_order_relaxed);
}
