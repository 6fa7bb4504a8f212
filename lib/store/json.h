/* What the files of the json format share. Rows are lines (codec/json_line.h) and nothing else is
 * in the file; a block is a run of good lines whose keys ascend. FORMAT.md gives the bytes. Nobody
 * but json*.c includes this, tests apart. */
#ifndef FP_STORE_JSON_H
#define FP_STORE_JSON_H

#include "codec/json_line.h"
#include "codec/json_values.h"
#include "store/format.h"

/* More than the longest line of the widest row has. */
#define FP_JSON_MOST_LINE_BYTES ((size_t)128 << 20)
/* A block of lines ends where it would grow beyond this, by rows or by blanks: a reader has all of
 * it in memory. */
#define FP_JSON_MOST_BLOCK_BYTES ((uint64_t)32 << 20)

/* ------------------------------------------------------------------ lines of a file */

typedef enum fp_json_line_kind {
    FP_JSON_FILE_END,   /* no more lines */
    FP_JSON_UNFINISHED, /* the last bytes of the file, without a newline */
    FP_JSON_TOO_LONG,   /* a line that no row has; its bytes are not given */
    FP_JSON_BLANK,
    FP_JSON_WHOLE
} fp_json_line_kind;

typedef struct fp_json_line {
    fp_json_line_kind kind;
    uint64_t offset;
    uint64_t end;     /* behind its newline */
    const char *text; /* without the newline; valid until the next line is asked for */
    size_t n;
} fp_json_line;

/* Goes through a window line by line. */
typedef struct fp_json_lines {
    fp_window *window;
    uint64_t offset; /* of the next line: it must begin there */
    size_t most_bytes;
} fp_json_lines;

int fp_json_next_line(fp_json_lines *lines, fp_json_line *out, facpool_error *err); /* IO, NOMEM */

/* The first line that begins at `from` or behind it. */
int fp_json_find_line(fp_window *window, uint64_t from, uint64_t *offset, facpool_error *err);

/* How many lines end in bytes from .. to - 1. */
int fp_json_count_lines(fp_window *window, uint64_t from, uint64_t to, uint64_t *n,
                        facpool_error *err);

/* ------------------------------------------------------------------ rows of a file */

/* What telling good lines from bad ones needs: for one thread. */
typedef struct fp_json_judge {
    fp_json_layout layout;
    fp_json_values values; /* for codes with escapes; made when one is met */
    char code[FP_CODE_MAX_BYTES + 1];
    size_t code_length;
    fp_json_parts parts;
} fp_json_judge;

int fp_json_judge_init(fp_json_judge *judge, const fp_schema *schema, facpool_error *err);
void fp_json_judge_free(fp_json_judge *judge);

/* Whether a line is a row of the schema: then its code and parts are in the judge. Errors: NOMEM.
 */
int fp_json_judge_line(fp_json_judge *judge, const fp_json_line *line, bool *is_row,
                       facpool_error *err);

/* What codes have to be, whoever wrote them. */
bool fp_json_code_is_good(const char *code, size_t length);

/* ------------------------------------------------------------------ the parts of the format */

/* See fp_line_type. */
int fp_json_has_row(const fp_file *file, bool *has, facpool_error *err);

int fp_json_parse_block(const fp_place *place, uint64_t offset, fp_parsed_block *out,
                        facpool_error *err);
int fp_json_find_block(const fp_place *place, uint64_t from, uint64_t *offset, facpool_error *err);
int fp_json_check_block(const fp_place *place, uint64_t offset, fp_block_check *out,
                        facpool_error *err);

extern const fp_line_type fp_json_line_type;

fp_encoder *fp_json_new_encoder(const fp_schema *schema, int compression_level);
void fp_json_free_encoder(fp_encoder *encoder);
size_t fp_json_most_rows(size_t n_factors);
int fp_json_encode(fp_encoder *encoder, const fp_batch *batch, size_t first, size_t n,
                   fp_encoded_block *out, facpool_error *err);

extern const fp_source_type fp_json_source_type;

#endif
