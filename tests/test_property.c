/* Random histories of backups against a plain model in memory: task sets, widths, executors,
 * groups, batches, skips, failures, cancels, resumes, appends, torn tails and questions. After
 * every step the file and the result hold exactly what the model says, bit for bit.
 *
 * FACPOOL_TEST_SEED and FACPOOL_TEST_CASES choose the cases, FACPOOL_TEST_FIRST the first of them:
 * a failure prints what it needs to be had again. */
#include "counted_memory.h"
#include "property_judge.h"
#include "property_rows.h"

#include <stdarg.h>

static uint64_t seed;
static unsigned case_number;
static char history[8192]; /* of the case: its steps and their parameters */
static size_t history_length;

static unsigned long n_runs, n_tasks, n_resumes, n_cancelled, n_stopped, n_dry, n_appends,
    n_misuses, n_torn, n_questions, n_jobs, n_started, n_unions, n_in_processes;

/* What a case's backup is written as. A file of lines holds nothing but rows: one without a row is
 * as good as none. */
typedef struct file_format {
    const char *name;
    const char *suffix;
    bool is_lines;
    unsigned long n_cases;
} file_format;

static file_format formats[] = {
    {"binary", ".fpb", false, 0}, {"json", ".jsonl", true, 0}, {"memory_map", ".arrow", false, 0}};

enum { N_FORMATS = sizeof formats / sizeof *formats };

static file_format *backup_format;

static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(history + history_length, sizeof history - history_length, format, args);
    va_end(args);
    if (n > 0 && history_length + (size_t)n < sizeof history)
        history_length += (size_t)n;
}

/* ------------------------------------------------------------------ questions */

static void check_file(const world *w, const char *path, random_numbers *r)
{
    question q;
    facpool_reader *reader = NULL;
    CHECK_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    CHECK_INT(facpool_reader_n_factors(reader), w->n_factors);
    for (size_t f = 0; f < w->n_factors; f++)
        CHECK_TEXT(facpool_reader_factor_name(reader, f), w->names[f]);
    ask_all(w, &q);
    q.filter.order = random_chance(r, 50) ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE;
    check_answer(w, &q, w->state, reader, r);
    for (uint32_t n = random_below(r, 4); n > 0; n--) {
        ask_something(w, r, &q);
        check_answer(w, &q, w->state, reader, r);
        n_questions++;
    }
    facpool_reader_free(reader);
    if (random_chance(r, 30)) {
        facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
        CHECK_OK(facpool_backup_verify(path, &report, &err), err);
        CHECK_INT(report.damaged_blocks, 0);
        CHECK_INT(report.tail_bytes, 0);
        CHECK(report.closed);
    }
}

/* ------------------------------------------------------------------ random options */

static void choose_backup(run_plan *p, random_numbers *r, const char *path, bool exists)
{
    static const uint32_t batch_rows[] = {0, 1, 2, 7, 100, 5000};
    static const uint32_t flush_ms[] = {0, 1, 3, 20, 1000};
    static const uint64_t queue_bytes[] = {0, 1, 100, 4096, 1 << 20};
    static const int32_t levels[] = {0, 0, -1, 1, 3, 7};
    facpool_backup_options *b = &p->backup;
    b->path = path;
    b->format = random_chance(r, 30) ? backup_format->name : NULL;
    b->mode = exists ? FACPOOL_MODE_RESUME : (int32_t)random_below(r, 3);
    if (exists && random_chance(r, 4))
        b->mode = FACPOOL_MODE_OVERWRITE;
    uint32_t durability = random_below(r, 10);
    b->durability = durability < 5   ? FACPOOL_DURABILITY_NONE
                    : durability < 9 ? (int32_t)random_below(r, 2)
                                     : FACPOOL_DURABILITY_BATCH;
    b->tag = p->w->tag;
    b->batch_rows = batch_rows[random_below(r, 6)];
    b->flush_ms = flush_ms[random_below(r, 5)];
    b->queue_bytes = queue_bytes[random_below(r, 5)];
    b->no_async = random_chance(r, 30);
    b->no_retry_failed = random_chance(r, 20);
    b->compression_level = levels[random_below(r, 6)];
    p->options.backup = b;
}

/* What a worker process sends when its call is the one to cancel at. */
static facpool_cancel *volatile signal_token;

