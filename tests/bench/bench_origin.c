/* ORIGIN: the table that the system this library comes from documents: 1,000 tasks, per format the
 * tasks a second with a backup, the seconds of a question, and the size of the file. Called by
 * bench_main.c; prints its own table.
 *
 * How many factors its rows had is not documented. Its records are a date of 8 bytes, a code of 16,
 * a time of 8 and the factors; 73.4 KB for 1,000 of them is 73 bytes each: five factors of 8 bytes
 * are taken, which makes 72. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#define ORIGIN_DATES   10
#define ORIGIN_CODES   100
#define ORIGIN_FACTORS 5
#define ORIGIN_ROUNDS  60

static const struct {
    const char *format;
    const char *figures; /* as documented */
} origin_rows[] = {{"json", "363 k/s, 98.5 KB"},
                   {"binary", "285 k/s, 73.4 KB"},
                   {"memory_map", "480 k/s, 73.4 KB"}};

static int origin_factors(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    bench_factors_of(task->date, task->code, factors);
    factors[3] = factors[0] * factors[1];
    factors[4] = factors[1] - factors[2];
    return 0;
}

static double run_tasks(const bench_work *work, const char *path, const char *format,
                        int32_t durability)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    double start = bench_now();
    double took;

    backup.path = path;
    backup.format = format;
    backup.durability = durability;
    options.fn = origin_factors;
    options.n_factors = ORIGIN_FACTORS;
    options.backup = &backup;
    BENCH_OK(facpool_run(work->grid, &options, &result, &err), err);
    took = bench_now() - start;
    facpool_result_free(result);
    return took;
}

/* All rows, one by one, of a file that is opened for it; or those of one date and two codes. */
static double query_rows(const char *path, const facpool_filter *filter, size_t n_expected)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    double start = bench_now();
    size_t n = 0;
    int more;

    BENCH_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    BENCH_OK(facpool_query(reader, filter, &cursor, &err), err);
    while ((more = facpool_cursor_next(cursor, &row, &err)) == 1) {
        n++;
    }
    BENCH_OK(more, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    if (n != n_expected) {
        bench_die("%s gave %zu rows, not %zu", path, n, n_expected);
    }
    return bench_now() - start;
}

typedef struct origin_figures {
    bench_series none, group, all, point;
    double kilobytes;
} origin_figures;

static void measure_origin(const bench_context *context, const bench_work *work, const char *format,
                           origin_figures *figures)
{
    char *path = bench_path(context, "origin");
    const char *codes[2] = {work->codes[3], work->codes[70]};
    facpool_filter filter = FACPOOL_FILTER_INIT;

    filter.dates = &work->dates[5];
    filter.n_dates = 1;
    filter.codes = codes;
    filter.n_codes = 2;
    for (size_t i = 0; i < bench_rounds(context, ORIGIN_ROUNDS); i++) {
        bench_add(&figures->group,
                  (double)work->n / run_tasks(work, path, format, FACPOOL_DURABILITY_GROUP));
        bench_remove(path);
        bench_add(&figures->none,
                  (double)work->n / run_tasks(work, path, format, FACPOOL_DURABILITY_NONE));
        bench_add(&figures->all, query_rows(path, NULL, work->n));
        bench_add(&figures->point, query_rows(path, &filter, 2));
        figures->kilobytes = 1e-3 * (double)bench_file_bytes(path);
        bench_remove(path);
    }
    free(path);
}

static void print_row(const char *format, const char *documented, const origin_figures *figures)
{
    char none[BENCH_CELL], group[BENCH_CELL], all[BENCH_CELL], point[BENCH_CELL];

    bench_cell(none, &figures->none, 1e-3, " k/s");
    bench_cell(group, &figures->group, 1e-3, " k/s");
    bench_cell(all, &figures->all, 1e3, " ms");
    bench_cell(point, &figures->point, 1e3, " ms");
    printf("| %s | %s | %s | %s | %s | %.1f KB | %s |\n", format, none, group, all, point,
           figures->kilobytes, documented);
}

void bench_origin(const bench_context *context)
{
    bench_work work;

    if (!bench_wanted(context, "ORIGIN")) {
        return;
    }
    bench_work_init(&work, ORIGIN_DATES, ORIGIN_CODES, 2016);
    printf("\n1,000 tasks with a backup, %d factors (rows of 72 bytes, as the origin's 73.4 KB "
           "suggest).\nThe origin never syncs its file, so durability none compares; the origin's "
           "figures are its\ndocumentation's, of another machine.\n\n",
           ORIGIN_FACTORS);
    puts("| format | tasks/s, none | tasks/s, group | all rows | 1 date x 2 codes | file | origin "
         "|");
    puts("| --- | --- | --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < sizeof(origin_rows) / sizeof(origin_rows[0]); i++) {
        origin_figures figures = {0};
        const bench_format *format = bench_formats;
        while (strcmp(format->name, origin_rows[i].format) != 0) {
            format++;
        }
        if (!bench_has_format(context, format)) {
            printf("| %s | SKIPPED: this library does not write it | - | - | - | - | %s |\n",
                   origin_rows[i].format, origin_rows[i].figures);
            continue;
        }
        measure_origin(context, &work, origin_rows[i].format, &figures);
        print_row(origin_rows[i].format, origin_rows[i].figures, &figures);
    }
    bench_work_free(&work);
}
