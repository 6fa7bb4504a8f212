/* The index block of the binary format: one entry a block, and a trailer at the very end of a
 * closed file that says where it begins. Called when a file is closed and when one is opened. An
 * index that is anything but perfect is no index: the file is then walked. */
#include "store/binary.h"

#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

/* A guess that brings trailer and index of most files in one read. */
#define READ_BACK_BYTES ((uint64_t)64 << 10)

/* ------------------------------------------------------------------ writing */

static int put_entry(const fp_log_index *index, size_t i, fp_buffer *out)
{
    const fp_log_entry *entry = &index->entries[i];
    const fp_block *block = &entry->block;
    const char *code_min = fp_log_index_code_min(index, i);
    const char *code_max = fp_log_index_code_max(index, i);
    size_t code_min_bytes = strlen(code_min);
    size_t code_max_bytes = strlen(code_max);
    uint8_t *at = fp_buffer_reserve(out, FP_ENTRY_TEXTS + code_min_bytes + code_max_bytes + 2);
    if (!at)
        return FACPOOL_E_NOMEM;
    fp_store_u64(at + FP_ENTRY_OFFSET, block->offset);
    fp_store_u64(at + FP_ENTRY_BYTES, block->bytes);
    fp_store_u64(at + FP_ENTRY_SEQUENCE, entry->sequence);
    fp_store_u32(at + FP_ENTRY_OPEN_BYTES, entry->open_bytes);
    fp_store_u32(at + FP_ENTRY_N_ROWS, block->n_rows);
    at[FP_ENTRY_KIND] = block->all_ok ? FP_KIND_OK : FP_KIND_NOT_OK;
    at[FP_ENTRY_CODE_MIN_BYTES] = (uint8_t)code_min_bytes;
    at[FP_ENTRY_CODE_MAX_BYTES] = (uint8_t)code_max_bytes;
    at[FP_ENTRY_RESERVED] = 0;
    fp_store_u32(at + FP_ENTRY_N_PAGES, block->n_pages);
    fp_store_u64(at + FP_ENTRY_DATE_MIN, (uint64_t)block->date_min);
    fp_store_u64(at + FP_ENTRY_DATE_MAX, (uint64_t)block->date_max);
    fp_store_u64(at + FP_ENTRY_TIMESTAMP_MIN, (uint64_t)block->timestamp_min);
    fp_store_u64(at + FP_ENTRY_TIMESTAMP_MAX, (uint64_t)block->timestamp_max);
    for (size_t status = 0; status < 6; status++)
        fp_store_u32(at + FP_ENTRY_STATUS_ROWS + 4 * status, block->status_rows[status]);
    memcpy(at + FP_ENTRY_TEXTS, code_min, code_min_bytes + 1);
    memcpy(at + FP_ENTRY_TEXTS + code_min_bytes + 1, code_max, code_max_bytes + 1);
    out->size += FP_ENTRY_TEXTS + code_min_bytes + code_max_bytes + 2;
    return 0;
}

static void fill_header(uint8_t *header, uint32_t header_bytes, uint64_t block_bytes,
                        const fp_schema *schema)
{
    memset(header, 0, header_bytes);
    memcpy(header, FP_BINARY_BLOCK_MAGIC, FP_BINARY_MAGIC_BYTES);
    fp_store_u32(header + FP_BLOCK_HEADER_BYTES, header_bytes);
    header[FP_BLOCK_KIND] = FP_KIND_INDEX;
    fp_store_u64(header + FP_BLOCK_BYTES, block_bytes);
    fp_store_u64(header + FP_BLOCK_FILE_ID, fp_binary_file_id(schema));
    const uint8_t *entries = header + header_bytes;
    uint32_t entries_bytes = (uint32_t)(block_bytes - header_bytes - FP_TRAILER_BYTES);
    fp_store_u32(header + FP_BLOCK_DIRECTORY_BYTES, entries_bytes);
    fp_store_u64(header + FP_BLOCK_DIRECTORY_CHECKSUM, fp_checksum(entries, entries_bytes));
}

static void fill_trailer(uint8_t *trailer, const fp_schema *schema, uint64_t index_offset,
                         uint64_t index_bytes)
{
    memcpy(trailer, FP_BINARY_TRAILER_MAGIC, FP_BINARY_MAGIC_BYTES);
    fp_store_u64(trailer + FP_TRAILER_INDEX_OFFSET, index_offset);
    fp_store_u64(trailer + FP_TRAILER_INDEX_BYTES, index_bytes);
    fp_store_u64(trailer + FP_TRAILER_FILE_ID, fp_binary_file_id(schema));
    fp_store_u64(
        trailer + FP_TRAILER_CHECKSUM,
        fp_checksum(trailer + FP_TRAILER_INDEX_OFFSET, FP_TRAILER_BYTES - FP_TRAILER_INDEX_OFFSET));
}

