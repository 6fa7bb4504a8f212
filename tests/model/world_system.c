/* The operating system of the model's world, in place of lib/os: memory, sleeping, messages between
 * the run and its helper, and processes. What it cannot be asked for here it aborts on. */
#include "world_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/abi.h"
#include "base/alloc.h"

#define KEPT_MAX 64

enum { RUN_PID = 40, HELPER_PID, FIRST_PID };

static void *kept[KEPT_MAX]; /* to be freed before the next scenario */
static size_t n_kept;
static void *segment;
static size_t segment_bytes;

/* ------------------------------------------------------------------ memory */

void *fp_alloc(const facpool_allocator *a, size_t bytes)
{
    return fp_alloc_zero(a, 1, bytes);
}

/* A worker takes its memory once. Arrays with room for more slots than are used are kept as far as
 * these go. */
void *fp_alloc_zero(const facpool_allocator *a, size_t n, size_t each)
{
    (void)a;
    size_t bytes = n * each;
    int seat = seat_of_self();
    if (seat >= 0) {
        if (bytes > sizeof memories[seat].of_worker)
            abort();
        memset(&memories[seat], 0, sizeof memories[seat]);
        return memories[seat].of_worker;
    }
    void *memory = calloc(n, each);
    if (!memory || n_kept == KEPT_MAX)
        abort();
    kept[n_kept++] = memory;
    explorer_keep(memory, n > 64 * WORLD_TASKS_MAX ? each * WORLD_TASKS_MAX : bytes);
    return memory;
}

void *fp_realloc(const facpool_allocator *a, void *memory, size_t bytes)
{
    (void)a, (void)memory, (void)bytes;
    abort(); /* nothing grows here */
}

void fp_free(const facpool_allocator *a, void *memory)
{
    (void)a, (void)memory;
}

int fp_grow(const facpool_allocator *a, void **memory, size_t *capacity, size_t needed, size_t each)
{
    (void)a, (void)memory, (void)each;
    if (needed > *capacity)
        abort();
    return 0;
}

int fp_segment_create(fp_segment *out, size_t bytes, facpool_error *err)
{
    (void)err;
    segment_bytes = bytes;
    segment = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (segment == MAP_FAILED)
        abort();
    *out = (fp_segment){segment, bytes, MEMORY_FD};
    return 0;
}

int fp_segment_attach(fp_segment *out, int fd, size_t bytes, facpool_error *err)
{
    (void)err;
    *out = (fp_segment){segment, bytes, fd};
    return 0;
}

void fp_segment_close(fp_segment *out)
{
    (void)out;
}

void forget_memory(void)
{
    while (n_kept)
        free(kept[--n_kept]);
    if (segment)
        (void)munmap(segment, segment_bytes);
    segment = NULL;
}

/* ------------------------------------------------------------------ sleeping */

void fp_word_wait(atomic_uint *word, uint32_t seen, int64_t timeout_ns)
{
    (void)timeout_ns; /* sleep ends by time only where the scenario says so: see WAKING */
    explorer_before(word, STEP_SLEEP);
    if (*word == seen)
        explorer_sleep(word);
}

void fp_word_wake(atomic_uint *word)
{
    explorer_before(word, STEP_WAKE);
    explorer_wake(word);
}

int64_t fp_clock_ns(void)
{
    return (int64_t)state.clock * 1000000000;
}

/* ------------------------------------------------------------------ messages */

int fp_channel_pair(int ends[2], facpool_error *err)
{
    (void)err;
    ends[0] = RUN_END;
    ends[1] = HELPER_END;
    return 0;
}

void fp_channel_close(int end)
{
    (void)end;
}

void fp_channel_shut(int end)
{
    (void)end;
}

int fp_descriptor_aside(int fd)
{
    return fd;
}

int fp_channel_send(int end, const void *message, size_t bytes, int fd, facpool_error *err)
{
    (void)bytes, (void)fd, (void)err;
    const fp_letter *letter = message;
    letters *queue = end == RUN_END ? &state.to_helper : &state.to_run;
    if (queue->n == LETTERS)
        abort();
    queue->of[queue->n++] =
        (short_letter){letter->kind, letter->seat, letter->n_endings, letter->code};
    return 0;
}

