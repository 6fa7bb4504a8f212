/* Arrays of the Arrow C data interface. Every child owns or holds what its buffers point to, on its
 * own, so that children may be moved out and released in any order, on any thread. Called by the
 * stream alone; reads nothing from sources. */
#include "query/arrow_array.h"

#include <assert.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"

#define BUFFERS_MAX 3

/* Behind a child. */
typedef struct child_node {
    const void *buffers[BUFFERS_MAX];
    fp_aligned own[BUFFERS_MAX];    /* memory of buffers that are the child's */
    fp_aligned *taken[BUFFERS_MAX]; /* while it is made: what of the gatherer's will be */
    bool borrows;                   /* while it is made: some buffer lies in the lender */
    fp_source *source;              /* held, where some buffer lies in it */
} child_node;

/* Behind the struct array: the children's structs lie here until they are moved. */
typedef struct root_node {
    const void *buffers[1]; /* no row is null as a whole */
    struct ArrowArray **children;
    struct ArrowArray *arrays;
} root_node;

/* An array in the making. */
typedef struct builder {
    fp_gather *gather;
    size_t first;
    size_t n;
    const uint8_t *statuses; /* of row `first` and on; NULL: all are ok */
    struct ArrowArray root;
    facpool_error *err;
} builder;

/* ------------------------------------------------------------------ release */

static void release_child(struct ArrowArray *array)
{
    child_node *node = array->private_data;
    for (int i = 0; i < BUFFERS_MAX; i++)
        fp_aligned_free(&node->own[i]);
    fp_source_release(node->source);
    fp_free(NULL, node);
    array->release = NULL;
}

static void release_root(struct ArrowArray *array)
{
    for (int64_t i = 0; i < array->n_children; i++)
        if (array->children[i]->release) /* else it was moved */
            array->children[i]->release(array->children[i]);
    fp_free(NULL, array->private_data);
    array->release = NULL;
}

/* ------------------------------------------------------------------ nodes */

static int new_root(builder *b, size_t n_columns)
{
    size_t each = sizeof(struct ArrowArray *) + sizeof(struct ArrowArray);
    size_t bytes = sizeof(root_node) + n_columns * each;
    root_node *node = fp_alloc_zero(NULL, 1, bytes);
    if (!node)
        return fp_fail_nomem(b->err, bytes);
    node->arrays = (struct ArrowArray *)(node + 1);
    node->children = (struct ArrowArray **)(node->arrays + n_columns);
    b->root = (struct ArrowArray){.length = (int64_t)b->n,
                                  .n_buffers = 1,
                                  .buffers = node->buffers,
                                  .children = node->children,
                                  .release = release_root,
                                  .private_data = node};
    return 0;
}

static child_node *new_child(builder *b, int n_buffers, struct ArrowArray **out)
{
    child_node *node = fp_alloc_zero(NULL, 1, sizeof *node);
    if (!node) {
        (void)fp_fail_nomem(b->err, sizeof *node);
        return NULL;
    }
    root_node *root = b->root.private_data;
    struct ArrowArray *array = &root->arrays[b->root.n_children];
    *array = (struct ArrowArray){.length = (int64_t)b->n,
                                 .n_buffers = n_buffers,
                                 .buffers = node->buffers,
                                 .release = release_child,
                                 .private_data = node};
    root->children[b->root.n_children++] = array;
    *out = array;
    return node;
}

/* Memory of the child's own for one of its buffers. */
static void *own_buffer(builder *b, child_node *node, int buffer, size_t bytes)
{
    if (fp_aligned_reserve(&node->own[buffer], bytes)) {
        (void)fp_fail_nomem(b->err, bytes);
        return NULL;
    }
    node->buffers[buffer] = node->own[buffer].data;
    return node->own[buffer].data;
}

/* ------------------------------------------------------------------ nulls */

static bool is_null(uint8_t status, bool null_where_ok)
{
    return (status == FACPOOL_STATUS_OK) == null_where_ok;
}

/* Bits of rows `offset` and on of the buffers; those before are not looked at. */
static void put_bits(uint8_t *bits, size_t offset, const uint8_t *statuses, size_t n,
                     bool null_where_ok)
{
    memset(bits, 0, (offset + n + 7) / 8);
    for (size_t i = 0; statuses && i < n; i++) {
        size_t at = offset + i;
        bits[at / 8] |= (uint8_t)(!is_null(statuses[i], null_where_ok) << (at % 8));
    }
}

