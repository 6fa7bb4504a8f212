/* What the tests over all stores share: the list of stores (every file format, and the example's
 * SQLite sink), opening one for writing and for questions, and a small set of rows of every kind
 * with a model of what a store must hold. Everything goes through the public headers, so that a
 * store of a user's own is asked the same as the library's. */
#ifndef FP_STORAGE_SUITE_H
#define FP_STORAGE_SUITE_H

#include "scratch.h"
#include "test.h"

#include <stdatomic.h>

#include <facpool/facpool.h>
#include <facpool/sink.h>

#ifdef WITH_SQLITE
#include "sqlite_sink.h"
#endif

static facpool_error err = FACPOOL_ERROR_INIT;

/* ------------------------------------------------------------------ the stores */

typedef struct storage_case {
    const char *name;
    const char *suffix;
    const facpool_sink_type *sink; /* NULL: a file */
    bool keeps_nan_bits;           /* else a NaN comes back as some NaN */
    bool is_its_rows;              /* without a row it can be continued, but not asked */
} storage_case;

static const storage_case storage_cases[] = {
    {"binary", ".fpb", NULL, true, false},
    {"json", ".jsonl", NULL, false, true},
    {"memory_map", ".arrow", NULL, true, false},
#ifdef WITH_SQLITE
    {"sqlite", ".db", &sqlite_sink, false, false},
#endif
};

#define N_STORAGE_CASES (sizeof storage_cases / sizeof *storage_cases)

/* Of which the first are file formats. */
enum { N_FILE_FORMATS = 3 };

/* The one that is tested now: all below is about it. */
static const storage_case *store;

static inline facpool_backup_options storage_options(const char *path, int32_t mode)
{
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.mode = mode;
    options.sink = store->sink;
    return options;
}

static inline int storage_open(facpool_reader **out, const char *const *paths, size_t n_paths)
{
    if (store->sink)
        return facpool_reader_from_source(out, store->sink, NULL, paths, n_paths, &err);
    return facpool_reader_open(out, paths, n_paths, &err);
}

static inline facpool_reader *storage_reader(const char *path)
{
    facpool_reader *reader = NULL;
    CHECK_OK(storage_open(&reader, &path, 1), err);
    return reader;
}

/* A path that no test used before; the last eight stay valid. */
static inline const char *storage_path(void)
{
    static unsigned number;
    char name[64];
    snprintf(name, sizeof name, "store%u%s", number++, store->suffix);
    return scratch_path(name);
}

/* ------------------------------------------------------------------ rows of every kind */

#define SUITE_DATES    8
#define SUITE_CODES    10
#define SUITE_KEYS     (SUITE_DATES * SUITE_CODES)
#define SUITE_FACTORS  4
#define SUITE_MESSAGES 9

/* Keys are in key order: dates ascending, codes by bytes. */
static const int64_t suite_dates[SUITE_DATES] = {INT64_MIN, -20240101, -1,       0,
                                                 20240101,  20240102,  20241231, INT64_MAX};

static char suite_long_code[256]; /* of 255 bytes: see suite_begin */
static const char *const suite_codes[SUITE_CODES] = {" lead",
                                                     "000001",
                                                     "0000010",
                                                     "1",
                                                     "a\"b\\c\t\x7f",
                                                     "null",
                                                     "\xc3\xa9",
                                                     "\xe4\xb8\xad",
                                                     "\xf0\x9f\x98\x80\x01",
                                                     suite_long_code};

static const char *const suite_names[SUITE_FACTORS] = {"odd", "price \"in\" \\", "z,\n",
                                                       "\xe5\x9b\xa0\xe5\xad\x90"};

static char suite_messages[SUITE_MESSAGES][1100];

static inline void suite_begin(void)
{
    static const char *const texts[] = {"no bars",
                                        "",
                                        "\xe6\xb2\xa1\xe6\x9c\x89\xe6\x95\xb0\xe6\x8d\xae",
                                        "two\nlines, \"quoted\"",
                                        "C:\\data\\\t\x01\x1f\x7f",
                                        "{\"status\":\"ok\"}",
                                        " \xf0\x9d\x84\x9e "};
    memset(suite_long_code, '\0', sizeof suite_long_code);
    memset(suite_long_code, '\xf0', 1); /* behind all others */
    memcpy(suite_long_code, "\xf0\x9f\x99\x82", 4);
    memset(suite_long_code + 4, 'z', 251);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        snprintf(suite_messages[i], sizeof suite_messages[i], "%s", texts[i]);
    memset(suite_messages[7], 'm', 1024); /* the longest that is kept */
    memset(suite_messages[8], '"', 1024); /* every character of which json escapes */
}

