/* Proves that a cursor's Arrow stream keeps to the rules of the C data and stream interfaces: what
 * its arrays say, where their buffers lie, and that arrays, children and schemas outlive everything
 * else, moved or not, released in any order and on any thread. */
#include <errno.h>
#include <facpool/arrow.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include "fake_source.h"
#include "query/cursor.h"
#include "test.h"

#define CODES      50
#define BLOCK_ROWS 5000 /* large enough that stretches are lent */
#define BLOCKS     3

static char code_names[CODES][16];
static facpool_error err;

/* Row i of all: 100 dates of 50 codes a block. */
static fake_row row_at(size_t i)
{
    fake_row row = {.date = (int64_t)(i / CODES),
                    .code = code_names[i % CODES],
                    .timestamp = 1000 + (int64_t)i,
                    .status = FACPOOL_STATUS_OK};
    row.factors[0] = (double)i / 8;
    row.factors[1] = i % 7 ? -(double)i : NAN;
    return row;
}

static fake_source *make_source(bool zero_copy)
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

static facpool_cursor *ask(fake_source *fake, const facpool_filter *filter)
{
    facpool_cursor *cursor = NULL;
    fp_source *source = &fake->source;
    CHECK_OK(fp_cursor_open(&cursor, &source, 1, filter, &err), err);
    return cursor;
}

static struct ArrowArrayStream export_cursor(facpool_cursor *cursor)
{
    struct ArrowArrayStream stream;
    CHECK_OK(facpool_cursor_to_arrow(cursor, &stream, &err), err);
    CHECK(stream.release && stream.get_schema && stream.get_next && stream.get_last_error);
    return stream;
}

static struct ArrowArrayStream stream_of(fake_source *fake, const facpool_filter *filter)
{
    return export_cursor(ask(fake, filter));
}

/* The next array, which must be there. */
static struct ArrowArray next_of(struct ArrowArrayStream *stream)
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

static void expect_end(struct ArrowArrayStream *stream)
{
    for (int i = 0; i < 3; i++) {
        struct ArrowArray array;
        memset(&array, 0x55, sizeof array);
        CHECK_INT(stream->get_next(stream, &array), 0);
        CHECK(array.release == NULL);
    }
}

/* ------------------------------------------------------------------ looking into arrays */

static bool is_valid(const struct ArrowArray *array, size_t row)
{
    const uint8_t *bits = array->buffers[0];
    size_t at = (size_t)array->offset + row;
    return !bits || (bits[at / 8] >> (at % 8) & 1);
}

static int64_t long_at(const struct ArrowArray *array, size_t row)
{
    return ((const int64_t *)array->buffers[1])[(size_t)array->offset + row];
}

static double double_at(const struct ArrowArray *array, size_t row)
{
    return ((const double *)array->buffers[1])[(size_t)array->offset + row];
}

static void check_text(const struct ArrowArray *array, size_t row, const char *expected)
{
    const int32_t *offsets = (const int32_t *)array->buffers[1] + array->offset + row;
    CHECK_INT(offsets[1] - offsets[0], strlen(expected));
    CHECK(memcmp((const char *)array->buffers[2] + offsets[0], expected, strlen(expected)) == 0);
}

static void check_child(const struct ArrowArray *child, int64_t length, int64_t n_buffers)
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

static void check_struct(const struct ArrowArray *array, int64_t n_columns)
{
    CHECK(array->length > 0 && array->length <= 65536);
    CHECK(array->null_count == 0 && array->offset == 0 && array->dictionary == NULL);
    CHECK(array->n_buffers == 1 && array->buffers[0] == NULL);
    CHECK_INT(array->n_children, n_columns);
}

/* Columns of the default question over rows of make_source, the first being number `first`. */
static void check_rows(struct ArrowArray *const *columns, size_t first)
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

/* ------------------------------------------------------------------ the schema */

