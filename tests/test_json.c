/* Files of the json format: rows come back bit for bit; a torn tail is cut off wherever it is torn;
 * any damaged byte costs its own line's task (two, where it was a newline) and gives no wrong row;
 * damage is reported by line, and blanked by who resumes; nothing that is no backup is touched. */
#include <math.h>

#include "codec/json_checksum.h"
#include "store/json.h"
#include "store_rows.h"

/* Nothing here is about power loss: syncs would only take time. */
int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

static facpool_error err = FACPOOL_ERROR_INIT;

/* ------------------------------------------------------------------ what is written */

/* ok and not-ok rows in runs, some keys descending, codes and values of all kinds. */
static rows some_rows(size_t n)
{
    rows r = {0};
    for (size_t i = 0; i < n; i++) {
        *rows_add(&r) = row_of(i, 10, i / 20 % 3 == 2 ? 1 + (int)(i % 5) : (int)FACPOOL_STATUS_OK);
        if (i / 20 % 3 == 2 && r.at[i].status == FACPOOL_STATUS_OK)
            r.at[i] = row_of(i, 10, FACPOOL_STATUS_FAILED);
    }
    return r;
}

enum { RUN_ROWS = 20 };

static bytes write_file(const char *path, const rows *r, const char *tag)
{
    facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
    options.format = "json";
    options.tag = tag;
    CHECK_OK(write_rows(&options, r, RUN_ROWS, &err), err);
    return load_file(path);
}

static void check_rows(const char *path, rows *expected)
{
    rows found = {0};
    uint64_t damaged = 0, tail = 0;
    CHECK_OK(read_file(path, &found, &damaged, &tail, &err), err);
    rows_sort(expected);
    CHECK_INT(found.n, expected->n);
    CHECK(rows_are_same(&found, expected));
    CHECK_INT(damaged, 0);
    CHECK_INT(tail, 0);
    rows_free(&found);
}

static long long file_bytes_of(const char *path)
{
    bytes b = load_file(path);
    free(b.at);
    return (long long)b.n;
}

static size_t count_lines(const uint8_t *at, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += at[i] == '\n';
    return lines;
}

/* Where line k (from 0) begins. */
static size_t line_at(const bytes *b, size_t k)
{
    size_t at = 0;
    for (; k > 0; k--)
        at = (size_t)((uint8_t *)memchr(b->at + at, '\n', b->n - at) - b->at) + 1;
    return at;
}

static void every_row_comes_back_bit_for_bit(void)
{
    const char *path = path_of("rows.jsonl");
    rows r = some_rows(300);
    bytes b = write_file(path, &r, NULL);
    CHECK_INT(count_lines(b.at, b.n), 300);
    check_rows(path, &r);
    free(b.at);
    rows_free(&r);
}

static void odd_values_come_back_bit_for_bit(void)
{
    const char *path = path_of("odd.jsonl");
    rows r = {0};
    uint64_t seed = 99;
    for (size_t i = 0; i < 3000; i++) {
        row *to = rows_add(&r);
        *to = row_of(i, 100, FACPOOL_STATUS_OK);
        to->date = (int64_t)(i / 100) - 3;
        to->timestamp = i % 2 ? INT64_MIN + (int64_t)i : INT64_MAX - (int64_t)i;
        snprintf(to->code, sizeof to->code, "%c\"\\/%zu\n\xe6\xb2\xaa", (int)(1 + i % 100), i);
        for (size_t f = 0; f < ROW_FACTORS; f++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint64_t bits = i % 3 ? seed : seed >> (12 + seed % 50);
            memcpy(&to->factors[f], &bits, sizeof bits);
            if (to->factors[f] != to->factors[f])
                to->factors[f] = NAN; /* payloads are not kept */
        }
    }
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    CHECK_OK(write_rows(&options, &r, r.n, &err), err);
    check_rows(path, &r);
    rows_free(&r);
}

