/* Opening a file for writing: making a new one under a temporary name and publishing it whole, or
 * taking over one that is there, cutting off its torn tail and, for who computes it again, giving up
 * what is damaged. Called by the file sink, which has chosen the format and applied the mode. It
 * appends no rows. */
#include "store/file_log.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

#define DEFAULT_COMPRESSION_LEVEL 1
#define OPEN_AHEAD_BYTES          ((size_t)64 << 10)
#define BLANK_LINE_BYTES          4096 /* less than the longest row of any schema */

void fp_log_free(fp_log *log)
{
    while (log->idle_encoders) {
        fp_encoder *encoder = log->idle_encoders;
        log->idle_encoders = encoder->next;
        log->format->free_encoder(encoder);
    }
    fp_log_contents_free(&log->contents);
    fp_log_file_release(log->reading);
    if (log->hidden)
        fp_file_discard(&log->file);
    fp_file_close(&log->file);
    fp_file_close(&log->victim);
    fp_free(NULL, log->hidden);
    fp_schema_free(&log->schema);
    if (log->lock_ready)
        fp_lock_destroy(&log->lock);
    fp_free(NULL, log);
}

static int log_new(fp_log **out, const fp_log_settings *settings, facpool_error *err)
{
    fp_log *log = fp_alloc_zero(NULL, 1, sizeof *log);
    if (!log)
        return fp_fail_nomem(err, sizeof *log);
    log->format = settings->format;
    log->file = (fp_file)FP_FILE_CLOSED;
    log->victim = (fp_file)FP_FILE_CLOSED;
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
    int rc = fp_log_file_open_known(&log->reading, path, err);
    if (rc)
        return rc;
    if (!fp_file_is_at(&log->file, path) || !fp_file_is_at(&log->reading->file, path))
        return fp_fail(err, FACPOOL_E_BUSY,
                       "'%s' was replaced by another process while it was opened: try again", path);
    return 0;
}

/* A file of lines has no place for an id: zeros, which say that it is not known. */
static int name_file(fp_schema *schema, const fp_format *format, const fp_schema *wanted,
                     bool keep_identity, facpool_error *err)
{
    int rc = fp_schema_copy(schema, wanted, err);
    if (!rc && format->lines)
        memset(schema->file_id, 0, sizeof schema->file_id);
    else if (!rc && !keep_identity)
        rc = fp_random(schema->file_id, sizeof schema->file_id, err);
    if (!rc && !keep_identity)
        schema->created_us = fp_clock_wall_us();
    return rc;
}

/* Writes the header into a file that nobody sees yet and that is locked before anyone can. */
static int write_header(fp_log *log, const char *path, const fp_file *victim, facpool_error *err)
{
    fp_buffer header = {0};
    int rc = log->format->encode_header(&log->schema, &header, err);
    if (!rc)
        rc = victim ? fp_file_create_temp_like(&log->file, path, victim, err)
                    : fp_file_create_temp(&log->file, path, err);
    if (rc) {
        fp_buffer_free(&header);
        return rc;
    }
    rc = fp_file_lock(&log->file, err);
    if (!rc)
        rc = fp_file_write(&log->file, header.data, header.size, 0, err);
    if (rc)
        fp_file_discard(&log->file);
    log->contents.header_end = header.size;
    log->contents.end = header.size;
    log->contents.durable_end = header.size;
    fp_buffer_free(&header);
    return rc;
}

/* A file gets its name when its header is on the disk: there is no moment at which a reader or
 * another writer finds half of it. */
static int publish_now(fp_log *log, const char *path, bool replace, facpool_error *err)
{
    int rc = fp_file_sync(&log->file, err);
    if (!rc)
        rc = fp_file_publish(&log->file, path, replace, err);
    if (rc)
        fp_file_discard(&log->file);
    return rc ? rc : open_reading(log, path, err);
}

/* Takes note of the name that the file is to get. */
static int publish_later(fp_log *log, const char *path, fp_file *victim, facpool_error *err)
{
    log->hidden = fp_strdup(NULL, path);
    if (!log->hidden) {
        fp_file_discard(&log->file);
        return fp_fail_nomem(err, strlen(path) + 1);
    }
    log->replaces = victim != NULL;
    if (victim) {
        log->victim = *victim;
        *victim = (fp_file)FP_FILE_CLOSED;
    }
    return 0;
}

