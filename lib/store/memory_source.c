/* Reading a result as a source: positions in (date, code) order are its rows, cut into blocks and
 * pages of the usual size. Where key order is task order, factors are given as pointers into the
 * result's own columns; else they are gathered. */
#include "store/memory_source.h"

#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"

struct fp_memory_view {
    fp_key_order own_keys;    /* where the run's order is by code */
    const fp_key_order *keys; /* by (date, code) */
    bool identity;
    fp_texts codes; /* all codes of the task set in byte order: every block's dictionary */
    size_t n_blocks;
    fp_block *blocks;
    uint64_t n_pages;
    const facpool_allocator *allocator;
};

typedef struct memory_source {
    fp_source base;
    fp_memory *memory; /* counted */
} memory_source;

typedef struct memory_block {
    fp_open_block base;
    size_t first_position;
    fp_page pages[FP_BLOCK_ROWS / FP_PAGE_ROWS];
} memory_block;

static fp_memory *memory_of(const fp_source *source)
{
    return ((const memory_source *)source)->memory;
}

/* ------------------------------------------------------------------ the view */

static int sort_codes(fp_memory_view *view, const facpool_tasks *tasks)
{
    size_t n = tasks->codes.texts.n;
    uint32_t *by_rank = fp_alloc(view->allocator, (n ? n : 1) * sizeof *by_rank);
    if (!by_rank)
        return FACPOOL_E_NOMEM;
    for (size_t id = 0; id < n; id++)
        by_rank[tasks->codes.rank[id]] = (uint32_t)id;
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = fp_texts_add(&view->codes, fp_texts_at(&tasks->codes.texts, by_rank[i]),
                          fp_texts_length(&tasks->codes.texts, by_rank[i]));
    fp_free(view->allocator, by_rank);
    return rc;
}

/* Ranges and counts of the rows at positions first .. first + n - 1. */
static void describe_block(const fp_memory *m, const fp_memory_view *view, size_t first, size_t n,
                           fp_block *out)
{
    fp_key_walk walk;
    fp_block block = {.n_rows = (uint32_t)n,
                      .n_pages = (uint32_t)((n + FP_PAGE_ROWS - 1) / FP_PAGE_ROWS),
                      .has_factors = true};
    uint32_t code_min = UINT32_MAX, code_max = 0;
    fp_key_walk_start(&walk, view->keys, first);
    for (size_t i = 0; i < n; i++, fp_key_walk_next(&walk)) {
        fp_key_walk_load(&walk);
        uint32_t rank = m->tasks->codes.rank[walk.code_id];
        code_min = rank < code_min ? rank : code_min;
        code_max = rank > code_max ? rank : code_max;
        block.date_min = i ? block.date_min : walk.date;
        block.date_max = walk.date;
        block.status_rows[m->statuses[walk.index]]++;
    }
    block.all_ok = block.status_rows[FACPOOL_STATUS_OK] == n;
    block.code_min = fp_texts_at(&view->codes, code_min);
    block.code_max = fp_texts_at(&view->codes, code_max);
    block.timestamp_min = INT64_MIN;
    block.timestamp_max = INT64_MAX;
    *out = block;
}

static int build_view(fp_memory_view *view, fp_memory *m, facpool_error *err)
{
    view->keys = &m->keys;
    if (m->keys.code_major) {
        int rc = fp_key_order_init(&view->own_keys, m->tasks, false, m->allocator, err);
        if (rc)
            return rc;
        view->keys = &view->own_keys;
    }
    view->identity = fp_key_order_is_identity(view->keys);
    view->n_blocks = (m->count + FP_BLOCK_ROWS - 1) / FP_BLOCK_ROWS;
    view->blocks = fp_alloc_zero(m->allocator, view->n_blocks + 1, sizeof *view->blocks);
    if (!view->blocks || sort_codes(view, m->tasks))
        return fp_fail_nomem(err, view->n_blocks * sizeof *view->blocks);
    for (size_t b = 0; b < view->n_blocks; b++) {
        size_t first = b * FP_BLOCK_ROWS, left = m->count - first;
        describe_block(m, view, first, left < FP_BLOCK_ROWS ? left : FP_BLOCK_ROWS,
                       &view->blocks[b]);
        view->n_pages += view->blocks[b].n_pages;
    }
    return 0;
}

