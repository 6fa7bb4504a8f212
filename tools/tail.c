/* facpool tail: the last rows of a backup, and new ones as a run writes them. It asks the library
 * for a new snapshot a few times a second and prints the blocks it has not seen; it holds no lock
 * and never changes the file. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "print.h"

/* The last rows are looked for in so many bytes first. */
#define FIRST_STEP_BYTES ((uint64_t)64 << 10)

#define POLL_MS 250

static const char help[] =
    "Usage: facpool tail FILE [OPTION]...\n"
    "\n"
    "Prints the last rows of a backup, of every status, then waits and prints new ones as they "
    "are\n"
    "written, until it is interrupted. Rows come as they are stored: block by block, in order of\n"
    "date and code within each. The run is not held up. A file that is replaced meanwhile is "
    "shown\n"
    "from its beginning; one that is compacted is followed on.\n"
    "\n"
    "  --lines N        begin with the last N rows (the default is 10)\n"
    "  --once           end after them: wait for no more\n"
    "  --until-closed   end when the run closes the file, which a run that is killed does not\n"
    "  --wait           wait for a file that is not there\n"
    "  --format FORMAT  table (the default), csv, or jsonl, as facpool query prints them\n"
    "\n"
    "Examples:\n"
    "  facpool tail factors.fpb\n"
    "  facpool tail factors.fpb --lines 0 --format jsonl | grep failed\n"
    "\n"
    "Exit status: 0, or 2 where rows in damaged blocks were left out (each block is told of on "
    "the\n"
    "error output), 3 an error.\n";

typedef struct tail_options {
    const char *path;
    uint64_t lines;
    print_format format;
    bool once;
    bool until_closed;
    bool wait;
    bool help;
} tail_options;

typedef struct follower {
    const tail_options *options;
    facpool_reader *reader;
    int file;           /* the same file, open by itself: it stays when another takes its name */
    int64_t created_us; /* what compacting keeps, and overwriting does not */
    uint64_t seen;      /* up to where in it rows are printed */
    char **names;       /* of the factors, for the printer */
    size_t n_names;
    printer *printer;
    int status;
    char damage[sizeof((facpool_error *)0)->message]; /* told of last */
    struct stat rested; /* the file when it was last looked whether it is closed */
    bool looked;
} follower;

/* ------------------------------------------------------------------ options */

static int read_lines(tail_options *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    o->lines = strtoull(text, &end, 10);
    if (errno || end == text || *end || strchr(text, '-'))
        return tool_fail_usage("tail", "--lines '%s' is no count of rows", text);
    return TOOL_OK;
}

static int read_format(tail_options *o, const char *text)
{
    static const char *const names[] = {"table", "csv", "jsonl"};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            o->format = (print_format)i;
            return TOOL_OK;
        }
    return tool_fail_usage("tail", "--format can't be '%s': it is table, csv or jsonl", text);
}

static int read_option(tail_options *o, int option, const char *text)
{
    switch (option) {
    case 'n':
        return read_lines(o, text);
    case 'F':
        return read_format(o, text);
    case 'o':
        o->once = true;
        return TOOL_OK;
    case 'c':
        o->until_closed = true;
        return TOOL_OK;
    case 'w':
        o->wait = true;
        return TOOL_OK;
    case 'h':
        o->help = true;
        return TOOL_OK;
    default: /* getopt has said what is wrong */
        fputs("Try 'facpool tail --help'.\n", stderr);
        return TOOL_FAILED;
    }
}

static int read_options(tail_options *o, int argc, char **argv)
{
    static const struct option options[] = {{"lines", required_argument, NULL, 'n'},
                                            {"format", required_argument, NULL, 'F'},
                                            {"once", no_argument, NULL, 'o'},
                                            {"until-closed", no_argument, NULL, 'c'},
                                            {"wait", no_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "hn:", options, NULL)) != -1) {
        int status = read_option(o, option, optarg);
        if (status)
            return status;
    }
    if (o->help)
        return TOOL_OK;
    if (argc - optind != 1)
        return tool_fail_usage("tail", optind == argc ? "which backup? Name a file"
                                                      : "one file at a time: several are named");
    o->path = argv[optind];
    return TOOL_OK;
}

/* ------------------------------------------------------------------ waiting */

/* A word to whoever watches, apart from the rows. */
static void tell(const follower *f, const char *what)
{
    fflush(stdout);
    fprintf(stderr, "facpool: '%s' %s\n", f->options->path, what);
}

/* False where nobody reads any more what is printed: a pipe says so while nothing is written, too.
 */
static bool nap(void)
{
    struct pollfd output = {.fd = fileno(stdout)};
    return poll(&output, 1, POLL_MS) <= 0;
}

/* ------------------------------------------------------------------ rows */

