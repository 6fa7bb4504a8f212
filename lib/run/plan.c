/* Building a plan: order, groups, and the subtraction of what a backup holds. Called when a job
 * opens; never runs a task. */
#include "run/plan.h"

#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"

/* ------------------------------------------------------------------ groups */

static bool same_group(const fp_plan *plan, const fp_key_walk *a, const fp_key_walk *b)
{
    return plan->group_by == FACPOOL_GROUP_CODE ? a->code_id == b->code_id : a->date == b->date;
}

static int find_groups(fp_plan *plan, facpool_error *err)
{
    size_t capacity = 0;
    fp_key_walk walk, last = {0};
    fp_key_walk_start(&walk, &plan->keys, 0);
    for (; walk.position < plan->count; fp_key_walk_next(&walk)) {
        fp_key_walk_load(&walk);
        if (walk.position && same_group(plan, &last, &walk))
            continue;
        if (fp_grow(plan->allocator, (void **)&plan->group_starts, &capacity, plan->n_groups + 2,
                    sizeof *plan->group_starts))
            return fp_fail_nomem(err, (plan->n_groups + 2) * sizeof *plan->group_starts);
        plan->group_starts[plan->n_groups++] = walk.position;
        last = walk;
    }
    if (plan->n_groups)
        plan->group_starts[plan->n_groups] = plan->count;
    return 0;
}

int fp_plan_init(fp_plan *out, const facpool_tasks *tasks, int32_t group_by,
                 const facpool_allocator *allocator, facpool_error *err)
{
    fp_plan plan = {.group_by = group_by, .count = tasks->count, .allocator = allocator};
    int rc = fp_key_order_init(&plan.keys, tasks, group_by == FACPOOL_GROUP_CODE, allocator, err);
    if (rc)
        return rc;
    if (group_by != FACPOOL_GROUP_NONE && tasks->count) {
        if (tasks->is_grid) {
            bool by_code = group_by == FACPOOL_GROUP_CODE;
            plan.group_size = by_code ? tasks->n_dates : tasks->n_codes;
            plan.n_groups = by_code ? tasks->n_codes : tasks->n_dates;
        } else {
            rc = find_groups(&plan, err);
        }
    }
    if (rc) {
        fp_plan_free(&plan);
        return rc;
    }
    *out = plan;
    return 0;
}

void fp_plan_free(fp_plan *plan)
{
    if (plan->keys.tasks)
        fp_key_order_free(&plan->keys);
    fp_free(plan->allocator, plan->group_starts);
    fp_free(plan->allocator, plan->done);
    plan->group_starts = NULL;
    plan->done = NULL;
}

/* ------------------------------------------------------------------ what is left */

/* Word `w` of the done bits, with bits outside first .. end - 1 set. */
static uint64_t done_word(const fp_plan *plan, size_t w, size_t first, size_t end)
{
    uint64_t word = plan->done[w];
    if (w == first / 64)
        word |= (UINT64_C(1) << (first % 64)) - 1;
    if (w == (end - 1) / 64 && end % 64)
        word |= ~UINT64_C(0) << (end % 64);
    return word;
}

size_t fp_plan_left(const fp_plan *plan, size_t first, size_t end)
{
    if (!plan->done || first >= end)
        return first < end ? end - first : 0;
    size_t left = 0;
    for (size_t w = first / 64; w <= (end - 1) / 64; w++)
        left += (size_t)__builtin_popcountll(~done_word(plan, w, first, end));
    return left;
}

size_t fp_plan_next_left(const fp_plan *plan, size_t first, size_t end)
{
    if (!plan->done || first >= end)
        return first < end ? first : end;
    for (size_t w = first / 64; w <= (end - 1) / 64; w++) {
        uint64_t left = ~done_word(plan, w, first, end);
        if (left)
            return w * 64 + (size_t)__builtin_ctzll(left);
    }
    return end;
}

/* ------------------------------------------------------------------ subtraction */

/* A stored row that is neither ok nor skipped: which status a task is left with is known only when
 * all blocks are read. A task may have any number of them, of which the latest is kept. */
typedef struct failed_row {
    size_t position;
    int64_t timestamp;
    size_t arrival;
    uint8_t status;
} failed_row;

