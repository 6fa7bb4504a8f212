/* The checksum of a line of JSON, which stands within the line: computed with its own digits as
 * '0'. XXH3, 64 bits, seed 0, as 16 hexadecimal digits. Called by json_line.c only. */
#ifndef FP_CODEC_JSON_CHECKSUM_H
#define FP_CODEC_JSON_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FP_JSON_CHECKSUM_DIGITS 16

/* Of a line whose digits are '0' now. */
uint64_t fp_json_checksum_of(const char *line, size_t n);

/* Of a line whose digits, at digits_at, are anything. */
uint64_t fp_json_checksum_without(const char *line, size_t n, size_t digits_at);

void fp_json_checksum_put(char *to, uint64_t checksum); /* FP_JSON_CHECKSUM_DIGITS of them */

static inline bool fp_json_is_checksum_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

#endif
