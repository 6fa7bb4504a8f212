/* Numbers as JSON text: integers, and doubles as the shortest text that reads back to the same
 * double. Independent of the locale, of printf and of the machine's rounding mode. Nothing here
 * reads numbers: that is the JSON library's work. */
#ifndef FP_CODEC_JSON_NUMBER_H
#define FP_CODEC_JSON_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define FP_JSON_NUMBER_BYTES 32 /* room that any number needs at most */

#define FP_POWER_MIN (-292)
#define FP_POWER_MAX 324

/* 10^k for every k that doubles need, as the 128 bits that a number >= 10^k begins with, none of
 * them zero in front. Computed by fp_decimal_powers_init, which takes some microseconds. */
typedef struct fp_decimal_power {
    uint64_t high;
    uint64_t low;
} fp_decimal_power;

typedef struct fp_decimal_powers {
    fp_decimal_power of[FP_POWER_MAX - FP_POWER_MIN + 1]; /* of[k - FP_POWER_MIN] */
} fp_decimal_powers;

void fp_decimal_powers_init(fp_decimal_powers *powers);

/* Both write at `to`, which has FP_JSON_NUMBER_BYTES, and return the end. */
char *fp_json_put_integer(char *to, int64_t value);

/* A finite double: "10.25", "1234.0", "-0.0", "1e-5", "1.7976931348623157e308". There is always a
 * point or an exponent, so that readers take it for a double. */
char *fp_json_put_double(char *to, double value, const fp_decimal_powers *powers);

#endif
