/* A small ext4 file system on a loop device, whose power can be cut: what it had not been asked to
 * keep is gone, as the kernel drops it (FS_IOC_SHUTDOWN without a flush). The image has no name any
 * more once it is attached, the device is freed with its last user, and the mounts are private: so
 * nothing stays behind, however the test ends. As root, on Linux. */
#ifndef FP_LOOP_DISK_H
#define FP_LOOP_DISK_H

#include "private_mount.h"

#include <linux/loop.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

extern char **environ;

#define IMAGE_BYTES ((off_t)24 << 20)

/* As the kernel's headers have it, since 6.9 or so, in <linux/fs.h>. */
#define POWER_OFF            _IOR('X', 125, uint32_t)
#define POWER_OFF_NOLOGFLUSH 2u

static int loop_fd = -1;
static char loop_device[32];
static char disk[256]; /* where it is mounted */

static inline bool mount_disk(void)
{
    return mount(loop_device, disk, "ext4", 0, NULL) == 0;
}

static inline bool unmount_disk(void)
{
    return umount2(disk, 0) == 0;
}

/* From now on nothing is written, and every call on the disk's files fails. */
static inline bool cut_power(void)
{
    uint32_t how = POWER_OFF_NOLOGFLUSH;
    int fd = open(disk, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool cut = fd >= 0 && ioctl(fd, POWER_OFF, &how) == 0;
    if (fd >= 0)
        close(fd);
    return cut;
}

/* ------------------------------------------------------------------ making one */

static inline bool format_image(char *image)
{
    static char program[] = "mkfs.ext4", quiet[] = "-q", force[] = "-F", option[] = "-E",
                options[] = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
    char *arguments[] = {program, quiet, force, option, options, image, NULL};
    static const char *const places[] = {"/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4",
                                         "/usr/bin/mkfs.ext4"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int state = 0;
        pid_t pid;
        if (posix_spawn(&pid, places[i], NULL, NULL, arguments, environ) != 0)
            continue;
        return waitpid(pid, &state, 0) == pid && WIFEXITED(state) && WEXITSTATUS(state) == 0;
    }
    return false;
}

/* Others may take the free device meanwhile: then the next one. */
static inline bool attach_image(int image)
{
    struct loop_config config = {.fd = (uint32_t)image, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    bool attached = false;
    for (int i = 0; control >= 0 && i < 20 && !attached; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            break;
        snprintf(loop_device, sizeof loop_device, "/dev/loop%d", number);
        loop_fd = open(loop_device, O_RDWR | O_CLOEXEC);
        attached = loop_fd >= 0 && ioctl(loop_fd, LOOP_CONFIGURE, &config) == 0;
        if (loop_fd >= 0 && !attached)
            close(loop_fd);
    }
    if (control >= 0)
        close(control);
    return attached;
}

/* In the scratch folder. Returns NULL, or what the machine lacks. */
static inline const char *make_disk(void)
{
    char image[256];
    snprintf(image, sizeof image, "%s/image", scratch_folder);
    snprintf(disk, sizeof disk, "%s/disk", scratch_folder);
    int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool made = fd >= 0 && ftruncate(fd, IMAGE_BYTES) == 0 && mkdir(disk, 0700) == 0;
    const char *lacks = NULL;
    if (!made)
        lacks = "an image can't be made";
    else if (!format_image(image))
        lacks = "there is no mkfs.ext4 that works";
    else if (!attach_image(fd))
        lacks = "there is no free loop device";
    else if (!mount_disk())
        lacks = "ext4 can't be mounted";
    else if (!cut_power())
        lacks = "the file system can't be shut down (FS_IOC_SHUTDOWN)";
    else if (!unmount_disk() || !mount_disk() || !unmount_disk())
        lacks = "ext4 can't be mounted again";
    unlink(image);
    if (fd >= 0)
        close(fd);
    return lacks;
}

static inline void remove_disk(void)
{
    umount2(disk, MNT_DETACH); /* where it is mounted */
    if (loop_fd >= 0)
        close(loop_fd);
    rmdir(disk);
}

#endif
