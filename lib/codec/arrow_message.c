/* Making and parsing Arrow IPC messages: see arrow_message.h. The shapes below are one way to lay
 * out the tables that Arrow's Schema.fbs, Message.fbs and File.fbs define; numbers of fields,
 * types and enums are theirs. */
#include "codec/arrow_message.h"

#include "base/alloc.h"
#include "codec/arrow_flat.h"

#include <string.h>

#define METADATA_V5        4
#define HEADER_SCHEMA      1
#define HEADER_BATCH       3
#define PRECISION_DOUBLE   2
#define UNIT_MICROSECOND   2
#define LITTLE_ENDIAN_DATA 0

enum { TYPE_INT = 2, TYPE_FLOATING_POINT = 3, TYPE_UTF8 = 5, TYPE_TIMESTAMP = 10 };

/* Fields by their numbers in Arrow's definitions. */
enum { MESSAGE_VERSION, MESSAGE_HEADER_TYPE, MESSAGE_HEADER, MESSAGE_BODY_BYTES };
enum { SCHEMA_ENDIANNESS, SCHEMA_FIELDS, SCHEMA_METADATA };
enum { FIELD_NAME, FIELD_NULLABLE, FIELD_TYPE_TYPE, FIELD_TYPE, FIELD_DICTIONARY, FIELD_CHILDREN };
enum { INT_BITS, INT_SIGNED };
enum { FLOAT_PRECISION };
enum { TIMESTAMP_UNIT, TIMESTAMP_ZONE };
enum { PAIR_KEY, PAIR_VALUE };
enum { BATCH_ROWS, BATCH_NODES, BATCH_BUFFERS, BATCH_COMPRESSION };

/* Shapes: own length, the table's, where each field is; then those places by name. */
static const uint16_t message_shape[] = {12, 20, 16, 18, 4, 8};
static const uint16_t schema_shape[] = {10, 12, 0, 4, 8};
static const uint16_t field_shape[] = {16, 20, 4, 16, 17, 8, 0, 12};
static const uint16_t int_shape[] = {8, 12, 4, 8};
static const uint16_t float_shape[] = {6, 8, 4};
static const uint16_t utf8_shape[] = {4, 4};
static const uint16_t timestamp_shape[] = {8, 12, 8, 4};
static const uint16_t pair_shape[] = {8, 12, 4, 8};
static const uint16_t batch_shape[] = {10, 20, 8, 4, 16};
static const uint16_t footer_shape[] = {12, 20, 16, 4, 8, 12};

enum { AT_HEADER = 4, AT_BODY_BYTES = 8, AT_VERSION = 16, AT_HEADER_TYPE = 18 };
enum { AT_FIELDS = 4, AT_METADATA = 8 };
enum { AT_NAME = 4, AT_TYPE = 8, AT_CHILDREN = 12, AT_NULLABLE = 16, AT_TYPE_TYPE = 17 };
enum { AT_BITS = 4, AT_SIGNED = 8, AT_PRECISION = 4, AT_ZONE = 4, AT_UNIT = 8 };
enum { AT_KEY = 4, AT_VALUE = 8 };
enum { AT_NODES = 4, AT_ROWS = 8, AT_BUFFERS = 16 };
enum { AT_FOOTER_SCHEMA = 4, AT_DICTIONARIES = 8, AT_BATCHES = 12 };

#define NODE_BYTES   16
#define BUFFER_BYTES 16
#define BLOCK_BYTES  24

void fp_arrow_schema_free(fp_arrow_schema *schema)
{
    fp_free(NULL, schema->fields);
    fp_free(NULL, schema->pairs);
    *schema = (fp_arrow_schema){0};
}

/* ------------------------------------------------------------------ messages */

