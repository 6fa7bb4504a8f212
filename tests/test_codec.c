/* Column and text pages: every encoding gives back the very same bits whatever the column, the
 * chosen one is small, the bytes are those the format page describes, and bytes that are no page
 * are refused without harm. */
#include "test.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/checksum.h"
#include "codec/codec.h"

#include <fenv.h>
#include <math.h>
#include <stdbool.h>

#define DECIMAL(layout) (uint8_t)((layout) | FP_TRANSFORM_DECIMAL << 4)
#define SPARSE(layout)  (uint8_t)((layout) | FP_TRANSFORM_SPARSE << 4)
#define NAN_WORD        0x7ff8000000000000u

static uint64_t random_state;

static uint64_t random_word(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t n)
{
    return random_word() % n;
}

static double random_normal(void)
{
    double unit = ((double)(random_word() >> 11) + 0.5) * 0x1p-53;
    return sqrt(-2 * log(unit)) * cos(6.283185307179586 * (double)(random_word() >> 11) * 0x1p-53);
}

static uint64_t bits_of(double value)
{
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static double power_of_ten(unsigned exponent)
{
    double power = 1;
    while (exponent-- > 0)
        power *= 10;
    return power;
}

/* ---------------------------------------------------------------- columns of many kinds */

static const uint64_t odd_words[] = {0,
                                     1,
                                     UINT64_MAX,
                                     (uint64_t)INT64_MAX,
                                     (uint64_t)INT64_MIN,
                                     0x8000000000000001u, /* a negative subnormal */
                                     0x000fffffffffffffu,
                                     0x0010000000000000u,
                                     0x7fefffffffffffffu,
                                     0x7ff0000000000000u, /* infinity */
                                     0xfff0000000000000u,
                                     NAN_WORD,
                                     0xfff8000000000000u,
                                     0x7ff0000000000001u, /* a signalling NaN */
                                     0x7ff8dead0000beefu,
                                     0x4340000000000000u, /* 2^53 */
                                     0x4330000000000001u};

static uint64_t odd_word(void)
{
    return odd_words[below(sizeof odd_words / sizeof odd_words[0])];
}

enum kind {
    KIND_ANY_BITS,
    KIND_ODD,
    KIND_CONSTANT,
    KIND_SEQUENCE,
    KIND_WRAPPING,
    KIND_CYCLE,
    KIND_JITTER,
    KIND_STEPPED,
    KIND_OUTLIERS,
    KIND_NORMAL,
    KIND_FLOATS,
    KIND_GAPS,
    KIND_MOSTLY_ZERO,
    KIND_FEW_VALUES,
    KIND_DECIMAL,
    KIND_DECIMAL_STEPS,
    KIND_COUNT
};

/* One word of a column of that kind; `shape` is drawn once a column. */
static uint64_t word_of(enum kind kind, uint64_t shape, size_t i)
{
    double scale = power_of_ten((unsigned)(shape % 19));
    switch (kind) {
    case KIND_ODD:
        return odd_word();
    case KIND_CONSTANT:
        return shape;
    case KIND_SEQUENCE:
        return shape + i * (shape % 1000);
    case KIND_WRAPPING:
        return (uint64_t)INT64_MAX - 500 + i + (i > 700 ? (uint64_t)INT64_MAX : 0);
    case KIND_CYCLE:
        return i % (1 + shape % 5000);
    case KIND_JITTER:
        return shape + 1000 * i + below(64);
    case KIND_STEPPED:
        return shape + (1 + shape % 10000) * below(300);
    case KIND_OUTLIERS:
        return below(50) == 0 ? odd_word() : shape + below(1 + shape % 4096);
    case KIND_NORMAL:
        return bits_of(random_normal());
    case KIND_FLOATS:
        return bits_of((double)(float)random_normal());
    case KIND_GAPS:
        return below(3) == 0 ? NAN_WORD : bits_of(random_normal());
    case KIND_MOSTLY_ZERO:
        return below(10) ? 0 : bits_of(random_normal());
    case KIND_FEW_VALUES:
        return shape * (1 + below(12)) * 0x9e3779b97f4a7c15u;
    case KIND_DECIMAL:
        return below(40) == 0 ? odd_word() : bits_of(((double)below(100000) - 30000) / scale);
    case KIND_DECIMAL_STEPS:
        return below(60) == 0 ? bits_of(-0.0) : bits_of((double)(i / 7) / scale);
    default:
        return random_word();
    }
}

static void make_column(enum kind kind, uint64_t *words, size_t n)
{
    uint64_t shape = random_word();
    for (size_t i = 0; i < n; i++)
        words[i] = word_of(kind, shape, i);
}

/* ---------------------------------------------------------------- there and back */

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
    seen[used] = true;
    free(page);
    fp_buffer_free(&out);
    return size;
}

