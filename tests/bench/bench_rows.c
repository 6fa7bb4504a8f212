/* Saves and loads row sets (bench_rows.h), and makes them from a backup or from the synthetic work.
 * Called by bench_main.c and bench_stores.c. */
#include "bench_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define POINTS    40
#define HISTORIES 10

/* ------------------------------------------------------------------ files of a folder */

static FILE *open_column(const char *folder, const char *name, const char *how)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, how);
    if (!file) {
        bench_die("can't open %s: %s", path, strerror(errno));
    }
    return file;
}

static void close_column(FILE *file, const char *name)
{
    if (fclose(file) != 0) {
        bench_die("can't write %s: %s", name, strerror(errno));
    }
}

static void save_column(const char *folder, const char *name, const void *values, size_t size,
                        size_t n)
{
    FILE *file = open_column(folder, name, "wb");

    if (fwrite(values, size, n, file) != n) {
        bench_die("can't write %s: %s", name, strerror(errno));
    }
    close_column(file, name);
}

static void *load_column(const char *folder, const char *name, size_t size, size_t n)
{
    FILE *file = open_column(folder, name, "rb");
    void *values = bench_alloc(size * n);

    if (fread(values, size, n, file) != n) {
        bench_die("%s/%s is too short", folder, name);
    }
    close_column(file, name);
    return values;
}

