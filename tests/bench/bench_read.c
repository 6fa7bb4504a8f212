/* P5 to P8: what it takes to find rows again in a binary backup that is opened for the question,
 * and to resume from it. SQLite answers the same questions from the same rows. Called by
 * bench_main.c. */
#include "bench.h"
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct shelf {
    bench_work work;
    char *ours;
    char *sqlite; /* NULL: not available */
} shelf;

static void store_ours(const shelf *s)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;

    options.fn = bench_factors;
    options.n_factors = BENCH_FACTORS;
    options.factor_names = bench_factor_names;
    options.backup_path = s->ours;
    BENCH_OK(facpool_run(s->work.grid, &options, &result, &err), err);
    facpool_result_free(result);
}

static void fill_shelf(shelf *s, const bench_context *context)
{
    bool sqlite_wanted =
        peer_sqlite.load && (bench_wanted(context, "P5") || bench_wanted(context, "P6"));

    bench_work_init(&s->work, context->quick ? 200 : 2000, 5000, 2016);
    s->ours = bench_path(context, "shelf.fpb");
    store_ours(s);
    s->sqlite = sqlite_wanted ? bench_path(context, "shelf.db") : NULL;
    if (s->sqlite) {
        peer_load load = {&s->work, s->sqlite, FACPOOL_DURABILITY_NONE, 0};
        bench_say("filling SQLite with the same rows");
        peer_sqlite.load(&load);
        peer_sqlite_settle(s->sqlite);
    }
    bench_settle(context);
}

static void clear_shelf(shelf *s)
{
    bench_remove(s->ours);
    free(s->ours);
    if (s->sqlite) {
        bench_remove(s->sqlite);
        free(s->sqlite);
    }
    bench_work_free(&s->work);
}

/* ------------------------------------------------------------------ P5, P6 */

/* Opens, asks, reads row by row, closes. */
static size_t ask_ours(const char *path, const facpool_filter *filter, double *sum)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    int more;

    BENCH_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    BENCH_OK(facpool_query(reader, filter, &cursor, &err), err);
    while ((more = facpool_cursor_next(cursor, &row, &err)) == 1) {
        for (size_t k = 0; k < BENCH_FACTORS; k++) {
            *sum += row.factors[k];
        }
        n++;
    }
    BENCH_OK(more, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return n;
}

static double expected_sum(int64_t date, const char *code)
{
    double factors[BENCH_FACTORS];

    bench_factors_of(date, code, factors);
    return factors[0] + factors[1] + factors[2];
}

static void check_answer(const char *who, size_t n, size_t n_expected, double sum, double expected)
{
    double off = sum > expected ? sum - expected : expected - sum;

    if (n != n_expected || off > 1e-6) {
        bench_die("%s found %zu rows (sum %.9g), not %zu (sum %.9g)", who, n, sum, n_expected,
                  expected);
    }
}

static void report_question(const char *id, const char *what, const bench_series *ours,
                            const bench_series *peer, double target_ms)
{
    double took_ms = 1e3 * bench_median(ours);
    bench_row row = {.peer = "-", .ratio = "-"};

    snprintf(row.id, sizeof(row.id), "%s", id);
    snprintf(row.what, sizeof(row.what), "%s; SQLite", what);
    bench_cell(row.ours, ours, 1e3, " ms");
    if (peer->n > 0) {
        bench_cell(row.peer, peer, 1e3, " ms");
        snprintf(row.ratio, BENCH_CELL, "%.2fx", bench_ratio(peer, ours));
    }
    snprintf(row.target, BENCH_CELL, "<= %g ms", target_ms);
    row.verdict = bench_judge(took_ms <= target_ms);
    bench_report(&row);
}

