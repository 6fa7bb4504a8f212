/* Sources over blocks that a store of the user's own describes and reads: the public half of
 * <facpool/sink.h> that is not a sink. Called by such stores' scan, then by whoever opens blocks.
 * Whatever comes out of the store is checked here against what it said before anyone else sees it;
 * nothing of it is kept beyond the call but in memory of our own. */
#include <facpool/sink.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "store/row_block.h"

/* Where nothing is known of a block's codes, its range is that of all: no code begins with a byte
 * of 0xff, which no UTF-8 text has. */
#define LEAST_CODE    ""
#define GREATEST_CODE "\xff"

#define N_STATUSES 6

typedef struct user_source {
    fp_source base;
    facpool_source_options options; /* only what is called: its texts and blocks are gone */
    fp_texts bounds;                /* the blocks' code_min and code_max, by turns */
} user_source;

static const user_source *user_of(const fp_source *source)
{
    return (const user_source *)source;
}

static bool has_status(int status)
{
    return status >= FACPOOL_STATUS_OK && status <= FACPOOL_STATUS_CRASHED;
}

/* ------------------------------------------------------------------ errors of a store */

#define MESSAGE_BYTES 1024

int facpool_sink_fail(facpool_error *err, int code, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return fp_fail(err, code, "%s", length < 0 ? format : message);
}

