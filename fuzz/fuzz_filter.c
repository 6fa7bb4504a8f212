/* Filters over backups that are written once, in each format, alone and as a union of two, and over
 * a run's result. The bytes make a filter (ranges, lists, statuses, columns, orders, flags and
 * sizes, sensible and not), and say how its answer is read: by rows, by batches, by turns, or as an
 * Arrow stream, to the end or not. It proves that the answer is exactly what a plain loop over all
 * rows gives, every field of it, in the order asked for, and that what makes no sense is refused.
 */
#include "filter_world.h"

#include <facpool/arrow.h>

#define LIST_MAX    40
#define ALL_COLUMNS 15u

/* ------------------------------------------------------------------ the question */

typedef struct question {
    facpool_filter filter;
    int64_t date_min;
    int64_t date_max;
    int64_t dates[LIST_MAX];
    const char *codes[LIST_MAX];
    char texts[LIST_MAX][24];
    const char *names[LIST_MAX];
    size_t factors[LIST_MAX]; /* which those are */
    size_t n_factors;
    bool invalid;
    bool no_such_factor;
    /* what is asked */
    facpool_reader *reader; /* NULL: the result */
    bool is_union;
    unsigned formats[N_FILES]; /* of the files */
    stored_row rows[N_KEYS];   /* of each key, that counts there */
    bool expected[N_KEYS];     /* is to be given */
    bool uncertain;            /* the result's blocks are its own affair */
    size_t n_expected;
} question;

static int64_t take_date(fuzz_bytes *b)
{
    if (take_rarely(b, 6))
        return take_wild(b);
    int64_t date = w.dates[take_below(b, N_DATES)];
    return take_rarely(b, 8) && date < INT64_MAX ? date + 1 : date;
}

static void take_dates(question *q, fuzz_bytes *b)
{
    uint8_t which = take_byte(b);
    if (which & 1) {
        q->date_min = take_date(b);
        q->filter.date_min = &q->date_min;
    }
    if (which & 2) {
        q->date_max = take_date(b);
        q->filter.date_max = &q->date_max;
    }
    if ((which & 12) != 12)
        return;
    q->filter.dates = q->dates;
    q->filter.n_dates = take_below(b, LIST_MAX + 1);
    for (size_t i = 0; i < q->filter.n_dates; i++)
        q->dates[i] = take_date(b);
    if (which == 255) {
        q->filter.dates = NULL;
        q->invalid = q->invalid || q->filter.n_dates;
    }
}

static const char *take_code(question *q, fuzz_bytes *b, size_t i)
{
    uint8_t kind = take_byte(b);
    if (kind < 160)
        return w.codes[kind % N_CODES];
    if (kind < 200) /* the beginning of one */
        snprintf(q->texts[i], sizeof q->texts[i], "%.*s", kind % 5, w.codes[kind % N_CODES]);
    else
        take_raw_text(b, q->texts[i], sizeof q->texts[i] - 1);
    return q->texts[i];
}

static void take_codes(question *q, fuzz_bytes *b)
{
    uint8_t which = take_byte(b);
    if (which < 128)
        return;
    q->filter.codes = q->codes;
    q->filter.n_codes = take_below(b, LIST_MAX + 1);
    for (size_t i = 0; i < q->filter.n_codes; i++)
        q->codes[i] = take_code(q, b, i);
    if (which >= 254 && q->filter.n_codes) {
        q->invalid = true;
        q->codes[take_below(b, (uint32_t)q->filter.n_codes)] = NULL;
        if (which == 255)
            q->filter.codes = NULL;
    }
}

static void take_factors(question *q, fuzz_bytes *b)
{
    static const char *const strangers[] = {"", "ma", "MA5", "ma55", "date", "\xff"};
    uint8_t which = take_byte(b);
    q->n_factors = N_FACTORS;
    for (size_t f = 0; f < N_FACTORS; f++)
        q->factors[f] = f;
    if (which < 128)
        return;
    q->filter.factors = q->names;
    q->filter.n_factors = q->n_factors = take_below(b, 8);
    for (size_t i = 0; i < q->n_factors; i++) {
        q->factors[i] = take_below(b, N_FACTORS);
        q->names[i] = factor_names[q->factors[i]];
    }
    if (which < 250 || q->n_factors == 0)
        return;
    q->no_such_factor = which < 254;
    q->invalid = q->invalid || which >= 254;
    q->names[take_below(b, (uint32_t)q->n_factors)] =
        which < 254 ? strangers[take_below(b, 6)] : NULL;
    if (which == 255)
        q->filter.factors = NULL;
}

