/* P2, P3 and P9: what the backup costs. Rows a second against SQLite, LMDB and write(2) in pairs of
 * the same durability; the time a run loses to it; the memory it takes. Called by bench_main.c. */
#include "bench.h"
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ P2 */

static double ours_stores(const bench_work *work, const char *path, int32_t durability,
                          facpool_task_fn fn, void *user)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    double start = bench_now();
    double took;

    backup.path = path;
    backup.durability = durability;
    options.fn = fn;
    options.user = user;
    options.n_factors = BENCH_FACTORS;
    options.factor_names = bench_factor_names;
    options.backup = path ? &backup : NULL;
    BENCH_OK(facpool_run(work->grid, &options, &result, &err), err);
    if (path) {
        bench_sync_file(path);
    }
    took = bench_now() - start;
    facpool_result_free(result);
    return took;
}

static size_t rows_a_block(const char *path)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const facpool_info *info = NULL;
    size_t rows;

    BENCH_OK(facpool_backup_info(&info, path, &err), err);
    rows = (size_t)(info->rows[FACPOOL_STATUS_OK] / (info->blocks > 0 ? info->blocks : 1));
    facpool_info_free(info);
    return rows > 0 ? rows : 1;
}

typedef struct contender {
    const peer_store *store;
    double target; /* 0: none */
    size_t rounds; /* takes part in so many of the first ones */
    bench_series rates;
} contender;

typedef struct contest {
    int32_t durability;
    const char *name;
    double millions;
    bench_series ours;
    size_t block_rows;
    double bytes_a_row;
    contender peers[3];
} contest;

/* One round: ours, then each peer, on an idle disk each. */
static void hold_round(contest *c, const bench_context *context, const bench_work *work)
{
    char *path = bench_path(context, "contest");
    peer_load load = {work, path, c->durability, 0};

    bench_settle(context);
    bench_add(&c->ours, c->millions / ours_stores(work, path, c->durability, bench_factors, NULL));
    c->block_rows = rows_a_block(path);
    c->bytes_a_row = (double)bench_file_bytes(path) / (double)work->n;
    bench_remove(path);
    load.transaction_rows = c->block_rows;
    for (size_t i = 0; i < 3; i++) {
        double start;
        if (!c->peers[i].store->load || c->peers[i].rates.n == c->peers[i].rounds) {
            continue;
        }
        bench_settle(context);
        start = bench_now();
        c->peers[i].store->load(&load);
        bench_add(&c->peers[i].rates, c->millions / (bench_now() - start));
        bench_remove(path);
    }
    free(path);
}

static void report_contest(const contest *c)
{
    for (size_t i = 0; i < 3; i++) {
        const contender *peer = &c->peers[i];
        double ratio = bench_ratio(&c->ours, &peer->rates);
        bench_row row = {.id = "P2", .target = "-"};

        if (!peer->store->load) {
            continue;
        }
        snprintf(row.what, sizeof(row.what),
                 "binary, durability %s (%zu rows a block, %.1f B a row); %s", c->name,
                 c->block_rows, c->bytes_a_row, peer->store->name);
        bench_cell(row.ours, &c->ours, 1.0, " M/s");
        bench_cell(row.peer, &peer->rates, 1.0, " M/s");
        snprintf(row.ratio, BENCH_CELL, "%.2fx", ratio);
        if (peer->target > 0.0) {
            snprintf(row.target, BENCH_CELL, ">= %.0fx", peer->target);
            row.verdict = bench_judge(ratio >= peer->target);
        }
        bench_report(&row);
    }
}

static void measure_stores(const bench_context *context)
{
    static const struct {
        int32_t durability;
        const char *name;
    } pairs[] = {{FACPOOL_DURABILITY_NONE, "none"},
                 {FACPOOL_DURABILITY_GROUP, "group"},
                 {FACPOOL_DURABILITY_BATCH, "batch"}};
    size_t rounds = bench_rounds(context, 5);
    bench_work work;

    bench_work_init(&work, context->quick ? 200 : 2000, 5000, 2016);
    for (size_t p = 0; p < 3; p++) {
        contest c = {.durability = pairs[p].durability,
                     .name = pairs[p].name,
                     .millions = 1e-6 * (double)work.n,
                     .peers = {{&peer_sqlite, 10.0, 3, {0}},
                               {&peer_lmdb, 3.0, rounds, {0}},
                               {&peer_raw, 0.0, rounds, {0}}}};
        for (size_t i = 0; i < rounds; i++) {
            hold_round(&c, context, &work);
        }
        report_contest(&c);
    }
    bench_work_free(&work);
}

/* ------------------------------------------------------------------ P3 */