/* The source is at odds with itself: it said one thing of a block and gave another. */
FP_PRINTF(3, 4)
static int fail_corrupt(const fp_open_block *place, facpool_error *err, const char *format, ...)
{
    char what[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    if (vsnprintf(what, sizeof what, format, args) < 0)
        what[0] = '\0';
    va_end(args);
    return fp_fail(err, FACPOOL_E_CORRUPT,
                   "store '%.300s', block %" PRIu64 ": %s. Its scan and its read disagree, or it "
                   "was changed in between: scan it anew",
                   place->source->path, place->block->offset, what);
}

/* A read that breaks the contract in form can't be left out as damage: the store has to be mended.
 */
static int fail_form(const fp_open_block *place, facpool_error *err, const char *what)
{
    return fp_fail(
        err, FACPOOL_E_INVALID,
        "store '%.300s' read block %" PRIu64 " and gave %s: a facpool_rows needs dates, "
        "codes and timestamps, statuses unless all rows are ok, and factors where one is",
        place->source->path, place->block->offset, what);
}

/* Whatever a store says, the caller gets an error code of ours and a message. */
static int fail_read(const fp_open_block *place, int rc, const facpool_error *cause,
                     facpool_error *err)
{
    if (rc > 0 || rc < FACPOOL_E_STATE)
        return fp_fail(err, FACPOOL_E_IO,
                       "store '%.300s' read block %" PRIu64 " and returned %d: return 0 or a "
                       "FACPOOL_E_* code",
                       place->source->path, place->block->offset, rc);
    if (cause->code != rc || !cause->message[0])
        return fp_fail(err, rc, "store '%.300s' could not read block %" PRIu64 ": %s",
                       place->source->path, place->block->offset, facpool_error_name(rc));
    return fp_error_copy(err, cause);
}

/* ------------------------------------------------------------------ checking rows */

/* What is counted while a block's rows are taken over. */
typedef struct taking {
    const fp_open_block *place;
    const facpool_rows *given;
    fp_row_block *rows;
    double *factors; /* of one row; NULL where the rows come row by row */
    uint32_t n_taken;
    uint32_t status_rows[N_STATUSES];
} taking;

static int fail_n_rows(const fp_open_block *place, size_t n, facpool_error *err)
{
    return fail_corrupt(place, err, "%zu rows, where %" PRIu32 " were announced", n,
                        place->block->n_rows);
}

static int check_form(const fp_open_block *place, const facpool_rows *rows, facpool_error *err)
{
    if (rows->n != place->block->n_rows)
        return fail_n_rows(place, rows->n, err);
    if (!rows->dates || !rows->codes || !rows->timestamps)
        return fail_form(place, err,
                         !rows->dates   ? "no dates"
                         : !rows->codes ? "no codes"
                                        : "no timestamps");
    if (!place->block->has_factors)
        return 0;
    if (!rows->factors && !rows->factor_columns)
        return fail_form(place, err, "no factors");
    for (size_t f = 0; !rows->factors && f < place->source->schema.names.n; f++)
        if (!rows->factor_columns[f])
            return fail_form(place, err, "a factor column that is NULL");
    return 0;
}

static int check_date(const taking *t, size_t row, facpool_error *err)
{
    const fp_block *block = t->place->block;
    int64_t date = t->given->dates[row];
    if (date >= block->date_min && date <= block->date_max)
        return 0;
    return fail_corrupt(t->place, err,
                        "row %" PRIu32 " has date %" PRId64 ", outside of %" PRId64 " to %" PRId64,
                        t->n_taken, date, block->date_min, block->date_max);
}

static int check_code(const taking *t, size_t row, size_t *length, facpool_error *err)
{
    const fp_block *block = t->place->block;
    const char *code = t->given->codes[row];
    facpool_error cause = FACPOOL_ERROR_INIT;
    *length = fp_text_check(code, "code", &cause);
    if (*length == 0)
        return fail_corrupt(t->place, err, "row %" PRIu32 ": %s", t->n_taken, cause.message);
    if (strcmp(code, block->code_min) >= 0 && strcmp(code, block->code_max) <= 0)
        return 0;
    return fail_corrupt(t->place, err, "row %" PRIu32 " has code '%s', outside of '%s' to '%s'",
                        t->n_taken, code, block->code_min, block->code_max);
}

static int check_status(const taking *t, int status, facpool_error *err)
{
    if (has_status(status))
        return 0;
    return fail_corrupt(t->place, err, "row %" PRIu32 " has status %d: there are 1 (ok) to 5",
                        t->n_taken, status);
}

static int check_counts(const taking *t, facpool_error *err)
{
    for (int status = FACPOOL_STATUS_OK; status < N_STATUSES; status++) {
        uint32_t wanted = t->place->block->status_rows[status], got = t->status_rows[status];
        if (got != wanted)
            return fail_corrupt(t->place, err, "%u rows are %s, where %u were announced",
                                (unsigned)got, facpool_status_name(status), (unsigned)wanted);
    }
    return 0;
}

/* ------------------------------------------------------------------ taking rows over */

/* One row's factors side by side; NULL where it is not ok. */
static const double *factors_of(const taking *t, size_t row, uint8_t status)
{
    size_t n = t->place->source->schema.names.n;
    if (status != FACPOOL_STATUS_OK || !t->place->block->has_factors)
        return NULL;
    if (t->given->factors)
        return t->given->factors + row * n;
    for (size_t f = 0; f < n; f++)
        t->factors[f] = t->given->factor_columns[f][row];
    return t->factors;
}

/* A message as it may be kept: cut where it is too long, bytes that are no text replaced. */
static size_t copy_message(char to[FP_MESSAGE_MAX_BYTES], const taking *t, size_t row)
{
    const char *from = t->given->messages ? t->given->messages[row] : NULL;
    if (!from)
        return 0;
    size_t length = strnlen(from, FP_MESSAGE_MAX_BYTES + 1);
    length = fp_utf8_cut(from, length, FP_MESSAGE_MAX_BYTES);
    memcpy(to, from, length);
    fp_utf8_mend(to, length);
    return length;
}

static int take_row(taking *t, size_t row, facpool_error *err)
{
    char message[FP_MESSAGE_MAX_BYTES];
    uint8_t status = t->given->statuses ? t->given->statuses[row] : FACPOOL_STATUS_OK;
    fp_row_values values = {.date = t->given->dates[row],
                            .code = t->given->codes[row],
                            .timestamp = t->given->timestamps[row],
                            .status = status,
                            .message = message};
    int rc = check_date(t, row, err);
    if (!rc)
        rc = check_code(t, row, &values.code_length, err);
    if (!rc)
        rc = check_status(t, status, err);
    if (rc)
        return rc;
    if (status != FACPOOL_STATUS_OK) {
        values.failure_code = t->given->failure_codes ? t->given->failure_codes[row] : 0;
        values.message_length = copy_message(message, t, row);
    }
    values.factors = factors_of(t, row, status);
    rc = fp_row_block_add(t->rows, &values, err);
    if (rc)
        return rc;
    t->status_rows[status]++;
    t->n_taken++;
    return 0;
}

static int take_columns(taking *t, facpool_error *err)
{
    size_t n_factors = t->place->source->schema.names.n;
    int rc = check_form(t->place, t->given, err);
    if (rc)
        return rc;
    if (!t->given->factors && t->place->block->has_factors) {
        t->factors = fp_alloc_zero(NULL, n_factors, sizeof *t->factors);
        if (!t->factors)
            return fp_fail_nomem(err, n_factors * sizeof *t->factors);
    }
    for (size_t row = 0; !rc && row < t->given->n; row++)
        rc = take_row(t, row, err);
    fp_free(NULL, t->factors);
    return rc;
}

/* ------------------------------------------------------------------ reading a block */

/* What read is to fill in. The room is for a store that was built with a later header and sets
 * fields that this library does not know: then it is told so. */
typedef struct answer {
    facpool_rows rows;
    unsigned char room[256];
    taking taking; /* of rows that come one by one */
} answer;

int facpool_source_add(facpool_rows *rows, const facpool_row *row, facpool_error *err)
{
    facpool_row own;
    int rc = fp_abi_import(&own, sizeof own, row, "facpool_row", err);
    if (rc)
        return rc;
    taking *t = &((answer *)rows)->taking;
    const fp_open_block *place = t->place;
    rc = check_status(t, own.status, err);
    if (rc)
        return rc;
    size_t n_factors = place->source->schema.names.n;
    bool has_factors = own.factors && own.n_factors == n_factors;
    if (own.status == FACPOOL_STATUS_OK && !has_factors)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "store '%.300s', block %" PRIu64 ": an ok row was added with %zu factors, "
                       "where its source has %zu: give n_factors and factors",
                       place->source->path, place->block->offset, own.factors ? own.n_factors : 0,
                       n_factors);
    uint8_t status = (uint8_t)own.status;
    facpool_rows one = {.size = sizeof one,
                        .n = 1,
                        .dates = &own.date,
                        .codes = &own.code,
                        .timestamps = &own.timestamp,
                        .statuses = &status,
                        .factors = own.factors,
                        .failure_codes = &own.failure_code,
                        .messages = &own.message};
    t->given = &one;
    rc = take_row(t, 0, err);
    t->given = NULL;
    return rc;
}

