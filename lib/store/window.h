/* A moving view of a file, for what walks, scans and checks it in order: asks are answered from one
 * buffer that reads ahead. It never shows anything past the size the file had when it was made. */
#ifndef FP_STORE_WINDOW_H
#define FP_STORE_WINDOW_H

#include "base/buffer.h"
#include "os/file.h"

typedef struct fp_window {
    const fp_file *file;
    uint64_t size;  /* of the file, when the window was made */
    size_t ahead;   /* reads at least so much at once */
    uint64_t start; /* where the buffer's bytes are in the file */
    fp_buffer buffer;
    fp_buffer aside; /* bytes that were peeked at */
} fp_window;

int fp_window_init(fp_window *window, const fp_file *file, size_t ahead, facpool_error *err);
void fp_window_free(fp_window *window);

/* Bytes offset .. offset + n - 1, valid until the next call. *got is less than n only where the
 * file ends, which may have been cut since the window was made. The caller has checked that n is
 * sane. Errors: IO, NOMEM. */
int fp_window_get(fp_window *window, uint64_t offset, size_t n, const uint8_t **bytes, size_t *got,
                  facpool_error *err);

/* The same for a few bytes, perhaps far from those asked for before and after: the window stays
 * where it is. */
int fp_window_peek(fp_window *window, uint64_t offset, size_t n, const uint8_t **bytes, size_t *got,
                   facpool_error *err);

/* How many bytes from an offset on can be had without reading. */
static inline size_t fp_window_at_hand(const fp_window *window, uint64_t offset)
{
    uint64_t end = window->start + window->buffer.size;
    return offset >= window->start && offset < end ? (size_t)(end - offset) : 0;
}

/* The first offset from `from` on where there is a zero, or where there is none; the window's size:
 * there is no such place. Errors: IO, NOMEM. */
int fp_window_find_zero(fp_window *window, uint64_t from, uint64_t *offset, facpool_error *err);
int fp_window_skip_zeros(fp_window *window, uint64_t from, uint64_t *offset, facpool_error *err);

#endif
