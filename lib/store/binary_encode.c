/* From a batch to a block of the binary format. Called by the file log, by several threads at once,
 * each with its own encoder; sealing happens later, under the log's lock, when the block's place is
 * known. It writes no file. */
#include "store/binary.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

typedef struct binary_encoder {
    fp_encoder base;
    uint64_t file_id;
    int level; /* of zstd; negative: none */
    fp_codec *codec;
    fp_dictionary dictionary;
    uint64_t *words; /* one column, FP_BLOCK_ROWS of them */
    fp_buffer out;   /* slack for padding, header, directory, dictionary, chunks */
} binary_encoder;

/* What one encode works on. */
typedef struct job {
    binary_encoder *encoder;
    const fp_batch *batch;
    size_t first;
    size_t n;
    fp_front_rules rules;
    uint32_t n_pages;
    uint32_t n_columns;
    size_t header_at; /* in encoder->out, before padding */
    size_t directory_at;
    size_t dictionary_at;
    size_t chunks_at;
    fp_block *block;
    facpool_error *err;
} job;

void fp_binary_free_encoder(fp_encoder *base)
{
    binary_encoder *encoder = (binary_encoder *)base;
    fp_codec_free(encoder->codec);
    fp_dictionary_free(&encoder->dictionary);
    fp_free(NULL, encoder->words);
    fp_buffer_free(&encoder->out);
    fp_free(NULL, encoder);
}

fp_encoder *fp_binary_new_encoder(const fp_schema *schema, int compression_level)
{
    binary_encoder *encoder = fp_alloc_zero(NULL, 1, sizeof *encoder);
    if (!encoder)
        return NULL;
    encoder->file_id = fp_front_file_id(schema);
    encoder->level = compression_level;
    encoder->codec = fp_codec_new(NULL);
    encoder->words = fp_alloc(NULL, FP_BLOCK_ROWS * sizeof *encoder->words);
    if (!encoder->codec || !encoder->words) {
        fp_binary_free_encoder(&encoder->base);
        return NULL;
    }
    return &encoder->base;
}

/* ------------------------------------------------------------------ columns */

/* Describes the chunk that was just put at `from` of the buffer. */
static void put_chunk_entry(const job *j, uint32_t column, uint32_t page, size_t from,
                            uint8_t encoding)
{
    fp_buffer *out = &j->encoder->out;
    uint8_t *at = out->data + j->directory_at + (size_t)j->n_pages * FP_PAGE_ENTRY_BYTES +
                  ((size_t)column * j->n_pages + page) * FP_CHUNK_ENTRY_BYTES;
    fp_store_u64(at + FP_CHUNK_CHECKSUM, fp_checksum(out->data + from, out->size - from));
    fp_store_u32(at + FP_CHUNK_BYTES, (uint32_t)(out->size - from));
    fp_store_u32(at + FP_CHUNK_ENCODING, encoding);
}

static int encode_words(const job *j, uint32_t column, const uint64_t *words, bool is_double)
{
    binary_encoder *e = j->encoder;
    fp_encoding encoding;
    int rc = fp_words_choose(e->codec, words, j->n, is_double, e->level, &encoding, j->err);
    for (uint32_t page = 0; !rc && page < j->n_pages; page++) {
        size_t first = (size_t)page * FP_PAGE_ROWS;
        size_t n = j->n - first < FP_PAGE_ROWS ? j->n - first : FP_PAGE_ROWS;
        size_t from = e->out.size;
        uint8_t used;
        rc = fp_words_encode(e->codec, &encoding, words + first, n, &e->out, &used, j->err);
        if (!rc)
            put_chunk_entry(j, column, page, from, used);
    }
    return rc;
}

static int encode_int64(const job *j, uint32_t column, const int64_t *values)
{
    memcpy(j->encoder->words, values + j->first, j->n * sizeof *values);
    return encode_words(j, column, j->encoder->words, false);
}

static int encode_double(const job *j, uint32_t column, const double *values)
{
    memcpy(j->encoder->words, values + j->first, j->n * sizeof *values);
    return encode_words(j, column, j->encoder->words, true);
}

static int encode_codes(const job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->encoder->words[i] = j->encoder->dictionary.numbers[i];
    return encode_words(j, FP_STORED_CODE, j->encoder->words, false);
}

static int encode_statuses(const job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->encoder->words[i] = j->batch->statuses[j->first + i];
    return encode_words(j, FP_STORED_STATUS, j->encoder->words, false);
}

static int encode_failure_codes(const job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->encoder->words[i] = (uint64_t)(int64_t)j->batch->failure_codes[j->first + i];
    return encode_words(j, FP_STORED_FAILURE_CODE, j->encoder->words, false);
}

static int encode_messages(const job *j)
{
    binary_encoder *e = j->encoder;
    int rc = 0;
    for (uint32_t page = 0; !rc && page < j->n_pages; page++) {
        size_t first = (size_t)page * FP_PAGE_ROWS;
        size_t n = j->n - first < FP_PAGE_ROWS ? j->n - first : FP_PAGE_ROWS;
        size_t from = e->out.size;
        rc = fp_texts_encode(e->codec, &j->batch->messages, j->first + first, n, e->level, &e->out,
                             j->err);
        if (!rc)
            put_chunk_entry(j, FP_STORED_MESSAGE, page, from, 0);
    }
    return rc;
}

