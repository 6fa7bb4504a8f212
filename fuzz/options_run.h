/* The small world of fuzz_options.c, and the options of runs, jobs and backups in it, right and
 * wrong as the fuzzer's bytes say. Nothing is ever forked here, and nothing takes long. */
#ifndef FP_FUZZ_OPTIONS_RUN_H
#define FP_FUZZ_OPTIONS_RUN_H

#include "counted_memory.h"
#include "scratch.h"
#include "sized_structs.h"

#include <math.h>

#define N_FACTORS 2
#define N_TASKS   6

static facpool_tasks *tasks;
static facpool_result *kept_result;
static facpool_reader *kept_reader;
static char kept_path[300], fresh_path[300], target_path[300];

/* ------------------------------------------------------------------ the small world */

static inline int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    if (task->index == 3 && task->attempt < 8)
        return facpool_task_fail(task, 9, "told to");
    factors[0] = task->index == 2 ? NAN : (double)task->index;
    return 0;
}

static inline int compute_slice(const facpool_slice *slice, double *factors, void *user)
{
    (void)user; /* what a row's length is, the fuzzer may have changed */
    factors[0] = (double)slice->indexes[0];
    return slice->attempt < 8 ? 7 : 0;
}

static inline int watch(const facpool_progress *progress, void *user)
{
    (void)user;
    REQUIRE(progress->done <= progress->total, "more is done than there is");
    return 0;
}

static inline void hear(const char *message, void *user)
{
    (void)user;
    REQUIRE(message[0] && is_utf8(message, strlen(message)), "a note that is no text");
}

static inline int refuse_to_start(int fd, void *user)
{
    (void)fd;
    (void)user;
    return 7;
}

static inline facpool_run_options good_run(void)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = N_FACTORS;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.workers = 2;
    return options;
}

static inline void end_world(void)
{
    facpool_reader_free(kept_reader);
    facpool_result_free(kept_result);
    facpool_tasks_free(tasks);
    scratch_remove();
}

static inline void make_world(void)
{
    static const int64_t dates[] = {20240102, 20240103};
    static const char *const codes[] = {"000001", "600000", "AAPL"};
    facpool_error err = FACPOOL_ERROR_INIT;
    REQUIRE(scratch_make("fuzz-options"), "no folder can be made");
    atexit(end_world);
    snprintf(kept_path, sizeof kept_path, "%s/kept.fpb", scratch_folder);
    snprintf(fresh_path, sizeof fresh_path, "%s/fresh.fpb", scratch_folder);
    snprintf(target_path, sizeof target_path, "%s/target.arrow", scratch_folder);
    REQUIRE(facpool_tasks_grid(&tasks, dates, 2, codes, 3, &err) == 0, "%s", err.message);
    facpool_run_options options = good_run();
    options.backup_path = kept_path;
    options.results = FACPOOL_RESULTS_KEEP;
    REQUIRE(facpool_run(tasks, &options, &kept_result, &err) == 0, "%s", err.message);
    const char *paths[] = {kept_path};
    REQUIRE(facpool_reader_open(&kept_reader, paths, 1, &err) == 0, "%s", err.message);
}

/* ------------------------------------------------------------------ options that go in */

static const field backup_numbers[] = {
    FIELD(facpool_backup_options, mode),        FIELD(facpool_backup_options, durability),
    FIELD(facpool_backup_options, batch_rows),  FIELD(facpool_backup_options, flush_ms),
    FIELD(facpool_backup_options, no_async),    FIELD(facpool_backup_options, no_retry_failed),
    FIELD(facpool_backup_options, queue_bytes), FIELD(facpool_backup_options, compression_level)};

typedef struct backup {
    char texts[2][1200];
    fit fits;
    facpool_backup_options *options;
} backup;

