/* From a block of the binary format to columns: the source type of the format. Called by cursors
 * and resume, each with its own read context. Everything read is checked before it is used: bytes
 * by their checksum, then numbers by what they may be. */
#include "store/binary.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

/* An opened block, in one piece of memory with the three arrays it ends in. */
typedef struct binary_block {
    fp_open_block base;
    const fp_file *file;
    fp_cached_dictionary *codes;
    fp_page *pages;
    uint64_t *column_at; /* where in the file each column begins; one more than columns */
    uint8_t *directory;  /* of chunks, as stored */
    uint32_t n_columns;
    bool all_ok;
} binary_block;

/* ------------------------------------------------------------------ opening */

static binary_block *new_block(uint32_t n_pages, uint32_t n_columns, uint32_t directory_bytes)
{
    size_t pages_bytes = n_pages * sizeof(fp_page);
    size_t columns_bytes = ((size_t)n_columns + 1) * sizeof(uint64_t);
    binary_block *b = fp_alloc(NULL, sizeof *b + pages_bytes + columns_bytes + directory_bytes);
    if (!b)
        return NULL;
    *b = (binary_block){.n_columns = n_columns};
    b->pages = (fp_page *)(b + 1);
    b->column_at = (uint64_t *)((char *)b->pages + pages_bytes);
    b->directory = (uint8_t *)b->column_at + columns_bytes;
    b->base.pages = b->pages;
    return b;
}

static void close_block(fp_open_block *base)
{
    binary_block *b = (binary_block *)base;
    if (!b)
        return;
    fp_cached_dictionary_release(b->codes);
    fp_free(NULL, b);
}

/* Where each column begins. False: the chunks do not fill the block. */
static bool load_columns(binary_block *b, const fp_block *block, uint64_t chunks_at)
{
    const uint8_t *entry = b->directory;
    uint64_t at = chunks_at;
    for (uint32_t column = 0; column < b->n_columns; column++) {
        b->column_at[column] = at;
        for (uint32_t page = 0; page < block->n_pages; page++, entry += FP_CHUNK_ENTRY_BYTES)
            at += fp_load_u32(entry + FP_CHUNK_BYTES);
    }
    b->column_at[b->n_columns] = at;
    return at == block->offset + block->bytes;
}

static int load_directory(binary_block *b, const fp_read_context *context,
                          const fp_front_header *header, facpool_error *err)
{
    const fp_block *block = b->base.block;
    const uint8_t *directory = context->scratch.data + header->header_bytes;
    size_t pages_bytes = (size_t)block->n_pages * FP_PAGE_ENTRY_BYTES;
    memcpy(b->directory, directory + pages_bytes, header->directory_bytes - pages_bytes);
    if (!fp_front_load_pages(b->pages, block, b->base.codes->n, directory) ||
        !load_columns(b, block, block->offset + header->parsed.entry.open_bytes))
        return fp_front_fail_damaged(b->base.source, block, "its directory", err);
    return 0;
}

static int open_block(const fp_source *base, size_t i, fp_read_context *context,
                      fp_open_block **out, facpool_error *err)
{
    const fp_log_source *source = (const fp_log_source *)base;
    fp_front_header header;
    fp_front_rules rules = fp_binary_rules(base->schema.names.n);
    fp_cached_dictionary *codes;
    int rc = fp_front_open(&rules, source, i, context, &header, &codes, err);
    if (rc)
        return rc;
    const fp_block *block = &base->blocks[i];
    binary_block *b = new_block(block->n_pages, header.n_columns, header.directory_bytes);
    if (!b) {
        fp_cached_dictionary_release(codes);
        return fp_fail_nomem(err, header.directory_bytes);
    }
    b->base.source = base;
    b->base.block = block;
    b->file = &source->file->file;
    b->all_ok = block->all_ok;
    b->codes = codes;
    b->base.codes = &codes->texts;
    rc = load_directory(b, context, &header, err);
    if (rc) {
        close_block(&b->base);
        return rc;
    }
    *out = &b->base;
    return 0;
}

