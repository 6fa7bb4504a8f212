/* Reading the front of a block: header, directory, dictionary, pages. Called by the source types of
 * the formats binary and memory_map when a block is opened. Everything read is checked before it is
 * used: bytes by their checksum, then numbers by what they may be. */
#include "store/front.h"

#include "base/error.h"
#include "codec/checksum.h"

int fp_front_fail_damaged(const fp_source *source, const fp_block *block, const char *what,
                          facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_CORRUPT,
                   "'%s': the block at byte %llu (%u rows) is damaged: %s fails its check",
                   source->path, (unsigned long long)block->offset, (unsigned)block->n_rows, what);
}

/* The front of one block, being opened. */
typedef struct front {
    const fp_log_source *source;
    const fp_log_entry *entry;
    const fp_block *block;
    fp_read_context *context;
    facpool_error *err;
} front;

/* Reads the front up to `end` into the context's scratch, behind what is there of it. */
static int read_up_to(const front *f, size_t end)
{
    fp_buffer *scratch = &f->context->scratch;
    size_t n = end - scratch->size;
    uint8_t *to = fp_buffer_reserve(scratch, n);
    if (!to)
        return fp_fail_nomem(f->err, n);
    size_t got;
    int rc =
        fp_file_read(&f->source->file->file, to, n, f->block->offset + scratch->size, &got, f->err);
    if (rc)
        return rc;
    f->context->bytes_read += got;
    scratch->size += got;
    return got == n ? 0
                    : fp_front_fail_damaged(&f->source->base, f->block,
                                            "its header (the file ends within it)", f->err);
}

bool fp_front_is_of(const fp_front_header *header, const fp_log_source *source, size_t i)
{
    const fp_log_entry *found = &header->parsed.entry;
    const fp_log_entry *entry = &source->contents.index.entries[i];
    return found->open_bytes == entry->open_bytes && found->sequence == entry->sequence &&
           found->block.n_rows == entry->block.n_rows && found->block.bytes == entry->block.bytes &&
           found->block.all_ok == entry->block.all_ok;
}

/* The dictionary, which is not read where another block had the same, comes last. */
static int read_header(const front *f, const fp_front_rules *rules, size_t i,
                       fp_front_header *header)
{
    const fp_source *source = &f->source->base;
    const fp_block *block = f->block;
    uint64_t end = rules->at + FP_MOST_BLOCK_HEADER_BYTES +
                   fp_front_directory_bytes(rules, block->all_ok, block->n_pages);
    f->context->scratch.size = 0;
    int rc = read_up_to(f, end < f->entry->open_bytes ? (size_t)end : f->entry->open_bytes);
    if (rc)
        return rc;
    const fp_buffer *bytes = &f->context->scratch;
    if (bytes->size <= rules->at ||
        !fp_front_parse(rules, &source->schema, block->offset, bytes->data + rules->at,
                        bytes->size - rules->at, header) ||
        !fp_front_is_of(header, f->source, i))
        return fp_front_fail_damaged(source, block, "its header", f->err);
    const uint8_t *directory = bytes->data + rules->at + header->header_bytes;
    if (fp_checksum(directory, header->directory_bytes) != header->directory_checksum)
        return fp_front_fail_damaged(source, block, "its directory", f->err);
    return 0;
}

/* ------------------------------------------------------------------ the dictionary */

/* No NUL within a text: as many zero bytes as texts. A loop that compilers turn into few steps. */
static bool texts_are_whole(const fp_texts *texts)
{
    size_t zeros = 0;
    size_t n = texts->offsets[texts->n];
    for (size_t i = 0; i < n; i++)
        zeros += texts->bytes[i] == 0;
    return zeros == texts->n;
}

/* Whether a comes before b; neither has a NUL within, both have one behind. */
static bool comes_before(const char *a, const char *b)
{
    while (*a == *b && *a) {
        a++;
        b++;
    }
    return (unsigned char)*a < (unsigned char)*b;
}

