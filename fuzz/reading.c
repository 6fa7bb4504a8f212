/* A file that may be anything is looked into, verified, asked questions of many kinds in all the
 * ways there are to get rows, followed, repaired and resumed. Whatever it is:
 *
 * - nothing crashes, leaks, reads wrong memory, or gives out columns that are not well-formed;
 * - the same question has the same answer when it is asked again.
 *
 * Where a real writer wrote it, and it is at most damaged since:
 *
 * - the answer is the same read in place or copied, by rows, batches or Arrow, in any order;
 * - a narrower question gives a part of the wider one's answer, and finds a row that is there;
 * - rows that could all be read are all there after repair, and those of a sound file after a
 *   resumed run too, with only the resumed run's row in addition;
 * - what repair and a resumed run leave is closed, and sound where it was.
 *
 * A forger can have a file say one thing here and another there, so that this can't hold. */
#include "reading.h"

#include <facpool/arrow.h>
#include <facpool/facpool.h>

#include "codec/checksum.h"
#include "fuzz.h"
#include "scratch.h"

#define MOST_ERRORS 1000 /* of one cursor: each names another block */

/* The input has the mark of fuzz.h. */
static bool is_forged;

/* Of what holds for files that are what writers wrote. */
#define EXPECT_HONEST(condition) EXPECT(is_forged || (condition))

/* ------------------------------------------------------------------ answers */

/* All rows of an answer, whatever their order: the sum of their checksums. */
typedef struct answer {
    int rc; /* of opening the question, or the last error that ended it */
    uint64_t rows;
    uint64_t sum;
    uint64_t damaged; /* errors met on the way */
} answer;

static bool same_rows(const answer *a, const answer *b)
{
    return a->rows == b->rows && a->sum == b->sum;
}

/* A row as bytes that say all of it. */
typedef struct row_bytes {
    uint8_t bytes[600];
    size_t n;
} row_bytes;

static void put_number(row_bytes *row, uint64_t number)
{
    memcpy(row->bytes + row->n, &number, sizeof number);
    row->n += sizeof number;
}

static uint64_t checksum_of_row(const facpool_row *row)
{
    row_bytes all = {.n = 0};
    size_t code_bytes = strlen(row->code);
    EXPECT(code_bytes <= 255);
    EXPECT_HONEST(code_bytes >= 1);
    put_number(&all, (uint64_t)row->date);
    put_number(&all, (uint64_t)row->timestamp);
    put_number(&all, (uint64_t)row->status);
    put_number(&all, (uint64_t)row->failure_code);
    put_number(&all, fp_checksum(row->message, strlen(row->message)));
    put_number(&all, row->factors ? fp_checksum(row->factors, row->n_factors * sizeof(double)) : 0);
    memcpy(all.bytes + all.n, row->code, code_bytes);
    return fp_checksum(all.bytes, all.n + code_bytes);
}

static void add_row(answer *sum, const facpool_row *row)
{
    EXPECT(row->status >= FACPOOL_STATUS_OK && row->status <= FACPOOL_STATUS_CRASHED);
    EXPECT(!row->factors == (row->status != FACPOOL_STATUS_OK));
    EXPECT(row->status != FACPOOL_STATUS_OK || (row->failure_code == 0 && !*row->message));
    sum->rows++;
    sum->sum += checksum_of_row(row);
}

/* False: the cursor gives nothing more. A damaged block is met once, and left out. */
static bool goes_on(answer *sum, int rc)
{
    if (rc == FACPOOL_E_CORRUPT && ++sum->damaged < MOST_ERRORS)
        return true;
    if (rc < 0)
        sum->rc = rc;
    return rc > 0;
}

/* ------------------------------------------------------------------ ways to get rows */

static void take_rows(facpool_cursor *cursor, answer *out)
{
    facpool_row row = FACPOOL_ROW_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc;
    while (goes_on(out, rc = facpool_cursor_next(cursor, &row, &err)))
        if (rc > 0)
            add_row(out, &row);
}