static inline int64_t suite_date(size_t key)
{
    return suite_dates[key / SUITE_CODES];
}

static inline const char *suite_code(size_t key)
{
    return suite_codes[key % SUITE_CODES];
}

static inline size_t suite_key(int64_t date, const char *code)
{
    for (size_t key = 0; key < SUITE_KEYS; key++)
        if (suite_date(key) == date && strcmp(suite_code(key), code) == 0)
            return key;
    return SUITE_KEYS;
}

/* A row as it should come back. `round` tells a key's rows apart: which is there says who wrote
 * it. */
typedef struct suite_row {
    int status;
    int64_t timestamp; /* 0: any */
    int32_t failure_code;
    const char *message;
    double factors[SUITE_FACTORS];
} suite_row;

static inline uint64_t suite_hash(size_t key, unsigned round, uint64_t what)
{
    return mix_bits(mix_bits(key << 16 | round) + what);
}

/* Rows of a run: it can only fail tasks, and takes the time from a clock. */
#define SUITE_BY_RUN 32u

/* Rows of round 0 are of every status; what is not final is mostly ok in round 1, and all in 2. */
static inline int suite_status(size_t key, unsigned round)
{
    uint64_t roll = suite_hash(key, 0, 1) % 100;
    unsigned nth = round % SUITE_BY_RUN;
    bool is_final = roll < 70;
    if (is_final)
        return roll < 8 ? FACPOOL_STATUS_SKIPPED : FACPOOL_STATUS_OK;
    if (nth >= 2 || (nth == 1 && roll < 85))
        return FACPOOL_STATUS_OK;
    return FACPOOL_STATUS_FAILED + (round < SUITE_BY_RUN ? (int)(roll % 3) : 0);
}

static inline double suite_special(uint64_t h)
{
    static const uint64_t special[] = {
        UINT64_C(0x7ff8000000000000), UINT64_C(0xfff8000000000001), UINT64_C(0x7ff0000000000001),
        UINT64_C(0x7fffffffffffffff), UINT64_C(0xffffffffffffffff), UINT64_C(0x8000000000000000),
        UINT64_C(0x0000000000000000), UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000),
        UINT64_C(0x0000000000000001), UINT64_C(0x8000000000000001), UINT64_C(0x000fffffffffffff),
        UINT64_C(0x0010000000000000), UINT64_C(0x7fefffffffffffff), UINT64_C(0xffefffffffffffff),
        UINT64_C(0x3ff0000000000000), UINT64_C(0x43e0000000000000), UINT64_C(0x4340000000000001),
        UINT64_C(0x3fb999999999999a), UINT64_C(0x44b52d02c7e14af6), UINT64_C(0x3cb0000000000000)};
    double value;
    memcpy(&value, &special[h % (sizeof special / sizeof *special)], sizeof value);
    return value;
}

static inline suite_row suite_row_of(size_t key, unsigned round)
{
    suite_row row = {.status = suite_status(key, round), .message = ""};
    if (round < SUITE_BY_RUN) /* every second round has the times of the one before */
        row.timestamp = INT64_C(1700000000000000) + (int64_t)(suite_hash(key, 0, 2) % 1000003) +
                        INT64_C(10000000) * (round / 2);
    uint64_t h = suite_hash(key, round, 3);
    if (row.status != FACPOOL_STATUS_OK) {
        static const int32_t codes[] = {7, -1, INT32_MAX, INT32_MIN, 4, 1000000};
        row.failure_code = row.status == FACPOOL_STATUS_SKIPPED ? 0 : codes[h % 6];
        row.message =
            row.status == FACPOOL_STATUS_SKIPPED ? "" : suite_messages[h / 6 % SUITE_MESSAGES];
        return row;
    }
    uint64_t bits = h & UINT64_C(0xbfffffffffffffff); /* any number, but for the largest */
    row.factors[0] = suite_special(h);
    row.factors[1] = (double)(h % 4000000) / 100 - 1000;
    memcpy(&row.factors[2], &bits, sizeof bits);
    row.factors[3] = (double)(h % 5000);
    return row;
}

/* ------------------------------------------------------------------ the model */

/* Which round's row of each key a store holds. */
typedef struct suite_model {
    int8_t round[SUITE_KEYS]; /* -1: none */
} suite_model;

static inline void suite_model_clear(suite_model *model)
{
    memset(model->round, -1, sizeof model->round);
}

/* The model once the rows of a round are written for keys first, first + step, ... up to `end`. */
static inline void suite_model_add(suite_model *model, size_t first, size_t end, size_t step,
                                   unsigned round)
{
    for (size_t key = first; key < end; key += step)
        model->round[key] = (int8_t)round;
}

static inline bool same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (!store->keeps_nan_bits && a != a && b != b);
}