static void check_column(const struct ArrowSchema *schema, const char *name, const char *format,
                         int64_t flags)
{
    CHECK_TEXT(schema->name, name);
    CHECK_TEXT(schema->format, format);
    CHECK_INT(schema->flags, flags);
    CHECK(schema->release && !schema->metadata && !schema->dictionary && !schema->n_children);
}

static void the_schema_names_what_was_asked_for(void)
{
    fake_source *fake = make_source(false);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    const char *factors[] = {"f1", "f0", "f1"};
    filter.factors = factors;
    filter.n_factors = 3;
    filter.statuses = FACPOOL_STATUS_ALL;
    struct ArrowArrayStream stream = stream_of(fake, &filter);
    struct ArrowSchema schemas[2];
    for (int i = 0; i < 2; i++) { /* as often as one likes, also between arrays */
        CHECK_INT(stream.get_schema(&stream, &schemas[i]), 0);
        struct ArrowArray array = next_of(&stream);
        array.release(&array);
    }
    stream.release(&stream);
    CHECK(stream.release == NULL);
    fp_source_release(&fake->source);
    for (int i = 0; i < 2; i++) {
        CHECK_TEXT(schemas[i].format, "+s");
        CHECK_INT(schemas[i].n_children, 9);
        struct ArrowSchema **columns = schemas[i].children;
        check_column(columns[0], "date", "l", 0);
        check_column(columns[1], "code", "u", 0);
        check_column(columns[2], "timestamp", "tsu:UTC", 0);
        check_column(columns[3], "status", "C", 0);
        check_column(columns[4], "failure_code", "i", ARROW_FLAG_NULLABLE);
        check_column(columns[5], "message", "u", ARROW_FLAG_NULLABLE);
        check_column(columns[6], "f1", "g", ARROW_FLAG_NULLABLE);
        check_column(columns[7], "f0", "g", ARROW_FLAG_NULLABLE);
        check_column(columns[8], "f1", "g", ARROW_FLAG_NULLABLE);
    }
    struct ArrowSchema moved = *schemas[0].children[6];
    schemas[0].children[6]->release = NULL;
    schemas[0].release(&schemas[0]);
    schemas[1].release(&schemas[1]);
    CHECK(schemas[0].release == NULL && schemas[1].release == NULL);
    check_column(&moved, "f1", "g", ARROW_FLAG_NULLABLE);
    moved.release(&moved);
    CHECK(moved.release == NULL);
}

static void columns_that_were_not_asked_for_are_not_there(void)
{
    fake_source *fake = make_source(false);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    const char *none[] = {NULL};
    filter.columns = FACPOOL_COLUMN_CODE;
    filter.factors = none;
    struct ArrowArrayStream stream = stream_of(fake, &filter);
    struct ArrowSchema schema;
    CHECK_INT(stream.get_schema(&stream, &schema), 0);
    CHECK_INT(schema.n_children, 1);
    check_column(schema.children[0], "code", "u", 0);
    schema.release(&schema);
    struct ArrowArray array = next_of(&stream);
    check_struct(&array, 1);
    check_text(array.children[0], BLOCK_ROWS - 1, code_names[(BLOCK_ROWS - 1) % CODES]);
    array.release(&array);
    stream.release(&stream);
    filter.columns = FACPOOL_COLUMN_NONE; /* rows without a column can still be counted */
    stream = stream_of(fake, &filter);
    CHECK_INT(stream.get_schema(&stream, &schema), 0);
    CHECK_INT(schema.n_children, 0);
    schema.release(&schema);
    array = next_of(&stream);
    check_struct(&array, 0);
    CHECK_INT(array.length, BLOCK_ROWS);
    array.release(&array);
    stream.release(&stream);
    fp_source_release(&fake->source);
}

/* ------------------------------------------------------------------ values and memory */

typedef enum source_kind { DECODED, LENT, MAPPED, KINDS } source_kind;

static fake_source *source_of_kind(source_kind kind)
{
    fake_source *fake = make_source(kind == MAPPED);
    fake->lends = kind == LENT;
    return fake;
}

