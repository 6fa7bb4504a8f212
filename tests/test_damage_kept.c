/* Who gives damage up: a run whose tasks hold what was lost. A writer, or a run of other tasks,
 * that goes on in a damaged file leaves the damage, and everyone who asks is told of it; what can
 * be read stays. And who follows the file misses no row. Through the public header only. */
#include "damage_formats.h"

#include <string.h>

#define DAYS  4
#define CODES 50
#define FIRST 20240101

/* Half of so many rows take several pages. */
#define WIDE 1000
#define LONG 10

static const char *codes[CODES];
static uint64_t ends[DAYS + 1]; /* where each day's block ends; the header */
static char last_note[512];

static double value_of(int64_t day, size_t code, size_t factor)
{
    uint64_t mixed = ((uint64_t)day * 131 + code * 2 + factor) * UINT64_C(0x9e3779b97f4a7c15);
    return (double)(mixed >> 11) / 7; /* a block is no smaller than these */
}

static int compute(const facpool_task *task, double *factors, void *user)
{
    int *times = user; /* calls a day */
    times[task->date - FIRST]++;
    for (size_t f = 0; f < 2; f++)
        factors[f] = value_of(task->date, (size_t)atoi(task->code), f);
    return 0;
}

static void note(const char *message, void *user)
{
    (void)user;
    if (strstr(message, "damaged"))
        snprintf(last_note, sizeof last_note, "%s", message);
}

static void append_day(facpool_writer *writer, int64_t day)
{
    int64_t dates[CODES];
    double factors[CODES][2];
    facpool_rows rows = FACPOOL_ROWS_INIT;
    for (size_t c = 0; c < CODES; c++) {
        dates[c] = FIRST + day;
        for (size_t f = 0; f < 2; f++)
            factors[c][f] = value_of(FIRST + day, c, f);
    }
    rows.n = CODES;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors[0];
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
}

static facpool_writer *open_writer(int32_t mode)
{
    facpool_writer *writer = NULL;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = mode;
    CHECK_OK(facpool_writer_open(&writer, &backup, NULL, 2, &err), err);
    return writer;
}

/* ------------------------------------------------------------------ asking */

typedef struct answer {
    size_t rows[DAYS + 1]; /* of each day */
    size_t n_damaged;      /* errors on the way */
    uint64_t end_bytes;
} answer;

static answer ask_reader(facpool_reader *reader, uint64_t skip_bytes)
{
    answer a = {.n_damaged = 0};
    bool seen[DAYS + 1][CODES] = {{false}};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.skip_bytes = skip_bytes;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (int rc; (rc = facpool_cursor_next(cursor, &row, &err)) != 0;) {
        CHECK(rc == 1 || rc == FACPOOL_E_CORRUPT);
        if (rc != 1) {
            a.n_damaged++;
            continue;
        }
        size_t code = (size_t)atoi(row.code), day = (size_t)(row.date - FIRST);
        CHECK(day <= DAYS && code < CODES && !seen[day][code]);
        seen[day][code] = true;
        CHECK(row.factors[0] == value_of(row.date, code, 0));
        CHECK(row.factors[1] == value_of(row.date, code, 1));
        a.rows[day]++;
    }
    CHECK_OK(facpool_cursor_stats(cursor, &stats, &err), err);
    a.end_bytes = stats.end_bytes;
    facpool_cursor_free(cursor);
    return a;
}

static facpool_reader *open_reader(void)
{
    const char *paths[] = {path};
    facpool_reader *reader = NULL;
    CHECK_OK(facpool_reader_open(&reader, paths, 1, &err), err);
    return reader;
}

static answer ask(void)
{
    facpool_reader *reader = open_reader();
    answer a = ask_reader(reader, 0);
    facpool_reader_free(reader);
    return a;
}

/* ------------------------------------------------------------------ a damaged file */

static bool has_lines(void)
{
    return !format->has_frame;
}

