/* The table of distinct codes behind task sets, backups and queries: text to id by a hash table
 * with open slots, id to text by position, id to place in byte order by a rank. Callers keep
 * threads apart; a table that no one adds to may be read by all. */
#include "model/codes.h"

#include "base/alloc.h"
#include "codec/checksum.h"
#include "os/os.h"

#include <stdlib.h>
#include <string.h>

void fp_codes_init(fp_codes *codes, const facpool_allocator *allocator)
{
    *codes = (fp_codes){.texts = {.allocator = allocator}, .allocator = allocator};
}

void fp_codes_free(fp_codes *codes)
{
    const facpool_allocator *allocator = codes->allocator;
    fp_texts_free(&codes->texts);
    fp_free(allocator, codes->slots);
    fp_free(allocator, codes->rank);
    fp_codes_init(codes, allocator);
}

/* The slot that holds the code, or the free one where it belongs. There is always a free one. */
static size_t find_slot(const fp_codes *codes, const char *code, size_t length)
{
    size_t mask = codes->n_slots - 1;
    size_t slot = (size_t)fp_hash(code, length, codes->seed) & mask;
    while (codes->slots[slot]) {
        uint32_t id = codes->slots[slot] - 1;
        if (fp_texts_length(&codes->texts, id) == length &&
            memcmp(fp_texts_at(&codes->texts, id), code, length) == 0)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

uint32_t fp_codes_find(const fp_codes *codes, const char *code, size_t length)
{
    if (codes->n_slots == 0)
        return FP_CODE_NONE;
    uint32_t entry = codes->slots[find_slot(codes, code, length)];
    return entry ? entry - 1 : FP_CODE_NONE;
}

/* Twice the slots, so that at most half of them are ever taken. */
static int grow_slots(fp_codes *codes)
{
    size_t n_slots = codes->n_slots ? codes->n_slots * 2 : 64;
    uint32_t *slots = fp_alloc_zero(codes->allocator, n_slots, sizeof *slots);
    if (!slots)
        return FACPOOL_E_NOMEM;
    if (codes->n_slots == 0)
        codes->seed = fp_random_seed();
    fp_free(codes->allocator, codes->slots);
    codes->slots = slots;
    codes->n_slots = n_slots;
    for (size_t id = 0; id < codes->texts.n; id++) {
        size_t slot =
            find_slot(codes, fp_texts_at(&codes->texts, id), fp_texts_length(&codes->texts, id));
        codes->slots[slot] = (uint32_t)id + 1;
    }
    return 0;
}

int fp_codes_intern(fp_codes *codes, const char *code, size_t length, uint32_t *id)
{
    uint32_t found = fp_codes_find(codes, code, length);
    if (found != FP_CODE_NONE) {
        *id = found;
        return 0;
    }
    if (codes->texts.n >= FP_CODE_NONE - 1)
        return FACPOOL_E_NOMEM;
    if ((codes->texts.n + 1) * 2 > codes->n_slots && grow_slots(codes))
        return FACPOOL_E_NOMEM;
    if (fp_texts_add(&codes->texts, code, length))
        return FACPOOL_E_NOMEM;
    found = (uint32_t)(codes->texts.n - 1);
    codes->slots[find_slot(codes, code, length)] = found + 1;
    fp_free(codes->allocator, codes->rank);
    codes->rank = NULL;
    *id = found;
    return 0;
}

/* A code while it is sorted: its first eight bytes as a number decide nearly every comparison. */
typedef struct sorted_code {
    uint64_t prefix;
    const char *text;
    uint32_t length;
    uint32_t id;
} sorted_code;

static uint64_t prefix_of(const char *text, size_t length)
{
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < length ? (unsigned char)text[i] : 0u);
    return prefix;
}

static int compare_sorted_codes(const void *left, const void *right)
{
    const sorted_code *a = left, *b = right;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return fp_text_compare(a->text, a->length, b->text, b->length);
}

int fp_codes_rank(fp_codes *codes)
{
    if (codes->rank)
        return 0;
    size_t n = codes->texts.n;
    uint32_t *rank = fp_alloc_zero(codes->allocator, n, sizeof *rank);
    sorted_code *sorted = fp_alloc_zero(codes->allocator, n, sizeof *sorted);
    if (!rank || !sorted) {
        fp_free(codes->allocator, rank);
        fp_free(codes->allocator, sorted);
        return FACPOOL_E_NOMEM;
    }
    for (size_t id = 0; id < n; id++) {
        const char *text = fp_texts_at(&codes->texts, id);
        size_t length = fp_texts_length(&codes->texts, id);
        sorted[id] = (sorted_code){prefix_of(text, length), text, (uint32_t)length, (uint32_t)id};
    }
    qsort(sorted, n, sizeof *sorted, compare_sorted_codes);
    for (size_t place = 0; place < n; place++)
        rank[sorted[place].id] = (uint32_t)place;
    fp_free(codes->allocator, sorted);
    codes->rank = rank;
    return 0;
}
