/* Runs and jobs of fuzz_calls.c: their task sets and options out of the fuzzer's bytes, the
 * function they call, and what the model says of their verdict, their result and the file they
 * wrote. */
#ifndef FP_FUZZ_CALLS_RUN_H
#define FP_FUZZ_CALLS_RUN_H

#include "calls_model.h"
#include "counted_memory.h"

#define JOB_WORKERS 2

/* What a task does: skips, or is ok from its needs-th attempt on. */
typedef struct fate {
    bool skips;
    uint32_t needs;
} fate;

/* One run, job, or dry run. The function gets it as its user. */
typedef struct run_plan {
    uint32_t step;
    file_model *file;    /* NULL: no backup */
    size_t keys[N_KEYS]; /* of each task */
    size_t n;
    bool in_set[N_KEYS];
    bool to_run[N_KEYS];
    key_row before[N_KEYS];
    key_row after[N_KEYS]; /* once everything ran */
    size_t n_to_run;
    fate fates[N_KEYS];
    facpool_run_options options;
    facpool_backup_options backup;
    facpool_cancel *cancel;
    uint64_t cancel_at_call; /* 0: never */
    uint32_t cancel_at_progress;
    uint32_t n_progress;
    atomic_ullong n_calls;
    bool may_be_cancelled;
    bool is_job;
    facpool_tasks *tasks;
    facpool_run_handle *run; /* one of these three, while it goes on */
    facpool_job *job;
    facpool_result *result;
    int verdict; /* once there is a result */
    facpool_slice slices[JOB_WORKERS];
    double *factors[JOB_WORKERS];
    bool in_hand[JOB_WORKERS];
} run_plan;

/* ------------------------------------------------------------------ the function */

static inline void note_call(run_plan *p)
{
    if (atomic_fetch_add(&p->n_calls, 1) + 1 == p->cancel_at_call)
        facpool_cancel_set(p->cancel);
}

static inline size_t key_of_call(const run_plan *p, size_t index, int64_t date, const char *code)
{
    REQUIRE(index < p->n, "task %zu of %zu is called", index, p->n);
    size_t key = p->keys[index];
    REQUIRE(date == date_of(key) && strcmp(code, code_of(key)) == 0,
            "index, date and code of task %zu do not belong together", index);
    return key;
}

static inline void fill_factors(const run_plan *p, size_t key, double *factors)
{
    for (size_t f = 0; f < N_FACTORS; f++) {
        REQUIRE(isnan(factors[f]), "factors do not arrive as NaN");
        factors[f] = value_of(key, p->step, f);
    }
}

/* Fails a task as its row is to be: with a message or without. */
static inline const char *message_or_null(const run_plan *p, size_t key, char text[MESSAGE_ROOM])
{
    key_row row = new_row(key, p->step, FACPOOL_STATUS_FAILED);
    message_of(&row, key, text);
    return row.speaks ? text : NULL;
}

static inline int run_task(const facpool_task *task, double *factors, void *user)
{
    run_plan *p = user;
    char text[MESSAGE_ROOM];
    size_t key = key_of_call(p, task->index, task->date, task->code);
    note_call(p);
    fill_factors(p, key, factors);
    if (p->fates[key].skips)
        return FACPOOL_SKIP;
    if (p->fates[key].needs <= task->attempt)
        return 0;
    const char *message = message_or_null(p, key, text);
    int code = failure_code_of(key, p->step);
    return message ? facpool_task_fail(task, code, message) : code;
}

/* Each task is marked on its own, so that slicing makes no difference. */
static inline int run_slice(const facpool_slice *slice, double *factors, void *user)
{
    run_plan *p = user;
    char text[MESSAGE_ROOM];
    for (size_t i = 0; i < slice->n; i++) {
        size_t key = key_of_call(p, slice->indexes[i], slice->dates[i], slice->codes[i]);
        note_call(p);
        fill_factors(p, key, factors + i * N_FACTORS);
        if (p->fates[key].skips)
            facpool_slice_skip(slice, i);
        else if (p->fates[key].needs > slice->attempt)
            facpool_slice_fail(slice, i, failure_code_of(key, p->step),
                               message_or_null(p, key, text));
    }
    return 0;
}

static inline int watch(const facpool_progress *progress, void *user)
{
    run_plan *p = user;
    REQUIRE(progress->total == p->n && progress->done <= progress->total &&
                progress->rows_durable <= progress->rows_written,
            "progress does not add up");
    return ++p->n_progress == p->cancel_at_progress;
}