int fp_memory_view_new(fp_memory_view **out, fp_memory *m, facpool_error *err)
{
    fp_memory_view *view = fp_alloc_zero(m->allocator, 1, sizeof *view);
    if (!view)
        return fp_fail_nomem(err, sizeof *view);
    view->allocator = m->allocator;
    view->codes.allocator = m->allocator;
    int rc = build_view(view, m, err);
    if (rc) {
        fp_memory_view_free(view);
        return rc;
    }
    *out = view;
    return 0;
}

void fp_memory_view_free(fp_memory_view *view)
{
    if (!view)
        return;
    if (view->own_keys.tasks)
        fp_key_order_free(&view->own_keys);
    fp_texts_free(&view->codes);
    fp_free(view->allocator, view->blocks);
    fp_free(view->allocator, view);
}

/* ------------------------------------------------------------------ blocks */

static void describe_page(const fp_memory *m, const fp_memory_view *view, size_t position,
                          fp_page *page)
{
    fp_key_walk walk;
    fp_key_walk_start(&walk, view->keys, position);
    page->code_min = UINT32_MAX;
    for (size_t i = 0; i < page->n_rows; i++, fp_key_walk_next(&walk)) {
        fp_key_walk_load(&walk);
        uint32_t rank = m->tasks->codes.rank[walk.code_id];
        if (i == 0) {
            page->date_first = walk.date;
            page->code_first = rank;
        }
        page->date_last = walk.date;
        page->code_last = rank;
        page->code_min = rank < page->code_min ? rank : page->code_min;
        page->code_max = rank > page->code_max ? rank : page->code_max;
    }
}

static int open_block(const fp_source *source, size_t at, fp_read_context *context,
                      fp_open_block **out, facpool_error *err)
{
    (void)context;
    const fp_memory *m = memory_of(source);
    memory_block *block = fp_alloc_zero(m->allocator, 1, sizeof *block);
    if (!block)
        return fp_fail_nomem(err, sizeof *block);
    const fp_block *info = &source->blocks[at];
    block->first_position = at * FP_BLOCK_ROWS;
    block->base = (fp_open_block){
        .source = source, .block = info, .codes = &m->view->codes, .pages = block->pages};
    for (uint32_t p = 0; p < info->n_pages; p++) {
        fp_page *page = &block->pages[p];
        page->first_row = p * FP_PAGE_ROWS;
        uint32_t left = info->n_rows - page->first_row;
        page->n_rows = left < FP_PAGE_ROWS ? left : FP_PAGE_ROWS;
        describe_page(m, m->view, block->first_position + page->first_row, page);
    }
    *out = &block->base;
    return 0;
}

static void close_block(fp_open_block *open)
{
    fp_free(memory_of(open->source)->allocator, open);
}

