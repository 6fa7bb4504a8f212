/* Judging a run that is over: its verdict, calls, report and result against the model. Used by
 * test_property.c alone. */
#ifndef FP_PROPERTY_JUDGE_H
#define FP_PROPERTY_JUDGE_H

#include "property_check.h"

static inline void check_calls(const run_plan *p, bool complete)
{
    const facpool_run_options *o = &p->options;
    bool grouped = o->group_by > FACPOOL_GROUP_NONE;
    for (size_t key = 0; key < p->w->n_keys; key++) {
        uint32_t calls = p->calls[key];
        if (!p->in_set[key] || (!p->to_run[key] && !grouped))
            CHECK_INT(calls, 0);
        if (p->to_run[key] && complete)
            CHECK(calls >= 1);
        fate f = fate_of(p->w, key, p->epoch);
        uint32_t attempts = o->attempts ? o->attempts : 1;
        uint32_t exactly = f.skips ? 1 : f.needs < attempts ? f.needs : attempts;
        if (p->to_run[key] && complete && o->fn)
            CHECK_INT(calls, exactly);
    }
    if (!grouped)
        return;
    /* A group is called whole where anything of it is left, else not at all. */
    const world *w = p->w;
    bool by_date = o->group_by == FACPOOL_GROUP_DATE;
    for (size_t g = 0; g < (by_date ? w->n_dates : w->n_codes); g++) {
        bool left = false;
        for (int pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < (by_date ? w->n_codes : w->n_dates); i++) {
                size_t key = by_date ? g * w->n_codes + i : i * w->n_codes + g;
                left = left || p->to_run[key];
                if (pass && p->in_set[key] && (!left || complete))
                    CHECK_INT(p->calls[key] > 0, left);
            }
    }
}

/* Adds what the run may have finished: every key has its old row or the new one. */
static inline void settle_key(const run_plan *p, key_state *now, size_t key, uint8_t status,
                              int32_t code, const double *first_factor)
{
    const key_state *after = &p->after[key];
    bool is_new = p->to_run[key] && status == after->status;
    if (is_new && status == FACPOOL_STATUS_FAILED)
        is_new = code == after->code;
    if (is_new && status == FACPOOL_STATUS_OK && first_factor)
        is_new = is_factor(p->w, key, p->epoch, 0, *first_factor);
    if (is_new)
        now[key] = *after;
}

static inline bool is_empty_file(const char *path)
{
    return file_bytes(path) == 0;
}

/* What the file holds after a run that ended early. */
static inline void settle_from_file(const run_plan *p, const char *path, key_state *now)
{
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    question q;
    int rc;
    rc = facpool_reader_open(&reader, &path, 1, &err);
    if (rc == FACPOOL_E_UNSUPPORTED && is_empty_file(path)) /* of lines, and none was written */
        return;
    CHECK_OK(rc, err);
    ask_all(p->w, &q);
    CHECK_OK(facpool_query(reader, &q.filter, &cursor, &err), err);
    facpool_row row = FACPOOL_ROW_INIT;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        size_t key = key_find(p->w, row.date, row.code);
        CHECK(key != SIZE_MAX);
        settle_key(p, now, key, (uint8_t)row.status, row.failure_code, row.factors);
    }
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
}

static inline void settle_from_result(const run_plan *p, const facpool_result *result,
                                      key_state *now)
{
    const uint8_t *status = facpool_result_status(result);
    for (size_t i = 0; i < p->n; i++)
        if (p->to_run[p->keys[i]] && status[i] == p->after[p->keys[i]].status)
            now[p->keys[i]] = p->after[p->keys[i]];
}

