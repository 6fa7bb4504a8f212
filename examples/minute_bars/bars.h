/* Reads one CSV file of bars: whole, once, into an array sorted by time. The job calls it from
 * many threads at once, one file each. It never prints: lines that it can't use are counted and
 * the first ones noted for the caller.
 *
 * The header's names give the columns, in any order and case: high, low, close, volume and one of
 *   timestamp        ms UTC at the bar's start; days and hours are those of New York
 *   date and time    the exchange's own clock at the bar's end, e.g. 2025-01-02 and 09:45:00
 *   datetime         both in one
 *   date             a bar a day, without a time
 * and, where there are any, open, price (the bar's average price) and amount (money traded).
 * Fields are separated by , or ; (the header decides), lines end in LF or CRLF. */
#ifndef BARS_H
#define BARS_H

#include <stddef.h>
#include <stdint.h>

struct bar {
    int32_t date;    /* yyyymmdd, the exchange's */
    int32_t second;  /* of the day: the bar's start or end, as the file gives it; -1: no time */
    int32_t regular; /* nonzero: within the regular hours; 0 without a time */
    uint32_t line;
    double high;
    double low;
    double close;
    double volume;
    double money; /* amount; else price x volume; else (high + low + close) / 3 x volume */
};

#define BAD_LINES_KEPT 3

struct bad_line {
    size_t line; /* 1 is the header */
    char reason[88];
};

struct bar_file {
    struct bar *bars; /* usable ones, by (date, second) */
    size_t n_bars;
    size_t n_lines; /* behind the header, blank ones left out */
    size_t n_idle;  /* zero-filled, or with an empty volume: no trade, not an error */
    size_t n_bad;   /* malformed */
    struct bad_line bad[BAD_LINES_KEPT]; /* the first ones */
};

#define BARS_OK        0
#define BARS_NO_FILE   1 /* can't be read */
#define BARS_NO_COLUMN 2 /* lacks a column that is needed */
#define BARS_NO_MEMORY 3

/* Returns BARS_*; when it is not BARS_OK, `message` says why and `out` is untouched. */
int bars_read(struct bar_file *out, const char *path, char *message, size_t message_bytes);

/* The bars of one day: how many, and where they begin. */
size_t bars_of_day(const struct bar_file *file, int32_t date, const struct bar **bars);

void bars_free(struct bar_file *file);

#endif
