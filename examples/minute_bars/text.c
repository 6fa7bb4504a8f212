#include "text.h"
#include "market_time.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int span_next_line(struct span *rest, struct span *line)
{
    const char *newline;

    if (rest->begin == rest->end)
        return 0;
    newline = memchr(rest->begin, '\n', (size_t)(rest->end - rest->begin));
    line->begin = rest->begin;
    line->end = newline ? newline : rest->end;
    rest->begin = newline ? newline + 1 : rest->end;
    if (line->end > line->begin && line->end[-1] == '\r')
        line->end--;
    return 1;
}

static struct span trimmed(const char *begin, const char *end)
{
    struct span text;

    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    text.begin = begin;
    text.end = end;
    return text;
}

size_t span_split(struct span line, char separator, struct span *fields, size_t capacity)
{
    const char *begin = line.begin;
    size_t n = 0;

    for (;;) {
        const char *end = memchr(begin, separator, (size_t)(line.end - begin));

        if (n < capacity)
            fields[n] = trimmed(begin, end ? end : line.end);
        n++;
        if (!end)
            return n;
        begin = end + 1;
    }
}

int span_is_empty(struct span text)
{
    return text.begin == text.end;
}

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

int span_equals(struct span text, const char *word)
{
    const char *c = text.begin;

    while (c < text.end && *word && lower(*c) == lower(*word)) {
        c++;
        word++;
    }
    return c == text.end && *word == '\0';
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The long way, for numbers whose digits or exponent the short way can't hold. */
static int number_by_strtod(struct span text, double *value)
{
    char copy[128];
    char *end;
    size_t length = (size_t)(text.end - text.begin);

    if (length >= sizeof copy)
        return -1;
    memcpy(copy, text.begin, length);
    copy[length] = '\0';
    *value = strtod(copy, &end);
    return end == copy + length && isfinite(*value) ? 0 : -1;
}

/* Up to 15 digits and a power of ten up to 22 are exact doubles, so one division rounds once and
 * right (W. Clinger, "How to read floating point numbers accurately"). That is every number of
 * the usual file, several times faster than strtod. */
int span_to_number(struct span text, double *value)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *c = text.begin;
    int64_t digits = 0;
    size_t n_digits = 0, n_decimals = 0;
    int negative = c < text.end && *c == '-';
    double magnitude;

    if (negative)
        c++;
    for (; c < text.end && is_digit(*c); c++, n_digits++)
        digits = n_digits < 15 ? digits * 10 + (*c - '0') : digits;
    if (c < text.end && *c == '.') {
        for (c++; c < text.end && is_digit(*c); c++, n_digits++, n_decimals++)
            digits = n_digits < 15 ? digits * 10 + (*c - '0') : digits;
    }
    if (n_digits == 0)
        return -1;
    if (n_digits > 15 || (c < text.end && lower(*c) == 'e'))
        return number_by_strtod(text, value);
    if (c != text.end)
        return -1;
    magnitude = (double)digits / powers[n_decimals];
    *value = negative ? -magnitude : magnitude;
    return 0;
}

int span_to_integer(struct span text, int64_t *value)
{
    int64_t sum = 0;

    if (span_is_empty(text) || text.end - text.begin > 18)
        return -1;
    for (const char *c = text.begin; c < text.end; c++) {
        if (!is_digit(*c))
            return -1;
        sum = sum * 10 + (*c - '0');
    }
    *value = sum;
    return 0;
}

int span_to_date(struct span text, int32_t *date)
{
    char compact[8];
    struct span digits = {compact, compact + sizeof compact};
    int64_t value;

    if (text.end - text.begin == 10 && text.begin[4] == '-' && text.begin[7] == '-') {
        memcpy(compact, text.begin, 4);
        memcpy(compact + 4, text.begin + 5, 2);
        memcpy(compact + 6, text.begin + 8, 2);
    } else if (text.end - text.begin == 8) {
        memcpy(compact, text.begin, 8);
    } else {
        return -1;
    }
    if (span_to_integer(digits, &value) || !date_exists((int32_t)value))
        return -1;
    *date = (int32_t)value;
    return 0;
}

/* Two digits up to `limit`, or -1. */
static int32_t two_digits(const char *c, int32_t limit)
{
    int32_t value;

    if (!is_digit(c[0]) || !is_digit(c[1]))
        return -1;
    value = (c[0] - '0') * 10 + c[1] - '0';
    return value <= limit ? value : -1;
}

int span_to_time(struct span text, int32_t *second_of_day)
{
    size_t length = (size_t)(text.end - text.begin);
    int32_t hour, minute, second = 0;

    if ((length != 5 && length != 8) || text.begin[2] != ':')
        return -1;
    hour = two_digits(text.begin, 23);
    minute = two_digits(text.begin + 3, 59);
    if (length == 8)
        second = text.begin[5] == ':' ? two_digits(text.begin + 6, 59) : -1;
    if (hour < 0 || minute < 0 || second < 0)
        return -1;
    *second_of_day = hour * 3600 + minute * 60 + second;
    return 0;
}
