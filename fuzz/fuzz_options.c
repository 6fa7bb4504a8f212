/* Every struct of the public header that begins with its size, going in and coming out. The bytes
 * choose a call, fill its structs with numbers that make sense and numbers that don't (enums nobody
 * knows, negative and enormous counts, dates at both ends, NaN and infinities), texts that are too
 * long, empty, no UTF-8 or missing, and sizes of older callers, of newer ones, and of memory that
 * was never initialised. Structs lie in memory of exactly their size. It proves that each call
 * succeeds or gives an error with its code and a message, that a struct that asks for something
 * unknown is refused, and that outputs and errors are as they were where they must be. */
#include "options_run.h"

#include <facpool/sink.h>

#define ROWS_MAX 12

/* ------------------------------------------------------------------ runs */

static int start_and_wait(const run_case *c, facpool_result **result, facpool_error *err)
{
    facpool_run_handle *run = NULL;
    int rc = facpool_run_start(&run, tasks, c->options, err);
    REQUIRE(!run == (rc < 0), "a run that returns %d", rc);
    return rc ? rc : facpool_run_wait(run, result, err);
}

static int open_and_finish(const run_case *c, facpool_result **result, facpool_error *err)
{
    facpool_job *job = NULL;
    int rc = facpool_job_open(&job, tasks, c->options, err);
    REQUIRE(!job == (rc < 0), "a job that returns %d", rc);
    return rc ? rc : facpool_job_finish(job, result, err);
}

static void call_run(fuzz_bytes *b)
{
    static run_case c;
    facpool_result *result = NULL;
    error_memory e;
    uint32_t how = take_below(b, 3);
    make_run(b, &c);
    facpool_error *err = make_error(b, &e);
    int rc = how == 0   ? facpool_run(tasks, c.options, &result, err)
             : how == 1 ? start_and_wait(&c, &result, err)
                        : open_and_finish(&c, &result, err);
    check_error(&e, rc);
    if (c.fits != FITS)
        REQUIRE(rc == FACPOOL_E_ABI, "%d for options of size %zu", rc, c.options->size);
    check_result(result, rc);
    free_run(&c);
    unlink(fresh_path);
}

/* ------------------------------------------------------------------ rows */

static const field rows_ends[] = {
    FIELD(facpool_rows, n),        FIELD(facpool_rows, dates),
    FIELD(facpool_rows, codes),    FIELD(facpool_rows, timestamps),
    FIELD(facpool_rows, statuses), FIELD(facpool_rows, factors),
    FIELD(facpool_rows, messages), FIELD(facpool_rows, failure_codes)};

typedef struct row_columns {
    int64_t dates[ROWS_MAX];
    const char *codes[ROWS_MAX];
    char texts[ROWS_MAX][1200];
    int64_t timestamps[ROWS_MAX];
    uint8_t statuses[ROWS_MAX];
    double factors[ROWS_MAX * N_FACTORS];
    const double *columns[N_FACTORS];
    int32_t failure_codes[ROWS_MAX];
    const char *messages[ROWS_MAX];
    char message_texts[ROWS_MAX][1200];
    facpool_rows rows;
} row_columns;

