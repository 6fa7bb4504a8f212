/* The layout of the memory_map format, as FORMAT.md describes it, for the files that write and read
 * it: an Arrow IPC file whose record batches are blocks of the file log. Numbers here are stored in
 * files: frozen. */
#ifndef FP_STORE_ARROW_FILE_H
#define FP_STORE_ARROW_FILE_H

#include "codec/arrow_message.h"
#include "store/front.h"

#define FP_ARROW_VERSION 1

/* What an Arrow file begins with: its magic and two zeros. */
#define FP_ARROW_FILE_START       "ARROW1\0"
#define FP_ARROW_FILE_START_BYTES 8

#define FP_ARROW_BLOCK_MAGIC                                                                       \
    "\x8f"                                                                                         \
    "FPARROW"
#define FP_ARROW_TRAILER_MAGIC                                                                     \
    "\x8f"                                                                                         \
    "FPAEND\n"

/* Sections: what is stored in pages, in the order in which it lies. The codes' bytes and offsets,
 * dates, timestamps, statuses and factors are the record batch's columns; the others are ours. */
enum {
    FP_SECTION_NUMBER = 0, /* code numbers, u32 */
    FP_SECTION_DATE = 1,
    FP_SECTION_CODE_OFFSET = 2, /* one more than rows */
    FP_SECTION_CODE_TEXT = 3,
    FP_SECTION_TIMESTAMP = 4,
    FP_SECTION_STATUS = 5,
    FP_SECTION_FACTOR = 6, /* ok blocks: one for each */
    FP_SECTION_NULLS = 6,  /* not-ok blocks: zeros, validity and values of every factor */
    FP_SECTION_FAILURE_CODE = 7,
    FP_SECTION_MESSAGE_OFFSET = 8, /* one more than rows */
    FP_SECTION_MESSAGE_TEXT = 9,
    FP_SECTIONS_NOT_OK = 10
};

/* The directory ends in this, behind the checksums of sections and pages. */
enum {
    FP_MORE_CODE_BYTES = 0, /* from the last row on */
    FP_MORE_MESSAGE_BYTES = 8,
    FP_MORE_ENVELOPE_CHECKSUM = 16,
    FP_MORE_BYTES = 24
};

/* A section's checksums: one for so many rows, which is what a question for few rows has to look
 * at. The last page of a block has as many as the others. */
#define FP_CHUNK_ROWS      256
#define FP_CHUNKS_OF_PAGE  (FP_PAGE_ROWS / FP_CHUNK_ROWS)
#define FP_CHUNK_SUM_BYTES 8

/* Behind an index block's entries; the Arrow footer follows, and ends the file. */
enum {
    FP_ARROW_TRAILER_CHECKSUM = 8, /* of what is behind it */
    FP_ARROW_TRAILER_INDEX_OFFSET = 16,
    FP_ARROW_TRAILER_INDEX_BYTES = 24,
    FP_ARROW_TRAILER_FILE_ID = 32,
    FP_ARROW_TRAILER_ENVELOPE_CHECKSUM = 40,
    FP_ARROW_TRAILER_FOOTER_CHECKSUM = 48, /* of all up to the end of the file */
    FP_ARROW_TRAILER_FOOTER_BYTES = 56,    /* up to the end of the file */
    FP_ARROW_TRAILER_BYTES = 64
};

/* ------------------------------------------------------------------ arrow_file_layout.c */

/* The message before a block's body, for so many factors: of the same length in every block. */
uint32_t fp_arrow_envelope_bytes(size_t n_factors);
fp_front_rules fp_arrow_rules(size_t n_factors);

/* Where everything is in a block. */
typedef struct fp_arrow_layout {
    bool all_ok;
    uint32_t n_rows;
    uint32_t n_chunks; /* of a section: FP_CHUNKS_OF_PAGE a page */
    uint32_t n_sections;
    uint32_t envelope_bytes;
    uint64_t text_bytes[2]; /* codes, messages */
    uint64_t at[FP_SECTIONS_NOT_OK];
    uint64_t end; /* of the block */
} fp_arrow_layout;

/* Sections begin at `first`, a multiple of 64. */
fp_arrow_layout fp_arrow_layout_of(bool all_ok, uint32_t n_rows, size_t n_factors,
                                   uint64_t code_bytes, uint64_t message_bytes, uint64_t first);

uint64_t fp_arrow_section_at(const fp_arrow_layout *layout, uint32_t section);
uint64_t fp_arrow_section_bytes(const fp_arrow_layout *layout, uint32_t section);

/* Of a row; 0: texts. */
uint32_t fp_arrow_section_width(const fp_arrow_layout *layout, uint32_t section);

/* The section of texts to which a section of offsets belongs, or 0. */
uint32_t fp_arrow_texts_of(const fp_arrow_layout *layout, uint32_t section);

/* Whether a text of a section of offsets may begin and end there: a forged file's codes and
 * messages are no longer than others'. */
static inline bool fp_arrow_text_can_be(uint32_t section, uint32_t begin, uint32_t end)
{
    bool is_code = section == FP_SECTION_CODE_OFFSET;
    uint32_t length = end - begin;
    return begin <= end && length >= is_code &&
           length <= (is_code ? FP_CODE_MAX_BYTES : FP_MESSAGE_MAX_BYTES);
}

