/* Columns of Arrow arrays (C data interface) on their way in: which values of an array are meant,
 * integers of any width, and codes as text or behind a dictionary. For the import of task sets.
 * Believes nothing that can be checked; sizes of buffers can't, as the interface carries none. */
#ifndef FP_MODEL_ARROW_COLUMNS_H
#define FP_MODEL_ARROW_COLUMNS_H

#include <stdbool.h>
#include <facpool/arrow.h>
#include "model/codes.h"

/* Values first .. first + n - 1 of an array's buffers (the array's own offset is in `first`), of
 * which none is null. Value `first` is row `row` of the stream, for messages. */
typedef struct fp_arrow_span {
    const struct ArrowArray *array;
    size_t first;
    size_t n;
    size_t row;
} fp_arrow_span;

/* The n > 0 values behind the first `skip` of an array of at least n_buffers buffers. `what` names
 * the column in messages. Errors: INVALID (they are not there, or one is null: says which row). */
int fp_arrow_span_open(fp_arrow_span *out, const struct ArrowArray *array, size_t skip, size_t n,
                       int64_t n_buffers, const char *what, size_t row, facpool_error *err);

/* Integer `at` of a buffer, which need not be aligned. Widened, so that a negative one is huge. */
uint64_t fp_arrow_integer(const void *buffer, size_t at, uint32_t bytes, bool is_signed);

/* How a code column is laid out. */
typedef struct fp_arrow_code_type {
    uint32_t offset_bytes; /* utf8: 4, large utf8: 8, utf8 view: 0 */
    uint32_t index_bytes;  /* of the indexes into a dictionary; 0: there is none */
    bool index_is_signed;
    int64_t n_buffers; /* of the column itself, at least */
} fp_arrow_code_type;

/* Errors: INVALID (no text, and no dictionary of texts). */
int fp_arrow_code_type_read(fp_arrow_code_type *out, const struct ArrowSchema *column,
                            facpool_error *err);

/* The ids of the span's codes, new ones being added. Errors: INVALID (a bad code or a broken array:
 * says which row), NOMEM. */
int fp_arrow_codes_intern(fp_codes *codes, uint32_t *ids, const fp_arrow_code_type *type,
                          const fp_arrow_span *span, facpool_error *err);

#endif