static void resume_continues_a_file(void)
{
    const char *path = path_of("resume.jsonl");
    rows all = some_rows(200);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    for (size_t part = 0; part < 5; part++) {
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink(&sink, &options, &opening, &err), err);
        CHECK_INT(opening.existed, part > 0);
        CHECK_INT(opening.damaged_blocks + opening.tail_bytes_cut, 0);
        for (size_t first = part * 40; first < part * 40 + 40; first += RUN_ROWS)
            CHECK_OK(append_rows(sink, &all, first, RUN_ROWS, &err), err);
        fp_source *source; /* the writer's own view of it */
        rows found;
        fp_read_context context;
        CHECK_OK(fp_read_context_init(&context, &err), err);
        CHECK_OK(fp_sink_source(sink, &source, &err), err);
        CHECK_OK(read_rows(source, &context, &found, &err), err);
        CHECK_INT(found.n, part * 40 + 40);
        rows_free(&found);
        fp_source_release(source);
        fp_read_context_free(&context);
        CHECK_OK(fp_sink_close(sink, &err), err);
    }
    check_rows(path, &all);
    const facpool_info *info;
    CHECK_OK(fp_store_info(&info, path, &err), err);
    CHECK_TEXT(info->format, "json");
    CHECK_INT(info->closed, 1);
    CHECK_INT(info->damaged_blocks, 0);
    CHECK_INT(info->created_us, all.at[0].timestamp);
    facpool_info_free(info);
    rows_free(&all);
}

