/* The executors that a test can ask for wherever it runs. */
#ifndef FP_TEST_EXECUTORS_H
#define FP_TEST_EXECUTORS_H

#include <facpool/facpool.h>

/* The library has OpenMP where its tests have. */
#ifdef _OPENMP
#define WITH_THREADS FACPOOL_EXECUTOR_OMP
#else
#define WITH_THREADS FACPOOL_EXECUTOR_SERIAL
#endif

/* Worker processes are there on Linux. */
#ifdef __linux__
#define WITH_PROCESSES FACPOOL_EXECUTOR_PROCESS
#else
#define WITH_PROCESSES FACPOOL_EXECUTOR_SERIAL
#endif

#endif