/* A stretch of a section's bytes, from the section's begin. */
typedef struct fp_arrow_stretch {
    uint64_t at;
    uint64_t bytes;
} fp_arrow_stretch;

/* What chunks first .. end - 1 hold, of which one at least has rows; of one chunk it is what its
 * checksum covers. `offsets` are those of the section's texts; looked at only where it is one of
 * texts. */
fp_arrow_stretch fp_arrow_stretch_of(const fp_arrow_layout *layout, uint32_t section,
                                     uint32_t first, uint32_t end, const uint32_t *offsets);

static inline fp_arrow_stretch fp_arrow_chunk_of(const fp_arrow_layout *layout, uint32_t section,
                                                 uint32_t chunk, const uint32_t *offsets)
{
    return fp_arrow_stretch_of(layout, section, chunk, chunk + 1, offsets);
}

/* Where a chunk's checksum is, among those of the block's directory. */
static inline size_t fp_arrow_sum_at(const fp_arrow_layout *layout, uint32_t section,
                                     uint32_t chunk)
{
    return ((size_t)section * layout->n_chunks + chunk) * FP_CHUNK_SUM_BYTES;
}

/* The message that foreign readers see. layout NULL: of an index block, without rows. */
int fp_arrow_put_envelope(const fp_arrow_layout *layout, size_t n_factors, uint64_t block_bytes,
                          fp_buffer *out, facpool_error *err);
int fp_arrow_check_envelope(const uint8_t *envelope, const fp_arrow_layout *layout,
                            size_t n_factors, uint64_t block_bytes, bool *sound,
                            facpool_error *err);

/* ------------------------------------------------------------------ arrow_file.c */

/* The file's Arrow schema, for a header or a footer, in memory of *texts and the arrays of *out.
 * `checksum` is 16 digits. The buffer is the caller's to free, also on failure. Errors: NOMEM. */
int fp_arrow_file_schema(fp_arrow_schema *out, fp_buffer *texts, const fp_schema *schema,
                         const char *checksum, facpool_error *err);

#define FP_ARROW_CHECKSUM_DIGITS 16

/* The digits that this schema's header has. Errors: NOMEM. */
int fp_arrow_header_checksum(char digits[FP_ARROW_CHECKSUM_DIGITS], const fp_schema *schema,
                             facpool_error *err);

/* ------------------------------------------------------------------ arrow_file_block.c */

int fp_arrow_parse_block(const fp_place *place, uint64_t offset, fp_parsed_block *out,
                         facpool_error *err);
int fp_arrow_find_block(const fp_place *place, uint64_t from, uint64_t *offset, facpool_error *err);
int fp_arrow_check_block(const fp_place *place, uint64_t offset, fp_block_check *out,
                         facpool_error *err);

/* The layout that a sound header and directory describe. False: it does not fill the block. */
bool fp_arrow_block_layout(fp_arrow_layout *out, const fp_front_header *header, size_t n_factors,
                           const uint8_t *directory);

/* ------------------------------------------------------------------ arrow_file_encode.c */

fp_encoder *fp_arrow_new_encoder(const fp_schema *schema, int compression_level);
void fp_arrow_free_encoder(fp_encoder *encoder);
int fp_arrow_encode(fp_encoder *encoder, const fp_batch *batch, size_t first, size_t n,
                    fp_encoded_block *out, facpool_error *err);
void fp_arrow_seal(fp_encoded_block *block, const fp_seal *seal);

/* ------------------------------------------------------------------ arrow_file_index.c */

int fp_arrow_encode_index(const fp_schema *schema, const fp_log_index *index,
                          fp_index_counts counts, const fp_seal *seal, fp_buffer *out,
                          facpool_error *err);
int fp_arrow_find_index(const fp_place *place, uint64_t *offset, bool *sound, facpool_error *err);
int fp_arrow_parse_index(const fp_place *place, uint64_t offset, fp_parsed_index *out,
                         facpool_error *err);
int fp_arrow_check_index(const fp_place *place, const fp_front_header *header,
                         fp_block_check *check, facpool_error *err);

/* ------------------------------------------------------------------ arrow_file_view.c */

/* A snapshot's map, and which parts of it were found sound. */
typedef struct fp_arrow_view fp_arrow_view;

/* The snapshot's own, made with the first call; any thread. Errors: IO, NOMEM. */
int fp_arrow_view_of(fp_arrow_view **out, const fp_log_source *source, facpool_error *err);

const uint8_t *fp_arrow_view_bytes(const fp_arrow_view *view);

/* Whether what opens a block was checked. */
void fp_arrow_view_note_front(fp_arrow_view *view, size_t block);
bool fp_arrow_view_knows_front(const fp_arrow_view *view, size_t block);

/* Notes that a chunk was checked, and gives the first of chunks first .. end - 1 that was not, or
 * `end`. */
void fp_arrow_view_note(fp_arrow_view *view, size_t block, uint32_t section, uint32_t chunk);
uint32_t fp_arrow_view_unchecked(const fp_arrow_view *view, size_t block, uint32_t section,
                                 uint32_t first, uint32_t end);

/* ------------------------------------------------------------------ arrow_file_read.c */

extern const fp_source_type fp_arrow_source_type;

#endif