static const uint8_t layouts[] = {FP_LAYOUT_CONSTANT, FP_LAYOUT_RAW,  FP_LAYOUT_PACKED,
                                  FP_LAYOUT_DELTA,    FP_LAYOUT_ZSTD, FP_LAYOUT_PLANES,
                                  FP_LAYOUT_SPLIT};
#define LAYOUTS sizeof layouts

static void in_every_encoding(fp_codec *codec, size_t n)
{
    for (size_t i = 0; i < LAYOUTS; i++)
        for (unsigned transform = FP_TRANSFORM_NONE; transform <= FP_TRANSFORM_SPARSE;
             transform++) {
            fp_encoding encoding = {.id = (uint8_t)(layouts[i] | transform << 4),
                                    .level = (int8_t)(below(4) == 0 ? -1 : (int)below(3) + 1),
                                    .exponent = (uint8_t)below(19),
                                    .low_bits = (uint8_t)(below(2) ? 0 : 48 + below(16)),
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
    uint8_t ids[3 * LAYOUTS];
    size_t n = 0;
    for (size_t i = 0; i < LAYOUTS; i++) {
        ids[n++] = layouts[i];
        ids[n++] = SPARSE(layouts[i]);
        /* Raw integers are never smaller than raw doubles. */
        if (layouts[i] != FP_LAYOUT_RAW)
            ids[n++] = DECIMAL(layouts[i]);
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
    for (uint64_t step = 1; step < UINT64_MAX / 64; step = 3 * step + below(7)) {
        for (size_t i = 0; i < 1024; i++)
            column[i] = 17 + step * below(64);
        CHECK(round_trip(codec, &packed, 1024) <= 1024 * 6 / 8 + 32);
    }
    fp_codec_free(codec);
}

/* The host may have set another rounding on the thread that writes or on the one that reads. */
static void rounding_modes_do_not_matter(void)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    fp_encoding encoding = {.id = DECIMAL(FP_LAYOUT_PACKED), .exponent = 3, .level = -1};
    CHECK(codec);
    for (size_t i = 0; i < 1024; i++)
        column[i] = bits_of((double)below(1000000) / 1000);
    for (size_t writing = 0; writing < 4; writing++)
        for (size_t reading = 0; reading < 4; reading++) {
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

/* ---------------------------------------------------------------- bytes by the format page */

struct golden {
    const char *hex;
    uint8_t id;
    size_t n;
    uint64_t words[10];
};

/* Written by hand from the format page, not by the encoder. */
static const struct golden goldens[] = {
    {"0807060504030201",
     FP_LAYOUT_CONSTANT,
     3,
     {0x0102030405060708, 0x0102030405060708, 0x0102030405060708}},
    {"01000000000000000200000000000000", FP_LAYOUT_RAW, 2, {1, 2}},
    /* width 3, base 10, no exceptions, offsets 1 2 7: 001 + 010 << 3 + 111 << 6 */
    {"030a000000000000000000d101", FP_LAYOUT_PACKED, 3, {11, 12, 17}},
    /* the same with step 100 and one exception, of 10 words: 20 words would list it, 10 use 2 bytes
     * of bitmap for 1 exception: listed. Position 1, value zigzag(-3) = 5 */
    {"810a0000000000000064000000000000000100010100050102",
     FP_LAYOUT_PACKED,
     10,
     {110, 7, 10, 10, 10, 10, 10, 10, 10, 110}},
    /* 2 exceptions of 10 words: a bitmap, positions 0 and 9; width 0: both are zigzag(1) = 2 */
    {"0005000000000000000200000102"
     "0200000000000000",
     FP_LAYOUT_PACKED,
     10,
     {6, 5, 5, 5, 5, 5, 5, 5, 5, 6}},
    /* first 100, differences: width 0, base -1 */
    {"640000000000000000ffffffffffffffff0000", FP_LAYOUT_DELTA, 4, {100, 99, 98, 97}},
    {"0700000000000000", FP_LAYOUT_DELTA, 1, {7}},
    /* exponent 2; exception at 1: NaN in 8 bytes; integers 150, anything, 151 */
    {"02010008"
     "0100"
     "000000000000f87f"
     "01960000000000000000"
     "0006",
     DECIMAL(FP_LAYOUT_PACKED),
     10,
     {0x3ff8000000000000, NAN_WORD, 0x3ff828f5c28f5c29, 0x3ff8000000000000, 0x3ff8000000000000,
      0x3ff8000000000000, 0x3ff8000000000000, 0x3ff8000000000000, 0x3ff8000000000000,
      0x3ff8000000000000}},
    /* common word 0; bits 0 and 2; the others raw */
    {"0000000000000000"
     "05"
     "0900000000000000",
     SPARSE(FP_LAYOUT_RAW),
     3,
     {0, 9, 0}},
    /* planes: low one raw, the others constant */
    {"0100000000000000"
     "0102"
     "03000000000000",
     FP_LAYOUT_PLANES,
     2,
     {0x0301, 0x0302}},
    /* split at 52, 48 bits dropped, 1 code bit, entries 3ff and bff; values 5 bits: 0|1 and 1|f */
    {"34300101"
     "ff03ff0b"
     "0000"
     "e103",
     FP_LAYOUT_SPLIT,
     2,
     {0x3ff1000000000000, 0xbfff000000000000}},
};

static size_t from_hex(const char *hex, uint8_t *bytes)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return n;
}

static void pages_written_by_hand_are_read(void)
{
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (size_t g = 0; g < sizeof goldens / sizeof goldens[0]; g++) {
        facpool_error err = FACPOOL_ERROR_INIT;
        uint8_t bytes[64];
        uint64_t words[10] = {0};
        size_t size = from_hex(goldens[g].hex, bytes);
        int code = fp_words_decode(codec, goldens[g].id, bytes, size, words, goldens[g].n, &err);
        if (code || memcmp(words, goldens[g].words, 8 * goldens[g].n) != 0)
            printf("  page %zu: %s\n", g, goldens[g].hex);
        CHECK_OK(code, err);
        CHECK(memcmp(words, goldens[g].words, 8 * goldens[g].n) == 0);
    }
    fp_codec_free(codec);
}

static void checksum_is_xxh3(void)
{
    CHECK(fp_checksum("", 0) == 0x2d06800538d394c2u);
    CHECK(fp_checksum("a", 1) != fp_checksum("b", 1));
}

/* ---------------------------------------------------------------- bytes that are no page */

/* Decodes from memory of exactly that size, so that a sanitizer sees a read past it. */
static int decode_exactly(fp_codec *codec, uint8_t id, const uint8_t *bytes, size_t size, size_t n)
{
    uint8_t *page = malloc(size ? size : 1);
    uint64_t *words = malloc(8 * n);
    CHECK(page && words);
    if (size)
        memcpy(page, bytes, size);
    int code = fp_words_decode(codec, id, page + (size ? 0 : 1), size, words, n, NULL);
    free(page);
    free(words);
    return code;
}

static void spoil(fp_codec *codec, uint8_t id, uint8_t *bytes, size_t size, size_t n)
{
    for (size_t cut = 0; cut < size; cut++)
        CHECK_INT(decode_exactly(codec, id, bytes, cut, n), FACPOOL_E_CORRUPT);
    bytes[size] = 0;
    CHECK_INT(decode_exactly(codec, id, bytes, size + 1, n), FACPOOL_E_CORRUPT);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int code = decode_exactly(codec, id, bytes, size, n);
        CHECK(code == 0 || code == FACPOOL_E_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (int i = 0; i < 8; i++) {
        int code = decode_exactly(codec, (uint8_t)random_word(), bytes, size, n);
        CHECK(code == 0 || code == FACPOOL_E_CORRUPT);
        code = decode_exactly(codec, id, bytes, size, 1 + below(2 * n));
        CHECK(code == 0 || code == FACPOOL_E_CORRUPT);
    }
}

static void damaged_pages_are_refused_or_read_without_harm(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        for (size_t i = 0; i < 3 * LAYOUTS; i++) {
            size_t n = 2 + below(140);
            fp_buffer out = {0};
            uint8_t used = 0;
            make_column(kind, column, n);
            fp_encoding encoding = {.id = (uint8_t)(layouts[i / 3] | i % 3 << 4),
                                    .level = 1,
                                    .exponent = (uint8_t)below(19),
                                    .common = column[0]};
            CHECK_OK(fp_words_encode(codec, &encoding, column, n, &out, &used, &err), err);
            CHECK(fp_buffer_reserve(&out, 1));
            spoil(codec, used, out.data, out.size, n);
            fp_buffer_free(&out);
        }
    fp_codec_free(codec);
}

static void garbage_is_refused_or_read_without_harm(void)
{
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (size_t round = 0; round < 40000; round++) {
        uint8_t bytes[96];
        size_t size = below(sizeof bytes);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(below(3) ? below(4) : below(256));
        uint8_t id = (uint8_t)(layouts[below(LAYOUTS)] | below(3) << 4);
        int code = decode_exactly(codec, id, bytes, size, 1 + below(40));
        CHECK(code == 0 || code == FACPOOL_E_CORRUPT);
    }
    CHECK_INT(decode_exactly(codec, FP_LAYOUT_RAW, (const uint8_t *)"", 0, 0), FACPOOL_E_CORRUPT);
    fp_codec_free(codec);
}

static void impossible_pages_are_not_written(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    fp_buffer out = {0};
    uint8_t used = 77;
    fp_encoding encoding = {.id = FP_LAYOUT_RAW};
    CHECK(codec);
    CHECK_INT(fp_words_encode(codec, &encoding, column, 0, &out, &used, &err), FACPOOL_E_INVALID);
    CHECK_INT(fp_words_encode(codec, &encoding, column, 65537, &out, &used, &err),
              FACPOOL_E_INVALID);
    encoding.id = 0x3f;
    column[0] = column[1] + 1;
    CHECK_INT(fp_words_encode(codec, &encoding, column, 2, &out, &used, &err), FACPOOL_E_INVALID);
    CHECK(out.size == 0 && used == 77);
    fp_buffer_free(&out);
    fp_codec_free(codec);
}

/* ---------------------------------------------------------------- texts */

static void make_texts(fp_texts *texts, size_t n, unsigned kind)
{
    for (size_t i = 0; i < n; i++) {
        char text[1025];
        size_t length = kind == 0 ? 6 : below(kind == 1 ? 20 : 1025);
        for (size_t j = 0; j < length; j++)
            text[j] = (char)(kind == 2 ? random_word() : '0' + below(10));
        CHECK_INT(fp_texts_add(texts, text, length), 0);
    }
}

static void check_texts(const fp_texts *got, const fp_texts *texts, size_t i0, size_t n)
{
    CHECK_INT(got->n, n);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(fp_texts_length(got, i), fp_texts_length(texts, i0 + i));
        CHECK(memcmp(fp_texts_at(got, i), fp_texts_at(texts, i0 + i),
                     fp_texts_length(got, i) + 1) == 0);
    }
}

static void texts_come_back(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (unsigned round = 0; round < 60; round++) {
        fp_texts texts = {0}, got = {0};
        fp_buffer out = {0};
        size_t n = round == 0 ? 0 : 1 + below(300), i0 = n ? below(n) : 0;
        make_texts(&texts, n, round % 3);
        CHECK_OK(fp_texts_encode(codec, &texts, i0, n - i0, round % 2 ? -1 : 1, &out, &err), err);
        CHECK_OK(fp_texts_decode(codec, out.data, out.size, n - i0, &got, &err), err);
        check_texts(&got, &texts, i0, n - i0);
        fp_texts_free(&texts);
        fp_texts_free(&got);
        fp_buffer_free(&out);
    }
    fp_codec_free(codec);
}

static int decode_texts_exactly(fp_codec *codec, const uint8_t *bytes, size_t size, size_t n)
{
    fp_texts got = {0};
    uint8_t *page = malloc(size ? size : 1);
    CHECK(page);
    CHECK_INT(fp_texts_add(&got, "before", 6), 0);
    if (size)
        memcpy(page, bytes, size);
    int code = fp_texts_decode(codec, page + (size ? 0 : 1), size, n, &got, NULL);
    CHECK(code == 0 ? got.n == 1 + n : got.n == 1);
    CHECK_TEXT(fp_texts_at(&got, 0), "before");
    fp_texts_free(&got);
    free(page);
    return code;
}

static void damaged_texts_are_refused_or_read_without_harm(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (int level = -1; level < 2; level += 2) {
        fp_texts texts = {0};
        fp_buffer out = {0};
        make_texts(&texts, 80, 0);
        CHECK_OK(fp_texts_encode(codec, &texts, 0, 80, level, &out, &err), err);
        for (size_t cut = 0; cut < out.size; cut++)
            CHECK_INT(decode_texts_exactly(codec, out.data, cut, 80), FACPOOL_E_CORRUPT);
        for (size_t bit = 0; bit < 8 * out.size; bit++) {
            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            int code = decode_texts_exactly(codec, out.data, out.size, 80);
            CHECK(code == 0 || code == FACPOOL_E_CORRUPT);
            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        CHECK_INT(decode_texts_exactly(codec, out.data, out.size, 79), FACPOOL_E_CORRUPT);
        CHECK_INT(decode_texts_exactly(codec, out.data, out.size, SIZE_MAX), FACPOOL_E_CORRUPT);
        fp_texts_free(&texts);
        fp_buffer_free(&out);
    }
    fp_codec_free(codec);
}

/* ---------------------------------------------------------------- memory that runs out */

struct meter {
    size_t allowed; /* allocations before one fails */
};

static void *meter_alloc(void *ctx, size_t bytes)
{
    struct meter *meter = ctx;
    return meter->allowed-- > 0 ? malloc(bytes) : (meter->allowed = 0, NULL);
}

static void *meter_realloc(void *ctx, void *memory, size_t bytes)
{
    struct meter *meter = ctx;
    return meter->allowed-- > 0 ? realloc(memory, bytes) : (meter->allowed = 0, NULL);
}

static void meter_free(void *ctx, void *memory)
{
    (void)ctx;
    free(memory);
}

/* Everything once; the first error ends it. */
static int use_everything(const facpool_allocator *allocator, fp_texts *got)
{
    fp_buffer out = {.allocator = allocator};
    fp_texts texts = {0};
    fp_encoding chosen;
    uint8_t used = 0;
    fp_codec *codec = fp_codec_new(allocator);
    int code = codec ? 0 : FACPOOL_E_NOMEM;
    make_texts(&texts, 50, 1);
    if (!code)
        code = fp_words_choose(codec, column, 1024, true, 1, &chosen, NULL);
    if (!code)
        code = fp_words_encode(codec, &chosen, column, 1024, &out, &used, NULL);
    if (!code)
        code = fp_words_decode(codec, used, out.data, out.size, decoded, 1024, NULL);
    out.size = 0;
    if (!code)
        code = fp_texts_encode(codec, &texts, 0, 50, 1, &out, NULL);
    if (!code)
        code = fp_texts_decode(codec, out.data, out.size, 50, got, NULL);
    fp_texts_free(&texts);
    fp_buffer_free(&out);
    fp_codec_free(codec);
    return code;
}

static void every_failed_allocation_is_reported(void)
{
    int code = FACPOOL_E_NOMEM;
    size_t allowed = 0;
    make_column(KIND_NORMAL, column, 1024);
    for (; code == FACPOOL_E_NOMEM && allowed < 1000; allowed++) {
        struct meter meter = {allowed};
        facpool_allocator allocator = FACPOOL_ALLOCATOR_INIT;
        allocator.alloc = meter_alloc;
        allocator.realloc = meter_realloc;
        allocator.free = meter_free;
        allocator.ctx = &meter;
        fp_texts got = {.allocator = &allocator};
        code = use_everything(&allocator, &got);
        CHECK_INT(got.n, code ? 0 : 50);
        fp_texts_free(&got);
    }
    CHECK_INT(code, 0);
    CHECK(allowed > 5);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240102;
    printf("seed %llu\n", (unsigned long long)random_state);
    RUN(checksum_is_xxh3);
    RUN(pages_written_by_hand_are_read);
    RUN(every_encoding_gives_back_the_same_bits);
    RUN(the_largest_page_comes_back);
    RUN(decimals_of_all_exponents_are_found);
    RUN(every_encoding_has_come_about);
    RUN(typical_columns_get_their_encoding_and_size);
    RUN(without_a_level_zstd_is_not_used);
    RUN(outliers_cost_little);
    RUN(steps_are_divided_out);
    RUN(rounding_modes_do_not_matter);
    RUN(damaged_pages_are_refused_or_read_without_harm);
    RUN(garbage_is_refused_or_read_without_harm);
    RUN(impossible_pages_are_not_written);
    RUN(texts_come_back);
    RUN(damaged_texts_are_refused_or_read_without_harm);
    RUN(every_failed_allocation_is_reported);
    return TEST_END();
}
