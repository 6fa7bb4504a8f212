/* Appending to a file: encode outside the lock, seal and write within it, sync without it. Called
 * by the file sink, on any number of threads at once. Nothing that was written is ever written
 * again; after a failed write or sync the log takes nothing more, for good. */
#include "store/file_log.h"

#include "base/alloc.h"
#include "base/error.h"

#include <assert.h>

/* The most bytes of messages in a block of several rows. */
#define MOST_MESSAGE_BYTES ((uint32_t)64 << 20)

/* ------------------------------------------------------------------ failing (lock held) */

static int refuse(const fp_log *log, facpool_error *err)
{
    return fp_error_copy(err, &log->failure);
}

static int fail_for_good(fp_log *log, const facpool_error *error, facpool_error *err)
{
    if (!log->failed) {
        log->failed = true;
        log->failure = *error;
    }
    return fp_error_copy(err, error);
}

/* ------------------------------------------------------------------ writing (lock held) */

/* Writes at the end of the file, or leaves the file as it was. */
static int write_at_end(fp_log *log, const void *bytes, size_t n, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    if (!fp_file_write(&log->file, bytes, n, log->contents.end, &error))
        return 0;
    /* Part of it may be there. If it can't be cut off either, readers find a torn tail. */
    fp_file_truncate(&log->file, log->contents.end, NULL);
    return fail_for_good(log, &error, err);
}

/* The index block. What it lists was synced before, so it can say so. */
static int write_index(fp_log *log, facpool_error *err)
{
    fp_log_contents *contents = &log->contents;
    fp_seal seal = {.offset = contents->end,
                    .sequence = contents->next_sequence,
                    .durable_end = contents->durable_end,
                    .unsynced = log->durability == FACPOOL_DURABILITY_NONE};
    fp_buffer bytes = {0};
    int rc = log->format->encode_index(&log->schema, &contents->index, contents->counts, &seal,
                                       &bytes, err);
    if (!rc)
        rc = write_at_end(log, bytes.data, bytes.size, err);
    if (!rc) {
        contents->end += bytes.size;
        contents->next_sequence++;
        contents->closed = true;
    }
    fp_buffer_free(&bytes);
    return rc;
}

/* ------------------------------------------------------------------ syncing (lock held) */

/* Of what a failed sync was to save the kernel may have dropped pages that it still shows until
 * they are loaded anew: who resumes meanwhile would take these rows for safe. So they are given up
 * at once, before this process may die, as damaged ones are, and their tasks run again. Only what
 * this log wrote: what another writer had left unsynced is written again. Where even that can't be
 * written there is nothing to add to the error that is reported already. */
static void give_up_unsynced(fp_log *log)
{
    fp_log_contents *contents = &log->contents;
    uint64_t from = contents->durable_end > log->begun_at ? contents->durable_end : log->begun_at;
    fp_log_write_again(&log->file, contents->durable_end, log->begun_at);
    if (contents->end <= from)
        return;
    if (log->format->lines) {
        /* The newline is the same, and was perhaps dropped as well: it is written again. */
        if (!fp_log_blank(&log->file, from, contents->end - from - 1, NULL))
            (void)fp_file_write(&log->file, "\n", 1, contents->end - 1, NULL);
        return;
    }
    for (size_t i = contents->index.n; i-- > 0 && contents->index.entries[i].block.offset >= from;)
        contents->index.entries[i].is_given_up = true;
    size_t n = fp_log_index_compact(&contents->index);
    contents->counts.given_up += n;
    if (n)
        (void)write_index(log, NULL);
}

static void lose_unsynced(fp_log *log)
{
    log->sync_failed = true;
    if (!log->hidden)
        give_up_unsynced(log);
}

