/* The memory_map format's part of the mutator in mend_blocks.c: the schema message that is its
 * header, the envelopes, the sections and the checksums of their chunks, the trailer before the
 * footer. Sections are as long as the rows' number says; what is in them is changed. */
#include "mend.h"

#include "codec/checksum.h"
#include "store/arrow_file.h"

#define METADATA_AT  16
#define ZERO_DIGITS  "0000000000000000"
#define KEY_CHECKSUM "facpool.checksum"
#define KEY_FILE_ID  "facpool.file_id"

static const fp_arrow_text *value_of(const fp_arrow_schema *schema, const char *key, size_t length)
{
    for (size_t i = 0; i < schema->n_pairs; i++) {
        const fp_arrow_pair *pair = &schema->pairs[i];
        if (pair->key.length == strlen(key) && memcmp(pair->key.bytes, key, strlen(key)) == 0 &&
            pair->value.length == length)
            return &pair->value;
    }
    return NULL;
}

/* The first 8 bytes of the id, from their digits. */
static uint64_t file_id_of(const fp_arrow_text *digits)
{
    uint8_t id[8] = {0};
    for (size_t i = 0; digits && i < 16; i++) {
        char digit = digits->bytes[i];
        int value = digit >= 'a' ? digit - 'a' + 10 : digit - '0';
        id[i / 2] = (uint8_t)(id[i / 2] << 4 | (value & 15));
    }
    return fp_load_u64(id);
}

static bool parse_schema(const mend_file *file, fp_arrow_schema *out)
{
    if (file->size < METADATA_AT)
        return false;
    size_t bytes = fp_load_u32(file->bytes + METADATA_AT - 4);
    return bytes <= file->size - METADATA_AT &&
           fp_arrow_parse_schema(file->bytes + METADATA_AT, bytes, SIZE_MAX, SIZE_MAX, out) == 0;
}

static bool understand(mend_file *file)
{
    fp_arrow_schema schema;
    if (!parse_schema(file, &schema))
        return false;
    file->header_end = METADATA_AT + fp_load_u32(file->bytes + METADATA_AT - 4);
    file->n_factors = schema.n_fields > 4 ? schema.n_fields - 4 : 0;
    file->file_id = file_id_of(value_of(&schema, KEY_FILE_ID, 32));
    fp_arrow_schema_free(&schema);
    if (file->n_factors < 1 || file->n_factors > 1000 || file->header_end % FP_BLOCK_ALIGNMENT)
        return false;
    file->rules = fp_arrow_rules(file->n_factors);
    return true;
}

static void mend_header(mend_file *file)
{
    fp_arrow_schema schema;
    if (!parse_schema(file, &schema))
        return;
    const fp_arrow_text *digits = value_of(&schema, KEY_CHECKSUM, FP_ARROW_CHECKSUM_DIGITS);
    if (digits) {
        char text[FP_ARROW_CHECKSUM_DIGITS + 1];
        uint8_t *at = file->bytes + ((const uint8_t *)digits->bytes - file->bytes);
        memcpy(at, ZERO_DIGITS, FP_ARROW_CHECKSUM_DIGITS);
        snprintf(text, sizeof text, "%016llx",
                 (unsigned long long)fp_checksum(file->bytes, file->header_end));
        memcpy(at, text, FP_ARROW_CHECKSUM_DIGITS);
    }
    fp_arrow_schema_free(&schema);
}

/* ------------------------------------------------------------------ columns */

/* The layout that header and directory describe. False: the block has no room for it. */
static bool layout_of(const mend_file *file, const mend_block *block, fp_arrow_layout *out)
{
    mend_parts parts = mend_parts_of(file, block);
    const uint8_t *more = file->bytes + block->at + parts.dictionary - FP_MORE_BYTES;
    uint64_t code_bytes = fp_load_u64(more + FP_MORE_CODE_BYTES);
    uint64_t message_bytes = fp_load_u64(more + FP_MORE_MESSAGE_BYTES);
    size_t room = block->end - block->at;
    if (code_bytes > room || message_bytes > room || parts.columns % FP_BLOCK_ALIGNMENT)
        return false;
    *out = fp_arrow_layout_of(parts.all_ok, parts.n_rows, file->n_factors, code_bytes,
                              message_bytes, parts.columns);
    return out->end <= room;
}

/* Texts' lengths follow from the last offset, mostly. */
static void mend_text_lengths(mend_file *file, const mend_block *block)
{
    fp_arrow_layout layout;
    mend_parts parts = mend_parts_of(file, block);
    if (!layout_of(file, block, &layout) || !mend_usually(file))
        return;
    uint8_t *more = file->bytes + block->at + parts.dictionary - FP_MORE_BYTES;
    if (parts.all_ok)
        fp_store_u64(more + FP_MORE_MESSAGE_BYTES, 0);
}

static void mend_chunks(mend_file *file, const mend_block *block, const fp_arrow_layout *layout,
                        uint32_t section, const uint32_t *offsets, uint8_t *sums)
{
    const uint8_t *at = file->bytes + block->at + fp_arrow_section_at(layout, section);
    uint64_t bytes = fp_arrow_section_bytes(layout, section);
    for (uint32_t chunk = 0; chunk < layout->n_chunks; chunk++) {
        fp_arrow_stretch part = fp_arrow_chunk_of(layout, section, chunk, offsets);
        if (part.at <= bytes && part.bytes <= bytes - part.at)
            fp_store_u64(sums + fp_arrow_sum_at(layout, section, chunk),
                         fp_checksum(at + part.at, part.bytes));
    }
}

