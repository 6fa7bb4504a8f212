/* The facpool command-line tool: finds the subcommand, and helps where there is none. */
#include <stdio.h>
#include <string.h>
#include "tool.h"

static const char help[] =
    "Usage: facpool COMMAND FILE... [OPTION]...\n"
    "\n"
    "Works on backups that libfacpool wrote: files of rows, each for a date and a code.\n"
    "\n"
    "Commands:\n"
    "  info     what a backup holds: factors, rows by status, dates, size\n"
    "  query    print rows: by date, code, factor or status, as a table, CSV or JSON Lines\n"
    "  verify   check every byte; the exit status says what was found\n"
    "  repair   close a file that a killed run left open\n"
    "  convert  into another format, many backups into one, or into CSV\n"
    "  compact  rewrite a backup in order and in full blocks\n"
    "  tail     print the last rows, and new ones as they come\n"
    "\n"
    "  facpool COMMAND --help    says more on each, with examples\n"
    "  facpool --version         prints the version\n"
    "\n"
    "A first look:\n"
    "  facpool info factors.fpb\n"
    "  facpool query factors.fpb --limit 10\n";

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {{"info", tool_info},     {"query", tool_query},     {"verify", tool_verify},
                {"repair", tool_repair}, {"convert", tool_convert}, {"compact", tool_compact},
                {"tail", tool_tail}};

static bool is_any(const char *text, const char *a, const char *b)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

/* argv[0] is the command's name. */
static int run_command(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc, argv);
    fprintf(stderr, "facpool: there is no command '%s'\nTry 'facpool --help'.\n", argv[0]);
    return TOOL_FAILED;
}

int main(int argc, char **argv)
{
    static char buffer[1 << 16];
    static char option[] = "--help";
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    if (argc < 2) {
        fputs(help, stderr);
        return TOOL_FAILED;
    }
    if (is_any(argv[1], "--help", "-h") || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        fputs(help, stdout);
        return tool_end_output(TOOL_OK);
    }
    if (is_any(argv[1], "--version", "-V")) {
        printf("facpool %s\n", facpool_version());
        return tool_end_output(TOOL_OK);
    }
    if (strcmp(argv[1], "help") == 0) { /* help COMMAND is COMMAND --help */
        char *asked[] = {argv[2], option, NULL};
        return run_command(2, asked);
    }
    return run_command(argc - 1, argv + 1);
}
