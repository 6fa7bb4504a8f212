/* The small world of a crash test: tasks whose rows are known, and what a reader finds of them in a
 * backup, each row compared bit by bit. A case is chosen by a seed; every number in it follows from
 * that. Used by test_crash_states.c. */
#ifndef FP_CRASH_WORLD_H
#define FP_CRASH_WORLD_H

#include "crash_images.h"
#include "test.h"

#include <facpool/facpool.h>

#include <math.h>

#define TASKS_MAX   96
#define DATES_MAX   12
#define CODES_MAX   12
#define FACTORS_MAX 4

static facpool_error err = FACPOOL_ERROR_INIT;

/* ------------------------------------------------------------------ a case */

typedef enum file_format { FORMAT_BINARY, FORMAT_JSON, FORMAT_MEMORY_MAP, FORMATS } file_format;

static const char *const format_names[FORMATS] = {"binary", "json", "memory_map"};
static const char *const format_suffixes[FORMATS] = {".fpb", ".jsonl", ".arrow"};

typedef struct crash_world {
    uint64_t seed;
    file_format format;
    uint32_t n_dates;
    uint32_t n_codes;
    uint32_t n; /* tasks: number = date * n_codes + code */
    uint32_t n_factors;
    uint32_t flaky_percent;
    int32_t durability;
    uint32_t batch_rows;
    bool by_slices;
    int64_t clock_step_ns; /* of runs */
    char path[64];         /* of the backup that crashes are about */
    char source[64];       /* of what is converted into it */
    facpool_tasks *tasks;
} crash_world;

static crash_world world;

static inline int64_t date_of(size_t task)
{
    return 20240101 + (int64_t)(task / world.n_codes);
}

static inline const char *code_of(size_t task)
{
    static char texts[CODES_MAX][16];
    size_t c = task % world.n_codes;
    snprintf(texts[c], sizeof texts[c], "%06zu", c * 37);
    return texts[c];
}

static inline size_t task_of(int64_t date, const char *code)
{
    size_t d = (size_t)(date - 20240101), c = (size_t)atoi(code) / 37;
    CHECK(d < world.n_dates && c < world.n_codes);
    size_t task = d * world.n_codes + c;
    CHECK(strcmp(code, code_of(task)) == 0);
    return task;
}

static inline void make_tasks(void)
{
    int64_t dates[DATES_MAX];
    const char *codes[CODES_MAX];
    for (uint32_t d = 0; d < world.n_dates; d++)
        dates[d] = date_of((size_t)d * world.n_codes);
    for (uint32_t c = 0; c < world.n_codes; c++)
        codes[c] = code_of(c);
    CHECK_OK(facpool_tasks_grid(&world.tasks, dates, world.n_dates, codes, world.n_codes, &err),
             err);
}

/* Files of one row to files of some dozens of kilobytes, written in few or many pieces. */
static inline void choose_world(uint64_t seed, file_format format)
{
    static const uint32_t batch_rows[] = {1, 2, 3, 5, 8, 16};
    static const int64_t steps_ms[] = {1, 3, 11, 40, 120};
    random_numbers r = {seed};
    world = (crash_world){.seed = seed, .format = format};
    world.n_dates = random_between(&r, 1, 8);
    world.n_codes = random_between(&r, 1, 8);
    world.n = world.n_dates * world.n_codes;
    world.n_factors = random_between(&r, 1, FACTORS_MAX);
    world.flaky_percent = random_chance(&r, 50) ? random_below(&r, 40) : 0;
    world.durability = (int32_t)random_between(&r, 1, 3);
    world.batch_rows = batch_rows[random_below(&r, 6)];
    world.by_slices = random_chance(&r, 40);
    world.clock_step_ns = steps_ms[random_below(&r, 5)] * 1000000;
    snprintf(world.path, sizeof world.path, DISK_FOLDER "rows%s", format_suffixes[format]);
    snprintf(world.source, sizeof world.source, DISK_FOLDER "source%s",
             format_suffixes[random_below(&r, FORMATS)]);
    make_tasks();
}

/* ------------------------------------------------------------------ rows */

/* Rows of generation 0 are in a file that is to be replaced, those of generation 1 replace them. */
#define GENERATIONS 2

/* Which row of a task it is: a failure may be followed by a final one, never the other way round.
 */
