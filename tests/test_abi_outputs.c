/* The binary interface, coming out: structs of older and newer callers are filled as far as they
 * go, and nothing is written beyond the size a caller gives. Every struct here lies in memory of
 * exactly its size, so that address checkers see a byte too much; guard bytes see it without them.
 */
#include "abi_world.h"

/* ------------------------------------------------------------------ structs coming out */

#define GUARD       0xa5
#define GUARD_BYTES 64

/* A call that fills the struct, the same way each time. */
typedef int (*output_call)(void *filled);

static int fill_sized(output_call call, uint8_t *memory, size_t size)
{
    memset(memory, GUARD, size + GUARD_BYTES);
    memcpy(memory, &size, sizeof size);
    /* What a caller of a newer library has beyond must be zero, as its INIT macro leaves it. */
    return call(memory);
}

static bool all_are(const uint8_t *bytes, size_t n, uint8_t value)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static void check_output_size(output_call call, const uint8_t *whole, size_t own, size_t size)
{
    uint8_t *memory = malloc(size + GUARD_BYTES);
    CHECK(memory);
    CHECK(fill_sized(call, memory, size) >= 0);
    size_t kept;
    memcpy(&kept, memory, sizeof kept);
    CHECK_INT(kept, size);
    size_t shared = size < own ? size : own;
    if (shared > sizeof kept)
        CHECK(memcmp(memory + sizeof kept, whole + sizeof kept, shared - sizeof kept) == 0);
    if (size > own)
        CHECK(all_are(memory + own, size - own, 0));
    CHECK(all_are(memory + size, GUARD_BYTES, GUARD));
    free(memory);
}

static void check_output(output_call call, size_t own)
{
    uint8_t *whole = malloc(own + GUARD_BYTES), small[8 + GUARD_BYTES];
    CHECK(whole);
    CHECK(fill_sized(call, whole, own) >= 0);
    CHECK(all_are(whole + own, GUARD_BYTES, GUARD));
    for (size_t size = sizeof(size_t); size < own; size += 4)
        check_output_size(call, whole, own, size);
    check_output_size(call, whole, own, own + 1);
    check_output_size(call, whole, own, own + 400);
    for (size_t size = 0; size < sizeof(size_t); size++) {
        memset(small, GUARD, sizeof small);
        memcpy(small, &size, sizeof size);
        CHECK_INT(call(small), FACPOOL_E_ABI);
        CHECK(memcmp(small, &size, sizeof size) == 0);
        CHECK(all_are(small + sizeof size, GUARD_BYTES, GUARD));
    }
    CHECK_INT(call(NULL), FACPOOL_E_INVALID);
    free(whole);
}

static int fill_failure(void *out)
{
    return facpool_result_failure(held_result, 0, out, &err);
}

static int fill_report(void *out)
{
    return facpool_result_report(held_result, out, &err);
}

static void results_fill_what_the_caller_has_room_for(void)
{
    open_handles();
    check_output(fill_failure, sizeof(facpool_failure));
    check_output(fill_report, sizeof(facpool_report));
    close_handles();
}

/* Rows and views live in the cursor: one that is kept for the last call's pointers. */
static facpool_cursor *row_cursor;

static int fill_row(void *out)
{
    facpool_cursor_free(row_cursor);
    row_cursor = NULL;
    CHECK_OK(facpool_query(open_reader, NULL, &row_cursor, &err), err);
    return facpool_cursor_next(row_cursor, out, &err);
}

static int fill_view(void *out)
{
    facpool_cursor_free(row_cursor);
    row_cursor = NULL;
    CHECK_OK(facpool_query(open_reader, NULL, &row_cursor, &err), err);
    return facpool_cursor_next_batch(row_cursor, out, &err);
}

static int fill_stats(void *out)
{
    return facpool_cursor_stats(row_cursor, out, &err);
}

