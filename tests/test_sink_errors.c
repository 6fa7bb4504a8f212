/* What becomes of the errors of a store of a user's own (<facpool/sink.h>), whichever of its
 * functions they come from: they reach the caller, in words and with a code of the library's,
 * nothing but close is called after them, and what was computed is kept. And tables that are older
 * or newer than the library, or not whole. */
#include <stddef.h>

#include "vault_runs.h"

/* ------------------------------------------------------------------ errors */

/* The vault is told to fail at a letter: the run fails with the vault's words, and the log is as
 * said. */
static void check_failure(char letter, size_t after, const char *what, const char *log)
{
    char message[100];
    init();
    work w = {.fail_every = 2};
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
    vault_forget_log(&v);
    v.fails_at = letter;
    v.fails_after = after;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.durability = FACPOOL_DURABILITY_BATCH;
    err = (facpool_error)FACPOOL_ERROR_INIT;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_IO);
    CHECK_INT(err.code, FACPOOL_E_IO);
    snprintf(message, sizeof message, "the vault's %s was told to fail, code 42", what);
    CHECK_TEXT(err.message, message);
    CHECK(strncmp(v.log, log, strlen(log)) == 0);
    CHECK(letter == 'c' || v.n_log == strlen(log));
    destroy();
}

static void errors_of_every_function_reach_the_caller_and_only_close_follows(void)
{
    check_failure('o', 0, "open", "o");
    check_failure('l', 0, "lock", "olc");
    check_failure('s', 0, "scan", "olsc");
    check_failure('a', 0, "append", "olsac");
    check_failure('y', 0, "sync", "olsayc");
    check_failure('c', 0, "close", "olsay");
}

static void an_error_without_a_word_still_says_something(void)
{
    static const char letters[] = "olsayc";
    for (const char *at = letters; *at; at++) {
        init();
        work w = {.fail_every = 2};
        facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
        CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
        v.fails_at = *at;
        v.fails_silently = true;
        backup.mode = FACPOOL_MODE_RESUME;
        backup.durability = FACPOOL_DURABILITY_BATCH;
        err = (facpool_error)FACPOOL_ERROR_INIT;
        CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_IO);
        CHECK_INT(err.code, FACPOOL_E_IO);
        CHECK(strstr(err.message, "vault"));
        destroy();
    }
}

/* Callers test for what is below 0, and look codes up: theirs is one of the library's, always. */
static void odd_codes_of_a_sink_become_an_io_error(void)
{
    static const char letters[] = "olsayc";
    static const int codes[] = {1, 42, -4711};
    for (const char *at = letters; *at; at++) {
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
            init();
            work w = {.fail_every = 2};
            facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
            CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
            v.fails_at = *at;
            v.odd_code = codes[i];
            backup.mode = FACPOOL_MODE_RESUME;
            backup.durability = FACPOOL_DURABILITY_BATCH;
            err = (facpool_error)FACPOOL_ERROR_INIT;
            CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_IO);
            CHECK_INT(err.code, FACPOOL_E_IO);
            CHECK(strstr(err.message, "vault") && strstr(err.message, "return 0 or"));
            destroy();
        }
    }
}

static void a_failing_append_ends_the_run_and_keeps_what_was_computed(void)
{
    init();
    v.fails_at = 'a';
    v.fails_after = 2;
    work w = {0};
    facpool_result *result = NULL;
    facpool_tasks *tasks = make_tasks(50, 100);
    facpool_backup_options backup = backup_of(&vault_type, FACPOOL_MODE_CREATE);
    backup.no_async = 1;
    backup.queue_bytes = 1;
    facpool_run_options options = options_of(&w, &backup);
    options.results = FACPOOL_RESULTS_KEEP;
    CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_IO);
    CHECK_TEXT(err.message, "the vault's append was told to fail, code 42");
    CHECK(result);
    facpool_report report = report_of(result);
    CHECK_INT(report.rows_written, v.n);
    CHECK(report.ok > v.n);
    CHECK(report.not_run > 0);
    const uint8_t *status = facpool_result_status(result);
    size_t n_ok = 0;
    for (size_t i = 0; i < 5000; i++)
        n_ok += status[i] == FACPOOL_STATUS_OK;
    CHECK_INT(n_ok, report.ok);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    destroy();
}

