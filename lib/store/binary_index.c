/* The index block of the binary format, and the trailer at the very end of a closed file that says
 * where it begins. Called when a file is closed and when one is opened. An index that is anything
 * but perfect is no index: the file is then walked. */
#include "store/binary.h"

#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

/* A guess that brings trailer and index of most files in one read. */
#define READ_BACK_BYTES ((uint64_t)64 << 10)

/* ------------------------------------------------------------------ writing */

static void fill_trailer(uint8_t *trailer, const fp_schema *schema, uint64_t index_offset,
                         uint64_t index_bytes)
{
    memcpy(trailer, FP_BINARY_TRAILER_MAGIC, FP_MAGIC_BYTES);
    fp_store_u64(trailer + FP_TRAILER_INDEX_OFFSET, index_offset);
    fp_store_u64(trailer + FP_TRAILER_INDEX_BYTES, index_bytes);
    fp_store_u64(trailer + FP_TRAILER_FILE_ID, fp_front_file_id(schema));
    fp_store_u64(
        trailer + FP_TRAILER_CHECKSUM,
        fp_checksum(trailer + FP_TRAILER_INDEX_OFFSET, FP_TRAILER_BYTES - FP_TRAILER_INDEX_OFFSET));
}

static void fill_header(uint8_t *to, uint32_t header_bytes, uint32_t entries_bytes,
                        const fp_schema *schema)
{
    fp_front_rules rules = fp_binary_rules(schema->names.n);
    fp_front_header header = {
        .parsed.is_index = true,
        .parsed.entry.block.bytes = (uint64_t)header_bytes + entries_bytes + FP_TRAILER_BYTES,
        .header_bytes = header_bytes,
        .directory_bytes = entries_bytes,
        .directory_checksum = fp_checksum(to + header_bytes, entries_bytes),
    };
    fp_front_fill(&rules, &header, fp_front_file_id(schema), to);
}

int fp_binary_encode_index(const fp_schema *schema, const fp_log_index *index,
                           fp_index_counts counts, const fp_seal *seal, fp_buffer *out,
                           facpool_error *err)
{
    uint64_t entries_bytes = fp_front_entries_bytes(index);
    if (entries_bytes >= FP_MOST_INDEX_BYTES)
        return fp_front_fail_index_size(index, err);
    uint32_t header_bytes = FP_BLOCK_TEXTS + 2; /* no codes */
    header_bytes += fp_front_padding(header_bytes + entries_bytes + FP_TRAILER_BYTES);
    uint64_t block_bytes = header_bytes + entries_bytes + FP_TRAILER_BYTES;
    out->size = 0;
    if (!fp_buffer_reserve(out, (size_t)block_bytes))
        return fp_fail_nomem(err, (size_t)block_bytes);
    out->size = header_bytes;
    if (fp_front_put_entries(index, counts, out))
        return fp_fail_nomem(err, (size_t)block_bytes);
    fill_header(out->data, header_bytes, (uint32_t)entries_bytes, schema);
    fp_front_seal(out->data, seal);
    fill_trailer(out->data + out->size, schema, seal->offset, block_bytes);
    out->size += FP_TRAILER_BYTES;
    return 0;
}

/* ------------------------------------------------------------------ reading */

bool fp_binary_trailer_is_sound(const uint8_t *trailer, const fp_schema *schema,
                                uint64_t index_offset, uint64_t index_bytes)
{
    return memcmp(trailer, FP_BINARY_TRAILER_MAGIC, FP_MAGIC_BYTES) == 0 &&
           fp_load_u64(trailer + FP_TRAILER_CHECKSUM) ==
               fp_checksum(trailer + FP_TRAILER_INDEX_OFFSET,
                           FP_TRAILER_BYTES - FP_TRAILER_INDEX_OFFSET) &&
           fp_load_u64(trailer + FP_TRAILER_INDEX_OFFSET) == index_offset &&
           fp_load_u64(trailer + FP_TRAILER_INDEX_BYTES) == index_bytes &&
           fp_load_u64(trailer + FP_TRAILER_FILE_ID) == fp_front_file_id(schema);
}

/* The offset that the trailer at the end of the file gives. */
int fp_binary_find_index(const fp_place *place, uint64_t *offset, bool *sound, facpool_error *err)
{
    fp_window *window = place->window;
    uint64_t size = window->size;
    *offset = 0;
    *sound = false;
    if (size < place->header_end + FP_BLOCK_ALIGNMENT || size % FP_BLOCK_ALIGNMENT != 0)
        return 0;
    const uint8_t *trailer;
    size_t got;
    uint64_t back = size - place->header_end;
    if (back > READ_BACK_BYTES)
        back = READ_BACK_BYTES;
    int rc = fp_window_get(window, size - back, (size_t)back, &trailer, &got, err);
    if (!rc)
        rc = fp_window_get(window, size - FP_TRAILER_BYTES, FP_TRAILER_BYTES, &trailer, &got, err);
    if (rc || got < FP_TRAILER_BYTES)
        return rc;
    uint64_t at = fp_load_u64(trailer + FP_TRAILER_INDEX_OFFSET);
    *sound = at >= place->header_end && at < size &&
             fp_binary_trailer_is_sound(trailer, place->schema, at, size - at);
    if (*sound)
        *offset = at;
    return 0;
}

int fp_binary_parse_index(const fp_place *place, uint64_t offset, fp_parsed_index *out,
                          facpool_error *err)
{
    fp_front_rules rules = fp_binary_rules(place->schema->names.n);
    return fp_front_parse_index(&rules, place, offset, out, err);
}
