/* Fuzz target: a file of the format json that may be anything, its checksums mended by mend_json.c
 * so that what is behind them is reached. See reading.c. */
#include "reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_reading(".jsonl", bytes, size);
    return 0;
}
