/* Task sets from Arrow streams made by hand: every type of date and code, slices, chunks, nulls,
 * streams that fail and arrays that lie. After each import nothing that the stream gave is left
 * unreleased, whatever came of it. */
#include "arrow_arrays.h"
#include "test.h"

#include <facpool/facpool.h>

#include <errno.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static facpool_error err = FACPOOL_ERROR_INIT;

/* Imports the planned stream: the result, or NULL with err filled. */
static facpool_tasks *import(void)
{
    facpool_tasks *tasks = NULL;
    facpool_tasks *untouched = tasks;
    int code = facpool_tasks_from_arrow(&tasks, &stream, &err);
    CHECK_INT(unreleased, 0);
    CHECK_INT(streams_released, 1);
    CHECK(!stream.release);
    if (code) {
        CHECK(tasks == untouched);
        CHECK_INT(err.code, code);
        return NULL;
    }
    CHECK(tasks);
    return tasks;
}

static void check_refused(int code, const char *part_of_message)
{
    facpool_tasks *tasks = import();
    CHECK(!tasks);
    CHECK_INT(err.code, code);
    if (!strstr(err.message, part_of_message))
        printf("  message: %s\n", err.message);
    CHECK(strstr(err.message, part_of_message));
}

static void check_task(const facpool_tasks *tasks, size_t i, int64_t date, const char *code)
{
    int64_t found_date = 0;
    const char *found_code = NULL;
    CHECK_OK(facpool_tasks_get(tasks, i, &found_date, &found_code, &err), err);
    CHECK_INT(found_date, date);
    CHECK_TEXT(found_code, code);
}

static const int64_t dates5[] = {20240102, 20240103, -7, 20240102, INT32_MAX};
static const char *const codes5[] = {"000001", "a code of more than twelve bytes", "x", "平安银行",
                                     "and yet another long code"};

static void check_five(const facpool_tasks *tasks, size_t skip)
{
    CHECK(tasks);
    CHECK_INT(facpool_tasks_count(tasks), 5 - skip);
    for (size_t i = skip; i < 5; i++)
        check_task(tasks, i - skip, dates5[i], codes5[i]);
}

/* ------------------------------------------------------------------ types */

static void codes_of_every_text_type_come_as_they_are_in_slices_too(void)
{
    for (size_t t = 0; t < COUNT(text_formats); t++)
        for (size_t offset = 0; offset < 10; offset += 3)
            for (size_t skip = 0; skip < 5; skip++) {
                begin("l", text_formats[t]);
                chunk(integers(dates5, 5, 8, offset + 1),
                      texts_as(text_formats[t], codes5, 5, offset), skip);
                facpool_tasks *tasks = import();
                check_five(tasks, skip);
                facpool_tasks_free(tasks);
            }
}

static void begin_dictionary(const char *index_format, const char *text_format)
{
    begin("i", index_format);
    plan.schema->children[1]->dictionary = new_schema(text_format, "");
}

static const struct {
    const char *format;
    size_t bytes;
} index_types[] = {{"c", 1}, {"C", 1}, {"s", 2}, {"S", 2}, {"i", 4}, {"I", 4}, {"l", 8}, {"L", 8}};

static void dictionaries_with_every_index_and_text_type_are_read(void)
{
    static const int64_t indexes[] = {2, 0, 2, 1, 0};
    static const char *const values[] = {"a value of many bytes", "000002", "b", "", "not used"};
    for (size_t t = 0; t < COUNT(text_formats); t++)
        for (size_t i = 0; i < COUNT(index_types); i++)
            for (size_t offset = 0; offset < 3; offset++) {
                begin_dictionary(index_types[i].format, text_formats[t]);
                struct ArrowArray *codes = integers(indexes, 5, index_types[i].bytes, offset);
                codes->dictionary = texts_as(text_formats[t], values, 5, offset * 2);
                chunk(integers(dates5, 5, 4, 0), codes, 1);
                facpool_tasks *tasks = import();
                CHECK(tasks);
                CHECK_INT(facpool_tasks_count(tasks), 4);
                for (size_t row = 1; row < 5; row++)
                    check_task(tasks, row - 1, dates5[row], values[indexes[row]]);
                facpool_tasks_free(tasks);
            }
}

