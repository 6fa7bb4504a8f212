/* The file log: a header, then blocks that are only ever appended. Everything that all file formats
 * share is here: create, lock, publish, append, group commit, recovery, index, snapshots, verify
 * and repair. Called by sink.c; what the bytes mean is the format's business. */
#ifndef FP_STORE_FILE_LOG_H
#define FP_STORE_FILE_LOG_H

#include "os/os.h"
#include "store/dictionary_cache.h"
#include "store/format.h"

#include <facpool/sink.h>

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
    bool lost_index;        /* an index block may be among what is damaged, and none since: blocks
                               may be listed that were given up, whose rows are there again */
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

/* Counts bad lines before contents->end anew: some may have been blanked since, which nothing else
 * tells. Errors: IO, NOMEM. */
int fp_log_recount_bad_lines(const fp_format *format, const fp_place *place,
                             fp_log_contents *contents, facpool_error *err);

/* Whether the block that entry i of an index lists is where it says, by its header. Errors: IO,
 * NOMEM. */
int fp_log_find_entry(const fp_format *format, const fp_place *place, const fp_log_index *index,
                      size_t i, bool *is_there, facpool_error *err);

/* Checks every byte of the blocks that are listed, and marks the damaged ones. Errors: IO, NOMEM.
 */
int fp_log_find_damaged(const fp_format *format, const fp_place *place, fp_log_contents *contents,
                        facpool_error *err);

/* How many blocks are damaged: those that could not be listed, and those that are marked. */
uint64_t fp_log_n_damaged(const fp_log_contents *contents);

/* Takes marked blocks off the list, for good once an index block says so; with `blocks` only those
 * whose flag there is set. Returns how many. */
size_t fp_log_take_off_damaged(fp_log_contents *contents, const uint8_t *blocks);

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

/* The same for a file whose format is known, and which may be empty. Errors: NOT_FOUND,
 * UNSUPPORTED, IO, NOMEM. */
int fp_log_file_open_known(fp_log_file **out, const char *path, facpool_error *err);

/* The format of an open file, and whether it is empty (then the format is NULL). Errors:
 * UNSUPPORTED (no backup), IO, NOMEM. */
int fp_log_probe(const fp_file *file, const char *path, const fp_format **format, bool *is_empty,
                 facpool_error *err);

/* What a format's reading half keeps with a snapshot: made when it is first needed, freed with it.
 */
typedef struct fp_log_view {
    void (*free)(struct fp_log_view *view);
} fp_log_view;

/* A snapshot of a file. */
typedef struct fp_log_source {
    fp_source base;
    const fp_format *format;
    fp_log_file *file;
    fp_log_contents contents;
    uint64_t file_bytes;
    _Atomic(fp_log_view *) view; /* NULL until a format makes it */
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
    bool hidden;               /* a new file gets its name when it is closed, whole */
    bool waits;                /* one that replaces another gets it by fp_log_appear */
    bool keep_identity;        /* a new file has the id and the time of the schema that is given */
} fp_log_settings;

/* A file being written; file_log_open.c makes it, file_log_write.c works on it. */
typedef struct fp_log {
    fp_schema schema; /* as stored */
    const fp_format *format;
    fp_file file;         /* locked for writing */
    fp_log_file *reading; /* for snapshots: they must not hold the lock. NULL while hidden */
    int32_t durability;
    int32_t level;  /* of zstd; negative: none */
    char *hidden;   /* the name it is to get; NULL: it has its name */
    bool replaces;  /* then: a file that is there */
    fp_file victim; /* that file, whose lock is held */

    fp_lock lock; /* guards all below */
    bool lock_ready;
    fp_log_contents contents;
    uint64_t begun_at; /* where a file ended that was there before; 0 in a new one */
    bool syncing;      /* a thread is in a sync, without the lock */
    bool failed;       /* then `failure` says why, for good */
    bool sync_failed;  /* nothing unsynced can be believed to be there */
    facpool_error failure;
    fp_encoder *idle_encoders;
} fp_log;