static void arrays_say_what_the_rows_do_and_outlive_all_else(void)
{
    for (source_kind kind = 0; kind < KINDS; kind++) {
        fake_source *fake = source_of_kind(kind);
        struct ArrowArrayStream stream = stream_of(fake, NULL);
        struct ArrowArray arrays[BLOCKS];
        for (int i = 0; i < BLOCKS; i++)
            arrays[i] = next_of(&stream);
        expect_end(&stream);
        stream.release(&stream);
        fp_source_release(&fake->source);
        for (int i = 0; i < BLOCKS; i++) {
            check_struct(&arrays[i], 6);
            CHECK_INT(arrays[i].length, BLOCK_ROWS);
            check_rows(arrays[i].children, (size_t)i * BLOCK_ROWS);
        }
        for (int i = 0; i < BLOCKS; i++) {
            arrays[i].release(&arrays[i]);
            CHECK(arrays[i].release == NULL);
        }
    }
}

static void a_mapped_source_is_pointed_into(void)
{
    fake_source *fake = make_source(true);
    int64_t first = 10; /* from the middle of a page */
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.require_zero_copy = 1;
    filter.date_min = &first;
    struct ArrowArrayStream stream = stream_of(fake, &filter);
    struct ArrowArray array = next_of(&stream);
    size_t before = 10 * CODES;
    CHECK_INT(array.length, BLOCK_ROWS - before);
    check_rows(array.children, before);
    static const uint32_t columns[] = {
        FP_COLUMN_DATE, 0, FP_COLUMN_TIMESTAMP, 0, FP_COLUMN_FACTOR, FP_COLUMN_FACTOR + 1};
    for (int i = 0; i < 6; i++) {
        const struct ArrowArray *child = array.children[i];
        const char *at = (const char *)child->buffers[1] + child->offset * 8;
        if (i != 1 && i != 3)
            CHECK(at == (const char *)fake_source_column(fake, 0, columns[i]) + before * 8);
    }
    const int32_t *offsets = array.children[1]->buffers[1];
    CHECK(offsets + array.children[1]->offset == fake->blocks[0].code_offsets + before);
    CHECK(array.children[1]->buffers[2] == fake->blocks[0].code_bytes);
    CHECK(atomic_load(&fake->source.references) > 2);
    array.release(&array);
    stream.release(&stream);
    CHECK_INT(atomic_load(&fake->source.references), 1);
    fp_source_release(&fake->source);
}

static void memory_of_an_array_s_own_is_aligned(void)
{
    fake_source *fake = make_source(false);
    int64_t first = 3, last = 70; /* cuts pages on both sides */
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    for (int i = 0; i < 2; i++) {
        struct ArrowArrayStream stream = stream_of(fake, &filter);
        struct ArrowArray array = next_of(&stream);
        for (int64_t c = 0; c < array.n_children; c++)
            for (int64_t b = 0; b < array.children[c]->n_buffers; b++)
                CHECK_INT((uintptr_t)array.children[c]->buffers[b] % 64, 0);
        array.release(&array);
        stream.release(&stream);
        filter.date_min = &first;
        filter.date_max = &last;
    }
    fp_source_release(&fake->source);
}

/* A few rows do not keep a page's worth of memory, and a stretch comes with the right ones. */
static void any_stretch_of_rows_is_right(void)
{
    for (source_kind kind = 0; kind < KINDS; kind++) {
        fake_source *fake = source_of_kind(kind);
        for (int64_t first = 0; first < BLOCK_ROWS / CODES; first += 9)
            for (int64_t last = first; last < BLOCK_ROWS / CODES; last += 31) {
                facpool_filter filter = FACPOOL_FILTER_INIT;
                filter.date_min = &first;
                filter.date_max = &last;
                struct ArrowArrayStream stream = stream_of(fake, &filter);
                struct ArrowArray array = next_of(&stream);
                CHECK_INT(array.length, (last - first + 1) * CODES);
                check_rows(array.children, (size_t)first * CODES);
                expect_end(&stream);
                stream.release(&stream);
                array.release(&array);
            }
        fp_source_release(&fake->source);
    }
}

