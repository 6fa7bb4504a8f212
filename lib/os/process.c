/* Processes for Linux: memfd, futex, seqpacket sockets, signalfd and pidfd. */
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#ifdef __linux__
#include <stdio_ext.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#endif
#include "base/error.h"
#include "os/file_size_signal.h"
#include "os/os.h"

#define NOEXEC_SEAL 0x0008u /* MFD_NOEXEC_SEAL */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void fp_flush_streams(void)
{
    /* Not all streams: one that another thread is just reading would be waited for. */
    (void)fflush(stdout);
    (void)fflush(stderr);
}

void fp_drop_streams(void)
{
#ifdef __linux__
    __fpurge(stdout);
    __fpurge(stderr);
#endif
}

int fp_descriptor_aside(int fd)
{
    if (fd < 0)
        return fd;
    if (fd > STDERR_FILENO) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        return fd;
    }
    int aside = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (aside < 0)
        return fd;
    (void)close(fd);
    return aside;
}

_Noreturn void fp_leave_process(int status)
{
    _exit(status);
}

/* ------------------------------------------------------------------ shared memory */

static int map_segment(fp_segment *out, int fd, size_t bytes, facpool_error *err)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return fp_fail_errno(err, FACPOOL_E_NOMEM, errno,
                             "%zu bytes of memory shared with workers can't be mapped", bytes);
    *out = (fp_segment){memory, bytes, fd};
    return 0;
}

#ifdef __linux__
/* The errno, or 0. The limit of file sizes counts here, too. */
static int set_size(int fd, off_t bytes)
{
    fp_file_size_signal held;
    fp_file_size_signal_hold(&held);
    int failure = ftruncate(fd, bytes) ? errno : 0;
    fp_file_size_signal_restore(&held);
    return failure;
}
#endif

int fp_segment_create(fp_segment *out, size_t bytes, facpool_error *err)
{
#ifdef __linux__
    /* Hardened kernels want to be told that nothing in it is run; older ones don't know the word.
     */
    int fd = memfd_create("facpool", MFD_CLOEXEC | NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("facpool", MFD_CLOEXEC);
    fd = fp_descriptor_aside(fd);
    if (fd < 0)
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, errno,
                             "memory to share with workers can't be had");
    int failure = bytes > (size_t)INT64_MAX ? EFBIG : set_size(fd, (off_t)bytes);
    int rc =
        failure
            ? fp_fail_errno(err, FACPOOL_E_NOMEM, failure,
                            "memory to share with workers can't be %zu bytes%s", bytes,
                            failure == EFBIG ? ": raise the limit of file sizes (ulimit -f)" : "")
            : map_segment(out, fd, bytes, err);
    if (rc)
        close_fd(&fd);
    return rc;
#else
    (void)out, (void)bytes;
    return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                   "the process executor works on Linux alone: use omp or serial");
#endif
}

int fp_segment_attach(fp_segment *out, int fd, size_t bytes, facpool_error *err)
{
    struct stat status;
    if (fstat(fd, &status) || status.st_size < 0 || (size_t)status.st_size != bytes)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "what came with the run's greeting is no memory of %zu bytes", bytes);
    return map_segment(out, fd, bytes, err);
}

void fp_segment_close(fp_segment *segment)
{
    if (!segment->memory)
        return;
    (void)munmap(segment->memory, segment->bytes);
    close_fd(&segment->fd);
    segment->memory = NULL;
}

#ifdef __linux__

void fp_word_wait(atomic_uint *word, uint32_t seen, int64_t timeout_ns)
{
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    (void)syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
}

void fp_word_wake(atomic_uint *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#else

void fp_word_wait(atomic_uint *word, uint32_t seen, int64_t timeout_ns)
{
    (void)word, (void)seen, (void)timeout_ns;
}

void fp_word_wake(atomic_uint *word)
{
    (void)word;
}

#endif

/* ------------------------------------------------------------------ messages */

int fp_channel_pair(int ends[2], facpool_error *err)
{
    int pair[2];
#ifdef __linux__
    int type = SOCK_SEQPACKET | SOCK_CLOEXEC;
#else
    int type = SOCK_SEQPACKET;
#endif
    if (socketpair(AF_UNIX, type, 0, pair))
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, errno,
                             "a socket for the worker processes can't be had: raise the limit of "
                             "open files (ulimit -n)");
    ends[0] = fp_descriptor_aside(pair[0]);
    ends[1] = fp_descriptor_aside(pair[1]);
    return 0;
}

