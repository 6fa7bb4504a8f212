#include "synthetic.h"
#include "folder.h"
#include "market_time.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED           UINT64_C(20240102)
#define FIRST_DATE     20241007
#define BAR_SECONDS    300
#define OPENING        (9 * 3600 + 30 * 60)
#define NO_CLOSE_FILE  250 /* lacks a column; one of the files with commas */
#define BAD_LINE_EVERY 50  /* files */

/* Whole numbers alone, so that every machine writes the same bytes: splitmix64 by S. Vigna. */
struct random {
    uint64_t state;
};

static uint64_t random_next(struct random *random)
{
    uint64_t x = random->state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* 0 .. n - 1 */
static int64_t random_below(struct random *random, int64_t n)
{
    return (int64_t)(random_next(random) % (uint64_t)n);
}

static int one_in(struct random *random, int64_t n)
{
    return random_below(random, n) == 0;
}

struct instrument {
    FILE *file;
    int index;
    int comma;     /* the dialect: ',' and CRLF, else ';' and LF */
    int no_close;  /* without that column */
    int thin;      /* how rarely it trades: one bar in so many is missing */
    int64_t cents; /* the price */
    struct random random;
};

struct made_up_bar {
    int64_t utc_ms;
    int64_t open, high, low, close; /* cents */
    int64_t average;                /* hundredths of a cent */
    int64_t volume;
};

/* printf would take most of the time that a million lines take. Writes at least `width` digits of a
 * number that is not negative; returns the end. */
static char *put_digits(char *to, int64_t value, int width)
{
    char digits[20];
    int n = 0;

    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0 || n < width);
    while (n > 0)
        *to++ = digits[--n];
    return to;
}

/* `value` counts units of 10^-decimals, of which `unit` make 1. */
static char *put_decimal(char *to, int64_t value, int64_t unit, int decimals)
{
    to = put_digits(to, value / unit, 1);
    *to++ = '.';
    return put_digits(to, value % unit, decimals);
}

static void write_header(const struct instrument *instrument)
{
    if (instrument->comma)
        fprintf(instrument->file, "timestamp,open,high,low,%sprice,volume\r\n",
                instrument->no_close ? "" : "close,");
    else
        fprintf(instrument->file, "timestamp;close;high;low;open;price;volume\n");
}

static void write_bar(const struct instrument *instrument, const struct made_up_bar *bar)
{
    const int64_t with_comma[] = {bar->open, bar->high, bar->low, bar->close};
    const int64_t with_semicolon[] = {bar->close, bar->high, bar->low, bar->open};
    const int64_t *prices = instrument->comma ? with_comma : with_semicolon;
    char separator = instrument->comma ? ',' : ';';
    char line[160], *end = put_digits(line, bar->utc_ms, 1);

    for (int i = 0; i < (instrument->no_close ? 3 : 4); i++) {
        *end++ = separator;
        end = put_decimal(end, prices[i], 100, 2);
    }
    *end++ = separator;
    end = put_decimal(end, bar->average, 10000, 4);
    *end++ = separator;
    end = put_digits(end, bar->volume, 1);
    if (instrument->comma)
        *end++ = '\r';
    *end++ = '\n';
    fwrite(line, 1, (size_t)(end - line), instrument->file);
}

/* What a file looks like that a feed or a disk has spoiled. */
static void write_bad_line(struct instrument *instrument)
{
    char separator = instrument->comma ? ',' : ';';

    switch (random_below(&instrument->random, 4)) {
    case 0:
        fprintf(instrument->file, "17283%c12\n", separator);
        break;
    case 1:
        fprintf(instrument->file, "n/a%c1%c1%c1%c1%c1%c1\n", separator, separator, separator,
                separator, separator, separator);
        break;
    case 2:
        fprintf(instrument->file, "1735000200000%c1.0%c1.2%c1.4%c1.0%c1.1%c9\n", separator,
                separator, separator, separator, separator, separator);
        break;
    default:
        fprintf(instrument->file, "1735000200000%c1.0%c1..2%c0.9%c1.0%c1.1%c9\n", separator,
                separator, separator, separator, separator, separator);
    }
}

