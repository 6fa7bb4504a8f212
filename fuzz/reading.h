/* What the targets that read files do with one: everything that a reader, verify, repair and a
 * resuming writer can be asked of it. See reading.c. */
#ifndef FP_FUZZ_READING_H
#define FP_FUZZ_READING_H

#include <stddef.h>
#include <stdint.h>

/* Writes the bytes into a file whose name ends in `suffix`, and tries everything on it and on
 * copies of it. Ends the program where an answer is not as it has to be. */
void fuzz_reading(const char *suffix, const uint8_t *bytes, size_t size);

#endif