/* A block a day, and a byte of day 1 changed: of its last column, or (in a file of lines) of its
 * first line; with `keys` of its first bytes, so that it can't be read at all. */
static void make_damaged(bool keys)
{
    unlink(path);
    facpool_writer *writer = open_writer(FACPOOL_MODE_CREATE);
    for (int64_t day = 0; day < DAYS; day++) {
        ends[day] = day ? ask().end_bytes : 0;
        append_day(writer, day);
    }
    CHECK_OK(facpool_writer_close(writer, &err), err);
    size_t n;
    uint8_t *bytes = file_read(path, &n);
    int fd = file_open_to_damage();
    uint64_t at = has_lines() || keys ? ends[1] + 30 : ends[2] - 100;
    file_flip(fd, bytes, (size_t)at * 8);
    close(fd);
    free(bytes);
}

static size_t lost_rows(void)
{
    return has_lines() ? 1 : CODES;
}

/* A run of the days first .. last resumes the file. */
static facpool_report run_days(int64_t first, int64_t last, int times[DAYS + 1], int32_t results,
                               facpool_result **out)
{
    int64_t dates[DAYS + 1];
    size_t n = 0;
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    facpool_report report = FACPOOL_REPORT_INIT;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    for (int64_t day = first; day <= last; day++)
        dates[n++] = FIRST + day;
    memset(times, 0, (DAYS + 1) * sizeof *times);
    last_note[0] = '\0';
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    options.backup = &backup;
    options.fn = compute;
    options.user = times;
    options.n_factors = 2;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.results = results;
    options.log = note;
    CHECK_OK(facpool_tasks_grid(&tasks, dates, n, codes, CODES, &err), err);
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    facpool_tasks_free(tasks);
    if (out)
        *out = result;
    else
        facpool_result_free(result);
    return report;
}

static void is_still_reported(void)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    answer a = ask();
    CHECK_INT(a.n_damaged, 1);
    CHECK_INT(a.rows[0], CODES);
    CHECK_INT(a.rows[2], CODES);
    CHECK_INT(facpool_backup_verify(path, &report, &err), FACPOOL_E_CORRUPT);
    CHECK_INT(facpool_backup_compact(path, &err), FACPOOL_E_CORRUPT);
}

static void is_whole(int64_t days)
{
    answer a = ask();
    CHECK_INT(a.n_damaged, 0);
    for (int64_t day = 0; day <= DAYS; day++)
        CHECK_INT(a.rows[day], day < days ? CODES : 0);
}

/* ------------------------------------------------------------------ tests */

static void a_writer_leaves_damage_to_be_reported(void)
{
    for (int keys = 0; keys < 2; keys++) {
        make_damaged(keys);
        for (int round = 0; round < 2; round++) {
            facpool_writer *writer = open_writer(FACPOOL_MODE_RESUME);
            if (round == 0)
                append_day(writer, DAYS);
            CHECK_OK(facpool_writer_close(writer, &err), err);
            is_still_reported();
            CHECK_INT(ask().rows[DAYS], CODES);
        }
    }
}

static void a_run_of_other_tasks_leaves_it_too(void)
{
    int times[DAYS + 1];
    for (int keys = 0; keys < 2; keys++) {
        make_damaged(keys);
        facpool_result *result = NULL;
        facpool_report report = run_days(DAYS, DAYS, times, FACPOOL_RESULTS_KEEP, &result);
        CHECK_INT(report.damaged_blocks, 1);
        CHECK_INT(times[DAYS], CODES);
        CHECK(strstr(last_note, "stay") != NULL);
        facpool_result_free(result);
        is_still_reported();
        /* What is lost is not this run's: it can be loaded. */
        run_days(DAYS, DAYS, times, FACPOOL_RESULTS_KEEP, &result);
        CHECK_INT(times[DAYS], 0);
        for (size_t i = 0; i < CODES; i++)
            CHECK_INT(facpool_result_status(result)[i], FACPOOL_STATUS_OK);
        facpool_result_free(result);
        run_days(DAYS, DAYS, times, FACPOOL_RESULTS_DROP, &result);
        facpool_result_free(result);
        is_still_reported();
    }
}

