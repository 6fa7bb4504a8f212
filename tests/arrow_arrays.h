/* Arrow arrays and streams made by hand, for tests of what takes them: they count who was not
 * released, and their buffers are as long as their values, so that a sanitizer sees each byte too
 * many. */
#ifndef FP_TEST_ARROW_ARRAYS_H
#define FP_TEST_ARROW_ARRAYS_H

#include <facpool/arrow.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define JUNK      0x5a /* what lies before and behind a slice */
#define N_BUFFERS 8

/* ------------------------------------------------------------------ arrays that count their ends
 */

static int unreleased;

static void *exact(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory)
        abort();
    memset(memory, JUNK, bytes);
    return memory;
}

static void release_schema(struct ArrowSchema *schema)
{
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release)
            schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    if (schema->dictionary) {
        schema->dictionary->release(schema->dictionary);
        free(schema->dictionary);
    }
    free(schema->children);
    schema->release = NULL;
    unreleased--;
}

static struct ArrowSchema *new_schema(const char *format, const char *name)
{
    struct ArrowSchema *schema = exact(sizeof *schema);
    *schema = (struct ArrowSchema){.format = format, .name = name, .release = release_schema};
    unreleased++;
    return schema;
}

static void release_array(struct ArrowArray *array)
{
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release)
            array->children[i]->release(array->children[i]);
        free(array->children[i]);
    }
    if (array->dictionary) {
        array->dictionary->release(array->dictionary);
        free(array->dictionary);
    }
    void **owned = array->private_data;
    for (int i = 0; i < N_BUFFERS; i++)
        free(owned[i]);
    free(owned);
    free(array->children);
    free((void *)array->buffers);
    array->release = NULL;
    unreleased--;
}

static struct ArrowArray *new_array(size_t n, size_t offset, int64_t n_buffers)
{
    struct ArrowArray *array = exact(sizeof *array);
    *array = (struct ArrowArray){.length = (int64_t)n,
                                 .offset = (int64_t)offset,
                                 .n_buffers = n_buffers,
                                 .release = release_array};
    array->buffers = calloc(N_BUFFERS, sizeof *array->buffers);
    array->private_data = calloc(N_BUFFERS, sizeof(void *)); /* tests spoil the other list */
    unreleased++;
    return array;
}

/* A buffer of the array, owned by it. */
static char *buffer(struct ArrowArray *array, int i, size_t bytes)
{
    void **owned = array->private_data;
    owned[i] = exact(bytes);
    array->buffers[i] = owned[i];
    return owned[i];
}

static void set_null(struct ArrowArray *array, size_t row)
{
    size_t bits = (size_t)(array->offset + array->length);
    if (!array->buffers[0])
        memset(buffer(array, 0, (bits + 7) / 8), 0xff, (bits + 7) / 8);
    size_t at = (size_t)array->offset + row;
    ((uint8_t *)(uintptr_t)array->buffers[0])[at / 8] &= (uint8_t) ~(1u << at % 8);
    array->null_count++;
}

/* ------------------------------------------------------------------ columns */

/* Integers of 1, 2, 4 or 8 bytes behind `offset` values of junk. */
static struct ArrowArray *integers(const int64_t *values, size_t n, size_t bytes, size_t offset)
{
    struct ArrowArray *array = new_array(n, offset, 2);
    char *at = buffer(array, 1, (offset + n) * bytes) + offset * bytes;
    for (size_t i = 0; i < n; i++, at += bytes)
        memcpy(at, &values[i], bytes); /* little-endian, as Arrow and its tests are */
    return array;
}

static void put_integer(char *buffer_, size_t at, size_t bytes, int64_t value)
{
    memcpy(buffer_ + at * bytes, &value, bytes);
}

static struct ArrowArray *texts_by_offsets(const char *const *texts, size_t n, size_t bytes,
                                           size_t offset)
{
    size_t total = 3; /* offsets need not begin at 0 */
    for (size_t i = 0; i < n; i++)
        total += strlen(texts[i]);
    struct ArrowArray *array = new_array(n, offset, 3);
    char *offsets = buffer(array, 1, (offset + n + 1) * bytes);
    char *data = buffer(array, 2, total);
    int64_t at = 3;
    for (size_t i = 0; i < n; i++) {
        put_integer(offsets, offset + i, bytes, at);
        memcpy(data + at, texts[i], strlen(texts[i]));
        at += (int64_t)strlen(texts[i]);
    }
    put_integer(offsets, offset + n, bytes, at);
    return array;
}

