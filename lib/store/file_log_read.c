/* Snapshots of a file: opening one, taking over what an older one knew, and giving it up. Called by
 * sink.c for readers and by the writing half for its own snapshots. Takes no lock and never writes.
 */
#include "store/file_log.h"

#include "base/alloc.h"
#include "base/error.h"
#include "store/registry.h"

#include <string.h>

/* One read gives the header of nearly every file, a second one the index of a file of up to a few
 * hundred blocks. */
#define OPEN_AHEAD_BYTES ((size_t)4 << 10)

fp_log_file *fp_log_file_hold(fp_log_file *file)
{
    atomic_fetch_add_explicit(&file->references, 1, memory_order_relaxed);
    return file;
}

void fp_log_file_release(fp_log_file *file)
{
    /* Release pairs with the acquire half of the last holder's own subtraction. */
    if (!file || atomic_fetch_sub_explicit(&file->references, 1, memory_order_acq_rel) != 1)
        return;
    fp_file_close(&file->file);
    fp_dictionary_cache_free(&file->dictionaries);
    fp_free(NULL, file);
}

/* The first bytes as text for a message. */
static void show_bytes(char *to, size_t capacity, const uint8_t *bytes, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n && i < 8 && used + 2 < capacity; i++)
        to[used++] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '.';
    to[used] = '\0';
}

int fp_log_probe(const fp_file *file, const char *path, const fp_format **format, bool *is_empty,
                 facpool_error *err)
{
    uint8_t first[FP_PROBE_BYTES];
    size_t got;
    int rc = fp_file_read(file, first, sizeof first, 0, &got, err);
    if (rc)
        return rc;
    const fp_format *found = got ? fp_format_of_bytes(first, got) : NULL;
    if (got && !found)
        rc = fp_format_of_rows(file, &found, err);
    if (rc)
        return rc;
    if (got && !found) {
        char shown[16];
        show_bytes(shown, sizeof shown, first, got);
        return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "'%s' is not a facpool backup (starts with \"%s\"): give another path", path,
                       shown);
    }
    *format = found;
    *is_empty = got == 0;
    return 0;
}

int fp_log_file_open_known(fp_log_file **out, const char *path, facpool_error *err)
{
    fp_log_file *opened = fp_alloc(NULL, sizeof *opened);
    if (!opened)
        return fp_fail_nomem(err, sizeof *opened);
    *opened = (fp_log_file){.file = FP_FILE_CLOSED};
    atomic_init(&opened->references, 1);
    int rc = fp_dictionary_cache_init(&opened->dictionaries, err);
    if (rc) {
        fp_free(NULL, opened);
        return rc;
    }
    rc = fp_file_open(&opened->file, path, false, err);
    if (rc) {
        fp_log_file_release(opened);
        return rc;
    }
    *out = opened;
    return 0;
}

int fp_log_file_open(fp_log_file **out, const fp_format **format, const char *path,
                     facpool_error *err)
{
    fp_log_file *opened = NULL;
    const fp_format *found = NULL;
    bool is_empty = false;
    int rc = fp_log_file_open_known(&opened, path, err);
    if (!rc)
        rc = fp_log_probe(&opened->file, path, &found, &is_empty, err);
    if (!rc && is_empty)
        rc = fp_fail(err, FACPOOL_E_UNSUPPORTED,
                     "'%s' is empty: no facpool backup, or one without a row yet, or one whose "
                     "creation was cut short by a power loss",
                     path);
    if (rc) {
        fp_log_file_release(opened);
        return rc;
    }
    *out = opened;
    *format = found;
    return 0;
}

void fp_log_source_free(fp_source *base)
{
    fp_log_source *source = (fp_log_source *)base;
    fp_log_view *view = atomic_load_explicit(&source->view, memory_order_relaxed);
    if (view)
        view->free(view);
    fp_log_file_release(source->file);
    fp_log_contents_free(&source->contents);
    fp_schema_free(&base->schema);
    fp_free(NULL, base->blocks);
    fp_free(NULL, base->path);
    fp_free(NULL, source);
}

/* The time of a row that stays where it is: of an ok one, if there is any. */
static int64_t time_of_a_row(const fp_source *source)
{
    for (size_t i = 0; i < source->n_blocks; i++)
        if (source->blocks[i].all_ok)
            return source->blocks[i].timestamp_min;
    return source->n_blocks ? source->blocks[0].timestamp_min : 0;
}

