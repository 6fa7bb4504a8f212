/* From a block of the memory_map format to columns: the source type of the format. Called by
 * cursors and resume, each with its own read context. Columns are given as pointers into a map of
 * the file, which lives as long as the snapshot; with a context that copies they are read, and no
 * map is made. Either way rows are checked before they are handed out: bytes by their checksum,
 * then numbers by what they may be. What opens a block is read into memory of our own to be
 * checked; when it is opened again, what was checked is used where it lies. */
#include "store/arrow_file.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

/* An opened block, in one piece of memory with its pages and, where they are not in the map, the
 * sums. */
typedef struct arrow_block {
    fp_open_block base;
    const fp_log_source *source;
    size_t number; /* in the source */
    fp_arrow_layout layout;
    fp_arrow_view *view; /* NULL until a column is lent */
    fp_cached_dictionary *codes;
    fp_page *pages;
    const uint8_t *sums; /* of the directory, as stored */
} arrow_block;

/* ------------------------------------------------------------------ opening */

static arrow_block *new_block(uint32_t n_pages, size_t sums_bytes)
{
    size_t bytes = sizeof(arrow_block) + n_pages * sizeof(fp_page) + sums_bytes;
    arrow_block *b = fp_alloc(NULL, bytes);
    if (!b)
        return NULL;
    *b = (arrow_block){0};
    b->pages = (fp_page *)(b + 1);
    b->base.pages = b->pages;
    return b;
}

static void close_block(fp_open_block *base)
{
    arrow_block *b = (arrow_block *)base;
    if (!b)
        return;
    fp_cached_dictionary_release(b->codes);
    fp_free(NULL, b);
}

/* The message is of no use to us, but a reader that finds it damaged here says so before a foreign
 * one trips over it. */
static int check_envelope(const arrow_block *b, const uint8_t *envelope, uint64_t checksum,
                          facpool_error *err)
{
    const fp_source *source = b->base.source;
    bool sound = fp_checksum(envelope, b->layout.envelope_bytes) == checksum;
    int rc = 0;
    if (sound)
        rc = fp_arrow_check_envelope(envelope, &b->layout, source->schema.names.n,
                                     b->base.block->bytes, &sound, err);
    if (!rc && !sound)
        rc = fp_front_fail_damaged(source, b->base.block, "its Arrow message", err);
    return rc;
}

/* `front` begins the block; header and directory were checked. In the map it stays where it is,
 * else its sums are copied. */
static int load_front(arrow_block *b, const fp_front_header *header, const uint8_t *front,
                      bool in_map, facpool_error *err)
{
    const fp_source *source = b->base.source;
    const fp_block *block = b->base.block;
    const uint8_t *directory =
        front + fp_arrow_envelope_bytes(source->schema.names.n) + header->header_bytes;
    const uint8_t *sums = directory + (size_t)block->n_pages * FP_PAGE_ENTRY_BYTES;
    const uint8_t *more = directory + header->directory_bytes - FP_MORE_BYTES;
    if (!fp_arrow_block_layout(&b->layout, header, source->schema.names.n, directory) ||
        !fp_front_load_pages(b->pages, block, b->base.codes->n, directory))
        return fp_front_fail_damaged(source, block, "its directory", err);
    b->sums = in_map ? sums : memcpy(b->pages + block->n_pages, sums, (size_t)(more - sums));
    return in_map ? 0
                  : check_envelope(b, front, fp_load_u64(more + FP_MORE_ENVELOPE_CHECKSUM), err);
}

/* A block's front where it lies in the map, or NULL where it was not checked before, or its
 * dictionary is not at hand. */
static const uint8_t *known_front(const fp_log_source *source, size_t i, const fp_arrow_view *view,
                                  const fp_front_rules *rules, fp_front_header *header,
                                  fp_cached_dictionary **codes)
{
    if (!view || !fp_arrow_view_knows_front(view, i))
        return NULL;
    const fp_log_entry *entry = &source->contents.index.entries[i];
    const uint8_t *front = fp_arrow_view_bytes(view) + entry->block.offset;
    if (!fp_front_parse(rules, &source->base.schema, entry->block.offset, front + rules->at,
                        entry->open_bytes - rules->at, header) ||
        !fp_front_is_of(header, source, i))
        return NULL;
    *codes = fp_dictionary_cache_find(&source->file->dictionaries, header->dictionary_checksum,
                                      header->dictionary_bytes, header->n_codes);
    return *codes ? front : NULL;
}

