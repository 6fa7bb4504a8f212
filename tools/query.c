/* facpool query: rows of one or many backups as text. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "print.h"

static const char help[] =
    "Usage: facpool query FILE... [OPTION]...\n"
    "\n"
    "Prints the rows of a backup. Several files are asked as one: where they have a row for the\n"
    "same date and code, an ok row beats one that is not, then the later one counts.\n"
    "\n"
    "Which rows:\n"
    "  --start DATE        from this date on\n"
    "  --end DATE          up to this date, included\n"
    "  --dates D,D,...     these dates alone\n"
    "  --codes C,C,...     these codes alone\n"
    "  --status S,S,...    ok (the default), skipped, failed, timeout, crashed, or all\n"
    "  --limit N           at most N rows\n"
    "\n"
    "What of them, and how:\n"
    "  --factors F,F,...   these factors, in this order (the default is all)\n"
    "  --order ORDER       key: by date and code (the default); file: as stored, a little faster\n"
    "  --format FORMAT     table (the default), csv, or jsonl: one JSON object a line\n"
    "\n"
    "Dates are numbers as they were stored, usually like 20240131; 2024-01-31 means the same.\n"
    "Lists may be given in one option or in several; a comma within a name is written \\,\n"
    "With --status other than ok, a row that is not ok shows its status, failure code and\n"
    "message, and no factors.\n"
    "In csv a value that is not a number is nan, one that is missing is empty; in jsonl both are\n"
    "null, infinities are \"Infinity\" and \"-Infinity\", timestamps are microseconds since 1970.\n"
    "\n"
    "Examples:\n"
    "  facpool query factors.fpb --start 20240101 --codes 000001,600000\n"
    "  facpool query factors.fpb --status failed\n"
    "  facpool query 2023.fpb 2024.fpb --factors vwap --format csv > vwap.csv\n"
    "\n"
    "Exit status: 0 all rows were read, 2 rows in damaged blocks were left out (each block is "
    "told\n"
    "of on the error output), 3 an error.\n";

typedef struct text_list {
    const char **items;
    size_t n;
    bool given;
} text_list;

typedef struct query_options {
    bool help;
    int64_t start, end;
    bool has_start, has_end;
    int64_t *dates;
    size_t n_dates;
    text_list date_texts;
    text_list codes;
    text_list factors;
    text_list statuses;
    uint32_t status_bits;
    int32_t order;
    print_format format;
    bool has_limit;
    uint64_t limit;
} query_options;

/* ------------------------------------------------------------------ reading the options */

/* Ends the part of a list that begins here, at its comma, and makes "\," in it a comma, in place.
 * Returns where the next part begins, or NULL. */
static char *cut_part(char *part)
{
    char *to = part;
    for (char *at = part; *at; at++) {
        if (*at == ',') {
            *to = '\0';
            return at + 1;
        }
        at += at[0] == '\\' && at[1] == ',';
        *to++ = *at;
    }
    *to = '\0';
    return NULL;
}

/* Splits a text at its commas, in place, and appends the parts. */
static int add_list(text_list *list, char *text)
{
    list->given = true;
    size_t more = 1;
    for (const char *at = text; *at; at++)
        more += *at == ',';
    const char **items = realloc(list->items, (list->n + more) * sizeof *items);
    if (!items)
        return tool_fail("out of memory");
    list->items = items;
    for (char *part = text, *next; part; part = next) {
        next = cut_part(part);
        if (*part)
            list->items[list->n++] = part;
    }
    return TOOL_OK;
}

/* yyyy-mm-dd as yyyymmdd. */
static bool read_dashed_date(const char *text, int64_t *date)
{
    static const char pattern[] = "dddd-dd-dd";
    int64_t value = 0;
    for (size_t i = 0; i < sizeof pattern - 1; i++) {
        bool digit = pattern[i] == 'd';
        if (digit ? !isdigit((unsigned char)text[i]) : text[i] != '-')
            return false;
        value = digit ? value * 10 + (text[i] - '0') : value;
    }
    *date = value;
    return text[sizeof pattern - 1] == '\0';
}

