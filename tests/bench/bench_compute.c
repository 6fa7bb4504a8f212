/* P1 and P12: what the library costs where nothing is stored, with threads and with worker
 * processes. Ours against plain OpenMP loops over the same callbacks. Called by bench_main.c. */
#include "bench.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#define UNEVEN_TASKS 1000

#define THREADS   FACPOOL_EXECUTOR_OMP
#define PROCESSES FACPOOL_EXECUTOR_PROCESS

/* The bare loops call through this, as the library calls: through a pointer that the compiler can't
 * see through. */
static facpool_task_fn volatile through_pointer;

/* ------------------------------------------------------------------ P1 */

static double ours_computes(const bench_work *work, facpool_task_fn fn, void *user,
                            int32_t executor, uint32_t workers)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    double start = bench_now();
    double took;

    options.fn = fn;
    options.user = user;
    options.executor = executor;
    options.workers = workers;
    options.n_factors = BENCH_FACTORS;
    options.factor_names = bench_factor_names;
    options.results = FACPOOL_RESULTS_KEEP;
    BENCH_OK(facpool_run(work->grid, &options, &result, &err), err);
    for (size_t k = 0; k < BENCH_FACTORS; k++) {
        const double *column = facpool_result_factor(result, k);
        if (!column) {
            bench_die("the result has no factor %zu", k);
        }
        bench_keep(column);
    }
    took = bench_now() - start;
    facpool_result_free(result);
    return took;
}

/* collapse(2) so that it divides once a chunk, not once a task. */
static double bare_computes(const bench_work *work)
{
    facpool_task_fn fn = through_pointer;
    size_t n_dates = work->n_dates;
    size_t n_codes = work->n_codes;
    double start = bench_now();
    double *rows = bench_alloc(work->n * BENCH_FACTORS * sizeof(double));
    double took;

#pragma omp parallel for collapse(2) schedule(dynamic, 256)
    for (size_t d = 0; d < n_dates; d++) {
        for (size_t c = 0; c < n_codes; c++) {
            size_t i = d * n_codes + c;
            facpool_task task = {.size = sizeof(task),
                                 .date = work->dates[d],
                                 .code = work->codes[c],
                                 .index = i,
                                 .attempt = 1};
            fn(&task, rows + i * BENCH_FACTORS, NULL);
        }
    }
    took = bench_now() - start;
    bench_keep(rows);
    free(rows);
    return took;
}

/* What a compiler makes of the same loop when it sees the callback. */
static double bare_inlined(const bench_work *work)
{
    size_t n_dates = work->n_dates;
    size_t n_codes = work->n_codes;
    double start = bench_now();
    double *rows = bench_alloc(work->n * BENCH_FACTORS * sizeof(double));
    double took;

#pragma omp parallel for collapse(2) schedule(dynamic, 256)
    for (size_t d = 0; d < n_dates; d++) {
        for (size_t c = 0; c < n_codes; c++) {
            bench_factors_of(work->dates[d], work->codes[c],
                             rows + (d * n_codes + c) * BENCH_FACTORS);
        }
    }
    took = bench_now() - start;
    bench_keep(rows);
    free(rows);
    return took;
}

static void measure_callbacks(const bench_context *context)
{
    size_t rounds = bench_rounds(context, 9);
    bench_series ours = {0}, bare = {0}, inlined = {0};
    bench_work work;
    bench_row row = {.id = "P1", .target = ">= 1x, aim 2x"};
    double millions;

    bench_work_init(&work, context->quick ? 400 : 2000, 5000, 2016);
    millions = 1e-6 * (double)work.n;
    through_pointer = bench_factors;
    for (size_t i = 0; i < rounds; i++) {
        bench_add(&ours, millions / ours_computes(&work, bench_factors, NULL, THREADS, 0));
        bench_add(&bare, millions / bare_computes(&work));
        bench_add(&inlined, millions / bare_inlined(&work));
    }
    snprintf(row.what, sizeof(row.what),
             "callback of a few ns, %.0f M tasks, results kept; bare `omp parallel for`", millions);
    bench_cell(row.ours, &ours, 1.0, " M/s");
    bench_cell(row.peer, &bare, 1.0, " M/s");
    snprintf(row.ratio, BENCH_CELL, "%.2fx", bench_ratio(&ours, &bare));
    row.verdict = bench_judge(bench_ratio(&ours, &bare) >= 1.0);
    bench_report(&row);

    snprintf(row.what, sizeof(row.what), "the same; bare loop with the callback inlined");
    bench_cell(row.peer, &inlined, 1.0, " M/s");
    snprintf(row.ratio, BENCH_CELL, "%.2fx", bench_ratio(&ours, &inlined));
    snprintf(row.target, BENCH_CELL, "-");
    row.verdict = BENCH_INFO;
    bench_report(&row);
    bench_work_free(&work);
}

