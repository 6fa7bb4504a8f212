/* Rows for the store tests: made from a number, written through a sink, read back through a source,
 * and compared bit for bit. Included by test programs; everything is static. */
#ifndef FP_TEST_STORE_ROWS_H
#define FP_TEST_STORE_ROWS_H

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <unistd.h>

#include "store/sink.h"
#include "parent_folder.h"
#include "test.h"

#define ROW_FACTORS 3

typedef struct row {
    int64_t date;
    char code[FP_CODE_MAX_BYTES + 1];
    int64_t timestamp;
    int status;
    int32_t failure_code;
    char message[64];
    double factors[ROW_FACTORS];
} row;

typedef struct rows {
    row *at;
    size_t n;
    size_t capacity;
    size_t corrupt_blocks; /* met while reading */
} rows;

__attribute__((unused)) static void rows_free(rows *r)
{
    free(r->at);
    *r = (rows){0};
}

__attribute__((unused)) static row *rows_add(rows *r)
{
    if (r->n == r->capacity) {
        r->capacity = r->capacity ? r->capacity * 2 : 64;
        r->at = realloc(r->at, r->capacity * sizeof *r->at);
        if (!r->at)
            abort();
    }
    row *added = &r->at[r->n++];
    memset(added, 0, sizeof *added);
    return added;
}

/* Row i of `n_codes` codes a date: values of all kinds, the odd ones among them. */
__attribute__((unused)) static row row_of(size_t i, size_t n_codes, int status)
{
    row r;
    memset(&r, 0, sizeof r);
    r.date = 20240101 + (int64_t)(i / n_codes);
    snprintf(r.code, sizeof r.code, "%06zu", i % n_codes);
    r.timestamp = 1700000000000000 + (int64_t)i * 1000;
    r.status = status;
    if (status != FACPOOL_STATUS_OK) {
        r.failure_code = status == FACPOOL_STATUS_SKIPPED ? 0 : (int32_t)(i * 7919) - 1000000;
        if (i % 3)
            snprintf(r.message, sizeof r.message, "no bars for row %zu", i);
        return r;
    }
    r.factors[0] = (double)(i * 37 % 10007) / 100.0;
    r.factors[1] = sin((double)i) * 1e-3;
    r.factors[2] = i % 11 == 5 ? NAN : i % 13 == 7 ? -0.0 : i % 17 == 3 ? INFINITY : (double)i;
    return r;
}

/* The first n rows of 50 codes a date, all with one status. */
__attribute__((unused)) static rows rows_of_status(size_t n, int status)
{
    rows r = {0};
    for (size_t i = 0; i < n; i++)
        *rows_add(&r) = row_of(i, 50, status);
    return r;
}

__attribute__((unused)) static bool same_row(const row *a, const row *b)
{
    return a->date == b->date && strcmp(a->code, b->code) == 0 && a->timestamp == b->timestamp &&
           a->status == b->status && a->failure_code == b->failure_code &&
           strcmp(a->message, b->message) == 0 &&
           memcmp(a->factors, b->factors, sizeof a->factors) == 0;
}

__attribute__((unused)) static int compare_rows(const void *left, const void *right)
{
    const row *a = left, *b = right;
    if (a->date != b->date)
        return a->date < b->date ? -1 : 1;
    int order = strcmp(a->code, b->code);
    if (order)
        return order;
    return a->status - b->status;
}

__attribute__((unused)) static void rows_sort(rows *r)
{
    if (r->n)
        qsort(r->at, r->n, sizeof *r->at, compare_rows);
}

/* Whether every row of `part` is in `whole`, both sorted. */
__attribute__((unused)) static bool rows_are_among(const rows *part, const rows *whole)
{
    size_t at = 0;
    for (size_t i = 0; i < part->n; i++) {
        while (at < whole->n && compare_rows(&whole->at[at], &part->at[i]) < 0)
            at++;
        if (at == whole->n || !same_row(&whole->at[at], &part->at[i]))
            return false;
        at++; /* one row counts once */
    }
    return true;
}

