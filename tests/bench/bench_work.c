/* The work that is measured: dates, codes, the callback, and a busy loop of known length. Used by
 * all groups of figures and by the peers, so that everyone does the same. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CODE_BYTES 7

const char *const bench_factor_names[BENCH_FACTORS] = {"zscore", "price", "rank"};

/* Days since 1970-01-01 to yyyymmdd, by Howard Hinnant's civil_from_days. */
static int64_t day_to_date(int64_t day)
{
    int64_t shifted = day + 719468;
    int64_t era = shifted / 146097;
    int64_t of_era = shifted % 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * of_year + 2) / 153;
    int64_t day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);

    return year * 10000 + month * 100 + day_of_month;
}

static void fill_dates(int64_t *dates, size_t n, int first_year)
{
    int64_t day = 0;
    size_t found = 0;

    while (day_to_date(day) < (int64_t)first_year * 10000) {
        day++;
    }
    for (; found < n; day++) {
        int64_t weekday = (day + 4) % 7; /* 0 is Sunday: 1970-01-01 was a Thursday */
        if (weekday != 0 && weekday != 6) {
            dates[found++] = day_to_date(day);
        }
    }
}

void bench_work_init(bench_work *work, size_t n_dates, size_t n_codes, int first_year)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    char *texts = bench_alloc(n_codes * CODE_BYTES);

    work->n_dates = n_dates;
    work->n_codes = n_codes;
    work->n = n_dates * n_codes;
    work->dates = bench_alloc(n_dates * sizeof(*work->dates));
    work->codes = bench_alloc(n_codes * sizeof(*work->codes));
    fill_dates(work->dates, n_dates, first_year);
    for (size_t i = 0; i < n_codes; i++) {
        snprintf(texts + i * CODE_BYTES, CODE_BYTES, "%06u", (unsigned)(i + 1) % 1000000U);
        work->codes[i] = texts + i * CODE_BYTES;
    }
    BENCH_OK(facpool_tasks_grid(&work->grid, work->dates, n_dates, work->codes, n_codes, &err),
             err);
}

void bench_work_free(bench_work *work)
{
    facpool_tasks_free(work->grid);
    free((void *)(uintptr_t)work->codes[0]); /* all codes are one piece of memory */
    free(work->codes);
    free(work->dates);
    memset(work, 0, sizeof(*work));
}

int bench_factors(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    bench_factors_of(task->date, task->code, factors);
    return 0;
}

uint64_t bench_spin(uint64_t steps)
{
    uint64_t x = steps | 1;

    for (uint64_t i = 0; i < steps; i++) {
        x = x * 0x5851f42d4c957f2dU + 0x14057b7ef767814fU;
        __asm__ volatile("" : "+r"(x)); /* keeps the chain a chain */
    }
    return x;
}

/* The least of several tries: the machine can only make the loop slower. */
static double measure_step(void)
{
    const uint64_t probe = 4000000;
    double best = 1e9;

    for (int i = 0; i < 9; i++) {
        double start = bench_now();
        uint64_t x = bench_spin(probe);
        double took = bench_now() - start;
        bench_keep(&x);
        best = took < best ? took : best;
    }
    return best / (double)probe;
}

uint64_t bench_spin_steps(double seconds)
{
    static double seconds_a_step;

    if (seconds_a_step == 0.0) {
        seconds_a_step = measure_step();
    }
    return (uint64_t)(seconds / seconds_a_step);
}
