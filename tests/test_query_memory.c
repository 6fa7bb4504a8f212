/* Proves that a question survives running out of memory anywhere: every allocation in turn fails,
 * and the answer is an error or the whole answer, with nothing leaked. This file stands in for
 * base/alloc.c. */
#include <errno.h>
#include <facpool/arrow.h>
#include "base/alloc.h"
#include "fake_source.h"
#include "query/cursor.h"
#include "test.h"

static long allowed = -1; /* allocations left until they fail; negative: they never do */
static long live;         /* allocations not freed */

static bool may_allocate(void)
{
    if (allowed == 0)
        return false;
    allowed -= allowed > 0;
    return true;
}

void *fp_alloc(const facpool_allocator *a, size_t bytes)
{
    (void)a;
    void *memory = may_allocate() ? malloc(bytes ? bytes : 1) : NULL;
    live += memory != NULL;
    return memory;
}

void *fp_alloc_zero(const facpool_allocator *a, size_t n, size_t each)
{
    void *memory = fp_alloc(a, n * each);
    if (memory)
        memset(memory, 0, n * each);
    return memory;
}

void *fp_realloc(const facpool_allocator *a, void *memory, size_t bytes)
{
    (void)a;
    void *moved = may_allocate() ? realloc(memory, bytes ? bytes : 1) : NULL;
    live += moved && !memory;
    return moved;
}

void fp_free(const facpool_allocator *a, void *memory)
{
    (void)a;
    live -= memory != NULL;
    free(memory);
}

char *fp_strdup(const facpool_allocator *a, const char *text)
{
    char *copy = fp_alloc(a, strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}

int fp_grow(const facpool_allocator *a, void **memory, size_t *capacity, size_t needed, size_t each)
{
    if (needed <= *capacity)
        return 0;
    void *grown = fp_realloc(a, *memory, needed * each);
    if (!grown)
        return FACPOOL_E_NOMEM;
    *memory = grown;
    *capacity = needed;
    return 0;
}

/* ------------------------------------------------------------------ questions */

#define CODES 7

static fake_row row_of(int64_t date, int code, uint8_t status, int64_t timestamp)
{
    static const char *const codes[CODES] = {"a", "b", "c", "d", "e", "f", "g"};
    fake_row row = {.date = date, .code = codes[code], .status = status, .timestamp = timestamp};
    row.message = status == FACPOOL_STATUS_OK ? NULL : "failed";
    row.factors[0] = (double)date;
    return row;
}

/* Ok blocks that overlap with another file's, failures that are superseded, and damage. */
static fake_source *make_source(int64_t timestamp)
{
    fake_source *fake = fake_source_new("memory.fpb", 1, 5, false);
    fake_row rows[4 * CODES];
    for (int block = 0; block < 3; block++) {
        for (int i = 0; i < 4 * CODES; i++)
            rows[i] = row_of(block * 3 + i / CODES, i % CODES, FACPOOL_STATUS_OK, timestamp);
        fake_source_add(fake, rows + (block ? CODES : 0), (size_t)(block ? 3 : 4) * CODES);
    }
    rows[0] = row_of(3, 1, FACPOOL_STATUS_FAILED, 1);
    rows[1] = row_of(50, 1, FACPOOL_STATUS_TIMEOUT, 1);
    rows[2] = row_of(50, 1, FACPOOL_STATUS_FAILED, 2);
    fake_source_add(fake, rows, 3);
    fake_source_damage(fake, 1, FP_COLUMN_FACTOR, 2);
    fake->source.n_damaged = 1;
    return fake;
}

typedef enum way { BY_BATCH, BY_ROW, AS_ARROW } way;

/* Reads everything; returns how many rows, or the error that ended it. */
static long read_all(facpool_cursor *cursor, bool by_row)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    long n = 0;
    for (;;) {
        int rc = by_row ? facpool_cursor_next(cursor, &row, &err)
                        : facpool_cursor_next_batch(cursor, &view, &err);
        if (rc == 0)
            return n;
        if (rc < 0 && rc != FACPOOL_E_CORRUPT)
            return rc;
        n += rc < 0 ? 0 : by_row ? 1 : (long)view.n_rows;
    }
}