static void messages_and_codes_of_any_length_come_back(void)
{
    const char *path = path_of("long.jsonl");
    char message[FP_MESSAGE_MAX_BYTES + 1], code[FP_CODE_MAX_BYTES + 1];
    for (size_t i = 0; i < FP_MESSAGE_MAX_BYTES; i++)
        message[i] = (char)(1 + i % 127);
    message[FP_MESSAGE_MAX_BYTES] = '\0';
    memset(code, '\x1f', FP_CODE_MAX_BYTES);
    code[FP_CODE_MAX_BYTES] = '\0';
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    fp_batch batch;
    CHECK_OK(fp_batch_init(&batch, false, ROW_FACTORS, &codes, NULL, &err), err);
    CHECK_OK(fp_batch_reserve(&batch, 1, &err), err);
    CHECK(!fp_codes_intern(&codes, code, FP_CODE_MAX_BYTES, &batch.code_ids[0]));
    CHECK(!fp_texts_add(&batch.messages, message, FP_MESSAGE_MAX_BYTES));
    batch.dates[0] = batch.timestamps[0] = INT64_MIN;
    batch.statuses[0] = FACPOOL_STATUS_TIMEOUT;
    batch.failure_codes[0] = INT32_MIN;
    batch.n_rows = 1;
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(fp_sink_append(sink, &batch, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_blocks, 1);
    CHECK_TEXT(source->blocks[0].code_max, code);
    CHECK(!source->zero_copy);
    fp_read_context context;
    fp_open_block *block;
    fp_texts messages = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    CHECK_OK(source->type->open_block(source, 0, &context, &block, &err), err);
    CHECK_TEXT(fp_texts_at(block->codes, 0), code);
    CHECK_OK(source->type->read_messages(block, &context, 0, &messages, &err), err);
    CHECK_TEXT(fp_texts_at(&messages, 0), message);
    source->type->close_block(block);
    fp_texts_free(&messages);
    fp_read_context_free(&context);
    fp_source_release(source);
    fp_batch_free(&batch);
    fp_codes_free(&codes);
}

/* More than a block of rows whose keys ascend are several blocks, of which a narrow question reads
 * what it needs; a run of failures between is a block of its own. */
static void long_runs_are_cut_into_blocks(void)
{
    const char *path = path_of("blocks.jsonl");
    rows r = {0};
    for (size_t i = 0; i < 140000; i++)
        *rows_add(&r) = row_of(i, 1000, FACPOOL_STATUS_OK);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    CHECK_OK(write_rows(&options, &r, 50000, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_blocks, 3);
    CHECK_INT(source->blocks[0].n_rows, FP_BLOCK_ROWS);
    CHECK_INT(source->blocks[1].date_min, 20240101 + FP_BLOCK_ROWS / 1000);
    CHECK_INT(source->blocks[0].n_pages, FP_BLOCK_ROWS / FP_PAGE_ROWS);
    fp_source_release(source);
    check_rows(path, &r);
    rows_free(&r);
}

/* Ranges are those of the rows, in whatever order these come. */
static void keys_that_do_not_ascend_begin_a_block(void)
{
    const char *path = path_of("order.jsonl");
    static const struct {
        size_t date, code;
    } keys[] = {{5, 5}, {5, 7}, {5, 6}, {6, 1}, {2, 9}, {2, 9}, {3, 0}};
    rows r = {0};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        *rows_add(&r) = row_of(keys[i].date * 10 + keys[i].code, 10, FACPOOL_STATUS_FAILED);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    CHECK_OK(write_rows(&options, &r, 1, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    static const uint32_t expected[] = {2, 2, 1, 2};
    CHECK_INT(source->n_blocks, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < source->n_blocks; i++)
        CHECK_INT(source->blocks[i].n_rows, expected[i]);
    CHECK_TEXT(source->blocks[1].code_min, "000001");
    CHECK_TEXT(source->blocks[1].code_max, "000006");
    CHECK_INT(source->blocks[1].date_max, 20240107);
    fp_source_release(source);
    check_rows(path, &r);
    rows_free(&r);
}

static void wide_rows_come_back(void)
{
    enum { WIDE = 3000, N = 40 };
    const char *path = path_of("wide.jsonl");
    fp_schema wanted;
    CHECK_OK(fp_schema_init(&wanted, WIDE, NULL, NULL, &err), err);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    fp_sink *sink;
    CHECK_OK(fp_sink_open(&sink, &options, &wanted, NULL, &err), err);
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    fp_batch batch;
    CHECK_OK(fp_batch_init(&batch, true, WIDE, &codes, NULL, &err), err);
    CHECK_OK(fp_batch_reserve(&batch, N, &err), err);
    for (size_t i = 0; i < N; i++) {
        CHECK(!fp_codes_intern(&codes, "x", 1, &batch.code_ids[i]));
        batch.dates[i] = batch.timestamps[i] = (int64_t)i;
        for (size_t f = 0; f < WIDE; f++)
            batch.factors[f][i] = sin((double)(f * N + i));
    }
    batch.n_rows = N;
    CHECK_OK(fp_sink_append(sink, &batch, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_blocks, 1);
    fp_read_context context;
    fp_open_block *block;
    CHECK_OK(fp_read_context_init(&context, &err), err);
    CHECK_OK(source->type->open_block(source, 0, &context, &block, &err), err);
    for (uint32_t f = 0; f < WIDE; f++) {
        const void *out;
        CHECK_OK(source->type->read(block, &context, FP_COLUMN_FACTOR + f, 0, 1, NULL, &out, &err),
                 err);
        CHECK(memcmp(out, batch.factors[f], N * sizeof(double)) == 0);
    }
    source->type->close_block(block);
    fp_read_context_free(&context);
    fp_source_release(source);
    bytes b = load_file(path); /* a wrong byte where the file is told by, with no other line near */
    b.at[3] ^= 1;
    save_file(path, b.at, b.n);
    free(b.at);
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_damaged, 1);
    CHECK_INT(source->blocks[0].n_rows, N - 1);
    fp_source_release(source);
    fp_batch_free(&batch);
    fp_codes_free(&codes);
    fp_schema_free(&wanted);
    CHECK_INT(fp_json_most_rows(1), FP_BLOCK_ROWS);
    CHECK(fp_json_most_rows(FP_FACTORS_MAX) >= 1 && fp_json_most_rows(FP_FACTORS_MAX) < 100);
}

/* ------------------------------------------------------------------ torn tails */

/* What reading a file that may be damaged gave. */
typedef struct outcome {
    int open_rc;
    size_t n_rows;
    bool rows_are_right;
    uint64_t tail_bytes;
    uint64_t n_damaged;
} outcome;

static outcome look_at(const char *path, const rows *expected)
{
    outcome o = {0};
    rows found = {0};
    o.open_rc = read_file(path, &found, &o.n_damaged, &o.tail_bytes, &err);
    o.n_rows = found.n;
    o.rows_are_right = o.open_rc || (found.corrupt_blocks == 0 && rows_are_among(&found, expected));
    rows_free(&found);
    return o;
}

static void a_file_cut_at_any_byte_gives_its_whole_lines(void)
{
    const char *path = path_of("cut.jsonl");
    rows r = some_rows(70), sorted = some_rows(70);
    bytes b = write_file(path, &r, "v1");
    rows_sort(&sorted);
    for (size_t n = 0; n < b.n; n++) {
        save_file(path, b.at, n);
        outcome o = look_at(path, &sorted);
        size_t whole = count_lines(b.at, n);
        CHECK(o.rows_are_right);
        if (whole == 0) {
            CHECK_INT(o.open_rc, n == 0 ? FACPOOL_E_UNSUPPORTED : FACPOOL_E_CORRUPT);
            continue;
        }
        CHECK_INT(o.open_rc, 0);
        CHECK_INT(o.n_rows, whole);
        CHECK_INT(o.n_damaged, 0);
        CHECK_INT(o.tail_bytes, n - line_at(&b, whole));
    }
    free(b.at);
    rows_free(&r);
    rows_free(&sorted);
}

static void a_torn_file_is_resumed_at_any_byte(void)
{
    const char *path = path_of("torn.jsonl");
    rows r = some_rows(62);
    bytes b = write_file(path, &r, "v1");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    options.tag = "v1";
    for (size_t n = 0; n < b.n; n++) {
        save_file(path, b.at, n);
        size_t kept = count_lines(b.at, n), end = line_at(&b, kept);
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink(&sink, &options, &opening, &err), err);
        CHECK_INT(opening.existed, n > 0);
        CHECK_INT(opening.tail_bytes_cut, n - end);
        CHECK_INT(opening.damaged_blocks, 0);
        CHECK_INT(file_bytes_of(path), end);
        rows all = some_rows(62);
        all.n = kept;
        *rows_add(&all) = row_of(99999, 10, FACPOOL_STATUS_OK);
        CHECK_OK(append_rows(sink, &all, kept, 1, &err), err);
        CHECK_OK(fp_sink_close(sink, &err), err);
        check_rows(path, &all);
        rows_free(&all);
    }
    free(b.at);
    rows_free(&r);
}

/* ------------------------------------------------------------------ damage */

/* Damaged files are the rows that were not touched, and say so. */
static void check_flipped(const char *path, const bytes *b, const rows *sorted, size_t at)
{
    bool is_newline = b->at[at] == '\n';
    size_t lines = count_lines(b->at, b->n), line = count_lines(b->at, at);
    size_t missing = is_newline && line + 1 < lines ? 2 : 1;
    bool is_tail = line + missing >= lines;
    outcome o = look_at(path, sorted);
    CHECK_INT(o.open_rc, 0);
    CHECK(o.rows_are_right);
    CHECK_INT(o.n_rows, lines - missing);
    CHECK(o.n_damaged || o.tail_bytes);
    CHECK(is_tail ? o.tail_bytes > 0 : o.tail_bytes == 0);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = fp_store_verify(path, &report, &err);
    CHECK_INT(rc, o.n_damaged ? FACPOOL_E_CORRUPT : 0);
    if (o.n_damaged) {
        char number[32];
        snprintf(number, sizeof number, "line %zu:", line + 1);
        CHECK(strstr(err.message, number) != NULL);
        CHECK_INT(report.damaged_blocks, o.n_damaged);
        CHECK_INT(report.first_damage, line_at(b, line));
        CHECK_INT(report.rows, o.n_rows);
    }
}

static void any_damaged_byte_costs_its_own_line(void)
{
    const char *path = path_of("flip.jsonl");
    rows r = some_rows(42), sorted = some_rows(42);
    rows_sort(&sorted);
    bytes b = write_file(path, &r, NULL);
    static const uint8_t masks[] = {0x01, 0x20, 0x80, 0xff};
    for (size_t at = 0; at < b.n; at++)
        for (size_t m = 0; m < sizeof masks; m++) {
            b.at[at] ^= masks[m];
            bool splits = b.at[at] == '\n';
            save_file(path, b.at, b.n);
            b.at[at] ^= masks[m];
            if (splits) /* one line becomes two bad ones */
                CHECK(look_at(path, &sorted).n_rows == 41);
            else
                check_flipped(path, &b, &sorted, at);
        }
    free(b.at);
    rows_free(&r);
    rows_free(&sorted);
}

/* A lost first sector is lines that are lost: the file is still known for what it is. */
static void a_lost_beginning_costs_its_lines(void)
{
    const char *path = path_of("beginning.jsonl");
    rows r = some_rows(60), sorted = some_rows(60);
    rows_sort(&sorted);
    bytes b = write_file(path, &r, NULL);
    memset(b.at, 0, 512);
    save_file(path, b.at, b.n);
    outcome o = look_at(path, &sorted);
    CHECK_INT(o.open_rc, 0);
    CHECK(o.rows_are_right);
    CHECK_INT(o.n_rows, count_lines(b.at, b.n) - 1); /* its newlines are gone too */
    CHECK_INT(o.n_damaged, 1);
    free(b.at);
    rows_free(&r);
    rows_free(&sorted);
}

/* Nothing but the line is blanked, nothing is blanked by looking, and then all is well. */
static void who_resumes_blanks_damaged_lines(void)
{
    const char *path = path_of("blank.jsonl");
    rows r = some_rows(60);
    bytes b = write_file(path, &r, NULL);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    static const size_t damaged[] = {0, 7, 8, 30, 58};
    for (size_t d = 0; d < sizeof damaged / sizeof *damaged; d++) {
        size_t begin = line_at(&b, damaged[d]), end = line_at(&b, damaged[d] + 1) - 1;
        b.at[begin + 30] ^= 4;
        save_file(path, b.at, b.n);
        facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
        CHECK_INT(fp_store_verify(path, &report, &err), FACPOOL_E_CORRUPT);
        CHECK_OK(fp_store_repair(path, &report, &err), err);
        CHECK_INT(report.damaged_blocks, 1);
        bytes same = load_file(path);
        CHECK(same.n == b.n && memcmp(same.at, b.at, b.n) == 0);
        free(same.at);
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink(&sink, &options, &opening, &err), err);
        CHECK_INT(opening.damaged_blocks, 1);
        CHECK_INT(opening.tail_bytes_cut, 0);
        memset(b.at + begin, ' ', end - begin);
        same = load_file(path);
        CHECK(same.n == b.n && memcmp(same.at, b.at, b.n) == 0);
        free(same.at);
        CHECK_OK(fp_sink_close(sink, &err), err);
        CHECK_OK(fp_store_verify(path, &report, &err), err);
        CHECK_INT(report.rows, 59 - d); /* blanks of earlier rounds are no damage */
        CHECK_INT(report.closed, 1);
    }
    CHECK_OK(fp_store_repair(path, &(facpool_verify_report)FACPOOL_VERIFY_REPORT_INIT, &err), err);
    rows rest = {0};
    for (size_t i = 0; i < r.n; i++)
        if (i != 0 && i != 7 && i != 8 && i != 30 && i != 58)
            *rows_add(&rest) = r.at[i];
    check_rows(path, &rest);
    rows_free(&rest);
    free(b.at);
    rows_free(&r);
}

/* A disk's lost pages take many newlines with them: what is left is longer than any row. Blanked,
 * it must not be called damage for ever; and a reader that saw the damage sees that it is gone. */
static void damage_longer_than_any_row_is_given_up_too(void)
{
    const char *path = path_of("long.jsonl");
    rows r = some_rows(300), rest = {0};
    bytes b = write_file(path, &r, NULL);
    size_t first = 50, end = first;
    while (line_at(&b, end) < line_at(&b, first) + 20000)
        end++;
    memset(b.at + line_at(&b, first), 0, line_at(&b, end) - 1 - line_at(&b, first));
    for (size_t i = 0; i < r.n; i++)
        if (i < first || i >= end)
            *rows_add(&rest) = r.at[i];
    save_file(path, b.at, b.n);
    fp_source *before, *after;
    CHECK_OK(fp_source_open(&before, path, NULL, &err), err);
    CHECK_INT(before->n_damaged, 1);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    for (int round = 0; round < 2; round++) {
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink(&sink, &options, &opening, &err), err);
        CHECK_INT(opening.damaged_blocks, round == 0);
        CHECK_OK(fp_sink_close(sink, &err), err);
    }
    check_rows(path, &rest);
    CHECK_OK(fp_source_open(&after, path, before, &err), err);
    CHECK_INT(after->n_damaged, 0);
    fp_source_release(before);
    fp_source_release(after);
    free(b.at);
    rows_free(&rest);
    rows_free(&r);
}

/* Puts `text` as a line of its own before line k. */
static bytes insert_line(const bytes *b, size_t k, const char *text)
{
    size_t at = line_at(b, k), n = strlen(text);
    bytes out = {malloc(b->n + n + 1), b->n + n + 1};
    memcpy(out.at, b->at, at);
    memcpy(out.at + at, text, n);
    out.at[at + n] = '\n';
    memcpy(out.at + at + n + 1, b->at + at, b->n - at);
    return out;
}

static void lines_of_others_are_damage_and_blank_ones_are_not(void)
{
    const char *path = path_of("others.jsonl"), *other = path_of("tagged.jsonl");
    rows r = some_rows(30), sorted = some_rows(30);
    rows_sort(&sorted);
    bytes b = write_file(path, &r, NULL), tagged = write_file(other, &r, "v2");
    char tagged_line[600];
    size_t n_tagged = line_at(&tagged, 1) - 1;
    memcpy(tagged_line, tagged.at, n_tagged);
    tagged_line[n_tagged] = '\0';
    const char *const lines[] = {"",        "   ",       "{}", "x", "{\"date\":20240101}",
                                 "[1,2,3]", tagged_line, "\t"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        for (size_t k = 0; k <= 30; k += 6) {
            bool is_blank = i < 2, is_last = k == 30;
            bytes with = insert_line(&b, k, lines[i]);
            save_file(path, with.at, with.n);
            if (k == 0 && i == 6) { /* the first good row says what the others must be */
                CHECK_INT(look_at(path, &sorted).n_rows, 1);
                free(with.at);
                continue;
            }
            outcome o = look_at(path, &sorted);
            bool is_known = !(k == 0 && (i == 3 || i == 7) && o.open_rc);
            if (is_known) {
                CHECK_INT(o.open_rc, 0);
                CHECK_INT(o.n_rows, 30);
                CHECK(o.rows_are_right);
                CHECK_INT(o.n_damaged, !is_blank && !is_last);
                CHECK_INT(o.tail_bytes, is_last && !is_blank ? strlen(lines[i]) + 1 : 0);
            }
            free(with.at);
        }
    free(b.at);
    free(tagged.at);
    rows_free(&r);
    rows_free(&sorted);
}

/* The line with its checksum made right again. */
static void seal_line(char *line)
{
    size_t n = strlen(line), at = n - 2 - FP_JSON_CHECKSUM_DIGITS;
    fp_json_checksum_put(line + at, fp_json_checksum_without(line, n, at));
}

#define ROW(date, code, status, factors)                                                           \
    "{\"date\":" date ",\"code\":" code ",\"timestamp\":5,\"status\":" status factors              \
    ",\"checksum\":\"0000000000000000\"}"

#define FACTORS(a) ",\"price\":" a ",\"z\":2.0,\"rank\":3.0"

/* A checksum can be made by anyone: what it covers is not believed any more than other bytes. */
static void lines_made_to_deceive_give_no_rows(void)
{
    const char *path = path_of("hostile.jsonl");
    static const char *const lines[] = {
        ROW("1", "\"a\"", "\"ok\"", FACTORS("1.2.3")),
        ROW("1", "\"a\"", "\"ok\"", FACTORS("1e999")),
        ROW("1", "\"a\"", "\"ok\"", FACTORS("\"NaN\"")),
        ROW("1", "\"a\"", "\"ok\"", FACTORS("\"\\u0000\"")),
        ROW("1", "\"a\"", "\"ok\"", FACTORS("--")),
        ROW("1", "\"\"", "\"ok\"", FACTORS("1.0")),
        ROW("1", "\"\\u0000\"", "\"ok\"", FACTORS("1.0")),
        ROW("1", "\"\\ud800\\x\"", "\"ok\"", FACTORS("1.0")),
        ROW("1", "\"\xff\"", "\"ok\"", FACTORS("1.0")),
        ROW("1", "\"a\"", "\"failed\"", FACTORS("null")),
        ROW("1", "\"a\"", "\"failed\"",
            ",\"price\":null,\"z\":null,\"rank\":null,\"failure_code\":1,\"message\":\"\\u0000\""),
        ROW("1", "\"a\"", "\"failed\"",
            ",\"price\":null,\"z\":null,\"rank\":null,\"failure_code\":1,\"message\":\"\xc3\""),
        ROW("1", "\"a\"", "\"no\"", FACTORS("1.0")),
    };
    rows r = some_rows(20), sorted = some_rows(20);
    rows_sort(&sorted);
    bytes b = write_file(path, &r, NULL);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        for (size_t k = 0; k <= 20; k += 10) {
            char line[1024];
            snprintf(line, sizeof line, "%s", lines[i]);
            seal_line(line);
            bytes with = insert_line(&b, k, line);
            save_file(path, with.at, with.n);
            rows found = {0};
            uint64_t damaged = 0, tail = 0;
            CHECK_OK(read_file(path, &found, &damaged, &tail, &err), err);
            CHECK(rows_are_among(&found, &sorted));
            CHECK(damaged || tail || found.corrupt_blocks);
            rows_free(&found);
            free(with.at);
        }
    free(b.at);
    rows_free(&r);
    rows_free(&sorted);
}

/* ------------------------------------------------------------------ open or closed */

static int32_t says_closed(const char *path)
{
    const facpool_info *info;
    CHECK_OK(fp_store_info(&info, path, &err), err);
    int32_t closed = info->closed;
    facpool_info_free(info);
    return closed;
}

/* No byte of the file tells: the writer's lock does. */
static void a_file_is_closed_when_its_writer_is(void)
{
    const char *path = path_of("closed.jsonl");
    facpool_backup_options options = options_for(path, 0);
    rows r = some_rows(20);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &r, 0, 20, &err), err);
    CHECK_INT(says_closed(path), 0);
    CHECK_OK(fp_sink_close(sink, &err), err);
    CHECK_INT(says_closed(path), 1);
    rows_free(&r);
}

