/* Where tests make their folders. */
#ifndef FP_TEST_PARENT_FOLDER_H
#define FP_TEST_PARENT_FOLDER_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* $TMPDIR; else a folder in memory where there is room, as tests write and sync small files
 * thousands of times and have nothing to learn from a disk; else /tmp. */
static inline const char *parent_folder(void)
{
    const uint64_t least_bytes = (uint64_t)512 << 20;
    const char *asked = getenv("TMPDIR");
    struct statvfs room;
    if (asked && *asked)
        return asked;
    if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &room) == 0 &&
        (uint64_t)room.f_bavail * room.f_frsize >= least_bytes)
        return "/dev/shm";
    return "/tmp";
}

#endif
