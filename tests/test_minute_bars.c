/* Proves the parts of the minute bar example that do not need the library: days and hours of New
 * York, numbers and dates in text, both dialects of CSV with their bad lines, and the factors. */
#include "test.h"

#include "bars.h"
#include "factors.h"
#include "folder.h"
#include "market_time.h"
#include "text.h"

#include <math.h>

static char *folder;

static struct span span_of(const char *text)
{
    struct span span = {text, text + strlen(text)};

    return span;
}

/* ------------------------------------------------------------------ days and hours */

static void dates_and_days_are_inverse_over_centuries(void)
{
    CHECK_INT(days_from_date(19700101), 0);
    CHECK_INT(days_from_date(20000301), 11017);
    CHECK_INT(weekday_of(days_from_date(20240102)), 2);
    for (int64_t days = days_from_date(19000101); days < days_from_date(22000101); days++)
        CHECK_INT(days_from_date(date_from_days(days)), days);
    CHECK(date_exists(20240229));
    CHECK(!date_exists(20230229));
    CHECK(!date_exists(20241301));
    CHECK(!date_exists(20240100));
    CHECK(!date_exists(0));
}

static void check_new_york(int64_t utc_seconds, int32_t date, int32_t hour, int32_t minute)
{
    struct local_time local = new_york_time(utc_seconds * 1000);

    CHECK_INT(local.date, date);
    CHECK_INT(local.second, hour * 3600 + minute * 60);
}

static void new_york_changes_its_clocks_at_two_in_the_night(void)
{
    check_new_york(1704205800, 20240102, 9, 30); /* 14:30 UTC in winter */
    check_new_york(1710053940, 20240310, 1, 59); /* 06:59 UTC: still standard time */
    check_new_york(1710054000, 20240310, 3, 0);  /* 07:00 UTC: an hour is left out */
    check_new_york(1720013400, 20240703, 9, 30); /* 13:30 UTC in summer */
    check_new_york(1730613540, 20241103, 1, 59); /* 05:59 UTC: still daylight time */
    check_new_york(1730613600, 20241103, 1, 0);  /* 06:00 UTC: an hour comes twice */
    check_new_york(1735696800, 20241231, 21, 0); /* 02:00 UTC of the next year */
}

static void new_york_times_of_trading_days_come_back(void)
{
    for (int64_t days = days_from_date(20070101); days < days_from_date(20400101); days++) {
        struct local_time opening = {date_from_days(days), 9 * 3600 + 1800};
        struct local_time back = new_york_time(new_york_to_utc_ms(opening));

        CHECK_INT(back.date, opening.date);
        CHECK_INT(back.second, opening.second);
    }
}

static int is_regular(int32_t date, int hour, int minute)
{
    struct local_time start = {date, hour * 3600 + minute * 60};

    return new_york_regular_start(start);
}

static void regular_hours_end_early_on_half_days(void)
{
    static const int32_t half_days[] = {20230703, 20231124, 20240703, 20241129,
                                        20241224, 20250703, 20251128, 20251224};

    CHECK(!is_regular(20240702, 9, 29));
    CHECK(is_regular(20240702, 9, 30));
    CHECK(is_regular(20240702, 15, 59));
    CHECK(!is_regular(20240702, 16, 0));
    for (size_t i = 0; i < sizeof half_days / sizeof *half_days; i++) {
        CHECK(is_regular(half_days[i], 12, 59));
        CHECK(!is_regular(half_days[i], 13, 0));
    }
    CHECK(is_regular(20241122, 13, 0)); /* Fridays beside the one after Thanksgiving */
    CHECK(is_regular(20241206, 13, 0));
}

static void chinese_bars_end_from_after_the_opening_to_the_close(void)
{
    CHECK(!china_regular_end((struct local_time){20250102, 9 * 3600 + 1800}));
    CHECK(china_regular_end((struct local_time){20250102, 9 * 3600 + 2700}));
    CHECK(china_regular_end((struct local_time){20250102, 15 * 3600}));
    CHECK(!china_regular_end((struct local_time){20250102, 15 * 3600 + 900}));
}

/* ------------------------------------------------------------------ text */

