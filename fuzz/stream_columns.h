/* The columns of the Arrow arrays that fuzz_stream.c gives to the library: dates, codes as texts of
 * every kind, dictionaries, and what can be wrong with them, all chosen by the fuzzer's bytes. What
 * an array truly consists of is kept apart from what it says of itself, so that a lie is released
 * well, and each array is seen to be released once. Beside the arrays it notes the rows they stand
 * for, and whether the library must take them. */
#ifndef FP_FUZZ_STREAM_COLUMNS_H
#define FP_FUZZ_STREAM_COLUMNS_H

#include "bytes.h"

#include <facpool/arrow.h>
#include <time.h>

#define CHUNKS_MAX  5
#define ROWS_MAX    24
#define COLUMNS_MAX 5
#define BUFFERS_MAX 5
#define CODES_MAX   24
#define CODE_ROOM   320

/* ------------------------------------------------------------------ what is to come of it */

typedef struct expected_row {
    int64_t date;
    bool has_date; /* false: beyond what the C library's calendar counts */
    const char *code;
} expected_row;

/* OPEN: either will do. */
typedef enum verdict { RIGHT, OPEN, WRONG } verdict;

typedef struct code_text {
    char bytes[CODE_ROOM];
    size_t length;
    bool good;
} code_text;

typedef struct plan {
    fuzz_bytes bytes;
    verdict schema;
    verdict chunks; /* of those that were made so far */
    expected_row rows[CHUNKS_MAX * ROWS_MAX];
    size_t n_rows;
    code_text codes[CODES_MAX];
    uint32_t n_codes;
    uint32_t n_columns;
    uint32_t date_at;
    uint32_t code_at;
    const char *date_format;
    const char *code_format;  /* of the texts */
    const char *index_format; /* NULL: no dictionary */
    uint32_t n_chunks;
    uint32_t next;
    int fail_schema; /* errno */
    int fail_chunks; /* errno, at the end of the chunks */
    char reason[64];
    bool schema_asked;
    bool failed;    /* a call of the stream failed */
    bool ended;     /* nothing may be called but get_last_error, where it failed, and release */
    int unreleased; /* schemas and arrays that were made */
    int streams_released;
} plan;

static plan *now; /* release callbacks have no other way to it */

static inline void judge(verdict *v, verdict at_least)
{
    if (*v < at_least)
        *v = at_least;
}

/* ------------------------------------------------------------------ what is handed over */

/* What a schema or an array truly consists of, whatever it says of itself. */
typedef struct holding {
    void *buffers[BUFFERS_MAX];
    struct ArrowArray *arrays[COLUMNS_MAX];
    struct ArrowSchema *schemas[COLUMNS_MAX];
    struct ArrowArray *array_dictionary;
    struct ArrowSchema *schema_dictionary;
    void *array_list;
    void *buffer_list;
    void *schema_list;
    bool released;
} holding;

static inline void free_holding(holding *h)
{
    REQUIRE(!h->released, "something is released twice");
    h->released = true;
    for (int i = 0; i < COLUMNS_MAX; i++) {
        if (h->arrays[i])
            h->arrays[i]->release(h->arrays[i]);
        if (h->schemas[i])
            h->schemas[i]->release(h->schemas[i]);
        free(h->arrays[i]);
        free(h->schemas[i]);
    }
    if (h->array_dictionary)
        h->array_dictionary->release(h->array_dictionary);
    if (h->schema_dictionary)
        h->schema_dictionary->release(h->schema_dictionary);
    free(h->array_dictionary);
    free(h->schema_dictionary);
    for (int i = 0; i < BUFFERS_MAX; i++)
        free(h->buffers[i]);
    free(h->array_list);
    free(h->buffer_list);
    free(h->schema_list);
    free(h);
    now->unreleased--;
}

static inline void release_schema(struct ArrowSchema *schema)
{
    free_holding(schema->private_data);
    schema->release = NULL;
}

static inline void release_array(struct ArrowArray *array)
{
    free_holding(array->private_data);
    array->release = NULL;
}

