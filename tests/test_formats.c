/* The suite for all stores, first part: every file format and the example's SQLite sink are
 * written, asked and joined, through the public headers alone. Runs and their resumes are in
 * test_formats_runs.c, locks and readers of what is being written in test_formats_live.c, torn and
 * damaged files in test_damage.c, that all stores give the same rows in test_formats_equal.c. */
#include "storage_suite.h"

/* ------------------------------------------------------------------ writing and asking */

static void rows_of_every_kind_come_back_bit_for_bit(void)
{
    suite_model model;
    const char *path = storage_path();
    suite_write_all(path, &model);
    check_suite_store(path, &model);
}

static void columns_may_be_given_apart(void)
{
    suite_model model;
    suite_rows r;
    const double *columns[SUITE_FACTORS];
    double apart[SUITE_FACTORS][SUITE_KEYS];
    const char *path = storage_path();
    suite_rows_range(&r, 0, SUITE_KEYS, 1, 0);
    for (size_t f = 0; f < SUITE_FACTORS; f++) {
        for (size_t i = 0; i < SUITE_KEYS; i++)
            apart[f][i] = r.factors[i * SUITE_FACTORS + f];
        columns[f] = apart[f];
    }
    r.rows.factors = NULL;
    r.rows.factor_columns = columns;
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = suite_writer(&options);
    CHECK_OK(facpool_writer_append(writer, &r.rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    suite_model_clear(&model);
    suite_model_add(&model, 0, SUITE_KEYS, 1, 0);
    check_suite_store(path, &model);
}

/* Questions of all kinds, each in both orders. */
static void questions_give_the_rows_that_match_and_no_others(void)
{
    static const int64_t some_dates[] = {20240102, -1, INT64_MAX, 77};
    static const char *const some_codes[] = {"000001", suite_long_code, "\xe4\xb8\xad", "no such"};
    static const char *const two_names[] = {"\xe5\x9b\xa0\xe5\xad\x90", "odd"};
    static const int64_t bounds[] = {INT64_MIN, -1, 20240101, INT64_MAX};
    suite_model model;
    const char *path = storage_path();
    suite_write_all(path, &model);
    facpool_reader *reader = storage_reader(path);
    for (unsigned kind = 0; kind < 64; kind++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = kind & 1 ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE;
        filter.statuses = kind & 2 ? FACPOOL_STATUS_ALL : FACPOOL_STATUS_BIT(kind % 5 + 1);
        if (kind & 4) {
            filter.dates = some_dates;
            filter.n_dates = kind & 32 ? 4 : 1;
        }
        if (kind & 8) {
            filter.codes = some_codes;
            filter.n_codes = kind & 32 ? 4 : kind & 16 ? 0 : 1;
        }
        if (kind & 16) {
            filter.date_min = &bounds[kind % 4];
            filter.factors = two_names;
            filter.n_factors = 2;
        }
        if (kind & 32)
            filter.date_max = &bounds[3 - kind % 3];
        check_suite_question(reader, &filter, &model);
    }
    static const char *const unknown[] = {"price"};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    filter.factors = unknown;
    filter.n_factors = 1;
    CHECK_INT(facpool_query(reader, &filter, &cursor, &err), FACPOOL_E_NOT_FOUND);
    CHECK(strstr(err.message, "price"));
    facpool_reader_free(reader);
}

/* Compares a row of a view with the model's. */
static void check_view_row(const facpool_batch_view *view, size_t i, const suite_model *model,
                           uint8_t *seen)
{
    char code[256], message[1100] = "";
    int32_t length = view->code_offsets[i + 1] - view->code_offsets[i];
    CHECK(length > 0 && length < 256);
    memcpy(code, view->code_bytes + view->code_offsets[i], (size_t)length);
    code[length] = '\0';
    size_t key = suite_key(view->dates[i], code);
    CHECK(key < SUITE_KEYS && !seen[key] && model->round[key] >= 0);
    seen[key] = 1;
    suite_row wanted = suite_row_of(key, (unsigned)model->round[key]);
    CHECK_INT(view->statuses[i], wanted.status);
    CHECK_INT(view->timestamps[i], wanted.timestamp);
    CHECK_INT(view->failure_codes ? view->failure_codes[i] : 0, wanted.failure_code);
    if (view->message_offsets) {
        length = view->message_offsets[i + 1] - view->message_offsets[i];
        CHECK(length >= 0 && length <= 1024);
        memcpy(message, view->message_bytes + view->message_offsets[i], (size_t)length);
        message[length] = '\0';
    }
    CHECK_TEXT(message, wanted.message);
    for (size_t f = 0; f < SUITE_FACTORS; f++) {
        double value = view->factors[f][i];
        if (wanted.status == FACPOOL_STATUS_OK)
            CHECK(same_double(value, wanted.factors[f]));
        else
            CHECK(value != value);
    }
}

static void batches_give_the_same_rows(void)
{
    suite_model model;
    const char *path = storage_path();
    suite_write_all(path, &model);
    facpool_reader *reader = storage_reader(path);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        facpool_cursor *cursor = NULL;
        facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
        uint8_t seen[SUITE_KEYS] = {0};
        size_t n = 0;
        int rc;
        filter.order = order;
        filter.statuses = FACPOOL_STATUS_ALL;
        CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
        while ((rc = facpool_cursor_next_batch(cursor, &view, &err)) > 0) {
            CHECK_INT(view.n_factors, SUITE_FACTORS);
            for (size_t i = 0; i < view.n_rows; i++)
                check_view_row(&view, i, &model, seen);
            n += view.n_rows;
        }
        CHECK_OK(rc, err);
        CHECK_INT(n, SUITE_KEYS);
        facpool_cursor_free(cursor);
    }
    facpool_reader_free(reader);
}

static void a_store_without_rows_can_be_continued(void)
{
    suite_model model;
    const char *path = storage_path();
    suite_model_clear(&model);
    for (int round = 0; round < 2; round++) {
        facpool_backup_options options = storage_options(path, FACPOOL_MODE_RESUME);
        facpool_writer *writer = suite_writer(&options);
        CHECK_OK(facpool_writer_close(writer, &err), err);
        facpool_reader *reader = NULL;
        if (store->is_its_rows)
            CHECK_INT(storage_open(&reader, &path, 1), FACPOOL_E_UNSUPPORTED);
        else
            check_suite_store(path, &model);
    }
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_RESUME);
    facpool_writer *writer = suite_writer(&options);
    suite_append(writer, 0, SUITE_KEYS, 1, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    suite_model_add(&model, 0, SUITE_KEYS, 1, 0);
    check_suite_store(path, &model);
}

static void a_single_row_is_a_store(void)
{
    for (size_t key = 0; key < SUITE_KEYS; key += 7) {
        suite_model model;
        const char *path = storage_path();
        facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
        facpool_writer *writer = suite_writer(&options);
        suite_append(writer, key, key + 1, 1, 0);
        CHECK_OK(facpool_writer_close(writer, &err), err);
        suite_model_clear(&model);
        suite_model_add(&model, key, key + 1, 1, 0);
        check_suite_store(path, &model);
    }
}

/* More rows than a block holds, more factors than a page of text; each value is recomputed. */
#define WIDE_FACTORS 200
#define LONG_ROWS    70000

static double large_value(size_t row, size_t factor)
{
    return (double)(mix_bits(row * 1009 + factor) % 1000000) / 1000;
}

static void write_large(const char *path, size_t n_rows, size_t n_factors)
{
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &options, NULL, n_factors, &err), err);
    int64_t *dates = malloc(n_rows * sizeof *dates);
    char(*texts)[8] = malloc(n_rows * sizeof *texts);
    const char **codes = malloc(n_rows * sizeof *codes);
    double *factors = malloc(n_rows * n_factors * sizeof *factors);
    for (size_t i = 0; i < n_rows; i++) {
        dates[i] = 20240101 + (int64_t)(i / 1000);
        snprintf(texts[i], sizeof texts[i], "%06u", (unsigned)(i % 1000));
        codes[i] = texts[i];
        for (size_t f = 0; f < n_factors; f++)
            factors[i * n_factors + f] = large_value(i, f);
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = n_rows;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    free(dates);
    free(texts);
    free(codes);
    free(factors);
}