/* Mostly where a block ends, or next to it. */
static uint64_t take_place(fuzz_bytes *b)
{
    if (!take_rarely(b, 6))
        return 0;
    if (take_rarely(b, 4))
        return (uint64_t)take_wild(b);
    uint64_t end =
        w.ends[take_below(b, N_FORMATS)][take_below(b, N_FILES)][take_below(b, N_BLOCKS)];
    return end - 1 + take_below(b, 3);
}

static void take_flags(question *q, fuzz_bytes *b)
{
    facpool_filter *f = &q->filter;
    f->statuses = take_byte(b) & 0x3e;
    f->columns = take_rarely(b, 2) ? take_byte(b) & ALL_COLUMNS : 0;
    f->order = (int32_t)take_below(b, 3);
    f->skip_bytes = take_place(b);
    switch (take_byte(b)) {
    case 1:
        f->statuses |= 1u << take_below(b, 32);
        break;
    case 2:
        f->columns = 1u << take_below(b, 32);
        break;
    case 3:
        f->order = (int32_t)take_wild(b);
        break;
    case 4:
        f->reserved = (int32_t)take_wild(b);
        break;
    case 5:
        f->columns |= FACPOOL_COLUMN_NONE;
        break;
    case 6:
        f->copy = f->require_zero_copy = 1;
        break;
    case 7:
    case 8:
        f->copy = (int32_t)take_wild(b);
        break;
    case 9:
    case 10:
        f->require_zero_copy = 1;
        break;
    default:
        break;
    }
    bool joined_none = (f->columns & FACPOOL_COLUMN_NONE) && f->columns != FACPOOL_COLUMN_NONE;
    q->invalid = q->invalid || (f->statuses & ~0x3eu) || (f->columns & ~31u) || joined_none ||
                 f->order < 0 || f->order > 2 || f->reserved || (f->copy && f->require_zero_copy);
}

/* ------------------------------------------------------------------ the plain answer */

static bool is_listed(const question *q, int64_t date, const char *code)
{
    const facpool_filter *f = &q->filter;
    bool found = !f->dates;
    for (size_t i = 0; !found && i < f->n_dates; i++)
        found = q->dates[i] == date;
    if (!found || !f->codes)
        return found;
    for (size_t i = 0; i < f->n_codes; i++)
        if (strcmp(q->codes[i], code) == 0)
            return true;
    return false;
}

static bool matches(const question *q, size_t key, const stored_row *row)
{
    const facpool_filter *f = &q->filter;
    int64_t date = w.dates[key / N_CODES];
    uint32_t statuses = f->statuses ? f->statuses : FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK);
    if (!row->status || !(statuses & FACPOOL_STATUS_BIT(row->status)))
        return false;
    if ((f->date_min && date < *f->date_min) || (f->date_max && date > *f->date_max))
        return false;
    if (q->reader && w.ends[q->formats[row->file]][row->file][row->block] <= f->skip_bytes)
        return false;
    return is_listed(q, date, w.codes[key % N_CODES]);
}

/* Of two files' rows: ok before not ok, then the later one, then that of the later path. */
static const stored_row *winner(const stored_row *earlier, const stored_row *later)
{
    bool a = earlier->status == FACPOOL_STATUS_OK, b = later->status == FACPOOL_STATUS_OK;
    if (!earlier->status || !later->status)
        return later->status ? later : earlier;
    if (a != b)
        return b ? later : earlier;
    return later->timestamp >= earlier->timestamp ? later : earlier;
}

