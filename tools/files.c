/* facpool info, verify, repair and compact: what backups hold, whether they are sound, and putting
 * them in order. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "tool.h"

static const char info_help[] =
    "Usage: facpool info FILE...\n"
    "\n"
    "Says what a backup holds: format, factors, tag, rows by status, dates, size, and whether it\n"
    "was closed. Reads the index alone, not the rows (json has none, and is read whole); works\n"
    "while the file is being written.\n"
    "\n"
    "Exit status: 0, or 2 where a block is damaged (facpool verify says more), 3 an error.\n";

static const char verify_help[] =
    "Usage: facpool verify FILE...\n"
    "\n"
    "Reads every byte of a backup and holds it against its checksums. Changes nothing; works\n"
    "while the file is being written.\n"
    "\n"
    "Exit status, of the worst file:\n"
    "  0  sound\n"
    "  1  sound, but not closed, or with a torn tail behind the last whole block: as a run leaves\n"
    "     it that is still going on, or was killed. Nothing is lost but what was being written;\n"
    "     'facpool repair', or resuming the run, makes it 0\n"
    "  2  damaged: some rows can't be read. The others can; resuming the run computes the lost\n"
    "     ones again\n"
    "  3  it could not be looked at\n";

static const char repair_help[] =
    "Usage: facpool repair FILE...\n"
    "\n"
    "Cuts off what a killed writer left behind the last whole block, and writes the index, so "
    "that\n"
    "the file is closed as after a run that ended well. Damaged blocks stay as they are: their "
    "rows\n"
    "are computed again when the run is resumed. Not for a file that is being written: that is\n"
    "refused.\n"
    "\n"
    "Exit status: 0 closed and sound, 2 closed, but some blocks are damaged, 3 an error.\n";

static const char compact_help[] =
    "Usage: facpool compact FILE...\n"
    "\n"
    "Rewrites a backup in place of itself: all rows in order of date and code, in full blocks, "
    "and\n"
    "without failures that a later row took the place of. It stays the same backup: name, format,\n"
    "tag and identity are kept, and its run can be resumed. The new file takes the old one's name\n"
    "when it is whole and on the disk, so it takes room for both meanwhile; programs that have "
    "the\n"
    "old one open go on reading it. Not for a file that is being written: that is refused.\n"
    "\n"
    "Exit status: 0 done, 2 a block is damaged and the file was left as it is (resume the run\n"
    "first), 3 an error.\n";

typedef int (*file_work)(const char *path);

/* Runs `work` on every file named; the exit status is the worst. */
static int for_each_file(int argc, char **argv, const char *help, file_work work)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return tool_end_output(TOOL_OK);
        }
        fprintf(stderr, "Try 'facpool %s --help'.\n", argv[0]);
        return TOOL_FAILED;
    }
    if (optind == argc)
        return tool_fail_usage(argv[0], "which backup? Name at least one file");
    int worst = TOOL_OK;
    for (int i = optind; i < argc; i++) {
        int status = work(argv[i]);
        worst = status > worst ? status : worst;
    }
    return tool_end_output(worst);
}

/* ------------------------------------------------------------------ info */

static uint64_t all_rows(const facpool_info *info)
{
    uint64_t rows = 0;
    for (int status = 0; status < 6; status++)
        rows += info->rows[status];
    return rows;
}

static void print_factors(const facpool_info *info)
{
    printf("  factors   %zu:", info->n_factors);
    size_t column = 16;
    for (size_t i = 0; i < info->n_factors; i++) {
        const char *name = info->factor_names[i];
        bool last = i + 1 == info->n_factors;
        if (column + strlen(name) > 96) {
            fputs("\n           ", stdout);
            column = 12;
        }
        putchar(' ');
        tool_put_visibly(stdout, name, strlen(name));
        if (!last)
            putchar(',');
        column += strlen(name) + 2;
    }
    putchar('\n');
}

static void print_rows_by_status(const facpool_info *info)
{
    char text[32];
    uint64_t all = all_rows(info);
    printf("  rows      %s", tool_count_text(all, text));
    const char *separator = ": ";
    for (int status = FACPOOL_STATUS_OK; status <= FACPOOL_STATUS_CRASHED; status++) {
        if (info->rows[status] == 0)
            continue;
        printf("%s%s %s", separator, tool_count_text(info->rows[status], text),
               facpool_status_name(status));
        separator = ", ";
    }
    putchar('\n');
    if (all)
        printf("  dates     %" PRId64 " to %" PRId64 "\n", info->date_min, info->date_max);
}

static void print_size(const facpool_info *info)
{
    char text[32];
    uint64_t rows = all_rows(info);
    printf("  size      %s bytes", tool_count_text(info->file_bytes, text));
    if (rows)
        printf(", %.1f a row", (double)info->file_bytes / (double)rows);
    putchar('\n');
    if (!info->closed && info->durable_bytes < info->valid_bytes)
        printf("  synced    %s bytes; the rest has been written, but may not survive a power cut\n",
               tool_count_text(info->durable_bytes, text));
    if (info->valid_bytes < info->file_bytes)
        printf("  torn tail %s bytes behind the last whole block\n",
               tool_count_text(info->file_bytes - info->valid_bytes, text));
}

