/* The layout of the memory that a process run shares with its workers. Called by both sides, which
 * must come to the same places. */
#include "run/process_desk.h"

static size_t align(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t seats_at(void)
{
    return align(sizeof(fp_board));
}

static size_t offsets_at(const fp_board *b)
{
    return seats_at() + align(b->n_seats * sizeof(fp_seat));
}

static size_t codes_at(const fp_board *b)
{
    return offsets_at(b) + align(((size_t)b->n_codes + 1) * sizeof(uint32_t));
}

/* Pages of their own, so that untouched parts of one desk cost no memory. */
static size_t page_align(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

static size_t desks_at(const fp_board *b)
{
    return page_align(codes_at(b) + b->code_bytes);
}

/* Where the arrays of a desk begin. */
typedef struct desk_places {
    size_t dates;
    size_t indexes;
    size_t code_ids;
    size_t statuses;
    size_t factors;
    size_t marks;
    size_t text;
    size_t end;
} desk_places;

static desk_places places_of(const fp_board *b)
{
    desk_places p;
    size_t n = b->capacity;
    p.dates = align(sizeof(fp_desk));
    p.indexes = p.dates + align(n * sizeof(int64_t));
    p.code_ids = p.indexes + align(n * sizeof(uint64_t));
    p.statuses = p.code_ids + align(n * sizeof(uint32_t));
    p.factors = p.statuses + align(n);
    p.marks = p.factors + align(n * b->n_factors * sizeof(double));
    p.text = page_align(p.marks + n * sizeof(fp_desk_mark));
    p.end = page_align(p.text + FP_DESK_TEXT_BYTES);
    return p;
}

size_t fp_layout_bytes(const fp_board *b)
{
    /* A slot takes at most 64 bytes beside its factors: far below what 64 bits hold, once this is
     * so. */
    const uint64_t most = UINT64_C(1) << 46;
    uint64_t slot_bytes = 64 + b->n_factors * sizeof(double);
    uint64_t n_desks = (uint64_t)b->n_seats * FP_DESKS_A_SEAT;
    if (b->capacity > UINT32_MAX / 2 || b->code_bytes > most || b->n_factors > UINT16_MAX ||
        b->capacity > most / slot_bytes || b->capacity * slot_bytes > most / (n_desks + 1))
        return 0;
    return desks_at(b) + n_desks * places_of(b).end;
}

void fp_layout_init(fp_layout *out, void *memory)
{
    uint8_t *bytes = memory;
    fp_board *board = memory;
    *out = (fp_layout){.board = board,
                       .seats = (fp_seat *)(bytes + seats_at()),
                       .code_offsets = (uint32_t *)(bytes + offsets_at(board)),
                       .code_bytes = (char *)bytes + codes_at(board),
                       .desks = bytes + desks_at(board),
                       .desk_bytes = places_of(board).end};
}

void fp_desk_view_init(fp_desk_view *out, const fp_layout *layout, size_t i)
{
    uint8_t *at = layout->desks + i * layout->desk_bytes;
    desk_places p = places_of(layout->board);
    *out = (fp_desk_view){.desk = (fp_desk *)at,
                          .dates = (int64_t *)(at + p.dates),
                          .indexes = (uint64_t *)(at + p.indexes),
                          .code_ids = (uint32_t *)(at + p.code_ids),
                          .statuses = at + p.statuses,
                          .factors = (double *)(at + p.factors),
                          .marks = (fp_desk_mark *)(at + p.marks),
                          .text = (char *)at + p.text};
}

void fp_bell_ring(atomic_uint *bell, const atomic_uint *is_asleep)
{
    /* Sequentially consistent with who goes to sleep: it sets is_asleep, then looks at the bell. */
    atomic_fetch_add(bell, 1);
    if (atomic_load(is_asleep))
        fp_word_wake(bell);
}

uint32_t fp_helper_version(void)
{
    return FACPOOL_VERSION_MAJOR * 1000000u + FACPOOL_VERSION_MINOR * 1000u + FACPOOL_VERSION_PATCH;
}
