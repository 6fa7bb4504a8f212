/* Somebody cuts a file short while it is read: a writer that resumes and gives up what a killed one
 * left, or another program. Before the first read of each call and after each of them, to each of
 * some lengths, in every format: the call ends after a bounded number of reads, with an answer or
 * an error, and no row is wrong. (Rows that a cursor gives in mapped memory are another matter: see
 * facpool_filter's `copy`.) Public header only.
 *
 * The library's reads pass through here: see the link arguments. */
#include "one_row.h"
#include "scratch.h"

#define ROWS       400
#define BATCH_ROWS 20
#define JUNK_BYTES 30000 /* behind the rows, in a file that was not closed */

static facpool_error err = FACPOOL_ERROR_INIT;

/* ------------------------------------------------------------------ reads */

#define NEVER SIZE_MAX

typedef struct trap {
    const char *path;
    size_t cut_after; /* so many reads; NEVER */
    size_t length;    /* to this */
    size_t n_reads;
    size_t most_reads;
} trap;

static trap now = {.cut_after = NEVER};

static void cut_now(void)
{
    if (now.n_reads == now.cut_after && truncate(now.path, (off_t)now.length))
        perror(now.path);
}

static void count_read(void)
{
    if (now.most_reads && ++now.n_reads > now.most_reads) {
        printf("  cut to %zu after read %zu: %zu reads and no end\n", now.length, now.cut_after,
               now.n_reads);
        exit(1);
    }
}

#define LEAD_READS(name)                                                                           \
    ssize_t __real_##name(int fd, void *to, size_t n, off_t offset);                               \
    ssize_t __wrap_##name(int fd, void *to, size_t n, off_t offset);                               \
    ssize_t __wrap_##name(int fd, void *to, size_t n, off_t offset)                                \
    {                                                                                              \
        if (now.n_reads == 0)                                                                      \
            cut_now();                                                                             \
        ssize_t got = __real_##name(fd, to, n, offset);                                            \
        count_read();                                                                              \
        cut_now();                                                                                 \
        return got;                                                                                \
    }
LEAD_READS(pread)
LEAD_READS(pread64)

/* ------------------------------------------------------------------ files */

static double factor_of(int64_t date, const char *code)
{
    return (double)date * 3 + atof(code) / 7;
}

static void write_backup(const char *path, const char *format)
{
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_writer *writer = NULL;
    options.path = path;
    options.format = format;
    options.mode = FACPOOL_MODE_OVERWRITE;
    options.durability = FACPOOL_DURABILITY_NONE;
    options.no_async = 1;
    options.batch_rows = BATCH_ROWS;
    CHECK_OK(facpool_writer_open(&writer, &options, NULL, 1, &err), err);
    for (int i = 0; i < ROWS; i++) {
        char code[16];
        int64_t date = 20240101 + i / 40;
        snprintf(code, sizeof code, "%06d", i % 40 + 1);
        append_row(writer, date, code, factor_of(date, code));
    }
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* Without its end, and with what is no block and no line behind it. */
static uint8_t *with_torn_tail(const uint8_t *bytes, size_t *size)
{
    size_t kept = *size * 3 / 4;
    uint8_t *torn = malloc(kept + JUNK_BYTES);
    memcpy(torn, bytes, kept);
    for (size_t i = 0; i < JUNK_BYTES; i++)
        torn[kept + i] = i % 30 == 29 ? '\n' : (uint8_t)('a' + i % 29);
    *size = kept + JUNK_BYTES;
    return torn;
}

/* ------------------------------------------------------------------ calls */

static void take_info(const char *path)
{
    const facpool_info *info = NULL;
    if (!facpool_backup_info(&info, path, &err))
        CHECK(info->blocks <= ROWS);
    facpool_info_free(info);
}

static void verify(const char *path)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    (void)facpool_backup_verify(path, &report, &err);
}

