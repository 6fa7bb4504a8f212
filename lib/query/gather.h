/* Gathers rows into a batch. Rows are planned first, in the order they are to be given, then filled
 * column by column, so that each page is read once however streams take turns, and whole stretches
 * are read straight to where they are given from, or given as they lie in the source. */
#ifndef FP_QUERY_GATHER_H
#define FP_QUERY_GATHER_H

#include "query/aligned.h"
#include "query/stream.h"

/* A batch is given once it has so many rows, where that does not cost a copy. */
#define FP_BATCH_ROWS_AIMED 4096

/* So many columns that a full batch would take more have smaller ones. */
#define FP_BATCH_BYTES_MAX ((size_t)64 << 20)

/* Planned rows of one stream: a stretch of the block's rows, or rows picked from one page. */
typedef struct fp_run {
    fp_stream *stream;
    uint32_t first_row; /* stretch: in the block */
    uint32_t n;
    uint32_t out;  /* where they go in the batch; picked: their numbers are row_numbers[out ...] */
    uint32_t page; /* picked */
    uint32_t next; /* of the same stream */
    bool picked;
    bool has_dates; /* put down when planned, from the page at hand */
    bool has_codes;
} fp_run;

/* The columns of a batch; factor k of the answer is FP_GATHER_FACTOR + k. */
enum {
    FP_GATHER_DATE,
    FP_GATHER_CODE,
    FP_GATHER_TIMESTAMP,
    FP_GATHER_STATUS,
    FP_GATHER_FAILURE_CODE,
    FP_GATHER_FACTOR
};

typedef struct fp_gather_column {
    uint32_t id; /* FP_COLUMN_* */
    uint32_t each;
    bool needed;
    bool borrowed;  /* the rows lie in the source's memory, at `lent` */
    size_t skipped; /* else in `own`, behind so many rows that are not given */
    const void *lent;
    fp_aligned own;
} fp_gather_column;

typedef struct fp_gather {
    fp_question *question;
    size_t rows_max;
    size_t n_rows; /* filled */
    size_t planned;
    bool all_ok;
    bool borrowed;     /* some column is: the blocks must stay open until the batch has been used */
    fp_source *lender; /* of what is borrowed, where that stays as long as this source; else NULL */
    size_t n_columns;
    fp_gather_column *columns;
    fp_run *runs; /* planned and not filled */
    size_t n_runs;
    size_t runs_capacity;
    fp_run *stripped_runs; /* where runs are put while damage is stripped */
    size_t stripped_capacity;
    fp_run
        *parted; /* under zero copy: stretches that damage cut off, for later batches, last first */
    size_t n_parted;
    size_t parted_capacity;
    uint32_t *row_numbers; /* within the page, of picked rows */
    size_t row_numbers_capacity;
    bool damaged; /* some planned row turned out so */
    void *page;   /* one column of one page */
    size_t page_capacity;
    const void *page_view;
    uint32_t page_number; /* whose column it is; FP_NO_PAGE: none */
    uint64_t kept_bytes;  /* in kept_columns of all streams */
    fp_code_column codes; /* of the rows filled; in the two below where they are not borrowed */
    bool codes_borrowed;
    fp_aligned code_offsets;
    fp_aligned code_bytes;
    bool wants_messages;
    fp_aligned message_offsets;
    fp_aligned message_bytes;
    uint8_t *ok_statuses; /* as many as any batch had rows: filler, neither decoded nor copied */
    size_t ok_statuses_capacity;
    const double **factor_views;
} fp_gather;

int fp_gather_init(fp_gather *out, fp_question *question, facpool_error *err); /* NOMEM */
void fp_gather_free(fp_gather *gather);

/* Begins a batch. */
void fp_gather_begin(fp_gather *gather);

/* Begins a batch with a stretch that was cut off from one before (n_parted > 0), whose stream is
 * still open. Errors: NOMEM. */
int fp_gather_begin_parted(fp_gather *gather, facpool_error *err);

/* How many rows can still be planned. */
static inline size_t fp_gather_room(const fp_gather *gather)
{
    return gather->rows_max - gather->n_rows - gather->planned;
}

/* Plans rows first .. first + n - 1 of the selection of the stream's page at hand. The stream must
 * stay open until the batch is filled. Errors: NOMEM. */
int fp_gather_add(fp_gather *gather, fp_stream *stream, uint32_t first, uint32_t n,
                  facpool_error *err);

/* Plans one row of a stream, by its number in the block, whichever page is at hand. Its key is
 * known. Errors: NOMEM. */
int fp_gather_add_row(fp_gather *gather, fp_stream *stream, uint32_t row, int64_t date,
                      uint32_t code_id, facpool_error *err);

/* Reads what was planned. Rows of damaged pages are left out, and the damage noted; under zero copy
 * the stretches behind them wait for batches of their own. After an error the batch is of no use.
 * Errors: IO, NOMEM. */
int fp_gather_fill(fp_gather *gather, facpool_error *err);

/* The batch from its row `first` on. */
int fp_gather_view(fp_gather *gather, size_t first, facpool_batch_view *view, facpool_error *err);

/* Where the rows of a column are. */
static inline const void *fp_gather_rows(const fp_gather_column *column)
{
    if (column->borrowed)
        return column->lent;
    return column->own.data ? (const char *)column->own.data + column->skipped * column->each
                            : NULL;
}

/* The second half of the work, in gather_columns.c: chains the runs of each stream and reads the
 * planned rows of every column. Sets gather->damaged where something could not be read. */
int fp_gather_fill_columns(fp_gather *gather, facpool_error *err);

/* Room for so many rows; what is there stays where it is. */
int fp_gather_reserve(fp_gather_column *column, size_t rows, facpool_error *err);

/* The same, with the rows filled before brought to its beginning, so that others can follow. */
int fp_gather_settle(fp_gather *gather, fp_gather_column *column, size_t rows, facpool_error *err);

#endif
