/* Proves that the arrays, children and schemas of a cursor's Arrow stream outlive everything else,
 * moved or not, released in any order and on any thread; and what a stream says where its source is
 * damaged, fails, or has no rows. */
#include <errno.h>
#include <pthread.h>
#include "stream_arrays.h"

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
    make_code_names();
    RUN(children_may_be_moved_and_released_in_any_order);
    RUN(streams_and_arrays_may_be_moved);
    RUN(arrays_are_made_and_released_on_any_thread);
    RUN(damage_fails_one_call_and_is_gone_past);
    RUN(an_error_of_the_disk_stays);
    RUN(a_refused_export_leaves_the_cursor);
    RUN(an_empty_answer_has_a_schema);
    return TEST_END();
}