/* Damage is told of, and the rows behind it come all the same. */
static void ask(facpool_reader *reader, int32_t order)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.order = order;
    filter.copy = 1;
    if (facpool_query(reader, &filter, &cursor, &err))
        return;
    int rc;
    for (int n = 0; (rc = facpool_cursor_next(cursor, &row, &err)) != 0; n++) {
        CHECK(n < 2 * ROWS);
        if (rc < 0 && rc != FACPOOL_E_CORRUPT)
            break;
        if (rc == 1)
            CHECK(row.factors[0] == factor_of(row.date, row.code));
    }
    facpool_cursor_free(cursor);
}

static void read_rows(const char *path)
{
    facpool_reader *reader = NULL;
    if (facpool_reader_open(&reader, &path, 1, &err))
        return;
    ask(reader, FACPOOL_ORDER_FILE);
    (void)facpool_reader_refresh(reader, &err);
    ask(reader, FACPOOL_ORDER_KEY);
    facpool_reader_free(reader);
}

static int nothing(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = factor_of(task->date, task->code);
    return 0;
}

static size_t n_loaded;

/* The rows that are there, read back. */
static void load(const facpool_result *result)
{
    if (facpool_result_load(result, &err))
        return;
    const double *factors = facpool_result_factor(result, 0);
    const uint8_t *statuses = facpool_result_status(result);
    const int64_t *dates = facpool_result_dates(result);
    CHECK(factors && statuses && dates);
    for (size_t i = 0; i < facpool_result_count(result); i++)
        if (statuses[i] == FACPOOL_STATUS_OK)
            CHECK(factors[i] == factor_of(dates[i], facpool_result_code(result, i)));
    n_loaded++;
}

/* What a resumed run would do, and what it would find. */
static void plan(const char *path)
{
    static const int64_t dates[] = {20240101, 20240105};
    static const char *const codes[] = {"000001", "000040"};
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    CHECK_OK(facpool_tasks_grid(&tasks, dates, 2, codes, 2, &err), err);
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    options.fn = nothing;
    options.n_factors = 1;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.dry_run = 1;
    options.backup = &backup;
    if (!facpool_run(tasks, &options, &result, &err))
        load(result);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ tests */

static void (*const calls[])(const char *) = {take_info, verify, read_rows, plan};

enum { N_CALLS = sizeof calls / sizeof *calls };

static size_t n_cuts;

static void cut_at_every_read(const char *path, const uint8_t *bytes, size_t size)
{
    size_t lengths[] = {0, 100, size / 3, size * 5 / 8, size - 1}, step = of_tier(3, 1, 1);
    for (int c = 0; c < N_CALLS; c++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            CHECK(file_write(path, bytes, size));
            now = (trap){.path = path, .cut_after = NEVER, .most_reads = SIZE_MAX};
            calls[c](path);
            size_t n = now.n_reads, most = 20 * n + 1000;
            CHECK(n > 0);
            for (size_t k = l % step; k <= n; k += step, n_cuts++) {
                CHECK(file_write(path, bytes, size));
                now = (trap){path, k, lengths[l], 0, most};
                calls[c](path);
            }
        }
    now = (trap){.cut_after = NEVER};
}

static void try_format(const char *format, const char *name)
{
    const char *path = scratch_path(name);
    size_t size = 0;
    write_backup(path, format);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    cut_at_every_read(path, bytes, size);
    uint8_t *torn = with_torn_tail(bytes, &size);
    cut_at_every_read(path, torn, size);
    free(bytes);
    free(torn);
}

static void binary_files_that_are_cut_while_they_are_read(void)
{
    try_format("binary", "cut.fpb");
}

static void json_files_that_are_cut_while_they_are_read(void)
{
    try_format("json", "cut.jsonl");
}

static void memory_maps_that_are_cut_while_they_are_read(void)
{
    try_format("memory_map", "cut.arrow");
}

int main(void)
{
    if (!scratch_make("cut-files"))
        return 1;
    RUN(binary_files_that_are_cut_while_they_are_read);
    RUN(json_files_that_are_cut_while_they_are_read);
    RUN(memory_maps_that_are_cut_while_they_are_read);
    printf("  %zu cuts, %zu results loaded\n", n_cuts, n_loaded);
    CHECK(n_loaded);
    scratch_remove();
    return TEST_END();
}