static uint64_t entries_bytes_of(const fp_log_index *index)
{
    uint64_t bytes = FP_INDEX_ENTRIES;
    for (size_t i = 0; i < index->n; i++)
        bytes += FP_ENTRY_TEXTS + strlen(fp_log_index_code_min(index, i)) +
                 strlen(fp_log_index_code_max(index, i)) + 2;
    return bytes;
}

int fp_binary_encode_index(const fp_schema *schema, const fp_log_index *index,
                           fp_index_counts counts, const fp_seal *seal, fp_buffer *out,
                           facpool_error *err)
{
    uint64_t entries_bytes = entries_bytes_of(index);
    if (entries_bytes >= FP_BINARY_MOST_INDEX_BYTES)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "the index of %zu blocks is too large to be stored: the rows are all there, "
                       "only opening is slower",
                       index->n);
    uint32_t header_bytes = FP_BLOCK_TEXTS + 2; /* no codes */
    header_bytes += fp_binary_padding(header_bytes + entries_bytes + FP_TRAILER_BYTES);
    uint64_t block_bytes = header_bytes + entries_bytes + FP_TRAILER_BYTES;
    out->size = 0;
    if (!fp_buffer_reserve(out, (size_t)block_bytes))
        return fp_fail_nomem(err, (size_t)block_bytes);
    out->size = header_bytes;
    int rc = fp_buffer_put_u64(out, index->n);
    if (!rc)
        rc = fp_buffer_put_u64(out, counts.damaged);
    if (!rc)
        rc = fp_buffer_put_u64(out, counts.given_up);
    for (size_t i = 0; !rc && i < index->n; i++)
        rc = put_entry(index, i, out);
    if (rc)
        return fp_fail_nomem(err, (size_t)block_bytes);
    fill_header(out->data, header_bytes, block_bytes, schema);
    fp_binary_seal_header(out->data, seal);
    fill_trailer(out->data + out->size, schema, seal->offset, block_bytes);
    out->size += FP_TRAILER_BYTES;
    return 0;
}

/* ------------------------------------------------------------------ reading */

bool fp_binary_trailer_is_sound(const uint8_t *trailer, const fp_schema *schema,
                                uint64_t index_offset, uint64_t index_bytes)
{
    return memcmp(trailer, FP_BINARY_TRAILER_MAGIC, FP_BINARY_MAGIC_BYTES) == 0 &&
           fp_load_u64(trailer + FP_TRAILER_CHECKSUM) ==
               fp_checksum(trailer + FP_TRAILER_INDEX_OFFSET,
                           FP_TRAILER_BYTES - FP_TRAILER_INDEX_OFFSET) &&
           fp_load_u64(trailer + FP_TRAILER_INDEX_OFFSET) == index_offset &&
           fp_load_u64(trailer + FP_TRAILER_INDEX_BYTES) == index_bytes &&
           fp_load_u64(trailer + FP_TRAILER_FILE_ID) == fp_binary_file_id(schema);
}

static bool entry_adds_up(const fp_log_entry *entry, uint64_t from, uint64_t to)
{
    const fp_block *block = &entry->block;
    uint64_t statuses = 0;
    for (size_t status = 0; status < 6; status++)
        statuses += block->status_rows[status];
    return block->offset >= from && block->offset % FP_BINARY_ALIGNMENT == 0 &&
           block->bytes <= FP_BINARY_MOST_BLOCK_BYTES && block->offset <= to &&
           block->bytes <= to - block->offset && entry->open_bytes <= block->bytes &&
           block->n_rows >= 1 && block->n_rows <= FP_BLOCK_ROWS &&
           block->n_pages == fp_binary_n_pages(block->n_rows) && statuses == block->n_rows &&
           *block->code_min && *block->code_max;
}

