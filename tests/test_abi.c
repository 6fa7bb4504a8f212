/* The binary interface, going in: sizes, offsets and values stay as abi/layout.h froze them;
 * structs of older and newer callers are understood or refused with FACPOOL_E_ABI, and nothing is
 * read beyond the size a caller gives. Every struct here lies in memory of exactly its size, so
 * that address checkers see a byte too much. What comes out is test_abi_outputs.c. */
#include "abi_world.h"

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

int main(void)
{
    begin_world();
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
    end_world();
    return TEST_END();
}