/* The row is that of its round, with the factors asked for (NULL: all). */
static inline void check_suite_row(const facpool_row *row, const suite_row *expected,
                                   const size_t *factors, size_t n)
{
    CHECK_INT(row->status, expected->status);
    if (expected->timestamp)
        CHECK_INT(row->timestamp, expected->timestamp);
    CHECK_INT(row->failure_code, expected->failure_code);
    CHECK_TEXT(row->message, expected->message);
    CHECK_INT(row->n_factors, n);
    CHECK((row->factors != NULL) == (row->status == FACPOOL_STATUS_OK));
    for (size_t f = 0; row->factors && f < n; f++) {
        double wanted = expected->factors[factors ? factors[f] : f];
        if (!same_double(row->factors[f], wanted))
            printf("  (%lld, '%s') factor %zu: %.17g, not %.17g\n", (long long)row->date, row->code,
                   f, row->factors[f], wanted);
        CHECK(same_double(row->factors[f], wanted));
    }
}

static inline bool suite_matches(const facpool_filter *filter, size_t key, int status)
{
    int64_t date = suite_date(key);
    uint32_t statuses = filter->statuses ? filter->statuses : FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK);
    if (!(statuses & FACPOOL_STATUS_BIT(status)))
        return false;
    if ((filter->date_min && date < *filter->date_min) ||
        (filter->date_max && date > *filter->date_max))
        return false;
    bool found = !filter->dates;
    for (size_t i = 0; i < filter->n_dates; i++)
        found = found || filter->dates[i] == date;
    bool found_code = !filter->codes;
    for (size_t i = 0; i < filter->n_codes; i++)
        found_code = found_code || strcmp(filter->codes[i], suite_code(key)) == 0;
    return found && found_code;
}

static inline size_t suite_factors_of(const facpool_filter *filter, size_t *numbers)
{
    if (!filter->factors) {
        for (size_t f = 0; f < SUITE_FACTORS; f++)
            numbers[f] = f;
        return SUITE_FACTORS;
    }
    for (size_t i = 0; i < filter->n_factors; i++)
        for (size_t f = 0; f < SUITE_FACTORS; f++)
            if (strcmp(filter->factors[i], suite_names[f]) == 0)
                numbers[i] = f;
    return filter->n_factors;
}

/* Reads the whole answer: it has exactly the model's rows that match, each once, in key order where
 * that was asked for. Frees the cursor. */
static inline void check_suite_answer(facpool_cursor *cursor, const facpool_filter *filter,
                                      const suite_model *model)
{
    uint8_t seen[SUITE_KEYS] = {0};
    size_t numbers[SUITE_FACTORS], n_factors = suite_factors_of(filter, numbers);
    size_t n = 0, expected = 0, last = 0;
    facpool_row row = FACPOOL_ROW_INIT;
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0) {
        size_t key = suite_key(row.date, row.code);
        CHECK(key < SUITE_KEYS && model->round[key] >= 0 && !seen[key]);
        seen[key] = 1;
        suite_row wanted = suite_row_of(key, (unsigned)model->round[key]);
        CHECK(suite_matches(filter, key, wanted.status));
        check_suite_row(&row, &wanted, numbers, n_factors);
        if (filter->order == FACPOOL_ORDER_KEY)
            CHECK(n == 0 || key > last);
        last = key;
        n++;
    }
    CHECK_OK(rc, err);
    for (size_t key = 0; key < SUITE_KEYS; key++)
        expected += model->round[key] >= 0 &&
                    suite_matches(filter, key, suite_status(key, (unsigned)model->round[key]));
    CHECK_INT(n, expected);
    facpool_cursor_free(cursor);
}

static inline void check_suite_question(facpool_reader *reader, const facpool_filter *filter,
                                        const suite_model *model)
{
    facpool_cursor *cursor = NULL;
    CHECK_OK(facpool_query(reader, filter, &cursor, &err), err);
    check_suite_answer(cursor, filter, model);
}

/* The store holds what the model says: all rows, in both orders, and the ok ones. */
static inline void check_suite_reader(facpool_reader *reader, const suite_model *model)
{
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++)
        for (int all = 0; all < 2; all++) {
            facpool_filter filter = FACPOOL_FILTER_INIT;
            filter.order = order;
            filter.statuses = all ? FACPOOL_STATUS_ALL : 0;
            check_suite_question(reader, &filter, model);
        }
}

static inline void check_suite_store(const char *path, const suite_model *model)
{
    facpool_reader *reader = storage_reader(path);
    CHECK_INT(facpool_reader_n_factors(reader), SUITE_FACTORS);
    for (size_t f = 0; f < SUITE_FACTORS; f++)
        CHECK_TEXT(facpool_reader_factor_name(reader, f), suite_names[f]);
    check_suite_reader(reader, model);
    facpool_reader_free(reader);
}

