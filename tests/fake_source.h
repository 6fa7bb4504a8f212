/* A source made from rows in arrays, for tests of what reads sources: page sizes are chosen, pages
 * can be damaged, and what is read is counted. Memory it gives out is freed when its block is
 * closed, or where the source is zero_copy with the source itself, so that a sanitizer sees every
 * use that comes too late. */
#ifndef FP_TEST_FAKE_SOURCE_H
#define FP_TEST_FAKE_SOURCE_H

#include "store/source.h"

#define FAKE_FACTORS 4
#define FAKE_COLUMNS (FP_COLUMN_FACTOR + FAKE_FACTORS)
#define FAKE_OPENING FAKE_COLUMNS /* damage to what is read when the block is opened */

/* Where block n begins, and the one before it ends. */
#define FAKE_BLOCK_BYTES ((uint64_t)4096)
#define FAKE_PLACE(n)    (FAKE_BLOCK_BYTES * ((uint64_t)(n) + 1))

typedef struct fake_row {
    int64_t date;
    const char *code;
    int64_t timestamp;
    uint8_t status;
    int32_t failure_code;
    const char *message; /* NULL: "" */
    double factors[FAKE_FACTORS];
} fake_row;

typedef struct fake_damage {
    size_t block;
    uint32_t column;
    uint32_t page;
} fake_damage;

typedef struct fake_block {
    fake_row *rows; /* sorted by (date, code), in the order given where these are equal */
    fp_texts codes;
    uint32_t *code_ids;
    fp_page *pages;
    uint32_t n_pages;
    void *mapped[FAKE_COLUMNS]; /* whole columns, given out by reference where it is zero_copy */
    int32_t *code_offsets;      /* the same for codes */
    char *code_bytes;
} fake_block;

typedef struct fake_source {
    fp_source source;
    uint32_t page_rows;
    fake_block *blocks; /* as many as source.n_blocks */
    fake_damage damages[32];
    size_t n_damages;
    bool failing; /* every read fails with IO */
    uint32_t
        not_lent; /* this column (other than dates) is decoded, whatever the others are; 0: none */
    bool lends;   /* reads give memory that goes with the open block */
    /* counted */
    size_t opened;
    size_t open; /* and not closed yet */
    size_t pages_read[FAKE_COLUMNS];
    size_t reads;
} fake_source;

/* The path's memory is copied. Ends the program where it can't be done, as all of these do. */
fake_source *fake_source_new(const char *path, size_t n_factors, uint32_t page_rows,
                             bool zero_copy);

/* Makes it one that has read_codes: codes lie there as text, the first at an offset other than 0.
 */
void fake_source_keep_codes(fake_source *fake);

/* Where a column of a block lies, of a zero_copy source that was read from; NULL: nowhere. */
const void *fake_source_column(const fake_source *fake, size_t block, uint32_t column);

/* Copies the rows and sorts them; texts they point to must outlive the source. */
void fake_source_add(fake_source *fake, const fake_row *rows, size_t n);

void fake_source_damage(fake_source *fake, size_t block, uint32_t column, uint32_t page);

/* Pages of all columns read so far. */
size_t fake_source_pages_read(const fake_source *fake);
void fake_source_forget(fake_source *fake); /* what was counted */

#endif