static double take_double(fuzz_bytes *b)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, -0.0, 5e-324, 1.7976931348623157e308};
    uint8_t kind = take_byte(b);
    if (kind < 200)
        return kind % 10 ? kind * 0.01 : odd[kind / 10 % 6];
    uint64_t bits = take_number(b, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void make_rows(fuzz_bytes *b, row_columns *c)
{
    uint8_t which = take_byte(b);
    facpool_rows *rows = &c->rows;
    *rows = (facpool_rows)FACPOOL_ROWS_INIT;
    rows->n = take_below(b, ROWS_MAX + 1);
    for (size_t i = 0; i < rows->n; i++) {
        c->dates[i] = take_wild(b);
        c->codes[i] = take_text(b, c->texts[i], "000001");
        c->timestamps[i] = take_wild(b);
        c->statuses[i] = take_rarely(b, 20) ? take_byte(b) : 1 + take_byte(b) % 5;
        for (size_t f = 0; f < N_FACTORS; f++)
            c->factors[i * N_FACTORS + f] = take_double(b);
        c->failure_codes[i] = (int32_t)take_wild(b);
        c->messages[i] = take_text(b, c->message_texts[i], "no bars");
    }
    for (size_t f = 0; f < N_FACTORS; f++)
        c->columns[f] = c->factors + f * rows->n;
    rows->dates = which == 255 ? NULL : c->dates;
    rows->codes = which == 254 ? NULL : c->codes;
    rows->timestamps = which & 1 ? c->timestamps : NULL;
    rows->statuses = which & 2 ? c->statuses : NULL;
    rows->factors = which & 4 || which & 8 ? NULL : c->factors;
    rows->factor_columns = which & 4 ? c->columns : NULL;
    rows->failure_codes = which & 16 ? c->failure_codes : NULL;
    rows->messages = which & 32 ? c->messages : NULL;
}

static bool rows_are_good(const facpool_rows *rows)
{
    if (rows->n && (!rows->dates || !rows->codes))
        return false;
    for (size_t i = 0; i < rows->n; i++) {
        uint8_t status = rows->statuses ? rows->statuses[i] : FACPOOL_STATUS_OK;
        const char *code = rows->codes[i];
        bool has_factors = rows->factors || rows->factor_columns;
        if (status < 1 || status > 5 || (status == FACPOOL_STATUS_OK && !has_factors) || !code ||
            !is_good_code(code, strlen(code)))
            return false;
    }
    return true;
}

/* Appends once; returns whether it went well, with what the library was to see in *rows. */
static bool append_rows(fuzz_bytes *b, facpool_writer *writer, row_columns *c, size_t *n)
{
    error_memory e;
    fit fits;
    make_rows(b, c);
    facpool_rows *given = resize(b, &c->rows, sizeof c->rows, rows_ends, COUNT(rows_ends), &fits);
    facpool_rows seen = {0};
    if (fits == FITS)
        memcpy(&seen, given, given->size < sizeof seen ? given->size : sizeof seen);
    facpool_error *err = make_error(b, &e);
    int rc = facpool_writer_append(writer, given, err);
    check_error(&e, rc);
    free(given);
    if (fits != FITS)
        REQUIRE(rc == FACPOOL_E_ABI, "%d for rows of an unknown size", rc);
    else if (!rows_are_good(&seen))
        REQUIRE(rc == FACPOOL_E_INVALID, "%d for rows that make no sense", rc);
    else
        REQUIRE(rc == 0 || rc == FACPOOL_E_EXISTS, "%d for good rows", rc);
    *n = rc ? 0 : seen.n;
    return rc == 0 && seen.n > 0;
}

static size_t count_rows(const char *path)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    REQUIRE(facpool_reader_open(&reader, &path, 1, &err) == 0, "%s", err.message);
    REQUIRE(facpool_query(reader, &filter, &cursor, &err) == 0, "%s", err.message);
    size_t n = 0;
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) == 1)
        n++;
    REQUIRE(rc == 0, "%s", err.message);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return n;
}

/* Options for a writer, and rows for it; what was taken is then there. */
static void call_writer(fuzz_bytes *b)
{
    static backup k;
    static row_columns c;
    facpool_writer *writer = NULL;
    error_memory e;
    size_t taken = 0, n = 0;
    make_backup(b, &k, fresh_path);
    size_t n_factors = take_rarely(b, 16) ? (size_t)take_wild(b) : N_FACTORS;
    facpool_error *err = make_error(b, &e);
    int rc = facpool_writer_open(&writer, k.options, NULL, n_factors, err);
    check_error(&e, rc);
    REQUIRE(!writer == (rc < 0), "a writer that returns %d", rc);
    if (k.fits != FITS)
        REQUIRE(rc == FACPOOL_E_ABI, "%d for options of an unknown size", rc);
    free(k.options);
    for (int i = 0; writer && n_factors == N_FACTORS && i < 3 && b->left; i++) {
        append_rows(b, writer, &c, &n);
        taken += n;
    }
    if (writer)
        REQUIRE(facpool_writer_close(writer, NULL) == 0, "the writer can't be closed");
    size_t stored = taken ? count_rows(fresh_path) : 0;
    REQUIRE(stored <= taken && !stored == !taken, "%zu rows are there, %zu were taken", stored,
            taken);
    unlink(fresh_path);
}

