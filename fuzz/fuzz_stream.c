/* Arrow C streams into task sets. The bytes choose rows, how their columns are encoded (every type
 * that is taken and many that are not, offsets, slices, dictionaries), and what the producer gets
 * wrong, as far as the C data interface lets a consumer see it: counts that contradict one another,
 * places outside of a buffer whose size is known, calls that fail. Buffers are exactly as long as
 * they must be. It proves that a stream without a mistake gives exactly its rows, that one with a
 * mistake is refused and leaves the output alone, that nothing is called after its end, and that
 * everything handed over is released exactly once. */
#include "stream_columns.h"

#include <facpool/facpool.h>

/* ------------------------------------------------------------------ chunks */

/* A column that is neither of the two: nothing of it is the library's business. */
static struct ArrowArray *make_other_column(plan *p, size_t values)
{
    struct ArrowArray *array = new_array((int64_t)values, 0, 2);
    if (take_rarely(&p->bytes, 3))
        array->length = array->offset = array->n_buffers = -1;
    else
        add_buffer(array, 1, values * 8);
    return array;
}

/* One thing wrong in a chunk of n > 0 rows. */
static void spoil_chunk(plan *p, struct ArrowArray *rows, size_t skip, size_t n)
{
    fuzz_bytes *b = &p->bytes;
    struct ArrowArray *dates = rows->children[p->date_at], *codes = rows->children[p->code_at];
    uint32_t what = take_below(b, 9);
    if ((what == 2 || what == 5) && !codes->dictionary)
        what = 0;
    if (what == 7 &&
        rows->buffers[0]) /* a bitmap that is too short can't be told from a good one */
        what = 6;
    judge(&p->chunks, WRONG);
    switch (what) {
    case 0:
        tell_lie(p, dates, skip + n);
        break;
    case 1:
        tell_lie(p, codes, skip + n);
        break;
    case 2:
        tell_lie(p, codes->dictionary, 1);
        break;
    case 3:
        rows->n_children += take_rarely(b, 2) ? 1 : -1;
        break;
    case 4:
        rows->children[take_rarely(b, 2) ? p->date_at : p->code_at] = NULL;
        break;
    case 5:
        codes->dictionary = NULL;
        break;
    case 6:
        rows->length = -1 - take_byte(b);
        break;
    case 7:
        rows->length += 1 + (int64_t)take_byte(b); /* more rows than values */
        break;
    default:
        tell_lie(p, rows, 0);
    }
}

static struct ArrowArray *make_columns(plan *p, size_t skip, size_t n)
{
    expected_row *rows = &p->rows[p->n_rows];
    struct ArrowArray *chunk = new_array((int64_t)n, (int64_t)skip, 1);
    holding *h = chunk->private_data;
    h->array_list = exact_memory(p->n_columns * sizeof(struct ArrowArray *));
    chunk->children = h->array_list;
    chunk->n_children = p->n_columns;
    for (uint32_t i = 0; i < p->n_columns; i++) {
        h->arrays[i] = i == p->date_at   ? make_dates(p, skip, n, rows)
                       : i == p->code_at ? make_codes(p, skip, n, rows)
                                         : make_other_column(p, skip + n);
        chunk->children[i] = h->arrays[i];
    }
    return chunk;
}

static struct ArrowArray *make_chunk(plan *p)
{
    fuzz_bytes *b = &p->bytes;
    size_t skip = take_below(b, 4), n = take_below(b, ROWS_MAX);
    verdict before = p->chunks;
    struct ArrowArray *chunk = make_columns(p, skip, n);
    if (take_rarely(b, 10))
        make_null(p, chunk, 0, n);
    if (take_rarely(b, 10))
        make_null(p, chunk->children[p->date_at], skip, n);
    if (take_rarely(b, 10))
        make_null(p, chunk->children[p->code_at], skip, n);
    if (n && take_rarely(b, 10))
        spoil_chunk(p, chunk, skip, n);
    if (n == 0)
        p->chunks = before; /* nothing of it is looked at */
    p->n_rows += n;
    return chunk;
}

/* ------------------------------------------------------------------ the schema */

static struct ArrowSchema *make_dictionary_schema(plan *p)
{
    fuzz_bytes *b = &p->bytes;
    struct ArrowSchema *values = new_schema(p->code_format, take_rarely(b, 2) ? "" : NULL);
    if (take_rarely(b, 40)) {
        holding *h = values->private_data;
        h->schema_dictionary = new_schema("u", NULL);
        values->dictionary = h->schema_dictionary;
        judge(&p->schema, WRONG);
    }
    return values;
}

static struct ArrowSchema *make_code_schema(plan *p, const char *name)
{
    if (!p->index_format)
        return new_schema(p->code_format, name);
    struct ArrowSchema *schema = new_schema(p->index_format, name);
    holding *h = schema->private_data;
    h->schema_dictionary = make_dictionary_schema(p);
    schema->dictionary = h->schema_dictionary;
    return schema;
}

