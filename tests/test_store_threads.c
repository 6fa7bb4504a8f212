/* The store under several threads: appends at once, a group commit beside them, readers of a file
 * that grows. Meant to be run under the thread sanitizer too. */
#include <pthread.h>
#include <stdatomic.h>

#include "os/os.h"
#include "store_rows.h"

static facpool_error err = FACPOOL_ERROR_INIT;

enum { N_WRITERS = 4, BATCHES = 30, BATCH_ROWS = 200 };

/* What each thread gets, and what it found: threads don't CHECK, the test does. */
typedef struct shared {
    fp_sink *sink;
    const char *path;
    _Atomic int next_batch;
    _Atomic int writers_left;
    _Atomic int failures;
    _Atomic int snapshots;
} shared;

static rows rows_of_batch(int batch)
{
    rows r = {0};
    int status = batch % 5 == 4 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
    for (size_t i = 0; i < BATCH_ROWS; i++)
        *rows_add(&r) = row_of((size_t)batch * BATCH_ROWS + i, 100, status);
    return r;
}

static void *write_batches(void *arg)
{
    shared *s = arg;
    facpool_error error = FACPOOL_ERROR_INIT;
    for (int batch; (batch = atomic_fetch_add(&s->next_batch, 1)) < N_WRITERS * BATCHES;) {
        rows r = rows_of_batch(batch);
        if (append_rows(s->sink, &r, 0, r.n, &error))
            s->failures++;
        rows_free(&r);
    }
    s->writers_left--;
    return NULL;
}

/* What the writer's own thread does: commits groups, as often as it can. */
static void *commit_groups(void *arg)
{
    shared *s = arg;
    facpool_error error = FACPOOL_ERROR_INIT;
    while (s->writers_left) {
        int64_t next;
        if (fp_sink_tick(s->sink, INT64_MAX, &next, &error))
            s->failures++;
        if (atomic_load(&s->sink->rows_durable) > atomic_load(&s->sink->rows_written))
            s->failures++;
    }
    return NULL;
}

/* Whether the rows of a snapshot are whole batches of what was appended. */
static bool snapshot_is_sound(const fp_source *source, fp_read_context *context)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    rows found = {0};
    if (read_rows(source, context, &found, &error))
        return false;
    bool sound = found.n % BATCH_ROWS == 0 && !found.corrupt_blocks && !source->n_damaged &&
                 found.n == source->n_blocks * BATCH_ROWS;
    for (size_t i = 0; sound && i < found.n; i++) {
        size_t number =
            (size_t)(found.at[i].date - 20240101) * 100 + strtoul(found.at[i].code, NULL, 10);
        row expected = row_of(number, 100, found.at[i].status);
        sound = same_row(&found.at[i], &expected);
    }
    rows_free(&found);
    return sound;
}

/* Follows the file by its path, as another process would. */
static void *follow_file(void *arg)
{
    shared *s = arg;
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_read_context context = {0};
    fp_source *source = NULL;
    size_t blocks = 0;
    if (fp_read_context_init(&context, &error))
        s->failures++;
    for (bool last = false; !last;) {
        last = s->writers_left == 0;
        fp_source *newer;
        if (fp_source_open(&newer, s->path, source, &error)) {
            s->failures++;
            break;
        }
        fp_source_release(source);
        source = newer;
        if (source->n_blocks < blocks || !snapshot_is_sound(source, &context))
            s->failures++;
        blocks = source->n_blocks;
        s->snapshots++;
    }
    if (blocks != N_WRITERS * BATCHES)
        s->failures++;
    fp_source_release(source);
    fp_read_context_free(&context);
    return NULL;
}

/* The same through the sink's own snapshots. */
static void *follow_sink(void *arg)
{
    shared *s = arg;
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_read_context context = {0};
    if (fp_read_context_init(&context, &error))
        s->failures++;
    while (s->writers_left) {
        fp_source *source;
        if (fp_sink_source(s->sink, &source, &error)) {
            s->failures++;
            break;
        }
        if (!snapshot_is_sound(source, &context))
            s->failures++;
        fp_source_release(source);
        s->snapshots++;
    }
    fp_read_context_free(&context);
    return NULL;
}