/* A text of a batch, with the NUL that rows have: in memory of our own. */
static const char *text_of(char *room, const char *bytes, const int32_t *offsets, size_t i,
                           size_t most_bytes)
{
    size_t length = (size_t)(offsets[i + 1] - offsets[i]);
    EXPECT(offsets[i + 1] >= offsets[i] && length <= most_bytes);
    memcpy(room, bytes + offsets[i], length);
    room[length] = 0;
    EXPECT_HONEST(strlen(room) == length);
    return room;
}

static void add_batch_row(answer *out, const facpool_batch_view *view, size_t i, double *factors)
{
    static char code[256], message[16385];
    facpool_row row = FACPOOL_ROW_INIT;
    row.date = view->dates[i];
    row.code = text_of(code, view->code_bytes, view->code_offsets, i, 255);
    row.timestamp = view->timestamps[i];
    row.status = view->statuses[i];
    row.message = "";
    row.n_factors = view->n_factors;
    if (row.status == FACPOOL_STATUS_OK) {
        for (size_t f = 0; f < view->n_factors; f++)
            factors[f] = view->factors[f][i];
        row.factors = factors;
    } else {
        EXPECT(!view->all_ok && view->failure_codes && view->message_offsets);
        row.failure_code = view->failure_codes[i];
        row.message = text_of(message, view->message_bytes, view->message_offsets, i, 16384);
    }
    add_row(out, &row);
}

static void take_batches(facpool_cursor *cursor, answer *out)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc;
    while (goes_on(out, rc = facpool_cursor_next_batch(cursor, &view, &err))) {
        if (rc < 0)
            continue;
        EXPECT(view.n_rows >= 1 && view.n_rows <= 65536);
        double *factors = malloc((view.n_factors + 1) * sizeof *factors);
        for (size_t i = 0; i < view.n_rows; i++)
            add_batch_row(out, &view, i, factors);
        free(factors);
    }
}

/* Only that there are so many rows, and that memory is there: what arrays hold is the tests' of
 * Arrow streams. */
static void touch_array(const struct ArrowArray *array, size_t first_factor)
{
    const struct ArrowArray *codes = array->children[1];
    const int32_t *offsets = (const int32_t *)codes->buffers[1] + codes->offset;
    uint64_t touched = 0;
    for (int64_t i = 0; i < array->length; i++) {
        EXPECT(offsets[i + 1] > offsets[i]);
        touched += ((const uint8_t *)codes->buffers[2])[offsets[i + 1] - 1];
    }
    for (int64_t column = (int64_t)first_factor; column < array->n_children; column++) {
        const struct ArrowArray *child = array->children[column];
        EXPECT(child->length == array->length);
        if (child->n_buffers == 2)
            for (int64_t i = 0; i < child->length; i++)
                touched += ((const uint8_t *)child->buffers[1])[(child->offset + i) * 8];
    }
    static volatile uint64_t sink;
    sink = sink + touched;
}

static void take_arrow(facpool_cursor *cursor, answer *out)
{
    struct ArrowArrayStream stream;
    facpool_error err = FACPOOL_ERROR_INIT;
    EXPECT(facpool_cursor_to_arrow(cursor, &stream, &err) == 0);
    struct ArrowSchema schema;
    EXPECT(stream.get_schema(&stream, &schema) == 0);
    schema.release(&schema);
    for (;;) {
        struct ArrowArray array = {.release = NULL};
        if (stream.get_next(&stream, &array)) {
            if (++out->damaged < MOST_ERRORS)
                continue;
            break;
        }
        if (!array.release)
            break;
        touch_array(&array, 6);
        out->rows += (uint64_t)array.length;
        array.release(&array);
    }
    stream.release(&stream);
}

typedef void (*way_to_take)(facpool_cursor *cursor, answer *out);