static inline holding *new_holding(void)
{
    holding *h = exact_memory(sizeof *h);
    *h = (holding){.released = false};
    now->unreleased++;
    return h;
}

static inline struct ArrowSchema *new_schema(const char *format, const char *name)
{
    struct ArrowSchema *schema = exact_memory(sizeof *schema);
    *schema = (struct ArrowSchema){.format = format,
                                   .name = name,
                                   .flags = ARROW_FLAG_NULLABLE,
                                   .release = release_schema,
                                   .private_data = new_holding()};
    return schema;
}

static inline struct ArrowArray *new_array(int64_t length, int64_t offset, int64_t n_buffers)
{
    struct ArrowArray *array = exact_memory(sizeof *array);
    holding *h = new_holding();
    h->buffer_list = exact_memory((size_t)n_buffers * sizeof(void *));
    memset(h->buffer_list, 0, (size_t)n_buffers * sizeof(void *));
    *array = (struct ArrowArray){.length = length,
                                 .offset = offset,
                                 .n_buffers = n_buffers,
                                 .buffers = h->buffer_list,
                                 .release = release_array,
                                 .private_data = h};
    return array;
}

/* A buffer of so many bytes, filled with what must not be taken for a value. */
static inline char *add_buffer(struct ArrowArray *array, int at, size_t bytes)
{
    holding *h = array->private_data;
    h->buffers[at] = exact_memory(bytes);
    memset(h->buffers[at], 0x5a, bytes);
    array->buffers[at] = h->buffers[at];
    return h->buffers[at];
}

/* A bit for each value, all set; what is behind them is not. */
static inline uint8_t *add_validity(struct ArrowArray *array, size_t values)
{
    uint8_t *bits = (uint8_t *)add_buffer(array, 0, (values + 7) / 8);
    memset(bits, 0, (values + 7) / 8);
    for (size_t i = 0; i < values; i++)
        bits[i / 8] |= (uint8_t)(1u << i % 8);
    return bits;
}

/* ------------------------------------------------------------------ dates */

static const char *const date_formats[] = {"l",    "i",    "tdD",     "tdm",
                                           "tss:", "tsm:", "tsu:UTC", "tsn:+08:00"};
static const int64_t units_per_day[] = {
    0, 0, 1, 86400000, 86400, 86400000, INT64_C(86400000000), INT64_C(86400000000000)};

enum { N_DATE_FORMATS = sizeof date_formats / sizeof *date_formats };

static inline uint32_t bytes_of_date(const char *format)
{
    return strcmp(format, "i") == 0 || strcmp(format, "tdD") == 0 ? 4 : 8;
}

/* The calendar day by the C library, where that can say it. */
static inline bool day_of(int64_t seconds, int64_t *date)
{
    struct tm day;
    time_t at = (time_t)seconds;
    if (!gmtime_r(&at, &day))
        return false;
    *date = ((int64_t)day.tm_year + 1900) * 10000 + (day.tm_mon + 1) * 100 + day.tm_mday;
    return true;
}

static inline void expect_date(expected_row *row, const char *format, int64_t stored)
{
    int64_t per_day = 0;
    for (size_t i = 0; i < N_DATE_FORMATS; i++)
        if (strcmp(format, date_formats[i]) == 0)
            per_day = units_per_day[i];
    row->has_date = true;
    row->date = stored;
    if (per_day == 0)
        return;
    int64_t days = stored / per_day - (stored % per_day < 0);
    row->has_date =
        days > INT64_MIN / 86400 && days < INT64_MAX / 86400 && day_of(days * 86400, &row->date);
}

static inline int64_t take_date(fuzz_bytes *b, uint32_t bytes)
{
    int64_t value = take_byte(b) % 4 ? 20240101 + take_byte(b) : take_wild(b);
    return bytes == 4 ? (int32_t)(uint32_t)(uint64_t)value : value;
}

