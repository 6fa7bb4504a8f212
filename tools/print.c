/* Lays rows out as text. A table waits for its first rows to know how wide its columns are; the
 * other formats are written as they come. Called by the subcommands query, tail and convert. */
#include "print.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So many rows of a table decide on its widths. */
#define TABLE_ROWS_SEEN 1000

/* A text cell, where it is not a factor. */
enum { CELL_DATE, CELL_CODE, CELL_TIMESTAMP, CELL_STATUS, CELL_FACTORS };

struct printer {
    print_format format;
    FILE *out;
    const char *const *names;
    size_t n_factors;
    bool with_status;
    bool begun;       /* the header is out */
    bool adapts;      /* a table's columns grow with later rows, too */
    size_t n_columns; /* of a table or CSV */
    size_t *widths;   /* of a table's columns, in characters shown */
    char *waiting;    /* cells of a table's first rows, each ended by NUL */
    size_t n_waiting; /* bytes */
    size_t capacity;
    size_t rows_waiting;
};

printer *printer_new(print_format format, FILE *out, const char *const *names, size_t n_factors,
                     bool with_status)
{
    printer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->format = format;
    p->out = out;
    p->names = names;
    p->n_factors = n_factors;
    p->with_status = with_status;
    p->n_columns = 3 + n_factors + (with_status ? 3 : 0);
    p->widths = calloc(p->n_columns, sizeof *p->widths);
    if (!p->widths) {
        free(p);
        return NULL;
    }
    return p;
}

void printer_free(printer *p)
{
    if (!p)
        return;
    free(p->widths);
    free(p->waiting);
    free(p);
}

/* ------------------------------------------------------------------ cells */

static bool is_ok(const facpool_batch_view *b, size_t row)
{
    return b->all_ok || b->statuses[row] == FACPOOL_STATUS_OK;
}

/* A piece of text that is not ended by NUL. */
typedef struct piece {
    const char *bytes;
    size_t length;
} piece;

static piece piece_of(const char *text)
{
    return (piece){text, strlen(text)};
}

static piece code_of(const facpool_batch_view *b, size_t row)
{
    int32_t from = b->code_offsets[row];
    return (piece){b->code_bytes + from, (size_t)(b->code_offsets[row + 1] - from)};
}

static piece message_of(const facpool_batch_view *b, size_t row)
{
    if (!b->message_offsets)
        return (piece){"", 0};
    int32_t from = b->message_offsets[row];
    return (piece){b->message_bytes + from, (size_t)(b->message_offsets[row + 1] - from)};
}

/* Column number `column` of the header or of a row, for a table or CSV: date, code, timestamp,
 * [status,] factors, [failure_code, message]. Numbers use `text`, of 48 bytes. */
static piece header_cell(const printer *p, size_t column)
{
    static const char *const fixed[] = {"date", "code", "timestamp", "status"};
    size_t first_factor = p->with_status ? CELL_FACTORS : CELL_STATUS;
    if (column < first_factor)
        return piece_of(fixed[column]);
    if (column < first_factor + p->n_factors)
        return piece_of(p->names[column - first_factor]);
    return piece_of(column == first_factor + p->n_factors ? "failure_code" : "message");
}

static piece row_cell(const printer *p, const facpool_batch_view *b, size_t row, size_t column,
                      char *text)
{
    size_t first_factor = p->with_status ? CELL_FACTORS : CELL_STATUS;
    if (column == CELL_DATE) {
        snprintf(text, 48, "%" PRId64, b->dates[row]);
        return piece_of(text);
    }
    if (column == CELL_CODE)
        return code_of(b, row);
    if (column == CELL_TIMESTAMP)
        return piece_of(tool_time_text(b->timestamps[row], text));
    if (column < first_factor)
        return piece_of(facpool_status_name(b->statuses[row]));
    size_t factor = column - first_factor;
    if (factor < p->n_factors)
        return is_ok(b, row) ? piece_of(tool_double_text(b->factors[factor][row], text))
                             : (piece){"", 0};
    if (factor == p->n_factors + 1)
        return message_of(b, row);
    if (is_ok(b, row) || !b->failure_codes || b->statuses[row] == FACPOOL_STATUS_SKIPPED)
        return (piece){"", 0};
    snprintf(text, 48, "%" PRId32, b->failure_codes[row]);
    return piece_of(text);
}