static void cancel_on_signal(int number)
{
    (void)number;
    facpool_cancel_set(signal_token);
}

static void choose_ends(run_plan *p, random_numbers *r)
{
    facpool_run_options *o = &p->options;
    o->no_stop_if_first_fail = random_chance(r, 85);
    o->stop_if_first_fail = random_chance(r, 50) ? random_between(r, 1, 40) : 0;
    if (random_chance(r, 10))
        o->on_error = FACPOOL_ON_ERROR_STOP;
    if (random_chance(r, 15)) {
        CHECK_OK(facpool_cancel_new(&p->cancel, &err), err);
        signal_token = p->cancel;
        p->cancel_at_call = 1 + random_below(r, (uint32_t)p->w->n_keys);
        o->cancel = p->cancel;
    }
    if (random_chance(r, 30)) {
        o->progress = progress_function;
        o->progress_user = p;
        o->progress_interval_ms = random_between(r, 0, 2);
        if (random_chance(r, 20) && !p->is_job)
            p->cancel_at_progress = random_between(r, 1, 3);
    }
    p->fail_init = random_chance(r, 2);
}

static void choose_options(run_plan *p, random_numbers *r)
{
    facpool_run_options *o = &p->options;
    p->is_job = random_chance(r, 15);
    if (random_chance(r, 50))
        o->fn = task_function;
    if (!o->fn || p->is_job)
        o->batch_fn = batch_function;
    if (p->is_job)
        o->fn = NULL;
    o->user = p;
    o->n_factors = p->w->n_factors;
    o->factor_names = p->w->default_names && random_chance(r, 50) ? NULL : p->w->name_list;
    o->executor = random_chance(r, 40)   ? WITH_THREADS
                  : random_chance(r, 60) ? FACPOOL_EXECUTOR_SERIAL
                                         : WITH_PROCESSES;
    o->workers = random_between(r, 1, 4);
    o->group_by =
        random_chance(r, 50) ? (int32_t)random_below(r, 2) : (int32_t)random_between(r, 2, 3);
    o->worker_init = worker_init_function;
    o->attempts = random_below(r, 4);
    o->results = (int32_t)random_below(r, 3);
    o->allocator = random_chance(r, 20) ? &counting_allocator : NULL;
    choose_ends(p, r);
}

static const char *executor_name(int32_t executor)
{
    return executor == FACPOOL_EXECUTOR_SERIAL    ? "serial"
           : executor == FACPOOL_EXECUTOR_PROCESS ? "process"
                                                  : "omp";
}

static void note_run(const run_plan *p)
{
    const facpool_run_options *o = &p->options;
    const facpool_backup_options *b = &p->backup;
    note("  step %u: %s %s %s, %zu tasks, workers %u, group_by %d, attempts %u, results %d, "
         "on_error %d, first_fail %u/%d, cancel %llu/%llu%s%s\n",
         p->epoch, o->dry_run ? "dry run" : "run", p->is_job ? "job" : executor_name(o->executor),
         o->fn ? "fn" : "batch_fn", p->n, o->workers, o->group_by, o->attempts, o->results,
         o->on_error, o->stop_if_first_fail, o->no_stop_if_first_fail,
         (unsigned long long)p->cancel_at_call, (unsigned long long)p->cancel_at_progress,
         p->fail_init ? ", init fails" : "", o->allocator ? ", own allocator" : "");
    if (o->backup)
        note("    backup mode %d, durability %d, batch_rows %u, flush_ms %u, queue %llu, "
             "no_async %d, no_retry %d, level %d\n",
             b->mode, b->durability, b->batch_rows, b->flush_ms, (unsigned long long)b->queue_bytes,
             b->no_async, b->no_retry_failed, b->compression_level);
}

/* ------------------------------------------------------------------ running */