/* Pointers of two cursors differ, so rows are compared by what does not point. */
static void cursors_fill_what_the_caller_has_room_for(void)
{
    open_handles();
    for (size_t size = sizeof(size_t); size < sizeof(facpool_batch_view) + 100; size += 4) {
        for (int kind = 0; kind < 2; kind++) {
            size_t own = kind ? sizeof(facpool_batch_view) : sizeof(facpool_row), kept;
            uint8_t *memory = malloc(size + GUARD_BYTES);
            CHECK(memory);
            CHECK_INT(fill_sized(kind ? fill_view : fill_row, memory, size), 1);
            memcpy(&kept, memory, sizeof kept);
            CHECK_INT(kept, size);
            CHECK(all_are(memory + size, GUARD_BYTES, GUARD));
            if (size > own)
                CHECK(all_are(memory + own, size - own, 0));
            facpool_row row = {0};
            facpool_batch_view view = {0};
            memcpy(kind ? (void *)&view : (void *)&row, memory, size < own ? size : own);
            if (kind && size >= offsetof(facpool_batch_view, n_factors))
                CHECK_INT(view.n_rows, 5);
            if (!kind && size >= offsetof(facpool_row, code))
                CHECK_INT(row.date, 20240102);
            free(memory);
        }
    }
    size_t none = 0;
    CHECK_INT(fill_row(&none), FACPOOL_E_ABI);
    facpool_row row = FACPOOL_ROW_INIT; /* the row was not used up */
    CHECK_INT(facpool_cursor_next(row_cursor, &row, &err), 1);
    CHECK_INT(row.date, 20240102);
    CHECK_TEXT(row.code, "000001");
    CHECK_INT(fill_view(&none), FACPOOL_E_ABI);
    CHECK_INT(fill_row(NULL), FACPOOL_E_INVALID);
    CHECK_INT(fill_view(NULL), FACPOOL_E_INVALID);
    check_output(fill_stats, sizeof(facpool_query_stats));
    facpool_cursor_free(row_cursor);
    row_cursor = NULL;
    close_handles();
}

static int check_report(int (*work)(const char *, facpool_verify_report *, facpool_error *),
                        void *out)
{
    return work(path, out, &err);
}

static int fill_verify(void *out)
{
    return check_report(facpool_backup_verify, out);
}

static int fill_repair(void *out)
{
    return check_report(facpool_backup_repair, out);
}

/* Reports are checked as inputs too: a newer caller's tail must be zero, before anything is done.
 */
static void file_reports_fill_what_the_caller_has_room_for(void)
{
    output_call calls[] = {fill_verify, fill_repair};
    size_t own = sizeof(facpool_verify_report);
    for (int i = 0; i < 2; i++) {
        facpool_verify_report whole = FACPOOL_VERIFY_REPORT_INIT;
        CHECK_OK(calls[i](&whole), err);
        for (size_t size = sizeof(size_t); size < own + 60; size += 4) {
            uint8_t *memory = malloc(size + GUARD_BYTES);
            CHECK(memory);
            memset(memory, 0, size);
            memset(memory + size, GUARD, GUARD_BYTES);
            memcpy(memory, &size, sizeof size);
            CHECK_OK(calls[i](memory), err);
            size_t shared = size < own ? size : own;
            CHECK(memcmp(memory + 8, (const uint8_t *)&whole + 8, shared - 8) == 0);
            CHECK(all_are(memory + size, GUARD_BYTES, GUARD));
            free(memory);
        }
        size_t none = 0;
        CHECK_INT(calls[i](&none), FACPOOL_E_ABI);
        CHECK_INT(calls[i](NULL), FACPOOL_E_INVALID);
    }
}

static facpool_job *open_job;
static facpool_run_handle *open_run;

/* Times differ from call to call: they are cleared before structs are compared. */
static void clear_times(uint8_t *progress)
{
    size_t size, at = offsetof(facpool_progress, elapsed_s);
    memcpy(&size, progress, sizeof size);
    size_t end = size < sizeof(facpool_progress) ? size : sizeof(facpool_progress);
    if (end > at)
        memset(progress + at, 0, end - at);
}

static int fill_job_progress(void *out)
{
    int rc = facpool_job_progress(open_job, out);
    if (rc == 0)
        clear_times(out);
    return rc;
}

static int fill_run_progress(void *out)
{
    int rc = facpool_run_poll(open_run, out, &err);
    if (rc >= 0)
        clear_times(out);
    return rc;
}