void fp_channel_close(int end)
{
    close_fd(&end);
}

void fp_channel_shut(int end)
{
    if (end >= 0)
        (void)shutdown(end, SHUT_RDWR);
}

typedef union descriptor_room {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
} descriptor_room;

int fp_channel_send(int end, const void *message, size_t bytes, int fd, facpool_error *err)
{
    struct iovec part = {(void *)(uintptr_t)message, bytes};
    struct msghdr letter = {.msg_iov = &part, .msg_iovlen = 1};
    descriptor_room room;
    memset(&room, 0, sizeof room);
    if (fd >= 0) {
        letter.msg_control = room.bytes;
        letter.msg_controllen = sizeof room.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&letter);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = sendmsg(end, &letter, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return 0;
    int failure = errno;
    bool is_other_end = failure == EAGAIN || failure == EWOULDBLOCK || failure == EPIPE ||
                        failure == ECONNRESET || failure == ENOTCONN;
    return fp_fail_errno(err, is_other_end ? FACPOOL_E_BUSY : FACPOOL_E_SYSTEM, failure,
                         "a message to the worker processes can't be sent");
}

static int taken_descriptor(struct msghdr *letter)
{
    int fd = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(letter);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

int fp_channel_receive(int end, void *message, size_t bytes, int *fd, bool wait, facpool_error *err)
{
    struct iovec part = {message, bytes};
    descriptor_room room;
    struct msghdr letter = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = room.bytes,
                            .msg_controllen = sizeof room.bytes};
    int flags = wait ? 0 : MSG_DONTWAIT;
#ifdef __linux__
    flags |= MSG_CMSG_CLOEXEC;
#endif
    ssize_t n;
    do /* a reset is told once, before what came ahead of it */
        n = recvmsg(end, &letter, flags);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0 && !wait && (errno == EAGAIN || errno == EWOULDBLOCK))
        return FP_CHANNEL_EMPTY;
    if (n < 0) {
        int code = errno == ENOTSOCK || errno == EBADF ? FACPOOL_E_INVALID : FACPOOL_E_SYSTEM;
        return fp_fail_errno(err, code, errno, "descriptor %d can't be read as a run's socket",
                             end);
    }
    int taken = taken_descriptor(&letter);
    if (fd)
        *fd = taken;
    else
        close_fd(&taken);
    return (int)n;
}

/* ------------------------------------------------------------------ forking */

int64_t fp_fork(facpool_error *err)
{
    pid_t pid = fork();
    if (pid < 0)
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, errno,
                             "a process can't be forked: raise the limit of processes (ulimit -u), "
                             "free memory, or ask for fewer workers");
    return pid;
}

_Static_assert(sizeof(sigset_t) <= sizeof(fp_signal_mask), "a mask of signals has more bits");

void fp_signal_mask_read(fp_signal_mask *out)
{
    sigset_t now;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &now);
    memcpy(out, &now, sizeof now);
}

void fp_signal_mask_swap(const fp_signal_mask *wanted, fp_signal_mask *before)
{
    sigset_t next, now;
    memcpy(&next, wanted, sizeof next);
    (void)pthread_sigmask(SIG_SETMASK, &next, &now);
    memcpy(before, &now, sizeof now);
}

void fp_signals_reset(void)
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction now;
        bool has_handler = !sigaction(number, NULL, &now) && now.sa_handler != SIG_DFL &&
                           now.sa_handler != SIG_IGN;
        struct sigaction wanted = {.sa_handler = SIG_DFL};
        if (has_handler || number == SIGCHLD)
            (void)sigaction(number, &wanted, NULL);
    }
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGINT, &ignored, NULL);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void fp_ignore_interrupts(void)
{
    struct sigaction now, ignored = {.sa_handler = SIG_IGN};
    if (!sigaction(SIGINT, NULL, &now) && now.sa_handler == SIG_DFL)
        (void)sigaction(SIGINT, &ignored, NULL);
}

void fp_leave_terminal(void)
{
    (void)setpgid(0, 0);
    /* Out of the foreground, writing to a terminal would stop it where the user has set that. */
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGTTOU, &ignored, NULL);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0)
        return;
    if (nothing == STDIN_FILENO) {
        (void)fcntl(nothing, F_SETFD, 0);
        return;
    }
    (void)dup2(nothing, STDIN_FILENO);
    close_fd(&nothing);
}

