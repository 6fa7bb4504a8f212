/* A run's result in columns: making it, loading a backup into it, settling it. Reading it as a
 * source is memory_source.c. */
#include "store/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "store/memory_source.h"

/* Large columns come in huge pages straight from the system, unless the caller brings an allocator.
 */
static void *column_alloc(const fp_memory *m, size_t bytes)
{
    if (!m->allocator)
        return fp_pages_alloc(bytes ? bytes : 1);
    void *memory = fp_alloc(m->allocator, bytes ? bytes : 1);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

static void column_free(const fp_memory *m, void *memory, size_t bytes)
{
    if (!memory)
        return;
    if (!m->allocator)
        fp_pages_free(memory, bytes ? bytes : 1);
    else
        fp_free(m->allocator, memory);
}

static int allocate_columns(fp_memory *m, facpool_error *err)
{
    size_t n_factors = m->schema.names.n;
    m->factors = fp_alloc_zero(m->allocator, n_factors, sizeof *m->factors);
    m->statuses = column_alloc(m, m->count);
    if (!m->factors || !m->statuses)
        return fp_fail_nomem(err, m->count);
    for (size_t f = 0; f < n_factors; f++) {
        m->factors[f] = column_alloc(m, m->count * sizeof(double));
        if (!m->factors[f])
            return fp_fail(err, FACPOOL_E_NOMEM,
                           "no memory for %zu tasks of %zu factors (%zu bytes): drop the results, "
                           "or leave them in a backup",
                           m->count, n_factors, m->count * n_factors * sizeof(double));
    }
    return 0;
}

static void memory_free(fp_memory *m)
{
    for (size_t f = 0; m->factors && f < m->schema.names.n; f++)
        column_free(m, m->factors[f], m->count * sizeof(double));
    column_free(m, m->statuses, m->count);
    fp_memory_view_free(m->view);
    fp_free(m->allocator, m->factors);
    fp_free(m->allocator, m->timestamps);
    fp_free(m->allocator, m->stamps);
    fp_free(m->allocator, m->failed);
    fp_texts_free(&m->messages);
    fp_schema_free(&m->schema);
    if (m->keys.tasks)
        fp_key_order_free(&m->keys);
    fp_lock_destroy(&m->lock);
    fp_tasks_release(m->tasks);
    facpool_allocator own = m->own_allocator;
    fp_free(m->allocator ? &own : NULL, m);
}

void fp_memory_release(fp_memory *m)
{
    if (!m || atomic_fetch_sub(&m->references, 1) > 1)
        return;
    memory_free(m);
}

int fp_memory_new(fp_memory **out, const facpool_tasks *tasks, bool code_major,
                  const fp_schema *schema, const facpool_allocator *allocator, facpool_error *err)
{
    fp_memory *m = fp_alloc_zero(allocator, 1, sizeof *m);
    if (!m)
        return fp_fail_nomem(err, sizeof *m);
    if (allocator) {
        m->own_allocator = *allocator;
        m->allocator = &m->own_allocator;
    }
    atomic_init(&m->references, 1);
    m->count = tasks->count;
    m->messages.allocator = m->allocator;
    int rc = fp_tasks_hold(tasks);
    if (rc) {
        fp_free(allocator, m);
        return fp_fail_nomem(err, tasks->codes.texts.n * sizeof(uint32_t));
    }
    m->tasks = tasks;
    rc = fp_lock_init(&m->lock, err);
    if (!rc)
        rc = fp_schema_copy(&m->schema, schema, err);
    if (!rc)
        rc = fp_key_order_init(&m->keys, tasks, code_major, m->allocator, err);
    if (!rc)
        rc = allocate_columns(m, err);
    if (rc) {
        memory_free(m);
        return rc;
    }
    *out = m;
    return 0;
}

int fp_memory_add_stamps(fp_memory *m, const fp_stamp *stamps, size_t n)
{
    if (fp_grow(m->allocator, (void **)&m->stamps, &m->stamps_capacity, m->n_stamps + n,
                sizeof *m->stamps))
        return FACPOOL_E_NOMEM;
    if (n)
        memcpy(m->stamps + m->n_stamps, stamps, n * sizeof *stamps);
    m->n_stamps += n;
    return 0;
}

int fp_memory_add_failed(fp_memory *m, const fp_failed *failed, size_t n, const fp_texts *messages)
{
    if (fp_grow(m->allocator, (void **)&m->failed, &m->failed_capacity, m->n_failed + n,
                sizeof *m->failed))
        return FACPOOL_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        uint32_t text = failed[i].message;
        if (fp_texts_add(&m->messages, fp_texts_at(messages, text),
                         fp_texts_length(messages, text)))
            return FACPOOL_E_NOMEM;
        m->failed[m->n_failed] = failed[i];
        m->failed[m->n_failed++].message = (uint32_t)(m->messages.n - 1);
    }
    return 0;
}

