/* Torn and damaged files of the json format: a torn tail is cut off wherever it is torn; any
 * damaged byte costs its own line's task (two, where it was a newline) and gives no wrong row;
 * damage is reported by line, and blanked by who resumes. */
#include "codec/json_checksum.h"
#include "json_rows.h"
#include "tiers.h"

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
    for (size_t n = 0; n < b.n; n += of_tier(7, 1, 1)) {
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
    for (size_t n = 0; n < b.n; n += of_tier(7, 1, 1)) {
        save_file(path, b.at, n);
        size_t kept = count_lines(b.at, n), end = line_at(&b, kept);
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink_of_all(&sink, &options, &opening, &err), err);
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
    size_t step = of_tier(17, 1, 1);
    for (size_t at = 0; at < b.n; at += step)
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
        CHECK_OK(open_sink_of_all(&sink, &options, &opening, &err), err);
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
        CHECK_OK(open_sink_of_all(&sink, &options, &opening, &err), err);
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
            CHECK_INT(o.open_rc, 0);
            CHECK_INT(o.n_rows, 30);
            CHECK(o.rows_are_right);
            CHECK_INT(o.n_damaged, !is_blank && !is_last);
            CHECK_INT(o.tail_bytes, is_last && !is_blank ? strlen(lines[i]) + 1 : 0);
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

int main(void)
{
    make_folder();
    RUN(a_file_cut_at_any_byte_gives_its_whole_lines);
    RUN(a_torn_file_is_resumed_at_any_byte);
    RUN(any_damaged_byte_costs_its_own_line);
    RUN(a_lost_beginning_costs_its_lines);
    RUN(who_resumes_blanks_damaged_lines);
    RUN(damage_longer_than_any_row_is_given_up_too);
    RUN(lines_of_others_are_damage_and_blank_ones_are_not);
    RUN(lines_made_to_deceive_give_no_rows);
    remove_folder();
    return TEST_END();
}
