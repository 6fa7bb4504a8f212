// A stranger's C++11 program: the same header, and a callback that is a lambda.
#include <facpool/facpool.h>

#include <cstdio>

int main()
{
    const int64_t dates[2] = {20240102, 20240103};
    const char *codes[2] = {"000001", "AAPL"};
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_tasks *tasks = nullptr;
    facpool_result *result = nullptr;
    bool right = false;

    options.fn = [](const facpool_task *task, double *factors, void *) {
        factors[0] = 2 * static_cast<double>(task->date);
        return 0;
    };
    options.n_factors = 1;
    if (facpool_tasks_grid(&tasks, dates, 2, codes, 2, &err) == 0 &&
        facpool_run(tasks, &options, &result, &err) == 0) {
        const double *values = facpool_result_factor(result, 0);
        right = values && values[1] == 2 * 20240102.0 && values[2] == 2 * 20240103.0;
    }
    std::printf("libfacpool %s from C++: %s\n", facpool_version(), right ? "works" : err.message);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return right ? 0 : 1;
}
