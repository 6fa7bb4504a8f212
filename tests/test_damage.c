/* A small backup of each file format, cut at every byte, and with every bit of it flipped: never a
 * crash, never a wrong row. Every question gives right rows or an error, verify sees every flip
 * that could matter, and resume brings back exactly the right rows, each once. Through the public
 * header only. */
#include "damage_formats.h"

#include <math.h>

#define MOST_DATES 6
#define N_CODES    8
#define MOST_KEYS  (MOST_DATES * N_CODES)
#define N_FACTORS  3

static size_t n_keys;

/* Where a sanitizer makes everything several times as slow, one format is tried at every bit, and
 * the others at so many fewer places: at each of a byte's bits in turn. */
#ifdef __SANITIZE_ADDRESS__
#define THINNED 5
#else
#define THINNED 1
#endif

static size_t step_between_tries(void)
{
    return format == &formats[0] ? 1 : THINNED;
}

/* ------------------------------------------------------------------ what the rows are */

static const char *const codes[N_CODES] = {"000001", "000002",       "300750", "600000",
                                           "AAPL",   "\xe4\xb8\xad", "z",      "z1"};

static int64_t date_of(size_t key)
{
    return 20240101 + (int64_t)(key / N_CODES);
}

static size_t key_of(int64_t date, const char *code)
{
    for (size_t c = 0; c < N_CODES; c++)
        if (strcmp(code, codes[c]) == 0 && date >= 20240101 && date < date_of(n_keys))
            return (size_t)(date - 20240101) * N_CODES + c;
    return n_keys;
}

static void factors_of(size_t key, double *out)
{
    uint64_t h = mix_bits(key + 1);
    out[0] = (double)(h >> 11) / 9007199254740992.0 - 0.5;
    out[1] = (double)(h % 100000) / 100;
    out[2] = key % 7 ? (double)(key % 5) : (double)NAN;
}

/* In the last round one task of eleven still fails, one of thirteen is skipped; in rounds before it
 * some more failed. */
static int status_of(size_t key, int round)
{
    if (key % 13 == 5)
        return FACPOOL_STATUS_SKIPPED;
    if (key % 11 == 3 || (round < 2 && key % 5 == 1))
        return FACPOOL_STATUS_FAILED;
    return FACPOOL_STATUS_OK;
}

static int round_now;
static unsigned calls;

static int compute(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    size_t key = key_of(task->date, task->code);
    calls++;
    switch (status_of(key, round_now)) {
    case FACPOOL_STATUS_SKIPPED:
        return FACPOOL_SKIP;
    case FACPOOL_STATUS_FAILED:
        return facpool_task_fail(task, 7 + (int)key, round_now < 2 ? "not yet" : "no bars");
    default:
        factors_of(key, factors);
        return 0;
    }
}

/* ------------------------------------------------------------------ making the file */

static facpool_tasks *make_tasks(size_t n_dates)
{
    facpool_tasks *tasks = NULL;
    int64_t dates[MOST_DATES];
    for (size_t d = 0; d < n_dates; d++)
        dates[d] = date_of(d * N_CODES);
    CHECK_OK(facpool_tasks_grid(&tasks, dates, n_dates, codes, N_CODES, &err), err);
    return tasks;
}

/* Resumes the file over the first dates; returns how many tasks were called. */
static unsigned resume(size_t n_dates, int32_t durability, uint64_t *damaged)
{
    facpool_tasks *tasks = make_tasks(n_dates);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.durability = durability;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute;
    options.n_factors = N_FACTORS;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.backup = &backup;
    options.results = FACPOOL_RESULTS_DROP;
    facpool_result *result = NULL;
    calls = 0;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    if (damaged)
        *damaged = report.damaged_blocks;
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return calls;
}

/* Three rounds: blocks of ok rows, of others, superseded failures, and index blocks between. */
static void make_backup(int32_t durability)
{
    unlink(path);
    for (round_now = 0; round_now < 3; round_now++)
        resume(round_now == 0 ? format->n_dates / 2 : format->n_dates, durability, NULL);
    round_now = 2;
}

/* ------------------------------------------------------------------ asking */