/* ------------------------------------------------------------------ P12: even tasks */

static int spin_task(const facpool_task *task, double *factors, void *user)
{
    uint64_t x = bench_spin(*(const uint64_t *)user);

    factors[0] = (double)(x >> 12);
    factors[1] = (double)task->date;
    factors[2] = (double)task->index;
    return 0;
}

static double loop_spins(const bench_work *work, uint64_t steps, int threads)
{
    facpool_task_fn fn = through_pointer;
    double start = bench_now();
    double *rows = bench_alloc(work->n * BENCH_FACTORS * sizeof(double));
    double took;

#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (size_t d = 0; d < work->n_dates; d++) {
        for (size_t c = 0; c < work->n_codes; c++) {
            size_t i = d * work->n_codes + c;
            facpool_task task = {.size = sizeof(task),
                                 .date = work->dates[d],
                                 .code = work->codes[c],
                                 .index = i,
                                 .attempt = 1};
            fn(&task, rows + i * BENCH_FACTORS, &steps);
        }
    }
    took = bench_now() - start;
    bench_keep(rows);
    free(rows);
    return took;
}

/* Ours on two workers against a loop on `threads`, whose time is scaled to two. target 0: for
 * information. */
static void measure_spins(const bench_context *context, int32_t executor, double task_seconds,
                          size_t n_dates, int threads, double target, const char *what)
{
    size_t rounds = bench_rounds(context, 5);
    uint64_t steps = bench_spin_steps(task_seconds);
    bench_series ours = {0}, peer = {0};
    bench_work work;
    bench_row row = {.id = "P12"};
    double ratio;

    bench_work_init(&work, context->quick ? n_dates / 4 : n_dates, 1000, 2016);
    through_pointer = spin_task;
    for (size_t i = 0; i < rounds; i++) {
        bench_add(&ours, ours_computes(&work, spin_task, &steps, executor, 2));
        bench_add(&peer, loop_spins(&work, steps, threads) * threads / 2.0);
    }
    ratio = bench_ratio(&peer, &ours);
    snprintf(row.what, sizeof(row.what), "%s", what);
    bench_cell(row.ours, &ours, 1.0, " s");
    bench_cell(row.peer, &peer, 1.0, " s");
    snprintf(row.ratio, BENCH_CELL, "%.3f", ratio);
    snprintf(row.target, BENCH_CELL, "-");
    if (target > 0.0) {
        snprintf(row.target, BENCH_CELL, ">= %.2f", target);
        row.verdict = bench_judge(ratio >= target);
    }
    bench_report(&row);
    bench_work_free(&work);
}

/* ------------------------------------------------------------------ P12: one long task */

typedef struct uneven {
    size_t long_one;
    double short_s;
    double long_s;
} uneven;

/* Lasts by the clock, so that what else runs on the machine counts as little as it can. */
static int uneven_task(const facpool_task *task, double *factors, void *user)
{
    const uneven *u = user;
    double end = bench_now() + (task->index == u->long_one ? u->long_s : u->short_s);

    while (bench_now() < end) {
        continue;
    }
    factors[0] = factors[1] = factors[2] = (double)task->index;
    return 0;
}

/* When two workers are done that take the next task in order as soon as they are free. */
static double on_line_bound(const uneven *u)
{
    double busy[2] = {0.0, 0.0};

    for (size_t i = 0; i <= UNEVEN_TASKS; i++) {
        int next = busy[1] < busy[0] ? 1 : 0;
        busy[next] += i == u->long_one ? u->long_s : u->short_s;
    }
    return busy[0] > busy[1] ? busy[0] : busy[1];
}

static void measure_uneven(int32_t executor, size_t places, double short_s, double long_s,
                           const char *what)
{
    bench_series ours = {0}, bound = {0}, ratio = {0};
    bench_work work;
    bench_row row = {.id = "P12", .target = "<= 1.05 at worst"};

    bench_work_init(&work, 1, UNEVEN_TASKS + 1, 2016);
    for (size_t i = 0; i < places; i++) {
        uneven u = {bench_mix(i + 20240102) % (UNEVEN_TASKS + 1), short_s, long_s};
        double took = ours_computes(&work, uneven_task, &u, executor, 2);

        bench_add(&ours, took);
        bench_add(&bound, on_line_bound(&u));
        bench_add(&ratio, took / on_line_bound(&u));
    }
    snprintf(row.what, sizeof(row.what), "%s; peer: the on-line bound, %zu random place%s", what,
             places, places == 1 ? "" : "s");
    bench_cell(row.ours, &ours, 1.0, " s");
    bench_cell(row.peer, &bound, 1.0, " s");
    bench_cell(row.ratio, &ratio, 1.0, "");
    row.verdict = bench_judge(bench_max(&ratio) <= 1.05);
    bench_report(&row);
    bench_work_free(&work);
}

