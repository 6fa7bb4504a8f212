/* Rows for the tests of convert and compact: of every status and kind of value, written in small
 * blocks to any format, read back through the public header, and compared bit for bit. */
#ifndef FP_TEST_CONVERT_ROWS_H
#define FP_TEST_CONVERT_ROWS_H

#include <facpool/facpool.h>
#include <math.h>

#include "scratch.h"
#include "test.h"

#define FACTORS 3

static facpool_error err = FACPOOL_ERROR_INIT;
static const char *const factor_names[FACTORS] = {"z", "price", "rank"};

/* ------------------------------------------------------------------ formats */

static const char *const formats[] = {"binary", "json", "memory_map"};
enum { N_FORMATS = 3 };

static facpool_backup_options options_for(const char *path, const char *format, int mode)
{
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.format = format;
    options.mode = mode;
    options.durability = FACPOOL_DURABILITY_NONE;
    return options;
}

static facpool_writer *open_writer(const facpool_backup_options *options)
{
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, options, factor_names, FACTORS, &err), err);
    return writer;
}

/* Whether this build knows the format; told once where it does not. */
static bool has_format(const char *format)
{
    static bool told[N_FORMATS];
    facpool_backup_options options =
        options_for(scratch_path("format"), format, FACPOOL_MODE_OVERWRITE);
    facpool_writer *writer = NULL;
    int rc = facpool_writer_open(&writer, &options, factor_names, FACTORS, &err);
    if (rc == 0) {
        CHECK_OK(facpool_writer_close(writer, &err), err);
        unlink(scratch_path("format"));
        return true;
    }
    CHECK_INT(rc, FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "there is no format"));
    for (int i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i], format) == 0 && !told[i]) {
            printf("skip format %s: this build has none\n", format);
            told[i] = true;
        }
    return false;
}

/* ------------------------------------------------------------------ rows from numbers */

#define N_CODES 400

static int64_t date_of(size_t i)
{
    return 20240101 + (int64_t)(i / N_CODES);
}

/* Codes whose order is not that of their numbers, some of them not ASCII. */
static const char *code_of(size_t i)
{
    static char codes[N_CODES][32];
    size_t code = i % N_CODES;
    if (!codes[code][0])
        snprintf(codes[code], sizeof codes[code], "%s%06zu", code % 3 ? "" : "\xe5\xb9\xb3",
                 code * 7919 % 1000000);
    return codes[code];
}

static int status_of(size_t i)
{
    switch (mix_bits(i) % 50) {
    case 0:
        return FACPOOL_STATUS_SKIPPED;
    case 1:
    case 2:
        return FACPOOL_STATUS_FAILED;
    case 3:
        return FACPOOL_STATUS_TIMEOUT;
    case 4:
        return FACPOOL_STATUS_CRASHED;
    default:
        return FACPOOL_STATUS_OK;
    }
}

static double factor_of(size_t i, size_t factor)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, -0.0, 5e-324, 1.7976931348623157e308};
    uint64_t h = mix_bits(i * FACTORS + factor);
    if (h % 40 < 6)
        return odd[h % 40];
    return factor == 1 ? (double)(h % 1000000) / 100 : (double)(int64_t)h * 1e-19;
}

static const char *message_of(size_t i)
{
    static char text[80];
    if (i % 3 == 0)
        return NULL;
    snprintf(text, sizeof text, "no \"bars\" for\nrow %zu", i);
    return text;
}

/* Appends row i; `status` 0: its own. Later versions of a row have later timestamps. */
static void append_row(facpool_writer *writer, size_t i, int status, int version)
{
    int64_t date = date_of(i),
            timestamp = 1700000000000000 + (int64_t)i + version * INT64_C(1000000000);
    const char *code = code_of(i), *message = message_of(i);
    uint8_t stored = (uint8_t)(status ? status : status_of(i));
    bool has_failure = stored > FACPOOL_STATUS_SKIPPED;
    int32_t failure_code = has_failure ? (int32_t)(i * 7919) - 100000 : 0;
    double factors[FACTORS];
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = factor_of(i, f);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.timestamps = &timestamp;
    rows.statuses = &stored;
    rows.factors = factors;
    rows.failure_codes = &failure_code;
    rows.messages = has_failure ? &message : NULL;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
}

