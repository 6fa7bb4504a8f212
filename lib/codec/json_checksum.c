/* Checksums of lines of JSON: see json_checksum.h. It never changes the line it is given, which may
 * lie in memory that others read. */
#include "codec/json_checksum.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Up to so many bytes, copying a line costs less than feeding it in parts. */
#define COPIED_BYTES 1024

static const char zeros[FP_JSON_CHECKSUM_DIGITS + 1] = "0000000000000000";

uint64_t fp_json_checksum_of(const char *line, size_t n)
{
    return XXH3_64bits(line, n);
}

static uint64_t checksum_in_parts(const char *line, size_t n, size_t digits_at)
{
    size_t behind = digits_at + FP_JSON_CHECKSUM_DIGITS;
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, line, digits_at);
    XXH3_64bits_update(&state, zeros, FP_JSON_CHECKSUM_DIGITS);
    XXH3_64bits_update(&state, line + behind, n - behind);
    return XXH3_64bits_digest(&state);
}

uint64_t fp_json_checksum_without(const char *line, size_t n, size_t digits_at)
{
    char copy[COPIED_BYTES];
    if (n > sizeof copy)
        return checksum_in_parts(line, n, digits_at);
    memcpy(copy, line, n);
    memcpy(copy + digits_at, zeros, FP_JSON_CHECKSUM_DIGITS);
    return XXH3_64bits(copy, n);
}

void fp_json_checksum_put(char *to, uint64_t checksum)
{
    static const char hex[] = "0123456789abcdef";
    for (int i = FP_JSON_CHECKSUM_DIGITS - 1; i >= 0; i--, checksum >>= 4)
        to[i] = hex[checksum & 15];
}
