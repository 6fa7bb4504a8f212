/* The index block of the memory_map format: a record batch without rows, whose body holds our index
 * and ends in the Arrow footer. As the last thing in a file it makes it an Arrow file; what is
 * appended behind it goes on as a stream. Called when a file is closed and when one is opened. An
 * index that is anything but perfect is no index: the file is then walked. */
#include "store/arrow_file.h"

#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

/* A guess that brings footer, trailer and index of most files in one read. */
#define READ_BACK_BYTES ((uint64_t)64 << 10)

/* ------------------------------------------------------------------ writing */

typedef struct listed_blocks {
    const fp_log_index *index;
    uint32_t envelope_bytes;
} listed_blocks;

static fp_arrow_block block_at(const void *context, size_t i)
{
    const listed_blocks *listed = context;
    const fp_block *block = &listed->index->entries[i].block;
    return (fp_arrow_block){.offset = block->offset,
                            .metadata_bytes = listed->envelope_bytes,
                            .body_bytes = block->bytes - listed->envelope_bytes};
}

/* The footer up to the end of the file: a multiple of 64 bytes. */
static int make_footer(const fp_schema *schema, const fp_log_index *index, fp_buffer *out,
                       facpool_error *err)
{
    char digits[FP_ARROW_CHECKSUM_DIGITS];
    fp_arrow_schema columns;
    fp_buffer texts = {0};
    int rc = fp_arrow_header_checksum(digits, schema, err);
    if (!rc)
        rc = fp_arrow_file_schema(&columns, &texts, schema, digits, err);
    if (rc) {
        fp_buffer_free(&texts);
        return rc;
    }
    listed_blocks listed = {index, fp_arrow_envelope_bytes(schema->names.n)};
    uint64_t footer_bytes;
    if (fp_arrow_put_footer(&columns, index->n, block_at, &listed, out, &footer_bytes))
        rc = fp_fail_nomem(err, out->size);
    else if (out->size > INT32_MAX)
        rc = fp_front_fail_index_size(index, err);
    fp_arrow_schema_free(&columns);
    fp_buffer_free(&texts);
    return rc;
}

static void fill_trailer(uint8_t *to, const fp_schema *schema, const fp_seal *seal,
                         const fp_buffer *block, const fp_buffer *footer)
{
    uint32_t envelope_bytes = fp_arrow_envelope_bytes(schema->names.n);
    memset(to, 0, FP_ARROW_TRAILER_BYTES);
    memcpy(to, FP_ARROW_TRAILER_MAGIC, FP_MAGIC_BYTES);
    fp_store_u64(to + FP_ARROW_TRAILER_INDEX_OFFSET, seal->offset);
    fp_store_u64(to + FP_ARROW_TRAILER_INDEX_BYTES,
                 fp_load_u64(block->data + envelope_bytes + FP_BLOCK_BYTES));
    fp_store_u64(to + FP_ARROW_TRAILER_FILE_ID, fp_front_file_id(schema));
    fp_store_u64(to + FP_ARROW_TRAILER_ENVELOPE_CHECKSUM, fp_checksum(block->data, envelope_bytes));
    fp_store_u64(to + FP_ARROW_TRAILER_FOOTER_CHECKSUM, fp_checksum(footer->data, footer->size));
    fp_store_u64(to + FP_ARROW_TRAILER_FOOTER_BYTES, footer->size);
    fp_store_u64(to + FP_ARROW_TRAILER_CHECKSUM,
                 fp_checksum(to + FP_ARROW_TRAILER_INDEX_OFFSET,
                             FP_ARROW_TRAILER_BYTES - FP_ARROW_TRAILER_INDEX_OFFSET));
}

static void fill_header(uint8_t *to, const fp_schema *schema, const fp_seal *seal,
                        const fp_front_header *sizes)
{
    fp_front_rules rules = fp_arrow_rules(schema->names.n);
    fp_front_header header = *sizes;
    header.directory_checksum = fp_checksum(to + header.header_bytes, header.directory_bytes);
    fp_front_fill(&rules, &header, fp_front_file_id(schema), to);
    fp_front_seal(to, seal);
}