static answer ask(facpool_reader *reader, const facpool_filter *filter, way_to_take take)
{
    facpool_cursor *cursor = NULL;
    facpool_error err = FACPOOL_ERROR_INIT;
    answer out = {.rc = facpool_query(reader, filter, &cursor, &err)};
    if (out.rc)
        return out;
    take(cursor, &out);
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    if (take != take_arrow) {
        EXPECT(facpool_cursor_stats(cursor, &stats, &err) == 0);
        EXPECT(stats.rows_matched == out.rows);
        facpool_cursor_free(cursor);
    }
    return out;
}

/* ------------------------------------------------------------------ questions */

static answer ask_for_all(facpool_reader *reader, way_to_take take, int32_t order, int32_t copy)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = order;
    filter.copy = copy;
    return ask(reader, &filter, take);
}

/* A row somewhere in the file, for questions that find something. */
typedef struct known_row {
    bool is_there;
    int64_t date;
    char code[256];
} known_row;

static known_row row_number(facpool_reader *reader, uint64_t number)
{
    known_row known = {.is_there = false};
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    if (facpool_query(reader, &filter, &cursor, NULL))
        return known;
    answer unused = {0};
    for (int rc; goes_on(&unused, rc = facpool_cursor_next(cursor, &row, NULL));) {
        if (rc < 0 || unused.rows++ < number)
            continue;
        known = (known_row){.is_there = true, .date = row.date};
        snprintf(known.code, sizeof known.code, "%s", row.code);
        break;
    }
    facpool_cursor_free(cursor);
    return known;
}

/* A part of the key's own rows, by each kind of condition: at most what there is. Blocks that a
 * narrower question does not touch may be damaged, so it may find what a wider one lost. */
static void ask_for_some(facpool_reader *reader, const known_row *known, const answer *all)
{
    const char *codes[] = {known->code};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.codes = codes;
    filter.n_codes = 1;
    answer of_code = ask(reader, &filter, take_rows);
    filter.dates = &known->date;
    filter.n_dates = 1;
    answer of_key = ask(reader, &filter, take_batches);
    filter = (facpool_filter)FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.date_min = &known->date;
    filter.date_max = &known->date;
    filter.order = FACPOOL_ORDER_KEY;
    answer of_date = ask(reader, &filter, take_batches);
    if (all->rc || all->damaged || is_forged)
        return;
    EXPECT(of_code.rows <= all->rows && of_date.rows <= all->rows);
    EXPECT(of_key.rows <= of_code.rows && of_key.rows <= of_date.rows);
    EXPECT(!known->is_there || of_key.rows >= 1);
}

/* Few columns, few statuses, and only what can be had in place. */
static void ask_for_columns(facpool_reader *reader, const answer *all)
{
    const char *factors[] = {facpool_reader_factor_name(reader, 0)};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.factors = factors;
    filter.n_factors = 1;
    filter.columns = FACPOOL_COLUMN_CODE | FACPOOL_COLUMN_DATE | FACPOOL_COLUMN_TIMESTAMP |
                     FACPOOL_COLUMN_STATUS;
    answer ok = ask(reader, &filter, take_batches);
    filter.require_zero_copy = 1;
    answer in_place = ask(reader, &filter, take_batches);
    filter.require_zero_copy = 0;
    filter.n_factors = 0;
    filter.skip_bytes = 4096;
    answer skipping = ask(reader, &filter, take_rows);
    if (all->rc || all->damaged || is_forged)
        return;
    EXPECT(ok.rows <= all->rows && skipping.rows <= ok.rows);
    EXPECT(in_place.rc || in_place.damaged || same_rows(&in_place, &ok));
}

static void expect_same_answer(const answer *a, const answer *b)
{
    if (a->rc || b->rc || a->damaged || b->damaged)
        return;
    EXPECT(same_rows(a, b));
}

