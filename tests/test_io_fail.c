/* Every open, read, write, sync, truncate and rename fails in turn: the k-th, for every k, alone
 * and with all after it. Every public call then returns FACPOOL_E_IO or succeeds, nothing leaks,
 * the file stays readable, what was reported written is in it, and a resume completes it. */
#include "fail_scenarios.h"

static void fail_files(scenario run, aftermath look)
{
    static const call_kind kinds[] = {CALL_WRITE,  CALL_SYNC, CALL_SYNC_FOLDER, CALL_TRUNCATE,
                                      CALL_RENAME, CALL_OPEN, CALL_READ};
    static const int errnos[] = {ENOSPC, EIO, EIO, EIO, ENOSPC, EMFILE, EIO};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int on = 0; on < 2; on++)
            fail_each(run, look, kinds[i], errnos[i], on);
}

static void runs_whose_files_fail(void)
{
    static const int32_t executors[] = {FACPOOL_EXECUTOR_SERIAL, WITH_THREADS};
    for (int i = 0; i < 2; i++) {
        choose_backup_run(executors[i], false, FACPOOL_RESULTS_KEEP, i == 0,
                          FACPOOL_DURABILITY_GROUP);
        fail_files(run_fresh, file_can_be_completed);
        choose_backup_run(executors[i], true, 0, i == 1, FACPOOL_DURABILITY_BATCH);
        fail_files(run_fresh, file_can_be_completed);
    }
}

static void resumes_whose_files_fail(void)
{
    make_part();
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, FACPOOL_RESULTS_KEEP, true,
                      FACPOOL_DURABILITY_GROUP);
    fail_files(run_resumed, file_can_be_completed);
    choose_backup_run(WITH_THREADS, false, 0, false, FACPOOL_DURABILITY_BATCH);
    fail_files(run_resumed, file_can_be_completed);
}

/* The k-th write gets half of its bytes down before the disk is full. */
static void disk_that_fills_up_within_a_write(void)
{
    choose_backup_run(FACPOOL_EXECUTOR_SERIAL, false, FACPOOL_RESULTS_KEEP, true,
                      FACPOOL_DURABILITY_GROUP);
    for (long at = 1;; at++) {
        fail_call(CALL_WRITE, at, true, ENOSPC);
        failing_short = true;
        int rc = run_fresh();
        if (!stop_failing()) {
            CHECK_INT(rc, 0);
            CHECK(at > 4);
            break;
        }
        CHECK_INT(rc, FACPOOL_E_IO);
        CHECK_INT(err.os_errno, ENOSPC);
        CHECK(strstr(err.message, "disk full"));
        if (has_report)
            CHECK_INT(last_report.ok + last_report.skipped + last_report.failed +
                          last_report.not_run,
                      N_TASKS);
        file_can_be_completed(rc);
    }
}

static void appends_whose_files_fail(void)
{
    make_part();
    fail_files(append_rows, appended_rows_are_there);
    fail_files(repair_torn, repaired_or_as_it_was);
}

static void questions_whose_files_fail(void)
{
    unlink(path);
    complete_backup();
    fail_each(read_everything, NULL, CALL_READ, EIO, false);
    fail_each(read_everything, NULL, CALL_READ, EIO, true);
    fail_each(read_everything, NULL, CALL_OPEN, EMFILE, false);
}

static void other_formats_whose_files_fail(void)
{
    for (size_t i = 0; i < 2; i++) {
        choose_format(other_formats[i]);
        runs_whose_files_fail();
        disk_that_fills_up_within_a_write();
        resumes_whose_files_fail();
        appends_whose_files_fail();
        questions_whose_files_fail();
    }
    choose_format(".fpb");
}

int main(void)
{
    if (!begin("io"))
        return EXIT_FAILURE;
    RUN(runs_whose_files_fail);
    RUN(disk_that_fills_up_within_a_write);
    RUN(resumes_whose_files_fail);
    RUN(appends_whose_files_fail);
    RUN(questions_whose_files_fail);
    RUN(other_formats_whose_files_fail);
    free_part();
    return end();
}
