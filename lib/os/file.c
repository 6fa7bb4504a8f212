/* Files by descriptor: open, read, write, cut, sync, lock. Called by the stores alone. Never keeps
 * a position or a buffer, and never retries a sync that failed. Names and publishing: publish.c. */
#include "os/file.h"

#include "base/alloc.h"
#include "base/error.h"
#include "os/file_size_signal.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux moves at most 0x7ffff000 bytes a call; a smaller round step is as fast. */
#define STEP_BYTES ((size_t)1 << 30)

static const char *open_remedy(int os_errno)
{
    switch (os_errno) {
    case EACCES:
    case EPERM:
        return "see to its permissions, or choose another file";
    case EROFS:
        return "its file system can't be written: choose a path on another one";
    case EMFILE:
        return "close some files, or raise the limit of open files (ulimit -n)";
    case ENFILE:
        return "the system has too many files open: close some";
    default:
        return "see to the path and the disk and try again";
    }
}

static int fail_open(const char *path, int os_errno, facpool_error *err)
{
    switch (os_errno) {
    case ENOENT:
    case ENOTDIR:
        return fp_fail_errno(err, FACPOOL_E_NOT_FOUND, os_errno,
                             "file '%s' can't be opened, see to the path", path);
    case EISDIR:
    case ENXIO:
        return fp_fail_errno(err, FACPOOL_E_UNSUPPORTED, os_errno,
                             "'%s' is not a regular file: choose another path", path);
    default:
        return fp_fail_errno(err, FACPOOL_E_IO, os_errno, "file '%s' can't be opened, %s", path,
                             open_remedy(os_errno));
    }
}

static int fail_look(const char *path, int os_errno, facpool_error *err)
{
    return fp_fail_errno(err, FACPOOL_E_IO, os_errno,
                         "file '%s' can't be looked at, see to the disk and try again", path);
}

int fp_file_open(fp_file *out, const char *path, bool writable, facpool_error *err)
{
    /* Non-blocking, so that a pipe with no one at its other end is refused and not waited for. */
    int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = -1;
    do {
        fd = open(path, flags);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return fail_open(path, errno, err);

    int code = 0;
    struct stat status;
    char *path_copy = NULL;
    if (fstat(fd, &status) != 0)
        code = fail_look(path, errno, err);
    else if (!S_ISREG(status.st_mode))
        code = fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "'%s' is not a regular file: choose another path", path);
    else if (!(path_copy = fp_strdup(NULL, path)))
        code = fp_fail_nomem(err, strlen(path) + 1);
    if (code) {
        close(fd);
        return code;
    }
    *out = (fp_file){fd, path_copy, 0};
    return 0;
}

/* A child that was forked meanwhile has the descriptor too, and the lock would last as long. What
 * such a child closes stays locked: the lock is its parent's. */
static void unlock(const fp_file *file)
{
#ifdef F_OFD_SETLK
    struct flock whole_file = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (file->locked_by == fp_process_id())
        (void)fcntl(file->fd, F_OFD_SETLK, &whole_file);
#else
    (void)file;
#endif
}

void fp_file_close(fp_file *file)
{
    if (file->fd >= 0)
        unlock(file);
    /* What close could still report was reported by the sync before it; after EINTR the descriptor
     * is gone all the same, so close is never called twice. */
    if (file->fd >= 0)
        (void)close(file->fd);
    fp_free(NULL, file->path);
    *file = (fp_file)FP_FILE_CLOSED;
}

int fp_file_size(const fp_file *file, uint64_t *size, facpool_error *err)
{
    struct stat status;
    if (fstat(file->fd, &status) != 0)
        return fail_look(file->path, errno, err);
    *size = (uint64_t)status.st_size;
    return 0;
}

static int check_range(const fp_file *file, size_t n, uint64_t offset, facpool_error *err)
{
    if (offset > INT64_MAX || n > INT64_MAX - offset)
        return fp_fail(err, FACPOOL_E_IO, "file '%s' can't have %zu bytes at offset %llu",
                       file->path, n, (unsigned long long)offset);
    return 0;
}

int fp_file_read(const fp_file *file, void *to, size_t n, uint64_t offset, size_t *got,
                 facpool_error *err)
{
    int code = check_range(file, n, offset, err);
    if (code)
        return code;
    size_t done = 0;
    while (done < n) {
        size_t step = n - done < STEP_BYTES ? n - done : STEP_BYTES;
        ssize_t result = pread(file->fd, (char *)to + done, step, (off_t)(offset + done));
        if (result == 0)
            break;
        if (result > 0)
            done += (size_t)result;
        else if (errno != EINTR)
            return fp_fail_errno(err, FACPOOL_E_IO, errno,
                                 "%zu bytes at offset %llu of file '%s' can't be read, see to the "
                                 "disk, or read a copy of the file",
                                 n, (unsigned long long)offset, file->path);
    }
    *got = done;
    return 0;
}

