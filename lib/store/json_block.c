/* Blocks of the json format: runs of good lines in a file that says nothing of blocks. Called by
 * the file log's walk, which numbers what is found here, and by those who report or blank bad
 * lines. Every byte of a block that is found has been checked. */
#include "store/json.h"

#include "base/error.h"

#include <string.h>

/* A block that grows line by line. */
typedef struct growing {
    fp_json_judge judge;
    fp_parsed_block *out;
    fp_block *block;
    char code_before[FP_CODE_MAX_BYTES + 1];
    int64_t date_before;
} growing;

/* ------------------------------------------------------------------ growing a block */

/* Whether the row just judged may follow the block's last one. */
static bool fits(const growing *g, const fp_json_line *line)
{
    const fp_block *block = g->block;
    const fp_json_parts *row = &g->judge.parts;
    if (block->n_rows == 0)
        return true;
    if (block->all_ok != (row->status == FACPOOL_STATUS_OK) || block->n_rows == FP_BLOCK_ROWS ||
        line->end - block->offset > FP_JSON_MOST_BLOCK_BYTES)
        return false;
    return g->date_before < row->date ||
           (g->date_before == row->date && strcmp(g->code_before, g->judge.code) < 0);
}

static void begin(growing *g)
{
    fp_block *block = g->block;
    const fp_json_parts *row = &g->judge.parts;
    block->all_ok = row->status == FACPOOL_STATUS_OK;
    block->has_factors = block->all_ok;
    block->date_min = row->date;
    block->timestamp_min = row->timestamp;
    block->timestamp_max = row->timestamp;
    strcpy(g->out->code_min, g->judge.code);
    strcpy(g->out->code_max, g->judge.code);
}

static void add(growing *g, const fp_json_line *line)
{
    fp_block *block = g->block;
    const fp_json_parts *row = &g->judge.parts;
    if (block->n_rows == 0)
        begin(g);
    if (row->timestamp < block->timestamp_min)
        block->timestamp_min = row->timestamp;
    if (row->timestamp > block->timestamp_max)
        block->timestamp_max = row->timestamp;
    if (strcmp(g->judge.code, g->out->code_max) > 0)
        strcpy(g->out->code_max, g->judge.code);
    else if (strcmp(g->judge.code, g->out->code_min) < 0)
        strcpy(g->out->code_min, g->judge.code);
    block->date_max = row->date; /* they ascend */
    block->status_rows[row->status]++;
    block->n_rows++;
    block->bytes = line->end - block->offset;
    g->date_before = row->date;
    strcpy(g->code_before, g->judge.code);
}

/* Takes line after line. Blank lines belong to the block that they stand in or follow, as far as a
 * block goes; others, however many, make a stretch without rows. */
static int grow(growing *g, fp_json_lines *lines, facpool_error *err)
{
    fp_block *block = g->block;
    for (;;) {
        fp_json_line line;
        bool is_row;
        int rc = fp_json_next_line(lines, &line, err);
        if (!rc && line.kind == FP_JSON_BLANK) {
            uint64_t bytes = line.end - block->offset;
            if (block->n_rows && bytes > FP_JSON_MOST_BLOCK_BYTES)
                return 0;
            block->bytes = bytes;
            continue;
        }
        if (!rc && block->n_rows == 0 && block->bytes)
            return 0;
        if (!rc)
            rc = fp_json_judge_line(&g->judge, &line, &is_row, err);
        if (rc || !is_row || !fits(g, &line))
            return rc;
        add(g, &line);
    }
}

int fp_json_parse_block(const fp_place *place, uint64_t offset, fp_parsed_block *out,
                        facpool_error *err)
{
    *out = (fp_parsed_block){.state = FP_BLOCK_BAD};
    growing g = {.out = out, .block = &out->entry.block};
    int rc = fp_json_judge_init(&g.judge, place->schema, err);
    if (rc)
        return rc;
    fp_block *block = g.block;
    block->offset = offset;
    block->code_min = out->code_min;
    block->code_max = out->code_max;
    fp_json_lines lines = {place->window, offset, g.judge.layout.most_bytes};
    rc = grow(&g, &lines, err);
    fp_json_judge_free(&g.judge);
    if (rc || block->bytes == 0)
        return rc;
    out->is_index = block->n_rows == 0;
    block->n_pages = (block->n_rows + FP_PAGE_ROWS - 1) / FP_PAGE_ROWS;
    out->state = FP_BLOCK_WHOLE;
    out->unsynced = true; /* nothing in the file tells what was synced */
    return 0;
}

/* ------------------------------------------------------------------ looking for lines */

