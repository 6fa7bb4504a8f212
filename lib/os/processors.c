/* How many processors the process may use: the least of its affinity, the quotas of its control
 * groups (versions 2 and 1) and what OMP_NUM_THREADS and OMP_THREAD_LIMIT allow. Called when a run
 * chooses its number of workers. */
#include "os/os.h"
#include "os/processors.h"

#include "base/alloc.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sched.h>
#endif

#define LINE_BYTES 4352 /* a path and what stands before it */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t online_processors(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT_MAX ? (uint32_t)online : 1;
}

#ifdef __linux__
/* The kernel refuses a set smaller than its own number of processors, so the set grows until it
 * fits. */
static uint32_t affinity_processors(void)
{
    for (size_t processors = 1024; processors <= 1024 * 1024; processors *= 4) {
        size_t bytes = CPU_ALLOC_SIZE(processors);
        cpu_set_t *set = fp_alloc_zero(NULL, 1, bytes);
        if (!set)
            return FP_PROCESSORS_NO_LIMIT;
        int result = sched_getaffinity(0, bytes, set);
        int failure = result ? errno : 0;
        int count = failure ? 0 : CPU_COUNT_S(bytes, set);
        fp_free(NULL, set);
        if (count > 0)
            return (uint32_t)count;
        if (failure != EINVAL)
            break;
    }
    return FP_PROCESSORS_NO_LIMIT;
}
#else
static uint32_t affinity_processors(void)
{
    return FP_PROCESSORS_NO_LIMIT;
}
#endif

uint32_t fp_first_number(const char *text)
{
    if (!text)
        return FP_PROCESSORS_NO_LIMIT;
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end == text || errno || number < 1 || number >= INT_MAX)
        return FP_PROCESSORS_NO_LIMIT;
    end += strspn(end, " \t\r\n");
    return *end == '\0' || *end == ',' ? (uint32_t)number : FP_PROCESSORS_NO_LIMIT;
}

/* The first line of a small file, without its newline. */
static bool read_line(char line[LINE_BYTES], const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool read = fgets(line, LINE_BYTES, file) != NULL;
    (void)fclose(file);
    if (read)
        line[strcspn(line, "\n")] = '\0';
    return read;
}

static uint32_t quota_to_processors(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return FP_PROCESSORS_NO_LIMIT;
    long long processors = quota / period + (quota % period != 0);
    return processors < INT_MAX ? (uint32_t)processors : FP_PROCESSORS_NO_LIMIT;
}

/* Version 2: "quota period" or "max period". */
static uint32_t quota_of_v2_group(const char *folder)
{
    char path[LINE_BYTES * 2], line[LINE_BYTES];
    long long quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_line(line, path) || sscanf(line, "%lld %lld", &quota, &period) != 2)
        return FP_PROCESSORS_NO_LIMIT;
    return quota_to_processors(quota, period);
}

/* Version 1: two files, quota -1 for none. */
static uint32_t quota_of_v1_group(const char *folder)
{
    char path[LINE_BYTES * 2], line[LINE_BYTES];
    long long quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_line(line, path) || sscanf(line, "%lld", &quota) != 1)
        return FP_PROCESSORS_NO_LIMIT;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!read_line(line, path) || sscanf(line, "%lld", &period) != 1)
        return FP_PROCESSORS_NO_LIMIT;
    return quota_to_processors(quota, period);
}

/* From the group itself up to the root of the hierarchy. Groups that can't be seen from here (a
 * container shows only its own part) are passed over. `group` is used up. */
static uint32_t least_quota_upward(const char *mount, const char *hierarchy, char *group,
                                   uint32_t (*quota_of_group)(const char *folder))
{
    uint32_t limit = FP_PROCESSORS_NO_LIMIT;
    for (;;) {
        char folder[LINE_BYTES + 256];
        int length = snprintf(folder, sizeof folder, "%s%s%s", mount, hierarchy, group);
        if (length > 0 && (size_t)length < sizeof folder)
            limit = least(limit, quota_of_group(folder));
        char *slash = strrchr(group, '/');
        if (!slash || group[0] == '\0')
            return limit;
        *slash = '\0';
    }
}

static bool lists_cpu_controller(const char *controllers)
{
    for (const char *at = controllers; *at;) {
        size_t length = strcspn(at, ",");
        if (length == 3 && memcmp(at, "cpu", 3) == 0)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

/* A line of the membership file: "number:controllers:group". No controllers: version 2. */
static uint32_t quota_of_line(char *line, const char *mount)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return FP_PROCESSORS_NO_LIMIT;
    controllers++;
    *group++ = '\0';
    bool is_v2 = *controllers == '\0';
    if (!is_v2 && !lists_cpu_controller(controllers))
        return FP_PROCESSORS_NO_LIMIT;
    static const char *const v2_places[] = {"", "/unified"};
    static const char *const v1_places[] = {"/cpu", "/cpu,cpuacct"};
    const char *const *places = is_v2 ? v2_places : v1_places;
    uint32_t limit = FP_PROCESSORS_NO_LIMIT;
    for (size_t i = 0; i < 2; i++) {
        char walked[LINE_BYTES];
        snprintf(walked, sizeof walked, "%s", group);
        limit = least(limit, least_quota_upward(mount, places[i], walked,
                                                is_v2 ? quota_of_v2_group : quota_of_v1_group));
    }
    return limit;
}

uint32_t fp_cgroup_processors(const char *membership, const char *mount)
{
    FILE *file = fopen(membership, "re");
    if (!file)
        return FP_PROCESSORS_NO_LIMIT;
    uint32_t limit = FP_PROCESSORS_NO_LIMIT;
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, file))
        limit = least(limit, quota_of_line(line, mount));
    (void)fclose(file);
    return limit;
}

uint32_t fp_processors(void)
{
    uint32_t processors = least(online_processors(), affinity_processors());
    processors = least(processors, fp_cgroup_processors("/proc/self/cgroup", "/sys/fs/cgroup"));
    processors = least(processors, fp_first_number(getenv("OMP_NUM_THREADS")));
    processors = least(processors, fp_first_number(getenv("OMP_THREAD_LIMIT")));
    return processors ? processors : 1;
}
