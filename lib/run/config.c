/* Reading and checking options. Called when a run, job or writer opens; keeps nothing of the
 * caller's but what the header says must outlive the run. */
#include "run/config.h"

#include <string.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "os/file.h"
#include "os/os.h"
#include "run/exec.h"

#define WORKERS_MAX 4096

#ifdef FACPOOL_WITH_OPENMP
#define DEFAULT_EXECUTOR FACPOOL_EXECUTOR_OMP
#else
#define DEFAULT_EXECUTOR FACPOOL_EXECUTOR_SERIAL
#endif

/* Checks an enum option and fills in its default, 1 for most. */
static int read_choice(int32_t *value, int32_t otherwise, int32_t most, const char *name,
                       facpool_error *err)
{
    if (*value == 0)
        *value = otherwise;
    if (*value < 1 || *value > most)
        return fp_fail(err, FACPOOL_E_INVALID, "%s is %d: take 0 (default) or one of 1 to %d", name,
                       (int)*value, (int)most);
    return 0;
}

int fp_backup_options_read(facpool_backup_options *out, const facpool_backup_options *given,
                           facpool_error *err)
{
    facpool_backup_options o;
    int rc = fp_abi_import(&o, sizeof o, given, "facpool_backup_options", err);
    if (!rc)
        rc = read_choice(&o.mode, FACPOOL_MODE_CREATE, 3, "backup mode", err);
    if (!rc)
        rc = read_choice(&o.durability, FACPOOL_DURABILITY_GROUP, 3, "backup durability", err);
    if (rc)
        return rc;
    if (!o.sink && (!o.path || !*o.path))
        return fp_fail(err, FACPOOL_E_INVALID, "the backup options name no path: set path");
    if (o.compression_level > 19)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "compression_level is %d: take 1 to 19, 0 (default) or -1 (no zstd)",
                       (int)o.compression_level);
    if (o.compression_level == 0)
        o.compression_level = 1;
    *out = o;
    return 0;
}

static int read_backup(fp_config *c, facpool_error *err)
{
    const facpool_run_options *run = &c->run;
    if (!run->backup && !run->backup_path)
        return 0;
    facpool_backup_options short_form = FACPOOL_BACKUP_OPTIONS_INIT;
    short_form.path = run->backup_path;
    if (run->backup && run->backup_path)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "both backup and backup_path ('%s') are given: give one", run->backup_path);
    int rc = fp_backup_options_read(&c->backup, run->backup ? run->backup : &short_form, err);
    if (rc)
        return rc;
    c->has_backup = true;
    /* Rows may be read back after the host has changed its working folder. */
    if (!c->backup.sink)
        return fp_path_absolute(&c->backup_path, c->backup.path, c->allocator, err);
    const char *path = c->backup.path ? c->backup.path : ""; /* means what its sink says it means */
    c->backup_path = fp_strdup(c->allocator, path);
    return c->backup_path ? 0 : fp_fail_nomem(err, strlen(path) + 1);
}

static int read_allocator(fp_config *c, facpool_error *err)
{
    if (!c->run.allocator)
        return 0;
    facpool_allocator *own = &c->own_allocator;
    int rc = fp_abi_import(own, sizeof *own, c->run.allocator, "facpool_allocator", err);
    if (rc)
        return rc;
    if (!own->alloc || !own->realloc || !own->free)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the allocator lacks a function: give alloc, realloc and free");
    c->allocator = own;
    return 0;
}

static int read_functions(const facpool_run_options *run, facpool_error *err)
{
    if (!run->fn == !run->batch_fn)
        return fp_fail(err, FACPOOL_E_INVALID, "%s of fn and batch_fn is given: give one",
                       run->fn ? "each" : "none");
    return 0;
}

static int read_process(fp_config *c, facpool_error *err)
{
    const facpool_run_options *run = &c->run;
    if (run->executor != FACPOOL_EXECUTOR_PROCESS || !run->process)
        return 0;
    int rc =
        fp_abi_import(&c->process, sizeof c->process, run->process, "facpool_process_options", err);
    if (!rc && c->process.one_worker_each && !c->process.start)
        rc = fp_fail(err, FACPOOL_E_INVALID,
                     "one_worker_each is set, and nothing to start workers with: give `start`");
    return rc;
}

static int read_executor(facpool_run_options *run, facpool_error *err)
{
    int rc = read_choice(&run->executor, DEFAULT_EXECUTOR, 3, "executor", err);
    if (rc)
        return rc;
    if (run->executor == FACPOOL_EXECUTOR_OMP && DEFAULT_EXECUTOR != FACPOOL_EXECUTOR_OMP)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "the library was built without OpenMP: use the serial executor");
    if (run->task_timeout_ms && run->executor != FACPOOL_EXECUTOR_PROCESS)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "task_timeout_ms is %u: only the process executor can stop a task",
                       (unsigned)run->task_timeout_ms);
    /* Before any backup is opened, let alone replaced. */
    bool needs_openmp = run->executor == FACPOOL_EXECUTOR_OMP && !run->dry_run;
    return needs_openmp ? fp_exec_omp_check(err) : 0;
}

