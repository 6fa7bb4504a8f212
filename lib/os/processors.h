/* The parts of fp_processors that read text, apart so that tests can give them texts. */
#ifndef FP_OS_PROCESSORS_H
#define FP_OS_PROCESSORS_H

#include <stdint.h>

#define FP_PROCESSORS_NO_LIMIT UINT32_MAX

/* Processors that the quotas of a process's control groups allow, rounded up: the least of its own
 * group and all above. `membership` is a file like /proc/self/cgroup, `mount` a folder like
 * /sys/fs/cgroup. NO_LIMIT where there is none. */
uint32_t fp_cgroup_processors(const char *membership, const char *mount);

/* The first number of a text like OMP_NUM_THREADS ("4" or "4,2"); NO_LIMIT where it has none. */
uint32_t fp_first_number(const char *text);

#endif
