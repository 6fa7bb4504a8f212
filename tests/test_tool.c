/* Proves that the command-line tool says what is in a file, in formats that others can read, and
 * that its exit status can be relied on. The tool's path is the first argument. */
#include "tool_helpers.h"

/* ------------------------------------------------------------------ help */

static void help_and_version_are_given(void)
{
    CHECK_INT(run_tool("--help"), 0);
    expect_part("Usage: facpool COMMAND");
    CHECK_INT(run_tool("--version"), 0);
    expect_part(facpool_version());
    static const char *const commands[] = {"info",    "query",   "verify", "repair",
                                           "convert", "compact", "tail"};
    for (int i = 0; i < 7; i++) {
        char arguments[64], usage[64];
        snprintf(arguments, sizeof arguments, "%s --help", commands[i]);
        snprintf(usage, sizeof usage, "Usage: facpool %s F", commands[i]);
        CHECK_INT(run_tool(arguments), 0);
        expect_part(usage);
        expect_part("Exit status");
        snprintf(arguments, sizeof arguments, "help %s", commands[i]);
        CHECK_INT(run_tool(arguments), 0);
        expect_part(usage);
        CHECK_INT(run_tool(commands[i]), 3);
        expect_part("which backup? Name a");
    }
    CHECK_INT(run_tool("help look"), 3);
    expect_part("no command 'look'");
}

static void wrong_usage_is_told_of(void)
{
    CHECK_INT(run_tool(""), 3);
    expect_part("Usage: facpool COMMAND");
    CHECK_INT(run_tool("look x"), 3);
    expect_part("no command 'look'");
    CHECK_INT(run_tool("query x --start yesterday"), 3);
    expect_part("'yesterday'");
    CHECK_INT(run_tool("query x --status good"), 3);
    expect_part("no status 'good'");
    CHECK_INT(run_tool("query x --order up"), 3);
    expect_part("--order can't be 'up': it is key or file");
    CHECK_INT(run_tool("query x --limit -1"), 3);
    expect_part("no count");
    CHECK_INT(run_tool("query x --colour"), 3);
    expect_part("colour");
    expect_part("facpool query --help");
    CHECK_INT(run_tool("query not-there.fpb"), 3);
    expect_part("not-there.fpb");
    CHECK_INT(run_tool("convert x"), 3);
    expect_part("'x' into what?");
    CHECK_INT(run_tool("convert x y --level 20"), 3);
    expect_part("--level can't be '20'");
    CHECK_INT(run_tool("convert x y.csv --tag v1"), 3);
    expect_part("--tag 'v1'");
    CHECK_INT(run_tool("convert x - --format json"), 3);
    expect_part("only csv can go to the standard output");
    CHECK_INT(run_tool("tail x y"), 3);
    expect_part("one file at a time");
    CHECK_INT(run_tool("tail x --lines many"), 3);
    expect_part("'many' is no count");
    CHECK_INT(run_tool("tail x --format csw"), 3);
    expect_part("--format can't be 'csw'");
    CHECK_INT(run_tool("tail not-there.fpb"), 3);
    expect_part("not-there.fpb");
}

/* ------------------------------------------------------------------ query */

static void csv_is_quoted_where_it_must_be(void)
{
    write_file("rows.fpb");
    expect_output("query rows.fpb --format csv", 0,
                  "date,code,timestamp,vwap,\"volume,share\"\n"
                  "20240102,000001,2024-01-02T00:00:00.123456Z,0.1,12.5\n"
                  "20240102,\"A,\"\"B\"\"\",1970-01-01T00:00:00.000000Z,nan,inf\n"
                  "20240103,\xe5\xb9\xb3\xe5\xae\x89,1969-12-31T23:59:59.999999Z,-inf,1e-320\n");
    expect_output("query rows.fpb --format csv --status failed,skipped --status crashed", 0,
                  "date,code,timestamp,status,vwap,\"volume,share\",failure_code,message\n"
                  "20240103,600000,1970-01-01T00:00:00.000001Z,skipped,,,,\n"
                  "20240104,600000,1970-01-01T00:00:00.000002Z,failed,,,7,"
                  "\"no \"\"bars\"\",\nat all\"\n"
                  "20240106,back\\slash,1970-01-01T00:00:00.000004Z,crashed,,,-11,segv\n");
    expect_output("query rows.fpb --format csv --factors vwap --codes nobody", 0,
                  "date,code,timestamp,vwap\n");
}