static char *read_line(FILE *file, char *line, size_t size)
{
    if (!fgets(line, (int)size, file)) {
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(bench_alloc(size), text, size);
}

/* ------------------------------------------------------------------ save and load */

static void save_questions(const bench_rows *rows, const char *folder)
{
    FILE *file = open_column(folder, "questions", "w");

    for (size_t i = 0; i < rows->n_questions; i++) {
        const bench_question *question = &rows->questions[i];
        if (question->point) {
            fprintf(file, "point %lld %s %s\n", (long long)question->date, question->codes[0],
                    question->codes[1]);
        } else {
            fprintf(file, "history %s\n", question->codes[0]);
        }
    }
    close_column(file, "questions");
}

void bench_rows_save(const bench_rows *rows, const char *folder)
{
    FILE *meta = open_column(folder, "meta", "w");
    FILE *codes = open_column(folder, "codes", "w");
    char name[32];

    fprintf(meta, "%zu\n%zu\n", rows->n, rows->n_factors);
    for (size_t k = 0; k < rows->n_factors; k++) {
        fprintf(meta, "%s\n", rows->names[k]);
        snprintf(name, sizeof(name), "factor_%zu", k);
        save_column(folder, name, rows->factors[k], sizeof(double), rows->n);
    }
    for (size_t i = 0; i < rows->n_codes; i++) {
        fprintf(codes, "%s\n", rows->codes[i]);
    }
    close_column(meta, "meta");
    close_column(codes, "codes");
    save_column(folder, "dates", rows->dates, sizeof(int64_t), rows->n);
    save_column(folder, "timestamps", rows->timestamps, sizeof(int64_t), rows->n);
    save_column(folder, "code_ids", rows->code_ids, sizeof(uint32_t), rows->n);
    save_questions(rows, folder);
}

static void load_meta(bench_rows *rows, const char *folder)
{
    FILE *meta = open_column(folder, "meta", "r");
    char line[300];

    if (fscanf(meta, "%zu %zu ", &rows->n, &rows->n_factors) != 2 ||
        rows->n_factors > ROW_FACTORS_MAX) {
        bench_die("%s/meta is not one of ours", folder);
    }
    for (size_t k = 0; k < rows->n_factors; k++) {
        if (!read_line(meta, line, sizeof(line))) {
            bench_die("%s/meta is too short", folder);
        }
        rows->names[k] = copy_text(line);
    }
    close_column(meta, "meta");
}

static void load_codes(bench_rows *rows, const char *folder)
{
    FILE *codes = open_column(folder, "codes", "r");
    char line[300];

    while (read_line(codes, line, sizeof(line))) {
        if ((rows->n_codes & (rows->n_codes - 1)) == 0) { /* full at powers of two */
            size_t room = rows->n_codes > 0 ? 2 * rows->n_codes : 1;
            rows->codes = realloc(rows->codes, room * sizeof(*rows->codes));
            if (!rows->codes) {
                bench_die("out of memory for %zu codes", room);
            }
        }
        rows->codes[rows->n_codes++] = copy_text(line);
    }
    close_column(codes, "codes");
}

static void load_questions(bench_rows *rows, const char *folder)
{
    FILE *file = open_column(folder, "questions", "r");
    char kind[16];

    while (rows->n_questions < QUESTIONS_MAX && fscanf(file, "%15s", kind) == 1) {
        bench_question *question = &rows->questions[rows->n_questions++];
        long long date = 0;
        question->point = strcmp(kind, "point") == 0;
        if (question->point && fscanf(file, "%lld", &date) != 1) {
            bench_die("%s/questions is not one of ours", folder);
        }
        question->date = date;
        for (int i = 0; i < (question->point ? 2 : 1); i++) {
            if (fscanf(file, "%255s", question->codes[i]) != 1) {
                bench_die("%s/questions is not one of ours", folder);
            }
        }
    }
    close_column(file, "questions");
}

void bench_rows_load(bench_rows *rows, const char *folder)
{
    char name[32];

    memset(rows, 0, sizeof(*rows));
    load_meta(rows, folder);
    load_codes(rows, folder);
    rows->dates = load_column(folder, "dates", sizeof(int64_t), rows->n);
    rows->timestamps = load_column(folder, "timestamps", sizeof(int64_t), rows->n);
    rows->code_ids = load_column(folder, "code_ids", sizeof(uint32_t), rows->n);
    for (size_t k = 0; k < rows->n_factors; k++) {
        snprintf(name, sizeof(name), "factor_%zu", k);
        rows->factors[k] = load_column(folder, name, sizeof(double), rows->n);
    }
    load_questions(rows, folder);
}

void bench_rows_free(bench_rows *rows)
{
    for (size_t k = 0; k < rows->n_factors; k++) {
        free(rows->names[k]);
        free(rows->factors[k]);
    }
    for (size_t i = 0; i < rows->n_codes; i++) {
        free(rows->codes[i]);
    }
    free(rows->codes);
    free(rows->dates);
    free(rows->timestamps);
    free(rows->code_ids);
    memset(rows, 0, sizeof(*rows));
}

/* ------------------------------------------------------------------ make */

static void make_room(bench_rows *rows, size_t n)
{
    rows->dates = bench_alloc(n * sizeof(*rows->dates));
    rows->timestamps = bench_alloc(n * sizeof(*rows->timestamps));
    rows->code_ids = bench_alloc(n * sizeof(*rows->code_ids));
    for (size_t k = 0; k < rows->n_factors; k++) {
        rows->factors[k] = bench_alloc(n * sizeof(double));
    }
}

/* Rows are drawn anywhere; the second code of a point is that of a row nearby, on the same date. */
static void draw_questions(bench_rows *rows)
{
    for (size_t i = 0; i < POINTS + HISTORIES; i++) {
        bench_question *question = &rows->questions[rows->n_questions++];
        size_t row = bench_mix(i + 5) % rows->n, other = row;
        for (size_t near = row > 9 ? row - 9 : 0; near < row + 9 && near < rows->n; near++) {
            other = near != row && rows->dates[near] == rows->dates[row] ? near : other;
        }
        question->point = i < POINTS;
        question->date = rows->dates[row];
        snprintf(question->codes[0], sizeof(question->codes[0]), "%s",
                 rows->codes[rows->code_ids[row]]);
        snprintf(question->codes[1], sizeof(question->codes[1]), "%s",
                 rows->codes[rows->code_ids[other]]);
    }
}

static int compare_codes(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static uint32_t number_of(const bench_rows *rows, const char *code)
{
    char **found = bsearch(&code, rows->codes, rows->n_codes, sizeof(*rows->codes), compare_codes);

    if (!found) {
        bench_die("code %s came up late", code);
    }
    return (uint32_t)(found - rows->codes);
}

static bool next_row(facpool_cursor *cursor, facpool_row *row)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    int more = facpool_cursor_next(cursor, row, &err);

    BENCH_OK(more, err);
    return more == 1;
}

static facpool_cursor *cursor_by_key(facpool_reader *reader)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_cursor *cursor = NULL;

    filter.order = FACPOOL_ORDER_KEY;
    BENCH_OK(facpool_query(reader, &filter, &cursor, &err), err);
    return cursor;
}