/* Where rows are null for not being ok (factors), or for being so (failures). */
static int put_nulls(builder *b, child_node *node, struct ArrowArray *array, bool null_where_ok)
{
    size_t n_nulls = 0;
    for (size_t i = 0; b->statuses && i < b->n; i++)
        n_nulls += is_null(b->statuses[i], null_where_ok);
    if (!b->statuses && null_where_ok)
        n_nulls = b->n;
    array->null_count = (int64_t)n_nulls;
    if (n_nulls == 0)
        return 0;
    size_t offset = (size_t)array->offset;
    uint8_t *bits = own_buffer(b, node, 0, (offset + b->n + 7) / 8);
    if (!bits)
        return FACPOOL_E_NOMEM;
    put_bits(bits, offset, b->statuses, b->n, null_where_ok);
    return 0;
}

/* ------------------------------------------------------------------ columns */

/* Memory of which so much is used had better be handed over than copied. */
static bool is_worth_taking(const fp_aligned *memory, size_t used)
{
    return used >= memory->capacity / 2;
}

static int put_values(builder *b, child_node *node, struct ArrowArray *array,
                      fp_gather_column *column)
{
    size_t each = column->each, before = column->skipped + b->first;
    const char *rows = (const char *)fp_gather_rows(column) + b->first * each;
    if (column->borrowed && b->gather->lender) {
        node->buffers[1] = rows;
        node->borrows = true;
        return 0;
    }
    if (!column->borrowed && is_worth_taking(&column->own, (before + b->n) * each)) {
        node->buffers[1] = column->own.data;
        node->taken[1] = &column->own;
        array->offset = (int64_t)before;
        return 0;
    }
    void *copy = own_buffer(b, node, 1, b->n * each);
    if (!copy)
        return FACPOOL_E_NOMEM;
    memcpy(copy, rows, b->n * each);
    return 0;
}

static int copy_texts(builder *b, child_node *node, const int32_t *offsets, const char *bytes)
{
    int32_t begin = offsets[0], end = offsets[b->n];
    int32_t *own_offsets = own_buffer(b, node, 1, (b->n + 1) * sizeof *offsets);
    char *own_bytes = own_offsets ? own_buffer(b, node, 2, (size_t)(end - begin)) : NULL;
    if (!own_bytes)
        return FACPOOL_E_NOMEM;
    for (size_t i = 0; i <= b->n; i++)
        own_offsets[i] = offsets[i] - begin;
    memcpy(own_bytes, bytes + begin, (size_t)(end - begin));
    return 0;
}

/* Texts as the gatherer laid them out. */
static int put_texts(builder *b, child_node *node, struct ArrowArray *array, fp_aligned *offsets,
                     fp_aligned *bytes)
{
    size_t end = b->first + b->n;
    const int32_t *all = offsets->data;
    if (!is_worth_taking(offsets, (end + 1) * sizeof *all) ||
        !is_worth_taking(bytes, (size_t)all[end]))
        return copy_texts(b, node, all + b->first, bytes->data);
    node->buffers[1] = offsets->data;
    node->buffers[2] = bytes->data;
    node->taken[1] = offsets;
    node->taken[2] = bytes;
    array->offset = (int64_t)b->first;
    return 0;
}

static int add_values(builder *b, fp_gather_column *column)
{
    struct ArrowArray *array = NULL;
    child_node *node = new_child(b, 2, &array);
    return node ? put_values(b, node, array, column) : FACPOOL_E_NOMEM;
}

static int add_codes(builder *b)
{
    fp_gather *g = b->gather;
    struct ArrowArray *array = NULL;
    child_node *node = new_child(b, 3, &array);
    if (!node)
        return FACPOOL_E_NOMEM;
    if (!g->codes_borrowed)
        return put_texts(b, node, array, &g->code_offsets, &g->code_bytes);
    assert(g->lender);
    node->buffers[1] = g->codes.offsets + b->first;
    node->buffers[2] = g->codes.bytes;
    node->borrows = true;
    return 0;
}

/* Where only ok rows are asked for no status is gathered. */
static int add_statuses(builder *b)
{
    fp_gather_column *column = &b->gather->columns[FP_GATHER_STATUS];
    if (column->needed)
        return add_values(b, column);
    struct ArrowArray *array = NULL;
    child_node *node = new_child(b, 2, &array);
    void *statuses = node ? own_buffer(b, node, 1, b->n) : NULL;
    if (!statuses)
        return FACPOOL_E_NOMEM;
    memset(statuses, FACPOOL_STATUS_OK, b->n);
    return 0;
}