static int read_date(const char *option, const char *text, int64_t *date)
{
    if (read_dashed_date(text, date))
        return TOOL_OK;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return tool_fail_usage("query", "%s '%s' is no date: give a number like 20240131", option,
                               text);
    *date = value;
    return TOOL_OK;
}

static int read_dates(query_options *o)
{
    o->dates = calloc(o->date_texts.n + 1, sizeof *o->dates);
    if (!o->dates)
        return tool_fail("out of memory");
    for (size_t i = 0; i < o->date_texts.n; i++) {
        int rc = read_date("--dates", o->date_texts.items[i], &o->dates[i]);
        if (rc)
            return rc;
    }
    o->n_dates = o->date_texts.n;
    return TOOL_OK;
}

static int read_statuses(query_options *o)
{
    for (size_t i = 0; i < o->statuses.n; i++) {
        const char *name = o->statuses.items[i];
        uint32_t bits = strcmp(name, "all") == 0 ? FACPOOL_STATUS_ALL : 0;
        for (int status = FACPOOL_STATUS_OK; status <= FACPOOL_STATUS_CRASHED; status++)
            if (strcmp(name, facpool_status_name(status)) == 0)
                bits = FACPOOL_STATUS_BIT(status);
        if (!bits)
            return tool_fail_usage("query",
                                   "there is no status '%s': it is ok, skipped, failed, timeout, "
                                   "crashed, or all",
                                   name);
        o->status_bits |= bits;
    }
    return TOOL_OK;
}

static int read_choice(const char *option, const char *text, const char *const *names,
                       const char *remedy, int *choice)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(text, names[i]) == 0) {
            *choice = i;
            return TOOL_OK;
        }
    return tool_fail_usage("query", "%s can't be '%s': it is %s", option, text, remedy);
}

static int read_limit(query_options *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    o->limit = strtoull(text, &end, 10);
    o->has_limit = true;
    if (errno || end == text || *end || strchr(text, '-'))
        return tool_fail_usage("query", "--limit '%s' is no count of rows", text);
    return TOOL_OK;
}

static int read_option(query_options *o, int option, char *text)
{
    static const char *const orders[] = {"key", "file", NULL};
    static const char *const formats[] = {"table", "csv", "jsonl", NULL};
    int choice = 0, rc = TOOL_OK;
    switch (option) {
    case 's':
        o->has_start = true;
        return read_date("--start", text, &o->start);
    case 'e':
        o->has_end = true;
        return read_date("--end", text, &o->end);
    case 'd':
        return add_list(&o->date_texts, text);
    case 'c':
        return add_list(&o->codes, text);
    case 'f':
        return add_list(&o->factors, text);
    case 't':
        return add_list(&o->statuses, text);
    case 'l':
        return read_limit(o, text);
    case 'o':
        rc = read_choice("--order", text, orders, "key or file", &choice);
        o->order = choice ? FACPOOL_ORDER_FILE : FACPOOL_ORDER_KEY;
        return rc;
    case 'F':
        rc = read_choice("--format", text, formats, "table, csv or jsonl", &choice);
        o->format = (print_format)choice;
        return rc;
    case 'h':
        o->help = true;
        return TOOL_OK;
    default: /* getopt has said what is wrong */
        fputs("Try 'facpool query --help'.\n", stderr);
        return TOOL_FAILED;
    }
}