/* ------------------------------------------------------------------ what is no backup */

static void files_of_others_are_left_alone(void)
{
    static const char *const files[] = {
        "{\"date\":\"2024-01-02\",\"close\":10.5}\n{\"date\":\"2024-01-03\",\"close\":11}\n",
        "{\"date\":\"2024-01-02\",\"close\":10.5}",
        "{\"date\":20240102,\"close\":10.5}\n",
        "{\"date\":20240102,\"close\":10.5",
        "{\"code\":\"000001\"}\n",
        "date,code\n1,2\n",
        "[]",
    };
    const char *path = path_of("foreign.jsonl");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t n = strlen(files[i]);
        save_file(path, (const uint8_t *)files[i], n);
        fp_source *source;
        int rc = fp_source_open(&source, path, NULL, &err);
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
        fp_sink *sink;
        rc = open_sink(&sink, &options, NULL, &err);
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
        CHECK(fp_store_repair(path, &report, &err) < 0);
        bytes same = load_file(path);
        CHECK(same.n == n && memcmp(same.at, files[i], n) == 0);
        free(same.at);
    }
}

static void other_factors_and_tags_are_refused(void)
{
    const char *path = path_of("tag.jsonl");
    rows r = some_rows(40);
    bytes b = write_file(path, &r, "v \"1\"\n");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    fp_sink *sink;
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    options.tag = "v2";
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    options.tag = "v \"1\"\n";
    options.format = "binary";
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    options.format = NULL;
    fp_schema other;
    static const char *const names[] = {"price", "z", "Rank"};
    CHECK_OK(fp_schema_init(&other, ROW_FACTORS, names, options.tag, &err), err);
    CHECK_INT(fp_sink_open(&sink, &options, &other, NULL, &err), FACPOOL_E_MISMATCH);
    fp_schema_free(&other);
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_TEXT(sink->schema.tag, options.tag);
    CHECK_OK(fp_sink_close(sink, &err), err);
    options.mode = FACPOOL_MODE_CREATE;
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_EXISTS);
    check_rows(path, &r);
    free(b.at);
    rows_free(&r);
}