int fp_log_source_new(fp_log_source **out, const fp_format *format, fp_log_file *file,
                      const char *path, const fp_schema *schema, fp_log_contents *contents,
                      uint64_t file_bytes, facpool_error *err)
{
    fp_log_source *source = fp_alloc_zero(NULL, 1, sizeof *source);
    if (!source)
        return fp_fail_nomem(err, sizeof *source);
    fp_source *base = &source->base;
    base->type = format->source_type;
    base->zero_copy = format->zero_copy;
    atomic_init(&base->references, 1);
    atomic_init(&source->view, NULL);
    source->format = format;
    source->file = fp_log_file_hold(file);
    base->path = fp_strdup(NULL, path);
    base->blocks = fp_log_index_blocks(&contents->index, &base->n_pages);
    int rc = 0;
    if (!base->path || !base->blocks)
        rc = fp_fail_nomem(err, contents->index.n * sizeof *base->blocks);
    if (!rc)
        rc = fp_schema_copy(&base->schema, schema, err);
    if (rc) {
        fp_log_source_free(base);
        return rc;
    }
    base->n_blocks = contents->index.n;
    base->end = contents->end;
    base->n_damaged = contents->counts.damaged;
    base->tail_bytes = file_bytes - contents->end;
    base->may_repeat = contents->lost_index;
    base->schema.row_us = format->lines ? time_of_a_row(base) : 0;
    source->contents = *contents;
    source->file_bytes = file_bytes;
    *out = source;
    return 0;
}

static int open_anew(fp_log_source **out, const char *path, bool trust_index, facpool_error *err)
{
    const fp_format *format;
    fp_log_file *file;
    int rc = fp_log_file_open(&file, &format, path, err);
    if (rc)
        return rc;
    fp_window window = {0};
    fp_schema schema = {0};
    fp_log_contents contents = {0};
    uint64_t header_end;
    rc = fp_window_init(&window, &file->file, OPEN_AHEAD_BYTES, err);
    if (!rc)
        rc = format->parse_header(&window, &schema, &header_end, err);
    if (!rc) {
        fp_place place = {.window = &window, .schema = &schema, .header_end = header_end};
        rc = fp_log_find_contents(format, &place, trust_index, &contents, err);
    }
    if (!rc)
        rc = fp_log_source_new(out, format, file, path, &schema, &contents, window.size, err);
    if (rc)
        fp_log_contents_free(&contents);
    fp_schema_free(&schema);
    fp_window_free(&window);
    fp_log_file_release(file);
    return rc;
}

/* Whether the last block of an older snapshot is still what it was: a writer that had to cut a
 * block off again may have put another in its place. */
static int is_still_there(const fp_log_source *old, const fp_place *place, bool *is,
                          facpool_error *err)
{
    *is = place->window->size >= old->contents.end;
    size_t n = old->contents.index.n;
    if (!*is || n == 0)
        return 0;
    return fp_log_find_entry(old->format, place, &old->contents.index, n - 1, is, err);
}

static int walk_on(fp_log_source **out, const fp_log_source *old, const fp_place *place,
                   facpool_error *err)
{
    fp_log_contents contents = old->contents;
    int rc = fp_log_index_copy(&contents.index, &old->contents.index, err);
    if (rc)
        return rc;
    if (old->format->lines && contents.counts.damaged)
        rc = fp_log_recount_bad_lines(old->format, place, &contents, err);
    if (!rc)
        rc = fp_log_walk(old->format, place, true, &contents, err);
    if (!rc)
        rc = fp_log_source_new(out, old->format, old->file, old->base.path, &old->base.schema,
                               &contents, place->window->size, err);
    if (rc)
        fp_log_contents_free(&contents);
    return rc;
}

/* *out stays NULL where the older snapshot is of no use. */
static int open_from(fp_log_source **out, fp_log_source *old, facpool_error *err)
{
    bool may_be_mended = old->format->lines && old->contents.counts.damaged;
    fp_window window;
    int rc = fp_window_init(&window, &old->file->file, OPEN_AHEAD_BYTES, err);
    if (rc)
        return rc;
    if (window.size == old->contents.end && window.size == old->file_bytes && !may_be_mended) {
        *out = (fp_log_source *)fp_source_hold(&old->base);
        return 0;
    }
    fp_place place = {
        .window = &window, .schema = &old->base.schema, .header_end = old->contents.header_end};
    bool is = false;
    rc = is_still_there(old, &place, &is, err);
    if (!rc && is)
        rc = walk_on(out, old, &place, err);
    fp_window_free(&window);
    return rc;
}

int fp_log_source_open(fp_log_source **out, const char *path, const fp_source *previous,
                       bool trust_index, facpool_error *err)
{
    fp_log_source *found = NULL;
    if (previous && previous->type->free == fp_log_source_free) {
        /* Snapshots are shared and counted: holding one again changes nothing that is const. */
        fp_log_source *old = (fp_log_source *)(uintptr_t)previous;
        int rc = strcmp(old->base.path, path) == 0 && fp_file_is_at(&old->file->file, path)
                     ? open_from(&found, old, err)
                     : 0;
        if (rc)
            return rc;
    }
    if (!found) {
        int rc = open_anew(&found, path, trust_index, err);
        if (rc)
            return rc;
    }
    *out = found;
    return 0;
}
