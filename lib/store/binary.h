/* The layout of the binary format, as FORMAT.md describes it, for the files that write and read it.
 * Numbers here are stored in files: frozen. */
#ifndef FP_STORE_BINARY_H
#define FP_STORE_BINARY_H

#include "store/file_log.h"

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
#define FP_BINARY_MAGIC_BYTES 8

#define FP_BINARY_ALIGNMENT 64

/* Checked before anything is allocated. */
#define FP_BINARY_MOST_HEADER_BYTES ((uint32_t)32 << 20)
#define FP_BINARY_MOST_BLOCK_BYTES  ((uint64_t)1 << 30)
#define FP_BINARY_MOST_INDEX_BYTES  ((uint64_t)4 << 30)
#define FP_BINARY_MOST_SEQUENCE     ((uint64_t)1 << 48)

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

enum { FP_KIND_OK = 1, FP_KIND_NOT_OK = 2, FP_KIND_INDEX = 3 };
enum { FP_FLAG_UNSYNCED = 1 };

/* A block's header. The first and last code, NUL-terminated, and zeros up to its length follow. */
enum {
    FP_BLOCK_CHECKSUM = 8, /* of the header behind it */
    FP_BLOCK_HEADER_BYTES = 16,
    FP_BLOCK_KIND = 20,
    FP_BLOCK_FLAGS = 21,
    FP_BLOCK_CODE_MIN_BYTES = 22,
    FP_BLOCK_CODE_MAX_BYTES = 23,
    FP_BLOCK_BYTES = 24,
    FP_BLOCK_OFFSET = 32,
    FP_BLOCK_SEQUENCE = 40,
    FP_BLOCK_DURABLE_END = 48,
    FP_BLOCK_FILE_ID = 56, /* its first 8 bytes */
    FP_BLOCK_N_ROWS = 64,
    FP_BLOCK_N_PAGES = 68,
    FP_BLOCK_N_COLUMNS = 72,
    FP_BLOCK_PAGE_ROWS = 76,
    FP_BLOCK_DATE_MIN = 80,
    FP_BLOCK_DATE_MAX = 88,
    FP_BLOCK_TIMESTAMP_MIN = 96,
    FP_BLOCK_TIMESTAMP_MAX = 104,
    FP_BLOCK_STATUS_ROWS = 112, /* 6 counts */
    FP_BLOCK_N_CODES = 136,
    FP_BLOCK_DICTIONARY_BYTES = 140,
    FP_BLOCK_DICTIONARY_CHECKSUM = 144,
    FP_BLOCK_DIRECTORY_CHECKSUM = 152,
    FP_BLOCK_DIRECTORY_BYTES = 160,
    FP_BLOCK_RESERVED = 164,
    FP_BLOCK_TEXTS = 168
};

/* The directory: one entry a page, then one a chunk, column by column. */
enum {
    FP_PAGE_DATE_FIRST = 0,
    FP_PAGE_DATE_LAST = 8,
    FP_PAGE_CODE_FIRST = 16,
    FP_PAGE_CODE_LAST = 20,
    FP_PAGE_CODE_MIN = 24,
    FP_PAGE_CODE_MAX = 28,
    FP_PAGE_ENTRY_BYTES = 32
};
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

/* An index block: header, one entry a block, trailer. */
enum {
    FP_INDEX_N_BLOCKS = 0,
    FP_INDEX_N_DAMAGED = 8,
    FP_INDEX_N_GIVEN_UP = 16,
    FP_INDEX_ENTRIES = 24
};
enum {
    FP_ENTRY_OFFSET = 0,
    FP_ENTRY_BYTES = 8,
    FP_ENTRY_SEQUENCE = 16,
    FP_ENTRY_OPEN_BYTES = 24,
    FP_ENTRY_N_ROWS = 28,
    FP_ENTRY_KIND = 32,
    FP_ENTRY_CODE_MIN_BYTES = 33,
    FP_ENTRY_CODE_MAX_BYTES = 34,
    FP_ENTRY_RESERVED = 35,
    FP_ENTRY_N_PAGES = 36,
    FP_ENTRY_DATE_MIN = 40,
    FP_ENTRY_DATE_MAX = 48,
    FP_ENTRY_TIMESTAMP_MIN = 56,
    FP_ENTRY_TIMESTAMP_MAX = 64,
    FP_ENTRY_STATUS_ROWS = 72,
    FP_ENTRY_TEXTS = 96
};
enum {
    FP_TRAILER_CHECKSUM = 8, /* of the 24 bytes behind it */
    FP_TRAILER_INDEX_OFFSET = 16,
    FP_TRAILER_INDEX_BYTES = 24,
    FP_TRAILER_FILE_ID = 32,
    FP_TRAILER_BYTES = 40
};

static inline uint64_t fp_binary_file_id(const fp_schema *schema)
{
    return fp_load_u64(schema->file_id);
}

static inline uint32_t fp_binary_n_pages(uint32_t n_rows)
{
    return (n_rows + FP_PAGE_ROWS - 1) / FP_PAGE_ROWS;
}

static inline uint32_t fp_binary_n_columns(bool all_ok, size_t n_factors)
{
    return all_ok ? (uint32_t)(FP_STORED_FACTOR + n_factors) : FP_STORED_NOT_OK_COLUMNS;
}

/* Zeros that make `bytes` a multiple of the alignment. */
static inline uint32_t fp_binary_padding(uint64_t bytes)
{
    return (uint32_t)(-bytes % FP_BINARY_ALIGNMENT);
}

/* A block's header, its checks passed. */
typedef struct fp_binary_header {
    fp_parsed_block parsed;
    uint32_t header_bytes;
    uint32_t n_columns;
    uint32_t n_codes;
    uint32_t directory_bytes;
    uint32_t dictionary_bytes;
    uint64_t directory_checksum;
    uint64_t dictionary_checksum;
} fp_binary_header;

/* The longest header of a block. */
#define FP_BINARY_MOST_BLOCK_HEADER_BYTES                                                          \
    (FP_BLOCK_TEXTS + 2 * (FP_CODE_MAX_BYTES + 1) + FP_BINARY_ALIGNMENT)

/* Parses and checks the header that begins the n bytes, which lie at `offset` of the file. False:
 * it is bad, or longer than n. Texts of out->parsed point into `bytes`; its state is not set: the
 * caller knows how long the file is. */
bool fp_binary_parse_header(const fp_schema *schema, uint64_t offset, const uint8_t *bytes,
                            size_t n, fp_binary_header *out);

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
size_t fp_binary_most_rows(size_t n_factors);
int fp_binary_encode(fp_encoder *encoder, const fp_batch *batch, size_t first, size_t n,
                     fp_encoded_block *out, facpool_error *err);
void fp_binary_seal(fp_encoded_block *block, const fp_seal *seal);

/* Fills a block header's sealed fields and its checksum. */
void fp_binary_seal_header(uint8_t *header, const fp_seal *seal);

/* binary_index.c */
int fp_binary_encode_index(const fp_schema *schema, const fp_log_index *index,
                           fp_index_counts counts, const fp_seal *seal, fp_buffer *out,
                           facpool_error *err);
int fp_binary_find_index(const fp_place *place, uint64_t *offset, bool *found, facpool_error *err);
int fp_binary_parse_index(const fp_place *place, uint64_t offset, fp_parsed_index *out,
                          facpool_error *err);
bool fp_binary_trailer_is_sound(const uint8_t *trailer, const fp_schema *schema,
                                uint64_t index_offset, uint64_t index_bytes);

/* binary_read.c */
extern const fp_source_type fp_binary_source_type;

#endif
