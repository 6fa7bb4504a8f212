/* The entries of an index block, one a data block: from the index in memory to bytes and back.
 * Called by the formats binary and memory_map when a file is closed and when one is opened. An
 * index that is anything but perfect is no index: the file is then walked. */
#include "store/front.h"

#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

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

uint64_t fp_front_entries_bytes(const fp_log_index *index)
{
    uint64_t bytes = FP_INDEX_ENTRIES;
    for (size_t i = 0; i < index->n; i++)
        bytes += FP_ENTRY_TEXTS + strlen(fp_log_index_code_min(index, i)) +
                 strlen(fp_log_index_code_max(index, i)) + 2;
    return bytes;
}

int fp_front_put_entries(const fp_log_index *index, fp_index_counts counts, fp_buffer *out)
{
    int rc = fp_buffer_put_u64(out, index->n);
    if (!rc)
        rc = fp_buffer_put_u64(out, counts.damaged);
    if (!rc)
        rc = fp_buffer_put_u64(out, counts.given_up);
    for (size_t i = 0; !rc && i < index->n; i++)
        rc = put_entry(index, i, out);
    return rc;
}

int fp_front_fail_index_size(const fp_log_index *index, facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                   "the index of %zu blocks is too large to be stored: the rows are all there, "
                   "only opening is slower",
                   index->n);
}

/* ------------------------------------------------------------------ reading */

/* Where the blocks of an index may lie, and what they are. */
typedef struct bounds {
    const fp_front_rules *rules;
    size_t most_rows; /* with factors */
    uint64_t from;
    uint64_t to;
} bounds;

static bool entry_adds_up(const fp_log_entry *entry, const bounds *b)
{
    const fp_block *block = &entry->block;
    uint64_t statuses = 0;
    uint64_t least_bytes = b->rules->at + FP_BLOCK_TEXTS +
                           fp_front_directory_bytes(b->rules, block->all_ok, block->n_pages);
    for (size_t status = 0; status < 6; status++)
        statuses += block->status_rows[status];
    return block->offset >= b->from && block->offset % FP_BLOCK_ALIGNMENT == 0 &&
           block->bytes <= FP_MOST_BLOCK_BYTES && block->offset <= b->to &&
           block->bytes <= b->to - block->offset && entry->open_bytes <= block->bytes &&
           entry->open_bytes >= least_bytes && block->n_rows >= 1 &&
           block->n_rows <= (block->all_ok ? b->most_rows : FP_BLOCK_ROWS) &&
           block->n_pages == fp_front_n_pages(block->n_rows) && statuses == block->n_rows &&
           *block->code_min && *block->code_max;
}

/* False: the bytes end within the entry, or it says what can't be. */
static bool take_entry(fp_bytes *bytes, const bounds *b, fp_log_entry *out)
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
    return entry_adds_up(&entry, b);
}

static int take_entries(fp_bytes *bytes, bounds b, fp_parsed_index *out, bool *sound,
                        facpool_error *err)
{
    uint64_t n_blocks = fp_bytes_u64(bytes);
    out->counts.damaged = fp_bytes_u64(bytes);
    out->counts.given_up = fp_bytes_u64(bytes);
    *sound = !bytes->failed;
    for (uint64_t i = 0; *sound && i < n_blocks; i++) {
        fp_log_entry entry;
        *sound = take_entry(bytes, &b, &entry);
        int rc = *sound ? fp_log_index_add(&out->index, &entry, err) : 0;
        if (rc)
            return rc;
        b.from = entry.block.offset + entry.block.bytes;
    }
    *sound = *sound && bytes->at == bytes->size;
    return 0;
}

static int read_entries(const fp_front_rules *rules, const fp_place *place,
                        const fp_front_header *header, fp_parsed_index *out, bool *sound,
                        facpool_error *err)
{
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(place->window, out->offset + rules->at + header->header_bytes,
                           header->directory_bytes, &bytes, &got, err);
    if (rc)
        return rc;
    *sound =
        got == header->directory_bytes && fp_checksum(bytes, got) == header->directory_checksum;
    fp_bytes entries = {.data = bytes, .size = got};
    bounds b = {.rules = rules,
                .most_rows = fp_front_most_rows(place->schema->names.n),
                .from = place->header_end,
                .to = out->offset};
    return *sound ? take_entries(&entries, b, out, sound, err) : 0;
}

int fp_front_parse_index(const fp_front_rules *rules, const fp_place *place, uint64_t offset,
                         fp_parsed_index *out, facpool_error *err)
{
    *out = (fp_parsed_index){0};
    fp_parsed_index parsed = {.offset = offset};
    fp_front_header header;
    int rc = fp_front_parse_at(rules, place, offset, &header, err);
    if (rc || header.parsed.state != FP_BLOCK_WHOLE || !header.parsed.is_index)
        return rc;
    parsed.sequence = header.parsed.entry.sequence;
    parsed.durable_end = header.parsed.durable_end;
    rc = read_entries(rules, place, &header, &parsed, &parsed.found, err);
    if (rc || !parsed.found) {
        fp_log_index_free(&parsed.index);
        return rc;
    }
    *out = parsed;
    return 0;
}