/* A job on this thread, which plays all workers, with several slices in hand at once. */
static int drive_job(run_plan *p, random_numbers *r, const facpool_tasks *tasks,
                     facpool_result **out)
{
    facpool_job *job = NULL;
    facpool_slice slices[4];
    bool in_hand[4] = {false}, empty[4] = {false};
    double *factors[4];
    int rc = facpool_job_open(&job, tasks, &p->options, &err);
    if (rc)
        return rc;
    uint32_t workers = p->options.workers, n_empty = 0, n_in_hand = 0;
    while (n_empty < workers || n_in_hand) {
        uint32_t i = random_below(r, workers);
        if (in_hand[i]) {
            int outcome = batch_function(&slices[i], factors[i], p);
            rc = facpool_job_complete(job, &slices[i], outcome, &err);
            CHECK_OK(rc, err);
            in_hand[i] = false;
            n_in_hand--;
        } else if (!empty[i]) {
            slices[i] = (facpool_slice)FACPOOL_SLICE_INIT;
            rc = facpool_job_take(job, i, &slices[i], &factors[i], &err);
            CHECK_OK(rc, err);
            empty[i] = rc == 0;
            n_empty += rc == 0;
            in_hand[i] = rc == 1;
            n_in_hand += rc == 1;
        }
    }
    facpool_progress progress = FACPOOL_PROGRESS_INIT;
    CHECK_INT(facpool_job_progress(job, &progress), 0);
    CHECK_INT(progress.total, p->n);
    n_jobs++;
    return facpool_job_finish(job, out, &err);
}

static int start_and_wait(const run_plan *p, const facpool_tasks *tasks, facpool_result **out)
{
    facpool_run_handle *run = NULL;
    int rc = facpool_run_start(&run, tasks, &p->options, &err);
    if (rc)
        return rc;
    facpool_progress progress = FACPOOL_PROGRESS_INIT;
    for (int i = 0; i < 50 && (rc = facpool_run_poll(run, &progress, &err)) == 0; i++)
        CHECK(progress.done <= progress.total);
    CHECK_OK(rc, err);
    n_started++;
    return facpool_run_wait(run, out, &err);
}

static int execute(run_plan *p, random_numbers *r, const facpool_tasks *tasks, facpool_result **out)
{
    if (p->is_job)
        return drive_job(p, r, tasks, out);
    if (random_chance(r, 25))
        return start_and_wait(p, tasks, out);
    return facpool_run(tasks, &p->options, out, &err);
}

/* ------------------------------------------------------------------ steps */

static uint64_t torn_bytes; /* behind the backup, put there by a step before */

static void step_run(world *w, random_numbers *r, const char *path, bool *exists)
{
    run_plan *p = run_plan_new(w);
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    CHECK_INT(make_tasks(p, r, &tasks), 0);
    choose_options(p, r);
    if (path)
        choose_backup(p, r, path, *exists);
    note_run(p);
    expect_run(p, path && *exists);
    int64_t before = wall_us();
    int rc = execute(p, r, tasks, &result);
    if (p->wrong)
        printf("  %s\n", p->wrong_text);
    CHECK_INT(p->wrong, 0);
    if (!result)
        printf("  no result: %d %s\n", rc, err.message);
    CHECK(result);
    int64_t after = wall_us();
    for (size_t key = 0; key < w->n_keys; key++)
        if (p->to_run[key]) {
            p->after[key].low = before;
            p->after[key].high = after;
        }
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    check_verdict(p, rc, &report);
    check_calls(p, rc == 0);
    key_state *now = p->after;
    bool known = true;
    if (rc) {
        now = calloc(w->n_keys, sizeof *now);
        if (path && p->backup.mode != FACPOOL_MODE_OVERWRITE)
            memcpy(now, w->state, w->n_keys * sizeof *now);
        known = path || p->options.results != FACPOOL_RESULTS_DROP;
        if (path)
            settle_from_file(p, path, now);
        else if (known)
            settle_from_result(p, result, now);
    }
    bool replaced = p->backup.mode == FACPOOL_MODE_OVERWRITE;
    if (known)
        check_report(p, &report, now, path && !replaced ? torn_bytes : 0);
    if (known)
        check_result(p, result, now, r);
    if (path) {
        memcpy(w->state, now, w->n_keys * sizeof *now);
        n_resumes += *exists;
        *exists = true;
        torn_bytes = 0;
    }
    n_runs++;
    n_in_processes += p->options.executor == FACPOOL_EXECUTOR_PROCESS && !p->is_job;
    n_tasks += p->n_to_run;
    n_cancelled += rc == FACPOOL_E_CANCELLED;
    n_stopped += rc == FACPOOL_E_TASK;
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    CHECK_INT(outstanding, 0);
    if (now != p->after)
        free(now);
    run_plan_free(p);
}

