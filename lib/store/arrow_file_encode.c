/* From a batch to a block of the memory_map format: columns are copied as they are, codes as text.
 * Called by the file log, by several threads at once, each with its own encoder; sealing happens
 * later, under the log's lock, when the block's place is known. It writes no file.
 *
 * Each chunk is summed right behind being copied, while the processor's cache has it. */
#include "store/arrow_file.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/checksum.h"

#include <assert.h>
#include <string.h>

/* Codes up to this length are copied as so many bytes each, whatever their length. */
#define SHORT_CODE_BYTES 16

/* A code to be copied; those that are longer are copied from the dictionary. */
typedef struct short_code {
    char bytes[SHORT_CODE_BYTES];
} short_code;

typedef struct arrow_encoder {
    fp_encoder base;
    uint64_t file_id;
    fp_codec *codec;
    fp_dictionary dictionary;
    fp_buffer stored; /* the dictionary as it is stored */
    short_code *short_codes;
    size_t n_short_codes; /* room for so many */
    fp_buffer out;
} arrow_encoder;

/* What one encode works on. */
typedef struct job {
    arrow_encoder *encoder;
    const fp_batch *batch;
    size_t first;
    fp_front_rules rules;
    fp_arrow_layout layout;
    uint32_t header_bytes;
    uint32_t directory_bytes;
    fp_block *block;
    facpool_error *err;
} job;

void fp_arrow_free_encoder(fp_encoder *base)
{
    arrow_encoder *encoder = (arrow_encoder *)base;
    fp_codec_free(encoder->codec);
    fp_dictionary_free(&encoder->dictionary);
    fp_buffer_free(&encoder->stored);
    fp_free(NULL, encoder->short_codes);
    fp_buffer_free(&encoder->out);
    fp_free(NULL, encoder);
}

fp_encoder *fp_arrow_new_encoder(const fp_schema *schema, int compression_level)
{
    (void)compression_level; /* nothing is compressed: it is mapped as it lies */
    arrow_encoder *encoder = fp_alloc_zero(NULL, 1, sizeof *encoder);
    if (!encoder)
        return NULL;
    encoder->file_id = fp_front_file_id(schema);
    encoder->codec = fp_codec_new(NULL);
    if (!encoder->codec) {
        fp_arrow_free_encoder(&encoder->base);
        return NULL;
    }
    return &encoder->base;
}

/* ------------------------------------------------------------------ checksums, padding */

static uint8_t *section_of(const job *j, uint32_t section)
{
    return j->encoder->out.data + fp_arrow_section_at(&j->layout, section);
}

static uint8_t *directory_of(const job *j)
{
    return j->encoder->out.data + j->layout.envelope_bytes + j->header_bytes;
}

static void put_sum(const job *j, uint32_t section, uint32_t chunk, const uint8_t *bytes,
                    fp_arrow_stretch stretch)
{
    uint8_t *sums = directory_of(j) + (size_t)j->block->n_pages * FP_PAGE_ENTRY_BYTES;
    fp_store_u64(sums + fp_arrow_sum_at(&j->layout, section, chunk),
                 fp_checksum(bytes + stretch.at, (size_t)stretch.bytes));
}

static void put_padding(const job *j, uint32_t section)
{
    uint64_t bytes = fp_arrow_section_bytes(&j->layout, section);
    memset(section_of(j, section) + bytes, 0, fp_front_padding(bytes));
}

/* ------------------------------------------------------------------ columns of numbers */

/* `from` is the column's value of the first row; NULL: zeros. */
static void copy_column(const job *j, uint32_t section, const void *from)
{
    uint8_t *to = section_of(j, section);
    for (uint32_t chunk = 0; chunk < j->layout.n_chunks; chunk++) {
        fp_arrow_stretch stretch = fp_arrow_chunk_of(&j->layout, section, chunk, NULL);
        if (from)
            memcpy(to + stretch.at, (const char *)from + stretch.at, (size_t)stretch.bytes);
        else
            memset(to + stretch.at, 0, (size_t)stretch.bytes);
        put_sum(j, section, chunk, to, stretch);
    }
    put_padding(j, section);
}