static void each_chunk_may_bring_its_own_dictionary_longer_than_itself(void)
{
    static const char *const values[][3] = {{"a", "b", "c"}, {"c", "d", "a"}, {"e", "a", "b"}};
    static const int64_t index = 1;
    begin_dictionary("c", "u");
    for (size_t i = 0; i < 3; i++) {
        struct ArrowArray *codes = integers(&index, 1, 1, 0);
        codes->dictionary = texts_as("u", values[i], 3, 0);
        chunk(integers(dates5, 1, 4, 0), codes, 0);
    }
    facpool_tasks *tasks = import();
    CHECK_INT(facpool_tasks_count(tasks), 3);
    check_task(tasks, 0, dates5[0], "b");
    check_task(tasks, 1, dates5[0], "d");
    check_task(tasks, 2, dates5[0], "a");
    facpool_tasks_free(tasks);
}

static void unsigned_indexes_reach_twice_as_far(void)
{
    char texts[256][4];
    const char *values[256];
    int64_t indexes[256], dates[256];
    for (size_t i = 0; i < 256; i++) {
        snprintf(texts[i], sizeof texts[i], "%zu", i);
        values[i] = texts[i];
        indexes[i] = dates[i] = 255 - (int64_t)i;
    }
    begin_dictionary("C", "u");
    struct ArrowArray *codes = integers(indexes, 256, 1, 0);
    codes->dictionary = texts_as("u", values, 256, 0);
    chunk(integers(dates, 256, 4, 0), codes, 0);
    facpool_tasks *tasks = import();
    CHECK(tasks);
    for (size_t i = 0; i < 256; i++)
        check_task(tasks, i, dates[i], texts[255 - i]);
    facpool_tasks_free(tasks);
}

/* One date by its type; the code is "x". */
static int64_t date_of(const char *format, size_t bytes, int64_t value)
{
    begin(format, "u");
    chunk(integers(&value, 1, bytes, 2), texts_as("u", &codes5[2], 1, 0), 0);
    facpool_tasks *tasks = import();
    CHECK(tasks);
    int64_t date = 0;
    CHECK_OK(facpool_tasks_get(tasks, 0, &date, NULL, &err), err);
    facpool_tasks_free(tasks);
    return date;
}

static void dates_of_every_type_become_their_calendar_day(void)
{
    CHECK_INT(date_of("i", 4, INT32_MIN), INT32_MIN);
    CHECK_INT(date_of("l", 8, INT64_MIN), INT64_MIN);
    CHECK_INT(date_of("l", 8, INT64_MAX), INT64_MAX);
    CHECK_INT(date_of("tdD", 4, 19724), 20240102);
    CHECK_INT(date_of("tdm", 8, 19724 * INT64_C(86400000)), 20240102);
    CHECK_INT(date_of("tss:", 8, 19724 * INT64_C(86400) + 86399), 20240102);
    CHECK_INT(date_of("tsm:UTC", 8, 19724 * INT64_C(86400000) + 86399999), 20240102);
    CHECK_INT(date_of("tsu:Asia/Shanghai", 8, 19724 * INT64_C(86400000000)), 20240102);
    CHECK_INT(date_of("tsn:", 8, 19724 * INT64_C(86400000000000) - 1), 20240101);
    CHECK_INT(date_of("tsn:", 8, -1), 19691231);
    CHECK_INT(date_of("tss:", 8, 0), 19700101);
    CHECK_INT(date_of("tdm", 8, -1), 19691231);
}

static void the_farthest_dates_do_not_overflow(void)
{
    CHECK_INT(date_of("tsn:", 8, INT64_MIN), 16770921);
    CHECK_INT(date_of("tsn:", 8, INT64_MAX), 22620411);
    CHECK_INT(date_of("tdD", 4, INT32_MAX), INT64_C(58815800711));
    CHECK_INT(date_of("tss:", 8, INT64_MAX), INT64_C(2922770265961204));
    CHECK(date_of("tss:", 8, INT64_MIN) < -INT64_C(2922770000000000));
    CHECK(date_of("tdm", 8, INT64_MIN) < -INT64_C(2922000000000));
}

