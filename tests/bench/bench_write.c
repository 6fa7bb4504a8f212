/* P2, P3 and P9: what the backup costs. Rows a second of every format against SQLite, LMDB and
 * write(2) in pairs of the same durability; the time a run loses to it; the memory it takes. Called
 * by bench_main.c. */
#include "bench.h"
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ P2 */

static double ours_stores(const bench_work *work, const char *path, const char *format,
                          int32_t durability, facpool_task_fn fn, void *user)
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

typedef struct durability_class {
    int32_t durability;
    const char *name;
} durability_class;

static const durability_class classes[] = {{FACPOOL_DURABILITY_NONE, "none"},
                                           {FACPOOL_DURABILITY_GROUP, "group"},
                                           {FACPOOL_DURABILITY_BATCH, "batch"}};

/* One of our formats in a contest. */
typedef struct entry {
    const bench_format *format; /* NULL: does not take part */
    bench_series rates;
    size_t block_rows;
    double bytes_a_row;
} entry;

typedef struct contender {
    const peer_store *store;
    const entry *as_large_as; /* writes so many bytes a row; NULL: what it likes */
    size_t rounds;            /* takes part in so many of the first ones */
    bench_series rates;
} contender;

#define ENTRIES    2
#define CONTENDERS 4
enum { SQLITE, LMDB, RAW, RAW_SAME_BYTES };

typedef struct contest {
    const durability_class *class;
    entry ours[ENTRIES];
    contender peers[CONTENDERS];
} contest;

static void let_ours_store(entry *ours, const contest *c, const bench_context *context,
                           const bench_work *work, const char *path)
{
    double took;

    bench_settle(context);
    took = ours_stores(work, path, ours->format->name, c->class->durability, bench_factors, NULL);
    bench_add(&ours->rates, 1e-6 * (double)work->n / took);
    ours->block_rows = rows_a_block(path);
    ours->bytes_a_row = (double)bench_file_bytes(path) / (double)work->n;
    bench_remove(path);
}

static bool takes_part(const contender *peer)
{
    return peer->store->load && (!peer->as_large_as || peer->as_large_as->format);
}

static void let_peer_store(contender *peer, const contest *c, const bench_context *context,
                           const bench_work *work, const char *path)
{
    peer_load load = {.work = work, .path = path, .durability = c->class->durability};
    const entry *like = peer->as_large_as ? peer->as_large_as : &c->ours[BENCH_BINARY];
    double start;

    if (!takes_part(peer) || peer->rates.n == peer->rounds) {
        return;
    }
    load.transaction_rows = like->block_rows;
    load.row_bytes = peer->as_large_as ? like->bytes_a_row : 0.0;
    bench_settle(context);
    start = bench_now();
    peer->store->load(&load);
    bench_add(&peer->rates, 1e-6 * (double)work->n / (bench_now() - start));
    bench_remove(path);
}

/* One round: each of ours, then each peer, on an idle disk each. */
static void hold_round(contest *c, const bench_context *context, const bench_work *work)
{
    char *path = bench_path(context, "contest");

    for (size_t i = 0; i < ENTRIES; i++) {
        if (c->ours[i].format) {
            let_ours_store(&c->ours[i], c, context, work, path);
        }
    }
    for (size_t i = 0; i < CONTENDERS; i++) {
        let_peer_store(&c->peers[i], c, context, work, path);
    }
    free(path);
}

static void describe_entry(bench_row *row, const entry *ours, const char *durability,
                           const char *peer)
{
    snprintf(row->what, sizeof(row->what), "%s, durability %s (%zu rows a block, %.1f B a row); %s",
             ours->format->name, durability, ours->block_rows, ours->bytes_a_row, peer);
    bench_cell(row->ours, &ours->rates, 1.0, " M/s");
}