static void put_ok_statuses(const job *j)
{
    uint8_t *to = section_of(j, FP_SECTION_STATUS);
    memset(to, FACPOOL_STATUS_OK, j->layout.n_rows);
    for (uint32_t chunk = 0; chunk < j->layout.n_chunks; chunk++)
        put_sum(j, FP_SECTION_STATUS, chunk, to,
                fp_arrow_chunk_of(&j->layout, FP_SECTION_STATUS, chunk, NULL));
    put_padding(j, FP_SECTION_STATUS);
}

/* ------------------------------------------------------------------ columns of texts */

/* Checksums of offsets and texts, once both are there. */
static void finish_texts(const job *j, uint32_t section)
{
    const uint8_t *offsets = section_of(j, section);
    const uint8_t *texts = section_of(j, section + 1);
    for (uint32_t chunk = 0; chunk < j->layout.n_chunks; chunk++) {
        put_sum(j, section, chunk, offsets, fp_arrow_chunk_of(&j->layout, section, chunk, NULL));
        put_sum(j, section + 1, chunk, texts,
                fp_arrow_chunk_of(&j->layout, section + 1, chunk,
                                  (const uint32_t *)(const void *)offsets));
    }
    put_padding(j, section);
    put_padding(j, section + 1);
}

/* Whether all codes of the block have one length, and are short. */
static bool codes_are_alike(const fp_texts *codes)
{
    size_t length = fp_texts_length(codes, 0);
    for (size_t i = 1; i < codes->n; i++)
        if (fp_texts_length(codes, i) != length)
            return false;
    return length <= SHORT_CODE_BYTES;
}

static uint64_t sum_code_bytes(const fp_dictionary *dictionary, size_t n)
{
    const uint32_t *offsets = dictionary->texts.offsets;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t number = dictionary->numbers[i];
        bytes += offsets[number + 1] - offsets[number] - 1;
    }
    return bytes;
}

static uint64_t sum_message_bytes(const fp_batch *batch, size_t first, size_t n)
{
    if (batch->ok)
        return 0;
    return batch->messages.offsets[first + n] - batch->messages.offsets[first] - n;
}

static int make_short_codes(arrow_encoder *e, facpool_error *err)
{
    const fp_texts *codes = &e->dictionary.texts;
    if (codes->n > e->n_short_codes) {
        fp_free(NULL, e->short_codes);
        e->n_short_codes = 0;
        e->short_codes = fp_alloc_zero(NULL, codes->n, sizeof *e->short_codes);
        if (!e->short_codes)
            return fp_fail_nomem(err, codes->n * sizeof *e->short_codes);
        e->n_short_codes = codes->n;
    }
    for (size_t i = 0; i < codes->n; i++)
        memcpy(e->short_codes[i].bytes, fp_texts_at(codes, i), fp_texts_length(codes, i));
    return 0;
}

/* All of one short length: each is written with what follows in its 16 bytes, over which the next
 * one is written. The last ones, which nothing follows, are written exactly. */
static void gather_like_codes(const job *j, uint32_t *offsets, char *to, size_t n)
{
    const arrow_encoder *e = j->encoder;
    const uint32_t *numbers = e->dictionary.numbers;
    size_t length = fp_texts_length(&e->dictionary.texts, 0);
    size_t whole = n > SHORT_CODE_BYTES ? n - SHORT_CODE_BYTES : 0;
    for (size_t i = 0; i < n; i++)
        offsets[i] = (uint32_t)(i * length);
    for (size_t i = 0; i < whole; i++, to += length)
        memcpy(to, e->short_codes[numbers[i]].bytes, SHORT_CODE_BYTES);
    for (size_t i = whole; i < n; i++, to += length)
        memcpy(to, e->short_codes[numbers[i]].bytes, length);
}

