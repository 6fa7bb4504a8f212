/* The witnesses of a merge: blocks that hold no row to be given, but rows that may supersede some.
 * They are opened and read only around keys that are given. */
#ifndef FP_QUERY_WITNESS_H
#define FP_QUERY_WITNESS_H

#include "query/merge.h"

/* Puts the witnesses in order, once. */
void fp_witnesses_order(fp_merge *merge);

/* Finds a witness with a row of this key, and the stream that stands on it. Keys must not go down
 * from call to call. Returns 1, 0 where there is none, or an error. */
int fp_witnesses_find(fp_merge *merge, const fp_key *key, fp_stream **stream, facpool_error *err);

/* The witness found last has had its row considered. */
int fp_witnesses_move_on(fp_merge *merge, facpool_error *err);

#endif
