/* Block headers of the binary format: parsing one that may be anything, finding the next one, and
 * checking a whole block. Called by the file log's walk and by verify; decodes no column. */
#include "store/binary.h"

#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

/* ------------------------------------------------------------------ parsing a header */

/* A NUL-terminated text of exactly `length` bytes. */
static bool is_text(const uint8_t *at, size_t length)
{
    return at[length] == 0 && !memchr(at, 0, length);
}

/* Magic, length, checksum: after this the bytes are those that a writer wrote. */
static bool is_sound(const uint8_t *bytes, size_t n)
{
    if (n < FP_BLOCK_TEXTS || memcmp(bytes, FP_BINARY_BLOCK_MAGIC, FP_BINARY_MAGIC_BYTES) != 0)
        return false;
    uint32_t header_bytes = fp_load_u32(bytes + FP_BLOCK_HEADER_BYTES);
    if (header_bytes < FP_BLOCK_TEXTS + 2 || header_bytes > FP_BINARY_MOST_BLOCK_HEADER_BYTES ||
        header_bytes > n)
        return false;
    uint64_t checksum =
        fp_checksum(bytes + FP_BLOCK_HEADER_BYTES, header_bytes - FP_BLOCK_HEADER_BYTES);
    return checksum == fp_load_u64(bytes + FP_BLOCK_CHECKSUM);
}

/* Whether the block was written to this place in this file. */
static bool is_at_home(const fp_schema *schema, uint64_t offset, const uint8_t *bytes)
{
    return fp_load_u64(bytes + FP_BLOCK_OFFSET) == offset &&
           fp_load_u64(bytes + FP_BLOCK_FILE_ID) == fp_binary_file_id(schema) &&
           fp_load_u64(bytes + FP_BLOCK_DURABLE_END) <= offset &&
           fp_load_u64(bytes + FP_BLOCK_SEQUENCE) < FP_BINARY_MOST_SEQUENCE;
}

static void load_ranges(const uint8_t *bytes, fp_block *block)
{
    block->n_rows = fp_load_u32(bytes + FP_BLOCK_N_ROWS);
    block->n_pages = fp_load_u32(bytes + FP_BLOCK_N_PAGES);
    block->bytes = fp_load_u64(bytes + FP_BLOCK_BYTES);
    block->date_min = (int64_t)fp_load_u64(bytes + FP_BLOCK_DATE_MIN);
    block->date_max = (int64_t)fp_load_u64(bytes + FP_BLOCK_DATE_MAX);
    block->timestamp_min = (int64_t)fp_load_u64(bytes + FP_BLOCK_TIMESTAMP_MIN);
    block->timestamp_max = (int64_t)fp_load_u64(bytes + FP_BLOCK_TIMESTAMP_MAX);
    for (size_t status = 0; status < 6; status++)
        block->status_rows[status] = fp_load_u32(bytes + FP_BLOCK_STATUS_ROWS + 4 * status);
}

static bool statuses_add_up(const fp_block *block)
{
    uint64_t sum = 0;
    for (size_t status = 0; status < 6; status++)
        sum += block->status_rows[status];
    uint32_t ok = block->status_rows[FACPOOL_STATUS_OK];
    return sum == block->n_rows && block->status_rows[FACPOOL_STATUS_NONE] == 0 &&
           ok == (block->all_ok ? block->n_rows : 0);
}

/* Sizes that a reader of rows relies on. */
static bool rows_add_up(const fp_schema *schema, const fp_binary_header *h, const uint8_t *bytes)
{
    const fp_block *block = &h->parsed.entry.block;
    if (block->n_rows == 0 || block->n_rows > FP_BLOCK_ROWS ||
        fp_load_u32(bytes + FP_BLOCK_PAGE_ROWS) != FP_PAGE_ROWS ||
        block->n_pages != fp_binary_n_pages(block->n_rows) ||
        h->n_columns != fp_binary_n_columns(block->all_ok, schema->names.n))
        return false;
    uint64_t directory = (uint64_t)block->n_pages *
                         (FP_PAGE_ENTRY_BYTES + (uint64_t)h->n_columns * FP_CHUNK_ENTRY_BYTES);
    uint64_t open_bytes = h->header_bytes + directory + h->dictionary_bytes;
    return h->directory_bytes == directory && open_bytes <= block->bytes &&
           block->bytes <= FP_BINARY_MOST_BLOCK_BYTES && h->n_codes >= 1 &&
           h->n_codes <= block->n_rows && block->date_min <= block->date_max &&
           block->timestamp_min <= block->timestamp_max && *block->code_min && *block->code_max &&
           statuses_add_up(block);
}

static bool index_adds_up(const fp_binary_header *h)
{
    const fp_block *block = &h->parsed.entry.block;
    return block->n_rows == 0 && block->n_pages == 0 && h->n_columns == 0 && h->n_codes == 0 &&
           h->dictionary_bytes == 0 && h->directory_bytes >= FP_INDEX_ENTRIES &&
           block->bytes == (uint64_t)h->header_bytes + h->directory_bytes + FP_TRAILER_BYTES;
}

