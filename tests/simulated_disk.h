/* A disk in memory, under the folder /simulated/: the system calls by which lib/os touches files
 * are led here by the linker's --wrap, and all that changes a file or a name is recorded, with its
 * bytes. Each file is a memfd, so that reads, maps and locks are the real thing; what a crash would
 * leave of a recording is made by crash_images.h. Clock and random numbers are simulated with it,
 * so that a seed determines every byte. Calls on other paths go through untouched.
 * For one thread. A program that uses it is linked with a --wrap for each name in disk_calls of
 * meson.build. */
#ifndef FP_SIMULATED_DISK_H
#define FP_SIMULATED_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_FOLDER     "/simulated/"
#define DISK_FILES_MAX  32 /* ever made, from one start of the disk on */
#define DISK_NAMES_MAX  32
#define DISK_NAME_BYTES 280

/* ------------------------------------------------------------------ what is on a disk */

typedef struct disk_bytes {
    uint8_t *at;
    size_t n;
    size_t capacity;
} disk_bytes;

/* Files by number, and the folder: which file each name leads to. Names have numbers too, which
 * they keep from one start of the disk to the next. Starts zeroed. */
typedef struct disk_image {
    unsigned n_files;
    disk_bytes files[DISK_FILES_MAX];
    unsigned n_names;
    int entries[DISK_NAMES_MAX]; /* file, or -1 */
} disk_image;

void disk_bytes_resize(disk_bytes *bytes, size_t n); /* new bytes are zero */
void disk_image_copy(disk_image *to, const disk_image *from);
void disk_image_free(disk_image *image);

/* ------------------------------------------------------------------ what happened */

typedef enum disk_op_kind {
    DISK_WRITE,
    DISK_TRUNCATE,
    DISK_SYNC, /* data and size of one file */
    DISK_MAKE, /* a new file and its name */
    DISK_LINK, /* another name */
    DISK_RENAME,
    DISK_UNLINK,
    DISK_SYNC_FOLDER
} disk_op_kind;

typedef struct disk_op {
    disk_op_kind kind;
    int file;
    int name;             /* made, linked to, unlinked; of a rename the old one */
    int new_name;         /* of a rename */
    size_t offset;        /* of a write; of a truncation the new size */
    size_t n;             /* of a write */
    const uint8_t *bytes; /* of a write; owned by the recording */
    size_t covers;        /* of a sync: the operations before this one, which is where it began */
} disk_op;

/* All that happened to a disk that was `start`, and all of that safe, at first. Starts zeroed. */
typedef struct disk_recording {
    disk_image start;
    disk_op *ops;
    size_t n;
    size_t capacity;
    void *chunks; /* memory of the bytes */
} disk_recording;

/* Adds an operation; of a write the bytes are copied. */
void disk_recording_add(disk_recording *recording, const disk_op *op);
void disk_recording_free(disk_recording *recording);

/* ------------------------------------------------------------------ the disk itself */

/* False where this machine can't have one, with errno. */
bool disk_begin(void);
void disk_end(void);

/* Makes the disk be as the image; no file of it may be open. */
void disk_load(const disk_image *image);

/* Takes a picture of the disk as programs see it. */
void disk_save(disk_image *image);

/* From now on operations are added to the recording; NULL: no more. Returns the one before. */
disk_recording *disk_record(disk_recording *recording);

/* How many operations the recording has. */
size_t disk_now(void);

/* How many of its files are open. */
unsigned disk_open_files(void);

/* The number of a name, -1 where it never was one. */
int disk_name(const char *path);
const char *disk_name_text(int name); /* without the folder */

/* Called once within the next sync of a file, when it has begun and before it is recorded: what is
 * written meanwhile is not covered. */
extern void (*disk_within_sync)(void *user);
extern void *disk_within_sync_user;

/* Whether renameat2 is missing, as on some file systems: names are then given by link. */
extern bool disk_lacks_rename_no_replace;

/* The time goes on by so much whenever it is asked for; random numbers begin anew. */
void disk_set_clock(int64_t step_ns);
void disk_turn_clock(int64_t by_ns);
void disk_set_seed(uint64_t seed);

#endif
