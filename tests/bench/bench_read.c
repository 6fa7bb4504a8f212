/* P5, P6 and P8: what it takes to find rows again in a backup that is opened for the question, and
 * to resume from it, for every format. SQLite answers the same questions from the same rows. Called
 * by bench_main.c; scans (P7) are in bench_scan.c. */
#include "bench.h"
#include "bench_shelf.h"
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

static void store_ours(const bench_shelf *s)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;

    backup.path = s->ours;
    backup.format = s->format->name;
    options.fn = bench_factors;
    options.n_factors = BENCH_FACTORS;
    options.factor_names = bench_factor_names;
    options.backup = &backup;
    BENCH_OK(facpool_run(s->work.grid, &options, &result, &err), err);
    facpool_result_free(result);
}

static void fill_shelf(bench_shelf *s, const bench_context *context, const bench_format *format)
{
    char name[64];

    snprintf(name, sizeof(name), "shelf%s", format->suffix);
    s->format = format;
    s->ours = bench_path(context, name);
    bench_work_init(&s->work, context->quick ? format->n_dates / 10 : format->n_dates, 5000, 2016);
    bench_say("filling %s", format->name);
    store_ours(s);
    bench_settle(context);
}

/* Of the same work as the shelf, which is the full one. */
static char *fill_sqlite(const bench_context *context, const bench_shelf *s)
{
    char *path = bench_path(context, "shelf.db");
    peer_load load = {.work = &s->work, .path = path, .durability = FACPOOL_DURABILITY_NONE};

    bench_say("filling SQLite with the same rows");
    peer_sqlite.load(&load);
    peer_sqlite_settle(path);
    bench_settle(context);
    return path;
}

static void clear_shelf(bench_shelf *s)
{
    bench_remove(s->ours);
    free(s->ours);
    s->ours = NULL;
    bench_work_free(&s->work);
}

/* ------------------------------------------------------------------ P5, P6 */

/* Text is read whole for every question: after this much of it no more are asked. */
#define ENOUGH_SECONDS 4.0
#define LEAST_ROUNDS   5

static bool is_enough(double began, size_t rounds)
{
    return rounds > LEAST_ROUNDS && bench_now() - began > ENOUGH_SECONDS;
}

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

void bench_check_answer(const char *who, size_t n, size_t n_expected, double sum, double expected)
{
    double off = sum > expected ? sum - expected : expected - sum;

    if (n != n_expected || off > 1e-6) {
        bench_die("%s found %zu rows (sum %.9g), not %zu (sum %.9g)", who, n, sum, n_expected,
                  expected);
    }
}

/* target_ms 0: none. */
static void report_question(const char *id, const char *what, const bench_series *ours,
                            const bench_series *peer, double target_ms)
{
    double took_ms = 1e3 * bench_median(ours);
    bench_row row = {.peer = "-", .ratio = "-", .target = "-"};

    snprintf(row.id, sizeof(row.id), "%s", id);
    snprintf(row.what, sizeof(row.what), "%s; %s", what, peer->n > 0 ? "SQLite" : "no peer");
    bench_cell(row.ours, ours, 1e3, " ms");
    if (peer->n > 0) {
        bench_cell(row.peer, peer, 1e3, " ms");
        snprintf(row.ratio, BENCH_CELL, "%.2fx", bench_ratio(peer, ours));
    }
    if (target_ms > 0.0) {
        snprintf(row.target, BENCH_CELL, "<= %g ms", target_ms);
        row.verdict = bench_judge(took_ms <= target_ms);
    }
    bench_report(&row);
}

static void measure_point(const bench_context *context, const bench_shelf *s)
{
    size_t rounds = context->quick ? 50 : 300;
    bench_series ours = {0}, peer = {0};
    double began = bench_now();
    char what[128];

    for (size_t i = 0; i < rounds + 1 && !is_enough(began, i); i++) {
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
        bench_check_answer("ours", n, 2, sum, expected);
        if (s->sqlite) {
            sum = 0.0;
            start = bench_now();
            n = peer_sqlite_point(s->sqlite, date, codes, &sum);
            if (i > 0) {
                bench_add(&peer, bench_now() - start);
            }
            bench_check_answer("SQLite", n, 2, sum, expected);
        }
    }
    snprintf(what, sizeof(what), "%s: 1 date x 2 codes of %.2g M rows, file opened for it",
             s->format->name, 1e-6 * (double)s->work.n);
    report_question("P5", what, &ours, &peer, s->format->point_ms);
}