static void call_convert(fuzz_bytes *b)
{
    static backup k;
    error_memory e;
    make_backup(b, &k, target_path);
    const char *paths[] = {kept_path, take_rarely(b, 8) ? NULL : kept_path};
    facpool_error *err = make_error(b, &e);
    int rc = facpool_backup_convert(paths, 1 + take_rarely(b, 8), k.options, err);
    check_error(&e, rc);
    if (k.fits != FITS)
        REQUIRE(rc == FACPOOL_E_ABI, "%d for options of an unknown size", rc);
    if (rc == 0)
        REQUIRE(count_rows(target_path) == N_TASKS, "rows were lost");
    else
        REQUIRE(access(target_path, F_OK) != 0, "a file is there of a conversion that failed");
    free(k.options);
    unlink(target_path);
}

/* ------------------------------------------------------------------ others that go in */

static const field filter_ends[] = {
    FIELD(facpool_filter, date_min),  FIELD(facpool_filter, date_max),
    FIELD(facpool_filter, dates),     FIELD(facpool_filter, codes),
    FIELD(facpool_filter, factors),   FIELD(facpool_filter, statuses),
    FIELD(facpool_filter, columns),   FIELD(facpool_filter, order),
    FIELD(facpool_filter, copy),      FIELD(facpool_filter, skip_bytes),
    FIELD(facpool_filter, n_factors), FIELD(facpool_filter, reserved)};

static const field filter_numbers[] = {
    FIELD(facpool_filter, statuses), FIELD(facpool_filter, columns),
    FIELD(facpool_filter, order),    FIELD(facpool_filter, require_zero_copy),
    FIELD(facpool_filter, copy),     FIELD(facpool_filter, skip_bytes)};

static void call_query(fuzz_bytes *b)
{
    facpool_filter whole = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    error_memory e;
    fit fits;
    const char *codes[] = {"600000"};
    int64_t date = take_wild(b);
    uint8_t which = take_byte(b);
    whole.date_min = which & 1 ? &date : NULL;
    whole.codes = which & 2 ? codes : NULL;
    whole.n_codes = which & 2 ? 1 : which & 4;
    spoil_numbers(b, &whole, filter_numbers, COUNT(filter_numbers));
    facpool_filter *given = resize(b, &whole, sizeof whole, filter_ends, COUNT(filter_ends), &fits);
    facpool_error *err = make_error(b, &e);
    int rc = which & 8 ? facpool_query(kept_reader, given, &cursor, err)
                       : facpool_result_query(kept_result, given, &cursor, err);
    check_error(&e, rc);
    REQUIRE(!cursor == (rc < 0), "a cursor of a question that returns %d", rc);
    if (fits != FITS)
        REQUIRE(rc == FACPOOL_E_ABI, "%d for a filter of an unknown size", rc);
    facpool_cursor_free(cursor);
    free(given);
}

static const field serve_ends[] = {
    FIELD(facpool_serve_options, fn),      FIELD(facpool_serve_options, batch_fn),
    FIELD(facpool_serve_options, user),    FIELD(facpool_serve_options, before_fork),
    FIELD(facpool_serve_options, no_fork), FIELD(facpool_serve_options, reserved)};

/* There is nobody to serve: a socket is missing. */
static void call_serve(fuzz_bytes *b)
{
    facpool_serve_options whole = FACPOOL_SERVE_OPTIONS_INIT;
    error_memory e;
    fit fits;
    whole.fn = take_rarely(b, 4) ? NULL : compute;
    whole.batch_fn = take_rarely(b, 4) ? compute_slice : NULL;
    whole.no_fork = (int32_t)take_wild(b);
    facpool_serve_options *given =
        resize(b, &whole, sizeof whole, serve_ends, COUNT(serve_ends), &fits);
    facpool_error *err = make_error(b, &e);
    int rc = facpool_serve(-1 - take_byte(b), given, err);
    check_error(&e, rc);
    REQUIRE(rc == (fits == FITS ? FACPOOL_E_INVALID : FACPOOL_E_ABI), "%d without a socket", rc);
    free(given);
}