static answer ask_all(facpool_reader *reader)
{
    answer all = ask_for_all(reader, take_batches, FACPOOL_ORDER_FILE, 0);
    answer rows = ask_for_all(reader, take_rows, FACPOOL_ORDER_FILE, 0);
    answer sorted = ask_for_all(reader, take_rows, FACPOOL_ORDER_KEY, 0);
    answer copied = ask_for_all(reader, take_batches, FACPOOL_ORDER_FILE, 1);
    answer again = ask_for_all(reader, take_batches, FACPOOL_ORDER_FILE, 0);
    answer arrow = ask_for_all(reader, take_arrow, FACPOOL_ORDER_KEY, 0);
    expect_same_answer(&all, &again);
    if (!is_forged) {
        expect_same_answer(&all, &rows);
        expect_same_answer(&all, &sorted);
        expect_same_answer(&all, &copied);
    }
    EXPECT_HONEST(all.rc || all.damaged || arrow.damaged || arrow.rows == all.rows);
    known_row known = row_number(reader, all.rows / 2);
    ask_for_some(reader, &known, &all);
    ask_for_columns(reader, &all);
    return all;
}

/* What a fresh reader of a file gives. rc tells where it can't be opened. */
static answer read_file(const char *path)
{
    facpool_reader *reader = NULL;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = facpool_reader_open(&reader, &path, 1, &err);
    if (rc)
        return (answer){.rc = rc};
    answer all = ask_for_all(reader, take_rows, FACPOOL_ORDER_FILE, 1);
    facpool_reader_free(reader);
    return all;
}

/* ------------------------------------------------------------------ looking into a file */

static void expect_known_error(int rc, const facpool_error *err)
{
    EXPECT(rc == 0 || err->code == rc);
    EXPECT(rc == 0 || (*err->message && memchr(err->message, 0, sizeof err->message)));
    EXPECT(rc == 0 || rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED ||
           rc == FACPOOL_E_NOMEM || rc == FACPOOL_E_MISMATCH);
}

static void look_into(const char *path, size_t size)
{
    const facpool_info *info = NULL;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = facpool_backup_info(&info, path, &err);
    expect_known_error(rc, &err);
    if (rc)
        return;
    EXPECT(info->file_bytes == size && info->valid_bytes <= size && info->durable_bytes <= size);
    EXPECT(info->n_factors >= 1 && info->n_factors <= 65535);
    for (size_t i = 0; i < info->n_factors; i++)
        EXPECT(strlen(info->factor_names[i]) >= 1 && strlen(info->factor_names[i]) <= 255);
    EXPECT(!info->tag || strlen(info->tag) <= 1024);
    facpool_info_free(info);
}

static int check(const char *path, facpool_verify_report *report)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    *report = (facpool_verify_report)FACPOOL_VERIFY_REPORT_INIT;
    int rc = facpool_backup_verify(path, report, &err);
    expect_known_error(rc, &err);
    return rc;
}

/* Verify says the same each time, and nothing of a file that it finds sound is damaged. */
static bool is_sound(const char *path, size_t size)
{
    facpool_verify_report first, second;
    int rc = check(path, &first);
    EXPECT(check(path, &second) == rc);
    EXPECT(memcmp(&first, &second, sizeof first) == 0);
    EXPECT(rc || (first.damaged_blocks == 0 && first.damaged_parts == 0));
    EXPECT(first.tail_bytes <= size);
    return rc == 0;
}

/* ------------------------------------------------------------------ repairing and resuming */

static void repair_copy(const char *path, const uint8_t *bytes, size_t size, const answer *before,
                        bool was_sound)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    EXPECT(file_write(path, bytes, size));
    int rc = facpool_backup_repair(path, &report, &err);
    expect_known_error(rc, &err);
    if (rc)
        return;
    answer after = read_file(path);
    EXPECT_HONEST(before->rc || before->damaged || (after.rc == 0 && same_rows(before, &after)));
    facpool_verify_report left;
    rc = check(path, &left);
    EXPECT_HONEST(left.closed && left.tail_bytes == 0);
    EXPECT_HONEST(!was_sound || rc == 0);
}

