/* All file formats as one sink: the table of facpool/sink.h over the file log. Opening a file under
 * the three modes is here: finding what is there, locking it, making or continuing it. Called by
 * sink.c only through the table. */
#include "store/file_log.h"
#include "store/sink_batch.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

/* Openers that lose a race look again; so often only something else than a race makes them lose. */
#define OPEN_ATTEMPTS 16

/* How much of a file tells whose it is. */
#define LOOK_BYTES ((size_t)64 << 10)

/* What a state is: a file being written, or a path to be read. */
typedef struct file_state {
    fp_log *log;
    char *path; /* links followed, where it is written */
} file_state;

/* One attempt at opening for writing: what each step needs to know. */
typedef struct opener {
    const facpool_sink_request *request;
    const fp_file_choice *choice;
    const char *path;
    fp_schema wanted;
    fp_log *log;
    bool existed;
    fp_log_findings findings;
    bool again; /* another process was faster: look again */
} opener;

/* ------------------------------------------------------------------ opening for writing */

static fp_log_settings settings_of(const opener *o, const fp_format *format)
{
    return (fp_log_settings){.format = format,
                             .path = o->path,
                             .durability = o->request->durability,
                             .compression_level = o->request->compression_level,
                             .hidden = o->choice->hidden,
                             .waits = o->choice->waits,
                             .keep_identity = o->choice->identity != NULL};
}

static int create(opener *o, fp_file *victim, facpool_error *err)
{
    fp_log_settings settings = settings_of(o, o->choice->format);
    int rc = fp_log_create(&o->log, &settings, &o->wanted, victim, err);
    if (rc == FACPOOL_E_EXISTS)
        o->again = true;
    return rc;
}

/* A file of ours that is open and locked. */
static int resume(opener *o, fp_file *file, const fp_format *format, facpool_error *err)
{
    if (o->choice->named && o->choice->format != format)
        return fp_fail(err, FACPOOL_E_MISMATCH,
                       "'%s' is a backup of format '%s', not '%s': resume it as what it is, or "
                       "choose another path",
                       o->path, format->name, o->choice->format->name);
    fp_log_settings settings = settings_of(o, format);
    int rc = fp_log_resume(&o->log, &settings, file, &o->wanted, &o->findings, err);
    o->existed = !rc;
    return rc;
}

/* A file that only looks like a backup is somebody's data. */
static int refuse_foreign(const opener *o, const fp_file *file, const fp_format *format,
                          facpool_error *err)
{
    bool has_row = false;
    int rc = 0;
    if (format->lines)
        rc = format->lines->has_row(file, &has_row, err);
    if (rc || has_row || !format->is_foreign)
        return rc;
    uint8_t *first = fp_alloc(NULL, LOOK_BYTES);
    if (!first)
        return fp_fail_nomem(err, LOOK_BYTES);
    size_t got;
    rc = fp_file_read(file, first, LOOK_BYTES, 0, &got, err);
    if (!rc && format->is_foreign(first, got))
        rc = fp_fail(err, FACPOOL_E_UNSUPPORTED,
                     "'%s' is a file of another program, no facpool backup, and was left as it is: "
                     "remove it, or give another path",
                     o->path);
    fp_free(NULL, first);
    return rc;
}

static int fail_exists(const char *path, facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_EXISTS,
                   "'%s' is there already: resume it, overwrite it, or choose another path", path);
}

/* A line without its end, blank lines before it or not. */
static bool is_begun_line(const uint8_t *bytes, size_t n)
{
    size_t line = n;
    while (line > 0 && bytes[line - 1] != '\n')
        line--;
    while (line > 0 && (bytes[line - 1] == ' ' || bytes[line - 1] == '\n'))
        line--;
    return line == 0;
}

/* Whether there are only zeros, or zeros behind what begins as the format's first line does: all
 * that a power loss can leave of a file of lines of which nothing was durable, where its length was
 * on the disk before its bytes. */