typedef struct answer {
    unsigned n_rows;
    unsigned n_errors; /* damage reported while reading */
    unsigned n_twice;  /* rows of a key that was given before */
    unsigned n_older;  /* rows that a later one should supersede */
    uint8_t seen[MOST_KEYS];
    int open_error;
} answer;

/* A row must be one that was written: the key's latest, or an earlier failure. */
static void take_row(answer *a, const facpool_row *row)
{
    size_t key = key_of(row->date, row->code);
    CHECK(key < n_keys);
    double factors[N_FACTORS];
    factors_of(key, factors);
    a->n_twice += a->seen[key];
    a->seen[key] = 1;
    a->n_rows++;
    if (row->status != status_of(key, 2)) {
        CHECK_INT(row->status, FACPOOL_STATUS_FAILED);
        CHECK_INT(row->status, status_of(key, 0));
        a->n_older++;
    }
    if (row->status == FACPOOL_STATUS_OK) {
        CHECK(row->factors && memcmp(row->factors, factors, sizeof factors) == 0);
    } else if (row->status == FACPOOL_STATUS_FAILED) {
        CHECK_INT(row->failure_code, 7 + (int)key);
        if (strcmp(row->message, "not yet") != 0)
            CHECK_TEXT(row->message, "no bars");
    }
    CHECK(row->timestamp > INT64_C(1500000000000000) && row->timestamp < INT64_C(9000000000000000));
}

static answer ask(facpool_reader *reader, int32_t order, uint32_t statuses)
{
    answer a = {0};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    filter.order = order;
    filter.statuses = statuses;
    a.open_error = facpool_query(reader, &filter, &cursor, &err);
    if (a.open_error) {
        CHECK_INT(a.open_error, FACPOOL_E_CORRUPT);
        return a;
    }
    for (;;) {
        facpool_row row = FACPOOL_ROW_INIT;
        int rc = facpool_cursor_next(cursor, &row, &err);
        if (rc == 0)
            break;
        if (rc == 1) {
            take_row(&a, &row);
        } else {
            CHECK_INT(rc, FACPOOL_E_CORRUPT);
            CHECK(++a.n_errors < 1000);
        }
    }
    facpool_cursor_free(cursor);
    return a;
}

static unsigned rows_of_status(int status)
{
    unsigned n = 0;
    for (size_t key = 0; key < n_keys; key++)
        n += status_of(key, 2) == status;
    return n;
}

/* In both orders: all rows, ok rows, failed ones, as far as n goes. With errors rows may be
 * missing; without them the answer is whole. Returns how many questions met damage, or -1 where the
 * file could not be opened. */
static int ask_questions(int n, bool *whole)
{
    static const uint32_t statuses[] = {FACPOOL_STATUS_ALL, 0,
                                        FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED)};
    facpool_reader *reader = NULL;
    const char *paths[] = {path};
    int rc = facpool_reader_open(&reader, paths, 1, &err);
    if (rc) {
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        return -1;
    }
    int met = 0;
    *whole = true;
    for (int i = 0; i < n; i++) {
        answer a = ask(reader, i % 2 ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE, statuses[i / 2]);
        unsigned expected = i / 2 == 0   ? (unsigned)n_keys
                            : i / 2 == 1 ? rows_of_status(FACPOOL_STATUS_OK)
                                         : rows_of_status(FACPOOL_STATUS_FAILED);
        bool silent = !a.n_errors && !a.open_error;
        met += !silent;
        CHECK_INT(a.n_twice, 0);
        if (a.n_rows != expected || a.n_older)
            *whole = false;
    }
    facpool_reader_free(reader);
    return met;
}

static int ask_everything(bool *whole)
{
    return ask_questions(6, whole);
}

/* ------------------------------------------------------------------ whole files */

static void the_backup_is_what_it_should_be(void)
{
    bool whole = false;
    make_backup(FACPOOL_DURABILITY_GROUP);
    CHECK_INT(ask_everything(&whole), 0);
    CHECK(whole);
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    CHECK_TEXT(info->format, format->name);
    CHECK(info->closed);
    CHECK(info->blocks >= 3);
    CHECK(info->rows[FACPOOL_STATUS_OK] == rows_of_status(FACPOOL_STATUS_OK));
    CHECK(info->rows[FACPOOL_STATUS_FAILED] > rows_of_status(FACPOOL_STATUS_FAILED));
    printf("  %llu bytes, %llu blocks\n", (unsigned long long)info->file_bytes,
           (unsigned long long)info->blocks);
    facpool_info_free(info);
}