/* Columns by their names, wherever they stand, or else the first two. */
static void place_columns(plan *p, const char **names)
{
    static const char *const others[] = {NULL, "", "Date", "CODE", "x", "dates", "\xff"};
    fuzz_bytes *b = &p->bytes;
    for (uint32_t i = 0; i < p->n_columns; i++)
        names[i] = others[take_below(b, 7)];
    p->date_at = 0;
    p->code_at = 1;
    switch (take_below(b, 4)) {
    case 0:
        names[0] = "date";
        names[1] = "code";
        break;
    case 1:
        p->date_at = take_below(b, p->n_columns);
        p->code_at = (p->date_at + 1 + take_below(b, p->n_columns - 1)) % p->n_columns;
        if (p->date_at + 1 < p->n_columns && p->date_at + 1 != p->code_at)
            names[p->date_at + 1] = "date"; /* the first of a name counts */
        names[p->date_at] = "date";
        names[p->code_at] = "code";
        break;
    case 2:
        names[take_below(b, p->n_columns)] = take_rarely(b, 2) ? "date" : "code";
        break;
    default:
        break;
    }
}

static void choose_types(plan *p)
{
    static const char *const text_formats[] = {"u", "U", "vu"};
    static const char *const index_formats[] = {"c", "C", "s", "S", "i", "I", "l", "L"};
    fuzz_bytes *b = &p->bytes;
    p->date_format = date_formats[take_below(b, N_DATE_FORMATS)];
    p->code_format = text_formats[take_below(b, 3)];
    p->index_format = take_rarely(b, 3) ? index_formats[take_below(b, 8)] : NULL;
}

/* One thing wrong in a schema. Columns that are not asked for may be of any type. */
static void spoil_schema(plan *p, struct ArrowSchema *schema)
{
    static const char *const bad_dates[] = {
        "", "f", "u", "tts", "tDs", "ts", "tsq:", "ll", "L", "tdd", "n", "w:4", "+s"};
    static const char *const bad_codes[] = {"", "z", "Z", "l", "vz", "uu", "+s", "n", "w:4", "+r"};
    static const char *const bad_rows[] = {NULL, "", "s", "+l", "+ss", "u", "+w:2", "+us:0,1"};
    fuzz_bytes *b = &p->bytes;
    struct ArrowSchema *dates = schema->children[p->date_at];
    struct ArrowSchema *codes = schema->children[p->code_at];
    holding *h = dates->private_data;
    judge(&p->schema, WRONG);
    switch (take_below(b, 9)) {
    case 0:
        dates->format = bad_dates[take_below(b, 13)];
        break;
    case 1:
        codes->format = bad_codes[take_below(b, 10)];
        if (codes->dictionary && codes->format[0] == 'l') /* an index, if that */
            codes->format = "f";
        break;
    case 2:
        schema->format = bad_rows[take_below(b, 8)];
        break;
    case 3:
        schema->n_children = (int64_t)take_below(b, 2) - take_below(b, 3);
        break;
    case 4:
        schema->children = NULL;
        break;
    case 5:
        schema->children[take_below(b, p->n_columns)] = NULL;
        break;
    case 6:
        schema->children[take_below(b, p->n_columns)]->format = NULL;
        break;
    case 7:
        h->schema_dictionary = new_schema("u", NULL);
        dates->dictionary = h->schema_dictionary;
        dates->format = "i";
        break;
    default:
        if (codes->dictionary)
            codes->dictionary->format = take_rarely(b, 2) ? NULL : bad_codes[take_below(b, 10)];
        else
            codes->format = bad_codes[take_below(b, 10)];
    }
}

static struct ArrowSchema *make_schema(plan *p)
{
    static const char *const other_formats[] = {"g", "l", "+l", "", "u", "no such type"};
    fuzz_bytes *b = &p->bytes;
    const char *names[COLUMNS_MAX];
    p->n_columns = 2 + take_below(b, COLUMNS_MAX - 1);
    choose_types(p);
    place_columns(p, names);
    struct ArrowSchema *schema = new_schema("+s", take_rarely(b, 2) ? "" : NULL);
    holding *h = schema->private_data;
    h->schema_list = exact_memory(p->n_columns * sizeof(struct ArrowSchema *));
    schema->children = h->schema_list;
    schema->n_children = p->n_columns;
    for (uint32_t i = 0; i < p->n_columns; i++) {
        h->schemas[i] = i == p->date_at   ? new_schema(p->date_format, names[i])
                        : i == p->code_at ? make_code_schema(p, names[i])
                                          : new_schema(other_formats[take_below(b, 6)], names[i]);
        schema->children[i] = h->schemas[i];
    }
    if (take_rarely(b, 8))
        spoil_schema(p, schema);
    return schema;
}

/* ------------------------------------------------------------------ the stream */

static void never_release_schema(struct ArrowSchema *schema)
{
    REQUIRE(!schema, "the schema of a call that failed is released");
}

static void never_release_array(struct ArrowArray *array)
{
    REQUIRE(!array, "the array of a call that failed is released");
}

