/* Names of files: a temporary one beside the final one, and the move from the first to the second.
 * Called by the stores when they create or replace a backup. A reader of the final name sees the
 * old file, or the new one whole, at any moment. */
#include "os/file.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/text.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/xattr.h>
#endif

/* A name may have 255 bytes; the temporary one adds 22 to what it keeps of the final one. */
#define KEPT_NAME_BYTES 200
#define CREATE_ATTEMPTS 16

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* "folder/.name.0123456789abcdef.tmp", or NULL with *err filled. */
static char *temporary_name(const char *path, facpool_error *err)
{
    uint64_t number = 0;
    if (fp_random(&number, sizeof number, err))
        return NULL;
    size_t folder = folder_length(path);
    const char *name = path + folder;
    size_t kept = fp_utf8_cut(name, strlen(name), KEPT_NAME_BYTES);
    size_t room = folder + kept + sizeof "..0123456789abcdef.tmp";
    char *made = fp_alloc(NULL, room);
    if (!made) {
        fp_fail_nomem(err, room);
        return NULL;
    }
    memcpy(made, path, folder);
    snprintf(made + folder, room - folder, ".%.*s.%016" PRIx64 ".tmp", (int)kept, name, number);
    return made;
}

static int fail_create(const char *path, int os_errno, facpool_error *err)
{
    int code = os_errno == ENOENT || os_errno == ENOTDIR ? FACPOOL_E_NOT_FOUND : FACPOOL_E_IO;
    return fp_fail_errno(err, code, os_errno,
                         "no file can be made in the folder of '%s': make the folder, see to its "
                         "permissions, or choose another path",
                         path);
}

static int create_temp(fp_file *out, const char *path, mode_t mode, facpool_error *err)
{
    int failure = EEXIST;
    for (int attempt = 0; attempt < CREATE_ATTEMPTS && failure == EEXIST; attempt++) {
        facpool_error cause = FACPOOL_ERROR_INIT;
        char *name = temporary_name(path, &cause);
        if (!name)
            return fp_error_copy(err, &cause);
        int fd = -1;
        do {
            fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        } while (fd < 0 && errno == EINTR);
        if (fd >= 0) {
            *out = (fp_file){fd, name, 0};
            return 0;
        }
        failure = errno;
        fp_free(NULL, name);
    }
    return fail_create(path, failure, err);
}

int fp_file_create_temp(fp_file *out, const char *path, facpool_error *err)
{
    return create_temp(out, path, 0666, err);
}

int fp_file_create_temp_like(fp_file *out, const char *path, const fp_file *like,
                             facpool_error *err)
{
    /* Who may not read that one opens this one at no moment, not even while it is empty. */
    int rc = create_temp(out, path, 0600, err);
    if (!rc && (rc = fp_file_take_rights(out, like, err)))
        fp_file_discard(out);
    return rc;
}

/* Gives `to` to the file named `from` unless something is there. Returns 0 or an errno. */
static int rename_no_replace(const char *from, const char *to)
{
#ifdef RENAME_NOREPLACE
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
#endif
    if (link(from, to) != 0)
        return errno;
    /* Published already. A second name that could not be removed is a leftover, no failure. */
    (void)unlink(from);
    return 0;
}

/* Opens the folder of `path`, to be synced. Some folders may be written and not be read: *fd is
 * then -1, and the name is as safe as it can be had there. */