/* Distinct, in byte order, no NUL within: what binary searches and C strings rely on. */
static bool codes_are_in_order(const fp_texts *codes)
{
    if (!texts_are_whole(codes))
        return false;
    for (size_t i = 0; i < codes->n; i++) {
        size_t length = fp_texts_length(codes, i);
        if (length == 0 || length > FP_CODE_MAX_BYTES)
            return false;
        if (i > 0 && !comes_before(fp_texts_at(codes, i - 1), fp_texts_at(codes, i)))
            return false;
    }
    return true;
}

static int decode_dictionary(const front *f, const fp_front_header *header,
                             fp_cached_dictionary *codes)
{
    int rc = read_up_to(f, f->entry->open_bytes);
    if (rc)
        return rc;
    size_t size = header->dictionary_bytes;
    const uint8_t *stored = f->context->scratch.data + f->entry->open_bytes - size;
    bool sound = fp_checksum(stored, size) == header->dictionary_checksum;
    if (sound) {
        rc = fp_short_texts_decode(f->context->codec, stored, size, header->n_codes,
                                   FP_CODE_MAX_BYTES, &codes->texts, f->err);
        sound = rc != FACPOOL_E_CORRUPT && (rc || codes_are_in_order(&codes->texts));
    }
    return sound ? rc : fp_front_fail_damaged(&f->source->base, f->block, "its dictionary", f->err);
}

static int load_dictionary(const front *f, const fp_front_header *header,
                           fp_cached_dictionary **out)
{
    fp_dictionary_cache *cache = &f->source->file->dictionaries;
    fp_cached_dictionary *codes = fp_dictionary_cache_find(
        cache, header->dictionary_checksum, header->dictionary_bytes, header->n_codes);
    if (!codes) {
        codes = fp_cached_dictionary_new();
        if (!codes)
            return fp_fail_nomem(f->err, sizeof *codes);
        codes->checksum = header->dictionary_checksum;
        codes->stored_bytes = header->dictionary_bytes;
        int rc = decode_dictionary(f, header, codes);
        if (rc) {
            fp_cached_dictionary_release(codes);
            return rc;
        }
        fp_dictionary_cache_keep(cache, codes);
    }
    *out = codes;
    return 0;
}

int fp_front_open(const fp_front_rules *rules, const fp_log_source *source, size_t i,
                  fp_read_context *context, fp_front_header *header, fp_cached_dictionary **codes,
                  facpool_error *err)
{
    front f = {.source = source,
               .entry = &source->contents.index.entries[i],
               .block = &source->base.blocks[i],
               .context = context,
               .err = err};
    int rc = read_header(&f, rules, i, header);
    return rc ? rc : load_dictionary(&f, header, codes);
}

/* ------------------------------------------------------------------ pages */

bool fp_front_load_pages(fp_page *pages, const fp_block *block, size_t n_codes,
                         const uint8_t *entries)
{
    uint32_t first_row = 0;
    for (uint32_t i = 0; i < block->n_pages; i++, entries += FP_PAGE_ENTRY_BYTES) {
        fp_page *page = &pages[i];
        uint32_t left = block->n_rows - first_row;
        *page = (fp_page){.first_row = first_row,
                          .n_rows = left < FP_PAGE_ROWS ? left : FP_PAGE_ROWS,
                          .date_first = (int64_t)fp_load_u64(entries + FP_PAGE_DATE_FIRST),
                          .date_last = (int64_t)fp_load_u64(entries + FP_PAGE_DATE_LAST),
                          .code_first = fp_load_u32(entries + FP_PAGE_CODE_FIRST),
                          .code_last = fp_load_u32(entries + FP_PAGE_CODE_LAST),
                          .code_min = fp_load_u32(entries + FP_PAGE_CODE_MIN),
                          .code_max = fp_load_u32(entries + FP_PAGE_CODE_MAX)};
        first_row += page->n_rows;
        if (page->date_first > page->date_last || page->code_first >= n_codes ||
            page->code_last >= n_codes || page->code_min > page->code_max ||
            page->code_max >= n_codes)
            return false;
    }
    return true;
}