static int give_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    plan *p = stream->private_data;
    REQUIRE(!p->schema_asked && !p->ended, "the schema is asked for twice, or after the end");
    p->schema_asked = true;
    if (p->fail_schema) {
        p->failed = p->ended = true;
        out->release = never_release_schema;
        return p->fail_schema;
    }
    struct ArrowSchema *schema = make_schema(p);
    *out = *schema; /* moved */
    free(schema);
    return 0;
}

static int give_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    plan *p = stream->private_data;
    REQUIRE(p->schema_asked && !p->ended, "rows are asked for before the schema or after the end");
    REQUIRE(p->schema != WRONG && p->chunks != WRONG, "rows are asked for behind a mistake");
    if (p->next == p->n_chunks) {
        p->ended = true;
        p->failed = p->fail_chunks != 0;
        *out = (struct ArrowArray){.release = p->failed ? never_release_array : NULL};
        return p->fail_chunks;
    }
    p->next++;
    struct ArrowArray *chunk = make_chunk(p);
    *out = *chunk; /* moved */
    free(chunk);
    return 0;
}

static const char *give_reason(struct ArrowArrayStream *stream)
{
    plan *p = stream->private_data;
    REQUIRE(p->failed, "a reason is asked for where nothing failed");
    return p->reason[0] ? p->reason : NULL;
}

static void release_stream(struct ArrowArrayStream *stream)
{
    plan *p = stream->private_data;
    p->streams_released++;
    p->ended = true;
    stream->release = NULL;
}

/* ------------------------------------------------------------------ the call */

static int expected_code(const plan *p, bool has_out)
{
    if (!has_out)
        return FACPOOL_E_INVALID;
    if (p->schema == WRONG || p->chunks == WRONG)
        return FACPOOL_E_INVALID;
    return p->failed ? FACPOOL_E_IO : 0;
}

static void check_error(const plan *p, int rc, const facpool_error *err)
{
    size_t length = strnlen(err->message, sizeof err->message);
    REQUIRE(err->code == rc, "%d is returned, %d told", rc, err->code);
    REQUIRE(length > 0 && length < sizeof err->message && is_utf8(err->message, length),
            "a message of %zu bytes", length);
    if (rc == FACPOOL_E_IO)
        REQUIRE(err->os_errno == (p->fail_schema ? p->fail_schema : p->fail_chunks),
                "errno %d is told", err->os_errno);
}

static void check_tasks(const plan *p, const facpool_tasks *tasks)
{
    REQUIRE(facpool_tasks_count(tasks) == p->n_rows, "%zu tasks of %zu rows",
            facpool_tasks_count(tasks), p->n_rows);
    for (size_t i = 0; i < p->n_rows; i++) {
        int64_t date = 0;
        const char *code = NULL;
        REQUIRE(facpool_tasks_get(tasks, i, &date, &code, NULL) == 0, "task %zu", i);
        if (p->rows[i].has_date)
            REQUIRE(date == p->rows[i].date, "task %zu has date %lld, not %lld", i, (long long)date,
                    (long long)p->rows[i].date);
        REQUIRE(strcmp(code, p->rows[i].code) == 0, "task %zu has code '%s', not '%s'", i, code,
                p->rows[i].code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    now = p;
    p->bytes = (fuzz_bytes){data, size};
    fuzz_bytes *b = &p->bytes;
    p->n_chunks = take_below(b, CHUNKS_MAX + 1);
    uint8_t options = take_byte(b);
    p->fail_schema = options % 32 == 31 ? 1 + take_byte(b) : 0;
    p->fail_chunks = options % 32 == 30 ? 1 + take_byte(b) : 0;
    if (p->fail_schema || p->fail_chunks)
        take_raw_text(b, p->reason, sizeof p->reason - 1);
    take_codes(p);
    bool has_out = options / 32 != 7, has_err = options / 32 != 6;
    struct ArrowArrayStream stream = {give_schema, give_next,
                                      options / 32 == 5 ? NULL : give_reason, release_stream, p};
    facpool_tasks *before = (facpool_tasks *)(void *)p, *tasks = before;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = facpool_tasks_from_arrow(has_out ? &tasks : NULL, &stream, has_err ? &err : NULL);
    int expected = expected_code(p, has_out);
    bool open = p->chunks == OPEN && rc == FACPOOL_E_INVALID;
    REQUIRE(rc == expected || open, "%d is returned, not %d: %s", rc, expected, err.message);
    REQUIRE(p->streams_released == 1, "the stream is released %d times", p->streams_released);
    REQUIRE(p->unreleased == 0, "%d schemas and arrays are not released", p->unreleased);
    if (rc && has_err)
        check_error(p, rc, &err);
    if (rc)
        REQUIRE(tasks == before, "the output is touched");
    else if (p->chunks == RIGHT)
        check_tasks(p, tasks);
    if (rc == 0)
        facpool_tasks_free(tasks);
    REQUIRE(facpool_tasks_from_arrow(&tasks, &stream, NULL) == FACPOOL_E_INVALID,
            "a stream that was released is read");
    free(p);
    return 0;
}
