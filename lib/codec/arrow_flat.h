/* Flatbuffers, as little of them as Arrow's messages need: written from front to back, and read
 * from bytes that may be anything. Called by arrow_message.c; knows no schema.
 *
 * A flatbuffer is a tree of tables. A table begins with how far before it its shape (vtable) lies:
 * a list of 16-bit numbers, its own length, the table's, then for each field where in the table it
 * is (0: left out). Texts, vectors and tables are pointed to by unsigned offsets, forward only. */
#ifndef FP_CODEC_ARROW_FLAT_H
#define FP_CODEC_ARROW_FLAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"

/* ------------------------------------------------------------------ writing */

/* Places are counted from `start` of the buffer. After running out of memory everything further is
 * ignored. */
typedef struct fp_flat {
    fp_buffer *out;
    size_t start;
    bool no_memory;
} fp_flat;

/* Begins a flatbuffer at the buffer's end; its root is put next, from place 0. */
fp_flat fp_flat_begin(fp_buffer *out);

/* These put something behind what is there, to which the offset at place `from` then leads, and
 * give its place. A table's fields are zero, `shape` says where they are; a vector's place is that
 * of its first element, aligned to 8 bytes where elements are that large, all zero. */
size_t fp_flat_put_table(fp_flat *flat, size_t from, const uint16_t *shape);
size_t fp_flat_put_vector(fp_flat *flat, size_t from, size_t n, size_t each);
void fp_flat_put_text(fp_flat *flat, size_t from, const char *bytes, size_t length);

void fp_flat_set_u8(fp_flat *flat, size_t place, uint8_t value);
void fp_flat_set_u16(fp_flat *flat, size_t place, uint16_t value);
void fp_flat_set_u32(fp_flat *flat, size_t place, uint32_t value);
void fp_flat_set_u64(fp_flat *flat, size_t place, uint64_t value);

/* ------------------------------------------------------------------ reading */

/* Places are counted from the first byte; 0 stands for what is left out. Nothing outside `size`
 * bytes is ever read; after a place that can't be `failed` is set and everything further reads as
 * left out. */
typedef struct fp_flat_reader {
    const uint8_t *bytes;
    size_t size;
    bool failed;
} fp_flat_reader;

/* A table, whose shape was checked. */
typedef struct fp_flat_table {
    size_t at;
    size_t bytes;
    size_t shape_at;
    size_t n_fields;
} fp_flat_table;

typedef struct fp_flat_vector {
    size_t at; /* of the first element */
    size_t n;
} fp_flat_vector;

/* False: left out. */
bool fp_flat_root(fp_flat_reader *reader, fp_flat_table *out);
bool fp_flat_child(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                   fp_flat_table *out);
bool fp_flat_vector_of(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                       size_t each, fp_flat_vector *out);
bool fp_flat_text(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                  const char **bytes, size_t *length);

/* The table to which element i of a vector of offsets leads. */
bool fp_flat_element(fp_flat_reader *reader, const fp_flat_vector *vector, size_t i,
                     fp_flat_table *out);

/* A number of 1, 2, 4 or 8 bytes; 0 where it is left out, as all defaults that matter here are. */
uint64_t fp_flat_number(fp_flat_reader *reader, const fp_flat_table *table, size_t field,
                        size_t bytes);

bool fp_flat_has(const fp_flat_reader *reader, const fp_flat_table *table, size_t field);

#endif
