/* The function of P1 as a shared library, for ctypes and cffi: in the library's own form, and in
 * the short one. Built by bench_native.py. */
#include "bench.h"

int factors_of_task(const facpool_task *task, double *factors, void *user);
int32_t factors_of_pair(int64_t date, const char *code, double *factors);

int factors_of_task(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    bench_factors_of(task->date, task->code, factors);
    return 0;
}

int32_t factors_of_pair(int64_t date, const char *code, double *factors)
{
    bench_factors_of(date, code, factors);
    return 0;
}
