/* The one door to XXH3. Called by the stores over what they write and read, and by tables of
 * codes and keys; keeps no state and never allocates. The hash is compiled in, so that its speed is
 * not a matter of how it was packaged. */
#include "codec/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t fp_checksum(const void *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}

uint64_t fp_hash(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}
