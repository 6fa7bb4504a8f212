/* Block headers: parsing one that may be anything, making one, and checking what follows it. Called
 * by the formats binary and memory_map when they write, walk and verify; decodes no column. */
#include "store/front.h"

#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

/* ------------------------------------------------------------------ parsing */

/* A NUL-terminated text of exactly `length` bytes. */
static bool is_text(const uint8_t *at, size_t length)
{
    return at[length] == 0 && !memchr(at, 0, length);
}

/* Magic, length, checksum: after this the bytes are those that a writer wrote. */
static bool is_sound(const fp_front_rules *rules, const uint8_t *bytes, size_t n)
{
    if (n < FP_BLOCK_TEXTS || memcmp(bytes, rules->magic, FP_MAGIC_BYTES) != 0)
        return false;
    uint32_t header_bytes = fp_load_u32(bytes + FP_BLOCK_HEADER_BYTES);
    if (header_bytes < FP_BLOCK_TEXTS + 2 || header_bytes > FP_MOST_BLOCK_HEADER_BYTES ||
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
           fp_load_u64(bytes + FP_BLOCK_FILE_ID) == fp_front_file_id(schema) &&
           fp_load_u64(bytes + FP_BLOCK_DURABLE_END) <= offset &&
           fp_load_u64(bytes + FP_BLOCK_SEQUENCE) < FP_MOST_SEQUENCE;
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
static bool rows_add_up(const fp_front_rules *rules, const fp_front_header *h, const uint8_t *bytes)
{
    const fp_block *block = &h->parsed.entry.block;
    if (block->n_rows == 0 || block->n_rows > FP_BLOCK_ROWS ||
        fp_load_u32(bytes + FP_BLOCK_PAGE_ROWS) != FP_PAGE_ROWS ||
        block->n_pages != fp_front_n_pages(block->n_rows) ||
        h->n_columns != fp_front_n_columns(rules, block->all_ok))
        return false;
    uint64_t directory = fp_front_directory_bytes(rules, block->all_ok, block->n_pages);
    uint64_t open_bytes = rules->at + h->header_bytes + directory + h->dictionary_bytes;
    return h->directory_bytes == directory && open_bytes <= block->bytes &&
           block->bytes <= FP_MOST_BLOCK_BYTES && h->n_codes >= 1 && h->n_codes <= block->n_rows &&
           h->dictionary_bytes <= 1 + (uint64_t)h->n_codes * (2 + FP_CODE_MAX_BYTES) &&
           block->date_min <= block->date_max && block->timestamp_min <= block->timestamp_max &&
           *block->code_min && *block->code_max && statuses_add_up(block);
}

static bool index_adds_up(const fp_front_rules *rules, const fp_front_header *h)
{
    const fp_block *block = &h->parsed.entry.block;
    uint64_t entries_end = (uint64_t)rules->at + h->header_bytes + h->directory_bytes;
    return block->n_rows == 0 && block->n_pages == 0 && h->n_columns == 0 && h->n_codes == 0 &&
           h->dictionary_bytes == 0 && h->directory_bytes >= FP_INDEX_ENTRIES &&
           block->bytes >= entries_end + rules->least_tail_bytes &&
           block->bytes <= entries_end + rules->most_tail_bytes;
}

bool fp_front_parse(const fp_front_rules *rules, const fp_schema *schema, uint64_t offset,
                    const uint8_t *bytes, size_t n, fp_front_header *out)
{
    if (!is_sound(rules, bytes, n) || !is_at_home(schema, offset, bytes))
        return false;
    fp_front_header h = {
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
    if (block->bytes % FP_BLOCK_ALIGNMENT != 0 || kind < FP_KIND_OK || kind > FP_KIND_INDEX ||
        (kind == FP_KIND_OK && block->n_rows > fp_front_most_rows(schema->names.n)) ||
        !(parsed->is_index ? index_adds_up(rules, &h) : rows_add_up(rules, &h, bytes)))
        return false;
    parsed->entry.open_bytes = rules->at + h.header_bytes + h.directory_bytes + h.dictionary_bytes;
    *out = h;
    return true;
}

int fp_front_parse_at(const fp_front_rules *rules, const fp_place *place, uint64_t offset,
                      fp_front_header *out, facpool_error *err)
{
    const uint8_t *bytes;
    size_t got;
    *out = (fp_front_header){.parsed = {.state = FP_BLOCK_BAD}};
    /* What stands before it may be long, and may be looked for at every place. */
    int rc = (rules->at ? fp_window_peek : fp_window_get)(
        place->window, offset + rules->at, FP_MOST_BLOCK_HEADER_BYTES, &bytes, &got, err);
    if (rc || offset % FP_BLOCK_ALIGNMENT != 0 ||
        !fp_front_parse(rules, place->schema, offset, bytes, got, out))
        return rc;
    bool fits = out->parsed.entry.block.bytes <= place->window->size - offset;
    out->parsed.state = fits ? FP_BLOCK_WHOLE : FP_BLOCK_SHORT;
    return 0;
}

/* ------------------------------------------------------------------ making */

void fp_front_fill(const fp_front_rules *rules, const fp_front_header *h, uint64_t file_id,
                   uint8_t *to)
{
    const fp_block *block = &h->parsed.entry.block;
    memset(to, 0, h->header_bytes);
    memcpy(to, rules->magic, FP_MAGIC_BYTES);
    fp_store_u32(to + FP_BLOCK_HEADER_BYTES, h->header_bytes);
    fp_store_u64(to + FP_BLOCK_BYTES, block->bytes);
    fp_store_u64(to + FP_BLOCK_FILE_ID, file_id);
    fp_store_u64(to + FP_BLOCK_DIRECTORY_CHECKSUM, h->directory_checksum);
    fp_store_u32(to + FP_BLOCK_DIRECTORY_BYTES, h->directory_bytes);
    if (h->parsed.is_index) {
        to[FP_BLOCK_KIND] = FP_KIND_INDEX;
        return;
    }
    size_t code_min_bytes = strlen(block->code_min);
    size_t code_max_bytes = strlen(block->code_max);
    to[FP_BLOCK_KIND] = block->all_ok ? FP_KIND_OK : FP_KIND_NOT_OK;
    to[FP_BLOCK_CODE_MIN_BYTES] = (uint8_t)code_min_bytes;
    to[FP_BLOCK_CODE_MAX_BYTES] = (uint8_t)code_max_bytes;
    fp_store_u32(to + FP_BLOCK_N_ROWS, block->n_rows);
    fp_store_u32(to + FP_BLOCK_N_PAGES, block->n_pages);
    fp_store_u32(to + FP_BLOCK_N_COLUMNS, h->n_columns);
    fp_store_u32(to + FP_BLOCK_PAGE_ROWS, FP_PAGE_ROWS);
    fp_store_u64(to + FP_BLOCK_DATE_MIN, (uint64_t)block->date_min);
    fp_store_u64(to + FP_BLOCK_DATE_MAX, (uint64_t)block->date_max);
    fp_store_u64(to + FP_BLOCK_TIMESTAMP_MIN, (uint64_t)block->timestamp_min);
    fp_store_u64(to + FP_BLOCK_TIMESTAMP_MAX, (uint64_t)block->timestamp_max);
    for (size_t status = 0; status < 6; status++)
        fp_store_u32(to + FP_BLOCK_STATUS_ROWS + 4 * status, block->status_rows[status]);
    fp_store_u32(to + FP_BLOCK_N_CODES, h->n_codes);
    fp_store_u32(to + FP_BLOCK_DICTIONARY_BYTES, h->dictionary_bytes);
    fp_store_u64(to + FP_BLOCK_DICTIONARY_CHECKSUM, h->dictionary_checksum);
    memcpy(to + FP_BLOCK_TEXTS, block->code_min, code_min_bytes + 1);
    memcpy(to + FP_BLOCK_TEXTS + code_min_bytes + 1, block->code_max, code_max_bytes + 1);
}

void fp_front_seal(uint8_t *header, const fp_seal *seal)
{
    uint32_t header_bytes = fp_load_u32(header + FP_BLOCK_HEADER_BYTES);
    header[FP_BLOCK_FLAGS] = seal->unsynced ? FP_FLAG_UNSYNCED : 0;
    fp_store_u64(header + FP_BLOCK_OFFSET, seal->offset);
    fp_store_u64(header + FP_BLOCK_SEQUENCE, seal->sequence);
    fp_store_u64(header + FP_BLOCK_DURABLE_END, seal->durable_end);
    fp_store_u64(header + FP_BLOCK_CHECKSUM,
                 fp_checksum(header + FP_BLOCK_HEADER_BYTES, header_bytes - FP_BLOCK_HEADER_BYTES));
}

/* ------------------------------------------------------------------ checking */

void fp_front_note_damage(fp_block_check *check, uint64_t offset)
{
    if (!check->damaged_parts || offset < check->first_damage)
        check->first_damage = offset;
    check->damaged_parts++;
}

int fp_front_check_part(const fp_place *place, const fp_front_part *part, bool *sound,
                        fp_block_check *check, facpool_error *err)
{
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(place->window, part->offset, (size_t)part->bytes, &bytes, &got, err);
    if (rc)
        return rc;
    *sound = got == part->bytes && fp_checksum(bytes, got) == part->checksum;
    if (!*sound)
        fp_front_note_damage(check, part->offset);
    return 0;
}

int fp_front_check(const fp_front_rules *rules, const fp_place *place,
                   const fp_front_header *header, fp_buffer *directory, bool *sound,
                   fp_block_check *check, facpool_error *err)
{
    fp_front_part entries = {.offset = header->parsed.entry.block.offset + rules->at +
                                       header->header_bytes,
                             .bytes = header->directory_bytes,
                             .checksum = header->directory_checksum};
    fp_front_part dictionary = {.offset = entries.offset + entries.bytes,
                                .bytes = header->dictionary_bytes,
                                .checksum = header->dictionary_checksum};
    int rc = fp_front_check_part(place, &dictionary, sound, check, err);
    if (!rc)
        rc = fp_front_check_part(place, &entries, sound, check, err);
    if (rc || !*sound)
        return rc;
    /* The window moves on with the columns: their directory is kept aside. */
    const uint8_t *bytes;
    size_t got;
    rc = fp_window_get(place->window, entries.offset, (size_t)entries.bytes, &bytes, &got, err);
    if (!rc && fp_buffer_put(directory, bytes, got))
        rc = fp_fail_nomem(err, got);
    *sound = !rc && got == entries.bytes;
    return rc;
}
