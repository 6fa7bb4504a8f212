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

enum {
    PLANE_CONSTANT = 0,
    PLANE_RAW = 1,
    PLANE_ZSTD = 2
};

#define PLANES 8

/* Swaps the bits of `b` that `mask` selects with those of `a` that lie `shift` higher. */
#define EXCHANGE(a, b, shift, mask)                                                            \
    do {                                                                                       \
        uint64_t moved = ((a) >> (shift) ^ (b)) & (mask);                                      \
        (b) ^= moved;                                                                          \
        (a) ^= moved << (shift);                                                               \
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

/* How often two bytes drawn at random are the same one, times n * n. It is n * n / 256 + n for
 * random bytes, n * n for a constant. */
static uint64_t count_collisions(const uint8_t *plane, size_t n)
{
    uint32_t counts[4][256] = {{0}};
    uint64_t collisions = 0;
    for (size_t i = 0; i < n; i++)
        counts[i & 3][plane[i]]++;
    for (size_t byte = 0; byte < 256; byte++) {
        uint64_t count = (uint64_t)counts[0][byte] + counts[1][byte] + counts[2][byte] +
                         counts[3][byte];
        collisions += count * count;
    }
    return collisions;
}

/* Whether an entropy coder might save the 3 % that pay. Collisions give the entropy of second
 * order, which Shannon's never falls below: nothing worth while is missed. What random bytes give
 * on their own, n, is taken off first. 1.15 is 2 ^ (8 * 2.5 %). */
static bool is_worth_compressing(uint64_t collisions, size_t n)
{
    uint64_t excess = collisions - n;
    return excess * 256 > (uint64_t)n * n + (uint64_t)n * n * 15 / 100;
}

/* log2 of n * n / collisions, in 1/16 bits and rounded down. */
static uint64_t entropy_sixteenths(uint64_t collisions, size_t n)
{
    uint64_t ratio = 256 * (uint64_t)n * (uint64_t)n / collisions; /* 2^8 to 2^24 */
    unsigned whole = fp_bit_length(ratio) - 1;
    uint64_t fraction = (ratio << 4 >> whole) - 16; /* a chord: below the logarithm */
    return 16 * (uint64_t)(whole - 8) + fraction;
}

size_t fp_planes_least(fp_codec *codec, const uint64_t *words, size_t n)
{
    split_planes(codec->planes, words, n);
    uint64_t bits = 0;
    for (size_t p = 0; p < PLANES; p++) {
        uint64_t collisions = count_collisions(codec->planes + p * n, n);
        uint64_t entropy = entropy_sixteenths(collisions, n);
        bits += is_worth_compressing(collisions, n) ? entropy : 128;
    }
    return (size_t)(bits * n / 128);
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
    if (level >= 0 && n >= 32 && is_worth_compressing(count_collisions(plane, n), n)) {
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
        int code = decode_plane(codec, in, kept[p], sizes[p], codec->planes + p * n, &planes[p], n,
                                err);
        if (code)
            return code;
    }
    join_planes(words, planes, n);
    return 0;
}