/* Long texts go by turns into two buffers. */
static struct ArrowArray *texts_by_views(const char *const *texts, size_t n, size_t offset)
{
    struct ArrowArray *array = new_array(n, offset, 5);
    char *views = buffer(array, 1, (offset + n) * 16) + offset * 16;
    int64_t sizes[2] = {0, 0};
    for (size_t i = 0; i < n; i++)
        if (strlen(texts[i]) > 12)
            sizes[i % 2] += (int64_t)strlen(texts[i]);
    char *data[2] = {buffer(array, 2, (size_t)sizes[0]), buffer(array, 3, (size_t)sizes[1])};
    memcpy(buffer(array, 4, sizeof sizes), sizes, sizeof sizes);
    int64_t at[2] = {0, 0};
    for (size_t i = 0; i < n; i++, views += 16) {
        size_t length = strlen(texts[i]);
        put_integer(views, 0, 4, (int64_t)length);
        if (length <= 12) {
            memset(views + 4, 0, 12);
            memcpy(views + 4, texts[i], length);
            continue;
        }
        memcpy(views + 4, texts[i], 4);
        put_integer(views, 2, 4, (int64_t)(i % 2));
        put_integer(views, 3, 4, at[i % 2]);
        memcpy(data[i % 2] + at[i % 2], texts[i], length);
        at[i % 2] += (int64_t)length;
    }
    return array;
}

static const char *const text_formats[] = {"u", "U", "vu"};

static struct ArrowArray *texts_as(const char *format, const char *const *texts, size_t n,
                                   size_t offset)
{
    if (format[0] == 'v')
        return texts_by_views(texts, n, offset);
    return texts_by_offsets(texts, n, format[0] == 'U' ? 8 : 4, offset);
}

/* ------------------------------------------------------------------ streams */

#define CHUNKS_MAX 40

typedef struct script {
    struct ArrowSchema *schema;
    struct ArrowArray *chunks[CHUNKS_MAX];
    size_t n_chunks;
    size_t next;
    int fail_schema; /* errno values */
    int fail_at_end;
    const char *reason;
} script;

static script plan;
static struct ArrowArrayStream stream;
static int streams_released;

static int give_schema(struct ArrowArrayStream *from, struct ArrowSchema *out)
{
    script *s = from->private_data;
    if (s->fail_schema)
        return s->fail_schema;
    *out = *s->schema; /* moved */
    s->schema->release = NULL;
    return 0;
}

static int give_next(struct ArrowArrayStream *from, struct ArrowArray *out)
{
    script *s = from->private_data;
    if (s->next == s->n_chunks) {
        if (s->fail_at_end)
            return s->fail_at_end;
        *out = (struct ArrowArray){0};
        return 0;
    }
    *out = *s->chunks[s->next];
    s->chunks[s->next++]->release = NULL;
    return 0;
}

static const char *give_reason(struct ArrowArrayStream *from)
{
    return ((script *)from->private_data)->reason;
}

static void release_stream(struct ArrowArrayStream *from)
{
    script *s = from->private_data;
    if (s->schema->release)
        s->schema->release(s->schema);
    free(s->schema);
    for (size_t i = 0; i < s->n_chunks; i++) {
        if (s->chunks[i]->release)
            s->chunks[i]->release(s->chunks[i]);
        free(s->chunks[i]);
    }
    from->release = NULL;
    streams_released++;
}

/* A stream of structs of two columns, still without chunks. */
static void begin(const char *date_format, const char *code_format)
{
    plan = (script){.schema = new_schema("+s", "")};
    plan.schema->n_children = 2;
    plan.schema->children = calloc(3, sizeof *plan.schema->children);
    plan.schema->children[0] = new_schema(date_format, "date");
    plan.schema->children[1] = new_schema(code_format, "code");
    stream = (struct ArrowArrayStream){give_schema, give_next, give_reason, release_stream, &plan};
    streams_released = 0;
}

/* Rows `skip` to the columns' ends. */
static struct ArrowArray *chunk(struct ArrowArray *dates, struct ArrowArray *codes, size_t skip)
{
    struct ArrowArray *rows = new_array((size_t)dates->length - skip, skip, 1);
    rows->n_children = 2;
    rows->children = calloc(3, sizeof *rows->children);
    rows->children[0] = dates;
    rows->children[1] = codes;
    plan.chunks[plan.n_chunks++] = rows;
    return rows;
}

#endif