static void choose_source(question *q, fuzz_bytes *b)
{
    uint32_t which = take_below(b, 13);
    unsigned format = which % N_FORMATS, other = which / N_FORMATS % 2;
    q->is_union = which >= 6 && which < 12;
    if (which < 12)
        q->reader = q->is_union ? w.both[format][other] : w.alone[format][other];
    q->formats[0] = format;
    q->formats[1] = q->is_union ? (format + 1) % N_FORMATS : format;
    q->uncertain = !q->reader && q->filter.skip_bytes;
    for (size_t key = 0; key < N_KEYS; key++)
        q->rows[key] = !q->reader    ? w.of_result[key]
                       : q->is_union ? *winner(&w.files[other][key], &w.files[!other][key])
                                     : w.files[other][key];
    for (size_t key = 0; key < N_KEYS; key++)
        q->n_expected += q->expected[key] = matches(q, key, &q->rows[key]);
}

/* ------------------------------------------------------------------ holding rows against it */

typedef struct answer {
    const question *q;
    uint32_t columns; /* asked for */
    size_t n;
    size_t last_key; /* N_KEYS: none yet */
    bool seen[N_KEYS];
} answer;

/* A row however it was given; what it has not got is as `has` tells. */
typedef struct given_row {
    uint32_t has;
    int64_t date;
    const char *code;
    size_t code_length;
    int64_t timestamp;
    int status;
    bool has_failure;
    int32_t failure_code;
    const char *message;
    size_t message_length;
    bool factors_unknown; /* whether it has any: its status was not asked for */
    bool has_factors;
    double factors[LIST_MAX];
} given_row;

static size_t find_key(const given_row *row)
{
    for (size_t d = 0; d < N_DATES; d++)
        for (size_t c = 0; w.dates[d] == row->date && c < N_CODES; c++)
            if (strlen(w.codes[c]) == row->code_length &&
                memcmp(w.codes[c], row->code, row->code_length) == 0)
                return d * N_CODES + c;
    return N_KEYS;
}

/* In key order the answer is known row by row, else by its key, where that was asked for. */
static size_t key_of_row(answer *a, const given_row *row)
{
    bool by_key = a->q->filter.order == FACPOOL_ORDER_KEY && !a->q->uncertain;
    bool has_key = (row->has & 3) == 3;
    size_t key = by_key && a->last_key != N_KEYS ? a->last_key + 1 : 0;
    if (!by_key && !has_key)
        return N_KEYS;
    if (!by_key)
        return find_key(row);
    while (key < N_KEYS && !a->q->expected[key])
        key++;
    REQUIRE(key < N_KEYS, "more rows are given than there are");
    return key;
}

static void check_factors(const answer *a, size_t key, const stored_row *row,
                          const given_row *given)
{
    bool ok = row->status == FACPOOL_STATUS_OK;
    REQUIRE(given->factors_unknown || given->has_factors == ok, "factors of status %d",
            row->status);
    for (size_t f = 0; ok && f < a->q->n_factors; f++) {
        double expected = value_of(key, row->file, row->block, a->q->factors[f]);
        REQUIRE(same_value(given->factors[f], expected), "factor %zu of key %zu is %g, not %g", f,
                key, given->factors[f], expected);
    }
}

static void check_row(answer *a, const given_row *given)
{
    size_t key = key_of_row(a, given);
    a->n++;
    if (key == N_KEYS && (given->has & 3) != 3)
        return;
    REQUIRE(key < N_KEYS && a->q->expected[key], "a row is given that was not asked for");
    REQUIRE(!a->seen[key], "key %zu is given twice", key);
    a->seen[key] = true;
    a->last_key = key;
    const stored_row *row = &a->q->rows[key];
    char message[64];
    size_t length = message_of(row, key, message);
    if (given->has & FACPOOL_COLUMN_DATE)
        REQUIRE(given->date == w.dates[key / N_CODES], "date %lld", (long long)given->date);
    if (given->has & FACPOOL_COLUMN_CODE)
        REQUIRE(given->code_length == strlen(w.codes[key % N_CODES]) &&
                    memcmp(given->code, w.codes[key % N_CODES], given->code_length) == 0,
                "the code of key %zu", key);
    if ((given->has & FACPOOL_COLUMN_TIMESTAMP) && a->q->reader)
        REQUIRE(given->timestamp == row->timestamp, "timestamp %lld", (long long)given->timestamp);
    if (given->has & FACPOOL_COLUMN_STATUS)
        REQUIRE(given->status == row->status, "status %d, not %d", given->status, row->status);
    if (given->has_failure)
        REQUIRE(given->failure_code == row->failure_code && given->message_length == length &&
                    memcmp(given->message, message, length) == 0,
                "failure %d of key %zu", given->failure_code, key);
    check_factors(a, key, row, given);
}

