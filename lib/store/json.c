/* The json format: its entry in the registry, and what its files say of themselves. JSON Lines, for
 * people and small data: a row is a line, there is no header and no index, so that every JSON tool
 * reads the file as it is. FORMAT.md gives the bytes. */
#include "store/json.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

#define JSON_VERSION 1

static const char first_bytes[] = "{\"date\":";

#define N_FIRST_BYTES (sizeof first_bytes - 1)
#define ROW_END_BYTES 31 /* from the comma before the checksum on */

/* A file that begins with zeros is looked through for so much. */
#define MOST_ZEROS_BYTES ((uint64_t)1 << 30)
#define MOST_LOST_BYTES  ((size_t)1 << 20)
#define MOST_LETTERS     31 /* in lines of garbage that are text by chance */
#define AHEAD_BYTES      ((size_t)64 << 10)
#define SECTOR_BYTES     512 /* no disk writes less: what a power loss keeps, it keeps whole */

/* ------------------------------------------------------------------ recognising a file */

/* How many bytes of a line's beginning are not those of a row. */
static size_t strange_bytes(const uint8_t *line, size_t n)
{
    size_t strange = 0;
    for (size_t i = 0; i < n && i < N_FIRST_BYTES; i++)
        strange += line[i] != (uint8_t)first_bytes[i];
    return strange;
}

/* A line that was damaged, or blanked since, must not hide the others: any line will do, and the
 * first one may have a wrong byte. Where there are only blanks before it, it may have just begun.
 */
static bool probe(const uint8_t *first, size_t n)
{
    const uint8_t *at = first, *end = first + n;
    bool may_be_damaged = true, is_all_blank = n > 0;
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline : end) - at);
        bool is_blank = fp_json_is_blank((const char *)at, length);
        bool is_long = length >= N_FIRST_BYTES;
        if ((is_long || (!newline && is_all_blank && !is_blank)) &&
            strange_bytes(at, length) <= (may_be_damaged && is_long))
            return true;
        may_be_damaged = false;
        at += length + (newline != NULL);
        is_all_blank = is_all_blank && is_blank;
    }
    return is_all_blank;
}

/* Zeros, and text: what a power loss can leave of lines. */
static bool may_be_what_is_left(const fp_json_line *line)
{
    bool may_be = line->kind == FP_JSON_WHOLE || line->kind == FP_JSON_BLANK;
    for (size_t i = 0; may_be && i < line->n; i++)
        may_be = line->text[i] == 0 || (uint8_t)line->text[i] >= 0x20;
    return may_be;
}

/* Whether it is the last bytes of a row, many or few. */
static bool ends_as_a_row(const fp_json_line *line)
{
    static const char end[ROW_END_BYTES + 1] = ",\"checksum\":\"################\"}";
    bool ends = line->n > 0;
    for (size_t i = 1; ends && i <= line->n && i < sizeof end; i++) {
        char expected = end[sizeof end - 1 - i], byte = line->text[line->n - i];
        ends = expected == '#' ? byte && strchr("0123456789abcdef", byte) : byte == expected;
    }
    return ends;
}

static bool is_good(const fp_json_line *line)
{
    return line->n >= N_FIRST_BYTES && strange_bytes((const uint8_t *)line->text, line->n) == 0 &&
           fp_json_line_is_sound(line->text, line->n);
}

static bool begins_blank(const char *text, size_t n)
{
    return n >= N_FIRST_BYTES && fp_json_is_blank(text, N_FIRST_BYTES);
}

/* Whether it tells of blanking, whole or cut short by a power loss: spaces at its beginning, or a
 * row's whole end. */
static bool may_be_blanked(const fp_json_line *line)
{
    return begins_blank(line->text, line->n) || (line->n > ROW_END_BYTES && ends_as_a_row(line));
}

/* Whether a sector of it was blanked, where the one that it begins in was not, or was lost. */
static bool has_blanked_sector(const fp_json_line *line)
{
    size_t before = (size_t)(-line->offset % SECTOR_BYTES);
    for (size_t at = before; at < line->n; at += SECTOR_BYTES)
        if (begins_blank(line->text + at, line->n - at))
            return true;
    return false;
}

