/* A (date, code) key in the order of the answer. The first bytes of the code are kept as a number,
 * so that nearly all comparisons are of numbers. */
#ifndef FP_QUERY_KEY_H
#define FP_QUERY_KEY_H

#include <stdint.h>
#include "base/text.h"

typedef struct fp_key {
    int64_t date;
    uint64_t prefix; /* the code's first 8 bytes, the first in the highest place */
    const char *code;
    uint32_t length;
} fp_key;

static inline uint64_t fp_key_prefix(const char *code, size_t length)
{
    uint64_t prefix = 0;
    size_t n = length < 8 ? length : 8;
    for (size_t i = 0; i < n; i++)
        prefix |= (uint64_t)(uint8_t)code[i] << (56 - 8 * i);
    return prefix;
}

static inline fp_key fp_key_of(int64_t date, const char *code, size_t length)
{
    return (fp_key){date, fp_key_prefix(code, length), code, (uint32_t)length};
}

static inline fp_key fp_key_of_id(int64_t date, const fp_texts *codes, uint32_t id)
{
    return fp_key_of(date, fp_texts_at(codes, id), fp_texts_length(codes, id));
}

/* Codes hold no zero byte, so that a shorter prefix is smaller, as its code is. */
static inline int fp_key_compare(const fp_key *a, const fp_key *b)
{
    if (a->date != b->date)
        return a->date < b->date ? -1 : 1;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    if (a->length <= 8 && b->length <= 8)
        return 0;
    return fp_text_compare(a->code, a->length, b->code, b->length);
}

#endif
