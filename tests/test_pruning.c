/* Pruning, proved by the cursor's own counters, for the formats that read by page: a question about
 * one date or one code touches the pages and columns that can match and no others, and of many
 * files those that can't match are not read beyond their index. */
#include <facpool/facpool.h>
#include "scratch.h"
#include "test.h"

#define DATES        80
#define CODES        5000
#define MANY_FACTORS 8
#define BLOCK_ROWS   50000
#define PAGE_ROWS    1024
#define FILES        20

static const char *const formats[] = {"binary", "memory_map"};

static facpool_error err = FACPOOL_ERROR_INIT;

/* Values that take room: no two columns, no two rows alike. */
static int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    for (size_t k = 0; k < MANY_FACTORS; k++)
        factors[k] = (double)(task->index * 2654435761u % 1000003) / (double)(7 + k);
    return 0;
}

static void write_backup(const char *path, const char *format, int64_t first_date, size_t n_dates,
                         size_t n_codes)
{
    int64_t *dates = malloc(n_dates * sizeof *dates);
    char(*texts)[32] = malloc(n_codes * sizeof *texts);
    const char **codes = malloc(n_codes * sizeof *codes);
    for (size_t i = 0; i < n_dates; i++)
        dates[i] = first_date + (int64_t)i;
    for (size_t i = 0; i < n_codes; i++) {
        snprintf(texts[i], sizeof texts[i], "%06zu", i + 1);
        codes[i] = texts[i];
    }
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_grid(&tasks, dates, n_dates, codes, n_codes, &err), err);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.format = format;
    backup.durability = FACPOOL_DURABILITY_NONE;
    /* Blocks end by their rows alone, wherever the machine makes a pause. */
    backup.batch_rows = BLOCK_ROWS;
    backup.flush_ms = UINT32_MAX;
    backup.no_async = 1;
    facpool_run_options run = FACPOOL_RUN_OPTIONS_INIT;
    run.fn = compute;
    run.n_factors = MANY_FACTORS;
    run.executor = FACPOOL_EXECUTOR_SERIAL;
    run.results = FACPOOL_RESULTS_DROP;
    run.backup = &backup;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &run, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    free(dates);
    free(texts);
    free(codes);
}

/* Asks and reads the whole answer; returns what that touched. */
static facpool_query_stats ask(facpool_reader *reader, const facpool_filter *filter, uint64_t rows)
{
    facpool_cursor *cursor = NULL;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    CHECK_OK(facpool_query(reader, filter, &cursor, &err), err);
    int rc;
    while ((rc = facpool_cursor_next_batch(cursor, &view, &err)) == 1)
        continue;
    CHECK_OK(rc, err);
    CHECK_OK(facpool_cursor_stats(cursor, &stats, &err), err);
    facpool_cursor_free(cursor);
    CHECK_INT(stats.rows_matched, rows);
    return stats;
}

/* One large backup of each format, made once. */
static const char *large_path(size_t format)
{
    static char paths[2][320];
    if (!paths[format][0]) {
        snprintf(paths[format], sizeof paths[format], "%s/large-%zu", scratch_folder, format);
        write_backup(paths[format], formats[format], 20240101, DATES, CODES);
    }
    return paths[format];
}

static facpool_reader *open_large(size_t format)
{
    const char *path = large_path(format);
    facpool_reader *reader = NULL;
    CHECK_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    return reader;
}

static void one_date_reads_the_pages_of_its_rows(void)
{
    for (size_t f = 0; f < 2; f++) {
        facpool_reader *reader = open_large(f);
        int64_t date = 20240101 + DATES / 2;
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.dates = &date;
        filter.n_dates = 1;
        facpool_query_stats stats = ask(reader, &filter, CODES);
        CHECK(stats.pages_total >= DATES * CODES / PAGE_ROWS);
        CHECK(stats.blocks_total >= 6);
        CHECK(stats.blocks_read <= 2);
        CHECK(stats.pages_read <= CODES / PAGE_ROWS + 3); /* both ends, and a block's border */
        CHECK(stats.bytes_read < (uint64_t)file_bytes(large_path(f)) / 10);
        facpool_reader_free(reader);
    }
}

static void one_code_reads_a_page_a_date(void)
{
    for (size_t f = 0; f < 2; f++) {
        facpool_reader *reader = open_large(f);
        const char *code = "002500";
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.codes = &code;
        filter.n_codes = 1;
        facpool_query_stats stats = ask(reader, &filter, DATES);
        CHECK(stats.blocks_read <= stats.blocks_total);
        CHECK(stats.pages_read <= DATES + 2 * stats.blocks_total);
        CHECK(stats.pages_read < stats.pages_total / 3);
        facpool_reader_free(reader);
    }
}

