/* The plain model that fuzz_calls.c holds the library against: a few keys, and for each file a
 * table of the row that each key has. Where something is under way, and for what a reader saw of
 * it, a key has several candidates, of which its row must be one. Every step of an input writes
 * values of its own, so that a row tells which step made it. */
#ifndef FP_FUZZ_CALLS_MODEL_H
#define FP_FUZZ_CALLS_MODEL_H

#include "bytes.h"
#include "scratch.h"

#include <facpool/facpool.h>
#include <math.h>

#define N_DATES        6
#define N_CODES        6
#define N_KEYS         (N_DATES * N_CODES) /* key = date's place * N_CODES + code's place */
#define N_FACTORS      2
#define N_FILES        4
#define CANDIDATES_MAX 6
#define MESSAGE_ROOM   48

static const int64_t key_dates[N_DATES] = {INT64_MIN, -1, 20240102, 20240103, 20240104, INT64_MAX};
static const char *const key_codes[N_CODES] = {"000001", "600000",   "A",
                                               "AA",     "\xc3\xa9", "\xf0\x9f\x98\x80"};
static const char *const factor_names[N_FACTORS] = {"ma5", "\xce\xb1"};
static const char *const tags[] = {NULL, "v1", "v2 \xe4\xb8\xad"};

/* ------------------------------------------------------------------ rows */

typedef struct key_row {
    uint8_t status; /* 0: none */
    bool speaks;
    uint32_t step; /* that made it */
    int32_t failure_code;
    int64_t earliest; /* timestamp */
    int64_t latest;
} key_row;

static inline int64_t date_of(size_t key)
{
    return key_dates[key / N_CODES];
}

static inline const char *code_of(size_t key)
{
    return key_codes[key % N_CODES];
}

static inline uint64_t hash_of(size_t key, uint32_t step, uint64_t salt)
{
    return mix_bits(mix_bits(salt) ^ mix_bits((uint64_t)step << 8 | key));
}

static inline double value_of(size_t key, uint32_t step, size_t factor)
{
    uint64_t h = hash_of(key, step, 100 + factor);
    if (factor == 0)
        return (double)(h % 1000000) / 100;
    return h % 16 == 0 ? NAN : h % 16 == 1 ? -INFINITY : (double)(int64_t)h * 1e-19;
}