/* After read: takes what came in columns, if nothing came row by row. */
static int take_answer(answer *a, facpool_error *err)
{
    taking *t = &a->taking;
    facpool_rows given;
    int rc = fp_abi_import(&given, sizeof given, &a->rows, "facpool_rows", err);
    if (!rc && t->n_taken == 0) {
        t->given = &given;
        rc = take_columns(t, err);
    }
    if (!rc && t->n_taken != t->place->block->n_rows)
        rc = fail_n_rows(t->place, t->n_taken, err);
    return rc ? rc : check_counts(t, err);
}

/* Calls the store's read, takes its rows into `rows`, and lets go of them. */
static int read_rows(const fp_open_block *place, size_t at, fp_row_block *rows, facpool_error *err)
{
    const facpool_source_options *store = &user_of(place->source)->options;
    facpool_error cause = FACPOOL_ERROR_INIT;
    answer a = {.rows = FACPOOL_ROWS_INIT, .taking = {.place = place, .rows = rows}};
    int rc = store->read(store->state, at, &a.rows, &cause);
    if (rc)
        return fail_read(place, rc, &cause, err);
    rc = take_answer(&a, err);
    if (store->release)
        store->release(store->state, at, &a.rows);
    return rc;
}

/* Rows of an opened block are sorted, so equal keys are neighbours. */
static int check_keys_differ(fp_open_block *open, fp_read_context *context, facpool_error *err)
{
    const void *dates_read = NULL, *codes_read = NULL;
    uint32_t n_rows = open->block->n_rows, n_pages = open->block->n_pages;
    int rc = fp_row_block_read(open, context, FP_COLUMN_DATE, 0, n_pages, NULL, &dates_read, err);
    if (!rc)
        rc = fp_row_block_read(open, context, FP_COLUMN_CODE, 0, n_pages, NULL, &codes_read, err);
    if (rc)
        return rc;
    const int64_t *dates = dates_read;
    const uint32_t *codes = codes_read;
    for (uint32_t row = 1; row < n_rows; row++)
        if (dates[row] == dates[row - 1] && codes[row] == codes[row - 1])
            return fail_corrupt(open, err, "(%" PRId64 ", '%s') is in it twice", dates[row],
                                fp_texts_at(open->codes, codes[row]));
    return 0;
}