static int ask(facpool_reader *reader, facpool_filter *filter, facpool_cursor **cursor,
               uint64_t *end, facpool_error *err)
{
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    filter->statuses = FACPOOL_STATUS_ALL;
    filter->copy = 1;
    int rc = facpool_query(reader, filter, cursor, err);
    if (!rc)
        rc = facpool_cursor_stats(*cursor, &stats, err);
    *end = stats.end_bytes;
    return rc;
}

/* Prints a batch but for its first *drop rows, at once. */
static bool put(follower *f, const facpool_batch_view *batch, uint64_t *drop)
{
    size_t first = *drop < batch->n_rows ? (size_t)*drop : batch->n_rows;
    *drop -= first;
    bool done = printer_put(f->printer, batch, first, batch->n_rows - first);
    printer_flush(f->printer);
    return done;
}

/* Every question meets damage anew; it is told of once. */
static void note_damage(follower *f, const char *message)
{
    if (strcmp(f->damage, message) != 0)
        tool_fail("%s", message);
    snprintf(f->damage, sizeof f->damage, "%s", message);
    f->status = TOOL_DAMAGED;
}

/* Prints the rows behind those seen, but for the first `drop`. */
static int print_new(follower *f, facpool_reader *reader, uint64_t drop)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_batch_view batch = FACPOOL_BATCH_VIEW_INIT;
    facpool_cursor *cursor = NULL;
    uint64_t end = 0;
    filter.skip_bytes = f->seen;
    int rc = ask(reader, &filter, &cursor, &end, &err);
    while (!rc && end > f->seen && !tool_output_is_closed()) {
        rc = facpool_cursor_next_batch(cursor, &batch, &err);
        if (rc == FACPOOL_E_CORRUPT) {
            note_damage(f, err.message);
            rc = 0;
            continue;
        }
        if (rc <= 0)
            break;
        rc = put(f, &batch, &drop) ? 0 : FACPOOL_E_NOMEM;
    }
    facpool_cursor_free(cursor);
    f->seen = end;
    return rc ? tool_fail("%s", err.code ? err.message : "out of memory") : TOOL_OK;
}

/* How many rows there are behind a place. */
static int count_rows(facpool_reader *reader, uint64_t skip, uint64_t *n, facpool_error *err)
{
    static const char *const no_factors[] = {NULL};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_batch_view batch = FACPOOL_BATCH_VIEW_INIT;
    facpool_cursor *cursor = NULL;
    uint64_t end;
    filter.skip_bytes = skip;
    filter.columns = FACPOOL_COLUMN_DATE | FACPOOL_COLUMN_CODE; /* rows without them do not show */
    filter.factors = no_factors;
    int rc = ask(reader, &filter, &cursor, &end, err);
    *n = 0;
    while (!rc && ((rc = facpool_cursor_next_batch(cursor, &batch, err)) == 1 ||
                   rc == FACPOOL_E_CORRUPT)) {
        *n += rc == 1 ? batch.n_rows : 0;
        rc = 0;
    }
    facpool_cursor_free(cursor);
    return rc;
}

/* The last rows are found from the end, in steps that double. */
static int print_last(follower *f)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    uint64_t wanted = f->options->lines, end, n = 0;
    int rc = ask(f->reader, &filter, &cursor, &end, &err);
    facpool_cursor_free(cursor);
    f->seen = end;
    for (uint64_t back = FIRST_STEP_BYTES; !rc && n < wanted && f->seen > 0; back *= 2) {
        f->seen = back < end ? end - back : 0;
        rc = count_rows(f->reader, f->seen, &n, &err);
    }
    if (rc)
        return tool_fail("%s", err.message);
    return print_new(f, f->reader, n > wanted ? n - wanted : 0);
}

/* ------------------------------------------------------------------ the file */

