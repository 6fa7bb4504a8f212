/* Shortest decimal text of doubles: see json_number.h. The algorithm is Raffaello Giulietti's
 * Schubfach ("The Schubfach way to render doubles"): a double and the ends of the interval that
 * rounds to it are scaled by a power of ten, each by one multiplication of 64 by 128 bits, which
 * leaves at most four candidates. Called by the writer of JSON rows; it keeps no state. */
#include "codec/json_number.h"

#include <stdbool.h>
#include <string.h>

/* ------------------------------------------------------------------ powers of ten */

/* Enough words for 10^324, and for 2^LIMBS*64 / 10^292 to have 128 bits left. */
#define LIMBS 18

/* An unsigned integer, lowest word first. */
typedef struct big {
    uint64_t word[LIMBS];
} big;

static void multiply_by_ten(big *b)
{
    uint64_t carry = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        uint64_t low = (b->word[i] & UINT32_MAX) * 10 + carry;
        uint64_t high = (b->word[i] >> 32) * 10 + (low >> 32);
        b->word[i] = high << 32 | (low & UINT32_MAX);
        carry = high >> 32;
    }
}

/* Two steps of 32 bits a word: a division of 64 bits each, which every machine has. */
static void divide_by_ten(big *b)
{
    uint64_t rest = 0;
    for (size_t i = LIMBS; i-- > 0;) {
        uint64_t high = rest << 32 | b->word[i] >> 32;
        rest = high % 10;
        uint64_t low = rest << 32 | (b->word[i] & UINT32_MAX);
        rest = low % 10;
        b->word[i] = high / 10 << 32 | low / 10;
    }
}

/* The 64 bits whose highest is bit number `top`; bits below the integer are zero. */
static uint64_t bits_from(const big *b, int top)
{
    uint64_t bits = 0;
    int low = top - 63;
    for (int i = 0; i < LIMBS; i++) {
        int shift = i * 64 - low;
        if (shift >= 0 && shift < 64)
            bits |= b->word[i] << shift;
        else if (shift < 0 && shift > -64)
            bits |= b->word[i] >> -shift;
    }
    return bits;
}

static int highest_bit(const big *b)
{
    int i = LIMBS - 1;
    while (b->word[i] == 0)
        i--;
    return i * 64 + 63 - __builtin_clzll(b->word[i]);
}

/* Whether there is a bit below number `end`. */
static bool has_bits_below(const big *b, int end)
{
    for (int i = 0; i < LIMBS && i * 64 < end; i++) {
        int n = end - i * 64;
        uint64_t mask = n < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX;
        if (b->word[i] & mask)
            return true;
    }
    return false;
}

/* The first 128 bits, rounded up where something follows. */
static fp_decimal_power round_up(const big *b, bool more_follows)
{
    int top = highest_bit(b);
    fp_decimal_power power = {bits_from(b, top), bits_from(b, top - 64)};
    if (more_follows || has_bits_below(b, top - 127))
        power.high += ++power.low == 0;
    return power;
}

void fp_decimal_powers_init(fp_decimal_powers *powers)
{
    big b = {{1}};
    for (int k = 0; k <= FP_POWER_MAX; k++) {
        powers->of[k - FP_POWER_MIN] = round_up(&b, false);
        multiply_by_ten(&b);
    }
    /* 2^N / 10^n, each the one before divided by ten: rounding down many times is rounding down
     * once. What was lost is never nothing. */
    memset(&b, 0xff, sizeof b);
    for (int k = -1; k >= FP_POWER_MIN; k--) {
        divide_by_ten(&b);
        powers->of[k - FP_POWER_MIN] = round_up(&b, true);
    }
}

/* ------------------------------------------------------------------ shortest decimal */

/* digits * 10^exponent */
typedef struct decimal {
    uint64_t digits;
    int exponent;
} decimal;

/* Exact for the exponents of doubles: floor(e * log10(2)), floor(log10(2^e * 3/4)),
 * floor(e * log2(10)). */
static int floor_log10_of_power_of_two(int e)
{
    return (e * 1262611) >> 22;
}

static int floor_log10_of_three_quarters(int e)
{
    return (e * 1262611 - 524031) >> 22;
}

static int floor_log2_of_power_of_ten(int e)
{
    return (e * 1741647) >> 19;
}

