/* The index of a file: what is known of each of its blocks without reading it. Grown by the writer
 * and by the walk through a file, copied into snapshots, stored by a format when a file is closed.
 */
#ifndef FP_STORE_LOG_INDEX_H
#define FP_STORE_LOG_INDEX_H

#include "store/source.h"

typedef struct fp_log_entry {
    fp_block block; /* its two texts are NULL within an index: see code_min_at */
    uint64_t sequence;
    bool is_damaged;     /* known to be, since every byte was checked */
    bool is_given_up;    /* about to be taken off the list */
    uint32_t open_bytes; /* from block.offset on: what the format reads to open the block */
    size_t code_min_at;  /* in fp_log_index.texts */
    size_t code_max_at;
} fp_log_entry;

typedef struct fp_log_index {
    fp_log_entry *entries; /* by offset */
    size_t n;
    size_t capacity;
    fp_buffer texts; /* first and last code of each block, NUL-terminated */
} fp_log_index;

void fp_log_index_free(fp_log_index *index);

/* Makes room, so that the next add with such texts can't fail. */
int fp_log_index_reserve(fp_log_index *index, const fp_log_entry *entry, facpool_error *err);

/* Appends an entry; its block's code_min and code_max are copied. Errors: NOMEM. */
int fp_log_index_add(fp_log_index *index, const fp_log_entry *entry, facpool_error *err);

/* Takes the entries that are given up off the list, and says how many they were. */
size_t fp_log_index_compact(fp_log_index *index);

int fp_log_index_copy(fp_log_index *out, const fp_log_index *from, facpool_error *err);

/* The blocks as a source shows them: one array, whose texts point into `index`, which must stay as
 * it is for as long. *n_pages gets the sum. NULL when out of memory. */
fp_block *fp_log_index_blocks(const fp_log_index *index, uint64_t *n_pages);

static inline const char *fp_log_index_code_min(const fp_log_index *index, size_t i)
{
    return (const char *)index->texts.data + index->entries[i].code_min_at;
}

static inline const char *fp_log_index_code_max(const fp_log_index *index, size_t i)
{
    return (const char *)index->texts.data + index->entries[i].code_max_at;
}

#endif