static bool has_its_name(const follower *f)
{
    struct stat own, there;
    return fstat(f->file, &own) == 0 && stat(f->options->path, &there) == 0 &&
           own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

static void close_file(follower *f)
{
    facpool_reader_free(f->reader);
    f->reader = NULL;
    if (f->file >= 0)
        close(f->file);
    f->file = -1;
}

static int open_parts(follower *f, facpool_error *err)
{
    const facpool_info *info = NULL;
    f->file = open(f->options->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int rc = facpool_reader_open(&f->reader, &f->options->path, 1, err);
    if (!rc)
        rc = facpool_backup_info(&info, f->options->path, err);
    if (!rc)
        f->created_us = info->created_us;
    facpool_info_free(info);
    return rc;
}

/* Opens what has the name now. A file that is not there is waited for where that is asked;
 * *is_open stays false where the wait was of no use, as nobody reads any more. */
static int open_file(follower *f, const char *while_waiting, bool *is_open)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    bool told = false;
    for (;;) {
        int rc = open_parts(f, &err);
        if (!rc && f->file >= 0 && has_its_name(f)) {
            *is_open = true;
            return TOOL_OK;
        }
        close_file(f);
        if (!rc) /* another took its name just now */
            continue;
        if (rc != FACPOOL_E_NOT_FOUND || !f->options->wait)
            return tool_fail("%s", err.message);
        if (!told)
            tell(f, while_waiting);
        told = true;
        if (!nap())
            return TOOL_OK;
    }
}

static void free_names(follower *f)
{
    for (size_t i = 0; f->names && i < f->n_names; i++)
        free(f->names[i]);
    free(f->names);
    f->names = NULL;
}

/* A printer for the file at hand, which has a header of its own. */
static int begin_printing(follower *f)
{
    printer_free(f->printer);
    f->printer = NULL;
    free_names(f);
    f->n_names = facpool_reader_n_factors(f->reader);
    f->names = calloc(f->n_names + 1, sizeof *f->names);
    bool whole = f->names != NULL;
    for (size_t i = 0; whole && i < f->n_names; i++)
        whole = (f->names[i] = strdup(facpool_reader_factor_name(f->reader, i))) != NULL;
    if (whole)
        f->printer = printer_new(f->options->format, stdout, (const char *const *)f->names,
                                 f->n_names, true);
    return f->printer ? TOOL_OK : tool_fail("out of memory");
}

/* Rows that came before the file lost its name. Where the system can't show them they are lost. */
static int print_rest(follower *f)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/self/fd/%d", f->file);
    const char *const paths[] = {path};
    facpool_reader *reader = NULL;
    if (facpool_reader_open(&reader, paths, 1, NULL))
        return TOOL_OK;
    int status = print_new(f, reader, 0);
    facpool_reader_free(reader);
    return status;
}

/* Another file has the name: the same backup compacted, or another one. */
static int change_file(follower *f, bool *is_open)
{
    int64_t created_us = f->created_us;
    int status = print_rest(f);
    close_file(f);
    *is_open = false;
    if (!status)
        status = open_file(f, "is gone: waiting for it to come back", is_open);
    if (status || !*is_open)
        return status;
    if (f->created_us == created_us && created_us != 0) {
        facpool_error err = FACPOOL_ERROR_INIT;
        facpool_filter filter = FACPOOL_FILTER_INIT;
        facpool_cursor *cursor = NULL;
        tell(f, "was compacted: going on behind the rows it has");
        int rc = ask(f->reader, &filter, &cursor, &f->seen, &err);
        facpool_cursor_free(cursor);
        return rc ? tool_fail("%s", err.message) : TOOL_OK;
    }
    tell(f, "was replaced: showing it from its beginning");
    f->seen = 0;
    status = begin_printing(f);
    return status ? status : print_new(f, f->reader, 0);
}

/* Prints what has come since, in whichever file has the name now. */
static int catch_up(follower *f, bool *is_open)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = has_its_name(f) ? facpool_reader_refresh(f->reader, &err) : 0;
    if (!has_its_name(f)) /* the new snapshot may be of another file */
        return change_file(f, is_open);
    return rc ? tool_fail("%s", err.message) : print_new(f, f->reader, 0);
}

/* Whether the run has closed the file. To look costs a walk through a file that is not closed: only
 * one that rests is looked at, and once. */
static bool is_closed(follower *f)
{
    struct stat now;
    if (fstat(f->file, &now) != 0)
        return false;
    bool rests = now.st_ino == f->rested.st_ino && now.st_size == f->rested.st_size &&
                 now.st_mtim.tv_sec == f->rested.st_mtim.tv_sec &&
                 now.st_mtim.tv_nsec == f->rested.st_mtim.tv_nsec;
    f->rested = now;
    if (!rests || f->looked) {
        f->looked = f->looked && rests;
        return false;
    }
    f->looked = true;
    const facpool_info *info = NULL;
    bool closed = facpool_backup_info(&info, f->options->path, NULL) == 0 && info->closed;
    facpool_info_free(info);
    return closed;
}

/* ------------------------------------------------------------------ following */

static int follow(follower *f)
{
    bool is_open = false;
    int status = open_file(f, "is not there yet: waiting for it", &is_open);
    if (!status && is_open)
        status = begin_printing(f);
    if (!status && is_open)
        status = print_last(f);
    while (!status && is_open && !f->options->once && !tool_output_is_closed()) {
        /* What was written before it was closed is printed after it is known to be. */
        bool last = f->options->until_closed && is_closed(f);
        if (!last && !nap())
            break;
        status = catch_up(f, &is_open);
        if (last)
            break;
    }
    if (f->printer)
        printer_end(f->printer);
    return status ? status : f->status;
}

int tool_tail(int argc, char **argv)
{
    tail_options o = {.lines = 10};
    int status = read_options(&o, argc, argv);
    if (status)
        return status;
    if (o.help) {
        fputs(help, stdout);
        return tool_end_output(TOOL_OK);
    }
    follower f = {.options = &o, .file = -1};
    status = follow(&f);
    close_file(&f);
    printer_free(f.printer);
    free_names(&f);
    return tool_end_output(status);
}
