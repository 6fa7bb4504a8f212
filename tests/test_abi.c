/* The binary interface: sizes, offsets and values stay as abi/layout.h froze them; structs of older
 * and newer callers are understood both ways or refused with FACPOOL_E_ABI; nothing is read or
 * written beyond the size a caller gives. Every struct here lies in memory of exactly its size, so
 * that address checkers see a byte too much; guard bytes see it without them. */
#include "scratch.h"
#include "test.h"

#include <facpool/sink.h>

/* ------------------------------------------------------------------ the frozen layout */

#if UINTPTR_MAX == UINT64_MAX
#define STRUCT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " changed its size");
#define FIELD(type, field, at, bytes)                                                              \
    _Static_assert(offsetof(type, field) == (at), #type "." #field " moved");                      \
    _Static_assert(sizeof(((type *)0)->field) == (bytes), #type "." #field " changed its type");
#define VALUE(name, number) _Static_assert((name) == (number), #name " changed");
#include "abi/layout.h"
#undef STRUCT
#undef FIELD
#undef VALUE
#endif

/* Structs from the caller begin with their size; the table below relies on it. */
_Static_assert(offsetof(facpool_run_options, size) == 0, "size first");

/* ------------------------------------------------------------------ a small world */

#define N_FACTORS 2

static facpool_error err = FACPOOL_ERROR_INIT;
static char path[512];
static facpool_tasks *tasks;

static int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    if (task->index == 3)
        return facpool_task_fail(task, 9, "told to");
    factors[0] = (double)task->index;
    factors[1] = 0.5;
    return 0;
}

static facpool_run_options run_options(void)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = N_FACTORS;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.workers = 1;
    return options;
}

static facpool_backup_options backup_options(int32_t mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = mode;
    backup.durability = FACPOOL_DURABILITY_NONE;
    return backup;
}

static void make_world(void)
{
    static const int64_t dates[] = {20240102, 20240103};
    static const char *const codes[] = {"000001", "600000", "AAPL"};
    if (!tasks)
        CHECK_OK(facpool_tasks_grid(&tasks, dates, 2, codes, 3, &err), err);
    facpool_run_options options = run_options();
    facpool_backup_options backup = backup_options(FACPOOL_MODE_OVERWRITE);
    options.backup = &backup;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_result_free(result);
}

/* ------------------------------------------------------------------ structs going in */

/* A call that takes the struct, does something with it and cleans up. Returns what it returned. */
typedef int (*input_call)(const void *given);

/* The first `size` bytes of a struct of `own` bytes, what is beyond being zero, in memory of its
 * own. The last byte is `tail` where the copy is longer than the struct. */
static void *resized(const void *whole, size_t own, size_t size, uint8_t tail)
{
    uint8_t *copy = calloc(1, size > sizeof(size_t) ? size : sizeof(size_t));
    CHECK(copy);
    memcpy(copy, whole, size < own ? size : own);
    memcpy(copy, &size, sizeof size);
    if (size > own)
        copy[size - 1] = tail;
    return copy;
}

static int call_resized(input_call call, const void *whole, size_t own, size_t size, uint8_t tail)
{
    void *copy = resized(whole, own, size, tail);
    err = (facpool_error)FACPOOL_ERROR_INIT;
    int rc = call(copy);
    if (rc < 0)
        CHECK(rc == FACPOOL_E_STATE || err.code == rc); /* STATE: told by a call that has no err */
    free(copy);
    return rc;
}

/* `least`: what an older caller's struct must have for the call to have something to work on. Sizes
 * of structs with pointers are multiples of 8. */
static void check_input(input_call call, const void *whole, size_t own, size_t least)
{
    CHECK(call_resized(call, whole, own, own, 0) >= 0);
    for (size_t size = (least + 7) / 8 * 8; size < own; size += 8)
        CHECK(call_resized(call, whole, own, size, 0) >= 0);
    CHECK(call_resized(call, whole, own, own + 8, 0) >= 0);
    CHECK(call_resized(call, whole, own, own + 800, 0) >= 0);
    CHECK_INT(call_resized(call, whole, own, own + 1, 1), FACPOOL_E_ABI);
    CHECK_INT(call_resized(call, whole, own, own + 8, 1), FACPOOL_E_ABI);
    CHECK_INT(call_resized(call, whole, own, own + 800, 0x80), FACPOOL_E_ABI);
    CHECK_INT(call_resized(call, whole, own, 0, 0), FACPOOL_E_ABI);
    CHECK_INT(call_resized(call, whole, own, 7, 0), FACPOOL_E_ABI);
    size_t wild = SIZE_MAX;
    CHECK_INT(call(&wild), FACPOOL_E_ABI);
}