/* ------------------------------------------------------------------ the task set */

static inline void add_key(run_plan *p, size_t key)
{
    p->in_set[key] = true;
    p->keys[p->n++] = key;
}

static inline void make_list(run_plan *p, uint64_t wanted, bool backwards)
{
    REQUIRE(facpool_tasks_new(&p->tasks, NULL) == 0, "no task set");
    for (size_t i = 0; i < N_KEYS; i++) {
        size_t key = backwards ? N_KEYS - 1 - i : i * 7 % N_KEYS; /* 7 and 36 share no factor */
        if (!(wanted >> key & 1))
            continue;
        add_key(p, key);
        REQUIRE(facpool_tasks_add(p->tasks, date_of(key), code_of(key), NULL) == 0, "key %zu", key);
    }
}

static inline void make_grid(run_plan *p, uint64_t wanted)
{
    int64_t dates[N_DATES];
    const char *codes[N_CODES];
    size_t date_at[N_DATES], code_at[N_CODES], n_dates = 0, n_codes = 0;
    for (size_t d = N_DATES; d-- > 0;)
        if (wanted >> d & 1) {
            date_at[n_dates] = d;
            dates[n_dates++] = key_dates[d];
        }
    for (size_t c = 0; c < N_CODES; c++)
        if (wanted >> (8 + c) & 1) {
            code_at[n_codes] = c;
            codes[n_codes++] = key_codes[c];
        }
    REQUIRE(facpool_tasks_grid(&p->tasks, dates, n_dates, codes, n_codes, NULL) == 0, "no grid");
    for (size_t d = 0; d < n_dates; d++)
        for (size_t c = 0; c < n_codes; c++)
            add_key(p, date_at[d] * N_CODES + code_at[c]);
}

static inline void make_tasks(run_plan *p, fuzz_bytes *b)
{
    uint8_t how = take_byte(b);
    uint64_t wanted = how % 4 == 3 ? take_number(b, 5) : UINT64_MAX;
    if (how / 4 % 2)
        make_grid(p, wanted);
    else
        make_list(p, wanted, how / 8 % 2);
}

/* ------------------------------------------------------------------ options */

static inline void take_backup_options(fuzz_bytes *b, facpool_backup_options *o, file_model *f)
{
    static const char *const formats[] = {"binary", "json", "memory_map"};
    static const uint32_t batch_rows[] = {0, 1, 2, 7};
    uint8_t how = take_byte(b), more = take_byte(b);
    *o = (facpool_backup_options)FACPOOL_BACKUP_OPTIONS_INIT;
    o->path = f->path;
    o->mode = how % 8 < 5 ? FACPOOL_MODE_RESUME : how % 8 - 5 + (how % 8 == 7);
    o->tag = how / 8 % 4 == 3 ? tags[take_below(b, 3)] : f->tag;
    o->format = how / 32 == 7 ? formats[take_below(b, 3)] : NULL;
    o->durability = 1 + more % 3;
    o->batch_rows = batch_rows[more / 4 % 4];
    o->no_async = more / 16 % 2;
    o->no_retry_failed = more / 32 % 4 == 3;
    o->flush_ms = 1 + more / 128 * 500;
    o->queue_bytes = more % 7 == 6 ? 100 : 0;
    o->compression_level = more % 5 == 4 ? -1 : 0;
}

static inline void take_fates(run_plan *p, fuzz_bytes *b)
{
    uint8_t mood = take_byte(b);
    for (size_t key = 0; key < N_KEYS; key++) {
        uint64_t roll = hash_of(key, p->step, 1) % 16;
        p->fates[key].needs = 1;
        p->fates[key].skips = roll == 0 && mood & 1;
        if (roll >= 1 && roll < (mood & 2 ? 5 : 2))
            p->fates[key].needs = UINT32_MAX;
        if (roll == 5 && mood & 4)
            p->fates[key].needs = 2;
        if (mood >= 250)
            p->fates[key] = (fate){.needs = UINT32_MAX};
    }
}