/* a * b, as two words. */
#ifdef __SIZEOF_INT128__
static inline uint64_t multiply(uint64_t a, uint64_t b, uint64_t *high)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    *high = (uint64_t)(product >> 64);
    return (uint64_t)product;
}
#else
static inline uint64_t multiply(uint64_t a, uint64_t b, uint64_t *high)
{
    uint64_t a_low = a & UINT32_MAX, a_high = a >> 32, b_low = b & UINT32_MAX, b_high = b >> 32;
    uint64_t low = a_low * b_low;
    uint64_t middle = a_high * b_low + (low >> 32);
    uint64_t other = a_low * b_high + (middle & UINT32_MAX);
    *high = a_high * b_high + (middle >> 32) + (other >> 32);
    return other << 32 | (low & UINT32_MAX);
}
#endif

/* power * factor / 2^128, its lowest bit telling whether it is inexact ("round to odd"). */
static uint64_t scale(fp_decimal_power power, uint64_t factor)
{
    uint64_t carry, high;
    multiply(power.low, factor, &carry);
    uint64_t low = multiply(power.high, factor, &high) + carry;
    high += low < carry;
    return high | (low > 1);
}

/* The interval of what rounds to a double, times four, scaled to 10^exponent. */
typedef struct interval {
    uint64_t lower;
    uint64_t value;
    uint64_t upper;
} interval;

static bool is_inside(const interval *i, uint64_t quadrupled)
{
    return i->lower <= quadrupled && quadrupled <= i->upper;
}

/* One of the two neighbours below and above, the nearer one where both are inside or neither is. */
static decimal choose(const interval *i, int exponent)
{
    uint64_t below = i->value / 4;
    if (below >= 10) {
        uint64_t tens = below / 10; /* one digit less */
        bool down = is_inside(i, 40 * tens), up = is_inside(i, 40 * tens + 40);
        if (down != up)
            return (decimal){tens + up, exponent + 1};
    }
    bool down = is_inside(i, 4 * below), up = is_inside(i, 4 * below + 4);
    if (down != up)
        return (decimal){below + up, exponent};
    uint64_t middle = 4 * below + 2;
    up = i->value > middle || (i->value == middle && below % 2 == 1);
    return (decimal){below + up, exponent};
}

/* Of significand * 2^exponent. At a power of two the interval below is half as wide. */
static decimal shortest(uint64_t significand, int exponent, bool is_uneven,
                        const fp_decimal_powers *powers)
{
    int k =
        is_uneven ? floor_log10_of_three_quarters(exponent) : floor_log10_of_power_of_two(exponent);
    int shift = exponent + floor_log2_of_power_of_ten(-k) + 1;
    fp_decimal_power power = powers->of[-k - FP_POWER_MIN];
    uint64_t value = 4 * significand;
    interval i = {.lower = scale(power, (value - (is_uneven ? 1 : 2)) << shift),
                  .value = scale(power, value << shift),
                  .upper = scale(power, (value + 2) << shift)};
    uint64_t ends_are_outside = significand % 2; /* ties go to the even neighbour */
    i.lower += ends_are_outside;
    i.upper -= ends_are_outside;
    return choose(&i, k);
}

/* Inlined for each divisor, so that compilers make a multiplication of the division. */
static inline decimal without_zeros_of(decimal d, uint64_t divisor, int zeros)
{
    while (d.digits % divisor == 0) {
        d.digits /= divisor;
        d.exponent += zeros;
    }
    return d;
}

static decimal without_zeros(decimal d)
{
    d = without_zeros_of(d, 100000000, 8);
    d = without_zeros_of(d, 10000, 4);
    d = without_zeros_of(d, 100, 2);
    return without_zeros_of(d, 10, 1);
}

#define SIGNIFICAND_BITS 52
#define HIDDEN_BIT       ((uint64_t)1 << SIGNIFICAND_BITS)
#define EXPONENT_BIAS    (1023 + SIGNIFICAND_BITS)

/* Integers below 2^53 are their own digits. */
static bool is_small_integer(uint64_t significand, int exponent)
{
    return exponent <= 0 && exponent > -SIGNIFICAND_BITS - 1 &&
           (significand & (((uint64_t)1 << -exponent) - 1)) == 0;
}

