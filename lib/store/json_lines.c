/* The lines of a file, and which of them are rows: see json.h. Called by the parts of the json
 * format. Lines may be of any length and hold anything; no more of one is kept in memory than a row
 * can be long. */
#include "store/json.h"

#include "base/error.h"

#include <string.h>

#define LEAST_READ_BYTES ((size_t)4 << 10)
#define SKIP_BYTES       ((size_t)256 << 10)

/* ------------------------------------------------------------------ finding lines */

/* Where the next newline at or behind `from` is; UINT64_MAX: there is none. */
static int find_newline(fp_window *window, uint64_t from, uint64_t *offset, facpool_error *err)
{
    *offset = UINT64_MAX;
    for (uint64_t at = from; at < window->size;) {
        const uint8_t *bytes;
        size_t got, at_hand = fp_window_at_hand(window, at);
        int rc = fp_window_get(window, at, at_hand ? at_hand : SKIP_BYTES, &bytes, &got, err);
        if (rc || got == 0)
            return rc;
        const uint8_t *newline = memchr(bytes, '\n', got);
        if (newline) {
            *offset = at + (uint64_t)(newline - bytes);
            return 0;
        }
        at += got;
    }
    return 0;
}

/* A line whose first `most_bytes` bytes hold no newline. */
static int skip_long_line(fp_json_lines *lines, fp_json_line *out, facpool_error *err)
{
    uint64_t newline;
    int rc = find_newline(lines->window, lines->offset, &newline, err);
    if (rc)
        return rc;
    bool ends = newline != UINT64_MAX;
    *out = (fp_json_line){.kind = ends ? FP_JSON_TOO_LONG : FP_JSON_UNFINISHED,
                          .offset = lines->offset,
                          .end = ends ? newline + 1 : lines->window->size};
    lines->offset = out->end;
    return 0;
}

/* Asks for more and more, until there is a newline, or the file or all patience ends. */
static int get_line(fp_json_lines *lines, const char **text, size_t *n, bool *ends,
                    facpool_error *err)
{
    size_t wanted = fp_window_at_hand(lines->window, lines->offset);
    for (size_t looked_at = 0;; wanted *= 2) {
        wanted = wanted < LEAST_READ_BYTES ? LEAST_READ_BYTES : wanted;
        wanted = wanted < lines->most_bytes ? wanted : lines->most_bytes;
        const uint8_t *bytes;
        size_t got;
        int rc = fp_window_get(lines->window, lines->offset, wanted, &bytes, &got, err);
        if (rc)
            return rc;
        if (looked_at > got)
            looked_at = 0; /* the file was cut since */
        const uint8_t *newline = memchr(bytes + looked_at, '\n', got - looked_at);
        looked_at = got;
        *ends = newline != NULL;
        *text = (const char *)bytes;
        *n = newline ? (size_t)(newline - bytes) : got;
        if (newline || got < wanted || wanted == lines->most_bytes)
            return 0;
    }
}

int fp_json_next_line(fp_json_lines *lines, fp_json_line *out, facpool_error *err)
{
    *out = (fp_json_line){.kind = FP_JSON_FILE_END, .offset = lines->offset, .end = lines->offset};
    if (lines->offset >= lines->window->size)
        return 0;
    bool ends;
    int rc = get_line(lines, &out->text, &out->n, &ends, err);
    if (rc)
        return rc;
    if (!ends && out->n == 0) /* the file was cut since */
        return 0;
    if (!ends && out->n == lines->most_bytes)
        return skip_long_line(lines, out, err);
    out->kind = ends ? FP_JSON_WHOLE : FP_JSON_UNFINISHED;
    if (ends && fp_json_is_blank(out->text, out->n))
        out->kind = FP_JSON_BLANK;
    out->end = lines->offset + out->n + ends;
    lines->offset = out->end;
    return 0;
}

int fp_json_find_line(fp_window *window, uint64_t from, uint64_t *offset, facpool_error *err)
{
    if (from == 0) {
        *offset = 0;
        return 0;
    }
    uint64_t newline;
    int rc = find_newline(window, from - 1, &newline, err);
    if (!rc)
        *offset = newline == UINT64_MAX ? window->size : newline + 1;
    return rc;
}

int fp_json_count_lines(fp_window *window, uint64_t from, uint64_t to, uint64_t *n,
                        facpool_error *err)
{
    *n = 0;
    for (uint64_t at = from, newline; at < to; at = newline + 1) {
        int rc = find_newline(window, at, &newline, err);
        if (rc || newline >= to)
            return rc;
        ++*n;
    }
    return 0;
}

/* ------------------------------------------------------------------ judging lines */

int fp_json_judge_init(fp_json_judge *judge, const fp_schema *schema, facpool_error *err)
{
    fp_json_judge made = {0};
    if (fp_json_layout_init(&made.layout, &schema->names, schema->tag))
        return fp_fail_nomem(err, schema->names.n * FP_JSON_NUMBER_BYTES);
    *judge = made;
    return 0;
}

void fp_json_judge_free(fp_json_judge *judge)
{
    fp_json_layout_free(&judge->layout);
    fp_json_values_free(&judge->values);
}

bool fp_json_code_is_good(const char *code, size_t length)
{
    return length >= 1 && length <= FP_CODE_MAX_BYTES && !memchr(code, 0, length) &&
           fp_utf8_valid(code, length);
}

/* A code as it is, not as it is written. */
static int read_code(fp_json_judge *judge, const char **code, size_t *length, bool *is_text)
{
    const fp_json_span *span = &judge->parts.code;
    *code = span->at;
    *length = span->n;
    *is_text = true;
    if (judge->parts.code_is_plain)
        return 0;
    fp_json_values *values = &judge->values;
    int rc = values->tokener ? 0 : fp_json_values_init(values);
    fp_json_values_clear(values);
    if (!rc)
        rc = fp_json_values_add_text(values, *span);
    if (!rc)
        rc = fp_json_values_parse(values);
    *is_text = !rc && fp_json_values_text(values, 0, code, length);
    return rc == FACPOOL_E_CORRUPT ? 0 : rc;
}

int fp_json_judge_line(fp_json_judge *judge, const fp_json_line *line, bool *is_row,
                       facpool_error *err)
{
    *is_row = false;
    if (line->kind != FP_JSON_WHOLE || !fp_json_line_is_sound(line->text, line->n) ||
        fp_json_match_line(&judge->layout, line->text, line->n, &judge->parts, NULL) !=
            FP_JSON_LINE)
        return 0;
    const char *code;
    size_t length;
    bool is_text;
    if (read_code(judge, &code, &length, &is_text))
        return fp_fail_nomem(err, judge->parts.code.n);
    if (!is_text || !fp_json_code_is_good(code, length))
        return 0;
    memcpy(judge->code, code, length);
    judge->code[length] = '\0';
    judge->code_length = length;
    *is_row = true;
    return 0;
}
