/* What users bring themselves, for the tests of failing calls: tasks from an Arrow stream, rows as
 * one, a store of their own, and processes that they start to serve a run. None of it allocates by
 * itself, so that every call that fails is the library's. */
#ifndef FP_FAIL_OUTSIDE_H
#define FP_FAIL_OUTSIDE_H

#include <facpool/arrow.h>
#include <facpool/sink.h>

#include "fail_scenarios.h"

/* ------------------------------------------------------------------ tasks from Arrow */

static int n_unreleased; /* streams, schemas and arrays */

static inline void release_schema(struct ArrowSchema *schema)
{
    schema->release = NULL;
    n_unreleased--;
}

static inline void release_array(struct ArrowArray *array)
{
    array->release = NULL;
    n_unreleased--;
}

static inline void release_stream(struct ArrowArrayStream *stream)
{
    stream->release = NULL;
    n_unreleased--;
}

static inline int give_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    static struct ArrowSchema columns[2];
    static struct ArrowSchema *children[] = {&columns[0], &columns[1]};
    (void)stream;
    columns[0] = (struct ArrowSchema){.format = "l", .name = "date", .release = release_schema};
    columns[1] = (struct ArrowSchema){.format = "u", .name = "code", .release = release_schema};
    *out = (struct ArrowSchema){
        .format = "+s", .n_children = 2, .children = children, .release = release_schema};
    n_unreleased++;
    return 0;
}

/* One date's tasks at a time; private_data points to the number of the next one. */
static inline int give_tasks(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    static int64_t date_values[N_CODES];
    static int32_t offsets[N_CODES + 1];
    static char texts[N_CODES * sizeof code_texts[0]];
    static const void *date_buffers[] = {NULL, date_values};
    static const void *code_buffers[] = {NULL, offsets, texts};
    static const void *no_buffers[] = {NULL};
    static struct ArrowArray columns[2];
    static struct ArrowArray *children[] = {&columns[0], &columns[1]};
    size_t *next = stream->private_data;
    *out = (struct ArrowArray){0};
    if (*next == N_DATES)
        return 0;
    for (size_t c = 0; c < N_CODES; c++) {
        size_t length = strlen(codes[c]);
        date_values[c] = dates[*next];
        memcpy(texts + offsets[c], codes[c], length);
        offsets[c + 1] = offsets[c] + (int32_t)length;
    }
    ++*next;
    columns[0] = (struct ArrowArray){
        .length = N_CODES, .n_buffers = 2, .buffers = date_buffers, .release = release_array};
    columns[1] = (struct ArrowArray){
        .length = N_CODES, .n_buffers = 3, .buffers = code_buffers, .release = release_array};
    *out = (struct ArrowArray){.length = N_CODES,
                               .n_buffers = 1,
                               .buffers = no_buffers,
                               .n_children = 2,
                               .children = children,
                               .release = release_array};
    n_unreleased++;
    return 0;
}

static inline const char *give_no_reason(struct ArrowArrayStream *stream)
{
    (void)stream;
    return NULL;
}

static inline int tasks_from_arrow(void)
{
    size_t next = 0;
    struct ArrowArrayStream stream = {give_schema, give_tasks, give_no_reason, release_stream,
                                      &next};
    facpool_tasks *list = UNTOUCHED(facpool_tasks);
    n_unreleased = 1;
    int rc = facpool_tasks_from_arrow(&list, &stream, &err);
    CHECK_INT(n_unreleased, 0);
    if (rc) {
        CHECK(list == UNTOUCHED(facpool_tasks));
        return rc;
    }
    CHECK_INT(facpool_tasks_count(list), N_TASKS);
    for (size_t i = 0; i < N_TASKS; i++) {
        int64_t date;
        const char *code;
        CHECK_OK(facpool_tasks_get(list, i, &date, &code, NULL), err);
        CHECK(date == dates[i / N_CODES] && strcmp(code, codes[i % N_CODES]) == 0);
    }
    facpool_tasks_free(list);
    return rc;
}

/* ------------------------------------------------------------------ rows as Arrow */

/* The stream's own errno as the library's code; the text has to be there. */
static inline int stream_error(struct ArrowArrayStream *stream, int os_errno)
{
    const char *reason = stream->get_last_error(stream);
    CHECK(os_errno == ENOMEM || os_errno == failing_errno);
    CHECK(reason && reason[0]);
    err.code = os_errno == ENOMEM ? FACPOOL_E_NOMEM : FACPOOL_E_IO;
    err.os_errno = os_errno == ENOMEM ? 0 : failing_errno;
    snprintf(err.message, sizeof err.message, "%s", reason);
    return err.code;
}

