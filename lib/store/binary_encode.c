/* From a batch to a block of the binary format. Called by the file log, by several threads at once,
 * each with its own encoder; sealing happens later, under the log's lock, when the block's place is
 * known. It writes no file. */
#include "store/binary.h"
#include "store/dictionary.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

/* Blocks of very wide rows hold fewer of them, so that no block comes near the format's limit. */
#define WIDE_BLOCK_BYTES ((size_t)256 << 20)

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
    encoder->file_id = fp_binary_file_id(schema);
    encoder->level = compression_level;
    encoder->codec = fp_codec_new(NULL);
    encoder->words = fp_alloc(NULL, FP_BLOCK_ROWS * sizeof *encoder->words);
    if (!encoder->codec || !encoder->words) {
        fp_binary_free_encoder(&encoder->base);
        return NULL;
    }
    return &encoder->base;
}

size_t fp_binary_most_rows(size_t n_factors)
{
    size_t rows = WIDE_BLOCK_BYTES / (sizeof(double) * (n_factors + 3));
    if (rows >= FP_BLOCK_ROWS)
        return FP_BLOCK_ROWS;
    return rows < FP_PAGE_ROWS ? FP_PAGE_ROWS : rows - rows % FP_PAGE_ROWS;
}

/* ------------------------------------------------------------------ ranges and pages */

