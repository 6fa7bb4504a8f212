/* facpool convert: backups into a backup of another format, or into a CSV file. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "output.h"
#include "print.h"

static const char help[] =
    "Usage: facpool convert FROM... TO [OPTION]...\n"
    "\n"
    "Writes the rows of one or many backups, of every status, into a new file. Several backups "
    "are\n"
    "joined into one: where they have a row for the same date and code, an ok row beats one that "
    "is\n"
    "not, then the later one counts. The new file appears when it is whole, or not at all.\n"
    "\n"
    "  --format FORMAT  binary, json, memory_map (an Arrow file), or csv. Without it the end of\n"
    "                   TO's name says so: .jsonl, .arrow, .csv, else binary\n"
    "  --tag TAG        the tag of the new backup; without it that of the first one. '' is none\n"
    "  --level N        binary: how hard zstd tries, 1 (the default) to 19; -1 does without it\n"
    "  --overwrite      replace TO where it is there already\n"
    "\n"
    "A backup may replace itself. TO can be - for csv on the standard output.\n"
    "csv has a header and a line for each row, in order of date and code: status, failure code "
    "and\n"
    "message are there for all, factors for rows that are ok. A value that is not a number is "
    "nan,\n"
    "infinities are inf and -inf, and numbers read back to the same bits.\n"
    "\n"
    "Examples:\n"
    "  facpool convert factors.fpb factors.arrow\n"
    "  facpool convert shard1.fpb shard2.fpb all.fpb\n"
    "  facpool convert factors.fpb - | head\n"
    "\n"
    "Exit status: 0 done, 2 a block of FROM is damaged and nothing was written (resume its run\n"
    "first; facpool query prints what can be read), 3 an error.\n";

typedef struct convert_options {
    bool help;
    bool overwrite;
    const char *format;
    const char *tag;
    int32_t level;
    const char *const *from;
    size_t n_from;
    const char *to;
} convert_options;

/* ------------------------------------------------------------------ options */

static int read_level(convert_options *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    long level = strtol(text, &end, 10);
    if (errno || end == text || *end || level < -1 || level > 19)
        return tool_fail_usage("convert", "--level can't be '%s': it is 1 to 19, or -1", text);
    o->level = (int32_t)level;
    return TOOL_OK;
}

static int read_option(convert_options *o, int option, const char *text)
{
    switch (option) {
    case 'F':
        o->format = text;
        return TOOL_OK;
    case 'T':
        o->tag = text;
        return TOOL_OK;
    case 'L':
        return read_level(o, text);
    case 'O':
        o->overwrite = true;
        return TOOL_OK;
    case 'h':
        o->help = true;
        return TOOL_OK;
    default: /* getopt has said what is wrong */
        fputs("Try 'facpool convert --help'.\n", stderr);
        return TOOL_FAILED;
    }
}

static int read_files(convert_options *o, int n, char **files)
{
    if (n == 0)
        return tool_fail_usage("convert", "which backup? Name at least one file, then the new one");
    if (n == 1)
        return tool_fail_usage("convert", "'%s' into what? Name the new file behind it", files[0]);
    o->from = (const char *const *)files;
    o->n_from = (size_t)n - 1;
    o->to = files[n - 1];
    return TOOL_OK;
}

static int read_options(convert_options *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"format", required_argument, NULL, 'F'}, {"tag", required_argument, NULL, 'T'},
        {"level", required_argument, NULL, 'L'},  {"overwrite", no_argument, NULL, 'O'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int status = read_option(o, option, optarg);
        if (status)
            return status;
    }
    return o->help ? TOOL_OK : read_files(o, argc - optind, argv + optind);
}

static bool ends_in(const char *path, const char *suffix)
{
    size_t length = strlen(path), suffix_length = strlen(suffix);
    return length > suffix_length && strcmp(path + length - suffix_length, suffix) == 0;
}

