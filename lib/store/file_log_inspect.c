/* Looking at a whole file: what it says of itself, and whether every byte of it is sound. Called by
 * sink.c for the public calls and the tool. It reads, and changes nothing. */
#include "store/file_log.h"
#include "store/sink.h"

#include "base/alloc.h"
#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VERIFY_AHEAD_BYTES ((size_t)1 << 20)

/* ------------------------------------------------------------------ info */

static void sum_blocks(facpool_info *info, const fp_source *source)
{
    for (size_t i = 0; i < source->n_blocks; i++) {
        const fp_block *block = &source->blocks[i];
        for (int status = 0; status < 6; status++)
            info->rows[status] += block->status_rows[status];
        if (i == 0 || block->date_min < info->date_min)
            info->date_min = block->date_min;
        if (i == 0 || block->date_max > info->date_max)
            info->date_max = block->date_max;
    }
}

/* One piece of memory: the struct, the array of names, the names, the tag. */
static facpool_info *new_info(const fp_schema *schema)
{
    size_t n = schema->names.n;
    size_t names_bytes = schema->names.offsets[n];
    size_t tag_bytes = schema->tag ? strlen(schema->tag) + 1 : 0;
    size_t bytes = sizeof(facpool_info) + n * sizeof(char *) + names_bytes + tag_bytes;
    facpool_info *info = fp_alloc_zero(NULL, 1, bytes);
    if (!info)
        return NULL;
    const char **names = (const char **)(info + 1);
    char *texts = (char *)(names + n);
    memcpy(texts, schema->names.bytes, names_bytes);
    for (size_t i = 0; i < n; i++)
        names[i] = texts + schema->names.offsets[i];
    info->size = sizeof *info;
    info->n_factors = n;
    info->factor_names = names;
    if (schema->tag)
        info->tag = memcpy(texts + names_bytes, schema->tag, tag_bytes);
    return info;
}

/* Files without an index look alike while they are written and after; the writer's lock tells. */
static bool is_closed(const fp_log_source *source)
{
    bool looks = source->contents.closed && source->base.tail_bytes == 0;
    return looks && !(source->format->lines && fp_file_is_locked(&source->file->file));
}

int fp_store_info(const facpool_info **out, const char *path, facpool_error *err)
{
    fp_log_source *source;
    int rc = fp_log_source_open(&source, path, NULL, true, err);
    if (rc)
        return rc;
    facpool_info *info = new_info(&source->base.schema);
    if (!info) {
        fp_source_release(&source->base);
        return fp_fail_nomem(err, sizeof *info);
    }
    const fp_log_contents *contents = &source->contents;
    info->format = source->format->name;
    info->version = source->format->version;
    info->closed = is_closed(source);
    info->blocks = source->base.n_blocks;
    info->pages = source->base.n_pages;
    sum_blocks(info, &source->base);
    info->file_bytes = source->file_bytes;
    info->valid_bytes = contents->end;
    info->durable_bytes = contents->durable_end;
    info->damaged_blocks = contents->counts.damaged + contents->counts.given_up;
    info->created_us = source->base.schema.created_us;
    fp_source_release(&source->base);
    *out = info;
    return 0;
}

/* ------------------------------------------------------------------ verify */

static void note_damage(facpool_verify_report *report, uint64_t blocks, uint64_t parts,
                        uint64_t offset)
{
    if (!report->damaged_blocks || offset < report->first_damage)
        report->first_damage = offset;
    report->damaged_blocks += blocks;
    report->damaged_parts += parts;
}

static int verify_block(const fp_format *format, const fp_place *place, uint64_t offset,
                        const fp_parsed_block *parsed, facpool_verify_report *report,
                        facpool_error *err)
{
    bool is_index = parsed->is_index;
    uint32_t n_rows = parsed->entry.block.n_rows;
    fp_block_check check;
    int rc = format->check_block(place, offset, &check, err);
    if (rc)
        return rc;
    report->blocks += !is_index;
    if (check.damaged_parts) {
        note_damage(report, 1, check.damaged_parts, check.first_damage);
        report->rows_damaged += n_rows;
    } else {
        report->rows += n_rows;
    }
    return 0;
}

/* Blocks of lines have been found by checking every byte of them. */
static void count_lines(const fp_log_source *source, facpool_verify_report *report)
{
    report->blocks = source->base.n_blocks;
    for (size_t i = 0; i < source->base.n_blocks; i++)
        report->rows += source->base.blocks[i].n_rows;
}

