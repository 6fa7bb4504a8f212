/* Rows as text: an aligned table, CSV (RFC 4180, lines ending in LF) or JSON Lines. */
#ifndef FACPOOL_TOOL_PRINT_H
#define FACPOOL_TOOL_PRINT_H

#include "tool.h"

typedef enum print_format { PRINT_TABLE, PRINT_CSV, PRINT_JSONL } print_format;

typedef struct printer printer;

/* `with_status`: also status, failure code and message, for questions that are not for ok rows
 * alone. Factor names must outlive the printer. NULL: out of memory. */
printer *printer_new(print_format format, FILE *out, const char *const *factor_names,
                     size_t n_factors, bool with_status);

/* Prints rows first .. first + n - 1 of the batch; stops early where they can't be written. False
 * where memory ran out. */
bool printer_put(printer *p, const facpool_batch_view *batch, size_t first, size_t n);

/* Prints what waits, now: for rows that come little by little. */
void printer_flush(printer *p);

/* Prints what waits, and the header where there was no row. */
void printer_end(printer *p);
void printer_free(printer *p);

#endif