/* Syncs what is written so far, with the lock given up meanwhile, so that appends go on. */
static int sync_now(fp_log *log, facpool_error *err)
{
    uint64_t end = log->contents.end;
    log->syncing = true;
    fp_lock_leave(&log->lock);
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = fp_file_sync(&log->file, &error);
    fp_lock_enter(&log->lock);
    log->syncing = false;
    if (rc) {
        /* The kernel may have dropped the pages and calls them clean: a second sync would only
         * pretend. What was not durable before stays so. */
        rc = fail_for_good(log, &error, err);
        lose_unsynced(log);
    } else {
        log->contents.durable_end = end;
    }
    fp_lock_wake_all(&log->lock);
    return rc;
}

/* Returns when everything up to `target` is durable. Threads that wait here share one sync. */
static int sync_until(fp_log *log, uint64_t target, facpool_error *err)
{
    int rc = 0;
    while (!rc && log->contents.durable_end < target) {
        if (log->syncing)
            fp_lock_wait(&log->lock);
        else
            rc = log->failed ? refuse(log, err) : sync_now(log, err);
    }
    return rc;
}

int fp_log_sync(fp_log *log, facpool_error *err)
{
    fp_lock_enter(&log->lock);
    int rc = log->failed ? refuse(log, err) : sync_until(log, log->contents.end, err);
    fp_lock_leave(&log->lock);
    return rc;
}

/* ------------------------------------------------------------------ appending */

static int take_encoder(fp_log *log, fp_encoder **out, facpool_error *err)
{
    fp_lock_enter(&log->lock);
    int rc = log->failed ? refuse(log, err) : 0;
    fp_encoder *encoder = log->idle_encoders;
    if (!rc && encoder)
        log->idle_encoders = encoder->next;
    fp_lock_leave(&log->lock);
    if (rc)
        return rc;
    if (!encoder)
        encoder = log->format->new_encoder(&log->schema, log->level);
    if (!encoder)
        return fp_fail_nomem(err, sizeof *encoder);
    *out = encoder;
    return 0;
}

static void return_encoder(fp_log *log, fp_encoder *encoder)
{
    fp_lock_enter(&log->lock);
    encoder->next = log->idle_encoders;
    log->idle_encoders = encoder;
    fp_lock_leave(&log->lock);
}

/* Lock held. The place in the index is made before the write, so that what is in the file is also
 * in the index, whatever happens. */
static int append_block(fp_log *log, fp_encoded_block *block, facpool_error *err)
{
    if (log->failed)
        return refuse(log, err);
    fp_log_contents *contents = &log->contents;
    int rc = fp_log_index_reserve(&contents->index, &block->entry, err);
    if (rc)
        return rc;
    fp_seal seal = {.offset = contents->end,
                    .sequence = contents->next_sequence,
                    .durable_end = contents->durable_end,
                    .unsynced = log->durability == FACPOOL_DURABILITY_NONE};
    log->format->seal(block, &seal);
    rc = write_at_end(log, block->bytes, block->size, err);
    if (rc)
        return rc;
    block->entry.block.offset = seal.offset;
    block->entry.sequence = seal.sequence;
    rc = fp_log_index_add(&contents->index, &block->entry, err);
    assert(!rc);
    contents->end += block->size;
    contents->next_sequence++;
    contents->closed = false;
    return 0;
}

static int append_rows(fp_log *log, fp_encoder *encoder, const fp_batch *batch, size_t first,
                       size_t n, facpool_error *err)
{
    fp_encoded_block block;
    int rc = log->format->encode(encoder, batch, first, n, &block, err);
    if (rc)
        return rc;
    fp_lock_enter(&log->lock);
    rc = append_block(log, &block, err);
    fp_lock_leave(&log->lock);
    return rc;
}

/* How many rows, from `first` on, are one block: as many as the format takes at once, and messages
 * that leave it far below the longest that there may be. */
static size_t rows_of_block(const fp_log *log, const fp_batch *batch, size_t first)
{
    size_t most = log->format->most_rows(batch->ok ? batch->n_factors : 0);
    size_t left = batch->n_rows - first, n = left < most ? left : most;
    const uint32_t *offsets = batch->messages.offsets;
    while (!batch->ok && n > 1 && offsets[first + n] - offsets[first] > MOST_MESSAGE_BYTES)
        n /= 2;
    return n;
}

