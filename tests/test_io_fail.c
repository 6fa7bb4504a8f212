/* Every open, read, write, sync, truncate, rename and map of a file fails in turn: the k-th, for
 * every k, alone and with all after it, with each error that it may have on a disk; it is
 * interrupted; it does half of its work. Every public call then returns what the header promises,
 * naming the file, nothing leaks, the file stays good, what was reported written is in it, and a
 * resume completes it. */
#include "fail_outside.h"

/* ------------------------------------------------------------------ what may happen to a disk */

#define IO    GIVES(FACPOOL_E_IO)
#define NOMEM GIVES(FACPOOL_E_NOMEM)

/* Writing: what disk and quota have room for, and what they are broken by. */
static const injection writes[] = {
    {CALL_WRITE, FAIL_ALONE, ENOSPC, IO, false},    {CALL_WRITE, FAIL_ON, ENOSPC, IO, false},
    {CALL_WRITE, FAIL_ALONE, EIO, IO, false},       {CALL_WRITE, FAIL_ON, EIO, IO, false},
    {CALL_WRITE, FAIL_ALONE, EDQUOT, IO, false},    {CALL_WRITE, FAIL_ON, EDQUOT, IO, false},
    {CALL_WRITE, FAIL_ALONE, 0, IO, false},         {CALL_WRITE, FAIL_HALF_THEN, ENOSPC, IO, false},
    {CALL_WRITE, FAIL_HALF_THEN, EIO, IO, false},   {CALL_TRUNCATE, FAIL_ALONE, EIO, IO, false},
    {CALL_TRUNCATE, FAIL_ON, ENOSPC, IO, false},    {CALL_SYNC, FAIL_ALONE, EIO, IO, false},
    {CALL_SYNC, FAIL_ON, EIO, IO, false},           {CALL_SYNC, FAIL_ALONE, ENOSPC, IO, false},
    {CALL_SYNC, FAIL_ALONE, EDQUOT, IO, false},     {CALL_SYNC_FOLDER, FAIL_ALONE, EIO, IO, false},
    {CALL_SYNC_FOLDER, FAIL_ON, ENOSPC, IO, false}, {CALL_RENAME, FAIL_ALONE, ENOSPC, IO, false},
    {CALL_RENAME, FAIL_ON, EIO, IO, false},         {CALL_RENAME, FAIL_ALONE, EDQUOT, IO, false},
};

/* Reading. Random bytes come from a file where the system has no call for them: they do not here.
 */
static const injection reads[] = {
    {CALL_READ, FAIL_ALONE, EIO, IO, false},      {CALL_READ, FAIL_ON, EIO, IO, false},
    {CALL_OPEN, FAIL_ALONE, EMFILE, IO, false},   {CALL_OPEN, FAIL_ON, ENFILE, IO, false},
    {CALL_OPEN, FAIL_ALONE, EIO, IO, false},      {CALL_MAP, FAIL_ALONE, ENODEV, IO, false},
    {CALL_MAP, FAIL_ALONE, ENOMEM, NOMEM, false}, {CALL_MAP, FAIL_ON, ENOMEM, NOMEM, false},
};

/* What is no error: a call that was interrupted is made again, the rest of what one left over is
 * done by the next. */
static const injection nuisances[] = {
    {CALL_OPEN, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_READ, FAIL_ALONE, EINTR, 0, false},
    {CALL_READ, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_READ, FAIL_HALF, 0, 0, false},
    {CALL_READ, FAIL_HALF_ON, 0, 0, false},
    {CALL_WRITE, FAIL_ALONE, EINTR, 0, false},
    {CALL_WRITE, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_WRITE, FAIL_HALF, 0, 0, false},
    {CALL_WRITE, FAIL_HALF_ON, 0, 0, false},
    {CALL_TRUNCATE, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_SYNC, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_SYNC_FOLDER, FAIL_ALTERNATELY, EINTR, 0, false},
    {CALL_SYNC_FOLDER, FAIL_ON, EINVAL, 0, false}, /* folders that can't be synced */
    {CALL_CLOSE, FAIL_ALONE, EIO, 0, false},       /* a sync told it before */
    {CALL_CLOSE, FAIL_ON, EINTR, 0, false},
};

#define N_OF(list) (sizeof(list) / sizeof *(list))

static void fail_list(trial t, const injection *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_left_out())
            fail_each(t, list[i]);
}

static void fail_files(trial t)
{
    fail_list(t, writes, N_OF(writes));
    fail_list(t, reads, N_OF(reads));
    fail_list(t, nuisances, N_OF(nuisances));
}

/* ------------------------------------------------------------------ runs */

static void runs_whose_files_fail(void)
{
    static const int32_t executors[] = {FACPOOL_EXECUTOR_SERIAL, WITH_THREADS};
    for (int i = 0; i < 2; i++) {
        choose_backup_run(executors[i], false, FACPOOL_RESULTS_KEEP, i == 0,
                          FACPOOL_DURABILITY_GROUP);
        fail_files(TRIAL(run_fresh, file_can_be_completed));
        choose_backup_run(executors[i], true, 0, i == 1, FACPOOL_DURABILITY_BATCH);
        fail_files(TRIAL(run_fresh, file_can_be_completed));
    }
}

