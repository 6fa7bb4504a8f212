/* The part of failing_calls.h that is no memory and no file: threads and locks, signals,
 * processors, random bytes, and what worker processes are made of. Included by it alone. */
#ifndef FP_FAILING_SYSTEM_H
#define FP_FAILING_SYSTEM_H

#include <linux/futex.h>
#include <locale.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ------------------------------------------------------------------ threads, locks, signals */

/* These give what went wrong, and leave errno alone. */
WRAP(int, CALL_THREAD, failing_errno, pthread_create,
     (pthread_t * id, const pthread_attr_t *attributes, void *(*body)(void *), void *arg),
     (id, attributes, body, arg))
WRAP(int, CALL_MUTEX, failing_errno, pthread_mutex_init,
     (pthread_mutex_t * mutex, const pthread_mutexattr_t *attributes), (mutex, attributes))
WRAP(int, CALL_MUTEX, failing_errno, pthread_cond_init,
     (pthread_cond_t * condition, const pthread_condattr_t *attributes), (condition, attributes))
WRAP(int, CALL_MUTEX, failing_errno, pthread_condattr_init, (pthread_condattr_t * attributes),
     (attributes))
WRAP(int, CALL_MUTEX, failing_errno, pthread_condattr_setclock,
     (pthread_condattr_t * attributes, clockid_t clock), (attributes, clock))

int __real_pthread_sigmask(int how, const sigset_t *set, sigset_t *before);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *before);

/* Reading the mask, or putting one back, can't fail. */
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    if (set && before && call_fails(CALL_MASK))
        return failing_errno;
    return __real_pthread_sigmask(how, set, before);
}

WRAP(int, CALL_MASK, -1, sigprocmask, (int how, const sigset_t *set, sigset_t *before),
     (how, set, before))
WRAP(int, CALL_MASK, -1, sigpending, (sigset_t * set), (set))

/* ------------------------------------------------------------------ small questions */

WRAP(int, CALL_AFFINITY, -1, sched_setaffinity,
     (pid_t thread, size_t bytes, const cpu_set_t *processors), (thread, bytes, processors))
WRAP(int, CALL_AFFINITY, -1, sched_getaffinity, (pid_t thread, size_t bytes, cpu_set_t *processors),
     (thread, bytes, processors))
WRAP(locale_t, CALL_LOCALE, (locale_t)0, newlocale, (int mask, const char *name, locale_t base),
     (mask, name, base))
WRAP(FILE *, CALL_STREAM, NULL, fopen, (const char *path, const char *mode), (path, mode))
WRAP(char *, CALL_STREAM, NULL, fgets, (char *to, int bytes, FILE *stream), (to, bytes, stream))

long __real_sysconf(int name);
long __wrap_sysconf(int name);
ssize_t __real_getrandom(void *to, size_t bytes, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t bytes, unsigned flags);
ssize_t __real_read(int fd, void *to, size_t bytes);
ssize_t __wrap_read(int fd, void *to, size_t bytes);

/* The size of a page is known to the process from its start. */
long __wrap_sysconf(int name)
{
    return name != _SC_PAGESIZE && call_fails(CALL_STREAM) ? -1 : __real_sysconf(name);
}

ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags)
{
    if (without_getrandom) {
        errno = ENOSYS;
        return -1;
    }
    ssize_t bytes = bytes_of_call(CALL_RANDOM, n);
    return bytes < 0 ? -1 : __real_getrandom(to, (size_t)bytes, flags);
}

/* With errno 0 there is nothing more to read. */
ssize_t __wrap_read(int fd, void *to, size_t n)
{
    ssize_t bytes = bytes_of_call(CALL_STREAM, n);
    if (bytes < 0)
        return failing_errno ? -1 : 0;
    return __real_read(fd, to, (size_t)bytes);
}

/* ------------------------------------------------------------------ other libraries */

#define ZSTD_OUT_OF_MEMORY ((size_t)-64)

WRAP(void *, CALL_LIBRARY, NULL, ZSTD_createCCtx, (void), ())
WRAP(void *, CALL_LIBRARY, NULL, ZSTD_createDCtx, (void), ())
WRAP(size_t, CALL_LIBRARY, ZSTD_OUT_OF_MEMORY, ZSTD_compress2,
     (void *context, void *to, size_t room, const void *from, size_t n),
     (context, to, room, from, n))
WRAP(size_t, CALL_LIBRARY, ZSTD_OUT_OF_MEMORY, ZSTD_decompressDCtx,
     (void *context, void *to, size_t room, const void *from, size_t n),
     (context, to, room, from, n))
WRAP(void *, CALL_LIBRARY, NULL, json_tokener_new, (void), ())
WRAP(void *, CALL_LIBRARY, NULL, json_tokener_parse_ex, (void *tokener, const char *text, int n),
     (tokener, text, n))

/* ------------------------------------------------------------------ processes */

WRAP(pid_t, CALL_FORK, -1, fork, (void), ())
WRAP(int, CALL_SHARE, -1, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP(int, CALL_SOCKET, -1, socketpair, (int domain, int type, int protocol, int ends[2]),
     (domain, type, protocol, ends))
WRAP(ssize_t, CALL_SEND, -1, sendmsg, (int end, const struct msghdr *letter, int flags),
     (end, letter, flags))
WRAP(ssize_t, CALL_RECEIVE, -1, recvmsg, (int end, struct msghdr *letter, int flags),
     (end, letter, flags))
WRAP(int, CALL_POLL, -1, poll, (struct pollfd * what, nfds_t n, int timeout_ms),
     (what, n, timeout_ms))
WRAP(pid_t, CALL_CHILD, -1, waitpid, (pid_t pid, int *status, int options), (pid, status, options))
WRAP(int, CALL_CHILD, -1, waitid, (idtype_t which, id_t id, siginfo_t *info, int options),
     (which, id, info, options))
WRAP(int, CALL_WATCH_CHILDREN, -1, signalfd, (int fd, const sigset_t *mask, int flags),
     (fd, mask, flags))
WRAP(int, CALL_MANNERS, -1, setpgid, (pid_t pid, pid_t group), (pid, group))
WRAP(int, CALL_MANNERS, -1, dup2, (int from, int to), (from, to))

int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

int __wrap_prctl(int option, ...)
{
    va_list args;
    va_start(args, option);
    unsigned long value = va_arg(args, unsigned long);
    va_end(args);
    return call_fails(CALL_MANNERS) ? -1 : __real_prctl(option, value);
}

/* A call has six arguments at most; those that were not given mean nothing. */
long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    bool sleeps = number == SYS_futex && a[1] == FUTEX_WAIT; /* waking can't fail */
    if (sleeps ? call_fails(CALL_SLEEP)
               : number == SYS_pidfd_open && call_fails(CALL_WATCH_PROCESS))
        return -1;
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#endif
