/* Goes through the rows of many blocks in the order of their keys, and where rows have the same key
 * finds the one that stands: ok beats not ok, then the later timestamp, the later source, the later
 * place in it. Plans what stands in a gatherer, or only marks the rows that don't. */
#ifndef FP_QUERY_MERGE_H
#define FP_QUERY_MERGE_H

#include "query/gather.h"
#include "query/key.h"

/* A stream and the key it stands on. */
typedef struct fp_merge_head {
    fp_key key;
    fp_stream *stream;
} fp_merge_head;

/* A block whose rows are not given out, but may supersede rows that are: looked up in, by need. */
typedef struct fp_witness {
    fp_key bound; /* none of its rows that matter is before this */
    bool exact;   /* it stands on a row with this key */
    fp_scope_block *scope;
    fp_stream *stream; /* NULL until it has to be opened */
    uint32_t page;     /* the page at hand; FP_NO_PAGE: none */
} fp_witness;

/* A block that is opened when its turn comes. */
typedef struct fp_waiting {
    fp_key bound; /* none of its rows is before this */
    fp_scope_block *scope;
} fp_waiting;

typedef struct fp_merge {
    fp_question *question;
    fp_gather *gather;   /* NULL: mark losers */
    fp_waiting *waiting; /* by bound */
    size_t n_waiting;
    size_t next_waiting;
    fp_merge_head *heads; /* a heap, the smallest first */
    size_t n_heads;
    size_t heads_capacity;
    fp_witness *witnesses; /* a heap, as the heads */
    size_t n_witnesses;
    fp_stream *finished; /* still open: what was planned of them may not be filled */
} fp_merge;

/* A merge of all blocks that are given, into a gatherer. Errors: NOMEM. */
int fp_merge_init(fp_merge *out, fp_question *question, fp_gather *gather, facpool_error *err);
void fp_merge_free(fp_merge *merge);

/* Plans the next rows, as far as the gatherer has room for (at least 1). *more gets whether there
 * was anything left to do. Errors: IO, NOMEM. */
int fp_merge_step(fp_merge *merge, bool *more, facpool_error *err);

/* Closes the streams that came to their end. */
void fp_merge_close_finished(fp_merge *merge);

/* Marks the superseded rows of all contested blocks in their `losers`. Errors: IO, NOMEM. */
int fp_merge_find_losers(fp_question *question, facpool_error *err);

#endif
