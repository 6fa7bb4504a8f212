/* P7: reading one factor of every row, against a loop that adds up the same doubles in memory; and
 * for text, which has no columns, reading all rows. Called by bench_read.c. */
#include "bench.h"
#include "bench_shelf.h"

#include <stdio.h>
#include <stdlib.h>

/* Four sums, so that no addition waits for the one before it. */
static double sum_of(const double *values, size_t n)
{
    double a = 0.0, b = 0.0, c = 0.0, d = 0.0;
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        a += values[i];
        b += values[i + 1];
        c += values[i + 2];
        d += values[i + 3];
    }
    for (; i < n; i++) {
        a += values[i];
    }
    return a + b + c + d;
}

static facpool_reader *open_ours(const bench_shelf *s)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    const char *path = s->ours;

    BENCH_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    return reader;
}

/* What the rows of a batch come to: the asked factor, or all of them. */
static double add_batch(const facpool_batch_view *view)
{
    double sum = 0.0;

    for (size_t k = 0; k < view->n_factors; k++) {
        sum += sum_of(view->factors[k], view->n_rows);
    }
    return sum;
}

static double ask(const bench_shelf *s, facpool_reader *reader, const facpool_filter *filter)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_cursor *cursor = NULL;
    double sum = 0.0;
    size_t n = 0;
    int more;

    BENCH_OK(facpool_query(reader, filter, &cursor, &err), err);
    while ((more = facpool_cursor_next_batch(cursor, &view, &err)) == 1) {
        sum += add_batch(&view);
        n += view.n_rows;
    }
    BENCH_OK(more, err);
    facpool_cursor_free(cursor);
    if (n != s->work.n) {
        bench_die("a scan of %s gave %zu rows, not %zu", s->ours, n, s->work.n);
    }
    return sum;
}

static void fill_memory(const bench_shelf *s, size_t factor, double *memory)
{
    for (size_t i = 0; i < s->work.n; i++) {
        double factors[BENCH_FACTORS];
        bench_factors_of(s->work.dates[i / s->work.n_codes], s->work.codes[i % s->work.n_codes],
                         factors);
        memory[i] = factors[factor];
    }
}

/* Seconds, and the sum, of a scan by a reader that is open, or with NULL of one opened for it. */
static double scan_ours(const bench_shelf *s, facpool_reader *reader, size_t factor, double *sum)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    const char *name = bench_factor_names[factor];
    double start = bench_now();

    filter.factors = &name;
    filter.n_factors = 1;
    filter.columns = FACPOOL_COLUMN_NONE;
    if (reader) {
        *sum = ask(s, reader, &filter);
        return bench_now() - start;
    }
    reader = open_ours(s);
    *sum = ask(s, reader, &filter);
    facpool_reader_free(reader);
    return bench_now() - start;
}

typedef struct scan {
    bench_series opened, open, memory; /* GB/s */
} scan;

static void report_scan(const bench_shelf *s, size_t factor, const char *how,
                        const bench_series *ours, const bench_series *memory, double gb,
                        double of_memory)
{
    bench_row row = {.id = "P7", .target = "-"};
    double ratio = bench_ratio(ours, memory);

    snprintf(row.what, sizeof(row.what), "%s: scan of the %s column, %s, 1 thread; sum over memory",
             s->format->name, bench_factor_names[factor], how);
    bench_cell(row.ours, ours, 1.0, " GB/s");
    bench_cell(row.peer, memory, 1.0, " GB/s");
    snprintf(row.ratio, BENCH_CELL, "%.2fx", ratio);
    if (gb > 0.0) {
        snprintf(row.target, BENCH_CELL, ">= %g GB/s", gb);
        row.verdict = bench_judge(bench_median(ours) >= gb);
    } else if (of_memory > 0.0) {
        snprintf(row.target, BENCH_CELL, ">= %gx", of_memory);
        row.verdict = bench_judge(ratio >= of_memory);
    }
    bench_report(&row);
}

static void measure_scan(const bench_context *context, const bench_shelf *s, size_t factor,
                         double *memory)
{
    double gigabytes = 8e-9 * (double)s->work.n;
    facpool_reader *reader = open_ours(s);
    double expected, sum;
    scan c = {0};

    fill_memory(s, factor, memory);
    (void)scan_ours(s, reader, factor, &sum); /* pages in the map, blocks checked */
    for (size_t i = 0; i < bench_rounds(context, 9); i++) {
        double start = bench_now();
        expected = sum_of(memory, s->work.n);
        bench_keep(&expected);
        bench_add(&c.memory, gigabytes / (bench_now() - start));
        bench_add(&c.open, gigabytes / scan_ours(s, reader, factor, &sum));
        bench_check_answer("a scan", s->work.n, s->work.n, sum / expected, 1.0);
        bench_add(&c.opened, gigabytes / scan_ours(s, NULL, factor, &sum));
        bench_check_answer("a scan", s->work.n, s->work.n, sum / expected, 1.0);
    }
    facpool_reader_free(reader);
    report_scan(s, factor, "file opened for it", &c.opened, &c.memory, s->format->scan_gb, 0.0);
    if (s->format->scan_of_memory > 0.0) {
        report_scan(s, factor, "file open and read before", &c.open, &c.memory, 0.0,
                    s->format->scan_of_memory);
    }
}

/* All columns of all rows. */
static void measure_reading(const bench_context *context, const bench_shelf *s)
{
    double millions = 1e-6 * (double)s->work.n;
    bench_row row = {.id = "P7", .peer = "-", .ratio = "-", .target = "-"};
    bench_series ours = {0};

    for (size_t i = 0; i < bench_rounds(context, 5); i++) {
        double start = bench_now();
        facpool_reader *reader = open_ours(s);
        double sum = ask(s, reader, NULL);
        bench_keep(&sum);
        facpool_reader_free(reader);
        bench_add(&ours, millions / (bench_now() - start));
    }
    snprintf(row.what, sizeof(row.what),
             "%s: all rows, all columns and %d factors, file opened for it, 1 thread",
             s->format->name, BENCH_FACTORS);
    bench_cell(row.ours, &ours, 1.0, " M/s");
    if (s->format->read_rows > 0.0) {
        snprintf(row.target, BENCH_CELL, ">= %g M/s", s->format->read_rows);
        row.verdict = bench_judge(bench_median(&ours) >= s->format->read_rows);
    }
    bench_report(&row);
}

void bench_scans(const bench_context *context, const bench_shelf *s)
{
    bool has_columns = s->format->scan_gb > 0.0 || s->format->scan_of_memory > 0.0;
    double *memory = has_columns ? bench_alloc(s->work.n * sizeof(double)) : NULL;

    for (size_t k = 0; memory && k < BENCH_FACTORS; k++) {
        measure_scan(context, s, k, memory);
    }
    free(memory);
    measure_reading(context, s);
}
