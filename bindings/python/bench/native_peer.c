/* P1 as the C library measures it: for every line of its input it runs the same function over the
 * grid once, results kept, and prints the seconds. Started by bench_native.py, whose turns it
 * shares.
 *
 * native_peer N_DATES WORKERS */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

static double run_once(const bench_work *work, uint32_t workers)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    double start = bench_now();
    double took;

    options.fn = bench_factors;
    options.workers = workers;
    options.n_factors = BENCH_FACTORS;
    options.results = FACPOOL_RESULTS_KEEP;
    BENCH_OK(facpool_run(work->grid, &options, &result, &err), err);
    for (size_t k = 0; k < BENCH_FACTORS; k++) {
        bench_keep(facpool_result_factor(result, k));
    }
    took = bench_now() - start;
    facpool_result_free(result);
    return took;
}

int main(int argc, char **arguments)
{
    bench_work work;
    char line[16];

    if (argc != 3) {
        bench_die("usage: native_peer N_DATES WORKERS");
    }
    bench_work_init(&work, strtoul(arguments[1], NULL, 10), 5000, 2016);
    while (fgets(line, sizeof(line), stdin)) {
        printf("%.9f\n", run_once(&work, (uint32_t)strtoul(arguments[2], NULL, 10)));
        fflush(stdout);
    }
    bench_work_free(&work);
    return 0;
}
