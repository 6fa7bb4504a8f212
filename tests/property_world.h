/* The world of a property case: its keys, and what every task does, all as pure functions of a
 * seed. Factors, codes and messages depend on the epoch (the step of the case) too, so that a row
 * tells which run made it: a row made again where an old one should stand is seen. Used by
 * test_property.c alone; calls nothing of the library. */
#ifndef FP_PROPERTY_WORLD_H
#define FP_PROPERTY_WORLD_H

#include "scratch.h"

#include <facpool/facpool.h>

#define WORLD_FACTORS_MAX 40
#define WORLD_TEXT_MAX    24576
#define MESSAGE_KEPT      16384 /* bytes of a message */

/* What is known of a key's row. `low` and `high` bound its timestamp. */
typedef struct key_state {
    uint8_t status; /* 0: no row */
    bool speaks;    /* has a message */
    uint32_t epoch;
    int32_t code;
    int64_t low;
    int64_t high;
} key_state;

typedef struct world {
    uint64_t seed;
    size_t n_dates;
    size_t n_codes;
    size_t n_keys; /* key = date's place * n_codes + code's place: in key order */
    int64_t *dates;
    char (*codes)[256];
    size_t n_factors;
    uint8_t factor_kinds[WORLD_FACTORS_MAX];
    char names[WORLD_FACTORS_MAX][64];
    const char *name_list[WORLD_FACTORS_MAX];
    bool default_names;
    const char *tag;
    uint32_t skip_percent;
    uint32_t fail_percent;
    uint32_t flaky_percent;
    uint32_t speak_percent;
    uint32_t epoch;
    key_state *state; /* of each key, in the backup */
    bool any_nan;     /* a NaN may come back as another one */
} world;

/* What a task does in an epoch: skips, or is ok from its needs-th attempt on. */
typedef struct fate {
    bool skips;
    uint32_t needs;
    bool speaks;
    int32_t code;
} fate;

static inline uint64_t hash_of(const world *w, size_t key, uint32_t epoch, uint64_t what)
{
    return mix_bits(mix_bits(w->seed ^ mix_bits(what)) + mix_bits((uint64_t)key << 20 | epoch));
}

static inline int64_t key_date(const world *w, size_t key)
{
    return w->dates[key / w->n_codes];
}

static inline const char *key_code(const world *w, size_t key)
{
    return w->codes[key % w->n_codes];
}

/* ------------------------------------------------------------------ factors */

static inline uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The bits of a factor: of some kinds of columns that encoders treat each in its own way. */
static inline uint64_t factor_bits(const world *w, size_t key, uint32_t epoch, size_t factor)
{
    static const uint64_t special[] = {
        UINT64_C(0x7ff8000000000000), UINT64_C(0xfff8000000000001), UINT64_C(0x7ff0000000000001),
        UINT64_C(0x7fffffffffffffff), UINT64_C(0xffffffffffffffff), UINT64_C(0x8000000000000000),
        UINT64_C(0x0000000000000000), UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000),
        UINT64_C(0x0000000000000001), UINT64_C(0x800fffffffffffff), UINT64_C(0x0010000000000000),
        UINT64_C(0x7fefffffffffffff), UINT64_C(0x3ff0000000000000), UINT64_C(0xc1dfffffffc00000),
        UINT64_C(0x43e0000000000000)};
    uint64_t h = hash_of(w, key, epoch, 100 + factor);
    switch (w->factor_kinds[factor]) {
    case 0:
        return h;
    case 1:
        return bits_of((double)(h % 4000000) / 100 - 1000);
    case 2:
        return bits_of((double)(h % 5000));
    case 3:
        return bits_of(1.5 + (double)factor);
    case 4:
        return special[h % 16];
    case 5:
        return bits_of(((double)(h >> 11) / 9007199254740992.0 - 0.5) * 6);
    case 6:
        return h % 10 ? special[0] : bits_of((double)(h % 1000) / 1000);
    default:
        return bits_of((double)(h % 3) - 1);
    }
}

static inline bool is_nan_bits(uint64_t bits)
{
    return (bits & UINT64_C(0x7fffffffffffffff)) > UINT64_C(0x7ff0000000000000);
}

/* Whether a value is the key's factor of that epoch. */
static inline bool is_factor(const world *w, size_t key, uint32_t epoch, size_t factor,
                             double value)
{
    uint64_t bits = bits_of(value), expected = factor_bits(w, key, epoch, factor);
    return bits == expected || (w->any_nan && is_nan_bits(bits) && is_nan_bits(expected));
}