static void resumes_whose_files_fail(void)
{
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, FACPOOL_RESULTS_KEEP, true,
                      FACPOOL_DURABILITY_GROUP);
    fail_files(TRIAL(run_resumed, file_can_be_completed));
    choose_backup_run(WITH_THREADS, false, 0, false, FACPOOL_DURABILITY_BATCH);
    fail_files(TRIAL(run_resumed, file_can_be_completed));
}

static void overwriting_runs_whose_files_fail(void)
{
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    fail_files(TRIAL(run_overwriting, file_can_be_completed));
}

/* Of the process that keeps the file: its workers have none of it. Memory to share is given its
 * size by the call that cuts files. */
static void process_runs_whose_files_fail(void)
{
    choose_backup_run(FACPOOL_EXECUTOR_PROCESS, false, 0, false, FACPOOL_DURABILITY_GROUP);
    for (size_t i = 0; i < N_OF(writes); i++) {
        injection of_process = writes[i];
        of_process.may_give |= of_process.kind == CALL_TRUNCATE ? NOMEM : 0;
        if (!is_left_out())
            fail_each(TRIAL(run_fresh, file_can_be_completed), of_process);
    }
}

/* A disk that is full, or broken, says so and what to do. */
static void full_disks_are_told_as_such(void)
{
    static const struct {
        int os_errno;
        const char *text;
    } cases[] = {{ENOSPC, "disk full"}, {EDQUOT, "quota"}, {EFBIG, "ulimit -f"}, {EIO, "resume"}};
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    for (size_t i = 0; i < N_OF(cases); i++) {
        fail_call(CALL_WRITE, 3, FAIL_HALF_THEN, cases[i].os_errno);
        int rc = run_fresh();
        CHECK(stop_failing() > 0);
        CHECK_INT(rc, FACPOOL_E_IO);
        CHECK_INT(err.os_errno, cases[i].os_errno);
        CHECK(strstr(err.message, cases[i].text) && strstr(err.message, path));
        CHECK(has_report);
        CHECK_INT(last_report.ok + last_report.skipped + last_report.failed + last_report.not_run,
                  N_TASKS);
        file_can_be_completed(rc);
    }
}

/* Rows may be written only when the run ends, for whatever reason. */
static void a_full_disk_weighs_more_than_a_failed_task(void)
{
    facpool_result *result = NULL;
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, 0, true, FACPOOL_DURABILITY_GROUP);
    scenario_backup.queue_bytes = 0; /* all rows in one block */
    scenario_options.on_error = FACPOOL_ON_ERROR_STOP;
    remove_backup();
    CHECK_INT(facpool_run(tasks, &scenario_options, &result, &err), FACPOOL_E_TASK);
    facpool_result_free(result);
    remove_backup();
    result = NULL;
    fail_call(CALL_WRITE, is_lines ? 1 : 2, FAIL_ON, ENOSPC);
    int rc = facpool_run(tasks, &scenario_options, &result, &err);
    CHECK(stop_failing() > 0);
    CHECK_INT(rc, FACPOOL_E_IO);
    CHECK_INT(err.os_errno, ENOSPC);
    facpool_result_free(result);
}

/* ------------------------------------------------------------------ writers and readers */

static void appends_whose_files_fail(void)
{
    make_part();
    fail_files(TRIAL(append_rows, appended_rows_are_there));
}

static void repairs_whose_files_fail(void)
{
    make_part();
    fail_files(TRIAL(repair_torn, repaired_or_as_it_was));
}

static void questions_whose_files_fail(void)
{
    static const trial trials[] = {{"read_everything", read_everything, NULL},
                                   {"read_as_arrow", read_as_arrow, NULL}};
    remove_backup();
    complete_backup();
    for (size_t i = 0; i < 2; i++) {
        fail_list(trials[i], reads, N_OF(reads));
        fail_list(trials[i], nuisances, N_OF(nuisances));
    }
    streams_copy = 1;
    fail_list(trials[1], reads, N_OF(reads));
    streams_copy = 0;
}

static void all_in_format(const char *suffix)
{
    choose_format(suffix);
    printf("%s\n", file_name);
    RUN_FAILING(runs_whose_files_fail);
    RUN_FAILING(resumes_whose_files_fail);
    RUN_FAILING(overwriting_runs_whose_files_fail);
    RUN_FAILING(full_disks_are_told_as_such);
    RUN_FAILING(a_full_disk_weighs_more_than_a_failed_task);
    RUN_FAILING(appends_whose_files_fail);
    RUN_FAILING(repairs_whose_files_fail);
    RUN_FAILING(questions_whose_files_fail);
    RUN_FAILING(process_runs_whose_files_fail);
}

int main(void)
{
    static const call_kind kinds[] = {CALL_OPEN,   CALL_READ,        CALL_WRITE,
                                      CALL_SYNC,   CALL_SYNC_FOLDER, CALL_TRUNCATE,
                                      CALL_RENAME, CALL_MAP,         CALL_CLOSE};
    if (!begin("io"))
        return EXIT_FAILURE;
    most_failing = of_tier(2, UINT_MAX, UINT_MAX);
    for (size_t i = 0; i < N_FORMATS; i++)
        all_in_format(all_formats[i]);
    end_world();
    return END_FAILING(kinds);
}