static void mend_sections(mend_file *file, const mend_block *block, const fp_arrow_layout *layout)
{
    mend_parts parts = mend_parts_of(file, block);
    uint8_t *sums = file->bytes + block->at + parts.directory +
                    (size_t)fp_front_n_pages(parts.n_rows) * FP_PAGE_ENTRY_BYTES;
    uint32_t *offsets = calloc(layout->n_rows + 1, sizeof *offsets);
    for (uint32_t section = 0; offsets && section < layout->n_sections; section++) {
        mend_chunks(file, block, layout, section, offsets, sums);
        if (fp_arrow_texts_of(layout, section)) /* those of the next one */
            memcpy(offsets, file->bytes + block->at + fp_arrow_section_at(layout, section),
                   (layout->n_rows + 1) * sizeof *offsets);
    }
    free(offsets);
}

static void mend_envelope(mend_file *file, const mend_block *block, const fp_arrow_layout *layout,
                          uint64_t block_bytes)
{
    fp_buffer envelope = {0};
    if (fp_arrow_put_envelope(layout, file->n_factors, block_bytes, &envelope, NULL) == 0 &&
        envelope.size == file->rules.at)
        memcpy(file->bytes + block->at, envelope.data, envelope.size);
    fp_buffer_free(&envelope);
}

static void mend_columns(mend_file *file, const mend_block *block)
{
    fp_arrow_layout layout;
    mend_text_lengths(file, block);
    if (!layout_of(file, block, &layout))
        return;
    mend_parts parts = mend_parts_of(file, block);
    uint8_t *more = file->bytes + block->at + parts.dictionary - FP_MORE_BYTES;
    fp_store_u64(mend_header_of(file, block) + FP_BLOCK_BYTES, layout.end);
    mend_sections(file, block, &layout);
    if (mend_usually(file))
        mend_envelope(file, block, &layout, layout.end);
    fp_store_u64(more + FP_MORE_ENVELOPE_CHECKSUM,
                 fp_checksum(file->bytes + block->at, file->rules.at));
}

static void mend_index_tail(mend_file *file, const mend_block *block)
{
    mend_parts parts = mend_parts_of(file, block);
    uint8_t *trailer = file->bytes + block->at + parts.dictionary;
    uint8_t *footer = trailer + FP_ARROW_TRAILER_BYTES;
    size_t footer_bytes = (size_t)(file->bytes + block->end - footer);
    if (mend_usually(file))
        mend_envelope(file, block, NULL, block->end - block->at);
    if (mend_usually(file)) {
        uint8_t *end = file->bytes + block->end - FP_ARROW_END_BYTES;
        fp_store_u32(end, (uint32_t)(footer_bytes - FP_ARROW_END_BYTES));
        memcpy(end + 4, FP_ARROW_FILE_MAGIC, FP_ARROW_FILE_MAGIC_BYTES);
    }
    memcpy(trailer, FP_ARROW_TRAILER_MAGIC, FP_MAGIC_BYTES);
    fp_store_u64(trailer + FP_ARROW_TRAILER_INDEX_OFFSET, block->at);
    fp_store_u64(trailer + FP_ARROW_TRAILER_INDEX_BYTES, block->end - block->at);
    fp_store_u64(trailer + FP_ARROW_TRAILER_FILE_ID, file->file_id);
    fp_store_u64(trailer + FP_ARROW_TRAILER_ENVELOPE_CHECKSUM,
                 fp_checksum(file->bytes + block->at, file->rules.at));
    fp_store_u64(trailer + FP_ARROW_TRAILER_FOOTER_CHECKSUM, fp_checksum(footer, footer_bytes));
    fp_store_u64(trailer + FP_ARROW_TRAILER_FOOTER_BYTES, footer_bytes);
    fp_store_u64(trailer + FP_ARROW_TRAILER_CHECKSUM,
                 fp_checksum(trailer + FP_ARROW_TRAILER_INDEX_OFFSET,
                             FP_ARROW_TRAILER_BYTES - FP_ARROW_TRAILER_INDEX_OFFSET));
}

/* A value of a section, or a stretch of it. */
static void change_part(mend_file *file, const mend_block *block)
{
    fp_arrow_layout layout;
    if (block->is_index || !layout_of(file, block, &layout))
        return;
    uint32_t section = random_below(&file->numbers, layout.n_sections);
    uint64_t bytes = fp_arrow_section_bytes(&layout, section);
    uint32_t width = fp_arrow_section_width(&layout, section);
    if (bytes == 0)
        return;
    uint8_t *at = file->bytes + block->at + fp_arrow_section_at(&layout, section);
    if (width) {
        at += (uint64_t)random_below(&file->numbers, (uint32_t)(bytes / width)) * width;
        (void)LLVMFuzzerMutate(at, width, width);
        return;
    }
    size_t from = random_below(&file->numbers, (uint32_t)bytes);
    size_t n = bytes - from < 32 ? bytes - from : 32;
    (void)LLVMFuzzerMutate(at + from, n, n);
}

static const mend_format memory_map = {
    .understand = understand,
    .mend_header = mend_header,
    .mend_columns = mend_columns,
    .mend_index_tail = mend_index_tail,
    .change_part = change_part,
};

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most_bytes, unsigned seed)
{
    return mend_mutate(&memory_map, bytes, size, most_bytes, seed);
}
