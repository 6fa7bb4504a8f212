/* Keeping decoded dictionaries: see dictionary_cache.h. Called when a block is opened; it decodes
 * nothing and judges nothing. What it can't keep is decoded again, that is all. */
#include "store/dictionary_cache.h"

#include "base/alloc.h"

#include <string.h>

/* A file with dictionaries larger than this has rows enough to pay for decoding them. */
#define MOST_TEXTS_BYTES ((size_t)1 << 20)

int fp_dictionary_cache_init(fp_dictionary_cache *cache, facpool_error *err)
{
    memset(cache->slots, 0, sizeof cache->slots);
    cache->next = 0;
    return fp_lock_init(&cache->lock, err);
}

void fp_dictionary_cache_free(fp_dictionary_cache *cache)
{
    for (size_t i = 0; i < FP_CACHED_DICTIONARIES; i++)
        fp_cached_dictionary_release(cache->slots[i]);
    fp_lock_destroy(&cache->lock);
}

fp_cached_dictionary *fp_cached_dictionary_new(void)
{
    fp_cached_dictionary *dictionary = fp_alloc_zero(NULL, 1, sizeof *dictionary);
    if (dictionary)
        atomic_init(&dictionary->references, 1);
    return dictionary;
}

void fp_cached_dictionary_release(fp_cached_dictionary *dictionary)
{
    /* Release pairs with the acquire half of the last holder's own subtraction. */
    if (!dictionary ||
        atomic_fetch_sub_explicit(&dictionary->references, 1, memory_order_acq_rel) != 1)
        return;
    fp_texts_free(&dictionary->texts);
    fp_free(NULL, dictionary);
}

static fp_cached_dictionary *hold(fp_cached_dictionary *dictionary)
{
    atomic_fetch_add_explicit(&dictionary->references, 1, memory_order_relaxed);
    return dictionary;
}

fp_cached_dictionary *fp_dictionary_cache_find(fp_dictionary_cache *cache, uint64_t checksum,
                                               size_t stored_bytes, size_t n)
{
    fp_cached_dictionary *found = NULL;
    fp_lock_enter(&cache->lock);
    for (size_t i = 0; !found && i < FP_CACHED_DICTIONARIES; i++) {
        fp_cached_dictionary *slot = cache->slots[i];
        if (slot && slot->texts.n == n && slot->stored_bytes == stored_bytes &&
            slot->checksum == checksum)
            found = hold(slot);
    }
    fp_lock_leave(&cache->lock);
    return found;
}

void fp_dictionary_cache_keep(fp_dictionary_cache *cache, fp_cached_dictionary *dictionary)
{
    const fp_texts *texts = &dictionary->texts;
    if (texts->offsets[texts->n] > MOST_TEXTS_BYTES)
        return;
    fp_lock_enter(&cache->lock);
    fp_cached_dictionary *replaced = cache->slots[cache->next];
    cache->slots[cache->next] = hold(dictionary);
    cache->next = (cache->next + 1) % FP_CACHED_DICTIONARIES;
    fp_lock_leave(&cache->lock);
    fp_cached_dictionary_release(replaced);
}
