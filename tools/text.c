/* Texts for numbers and times, and the way out for all output. Called by every subcommand. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tool.h"

int tool_fail(const char *format, ...)
{
    va_list args;
    fflush(stdout); /* what was said before stands before it */
    va_start(args, format);
    fputs("facpool: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return TOOL_FAILED;
}

int tool_fail_usage(const char *subcommand, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("facpool: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry 'facpool %s --help'.\n", subcommand);
    return TOOL_FAILED;
}

bool tool_output_is_closed(void)
{
    return ferror(stdout) != 0;
}

/* Whether output goes to another program, which may well stop reading when it has seen enough. */
static bool output_is_piped(void)
{
    struct stat status;
    return fstat(fileno(stdout), &status) == 0 &&
           (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

int tool_end_output(int status)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || output_is_piped())
        return status;
    return tool_fail("the output could not be written, it is not complete: is the disk full?");
}

const char *tool_count_text(uint64_t n, char *to)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, n), out = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            to[out++] = ',';
        to[out++] = digits[i];
    }
    to[out] = '\0';
    return to;
}

void tool_put_visibly(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        unsigned char next = i + 1 < length ? (unsigned char)text[i + 1] : 0;
        bool two_byte_control = c == 0xc2 && next >= 0x80 && next < 0xa0; /* U+0080 to U+009F */
        putc(c < 0x20 || c == 0x7f || two_byte_control ? '?' : c, out);
        i += two_byte_control;
    }
}

/* ------------------------------------------------------------------ times */

/* Days since 1970-01-01 as a date, in the proleptic Gregorian calendar, counted from 0000-03-01 in
 * eras of 400 years (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static void split_days(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

const char *tool_time_text(int64_t microseconds, char *to)
{
    const int64_t day_us = INT64_C(86400000000);
    int64_t days = microseconds / day_us, rest = microseconds % day_us;
    if (rest < 0) {
        rest += day_us;
        days--;
    }
    int64_t year = 0;
    int month = 0, day = 0;
    split_days(days, &year, &month, &day);
    int seconds = (int)(rest / 1000000);
    snprintf(to, 48, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d.%06dZ", year, month, day,
             seconds / 3600, seconds / 60 % 60, seconds % 60, (int)(rest % 1000000));
    return to;
}

/* ------------------------------------------------------------------ doubles */

/* So many digits of `whole` behind the point, and the others before it. */
static void put_decimal(char *to, bool negative, uint64_t whole, int decimals)
{
    char digits[24];
    int n = 0;
    while (whole > 0 || n <= decimals) {
        digits[n++] = (char)('0' + whole % 10);
        whole /= 10;
    }
    if (negative)
        *to++ = '-';
    while (n > 0) {
        *to++ = digits[--n];
        if (n == decimals && n > 0)
            *to++ = '.';
    }
    *to = '\0';
}

/* A number of few decimals, as prices and ranks are, without a search: the integer that it is a
 * hundredth, a thousandth of says its digits. A quotient of two doubles that are exact is the
 * closest double to what is written, so that the text reads back to the same. */
static bool few_decimals_text(double value, char *to)
{
    double scale = 1;
    for (int decimals = 0; decimals <= 9; decimals++, scale *= 10) {
        double whole = nearbyint(value * scale);
        if (fabs(whole) >= 1e15)
            return false;
        if (whole / scale != value)
            continue;
        put_decimal(to, signbit(value), (uint64_t)fabs(whole), decimals);
        return true;
    }
    return false;
}

const char *tool_double_text(double value, char *to)
{
    if (isnan(value))
        return strcpy(to, "nan");
    if (isinf(value))
        return strcpy(to, value < 0 ? "-inf" : "inf");
    double size = fabs(value);
    if ((size == 0 || (size >= 1e-4 && size < 1e15)) && few_decimals_text(value, to))
        return to;
    /* Up to 15 digits any text survives a double, so that a shorter one shows with 15 already; but
     * a subnormal has fewer to begin with. */
    int digits = size < 2.2250738585072014e-308 ? 1 : 15;
    for (; digits <= 17; digits++) {
        snprintf(to, 32, "%.*g", digits, value);
        if (strtod(to, NULL) == value)
            break;
    }
    return to;
}