/* A file without a row is empty: its writer has it, and no one else; later it counts as absent. */
static void a_file_without_a_row_is_its_writers(void)
{
    const char *path = path_of("empty.jsonl");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    fp_sink *sink, *second;
    fp_source *source;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_INT(open_sink(&second, &options, NULL, &err), FACPOOL_E_BUSY);
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "empty") != NULL);
    CHECK_OK(fp_sink_source(sink, &source, &err), err);
    CHECK_INT(source->n_blocks, 0);
    CHECK_INT(source->schema.names.n, ROW_FACTORS);
    fp_source_release(source);
    CHECK_OK(fp_sink_close(sink, &err), err);
    CHECK_INT(file_bytes_of(path), 0);
    rows r = some_rows(20);
    CHECK_OK(write_rows(&options, &r, RUN_ROWS, &err), err); /* create: nothing is lost */
    check_rows(path, &r);
    rows_free(&r);
}

/* ------------------------------------------------------------------ growing files */

static fp_source *open_after(const char *path, fp_source *previous)
{
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, previous, &err), err);
    fp_source_release(previous);
    return source;
}

static size_t rows_in(const fp_source *source, rows *found)
{
    fp_read_context context;
    CHECK_OK(fp_read_context_init(&context, &err), err);
    CHECK_OK(read_rows(source, &context, found, &err), err);
    CHECK_INT(found->corrupt_blocks, 0);
    fp_read_context_free(&context);
    return found->n;
}

