/* Proves that the command-line tool converts, compacts and follows files as it says, with rows that
 * others can read and an exit status that can be relied on. The tool's path is the first argument.
 */
#include "tool_helpers.h"

/* ------------------------------------------------------------------ convert */

static const char all_rows_as_csv[] =
    "date,code,timestamp,status,vwap,\"volume,share\",failure_code,message\n"
    "20240102,000001,2024-01-02T00:00:00.123456Z,ok,0.1,12.5,,\n"
    "20240102,\"A,\"\"B\"\"\",1970-01-01T00:00:00.000000Z,ok,nan,inf,,\n"
    "20240103,600000,1970-01-01T00:00:00.000001Z,skipped,,,,\n"
    "20240103,\xe5\xb9\xb3\xe5\xae\x89,1969-12-31T23:59:59.999999Z,ok,-inf,1e-320,,\n"
    "20240104,600000,1970-01-01T00:00:00.000002Z,failed,,,7,\"no \"\"bars\"\",\nat all\"\n"
    "20240105,600000,1970-01-01T00:00:00.000003Z,timeout,,,0,\n"
    "20240106,back\\slash,1970-01-01T00:00:00.000004Z,crashed,,,-11,segv\n";

static void expect_file(const char *name, const char *expected)
{
    size_t size = 0;
    uint8_t *bytes = file_read(scratch_path(name), &size);
    CHECK(bytes != NULL);
    bytes[size] = '\0';
    CHECK_TEXT((char *)bytes, expected);
    free(bytes);
}

static void all_rows_become_csv(void)
{
    write_file("rows.fpb");
    expect_output("convert rows.fpb -", 0, all_rows_as_csv);
    expect_output("convert rows.fpb rows.csv", 0, "rows.csv: 7 rows\n");
    expect_file("rows.csv", all_rows_as_csv);
    expect_output("convert rows.fpb rows.txt --format csv", 0, "rows.txt: 7 rows\n");
    expect_file("rows.txt", all_rows_as_csv);
}

