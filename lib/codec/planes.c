/* The planes layout: the first bytes of all words, then the second ones, and so on, each run of n
 * bytes kept in the way that suits it. Called by page.c. A plane that looks random costs no call
 * of zstd when written, and only a copy when read.
 *
 * PLANES, for n words:
 *   u8 x 8  how plane 0 to 7 is kept (plane p holds bits 8p to 8p + 7 of the words):
 *           0 constant, 1 raw, 2 zstd
 *   u16     compressed bytes of each zstd plane, in order of planes; none for others
 *   the planes in order: 1 byte (constant), n bytes (raw), or one zstd frame whose header states
 *           content size n */
#include "codec/internal.h"

enum { PLANE_CONSTANT = 0, PLANE_RAW = 1, PLANE_ZSTD = 2 };

#define PLANES 8

/* Swaps the bits of `b` that `mask` selects with those of `a` that lie `shift` higher. */
#define EXCHANGE(a, b, shift, mask)                                                                \
    do {                                                                                           \
        uint64_t moved = ((a) >> (shift) ^ (b)) & (mask);                                          \
        (b) ^= moved;                                                                              \
        (a) ^= moved << (shift);                                                                   \
    } while (0)

/* An 8 x 8 matrix of bytes, a row a word, mirrored. Its own inverse. */
static inline void transpose(uint64_t rows[8])
{
    for (int i = 0; i < 4; i++)
        EXCHANGE(rows[i], rows[i + 4], 32, 0x00000000ffffffffu);
    for (int i = 0; i < 8; i += 4)
        for (int j = i; j < i + 2; j++)
            EXCHANGE(rows[j], rows[j + 2], 16, 0x0000ffff0000ffffu);
    for (int i = 0; i < 8; i += 2)
        EXCHANGE(rows[i], rows[i + 1], 8, 0x00ff00ff00ff00ffu);
}

static void split_planes(uint8_t *planes, const uint64_t *words, size_t n)
{
    size_t whole = n & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t rows[8];
        memcpy(rows, words + i, sizeof rows);
        transpose(rows);
        for (size_t p = 0; p < PLANES; p++)
            fp_word_store(planes + p * n + i, rows[p]);
    }
    for (size_t i = whole; i < n; i++)
        for (size_t p = 0; p < PLANES; p++)
            planes[p * n + i] = (uint8_t)(words[i] >> 8 * p);
}

static void join_planes(uint64_t *words, const uint8_t *const planes[PLANES], size_t n)
{
    size_t whole = n & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t rows[8];
        for (size_t p = 0; p < PLANES; p++)
            rows[p] = fp_word_load(planes[p] + i);
        transpose(rows);
        memcpy(words + i, rows, sizeof rows);
    }
    for (size_t i = whole; i < n; i++) {
        words[i] = 0;
        for (size_t p = 0; p < PLANES; p++)
            words[i] |= (uint64_t)planes[p][i] << 8 * p;
    }
}

/* counts[b]: how often byte b occurs. */
static void count_bytes(uint32_t counts[256], const uint8_t *plane, size_t n)
{
    uint32_t rows[4][256] = {{0}};
    for (size_t i = 0; i < n; i++)
        rows[i & 3][plane[i]]++;
    for (size_t byte = 0; byte < 256; byte++)
        counts[byte] = rows[0][byte] + rows[1][byte] + rows[2][byte] + rows[3][byte];
}

/* Whether an entropy coder might save the 3 % that pay. The chance that two bytes of the plane are
 * the same gives the entropy of second order, which Shannon's never falls below: nothing worth
 * while is missed, and no logarithm is needed. 1.15 is 2 ^ (8 * 2.5 %). */
static bool is_worth_compressing(const uint32_t counts[256], size_t n)
{
    uint64_t squares = 0;
    for (size_t byte = 0; byte < 256; byte++)
        squares += (uint64_t)counts[byte] * counts[byte];
    /* n of the pairs are a byte with itself. */
    return (squares - n) * 256 > (uint64_t)n * n + (uint64_t)n * n * 15 / 100;
}

/* count * log2(count) in 1/256 bits, by a chord between powers of two. */
static uint64_t weighted_logarithm(uint64_t count)
{
    unsigned whole = fp_bit_length(count) - 1;
    return count * (256 * (uint64_t)whole + ((count << 8 >> whole) - 256));
}

/* Bytes an entropy coder would make of the plane. */
static size_t entropy_bytes(const uint32_t counts[256], size_t n)
{
    uint64_t spent = 0, all = weighted_logarithm(n);
    for (size_t byte = 0; byte < 256; byte++)
        if (counts[byte] > 1)
            spent += weighted_logarithm(counts[byte]);
    return (size_t)((all > spent ? all - spent : 0) / (8 * 256));
}

