/* A worker's chunk: slots, marks, and the collection of finished rows into results, lane and
 * counts. It calls no user function and decides nothing about the job. */
#include "run/worker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "run/job.h"

/* What is claimed at once should take about so long: then neighbours in the file and in memory are
 * mostly one worker's. The end of the work is shared out again, so this costs no balance. */
#define RESERVE_TARGET_NS 4000000
#define RESERVE_TASKS_MAX 262144

void fp_worker_init(fp_worker *w, facpool_job *job, uint32_t number)
{
    const facpool_allocator *allocator = job->config.allocator;
    w->job = job;
    w->number = number;
    w->chunk_size = 1;
    w->attempt = 1;
    w->first_attempt = 1;
    w->finished = &w->own_finished;
    w->messages.allocator = allocator;
    w->failed_messages.allocator = allocator;
}

void fp_worker_free(fp_worker *w)
{
    if (!w->job)
        return;
    const facpool_allocator *allocator = w->job->config.allocator;
    fp_free(allocator, w->positions);
    if (!w->is_borrowed)
        fp_free(allocator, w->factors);
    fp_free(allocator, w->statuses);
    fp_free(allocator, w->marks);
    fp_texts_free(&w->messages);
    fp_free(allocator, w->dates);
    fp_free(allocator, (void *)w->codes);
    fp_free(allocator, w->indexes);
    fp_free(allocator, w->code_numbers);
    fp_free(allocator, w->stamps);
    fp_free(allocator, w->failed);
    fp_texts_free(&w->failed_messages);
}

static void enter_lane(fp_worker *w)
{
    if (w->lane)
        fp_lane_enter(w->lane);
}

/* Leaves the lane without handing anything over. */
static void quit_lane(fp_worker *w)
{
    if (w->lane)
        fp_lock_leave(&w->lane->lock);
}

/* ------------------------------------------------------------------ beginning a chunk */

/* Room for n slots. Old contents are not kept. */
static int reserve_slots(fp_worker *w, size_t n, facpool_error *err)
{
    if (n <= w->capacity)
        return 0;
    const facpool_allocator *allocator = w->job->config.allocator;
    size_t n_factors = w->job->config.run.n_factors;
    fp_free(allocator, w->positions);
    fp_free(allocator, w->factors);
    fp_free(allocator, w->statuses);
    w->capacity = 0;
    w->positions = fp_alloc_zero(allocator, n, sizeof *w->positions);
    w->factors = fp_alloc_zero(allocator, n, n_factors * sizeof *w->factors);
    w->statuses = fp_alloc_zero(allocator, n, 1);
    if (!w->positions || !w->factors || !w->statuses)
        return fp_fail_nomem(err, n * (n_factors * sizeof(double) + 9));
    w->capacity = n;
    return 0;
}

static void fill_nan(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = NAN;
}

static void list_positions(fp_worker *w, bool all)
{
    const fp_plan *plan = &w->job->plan;
    w->n = 0;
    for (size_t p = w->first; p < w->end; p++)
        if (all || !fp_plan_is_done(plan, p))
            w->positions[w->n++] = p;
}

int fp_worker_begin(fp_worker *w, size_t first, size_t end, bool all, facpool_error *err)
{
    size_t left = fp_plan_left(&w->job->plan, first, end);
    enter_lane(w);
    int rc = reserve_slots(w, end - first, err);
    if (!rc) {
        w->first = first;
        w->end = end;
        w->n = end - first;
        w->whole = all || left == end - first;
        w->has_done = all && left < end - first;
        if (!w->whole)
            list_positions(w, all);
        memset(w->statuses, FACPOOL_STATUS_OK, w->n);
        if (!w->is_borrowed) /* else by the worker process, in its own cache */
            fill_nan(w->factors, w->n * w->job->config.run.n_factors);
        w->n_marks = 0;
        w->mark_hint = 0;
        w->n_failed_in_chunk = 0;
        fp_texts_clear(&w->messages);
        w->collected = 0;
        atomic_store_explicit(w->finished, 0, memory_order_relaxed);
        w->busy = true;
    }
    quit_lane(w);
    return rc;
}