typedef struct subtraction {
    fp_plan *plan;
    bool keep_failed;
    bool has_others; /* the block at hand */
    fp_key_matcher matcher;
    fp_read_context context;
    /* columns of one block */
    int64_t *dates;
    uint32_t *codes;
    int64_t *timestamps;
    uint8_t *statuses;
    size_t *positions;
    failed_row *failed; /* superseded ones among them, until there is no room */
    size_t n_failed;
    size_t failed_capacity;
    size_t n_arrived;
} subtraction;

/* Failures that there is room for at first, so that it is not often made. */
#define FEW_FAILED 1024

static int subtraction_init(subtraction *s, fp_plan *plan, bool keep_failed, facpool_error *err)
{
    *s = (subtraction){.plan = plan, .keep_failed = keep_failed};
    int rc = fp_read_context_init(&s->context, err);
    s->context.copies = true; /* each row is looked at once, and others may cut the file */
    if (!rc)
        rc = fp_key_matcher_init(&s->matcher, &plan->keys, err);
    if (rc)
        return rc;
    const facpool_allocator *a = plan->allocator;
    s->dates = fp_alloc(a, FP_BLOCK_ROWS * sizeof *s->dates);
    s->codes = fp_alloc(a, FP_BLOCK_ROWS * sizeof *s->codes);
    s->timestamps = fp_alloc(a, FP_BLOCK_ROWS * sizeof *s->timestamps);
    s->statuses = fp_alloc(a, FP_BLOCK_ROWS);
    s->positions = fp_alloc(a, FP_BLOCK_ROWS * sizeof *s->positions);
    fp_free(a, plan->done);
    plan->done = fp_alloc_zero(a, plan->count / 64 + 1, sizeof *plan->done);
    memset(plan->retry, 0, sizeof plan->retry);
    if (!s->dates || !s->codes || !s->timestamps || !s->statuses || !s->positions || !plan->done)
        return fp_fail_nomem(err, FP_BLOCK_ROWS * 32 + plan->count / 8);
    return 0;
}

static void subtraction_free(subtraction *s)
{
    const facpool_allocator *a = s->plan->allocator;
    fp_read_context_free(&s->context);
    fp_key_matcher_free(&s->matcher);
    fp_free(a, s->dates);
    fp_free(a, s->codes);
    fp_free(a, s->timestamps);
    fp_free(a, s->statuses);
    fp_free(a, s->positions);
    fp_free(a, s->failed);
}

static void mark_done(fp_plan *plan, size_t position)
{
    plan->done[position / 64] |= UINT64_C(1) << (position % 64);
}

static int compare_failed(const void *a, const void *b)
{
    const failed_row *x = a, *y = b;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    if (x->timestamp != y->timestamp)
        return x->timestamp < y->timestamp ? -1 : 1;
    return x->arrival < y->arrival ? -1 : x->arrival > y->arrival;
}

/* Keeps the latest row of each task. */
static void drop_superseded(subtraction *s)
{
    size_t kept = 0;
    if (s->n_failed)
        qsort(s->failed, s->n_failed, sizeof *s->failed, compare_failed);
    for (size_t i = 0; i < s->n_failed; i++)
        if (i + 1 == s->n_failed || s->failed[i + 1].position != s->failed[i].position)
            s->failed[kept++] = s->failed[i];
    s->n_failed = kept;
}

/* Half of the room is free then, so that rows are not sorted again and again. */
static int make_room_for_failed(subtraction *s, facpool_error *err)
{
    drop_superseded(s);
    size_t needed = 2 * s->n_failed + FEW_FAILED;
    if (fp_grow(s->plan->allocator, (void **)&s->failed, &s->failed_capacity, needed,
                sizeof *s->failed))
        return fp_fail_nomem(err, needed * sizeof *s->failed);
    return 0;
}

static int remember_failed(subtraction *s, size_t row, facpool_error *err)
{
    int rc = s->n_failed == s->failed_capacity ? make_room_for_failed(s, err) : 0;
    if (rc)
        return rc;
    uint8_t status =
        s->statuses[row] <= FACPOOL_STATUS_CRASHED ? s->statuses[row] : FACPOOL_STATUS_FAILED;
    s->failed[s->n_failed] = (failed_row){.position = s->positions[row],
                                          .timestamp = s->timestamps[row],
                                          .arrival = s->n_arrived++,
                                          .status = status};
    s->n_failed++;
    return 0;
}

