/* A backup that questions are put to, and what bench_read.c and bench_scan.c share about it. */
#ifndef FP_BENCH_SHELF_H
#define FP_BENCH_SHELF_H

#include "bench.h"

typedef struct bench_shelf {
    const bench_format *format;
    bench_work work;
    char *ours;
    const char *sqlite; /* holds the same rows; NULL: not available */
} bench_shelf;

/* Ends the program where an answer is wrong: what is wrong need not be measured. */
void bench_check_answer(const char *who, size_t n, size_t n_expected, double sum, double expected);

void bench_scans(const bench_context *context, const bench_shelf *s); /* P7 */

#endif
