#include "market_time.h"

#define SECONDS_PER_DAY INT64_C(86400)
#define HOUR            3600
#define CLOCK(h, m)     ((h)*HOUR + (m)*60)

/* Both conversions follow H. Hinnant, "chrono-compatible low-level date algorithms": years begin
 * in March, so that the leap day is the last one. */
int64_t days_from_date(int32_t date)
{
    int32_t month = date / 100 % 100;
    int32_t day = date % 100;
    int64_t year = date / 10000 - (month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

int32_t date_from_days(int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    int64_t month = month_from_march + (month_from_march < 10 ? 3 : -9);
    int64_t year = year_of_era + era * 400 + (month <= 2);

    return (int32_t)(year * 10000 + month * 100 + day);
}

int weekday_of(int64_t days)
{
    int64_t weekday = (days + 4) % 7; /* 1970-01-01 was a Thursday */

    return (int)(weekday < 0 ? weekday + 7 : weekday);
}

int date_exists(int32_t date)
{
    return date >= 10101 && date <= 99991231 && date_from_days(days_from_date(date)) == date;
}

/* The n-th Sunday of a month, in days. */
static int64_t nth_sunday(int32_t year, int32_t month, int n)
{
    int64_t first = days_from_date(year * 10000 + month * 100 + 1);

    return first + (7 - weekday_of(first)) % 7 + 7 * (n - 1);
}

/* Hours behind UTC. Clocks go forward at 02:00 standard time (07:00 UTC) on the second Sunday of
 * March and back at 02:00 daylight time (06:00 UTC) on the first Sunday of November. The year of
 * the UTC time will do: no change is near the turn of a year. */
static int new_york_hours_behind(int64_t utc_seconds)
{
    int32_t year = date_from_days(utc_seconds / SECONDS_PER_DAY) / 10000;
    int64_t forward = nth_sunday(year, 3, 2) * SECONDS_PER_DAY + 7 * HOUR;
    int64_t back = nth_sunday(year, 11, 1) * SECONDS_PER_DAY + 6 * HOUR;

    return utc_seconds >= forward && utc_seconds < back ? 4 : 5;
}

struct local_time new_york_time(int64_t utc_ms)
{
    int64_t utc_seconds = utc_ms / 1000;
    int64_t seconds = utc_seconds - new_york_hours_behind(utc_seconds) * (int64_t)HOUR;
    struct local_time local = {date_from_days(seconds / SECONDS_PER_DAY),
                               (int32_t)(seconds % SECONDS_PER_DAY)};

    return local;
}

int64_t new_york_to_utc_ms(struct local_time local)
{
    int64_t seconds = days_from_date(local.date) * SECONDS_PER_DAY + local.second;
    int hours = new_york_hours_behind(seconds + 5 * HOUR); /* an hour off tells the same offset */

    return (seconds + hours * (int64_t)HOUR) * 1000;
}

/* The half-days: the eve of Independence Day and Christmas Eve where they fall on Monday to
 * Thursday (on a Friday the holiday itself is observed), and the day after Thanksgiving, the
 * Friday behind the fourth Thursday of November. */
static int new_york_half_day(int32_t date)
{
    int32_t month_day = date % 10000;
    int weekday = weekday_of(days_from_date(date));

    if (month_day == 703 || month_day == 1224)
        return weekday >= 1 && weekday <= 4;
    return weekday == 5 && month_day >= 1123 && month_day <= 1129;
}

int new_york_regular_start(struct local_time start)
{
    int32_t close = new_york_half_day(start.date) ? CLOCK(13, 0) : CLOCK(16, 0);

    return start.second >= CLOCK(9, 30) && start.second < close;
}

int china_regular_end(struct local_time end)
{
    return end.second > CLOCK(9, 30) && end.second <= CLOCK(15, 0);
}
