/* Task sets from an Arrow stream (C stream interface): takes the stream chunk by chunk, finds the
 * date and the code column, and adds their rows to a list. Called by users of the public header;
 * releases whatever the stream gave, and the stream, on every path. */
#include "model/arrow_columns.h"
#include "model/tasks.h"

#include "base/error.h"

#include <string.h>

/* How a date column is stored: as plain numbers, or in units of which so many make a day. */
typedef struct date_type {
    uint32_t bytes;
    int64_t units_per_day; /* 0: plain numbers */
} date_type;

/* Where in each chunk the columns are, and what they are made of. */
typedef struct chunk_layout {
    int64_t n_columns;
    int64_t date_at;
    int64_t code_at;
    date_type date;
    fp_arrow_code_type code;
} chunk_layout;

/* ------------------------------------------------------------------ the schema */

static int read_date_type(date_type *out, const struct ArrowSchema *column, facpool_error *err)
{
    static const struct {
        const char *format;
        bool is_prefix; /* a time zone follows */
        date_type type;
    } known[] = {
        {"i", false, {4, 0}},
        {"l", false, {8, 0}},
        {"tdD", false, {4, 1}},
        {"tdm", false, {8, INT64_C(86400000)}},
        {"tss:", true, {8, INT64_C(86400)}},
        {"tsm:", true, {8, INT64_C(86400000)}},
        {"tsu:", true, {8, INT64_C(86400000000)}},
        {"tsn:", true, {8, INT64_C(86400000000000)}},
    };
    const char *format = column->format;
    for (size_t i = 0; i < sizeof known / sizeof known[0] && !column->dictionary; i++) {
        if (known[i].is_prefix ? strncmp(format, known[i].format, strlen(known[i].format)) == 0
                               : strcmp(format, known[i].format) == 0) {
            *out = known[i].type;
            return 0;
        }
    }
    return fp_fail(
        err, FACPOOL_E_INVALID,
        "the date column '%s' is %s of Arrow type '%s': give int32, int64, date32, date64 "
        "or a timestamp",
        column->name ? column->name : "", column->dictionary ? "a dictionary" : "a column", format);
}

/* The first column of that name, or -1. */
static int64_t find_column(const struct ArrowSchema *schema, const char *name)
{
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i]->name && strcmp(schema->children[i]->name, name) == 0)
            return i;
    return -1;
}

static int check_schema(const struct ArrowSchema *schema, facpool_error *err)
{
    if (!schema->format || strcmp(schema->format, "+s") != 0)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the Arrow stream has values of type '%s', not rows of columns: give a "
                       "stream of record batches",
                       schema->format ? schema->format : "");
    if (schema->n_children < 2 || !schema->children)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the Arrow stream has %lld columns: give two, date and code",
                       (long long)schema->n_children);
    for (int64_t i = 0; i < schema->n_children; i++)
        if (!schema->children[i] || !schema->children[i]->format)
            return fp_fail(err, FACPOOL_E_INVALID,
                           "column %lld of the Arrow stream has no type: the stream is broken",
                           (long long)i);
    return 0;
}

static int read_layout(chunk_layout *out, const struct ArrowSchema *schema, facpool_error *err)
{
    int failure = check_schema(schema, err);
    if (failure)
        return failure;
    chunk_layout found = {
        schema->n_children, find_column(schema, "date"), find_column(schema, "code"), {0, 0}, {0}};
    if (found.date_at < 0 || found.code_at < 0) {
        found.date_at = 0;
        found.code_at = 1;
    }
    failure = read_date_type(&found.date, schema->children[found.date_at], err);
    if (!failure)
        failure = fp_arrow_code_type_read(&found.code, schema->children[found.code_at], err);
    if (!failure)
        *out = found;
    return failure;
}

/* ------------------------------------------------------------------ dates */