/* How many letters it has where it is text that neither begins nor ends as a row, else 0. */
static size_t letters_of_others(const fp_json_line *line)
{
    size_t n_letters = 0;
    if (line->n < N_FIRST_BYTES || may_be_blanked(line) ||
        strange_bytes((const uint8_t *)line->text, line->n) == 0)
        return 0;
    for (size_t i = 0; i < line->n; i++) {
        if ((uint8_t)line->text[i] < 0x20)
            return 0;
        n_letters += line->text[i] != ' ';
    }
    return fp_utf8_valid(line->text, line->n) ? n_letters : 0;
}

/* A file of which all that is known in its first bytes was being blanked: garbage and blanks, then
 * a good row. Garbage may have a few letters in lines of their own. */
static int look_behind_blanks(fp_json_lines *lines, bool *has, facpool_error *err)
{
    fp_json_line line = {.kind = FP_JSON_BLANK};
    uint64_t traces_end = lines->offset + FP_PROBE_BYTES;
    bool is_blanked = false;
    size_t n_letters = 0;
    for (size_t n = 0; n < MOST_LOST_BYTES; n += line.kind == FP_JSON_BLANK ? 0 : line.n) {
        int rc = fp_json_next_line(lines, &line, err);
        bool is_line = line.kind == FP_JSON_WHOLE || line.kind == FP_JSON_BLANK;
        if (!rc && is_line)
            n_letters += letters_of_others(&line);
        if (rc || !is_line || n_letters > MOST_LETTERS)
            return rc;
        *has = is_blanked && is_good(&line);
        is_blanked = is_blanked || (line.offset < traces_end &&
                                    (may_be_blanked(&line) || has_blanked_sector(&line)));
        if (*has || (!is_blanked && line.offset >= traces_end))
            return 0;
    }
    return 0;
}

/* Goes on behind the zeros: the rest of a row whose beginning is lost, or what was being blanked,
 * more lines with zeros in them or without, then a good one. */
static int look_for_row(fp_json_lines *lines, bool *has, facpool_error *err)
{
    fp_json_line line = {.kind = FP_JSON_BLANK};
    bool is_first = true;
    for (size_t n = 0; n < MOST_LOST_BYTES; n += line.kind == FP_JSON_BLANK ? 0 : line.n) {
        int rc = fp_window_skip_zeros(lines->window, lines->offset, &lines->offset, err);
        if (!rc)
            rc = fp_json_next_line(lines, &line, err);
        if (rc || !may_be_what_is_left(&line))
            return rc;
        *has = is_good(&line);
        if (*has || (is_first && line.kind == FP_JSON_WHOLE && !ends_as_a_row(&line) &&
                     !has_blanked_sector(&line)))
            return 0;
        is_first = is_first && line.kind == FP_JSON_BLANK;
    }
    return 0;
}

int fp_json_has_row(const fp_file *file, bool *has, facpool_error *err)
{
    fp_window window = {0};
    fp_json_lines lines = {&window, 0, FP_JSON_MOST_LINE_BYTES};
    *has = false;
    int rc = fp_window_init(&window, file, AHEAD_BYTES, err);
    uint64_t size = window.size;
    window.size = size < MOST_ZEROS_BYTES ? size : MOST_ZEROS_BYTES;
    if (!rc)
        rc = fp_window_skip_zeros(&window, 0, &lines.offset, err);
    uint64_t begin = lines.offset;
    if (!rc && begin < window.size) {
        window.size = size;
        if (begin > 0)
            rc = look_for_row(&lines, has, err);
        lines.offset = begin;
        if (!rc && !*has)
            rc = look_behind_blanks(&lines, has, err);
    }
    fp_window_free(&window);
    return rc;
}

/* Other programs begin lines with a date, too; none but ours has a checksum in them. */
static bool is_foreign(const uint8_t *first, size_t n)
{
    static const char key[] = ",\"checksum\":\"";
    size_t length = sizeof key - 1;
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(first + i, key, length) == 0)
            return false;
    const uint8_t *at = first, *newline;
    for (; (newline = memchr(at, '\n', n - (size_t)(at - first))); at = newline + 1)
        if (!fp_json_is_blank((const char *)at, (size_t)(newline - at)))
            return true;
    return false; /* the beginning of a first row */
}

/* ------------------------------------------------------------------ what stands for a header */

static int encode_header(const fp_schema *schema, fp_buffer *out, facpool_error *err)
{
    (void)schema;
    (void)err;
    out->size = 0;
    return 0;
}