/* Where it writes is a file that no other input has seen. */
static inline void make_backup(fuzz_bytes *b, backup *k, const char *path)
{
    facpool_backup_options o = FACPOOL_BACKUP_OPTIONS_INIT;
    static const char *const formats[] = {"binary", "json", "memory_map", "Binary", ""};
    uint8_t which = take_byte(b);
    o.path = which == 255 ? NULL : which == 254 ? "" : path;
    o.format = which % 8 < 5 ? formats[which % 8] : NULL;
    if (which % 8 == 7)
        o.format = take_text(b, k->texts[0], "json");
    o.tag = which / 8 % 2 ? take_text(b, k->texts[1], "v1") : NULL;
    spoil_numbers(b, &o, backup_numbers, COUNT(backup_numbers));
    k->options = resize(b, &o, sizeof o, backup_numbers, COUNT(backup_numbers), &k->fits);
}

static const field run_numbers[] = {FIELD(facpool_run_options, executor),
                                    FIELD(facpool_run_options, workers),
                                    FIELD(facpool_run_options, group_by),
                                    FIELD(facpool_run_options, on_error),
                                    FIELD(facpool_run_options, stop_if_first_fail),
                                    FIELD(facpool_run_options, no_stop_if_first_fail),
                                    FIELD(facpool_run_options, attempts),
                                    FIELD(facpool_run_options, results),
                                    FIELD(facpool_run_options, dry_run),
                                    FIELD(facpool_run_options, n_factors),
                                    FIELD(facpool_run_options, progress_interval_ms),
                                    FIELD(facpool_run_options, task_timeout_ms)};

static const field process_numbers[] = {FIELD(facpool_process_options, tasks_per_worker),
                                        FIELD(facpool_process_options, memory_limit_bytes)};

/* Older callers of these have at least what is needed to know them for what they are. */
static const field run_ends[] = {
    FIELD(facpool_run_options, fn),        FIELD(facpool_run_options, batch_fn),
    FIELD(facpool_run_options, n_factors), FIELD(facpool_run_options, factor_names),
    FIELD(facpool_run_options, group_by),  FIELD(facpool_run_options, attempts),
    FIELD(facpool_run_options, backup),    FIELD(facpool_run_options, progress),
    FIELD(facpool_run_options, cancel),    FIELD(facpool_run_options, allocator),
    FIELD(facpool_run_options, process)};

static const field process_ends[] = {FIELD(facpool_process_options, one_worker_each),
                                     FIELD(facpool_process_options, reserved_for_later)};

static const field allocator_ends[] = {
    FIELD(facpool_allocator, alloc), FIELD(facpool_allocator, realloc),
    FIELD(facpool_allocator, free), FIELD(facpool_allocator, ctx)};

typedef struct run_case {
    facpool_run_options whole;
    facpool_run_options *options;
    names factor_names;
    backup backup;
    facpool_allocator *allocator;
    facpool_process_options *process;
    int32_t cpus[4];
    fit fits, allocator_fits, process_fits;
    facpool_cancel *cancel;
} run_case;

static inline void make_allocator(fuzz_bytes *b, run_case *c)
{
    facpool_allocator a = counting_allocator;
    switch (take_below(b, 20)) {
    case 17:
        a.alloc = NULL;
        break;
    case 18:
        a.realloc = NULL;
        break;
    case 19:
        a.free = NULL;
        break;
    default:
        break;
    }
    c->allocator =
        resize(b, &a, sizeof a, allocator_ends, COUNT(allocator_ends), &c->allocator_fits);
    c->whole.allocator = c->allocator;
}

/* A helper that refuses to start: nothing is ever forked here. */
static inline void make_process(fuzz_bytes *b, run_case *c)
{
    facpool_process_options p = FACPOOL_PROCESS_OPTIONS_INIT;
    spoil_numbers(b, &p, process_numbers, COUNT(process_numbers));
    p.start = refuse_to_start;
    p.one_worker_each = take_rarely(b, 2);
    if (p.one_worker_each && take_rarely(b, 4))
        p.start = NULL;
    c->process = resize(b, &p, sizeof p, process_ends, COUNT(process_ends), &c->process_fits);
    size_t has_each = offsetof(facpool_process_options, one_worker_each) + sizeof(int32_t);
    if (!p.start && c->process->size < has_each)
        c->whole.dry_run = 1;
    c->whole.process = c->process;
}