static void measure_point(const bench_context *context, const shelf *s)
{
    size_t rounds = context->quick ? 50 : 500;
    bench_series ours = {0}, peer = {0};
    char what[128];

    for (size_t i = 0; i < rounds + 1; i++) {
        uint64_t h = bench_mix(i + 1);
        int64_t date = s->work.dates[h % s->work.n_dates];
        size_t first = (h >> 20) % s->work.n_codes;
        size_t second = (first + 1 + (h >> 40) % (s->work.n_codes - 1)) % s->work.n_codes;
        const char *codes[2] = {s->work.codes[first], s->work.codes[second]};
        facpool_filter filter = FACPOOL_FILTER_INIT;
        double expected = expected_sum(date, codes[0]) + expected_sum(date, codes[1]);
        double sum = 0.0;
        double start = bench_now();
        size_t n;

        filter.dates = &date;
        filter.n_dates = 1;
        filter.codes = codes;
        filter.n_codes = 2;
        n = ask_ours(s->ours, &filter, &sum);
        if (i > 0) { /* the first one warms up */
            bench_add(&ours, bench_now() - start);
        }
        check_answer("ours", n, 2, sum, expected);
        if (s->sqlite) {
            sum = 0.0;
            start = bench_now();
            n = peer_sqlite_point(s->sqlite, date, codes, &sum);
            if (i > 0) {
                bench_add(&peer, bench_now() - start);
            }
            check_answer("SQLite", n, 2, sum, expected);
        }
    }
    snprintf(what, sizeof(what), "1 date x 2 codes of %.0f M rows, file opened for it",
             1e-6 * (double)s->work.n);
    report_question("P5", what, &ours, &peer, 0.5);
}

static void measure_history(const bench_context *context, const shelf *s)
{
    size_t rounds = context->quick ? 5 : 40;
    bench_series ours = {0}, peer = {0};
    char what[128];

    for (size_t i = 0; i < rounds + 1; i++) {
        const char *code = s->work.codes[bench_mix(i + 77) % s->work.n_codes];
        facpool_filter filter = FACPOOL_FILTER_INIT;
        double expected = 0.0;
        double sum = 0.0;
        double start;
        size_t n;

        for (size_t d = 0; d < s->work.n_dates; d++) {
            expected += expected_sum(s->work.dates[d], code);
        }
        filter.codes = &code;
        filter.n_codes = 1;
        start = bench_now();
        n = ask_ours(s->ours, &filter, &sum);
        if (i > 0) {
            bench_add(&ours, bench_now() - start);
        }
        check_answer("ours", n, s->work.n_dates, sum, expected);
        if (s->sqlite) {
            sum = 0.0;
            start = bench_now();
            n = peer_sqlite_history(s->sqlite, &s->work, code, &sum);
            if (i > 0) {
                bench_add(&peer, bench_now() - start);
            }
            check_answer("SQLite", n, s->work.n_dates, sum, expected);
        }
    }
    snprintf(what, sizeof(what), "one code on all %zu dates, file opened for it", s->work.n_dates);
    report_question("P6", what, &ours, &peer, 40.0);
}

/* ------------------------------------------------------------------ P7 */

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

static double scan_ours(const shelf *s, const char *factor, double *sum)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    const char *path = s->ours;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    double start = bench_now();
    double took;
    size_t n = 0;
    int more;

    filter.factors = &factor;
    filter.n_factors = 1;
    filter.columns = FACPOOL_COLUMN_NONE;
    BENCH_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    BENCH_OK(facpool_query(reader, &filter, &cursor, &err), err);
    *sum = 0.0;
    while ((more = facpool_cursor_next_batch(cursor, &view, &err)) == 1) {
        *sum += sum_of(view.factors[0], view.n_rows);
        n += view.n_rows;
    }
    BENCH_OK(more, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    took = bench_now() - start;
    if (n != s->work.n) {
        bench_die("a scan of %s gave %zu rows, not %zu", factor, n, s->work.n);
    }
    return took;
}

static void measure_scan(const bench_context *context, const shelf *s, size_t factor,
                         double *memory)
{
    double gigabytes = 8e-9 * (double)s->work.n;
    bench_series ours = {0}, peer = {0};
    bench_row row = {.id = "P7", .target = ">= 1 GB/s"};
    double expected, sum;

    for (size_t i = 0; i < s->work.n; i++) {
        double factors[BENCH_FACTORS];
        bench_factors_of(s->work.dates[i / s->work.n_codes], s->work.codes[i % s->work.n_codes],
                         factors);
        memory[i] = factors[factor];
    }
    for (size_t i = 0; i < bench_rounds(context, 9); i++) {
        double start = bench_now();
        expected = sum_of(memory, s->work.n);
        bench_keep(&expected);
        bench_add(&peer, gigabytes / (bench_now() - start));
        bench_add(&ours, gigabytes / scan_ours(s, bench_factor_names[factor], &sum));
        check_answer("a scan", s->work.n, s->work.n, sum / expected, 1.0);
    }
    snprintf(row.what, sizeof(row.what),
             "scan of the %s column, file opened for it, 1 thread; sum over memory",
             bench_factor_names[factor]);
    bench_cell(row.ours, &ours, 1.0, " GB/s");
    bench_cell(row.peer, &peer, 1.0, " GB/s");
    snprintf(row.ratio, BENCH_CELL, "%.2fx", bench_ratio(&ours, &peer));
    row.verdict = bench_judge(bench_median(&ours) >= 1.0);
    bench_report(&row);
}

