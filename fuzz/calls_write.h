/* Writers of fuzz_calls.c: opened in every mode, with the right and the wrong tag, format and
 * factors, and given rows of every status, also for keys that have one. Until a sync a key of the
 * file has any of its rows; then the one that counts. */
#ifndef FP_FUZZ_CALLS_WRITE_H
#define FP_FUZZ_CALLS_WRITE_H

#include "calls_run.h"

#define APPEND_ROWS 12

typedef struct writer_slot {
    facpool_writer *writer;
    key_row last[N_KEYS]; /* when all that was appended is there */
} writer_slot;

static writer_slot writers[N_FILES];

/* ------------------------------------------------------------------ writers */

static inline void open_writer(fuzz_bytes *b, size_t at)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_backup_options options;
    file_model *f = &files[at];
    facpool_writer *writer = NULL;
    take_backup_options(b, &options, f);
    const char *other[] = {"ma5", "ma10"};
    bool other_factors = take_rarely(b, 20);
    int expected = expected_opening(f, options.mode, options.format, options.tag);
    if (!expected && f->exists && options.mode == FACPOOL_MODE_RESUME && other_factors)
        expected = FACPOOL_E_MISMATCH;
    else if (!expected)
        other_factors = false;
    int rc = facpool_writer_open(&writer, &options, other_factors ? other : factor_names, N_FACTORS,
                                 &err);
    REQUIRE(is_expected(rc, expected) && !writer == (rc < 0), "%d, not %d: %s", rc, expected,
            err.message);
    if (rc)
        return;
    take_file(f, options.mode, options.format, options.tag, BY_WRITER);
    writers[at].writer = writer;
    for (size_t key = 0; key < N_KEYS; key++)
        writers[at].last[key] = f->rows[key].rows[0];
}

typedef struct appended {
    size_t n;
    size_t keys[APPEND_ROWS];
    key_row rows[APPEND_ROWS];
    bool own_times;
    bool refused; /* a key has an ok row */
} appended;

/* Skipped is final for runs, whatever comes behind it: that corner is left alone. */
static inline bool is_odd(const key_row *old, uint8_t status)
{
    return status != FACPOOL_STATUS_OK &&
           (old->status == FACPOOL_STATUS_SKIPPED ||
            (status == FACPOOL_STATUS_SKIPPED && old->status != FACPOOL_STATUS_NONE));
}

/* What is to be appended, and in `last` what then is there. */
static inline void take_rows(fuzz_bytes *b, appended *a, key_row *last)
{
    uint8_t how = take_byte(b);
    size_t n = take_below(b, APPEND_ROWS + 1);
    *a = (appended){.own_times = how % 2};
    for (size_t i = 0; i < n; i++) {
        size_t key = take_below(b, N_KEYS);
        uint8_t status = how % 4 < 2 ? FACPOOL_STATUS_OK : 1 + take_byte(b) % 5;
        bool has_ok = last[key].status == FACPOOL_STATUS_OK;
        if (is_odd(&last[key], status) || (has_ok && how < 240))
            continue;
        key_row row = new_row(key, step, status);
        row.earliest = row.latest = a->own_times ? 1000 + take_byte(b) % 4 : wall_us();
        a->keys[a->n] = key;
        a->rows[a->n++] = row;
        a->refused = a->refused || has_ok;
        const key_row *winner = in_one_file(&last[key], &row);
        last[key] = winner ? *winner : row;
    }
}

static inline int append(facpool_writer *writer, const appended *a, facpool_error *err)
{
    facpool_rows rows = FACPOOL_ROWS_INIT;
    int64_t dates[APPEND_ROWS], timestamps[APPEND_ROWS];
    const char *codes[APPEND_ROWS], *messages[APPEND_ROWS];
    uint8_t statuses[APPEND_ROWS];
    double factors[APPEND_ROWS * N_FACTORS];
    int32_t failure_codes[APPEND_ROWS];
    char texts[APPEND_ROWS][MESSAGE_ROOM];
    for (size_t i = 0; i < a->n; i++) {
        dates[i] = date_of(a->keys[i]);
        codes[i] = code_of(a->keys[i]);
        timestamps[i] = a->rows[i].earliest;
        statuses[i] = a->rows[i].status;
        failure_codes[i] = a->rows[i].failure_code;
        message_of(&a->rows[i], a->keys[i], texts[i]);
        messages[i] = a->rows[i].speaks ? texts[i] : NULL;
        for (size_t f = 0; f < N_FACTORS; f++)
            factors[i * N_FACTORS + f] = value_of(a->keys[i], a->rows[i].step, f);
    }
    rows.n = a->n;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = a->own_times ? timestamps : NULL;
    rows.statuses = statuses;
    rows.factors = factors;
    rows.failure_codes = failure_codes;
    rows.messages = messages;
    return facpool_writer_append(writer, &rows, err);
}

static inline void append_rows(fuzz_bytes *b, size_t at)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    writer_slot *w = &writers[at];
    appended a;
    key_row last[N_KEYS];
    memcpy(last, w->last, sizeof last);
    take_rows(b, &a, last);
    int rc = append(w->writer, &a, &err);
    REQUIRE(rc == (a.refused ? FACPOOL_E_EXISTS : 0), "%d: %s", rc, err.message);
    if (rc)
        return;
    int64_t now = wall_us();
    for (size_t i = 0; i < a.n; i++) {
        if (!a.own_times)
            a.rows[i].latest = now;
        if (last[a.keys[i]].step == step && !a.own_times)
            last[a.keys[i]].latest = now;
        add_candidate(&files[at].rows[a.keys[i]], &a.rows[i]);
    }
    memcpy(w->last, last, sizeof last);
}

/* All that was appended is there. */
static inline void settle_writer(size_t at)
{
    for (size_t key = 0; key < N_KEYS; key++)
        files[at].rows[key] = only(&writers[at].last[key]);
}

static inline void close_writer(size_t at)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    REQUIRE(facpool_writer_close(writers[at].writer, &err) == 0, "%s", err.message);
    writers[at].writer = NULL;
    settle_writer(at);
    settle_file(&files[at]);
}

static inline void step_writer(fuzz_bytes *b)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    size_t at = take_below(b, N_FILES);
    if (!writers[at].writer) {
        open_writer(b, at);
        if (!writers[at].writer)
            return;
    }
    uint8_t what = take_byte(b);
    if (what < 200)
        append_rows(b, at);
    if (what % 4 == 1) {
        REQUIRE(facpool_writer_sync(writers[at].writer, &err) == 0, "%s", err.message);
        settle_writer(at);
    } else if (what % 4 == 3) {
        close_writer(at);
    }
}

#endif
