/* A stranger's C99 program: compiles with all warnings, links, runs, gets the right numbers. */
#include <facpool/facpool.h>

#include <stdio.h>

static int twice(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = 2 * (double)task->date;
    return 0;
}

int main(void)
{
    const int64_t dates[2] = {20240102, 20240103};
    const char *codes[2] = {"000001", "AAPL"};
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    int outcome = 1;

    options.fn = twice;
    options.n_factors = 1;
    if (facpool_tasks_grid(&tasks, dates, 2, codes, 2, &err) == 0 &&
        facpool_run(tasks, &options, &result, &err) == 0) {
        const double *values = facpool_result_factor(result, 0);

        outcome = values && values[0] == 2 * 20240102.0 && values[3] == 2 * 20240103.0 ? 0 : 1;
    }
    printf("libfacpool %s: %s\n", facpool_version(), outcome ? err.message : "works");
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return outcome;
}
