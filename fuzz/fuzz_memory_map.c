/* Fuzz target: a file of the format memory_map that may be anything, its checksums mended by
 * mend_memory_map.c so that what is behind them is reached. See reading.c. */
#include "reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_reading(".arrow", bytes, size);
    return 0;
}