/* The next line, below `end`, that is a row, or (where `good` is false) one that is neither a row
 * nor blank. line->kind is FP_JSON_FILE_END where there is none. */
static int look_for(fp_json_judge *judge, fp_json_lines *lines, uint64_t end, bool good,
                    fp_json_line *line, facpool_error *err)
{
    for (bool found = false; !found;) {
        bool is_row;
        int rc = fp_json_next_line(lines, line, err);
        if (!rc)
            rc = fp_json_judge_line(judge, line, &is_row, err);
        if (rc)
            return rc;
        if (line->offset >= end)
            line->kind = FP_JSON_FILE_END;
        found = line->kind == FP_JSON_FILE_END || (is_row == good && line->kind != FP_JSON_BLANK);
    }
    return 0;
}

int fp_json_find_block(const fp_place *place, uint64_t from, uint64_t *offset, facpool_error *err)
{
    fp_json_judge judge;
    int rc = fp_json_judge_init(&judge, place->schema, err);
    if (rc)
        return rc;
    fp_json_lines lines = {.window = place->window, .most_bytes = judge.layout.most_bytes};
    fp_json_line line = {0};
    rc = fp_json_find_line(place->window, from, &lines.offset, err);
    if (!rc)
        rc = look_for(&judge, &lines, UINT64_MAX, true, &line, err);
    if (!rc)
        *offset = line.kind == FP_JSON_FILE_END ? UINT64_MAX : line.offset;
    fp_json_judge_free(&judge);
    return rc;
}

int fp_json_check_block(const fp_place *place, uint64_t offset, fp_block_check *out,
                        facpool_error *err)
{
    (void)place;
    (void)offset;
    (void)err;
    *out = (fp_block_check){0}; /* who found the block has checked it */
    return 0;
}

/* One judge for all: making it costs what the factors are many. */
static int each_bad_line(const fp_place *place, uint64_t from, uint64_t end, fp_take_line *take,
                         void *to, facpool_error *err)
{
    fp_json_judge judge;
    int rc = fp_json_judge_init(&judge, place->schema, err);
    if (rc)
        return rc;
    fp_json_lines lines = {place->window, from, judge.layout.most_bytes};
    while (!rc) {
        fp_json_line line;
        rc = look_for(&judge, &lines, end, false, &line, err);
        if (rc || line.kind == FP_JSON_FILE_END)
            break;
        uint64_t newline = line.kind != FP_JSON_UNFINISHED;
        rc = take(to, line.offset, line.end - line.offset - newline, err);
    }
    fp_json_judge_free(&judge);
    return rc;
}

static int number_of_line(const fp_place *place, uint64_t offset, uint64_t *number,
                          facpool_error *err)
{
    uint64_t n_before;
    int rc = fp_json_count_lines(place->window, 0, offset, &n_before, err);
    if (!rc)
        *number = n_before + 1;
    return rc;
}

/* Blank lines, then nothing, or a first row that is cut off. */
static int is_first_row_cut_off(const fp_place *place, bool *is, facpool_error *err)
{
    fp_json_judge judge;
    int rc = fp_json_judge_init(&judge, place->schema, err);
    if (rc)
        return rc;
    fp_json_lines lines = {place->window, 0, judge.layout.most_bytes};
    fp_json_line line = {.kind = FP_JSON_BLANK};
    while (!rc && line.kind == FP_JSON_BLANK)
        rc = fp_json_next_line(&lines, &line, err);
    if (!rc && line.kind == FP_JSON_UNFINISHED)
        *is = line.text && fp_json_match_line(&judge.layout, line.text, line.n, &judge.parts,
                                              NULL) != FP_JSON_OTHER;
    else
        *is = !rc && line.kind == FP_JSON_FILE_END;
    fp_json_judge_free(&judge);
    return rc;
}

/* A power loss may leave a file as long as it was with zeros where bytes were on their way. */
static int is_beginning(const fp_place *place, bool *is, facpool_error *err)
{
    fp_window *window = place->window;
    uint64_t size = window->size, zeros, end = 0;
    int rc = fp_window_find_zero(window, 0, &zeros, err); /* lines have none */
    if (!rc)
        rc = fp_window_skip_zeros(window, zeros, &end, err);
    if (rc)
        return rc;
    window->size = end == size ? zeros : size;
    rc = is_first_row_cut_off(place, is, err);
    window->size = size;
    return rc;
}

const fp_line_type fp_json_line_type = {
    .has_row = fp_json_has_row,
    .each_bad_line = each_bad_line,
    .number_of_line = number_of_line,
    .is_beginning = is_beginning,
};
