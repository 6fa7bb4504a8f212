/* The options of a run and of a backup, out of dicts into the library's structs. Called by run.c
 * and files.c; what the structs point to lives as long as the dicts. */
#include "core.h"

#include <string.h>

static const char *const RUN_KEYS[] = {"func",
                                       "batch",
                                       "batch_call",
                                       "kwargs",
                                       "native",
                                       "keep",
                                       "n_factors",
                                       "known",
                                       "factor_names",
                                       "native_signature",
                                       "native_user",
                                       "executor",
                                       "workers",
                                       "group_by",
                                       "attempts",
                                       "timeout_ms",
                                       "on_error",
                                       "results",
                                       "dry_run",
                                       "stop_if_first_fail",
                                       "backup",
                                       "worker_init",
                                       "start",
                                       "worker_exit",
                                       "tasks_per_worker",
                                       "log",
                                       "memory_limit_bytes",
                                       NULL};

static const char *const BACKUP_KEYS[] = {
    "path",       "format",   "mode",         "tag",         "batch_rows",
    "flush_ms",   "no_async", "retry_failed", "queue_bytes", "compression_level",
    "durability", NULL};

static const core_choice MODES[] = {{"create", FACPOOL_MODE_CREATE},
                                    {"resume", FACPOOL_MODE_RESUME},
                                    {"overwrite", FACPOOL_MODE_OVERWRITE},
                                    {NULL, 0}};
static const core_choice DURABILITIES[] = {{"group", FACPOOL_DURABILITY_GROUP},
                                           {"none", FACPOOL_DURABILITY_NONE},
                                           {"batch", FACPOOL_DURABILITY_BATCH},
                                           {NULL, 0}};
static const core_choice EXECUTORS[] = {{"threads", FACPOOL_EXECUTOR_OMP},
                                        {"process", FACPOOL_EXECUTOR_PROCESS},
                                        {"serial", FACPOOL_EXECUTOR_SERIAL},
                                        {NULL, 0}};
static const core_choice GROUPS[] = {
    {"date", FACPOOL_GROUP_DATE}, {"code", FACPOOL_GROUP_CODE}, {NULL, 0}};
static const core_choice ON_ERRORS[] = {
    {"continue", FACPOOL_ON_ERROR_CONTINUE}, {"stop", FACPOOL_ON_ERROR_STOP}, {NULL, 0}};
static const core_choice RESULTS[] = {
    {"keep", FACPOOL_RESULTS_KEEP}, {"drop", FACPOOL_RESULTS_DROP}, {NULL, 0}};

static int option_u32(PyObject *dict, const char *key, uint32_t *out)
{
    int64_t value = *out;
    if (core_option_int(dict, key, 0, UINT32_MAX, &value))
        return -1;
    *out = (uint32_t)value;
    return 0;
}

static int option_u64(PyObject *dict, const char *key, uint64_t *out)
{
    int64_t value = (int64_t)*out;
    if (core_option_int(dict, key, 0, INT64_MAX, &value))
        return -1;
    *out = (uint64_t)value;
    return 0;
}

/* ------------------------------------------------------------------ backup */

static int take_path(facpool_backup_options *out, PyObject *dict, PyObject **path)
{
    PyObject *given = core_option(dict, "path");
    if (!given) {
        PyErr_SetString(PyExc_TypeError, "the backup options have no path");
        return -1;
    }
    if (!PyUnicode_FSConverter(given, path))
        return -1;
    out->path = PyBytes_AS_STRING(*path);
    return 0;
}

static int take_level(facpool_backup_options *out, PyObject *dict)
{
    int64_t level = 0;
    if (core_option_int(dict, "compression_level", -1, 19, &level))
        return -1;
    out->compression_level = (int32_t)level;
    return 0;
}

static int take_flags(facpool_backup_options *out, PyObject *dict)
{
    bool no_async = false, retries = true;
    if (core_option_flag(dict, "no_async", &no_async) ||
        core_option_flag(dict, "retry_failed", &retries))
        return -1;
    out->no_async = no_async;
    out->no_retry_failed = !retries;
    return 0;
}