/* Rows `skip` to skip + n - 1 of the column are those of the chunk. */
static inline struct ArrowArray *make_dates(plan *p, size_t skip, size_t n, expected_row *rows)
{
    fuzz_bytes *b = &p->bytes;
    uint32_t bytes = bytes_of_date(p->date_format);
    size_t offset = take_below(b, 5), values = offset + skip + n;
    struct ArrowArray *array = new_array((int64_t)(skip + n), (int64_t)offset, 2);
    char *at = add_buffer(array, 1, values * bytes) + (offset + skip) * bytes;
    for (size_t i = 0; i < n; i++) {
        int64_t value = take_date(b, bytes);
        memcpy(at + i * bytes, &value, bytes); /* little-endian, as Arrow is */
        expect_date(&rows[i], p->date_format, value);
    }
    return array;
}

/* ------------------------------------------------------------------ codes */

static inline void take_codes(plan *p)
{
    static const char *const usual[] = {
        "000001",          "600000",      "AAPL", "a", "\xe4\xb8\xad\xe6\x96\x87",
        "one of thirteen", "twelve bytes"};
    static const struct {
        const char *bytes;
        size_t length;
    } odd[] = {{"", 0}, {"a\0b", 3}, {"\xff", 1}, {"\xc0\xaf", 2}, {"\xed\xa0\x80", 3}};
    fuzz_bytes *b = &p->bytes;
    p->n_codes = 1 + take_below(b, CODES_MAX);
    for (uint32_t i = 0; i < p->n_codes; i++) {
        code_text *code = &p->codes[i];
        uint8_t kind = take_byte(b);
        if (kind < 200) {
            code->length = strlen(usual[kind % 7]);
            memcpy(code->bytes, usual[kind % 7], code->length);
        } else if (kind < 210) {
            code->length = odd[kind % 5].length;
            memcpy(code->bytes, odd[kind % 5].bytes, code->length);
        } else if (kind < 230) {
            code->length = 240 + take_below(b, 40);
            memset(code->bytes, 'x', code->length);
        } else {
            code->length = take_raw_text(b, code->bytes, 20);
        }
        code->good = is_good_code(code->bytes, code->length);
    }
}

/* Which texts the values of an array are. */
typedef struct texts {
    const code_text *values[CODES_MAX + 8 + 2 * ROWS_MAX];
    size_t n;
} texts;

static inline void spoil_offset(char *offsets, uint32_t bytes, size_t at, uint8_t how)
{
    int64_t value = how % 2 ? -1 - how : INT64_MIN; /* below 0, or below the one before */
    memcpy(offsets + at * bytes, &value, bytes);
    if (bytes == 4 && !(how % 2)) {
        int32_t least = INT32_MIN;
        memcpy(offsets + at * bytes, &least, bytes);
    }
}

/* `spoilt`: the value of which an offset is wrong; SIZE_MAX: none. */
static inline void fill_offset_texts(struct ArrowArray *array, const texts *t, uint32_t bytes,
                                     uint8_t how, size_t spoilt)
{
    size_t total = how % 4; /* offsets need not begin at 0 */
    int64_t at = (int64_t)total;
    for (size_t i = 0; i < t->n; i++)
        total += t->values[i]->length;
    char *offsets = add_buffer(array, 1, (t->n + 1) * bytes);
    char *data = total || how & 8 ? add_buffer(array, 2, total) : NULL;
    for (size_t i = 0; i < t->n; i++) {
        memcpy(offsets + i * bytes, &at, bytes);
        if (t->values[i]->length)
            memcpy(data + at, t->values[i]->bytes, t->values[i]->length);
        at += (int64_t)t->values[i]->length;
    }
    memcpy(offsets + t->n * bytes, &at, bytes);
    if (spoilt != SIZE_MAX && how & 16 && total) /* no data, where there must be some */
        array->buffers[2] = NULL;
    else if (spoilt != SIZE_MAX)
        spoil_offset(offsets, bytes, spoilt + 1, how);
}