/* ------------------------------------------------------------------ settling */

static int compare_failed(const void *a, const void *b)
{
    const fp_failed *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    if (x->timestamp != y->timestamp)
        return x->timestamp < y->timestamp ? -1 : 1;
    return x->message < y->message ? -1 : x->message > y->message;
}

static bool still_stands(const fp_memory *m, size_t i)
{
    bool latest = i + 1 == m->n_failed || m->failed[i + 1].index != m->failed[i].index;
    return latest && m->statuses[m->failed[i].index] == m->failed[i].status;
}

void fp_memory_settle(fp_memory *m, bool complete)
{
    if (m->n_failed)
        qsort(m->failed, m->n_failed, sizeof *m->failed, compare_failed);
    size_t kept = 0;
    for (size_t i = 0; i < m->n_failed; i++)
        if (still_stands(m, i))
            m->failed[kept++] = m->failed[i];
    m->n_failed = kept;
    for (size_t i = 0; !complete && i < m->count; i++)
        if (m->statuses[i] == FACPOOL_STATUS_NONE)
            for (size_t f = 0; f < m->schema.names.n; f++)
                m->factors[f][i] = NAN;
}

/* ------------------------------------------------------------------ timestamps */

static void expand_stamps(const fp_memory *m, int64_t *timestamps)
{
    for (size_t s = 0; s < m->n_stamps; s++) {
        fp_key_walk walk;
        fp_key_walk_start(&walk, &m->keys, m->stamps[s].position);
        for (size_t i = 0; i < m->stamps[s].n; i++, fp_key_walk_next(&walk)) {
            fp_key_walk_load(&walk);
            timestamps[walk.index] = m->stamps[s].timestamp;
        }
    }
}

static int64_t *timestamps_locked(fp_memory *m)
{
    if (!m->timestamps) {
        m->timestamps = fp_alloc_zero(m->allocator, m->count ? m->count : 1, sizeof(int64_t));
        if (m->timestamps)
            expand_stamps(m, m->timestamps);
    }
    return m->timestamps;
}

const int64_t *fp_memory_timestamps(fp_memory *m)
{
    fp_lock_enter(&m->lock);
    const int64_t *timestamps = timestamps_locked(m);
    fp_lock_leave(&m->lock);
    return timestamps;
}

/* ------------------------------------------------------------------ loading a backup */

typedef struct loader {
    fp_memory *memory;
    int64_t *timestamps;
    fp_key_matcher matcher;
    fp_read_context context;
    fp_open_block *open;
    fp_texts page_messages;
    facpool_error damage; /* the first that was met */
    bool *lost;           /* by index: a row is damaged, and no other supersedes it; NULL: none */
    /* one page */
    int64_t dates[FP_PAGE_ROWS];
    uint32_t codes[FP_PAGE_ROWS];
    int64_t stamps[FP_PAGE_ROWS];
    uint8_t statuses[FP_PAGE_ROWS];
    int32_t failure_codes[FP_PAGE_ROWS];
    double values[FP_PAGE_ROWS];
    size_t positions[FP_PAGE_ROWS];
    size_t indexes[FP_PAGE_ROWS]; /* FP_POSITION_NONE: not ours, or superseded */
} loader;

static int read_page(loader *l, uint32_t column, uint32_t page, void *to, size_t each,
                     facpool_error *err)
{
    return fp_source_copy(l->open, &l->context, column, page, 1, to, each, err);
}

/* Decides which rows of the page stand, and takes their status and time. Ok rows are final: one
 * that is there, of this run or an earlier page, stays. */