static inline void take_cancelling(run_plan *p, fuzz_bytes *b)
{
    uint8_t how = take_byte(b);
    p->may_be_cancelled = how % 4 == 3;
    if (how % 8 == 3 && facpool_cancel_new(&p->cancel, NULL) == 0) {
        p->options.cancel = p->cancel;
        p->cancel_at_call = how / 8;
        if (how / 8 == 0) {
            facpool_cancel_set(p->cancel);
            REQUIRE(facpool_cancel_is_set(p->cancel), "a token that was set");
        }
    } else if (how % 8 == 7) {
        p->cancel_at_progress = 1 + how / 8 % 4;
        p->options.progress_interval_ms = 1;
    }
    if (how % 8 >= 5) {
        p->options.progress = watch;
        p->options.progress_user = p;
    }
}

static inline void take_options(run_plan *p, fuzz_bytes *b)
{
    facpool_run_options *o = &p->options;
    uint8_t how = take_byte(b), more = take_byte(b);
    *o = (facpool_run_options)FACPOOL_RUN_OPTIONS_INIT;
    o->user = p;
    o->n_factors = N_FACTORS;
    o->factor_names = factor_names;
    o->executor = how % 4 == 3 ? 0 : FACPOOL_EXECUTOR_SERIAL;
    o->workers = p->is_job ? JOB_WORKERS : 1 + how / 4 % 3;
    o->group_by = how / 16 % 4;
    if (how / 64 % 2)
        o->batch_fn = run_slice;
    else
        o->fn = run_task;
    o->results = more % 3;
    o->allocator = more / 4 % 2 ? &counting_allocator : NULL;
    /* Attempts of a group are the group's: that is for other tests to tell apart. */
    o->attempts = o->batch_fn && o->group_by > FACPOOL_GROUP_NONE ? 1 : more / 8 % 4;
    o->no_stop_if_first_fail = more / 32 % 4 != 3;
    o->stop_if_first_fail = more / 32 % 4 == 3 ? 3 : 0;
    o->on_error = more / 128 && how / 128 ? FACPOOL_ON_ERROR_STOP : 0;
    take_cancelling(p, b);
}

/* ------------------------------------------------------------------ what is to come of it */

static inline void expect_rows(run_plan *p)
{
    uint32_t attempts = p->is_job || !p->options.attempts ? 1 : p->options.attempts;
    bool continues = p->file && p->file->exists && p->backup.mode == FACPOOL_MODE_RESUME;
    for (size_t key = 0; key < N_KEYS; key++) {
        key_row before = {0};
        if (continues)
            before = p->file->rows[key].rows[0];
        p->before[key] = p->after[key] = before;
        bool is_final = before.status == FACPOOL_STATUS_OK ||
                        before.status == FACPOOL_STATUS_SKIPPED ||
                        (before.status && p->backup.no_retry_failed);
        p->to_run[key] = p->in_set[key] && !is_final;
        if (!p->to_run[key])
            continue;
        p->n_to_run++;
        fate f = p->fates[key];
        p->after[key] = new_row(key, p->step,
                                f.skips               ? FACPOOL_STATUS_SKIPPED
                                : f.needs <= attempts ? FACPOOL_STATUS_OK
                                                      : FACPOOL_STATUS_FAILED);
        p->after[key].earliest = wall_us();
        p->after[key].latest = INT64_MAX;
    }
}

/* From now on, until the run is over, a key of the file has its old row or the new one. */
static inline void begin_writing(run_plan *p, file_user user)
{
    take_file(p->file, p->backup.mode, p->backup.format, p->backup.tag, user);
    for (size_t key = 0; key < N_KEYS; key++)
        if (p->to_run[key])
            add_candidate(&p->file->rows[key], &p->after[key]);
}

/* ------------------------------------------------------------------ judging */

static inline void check_verdict(const run_plan *p, int rc, const facpool_error *err)
{
    const facpool_run_options *o = &p->options;
    bool any_fails = false;
    for (size_t key = 0; key < N_KEYS; key++)
        any_fails = any_fails || (p->to_run[key] && p->after[key].status > FACPOOL_STATUS_SKIPPED);
    if (rc == FACPOOL_E_CANCELLED)
        REQUIRE(p->may_be_cancelled && p->n_to_run, "a run that nobody cancelled: %s",
                err->message);
    else if (rc == FACPOOL_E_TASK)
        REQUIRE(any_fails && (o->on_error == FACPOOL_ON_ERROR_STOP || !o->no_stop_if_first_fail),
                "a run that nothing stops: %s", err->message);
    else
        REQUIRE(rc == 0, "%d: %s", rc, err->message);
    if (o->on_error == FACPOOL_ON_ERROR_STOP && any_fails)
        REQUIRE(rc, "a failure does not stop the run");
    if (rc)
        REQUIRE(err->code == rc && err->message[0], "%d is told, %d returned", err->code, rc);
}