/* ------------------------------------------------------------------ cuts */

/* A cut file is a younger one: what is read is what was written by then, with no error. */
static void check_cut(size_t cut, unsigned *rows_before)
{
    facpool_reader *reader = NULL;
    const char *paths[] = {path};
    int rc = facpool_reader_open(&reader, paths, 1, &err);
    if (rc) {
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        CHECK_INT(*rows_before, 0);
        return;
    }
    unsigned n_rows = 0;
    for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        answer a = ask(reader, order, FACPOOL_STATUS_ALL);
        CHECK_INT(a.n_errors, 0);
        CHECK_INT(a.open_error, 0);
        CHECK_INT(a.n_twice, 0);
        if (order == FACPOOL_ORDER_KEY)
            CHECK_INT(a.n_rows, n_rows);
        n_rows = a.n_rows;
    }
    facpool_reader_free(reader);
    if (n_rows < *rows_before)
        printf("  cut at %zu\n", cut);
    CHECK(n_rows >= *rows_before);
    *rows_before = n_rows;
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK_INT(report.damaged_blocks, 0);
}

/* Damage that cutting leaves is none: it was never said to be there. */
static void resume_and_check_all(size_t at)
{
    bool whole = false;
    uint64_t damaged = 0;
    resume(format->n_dates, FACPOOL_DURABILITY_NONE, &damaged);
    int met = ask_everything(&whole);
    if (met || !whole || damaged)
        printf("  at byte %zu\n", at);
    CHECK_INT(damaged, 0);
    CHECK_INT(met, 0);
    CHECK(whole);
    CHECK_INT(resume(format->n_dates, FACPOOL_DURABILITY_NONE, NULL),
              rows_of_status(FACPOOL_STATUS_FAILED));
}

/* How many lines are whole. */
static unsigned count_lines(const uint8_t *bytes, size_t size)
{
    unsigned n = 0;
    for (size_t i = 0; i < size; i++)
        n += bytes[i] == '\n';
    return n;
}

#define N_PARTS 6

/* A file of six blocks and, after each, how long the file was and how many rows it held. The first
 * ones are of two syncs: what was durable is told from what was not. */