static void json_lines_are_valid_json(void)
{
    write_file("rows.fpb");
    expect_output(
        "query rows.fpb --format jsonl --end 20240104 --status all --factors vwap", 0,
        "{\"date\":20240102,\"code\":\"000001\",\"timestamp\":1704153600123456,\"status\":\"ok\","
        "\"vwap\":0.1}\n"
        "{\"date\":20240102,\"code\":\"A,\\\"B\\\"\",\"timestamp\":0,\"status\":\"ok\","
        "\"vwap\":null}\n"
        "{\"date\":20240103,\"code\":\"600000\",\"timestamp\":1,\"status\":\"skipped\","
        "\"vwap\":null}\n"
        "{\"date\":20240103,\"code\":\"\xe5\xb9\xb3\xe5\xae\x89\",\"timestamp\":-1,"
        "\"status\":\"ok\",\"vwap\":\"-Infinity\"}\n"
        "{\"date\":20240104,\"code\":\"600000\",\"timestamp\":2,\"status\":\"failed\","
        "\"vwap\":null,\"failure_code\":7,\"message\":\"no \\\"bars\\\",\\nat all\"}\n");
}

static void a_table_is_aligned(void)
{
    write_file("rows.fpb");
    expect_output(
        "query rows.fpb --factors vwap,vwap", 0,
        "    date  code    timestamp                    vwap  vwap\n"
        "20240102  000001  2024-01-02T00:00:00.123456Z   0.1   0.1\n"
        "20240102  A,\"B\"   1970-01-01T00:00:00.000000Z   nan   nan\n"
        "20240103  \xe5\xb9\xb3\xe5\xae\x89    1969-12-31T23:59:59.999999Z  -inf  -inf\n");
    expect_output(
        "query rows.fpb --status failed --factors vwap", 0,
        "    date  code    timestamp                    status  vwap  failure_code  message\n"
        "20240104  600000  1970-01-01T00:00:00.000002Z  failed                   7  "
        "no \"bars\",?at all\n");
}

static void filters_choose_rows(void)
{
    write_file("rows.fpb");
    static const char head[] = "date,code,timestamp\n";
    char expected[256];
    snprintf(expected, sizeof expected, "%s%s", head,
             "20240102,000001,2024-01-02T00:00:00.123456Z\n");
    expect_output("query rows.fpb --format csv --factors '' --codes 000001", 0, expected);
    expect_output("query rows.fpb --format csv --factors '' --limit 1", 0, expected);
    expect_output("query rows.fpb --format csv --factors '' --end 2024-01-02 --limit 1", 0,
                  expected);
    expect_output("query rows.fpb --format csv --factors '' --limit 0", 0, head);
    expect_output("query rows.fpb --format csv --factors '' --start 20240104", 0, head);
    snprintf(expected, sizeof expected, "%s%s", head,
             "20240103,\xe5\xb9\xb3\xe5\xae\x89,1969-12-31T23:59:59.999999Z\n");
    expect_output("query rows.fpb --format csv --factors '' --dates 20240103,20240104", 0,
                  expected);
    expect_output("query --format csv --factors '' --start=20240103 rows.fpb --order file", 0,
                  expected);
    expect_output("query rows.fpb --format csv --factors 'volume\\,share' --codes 'A\\,\"B\",X'", 0,
                  "date,code,timestamp,\"volume,share\"\n"
                  "20240102,\"A,\"\"B\"\"\",1970-01-01T00:00:00.000000Z,inf\n");
    CHECK_INT(run_tool("query rows.fpb --factors nothing"), 3);
    expect_part("it has vwap, volume,share");
}

/* What a file says must not become a command to the terminal, nor lose anything elsewhere. */
static void odd_texts_and_signs_are_shown_safely(void)
{
    static const char *const names[] = {"f"};
    static const int64_t date = 1;
    static const char *const code = "a\n\x1b[31m\xc2\x9b";
    static const double value = -0.0;
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = scratch_path("odd.fpb");
    options.mode = FACPOOL_MODE_OVERWRITE;
    options.tag = "v1\x1b[2J";
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &options, names, 1, &err), err);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    int64_t timestamp = 0;
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.timestamps = &timestamp;
    rows.factors = &value;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(run_tool("info odd.fpb"), 0);
    expect_part("tag       v1?[2J\n");
    CHECK_INT(run_tool("query odd.fpb"), 0);
    expect_part("1  a??[31m?  1970");
    expect_output("query odd.fpb --format jsonl", 0,
                  "{\"date\":1,\"code\":\"a\\n\\u001b[31m\xc2\x9b\",\"timestamp\":0,"
                  "\"status\":\"ok\",\"f\":-0.0}\n");
}

