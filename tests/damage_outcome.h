/* What reading a store gives that may be damaged, for programs with the rows of store_rows.h. */
#ifndef FP_TEST_DAMAGE_OUTCOME_H
#define FP_TEST_DAMAGE_OUTCOME_H

#include "store_rows.h"

typedef struct outcome {
    int open_rc;
    size_t n_rows;
    bool rows_are_right;
    bool is_reported; /* something besides rows */
    uint64_t tail_bytes;
    uint64_t n_damaged;
} outcome;

/* Blocks that are damaged are left out; a store that does not open gives no wrong row either. */
static outcome look_at(const char *path, const rows *expected, fp_read_context *context,
                       facpool_error *error)
{
    outcome o = {0};
    fp_source *source;
    o.open_rc = fp_source_open(&source, path, NULL, error);
    if (o.open_rc) {
        o.rows_are_right = o.is_reported = true;
        return o;
    }
    rows found = {0};
    int rc = read_rows(source, context, &found, error);
    o.n_rows = found.n;
    o.rows_are_right = !rc && rows_are_among(&found, expected);
    o.tail_bytes = source->tail_bytes;
    o.n_damaged = source->n_damaged;
    o.is_reported = found.corrupt_blocks || o.n_damaged || o.tail_bytes;
    rows_free(&found);
    fp_source_release(source);
    return o;
}

#endif
