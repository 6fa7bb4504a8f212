#include "factors.h"

#include <math.h>

#define LAST_SECONDS 1800

const char *const factor_names[N_FACTORS] = {"hl_std", "realised_vol", "vwap_to_close",
                                             "last30_share"};

/* Two passes over the distances from the first ratio: no cancellation, and equal ratios give
 * exactly 0. */
static double high_low_std(const struct bar *bars, size_t n)
{
    double first = bars[0].high / bars[0].low;
    double sum = 0, squares = 0, mean;

    if (n < 2)
        return NAN;
    for (size_t i = 0; i < n; i++)
        sum += bars[i].high / bars[i].low - first;
    mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double distance = bars[i].high / bars[i].low - first - mean;
        squares += distance * distance;
    }
    return sqrt(squares / (double)(n - 1));
}

/* log1p of the relative change keeps all digits of a one-tick move; log of the ratio loses six. */
static double realised_volatility(const struct bar *bars, size_t n)
{
    double squares = 0;

    if (n < 2)
        return NAN;
    for (size_t i = 1; i < n; i++) {
        double log_return = log1p((bars[i].close - bars[i - 1].close) / bars[i - 1].close);
        squares += log_return * log_return;
    }
    return sqrt(squares);
}

static double volume_of(const struct bar *bars, size_t n)
{
    double volume = 0;

    for (size_t i = 0; i < n; i++)
        volume += bars[i].volume;
    return volume;
}

static double average_price_to_close(const struct bar *bars, size_t n, double volume)
{
    double money = 0;

    if (!(volume > 0))
        return NAN;
    for (size_t i = 0; i < n; i++)
        money += bars[i].money;
    return money / volume / bars[n - 1].close;
}

static double last_minutes_share(const struct bar *bars, size_t n, double volume)
{
    size_t end = n, begin;

    while (end > 0 && !bars[end - 1].regular)
        end--;
    if (end == 0 || !(volume > 0))
        return NAN;
    begin = end - 1;
    while (begin > 0 && bars[begin - 1].second > bars[end - 1].second - LAST_SECONDS)
        begin--;
    return volume_of(bars + begin, end - begin) / volume;
}

void day_factors(const struct bar *bars, size_t n, double factors[N_FACTORS])
{
    double volume = volume_of(bars, n);

    factors[FACTOR_HL_STD] = high_low_std(bars, n);
    factors[FACTOR_REALISED_VOL] = realised_volatility(bars, n);
    factors[FACTOR_VWAP_TO_CLOSE] = average_price_to_close(bars, n, volume);
    factors[FACTOR_LAST30_SHARE] = last_minutes_share(bars, n, volume);
}