/* ------------------------------------------------------------------ reading columns */

/* A column's place in the block, or UINT32_MAX. */
static uint32_t stored_column(const binary_block *b, uint32_t column)
{
    if (column <= FP_COLUMN_TIMESTAMP)
        return column; /* the first three are numbered alike */
    uint32_t stored = UINT32_MAX;
    if (b->all_ok && column >= FP_COLUMN_FACTOR)
        stored = column - FP_COLUMN_FACTOR + FP_STORED_FACTOR;
    else if (!b->all_ok && column == FP_COLUMN_STATUS)
        stored = FP_STORED_STATUS;
    else if (!b->all_ok && column == FP_COLUMN_FAILURE_CODE)
        stored = FP_STORED_FAILURE_CODE;
    return stored < b->n_columns ? stored : UINT32_MAX;
}

static const uint8_t *chunk_entry(const binary_block *b, uint32_t stored, uint32_t page)
{
    return b->directory + ((size_t)stored * b->base.block->n_pages + page) * FP_CHUNK_ENTRY_BYTES;
}

/* Reads the chunks of neighbouring pages of a column at once into the context's scratch. */
static int read_chunks(const binary_block *b, fp_read_context *context, uint32_t stored,
                       uint32_t first_page, uint32_t n_pages, facpool_error *err)
{
    uint64_t at = b->column_at[stored];
    uint64_t bytes = 0;
    for (uint32_t page = 0; page < first_page; page++)
        at += fp_load_u32(chunk_entry(b, stored, page) + FP_CHUNK_BYTES);
    for (uint32_t page = first_page; page < first_page + n_pages; page++)
        bytes += fp_load_u32(chunk_entry(b, stored, page) + FP_CHUNK_BYTES);
    context->scratch.size = 0;
    uint8_t *to = fp_buffer_reserve(&context->scratch, (size_t)bytes);
    if (!to)
        return fp_fail_nomem(err, (size_t)bytes);
    size_t got;
    int rc = fp_file_read(b->file, to, (size_t)bytes, at, &got, err);
    if (rc)
        return rc;
    context->bytes_read += got;
    if (got != bytes)
        return fp_front_fail_damaged(b->base.source, b->base.block,
                                     "a page (the file ends within it)", err);
    return 0;
}

/* The checked bytes of one page's chunk; *at moves on to the next. */
static const uint8_t *take_chunk(const uint8_t *entry, const uint8_t **at, size_t *bytes)
{
    const uint8_t *chunk = *at;
    *bytes = fp_load_u32(entry + FP_CHUNK_BYTES);
    *at += *bytes;
    return fp_checksum(chunk, *bytes) == fp_load_u64(entry + FP_CHUNK_CHECKSUM) ? chunk : NULL;
}

/* Stored words become what the column holds; false where a value can't be. */
static bool narrow(const binary_block *b, uint32_t column, const uint64_t *words, size_t n,
                   void *out, size_t first)
{
    uint64_t n_codes = b->base.codes->n;
    bool good = true;
    if (column == FP_COLUMN_CODE) {
        uint32_t *codes = (uint32_t *)out + first;
        for (size_t i = 0; i < n; i++) {
            good &= words[i] < n_codes;
            codes[i] = (uint32_t)words[i];
        }
    } else if (column == FP_COLUMN_STATUS) {
        uint8_t *statuses = (uint8_t *)out + first;
        for (size_t i = 0; i < n; i++) {
            good &= words[i] >= FACPOOL_STATUS_SKIPPED && words[i] <= FACPOOL_STATUS_CRASHED;
            statuses[i] = (uint8_t)words[i];
        }
    } else {
        int32_t *codes = (int32_t *)out + first;
        for (size_t i = 0; i < n; i++) {
            uint32_t low = (uint32_t)words[i];
            memcpy(&codes[i], &low, sizeof low);
            good &= words[i] == (uint64_t)(int64_t)codes[i];
        }
    }
    return good;
}