bool fp_binary_parse_header(const fp_schema *schema, uint64_t offset, const uint8_t *bytes,
                            size_t n, fp_binary_header *out)
{
    if (!is_sound(bytes, n) || !is_at_home(schema, offset, bytes))
        return false;
    fp_binary_header h = {
        .header_bytes = fp_load_u32(bytes + FP_BLOCK_HEADER_BYTES),
        .n_columns = fp_load_u32(bytes + FP_BLOCK_N_COLUMNS),
        .n_codes = fp_load_u32(bytes + FP_BLOCK_N_CODES),
        .directory_bytes = fp_load_u32(bytes + FP_BLOCK_DIRECTORY_BYTES),
        .dictionary_bytes = fp_load_u32(bytes + FP_BLOCK_DICTIONARY_BYTES),
        .directory_checksum = fp_load_u64(bytes + FP_BLOCK_DIRECTORY_CHECKSUM),
        .dictionary_checksum = fp_load_u64(bytes + FP_BLOCK_DICTIONARY_CHECKSUM),
    };
    uint8_t kind = bytes[FP_BLOCK_KIND];
    size_t code_min_bytes = bytes[FP_BLOCK_CODE_MIN_BYTES];
    size_t code_max_bytes = bytes[FP_BLOCK_CODE_MAX_BYTES];
    const uint8_t *code_min = bytes + FP_BLOCK_TEXTS;
    const uint8_t *code_max = code_min + code_min_bytes + 1;
    if (FP_BLOCK_TEXTS + code_min_bytes + code_max_bytes + 2 > h.header_bytes ||
        !is_text(code_min, code_min_bytes) || !is_text(code_max, code_max_bytes))
        return false;
    fp_parsed_block *parsed = &h.parsed;
    fp_block *block = &parsed->entry.block;
    load_ranges(bytes, block);
    block->offset = offset;
    block->all_ok = kind == FP_KIND_OK;
    block->has_factors = kind == FP_KIND_OK;
    block->code_min = (const char *)code_min;
    block->code_max = (const char *)code_max;
    parsed->is_index = kind == FP_KIND_INDEX;
    parsed->entry.sequence = fp_load_u64(bytes + FP_BLOCK_SEQUENCE);
    parsed->durable_end = fp_load_u64(bytes + FP_BLOCK_DURABLE_END);
    parsed->unsynced = bytes[FP_BLOCK_FLAGS] & FP_FLAG_UNSYNCED;
    if (block->bytes % FP_BINARY_ALIGNMENT != 0 || kind < FP_KIND_OK || kind > FP_KIND_INDEX ||
        !(parsed->is_index ? index_adds_up(&h) : rows_add_up(schema, &h, bytes)))
        return false;
    parsed->entry.open_bytes = h.header_bytes + h.directory_bytes + h.dictionary_bytes;
    *out = h;
    return true;
}

static int parse_at(const fp_place *place, uint64_t offset, fp_binary_header *out,
                    facpool_error *err)
{
    const uint8_t *bytes;
    size_t got;
    *out = (fp_binary_header){.parsed = {.state = FP_BLOCK_BAD}};
    int rc =
        fp_window_get(place->window, offset, FP_BINARY_MOST_BLOCK_HEADER_BYTES, &bytes, &got, err);
    if (rc || offset % FP_BINARY_ALIGNMENT != 0 ||
        !fp_binary_parse_header(place->schema, offset, bytes, got, out))
        return rc;
    bool fits = out->parsed.entry.block.bytes <= place->window->size - offset;
    out->parsed.state = fits ? FP_BLOCK_WHOLE : FP_BLOCK_SHORT;
    return 0;
}

int fp_binary_parse_block(const fp_place *place, uint64_t offset, fp_parsed_block *out,
                          facpool_error *err)
{
    fp_binary_header header;
    int rc = parse_at(place, offset, &header, err);
    if (!rc)
        *out = header.parsed;
    return rc;
}

int fp_binary_find_block(const fp_place *place, uint64_t from, uint64_t *offset, facpool_error *err)
{
    uint64_t at = from + fp_binary_padding(from);
    for (; at < place->window->size; at += FP_BINARY_ALIGNMENT) {
        const uint8_t *bytes;
        size_t got;
        int rc = fp_window_get(place->window, at, FP_BINARY_MAGIC_BYTES, &bytes, &got, err);
        if (rc)
            return rc;
        if (got < FP_BINARY_MAGIC_BYTES ||
            memcmp(bytes, FP_BINARY_BLOCK_MAGIC, FP_BINARY_MAGIC_BYTES) != 0)
            continue;
        fp_binary_header header;
        rc = parse_at(place, at, &header, err);
        if (rc)
            return rc;
        if (header.parsed.state != FP_BLOCK_BAD) {
            *offset = at;
            return 0;
        }
    }
    *offset = UINT64_MAX;
    return 0;
}