static int reserve_slice(fp_worker *w, size_t n, facpool_error *err)
{
    if (n <= w->slice_capacity)
        return 0;
    const facpool_allocator *allocator = w->job->config.allocator;
    fp_free(allocator, w->dates);
    fp_free(allocator, (void *)w->codes);
    fp_free(allocator, w->indexes);
    fp_free(allocator, w->code_numbers);
    w->slice_capacity = 0;
    w->dates = fp_alloc_zero(allocator, n, sizeof *w->dates);
    w->codes = fp_alloc_zero(allocator, n, sizeof *w->codes);
    w->indexes = fp_alloc_zero(allocator, n, sizeof *w->indexes);
    w->code_numbers = fp_alloc_zero(allocator, n, sizeof *w->code_numbers);
    if (!w->dates || !w->codes || !w->indexes || !w->code_numbers)
        return fp_fail_nomem(err, n * 28);
    w->slice_capacity = n;
    return 0;
}

int fp_worker_fill_slice(fp_worker *w, size_t first_slot, size_t n, facpool_slice *slice,
                         facpool_error *err)
{
    int rc = reserve_slice(w, n, err);
    if (rc)
        return rc;
    const facpool_job *job = w->job;
    fp_key_walk walk;
    fp_key_walk_start(&walk, &job->plan.keys, fp_worker_position(w, first_slot));
    for (size_t i = 0; i < n; i++) {
        fp_key_walk_to(&walk, fp_worker_position(w, first_slot + i));
        fp_key_walk_load(&walk);
        w->dates[i] = walk.date;
        w->codes[i] = fp_texts_at(&job->tasks->codes.texts, walk.code_id);
        w->indexes[i] = w->desk_indexes ? w->desk_indexes[walk.index] : walk.index;
        w->code_numbers[i] = walk.code_id;
    }
    w->slice_first = first_slot;
    *slice = (facpool_slice){.size = sizeof *slice,
                             .n = n,
                             .dates = w->dates,
                             .codes = w->codes,
                             .indexes = w->indexes,
                             .worker = w->number,
                             .attempt = w->attempt,
                             .worker_state = w->state,
                             .internal = w,
                             .code_numbers = w->code_numbers};
    return 0;
}

/* ------------------------------------------------------------------ marks */

/* Marks mostly come and are looked for in slot order: the hint is where the last one was found. */
static size_t find_mark(fp_worker *w, size_t slot)
{
    size_t next = w->mark_hint + 1;
    if (next < w->n_marks && w->marks[next].slot == slot)
        return w->mark_hint = next;
    for (size_t i = w->n_marks; i-- > 0;)
        if (w->marks[i].slot == slot)
            return w->mark_hint = i;
    return SIZE_MAX;
}

static int add_mark(fp_worker *w, size_t slot, int32_t code, const char *message, size_t length)
{
    bool is_marked = w->statuses[slot] != FACPOOL_STATUS_OK;
    size_t at = is_marked ? find_mark(w, slot) : SIZE_MAX;
    if (at == SIZE_MAX) {
        if (fp_grow(w->job->config.allocator, (void **)&w->marks, &w->marks_capacity,
                    w->n_marks + 1, sizeof *w->marks))
            return FACPOOL_E_NOMEM;
        at = w->n_marks;
    }
    if (fp_texts_add(&w->messages, message, length))
        return FACPOOL_E_NOMEM;
    fp_texts_mend_last(&w->messages);
    w->marks[at] = (fp_mark){slot, code, (uint32_t)(w->messages.n - 1)};
    if (at == w->n_marks)
        w->n_marks++;
    return 0;
}

int fp_worker_mark(fp_worker *w, size_t slot, uint8_t status, int32_t code, const char *message,
                   size_t length)
{
    size_t kept = fp_utf8_cut(message, length, FP_MESSAGE_MAX_BYTES);
    enter_lane(w);
    int rc = add_mark(w, slot, code, message, kept);
    if (!rc) {
        double *factors = w->factors + slot * w->job->config.run.n_factors;
        w->statuses[slot] = status;
        fill_nan(factors, w->job->config.run.n_factors);
    }
    quit_lane(w);
    return rc;
}

