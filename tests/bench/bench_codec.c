/* Measures the column encodings on their own: for typical columns of 65,536 words in pages of
 * 1,024, what is chosen, bytes a value, and GB/s of decoded data on one core. Stand-alone; prints a
 * table and proves nothing. */
#include "base/error.h"
#include "codec/checksum.h"
#include "codec/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COLUMN_WORDS 65536
#define PAGE_WORDS   1024
#define PAGES        (COLUMN_WORDS / PAGE_WORDS)
#define ROUNDS       20

static uint64_t random_state = 1;

static uint64_t random_word(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double random_unit(void)
{
    return ((double)(random_word() >> 11) + 0.5) * 0x1p-53;
}

static double random_normal(void)
{
    return sqrt(-2 * log(random_unit())) * cos(6.283185307179586 * random_unit());
}

static uint64_t bits_of(double value)
{
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static uint64_t z_score(size_t i)
{
    (void)i;
    return bits_of(random_normal());
}

static uint64_t z_score_gaps(size_t i)
{
    (void)i;
    return random_unit() < 0.3 ? bits_of((double)NAN) : bits_of(random_normal());
}

static uint64_t volatility(size_t i)
{
    (void)i;
    return bits_of(0.02 * exp(0.5 * random_normal()));
}

static uint64_t price(size_t i)
{
    return bits_of(round(100 * (10 + 40 * (double)(i % 5000) / 5000 + random_normal())) / 100);
}

static uint64_t rank(size_t i)
{
    (void)i;
    return bits_of((double)(random_word() % 5000 + 1) / 5000);
}

/* Among a number of instruments that differs from date to date. */
static uint64_t daily_rank(size_t i)
{
    uint64_t n = 4900 + i / 5000 * 7;
    return bits_of((double)(1 + random_word() % n) / (double)n);
}

/* Of a volume in one of another. */
static uint64_t share(size_t i)
{
    double all = floor(exp(11 + 1.5 * random_normal())) + 1;
    (void)i;
    return bits_of(floor(all * random_unit()) / all);
}

static uint64_t constant(size_t i)
{
    (void)i;
    return bits_of(1);
}

static uint64_t date(size_t i)
{
    return 20240102 + i / 5000;
}

static uint64_t sequential_id(size_t i)
{
    return i % 5000;
}

static uint64_t timestamp(size_t i)
{
    return 1700000000000000u + 250 * (uint64_t)i + random_word() % 64;
}

static uint64_t volume(size_t i)
{
    (void)i;
    return bits_of(100 * floor(exp(9 + 1.5 * random_normal())));
}

static uint64_t mostly_zero(size_t i)
{
    (void)i;
    return random_unit() < 0.9 ? 0 : bits_of(random_normal());
}

static uint64_t from_float(size_t i)
{
    (void)i;
    return bits_of((double)(float)random_normal());
}

static uint64_t few_values(size_t i)
{
    (void)i;
    return bits_of(sqrt((double)(random_word() % 10 + 2)));
}

struct column {
    const char *name;
    uint64_t (*word)(size_t i);
    bool is_double;
};

static const struct column columns[] = {{"z-score", z_score, true},
                                        {"z-score, 30 % NaN", z_score_gaps, true},
                                        {"volatility", volatility, true},
                                        {"price, 2 decimals", price, true},
                                        {"rank k/5000", rank, true},
                                        {"rank k/n of the day", daily_rank, true},
                                        {"share p/q", share, true},
                                        {"volume, lots of 100", volume, true},
                                        {"90 % zero", mostly_zero, true},
                                        {"float as double", from_float, true},
                                        {"10 distinct doubles", few_values, true},
                                        {"constant", constant, true},
                                        {"date", date, false},
                                        {"sequential id", sequential_id, false},
                                        {"timestamp, jitter", timestamp, false}};

static double now_seconds(void)
{
    struct timespec now;
    if (timespec_get(&now, TIME_UTC) != TIME_UTC)
        exit(EXIT_FAILURE);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void must(int code, const facpool_error *err)
{
    if (code < 0) {
        fprintf(stderr, "bench_codec: %s\n", err->message);
        exit(EXIT_FAILURE);
    }
}

/* One column's pages, as they would be stored. */
struct encoded {
    fp_encoding encoding;
    fp_buffer bytes;
    uint8_t used[PAGES];
    size_t ends[PAGES];
};

static void encode(fp_codec *codec, const uint64_t *words, struct encoded *out)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    out->bytes.size = 0;
    for (size_t page = 0; page < PAGES; page++) {
        must(fp_words_encode(codec, &out->encoding, words + page * PAGE_WORDS, PAGE_WORDS,
                             &out->bytes, &out->used[page], &err),
             &err);
        out->ends[page] = out->bytes.size;
    }
}

static void decode(fp_codec *codec, const struct encoded *from, uint64_t *words)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    for (size_t page = 0, at = 0; page < PAGES; page++) {
        must(fp_words_decode(codec, from->used[page], from->bytes.data + at, from->ends[page] - at,
                             words + page * PAGE_WORDS, PAGE_WORDS, &err),
             &err);
        at = from->ends[page];
    }
}

/* The quickest of all rounds, in GB/s of decoded data: what the code can do, whatever else the
 * machine is busy with. */
static double best_rate(double *seconds)
{
    double best = seconds[0];
    for (size_t i = 1; i < ROUNDS; i++)
        best = seconds[i] < best ? seconds[i] : best;
    return 8e-9 * COLUMN_WORDS / best;
}

static void measure(fp_codec *codec, const struct column *column, int level)
{
    static uint64_t words[COLUMN_WORDS], again[COLUMN_WORDS];
    double choosing[ROUNDS], encoding[ROUNDS], decoding[ROUNDS];
    struct encoded encoded = {0};
    facpool_error err = FACPOOL_ERROR_INIT;
    for (size_t i = 0; i < COLUMN_WORDS; i++)
        words[i] = column->word(i);
    for (size_t round = 0; round < ROUNDS; round++) {
        double start = now_seconds();
        must(fp_words_choose(codec, words, COLUMN_WORDS, column->is_double, level,
                             &encoded.encoding, &err),
             &err);
        double chosen = now_seconds();
        encode(codec, words, &encoded);
        double done = now_seconds();
        decode(codec, &encoded, again);
        decoding[round] = now_seconds() - done;
        encoding[round] = done - chosen;
        choosing[round] = chosen - start;
    }
    if (memcmp(words, again, sizeof words) != 0)
        must(fp_fail(&err, FACPOOL_E_CORRUPT, "%s came back changed", column->name), &err);
    double encode_rate = best_rate(encoding), choose_rate = best_rate(choosing);
    printf("%-20s  %#4x  %7.3f  %8.2f  %8.2f  %8.1f %%\n", column->name, encoded.encoding.id,
           (double)encoded.bytes.size / COLUMN_WORDS, encode_rate, best_rate(decoding),
           100 * encode_rate / choose_rate);
    fp_buffer_free(&encoded.bytes);
}

static void measure_checksum(void)
{
    static uint8_t bytes[8 * PAGE_WORDS];
    double seconds[ROUNDS];
    uint64_t sum = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        double start = now_seconds();
        for (size_t page = 0; page < PAGES; page++) {
            bytes[0] = (uint8_t)page;
            sum ^= fp_checksum(bytes, sizeof bytes);
        }
        seconds[round] = now_seconds() - start;
    }
    printf("checksum of 8 KiB pages: %.1f GB/s (%04x)\n", best_rate(seconds),
           (unsigned)(sum & 0xffff));
}

int main(int argc, char **argv)
{
    int level = argc > 1 ? atoi(argv[1]) : 1;
    fp_codec *codec = fp_codec_new(NULL);
    if (!codec)
        return EXIT_FAILURE;
    printf("column                chosen  B/value  encode    decode    choosing (of encoding)\n"
           "                                       GB/s      GB/s\n");
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        measure(codec, &columns[i], level);
    measure_checksum();
    fp_codec_free(codec);
    return EXIT_SUCCESS;
}
