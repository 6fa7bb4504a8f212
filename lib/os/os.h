/* The rest of the operating system: memory in large pages, clocks, threads, locks, processors,
 * random bytes. Platform #ifdefs live in this folder and nowhere else. */
#ifndef FP_OS_OS_H
#define FP_OS_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <facpool/facpool.h>

/* Zeroed memory straight from the system, in huge pages where it can. NULL when out of memory. */
void *fp_pages_alloc(size_t bytes);
void fp_pages_free(void *memory, size_t bytes);

int64_t fp_clock_ns(void);      /* monotonic */
int64_t fp_clock_wall_us(void); /* since 1970-01-01 UTC */
void fp_sleep_ns(int64_t ns);

int fp_random(void *out, size_t n, facpool_error *err);
/* For a hash table. Where there are no random bytes, the clock and the stack's place must do. */
uint64_t fp_random_seed(void);
int64_t fp_process_id(void);

/* Processors this process may use: affinity, cgroup quota (rounded up) and OMP_NUM_THREADS
 * together; at least 1. */
uint32_t fp_processors(void);

/* Pins the calling thread to one processor. Errors: INVALID (no such one), SYSTEM. */
int fp_thread_pin(int32_t cpu, facpool_error *err);

/* Saves and restores the calling thread's processors around a pin. */
typedef struct fp_affinity {
    uint64_t mask[16];
    bool saved;
} fp_affinity;
void fp_affinity_save(fp_affinity *a);
void fp_affinity_restore(const fp_affinity *a);

/* A thread of the library: blocks all signals. Errors: SYSTEM. */
typedef struct fp_thread {
    pthread_t id;
    bool started;
} fp_thread;
int fp_thread_start(fp_thread *out, void *(*body)(void *), void *arg, facpool_error *err);
void fp_thread_join(fp_thread *thread); /* nothing where it was not started */

/* Mutex, and condition with a monotonic deadline. Zeroed memory is not a valid one: init first. */
typedef struct fp_lock {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} fp_lock;
int fp_lock_init(fp_lock *lock, facpool_error *err); /* SYSTEM */
void fp_lock_destroy(fp_lock *lock);
void fp_lock_enter(fp_lock *lock);
void fp_lock_leave(fp_lock *lock);
void fp_lock_wait(fp_lock *lock);                            /* may wake for no reason */
bool fp_lock_wait_until(fp_lock *lock, int64_t deadline_ns); /* false: deadline passed */
void fp_lock_wake_all(fp_lock *lock);

/* Whether a stream is a terminal, and how wide (0: unknown). */
bool fp_stream_is_terminal(FILE *stream, int *columns);

#endif