/* A row of a result is the old one or the new one, or, where the run ended early, none. */
static inline void check_result_row(const run_plan *p, size_t i, int rc)
{
    size_t key = p->keys[i];
    const facpool_result *result = p->result;
    uint8_t status = facpool_result_status(result)[i];
    const key_row *row = &p->after[key];
    if (rc && p->to_run[key] && status != row->status)
        row = &p->before[key];
    if (rc && p->to_run[key] && status == FACPOOL_STATUS_NONE)
        return;
    REQUIRE(status == row->status, "task %zu has status %d, not %d", i, status, row->status);
    for (size_t f = 0; f < N_FACTORS; f++) {
        double value = facpool_result_factor(result, f)[i];
        if (status == FACPOOL_STATUS_OK)
            REQUIRE(same_value(value, value_of(key, row->step, f)), "factor %zu of task %zu", f, i);
        else
            REQUIRE(isnan(value), "a value of task %zu", i);
    }
    REQUIRE(facpool_result_dates(result)[i] == date_of(key) &&
                strcmp(facpool_result_code(result, i), code_of(key)) == 0,
            "the key of task %zu", i);
}

static inline void check_result_failures(const run_plan *p)
{
    const facpool_result *result = p->result;
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        facpool_failure failure = FACPOOL_FAILURE_INIT;
        uint8_t status = facpool_result_status(result)[i];
        if (status <= FACPOOL_STATUS_SKIPPED)
            continue;
        REQUIRE(facpool_result_failure(result, n++, &failure, NULL) == 0, "failure %zu", n);
        REQUIRE(failure.index == i && failure.status == status, "failure %zu is of task %zu", n,
                failure.index);
    }
    REQUIRE(facpool_result_n_failures(result) == n, "%zu failures",
            facpool_result_n_failures(result));
    REQUIRE(facpool_result_failure(result, n, &(facpool_failure)FACPOOL_FAILURE_INIT, NULL) ==
                FACPOOL_E_INVALID,
            "a failure more than there are");
}

/* Rows left in a file are read back the first time; from then on the result is as it was, whatever
 * becomes of the file. */
static inline void check_result(const run_plan *p)
{
    int rc = p->verdict;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_report report = FACPOOL_REPORT_INIT;
    const facpool_result *result = p->result;
    REQUIRE(facpool_result_report(result, &report, NULL) == 0, "no report");
    REQUIRE(report.total == p->n && facpool_result_count(result) == p->n, "%zu tasks",
            facpool_result_count(result));
    REQUIRE(report.total ==
                    report.resumed + report.ok + report.skipped + report.failed + report.not_run &&
                report.resumed == p->n - p->n_to_run,
            "the report does not add up");
    REQUIRE(rc || !report.not_run, "%llu tasks were not run", (unsigned long long)report.not_run);
    int load = facpool_result_load(result, &err);
    if (p->options.results == FACPOOL_RESULTS_DROP) {
        REQUIRE(load == FACPOOL_E_STATE && !facpool_result_factor(result, 0), "dropped rows");
        return;
    }
    REQUIRE(load == 0, "%s", err.message);
    for (size_t i = 0; i < p->n; i++)
        check_result_row(p, i, rc);
    check_result_failures(p);
}

/* The run is over: its file holds what it must, and so does its result. */
static inline void judge(run_plan *p, int rc, const facpool_error *err)
{
    check_verdict(p, rc, err);
    REQUIRE(p->result, "no result");
    int64_t now = wall_us();
    for (size_t key = 0; key < N_KEYS && p->file; key++)
        for (unsigned i = 0; i < p->file->rows[key].n; i++)
            if (p->file->rows[key].rows[i].latest == INT64_MAX)
                p->file->rows[key].rows[i].latest = now;
    for (size_t key = 0; key < N_KEYS && p->file && !rc; key++)
        if (p->to_run[key]) {
            p->after[key].latest = now;
            p->file->rows[key] = only(&p->after[key]);
        }
    if (p->file)
        settle_file(p->file);
    p->verdict = rc;
    check_result(p);
}

static inline void plan_free(run_plan *p)
{
    facpool_result_free(p->result);
    facpool_tasks_free(p->tasks);
    facpool_cancel_free(p->cancel);
    free(p);
}

#endif