static void picked_rows_are_right(void)
{
    fake_source *fake = make_source(true);
    const char *codes[] = {"000003", "000017"};
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.codes = codes;
        filter.n_codes = 2;
        filter.order = order;
        struct ArrowArrayStream stream = stream_of(fake, &filter);
        struct ArrowArray array = next_of(&stream);
        CHECK_INT(array.length, 2 * BLOCKS * BLOCK_ROWS / CODES);
        expect_end(&stream);
        stream.release(&stream);
        for (size_t i = 0; i < (size_t)array.length; i++) {
            CHECK(long_at(array.children[0], i) == (int64_t)(i / 2));
            check_text(array.children[1], i, codes[i % 2]);
            CHECK(double_at(array.children[4], i) ==
                  (double)(i / 2 * CODES + (i % 2 ? 17 : 3)) / 8);
        }
        array.release(&array);
    }
    fp_source_release(&fake->source);
}

static void a_stream_begins_behind_the_last_row_given(void)
{
    for (source_kind kind = 0; kind < KINDS; kind++) {
        fake_source *fake = source_of_kind(kind);
        facpool_cursor *cursor = ask(fake, NULL);
        facpool_row row = FACPOOL_ROW_INIT;
        for (int i = 0; i < 13; i++)
            CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        struct ArrowArrayStream stream = export_cursor(cursor);
        struct ArrowArray array = next_of(&stream), next = next_of(&stream);
        stream.release(&stream);
        fp_source_release(&fake->source);
        CHECK_INT(array.length, BLOCK_ROWS - 13);
        check_rows(array.children, 13);
        check_rows(next.children, BLOCK_ROWS);
        array.release(&array);
        next.release(&next);
    }
}

static int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = (double)task->index / 8;
    return task->index % 1000 == 77 ? facpool_task_fail(task, 5, "seventy-seven") : 0;
}

static facpool_result *run_grid(size_t n_dates)
{
    int64_t dates[200];
    const char *codes[CODES];
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    for (size_t i = 0; i < n_dates; i++)
        dates[i] = (int64_t)i;
    for (size_t i = 0; i < CODES; i++)
        codes[i] = code_names[i];
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = 1;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    CHECK_OK(facpool_tasks_grid(&tasks, dates, n_dates, codes, CODES, &err), err);
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_tasks_free(tasks);
    return result;
}

static void a_run_s_result_is_pointed_into_and_kept(void)
{
    facpool_result *result = run_grid(1); /* of one date: every task is ok */
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.columns = FACPOOL_COLUMN_STATUS;
    filter.require_zero_copy = 1;
    CHECK_OK(facpool_result_query(result, &filter, &cursor, &err), err);
    struct ArrowArrayStream stream = export_cursor(cursor);
    struct ArrowArray array = next_of(&stream);
    CHECK(array.children[1]->buffers[1] == facpool_result_factor(result, 0));
    stream.release(&stream);
    facpool_result_free(result);
    CHECK_INT(array.length, CODES);
    for (size_t i = 0; i < CODES; i++)
        CHECK(double_at(array.children[1], i) == (double)i / 8);
    array.release(&array);
}

static void a_run_s_failures_come_as_nulls(void)
{
    facpool_result *result = run_grid(100);
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_result_query(result, &filter, &cursor, &err), err);
    struct ArrowArrayStream stream = export_cursor(cursor);
    struct ArrowArray array = next_of(&stream);
    stream.release(&stream);
    facpool_result_free(result);
    CHECK_INT(array.length, 100 * CODES);
    CHECK_INT(array.children[6]->null_count, 5);
    for (size_t i = 0; i < 100 * CODES; i++) {
        bool failed = i % 1000 == 77;
        CHECK(is_valid(array.children[6], i) == !failed);
        CHECK(is_valid(array.children[5], i) == failed);
        if (failed)
            check_text(array.children[5], i, "seventy-seven");
    }
    array.release(&array);
}

