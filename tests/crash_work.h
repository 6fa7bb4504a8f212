/* What is done on the simulated disk while it is recorded: runs, a writer, compacting, converting,
 * repairing. Each tells the ledger what was submitted and promised, when it was. Used by
 * test_crash_states.c. */
#ifndef FP_CRASH_WORK_H
#define FP_CRASH_WORK_H

#include "crash_ledger.h"

/* ------------------------------------------------------------------ a run */

typedef struct crash_run {
    int generation;
    uint32_t epoch;
    int32_t mode;
    const char *path;
    uint32_t cancel_after; /* calls; 0: never */
    const found_rows *before;
    /* what happened */
    uint32_t n_called;
    uint16_t called[TASKS_MAX]; /* in the order of their rows in the file */
    uint8_t times[TASKS_MAX];
    uint32_t n_written; /* of them, entered */
    uint32_t n_durable;
    bool is_open; /* and that was entered */
    facpool_cancel *cancel;
} crash_run;

/* The file is open: its name is safe, and so is what was found in it, where anything is synced. */
static inline void enter_open(crash_run *run)
{
    if (run->is_open)
        return;
    run->is_open = true;
    enter(ENTRY_NAMED, 0, ROW_NONE);
    for (size_t i = 0; run->before && i < world.n; i++)
        if (run->before->version[i] && world.durability != FACPOOL_DURABILITY_NONE)
            enter(ENTRY_DURABLE, i, run->before->version[i]);
}

static inline int call_task(crash_run *run, size_t task, double *factors)
{
    enter_open(run);
    int status = status_of(run->generation, task, run->epoch);
    CHECK(run->n_called < TASKS_MAX);
    run->called[run->n_called++] = (uint16_t)task;
    run->times[task]++;
    enter(ENTRY_SUBMITTED, task, version_of(status));
    for (size_t f = 0; f < world.n_factors; f++)
        factors[f] = factor_of(run->generation, task, f);
    if (run->cancel_after && run->n_called >= run->cancel_after)
        facpool_cancel_set(run->cancel);
    return status;
}

static inline int run_task(const facpool_task *task, double *factors, void *user)
{
    crash_run *run = user;
    switch (call_task(run, task->index, factors)) {
    case FACPOOL_STATUS_SKIPPED:
        return FACPOOL_SKIP;
    case FACPOOL_STATUS_FAILED:
        return facpool_task_fail(task, failure_of(run->generation, task->index), "was told to");
    default:
        return 0;
    }
}

static inline int run_slice(const facpool_slice *slice, double *factors, void *user)
{
    crash_run *run = user;
    for (size_t i = 0; i < slice->n; i++) {
        size_t task = slice->indexes[i];
        int status = call_task(run, task, factors + i * world.n_factors);
        if (status == FACPOOL_STATUS_SKIPPED)
            facpool_slice_skip(slice, i);
        else if (status == FACPOOL_STATUS_FAILED)
            facpool_slice_fail(slice, i, failure_of(run->generation, task), "was told to");
    }
    return 0;
}

static inline void enter_rows(const crash_run *run, entry_kind kind, uint32_t *n, uint64_t now)
{
    CHECK(now <= run->n_called);
    for (; *n < now; ++*n) {
        size_t task = run->called[*n];
        enter(kind, task, version_of(status_of(run->generation, task, run->epoch)));
    }
}

static inline int run_progress(const facpool_progress *progress, void *user)
{
    crash_run *run = user;
    enter_rows(run, ENTRY_WRITTEN, &run->n_written, progress->rows_written);
    enter_rows(run, ENTRY_DURABLE, &run->n_durable, progress->rows_durable);
    return 0;
}

static inline facpool_backup_options backup_options(const char *path, int32_t mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = mode;
    backup.durability = world.durability;
    backup.batch_rows = world.batch_rows;
    backup.no_async = 1;
    return backup;
}

/* Returns what facpool_run returned; *out is to be freed. */
static inline int do_run(crash_run *run, facpool_result **out)
{
    facpool_backup_options backup = backup_options(run->path, run->mode);
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    if (world.by_slices)
        options.batch_fn = run_slice;
    else
        options.fn = run_task;
    options.user = run;
    options.n_factors = world.n_factors;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.no_stop_if_first_fail = 1;
    options.backup = &backup;
    options.progress = run_progress;
    options.progress_user = run;
    options.progress_interval_ms = 1;
    options.cancel = run->cancel;
    disk_set_clock(world.clock_step_ns);
    int rc = facpool_run(world.tasks, &options, out, &err);
    if (rc == 0)
        enter_open(run);
    return rc;
}

