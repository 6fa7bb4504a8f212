/* What is kept with a snapshot of a memory_map file: the map, and which parts were found sound, so
 * that each is summed once however often it is read. Called by the format's reader, by any number
 * of threads at once; it checks nothing itself. */
#include "store/arrow_file.h"

#include "base/alloc.h"
#include "base/error.h"

struct fp_arrow_view {
    fp_log_view base;
    const uint8_t *map;
    uint64_t map_bytes;
    uint64_t *first_bits;    /* of each block, in `known` */
    _Atomic uint64_t *known; /* a bit a section and chunk: section by section */
    uint64_t n_chunk_bits;   /* behind them a bit a block: its front */
    const fp_block *blocks;  /* the snapshot's */
};

static void free_view(fp_log_view *base)
{
    fp_arrow_view *view = (fp_arrow_view *)base;
    fp_file_unmap(view->map, view->map_bytes);
    fp_free(NULL, view->first_bits);
    fp_free(NULL, view->known);
    fp_free(NULL, view);
}

/* Numbers the bits; *n_bits gets how many there are. */
static int number_bits(fp_arrow_view *view, const fp_source *source, uint64_t *n_bits)
{
    fp_front_rules rules = fp_arrow_rules(source->schema.names.n);
    view->first_bits = fp_alloc(NULL, (source->n_blocks + 1) * sizeof *view->first_bits);
    if (!view->first_bits)
        return FACPOOL_E_NOMEM;
    uint64_t bits = 0;
    for (size_t i = 0; i < source->n_blocks; i++) {
        const fp_block *block = &source->blocks[i];
        view->first_bits[i] = bits;
        bits += (uint64_t)fp_front_n_columns(&rules, block->all_ok) * block->n_pages *
                FP_CHUNKS_OF_PAGE;
    }
    view->n_chunk_bits = bits;
    *n_bits = bits + source->n_blocks;
    return 0;
}

static int make_view(fp_arrow_view **out, const fp_log_source *source, facpool_error *err)
{
    fp_arrow_view *view = fp_alloc_zero(NULL, 1, sizeof *view);
    if (!view)
        return fp_fail_nomem(err, sizeof *view);
    view->base.free = free_view;
    view->blocks = source->base.blocks;
    view->map_bytes = source->contents.end;
    uint64_t n_bits = 0;
    int rc = number_bits(view, &source->base, &n_bits);
    if (!rc)
        view->known = fp_alloc_zero(NULL, (size_t)(n_bits / 64 + 1), sizeof *view->known);
    if (rc || !view->known)
        rc = fp_fail_nomem(err, (size_t)(n_bits / 8));
    const void *map = NULL;
    if (!rc)
        rc = fp_file_map(&map, &source->file->file, view->map_bytes, err);
    view->map = map;
    if (rc) {
        free_view(&view->base);
        return rc;
    }
    *out = view;
    return 0;
}

int fp_arrow_view_of(fp_arrow_view **out, const fp_log_source *source, facpool_error *err)
{
    /* The view is a cache, no part of what a snapshot says: const callers may fill it. */
    _Atomic(fp_log_view *) *place = &((fp_log_source *)(uintptr_t)source)->view;
    /* Acquire pairs with the release below: who sees the view sees what is in it. */
    fp_log_view *seen = atomic_load_explicit(place, memory_order_acquire);
    if (!seen) {
        fp_arrow_view *made = NULL;
        int rc = make_view(&made, source, err);
        if (rc)
            return rc;
        if (atomic_compare_exchange_strong_explicit(place, &seen, &made->base, memory_order_acq_rel,
                                                    memory_order_acquire))
            seen = &made->base;
        else
            free_view(&made->base); /* another thread was faster */
    }
    *out = (fp_arrow_view *)seen;
    return 0;
}

const uint8_t *fp_arrow_view_bytes(const fp_arrow_view *view)
{
    return view->map;
}

static uint64_t bit_of(const fp_arrow_view *view, size_t block, uint32_t section, uint32_t chunk)
{
    return view->first_bits[block] +
           (uint64_t)section * view->blocks[block].n_pages * FP_CHUNKS_OF_PAGE + chunk;
}

/* Relaxed, here and below: a bit says something of bytes that no thread of ours ever writes. */
static void set_bit(fp_arrow_view *view, uint64_t bit)
{
    atomic_fetch_or_explicit(&view->known[bit / 64], (uint64_t)1 << (bit % 64),
                             memory_order_relaxed);
}

void fp_arrow_view_note_front(fp_arrow_view *view, size_t block)
{
    set_bit(view, view->n_chunk_bits + block);
}

bool fp_arrow_view_knows_front(const fp_arrow_view *view, size_t block)
{
    uint64_t bit = view->n_chunk_bits + block;
    return atomic_load_explicit(&view->known[bit / 64], memory_order_relaxed) >> (bit % 64) & 1;
}

void fp_arrow_view_note(fp_arrow_view *view, size_t block, uint32_t section, uint32_t chunk)
{
    set_bit(view, bit_of(view, block, section, chunk));
}

uint32_t fp_arrow_view_unchecked(const fp_arrow_view *view, size_t block, uint32_t section,
                                 uint32_t first, uint32_t end)
{
    uint64_t bit = bit_of(view, block, section, first);
    for (uint32_t chunk = first; chunk < end;) {
        uint64_t known = atomic_load_explicit(&view->known[bit / 64], memory_order_relaxed);
        uint32_t left = 64 - (uint32_t)(bit % 64); /* of this word */
        known >>= bit % 64;
        if (known == UINT64_MAX >> (64 - left)) {
            chunk += left;
            bit += left;
            continue;
        }
        for (; known & 1; known >>= 1)
            chunk++;
        return chunk < end ? chunk : end;
    }
    return end;
}
