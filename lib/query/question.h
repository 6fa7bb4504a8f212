/* An open question: the filter, the sources it is put to, the blocks in its scope, what was read so
 * far and what was found damaged. Everything behind a cursor works on one of these. */
#ifndef FP_QUERY_QUESTION_H
#define FP_QUERY_QUESTION_H

#include "query/filter.h"

/* Marks of a page. */
enum { FP_MARK_READ = 1, FP_MARK_DAMAGED = 2 };

/* One block that may have a part in the answer. */
typedef struct fp_scope_block {
    const fp_source *source;
    const fp_block *block;
    uint32_t source_index;
    uint32_t block_index;
    bool given;     /* it holds rows of a status that is asked for, and is not skipped */
    bool unique;    /* no key occurs in it twice, nor in another block of its source */
    bool contested; /* rows of it that are given may be superseded */
    bool opened;
    bool damaged;     /* some of it can't be read */
    uint64_t noted;   /* number of its last fp_damage, from 1; 0: none */
    bool lost;        /* nothing of it can be read */
    uint8_t *marks;   /* one a page, NULL until opened */
    uint64_t *losers; /* a bit a row: superseded; NULL: none found */
} fp_scope_block;

/* Damage that the caller has not been told of. `block` NULL: blocks that can't even be listed. */
typedef struct fp_damage {
    const fp_source *source;
    const fp_block *block;
    uint64_t rows;
    char *cause; /* owned; NULL: where many wait, they are told without it */
} fp_damage;

typedef struct fp_stream fp_stream;

typedef struct fp_question {
    fp_filter filter;
    fp_source **sources; /* held */
    size_t n_sources;
    fp_scope_block *blocks; /* in file order */
    size_t n_blocks;
    size_t blocks_capacity;
    bool contested; /* some block is */
    fp_read_context context;
    facpool_query_stats stats;
    fp_damage *damages; /* those from first_untold on */
    size_t n_damages;
    size_t damages_capacity;
    size_t first_untold;
    uint64_t n_forgotten; /* told, and not in `damages` any more */
    fp_stream *spare;     /* closed streams, whose memory is used again */
} fp_question;

/* Checks the filter, holds the sources and finds the blocks in scope; reads nothing from them. All
 * sources must have the same factors. Errors: those of fp_filter_init. */
int fp_question_init(fp_question *out, fp_source *const *sources, size_t n_sources,
                     const facpool_filter *filter, facpool_error *err);
void fp_question_free(fp_question *question);

/* Whether a source's columns can be given as they lie there, to stay as long as it does. */
static inline bool fp_question_lends(const fp_question *question, const fp_source *source)
{
    return source->zero_copy && !question->context.copies;
}

/* Notes that pages of a block can't be read. Pages noted before are not counted again; n_pages 0
 * means that the block is lost as a whole. Errors: NOMEM. */
int fp_question_note_damage(fp_question *question, fp_scope_block *block, uint32_t first_page,
                            uint32_t n_pages, const fp_page *pages, const facpool_error *cause,
                            facpool_error *err);

/* Notes the blocks of a source that can't even be listed. Errors: NOMEM. */
int fp_question_note_unlisted(fp_question *question, const fp_source *source, facpool_error *err);

/* Tells of the oldest damage not told of: fills *err and returns CORRUPT, or 0 where there is none.
 */
int fp_question_tell_damage(fp_question *question, facpool_error *err);

/* The scope (scope.c). */
int fp_scope_find(fp_question *question, facpool_error *err);

/* Whether nothing asked for has to be decoded or copied; reads a page of each source to see.
 * Statuses of ok rows are no obstacle: one filler that batches share, wherever the rows lie.
 * Errors: UNSUPPORTED (saying which column or condition is in the way), IO, NOMEM. */
int fp_scope_check_zero_copy(fp_question *question, facpool_error *err);

#endif