static int open_front(arrow_block **out, const fp_log_source *source, size_t i,
                      fp_read_context *context, fp_arrow_view *view, facpool_error *err)
{
    const fp_block *block = &source->base.blocks[i];
    fp_front_rules rules = fp_arrow_rules(source->base.schema.names.n);
    fp_front_header header;
    fp_cached_dictionary *codes;
    const uint8_t *front = known_front(source, i, view, &rules, &header, &codes);
    bool in_map = front;
    int rc = in_map ? 0 : fp_front_open(&rules, source, i, context, &header, &codes, err);
    if (rc)
        return rc;
    size_t sums_bytes = (size_t)block->n_pages * header.n_columns * rules.column_bytes;
    arrow_block *b = new_block(block->n_pages, in_map ? 0 : sums_bytes);
    if (!b) {
        fp_cached_dictionary_release(codes);
        return fp_fail_nomem(err, sums_bytes);
    }
    b->base.source = &source->base;
    b->base.block = block;
    b->source = source;
    b->number = i;
    b->view = view;
    b->codes = codes;
    b->base.codes = &codes->texts;
    rc = load_front(b, &header, in_map ? front : context->scratch.data, in_map, err);
    if (rc) {
        close_block(&b->base);
        return rc;
    }
    *out = b;
    return 0;
}

static int open_block(const fp_source *base, size_t i, fp_read_context *context,
                      fp_open_block **out, facpool_error *err)
{
    const fp_log_source *source = (const fp_log_source *)base;
    fp_arrow_view *view = NULL;
    int rc = context->copies ? 0 : fp_arrow_view_of(&view, source, err);
    arrow_block *b = NULL;
    if (!rc)
        rc = open_front(&b, source, i, context, view, err);
    if (rc)
        return rc;
    if (view)
        fp_arrow_view_note_front(view, i);
    *out = &b->base;
    return 0;
}

/* ------------------------------------------------------------------ checking rows */

/* Offsets ascend as texts of their kind may be long, and stay within them. */
static bool offsets_can_be(const arrow_block *b, uint32_t section, const uint32_t *offsets,
                           size_t n)
{
    bool good = true;
    for (size_t i = 1; i < n; i++)
        good &= fp_arrow_text_can_be(section, offsets[i - 1], offsets[i]);
    return good && offsets[n - 1] <= fp_arrow_section_bytes(&b->layout, section + 1);
}

/* Whether values can be what the section holds; what every bit pattern may be needs no look. */
static bool values_can_be(const arrow_block *b, uint32_t section, const void *values, size_t n)
{
    bool good = true;
    if (section == FP_SECTION_NUMBER) {
        uint32_t n_codes = (uint32_t)b->base.codes->n;
        for (size_t i = 0; i < n; i++)
            good &= ((const uint32_t *)values)[i] < n_codes;
    } else if (section == FP_SECTION_STATUS) {
        uint8_t low = b->layout.all_ok ? FACPOOL_STATUS_OK : FACPOOL_STATUS_SKIPPED;
        uint8_t high = b->layout.all_ok ? FACPOOL_STATUS_OK : FACPOOL_STATUS_CRASHED;
        for (size_t i = 0; i < n; i++) {
            uint8_t status = ((const uint8_t *)values)[i];
            good &= status >= low && status <= high;
        }
    } else if (fp_arrow_texts_of(&b->layout, section)) {
        good = offsets_can_be(b, section, values, n);
    }
    return good;
}

static int check_chunk(const arrow_block *b, uint32_t section, uint32_t chunk, const void *bytes,
                       size_t n, facpool_error *err)
{
    uint32_t width = fp_arrow_section_width(&b->layout, section);
    const uint8_t *sum = b->sums + fp_arrow_sum_at(&b->layout, section, chunk);
    if (fp_checksum(bytes, n) != fp_load_u64(sum))
        return fp_front_fail_damaged(b->base.source, b->base.block, "a page", err);
    if (width && n && !values_can_be(b, section, bytes, n / width))
        return fp_front_fail_damaged(b->base.source, b->base.block, "what a page holds", err);
    return 0;
}

/* Chunks first .. end - 1. */
typedef struct chunks {
    uint32_t first;
    uint32_t end;
} chunks;

static chunks chunks_of(uint32_t first_page, uint32_t n_pages)
{
    return (chunks){first_page * FP_CHUNKS_OF_PAGE, (first_page + n_pages) * FP_CHUNKS_OF_PAGE};
}

/* Those of a read, of which perhaps only some rows are wanted. */
static chunks wanted_chunks(const fp_read_context *context, uint32_t first_page, uint32_t n_pages)
{
    chunks all = chunks_of(first_page, n_pages);
    if (n_pages != 1 || !context->wanted_end)
        return all;
    return (chunks){all.first + context->wanted_first / FP_CHUNK_ROWS,
                    all.first + (context->wanted_end - 1) / FP_CHUNK_ROWS + 1};
}

/* ------------------------------------------------------------------ lending */

/* Where a section lies in the map. Its chunks are checked, unless they were before. `offsets` are
 * those of texts. */