/* target 0: none. */
static void report_pair(const contest *c, const entry *ours, const contender *peer, double target)
{
    double ratio = bench_ratio(&ours->rates, &peer->rates);
    bench_row row = {.id = "P2", .target = "-"};
    char name[96];

    if (!ours->format || !takes_part(peer)) {
        return;
    }
    snprintf(name, sizeof(name), "%s%s", peer->store->name,
             peer->as_large_as ? " of the same bytes" : "");
    describe_entry(&row, ours, c->class->name, name);
    bench_cell(row.peer, &peer->rates, 1.0, " M/s");
    snprintf(row.ratio, BENCH_CELL, "%.2fx", ratio);
    if (target > 0.0) {
        snprintf(row.target, BENCH_CELL, ">= %gx", target);
        row.verdict = bench_judge(ratio >= target);
    }
    bench_report(&row);
}

static void report_contest(const contest *c)
{
    const entry *binary = &c->ours[BENCH_BINARY], *memory_map = &c->ours[BENCH_MEMORY_MAP];

    report_pair(c, binary, &c->peers[SQLITE], 10.0);
    report_pair(c, binary, &c->peers[LMDB], 3.0);
    report_pair(c, binary, &c->peers[RAW], 0.0);
    report_pair(c, memory_map, &c->peers[SQLITE], 0.0);
    report_pair(c, memory_map, &c->peers[LMDB], 0.0);
    report_pair(c, memory_map, &c->peers[RAW_SAME_BYTES], 0.6);
}

static void hold_contest(const bench_context *context, const durability_class *class,
                         const bench_work *work)
{
    size_t rounds = bench_rounds(context, 5);
    contest c = {.class = class};

    for (size_t i = 0; i < ENTRIES; i++) {
        bool has = bench_has_format(context, &bench_formats[i]);
        c.ours[i].format = has ? &bench_formats[i] : NULL;
    }
    c.peers[SQLITE] = (contender){&peer_sqlite, NULL, 2, {0}};
    c.peers[LMDB] = (contender){&peer_lmdb, NULL, rounds, {0}};
    c.peers[RAW] = (contender){&peer_raw, NULL, rounds, {0}};
    c.peers[RAW_SAME_BYTES] = (contender){&peer_raw, &c.ours[BENCH_MEMORY_MAP], rounds, {0}};
    for (size_t i = 0; i < rounds; i++) {
        hold_round(&c, context, work);
    }
    report_contest(&c);
}

/* Text has no peer here but its own aim. */
static void measure_text(const bench_context *context, const durability_class *class,
                         const bench_work *work)
{
    const bench_format *format = &bench_formats[BENCH_JSON];
    contest c = {.class = class, .ours = {{.format = format}}};
    bench_row row = {.id = "P2", .peer = "-"};
    char *path = bench_path(context, "contest");
    double rate;

    for (size_t i = 0; i < bench_rounds(context, 5); i++) {
        let_ours_store(&c.ours[0], &c, context, work, path);
    }
    rate = bench_median(&c.ours[0].rates);
    describe_entry(&row, &c.ours[0], class->name, "no peer");
    snprintf(row.ratio, BENCH_CELL, "%.2f of it", rate / format->write_rows);
    snprintf(row.target, BENCH_CELL, ">= %g M/s", format->write_rows);
    row.verdict = bench_judge(rate >= format->write_rows);
    bench_report(&row);
    free(path);
}

static void measure_stores(const bench_context *context)
{
    size_t n_dates = bench_formats[BENCH_BINARY].n_dates;
    size_t n_text_dates = bench_formats[BENCH_JSON].n_dates;
    bench_work work, text;

    bench_work_init(&work, context->quick ? n_dates / 10 : n_dates, 5000, 2016);
    bench_work_init(&text, context->quick ? n_text_dates / 10 : n_text_dates, 5000, 2016);
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        hold_contest(context, &classes[i], &work);
        if (bench_has_format(context, &bench_formats[BENCH_JSON])) {
            measure_text(context, &classes[i], &text);
        }
    }
    bench_work_free(&text);
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

    bench_work_init(&work, context->quick ? 10 : 100, 5000, 2016);
    for (size_t i = 0; i < bench_rounds(context, 5); i++) {
        bench_settle(context);
        bench_add(&without, ours_stores(&work, NULL, NULL, 0, slow_factors, &steps));
        bench_add(&with, ours_stores(&work, path, NULL, 0, slow_factors, &steps));
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
