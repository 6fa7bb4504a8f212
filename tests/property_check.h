/* Comparing what the library gives, rows and results, with what the model says. Used by
 * test_property.c alone; every check ends the test through the harness. */
#ifndef FP_PROPERTY_CHECK_H
#define FP_PROPERTY_CHECK_H

#include "property_run.h"
#include "test.h"

static facpool_error err = FACPOOL_ERROR_INIT;

static inline int64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline void check_factor(const world *w, size_t key, const key_state *s, size_t factor,
                                double value)
{
    bool same = is_factor(w, key, s->epoch, factor, value);
    if (same)
        return;
    printf("  key %zu factor %zu (kind %d): %016llx, not %016llx\n", key, factor,
           w->factor_kinds[factor], (unsigned long long)bits_of(value),
           (unsigned long long)factor_bits(w, key, s->epoch, factor));
    CHECK(same);
}

/* ------------------------------------------------------------------ rows of a cursor */

/* A question and what the model answers. */
typedef struct question {
    facpool_filter filter;
    int64_t date_min;
    int64_t date_max;
    int64_t dates[6];
    char codes[6][256];
    const char *code_list[6];
    const char *factor_list[WORLD_FACTORS_MAX];
    size_t factors[WORLD_FACTORS_MAX]; /* numbers of those asked for */
    size_t n_factors;
    uint32_t statuses;
    bool has_all_columns;
} question;

static inline void ask_all(const world *w, question *q)
{
    *q = (question){.filter = FACPOOL_FILTER_INIT,
                    .statuses = FACPOOL_STATUS_ALL,
                    .n_factors = w->n_factors,
                    .has_all_columns = true};
    q->filter.statuses = FACPOOL_STATUS_ALL;
    for (size_t f = 0; f < w->n_factors; f++)
        q->factors[f] = f;
}

static inline int64_t some_date(const world *w, random_numbers *r)
{
    int64_t date = w->dates[random_below(r, (uint32_t)w->n_dates)];
    return random_chance(r, 80) ? date : make_date(r, random_below(r, 4));
}

static inline void ask_conditions(const world *w, random_numbers *r, question *q)
{
    facpool_filter *f = &q->filter;
    q->date_min = some_date(w, r);
    q->date_max = some_date(w, r);
    if (random_chance(r, 25))
        f->date_min = &q->date_min;
    if (random_chance(r, 25))
        f->date_max = &q->date_max;
    if (random_chance(r, 25)) {
        f->dates = q->dates;
        f->n_dates = random_below(r, 7);
        for (size_t i = 0; i < f->n_dates; i++)
            q->dates[i] = some_date(w, r);
    }
    if (random_chance(r, 30)) {
        f->codes = q->code_list;
        f->n_codes = random_below(r, 7);
        for (size_t i = 0; i < f->n_codes; i++) {
            q->code_list[i] = q->codes[i];
            if (random_chance(r, 80))
                snprintf(q->codes[i], 256, "%s", w->codes[random_below(r, (uint32_t)w->n_codes)]);
            else
                make_code(r, random_below(r, 3), q->codes[i]);
        }
    }
}

static inline void ask_something(const world *w, random_numbers *r, question *q)
{
    ask_all(w, q);
    facpool_filter *f = &q->filter;
    ask_conditions(w, r, q);
    if (random_chance(r, 40)) {
        shuffle(r, q->factors, w->n_factors);
        q->n_factors = random_between(r, 1, (uint32_t)w->n_factors);
        for (size_t i = 0; i < q->n_factors; i++)
            q->factor_list[i] = w->names[q->factors[i]];
        f->factors = q->factor_list;
        f->n_factors = q->n_factors;
    }
    f->statuses = random_chance(r, 40) ? 0 : random_bits(r) & FACPOOL_STATUS_ALL;
    q->statuses = f->statuses ? f->statuses : FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK);
    f->order = (int32_t)random_below(r, 3);
    if (random_chance(r, 20)) {
        f->columns = random_between(r, 1, 16);
        uint32_t key_columns = FACPOOL_COLUMN_DATE | FACPOOL_COLUMN_CODE |
                               FACPOOL_COLUMN_TIMESTAMP | FACPOOL_COLUMN_STATUS;
        q->has_all_columns = (f->columns & key_columns) == key_columns;
    }
}

static inline bool answers(const world *w, const question *q, size_t key, const key_state *s)
{
    const facpool_filter *f = &q->filter;
    int64_t date = key_date(w, key);
    if (!s->status || !(q->statuses & FACPOOL_STATUS_BIT(s->status)))
        return false;
    if ((f->date_min && date < *f->date_min) || (f->date_max && date > *f->date_max))
        return false;
    bool found = !f->dates;
    for (size_t i = 0; i < f->n_dates && !found; i++)
        found = f->dates[i] == date;
    if (!found)
        return false;
    found = !f->codes;
    for (size_t i = 0; i < f->n_codes && !found; i++)
        found = strcmp(f->codes[i], key_code(w, key)) == 0;
    return found;
}