/* Rows of an array, its factors looked at. */
static inline size_t look_at_array(const struct ArrowArray *array)
{
    enum { FIRST_FACTOR = 6 };
    CHECK_INT(array->n_children, FIRST_FACTOR + N_FACTORS);
    const struct ArrowArray *statuses = array->children[3], *date = array->children[0];
    for (int64_t i = 0; i < array->length; i++) {
        int64_t day = ((const int64_t *)date->buffers[1])[date->offset + i];
        int status = ((const uint8_t *)statuses->buffers[1])[statuses->offset + i];
        CHECK(day >= dates[0] && day <= dates[N_DATES - 1]);
        CHECK(status >= FACPOOL_STATUS_OK && status <= FACPOOL_STATUS_FAILED);
    }
    return (size_t)array->length;
}

static inline int read_stream(struct ArrowArrayStream *stream, size_t *n)
{
    struct ArrowSchema schema = {0};
    struct ArrowArray array = {0};
    int failure = stream->get_schema(stream, &schema);
    if (failure)
        return stream_error(stream, failure);
    schema.release(&schema);
    while (!(failure = stream->get_next(stream, &array)) && array.release) {
        *n += look_at_array(&array);
        array.release(&array);
    }
    return failure ? stream_error(stream, failure) : 0;
}

static inline int stream_cursor(facpool_cursor *cursor)
{
    struct ArrowArrayStream stream = {0};
    int rc = facpool_cursor_to_arrow(cursor, &stream, &err);
    if (rc) {
        CHECK(!stream.release);
        facpool_cursor_free(cursor); /* still the caller's */
        return rc;
    }
    size_t n = 0;
    rc = read_stream(&stream, &n);
    stream.release(&stream);
    if (!rc)
        CHECK_INT(n, N_TASKS);
    return rc;
}

static int32_t streams_copy; /* facpool_filter.copy */

static inline int read_as_arrow(void)
{
    facpool_reader *reader = UNTOUCHED(facpool_reader);
    facpool_cursor *cursor = UNTOUCHED(facpool_cursor);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    const char *paths[] = {path};
    int rc = facpool_reader_open(&reader, paths, 1, &err);
    if (rc)
        return rc;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.copy = streams_copy;
    rc = facpool_query(reader, &filter, &cursor, &err);
    facpool_reader_free(reader);
    return rc ? rc : stream_cursor(cursor);
}

static inline int run_to_arrow(void)
{
    facpool_result *result = UNTOUCHED(facpool_result);
    facpool_cursor *cursor = UNTOUCHED(facpool_cursor);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    has_report = false;
    int rc = facpool_run(tasks, &scenario_options, &result, &err);
    if (rc) {
        if (result != UNTOUCHED(facpool_result))
            facpool_result_free(result);
        return rc;
    }
    rc = facpool_result_query(result, &filter, &cursor, &err);
    facpool_result_free(result);
    return rc ? rc : stream_cursor(cursor);
}

/* ------------------------------------------------------------------ a store of one's own */

/* Rows in static memory, one place a task. */
static struct {
    bool is_made;
    uint8_t statuses[N_TASKS]; /* 0: no row */
    double factors[N_TASKS][N_FACTORS];
} store;

static inline int store_open(void **state, const facpool_sink_request *request,
                             facpool_sink_opening *opening, facpool_error *failure)
{
    if (request->purpose == FACPOOL_SINK_READ && !store.is_made)
        return facpool_sink_fail(failure, FACPOOL_E_NOT_FOUND, "there is no store");
    opening->existed = store.is_made;
    store.is_made = true;
    *state = &store;
    return 0;
}

static inline int store_append(void *state, const facpool_sink_batch *batch, facpool_error *failure)
{
    (void)state;
    (void)failure;
    for (size_t row = 0; row < batch->n_rows; row++) {
        size_t index = index_of(batch->dates[row], facpool_sink_code(batch, row));
        store.statuses[index] = (uint8_t)facpool_sink_status(batch, row);
        for (size_t f = 0; batch->factors && f < N_FACTORS; f++)
            store.factors[index][f] = batch->factors[f][row];
    }
    return 0;
}

static inline int store_end(void *state, facpool_error *failure)
{
    (void)state;
    (void)failure;
    return 0;
}

