/* A function of (date, code) on every core, kept in a file, resumed, queried. */
#include <facpool/facpool.h>

static int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;                                                     /* yours, from run.user */
    factors[0] = (double)(task->date % 100) / (task->code[0] - 40); /* your work */
    return 0; /* or FACPOOL_SKIP, or facpool_task_fail(task, 7, "no bars") */
}

int main(void)
{
    const int64_t dates[] = {20240102, 20240103, 20240104};
    const char *codes[] = {"000001", "600000", "AAPL"};
    facpool_backup_options file = {
        .size = sizeof file, .path = "quickstart.fpb", .mode = FACPOOL_MODE_RESUME};
    facpool_run_options run = {.size = sizeof run, .fn = compute, .n_factors = 1, .backup = &file};
    facpool_filter filter = {.size = sizeof filter, .codes = &codes[1], .n_codes = 1};
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    facpool_cursor *cursor = NULL;
    int code;

    if ((code = facpool_tasks_grid(&tasks, dates, 3, codes, 3, &err)) == 0 &&
        (code = facpool_run(tasks, &run, &result, &err)) == 0 &&
        (code = facpool_result_query(result, &filter, &cursor, &err)) == 0) {
        printf("first task: f0 = %g\n", facpool_result_factor(result, 0)[0]);
        while ((code = facpool_cursor_next(cursor, &row, &err)) > 0)
            printf("%d %s %g\n", (int)row.date, row.code, row.factors[0]);
    }
    if (code < 0)
        fprintf(stderr, "%s\n", err.message);
    facpool_cursor_free(cursor);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return code < 0;
}
