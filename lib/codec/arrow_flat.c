/* Writing and reading flatbuffers: see arrow_flat.h. The writer knows every place as it goes, since
 * parents come before what they point to; the reader believes nothing. */
#include "codec/arrow_flat.h"

#include <string.h>

#define OFFSET_BYTES sizeof(uint32_t)

/* ------------------------------------------------------------------ writing */

/* Room for n zero bytes at the end, which is first brought to where end + `ahead` is a multiple.
 * Their place. */
static size_t grow(fp_flat *flat, size_t n, size_t ahead, size_t multiple)
{
    size_t end = flat->out->size - flat->start;
    size_t padding = (multiple - (end + ahead) % multiple) % multiple;
    uint8_t *at = flat->no_memory ? NULL : fp_buffer_reserve(flat->out, padding + n);
    if (!at) {
        flat->no_memory = true;
        return 0;
    }
    memset(at, 0, padding + n);
    flat->out->size += padding + n;
    return end + padding;
}

static uint8_t *at_place(fp_flat *flat, size_t place)
{
    return flat->out->data + flat->start + place;
}

void fp_flat_set_u8(fp_flat *flat, size_t place, uint8_t value)
{
    if (!flat->no_memory)
        *at_place(flat, place) = value;
}

void fp_flat_set_u16(fp_flat *flat, size_t place, uint16_t value)
{
    fp_flat_set_u8(flat, place, (uint8_t)value);
    fp_flat_set_u8(flat, place + 1, (uint8_t)(value >> 8));
}

void fp_flat_set_u32(fp_flat *flat, size_t place, uint32_t value)
{
    if (!flat->no_memory)
        fp_store_u32(at_place(flat, place), value);
}

void fp_flat_set_u64(fp_flat *flat, size_t place, uint64_t value)
{
    if (!flat->no_memory)
        fp_store_u64(at_place(flat, place), value);
}

static void lead(fp_flat *flat, size_t from, size_t to)
{
    fp_flat_set_u32(flat, from, (uint32_t)(to - from));
}

fp_flat fp_flat_begin(fp_buffer *out)
{
    fp_flat flat = {.out = out, .start = out->size};
    grow(&flat, OFFSET_BYTES, 0, 1);
    return flat;
}

size_t fp_flat_put_table(fp_flat *flat, size_t from, const uint16_t *shape)
{
    size_t shape_bytes = shape[0];
    size_t shape_at = grow(flat, shape_bytes, 0, 2);
    for (size_t i = 0; i < shape_bytes / 2; i++)
        fp_flat_set_u16(flat, shape_at + 2 * i, shape[i]);
    size_t table = grow(flat, shape[1], 0, 8);
    fp_flat_set_u32(flat, table, (uint32_t)(table - shape_at));
    lead(flat, from, table);
    return table;
}

size_t fp_flat_put_vector(fp_flat *flat, size_t from, size_t n, size_t each)
{
    size_t alignment = each % 8 == 0 ? 8 : OFFSET_BYTES;
    size_t length_at = grow(flat, OFFSET_BYTES + n * each, OFFSET_BYTES, alignment);
    fp_flat_set_u32(flat, length_at, (uint32_t)n);
    lead(flat, from, length_at);
    return length_at + OFFSET_BYTES;
}

void fp_flat_put_text(fp_flat *flat, size_t from, const char *bytes, size_t length)
{
    size_t length_at = grow(flat, OFFSET_BYTES + length + 1, 0, OFFSET_BYTES);
    fp_flat_set_u32(flat, length_at, (uint32_t)length);
    if (!flat->no_memory && length)
        memcpy(at_place(flat, length_at + OFFSET_BYTES), bytes, length);
    lead(flat, from, length_at);
}

/* ------------------------------------------------------------------ reading */

/* Whether n bytes lie at a place. */
static bool lies_within(fp_flat_reader *reader, size_t place, uint64_t n)
{
    if (!reader->failed && place <= reader->size && n <= reader->size - place)
        return true;
    reader->failed = true;
    return false;
}

static size_t load_u16(const fp_flat_reader *reader, size_t place)
{
    return (size_t)reader->bytes[place] | (size_t)reader->bytes[place + 1] << 8;
}