static inline void choose_what_points(fuzz_bytes *b, run_case *c)
{
    static const char *usual[NAMES_MAX] = {"ma5", "ma20", "z", "rank", "\xce\xb1", "x"};
    facpool_run_options *o = &c->whole;
    uint8_t which = take_byte(b);
    if (which & 1 && o->n_factors > NAMES_MAX)
        o->n_factors = 1 + o->n_factors % NAMES_MAX;
    if (which & 1)
        o->factor_names = take_names(b, &c->factor_names, usual);
    if (which & 2)
        make_allocator(b, c);
    if (which & 4) {
        make_backup(b, &c->backup, fresh_path);
        o->backup = c->backup.options;
    }
    if (which & 8) {
        o->progress = watch;
        o->log = hear;
    }
    if (which & 16) {
        for (size_t i = 0; i < 4; i++)
            c->cpus[i] = take_rarely(b, 4) ? (int32_t)take_wild(b) : 0;
        o->cpus = c->cpus;
        o->n_cpus = take_below(b, 5);
    }
    if (which & 32 && facpool_cancel_new(&c->cancel, NULL) == 0) {
        o->cancel = c->cancel;
        if (take_rarely(b, 2))
            facpool_cancel_set(c->cancel);
    }
    if (which & 64)
        o->backup_path = fresh_path;
    if (which & 128)
        o->batch_fn = compute_slice;
    if (which == 129 || which == 130)
        o->fn = NULL;
    if (which / 128 && take_rarely(b, 2))
        o->fn = NULL;
}

/* Numbers that are right, but would keep the machine busy. */
static inline void tame(facpool_run_options *o)
{
    if (o->workers > 4 && o->workers <= 4096)
        o->workers = 1 + o->workers % 4;
    if (o->n_factors > 300 && o->n_factors <= 65535)
        o->n_factors = 1 + o->n_factors % 300;
    if (o->batch_fn && o->n_factors < N_FACTORS)
        o->n_factors = N_FACTORS;
}

static inline void make_run(fuzz_bytes *b, run_case *c)
{
    *c = (run_case){.whole = good_run()};
    spoil_numbers(b, &c->whole, run_numbers, COUNT(run_numbers));
    tame(&c->whole);
    choose_what_points(b, c);
    if (c->whole.executor == FACPOOL_EXECUTOR_PROCESS)
        make_process(b, c);
    c->options = resize(b, &c->whole, sizeof c->whole, run_ends, COUNT(run_ends), &c->fits);
    if (c->whole.executor == FACPOOL_EXECUTOR_PROCESS && c->fits == FITS &&
        c->options->size < sizeof c->whole) { /* else it would be forked */
        free(c->options);
        c->options = exact_copy(&c->whole, sizeof c->whole);
    }
}

static inline void free_run(run_case *c)
{
    free(c->options);
    free(c->allocator);
    free(c->process);
    free(c->backup.options);
    facpool_cancel_free(c->cancel);
    REQUIRE(atomic_load(&outstanding) == 0, "%ld pieces of memory are not given back",
            (long)atomic_load(&outstanding));
}

static inline bool ends_early(int rc)
{
    return rc == FACPOOL_E_CANCELLED || rc == FACPOOL_E_TASK || rc == FACPOOL_E_IO ||
           rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_WORKER;
}

static inline void check_result(facpool_result *result, int rc)
{
    REQUIRE(result || rc < 0, "no result");
    REQUIRE(!result || rc == 0 || ends_early(rc), "a result of a run that returns %d", rc);
    if (!result)
        return;
    REQUIRE(facpool_result_count(result) == N_TASKS, "%zu tasks", facpool_result_count(result));
    const uint8_t *status = facpool_result_status(result);
    for (size_t i = 0; status && i < N_TASKS; i++)
        REQUIRE(status[i] <= FACPOOL_STATUS_FAILED, "status %d", status[i]);
    facpool_result_free(result);
}

#endif