static inline void fill_factors(const world *w, size_t key, uint32_t epoch, double *factors)
{
    for (size_t f = 0; f < w->n_factors; f++) {
        uint64_t bits = factor_bits(w, key, epoch, f);
        memcpy(&factors[f], &bits, sizeof bits);
    }
}

static inline bool factors_are_nan(const double *factors, size_t n)
{
    for (size_t f = 0; f < n; f++)
        if (factors[f] == factors[f])
            return false;
    return true;
}

/* ------------------------------------------------------------------ fates and messages */

static inline int32_t code_of(const world *w, size_t key, uint32_t epoch)
{
    int32_t code = (int32_t)(uint32_t)hash_of(w, key, epoch, 1);
    return code == 0 || code == FACPOOL_SKIP ? 7 : code;
}

static inline fate fate_of(const world *w, size_t key, uint32_t epoch)
{
    uint32_t roll = (uint32_t)(hash_of(w, key, epoch, 2) % 100);
    fate f = {.needs = 1};
    f.speaks = hash_of(w, key, epoch, 3) % 100 < w->speak_percent;
    f.code = code_of(w, key, epoch);
    if (roll < w->skip_percent)
        f.skips = true;
    else if (roll < w->skip_percent + w->fail_percent)
        f.needs = UINT32_MAX;
    else if (roll < w->skip_percent + w->fail_percent + w->flaky_percent)
        f.needs = 2 + (uint32_t)(hash_of(w, key, epoch, 4) % 2);
    return f;
}

/* The whole message of a failure: short, or so long that it is cut, at a character of 1 to 4
 * bytes. Returns its length. */
static inline size_t message_text(const world *w, size_t key, uint32_t epoch, char *out)
{
    static const char *const characters[] = {
        "a", "Z", " ", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9d\x84\x9e", "'", "\n"};
    random_numbers r = {hash_of(w, key, epoch, 5)};
    uint32_t size = random_below(&r, 60);
    size_t wanted = size < 40   ? 1 + random_below(&r, 30)
                    : size < 57 ? random_below(&r, 3000)
                    : size < 58 ? MESSAGE_KEPT - 8 + random_below(&r, 16)
                    : size < 59 ? MESSAGE_KEPT
                                : random_below(&r, 20000);
    size_t length = 0;
    while (length < wanted) {
        const char *character = characters[random_below(&r, 8)];
        size_t n = strlen(character);
        memcpy(out + length, character, n);
        length += n;
    }
    out[length] = '\0';
    return length;
}

/* What is kept of it: at most 16 KiB, whole characters. */
static inline void message_kept(const world *w, size_t key, const key_state *state, char *out)
{
    out[0] = '\0';
    if (!state->speaks)
        return;
    size_t length = message_text(w, key, state->epoch, out);
    if (length > MESSAGE_KEPT) {
        length = MESSAGE_KEPT;
        while (((unsigned char)out[length] & 0xc0) == 0x80)
            length--;
        out[length] = '\0';
    }
}

/* ------------------------------------------------------------------ making a world */

static inline int compare_dates(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static inline int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b); /* compares as unsigned bytes */
}

static inline int64_t make_date(random_numbers *r, uint32_t kind)
{
    static const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1,  INT64_MAX, INT64_MAX - 1, 0, -1,
                                       1,         INT64_MAX >> 1, 20240229};
    switch (kind) {
    case 0:
        return 20200101 + random_between(r, 0, 9) * 10000 + random_between(r, 0, 11) * 100 +
               random_between(r, 0, 27);
    case 1:
        return (int64_t)random_bits(r);
    case 2:
        return random_chance(r, 50) ? extremes[random_below(r, 9)] : (int64_t)random_below(r, 9);
    default:
        return (int64_t)random_below(r, 4000) - 2000;
    }
}

static inline void make_code(random_numbers *r, uint32_t kind, char *out)
{
    static const char *const pieces[] = {"0",        "1",        "9",
                                         "A",        "z",        ".",
                                         "-",        "_",        " ",
                                         "\xc2\x80", "\xc3\xa9", "\xe4\xb8\xad",
                                         ",",        "\"",       "\xf0\x9f\x98\x80",
                                         "\x01"};
    if (kind == 0) {
        snprintf(out, 256, "%06u", random_below(r, 1000000));
        return;
    }
    size_t wanted = random_chance(r, 10)   ? 255
                    : random_chance(r, 30) ? 1
                                           : 1 + random_below(r, kind == 1 ? 12 : 255);
    size_t length = 0;
    while (length < wanted) {
        const char *piece = pieces[random_below(r, 16)];
        size_t n = strlen(piece);
        if (length + n > 255)
            piece = "x", n = 1;
        memcpy(out + length, piece, n);
        length += n;
    }
    out[length] = '\0';
}

