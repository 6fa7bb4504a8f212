/* Blocks of the binary format: parsing a header that may be anything, finding the next one, and
 * checking a whole block. Called by the file log's walk and by verify; decodes no column. */
#include "store/binary.h"

#include <string.h>

static fp_front_rules rules_of(const fp_place *place)
{
    return fp_binary_rules(place->schema->names.n);
}

int fp_binary_parse_block(const fp_place *place, uint64_t offset, fp_parsed_block *out,
                          facpool_error *err)
{
    fp_front_rules rules = rules_of(place);
    fp_front_header header;
    int rc = fp_front_parse_at(&rules, place, offset, &header, err);
    if (!rc)
        *out = header.parsed;
    return rc;
}

int fp_binary_find_block(const fp_place *place, uint64_t from, uint64_t *offset, facpool_error *err)
{
    fp_front_rules rules = rules_of(place);
    uint64_t at = from + fp_front_padding(from);
    for (; at < place->window->size; at += FP_BLOCK_ALIGNMENT) {
        const uint8_t *bytes;
        size_t got;
        int rc = fp_window_get(place->window, at, FP_MAGIC_BYTES, &bytes, &got, err);
        if (rc)
            return rc;
        if (got < FP_MAGIC_BYTES || memcmp(bytes, FP_BINARY_BLOCK_MAGIC, FP_MAGIC_BYTES) != 0)
            continue;
        fp_front_header header;
        rc = fp_front_parse_at(&rules, place, at, &header, err);
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

/* `chunks` is the checked directory of them. */
static int check_chunks(const fp_place *place, const fp_front_header *h, const uint8_t *chunks,
                        fp_block_check *check, facpool_error *err)
{
    const fp_block *block = &h->parsed.entry.block;
    uint64_t end = block->offset + block->bytes;
    uint64_t at = block->offset + h->parsed.entry.open_bytes;
    uint64_t n_chunks = (uint64_t)block->n_pages * h->n_columns;
    int rc = 0;
    for (uint64_t i = 0; !rc && i < n_chunks; i++) {
        const uint8_t *entry = chunks + i * FP_CHUNK_ENTRY_BYTES;
        fp_front_part chunk = {.offset = at,
                               .bytes = fp_load_u32(entry + FP_CHUNK_BYTES),
                               .checksum = fp_load_u64(entry + FP_CHUNK_CHECKSUM)};
        if (chunk.bytes > end - at)
            break;
        bool sound;
        rc = fp_front_check_part(place, &chunk, &sound, check, err);
        at += chunk.bytes;
    }
    if (!rc && at != end) /* a sound directory of what is not there */
        fp_front_note_damage(check, at);
    return rc;
}

static int check_rows(const fp_place *place, const fp_front_header *h, fp_block_check *check,
                      facpool_error *err)
{
    fp_front_rules rules = rules_of(place);
    fp_buffer directory = {0};
    bool sound;
    int rc = fp_front_check(&rules, place, h, &directory, &sound, check, err);
    size_t pages_bytes = (size_t)h->parsed.entry.block.n_pages * FP_PAGE_ENTRY_BYTES;
    if (!rc && sound)
        rc = check_chunks(place, h, directory.data + pages_bytes, check, err);
    fp_buffer_free(&directory);
    return rc;
}

static int check_index(const fp_place *place, const fp_front_header *h, fp_block_check *check,
                       facpool_error *err)
{
    const fp_block *block = &h->parsed.entry.block;
    fp_front_part entries = {.offset = block->offset + h->header_bytes,
                             .bytes = h->directory_bytes,
                             .checksum = h->directory_checksum};
    bool sound;
    int rc = fp_front_check_part(place, &entries, &sound, check, err);
    if (rc)
        return rc;
    const uint8_t *bytes;
    size_t got;
    uint64_t trailer = entries.offset + entries.bytes;
    rc = fp_window_get(place->window, trailer, FP_TRAILER_BYTES, &bytes, &got, err);
    if (!rc && (got < FP_TRAILER_BYTES ||
                !fp_binary_trailer_is_sound(bytes, place->schema, block->offset, block->bytes)))
        fp_front_note_damage(check, trailer);
    return rc;
}

int fp_binary_check_block(const fp_place *place, uint64_t offset, fp_block_check *out,
                          facpool_error *err)
{
    *out = (fp_block_check){0};
    fp_front_rules rules = rules_of(place);
    fp_front_header header;
    int rc = fp_front_parse_at(&rules, place, offset, &header, err);
    if (rc)
        return rc;
    if (header.parsed.state != FP_BLOCK_WHOLE) {
        *out = (fp_block_check){.damaged_parts = 1, .first_damage = offset};
        return 0;
    }
    return header.parsed.is_index ? check_index(place, &header, out, err)
                                  : check_rows(place, &header, out, err);
}