/* ------------------------------------------------------------------ writing by hand */

/* Rows in the columns that a writer takes. */
typedef struct suite_rows {
    facpool_rows rows;
    int64_t dates[SUITE_KEYS];
    const char *codes[SUITE_KEYS];
    int64_t timestamps[SUITE_KEYS];
    uint8_t statuses[SUITE_KEYS];
    int32_t failure_codes[SUITE_KEYS];
    const char *messages[SUITE_KEYS];
    double factors[SUITE_KEYS * SUITE_FACTORS];
} suite_rows;

static inline void suite_rows_begin(suite_rows *r)
{
    r->rows = (facpool_rows)FACPOOL_ROWS_INIT;
    r->rows.dates = r->dates;
    r->rows.codes = r->codes;
    r->rows.timestamps = r->timestamps;
    r->rows.statuses = r->statuses;
    r->rows.factors = r->factors;
    r->rows.failure_codes = r->failure_codes;
    r->rows.messages = r->messages;
}

static inline void suite_rows_add(suite_rows *r, size_t key, unsigned round)
{
    suite_row row = suite_row_of(key, round);
    size_t at = r->rows.n++;
    r->dates[at] = suite_date(key);
    r->codes[at] = suite_code(key);
    r->timestamps[at] = row.timestamp;
    r->statuses[at] = (uint8_t)row.status;
    r->failure_codes[at] = row.failure_code;
    r->messages[at] = row.message[0] ? row.message : NULL;
    memcpy(r->factors + at * SUITE_FACTORS, row.factors, sizeof row.factors);
}

/* Keys first, first + step, ... below `end`, in a round. */
static inline void suite_rows_range(suite_rows *r, size_t first, size_t end, size_t step,
                                    unsigned round)
{
    suite_rows_begin(r);
    for (size_t key = first; key < end; key += step)
        suite_rows_add(r, key, round);
}

static inline facpool_writer *suite_writer(const facpool_backup_options *options)
{
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, options, suite_names, SUITE_FACTORS, &err), err);
    return writer;
}

static inline void suite_append(facpool_writer *writer, size_t first, size_t end, size_t step,
                                unsigned round)
{
    suite_rows r;
    suite_rows_range(&r, first, end, step, round);
    CHECK_OK(facpool_writer_append(writer, &r.rows, &err), err);
}

/* A store with the rows of all keys in round 0, closed. */
static inline void suite_write_all(const char *path, suite_model *model)
{
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = suite_writer(&options);
    suite_append(writer, 0, SUITE_KEYS, 1, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    suite_model_clear(model);
    suite_model_add(model, 0, SUITE_KEYS, 1, 0);
}

/* ------------------------------------------------------------------ runs */

static unsigned run_round; /* whose rows the tasks compute */
static atomic_uint run_calls;
static unsigned run_cancel_at; /* sets the token at that call */
static facpool_cancel *run_cancel;

static inline int suite_compute(const facpool_task *task, double *factors, void *user)
{
    size_t key = suite_key(task->date, task->code);
    suite_row row = suite_row_of(key, SUITE_BY_RUN + run_round);
    (void)user;
    if (atomic_fetch_add(&run_calls, 1) + 1 == run_cancel_at && run_cancel)
        facpool_cancel_set(run_cancel);
    if (row.status == FACPOOL_STATUS_SKIPPED)
        return FACPOOL_SKIP;
    if (row.status != FACPOOL_STATUS_OK)
        return facpool_task_fail(task, row.failure_code, row.message);
    memcpy(factors, row.factors, sizeof row.factors);
    return 0;
}

static inline facpool_tasks *suite_tasks(void)
{
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_grid(&tasks, suite_dates, SUITE_DATES, suite_codes, SUITE_CODES, &err),
             err);
    return tasks;
}

static inline facpool_run_options suite_run_options(const facpool_backup_options *backup)
{
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = suite_compute;
    options.n_factors = SUITE_FACTORS;
    options.factor_names = suite_names;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.no_stop_if_first_fail = 1;
    options.backup = backup;
    return options;
}

/* ------------------------------------------------------------------ every store in turn */

/* Runs `tests` for each of the first n stores, or for those named in the arguments. */
static inline int suite_main(int argc, char **argv, const char *name, size_t n, void (*tests)(void))
{
    suite_begin();
    if (!scratch_make(name)) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < n; i++) {
        store = &storage_cases[i];
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted = wanted || strcmp(argv[a], store->name) == 0;
        if (!wanted)
            continue;
        printf("%s:\n", store->name);
        tests();
    }
    scratch_remove();
    return TEST_END();
}

#endif