static int lend(arrow_block *b, fp_read_context *context, uint32_t section, chunks which,
                const uint32_t *offsets, const uint8_t **out, facpool_error *err)
{
    int rc = b->view ? 0 : fp_arrow_view_of(&b->view, b->source, err);
    if (rc)
        return rc;
    const uint8_t *bytes = fp_arrow_view_bytes(b->view) + b->base.block->offset +
                           fp_arrow_section_at(&b->layout, section);
    context->bytes_read +=
        fp_arrow_stretch_of(&b->layout, section, which.first, which.end, offsets).bytes;
    for (uint32_t chunk = which.first;; chunk++) {
        chunk = fp_arrow_view_unchecked(b->view, b->number, section, chunk, which.end);
        if (chunk == which.end)
            break;
        fp_arrow_stretch one = fp_arrow_chunk_of(&b->layout, section, chunk, offsets);
        rc = check_chunk(b, section, chunk, bytes + one.at, (size_t)one.bytes, err);
        if (rc)
            return rc;
        fp_arrow_view_note(b->view, b->number, section, chunk);
    }
    *out = bytes;
    return 0;
}

/* ------------------------------------------------------------------ copying */

/* Reads a stretch of a section to `to`, all of it or it is damage. */
static int copy_stretch(const arrow_block *b, fp_read_context *context, uint32_t section,
                        fp_arrow_stretch stretch, void *to, facpool_error *err)
{
    uint64_t at = b->base.block->offset + fp_arrow_section_at(&b->layout, section) + stretch.at;
    size_t got;
    int rc = fp_file_read(&b->source->file->file, to, (size_t)stretch.bytes, at, &got, err);
    if (rc)
        return rc;
    context->bytes_read += got;
    if (got != stretch.bytes)
        return fp_front_fail_damaged(b->base.source, b->base.block,
                                     "a page (the file ends within it)", err);
    return 0;
}

/* Reads chunks, which lie side by side, to where they belong in an array that begins with chunk
 * `origin`. `offsets` are those of texts. */
static int copy_chunks(const arrow_block *b, fp_read_context *context, uint32_t section,
                       chunks which, uint32_t origin, const uint32_t *offsets, uint8_t *to,
                       facpool_error *err)
{
    uint64_t start = fp_arrow_chunk_of(&b->layout, section, origin, offsets).at;
    fp_arrow_stretch all =
        fp_arrow_stretch_of(&b->layout, section, which.first, which.end, offsets);
    int rc = copy_stretch(b, context, section, all, to + (all.at - start), err);
    for (uint32_t chunk = which.first; !rc && chunk < which.end; chunk++) {
        fp_arrow_stretch one = fp_arrow_chunk_of(&b->layout, section, chunk, offsets);
        const uint8_t *bytes = one.bytes ? to + (one.at - start) : to;
        rc = check_chunk(b, section, chunk, bytes, (size_t)one.bytes, err);
    }
    return rc;
}

/* ------------------------------------------------------------------ reading */

/* The section of a column, or UINT32_MAX. */
static uint32_t section_of(const arrow_block *b, uint32_t column)
{
    bool all_ok = b->layout.all_ok;
    switch (column) {
    case FP_COLUMN_DATE:
        return FP_SECTION_DATE;
    case FP_COLUMN_CODE:
        return FP_SECTION_NUMBER;
    case FP_COLUMN_TIMESTAMP:
        return FP_SECTION_TIMESTAMP;
    case FP_COLUMN_STATUS:
        return all_ok ? UINT32_MAX : FP_SECTION_STATUS;
    case FP_COLUMN_FAILURE_CODE:
        return all_ok ? UINT32_MAX : FP_SECTION_FAILURE_CODE;
    default:
        return all_ok && column >= FP_COLUMN_FACTOR &&
                       column - FP_COLUMN_FACTOR < b->layout.n_sections - FP_SECTION_FACTOR
                   ? column - FP_COLUMN_FACTOR + FP_SECTION_FACTOR
                   : UINT32_MAX;
    }
}

static bool has_pages(const fp_open_block *base, uint32_t first_page, uint32_t n_pages)
{
    return n_pages >= 1 && n_pages <= base->block->n_pages &&
           first_page <= base->block->n_pages - n_pages;
}

static int no_such_pages(const fp_open_block *base, uint32_t column, uint32_t first_page,
                         uint32_t n_pages, facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_INVALID, "'%s': a block has no column %u in pages %u + %u",
                   base->source->path, (unsigned)column, (unsigned)first_page, (unsigned)n_pages);
}