/* A run that is cancelled on the way, or comes to its end. */
static inline void work_run(int generation, uint32_t epoch, int32_t mode, const char *path,
                            uint32_t cancel_after)
{
    facpool_result *result = NULL;
    crash_run run = {.generation = generation,
                     .epoch = epoch,
                     .mode = mode,
                     .path = path,
                     .cancel_after = cancel_after};
    CHECK_OK(facpool_cancel_new(&run.cancel, &err), err);
    int rc = do_run(&run, &result);
    if (!cancel_after || rc != FACPOOL_E_CANCELLED)
        CHECK_OK(rc, err);
    facpool_result_free(result);
    facpool_cancel_free(run.cancel);
}

/* ------------------------------------------------------------------ a job */

/* Two workers of a job, each a thread to the library: the second one completes slices while a sync
 * of the first one is on its way. */
typedef struct crash_job {
    facpool_job *job;
    crash_run run;
    random_numbers r;
} crash_job;

static inline void look_at_progress(crash_job *j)
{
    facpool_progress progress = FACPOOL_PROGRESS_INIT;
    CHECK_INT(facpool_job_progress(j->job, &progress), 0);
    run_progress(&progress, &j->run);
}

/* False when there is none left. */
static inline bool complete_slice(crash_job *j, uint32_t worker)
{
    facpool_slice slice = FACPOOL_SLICE_INIT;
    double *factors = NULL;
    int rc = facpool_job_take(j->job, worker, &slice, &factors, &err);
    CHECK_OK(rc, err);
    if (rc == 0)
        return false;
    run_slice(&slice, factors, &j->run);
    CHECK_OK(facpool_job_complete(j->job, &slice, 0, &err), err);
    look_at_progress(j);
    return true;
}

/* On the clock's old time, or the group that is being synced would be due again; and that sync
 * could not begin before this one ends. */
static inline void complete_within_sync(void *user)
{
    crash_job *j = user;
    int64_t hour_ns = (int64_t)3600 * 1000000000;
    disk_set_clock(0);
    disk_turn_clock(-hour_ns);
    look_at_progress(j);
    complete_slice(j, 1);
    disk_turn_clock(hour_ns);
    disk_set_clock(world.clock_step_ns);
}

static inline void work_job(const found_rows *before, random_numbers *r)
{
    facpool_backup_options backup = backup_options(world.path, FACPOOL_MODE_RESUME);
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.n_factors = world.n_factors;
    options.workers = 2;
    options.no_stop_if_first_fail = 1;
    options.backup = &backup;
    crash_job j = {.run = {.generation = 1, .epoch = 1, .before = before}, .r = {random_bits(r)}};
    disk_set_clock(world.clock_step_ns);
    CHECK_OK(facpool_job_open(&j.job, world.tasks, &options, &err), err);
    enter_open(&j.run);
    do {
        bool meanwhile = world.durability == FACPOOL_DURABILITY_GROUP && random_chance(&j.r, 70);
        disk_within_sync = meanwhile ? complete_within_sync : NULL;
        disk_within_sync_user = &j;
    } while (complete_slice(&j, 0));
    disk_within_sync = NULL;
    while (complete_slice(&j, 1)) /* what is kept for it is nobody else's */
        continue;
    facpool_result *result = NULL;
    CHECK_OK(facpool_job_finish(j.job, &result, &err), err);
    facpool_result_free(result);
}

/* ------------------------------------------------------------------ a writer */

typedef struct crash_writer {
    facpool_writer *writer;
    random_numbers r;
    uint32_t n_left; /* tasks whose rows are still to come */
    uint16_t left[TASKS_MAX];
    uint8_t appended[TASKS_MAX]; /* row_version */
    uint32_t n_waiting;          /* rows that need not be in the file yet */
    bool within_sync;
} crash_writer;

/* A flaky task is appended as failed, and later once more. */
static inline int next_status(crash_writer *w, size_t task)
{
    return status_of(1, task, w->appended[task] == ROW_FAILED ? 1 : 0);
}

static inline void enter_appended(const crash_writer *w, entry_kind kind)
{
    for (size_t i = 0; i < world.n; i++)
        if (w->appended[i])
            enter(kind, i, w->appended[i]);
}

/* Some of the rows that are left, in any order. */
static inline size_t take_rows(crash_writer *w, size_t most, size_t *tasks, uint8_t *statuses)
{
    size_t n = 0;
    while (n < most && w->n_left) {
        uint32_t at = random_below(&w->r, w->n_left);
        size_t task = w->left[at];
        int status = next_status(w, task);
        bool comes_again =
            status == FACPOOL_STATUS_FAILED && status_of(1, task, 1) != FACPOOL_STATUS_FAILED;
        if (!comes_again)
            w->left[at] = w->left[--w->n_left];
        tasks[n] = task;
        statuses[n++] = (uint8_t)status;
        if (comes_again)
            break; /* the other row comes with a later append */
    }
    return n;
}

