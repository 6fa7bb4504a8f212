/* The judge of jobs in processes of their own (real_job.h): what a backup holds after a job was
 * killed, stopped or starved is right to the bit, was submitted, and has every row that the job had
 * reported; and the resumed job ends as if nothing had ever happened. */
#ifndef FP_REAL_JUDGE_H
#define FP_REAL_JUDGE_H

#include "real_job.h"

/* ------------------------------------------------------------------ what a backup holds */

typedef struct stored_rows {
    uint32_t n;         /* rows given out: one a key */
    uint32_t n_final;   /* ok or skipped */
    uint32_t n_crashed; /* or timed out */
    uint64_t n_stored;  /* rows in the store, superseded failures too where it keeps them */
    uint8_t status[TASKS_MAX];
} stored_rows;

static inline bool is_final(uint8_t status)
{
    return status == FACPOOL_STATUS_OK || status == FACPOOL_STATUS_SKIPPED;
}

static inline size_t index_of(const job_page *s, int64_t date, const char *code)
{
    size_t d = (size_t)(date - 20200000), c = (size_t)atoi(code) / 7;
    CHECK(d < s->n_dates && c < s->n_codes);
    return d * s->n_codes + c;
}

/* What a file says of itself agrees with what was read. */
static inline void check_info(const char *path, stored_rows *out)
{
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    for (int status = 0; status < 6; status++)
        out->n_stored += info->rows[status];
    CHECK_INT(info->damaged_blocks, 0);
    CHECK_INT(info->rows[FACPOOL_STATUS_OK] + info->rows[FACPOOL_STATUS_SKIPPED], out->n_final);
    facpool_info_free(info);
}

/* A file of lines without a whole one. */
static inline bool has_no_line(const char *path)
{
    size_t size = 0;
    uint8_t *bytes = file_read(path, &size);
    bool found = bytes && memchr(bytes, '\n', size);
    free(bytes);
    return bytes && !found;
}

/* Ended before it had made the file, or (a json file is its rows) before it had a whole row. */
static inline bool has_no_rows_yet(int rc, const char *path)
{
    if (rc == FACPOOL_E_NOT_FOUND)
        return true;
    return (rc == FACPOOL_E_UNSUPPORTED || rc == FACPOOL_E_CORRUPT) && store->is_its_rows &&
           has_no_line(path);
}

/* A row says what its task does; or that its worker came to an end that was not the task's doing.
 */
static inline void check_row(const job_page *s, size_t index, const facpool_row *row)
{
    if (row->status == FACPOOL_STATUS_CRASHED) {
        CHECK(strstr(row->message, "SIGKILL") || strstr(row->message, "SIGTERM"));
    } else if (row->status == FACPOOL_STATUS_TIMEOUT) {
        CHECK(strstr(row->message, "took longer than"));
    } else {
        CHECK_INT(row->status, status_of(s, index));
        CHECK_INT(row->failure_code,
                  row->status == FACPOOL_STATUS_FAILED ? (long long)index + 1 : 0);
    }
    CHECK((row->factors != NULL) == (row->status == FACPOOL_STATUS_OK));
    for (size_t f = 0; row->factors && f < s->n_factors; f++)
        CHECK(same_double(row->factors[f], factor_of(s, index, f)));
}

/* Reads what is there, also while it is written, and checks every row of it. */
static inline void read_rows(const job_page *s, const char *path, stored_rows *out)
{
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    *out = (stored_rows){0};
    int rc = storage_open(&reader, &path, 1);
    if (has_no_rows_yet(rc, path))
        return;
    CHECK_OK(rc, err);
    filter.statuses = FACPOOL_STATUS_ALL;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        size_t index = index_of(s, row.date, row.code);
        CHECK_INT(out->status[index], 0);
        check_row(s, index, &row);
        out->status[index] = (uint8_t)row.status;
        out->n++;
        out->n_final += is_final((uint8_t)row.status);
        out->n_crashed += row.status > FACPOOL_STATUS_FAILED;
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
}

/* Reads what a run that is over has left. */
static inline void read_backup(const job_page *s, const char *path, stored_rows *out)
{
    read_rows(s, path, out);
    if (store->sink || out->n == 0)
        out->n_stored = out->n;
    else
        check_info(path, out);
}

/* ------------------------------------------------------------------ what a run did to it */

/* What was final before a run is not computed in it; with groups, what belongs to a group that was
 * wholly final. */
