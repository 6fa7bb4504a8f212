/* Calendar days and exchange hours for the minute bar example: what a UTC time stamp is on the
 * wall clock of New York, and which hours of a day are regular ones. The bar reader calls it.
 * It carries the rules themselves and never asks the machine for its time zone data. */
#ifndef MARKET_TIME_H
#define MARKET_TIME_H

#include <stdint.h>

/* A moment on an exchange's wall clock. */
struct local_time {
    int32_t date;   /* yyyymmdd */
    int32_t second; /* of that day */
};

/* The span new_york_time can tell: the daylight saving rule in force since 2007. UTC. */
#define NEW_YORK_FROM_MS INT64_C(1167609600000) /* 2007-01-01 */
#define NEW_YORK_TO_MS   INT64_C(4102444800000) /* 2100-01-01 */

int64_t days_from_date(int32_t date); /* since 1970-01-01 */
int32_t date_from_days(int64_t days); /* yyyymmdd */
int weekday_of(int64_t days);         /* 0 is Sunday */
int date_exists(int32_t date);        /* 20240229 does, 20230229 does not */

/* `utc_ms` lies within NEW_YORK_FROM_MS and NEW_YORK_TO_MS. */
struct local_time new_york_time(int64_t utc_ms);

/* The way back, for times of a trading day: not for the nights in which the clocks change. */
int64_t new_york_to_utc_ms(struct local_time local);

/* Does a bar that starts here belong to the regular session of the New York exchanges? That is
 * 09:30 to 16:00, to 13:00 on the three half-days of a year. */
int new_york_regular_start(struct local_time start);

/* Does a bar that ends here belong to the session of the Chinese exchanges, 09:30 to 15:00? */
int china_regular_end(struct local_time end);

#endif