static int print_info(const char *path)
{
    char text[48];
    const facpool_info *info = NULL;
    facpool_error err = FACPOOL_ERROR_INIT;
    if (facpool_backup_info(&info, path, &err))
        return tool_fail("%s", err.message);
    printf("%s\n", path);
    printf("  format    %s, version %" PRIu32 "\n", info->format, info->version);
    printf("  state     %s\n",
           info->closed ? "closed" : "not closed: a run is still writing it, or was killed");
    printf("  created   %s\n", tool_time_text(info->created_us, text));
    if (info->tag) {
        printf("  tag       ");
        tool_put_visibly(stdout, info->tag, strlen(info->tag));
        putchar('\n');
    }
    print_factors(info);
    print_rows_by_status(info);
    printf("  blocks    %s", tool_count_text(info->blocks, text));
    printf(", %s pages\n", tool_count_text(info->pages, text));
    print_size(info);
    int status = info->damaged_blocks ? TOOL_DAMAGED : TOOL_OK;
    if (info->damaged_blocks)
        printf("  DAMAGE    %s blocks can't be read: see facpool verify\n",
               tool_count_text(info->damaged_blocks, text));
    facpool_info_free(info);
    return status;
}

int tool_info(int argc, char **argv)
{
    return for_each_file(argc, argv, info_help, print_info);
}

/* ------------------------------------------------------------------ verify, repair */

static void print_checked(const facpool_verify_report *report)
{
    char blocks[32], rows[32];
    printf("%s rows in %s blocks checked\n", tool_count_text(report->rows, rows),
           tool_count_text(report->blocks, blocks));
}

/* `what`: the library's own words, with the place as people count it (of json: the line). */
static void print_damage(const facpool_verify_report *report, const char *what)
{
    char rows[32];
    printf("DAMAGED: %s\n", what);
    printf("  %s rows are sound", tool_count_text(report->rows, rows));
    printf(", %s or more are lost.\n", tool_count_text(report->rows_damaged, rows));
    printf(
        "  Queries leave out what can't be read and say so. Resume the run, or bring back a copy\n"
        "  of the file.\n");
}

static void print_open_end(const char *path, const facpool_verify_report *report)
{
    char tail[32];
    printf("%s: sound, but not closed: ", path);
    print_checked(report);
    if (report->tail_bytes)
        printf("  Behind the last whole block are %s bytes of one that was never finished.\n",
               tool_count_text(report->tail_bytes, tail));
    printf("  A run is still writing it, or was killed. If none is, resume the run, or close the\n"
           "  file with: facpool repair '%s'\n",
           path);
}

static int print_verified(const char *path)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = facpool_backup_verify(path, &report, &err);
    if (rc && (rc != FACPOOL_E_CORRUPT || report.damaged_blocks == 0))
        return tool_fail("%s", err.message);
    if (rc) {
        print_damage(&report, err.message);
        return TOOL_DAMAGED;
    }
    if (report.tail_bytes || !report.closed) {
        print_open_end(path, &report);
        return TOOL_NOT_CLOSED;
    }
    printf("%s: sound: ", path);
    print_checked(&report);
    return TOOL_OK;
}

int tool_verify(int argc, char **argv)
{
    return for_each_file(argc, argv, verify_help, print_verified);
}

static int print_repaired(const char *path)
{
    char tail[32];
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    if (facpool_backup_repair(path, &report, &err))
        return tool_fail("%s", err.message);
    if (report.tail_bytes)
        printf("%s: cut off a torn tail of %s bytes\n", path,
               tool_count_text(report.tail_bytes, tail));
    if (report.damaged_blocks) {
        printf("%s: closed, but part of it is DAMAGED: facpool verify says where. A resumed run\n"
               "  computes those rows again\n",
               path);
        return TOOL_DAMAGED;
    }
    printf("%s: closed: ", path);
    print_checked(&report);
    return TOOL_OK;
}

int tool_repair(int argc, char **argv)
{
    return for_each_file(argc, argv, repair_help, print_repaired);
}

/* ------------------------------------------------------------------ compact */

static void print_extent(const facpool_info *info)
{
    char rows[32], blocks[32], bytes[32];
    printf("%s rows in %s blocks, %s bytes", tool_count_text(all_rows(info), rows),
           tool_count_text(info->blocks, blocks), tool_count_text(info->file_bytes, bytes));
}

int tool_print_size(const char *path)
{
    const facpool_info *info = NULL;
    facpool_error err = FACPOOL_ERROR_INIT;
    if (facpool_backup_info(&info, path, &err))
        return tool_fail("%s", err.message);
    printf("%s: ", path);
    print_extent(info);
    printf(", format %s\n", info->format);
    facpool_info_free(info);
    return TOOL_OK;
}

static int print_compacted(const char *path)
{
    const facpool_info *before = NULL, *after = NULL;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = facpool_backup_info(&before, path, &err);
    if (!rc)
        rc = facpool_backup_compact(path, &err);
    if (!rc)
        rc = facpool_backup_info(&after, path, &err);
    if (rc) {
        tool_fail("%s", err.message);
    } else {
        printf("%s: compacted: ", path);
        print_extent(after);
        printf("; before: ");
        print_extent(before);
        putchar('\n');
    }
    facpool_info_free(before);
    facpool_info_free(after);
    return rc == 0 ? TOOL_OK : rc == FACPOOL_E_CORRUPT ? TOOL_DAMAGED : TOOL_FAILED;
}

int tool_compact(int argc, char **argv)
{
    return for_each_file(argc, argv, compact_help, print_compacted);
}
