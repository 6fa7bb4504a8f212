/* Column pages: every encoding gives back the very same bits whatever the column, and what is
 * chosen for typical columns is small. */
#include "test.h"

#include "codec_columns.h"

#include <fenv.h>

static uint64_t column[FP_PAGE_MAX_WORDS], decoded[FP_PAGE_MAX_WORDS];
static bool seen[256];

/* Encodes behind bytes that must stay, decodes a copy of exactly its size, compares the bits.
 * Returns the page's size. */
static size_t round_trip(fp_codec *codec, const fp_encoding *encoding, size_t n)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_buffer out = {0};
    uint8_t used = 0;
    CHECK_INT(fp_buffer_put(&out, "before", 6), 0);
    CHECK_OK(fp_words_encode(codec, encoding, column, n, &out, &used, &err), err);
    CHECK(memcmp(out.data, "before", 6) == 0);
    size_t size = out.size - 6;
    CHECK(size <= 8 * n);
    uint8_t *page = malloc(size);
    CHECK(page);
    memcpy(page, out.data + 6, size);
    memset(decoded, 0xa5, 8 * n);
    CHECK_OK(fp_words_decode(codec, used, page, size, decoded, n, &err), err);
    if (memcmp(column, decoded, 8 * n) != 0)
        printf("  encoding %#x (used %#x), %zu words\n", encoding->id, used, n);
    CHECK(memcmp(column, decoded, 8 * n) == 0);
    size_t first = (size_t)(random_word() % n),
           end = first + (size_t)(random_word() % (n - first)) + 1;
    memset(decoded, 0xa5, 8 * n); /* a part of it: the words asked for are right */
    CHECK_OK(fp_words_decode_part(codec, used, page, size, decoded, n, first, end, &err), err);
    CHECK(memcmp(column + first, decoded + first, 8 * (end - first)) == 0);
    seen[used] = true;
    free(page);
    fp_buffer_free(&out);
    return size;
}

static void in_every_encoding(fp_codec *codec, size_t n)
{
    for (size_t i = 0; i < LAYOUTS; i++)
        for (unsigned transform = FP_TRANSFORM_NONE; transform <= FP_TRANSFORM_RATIO; transform++) {
            fp_encoding encoding = {.id = (uint8_t)(layouts[i] | transform << 4),
                                    .level = (int8_t)(below(4) == 0 ? -1 : (int)below(3) + 1),
                                    .exponent = (uint8_t)below(19),
                                    .low_bits = (uint8_t)(below(2) ? 0 : 48 + below(16)),
                                    .ulps = (uint8_t)below(4),
                                    .common = column[below(n)]};
            round_trip(codec, &encoding, n);
        }
}

static void every_encoding_gives_back_the_same_bits(void)
{
    static const size_t sizes[] = {1, 2, 3, 7, 8, 9, 63, 255, 256, 257, 1000, 1023, 1024, 1025};
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (unsigned round = 0; round < 12; round++)
        for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
            size_t n = round < 2 ? 1024 : sizes[below(sizeof sizes / sizeof sizes[0])];
            fp_encoding chosen;
            make_column(kind, column, n);
            in_every_encoding(codec, n);
            for (int level = -1; level <= 3; level += 2)
                for (int is_double = 0; is_double < 2; is_double++) {
                    CHECK_OK(fp_words_choose(codec, column, n, is_double, level, &chosen, &err),
                             err);
                    round_trip(codec, &chosen, n);
                }
        }
    fp_codec_free(codec);
}

static void the_largest_page_comes_back(void)
{
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        make_column(kind, column, FP_PAGE_MAX_WORDS);
        in_every_encoding(codec, FP_PAGE_MAX_WORDS);
    }
    fp_codec_free(codec);
}

static void decimals_of_all_exponents_are_found(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (unsigned exponent = 0; exponent <= 18; exponent++) {
        for (size_t i = 0; i < 1024; i++)
            column[i] = bits_of((double)(1 + below(65535)) / power_of_ten(exponent));
        for (size_t i = 0; i < 20; i++)
            column[below(1024)] = odd_word();
        fp_encoding chosen;
        CHECK_OK(fp_words_choose(codec, column, 1024, true, 1, &chosen, &err), err);
        CHECK_INT(chosen.id, DECIMAL(FP_LAYOUT_PACKED));
        CHECK_INT(chosen.exponent, exponent);
        CHECK(round_trip(codec, &chosen, 1024) <= 2 * 1024 + 20 * 10 + 32);
    }
    fp_codec_free(codec);
}

static bool everything_seen(const uint8_t *ids, size_t n)
{
    bool all = true;
    for (size_t i = 0; i < n; i++)
        if (!seen[ids[i]]) {
            printf("  encoding %#x never came about\n", ids[i]);
            all = false;
        }
    return all;
}