static void gather_codes(const job *j, uint32_t *offsets, char *to, size_t n)
{
    const fp_dictionary *dictionary = &j->encoder->dictionary;
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = fp_texts_length(&dictionary->texts, dictionary->numbers[i]);
        memcpy(to + at, fp_texts_at(&dictionary->texts, dictionary->numbers[i]), length);
        offsets[i] = at;
        at += (uint32_t)length;
    }
}

static int put_codes(const job *j)
{
    size_t n = j->layout.n_rows;
    uint32_t *offsets = (uint32_t *)(void *)section_of(j, FP_SECTION_CODE_OFFSET);
    char *to = (char *)section_of(j, FP_SECTION_CODE_TEXT);
    if (codes_are_alike(&j->encoder->dictionary.texts)) {
        int rc = make_short_codes(j->encoder, j->err);
        if (rc)
            return rc;
        gather_like_codes(j, offsets, to, n);
    } else {
        gather_codes(j, offsets, to, n);
    }
    offsets[n] = (uint32_t)j->layout.text_bytes[0];
    finish_texts(j, FP_SECTION_CODE_OFFSET);
    return 0;
}

static void put_messages(const job *j)
{
    const fp_texts *messages = &j->batch->messages;
    size_t n = j->layout.n_rows;
    uint32_t *offsets = (uint32_t *)(void *)section_of(j, FP_SECTION_MESSAGE_OFFSET);
    char *to = (char *)section_of(j, FP_SECTION_MESSAGE_TEXT);
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = fp_texts_length(messages, j->first + i);
        memcpy(to + at, fp_texts_at(messages, j->first + i), length);
        offsets[i] = at;
        at += (uint32_t)length;
    }
    offsets[n] = at;
    finish_texts(j, FP_SECTION_MESSAGE_OFFSET);
}

static int put_columns(const job *j)
{
    const fp_batch *batch = j->batch;
    copy_column(j, FP_SECTION_NUMBER, j->encoder->dictionary.numbers);
    copy_column(j, FP_SECTION_DATE, batch->dates + j->first);
    int rc = put_codes(j);
    if (rc)
        return rc;
    copy_column(j, FP_SECTION_TIMESTAMP, batch->timestamps + j->first);
    if (batch->ok) {
        put_ok_statuses(j);
        for (size_t i = 0; i < batch->n_factors; i++)
            copy_column(j, FP_SECTION_FACTOR + (uint32_t)i, batch->factors[i] + j->first);
        return 0;
    }
    copy_column(j, FP_SECTION_STATUS, batch->statuses + j->first);
    copy_column(j, FP_SECTION_NULLS, NULL);
    copy_column(j, FP_SECTION_FAILURE_CODE, batch->failure_codes + j->first);
    put_messages(j);
    return 0;
}

/* ------------------------------------------------------------------ the block */

/* Finds out how long everything is. */
static int lay_out(job *j, size_t n)
{
    arrow_encoder *e = j->encoder;
    const fp_batch *batch = j->batch;
    const fp_texts *codes = &e->dictionary.texts;
    e->stored.size = 0;
    int rc = fp_texts_encode(e->codec, codes, 0, codes->n, -1, &e->stored, j->err);
    if (rc)
        return rc;
    size_t texts_bytes = fp_texts_length(codes, 0) + fp_texts_length(codes, codes->n - 1) + 2;
    j->directory_bytes =
        (uint32_t)fp_front_directory_bytes(&j->rules, batch->ok, fp_front_n_pages((uint32_t)n));
    uint64_t unpadded = FP_BLOCK_TEXTS + texts_bytes + j->directory_bytes + e->stored.size;
    uint32_t padding = fp_front_padding(unpadded);
    j->header_bytes = (uint32_t)(FP_BLOCK_TEXTS + texts_bytes) + padding;
    uint64_t code_bytes =
        codes_are_alike(codes) ? n * fp_texts_length(codes, 0) : sum_code_bytes(&e->dictionary, n);
    j->layout =
        fp_arrow_layout_of(batch->ok, (uint32_t)n, batch->n_factors, code_bytes,
                           sum_message_bytes(batch, j->first, n), j->rules.at + unpadded + padding);
    j->block->bytes = j->layout.end;
    if (j->layout.end > FP_MOST_BLOCK_BYTES)
        return fp_fail(j->err, FACPOOL_E_UNSUPPORTED,
                       "a block of %zu rows takes %llu bytes, more than the format holds: append "
                       "fewer rows at once",
                       n, (unsigned long long)j->layout.end);
    return 0;
}

