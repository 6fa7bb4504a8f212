/* Writes what fuzzing begins with: small files of every format as real writers leave them (closed,
 * killed, torn, resumed, with failures, with blocks given up), pages of every encoding, and Arrow
 * metadata. fuzz/run.sh runs it; what proves useful comes into fuzz/corpus by --minimise.
 *
 *   make_seeds FOLDER      writes FOLDER/binary/..., FOLDER/json/..., one folder a target */
#include <facpool/facpool.h>
#include <math.h>

#include "codec/arrow_message.h"
#include "codec/bits.h"
#include "codec/codec.h"
#include "fuzz.h"
#include "scratch.h"

static const char *target_folder;
static facpool_error err = FACPOOL_ERROR_INIT;

static void call_worked(int rc)
{
    if (rc) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

static const char *seed_path(const char *target, const char *name)
{
    static char path[2][1024];
    static unsigned next;
    char *to = path[next++ % 2];
    snprintf(to, sizeof path[0], "%s/%s", target_folder, target);
    mkdir(to, 0777);
    snprintf(to, sizeof path[0], "%s/%s/%s", target_folder, target, name);
    return to;
}

static void put_seed(const char *target, const char *name, const void *bytes, size_t size)
{
    EXPECT(file_write(seed_path(target, name), bytes, size));
}

/* The first bytes of a file that is there, as another seed. */
static void copy_seed(const char *target, const char *from, const char *to, size_t cut)
{
    size_t size;
    uint8_t *bytes = file_read(seed_path(target, from), &size);
    EXPECT(bytes && size > cut);
    put_seed(target, to, bytes, size - cut);
    free(bytes);
}

/* ------------------------------------------------------------------ rows */

#define MOST_ROWS    1100
#define MOST_FACTORS 40

/* Columns that are encoded differently: constant, price, rank, rarely a value, noise, odd doubles.
 */
static double value_at(size_t row, size_t factor)
{
    static const double odd[] = {0.0, -0.0, 5e-324, -1.7976931348623157e308, 0.1};
    uint64_t noise = mix_bits(row * 64 + factor);
    switch (factor % 6) {
    case 0:
        return (double)(1000 + noise % 500) / 100;
    case 1:
        return (double)(row % 97) / 97;
    case 2:
        return noise % 16 ? NAN : (double)row;
    case 3:
        return 1.5;
    case 4:
        return (double)(int64_t)noise * 1e-19;
    default:
        return noise % 7 == 0 ? INFINITY : odd[noise % 5];
    }
}

typedef struct seed_rows {
    size_t n;
    size_t n_factors;
    size_t first; /* numbers rows on from here */
    bool with_failures;
} seed_rows;

static void append(facpool_writer *writer, const seed_rows *wanted)
{
    static int64_t dates[MOST_ROWS], timestamps[MOST_ROWS];
    static char texts[MOST_ROWS][32];
    static const char *codes[MOST_ROWS], *messages[MOST_ROWS];
    static uint8_t statuses[MOST_ROWS];
    static int32_t failure_codes[MOST_ROWS];
    static double factors[MOST_ROWS * MOST_FACTORS];
    EXPECT(wanted->n <= MOST_ROWS && wanted->n_factors <= MOST_FACTORS);
    for (size_t i = 0; i < wanted->n; i++) {
        size_t row = wanted->first + i;
        dates[i] = 20240101 + (int64_t)(row / 40);
        timestamps[i] = 1704186000000000 + (int64_t)row * 250;
        snprintf(texts[i], sizeof texts[i], row % 9 ? "%06zu" : "\"%zu\\\xc3\xa9\xe7\x89\x88", row);
        codes[i] = texts[i];
        statuses[i] = wanted->with_failures && row % 4 == 3 ? (uint8_t)(2 + row / 4 % 4) : 1;
        failure_codes[i] = statuses[i] > 2 ? (int32_t)row - 5 : 0;
        messages[i] = statuses[i] > 2 && row % 8 == 3 ? "no bars: \"why\"\n" : NULL;
        for (size_t f = 0; f < wanted->n_factors; f++)
            factors[i * wanted->n_factors + f] = value_at(row, f);
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = wanted->n;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = timestamps;
    rows.statuses = statuses;
    rows.factors = factors;
    rows.failure_codes = failure_codes;
    rows.messages = messages;
    call_worked(facpool_writer_append(writer, &rows, &err));
}

/* ------------------------------------------------------------------ files */

typedef struct seed_file {
    const char *target; /* a format's name */
    const char *name;
    const char *tag;
    size_t n_factors;
    int32_t durability;
    int32_t level;
} seed_file;

static facpool_writer *open_writer(const seed_file *file)
{
    facpool_writer *writer = NULL;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = seed_path(file->target, file->name);
    backup.format = file->target;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.tag = file->tag;
    backup.durability = file->durability;
    backup.compression_level = file->level;
    backup.no_async = 1;
    call_worked(facpool_writer_open(&writer, &backup, NULL, file->n_factors, &err));
    return writer;
}

static void write_rows(const seed_file *file, const seed_rows *rows)
{
    facpool_writer *writer = open_writer(file);
    append(writer, rows);
    call_worked(facpool_writer_close(writer, &err));
}

/* What a writer that is killed leaves: a copy made while it is at work, of two blocks. */
static void write_killed(seed_file file, const seed_rows *rows, const char *killed)
{
    seed_rows more = *rows;
    unlink(seed_path(file.target, file.name));
    facpool_writer *writer = open_writer(&file);
    append(writer, rows);
    call_worked(facpool_writer_sync(writer, &err));
    more.first += rows->n;
    append(writer, &more);
    call_worked(facpool_writer_sync(writer, &err));
    copy_seed(file.target, file.name, killed, 0);
    call_worked(facpool_writer_close(writer, &err));
}

/* A closed file with a wrong byte, resumed: its block is given up. */
static void write_given_up(const seed_file *file, const seed_rows *rows)
{
    size_t size;
    seed_rows more = *rows;
    write_rows(file, rows);
    uint8_t *bytes = file_read(seed_path(file->target, file->name), &size);
    EXPECT(bytes);
    bytes[size / 2] ^= 4;
    put_seed(file->target, file->name, bytes, size);
    free(bytes);
    more.first += rows->n;
    write_rows(file, &more);
}

static void write_format(const char *format, size_t most_rows)
{
    seed_file file = {.target = format, .name = "closed", .n_factors = 3, .tag = "v1 \"\xc3\xa9\""};
    seed_rows few = {.n = 12, .n_factors = 3, .with_failures = true};
    write_rows(&file, &few);
    file.name = "resumed";
    write_rows(&file, &few);
    few.first = 12;
    write_rows(&file, &few);
    write_killed((seed_file){.target = format, .name = "finished", .n_factors = 3}, &few, "killed");
    write_killed((seed_file){.target = format,
                             .name = "unsynced",
                             .n_factors = 3,
                             .durability = FACPOOL_DURABILITY_NONE},
                 &few, "unsynced_killed");
    copy_seed(format, "killed", "torn", 70);
    copy_seed(format, "closed", "no_index", 1);
    write_given_up(&(seed_file){.target = format, .name = "given_up", .n_factors = 3}, &few);
    seed_rows wide = {.n = 2, .n_factors = 24};
    write_rows(&(seed_file){.target = format, .name = "wide", .n_factors = 24}, &wide);
    seed_rows many = {.n = most_rows, .n_factors = 1};
    write_rows(&(seed_file){.target = format, .name = "many", .n_factors = 1}, &many);
    many.n_factors = 6;
    many.n = most_rows / 4;
    write_rows(&(seed_file){.target = format, .name = "kinds", .n_factors = 6}, &many);
    write_rows(&(seed_file){.target = format, .name = "no_zstd", .n_factors = 6, .level = -1},
               &many);
}

/* ------------------------------------------------------------------ pages */

static void put_page(fp_codec *codec, unsigned id, size_t factor)
{
    enum { WORDS = 200 };
    uint64_t words[WORDS];
    char name[40];
    uint8_t used;
    fp_buffer out = {0};
    fp_encoding encoding = {.id = (uint8_t)id, .exponent = 2, .level = 1};
    for (size_t i = 0; i < WORDS; i++)
        words[i] = fp_word_of(value_at(i, factor));
    encoding.common = fp_word_of(NAN);
    uint8_t head[6] = {1, 0, (WORDS - 1) & 255, (WORDS - 1) >> 8, 3, 200};
    EXPECT(fp_buffer_put(&out, head, sizeof head) == 0);
    call_worked(fp_words_encode(codec, &encoding, words, WORDS, &out, &used, &err));
    out.data[1] = used;
    snprintf(name, sizeof name, "words_%02x_%zu", used, factor);
    put_seed("codec", name, out.data, out.size);
    fp_buffer_free(&out);
}

static void write_pages(void)
{
    fp_codec *codec = fp_codec_new(NULL);
    EXPECT(codec != NULL);
    for (size_t factor = 0; factor < 6; factor++)
        for (unsigned transform = 0; transform < 4; transform++)
            for (unsigned layout = 1; layout <= 7; layout++)
                put_page(codec, layout | transform << 4, factor);
    for (int level = -1; level <= 1; level += 2) {
        fp_texts texts = {0};
        fp_buffer out = {0};
        uint8_t head[6] = {0, 0, 60, 0, 3, 200};
        for (size_t i = 0; i < 60; i++)
            EXPECT(fp_texts_add(&texts, "SH600000.long.code", i % 18) == 0);
        EXPECT(fp_buffer_put(&out, head, sizeof head) == 0);
        call_worked(fp_texts_encode(codec, &texts, 0, 60, level, &out, &err));
        put_seed("codec", level < 0 ? "texts_raw" : "texts_zstd", out.data, out.size);
        fp_texts_free(&texts);
        fp_buffer_free(&out);
    }
    fp_codec_free(codec);
}

/* ------------------------------------------------------------------ Arrow metadata */

static void write_arrow(void)
{
    fp_arrow_field fields[] = {{{"date", 4}, FP_ARROW_INT64, false},
                               {{"code", 4}, FP_ARROW_UTF8, false},
                               {{"timestamp", 9}, FP_ARROW_TIMESTAMP_US_UTC, false},
                               {{"status", 6}, FP_ARROW_UINT8, false},
                               {{"f", 1}, FP_ARROW_FLOAT64, true}};
    fp_arrow_pair pairs[] = {{{"facpool.version", 15}, {"1", 1}}, {{"", 0}, {"", 0}}};
    fp_arrow_schema schema = {.n_fields = 5, .fields = fields, .n_pairs = 2, .pairs = pairs};
    fp_buffer out = {0};
    EXPECT(fp_arrow_put_schema(&schema, &out) == 0);
    put_seed("arrow", "schema", out.data + FP_ARROW_PREFIX_BYTES, out.size - FP_ARROW_PREFIX_BYTES);
    fp_buffer_free(&out);
    uint64_t nulls[6] = {0};
    fp_arrow_buffer buffers[13] = {{0, 0}};
    fp_arrow_batch batch = {.n_rows = 3,
                            .body_bytes = 4096,
                            .n_columns = 6,
                            .nulls = nulls,
                            .n_buffers = 13,
                            .buffers = buffers};
    EXPECT(fp_arrow_put_batch(&batch, &out) == 0);
    put_seed("arrow", "batch", out.data, out.size);
    fp_buffer_free(&out);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    target_folder = argv[1];
    mkdir(target_folder, 0777);
    write_format("binary", MOST_ROWS);
    write_format("json", 80);
    write_format("memory_map", 1040);
    write_pages();
    write_arrow();
    return 0;
}
