/* An opened block made of rows in memory: for stores that read whole rows (json, a user's own)
 * where others read pages. Rows are sorted, codes numbered, pages described; then reads are served
 * from the columns without a copy. */
#ifndef FP_STORE_ROW_BLOCK_H
#define FP_STORE_ROW_BLOCK_H

#include "store/source.h"

/* Columns being filled, in any order of keys. Where all are ok, only factors are given; where none
 * is, no factors; in a mixed block rows that are not ok have NaN there. */
typedef struct fp_row_block fp_row_block;

/* One row. `factors` may be NULL where the status is not ok; `message` NULL is "". */
typedef struct fp_row_values {
    int64_t date;
    const char *code;
    size_t code_length;
    int64_t timestamp;
    uint8_t status;
    int32_t failure_code;
    const char *message;
    size_t message_length;
    const double *factors;
} fp_row_values;

/* An empty one, for block `block` of a source. Errors: NOMEM. */
int fp_row_block_new(fp_row_block **out, const fp_source *source, const fp_block *block,
                     facpool_error *err);

/* Appends a row whose parts were checked. Errors: NOMEM. */
int fp_row_block_add(fp_row_block *rows, const fp_row_values *row, facpool_error *err);

/* Sorts the rows and makes the block of them, as fp_source_type.open_block gives it; the rows are
 * taken over, also on failure. Errors: NOMEM, CORRUPT (number of rows, ranges or statuses are not
 * what the block's entry says; a range of codes whose end is NULL is not looked at). */
int fp_row_block_open(fp_open_block **out, fp_row_block *rows, facpool_error *err);

void fp_row_block_free(fp_row_block *rows); /* one that was not opened; takes NULL */

/* For source types whose open blocks are these. */
void fp_row_block_close(fp_open_block *block);
int fp_row_block_read(fp_open_block *block, fp_read_context *context, uint32_t column,
                      uint32_t first_page, uint32_t n_pages, void *scratch, const void **out,
                      facpool_error *err);
int fp_row_block_read_messages(fp_open_block *block, fp_read_context *context, uint32_t page,
                               fp_texts *out, facpool_error *err);

#endif
