/* Spans of a file's text and the numbers, dates and times in them. The bar reader calls these for
 * every field; none allocates, and none depends on the locale as long as the program does not set
 * one. */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>
#include <stdint.h>

struct span {
    const char *begin;
    const char *end;
};

/* Cuts the next line off `rest`, without its LF or CRLF. Returns 0 at the end of the text. */
int span_next_line(struct span *rest, struct span *line);

/* Splits a line, blanks around each field left out. Returns how many fields there are; only the
 * first `capacity` are stored. */
size_t span_split(struct span line, char separator, struct span *fields, size_t capacity);

int span_is_empty(struct span text);
int span_equals(struct span text, const char *word); /* in any case */

/* Each returns 0, or -1 where the span is not just that. */
int span_to_number(struct span text, double *value);        /* finite, correctly rounded */
int span_to_integer(struct span text, int64_t *value);      /* not negative */
int span_to_date(struct span text, int32_t *date);          /* 2025-01-02 or 20250102 */
int span_to_time(struct span text, int32_t *second_of_day); /* 09:45 or 09:45:00 */

#endif