int core_backup_options_get(facpool_backup_options *out, PyObject *dict, PyObject **path)
{
    *out = (facpool_backup_options)FACPOOL_BACKUP_OPTIONS_INIT;
    if (core_option_check(dict, BACKUP_KEYS, "the backup options") || take_path(out, dict, path))
        return -1;
    return core_option_text(dict, "format", &out->format) ||
                   core_option_choice(dict, "mode", MODES, &out->mode) ||
                   core_option_text(dict, "tag", &out->tag) ||
                   option_u32(dict, "batch_rows", &out->batch_rows) ||
                   option_u32(dict, "flush_ms", &out->flush_ms) ||
                   core_option_choice(dict, "durability", DURABILITIES, &out->durability) ||
                   option_u64(dict, "queue_bytes", &out->queue_bytes) || take_flags(out, dict) ||
                   take_level(out, dict)
               ? -1
               : 0;
}

/* ------------------------------------------------------------------ run */

static int take_stop(facpool_run_options *run, PyObject *options)
{
    PyObject *given = core_option(options, "stop_if_first_fail");
    if (option_u32(options, "stop_if_first_fail", &run->stop_if_first_fail))
        return -1;
    run->no_stop_if_first_fail = given && run->stop_if_first_fail == 0;
    return 0;
}

static int take_numbers(core_run_options *out, PyObject *options)
{
    facpool_run_options *run = &out->run;
    bool is_dry = false;
    if (option_u32(options, "workers", &run->workers) ||
        option_u32(options, "attempts", &run->attempts) ||
        option_u32(options, "timeout_ms", &run->task_timeout_ms) || take_stop(run, options) ||
        core_option_flag(options, "dry_run", &is_dry) ||
        option_u32(options, "tasks_per_worker", &out->process.tasks_per_worker) ||
        option_u64(options, "memory_limit_bytes", &out->process.memory_limit_bytes))
        return -1;
    run->dry_run = is_dry;
    return 0;
}

static int take_choices(facpool_run_options *run, PyObject *options)
{
    return core_option_choice(options, "executor", EXECUTORS, &run->executor) ||
                   core_option_choice(options, "group_by", GROUPS, &run->group_by) ||
                   core_option_choice(options, "on_error", ON_ERRORS, &run->on_error) ||
                   core_option_choice(options, "results", RESULTS, &run->results)
               ? -1
               : 0;
}

static int take_backup(core_run_options *out, PyObject *options)
{
    PyObject *dict = core_option(options, "backup");
    if (!dict)
        return 0;
    if (core_backup_options_get(&out->backup, dict, &out->path))
        return -1;
    out->run.backup = &out->backup;
    return 0;
}

/* Hooks and start are called on the thread that starts the run. */
static void set_process(core_run_options *out, core_call *call)
{
    if (call->start) {
        out->process.start = core_start_helper;
        out->process.start_user = call;
    } else {
        out->process.before_fork = core_before_fork;
        out->process.after_fork_parent = core_after_fork_parent;
        out->process.after_fork_child = core_after_fork_child;
        out->process.hooks_user = call;
    }
    if (out->run.executor == FACPOOL_EXECUTOR_PROCESS)
        out->run.process = &out->process;
}

static int set_functions(core_run_options *out, PyObject *options, core_call *call)
{
    facpool_run_options *run = &out->run;
    run->user = call;
    run->cancel = call->cancel;
    run->log = call->log ? core_log : NULL;
    run->log_user = call;
    if (call->is_native)
        return core_call_native(call, options, &run->fn, &run->batch_fn, &run->user);
    run->fn = call->is_batch ? NULL : core_task_call;
    run->batch_fn = call->is_batch ? core_batch_call : NULL;
    run->worker_init = core_worker_init;
    run->worker_exit = core_worker_exit;
    return 0;
}

int core_run_options_get(core_run_options *out, PyObject *options, core_call *call)
{
    memset(out, 0, sizeof *out);
    out->run = (facpool_run_options)FACPOOL_RUN_OPTIONS_INIT;
    out->process = (facpool_process_options)FACPOOL_PROCESS_OPTIONS_INIT;
    if (core_option_check(options, RUN_KEYS, "the run options") ||
        core_texts_get(&out->factor_names, call->factor_names, "factor_names") ||
        take_numbers(out, options) || take_choices(&out->run, options) ||
        take_backup(out, options) || set_functions(out, options, call)) {
        core_run_options_drop(out);
        return -1;
    }
    out->run.n_factors = call->n_factors;
    out->run.factor_names = out->factor_names.values;
    set_process(out, call);
    call->has_own_threads = out->run.executor == 0 || out->run.executor == FACPOOL_EXECUTOR_OMP;
    return 0;
}

void core_run_options_drop(core_run_options *options)
{
    core_texts_drop(&options->factor_names);
    Py_CLEAR(options->path);
}