static int32_t failure_code_of(const fp_memory *m, size_t index, const char **message,
                               size_t *length)
{
    size_t low = 0, high = m->n_failed;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->failed[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    *message = "";
    *length = 0;
    if (low == m->n_failed || m->failed[low].index != index)
        return 0;
    *message = fp_texts_at(&m->messages, m->failed[low].message);
    *length = fp_texts_length(&m->messages, m->failed[low].message);
    return m->failed[low].code;
}

/* One row's value of a column, for columns that have to be gathered. */
static void read_row(const fp_memory *m, const fp_key_walk *walk, const int64_t *timestamps,
                     uint32_t column, size_t i, void *scratch)
{
    const char *message;
    size_t length;
    switch (column) {
    case FP_COLUMN_DATE:
        ((int64_t *)scratch)[i] = walk->date;
        break;
    case FP_COLUMN_CODE:
        ((uint32_t *)scratch)[i] = m->tasks->codes.rank[walk->code_id];
        break;
    case FP_COLUMN_TIMESTAMP:
        ((int64_t *)scratch)[i] = timestamps[walk->index];
        break;
    case FP_COLUMN_STATUS:
        ((uint8_t *)scratch)[i] = m->statuses[walk->index];
        break;
    case FP_COLUMN_FAILURE_CODE:
        ((int32_t *)scratch)[i] = failure_code_of(m, walk->index, &message, &length);
        break;
    default:
        ((double *)scratch)[i] = m->factors[column - FP_COLUMN_FACTOR][walk->index];
    }
}

static int read_pages(fp_open_block *open, fp_read_context *context, uint32_t column,
                      uint32_t first_page, uint32_t n_pages, void *scratch, const void **out,
                      facpool_error *err)
{
    (void)context;
    fp_memory *m = memory_of(open->source);
    const memory_block *block = (const memory_block *)open;
    const fp_page *last = &block->pages[first_page + n_pages - 1];
    size_t first = block->first_position + block->pages[first_page].first_row;
    size_t end = block->first_position + last->first_row + last->n_rows;
    if (column >= FP_COLUMN_FACTOR && m->view->identity) {
        *out = m->factors[column - FP_COLUMN_FACTOR] + first;
        return 0;
    }
    const int64_t *timestamps = NULL;
    if (column == FP_COLUMN_TIMESTAMP && !(timestamps = fp_memory_timestamps(m)))
        return fp_fail_nomem(err, m->count * sizeof(int64_t));
    fp_key_walk walk;
    fp_key_walk_start(&walk, m->view->keys, first);
    for (size_t i = 0; walk.position < end; i++, fp_key_walk_next(&walk)) {
        fp_key_walk_load(&walk);
        read_row(m, &walk, timestamps, column, i, scratch);
    }
    *out = scratch;
    return 0;
}

static int read_messages(fp_open_block *open, fp_read_context *context, uint32_t page,
                         fp_texts *out, facpool_error *err)
{
    (void)context;
    const fp_memory *m = memory_of(open->source);
    const memory_block *block = (const memory_block *)open;
    fp_key_walk walk;
    fp_key_walk_start(&walk, m->view->keys, block->first_position + block->pages[page].first_row);
    for (uint32_t i = 0; i < block->pages[page].n_rows; i++, fp_key_walk_next(&walk)) {
        const char *message;
        size_t length;
        fp_key_walk_load(&walk);
        failure_code_of(m, walk.index, &message, &length);
        if (fp_texts_add(out, message, length))
            return fp_fail_nomem(err, length);
    }
    return 0;
}

static void source_free(fp_source *source)
{
    fp_memory *m = memory_of(source);
    facpool_allocator own = m->own_allocator;
    const facpool_allocator *allocator = m->allocator ? &own : NULL;
    fp_free(allocator, source->path);
    fp_schema_free(&source->schema);
    fp_memory_release(m);
    fp_free(allocator, source);
}

static const fp_source_type memory_type = {
    .name = "memory",
    .open_block = open_block,
    .close_block = close_block,
    .read = read_pages,
    .read_messages = read_messages,
    .free = source_free,
};

static int new_source(fp_source **out, fp_memory *m, facpool_error *err)
{
    memory_source *s = fp_alloc_zero(m->allocator, 1, sizeof *s);
    char *path = fp_strdup(m->allocator, "(result in memory)");
    int rc = s && path ? fp_schema_copy(&s->base.schema, &m->schema, err)
                       : fp_fail_nomem(err, sizeof *s);
    if (rc) {
        fp_free(m->allocator, s);
        fp_free(m->allocator, path);
        return rc;
    }
    s->base.type = &memory_type;
    atomic_init(&s->base.references, 1);
    s->base.path = path;
    s->base.zero_copy = m->view->identity;
    s->base.n_blocks = m->view->n_blocks;
    s->base.blocks = m->view->blocks;
    s->base.n_pages = m->view->n_pages;
    s->memory = m;
    atomic_fetch_add(&m->references, 1);
    *out = &s->base;
    return 0;
}

int fp_memory_source(fp_memory *m, fp_source **out, facpool_error *err)
{
    fp_lock_enter(&m->lock);
    int rc = m->view ? 0 : fp_memory_view_new(&m->view, m, err);
    fp_lock_leave(&m->lock);
    return rc ? rc : new_source(out, m, err);
}