static void a_date_and_a_code_read_one_page(void)
{
    for (size_t f = 0; f < 2; f++) {
        facpool_reader *reader = open_large(f);
        int64_t date = 20240101 + 7;
        const char *code = "000003";
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.dates = &date;
        filter.n_dates = 1;
        filter.codes = &code;
        filter.n_codes = 1;
        facpool_query_stats stats = ask(reader, &filter, 1);
        CHECK_INT(stats.blocks_read, 1);
        CHECK_INT(stats.pages_read, 1);
        facpool_reader_free(reader);
    }
}

static void what_is_not_there_reads_nothing(void)
{
    for (size_t f = 0; f < 2; f++) {
        facpool_reader *reader = open_large(f);
        int64_t date = 20230101;
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.dates = &date;
        filter.n_dates = 1;
        facpool_query_stats stats = ask(reader, &filter, 0);
        CHECK_INT(stats.blocks_read, 0);
        CHECK_INT(stats.bytes_read, 0);
        const char *code = "0025005"; /* between two that are there */
        filter = (facpool_filter)FACPOOL_FILTER_INIT;
        filter.codes = &code;
        filter.n_codes = 1;
        CHECK_INT(ask(reader, &filter, 0).pages_read, 0);
        facpool_reader_free(reader);
    }
}

static void columns_that_are_not_asked_for_are_not_read(void)
{
    for (size_t f = 0; f < 2; f++) {
        facpool_reader *reader = open_large(f);
        facpool_filter filter = FACPOOL_FILTER_INIT;
        uint64_t all = ask(reader, &filter, DATES * CODES).bytes_read;
        const char *name = facpool_reader_factor_name(reader, 1);
        filter.factors = &name;
        filter.n_factors = 1;
        uint64_t one = ask(reader, &filter, DATES * CODES).bytes_read;
        filter.columns = FACPOOL_COLUMN_NONE;
        uint64_t bare = ask(reader, &filter, DATES * CODES).bytes_read;
        CHECK(all > 0 && one < all / 2 && bare < one && bare > 0);
        facpool_reader_free(reader);
    }
}

static void of_many_files_only_those_that_match_are_read(void)
{
    for (size_t f = 0; f < 2; f++) {
        char texts[FILES][340];
        const char *paths[FILES];
        for (size_t i = 0; i < FILES; i++) {
            snprintf(texts[i], sizeof texts[i], "%s/shard-%zu-%zu", scratch_folder, f, i);
            paths[i] = texts[i];
            write_backup(paths[i], formats[f], 20240101 + (int64_t)i * 10, 10, 50);
        }
        facpool_reader *reader = NULL;
        CHECK_OK(facpool_reader_open(&reader, paths, FILES, &err), err);
        int64_t date = 20240101 + 95;
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.dates = &date;
        filter.n_dates = 1;
        facpool_query_stats stats = ask(reader, &filter, 50);
        CHECK_INT(stats.blocks_total, FILES);
        CHECK_INT(stats.blocks_read, 1);
        CHECK(stats.bytes_read <= (uint64_t)file_bytes(paths[9]));
        /* Proof from outside: the others' rows may be damaged, and nobody notices. */
        for (size_t i = 0; i < FILES; i++) {
            FILE *file = fopen(paths[i], "r+b");
            CHECK(file != NULL);
            CHECK(i == 9 || (fseek(file, (long)file_bytes(paths[i]) / 2, SEEK_SET) == 0 &&
                             fwrite("damage", 1, 6, file) == 6));
            CHECK(fclose(file) == 0);
        }
        ask(reader, &filter, 50);
        facpool_reader_free(reader);
    }
}

int main(void)
{
    if (!scratch_make("pruning")) {
        perror("a folder for the test");
        return EXIT_FAILURE;
    }
    RUN(one_date_reads_the_pages_of_its_rows);
    RUN(one_code_reads_a_page_a_date);
    RUN(a_date_and_a_code_read_one_page);
    RUN(what_is_not_there_reads_nothing);
    RUN(columns_that_are_not_asked_for_are_not_read);
    RUN(of_many_files_only_those_that_match_are_read);
    scratch_remove();
    return TEST_END();
}
