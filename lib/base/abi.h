/* Size-first structs at the border of the library. */
#ifndef FP_BASE_ABI_H
#define FP_BASE_ABI_H

#include <facpool/facpool.h>

/* Copies a caller's input struct of whatever size into ours of `own_size` bytes: a shorter one is
 * completed with zeros, a longer one must have a zero tail. `name` is for the message.
 * Errors: ABI (also for a size that can't be: smaller than the size field itself). */
int fp_abi_import(void *own, size_t own_size, const void *theirs, const char *name,
                  facpool_error *err);

/* Copies our filled output struct into the caller's, as far as its size goes, keeping that size;
 * what a newer caller has beyond ours is zeroed. Errors: ABI. */
int fp_abi_export(void *theirs, const void *own, size_t own_size, const char *name,
                  facpool_error *err);

#endif