int fp_log_create(fp_log **out, const fp_log_settings *settings, const fp_schema *wanted,
                  fp_file *victim, facpool_error *err)
{
    fp_log *log = NULL;
    int rc = log_new(&log, settings, err);
    if (rc)
        return rc;
    rc = name_file(&log->schema, log->format, wanted, settings->keep_identity, err);
    if (!rc)
        rc = write_header(log, settings->path, victim, err);
    bool later = settings->hidden || (settings->waits && victim);
    if (!rc)
        rc = later ? publish_later(log, settings->path, victim, err)
                   : publish_now(log, settings->path, victim != NULL, err);
    if (rc) {
        fp_log_free(log);
        return rc;
    }
    *out = log;
    return 0;
}

/* Opens the file for snapshots under the name that it is to get. */
static int open_hidden(fp_log *log, facpool_error *err)
{
    char *name = fp_strdup(NULL, log->hidden);
    if (!name)
        return fp_fail_nomem(err, strlen(log->hidden) + 1);
    int rc = fp_log_file_open_known(&log->reading, log->file.path, err);
    if (rc) {
        fp_free(NULL, name);
        return rc;
    }
    fp_free(NULL, log->reading->file.path);
    log->reading->file.path = name;
    return 0;
}

int fp_log_appear(fp_log *log, facpool_error *err)
{
    if (!log->hidden)
        return 0;
    int rc = open_hidden(log, err);
    if (!rc)
        rc = fp_file_sync(&log->file, err);
    fp_lock_enter(&log->lock);
    if (!rc)
        rc = fp_log_publish(log, err);
    fp_lock_leave(&log->lock);
    if (!rc)
        fp_file_close(&log->victim);
    return rc;
}

/* A newline now and then: a line that is longer than any row is never called blank. */
int fp_log_blank(const fp_file *file, uint64_t offset, uint64_t n, facpool_error *err)
{
    char blanks[BLANK_LINE_BYTES];
    memset(blanks, ' ', sizeof blanks);
    blanks[sizeof blanks - 1] = '\n';
    int rc = 0;
    for (uint64_t done = 0; !rc && done < n; done += sizeof blanks) {
        uint64_t left = n - done;
        size_t step = left < sizeof blanks ? (size_t)left : sizeof blanks;
        rc = fp_file_write(file, blanks, step, offset + done, err);
    }
    return rc;
}

void fp_log_write_again(const fp_file *file, uint64_t from, uint64_t end)
{
    uint8_t piece[16384];
    facpool_error untold = FACPOOL_ERROR_INIT; /* the sync's error is the one that counts */
    size_t got = 0;
    for (; from < end; from += got) {
        size_t wanted = end - from < sizeof piece ? (size_t)(end - from) : sizeof piece;
        if (fp_file_read(file, piece, wanted, from, &got, &untold) || got == 0 ||
            fp_file_write(file, piece, got, from, &untold))
            return;
    }
}

/* A file of lines may end within its first row: then there is nothing in it to go by, and nothing
 * to lose. The error of reading its header stands where it is something else. */
static int take_over_beginning(fp_log *log, fp_window *window, const fp_schema *wanted,
                               facpool_error *err)
{
    fp_place place = {.window = window, .schema = wanted};
    bool is_beginning = false;
    int rc = log->format->lines->is_beginning(&place, &is_beginning, err);
    if (!rc)
        rc = is_beginning ? name_file(&log->schema, log->format, wanted, false, err)
                          : FACPOOL_E_CORRUPT;
    return rc;
}

/* Finds the blocks, and for one who goes on writing (wanted is given) what is damaged. Where an
 * index is lost, it may have given blocks up whose rows are there again: damaged ones are not
 * listed any more, only counted. */
static int take_over_blocks(fp_log *log, const fp_place *place, bool goes_on, facpool_error *err)
{
    fp_log_contents *contents = &log->contents;
    int rc = fp_log_find_contents(log->format, place, true, contents, err);
    if (rc || !goes_on || log->format->lines)
        return rc;
    rc = fp_log_find_damaged(log->format, place, contents, err);
    if (!rc && contents->lost_index) {
        contents->counts.damaged += fp_log_take_off_damaged(contents, NULL);
        contents->closed = false;
    }
    return rc;
}

/* Reads the header, compares it with what is wanted, and finds the blocks. */
static int take_over(fp_log *log, const char *path, const fp_schema *wanted, uint64_t *file_bytes,
                     facpool_error *err)
{
    fp_window window;
    int rc = fp_window_init(&window, &log->file, OPEN_AHEAD_BYTES, err);
    if (rc)
        return rc;
    fp_schema *schema = &log->schema;
    uint64_t header_end;
    rc = log->format->parse_header(&window, schema, &header_end, err);
    if (rc == FACPOOL_E_CORRUPT && log->format->lines && wanted) {
        rc = take_over_beginning(log, &window, wanted, err);
    } else {
        if (!rc && wanted)
            rc = fp_schema_match_factors(schema, wanted, path, err);
        if (!rc && wanted)
            rc = fp_schema_match_tag(schema, wanted, path, err);
        fp_place place = {.window = &window, .schema = schema, .header_end = header_end};
        if (!rc)
            rc = take_over_blocks(log, &place, wanted != NULL, err);
    }
    *file_bytes = window.size;
    fp_window_free(&window);
    return rc;
}

