/* The layout of the binary format, as FORMAT.md describes it, for the files that write and read it.
 * Numbers here are stored in files: frozen. */
#ifndef FP_STORE_BINARY_H
#define FP_STORE_BINARY_H

#include "store/front.h"

#define FP_BINARY_VERSION 1

/* Text tools and careless copies break the eighth bit, CR LF or the end-of-file sign, as with PNG.
 */
#define FP_BINARY_FILE_MAGIC                                                                       \
    "\x89"                                                                                         \
    "FPB\r\n\x1a\n"
#define FP_BINARY_BLOCK_MAGIC                                                                      \
    "\x8f"                                                                                         \
    "FPBLOCK"
#define FP_BINARY_TRAILER_MAGIC                                                                    \
    "\x8f"                                                                                         \
    "FPBEND\n"

/* The file header. */
enum {
    FP_FILE_CHECKSUM = 8, /* of everything behind it */
    FP_FILE_VERSION = 16,
    FP_FILE_INCOMPATIBLE = 20,
    FP_FILE_HEADER_BYTES = 24,
    FP_FILE_N_FACTORS = 28,
    FP_FILE_ID = 32,
    FP_FILE_CREATED = 48,
    FP_FILE_TAG_BYTES = 56, /* UINT32_MAX: no tag */
    FP_FILE_RESERVED = 60,
    FP_FILE_NAMES = 64
};

/* The directory: behind the entries of pages one a chunk, column by column. */
enum {
    FP_CHUNK_CHECKSUM = 0,
    FP_CHUNK_BYTES = 8,
    FP_CHUNK_ENCODING = 12, /* three zero bytes follow */
    FP_CHUNK_ENTRY_BYTES = 16
};

/* Columns in stored order: the first three in every block, then factors or what a failure has. */
enum {
    FP_STORED_DATE = 0,
    FP_STORED_CODE = 1,
    FP_STORED_TIMESTAMP = 2,
    FP_STORED_FACTOR = 3, /* ok blocks */
    FP_STORED_STATUS = 3, /* not-ok blocks */
    FP_STORED_FAILURE_CODE = 4,
    FP_STORED_MESSAGE = 5,
    FP_STORED_NOT_OK_COLUMNS = 6
};

/* The end of an index block. */
enum {
    FP_TRAILER_CHECKSUM = 8, /* of the 24 bytes behind it */
    FP_TRAILER_INDEX_OFFSET = 16,
    FP_TRAILER_INDEX_BYTES = 24,
    FP_TRAILER_FILE_ID = 32,
    FP_TRAILER_BYTES = 40
};

/* How its blocks' fronts look, for so many factors. */
static inline fp_front_rules fp_binary_rules(size_t n_factors)
{
    return (fp_front_rules){.magic = FP_BINARY_BLOCK_MAGIC,
                            .ok_columns = (uint32_t)(FP_STORED_FACTOR + n_factors),
                            .not_ok_columns = FP_STORED_NOT_OK_COLUMNS,
                            .column_bytes = FP_CHUNK_ENTRY_BYTES,
                            .least_tail_bytes = FP_TRAILER_BYTES,
                            .most_tail_bytes = FP_TRAILER_BYTES};
}

/* binary_block.c */
int fp_binary_parse_block(const fp_place *place, uint64_t offset, fp_parsed_block *out,
                          facpool_error *err);
int fp_binary_find_block(const fp_place *place, uint64_t from, uint64_t *offset,
                         facpool_error *err);
int fp_binary_check_block(const fp_place *place, uint64_t offset, fp_block_check *out,
                          facpool_error *err);

/* binary_encode.c */
fp_encoder *fp_binary_new_encoder(const fp_schema *schema, int compression_level);
void fp_binary_free_encoder(fp_encoder *encoder);
int fp_binary_encode(fp_encoder *encoder, const fp_batch *batch, size_t first, size_t n,
                     fp_encoded_block *out, facpool_error *err);
void fp_binary_seal(fp_encoded_block *block, const fp_seal *seal);

/* binary_index.c */
int fp_binary_encode_index(const fp_schema *schema, const fp_log_index *index,
                           fp_index_counts counts, const fp_seal *seal, fp_buffer *out,
                           facpool_error *err);
int fp_binary_find_index(const fp_place *place, uint64_t *offset, bool *sound, facpool_error *err);
int fp_binary_parse_index(const fp_place *place, uint64_t offset, fp_parsed_index *out,
                          facpool_error *err);
bool fp_binary_trailer_is_sound(const uint8_t *trailer, const fp_schema *schema,
                                uint64_t index_offset, uint64_t index_bytes);

/* binary_read.c */
extern const fp_source_type fp_binary_source_type;

#endif