/* Rows of a batch that has so many factors, or such messages, that it takes several blocks are
 * there in part when an error strikes between them: nothing can be appended after that. */
static void give_up(fp_log *log, const facpool_error *error)
{
    fp_lock_enter(&log->lock);
    fail_for_good(log, error, NULL);
    fp_lock_leave(&log->lock);
}

int fp_log_append(fp_log *log, const fp_batch *batch, facpool_error *err)
{
    assert(batch->n_rows >= 1 && batch->n_rows <= FP_BLOCK_ROWS);
    fp_encoder *encoder = NULL;
    int rc = take_encoder(log, &encoder, err);
    if (rc)
        return rc;
    facpool_error error = FACPOOL_ERROR_INIT;
    for (size_t first = 0, n; !rc && first < batch->n_rows; first += n) {
        n = rows_of_block(log, batch, first);
        rc = append_rows(log, encoder, batch, first, n, &error);
        if (rc && first)
            give_up(log, &error);
    }
    return_encoder(log, encoder);
    return rc ? fp_error_copy(err, &error) : 0;
}

/* ------------------------------------------------------------------ closing, snapshots */

int fp_log_end_well(fp_log *log, facpool_error *err)
{
    bool syncs = log->durability != FACPOOL_DURABILITY_NONE;
    int rc = syncs ? sync_until(log, log->contents.end, err) : 0;
    if (!rc && !log->contents.closed) {
        rc = write_index(log, err);
        if (!rc && syncs)
            rc = sync_until(log, log->contents.end, err);
    }
    return rc;
}

int fp_log_publish(fp_log *log, facpool_error *err)
{
    int rc = sync_until(log, log->contents.end, err);
    if (!rc && log->replaces && !fp_file_is_at(&log->victim, log->hidden))
        rc = fp_fail(err, FACPOOL_E_BUSY,
                     "'%s' was moved, removed or replaced by another process meanwhile: what is "
                     "there now was left as it is",
                     log->hidden);
    if (!rc)
        rc = fp_file_publish(&log->file, log->hidden, log->replaces, err);
    if (!rc) {
        fp_free(NULL, log->hidden);
        log->hidden = NULL;
    }
    return rc;
}

int fp_log_close(fp_log *log, facpool_error *err)
{
    fp_lock_enter(&log->lock);
    while (log->syncing)
        fp_lock_wait(&log->lock);
    int rc = log->failed ? refuse(log, err) : fp_log_end_well(log, err);
    if (!rc && log->hidden)
        rc = fp_log_publish(log, err);
    /* After a failed write, what was written before it can still be made durable. Where that fails
     * too there is nothing to add to the error that is reported already. */
    if (rc && !log->sync_failed && log->durability != FACPOOL_DURABILITY_NONE && !log->hidden &&
        fp_file_sync(&log->file, NULL))
        lose_unsynced(log);
    fp_lock_leave(&log->lock);
    fp_log_free(log);
    return rc;
}

int fp_log_source_of(fp_log *log, fp_source **out, facpool_error *err)
{
    if (!log->reading)
        return fp_fail(err, FACPOOL_E_STATE, "'%s' can't be read before it is closed", log->hidden);
    fp_lock_enter(&log->lock);
    fp_log_contents contents = log->contents;
    int rc = fp_log_index_copy(&contents.index, &log->contents.index, err);
    fp_lock_leave(&log->lock);
    if (rc)
        return rc;
    fp_log_source *source;
    rc = fp_log_source_new(&source, log->format, log->reading, log->reading->file.path,
                           &log->schema, &contents, contents.end, err);
    if (rc) {
        fp_log_contents_free(&contents);
        return rc;
    }
    *out = &source->base;
    return 0;
}