static int is_lost_beginning(const fp_format *format, const fp_file *file, bool *is,
                             facpool_error *err)
{
    fp_window window = {0};
    const uint8_t *bytes;
    uint64_t end = 0;
    size_t n = 0;
    int rc = fp_window_init(&window, file, LOOK_BYTES, err);
    if (!rc)
        rc = fp_window_get(&window, 0, LOOK_BYTES, &bytes, &n, err);
    if (!rc) {
        const uint8_t *zero = n ? memchr(bytes, 0, n) : NULL; /* lines have none */
        size_t length = zero ? (size_t)(zero - bytes) : n;
        *is = is_begun_line(bytes, length) && (length == 0 || format->probe(bytes, length));
        rc = fp_window_skip_zeros(&window, length, &end, err);
    }
    *is = *is && end == window.size;
    fp_window_free(&window);
    return rc;
}

/* What is in an existing file that is locked. In files of blocks the header is on the disk before
 * the file has its name: zeros are none of them. */
static int find_format(const opener *o, const fp_file *file, const fp_format **format,
                       bool *is_empty, facpool_error *err)
{
    facpool_error cause = FACPOOL_ERROR_INIT;
    bool is_lost = false;
    int rc = fp_log_probe(file, o->path, format, is_empty, &cause);
    if (rc == FACPOOL_E_UNSUPPORTED && o->choice->format->lines) {
        int looked = is_lost_beginning(o->choice->format, file, &is_lost, err);
        if (looked)
            return looked;
    }
    if (rc && !is_lost)
        return fp_error_copy(err, &cause);
    if (is_lost) {
        *format = o->choice->format;
        *is_empty = false;
    }
    return 0;
}

/* Whether it is worth locking: what is no backup may be the zeros of one. */
static int glance(const opener *o, const fp_file *file, const fp_format **format, bool *is_sure,
                  facpool_error *err)
{
    facpool_error cause = FACPOOL_ERROR_INIT;
    bool is_empty = false;
    int rc = fp_log_probe(file, o->path, format, &is_empty, &cause);
    *is_sure = !rc && !is_empty;
    if (rc == FACPOOL_E_UNSUPPORTED && o->choice->format->lines)
        return 0;
    return rc ? fp_error_copy(err, &cause) : 0;
}

/* An existing file, opened for writing. An empty one counts as absent: a power loss can leave it.
 */
static int claim(opener *o, fp_file *file, facpool_error *err)
{
    const fp_format *format;
    bool is_empty = false, is_sure = false;
    int rc = glance(o, file, &format, &is_sure, err);
    if (rc)
        return rc;
    rc = fp_file_lock(file, err);
    if (rc)
        return rc;
    if (!fp_file_is_at(file, o->path)) {
        o->again = true; /* replaced while this one was being locked */
        return fp_fail(err, FACPOOL_E_BUSY, "'%s' keeps being replaced by other processes",
                       o->path);
    }
    if (!is_sure) /* empty, or was before another writer let go of it; or perhaps lost */
        rc = find_format(o, file, &format, &is_empty, err);
    if (rc)
        return rc;
    if (is_empty)
        return create(o, file, err);
    if (o->request->mode == FACPOOL_MODE_CREATE)
        return fail_exists(o->path, err);
    if (o->request->mode == FACPOOL_MODE_OVERWRITE) {
        rc = refuse_foreign(o, file, format, err);
        return rc ? rc : create(o, file, err);
    }
    return resume(o, file, format, err);
}

/* Create mode never opens a backup that is there for writing, so that a read-only one gets the
 * answer that fits. */
static int refuse_existing(const char *path, facpool_error *err)
{
    fp_file file;
    int rc = fp_file_open(&file, path, false, err);
    if (rc)
        return rc == FACPOOL_E_NOT_FOUND ? 0 : rc;
    uint64_t size;
    rc = fp_file_size(&file, &size, err);
    fp_file_close(&file);
    if (!rc && size > 0)
        rc = fail_exists(path, err);
    return rc;
}

static int open_once(opener *o, facpool_error *err)
{
    o->again = false;
    int rc = o->request->mode == FACPOOL_MODE_CREATE ? refuse_existing(o->path, err) : 0;
    if (rc)
        return rc;
    fp_file file;
    rc = fp_file_open(&file, o->path, true, err);
    if (rc == FACPOOL_E_NOT_FOUND)
        return create(o, NULL, err);
    if (rc)
        return rc;
    rc = claim(o, &file, err);
    fp_file_close(&file);
    return rc;
}