static int open_folder(int *fd, const char *path, facpool_error *err)
{
    const char *name = folder_length(path) ? path : "./";
    size_t length = folder_length(name);
    char *folder = fp_alloc(NULL, length + 1);
    if (!folder)
        return fp_fail_nomem(err, length + 1);
    memcpy(folder, name, length);
    folder[length] = '\0';
    do {
        *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (*fd < 0 && errno == EINTR);
    int failure = *fd < 0 ? errno : 0;
    fp_free(NULL, folder);
    if (failure == 0 || failure == EACCES)
        return 0;
    return fp_fail_errno(
        err, FACPOOL_E_IO, failure,
        "the folder of '%s' can't be opened to be synced, see to its permissions and "
        "the disk",
        path);
}

/* Until the folder is synced a new name may be lost with the power. */
static int sync_folder(int fd, const char *path, facpool_error *err)
{
    int result = 0;
    do {
        result = fd < 0 ? 0 : fsync(fd);
    } while (result != 0 && errno == EINTR);
    int failure = result ? errno : 0;
    if (failure == 0 || failure == EINVAL) /* some file systems have no sync for folders */
        return 0;
    return fp_fail_errno(err, FACPOOL_E_IO, failure,
                         "file '%s' is in place, but its folder can't be synced: its name may not "
                         "outlast a power failure",
                         path);
}

int fp_file_sync_name(const char *path, facpool_error *err)
{
    char resolved[PATH_MAX];
    int folder = -1;
    const char *name = realpath(path, resolved) ? resolved : path;
    int code = open_folder(&folder, name, err);
    if (!code)
        code = sync_folder(folder, name, err);
    if (folder >= 0)
        (void)close(folder);
    return code;
}

/* Gives the temporary file its name. */
static int take_name(const fp_file *file, const char *path, bool replace, facpool_error *err)
{
    int failure = 0;
    if (!replace)
        failure = rename_no_replace(file->path, path);
    else if (rename(file->path, path) != 0)
        failure = errno;
    if (failure == EEXIST)
        return fp_fail_errno(err, FACPOOL_E_EXISTS, failure,
                             "backup '%s' is there already: resume it, overwrite it, or choose "
                             "another file",
                             path);
    if (failure)
        return fp_fail_errno(
            err, FACPOOL_E_IO, failure,
            "file '%s' can't be given the name '%s', see to the permissions of its "
            "folder and the disk",
            file->path, path);
    return 0;
}

int fp_file_publish(fp_file *file, const char *path, bool replace, facpool_error *err)
{
    /* What can fail comes before the name: once it is there, only the last sync may still do. */
    int folder = -1;
    char *final_path = fp_strdup(NULL, path);
    int code = final_path ? 0 : fp_fail_nomem(err, strlen(path) + 1);
    if (!code)
        code = open_folder(&folder, path, err);
    if (!code)
        code = take_name(file, path, replace, err);
    if (!code)
        code = sync_folder(folder, path, err);
    if (folder >= 0)
        (void)close(folder);
    if (code) {
        /* The file keeps its temporary name here, also where only the folder's sync failed: so a
         * discard never removes a backup that others see already. */
        fp_free(NULL, final_path);
        return code;
    }
    fp_free(NULL, file->path);
    file->path = final_path;
    return 0;
}

static bool means_no_list(int os_errno)
{
    return os_errno == ENODATA || os_errno == EOPNOTSUPP || os_errno == ENOSYS;
}

/* Gives a file the access control list of another one, or none where that has none. Without a list
 * the group's bits of a mode are the group's; with one they bound it and others, so that a mode
 * alone would let in whom the list kept out. Returns 0 or an errno. */
static int copy_access_list(int to, int from, bool *has_list)
{
    *has_list = false;
#ifdef __linux__
    static const char name[] = "system.posix_acl_access";
    ssize_t n = fgetxattr(from, name, NULL, 0);
    if (n <= 0) {
        if (n < 0 && !means_no_list(errno))
            return errno;
        return fremovexattr(to, name) == 0 || means_no_list(errno) ? 0 : errno;
    }
    void *list = fp_alloc(NULL, (size_t)n);
    if (!list)
        return ENOMEM;
    n = fgetxattr(from, name, list, (size_t)n);
    int failure = n < 0 || fsetxattr(to, name, list, (size_t)n, 0) != 0 ? errno : 0;
    fp_free(NULL, list);
    *has_list = failure == 0;
    return failure;
#else
    (void)to;
    (void)from;
    return 0;
#endif
}

static int fail_rights(const fp_file *file, const fp_file *from, int os_errno, facpool_error *err)
{
    return fp_fail_errno(err, os_errno == ENOMEM ? FACPOOL_E_NOMEM : FACPOOL_E_IO, os_errno,
                         "file '%s' can't be given the permissions of '%s', whose place it is to "
                         "take: write to another file, or see to the permissions of this one",
                         file->path, from->path);
}

int fp_file_take_rights(const fp_file *file, const fp_file *from, facpool_error *err)
{
    struct stat own, wanted;
    if (fstat(file->fd, &own) != 0 || fstat(from->fd, &wanted) != 0)
        return fp_fail_errno(err, FACPOOL_E_IO, errno,
                             "file '%s' can't be looked at, see to the disk and try again",
                             from->path);
    mode_t mode = wanted.st_mode & 0777;
    bool same_owner = own.st_uid == wanted.st_uid && own.st_gid == wanted.st_gid;
    bool same_group = same_owner || fchown(file->fd, wanted.st_uid, wanted.st_gid) == 0 ||
                      own.st_gid == wanted.st_gid ||
                      fchown(file->fd, (uid_t)-1, wanted.st_gid) == 0;
    bool has_list;
    int failure = copy_access_list(file->fd, from->fd, &has_list);
    if (failure)
        return fail_rights(file, from, failure, err);
    if (!same_group)
        mode &= ~(mode_t)070 | (mode & 07) << 3; /* what its group may is not for another one */
    if ((has_list || mode != (own.st_mode & 0777)) && fchmod(file->fd, mode) != 0)
        return fail_rights(file, from, errno, err);
    return 0;
}

void fp_file_discard(fp_file *file)
{
    if (file->path)
        (void)unlink(file->path);
    fp_file_close(file);
}

int fp_path_absolute(char **out, const char *path, const facpool_allocator *allocator,
                     facpool_error *err)
{
    char folder[PATH_MAX] = "";
    /* Where the working folder has no name, the path stays as it is. */
    bool prefix = path[0] != '/' && getcwd(folder, sizeof folder) && folder[0] == '/';
    size_t length = (prefix ? strlen(folder) + 1 : 0) + strlen(path) + 1;
    char *absolute = fp_alloc(allocator, length);
    if (!absolute)
        return fp_fail_nomem(err, length);
    snprintf(absolute, length, "%s%s%s", prefix ? folder : "", prefix ? "/" : "", path);
    *out = absolute;
    return 0;
}

static int refuse_dangling(const char *path, facpool_error *err)
{
    char target[256];
    ssize_t n = readlink(path, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = '\0';
    return fp_fail(err, FACPOOL_E_NOT_FOUND,
                   "'%s' is a symbolic link to '%s', which is not there: remove the link, or give "
                   "the path that it should lead to",
                   path, target);
}

int fp_path_resolve(char **out, const char *path, facpool_error *err)
{
    char resolved[PATH_MAX];
    const char *found = realpath(path, resolved);
    struct stat status;
    bool is_link = !found && lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
    if (is_link) /* what it leads to may have been made just now */
        found = realpath(path, resolved);
    int failure = found ? 0 : errno;
    if (is_link && failure == ENOENT)
        return refuse_dangling(path, err);
    if (is_link && failure) /* or a new file would take the place of the link itself */
        return fp_fail_errno(err, FACPOOL_E_IO, failure,
                             "the symbolic link '%s' can't be followed, see "
                             "to where it leads",
                             path);
    /* What else is wrong with a path is said by whoever opens it. */
    char *copy = fp_strdup(NULL, found ? found : path);
    if (!copy)
        return fp_fail_nomem(err, strlen(path));
    *out = copy;
    return 0;
}

bool fp_path_exists(const char *path)
{
    struct stat status;
    /* A symbolic link that leads nowhere counts: no new file can take its name. */
    return lstat(path, &status) == 0;
}