static int64_t divide_down(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

/* The day that is `days` after 1970-01-01 in the proleptic Gregorian calendar, as year * 10000 +
 * month * 100 + day (which orders days before the year 1 too). Years are counted from 1 March of
 * the year 0, so that the leap day is the last of its year, its century, and its 400 years. */
static int64_t calendar_day(int64_t days)
{
    enum { DAYS_4 = 1461, DAYS_100 = 36524, DAYS_400 = 146097, DAYS_TO_1970 = 719468 };
    days += DAYS_TO_1970;
    int64_t cycle = divide_down(days, DAYS_400);
    int64_t day = days - cycle * DAYS_400;
    int64_t century = day / DAYS_100 < 3 ? day / DAYS_100 : 3;
    day -= century * DAYS_100;
    int64_t leap_cycle = day / DAYS_4;
    day -= leap_cycle * DAYS_4;
    int64_t in_cycle = day / 365 < 3 ? day / 365 : 3;
    day -= in_cycle * 365;
    int64_t year = cycle * 400 + century * 100 + leap_cycle * 4 + in_cycle;
    /* From March on months have 31, 30, 31, 30, 31 days, again and again: 153 in five. */
    int64_t month = (5 * day + 2) / 153;
    int64_t day_of_month = day - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    return (year + (month <= 2)) * 10000 + month * 100 + day_of_month;
}

static void read_dates(int64_t *dates, const date_type *type, const fp_arrow_span *span)
{
    const void *values = span->array->buffers[1];
    int64_t last_day = 0; /* neighbours often share their day */
    int64_t last_date = calendar_day(0);
    for (size_t i = 0; i < span->n; i++) {
        dates[i] = (int64_t)fp_arrow_integer(values, span->first + i, type->bytes, true);
        if (!type->units_per_day)
            continue;
        int64_t day = divide_down(dates[i], type->units_per_day);
        if (day != last_day) {
            last_day = day;
            last_date = calendar_day(day);
        }
        dates[i] = last_date;
    }
}

/* ------------------------------------------------------------------ chunks */

static int add_chunk(facpool_tasks *tasks, const chunk_layout *layout,
                     const struct ArrowArray *chunk, facpool_error *err)
{
    if (chunk->length == 0)
        return 0;
    size_t row = tasks->count;
    size_t n = (size_t)chunk->length;
    fp_arrow_span rows, dates, codes;
    int failure = fp_arrow_span_open(&rows, chunk, 0, n, 1, "the row", row, err);
    if (!failure && (chunk->n_children != layout->n_columns || !chunk->children))
        failure =
            fp_fail(err, FACPOOL_E_INVALID,
                    "row %zu begins a chunk of %lld columns in a stream of %lld: the stream is "
                    "broken",
                    row, (long long)chunk->n_children, (long long)layout->n_columns);
    if (!failure)
        failure = fp_arrow_span_open(&dates, chunk->children[layout->date_at], rows.first, n, 2,
                                     "the date", row, err);
    if (!failure)
        failure = fp_arrow_span_open(&codes, chunk->children[layout->code_at], rows.first, n,
                                     layout->code.n_buffers, "the code", row, err);
    if (!failure)
        failure = fp_tasks_reserve(tasks, n, err);
    if (failure)
        return failure;
    read_dates(tasks->dates + row, &layout->date, &dates);
    failure =
        fp_arrow_codes_intern(&tasks->codes, tasks->code_ids + row, &layout->code, &codes, err);
    if (!failure)
        tasks->count += n;
    return failure;
}

static int fail_stream(struct ArrowArrayStream *stream, int os_errno, const char *what,
                       facpool_error *err)
{
    const char *reason = stream->get_last_error ? stream->get_last_error(stream) : NULL;
    return fp_fail_errno(err, FACPOOL_E_IO, os_errno, "the Arrow stream gave no %s: %s", what,
                         reason ? reason : "it does not say why");
}

static int add_chunks(facpool_tasks *tasks, const chunk_layout *layout,
                      struct ArrowArrayStream *stream, facpool_error *err)
{
    for (;;) {
        struct ArrowArray chunk = {0};
        int os_errno = stream->get_next(stream, &chunk);
        if (os_errno)
            return fail_stream(stream, os_errno, "rows", err);
        if (!chunk.release)
            return 0;
        int failure = add_chunk(tasks, layout, &chunk, err);
        chunk.release(&chunk);
        if (failure)
            return failure;
    }
}

static int add_stream(facpool_tasks *tasks, struct ArrowArrayStream *stream, facpool_error *err)
{
    struct ArrowSchema schema = {0};
    int os_errno = stream->get_schema(stream, &schema);
    if (os_errno)
        return fail_stream(stream, os_errno, "schema", err);
    chunk_layout layout;
    int failure = read_layout(&layout, &schema, err);
    if (schema.release)
        schema.release(&schema);
    return failure ? failure : add_chunks(tasks, &layout, stream, err);
}

int facpool_tasks_from_arrow(facpool_tasks **out, struct ArrowArrayStream *stream,
                             facpool_error *err)
{
    if (!stream || !stream->release)
        return fp_fail(err, FACPOOL_E_INVALID, "the Arrow stream is %s: give one that is open",
                       stream ? "released already" : "NULL");
    facpool_tasks *tasks = NULL;
    int failure =
        out ? facpool_tasks_new(&tasks, err)
            : fp_fail(err, FACPOOL_E_INVALID, "out is NULL: give a place for the task set");
    if (!failure)
        failure = add_stream(tasks, stream, err);
    stream->release(stream);
    if (failure) {
        facpool_tasks_free(tasks);
        return failure;
    }
    *out = tasks;
    return 0;
}
