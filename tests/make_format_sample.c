/* Makes a small backup in the binary format in which everything that FORMAT.md describes occurs
 * (every encoding, failure blocks, a resumed part, a torn tail), and a plain text of the rows that
 * a reader must find. test_format.py gives both to a reader that shares no code with the library.
 *
 *     make_format_sample BACKUP ROWS */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "store/sink.h"

enum { N_FACTORS = 14, N_CODES = 60, TORN_BYTES = 500 };

static const char *const names[N_FACTORS] = {
    "constant", "random_bits", "small_integers", "counter", "few_values",   "f32",   "z_score",
    "price",    "mostly_nan",  "rank",           "mixed",   "skewed_bytes", "share", "价格"};

static facpool_error err = FACPOOL_ERROR_INIT;
static uint64_t state = 0x9e3779b97f4a7c15u;

static void must(int rc)
{
    if (rc) {
        fprintf(stderr, "make_format_sample: %s\n", err.message);
        exit(EXIT_FAILURE);
    }
}

static uint64_t random_word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double unit(void)
{
    return (double)(random_word() >> 11) / 9007199254740992.0;
}

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Each byte of the word has few values, and other ones than its neighbours. */
static uint64_t skewed_bytes(void)
{
    uint64_t word = 0;
    for (uint64_t byte = 0; byte < 8; byte++)
        word |= (byte * 31 + (random_word() & random_word() & 15)) << 8 * byte;
    return word;
}

/* Each column is of a kind that one of the encodings is made for. */
static double value_of(int factor, size_t i)
{
    static const double few[] = {1.0 / 3, 2.718281828459045, -1.4142135623730951, 1e-300};
    double price = floor(1000 + unit() * 20000) / 100.0;
    switch (factor) {
    case 0:
        return 42.5;
    case 1:
        return from_bits(random_word());
    case 2:
        return (double)(random_word() % 100);
    case 3:
        return from_bits(0x4000000000000000u + 12345 * i);
    case 4:
        return few[random_word() % 4 ? i / 40 % 4 : random_word() % 4];
    case 5:
        return (double)(float)unit();
    case 6:
        return sqrt(-2 * log(unit() + 1e-12)) * cos(6.283185307179586 * unit());
    case 7:
        return price;
    case 8:
        return random_word() % 20 ? NAN : unit();
    case 9:
        return (double)(random_word() % 5000) / 5000.0;
    case 10:
        return i % 97 == 3 ? from_bits(0x7ff8000000000abcu) : i % 89 == 5 ? -0.0 : price;
    case 11:
        return from_bits(skewed_bytes());
    case 12:
        return (double)(1 + random_word() % 4987) / 4987.0;
    default:
        return i % 50 == 7 ? INFINITY : exp(unit() * 20);
    }
}

static void fill(fp_batch *batch, fp_codes *codes, bool ok, size_t first, size_t n)
{
    must(fp_batch_init(batch, ok, N_FACTORS, codes, NULL, &err));
    must(fp_batch_reserve(batch, n, &err));
    for (size_t i = 0; i < n; i++) {
        size_t row = first + i;
        char code[64];
        snprintf(code, sizeof code, row % N_CODES == 7 ? "股票%03zu" : "%06zu", row % N_CODES);
        must(fp_codes_intern(codes, code, strlen(code), &batch->code_ids[i]));
        batch->dates[i] = (int64_t)(row / N_CODES) - 3; /* below zero too */
        batch->timestamps[i] = 1700000000000000 + (int64_t)(row / 16) * 250;
        for (int factor = 0; ok && factor < N_FACTORS; factor++)
            batch->factors[factor][i] = value_of(factor, row);
        if (!ok) {
            static const int32_t failure_codes[] = {7, -1, INT32_MIN + 1, INT32_MAX};
            char message[80] = "";
            if (row % 4)
                snprintf(message, sizeof message, "no bars on day %zu, 数据缺失", row);
            batch->statuses[i] = (uint8_t)(FACPOOL_STATUS_SKIPPED + row % 4);
            batch->failure_codes[i] = failure_codes[row % 4];
            must(fp_texts_add(&batch->messages, message, strlen(message)));
        }
        batch->n_rows = i + 1;
    }
    must(fp_codes_rank(codes));
    must(fp_batch_sort(batch, &err));
}

static void print_rows(FILE *out, const fp_batch *batch)
{
    for (size_t i = 0; i < batch->n_rows; i++) {
        int status = batch->ok ? FACPOOL_STATUS_OK : batch->statuses[i];
        fprintf(out, "%" PRId64 "\t%s\t%" PRId64 "\t%d\t%" PRId32 "\t%s\t", batch->dates[i],
                fp_texts_at(&batch->codes->texts, batch->code_ids[i]), batch->timestamps[i], status,
                batch->ok ? 0 : batch->failure_codes[i],
                batch->ok ? "" : fp_texts_at(&batch->messages, i));
        for (int factor = 0; batch->ok && factor < N_FACTORS; factor++) {
            uint64_t bits;
            memcpy(&bits, &batch->factors[factor][i], sizeof bits);
            fprintf(out, "%s%016" PRIx64, factor ? " " : "", bits);
        }
        fputc('\n', out);
    }
}