static bool wants_csv(const convert_options *o)
{
    if (o->format)
        return strcmp(o->format, "csv") == 0;
    return strcmp(o->to, "-") == 0 || ends_in(o->to, ".csv");
}

/* What an error of the library means for the exit status. */
static int fail_with(const facpool_error *err)
{
    tool_fail("%s", err->message);
    return err->code == FACPOOL_E_CORRUPT ? TOOL_DAMAGED : TOOL_FAILED;
}

/* ------------------------------------------------------------------ to CSV */

static int print_rows(facpool_cursor *cursor, printer *p, FILE *stream, uint64_t *n_rows)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_batch_view batch = FACPOOL_BATCH_VIEW_INIT;
    int rc = 1;
    while (!ferror(stream) && (rc = facpool_cursor_next_batch(cursor, &batch, &err)) == 1) {
        if (!printer_put(p, &batch, 0, batch.n_rows))
            return tool_fail("out of memory");
        *n_rows += batch.n_rows;
    }
    if (rc < 0)
        return fail_with(&err);
    printer_end(p);
    return TOOL_OK;
}

static int ask(facpool_reader *reader, FILE *stream, uint64_t *n_rows)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = FACPOOL_ORDER_KEY;
    if (facpool_query(reader, &filter, &cursor, &err))
        return fail_with(&err);
    size_t n = facpool_reader_n_factors(reader);
    const char **names = calloc(n + 1, sizeof *names);
    for (size_t i = 0; names && i < n; i++)
        names[i] = facpool_reader_factor_name(reader, i);
    printer *p = names ? printer_new(PRINT_CSV, stream, names, n, true) : NULL;
    int status = p ? print_rows(cursor, p, stream, n_rows) : tool_fail("out of memory");
    printer_free(p);
    free(names);
    facpool_cursor_free(cursor);
    return status;
}

static int check_csv_options(const convert_options *o)
{
    if (o->tag)
        return tool_fail_usage("convert", "--tag '%s' is for backups: csv has none", o->tag);
    if (o->level)
        return tool_fail_usage("convert", "--level is for binary backups: csv is plain text");
    return TOOL_OK;
}

static int convert_to_csv(const convert_options *o)
{
    char text[32];
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    uint64_t n_rows = 0;
    int status = check_csv_options(o);
    if (status)
        return status;
    if (facpool_reader_open(&reader, o->from, o->n_from, &err))
        return fail_with(&err);
    output *out = output_begin(o->to, o->overwrite);
    status = out ? ask(reader, output_stream(out), &n_rows) : TOOL_FAILED;
    facpool_reader_free(reader);
    if (status) {
        output_discard(out);
        return status;
    }
    status = output_finish(out);
    if (status == TOOL_OK && strcmp(o->to, "-") != 0)
        printf("%s: %s rows\n", o->to, tool_count_text(n_rows, text));
    return status;
}

/* ------------------------------------------------------------------ to a backup */

static int convert_to_backup(const convert_options *o)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_backup_options to = FACPOOL_BACKUP_OPTIONS_INIT;
    to.path = o->to;
    to.format = o->format;
    to.tag = o->tag;
    to.compression_level = o->level;
    to.mode = o->overwrite ? FACPOOL_MODE_OVERWRITE : FACPOOL_MODE_CREATE;
    if (strcmp(o->to, "-") == 0)
        return tool_fail_usage("convert",
                               "a backup of format '%s' needs a name: only csv can go to the "
                               "standard output ('facpool query --format jsonl' prints JSON Lines)",
                               o->format);
    if (facpool_backup_convert(o->from, o->n_from, &to, &err))
        return fail_with(&err);
    return tool_print_size(o->to);
}

int tool_convert(int argc, char **argv)
{
    convert_options o = {0};
    int status = read_options(&o, argc, argv);
    if (status)
        return status;
    if (o.help)
        fputs(help, stdout);
    else
        status = wants_csv(&o) ? convert_to_csv(&o) : convert_to_backup(&o);
    return tool_end_output(status);
}