static inline bool same_value(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static inline int32_t failure_code_of(size_t key, uint32_t step)
{
    return 1 + (int32_t)(hash_of(key, step, 7) % 1000000);
}

static inline void message_of(const key_row *row, size_t key, char text[MESSAGE_ROOM])
{
    text[0] = '\0';
    if (row->speaks)
        snprintf(text, MESSAGE_ROOM, "\xe4\xb8\x8d key %zu in step %u", key, row->step);
}

static inline key_row new_row(size_t key, uint32_t step, uint8_t status)
{
    key_row row = {.status = status, .step = step};
    if (status > FACPOOL_STATUS_SKIPPED) {
        row.failure_code = failure_code_of(key, step);
        row.speaks = hash_of(key, step, 8) % 2;
    }
    return row;
}

static inline int64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ------------------------------------------------------------------ candidates */

typedef struct candidates {
    uint8_t n;
    bool any; /* more than are kept */
    key_row rows[CANDIDATES_MAX];
} candidates;

static inline void add_candidate(candidates *c, const key_row *row)
{
    for (unsigned i = 0; i < c->n; i++) {
        key_row *known = &c->rows[i];
        if (known->step != row->step || known->status != row->status)
            continue;
        known->earliest = row->earliest < known->earliest ? row->earliest : known->earliest;
        known->latest = row->latest > known->latest ? row->latest : known->latest;
        return;
    }
    if (c->n == CANDIDATES_MAX)
        c->any = true;
    else
        c->rows[c->n++] = *row;
}

static inline candidates only(const key_row *row)
{
    candidates c = {.n = 1, .rows = {*row}};
    return c;
}

/* Of two rows in one file, the one that counts; NULL where the clock leaves it open. */
static inline const key_row *in_one_file(const key_row *old, const key_row *new_)
{
    if (!old->status || new_->status == FACPOOL_STATUS_OK)
        return new_;
    if (old->status == FACPOOL_STATUS_OK || new_->latest < old->earliest)
        return old;
    return new_->earliest >= old->latest ? new_ : NULL;
}

/* Of rows in two files: ok beats not ok, then the later timestamp, then the later path. */
static inline const key_row *in_two_files(const key_row *first, const key_row *second)
{
    bool first_ok = first->status == FACPOOL_STATUS_OK;
    bool second_ok = second->status == FACPOOL_STATUS_OK;
    if (!first->status || !second->status)
        return first->status ? first : second;
    if (first_ok != second_ok)
        return first_ok ? first : second;
    if (second->earliest >= first->latest)
        return second;
    return second->latest < first->earliest ? first : NULL;
}

static inline void merge_files(candidates *both, const candidates *second)
{
    candidates first = *both;
    *both = (candidates){.any = first.any || second->any};
    for (unsigned i = 0; i < first.n; i++)
        for (unsigned j = 0; j < second->n; j++) {
            const key_row *winner = in_two_files(&first.rows[i], &second->rows[j]);
            if (winner) {
                add_candidate(both, winner);
            } else {
                add_candidate(both, &first.rows[i]);
                add_candidate(both, &second->rows[j]);
            }
        }
}

/* ------------------------------------------------------------------ files */

typedef enum file_user { NOBODY, BY_WRITER, BY_RUN, BY_JOB } file_user;

typedef struct file_model {
    char path[256];
    const char *usual_format; /* by its suffix */
    const char *format;       /* of what is there */
    const char *tag;
    bool exists; /* a file of lines without a row is none */
    file_user user;
    uint64_t torn_bytes;
    candidates rows[N_KEYS];
} file_model;

static file_model files[N_FILES];
static uint32_t step; /* of the input */

static inline bool is_lines(const file_model *f)
{
    return strcmp(f->format, "json") == 0;
}

static inline void forget_rows(file_model *f)
{
    key_row none = {0};
    for (size_t key = 0; key < N_KEYS; key++)
        f->rows[key] = only(&none);
}

static inline void name_files(void)
{
    static const char *const formats[N_FILES] = {"binary", "json", "memory_map", "binary"};
    static const char *const names[N_FILES] = {"a.fpb", "b.jsonl", "c.arrow", "d.fpb"};
    for (int i = 0; i < N_FILES; i++) {
        files[i] = (file_model){.usual_format = formats[i], .format = formats[i]};
        snprintf(files[i].path, sizeof files[i].path, "%s/%s", scratch_folder, names[i]);
        unlink(files[i].path);
        forget_rows(&files[i]);
    }
}

/* A key without a row in a file that is not being written. */
static inline bool has_rows(const file_model *f)
{
    for (size_t key = 0; key < N_KEYS; key++)
        if (f->rows[key].n != 1 || f->rows[key].rows[0].status)
            return true;
    return false;
}

/* ------------------------------------------------------------------ questions */

typedef struct question {
    facpool_filter filter;
    int64_t date_min;
    int64_t date_max;
    const char *codes[N_CODES];
    candidates rows[N_KEYS];
    bool checks_times; /* else they are not known */
    bool seen[N_KEYS];
    size_t last_key; /* N_KEYS: none */
} question;

static inline void take_question(fuzz_bytes *b, question *q, const candidates *rows)
{
    uint8_t which = take_byte(b);
    *q = (question){.filter = FACPOOL_FILTER_INIT, .checks_times = true, .last_key = N_KEYS};
    memcpy(q->rows, rows, sizeof q->rows);
    q->filter.statuses = which % 4 == 0   ? FACPOOL_STATUS_ALL
                         : which % 4 == 1 ? 0
                                          : take_byte(b) & FACPOOL_STATUS_ALL;
    q->filter.order = which / 4 % 3;
    q->filter.copy = which / 12 % 2;
    if (which < 128)
        return;
    q->date_min = key_dates[take_below(b, N_DATES)];
    q->date_max = key_dates[take_below(b, N_DATES)];
    q->filter.date_min = &q->date_min;
    q->filter.date_max = &q->date_max;
    uint8_t wanted = take_byte(b);
    q->filter.codes = wanted & 128 ? q->codes : NULL;
    for (size_t i = 0; i < N_CODES && wanted & 128; i++)
        if (wanted >> i & 1)
            q->codes[q->filter.n_codes++] = key_codes[N_CODES - 1 - i];
}

static inline bool matches(const question *q, size_t key, const key_row *row)
{
    const facpool_filter *f = &q->filter;
    uint32_t statuses = f->statuses ? f->statuses : FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK);
    bool found = !f->codes;
    for (size_t i = 0; i < f->n_codes; i++)
        found = found || strcmp(f->codes[i], code_of(key)) == 0;
    return found && row->status && statuses & FACPOOL_STATUS_BIT(row->status) &&
           (!f->date_min || (date_of(key) >= *f->date_min && date_of(key) <= *f->date_max));
}

static inline size_t find_key(int64_t date, const char *code)
{
    for (size_t key = 0; key < N_KEYS; key++)
        if (date_of(key) == date && strcmp(code_of(key), code) == 0)
            return key;
    REQUIRE(false, "a row of (%lld, '%s'), which was never written", (long long)date, code);
}

static inline bool is_row(const facpool_row *given, size_t key, const key_row *row, bool times)
{
    char message[MESSAGE_ROOM];
    message_of(row, key, message);
    if (given->status != row->status || given->failure_code != row->failure_code ||
        strcmp(given->message, message) != 0 ||
        (times && (given->timestamp < row->earliest || given->timestamp > row->latest)))
        return false;
    REQUIRE(!given->factors == (row->status != FACPOOL_STATUS_OK), "factors of status %d",
            given->status);
    for (size_t f = 0; given->factors && f < N_FACTORS; f++)
        if (!same_value(given->factors[f], value_of(key, row->step, f)))
            return false;
    return true;
}