static void write_parts(size_t *sizes, unsigned *n_rows)
{
    facpool_writer *writer = NULL;
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_OK(facpool_writer_open(&writer, &options, NULL, N_FACTORS, &err), err);
    for (size_t part = 0; part < N_PARTS; part++) {
        bool ok = part % 3 != 1; /* a block holds ok rows or others */
        n_rows[part] = part ? n_rows[part - 1] : 0;
        for (size_t key = 0; key < n_keys; key++) {
            int64_t date = date_of(key);
            int status = status_of(key, 2);
            double factors[N_FACTORS];
            uint8_t byte = (uint8_t)status;
            const char *message = "no bars";
            int32_t code = 7 + (int32_t)key;
            if ((status == FACPOOL_STATUS_OK) != ok || key % 2 != part / 3)
                continue;
            factors_of(key, factors);
            facpool_rows rows = FACPOOL_ROWS_INIT;
            rows.n = 1;
            rows.dates = &date;
            rows.codes = &codes[key % N_CODES];
            rows.statuses = &byte;
            rows.factors = factors;
            rows.failure_codes = status == FACPOOL_STATUS_FAILED ? &code : NULL;
            rows.messages = status == FACPOOL_STATUS_FAILED ? &message : NULL;
            if (ok && (key / 2 % 2 == 0) != (part % 3 == 0))
                continue;
            CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
            n_rows[part]++;
        }
        CHECK_OK(facpool_writer_sync(writer, &err), err);
        sizes[part] = (size_t)file_bytes(path);
    }
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

static void a_file_cut_at_any_byte_holds_exactly_what_is_whole(void)
{
    size_t size = 0, sizes[N_PARTS];
    unsigned n_rows[N_PARTS];
    write_parts(sizes, n_rows);
    CHECK_INT(n_rows[N_PARTS - 1], n_keys);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    for (size_t cut = 0; cut <= size; cut += step_between_tries()) {
        unsigned expected = 0, found = 0;
        for (size_t part = 0; part < N_PARTS && sizes[part] <= cut; part++)
            expected = n_rows[part];
        if (!format->has_frame)
            expected = count_lines(bytes, cut);
        CHECK(file_write(path, bytes, cut));
        check_cut(cut, &found);
        if (found != expected)
            printf("  cut at %zu of %zu\n", cut, size);
        CHECK_INT(found, expected);
    }
    free(bytes);
}

static void check_all_cuts(int32_t durability)
{
    size_t size = 0;
    unsigned rows_before = 0;
    bool whole = false;
    make_backup(durability);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    for (size_t cut = 0; cut <= size; cut += step_between_tries()) {
        CHECK(file_write(path, bytes, cut));
        check_cut(cut, &rows_before);
    }
    CHECK(file_write(path, bytes, size));
    CHECK_INT(ask_everything(&whole), 0);
    CHECK(whole);
    free(bytes);
}

static void a_file_cut_at_any_byte_gives_what_was_written_before(void)
{
    check_all_cuts(FACPOOL_DURABILITY_GROUP);
}

static void a_file_never_synced_and_cut_at_any_byte_gives_what_was_written_before(void)
{
    check_all_cuts(FACPOOL_DURABILITY_NONE);
}

static void a_file_cut_at_any_byte_is_completed_by_resume(void)
{
    size_t size = 0, resumed = 0, refused = 0;
    make_backup(FACPOOL_DURABILITY_GROUP);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    for (size_t cut = 0; cut <= size; cut += format->step * step_between_tries()) {
        CHECK(file_write(path, bytes, cut));
        facpool_reader *reader = NULL;
        const char *paths[] = {path};
        /* A file cut in its header is no backup: resume refuses it too. */
        if (format->has_frame && facpool_reader_open(&reader, paths, 1, &err)) {
            facpool_tasks *tasks = make_tasks(1);
            facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
            facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
            backup.path = path;
            backup.mode = FACPOOL_MODE_RESUME;
            options.fn = compute;
            options.n_factors = N_FACTORS;
            options.backup = &backup;
            facpool_result *result = NULL;
            int rc = facpool_run(tasks, &options, &result, &err);
            CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED || rc == 0);
            facpool_result_free(result);
            facpool_tasks_free(tasks);
            refused += rc != 0;
            continue;
        }
        facpool_reader_free(reader);
        resume_and_check_all(cut);
        resumed++;
    }
    printf("  %zu cuts resumed, %zu refused\n", resumed, refused);
    free(bytes);
}

/* ------------------------------------------------------------------ flips */

static size_t n_unnoticed;

/* What verify says; true where it says something is not as it was. */
static bool verify_notices(bool *has_tail)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = facpool_backup_verify(path, &report, &err);
    CHECK(rc == 0 || rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
    if (rc == FACPOOL_E_CORRUPT && report.blocks)
        CHECK(report.damaged_blocks > 0);
    *has_tail = report.tail_bytes > 0;
    return rc != 0 || *has_tail || !report.closed;
}

/* A whole file, closed after a sync: all its rows are known to be there, so that a question either
 * gives them all or meets damage. (Bad lines at the end of a json file are its torn tail.) */
static void check_flip(size_t bit)
{
    bool whole = false, has_tail = false;
    int met = ask_questions(bit % 8 == bit / 8 % 8 ? 6 : 2, &whole);
    bool noticed = verify_notices(&has_tail);
    bool is_torn = has_tail && !format->has_frame;
    if (met == 0 && !whole && !is_torn)
        printf("  bit %zu of byte %zu\n", bit % 8, bit / 8);
    CHECK(met != 0 || whole || is_torn);
    n_unnoticed += !noticed;
    if (!noticed && (met || !whole))
        printf("  bit %zu of byte %zu is not noticed\n", bit % 8, bit / 8);
    CHECK(noticed || (met == 0 && whole));
}

static void any_flipped_bit_gives_right_rows_or_an_error(void)
{
    size_t size = 0;
    make_backup(FACPOOL_DURABILITY_GROUP);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    for (size_t bit = 0; bit < size * 8; bit += step_between_tries()) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(file_write(path, bytes, size));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        check_flip(bit);
    }
    free(bytes);
    printf("  %zu bits flipped, %zu of padding\n", size * 8 / step_between_tries(), n_unnoticed);
    CHECK(n_unnoticed * 10 < size * 8);
    n_unnoticed = 0;
}

