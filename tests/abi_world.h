/* What both tests of the binary interface work on: a few tasks, a backup with their rows, and a
 * reader and a result of it. Included by test programs; everything is static. */
#ifndef FP_ABI_WORLD_H
#define FP_ABI_WORLD_H

#include <facpool/facpool.h>

#include "scratch.h"
#include "test.h"

#define N_FACTORS 2

static facpool_error err = FACPOOL_ERROR_INIT;
static char path[512];
static facpool_tasks *tasks;

static inline int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    if (task->index == 3)
        return facpool_task_fail(task, 9, "told to");
    factors[0] = (double)task->index;
    factors[1] = 0.5;
    return 0;
}

static inline facpool_run_options run_options(void)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = N_FACTORS;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.workers = 1;
    return options;
}

static inline facpool_backup_options backup_options(int32_t mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = mode;
    backup.durability = FACPOOL_DURABILITY_NONE;
    return backup;
}

static inline void make_world(void)
{
    static const int64_t dates[] = {20240102, 20240103};
    static const char *const codes[] = {"000001", "600000", "AAPL"};
    if (!tasks)
        CHECK_OK(facpool_tasks_grid(&tasks, dates, 2, codes, 3, &err), err);
    facpool_run_options options = run_options();
    facpool_backup_options backup = backup_options(FACPOOL_MODE_OVERWRITE);
    options.backup = &backup;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_result_free(result);
}

static facpool_reader *open_reader;
static facpool_result *held_result;

static inline void open_handles(void)
{
    const char *paths[] = {path};
    facpool_run_options options = run_options();
    CHECK_OK(facpool_reader_open(&open_reader, paths, 1, &err), err);
    CHECK_OK(facpool_run(tasks, &options, &held_result, &err), err);
}

static inline void close_handles(void)
{
    facpool_reader_free(open_reader);
    facpool_result_free(held_result);
}

/* First and last of all. */
static inline void begin_world(void)
{
    if (!scratch_make("abi")) {
        printf("no folder can be made\n");
        exit(EXIT_FAILURE);
    }
    snprintf(path, sizeof path, "%s", scratch_path("backup.fpb"));
}

static inline void end_world(void)
{
    facpool_tasks_free(tasks);
    scratch_remove();
}

#endif
