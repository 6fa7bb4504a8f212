/* The front of a block (header, page directory, dictionary) and the entries of an index, as
 * FORMAT.md describes them: shared by the formats binary and memory_map, which differ in what lies
 * around them. Called by the files of those formats. Numbers here are stored in files: frozen. */
#ifndef FP_STORE_FRONT_H
#define FP_STORE_FRONT_H

#include "store/dictionary.h"
#include "store/file_log.h"

#define FP_MAGIC_BYTES     8
#define FP_BLOCK_ALIGNMENT 64

/* Checked before anything is allocated. */
#define FP_MOST_HEADER_BYTES ((uint32_t)32 << 20)
#define FP_MOST_BLOCK_BYTES  ((uint64_t)1 << 30)
#define FP_MOST_INDEX_BYTES  ((uint64_t)4 << 30)
#define FP_MOST_SEQUENCE     ((uint64_t)1 << 48)

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

/* The longest header of a block. */
#define FP_MOST_BLOCK_HEADER_BYTES                                                                 \
    (FP_BLOCK_TEXTS + 2 * (FP_CODE_MAX_BYTES + 1) + FP_BLOCK_ALIGNMENT)

/* The directory begins with one entry a page. */
enum {
    FP_PAGE_DATE_FIRST = 0,
    FP_PAGE_DATE_LAST = 8,
    FP_PAGE_CODE_FIRST = 16,
    FP_PAGE_CODE_LAST = 20,
    FP_PAGE_CODE_MIN = 24,
    FP_PAGE_CODE_MAX = 28,
    FP_PAGE_ENTRY_BYTES = 32
};

/* An index block: header, one entry a block, what the format ends it with. */
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

static inline uint64_t fp_front_file_id(const fp_schema *schema)
{
    return fp_load_u64(schema->file_id);
}

static inline uint32_t fp_front_n_pages(uint32_t n_rows)
{
    return (n_rows + FP_PAGE_ROWS - 1) / FP_PAGE_ROWS;
}

/* Zeros that make `bytes` a multiple of the alignment. */
static inline uint32_t fp_front_padding(uint64_t bytes)
{
    return (uint32_t)(-bytes % FP_BLOCK_ALIGNMENT);
}

/* What a format says of its blocks. */
typedef struct fp_front_rules {
    const char *magic;         /* of a block header, FP_MAGIC_BYTES of it */
    uint32_t at;               /* where in its block the header begins */
    uint32_t ok_columns;       /* stored in pages, in a block of ok rows */
    uint32_t not_ok_columns;   /* in one of other rows */
    uint32_t column_bytes;     /* of the directory: for each column and page */
    uint32_t more_bytes;       /* of the directory, behind all others */
    uint32_t least_tail_bytes; /* of an index block, behind its entries */
    uint32_t most_tail_bytes;
} fp_front_rules;

static inline uint32_t fp_front_n_columns(const fp_front_rules *rules, bool all_ok)
{
    return all_ok ? rules->ok_columns : rules->not_ok_columns;
}

static inline uint64_t fp_front_directory_bytes(const fp_front_rules *rules, bool all_ok,
                                                uint32_t n_pages)
{
    uint64_t columns_bytes = (uint64_t)fp_front_n_columns(rules, all_ok) * rules->column_bytes;
    return n_pages * (FP_PAGE_ENTRY_BYTES + columns_bytes) + rules->more_bytes;
}

/* A block's header, its checks passed. */
typedef struct fp_front_header {
    fp_parsed_block parsed;
    uint32_t header_bytes;
    uint32_t n_columns;
    uint32_t n_codes;
    uint32_t directory_bytes;
    uint32_t dictionary_bytes;
    uint64_t directory_checksum;
    uint64_t dictionary_checksum;
} fp_front_header;

/* ------------------------------------------------------------------ front_header.c */

/* Parses and checks the header that begins the n bytes, of a block at `offset` of the file. False:
 * it is bad, or longer than n. Texts of out->parsed point into `bytes`; its state is not set: the
 * caller knows how long the file is. */