static void every_encoding_has_come_about(void)
{
    uint8_t ids[4 * LAYOUTS];
    size_t n = 0;
    for (size_t i = 0; i < LAYOUTS; i++) {
        ids[n++] = layouts[i];
        ids[n++] = SPARSE(layouts[i]);
        /* Raw integers are never smaller than raw doubles, split ones of a ratio hardly ever. */
        if (layouts[i] != FP_LAYOUT_RAW)
            ids[n++] = DECIMAL(layouts[i]);
        if (layouts[i] != FP_LAYOUT_RAW && layouts[i] != FP_LAYOUT_SPLIT)
            ids[n++] = RATIO(layouts[i]);
    }
    CHECK(everything_seen(ids, n));
}

/* ---------------------------------------------------------------- what is chosen */

struct expected {
    const char *name;
    uint64_t (*word)(size_t i);
    bool is_double;
    uint8_t id, or_id;
    double most_bytes; /* a value */
};

static uint64_t z_score(size_t i)
{
    (void)i;
    return bits_of(random_normal());
}

static uint64_t gaps(size_t i)
{
    (void)i;
    return below(10) < 3 ? NAN_WORD : bits_of(random_normal());
}

static uint64_t price(size_t i)
{
    return bits_of(round(100 * (10 + (double)(i % 5000) / 100 + random_normal())) / 100);
}

static uint64_t rank(size_t i)
{
    (void)i;
    return bits_of((double)(below(5000) + 1) / 5000);
}

static uint64_t volume(size_t i)
{
    (void)i;
    return bits_of(100 * floor(exp(9 + 1.5 * random_normal())));
}

static uint64_t id(size_t i)
{
    return i % 5000;
}

static uint64_t date(size_t i)
{
    return 20240102 + i / 5000;
}

static uint64_t one(size_t i)
{
    (void)i;
    return bits_of(1);
}

static uint64_t timestamp(size_t i)
{
    return 1700000000000000u + 250 * (uint64_t)i + below(64);
}

/* A rank among the instruments of a date, of which there are not as many every day. */
static uint64_t daily_rank(size_t i)
{
    uint64_t n = 4900 + i / 5000 * 7;
    return bits_of((double)(1 + below(n)) / (double)n);
}

static uint64_t share(size_t i)
{
    double all = floor(exp(11 + 1.5 * random_normal())) + 1;
    (void)i;
    return bits_of(floor(all * 0.02 * (double)below(10)) / all);
}

/* Rounded more than once on its way, so that it is a few bits off the ratio of the prices. */
static uint64_t price_to_close(size_t i)
{
    double close = (double)(500 + below(1500)) / 100, volume = (double)(1000 + below(1000000));
    double high = close + (double)below(30) / 100, low = close - (double)below(30) / 100;
    (void)i;
    return bits_of((high + low + close) / 3 * volume / volume / close);
}

/* As a run grouped by code leaves them: a code's rows have one timestamp, on every date. */
static uint64_t timestamp_of_group(size_t i)
{
    uint64_t code = i % 43;
    return 1700000000000000u + 750 * code + code * code * 7 % 300;
}

static uint64_t few_values(size_t i)
{
    (void)i;
    return bits_of(sqrt((double)(below(10) + 2)));
}

static const struct expected typical[] = {
    {"z-score", z_score, true, FP_LAYOUT_SPLIT, FP_LAYOUT_SPLIT, 7.2},
    {"z-score with gaps", gaps, true, SPARSE(FP_LAYOUT_SPLIT), SPARSE(FP_LAYOUT_SPLIT), 5.3},
    {"price", price, true, DECIMAL(FP_LAYOUT_PACKED), DECIMAL(FP_LAYOUT_PACKED), 1.7},
    {"rank", rank, true, DECIMAL(FP_LAYOUT_PACKED), DECIMAL(FP_LAYOUT_PACKED), 1.7},
    {"volume", volume, true, DECIMAL(FP_LAYOUT_PACKED), DECIMAL(FP_LAYOUT_PACKED), 2.6},
    {"ids", id, false, FP_LAYOUT_DELTA, FP_LAYOUT_DELTA, 0.03},
    {"dates", date, false, FP_LAYOUT_DELTA, FP_LAYOUT_DELTA, 0.02},
    {"constant", one, true, FP_LAYOUT_CONSTANT, FP_LAYOUT_CONSTANT, 0.01},
    {"timestamps", timestamp, false, FP_LAYOUT_DELTA, FP_LAYOUT_DELTA, 1.0},
    {"few values", few_values, true, FP_LAYOUT_ZSTD, FP_LAYOUT_PLANES, 2.0},
    {"rank of the day", daily_rank, true, RATIO(FP_LAYOUT_PLANES), RATIO(FP_LAYOUT_PLANES), 1.9},
    {"share", share, true, RATIO(FP_LAYOUT_PLANES), RATIO(FP_LAYOUT_PLANES), 5.0},
    {"price to close", price_to_close, true, RATIO(FP_LAYOUT_PLANES), RATIO(FP_LAYOUT_PLANES), 3.2},
    {"group timestamps", timestamp_of_group, false, FP_LAYOUT_PLANES, FP_LAYOUT_PLANES, 0.2},
};

