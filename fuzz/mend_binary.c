/* The binary format's part of the mutator in mend_blocks.c: its header, the chunks of its columns,
 * the trailer of its index. Chunks and dictionaries can grow and shrink: the padding of the block's
 * header takes up what is left to a multiple of 64. */
#include "mend.h"

#include "codec/checksum.h"
#include "store/binary.h"

static bool understand(mend_file *file)
{
    if (file->size < FP_FILE_NAMES ||
        memcmp(file->bytes, FP_BINARY_FILE_MAGIC, FP_MAGIC_BYTES) != 0)
        return false;
    file->header_end = fp_load_u32(file->bytes + FP_FILE_HEADER_BYTES);
    file->n_factors = fp_load_u32(file->bytes + FP_FILE_N_FACTORS);
    file->file_id = fp_load_u64(file->bytes + FP_FILE_ID);
    if (file->header_end < FP_FILE_NAMES || file->header_end > file->size ||
        file->header_end % FP_BLOCK_ALIGNMENT || file->n_factors < 1 || file->n_factors > 65535)
        return false;
    file->rules = fp_binary_rules(file->n_factors);
    return true;
}

static void mend_header(mend_file *file)
{
    fp_store_u64(file->bytes + FP_FILE_CHECKSUM,
                 fp_checksum(file->bytes + FP_FILE_VERSION, file->header_end - FP_FILE_VERSION));
}

/* NULL: the directory has no room for them. */
static uint8_t *chunk_entries(const mend_file *file, const mend_block *block,
                              const mend_parts *parts, size_t *n)
{
    size_t n_pages = fp_front_n_pages(parts->n_rows);
    size_t pages = n_pages * FP_PAGE_ENTRY_BYTES;
    *n = n_pages * parts->n_columns;
    if (parts->dictionary > block->end - block->at ||
        parts->dictionary - parts->directory < pages + *n * FP_CHUNK_ENTRY_BYTES)
        return NULL;
    return file->bytes + block->at + parts->directory + pages;
}

/* Chunks fill the block: the last one has what is left. */
static void mend_columns(mend_file *file, const mend_block *block)
{
    mend_parts parts = mend_parts_of(file, block);
    size_t n, at = block->at + parts.columns;
    uint8_t *entry = chunk_entries(file, block, &parts, &n);
    for (size_t i = 0; entry && i < n; i++, entry += FP_CHUNK_ENTRY_BYTES) {
        size_t bytes = fp_load_u32(entry + FP_CHUNK_BYTES), left = block->end - at;
        if (bytes > left || (i + 1 == n && bytes != left && mend_usually(file)))
            fp_store_u32(entry + FP_CHUNK_BYTES, (uint32_t)(bytes = left));
        fp_store_u64(entry + FP_CHUNK_CHECKSUM, fp_checksum(file->bytes + at, bytes));
        if (mend_usually(file))
            memset(entry + FP_CHUNK_ENCODING + 1, 0, 3);
        at += bytes;
    }
}

static void mend_index_tail(mend_file *file, const mend_block *block)
{
    mend_parts parts = mend_parts_of(file, block);
    uint8_t *header = mend_header_of(file, block);
    size_t tail = block->end - block->at - parts.dictionary;
    uint8_t *trailer = file->bytes + block->end - FP_TRAILER_BYTES;
    /* Entries end where the trailer begins. */
    if (tail != FP_TRAILER_BYTES)
        fp_store_u32(header + FP_BLOCK_DIRECTORY_BYTES,
                     (uint32_t)(parts.dictionary - parts.directory + tail - FP_TRAILER_BYTES));
    memcpy(trailer, FP_BINARY_TRAILER_MAGIC, FP_MAGIC_BYTES);
    fp_store_u64(trailer + FP_TRAILER_INDEX_OFFSET, block->at);
    fp_store_u64(trailer + FP_TRAILER_INDEX_BYTES, block->end - block->at);
    fp_store_u64(trailer + FP_TRAILER_FILE_ID, file->file_id);
    fp_store_u64(
        trailer + FP_TRAILER_CHECKSUM,
        fp_checksum(trailer + FP_TRAILER_INDEX_OFFSET, FP_TRAILER_BYTES - FP_TRAILER_INDEX_OFFSET));
}