/* The envelope, and room for all that follows it. */
static int begin(const job *j)
{
    fp_buffer *out = &j->encoder->out;
    out->size = 0;
    if (!fp_buffer_reserve(out, (size_t)j->layout.end))
        return fp_fail_nomem(j->err, (size_t)j->layout.end);
    int rc = fp_arrow_put_envelope(&j->layout, j->batch->n_factors, j->layout.end, out, j->err);
    assert(rc || out->size == j->layout.envelope_bytes);
    out->size = rc ? 0 : (size_t)j->layout.end;
    return rc;
}

static void finish_directory(const job *j, uint64_t envelope_checksum)
{
    uint8_t *directory = directory_of(j);
    fp_front_put_pages(j->batch, j->first, j->layout.n_rows, &j->encoder->dictionary, directory);
    uint8_t *more = directory + j->directory_bytes - FP_MORE_BYTES;
    fp_store_u64(more + FP_MORE_CODE_BYTES, j->layout.text_bytes[0]);
    fp_store_u64(more + FP_MORE_MESSAGE_BYTES, j->layout.text_bytes[1]);
    fp_store_u64(more + FP_MORE_ENVELOPE_CHECKSUM, envelope_checksum);
}

/* Once all checksums of the directory are there. */
static void finish_front(const job *j)
{
    const arrow_encoder *e = j->encoder;
    const fp_buffer *stored = &e->stored;
    uint8_t *block = e->out.data;
    uint8_t *directory = directory_of(j);
    finish_directory(j, fp_checksum(block, j->layout.envelope_bytes));
    memcpy(directory + j->directory_bytes, stored->data, stored->size);
    fp_front_header header = {
        .parsed.entry.block = *j->block,
        .header_bytes = j->header_bytes,
        .n_columns = j->layout.n_sections,
        .n_codes = (uint32_t)e->dictionary.texts.n,
        .directory_bytes = j->directory_bytes,
        .dictionary_bytes = (uint32_t)stored->size,
        .directory_checksum = fp_checksum(directory, j->directory_bytes),
        .dictionary_checksum = fp_checksum(stored->data, stored->size),
    };
    fp_front_fill(&j->rules, &header, e->file_id, block + j->layout.envelope_bytes);
}

int fp_arrow_encode(fp_encoder *encoder, const fp_batch *batch, size_t first, size_t n,
                    fp_encoded_block *out, facpool_error *err)
{
    fp_encoded_block made = {0};
    job j = {.encoder = (arrow_encoder *)encoder,
             .batch = batch,
             .first = first,
             .rules = fp_arrow_rules(batch->n_factors),
             .block = &made.entry.block,
             .err = err};
    const fp_dictionary *dictionary = &j.encoder->dictionary;
    int rc = fp_dictionary_build(&j.encoder->dictionary, batch, first, n, err);
    if (rc)
        return rc;
    fp_front_describe(batch, first, n, dictionary, j.block);
    rc = lay_out(&j, n);
    if (!rc)
        rc = begin(&j);
    if (!rc)
        rc = put_columns(&j);
    if (rc)
        return rc;
    finish_front(&j);
    made.bytes = j.encoder->out.data;
    made.size = (size_t)j.layout.end;
    made.entry.open_bytes = (uint32_t)j.layout.at[FP_SECTION_NUMBER];
    *out = made;
    return 0;
}

void fp_arrow_seal(fp_encoded_block *block, const fp_seal *seal)
{
    uint32_t envelope_bytes = FP_ARROW_PREFIX_BYTES + fp_load_u32(block->bytes + 4);
    fp_front_seal(block->bytes + envelope_bytes, seal);
}