/* ------------------------------------------------------------------ by rows and batches */

static int read_row(answer *a, facpool_cursor *cursor, facpool_error *err)
{
    facpool_row row = FACPOOL_ROW_INIT;
    int rc = facpool_cursor_next(cursor, &row, err);
    if (rc <= 0)
        return rc;
    given_row given = {.has = a->columns,
                       .date = row.date,
                       .code = row.code,
                       .code_length = a->columns & FACPOOL_COLUMN_CODE ? strlen(row.code) : 0,
                       .timestamp = row.timestamp,
                       .status = row.status,
                       .has_failure = a->columns & FACPOOL_COLUMN_STATUS,
                       .failure_code = row.failure_code,
                       .message = row.message,
                       .message_length = strlen(row.message),
                       .has_factors = row.factors};
    REQUIRE(row.n_factors == a->q->n_factors, "%zu factors", row.n_factors);
    for (size_t f = 0; row.factors && f < row.n_factors; f++)
        given.factors[f] = row.factors[f];
    check_row(a, &given);
    return 1;
}

static const char *text_at(const int32_t *offsets, const char *bytes, size_t i, size_t *length)
{
    REQUIRE(offsets[i] >= 0 && offsets[i + 1] >= offsets[i], "offsets that go down");
    *length = (size_t)(offsets[i + 1] - offsets[i]);
    return bytes + offsets[i];
}

static void check_view_row(answer *a, const facpool_batch_view *view, size_t i)
{
    given_row given = {.has = a->columns};
    bool ok = view->all_ok || (view->statuses && view->statuses[i] == FACPOOL_STATUS_OK);
    if (view->dates)
        given.date = view->dates[i];
    if (view->code_offsets)
        given.code = text_at(view->code_offsets, view->code_bytes, i, &given.code_length);
    if (view->timestamps)
        given.timestamp = view->timestamps[i];
    if (view->statuses)
        given.status = view->statuses[i];
    if (view->failure_codes) {
        given.has_failure = true;
        given.failure_code = view->failure_codes[i];
        given.message =
            text_at(view->message_offsets, view->message_bytes, i, &given.message_length);
    }
    given.factors_unknown = !view->all_ok && !view->statuses;
    given.has_factors = ok;
    for (size_t f = 0; f < view->n_factors; f++) {
        given.factors[f] = view->factors[f][i];
        REQUIRE(ok || given.factors_unknown || isnan(given.factors[f]),
                "a value of a row that is not ok");
    }
    check_row(a, &given);
}

static int read_batch(answer *a, facpool_cursor *cursor, facpool_error *err)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    int rc = facpool_cursor_next_batch(cursor, &view, err);
    if (rc <= 0)
        return rc;
    const uint32_t c = a->columns;
    REQUIRE(view.n_rows >= 1 && view.n_rows <= 65536, "%zu rows", view.n_rows);
    REQUIRE(view.n_factors == a->q->n_factors, "%zu factors", view.n_factors);
    REQUIRE(!view.dates == !(c & FACPOOL_COLUMN_DATE) &&
                !view.code_offsets == !(c & FACPOOL_COLUMN_CODE) &&
                !view.timestamps == !(c & FACPOOL_COLUMN_TIMESTAMP) &&
                !view.statuses == !(c & FACPOOL_COLUMN_STATUS),
            "other columns than asked for");
    for (size_t i = 0; i < view.n_rows; i++)
        check_view_row(a, &view, i);
    return 1;
}

/* ------------------------------------------------------------------ as Arrow */

/* The columns of a chunk, by their places in the schema; -1: there is none. */
typedef struct places {
    int64_t date, code, timestamp, status, failure_code, message, factors;
} places;