static void typical_columns_get_their_encoding_and_size(void)
{
    static uint64_t whole[65536];
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (size_t c = 0; c < sizeof typical / sizeof typical[0]; c++) {
        const struct expected *expected = &typical[c];
        size_t size = 0;
        fp_encoding chosen;
        for (size_t i = 0; i < 65536; i++)
            whole[i] = expected->word(i);
        CHECK_OK(fp_words_choose(codec, whole, 65536, expected->is_double, 1, &chosen, &err), err);
        for (size_t page = 0; page < 64; page++) {
            memcpy(column, whole + 1024 * page, sizeof *whole * 1024);
            size += round_trip(codec, &chosen, 1024);
        }
        printf("  %-18s %#4x %6.3f bytes a value\n", expected->name, chosen.id,
               (double)size / 65536);
        CHECK(chosen.id == expected->id || chosen.id == expected->or_id);
        CHECK((double)size / 65536 <= expected->most_bytes);
    }
    fp_codec_free(codec);
}

static void without_a_level_zstd_is_not_used(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        fp_encoding chosen;
        make_column(kind, column, 4096);
        CHECK_OK(fp_words_choose(codec, column, 4096, true, -1, &chosen, &err), err);
        unsigned layout = chosen.id & 15u;
        CHECK(layout != FP_LAYOUT_ZSTD && layout != FP_LAYOUT_PLANES);
    }
    fp_codec_free(codec);
}

/* Few outliers, on whichever side, must not widen a page. */
static void outliers_cost_little(void)
{
    fp_codec *codec = fp_codec_new(NULL);
    fp_encoding packed = {.id = FP_LAYOUT_PACKED, .level = -1};
    CHECK(codec);
    for (int side = 0; side < 3; side++) {
        for (size_t i = 0; i < 1024; i++)
            column[i] = 1000000 + below(256);
        for (size_t i = 0; i < 5; i++)
            column[100 + 200 * i] = side == 0   ? (uint64_t)INT64_MIN + i
                                    : side == 1 ? (uint64_t)INT64_MAX - i
                                                : odd_word();
        CHECK(round_trip(codec, &packed, 1024) <= 1024 + 128 + 5 * 10 + 16);
    }
    fp_codec_free(codec);
}

static void steps_are_divided_out(void)
{
    fp_codec *codec = fp_codec_new(NULL);
    fp_encoding packed = {.id = FP_LAYOUT_PACKED, .level = -1};
    CHECK(codec);
    for (uint64_t step = 1; step < UINT64_MAX / 128; step = 3 * step + below(7)) {
        for (size_t i = 0; i < 1024; i++)
            column[i] = 17 + step * below(64);
        /* What lies just above a power of two may have become an exception before. */
        CHECK(round_trip(codec, &packed, 1024) <= 1024 * 7 / 8 + 32);
    }
    fp_codec_free(codec);
}

/* The host may have set another rounding on the thread that writes or on the one that reads. */
static void rounding_modes_do_not_matter(void)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    const uint8_t ids[] = {DECIMAL(FP_LAYOUT_PACKED), RATIO(FP_LAYOUT_PACKED)};
    CHECK(codec);
    for (size_t i = 0; i < 1024; i++)
        column[i] = bits_of((double)below(1000000) / 1000);
    for (size_t i = 0; i < 2 * 4 * 4; i++) {
        size_t writing = i / 4 % 4, reading = i % 4;
        fp_encoding encoding = {.id = ids[i / 16], .exponent = 3, .level = -1};
        fp_buffer out = {0};
        uint8_t used = 0;
        fesetround(modes[writing]);
        int wrote = fp_words_encode(codec, &encoding, column, 1024, &out, &used, &err);
        fesetround(modes[reading]);
        int read = fp_words_decode(codec, used, out.data, out.size, decoded, 1024, &err);
        int mode = fegetround();
        fesetround(FE_TONEAREST);
        CHECK_OK(wrote, err);
        CHECK_OK(read, err);
        CHECK_INT(mode, modes[reading]);
        CHECK(memcmp(column, decoded, 8 * 1024) == 0);
        CHECK(out.size < 3 * 1024);
        fp_buffer_free(&out);
    }
    fp_codec_free(codec);
}

int main(int argc, char **argv)
{
    take_seed(argc, argv);
    RUN(every_encoding_gives_back_the_same_bits);
    RUN(the_largest_page_comes_back);
    RUN(decimals_of_all_exponents_are_found);
    RUN(every_encoding_has_come_about);
    RUN(typical_columns_get_their_encoding_and_size);
    RUN(without_a_level_zstd_is_not_used);
    RUN(outliers_cost_little);
    RUN(steps_are_divided_out);
    RUN(rounding_modes_do_not_matter);
    return TEST_END();
}
