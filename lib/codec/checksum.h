/* The checksum over everything stored: XXH3, 64 bits, seed 0. And the hash of tables in memory: the
 * same with a seed, which nobody who makes a file knows. */
#ifndef FP_CODEC_CHECKSUM_H
#define FP_CODEC_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t fp_checksum(const void *bytes, size_t n);
uint64_t fp_hash(const void *bytes, size_t n, uint64_t seed);

#endif
