/* What the tests of cut and damaged files share: the file formats, and the file in hand. Through
 * the public header only. */
#ifndef FP_DAMAGE_FORMATS_H
#define FP_DAMAGE_FORMATS_H

#include "scratch.h"
#include "test.h"

#include <facpool/facpool.h>

static facpool_error err = FACPOOL_ERROR_INIT;

/* What sets the formats apart here. */
typedef struct damage_format {
    const char *name;
    const char *suffix;
    bool has_frame; /* a header that may be damaged, and an index that says what the file holds.
                       Else the file is its rows: cut behind one it is a sound younger one */
    size_t n_dates; /* so that files are small, and every byte can be tried */
} damage_format;

static const damage_format formats[] = {
    {"binary", ".fpb", true, 6}, {"json", ".jsonl", false, 3}, {"memory_map", ".arrow", true, 4}};

/* The one that is tested now, and the file that is written, cut and damaged. */
static const damage_format *format;
static char path[512];

/* As if a writer had been killed before it had closed the file. */
static inline void cut_last_bytes(void)
{
    if (format->has_frame)
        CHECK_INT(truncate(path, (off_t)file_bytes(path) - 5), 0);
}

/* The file in hand, to be changed in place between two looks at it. */
static inline int file_open_to_damage(void)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

/* Flips a bit of the file, and of `bytes`, which it holds. */
static inline void file_flip(int fd, uint8_t *bytes, size_t bit)
{
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    CHECK_INT(pwrite(fd, &bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
}

/* Runs the tests for every format, or for those named in the arguments. */
static inline int damage_main(int argc, char **argv, const char *folder, void (*tests)(void))
{
    if (!scratch_make(folder)) {
        printf("no folder can be made\n");
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char name[64];
        bool wanted = argc < 2;
        format = &formats[i];
        for (int a = 1; a < argc; a++)
            wanted = wanted || strcmp(argv[a], format->name) == 0;
        if (!wanted)
            continue;
        snprintf(name, sizeof name, "backup%s", format->suffix);
        snprintf(path, sizeof path, "%s", scratch_path(name));
        printf("%s:\n", format->name);
        tests();
    }
    scratch_remove();
    return TEST_END();
}

#endif