/* The prefix, whose length is filled in at the end. */
static fp_flat begin_message(fp_buffer *out, uint8_t header_type, uint64_t body_bytes,
                             size_t *header_from)
{
    bool full = fp_buffer_put_u32(out, FP_ARROW_CONTINUATION) || fp_buffer_put_u32(out, 0);
    fp_flat flat = fp_flat_begin(out);
    flat.no_memory = flat.no_memory || full;
    size_t message = fp_flat_put_table(&flat, 0, message_shape);
    fp_flat_set_u16(&flat, message + AT_VERSION, METADATA_V5);
    fp_flat_set_u8(&flat, message + AT_HEADER_TYPE, header_type);
    fp_flat_set_u64(&flat, message + AT_BODY_BYTES, body_bytes);
    *header_from = message + AT_HEADER;
    return flat;
}

static int end_message(const fp_flat *flat)
{
    fp_buffer *out = flat->out;
    size_t padding = -out->size % FP_ARROW_ALIGNMENT;
    if (flat->no_memory || !fp_buffer_reserve(out, padding))
        return FACPOOL_E_NOMEM;
    memset(out->data + out->size, 0, padding);
    out->size += padding;
    fp_store_u32(out->data + flat->start - 4, (uint32_t)(out->size - flat->start));
    return 0;
}

/* ------------------------------------------------------------------ writing a schema */

static void put_type(fp_flat *flat, size_t field, fp_arrow_type type)
{
    size_t from = field + AT_TYPE;
    size_t table;
    uint8_t number = TYPE_INT;
    switch (type) {
    case FP_ARROW_UTF8:
        number = TYPE_UTF8;
        fp_flat_put_table(flat, from, utf8_shape);
        break;
    case FP_ARROW_FLOAT64:
        number = TYPE_FLOATING_POINT;
        table = fp_flat_put_table(flat, from, float_shape);
        fp_flat_set_u16(flat, table + AT_PRECISION, PRECISION_DOUBLE);
        break;
    case FP_ARROW_TIMESTAMP_US_UTC:
        number = TYPE_TIMESTAMP;
        table = fp_flat_put_table(flat, from, timestamp_shape);
        fp_flat_set_u16(flat, table + AT_UNIT, UNIT_MICROSECOND);
        fp_flat_put_text(flat, table + AT_ZONE, "UTC", 3);
        break;
    default:
        table = fp_flat_put_table(flat, from, int_shape);
        fp_flat_set_u32(flat, table + AT_BITS, type == FP_ARROW_UINT8 ? 8 : 64);
        fp_flat_set_u8(flat, table + AT_SIGNED, type != FP_ARROW_UINT8);
    }
    fp_flat_set_u8(flat, field + AT_TYPE_TYPE, number);
}

static void put_field(fp_flat *flat, size_t from, const fp_arrow_field *field)
{
    size_t table = fp_flat_put_table(flat, from, field_shape);
    fp_flat_set_u8(flat, table + AT_NULLABLE, field->nullable);
    fp_flat_put_text(flat, table + AT_NAME, field->name.bytes, field->name.length);
    put_type(flat, table, field->type);
    fp_flat_put_vector(flat, table + AT_CHILDREN, 0, sizeof(uint32_t));
}

/* The metadata comes before the fields: who looks for its keys need not look far. */
static void put_schema(fp_flat *flat, size_t from, const fp_arrow_schema *schema)
{
    size_t table = fp_flat_put_table(flat, from, schema_shape);
    size_t pairs = fp_flat_put_vector(flat, table + AT_METADATA, schema->n_pairs, sizeof(uint32_t));
    for (size_t i = 0; i < schema->n_pairs; i++) {
        const fp_arrow_pair *pair = &schema->pairs[i];
        size_t at = fp_flat_put_table(flat, pairs + i * sizeof(uint32_t), pair_shape);
        fp_flat_put_text(flat, at + AT_KEY, pair->key.bytes, pair->key.length);
        fp_flat_put_text(flat, at + AT_VALUE, pair->value.bytes, pair->value.length);
    }
    size_t fields = fp_flat_put_vector(flat, table + AT_FIELDS, schema->n_fields, sizeof(uint32_t));
    for (size_t i = 0; i < schema->n_fields; i++)
        put_field(flat, fields + i * sizeof(uint32_t), &schema->fields[i]);
}