static inline void put_int(char *view, int at, int64_t value)
{
    int32_t narrow = (int32_t)value;
    memcpy(view + 4 * at, &narrow, 4);
}

/* What of a view can be seen to be wrong: its length, its buffer, its place in that. */
static inline void spoil_view(char *view, int64_t *sizes, uint8_t how)
{
    put_int(view, 0, 13);
    put_int(view, 2, 0);
    put_int(view, 3, 0);
    switch (how % 6) {
    case 0:
        put_int(view, 0, -1 - how);
        break;
    case 1:
        put_int(view, 2, -1 - how);
        break;
    case 2:
        put_int(view, 2, 1 + how);
        break;
    case 3:
        put_int(view, 3, -1 - how);
        break;
    case 4:
        put_int(view, 3, INT32_MAX - how);
        break;
    default:
        sizes[0] = -1 - how;
    }
}

/* Long texts lie in one buffer, whose size comes last. */
static inline void fill_views(struct ArrowArray *array, const texts *t, uint8_t how, size_t spoilt)
{
    char *views = add_buffer(array, 1, t->n * 16);
    int64_t sizes[1] = {0};
    for (size_t i = 0; i < t->n; i++)
        sizes[0] += t->values[i]->length > 12 ? (int64_t)t->values[i]->length : 0;
    char *data = add_buffer(array, 2, (size_t)sizes[0]);
    int64_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        const code_text *text = t->values[i];
        char *view = views + 16 * i;
        memset(view, 0, 16);
        put_int(view, 0, (int64_t)text->length);
        memcpy(view + 4, text->bytes, text->length < 12 ? text->length : 12);
        if (text->length <= 12)
            continue;
        put_int(view, 2, 0);
        put_int(view, 3, at);
        memcpy(data + at, text->bytes, text->length);
        at += (int64_t)text->length;
    }
    if (spoilt != SIZE_MAX)
        spoil_view(views + 16 * spoilt, sizes, how);
    memcpy(add_buffer(array, 3, sizeof sizes), sizes, sizeof sizes);
}

/* Values from `offset` on are the array's. */
static inline struct ArrowArray *make_texts(const char *format, const texts *t, size_t offset,
                                            uint8_t how, size_t spoilt)
{
    bool views = format[0] == 'v';
    struct ArrowArray *array = new_array((int64_t)(t->n - offset), (int64_t)offset, views ? 4 : 3);
    if (views)
        fill_views(array, t, how, spoilt);
    else
        fill_offset_texts(array, t, format[0] == 'U' ? 8 : 4, how, spoilt);
    return array;
}

/* ------------------------------------------------------------------ dictionaries */

static inline uint32_t bytes_of_index(const char *format)
{
    static const char letters[] = "cCsSiIlL";
    return 1u << (size_t)(strchr(letters, format[0]) - letters) / 2;
}

/* Every code is a value, behind some that are none. */
static inline struct ArrowArray *make_dictionary(plan *p, const bool *used)
{
    fuzz_bytes *b = &p->bytes;
    texts t = {.n = 0};
    size_t offset = take_below(b, 4), spoilt = SIZE_MAX;
    uint8_t how = take_byte(b);
    for (size_t i = 0; i < offset; i++)
        t.values[t.n++] = &p->codes[0];
    for (uint32_t i = 0; i < p->n_codes; i++)
        t.values[t.n++] = &p->codes[i];
    uint32_t victim = take_below(b, p->n_codes);
    bool spoils = take_rarely(b, 24), nulls = take_rarely(b, 24);
    if (spoils) {
        spoilt = offset + victim;
        judge(&p->chunks, used[victim] ? WRONG : OPEN);
    }
    struct ArrowArray *array = make_texts(p->code_format, &t, offset, how, spoilt);
    if (nulls) {
        add_validity(array, t.n)[(offset + victim) / 8] &= (uint8_t) ~(1u << (offset + victim) % 8);
        if (used[victim])
            judge(&p->chunks, WRONG);
    }
    return array;
}

