/* The four factors of the minute bar example, computed from one instrument's bars of one day.
 *
 * "The day's bars" are all usable bars that the file has for the day, in the order of time, those
 * before the opening and after the close included. The close is the last bar's. A factor that its
 * bars leave undefined is NaN, which is a value like any other.
 *
 *  hl_std         sample standard deviation (n - 1) of high / low over the bars; NaN for one bar
 *  realised_vol   square root of the sum of squared log returns from each bar's close to the
 *                 next one's, within the day and not annualised; NaN for one bar
 *  vwap_to_close  volume-weighted average price divided by the close: sum of money traded by sum
 *                 of volume; NaN without volume
 *  last30_share   volume in the 30 minutes up to the day's own last regular bar, by the day's
 *                 whole volume. With T the time the file gives that bar, these are the bars with
 *                 a time in (T - 30 min, T]: right for bars that carry their start and for bars
 *                 that carry their end, of any length that divides 30 minutes. NaN without
 *                 volume, without a regular bar, and for bars without a time of day */
#ifndef FACTORS_H
#define FACTORS_H

#include "bars.h"

enum { FACTOR_HL_STD, FACTOR_REALISED_VOL, FACTOR_VWAP_TO_CLOSE, FACTOR_LAST30_SHARE, N_FACTORS };

extern const char *const factor_names[N_FACTORS];

/* `bars`: the n > 0 usable bars of one day, by time. */
void day_factors(const struct bar *bars, size_t n, double factors[N_FACTORS]);

#endif