/* ------------------------------------------------------------------ snapshots of one's own */

static const field source_ends[] = {
    FIELD(facpool_source_options, name),   FIELD(facpool_source_options, n_factors),
    FIELD(facpool_source_options, tag),    FIELD(facpool_source_options, n_blocks),
    FIELD(facpool_source_options, read),   FIELD(facpool_source_options, free),
    FIELD(facpool_source_options, release)};

static unsigned sources_freed;

static void free_source_state(void *state)
{
    (void)state;
    sources_freed++;
}

static int read_nothing(void *state, size_t block, facpool_rows *rows, facpool_error *err)
{
    (void)state;
    (void)rows;
    return facpool_sink_fail(err, FACPOOL_E_IO, "block %zu can't be read", block);
}

static void make_blocks(fuzz_bytes *b, facpool_source_block *blocks, size_t n, char texts[][1200])
{
    for (size_t i = 0; i < n; i++) {
        blocks[i] = (facpool_source_block){.n_rows = 3, .date_min = 1, .date_max = 5};
        blocks[i].status_rows[FACPOOL_STATUS_OK] = 3;
        if (take_rarely(b, 3))
            blocks[i].n_rows = (uint32_t)take_wild(b);
        if (take_rarely(b, 3))
            blocks[i].status_rows[take_below(b, 6)] = (uint32_t)take_wild(b);
        if (take_rarely(b, 3))
            blocks[i].date_min = take_wild(b);
        if (take_rarely(b, 3))
            blocks[i].date_max = take_wild(b);
        blocks[i].code_min = take_text(b, texts[2 * i], "a");
        blocks[i].code_max = take_text(b, texts[2 * i + 1], "z");
    }
}

static void call_source(fuzz_bytes *b)
{
    static char texts[8][1200];
    static names factor_names;
    static const char *usual[NAMES_MAX] = {"a", "b", "c", "d", "e", "f"};
    facpool_source_block blocks[3];
    facpool_source_options whole = FACPOOL_SOURCE_OPTIONS_INIT;
    facpool_source *source = NULL;
    error_memory e;
    fit fits;
    whole.name = take_text(b, texts[6], "a store");
    whole.n_factors = take_below(b, NAMES_MAX + 1);
    whole.factor_names = take_rarely(b, 10) ? NULL : take_names(b, &factor_names, usual);
    whole.tag = take_text(b, texts[7], NULL);
    whole.n_blocks = take_below(b, 4);
    make_blocks(b, blocks, whole.n_blocks, texts);
    whole.blocks = take_rarely(b, 20) ? NULL : blocks;
    whole.read = take_rarely(b, 20) ? NULL : read_nothing;
    whole.free = free_source_state;
    facpool_source_options *given =
        resize(b, &whole, sizeof whole, source_ends, COUNT(source_ends), &fits);
    bool has_free = fits == FITS && given->size > offsetof(facpool_source_options, free);
    facpool_error *err = make_error(b, &e);
    sources_freed = 0;
    int rc = facpool_source_new(&source, given, err);
    check_error(&e, rc);
    REQUIRE(!source == (rc < 0), "a source that returns %d", rc);
    facpool_source_free(source);
    if (fits == FITS)
        REQUIRE(sources_freed == (has_free ? 1 : 0), "the state is freed %u times", sources_freed);
    else
        REQUIRE(rc == FACPOOL_E_ABI, "%d for options of an unknown size", rc);
    free(given);
}

/* ------------------------------------------------------------------ structs that come out */

static void call_file_report(fuzz_bytes *b, bool repairs)
{
    filled_struct s;
    error_memory e;
    make_filled(b, &s, sizeof(facpool_verify_report), take_below(b, 4) != 3);
    facpool_error *err = make_error(b, &e);
    facpool_verify_report *report = (facpool_verify_report *)(void *)s.memory;
    const char *path = take_rarely(b, 10) ? "" : take_rarely(b, 10) ? target_path : kept_path;
    int rc = repairs ? facpool_backup_repair(path, report, err)
                     : facpool_backup_verify(path, report, err);
    check_error(&e, rc);
    check_filled(&s, rc, false);
}

