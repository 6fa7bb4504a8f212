#include "bars.h"
#include "market_time.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 64
#define NO_COLUMN   MAX_COLUMNS

enum column {
    COLUMN_TIMESTAMP,
    COLUMN_DATETIME,
    COLUMN_DATE,
    COLUMN_TIME,
    COLUMN_OPEN,
    COLUMN_HIGH,
    COLUMN_LOW,
    COLUMN_CLOSE,
    COLUMN_VOLUME,
    COLUMN_PRICE,
    COLUMN_AMOUNT,
    N_COLUMNS
};

static const char *const column_names[N_COLUMNS] = {"timestamp", "datetime", "date",  "time",
                                                    "open",      "high",     "low",   "close",
                                                    "volume",    "price",    "amount"};

struct header {
    char separator;
    size_t n_fields;
    size_t field_of[N_COLUMNS]; /* NO_COLUMN where the file has none */
};

static int has(const struct header *header, enum column column)
{
    return header->field_of[column] != NO_COLUMN;
}

/* ------------------------------------------------------------------ the file's text */

static int read_whole(char **text, size_t *bytes, FILE *file)
{
    char *buffer = NULL;
    size_t used = 0, room = 0;

    for (;;) {
        size_t got;

        if (used == room) {
            size_t more = room ? room * 2 : (size_t)1 << 20;
            char *larger = realloc(buffer, more);

            if (!larger) {
                free(buffer);
                return BARS_NO_MEMORY;
            }
            buffer = larger;
            room = more;
        }
        got = fread(buffer + used, 1, room - used, file);
        used += got;
        if (got == 0)
            break;
    }
    if (ferror(file)) {
        free(buffer);
        return BARS_NO_FILE;
    }
    *text = buffer;
    *bytes = used;
    return BARS_OK;
}

static int read_file(char **text, size_t *bytes, const char *path, char *message,
                     size_t message_bytes)
{
    FILE *file = fopen(path, "rb");
    int outcome = file ? read_whole(text, bytes, file) : BARS_NO_FILE;

    if (outcome == BARS_NO_FILE)
        snprintf(message, message_bytes, "%s: can't be read: %s", path, strerror(errno));
    if (outcome == BARS_NO_MEMORY)
        snprintf(message, message_bytes, "%s: out of memory reading it", path);
    if (file)
        fclose(file);
    return outcome;
}

/* ------------------------------------------------------------------ the header */

/* The first column that is needed and missing, or NULL; to be put between quotes. */
static const char *missing_column(const struct header *header)
{
    static const enum column needed[] = {COLUMN_HIGH, COLUMN_LOW, COLUMN_CLOSE, COLUMN_VOLUME};

    if (!has(header, COLUMN_TIMESTAMP) && !has(header, COLUMN_DATETIME) &&
        !has(header, COLUMN_DATE))
        return "timestamp', 'datetime' or 'date";
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!has(header, needed[i]))
            return column_names[needed[i]];
    }
    return NULL;
}

static int read_header(struct header *header, struct span *rest, const char *path, char *message,
                       size_t message_bytes)
{
    struct span line = {NULL, NULL}, fields[MAX_COLUMNS];
    const char *missing;

    if (rest->end - rest->begin >= 3 && memcmp(rest->begin, "\xef\xbb\xbf", 3) == 0)
        rest->begin += 3; /* a byte order mark */
    if (!span_next_line(rest, &line)) {
        snprintf(message, message_bytes, "%s: is empty, without a header line", path);
        return BARS_NO_COLUMN;
    }
    header->separator = memchr(line.begin, ';', (size_t)(line.end - line.begin)) ? ';' : ',';
    header->n_fields = span_split(line, header->separator, fields, MAX_COLUMNS);
    if (header->n_fields > MAX_COLUMNS) {
        snprintf(message, message_bytes, "%s:1: has %zu columns, more than the %d that are read",
                 path, header->n_fields, MAX_COLUMNS);
        return BARS_NO_COLUMN;
    }
    for (size_t column = 0; column < N_COLUMNS; column++) {
        header->field_of[column] = NO_COLUMN;
        for (size_t field = header->n_fields; field-- > 0;) {
            if (span_equals(fields[field], column_names[column]))
                header->field_of[column] = field;
        }
    }
    missing = missing_column(header);
    if (missing) {
        snprintf(message, message_bytes, "%s:1: has no column '%s'", path, missing);
        return BARS_NO_COLUMN;
    }
    return BARS_OK;
}

/* ------------------------------------------------------------------ one line */

#define LINE_BAR  0
#define LINE_IDLE 1
#define LINE_BAD  2

struct line_reader {
    struct header header;
    struct span fields[MAX_COLUMNS];
    char reason[88]; /* filled for LINE_BAD */
};

