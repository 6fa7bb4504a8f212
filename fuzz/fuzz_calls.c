/* A random sequence of public calls, chosen by the bytes, against a plain model (calls_model.h):
 * runs on this thread and on others, waited for at once or later, polled, cancelled; jobs; writers;
 * readers and cursors that stay open while files grow, are replaced, compacted and removed under
 * them; results; conversions, repairs, torn tails, other tags and formats; and calls in the wrong
 * order. Four files, in the three formats, in a folder in memory. It proves that every answer holds
 * exactly the rows that the model says, that each call that makes no sense gives the error that the
 * header names, and that all memory comes back. */
#include "calls_read.h"
#include "calls_write.h"

#define STEPS_MAX 48
#define N_PLANS   3

static run_plan *plans[N_PLANS];

/* ------------------------------------------------------------------ runs */

static run_plan *new_plan(fuzz_bytes *b, bool is_job)
{
    run_plan *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    uint32_t file = take_below(b, N_FILES + 1);
    p->step = step;
    p->is_job = is_job;
    make_tasks(p, b);
    take_options(p, b);
    take_fates(p, b);
    if (file < N_FILES) {
        p->file = &files[file];
        take_backup_options(b, &p->backup, p->file);
        p->options.backup = &p->backup;
    }
    p->may_be_cancelled = p->may_be_cancelled || is_job;
    return p;
}

static int expected_of(const run_plan *p)
{
    return p->file ? expected_opening(p->file, p->backup.mode, p->backup.format, p->backup.tag) : 0;
}

static void check_refusal(const run_plan *p, int rc, int expected, const facpool_error *err)
{
    REQUIRE(is_expected(rc, expected), "%d, not %d: %s", rc, expected, err->message);
    REQUIRE(!p->result && !p->run && !p->job && err->code == rc && err->message[0],
            "something is given with %d", rc);
}

/* Runs at once, or starts, or opens a job: whatever the plan is for. */
static int begin(run_plan *p, bool starts, facpool_error *err)
{
    if (p->is_job)
        return facpool_job_open(&p->job, p->tasks, &p->options, err);
    return starts ? facpool_run_start(&p->run, p->tasks, &p->options, err)
                  : facpool_run(p->tasks, &p->options, &p->result, err);
}

static void step_run(fuzz_bytes *b, run_plan **slot, bool is_job)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    run_plan *p = new_plan(b, is_job);
    bool starts = take_below(b, 3) == 2;
    int expected = expected_of(p);
    *slot = p;
    if (!expected)
        expect_rows(p);
    if (!expected && p->file)
        begin_writing(p, is_job ? BY_JOB : BY_RUN);
    int rc = begin(p, starts, &err);
    if (expected) {
        check_refusal(p, rc, expected, &err);
        *slot = NULL;
        plan_free(p);
    } else if (p->run || p->job) {
        REQUIRE(rc == 0, "%s", err.message);
    } else {
        judge(p, rc, &err);
    }
}

static void wait_for(run_plan *p)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_run_handle *run = p->run;
    p->run = NULL;
    judge(p, facpool_run_wait(run, &p->result, &err), &err);
}

static void finish_job(run_plan *p)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_job *job = p->job;
    p->job = NULL;
    judge(p, facpool_job_finish(job, &p->result, &err), &err);
}

static void step_wait(fuzz_bytes *b, run_plan *p)
{
    facpool_progress progress = FACPOOL_PROGRESS_INIT;
    switch (take_below(b, 4)) {
    case 0:
        wait_for(p);
        break;
    case 1:
        facpool_run_cancel(p->run);
        p->may_be_cancelled = true;
        break;
    case 2:
        facpool_run_kill(p->run); /* of threads: as cancelling */
        p->may_be_cancelled = true;
        break;
    default:
        REQUIRE(facpool_run_poll(p->run, &progress, NULL) >= 0, "a poll");
        REQUIRE(progress.total == p->n && progress.done <= p->n, "progress does not add up");
    }
}

static void take_slice(run_plan *p, uint32_t worker)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_slice slice = FACPOOL_SLICE_INIT;
    double *factors = NULL;
    int rc = facpool_job_take(p->job, worker, &slice, &factors, &err);
    if (worker >= JOB_WORKERS || p->in_hand[worker]) {
        int expected = worker >= JOB_WORKERS ? FACPOOL_E_INVALID : FACPOOL_E_STATE;
        REQUIRE(rc == expected && !factors && !slice.n, "%d: %s", rc, err.message);
        return;
    }
    REQUIRE(rc >= 0, "%s", err.message);
    p->in_hand[worker] = rc == 1;
    p->slices[worker] = slice;
    p->factors[worker] = factors;
}