static int make_schema(const facpool_sink_request *request, const fp_file_choice *choice,
                       fp_schema *out, facpool_error *err)
{
    int rc = fp_schema_init(out, request->n_factors, request->factor_names, request->tag, err);
    if (!rc && choice->identity) {
        memcpy(out->file_id, choice->identity->file_id, sizeof out->file_id);
        out->created_us = choice->identity->created_us;
    }
    return rc;
}

/* A backup may be given by a symbolic link: it is the file behind it that is replaced, locked and
 * written, never the link. */
static int open_writing(file_state *state, const facpool_sink_request *request,
                        facpool_sink_opening *opening, facpool_error *err)
{
    int rc = fp_path_resolve(&state->path, request->path, err);
    if (rc)
        return rc;
    opener o = {.request = request, .choice = request->type->type_data, .path = state->path};
    rc = make_schema(request, o.choice, &o.wanted, err);
    if (rc)
        return rc;
    facpool_error cause = FACPOOL_ERROR_INIT; /* what an attempt met that was overcome is no news */
    for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        rc = open_once(&o, &cause);
        if (!rc || !o.again)
            break;
    }
    fp_schema_free(&o.wanted);
    if (rc)
        return fp_error_copy(err, &cause);
    state->log = o.log;
    opening->existed = o.existed;
    opening->damaged_blocks = o.findings.damaged_blocks;
    opening->tail_bytes_cut = o.findings.tail_bytes_cut;
    return 0;
}

/* ------------------------------------------------------------------ the table */

static void state_free(file_state *state)
{
    fp_free(NULL, state->path);
    fp_free(NULL, state);
}

static int file_open(void **out, const facpool_sink_request *request, facpool_sink_opening *opening,
                     facpool_error *err)
{
    file_state *state = fp_alloc_zero(NULL, 1, sizeof *state);
    if (!state)
        return fp_fail_nomem(err, sizeof *state);
    int rc = 0;
    if (request->purpose == FACPOOL_SINK_WRITE) {
        rc = open_writing(state, request, opening, err);
    } else {
        state->path = fp_strdup(NULL, request->path);
        rc = state->path ? 0 : fp_fail_nomem(err, strlen(request->path) + 1);
    }
    if (rc) {
        state_free(state);
        return rc;
    }
    *out = state;
    return 0;
}

static int file_append(void *at, const facpool_sink_batch *given, facpool_error *err)
{
    file_state *state = at;
    fp_codes codes;
    fp_batch batch;
    fp_batch_of_sink(&batch, &codes, given);
    return fp_log_append(state->log, &batch, err);
}

static int file_sync(void *at, facpool_error *err)
{
    file_state *state = at;
    return fp_log_sync(state->log, err);
}

static int file_close(void *at, facpool_error *err)
{
    file_state *state = at;
    int rc = state->log ? fp_log_close(state->log, err) : 0;
    state_free(state);
    return rc;
}

void fp_file_sink_discard(void *at)
{
    file_state *state = at;
    fp_log_free(state->log);
    state_free(state);
}

bool fp_file_sink_waits(const void *at, fp_schema *schema)
{
    const fp_log *log = ((const file_state *)at)->log;
    if (!log->hidden)
        return false;
    memcpy(schema->file_id, log->schema.file_id, sizeof schema->file_id);
    schema->created_us = log->schema.created_us;
    return true;
}

int fp_file_sink_appear(void *at, facpool_error *err)
{
    file_state *state = at;
    return fp_log_appear(state->log, err);
}

int fp_file_sink_give_up(void *at, const uint8_t *blocks, uint64_t *n_left, facpool_error *err)
{
    file_state *state = at;
    return fp_log_give_up(state->log, blocks, n_left, err);
}

static int file_scan(void *at, facpool_source *previous, facpool_source **out, facpool_error *err)
{
    file_state *state = at;
    if (state->log)
        return fp_log_source_of(state->log, out, err);
    fp_log_source *source;
    int rc = fp_log_source_open(&source, state->path, previous, true, err);
    if (!rc)
        *out = &source->base;
    return rc;
}

const facpool_sink_type fp_file_sink_type = {
    .size = sizeof(facpool_sink_type),
    .name = "file",
    .capabilities = FACPOOL_SINK_CONCURRENT_APPEND,
    .open = file_open,
    .append = file_append,
    .sync = file_sync,
    .close = file_close,
    .scan = file_scan,
};