/* ------------------------------------------------------------------ table */

static bool is_wide(uint32_t c)
{
    return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
           (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
           (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1faff) ||
           (c >= 0x20000 && c <= 0x3fffd);
}

/* How many columns of a terminal valid UTF-8 takes. Control characters are shown as '?'. */
static size_t shown_width(const char *text, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length;) {
        unsigned char first = (unsigned char)text[i];
        size_t bytes = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        uint32_t c = bytes == 1 ? first : first & (0xffu >> (bytes + 1));
        for (size_t k = 1; k < bytes && i + k < length; k++)
            c = c << 6 | ((unsigned char)text[i + k] & 0x3fu);
        width += is_wide(c) ? 2 : 1;
        i += bytes;
    }
    return width;
}

static bool is_number(const printer *p, size_t column)
{
    size_t first_factor = p->with_status ? CELL_FACTORS : CELL_STATUS;
    return column == CELL_DATE || (column >= first_factor &&
                                   column <= first_factor + p->n_factors && column < p->n_columns);
}

static void print_spaces(const printer *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        putc(' ', p->out);
}

static void print_table_cell(const printer *p, size_t column, piece cell)
{
    size_t width = shown_width(cell.bytes, cell.length);
    size_t spaces = p->widths[column] > width ? p->widths[column] - width : 0;
    bool last = column + 1 == p->n_columns;
    if (column > 0)
        print_spaces(p, 2);
    if (is_number(p, column))
        print_spaces(p, spaces);
    tool_put_visibly(p->out, cell.bytes, cell.length);
    if (!is_number(p, column) && !last)
        print_spaces(p, spaces);
    if (last)
        putc('\n', p->out);
}

static void widen(printer *p, size_t column, piece cell)
{
    size_t width = shown_width(cell.bytes, cell.length);
    if (width > p->widths[column])
        p->widths[column] = width;
}

/* Keeps a cell until the widths are known. */
static bool keep_cell(printer *p, piece cell)
{
    size_t needed = p->n_waiting + sizeof cell.length + cell.length;
    if (needed > p->capacity) {
        size_t capacity = needed * 2;
        char *memory = realloc(p->waiting, capacity);
        if (!memory)
            return false;
        p->waiting = memory;
        p->capacity = capacity;
    }
    memcpy(p->waiting + p->n_waiting, &cell.length, sizeof cell.length);
    memcpy(p->waiting + p->n_waiting + sizeof cell.length, cell.bytes, cell.length);
    p->n_waiting = needed;
    return true;
}

static void print_waiting(printer *p)
{
    if (p->begun)
        return;
    p->begun = true;
    for (size_t column = 0; column < p->n_columns; column++) {
        widen(p, column, header_cell(p, column));
        print_table_cell(p, column, header_cell(p, column));
    }
    size_t at = 0;
    for (size_t i = 0; i < p->rows_waiting * p->n_columns; i++) {
        piece cell;
        memcpy(&cell.length, p->waiting + at, sizeof cell.length);
        cell.bytes = p->waiting + at + sizeof cell.length;
        at += sizeof cell.length + cell.length;
        print_table_cell(p, i % p->n_columns, cell);
    }
    free(p->waiting);
    p->waiting = NULL;
}

static bool put_table_row(printer *p, const facpool_batch_view *b, size_t row)
{
    char text[48];
    for (size_t column = 0; column < p->n_columns; column++) {
        piece cell = row_cell(p, b, row, column, text);
        if (!p->begun || p->adapts)
            widen(p, column, cell);
        if (p->begun) {
            print_table_cell(p, column, cell);
            continue;
        }
        if (!keep_cell(p, cell))
            return false;
    }
    if (!p->begun && ++p->rows_waiting == TABLE_ROWS_SEEN)
        print_waiting(p);
    return true;
}