static void complete_slice(run_plan *p, uint32_t worker)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_slice *slice = &p->slices[worker];
    if (!p->in_hand[worker]) {
        facpool_slice none = FACPOOL_SLICE_INIT;
        REQUIRE(facpool_job_complete(p->job, slice->internal ? slice : &none, 0, &err) ==
                    FACPOOL_E_STATE,
                "a slice that is not in hand: %s", err.message);
        return;
    }
    int outcome = run_slice(slice, p->factors[worker], p);
    p->in_hand[worker] = false;
    REQUIRE(facpool_job_complete(p->job, slice, outcome, &err) == 0, "%s", err.message);
}

static void step_job(fuzz_bytes *b, run_plan *p)
{
    uint8_t what = take_byte(b);
    if (what < 100)
        take_slice(p, what % JOB_WORKERS);
    else if (what < 200)
        complete_slice(p, what % JOB_WORKERS);
    else if (what < 210)
        take_slice(p, what);
    else if (what < 220)
        facpool_job_cancel(p->job);
    else
        finish_job(p);
}

static void step_dry_run(fuzz_bytes *b)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_report report = FACPOOL_REPORT_INIT;
    run_plan *p = new_plan(b, false);
    p->options.dry_run = 1;
    int expected = expected_of(p);
    /* It takes no lock, and sees of a file that grows what is whole. */
    bool grows = p->file && p->file->user != NOBODY;
    if (!grows && !expected)
        expect_rows(p);
    int rc = grows ? 0 : facpool_run(p->tasks, &p->options, &p->result, &err);
    bool format_told = expected == FACPOOL_E_MISMATCH && !rc; /* only opening compares formats */
    REQUIRE(grows || rc == expected || format_told, "%d, not %d: %s", rc, expected, err.message);
    REQUIRE(p->n_calls == 0, "a dry run calls the function");
    if (p->result && !expected) {
        REQUIRE(facpool_result_report(p->result, &report, NULL) == 0, "no report");
        REQUIRE(report.not_run == p->n_to_run && report.resumed == p->n - p->n_to_run,
                "%llu tasks are to run, not %zu", (unsigned long long)report.not_run, p->n_to_run);
    }
    plan_free(p);
}

/* What is kept of a run that is over. */
static void step_result(fuzz_bytes *b, run_plan **slot)
{
    run_plan *p = *slot;
    facpool_error err = FACPOOL_ERROR_INIT;
    uint8_t what = take_byte(b);
    if (what < 100) {
        *slot = NULL;
        plan_free(p);
    } else if (what < 180) {
        int rc = facpool_tasks_add(p->tasks, 1, "x", &err);
        REQUIRE(rc == FACPOOL_E_STATE || rc == FACPOOL_E_INVALID, "a set in use grows");
        REQUIRE(facpool_tasks_count(p->tasks) == p->n, "a set in use grows");
        REQUIRE(facpool_tasks_get(p->tasks, p->n, NULL, NULL, &err) == FACPOOL_E_INVALID,
                "a task more than there are");
        REQUIRE(!facpool_result_code(p->result, p->n) &&
                    !facpool_result_factor(p->result, N_FACTORS) &&
                    !facpool_result_factor_name(p->result, N_FACTORS),
                "more than there is");
    } else {
        check_result(p);
    }
}

static void step_plan(fuzz_bytes *b)
{
    run_plan **slot = &plans[take_below(b, N_PLANS)];
    uint8_t kind = take_byte(b);
    if (!*slot && kind < 32)
        step_dry_run(b);
    else if (!*slot)
        step_run(b, slot, kind >= 200);
    else if ((*slot)->run)
        step_wait(b, *slot);
    else if ((*slot)->job)
        for (int times = 1 + kind % 8; times > 0 && (*slot)->job; times--)
            step_job(b, *slot);
    else
        step_result(b, slot);
}

