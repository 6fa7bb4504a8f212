/* Decoded dictionaries of a file, kept for the next block: in most files one block's codes are
 * those of its neighbours, byte for byte, as their checksums tell. Shared by all snapshots of a
 * file and all their readers.
 */
#ifndef FP_STORE_DICTIONARY_CACHE_H
#define FP_STORE_DICTIONARY_CACHE_H

#include <stdatomic.h>
#include "base/text.h"
#include "os/os.h"

#define FP_CACHED_DICTIONARIES 4

/* A decoded dictionary, counted: the cache is one holder, each opened block another. */
typedef struct fp_cached_dictionary {
    atomic_size_t references;
    fp_texts texts;
    uint64_t checksum; /* of what it was decoded from */
    size_t stored_bytes;
} fp_cached_dictionary;

typedef struct fp_dictionary_cache {
    fp_lock lock;
    fp_cached_dictionary *slots[FP_CACHED_DICTIONARIES];
    size_t next; /* slot to be replaced */
} fp_dictionary_cache;

int fp_dictionary_cache_init(fp_dictionary_cache *cache, facpool_error *err);
void fp_dictionary_cache_free(fp_dictionary_cache *cache);

/* The dictionary of n texts that stored bytes with this checksum decode to, counted for the caller,
 * or NULL. Where it is found nobody needs to read them. */
fp_cached_dictionary *fp_dictionary_cache_find(fp_dictionary_cache *cache, uint64_t checksum,
                                               size_t stored_bytes, size_t n);

/* Keeps a dictionary for others, where it is not too large. */
void fp_dictionary_cache_keep(fp_dictionary_cache *cache, fp_cached_dictionary *dictionary);

fp_cached_dictionary *fp_cached_dictionary_new(void);                /* empty; NULL: NOMEM */
void fp_cached_dictionary_release(fp_cached_dictionary *dictionary); /* takes NULL */

#endif
