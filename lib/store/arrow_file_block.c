/* Blocks of the memory_map format: parsing a header that may be anything, finding the next one, and
 * checking a whole block. Called by the file log's walk and by verify; hands out no column. */
#include "store/arrow_file.h"

#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

static size_t n_factors_of(const fp_place *place)
{
    return place->schema->names.n;
}

/* Whether the bytes are the prefix of a block's message. */
static bool is_prefix(const fp_front_rules *rules, const uint8_t *bytes)
{
    return fp_load_u32(bytes) == FP_ARROW_CONTINUATION &&
           fp_load_u32(bytes + 4) == rules->at - FP_ARROW_PREFIX_BYTES;
}

static int parse_at(const fp_place *place, uint64_t offset, fp_front_header *out,
                    facpool_error *err)
{
    fp_front_rules rules = fp_arrow_rules(n_factors_of(place));
    *out = (fp_front_header){.parsed = {.state = FP_BLOCK_BAD}};
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(place->window, offset, FP_ARROW_PREFIX_BYTES, &bytes, &got, err);
    if (rc || got < FP_ARROW_PREFIX_BYTES || !is_prefix(&rules, bytes))
        return rc;
    rc = fp_window_peek(place->window, offset + rules.at, FP_MAGIC_BYTES, &bytes, &got, err);
    if (rc || got < FP_MAGIC_BYTES || memcmp(bytes, rules.magic, FP_MAGIC_BYTES) != 0)
        return rc;
    return fp_front_parse_at(&rules, place, offset, out, err);
}

int fp_arrow_parse_block(const fp_place *place, uint64_t offset, fp_parsed_block *out,
                         facpool_error *err)
{
    fp_front_header header;
    int rc = parse_at(place, offset, &header, err);
    if (!rc)
        *out = header.parsed;
    return rc;
}

