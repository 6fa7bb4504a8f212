/* What an encoder says of a block's rows: their ranges, and the directory's entries of their pages.
 * Called by the encoders of the formats binary and memory_map; it encodes no column. */
#include "store/front.h"

/* Blocks of very wide rows hold fewer of them, so that no block comes near the format's limit. */
#define WIDE_BLOCK_BYTES ((size_t)256 << 20)

size_t fp_front_most_rows(size_t n_factors)
{
    size_t rows = WIDE_BLOCK_BYTES / (sizeof(double) * (n_factors + 3));
    if (rows >= FP_BLOCK_ROWS)
        return FP_BLOCK_ROWS;
    return rows < FP_PAGE_ROWS ? FP_PAGE_ROWS : rows - rows % FP_PAGE_ROWS;
}

static void range(const int64_t *values, size_t n, int64_t *min, int64_t *max)
{
    int64_t low = values[0];
    int64_t high = values[0];
    for (size_t i = 1; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    *min = low;
    *max = high;
}

void fp_front_describe(const fp_batch *batch, size_t first, size_t n,
                       const fp_dictionary *dictionary, fp_block *out)
{
    const fp_texts *codes = &dictionary->texts;
    *out = (fp_block){.n_rows = (uint32_t)n,
                      .n_pages = fp_front_n_pages((uint32_t)n),
                      .all_ok = batch->ok,
                      .has_factors = batch->ok,
                      .code_min = fp_texts_at(codes, 0),
                      .code_max = fp_texts_at(codes, codes->n - 1)};
    out->date_min = batch->dates[first]; /* rows are sorted */
    out->date_max = batch->dates[first + n - 1];
    range(batch->timestamps + first, n, &out->timestamp_min, &out->timestamp_max);
    if (batch->ok)
        out->status_rows[FACPOOL_STATUS_OK] = (uint32_t)n;
    else
        for (size_t i = first; i < first + n; i++)
            out->status_rows[batch->statuses[i]]++;
}

void fp_front_put_pages(const fp_batch *batch, size_t first, size_t n,
                        const fp_dictionary *dictionary, uint8_t *to)
{
    const int64_t *dates = batch->dates + first;
    const uint32_t *numbers = dictionary->numbers;
    for (size_t begin = 0; begin < n; begin += FP_PAGE_ROWS, to += FP_PAGE_ENTRY_BYTES) {
        size_t last = begin + FP_PAGE_ROWS < n ? begin + FP_PAGE_ROWS - 1 : n - 1;
        uint32_t code_min = numbers[begin];
        uint32_t code_max = numbers[begin];
        for (size_t i = begin + 1; i <= last; i++) {
            code_min = numbers[i] < code_min ? numbers[i] : code_min;
            code_max = numbers[i] > code_max ? numbers[i] : code_max;
        }
        fp_store_u64(to + FP_PAGE_DATE_FIRST, (uint64_t)dates[begin]);
        fp_store_u64(to + FP_PAGE_DATE_LAST, (uint64_t)dates[last]);
        fp_store_u32(to + FP_PAGE_CODE_FIRST, numbers[begin]);
        fp_store_u32(to + FP_PAGE_CODE_LAST, numbers[last]);
        fp_store_u32(to + FP_PAGE_CODE_MIN, code_min);
        fp_store_u32(to + FP_PAGE_CODE_MAX, code_max);
    }
}
