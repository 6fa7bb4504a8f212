/* Gathering finished rows into blocks: see writer.h. It knows lanes, batches and the sink; it knows
 * nothing of tasks, and no format. */
#include "run/writer.h"

#include "base/alloc.h"
#include "base/error.h"

#define NS_PER_MS 1000000

/* A batch that is ready waits so long for company, counted from the block before: fast runs get
 * full blocks, slow ones no delay. */
#define LINGER_NS (100 * (int64_t)NS_PER_MS)

/* A lane holds some rows at least, however small the queue is to be. */
#define LANE_BYTES_LEAST ((size_t)64 << 10)

struct fp_writer {
    fp_sink *sink;
    fp_lane *lanes;
    uint32_t n_lanes;
    size_t lane_limit_rows;
    size_t lane_limit_bytes;
    size_t batch_rows;
    int64_t flush_ns;
    bool threaded;
    int32_t durability;
    fp_collect_fn collect;
    void *owner;
    bool keys_repeat;
    const facpool_allocator *allocator;

    _Atomic size_t waiting_rows; /* in all lanes, as their users last left them */
    fp_lock gather_lock;         /* held while lanes are gathered, so that rows stay in order */
    fp_batch gathered[2];        /* ok and not ok */
    fp_batch spare[2];
    _Atomic int64_t last_gather_ns;

    fp_thread thread;
    fp_lock state; /* guards the fields below */
    bool closing;
    bool wanted;   /* batch_rows are ready */
    bool appended; /* a worker wrote: the sink may want a tick sooner than it said */
    _Atomic int failed;
    facpool_error first_error;
};

/* ------------------------------------------------------------------ errors */

static int note_error(fp_writer *w, int rc, const facpool_error *error)
{
    fp_lock_enter(&w->state);
    if (!atomic_load_explicit(&w->failed, memory_order_relaxed)) {
        w->first_error = *error;
        /* Pairs with the acquire load in fp_writer_failed. */
        atomic_store_explicit(&w->failed, rc, memory_order_release);
    }
    fp_lock_leave(&w->state);
    return rc;
}

int fp_writer_failed(const fp_writer *w)
{
    return atomic_load_explicit(&w->failed, memory_order_acquire);
}

void fp_writer_error(const fp_writer *w, facpool_error *err)
{
    if (fp_writer_failed(w))
        fp_error_copy(err, &w->first_error);
}

/* ------------------------------------------------------------------ appending */

static int append(fp_writer *w, fp_batch *batch, facpool_error *err)
{
    if (!batch->n_rows)
        return 0;
    int rc = fp_batch_sort(batch, err);
    if (rc)
        return rc;
    rc = fp_sink_append(w->sink, batch, err);
    if (!rc)
        fp_batch_clear(batch);
    return rc;
}

/* Adds a lane's rows to what is gathered, writing whenever a block is full. */
static int gather_rows(fp_writer *w, fp_batch *gathered, const fp_batch *rows, facpool_error *err)
{
    for (size_t first = 0; first < rows->n_rows;) {
        size_t room = FP_BLOCK_ROWS - gathered->n_rows;
        size_t n = rows->n_rows - first < room ? rows->n_rows - first : room;
        int rc = fp_batch_append(gathered, rows, first, n, err);
        if (rc)
            return rc;
        first += n;
        if (gathered->n_rows == FP_BLOCK_ROWS && (rc = append(w, gathered, err)))
            return rc;
    }
    return 0;
}

static void swap_batches(fp_batch *a, fp_batch *b)
{
    fp_batch keep = *a;
    *a = *b;
    *b = keep;
}

static int gather_lane(fp_writer *w, uint32_t i, facpool_error *err)
{
    fp_lane *lane = &w->lanes[i];
    fp_lane_enter(lane);
    int rc = w->collect ? w->collect(w->owner, i, err) : 0;
    swap_batches(&lane->ok, &w->spare[0]);
    swap_batches(&lane->rest, &w->spare[1]);
    atomic_fetch_sub_explicit(&w->waiting_rows, lane->known_rows, memory_order_relaxed);
    lane->known_rows = 0;
    fp_lock_leave(&lane->lock);
    for (int kind = 1; kind >= 0; kind--) {
        if (!rc)
            rc = gather_rows(w, &w->gathered[kind], &w->spare[kind], err);
        fp_batch_clear(&w->spare[kind]);
    }
    return rc;
}

/* Empties all lanes into the sink. A key's ok row comes after those that are not, since it is the
 * one that stays. (Of one lane, which holds less than a block, neither kind was written before.) */
