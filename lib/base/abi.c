/* Reads and writes structs whose first field is their size, so that a caller built against an older
 * or newer header is understood or told so. Called by every public function that takes a struct;
 * never looks at a field other than the size. */
#include "base/abi.h"

#include "base/error.h"

#include <string.h>

/* No struct of the library will come near this: a larger size is memory that was not initialised.
 */
#define SIZE_LIMIT ((size_t)65536)

static int read_size(size_t *size, const void *theirs, const char *name, facpool_error *err)
{
    if (!theirs)
        return fp_fail(err, FACPOOL_E_INVALID, "%s is NULL: give one initialised with its _INIT",
                       name);
    memcpy(size, theirs, sizeof *size);
    if (*size < sizeof(size_t) || *size > SIZE_LIMIT)
        return fp_fail(err, FACPOOL_E_ABI,
                       "%s has size %zu, which can't be: initialise it with its _INIT macro", name,
                       *size);
    return 0;
}

int fp_abi_import(void *own, size_t own_size, const void *theirs, const char *name,
                  facpool_error *err)
{
    size_t size = 0;
    int code = read_size(&size, theirs, name, err);
    if (code)
        return code;
    const unsigned char *bytes = theirs;
    for (size_t i = own_size; i < size; i++)
        if (bytes[i])
            return fp_fail(err, FACPOOL_E_ABI,
                           "%s has %zu bytes, this library (%s) knows %zu, and what is beyond is "
                           "not zero: it asks for something newer, use a newer library",
                           name, size, facpool_version(), own_size);
    size_t shared = size < own_size ? size : own_size;
    memcpy(own, theirs, shared);
    memset((unsigned char *)own + shared, 0, own_size - shared);
    memcpy(own, &own_size, sizeof own_size);
    return 0;
}

int fp_abi_export(void *theirs, const void *own, size_t own_size, const char *name,
                  facpool_error *err)
{
    size_t size = 0;
    int code = read_size(&size, theirs, name, err);
    if (code)
        return code;
    size_t shared = size < own_size ? size : own_size;
    memcpy(theirs, own, shared);
    memset((unsigned char *)theirs + shared, 0, size - shared);
    memcpy(theirs, &size, sizeof size);
    return 0;
}