static inline void check_calls(const job_page *s, const stored_rows *before)
{
    bool by_date = s->group_by == FACPOOL_GROUP_DATE;
    bool grouped = s->group_by > FACPOOL_GROUP_NONE;
    uint8_t left[400] = {0};
    for (size_t i = 0; i < n_tasks(s); i++) {
        bool final = is_final(before->status[i]);
        if (!final)
            left[by_date ? i / s->n_codes : i % s->n_codes] = 1;
        if (final && !grouped)
            CHECK_INT(s->calls[i], 0);
    }
    for (size_t i = 0; grouped && i < n_tasks(s); i++)
        if (!left[by_date ? i / s->n_codes : i % s->n_codes])
            CHECK_INT(s->calls[i], 0);
}

/* No row went, none came that was not computed. A task may be blamed for its worker's end without
 * having been counted as called. */
static inline void check_growth(const job_page *s, const stored_rows *before,
                                const stored_rows *after)
{
    for (size_t i = 0; i < n_tasks(s); i++) {
        CHECK(after->status[i] || !before->status[i]);
        CHECK(is_final(after->status[i]) || !is_final(before->status[i]));
        if (after->status[i] != before->status[i] && after->status[i] <= FACPOOL_STATUS_FAILED)
            CHECK(s->calls[i] > 0);
    }
}

/* As many rows as the run had reported are there. Rows that took the place of failures don't count
 * where these are not kept. */
static inline void check_reported(const stored_rows *before, const stored_rows *after,
                                  uint64_t reported)
{
    uint64_t replaced = store->sink ? before->n - before->n_final : 0;
    CHECK(after->n_stored - before->n_stored + replaced >= reported);
}

/* Reads the backup, and judges all but how many rows there must be. */
static inline void read_after(const job_page *s, const char *path, const stored_rows *before,
                              stored_rows *after)
{
    read_backup(s, path, after);
    check_calls(s, before);
    check_growth(s, before, after);
}

/* ------------------------------------------------------------------ the end */

/* The results of the resumed job are those of an uninterrupted one. */
static inline void check_same_results(const job_page *s, const facpool_result *result,
                                      const facpool_result *whole)
{
    CHECK_OK(facpool_result_load(result, &err), err);
    const uint8_t *status = facpool_result_status(result), *wanted = facpool_result_status(whole);
    CHECK(status && wanted && memcmp(status, wanted, n_tasks(s)) == 0);
    for (size_t f = 0; f < s->n_factors; f++) {
        const double *column = facpool_result_factor(result, f);
        const double *uncut = facpool_result_factor(whole, f);
        CHECK(column && uncut);
        for (size_t i = 0; i < n_tasks(s); i++)
            if (status[i] == FACPOOL_STATUS_OK)
                CHECK(same_double(column[i], uncut[i]));
    }
}

/* The store ends closed, with every row of every task in it. */
static inline void check_complete(const job_page *s, const char *path)
{
    static stored_rows after;
    read_backup(s, path, &after);
    CHECK_INT(after.n, n_tasks(s));
    CHECK_INT(after.n_crashed, 0);
    if (store->sink)
        return;
    facpool_verify_report verified = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_verify(path, &verified, &err), err);
    CHECK(verified.closed);
    CHECK_INT(verified.tail_bytes, 0);
}

/* In another child, which is left in peace. */
static inline void resume_in_child(job_page *s, const char *path, const char *page_path)
{
    static stored_rows before, after;
    int alive;
    read_backup(s, path, &before);
    reset_counts(s);
    pid_t pid = spawn_child(path, page_path, &alive);
    int state = wait_child(pid, alive);
    CHECK(ended_with(state, 0));
    read_after(s, path, &before, &after);
    CHECK_INT(after.n, n_tasks(s));
}

/* Resumes to the end, in this process, now and then first in another child: everything is as if
 * nothing had happened. */
static inline void resume_to_end(job_page *s, random_numbers *r, const char *path,
                                 const char *page_path)
{
    static stored_rows before;
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL, *whole = NULL;
    s->task_us = 0;
    s->task_timeout_ms = 0;
    s->kill_kind = 0;
    if (random_chance(r, 20))
        resume_in_child(s, path, page_path);
    CHECK_OK(make_tasks(s, &tasks), err);
    read_backup(s, path, &before);
    reset_counts(s);
    s->workers = random_between(r, 1, WORKERS_MAX);
    CHECK_OK(run_job(s, path, tasks, &result), err);
    check_calls(s, &before);
    check_complete(s, path);
    s->executor = FACPOOL_EXECUTOR_SERIAL;
    CHECK_OK(run_job(s, NULL, tasks, &whole), err);
    check_same_results(s, result, whole);
    facpool_result_free(result);
    facpool_result_free(whole);
    facpool_tasks_free(tasks);
}

/* A store and what belongs to it go. */
static inline void remove_store(const char *path)
{
    static const char *const endings[] = {"",         "-wal",    "-shm",
                                          "-journal", "-writer", "-writer-journal"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char file[600];
        snprintf(file, sizeof file, "%s%s", path, endings[i]);
        unlink(file);
    }
}

#endif