static void doubles_read_back_the_same(void)
{
    enum { N = 2000 };
    static int64_t dates[N];
    static const char *codes[N];
    static double factors[2 * N];
    random_numbers r = {20240607};
    facpool_writer *writer = open_writer("doubles.fpb", NULL);
    for (int i = 0; i < N; i++) {
        uint64_t bits = random_bits(&r);
        dates[i] = i;
        codes[i] = "X";
        memcpy(&factors[2 * i], &bits, sizeof bits);
        if (!isfinite(factors[2 * i]))
            factors[2 * i] = -0.0;
        factors[2 * i + 1] = (double)random_below(&r, 1000000) / 100;
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = N;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    char command[1024];
    snprintf(command, sizeof command, "'%s' query '%s' --format csv", tool,
             scratch_path("doubles.fpb"));
    FILE *pipe = popen(command, "r");
    char line[256];
    CHECK(pipe && fgets(line, sizeof line, pipe));
    for (int i = 0; i < N; i++) {
        double a, b;
        CHECK(fgets(line, sizeof line, pipe));
        char *values = strchr(line, 'Z'); /* the end of the timestamp */
        CHECK(values && sscanf(values, "Z,%lf,%lf", &a, &b) == 2);
        CHECK(memcmp(&a, &factors[2 * i], sizeof a) == 0);
        CHECK(b == factors[2 * i + 1]);
        CHECK(strlen(strrchr(line, ',')) <= strlen(",9999.99\n"));
    }
    CHECK_INT(pclose(pipe), 0);
}

static void a_reader_that_goes_away_is_no_error(void)
{
    enum { N = 5000 };
    static int64_t dates[N];
    static const char *codes[N];
    static double factors[2 * N];
    facpool_writer *writer = open_writer("many.fpb", NULL);
    for (int i = 0; i < N; i++) {
        dates[i] = i;
        codes[i] = "X";
    }
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = N;
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(run_tool("query many.fpb --format csv | head -n 1"), 0);
    CHECK_TEXT(output, "date,code,timestamp,vwap,\"volume,share\"\n");
    char
        command[1024]; /* also where the signal is ignored, as some shells and schedulers have it */
    snprintf(command, sizeof command,
             "cd '%s' && (trap '' PIPE; '%s' query many.fpb --format csv) 2>&1 >&3 3>&- | cat",
             scratch_folder, tool);
    char whole[1200];
    snprintf(whole, sizeof whole, "{ { %s; } 3>&1 | head -n 1; } 2>&1", command);
    FILE *pipe = popen(whole, "r");
    CHECK(pipe != NULL);
    size_t n = fread(output, 1, sizeof output - 1, pipe);
    output[n] = '\0';
    pclose(pipe);
    CHECK(!strstr(output, "facpool:"));
    CHECK_INT(run_tool("query many.fpb --format csv > /dev/full"), 3);
}

/* ------------------------------------------------------------------ info, verify, repair */

static void info_says_what_is_in_a_file(void)
{
    write_file("rows.fpb");
    CHECK_INT(run_tool("info rows.fpb"), 0);
    expect_part("format    binary, version 1\n");
    expect_part("state     closed\n");
    expect_part("tag       v2\n");
    expect_part("factors   2: vwap, volume,share\n");
    expect_part("rows      7: 3 ok, 1 skipped, 1 failed, 1 timeout, 1 crashed\n");
    expect_part("dates     20240102 to 20240106\n");
    CHECK_INT(run_tool("info rows.fpb not-there.fpb"), 3);
    expect_part("state     closed\n");
    CHECK(strstr(output, "not-there.fpb") > strstr(output, "state     closed")); /* in order */
}

/* Leaves a file as a killed writer would. */
static void copy_while_open(const char *from, const char *to, size_t torn_bytes)
{
    facpool_writer *writer = open_writer(from, NULL);
    write_rows(writer);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    size_t size = 0;
    uint8_t *bytes = file_read(scratch_path(from), &size);
    CHECK(bytes != NULL);
    uint8_t *longer = calloc(1, size + torn_bytes);
    CHECK(longer != NULL);
    memcpy(longer, bytes, size);
    CHECK(file_write(scratch_path(to), longer, size + torn_bytes));
    free(bytes);
    free(longer);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

static void verify_tells_by_its_exit_status(void)
{
    write_file("rows.fpb");
    CHECK_INT(run_tool("verify rows.fpb"), 0);
    expect_part("rows.fpb: sound: 7 rows in ");
    copy_while_open("open.fpb", "killed.fpb", 5);
    CHECK_INT(run_tool("verify rows.fpb killed.fpb"), 1);
    expect_part("killed.fpb: sound, but not closed: 7 rows");
    expect_part("5 bytes");
    expect_part("facpool repair 'killed.fpb'");
    CHECK_INT(run_tool("info killed.fpb"), 0);
    expect_part("not closed");
    expect_part("torn tail 5 bytes");
    CHECK_INT(run_tool("repair killed.fpb"), 0);
    expect_part("closed: 7 rows");
    CHECK_INT(run_tool("verify killed.fpb"), 0);
    CHECK_INT(run_tool("verify rows.fpb not-there.fpb"), 3);
}

static void damage_is_found_by_verify_and_told_of_by_query(void)
{
    write_file("rows.fpb");
    size_t size = 0;
    uint8_t *bytes = file_read(scratch_path("rows.fpb"), &size);
    CHECK(bytes != NULL);
    static const char value[] = "back\\slash"; /* in the dictionary of the block that is not ok */
    uint8_t *place = memmem(bytes, size, value, sizeof value - 1);
    if (!place) /* stored compressed: somewhere in the first blocks */
        place = bytes + size / 3;
    *place ^= 4;
    CHECK(file_write(scratch_path("damaged.fpb"), bytes, size));
    free(bytes);
    CHECK_INT(run_tool("verify damaged.fpb"), 2);
    expect_part("DAMAGED");
    expect_part("Resume the run");
    CHECK_INT(run_tool("query damaged.fpb --status all --format csv"), 2);
    expect_part("damaged");
    CHECK_INT(run_tool("repair damaged.fpb"), 2);
    expect_part("DAMAGED");
    CHECK_INT(run_tool("verify damaged.fpb"), 2);
}

static void a_damaged_line_of_json_is_told_by_its_number(void)
{
    write_file("lines.jsonl");
    size_t size = 0, at = 0;
    uint8_t *bytes = file_read(scratch_path("lines.jsonl"), &size);
    CHECK(bytes != NULL);
    for (size_t newlines = 0; newlines < 2; at++)
        newlines += bytes[at] == '\n';
    bytes[at + 10] ^= 1; /* in the third line */
    CHECK(file_write(scratch_path("lines.jsonl"), bytes, size));
    free(bytes);
    CHECK_INT(run_tool("verify lines.jsonl"), 2);
    expect_part("line 3:");
    CHECK_INT(run_tool("query lines.jsonl --status all --format csv"), 2);
    CHECK_INT(run_tool("repair lines.jsonl"), 2);
    expect_part("DAMAGED");
}

static void repair_leaves_a_file_that_is_being_written_alone(void)
{
    facpool_writer *writer = open_writer("busy.fpb", NULL);
    write_rows(writer);
    CHECK_INT(run_tool("repair busy.fpb"), 3);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK_INT(run_tool("verify busy.fpb"), 0);
}

int main(int argc, char **argv)
{
    begin_with_tool(argc, argv, "tool");
    RUN(help_and_version_are_given);
    RUN(wrong_usage_is_told_of);
    RUN(csv_is_quoted_where_it_must_be);
    RUN(json_lines_are_valid_json);
    RUN(a_table_is_aligned);
    RUN(filters_choose_rows);
    RUN(odd_texts_and_signs_are_shown_safely);
    RUN(doubles_read_back_the_same);
    RUN(a_reader_that_goes_away_is_no_error);
    RUN(info_says_what_is_in_a_file);
    RUN(verify_tells_by_its_exit_status);
    RUN(damage_is_found_by_verify_and_told_of_by_query);
    RUN(a_damaged_line_of_json_is_told_by_its_number);
    RUN(repair_leaves_a_file_that_is_being_written_alone);
    scratch_remove();
    return TEST_END();
}