static void range(const int64_t *values, size_t n, int64_t *min, int64_t *max)
{
    int64_t low = values[0];
    int64_t high = values[0];
    for (size_t i = 1; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    *min = low;
    *max = high;
}

static void describe_rows(job *j)
{
    const fp_batch *batch = j->batch;
    const fp_texts *codes = &j->encoder->dictionary.texts;
    fp_block *block = j->block;
    *block = (fp_block){.n_rows = (uint32_t)j->n,
                        .n_pages = j->n_pages,
                        .all_ok = batch->ok,
                        .has_factors = batch->ok,
                        .code_min = fp_texts_at(codes, 0),
                        .code_max = fp_texts_at(codes, codes->n - 1)};
    range(batch->dates + j->first, j->n, &block->date_min, &block->date_max);
    range(batch->timestamps + j->first, j->n, &block->timestamp_min, &block->timestamp_max);
    if (batch->ok)
        block->status_rows[FACPOOL_STATUS_OK] = (uint32_t)j->n;
    else
        for (size_t i = j->first; i < j->first + j->n; i++)
            block->status_rows[batch->statuses[i]]++;
}

static void put_page_entries(const job *j)
{
    const int64_t *dates = j->batch->dates + j->first;
    const uint32_t *numbers = j->encoder->dictionary.numbers;
    uint8_t *at = j->encoder->out.data + j->directory_at;
    for (size_t first = 0; first < j->n; first += FP_PAGE_ROWS, at += FP_PAGE_ENTRY_BYTES) {
        size_t last = first + FP_PAGE_ROWS < j->n ? first + FP_PAGE_ROWS - 1 : j->n - 1;
        uint32_t code_min = numbers[first];
        uint32_t code_max = numbers[first];
        for (size_t i = first + 1; i <= last; i++) {
            code_min = numbers[i] < code_min ? numbers[i] : code_min;
            code_max = numbers[i] > code_max ? numbers[i] : code_max;
        }
        fp_store_u64(at + FP_PAGE_DATE_FIRST, (uint64_t)dates[first]);
        fp_store_u64(at + FP_PAGE_DATE_LAST, (uint64_t)dates[last]);
        fp_store_u32(at + FP_PAGE_CODE_FIRST, numbers[first]);
        fp_store_u32(at + FP_PAGE_CODE_LAST, numbers[last]);
        fp_store_u32(at + FP_PAGE_CODE_MIN, code_min);
        fp_store_u32(at + FP_PAGE_CODE_MAX, code_max);
    }
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
    j->header_at = FP_BINARY_ALIGNMENT - 1;
    j->directory_at = j->header_at + FP_BLOCK_TEXTS + texts_bytes;
    j->dictionary_at = j->directory_at + (size_t)j->n_pages * FP_PAGE_ENTRY_BYTES +
                       (size_t)j->n_pages * j->n_columns * FP_CHUNK_ENTRY_BYTES;
    out->size = 0;
    if (!fp_buffer_reserve(out, j->dictionary_at))
        return fp_fail_nomem(j->err, j->dictionary_at);
    memset(out->data, 0, j->dictionary_at);
    out->size = j->dictionary_at;
    int rc = fp_texts_encode(e->codec, codes, 0, codes->n, e->level, out, j->err);
    j->chunks_at = out->size;
    return rc;
}

static void fill_header(const job *j, uint8_t *header, uint32_t header_bytes, uint64_t block_bytes)
{
    const binary_encoder *e = j->encoder;
    const fp_block *block = j->block;
    const uint8_t *data = e->out.data;
    size_t directory_bytes = j->dictionary_at - j->directory_at;
    size_t dictionary_bytes = j->chunks_at - j->dictionary_at;
    size_t code_min_bytes = strlen(block->code_min);
    size_t code_max_bytes = strlen(block->code_max);
    memcpy(header, FP_BINARY_BLOCK_MAGIC, FP_BINARY_MAGIC_BYTES);
    fp_store_u32(header + FP_BLOCK_HEADER_BYTES, header_bytes);
    header[FP_BLOCK_KIND] = block->all_ok ? FP_KIND_OK : FP_KIND_NOT_OK;
    header[FP_BLOCK_CODE_MIN_BYTES] = (uint8_t)code_min_bytes;
    header[FP_BLOCK_CODE_MAX_BYTES] = (uint8_t)code_max_bytes;
    fp_store_u64(header + FP_BLOCK_BYTES, block_bytes);
    fp_store_u64(header + FP_BLOCK_FILE_ID, e->file_id);
    fp_store_u32(header + FP_BLOCK_N_ROWS, block->n_rows);
    fp_store_u32(header + FP_BLOCK_N_PAGES, block->n_pages);
    fp_store_u32(header + FP_BLOCK_N_COLUMNS, j->n_columns);
    fp_store_u32(header + FP_BLOCK_PAGE_ROWS, FP_PAGE_ROWS);
    fp_store_u64(header + FP_BLOCK_DATE_MIN, (uint64_t)block->date_min);
    fp_store_u64(header + FP_BLOCK_DATE_MAX, (uint64_t)block->date_max);
    fp_store_u64(header + FP_BLOCK_TIMESTAMP_MIN, (uint64_t)block->timestamp_min);
    fp_store_u64(header + FP_BLOCK_TIMESTAMP_MAX, (uint64_t)block->timestamp_max);
    for (size_t status = 0; status < 6; status++)
        fp_store_u32(header + FP_BLOCK_STATUS_ROWS + 4 * status, block->status_rows[status]);
    fp_store_u32(header + FP_BLOCK_N_CODES, (uint32_t)e->dictionary.texts.n);
    fp_store_u32(header + FP_BLOCK_DICTIONARY_BYTES, (uint32_t)dictionary_bytes);
    fp_store_u64(header + FP_BLOCK_DICTIONARY_CHECKSUM,
                 fp_checksum(data + j->dictionary_at, dictionary_bytes));
    fp_store_u64(header + FP_BLOCK_DIRECTORY_CHECKSUM,
                 fp_checksum(data + j->directory_at, directory_bytes));
    fp_store_u32(header + FP_BLOCK_DIRECTORY_BYTES, (uint32_t)directory_bytes);
    memcpy(header + FP_BLOCK_TEXTS, block->code_min, code_min_bytes + 1);
    memcpy(header + FP_BLOCK_TEXTS + code_min_bytes + 1, block->code_max, code_max_bytes + 1);
}

/* The padding that makes the block a multiple of 64 bytes lies at the header's end, under its
 * checksum: the header begins so much earlier, and nothing is moved. */
static int finish(const job *j, fp_encoded_block *out)
{
    binary_encoder *e = j->encoder;
    size_t unpadded = e->out.size - j->header_at;
    uint32_t padding = fp_binary_padding(unpadded);
    size_t start = j->header_at - padding;
    uint32_t header_bytes = (uint32_t)(j->directory_at - start);
    uint64_t block_bytes = unpadded + padding;
    if (block_bytes > FP_BINARY_MOST_BLOCK_BYTES)
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
             .n_pages = fp_binary_n_pages((uint32_t)n),
             .n_columns = fp_binary_n_columns(batch->ok, batch->n_factors),
             .block = &made.entry.block,
             .err = err};
    int rc = fp_dictionary_build(&j.encoder->dictionary, batch, first, n, err);
    if (!rc)
        rc = begin(&j);
    if (!rc)
        rc = encode_columns(&j);
    if (rc)
        return rc;
    describe_rows(&j);
    put_page_entries(&j);
    rc = finish(&j, &made);
    if (!rc)
        *out = made;
    return rc;
}

void fp_binary_seal_header(uint8_t *header, const fp_seal *seal)
{
    uint32_t header_bytes = fp_load_u32(header + FP_BLOCK_HEADER_BYTES);
    header[FP_BLOCK_FLAGS] = seal->unsynced ? FP_FLAG_UNSYNCED : 0;
    fp_store_u64(header + FP_BLOCK_OFFSET, seal->offset);
    fp_store_u64(header + FP_BLOCK_SEQUENCE, seal->sequence);
    fp_store_u64(header + FP_BLOCK_DURABLE_END, seal->durable_end);
    fp_store_u64(header + FP_BLOCK_CHECKSUM,
                 fp_checksum(header + FP_BLOCK_HEADER_BYTES, header_bytes - FP_BLOCK_HEADER_BYTES));
}

void fp_binary_seal(fp_encoded_block *block, const fp_seal *seal)
{
    fp_binary_seal_header(block->bytes, seal);
}