/* Keys that go on ascending make the last block grow: what a reader knows of it stays true. */
static void a_reader_follows_a_growing_file(void)
{
    const char *path = path_of("grow.jsonl");
    rows r = {0}, found;
    for (size_t i = 0; i < 500; i++)
        *rows_add(&r) = row_of(i, 10, FACPOOL_STATUS_OK);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    fp_source *source = NULL;
    for (size_t n = 0; n < r.n; n += 50) {
        CHECK_OK(append_rows(sink, &r, n, 50, &err), err);
        fp_source *before = source ? fp_source_hold(source) : NULL;
        source = open_after(path, source);
        CHECK_INT(rows_in(source, &found), n + 50);
        CHECK_INT(source->n_blocks, n / 50 + 1); /* the walk went on, it did not begin again */
        rows_free(&found);
        if (before)
            CHECK_INT(rows_in(before, &found), n);
        if (before)
            rows_free(&found);
        fp_source_release(before);
    }
    CHECK_OK(fp_sink_close(sink, &err), err);
    fp_source *same = open_after(path, fp_source_hold(source));
    CHECK(same == source); /* nothing is new */
    fp_source_release(same);

    bytes b = load_file(path), other;
    rows replaced = {0};
    for (size_t i = 0; i < 40; i++)
        *rows_add(&replaced) = row_of(i, 10, i < 20 ? FACPOOL_STATUS_OK : FACPOOL_STATUS_FAILED);
    other = write_file(path_of("other.jsonl"), &replaced, NULL);
    FILE *file = fopen(path, "r+b"); /* the same file, cut and written anew */
    CHECK(file && ftruncate(fileno(file), 0) == 0 && fwrite(other.at, 1, other.n, file) == other.n);
    fclose(file);
    source = open_after(path, source);
    CHECK_INT(rows_in(source, &found), 40);
    rows_free(&found);
    fp_source_release(source);
    free(b.at);
    free(other.at);
    rows_free(&r);
    rows_free(&replaced);
}

