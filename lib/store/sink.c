/* The registry of formats, and the doors to every store: opening a sink under the three modes,
 * opening a source, whole-file work. Called by run, query and the public file calls; the file
 * itself is handled by the file log. */
#include "store/sink.h"

#include "base/alloc.h"
#include "base/error.h"
#include "os/file.h"
#include "store/file_log.h"

#include <string.h>

/* A new file format goes here, and nowhere else. */
static const fp_format *const formats[] = {&fp_format_binary};

#define N_FORMATS (sizeof formats / sizeof *formats)

/* Names and suffixes that are spoken for: a file of that name must not become something else. */
static const struct {
    const char *name;
    const char *suffix;
} reserved_formats[] = {{"json", ".jsonl"}, {"memory_map", ".arrow"}};

#define N_RESERVED (sizeof reserved_formats / sizeof *reserved_formats)

/* Openers that lose a race look again; so often only something else than a race makes them lose. */
#define OPEN_ATTEMPTS 16

/* ------------------------------------------------------------------ which format */

static bool ends_in(const char *path, const char *suffix)
{
    size_t length = strlen(path);
    size_t suffix_length = strlen(suffix);
    return length > suffix_length && strcmp(path + length - suffix_length, suffix) == 0;
}

const fp_format *fp_format_named(const char *name)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

const fp_format *fp_format_of_bytes(const uint8_t *first, size_t n)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (formats[i]->probe(first, n))
            return formats[i];
    return NULL;
}

static int unknown_format(const char *name, facpool_error *err)
{
    for (size_t i = 0; i < N_RESERVED; i++)
        if (strcmp(reserved_formats[i].name, name) == 0)
            return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                           "format '%s' is not in this version: use '%s'", name, formats[0]->name);
    return fp_fail(err, FACPOOL_E_INVALID, "there is no format '%s': use '%s'", name,
                   formats[0]->name);
}

/* For a new file: what is asked for by name, else what the path's suffix says, else binary. */
static int choose_format(const fp_format **out, const facpool_backup_options *options,
                         facpool_error *err)
{
    if (options->format) {
        const fp_format *named = fp_format_named(options->format);
        if (!named)
            return unknown_format(options->format, err);
        *out = named;
        return 0;
    }
    for (size_t i = 0; i < N_RESERVED; i++)
        if (ends_in(options->path, reserved_formats[i].suffix))
            return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                           "'%s' asks by its suffix for format '%s', which is not in this version: "
                           "use suffix '%s', or name format '%s'",
                           options->path, reserved_formats[i].name, formats[0]->suffix,
                           formats[0]->name);
    *out = formats[0];
    for (size_t i = 0; i < N_FORMATS; i++)
        if (ends_in(options->path, formats[i]->suffix))
            *out = formats[i];
    return 0;
}

static int check_options(const facpool_backup_options *o, facpool_error *err)
{
    if (!o->path || !*o->path)
        return fp_fail(err, FACPOOL_E_INVALID, "a backup needs a path: none is given");
    if (o->mode < 0 || o->mode > FACPOOL_MODE_OVERWRITE)
        return fp_fail(err, FACPOOL_E_INVALID, "mode is %d: give one of FACPOOL_MODE_*",
                       (int)o->mode);
    if (o->durability < 0 || o->durability > FACPOOL_DURABILITY_BATCH)
        return fp_fail(err, FACPOOL_E_INVALID, "durability is %d: give one of FACPOOL_DURABILITY_*",
                       (int)o->durability);
    if (o->compression_level > 19)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "compression_level is %d: give 1 to 19, 0 for the default, or a negative "
                       "one for no zstd",
                       (int)o->compression_level);
    if (o->format && !fp_format_named(o->format))
        return unknown_format(o->format, err);
    return 0;
}

/* ------------------------------------------------------------------ opening for writing */

/* One attempt at opening: what each step needs to know. */
typedef struct opener {
    const facpool_backup_options *options;
    const fp_schema *wanted;
    fp_sink **out;
    fp_sink_opening *opening;
    bool again; /* another process was faster: look again */
} opener;

static int create(opener *o, bool replace, facpool_error *err)
{
    fp_log_settings settings = {.path = o->options->path,
                                .durability = o->options->durability,
                                .compression_level = o->options->compression_level};
    int rc = choose_format(&settings.format, o->options, err);
    if (rc)
        return rc;
    rc = fp_log_create(o->out, &settings, o->wanted, replace, err);
    if (rc == FACPOOL_E_EXISTS)
        o->again = true;
    return rc;
}