static int add_failure_codes(builder *b)
{
    struct ArrowArray *array = NULL;
    child_node *node = new_child(b, 2, &array);
    if (!node)
        return FACPOOL_E_NOMEM;
    int rc = put_values(b, node, array, &b->gather->columns[FP_GATHER_FAILURE_CODE]);
    return rc ? rc : put_nulls(b, node, array, true);
}

static int add_messages(builder *b)
{
    fp_gather *g = b->gather;
    struct ArrowArray *array = NULL;
    child_node *node = new_child(b, 3, &array);
    if (!node)
        return FACPOOL_E_NOMEM;
    int rc = put_texts(b, node, array, &g->message_offsets, &g->message_bytes);
    return rc ? rc : put_nulls(b, node, array, true);
}

static int add_factor(builder *b, size_t factor)
{
    struct ArrowArray *array = NULL;
    child_node *node = new_child(b, 2, &array);
    if (!node)
        return FACPOOL_E_NOMEM;
    int rc = put_values(b, node, array, &b->gather->columns[FP_GATHER_FACTOR + factor]);
    return rc ? rc : put_nulls(b, node, array, false);
}

static int add_fixed(builder *b, fp_arrow_column column)
{
    switch (column) {
    case FP_ARROW_DATE:
        return add_values(b, &b->gather->columns[FP_GATHER_DATE]);
    case FP_ARROW_CODE:
        return add_codes(b);
    case FP_ARROW_TIMESTAMP:
        return add_values(b, &b->gather->columns[FP_GATHER_TIMESTAMP]);
    case FP_ARROW_STATUS:
        return add_statuses(b);
    case FP_ARROW_FAILURE_CODE:
        return add_failure_codes(b);
    case FP_ARROW_MESSAGE:
        return add_messages(b);
    case FP_ARROW_FIXED:
        break;
    }
    return fp_fail(b->err, FACPOOL_E_INVALID, "there is no column %d", (int)column);
}

/* ------------------------------------------------------------------ the array */

bool fp_arrow_has(const fp_gather *gather, fp_arrow_column column)
{
    static const uint32_t asked[] = {FACPOOL_COLUMN_DATE, FACPOOL_COLUMN_CODE,
                                     FACPOOL_COLUMN_TIMESTAMP, FACPOOL_COLUMN_STATUS};
    return column < FP_ARROW_FAILURE_CODE ? gather->question->filter.columns & asked[column]
                                          : gather->wants_messages;
}

static int add_columns(builder *b)
{
    size_t n_factors = b->gather->n_columns - FP_GATHER_FACTOR;
    int rc = new_root(b, FP_ARROW_FIXED + n_factors);
    for (int column = 0; !rc && column < FP_ARROW_FIXED; column++)
        if (fp_arrow_has(b->gather, (fp_arrow_column)column))
            rc = add_fixed(b, (fp_arrow_column)column);
    for (size_t factor = 0; !rc && factor < n_factors; factor++)
        rc = add_factor(b, factor);
    return rc;
}

/* From here on nothing can fail: what was only pointed to is taken over. */
static void take_over(const builder *b)
{
    for (int64_t i = 0; i < b->root.n_children; i++) {
        child_node *node = b->root.children[i]->private_data;
        for (int k = 0; k < BUFFERS_MAX; k++) {
            if (!node->taken[k])
                continue;
            node->own[k] = *node->taken[k];
            *node->taken[k] = (fp_aligned){.capacity = 0};
        }
        if (node->borrows)
            node->source = fp_source_hold(b->gather->lender);
    }
}

int fp_arrow_array_new(struct ArrowArray *out, fp_gather *gather, size_t first, facpool_error *err)
{
    assert(first < gather->n_rows);
    builder b = {.gather = gather, .first = first, .n = gather->n_rows - first, .err = err};
    if (!gather->all_ok)
        b.statuses = (const uint8_t *)fp_gather_rows(&gather->columns[FP_GATHER_STATUS]) + first;
    int rc = add_columns(&b);
    if (rc) {
        if (b.root.release)
            b.root.release(&b.root);
        return rc;
    }
    take_over(&b);
    *out = b.root;
    return 0;
}
