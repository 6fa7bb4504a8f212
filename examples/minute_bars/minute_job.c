#include "minute_job.h"
#include "factors.h"
#include "folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Says which version of the factors wrote a backup: to be changed with their definitions. */
#define TAG "minute_bars 1"

/* ------------------------------------------------------------------ the callback */

/* For the demonstration of a crash: waits here until the process is killed, or until whoever
 * started it is gone and stdin ends. */
static void hold(void)
{
    char byte;

    while (read(STDIN_FILENO, &byte, 1) > 0 || errno == EINTR)
        ;
    _exit(EXIT_FAILURE);
}

static int fail_all(const facpool_slice *slice, int code, const char *message)
{
    for (size_t i = 0; i < slice->n; i++)
        facpool_slice_fail(slice, i, code, message);
    return 0;
}

/* A slice is all dates of one code, so its file is read once. Called by several workers at once,
 * each with a code of its own. */
static int factors_of_code(const facpool_slice *slice, double *factors, void *user)
{
    struct minute_job *job = user;
    struct bar_file file;
    char message[512];
    char *path;
    int outcome;

    if (job->hold_after && atomic_fetch_add(&job->groups_begun, 1) >= job->hold_after)
        hold();
    path = folder_path(job->folder, slice->codes[0], ".csv");
    if (!path)
        return fail_all(slice, BARS_NO_MEMORY, "out of memory");
    outcome = bars_read(&file, path, message, sizeof message);
    free(path);
    if (outcome)
        return fail_all(slice, outcome, message);
    for (size_t i = 0; i < slice->n; i++) {
        const struct bar *bars;
        size_t n = bars_of_day(&file, (int32_t)slice->dates[i], &bars);

        if (n == 0)
            facpool_slice_skip(slice, i);
        else
            day_factors(bars, n, factors + i * N_FACTORS);
    }
    bars_free(&file);
    return 0;
}

/* ------------------------------------------------------------------ the tasks */

struct date_list {
    int64_t *dates;
    size_t n, capacity;
};

static int add_date(struct date_list *list, int64_t date)
{
    if (list->n == list->capacity) {
        size_t more = list->capacity ? list->capacity * 2 : 4096;
        int64_t *larger = realloc(list->dates, more * sizeof *larger);

        if (!larger)
            return -1;
        list->dates = larger;
        list->capacity = more;
    }
    list->dates[list->n++] = date;
    return 0;
}

static int by_date(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return (a > b) - (a < b);
}

static void sort_and_drop_repeats(struct date_list *list)
{
    size_t kept = 0;

    if (list->n > 0)
        qsort(list->dates, list->n, sizeof *list->dates, by_date);
    for (size_t i = 0; i < list->n; i++) {
        if (kept == 0 || list->dates[kept - 1] != list->dates[i])
            list->dates[kept++] = list->dates[i];
    }
    list->n = kept;
}

static void report_bad_lines(FILE *complaints, const char *path, const struct bar_file *file)
{
    size_t shown = file->n_bad < BAD_LINES_KEPT ? file->n_bad : BAD_LINES_KEPT;

    for (size_t i = 0; i < shown; i++)
        fprintf(complaints, "%s:%zu: left out: %s\n", path, file->bad[i].line, file->bad[i].reason);
    if (file->n_bad > shown)
        fprintf(complaints, "%s: left out %zu of %zu lines\n", path, file->n_bad, file->n_lines);
}

/* The dates of one file. A file that can't be used has none; its tasks fail in the run, where the
 * failure is kept with the rows. */
static int add_dates_of_file(struct minute_job *job, struct date_list *list, const char *path,
                             FILE *complaints)
{
    struct bar_file file;
    char message[512];
    int problem = 0;

    if (bars_read(&file, path, message, sizeof message) != BARS_OK) {
        if (complaints)
            fprintf(complaints, "%s\n", message);
        return 0;
    }
    if (complaints)
        report_bad_lines(complaints, path, &file);
    for (size_t i = 0; i < file.n_bars && !problem; i++) {
        if (i == 0 || file.bars[i].date != file.bars[i - 1].date)
            problem = add_date(list, file.bars[i].date);
    }
    job->n_bars += file.n_bars;
    job->n_idle += file.n_idle;
    job->n_bad += file.n_bad;
    bars_free(&file);
    return problem;
}

static int find_dates(struct minute_job *job, FILE *complaints)
{
    struct date_list list = {NULL, 0, 0};
    int problem = 0;

    for (size_t i = 0; i < job->n_codes && !problem; i++) {
        char *path = folder_path(job->folder, job->codes[i], ".csv");

        problem = path ? add_dates_of_file(job, &list, path, complaints) : -1;
        free(path);
    }
    if (problem) {
        fprintf(stderr, "minute_bars: out of memory\n");
        free(list.dates);
        return -1;
    }
    sort_and_drop_repeats(&list);
    job->dates = list.dates;
    job->n_dates = list.n;
    if (list.n == 0)
        fprintf(stderr, "minute_bars: no file in '%s' has a usable bar\n", job->folder);
    return list.n > 0 ? 0 : -1;
}

int minute_job_open(struct minute_job *job, const char *folder, FILE *complaints)
{
    facpool_error err = FACPOOL_ERROR_INIT;

    memset(job, 0, sizeof *job);
    job->folder = folder;
    if (folder_list_csv(&job->codes, &job->n_codes, folder)) {
        fprintf(stderr, "minute_bars: folder '%s' can't be read: %s\n", folder, strerror(errno));
        return -1;
    }
    if (job->n_codes == 0) {
        fprintf(stderr, "minute_bars: folder '%s' holds no .csv file\n", folder);
        goto fail;
    }
    if (find_dates(job, complaints))
        goto fail;
    if (facpool_tasks_grid(&job->tasks, job->dates, job->n_dates, (const char *const *)job->codes,
                           job->n_codes, &err) < 0) {
        fprintf(stderr, "minute_bars: %s\n", err.message);
        goto fail;
    }
    return 0;
fail:
    minute_job_close(job);
    return -1;
}

/* ------------------------------------------------------------------ the run */

static void print_note(const char *message, void *user)
{
    (void)user;
    fprintf(stderr, "note: %s\n", message);
}

int minute_job_run(struct minute_job *job, const struct minute_run *run, facpool_result **out,
                   facpool_error *err)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_console *console = NULL;
    int code;

    backup.path = run->backup;
    backup.mode = run->mode;
    backup.tag = TAG;
    backup.flush_ms = run->flush_ms;

    options.batch_fn = factors_of_code;
    options.user = job;
    options.n_factors = N_FACTORS;
    options.factor_names = factor_names;
    options.group_by = FACPOOL_GROUP_CODE;
    options.workers = run->workers;
    options.no_stop_if_first_fail = 1; /* one bad file fails on every date */
    options.backup = &backup;
    options.cancel = run->cancel;
    options.log = print_note;
    if (run->progress) {
        code = facpool_console_new(&console, run->progress, err);
        if (code < 0)
            return code;
        options.progress = facpool_console_progress;
        options.progress_user = console;
    }
    atomic_store(&job->groups_begun, 0);
    code = facpool_run(job->tasks, &options, out, err);
    facpool_console_free(console);
    return code;
}

void minute_job_close(struct minute_job *job)
{
    facpool_tasks_free(job->tasks);
    folder_list_free(job->codes, job->n_codes);
    free(job->dates);
    memset(job, 0, sizeof *job);
}
