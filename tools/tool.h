/* What the parts of the facpool command-line tool share. The tool is built on the public header
 * alone; unlike the library it prints and sets an exit status. */
#ifndef FACPOOL_TOOL_H
#define FACPOOL_TOOL_H

#include <facpool/facpool.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses. */
enum {
    TOOL_OK = 0,
    TOOL_NOT_CLOSED = 1, /* verify: sound, but with a torn tail or not closed */
    TOOL_DAMAGED = 2,
    TOOL_FAILED = 3 /* wrong usage, or an error that kept it from looking */
};

/* Subcommands: argv[0] is the subcommand's name. Each returns an exit status. */
int tool_info(int argc, char **argv);
int tool_query(int argc, char **argv);
int tool_verify(int argc, char **argv);
int tool_repair(int argc, char **argv);
int tool_convert(int argc, char **argv);
int tool_compact(int argc, char **argv);
int tool_tail(int argc, char **argv);

/* Prints the size of a backup that was just made; returns an exit status. */
int tool_print_size(const char *path);

/* "facpool: ..." on stderr, behind all output so far; returns TOOL_FAILED. */
int tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for wrong usage, with a hint at the subcommand's help. */
int tool_fail_usage(const char *subcommand, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Flushes stdout. A reader that went away is no error; a full disk is. */
int tool_end_output(int status);

/* Whether nobody reads what is written any more, or it can't be written. */
bool tool_output_is_closed(void);

/* Prints text that came out of a file: control characters, which a terminal would obey, as '?'. */
void tool_put_visibly(FILE *out, const char *text, size_t length);

/* 12345678 as "12,345,678". At least 27 bytes. */
const char *tool_count_text(uint64_t n, char *to);

/* Microseconds since 1970 as ISO 8601 in UTC. At least 48 bytes. */
const char *tool_time_text(int64_t microseconds, char *to);

/* The shortest text that reads back to the same double. At least 32 bytes. */
const char *tool_double_text(double value, char *to);

#endif
