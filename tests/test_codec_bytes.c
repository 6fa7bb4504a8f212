/* The bytes of column and text pages: they are those the format page describes, bytes that are no
 * page are refused without harm, and memory that runs out is reported. */
#include "test.h"

#include "codec/checksum.h"
#include "codec_columns.h"
#include "tiers.h"

static uint64_t column[FP_PAGE_MAX_WORDS + 1], decoded[FP_PAGE_MAX_WORDS];

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
     "01"
     "9600000000000000"
     "0000"
     "0400",
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
    /* no noise, from 0, constant denominators 3 in 8 bytes; numerators 1, -2, 6: zigzag 2 3 12 */
    {"00000108000000"
     "0000"
     "0300000000000000"
     "040200000000000000"
     "0000"
     "100a",
     RATIO(FP_LAYOUT_PACKED),
     3,
     {0x3fd5555555555555, 0xbfe5555555555555, 0x4000000000000000}},
    /* 2 bits of noise, from 1, exception at 1; raw denominators 3, 1, 4 */
    {"02010218000000"
     "010008"
     "02"
     "000000000000f87f"
     "0300000000000000"
     "0100000000000000"
     "0400000000000000"
     "0900000000000000"
     "0000000000000000"
     "0400000000000000",
     RATIO(FP_LAYOUT_RAW),
     3,
     {0x3ff5555555555554, NAN_WORD, 0x3fe8000000000000}},
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
        uint8_t bytes[96];
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

/* Each breaks one rule of the format page, and no other. */
static const struct golden broken[] = {
    {"0001000000000000000000"
     "00",
     FP_LAYOUT_PACKED,
     2,
     {0}}, /* a byte too many */
    {"4101000000000000000000"
     "000000000000000000",
     FP_LAYOUT_PACKED,
     1,
     {0}}, /* width 65 */
    {"0005000000000000000200010100010002"
     "03",
     FP_LAYOUT_PACKED,
     40,
     {0}},                                                         /* twice the same */
    {"000500000000000000010001280002", FP_LAYOUT_PACKED, 40, {0}}, /* position 40 */
    {"0005000000000000000200010b0002"
     "02",
     FP_LAYOUT_PACKED,
     10,
     {0}}, /* 3 bits, not 2 */
    {"000500000000000000020001010402"
     "02",
     FP_LAYOUT_PACKED,
     10,
     {0}}, /* a bit from n on */
    {"0005000000000000000100090000"
     "020000000000000000",
     FP_LAYOUT_PACKED,
     40,
     {0}}, /* width 9 */
    {"13"
     "0000"
     "0500000000000000",
     DECIMAL(FP_LAYOUT_CONSTANT),
     2,
     {0}}, /* exponent 19 */
    {"0000000000000000"
     "07",
     SPARSE(FP_LAYOUT_RAW),
     3,
     {0}}, /* nothing left */
    {"0000000000000000"
     "0d"
     "0900000000000000",
     SPARSE(FP_LAYOUT_RAW),
     3,
     {0}}, /* bit 3 of 3 */
    {"0300000000000000"
     "0102"
     "03000000000000",
     FP_LAYOUT_PLANES,
     2,
     {0}}, /* a fourth kind */
    {"34300100"
     "ff03"
     "0000"
     "e103",
     FP_LAYOUT_SPLIT,
     2,
     {0}}, /* code 1 of 0 to 0 */
    {"34300101"
     "ff030b10"
     "0000"
     "e103",
     FP_LAYOUT_SPLIT,
     2,
     {0}}, /* entry of 13 bits */
    {"34340001"
     "ff03ff0b"
     "0000",
     FP_LAYOUT_SPLIT,
     2,
     {0}}, /* 2 entries, 0 bits */
    {"2f2f0000"
     "ff03"
     "0000",
     FP_LAYOUT_SPLIT,
     2,
     {0}}, /* split at 47 */
    {"34350100"
     "ff03"
     "0000",
     FP_LAYOUT_SPLIT,
     2,
     {0}}, /* dropped 53 of 52 */
    {"34340000"
     "ff03"
     "010002"
     "0000"
     "0010",
     FP_LAYOUT_SPLIT,
     20,
     {0}}, /* left of 13 bits */
    {"04000108000000"
     "0000"
     "0300000000000000"
     "0200000000000000",
     RATIO(FP_LAYOUT_CONSTANT),
     3,
     {0}}, /* 4 bits of noise */
    {"00020108000000"
     "0000"
     "0300000000000000"
     "0200000000000000",
     RATIO(FP_LAYOUT_CONSTANT),
     3,
     {0}}, /* whole 2 */
    {"00000008000000"
     "0000"
     "0300000000000000"
     "0200000000000000",
     RATIO(FP_LAYOUT_CONSTANT),
     3,
     {0}}, /* layout 0 */
    {"00000109000000"
     "0000"
     "0300000000000000"
     "00"
     "0200000000000000",
     RATIO(FP_LAYOUT_CONSTANT),
     3,
     {0}}, /* a byte behind the denominators */
    {"00000108000000"
     "0000"
     "0000000000000000"
     "0200000000000000",
     RATIO(FP_LAYOUT_CONSTANT),
     3,
     {0}}, /* divided by 0 */
    {"00000108000000"
     "0000"
     "0100000001000000"
     "0200000000000000",
     RATIO(FP_LAYOUT_CONSTANT),
     3,
     {0}}, /* denominator 2^32 + 1 */
    {"00000108000000"
     "0000"
     "0300000000000000"
     "0000000000000100",
     RATIO(FP_LAYOUT_CONSTANT),
     3,
     {0}},                              /* numerator 2^48 */
    {"0807060504030201", 0x41, 3, {0}}, /* transform 4 */
    {"0807060504030201", 0x08, 1, {0}}, /* layout 8 */
};