static void check_large(const char *path, size_t n_rows, size_t n_factors)
{
    facpool_reader *reader = storage_reader(path);
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    int rc;
    filter.order = FACPOOL_ORDER_KEY;
    CHECK_INT(facpool_reader_n_factors(reader), n_factors);
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (; (rc = facpool_cursor_next(cursor, &row, &err)) > 0; n++) {
        CHECK_INT(row.date, 20240101 + (int64_t)(n / 1000));
        CHECK_INT(atoi(row.code), n % 1000);
        for (size_t f = 0; f < n_factors; f++)
            CHECK(row.factors[f] == large_value(n, f));
    }
    CHECK_OK(rc, err);
    CHECK_INT(n, n_rows);
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
}

static void long_and_wide_stores_come_back(void)
{
    const char *path = storage_path();
    write_large(path, LONG_ROWS, 2);
    check_large(path, LONG_ROWS, 2);
    path = storage_path();
    write_large(path, 300, WIDE_FACTORS);
    check_large(path, 300, WIDE_FACTORS);
}

/* ------------------------------------------------------------------ modes */

static void a_store_is_never_continued_or_replaced_by_accident(void)
{
    static const char *const fewer[] = {"odd"};
    static const char *const others[SUITE_FACTORS] = {"odd", "price", "z,\n", "f3"};
    suite_model model;
    const char *path = storage_path();
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = NULL;
    options.tag = "v1 \"a\" \xe7\x89\x88";
    writer = suite_writer(&options);
    suite_append(writer, 0, SUITE_KEYS, 1, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    writer = NULL;
    CHECK_INT(facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err),
              FACPOOL_E_EXISTS);
    options.mode = FACPOOL_MODE_RESUME;
    CHECK_INT(facpool_writer_open(&writer, &options, fewer, 1, &err), FACPOOL_E_MISMATCH);
    CHECK_INT(facpool_writer_open(&writer, &options, others, SUITE_FACTORS, &err),
              FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "price"));
    options.tag = "v2";
    CHECK_INT(facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err),
              FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "v1") && strstr(err.message, "v2"));
    options.tag = NULL;
    CHECK_INT(facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err),
              FACPOOL_E_MISMATCH);
    CHECK(!writer);
    suite_model_clear(&model);
    suite_model_add(&model, 0, SUITE_KEYS, 1, 0);
    check_suite_store(path, &model);

    options.mode = FACPOOL_MODE_OVERWRITE;
    writer = suite_writer(&options);
    suite_append(writer, 1, 20, 1, 2);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    suite_model_clear(&model);
    suite_model_add(&model, 1, 20, 1, 2);
    check_suite_store(path, &model);
}

