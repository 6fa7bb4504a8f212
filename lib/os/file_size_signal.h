/* Writing past the process's file size limit raises SIGXFSZ, which kills it unless it is blocked.
 * Around a write these two turn it into the error EFBIG, whatever thread writes. */
#ifndef FP_OS_FILE_SIZE_SIGNAL_H
#define FP_OS_FILE_SIZE_SIGNAL_H

#include <signal.h>
#include <stdbool.h>

typedef struct fp_file_size_signal {
    sigset_t mask; /* the thread's own, restored afterwards */
    bool was_pending;
    bool held;
} fp_file_size_signal;

void fp_file_size_signal_hold(fp_file_size_signal *state);
void fp_file_size_signal_restore(const fp_file_size_signal *state);

#endif