/* ------------------------------------------------------------------ threads and processes */

/* A task of a few ns shows what each costs: what is computed is the same, and so small that it
 * hardly counts. Processes against threads. */
static void measure_executors(const bench_context *context)
{
    size_t rounds = bench_rounds(context, 7);
    bench_series processes = {0}, threads = {0};
    bench_work work;
    bench_row row = {.id = "P12", .target = "-", .verdict = BENCH_INFO};

    bench_work_init(&work, context->quick ? 400 : 2000, 5000, 2016);
    for (size_t i = 0; i < rounds; i++) {
        bench_add(&processes,
                  1e9 * ours_computes(&work, bench_factors, NULL, PROCESSES, 2) / (double)work.n);
        bench_add(&threads,
                  1e9 * ours_computes(&work, bench_factors, NULL, THREADS, 2) / (double)work.n);
    }
    snprintf(row.what, sizeof(row.what),
             "callback of a few ns, %.0f M tasks, results kept, 2 worker processes, time a task; "
             "peer: 2 threads of ours",
             1e-6 * (double)work.n);
    bench_cell(row.ours, &processes, 1.0, " ns");
    bench_cell(row.peer, &threads, 1.0, " ns");
    snprintf(row.ratio, BENCH_CELL, "%.2fx", bench_ratio(&processes, &threads));
    bench_report(&row);
    bench_work_free(&work);
}

/* What a run costs that does next to nothing: the helper, the workers, their end. */
static void measure_start(const bench_context *context)
{
    bench_series processes = {0}, threads = {0};
    bench_work work;
    bench_row row = {.id = "P12", .target = "-", .verdict = BENCH_INFO};

    bench_work_init(&work, 1, 16, 2016);
    for (size_t i = 0; i < bench_rounds(context, 101); i++) {
        bench_add(&processes, 1e3 * ours_computes(&work, bench_factors, NULL, PROCESSES, 2));
        bench_add(&threads, 1e3 * ours_computes(&work, bench_factors, NULL, THREADS, 2));
    }
    snprintf(row.what, sizeof(row.what),
             "a whole run of 16 tasks, 2 worker processes; peer: 2 threads of ours");
    bench_cell(row.ours, &processes, 1.0, " ms");
    bench_cell(row.peer, &threads, 1.0, " ms");
    snprintf(row.ratio, BENCH_CELL, "%.1fx", bench_ratio(&processes, &threads));
    bench_report(&row);
    bench_work_free(&work);
}

static void measure_scaling(const bench_context *context, int32_t executor, const char *workers)
{
    char what[160];

    snprintf(what, sizeof(what), "20 us callback, 2 %s; one thread's time, halved", workers);
    measure_spins(context, executor, 20e-6, 100, 1, 0.97, what);
    snprintf(what, sizeof(what),
             "the same, 2 %s; `omp for schedule(static)` on 2 threads, which is what the machine "
             "gives",
             workers);
    measure_spins(context, executor, 20e-6, 100, 2, 0.0, what);
    snprintf(what, sizeof(what), "1 us callback, 2 %s; `omp for schedule(static)`", workers);
    measure_spins(context, executor, 1e-6, 1000, 2, 0.90, what);
    snprintf(what, sizeof(what), "1,000 tasks of 0.1 ms and one of 1 s, 2 %s", workers);
    measure_uneven(executor, context->quick ? 2 : 9, 1e-4, 1.0, what);
    if (!context->quick) {
        snprintf(what, sizeof(what), "1,000 tasks of 1 ms and one of 10 s, 2 %s", workers);
        measure_uneven(executor, 2, 1e-3, 10.0, what);
    }
}

void bench_compute(const bench_context *context)
{
    if (bench_wanted(context, "P1")) {
        measure_callbacks(context);
    }
    if (bench_wanted(context, "P12")) {
        measure_scaling(context, THREADS, "threads");
        measure_scaling(context, PROCESSES, "worker processes");
        measure_executors(context);
        measure_start(context);
    }
}