static int read_column(fp_open_block *base, fp_read_context *context, uint32_t column,
                       uint32_t first_page, uint32_t n_pages, void *scratch, const void **out,
                       facpool_error *err)
{
    arrow_block *b = (arrow_block *)base;
    uint32_t section = section_of(b, column);
    if (section == UINT32_MAX || !has_pages(base, first_page, n_pages))
        return no_such_pages(base, column, first_page, n_pages, err);
    chunks which = wanted_chunks(context, first_page, n_pages);
    int rc;
    if (context->copies) {
        rc = copy_chunks(b, context, section, which, first_page * FP_CHUNKS_OF_PAGE, NULL, scratch,
                         err);
        if (!rc)
            *out = scratch;
        return rc;
    }
    const uint8_t *bytes;
    rc = lend(b, context, section, which, NULL, &bytes, err);
    if (!rc)
        *out = bytes +
               (size_t)b->pages[first_page].first_row * fp_arrow_section_width(&b->layout, section);
    return rc;
}

static int read_codes(fp_open_block *base, fp_read_context *context, uint32_t first_page,
                      uint32_t n_pages, fp_code_column *out, facpool_error *err)
{
    arrow_block *b = (arrow_block *)base;
    if (!has_pages(base, first_page, n_pages))
        return no_such_pages(base, FP_COLUMN_CODE, first_page, n_pages, err);
    chunks which = chunks_of(first_page, n_pages);
    const uint8_t *bytes, *texts;
    int rc = lend(b, context, FP_SECTION_CODE_OFFSET, which, NULL, &bytes, err);
    if (rc)
        return rc;
    const uint32_t *offsets = (const uint32_t *)(const void *)bytes;
    rc = lend(b, context, FP_SECTION_CODE_TEXT, which, offsets, &texts, err);
    if (rc)
        return rc;
    offsets += b->pages[first_page].first_row;
    *out = (fp_code_column){.offsets = (const int32_t *)(const void *)offsets,
                            .bytes = (const char *)texts};
    return 0;
}

/* A page's messages as they lie in the file, in the context's scratch: offsets, of which those of
 * other pages are left out, then what the page's lead to. Few are asked for: they are always
 * copied.
 */
static int copy_messages(const arrow_block *b, fp_read_context *context, uint32_t page,
                         const uint32_t **offsets, const char **texts, facpool_error *err)
{
    chunks which = chunks_of(page, 1);
    uint32_t first = b->pages[page].first_row, end = first + b->pages[page].n_rows;
    size_t offsets_bytes = (end + 1) * sizeof(uint32_t);
    fp_buffer *scratch = &context->scratch;
    scratch->size = 0;
    if (!fp_buffer_reserve(scratch, offsets_bytes))
        return fp_fail_nomem(err, offsets_bytes);
    int rc = copy_chunks(b, context, FP_SECTION_MESSAGE_OFFSET, which, which.first, NULL,
                         scratch->data + first * sizeof(uint32_t), err);
    if (rc)
        return rc;
    const uint32_t *at = (const uint32_t *)(const void *)scratch->data;
    size_t bytes = at[end] - at[first];
    scratch->size = offsets_bytes;
    if (!fp_buffer_reserve(scratch, bytes))
        return fp_fail_nomem(err, bytes);
    at = (const uint32_t *)(const void *)scratch->data;
    rc = copy_chunks(b, context, FP_SECTION_MESSAGE_TEXT, which, which.first, at,
                     scratch->data + offsets_bytes, err);
    if (rc)
        return rc;
    *offsets = at + first;
    *texts = (const char *)scratch->data + offsets_bytes;
    return 0;
}

static int read_messages(fp_open_block *base, fp_read_context *context, uint32_t page,
                         fp_texts *out, facpool_error *err)
{
    const arrow_block *b = (const arrow_block *)base;
    if (b->layout.all_ok || page >= base->block->n_pages)
        return fp_fail(err, FACPOOL_E_INVALID, "'%s': a block has no messages in page %u",
                       base->source->path, (unsigned)page);
    const uint32_t *offsets = NULL;
    const char *texts = NULL;
    size_t n_before = out->n;
    int rc = copy_messages(b, context, page, &offsets, &texts, err);
    for (uint32_t i = 0; !rc && i < b->pages[page].n_rows; i++) {
        size_t length = offsets[i + 1] - offsets[i];
        if (length > FP_MESSAGE_MAX_BYTES)
            rc = fp_front_fail_damaged(base->source, base->block, "a message's length", err);
        else if (fp_texts_add(out, texts + (offsets[i] - offsets[0]), length))
            rc = fp_fail_nomem(err, length + 1);
    }
    if (rc)
        fp_texts_cut(out, n_before);
    return rc;
}

const fp_source_type fp_arrow_source_type = {
    .name = "memory_map",
    .open_block = open_block,
    .close_block = close_block,
    .read = read_column,
    .read_messages = read_messages,
    .read_codes = read_codes,
    .free = fp_log_source_free,
};