static inline int store_read(void *state, size_t block, facpool_rows *rows, facpool_error *failure)
{
    (void)state;
    for (size_t index = block * N_CODES; index < (block + 1) * N_CODES; index++) {
        facpool_row row = FACPOOL_ROW_INIT;
        if (!store.statuses[index])
            continue;
        row.date = dates[index / N_CODES];
        row.code = codes[index % N_CODES];
        row.status = store.statuses[index];
        row.message = "";
        row.n_factors = N_FACTORS;
        row.factors = row.status == FACPOOL_STATUS_OK ? store.factors[index] : NULL;
        int rc = facpool_source_add(rows, &row, failure);
        if (rc)
            return rc;
    }
    return 0;
}

/* A block a date that has rows; those come first, as runs go by date. */
static inline int store_scan(void *state, facpool_source *previous, facpool_source **out,
                             facpool_error *failure)
{
    static const char *const names[] = {"f0", "f1", "f2"};
    static facpool_source_block blocks[N_DATES];
    facpool_source_options options = FACPOOL_SOURCE_OPTIONS_INIT;
    (void)previous;
    for (size_t d = 0; d < N_DATES; d++) {
        facpool_source_block *block = &blocks[d];
        *block = (facpool_source_block){.date_min = dates[d], .date_max = dates[d]};
        for (size_t c = 0; c < N_CODES; c++) {
            int status = store.statuses[d * N_CODES + c];
            block->status_rows[status] += status != 0;
            block->n_rows += status != 0;
        }
        options.n_blocks = block->n_rows && options.n_blocks == d ? d + 1 : options.n_blocks;
    }
    options.name = "own store";
    options.n_factors = N_FACTORS;
    options.factor_names = names;
    options.blocks = blocks;
    options.read = store_read;
    options.state = state;
    return facpool_source_new(out, &options, failure);
}

static const facpool_sink_type store_type = {.size = sizeof(facpool_sink_type),
                                             .name = "own store",
                                             .open = store_open,
                                             .append = store_append,
                                             .sync = store_end,
                                             .close = store_end,
                                             .scan = store_scan};

/* The first half of it is there. */
static inline int run_with_own_store(void)
{
    memset(&store, 0, sizeof store);
    for (size_t i = 0; i < N_TASKS / 2; i++) {
        store.statuses[i] = (uint8_t)status_of(i);
        for (size_t f = 0; f < N_FACTORS; f++)
            store.factors[i][f] = factor_of(i, f);
    }
    store.is_made = true;
    scenario_backup.path = "own";
    scenario_backup.mode = FACPOOL_MODE_RESUME;
    scenario_backup.sink = &store_type;
    return run_once();
}

static inline void store_has_what_was_written(int rc)
{
    size_t n = 0;
    for (size_t i = 0; i < N_TASKS; i++) {
        n += store.statuses[i] != 0;
        CHECK(!store.statuses[i] || store.statuses[i] == status_of(i));
    }
    CHECK(n >= N_TASKS / 2);
    if (rc == 0)
        CHECK_INT(n, N_TASKS);
    if (has_report)
        CHECK(last_report.resumed + last_report.rows_written <= n + last_report.retry_failed);
}

static inline int read_own_store(void)
{
    facpool_reader *reader = UNTOUCHED(facpool_reader);
    const char *paths[] = {"own"};
    int rc = facpool_reader_from_source(&reader, &store_type, NULL, paths, 1, &err);
    if (rc) {
        CHECK(reader == UNTOUCHED(facpool_reader));
        return rc;
    }
    for (int32_t order = FACPOOL_ORDER_FILE; !rc && order <= FACPOOL_ORDER_KEY; order++)
        rc = ask_file(reader, order);
    facpool_reader_free(reader);
    return rc;
}

/* ------------------------------------------------------------------ processes of one's own */

/* Serves the run on `fd`, and has nothing else that is its parent's. */
static _Noreturn void serve_and_leave(int fd, bool is_worker)
{
    facpool_serve_options serve = FACPOOL_SERVE_OPTIONS_INIT;
    serve.fn = compute;
    serve.no_fork = is_worker;
    for (int other = STDERR_FILENO + 1; other < 1024; other++)
        if (other != fd)
            __real_close(other);
    _exit(facpool_serve(fd, &serve, NULL) ? 1 : 0);
}

/* Starts a process that is no child of this one; `user` says whether it is a worker. */
static inline int start_by_fork(int fd, void *user)
{
    int kind = pause_failing(), status = 1;
    pid_t middle = __real_fork();
    if (middle == 0) {
        pid_t server = __real_fork();
        if (server == 0)
            serve_and_leave(fd, *(bool *)user);
        _exit(server < 0);
    }
    bool well = middle > 0 && __real_waitpid(middle, &status, 0) == middle && status == 0;
    go_on_failing(kind);
    return well ? 0 : 1;
}

#endif
