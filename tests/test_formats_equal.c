/* The same run gives the same rows through every store and without one: row for row, bit for bit,
 * in both orders and under every kind of question (NaN payloads in json and SQLite apart). So do
 * the same rows written by hand, and files of several formats asked as one. */
#include "property_world.h"
#include "storage_suite.h"

static unsigned n_worlds;

/* ------------------------------------------------------------------ answers, kept */

typedef struct kept_row {
    int64_t date;
    int64_t timestamp;
    int status;
    int32_t failure_code;
    char *code;
    char *message;
    double *factors; /* NULL where it is not ok */
} kept_row;

typedef struct kept_rows {
    kept_row *at;
    size_t n;
    size_t n_factors;
} kept_rows;

static void kept_free(kept_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        free(rows->at[i].code);
        free(rows->at[i].message);
        free(rows->at[i].factors);
    }
    free(rows->at);
    *rows = (kept_rows){0};
}

static void keep_row(kept_rows *rows, const facpool_row *row)
{
    size_t bytes = row->n_factors * sizeof(double);
    rows->at = realloc(rows->at, (rows->n + 1) * sizeof *rows->at);
    rows->at[rows->n++] = (kept_row){.date = row->date,
                                     .timestamp = row->timestamp,
                                     .status = row->status,
                                     .failure_code = row->failure_code,
                                     .code = strdup(row->code),
                                     .message = strdup(row->message),
                                     .factors = row->factors ? malloc(bytes) : NULL};
    if (row->factors)
        memcpy(rows->at[rows->n - 1].factors, row->factors, bytes);
    rows->n_factors = row->n_factors;
}

static int compare_keys(const void *left, const void *right)
{
    const kept_row *a = left, *b = right;
    if (a->date != b->date)
        return a->date < b->date ? -1 : 1;
    return strcmp(a->code, b->code);
}

/* Takes the cursor's whole answer, and frees it. Rows in file order are then sorted. */
static kept_rows keep_answer(facpool_cursor *cursor, int32_t order)
{
    kept_rows rows = {0};
    facpool_row row = FACPOOL_ROW_INIT;
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) > 0)
        keep_row(&rows, &row);
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    if (order != FACPOOL_ORDER_KEY && rows.n)
        qsort(rows.at, rows.n, sizeof *rows.at, compare_keys);
    return rows;
}

static void check_same_row(const kept_row *a, const kept_row *b, size_t n_factors, bool any_time)
{
    CHECK_INT(a->date, b->date);
    CHECK_TEXT(a->code, b->code);
    CHECK_INT(a->status, b->status);
    CHECK_INT(a->failure_code, b->failure_code);
    CHECK_TEXT(a->message, b->message);
    if (!any_time)
        CHECK_INT(a->timestamp, b->timestamp);
    CHECK(!a->factors == !b->factors);
    for (size_t f = 0; a->factors && f < n_factors; f++) {
        if (!same_double(a->factors[f], b->factors[f]))
            printf("  (%lld, '%s') factor %zu: %.17g, not %.17g\n", (long long)a->date, a->code, f,
                   a->factors[f], b->factors[f]);
        CHECK(same_double(a->factors[f], b->factors[f]));
    }
}