static int open_block(const fp_source *source, size_t at, fp_read_context *context,
                      fp_open_block **out, facpool_error *err)
{
    fp_open_block place = {.source = source, .block = &source->blocks[at]};
    fp_row_block *rows = NULL;
    fp_open_block *open = NULL;
    int rc = fp_row_block_new(&rows, source, place.block, err);
    if (rc)
        return rc;
    rc = read_rows(&place, at, rows, err);
    if (rc) {
        fp_row_block_free(rows);
        return rc;
    }
    rc = fp_row_block_open(&open, rows, err);
    if (rc)
        return rc;
    rc = check_keys_differ(open, context, err);
    if (rc) {
        fp_row_block_close(open);
        return rc;
    }
    *out = open;
    return 0;
}

/* ------------------------------------------------------------------ a source */

static void source_free(fp_source *source)
{
    user_source *s = (user_source *)source;
    facpool_source_options store = s->options;
    fp_texts_free(&s->bounds);
    fp_schema_free(&s->base.schema);
    fp_free(NULL, s->base.blocks);
    fp_free(NULL, s->base.path);
    fp_free(NULL, s);
    if (store.free)
        store.free(store.state);
}

static const fp_source_type user_source_type = {
    .name = "a store of its own",
    .open_block = open_block,
    .close_block = fp_row_block_close,
    .read = fp_row_block_read,
    .read_messages = fp_row_block_read_messages,
    .free = source_free,
};

static int check_bound(const char *bound, size_t at, const char *what, facpool_error *err)
{
    if (bound && strnlen(bound, FP_CODE_MAX_BYTES + 1) > FP_CODE_MAX_BYTES)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "block %zu has a %s of more than %d bytes, which no code has: give the "
                       "codes' own, or NULL",
                       at, what, FP_CODE_MAX_BYTES);
    return 0;
}

static int check_block(const facpool_source_block *block, size_t at, facpool_error *err)
{
    uint64_t n = 0;
    for (int status = 0; status < N_STATUSES; status++)
        n += block->status_rows[status];
    if (block->n_rows == 0 || block->n_rows > FP_BLOCK_ROWS)
        return fp_fail(err, FACPOOL_E_INVALID, "block %zu has %" PRIu32 " rows: give it 1 to %d",
                       at, block->n_rows, FP_BLOCK_ROWS);
    if (n != block->n_rows || block->status_rows[FACPOOL_STATUS_NONE])
        return fp_fail(err, FACPOOL_E_INVALID,
                       "block %zu has %" PRIu32 " rows, but its status_rows (none %" PRIu32
                       ") add up to %" PRIu64 ": count each row by its status",
                       at, block->n_rows, block->status_rows[FACPOOL_STATUS_NONE], n);
    if (block->date_min > block->date_max)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "block %zu has dates from %" PRId64 " to %" PRId64 ": give the least first",
                       at, block->date_min, block->date_max);
    int rc = check_bound(block->code_min, at, "code_min", err);
    if (!rc)
        rc = check_bound(block->code_max, at, "code_max", err);
    if (!rc && block->code_min && block->code_max && strcmp(block->code_min, block->code_max) > 0)
        rc = fp_fail(err, FACPOOL_E_INVALID,
                     "block %zu has codes from '%s' to '%s': give the least by bytes first", at,
                     block->code_min, block->code_max);
    return rc;
}

static int keep_bound(fp_texts *bounds, const char *bound, facpool_error *err)
{
    size_t length = strlen(bound);
    return fp_texts_add(bounds, bound, length) ? fp_fail_nomem(err, length + 1) : 0;
}