int fp_channel_receive(int end, void *message, size_t bytes, int *fd, bool wait, facpool_error *err)
{
    (void)wait, (void)err;
    letters *queue = end == RUN_END ? &state.to_run : &state.to_helper;
    if (fd)
        *fd = -1;
    if (!queue->n)
        return FP_CHANNEL_EMPTY;
    short_letter first = queue->of[0];
    memmove(queue->of, queue->of + 1, --queue->n * sizeof first);
    queue->of[queue->n] = (short_letter){0};
    fp_letter *letter = message;
    *letter = (fp_letter){.magic = FP_HELPER_MAGIC,
                          .version = fp_helper_version(),
                          .kind = first.kind,
                          .seat = first.seat,
                          .n_endings = first.n_endings,
                          .code = first.code,
                          .bytes = segment_bytes,
                          .pid = end == RUN_END ? HELPER_PID : RUN_PID};
    if (fd && first.kind == FP_LETTER_HELLO)
        *fd = MEMORY_FD;
    if (first.kind == FP_LETTER_START)
        state.start_for = first.seat;
    return (int)bytes;
}

/* ------------------------------------------------------------------ processes */

static void live_as_worker(int actor)
{
    uint32_t seat = (uint32_t)(actor - FIRST_WORKER);
    fp_layout layout;
    fp_layout_init(&layout, segment);
    fp_process_worker(&layout, seat, &serving);
    state.left_well[seat] = true;
    explorer_end();
}

/* Of the run: the helper, which is there already. Of the helper: a worker. */
int64_t fp_fork(facpool_error *err)
{
    (void)err;
    if (explorer_self() != HELPER)
        return HELPER_PID;
    uint32_t seat = state.start_for;
    if (explorer_is_alive(FIRST_WORKER + (int)seat))
        explorer_blame("seat %u has two workers", seat);
    state.is_child[seat] = true;
    state.is_doomed[seat] = false;
    state.left_well[seat] = false;
    explorer_start(FIRST_WORKER + (int)seat, live_as_worker);
    return FIRST_PID + seat;
}

_Noreturn void fp_leave_process(int status)
{
    (void)status;
    explorer_blame("a worker gave up for lack of memory");
    explorer_end();
}

bool fp_child_ended(int64_t pid, bool wait, fp_ending *ending)
{
    (void)wait;
    uint32_t seat = (uint32_t)(pid - FIRST_PID);
    if (pid == HELPER_PID || explorer_is_alive(FIRST_WORKER + (int)seat))
        return pid == HELPER_PID;
    state.is_child[seat] = false;
    *ending = state.left_well[seat] ? (fp_ending){0} : (fp_ending){.signal = 9};
    return true;
}

bool fp_child_peek(int64_t pid, int64_t wait_ns, fp_ending *ending)
{
    (void)pid, (void)wait_ns, (void)ending;
    return false;
}

void fp_child_kill(int64_t pid)
{
    if (pid >= FIRST_PID && explorer_is_alive(FIRST_WORKER + (int)(pid - FIRST_PID)))
        state.is_doomed[pid - FIRST_PID] = true;
}

int fp_watch_open(fp_watch *out, int end, int64_t watched, bool with_children, facpool_error *err)
{
    (void)with_children, (void)err;
    *out = (fp_watch){end, -1, watched, -1};
    return 0;
}

void fp_watch_wait(fp_watch *watch, bool *gone)
{
    (void)watch;
    explorer_wait();
    *gone = false;
}

void fp_watch_close(fp_watch *watch)
{
    (void)watch;
}

int64_t fp_process_id(void)
{
    return explorer_self() == HELPER ? HELPER_PID : RUN_PID;
}

bool fp_process_is_gone(int64_t pid)
{
    (void)pid;
    return false;
}

bool fp_die_with_parent(int64_t parent)
{
    (void)parent;
    return true;
}

uint64_t fp_resident_bytes(void)
{
    return 0;
}

const char *fp_signal_name(int32_t number)
{
    (void)number;
    return NULL;
}

int fp_thread_start(fp_thread *out, void *(*body)(void *), void *arg, facpool_error *err)
{
    (void)out, (void)body, (void)arg, (void)err;
    abort(); /* of workers that the host starts */
}

void fp_thread_join(fp_thread *thread)
{
    (void)thread;
}

int fp_thread_pin(int32_t cpu, facpool_error *err)
{
    (void)cpu, (void)err;
    return 0;
}

int fp_abi_import(void *own, size_t own_size, const void *theirs, const char *what,
                  facpool_error *err)
{
    (void)own, (void)own_size, (void)theirs, (void)what, (void)err;
    abort(); /* of facpool_serve */
}

void fp_signal_mask_read(fp_signal_mask *out)
{
    memset(out, 0, sizeof *out);
}

void fp_signal_mask_swap(const fp_signal_mask *wanted, fp_signal_mask *before)
{
    (void)wanted, (void)before;
}

void fp_signals_reset(void)
{
}
void fp_ignore_interrupts(void)
{
}
void fp_leave_terminal(void)
{
}
void fp_flush_streams(void)
{
}
void fp_drop_streams(void)
{
}
