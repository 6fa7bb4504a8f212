/* What happens to files that nobody means harm: bits flip, stretches become zeros or rubbish, the
 * end is lost, a sector lands at a wrong place. Used by the mutators on files that real writers
 * wrote, which stay honest that way: no such thing makes a checksum right. */
#ifndef FP_FUZZ_DAMAGE_H
#define FP_FUZZ_DAMAGE_H

#include "fuzz.h"
#include "scratch.h"

/* The new size. */
static inline size_t damage(uint8_t *bytes, size_t size, random_numbers *numbers)
{
    if (size == 0)
        return 0;
    size_t at = random_below(numbers, (uint32_t)size);
    size_t n = random_between(numbers, 1, random_chance(numbers, 70) ? 64 : 4096);
    if (n > size - at)
        n = size - at;
    switch (random_below(numbers, 6)) {
    case 0:
    case 1:
        bytes[at] ^= (uint8_t)(1u << random_below(numbers, 8));
        return size;
    case 2:
        memset(bytes + at, 0, n);
        return size;
    case 3:
        for (size_t i = 0; i < n; i++)
            bytes[at + i] = (uint8_t)random_bits(numbers);
        return size;
    case 4:
        memmove(bytes + at, bytes + random_below(numbers, (uint32_t)(size - n + 1)), n);
        return size;
    default:
        return at;
    }
}

/* A mutator's choice: an honest file is damaged some of the time and stays honest; true: it was. */
static inline bool damage_honest(uint8_t *bytes, size_t *size, random_numbers *numbers)
{
    if (fuzz_is_forged(bytes, *size) || !random_chance(numbers, 25))
        return false;
    for (uint32_t times = random_between(numbers, 1, 3); times > 0; times--)
        *size = damage(bytes, *size, numbers);
    return true;
}

/* A mutator's begin. False: there is nothing more to change. Else the file is of *size bytes
 * without its mark, and may become *most. */
static inline bool begin_forging(uint8_t *bytes, size_t *size, size_t *most,
                                 random_numbers *numbers)
{
    if (*most < 2 * FORGED_MARK_BYTES || damage_honest(bytes, size, numbers))
        return false;
    if (fuzz_is_forged(bytes, *size))
        *size -= FORGED_MARK_BYTES;
    *most -= FORGED_MARK_BYTES;
    if (*size > *most)
        *size = *most;
    return true;
}

/* Puts `n` other bytes in the place of `length`; what is behind them moves. False: no room. */
static inline bool splice_bytes(uint8_t *bytes, size_t *size, size_t most, size_t at, size_t length,
                                const void *others, size_t n)
{
    if (*size - length + n > most)
        return false;
    memmove(bytes + at + n, bytes + at + length, *size - at - length);
    if (n)
        memcpy(bytes + at, others, n);
    *size = *size - length + n;
    return true;
}

/* A mutator's end: the mark is put on again. */
static inline size_t with_mark(uint8_t *bytes, size_t size)
{
    memcpy(bytes + size, FORGED_MARK, FORGED_MARK_BYTES);
    return size + FORGED_MARK_BYTES;
}

#endif