static struct span field(const struct line_reader *reader, enum column column)
{
    return reader->fields[reader->header.field_of[column]];
}

static int bad_field(struct line_reader *reader, enum column column)
{
    struct span text = field(reader, column);
    int length = text.end - text.begin < 32 ? (int)(text.end - text.begin) : 32;

    snprintf(reader->reason, sizeof reader->reason, "column '%s' holds '%.*s'",
             column_names[column], length, text.begin);
    for (char *c = reader->reason; *c; c++) { /* a terminal would obey them */
        if ((unsigned char)*c < ' ' || *c == '\x7f')
            *c = '?';
    }
    return LINE_BAD;
}

static int bad_line(struct line_reader *reader, const char *reason)
{
    snprintf(reader->reason, sizeof reader->reason, "%s", reason);
    return LINE_BAD;
}

static int read_new_york_start(struct line_reader *reader, struct bar *bar)
{
    int64_t utc_ms;
    struct local_time local;

    if (span_to_integer(field(reader, COLUMN_TIMESTAMP), &utc_ms) || utc_ms < NEW_YORK_FROM_MS ||
        utc_ms >= NEW_YORK_TO_MS)
        return bad_field(reader, COLUMN_TIMESTAMP);
    local = new_york_time(utc_ms);
    bar->date = local.date;
    bar->second = local.second;
    bar->regular = new_york_regular_start(local);
    return LINE_BAR;
}

static int read_exchange_end(struct line_reader *reader, struct bar *bar)
{
    struct local_time local;
    enum column date_column = COLUMN_DATE, time_column = COLUMN_TIME;
    struct span date, time;

    if (has(&reader->header, COLUMN_DATE) && has(&reader->header, COLUMN_TIME)) {
        date = field(reader, COLUMN_DATE);
        time = field(reader, COLUMN_TIME);
    } else {
        date = field(reader, COLUMN_DATETIME);
        date_column = time_column = COLUMN_DATETIME;
        if (date.end - date.begin < 12 || (date.begin[10] != ' ' && date.begin[10] != 'T'))
            return bad_field(reader, COLUMN_DATETIME);
        time.begin = date.begin + 11;
        time.end = date.end;
        date.end = date.begin + 10;
    }
    if (span_to_date(date, &local.date))
        return bad_field(reader, date_column);
    if (span_to_time(time, &local.second))
        return bad_field(reader, time_column);
    bar->date = local.date;
    bar->second = local.second;
    bar->regular = china_regular_end(local);
    return LINE_BAR;
}

static int read_when(struct line_reader *reader, struct bar *bar)
{
    const struct header *header = &reader->header;

    if (has(header, COLUMN_TIMESTAMP))
        return read_new_york_start(reader, bar);
    if (has(header, COLUMN_DATETIME) || has(header, COLUMN_TIME))
        return read_exchange_end(reader, bar);
    bar->second = -1;
    bar->regular = 0;
    return span_to_date(field(reader, COLUMN_DATE), &bar->date) ? bad_field(reader, COLUMN_DATE)
                                                                : LINE_BAR;
}

/* Columns that may be missing leave *value alone. */
static int read_number(struct line_reader *reader, enum column column, double *value)
{
    if (!has(&reader->header, column))
        return LINE_BAR;
    if (span_to_number(field(reader, column), value) || *value < 0)
        return bad_field(reader, column);
    return LINE_BAR;
}

static int read_values(struct line_reader *reader, struct bar *bar)
{
    double open = 1, price = 1, amount = 0;
    int no_volume = span_is_empty(field(reader, COLUMN_VOLUME));

    bar->volume = 0;
    if (read_number(reader, COLUMN_OPEN, &open) || read_number(reader, COLUMN_HIGH, &bar->high) ||
        read_number(reader, COLUMN_LOW, &bar->low) ||
        read_number(reader, COLUMN_CLOSE, &bar->close) ||
        (!no_volume && read_number(reader, COLUMN_VOLUME, &bar->volume)))
        return LINE_BAD;
    if (no_volume || (bar->high == 0 && bar->low == 0 && bar->close == 0 && bar->volume == 0))
        return LINE_IDLE;
    if (read_number(reader, COLUMN_PRICE, &price) || read_number(reader, COLUMN_AMOUNT, &amount))
        return LINE_BAD;
    if (open == 0 || bar->high == 0 || bar->low == 0 || bar->close == 0 || price == 0)
        return bad_line(reader, "a price is 0");
    if (bar->high < bar->low)
        return bad_line(reader, "high is below low");
    if (has(&reader->header, COLUMN_AMOUNT))
        bar->money = amount;
    else if (has(&reader->header, COLUMN_PRICE))
        bar->money = price * bar->volume;
    else
        bar->money = (bar->high + bar->low + bar->close) / 3 * bar->volume;
    return LINE_BAR;
}

