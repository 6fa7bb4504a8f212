/* Columns of many kinds for the tests of the codecs: typical ones, and those that break rules. All
 * random, from one seed that the test prints. */
#ifndef FP_TEST_CODEC_COLUMNS_H
#define FP_TEST_CODEC_COLUMNS_H

#include "base/error.h"
#include "codec/codec.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECIMAL(layout) (uint8_t)((layout) | FP_TRANSFORM_DECIMAL << 4)
#define SPARSE(layout)  (uint8_t)((layout) | FP_TRANSFORM_SPARSE << 4)
#define RATIO(layout)   (uint8_t)((layout) | FP_TRANSFORM_RATIO << 4)
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
    KIND_TWO_VALUES,
    KIND_FEW_VALUES,
    KIND_DECIMAL,
    KIND_DECIMAL_STEPS,
    KIND_RATIO,
    KIND_RANK,
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
    case KIND_TWO_VALUES:
        return below(5) ? shape : ~shape;
    case KIND_FEW_VALUES:
        return shape * (1 + below(12)) * 0x9e3779b97f4a7c15u;
    case KIND_DECIMAL:
        return below(40) == 0 ? odd_word() : bits_of(((double)below(100000) - 30000) / scale);
    case KIND_DECIMAL_STEPS:
        return below(60) == 0 ? bits_of(-0.0) : bits_of((double)(i / 7) / scale);
    case KIND_RATIO:
        return below(40) == 0 ? odd_word()
                              : bits_of(((double)below(100000) - 30000) /
                                        (double)(1 + below(1 + shape % 4000000)));
    case KIND_RANK:
        return bits_of((double)(1 + below(100 + shape % 5000)) / (double)(100 + shape % 5000)) +
               below(1 + shape % 3);
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

static const uint8_t layouts[] = {FP_LAYOUT_CONSTANT, FP_LAYOUT_RAW,  FP_LAYOUT_PACKED,
                                  FP_LAYOUT_DELTA,    FP_LAYOUT_ZSTD, FP_LAYOUT_PLANES,
                                  FP_LAYOUT_SPLIT};
#define LAYOUTS sizeof layouts

/* The seed: the first argument, or always the same. */
static inline void take_seed(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240102;
    printf("seed %llu\n", (unsigned long long)random_state);
}

#endif
