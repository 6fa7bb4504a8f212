/* Sources: the reading half of every store. A source is an immutable, counted snapshot: a list of
 * blocks with the ranges they cover. A block is opened (its dictionary and page directory read and
 * checked), then columns of pages are read from it. Cursors and resume know nothing else of how
 * rows are stored. */
#ifndef FP_STORE_SOURCE_H
#define FP_STORE_SOURCE_H

#include <stdatomic.h>
#include "base/buffer.h"
#include "codec/codec.h"
#include "model/batch.h"
#include "model/schema.h"

/* Columns of a block. Factor k is FP_COLUMN_FACTOR + k. */
enum {
    FP_COLUMN_DATE = 0,         /* int64_t */
    FP_COLUMN_CODE = 1,         /* uint32_t: index into the block's dictionary */
    FP_COLUMN_TIMESTAMP = 2,    /* int64_t */
    FP_COLUMN_STATUS = 3,       /* uint8_t; only where !all_ok */
    FP_COLUMN_FAILURE_CODE = 4, /* int32_t; only where !all_ok */
    FP_COLUMN_MESSAGE = 5,      /* texts; only where !all_ok, by read_messages */
    FP_COLUMN_FACTOR = 16       /* double; only where has_factors */
};

/* One block's entry in the index: enough to know whether it can hold what is asked for. */
typedef struct fp_block {
    uint64_t offset; /* where it is in the file; for messages */
    uint64_t bytes;
    uint32_t n_rows;
    uint32_t n_pages;
    bool all_ok;      /* every row is ok */
    bool has_factors; /* false: no row is ok */
    int64_t date_min;
    int64_t date_max;
    int64_t timestamp_min;
    int64_t timestamp_max;
    const char *code_min; /* owned by the source; NUL-terminated */
    const char *code_max;
    uint32_t status_rows[6]; /* rows by FACPOOL_STATUS_* */
} fp_block;

/* One page's entry in an opened block. Rows of a block are sorted by (date, code); code numbers
 * are dictionary indexes, whose order is the codes' byte order. */
typedef struct fp_page {
    uint32_t first_row; /* in the block */
    uint32_t n_rows;
    int64_t date_first;
    int64_t date_last;
    uint32_t code_first; /* of the first row, as the next of the last */
    uint32_t code_last;
    uint32_t code_min; /* smallest and largest in the page */
    uint32_t code_max;
} fp_page;

/* How many lines come before a place in a file of lines; counting goes on from there. */
typedef struct fp_line_count {
    const void *file; /* which one: its source; NULL: none */
    uint64_t offset;
    uint64_t lines_before;
    uint64_t bytes_counted; /* for this and all places before */
} fp_line_count;

/* What one reading thread brings along: working memory and counts. */
typedef struct fp_read_context {
    fp_codec *codec;
    fp_buffer scratch;
    uint64_t bytes_read;
    fp_line_count line_count; /* of the last line that a message named */
    bool copies; /* no pointers into mapped files: they fault where another cuts the file short */
    uint32_t
        wanted_first; /* a hint for reads of one page: only rows wanted_first .. wanted_end - 1 */
    uint32_t wanted_end; /* of it are looked at, the others may be left as they are; 0: all are */
} fp_read_context;

/* Codes as Arrow utf8: that of row i is bytes[offsets[i]] up to, but without, offsets[i + 1]. */
typedef struct fp_code_column {
    const int32_t *offsets; /* one more than rows; the first need not be 0 */
    const char *bytes;
} fp_code_column;

int fp_read_context_init(fp_read_context *context, facpool_error *err); /* NOMEM */
void fp_read_context_free(fp_read_context *context);

typedef struct facpool_source fp_source; /* public by name: see sink.h */

/* An opened block. Stores put their own state behind these fields. */
typedef struct fp_open_block {
    const fp_source *source; /* not counted: the opener keeps it alive */
    const fp_block *block;
    const fp_texts *codes; /* dictionary, in byte order, distinct */
    const fp_page *pages;  /* block->n_pages of them */
} fp_open_block;

typedef struct fp_source_type {
    const char *name; /* of the format */

    /* Reads and checks what is needed before pages can be read. Errors: CORRUPT, IO, NOMEM. */
    int (*open_block)(const fp_source *source, size_t block, fp_read_context *context,
                      fp_open_block **out, facpool_error *err);
    void (*close_block)(fp_open_block *block);

    /* Gives one column of n_pages pages from first_page as one array in *out: `scratch`, which has
     * room for all their rows, or memory of the source's own. That lives as long as the open block;
     * where the source is zero_copy (and the context does not copy), as long as the source. Every
     * byte is checked before it is decoded. Errors: CORRUPT, IO, NOMEM. */
    int (*read)(fp_open_block *block, fp_read_context *context, uint32_t column,
                uint32_t first_page, uint32_t n_pages, void *scratch, const void **out,
                facpool_error *err);

    /* Appends one page's failure messages (one a row, "" for none) to `out`. */
    int (*read_messages)(fp_open_block *block, fp_read_context *context, uint32_t page,
                         fp_texts *out, facpool_error *err);

    /* Gives the codes of pages as they lie in the source, without a copy, to live as long as the
     * source. NULL where codes are stored in another way: then they are made from the block's
     * dictionary. Not called where the context copies. Errors: CORRUPT, IO, NOMEM. */
    int (*read_codes)(fp_open_block *block, fp_read_context *context, uint32_t first_page,
                      uint32_t n_pages, fp_code_column *out, facpool_error *err);

    void (*free)(fp_source *source); /* called with the last reference */
} fp_source_type;

/* The head of every source; stores put their own state behind it. */
struct facpool_source {
    const fp_source_type *type;
    atomic_size_t references;
    char *path; /* for messages */
    fp_schema schema;
    bool zero_copy; /* read gives pointers, not decoded copies */
    size_t n_blocks;
    fp_block *blocks;    /* in file order */
    uint64_t n_pages;    /* of all blocks */
    uint64_t end;        /* blocks that are appended later have no smaller offset */
    uint64_t n_damaged;  /* blocks that can't even be listed */
    uint64_t tail_bytes; /* torn tail, not part of the snapshot */
    bool may_repeat;     /* damage may hide that a block's rows were stored again: a key may have
                            several ok rows */
};

/* Reads as fp_source_type.read does, always into `to`: values of `each` bytes. */
int fp_source_copy(fp_open_block *block, fp_read_context *context, uint32_t column,
                   uint32_t first_page, uint32_t n_pages, void *to, size_t each,
                   facpool_error *err);

fp_source *fp_source_hold(fp_source *source);
void fp_source_release(fp_source *source); /* takes NULL */

#endif
