/* Proves that a cursor's Arrow stream says what the rows do, by the rules of the C data and stream
 * interfaces: its schema, the values of its arrays and where their buffers lie, and rows that are
 * not ok. How long arrays live, and errors, are test_arrow_stream_lives.c. */
#include "stream_arrays.h"

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

int main(void)
{
    make_code_names();
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
    return TEST_END();
}