static size_t count_files(void)
{
    size_t n = 0;
    DIR *folder = opendir(scratch_folder);
    CHECK(folder != NULL);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

static void csv_appears_whole_or_not_at_all(void)
{
    static const uint8_t old[] = "old";
    write_file("rows.fpb");
    CHECK(file_write(scratch_path("old.csv"), old, 3));
    CHECK(chmod(scratch_path("old.csv"), 0600) == 0);
    size_t n_files = count_files();
    CHECK_INT(run_tool("convert rows.fpb old.csv"), 3);
    expect_part("'old.csv' is there already: give --overwrite");
    CHECK_INT(run_tool("convert rows.fpb rows.fpb --format csv --overwrite"), 3);
    expect_part("is a backup");
    CHECK_INT(run_tool("convert rows.fpb no-folder/new.csv"), 3);
    expect_part("no-folder/new.csv");
    CHECK_INT(run_tool("convert rows.fpb /dev/null --format csv --overwrite"), 3);
    expect_part("no regular file");
    expect_file("old.csv", "old");
    CHECK_INT(count_files(), n_files);
    CHECK_INT(run_tool("convert rows.fpb old.csv --overwrite"), 0);
    expect_file("old.csv", all_rows_as_csv);
    CHECK_INT(count_files(), n_files);
    struct stat status;
    CHECK(stat(scratch_path("old.csv"), &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0600);
    CHECK_INT(run_tool("convert rows.fpb - > /dev/full"), 3);
    CHECK_INT(run_tool("convert rows.fpb - | head -n 1"), 0);
}

static void files_are_converted_and_joined(void)
{
    write_file("rows.fpb");
    facpool_writer *writer = open_writer("more.fpb", NULL);
    write_rows(writer);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(run_tool("convert rows.fpb more.fpb all.fpb"), 0);
    expect_part("all.fpb: 7 rows in 2 blocks, ");
    expect_part(" bytes, format binary\n");
    expect_output("convert all.fpb -", 0, all_rows_as_csv);
    CHECK_INT(run_tool("info all.fpb"), 0);
    expect_part("tag       v2\n");
    CHECK_INT(run_tool("convert rows.fpb all.fpb"), 3);
    expect_part("is there already");
    CHECK_INT(run_tool("convert rows.fpb all.fpb --overwrite --tag v3 --level 19"), 0);
    CHECK_INT(run_tool("info all.fpb"), 0);
    expect_part("tag       v3\n");
    CHECK_INT(run_tool("convert rows.fpb x --format parquet"), 3);
    expect_part("no format 'parquet'");
}

/* Where this build has the format: every command works on it. */
static void every_format_is_known_to_every_command(void)
{
    static const char *const formats[] = {"json", "memory_map"};
    static const char *const names[] = {"rows.jsonl", "rows.arrow"};
    write_file("rows.fpb");
    for (int f = 0; f < 2; f++) {
        char arguments[200], part[100];
        snprintf(arguments, sizeof arguments, "convert rows.fpb x --format %s --overwrite",
                 formats[f]);
        if (run_tool(arguments) != 0) {
            expect_part("there is no format");
            printf("skip format %s: this build has none\n", formats[f]);
            continue;
        }
        snprintf(arguments, sizeof arguments, "convert rows.fpb %s", names[f]);
        snprintf(part, sizeof part, ", format %s\n", formats[f]);
        CHECK_INT(run_tool(arguments), 0);
        expect_part(part);
        snprintf(arguments, sizeof arguments, "convert %s -", names[f]);
        expect_output(arguments, 0, all_rows_as_csv);
        snprintf(arguments, sizeof arguments, "info %s", names[f]);
        snprintf(part, sizeof part, "format    %s, version", formats[f]);
        CHECK_INT(run_tool(arguments), 0);
        expect_part(part);
        expect_part("tag       v2\n");
        expect_part("rows      7: 3 ok, 1 skipped, 1 failed, 1 timeout, 1 crashed\n");
        snprintf(arguments, sizeof arguments, "verify %s", names[f]);
        CHECK_INT(run_tool(arguments), 0);
        snprintf(arguments, sizeof arguments, "repair %s", names[f]);
        CHECK_INT(run_tool(arguments), 0);
        expect_part("closed: 7 rows");
        snprintf(arguments, sizeof arguments, "compact %s", names[f]);
        CHECK_INT(run_tool(arguments), 0);
        expect_part("compacted: 7 rows in 2 blocks");
        snprintf(arguments, sizeof arguments, "tail %s --once --lines 9 --format csv", names[f]);
        CHECK_INT(run_tool(arguments), 0);
        expect_part("20240105,600000,1970-01-01T00:00:00.000003Z,timeout,,,0,\n");
    }
}

static void converting_a_damaged_file_writes_nothing(void)
{
    write_file("rows.fpb");
    size_t size = 0;
    uint8_t *bytes = file_read(scratch_path("rows.fpb"), &size);
    CHECK(bytes != NULL);
    int status = 0;
    for (size_t at = size / 4; at < size && status != 2; at++) {
        bytes[at] ^= 1;
        CHECK(file_write(scratch_path("damaged.fpb"), bytes, size));
        bytes[at] ^= 1;
        status = run_tool("query damaged.fpb --status all");
    }
    free(bytes);
    CHECK_INT(status, 2);
    CHECK_INT(run_tool("convert damaged.fpb never.fpb"), 2);
    expect_part("resume a run of all");
    CHECK_INT(run_tool("convert damaged.fpb never.csv"), 2);
    expect_part("damaged");
    CHECK(access(scratch_path("never.fpb"), F_OK) != 0);
    CHECK(access(scratch_path("never.csv"), F_OK) != 0);
    CHECK_INT(run_tool("compact damaged.fpb"), 2);
    expect_part("was left as it is");
    CHECK_INT(run_tool("tail damaged.fpb --once"), 2);
}

/* ------------------------------------------------------------------ compact */

static void compact_says_what_it_did(void)
{
    facpool_writer *writer = open_writer("many.fpb", NULL);
    write_rows(writer);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    CHECK_INT(run_tool("compact many.fpb"), 3);
    expect_part("many.fpb");
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(run_tool("compact many.fpb not-there.fpb"), 3);
    expect_part("many.fpb: compacted: 7 rows in 2 blocks, ");
    expect_part("; before: 7 rows in 2 blocks, ");
    expect_part("not-there.fpb");
    expect_output("convert many.fpb -", 0, all_rows_as_csv);
}

/* ------------------------------------------------------------------ tail */

static void append_rows_of(facpool_writer *writer, int64_t first, int n, uint8_t status)
{
    for (int64_t date = first; date < first + n; date++) {
        static const char *const code = "X";
        static const char *const message = "why";
        const double factors[] = {(double)date, 0.5};
        const int64_t timestamp = 0;
        const int32_t failure_code = 3;
        facpool_rows rows = FACPOOL_ROWS_INIT;
        rows.n = 1;
        rows.dates = &date;
        rows.codes = &code;
        rows.timestamps = &timestamp;
        rows.statuses = &status;
        rows.factors = factors;
        rows.failure_codes = &failure_code;
        rows.messages = &message;
        CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    }
    CHECK_OK(facpool_writer_sync(writer, &err), err);
}

static void tail_begins_with_the_last_rows(void)
{
    static const char head[] = "date,code,timestamp,status,vwap,\"volume,share\","
                               "failure_code,message\n";
    char expected[1000];
    facpool_writer *writer = open_writer("tail.fpb", NULL);
    for (int block = 0; block < 12; block++)
        append_rows_of(writer, block * 2, 2, block == 10 ? 3 : FACPOOL_STATUS_OK);
    snprintf(expected, sizeof expected, "%s%s", head,
             "19,X,1970-01-01T00:00:00.000000Z,ok,19,0.5,,\n"
             "20,X,1970-01-01T00:00:00.000000Z,failed,,,3,why\n"
             "21,X,1970-01-01T00:00:00.000000Z,failed,,,3,why\n"
             "22,X,1970-01-01T00:00:00.000000Z,ok,22,0.5,,\n"
             "23,X,1970-01-01T00:00:00.000000Z,ok,23,0.5,,\n");
    expect_output("tail tail.fpb --once --format csv --lines 5", 0, expected);
    expect_output("tail tail.fpb --once --format csv --lines 0", 0, head);
    CHECK_INT(run_tool("tail tail.fpb --once --format csv --lines 999999"), 0);
    expect_part("\n0,X,");
    CHECK_INT(run_tool("tail tail.fpb --once -n 1"), 0);
    expect_part("date  code  timestamp");
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

/* Starts `facpool tail`, whose lines come through the pipe, error output included. */
static FILE *start_tail(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && '%s' tail %s 2>&1", scratch_folder, tool,
             arguments);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    return pipe;
}

/* Waits for the next line. */
static void expect_line(FILE *pipe, const char *expected)
{
    char line[1000];
    CHECK(fgets(line, sizeof line, pipe) != NULL);
    line[strcspn(line, "\n")] = '\0';
    CHECK_TEXT(line, expected);
}

static void expect_row(FILE *pipe, int date)
{
    char expected[200];
    snprintf(expected, sizeof expected, "%d,X,1970-01-01T00:00:00.000000Z,ok,%d,0.5,,", date, date);
    expect_line(pipe, expected);
}

static void expect_head(FILE *pipe)
{
    expect_line(pipe, "date,code,timestamp,status,vwap,\"volume,share\",failure_code,message");
}

static void expect_end(FILE *pipe)
{
    char line[1000];
    CHECK(fgets(line, sizeof line, pipe) == NULL);
    CHECK_INT(pclose(pipe), 0);
}

static void follow_until_closed(const char *name)
{
    char arguments[100];
    snprintf(arguments, sizeof arguments, "%s --lines 2 --until-closed --format csv", name);
    facpool_writer *writer = open_writer(name, NULL);
    append_rows_of(writer, 1, 5, FACPOOL_STATUS_OK);
    FILE *pipe = start_tail(arguments);
    expect_head(pipe);
    expect_row(pipe, 4);
    expect_row(pipe, 5);
    for (int date = 6; date < 10; date++) {
        append_rows_of(writer, date, 1, FACPOOL_STATUS_OK);
        expect_row(pipe, date);
    }
    append_rows_of(writer, 10, 1, FACPOOL_STATUS_FAILED);
    append_rows_of(writer, 11, 1, FACPOOL_STATUS_OK);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    expect_line(pipe, "10,X,1970-01-01T00:00:00.000000Z,failed,,,3,why");
    expect_row(pipe, 11);
    expect_end(pipe);
}

static void tail_follows_a_writer_until_it_closes_the_file(void)
{
    follow_until_closed("tail.fpb");
    follow_until_closed("tail.jsonl");
    follow_until_closed("tail.arrow");
}

static void tail_waits_for_a_file(void)
{
    unlink(scratch_path("tail.fpb"));
    FILE *pipe = start_tail("tail.fpb --wait --until-closed --format csv");
    expect_line(pipe, "facpool: 'tail.fpb' is not there yet: waiting for it");
    facpool_writer *writer = open_writer("tail.fpb", NULL);
    append_rows_of(writer, 1, 1, FACPOOL_STATUS_OK);
    expect_head(pipe);
    expect_row(pipe, 1);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    expect_end(pipe);
}

/* Rows that come just before a file is replaced are shown, too. */
static void tail_goes_on_when_the_file_is_compacted_or_replaced(void)
{
    facpool_writer *writer = open_writer("tail.fpb", NULL);
    append_rows_of(writer, 1, 3, FACPOOL_STATUS_OK);
    FILE *pipe = start_tail("tail.fpb --lines 1 --format csv");
    expect_head(pipe);
    expect_row(pipe, 3);
    append_rows_of(writer, 4, 1, FACPOOL_STATUS_OK);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_OK(facpool_backup_compact(scratch_path("tail.fpb"), &err), err);
    expect_row(pipe, 4);
    expect_line(pipe, "facpool: 'tail.fpb' was compacted: going on behind the rows it has");

    static const char *const names[] = {"vwap", "volume,share"};
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = scratch_path("tail.fpb");
    options.mode = FACPOOL_MODE_RESUME;
    CHECK_OK(facpool_writer_open(&writer, &options, names, 2, &err), err);
    append_rows_of(writer, 5, 1, FACPOOL_STATUS_OK);
    expect_row(pipe, 5);
    CHECK_OK(facpool_writer_close(writer, &err), err);

    options.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_OK(facpool_writer_open(&writer, &options, names, 1, &err), err);
    expect_line(pipe, "facpool: 'tail.fpb' was replaced: showing it from its beginning");
    append_rows_of(writer, 6, 1, FACPOOL_STATUS_OK);
    expect_line(pipe, "date,code,timestamp,status,vwap,failure_code,message");
    expect_line(pipe, "6,X,1970-01-01T00:00:00.000000Z,ok,6,,");
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK(unlink(scratch_path("tail.fpb")) == 0);
    char line[1000];
    CHECK(fgets(line, sizeof line, pipe) && strstr(line, "tail.fpb"));
    CHECK(fgets(line, sizeof line, pipe) == NULL);
    int status = pclose(pipe);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 3);
}

/* Though nothing is written that could tell it. */
static void tail_ends_when_nobody_reads(void)
{
    facpool_writer *writer = open_writer("tail.fpb", NULL);
    append_rows_of(writer, 1, 3, FACPOOL_STATUS_OK);
    CHECK_INT(run_tool("tail tail.fpb --lines 1 --format csv | head -n 1"), 0);
    expect_part("date,code");
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

int main(int argc, char **argv)
{
    begin_with_tool(argc, argv, "tool-convert");
    RUN(all_rows_become_csv);
    RUN(csv_appears_whole_or_not_at_all);
    RUN(files_are_converted_and_joined);
    RUN(every_format_is_known_to_every_command);
    RUN(converting_a_damaged_file_writes_nothing);
    RUN(compact_says_what_it_did);
    RUN(tail_begins_with_the_last_rows);
    RUN(tail_follows_a_writer_until_it_closes_the_file);
    RUN(tail_waits_for_a_file);
    RUN(tail_goes_on_when_the_file_is_compacted_or_replaced);
    RUN(tail_ends_when_nobody_reads);
    scratch_remove();
    return TEST_END();
}