static int call_run(const void *given)
{
    facpool_result *result = NULL;
    int rc = facpool_run(tasks, given, &result, &err);
    CHECK((result != NULL) == (rc == 0));
    facpool_result_free(result);
    return rc;
}

static int call_run_start(const void *given)
{
    facpool_run_handle *run = NULL;
    facpool_result *result = NULL;
    int rc = facpool_run_start(&run, tasks, given, &err);
    if (rc == 0)
        rc = facpool_run_wait(run, &result, &err);
    facpool_result_free(result);
    return rc;
}

static int call_job_open(const void *given)
{
    facpool_job *job = NULL;
    facpool_result *result = NULL;
    int rc = facpool_job_open(&job, tasks, given, &err);
    if (rc == 0)
        CHECK_INT(facpool_job_finish(job, &result, &err), FACPOOL_E_CANCELLED);
    facpool_result_free(result);
    return rc;
}

static void run_options_of_older_and_newer_callers(void)
{
    facpool_run_options options = run_options();
    size_t least = offsetof(facpool_run_options, factor_names);
    check_input(call_run, &options, sizeof options, least);
    check_input(call_run_start, &options, sizeof options, least);
    /* A job needs the number of workers. */
    check_input(call_job_open, &options, sizeof options, offsetof(facpool_run_options, cpus));
}

static int call_run_with_backup(const void *given)
{
    facpool_run_options options = run_options();
    options.backup = given;
    return call_run(&options);
}

static int call_writer_open(const void *given)
{
    facpool_writer *writer = NULL;
    int rc = facpool_writer_open(&writer, given, NULL, N_FACTORS, &err);
    if (rc == 0)
        CHECK_OK(facpool_writer_close(writer, &err), err);
    return rc;
}

static void backup_options_of_older_and_newer_callers(void)
{
    facpool_backup_options backup = backup_options(FACPOOL_MODE_RESUME);
    size_t least = offsetof(facpool_backup_options, durability);
    check_input(call_run_with_backup, &backup, sizeof backup, least);
    check_input(call_writer_open, &backup, sizeof backup, least);
}

static void *plain_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    return malloc(bytes);
}

static void *plain_realloc(void *ctx, void *memory, size_t bytes)
{
    (void)ctx;
    return realloc(memory, bytes);
}

static void plain_free(void *ctx, void *memory)
{
    (void)ctx;
    free(memory);
}

static int call_run_with_allocator(const void *given)
{
    facpool_run_options options = run_options();
    options.allocator = given;
    return call_run(&options);
}

static void allocators_of_older_and_newer_callers(void)
{
    facpool_allocator allocator = {sizeof allocator, plain_alloc, plain_realloc, plain_free, NULL};
    check_input(call_run_with_allocator, &allocator, sizeof allocator,
                offsetof(facpool_allocator, ctx));
}

#ifdef __linux__
static int call_run_in_processes(const void *given)
{
    facpool_run_options options = run_options();
    options.executor = FACPOOL_EXECUTOR_PROCESS;
    options.process = given;
    return call_run(&options);
}

/* `fd` is no socket: options that are understood get as far as that. */
static int call_serve(const void *given)
{
    int rc = facpool_serve(-1, given, &err);
    return rc == FACPOOL_E_INVALID ? 0 : rc;
}

static void process_options_of_older_and_newer_callers(void)
{
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    process.tasks_per_worker = 4;
    check_input(call_run_in_processes, &process, sizeof process, sizeof(size_t));
    facpool_serve_options serve = FACPOOL_SERVE_OPTIONS_INIT;
    serve.fn = compute;
    check_input(call_serve, &serve, sizeof serve, offsetof(facpool_serve_options, batch_fn));
}
#endif

static facpool_writer *open_writer;

static int call_append(const void *given)
{
    return facpool_writer_append(open_writer, given, &err);
}

static void rows_of_older_and_newer_callers(void)
{
    static const int64_t dates[] = {20240104};
    static const char *const codes[] = {"000001"};
    static const uint8_t statuses[] = {FACPOOL_STATUS_FAILED};
    facpool_backup_options backup = backup_options(FACPOOL_MODE_RESUME);
    CHECK_OK(facpool_writer_open(&open_writer, &backup, NULL, N_FACTORS, &err), err);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 1;
    rows.dates = dates;
    rows.codes = codes;
    rows.statuses = statuses;
    check_input(call_append, &rows, sizeof rows, offsetof(facpool_rows, factors));
    CHECK_OK(facpool_writer_close(open_writer, &err), err);
}

