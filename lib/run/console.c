/* The ready-made progress display: a live line on a terminal, a line now and then elsewhere. It
 * writes to the caller's stream and nowhere else. */
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "os/os.h"

#define PLAIN_EVERY_S  10.0
#define LINE_MAX_BYTES 512

struct facpool_console {
    FILE *stream;
    bool is_terminal;
    double last_line_s;    /* elapsed time at the last plain line */
    double last_elapsed_s; /* and when last called */
    size_t last_width;
    bool ended;
};

int facpool_console_new(facpool_console **out, FILE *stream, facpool_error *err)
{
    if (!stream)
        return fp_fail(err, FACPOOL_E_INVALID, "no stream is given: give stderr, say");
    facpool_console *console = fp_alloc_zero(NULL, 1, sizeof *console);
    if (!console)
        return fp_fail_nomem(err, sizeof *console);
    console->stream = stream;
    int columns;
    console->is_terminal = fp_stream_is_terminal(stream, &columns);
    *out = console;
    return 0;
}

void facpool_console_free(facpool_console *console)
{
    if (console && console->is_terminal && console->last_width && !console->ended)
        fputc('\n', console->stream);
    fp_free(NULL, console);
}

/* 42 s, 3:07, 2:05:09, 4 d 03:00. */
static void format_duration(char *out, size_t size, double seconds)
{
    uint64_t s = seconds > 0 ? (uint64_t)(seconds + 0.5) : 0;
    if (s < 60)
        snprintf(out, size, "%" PRIu64 " s", s);
    else if (s < 3600)
        snprintf(out, size, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, size, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%" PRIu64 " d %02" PRIu64 ":%02" PRIu64, s / 86400, s / 3600 % 24,
                 s / 60 % 60);
}

static void format_rate(char *out, size_t size, double rate)
{
    if (rate >= 1e6)
        snprintf(out, size, "%.1f M/s", rate / 1e6);
    else if (rate >= 1e4)
        snprintf(out, size, "%.0f k/s", rate / 1e3);
    else if (rate >= 10)
        snprintf(out, size, "%.0f/s", rate);
    else
        snprintf(out, size, "%.2f/s", rate);
}

static size_t format_line(const facpool_progress *p, char *out, size_t size)
{
    char rate[32], time[32], resumed[48] = "", skipped[48] = "";
    double percent = p->total ? 100.0 * (double)p->done / (double)p->total : 100.0;
    bool over = p->done == p->total;
    /* 100 % is said only when it is true. */
    if (!over && percent > 99.9)
        percent = 99.9;
    format_rate(rate, sizeof rate, p->rate);
    if (over)
        format_duration(time, sizeof time, p->elapsed_s);
    else if (p->eta_s >= 0)
        format_duration(time, sizeof time, p->eta_s);
    else
        strcpy(time, "?");
    if (p->resumed)
        snprintf(resumed, sizeof resumed, ", %" PRIu64 " resumed", p->resumed);
    if (p->skipped)
        snprintf(skipped, sizeof skipped, ", %" PRIu64 " skipped", p->skipped);
    int n = snprintf(
        out, size, "%5.1f %%  %" PRIu64 "/%" PRIu64 " done, %" PRIu64 " failed%s%s  %s  %s %s",
        percent, p->done, p->total, p->failed, skipped, resumed, rate, over ? "took" : "ETA", time);
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

/* Rewrites the line in place; what a longer one left behind is blanked out. */
static void show_live(facpool_console *c, const facpool_progress *p)
{
    char line[LINE_MAX_BYTES];
    int columns = 0;
    size_t length = format_line(p, line, sizeof line);
    fp_stream_is_terminal(c->stream, &columns);
    if (columns > 1 && length > (size_t)columns - 1)
        length = (size_t)columns - 1;
    int blanks = c->last_width > length ? (int)(c->last_width - length) : 0;
    fprintf(c->stream, "\r%.*s%*s", (int)length, line, blanks, "");
    c->last_width = length;
    c->ended = p->done == p->total;
    if (c->ended) {
        fputc('\n', c->stream);
        c->last_width = 0;
    }
    fflush(c->stream);
}

static void show_plain(facpool_console *c, const facpool_progress *p)
{
    bool over = p->done == p->total;
    if (!over && p->elapsed_s - c->last_line_s < PLAIN_EVERY_S)
        return;
    char line[LINE_MAX_BYTES];
    format_line(p, line, sizeof line);
    fprintf(c->stream, "%s\n", line);
    fflush(c->stream);
    c->last_line_s = p->elapsed_s;
    c->ended = over;
}

int facpool_console_progress(const facpool_progress *progress, void *console)
{
    facpool_console *c = console;
    if (progress->elapsed_s < c->last_elapsed_s) { /* the next run */
        c->last_line_s = 0;
        c->ended = false;
    }
    c->last_elapsed_s = progress->elapsed_s;
    if (c->ended && progress->done == progress->total)
        return 0;
    if (c->is_terminal)
        show_live(c, progress);
    else
        show_plain(c, progress);
    return 0;
}