/* A file of ours that is open and locked. */
static int resume(opener *o, fp_file *file, const fp_format *format, facpool_error *err)
{
    const char *name = o->options->format;
    if (name && strcmp(name, format->name) != 0)
        return fp_fail(err, FACPOOL_E_MISMATCH,
                       "'%s' is a backup of format '%s', not '%s': resume it as what it is, or "
                       "choose another path",
                       o->options->path, format->name, name);
    fp_log_settings settings = {.format = format,
                                .path = o->options->path,
                                .durability = o->options->durability,
                                .compression_level = o->options->compression_level};
    return fp_log_resume(o->out, &settings, file, o->wanted, o->opening, err);
}

/* An existing file, opened for writing. An empty one counts as absent: a power loss can leave it.
 */
static int claim(opener *o, fp_file *file, facpool_error *err)
{
    const char *path = o->options->path;
    const fp_format *format;
    bool is_empty;
    int rc = fp_log_probe(file, path, &format, &is_empty, err);
    if (rc)
        return rc;
    rc = fp_file_lock(file, err);
    if (rc)
        return rc;
    if (!fp_file_is_at(file, path)) {
        o->again = true; /* replaced while this one was being locked */
        return fp_fail(err, FACPOOL_E_BUSY, "'%s' keeps being replaced by other processes", path);
    }
    if (is_empty || o->options->mode == FACPOOL_MODE_OVERWRITE)
        return create(o, true, err);
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
        rc =
            fp_fail(err, FACPOOL_E_EXISTS,
                    "'%s' is there already: resume it, overwrite it, or choose another path", path);
    return rc;
}

static int open_once(opener *o, facpool_error *err)
{
    o->again = false;
    const char *path = o->options->path;
    int32_t mode = o->options->mode ? o->options->mode : FACPOOL_MODE_CREATE;
    int rc = mode == FACPOOL_MODE_CREATE ? refuse_existing(path, err) : 0;
    if (rc)
        return rc;
    fp_file file;
    rc = fp_file_open(&file, path, true, err);
    if (rc == FACPOOL_E_NOT_FOUND)
        return create(o, false, err);
    if (rc)
        return rc;
    rc = claim(o, &file, err);
    fp_file_close(&file);
    return rc;
}

/* A backup may be given by a symbolic link: it is the file behind it that is replaced, locked and
 * written, never the link. */
int fp_sink_open(fp_sink **out, const facpool_backup_options *given, const fp_schema *wanted,
                 fp_sink_opening *opening, facpool_error *err)
{
    char *path = NULL;
    int rc = check_options(given, err);
    if (!rc)
        rc = fp_path_resolve(&path, given->path, err);
    if (rc)
        return rc;
    facpool_backup_options options = *given;
    options.path = path;
    fp_sink_opening found = {0};
    fp_sink *sink = NULL;
    opener o = {.options = &options, .wanted = wanted, .out = &sink, .opening = &found};
    facpool_error cause = FACPOOL_ERROR_INIT; /* what an attempt met that was overcome is no news */
    for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        rc = open_once(&o, &cause);
        if (!rc || !o.again)
            break;
    }
    fp_free(NULL, path);
    if (rc)
        return fp_error_copy(err, &cause);
    *out = sink;
    if (opening)
        *opening = found;
    return 0;
}

/* ------------------------------------------------------------------ reading, whole files */

int fp_source_open(fp_source **out, const char *path, const fp_source *previous, facpool_error *err)
{
    fp_log_source *source;
    int rc = fp_log_source_open(&source, path, previous, true, err);
    if (!rc)
        *out = &source->base;
    return rc;
}

int fp_store_verify(const char *path, facpool_verify_report *report, facpool_error *err)
{
    return fp_log_verify(path, report, err);
}

/* Opening for writing does what is to be repaired, and closing writes the index. */
int fp_store_repair(const char *path, facpool_verify_report *report, facpool_error *err)
{
    facpool_verify_report found = FACPOOL_VERIFY_REPORT_INIT;
    fp_file file;
    int rc = fp_file_open(&file, path, true, err);
    if (rc)
        return rc;
    const fp_format *format = NULL;
    bool is_empty;
    rc = fp_log_probe(&file, path, &format, &is_empty, err);
    if (!rc && is_empty)
        rc = fp_fail(err, FACPOOL_E_UNSUPPORTED, "'%s' is empty: nothing to repair", path);
    if (!rc)
        rc = fp_file_lock(&file, err);
    if (!rc)
        rc = fp_log_verify(path, &found, err);
    if (rc == FACPOOL_E_CORRUPT && found.damaged_blocks)
        rc = 0; /* what the report is for */
    if (!rc) {
        fp_log_settings settings = {.format = format, .path = path};
        fp_sink_opening opening = {0};
        fp_sink *sink;
        rc = fp_log_resume(&sink, &settings, &file, NULL, &opening, err);
        if (!rc)
            rc = sink->type->close(sink, err);
    }
    fp_file_close(&file);
    if (rc)
        return rc;
    found.closed = 1;
    *report = found;
    return 0;
}
