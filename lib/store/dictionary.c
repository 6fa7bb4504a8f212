/* Building the dictionary of a block: see dictionary.h. Called once a block by encoders; it reads
 * the batch's codes and keeps nothing of them. */
#include "store/dictionary.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

/* A code to sort by text: its first 8 bytes as a number decide nearly always. */
typedef struct fp_code_key {
    uint64_t prefix;
    uint32_t id;
} fp_code_key;

void fp_dictionary_free(fp_dictionary *d)
{
    fp_texts_free(&d->texts);
    fp_free(NULL, d->numbers);
    fp_free(NULL, d->place);
    fp_free(NULL, d->stamp);
    fp_free(NULL, d->by_rank);
    fp_free(NULL, d->ranks);
    fp_free(NULL, d->distinct);
    fp_free(NULL, d->keys[0]);
    fp_free(NULL, d->keys[1]);
    *d = (fp_dictionary){0};
}

/* Scratch that depends on how many codes there are: new and zeroed, as a new generation 1. */
static int make_room_for_codes(fp_dictionary *d, size_t n_codes, facpool_error *err)
{
    if (n_codes <= d->n_known)
        return 0;
    size_t n = n_codes + n_codes / 2;
    fp_free(NULL, d->place);
    fp_free(NULL, d->stamp);
    fp_free(NULL, d->by_rank);
    fp_free(NULL, d->ranks);
    d->place = fp_alloc(NULL, n * sizeof *d->place);
    d->stamp = fp_alloc_zero(NULL, n, sizeof *d->stamp);
    d->by_rank = fp_alloc(NULL, n * sizeof *d->by_rank);
    d->ranks = fp_alloc_zero(NULL, n / 64 + 1, sizeof *d->ranks);
    d->n_known = n;
    d->generation = 0;
    if (d->place && d->stamp && d->by_rank && d->ranks)
        return 0;
    d->n_known = 0;
    return fp_fail_nomem(err, n * 3 * sizeof(uint32_t));
}

static int make_room(fp_dictionary *d, const fp_codes *codes, facpool_error *err)
{
    size_t rows_bytes = FP_BLOCK_ROWS * sizeof(uint32_t);
    if (!d->numbers)
        d->numbers = fp_alloc(NULL, rows_bytes);
    if (!d->distinct)
        d->distinct = fp_alloc(NULL, rows_bytes);
    if (!d->numbers || !d->distinct)
        return fp_fail_nomem(err, rows_bytes);
    return make_room_for_codes(d, codes->texts.n, err);
}

static void next_generation(fp_dictionary *d)
{
    if (++d->generation == 0) { /* wrapped after 2^32 blocks: forget all stamps */
        memset(d->stamp, 0, d->n_known * sizeof *d->stamp);
        d->generation = 1;
    }
}

/* The distinct ids of the rows, and each row's place among them in `numbers`. */
static uint32_t collect(fp_dictionary *d, const uint32_t *ids, size_t n)
{
    uint32_t n_distinct = 0;
    next_generation(d);
    for (size_t i = 0; i < n; i++) {
        uint32_t id = ids[i];
        if (d->stamp[id] != d->generation) {
            d->stamp[id] = d->generation;
            d->distinct[n_distinct++] = id;
        }
    }
    return n_distinct;
}

/* A bit for each rank that occurs; reading the bits in order sorts without comparing. */
static void sort_by_rank(fp_dictionary *d, const uint32_t *rank, uint32_t n_distinct,
                         size_t n_codes)
{
    for (uint32_t i = 0; i < n_distinct; i++) {
        uint32_t r = rank[d->distinct[i]];
        d->by_rank[r] = d->distinct[i];
        d->ranks[r / 64] |= (uint64_t)1 << (r % 64);
    }
    uint32_t at = 0;
    for (size_t word = 0; word <= (n_codes - 1) / 64; word++) {
        uint64_t bits = d->ranks[word];
        d->ranks[word] = 0;
        for (size_t r = word * 64; bits; r++, bits >>= 1)
            if (bits & 1)
                d->distinct[at++] = d->by_rank[r];
    }
}