static void what_is_not_there_is_said_so(void)
{
    facpool_reader *reader = NULL;
    const char *path = storage_path();
    CHECK_INT(storage_open(&reader, &path, 1), FACPOOL_E_NOT_FOUND);
    CHECK(!reader && strstr(err.message, path));
    facpool_writer *writer = NULL;
    facpool_backup_options options =
        storage_options(scratch_path("no-folder/x"), FACPOOL_MODE_CREATE);
    options.format = store->sink ? NULL : store->name;
    CHECK_INT(facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err),
              FACPOOL_E_NOT_FOUND);
}

/* A format is told by what it begins with, whatever its tag, names and rows say. */
static void rows_that_look_like_another_format_change_nothing(void)
{
    static const char *const looks[] = {"\n{\"date\":20240101,\"code\":\"000001\",", "a\n\n\n",
                                        "ARROW1", "FPB\r\n\x1a\n", "SQLite format 3"};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        const char *path = storage_path(), *names[] = {looks[i]}, *codes[] = {looks[i], "z"};
        int64_t dates[] = {1, 2};
        uint8_t statuses[] = {FACPOOL_STATUS_OK, FACPOOL_STATUS_FAILED};
        const char *messages[] = {"", looks[i]};
        double factors[] = {1.5, 0};
        facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
        facpool_writer *writer = NULL;
        options.tag = looks[i];
        for (int part = 0; part < 2; part++) {
            facpool_rows rows = FACPOOL_ROWS_INIT;
            rows.n = 1;
            rows.dates = dates + part;
            rows.codes = codes + part;
            rows.statuses = statuses + part;
            rows.messages = messages + part;
            rows.factors = factors + part;
            CHECK_OK(facpool_writer_open(&writer, &options, names, 1, &err), err);
            CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
            CHECK_OK(facpool_writer_close(writer, &err), err);
            options.mode = FACPOOL_MODE_RESUME;
        }
        facpool_reader *reader = storage_reader(path);
        facpool_cursor *cursor = NULL;
        facpool_filter filter = FACPOOL_FILTER_INIT;
        facpool_row row = FACPOOL_ROW_INIT;
        CHECK_TEXT(facpool_reader_factor_name(reader, 0), looks[i]);
        filter.statuses = FACPOOL_STATUS_ALL;
        filter.order = FACPOOL_ORDER_KEY;
        CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_TEXT(row.code, looks[i]);
        CHECK(row.factors[0] == 1.5);
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 1);
        CHECK_TEXT(row.message, looks[i]);
        CHECK_INT(facpool_cursor_next(cursor, &row, &err), 0);
        facpool_cursor_free(cursor);
        facpool_reader_free(reader);
    }
}

/* Of a file that is something else: or maybe a backup of which nothing is left. */
static bool is_refusal(int rc)
{
    return rc == FACPOOL_E_UNSUPPORTED || rc == FACPOOL_E_CORRUPT;
}