__attribute__((unused)) static bool rows_are_same(const rows *a, const rows *b)
{
    return a->n == b->n && rows_are_among(a, b);
}

/* ------------------------------------------------------------------ writing */

/* Rows first .. first + n - 1, which are all ok or all not, as a sorted batch. `codes` must be
 * empty or kept from an earlier call. */
__attribute__((unused)) static int batch_of(fp_batch *batch, fp_codes *codes, const rows *r,
                                            size_t first, size_t n, facpool_error *err)
{
    bool ok = r->at[first].status == FACPOOL_STATUS_OK;
    int rc = fp_batch_init(batch, ok, ROW_FACTORS, codes, NULL, err);
    if (!rc)
        rc = fp_batch_reserve(batch, n, err);
    for (size_t i = 0; !rc && i < n; i++) {
        const row *from = &r->at[first + i];
        rc = fp_codes_intern(codes, from->code, strlen(from->code), &batch->code_ids[i]);
        batch->dates[i] = from->date;
        batch->timestamps[i] = from->timestamp;
        if (ok) {
            for (size_t f = 0; f < ROW_FACTORS; f++)
                batch->factors[f][i] = from->factors[f];
        } else {
            batch->statuses[i] = (uint8_t)from->status;
            batch->failure_codes[i] = from->failure_code;
            if (!rc)
                rc = fp_texts_add(&batch->messages, from->message, strlen(from->message));
        }
        batch->n_rows = i + 1;
    }
    if (!rc)
        rc = fp_codes_rank(codes);
    if (!rc)
        rc = fp_batch_sort(batch, err);
    return rc;
}

__attribute__((unused)) static int append_rows(fp_sink *sink, const rows *r, size_t first, size_t n,
                                               facpool_error *err)
{
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    fp_batch batch = {0};
    int rc = batch_of(&batch, &codes, r, first, n, err);
    if (!rc)
        rc = fp_sink_append(sink, &batch, err);
    fp_batch_free(&batch);
    fp_codes_free(&codes);
    return rc;
}

static const char *const row_names[] = {"price", "z", "rank"};

__attribute__((unused)) static facpool_backup_options options_for(const char *path, int mode)
{
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.mode = mode;
    return options;
}

__attribute__((unused)) static int open_sink(fp_sink **out, const facpool_backup_options *options,
                                             fp_sink_opening *opening, facpool_error *err)
{
    fp_schema wanted;
    int rc = fp_schema_init(&wanted, ROW_FACTORS, row_names, options->tag, err);
    if (rc)
        return rc;
    rc = fp_sink_open(out, options, &wanted, opening, err);
    fp_schema_free(&wanted);
    if (rc)
        return rc;
    rc = fp_sink_begin(*out, err);
    if (rc)
        (void)fp_sink_close(*out, NULL);
    return rc;
}

/* The same for who computes again what is damaged in the file. */
__attribute__((unused)) static int open_sink_of_all(fp_sink **out,
                                                    const facpool_backup_options *options,
                                                    fp_sink_opening *opening, facpool_error *err)
{
    uint64_t n_left = 0;
    int rc = open_sink(out, options, opening, err);
    if (rc || !opening->keeps_damage)
        return rc;
    rc = fp_sink_give_up(*out, NULL, &n_left, err);
    CHECK_INT(n_left, 0);
    if (rc)
        (void)fp_sink_close(*out, NULL);
    return rc;
}

/* Writes rows as blocks of `block_rows` and closes the file (or, without close, drops the process'
 * hold on it as a kill would: not possible from within, so the caller cuts the index off). */