static uint64_t prefix_of(const char *code, size_t length)
{
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < length ? (unsigned char)code[i] : 0u);
    return prefix;
}

static bool comes_first(const fp_code_key *a, const fp_code_key *b, const fp_texts *texts)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix;
    return fp_text_compare(fp_texts_at(texts, a->id), fp_texts_length(texts, a->id),
                           fp_texts_at(texts, b->id), fp_texts_length(texts, b->id)) < 0;
}

static void merge(const fp_code_key *from, fp_code_key *to, size_t left, size_t middle,
                  size_t right, const fp_texts *texts)
{
    size_t a = left;
    size_t b = middle;
    for (size_t i = left; i < right; i++) {
        bool take_b = a == middle || (b < right && comes_first(&from[b], &from[a], texts));
        to[i] = take_b ? from[b++] : from[a++];
    }
}

/* Runs of doubling length are merged back and forth; two that are in order already (as those of
 * rows of one date are) cost one comparison. */
static int sort_by_text(fp_dictionary *d, const fp_texts *texts, uint32_t n_distinct,
                        facpool_error *err)
{
    for (int i = 0; i < 2; i++)
        if (!d->keys[i] && !(d->keys[i] = fp_alloc(NULL, FP_BLOCK_ROWS * sizeof *d->keys[i])))
            return fp_fail_nomem(err, FP_BLOCK_ROWS * sizeof *d->keys[i]);
    fp_code_key *from = d->keys[0];
    fp_code_key *to = d->keys[1];
    for (uint32_t i = 0; i < n_distinct; i++) {
        uint32_t id = d->distinct[i];
        from[i].id = id;
        from[i].prefix = prefix_of(fp_texts_at(texts, id), fp_texts_length(texts, id));
    }
    for (size_t run = 1; run < n_distinct; run *= 2) {
        for (size_t left = 0; left < n_distinct; left += 2 * run) {
            size_t middle = left + run < n_distinct ? left + run : n_distinct;
            size_t right = left + 2 * run < n_distinct ? left + 2 * run : n_distinct;
            if (middle == right || !comes_first(&from[middle], &from[middle - 1], texts))
                memcpy(to + left, from + left, (right - left) * sizeof *to);
            else
                merge(from, to, left, middle, right, texts);
        }
        fp_code_key *swap = from;
        from = to;
        to = swap;
    }
    for (uint32_t i = 0; i < n_distinct; i++)
        d->distinct[i] = from[i].id;
    return 0;
}

static int add_texts(fp_dictionary *d, const fp_texts *texts, uint32_t n_distinct,
                     facpool_error *err)
{
    fp_texts_clear(&d->texts);
    for (uint32_t i = 0; i < n_distinct; i++) {
        uint32_t id = d->distinct[i];
        size_t length = fp_texts_length(texts, id);
        if (fp_texts_add(&d->texts, fp_texts_at(texts, id), length))
            return fp_fail_nomem(err, length + 1);
        d->place[id] = i;
    }
    return 0;
}

int fp_dictionary_build(fp_dictionary *d, const fp_batch *batch, size_t first, size_t n,
                        facpool_error *err)
{
    const fp_codes *codes = batch->codes;
    const uint32_t *ids = batch->code_ids + first;
    int rc = make_room(d, codes, err);
    if (rc)
        return rc;
    uint32_t n_distinct = collect(d, ids, n);
    if (codes->rank)
        sort_by_rank(d, codes->rank, n_distinct, codes->texts.n);
    else
        rc = sort_by_text(d, &codes->texts, n_distinct, err);
    if (!rc)
        rc = add_texts(d, &codes->texts, n_distinct, err);
    for (size_t i = 0; !rc && i < n; i++)
        d->numbers[i] = d->place[ids[i]];
    return rc;
}
