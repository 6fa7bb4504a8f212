/* A line's numbers and checksum are scanned eight and sixteen bytes at a time: here every byte at
 * every place of them is compared with what a plain scan of one byte after the other says, and no
 * byte behind the end of a line is looked at (lines lie at the end of memory that sanitizers
 * watch).
 */
#include "codec/json_checksum.h"
#include "codec/json_line.h"
#include "scratch.h"
#include "test.h"

#include <inttypes.h>
#include <stdlib.h>

#define LONGEST_NUMBER 40

static fp_json_layout layout;
static random_numbers dice;

/* ------------------------------------------------------------------ the plain way */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The text of an integer of 64 bits, as json_line.c writes it. */
static bool is_integer(const char *text, size_t n, int64_t *value)
{
    bool is_negative = n > 0 && text[0] == '-';
    uint64_t most = (uint64_t)INT64_MAX + is_negative, sum = 0;
    for (size_t i = is_negative; i < n; i++) {
        if (!is_digit(text[i]) || sum > (most - (uint64_t)(text[i] - '0')) / 10)
            return false;
        sum = sum * 10 + (uint64_t)(text[i] - '0');
    }
    *value = (int64_t)(is_negative ? 0 - sum : sum);
    bool starts_with_zero = n > is_negative && text[is_negative] == '0';
    return n > is_negative && !(starts_with_zero && n > 1);
}

/* What may be a number: the JSON library says whether it is. */
static bool looks_like_a_number(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_digit(text[i]) && !memchr("+-.eE", text[i], 5))
            return false;
    return n > 0;
}

/* ------------------------------------------------------------------ lines to be scanned */

/* A stretch of text, which may hold any byte. */
typedef struct part {
    const char *at;
    size_t n;
} part;

#define PART(text) ((part){text, sizeof(text) - 1})

/* In memory of exactly its own size. */
static fp_json_match scan(const part *parts, size_t n_parts, fp_json_parts *found,
                          fp_json_span *factor)
{
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++)
        n += parts[i].n;
    char *line = malloc(n ? n : 1), *to = line;
    CHECK(line);
    for (size_t i = 0; i < n_parts; to += parts[i++].n)
        memcpy(to, parts[i].at, parts[i].n);
    fp_json_match match = fp_json_match_line(&layout, line, n, found, factor);
    factor->at = match == FP_JSON_LINE ? factor->at : NULL;
    size_t at = factor->at ? (size_t)(factor->at - line) : 0;
    free(line);
    if (match == FP_JSON_LINE)
        CHECK(at + factor->n < n);
    return match;
}

#define BEFORE_TIMESTAMP ",\"code\":\"x\",\"timestamp\":"
#define BEFORE_FACTOR    ",\"status\":\"ok\",\"a\":"
#define AFTER_FACTOR     ",\"checksum\":\""

/* Both integers are this text, then the factor is. */
static void check_number(const char *text, size_t n)
{
    fp_json_parts found;
    fp_json_span factor = {NULL, 0};
    int64_t value = 0;
    part number = {text, n};
    const part integers[] = {PART("{\"date\":"), number, PART(BEFORE_TIMESTAMP), number,
                             PART(BEFORE_FACTOR "1.5" AFTER_FACTOR "0123456789abcdef\"}")};
    bool is = is_integer(text, n, &value);
    CHECK_INT(scan(integers, 5, &found, &factor) == FP_JSON_LINE, is);
    if (is)
        CHECK(found.date == value && found.timestamp == value);
    const part factors[] = {PART("{\"date\":1" BEFORE_TIMESTAMP "2" BEFORE_FACTOR), number,
                            PART(AFTER_FACTOR "0123456789abcdef\"}")};
    is = looks_like_a_number(text, n);
    CHECK_INT(scan(factors, 3, &found, &factor) == FP_JSON_LINE, is);
    if (is)
        CHECK_INT(factor.n, n);
    /* Cut off behind it, more of it may follow. */
    if (is || n == 0)
        CHECK_INT(scan(factors, 2, &found, &factor), FP_JSON_CUT);
    if (is_integer(text, n, &value))
        CHECK_INT(scan(integers, 2, &found, &factor), FP_JSON_CUT);
}