/* What has been given of an answer so far. */
typedef struct answer {
    const world *w;
    const question *q;
    const key_state *states;
    uint8_t *seen; /* of each key */
    size_t n_seen;
    size_t last_key;
} answer;

static inline void check_key_row(answer *a, int64_t date, const char *code, int64_t timestamp,
                                 int status, int32_t failure_code, const char *message,
                                 size_t *key_out)
{
    size_t key = key_find(a->w, date, code);
    CHECK(key != SIZE_MAX);
    const key_state *s = &a->states[key];
    if (status != s->status)
        printf("  key %zu (%lld, '%s'): status %d, not %d\n", key, (long long)date, code, status,
               s->status);
    CHECK_INT(status, s->status);
    CHECK(answers(a->w, a->q, key, s));
    CHECK(!a->seen[key]);
    a->seen[key] = 1;
    if (a->q->filter.order == FACPOOL_ORDER_KEY && a->n_seen)
        CHECK(key > a->last_key);
    a->last_key = key;
    a->n_seen++;
    CHECK(timestamp >= s->low && timestamp <= s->high);
    if (status != FACPOOL_STATUS_OK) {
        char kept[WORLD_TEXT_MAX];
        message_kept(a->w, key, s, kept);
        CHECK_INT(failure_code, s->code);
        CHECK_TEXT(message, kept);
    }
    *key_out = key;
}

static inline void check_row(answer *a, const facpool_row *row)
{
    size_t key;
    check_key_row(a, row->date, row->code, row->timestamp, row->status, row->failure_code,
                  row->message, &key);
    CHECK_INT(row->n_factors, a->q->n_factors);
    CHECK((row->factors != NULL) == (row->status == FACPOOL_STATUS_OK));
    for (size_t f = 0; row->factors && f < row->n_factors; f++)
        check_factor(a->w, key, &a->states[key], a->q->factors[f], row->factors[f]);
}

static inline void copy_text(const int32_t *offsets, const char *bytes, size_t i, char *out)
{
    CHECK(offsets[i + 1] >= offsets[i] && offsets[i + 1] - offsets[i] < WORLD_TEXT_MAX);
    memcpy(out, bytes + offsets[i], (size_t)(offsets[i + 1] - offsets[i]));
    out[offsets[i + 1] - offsets[i]] = '\0';
}

static inline void check_view_row(answer *a, const facpool_batch_view *view, size_t i)
{
    char code[WORLD_TEXT_MAX], message[WORLD_TEXT_MAX] = "";
    size_t key;
    copy_text(view->code_offsets, view->code_bytes, i, code);
    int status = view->statuses[i];
    bool ok = status == FACPOOL_STATUS_OK;
    CHECK(ok || (!view->all_ok && view->failure_codes && view->message_offsets));
    if (view->message_offsets)
        copy_text(view->message_offsets, view->message_bytes, i, message);
    check_key_row(a, view->dates[i], code, view->timestamps[i], status,
                  view->failure_codes ? view->failure_codes[i] : 0, message, &key);
    for (size_t f = 0; f < view->n_factors; f++) {
        double value = view->factors[f][i];
        if (ok)
            check_factor(a->w, key, &a->states[key], a->q->factors[f], value);
        else
            CHECK(value != value);
    }
}

static inline void check_view(answer *a, const facpool_batch_view *view)
{
    uint32_t columns = a->q->filter.columns;
    CHECK(view->n_rows >= 1 && view->n_rows <= 65536);
    CHECK_INT(view->n_factors, a->q->n_factors);
    if (columns) {
        CHECK((view->dates != NULL) == ((columns & FACPOOL_COLUMN_DATE) != 0));
        CHECK((view->code_offsets != NULL) == ((columns & FACPOOL_COLUMN_CODE) != 0));
        CHECK((view->timestamps != NULL) == ((columns & FACPOOL_COLUMN_TIMESTAMP) != 0));
        CHECK((view->statuses != NULL) == ((columns & FACPOOL_COLUMN_STATUS) != 0));
    }
    if (a->q->has_all_columns) {
        for (size_t i = 0; i < view->n_rows; i++)
            check_view_row(a, view, i);
    } else {
        a->n_seen += view->n_rows; /* which keys they are can't be told */
    }
}