static inline void check_verdict(const run_plan *p, int rc, const facpool_report *report)
{
    const facpool_run_options *o = &p->options;
    bool any_fails = false;
    for (size_t key = 0; key < p->w->n_keys; key++)
        any_fails = any_fails || (p->to_run[key] && p->after[key].status == FACPOOL_STATUS_FAILED);
    bool may_cancel = p->cancel_at_call || p->cancel_at_progress;
    bool init_fails = p->fail_init && !p->is_job;
    if (rc == 0)
        CHECK_INT(report->not_run, 0);
    else if (rc == FACPOOL_E_CANCELLED)
        CHECK(may_cancel && report->not_run > 0);
    else
        CHECK_INT(rc, FACPOOL_E_TASK);
    if (rc == FACPOOL_E_TASK && !init_fails && o->on_error != FACPOOL_ON_ERROR_STOP) {
        uint64_t limit = o->stop_if_first_fail ? o->stop_if_first_fail : 100;
        CHECK(!o->no_stop_if_first_fail);
        CHECK(report->failed >= limit);
        /* What other workers had in hand when the limit was met may have gone well. */
        bool is_serial = o->executor == FACPOOL_EXECUTOR_SERIAL && !p->is_job;
        CHECK(!is_serial || report->ok + report->skipped < report->failed);
    }
    if (rc == FACPOOL_E_TASK && !init_fails)
        CHECK(any_fails && err.has_task);
    if (o->on_error == FACPOOL_ON_ERROR_STOP && any_fails && !may_cancel)
        CHECK_INT(rc, FACPOOL_E_TASK);
    if (!any_fails && !may_cancel && !init_fails)
        CHECK_INT(rc, 0);
}

static inline void check_report(const run_plan *p, const facpool_report *report,
                                const key_state *now, uint64_t torn)
{
    uint64_t n[6] = {0};
    for (size_t i = 0; i < p->n; i++) {
        const key_state *s = &now[p->keys[i]];
        if (p->to_run[p->keys[i]])
            n[s->epoch == p->epoch ? s->status : 0]++;
    }
    CHECK_INT(report->total, p->n);
    CHECK_INT(report->resumed, p->n_done);
    CHECK_INT(report->ok, n[FACPOOL_STATUS_OK]);
    CHECK_INT(report->skipped, n[FACPOOL_STATUS_SKIPPED]);
    CHECK_INT(report->failed, n[FACPOOL_STATUS_FAILED]);
    CHECK_INT(report->timeout + report->crashed, 0);
    CHECK_INT(report->not_run, n[FACPOOL_STATUS_NONE]);
    CHECK_INT(report->new_tasks, p->n_retry[FACPOOL_STATUS_NONE]);
    CHECK_INT(report->retry_failed, p->n_retry[FACPOOL_STATUS_FAILED]);
    CHECK_INT(report->retry_timeout, p->n_retry[FACPOOL_STATUS_TIMEOUT]);
    CHECK_INT(report->retry_crashed, p->n_retry[FACPOOL_STATUS_CRASHED]);
    bool has_backup = p->options.backup && !p->options.dry_run;
    uint64_t rows = has_backup ? report->ok + report->skipped + report->failed : 0;
    CHECK_INT(report->rows_written, rows);
    CHECK(report->rows_durable <= rows);
    if (p->backup.durability != FACPOOL_DURABILITY_NONE)
        CHECK_INT(report->rows_durable, rows);
    CHECK_INT(report->damaged_blocks, 0);
    CHECK_INT(report->tail_bytes_cut, torn);
    CHECK(report->n_slowest <= 10);
    check_report_failures(p, report, now);
}

static inline void check_result(const run_plan *p, const facpool_result *result,
                                const key_state *now, random_numbers *r)
{
    CHECK_INT(facpool_result_count(result), p->n);
    CHECK_INT(facpool_result_n_factors(result), p->w->n_factors);
    if (p->options.results == FACPOOL_RESULTS_DROP) {
        CHECK_INT(facpool_result_load(result, &err), FACPOOL_E_STATE);
        CHECK(!facpool_result_factor(result, 0) && !facpool_result_status(result));
        return;
    }
    CHECK_OK(facpool_result_load(result, &err), err);
    check_result_rows(p, result, now);
    check_result_failures(p, result, now);
    question q;
    facpool_cursor *cursor = NULL;
    ask_something(p->w, r, &q);
    /* A result answers for its own tasks alone. */
    key_state *of_set = calloc(p->w->n_keys, sizeof *of_set);
    for (size_t key = 0; key < p->w->n_keys; key++)
        if (p->in_set[key])
            of_set[key] = now[key];
    CHECK_OK(facpool_result_query(result, &q.filter, &cursor, &err), err);
    check_cursor(p->w, &q, of_set, cursor, r);
    free(of_set);
}

#endif