static void a_run_of_all_tasks_computes_what_was_lost(void)
{
    int times[DAYS + 1];
    for (int keys = 0; keys < 2; keys++)
        for (int others_first = 0; others_first < 2; others_first++) {
            make_damaged(keys);
            if (others_first)
                run_days(DAYS, DAYS, times, FACPOOL_RESULTS_DROP, NULL);
            facpool_report report = run_days(0, DAYS, times, FACPOOL_RESULTS_DROP, NULL);
            CHECK_INT(report.damaged_blocks, 1);
            CHECK(strstr(last_note, "run again") != NULL);
            CHECK_INT(times[0], 0);
            CHECK_INT(times[1], lost_rows());
            CHECK_INT(times[DAYS], others_first ? 0 : CODES);
            is_whole(DAYS + 1);
            CHECK_INT(run_days(0, DAYS, times, FACPOOL_RESULTS_DROP, NULL).damaged_blocks, 0);
            CHECK_OK(facpool_backup_compact(path, &err), err);
            is_whole(DAYS + 1);
        }
}

/* Where all keys of a damaged block can be read, it is known whose they are. */
static void a_run_of_the_tasks_of_a_damaged_block_computes_it(void)
{
    int times[DAYS + 1];
    make_damaged(false);
    run_days(1, 1, times, FACPOOL_RESULTS_DROP, NULL);
    CHECK_INT(times[1], lost_rows());
    answer a = ask();
    CHECK_INT(a.rows[1], CODES);
    CHECK_INT(a.n_damaged, has_lines()); /* nothing tells whose a damaged line was */
    make_damaged(true);
    run_days(1, 1, times, FACPOOL_RESULTS_DROP, NULL);
    CHECK_INT(times[1], lost_rows());
    CHECK_INT(ask().rows[1], CODES);
    is_still_reported();
}

/* What was seen comes not again, whatever is given up before it. */
/* Which keys the rows of several pages have, without a pattern that takes no bytes. */
static bool is_chosen(size_t day, size_t code)
{
    return (day * 131 + code) * UINT64_C(0x9e3779b97f4a7c15) >> 63;
}

/* Rows in pages, whose tasks are returned, then some of another day. */
static facpool_tasks *write_pages(size_t *n)
{
    static char texts[WIDE][16];
    static const char *many[WIDE * LONG];
    static int64_t dates[WIDE * LONG];
    static double factors[WIDE * LONG][2];
    facpool_tasks *tasks = NULL;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    for (size_t i = 0; i < (size_t)WIDE * LONG; i++) {
        size_t day = i / WIDE, code = i % WIDE;
        snprintf(texts[code], sizeof texts[code], "%06zu", code);
        if (!is_chosen(day, code))
            continue;
        many[rows.n] = texts[code];
        dates[rows.n] = FIRST + (int64_t)day;
        for (size_t f = 0; f < 2; f++)
            factors[rows.n][f] = value_of(dates[rows.n], code, f);
        CHECK_OK(facpool_tasks_add(tasks, dates[rows.n], texts[code], &err), err);
        rows.n++;
    }
    *n = rows.n;
    unlink(path);
    facpool_writer *writer = open_writer(FACPOOL_MODE_CREATE);
    rows.dates = dates;
    rows.codes = many;
    rows.factors = factors[0];
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    append_day(writer, LONG);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    return tasks;
}