static int gather(fp_writer *w, facpool_error *err)
{
    int rc = fp_writer_failed(w);
    if (rc) {
        fp_writer_error(w, err);
        return rc;
    }
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_lock_enter(&w->gather_lock);
    for (uint32_t i = 0; !rc && i < w->n_lanes; i++)
        rc = gather_lane(w, i, &error);
    for (int kind = 1; !rc && kind >= 0; kind--)
        rc = append(w, &w->gathered[kind], &error);
    w->last_gather_ns = fp_clock_ns();
    fp_lock_leave(&w->gather_lock);
    if (rc) {
        note_error(w, rc, &error);
        fp_error_copy(err, &error);
    }
    return rc;
}

static int commit_group(fp_writer *w, int64_t *next_ns, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = fp_sink_tick(w->sink, fp_clock_ns(), next_ns, &error);
    if (rc) {
        note_error(w, rc, &error);
        fp_error_copy(err, &error);
    }
    return rc;
}

/* ------------------------------------------------------------------ the thread */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Waits for a reason to gather; false when the writer is closing. *next_sync_ns: when the sink
 * wants its next tick. */
static bool wait_for_work(fp_writer *w, int64_t next_sync_ns)
{
    int64_t flush_at = w->last_gather_ns + w->flush_ns;
    fp_lock_enter(&w->state);
    while (!w->closing && !w->appended) {
        int64_t ready_at = w->wanted ? w->last_gather_ns + LINGER_NS : INT64_MAX;
        int64_t deadline = earlier(earlier(flush_at, ready_at), next_sync_ns);
        if (fp_clock_ns() >= deadline)
            break;
        fp_lock_wait_until(&w->state, deadline);
    }
    w->appended = false;
    bool go_on = !w->closing;
    fp_lock_leave(&w->state);
    return go_on;
}

static bool is_time_to_gather(fp_writer *w, int64_t now_ns)
{
    fp_lock_enter(&w->state);
    bool wanted = w->wanted && now_ns - w->last_gather_ns >= LINGER_NS;
    bool yes = wanted || now_ns - w->last_gather_ns >= w->flush_ns;
    if (yes)
        w->wanted = false;
    fp_lock_leave(&w->state);
    return yes;
}

/* Gathers, and asks for more of it where lanes have filled up again in the meantime: those who
 * fill them only tell when the number of waiting rows comes to the limit from below. */
static int gather_again_soon(fp_writer *w)
{
    int rc = gather(w, NULL);
    if (!rc && atomic_load_explicit(&w->waiting_rows, memory_order_relaxed) >= w->batch_rows) {
        fp_lock_enter(&w->state);
        w->wanted = true;
        fp_lock_leave(&w->state);
    }
    return rc;
}

static void *writer_body(void *arg)
{
    fp_writer *w = arg;
    int64_t next_sync_ns = INT64_MAX;
    while (wait_for_work(w, next_sync_ns) && !fp_writer_failed(w)) {
        /* Errors are kept by note_error: the workers meet them at their next leave. */
        if (is_time_to_gather(w, fp_clock_ns()) && gather_again_soon(w))
            break;
        if (commit_group(w, &next_sync_ns, NULL))
            break;
    }
    return NULL;
}

/* ------------------------------------------------------------------ lanes */

fp_lane *fp_writer_lane(fp_writer *w, uint32_t i)
{
    return &w->lanes[i];
}

void fp_lane_enter(fp_lane *lane)
{
    fp_lock_enter(&lane->lock);
}

static void want_gather(fp_writer *w)
{
    fp_lock_enter(&w->state);
    w->wanted = true;
    fp_lock_wake_all(&w->state);
    fp_lock_leave(&w->state);
}

static void note_append(fp_writer *w)
{
    fp_lock_enter(&w->state);
    w->appended = true;
    fp_lock_wake_all(&w->state);
    fp_lock_leave(&w->state);
}

/* Writes one kind of a lane's rows in blocks; a group may have brought more than fit into one. */
static int write_rows(fp_writer *w, fp_batch *rows, facpool_error *err)
{
    if (rows->n_rows <= FP_BLOCK_ROWS)
        return append(w, rows, err);
    fp_batch piece;
    int rc = fp_batch_init(&piece, rows->ok, rows->n_factors, rows->codes, w->allocator, err);
    if (rc)
        return rc;
    rc = gather_rows(w, &piece, rows, err);
    if (!rc)
        rc = append(w, &piece, err);
    fp_batch_free(&piece);
    fp_batch_clear(rows);
    return rc;
}