/* Every block up to the end that readers see, index blocks too; gaps are known already. */
static int verify_blocks(const fp_log_source *source, const fp_place *place,
                         facpool_verify_report *report, facpool_error *err)
{
    const fp_format *format = source->format;
    uint64_t offset = place->header_end;
    while (offset < source->contents.end) {
        fp_parsed_block parsed;
        int rc = format->parse_block(place, offset, &parsed, err);
        if (rc)
            return rc;
        if (parsed.state == FP_BLOCK_WHOLE) {
            uint64_t bytes = parsed.entry.block.bytes;
            rc = verify_block(format, place, offset, &parsed, report, err);
            offset += bytes;
        } else {
            rc = format->find_block(place, offset + 1, &offset, err);
        }
        if (rc)
            return rc;
    }
    return 0;
}

/* Rows of blocks that can't be listed any more, where the index remembers them. */
static int count_lost_rows(const fp_log_source *source, const fp_place *place,
                           facpool_verify_report *report, facpool_error *err)
{
    fp_parsed_index parsed;
    uint64_t offset;
    bool is_sound;
    int rc = source->format->find_index(place, &offset, &is_sound, err);
    if (!rc && is_sound)
        rc = source->format->parse_index(place, offset, &parsed, err);
    if (rc || !is_sound || !parsed.found)
        return rc;
    const fp_log_index *walked = &source->contents.index;
    size_t at = 0;
    for (size_t i = 0; i < parsed.index.n; i++) {
        const fp_block *block = &parsed.index.entries[i].block;
        while (at < walked->n && walked->entries[at].block.offset < block->offset)
            at++;
        if (at == walked->n || walked->entries[at].block.offset != block->offset)
            report->rows_damaged += block->n_rows;
    }
    fp_log_index_free(&parsed.index);
    return 0;
}

/* Where damage is, for people: a line's number where the file has lines. */
static void describe_place(const fp_log_source *source, const fp_place *place, uint64_t offset,
                           char *text, size_t capacity)
{
    const fp_line_type *lines = source->format->lines;
    uint64_t number;
    if (lines && !lines->number_of_line(place, offset, &number, NULL))
        snprintf(text, capacity, "line %" PRIu64, number);
    else
        snprintf(text, capacity, "byte %" PRIu64, offset);
}

static int tell_damage(const fp_log_source *source, const fp_place *place,
                       const facpool_verify_report *report, facpool_error *err)
{
    char first[64];
    describe_place(source, place, report->first_damage, first, sizeof first);
    return fp_fail(err, FACPOOL_E_CORRUPT,
                   "'%s': %" PRIu64
                   " damaged %s, the first at %s: resume a run of all of the file's "
                   "tasks, which computes them again",
                   source->base.path, report->damaged_blocks,
                   source->format->lines ? "line(s)" : "block(s)", first);
}

static int verify_source(const fp_log_source *source, const fp_place *place,
                         facpool_verify_report *report, facpool_error *err)
{
    const fp_log_contents *contents = &source->contents;
    bool has_lines = source->format->lines != NULL;
    uint64_t n_damaged = contents->counts.damaged;
    if (n_damaged) {
        note_damage(report, n_damaged, 0, contents->first_damage);
        report->blocks += has_lines ? 0 : n_damaged;
        report->rows_damaged += has_lines ? n_damaged : 0;
    }
    int rc = 0;
    if (has_lines)
        count_lines(source, report);
    else
        rc = verify_blocks(source, place, report, err);
    if (!rc && n_damaged)
        rc = count_lost_rows(source, place, report, err);
    report->tail_bytes = source->base.tail_bytes;
    report->closed = is_closed(source);
    return rc;
}

int fp_log_verify(const char *path, facpool_verify_report *report, facpool_error *err)
{
    fp_log_source *source;
    int rc = fp_log_source_open(&source, path, NULL, false, err);
    if (rc)
        return rc;
    facpool_verify_report found = FACPOOL_VERIFY_REPORT_INIT;
    fp_window window = {0};
    fp_place place = {.window = &window,
                      .schema = &source->base.schema,
                      .header_end = source->contents.header_end};
    rc = fp_window_init(&window, &source->file->file, VERIFY_AHEAD_BYTES, err);
    if (!rc)
        rc = verify_source(source, &place, &found, err);
    if (!rc) {
        *report = found;
        if (found.damaged_blocks)
            rc = tell_damage(source, &place, &found, err);
    }
    fp_window_free(&window);
    fp_source_release(&source->base);
    return rc;
}