bool fp_front_parse(const fp_front_rules *rules, const fp_schema *schema, uint64_t offset,
                    const uint8_t *bytes, size_t n, fp_front_header *out);

/* The same of a block in a file, its state set. Errors: IO, NOMEM. */
int fp_front_parse_at(const fp_front_rules *rules, const fp_place *place, uint64_t offset,
                      fp_front_header *out, facpool_error *err);

/* Writes a header of header->header_bytes, all but what sealing fills. */
void fp_front_fill(const fp_front_rules *rules, const fp_front_header *header, uint64_t file_id,
                   uint8_t *to);

/* Fills a header's sealed fields and its checksum. */
void fp_front_seal(uint8_t *header, const fp_seal *seal);

/* One checksummed stretch of a file. */
typedef struct fp_front_part {
    uint64_t offset;
    uint64_t bytes;
    uint64_t checksum;
} fp_front_part;

/* Notes damage at an offset. */
void fp_front_note_damage(fp_block_check *check, uint64_t offset);

/* Reads a part and checks it; damage is noted. Errors: IO, NOMEM. */
int fp_front_check_part(const fp_place *place, const fp_front_part *part, bool *sound,
                        fp_block_check *check, facpool_error *err);

/* Checks a data block's dictionary and directory; where the latter is sound it is put into
 * *directory, else *sound is false. Errors: IO, NOMEM. */
int fp_front_check(const fp_front_rules *rules, const fp_place *place,
                   const fp_front_header *header, fp_buffer *directory, bool *sound,
                   fp_block_check *check, facpool_error *err);

/* ------------------------------------------------------------------ front_encode.c */

/* The most rows of a block, for so many factors. */
size_t fp_front_most_rows(size_t n_factors);

/* Ranges and counts of rows first .. first + n - 1, whose dictionary is built. The texts are the
 * dictionary's. */
void fp_front_describe(const fp_batch *batch, size_t first, size_t n,
                       const fp_dictionary *dictionary, fp_block *out);

/* Writes the directory's entries of their pages. */
void fp_front_put_pages(const fp_batch *batch, size_t first, size_t n,
                        const fp_dictionary *dictionary, uint8_t *to);

/* ------------------------------------------------------------------ front_read.c */

/* CORRUPT, naming block and part. */
int fp_front_fail_damaged(const fp_source *source, const fp_block *block, const char *what,
                          facpool_error *err);

/* Reads a block's front, up to its dictionary at least, into the context's scratch, and checks
 * header and directory. The dictionary, counted for the caller, is the file's cached one where that
 * is the same. Errors: CORRUPT, IO, NOMEM. */
int fp_front_open(const fp_front_rules *rules, const fp_log_source *source, size_t i,
                  fp_read_context *context, fp_front_header *header, fp_cached_dictionary **codes,
                  facpool_error *err);

/* Whether a sound header is that of block i, as the index has it. */
bool fp_front_is_of(const fp_front_header *header, const fp_log_source *source, size_t i);

/* The pages that the directory's entries describe. False: they say what can't be. */
bool fp_front_load_pages(fp_page *pages, const fp_block *block, size_t n_codes,
                         const uint8_t *entries);

/* ------------------------------------------------------------------ front_index.c */

/* Counts and entries, as they are stored. */
uint64_t fp_front_entries_bytes(const fp_log_index *index);
int fp_front_put_entries(const fp_log_index *index, fp_index_counts counts, fp_buffer *out);

/* UNSUPPORTED: an index too large to be stored. */
int fp_front_fail_index_size(const fp_log_index *index, facpool_error *err);

/* Reads the index block at an offset as far as all formats have it in common; *found is false
 * where its header or its entries are unsound, or the block is not whole. Errors: IO, NOMEM. */
int fp_front_parse_index(const fp_front_rules *rules, const fp_place *place, uint64_t offset,
                         fp_parsed_index *out, facpool_error *err);

#endif