/* By rows; and by bytes where messages may make rows of any length. */
static bool is_full(const fp_writer *w, const fp_batch *rows)
{
    return rows->n_rows >= w->lane_limit_rows ||
           (!rows->ok && fp_batch_bytes(rows) >= w->lane_limit_bytes);
}

/* The lane's own user writes what is full, with the lane locked. */
static int write_full(fp_lane *lane, facpool_error *err)
{
    fp_writer *w = lane->writer;
    facpool_error error = FACPOOL_ERROR_INIT;
    int64_t began_ns = fp_clock_ns();
    bool ok_is_full = is_full(w, &lane->ok);
    int rc = 0;
    if (is_full(w, &lane->rest) || (ok_is_full && w->keys_repeat))
        rc = write_rows(w, &lane->rest, &error);
    if (!rc && ok_is_full)
        rc = write_rows(w, &lane->ok, &error);
    lane->wait_ns += fp_clock_ns() - began_ns;
    if (rc) {
        note_error(w, rc, &error);
        fp_error_copy(err, &error);
    }
    return rc;
}

int fp_lane_leave(fp_lane *lane, facpool_error *err)
{
    fp_writer *w = lane->writer;
    int rc = fp_writer_failed(w);
    bool ready = false, wrote = false;
    if (rc) {
        fp_batch_clear(&lane->ok);
        fp_batch_clear(&lane->rest);
        fp_writer_error(w, err);
    } else if (is_full(w, &lane->ok) || is_full(w, &lane->rest)) {
        rc = write_full(lane, err);
        wrote = true;
    }
    size_t rows = lane->ok.n_rows + lane->rest.n_rows;
    if (rows != lane->known_rows) {
        size_t more = rows - lane->known_rows; /* wraps where rows were written: so does the sum */
        size_t before = atomic_fetch_add_explicit(&w->waiting_rows, more, memory_order_relaxed);
        ready = before < w->batch_rows && before + more >= w->batch_rows && rows > lane->known_rows;
        lane->known_rows = rows;
    }
    fp_lock_leave(&lane->lock);
    if (rc)
        return rc;
    if (!w->threaded)
        return fp_writer_poll(w, err);
    if (ready)
        want_gather(w);
    if (wrote)
        note_append(w);
    return 0;
}

/* ------------------------------------------------------------------ the writer */

static size_t row_bytes(size_t n_factors)
{
    return sizeof(int64_t) * 2 + sizeof(uint32_t) + n_factors * sizeof(double);
}

static int lane_init(fp_writer *w, fp_lane *lane, const fp_writer_config *config,
                     facpool_error *err)
{
    lane->writer = w;
    int rc = fp_lock_init(&lane->lock, err);
    if (!rc)
        rc = fp_batch_init(&lane->ok, true, config->n_factors, config->codes, w->allocator, err);
    if (!rc)
        rc = fp_batch_init(&lane->rest, false, config->n_factors, config->codes, w->allocator, err);
    return rc;
}

static uint64_t lane_bytes(const fp_writer_config *config)
{
    uint64_t bytes = config->options->queue_bytes ? config->options->queue_bytes : 64u << 20;
    /* One lane's worth each is being gathered and kept as a spare. */
    return bytes / ((uint64_t)config->n_lanes + 2);
}

/* Rows a lane may hold before it is full: what queue_bytes leaves each, and less than a block by
 * the longest chunk, so that a full lane is one block. */
static size_t lane_limit(const fp_writer_config *config)
{
    uint64_t rows = lane_bytes(config) / row_bytes(config->n_factors);
    uint64_t most = FP_BLOCK_ROWS - FP_PAGE_ROWS;
    return rows < 64 ? 64 : rows > most ? (size_t)most : (size_t)rows;
}

static void writer_free(fp_writer *w)
{
    for (uint32_t i = 0; w->lanes && i < w->n_lanes; i++) {
        if (!w->lanes[i].writer)
            continue;
        fp_lock_destroy(&w->lanes[i].lock);
        fp_batch_free(&w->lanes[i].ok);
        fp_batch_free(&w->lanes[i].rest);
    }
    for (int kind = 0; kind < 2; kind++) {
        fp_batch_free(&w->gathered[kind]);
        fp_batch_free(&w->spare[kind]);
    }
    fp_lock_destroy(&w->gather_lock);
    fp_lock_destroy(&w->state);
    fp_free(w->allocator, w->lanes);
    fp_free(w->allocator, w);
}

