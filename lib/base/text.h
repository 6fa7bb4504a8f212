/* Short texts: what is a valid code or name, and lists of texts in one piece of memory. */
#ifndef FP_BASE_TEXT_H
#define FP_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <facpool/facpool.h>

#define FP_CODE_MAX_BYTES    255
#define FP_MESSAGE_MAX_BYTES 16384

bool fp_utf8_valid(const char *bytes, size_t n);

/* How many of the first `n` bytes to keep so that at most `max` remain and no character is cut. */
size_t fp_utf8_cut(const char *bytes, size_t n, size_t max);

/* Puts '?' in the place of every byte that is no valid UTF-8, so that what is kept is text. */
void fp_utf8_mend(char *bytes, size_t n);

/* Length of a code or factor name that may be stored (1 to 255 bytes of valid UTF-8, no control
 * characters beyond what UTF-8 text may have), or 0 with *err filled, naming it as `what`
 * ("code", "factor name"). The length is found without reading past 256 bytes. */
size_t fp_text_check(const char *text, const char *what, facpool_error *err);

/* n texts: text i is bytes[offsets[i] .. offsets[i + 1] - 1], followed by a NUL that is counted in
 * the offsets (so offsets[i + 1] - offsets[i] - 1 is its length). */
typedef struct fp_texts {
    size_t n;
    size_t offsets_capacity;
    uint32_t *offsets; /* n + 1, NULL while n == 0 */
    char *bytes;
    size_t bytes_capacity;
    const facpool_allocator *allocator;
} fp_texts;

int fp_texts_add(fp_texts *texts, const char *bytes, size_t length); /* 0 or NOMEM */
/* Room for `n` more texts of `bytes` bytes in all, so that adding them can't fail. 0 or NOMEM. */
int fp_texts_reserve(fp_texts *texts, size_t n, size_t bytes);
void fp_texts_clear(fp_texts *texts); /* keeps the memory */
void fp_texts_free(fp_texts *texts);

/* Drops all but the first n texts. */
static inline void fp_texts_cut(fp_texts *texts, size_t n)
{
    texts->n = n < texts->n ? n : texts->n;
}

static inline const char *fp_texts_at(const fp_texts *t, size_t i)
{
    return t->bytes + t->offsets[i];
}

/* Mends the text that was added last. */
static inline void fp_texts_mend_last(fp_texts *t)
{
    uint32_t begin = t->offsets[t->n - 1];
    fp_utf8_mend(t->bytes + begin, t->offsets[t->n] - begin - 1);
}

static inline size_t fp_texts_length(const fp_texts *t, size_t i)
{
    return t->offsets[i + 1] - t->offsets[i] - 1;
}

/* Order of codes: as unsigned bytes, a prefix before what it begins. */
int fp_text_compare(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