/* What a zstd frame takes beyond the entropy of its content: headers and a code table. */
#define FRAME_BYTES 24

size_t fp_planes_least(fp_codec *codec, const uint64_t *words, size_t n)
{
    size_t bytes = PLANES;
    split_planes(codec->planes, words, n);
    for (size_t p = 0; p < PLANES; p++) {
        uint32_t counts[256];
        const uint8_t *plane = codec->planes + p * n;
        count_bytes(counts, plane, n);
        if (counts[plane[0]] == n)
            bytes += 1;
        else if (is_worth_compressing(counts, n))
            bytes += entropy_bytes(counts, n) + FRAME_BYTES;
        else
            bytes += n;
    }
    return bytes;
}

static bool is_constant(const uint8_t *plane, size_t n)
{
    return memcmp(plane, plane + 1, n - 1) == 0;
}

/* Appends one plane at `out`, which has room for n bytes. */
static int encode_plane(fp_codec *codec, int level, const uint8_t *plane, size_t n, uint8_t *out,
                        uint8_t *kept, size_t *size, facpool_error *err)
{
    if (is_constant(plane, n)) {
        *out = *plane;
        *kept = PLANE_CONSTANT;
        *size = 1;
        return 0;
    }
    size_t compressed = 0;
    uint32_t counts[256];
    count_bytes(counts, plane, n);
    if (level >= 0 && n >= 32 && is_worth_compressing(counts, n)) {
        size_t limit = n - n / 32;
        limit = limit > UINT16_MAX ? UINT16_MAX : limit;
        int code = fp_compress(codec, level, plane, n, out, limit, &compressed, err);
        if (code)
            return code;
    }
    *kept = compressed ? PLANE_ZSTD : PLANE_RAW;
    *size = compressed ? compressed : n;
    if (!compressed)
        memcpy(out, plane, n);
    return 0;
}

int fp_planes_encode(fp_codec *codec, int level, const uint64_t *words, size_t n, uint8_t *out,
                     size_t limit, size_t *size, facpool_error *err)
{
    uint8_t kept[PLANES];
    size_t sizes[PLANES], header = PLANES, at = 3 * PLANES;
    split_planes(codec->planes, words, n);
    *size = 0;
    /* Planes go behind the largest header there can be, and move up once it is known. */
    for (size_t p = 0; p < PLANES; p++) {
        if (at + n > limit)
            return 0;
        int code = encode_plane(codec, level, codec->planes + p * n, n, out + at, &kept[p],
                                &sizes[p], err);
        if (code)
            return code;
        at += sizes[p];
    }
    memcpy(out, kept, PLANES);
    for (size_t p = 0; p < PLANES; p++) {
        if (kept[p] != PLANE_ZSTD)
            continue;
        fp_half_store(out + header, (uint16_t)sizes[p]);
        header += 2;
    }
    size_t body = at - 3 * PLANES;
    memmove(out + header, out + 3 * PLANES, body);
    *size = header + body;
    return 0;
}

static int decode_plane(fp_codec *codec, fp_bytes *in, unsigned kept, size_t size, uint8_t *room,
                        const uint8_t **plane, size_t n, facpool_error *err)
{
    const uint8_t *bytes = fp_bytes_take(in, size);
    if (!bytes)
        return fp_corrupt(err, "planes end early");
    *plane = kept == PLANE_RAW ? bytes : room;
    if (kept == PLANE_CONSTANT)
        memset(room, *bytes, n);
    return kept == PLANE_ZSTD ? fp_decompress(codec, bytes, size, room, n, err) : 0;
}

int fp_planes_decode(fp_codec *codec, fp_bytes *in, uint64_t *words, size_t n, facpool_error *err)
{
    const uint8_t *kept = fp_bytes_take(in, PLANES), *planes[PLANES];
    size_t sizes[PLANES];
    if (!kept)
        return fp_corrupt(err, "planes end early");
    for (size_t p = 0; p < PLANES; p++) {
        if (kept[p] > PLANE_ZSTD)
            return fp_corrupt(err, "unknown kind of plane");
        sizes[p] = kept[p] == PLANE_CONSTANT ? 1 : n;
        if (kept[p] != PLANE_ZSTD)
            continue;
        const uint8_t *size = fp_bytes_take(in, 2);
        if (!size)
            return fp_corrupt(err, "planes end early");
        sizes[p] = fp_half_load(size);
    }
    for (size_t p = 0; p < PLANES; p++) {
        int code =
            decode_plane(codec, in, kept[p], sizes[p], codec->planes + p * n, &planes[p], n, err);
        if (code)
            return code;
    }
    join_planes(words, planes, n);
    return 0;
}