static int read_line(struct line_reader *reader, struct span line, struct bar *bar)
{
    size_t n = span_split(line, reader->header.separator, reader->fields, MAX_COLUMNS);

    if (n != reader->header.n_fields) {
        snprintf(reader->reason, sizeof reader->reason, "has %zu fields, the header %zu", n,
                 reader->header.n_fields);
        return LINE_BAD;
    }
    return read_when(reader, bar) ? LINE_BAD : read_values(reader, bar);
}

/* ------------------------------------------------------------------ all lines */

static void note_bad(struct bar_file *file, size_t line, const char *reason)
{
    if (file->n_bad < BAD_LINES_KEPT) {
        struct bad_line *bad = &file->bad[file->n_bad];

        bad->line = line;
        snprintf(bad->reason, sizeof bad->reason, "%s", reason);
    }
    file->n_bad++;
}

static int add_bar(struct bar_file *file, size_t *capacity, const struct bar *bar)
{
    if (file->n_bars == *capacity) {
        size_t more = *capacity ? *capacity * 2 : 4096;
        struct bar *larger = realloc(file->bars, more * sizeof *larger);

        if (!larger)
            return BARS_NO_MEMORY;
        file->bars = larger;
        *capacity = more;
    }
    file->bars[file->n_bars++] = *bar;
    return BARS_OK;
}

static int by_time_then_line(const void *left, const void *right)
{
    const struct bar *a = left, *b = right;

    if (a->date != b->date)
        return a->date < b->date ? -1 : 1;
    if (a->second != b->second)
        return a->second < b->second ? -1 : 1;
    return (a->line > b->line) - (a->line < b->line);
}

static int same_time(const struct bar *a, const struct bar *b)
{
    return a->date == b->date && a->second == b->second;
}

/* Sorts where the file is not sorted. Of two bars for one time the earlier line counts. */
static void put_in_order(struct bar_file *file)
{
    size_t kept = 0;
    int sorted = 1;

    for (size_t i = 1; i < file->n_bars && sorted; i++)
        sorted = by_time_then_line(&file->bars[i - 1], &file->bars[i]) < 0;
    if (!sorted)
        qsort(file->bars, file->n_bars, sizeof *file->bars, by_time_then_line);
    for (size_t i = 0; i < file->n_bars; i++) {
        if (kept > 0 && same_time(&file->bars[kept - 1], &file->bars[i])) {
            char reason[88];

            snprintf(reason, sizeof reason, "has the time of line %u",
                     (unsigned)file->bars[kept - 1].line);
            note_bad(file, file->bars[i].line, reason);
        } else {
            file->bars[kept++] = file->bars[i];
        }
    }
    file->n_bars = kept;
}

static int read_lines(struct bar_file *file, struct line_reader *reader, struct span rest)
{
    struct span line;
    size_t capacity = 0;

    for (size_t number = 2; span_next_line(&rest, &line); number++) {
        struct bar bar = {0};

        if (span_is_empty(line))
            continue;
        file->n_lines++;
        bar.line = (uint32_t)number;
        switch (read_line(reader, line, &bar)) {
        case LINE_BAR:
            if (add_bar(file, &capacity, &bar))
                return BARS_NO_MEMORY;
            break;
        case LINE_IDLE:
            file->n_idle++;
            break;
        default:
            note_bad(file, number, reader->reason);
        }
    }
    put_in_order(file);
    return BARS_OK;
}

int bars_read(struct bar_file *out, const char *path, char *message, size_t message_bytes)
{
    struct bar_file file = {0};
    struct line_reader reader;
    struct span rest;
    char *text = NULL;
    size_t bytes = 0;
    int outcome = read_file(&text, &bytes, path, message, message_bytes);

    if (outcome)
        return outcome;
    rest.begin = text;
    rest.end = text + bytes;
    outcome = read_header(&reader.header, &rest, path, message, message_bytes);
    if (outcome)
        goto done;
    outcome = read_lines(&file, &reader, rest);
    if (outcome) {
        snprintf(message, message_bytes, "%s: out of memory reading it", path);
        free(file.bars);
        goto done;
    }
    *out = file;
done:
    free(text);
    return outcome;
}

size_t bars_of_day(const struct bar_file *file, int32_t date, const struct bar **bars)
{
    size_t low = 0, high = file->n_bars, end;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (file->bars[middle].date < date)
            low = middle + 1;
        else
            high = middle;
    }
    for (end = low; end < file->n_bars && file->bars[end].date == date; end++)
        ;
    *bars = file->bars ? file->bars + low : NULL;
    return end - low;
}

void bars_free(struct bar_file *file)
{
    free(file->bars);
    file->bars = NULL;
    file->n_bars = 0;
}