static struct made_up_bar next_bar(struct instrument *instrument)
{
    struct random *random = &instrument->random;
    struct made_up_bar bar = {0};
    int64_t step = instrument->cents / 1000 + 1;

    bar.open = instrument->cents;
    bar.close = bar.open + random_below(random, 2 * step + 1) - step;
    if (bar.close < 100)
        bar.close = 100;
    bar.high = (bar.open > bar.close ? bar.open : bar.close) + random_below(random, step);
    bar.low = (bar.open < bar.close ? bar.open : bar.close) - random_below(random, step);
    bar.average = bar.low * 100 + random_below(random, (bar.high - bar.low) * 100 + 1);
    bar.volume = 1 + random_below(random, 200) * random_below(random, 200);
    instrument->cents = bar.close;
    return bar;
}

static void write_day(struct instrument *instrument, int32_t date)
{
    struct random *random = &instrument->random;
    int halted_all_day = one_in(random, 64);
    int32_t halted_from = one_in(random, 64) ? OPENING + (int32_t)random_below(random, 10800) : 0;
    struct local_time time = {date, OPENING};

    if (one_in(random, 128))
        return; /* no bars at all */
    for (int over = 0; !over; time.second += BAR_SECONDS) {
        struct made_up_bar bar = next_bar(instrument);

        over = !new_york_regular_start(time); /* one more bar behind the close: the auction */
        if (halted_all_day || (halted_from && time.second >= halted_from))
            bar = (struct made_up_bar){0};
        else if (one_in(random, instrument->thin))
            continue;
        bar.utc_ms = new_york_to_utc_ms(time);
        write_bar(instrument, &bar);
        if (instrument->index % BAD_LINE_EVERY == 1 && one_in(random, 500))
            write_bad_line(instrument);
    }
}

static int is_trading_day(int32_t date)
{
    int weekday = weekday_of(days_from_date(date));

    return weekday >= 1 && weekday <= 5 && date != 20241128 && date != 20241225;
}

static void write_days(struct instrument *instrument)
{
    int first_day = instrument->index % 37 == 5 ? 20 : 0; /* listed late */
    int trading_day = 0;

    write_header(instrument);
    for (int64_t days = days_from_date(FIRST_DATE); trading_day < SYNTHETIC_DAYS; days++) {
        int32_t date = date_from_days(days);

        if (!is_trading_day(date))
            continue;
        if (trading_day >= first_day)
            write_day(instrument, date);
        trading_day++;
    }
}

static int write_instrument(const char *folder, int index)
{
    struct instrument instrument = {0};
    char name[16];
    char *path;
    int problem;

    snprintf(name, sizeof name, "%06d", index + 1);
    path = folder_path(folder, name, ".csv");
    instrument.file = path ? fopen(path, "wb") : NULL;
    free(path);
    if (!instrument.file)
        return -1;
    instrument.index = index;
    instrument.no_close = index == NO_CLOSE_FILE;
    instrument.comma = index % 3 == 1;
    instrument.random.state = SEED + (uint64_t)index * UINT64_C(0x100000001);
    instrument.thin = index % 10 == 9 ? 2 : 16;
    instrument.cents = 500 + random_below(&instrument.random, 50000);
    write_days(&instrument);
    problem = ferror(instrument.file);
    return fclose(instrument.file) != 0 || problem ? -1 : 0;
}

int synthetic_write(const char *folder)
{
    for (int index = 0; index < SYNTHETIC_INSTRUMENTS; index++) {
        if (write_instrument(folder, index)) {
            fprintf(stderr, "minute_bars: made-up bars can't be written to '%s': %s\n", folder,
                    strerror(errno));
            return -1;
        }
    }
    return 0;
}
