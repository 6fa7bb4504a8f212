/* Proves the ready-made progress display: one live line on a terminal (a real pseudo-terminal),
 * plain lines now and then elsewhere; what it says of failures, resumed tasks, rate and ETA. */
#include <facpool/facpool.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "test.h"

static facpool_error err = FACPOOL_ERROR_INIT;

typedef struct terminal {
    int master;
    FILE *stream;
} terminal;

static terminal open_terminal(unsigned short columns)
{
    terminal t = {.master = posix_openpt(O_RDWR | O_NOCTTY)};
    CHECK(grantpt(t.master) == 0 && unlockpt(t.master) == 0);
    int slave = open(ptsname(t.master), O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    CHECK(ioctl(slave, TIOCSWINSZ, &size) == 0);
    t.stream = fdopen(slave, "w");
    CHECK(t.stream);
    return t;
}

/* What was written to the terminal since the last look: all before a mark that is sent after it. */
static const char *read_terminal(const terminal *t)
{
    static char text[4096];
    size_t n = 0;
    fputc('\x01', t->stream);
    fflush(t->stream);
    while (n + 1 < sizeof text && read(t->master, text + n, 1) == 1 && text[n] != '\x01')
        n++;
    text[n] = 0;
    return text;
}

static void close_terminal(terminal *t)
{
    fclose(t->stream);
    close(t->master);
}

static facpool_progress progress_at(uint64_t done, double elapsed_s)
{
    facpool_progress p = FACPOOL_PROGRESS_INIT;
    p.total = 1000;
    p.resumed = 200;
    p.failed = 7;
    p.ok = done - 207;
    p.done = done;
    p.elapsed_s = elapsed_s;
    p.rate = 12345;
    p.eta_s = done == 1000 ? 0 : 187;
    return p;
}

static size_t count_char(const char *text, char c)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == c;
    return n;
}

static void a_terminal_has_one_live_line(void)
{
    terminal t = open_terminal(120);
    facpool_console *console = NULL;
    CHECK_OK(facpool_console_new(&console, t.stream, &err), err);
    facpool_progress p = progress_at(500, 1);
    CHECK_INT(facpool_console_progress(&p, console), 0);
    const char *text = read_terminal(&t);
    CHECK(text[0] == '\r' && !strchr(text, '\n'));
    CHECK(strstr(text, "50.0 %") && strstr(text, "500/1000 done") && strstr(text, "7 failed"));
    CHECK(strstr(text, "200 resumed") && strstr(text, "12 k/s") && strstr(text, "ETA 3:07"));
    p = progress_at(999, 2);
    facpool_console_progress(&p, console);
    text = read_terminal(&t);
    CHECK(text[0] == '\r' && !strchr(text, '\n') && strstr(text, "99.9 %"));
    p = progress_at(1000, 3);
    facpool_console_progress(&p, console);
    text = read_terminal(&t);
    CHECK(strstr(text, "100.0 %") && strstr(text, "took 3 s"));
    CHECK_INT(count_char(text, '\n'), 1);
    facpool_console_progress(&p, console); /* the end is said once */
    CHECK_TEXT(read_terminal(&t), "");
    facpool_console_free(console);
    close_terminal(&t);
}

static void a_narrow_terminal_keeps_one_line(void)
{
    terminal t = open_terminal(30);
    facpool_console *console = NULL;
    CHECK_OK(facpool_console_new(&console, t.stream, &err), err);
    facpool_progress p = progress_at(500, 1);
    facpool_console_progress(&p, console);
    CHECK_INT(strlen(read_terminal(&t)), 1 + 29);
    facpool_console_free(console);
    CHECK_TEXT(read_terminal(&t), "\r\n"); /* a line that was cut short is ended */
    close_terminal(&t);
}

static void elsewhere_a_line_comes_now_and_then(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    facpool_console *console = NULL;
    CHECK_OK(facpool_console_new(&console, stream, &err), err);
    for (int i = 0; i <= 250; i++) {
        facpool_progress p = progress_at(300 + (uint64_t)i, i * 0.1);
        facpool_console_progress(&p, console);
    }
    CHECK_INT(count_char(text, '\n'), 2); /* at 10 and at 20 seconds */
    facpool_progress p = progress_at(1000, 26);
    facpool_console_progress(&p, console);
    CHECK_INT(count_char(text, '\n'), 3);
    CHECK(!strchr(text, '\r'));
    p = progress_at(1000, 0.5); /* the next run with the same console */
    facpool_console_progress(&p, console);
    CHECK_INT(count_char(text, '\n'), 4);
    facpool_console_free(console);
    fclose(stream);
    free(text);
}

/* What a new console says of one moment. */
static const char *line_of(uint64_t total, double rate, double eta_s)
{
    static char line[256];
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    facpool_console *console = NULL;
    CHECK_OK(facpool_console_new(&console, stream, &err), err);
    facpool_progress p = progress_at(207, 20);
    p.total = total;
    p.done = total ? total - 1 : 0;
    p.rate = rate;
    p.eta_s = eta_s;
    p.skipped = 3;
    facpool_console_progress(&p, console);
    snprintf(line, sizeof line, "%s", text ? text : "");
    facpool_console_free(console);
    fclose(stream);
    free(text);
    return line;
}

static void rates_and_times_of_all_sizes_are_short(void)
{
    static const struct {
        double rate;
        double eta_s;
        const char *shown;
    } lines[] = {{0.25, -1, "0.25/s  ETA ?"},           {12.4, 0, "12/s  ETA 0 s"},
                 {9999, 59.4, "9999/s  ETA 59 s"},      {10000, 59.6, "10 k/s  ETA 1:00"},
                 {2.5e6, 7509, "2.5 M/s  ETA 2:05:09"}, {1e9, 356400, "1000.0 M/s  ETA 4 d 03:00"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        CHECK(strstr(line_of(1000, lines[i].rate, lines[i].eta_s), lines[i].shown));
    CHECK(strstr(line_of(1000, 1, 1), "3 skipped"));
    CHECK(strstr(line_of(1000000, 1, 1), " 99.9 %")); /* 100 % is said only when it is true */
    CHECK(strstr(line_of(0, 1, 1), "100.0 %"));
}

static void no_stream_is_refused(void)
{
    facpool_console *console = NULL;
    CHECK_INT(facpool_console_new(&console, NULL, &err), FACPOOL_E_INVALID);
    CHECK(!console);
    facpool_console_free(NULL);
}

/* A bare chroot, say, has none. */
static bool has_pseudo_terminals(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master >= 0)
        close(master);
    return master >= 0;
}

int main(void)
{
    if (has_pseudo_terminals()) {
        RUN(a_terminal_has_one_live_line);
        RUN(a_narrow_terminal_keeps_one_line);
    } else {
        printf("SKIP: no pseudo-terminal to be had: /dev/pts is not mounted\n");
    }
    RUN(elsewhere_a_line_comes_now_and_then);
    RUN(rates_and_times_of_all_sizes_are_short);
    RUN(no_stream_is_refused);
    return TEST_END();
}