/* Whatever a file is called: where it is no backup it is refused, in every mode, and stays. */
static void files_that_are_no_backup_are_left_alone(void)
{
    static const struct {
        const char *bytes;
        size_t size;
    } files[] = {{"my notes", 8},
                 {"my notes\n\n", 10},
                 {"my notes\n  \n{", 13},
                 {"date,code,f0\n20240101,000001,1.5\n", 34},
                 {"{\"a\":1}\n{\"a\":2}\n", 16},
                 {"[1,2]\n\n\n", 8},
                 {"{\"date\":20240101,\"code\":\"000001\",\"close\":1.5}\n", 46},
                 {"{\"date\":1,\"a\":2}\n{\"date\":", 25},
                 {"PAR1\0\0\n\0\n", 9},
                 {"ARROX1\0\0\n\n{\"date\"", 17},
                 {"\0\0\0\0\0\0\0\0\n", 9}};
    if (store->sink)
        return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = storage_path();
        size_t size = 0;
        CHECK(file_write(path, (const uint8_t *)files[i].bytes, files[i].size));
        for (int32_t mode = FACPOOL_MODE_CREATE; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
            facpool_backup_options options = storage_options(path, mode);
            facpool_writer *writer = NULL;
            int rc = facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err);
            if (!rc)
                printf("  file %zu, mode %d\n", i, mode);
            CHECK(is_refusal(rc) || (rc == FACPOOL_E_EXISTS && mode == FACPOOL_MODE_CREATE));
        }
        facpool_reader *reader = NULL;
        CHECK(is_refusal(storage_open(&reader, &path, 1)));
        uint8_t *bytes = file_read(path, &size);
        CHECK(bytes && size == files[i].size && memcmp(bytes, files[i].bytes, size) == 0);
        free(bytes);
    }
}

/* Files that begin as ours do and are of other programs: nobody's data is replaced by mistake. */
static void what_only_looks_like_a_backup_is_not_overwritten(void)
{
    static const struct {
        const char *bytes;
        size_t size;
    } files[] = {{"{\"date\":\"2024-01-01\",\"open\":1.5}\n", 33},
                 {"\n{\"date\":1}\n{\"date\":2}\n", 23},
                 {"ARROW1\0\0\xff\xff\xff\xff\x40\0\0\0somebody else's", 31}};
    if (store->sink)
        return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = storage_path();
        size_t size = 0;
        CHECK(file_write(path, (const uint8_t *)files[i].bytes, files[i].size));
        for (int32_t mode = FACPOOL_MODE_CREATE; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
            facpool_backup_options options = storage_options(path, mode);
            facpool_writer *writer = NULL;
            CHECK(facpool_writer_open(&writer, &options, suite_names, SUITE_FACTORS, &err) < 0);
            CHECK(!writer && strstr(err.message, path));
        }
        uint8_t *bytes = file_read(path, &size);
        CHECK(bytes && size == files[i].size && memcmp(bytes, files[i].bytes, size) == 0);
        free(bytes);
    }
}

static void ok_rows_are_final_and_the_rest_is_superseded(void)
{
    suite_model model;
    suite_rows r;
    const char *path = storage_path();
    suite_write_all(path, &model);
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_RESUME);
    facpool_writer *writer = suite_writer(&options);
    for (unsigned round = 1; round <= 2; round++)
        for (size_t key = 0; key < SUITE_KEYS; key++) {
            suite_rows_range(&r, key, key + 1, 1, round);
            int rc = facpool_writer_append(writer, &r.rows, &err);
            if (suite_status(key, (unsigned)model.round[key]) == FACPOOL_STATUS_OK) {
                CHECK_INT(rc, FACPOOL_E_EXISTS);
                CHECK(err.has_task && err.date == suite_date(key));
            } else {
                CHECK_OK(rc, err);
                model.round[key] = (int8_t)round;
            }
        }
    CHECK_OK(facpool_writer_close(writer, &err), err);
    check_suite_store(path, &model);
}

/* All rows of an append, or none. */
static void an_append_that_is_refused_adds_no_row(void)
{
    suite_model model;
    suite_rows r;
    size_t ok_key = 0;
    const char *path = storage_path();
    while (suite_status(ok_key, 0) != FACPOOL_STATUS_OK)
        ok_key++;
    facpool_backup_options options = storage_options(path, FACPOOL_MODE_CREATE);
    facpool_writer *writer = suite_writer(&options);
    suite_append(writer, ok_key, ok_key + 1, 1, 0);
    suite_rows_range(&r, 0, SUITE_KEYS, 1, 0);
    CHECK_INT(facpool_writer_append(writer, &r.rows, &err), FACPOOL_E_EXISTS);
    suite_append(writer, ok_key + 1, SUITE_KEYS, 1, 0);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    suite_model_clear(&model);
    suite_model_add(&model, ok_key, SUITE_KEYS, 1, 0);
    check_suite_store(path, &model);
}

