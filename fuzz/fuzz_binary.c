/* Fuzz target: a file of the format binary that may be anything, its checksums mended by
 * mend_binary.c so that what is behind them is reached. See reading.c. */
#include "reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_reading(".fpb", bytes, size);
    return 0;
}