/* Appends rows; rows_out NULL: they will be torn, and no reader must find them. */
static void append(fp_sink *sink, FILE *rows_out, bool ok, size_t first, size_t n)
{
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    fp_batch batch;
    fill(&batch, &codes, ok, first, n);
    must(fp_sink_append(sink, &batch, &err));
    if (rows_out)
        print_rows(rows_out, &batch);
    fp_batch_free(&batch);
    fp_codes_free(&codes);
}

static fp_sink *open_sink(const char *path, int mode, int level)
{
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.mode = mode;
    options.tag = "sample, 样本";
    options.compression_level = level;
    fp_schema schema;
    must(fp_schema_init(&schema, N_FACTORS, names, options.tag, &err));
    fp_sink *sink;
    must(fp_sink_open(&sink, &options, &schema, NULL, &err));
    fp_schema_free(&schema);
    return sink;
}

/* The file as a killed writer leaves it: without its last bytes, and without an index. */
static void tear(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc((size_t)16 << 20);
    if (!file || !bytes)
        exit(EXIT_FAILURE);
    size_t n = fread(bytes, 1, (size_t)16 << 20, file);
    fclose(file);
    remove(path);
    file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n - TORN_BYTES, file) != n - TORN_BYTES || fclose(file))
        exit(EXIT_FAILURE);
    free(bytes);
}

/* ------------------------------------------------------------------ single chunks */

enum { MOST_WORDS = 1024 };

static void print_chunk(FILE *out, fp_codec *codec, uint8_t id, const uint64_t *words, size_t n)
{
    fp_encoding encoding = {.id = id, .exponent = 2, .level = 1, .ulps = 1, .common = words[n / 2]};
    fp_buffer chunk = {0};
    uint8_t used;
    must(fp_words_encode(codec, &encoding, words, n, &chunk, &used, &err));
    fprintf(out, "%u\t%zu\t", used, n);
    for (size_t i = 0; i < chunk.size; i++)
        fprintf(out, "%02x", chunk.data[i]);
    fputc('\t', out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s%016" PRIx64, i ? " " : "", words[i]);
    fputc('\n', out);
    fp_buffer_free(&chunk);
}

/* Every factor's values, half of them made one and the same, and plain integers, by every encoding:
 * those that do not suit fall back to others, as they do in files. */
static void print_chunks(FILE *out)
{
    static const size_t sizes[] = {1, 2, 7, 64, 1000, MOST_WORDS};
    fp_codec *codec = fp_codec_new(NULL);
    if (!codec)
        exit(EXIT_FAILURE);
    uint64_t words[MOST_WORDS];
    for (int kind = 0; kind < 3 * N_FACTORS; kind++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            for (size_t i = 0; i < sizes[s]; i++) {
                double value = value_of(kind / 3, i);
                memcpy(&words[i], &value, sizeof value);
                if (kind % 3 == 1 && i % 3)
                    words[i] = 0;
                if (kind % 3 == 2)
                    words[i] = (uint64_t)((int64_t)(words[i] >> 44) - 700000) * 12;
            }
            for (unsigned transform = 0; transform <= FP_TRANSFORM_RATIO; transform++)
                for (unsigned layout = FP_LAYOUT_CONSTANT; layout <= FP_LAYOUT_SPLIT; layout++)
                    print_chunk(out, codec, (uint8_t)(layout | transform << 4), words, sizes[s]);
        }
    fp_codec_free(codec);
}

int main(int argc, char **argv)
{
    FILE *rows_out = argc == 4 ? fopen(argv[2], "w") : NULL;
    FILE *chunks_out = argc == 4 ? fopen(argv[3], "w") : NULL;
    if (!rows_out || !chunks_out) {
        fprintf(stderr, "usage: make_format_sample BACKUP ROWS CHUNKS\n");
        return EXIT_FAILURE;
    }
    print_chunks(chunks_out);
    const char *path = argv[1];
    fp_sink *sink = open_sink(path, FACPOOL_MODE_OVERWRITE, 0);
    append(sink, rows_out, true, 0, 2500); /* several pages, the last one short */
    append(sink, rows_out, false, 2500, 1100);
    append(sink, rows_out, true, 3600, 1);
    must(fp_sink_close(sink, &err));

    sink = open_sink(path, FACPOOL_MODE_RESUME, -1); /* no zstd: raw pages */
    append(sink, rows_out, true, 4000, 1500);
    append(sink, rows_out, false, 5500, 3);
    must(fp_sink_close(sink, &err));

    sink = open_sink(path, FACPOOL_MODE_RESUME, 9);
    append(sink, rows_out, true, 6000, 1024);
    must(fp_sink_sync(sink, &err));
    append(sink, NULL, true, 8000, 300);
    tear(path); /* a new file under the name: the sink keeps the old one */
    must(fp_sink_close(sink, &err));
    return fclose(rows_out) || fclose(chunks_out) ? EXIT_FAILURE : EXIT_SUCCESS;
}