/* ------------------------------------------------------------------ many as one */

/* For one key ok beats not ok, then the later timestamp, then the later path. */
static void join(suite_model *model, const suite_model *next)
{
    for (size_t key = 0; key < SUITE_KEYS; key++) {
        if (model->round[key] < 0)
            model->round[key] = next->round[key];
        if (next->round[key] < 0)
            continue;
        suite_row a = suite_row_of(key, (unsigned)model->round[key]);
        suite_row b = suite_row_of(key, (unsigned)next->round[key]);
        bool a_ok = a.status == FACPOOL_STATUS_OK, b_ok = b.status == FACPOOL_STATUS_OK;
        if (a_ok != b_ok ? b_ok : b.timestamp >= a.timestamp)
            model->round[key] = next->round[key];
    }
}

static void check_joined(const char *const *paths, const suite_model *models, size_t n)
{
    static const char *const some_codes[] = {"000001", "null"};
    suite_model joined = models[0];
    for (size_t s = 1; s < n; s++)
        join(&joined, &models[s]);
    facpool_reader *reader = NULL;
    CHECK_OK(storage_open(&reader, paths, n), err);
    check_suite_reader(reader, &joined);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.codes = some_codes;
    filter.n_codes = 2;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = FACPOOL_ORDER_KEY;
    check_suite_question(reader, &filter, &joined);
    facpool_reader_free(reader);
}

static void many_stores_are_asked_as_one(void)
{
    enum { N_STORES = 4 };
    const char *paths[N_STORES], *backwards[N_STORES];
    suite_model models[N_STORES], models_backwards[N_STORES];
    for (unsigned s = 0; s < N_STORES; s++) {
        size_t first = s % 3, step = 1 + s % 2, last = N_STORES - 1 - s;
        backwards[last] = paths[s] = storage_path();
        facpool_backup_options options = storage_options(paths[s], FACPOOL_MODE_CREATE);
        facpool_writer *writer = suite_writer(&options);
        suite_append(writer, first, SUITE_KEYS - s * 5, step, s);
        CHECK_OK(facpool_writer_close(writer, &err), err);
        suite_model_clear(&models[s]);
        suite_model_add(&models[s], first, SUITE_KEYS - s * 5, step, s);
        models_backwards[last] = models[s];
    }
    check_joined(paths, models, N_STORES);
    check_joined(backwards, models_backwards, N_STORES);
    check_joined(paths + 1, models + 1, 2);
    facpool_reader *reader = NULL;
    const char *twice[] = {paths[0], paths[0]};
    CHECK_INT(storage_open(&reader, twice, 2), FACPOOL_E_INVALID);
    CHECK(!reader);
}

static void stores_of_other_factors_are_not_joined(void)
{
    suite_model model;
    const char *path = storage_path(), *other = storage_path();
    suite_write_all(path, &model);
    write_large(other, 10, SUITE_FACTORS);
    const char *paths[] = {path, other};
    facpool_reader *reader = NULL;
    CHECK_INT(storage_open(&reader, paths, 2), FACPOOL_E_MISMATCH);
    CHECK(!reader && strstr(err.message, "odd"));
}

static void tests(void)
{
    RUN(rows_of_every_kind_come_back_bit_for_bit);
    RUN(columns_may_be_given_apart);
    RUN(questions_give_the_rows_that_match_and_no_others);
    RUN(batches_give_the_same_rows);
    RUN(a_store_without_rows_can_be_continued);
    RUN(a_single_row_is_a_store);
    RUN(long_and_wide_stores_come_back);
    RUN(a_store_is_never_continued_or_replaced_by_accident);
    RUN(what_is_not_there_is_said_so);
    RUN(rows_that_look_like_another_format_change_nothing);
    RUN(files_that_are_no_backup_are_left_alone);
    RUN(what_only_looks_like_a_backup_is_not_overwritten);
    RUN(ok_rows_are_final_and_the_rest_is_superseded);
    RUN(an_append_that_is_refused_adds_no_row);
    RUN(many_stores_are_asked_as_one);
    RUN(stores_of_other_factors_are_not_joined);
}

int main(int argc, char **argv)
{
    return suite_main(argc, argv, "formats", N_STORAGE_CASES, tests);
}