static const char *write_remedy(int os_errno)
{
    switch (os_errno) {
    case ENOSPC:
        return "disk full: free some space and resume";
    case EDQUOT:
        return "disk quota used up: free some space and resume";
    case EFBIG:
        return "the file is larger than a limit (ulimit -f) or the file system allows: raise it "
               "and resume";
    default:
        return "see to the disk and resume";
    }
}

int fp_file_write(const fp_file *file, const void *from, size_t n, uint64_t offset,
                  facpool_error *err)
{
    int code = check_range(file, n, offset, err);
    if (code)
        return code;
    int failure = 0;
    fp_file_size_signal held;
    fp_file_size_signal_hold(&held);
    for (size_t done = 0; done < n && !failure;) {
        size_t step = n - done < STEP_BYTES ? n - done : STEP_BYTES;
        ssize_t result = pwrite(file->fd, (const char *)from + done, step, (off_t)(offset + done));
        if (result > 0)
            done += (size_t)result;
        else if (result == 0)
            failure = EIO; /* no progress and no reason: going on could last for ever */
        else if (errno != EINTR)
            failure = errno;
    }
    fp_file_size_signal_restore(&held);
    if (failure)
        return fp_fail_errno(err, FACPOOL_E_IO, failure,
                             "%zu bytes at offset %llu of file '%s' can't be written, %s", n,
                             (unsigned long long)offset, file->path, write_remedy(failure));
    return 0;
}

int fp_file_truncate(const fp_file *file, uint64_t size, facpool_error *err)
{
    int code = check_range(file, 0, size, err);
    if (code)
        return code;
    int result = 0;
    fp_file_size_signal held;
    fp_file_size_signal_hold(&held);
    do {
        result = ftruncate(file->fd, (off_t)size);
    } while (result != 0 && errno == EINTR);
    int failure = result ? errno : 0;
    fp_file_size_signal_restore(&held);
    if (failure)
        return fp_fail_errno(err, FACPOOL_E_IO, failure, "file '%s' can't be cut to %llu bytes, %s",
                             file->path, (unsigned long long)size, write_remedy(failure));
    return 0;
}

int fp_file_sync(const fp_file *file, facpool_error *err)
{
    int result = 0;
    /* Only an interrupted sync is asked again. After any other failure the kernel may have dropped
     * the pages and would call a second sync a success. */
    do {
        result = fdatasync(file->fd);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        int failure = errno;
        return fp_fail_errno(err, FACPOOL_E_IO, failure, "file '%s' can't be synced, %s",
                             file->path, write_remedy(failure));
    }
    return 0;
}

/* An open-file-description lock: unlike a POSIX lock it is not lost when another part of the
 * process closes the same file, and it keeps two handles of one process apart. */
int fp_file_lock(fp_file *file, facpool_error *err)
{
#ifdef F_OFD_SETLK
    struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int result = 0;
    do {
        result = fcntl(file->fd, F_OFD_SETLK, &whole_file);
    } while (result != 0 && errno == EINTR);
    int failure = result ? errno : 0;
#else
    int failure = ENOSYS;
#endif
    switch (failure) {
    case 0:
        file->locked_by = fp_process_id();
        return 0;
    case EAGAIN:
    case EACCES:
        return fp_fail(err, FACPOOL_E_BUSY,
                       "another writer has backup '%s' open: wait for it or choose another file",
                       file->path);
    case ENOLCK:
    case EINVAL:
    case ENOSYS:
    case EOPNOTSUPP:
        return fp_fail_errno(err, FACPOOL_E_UNSUPPORTED, failure,
                             "the file system of backup '%s' has no working lock, which keeps two "
                             "writers apart: choose a path on another one",
                             file->path);
    default:
        return fp_fail_errno(err, FACPOOL_E_IO, failure,
                             "backup '%s' can't be locked, see to its file system or choose a path "
                             "on another one",
                             file->path);
    }
}

bool fp_file_is_locked(const fp_file *file)
{
#ifdef F_OFD_GETLK
    struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(file->fd, F_OFD_GETLK, &whole_file) == 0 && whole_file.l_type != F_UNLCK;
#else
    (void)file;
    return false;
#endif
}

bool fp_file_is_at(const fp_file *file, const char *path)
{
    struct stat own, there;
    return fstat(file->fd, &own) == 0 && stat(path, &there) == 0 && own.st_dev == there.st_dev &&
           own.st_ino == there.st_ino;
}