/* How many of these rows have keys that can be read, each once. */
static size_t count_keys(bool *once)
{
    static uint8_t seen[LONG][WIDE];
    static const char *const no_factors[] = {NULL};
    facpool_reader *reader = open_reader();
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    size_t n = 0;
    memset(seen, 0, sizeof seen);
    *once = true;
    filter.factors = no_factors;
    filter.columns = FACPOOL_COLUMN_DATE | FACPOOL_COLUMN_CODE;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (int rc; (rc = facpool_cursor_next(cursor, &row, &err)) != 0;) {
        if (rc < 0 || row.date >= FIRST + LONG)
            continue;
        *once = *once && seen[row.date - FIRST][atoi(row.code)]++ == 0;
        n++;
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return n;
}

/* Flips a bit of the keys of some page; returns how many rows are lost by it. */
static size_t damage_a_page(size_t n)
{
    size_t size = 0, lost = 0;
    bool once;
    uint8_t *bytes = file_read(path, &size);
    int fd = file_open_to_damage();
    for (size_t at = 1024; lost == 0 && at < size; at += 100) {
        file_flip(fd, bytes, at * 8);
        size_t left = count_keys(&once);
        lost = left == 0 ? 0 : n - left;
        if (lost == 0)
            file_flip(fd, bytes, at * 8);
    }
    close(fd);
    free(bytes);
    return lost;
}

static int count_calls(const facpool_task *task, double *factors, void *user)
{
    ++*(size_t *)user;
    for (size_t f = 0; f < 2; f++)
        factors[f] = value_of(task->date, (size_t)atoi(task->code), f);
    return 0;
}

/* A damaged page costs its own rows only, also where its block stays; none is there twice. */
static void rows_of_sound_pages_are_not_computed_again(void)
{
    if (has_lines())
        return;
    size_t calls = 0, n;
    bool once;
    facpool_tasks *tasks = write_pages(&n);
    size_t lost = damage_a_page(n);
    CHECK(lost > 0 && lost < n / 2);
    facpool_result *result = NULL;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    options.backup = &backup;
    options.fn = count_calls;
    options.user = &calls;
    options.n_factors = 2;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(calls, lost);
    CHECK_INT(count_keys(&once), n);
    CHECK(once);
    for (size_t day = 0, i = 0; day < LONG; day++)
        for (size_t code = 0; code < WIDE; code++)
            if (is_chosen(day, code))
                CHECK(facpool_result_factor(result, 1)[i++] ==
                      value_of(FIRST + (int64_t)day, code, 1));
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* A writer takes no row for a key whose ok row can still be read, wherever in a damaged block. */
static void keys_that_can_be_read_are_final_for_a_writer(void)
{
    if (has_lines())
        return;
    size_t n, n_there = 0;
    bool once;
    facpool_tasks_free(write_pages(&n));
    size_t lost = damage_a_page(n);
    facpool_writer *writer = open_writer(FACPOOL_MODE_RESUME);
    for (size_t i = 0; i < (size_t)WIDE * LONG; i++) {
        char code[16];
        const char *row_code = code;
        int64_t date = FIRST + (int64_t)(i / WIDE);
        double factors[2] = {value_of(date, i % WIDE, 0), value_of(date, i % WIDE, 1)};
        facpool_rows row = FACPOOL_ROWS_INIT;
        if (!is_chosen(i / WIDE, i % WIDE))
            continue;
        snprintf(code, sizeof code, "%06zu", i % WIDE);
        row.n = 1;
        row.dates = &date;
        row.codes = &row_code;
        row.factors = factors;
        int rc = facpool_writer_append(writer, &row, &err);
        CHECK(rc == 0 || rc == FACPOOL_E_EXISTS);
        n_there += rc != 0;
    }
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(n_there, n - lost);
    CHECK_INT(count_keys(&once), n);
    CHECK(once);
}

/* Failures whose messages are damaged, of two runs in one block: who has run his tasks again and
 * well has lost nothing. */
static void damaged_failures_that_were_superseded_are_no_loss(void)
{
    int64_t dates[CODES];
    uint8_t statuses[CODES];
    static char texts[CODES][40];
    const char *messages[CODES];
    facpool_rows rows = FACPOOL_ROWS_INIT;
    for (size_t c = 0; c < CODES; c++) {
        dates[c] = FIRST + (int64_t)(c % 2); /* of two runs */
        statuses[c] = FACPOOL_STATUS_FAILED;
        snprintf(texts[c], sizeof texts[c], "%.17g %zu", value_of(FIRST, c, 0), c);
        messages[c] = texts[c];
    }
    rows.n = CODES;
    rows.dates = dates;
    rows.codes = codes;
    rows.statuses = statuses;
    rows.messages = messages;
    unlink(path);
    facpool_writer *writer = open_writer(FACPOOL_MODE_CREATE);
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    uint64_t end = ask().end_bytes;
    append_day(writer, 2);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    size_t size;
    uint8_t *bytes = file_read(path, &size);
    int fd = file_open_to_damage();
    file_flip(fd, bytes, (size_t)(end - 150) * 8);
    close(fd);
    free(bytes);
    for (int round = 0; round < 2; round++) {
        int times[DAYS + 1];
        facpool_result *result = NULL;
        facpool_report report = run_days(0, 0, times, FACPOOL_RESULTS_KEEP, &result);
        CHECK_INT(report.damaged_blocks, 1);
        CHECK_OK(facpool_result_load(result, &err), err);
        for (size_t i = 0; i < CODES; i++)
            CHECK_INT(facpool_result_status(result)[i], FACPOOL_STATUS_OK);
        CHECK_INT(times[0], round ? 0 : CODES);
        facpool_result_free(result);
    }
}

static void who_follows_the_file_misses_nothing(void)
{
    int times[DAYS + 1];
    for (int keys = 0; keys < 2; keys++) {
        make_damaged(keys);
        facpool_reader *reader = open_reader();
        answer seen = ask_reader(reader, 0);
        CHECK_INT(seen.n_damaged, 1);
        run_days(0, DAYS, times, FACPOOL_RESULTS_DROP, NULL);
        CHECK_OK(facpool_reader_refresh(reader, &err), err);
        answer more = ask_reader(reader, seen.end_bytes);
        CHECK_INT(more.n_damaged, 0);
        for (size_t day = 0; day <= DAYS; day++)
            CHECK_INT(seen.rows[day] + more.rows[day], CODES);
        CHECK(more.end_bytes > seen.end_bytes);
        answer rest = ask_reader(reader, more.end_bytes);
        for (size_t day = 0; day <= DAYS; day++)
            CHECK_INT(rest.rows[day], 0);
        facpool_reader_free(reader);
    }
}

static void who_follows_a_file_whose_damage_stays_sees_no_row_twice(void)
{
    make_damaged(true);
    facpool_reader *reader = open_reader();
    answer seen = ask_reader(reader, 0);
    facpool_writer *writer = open_writer(FACPOOL_MODE_RESUME);
    append_day(writer, DAYS);
    CHECK_OK(facpool_reader_refresh(reader, &err), err);
    answer more = ask_reader(reader, seen.end_bytes);
    CHECK_INT(more.n_damaged, has_lines()); /* a block is not asked again, lines have no place */
    for (size_t day = 0; day <= DAYS; day++)
        CHECK_INT(more.rows[day], day < DAYS ? 0 : CODES);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    facpool_reader_free(reader);
}

static void all_of_a_format(void)
{
    RUN(a_writer_leaves_damage_to_be_reported);
    RUN(a_run_of_other_tasks_leaves_it_too);
    RUN(a_run_of_all_tasks_computes_what_was_lost);
    RUN(a_run_of_the_tasks_of_a_damaged_block_computes_it);
    RUN(rows_of_sound_pages_are_not_computed_again);
    RUN(keys_that_can_be_read_are_final_for_a_writer);
    RUN(damaged_failures_that_were_superseded_are_no_loss);
    RUN(who_follows_the_file_misses_nothing);
    RUN(who_follows_a_file_whose_damage_stays_sees_no_row_twice);
}

int main(int argc, char **argv)
{
    static char texts[CODES][16];
    for (size_t c = 0; c < CODES; c++) {
        snprintf(texts[c], sizeof texts[c], "%06zu", c);
        codes[c] = texts[c];
    }
    return damage_main(argc, argv, "damage-kept", all_of_a_format);
}
