/* Opening a file for writing: making a new one under a temporary name and publishing it whole, or
 * taking over one that is there and cutting off its torn tail. Called by sink.c, which has chosen
 * the format and applied the mode. It appends nothing. */
#include "store/file_log.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

#define DEFAULT_COMPRESSION_LEVEL 1
#define OPEN_AHEAD_BYTES          ((size_t)64 << 10)

void fp_log_free(fp_log *log)
{
    while (log->idle_encoders) {
        fp_encoder *encoder = log->idle_encoders;
        log->idle_encoders = encoder->next;
        log->format->free_encoder(encoder);
    }
    fp_log_contents_free(&log->contents);
    fp_log_file_release(log->reading);
    fp_file_close(&log->file);
    fp_schema_free(&log->base.schema);
    if (log->lock_ready)
        fp_lock_destroy(&log->lock);
    fp_free(NULL, log);
}

static int log_new(fp_log **out, const fp_log_settings *settings, facpool_error *err)
{
    fp_log *log = fp_alloc_zero(NULL, 1, sizeof *log);
    if (!log)
        return fp_fail_nomem(err, sizeof *log);
    log->base.type = &fp_log_sink_type;
    log->format = settings->format;
    log->file = (fp_file)FP_FILE_CLOSED;
    log->durability = settings->durability ? settings->durability : FACPOOL_DURABILITY_GROUP;
    log->level = settings->compression_level;
    if (log->level == 0)
        log->level = DEFAULT_COMPRESSION_LEVEL;
    int rc = fp_lock_init(&log->lock, err);
    if (rc) {
        fp_log_free(log);
        return rc;
    }
    log->lock_ready = true;
    *out = log;
    return 0;
}

/* Opens the file a second time, for snapshots, which outlive the sink and must not keep its lock.
 */
static int open_reading(fp_log *log, const char *path, facpool_error *err)
{
    const fp_format *format;
    int rc = fp_log_file_open(&log->reading, &format, path, err);
    if (rc)
        return rc;
    if (!fp_file_is_at(&log->file, path) || !fp_file_is_at(&log->reading->file, path))
        return fp_fail(err, FACPOOL_E_BUSY,
                       "'%s' was replaced by another process while it was opened: try again", path);
    return 0;
}

static int name_file(fp_schema *schema, const fp_schema *wanted, facpool_error *err)
{
    int rc = fp_schema_copy(schema, wanted, err);
    if (!rc)
        rc = fp_random(schema->file_id, sizeof schema->file_id, err);
    schema->created_us = fp_clock_wall_us();
    return rc;
}

/* The header goes into a file that is locked before anyone can see it, and that gets its name when
 * it is on the disk: there is no moment at which a reader or another writer finds half of it. */
static int publish_header(fp_log *log, const char *path, bool replace, facpool_error *err)
{
    fp_buffer header = {0};
    int rc = log->format->encode_header(&log->base.schema, &header, err);
    if (!rc)
        rc = fp_file_create_temp(&log->file, path, err);
    if (rc)
        goto done;
    rc = fp_file_lock(&log->file, err);
    if (!rc)
        rc = fp_file_write(&log->file, header.data, header.size, 0, err);
    if (!rc)
        rc = fp_file_sync(&log->file, err);
    if (!rc)
        rc = fp_file_publish(&log->file, path, replace, err);
    if (rc)
        fp_file_discard(&log->file);
    log->contents.header_end = header.size;
    log->contents.end = header.size;
    log->contents.durable_end = header.size;
done:
    fp_buffer_free(&header);
    return rc;
}

int fp_log_create(fp_sink **out, const fp_log_settings *settings, const fp_schema *wanted,
                  bool replace, facpool_error *err)
{
    fp_log *log = NULL;
    int rc = log_new(&log, settings, err);
    if (rc)
        return rc;
    rc = name_file(&log->base.schema, wanted, err);
    if (!rc)
        rc = publish_header(log, settings->path, replace, err);
    if (!rc)
        rc = open_reading(log, settings->path, err);
    if (rc) {
        fp_log_free(log);
        return rc;
    }
    *out = &log->base;
    return 0;
}

/* Reads the header, compares it with what is wanted, and finds the blocks. One who goes on writing
 * (wanted is given) runs the tasks of damaged blocks again: those blocks must not be read any
 * more, or some of their rows would be there twice. */
static int take_over(fp_log *log, const char *path, const fp_schema *wanted, uint64_t *file_bytes,
                     uint64_t *n_given_up, facpool_error *err)
{
    fp_window window;
    int rc = fp_window_init(&window, &log->file, OPEN_AHEAD_BYTES, err);
    if (rc)
        return rc;
    fp_schema *schema = &log->base.schema;
    uint64_t header_end;
    rc = log->format->parse_header(&window, schema, &header_end, err);
    if (!rc && wanted)
        rc = fp_schema_match_factors(schema, wanted, path, err);
    if (!rc && wanted)
        rc = fp_schema_match_tag(schema, wanted, path, err);
    if (!rc) {
        fp_place place = {.window = &window, .schema = schema, .header_end = header_end};
        rc = fp_log_find_contents(log->format, &place, true, &log->contents, err);
        if (!rc && wanted)
            rc = fp_log_give_up_damaged(log->format, &place, &log->contents, n_given_up, err);
    }
    *file_bytes = window.size;
    fp_window_free(&window);
    return rc;
}

/* Cuts off the torn tail, before anything is appended where it was. What a killed writer left is
 * in the kernel, not yet on the disk: syncing makes all of it durable, and known to be. */
static int settle(fp_log *log, uint64_t file_bytes, facpool_error *err)
{
    uint64_t end = log->contents.end;
    bool has_tail = file_bytes > end;
    int rc = has_tail ? fp_file_truncate(&log->file, end, err) : 0;
    if (rc || (log->durability == FACPOOL_DURABILITY_NONE && !has_tail))
        return rc;
    rc = fp_file_sync(&log->file, err);
    if (!rc)
        log->contents.durable_end = end;
    return rc;
}

int fp_log_resume(fp_sink **out, const fp_log_settings *settings, fp_file *file,
                  const fp_schema *wanted, fp_sink_opening *opening, facpool_error *err)
{
    fp_log *log = NULL;
    int rc = log_new(&log, settings, err);
    if (rc)
        return rc;
    log->file = *file;
    uint64_t file_bytes = 0, n_given_up = 0, end;
    rc = take_over(log, settings->path, wanted, &file_bytes, &n_given_up, err);
    end = log->contents.end;
    if (!rc)
        rc = settle(log, file_bytes, err);
    if (!rc && n_given_up) {
        fp_lock_enter(&log->lock);
        rc = fp_log_end_well(log, err);
        fp_lock_leave(&log->lock);
    }
    if (!rc)
        rc = open_reading(log, settings->path, err);
    if (rc) {
        log->file = (fp_file)FP_FILE_CLOSED; /* still the caller's */
        fp_log_free(log);
        return rc;
    }
    *file = (fp_file)FP_FILE_CLOSED;
    opening->existed = true;
    opening->damaged_blocks = wanted ? n_given_up : log->contents.counts.damaged;
    opening->tail_bytes_cut = file_bytes - end;
    *out = &log->base;
    return 0;
}