static void four_writers_a_committer_and_two_readers(void)
{
    for (int durability = FACPOOL_DURABILITY_GROUP; durability <= FACPOOL_DURABILITY_BATCH;
         durability++) {
        shared s = {.path = path_of("threads.fpb"), .writers_left = N_WRITERS};
        facpool_backup_options options = options_for(s.path, FACPOOL_MODE_OVERWRITE);
        options.durability = durability;
        CHECK_OK(open_sink(&s.sink, &options, NULL, &err), err);
        pthread_t threads[N_WRITERS + 3];
        for (int i = 0; i < N_WRITERS; i++)
            CHECK_INT(pthread_create(&threads[i], NULL, write_batches, &s), 0);
        CHECK_INT(pthread_create(&threads[N_WRITERS], NULL, commit_groups, &s), 0);
        CHECK_INT(pthread_create(&threads[N_WRITERS + 1], NULL, follow_file, &s), 0);
        CHECK_INT(pthread_create(&threads[N_WRITERS + 2], NULL, follow_sink, &s), 0);
        for (int i = 0; i < N_WRITERS + 3; i++)
            pthread_join(threads[i], NULL);
        CHECK_INT(s.failures, 0);
        CHECK(s.snapshots > 0);
        CHECK_INT(s.sink->rows_written, N_WRITERS * BATCHES * BATCH_ROWS);
        CHECK_OK(fp_sink_close(s.sink, &err), err);

        rows expected = {0}, found = {0};
        for (int batch = 0; batch < N_WRITERS * BATCHES; batch++) {
            rows r = rows_of_batch(batch);
            for (size_t i = 0; i < r.n; i++)
                *rows_add(&expected) = r.at[i];
            rows_free(&r);
        }
        rows_sort(&expected);
        CHECK_OK(read_file(s.path, &found, NULL, NULL, &err), err);
        CHECK(rows_are_same(&found, &expected));
        rows_free(&found);
        rows_free(&expected);
    }
}

/* Several readers of one snapshot, which share its dictionaries. */
typedef struct reading {
    fp_source *source;
    _Atomic int failures;
} reading;

static void *read_snapshot(void *arg)
{
    reading *r = arg;
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_read_context context = {0};
    if (fp_read_context_init(&context, &error))
        r->failures++;
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < r->source->n_blocks; i++) {
            rows found = {0};
            if (read_block(r->source, i, &context, &found, &error) || found.n != BATCH_ROWS)
                r->failures++;
            rows_free(&found);
        }
    fp_read_context_free(&context);
    fp_source_release(r->source);
    return NULL;
}

static void one_snapshot_serves_many_readers(void)
{
    const char *path = path_of("readers.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
    rows r = {0};
    for (int batch = 0; batch < 20; batch++) {
        rows more = rows_of_batch(batch);
        for (size_t i = 0; i < more.n; i++) {
            row *added = rows_add(&r);
            *added = more.at[i];
            if (batch % 3 == 0) /* several dictionaries take turns */
                snprintf(added->code, sizeof added->code, "%c%06zu", 'a' + batch, i % 100);
        }
        rows_free(&more);
    }
    CHECK_OK(write_rows(&options, &r, BATCH_ROWS, &err), err);
    reading shared_reading = {0};
    CHECK_OK(fp_source_open(&shared_reading.source, path, NULL, &err), err);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        fp_source_hold(shared_reading.source);
        CHECK_INT(pthread_create(&threads[i], NULL, read_snapshot, &shared_reading), 0);
    }
    fp_source_release(shared_reading.source); /* the last reader frees it */
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(shared_reading.failures, 0);
    rows_free(&r);
}

/* Writers that race for one path: each attempt ends well, or in BUSY; no row is lost. */
static void *race(void *arg)
{
    shared *s = arg;
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_backup_options options = options_for(s->path, FACPOOL_MODE_RESUME);
    for (int batch; (batch = atomic_fetch_add(&s->next_batch, 1)) < 40;) {
        rows r = rows_of_batch(batch);
        int rc;
        do
            rc = write_rows(&options, &r, BATCH_ROWS, &error);
        while (rc == FACPOOL_E_BUSY);
        if (rc)
            s->failures++;
        rows_free(&r);
    }
    return NULL;
}

static void racing_writers_lose_nothing(void)
{
    shared s = {.path = path_of("race.fpb")};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, race, &s), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(s.failures, 0);
    rows found = {0};
    CHECK_OK(read_file(s.path, &found, NULL, NULL, &err), err);
    CHECK_INT(found.n, 40 * BATCH_ROWS);
    rows_free(&found);
}

int main(void)
{
    make_folder();
    RUN(four_writers_a_committer_and_two_readers);
    RUN(one_snapshot_serves_many_readers);
    RUN(racing_writers_lose_nothing);
    remove_folder();
    return TEST_END();
}
