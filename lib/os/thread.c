/* Threads and locks. Called by the run floor and by whoever shares state between runs. A thread of
 * the library never takes a signal of the host. */
#include "os/os.h"

#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define NS_PER_SECOND 1000000000

int fp_thread_start(fp_thread *out, void *(*body)(void *), void *arg, facpool_error *err)
{
    /* The new thread inherits the mask, so there is no moment at which it could take a signal. */
    sigset_t all, before;
    (void)sigfillset(&all);
    int failure = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (failure)
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, failure, "signals can't be blocked");
    pthread_t id;
    failure = pthread_create(&id, NULL, body, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure)
        return fp_fail_errno(
            err, FACPOOL_E_SYSTEM, failure,
            "a thread can't be started: raise the limit of threads (ulimit -u), or "
            "ask for fewer workers");
    *out = (fp_thread){id, true};
    return 0;
}

void fp_thread_join(fp_thread *thread)
{
    if (!thread->started)
        return;
    int failure = pthread_join(thread->id, NULL);
    assert(!failure);
    (void)failure;
    thread->started = false;
}

static int init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int failure = pthread_condattr_init(&attributes);
    if (failure)
        return failure;
    /* So that setting the system's clock neither cuts a wait short nor stretches it. */
    failure = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (!failure)
        failure = pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return failure;
}

int fp_lock_init(fp_lock *lock, facpool_error *err)
{
    int failure = pthread_mutex_init(&lock->mutex, NULL);
    if (failure)
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, failure, "a lock can't be made");
    failure = init_condition(&lock->changed);
    if (failure) {
        (void)pthread_mutex_destroy(&lock->mutex);
        return fp_fail_errno(err, FACPOOL_E_SYSTEM, failure, "a lock can't be made");
    }
    return 0;
}

/* The calls below fail only where a lock is misused: not initialised, left by one who did not
 * enter, destroyed while held. */
static void expect_success(int failure)
{
    assert(!failure);
    (void)failure;
}

void fp_lock_destroy(fp_lock *lock)
{
    expect_success(pthread_cond_destroy(&lock->changed));
    expect_success(pthread_mutex_destroy(&lock->mutex));
}

void fp_lock_enter(fp_lock *lock)
{
    expect_success(pthread_mutex_lock(&lock->mutex));
}

void fp_lock_leave(fp_lock *lock)
{
    expect_success(pthread_mutex_unlock(&lock->mutex));
}

void fp_lock_wait(fp_lock *lock)
{
    expect_success(pthread_cond_wait(&lock->changed, &lock->mutex));
}

bool fp_lock_wait_until(fp_lock *lock, int64_t deadline_ns)
{
    int64_t at = deadline_ns > 0 ? deadline_ns : 0;
    struct timespec deadline = {.tv_sec = (time_t)(at / NS_PER_SECOND),
                                .tv_nsec = (long)(at % NS_PER_SECOND)};
    int result = pthread_cond_timedwait(&lock->changed, &lock->mutex, &deadline);
    if (result == ETIMEDOUT)
        return false;
    expect_success(result);
    return true;
}

void fp_lock_wake_all(fp_lock *lock)
{
    expect_success(pthread_cond_broadcast(&lock->changed));
}