static inline struct ArrowArray *make_indexes(plan *p, size_t skip, size_t n, const uint32_t *which)
{
    fuzz_bytes *b = &p->bytes;
    uint32_t bytes = bytes_of_index(p->index_format);
    size_t offset = take_below(b, 5);
    bool used[CODES_MAX] = {false};
    struct ArrowArray *array = new_array((int64_t)(skip + n), (int64_t)offset, 2);
    char *at = add_buffer(array, 1, (offset + skip + n) * bytes) + (offset + skip) * bytes;
    for (size_t i = 0; i < n; i++) {
        uint64_t index = which[i];
        if (take_rarely(b, 60)) { /* beyond the dictionary, or below 0 */
            index = take_rarely(b, 2) ? UINT64_MAX : 100;
            judge(&p->chunks, WRONG);
        } else {
            used[which[i]] = true;
        }
        memcpy(at + i * bytes, &index, bytes);
    }
    holding *h = array->private_data;
    h->array_dictionary = make_dictionary(p, used);
    array->dictionary = h->array_dictionary;
    return array;
}

static inline struct ArrowArray *make_codes(plan *p, size_t skip, size_t n, expected_row *rows)
{
    fuzz_bytes *b = &p->bytes;
    uint32_t which[ROWS_MAX];
    for (size_t i = 0; i < n; i++) {
        which[i] = take_below(b, p->n_codes);
        rows[i].code = p->codes[which[i]].bytes;
        if (!p->codes[which[i]].good)
            judge(&p->chunks, WRONG);
    }
    if (p->index_format)
        return make_indexes(p, skip, n, which);
    texts t = {.n = 0};
    size_t offset = take_below(b, 4), spoilt = SIZE_MAX;
    uint8_t how = take_byte(b);
    while (t.n < offset + skip)
        t.values[t.n++] = &p->codes[0];
    for (size_t i = 0; i < n; i++)
        t.values[t.n++] = &p->codes[which[i]];
    if (n && take_rarely(b, 24)) {
        spoilt = t.n - 1 - take_below(b, (uint32_t)n);
        judge(&p->chunks, WRONG);
    }
    return make_texts(p->code_format, &t, offset, how, spoilt);
}

/* ------------------------------------------------------------------ mistakes of an array */

/* Makes one of the n values from first on null, or says that there is one. */
static inline void make_null(plan *p, struct ArrowArray *array, size_t first, size_t n)
{
    fuzz_bytes *b = &p->bytes;
    size_t values = (size_t)(array->offset + array->length);
    if (take_rarely(b, 4)) {
        array->null_count = 1 + take_byte(b); /* without saying which */
        judge(&p->chunks, WRONG);
        return;
    }
    uint8_t *bits = add_validity(array, values);
    array->null_count = (int64_t)take_byte(b) - 1; /* the bits decide */
    if (n == 0 || take_rarely(b, 3))
        return;
    size_t at = (size_t)array->offset + first + take_below(b, (uint32_t)n);
    bits[at / 8] &= (uint8_t) ~(1u << at % 8);
    judge(&p->chunks, WRONG);
}

/* Says something of the array that can be seen to be wrong where n > 0 values of it are wanted, up
 * to the one at `end`. */
static inline void tell_lie(plan *p, struct ArrowArray *array, size_t end)
{
    fuzz_bytes *b = &p->bytes;
    uint8_t what = take_byte(b);
    judge(&p->chunks, WRONG);
    switch (what % 7) {
    case 0:
        array->length = -1 - take_byte(b);
        break;
    case 1:
        array->length = (int64_t)end - 1;
        break;
    case 2:
        array->offset = -1 - take_byte(b);
        break;
    case 3:
        array->offset = INT64_MAX - take_byte(b);
        break;
    case 4:
        array->n_buffers = take_rarely(b, 2) ? -1 : 0;
        break;
    case 5:
        array->buffers = NULL;
        break;
    default:
        if (array->n_children || array->n_buffers < 2) {
            array->children = NULL;
        } else {
            array->buffers[1] = NULL;
        }
    }
}

#endif