static inline void check_given(question *q, const facpool_row *given)
{
    size_t key = find_key(given->date, given->code);
    const candidates *c = &q->rows[key];
    bool found = c->any;
    for (unsigned i = 0; i < c->n && !found; i++)
        found = matches(q, key, &c->rows[i]) && is_row(given, key, &c->rows[i], q->checks_times);
    REQUIRE(found, "the row of key %zu, status %d, is none that it can have", key, given->status);
    REQUIRE(!q->seen[key], "key %zu is given twice", key);
    q->seen[key] = true;
    if (q->filter.order == FACPOOL_ORDER_KEY)
        REQUIRE(q->last_key == N_KEYS || key > q->last_key, "keys go down");
    q->last_key = key;
}

/* At the end: every key whose candidates all match was given. */
static inline void check_all_given(const question *q)
{
    for (size_t key = 0; key < N_KEYS; key++) {
        const candidates *c = &q->rows[key];
        bool must = !c->any;
        for (unsigned i = 0; i < c->n; i++)
            must = must && matches(q, key, &c->rows[i]);
        REQUIRE(!must || q->seen[key], "the row of key %zu is missing", key);
    }
}

/* Returns false at the end. */
static inline bool check_next(question *q, facpool_cursor *cursor)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    int rc = facpool_cursor_next(cursor, &row, &err);
    REQUIRE(rc >= 0, "%s", err.message);
    if (rc)
        check_given(q, &row);
    else
        check_all_given(q);
    return rc;
}

/* ------------------------------------------------------------------ what a file holds */

static inline void settle_key(candidates *c, size_t key, const facpool_row *given)
{
    for (unsigned i = 0; i < c->n; i++) {
        key_row row = c->rows[i];
        if (row.status && is_row(given, key, &row, true)) {
            row.earliest = row.latest = given->timestamp;
            *c = only(&row);
            return;
        }
    }
    REQUIRE(false, "the row of key %zu, status %d, is none that it can have", key, given->status);
}

/* Reads all of a file that nobody writes any more; from then on each key has one candidate. */
static inline void settle_file(file_model *f)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    bool seen[N_KEYS] = {false};
    const char *path = f->path;
    f->user = NOBODY;
    int rc = facpool_reader_open(&reader, &path, 1, &err);
    bool is_empty = is_lines(f) && file_bytes(path) == 0;
    REQUIRE(rc == (is_empty ? FACPOOL_E_UNSUPPORTED : 0), "%d: %s", rc, err.message);
    filter.statuses = FACPOOL_STATUS_ALL;
    if (!rc)
        REQUIRE(facpool_query(reader, &filter, &cursor, &err) == 0, "%s", err.message);
    while (cursor && (rc = facpool_cursor_next(cursor, &row, &err)) == 1) {
        size_t key = find_key(row.date, row.code);
        REQUIRE(!seen[key], "key %zu is there twice", key);
        seen[key] = true;
        settle_key(&f->rows[key], key, &row);
    }
    REQUIRE(rc == 0 || is_empty, "%s", err.message);
    key_row none = {0};
    for (size_t key = 0; key < N_KEYS; key++) {
        bool may_miss = f->rows[key].any;
        for (unsigned i = 0; i < f->rows[key].n; i++)
            may_miss = may_miss || !f->rows[key].rows[i].status;
        REQUIRE(seen[key] || may_miss, "the row of key %zu is lost", key);
        if (!seen[key])
            f->rows[key] = only(&none);
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    f->exists = !is_empty;
}

/* What a run or a writer may do to the file meets the rule: EXISTS, MISMATCH, BUSY, or nothing. */
static inline int expected_opening(const file_model *f, int32_t mode, const char *format,
                                   const char *tag)
{
    bool resumes = mode == FACPOOL_MODE_RESUME;
    bool other_format = format && strcmp(format, f->format) != 0;
    bool other_tag = (tag != NULL) != (f->tag != NULL) || (tag && strcmp(tag, f->tag) != 0);
    if (f->user != NOBODY)
        return FACPOOL_E_BUSY;
    if (!f->exists || mode == FACPOOL_MODE_OVERWRITE)
        return 0;
    if (!resumes)
        return FACPOOL_E_EXISTS;
    return other_format || other_tag ? FACPOOL_E_MISMATCH : 0;
}

/* Where somebody else writes, create finds that the file is there first, and a name that is not the
 * file's is told before the lock is tried. */
static inline bool is_expected(int rc, int expected)
{
    if (expected == FACPOOL_E_BUSY)
        return rc == FACPOOL_E_BUSY || rc == FACPOOL_E_EXISTS || rc == FACPOOL_E_MISMATCH;
    return rc == expected;
}

/* The file is the caller's now. */
static inline void take_file(file_model *f, int32_t mode, const char *format, const char *tag,
                             file_user user)
{
    if (!f->exists || mode == FACPOOL_MODE_OVERWRITE) {
        forget_rows(f);
        f->format = format ? format : f->usual_format;
        f->tag = tag;
    }
    f->exists = true;
    f->torn_bytes = 0;
    f->user = user;
}

#endif
