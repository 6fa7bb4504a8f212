/* A small ext4 file system on a loop device, whose power can be cut: from one moment on its image,
 * a file in memory, takes no write any more (it is sealed). What the device had written by then is
 * there afterwards and nothing else: what the kernel still kept in memory is gone. The image has no
 * name, the device is freed with its last user, and the mounts are private: so nothing stays
 * behind, however the test ends. As root, on Linux since 5.1. */
#ifndef FP_LOOP_DISK_H
#define FP_LOOP_DISK_H

#include "private_mount.h"

#include <linux/loop.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

extern char **environ;

#define IMAGE_BYTES ((off_t)24 << 20)

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static int image_fd = -1; /* what the device is made of */
static int loop_fd = -1;  /* while it is there */
static char loop_device[32];
static char disk[256]; /* where it is mounted */

/* ------------------------------------------------------------------ its image */

static inline bool make_image(void)
{
    image_fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return image_fd >= 0 && ftruncate(image_fd, IMAGE_BYTES) == 0;
}

static inline bool format_image(void)
{
    static char program[] = "mkfs.ext4", quiet[] = "-q", force[] = "-F", option[] = "-E",
                options[] = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
    char image[64];
    snprintf(image, sizeof image, "/proc/%d/fd/%d", (int)getpid(), image_fd);
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

/* The same bytes in another image, which takes writes again. */
static inline bool renew_image(void)
{
    static char bytes[1 << 16];
    int old = image_fd;
    bool whole = make_image();
    for (off_t at = 0; whole && (at = lseek(old, at, SEEK_DATA)) >= 0;) {
        ssize_t n = pread(old, bytes, sizeof bytes, at);
        whole = n > 0 && pwrite(image_fd, bytes, (size_t)n, at) == n;
        at += n;
    }
    close(old);
    return whole;
}

/* ------------------------------------------------------------------ its device */

static inline void detach_image(void)
{
    if (loop_fd >= 0)
        close(loop_fd);
    loop_fd = -1;
}

/* Others may take the free device meanwhile: then the next one. */
static inline bool attach_image(void)
{
    struct loop_config config = {.fd = (uint32_t)image_fd, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    bool attached = false;
    for (int i = 0; control >= 0 && i < 20 && !attached; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            break;
        snprintf(loop_device, sizeof loop_device, "/dev/loop%d", number);
        loop_fd = open(loop_device, O_RDWR | O_CLOEXEC);
        attached = loop_fd >= 0 && ioctl(loop_fd, LOOP_CONFIGURE, &config) == 0;
        if (!attached)
            detach_image();
    }
    if (control >= 0)
        close(control);
    return attached;
}

/* ------------------------------------------------------------------ using it */

static inline bool mount_disk(void)
{
    return attach_image() && mount(loop_device, disk, "ext4", 0, NULL) == 0;
}

static inline bool unmount_disk(void)
{
    bool unmounted = umount2(disk, 0) == 0;
    detach_image();
    return unmounted;
}

/* The device fails every write from now on; a sync of what is not written yet fails with it. */
static inline bool cut_power(void)
{
    return fcntl(image_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0;
}

/* What the device had written is mounted by a kernel that knows nothing more of it: the device is
 * another one too, with nothing in its cache. */
static inline bool restore_power(void)
{
    return unmount_disk() && renew_image() && mount_disk();
}

/* In the scratch folder. Returns NULL, or what the machine lacks. */
static inline const char *make_disk(void)
{
    snprintf(disk, sizeof disk, "%s/disk", scratch_folder);
    if (mkdir(disk, 0700) != 0 || !make_image())
        return "an image can't be made";
    if (!format_image())
        return "there is no mkfs.ext4 that works";
    if (!attach_image())
        return "there is no free loop device";
    detach_image();
    if (!mount_disk())
        return "ext4 can't be mounted";
    if (!cut_power())
        return "an image can't be sealed (F_SEAL_FUTURE_WRITE)";
    if (!restore_power() || !unmount_disk())
        return "ext4 can't be mounted again";
    return NULL;
}

static inline void remove_disk(void)
{
    umount2(disk, MNT_DETACH); /* where it is mounted */
    detach_image();
    if (image_fd >= 0)
        close(image_fd);
    rmdir(disk);
}

#endif