/* False: the bytes end within the entry, or it says what can't be. */
static bool take_entry(fp_bytes *bytes, uint64_t from, uint64_t to, fp_log_entry *out)
{
    const uint8_t *at = fp_bytes_take(bytes, FP_ENTRY_TEXTS);
    if (!at)
        return false;
    size_t code_min_bytes = at[FP_ENTRY_CODE_MIN_BYTES];
    size_t code_max_bytes = at[FP_ENTRY_CODE_MAX_BYTES];
    const uint8_t *code_min = fp_bytes_take(bytes, code_min_bytes + 1);
    const uint8_t *code_max = fp_bytes_take(bytes, code_max_bytes + 1);
    uint8_t kind = at[FP_ENTRY_KIND];
    if (!code_max || strnlen((const char *)code_min, code_min_bytes + 1) != code_min_bytes ||
        strnlen((const char *)code_max, code_max_bytes + 1) != code_max_bytes ||
        (kind != FP_KIND_OK && kind != FP_KIND_NOT_OK))
        return false;
    fp_log_entry entry = {
        .sequence = fp_load_u64(at + FP_ENTRY_SEQUENCE),
        .open_bytes = fp_load_u32(at + FP_ENTRY_OPEN_BYTES),
        .block = {.offset = fp_load_u64(at + FP_ENTRY_OFFSET),
                  .bytes = fp_load_u64(at + FP_ENTRY_BYTES),
                  .n_rows = fp_load_u32(at + FP_ENTRY_N_ROWS),
                  .n_pages = fp_load_u32(at + FP_ENTRY_N_PAGES),
                  .all_ok = kind == FP_KIND_OK,
                  .has_factors = kind == FP_KIND_OK,
                  .date_min = (int64_t)fp_load_u64(at + FP_ENTRY_DATE_MIN),
                  .date_max = (int64_t)fp_load_u64(at + FP_ENTRY_DATE_MAX),
                  .timestamp_min = (int64_t)fp_load_u64(at + FP_ENTRY_TIMESTAMP_MIN),
                  .timestamp_max = (int64_t)fp_load_u64(at + FP_ENTRY_TIMESTAMP_MAX),
                  .code_min = (const char *)code_min,
                  .code_max = (const char *)code_max},
    };
    for (size_t status = 0; status < 6; status++)
        entry.block.status_rows[status] = fp_load_u32(at + FP_ENTRY_STATUS_ROWS + 4 * status);
    *out = entry;
    return entry_adds_up(&entry, from, to);
}

static int take_entries(fp_bytes *bytes, uint64_t from, fp_parsed_index *out, bool *sound,
                        facpool_error *err)
{
    uint64_t n_blocks = fp_bytes_u64(bytes);
    out->counts.damaged = fp_bytes_u64(bytes);
    out->counts.given_up = fp_bytes_u64(bytes);
    *sound = !bytes->failed;
    for (uint64_t i = 0; *sound && i < n_blocks; i++) {
        fp_log_entry entry;
        *sound = take_entry(bytes, from, out->offset, &entry);
        int rc = *sound ? fp_log_index_add(&out->index, &entry, err) : 0;
        if (rc)
            return rc;
        from = entry.block.offset + entry.block.bytes;
    }
    *sound = *sound && bytes->at == bytes->size;
    return 0;
}

/* The offset that the trailer at the end of the file gives. */
int fp_binary_find_index(const fp_place *place, uint64_t *offset, bool *found, facpool_error *err)
{
    fp_window *window = place->window;
    uint64_t size = window->size;
    *found = false;
    if (size < place->header_end + FP_BINARY_ALIGNMENT || size % FP_BINARY_ALIGNMENT != 0)
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
    *found = at >= place->header_end && at < size &&
             fp_binary_trailer_is_sound(trailer, place->schema, at, size - at);
    *offset = at;
    return 0;
}

static int read_entries(const fp_place *place, const fp_binary_header *header, fp_parsed_index *out,
                        bool *sound, facpool_error *err)
{
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(place->window, out->offset + header->header_bytes,
                           header->directory_bytes, &bytes, &got, err);
    if (rc)
        return rc;
    *sound =
        got == header->directory_bytes && fp_checksum(bytes, got) == header->directory_checksum;
    fp_bytes entries = {.data = bytes, .size = got};
    return *sound ? take_entries(&entries, place->header_end, out, sound, err) : 0;
}

int fp_binary_parse_index(const fp_place *place, uint64_t offset, fp_parsed_index *out,
                          facpool_error *err)
{
    *out = (fp_parsed_index){0};
    fp_parsed_index parsed = {.offset = offset};
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(place->window, parsed.offset, FP_BINARY_MOST_BLOCK_HEADER_BYTES, &bytes,
                           &got, err);
    fp_binary_header header;
    if (rc || !fp_binary_parse_header(place->schema, parsed.offset, bytes, got, &header) ||
        !header.parsed.is_index ||
        header.parsed.entry.block.bytes > place->window->size - parsed.offset)
        return rc;
    parsed.sequence = header.parsed.entry.sequence;
    parsed.durable_end = header.parsed.durable_end;
    rc = read_entries(place, &header, &parsed, &parsed.found, err);
    if (rc || !parsed.found) {
        fp_log_index_free(&parsed.index);
        return rc;
    }
    *out = parsed;
    return 0;
}