static void call_getter(fuzz_bytes *b)
{
    filled_struct s;
    error_memory e;
    bool has_failure = take_below(b, 2);
    make_filled(b, &s, has_failure ? sizeof(facpool_failure) : sizeof(facpool_report), false);
    facpool_error *err = make_error(b, &e);
    size_t i = take_rarely(b, 4) ? (size_t)take_wild(b) : 0;
    int rc = has_failure
                 ? facpool_result_failure(kept_result, i, (facpool_failure *)(void *)s.memory, err)
                 : facpool_result_report(kept_result, (facpool_report *)(void *)s.memory, err);
    check_error(&e, rc);
    check_filled(&s, rc, false);
}

static void call_cursor(fuzz_bytes *b)
{
    facpool_cursor *cursor = NULL;
    REQUIRE(facpool_query(kept_reader, NULL, &cursor, NULL) == 0, "no cursor");
    for (int i = 0; i < 8; i++) {
        static const size_t sizes[] = {sizeof(facpool_row), sizeof(facpool_batch_view),
                                       sizeof(facpool_query_stats)};
        filled_struct s;
        error_memory e;
        uint32_t kind = take_below(b, 3);
        make_filled(b, &s, sizes[kind], false);
        facpool_error *err = make_error(b, &e);
        void *out = s.memory;
        int rc = kind == 0   ? facpool_cursor_next(cursor, out, err)
                 : kind == 1 ? facpool_cursor_next_batch(cursor, out, err)
                             : facpool_cursor_stats(cursor, out, err);
        check_error(&e, rc);
        check_filled(&s, rc, kind < 2 && rc == 0);
    }
    facpool_cursor_free(cursor);
}

/* A slice that can't be completed is never given; progress is. */
static void call_job(fuzz_bytes *b)
{
    facpool_run_options options = good_run();
    facpool_job *job = NULL;
    facpool_result *result = NULL;
    REQUIRE(facpool_job_open(&job, tasks, &options, NULL) == 0, "no job");
    for (int i = 0; i < 6; i++) {
        filled_struct s;
        error_memory e;
        bool takes = take_below(b, 2);
        double *factors = NULL;
        make_filled(b, &s, takes ? sizeof(facpool_slice) : sizeof(facpool_progress), takes);
        facpool_error *err = make_error(b, &e);
        uint32_t worker = take_rarely(b, 4) ? (uint32_t)take_wild(b) : take_below(b, 2);
        void *out = s.memory;
        int rc = takes ? facpool_job_take(job, worker, out, &factors, err)
                       : facpool_job_progress(job, out);
        if (takes)
            check_error(&e, rc);
        else
            free(e.bytes);
        REQUIRE(!factors == (rc != 1), "factors of a call that returns %d", rc);
        if (rc == 1 && take_below(b, 2))
            REQUIRE(facpool_job_complete(job, out, 0, NULL) == 0, "a slice is not taken back");
        check_filled(&s, rc, takes && rc == 0);
    }
    int rc = facpool_job_finish(job, &result, NULL);
    check_result(result, rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_bytes bytes = {data, size}, *b = &bytes;
    if (!tasks)
        make_world();
    switch (take_below(b, 12)) {
    case 0:
        call_run(b);
        break;
    case 1:
        call_writer(b);
        break;
    case 2:
        call_convert(b);
        break;
    case 3:
        call_query(b);
        break;
    case 4:
        call_serve(b);
        break;
    case 5:
        call_source(b);
        break;
    case 6:
        call_file_report(b, false);
        break;
    case 7:
        call_file_report(b, true);
        break;
    case 8:
        call_getter(b);
        break;
    case 9:
        call_cursor(b);
        break;
    case 10:
        call_job(b);
        break;
    default:
        call_run(b);
    }
    return 0;
}
