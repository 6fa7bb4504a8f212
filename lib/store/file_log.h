/* The file log: a header, then blocks that are only ever appended. Everything that all file formats
 * share is here: create, lock, publish, append, group commit, recovery, index, snapshots, verify
 * and repair. Called by sink.c; what the bytes mean is the format's business. */
#ifndef FP_STORE_FILE_LOG_H
#define FP_STORE_FILE_LOG_H

#include "os/os.h"
#include "store/dictionary_cache.h"
#include "store/format.h"
#include "store/sink.h"

#define FP_PROBE_BYTES 64

/* ------------------------------------------------------------------ what is in a file */

/* Found by walking a file or reading its index. */
typedef struct fp_log_contents {
    uint64_t header_end;
    uint64_t end;           /* behind the last good block: what follows is a torn tail */
    uint64_t durable_end;   /* what is known to have survived a sync */
    uint64_t next_sequence; /* the next block's */
    fp_index_counts counts; /* blocks that can't be listed, or are not listed any more */
    uint64_t first_damage;  /* offset, where counts.damaged > 0 */
    bool closed;            /* an index block is the last thing before `end` */
    fp_log_index index;
} fp_log_contents;

void fp_log_contents_free(fp_log_contents *contents);

/* Reads what is in a file whose header ends at place->header_end: from its index where it was
 * closed well (and trust_index), else block by block. Errors: IO, NOMEM. */
int fp_log_find_contents(const fp_format *format, const fp_place *place, bool trust_index,
                         fp_log_contents *out, facpool_error *err);

/* Takes in what follows contents->end. An index block on the way tells which blocks before it
 * count, unless trust_index is false. */
int fp_log_walk(const fp_format *format, const fp_place *place, bool trust_index,
                fp_log_contents *contents, facpool_error *err);

/* Takes blocks that fail their checks off the list, for good once an index block says so; *n gets
 * how many, those that could not be listed at all included. Errors: IO, NOMEM. */
int fp_log_give_up_damaged(const fp_format *format, const fp_place *place,
                           fp_log_contents *contents, uint64_t *n, facpool_error *err);

/* ------------------------------------------------------------------ reading */

/* A file open for reading, shared by snapshots. */
typedef struct fp_log_file {
    fp_file file;
    atomic_size_t references;
    fp_dictionary_cache dictionaries;
} fp_log_file;

fp_log_file *fp_log_file_hold(fp_log_file *file);
void fp_log_file_release(fp_log_file *file); /* takes NULL */

/* Opens `path` for reading and finds its format. Errors: NOT_FOUND, UNSUPPORTED, IO, NOMEM. */
int fp_log_file_open(fp_log_file **out, const fp_format **format, const char *path,
                     facpool_error *err);

/* The format of an open file, and whether it is empty (then the format is NULL). Errors:
 * UNSUPPORTED (no backup), IO. */
int fp_log_probe(const fp_file *file, const char *path, const fp_format **format, bool *is_empty,
                 facpool_error *err);

/* A snapshot of a file. */
typedef struct fp_log_source {
    fp_source base;
    const fp_format *format;
    fp_log_file *file;
    fp_log_contents contents;
    uint64_t file_bytes;
} fp_log_source;

/* A source of what `contents` says, which it takes over on success. */
int fp_log_source_new(fp_log_source **out, const fp_format *format, fp_log_file *file,
                      const char *path, const fp_schema *schema, fp_log_contents *contents,
                      uint64_t file_bytes, facpool_error *err);
void fp_log_source_free(fp_source *source);

/* `previous` may be NULL or a source of any kind. trust_index false: every block is looked at. */
int fp_log_source_open(fp_log_source **out, const char *path, const fp_source *previous,
                       bool trust_index, facpool_error *err);

/* Reads and checks everything in a file. 0, CORRUPT with the report filled, or IO, ... */
int fp_log_verify(const char *path, facpool_verify_report *report, facpool_error *err);

/* ------------------------------------------------------------------ writing */

typedef struct fp_log_settings {
    const fp_format *format;
    const char *path;
    int32_t durability;
    int32_t compression_level; /* as the user gave it */
} fp_log_settings;

/* A new file. `replace`: the one that is there, whose lock the caller holds. Errors: EXISTS, ... */
int fp_log_create(fp_sink **out, const fp_log_settings *settings, const fp_schema *wanted,
                  bool replace, facpool_error *err);

/* Continues a file that is open for writing and locked; takes *file over on success. wanted NULL:
 * whatever factors and tag it has. Errors: MISMATCH, CORRUPT, IO, ... */
int fp_log_resume(fp_sink **out, const fp_log_settings *settings, fp_file *file,
                  const fp_schema *wanted, fp_sink_opening *opening, facpool_error *err);

/* A sink's state; file_log_open.c makes it, file_log_write.c works on it. */
typedef struct fp_log {
    fp_sink base;
    const fp_format *format;
    fp_file file;         /* locked for writing */
    fp_log_file *reading; /* for snapshots: they must not hold the lock */
    int32_t durability;
    int32_t level; /* of zstd; negative: none */

    fp_lock lock; /* guards all below */
    bool lock_ready;
    fp_log_contents contents;
    uint64_t rows_end;         /* rows written when contents.end was reached */
    int64_t unsynced_since_ns; /* when the first block behind durable_end was written */
    bool syncing;              /* a thread is in a sync, without the lock */
    bool failed;               /* then `failure` says why, for good */
    bool sync_failed;          /* nothing unsynced can be believed to be there */
    facpool_error failure;
    fp_encoder *idle_encoders;
} fp_log;

extern const fp_sink_type fp_log_sink_type;
void fp_log_free(fp_log *log);

/* Appends an index block and, where the durability syncs at all, syncs before and after. Lock
 * held. */
int fp_log_end_well(fp_log *log, facpool_error *err);

#endif