static bool is_null(const struct ArrowArray *column, int64_t i)
{
    const uint8_t *bits = column->buffers[0];
    int64_t at = column->offset + i;
    return column->null_count && bits && !(bits[at / 8] >> at % 8 & 1);
}

static places read_places(const question *q, const struct ArrowSchema *schema)
{
    static const char *const names[] = {"date",   "code",         "timestamp",
                                        "status", "failure_code", "message"};
    places p = {-1, -1, -1, -1, -1, -1, 0};
    int64_t *const fields[] = {&p.date,   &p.code,         &p.timestamp,
                               &p.status, &p.failure_code, &p.message};
    for (int i = 0; i < 6 && p.factors < schema->n_children; i++)
        if (strcmp(schema->children[p.factors]->name, names[i]) == 0)
            *fields[i] = p.factors++;
    REQUIRE(schema->n_children == p.factors + (int64_t)q->n_factors, "%lld columns",
            (long long)schema->n_children);
    for (size_t f = 0; f < q->n_factors; f++)
        REQUIRE(strcmp(schema->children[p.factors + (int64_t)f]->name,
                       factor_names[q->factors[f]]) == 0,
                "the name of factor %zu", f);
    return p;
}

static int64_t number_at(const struct ArrowArray *chunk, int64_t column, int64_t i, size_t bytes)
{
    int64_t value = 0;
    if (column >= 0)
        memcpy(&value,
               (const char *)chunk->children[column]->buffers[1] +
                   (size_t)(chunk->children[column]->offset + i) * bytes,
               bytes);
    return bytes == 4 ? (int32_t)value : value;
}

static const char *arrow_text(const struct ArrowArray *column, int64_t i, size_t *length)
{
    return text_at(column->buffers[1], column->buffers[2], (size_t)(column->offset + i), length);
}

static void check_arrow_row(answer *a, const places *p, const struct ArrowArray *chunk, int64_t i)
{
    given_row given = {.has = a->columns, .has_factors = true};
    given.date = number_at(chunk, p->date, i, 8);
    given.timestamp = number_at(chunk, p->timestamp, i, 8);
    given.status = (int)number_at(chunk, p->status, i, 1);
    if (p->code >= 0)
        given.code = arrow_text(chunk->children[p->code], i, &given.code_length);
    if (p->message >= 0 && !is_null(chunk->children[p->failure_code], i)) {
        given.has_failure = true;
        given.failure_code = (int32_t)number_at(chunk, p->failure_code, i, 4);
        given.message = "";
        if (!is_null(chunk->children[p->message], i))
            given.message = arrow_text(chunk->children[p->message], i, &given.message_length);
    }
    for (int64_t f = 0; f < (int64_t)a->q->n_factors; f++) {
        const struct ArrowArray *column = chunk->children[p->factors + f];
        given.has_factors = given.has_factors && !is_null(column, i);
        memcpy(&given.factors[f], (const double *)column->buffers[1] + (size_t)(column->offset + i),
               sizeof(double));
    }
    if (a->q->n_factors == 0) {
        given.factors_unknown = p->status < 0;
        given.has_factors = given.status == FACPOOL_STATUS_OK;
    }
    check_row(a, &given);
}

static int read_chunk(answer *a, const places *p, struct ArrowArrayStream *stream)
{
    struct ArrowArray chunk = {0};
    int rc = stream->get_next(stream, &chunk);
    REQUIRE(rc == 0, "errno %d: %s", rc, stream->get_last_error(stream));
    if (!chunk.release)
        return 0;
    for (int64_t i = 0; i < chunk.length; i++)
        check_arrow_row(a, p, &chunk, i);
    chunk.release(&chunk);
    return 1;
}

/* Returns whether it was read to its end. */
static bool read_arrow(answer *a, facpool_cursor *cursor, fuzz_bytes *b)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    REQUIRE(facpool_cursor_to_arrow(cursor, &stream, &err) == 0, "%s", err.message);
    REQUIRE(stream.get_schema(&stream, &schema) == 0, "no schema");
    places p = read_places(a->q, &schema);
    schema.release(&schema);
    uint32_t most = take_rarely(b, 6) ? take_below(b, 4) : UINT32_MAX;
    bool whole = false;
    while (most-- > 0 && !whole)
        whole = read_chunk(a, &p, &stream) == 0;
    stream.release(&stream);
    return whole;
}