static inline void make_axes(world *w, random_numbers *r)
{
    uint32_t date_kind = random_below(r, 4), code_kind = random_below(r, 3);
    w->dates = malloc(w->n_dates * sizeof *w->dates);
    w->codes = calloc(w->n_codes, sizeof *w->codes);
    for (size_t i = 0; i < w->n_dates; i++)
        w->dates[i] = make_date(r, date_kind);
    qsort(w->dates, w->n_dates, sizeof *w->dates, compare_dates);
    size_t kept = 0;
    for (size_t i = 0; i < w->n_dates; i++)
        if (i == 0 || w->dates[i] != w->dates[kept - 1])
            w->dates[kept++] = w->dates[i];
    w->n_dates = kept;
    for (size_t i = 0; i < w->n_codes; i++)
        make_code(r, code_kind, w->codes[i]);
    qsort(w->codes, w->n_codes, sizeof *w->codes, compare_texts);
    kept = 0;
    for (size_t i = 0; i < w->n_codes; i++)
        if (i == 0 || strcmp(w->codes[i], w->codes[kept - 1]) != 0)
            memmove(w->codes[kept++], w->codes[i], sizeof *w->codes);
    w->n_codes = kept;
}

static inline void make_factors(world *w, random_numbers *r)
{
    static const uint8_t telling[] = {0, 1, 5}; /* kinds that tell epochs apart */
    w->n_factors =
        random_chance(r, 70) ? random_between(r, 1, 4) : random_between(r, 1, WORLD_FACTORS_MAX);
    w->default_names = random_chance(r, 50);
    for (size_t f = 0; f < w->n_factors; f++) {
        w->factor_kinds[f] = f ? (uint8_t)random_below(r, 8) : telling[random_below(r, 3)];
        if (w->default_names)
            snprintf(w->names[f], sizeof w->names[f], "f%zu", f);
        else
            snprintf(w->names[f], sizeof w->names[f], "%s%zu",
                     f % 3 ? "\xe5\x9b\xa0\xe5\xad\x90" : "ma ", f * 7 + 5);
        w->name_list[f] = w->names[f];
    }
}

/* Mostly some dozens of keys, sometimes enough for several pages, rarely for several blocks. */
static inline void world_init(world *w, uint64_t seed)
{
    random_numbers r = {seed};
    *w = (world){.seed = seed};
    uint32_t size = random_below(&r, 1000);
    uint32_t most_dates = size < 700 ? 10 : size < 985 ? 45 : 300;
    uint32_t most_codes = size < 700 ? 10 : size < 985 ? 45 : 300;
    w->n_dates = random_between(&r, 1, most_dates);
    w->n_codes = random_between(&r, 1, most_codes);
    make_axes(w, &r);
    w->n_keys = w->n_dates * w->n_codes;
    make_factors(w, &r);
    w->tag = random_chance(&r, 30) ? "v1 \xe7\x89\x88" : NULL;
    w->skip_percent = random_chance(&r, 50) ? random_below(&r, 40) : 0;
    w->fail_percent = random_chance(&r, 60) ? random_below(&r, 40) : 0;
    w->flaky_percent = random_chance(&r, 40) ? random_below(&r, 20) : 0;
    if (random_chance(&r, 3))
        w->fail_percent = 100 - w->skip_percent;
    w->speak_percent = random_chance(&r, 70) ? 80 : random_chance(&r, 50) ? 100 : 0;
    w->state = calloc(w->n_keys, sizeof *w->state);
}

static inline void world_free(world *w)
{
    free(w->dates);
    free(w->codes);
    free(w->state);
    *w = (world){0};
}

static inline bool has_rows(const world *w)
{
    for (size_t key = 0; key < w->n_keys; key++)
        if (w->state[key].status)
            return true;
    return false;
}

/* The key of a stored (date, code); SIZE_MAX where there is none. */
static inline size_t key_find(const world *w, int64_t date, const char *code)
{
    const int64_t *d = bsearch(&date, w->dates, w->n_dates, sizeof date, compare_dates);
    const char(*c)[256] = bsearch(code, w->codes, w->n_codes, sizeof *w->codes, compare_texts);
    if (!d || !c)
        return SIZE_MAX;
    return (size_t)(d - w->dates) * w->n_codes + (size_t)(c - (const char(*)[256])w->codes);
}

#endif