/* Where the offset at a place leads. 0: to no place at which so much as an offset lies. */
static size_t follow(fp_flat_reader *reader, size_t place)
{
    if (!lies_within(reader, place, OFFSET_BYTES))
        return 0;
    uint32_t offset = fp_load_u32(reader->bytes + place);
    if (offset == 0 || offset > reader->size - place ||
        !lies_within(reader, place + offset, OFFSET_BYTES)) {
        reader->failed = true;
        return 0;
    }
    return place + offset;
}

static bool table_at(fp_flat_reader *reader, size_t place, fp_flat_table *out)
{
    if (!place || !lies_within(reader, place, OFFSET_BYTES))
        return false;
    /* The shape may lie before the table or behind it. */
    int64_t shape_at = (int64_t)place - (int32_t)fp_load_u32(reader->bytes + place);
    if (shape_at <= 0 || (uint64_t)shape_at > reader->size ||
        !lies_within(reader, (size_t)shape_at, 4)) {
        reader->failed = true;
        return false;
    }
    size_t shape_bytes = load_u16(reader, (size_t)shape_at);
    fp_flat_table table = {.at = place,
                           .bytes = load_u16(reader, (size_t)shape_at + 2),
                           .shape_at = (size_t)shape_at,
                           .n_fields = shape_bytes / 2 - 2};
    if (shape_bytes < 4 || shape_bytes % 2 || table.bytes < OFFSET_BYTES ||
        !lies_within(reader, table.shape_at, shape_bytes) ||
        !lies_within(reader, place, table.bytes)) {
        reader->failed = true;
        return false;
    }
    *out = table;
    return true;
}

/* The place of a field of so many bytes; 0: left out. */
static size_t field_at(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                       size_t bytes)
{
    if (reader->failed || field >= table->n_fields)
        return 0;
    size_t within = load_u16(reader, table->shape_at + 4 + 2 * field);
    if (within == 0)
        return 0;
    if (within > table->bytes || bytes > table->bytes - within) {
        reader->failed = true;
        return 0;
    }
    return table->at + within;
}

bool fp_flat_has(const fp_flat_reader *reader, const fp_flat_table *table, size_t field)
{
    return !reader->failed && field < table->n_fields &&
           load_u16(reader, table->shape_at + 4 + 2 * field) != 0;
}

bool fp_flat_root(fp_flat_reader *reader, fp_flat_table *out)
{
    return table_at(reader, follow(reader, 0), out);
}

bool fp_flat_child(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                   fp_flat_table *out)
{
    size_t at = field_at(reader, table, field, OFFSET_BYTES);
    return at && table_at(reader, follow(reader, at), out);
}

bool fp_flat_vector_of(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                       size_t each, fp_flat_vector *out)
{
    size_t at = field_at(reader, table, field, OFFSET_BYTES);
    size_t length_at = at ? follow(reader, at) : 0;
    if (!length_at)
        return false;
    uint32_t n = fp_load_u32(reader->bytes + length_at);
    if (!lies_within(reader, length_at + OFFSET_BYTES, (uint64_t)n * each))
        return false;
    *out = (fp_flat_vector){.at = length_at + OFFSET_BYTES, .n = n};
    return true;
}

bool fp_flat_text(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                  const char **bytes, size_t *length)
{
    fp_flat_vector text;
    if (!fp_flat_vector_of(reader, table, field, 1, &text))
        return false;
    *bytes = (const char *)reader->bytes + text.at;
    *length = text.n;
    return true;
}

bool fp_flat_element(fp_flat_reader *reader, const fp_flat_vector *vector, size_t i,
                     fp_flat_table *out)
{
    return table_at(reader, follow(reader, vector->at + i * OFFSET_BYTES), out);
}

uint64_t fp_flat_number(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                        size_t bytes)
{
    size_t at = field_at(reader, table, field, bytes);
    uint64_t value = 0;
    for (size_t i = 0; at && i < bytes; i++)
        value |= (uint64_t)reader->bytes[at + i] << (8 * i);
    return value;
}