/* ------------------------------------------------------------------ rows that are not ok */

static fake_source *source_with_failures(void)
{
    fake_source *fake = fake_source_new("failures.fpb", 1, 4, false);
    fake_row ok[] = {row_at(0), row_at(1)};
    fake_source_add(fake, ok, 2);
    fake_row failed[20];
    for (int i = 0; i < 20; i++) {
        failed[i] = row_at(100 + (size_t)i);
        failed[i].status = (uint8_t)(FACPOOL_STATUS_SKIPPED + i % 4);
        failed[i].failure_code = i;
        failed[i].message = i % 3 ? "no bars" : NULL;
    }
    fake_source_add(fake, failed, 20);
    return fake;
}

static void rows_that_are_not_ok_have_null_factors_and_say_why(void)
{
    fake_source *fake = source_with_failures();
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    struct ArrowArrayStream stream = stream_of(fake, &filter);
    struct ArrowArray array = next_of(&stream);
    stream.release(&stream);
    fp_source_release(&fake->source);
    check_struct(&array, 7);
    CHECK_INT(array.length, 22);
    struct ArrowArray **columns = array.children;
    for (int i = 0; i < 7; i++)
        check_child(columns[i], 22, i == 1 || i == 5 ? 3 : 2);
    CHECK_INT(columns[4]->null_count, 2);
    CHECK_INT(columns[5]->null_count, 2);
    CHECK_INT(columns[6]->null_count, 20);
    for (size_t i = 0; i < 22; i++) {
        bool ok = i < 2;
        CHECK(is_valid(columns[0], i) && is_valid(columns[3], i));
        CHECK(is_valid(columns[4], i) == !ok && is_valid(columns[5], i) == !ok);
        CHECK(is_valid(columns[6], i) == ok);
        uint8_t status = ((const uint8_t *)columns[3]->buffers[1])[i];
        CHECK_INT(status, ok ? FACPOOL_STATUS_OK : FACPOOL_STATUS_SKIPPED + (int)(i - 2) % 4);
        if (ok) {
            CHECK(double_at(columns[6], i) == row_at(i).factors[0]);
            continue;
        }
        CHECK_INT(((const int32_t *)columns[4]->buffers[1])[i], i - 2);
        check_text(columns[5], i, (i - 2) % 3 ? "no bars" : "");
    }
    array.release(&array);
}

static void where_all_turn_out_ok_failures_are_all_null(void)
{
    fake_source *fake = make_source(false);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    facpool_cursor *cursor = ask(fake, &filter);
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    struct ArrowArrayStream stream = export_cursor(cursor);
    struct ArrowArray array = next_of(&stream);
    stream.release(&stream);
    fp_source_release(&fake->source);
    check_struct(&array, 8);
    for (int i = 0; i < 8; i++) {
        bool failure = i == 4 || i == 5;
        check_child(array.children[i], BLOCK_ROWS - 1, i == 1 || i == 5 ? 3 : 2);
        CHECK_INT(array.children[i]->null_count, failure ? BLOCK_ROWS - 1 : 0);
        for (size_t r = 0; r < BLOCK_ROWS - 1; r++)
            CHECK(is_valid(array.children[i], r) == !failure);
    }
    check_text(array.children[5], BLOCK_ROWS - 2, "");
    array.release(&array);
}

/* ------------------------------------------------------------------ moves, orders, threads */

/* The k-th order of four things. */
static void order_of(int k, int order[4])
{
    int left[4] = {0, 1, 2, 3};
    static const int sizes[] = {6, 2, 1, 1};
    for (int i = 0, n = 4; i < 4; i++, n--) {
        int at = k / sizes[i];
        k %= sizes[i];
        order[i] = left[at];
        memmove(left + at, left + at + 1, (size_t)(n - at - 1) * sizeof *left);
    }
}