static inline void append_rows(crash_writer *w, const size_t *tasks, const uint8_t *statuses,
                               size_t n)
{
    int64_t dates[TASKS_MAX], stamps[TASKS_MAX];
    const char *codes[TASKS_MAX], *messages[TASKS_MAX];
    int32_t failures[TASKS_MAX];
    static double factors[TASKS_MAX * FACTORS_MAX];
    for (size_t i = 0; i < n; i++) {
        dates[i] = date_of(tasks[i]);
        codes[i] = code_of(tasks[i]);
        stamps[i] = 1700000000000000 + (int64_t)tasks[i];
        bool failed = statuses[i] == FACPOOL_STATUS_FAILED;
        failures[i] = failed ? failure_of(1, tasks[i]) : 0;
        messages[i] = failed ? "was told to" : NULL;
        for (size_t f = 0; f < world.n_factors; f++)
            factors[i * world.n_factors + f] = factor_of(1, tasks[i], f);
        enter(ENTRY_SUBMITTED, tasks[i], version_of(statuses[i]));
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = n;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = stamps;
    rows.statuses = statuses;
    rows.factors = factors;
    rows.failure_codes = failures;
    rows.messages = messages;
    CHECK_OK(facpool_writer_append(w->writer, &rows, &err), err);
    for (size_t i = 0; i < n; i++)
        w->appended[tasks[i]] = (uint8_t)version_of(statuses[i]);
    w->n_waiting += (uint32_t)n;
}

/* As soon as batch_rows are ready they are handed over, and all that wait with them. */
static inline void append_some(crash_writer *w)
{
    size_t tasks[8];
    uint8_t statuses[8];
    size_t n = take_rows(w, random_between(&w->r, 1, 8), tasks, statuses);
    if (n)
        append_rows(w, tasks, statuses, n);
    if (w->n_waiting < world.batch_rows)
        return;
    w->n_waiting = 0;
    enter_appended(w, world.durability == FACPOOL_DURABILITY_BATCH ? ENTRY_DURABLE : ENTRY_WRITTEN);
}

/* Another thread appends while a sync is on its way: what comes then is not covered by it. */
static inline void append_within_sync(void *user)
{
    crash_writer *w = user;
    append_some(w);
}

static inline void sync_writer(crash_writer *w)
{
    uint8_t before[TASKS_MAX];
    memcpy(before, w->appended, sizeof before);
    /* With a sync after every block the append would wait for the one that it is called from. */
    if (world.durability != FACPOOL_DURABILITY_BATCH && random_chance(&w->r, 50)) {
        disk_within_sync = append_within_sync;
        disk_within_sync_user = w;
    }
    w->n_waiting = 0;
    CHECK_OK(facpool_writer_sync(w->writer, &err), err);
    disk_within_sync = NULL;
    for (size_t i = 0; i < world.n; i++)
        if (before[i])
            enter(ENTRY_DURABLE, i, before[i]);
}

/* Appends what the file does not have. */
static inline void work_writer(int32_t mode, const found_rows *before, random_numbers *r)
{
    crash_writer w = {.r = {random_bits(r)}};
    for (size_t i = 0; i < world.n; i++) {
        w.appended[i] = before->version[i];
        if (before->version[i] != ROW_FINAL &&
            (before->version[i] == ROW_NONE || status_of(1, i, 1) != FACPOOL_STATUS_FAILED))
            w.left[w.n_left++] = (uint16_t)i;
    }
    facpool_backup_options backup = backup_options(world.path, mode);
    disk_set_clock(1000); /* no group is due within an append: see append_within_sync */
    CHECK_OK(facpool_writer_open(&w.writer, &backup, NULL, world.n_factors, &err), err);
    crash_run opened = {.before = before};
    enter_open(&opened);
    while (w.n_left) {
        append_some(&w);
        if (random_chance(&w.r, 25))
            sync_writer(&w);
    }
    CHECK_OK(facpool_writer_close(w.writer, &err), err);
    enter_appended(&w, world.durability == FACPOOL_DURABILITY_NONE ? ENTRY_WRITTEN : ENTRY_DURABLE);
}

/* ------------------------------------------------------------------ whole files */

static inline void work_compact(void)
{
    CHECK_OK(facpool_backup_compact(world.path, &err), err);
}

static inline void work_convert(bool overwrite)
{
    const char *paths[] = {world.source};
    facpool_backup_options to =
        backup_options(world.path, overwrite ? FACPOOL_MODE_OVERWRITE : FACPOOL_MODE_CREATE);
    CHECK_OK(facpool_backup_convert(paths, 1, &to, &err), err);
    enter(ENTRY_NAMED, 0, ROW_NONE);
}

static inline void work_repair(void)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_repair(world.path, &report, &err), err);
}

#endif
