/* Which blocks have a part in the answer, and whether rows of theirs can be superseded: found from
 * the blocks' ranges alone, before anything is read. And whether all of them can be given without a
 * copy. Called once, when a question is opened. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "query/stream.h"

#define OK_BIT FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK)

/* Past so many comparisons of ranges, all blocks not told apart yet count as contested: looking
 * into them costs time, never a wrong answer. */
#define OVERLAP_TESTS_MAX ((size_t)4 << 20)

static uint32_t statuses_in(const fp_block *block)
{
    uint32_t bits = 0;
    for (int status = FACPOOL_STATUS_OK; status <= FACPOOL_STATUS_CRASHED; status++)
        if (block->status_rows[status])
            bits |= FACPOOL_STATUS_BIT(status);
    return bits;
}

/* Only a run's own result and stores of a user's own mix ok and other rows in a block, and these
 * have one row a key. */
static bool source_is_unique(const fp_source *source)
{
    for (size_t i = 0; i < source->n_blocks; i++)
        if (source->blocks[i].has_factors && !source->blocks[i].all_ok)
            return true;
    return false;
}

/* Blocks without a row that is asked for take part where their rows may supersede others: any may
 * where rows that are not ok are asked for, none where only ok rows are. */
static bool takes_part(const fp_filter *filter, const fp_block *block)
{
    uint32_t bits = statuses_in(block);
    if (fp_filter_ok_only(filter))
        bits &= OK_BIT;
    return bits && fp_filter_may_match(filter, block);
}

/* Places in a file stay what they are, whatever is given up in it; numbers of blocks would not. */
static bool is_skipped(const fp_question *q, const fp_block *block)
{
    uint64_t skipped = q->filter.skip_bytes;
    return block->offset < skipped && block->offset + block->bytes <= skipped;
}

static int add_blocks(fp_question *q, size_t source_index, facpool_error *err)
{
    const fp_source *source = q->sources[source_index];
    bool unique = source_is_unique(source);
    for (size_t b = 0; b < source->n_blocks; b++) {
        const fp_block *block = &source->blocks[b];
        if (!takes_part(&q->filter, block))
            continue;
        void *memory = q->blocks;
        size_t needed = q->n_blocks + 1;
        if (fp_grow(NULL, &memory, &q->blocks_capacity, needed, sizeof *q->blocks))
            return fp_fail_nomem(err, needed * sizeof *q->blocks);
        q->blocks = memory;
        q->blocks[q->n_blocks++] = (fp_scope_block){
            .source = source,
            .block = block,
            .source_index = (uint32_t)source_index,
            .block_index = (uint32_t)b,
            .given = (statuses_in(block) & q->filter.statuses) != 0 && !is_skipped(q, block),
            .unique = unique || block->all_ok};
    }
    return 0;
}

/* ------------------------------------------------------------------ contested blocks */

static int compare_by_date(const void *a, const void *b)
{
    const fp_block *x = (*(fp_scope_block *const *)a)->block;
    const fp_block *y = (*(fp_scope_block *const *)b)->block;
    return (x->date_min > y->date_min) - (x->date_min < y->date_min);
}

static bool codes_overlap(const fp_block *a, const fp_block *b)
{
    return strcmp(a->code_min, b->code_max) <= 0 && strcmp(b->code_min, a->code_max) <= 0;
}

/* Blocks of one source have no ok row in common, unless it can't tell. */
static bool may_share_keys(const fp_scope_block *a, const fp_scope_block *b)
{
    return a->source_index != b->source_index || a->source->may_repeat;
}

/* Marks blocks that may share keys and whose ranges overlap. `sorted` is in order of date_min. */
static void mark_overlaps(fp_scope_block **sorted, size_t n)
{
    size_t tests = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n && sorted[j]->block->date_min <= sorted[i]->block->date_max;
             j++) {
            if (++tests > OVERLAP_TESTS_MAX) {
                for (size_t k = i; k < n; k++)
                    sorted[k]->contested = true;
                return;
            }
            fp_scope_block *a = sorted[i], *b = sorted[j];
            if (!may_share_keys(a, b) || (a->contested && b->contested))
                continue;
            if (codes_overlap(a->block, b->block))
                a->contested = b->contested = true;
        }
    }
}

/* Ok rows can only lose to ok rows; so blocks without any are left aside. */
static int find_overlaps(fp_question *q, facpool_error *err)
{
    fp_scope_block **sorted = fp_alloc(NULL, q->n_blocks * sizeof *sorted);
    if (!sorted)
        return fp_fail_nomem(err, q->n_blocks * sizeof *sorted);
    size_t n = 0;
    for (size_t i = 0; i < q->n_blocks; i++)
        if (q->blocks[i].block->has_factors)
            sorted[n++] = &q->blocks[i];
    qsort(sorted, n, sizeof *sorted, compare_by_date);
    mark_overlaps(sorted, n);
    fp_free(NULL, sorted);
    return 0;
}

static int find_contested(fp_question *q, facpool_error *err)
{
    bool may_overlap = q->n_sources > 1 || (q->n_sources == 1 && q->sources[0]->may_repeat);
    int rc = may_overlap ? find_overlaps(q, err) : 0;
    for (size_t i = 0; i < q->n_blocks; i++) {
        fp_scope_block *block = &q->blocks[i];
        bool may_lose = !block->block->all_ok && !fp_filter_ok_only(&q->filter) &&
                        !(block->unique && q->n_sources == 1);
        block->contested = block->given && (block->contested || may_lose);
        q->contested = q->contested || block->contested;
    }
    return rc;
}

