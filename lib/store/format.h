/* What a file format is. The file log does everything that touches the file: creating, locking,
 * appending, syncing, recovering, closing. A format turns batches into bytes and bytes into
 * batches, and knows where its blocks begin; it opens no file and keeps no state between calls. A
 * new format is one table of this type, and one line in registry.c. */
#ifndef FP_STORE_FORMAT_H
#define FP_STORE_FORMAT_H

#include "store/log_index.h"
#include "store/window.h"

/* So many bytes tell of which format a file is, mostly. */
#define FP_PROBE_BYTES 4096

/* Working memory for encoding: one thread at a time. Formats put their own behind it. */
typedef struct fp_encoder {
    struct fp_encoder *next; /* in the log's list of idle ones */
} fp_encoder;

/* A block ready to be sealed and written, in the encoder's memory until its next encode. */
typedef struct fp_encoded_block {
    uint8_t *bytes;
    size_t size;
    fp_log_entry entry; /* all but offset and sequence; its texts are the batch's own */
} fp_encoded_block;

/* What a block learns only when it is written. */
typedef struct fp_seal {
    uint64_t offset;
    uint64_t sequence;    /* counts the blocks of a file, index blocks included */
    uint64_t durable_end; /* of the file, before this block */
    bool unsynced;        /* by a writer that never syncs */
} fp_seal;

/* Where a walk stands in which file. */
typedef struct fp_place {
    fp_window *window;
    const fp_schema *schema;
    uint64_t header_end; /* where the file's first block begins */
} fp_place;

typedef enum fp_block_state {
    FP_BLOCK_BAD,   /* no block begins here, or its header fails its checks */
    FP_BLOCK_SHORT, /* a good header, but the file ends within the block */
    FP_BLOCK_WHOLE  /* a good header, and the file is long enough */
} fp_block_state;

/* What a block's header says. */
typedef struct fp_parsed_block {
    fp_block_state state;
    bool is_index;      /* or, in a file of lines, a stretch of blank ones: no rows */
    fp_log_entry entry; /* its texts point into the window, valid until its next use, or below */
    uint64_t durable_end;
    bool unsynced;
    char code_min[FP_CODE_MAX_BYTES + 1]; /* for formats that do not store them as they are */
    char code_max[FP_CODE_MAX_BYTES + 1];
} fp_parsed_block;

/* Blocks that an index block counts and does not list. */
typedef struct fp_index_counts {
    uint64_t damaged;  /* their rows are missing */
    uint64_t given_up; /* damaged too, but a resume has put their tasks back to be run */
} fp_index_counts;

/* What an index block says of the file before it. */
typedef struct fp_parsed_index {
    bool found;
    fp_log_index index;
    uint64_t offset; /* of the index block itself */
    uint64_t sequence;
    uint64_t durable_end;
    fp_index_counts counts;
} fp_parsed_index;

/* What checking a whole block found. */
typedef struct fp_block_check {
    uint64_t damaged_parts;
    uint64_t first_damage; /* file offset, where there is damage */
} fp_block_check;

/* Takes a line of a file, its newline left out. */
typedef int fp_take_line(void *to, uint64_t offset, uint64_t bytes, facpool_error *err);

/* What a format adds whose files hold rows and nothing else, each a line: no header, no index, no
 * sequence numbers, no durable ends. Its blocks are runs of good lines, which parse_block has
 * checked to the last byte and which the walk numbers; a file counts as closed where no torn tail
 * follows. Lines that a resume gives up are blanked in place. These return 0, IO or NOMEM. */
typedef struct fp_line_type {
    /* Whether a file begins as a power loss may leave one of ours, with zeros, or with garbage and
     * blanks, and goes on with what can be left of rows, a good one among them. */
    int (*has_row)(const fp_file *file, bool *has, facpool_error *err);
    /* Calls `take` for each line that is no good row and not blank, from `from` on, where a line
     * begins, and that begins below `end`. Ends where `take` does not return 0, and returns that.
     */
    int (*each_bad_line)(const fp_place *place, uint64_t from, uint64_t end, fp_take_line *take,
                         void *to, facpool_error *err);
    /* The number, from 1, of the line that begins at an offset. */
    int (*number_of_line)(const fp_place *place, uint64_t offset, uint64_t *number,
                          facpool_error *err);
    /* Whether the file is nothing but the beginning of a first row of place->schema, cut off, with
     * zeros behind it or not. */
    int (*is_beginning)(const fp_place *place, bool *is, facpool_error *err);
} fp_line_type;

typedef struct fp_format {
    const char *name;
    const char *suffix; /* of paths that ask for it */
    uint32_t version;
    const fp_source_type *source_type; /* its free is fp_log_source_free */
    const fp_line_type *lines;         /* NULL: files of blocks */
    bool zero_copy;                    /* what its sources are */

    /* Whether a file whose first n bytes these are is (or is meant to be) of this format. */
    bool (*probe)(const uint8_t *first, size_t n);
    /* NULL where probe can't be wrong. Else whether one that it took for ours is, by what it begins
     * with, a file of another program: then it is not overwritten. */
    bool (*is_foreign)(const uint8_t *first, size_t n);

    /* The file's header, which holds everything of the schema. */
    int (*encode_header)(const fp_schema *schema, fp_buffer *out, facpool_error *err);
    /* Errors: CORRUPT, UNSUPPORTED (newer version), IO, NOMEM. */
    int (*parse_header)(fp_window *window, fp_schema *schema, uint64_t *header_end,
                        facpool_error *err);

    fp_encoder *(*new_encoder)(const fp_schema *schema, int compression_level); /* NULL: NOMEM */
    void (*free_encoder)(fp_encoder *encoder);

    /* The most rows encode takes at once for so many factors. */
    size_t (*most_rows)(size_t n_factors);
    /* Rows first .. first + n - 1 of a sorted batch as one block. */
    int (*encode)(fp_encoder *encoder, const fp_batch *batch, size_t first, size_t n,
                  fp_encoded_block *out, facpool_error *err);
    void (*seal)(fp_encoded_block *block, const fp_seal *seal);

    /* These return 0, whatever the bytes are, or IO, NOMEM. */
    int (*parse_block)(const fp_place *place, uint64_t offset, fp_parsed_block *out,
                       facpool_error *err);
    /* The first offset from `from` on where parse_block does not say BAD; UINT64_MAX: none. */
    int (*find_block)(const fp_place *place, uint64_t from, uint64_t *offset, facpool_error *err);
    /* Reads a WHOLE block's every byte and checks it. */
    int (*check_block)(const fp_place *place, uint64_t offset, fp_block_check *out,
                       facpool_error *err);

    /* An index block, which closes a file or gives up damaged blocks: sealed as it is made. */
    int (*encode_index)(const fp_schema *schema, const fp_log_index *index, fp_index_counts counts,
                        const fp_seal *seal, fp_buffer *out, facpool_error *err);
    /* Where the index block begins that the very end of the file names; 0: it names none. *sound:
     * whether all that parse_index does not look at is as it was written. */
    int (*find_index)(const fp_place *place, uint64_t *offset, bool *sound, facpool_error *err);
    /* The index block at an offset; found is false where there is no sound one. */
    int (*parse_index)(const fp_place *place, uint64_t offset, fp_parsed_index *out,
                       facpool_error *err);
} fp_format;

/* Formats, one line each. */
extern const fp_format fp_format_binary;
extern const fp_format fp_format_json;
extern const fp_format fp_format_memory_map;

#endif
