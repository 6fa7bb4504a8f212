/* Our part of the table of stores: one round of writing a row set (bench_rows.h) in each format and
 * asking what peers.py asks of the others. Prints a line of JSON a format, for peers.py to read. */
#include "bench.h"
#include "bench_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define APPEND_ROWS    65536
#define SLOW_QUESTIONS 2 /* of each kind to text, which is read whole for each; as in peers.py */

typedef struct answer {
    size_t n;
    double sum; /* of what is not NaN */
} answer;

static void add_value(answer *found, double value)
{
    found->sum += value == value ? value : 0.0;
}

/* ------------------------------------------------------------------ writing */

static void append_all(facpool_writer *writer, const bench_rows *rows)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const char **codes = bench_alloc(APPEND_ROWS * sizeof(*codes));
    const double *factors[ROW_FACTORS_MAX];

    for (size_t first = 0; first < rows->n; first += APPEND_ROWS) {
        facpool_rows part = FACPOOL_ROWS_INIT;
        part.n = rows->n - first < APPEND_ROWS ? rows->n - first : APPEND_ROWS;
        for (size_t i = 0; i < part.n; i++) {
            codes[i] = rows->codes[rows->code_ids[first + i]];
        }
        for (size_t k = 0; k < rows->n_factors; k++) {
            factors[k] = rows->factors[k] + first;
        }
        part.dates = rows->dates + first;
        part.codes = codes;
        part.timestamps = rows->timestamps + first;
        part.factor_columns = factors;
        BENCH_OK(facpool_writer_append(writer, &part, &err), err);
    }
    free(codes);
}

static double write_all(const bench_rows *rows, const char *path, const bench_format *format)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_writer *writer = NULL;
    double start = bench_now();

    backup.path = path;
    backup.format = format->name;
    BENCH_OK(facpool_writer_open(&writer, &backup, (const char *const *)rows->names,
                                 rows->n_factors, &err),
             err);
    append_all(writer, rows);
    BENCH_OK(facpool_writer_close(writer, &err), err);
    bench_sync_file(path);
    return bench_now() - start;
}

/* ------------------------------------------------------------------ asking */

/* Opens, asks, adds up every factor of every row found, closes; seconds. */
static double ask(const char *path, const facpool_filter *filter, answer *found)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    double start = bench_now();
    int more;

    BENCH_OK(facpool_reader_open(&reader, &path, 1, &err), err);
    BENCH_OK(facpool_query(reader, filter, &cursor, &err), err);
    while ((more = facpool_cursor_next_batch(cursor, &view, &err)) == 1) {
        found->n += view.n_rows;
        for (size_t k = 0; k < view.n_factors; k++) {
            for (size_t i = 0; i < view.n_rows; i++) {
                add_value(found, view.factors[k][i]);
            }
        }
    }
    BENCH_OK(more, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return bench_now() - start;
}

static double ask_question(const char *path, const bench_question *question, answer *found)
{
    const char *codes[2] = {question->codes[0], question->codes[1]};
    facpool_filter filter = FACPOOL_FILTER_INIT;

    filter.codes = codes;
    filter.n_codes = question->point ? 2 : 1;
    if (question->point) {
        filter.dates = &question->date;
        filter.n_dates = 1;
    }
    return ask(path, &filter, found);
}

/* The median over the questions of one kind; their answers are added up. The first is asked once
 * before, so that what is measured is warm. */
static double ask_kind(const bench_rows *rows, const char *path, bool point, size_t most,
                       answer *found)
{
    bench_series seconds = {0};
    answer ignored = {0};

    for (size_t i = 0; i < rows->n_questions && seconds.n < most; i++) {
        if (rows->questions[i].point != point) {
            continue;
        }
        if (seconds.n == 0) {
            (void)ask_question(path, &rows->questions[i], &ignored);
        }
        bench_add(&seconds, ask_question(path, &rows->questions[i], found));
    }
    return bench_median(&seconds);
}

/* The mean over the factors. */
static double scan_each(const bench_rows *rows, const char *path, answer *found)
{
    double seconds = 0.0;

    for (size_t k = 0; k < rows->n_factors; k++) {
        const char *name = rows->names[k];
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.factors = &name;
        filter.n_factors = 1;
        filter.columns = FACPOOL_COLUMN_NONE;
        seconds += ask(path, &filter, found);
    }
    return seconds / (double)rows->n_factors;
}

static void print_answer(const char *name, double seconds, const answer *found)
{
    printf(", \"%s_s\": %.9g, \"%s_rows\": %zu, \"%s_sum\": %.17g", name, seconds, name, found->n,
           name, found->sum);
}

static void measure_store(const bench_rows *rows, const char *dir, const bench_format *format)
{
    answer point = {0}, history = {0}, scan = {0};
    bool slow = format->point_ms == 0.0;
    size_t most = slow ? SLOW_QUESTIONS : QUESTIONS_MAX;
    char path[4096];
    double seconds;

    snprintf(path, sizeof(path), "%s/ours%s", dir, format->suffix);
    bench_remove(path);
    seconds = write_all(rows, path, format);
    printf("{\"store\": \"%s\", \"slow\": %s, \"write_s\": %.9g, \"bytes\": %llu", format->name,
           slow ? "true" : "false", seconds, (unsigned long long)bench_file_bytes(path));
    seconds = ask_kind(rows, path, true, most, &point);
    print_answer("point", seconds, &point);
    seconds = ask_kind(rows, path, false, most, &history);
    print_answer("history", seconds, &history);
    seconds = scan_each(rows, path, &scan);
    print_answer("scan", seconds, &scan);
    puts("}");
    fflush(stdout);
    bench_remove(path);
}

int bench_stores_round(const char *folder, const char *dir)
{
    bench_context context = {.dir = dir};
    bench_rows rows;

    bench_rows_load(&rows, folder);
    for (size_t i = 0; i < BENCH_FORMATS; i++) {
        if (bench_has_format(&context, &bench_formats[i])) {
            measure_store(&rows, dir, &bench_formats[i]);
        }
    }
    bench_rows_free(&rows);
    return EXIT_SUCCESS;
}
