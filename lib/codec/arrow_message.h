/* The few Arrow IPC messages that the memory_map format is made of: a schema of flat columns, a
 * record batch, a file's footer. Called by the store that writes and reads such files; bytes in,
 * bytes out. It never touches the columns themselves. */
#ifndef FP_CODEC_ARROW_MESSAGE_H
#define FP_CODEC_ARROW_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buffer.h"

/* A message is this, the metadata's length as an i32, the metadata, then the body. The metadata
 * ends in zeros that bring the buffer it is put into to a multiple of FP_ARROW_ALIGNMENT. */
#define FP_ARROW_CONTINUATION UINT32_C(0xFFFFFFFF)
#define FP_ARROW_PREFIX_BYTES 8
#define FP_ARROW_ALIGNMENT    64

typedef enum fp_arrow_type {
    FP_ARROW_OTHER, /* any type that is not among these */
    FP_ARROW_INT64,
    FP_ARROW_UINT8,
    FP_ARROW_FLOAT64,
    FP_ARROW_UTF8,
    FP_ARROW_TIMESTAMP_US_UTC
} fp_arrow_type;

typedef struct fp_arrow_text {
    const char *bytes; /* not NUL-terminated */
    size_t length;
} fp_arrow_text;

typedef struct fp_arrow_field {
    fp_arrow_text name;
    fp_arrow_type type;
    bool nullable;
} fp_arrow_field;

/* A key and its value, of custom metadata. */
typedef struct fp_arrow_pair {
    fp_arrow_text key;
    fp_arrow_text value;
} fp_arrow_pair;

typedef struct fp_arrow_schema {
    size_t n_fields;
    fp_arrow_field *fields;
    size_t n_pairs;
    fp_arrow_pair *pairs;
} fp_arrow_schema;

void fp_arrow_schema_free(fp_arrow_schema *schema);

/* Appends the schema's message. 0 or NOMEM. */
int fp_arrow_put_schema(const fp_arrow_schema *schema, fp_buffer *out);

/* Parses the metadata of a message (without its prefix) that may be anything. Texts point into
 * `bytes`, several maybe to the same ones; the arrays are the caller's, by fp_arrow_schema_free.
 * Errors: CORRUPT (no sound little-endian schema message, or one of more fields or pairs than
 * that), NOMEM. */
int fp_arrow_parse_schema(const uint8_t *bytes, size_t n, size_t most_fields, size_t most_pairs,
                          fp_arrow_schema *out);

/* A stretch of a body. */
typedef struct fp_arrow_buffer {
    uint64_t offset;
    uint64_t bytes;
} fp_arrow_buffer;

typedef struct fp_arrow_batch {
    uint64_t n_rows;
    uint64_t body_bytes;
    size_t n_columns;
    const uint64_t *nulls; /* of each column */
    size_t n_buffers;
    const fp_arrow_buffer *buffers;
} fp_arrow_batch;

/* How long a batch's message is without its body: it depends on these two alone. */
size_t fp_arrow_batch_bytes(size_t n_columns, size_t n_buffers);

/* Appends it. 0 or NOMEM. */
int fp_arrow_put_batch(const fp_arrow_batch *batch, fp_buffer *out);

/* Whether a message (prefix, metadata, padding: `n` bytes of anything) is a record batch of just
 * these rows, columns and buffers, without compression. */
bool fp_arrow_is_batch(const uint8_t *message, size_t n, const fp_arrow_batch *batch);

/* A message in a file, as the footer names it. */
typedef struct fp_arrow_block {
    uint64_t offset;
    uint64_t metadata_bytes; /* up to the body */
    uint64_t body_bytes;
} fp_arrow_block;

/* A file's footer, its length and the magic that ends the file. Appended so that, where the buffer
 * holds a multiple of FP_ARROW_ALIGNMENT bytes, it does afterwards; *footer_bytes gets the length.
 * `blocks` are given one by one by the callback. 0 or NOMEM. */
typedef fp_arrow_block (*fp_arrow_block_fn)(const void *context, size_t i);
int fp_arrow_put_footer(const fp_arrow_schema *schema, size_t n_blocks, fp_arrow_block_fn block_at,
                        const void *context, fp_buffer *out, uint64_t *footer_bytes);

#define FP_ARROW_FILE_MAGIC       "ARROW1"
#define FP_ARROW_FILE_MAGIC_BYTES 6
/* Behind a footer: its length, the magic. */
#define FP_ARROW_END_BYTES 10

#endif