static decimal decimal_of(uint64_t bits, const fp_decimal_powers *powers)
{
    uint64_t significand = bits & (HIDDEN_BIT - 1);
    int biased = (int)(bits >> SIGNIFICAND_BITS & 0x7ff);
    int exponent = (biased ? biased : 1) - EXPONENT_BIAS;
    bool is_uneven = biased > 1 && significand == 0;
    if (biased)
        significand |= HIDDEN_BIT;
    if (is_small_integer(significand, exponent))
        return without_zeros((decimal){significand >> -exponent, 0});
    return without_zeros(shortest(significand, exponent, is_uneven, powers));
}

/* ------------------------------------------------------------------ text */

static const char digit_pairs[] = "00010203040506070809"
                                  "10111213141516171819"
                                  "20212223242526272829"
                                  "30313233343536373839"
                                  "40414243444546474849"
                                  "50515253545556575859"
                                  "60616263646566676869"
                                  "70717273747576777879"
                                  "80818283848586878889"
                                  "90919293949596979899";

static int count_digits(uint64_t value)
{
    static const uint64_t powers[20] = {0,
                                        10u,
                                        100u,
                                        1000u,
                                        10000u,
                                        100000u,
                                        1000000u,
                                        10000000u,
                                        100000000u,
                                        1000000000u,
                                        10000000000u,
                                        100000000000u,
                                        1000000000000u,
                                        10000000000000u,
                                        100000000000000u,
                                        1000000000000000u,
                                        10000000000000000u,
                                        100000000000000000u,
                                        1000000000000000000u,
                                        10000000000000000000u};
    int bits = 64 - __builtin_clzll(value | 1);
    int digits = bits * 1233 >> 12; /* floor(bits * log10(2)): right, or one too few */
    return digits + (value >= powers[digits]);
}

/* Exactly n digits. */
static char *put_digits(char *to, uint64_t value, int n)
{
    char *end = to + n;
    for (char *at = end; n > 0; n -= 2) {
        const char *pair = digit_pairs + 2 * (value % 100);
        value /= 100;
        if (n == 1) {
            at[-1] = pair[1];
            break;
        }
        at -= 2;
        memcpy(at, pair, 2);
    }
    return end;
}

char *fp_json_put_integer(char *to, int64_t value)
{
    uint64_t magnitude = (uint64_t)value;
    if (value < 0) {
        *to++ = '-';
        magnitude = 0 - magnitude;
    }
    return put_digits(to, magnitude, magnitude ? count_digits(magnitude) : 1);
}

static char *put_zeros(char *to, int n)
{
    memset(to, '0', (size_t)n);
    return to + n;
}

/* "123000.0" */
static char *put_whole(char *to, decimal d, int n)
{
    to = put_digits(to, d.digits, n);
    to = put_zeros(to, d.exponent);
    memcpy(to, ".0", 2);
    return to + 2;
}

/* "1.25": n digits, the point behind the first `whole` of them. */
static char *put_with_point(char *to, uint64_t digits, int n, int whole)
{
    char *end = put_digits(to + 1, digits, n);
    memmove(to, to + 1, (size_t)whole);
    to[whole] = '.';
    return end;
}

/* "0.00125" */
static char *put_fraction(char *to, decimal d, int n)
{
    memcpy(to, "0.", 2);
    to = put_zeros(to + 2, -d.exponent - n);
    return put_digits(to, d.digits, n);
}

/* "1.25e-7" */
static char *put_with_exponent(char *to, decimal d, int n)
{
    to = n == 1 ? put_digits(to, d.digits, 1) : put_with_point(to, d.digits, n, 1);
    *to++ = 'e';
    return fp_json_put_integer(to, d.exponent + n - 1);
}

/* Up to so many digits before the point, zeros included, and zeros behind it: as Python's. */
#define MOST_WHOLE_DIGITS   16
#define MOST_LEADING_ZEROES 3

char *fp_json_put_double(char *to, double value, const fp_decimal_powers *powers)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 63)
        *to++ = '-';
    bits &= UINT64_MAX >> 1;
    if (bits == 0) {
        memcpy(to, "0.0", 3);
        return to + 3;
    }
    decimal d = decimal_of(bits, powers);
    int n = count_digits(d.digits);
    int whole = n + d.exponent; /* digits before the point */
    if (whole > MOST_WHOLE_DIGITS || whole < -MOST_LEADING_ZEROES)
        return put_with_exponent(to, d, n);
    if (d.exponent >= 0)
        return put_whole(to, d, n);
    return whole > 0 ? put_with_point(to, d.digits, n, whole) : put_fraction(to, d, n);
}