int fp_arrow_put_schema(const fp_arrow_schema *schema, fp_buffer *out)
{
    size_t from;
    fp_flat flat = begin_message(out, HEADER_SCHEMA, 0, &from);
    put_schema(&flat, from, schema);
    return end_message(&flat);
}

/* ------------------------------------------------------------------ parsing a schema */

static bool parse_text(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                       fp_arrow_text *out)
{
    return fp_flat_text(reader, table, field, &out->bytes, &out->length);
}

static fp_arrow_type parse_type(fp_flat_reader *reader, const fp_flat_table *field)
{
    fp_flat_table type;
    fp_arrow_text zone;
    bool given = fp_flat_child(reader, field, FIELD_TYPE, &type);
    if (!given || fp_flat_has(reader, field, FIELD_DICTIONARY))
        return FP_ARROW_OTHER;
    switch (fp_flat_number(reader, field, FIELD_TYPE_TYPE, 1)) {
    case TYPE_INT: {
        uint64_t bits = fp_flat_number(reader, &type, INT_BITS, 4);
        bool is_signed = fp_flat_number(reader, &type, INT_SIGNED, 1) != 0;
        if (bits == 64 && is_signed)
            return FP_ARROW_INT64;
        return bits == 8 && !is_signed ? FP_ARROW_UINT8 : FP_ARROW_OTHER;
    }
    case TYPE_FLOATING_POINT:
        return fp_flat_number(reader, &type, FLOAT_PRECISION, 2) == PRECISION_DOUBLE
                   ? FP_ARROW_FLOAT64
                   : FP_ARROW_OTHER;
    case TYPE_UTF8:
        return FP_ARROW_UTF8;
    case TYPE_TIMESTAMP:
        return fp_flat_number(reader, &type, TIMESTAMP_UNIT, 2) == UNIT_MICROSECOND &&
                       parse_text(reader, &type, TIMESTAMP_ZONE, &zone) && zone.length == 3 &&
                       memcmp(zone.bytes, "UTC", 3) == 0
                   ? FP_ARROW_TIMESTAMP_US_UTC
                   : FP_ARROW_OTHER;
    default:
        return FP_ARROW_OTHER;
    }
}

static bool parse_field(fp_flat_reader *reader, const fp_flat_vector *fields, size_t i,
                        fp_arrow_field *out)
{
    fp_flat_table field;
    if (!fp_flat_element(reader, fields, i, &field))
        return false;
    *out = (fp_arrow_field){.nullable = fp_flat_number(reader, &field, FIELD_NULLABLE, 1) != 0,
                            .type = parse_type(reader, &field)};
    if (!parse_text(reader, &field, FIELD_NAME, &out->name))
        out->name = (fp_arrow_text){"", 0};
    return !reader->failed;
}

static bool parse_pair(fp_flat_reader *reader, const fp_flat_vector *pairs, size_t i,
                       fp_arrow_pair *out)
{
    fp_flat_table pair;
    *out = (fp_arrow_pair){{"", 0}, {"", 0}};
    if (!fp_flat_element(reader, pairs, i, &pair))
        return false;
    (void)parse_text(reader, &pair, PAIR_KEY, &out->key);
    (void)parse_text(reader, &pair, PAIR_VALUE, &out->value);
    return !reader->failed;
}