static void progress_fills_what_the_caller_has_room_for(void)
{
    facpool_run_options options = run_options();
    facpool_result *result = NULL;
    CHECK_OK(facpool_job_open(&open_job, tasks, &options, &err), err);
    check_output(fill_job_progress, sizeof(facpool_progress));
    CHECK_INT(facpool_job_finish(open_job, &result, &err), FACPOOL_E_CANCELLED);
    facpool_result_free(result);
    CHECK_OK(facpool_run_start(&open_run, tasks, &options, &err), err);
    while (facpool_run_poll(open_run, NULL, &err) == 0)
        ;
    /* Poll takes NULL: it fills nothing then. */
    for (size_t size = sizeof(size_t); size < sizeof(facpool_progress) + 40; size += 4) {
        uint8_t *memory = malloc(size + GUARD_BYTES);
        CHECK(memory);
        CHECK_INT(fill_sized(fill_run_progress, memory, size), 1);
        CHECK(all_are(memory + size, GUARD_BYTES, GUARD));
        free(memory);
    }
    facpool_progress none = {0};
    CHECK_INT(fill_run_progress(&none), FACPOOL_E_ABI);
    CHECK_OK(facpool_run_wait(open_run, &result, &err), err);
    facpool_result_free(result);
}

/* ------------------------------------------------------------------ errors */

/* The error itself may be older and shorter: texts then end where it ends. */
static void errors_fill_what_the_caller_has_room_for(void)
{
    facpool_error whole = FACPOOL_ERROR_INIT;
    CHECK_INT(facpool_tasks_add(tasks, 1, "x", &whole), FACPOOL_E_INVALID);
    for (size_t size = 0; size < sizeof whole + 200; size++) {
        uint8_t *memory = malloc((size > 8 ? size : 8) + GUARD_BYTES);
        CHECK(memory);
        memset(memory, GUARD, (size > 8 ? size : 8) + GUARD_BYTES);
        memcpy(memory, &size, sizeof size);
        CHECK_INT(facpool_tasks_add(tasks, 1, "x", (facpool_error *)memory), FACPOOL_E_INVALID);
        CHECK(all_are(memory + (size > 8 ? size : 8), GUARD_BYTES, GUARD));
        CHECK(memcmp(memory, &size, sizeof size) == 0);
        int32_t code = 0;
        if (size >= 12)
            memcpy(&code, memory + offsetof(facpool_error, code), sizeof code);
        CHECK_INT(code, size >= 12 ? FACPOOL_E_INVALID : 0);
        size_t at = offsetof(facpool_error, message);
        if (size > at && size < sizeof whole) {
            CHECK(memchr(memory + at, '\0', size - at));
            CHECK(strncmp((char *)memory + at, whole.message, strlen((char *)memory + at)) == 0);
        }
        free(memory);
    }
    CHECK_INT(facpool_tasks_add(tasks, 1, "x", NULL), FACPOOL_E_INVALID);
}

static void names_of_codes_and_statuses(void)
{
    CHECK_TEXT(facpool_error_name(FACPOOL_E_INVALID), "FACPOOL_E_INVALID");
    CHECK_TEXT(facpool_error_name(FACPOOL_E_STATE), "FACPOOL_E_STATE");
    CHECK_TEXT(facpool_error_name(FACPOOL_E_WORKER), "FACPOOL_E_WORKER");
    CHECK_TEXT(facpool_error_name(-1000), "unknown error");
    CHECK_TEXT(facpool_error_name(5), "unknown error");
    CHECK_TEXT(facpool_status_name(FACPOOL_STATUS_OK), "ok");
    CHECK_TEXT(facpool_status_name(FACPOOL_STATUS_CRASHED), "crashed");
    char version[40];
    snprintf(version, sizeof version, "%d.%d.%d", FACPOOL_VERSION_MAJOR, FACPOOL_VERSION_MINOR,
             FACPOOL_VERSION_PATCH);
    CHECK_TEXT(facpool_version(), version);
}

static void frees_take_null(void)
{
    facpool_tasks_free(NULL);
    facpool_console_free(NULL);
    facpool_cancel_free(NULL);
    facpool_result_free(NULL);
    facpool_reader_free(NULL);
    facpool_cursor_free(NULL);
    facpool_info_free(NULL);
    CHECK_INT(facpool_writer_close(NULL, &err), 0);
}

int main(void)
{
    begin_world();
    RUN(make_world);
    RUN(results_fill_what_the_caller_has_room_for);
    RUN(cursors_fill_what_the_caller_has_room_for);
    RUN(file_reports_fill_what_the_caller_has_room_for);
    RUN(progress_fills_what_the_caller_has_room_for);
    RUN(errors_fill_what_the_caller_has_room_for);
    RUN(names_of_codes_and_statuses);
    RUN(frees_take_null);
    end_world();
    return TEST_END();
}