/* Counts the rows and gathers the codes: all that occur, sorted. */
static void survey(bench_rows *rows, facpool_reader *reader)
{
    facpool_cursor *cursor = cursor_by_key(reader);
    facpool_row row = FACPOOL_ROW_INIT;
    size_t room = 0;

    while (next_row(cursor, &row)) {
        const char *code = row.code;
        rows->n++;
        if (bsearch(&code, rows->codes, rows->n_codes, sizeof(*rows->codes), compare_codes)) {
            continue;
        }
        if (rows->n_codes == room) {
            room = room > 0 ? 2 * room : 64;
            rows->codes = realloc(rows->codes, room * sizeof(*rows->codes));
            if (!rows->codes) {
                bench_die("out of memory for %zu codes", room);
            }
        }
        rows->codes[rows->n_codes++] = copy_text(code);
        qsort(rows->codes, rows->n_codes, sizeof(*rows->codes), compare_codes);
    }
    facpool_cursor_free(cursor);
}

static void gather(bench_rows *rows, facpool_reader *reader)
{
    facpool_cursor *cursor = cursor_by_key(reader);
    facpool_row row = FACPOOL_ROW_INIT;

    for (size_t i = 0; i < rows->n && next_row(cursor, &row); i++) {
        rows->dates[i] = row.date;
        rows->timestamps[i] = row.timestamp;
        rows->code_ids[i] = number_of(rows, row.code);
        for (size_t k = 0; k < rows->n_factors; k++) {
            rows->factors[k][i] = row.factors[k];
        }
    }
    facpool_cursor_free(cursor);
}

int bench_export_backup(const char *backup, const char *folder)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    bench_rows rows = {0};

    BENCH_OK(facpool_reader_open(&reader, &backup, 1, &err), err);
    rows.n_factors = facpool_reader_n_factors(reader);
    if (rows.n_factors > ROW_FACTORS_MAX) {
        bench_die("%s has %zu factors", backup, rows.n_factors);
    }
    for (size_t k = 0; k < rows.n_factors; k++) {
        rows.names[k] = copy_text(facpool_reader_factor_name(reader, k));
    }
    survey(&rows, reader);
    if (rows.n == 0) {
        bench_die("%s has no rows", backup);
    }
    make_room(&rows, rows.n);
    gather(&rows, reader);
    draw_questions(&rows);
    bench_rows_save(&rows, folder);
    facpool_reader_free(reader);
    bench_rows_free(&rows);
    return EXIT_SUCCESS;
}

/* Tasks of a chunk share a timestamp, as in a run. */
#define CHUNK_ROWS 512

int bench_export_synthetic(const char *folder, size_t n_dates, size_t n_codes)
{
    bench_rows rows = {.n_factors = BENCH_FACTORS};
    bench_work work;

    bench_work_init(&work, n_dates, n_codes, 2016);
    rows.n = work.n;
    rows.n_codes = n_codes;
    rows.codes = bench_alloc(n_codes * sizeof(*rows.codes));
    for (size_t i = 0; i < n_codes; i++) {
        rows.codes[i] = copy_text(work.codes[i]);
    }
    for (size_t k = 0; k < BENCH_FACTORS; k++) {
        rows.names[k] = copy_text(bench_factor_names[k]);
    }
    make_room(&rows, rows.n);
    for (size_t i = 0; i < rows.n; i++) {
        double factors[BENCH_FACTORS];
        rows.dates[i] = work.dates[i / n_codes];
        rows.code_ids[i] = (uint32_t)(i % n_codes);
        rows.timestamps[i] = 1700000000000000 + (int64_t)(i / CHUNK_ROWS) * 137 +
                             (int64_t)(bench_mix(i / CHUNK_ROWS) % 32);
        bench_factors_of(rows.dates[i], rows.codes[rows.code_ids[i]], factors);
        for (size_t k = 0; k < BENCH_FACTORS; k++) {
            rows.factors[k][i] = factors[k];
        }
    }
    draw_questions(&rows);
    bench_rows_save(&rows, folder);
    bench_rows_free(&rows);
    bench_work_free(&work);
    return EXIT_SUCCESS;
}