static int slow_factors(const facpool_task *task, double *factors, void *user)
{
    uint64_t x = bench_spin(*(const uint64_t *)user);

    bench_keep(&x);
    return bench_factors(task, factors, NULL);
}

static void measure_cost(const bench_context *context)
{
    uint64_t steps = bench_spin_steps(10e-6);
    char *path = bench_path(context, "cost");
    bench_series with = {0}, without = {0};
    bench_row row = {.id = "P3", .target = "<= 3 %"};
    bench_work work;
    double cost;

    bench_work_init(&work, context->quick ? 10 : 200, 5000, 2016);
    for (size_t i = 0; i < bench_rounds(context, 5); i++) {
        bench_settle(context);
        bench_add(&without, ours_stores(&work, NULL, 0, slow_factors, &steps));
        bench_add(&with, ours_stores(&work, path, 0, slow_factors, &steps));
        bench_remove(path);
    }
    cost = bench_ratio(&with, &without) - 1.0;
    snprintf(row.what, sizeof(row.what),
             "backup on (durability group), 10 us callback, %.2g M tasks; without a backup",
             1e-6 * (double)work.n);
    bench_cell(row.ours, &with, 1.0, " s");
    bench_cell(row.peer, &without, 1.0, " s");
    snprintf(row.ratio, BENCH_CELL, "%+.2f %%", 100.0 * cost);
    row.verdict = bench_judge(cost <= 0.03);
    bench_report(&row);
    bench_work_free(&work);
    free(path);
}

/* ------------------------------------------------------------------ P9 */

/* A field of /proc/self/status in KiB. */
static double status_kib(const char *field)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    double kib = 0.0;

    if (!status) {
        bench_die("can't read /proc/self/status");
    }
    while (fgets(line, sizeof(line), status)) {
        size_t length = strlen(field);
        if (strncmp(line, field, length) == 0 && line[length] == ':') {
            kib = strtod(line + length + 1, NULL);
        }
    }
    fclose(status);
    return kib;
}

static int watch_memory(const facpool_progress *progress, void *user)
{
    double *most = user;
    double now = status_kib("RssAnon");

    (void)progress;
    *most = now > *most ? now : *most;
    return 0;
}

int bench_memory_child(const char *path, size_t n_dates, size_t n_codes)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    double anonymous = 0.0;
    bench_work work;
    double start;

    bench_work_init(&work, n_dates, n_codes, 1970);
    options.fn = bench_factors;
    options.n_factors = BENCH_FACTORS;
    options.factor_names = bench_factor_names;
    options.results = FACPOOL_RESULTS_DROP;
    options.backup_path = path;
    options.progress = watch_memory;
    options.progress_user = &anonymous;
    options.progress_interval_ms = 20;
    start = bench_now();
    BENCH_OK(facpool_run(work.grid, &options, &result, &err), err);
    printf("%.0f %.0f %.3f\n", status_kib("VmHWM"), anonymous, bench_now() - start);
    facpool_result_free(result);
    bench_work_free(&work);
    return EXIT_SUCCESS;
}

static void measure_memory(const bench_context *context)
{
    size_t n_dates = context->quick ? 1000 : 20000;
    char *path = bench_path(context, "memory");
    double peak_kib = 0.0, anonymous_kib = 0.0, seconds = 0.0;
    bench_row row = {.id = "P9", .peer = "-", .target = "<= 256 MiB"};
    char command[8192];
    FILE *child;

    snprintf(command, sizeof(command), "'%s' --memory-child '%s' %zu 5000", context->program, path,
             n_dates);
    child = popen(command, "r");
    if (!child || fscanf(child, "%lf %lf %lf", &peak_kib, &anonymous_kib, &seconds) != 3 ||
        pclose(child) != 0) {
        bench_die("the child that measures its memory failed");
    }
    bench_remove(path);
    snprintf(row.what, sizeof(row.what),
             "peak resident memory, grid of %.0f M tasks, binary backup, results dropped",
             (double)n_dates * 5000e-6);
    snprintf(row.ours, BENCH_CELL, "%.0f MiB (%.0f anonymous; %.1f s)", peak_kib / 1024.0,
             anonymous_kib / 1024.0, seconds);
    snprintf(row.ratio, BENCH_CELL, "%.2f of it", peak_kib / 1024.0 / 256.0);
    row.verdict = bench_judge(peak_kib <= 256.0 * 1024.0);
    bench_report(&row);
    free(path);
}

void bench_write(const bench_context *context)
{
    if (bench_wanted(context, "P2")) {
        measure_stores(context);
    }
    if (bench_wanted(context, "P3")) {
        measure_cost(context);
    }
    if (bench_wanted(context, "P9")) {
        measure_memory(context);
    }
}
