/* A growable run of bytes, with little-endian put and checked get. Used by everything that builds
 * or parses stored bytes. */
#ifndef FP_BASE_BUFFER_H
#define FP_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <facpool/facpool.h>

typedef struct fp_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    const facpool_allocator *allocator; /* NULL: malloc */
} fp_buffer;

void fp_buffer_free(fp_buffer *b);

/* Makes room for `bytes` more; the new end is returned, NULL when out of memory. size is unchanged:
 * the caller adds what it used. */
uint8_t *fp_buffer_reserve(fp_buffer *b, size_t bytes);

/* These return 0 or FACPOOL_E_NOMEM. */
int fp_buffer_put(fp_buffer *b, const void *bytes, size_t n);
int fp_buffer_put_u8(fp_buffer *b, uint8_t value);
int fp_buffer_put_u32(fp_buffer *b, uint32_t value);
int fp_buffer_put_u64(fp_buffer *b, uint64_t value);
int fp_buffer_pad(fp_buffer *b, size_t multiple); /* zeros up to a multiple */

/* Reading: a cursor over bytes that never runs past their end. After a short read `failed` is set
 * and everything further reads as zero. */
typedef struct fp_bytes {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool failed;
} fp_bytes;

uint8_t fp_bytes_u8(fp_bytes *b);
uint32_t fp_bytes_u32(fp_bytes *b);
uint64_t fp_bytes_u64(fp_bytes *b);
const uint8_t *fp_bytes_take(fp_bytes *b, size_t n); /* NULL when short */

/* Little-endian access at a place known to be valid. */
uint32_t fp_load_u32(const void *at);
uint64_t fp_load_u64(const void *at);
void fp_store_u32(void *at, uint32_t value);
void fp_store_u64(void *at, uint64_t value);

#endif
