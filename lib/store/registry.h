/* The registry of file formats: found by name, by a path's suffix, or by a file's first bytes. */
#ifndef FP_STORE_REGISTRY_H
#define FP_STORE_REGISTRY_H

#include "store/format.h"

/* For a new file: what is asked for by name, else (name NULL) what the path's suffix says, else
 * binary. Errors: INVALID (no such format). */
int fp_format_choose(const fp_format **out, const char *name, const char *path, facpool_error *err);

/* NULL where nothing fits. */
const fp_format *fp_format_named(const char *name);
const fp_format *fp_format_of_bytes(const uint8_t *first, size_t n);

/* The same for files of lines whose first bytes are lost, by their rows. Errors: IO, NOMEM. */
int fp_format_of_rows(const fp_file *file, const fp_format **out, facpool_error *err);

#endif