/* Envelope, header, entries, trailer, footer, in this order; the header is filled last. */
static int put_block(const fp_schema *schema, const fp_log_index *index, fp_index_counts counts,
                     const fp_seal *seal, const fp_buffer *footer, fp_buffer *out,
                     facpool_error *err)
{
    uint64_t entries_bytes = fp_front_entries_bytes(index);
    uint32_t envelope_bytes = fp_arrow_envelope_bytes(schema->names.n);
    uint32_t header_bytes = FP_BLOCK_TEXTS + 2; /* no codes */
    if (entries_bytes >= FP_MOST_INDEX_BYTES)
        return fp_front_fail_index_size(index, err);
    header_bytes += fp_front_padding(header_bytes + entries_bytes + FP_ARROW_TRAILER_BYTES);
    uint64_t block_bytes =
        envelope_bytes + header_bytes + entries_bytes + FP_ARROW_TRAILER_BYTES + footer->size;
    fp_front_header sizes = {.parsed.is_index = true,
                             .parsed.entry.block.bytes = block_bytes,
                             .header_bytes = header_bytes,
                             .directory_bytes = (uint32_t)entries_bytes};
    out->size = 0;
    if (!fp_buffer_reserve(out, (size_t)block_bytes))
        return fp_fail_nomem(err, (size_t)block_bytes);
    int rc = fp_arrow_put_envelope(NULL, schema->names.n, block_bytes, out, err);
    if (rc)
        return rc;
    out->size += header_bytes;
    if (fp_front_put_entries(index, counts, out))
        return fp_fail_nomem(err, (size_t)block_bytes);
    fill_header(out->data + envelope_bytes, schema, seal, &sizes);
    fill_trailer(out->data + out->size, schema, seal, out, footer);
    out->size += FP_ARROW_TRAILER_BYTES;
    return fp_buffer_put(out, footer->data, footer->size) ? fp_fail_nomem(err, footer->size) : 0;
}

int fp_arrow_encode_index(const fp_schema *schema, const fp_log_index *index,
                          fp_index_counts counts, const fp_seal *seal, fp_buffer *out,
                          facpool_error *err)
{
    fp_buffer footer = {0};
    int rc = make_footer(schema, index, &footer, err);
    if (!rc)
        rc = put_block(schema, index, counts, seal, &footer, out, err);
    fp_buffer_free(&footer);
    return rc;
}

/* ------------------------------------------------------------------ reading */

static bool trailer_is_sound(const uint8_t *trailer, const fp_schema *schema, uint64_t index_offset,
                             uint64_t index_bytes)
{
    return memcmp(trailer, FP_ARROW_TRAILER_MAGIC, FP_MAGIC_BYTES) == 0 &&
           fp_load_u64(trailer + FP_ARROW_TRAILER_CHECKSUM) ==
               fp_checksum(trailer + FP_ARROW_TRAILER_INDEX_OFFSET,
                           FP_ARROW_TRAILER_BYTES - FP_ARROW_TRAILER_INDEX_OFFSET) &&
           fp_load_u64(trailer + FP_ARROW_TRAILER_INDEX_OFFSET) == index_offset &&
           fp_load_u64(trailer + FP_ARROW_TRAILER_INDEX_BYTES) == index_bytes &&
           fp_load_u64(trailer + FP_ARROW_TRAILER_FILE_ID) == fp_front_file_id(schema);
}

/* What foreign readers look at: the batch's message and the footer, as the trailer knows them. */
static int check_arrow_parts(const fp_place *place, uint64_t offset, uint64_t block_end,
                             const uint8_t *trailer, fp_block_check *check, facpool_error *err)
{
    uint64_t footer_bytes = fp_load_u64(trailer + FP_ARROW_TRAILER_FOOTER_BYTES);
    fp_front_part envelope = {.offset = offset,
                              .bytes = fp_arrow_envelope_bytes(place->schema->names.n),
                              .checksum =
                                  fp_load_u64(trailer + FP_ARROW_TRAILER_ENVELOPE_CHECKSUM)};
    fp_front_part footer = {.offset = block_end - footer_bytes,
                            .bytes = footer_bytes,
                            .checksum = fp_load_u64(trailer + FP_ARROW_TRAILER_FOOTER_CHECKSUM)};
    bool sound;
    int rc = fp_front_check_part(place, &footer, &sound, check, err);
    return rc ? rc : fp_front_check_part(place, &envelope, &sound, check, err);
}