void fp_worker_unmark(fp_worker *w, size_t slot)
{
    if (w->statuses[slot] == FACPOOL_STATUS_OK)
        return;
    enter_lane(w);
    size_t at = find_mark(w, slot);
    if (at != SIZE_MAX)
        w->marks[at] = w->marks[--w->n_marks];
    w->statuses[slot] = FACPOOL_STATUS_OK;
    quit_lane(w);
}

/* ------------------------------------------------------------------ collecting */

static void count(fp_worker *w, uint8_t status, size_t n)
{
    uint64_t before = atomic_load_explicit(&w->done[status], memory_order_relaxed);
    atomic_store_explicit(&w->done[status], before + n, memory_order_relaxed);
}

static int keep_stamp(fp_worker *w, size_t position, size_t n, int64_t now_us)
{
    if (w->n_stamps) {
        fp_stamp *last = &w->stamps[w->n_stamps - 1];
        if (last->position + last->n == position && last->timestamp == now_us) {
            last->n += n;
            return 0;
        }
    }
    if (fp_grow(w->job->config.allocator, (void **)&w->stamps, &w->stamps_capacity, w->n_stamps + 1,
                sizeof *w->stamps))
        return FACPOOL_E_NOMEM;
    w->stamps[w->n_stamps++] = (fp_stamp){position, n, now_us};
    return 0;
}

/* Row-major slots into a result's columns, where slots are neighbours there too. */
static void keep_columns(const fp_worker *w, fp_memory *m, size_t slot, size_t n, size_t index)
{
    size_t n_factors = w->job->config.run.n_factors;
    const double *from = w->factors + slot * n_factors;
    for (size_t f = 0; f < n_factors; f++) {
        double *to = m->factors[f] + index;
        for (size_t i = 0; i < n; i++)
            to[i] = from[i * n_factors + f];
    }
    memcpy(m->statuses + index, w->statuses + slot, n);
}

/* Slots slot .. slot + n - 1, of neighbouring positions from `position`, into the result. */
static int keep_rows(fp_worker *w, size_t slot, size_t n, size_t position, int64_t now_us)
{
    facpool_job *job = w->job;
    fp_memory *m = job->memory;
    if (job->keeps_order) {
        keep_columns(w, m, slot, n, position);
    } else {
        fp_key_walk walk;
        fp_key_walk_start(&walk, &job->plan.keys, position);
        for (size_t i = 0; i < n; i++, fp_key_walk_next(&walk)) {
            fp_key_walk_load(&walk);
            keep_columns(w, m, slot + i, 1, walk.index);
        }
    }
    return keep_stamp(w, position, n, now_us);
}

/* The same slots into a batch of the lane. */
static int put_rows(fp_worker *w, fp_batch *batch, size_t slot, size_t n, size_t position,
                    int64_t now_us, facpool_error *err)
{
    int rc = fp_batch_reserve(batch, n, err);
    if (rc)
        return rc;
    size_t at = batch->n_rows, n_factors = batch->n_factors;
    fp_key_walk walk;
    fp_key_walk_start(&walk, &w->job->plan.keys, position);
    for (size_t i = 0; i < n; i++, fp_key_walk_next(&walk)) {
        fp_key_walk_load(&walk);
        batch->dates[at + i] = walk.date;
        batch->code_ids[at + i] = walk.code_id;
        batch->timestamps[at + i] = now_us;
    }
    if (batch->ok) {
        const double *from = w->factors + slot * n_factors;
        for (size_t f = 0; f < n_factors; f++)
            for (size_t i = 0; i < n; i++)
                batch->factors[f][at + i] = from[i * n_factors + f];
    } else {
        memcpy(batch->statuses + at, w->statuses + slot, n);
    }
    batch->n_rows += n;
    return 0;
}