__attribute__((unused)) static int write_rows(const facpool_backup_options *options, const rows *r,
                                              size_t block_rows, facpool_error *err)
{
    fp_sink *sink;
    fp_sink_opening opening = {0};
    int rc = open_sink_of_all(&sink, options, &opening, err);
    if (rc)
        return rc;
    for (size_t first = 0; !rc && first < r->n; first += block_rows) {
        size_t left = r->n - first;
        rc = append_rows(sink, r, first, left < block_rows ? left : block_rows, err);
    }
    int close_rc = fp_sink_close(sink, rc ? NULL : err);
    return rc ? rc : close_rc;
}

/* ------------------------------------------------------------------ reading */

typedef struct block_columns {
    int64_t *dates;
    uint32_t *codes;
    int64_t *timestamps;
    uint8_t *statuses;
    int32_t *failure_codes;
    double *factors[ROW_FACTORS];
} block_columns;

static void free_columns(block_columns *c)
{
    free(c->dates);
    free(c->codes);
    free(c->timestamps);
    free(c->statuses);
    free(c->failure_codes);
    for (size_t f = 0; f < ROW_FACTORS; f++)
        free(c->factors[f]);
}

static void make_columns(block_columns *c, size_t n)
{
    c->dates = malloc(n * sizeof *c->dates);
    c->codes = malloc(n * sizeof *c->codes);
    c->timestamps = malloc(n * sizeof *c->timestamps);
    c->statuses = malloc(n * sizeof *c->statuses);
    c->failure_codes = malloc(n * sizeof *c->failure_codes);
    for (size_t f = 0; f < ROW_FACTORS; f++)
        c->factors[f] = malloc(n * sizeof *c->factors[f]);
}

/* Reads columns of all pages at once; *c gives where they are. */
static int read_columns(const fp_source *source, fp_open_block *open, fp_read_context *context,
                        block_columns *c, fp_texts *messages, facpool_error *err)
{
    const fp_source_type *type = source->type;
    const fp_block *block = open->block;
    uint32_t n = block->n_pages;
    int rc = fp_source_copy(open, context, FP_COLUMN_DATE, 0, n, c->dates, sizeof *c->dates, err);
    if (!rc)
        rc = fp_source_copy(open, context, FP_COLUMN_CODE, 0, n, c->codes, sizeof *c->codes, err);
    if (!rc)
        rc = fp_source_copy(open, context, FP_COLUMN_TIMESTAMP, 0, n, c->timestamps,
                            sizeof *c->timestamps, err);
    for (uint32_t f = 0; !rc && block->all_ok && f < ROW_FACTORS; f++)
        rc = fp_source_copy(open, context, FP_COLUMN_FACTOR + f, 0, n, c->factors[f],
                            sizeof *c->factors[f], err);
    if (!rc && !block->all_ok)
        rc = fp_source_copy(open, context, FP_COLUMN_STATUS, 0, n, c->statuses, sizeof *c->statuses,
                            err);
    if (!rc && !block->all_ok)
        rc = fp_source_copy(open, context, FP_COLUMN_FAILURE_CODE, 0, n, c->failure_codes,
                            sizeof *c->failure_codes, err);
    for (uint32_t page = 0; !rc && !block->all_ok && page < n; page++)
        rc = type->read_messages(open, context, page, messages, err);
    return rc;
}

__attribute__((unused)) static int read_block(const fp_source *source, size_t i,
                                              fp_read_context *context, rows *out,
                                              facpool_error *err)
{
    fp_open_block *open;
    int rc = source->type->open_block(source, i, context, &open, err);
    if (rc)
        return rc;
    const fp_block *block = open->block;
    fp_texts messages = {0};
    block_columns columns, *c = &columns;
    make_columns(c, block->n_rows);
    rc = read_columns(source, open, context, c, &messages, err);
    for (size_t k = 0; !rc && k < block->n_rows; k++) {
        row *r = rows_add(out);
        r->date = c->dates[k];
        snprintf(r->code, sizeof r->code, "%s", fp_texts_at(open->codes, c->codes[k]));
        r->timestamp = c->timestamps[k];
        r->status = block->all_ok ? FACPOOL_STATUS_OK : c->statuses[k];
        if (block->all_ok) {
            for (size_t f = 0; f < ROW_FACTORS; f++)
                r->factors[f] = c->factors[f][k];
        } else {
            r->failure_code = c->failure_codes[k];
            snprintf(r->message, sizeof r->message, "%s", fp_texts_at(&messages, k));
        }
    }
    free_columns(c);
    fp_texts_free(&messages);
    source->type->close_block(open);
    return rc;
}

