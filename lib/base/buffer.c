/* Bytes being built or parsed. Called by the stores and codecs; every multi-byte value is
 * little-endian whatever the machine, and nothing here reads or writes past an end. */
#include "base/buffer.h"

#include "base/alloc.h"

#include <string.h>

void fp_buffer_free(fp_buffer *b)
{
    fp_free(b->allocator, b->data);
    b->data = NULL;
    b->size = 0;
    b->capacity = 0;
}

uint8_t *fp_buffer_reserve(fp_buffer *b, size_t bytes)
{
    if (bytes > SIZE_MAX - b->size)
        return NULL;
    /* One byte at least, so that NULL means "out of memory" alone. */
    size_t needed = b->size + bytes ? b->size + bytes : 1;
    void *data = b->data;
    if (fp_grow(b->allocator, &data, &b->capacity, needed, 1))
        return NULL;
    b->data = data;
    return b->data + b->size;
}

int fp_buffer_put(fp_buffer *b, const void *bytes, size_t n)
{
    uint8_t *end = fp_buffer_reserve(b, n);
    if (!end)
        return FACPOOL_E_NOMEM;
    if (n)
        memcpy(end, bytes, n);
    b->size += n;
    return 0;
}

int fp_buffer_put_u8(fp_buffer *b, uint8_t value)
{
    return fp_buffer_put(b, &value, 1);
}

int fp_buffer_put_u32(fp_buffer *b, uint32_t value)
{
    uint8_t bytes[4];
    fp_store_u32(bytes, value);
    return fp_buffer_put(b, bytes, sizeof bytes);
}

int fp_buffer_put_u64(fp_buffer *b, uint64_t value)
{
    uint8_t bytes[8];
    fp_store_u64(bytes, value);
    return fp_buffer_put(b, bytes, sizeof bytes);
}

int fp_buffer_pad(fp_buffer *b, size_t multiple)
{
    size_t over = b->size % multiple;
    if (over == 0)
        return 0;
    size_t missing = multiple - over;
    uint8_t *end = fp_buffer_reserve(b, missing);
    if (!end)
        return FACPOOL_E_NOMEM;
    memset(end, 0, missing);
    b->size += missing;
    return 0;
}

const uint8_t *fp_bytes_take(fp_bytes *b, size_t n)
{
    if (b->failed || n > b->size - b->at) {
        b->failed = true;
        return NULL;
    }
    const uint8_t *taken = b->data + b->at;
    b->at += n;
    return taken;
}

uint8_t fp_bytes_u8(fp_bytes *b)
{
    const uint8_t *at = fp_bytes_take(b, 1);
    return at ? *at : 0;
}

uint32_t fp_bytes_u32(fp_bytes *b)
{
    const uint8_t *at = fp_bytes_take(b, 4);
    return at ? fp_load_u32(at) : 0;
}

uint64_t fp_bytes_u64(fp_bytes *b)
{
    const uint8_t *at = fp_bytes_take(b, 8);
    return at ? fp_load_u64(at) : 0;
}

/* Compilers turn the four functions below into one load or store where the machine is
 * little-endian. */
uint32_t fp_load_u32(const void *at)
{
    const uint8_t *p = at;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t fp_load_u64(const void *at)
{
    const uint8_t *p = at;
    return (uint64_t)fp_load_u32(p) | (uint64_t)fp_load_u32(p + 4) << 32;
}

void fp_store_u32(void *at, uint32_t value)
{
    uint8_t *p = at;
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)(value >> 16);
    p[3] = (uint8_t)(value >> 24);
}

void fp_store_u64(void *at, uint64_t value)
{
    fp_store_u32(at, (uint32_t)value);
    fp_store_u32((uint8_t *)at + 4, (uint32_t)(value >> 32));
}
