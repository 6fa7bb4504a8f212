/* What tests of the command-line tool share: running it in a scratch folder, and a small backup
 * with rows of every status. The tool's path is the test's first argument. */
#ifndef FP_TEST_TOOL_HELPERS_H
#define FP_TEST_TOOL_HELPERS_H

#include <facpool/facpool.h>
#include <math.h>
#include <sys/wait.h>
#include "scratch.h"
#include "test.h"

static facpool_error err = FACPOOL_ERROR_INIT;
static char *tool;
static char output[1 << 16]; /* of the last command, its error output included */

/* First of all: the tool is the test's argument, and the scratch folder is made. */
static void begin_with_tool(int argc, char **argv, const char *folder)
{
    if (argc < 2) {
        printf("usage: %s TOOL\n", argv[0]);
        exit(EXIT_FAILURE);
    }
    tool = realpath(argv[1], NULL);
    if (!tool || !scratch_make(folder)) {
        perror(argv[1]);
        exit(EXIT_FAILURE);
    }
}

/* Runs `facpool <arguments>` in the scratch folder and returns its exit status. */
static int run_tool(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && '%s' %s 2>&1", scratch_folder, tool, arguments);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    size_t n = fread(output, 1, sizeof output - 1, pipe);
    output[n] = '\0';
    int status = pclose(pipe);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_output(const char *arguments, int status, const char *expected)
{
    CHECK_INT(run_tool(arguments), status);
    CHECK_TEXT(output, expected);
}

static void expect_part(const char *part)
{
    if (!strstr(output, part))
        CHECK_TEXT(output, part);
}

/* Three ok rows and one of each other status, with texts and values that need care. */
static void write_rows(facpool_writer *writer)
{
    int64_t dates[] = {20240102, 20240102, 20240103, 20240103, 20240104, 20240105, 20240106};
    const char *codes[] = {"000001", "A,\"B\"",    "\xe5\xb9\xb3\xe5\xae\x89", "600000", "600000",
                           "600000", "back\\slash"};
    int64_t timestamps[] = {1704153600123456, 0, -1, 1, 2, 3, 4};
    uint8_t statuses[] = {FACPOOL_STATUS_OK,      FACPOOL_STATUS_OK,     FACPOOL_STATUS_OK,
                          FACPOOL_STATUS_SKIPPED, FACPOOL_STATUS_FAILED, FACPOOL_STATUS_TIMEOUT,
                          FACPOOL_STATUS_CRASHED};
    double factors[] = {0.1, 12.5, NAN, INFINITY, -INFINITY, 1e-320, 0, 0, 0, 0, 0, 0, 0, 0};
    int32_t failure_codes[] = {0, 0, 0, 0, 7, 0, -11};
    const char *messages[] = {NULL, NULL, NULL, NULL, "no \"bars\",\nat all", NULL, "segv"};
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 7;
    rows.dates = dates;
    rows.codes = codes;
    rows.timestamps = timestamps;
    rows.statuses = statuses;
    rows.factors = factors;
    rows.failure_codes = failure_codes;
    rows.messages = messages;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
}

static facpool_writer *open_writer(const char *name, const char *tag)
{
    static const char *const names[] = {"vwap", "volume,share"};
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = scratch_path(name);
    options.mode = FACPOOL_MODE_OVERWRITE;
    options.tag = tag;
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &options, names, 2, &err), err);
    return writer;
}

static void write_file(const char *name)
{
    facpool_writer *writer = open_writer(name, "v2");
    write_rows(writer);
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

#endif