static void take_keys(loader *l, size_t n)
{
    fp_memory *m = l->memory;
    fp_key_matcher_find(&l->matcher, l->dates, l->codes, n, l->positions);
    for (size_t i = 0; i < n; i++) {
        l->indexes[i] = FP_POSITION_NONE;
        if (l->positions[i] == FP_POSITION_NONE)
            continue;
        fp_key_walk walk;
        fp_key_walk_start(&walk, &m->keys, l->positions[i]);
        fp_key_walk_load(&walk);
        uint8_t had = m->statuses[walk.index], has = l->statuses[i];
        bool later = l->stamps[i] >= l->timestamps[walk.index];
        bool stands = had == FACPOOL_STATUS_NONE ||
                      (had != FACPOOL_STATUS_OK && (has == FACPOOL_STATUS_OK || later));
        if (!stands)
            continue;
        if (l->lost && (has == FACPOOL_STATUS_OK || later))
            l->lost[walk.index] = false;
        l->indexes[i] = walk.index;
        m->statuses[walk.index] = has;
        l->timestamps[walk.index] = l->stamps[i];
    }
}

static int take_factors(loader *l, uint32_t page, size_t n, facpool_error *err)
{
    fp_memory *m = l->memory;
    bool stored = l->open->block->has_factors;
    for (size_t f = 0; f < m->schema.names.n; f++) {
        int rc = stored ? read_page(l, FP_COLUMN_FACTOR + (uint32_t)f, page, l->values,
                                    sizeof(double), err)
                        : 0;
        if (rc)
            return rc;
        for (size_t i = 0; i < n; i++) {
            if (l->indexes[i] == FP_POSITION_NONE)
                continue;
            bool ok = l->statuses[i] == FACPOOL_STATUS_OK;
            m->factors[f][l->indexes[i]] = ok ? l->values[i] : NAN;
        }
    }
    return 0;
}

static int take_failures(loader *l, uint32_t page, size_t n, facpool_error *err)
{
    fp_texts_clear(&l->page_messages);
    int rc = read_page(l, FP_COLUMN_FAILURE_CODE, page, l->failure_codes, sizeof(int32_t), err);
    if (!rc)
        rc = l->open->source->type->read_messages(l->open, &l->context, page, &l->page_messages,
                                                  err);
    for (size_t i = 0; !rc && i < n; i++) {
        if (l->indexes[i] == FP_POSITION_NONE || l->statuses[i] <= FACPOOL_STATUS_SKIPPED)
            continue;
        fp_failed failed = {.index = l->indexes[i],
                            .timestamp = l->stamps[i],
                            .code = l->failure_codes[i],
                            .message = (uint32_t)i,
                            .status = l->statuses[i]};
        if (fp_memory_add_failed(l->memory, &failed, 1, &l->page_messages))
            rc = fp_fail_nomem(err, sizeof failed);
    }
    return rc;
}

/* A page that can't be read to its end has given nothing: its tasks count as not run, and as lost
 * until a row is met that supersedes the one there. Returns `rc`, or that there is no memory. */
static int forget_rows(loader *l, size_t n, int rc, facpool_error *err)
{
    fp_memory *m = l->memory;
    for (size_t i = 0; i < n; i++) {
        if (l->indexes[i] == FP_POSITION_NONE)
            continue;
        if (!l->lost)
            l->lost = fp_alloc_zero(m->allocator, m->count, sizeof *l->lost);
        if (!l->lost)
            return fp_fail_nomem(err, m->count);
        l->lost[l->indexes[i]] = true;
        m->statuses[l->indexes[i]] = FACPOOL_STATUS_NONE;
    }
    return rc;
}

static int load_page(loader *l, uint32_t page, facpool_error *err)
{
    size_t n = l->open->pages[page].n_rows;
    if (n > FP_PAGE_ROWS)
        return fp_fail(err, FACPOOL_E_CORRUPT, "a page of %zu rows (limit %d)", n, FP_PAGE_ROWS);
    int rc = read_page(l, FP_COLUMN_DATE, page, l->dates, sizeof *l->dates, err);
    if (!rc)
        rc = read_page(l, FP_COLUMN_CODE, page, l->codes, sizeof *l->codes, err);
    if (!rc)
        rc = read_page(l, FP_COLUMN_TIMESTAMP, page, l->stamps, sizeof *l->stamps, err);
    if (!rc && !l->open->block->all_ok)
        rc = read_page(l, FP_COLUMN_STATUS, page, l->statuses, 1, err);
    else
        memset(l->statuses, FACPOOL_STATUS_OK, n);
    if (rc)
        return rc;
    take_keys(l, n);
    rc = take_factors(l, page, n, err);
    if (!rc && !l->open->block->all_ok)
        rc = take_failures(l, page, n, err);
    return rc ? forget_rows(l, n, rc, err) : 0;
}

