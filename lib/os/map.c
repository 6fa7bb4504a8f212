/* Files mapped for reading. Called by the store whose rows are handed out as they lie; it writes
 * through no map, and keeps none. */
#include "os/file.h"

#include "base/error.h"

#include <errno.h>
#include <sys/mman.h>

int fp_file_map(const void **out, const fp_file *file, uint64_t bytes, facpool_error *err)
{
    uint64_t size;
    int rc = fp_file_size(file, &size, err);
    if (rc)
        return rc;
    if (size < bytes)
        return fp_fail(err, FACPOOL_E_IO,
                       "file '%s' was cut from %llu to %llu bytes by another program while it was "
                       "read: read it again",
                       file->path, (unsigned long long)bytes, (unsigned long long)size);
    if (bytes > SIZE_MAX)
        return fp_fail(err, FACPOOL_E_NOMEM,
                       "file '%s' (%llu bytes) is larger than what this machine can map",
                       file->path, (unsigned long long)bytes);
    void *map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, file->fd, 0);
    if (map == MAP_FAILED)
        return fp_fail_errno(err, errno == ENOMEM ? FACPOOL_E_NOMEM : FACPOOL_E_IO, errno,
                             "file '%s' can't be mapped, free some memory or raise the limit of "
                             "address space (ulimit -v)",
                             file->path);
    *out = map;
    return 0;
}

void fp_file_unmap(const void *map, uint64_t bytes)
{
    if (map)
        (void)munmap((void *)(uintptr_t)map, (size_t)bytes);
}
