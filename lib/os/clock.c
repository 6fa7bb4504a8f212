/* Time, random bytes, the process's number and what is known of a terminal: small questions to the
 * system, asked from every floor above. */
#include "os/os.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/random.h>
#endif

#define NS_PER_SECOND 1000000000

static int64_t read_clock_ns(clockid_t clock)
{
    struct timespec now = {0};
    /* Fails for an unknown clock only, and both are required by POSIX. */
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

int64_t fp_clock_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

int64_t fp_clock_wall_us(void)
{
    return read_clock_ns(CLOCK_REALTIME) / 1000;
}

void fp_sleep_ns(int64_t ns)
{
    if (ns <= 0)
        return;
    struct timespec left = {.tv_sec = (time_t)(ns / NS_PER_SECOND),
                            .tv_nsec = (long)(ns % NS_PER_SECOND)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static int random_from_device(unsigned char *out, size_t n, facpool_error *err)
{
    int fd = -1;
    do {
        fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    int failure = fd < 0 ? errno : 0;
    for (size_t done = 0; done < n && !failure;) {
        ssize_t result = read(fd, out + done, n - done);
        if (result > 0)
            done += (size_t)result;
        else if (result == 0)
            failure = EIO;
        else if (errno != EINTR)
            failure = errno;
    }
    if (fd >= 0)
        (void)close(fd);
    if (failure)
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, failure,
                             "%zu random bytes can't be had, see to /dev/urandom", n);
    return 0;
}

int fp_random(void *out, size_t n, facpool_error *err)
{
    size_t done = 0;
#ifdef __linux__
    while (done < n) {
        ssize_t result = getrandom((unsigned char *)out + done, n - done, 0);
        if (result > 0)
            done += (size_t)result;
        else if (errno != EINTR)
            break; /* a kernel or sandbox without the call has the device */
    }
#endif
    return done == n ? 0 : random_from_device((unsigned char *)out + done, n - done, err);
}

uint64_t fp_random_seed(void)
{
    uint64_t seed;
    if (fp_random(&seed, sizeof seed, NULL))
        seed = (uint64_t)fp_clock_ns() ^ (uint64_t)(uintptr_t)&seed << 16;
    return seed;
}

int64_t fp_process_id(void)
{
    return getpid();
}

bool fp_stream_is_terminal(FILE *stream, int *columns)
{
    *columns = 0;
    int fd = fileno(stream);
    if (fd < 0 || !isatty(fd))
        return false;
    struct winsize window = {0};
    if (ioctl(fd, TIOCGWINSZ, &window) == 0)
        *columns = window.ws_col;
    return true;
}