/* The same through a stream, whose arrays are kept until all else is gone. */
static long export_all(facpool_cursor *cursor)
{
    enum { ARRAYS_MAX = 100 };
    facpool_error err = FACPOOL_ERROR_INIT;
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray arrays[ARRAYS_MAX];
    long n = 0, n_arrays = 0, failed = 0;
    if (facpool_cursor_to_arrow(cursor, &stream, &err)) {
        facpool_cursor_free(cursor);
        return FACPOOL_E_NOMEM;
    }
    if (stream.get_schema(&stream, &schema))
        failed = FACPOOL_E_NOMEM;
    else
        schema.release(&schema);
    while (!failed && n_arrays < ARRAYS_MAX) {
        int rc = stream.get_next(&stream, &arrays[n_arrays]);
        if (rc == EIO)
            continue;
        if (rc)
            failed = rc == ENOMEM && stream.get_last_error(&stream) ? FACPOOL_E_NOMEM : -99;
        else if (!arrays[n_arrays].release)
            break;
        else
            n += arrays[n_arrays++].length;
    }
    stream.release(&stream);
    for (long i = 0; i < n_arrays; i++)
        arrays[i].release(&arrays[i]);
    return failed ? failed : n;
}

static long ask(fake_source *const *fakes, const facpool_filter *filter, way how)
{
    fp_source *sources[] = {&fakes[0]->source, &fakes[1]->source};
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_cursor *cursor = NULL;
    int rc = fp_cursor_open(&cursor, sources, 2, filter, &err);
    if (rc)
        return rc;
    if (how == AS_ARROW)
        return export_all(cursor);
    long n = read_all(cursor, how == BY_ROW);
    facpool_cursor_free(cursor);
    return n;
}

static void fail_each_in_turn(fake_source *const *fakes, const facpool_filter *filter, way how)
{
    allowed = -1;
    long whole = ask(fakes, filter, how), failures = 0, got, before = live;
    CHECK(whole > 0);
    for (long n = 0;; n++) {
        allowed = n;
        got = ask(fakes, filter, how);
        bool reached_the_end = allowed > 0;
        allowed = -1;
        CHECK_INT(live, before);
        CHECK_INT(fakes[0]->open + fakes[1]->open, 0);
        if (got >= 0) {
            CHECK_INT(got, whole);
            if (reached_the_end)
                break;
            continue; /* what could not be had was not needed */
        }
        CHECK_INT(got, FACPOOL_E_NOMEM);
        failures++;
    }
    CHECK(failures > 10);
}

static void every_allocation_may_fail(void)
{
    fake_source *fakes[] = {make_source(10), make_source(20)};
    int64_t dates[] = {3, 4, 7, 50};
    const char *codes[] = {"b", "c", "x"};
    for (int i = 0; i < 48; i++) {
        facpool_filter filter = FACPOOL_FILTER_INIT;
        filter.order = i & 1 ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE;
        filter.statuses = i & 2 ? FACPOOL_STATUS_ALL : 0;
        if (i & 4) {
            filter.dates = dates;
            filter.n_dates = 4;
        }
        if (i & 8) {
            filter.codes = codes;
            filter.n_codes = 3;
        }
        fail_each_in_turn(fakes, &filter, (way)(i / 16));
    }
    fp_source_release(&fakes[0]->source);
    fp_source_release(&fakes[1]->source);
}

/* Every column where it lies, stretches parted by damage, and arrays that hold the source. */
static void every_allocation_of_zero_copy_may_fail(void)
{
    static fake_row rows[100];
    fake_source *fakes[2];
    for (int s = 0; s < 2; s++) {
        fakes[s] = fake_source_new("mapped.fpb", 1, 5, true);
        fake_source_keep_codes(fakes[s]);
        for (int i = 0; i < 100; i++)
            rows[i] = row_of(1000 * s + i / CODES, i % CODES, FACPOOL_STATUS_OK, 1);
        fake_source_add(fakes[s], rows, 100);
        fake_source_damage(fakes[s], 0, FP_COLUMN_FACTOR, 5);
        fake_source_damage(fakes[s], 0, FP_COLUMN_CODE, 9);
    }
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.require_zero_copy = 1;
    for (way how = BY_BATCH; how <= AS_ARROW; how++)
        fail_each_in_turn(fakes, &filter, how);
    fp_source_release(&fakes[0]->source);
    fp_source_release(&fakes[1]->source);
}

int main(void)
{
    RUN(every_allocation_may_fail);
    RUN(every_allocation_of_zero_copy_may_fail);
    return TEST_END();
}