/* The file's own factors, with one row of a key of its own. */
static const char new_code[] = "\xf0\x9f\x86\x95 not in any seed";

static int append_row(facpool_writer *writer, size_t n_factors)
{
    facpool_rows rows = FACPOOL_ROWS_INIT;
    const char *codes[] = {new_code};
    int64_t date = 20991231, timestamp = 4102358400000000;
    double *factors = calloc(n_factors, sizeof *factors);
    rows.n = 1;
    rows.dates = &date;
    rows.codes = codes;
    rows.timestamps = &timestamp;
    rows.factors = factors;
    int rc = facpool_writer_append(writer, &rows, NULL);
    free(factors);
    return rc;
}

static int resume_and_append(const char *path, const facpool_info *info)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_writer *writer = NULL;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.tag = info->tag;
    backup.durability = FACPOOL_DURABILITY_NONE;
    backup.no_async = 1;
    int rc = facpool_writer_open(&writer, &backup, info->factor_names, info->n_factors, &err);
    expect_known_error(rc, &err);
    if (rc)
        return rc;
    rc = append_row(writer, info->n_factors);
    int closed = facpool_writer_close(writer, &err);
    return rc ? rc : closed;
}

/* A key that is in the file already is refused; without damage everything else is as it was. */
static void resume_copy(const char *path, const uint8_t *bytes, size_t size, const answer *before,
                        bool was_sound)
{
    const facpool_info *info = NULL;
    EXPECT(file_write(path, bytes, size));
    if (facpool_backup_info(&info, path, NULL))
        return;
    int rc = resume_and_append(path, info);
    facpool_info_free(info);
    if (rc && rc != FACPOOL_E_EXISTS)
        return;
    answer after = read_file(path);
    facpool_verify_report left;
    int sound = check(path, &left);
    EXPECT_HONEST(left.tail_bytes == 0);
    EXPECT_HONEST(!was_sound || sound == 0);
    if (before->rc || before->damaged || is_forged)
        return;
    /* A block of which any byte is wrong is given up, also one whose rows could all be read. */
    EXPECT(after.rc == 0 && after.damaged == 0);
    EXPECT(after.rows <= before->rows + (rc == 0));
    EXPECT(!was_sound || after.rows == before->rows + (rc == 0));
}

/* ------------------------------------------------------------------ all */

static void remove_folder(void)
{
    scratch_remove();
}

static void make_folder(void)
{
    if (*scratch_folder)
        return;
    EXPECT(scratch_make("fuzz"));
    atexit(remove_folder);
}

static answer follow(const char *path)
{
    facpool_reader *reader = NULL;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = facpool_reader_open(&reader, &path, 1, &err);
    expect_known_error(rc, &err);
    if (rc)
        return (answer){.rc = rc};
    answer first = ask_all(reader);
    rc = facpool_reader_refresh(reader, &err);
    EXPECT(rc == 0);
    answer second = ask_for_all(reader, take_rows, FACPOOL_ORDER_FILE, 1);
    if (!is_forged)
        expect_same_answer(&first, &second);
    facpool_reader_free(reader);
    return first;
}

void fuzz_reading(const char *suffix, const uint8_t *bytes, size_t size)
{
    char path[300], copy[300];
    make_folder();
    is_forged = fuzz_is_forged(bytes, size);
    if (is_forged)
        size -= FORGED_MARK_BYTES;
    snprintf(path, sizeof path, "%s/file%s", scratch_folder, suffix);
    snprintf(copy, sizeof copy, "%s/copy%s", scratch_folder, suffix);
    EXPECT(file_write(path, bytes, size));
    look_into(path, size);
    bool sound = is_sound(path, size);
    answer all = follow(path);
    repair_copy(copy, bytes, size, &all, sound);
    resume_copy(copy, bytes, size, &all, sound);
    unlink(path);
    unlink(copy);
}
