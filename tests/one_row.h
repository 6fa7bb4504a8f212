/* A row with one factor, appended by itself: for tests that want a block for every few of them. */
#ifndef FP_TEST_ONE_ROW_H
#define FP_TEST_ONE_ROW_H

#include <facpool/facpool.h>
#include "test.h"

static inline void append_row(facpool_writer *writer, int64_t date, const char *code, double factor)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.factors = &factor;
    CHECK_OK(facpool_writer_append(writer, &rows, &error), error);
}

#endif
