/* Backups for foreign readers, and what the library itself reads from them. Uses the public header
 * alone; the Python tests beside it call it step by step:
 *
 *   make_backup whole FORMAT PATH     a run from its beginning to its end
 *   make_backup killed FORMAT PATH    the same run, which kills itself (SIGKILL) half-way
 *   make_backup resume FORMAT PATH    goes on where it was, with new codes and their failures, and
 *                                     leaves failed tasks alone; then adds rows of each status
 *   make_backup retry FORMAT PATH     as resume, but failed tasks are tried again: every other one
 *                                     fails again
 *   make_backup repair PATH           closes the file
 *   make_backup rows PATH             prints all rows that a cursor gives
 *
 * A row is a line: date, code, timestamp, status, failure code, message and factors, with tabs
 * between; texts as hexadecimal bytes, factors as hexadecimal words, '-' for null. The first line
 * has the factors' names. */
#include <facpool/facpool.h>

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define N_FACTORS   4
#define N_DATES     100
#define N_CODES     200 /* of the first run */
#define N_ALL_CODES 250
#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))

/* The last is the Chinese for price. */
static const char *const factor_names[N_FACTORS] = {"special", "price", "rank", "价格"};

/* Codes that readers like to take for something else. */
static const char *const odd_codes[] = {
    "0",
    "00",
    "-0",
    "1e5",
    "0x10",
    "NaN",
    "nan",
    "null",
    "true",
    "None",
    "Infinity",
    "+7",
    " 1",
    "1 ",
    "平安银行",
    "a,b",
    "a\"b",
    "a\\b",
    "a\tb",
    "a'b",
    "2024-01-02",
    "20240102",
    "🙂",
    "600519.SH",
    "a/b\n",
    "\x7f",
    "{\"a\":1}",
    "[1]",
    "a\x01z",
    "é",
    "// not a comment",
    "1.0",
};

static const double specials[] = {
    0.0,
    -0.0,
    (double)NAN,
    (double)INFINITY,
    -(double)INFINITY,
    5e-324,
    -5e-324,
    2.2250738585072009e-308,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    0.1,
    1.0 / 3.0,
    9007199254740993.0,
    9007199254740991.0,
    1e22,
    1e23,
    123456789012345680.0,
    5e-5,
    1e-7,
    8.41e21,
    2.2204460492503131e-16,
    4.35,
    100.0,
};

static facpool_error err = FACPOOL_ERROR_INIT;

static int complain(const char *what)
{
    fprintf(stderr, "make_backup: %s: %s: %s\n", what, facpool_error_name(err.code), err.message);
    return 1;
}

/* ------------------------------------------------------------------ the job */

typedef struct job {
    size_t wait_at; /* tasks from here on wait to be killed; 0: none does */
    bool mended;    /* every other failure is none any more */
    bool retry_failed;
    size_t n_codes;
} job;

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t hash_key(int64_t date, const char *code)
{
    uint64_t hash = mix((uint64_t)date);
    for (; *code; code++)
        hash = mix(hash ^ (unsigned char)*code);
    return hash;
}