static void a_writer_that_failed_stays_failed(void)
{
    init();
    v.fails_at = 'a';
    facpool_writer *writer = NULL;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    facpool_backup_options backup = backup_of(&vault_type, 0);
    const int64_t date = 1;
    const char *const code = "a";
    const double factors[] = {1, 2};
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.factors = factors;
    CHECK_OK(facpool_writer_open(&writer, &backup, names, N_FACTORS, &err), err);
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_INT(facpool_writer_sync(writer, &err), FACPOOL_E_IO);
    CHECK_INT(facpool_writer_sync(writer, &err), FACPOOL_E_IO);
    CHECK_INT(facpool_writer_close(writer, &err), FACPOOL_E_IO);
    CHECK_INT(count_letter('a'), 1);
    CHECK_INT(v.log[v.n_log - 1], 'c');
    destroy();
}

/* ------------------------------------------------------------------ tables of other ages */

static void a_table_of_an_older_header_has_no_scan(void)
{
    init();
    facpool_sink_type type = vault_type;
    type.size = offsetof(facpool_sink_type, scan);
    work w = {0};
    facpool_reader *reader = NULL;
    const char *path = "the vault";
    facpool_backup_options backup = backup_of(&type, FACPOOL_MODE_RESUME);
    CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
    CHECK_INT(count_letter('l'), 0);
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "no scan"));
    CHECK_INT(facpool_reader_from_source(&reader, &type, &v, &path, 1, &err),
              FACPOOL_E_UNSUPPORTED);
    type = vault_type;
    type.scan = NULL;
    vault_forget_log(&v);
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_UNSUPPORTED);
    CHECK_TEXT(v.log, "olc");
    destroy();
}

static void a_table_of_a_newer_header_works_while_its_tail_is_zero(void)
{
    init();
    struct {
        facpool_sink_type type;
        size_t newer;
    } longer = {vault_type, 0};
    longer.type.size = sizeof longer;
    work w = {0};
    facpool_backup_options backup = backup_of(&longer.type, FACPOOL_MODE_CREATE);
    CHECK_OK(run(&w, &backup, 2, 10, NULL), err);
    backup.mode = FACPOOL_MODE_OVERWRITE;
    longer.newer = 1;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_ABI);
    check_vault(&w, 2, 10);
    destroy();
}

static void a_table_that_lacks_a_function_is_refused(void)
{
    init();
    work w = {0};
    facpool_sink_type type = vault_type;
    facpool_backup_options backup = backup_of(&type, FACPOOL_MODE_CREATE);
    type.append = NULL;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "'vault' lacks append"));
    type = vault_type;
    type.sync = NULL;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    type = vault_type;
    type.close = NULL;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    type = vault_type;
    type.open = NULL;
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    type = vault_type;
    backup.format = "binary";
    CHECK_INT(run(&w, &backup, 2, 10, NULL), FACPOOL_E_INVALID);
    CHECK_INT(v.n_log, 0);
    destroy();
}

int main(void)
{
    RUN(errors_of_every_function_reach_the_caller_and_only_close_follows);
    RUN(an_error_without_a_word_still_says_something);
    RUN(odd_codes_of_a_sink_become_an_io_error);
    RUN(a_failing_append_ends_the_run_and_keeps_what_was_computed);
    RUN(a_writer_that_failed_stays_failed);
    RUN(a_table_of_an_older_header_has_no_scan);
    RUN(a_table_of_a_newer_header_works_while_its_tail_is_zero);
    RUN(a_table_that_lacks_a_function_is_refused);
    return TEST_END();
}
