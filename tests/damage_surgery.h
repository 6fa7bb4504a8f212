/* Doing harm to a file in memory: bytes and whole blocks removed, doubled, moved, overwritten by
 * zeros, noise, bytes from elsewhere and from other files, alone and several at once. What was done
 * is kept as a text, for who has to repeat it. It knows nothing of formats but where blocks lie. */
#ifndef FP_DAMAGE_SURGERY_H
#define FP_DAMAGE_SURGERY_H

#include "damage_parts.h"

#include <stdarg.h>

/* A file under the knife, which began as one of `owner`'s. */
typedef struct patient {
    const parts *owner;
    uint8_t *bytes;
    size_t n;
    size_t capacity;
    char story[2048];
} patient;

static inline void admit(patient *x, const parts *owner)
{
    x->owner = owner;
    x->n = owner->size;
    if (x->capacity < owner->size) {
        x->capacity = owner->size * 8;
        x->bytes = realloc(x->bytes, x->capacity);
        CHECK(x->bytes);
    }
    memcpy(x->bytes, owner->bytes, owner->size);
    x->story[0] = '\0';
}

__attribute__((format(printf, 2, 3))) static inline void tell(patient *x, const char *words, ...)
{
    size_t used = strlen(x->story);
    va_list args;
    va_start(args, words);
    vsnprintf(x->story + used, sizeof x->story - used, words, args);
    va_end(args);
}

/* ------------------------------------------------------------------ cuts and stitches */

static inline void remove_bytes(patient *x, size_t at, size_t n)
{
    at = at < x->n ? at : x->n;
    n = n < x->n - at ? n : x->n - at;
    memmove(x->bytes + at, x->bytes + at + n, x->n - at - n);
    x->n -= n;
    tell(x, "; %zu bytes removed at %zu", n, at);
}

/* `from` must not lie in the patient. */
static inline void insert_bytes(patient *x, size_t at, const uint8_t *from, size_t n)
{
    at = at < x->n ? at : x->n;
    n = n < x->capacity - x->n ? n : x->capacity - x->n;
    memmove(x->bytes + at + n, x->bytes + at, x->n - at);
    memcpy(x->bytes + at, from, n);
    x->n += n;
    tell(x, "; %zu bytes inserted at %zu", n, at);
}

static inline void overwrite_bytes(patient *x, size_t at, const uint8_t *from, size_t n)
{
    at = at < x->n ? at : x->n;
    n = n < x->n - at ? n : x->n - at;
    memmove(x->bytes + at, from, n);
    tell(x, "; %zu bytes overwritten at %zu", n, at);
}

static inline void fill_bytes(patient *x, size_t at, size_t n, int with)
{
    at = at < x->n ? at : x->n;
    n = n < x->n - at ? n : x->n - at;
    memset(x->bytes + at, with, n);
    tell(x, "; %zu bytes at %zu made %d", n, at, with);
}

/* ------------------------------------------------------------------ whole stretches */

static inline size_t stretch_bytes(const stretch *s)
{
    return s->end - s->begin;
}

static inline void remove_stretch(patient *x, size_t i)
{
    const stretch *s = &x->owner->at[i];
    tell(x, "; stretch %zu", i);
    remove_bytes(x, s->begin, stretch_bytes(s));
}

/* A copy of a donor's stretch before one of the owner's, or at the end (i == n_stretches). */
static inline void graft_stretch(patient *x, size_t i, const parts *donor, size_t j)
{
    const stretch *s = &donor->at[j];
    size_t at = i < x->owner->n_stretches ? x->owner->at[i].begin : x->n;
    tell(x, "; stretch %zu of world %d", j, (int)donor->world);
    insert_bytes(x, at, donor->bytes + s->begin, stretch_bytes(s));
}

/* A donor's stretch in the place of one of the owner's: over it, or instead of it. */
static inline void replace_stretch(patient *x, size_t i, const parts *donor, size_t j, bool over)
{
    const stretch *old = &x->owner->at[i], *s = &donor->at[j];
    tell(x, "; stretch %zu of world %d for %zu", j, (int)donor->world, i);
    if (over) {
        overwrite_bytes(x, old->begin, donor->bytes + s->begin, stretch_bytes(s));
        return;
    }
    remove_bytes(x, old->begin, stretch_bytes(old));
    insert_bytes(x, old->begin, donor->bytes + s->begin, stretch_bytes(s));
}

/* i < j: each where the other was, those between pushed along where they are not of a size. */
static inline void swap_stretches(patient *x, size_t i, size_t j)
{
    replace_stretch(x, j, x->owner, i, false);
    replace_stretch(x, i, x->owner, j, false);
}

static inline void move_stretch(patient *x, size_t i, size_t to)
{
    if (to > i) { /* the later place first: it is where it was */
        graft_stretch(x, to, x->owner, i);
        remove_stretch(x, i);
    } else {
        remove_stretch(x, i);
        graft_stretch(x, to, x->owner, i);
    }
}