static void check_same(const kept_rows *a, const kept_rows *b, bool any_time)
{
    CHECK_INT(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        check_same_row(&a->at[i], &b->at[i], a->n_factors, any_time);
}

/* ------------------------------------------------------------------ questions */

#define N_QUESTIONS 24

typedef struct one_question {
    facpool_filter filter;
    int64_t dates[3];
    const char *codes[3];
    const char *factors[2];
} one_question;

/* Questions of all kinds, the first of which ask for everything. */
static void make_question(const world *w, unsigned i, one_question *q)
{
    random_numbers r = {w->seed * 31 + i / 2};
    *q = (one_question){.filter = FACPOOL_FILTER_INIT};
    facpool_filter *f = &q->filter;
    f->order = i % 2 ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE;
    f->statuses = FACPOOL_STATUS_ALL;
    for (size_t k = 0; k < 3; k++) {
        q->dates[k] = w->dates[random_below(&r, (uint32_t)w->n_dates)];
        q->codes[k] = w->codes[random_below(&r, (uint32_t)w->n_codes)];
    }
    if (i < 2)
        return;
    f->statuses = random_chance(&r, 50) ? 0 : (uint32_t)random_bits(&r) & FACPOOL_STATUS_ALL;
    if (random_chance(&r, 40)) {
        f->date_min = &q->dates[0];
        f->date_max = random_chance(&r, 50) ? &q->dates[1] : NULL;
    }
    if (random_chance(&r, 40)) {
        f->dates = q->dates;
        f->n_dates = 3;
    }
    if (random_chance(&r, 40)) {
        f->codes = q->codes;
        f->n_codes = random_between(&r, 1, 3);
    }
    if (random_chance(&r, 40)) {
        f->factors = q->factors;
        f->n_factors = w->n_factors > 1 ? 2 : 1;
        q->factors[0] = w->names[w->n_factors - 1];
        q->factors[1] = w->names[0];
    }
}

/* What each question gives: from a result, or from a reader. */
static void ask(const world *w, const facpool_result *result, facpool_reader *reader,
                kept_rows *answers)
{
    for (unsigned i = 0; i < N_QUESTIONS; i++) {
        one_question q;
        facpool_cursor *cursor = NULL;
        make_question(w, i, &q);
        if (result)
            CHECK_OK(facpool_result_query(result, &q.filter, &cursor, &err), err);
        else
            CHECK_OK(facpool_query(reader, &q.filter, &cursor, &err), err);
        answers[i] = keep_answer(cursor, q.filter.order);
    }
}

static void check_same_answers(const world *w, const facpool_result *result, facpool_reader *reader,
                               const kept_rows *expected, bool any_time)
{
    kept_rows answers[N_QUESTIONS];
    ask(w, result, reader, answers);
    for (unsigned i = 0; i < N_QUESTIONS; i++) {
        check_same(&answers[i], &expected[i], any_time);
        kept_free(&answers[i]);
    }
}

static void free_answers(kept_rows *answers)
{
    for (unsigned i = 0; i < N_QUESTIONS; i++)
        kept_free(&answers[i]);
}

/* ------------------------------------------------------------------ runs */

static int world_compute(const facpool_task *task, double *factors, void *user)
{
    const world *w = user;
    char message[WORLD_TEXT_MAX];
    size_t key = key_find(w, task->date, task->code);
    fate f = fate_of(w, key, w->epoch);
    fill_factors(w, key, w->epoch, factors);
    if (f.skips)
        return FACPOOL_SKIP;
    if (f.needs <= task->attempt)
        return 0;
    if (!f.speaks)
        return f.code;
    message_text(w, key, w->epoch, message);
    return facpool_task_fail(task, f.code, message);
}

/* The world's run: with a backup at `path`, or (NULL) without. */
static facpool_result *run_world(world *w, const char *path)
{
    const char *codes[300];
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    for (size_t c = 0; c < w->n_codes; c++)
        codes[c] = w->codes[c];
    CHECK_OK(facpool_tasks_grid(&tasks, w->dates, w->n_dates, codes, w->n_codes, &err), err);
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    if (path)
        backup = storage_options(path, FACPOOL_MODE_RESUME);
    backup.tag = w->tag;
    backup.durability = FACPOOL_DURABILITY_NONE;
    backup.batch_rows = 1 + (uint32_t)(w->seed % 200);
    options.fn = world_compute;
    options.user = w;
    options.n_factors = w->n_factors;
    options.factor_names = w->name_list;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.attempts = 2;
    options.no_stop_if_first_fail = 1;
    options.backup = path ? &backup : NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_tasks_free(tasks);
    return result;
}

/* ------------------------------------------------------------------ rows by hand */

/* Appends rows first, first + step, ... as they are, times included. */
static void append_kept(facpool_writer *writer, const kept_rows *from, size_t first, size_t step,
                        size_t n_factors)
{
    size_t n = 0;
    int64_t *dates = malloc((from->n + 1) * sizeof *dates);
    int64_t *timestamps = malloc((from->n + 1) * sizeof *timestamps);
    const char **codes = malloc((from->n + 1) * sizeof *codes);
    const char **messages = malloc((from->n + 1) * sizeof *messages);
    uint8_t *statuses = malloc(from->n + 1);
    int32_t *failure_codes = malloc((from->n + 1) * sizeof *failure_codes);
    double *factors = calloc(from->n + 1, n_factors * sizeof *factors);
    for (size_t i = first; i < from->n; i += step, n++) {
        const kept_row *row = &from->at[i];
        dates[n] = row->date;
        timestamps[n] = row->timestamp;
        codes[n] = row->code;
        messages[n] = row->message;
        statuses[n] = (uint8_t)row->status;
        failure_codes[n] = row->failure_code;
        if (row->factors)
            memcpy(factors + n * n_factors, row->factors, n_factors * sizeof *factors);
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = n;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = timestamps;
    rows.statuses = statuses;
    rows.factors = factors;
    rows.failure_codes = failure_codes;
    rows.messages = messages;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    free(dates);
    free(timestamps);
    free(codes);
    free(messages);
    free(statuses);
    free(failure_codes);
    free(factors);
}

static void write_kept(const world *w, const char *path, const kept_rows *rows, size_t first,
                       size_t step)
{
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = NULL;
    options.durability = FACPOOL_DURABILITY_NONE;
    CHECK_OK(facpool_writer_open(&writer, &options, w->name_list, w->n_factors, &err), err);
    append_kept(writer, rows, first, step, w->n_factors);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* ------------------------------------------------------------------ all of it */

/* Each world's run without a store, and then through this one. */
static void a_run_gives_the_same_rows_as_without_a_store(void)
{
    for (unsigned n = 1; n <= n_worlds; n++) {
        world w;
        kept_rows expected[N_QUESTIONS];
        world_init(&w, n);
        w.epoch = 1;
        facpool_result *memory = run_world(&w, NULL);
        ask(&w, memory, NULL, expected);
        facpool_result_free(memory);
        const char *path = storage_path();
        facpool_result *result = run_world(&w, path);
        check_same_answers(&w, result, NULL, expected, true);
        facpool_result_free(result);
        facpool_reader *reader = storage_reader(path);
        check_same_answers(&w, NULL, reader, expected, true);
        facpool_reader_free(reader);
        free_answers(expected);
        world_free(&w);
    }
}

/* A run resumed twice, in which flaky tasks come good and others fail anew. */
static void a_resumed_run_gives_the_same_rows_as_the_first_store(void)
{
    const storage_case *tested = store;
    for (unsigned n = 1; n <= n_worlds; n++) {
        world w;
        kept_rows expected[N_QUESTIONS];
        world_init(&w, n);
        for (unsigned s = 0; s < 2; s++) {
            store = s ? tested : &storage_cases[0];
            const char *path = storage_path();
            for (w.epoch = 1; w.epoch <= 3; w.epoch++)
                facpool_result_free(run_world(&w, path));
            facpool_reader *reader = storage_reader(path);
            if (s == 0)
                ask(&w, NULL, reader, expected);
            else
                check_same_answers(&w, NULL, reader, expected, true);
            facpool_reader_free(reader);
        }
        free_answers(expected);
        world_free(&w);
    }
}

/* The rows of a run, of all kinds, with their times. */
static void make_rows(world *w, uint64_t seed, kept_rows *answers)
{
    world_init(w, seed);
    w->epoch = 1;
    facpool_result *memory = run_world(w, NULL);
    ask(w, memory, NULL, answers);
    facpool_result_free(memory);
}

static void rows_written_by_hand_are_the_same(void)
{
    for (unsigned n = 1; n <= n_worlds; n++) {
        world w;
        kept_rows expected[N_QUESTIONS];
        make_rows(&w, n, expected);
        const char *path = storage_path();
        write_kept(&w, path, &expected[0], 0, 1);
        facpool_reader *reader = storage_reader(path);
        check_same_answers(&w, NULL, reader, expected, false);
        facpool_reader_free(reader);
        free_answers(expected);
        world_free(&w);
    }
}

/* The tested format's file and one of each other, every one with its part of the rows. */
static void files_of_several_formats_are_asked_as_one(void)
{
    if (store->sink)
        return;
    const storage_case *tested = store;
    for (unsigned n = 1; n <= n_worlds; n++) {
        world w;
        kept_rows expected[N_QUESTIONS];
        const char *paths[N_FILE_FORMATS];
        make_rows(&w, n, expected);
        if (expected[0].n < N_FILE_FORMATS) { /* a json file without a row is none */
            free_answers(expected);
            world_free(&w);
            continue;
        }
        for (size_t s = 0; s < N_FILE_FORMATS; s++) {
            store = &storage_cases[(s + (size_t)(tested - storage_cases)) % N_FILE_FORMATS];
            paths[s] = storage_path();
            write_kept(&w, paths[s], &expected[0], s, N_FILE_FORMATS);
        }
        facpool_reader *reader = NULL;
        CHECK_OK(facpool_reader_open(&reader, paths, N_FILE_FORMATS, &err), err);
        store = &storage_cases[1]; /* json is among them */
        check_same_answers(&w, NULL, reader, expected, false);
        store = tested;
        facpool_reader_free(reader);
        free_answers(expected);
        world_free(&w);
    }
}

static void tests(void)
{
    const storage_case *tested = store;
    RUN(a_run_gives_the_same_rows_as_without_a_store);
    RUN(a_resumed_run_gives_the_same_rows_as_the_first_store);
    store = tested;
    RUN(rows_written_by_hand_are_the_same);
    RUN(files_of_several_formats_are_asked_as_one);
    store = tested;
}

int main(int argc, char **argv)
{
    n_worlds = of_tier(6, 16, 200);
    return suite_main(argc, argv, "formats-equal", N_STORAGE_CASES, tests);
}
