/* Opening and ending a question, and its list of damage. Called by cursors and by everything that
 * reads for them; decides nothing about rows. */
#include "query/question.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "query/stream.h"

/* So much damage waits with its cause, the rest without. */
#define MOST_CAUSES      1000
#define MOST_CAUSE_BYTES 255

static int hold_sources(fp_question *q, fp_source *const *sources, size_t n, facpool_error *err)
{
    q->sources = fp_alloc(NULL, n * sizeof(fp_source *));
    if (!q->sources)
        return fp_fail_nomem(err, n * sizeof(fp_source *));
    for (size_t i = 0; i < n; i++) {
        q->sources[i] = fp_source_hold(sources[i]);
        q->stats.blocks_total += sources[i]->n_blocks;
        q->stats.end_bytes = n == 1 ? sources[i]->end : 0;
        q->stats.pages_total += sources[i]->n_pages;
    }
    q->n_sources = n;
    return 0;
}

int fp_question_init(fp_question *out, fp_source *const *sources, size_t n_sources,
                     const facpool_filter *filter, facpool_error *err)
{
    assert(n_sources > 0);
    fp_question q = {.stats = FACPOOL_QUERY_STATS_INIT};
    int rc = fp_filter_init(&q.filter, filter, &sources[0]->schema, sources[0]->path, err);
    if (!rc)
        rc = hold_sources(&q, sources, n_sources, err);
    if (!rc)
        rc = fp_read_context_init(&q.context, err);
    q.context.copies = q.filter.copies;
    if (!rc)
        rc = fp_scope_find(&q, err);
    if (rc) {
        fp_question_free(&q);
        return rc;
    }
    *out = q;
    return 0;
}

void fp_question_free(fp_question *q)
{
    while (q->spare)
        q->spare = fp_stream_free_one(q->spare);
    for (size_t i = 0; i < q->n_blocks; i++) {
        fp_free(NULL, q->blocks[i].marks);
        fp_free(NULL, q->blocks[i].losers);
    }
    fp_free(NULL, q->blocks);
    for (size_t i = q->first_untold; i < q->n_damages; i++)
        fp_free(NULL, q->damages[i].cause);
    fp_free(NULL, q->damages);
    fp_read_context_free(&q->context);
    for (size_t i = 0; i < q->n_sources; i++)
        fp_source_release(q->sources[i]);
    fp_free(NULL, q->sources);
    fp_filter_free(&q->filter);
    *q = (fp_question){.n_sources = 0};
}

/* ------------------------------------------------------------------ damage */

/* Adds an entry. Returns NULL where there is no memory. */
static fp_damage *add_damage(fp_question *q, const fp_source *source, const fp_block *block)
{
    void *memory = q->damages;
    if (fp_grow(NULL, &memory, &q->damages_capacity, q->n_damages + 1, sizeof *q->damages))
        return NULL;
    q->damages = memory;
    q->damages[q->n_damages] = (fp_damage){.source = source, .block = block};
    return &q->damages[q->n_damages++];
}

/* The block's entry that the caller has not been told of, made where there is none. */
static fp_damage *damage_of(fp_question *q, fp_scope_block *block, const char *cause)
{
    if (block->noted > q->n_forgotten + q->first_untold)
        return &q->damages[block->noted - 1 - q->n_forgotten];
    bool is_kept = q->n_damages - q->first_untold < MOST_CAUSES;
    char *kept = is_kept ? fp_strdup(NULL, cause) : NULL;
    if (is_kept && !kept)
        return NULL;
    if (is_kept)
        kept[fp_utf8_cut(kept, strlen(kept), MOST_CAUSE_BYTES)] = '\0';
    fp_damage *damage = add_damage(q, block->source, block->block);
    if (!damage) {
        fp_free(NULL, kept);
        return NULL;
    }
    damage->cause = kept;
    block->noted = q->n_forgotten + q->n_damages;
    return damage;
}

static uint64_t mark_damaged(fp_scope_block *block, uint32_t first_page, uint32_t n_pages,
                             const fp_page *pages)
{
    uint64_t rows = 0;
    for (uint32_t page = first_page; page < first_page + n_pages; page++) {
        if (block->marks[page] & FP_MARK_DAMAGED)
            continue;
        block->marks[page] |= FP_MARK_DAMAGED;
        rows += pages[page].n_rows;
    }
    return rows;
}

int fp_question_note_damage(fp_question *q, fp_scope_block *block, uint32_t first_page,
                            uint32_t n_pages, const fp_page *pages, const facpool_error *cause,
                            facpool_error *err)
{
    uint64_t rows = 0;
    if (n_pages)
        rows = mark_damaged(block, first_page, n_pages, pages);
    else if (!block->lost)
        rows = block->block->n_rows;
    block->lost = block->lost || n_pages == 0;
    if (rows == 0)
        return 0;
    q->stats.blocks_damaged += !block->damaged;
    block->damaged = true;
    fp_damage *damage = damage_of(q, block, cause->message);
    if (!damage)
        return fp_fail_nomem(err, sizeof *damage);
    damage->rows += rows;
    return 0;
}

int fp_question_note_unlisted(fp_question *q, const fp_source *source, facpool_error *err)
{
    q->stats.blocks_damaged += source->n_damaged;
    return add_damage(q, source, NULL) ? 0 : fp_fail_nomem(err, sizeof(fp_damage));
}

static int fail_damaged(const fp_damage *damage, facpool_error *err)
{
    const fp_source *source = damage->source;
    const fp_block *block = damage->block;
    if (!block)
        return fp_fail(err, FACPOOL_E_CORRUPT,
                       "backup '%.300s' has %" PRIu64 " damaged block(s) that can't be listed; "
                       "their rows are left out. Go on for the others; 'facpool verify' says "
                       "where, a resumed run computes them again",
                       source->path, source->n_damaged);
    bool has_cause = damage->cause != NULL;
    return fp_fail(err, FACPOOL_E_CORRUPT,
                   "backup '%.300s': the block at offset %" PRIu64 " is damaged, %" PRIu64
                   " of its %" PRIu32 " rows can't be read and are left out%s%s%s. Go on for the "
                   "others; a resumed run computes them again",
                   source->path, block->offset, damage->rows, block->n_rows, has_cause ? " (" : "",
                   has_cause ? damage->cause : "", has_cause ? ")" : "");
}

int fp_question_tell_damage(fp_question *q, facpool_error *err)
{
    if (q->first_untold == q->n_damages)
        return 0;
    fp_damage damage = q->damages[q->first_untold++];
    if (q->first_untold == q->n_damages) {
        q->n_forgotten += q->n_damages;
        q->first_untold = q->n_damages = 0;
    }
    int rc = fail_damaged(&damage, err);
    fp_free(NULL, damage.cause);
    return rc;
}
