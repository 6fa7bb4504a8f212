/* libfacpool: stores of your own. A sink takes the rows of a run and keeps them; where it can give
 * them back, runs resume on it and queries read it. The library's own formats (json, binary,
 * memory_map) are written against this table and nothing else.
 *
 * To write one: fill in a const facpool_sink_type, hand it over in facpool_backup_options.sink, and
 * read with facpool_reader_from_source. examples/sqlite_sink.c is one on an SQLite database.
 *
 * What the library promises to a sink
 * - open comes first, close last, for each state; nothing else is called after close, nor after
 *   open failed. States of one store may exist side by side: one that writes, many that read.
 * - Functions of one state are called by one thread at a time (not always the same one), unless the
 *   sink says FACPOOL_SINK_CONCURRENT_APPEND.
 * - After an error from append or sync nothing but close is called.
 * - Pointers it is given are valid during the call.
 * What a sink promises to the library
 * - Functions return 0 or a negative FACPOOL_E_*, and then fill *err (by facpool_sink_fail), never
 *   throw, and leave outputs untouched on failure.
 * - A key (date, code) is kept once: a row for a key whose row is not ok takes its place. Rows for
 *   keys with an ok row are never appended.
 * - When append has returned, the rows outlive the death of the process; when sync has returned,
 *   power loss. (A store that can't tell the two apart makes sync do nothing.) */
/* clang-format off */
#ifndef FACPOOL_SINK_H
#define FACPOOL_SINK_H

#include "facpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ rows on their way in */

/* Rows in columns: at least one, at most 65,536, sorted by (date, code), either all ok or none.
 * Row i has the code facpool_sink_code(batch, i). */
typedef struct facpool_sink_batch {
    size_t size;
    size_t n_rows;
    int32_t all_ok;
    int32_t reserved;
    const int64_t *dates;
    const int64_t *timestamps;      /* us since 1970-01-01 UTC */
    const uint32_t *code_ids;       /* row -> code id */
    size_t n_codes;
    const uint32_t *code_offsets;   /* id -> where its code begins; one more than codes */
    const char *code_bytes;         /* each code with a NUL behind it */
    const uint32_t *code_ranks;     /* id -> place in byte order; NULL: not known */
    size_t n_factors;
    const double *const *factors;   /* n_factors columns; NULL where no row is ok, as no row has any */
    const uint8_t *statuses;        /* NULL where all are ok, as the next three */
    const int32_t *failure_codes;
    const uint32_t *message_offsets; /* row -> where its message begins; one more than rows */
    const char *message_bytes;       /* each with a NUL behind it; "" where there is none */
} facpool_sink_batch;

/* The code of a row, NUL-terminated, and how many bytes it has. */
static inline const char *facpool_sink_code(const facpool_sink_batch *batch, size_t row)
{
    return batch->code_bytes + batch->code_offsets[batch->code_ids[row]];
}
static inline size_t facpool_sink_code_length(const facpool_sink_batch *batch, size_t row)
{
    const uint32_t *at = batch->code_offsets + batch->code_ids[row];
    return at[1] - at[0] - 1;
}

/* A row's status, and its message ("" where it is ok). */
static inline int facpool_sink_status(const facpool_sink_batch *batch, size_t row)
{
    return batch->all_ok ? FACPOOL_STATUS_OK : batch->statuses[row];
}
static inline const char *facpool_sink_message(const facpool_sink_batch *batch, size_t row)
{
    return batch->all_ok ? "" : batch->message_bytes + batch->message_offsets[row];
}

/* ------------------------------------------------------------------ rows on their way out */

/* A snapshot of a store, counted; made by facpool_source_new. */
typedef struct facpool_source facpool_source;

/* One part of a store, of 1 to 65,536 rows: what is known of it without reading it. No key lies in
 * two blocks of a source. Ranges may be wider than the rows are, never narrower. */
typedef struct facpool_source_block {
    uint32_t n_rows;
    uint32_t status_rows[6];  /* how many by FACPOOL_STATUS_*; they add up to n_rows */
    int64_t date_min;
    int64_t date_max;
    const char *code_min;     /* by bytes; NULL: not known, as code_max */
    const char *code_max;
} facpool_source_block;

/* What a snapshot holds. Everything but `state` is copied. */
typedef struct facpool_source_options {
    size_t size;
    const char *name;                 /* of the store, for messages */
    size_t n_factors;
    const char *const *factor_names;
    const char *tag;                  /* NULL: none */
    size_t n_blocks;
    const facpool_source_block *blocks;

    /* Reads block `block`: all its rows, in any order. Either *rows gets them as columns, factors
     * by column or by row, NULL messages being none; what it points to stays until release is
     * called for it, or for ever where release is NULL. Or each is handed over by
     * facpool_source_add, and nothing has to stay. Called by several threads at once, if several
     * cursors are in use at once. What does not fit the block's entry (number of rows, ranges,
     * statuses) is CORRUPT. */
    int (*read)(void *state, size_t block, facpool_rows *rows, facpool_error *err);
    void (*release)(void *state, size_t block, facpool_rows *rows);

    /* Called with the last reference, also when facpool_source_new fails. NULL: nothing to free. */
    void (*free)(void *state);
    void *state;
} facpool_source_options;

