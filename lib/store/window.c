/* The moving view of a file: see window.h. It reads and remembers one stretch, and judges nothing.
 */
#include "store/window.h"

#include "base/error.h"

#include <string.h>

#define STEP_BYTES ((size_t)64 << 10)

int fp_window_init(fp_window *window, const fp_file *file, size_t ahead, facpool_error *err)
{
    uint64_t size;
    int rc = fp_file_size(file, &size, err);
    if (rc)
        return rc;
    *window = (fp_window){.file = file, .size = size, .ahead = ahead};
    return 0;
}

void fp_window_free(fp_window *window)
{
    fp_buffer_free(&window->buffer);
    fp_buffer_free(&window->aside);
}

static int fill(fp_window *w, uint64_t offset, size_t n, facpool_error *err)
{
    uint64_t left = w->size - offset;
    size_t wanted = n < w->ahead ? w->ahead : n;
    if (wanted > left)
        wanted = (size_t)left;
    w->buffer.size = 0;
    if (!fp_buffer_reserve(&w->buffer, wanted))
        return fp_fail_nomem(err, wanted);
    size_t got;
    int rc = fp_file_read(w->file, w->buffer.data, wanted, offset, &got, err);
    if (rc)
        return rc;
    w->start = offset;
    w->buffer.size = got;
    return 0;
}

int fp_window_get(fp_window *w, uint64_t offset, size_t n, const uint8_t **bytes, size_t *got,
                  facpool_error *err)
{
    if (offset >= w->size) {
        *bytes = w->buffer.data;
        *got = 0;
        return 0;
    }
    if (n > w->size - offset)
        n = (size_t)(w->size - offset);
    uint64_t end = w->start + w->buffer.size;
    if (offset < w->start || offset > end || n > end - offset) {
        int rc = fill(w, offset, n, err);
        if (rc)
            return rc;
    }
    size_t skip = (size_t)(offset - w->start);
    size_t here = w->buffer.size - skip;
    *bytes = w->buffer.data + skip;
    *got = n < here ? n : here;
    return 0;
}

int fp_window_peek(fp_window *w, uint64_t offset, size_t n, const uint8_t **bytes, size_t *got,
                   facpool_error *err)
{
    uint64_t left = offset < w->size ? w->size - offset : 0;
    if (n > left)
        n = (size_t)left;
    if (n <= fp_window_at_hand(w, offset))
        return fp_window_get(w, offset, n, bytes, got, err);
    w->aside.size = 0;
    uint8_t *to = fp_buffer_reserve(&w->aside, n);
    if (!to)
        return fp_fail_nomem(err, n);
    *bytes = to;
    return fp_file_read(w->file, to, n, offset, got, err);
}

/* How much to look at from an offset on: what is at hand, before anything is read. */
static size_t step_at(const fp_window *w, uint64_t offset)
{
    size_t at_hand = fp_window_at_hand(w, offset);
    return at_hand ? at_hand : STEP_BYTES;
}

int fp_window_find_zero(fp_window *w, uint64_t from, uint64_t *offset, facpool_error *err)
{
    const uint8_t *bytes, *zero = NULL;
    size_t n = 0;
    int rc = 0;
    for (*offset = from; !rc && !zero && *offset < w->size;) {
        rc = fp_window_get(w, *offset, step_at(w, *offset), &bytes, &n, err);
        if (rc || n == 0)
            break;
        zero = memchr(bytes, 0, n);
        *offset += zero ? (size_t)(zero - bytes) : n;
    }
    return rc;
}

static size_t zeros_at_the_beginning(const uint8_t *bytes, size_t n)
{
    size_t zeros = 0;
    if (n > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0)
        return n;
    while (zeros < n && bytes[zeros] == 0)
        zeros++;
    return zeros;
}

int fp_window_skip_zeros(fp_window *w, uint64_t from, uint64_t *offset, facpool_error *err)
{
    const uint8_t *bytes;
    size_t n = 0, zeros = 0;
    int rc = 0;
    for (*offset = from; !rc && zeros == n && *offset < w->size; *offset += zeros) {
        rc = fp_window_get(w, *offset, step_at(w, *offset), &bytes, &n, err);
        if (rc || n == 0)
            break;
        zeros = zeros_at_the_beginning(bytes, n);
    }
    return rc;
}
