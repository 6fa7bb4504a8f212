/* What the minute bar example prints: a run's report, two questions asked of its backup, and the
 * comparison of two results. Reads through the public header only and changes nothing. */
#ifndef MINUTE_SHOW_H
#define MINUTE_SHOW_H

#include "minute_job.h"

/* Counts, failures, slowest files, times and the file. Returns 0 or a FACPOOL_E_* code. */
int show_report(const facpool_result *result, const char *backup, facpool_error *err);

/* One code over two weeks, and one date over a few codes. Returns 0 or a FACPOOL_E_* code. */
int show_queries(const struct minute_job *job, const char *backup, facpool_error *err);

/* Compares every status and every factor's bits. Returns how many differ, or a FACPOOL_E_* code. */
int64_t count_differences(const facpool_result *left, const facpool_result *right,
                          facpool_error *err);

/* Rows in a backup, also while another process writes it; a file that isn't there has none. */
int count_rows(uint64_t *rows, const char *backup, facpool_error *err);

#endif