/* The same without the last sync and the index, as a killed writer leaves a file: its last blocks
 * may be taken for a torn tail. */
static void any_flipped_bit_of_an_unclosed_file_gives_right_rows_or_fewer(void)
{
    size_t size = 0;
    make_backup(FACPOOL_DURABILITY_NONE);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    report.closed = 1;
    size_t cut = size; /* before the index: the last cut that is not closed and has no tail */
    while (format->has_frame && (report.tail_bytes || report.closed)) {
        CHECK(file_write(path, bytes, --cut));
        CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    }
    for (size_t bit = 0; bit < cut * 8; bit += step_between_tries()) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(file_write(path, bytes, cut));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool whole = false;
        int met = ask_questions(bit % 8 == bit / 8 % 8 ? 6 : 2, &whole);
        int rc = facpool_backup_verify(path, &report, &err);
        bool noticed = rc || report.tail_bytes;
        if (!noticed && (met || !whole))
            printf("  bit %zu of byte %zu is not noticed\n", bit % 8, bit / 8);
        CHECK(noticed || (!met && whole));
    }
    free(bytes);
}

/* After resume every key has its row exactly once, whatever is still damaged beside them. */
static void check_resumed_over_damage(size_t bit)
{
    facpool_reader *reader = NULL;
    const char *paths[] = {path};
    CHECK_OK(facpool_reader_open(&reader, paths, 1, &err), err);
    for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        answer a = ask(reader, order, FACPOOL_STATUS_ALL);
        if (a.n_rows != n_keys || a.n_twice || a.n_older)
            printf("  bit %zu of byte %zu, order %d: %u rows, %u twice, %u older\n", bit % 8,
                   bit / 8, order, a.n_rows, a.n_twice, a.n_older);
        CHECK_INT(a.n_rows, n_keys);
        CHECK_INT(a.n_twice, 0);
        CHECK_INT(a.n_older, 0);
        a = ask(reader, order, 0);
        CHECK_INT(a.n_rows, rows_of_status(FACPOOL_STATUS_OK));
        CHECK_INT(a.n_twice, 0);
    }
    facpool_reader_free(reader);
}

static void resume_over_any_flipped_bit_brings_every_row_back_once(void)
{
    size_t size = 0, refused = 0, resumed = 0;
    make_backup(FACPOOL_DURABILITY_GROUP);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    /* Every byte has one of its bits flipped, a different one from byte to byte. */
    for (size_t byte = 0; byte < size; byte += format->step * step_between_tries()) {
        size_t bit = byte * 8 + mix_bits(byte) % 8;
        bytes[byte] ^= (uint8_t)(1 << bit % 8);
        CHECK(file_write(path, bytes, size));
        bytes[byte] ^= (uint8_t)(1 << bit % 8);
        facpool_reader *reader = NULL;
        const char *paths[] = {path};
        if (facpool_reader_open(&reader, paths, 1, &err)) {
            refused++;
            continue;
        }
        facpool_reader_free(reader);
        resume(format->n_dates, FACPOOL_DURABILITY_NONE, NULL);
        check_resumed_over_damage(bit);
        cut_last_bytes();
        check_resumed_over_damage(bit);
        resumed++;
    }
    free(bytes);
    printf("  %zu flips resumed, %zu in the header refused\n", resumed, refused);
}

static void tests(void)
{
    n_keys = format->n_dates * N_CODES;
    RUN(the_backup_is_what_it_should_be);
    RUN(a_file_cut_at_any_byte_holds_exactly_what_is_whole);
    RUN(a_file_cut_at_any_byte_gives_what_was_written_before);
    RUN(a_file_never_synced_and_cut_at_any_byte_gives_what_was_written_before);
    RUN(a_file_cut_at_any_byte_is_completed_by_resume);
    RUN(any_flipped_bit_gives_right_rows_or_an_error);
    RUN(any_flipped_bit_of_an_unclosed_file_gives_right_rows_or_fewer);
    RUN(resume_over_any_flipped_bit_brings_every_row_back_once);
}

int main(int argc, char **argv)
{
    return damage_main(argc, argv, "damage", tests);
}