/* The array, the stream, and two children that were moved out of it, in every order. */
static void children_may_be_moved_and_released_in_any_order(void)
{
    for (int k = 0; k < 24 * KINDS; k++) {
        fake_source *fake = source_of_kind((source_kind)(k % KINDS));
        struct ArrowArrayStream stream = stream_of(fake, NULL);
        struct ArrowArray array = next_of(&stream);
        struct ArrowArray codes = *array.children[1], factor = *array.children[4];
        array.children[1]->release = NULL;
        array.children[4]->release = NULL;
        fp_source_release(&fake->source);
        int order[4];
        order_of(k / KINDS, order);
        for (int i = 0; i < 4; i++) {
            if (codes.release)
                check_text(&codes, BLOCK_ROWS - 1, code_names[(BLOCK_ROWS - 1) % CODES]);
            if (factor.release)
                CHECK(double_at(&factor, 77) == 77.0 / 8);
            if (array.release)
                CHECK(long_at(array.children[0], BLOCK_ROWS - 1) == BLOCK_ROWS / CODES - 1);
            if (order[i] == 0)
                array.release(&array);
            else if (order[i] == 1)
                stream.release(&stream);
            else if (order[i] == 2)
                codes.release(&codes);
            else
                factor.release(&factor);
        }
        CHECK(!array.release && !stream.release && !codes.release && !factor.release);
    }
}

/* A moved stream and moved arrays work where they were moved to. */
static void streams_and_arrays_may_be_moved(void)
{
    fake_source *fake = make_source(true);
    struct ArrowArrayStream first = stream_of(fake, NULL), stream = first;
    memset(&first, 0x55, sizeof first);
    struct ArrowArray made = next_of(&stream), array = made;
    memset(&made, 0x55, sizeof made);
    check_rows(array.children, 0);
    array.release(&array);
    CHECK(array.release == NULL);
    stream.release(&stream);
    fp_source_release(&fake->source);
}

typedef struct threads_work {
    struct ArrowArrayStream *stream;
    struct ArrowArray array;
    int rc;
} threads_work;

static void *get_on_thread(void *arg)
{
    threads_work *work = arg;
    work->rc = work->stream->get_next(work->stream, &work->array);
    return NULL;
}

static void *release_on_thread(void *arg)
{
    struct ArrowArray *array = arg;
    array->release(array);
    return NULL;
}

