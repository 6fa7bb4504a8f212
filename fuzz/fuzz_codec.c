/* Fuzz target: pages of columns and of texts (codec/codec.h) from bytes that may be anything,
 * without the checksums that stand before them in a file. What is decoded must be the same when
 * only a part of it is asked for, and must come back bit for bit from every encoding that there is.
 *
 * Input: which (0: texts), encoding byte, u16 number of words, where a part begins and ends (two
 * bytes), then the page. */
#include "codec/codec.h"

#include "codec/bits.h"
#include "fuzz.h"

#define HEAD_BYTES 6
#define MOST_WORDS 2100 /* two pages of a file and some: what is decoded stays quick */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static fp_codec *codec;
static uint64_t words[MOST_WORDS], again[MOST_WORDS];

static void free_codec(void)
{
    fp_codec_free(codec);
}

static void make_codec(void)
{
    if (codec)
        return;
    codec = fp_codec_new(NULL);
    EXPECT(codec != NULL);
    atexit(free_codec);
}

/* ------------------------------------------------------------------ words */

static void decode_part(const uint8_t *head, uint8_t encoding, const uint8_t *page, size_t size,
                        size_t n)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    size_t first = head[4] * n / 256;
    size_t end = first + 1 + head[5] * (n - first - 1) / 255;
    EXPECT(fp_words_decode_part(codec, encoding, page, size, again, n, first, end, &err) == 0);
    EXPECT(memcmp(again + first, words + first, (end - first) * sizeof *words) == 0);
}

static void encode_with(const fp_encoding *encoding, size_t n)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_buffer out = {0};
    uint8_t used;
    EXPECT(fp_words_encode(codec, encoding, words, n, &out, &used, &err) == 0);
    EXPECT(out.size <= 8 * n || n == 0);
    EXPECT(fp_words_decode(codec, used, out.data, out.size, again, n, &err) == 0);
    EXPECT(memcmp(again, words, n * sizeof *words) == 0);
    fp_buffer_free(&out);
}

/* The encoding it came in, one that another byte of the input names, and the chosen one. */
static void encode_again(const uint8_t *head, uint8_t encoding, size_t n)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_encoding chosen;
    uint8_t other = (uint8_t)(1 + head[4] % 7 + (head[5] % 4 << 4));
    uint8_t ids[] = {encoding, other};
    for (size_t i = 0; i < 2; i++) {
        fp_encoding wanted = {.id = ids[i],
                              .exponent = head[5] % 19,
                              .level = head[4] % 2 ? 1 : -1,
                              .low_bits = (uint8_t)(48 + head[4] % 16),
                              .ulps = head[5] % 4,
                              .common = words[head[4] % n]};
        encode_with(&wanted, n);
    }
    EXPECT(fp_words_choose(codec, words, n, head[5] % 2, 1, &chosen, &err) == 0);
    encode_with(&chosen, n);
}

static void read_words(const uint8_t *head, const uint8_t *page, size_t size)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    size_t n = 1 + (head[2] | (size_t)head[3] << 8) % MOST_WORDS;
    int rc = fp_words_decode(codec, head[1], page, size, words, n, &err);
    EXPECT(rc == 0 || rc == FACPOOL_E_CORRUPT);
    if (rc)
        return;
    decode_part(head, head[1], page, size, n);
    encode_again(head, head[1], n);
}

/* ------------------------------------------------------------------ texts */

static void expect_same_texts(const fp_texts *a, const fp_texts *b)
{
    EXPECT(a->n == b->n);
    for (size_t i = 0; i < a->n; i++)
        EXPECT(fp_texts_length(a, i) == fp_texts_length(b, i) &&
               memcmp(fp_texts_at(a, i), fp_texts_at(b, i), fp_texts_length(a, i) + 1) == 0);
}

static void read_texts(const uint8_t *head, const uint8_t *page, size_t size)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    size_t n = (head[2] | (size_t)head[3] << 8) % MOST_WORDS;
    fp_texts texts = {0}, back = {0};
    fp_buffer out = {0};
    int rc = fp_texts_decode(codec, page, size, n, &texts, &err);
    EXPECT(rc == 0 || rc == FACPOOL_E_CORRUPT);
    if (!rc) {
        EXPECT(texts.n == n);
        EXPECT(fp_texts_encode(codec, &texts, 0, n, head[4] % 2 ? 1 : -1, &out, &err) == 0);
        EXPECT(fp_texts_decode(codec, out.data, out.size, n, &back, &err) == 0);
        expect_same_texts(&texts, &back);
    }
    fp_texts_free(&texts);
    fp_texts_free(&back);
    fp_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    make_codec();
    if (size < HEAD_BYTES)
        return 0;
    if (bytes[0] == 0)
        read_texts(bytes, bytes + HEAD_BYTES, size - HEAD_BYTES);
    else
        read_words(bytes, bytes + HEAD_BYTES, size - HEAD_BYTES);
    return 0;
}