/* ------------------------------------------------------------------ CSV */

static bool is_special(char c)
{
    return c == ',' || c == '"' || c == '\r' || c == '\n';
}

static void print_csv_cell(const printer *p, size_t column, piece cell)
{
    if (column > 0)
        putc(',', p->out);
    bool quoted = false;
    for (size_t i = 0; i < cell.length; i++)
        quoted = quoted || is_special(cell.bytes[i]);
    if (!quoted) {
        fwrite(cell.bytes, 1, cell.length, p->out);
        return;
    }
    putc('"', p->out);
    for (size_t i = 0; i < cell.length; i++) {
        if (cell.bytes[i] == '"')
            putc('"', p->out);
        putc(cell.bytes[i], p->out);
    }
    putc('"', p->out);
}

static void begin_csv(printer *p)
{
    if (p->begun)
        return;
    p->begun = true;
    for (size_t column = 0; column < p->n_columns; column++)
        print_csv_cell(p, column, header_cell(p, column));
    putc('\n', p->out);
}

static void put_csv_row(printer *p, const facpool_batch_view *b, size_t row)
{
    char text[48];
    begin_csv(p);
    for (size_t column = 0; column < p->n_columns; column++)
        print_csv_cell(p, column, row_cell(p, b, row, column, text));
    putc('\n', p->out);
}

/* ------------------------------------------------------------------ JSON Lines */

static void print_json_text(FILE *out, piece text)
{
    static const char letters[] = "btnvfr"; /* of the characters 8 to 13 */
    putc('"', out);
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.bytes[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11)
            fprintf(out, "\\%c", letters[c - 8]);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static void print_json_double(FILE *out, double value)
{
    char text[48];
    if (isnan(value))
        fputs("null", out);
    else if (isinf(value))
        fputs(value < 0 ? "\"-Infinity\"" : "\"Infinity\"", out);
    else if (value == 0 && signbit(value))
        fputs("-0.0", out); /* "-0" is the integer 0 to many readers */
    else
        fputs(tool_double_text(value, text), out);
}

static void put_json_row(const printer *p, const facpool_batch_view *b, size_t row)
{
    bool ok = is_ok(b, row);
    fprintf(p->out, "{\"date\":%" PRId64 ",\"code\":", b->dates[row]);
    print_json_text(p->out, code_of(b, row));
    fprintf(p->out, ",\"timestamp\":%" PRId64 ",\"status\":\"%s\"", b->timestamps[row],
            facpool_status_name(b->statuses[row]));
    for (size_t k = 0; k < p->n_factors; k++) {
        putc(',', p->out);
        print_json_text(p->out, piece_of(p->names[k]));
        putc(':', p->out);
        print_json_double(p->out, ok ? b->factors[k][row] : NAN);
    }
    if (!ok && b->statuses[row] != FACPOOL_STATUS_SKIPPED) {
        fprintf(p->out, ",\"failure_code\":%" PRId32 ",\"message\":",
                b->failure_codes ? b->failure_codes[row] : 0);
        print_json_text(p->out, message_of(b, row));
    }
    fputs("}\n", p->out);
}

/* ------------------------------------------------------------------ all of them */

bool printer_put(printer *p, const facpool_batch_view *batch, size_t first, size_t n)
{
    for (size_t row = first; row < first + n; row++) {
        if (p->format == PRINT_TABLE && !put_table_row(p, batch, row))
            return false;
        if (p->format == PRINT_CSV)
            put_csv_row(p, batch, row);
        if (p->format == PRINT_JSONL)
            put_json_row(p, batch, row);
        if (row % 1024 == 0 && ferror(p->out))
            return true;
    }
    return true;
}

void printer_flush(printer *p)
{
    if (p->rows_waiting)
        print_waiting(p);
    p->adapts = true;
    fflush(p->out);
}

void printer_end(printer *p)
{
    if (p->format == PRINT_TABLE)
        print_waiting(p);
    if (p->format == PRINT_CSV)
        begin_csv(p);
}
