/* Keeps SIGXFSZ from a writing thread of the host. The disposition of the signal is the process's
 * and stays as it is: only this thread's mask changes, and is put back. */
#include "os/file_size_signal.h"

#include <pthread.h>

static bool is_pending(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 1;
}

void fp_file_size_signal_hold(fp_file_size_signal *state)
{
    sigset_t file_size;
    state->was_pending = is_pending();
    state->held = sigemptyset(&file_size) == 0 && sigaddset(&file_size, SIGXFSZ) == 0 &&
                  pthread_sigmask(SIG_BLOCK, &file_size, &state->mask) == 0;
}

void fp_file_size_signal_restore(const fp_file_size_signal *state)
{
    if (!state->held)
        return;
    /* A signal that our write raised is taken here, or it would be delivered by the unblocking. One
     * that waited before is the host's. */
    sigset_t file_size;
    if (!state->was_pending && is_pending() && sigemptyset(&file_size) == 0 &&
        sigaddset(&file_size, SIGXFSZ) == 0) {
        int taken = 0;
        (void)sigwait(&file_size, &taken);
    }
    (void)pthread_sigmask(SIG_SETMASK, &state->mask, NULL);
}