/* ------------------------------------------------------------------ checking a block */

/* One checksummed stretch of the file. */
typedef struct part {
    uint64_t offset;
    uint64_t bytes;
    uint64_t checksum;
} part;

static int check_part(const fp_place *place, const part *p, bool *sound, fp_block_check *check,
                      facpool_error *err)
{
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(place->window, p->offset, (size_t)p->bytes, &bytes, &got, err);
    if (rc)
        return rc;
    *sound = got == p->bytes && fp_checksum(bytes, got) == p->checksum;
    if (!*sound) {
        if (!check->damaged_parts || p->offset < check->first_damage)
            check->first_damage = p->offset;
        check->damaged_parts++;
    }
    return 0;
}

/* `chunks` is the checked directory of them. */
static int check_chunks(const fp_place *place, const fp_binary_header *h, const uint8_t *chunks,
                        fp_block_check *check, facpool_error *err)
{
    const fp_block *block = &h->parsed.entry.block;
    uint64_t end = block->offset + block->bytes;
    uint64_t at = block->offset + h->parsed.entry.open_bytes;
    uint64_t n_chunks = (uint64_t)block->n_pages * h->n_columns;
    int rc = 0;
    for (uint64_t i = 0; !rc && i < n_chunks; i++) {
        const uint8_t *entry = chunks + i * FP_CHUNK_ENTRY_BYTES;
        part chunk = {.offset = at,
                      .bytes = fp_load_u32(entry + FP_CHUNK_BYTES),
                      .checksum = fp_load_u64(entry + FP_CHUNK_CHECKSUM)};
        if (chunk.bytes > end - at)
            break;
        bool sound;
        rc = check_part(place, &chunk, &sound, check, err);
        at += chunk.bytes;
    }
    if (!rc && at != end) { /* a sound directory of what is not there */
        check->first_damage = check->damaged_parts ? check->first_damage : at;
        check->damaged_parts++;
    }
    return rc;
}

static int check_rows(const fp_place *place, const fp_binary_header *h, fp_block_check *check,
                      facpool_error *err)
{
    part directory = {.offset = h->parsed.entry.block.offset + h->header_bytes,
                      .bytes = h->directory_bytes,
                      .checksum = h->directory_checksum};
    part dictionary = {.offset = directory.offset + directory.bytes,
                       .bytes = h->dictionary_bytes,
                       .checksum = h->dictionary_checksum};
    bool sound;
    int rc = check_part(place, &dictionary, &sound, check, err);
    if (!rc)
        rc = check_part(place, &directory, &sound, check, err);
    if (rc || !sound)
        return rc;
    /* The window moves on with the chunks: their directory is kept aside. */
    const uint8_t *bytes;
    size_t got;
    fp_buffer kept = {0};
    rc = fp_window_get(place->window, directory.offset, (size_t)directory.bytes, &bytes, &got, err);
    if (!rc && fp_buffer_put(&kept, bytes, got))
        rc = fp_fail_nomem(err, got);
    size_t pages_bytes = (size_t)h->parsed.entry.block.n_pages * FP_PAGE_ENTRY_BYTES;
    if (!rc)
        rc = check_chunks(place, h, kept.data + pages_bytes, check, err);
    fp_buffer_free(&kept);
    return rc;
}

static int check_index(const fp_place *place, const fp_binary_header *h, fp_block_check *check,
                       facpool_error *err)
{
    const fp_block *block = &h->parsed.entry.block;
    part entries = {.offset = block->offset + h->header_bytes,
                    .bytes = h->directory_bytes,
                    .checksum = h->directory_checksum};
    bool sound;
    int rc = check_part(place, &entries, &sound, check, err);
    if (rc)
        return rc;
    const uint8_t *bytes;
    size_t got;
    uint64_t trailer = entries.offset + entries.bytes;
    rc = fp_window_get(place->window, trailer, FP_TRAILER_BYTES, &bytes, &got, err);
    if (!rc && (got < FP_TRAILER_BYTES ||
                !fp_binary_trailer_is_sound(bytes, place->schema, block->offset, block->bytes))) {
        check->first_damage = check->damaged_parts ? check->first_damage : trailer;
        check->damaged_parts++;
    }
    return rc;
}

int fp_binary_check_block(const fp_place *place, uint64_t offset, fp_block_check *out,
                          facpool_error *err)
{
    *out = (fp_block_check){0};
    fp_binary_header header;
    int rc = parse_at(place, offset, &header, err);
    if (rc)
        return rc;
    if (header.parsed.state != FP_BLOCK_WHOLE) {
        *out = (fp_block_check){.damaged_parts = 1, .first_damage = offset};
        return 0;
    }
    return header.parsed.is_index ? check_index(place, &header, out, err)
                                  : check_rows(place, &header, out, err);
}
