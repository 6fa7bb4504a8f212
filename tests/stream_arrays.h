/* Cursors over made-up sources as Arrow streams, for the tests of them: rows that a number
 * determines, and looking into the arrays by the rules of the C data interface alone. Included by
 * test programs; everything is static. */
#ifndef FP_STREAM_ARRAYS_H
#define FP_STREAM_ARRAYS_H

#include <facpool/arrow.h>
#include <math.h>
#include <stdint.h>
#include "fake_source.h"
#include "query/cursor.h"
#include "test.h"

#define CODES      50
#define BLOCK_ROWS 5000 /* large enough that stretches are lent */
#define BLOCKS     3

static char code_names[CODES][16];
static facpool_error err = FACPOOL_ERROR_INIT;

/* First of all. */
static inline void make_code_names(void)
{
    for (int i = 0; i < CODES; i++)
        snprintf(code_names[i], sizeof code_names[i], "%06d", i);
}

/* Row i of all: 100 dates of 50 codes a block. */
static inline fake_row row_at(size_t i)
{
    fake_row row = {.date = (int64_t)(i / CODES),
                    .code = code_names[i % CODES],
                    .timestamp = 1000 + (int64_t)i,
                    .status = FACPOOL_STATUS_OK};
    row.factors[0] = (double)i / 8;
    row.factors[1] = i % 7 ? -(double)i : NAN;
    return row;
}

static inline fake_source *make_source(bool zero_copy)
{
    static fake_row rows[BLOCK_ROWS];
    fake_source *fake = fake_source_new("stream.fpb", 2, 1000, zero_copy);
    for (size_t block = 0; block < BLOCKS; block++) {
        for (size_t i = 0; i < BLOCK_ROWS; i++)
            rows[i] = row_at(block * BLOCK_ROWS + i);
        fake_source_add(fake, rows, BLOCK_ROWS);
    }
    if (zero_copy)
        fake_source_keep_codes(fake);
    return fake;
}

typedef enum source_kind { DECODED, LENT, MAPPED, KINDS } source_kind;

static inline fake_source *source_of_kind(source_kind kind)
{
    fake_source *fake = make_source(kind == MAPPED);
    fake->lends = kind == LENT;
    return fake;
}

static inline facpool_cursor *ask(fake_source *fake, const facpool_filter *filter)
{
    facpool_cursor *cursor = NULL;
    fp_source *source = &fake->source;
    CHECK_OK(fp_cursor_open(&cursor, &source, 1, filter, &err), err);
    return cursor;
}

static inline struct ArrowArrayStream export_cursor(facpool_cursor *cursor)
{
    struct ArrowArrayStream stream;
    CHECK_OK(facpool_cursor_to_arrow(cursor, &stream, &err), err);
    CHECK(stream.release && stream.get_schema && stream.get_next && stream.get_last_error);
    return stream;
}

static inline struct ArrowArrayStream stream_of(fake_source *fake, const facpool_filter *filter)
{
    return export_cursor(ask(fake, filter));
}

/* The next array, which must be there. */
static inline struct ArrowArray next_of(struct ArrowArrayStream *stream)
{
    struct ArrowArray array;
    int rc = stream->get_next(stream, &array);
    if (rc)
        printf("  get_next: %d, %s\n", rc, stream->get_last_error(stream));
    CHECK_INT(rc, 0);
    CHECK(array.release != NULL);
    CHECK(stream->get_last_error(stream) == NULL);
    return array;
}

static inline void expect_end(struct ArrowArrayStream *stream)
{
    for (int i = 0; i < 3; i++) {
        struct ArrowArray array;
        memset(&array, 0x55, sizeof array);
        CHECK_INT(stream->get_next(stream, &array), 0);
        CHECK(array.release == NULL);
    }
}

/* ------------------------------------------------------------------ looking into arrays */

static inline bool is_valid(const struct ArrowArray *array, size_t row)
{
    const uint8_t *bits = array->buffers[0];
    size_t at = (size_t)array->offset + row;
    return !bits || (bits[at / 8] >> (at % 8) & 1);
}

static inline int64_t long_at(const struct ArrowArray *array, size_t row)
{
    return ((const int64_t *)array->buffers[1])[(size_t)array->offset + row];
}

static inline double double_at(const struct ArrowArray *array, size_t row)
{
    return ((const double *)array->buffers[1])[(size_t)array->offset + row];
}

static inline void check_text(const struct ArrowArray *array, size_t row, const char *expected)
{
    const int32_t *offsets = (const int32_t *)array->buffers[1] + array->offset + row;
    CHECK_INT(offsets[1] - offsets[0], strlen(expected));
    CHECK(memcmp((const char *)array->buffers[2] + offsets[0], expected, strlen(expected)) == 0);
}

static inline void check_child(const struct ArrowArray *child, int64_t length, int64_t n_buffers)
{
    CHECK_INT(child->length, length);
    CHECK_INT(child->n_buffers, n_buffers);
    CHECK(child->offset >= 0 && child->null_count >= 0);
    CHECK(child->n_children == 0 && child->dictionary == NULL);
    CHECK(child->release && child->private_data);
    CHECK(child->buffers[0] || child->null_count == 0);
    for (int64_t i = 1; i < n_buffers; i++)
        CHECK(child->buffers[i] != NULL);
}

static inline void check_struct(const struct ArrowArray *array, int64_t n_columns)
{
    CHECK(array->length > 0 && array->length <= 65536);
    CHECK(array->null_count == 0 && array->offset == 0 && array->dictionary == NULL);
    CHECK(array->n_buffers == 1 && array->buffers[0] == NULL);
    CHECK_INT(array->n_children, n_columns);
}

/* Columns of the default question over rows of make_source, the first being number `first`. */
static inline void check_rows(struct ArrowArray *const *columns, size_t first)
{
    int64_t n = columns[0]->length;
    for (int i = 0; i < 6; i++)
        check_child(columns[i], n, i == 1 ? 3 : 2);
    for (size_t i = 0; i < (size_t)n; i++) {
        fake_row row = row_at(first + i);
        CHECK(long_at(columns[0], i) == row.date);
        check_text(columns[1], i, row.code);
        CHECK(long_at(columns[2], i) == row.timestamp);
        CHECK(((const uint8_t *)columns[3]->buffers[1])[(size_t)columns[3]->offset + i] ==
              FACPOOL_STATUS_OK);
        double f1 = double_at(columns[5], i);
        CHECK(double_at(columns[4], i) == row.factors[0]);
        CHECK(f1 == row.factors[1] || (isnan(f1) && isnan(row.factors[1])));
    }
    for (int i = 0; i < 6; i++)
        CHECK(columns[i]->null_count == 0 && columns[i]->buffers[0] == NULL);
}

#endif