/* A dry run says what would run, calls nothing and leaves the file alone. */
static void step_dry_run(world *w, random_numbers *r, const char *path, bool exists)
{
    run_plan *p = run_plan_new(w);
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    CHECK_INT(make_tasks(p, r, &tasks), 0);
    choose_options(p, r);
    choose_backup(p, r, path, exists);
    p->options.dry_run = 1;
    p->is_job = false;
    p->fail_init = false;
    p->cancel_at_progress = 0;
    note_run(p);
    expect_run(p, exists);
    size_t size_before = 0, size_after = 0;
    uint8_t *bytes_before = file_read(path, &size_before);
    int rc = random_chance(r, 50) ? start_and_wait(p, tasks, &result)
                                  : facpool_run(tasks, &p->options, &result, &err);
    CHECK_OK(rc, err);
    CHECK_INT(p->n_calls, 0);
    CHECK_INT(p->wrong, 0);
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    CHECK_INT(report.not_run, p->n_to_run);
    CHECK_INT(report.resumed, p->n_done);
    CHECK_INT(report.new_tasks, p->n_retry[FACPOOL_STATUS_NONE]);
    CHECK_INT(report.retry_failed, p->n_retry[FACPOOL_STATUS_FAILED]);
    CHECK_INT(report.retry_timeout, p->n_retry[FACPOOL_STATUS_TIMEOUT]);
    CHECK_INT(report.retry_crashed, p->n_retry[FACPOOL_STATUS_CRASHED]);
    uint8_t *bytes_after = file_read(path, &size_after);
    CHECK(!bytes_before == !bytes_after && size_before == size_after);
    if (bytes_before)
        CHECK(memcmp(bytes_before, bytes_after, size_before) == 0);
    free(bytes_before);
    free(bytes_after);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    run_plan_free(p);
    CHECK_INT(outstanding, 0);
    n_dry++;
}

static void step_append(world *w, random_numbers *r, const char *path, bool *exists)
{
    run_plan *p = run_plan_new(w);
    choose_backup(p, r, path, *exists);
    p->backup.mode = *exists ? FACPOOL_MODE_RESUME : FACPOOL_MODE_CREATE;
    facpool_writer *writer = NULL, *second = NULL;
    hand_rows *h = malloc(sizeof *h);
    key_state *state = malloc(w->n_keys * sizeof *state);
    CHECK_OK(facpool_writer_open(&writer, &p->backup, w->name_list, w->n_factors, &err), err);
    p->backup.mode = FACPOOL_MODE_RESUME;
    CHECK_INT(facpool_writer_open(&second, &p->backup, w->name_list, w->n_factors, &err),
              FACPOOL_E_BUSY);
    uint32_t n_calls = random_between(r, 1, 3);
    for (uint32_t call = 0; call < n_calls; call++) {
        memcpy(state, w->state, w->n_keys * sizeof *state);
        bool refused = make_rows(w, r, h, state);
        note("  step %u: append %zu rows%s\n", w->epoch, h->rows.n, refused ? ", refused" : "");
        int rc = facpool_writer_append(writer, &h->rows, &err);
        if (refused)
            CHECK_INT(rc, FACPOOL_E_EXISTS);
        else
            CHECK_OK(rc, err);
        if (!refused)
            memcpy(w->state, state, w->n_keys * sizeof *state);
        if (random_chance(r, 30))
            CHECK_OK(facpool_writer_sync(writer, &err), err);
        w->epoch++;
    }
    CHECK_OK(facpool_writer_close(writer, &err), err);
    int64_t after = wall_us();
    for (size_t key = 0; key < w->n_keys; key++)
        if (w->state[key].high == INT64_MAX)
            w->state[key].high = after;
    free(state);
    free(h);
    run_plan_free(p);
    *exists = true;
    torn_bytes = 0;
    n_appends++;
}