bool fp_die_with_parent(int64_t parent)
{
#ifdef __linux__
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    return getppid() == (pid_t)parent;
}

/* ------------------------------------------------------------------ watching */

#ifdef __linux__

/* A descriptor that can be read when a child has ended. */
static int watch_children(int *out, facpool_error *err)
{
    sigset_t children;
    (void)sigemptyset(&children);
    (void)sigaddset(&children, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &children, NULL))
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, errno, "signals can't be blocked");
    *out = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*out < 0)
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, errno,
                             "a descriptor for the end of workers can't be had");
    return 0;
}

int fp_watch_open(fp_watch *out, int end, int64_t watched, bool with_children, facpool_error *err)
{
    int children = -1, watched_fd = -1;
    int rc = with_children ? watch_children(&children, err) : 0;
    if (rc)
        return rc;
#ifdef SYS_pidfd_open
    watched_fd = (int)syscall(SYS_pidfd_open, (pid_t)watched, 0);
#endif
    *out = (fp_watch){end, children, watched, watched_fd};
    return 0;
}

void fp_watch_close(fp_watch *watch)
{
    close_fd(&watch->children);
    close_fd(&watch->watched_fd);
}

#else

int fp_watch_open(fp_watch *out, int end, int64_t watched, bool with_children, facpool_error *err)
{
    (void)out, (void)end, (void)watched, (void)with_children;
    return fp_fail(err, FACPOOL_E_UNSUPPORTED, "worker processes work on Linux alone");
}

void fp_watch_close(fp_watch *watch)
{
    (void)watch;
}

#endif

/* Without a descriptor for the watched process, look so often whether it is there. */
#define WATCH_MS 500

void fp_watch_wait(fp_watch *watch, bool *gone)
{
    struct pollfd what[3] = {{.fd = watch->end, .events = POLLIN},
                             {.fd = watch->children, .events = POLLIN},
                             {.fd = watch->watched_fd, .events = POLLIN}};
    (void)poll(what, 3, watch->watched_fd < 0 ? WATCH_MS : -1);
    char signals[1024];
    while (watch->children >= 0 && read(watch->children, signals, sizeof signals) > 0)
        ;
    *gone = what[2].revents != 0 ||
            (watch->watched_fd < 0 && kill((pid_t)watch->watched, 0) && errno == ESRCH);
}

/* ------------------------------------------------------------------ children */

bool fp_child_ended(int64_t pid, bool wait, fp_ending *ending)
{
    int status = 0;
    pid_t ended;
    do
        ended = waitpid((pid_t)pid, &status, wait ? 0 : WNOHANG);
    while (ended < 0 && errno == EINTR);
    if (ended == 0)
        return false;
    *ending = (fp_ending){0};
    if (ended > 0 && WIFSIGNALED(status))
        ending->signal = WTERMSIG(status);
    else if (ended > 0)
        ending->exit_status = WEXITSTATUS(status);
    return true;
}

bool fp_process_is_gone(int64_t pid)
{
    fp_ending ending;
    return fp_child_peek(pid, 0, &ending) || (kill((pid_t)pid, 0) && errno == ESRCH);
}

bool fp_child_peek(int64_t pid, int64_t wait_ns, fp_ending *ending)
{
    siginfo_t info = {0};
    int64_t until_ns = wait_ns ? fp_clock_ns() + wait_ns : 0;
    for (;;) {
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT))
            return false;
        if (info.si_pid == (pid_t)pid)
            break;
        if (!wait_ns || fp_clock_ns() >= until_ns)
            return false;
        fp_sleep_ns(1000000);
    }
    *ending = (fp_ending){0};
    if (info.si_code == CLD_EXITED)
        ending->exit_status = info.si_status;
    else
        ending->signal = info.si_status;
    return true;
}

void fp_child_kill(int64_t pid)
{
    if (pid > 0)
        (void)kill((pid_t)pid, SIGKILL);
}

const char *fp_signal_name(int32_t number)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGHUP, "SIGHUP"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},
                 {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},
                 {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"}, {SIGSEGV, "SIGSEGV"},
                 {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
                 {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}, {SIGXCPU, "SIGXCPU"},
                 {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == number)
            return names[i].name;
    return NULL;
}

uint64_t fp_resident_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close_fd(&fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    unsigned long long total = 0, resident = 0;
    long page = sysconf(_SC_PAGESIZE);
    if (sscanf(text, "%llu %llu", &total, &resident) != 2 || page <= 0)
        return 0;
    return resident * (uint64_t)page;
}