/* Rows first .. end - 1 with a step, in blocks of at most `block_rows`. */
static void append_rows(facpool_writer *writer, size_t first, size_t end, size_t step,
                        size_t block_rows)
{
    size_t waiting = 0;
    for (size_t i = first; i < end; i += step) {
        append_row(writer, i, 0, 0);
        if (++waiting == block_rows) {
            CHECK_OK(facpool_writer_sync(writer, &err), err);
            waiting = 0;
        }
    }
}

static void write_rows(const char *path, const char *format, size_t n, const char *tag)
{
    facpool_backup_options options = options_for(path, format, FACPOOL_MODE_OVERWRITE);
    options.tag = tag;
    facpool_writer *writer = open_writer(&options);
    append_rows(writer, 0, n, 1, 100);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* ------------------------------------------------------------------ reading */

typedef struct stored {
    int64_t date;
    int64_t timestamp;
    double factors[FACTORS];
    int32_t status;
    int32_t failure_code;
    char code[32];
    char message[80];
} stored;

typedef struct rows_read {
    stored *at;
    size_t n;
} rows_read;

static void keep_row(rows_read *rows, const facpool_row *row)
{
    if ((rows->n & (rows->n - 1)) == 0)
        rows->at = realloc(rows->at, (rows->n ? rows->n * 2 : 1) * sizeof *rows->at);
    stored *to = &rows->at[rows->n++];
    memset(to, 0, sizeof *to);
    to->date = row->date;
    to->timestamp = row->timestamp;
    to->status = row->status;
    to->failure_code = row->failure_code;
    snprintf(to->code, sizeof to->code, "%s", row->code);
    snprintf(to->message, sizeof to->message, "%s", row->message);
    CHECK(!row->factors == (row->status != FACPOOL_STATUS_OK));
    for (size_t f = 0; row->factors && f < FACTORS; f++)
        to->factors[f] = row->factors[f];
}

static rows_read read_from(facpool_reader *reader, int32_t order)
{
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = order;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    rows_read rows = {0};
    int rc;
    while ((rc = facpool_cursor_next(cursor, &row, &err)) == 1)
        keep_row(&rows, &row);
    CHECK_OK(rc, err);
    facpool_cursor_free(cursor);
    return rows;
}

static rows_read read_files(const char *const *paths, size_t n, int32_t order)
{
    facpool_reader *reader = NULL;
    CHECK_OK(facpool_reader_open(&reader, paths, n, &err), err);
    rows_read rows = read_from(reader, order);
    facpool_reader_free(reader);
    return rows;
}

static rows_read read_file(const char *path)
{
    return read_files(&path, 1, FACPOOL_ORDER_KEY);
}

/* Frees both. */
__attribute__((unused)) static void check_same(rows_read a, rows_read b)
{
    CHECK_INT(a.n, b.n);
    for (size_t i = 0; i < a.n; i++)
        CHECK(memcmp(&a.at[i], &b.at[i], sizeof a.at[i]) == 0);
    free(a.at);
    free(b.at);
}

__attribute__((unused)) static uint64_t blocks_in(const char *path)
{
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    uint64_t n = info->blocks;
    CHECK(info->closed);
    facpool_info_free(info);
    return n;
}

static void check_sound(const char *path)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK_INT(report.tail_bytes, 0);
}

/* What reading all rows gives, as convert does: what a format keeps for others alone is not read.
 */
static int read_through(const char *path)
{
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_batch_view batch = FACPOOL_BATCH_VIEW_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.copy = 1;
    int rc = facpool_reader_open(&reader, &path, 1, &err);
    if (!rc)
        rc = facpool_query(reader, &filter, &cursor, &err);
    while (!rc) {
        rc = facpool_cursor_next_batch(cursor, &batch, &err);
        if (rc == 0)
            break;
        rc = rc < 0 ? rc : 0;
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return rc;
}

/* Makes a byte wrong that readers miss, behind the first third of the file. */
__attribute__((unused)) static void damage_file(const char *path)
{
    size_t size = 0;
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes != NULL);
    int rc = 0;
    for (size_t at = size / 3; at < size && rc == 0; at++) {
        bytes[at] ^= 1;
        CHECK(file_write(path, bytes, size));
        rc = read_through(path);
        bytes[at] ^= 1;
    }
    CHECK_INT(rc, FACPOOL_E_CORRUPT);
    free(bytes);
}

/* Files in the folder, hidden ones too. */
static size_t count_files(void)
{
    size_t n = 0;
    DIR *folder = opendir(scratch_folder);
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return n;
}

static void empty_folder(void)
{
    DIR *folder = opendir(scratch_folder);
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder));)
        unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
}

#endif