static int writer_init(fp_writer *w, const fp_writer_config *config, facpool_error *err)
{
    const facpool_backup_options *options = config->options;
    w->n_lanes = config->n_lanes;
    w->lane_limit_rows = lane_limit(config);
    uint64_t bytes = lane_bytes(config);
    w->lane_limit_bytes = bytes < LANE_BYTES_LEAST ? LANE_BYTES_LEAST : (size_t)bytes;
    w->batch_rows = options->batch_rows ? options->batch_rows : 1000;
    /* Gathering at half the promised delay leaves the other half for the writing itself. */
    w->flush_ns = (int64_t)(options->flush_ms ? options->flush_ms : 1000) * NS_PER_MS / 2;
    w->threaded = !options->no_async;
    w->durability = options->durability;
    w->collect = config->collect;
    w->owner = config->owner;
    w->keys_repeat = config->keys_repeat;
    w->last_gather_ns = fp_clock_ns();
    w->lanes = fp_alloc_zero(w->allocator, w->n_lanes, sizeof *w->lanes);
    if (!w->lanes)
        return fp_fail_nomem(err, w->n_lanes * sizeof *w->lanes);
    int rc = 0;
    for (int kind = 0; !rc && kind < 2; kind++) {
        rc = fp_batch_init(&w->gathered[kind], kind == 0, config->n_factors, config->codes,
                           w->allocator, err);
        if (!rc)
            rc = fp_batch_init(&w->spare[kind], kind == 0, config->n_factors, config->codes,
                               w->allocator, err);
    }
    for (uint32_t i = 0; !rc && i < w->n_lanes; i++)
        rc = lane_init(w, &w->lanes[i], config, err);
    return rc;
}

int fp_writer_open(fp_writer **out, fp_sink *sink, const fp_writer_config *config,
                   facpool_error *err)
{
    fp_writer *w = fp_alloc_zero(config->allocator, 1, sizeof *w);
    if (!w) {
        fp_sink_close(sink, NULL);
        return fp_fail_nomem(err, sizeof *w);
    }
    w->sink = sink;
    w->allocator = config->allocator;
    int rc = fp_lock_init(&w->gather_lock, err);
    if (!rc)
        rc = fp_lock_init(&w->state, err);
    if (!rc)
        rc = writer_init(w, config, err);
    if (!rc && w->threaded)
        rc = fp_thread_start(&w->thread, writer_body, w, err);
    if (rc) {
        fp_sink_close(sink, NULL);
        writer_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

int fp_writer_begin(fp_writer *w, facpool_error *err)
{
    return fp_sink_begin(w->sink, err);
}

int fp_writer_poll(fp_writer *w, facpool_error *err)
{
    if (w->threaded)
        return 0;
    int64_t now_ns = fp_clock_ns();
    size_t waiting = atomic_load_explicit(&w->waiting_rows, memory_order_relaxed);
    int rc = 0;
    if (waiting >= w->batch_rows || now_ns - w->last_gather_ns >= w->flush_ns)
        rc = gather(w, err);
    int64_t next_ns;
    return rc ? rc : commit_group(w, &next_ns, err);
}

int fp_writer_sync(fp_writer *w, facpool_error *err)
{
    int rc = gather(w, err);
    if (rc)
        return rc;
    facpool_error error = FACPOOL_ERROR_INIT;
    rc = fp_sink_sync(w->sink, &error);
    if (rc) {
        note_error(w, rc, &error);
        fp_error_copy(err, &error);
    }
    return rc;
}

void fp_writer_pause(fp_writer *w)
{
    fp_lock_enter(&w->gather_lock);
}

void fp_writer_go_on(fp_writer *w)
{
    fp_lock_leave(&w->gather_lock);
}

const fp_sink *fp_writer_sink(const fp_writer *w)
{
    return w->sink;
}

int fp_writer_close(fp_writer *w, fp_writer_totals *totals, facpool_error *err)
{
    fp_lock_enter(&w->state);
    w->closing = true;
    fp_lock_wake_all(&w->state);
    fp_lock_leave(&w->state);
    fp_thread_join(&w->thread);
    fp_sink *sink = w->sink;
    int rc = gather(w, err);
    if (!rc && w->durability != FACPOOL_DURABILITY_NONE)
        rc = fp_sink_sync(sink, err);
    totals->rows_written = atomic_load(&sink->rows_written);
    totals->rows_durable = atomic_load(&sink->rows_durable);
    totals->write_ns = atomic_load(&sink->write_ns);
    int64_t row_us = sink->schema.row_us;
    int close_rc = fp_sink_close(sink, rc ? NULL : err);
    rc = rc ? rc : close_rc;
    totals->row_us = rc ? 0 : row_us; /* a failed sync takes rows out again */
    writer_free(w);
    return rc;
}
