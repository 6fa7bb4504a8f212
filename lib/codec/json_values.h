/* Values out of JSON text, by way of the JSON library (json-c), which is spoken to in
 * json_values.c and nowhere else. Values of many rows are collected and parsed together, because a
 * call of the library costs more than a value. One thread at a time. */
#ifndef FP_CODEC_JSON_VALUES_H
#define FP_CODEC_JSON_VALUES_H

#include <stdbool.h>
#include "base/buffer.h"
#include "base/text.h"
#include "codec/json_line.h"

typedef struct fp_json_values {
    void *tokener; /* the library's own two */
    void *array;
    fp_buffer text; /* the values, as one JSON array */
    size_t n;
} fp_json_values;

int fp_json_values_init(fp_json_values *values); /* 0 or NOMEM */
void fp_json_values_free(fp_json_values *values);

/* Forgets what was collected and parsed. */
void fp_json_values_clear(fp_json_values *values);

/* Collects a value: a number, null or text with its quotes; or what is between a text's quotes. 0
 * or NOMEM. */
int fp_json_values_add(fp_json_values *values, fp_json_span value);
int fp_json_values_add_text(fp_json_values *values, fp_json_span inside);

/* Parses what was collected. 0; CORRUPT where that is not well-formed, or not as many values as
 * were added; NOMEM. */
int fp_json_values_parse(fp_json_values *values);

/* Value i as a factor: null is NaN, two texts are the infinities. False where it is neither. */
bool fp_json_values_factor(const fp_json_values *values, size_t i, double *out);

/* Value i as a text without NUL in valid UTF-8, until the next clear. False where it is none. */
bool fp_json_values_text(const fp_json_values *values, size_t i, const char **text, size_t *length);

/* The factor names and the tag (NULL: none; in memory of the caller's) that a sound line has. 0;
 * CORRUPT where it has not the fields of a row in their order; NOMEM. */
int fp_json_read_schema(const char *line, size_t n, fp_texts *names, char **tag);

#endif
