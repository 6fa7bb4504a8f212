/* Sinks around their tables: opening, handing batches over, group commit, counts. Called by run's
 * writer and by convert. It knows no format and no file. */
#include "store/sink.h"

#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "store/file_log.h"
#include "store/registry.h"
#include "store/sink_batch.h"

#include <string.h>

#define GROUP_NS    ((int64_t)100 * 1000000)
#define GROUP_BYTES ((uint64_t)64 << 20)

/* ------------------------------------------------------------------ opening */

static int check_options(const facpool_backup_options *o, facpool_error *err)
{
    if (!o->sink && (!o->path || !*o->path))
        return fp_fail(err, FACPOOL_E_INVALID, "a backup needs a path: none is given");
    if (o->sink && o->format)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "both a sink of the caller's own and format '%s' are given: give one",
                       o->format);
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
    return 0;
}

/* A table that lacks what every sink must have is refused before it is called. */
static int take_type(facpool_sink_type *out, const facpool_sink_type *given, bool for_writing,
                     facpool_error *err)
{
    facpool_sink_type type = {0};
    int rc = fp_abi_import(&type, sizeof type, given, "facpool_sink_type", err);
    if (rc)
        return rc;
    type.size = sizeof type;
    if (!type.name)
        type.name = "unnamed";
    bool writes = type.append && type.sync;
    if (!type.open || !type.close || (for_writing && !writes))
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the sink '%s' lacks %s: every sink has open, append, sync and close",
                       type.name,
                       !type.open     ? "open"
                       : !type.close  ? "close"
                       : !type.append ? "append"
                                      : "sync");
    *out = type;
    return 0;
}

static void sink_free(fp_sink *sink)
{
    fp_source_release(sink->found);
    if (sink->has_locks) {
        fp_lock_destroy(&sink->call);
        fp_lock_destroy(&sink->lock);
    }
    fp_schema_free(&sink->schema);
    fp_free(NULL, sink);
}

static int sink_new(fp_sink **out, const facpool_sink_type *type, const fp_schema *wanted,
                    int32_t durability, facpool_error *err)
{
    fp_sink *sink = fp_alloc_zero(NULL, 1, sizeof *sink);
    if (!sink)
        return fp_fail_nomem(err, sizeof *sink);
    sink->type = *type;
    sink->durability = durability;
    sink->concurrent = type->capabilities & FACPOOL_SINK_CONCURRENT_APPEND;
    int rc = fp_lock_init(&sink->call, err);
    if (!rc) {
        rc = fp_lock_init(&sink->lock, err);
        sink->has_locks = !rc;
        if (rc)
            fp_lock_destroy(&sink->call);
    }
    if (!rc)
        rc = fp_schema_copy(&sink->schema, wanted, err);
    if (rc) {
        sink_free(sink);
        return rc;
    }
    *out = sink;
    return 0;
}

/* A function of the table failed: whatever it says, the caller gets a code of ours and words. */
static int fail_call(const facpool_sink_type *type, const char *what, int rc,
                     const facpool_error *cause, facpool_error *err)
{
    if (rc > 0 || rc < FACPOOL_E_STATE)
        return fp_fail(err, FACPOOL_E_IO,
                       "%s of the sink '%s' returned %d: return 0 or a FACPOOL_E_* code", what,
                       type->name, rc);
    if (cause->code != rc || !cause->message[0])
        return fp_fail(err, rc, "%s of the sink '%s' failed without saying why: %s", what,
                       type->name, facpool_error_name(rc));
    return fp_error_copy(err, cause);
}

static int call_scan(const facpool_sink_type *type, void *state, fp_source *previous,
                     fp_source **out, facpool_error *err)
{
    fp_source *found = NULL;
    facpool_error cause = FACPOOL_ERROR_INIT;
    int rc = type->scan(state, previous, &found, &cause);
    if (rc)
        return fail_call(type, "scan", rc, &cause, err);
    if (!found)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "scan of the sink '%s' returned 0 and gave no source: make one with "
                       "facpool_source_new, also where there is no row",
                       type->name);
    *out = found;
    return 0;
}

/* What is there already, for resuming, and by which id it is known. */
static int look(fp_sink *sink, bool existed, const char *path, facpool_error *err)
{
    if (!sink->type.scan) {
        if (existed)
            return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                           "'%s' can't be resumed: the sink '%s' has no scan to tell what is there",
                           path ? path : "", sink->type.name);
        return 0;
    }
    fp_source *found = NULL;
    int rc = call_scan(&sink->type, sink->state, NULL, &found, err);
    if (rc)
        return rc;
    memcpy(sink->schema.file_id, found->schema.file_id, sizeof found->schema.file_id);
    sink->schema.created_us = found->schema.created_us;
    sink->schema.row_us = found->schema.row_us;
    rc = fp_schema_match_factors(&found->schema, &sink->schema, found->path, err);
    if (!rc && existed)
        rc = fp_schema_match_tag(&found->schema, &sink->schema, found->path, err);
    if (!rc && existed)
        sink->found = found;
    else
        fp_source_release(found); /* a snapshot may cost its store something: none without need */
    return rc;
}