/* How much the end of the file says that it takes; 0: it is no end of ours. */
static uint64_t end_bytes_of(const uint8_t *end, uint64_t most)
{
    uint64_t bytes = (uint64_t)fp_load_u32(end) + FP_ARROW_END_BYTES;
    bool is_end = memcmp(end + 4, FP_ARROW_FILE_MAGIC, FP_ARROW_FILE_MAGIC_BYTES) == 0;
    return is_end && bytes % FP_BLOCK_ALIGNMENT == 0 && bytes < most ? bytes : 0;
}

int fp_arrow_find_index(const fp_place *place, uint64_t *offset, bool *sound, facpool_error *err)
{
    fp_window *window = place->window;
    uint64_t size = window->size, least = place->header_end + FP_ARROW_TRAILER_BYTES;
    const uint8_t *bytes;
    size_t got;
    *offset = 0;
    *sound = false;
    if (size < least + FP_BLOCK_ALIGNMENT || size % FP_BLOCK_ALIGNMENT != 0)
        return 0;
    uint64_t back = size - place->header_end;
    if (back > READ_BACK_BYTES)
        back = READ_BACK_BYTES;
    int rc = fp_window_get(window, size - back, (size_t)back, &bytes, &got, err);
    if (!rc)
        rc =
            fp_window_get(window, size - FP_ARROW_END_BYTES, FP_ARROW_END_BYTES, &bytes, &got, err);
    if (rc || got < FP_ARROW_END_BYTES)
        return rc;
    uint64_t footer_bytes = end_bytes_of(bytes, size - least);
    if (!footer_bytes)
        return 0;
    rc = fp_window_get(window, size - footer_bytes - FP_ARROW_TRAILER_BYTES, FP_ARROW_TRAILER_BYTES,
                       &bytes, &got, err);
    if (rc || got < FP_ARROW_TRAILER_BYTES)
        return rc;
    uint8_t trailer[FP_ARROW_TRAILER_BYTES]; /* the window moves on */
    memcpy(trailer, bytes, sizeof trailer);
    uint64_t at = fp_load_u64(trailer + FP_ARROW_TRAILER_INDEX_OFFSET);
    if (at < place->header_end || at >= size ||
        !trailer_is_sound(trailer, place->schema, at, size - at) ||
        fp_load_u64(trailer + FP_ARROW_TRAILER_FOOTER_BYTES) != footer_bytes)
        return 0;
    fp_block_check check = {0};
    rc = check_arrow_parts(place, at, size, trailer, &check, err);
    if (rc)
        return rc;
    *sound = check.damaged_parts == 0;
    *offset = at;
    return 0;
}

int fp_arrow_parse_index(const fp_place *place, uint64_t offset, fp_parsed_index *out,
                         facpool_error *err)
{
    fp_front_rules rules = fp_arrow_rules(place->schema->names.n);
    return fp_front_parse_index(&rules, place, offset, out, err);
}

int fp_arrow_check_index(const fp_place *place, const fp_front_header *header,
                         fp_block_check *check, facpool_error *err)
{
    const fp_block *block = &header->parsed.entry.block;
    fp_front_part entries = {.offset = block->offset +
                                       fp_arrow_envelope_bytes(place->schema->names.n) +
                                       header->header_bytes,
                             .bytes = header->directory_bytes,
                             .checksum = header->directory_checksum};
    bool sound;
    int rc = fp_front_check_part(place, &entries, &sound, check, err);
    uint64_t trailer_at = entries.offset + entries.bytes;
    uint64_t footer_bytes = block->offset + block->bytes - trailer_at - FP_ARROW_TRAILER_BYTES;
    const uint8_t *bytes;
    size_t got = 0;
    if (!rc)
        rc = fp_window_get(place->window, trailer_at, FP_ARROW_TRAILER_BYTES, &bytes, &got, err);
    if (rc)
        return rc;
    if (got < FP_ARROW_TRAILER_BYTES ||
        !trailer_is_sound(bytes, place->schema, block->offset, block->bytes) ||
        fp_load_u64(bytes + FP_ARROW_TRAILER_FOOTER_BYTES) != footer_bytes) {
        fp_front_note_damage(check, trailer_at);
        return 0;
    }
    uint8_t trailer[FP_ARROW_TRAILER_BYTES]; /* the window moves on */
    memcpy(trailer, bytes, sizeof trailer);
    return check_arrow_parts(place, block->offset, block->offset + block->bytes, trailer, check,
                             err);
}
