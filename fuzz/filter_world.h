/* The rows that fuzz_filter.c asks for: two backups, written in each of the three formats, and the
 * result of a run, next to plain tables of the same rows. Both backups have four blocks, ok and not
 * ok by turns, the first one longer than a page, in which failures are superseded by later ones and
 * by ok rows; they share most of their keys, so that asked together one's row beats the other's by
 * status, by time, and by path.
 */
#ifndef FP_FUZZ_FILTER_WORLD_H
#define FP_FUZZ_FILTER_WORLD_H

#include "bytes.h"
#include "scratch.h"

#include <facpool/facpool.h>
#include <math.h>

#define N_DATES   140
#define N_CODES   11
#define N_KEYS    (N_DATES * N_CODES) /* key = date's place * N_CODES + code's place: in key order */
#define N_FACTORS 3
#define N_BLOCKS  4
#define N_FILES   2
#define N_FORMATS 3

typedef struct stored_row {
    uint8_t status; /* 0: there is none */
    uint8_t file;
    uint8_t block;
    bool speaks; /* has a message */
    int32_t failure_code;
    int64_t timestamp;
} stored_row;

static const char *const factor_names[N_FACTORS] = {"ma5", "\xce\xb1", "z score"};

typedef struct world {
    int64_t dates[N_DATES];
    const char *codes[N_CODES];
    stored_row files[N_FILES][N_KEYS];           /* the row of each key that counts in that file */
    uint64_t ends[N_FORMATS][N_FILES][N_BLOCKS]; /* where blocks end */
    stored_row of_result[N_KEYS];
    facpool_reader *alone[N_FORMATS][N_FILES];
    facpool_reader *both[N_FORMATS][2]; /* the first file first, and last */
    facpool_result *result;
} world;

static world w;

/* ------------------------------------------------------------------ keys and values */

static inline void name_keys(void)
{
    static char longest[256];
    static const char *const codes[N_CODES - 1] = {
        "000001",       "000002",       "600000",          "A", "AA", "AAPL", "\xc3\xa9",
        "\xe4\xb8\xad", "\xee\x80\x80", "\xf0\x9f\x98\x80"};
    memset(longest, 'b', 255); /* between the ASCII ones and the rest */
    for (int i = 0, at = 0; i < N_CODES; i++)
        w.codes[i] = i == 6 ? longest : codes[at++];
    static const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, -20240101, -1, 0, 1};
    for (int i = 0; i < N_DATES; i++)
        w.dates[i] = i < 6             ? ends[i]
                     : i < N_DATES - 2 ? 20240101 + (i - 6) / 28 * 100 + (i - 6) % 28
                                       : INT64_MAX - (N_DATES - 1 - i);
}

static inline uint64_t hash_of(size_t key, uint64_t salt)
{
    return mix_bits(mix_bits(salt) + key);
}

/* Different for every row, those that are superseded included; now and then no number. */
static inline double value_of(size_t key, unsigned file, unsigned block, size_t factor)
{
    uint64_t h = hash_of(key, 100 + file * 16 + block * 4 + factor);
    if (factor == 0)
        return h % 16 == 0 ? NAN : (double)(h % 100000) / 100;
    return factor == 1 ? (h % 64 ? (double)(int64_t)h * 1e-7 : -INFINITY) : (double)(h % 5000);
}

static inline bool same_value(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static inline size_t message_of(const stored_row *row, size_t key, char text[64])
{
    if (!row->speaks)
        text[0] = '\0';
    else
        snprintf(text, 64, "\xe4\xb8\x8d %zu in %u.%u", key, row->file, row->block);
    return strlen(text);
}

/* ------------------------------------------------------------------ backups */

typedef struct columns {
    size_t n;
    int64_t dates[N_KEYS];
    const char *codes[N_KEYS];
    int64_t timestamps[N_KEYS];
    uint8_t statuses[N_KEYS];
    double factors[N_KEYS * N_FACTORS];
    int32_t failure_codes[N_KEYS];
    char texts[N_KEYS][64];
    const char *messages[N_KEYS];
} columns;

/* What block `block` of the file has for the key; false where nothing. Ok rows are final. */
static inline bool row_of_block(stored_row *row, size_t key, unsigned file, unsigned block,
                                const stored_row *before)
{
    uint64_t h = hash_of(key, 1000 + file * 10 + block);
    bool in_file = (key / N_CODES + file * 4) % 8 != 0;
    if (!in_file || before->status == FACPOOL_STATUS_OK || h % 8 >= (block == 0 ? 7 : 4))
        return false;
    *row = (stored_row){.file = (uint8_t)file, .block = (uint8_t)block};
    row->status = block % 2 ? (uint8_t)(2 + h / 8 % 4) : FACPOOL_STATUS_OK;
    row->timestamp = (int64_t)(1700000000000000 + block * 1000 + h / 64 % 2 * file);
    if (row->status > FACPOOL_STATUS_SKIPPED) {
        row->failure_code = (int32_t)(h >> 32);
        row->speaks = h / 128 % 2;
    }
    return true;
}

static inline void put_row(columns *c, const stored_row *row, size_t key)
{
    size_t i = c->n++;
    c->dates[i] = w.dates[key / N_CODES];
    c->codes[i] = w.codes[key % N_CODES];
    c->timestamps[i] = row->timestamp;
    c->statuses[i] = row->status;
    for (size_t f = 0; f < N_FACTORS; f++)
        c->factors[i * N_FACTORS + f] = value_of(key, row->file, row->block, f);
    c->failure_codes[i] = row->failure_code;
    c->messages[i] = message_of(row, key, c->texts[i]) ? c->texts[i] : NULL;
}

static inline void write_block(facpool_writer *writer, columns *c, unsigned file, unsigned block)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    c->n = 0;
    for (size_t key = 0; key < N_KEYS; key++) {
        stored_row row;
        if (!row_of_block(&row, key, file, block, &w.files[file][key]))
            continue;
        put_row(c, &row, key);
        w.files[file][key] = row;
    }
    rows.n = c->n;
    rows.dates = c->dates;
    rows.codes = c->codes;
    rows.timestamps = c->timestamps;
    rows.statuses = c->statuses;
    rows.factors = c->factors;
    rows.failure_codes = c->failure_codes;
    rows.messages = c->messages;
    REQUIRE(facpool_writer_append(writer, &rows, &err) == 0, "%s", err.message);
    REQUIRE(facpool_writer_sync(writer, &err) == 0, "%s", err.message);
}