/* Checked before a backup is opened: a run that can't begin must not touch it. */
static int check_cpus(const facpool_run_options *run, facpool_error *err)
{
    fp_affinity allowed;
    fp_affinity_save(&allowed);
    for (size_t i = 0; i < run->n_cpus; i++) {
        int32_t cpu = run->cpus[i];
        size_t bits = sizeof allowed.mask * 8;
        bool known = cpu >= 0 && (size_t)cpu < bits;
        if (!known || (allowed.saved && !(allowed.mask[cpu / 64] >> (cpu % 64) & 1)))
            return fp_fail(err, FACPOOL_E_INVALID,
                           "cpus[%zu] is %d: this process may not run on such a processor", i,
                           (int)cpu);
    }
    return 0;
}

static int read_workers(fp_config *c, fp_config_kind kind, facpool_error *err)
{
    facpool_run_options *run = &c->run;
    if (run->workers > WORKERS_MAX)
        return fp_fail(err, FACPOOL_E_INVALID, "workers is %u: take at most %d",
                       (unsigned)run->workers, WORKERS_MAX);
    if (kind == FP_CONFIG_JOB) {
        if (!run->workers)
            return fp_fail(err, FACPOOL_E_INVALID,
                           "workers is 0: a job on your own threads must know how many they are");
    } else if (run->executor == FACPOOL_EXECUTOR_SERIAL) {
        run->workers = 1;
    } else if (!run->workers) {
        run->workers = fp_processors();
    }
    if (!run->cpus || !run->n_cpus) {
        run->n_cpus = 0;
        return 0;
    }
    int rc = check_cpus(run, err);
    if (rc)
        return rc;
    c->cpus = fp_alloc(c->allocator, run->n_cpus * sizeof *c->cpus);
    if (!c->cpus)
        return fp_fail_nomem(err, run->n_cpus * sizeof *c->cpus);
    memcpy(c->cpus, run->cpus, run->n_cpus * sizeof *c->cpus);
    return 0;
}

static int read_rest(fp_config *c, facpool_error *err)
{
    facpool_run_options *run = &c->run;
    int rc = read_choice(&run->group_by, FACPOOL_GROUP_NONE, 3, "group_by", err);
    if (!rc)
        rc = read_choice(&run->on_error, FACPOOL_ON_ERROR_CONTINUE, 2, "on_error", err);
    if (!rc && (run->results < 0 || run->results > FACPOOL_RESULTS_DROP))
        rc = fp_fail(err, FACPOOL_E_INVALID, "results is %d: take 0, keep (1) or drop (2)",
                     (int)run->results);
    if (rc)
        return rc;
    if (!run->stop_if_first_fail)
        run->stop_if_first_fail = 100;
    if (!run->attempts)
        run->attempts = 1;
    if (!run->progress_interval_ms)
        run->progress_interval_ms = 200;
    /* Without a backup rows are kept in memory; with one they are read from it on demand. */
    if (!run->results && !c->has_backup)
        run->results = FACPOOL_RESULTS_KEEP;
    return 0;
}

/* What is not a job's own must not shape it either. */
static void drop_executor(facpool_run_options *run)
{
    run->fn = NULL;
    run->batch_fn = NULL;
    run->executor = 0;
    run->process = NULL;
}

static int read_all(fp_config *c, const facpool_run_options *options, fp_config_kind kind,
                    facpool_error *err)
{
    int rc = fp_abi_import(&c->run, sizeof c->run, options, "facpool_run_options", err);
    if (!rc)
        rc = read_allocator(c, err);
    if (!rc)
        rc = read_backup(c, err);
    if (!rc && kind == FP_CONFIG_RUN)
        rc = read_functions(&c->run, err);
    if (!rc && kind == FP_CONFIG_RUN)
        rc = read_executor(&c->run, err);
    if (!rc && kind == FP_CONFIG_RUN)
        rc = read_process(c, err);
    if (!rc)
        rc = read_workers(c, kind, err);
    if (!rc)
        rc = read_rest(c, err);
    if (kind == FP_CONFIG_JOB)
        drop_executor(&c->run);
    if (!rc)
        rc = fp_schema_init(&c->schema, c->run.n_factors, c->run.factor_names,
                            c->has_backup ? c->backup.tag : NULL, err);
    return rc;
}

int fp_config_init(fp_config *out, const facpool_run_options *options, fp_config_kind kind,
                   facpool_error *err)
{
    *out = (fp_config){0};
    if (!options)
        return fp_fail(err, FACPOOL_E_INVALID, "no options are given");
    int rc = read_all(out, options, kind, err);
    if (rc)
        fp_config_free(out);
    return rc;
}

void fp_config_free(fp_config *c)
{
    fp_schema_free(&c->schema);
    fp_free(c->allocator, c->backup_path);
    fp_free(c->allocator, c->cpus);
    c->backup_path = NULL;
    c->cpus = NULL;
}
