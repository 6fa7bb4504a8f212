/* Doubles as integers over a power of ten, and back. Called by transforms.c and choose.c. A double
 * counts as decimal only where dividing the integer gives its very bits again, so nothing is ever
 * rounded away; -0.0, NaN, infinities and doubles that use all their digits fail that and are
 * exceptions. */
#include "codec/internal.h"

#include <float.h>

/* With wider intermediate results (x87) the division would be rounded twice, and a page would not
 * read the same on another machine. */
_Static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 1,
               "doubles must be computed as doubles: for 32-bit x86 add -msse2 -mfpmath=sse");

#ifdef __FAST_MATH__
#error "-ffast-math would simplify away the rounding that decimals are checked by"
#endif

static const double powers_of_ten[FP_DECIMAL_MAX_EXPONENT + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};

/* Added to a double below 2^51 either way, it leaves the nearest integer in the lowest bits. */
#define ROUNDER      0x1.8p52
#define ROUNDER_BITS 0x4338000000000000u
#define INTEGER_HALF ((uint64_t)1 << 51)

/* Of all doubles with 15 digits before the point, a quarter are integers by chance; with 14, one
 * in sixty. */
#define SHORT_HALF ((uint64_t)1 << 46)

/* The integer i for which i / scale is exactly this double; false where there is none below 2^51
 * in size. */
static inline bool to_integer(uint64_t word, double scale, uint64_t *integer)
{
    double rounded = fp_double_of(word) * scale + ROUNDER;
    uint64_t difference = fp_word_of(rounded) - ROUNDER_BITS;
    *integer = difference;
    bool in_range = difference + INTEGER_HALF < 2 * INTEGER_HALF;
    return in_range & (fp_word_of((rounded - ROUNDER) / scale) == word);
}

/* The same for a group of words, with one test for all of them: true where each has its integer. */
static bool group_to_integers(uint64_t *integers, const uint64_t *words, size_t n, double scale)
{
    uint64_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        double rounded = fp_double_of(words[i]) * scale + ROUNDER;
        uint64_t difference = fp_word_of(rounded) - ROUNDER_BITS;
        wrong |= (difference + INTEGER_HALF) >> 52; /* out of range */
        wrong |= fp_word_of((rounded - ROUNDER) / scale) ^ words[i];
        integers[i] = difference;
    }
    return wrong == 0;
}

#define GROUP_WORDS 32

void fp_decimal_to_integers(fp_codec *codec, unsigned exponent, const uint64_t *words, size_t n)
{
    const double scale = powers_of_ten[exponent];
    fp_exceptions *exceptions = &codec->outer;
    uint64_t *integers = codec->integers, previous = 0;
    size_t count = 0, leading = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % GROUP_WORDS == 0 && n - i >= GROUP_WORDS &&
            group_to_integers(integers + i, words + i, GROUP_WORDS, scale)) {
            i += GROUP_WORDS - 1;
            previous = integers[i];
            continue;
        }
        uint64_t integer;
        bool decimal = to_integer(words[i], scale, &integer);
        exceptions->positions[count] = (uint16_t)i;
        exceptions->values[count] = words[i];
        count += !decimal;
        previous = decimal ? integer : previous;
        integers[i] = previous;
    }
    exceptions->count = count;
    /* Exceptions before the first decimal had no neighbour to take yet. */
    while (leading < count && exceptions->positions[leading] == leading)
        leading++;
    for (size_t i = 0; leading < n && i < leading; i++)
        integers[i] = integers[leading];
}

void fp_decimal_from_integers(unsigned exponent, uint64_t *words, size_t n)
{
    const double scale = powers_of_ten[exponent];
    for (size_t i = 0; i < n; i++)
        words[i] = fp_word_of((double)(int64_t)words[i] / scale);
}

unsigned fp_decimal_digits(uint64_t word)
{
    uint64_t integer;
    for (unsigned exponent = 0; exponent <= FP_DECIMAL_MAX_EXPONENT; exponent++)
        if (to_integer(word, powers_of_ten[exponent], &integer))
            return integer + SHORT_HALF < 2 * SHORT_HALF ? exponent : FP_DECIMAL_NONE;
    return FP_DECIMAL_NONE;
}