/* ------------------------------------------------------------------ parts of any length */

/* Brings the block's length back to a multiple of 64, by the zeros behind its header's texts. */
static void pad_header(mend_file *file, const mend_block *block, size_t end)
{
    static const uint8_t zeros[FP_BLOCK_ALIGNMENT];
    uint8_t *header = mend_header_of(file, block);
    uint32_t old = fp_load_u32(header + FP_BLOCK_HEADER_BYTES);
    uint32_t texts =
        FP_BLOCK_TEXTS + header[FP_BLOCK_CODE_MIN_BYTES] + header[FP_BLOCK_CODE_MAX_BYTES] + 2u;
    if (texts > old || block->at + old > end)
        return;
    uint32_t padding = fp_front_padding(texts + (end - block->at - old));
    if (!mend_splice(file, block->at + texts, old - texts, zeros, padding))
        return;
    fp_store_u32(header + FP_BLOCK_HEADER_BYTES, texts + padding);
    fp_store_u64(header + FP_BLOCK_BYTES, end - block->at - old + texts + padding);
}

static void change_stretch(mend_file *file, const mend_block *block, size_t at, size_t bytes,
                           uint8_t *length_field)
{
    static uint8_t part[16384];
    if (bytes > sizeof part || at + bytes > block->end)
        return;
    memcpy(part, file->bytes + at, bytes);
    size_t n = LLVMFuzzerMutate(part, bytes, sizeof part);
    fp_store_u32(length_field, (uint32_t)n);
    if (!mend_splice(file, at, bytes, part, n)) {
        fp_store_u32(length_field, (uint32_t)bytes);
        return;
    }
    pad_header(file, block, block->end - bytes + n);
}

static void change_chunk(mend_file *file, const mend_block *block, const mend_parts *parts)
{
    size_t n, at = block->at + parts->columns;
    uint8_t *entries = chunk_entries(file, block, parts, &n);
    if (!entries || n == 0)
        return;
    size_t chosen = random_below(&file->numbers, (uint32_t)n);
    for (size_t i = 0; i < chosen; i++)
        at += fp_load_u32(entries + i * FP_CHUNK_ENTRY_BYTES + FP_CHUNK_BYTES);
    uint8_t *entry = entries + chosen * FP_CHUNK_ENTRY_BYTES;
    if (random_chance(&file->numbers, 20))
        entry[FP_CHUNK_ENCODING] =
            (uint8_t)(random_between(&file->numbers, 1, 7) | random_below(&file->numbers, 4) << 4);
    if (at < block->end)
        change_stretch(file, block, at, fp_load_u32(entry + FP_CHUNK_BYTES),
                       entry + FP_CHUNK_BYTES);
}

static void change_part(mend_file *file, const mend_block *block)
{
    mend_parts parts = mend_parts_of(file, block);
    if (block->is_index)
        change_stretch(file, block, block->at + parts.directory, parts.dictionary - parts.directory,
                       mend_header_of(file, block) + FP_BLOCK_DIRECTORY_BYTES);
    else if (random_chance(&file->numbers, 25))
        change_stretch(file, block, block->at + parts.dictionary, parts.columns - parts.dictionary,
                       mend_header_of(file, block) + FP_BLOCK_DICTIONARY_BYTES);
    else
        change_chunk(file, block, &parts);
}

static const mend_format binary = {
    .understand = understand,
    .mend_header = mend_header,
    .mend_columns = mend_columns,
    .mend_index_tail = mend_index_tail,
    .change_part = change_part,
};

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most_bytes, unsigned seed)
{
    return mend_mutate(&binary, bytes, size, most_bytes, seed);
}
