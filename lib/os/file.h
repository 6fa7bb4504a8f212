/* Files: the only calls by which the library touches a file system. All are whole-or-error: short
 * reads and writes and EINTR are dealt with here. Descriptors are close-on-exec. Errors carry the
 * errno and the path. Tests replace this file's implementation to inject faults. */
#ifndef FP_OS_FILE_H
#define FP_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <facpool/facpool.h>

typedef struct fp_file {
    int fd;            /* -1: not open */
    char *path;        /* owned; for messages and for path-and-inode checks */
    int64_t locked_by; /* the process that fp_file_lock was called in; 0: not locked */
} fp_file;

#define FP_FILE_CLOSED                                                                             \
    {                                                                                              \
        -1, NULL, 0                                                                                \
    }

/* Errors: NOT_FOUND, IO, NOMEM; UNSUPPORTED where it is no regular file. */
int fp_file_open(fp_file *out, const char *path, bool writable, facpool_error *err);

/* A new empty file with an unpredictable name in the folder of `path`, mode 0666 less the umask,
 * never through a symbolic link. out->path is its name. */
int fp_file_create_temp(fp_file *out, const char *path, facpool_error *err);

/* The same to take the place of `like`, whose rights it has: see fp_file_take_rights. */
int fp_file_create_temp_like(fp_file *out, const char *path, const fp_file *like,
                             facpool_error *err);

/* Gives the temporary file its final name and syncs the folder. Without `replace` an existing file
 * there is FACPOOL_E_EXISTS. The file itself must have been synced. On success file->path is
 * `path`. */
int fp_file_publish(fp_file *file, const char *path, bool replace, facpool_error *err);

/* Makes the name of a file that is there outlast a power failure: who gave it may have been killed
 * before its folder was synced. Symbolic links are followed. Errors: IO, NOMEM. */
int fp_file_sync_name(const char *path, facpool_error *err);

/* Gives a new file the permissions of the one whose place it is to take, and its owner and group
 * where this process may. Errors: IO. */
int fp_file_take_rights(const fp_file *file, const fp_file *from, facpool_error *err);

/* Closes and removes a temporary file. */
void fp_file_discard(fp_file *file);
void fp_file_close(fp_file *file);

int fp_file_size(const fp_file *file, uint64_t *size, facpool_error *err);

/* Reads up to n bytes at `offset`; *got is less only at the end of the file. */
int fp_file_read(const fp_file *file, void *to, size_t n, uint64_t offset, size_t *got,
                 facpool_error *err);
int fp_file_write(const fp_file *file, const void *from, size_t n, uint64_t offset,
                  facpool_error *err);
int fp_file_truncate(const fp_file *file, uint64_t size, facpool_error *err);
int fp_file_sync(const fp_file *file, facpool_error *err); /* data and size */

/* Maps the file's first bytes, at least one, for reading; they are there until they are unmapped,
 * whatever becomes of `file`. Touching a part that somebody has cut off since ends the process by
 * SIGBUS: only bytes that nobody who keeps the rules cuts off are to be mapped. Errors: IO (the
 * file is shorter, or can't be mapped), NOMEM (no room in the address space). */
int fp_file_map(const void **out, const fp_file *file, uint64_t bytes, facpool_error *err);
void fp_file_unmap(const void *map, uint64_t bytes); /* takes NULL */

/* The single-writer lock: belongs to this open file, goes with it. Errors: BUSY (another holds
 * it), UNSUPPORTED (no working lock on this file system), IO. */
int fp_file_lock(fp_file *file, facpool_error *err);

/* Whether another open file has that lock; false where it can't be told. */
bool fp_file_is_locked(const fp_file *file);

/* Whether `path` still names this very file. */
bool fp_file_is_at(const fp_file *file, const char *path);

bool fp_path_exists(const char *path);

/* The path made independent of the working folder, in memory of the allocator's. Errors: NOMEM. */
int fp_path_absolute(char **out, const char *path, const facpool_allocator *allocator,
                     facpool_error *err);

/* The file that a path leads to, symbolic links followed, in memory of the caller's; the path as it
 * is where nothing is there yet. Errors: NOT_FOUND (a link that leads nowhere, naming where), IO (a
 * link that can't be followed), NOMEM.
 */
int fp_path_resolve(char **out, const char *path, facpool_error *err);

#endif