/* A question to a run's result. */
static void step_ask_result(fuzz_bytes *b)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const run_plan *p = plans[take_below(b, N_PLANS)];
    cursor_slot *c = &cursors[take_below(b, N_CURSORS)];
    candidates rows[N_KEYS];
    key_row none = {0};
    if (!p || !p->result)
        return;
    for (size_t key = 0; key < N_KEYS; key++) {
        rows[key] = only(p->in_set[key] ? &p->after[key] : &none);
        if (p->in_set[key] && p->to_run[key]) { /* it may have ended early */
            add_candidate(&rows[key], &p->before[key]);
            add_candidate(&rows[key], &none);
        }
    }
    close_cursor(c);
    take_question(b, &c->question, rows);
    int rc = facpool_result_query(p->result, &c->question.filter, &c->cursor, &err);
    if (p->options.results == FACPOOL_RESULTS_DROP)
        REQUIRE(rc == FACPOOL_E_STATE && !c->cursor, "%d: dropped rows", rc);
    else
        REQUIRE(rc == 0, "%s", err.message);
    if (!rc)
        read_some(c, take_byte(b) % 64);
}

/* ------------------------------------------------------------------ whole files */

static bool is_missing(int rc)
{
    return rc == FACPOOL_E_NOT_FOUND || rc == FACPOOL_E_UNSUPPORTED;
}

static bool are_known(const candidates *rows)
{
    for (size_t key = 0; key < N_KEYS; key++)
        if (rows[key].any)
            return false;
    return true;
}

/* Also of files that are being written, and onto one of its own sources. */
static void convert(fuzz_bytes *b, file_model *to)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_backup_options options;
    size_t at[N_FILES];
    const char *paths[N_FILES];
    candidates rows[N_KEYS];
    bool fails, may_fail;
    size_t n = take_files(b, at);
    for (size_t i = 0; i < n; i++)
        paths[i] = files[at[i]].path;
    take_backup_options(b, &options, to);
    if (options.mode == FACPOOL_MODE_RESUME && take_below(b, 8))
        options.mode = to->exists ? FACPOOL_MODE_OVERWRITE : FACPOOL_MODE_CREATE;
    look_at_files(at, n, rows, &fails, &may_fail);
    if (!are_known(rows))
        return;
    const char *tag = options.tag ? options.tag : files[at[0]].tag;
    bool resumes = options.mode == FACPOOL_MODE_RESUME;
    int opening = expected_opening(to, options.mode, options.format, options.tag);
    int rc = facpool_backup_convert(paths, n, &options, &err);
    bool refused = resumes || fails || opening;
    bool deserved = (resumes && rc == FACPOOL_E_INVALID) ||
                    ((fails || may_fail) && is_missing(rc)) ||
                    (opening && is_expected(rc, opening));
    REQUIRE(rc == 0 || deserved, "%d: %s", rc, err.message);
    REQUIRE(rc || !refused, "a conversion that makes no sense");
    if (rc)
        return;
    take_file(to, options.mode, options.format, tag, NOBODY);
    to->tag = tag;
    memcpy(to->rows, rows, sizeof rows);
    settle_file(to);
}

static void compact(file_model *f)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = facpool_backup_compact(f->path, &err);
    if (!f->exists)
        REQUIRE(is_missing(rc), "%d: %s", rc, err.message);
    else if (f->user != NOBODY)
        REQUIRE(rc == FACPOOL_E_BUSY || (is_lines(f) && is_missing(rc)), "%d: %s", rc, err.message);
    else
        REQUIRE(rc == 0, "%d: %s", rc, err.message);
    if (rc)
        return;
    f->torn_bytes = 0;
    settle_file(f);
}

static size_t least_rows(const file_model *f)
{
    size_t n = 0;
    for (size_t key = 0; key < N_KEYS; key++)
        n += f->rows[key].n == 1 && f->rows[key].rows[0].status;
    return n;
}

static void look_over(file_model *f, bool repairs)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = repairs ? facpool_backup_repair(f->path, &report, &err)
                     : facpool_backup_verify(f->path, &report, &err);
    if (!f->exists)
        REQUIRE(is_missing(rc), "%d: %s", rc, err.message);
    else if (f->user != NOBODY && repairs)
        REQUIRE(rc == FACPOOL_E_BUSY || (is_lines(f) && is_missing(rc)), "%d: %s", rc, err.message);
    else
        REQUIRE(rc == 0 || (f->user != NOBODY && is_lines(f) && is_missing(rc)), "%d: %s", rc,
                err.message);
    if (rc)
        return;
    REQUIRE(report.damaged_blocks == 0 && report.rows >= least_rows(f), "%llu rows, %zu there",
            (unsigned long long)report.rows, least_rows(f));
    if (f->user != NOBODY)
        return;
    REQUIRE(report.tail_bytes == f->torn_bytes, "a tail of %llu bytes, not %llu",
            (unsigned long long)report.tail_bytes, (unsigned long long)f->torn_bytes);
    if (repairs)
        f->torn_bytes = 0;
    settle_file(f);
}