int fp_arrow_find_block(const fp_place *place, uint64_t from, uint64_t *offset, facpool_error *err)
{
    uint64_t at = from + fp_front_padding(from);
    for (; at < place->window->size; at += FP_BLOCK_ALIGNMENT) {
        fp_front_header header;
        int rc = parse_at(place, at, &header, err);
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

bool fp_arrow_block_layout(fp_arrow_layout *out, const fp_front_header *header, size_t n_factors,
                           const uint8_t *directory)
{
    const fp_block *block = &header->parsed.entry.block;
    const uint8_t *more = directory + header->directory_bytes - FP_MORE_BYTES;
    uint64_t code_bytes = fp_load_u64(more + FP_MORE_CODE_BYTES);
    uint64_t message_bytes = fp_load_u64(more + FP_MORE_MESSAGE_BYTES);
    uint64_t first = header->parsed.entry.open_bytes;
    if (first % FP_BLOCK_ALIGNMENT != 0 ||
        code_bytes > (uint64_t)block->n_rows * FP_CODE_MAX_BYTES ||
        message_bytes > (uint64_t)block->n_rows * FP_MESSAGE_MAX_BYTES)
        return false;
    *out = fp_arrow_layout_of(block->all_ok, block->n_rows, n_factors, code_bytes, message_bytes,
                              first);
    return out->end == block->bytes && (!block->all_ok || message_bytes == 0);
}

/* ------------------------------------------------------------------ checking a block */

typedef struct block_job {
    const fp_place *place;
    const fp_front_header *header;
    const uint8_t *directory; /* sound */
    fp_arrow_layout layout;
    fp_buffer offsets; /* of the texts that are checked next */
    fp_block_check *check;
    facpool_error *err;
} block_job;

static int check_envelope(const block_job *j)
{
    const fp_block *block = &j->header->parsed.entry.block;
    const uint8_t *more = j->directory + j->header->directory_bytes - FP_MORE_BYTES;
    const uint8_t *bytes;
    size_t got, wanted = j->layout.envelope_bytes;
    int rc = fp_window_get(j->place->window, block->offset, wanted, &bytes, &got, j->err);
    if (rc)
        return rc;
    bool sound =
        got == wanted && fp_checksum(bytes, got) == fp_load_u64(more + FP_MORE_ENVELOPE_CHECKSUM);
    if (sound)
        rc = fp_arrow_check_envelope(bytes, &j->layout, n_factors_of(j->place), block->bytes,
                                     &sound, j->err);
    if (!rc && !sound)
        fp_front_note_damage(j->check, block->offset);
    return rc;
}

/* Keeps a section of offsets aside, for the texts behind it. Offsets that can't be are damage, and
 * the texts are not looked at: *usable is false. */
static int keep_offsets(block_job *j, uint32_t section, bool *usable)
{
    uint64_t at = j->header->parsed.entry.block.offset + fp_arrow_section_at(&j->layout, section);
    uint64_t wanted = fp_arrow_section_bytes(&j->layout, section);
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(j->place->window, at, (size_t)wanted, &bytes, &got, j->err);
    if (rc)
        return rc;
    j->offsets.size = 0;
    if (fp_buffer_put(&j->offsets, bytes, got))
        return fp_fail_nomem(j->err, got);
    *usable = got == wanted && fp_load_u32(j->offsets.data) == 0;
    const uint32_t *offsets = (const uint32_t *)(const void *)j->offsets.data;
    for (uint32_t i = 0; *usable && i < j->layout.n_rows; i++)
        *usable = fp_arrow_text_can_be(section, offsets[i], offsets[i + 1]);
    uint32_t texts = fp_arrow_texts_of(&j->layout, section);
    *usable = *usable && offsets[j->layout.n_rows] == fp_arrow_section_bytes(&j->layout, texts);
    if (!*usable)
        fp_front_note_damage(j->check, at);
    return 0;
}

static int check_padding(const block_job *j, uint32_t section)
{
    uint64_t at = j->header->parsed.entry.block.offset + fp_arrow_section_at(&j->layout, section) +
                  fp_arrow_section_bytes(&j->layout, section);
    size_t wanted = fp_front_padding(at);
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(j->place->window, at, wanted, &bytes, &got, j->err);
    bool zero = !rc && got == wanted;
    for (size_t i = 0; zero && i < wanted; i++)
        zero = bytes[i] == 0;
    if (!rc && !zero)
        fp_front_note_damage(j->check, at);
    return rc;
}

static int check_section(block_job *j, uint32_t section)
{
    const fp_arrow_layout *layout = &j->layout;
    uint64_t at = j->header->parsed.entry.block.offset + fp_arrow_section_at(layout, section);
    const uint8_t *sums =
        j->directory + (size_t)j->header->parsed.entry.block.n_pages * FP_PAGE_ENTRY_BYTES;
    const uint32_t *offsets = (const uint32_t *)(const void *)j->offsets.data;
    int rc = 0;
    for (uint32_t chunk = 0; !rc && chunk < layout->n_chunks; chunk++) {
        fp_arrow_stretch stretch = fp_arrow_chunk_of(layout, section, chunk, offsets);
        fp_front_part part = {.offset = at + stretch.at,
                              .bytes = stretch.bytes,
                              .checksum =
                                  fp_load_u64(sums + fp_arrow_sum_at(layout, section, chunk))};
        bool sound;
        rc = fp_front_check_part(j->place, &part, &sound, j->check, j->err);
    }
    return rc ? rc : check_padding(j, section);
}

static int check_sections(block_job *j)
{
    int rc = 0;
    for (uint32_t section = 0; !rc && section < j->layout.n_sections; section++) {
        rc = check_section(j, section);
        bool usable = true;
        if (!rc && fp_arrow_texts_of(&j->layout, section))
            rc = keep_offsets(j, section, &usable);
        section += !usable; /* its texts, whose chunks nobody knows */
    }
    return rc;
}

static int check_rows(const fp_place *place, const fp_front_header *header, fp_block_check *check,
                      facpool_error *err)
{
    fp_front_rules rules = fp_arrow_rules(n_factors_of(place));
    fp_buffer directory = {0};
    bool sound;
    int rc = fp_front_check(&rules, place, header, &directory, &sound, check, err);
    if (!rc && sound) {
        block_job j = {.place = place,
                       .header = header,
                       .directory = directory.data,
                       .check = check,
                       .err = err};
        if (fp_arrow_block_layout(&j.layout, header, n_factors_of(place), directory.data)) {
            rc = check_envelope(&j);
            if (!rc)
                rc = check_sections(&j);
        } else { /* a sound directory of what is not there */
            fp_front_note_damage(check, header->parsed.entry.block.offset);
        }
        fp_buffer_free(&j.offsets);
    }
    fp_buffer_free(&directory);
    return rc;
}

int fp_arrow_check_block(const fp_place *place, uint64_t offset, fp_block_check *out,
                         facpool_error *err)
{
    *out = (fp_block_check){0};
    fp_front_header header;
    int rc = parse_at(place, offset, &header, err);
    if (rc)
        return rc;
    if (header.parsed.state != FP_BLOCK_WHOLE) {
        *out = (fp_block_check){.damaged_parts = 1, .first_damage = offset};
        return 0;
    }
    return header.parsed.is_index ? fp_arrow_check_index(place, &header, out, err)
                                  : check_rows(place, &header, out, err);
}