static void describe_block(fp_block *to, const facpool_source_block *from, size_t at)
{
    uint32_t n_ok = from->status_rows[FACPOOL_STATUS_OK];
    *to = (fp_block){.offset = at,
                     .n_rows = from->n_rows,
                     .n_pages = (from->n_rows + FP_PAGE_ROWS - 1) / FP_PAGE_ROWS,
                     .all_ok = n_ok == from->n_rows,
                     .has_factors = n_ok > 0,
                     .date_min = from->date_min,
                     .date_max = from->date_max,
                     .timestamp_min = INT64_MIN,
                     .timestamp_max = INT64_MAX};
    memcpy(to->status_rows, from->status_rows, sizeof to->status_rows);
}

static int copy_blocks(user_source *s, const facpool_source_options *o, facpool_error *err)
{
    fp_source *base = &s->base;
    base->blocks = fp_alloc_zero(NULL, o->n_blocks + 1, sizeof *base->blocks);
    if (!base->blocks)
        return fp_fail_nomem(err, o->n_blocks * sizeof *base->blocks);
    base->n_blocks = o->n_blocks;
    base->end = o->n_blocks;
    int rc = 0;
    for (size_t b = 0; !rc && b < o->n_blocks; b++) {
        const facpool_source_block *block = &o->blocks[b];
        rc = check_block(block, b, err);
        if (!rc)
            rc = keep_bound(&s->bounds, block->code_min ? block->code_min : LEAST_CODE, err);
        if (!rc)
            rc = keep_bound(&s->bounds, block->code_max ? block->code_max : GREATEST_CODE, err);
        if (!rc)
            describe_block(&base->blocks[b], block, b);
        base->n_pages += base->blocks[b].n_pages;
    }
    for (size_t b = 0; !rc && b < o->n_blocks; b++) { /* the texts have come to rest */
        base->blocks[b].code_min = fp_texts_at(&s->bounds, 2 * b);
        base->blocks[b].code_max = fp_texts_at(&s->bounds, 2 * b + 1);
    }
    return rc;
}

static int check_options(facpool_source **out, const facpool_source_options *o, facpool_error *err)
{
    if (!out)
        return fp_fail(err, FACPOOL_E_INVALID, "out is NULL: give a place for the source");
    if (!o->name || !*o->name)
        return fp_fail(err, FACPOOL_E_INVALID, "the source has no name: messages need one");
    if (!o->read)
        return fp_fail(err, FACPOOL_E_INVALID, "source '%.300s' has no read", o->name);
    if (!o->factor_names)
        return fp_fail(err, FACPOOL_E_INVALID, "source '%.300s' has no factor_names", o->name);
    if (o->n_blocks && !o->blocks)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "source '%.300s' has %zu blocks, but `blocks` is "
                       "NULL",
                       o->name, o->n_blocks);
    return 0;
}

/* Fills in a source that is zero. What it got hold of is freed with it. */
static int init_source(user_source *s, const facpool_source_options *o, facpool_error *err)
{
    s->base.type = &user_source_type;
    atomic_init(&s->base.references, 1);
    s->base.path = fp_strdup(NULL, o->name);
    if (!s->base.path)
        return fp_fail_nomem(err, strlen(o->name) + 1);
    int rc = fp_schema_init(&s->base.schema, o->n_factors, o->factor_names, o->tag, err);
    return rc ? rc : copy_blocks(s, o, err);
}

/* The store's state is freed on failure too, by whatever of the options can be known. */
int facpool_source_new(facpool_source **out, const facpool_source_options *options,
                       facpool_error *err)
{
    facpool_source_options own = FACPOOL_SOURCE_OPTIONS_INIT;
    user_source *s = NULL;
    int rc = fp_abi_import(&own, sizeof own, options, "facpool_source_options", err);
    if (rc == FACPOOL_E_ABI && options->size > sizeof own && options->size <= 65536)
        own = *options; /* it asks for something newer: what we know of it is there all the same */
    if (!rc)
        rc = check_options(out, &own, err);
    if (!rc && !(s = fp_alloc_zero(NULL, 1, sizeof *s)))
        rc = fp_fail_nomem(err, sizeof *s);
    if (!rc)
        rc = init_source(s, &own, err);
    if (rc) {
        if (s)
            source_free(&s->base);
        if (own.free)
            own.free(own.state);
        return rc;
    }
    s->options = own;
    *out = &s->base;
    return 0;
}

void facpool_source_free(facpool_source *source)
{
    fp_source_release(source);
}