/* ------------------------------------------------------------------ all of it */

static void check_counts(const answer *a, const facpool_query_stats *stats)
{
    if (a->q->uncertain)
        REQUIRE(a->n <= a->q->n_expected, "%zu rows of %zu", a->n, a->q->n_expected);
    else
        REQUIRE(a->n == a->q->n_expected, "%zu rows, not %zu", a->n, a->q->n_expected);
    if (!stats)
        return;
    REQUIRE(stats->rows_matched == a->n && stats->blocks_damaged == 0, "%llu rows are counted",
            (unsigned long long)stats->rows_matched);
    REQUIRE(stats->blocks_read <= stats->blocks_total && stats->pages_read <= stats->pages_total,
            "more is read than there is");
    if (a->q->reader)
        REQUIRE(stats->blocks_total == (a->q->is_union ? 2 * N_BLOCKS : N_BLOCKS), "%llu blocks",
                (unsigned long long)stats->blocks_total);
}

static void read_answer(const question *q, facpool_cursor *cursor, fuzz_bytes *b)
{
    static answer a; /* too large for the stack of a fuzzer's thread */
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    memset(&a, 0, sizeof a);
    a.q = q;
    a.last_key = N_KEYS;
    a.columns = q->filter.columns ? q->filter.columns & ALL_COLUMNS : ALL_COLUMNS;
    uint8_t how = take_byte(b);
    uint32_t stop_after = how >= 248 ? take_below(b, 300) : UINT32_MAX;
    if (how % 4 == 3 || how % 4 == 2) { /* the first rows as they are, the rest as Arrow */
        for (uint32_t n = how % 4 == 3 ? 0 : take_below(b, 20); n > 0; n--)
            if (read_row(&a, cursor, &err) == 0)
                break;
        if (read_arrow(&a, cursor, b))
            check_counts(&a, NULL);
        return;
    }
    int rc = 1;
    while (rc == 1 && stop_after-- > 0)
        rc = how % 4 == 0 || take_rarely(b, 3) ? read_batch(&a, cursor, &err)
                                               : read_row(&a, cursor, &err);
    REQUIRE(rc >= 0, "%s", err.message);
    REQUIRE(facpool_cursor_stats(cursor, &stats, &err) == 0, "%s", err.message);
    if (rc == 0)
        check_counts(&a, &stats);
    facpool_cursor_free(cursor);
}

/* Whether an error is the one that this question deserves. */
static bool deserves(const question *q, int rc)
{
    if (q->invalid)
        return rc == FACPOOL_E_INVALID;
    if (q->no_such_factor)
        return rc == FACPOOL_E_NOT_FOUND;
    if (q->filter.require_zero_copy && rc == FACPOOL_E_UNSUPPORTED)
        return true;
    return rc == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_made;
    static question q;
    if (!is_made)
        world_make();
    is_made = true;
    fuzz_bytes bytes = {data, size}, *b = &bytes;
    memset(&q, 0, sizeof q);
    q.filter = (facpool_filter)FACPOOL_FILTER_INIT;
    take_dates(&q, b);
    take_codes(&q, b);
    take_factors(&q, b);
    take_flags(&q, b);
    if (!q.invalid)
        choose_source(&q, b);
    else
        q.reader = w.alone[take_below(b, N_FORMATS)][0];
    facpool_cursor *const before = (facpool_cursor *)(void *)&q;
    facpool_cursor *cursor = before;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = q.reader ? facpool_query(q.reader, &q.filter, &cursor, &err)
                      : facpool_result_query(w.result, &q.filter, &cursor, &err);
    REQUIRE(deserves(&q, rc), "%d: %s", rc, err.message);
    if (rc == 0)
        read_answer(&q, cursor, b);
    else
        REQUIRE(cursor == before && err.code == rc && err.message[0], "the cursor is touched");
    return 0;
}