static int open_state(fp_sink *sink, facpool_sink_request *request, facpool_sink_opening *opening,
                      facpool_error *err)
{
    facpool_error cause = FACPOOL_ERROR_INIT;
    int rc = sink->type.open(&sink->state, request, opening, &cause);
    if (rc)
        return fail_call(&sink->type, "open", rc, &cause, err);
    if (sink->type.lock)
        rc = sink->type.lock(sink->state, &cause);
    if (!rc)
        return 0;
    (void)sink->type.close(sink->state, NULL);
    return fail_call(&sink->type, "lock", rc, &cause, err);
}

/* The factor names as the array that a request has. */
static const char **names_of(const fp_schema *schema)
{
    const char **names = fp_alloc(NULL, schema->names.n * sizeof *names);
    for (size_t i = 0; names && i < schema->names.n; i++)
        names[i] = fp_texts_at(&schema->names, i);
    return names;
}

/* `type` is checked; its open is called with a request made of all this. */
static int open_sink(fp_sink **out, const facpool_sink_type *type,
                     const facpool_backup_options *options, const fp_schema *wanted, bool looks,
                     facpool_sink_opening *opening, facpool_error *err)
{
    const char **names = names_of(wanted);
    if (!names)
        return fp_fail_nomem(err, wanted->names.n * sizeof *names);
    facpool_sink_request request = {.size = sizeof request,
                                    .purpose = FACPOOL_SINK_WRITE,
                                    .mode = options->mode ? options->mode : FACPOOL_MODE_CREATE,
                                    .durability = options->durability ? options->durability
                                                                      : FACPOOL_DURABILITY_GROUP,
                                    .compression_level = options->compression_level,
                                    .path = options->path,
                                    .tag = wanted->tag,
                                    .n_factors = wanted->names.n,
                                    .factor_names = names,
                                    .type = type,
                                    .user = options->sink_user};
    fp_sink *sink = NULL;
    int rc = sink_new(&sink, type, wanted, request.durability, err);
    if (!rc)
        rc = open_state(sink, &request, opening, err);
    fp_free(NULL, names);
    if (rc) {
        if (sink)
            sink_free(sink);
        return rc;
    }
    sink->waits = looks && type->append == fp_file_sink_type.append &&
                  fp_file_sink_waits(sink->state, &sink->schema);
    rc = looks && !sink->waits ? look(sink, opening->existed, options->path, err) : 0;
    if (rc) {
        (void)fp_sink_close(sink, NULL);
        return rc;
    }
    *out = sink;
    return 0;
}

int fp_sink_open(fp_sink **out, const facpool_backup_options *options, const fp_schema *wanted,
                 fp_sink_opening *opening, facpool_error *err)
{
    facpool_sink_type type;
    fp_file_choice choice = {0};
    int rc = check_options(options, err);
    if (!rc)
        rc = take_type(&type, options->sink ? options->sink : &fp_file_sink_type, true, err);
    if (!rc && !options->sink) {
        rc = fp_format_choose(&choice.format, options->format, options->path, err);
        choice.named = options->format != NULL;
        choice.waits = true;
        type.type_data = &choice;
    }
    facpool_sink_opening found = {.size = sizeof found};
    if (!rc)
        rc = open_sink(out, &type, options, wanted, true, &found, err);
    if (rc || !opening)
        return rc;
    *opening = (fp_sink_opening){.existed = found.existed,
                                 .keeps_damage = found.damaged_blocks && !options->sink,
                                 .damaged_blocks = found.damaged_blocks,
                                 .tail_bytes_cut = found.tail_bytes_cut};
    return 0;
}

int fp_sink_open_hidden(fp_sink **out, const facpool_backup_options *options,
                        const fp_schema *wanted, const fp_schema *identity, facpool_error *err)
{
    facpool_sink_type type = fp_file_sink_type;
    fp_file_choice choice = {
        .named = options->format != NULL, .hidden = true, .identity = identity};
    int rc = check_options(options, err);
    if (!rc && (options->sink || options->mode == FACPOOL_MODE_RESUME))
        rc = fp_fail(err, FACPOOL_E_INVALID, "only a new file can be made whole before it appears");
    if (!rc)
        rc = fp_format_choose(&choice.format, options->format, options->path, err);
    type.type_data = &choice;
    facpool_sink_opening found = {.size = sizeof found};
    return rc ? rc : open_sink(out, &type, options, wanted, false, &found, err);
}

/* ------------------------------------------------------------------ calls of the table */