static facpool_reader *open_reader;
static facpool_result *held_result;

static int call_query(const void *given)
{
    facpool_cursor *cursor = NULL;
    int rc = facpool_query(open_reader, given, &cursor, &err);
    facpool_cursor_free(cursor);
    return rc;
}

static int call_result_query(const void *given)
{
    facpool_cursor *cursor = NULL;
    int rc = facpool_result_query(held_result, given, &cursor, &err);
    facpool_cursor_free(cursor);
    return rc;
}

static void open_handles(void)
{
    const char *paths[] = {path};
    facpool_run_options options = run_options();
    CHECK_OK(facpool_reader_open(&open_reader, paths, 1, &err), err);
    CHECK_OK(facpool_run(tasks, &options, &held_result, &err), err);
}

static void close_handles(void)
{
    facpool_reader_free(open_reader);
    facpool_result_free(held_result);
}

static void filters_of_older_and_newer_callers(void)
{
    open_handles();
    facpool_filter filter = FACPOOL_FILTER_INIT;
    int64_t date = 20240102;
    filter.date_min = &date;
    filter.order = FACPOOL_ORDER_KEY;
    check_input(call_query, &filter, sizeof filter, sizeof(size_t));
    check_input(call_result_query, &filter, sizeof filter, sizeof(size_t));
    close_handles();
}

/* A slice that is too short to be completed is refused before tasks are taken. */
static void slices_of_callers_are_refused_or_whole(void)
{
    facpool_run_options options = run_options();
    facpool_job *job = NULL;
    facpool_result *result = NULL;
    double *factors = NULL;
    CHECK_OK(facpool_job_open(&job, tasks, &options, &err), err);
    facpool_slice whole = FACPOOL_SLICE_INIT;
    for (size_t size = 0; size < sizeof whole; size += 4) {
        facpool_slice *slice = resized(&whole, sizeof whole, size, 0);
        CHECK_INT(facpool_job_take(job, 0, slice, &factors, &err), FACPOOL_E_ABI);
        CHECK_INT(facpool_job_complete(job, slice, 0, &err), FACPOOL_E_ABI);
        free(slice);
    }
    size_t n = 0;
    for (int rc = 1; rc > 0;) {
        /* Of a newer caller: longer, with a zero tail. */
        facpool_slice *slice = resized(&whole, sizeof whole, sizeof whole + 40, 0);
        rc = facpool_job_take(job, 0, slice, &factors, &err);
        CHECK_OK(rc, err);
        CHECK_INT(slice->size, sizeof whole + 40);
        for (size_t i = 0; rc && i < slice->n; i++)
            CHECK_INT(slice->code_numbers[i], slice->indexes[i] % 3);
        n += rc ? slice->n : 0;
        for (size_t i = 0; rc && i < slice->n; i++)
            facpool_slice_skip(slice, i);
        if (rc)
            CHECK_OK(facpool_job_complete(job, slice, 0, &err), err);
        else
            CHECK_INT(facpool_job_complete(job, slice, 0, &err), FACPOOL_E_STATE);
        free(slice);
    }
    CHECK_INT(n, 6);
    CHECK_OK(facpool_job_finish(job, &result, &err), err);
    CHECK_INT(facpool_result_status(result)[5], FACPOOL_STATUS_SKIPPED);
    facpool_result_free(result);
}

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
    if (!scratch_make("abi", true)) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    snprintf(path, sizeof path, "%s", scratch_path("backup.fpb"));
    RUN(make_world);
    RUN(run_options_of_older_and_newer_callers);
    RUN(backup_options_of_older_and_newer_callers);
#ifdef __linux__
    RUN(process_options_of_older_and_newer_callers);
#endif
    RUN(allocators_of_older_and_newer_callers);
    RUN(rows_of_older_and_newer_callers);
    RUN(filters_of_older_and_newer_callers);
    RUN(slices_of_callers_are_refused_or_whole);
    RUN(results_fill_what_the_caller_has_room_for);
    RUN(make_world);
    RUN(cursors_fill_what_the_caller_has_room_for);
    RUN(file_reports_fill_what_the_caller_has_room_for);
    RUN(progress_fills_what_the_caller_has_room_for);
    RUN(errors_fill_what_the_caller_has_room_for);
    RUN(names_of_codes_and_statuses);
    RUN(frees_take_null);
    facpool_tasks_free(tasks);
    scratch_remove();
    return TEST_END();
}