/* Takes over n rows of one block, whose columns have been read. */
static int subtract_rows(subtraction *s, const fp_block *block, size_t n, facpool_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (s->positions[i] == FP_POSITION_NONE) {
            s->has_others = true;
            continue;
        }
        uint8_t status = block->all_ok ? FACPOOL_STATUS_OK : s->statuses[i];
        if (status == FACPOOL_STATUS_OK || status == FACPOOL_STATUS_SKIPPED || s->keep_failed) {
            mark_done(s->plan, s->positions[i]);
            continue;
        }
        int rc = remember_failed(s, i, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int subtract_pages(subtraction *s, fp_open_block *open, uint32_t first, uint32_t n_pages,
                          size_t n_rows, facpool_error *err)
{
    fp_read_context *context = &s->context;
    int rc = fp_source_copy(open, context, FP_COLUMN_DATE, first, n_pages, s->dates,
                            sizeof *s->dates, err);
    if (!rc)
        rc = fp_source_copy(open, context, FP_COLUMN_CODE, first, n_pages, s->codes,
                            sizeof *s->codes, err);
    if (!rc && !open->block->all_ok) {
        rc = fp_source_copy(open, context, FP_COLUMN_STATUS, first, n_pages, s->statuses, 1, err);
        if (!rc)
            rc = fp_source_copy(open, context, FP_COLUMN_TIMESTAMP, first, n_pages, s->timestamps,
                                sizeof *s->timestamps, err);
    }
    if (rc)
        return rc;
    fp_key_matcher_find(&s->matcher, s->dates, s->codes, n_rows, s->positions);
    return subtract_rows(s, open->block, n_rows, err);
}

/* Keys of one page can't be read: those of the others can. */
static int subtract_page_by_page(subtraction *s, fp_open_block *open, facpool_error *err)
{
    int rc = 0;
    for (uint32_t page = 0; !rc && page < open->block->n_pages; page++) {
        rc = subtract_pages(s, open, page, 1, open->pages[page].n_rows, err);
        if (rc == FACPOOL_E_CORRUPT)
            rc = 0;
    }
    return rc;
}

/* *readable: all of its keys could be read. */
static int subtract_block(subtraction *s, fp_source *source, size_t at, bool *readable,
                          facpool_error *err)
{
    const fp_block *block = &source->blocks[at];
    fp_open_block *open = NULL;
    s->has_others = false;
    int rc = source->type->open_block(source, at, &s->context, &open, err);
    if (!rc)
        rc = fp_key_matcher_use(&s->matcher, open->codes, err);
    bool opened = !rc;
    if (opened)
        rc = subtract_pages(s, open, 0, block->n_pages, block->n_rows, err);
    *readable = rc != FACPOOL_E_CORRUPT;
    if (!*readable)
        rc = opened ? subtract_page_by_page(s, open, err) : 0;
    if (open)
        source->type->close_block(open);
    return rc;
}

static int subtract_blocks(subtraction *s, fp_source *source, fp_plan_findings *found,
                           facpool_error *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < source->n_blocks; i++) {
        bool readable;
        rc = subtract_block(s, source, i, &readable, err);
        found->unreadable += !readable;
        found->has_others = found->has_others || s->has_others;
        found->is_ours[i] = readable && !s->has_others;
    }
    return rc;
}

/* A task without a final row runs again for the reason that its latest row gives. */
static void count_retries(subtraction *s)
{
    drop_superseded(s);
    for (size_t i = 0; i < s->n_failed; i++)
        if (!fp_plan_is_done(s->plan, s->failed[i].position))
            s->plan->retry[s->failed[i].status]++;
}

void fp_plan_findings_free(fp_plan_findings *found)
{
    fp_free(NULL, found->is_ours);
    *found = (fp_plan_findings){0};
}

int fp_plan_subtract(fp_plan *plan, fp_source *source, bool keep_failed, fp_plan_findings *found,
                     facpool_error *err)
{
    subtraction s;
    fp_plan_findings_free(found);
    found->is_ours = fp_alloc(NULL, source->n_blocks);
    if (!found->is_ours)
        return fp_fail_nomem(err, source->n_blocks);
    int rc = subtraction_init(&s, plan, keep_failed, err);
    if (!rc)
        rc = subtract_blocks(&s, source, found, err);
    if (!rc) {
        count_retries(&s);
        plan->n_done = plan->count - fp_plan_left(plan, 0, plan->count);
    }
    subtraction_free(&s);
    if (!rc && plan->n_done == 0) {
        fp_free(plan->allocator, plan->done);
        plan->done = NULL;
    }
    return rc;
}