/* ------------------------------------------------------------------ accidents */

/* Places where things break: anywhere, where disks do, where blocks do. */
static inline size_t place_in(random_numbers *dice, const parts *of, size_t n)
{
    size_t at = random_below(dice, (uint32_t)n + 1);
    switch (random_below(dice, 4)) {
    case 0:
        return at - at % 64;
    case 1:
        return at - at % 512;
    case 2:
        return of->at[random_below(dice, (uint32_t)of->n_stretches)].begin;
    default:
        return at;
    }
}

static inline size_t length_of_damage(random_numbers *dice)
{
    static const uint32_t most[] = {8, 64, 512, 4096};
    size_t n = 1 + random_below(dice, most[random_below(dice, 4)]);
    return random_chance(dice, 30) ? (n + 63) / 64 * 64 : n;
}

static inline size_t any_stretch(random_numbers *dice, const parts *of)
{
    return random_below(dice, (uint32_t)of->n_stretches);
}

/* Bytes of the donor, from anywhere in it. */
static inline void transplant(patient *x, const parts *donor, random_numbers *dice)
{
    size_t from = place_in(dice, donor, donor->size - 1);
    size_t n = length_of_damage(dice), at = place_in(dice, x->owner, x->n);
    n = n < donor->size - from ? n : donor->size - from;
    if (random_chance(dice, 50))
        insert_bytes(x, at, donor->bytes + from, n);
    else
        overwrite_bytes(x, at, donor->bytes + from, n);
}

static inline void make_noise(patient *x, random_numbers *dice)
{
    uint8_t noise[4096];
    size_t n = length_of_damage(dice);
    for (size_t i = 0; i < n; i++)
        noise[i] = (uint8_t)random_bits(dice);
    overwrite_bytes(x, place_in(dice, x->owner, x->n), noise, n);
}

static inline void flip_some_bits(patient *x, random_numbers *dice)
{
    for (size_t i = 1 + random_below(dice, 8); x->n && i > 0; i--) {
        size_t bit = random_below(dice, (uint32_t)x->n * 8);
        x->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        tell(x, "; bit %zu", bit);
    }
}

/* A stretch of the file once more, right behind itself. */
static inline void stutter(patient *x, random_numbers *dice)
{
    uint8_t copy[4096];
    size_t at = place_in(dice, x->owner, x->n), n = length_of_damage(dice);
    at = at < x->n ? at : x->n;
    n = n < x->n - at ? n : x->n - at;
    memcpy(copy, x->bytes + at, n);
    insert_bytes(x, at + n, copy, n);
}

/* Two sectors change places. */
static inline void swap_sectors(patient *x, random_numbers *dice)
{
    uint8_t first[4096], second[4096];
    size_t n = random_chance(dice, 50) ? 512 : 4096;
    size_t sectors = x->n / n;
    if (sectors < 2)
        return;
    size_t i = random_below(dice, (uint32_t)sectors) * n,
           j = random_below(dice, (uint32_t)sectors) * n;
    memcpy(first, x->bytes + i, n);
    memcpy(second, x->bytes + j, n);
    overwrite_bytes(x, i, second, n);
    overwrite_bytes(x, j, first, n);
}

/* One accident of any kind. */
static inline void have_accident(patient *x, const parts *donor, random_numbers *dice)
{
    const parts *owner = x->owner;
    size_t i = any_stretch(dice, owner), j = any_stretch(dice, owner);
    size_t k = any_stretch(dice, donor);
    switch (random_below(dice, 16)) {
    case 0:
        transplant(x, owner, dice);
        break;
    case 1:
        transplant(x, donor, dice);
        break;
    case 2:
        remove_bytes(x, place_in(dice, owner, x->n), length_of_damage(dice));
        break;
    case 3:
        fill_bytes(x, place_in(dice, owner, x->n), length_of_damage(dice), 0);
        break;
    case 4:
        make_noise(x, dice);
        break;
    case 5:
        stutter(x, dice);
        break;
    case 6:
        flip_some_bits(x, dice);
        break;
    case 7:
        swap_sectors(x, dice);
        break;
    case 8:
        remove_stretch(x, i);
        break;
    case 9:
        graft_stretch(x, i, owner, j);
        break;
    case 10:
        graft_stretch(x, i, donor, k);
        break;
    case 11:
        replace_stretch(x, i, donor, i < donor->n_stretches ? i : k, random_chance(dice, 50));
        break;
    case 12:
        replace_stretch(x, i, owner, j, random_chance(dice, 50));
        break;
    case 13:
        move_stretch(x, i, j);
        break;
    case 14:
        insert_bytes(x, x->n, donor->bytes, donor->size);
        break;
    default:
        remove_bytes(x, place_in(dice, owner, x->n), x->n);
    }
}

#endif
