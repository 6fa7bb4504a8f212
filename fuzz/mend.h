/* What the mutators of the formats binary and memory_map share: changing a file as someone would
 * who knows the format and means harm, then making every checksum, offset and count right again, so
 * that the reader gets to believe what was changed. See mend_blocks.c. */
#ifndef FP_FUZZ_MEND_H
#define FP_FUZZ_MEND_H

#include "scratch.h"
#include "store/front.h"

typedef struct mend_file {
    uint8_t *bytes;
    size_t size;
    size_t most; /* that may become of it */
    random_numbers numbers;
    const struct mend_format *format;
    /* Of its header, where that can be understood. */
    size_t header_end;
    size_t n_factors;
    uint64_t file_id;
    fp_front_rules rules;
} mend_file;

/* Where a block lies; as far as its header says, and no other block's header says otherwise. */
typedef struct mend_block {
    size_t at;
    size_t end;
    bool is_index;
} mend_block;

/* In what the two formats differ. */
typedef struct mend_format {
    /* Fills the last four fields. False: it is no header at all. */
    bool (*understand)(mend_file *file);
    void (*mend_header)(mend_file *file);
    /* Makes what lies behind a block's dictionary fill it, and its checksums in the directory; then
     * the block's front is mended. */
    void (*mend_columns)(mend_file *file, const mend_block *block);
    /* The same for what lies behind the entries of an index. */
    void (*mend_index_tail)(mend_file *file, const mend_block *block);
    /* Changes a part whose length may change, and moves what is behind it. */
    void (*change_part)(mend_file *file, const mend_block *block);
} mend_format;

/* A whole LLVMFuzzerCustomMutator. */
size_t mend_mutate(const mend_format *format, uint8_t *bytes, size_t size, size_t most,
                   unsigned seed);

/* For the formats. */
static inline uint8_t *mend_header_of(const mend_file *file, const mend_block *block)
{
    return file->bytes + block->at + file->rules.at;
}

/* A block's header with its lengths: where its parts are, counted from the block's begin. */
typedef struct mend_parts {
    bool all_ok;
    uint32_t n_rows;
    uint32_t n_columns;
    size_t directory;
    size_t dictionary;
    size_t columns;
} mend_parts;

mend_parts mend_parts_of(const mend_file *file, const mend_block *block);

/* Puts `n` other bytes in the place of `length`; what is behind them moves. False: no room. */
bool mend_splice(mend_file *file, size_t at, size_t length, const uint8_t *bytes, size_t n);

/* In most cases: what is not made right then is tried wrong. */
bool mend_usually(mend_file *file);

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most_bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most_bytes, unsigned seed);

#endif