static bool is_word_column(uint32_t column)
{
    return column == FP_COLUMN_DATE || column == FP_COLUMN_TIMESTAMP || column >= FP_COLUMN_FACTOR;
}

/* Columns of words are decoded in place, the others through a page of words. */
static int decode_page(const binary_block *b, fp_read_context *context, uint32_t column,
                       const uint8_t *entry, const uint8_t **at, size_t n, void *out, size_t first,
                       facpool_error *err)
{
    size_t bytes;
    const uint8_t *chunk = take_chunk(entry, at, &bytes);
    if (!chunk)
        return fp_front_fail_damaged(b->base.source, b->base.block, "a page", err);
    uint64_t page[FP_PAGE_ROWS];
    bool in_place = is_word_column(column);
    uint64_t *words = in_place ? (uint64_t *)out + first : page;
    size_t end = in_place && context->wanted_end ? context->wanted_end : n;
    size_t begin = in_place && context->wanted_end ? context->wanted_first : 0;
    int rc = fp_words_decode_part(context->codec, entry[FP_CHUNK_ENCODING], chunk, bytes, words, n,
                                  begin, end, err);
    if (rc == FACPOOL_E_CORRUPT || (!rc && !in_place && !narrow(b, column, page, n, out, first)))
        return fp_front_fail_damaged(b->base.source, b->base.block, "what a page decodes to", err);
    return rc;
}

static int read_column(fp_open_block *base, fp_read_context *context, uint32_t column,
                       uint32_t first_page, uint32_t n_pages, void *scratch, const void **out,
                       facpool_error *err)
{
    binary_block *b = (binary_block *)base;
    uint32_t stored = stored_column(b, column);
    if (stored == UINT32_MAX || n_pages > base->block->n_pages ||
        first_page > base->block->n_pages - n_pages)
        return fp_fail(err, FACPOOL_E_INVALID, "'%s': a block has no column %u in pages %u + %u",
                       base->source->path, (unsigned)column, (unsigned)first_page,
                       (unsigned)n_pages);
    int rc = read_chunks(b, context, stored, first_page, n_pages, err);
    const uint8_t *at = context->scratch.data;
    size_t first = 0;
    for (uint32_t page = first_page; !rc && page < first_page + n_pages; page++) {
        size_t n = b->pages[page].n_rows;
        rc = decode_page(b, context, column, chunk_entry(b, stored, page), &at, n, scratch, first,
                         err);
        first += n;
    }
    if (!rc)
        *out = scratch;
    return rc;
}

static int read_messages(fp_open_block *base, fp_read_context *context, uint32_t page,
                         fp_texts *out, facpool_error *err)
{
    binary_block *b = (binary_block *)base;
    if (b->all_ok || page >= base->block->n_pages)
        return fp_fail(err, FACPOOL_E_INVALID, "'%s': a block has no messages in page %u",
                       base->source->path, (unsigned)page);
    int rc = read_chunks(b, context, FP_STORED_MESSAGE, page, 1, err);
    if (rc)
        return rc;
    size_t bytes;
    const uint8_t *at = context->scratch.data;
    const uint8_t *chunk = take_chunk(chunk_entry(b, FP_STORED_MESSAGE, page), &at, &bytes);
    if (!chunk)
        return fp_front_fail_damaged(base->source, base->block, "a page of messages", err);
    rc = fp_texts_decode(context->codec, chunk, bytes, b->pages[page].n_rows, out, err);
    if (rc == FACPOOL_E_CORRUPT)
        return fp_front_fail_damaged(base->source, base->block,
                                     "what a page of messages decodes to", err);
    return rc;
}

const fp_source_type fp_binary_source_type = {
    .name = "binary",
    .open_block = open_block,
    .close_block = close_block,
    .read = read_column,
    .read_messages = read_messages,
    .free = fp_log_source_free,
};
