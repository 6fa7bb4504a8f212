/* What a backup says about itself: factor names, tag, identity. */
#ifndef FP_MODEL_SCHEMA_H
#define FP_MODEL_SCHEMA_H

#include <stdbool.h>
#include "base/text.h"

#define FP_FACTORS_MAX   65535
#define FP_TAG_MAX_BYTES 1024

typedef struct fp_schema {
    fp_texts names; /* names.n is the number of factors */
    char *tag;      /* NULL: none */
    uint8_t file_id[16];
    int64_t created_us;
    int64_t row_us; /* a file of lines has no id: the time of a row in it; 0: none is known */
} fp_schema;

/* names NULL: f0, f1, ... Checks count, names (valid, distinct, not a fixed column's: date, code,
 * timestamp, status, failure_code, message, tag, checksum) and tag ("" is none). Sets none of
 * file_id, created_us and row_us. Errors: INVALID, NOMEM. */
int fp_schema_init(fp_schema *out, size_t n_factors, const char *const *names, const char *tag,
                   facpool_error *err);
int fp_schema_copy(fp_schema *out, const fp_schema *from, facpool_error *err);
void fp_schema_free(fp_schema *schema);

/* Index of a factor, or SIZE_MAX. */
size_t fp_schema_find(const fp_schema *schema, const char *name);

/* 0, or MISMATCH saying both sides. `path` names the backup in the message. */
int fp_schema_match_factors(const fp_schema *stored, const fp_schema *wanted, const char *path,
                            facpool_error *err);
int fp_schema_match_tag(const fp_schema *stored, const fp_schema *wanted, const char *path,
                        facpool_error *err);

#endif