static void numbers_are_those_of_strtod(void)
{
    static const char *const good[] = {"0",
                                       "11.73",
                                       "2584.43",
                                       "-0.5",
                                       ".5",
                                       "5.",
                                       "000012.50",
                                       "13.50626355",
                                       "1e-3",
                                       "999999999999999",
                                       "0.1234567890123456789",
                                       "123456789012345678901234567890",
                                       "6.02E23"};
    static const char *const bad[] = {"",    "-",     ".",   "1.2.3", "1,5", "0x10", "nan",
                                      "inf", "1e999", "12 ", "1-2",   "--1", "1e"};
    double value;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(span_to_number(span_of(good[i]), &value) == 0);
        CHECK(value == strtod(good[i], NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(span_to_number(span_of(bad[i]), &value) != 0);
}

static void many_decimals_are_rounded_as_strtod_does(void)
{
    uint64_t state = 1;
    char text[40];
    double value;

    for (int i = 0; i < 200000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        snprintf(text, sizeof text, "%u.%0*u", (unsigned)(state >> 44), 1 + i % 9,
                 (unsigned)(state >> 20) % 10u);
        CHECK(span_to_number(span_of(text), &value) == 0);
        CHECK(value == strtod(text, NULL));
    }
}

static void dates_and_times_are_checked(void)
{
    int32_t value;

    CHECK(span_to_date(span_of("2025-01-02"), &value) == 0 && value == 20250102);
    CHECK(span_to_date(span_of("20250102"), &value) == 0 && value == 20250102);
    CHECK(span_to_date(span_of("2025-02-30"), &value) != 0);
    CHECK(span_to_date(span_of("2025/01/02"), &value) != 0);
    CHECK(span_to_date(span_of("2025-1-2"), &value) != 0);
    CHECK(span_to_time(span_of("09:45"), &value) == 0 && value == 35100);
    CHECK(span_to_time(span_of("14:59:59"), &value) == 0 && value == 53999);
    CHECK(span_to_time(span_of("24:00"), &value) != 0);
    CHECK(span_to_time(span_of("9:45:00"), &value) != 0);
    CHECK(span_to_time(span_of("09:60:00"), &value) != 0);
}

/* ------------------------------------------------------------------ files */

static void read_text(struct bar_file *file, const char *text)
{
    char message[256] = "";
    char *path = folder_path(folder, "000001", ".csv");
    FILE *stream = fopen(path, "wb");

    CHECK(stream != NULL);
    CHECK(fwrite(text, 1, strlen(text), stream) == strlen(text));
    CHECK(fclose(stream) == 0);
    CHECK_INT(bars_read(file, path, message, sizeof message), BARS_OK);
    free(path);
}

static void check_refused(const char *text, int outcome, const char *words)
{
    struct bar_file file;
    char message[256] = "";
    char *path = folder_path(folder, "000002", ".csv");
    FILE *stream = fopen(path, "wb");

    CHECK(stream != NULL);
    CHECK(fwrite(text, 1, strlen(text), stream) == strlen(text));
    CHECK(fclose(stream) == 0);
    CHECK_INT(bars_read(&file, path, message, sizeof message), outcome);
    CHECK(strstr(message, words) != NULL);
    free(path);
}

static void both_dialects_are_read(void)
{
    struct bar_file file;

    read_text(&file, "date;timestamp;close;high;low;open;price;volume\n"
                     "Tue, 02 Jan 2024 14:30:00 GMT;1704205800000;10;12;8;9;10.5;100\n"
                     "Tue, 02 Jan 2024 21:00:00 GMT;1704229200000;11;11;11;11;11;50");
    CHECK_INT(file.n_bars, 2);
    CHECK_INT(file.bars[0].date, 20240102);
    CHECK_INT(file.bars[0].second, 34200);
    CHECK(file.bars[0].regular && !file.bars[1].regular);
    CHECK(file.bars[0].high == 12 && file.bars[0].low == 8 && file.bars[0].close == 10);
    CHECK(file.bars[0].money == 1050);
    bars_free(&file);

    read_text(&file, "\xef\xbb\xbf"
                     "datetime,symbol,Date,TIME,period,open,high,low,close,volume,amount\r\n"
                     "2025-01-02 09:45:00,000001,2025-01-02,09:45:00,15,9,12,8,10,100,1060.5\r\n"
                     "\r\n");
    CHECK_INT(file.n_bars, 1);
    CHECK_INT(file.n_lines, 1);
    CHECK_INT(file.bars[0].date, 20250102);
    CHECK_INT(file.bars[0].second, 35100);
    CHECK(file.bars[0].money == 1060.5);
    bars_free(&file);

    read_text(&file, "date,open,high,low,close,volume\r\n2020-01-02,9,12,8,10,100\r\n");
    CHECK_INT(file.n_bars, 1);
    CHECK_INT(file.bars[0].second, -1);
    CHECK(file.bars[0].money == 1000 && !file.bars[0].regular);
    bars_free(&file);

    read_text(&file, "datetime,high,low,close,volume\n2020-01-02T10:00,12,8,10,100\n");
    CHECK_INT(file.n_bars, 1);
    CHECK_INT(file.bars[0].second, 36000);
    bars_free(&file);
}

static void bad_lines_are_noted_and_the_others_used(void)
{
    struct bar_file file;

    read_text(&file, "date,open,high,low,close,volume\n"
                     "2020-01-02,9,12,8,10,100\n"
                     "2020-01-03,9,12\n"
                     "2020-01-32,9,12,8,10,100\n"
                     "2020-01-06,9,n\x1b[2J,8,10,100\n"
                     "2020-01-07,9,8,12,10,100\n"
                     "2020-01-08,9,12,8,10,-1\n"
                     "2020-01-09,9,12,0,10,5\n"
                     "2020-01-10,9,12,8,10,100\n");
    CHECK_INT(file.n_bars, 2);
    CHECK_INT(file.n_bad, 6);
    CHECK_INT(file.n_lines, 8);
    CHECK_INT(file.bad[0].line, 3);
    CHECK_TEXT(file.bad[0].reason, "has 3 fields, the header 6");
    CHECK_INT(file.bad[1].line, 4);
    CHECK_TEXT(file.bad[1].reason, "column 'date' holds '2020-01-32'");
    CHECK_TEXT(file.bad[2].reason, "column 'high' holds 'n?[2J'"); /* safe to print */
    bars_free(&file);
}

static void bars_without_trade_are_idle_not_bad(void)
{
    struct bar_file file;

    read_text(&file, "date,open,high,low,close,volume\n"
                     "2020-01-02,0,0,0,0,0\n"
                     "2020-01-03,9,9,9,9,\n"
                     "2020-01-06,9,9,9,9,0\n");
    CHECK_INT(file.n_idle, 2);
    CHECK_INT(file.n_bad, 0);
    CHECK_INT(file.n_bars, 1);
    bars_free(&file);
}

static void lines_out_of_order_are_sorted_and_repeats_left_out(void)
{
    const struct bar *bars;
    struct bar_file file;

    read_text(&file, "date,time,high,low,close,volume\n"
                     "2020-01-03,10:00,12,8,3,1\n"
                     "2020-01-02,10:15,12,8,2,1\n"
                     "2020-01-02,10:00,12,8,1,1\n"
                     "2020-01-02,10:15,12,8,9,1\n");
    CHECK_INT(file.n_bars, 3);
    CHECK_INT(file.n_bad, 1);
    CHECK_INT(file.bad[0].line, 5);
    CHECK_TEXT(file.bad[0].reason, "has the time of line 3");
    CHECK_INT(bars_of_day(&file, 20200102, &bars), 2);
    CHECK(bars[0].close == 1 && bars[1].close == 2);
    CHECK_INT(bars_of_day(&file, 20200103, &bars), 1);
    CHECK_INT(bars_of_day(&file, 20200104, &bars), 0);
    bars_free(&file);
}

static void files_that_can_not_be_used_say_why(void)
{
    struct bar_file file;
    char message[256];

    check_refused("", BARS_NO_COLUMN, "is empty");
    check_refused("date,open,high,low,volume\n", BARS_NO_COLUMN, "no column 'close'");
    check_refused("time,high,low,close,volume\n", BARS_NO_COLUMN,
                  "no column 'timestamp', 'datetime' or 'date'");
    CHECK_INT(bars_read(&file, "no/such/file.csv", message, sizeof message), BARS_NO_FILE);
    CHECK(strstr(message, "no/such/file.csv") != NULL);
}

/* ------------------------------------------------------------------ factors */

static int nearly(double value, double expected)
{
    return fabs(value - expected) <= 1e-15 * fabs(expected);
}

static void factors_are_those_worked_out_by_hand(void)
{
    /* ratios 1.5, 1.25, 1.75; closes 10, 20, 10; prices 11, 12, 13 */
    const struct bar bars[] = {
        {20240102, 54000, 1, 2, 12, 8, 10, 100, 1100},
        {20240102, 57540, 1, 3, 10, 8, 20, 200, 2400},
        {20240102, 57600, 0, 4, 14, 8, 10, 100, 1300},
    };
    double factors[N_FACTORS];

    day_factors(bars, 3, factors);
    CHECK(nearly(factors[FACTOR_HL_STD], 0.25));
    CHECK(nearly(factors[FACTOR_REALISED_VOL], sqrt(2) * log(2)));
    CHECK(nearly(factors[FACTOR_VWAP_TO_CLOSE], 1.2));
    CHECK(nearly(factors[FACTOR_LAST30_SHARE], 0.5)); /* of 400: 15:59, not 15:00 and 16:00 */
}

static void last_half_hour_is_open_at_its_begin(void)
{
    struct bar bars[] = {
        {20250102, 52200, 1, 2, 1, 1, 1, 10, 10}, /* ends 14:30 */
        {20250102, 53100, 1, 3, 1, 1, 1, 20, 20},
        {20250102, 54000, 1, 4, 1, 1, 1, 10, 10}, /* ends 15:00 */
    };
    double factors[N_FACTORS];

    day_factors(bars, 3, factors);
    CHECK(factors[FACTOR_LAST30_SHARE] == 0.75);
    day_factors(bars, 2, factors); /* the day's own last bar, not the clock's */
    CHECK(factors[FACTOR_LAST30_SHARE] == 1.0);
}

static void what_is_undefined_is_nan(void)
{
    struct bar bars[] = {
        {20250102, -1, 0, 2, 3, 3, 3, 0, 0},
        {20250102, 54000, 0, 2, 3, 3, 3, 5, 15},
        {20250102, 54060, 0, 2, 3, 3, 3, 5, 15},
    };
    double factors[N_FACTORS];

    day_factors(bars, 1, factors);
    for (size_t i = 0; i < N_FACTORS; i++)
        CHECK(isnan(factors[i]));
    day_factors(bars + 1, 2, factors);
    CHECK(factors[FACTOR_HL_STD] == 0 && factors[FACTOR_REALISED_VOL] == 0);
    CHECK(factors[FACTOR_VWAP_TO_CLOSE] == 1);
    CHECK(isnan(factors[FACTOR_LAST30_SHARE])); /* no regular bar */
}

int main(void)
{
    folder = folder_make_temporary();
    if (!folder)
        return EXIT_FAILURE;
    RUN(dates_and_days_are_inverse_over_centuries);
    RUN(new_york_changes_its_clocks_at_two_in_the_night);
    RUN(new_york_times_of_trading_days_come_back);
    RUN(regular_hours_end_early_on_half_days);
    RUN(chinese_bars_end_from_after_the_opening_to_the_close);
    RUN(numbers_are_those_of_strtod);
    RUN(many_decimals_are_rounded_as_strtod_does);
    RUN(dates_and_times_are_checked);
    RUN(both_dialects_are_read);
    RUN(bad_lines_are_noted_and_the_others_used);
    RUN(bars_without_trade_are_idle_not_bad);
    RUN(lines_out_of_order_are_sorted_and_repeats_left_out);
    RUN(files_that_can_not_be_used_say_why);
    RUN(factors_are_those_worked_out_by_hand);
    RUN(last_half_hour_is_open_at_its_begin);
    RUN(what_is_undefined_is_nan);
    folder_remove(folder);
    free(folder);
    return TEST_END();
}