static int encode_columns(const job *j)
{
    int rc = encode_int64(j, FP_STORED_DATE, j->batch->dates);
    if (!rc)
        rc = encode_codes(j);
    if (!rc)
        rc = encode_int64(j, FP_STORED_TIMESTAMP, j->batch->timestamps);
    if (!j->batch->ok) {
        if (!rc)
            rc = encode_statuses(j);
        if (!rc)
            rc = encode_failure_codes(j);
        return rc ? rc : encode_messages(j);
    }
    for (size_t factor = 0; !rc && factor < j->batch->n_factors; factor++)
        rc = encode_double(j, FP_STORED_FACTOR + (uint32_t)factor, j->batch->factors[factor]);
    return rc;
}

/* ------------------------------------------------------------------ the block */

/* Lays out what comes before the chunks, all of it zero, and puts the dictionary there. */
static int begin(job *j)
{
    binary_encoder *e = j->encoder;
    fp_buffer *out = &e->out;
    const fp_texts *codes = &e->dictionary.texts;
    size_t texts_bytes = fp_texts_length(codes, 0) + fp_texts_length(codes, codes->n - 1) + 2;
    j->header_at = FP_BLOCK_ALIGNMENT - 1;
    j->directory_at = j->header_at + FP_BLOCK_TEXTS + texts_bytes;
    j->dictionary_at =
        j->directory_at + (size_t)fp_front_directory_bytes(&j->rules, j->batch->ok, j->n_pages);
    out->size = 0;
    if (!fp_buffer_reserve(out, j->dictionary_at))
        return fp_fail_nomem(j->err, j->dictionary_at);
    memset(out->data, 0, j->dictionary_at);
    out->size = j->dictionary_at;
    int rc = fp_texts_encode(e->codec, codes, 0, codes->n, e->level, out, j->err);
    j->chunks_at = out->size;
    return rc;
}

static void fill_header(const job *j, uint8_t *to, uint32_t header_bytes, uint64_t block_bytes)
{
    const binary_encoder *e = j->encoder;
    const uint8_t *data = e->out.data;
    uint32_t directory_bytes = (uint32_t)(j->dictionary_at - j->directory_at);
    uint32_t dictionary_bytes = (uint32_t)(j->chunks_at - j->dictionary_at);
    fp_front_header header = {
        .parsed.entry.block = *j->block,
        .header_bytes = header_bytes,
        .n_columns = j->n_columns,
        .n_codes = (uint32_t)e->dictionary.texts.n,
        .directory_bytes = directory_bytes,
        .dictionary_bytes = dictionary_bytes,
        .directory_checksum = fp_checksum(data + j->directory_at, directory_bytes),
        .dictionary_checksum = fp_checksum(data + j->dictionary_at, dictionary_bytes),
    };
    header.parsed.entry.block.bytes = block_bytes;
    fp_front_fill(&j->rules, &header, e->file_id, to);
}

/* The padding that makes the block a multiple of 64 bytes lies at the header's end, under its
 * checksum: the header begins so much earlier, and nothing is moved. */
static int finish(const job *j, fp_encoded_block *out)
{
    binary_encoder *e = j->encoder;
    size_t unpadded = e->out.size - j->header_at;
    uint32_t padding = fp_front_padding(unpadded);
    size_t start = j->header_at - padding;
    uint32_t header_bytes = (uint32_t)(j->directory_at - start);
    uint64_t block_bytes = unpadded + padding;
    if (block_bytes > FP_MOST_BLOCK_BYTES)
        return fp_fail(j->err, FACPOOL_E_UNSUPPORTED,
                       "a block of %zu rows takes %llu bytes, more "
                       "than the format holds: append fewer rows at once",
                       j->n, (unsigned long long)block_bytes);
    fill_header(j, e->out.data + start, header_bytes, block_bytes);
    j->block->bytes = block_bytes;
    out->bytes = e->out.data + start;
    out->size = (size_t)block_bytes;
    out->entry.open_bytes = (uint32_t)(j->chunks_at - start);
    return 0;
}

int fp_binary_encode(fp_encoder *encoder, const fp_batch *batch, size_t first, size_t n,
                     fp_encoded_block *out, facpool_error *err)
{
    fp_encoded_block made = {0};
    job j = {.encoder = (binary_encoder *)encoder,
             .batch = batch,
             .first = first,
             .n = n,
             .n_pages = fp_front_n_pages((uint32_t)n),
             .rules = fp_binary_rules(batch->n_factors),
             .block = &made.entry.block,
             .err = err};
    j.n_columns = fp_front_n_columns(&j.rules, batch->ok);
    int rc = fp_dictionary_build(&j.encoder->dictionary, batch, first, n, err);
    if (!rc)
        rc = begin(&j);
    if (!rc)
        rc = encode_columns(&j);
    if (rc)
        return rc;
    const fp_dictionary *dictionary = &j.encoder->dictionary;
    fp_front_describe(batch, first, n, dictionary, j.block);
    fp_front_put_pages(batch, first, n, dictionary, j.encoder->out.data + j.directory_at);
    rc = finish(&j, &made);
    if (!rc)
        *out = made;
    return rc;
}

void fp_binary_seal(fp_encoded_block *block, const fp_seal *seal)
{
    fp_front_seal(block->bytes, seal);
}
