/* Rows from a cursor into a sink, all of them, in full blocks: what convert and compact have in
 * common. */
#ifndef FP_API_TRANSFER_H
#define FP_API_TRANSFER_H

#include "store/sink.h"

/* Which rows the cursor must be asked for: every status, read by copying, in FACPOOL_ORDER_*. */
facpool_filter fp_transfer_filter(int32_t order);

/* Appends what the cursor gives to a sink with the same factors, bit for bit. Blocks are as full as
 * they can be, sorted by key, and in the cursor's order. Memory: two blocks of rows, and what the
 * cursor takes. Errors: CORRUPT where the cursor met a damaged block, NOMEM, and what cursor and
 * sink give; the sink then has part of the rows. */
int fp_transfer(facpool_cursor *cursor, fp_sink *sink, facpool_error *err);

#endif
