/* Which (date, code) keys are done or asked for. Called by jobs, the writer and the query wing. A
 * piece of 512 bits covers one date and 512 neighbouring code ids, so a dense set costs about a bit
 * a key; pieces are found by hash and never given back before the set is. Reading from several
 * threads at once is fine while no one changes it. */
#include "model/key_set.h"

#include "base/alloc.h"
#include "codec/checksum.h"
#include "os/os.h"

#define PIECE_SHIFT 9
#define PIECE_WORDS 8

typedef struct piece {
    int64_t date;
    uint32_t group; /* code_id >> PIECE_SHIFT */
    uint64_t bits[PIECE_WORDS];
} piece;

struct fp_key_set {
    const facpool_allocator *allocator;
    piece *pieces;
    size_t n_pieces;
    size_t pieces_capacity;
    uint32_t *slots; /* hash table of piece index + 1, 0: free */
    size_t n_slots;  /* a power of two, or 0 */
    uint64_t seed;   /* of the hash: drawn with the first slots, since files choose the dates */
    size_t last;     /* the piece last added to: keys mostly arrive in order */
};

fp_key_set *fp_key_set_new(const facpool_allocator *allocator)
{
    fp_key_set *set = fp_alloc_zero(allocator, 1, sizeof *set);
    if (set)
        set->allocator = allocator;
    return set;
}

void fp_key_set_free(fp_key_set *set)
{
    if (!set)
        return;
    const facpool_allocator *allocator = set->allocator;
    fp_free(allocator, set->pieces);
    fp_free(allocator, set->slots);
    fp_free(allocator, set);
}

static size_t hash_place(const fp_key_set *set, int64_t date, uint32_t group)
{
    uint64_t place[2] = {(uint64_t)date, group};
    return (size_t)fp_hash(place, sizeof place, set->seed);
}

/* The slot of the piece, or the free one where it belongs. There is always a free one. */
static size_t find_slot(const fp_key_set *set, int64_t date, uint32_t group)
{
    size_t mask = set->n_slots - 1;
    size_t slot = hash_place(set, date, group) & mask;
    while (set->slots[slot]) {
        const piece *p = &set->pieces[set->slots[slot] - 1];
        if (p->date == date && p->group == group)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static piece *find_piece(const fp_key_set *set, int64_t date, uint32_t group)
{
    if (set->n_slots == 0)
        return NULL;
    uint32_t entry = set->slots[find_slot(set, date, group)];
    return entry ? &set->pieces[entry - 1] : NULL;
}

/* Twice the slots, so that at most half of them are ever taken. */
static int grow_slots(fp_key_set *set)
{
    size_t n_slots = set->n_slots ? set->n_slots * 2 : 64;
    uint32_t *slots = fp_alloc_zero(set->allocator, n_slots, sizeof *slots);
    if (!slots)
        return FACPOOL_E_NOMEM;
    if (set->n_slots == 0)
        set->seed = fp_random_seed();
    fp_free(set->allocator, set->slots);
    set->slots = slots;
    set->n_slots = n_slots;
    for (size_t i = 0; i < set->n_pieces; i++)
        slots[find_slot(set, set->pieces[i].date, set->pieces[i].group)] = (uint32_t)i + 1;
    return 0;
}

static piece *add_piece(fp_key_set *set, int64_t date, uint32_t group)
{
    if (set->n_pieces >= UINT32_MAX - 1)
        return NULL;
    if ((set->n_pieces + 1) * 2 > set->n_slots && grow_slots(set))
        return NULL;
    void *pieces = set->pieces;
    if (fp_grow(set->allocator, &pieces, &set->pieces_capacity, set->n_pieces + 1,
                sizeof *set->pieces))
        return NULL;
    set->pieces = pieces;
    size_t slot = find_slot(set, date, group);
    set->pieces[set->n_pieces] = (piece){.date = date, .group = group};
    set->n_pieces++;
    set->slots[slot] = (uint32_t)set->n_pieces;
    return &set->pieces[set->n_pieces - 1];
}

static uint64_t *word_of(piece *p, uint32_t code_id)
{
    return &p->bits[(code_id >> 6) & (PIECE_WORDS - 1)];
}

static uint64_t bit_of(uint32_t code_id)
{
    return (uint64_t)1 << (code_id & 63);
}

int fp_key_set_add(fp_key_set *set, int64_t date, uint32_t code_id, bool *was_there)
{
    uint32_t group = code_id >> PIECE_SHIFT;
    piece *p = set->last < set->n_pieces ? &set->pieces[set->last] : NULL;
    if (!p || p->date != date || p->group != group) {
        p = find_piece(set, date, group);
        if (!p)
            p = add_piece(set, date, group);
        if (!p)
            return FACPOOL_E_NOMEM;
        set->last = (size_t)(p - set->pieces);
    }
    uint64_t *word = word_of(p, code_id);
    *was_there = (*word & bit_of(code_id)) != 0;
    *word |= bit_of(code_id);
    return 0;
}

bool fp_key_set_has(const fp_key_set *set, int64_t date, uint32_t code_id)
{
    piece *p = find_piece(set, date, code_id >> PIECE_SHIFT);
    return p && (*word_of(p, code_id) & bit_of(code_id));
}

void fp_key_set_remove(fp_key_set *set, int64_t date, uint32_t code_id)
{
    piece *p = find_piece(set, date, code_id >> PIECE_SHIFT);
    if (p)
        *word_of(p, code_id) &= ~bit_of(code_id);
}
