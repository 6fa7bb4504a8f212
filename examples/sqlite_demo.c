/* A run kept in an SQLite database by the sink of sqlite_sink.c, with no file of libfacpool's: it
 * is killed half-way, resumed and asked. Usage: sqlite_sink [DB] */
#include "sqlite_sink.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static facpool_error err = FACPOOL_ERROR_INIT;

static int compute(const facpool_task *task, double *factors, void *user)
{
    struct timespec while_ = {0, 20000}; /* it takes its time */
    (void)user;
    nanosleep(&while_, NULL);
    if (strcmp(task->code, "000013") == 0)
        return facpool_task_fail(task, 404, "no prices for this code");
    factors[0] = sin((double)task->index) * 10;
    factors[1] = task->index % 7 ? (double)(task->index % 100) / 100 : NAN;
    return 0;
}

/* Ends the process as a power cut would, when half of the rows are in the database. */
static int die_half_way(const facpool_progress *progress, void *user)
{
    (void)user;
    if (progress->rows_written >= progress->total / 2)
        raise(SIGKILL);
    return 0;
}

static int run(const char *path, int32_t mode, facpool_progress_fn progress)
{
    static const char *const names[] = {"momentum", "turnover"};
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_report report = FACPOOL_REPORT_INIT;
    facpool_result *result = NULL;
    facpool_tasks *tasks = NULL;
    backup.path = path;
    backup.sink = &sqlite_sink; /* all it takes to write to SQLite */
    backup.mode = mode;
    backup.tag = "demo 1";
    options.fn = compute;
    options.n_factors = 2;
    options.factor_names = names;
    options.backup = &backup;
    options.progress = progress;
    options.progress_interval_ms = 5;
    int rc = facpool_tasks_new(&tasks, &err);
    for (int i = 0; !rc && i < 20000; i++) {
        char code[16];
        snprintf(code, sizeof code, "%06d", i % 1000);
        rc = facpool_tasks_add(tasks, 20240101 + i / 1000, code, &err);
    }
    if (!rc)
        rc = facpool_run(tasks, &options, &result, &err);
    if (!rc)
        rc = facpool_result_report(result, &report, &err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    if (!rc)
        printf("  %" PRIu64 " tasks were done, %" PRIu64 " are ok and %" PRIu64 " failed now\n",
               report.resumed, report.ok, report.failed);
    return rc;
}

static int query(const char *path)
{
    static const char *const codes[] = {"000012", "000013"};
    static const int64_t date = 20240102;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.codes = codes;
    filter.n_codes = 2;
    filter.dates = &date;
    filter.n_dates = 1;
    filter.statuses = FACPOOL_STATUS_ALL;
    int rc = facpool_reader_from_source(&reader, &sqlite_sink, NULL, &path, 1, &err);
    if (!rc)
        rc = facpool_query(reader, &filter, &cursor, &err);
    for (; !rc && (rc = facpool_cursor_next(cursor, &row, &err)) == 1; rc = 0) {
        printf("  %" PRId64 " %s ", row.date, row.code);
        if (row.factors)
            printf("%g %g\n", row.factors[0], row.factors[1]);
        else
            printf("failed with %d: %s\n", row.failure_code, row.message);
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return rc;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "sqlite_sink.db";
    int rc = 0, state = 0;
    pid_t child = fork(); /* before this process has used the library */
    if (child == 0) {
        rc = run(path, FACPOOL_MODE_OVERWRITE, die_half_way);
    } else if (child < 0 || waitpid(child, &state, 0) != child || (WIFEXITED(state) && state)) {
        rc = facpool_sink_fail(&err, FACPOOL_E_SYSTEM, "the first run has failed");
    } else {
        printf("A process that kept its rows in '%s' was killed. The same run resumed:\n", path);
        rc = run(path, FACPOOL_MODE_RESUME, NULL);
        if (!rc)
            rc = query(path);
    }
    if (rc)
        fprintf(stderr, "sqlite_sink: %s\n", err.message);
    return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
