/* A small world for the tests of failing calls: tasks whose rows are known, a backup of some format
 * with them, and what has to hold of that backup whatever happened to it: it can be read, each of
 * its rows is right, and a resume completes it to the rows of an undisturbed run. */
#ifndef FP_FAIL_WORLD_H
#define FP_FAIL_WORLD_H

#include "executors.h"
#include "fail_each.h"

#define N_DATES   12
#define N_CODES   25
#define N_TASKS   (N_DATES * N_CODES)
#define N_FACTORS 3

/* Outputs begin as this, and are still this where a call gave nothing. */
#define UNTOUCHED(type) ((type *)(uintptr_t)0x5a5a)

static char path[512]; /* of the backup; its suffix says which format it has: see choose_format */
static char file_name[32];
static bool is_lines; /* a file that is its rows: without one it is as good as none */
static int64_t dates[N_DATES];
static char code_texts[N_CODES][16];
static const char *codes[N_CODES];

/* ------------------------------------------------------------------ what tasks do */

static inline int status_of(size_t index)
{
    return index % 17 == 3   ? FACPOOL_STATUS_FAILED
           : index % 19 == 5 ? FACPOOL_STATUS_SKIPPED
                             : FACPOOL_STATUS_OK;
}

static inline double factor_of(size_t index, size_t factor)
{
    return (double)(mix_bits(index * N_FACTORS + factor) % 1000000) / 7;
}

static inline int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    for (size_t f = 0; f < N_FACTORS; f++)
        factors[f] = factor_of(task->index, f);
    switch (status_of(task->index)) {
    case FACPOOL_STATUS_FAILED:
        return facpool_task_fail(task, 11, "a message that has to be kept somewhere");
    case FACPOOL_STATUS_SKIPPED:
        return FACPOOL_SKIP;
    default:
        return 0;
    }
}

static inline int compute_slice(const facpool_slice *slice, double *factors, void *user)
{
    (void)user;
    for (size_t i = 0; i < slice->n; i++) {
        size_t index = slice->indexes[i];
        for (size_t f = 0; f < N_FACTORS; f++)
            factors[i * N_FACTORS + f] = factor_of(index, f);
        if (status_of(index) == FACPOOL_STATUS_FAILED)
            facpool_slice_fail(slice, i, 11, "a message that has to be kept somewhere");
        else if (status_of(index) == FACPOOL_STATUS_SKIPPED)
            facpool_slice_skip(slice, i);
    }
    return 0;
}

static inline void make_axes(void)
{
    for (size_t d = 0; d < N_DATES; d++)
        dates[d] = 20240101 + (int64_t)d;
    for (size_t c = 0; c < N_CODES; c++) {
        snprintf(code_texts[c], sizeof code_texts[c], "%06zu", c * 31);
        codes[c] = code_texts[c];
    }
}

/* Made once: runs of it are what is tested. */
static facpool_tasks *tasks;

static inline size_t index_of(int64_t date, const char *code)
{
    size_t d = (size_t)(date - 20240101), c = (size_t)atoi(code) / 31;
    CHECK(d < N_DATES && c < N_CODES && strcmp(code, codes[c]) == 0);
    return d * N_CODES + c;
}

/* ------------------------------------------------------------------ the file afterwards */

/* Tasks may be lost with the worker processes that they were given to. */
static bool may_crash;

static inline bool is_right_status(size_t index, int status)
{
    return status == status_of(index) || (may_crash && status == FACPOOL_STATUS_CRASHED);
}

static inline size_t check_row(const facpool_row *row)
{
    size_t index = index_of(row->date, row->code);
    CHECK(is_right_status(index, row->status));
    for (size_t f = 0; row->factors && f < N_FACTORS; f++)
        CHECK(row->factors[f] == factor_of(index, f));
    return index;
}

/* There is no file, or one of lines that has none: of such a file nothing tells whose it is. All of
 * its rows may have been given up, which leaves spaces. */
static inline bool is_without_rows(void)
{
    size_t size = 0, n_blank = 0;
    uint8_t *bytes = file_read(path, &size);
    while (bytes && n_blank < size && (bytes[n_blank] == ' ' || bytes[n_blank] == '\n'))
        n_blank++;
    bool is_blank = !bytes || (is_lines && n_blank == size);
    free(bytes);
    return is_blank;
}

