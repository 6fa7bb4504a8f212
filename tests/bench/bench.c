/* The clock, the medians, the table and the files of the benchmarks: see bench.h. Called by every
 * group of figures; knows nothing of what is measured. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROWS_MAX 128

static bench_row table[ROWS_MAX];
static size_t table_rows;

void bench_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(EXIT_FAILURE);
}

void bench_say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("# ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

double bench_now(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        bench_die("no monotonic clock: %s", strerror(errno));
    }
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void *bench_alloc(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);

    if (!memory) {
        bench_die("out of memory for %zu bytes", bytes);
    }
    return memory;
}

/* ------------------------------------------------------------------ series */

void bench_add(bench_series *series, double value)
{
    if (series->n == BENCH_ROUNDS_MAX) {
        bench_die("more than %d rounds", BENCH_ROUNDS_MAX);
    }
    series->values[series->n++] = value;
}

static int compare_values(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

double bench_median(const bench_series *series)
{
    double sorted[BENCH_ROUNDS_MAX];
    size_t n = series->n;

    if (n == 0) {
        return 0.0;
    }
    memcpy(sorted, series->values, n * sizeof(double));
    qsort(sorted, n, sizeof(double), compare_values);
    return n % 2 == 1 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

double bench_min(const bench_series *series)
{
    double least = series->n > 0 ? series->values[0] : 0.0;

    for (size_t i = 1; i < series->n; i++) {
        least = series->values[i] < least ? series->values[i] : least;
    }
    return least;
}

double bench_max(const bench_series *series)
{
    double most = series->n > 0 ? series->values[0] : 0.0;

    for (size_t i = 1; i < series->n; i++) {
        most = series->values[i] > most ? series->values[i] : most;
    }
    return most;
}

double bench_ratio(const bench_series *a, const bench_series *b)
{
    bench_series ratios = {.n = a->n < b->n ? a->n : b->n};

    for (size_t i = 0; i < ratios.n; i++) {
        ratios.values[i] = a->values[i] / b->values[i];
    }
    return bench_median(&ratios);
}

/* ------------------------------------------------------------------ context and files */

bool bench_wanted(const bench_context *context, const char *id)
{
    size_t length = strlen(id);
    const char *at = context->only;

    if (!at) {
        return true;
    }
    while (*at) {
        size_t n = strcspn(at, ",");
        if (n == length && strncmp(at, id, n) == 0) {
            return true;
        }
        at += n + (at[n] == ',');
    }
    return false;
}

size_t bench_rounds(const bench_context *context, size_t rounds)
{
    return context->quick && rounds > 2 ? 2 : rounds;
}

char *bench_path(const bench_context *context, const char *name)
{
    size_t size = strlen(context->dir) + strlen(name) + 2;
    char *path = bench_alloc(size);

    snprintf(path, size, "%s/%s", context->dir, name);
    return path;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void bench_remove(const char *path)
{
    if (access(path, F_OK) != 0) {
        return;
    }
    if (nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS) != 0) {
        bench_die("can't remove %s: %s", path, strerror(errno));
    }
}

uint64_t bench_file_bytes(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

void bench_sync_file(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0 || fdatasync(file) != 0) {
        bench_die("can't sync %s: %s", path, strerror(errno));
    }
    close(file);
}

void bench_settle(const bench_context *context)
{
    int folder = open(context->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (folder < 0 || syncfs(folder) != 0) {
        bench_die("can't sync the file system of %s: %s", context->dir, strerror(errno));
    }
    close(folder);
}

/* ------------------------------------------------------------------ table */

static int digits_after_point(double value)
{
    if (value >= 100.0) {
        return 0;
    }
    if (value >= 10.0) {
        return 1;
    }
    return value >= 0.1 ? 2 : 3;
}

void bench_cell(char *cell, const bench_series *series, double scale, const char *unit)
{
    double middle = bench_median(series) * scale;
    int digits = digits_after_point(middle);

    if (series->n < 2) {
        snprintf(cell, BENCH_CELL, "%.*f%s", digits, middle, unit);
        return;
    }
    snprintf(cell, BENCH_CELL, "%.*f%s (%.*f to %.*f)", digits, middle, unit, digits,
             bench_min(series) * scale, digits, bench_max(series) * scale);
}

static const char *verdict_text(bench_verdict verdict)
{
    switch (verdict) {
    case BENCH_MET:
        return "yes";
    case BENCH_MISSED:
        return "NO";
    default:
        return "";
    }
}

void bench_report(const bench_row *row)
{
    if (table_rows == ROWS_MAX) {
        bench_die("more than %d rows in the table", ROWS_MAX);
    }
    table[table_rows++] = *row;
    bench_say("%s %s: ours %s, peer %s, ratio %s, target %s, met: %s", row->id, row->what,
              row->ours, row->peer, row->ratio, row->target, verdict_text(row->verdict));
}

void bench_print_table(void)
{
    puts("| # | what | ours | peer | ratio | target | met |");
    puts("| --- | --- | --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < table_rows; i++) {
        const bench_row *row = &table[i];
        printf("| %s | %s | %s | %s | %s | %s | %s |\n", row->id, row->what, row->ours, row->peer,
               row->ratio, row->target, verdict_text(row->verdict));
    }
}
