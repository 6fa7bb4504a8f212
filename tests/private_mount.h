/* File systems that a test mounts for itself, in a mount namespace that nobody else sees and that
 * goes with its last process, however that ends: as root, or (tmpfs alone) in a user namespace of
 * its own. Linux. */
#ifndef FP_PRIVATE_MOUNT_H
#define FP_PRIVATE_MOUNT_H

#include "scratch.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

#define EXIT_SKIPPED 77 /* as meson understands it */

static inline bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool whole = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return whole;
}

/* The caller stays who it was, and is root for what it mounts. */
static inline bool enter_user_namespace(void)
{
    char user[64], group[64];
    snprintf(user, sizeof user, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(group, sizeof group, "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", user) &&
           write_text("/proc/self/gid_map", group);
}

/* To be called before any thread is started. Returns 0 or the errno of what was refused. */
static inline int enter_mount_namespace(bool with_users)
{
    if (unshare(CLONE_NEWNS) != 0 && !(with_users && enter_user_namespace()))
        return errno ? errno : EPERM;
    /* Nothing mounted from now on is seen outside. */
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 ? 0 : errno;
}

/* A file system in memory, of so many bytes (whole pages). With `again` it is there already and is
 * resized. */
static inline bool mount_memory(const char *path, uint64_t bytes, bool again)
{
    char options[64];
    snprintf(options, sizeof options, "size=%llu,mode=0700", (unsigned long long)bytes);
    return mount("tmpfs", path, "tmpfs", again ? MS_REMOUNT : 0, options) == 0;
}

#endif
