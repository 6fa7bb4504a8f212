/* What a backup does for a run that has to be done again: finished rows stay, failed ones are
 * tried anew, a dry run tells beforehand, and a tag keeps the rows of two versions apart.
 * Writes resume.fpb in the current folder. */
#include <facpool/facpool.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const int64_t dates[] = {20240102, 20240103, 20240104, 20240105};
static const char *const codes[] = {"000001", "000002", "600000", "600519", "601318"};

/* The part of the world that was broken in the first run and is mended in the second. */
struct feed {
    const char *missing_code;
};

static int price_ratio(const facpool_task *task, double *factors, void *user)
{
    const struct feed *feed = user;

    if (task->date == 20240103 && strcmp(task->code, "000002") == 0)
        return FACPOOL_SKIP; /* halted that day: final, not a failure */
    if (feed->missing_code && strcmp(task->code, feed->missing_code) == 0)
        return facpool_task_fail(task, 404, "the feed has no prices for this code");
    factors[0] = 1 + (double)(task->index % 7) / 100;
    return 0;
}

static void print_report(const facpool_result *result, facpool_error *err)
{
    facpool_report report = FACPOOL_REPORT_INIT;

    if (facpool_result_report(result, &report, err) < 0)
        return;
    printf("  to run: %" PRIu64 " new, %" PRIu64 " failed before; resumed %" PRIu64 "\n",
           report.new_tasks, report.retry_failed, report.resumed);
    printf("  done: %" PRIu64 " ok, %" PRIu64 " skipped, %" PRIu64 " failed, %" PRIu64 " not run\n",
           report.ok, report.skipped, report.failed, report.not_run);
    if (report.n_failures > 0)
        printf("  first failure: %s on %" PRId64 ": %s\n", report.failures[0].code,
               report.failures[0].date, report.failures[0].message);
}

static int run(const char *title, const facpool_run_options *options, facpool_error *err)
{
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    int code = facpool_tasks_grid(&tasks, dates, sizeof dates / sizeof *dates, codes,
                                  sizeof codes / sizeof *codes, err);

    printf("%s\n", title);
    if (code == 0)
        code = facpool_run(tasks, options, &result, err);
    if (result)
        print_report(result, err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return code;
}

int main(void)
{
    static const char *const names[] = {"price_ratio"};
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    struct feed feed = {"600519"};
    int code;

    backup.path = "resume.fpb";
    backup.tag = "price_ratio 1";
    backup.mode = FACPOOL_MODE_OVERWRITE; /* this example starts afresh every time */
    options.fn = price_ratio;
    options.user = &feed;
    options.n_factors = 1;
    options.factor_names = names;
    options.backup = &backup;
    if (run("1. first run, the feed lacks a code", &options, &err) < 0)
        goto fail;

    backup.mode = FACPOOL_MODE_RESUME;
    options.dry_run = 1;
    if (run("2. dry run: what is left, and why", &options, &err) < 0)
        goto fail;

    options.dry_run = 0;
    feed.missing_code = NULL;
    if (run("3. the feed is mended: only what failed runs again", &options, &err) < 0)
        goto fail;

    backup.tag = "price_ratio 2";
    code = run("4. a new version of the function does not mix with the old rows", &options, &err);
    if (code != FACPOOL_E_MISMATCH) {
        fprintf(stderr, "resume: another tag was not refused\n");
        return EXIT_FAILURE;
    }
    printf("  refused with %s: %s\n", facpool_error_name(code), err.message);
    return EXIT_SUCCESS;
fail:
    fprintf(stderr, "resume: %s\n", err.message);
    return EXIT_FAILURE;
}