/* ------------------------------------------------------------------ tests */

static void every_byte_at_every_place_of_a_number(void)
{
    char text[LONGEST_NUMBER];
    for (size_t n = 1; n <= LONGEST_NUMBER; n++)
        for (size_t place = 0; place < n; place++)
            for (int byte = 0; byte < 256; byte++) {
                for (size_t i = 0; i < n; i++)
                    text[i] = (char)('1' + random_bits(&dice) % 9);
                text[place] = (char)byte;
                check_number(text, n);
            }
    check_number("", 0);
}

static void check_integer(int64_t value)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRId64, value);
    check_number(text, (size_t)n);
}

/* One of each length, and those at which a digit more is needed or 64 bits are not enough. */
static void integers_of_any_size(void)
{
    int64_t power = 1;
    for (int digits = 1; digits <= 19; digits++) {
        for (int64_t by = -2; by <= 2; by++) {
            check_integer(power + by);
            check_integer(-(power + by));
        }
        power *= digits < 19 ? 10 : 1;
    }
    for (int i = 0; i < 200000; i++)
        check_integer((int64_t)(random_bits(&dice) >> random_bits(&dice) % 64) *
                      (random_bits(&dice) % 2 ? 1 : -1));
    static const char *const edges[] = {"9223372036854775807",
                                        "9223372036854775808",
                                        "-9223372036854775808",
                                        "-9223372036854775809",
                                        "18446744073709551616",
                                        "18446744073709551617",
                                        "00000000",
                                        "-",
                                        "-0",
                                        "00"};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        check_number(edges[i], strlen(edges[i]));
}

static fp_json_match match_digits(const char *digits, size_t n)
{
    fp_json_parts found;
    fp_json_span factor;
    const part parts[] = {PART("{\"date\":1" BEFORE_TIMESTAMP "2" BEFORE_FACTOR "1" AFTER_FACTOR),
                          {digits, n},
                          PART("\"}")};
    return scan(parts, n == FP_JSON_CHECKSUM_DIGITS ? 3 : 2, &found, &factor);
}

static void every_byte_at_every_place_of_a_checksum(void)
{
    char digits[FP_JSON_CHECKSUM_DIGITS];
    for (size_t n = 1; n <= sizeof digits; n++)
        for (size_t place = 0; place < n; place++)
            for (int byte = 0; byte < 256; byte++) {
                memcpy(digits, "0f1e2d3c4b5a6978", sizeof digits);
                digits[place] = (char)byte;
                bool is = is_digit((char)byte) || (byte >= 'a' && byte <= 'f');
                fp_json_match whole = n == sizeof digits ? FP_JSON_LINE : FP_JSON_CUT;
                CHECK_INT(match_digits(digits, n), is ? whole : FP_JSON_OTHER);
            }
}

static void checksums_are_written_as_printf_does(void)
{
    for (int i = 0; i < 100000; i++) {
        uint64_t number = random_bits(&dice) >> random_bits(&dice) % 64;
        char expected[32], digits[FP_JSON_CHECKSUM_DIGITS];
        snprintf(expected, sizeof expected, "%016" PRIx64, number);
        fp_json_checksum_put(digits, number);
        CHECK(memcmp(digits, expected, sizeof digits) == 0);
    }
}

int main(void)
{
    dice.state = environment_seed();
    fp_texts names = {0};
    CHECK(!fp_texts_add(&names, "a", 1));
    CHECK(!fp_json_layout_init(&layout, &names, NULL));
    fp_texts_free(&names);
    RUN(every_byte_at_every_place_of_a_number);
    RUN(integers_of_any_size);
    RUN(every_byte_at_every_place_of_a_checksum);
    RUN(checksums_are_written_as_printf_does);
    fp_json_layout_free(&layout);
    return TEST_END();
}