int fp_scope_find(fp_question *q, facpool_error *err)
{
    int rc = 0;
    for (size_t s = 0; !rc && s < q->n_sources; s++)
        rc = add_blocks(q, s, err);
    return rc ? rc : find_contested(q, err);
}

/* ------------------------------------------------------------------ zero copy */

static size_t count_given(const fp_question *q)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n_blocks; i++)
        n += q->blocks[i].given;
    return n;
}

static const char *why_filter_copies(const fp_question *q)
{
    const fp_filter *filter = &q->filter;
    if (!filter->any_code)
        return "rows picked by code are not side by side: leave filter.codes out";
    if (filter->dates)
        return "rows of several listed dates are not side by side: ask for a range of dates";
    if (q->contested)
        return "rows that are superseded by others have to be left out: ask one backup for its "
               "ok rows";
    if (filter->by_key && count_given(q) > 1)
        return "rows of several blocks have to be merged: ask in FACPOOL_ORDER_FILE";
    return NULL;
}

/* What the source's own account of itself tells. */
static int check_source(const fp_question *q, const fp_source *source, facpool_error *err)
{
    if (!source->zero_copy)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "zero copy was required, but '%.300s' (%s) has to be decoded: ask without "
                       "require_zero_copy, or keep the rows as memory_map",
                       source->path, source->type->name);
    if ((q->filter.columns & FACPOOL_COLUMN_CODE) && !source->type->read_codes)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "zero copy was required, but column 'code' of '%.300s' (%s) is kept as "
                       "numbers, which become text by copying: leave FACPOOL_COLUMN_CODE out of "
                       "filter.columns",
                       source->path, source->type->name);
    return 0;
}

/* Reads a column of the page at hand to see where it comes from. */
static int probe_column(fp_stream *stream, uint32_t column, const char *name, void *scratch,
                        facpool_error *err)
{
    const fp_source *source = stream->scope->source;
    const void *got = NULL;
    int rc = fp_stream_read(stream, column, stream->page, 1, scratch, &got, err);
    if (rc == 1 && got == scratch)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "zero copy was required, but column '%.255s' of '%.300s' (%s) does not lie "
                       "there as it is given: ask without require_zero_copy, or without that "
                       "column",
                       name, source->path, source->type->name);
    return rc < 0 ? rc : 0;
}

static int probe_columns(fp_stream *stream, facpool_error *err)
{
    const fp_filter *filter = &stream->question->filter;
    void *scratch = fp_alloc(NULL, stream->open->pages[stream->page].n_rows * sizeof(double));
    if (!scratch)
        return fp_fail_nomem(err, stream->open->pages[stream->page].n_rows * sizeof(double));
    int rc = 0;
    if (filter->columns & FACPOOL_COLUMN_DATE)
        rc = probe_column(stream, FP_COLUMN_DATE, "date", scratch, err);
    if (!rc && (filter->columns & FACPOOL_COLUMN_TIMESTAMP))
        rc = probe_column(stream, FP_COLUMN_TIMESTAMP, "timestamp", scratch, err);
    const fp_texts *names = &stream->scope->source->schema.names;
    for (size_t i = 0; !rc && i < filter->n_factors; i++)
        rc = probe_column(stream, FP_COLUMN_FACTOR + filter->factors[i],
                          fp_texts_at(names, filter->factors[i]), scratch, err);
    fp_free(NULL, scratch);
    return rc;
}

/* A source may lend some columns and not others; only reading tells. Damage met here is noted as
 * any other is. */
static int probe_block(fp_question *q, fp_scope_block *scope, facpool_error *err)
{
    fp_stream *stream = NULL;
    int rc = fp_stream_open(&stream, q, scope, q->filter.statuses, err);
    if (rc <= 0)
        return rc;
    rc = fp_stream_next_page(stream, err);
    if (rc == 1)
        rc = probe_columns(stream, err);
    fp_stream_close(stream);
    return rc;
}

static int probe_sources(fp_question *q, facpool_error *err)
{
    int rc = 0;
    const fp_source *probed = NULL; /* blocks of one source are side by side */
    for (size_t i = 0; !rc && i < q->n_blocks; i++) {
        if (!q->blocks[i].given || q->blocks[i].source == probed)
            continue;
        probed = q->blocks[i].source;
        rc = probe_block(q, &q->blocks[i], err);
    }
    return rc;
}

int fp_scope_check_zero_copy(fp_question *q, facpool_error *err)
{
    for (size_t i = 0; i < q->n_sources; i++) {
        int rc = check_source(q, q->sources[i], err);
        if (rc)
            return rc;
    }
    const char *why = why_filter_copies(q);
    if (why)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED, "zero copy was required, but %s", why);
    for (size_t i = 0; i < q->n_blocks; i++)
        if (q->blocks[i].given && !q->blocks[i].block->all_ok)
            return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                           "zero copy was required, but the block at offset %" PRIu64
                           " of '%.300s' has rows that are not ok, whose columns have to be made "
                           "up: ask without require_zero_copy, or for ok rows alone",
                           q->blocks[i].block->offset, q->blocks[i].source->path);
    return probe_sources(q, err);
}
