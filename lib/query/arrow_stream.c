/* Cursors as streams of the Arrow C stream interface: schema, batches and errors in its terms. The
 * public face; arrays are made in arrow_array.c. */
#include <assert.h>
#include <errno.h>
#include "base/alloc.h"
#include "base/error.h"
#include "query/arrow_array.h"
#include "query/cursor.h"

/* Behind a stream. */
typedef struct export
{
    facpool_cursor *cursor;
    facpool_error failure; /* of the last call; code 0: it succeeded */
}
export;

/* ------------------------------------------------------------------ the schema */

/* Behind a schema of a struct: the children's structs lie here until they are moved. */
typedef struct schema_node {
    struct ArrowSchema **children;
    struct ArrowSchema *schemas;
} schema_node;

typedef struct column_type {
    const char *name;
    const char *format;
    int64_t flags;
} column_type;

static const column_type fixed_types[FP_ARROW_FIXED] = {
    [FP_ARROW_DATE] = {"date", "l", 0},
    [FP_ARROW_CODE] = {"code", "u", 0},
    [FP_ARROW_TIMESTAMP] = {"timestamp", "tsu:UTC", 0},
    [FP_ARROW_STATUS] = {"status", "C", 0},
    [FP_ARROW_FAILURE_CODE] = {"failure_code", "i", ARROW_FLAG_NULLABLE},
    [FP_ARROW_MESSAGE] = {"message", "u", ARROW_FLAG_NULLABLE},
};

static void release_column(struct ArrowSchema *schema)
{
    fp_free(NULL, schema->private_data); /* its name */
    schema->release = NULL;
}

static void release_struct(struct ArrowSchema *schema)
{
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i]->release) /* else it was moved */
            schema->children[i]->release(schema->children[i]);
    fp_free(NULL, schema->private_data);
    schema->release = NULL;
}

static int add_column(struct ArrowSchema *schema, column_type type)
{
    char *name = fp_strdup(NULL, type.name);
    if (!name)
        return FACPOOL_E_NOMEM;
    schema_node *node = schema->private_data;
    struct ArrowSchema *column = &node->schemas[schema->n_children];
    *column = (struct ArrowSchema){.format = type.format,
                                   .name = name,
                                   .flags = type.flags,
                                   .release = release_column,
                                   .private_data = name};
    node->children[schema->n_children++] = column;
    return 0;
}

static int add_columns(struct ArrowSchema *schema, const fp_gather *gather)
{
    const fp_question *question = gather->question;
    const fp_texts *names = &question->sources[0]->schema.names;
    int rc = 0;
    for (int column = 0; !rc && column < FP_ARROW_FIXED; column++)
        if (fp_arrow_has(gather, (fp_arrow_column)column))
            rc = add_column(schema, fixed_types[column]);
    for (size_t i = 0; !rc && i < question->filter.n_factors; i++) {
        const char *name = fp_texts_at(names, question->filter.factors[i]);
        rc = add_column(schema, (column_type){name, "g", ARROW_FLAG_NULLABLE});
    }
    return rc;
}

static int make_schema(struct ArrowSchema *out, const fp_gather *gather, facpool_error *err)
{
    size_t most = FP_ARROW_FIXED + gather->question->filter.n_factors;
    size_t each = sizeof(struct ArrowSchema *) + sizeof(struct ArrowSchema);
    size_t bytes = sizeof(schema_node) + most * each;
    schema_node *node = fp_alloc_zero(NULL, 1, bytes);
    if (!node)
        return fp_fail_nomem(err, bytes);
    node->schemas = (struct ArrowSchema *)(node + 1);
    node->children = (struct ArrowSchema **)(node->schemas + most);
    struct ArrowSchema schema = {.format = "+s",
                                 .name = "",
                                 .children = node->children,
                                 .release = release_struct,
                                 .private_data = node};
    int rc = add_columns(&schema, gather);
    if (rc) {
        release_struct(&schema);
        return fp_fail_nomem(err, bytes);
    }
    *out = schema;
    return 0;
}

/* ------------------------------------------------------------------ the stream */

static int errno_of(const facpool_error *failure)
{
    switch (failure->code) {
    case FACPOOL_E_NOMEM:
        return ENOMEM;
    case FACPOOL_E_INVALID:
        return EINVAL;
    case FACPOOL_E_UNSUPPORTED:
        return ENOTSUP;
    case FACPOOL_E_IO:
        return failure->os_errno > 0 ? failure->os_errno : EIO;
    default:
        return EIO;
    }
}

/* Keeps what went wrong for get_last_error; returns it as an errno. */
static int fail_stream(export *e, const facpool_error *cause)
{
    e->failure = *cause;
    return errno_of(cause);
}

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    export *e = stream->private_data;
    facpool_error cause = FACPOOL_ERROR_INIT;
    e->failure.code = 0;
    return make_schema(out, fp_cursor_gather(e->cursor), &cause) ? fail_stream(e, &cause) : 0;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    export *e = stream->private_data;
    facpool_error cause = FACPOOL_ERROR_INIT;
    struct ArrowArray array = {.release = NULL};
    size_t first = 0;
    e->failure.code = 0;
    int rc = fp_cursor_need_batch(e->cursor, &first, &cause);
    if (rc == 1) {
        rc = fp_arrow_array_new(&array, fp_cursor_gather(e->cursor), first, &cause);
        if (!rc)
            fp_cursor_end_batch(e->cursor);
    }
    if (rc)
        return fail_stream(e, &cause);
    *out = array; /* at the end: a released one */
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream)
{
    const export *e = stream->private_data;
    return e->failure.code ? e->failure.message : NULL;
}

static void release_stream(struct ArrowArrayStream *stream)
{
    export *e = stream->private_data;
    facpool_cursor_free(e->cursor);
    fp_free(NULL, e);
    stream->release = NULL;
}

int facpool_cursor_to_arrow(facpool_cursor *cursor, struct ArrowArrayStream *out,
                            facpool_error *err)
{
    if (!cursor || !out)
        return fp_fail(err, FACPOOL_E_INVALID, "%s is NULL: give one", cursor ? "out" : "cursor");
    export *e = fp_alloc_zero(NULL, 1, sizeof *e);
    if (!e)
        return fp_fail_nomem(err, sizeof *e);
    e->cursor = cursor;
    *out = (struct ArrowArrayStream){.get_schema = get_schema,
                                     .get_next = get_next,
                                     .get_last_error = get_last_error,
                                     .release = release_stream,
                                     .private_data = e};
    return 0;
}