/* Up to where a backup is filled. */
static inline uint64_t end_of(const char *path)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    facpool_cursor *cursor = NULL;
    facpool_reader *reader = NULL;
    int rc = facpool_reader_open(&reader, &path, 1, &err);
    if (!rc)
        rc = facpool_query(reader, NULL, &cursor, &err);
    if (!rc)
        rc = facpool_cursor_stats(cursor, &stats, &err);
    REQUIRE(rc == 0, "%s", err.message);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return stats.end_bytes;
}

static inline void write_file(const char *path, columns *c, int format, unsigned file)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_writer *writer = NULL;
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    memset(w.files[file], 0, sizeof w.files[file]);
    REQUIRE(facpool_writer_open(&writer, &options, factor_names, N_FACTORS, &err) == 0, "%s",
            err.message);
    for (unsigned block = 0; block < N_BLOCKS; block++) {
        write_block(writer, c, file, block);
        w.ends[format][file][block] = end_of(path);
    }
    REQUIRE(facpool_writer_close(writer, &err) == 0, "%s", err.message);
}

static inline facpool_reader *open_files(const char *const *paths, size_t n)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    REQUIRE(facpool_reader_open(&reader, paths, n, &err) == 0, "%s", err.message);
    return reader;
}

/* A union has its files in different formats. */
static inline void make_backups(void)
{
    static const char *const suffixes[N_FORMATS] = {".fpb", ".jsonl", ".arrow"};
    char paths[N_FORMATS][N_FILES][300];
    columns *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    for (int format = 0; format < N_FORMATS; format++)
        for (unsigned file = 0; file < N_FILES; file++) {
            char *path = paths[format][file];
            snprintf(path, sizeof paths[0][0], "%s/%u%s", scratch_folder, file, suffixes[format]);
            write_file(path, c, format, file);
            w.alone[format][file] = open_files((const char *const[]){path}, 1);
        }
    free(c);
    for (int format = 0; format < N_FORMATS; format++) {
        const char *first = paths[format][0], *second = paths[(format + 1) % N_FORMATS][1];
        w.both[format][0] = open_files((const char *const[]){first, second}, 2);
        w.both[format][1] = open_files((const char *const[]){second, first}, 2);
    }
}

/* ------------------------------------------------------------------ a result */

/* Every third key failed, one of seven of the others is skipped. */
static inline int compute(const facpool_task *task, double *factors, void *user)
{
    size_t key = task->index;
    (void)user;
    stored_row *row = &w.of_result[key];
    *row = (stored_row){.status = FACPOOL_STATUS_OK, .file = 3};
    for (size_t f = 0; f < N_FACTORS; f++)
        factors[f] = value_of(key, 3, 0, f);
    if (hash_of(key, 5) % 7 == 0) {
        row->status = FACPOOL_STATUS_SKIPPED;
        return FACPOOL_SKIP;
    }
    if (hash_of(key, 5) % 3)
        return 0;
    char text[64];
    row->status = FACPOOL_STATUS_FAILED;
    row->failure_code = 1 + (int32_t)(key % 50);
    row->speaks = key % 2;
    return message_of(row, key, text) ? facpool_task_fail(task, row->failure_code, text)
                                      : row->failure_code;
}

static inline void make_result(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = N_FACTORS;
    options.factor_names = factor_names;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.no_stop_if_first_fail = 1;
    REQUIRE(facpool_tasks_grid(&tasks, w.dates, N_DATES, w.codes, N_CODES, &err) == 0, "%s",
            err.message);
    REQUIRE(facpool_run(tasks, &options, &w.result, &err) == 0, "%s", err.message);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ beginning and end */

static inline void world_free(void)
{
    for (int format = 0; format < N_FORMATS; format++)
        for (int i = 0; i < 2; i++) {
            facpool_reader_free(w.alone[format][i]);
            facpool_reader_free(w.both[format][i]);
        }
    facpool_result_free(w.result);
}

/* Files are asked by those that have them open: their names are not needed any more, and nothing is
 * left behind however the program ends. */
static inline void world_make(void)
{
    name_keys();
    REQUIRE(scratch_make("fuzz-filter"), "no folder can be made");
    make_backups();
    scratch_remove();
    make_result();
    atexit(world_free);
}

#endif
