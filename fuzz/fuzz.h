/* What all fuzz targets share: ending where something is not as it has to be, so that libFuzzer
 * keeps the input and the stand-alone driver's test fails. */
#ifndef FP_FUZZ_H
#define FP_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* On, whatever NDEBUG says. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Inputs of targets that read files end in this where a mutator has mended checksums: such a file
 * may lie, and then only memory and structure have to be right. One without it was written by a
 * real writer, and at most damaged: then everything has to be. */
#define FORGED_MARK       "\0FORGED!"
#define FORGED_MARK_BYTES ((size_t)8)

static inline bool fuzz_is_forged(const uint8_t *bytes, size_t size)
{
    return size >= FORGED_MARK_BYTES &&
           memcmp(bytes + size - FORGED_MARK_BYTES, FORGED_MARK, FORGED_MARK_BYTES) == 0;
}

#endif
