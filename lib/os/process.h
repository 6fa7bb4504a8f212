/* Processes and what they share: nameless memory, words to sleep on, message sockets, forking.
 * Called by the process executor on both of its sides; decides nothing about tasks. Elsewhere than
 * on Linux making a segment or a helper is UNSUPPORTED. */
#ifndef FP_OS_PROCESS_H
#define FP_OS_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <facpool/facpool.h>

/* Memory that processes share and nothing names: it is gone with the last of them. */
typedef struct fp_segment {
    void *memory; /* NULL: none */
    size_t bytes;
    int fd;
} fp_segment;

/* Zeroed; pages cost memory once they are touched. Errors: UNSUPPORTED, SYSTEM, NOMEM. */
int fp_segment_create(fp_segment *out, size_t bytes, facpool_error *err);

/* That of another process, by its descriptor, which is taken over on success. Errors: INVALID (not
 * so large), NOMEM. */
int fp_segment_attach(fp_segment *out, int fd, size_t bytes, facpool_error *err);
void fp_segment_close(fp_segment *segment); /* nothing where there is none */

/* Sleeps while *word is `seen`, until woken, or so long (negative: for ever). May wake for no
 * reason. For words in segments. */
void fp_word_wait(atomic_uint *word, uint32_t seen, int64_t timeout_ns);
void fp_word_wake(atomic_uint *word);

/* The same descriptor, close-on-exec and beside those of stdin, stdout and stderr; or another for
 * the same, the first being closed. Where there is none left it stays as it is. */
int fp_descriptor_aside(int fd);

/* Two ends of a socket that keeps messages apart, close-on-exec. Errors: SYSTEM. */
int fp_channel_pair(int ends[2], facpool_error *err);
void fp_channel_close(int end); /* takes -1 */
void fp_channel_shut(int end);  /* ends it also for copies that other processes hold; takes -1 */

/* Sends one message, with a descriptor where `fd` is not -1. Never waits, never raises SIGPIPE.
 * Errors: BUSY (the other end is so far behind that nothing more goes in, or gone, which receiving
 * tells), SYSTEM. */
int fp_channel_send(int end, const void *message, size_t bytes, int fd, facpool_error *err);

/* Takes a message of at most `bytes` bytes: its length; 0 at the end, FP_CHANNEL_EMPTY where
 * `wait` is false and there is none, or an error. *fd (or NULL: such are closed) gets a descriptor
 * that came along, close-on-exec, or -1. */
#define FP_CHANNEL_EMPTY INT32_MAX
int fp_channel_receive(int end, void *message, size_t bytes, int *fd, bool wait,
                       facpool_error *err);

/* Forks: 0 in the child, its id in the parent, or an error (SYSTEM). */
int64_t fp_fork(facpool_error *err);

/* The calling thread's blocked signals: reads them, or sets others and gives what was before. */
typedef struct fp_signal_mask {
    uint64_t bits[16];
} fp_signal_mask;
void fp_signal_mask_read(fp_signal_mask *out);
void fp_signal_mask_swap(const fp_signal_mask *wanted, fp_signal_mask *before);

/* In a fresh child: default action for all signals but SIGINT, which is ignored, none blocked. */
void fp_signals_reset(void);

/* For a process of the host's own: SIGINT is ignored where the host doesn't handle it. */
void fp_ignore_interrupts(void);

/* Reads nothing from the terminal, and isn't reached by its signals. */
void fp_leave_terminal(void);

/* Has this process killed when the one that forked it dies. False where it is dead already. */
bool fp_die_with_parent(int64_t parent);

/* Waits until a message or the end is at `end`, or the process `watched` has ended, which *gone
 * tells; with_children, also until a child has: that is for a process that has nothing but its main
 * thread, and blocks SIGCHLD. Errors: SYSTEM. */
typedef struct fp_watch {
    int end;
    int children; /* a signal descriptor; -1: without */
    int64_t watched;
    int watched_fd; /* -1: the system has no such thing */
} fp_watch;
int fp_watch_open(fp_watch *out, int end, int64_t watched, bool with_children, facpool_error *err);
void fp_watch_wait(fp_watch *watch, bool *gone);
void fp_watch_close(fp_watch *watch);

/* How a child ended. */
typedef struct fp_ending {
    int32_t signal; /* 0: by exiting */
    int32_t exit_status;
} fp_ending;

/* Whether the child has ended; with `wait`, after it has. One that somebody else reaped has. */
bool fp_child_ended(int64_t pid, bool wait, fp_ending *ending);

/* The same without reaping it, waiting at most so long; false where it is no child of this process.
 */
bool fp_child_peek(int64_t pid, int64_t wait_ns, fp_ending *ending);
void fp_child_kill(int64_t pid);

/* The name of a signal ("SIGSEGV"), or NULL. Static text. */
const char *fp_signal_name(int32_t number);

/* Resident memory of this process, or 0 where the system doesn't tell. */
uint64_t fp_resident_bytes(void);

/* Whether there is no such process any more, or just its remains. */
bool fp_process_is_gone(int64_t pid);

void fp_flush_streams(void); /* stdout and stderr */
void fp_drop_streams(void);  /* in a child: what waits in them is the parent's to write */
_Noreturn void fp_leave_process(int status); /* at once: no atexit function runs */

#endif