/* Rows of the backup, each right and given once. */
static inline size_t count_rows(void)
{
    uint8_t seen[N_TASKS] = {0};
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    const char *paths[] = {path};
    size_t n = 0;
    if (is_without_rows())
        return 0;
    int rc = facpool_reader_open(&reader, paths, 1, &err);
    CHECK_OK(rc, err);
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        size_t index = check_row(&row);
        CHECK(!seen[index]);
        seen[index] = 1;
        n++;
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return n;
}

/* Files of the folder other than the backup: a temporary one that was left behind. */
static inline size_t count_leftovers(void)
{
    size_t n = 0;
    DIR *folder = opendir(scratch_folder);
    CHECK(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        n += strstr(entry->d_name, ".tmp") != NULL;
    closedir(folder);
    return n;
}

static facpool_run_options run_options(int32_t executor)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = N_FACTORS;
    options.executor = executor;
    options.workers = 2;
    return options;
}

static facpool_backup_options backup_options(int32_t mode)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = mode;
    backup.queue_bytes = 1; /* blocks of 64 rows */
    return backup;
}

/* What is wrong in the file is a torn tail at most. */
static inline void check_soundness(void)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    if (is_without_rows())
        return;
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK_INT(report.damaged_blocks, 0);
}

/* Continues whatever is there, undisturbed; then every row is there once. */
static inline void complete_backup(void)
{
    facpool_run_options options = run_options(FACPOOL_EXECUTOR_SERIAL);
    facpool_backup_options backup = backup_options(FACPOOL_MODE_RESUME);
    facpool_result *result = NULL;
    options.backup = &backup;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_result_free(result);
    CHECK_INT(count_rows(), N_TASKS);
}

/* The finished part of a run, to be resumed. */
#define TORN_BYTES 9
static uint8_t *part_bytes; /* and the first few of them again */
static size_t part_size;

static inline void free_part(void)
{
    free(part_bytes);
    part_bytes = NULL;
}

static inline void make_part(void)
{
    free_part();
    facpool_run_options options = run_options(FACPOOL_EXECUTOR_SERIAL);
    facpool_backup_options backup = backup_options(FACPOOL_MODE_OVERWRITE);
    facpool_tasks *half = NULL;
    facpool_result *result = NULL;
    options.backup = &backup;
    /* The last date's tasks come later in the full set, so that indexes agree. */
    CHECK_OK(facpool_tasks_grid(&half, dates, N_DATES / 2, codes, N_CODES, &err), err);
    CHECK_OK(facpool_run(half, &options, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(half);
    uint8_t *bytes = file_read(path, &part_size);
    CHECK(bytes);
    part_bytes = malloc(part_size + TORN_BYTES);
    memcpy(part_bytes, bytes, part_size);
    memcpy(part_bytes + part_size, bytes, TORN_BYTES);
    free(bytes);
}

/* Puts the finished half there, `torn`: with its index torn; a file of lines gets the begin of one.
 * By calls that never fail. */
static inline void put_part(bool torn)
{
    int kind = pause_failing();
    size_t size = !torn ? part_size : is_lines ? part_size + TORN_BYTES : part_size - TORN_BYTES;
    bool written = file_write(path, part_bytes, size);
    go_on_failing(kind);
    CHECK(written);
}

static inline void remove_backup(void)
{
    int kind = pause_failing();
    unlink(path);
    go_on_failing(kind);
}

/* ------------------------------------------------------------------ beginning and end */

/* In which format backups are from now on. */
static inline void choose_format(const char *suffix)
{
    unlink(path);
    free_part();
    snprintf(file_name, sizeof file_name, "backup%s", suffix);
    snprintf(path, sizeof path, "%s", scratch_path(file_name));
    file_at_fault = file_name;
    is_lines = strcmp(suffix, ".jsonl") == 0;
}

static const char *const all_formats[] = {".fpb", ".jsonl", ".arrow"};
enum { N_FORMATS = 3 };

static inline bool begin(const char *name)
{
    if (!begin_failing(name))
        return false;
    choose_format(all_formats[0]);
    make_axes();
    return facpool_tasks_grid(&tasks, dates, N_DATES, codes, N_CODES, &err) == 0;
}

static inline void end_world(void)
{
    free_part();
    facpool_tasks_free(tasks);
}

#endif
