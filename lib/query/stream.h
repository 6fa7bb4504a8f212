/* A stream: one opened block, walked page by page through the rows that match. It holds at most one
 * decoded page of keys. Damage met on the way is noted in the question and stepped over, so that a
 * stream itself only ever fails for want of memory or by an error of the file system.
 *
 * Functions that may meet damage return 1 where they got what they were for, 0 where they did not,
 * and a negative error. */
#ifndef FP_QUERY_STREAM_H
#define FP_QUERY_STREAM_H

#include "query/key.h"
#include "query/question.h"

/* Columns of the page at hand that are kept once read. */
enum { FP_SLOT_DATE, FP_SLOT_CODE, FP_SLOT_TIMESTAMP, FP_SLOT_STATUS, FP_SLOTS };

typedef struct fp_slot {
    void *own;
    size_t capacity;  /* bytes */
    const void *view; /* NULL: not read */
} fp_slot;

struct fp_stream {
    fp_question *question;
    fp_scope_block *scope;
    const fp_block *block;
    fp_open_block *open;
    fp_block_filter bound;
    uint32_t statuses; /* rows of which status to select */
    bool test_status;  /* the block has others */
    bool whole;        /* select all rows: a stream that is only looked up in */

    /* The page at hand: `page` is one past the last at the end. Row i of the selection is rows[i],
     * or i itself where all of the page's rows are selected. */
    uint32_t page;
    bool all;
    uint32_t n_selected;
    uint32_t at;
    uint32_t *rows;
    size_t rows_capacity; /* of rows, in rows */
    fp_slot slots[FP_SLOTS];

    /* For the gatherer: this stream's runs, and the messages and columns of a page it keeps. */
    uint32_t first_run;
    uint32_t last_run;
    fp_texts messages;
    uint32_t messages_page;
    void *kept_columns;
    size_t kept_capacity;
    uint32_t kept_page;

    fp_stream *next; /* in whatever list it is on */
};

#define FP_NO_PAGE UINT32_MAX
#define FP_NO_RUN  UINT32_MAX

/* Opens a block in scope and stands before its first page. `statuses`: rows of which status to
 * select. Returns 0 where it is damaged or has none of the codes asked for. */
int fp_stream_open(fp_stream **out, fp_question *question, fp_scope_block *scope, uint32_t statuses,
                   facpool_error *err);

/* The same for looking keys up: every row is selected. */
int fp_stream_open_whole(fp_stream **out, fp_question *question, fp_scope_block *scope,
                         facpool_error *err);

/* Closes the block and keeps the stream's memory for the next. */
void fp_stream_close(fp_stream *stream);

/* Frees a spare stream; returns the next one. */
fp_stream *fp_stream_free_one(fp_stream *stream);

/* Goes on to the next page that has a row selected. Returns 0 at the end. */
int fp_stream_next_page(fp_stream *stream, facpool_error *err);

/* Goes to this page. Returns 0 where it has no row selected, or is damaged. */
int fp_stream_enter_page(fp_stream *stream, uint32_t page, facpool_error *err);

/* Makes sure that a column of the page at hand is read. Returns 0 where it is damaged. */
int fp_stream_load(fp_stream *stream, int slot, facpool_error *err);

/* Reads a column of pages, as fp_source_type.read does. Returns 0 where some of them are damaged;
 * these are then marked. */
int fp_stream_read(fp_stream *stream, uint32_t column, uint32_t first_page, uint32_t n_pages,
                   void *scratch, const void **out, facpool_error *err);

/* The same for codes as they lie in a source that has read_codes. */
int fp_stream_read_codes(fp_stream *stream, uint32_t first_page, uint32_t n_pages,
                         fp_code_column *out, facpool_error *err);

/* Makes sure that stream->messages holds those of `page`. Returns 0 where they are damaged. */
int fp_stream_load_messages(fp_stream *stream, uint32_t page, facpool_error *err);

/* The page a row of the block is in. */
uint32_t fp_stream_page_of(const fp_stream *stream, uint32_t row);

static inline bool fp_stream_page_is_damaged(const fp_stream *stream, uint32_t page)
{
    return stream->scope->marks[page] & FP_MARK_DAMAGED;
}

/* Number within its page of a selected row. */
static inline uint32_t fp_stream_row(const fp_stream *stream, uint32_t i)
{
    return stream->all ? i : stream->rows[i];
}

/* Makes sure that the keys of the page at hand are read. Returns 0 where they are damaged. */
int fp_stream_load_keys(fp_stream *stream, facpool_error *err);

/* The key of a row of the page at hand, whose keys are read. */
static inline fp_key fp_stream_key_of_row(const fp_stream *stream, uint32_t row)
{
    const int64_t *dates = stream->slots[FP_SLOT_DATE].view;
    const uint32_t *codes = stream->slots[FP_SLOT_CODE].view;
    return fp_key_of_id(dates[row], stream->open->codes, codes[row]);
}

/* The key of the selected row the stream stands on, going on to the next page where it is through
 * with the one at hand. Returns 0 at the end. */
int fp_stream_key(fp_stream *stream, fp_key *key, facpool_error *err);

#endif