/* What is refused, and leaves the file as it was. */
static void step_misuse(world *w, random_numbers *r, const char *path)
{
    run_plan *p = run_plan_new(w);
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    CHECK_INT(make_tasks(p, r, &tasks), 0);
    choose_options(p, r);
    choose_backup(p, r, path, true);
    p->backup.mode = FACPOOL_MODE_RESUME;
    const char *names[WORLD_FACTORS_MAX];
    memcpy(names, w->name_list, sizeof names);
    int expected = FACPOOL_E_MISMATCH;
    switch (random_below(r, 5)) {
    case 4:
        p->backup.format = formats[(backup_format - formats + 1) % N_FORMATS].name;
        break;
    case 0:
        p->backup.mode = FACPOOL_MODE_CREATE;
        expected = FACPOOL_E_EXISTS;
        break;
    case 1:
        names[random_below(r, (uint32_t)w->n_factors)] = "another";
        p->options.factor_names = names;
        break;
    case 2:
        names[w->n_factors - 1] = NULL;
        p->options.factor_names = names;
        p->options.n_factors--;
        if (p->options.n_factors == 0)
            expected = FACPOOL_E_INVALID;
        break;
    default:
        p->backup.tag = w->tag ? (random_chance(r, 50) ? NULL : "v2") : "v1";
    }
    note("  step %u: misuse, to give %d\n", w->epoch, expected);
    size_t size_before = 0, size_after = 0;
    uint8_t *before = file_read(path, &size_before);
    int rc = p->is_job ? drive_job(p, r, tasks, &result)
                       : facpool_run(tasks, &p->options, &result, &err);
    CHECK_INT(rc, expected);
    CHECK(!result && err.code == expected);
    uint8_t *after = file_read(path, &size_after);
    CHECK(before && after && size_before == size_after);
    CHECK(memcmp(before, after, size_before) == 0);
    free(before);
    free(after);
    facpool_tasks_free(tasks);
    run_plan_free(p);
    CHECK_INT(outstanding, 0);
    n_misuses++;
}

/* Bytes that a writer killed in the middle of a block might leave. */
static void step_tear(world *w, random_numbers *r, const char *path)
{
    uint8_t bytes[300];
    size_t n = random_between(r, 1, sizeof bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = random_chance(r, 20) ? 0 : (uint8_t)random_bits(r);
    if (backup_format->is_lines) { /* blank lines at an end would be none that were torn */
        bytes[0] = '{';
        bytes[n - 1] = '"';
    }
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, bytes, n), n);
    close(fd);
    torn_bytes += n;
    note("  step %u: tear, %zu bytes\n", w->epoch, n);
    if (random_chance(r, 30)) {
        facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
        CHECK_OK(facpool_backup_repair(path, &report, &err), err);
        CHECK_OK(facpool_backup_verify(path, &report, &err), err);
        CHECK_INT(report.tail_bytes, 0);
        CHECK(report.closed);
        torn_bytes = 0;
    }
    n_torn++;
}

/* The main backup and one written by hand, asked as one: rule 12. */
static void check_union(world *w, random_numbers *r, const char *path)
{
    char other[512];
    file_format *main_format = backup_format;
    backup_format = &formats[random_below(r, N_FORMATS)];
    w->any_nan = backup_format->is_lines || main_format->is_lines;
    note("  the other is %s\n", backup_format->name);
    snprintf(other, sizeof other, "%s%s", scratch_path("other"), backup_format->suffix);
    key_state *main_state = w->state, *hand_state = calloc(w->n_keys, sizeof *hand_state);
    key_state *both = calloc(w->n_keys, sizeof *both);
    bool exists = false;
    w->epoch++;
    w->state = hand_state;
    step_append(w, r, other, &exists);
    bool is_there = !backup_format->is_lines || has_rows(w);
    w->state = main_state;
    backup_format = main_format;
    bool main_first = random_chance(r, 50);
    for (size_t key = 0; key < w->n_keys; key++) {
        const key_state *a = main_first ? &main_state[key] : &hand_state[key];
        const key_state *b = main_first ? &hand_state[key] : &main_state[key];
        bool a_ok = a->status == FACPOOL_STATUS_OK, b_ok = b->status == FACPOOL_STATUS_OK;
        bool later = a_ok == b_ok ? b->low >= a->low : b_ok;
        both[key] = !a->status ? *b : !b->status ? *a : later ? *b : *a;
    }
    const char *paths[2] = {main_first ? path : other, main_first ? other : path};
    note("  union, %s first\n", main_first ? "backup" : "appended");
    facpool_reader *reader = NULL;
    int rc = facpool_reader_open(&reader, paths, 2, &err);
    if (is_there)
        CHECK_OK(rc, err);
    else
        CHECK_INT(rc, FACPOOL_E_UNSUPPORTED);
    question q;
    for (int n = 0; is_there && n < 4; n++) {
        if (n < 2) {
            ask_all(w, &q);
            q.filter.order = n ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE;
        } else {
            ask_something(w, r, &q);
        }
        check_answer(w, &q, both, reader, r);
    }
    facpool_reader_free(reader);
    free(hand_state);
    free(both);
    unlink(other);
    n_unions++;
}