typedef enum row_version { ROW_NONE, ROW_FAILED, ROW_FINAL } row_version;

static inline uint64_t hash_of(int generation, size_t task, uint64_t what)
{
    return mix_bits(world.seed + mix_bits(what * 1000003 + task * 16 + (uint64_t)generation));
}

/* Some tasks fail in the first run of a case only (epoch 0), some always. */
static inline int status_of(int generation, size_t task, uint32_t epoch)
{
    uint64_t roll = hash_of(generation, task, 1) % 100;
    if (roll < 8)
        return FACPOOL_STATUS_SKIPPED;
    if (roll < 16)
        return FACPOOL_STATUS_FAILED;
    bool is_flaky = hash_of(generation, task, 2) % 100 < world.flaky_percent;
    return is_flaky && epoch == 0 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
}

static inline row_version version_of(int status)
{
    return status == FACPOOL_STATUS_FAILED ? ROW_FAILED : ROW_FINAL;
}

static inline double factor_of(int generation, size_t task, size_t factor)
{
    uint64_t h = hash_of(generation, task, 10 + factor);
    switch (factor) {
    case 1:
        return (double)(h % 100000) / 100;
    case 2:
        return h % 20 ? (double)(h % 3000) : (double)NAN;
    default:
        return (double)(h >> 11) / 9007199254740992.0 - 0.5;
    }
}

static inline int failure_of(int generation, size_t task)
{
    return (int)task + 1 + 1000 * generation;
}

static inline bool is_row_of(int generation, const facpool_row *row, size_t task)
{
    if (row->status == FACPOOL_STATUS_FAILED)
        return status_of(generation, task, 0) == FACPOOL_STATUS_FAILED &&
               row->failure_code == failure_of(generation, task) &&
               strcmp(row->message, "was told to") == 0 && !row->factors;
    if (row->status != status_of(generation, task, 1))
        return false;
    for (size_t f = 0; row->factors && f < world.n_factors; f++) {
        double expected = factor_of(generation, task, f);
        if (memcmp(&row->factors[f], &expected, sizeof expected) != 0)
            return false;
    }
    return (row->factors != NULL) == (row->status == FACPOOL_STATUS_OK);
}

/* ------------------------------------------------------------------ what is in a file */

typedef struct found_rows {
    int rc;          /* of opening the file for reading */
    bool is_blank;   /* it has no bytes, or zeros only */
    bool is_damaged; /* a part of it could not be read */
    uint32_t n;
    uint32_t n_final;
    bool may_be[GENERATIONS]; /* all its rows are of this one */
    uint8_t version[TASKS_MAX];
    int64_t stamps[TASKS_MAX]; /* of final rows */
} found_rows;

static inline void take_row(const facpool_row *row, found_rows *out)
{
    size_t task = task_of(row->date, row->code);
    CHECK_INT(row->n_factors, world.n_factors);
    CHECK_INT(out->version[task], ROW_NONE); /* a key has one row */
    out->version[task] = (uint8_t)version_of(row->status);
    out->n++;
    if (out->version[task] == ROW_FINAL) {
        out->n_final++;
        out->stamps[task] = row->timestamp;
    }
    for (int generation = 0; generation < GENERATIONS; generation++)
        if (!is_row_of(generation, row, task))
            out->may_be[generation] = false;
    CHECK(out->may_be[0] || out->may_be[1]);
}

/* What a power loss leaves of a file whose bytes were all on their way. */
static inline bool file_is_blank(const char *path)
{
    uint8_t bytes[4096] = {0};
    ssize_t n = 0;
    bool is = true;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    while (is && file >= 0 && (n = read(file, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++)
            is = is && bytes[i] == 0;
    if (file >= 0)
        close(file);
    return is && file >= 0 && n == 0;
}

/* Reads all rows of a file, whatever state it is in; every row is what was computed for its key. */
static inline void read_rows(const char *path, found_rows *out)
{
    *out = (found_rows){.may_be = {true, true}};
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    out->rc = facpool_reader_open(&reader, &path, 1, &err);
    out->is_blank = out->rc && file_is_blank(path);
    if (out->rc)
        return;
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) != 0) {
        if (rc == FACPOOL_E_CORRUPT)
            out->is_damaged = true;
        else
            CHECK_OK(rc, err);
        if (rc > 0)
            take_row(&row, out);
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
}

#endif