/* Bytes that change under a reader after it has listed them are found when they are read. */
static void lines_that_change_after_the_walk_are_found(void)
{
    const char *path = path_of("changed.jsonl");
    rows r = some_rows(40);
    bytes b = write_file(path, &r, NULL);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    size_t at = line_at(&b, 25) + 9; /* a digit of the date */
    FILE *file = fopen(path, "r+b");
    CHECK(file && fseek(file, (long)at, SEEK_SET) == 0);
    fputc(b.at[at] == '1' ? '2' : '1', file);
    fclose(file);
    fp_read_context context;
    fp_open_block *block;
    CHECK_OK(fp_read_context_init(&context, &err), err);
    size_t n_corrupt = 0;
    for (size_t i = 0; i < source->n_blocks; i++) {
        int rc = source->type->open_block(source, i, &context, &block, &err);
        if (!rc) {
            source->type->close_block(block);
            continue;
        }
        CHECK_INT(rc, FACPOOL_E_CORRUPT);
        CHECK(strstr(err.message, "line 26 ") != NULL);
        n_corrupt++;
    }
    CHECK_INT(n_corrupt, 1);
    fp_read_context_free(&context);
    fp_source_release(source);
    free(b.at);
    rows_free(&r);
}

int main(void)
{
    make_folder();
    RUN(every_row_comes_back_bit_for_bit);
    RUN(odd_values_come_back_bit_for_bit);
    RUN(resume_continues_a_file);
    RUN(messages_and_codes_of_any_length_come_back);
    RUN(long_runs_are_cut_into_blocks);
    RUN(keys_that_do_not_ascend_begin_a_block);
    RUN(wide_rows_come_back);
    RUN(a_file_cut_at_any_byte_gives_its_whole_lines);
    RUN(a_torn_file_is_resumed_at_any_byte);
    RUN(any_damaged_byte_costs_its_own_line);
    RUN(a_lost_beginning_costs_its_lines);
    RUN(who_resumes_blanks_damaged_lines);
    RUN(damage_longer_than_any_row_is_given_up_too);
    RUN(lines_of_others_are_damage_and_blank_ones_are_not);
    RUN(lines_made_to_deceive_give_no_rows);
    RUN(a_file_is_closed_when_its_writer_is);
    RUN(files_of_others_are_left_alone);
    RUN(other_factors_and_tags_are_refused);
    RUN(a_file_without_a_row_is_its_writers);
    RUN(a_reader_follows_a_growing_file);
    RUN(lines_that_change_after_the_walk_are_found);
    remove_folder();
    return TEST_END();
}