/* A new file. `victim`: NULL, or the file that it replaces, open and locked, which is taken over on
 * success. Errors: EXISTS, ... */
int fp_log_create(fp_log **out, const fp_log_settings *settings, const fp_schema *wanted,
                  fp_file *victim, facpool_error *err);

/* Gives a new file that waits its name; one that has it is left as it is. Nothing has been appended
 * yet. Errors: BUSY, IO, NOMEM: what it was to replace is as it was, unless it is the sync of the
 * name that failed. */
int fp_log_appear(fp_log *log, facpool_error *err);

/* What resuming a file found. */
typedef struct fp_log_findings {
    uint64_t damaged_blocks; /* all that are; wanted NULL: that can't be listed */
    uint64_t tail_bytes_cut;
} fp_log_findings;

/* Continues a file that is open for writing and locked; takes *file over on success. wanted NULL:
 * whatever factors and tag it has. What is damaged stays, and stays reported. Errors: MISMATCH,
 * CORRUPT, IO, ... */
int fp_log_resume(fp_log **out, const fp_log_settings *settings, fp_file *file,
                  const fp_schema *wanted, fp_log_findings *findings, facpool_error *err);

/* Gives up what is damaged in a file that was just resumed with `wanted`: the caller will store its
 * rows again; no reader sees any of it from now on, nor is told of it. `blocks`: NULL, all of it;
 * else a flag a listed block, and what can't be listed stays. *n_left gets how much is still
 * damaged. Errors: IO, NOMEM. */
int fp_log_give_up(fp_log *log, const uint8_t *blocks, uint64_t *n_left, facpool_error *err);

/* These may be called by any number of threads at once. After an error all give it again. */
int fp_log_append(fp_log *log, const fp_batch *batch, facpool_error *err);
int fp_log_sync(fp_log *log,
                facpool_error *err); /* returns when all that was appended is durable */

/* A snapshot of what was appended so far. Not of a hidden file. */
int fp_log_source_of(fp_log *log, fp_source **out, facpool_error *err);

/* Ends the file well (index, sync, its name if it is hidden), frees the log, also on error. */
int fp_log_close(fp_log *log, facpool_error *err);
void fp_log_free(fp_log *log); /* as it is: a hidden file is gone */

/* Gives a hidden file its name: all that was appended is on the disk first, whatever the
 * durability. Writers keep away from a locked file that is to be replaced; others may have moved
 * one in its place (BUSY). Lock held. */
int fp_log_publish(fp_log *log, facpool_error *err);

/* Writes spaces over n bytes of a file of lines. */
int fp_log_blank(const fp_file *file, uint64_t offset, uint64_t n, facpool_error *err);

/* What a failed sync could not save, the kernel may call clean: a later sync would succeed, and
 * save nothing of it. Written again it is the next one's to save. Best effort, as the disk is
 * failing. */
void fp_log_write_again(const fp_file *file, uint64_t from, uint64_t end);

/* Appends an index block and, where the durability syncs at all, syncs before and after. Lock
 * held. */
int fp_log_end_well(fp_log *log, facpool_error *err);

/* ------------------------------------------------------------------ as a sink */

/* What `type_data` of the table is, while open is called: which format a new file gets. */
typedef struct fp_file_choice {
    const fp_format *format;
    bool named; /* by the caller: a file of another format is not continued */
    bool hidden;
    bool waits;
    const fp_schema *identity; /* NULL, or whose id and time a new file has */
} fp_file_choice;

/* The sink that all file formats share (file_log_sink.c). */
extern const facpool_sink_type fp_file_sink_type;

/* Closes a state that is writing without ending its file well. */
void fp_file_sink_discard(void *state);

/* Whether a state that is writing waits for fp_file_sink_appear (fp_log_appear for it); then
 * *schema gets its file's id and time. */
bool fp_file_sink_waits(const void *state, fp_schema *schema);
int fp_file_sink_appear(void *state, facpool_error *err);

/* fp_log_give_up for a state that is writing. */
int fp_file_sink_give_up(void *state, const uint8_t *blocks, uint64_t *n_left, facpool_error *err);

#endif
