/* Linked into every test program of the coverage build, by --wrap=_exit: processes that leave by
 * _exit, as forked children do, write down what they have counted, as others do at exit. Those that
 * are killed can't. And what makes the library's calls fail in some tests is kept from the counts.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

/* A test may have set limits for its child that are not for the counts. */
static void lift_limits(void)
{
    static const int limits[] = {RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_AS};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)limits[i], &limit) == 0) {
            limit.rlim_cur = limit.rlim_max;
            (void)setrlimit((__rlimit_resource_t)limits[i], &limit);
        }
    }
    (void)signal(SIGXFSZ, SIG_IGN);
}

/* Comes before the counts are written at exit: their destructor has a priority, which makes it a
 * later one. */
__attribute__((destructor)) static void lift_limits_at_exit(void)
{
    lift_limits();
}

_Noreturn void __wrap__exit(int status)
{
    lift_limits();
    __gcov_dump();
    __real__exit(status);
}

/* Where a test has calls wrapped (--wrap) that it does not define itself, as the library's part
 * that it links does not use them: the counting does. Weak, as elsewhere they are defined, or not
 * wrapped and never called. */
#define PASS_ON(type, name, parameters, arguments)                                                 \
    __attribute__((weak)) type __real_##name parameters;                                           \
    __attribute__((weak)) type __wrap_##name parameters;                                           \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return __real_##name arguments;                                                            \
    }

PASS_ON(void *, malloc, (size_t n), (n))
PASS_ON(void *, calloc, (size_t n, size_t each), (n, each))
PASS_ON(void, free, (void *memory), (memory))
PASS_ON(void *, mmap, (void *at, size_t n, int protection, int flags, int fd, off_t offset),
        (at, n, protection, flags, fd, offset))
PASS_ON(FILE *, fopen, (const char *path, const char *mode), (path, mode))
PASS_ON(int, close, (int fd), (fd))

__attribute__((weak)) int __real_open(const char *path, int flags, ...);
__attribute__((weak)) int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
    return __real_open(path, flags, mode);
}

__attribute__((weak)) int __real_fcntl(int fd, int command, ...);
__attribute__((weak)) int __wrap_fcntl(int fd, int command, void *argument);
int __wrap_fcntl(int fd, int command, void *argument)
{
    return __real_fcntl(fd, command, argument);
}
