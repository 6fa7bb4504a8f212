/* Checksums of lines of JSON: see json_checksum.h. It never changes the line it is given, which may
 * lie in memory that others read. */
#include "codec/json_checksum.h"

#include "codec/bits.h"

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

/* The eight digits of 32 bits as a word, the highest first. */
static uint64_t hex_of(uint32_t number)
{
    uint64_t digits = number;
    digits = (digits | digits << 16) & 0x0000ffff0000ffff;
    digits = (digits | digits << 8) & 0x00ff00ff00ff00ff;
    digits = (digits | digits << 4) & 0x0f0f0f0f0f0f0f0f;
    uint64_t letters = (digits + FP_EIGHT_TIMES(6)) >> 4 & FP_EIGHT_TIMES(1);
    return fp_word_swap(digits + FP_EIGHT_TIMES('0') + letters * ('a' - '0' - 10));
}

void fp_json_checksum_put(char *to, uint64_t checksum)
{
    fp_word_store((uint8_t *)to, hex_of((uint32_t)(checksum >> 32)));
    fp_word_store((uint8_t *)to + 8, hex_of((uint32_t)checksum));
}
