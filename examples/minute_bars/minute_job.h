/* The job of the minute bar example: which tasks there are in a folder of CSV files, the function
 * that computes them, and a run of it with a backup. This is the part that shows how a program
 * uses libfacpool; minute_bars.c calls it. */
#ifndef MINUTE_JOB_H
#define MINUTE_JOB_H

#include <facpool/facpool.h>

#include <stdatomic.h>

struct minute_job {
    const char *folder; /* the caller's */
    char **codes;       /* stems of the files, sorted */
    size_t n_codes;
    int64_t *dates; /* on which at least one instrument traded, ascending */
    size_t n_dates;
    size_t n_bars;              /* usable ones in all files, */
    size_t n_idle;              /* zero-filled or without a volume, */
    size_t n_bad;               /* and lines that can't be read */
    facpool_tasks *tasks;       /* dates x codes */
    atomic_size_t groups_begun; /* files taken up by the current run */
    size_t hold_after;          /* this many files, then wait for the end of stdin; 0: never */
};

struct minute_run {
    const char *backup;
    int32_t mode; /* FACPOOL_MODE_* */
    uint32_t workers;
    uint32_t flush_ms;
    facpool_cancel *cancel;
    FILE *progress; /* NULL: none */
};

/* Reads every file once to learn the dates, and reports lines that can't be used to `complaints`
 * (NULL: not at all), the first of each file and a count. Returns 0, or -1 having printed why not.
 */
int minute_job_open(struct minute_job *job, const char *folder, FILE *complaints);

/* As facpool_run. Notes of the library go to stderr. */
int minute_job_run(struct minute_job *job, const struct minute_run *run, facpool_result **out,
                   facpool_error *err);

void minute_job_close(struct minute_job *job);

#endif