static int parse_vectors(fp_flat_reader *reader, const fp_flat_table *table, size_t most_fields,
                         size_t most_pairs, fp_arrow_schema *out)
{
    fp_flat_vector fields = {0}, pairs = {0};
    (void)fp_flat_vector_of(reader, table, SCHEMA_METADATA, sizeof(uint32_t), &pairs);
    (void)fp_flat_vector_of(reader, table, SCHEMA_FIELDS, sizeof(uint32_t), &fields);
    if (reader->failed || fields.n > most_fields || pairs.n > most_pairs)
        return FACPOOL_E_CORRUPT;
    out->n_fields = fields.n;
    out->n_pairs = pairs.n;
    out->fields = fp_alloc(NULL, (fields.n + 1) * sizeof *out->fields);
    out->pairs = fp_alloc(NULL, (pairs.n + 1) * sizeof *out->pairs);
    if (!out->fields || !out->pairs)
        return FACPOOL_E_NOMEM;
    bool sound = true;
    for (size_t i = 0; sound && i < pairs.n; i++)
        sound = parse_pair(reader, &pairs, i, &out->pairs[i]);
    for (size_t i = 0; sound && i < fields.n; i++)
        sound = parse_field(reader, &fields, i, &out->fields[i]);
    return sound ? 0 : FACPOOL_E_CORRUPT;
}

int fp_arrow_parse_schema(const uint8_t *bytes, size_t n, size_t most_fields, size_t most_pairs,
                          fp_arrow_schema *out)
{
    fp_flat_reader reader = {.bytes = bytes, .size = n};
    fp_flat_table message, table;
    if (!fp_flat_root(&reader, &message) ||
        fp_flat_number(&reader, &message, MESSAGE_VERSION, 2) != METADATA_V5 ||
        fp_flat_number(&reader, &message, MESSAGE_HEADER_TYPE, 1) != HEADER_SCHEMA ||
        fp_flat_number(&reader, &message, MESSAGE_BODY_BYTES, 8) != 0 ||
        !fp_flat_child(&reader, &message, MESSAGE_HEADER, &table) ||
        fp_flat_number(&reader, &table, SCHEMA_ENDIANNESS, 2) != LITTLE_ENDIAN_DATA)
        return FACPOOL_E_CORRUPT;
    fp_arrow_schema parsed = {0};
    int rc = parse_vectors(&reader, &table, most_fields, most_pairs, &parsed);
    if (rc) {
        fp_arrow_schema_free(&parsed);
        return rc;
    }
    *out = parsed;
    return 0;
}

/* ------------------------------------------------------------------ record batches */

size_t fp_arrow_batch_bytes(size_t n_columns, size_t n_buffers)
{
    size_t vectors_at = 68; /* behind two tables and their shapes; each vector is aligned to 8 */
    size_t bytes = FP_ARROW_PREFIX_BYTES + vectors_at + 4 + n_columns * NODE_BYTES + 8 +
                   n_buffers * BUFFER_BYTES;
    return bytes + -bytes % FP_ARROW_ALIGNMENT;
}

int fp_arrow_put_batch(const fp_arrow_batch *batch, fp_buffer *out)
{
    size_t from;
    fp_flat flat = begin_message(out, HEADER_BATCH, batch->body_bytes, &from);
    size_t table = fp_flat_put_table(&flat, from, batch_shape);
    fp_flat_set_u64(&flat, table + AT_ROWS, batch->n_rows);
    size_t nodes = fp_flat_put_vector(&flat, table + AT_NODES, batch->n_columns, NODE_BYTES);
    for (size_t i = 0; i < batch->n_columns; i++, nodes += NODE_BYTES) {
        fp_flat_set_u64(&flat, nodes, batch->n_rows);
        fp_flat_set_u64(&flat, nodes + 8, batch->nulls[i]);
    }
    size_t buffers = fp_flat_put_vector(&flat, table + AT_BUFFERS, batch->n_buffers, BUFFER_BYTES);
    for (size_t i = 0; i < batch->n_buffers; i++, buffers += BUFFER_BYTES) {
        fp_flat_set_u64(&flat, buffers, batch->buffers[i].offset);
        fp_flat_set_u64(&flat, buffers + 8, batch->buffers[i].bytes);
    }
    return end_message(&flat);
}

/* Pairs of 64-bit numbers, as nodes and buffers are. */
static bool is_pair(const fp_flat_reader *reader, const fp_flat_vector *vector, size_t i,
                    uint64_t first, uint64_t second)
{
    const uint8_t *at = reader->bytes + vector->at + i * 16;
    return fp_load_u64(at) == first && fp_load_u64(at + 8) == second;
}