static void pages_that_break_one_rule_are_refused(void)
{
    fp_codec *codec = fp_codec_new(NULL);
    CHECK(codec);
    for (size_t b = 0; b < sizeof broken / sizeof broken[0]; b++) {
        uint8_t bytes[96];
        uint64_t words[40];
        size_t size = from_hex(broken[b].hex, bytes);
        int code = fp_words_decode(codec, broken[b].id, bytes, size, words, broken[b].n, NULL);
        if (code != FACPOOL_E_CORRUPT)
            printf("  page %zu: %s\n", b, broken[b].hex);
        CHECK_INT(code, FACPOOL_E_CORRUPT);
    }
    fp_codec_free(codec);
}

/* zstd itself reads over frames that follow. */
static void a_second_zstd_frame_is_refused(void)
{
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0};
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    fp_encoding encoding = {.id = FP_LAYOUT_ZSTD, .level = 1};
    fp_buffer out = {0};
    uint8_t used = 0;
    CHECK(codec);
    make_column(KIND_CYCLE, column, 1000);
    CHECK_OK(fp_words_encode(codec, &encoding, column, 1000, &out, &used, &err), err);
    CHECK_INT(used, FP_LAYOUT_ZSTD);
    CHECK_OK(fp_words_decode(codec, used, out.data, out.size, decoded, 1000, &err), err);
    CHECK_INT(fp_buffer_put(&out, skippable, sizeof skippable), 0);
    CHECK_INT(fp_words_decode(codec, used, out.data, out.size, decoded, 1000, &err),
              FACPOOL_E_CORRUPT);
    fp_buffer_free(&out);
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
        for (size_t i = 0; i < 4 * LAYOUTS; i++) {
            size_t n = 2 + below(140);
            fp_buffer out = {0};
            uint8_t used = 0;
            make_column(kind, column, n);
            fp_encoding encoding = {.id = (uint8_t)(layouts[i / 4] | i % 4 << 4),
                                    .level = 1,
                                    .exponent = (uint8_t)below(19),
                                    .ulps = (uint8_t)below(4),
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
    for (size_t round = 0; round < of_tier(5000, 40000, 400000); round++) {
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
    encoding.id = 0x4f;
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

static void texts_beyond_16_kib_are_refused(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codec *codec = fp_codec_new(NULL);
    fp_texts texts = {0};
    fp_buffer out = {0};
    uint8_t page[1 + 2 + 16385] = {0, 0x00, 0x40};
    CHECK(codec);
    CHECK_INT(decode_texts_exactly(codec, page, sizeof page - 1, 1), 0);
    page[1] = 1;
    CHECK_INT(decode_texts_exactly(codec, page, sizeof page, 1), FACPOOL_E_CORRUPT);
    CHECK_INT(fp_texts_add(&texts, (const char *)page, 16385), 0);
    CHECK_INT(fp_texts_encode(codec, &texts, 0, 1, 1, &out, &err), FACPOOL_E_INVALID);
    CHECK_INT(out.size, 0);
    fp_texts_free(&texts);
    fp_buffer_free(&out);
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
    take_seed(argc, argv);
    RUN(checksum_is_xxh3);
    RUN(pages_written_by_hand_are_read);
    RUN(pages_that_break_one_rule_are_refused);
    RUN(a_second_zstd_frame_is_refused);
    RUN(damaged_pages_are_refused_or_read_without_harm);
    RUN(garbage_is_refused_or_read_without_harm);
    RUN(impossible_pages_are_not_written);
    RUN(texts_come_back);
    RUN(damaged_texts_are_refused_or_read_without_harm);
    RUN(texts_beyond_16_kib_are_refused);
    RUN(every_failed_allocation_is_reported);
    return TEST_END();
}