static void measure_history(const bench_context *context, const bench_shelf *s)
{
    size_t rounds = context->quick ? 5 : 30;
    bench_series ours = {0}, peer = {0};
    double began = bench_now();
    char what[128];

    for (size_t i = 0; i < rounds + 1 && !is_enough(began, i); i++) {
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
        bench_check_answer("ours", n, s->work.n_dates, sum, expected);
        if (s->sqlite) {
            sum = 0.0;
            start = bench_now();
            n = peer_sqlite_history(s->sqlite, &s->work, code, &sum);
            if (i > 0) {
                bench_add(&peer, bench_now() - start);
            }
            bench_check_answer("SQLite", n, s->work.n_dates, sum, expected);
        }
    }
    snprintf(what, sizeof(what), "%s: one code on all %zu dates, file opened for it",
             s->format->name, s->work.n_dates);
    report_question("P6", what, &ours, &peer, s->format->history_ms);
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
static double resume_ours(const bench_shelf *s, const facpool_tasks *tasks)
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
    backup.format = s->format->name;
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

static void measure_resume(const bench_context *context, const bench_shelf *s, const char *kind,
                           facpool_tasks *(*make)(const bench_work *work), double target_s)
{
    bench_series ours = {0};
    bench_row row = {.id = "P8", .peer = "-", .ratio = "-", .target = "-"};

    for (size_t i = 0; i < bench_rounds(context, 5); i++) {
        facpool_tasks *tasks = make(&s->work);
        bench_add(&ours, resume_ours(s, tasks));
        facpool_tasks_free(tasks);
    }
    snprintf(row.what, sizeof(row.what), "%s: resume: open and subtract %.2g M done of %.2g M, %s",
             s->format->name, 1e-6 * (double)s->work.n, 1e-6 * (double)s->work.n, kind);
    bench_cell(row.ours, &ours, 1.0, " s");
    if (s->format->point_ms > 0.0) { /* not of text, which has fewer rows here */
        snprintf(row.ratio, BENCH_CELL, "%.2f of it", bench_median(&ours) / target_s);
        snprintf(row.target, BENCH_CELL, "<= %.1f s", target_s);
        row.verdict = bench_judge(bench_median(&ours) <= target_s);
    }
    bench_report(&row);
}

/* ------------------------------------------------------------------ all of it */

static void ask_everything(const bench_context *context, const bench_shelf *s)
{
    if (bench_wanted(context, "P5")) {
        measure_point(context, s);
    }
    if (bench_wanted(context, "P6")) {
        measure_history(context, s);
    }
    if (bench_wanted(context, "P7")) {
        bench_scans(context, s);
    }
    if (bench_wanted(context, "P8")) {
        measure_resume(context, s, "grid", grid_of, 0.3);
        measure_resume(context, s, "list", list_of, 0.6);
    }
}

void bench_read(const bench_context *context)
{
    bool questions = bench_wanted(context, "P5") || bench_wanted(context, "P6");
    size_t full = bench_formats[BENCH_BINARY].n_dates;
    char *sqlite = NULL;

    if (!questions && !bench_wanted(context, "P7") && !bench_wanted(context, "P8")) {
        return;
    }
    for (size_t i = 0; i < BENCH_FORMATS; i++) {
        const bench_format *format = &bench_formats[i];
        bench_shelf s = {0};
        if (!bench_has_format(context, format)) {
            continue;
        }
        fill_shelf(&s, context, format);
        if (!sqlite && questions && peer_sqlite.load) {
            sqlite = fill_sqlite(context, &s);
        }
        s.sqlite = format->n_dates == full ? sqlite : NULL;
        ask_everything(context, &s);
        clear_shelf(&s);
    }
    if (sqlite) {
        bench_remove(sqlite);
        free(sqlite);
    }
}