static int refuse(fp_sink *sink, facpool_error *err)
{
    return fp_error_copy(err, &sink->failure);
}

/* The first error stays: nothing but close is called after it. Called before end_call, so that who
 * waits for its turn finds the error. */
static int fail_for_good(fp_sink *sink, const char *what, int rc, const facpool_error *cause,
                         facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    fail_call(&sink->type, what, rc, cause, &error);
    fp_lock_enter(&sink->lock);
    if (!sink->failed) {
        sink->failed = true;
        sink->failure = error;
    }
    fp_lock_leave(&sink->lock);
    return fp_error_copy(err, &error);
}

/* Before a call of the table: 0, or the error that stands. */
static int begin_call(fp_sink *sink, facpool_error *err)
{
    if (!sink->concurrent)
        fp_lock_enter(&sink->call);
    fp_lock_enter(&sink->lock);
    int rc = sink->failed ? refuse(sink, err) : 0;
    fp_lock_leave(&sink->lock);
    if (rc && !sink->concurrent)
        fp_lock_leave(&sink->call);
    return rc;
}

static void end_call(fp_sink *sink, int64_t started_ns)
{
    if (!sink->concurrent)
        fp_lock_leave(&sink->call);
    atomic_fetch_add_explicit(&sink->write_ns, fp_clock_ns() - started_ns, memory_order_relaxed);
}

/* An ok row is final: it is in the file for good. Lock held. */
static void remember_row(fp_sink *sink, const fp_batch *batch)
{
    if (sink->knows_row || (sink->schema.row_us && !batch->ok))
        return;
    sink->schema.row_us = batch->timestamps[0];
    sink->knows_row = batch->ok;
}

static void count_written(fp_sink *sink, const fp_batch *batch)
{
    fp_lock_enter(&sink->lock);
    if (!sink->bytes_unsynced)
        sink->unsynced_since_ns = fp_clock_ns();
    sink->bytes_unsynced += fp_batch_bytes(batch);
    remember_row(sink, batch);
    atomic_fetch_add_explicit(&sink->rows_written, batch->n_rows, memory_order_relaxed);
    fp_lock_leave(&sink->lock);
}

int fp_sink_append(fp_sink *sink, const fp_batch *batch, facpool_error *err)
{
    int rc = begin_call(sink, err);
    if (rc)
        return rc;
    int64_t started_ns = fp_clock_ns();
    facpool_sink_batch given;
    fp_sink_batch_of(&given, batch);
    facpool_error error = FACPOOL_ERROR_INIT;
    rc = sink->type.append(sink->state, &given, &error);
    if (rc)
        rc = fail_for_good(sink, "append", rc, &error, err);
    else
        count_written(sink, batch);
    end_call(sink, started_ns);
    return !rc && sink->durability == FACPOOL_DURABILITY_BATCH ? fp_sink_sync(sink, err) : rc;
}

/* What was written before the sync began is durable; of what came since, the first row came after
 * that, too. */
static void count_durable(fp_sink *sink, uint64_t rows, uint64_t bytes, int64_t started_ns)
{
    fp_lock_enter(&sink->lock);
    if (rows > atomic_load_explicit(&sink->rows_durable, memory_order_relaxed)) {
        atomic_store_explicit(&sink->rows_durable, rows, memory_order_relaxed);
        sink->bytes_unsynced -= bytes < sink->bytes_unsynced ? bytes : sink->bytes_unsynced;
        if (rows == atomic_load_explicit(&sink->rows_written, memory_order_relaxed))
            sink->bytes_unsynced = 0;
        sink->unsynced_since_ns = started_ns;
    }
    fp_lock_leave(&sink->lock);
}

int fp_sink_sync(fp_sink *sink, facpool_error *err)
{
    int rc = begin_call(sink, err);
    if (rc)
        return rc;
    int64_t started_ns = fp_clock_ns();
    fp_lock_enter(&sink->lock);
    uint64_t rows = atomic_load_explicit(&sink->rows_written, memory_order_relaxed);
    uint64_t bytes = sink->bytes_unsynced;
    fp_lock_leave(&sink->lock);
    facpool_error error = FACPOOL_ERROR_INIT;
    rc = sink->type.sync(sink->state, &error);
    if (rc)
        rc = fail_for_good(sink, "sync", rc, &error, err);
    else
        count_durable(sink, rows, bytes, started_ns);
    end_call(sink, started_ns);
    return rc;
}

static bool has_unsynced(const fp_sink *sink)
{
    return atomic_load_explicit(&sink->rows_written, memory_order_relaxed) >
           atomic_load_explicit(&sink->rows_durable, memory_order_relaxed);
}