static void arrays_are_made_and_released_on_any_thread(void)
{
    for (source_kind kind = 0; kind < KINDS; kind++) {
        fake_source *fake = source_of_kind(kind);
        struct ArrowArrayStream stream = stream_of(fake, NULL);
        threads_work work[BLOCKS];
        for (int i = 0; i < BLOCKS; i++) {
            pthread_t thread;
            work[i] = (threads_work){.stream = &stream};
            CHECK_INT(pthread_create(&thread, NULL, get_on_thread, &work[i]), 0);
            CHECK_INT(pthread_join(thread, NULL), 0);
            CHECK_INT(work[i].rc, 0);
            check_rows(work[i].array.children, (size_t)i * BLOCK_ROWS);
        }
        fp_source_release(&fake->source);
        pthread_t threads[BLOCKS]; /* all at once, and the stream at the same time */
        for (int i = 0; i < BLOCKS; i++)
            CHECK_INT(pthread_create(&threads[i], NULL, release_on_thread, &work[i].array), 0);
        stream.release(&stream);
        for (int i = 0; i < BLOCKS; i++)
            CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
}

/* ------------------------------------------------------------------ errors */

static void damage_fails_one_call_and_is_gone_past(void)
{
    for (source_kind kind = 0; kind < KINDS; kind++) {
        fake_source *fake = source_of_kind(kind);
        fake_source_damage(fake, 1, FAKE_OPENING, 0);
        struct ArrowArrayStream stream = stream_of(fake, NULL);
        struct ArrowArray array = next_of(&stream), untouched;
        check_rows(array.children, 0);
        memset(&untouched, 0x55, sizeof untouched);
        struct ArrowArray before = untouched;
        CHECK_INT(stream.get_next(&stream, &untouched), EIO);
        CHECK(memcmp(&untouched, &before, sizeof before) == 0);
        CHECK(strstr(stream.get_last_error(&stream), "stream.fpb"));
        struct ArrowArray last = next_of(&stream);
        expect_end(&stream);
        stream.release(&stream);
        fp_source_release(&fake->source);
        check_rows(last.children, 2 * BLOCK_ROWS);
        check_rows(array.children, 0);
        last.release(&last);
        array.release(&array);
    }
}

static void an_error_of_the_disk_stays(void)
{
    fake_source *fake = make_source(false);
    struct ArrowArrayStream stream = stream_of(fake, NULL);
    struct ArrowArray array;
    fake->failing = true;
    for (int i = 0; i < 2; i++) {
        CHECK_INT(stream.get_next(&stream, &array), EIO);
        CHECK(strstr(stream.get_last_error(&stream), "fake disk"));
    }
    struct ArrowSchema schema;
    CHECK_INT(stream.get_schema(&stream, &schema), 0);
    CHECK(stream.get_last_error(&stream) == NULL);
    schema.release(&schema);
    stream.release(&stream);
    fp_source_release(&fake->source);
}

static void a_refused_export_leaves_the_cursor(void)
{
    fake_source *fake = make_source(false);
    facpool_cursor *cursor = ask(fake, NULL);
    struct ArrowArrayStream stream;
    facpool_row row = FACPOOL_ROW_INIT;
    CHECK_INT(facpool_cursor_to_arrow(NULL, &stream, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_cursor_to_arrow(cursor, NULL, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
    facpool_cursor_free(cursor);
    fp_source_release(&fake->source);
}

/* Nothing matches: a schema and no array. */
static void an_empty_answer_has_a_schema(void)
{
    fake_source *fake = make_source(false);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    int64_t never = 12345678;
    filter.date_min = &never;
    struct ArrowArrayStream stream = stream_of(fake, &filter);
    struct ArrowSchema schema;
    expect_end(&stream);
    CHECK_INT(stream.get_schema(&stream, &schema), 0);
    CHECK_INT(schema.n_children, 6);
    schema.release(&schema);
    stream.release(&stream);
    fp_source_release(&fake->source);
}

int main(void)
{
    err = (facpool_error)FACPOOL_ERROR_INIT;
    for (int i = 0; i < CODES; i++)
        snprintf(code_names[i], sizeof code_names[i], "%06d", i % 1000);
    RUN(the_schema_names_what_was_asked_for);
    RUN(columns_that_were_not_asked_for_are_not_there);
    RUN(arrays_say_what_the_rows_do_and_outlive_all_else);
    RUN(a_mapped_source_is_pointed_into);
    RUN(memory_of_an_array_s_own_is_aligned);
    RUN(any_stretch_of_rows_is_right);
    RUN(picked_rows_are_right);
    RUN(a_stream_begins_behind_the_last_row_given);
    RUN(a_run_s_result_is_pointed_into_and_kept);
    RUN(a_run_s_failures_come_as_nulls);
    RUN(rows_that_are_not_ok_have_null_factors_and_say_why);
    RUN(where_all_turn_out_ok_failures_are_all_null);
    RUN(children_may_be_moved_and_released_in_any_order);
    RUN(streams_and_arrays_may_be_moved);
    RUN(arrays_are_made_and_released_on_any_thread);
    RUN(damage_fails_one_call_and_is_gone_past);
    RUN(an_error_of_the_disk_stays);
    RUN(a_refused_export_leaves_the_cursor);
    RUN(an_empty_answer_has_a_schema);
    return TEST_END();
}
