/* Files that earlier versions wrote are read by this one: every row of the golden files is compared
 * with what golden_rows.h says, verify finds them sound, info knows them, and copies of them can be
 * continued. The folder with the files is the program's argument. */
#include "golden_rows.h"
#include "test.h"

static facpool_error err = FACPOOL_ERROR_INIT;
static const char *folder;
static const golden_format *format;
static char path[600];

static size_t find_row(int64_t date, const char *code)
{
    for (size_t i = 0; i < GOLDEN_ROWS; i++)
        if (golden_date(i) == date && strcmp(golden_code(i), code) == 0)
            return i;
    return GOLDEN_ROWS;
}

static bool same_value(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (!format->keeps_nan && a != a && b != b);
}

static void check_row(const facpool_row *row, size_t i, unsigned round)
{
    golden_row wanted = golden_row_of(i, round);
    CHECK_INT(row->status, wanted.status);
    CHECK_INT(row->timestamp, wanted.timestamp);
    CHECK_INT(row->failure_code, wanted.failure_code);
    CHECK_TEXT(row->message, wanted.message);
    CHECK((row->factors != NULL) == (wanted.status == FACPOOL_STATUS_OK));
    for (size_t f = 0; row->factors && f < GOLDEN_FACTORS; f++)
        CHECK(same_value(row->factors[f], wanted.factors[f]));
}

/* Every row of the file, as it was written, each once; `more` others are allowed. */
static void check_rows(int kind, size_t more)
{
    facpool_reader *reader = NULL;
    const char *paths[] = {path};
    CHECK_OK(facpool_reader_open(&reader, paths, 1, &err), err);
    CHECK_INT(facpool_reader_n_factors(reader), GOLDEN_FACTORS);
    for (size_t f = 0; f < GOLDEN_FACTORS; f++)
        CHECK_TEXT(facpool_reader_factor_name(reader, f), golden_names[f]);
    for (int32_t order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        facpool_cursor *cursor = NULL;
        facpool_row row = FACPOOL_ROW_INIT;
        uint8_t seen[GOLDEN_ROWS] = {0};
        size_t n = 0, expected = more;
        int rc;
        filter.order = order;
        filter.statuses = FACPOOL_STATUS_ALL;
        CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
        for (; (rc = facpool_cursor_next(cursor, &row, &err)) > 0; n++) {
            size_t i = find_row(row.date, row.code);
            if (i == GOLDEN_ROWS && more)
                continue;
            CHECK(i < GOLDEN_ROWS && !seen[i]);
            int round = golden_round(format, kind, i);
            CHECK(round >= 0);
            check_row(&row, i, (unsigned)round);
            seen[i] = 1;
        }
        CHECK_OK(rc, err);
        for (size_t i = 0; i < GOLDEN_ROWS; i++)
            expected += golden_round(format, kind, i) >= 0;
        CHECK_INT(n, expected);
        facpool_cursor_free(cursor);
    }
    facpool_reader_free(reader);
}

static void check_info(int kind)
{
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    CHECK_TEXT(info->format, format->name);
    CHECK_INT(info->version, 1);
    CHECK_INT(info->n_factors, GOLDEN_FACTORS);
    CHECK_INT(info->damaged_blocks, 0);
    CHECK_INT(info->closed, kind != GOLDEN_TORN);
    CHECK_INT(info->date_min, INT64_MIN);
    if (kind == GOLDEN_RESUMED)
        CHECK_TEXT(info->tag, GOLDEN_TAG);
    else
        CHECK(!info->tag);
    facpool_info_free(info);
}

static void check_soundness(int kind)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK_INT(report.damaged_blocks, 0);
    CHECK_INT(report.tail_bytes > 0, kind == GOLDEN_TORN);
    CHECK_INT(report.closed, kind != GOLDEN_TORN);
}

static void rows_are_what_they_were(void)
{
    for (int kind = 0; kind < GOLDEN_KINDS; kind++) {
        golden_path(path, sizeof path, folder, format, kind);
        check_rows(kind, 0);
        check_info(kind);
        check_soundness(kind);
    }
}

/* Appends a row for a key that is in none of the files. */
static void append_one(int kind)
{
    int64_t date = 7;
    const char *code = "new";
    double factors[GOLDEN_FACTORS] = {1, 2, 3, 4, 5};
    facpool_writer *writer = NULL;
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.mode = FACPOOL_MODE_RESUME;
    options.tag = kind == GOLDEN_RESUMED ? GOLDEN_TAG : NULL;
    CHECK_OK(facpool_writer_open(&writer, &options, golden_names, GOLDEN_FACTORS, &err), err);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.factors = factors;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

static void copies_can_be_continued(void)
{
    for (int kind = 0; kind < GOLDEN_KINDS; kind++) {
        char name[64];
        size_t size = 0;
        golden_path(path, sizeof path, folder, format, kind);
        uint8_t *bytes = file_read(path, &size);
        CHECK(bytes);
        snprintf(name, sizeof name, "copy%d%s", kind, format->suffix);
        snprintf(path, sizeof path, "%s", scratch_path(name));
        CHECK(file_write(path, bytes, size));
        free(bytes);
        append_one(kind);
        check_rows(kind, 1);
        check_soundness(GOLDEN_CLOSED);
    }
}

static void torn_copies_can_be_repaired(void)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    size_t size = 0;
    golden_path(path, sizeof path, folder, format, GOLDEN_TORN);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    snprintf(path, sizeof path, "%s%s", scratch_path("repaired"), format->suffix);
    CHECK(file_write(path, bytes, size));
    free(bytes);
    CHECK_OK(facpool_backup_repair(path, &report, &err), err);
    CHECK(report.tail_bytes > 0);
    check_rows(GOLDEN_TORN, 0);
    check_soundness(GOLDEN_CLOSED);
}

int main(int argc, char **argv)
{
    if (argc != 2 || !scratch_make("golden")) {
        fprintf(stderr, "usage: test_golden FOLDER\n");
        return EXIT_FAILURE;
    }
    folder = argv[1];
    for (size_t i = 0; i < N_GOLDEN_FORMATS; i++) {
        format = &golden_formats[i];
        printf("%s:\n", format->name);
        RUN(rows_are_what_they_were);
        RUN(copies_can_be_continued);
        RUN(torn_copies_can_be_repaired);
    }
    scratch_remove();
    return TEST_END();
}