/* All rows that can be read, sorted. Blocks that are damaged are counted and left out. */
__attribute__((unused)) static int read_rows(const fp_source *source, fp_read_context *context,
                                             rows *out, facpool_error *err)
{
    *out = (rows){0};
    int failed = 0;
    for (size_t i = 0; !failed && i < source->n_blocks; i++) {
        size_t before = out->n;
        int rc = read_block(source, i, context, out, err);
        if (rc == FACPOOL_E_CORRUPT) {
            out->n = before;
            out->corrupt_blocks++;
        } else {
            failed = rc;
        }
    }
    if (failed)
        rows_free(out);
    rows_sort(out);
    return failed;
}

__attribute__((unused)) static int read_file(const char *path, rows *out, uint64_t *n_damaged,
                                             uint64_t *tail_bytes, facpool_error *err)
{
    fp_source *source;
    int rc = fp_source_open(&source, path, NULL, err);
    if (rc)
        return rc;
    fp_read_context context = {0};
    rc = fp_read_context_init(&context, err);
    if (!rc)
        rc = read_rows(source, &context, out, err);
    if (n_damaged)
        *n_damaged = source->n_damaged;
    if (tail_bytes)
        *tail_bytes = source->tail_bytes;
    fp_read_context_free(&context);
    fp_source_release(source);
    return rc;
}

/* The file has just these rows, and no damage. Sorts them. */
__attribute__((unused)) static void check_file(const char *path, rows *expected, facpool_error *err)
{
    rows found = {0};
    uint64_t n_damaged = 0, tail = 0;
    CHECK_OK(read_file(path, &found, &n_damaged, &tail, err), *err);
    rows_sort(expected);
    CHECK_INT(found.n, expected->n);
    CHECK(rows_are_same(&found, expected));
    CHECK_INT(n_damaged, 0);
    CHECK_INT(tail, 0);
    CHECK_INT(found.corrupt_blocks, 0);
    rows_free(&found);
}

/* ------------------------------------------------------------------ files */

static char test_folder[256];

__attribute__((unused)) static void make_folder(void)
{
    snprintf(test_folder, sizeof test_folder, "%s/facpool-store-XXXXXX", parent_folder());
    if (!mkdtemp(test_folder)) {
        perror("mkdtemp");
        exit(EXIT_FAILURE);
    }
}

__attribute__((unused)) static void remove_folder(void)
{
    DIR *folder = opendir(test_folder);
    if (!folder)
        return;
    char path[600];
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", test_folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlink(path);
    }
    closedir(folder);
    rmdir(test_folder);
}

/* A path in the test's folder, kept for the whole program. */
__attribute__((unused)) static const char *path_of(const char *name)
{
    static char paths[64][300];
    static size_t n;
    char *path = paths[n++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

typedef struct bytes {
    uint8_t *at;
    size_t n;
} bytes;

__attribute__((unused)) static bytes load_file(const char *path)
{
    bytes b = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return b;
    fseek(file, 0, SEEK_END);
    b.n = (size_t)ftell(file);
    rewind(file);
    b.at = malloc(b.n + 1);
    if (!b.at || fread(b.at, 1, b.n, file) != b.n)
        abort();
    fclose(file);
    return b;
}

__attribute__((unused)) static void save_file(const char *path, const uint8_t *at, size_t n)
{
    unlink(path); /* a file that is emptied and filled again would be flushed to the disk */
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(at, 1, n, file) != n || fclose(file))
        abort();
}

#endif