int fp_sink_tick(fp_sink *sink, int64_t now_ns, int64_t *next_ns, facpool_error *err)
{
    bool groups = sink->durability == FACPOOL_DURABILITY_GROUP;
    fp_lock_enter(&sink->lock);
    int rc = sink->failed ? refuse(sink, err) : 0;
    int64_t next = groups && has_unsynced(sink) ? sink->unsynced_since_ns + GROUP_NS : INT64_MAX;
    bool due = next != INT64_MAX && (now_ns >= next || sink->bytes_unsynced >= GROUP_BYTES);
    fp_lock_leave(&sink->lock);
    if (!rc && due) {
        rc = fp_sink_sync(sink, err);
        fp_lock_enter(&sink->lock);
        next = has_unsynced(sink) ? sink->unsynced_since_ns + GROUP_NS : INT64_MAX;
        fp_lock_leave(&sink->lock);
    }
    if (!rc)
        *next_ns = next;
    return rc;
}

/* What was found when the sink was opened, while it is still all there is; once, or NULL. */
static fp_source *take_found(fp_sink *sink)
{
    fp_lock_enter(&sink->lock);
    fp_source *found = sink->found;
    sink->found = NULL;
    bool is_all = !atomic_load_explicit(&sink->rows_written, memory_order_relaxed);
    fp_lock_leave(&sink->lock);
    if (is_all)
        return found;
    fp_source_release(found);
    return NULL;
}

int fp_sink_source(fp_sink *sink, fp_source **out, facpool_error *err)
{
    fp_source *found = take_found(sink);
    if (found) {
        *out = found;
        return 0;
    }
    if (!sink->type.scan)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED, "the sink '%s' has no scan: it can't be read",
                       sink->type.name);
    int rc = begin_call(sink, err);
    if (rc)
        return rc;
    int64_t started_ns = fp_clock_ns();
    rc = call_scan(&sink->type, sink->state, NULL, out, err);
    end_call(sink, started_ns);
    return rc;
}

int fp_sink_begin(fp_sink *sink, facpool_error *err)
{
    int rc = sink->waits ? fp_file_sink_appear(sink->state, err) : 0;
    sink->waits = sink->waits && rc;
    return rc;
}

int fp_sink_give_up(fp_sink *sink, const uint8_t *blocks, uint64_t *n_left, facpool_error *err)
{
    fp_source_release(take_found(sink));
    return fp_file_sink_give_up(sink->state, blocks, n_left, err);
}

int fp_sink_close(fp_sink *sink, facpool_error *err)
{
    if (sink->waits) {
        fp_sink_abandon(sink);
        return 0;
    }
    int rc = sink->failed ? refuse(sink, err) : 0;
    facpool_error cause = FACPOOL_ERROR_INIT;
    int close_rc = sink->type.close(sink->state, &cause);
    if (!rc && close_rc)
        rc = fail_call(&sink->type, "close", close_rc, &cause, err);
    sink_free(sink);
    return rc;
}

void fp_sink_abandon(fp_sink *sink)
{
    fp_file_sink_discard(sink->state);
    sink_free(sink);
}

/* ------------------------------------------------------------------ reading */

static int scan_store(const facpool_sink_type *type, const fp_store *store,
                      const fp_source *previous, fp_source **out, facpool_error *err)
{
    facpool_sink_request request = {.size = sizeof request,
                                    .purpose = FACPOOL_SINK_READ,
                                    .path = store->path,
                                    .type = type,
                                    .user = store->user};
    facpool_sink_opening opening = {.size = sizeof opening};
    void *state = NULL;
    fp_source *found = NULL;
    facpool_error cause = FACPOOL_ERROR_INIT;
    int rc = type->open(&state, &request, &opening, &cause);
    if (rc)
        return fail_call(type, "open", rc, &cause, err);
    /* Snapshots are counted: a store may hold an older one again, which changes nothing in it. */
    rc = call_scan(type, state, (fp_source *)(uintptr_t)previous, &found, err);
    int close_rc = type->close(state, &cause);
    if (!rc && close_rc) {
        fp_source_release(found);
        rc = fail_call(type, "close", close_rc, &cause, err);
    }
    if (!rc)
        *out = found;
    return rc;
}

int fp_store_source(fp_source **out, const fp_store *store, const fp_source *previous,
                    facpool_error *err)
{
    if (!store->type)
        return scan_store(&fp_file_sink_type, store, previous, out, err);
    facpool_sink_type type;
    int rc = take_type(&type, store->type, false, err);
    if (!rc && !type.scan)
        rc = fp_fail(err, FACPOOL_E_UNSUPPORTED, "the sink '%s' has no scan: it can't be read",
                     type.name);
    return rc ? rc : scan_store(&type, store, previous, out, err);
}

int fp_source_open(fp_source **out, const char *path, const fp_source *previous, facpool_error *err)
{
    fp_store store = {.path = path};
    return fp_store_source(out, &store, previous, err);
}