#define FACPOOL_SOURCE_OPTIONS_INIT \
    {sizeof(facpool_source_options), NULL, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL}

/* From within read: takes over a copy of one row. `rows` is what read was given, and not otherwise
 * filled in; n_factors is that of the source, and what the row points to is needed during the call
 * alone. Errors, which read returns: INVALID (factors are missing), CORRUPT (what does not fit the
 * block's entry), NOMEM. */
FACPOOL_API int facpool_source_add(facpool_rows *rows, const facpool_row *row, facpool_error *err);

/* Makes a snapshot for scan to give. Errors: INVALID, NOMEM. */
FACPOOL_API int facpool_source_new(facpool_source **out, const facpool_source_options *options,
                                   facpool_error *err);

/* Drops a reference. NULL is fine. */
FACPOOL_API void facpool_source_free(facpool_source *source);

/* ------------------------------------------------------------------ the table */

/* What a state is opened for. */
#define FACPOOL_SINK_READ  1 /* scan alone: the store must be there */
#define FACPOOL_SINK_WRITE 2

/* What a sink can do beyond the least. */
#define FACPOOL_SINK_CONCURRENT_APPEND 1u /* append, sync and scan may run at the same time on
                                             several threads, each in its own call */

/* What the library brings to open. */
typedef struct facpool_sink_request {
    size_t size;
    int32_t purpose;               /* FACPOOL_SINK_READ or _WRITE; all below is for writing */
    int32_t mode;                  /* FACPOOL_MODE_*, never 0 */
    int32_t durability;            /* FACPOOL_DURABILITY_*, never 0. With none, sync is called
                                      only where the caller asks for it (facpool_writer_sync) */
    int32_t compression_level;     /* as the user gave it */
    const char *path;              /* where: as the user gave it */
    const char *tag;               /* NULL: none */
    size_t n_factors;
    const char *const *factor_names;
    const struct facpool_sink_type *type; /* whose open this is */
    void *user;                    /* of the backup options, or of facpool_reader_from_source */
} facpool_sink_request;

/* What open found. It arrives with its size set and all else zero. */
typedef struct facpool_sink_opening {
    size_t size;
    int32_t existed;               /* nonzero: rows may be there already; scan is then needed */
    int32_t reserved;
    uint64_t damaged_blocks;       /* found, and left out of what scan gives: tasks whose rows were
                                      there run again */
    uint64_t tail_bytes_cut;
} facpool_sink_opening;

typedef struct facpool_sink_type {
    size_t size;                   /* sizeof(facpool_sink_type) */
    const char *name;
    uint32_t capabilities;         /* FACPOOL_SINK_* bits */
    uint32_t reserved;
    const void *type_data;         /* the sink's own */

    /* Opens the store as request->mode says: create fails with EXISTS where it is there, resume
     * continues it or makes it, overwrite empties it. On resume the library compares the factor
     * names and the tag that scan gives with those of the request; a sink without scan can't be
     * resumed. Keeps other writers out from here on (BUSY), or leaves that to `lock`. */
    int (*open)(void **state, const facpool_sink_request *request, facpool_sink_opening *opening,
                facpool_error *err);

    /* Adds rows, all or none. */
    int (*append)(void *state, const facpool_sink_batch *batch, facpool_error *err);

    /* Returns when all that was appended survives power loss. */
    int (*sync)(void *state, facpool_error *err);

    /* Ends the state and frees it, also on error. A state that wrote leaves everything written
     * and, unless the durability is none, synced. */
    int (*close)(void *state, facpool_error *err);

    /* Optional (NULL): a snapshot of the rows, which outlives the state. `previous` is NULL or an
     * older snapshot of the same store, from which what still holds may be taken. Without it a
     * store can't be resumed or asked. */
    int (*scan)(void *state, facpool_source *previous, facpool_source **out, facpool_error *err);

    /* Optional: keeps other writers out until close. Called right after an open for writing, before
     * anything else. BUSY where another has it; the state is then closed. (A sink whose open already
     * changes something takes its lock there.) */
    int (*lock)(void *state, facpool_error *err);
} facpool_sink_type;

/* Fills *err (NULL is fine) with a code and a message, as printf; returns the code. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
FACPOOL_API int facpool_sink_fail(facpool_error *err, int code, const char *format, ...);

#ifdef __cplusplus
}
#endif

#endif