/* Reads a cursor to its end, by rows and batches as it comes, and frees it. */
static inline void check_cursor(const world *w, const question *q, const key_state *states,
                                facpool_cursor *cursor, random_numbers *r)
{
    answer a = {.w = w, .q = q, .states = states, .seen = calloc(w->n_keys, 1)};
    uint32_t batch_percent = !q->has_all_columns    ? 100
                             : random_chance(r, 50) ? 100
                             : random_chance(r, 50) ? 0
                                                    : 30;
    for (;;) {
        facpool_row row = FACPOOL_ROW_INIT;
        facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
        bool batch = random_chance(r, batch_percent);
        int rc = batch ? facpool_cursor_next_batch(cursor, &view, &err)
                       : facpool_cursor_next(cursor, &row, &err);
        CHECK_OK(rc, err);
        if (rc == 0)
            break;
        if (batch)
            check_view(&a, &view);
        else
            check_row(&a, &row);
    }
    size_t expected = 0;
    for (size_t key = 0; key < w->n_keys; key++)
        expected += answers(w, q, key, &states[key]);
    CHECK_INT(a.n_seen, expected);
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    CHECK_OK(facpool_cursor_stats(cursor, &stats, &err), err);
    CHECK_INT(stats.rows_matched, expected);
    CHECK_INT(stats.blocks_damaged, 0);
    CHECK(stats.blocks_read <= stats.blocks_total && stats.pages_read <= stats.pages_total);
    free(a.seen);
    facpool_cursor_free(cursor);
}

static inline void check_answer(const world *w, const question *q, const key_state *states,
                                facpool_reader *reader, random_numbers *r)
{
    facpool_cursor *cursor = NULL;
    CHECK_OK(facpool_query(reader, &q->filter, &cursor, &err), err);
    check_cursor(w, q, states, cursor, r);
}

/* ------------------------------------------------------------------ a result */

static inline void check_result_rows(const run_plan *p, const facpool_result *result,
                                     const key_state *states)
{
    const world *w = p->w;
    const uint8_t *status = facpool_result_status(result);
    const int64_t *dates = facpool_result_dates(result);
    CHECK(status && (dates || p->n == 0));
    for (size_t i = 0; i < p->n; i++) {
        size_t key = p->keys[i];
        CHECK_INT(status[i], states[key].status);
        CHECK_INT(dates[i], key_date(w, key));
        CHECK_TEXT(facpool_result_code(result, i), key_code(w, key));
    }
    CHECK(!facpool_result_code(result, p->n));
    for (size_t f = 0; f < w->n_factors; f++) {
        const double *column = facpool_result_factor(result, f);
        CHECK(column);
        for (size_t i = 0; i < p->n; i++) {
            const key_state *s = &states[p->keys[i]];
            if (s->status == FACPOOL_STATUS_OK)
                check_factor(w, p->keys[i], s, f, column[i]);
            else
                CHECK(column[i] != column[i]);
        }
    }
    CHECK(!facpool_result_factor(result, w->n_factors));
}

static inline void check_failure(const run_plan *p, const facpool_failure *failure, size_t index,
                                 const key_state *s)
{
    char kept[WORLD_TEXT_MAX];
    message_kept(p->w, p->keys[index], s, kept);
    CHECK_INT(failure->index, index);
    CHECK_INT(failure->date, key_date(p->w, p->keys[index]));
    CHECK_TEXT(failure->code, key_code(p->w, p->keys[index]));
    CHECK_INT(failure->status, s->status);
    CHECK_INT(failure->failure_code, s->code);
    CHECK_TEXT(failure->message, kept);
}

/* Failures by task order: all of them where rows can be had. */
static inline void check_result_failures(const run_plan *p, const facpool_result *result,
                                         const key_state *states)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const key_state *s = &states[p->keys[i]];
        if (s->status <= FACPOOL_STATUS_SKIPPED)
            continue;
        facpool_failure failure = FACPOOL_FAILURE_INIT;
        CHECK_OK(facpool_result_failure(result, n++, &failure, &err), err);
        check_failure(p, &failure, i, s);
    }
    CHECK_INT(facpool_result_n_failures(result), n);
    facpool_failure none = FACPOOL_FAILURE_INIT;
    CHECK_INT(facpool_result_failure(result, n, &none, &err), FACPOOL_E_INVALID);
}

/* The report's failures: the first of this run's, at most 20. */
static inline void check_report_failures(const run_plan *p, const facpool_report *report,
                                         const key_state *states)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n && n < 20; i++) {
        const key_state *s = &states[p->keys[i]];
        bool of_this_run = p->to_run[p->keys[i]] && s->epoch == p->epoch;
        if (s->status <= FACPOOL_STATUS_SKIPPED || !of_this_run)
            continue;
        CHECK(n < report->n_failures);
        check_failure(p, &report->failures[n++], i, s);
    }
    CHECK_INT(report->n_failures, n);
}

#endif
