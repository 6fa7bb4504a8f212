/* One row as one line of JSON Lines: what the writer writes, and how a reader tells such a line
 * from any other before it believes a byte of it. A line has its fields in a fixed order, and ends
 * in a checksum over itself; lib/store/FORMAT.md gives the layout. Bytes in, bytes out: nothing
 * here knows files, and values are left to the JSON library (json_values.h). */
#ifndef FP_CODEC_JSON_LINE_H
#define FP_CODEC_JSON_LINE_H

#include <stdbool.h>
#include "base/buffer.h"
#include "base/text.h"
#include "codec/json_number.h"

/* What all lines of one file share: the parts between the values, for its factor names and tag. */
typedef struct fp_json_layout {
    fp_texts keys;     /* a factor's name as it stands before its value: ,"ma5": */
    fp_buffer end;     /* from the tag, where there is one, up to the checksum's digits */
    size_t most_bytes; /* of a line, newline included, whatever its values are */
} fp_json_layout;

int fp_json_layout_init(fp_json_layout *out, const fp_texts *names, const char *tag); /* 0, NOMEM */
void fp_json_layout_free(fp_json_layout *layout);

/* ------------------------------------------------------------------ writing */

/* A row that is written. Factor k is factors[k][row]. */
typedef struct fp_json_row {
    int64_t date;
    const char *code;
    size_t code_length;
    int64_t timestamp;
    int status; /* FACPOOL_STATUS_*; where it is not ok, there are no factors but the next three */
    int32_t failure_code;
    const char *message;
    size_t message_length;
    double *const *factors;
    size_t row;
} fp_json_row;

/* Room that a row's line needs at most. */
size_t fp_json_line_bytes(const fp_json_layout *layout, const fp_json_row *row);

/* Writes the line, newline included, and returns its end. */
char *fp_json_put_line(char *to, const fp_json_layout *layout, const fp_decimal_powers *powers,
                       const fp_json_row *row);

/* ------------------------------------------------------------------ reading */

/* A stretch of a line. */
typedef struct fp_json_span {
    const char *at;
    size_t n;
} fp_json_span;

/* Where a line's values are. Texts are as they stand between their quotes. */
typedef struct fp_json_parts {
    int64_t date;
    int64_t timestamp;
    int status;
    int32_t failure_code; /* where the status is not ok, as the message */
    fp_json_span code;
    bool code_is_plain; /* nothing in it is escaped */
    fp_json_span message;
} fp_json_parts;

typedef enum fp_json_match {
    FP_JSON_OTHER, /* no line of such a file */
    FP_JSON_CUT,   /* the beginning of one */
    FP_JSON_LINE
} fp_json_match;

/* Whether a line (without its newline) ends in the checksum of itself, whatever its fields are. */
bool fp_json_line_is_sound(const char *line, size_t n);

/* Finds the parts of a line that is sound. `factors` gets the text of each factor, or is NULL. That
 * numbers and escapes are well-formed is not looked at. */
fp_json_match fp_json_match_line(const fp_json_layout *layout, const char *line, size_t n,
                                 fp_json_parts *parts, fp_json_span *factors);

/* Whether a stretch without newlines is blank: only spaces, if anything. */
bool fp_json_is_blank(const char *line, size_t n);

#endif