/* A stretch of ok slots at neighbouring positions. */
static int collect_ok(fp_worker *w, size_t slot, size_t n, size_t position, int64_t now_us,
                      facpool_error *err)
{
    if (w->job->memory && keep_rows(w, slot, n, position, now_us))
        return fp_fail_nomem(err, sizeof(fp_stamp));
    int rc = w->lane ? put_rows(w, &w->lane->ok, slot, n, position, now_us, err) : 0;
    if (!rc)
        count(w, FACPOOL_STATUS_OK, n);
    return rc;
}

static void note_failed(fp_worker *w, size_t position, const fp_mark *mark)
{
    size_t length = fp_texts_length(&w->messages, mark->message);
    const char *message = fp_texts_at(&w->messages, mark->message);
    size_t kept = fp_utf8_cut(message, length, sizeof w->failed_message - 1);
    memcpy(w->failed_message, message, kept);
    w->failed_message[kept] = 0;
    w->failed_position = position;
    w->failed_code = mark->code;
    w->n_failed_in_chunk++;
}

static int compare_failed(const void *a, const void *b)
{
    const fp_failed *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Drops all failures but those that a report may show: the first ones by task order. */
static int trim_failures(fp_worker *w)
{
    fp_texts kept = {.allocator = w->job->config.allocator};
    qsort(w->failed, w->n_failed, sizeof *w->failed, compare_failed);
    for (size_t i = 0; i < FP_REPORT_FAILURES; i++) {
        uint32_t message = w->failed[i].message;
        if (fp_texts_add(&kept, fp_texts_at(&w->failed_messages, message),
                         fp_texts_length(&w->failed_messages, message))) {
            fp_texts_free(&kept);
            return FACPOOL_E_NOMEM;
        }
    }
    for (size_t i = 0; i < FP_REPORT_FAILURES; i++)
        w->failed[i].message = (uint32_t)i;
    fp_texts_free(&w->failed_messages);
    w->failed_messages = kept;
    w->n_failed = FP_REPORT_FAILURES;
    w->failed_last = w->failed[FP_REPORT_FAILURES - 1].index;
    w->failed_trimmed = true;
    return 0;
}

/* Keeps a failure for the result: all of them where rows are kept, else the first few by task
 * order, which is not the order in which tasks are run. */
static int keep_failure(fp_worker *w, size_t position, uint8_t status, const fp_mark *mark,
                        int64_t now_us)
{
    if (status <= FACPOOL_STATUS_SKIPPED)
        return 0;
    fp_key_walk walk;
    fp_key_walk_start(&walk, &w->job->plan.keys, position);
    fp_key_walk_load(&walk);
    if (w->failed_trimmed && walk.index > w->failed_last)
        return 0;
    if (!w->job->memory && w->n_failed == 2 * FP_REPORT_FAILURES && trim_failures(w))
        return FACPOOL_E_NOMEM;
    if (fp_grow(w->job->config.allocator, (void **)&w->failed, &w->failed_capacity, w->n_failed + 1,
                sizeof *w->failed) ||
        fp_texts_add(&w->failed_messages, fp_texts_at(&w->messages, mark->message),
                     fp_texts_length(&w->messages, mark->message)))
        return FACPOOL_E_NOMEM;
    w->failed[w->n_failed++] = (fp_failed){.index = walk.index,
                                           .timestamp = now_us,
                                           .code = mark->code,
                                           .message = (uint32_t)(w->failed_messages.n - 1),
                                           .status = status};
    return 0;
}

/* One slot that is not ok. */
static int collect_marked(fp_worker *w, size_t slot, int64_t now_us, facpool_error *err)
{
    size_t position = fp_worker_position(w, slot), at = find_mark(w, slot);
    const fp_mark *mark = &w->marks[at];
    uint8_t status = w->statuses[slot];
    if (status > FACPOOL_STATUS_SKIPPED)
        note_failed(w, position, mark);
    if (w->job->memory && keep_rows(w, slot, 1, position, now_us))
        return fp_fail_nomem(err, sizeof(fp_stamp));
    if (keep_failure(w, position, status, mark, now_us))
        return fp_fail_nomem(err, sizeof(fp_failed));
    if (w->lane) {
        fp_batch *rest = &w->lane->rest;
        int rc = fp_batch_reserve(rest, 1, err); /* so that a message never is without its row */
        if (rc)
            return rc;
        if (fp_texts_add(&rest->messages, fp_texts_at(&w->messages, mark->message),
                         fp_texts_length(&w->messages, mark->message)))
            return fp_fail_nomem(err, FP_MESSAGE_MAX_BYTES);
        rc = put_rows(w, rest, slot, 1, position, now_us, err);
        if (rc)
            return rc;
        rest->failure_codes[rest->n_rows - 1] = mark->code;
    }
    count(w, status, 1);
    return 0;
}

static bool is_stored_before(const fp_worker *w, size_t slot)
{
    return w->has_done && fp_plan_is_done(&w->job->plan, fp_worker_position(w, slot));
}

/* The end of the stretch of ok, new slots at neighbouring positions that begins at `slot`. */
static size_t stretch_end(const fp_worker *w, size_t slot, size_t end)
{
    if (w->n_marks == 0 && !w->has_done && w->whole)
        return end;
    size_t first = fp_worker_position(w, slot), s = slot;
    while (s < end && w->statuses[s] == FACPOOL_STATUS_OK && !is_stored_before(w, s) &&
           fp_worker_position(w, s) == first + (s - slot))
        s++;
    return s;
}

int fp_worker_collect(fp_worker *w, facpool_error *err)
{
    /* Pairs with the release store after each task: its factors and marks are seen. */
    size_t end = atomic_load_explicit(w->finished, memory_order_acquire);
    if (!w->busy || w->collected >= end)
        return 0;
    int64_t now_us = fp_clock_wall_us();
    int rc = 0;
    while (!rc && w->collected < end) {
        size_t slot = w->collected, next = slot + 1;
        if (is_stored_before(w, slot)) {
            w->collected = next;
            continue;
        }
        if (w->statuses[slot] != FACPOOL_STATUS_OK) {
            rc = collect_marked(w, slot, now_us, err);
        } else {
            next = stretch_end(w, slot, end);
            rc = collect_ok(w, slot, next - slot, fp_worker_position(w, slot), now_us, err);
        }
        if (!rc)
            w->collected = next;
    }
    return rc;
}

/* ------------------------------------------------------------------ time */

static void note_slow(fp_worker *w, size_t n, int64_t ns)
{
    if (ns <= w->slow[FP_SLOW_CHUNKS - 1].ns)
        return;
    size_t at = FP_SLOW_CHUNKS - 1;
    for (; at > 0 && w->slow[at - 1].ns < ns; at--)
        w->slow[at] = w->slow[at - 1];
    w->slow[at] = (fp_slow_chunk){fp_worker_position(w, 0), n, ns};
}

void fp_worker_note_time(fp_worker *w, size_t n, int64_t now_ns)
{
    int64_t took_ns = now_ns - w->began_ns;
    w->compute_ns += took_ns;
    if (n == 0)
        return;
    note_slow(w, n, took_ns);
    /* What would take the target, but at most eight times what is known to go well. */
    int64_t fits =
        took_ns > 0 ? (int64_t)n * w->job->chunk_target_ns / took_ns : (int64_t)w->job->chunk_max;
    size_t most = n * 8 < w->job->chunk_max ? n * 8 : w->job->chunk_max;
    w->chunk_size = fits < 1 ? 1 : (size_t)fits > most ? most : (size_t)fits;
    int64_t reserve = took_ns > 0 ? (int64_t)n * RESERVE_TARGET_NS / took_ns : 1;
    bool is_settled = n > 1 && w->chunk_size < 2 * n && !w->is_borrowed;
    w->reserve_size = !is_settled || reserve < 1    ? 1
                      : reserve > RESERVE_TASKS_MAX ? RESERVE_TASKS_MAX
                                                    : (size_t)reserve;
}