static int days_in_month(int64_t year, int month)
{
    if (month == 2)
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* Counted day by day, from 801 BC to 2800. */
static void every_day_of_nine_cycles_is_the_one_that_counting_gives(void)
{
    enum { FIRST = -719528 - 146097 * 2, N = 146097 * 9 };
    int64_t *days = exact(N * sizeof *days);
    const char **codes = exact(N * sizeof *codes);
    for (int64_t i = 0; i < N; i++) {
        days[i] = FIRST + i;
        codes[i] = "x";
    }
    begin("tdD", "u");
    chunk(integers(days, N, 4, 0), texts_as("u", codes, N, 0), 0);
    free(codes);
    free(days);
    facpool_tasks *tasks = import();
    int64_t year = -800, date = 0;
    int month = 1, day = 1;
    for (size_t i = 0; i < N; i++) {
        CHECK_OK(facpool_tasks_get(tasks, i, &date, NULL, &err), err);
        CHECK_INT(date, year * 10000 + month * 100 + day);
        if (++day > days_in_month(year, month)) {
            day = 1;
            month = month % 12 + 1;
            year += month == 1;
        }
    }
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ columns and chunks */

static void columns_are_found_by_name_or_are_the_first_two(void)
{
    static const char *const names[][3] = {{"code", "close", "date"},
                                           {"day", "symbol", "x"},
                                           {"Date", "code", "date_"},
                                           {NULL, NULL, NULL}};
    for (size_t i = 0; i < COUNT(names); i++) {
        begin("l", "u");
        struct ArrowSchema *schema = plan.schema;
        struct ArrowArray *rows = chunk(integers(dates5, 5, 8, 0), texts_as("u", codes5, 5, 0), 0);
        schema->n_children = rows->n_children = 3;
        schema->children[2] = new_schema("g", NULL);
        rows->children[2] = integers(dates5, 5, 8, 0);
        if (i == 0) { /* by name: the date is last */
            struct ArrowSchema *date = schema->children[0];
            schema->children[0] = schema->children[1];
            schema->children[1] = schema->children[2];
            schema->children[2] = date;
            struct ArrowArray *dates = rows->children[0];
            rows->children[0] = rows->children[1];
            rows->children[1] = rows->children[2];
            rows->children[2] = dates;
        }
        for (size_t c = 0; c < 3; c++)
            schema->children[c]->name = names[i][c];
        facpool_tasks *tasks = import();
        check_five(tasks, 0);
        facpool_tasks_free(tasks);
    }
}

static void chunks_of_any_size_follow_one_another(void)
{
    begin("l", "vu");
    size_t total = 0;
    for (size_t i = 0; i < CHUNKS_MAX; i++) {
        size_t n = i % 6;
        chunk(integers(dates5, n, 8, 0), texts_as("vu", codes5, n, 0), 0);
        total += n;
    }
    facpool_tasks *tasks = import();
    CHECK(tasks);
    CHECK_INT(facpool_tasks_count(tasks), total);
    facpool_tasks_free(tasks);
}

static void a_stream_without_rows_gives_an_empty_list_that_can_be_added_to(void)
{
    begin("tdD", "U");
    facpool_tasks *tasks = import();
    CHECK_INT(facpool_tasks_count(tasks), 0);
    CHECK_OK(facpool_tasks_add(tasks, 1, "a", &err), err);
    facpool_tasks_free(tasks);

    begin("tdD", "U");
    struct ArrowArray *rows = chunk(new_array(0, 0, 2), new_array(0, 0, 3), 0);
    rows->buffers[0] = NULL;
    tasks = import();
    CHECK_INT(facpool_tasks_count(tasks), 0);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ nulls and bad codes */

/* Two chunks of the five rows; what is spoiled lies in the second. */
static struct ArrowArray *two_chunks(void)
{
    begin("l", "u");
    chunk(integers(dates5, 5, 8, 0), texts_as("u", codes5, 5, 0), 0);
    return chunk(integers(dates5, 5, 8, 9), texts_as("u", codes5, 5, 2), 1);
}

static void nulls_are_refused_with_their_row(void)
{
    set_null(two_chunks()->children[0], 3);
    check_refused(FACPOOL_E_INVALID, "date is null in row 7");
    set_null(two_chunks()->children[1], 1);
    check_refused(FACPOOL_E_INVALID, "code is null in row 5");
    struct ArrowArray *rows = two_chunks();
    set_null(rows, 3);
    rows->null_count = -1; /* not counted */
    check_refused(FACPOOL_E_INVALID, "row is null in row 8");
    two_chunks()->children[1]->null_count = 2;
    check_refused(FACPOOL_E_INVALID, "2 nulls");
}

static void nulls_outside_of_the_slice_and_unused_ones_do_no_harm(void)
{
    struct ArrowArray *rows = two_chunks();
    set_null(rows->children[0], 0);
    set_null(rows->children[1], 0);
    facpool_tasks *tasks = import();
    CHECK(tasks);
    CHECK_INT(facpool_tasks_count(tasks), 9);
    facpool_tasks_free(tasks);
}

static void a_null_in_a_dictionary_is_refused_where_a_row_uses_it(void)
{
    static const int64_t indexes[][2] = {{0, 2}, {0, 1}};
    for (int used = 0; used < 2; used++) {
        begin_dictionary("s", "vu");
        struct ArrowArray *codes = integers(indexes[used], 2, 2, 1);
        codes->dictionary = texts_as("vu", codes5, 3, 1);
        set_null(codes->dictionary, 1);
        chunk(integers(dates5, 2, 4, 0), codes, 0);
        if (used) {
            check_refused(FACPOOL_E_INVALID, "row 1 is a null of its dictionary");
        } else {
            facpool_tasks *tasks = import();
            CHECK(tasks);
            facpool_tasks_free(tasks);
        }
    }
}

static void bad_codes_are_refused_with_their_row(void)
{
    static char long_code[300];
    memset(long_code, 'x', sizeof long_code - 1);
    const struct {
        const char *code;
        const char *message;
    } bad[] = {{"", "code of row 6: is empty"},
               {long_code, "longer than 255"},
               {"\xff\xfe", "row 6: '"},
               {"half a \xe5\xb9", "not valid UTF-8"}};
    for (size_t i = 0; i < COUNT(bad); i++)
        for (size_t t = 0; t < COUNT(text_formats); t++) {
            const char *codes[] = {"a", bad[i].code};
            begin("l", text_formats[t]);
            chunk(integers(dates5, 5, 8, 0), texts_as(text_formats[t], codes5, 5, 0), 0);
            chunk(integers(dates5, 2, 8, 0), texts_as(text_formats[t], codes, 2, 0), 0);
            check_refused(FACPOOL_E_INVALID, bad[i].message);
            CHECK(strstr(err.message, "row 6"));
        }
    long_code[255] = '\0';
    const char *longest = long_code;
    begin("l", "u");
    chunk(integers(dates5, 1, 8, 0), texts_as("u", &longest, 1, 0), 0);
    facpool_tasks *tasks = import();
    check_task(tasks, 0, dates5[0], long_code);
    facpool_tasks_free(tasks);
}

static void a_code_with_a_nul_inside_is_refused(void)
{
    begin("l", "u");
    struct ArrowArray *codes = texts_as("u", codes5, 5, 0);
    ((char *)(uintptr_t)codes->buffers[2])[3 + 2] = '\0';
    chunk(integers(dates5, 5, 8, 0), codes, 0);
    check_refused(FACPOOL_E_INVALID, "row 0: '00' goes on behind a NUL");
}

/* ------------------------------------------------------------------ what is no task set */

static void other_types_are_refused_by_name(void)
{
    static const char *const dates[] = {"f",   "g",    "u", "s", "L", "tts",
                                        "tdd", "tdDx", "",  "n", "ts"};
    for (size_t i = 0; i < COUNT(dates); i++) {
        begin(dates[i], "u");
        check_refused(FACPOOL_E_INVALID, "date column 'date'");
        CHECK(strstr(err.message, dates[i]));
    }
    static const char *const codes[] = {"z", "i", "vz", "+l", "uu", "", "n", "w:6"};
    for (size_t i = 0; i < COUNT(codes); i++) {
        begin("i", codes[i]);
        check_refused(FACPOOL_E_INVALID, "code column 'code'");
    }
    begin_dictionary("f", "u");
    check_refused(FACPOOL_E_INVALID, "integer indexes");
    begin_dictionary("i", "z");
    check_refused(FACPOOL_E_INVALID, "dictionary of Arrow type 'z'");
    begin_dictionary("i", "u");
    plan.schema->children[1]->dictionary->dictionary = new_schema("u", "");
    check_refused(FACPOOL_E_INVALID, "dictionary within a dictionary");
    begin("i", "u");
    plan.schema->children[0]->dictionary = new_schema("l", "");
    check_refused(FACPOOL_E_INVALID, "a dictionary");
}

static void streams_that_are_no_tables_are_refused(void)
{
    begin("i", "u");
    plan.schema->format = "i";
    check_refused(FACPOOL_E_INVALID, "'i'");
    begin("i", "u");
    plan.schema->format = NULL;
    check_refused(FACPOOL_E_INVALID, "not rows");
    begin("i", "u");
    plan.schema->children[0]->format = NULL;
    check_refused(FACPOOL_E_INVALID, "column 0");
    begin("i", "u");
    struct ArrowSchema *code = plan.schema->children[1];
    code->release(code);
    free(code);
    plan.schema->n_children = 1;
    check_refused(FACPOOL_E_INVALID, "1 columns");
}

static void streams_that_fail_give_their_own_message(void)
{
    begin("i", "u");
    plan.fail_schema = EPERM;
    plan.reason = "no schema today";
    check_refused(FACPOOL_E_IO, "no schema today");
    CHECK_INT(err.os_errno, EPERM);
    two_chunks();
    plan.fail_at_end = EIO;
    plan.reason = "the disk is on fire";
    check_refused(FACPOOL_E_IO, "the disk is on fire");
    CHECK_INT(err.os_errno, EIO);
    two_chunks();
    plan.fail_at_end = ENOSYS;
    check_refused(FACPOOL_E_IO, "does not say why");
    two_chunks();
    plan.fail_at_end = EIO;
    stream.get_last_error = NULL;
    check_refused(FACPOOL_E_IO, "does not say why");
}

static void a_stream_is_needed_and_released_even_without_a_place_for_the_tasks(void)
{
    facpool_tasks *tasks = NULL;
    CHECK_INT(facpool_tasks_from_arrow(&tasks, NULL, &err), FACPOOL_E_INVALID);
    two_chunks();
    CHECK_INT(facpool_tasks_from_arrow(NULL, &stream, &err), FACPOOL_E_INVALID);
    CHECK_INT(unreleased, 0);
    CHECK_INT(streams_released, 1);
    CHECK_INT(facpool_tasks_from_arrow(&tasks, &stream, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "released already"));
    CHECK_INT(streams_released, 1);
    CHECK(!tasks);
}

/* ------------------------------------------------------------------ arrays that lie */

static void spoil_shape(struct ArrowArray *array, int how)
{
    switch (how) {
    case 0:
        array->length--;
        break;
    case 1:
        array->offset = -1;
        break;
    case 2:
        array->length = -5;
        break;
    case 3:
        array->offset = INT64_MAX;
        break;
    case 4:
        array->buffers[1] = NULL;
        break;
    default:
        array->n_buffers = 1;
        break;
    }
}

static void columns_that_are_too_short_or_have_no_shape_are_refused(void)
{
    for (int column = 0; column < 2; column++)
        for (int how = 0; how < 6; how++) {
            spoil_shape(two_chunks()->children[column], how);
            check_refused(FACPOOL_E_INVALID, "the stream is broken");
        }
    two_chunks()->offset = -1;
    check_refused(FACPOOL_E_INVALID, "the stream is broken");
    two_chunks()->length = INT64_MIN;
    check_refused(FACPOOL_E_INVALID, "the stream is broken");
    two_chunks()->length = INT64_MAX;
    check_refused(FACPOOL_E_INVALID, "the stream is broken");
    two_chunks()->n_buffers = 0;
    check_refused(FACPOOL_E_INVALID, "the stream is broken");
    begin("l", "u");
    struct ArrowArray *rows = chunk(integers(dates5, 5, 8, 0), texts_as("u", codes5, 5, 0), 0);
    struct ArrowArray *code = rows->children[1];
    code->release(code);
    free(code);
    rows->n_children = 1;
    check_refused(FACPOOL_E_INVALID, "1 columns in a stream of 2");
}

static void offsets_that_run_backwards_or_below_zero_are_refused(void)
{
    for (int wide = 0; wide < 2; wide++)
        for (int how = 0; how < 3; how++) {
            begin("l", wide ? "U" : "u");
            struct ArrowArray *codes = texts_by_offsets(codes5, 5, wide ? 8 : 4, 0);
            put_integer((char *)(uintptr_t)codes->buffers[1], how == 2 ? 0 : 2, wide ? 8 : 4,
                        how == 0 ? 1 : -4);
            chunk(integers(dates5, 5, 8, 0), codes, 0);
            check_refused(FACPOOL_E_INVALID, "outside of its buffer");
        }
    begin("l", "u");
    struct ArrowArray *codes = texts_as("u", codes5, 5, 0);
    codes->buffers[2] = NULL;
    chunk(integers(dates5, 5, 8, 0), codes, 0);
    check_refused(FACPOOL_E_INVALID, "code of row 0 lies outside");
}

static void views_that_point_elsewhere_are_refused(void)
{
    static const struct {
        size_t word; /* length, prefix, buffer, offset */
        int64_t value;
    } lies[] = {{0, -1}, {0, INT32_MAX}, {0, 34}, {2, 2}, {2, -1}, {3, 1000}, {3, -1}, {3, 1}};
    for (size_t i = 0; i < COUNT(lies); i++) {
        begin("l", "vu");
        struct ArrowArray *codes = texts_by_views(&codes5[1], 1, 0);
        put_integer((char *)(uintptr_t)codes->buffers[1], lies[i].word, 4, lies[i].value);
        chunk(integers(dates5, 1, 8, 0), codes, 0);
        check_refused(FACPOOL_E_INVALID, "code of row 0 lies outside");
    }
    for (int lost = 2; lost <= 4; lost += 2) { /* the data, the sizes */
        begin("l", "vu");
        static const char *const codes3[] = {"one of thirteen", "two of thirteen", "three of them"};
        struct ArrowArray *codes = texts_by_views(codes3, 3, 0);
        codes->buffers[lost] = NULL;
        chunk(integers(dates5, 3, 8, 0), codes, 2);
        check_refused(FACPOOL_E_INVALID, "code of row 0 lies outside");
    }
}

static void indexes_outside_of_their_dictionary_are_refused(void)
{
    static const int64_t bad[] = {3, -1, 127};
    for (size_t i = 0; i < COUNT(bad); i++)
        for (size_t t = 0; t < COUNT(index_types); t++) {
            const int64_t indexes[] = {0, 1, bad[i], 2};
            begin_dictionary(index_types[t].format, "u");
            struct ArrowArray *codes = integers(indexes, 4, index_types[t].bytes, 0);
            codes->dictionary = texts_as("u", codes5, 3, 0);
            chunk(integers(dates5, 4, 4, 0), codes, 0);
            check_refused(FACPOOL_E_INVALID, "of a dictionary of 3");
            CHECK(strstr(err.message, "row 2"));
        }
}

static void dictionaries_without_shape_are_refused(void)
{
    static const int64_t index = 0;
    for (int how = 1; how < 6; how++) {
        begin_dictionary("c", "u");
        struct ArrowArray *codes = integers(&index, 1, 1, 0);
        codes->dictionary = texts_as("u", codes5, 3, 0);
        spoil_shape(codes->dictionary, how);
        chunk(integers(dates5, 1, 4, 0), codes, 0);
        check_refused(FACPOOL_E_INVALID, "dictionary");
    }
    begin_dictionary("c", "u");
    chunk(integers(dates5, 1, 4, 0), integers(&index, 1, 1, 0), 0);
    check_refused(FACPOOL_E_INVALID, "no array");
}

int main(void)
{
    RUN(codes_of_every_text_type_come_as_they_are_in_slices_too);
    RUN(dictionaries_with_every_index_and_text_type_are_read);
    RUN(unsigned_indexes_reach_twice_as_far);
    RUN(each_chunk_may_bring_its_own_dictionary_longer_than_itself);
    RUN(dates_of_every_type_become_their_calendar_day);
    RUN(the_farthest_dates_do_not_overflow);
    RUN(every_day_of_nine_cycles_is_the_one_that_counting_gives);
    RUN(columns_are_found_by_name_or_are_the_first_two);
    RUN(chunks_of_any_size_follow_one_another);
    RUN(a_stream_without_rows_gives_an_empty_list_that_can_be_added_to);
    RUN(nulls_are_refused_with_their_row);
    RUN(nulls_outside_of_the_slice_and_unused_ones_do_no_harm);
    RUN(a_null_in_a_dictionary_is_refused_where_a_row_uses_it);
    RUN(bad_codes_are_refused_with_their_row);
    RUN(a_code_with_a_nul_inside_is_refused);
    RUN(other_types_are_refused_by_name);
    RUN(streams_that_are_no_tables_are_refused);
    RUN(streams_that_fail_give_their_own_message);
    RUN(a_stream_is_needed_and_released_even_without_a_place_for_the_tasks);
    RUN(columns_that_are_too_short_or_have_no_shape_are_refused);
    RUN(offsets_that_run_backwards_or_below_zero_are_refused);
    RUN(views_that_point_elsewhere_are_refused);
    RUN(indexes_outside_of_their_dictionary_are_refused);
    RUN(dictionaries_without_shape_are_refused);
    return TEST_END();
}