/* Cuts off the torn tail, before anything is appended where it was. What a killed writer left is
 * in the kernel, not yet on the disk: syncing makes all of it durable, and known to be; its name,
 * too, which a writer may have given just before it was killed. */
static int settle(fp_log *log, const char *path, uint64_t file_bytes, facpool_error *err)
{
    uint64_t end = log->contents.end;
    bool has_tail = file_bytes > end;
    bool syncs = has_tail || log->durability != FACPOOL_DURABILITY_NONE;
    int rc = has_tail ? fp_file_truncate(&log->file, end, err) : 0;
    if (!rc && syncs) {
        rc = fp_file_sync(&log->file, err);
        if (rc)
            fp_log_write_again(&log->file, log->contents.durable_end, end);
    }
    if (!rc)
        rc = fp_file_sync_name(path, err);
    if (!rc && syncs)
        log->contents.durable_end = end;
    return rc;
}

int fp_log_resume(fp_log **out, const fp_log_settings *settings, fp_file *file,
                  const fp_schema *wanted, fp_log_findings *findings, facpool_error *err)
{
    fp_log *log = NULL;
    int rc = log_new(&log, settings, err);
    if (rc)
        return rc;
    log->file = *file;
    uint64_t file_bytes = 0, end;
    rc = take_over(log, settings->path, wanted, &file_bytes, err);
    end = log->contents.end;
    log->begun_at = end;
    if (!rc)
        rc = settle(log, settings->path, file_bytes, err);
    if (!rc)
        rc = open_reading(log, settings->path, err);
    if (rc) {
        log->file = (fp_file)FP_FILE_CLOSED; /* still the caller's */
        fp_log_free(log);
        return rc;
    }
    *file = (fp_file)FP_FILE_CLOSED;
    findings->damaged_blocks = fp_log_n_damaged(&log->contents);
    findings->tail_bytes_cut = file_bytes - end;
    *out = log;
    return 0;
}

/* ------------------------------------------------------------------ giving up what is damaged */

static int blank_line(void *to, uint64_t offset, uint64_t bytes, facpool_error *err)
{
    fp_log *log = to;
    log->contents.counts.given_up++;
    if (log->contents.durable_end > offset)
        log->contents.durable_end = offset; /* for the next sync */
    return fp_log_blank(&log->file, offset, bytes, err);
}

/* Damaged lines are blanked, so that other programs can read the file: the one thing that is ever
 * overwritten in a file. */
static int blank_bad_lines(fp_log *log, facpool_error *err)
{
    fp_log_contents *contents = &log->contents;
    fp_window window;
    if (contents->counts.damaged == 0)
        return 0;
    int rc = fp_window_init(&window, &log->file, OPEN_AHEAD_BYTES, err);
    if (rc)
        return rc;
    fp_place place = {
        .window = &window, .schema = &log->schema, .header_end = contents->header_end};
    rc = log->format->lines->each_bad_line(&place, 0, contents->end, blank_line, log, err);
    fp_window_free(&window);
    if (!rc)
        contents->counts.damaged = 0;
    return rc;
}

/* An index block without them takes damaged blocks off the list for good. */
static void take_off_damaged(fp_log_contents *contents, const uint8_t *blocks)
{
    uint64_t n = fp_log_take_off_damaged(contents, blocks);
    if (!blocks) {
        n += contents->counts.damaged;
        contents->counts.damaged = 0;
    }
    contents->counts.given_up += n;
    contents->closed = contents->closed && n == 0;
}

int fp_log_give_up(fp_log *log, const uint8_t *blocks, uint64_t *n_left, facpool_error *err)
{
    fp_lock_enter(&log->lock);
    uint64_t n_before = log->contents.counts.given_up;
    int rc = 0;
    if (!log->format->lines)
        take_off_damaged(&log->contents, blocks);
    else if (!blocks)
        rc = blank_bad_lines(log, err);
    if (!rc && log->contents.counts.given_up != n_before)
        rc = fp_log_end_well(log, err);
    *n_left = fp_log_n_damaged(&log->contents);
    fp_lock_leave(&log->lock);
    return rc;
}