/* Goes on behind what is damaged, whose error is kept: it may be rows of other tasks. */
static int go_on(loader *l, int rc, const facpool_error *error, facpool_error *err)
{
    if (rc != FACPOOL_E_CORRUPT)
        return rc ? fp_error_copy(err, error) : 0;
    if (!l->damage.code)
        l->damage = *error;
    return 0;
}

static int load_block(loader *l, fp_source *source, size_t at, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = source->type->open_block(source, at, &l->context, &l->open, &error);
    if (rc)
        return go_on(l, rc, &error, err);
    rc = fp_key_matcher_use(&l->matcher, l->open->codes, err);
    for (uint32_t page = 0; !rc && page < l->open->block->n_pages; page++)
        rc = go_on(l, load_page(l, page, &error), &error, err);
    source->type->close_block(l->open);
    return rc;
}

/* Damage matters where a row of these tasks is lost by it, or may be. */
static int judge_damage(const loader *l, facpool_error *err)
{
    const fp_memory *m = l->memory;
    if (!l->damage.code)
        return 0;
    bool lost = l->lost && memchr(l->lost, true, m->count);
    if (!lost && !memchr(m->statuses, FACPOOL_STATUS_NONE, m->count))
        return 0;
    return fp_error_copy(err, &l->damage);
}

/* Whether a row of a block has a time. */
static int has_row_of(loader *l, fp_source *source, size_t at, int64_t us, bool *has,
                      facpool_error *err)
{
    const fp_block *block = &source->blocks[at];
    *has = us == block->timestamp_min || us == block->timestamp_max;
    if (*has || us < block->timestamp_min || us > block->timestamp_max)
        return 0;
    int rc = source->type->open_block(source, at, &l->context, &l->open, err);
    if (rc)
        return rc;
    for (uint32_t page = 0; !rc && !*has && page < block->n_pages; page++) {
        rc = read_page(l, FP_COLUMN_TIMESTAMP, page, l->stamps, sizeof *l->stamps, err);
        for (uint32_t i = 0; !rc && !*has && i < l->open->pages[page].n_rows; i++)
            *has = l->stamps[i] == us;
    }
    source->type->close_block(l->open);
    return rc;
}

/* A file of lines is known by the row that the schema remembers. */
static int is_same_file(loader *l, fp_source *source, bool *is, facpool_error *err)
{
    const fp_schema *wanted = &l->memory->schema, *given = &source->schema;
    *is = memcmp(wanted->file_id, given->file_id, sizeof given->file_id) == 0;
    if (!*is || !wanted->row_us || !given->row_us)
        return 0;
    *is = false;
    int rc = 0;
    for (size_t i = 0; !rc && !*is && i < source->n_blocks; i++)
        rc = has_row_of(l, source, i, wanted->row_us, is, err);
    return rc;
}

/* A file may have been replaced under its name since the run. */
static int check_source(loader *l, fp_source *source, facpool_error *err)
{
    bool is_same = false;
    int rc = is_same_file(l, source, &is_same, err);
    if (!rc && !is_same)
        rc = fp_fail(err, FACPOOL_E_MISMATCH,
                     "backup '%s' was replaced after this run: its rows are another run's, query "
                     "it as a file",
                     source->path);
    return rc ? rc
              : fp_schema_match_factors(&source->schema, &l->memory->schema, source->path, err);
}

int fp_memory_load(fp_memory *m, fp_source *source, facpool_error *err)
{
    loader *l = fp_alloc_zero(m->allocator, 1, sizeof *l);
    if (!l)
        return fp_fail_nomem(err, sizeof *l);
    l->memory = m;
    l->page_messages.allocator = m->allocator;
    int rc = fp_read_context_init(&l->context, err);
    l->context.copies = true; /* each row is looked at once, and others may cut the file */
    if (!rc)
        rc = check_source(l, source, err);
    l->timestamps = rc ? NULL : timestamps_locked(m);
    if (!rc && !l->timestamps)
        rc = fp_fail_nomem(err, m->count * sizeof(int64_t));
    if (!rc)
        rc = fp_key_matcher_init(&l->matcher, &m->keys, err);
    for (size_t i = 0; !rc && i < source->n_blocks; i++)
        rc = load_block(l, source, i, err);
    if (!rc)
        rc = judge_damage(l, err);
    fp_key_matcher_free(&l->matcher);
    fp_read_context_free(&l->context);
    fp_free(m->allocator, l->lost);
    fp_texts_free(&l->page_messages);
    fp_free(m->allocator, l);
    return rc;
}