static int make_schema(const fp_texts *names, const char *tag, fp_schema *out, facpool_error *err)
{
    const char **pointers = fp_alloc_zero(NULL, names->n, sizeof *pointers);
    if (!pointers)
        return fp_fail_nomem(err, names->n * sizeof *pointers);
    for (size_t i = 0; i < names->n; i++)
        pointers[i] = fp_texts_at(names, i);
    int rc = fp_schema_init(out, names->n, pointers, tag, err);
    fp_free(NULL, pointers);
    return rc;
}

/* The line as a row of the schema that it seems to have. */
static int check_row(const fp_json_line *line, fp_schema *schema, bool *is_row, facpool_error *err)
{
    fp_json_judge judge;
    int rc = fp_json_judge_init(&judge, schema, err);
    if (rc)
        return rc;
    rc = fp_json_judge_line(&judge, line, is_row, err);
    schema->created_us = judge.parts.timestamp;
    fp_json_judge_free(&judge);
    return rc;
}

/* The schema that a line has, if it is a good row. */
static int schema_of_line(const fp_json_line *line, fp_schema *schema, bool *is_row,
                          facpool_error *err)
{
    fp_texts names = {0};
    char *tag = NULL;
    fp_schema made = {0};
    facpool_error cause = FACPOOL_ERROR_INIT;
    *is_row = false;
    int rc = fp_json_read_schema(line->text, line->n, &names, &tag);
    if (rc == FACPOOL_E_NOMEM)
        fp_fail_nomem(&cause, line->n);
    if (!rc)
        rc = make_schema(&names, tag, &made, &cause);
    if (!rc)
        rc = check_row(line, &made, is_row, &cause);
    fp_texts_free(&names);
    fp_free(NULL, tag);
    if (*is_row)
        *schema = made;
    else
        fp_schema_free(&made);
    /* Other errors mean that this is no row; there may be others. */
    return rc == FACPOOL_E_NOMEM ? fp_error_copy(err, &cause) : 0;
}

/* Factor names and tag are those of the first good row. */
static int parse_header(fp_window *window, fp_schema *schema, uint64_t *header_end,
                        facpool_error *err)
{
    fp_json_lines lines = {window, 0, FP_JSON_MOST_LINE_BYTES};
    for (;;) {
        fp_json_line line;
        bool is_row = false;
        int rc = fp_json_next_line(&lines, &line, err);
        if (!rc && line.kind == FP_JSON_FILE_END)
            return fp_fail(err, FACPOOL_E_CORRUPT,
                           "'%s' has no whole row of a libfacpool backup: it is none, or none was "
                           "written yet, or every line is damaged",
                           window->file->path);
        if (!rc && line.kind == FP_JSON_WHOLE && fp_json_line_is_sound(line.text, line.n))
            rc = schema_of_line(&line, schema, &is_row, err);
        if (rc)
            return rc;
        if (is_row) {
            *header_end = 0;
            return 0;
        }
    }
}

/* ------------------------------------------------------------------ what json files do not have */

static void seal(fp_encoded_block *block, const fp_seal *seal)
{
    (void)block;
    (void)seal;
}

static int encode_index(const fp_schema *schema, const fp_log_index *index, fp_index_counts counts,
                        const fp_seal *at, fp_buffer *out, facpool_error *err)
{
    (void)schema;
    (void)index;
    (void)counts;
    (void)at;
    (void)err;
    out->size = 0;
    return 0;
}

static int find_index(const fp_place *place, uint64_t *offset, bool *sound, facpool_error *err)
{
    (void)place;
    (void)err;
    *offset = 0;
    *sound = false;
    return 0;
}

static int parse_index(const fp_place *place, uint64_t offset, fp_parsed_index *out,
                       facpool_error *err)
{
    (void)place;
    (void)offset;
    (void)err;
    out->found = false;
    return 0;
}

const fp_format fp_format_json = {
    .name = "json",
    .suffix = ".jsonl",
    .version = JSON_VERSION,
    .source_type = &fp_json_source_type,
    .lines = &fp_json_line_type,
    .probe = probe,
    .is_foreign = is_foreign,
    .encode_header = encode_header,
    .parse_header = parse_header,
    .new_encoder = fp_json_new_encoder,
    .free_encoder = fp_json_free_encoder,
    .most_rows = fp_json_most_rows,
    .encode = fp_json_encode,
    .seal = seal,
    .parse_block = fp_json_parse_block,
    .find_block = fp_json_find_block,
    .check_block = fp_json_check_block,
    .encode_index = encode_index,
    .find_index = find_index,
    .parse_index = parse_index,
};
