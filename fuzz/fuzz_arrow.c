/* Fuzz target: Arrow metadata (codec/arrow_flat.h, codec/arrow_message.h) from bytes that may be
 * anything. What is read must lie within them; a schema that is understood is written again, and
 * then reads as the same; a record batch is known as itself by its own description alone. */
#include "codec/arrow_message.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* ------------------------------------------------------------------ schemas */

static bool lies_within(const fp_arrow_text *text, const uint8_t *bytes, size_t size)
{
    const uint8_t *at = (const uint8_t *)text->bytes;
    return text->length == 0 || (at >= bytes && at + text->length <= bytes + size);
}

static void expect_within(const fp_arrow_schema *schema, const uint8_t *bytes, size_t size)
{
    EXPECT(schema->n_fields <= size / 4 && schema->n_pairs <= size / 4);
    for (size_t i = 0; i < schema->n_fields; i++)
        EXPECT(lies_within(&schema->fields[i].name, bytes, size));
    for (size_t i = 0; i < schema->n_pairs; i++)
        EXPECT(lies_within(&schema->pairs[i].key, bytes, size) &&
               lies_within(&schema->pairs[i].value, bytes, size));
}

static bool same_text(const fp_arrow_text *a, const fp_arrow_text *b)
{
    return a->length == b->length && (a->length == 0 || memcmp(a->bytes, b->bytes, a->length) == 0);
}

static void expect_same(const fp_arrow_schema *a, const fp_arrow_schema *b)
{
    EXPECT(a->n_fields == b->n_fields && a->n_pairs == b->n_pairs);
    for (size_t i = 0; i < a->n_fields; i++)
        EXPECT(same_text(&a->fields[i].name, &b->fields[i].name) &&
               a->fields[i].type == b->fields[i].type &&
               a->fields[i].nullable == b->fields[i].nullable);
    for (size_t i = 0; i < a->n_pairs; i++)
        EXPECT(same_text(&a->pairs[i].key, &b->pairs[i].key) &&
               same_text(&a->pairs[i].value, &b->pairs[i].value));
}

/* Many small vectors may point to one long text: what is written out could be large. */
static bool is_small(const fp_arrow_schema *schema)
{
    size_t bytes = 0;
    for (size_t i = 0; i < schema->n_fields; i++)
        bytes += schema->fields[i].name.length;
    for (size_t i = 0; i < schema->n_pairs; i++)
        bytes += schema->pairs[i].key.length + schema->pairs[i].value.length;
    return bytes < (size_t)1 << 20;
}

static bool has_known_types(const fp_arrow_schema *schema)
{
    for (size_t i = 0; i < schema->n_fields; i++)
        if (schema->fields[i].type == FP_ARROW_OTHER)
            return false;
    return true;
}

static void write_and_read(const fp_arrow_schema *schema)
{
    fp_buffer out = {0};
    fp_arrow_schema again;
    EXPECT(fp_arrow_put_schema(schema, &out) == 0);
    EXPECT(out.size % FP_ARROW_ALIGNMENT == 0);
    EXPECT(fp_arrow_parse_schema(out.data + FP_ARROW_PREFIX_BYTES, out.size - FP_ARROW_PREFIX_BYTES,
                                 schema->n_fields, schema->n_pairs, &again) == 0);
    expect_same(schema, &again);
    fp_arrow_schema_free(&again);
    fp_buffer_free(&out);
}

static void read_schema(const uint8_t *bytes, size_t size)
{
    fp_arrow_schema schema;
    int rc = fp_arrow_parse_schema(bytes, size, SIZE_MAX, SIZE_MAX, &schema);
    EXPECT(rc == 0 || rc == FACPOOL_E_CORRUPT);
    if (rc)
        return;
    expect_within(&schema, bytes, size);
    if (is_small(&schema) && has_known_types(&schema))
        write_and_read(&schema);
    fp_arrow_schema_free(&schema);
}

/* ------------------------------------------------------------------ record batches */

enum { COLUMNS = 6, BUFFERS = 13 }; /* of a memory_map file with two factors */

/* What the input itself says its batch is, as far as anything of it can be: so that the comparison
 * goes on to the end. */
static fp_arrow_batch batch_of(const uint8_t *bytes, size_t size, uint64_t *nulls,
                               fp_arrow_buffer *buffers)
{
    fp_arrow_batch batch = {.n_rows = 3,
                            .body_bytes = 4096,
                            .n_columns = COLUMNS,
                            .nulls = nulls,
                            .n_buffers = BUFFERS,
                            .buffers = buffers};
    for (size_t i = 0; i < COLUMNS; i++)
        nulls[i] = size > i ? bytes[i] % 2 : 0;
    for (size_t i = 0; i < BUFFERS; i++)
        buffers[i] = (fp_arrow_buffer){.offset = 64 * i, .bytes = 24};
    return batch;
}

/* The batch as we write it, then with the input's bytes over a part of it: it may be taken for
 * itself only where every number is still the same. */
static void read_batch(const uint8_t *bytes, size_t size)
{
    uint64_t nulls[COLUMNS];
    fp_arrow_buffer buffers[BUFFERS];
    fp_arrow_batch batch = batch_of(bytes, size, nulls, buffers);
    fp_buffer message = {0};
    (void)fp_arrow_is_batch(bytes, size, &batch);
    EXPECT(fp_arrow_put_batch(&batch, &message) == 0);
    EXPECT(message.size == fp_arrow_batch_bytes(COLUMNS, BUFFERS));
    EXPECT(fp_arrow_is_batch(message.data, message.size, &batch));
    size_t at = size > 8 ? (size_t)(bytes[6] | bytes[7] << 8) % message.size : message.size;
    for (size_t i = 8; i < size && at < message.size; i++)
        message.data[at++] = bytes[i];
    (void)fp_arrow_is_batch(message.data, message.size, &batch);
    fp_buffer_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    read_schema(bytes, size);
    read_batch(bytes, size);
    return 0;
}