static void measure_scans(const bench_context *context, const shelf *s)
{
    double *memory = bench_alloc(s->work.n * sizeof(double));

    for (size_t k = 0; k < BENCH_FACTORS; k++) {
        measure_scan(context, s, k, memory);
    }
    free(memory);
}

/* ------------------------------------------------------------------ P8 */

static facpool_tasks *list_of(const bench_work *work)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    int64_t *dates = bench_alloc(work->n_codes * sizeof(*dates));

    BENCH_OK(facpool_tasks_new(&tasks, &err), err);
    for (size_t d = 0; d < work->n_dates; d++) {
        for (size_t c = 0; c < work->n_codes; c++) {
            dates[c] = work->dates[d];
        }
        BENCH_OK(facpool_tasks_add_columns(tasks, work->n_codes, dates, work->codes, &err), err);
    }
    free(dates);
    return tasks;
}

static facpool_tasks *grid_of(const bench_work *work)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;

    BENCH_OK(
        facpool_tasks_grid(&tasks, work->dates, work->n_dates, work->codes, work->n_codes, &err),
        err);
    return tasks;
}

/* The time until the job knows that nothing is left to do. */
static double resume_ours(const shelf *s, const facpool_tasks *tasks)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_report report = FACPOOL_REPORT_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_job *job = NULL;
    facpool_result *result = NULL;
    double start = bench_now();
    double took;

    backup.path = s->ours;
    backup.mode = FACPOOL_MODE_RESUME;
    options.workers = 1;
    options.n_factors = BENCH_FACTORS;
    options.factor_names = bench_factor_names;
    options.backup = &backup;
    BENCH_OK(facpool_job_open(&job, tasks, &options, &err), err);
    took = bench_now() - start;
    BENCH_OK(facpool_job_finish(job, &result, &err), err);
    BENCH_OK(facpool_result_report(result, &report, &err), err);
    if (report.resumed != s->work.n) {
        bench_die("resumed %llu of %zu tasks", (unsigned long long)report.resumed, s->work.n);
    }
    facpool_result_free(result);
    return took;
}

static void measure_resume(const bench_context *context, const shelf *s, const char *kind,
                           facpool_tasks *(*make)(const bench_work *work), double target_s)
{
    bench_series ours = {0};
    bench_row row = {.id = "P8", .peer = "-"};

    for (size_t i = 0; i < bench_rounds(context, 5); i++) {
        facpool_tasks *tasks = make(&s->work);
        bench_add(&ours, resume_ours(s, tasks));
        facpool_tasks_free(tasks);
    }
    snprintf(row.what, sizeof(row.what), "resume: open and subtract %.0f M done of %.0f M, %s",
             1e-6 * (double)s->work.n, 1e-6 * (double)s->work.n, kind);
    bench_cell(row.ours, &ours, 1.0, " s");
    snprintf(row.ratio, BENCH_CELL, "%.2f of it", bench_median(&ours) / target_s);
    snprintf(row.target, BENCH_CELL, "<= %.1f s", target_s);
    row.verdict = bench_judge(bench_median(&ours) <= target_s);
    bench_report(&row);
}

void bench_read(const bench_context *context)
{
    shelf s = {0};

    if (!bench_wanted(context, "P5") && !bench_wanted(context, "P6") &&
        !bench_wanted(context, "P7") && !bench_wanted(context, "P8")) {
        return;
    }
    fill_shelf(&s, context);
    if (bench_wanted(context, "P5")) {
        measure_point(context, &s);
    }
    if (bench_wanted(context, "P6")) {
        measure_history(context, &s);
    }
    if (bench_wanted(context, "P7")) {
        measure_scans(context, &s);
    }
    if (bench_wanted(context, "P8")) {
        measure_resume(context, &s, "grid", grid_of, 0.3);
        measure_resume(context, &s, "list", list_of, 0.6);
    }
    clear_shelf(&s);
}
