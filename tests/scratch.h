/* What the long tests share: a folder of their own, numbers that a seed determines, numbers from
 * the environment, and whole files in memory. It knows nothing of the library. */
#ifndef FP_SCRATCH_H
#define FP_SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "parent_folder.h"
#include "tiers.h"

/* ------------------------------------------------------------------ a folder */

static char scratch_folder[200];

static inline void scratch_remove(void)
{
    DIR *listing = opendir(scratch_folder);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", scratch_folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlink(path);
    }
    if (listing)
        closedir(listing);
    rmdir(scratch_folder);
}

static inline bool scratch_make(const char *name)
{
    snprintf(scratch_folder, sizeof scratch_folder, "%s/facpool-%s-XXXXXX", parent_folder(), name);
    return mkdtemp(scratch_folder) != NULL;
}

/* A path in the folder; the last eight stay valid. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

/* ------------------------------------------------------------------ numbers */

/* SplitMix64's mixing step: every bit of the answer depends on every bit of x. */
static inline uint64_t mix_bits(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

typedef struct random_numbers {
    uint64_t state;
} random_numbers;

static inline uint64_t random_bits(random_numbers *r)
{
    r->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix_bits(r->state);
}

static inline uint32_t random_below(random_numbers *r, uint32_t n)
{
    return (uint32_t)((random_bits(r) >> 32) * n >> 32);
}

static inline uint32_t random_between(random_numbers *r, uint32_t low, uint32_t high)
{
    return low + random_below(r, high - low + 1);
}

/* True in `percent` of 100 cases. */
static inline bool random_chance(random_numbers *r, uint32_t percent)
{
    return random_below(r, 100) < percent;
}

static inline uint64_t environment_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* The seed of this test run: FACPOOL_TEST_SEED, else another one every time. Printed, so that a
 * failure can be had again. */
static inline uint64_t environment_seed(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t fresh = mix_bits((uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec) >> 32;
    uint64_t seed = environment_number("FACPOOL_TEST_SEED", fresh);
    printf("seed: FACPOOL_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* ------------------------------------------------------------------ files */

/* A whole file in fresh memory; NULL where it can't be read. */
static inline uint8_t *file_read(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    *size = (size_t)status.st_size;
    uint8_t *content = malloc(*size + 1);
    size_t done = 0;
    while (content && done < *size) {
        ssize_t got = pread(fd, content + done, *size - done, (off_t)done);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    close(fd);
    if (content && done < *size) {
        free(content);
        return NULL;
    }
    return content;
}

static inline bool file_write(const char *path, const uint8_t *content, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    bool whole = pwrite(fd, content, size, 0) == (ssize_t)size;
    return close(fd) == 0 && whole;
}

static inline long long file_bytes(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (long long)status.st_size : -1;
}

#endif
