/* Which texts are valid, how they compare, and lists of them in one piece of memory. Called
 * wherever a code, a factor name or a message comes in; never looks at the locale. */
#include "base/text.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

/* Length of the valid UTF-8 character at `at`, of which `n` > 0 bytes are there, or 0. The bounds
 * of the second byte shut out overlong forms, surrogates and what is beyond U+10FFFF
 * (Unicode 15, table 3-7). */
static size_t character_length(const unsigned char *at, size_t n)
{
    unsigned char first = at[0];
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length > n)
        return 0;
    unsigned char lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < lowest || at[1] > highest)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool fp_utf8_valid(const char *bytes, size_t n)
{
    const unsigned char *at = (const unsigned char *)bytes;
    for (size_t i = 0; i < n;) {
        size_t length = character_length(at + i, n - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

void fp_utf8_mend(char *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = character_length((const unsigned char *)bytes + i, n - i);
        if (length == 0)
            bytes[i] = '?';
        i += length ? length : 1;
    }
}

size_t fp_utf8_cut(const char *bytes, size_t n, size_t max)
{
    if (n <= max)
        return n;
    size_t keep = max;
    /* A character has at most three continuation bytes; more of them is no text, cut anywhere. */
    for (int steps = 0; steps < 3 && keep > 0 && (bytes[keep] & 0xc0) == 0x80; steps++)
        keep--;
    return (bytes[keep] & 0xc0) == 0x80 ? max : keep;
}

size_t fp_text_check(const char *text, const char *what, facpool_error *err)
{
    if (!text) {
        fp_fail(err, FACPOOL_E_INVALID, "%s is NULL: give a text", what);
        return 0;
    }
    size_t length = strnlen(text, FP_CODE_MAX_BYTES + 1);
    if (length == 0) {
        fp_fail(err, FACPOOL_E_INVALID, "%s is empty: give 1 to %d bytes", what, FP_CODE_MAX_BYTES);
        return 0;
    }
    if (length > FP_CODE_MAX_BYTES) {
        int shown = (int)fp_utf8_cut(text, length, 40);
        fp_fail(err, FACPOOL_E_INVALID, "%s '%.*s...' is longer than %d bytes: shorten it", what,
                shown, text, FP_CODE_MAX_BYTES);
        return 0;
    }
    if (!fp_utf8_valid(text, length)) {
        int shown = (int)fp_utf8_cut(text, length, 100);
        fp_fail(err, FACPOOL_E_INVALID, "%s '%.*s%s' is not valid UTF-8: convert it first", what,
                shown, text, (size_t)shown < length ? "..." : "");
        return 0;
    }
    return length;
}

int fp_texts_reserve(fp_texts *texts, size_t n, size_t bytes)
{
    size_t end = texts->n ? texts->offsets[texts->n] : 0;
    if (bytes >= UINT32_MAX - end || n >= UINT32_MAX - end - bytes)
        return FACPOOL_E_NOMEM; /* offsets are 32 bits wide */
    void *offsets = texts->offsets;
    if (fp_grow(texts->allocator, &offsets, &texts->offsets_capacity, texts->n + n + 1,
                sizeof *texts->offsets))
        return FACPOOL_E_NOMEM;
    texts->offsets = offsets;
    void *memory = texts->bytes;
    if (fp_grow(texts->allocator, &memory, &texts->bytes_capacity, end + bytes + n, 1))
        return FACPOOL_E_NOMEM;
    texts->bytes = memory;
    return 0;
}

int fp_texts_add(fp_texts *texts, const char *bytes, size_t length)
{
    if (fp_texts_reserve(texts, 1, length))
        return FACPOOL_E_NOMEM;
    size_t end = texts->n ? texts->offsets[texts->n] : 0;
    if (length)
        memcpy(texts->bytes + end, bytes, length);
    texts->bytes[end + length] = '\0';
    texts->offsets[texts->n] = (uint32_t)end;
    texts->n++;
    texts->offsets[texts->n] = (uint32_t)(end + length + 1);
    return 0;
}

void fp_texts_clear(fp_texts *texts)
{
    texts->n = 0;
}

void fp_texts_free(fp_texts *texts)
{
    fp_free(texts->allocator, texts->offsets);
    fp_free(texts->allocator, texts->bytes);
    const facpool_allocator *allocator = texts->allocator;
    *texts = (fp_texts){.allocator = allocator};
}

int fp_text_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t shared = a_length < b_length ? a_length : b_length;
    int order = shared ? memcmp(a, b, shared) : 0;
    if (order != 0)
        return order;
    return (a_length > b_length) - (a_length < b_length);
}