static int read_options(query_options *o, int argc, char **argv)
{
    static const struct option options[] = {{"start", required_argument, NULL, 's'},
                                            {"end", required_argument, NULL, 'e'},
                                            {"dates", required_argument, NULL, 'd'},
                                            {"codes", required_argument, NULL, 'c'},
                                            {"factors", required_argument, NULL, 'f'},
                                            {"status", required_argument, NULL, 't'},
                                            {"limit", required_argument, NULL, 'l'},
                                            {"order", required_argument, NULL, 'o'},
                                            {"format", required_argument, NULL, 'F'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int rc = read_option(o, option, optarg);
        if (rc)
            return rc;
    }
    int rc = read_dates(o);
    return rc ? rc : read_statuses(o);
}

static void free_options(query_options *o)
{
    free(o->dates);
    free(o->date_texts.items);
    free(o->codes.items);
    free(o->factors.items);
    free(o->statuses.items);
}

/* ------------------------------------------------------------------ asking */

/* Prints the rows of a cursor; damage is told of and gone past. */
static int print_rows(facpool_cursor *cursor, printer *p, const query_options *o)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_batch_view batch = FACPOOL_BATCH_VIEW_INIT;
    uint64_t left = o->has_limit ? o->limit : UINT64_MAX;
    int status = TOOL_OK;
    while (left > 0 && !tool_output_is_closed()) {
        int rc = facpool_cursor_next_batch(cursor, &batch, &err);
        if (rc == 0)
            break;
        if (rc == FACPOOL_E_CORRUPT) {
            fprintf(stderr, "facpool: %s\n", err.message);
            status = TOOL_DAMAGED;
            continue;
        }
        if (rc < 0)
            return tool_fail("%s", err.message);
        size_t n = batch.n_rows < left ? batch.n_rows : (size_t)left;
        if (!printer_put(p, &batch, 0, n))
            return tool_fail("out of memory");
        left -= n;
    }
    printer_end(p);
    return tool_end_output(status);
}

static const char **factor_names(const facpool_reader *reader, const query_options *o, size_t *n)
{
    *n = o->factors.given ? o->factors.n : facpool_reader_n_factors(reader);
    const char **names = calloc(*n + 1, sizeof *names);
    for (size_t i = 0; names && i < *n; i++)
        names[i] = o->factors.given ? o->factors.items[i] : facpool_reader_factor_name(reader, i);
    return names;
}

static int ask(facpool_reader *reader, const query_options *o)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.date_min = o->has_start ? &o->start : NULL;
    filter.date_max = o->has_end ? &o->end : NULL;
    filter.dates = o->date_texts.given ? o->dates : NULL;
    filter.n_dates = o->n_dates;
    filter.codes = o->codes.given ? o->codes.items : NULL;
    filter.n_codes = o->codes.n;
    filter.factors = o->factors.given ? o->factors.items : NULL;
    filter.n_factors = o->factors.n;
    filter.statuses = o->status_bits;
    filter.order = o->order;
    facpool_cursor *cursor = NULL;
    if (facpool_query(reader, &filter, &cursor, &err))
        return tool_fail("%s", err.message);
    size_t n_names = 0;
    const char **names = factor_names(reader, o, &n_names);
    bool with_status = o->status_bits & ~FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK);
    printer *p = names ? printer_new(o->format, stdout, names, n_names, with_status) : NULL;
    int status = p ? print_rows(cursor, p, o) : tool_fail("out of memory");
    printer_free(p);
    free(names);
    facpool_cursor_free(cursor);
    return status;
}

int tool_query(int argc, char **argv)
{
    query_options o = {.order = FACPOOL_ORDER_KEY};
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_reader *reader = NULL;
    int status = read_options(&o, argc, argv);
    if (status == TOOL_OK && o.help) {
        fputs(help, stdout);
        status = tool_end_output(TOOL_OK);
    } else if (status == TOOL_OK && optind == argc) {
        status = tool_fail_usage("query", "which backup? Name at least one file");
    } else if (status == TOOL_OK) {
        const char *const *paths = (const char *const *)(argv + optind);
        if (facpool_reader_open(&reader, paths, (size_t)(argc - optind), &err))
            status = tool_fail("%s", err.message);
        else
            status = ask(reader, &o);
    }
    facpool_reader_free(reader);
    free_options(&o);
    return status;
}