static void look_into(const file_model *f)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const facpool_info *info = NULL;
    int rc = facpool_backup_info(&info, f->path, &err);
    bool may_fail = !f->exists || (f->user != NOBODY && is_lines(f));
    REQUIRE(rc == 0 ? f->exists : may_fail && is_missing(rc), "%d: %s", rc, err.message);
    if (rc)
        return;
    REQUIRE(strcmp(info->format, f->format) == 0, "format %s", info->format);
    REQUIRE(info->n_factors == N_FACTORS && strcmp(info->factor_names[1], factor_names[1]) == 0,
            "%zu factors", info->n_factors);
    REQUIRE(!info->tag == !f->tag && (!f->tag || strcmp(info->tag, f->tag) == 0), "the tag");
    size_t n = 0;
    for (int status = 1; status < 6; status++)
        n += info->rows[status];
    REQUIRE(n >= least_rows(f), "%zu rows, %zu there", n, least_rows(f));
    facpool_info_free(info);
}

/* What a writer that was killed within a block might leave. */
static void tear(fuzz_bytes *b, file_model *f)
{
    uint8_t bytes[64];
    size_t n = 1 + take_below(b, sizeof bytes);
    if (!f->exists || f->user != NOBODY)
        return;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)hash_of(i, step, 55);
    if (is_lines(f)) { /* blank lines at an end would be none that were torn */
        bytes[0] = '{';
        bytes[n - 1] = '"';
    }
    int fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    REQUIRE(fd >= 0 && write(fd, bytes, n) == (ssize_t)n, "%s can't be torn", f->path);
    close(fd);
    f->torn_bytes += n;
}

static void remove_file(file_model *f)
{
    if (f->user != NOBODY)
        return;
    unlink(f->path);
    f->exists = false;
    f->torn_bytes = 0;
    f->tag = NULL;
    forget_rows(f);
}

static void step_file(fuzz_bytes *b)
{
    file_model *f = &files[take_below(b, N_FILES)];
    uint8_t what = take_byte(b);
    switch (what % 8) {
    case 0:
    case 1:
        convert(b, f);
        break;
    case 2:
        compact(f);
        break;
    case 3:
        look_over(f, false);
        break;
    case 4:
        look_over(f, true);
        break;
    case 5:
        look_into(f);
        break;
    case 6:
        tear(b, f);
        break;
    default:
        if (what >= 128)
            remove_file(f);
    }
}

/* ------------------------------------------------------------------ an input */

static void end_everything(void)
{
    for (int i = 0; i < N_CURSORS; i++)
        close_cursor(&cursors[i]);
    for (int i = 0; i < N_READERS; i++) {
        facpool_reader_free(readers[i].reader);
        readers[i].reader = NULL;
    }
    for (int i = 0; i < N_PLANS; i++) {
        if (plans[i] && plans[i]->run)
            wait_for(plans[i]);
        if (plans[i] && plans[i]->job)
            finish_job(plans[i]);
        if (plans[i])
            plan_free(plans[i]);
        plans[i] = NULL;
    }
    for (size_t i = 0; i < N_FILES; i++) {
        if (writers[i].writer)
            close_writer(i);
        look_over(&files[i], false);
        unlink(files[i].path);
    }
    REQUIRE(atomic_load(&outstanding) == 0, "%ld pieces of memory are not given back",
            (long)atomic_load(&outstanding));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_made;
    fuzz_bytes bytes = {data, size}, *b = &bytes;
    if (!is_made) {
        REQUIRE(scratch_make("fuzz-calls"), "no folder can be made");
        atexit(scratch_remove);
    }
    is_made = true;
    name_files();
    for (step = 1; step <= STEPS_MAX && b->left; step++) {
        uint8_t what = take_byte(b);
        if (what < 80)
            step_plan(b);
        else if (what < 150)
            step_writer(b);
        else if (what < 200)
            step_reader(b);
        else if (what < 215)
            step_cursor(b);
        else if (what < 222)
            step_ask_result(b);
        else
            step_file(b);
    }
    end_everything();
    return 0;
}