bool fp_arrow_is_batch(const uint8_t *message, size_t n, const fp_arrow_batch *batch)
{
    if (n < FP_ARROW_PREFIX_BYTES || fp_load_u32(message) != FP_ARROW_CONTINUATION ||
        fp_load_u32(message + 4) != n - FP_ARROW_PREFIX_BYTES)
        return false;
    fp_flat_reader reader = {.bytes = message + FP_ARROW_PREFIX_BYTES,
                             .size = n - FP_ARROW_PREFIX_BYTES};
    fp_flat_table root, table;
    fp_flat_vector nodes, buffers;
    if (!fp_flat_root(&reader, &root) ||
        fp_flat_number(&reader, &root, MESSAGE_VERSION, 2) != METADATA_V5 ||
        fp_flat_number(&reader, &root, MESSAGE_HEADER_TYPE, 1) != HEADER_BATCH ||
        fp_flat_number(&reader, &root, MESSAGE_BODY_BYTES, 8) != batch->body_bytes ||
        !fp_flat_child(&reader, &root, MESSAGE_HEADER, &table) ||
        fp_flat_number(&reader, &table, BATCH_ROWS, 8) != batch->n_rows ||
        fp_flat_has(&reader, &table, BATCH_COMPRESSION) ||
        !fp_flat_vector_of(&reader, &table, BATCH_NODES, NODE_BYTES, &nodes) ||
        !fp_flat_vector_of(&reader, &table, BATCH_BUFFERS, BUFFER_BYTES, &buffers) ||
        nodes.n != batch->n_columns || buffers.n != batch->n_buffers)
        return false;
    bool same = !reader.failed;
    for (size_t i = 0; same && i < nodes.n; i++)
        same = is_pair(&reader, &nodes, i, batch->n_rows, batch->nulls[i]);
    for (size_t i = 0; same && i < buffers.n; i++)
        same = is_pair(&reader, &buffers, i, batch->buffers[i].offset, batch->buffers[i].bytes);
    return same;
}

/* ------------------------------------------------------------------ the footer */

int fp_arrow_put_footer(const fp_arrow_schema *schema, size_t n_blocks, fp_arrow_block_fn block_at,
                        const void *context, fp_buffer *out, uint64_t *footer_bytes)
{
    fp_flat flat = fp_flat_begin(out);
    size_t table = fp_flat_put_table(&flat, 0, footer_shape);
    fp_flat_set_u16(&flat, table + AT_VERSION, METADATA_V5);
    fp_flat_put_vector(&flat, table + AT_DICTIONARIES, 0, BLOCK_BYTES);
    size_t blocks = fp_flat_put_vector(&flat, table + AT_BATCHES, n_blocks, BLOCK_BYTES);
    for (size_t i = 0; i < n_blocks; i++, blocks += BLOCK_BYTES) {
        fp_arrow_block block = block_at(context, i);
        fp_flat_set_u64(&flat, blocks, block.offset);
        fp_flat_set_u32(&flat, blocks + 8, (uint32_t)block.metadata_bytes);
        fp_flat_set_u64(&flat, blocks + 16, block.body_bytes);
    }
    put_schema(&flat, table + AT_FOOTER_SCHEMA, schema);
    size_t padding = -(out->size - flat.start + FP_ARROW_END_BYTES) % FP_ARROW_ALIGNMENT;
    uint8_t *end = flat.no_memory ? NULL : fp_buffer_reserve(out, padding + FP_ARROW_END_BYTES);
    if (!end)
        return FACPOOL_E_NOMEM;
    memset(end, 0, padding);
    *footer_bytes = out->size - flat.start + padding;
    fp_store_u32(end + padding, (uint32_t)*footer_bytes);
    memcpy(end + padding + 4, FP_ARROW_FILE_MAGIC, FP_ARROW_FILE_MAGIC_BYTES);
    out->size += padding + FP_ARROW_END_BYTES;
    return 0;
}