static void fill(double *factors, uint64_t hash)
{
    factors[0] = specials[hash % COUNT(specials)];
    factors[1] = (double)(int64_t)(hash >> 20 & 0xfffff) / 100;
    factors[2] = (double)(hash >> 8 & 0xfff);
    uint64_t bits = mix(hash) & ~(UINT64_C(1) << 62); /* any finite number below 2 */
    memcpy(&factors[3], &bits, sizeof bits);
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int compute(const facpool_task *task, double *factors, void *user)
{
    const job *j = user;
    while (j->wait_at && task->index >= j->wait_at)
        pause();
    if (task->index % 100 == 0)
        sleep_ms(4); /* so that the file gets several blocks */
    uint64_t hash = hash_key(task->date, task->code);
    uint64_t kind = hash >> 40 & 63;
    if (kind == 0)
        return FACPOOL_SKIP;
    if (kind <= 2 && !(j->mended && hash >> 50 & 1)) {
        char message[400];
        snprintf(message, sizeof message, "no \"bars\" for %s\n(第 %d 次)", task->code,
                 (int)(hash >> 32 & 7));
        return facpool_task_fail(task, (int)(hash >> 33 & 0xff) + 1, kind == 1 ? message : NULL);
    }
    fill(factors, hash);
    return 0;
}

static int make_tasks(facpool_tasks **out, size_t n_codes)
{
    static char texts[N_ALL_CODES][16];
    int64_t dates[N_DATES];
    const char *codes[N_ALL_CODES];
    for (size_t d = 0; d < N_DATES; d++)
        dates[d] = 20240101 + (int64_t)(d / 28) * 100 + (int64_t)(d % 28);
    for (size_t c = 0; c < n_codes; c++) {
        snprintf(texts[c], sizeof texts[c], "%06zu", c * 31);
        /* The odd ones by turns with plain ones, some new ones among them. */
        size_t odd = c * 3 / 20;
        codes[c] = c * 3 % 20 < 3 && odd < COUNT(odd_codes) ? odd_codes[odd] : texts[c];
    }
    return facpool_tasks_grid(out, dates, N_DATES, codes, n_codes, &err);
}

/* Waits for the end of the run, or for the moment at which it is to be killed. */
static int wait_or_die(facpool_run_handle *run, const job *j)
{
    facpool_progress progress = FACPOOL_PROGRESS_INIT;
    int over = 0;
    while (over == 0) {
        over = facpool_run_poll(run, &progress, &err);
        if (over < 0)
            return complain("poll");
        if (j->wait_at && progress.rows_written >= j->wait_at / 2)
            raise(SIGKILL);
        sleep_ms(1);
    }
    facpool_result *result = NULL;
    int failure = facpool_run_wait(run, &result, &err) ? complain("run") : 0;
    facpool_result_free(result);
    return failure;
}

static facpool_backup_options backup_options(const char *format, const char *path, int mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.format = format;
    backup.mode = mode;
    backup.tag = "version 1, \"版本\"";
    backup.batch_rows = 500;
    backup.flush_ms = 20;
    return backup;
}

static int run(job *j, const char *format, const char *path, int mode)
{
    facpool_backup_options backup = backup_options(format, path, mode);
    backup.no_retry_failed = !j->retry_failed;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.user = j;
    options.n_factors = N_FACTORS;
    options.factor_names = factor_names;
    options.workers = 2;
    options.results = FACPOOL_RESULTS_DROP;
    options.backup = &backup;
    facpool_tasks *tasks = NULL;
    facpool_run_handle *handle = NULL;
    int failure = make_tasks(&tasks, j->n_codes) ? complain("tasks") : 0;
    if (!failure && facpool_run_start(&handle, tasks, &options, &err))
        failure = complain("start");
    if (!failure)
        failure = wait_or_die(handle, j);
    facpool_tasks_free(tasks);
    return failure;
}

/* One row of each status, which no callback can give. */
static int append_rows(const char *format, const char *path)
{
    static const int64_t dates[] = {-20240101, 0, 20991231, 20991231, 20991231};
    static const char *const codes[] = {"000000", "000001", "000002", "000003", "new"};
    static const uint8_t statuses[] = {FACPOOL_STATUS_OK, FACPOOL_STATUS_SKIPPED,
                                       FACPOOL_STATUS_FAILED, FACPOOL_STATUS_TIMEOUT,
                                       FACPOOL_STATUS_CRASHED};
    static const int64_t timestamps[] = {-1, 0, 1, 1700000000123456, 4102444800000000};
    static const int32_t failure_codes[] = {0, 0, -5, INT32_MAX, 11};
    static const char *const messages[] = {NULL, NULL, "by hand", "took too long", ""};
    double factors[5 * N_FACTORS] = {0};
    fill(factors, 7);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 5;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = timestamps;
    rows.statuses = statuses;
    rows.factors = factors;
    rows.failure_codes = failure_codes;
    rows.messages = messages;
    facpool_backup_options backup = backup_options(format, path, FACPOOL_MODE_RESUME);
    facpool_writer *writer = NULL;
    if (facpool_writer_open(&writer, &backup, factor_names, N_FACTORS, &err))
        return complain("writer");
    int failure = facpool_writer_append(writer, &rows, &err) ? complain("append") : 0;
    if (facpool_writer_close(writer, &err) && !failure)
        failure = complain("close");
    return failure;
}

/* ------------------------------------------------------------------ what the library reads */

static void print_text(const char *text)
{
    putchar('\t');
    for (; *text; text++)
        printf("%02x", (unsigned char)*text);
}

static void print_row(const facpool_row *row)
{
    printf("%" PRId64, row->date);
    print_text(row->code);
    printf("\t%" PRId64 "\t%d\t%d", row->timestamp, row->status, row->failure_code);
    print_text(row->message);
    for (size_t f = 0; f < row->n_factors; f++) {
        uint64_t bits = 0;
        if (row->factors)
            memcpy(&bits, &row->factors[f], sizeof bits);
        if (row->factors)
            printf("\t%016" PRIx64, bits);
        else
            printf("\t-");
    }
    putchar('\n');
}

static int print_rows(const char *path)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    int failure = facpool_reader_open(&reader, &path, 1, &err) ? complain("open") : 0;
    if (!failure && facpool_query(reader, &filter, &cursor, &err))
        failure = complain("query");
    for (size_t f = 0; !failure && f < facpool_reader_n_factors(reader); f++)
        printf("%s%s", f ? "\t" : "", facpool_reader_factor_name(reader, f));
    printf("\n");
    int more = !failure;
    while (more > 0 && (more = facpool_cursor_next(cursor, &row, &err)) > 0)
        print_row(&row);
    if (more < 0)
        failure = complain("next");
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return failure;
}

static int repair(const char *path)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    return facpool_backup_repair(path, &report, &err) ? complain("repair") : 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: make_backup whole|killed|resume|retry FORMAT PATH\n"
                    "       make_backup repair|rows PATH\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *step = argc > 2 ? argv[1] : "";
    if (argc == 3 && strcmp(step, "rows") == 0)
        return print_rows(argv[2]);
    if (argc == 3 && strcmp(step, "repair") == 0)
        return repair(argv[2]);
    if (argc != 4)
        return usage();
    const char *format = argv[2], *path = argv[3];
    job j = {.n_codes = N_CODES};
    if (strcmp(step, "whole") == 0)
        return run(&j, format, path, FACPOOL_MODE_CREATE);
    if (strcmp(step, "killed") == 0) {
        j.wait_at = (size_t)N_DATES * N_CODES / 2;
        return run(&j, format, path, FACPOOL_MODE_CREATE);
    }
    j.n_codes = N_ALL_CODES;
    j.retry_failed = j.mended = strcmp(step, "retry") == 0;
    if (!j.retry_failed && strcmp(step, "resume") != 0)
        return usage();
    int failure = run(&j, format, path, FACPOOL_MODE_RESUME);
    return !failure && !j.retry_failed ? append_rows(format, path) : failure;
}