/* ------------------------------------------------------------------ cases */

static void run_case(uint64_t case_seed)
{
    world w;
    random_numbers r = {mix_bits(case_seed ^ 0xfac)};
    char path[512];
    world_init(&w, case_seed);
    bool has_backup = random_chance(&r, 85), exists = false;
    backup_format = &formats[random_below(&r, N_FORMATS)];
    backup_format->n_cases++;
    w.any_nan = backup_format->is_lines;
    snprintf(path, sizeof path, "%s%s", scratch_path("backup"), backup_format->suffix);
    unlink(path);
    torn_bytes = 0;
    history_length = 0;
    shared_reset();
    note("  %s, %zu dates x %zu codes, %zu factors, skip %u%%, fail %u%%, flaky %u%%%s%s\n",
         backup_format->name, w.n_dates, w.n_codes, w.n_factors, w.skip_percent, w.fail_percent,
         w.flaky_percent, w.default_names ? "" : ", own names", w.tag ? ", tag" : "");
    uint32_t n_steps = random_between(&r, 1, 6);
    for (uint32_t step = 0; step < n_steps; step++) {
        w.epoch++;
        uint32_t roll = random_below(&r, 100);
        if (has_backup && roll < 10)
            step_dry_run(&w, &r, path, exists);
        else if (has_backup && roll < 25)
            step_append(&w, &r, path, &exists);
        else if (exists && roll < 32)
            step_misuse(&w, &r, path);
        else if (exists && roll < 40)
            step_tear(&w, &r, path);
        else
            step_run(&w, &r, has_backup ? path : NULL, &exists);
        exists = exists && (!backup_format->is_lines || has_rows(&w));
        if (exists && !torn_bytes)
            check_file(&w, path, &r);
    }
    if (exists && random_chance(&r, 30))
        check_union(&w, &r, path);
    world_free(&w);
}

static void random_histories_agree_with_a_plain_model(void)
{
    unsigned first = (unsigned)environment_number("FACPOOL_TEST_FIRST", 0);
    unsigned n = (unsigned)environment_number("FACPOOL_TEST_CASES", of_tier(300, 2000, 50000));
    for (case_number = first; case_number < first + n; case_number++)
        run_case(mix_bits(seed + case_number));
    printf("%u cases: %lu runs of %lu tasks (%lu resumed, %lu cancelled, %lu stopped, %lu jobs, "
           "%lu started, %lu in worker processes), %lu dry runs,\n  %lu appends, %lu misuses, %lu "
           "torn tails, %lu questions, "
           "%lu unions\n",
           n, n_runs, n_tasks, n_resumes, n_cancelled, n_stopped, n_jobs, n_started, n_in_processes,
           n_dry, n_appends, n_misuses, n_torn, n_questions, n_unions);
    for (size_t i = 0; i < N_FORMATS; i++)
        printf("  %lu in %s\n", formats[i].n_cases, formats[i].name);
    if (n >= 1000) /* else chance may have left something out */
        CHECK(n_resumes && n_cancelled && n_stopped && n_jobs && n_started && n_dry && n_appends &&
              n_misuses && n_torn && n_questions && n_unions);
}

int main(void)
{
    seed = environment_seed();
    if (!scratch_make("property")) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    signal(SIGUSR2, cancel_on_signal);
    RUN(random_histories_agree_with_a_plain_model);
    if (test_failures)
        printf("case %u: FACPOOL_TEST_SEED=%llu FACPOOL_TEST_FIRST=%u FACPOOL_TEST_CASES=1\n%s",
               case_number, (unsigned long long)seed, case_number, history);
    scratch_remove();
    return TEST_END();
}
