/* What a process run and its workers share: a board of words, a seat for each worker, and two desks
 * a seat, so that one is filled while the worker is at the other. The run puts tasks on a desk;
 * the worker takes chunks of them by one atomic addition and writes rows in place; the run collects
 * what is finished and may at any time take back what was not begun.
 *
 * Used by both sides (exec_process.c, process_helper.c, process_worker.c). The run checks all that
 * workers wrote before it uses it: a worker that went astray may have written anything. */
#ifndef FP_RUN_PROCESS_DESK_H
#define FP_RUN_PROCESS_DESK_H

#include <stdalign.h>
#include "base/text.h"
#include "os/process.h"
#include "run/job.h"

#define FP_DESKS_A_SEAT 2

/* Messages of failures wait on the desk. One that is full sends the desk back early. */
#define FP_DESK_TEXT_BYTES (4u << 20)

/* A desk goes round: the run lays tasks down (READY), the worker works at them (BUSY) and lets go
 * (DONE), the run collects. */
typedef enum fp_desk_state {
    FP_DESK_EMPTY,
    FP_DESK_READY,
    FP_DESK_BUSY,
    FP_DESK_DONE
} fp_desk_state;

/* A task that is not ok. */
typedef struct fp_desk_mark {
    uint32_t slot;
    int32_t status;
    int32_t code;
    uint32_t text; /* offset */
    uint32_t length;
} fp_desk_mark;

typedef struct fp_desk {
    alignas(64) atomic_uint state;
    uint32_t sequence;   /* desks are worked at in this order */
    uint32_t single_end; /* slots below are called one by one: a slice of them killed a worker */
    uint32_t attempt;    /* of the first slot to be called; others begin with 1 */

    /* begun in the lower half, limit in the upper one: slots below begun are a worker's, slots up
     * to the limit can be begun. begun may have run past the limit. */
    alignas(64) _Atomic uint64_t claim;

    /* finished slots: the first of the chunk in hand (with FP_CHUNK_IS_FRESH: nothing of it), and
     * how many of it. A chunk begins where the one before ended */
    alignas(64) atomic_size_t chunk_first;
    atomic_size_t chunk_finished;
    _Atomic uint32_t attempt_shown; /* of the call in hand */
    _Atomic uint32_t n_marks;       /* release, pairs with the run's acquire */
    uint32_t text_bytes;
    _Atomic int64_t compute_ns;
} fp_desk;

typedef struct fp_seat {
    alignas(64) atomic_uint bell; /* rung when a desk is ready, or the run is over */
    atomic_uint is_asleep;
    facpool_cancel stop; /* end after the task in hand */
    int32_t cpu;         /* to run on, or -1 */

    /* written by the helper */
    alignas(64) _Atomic int64_t pid;
    atomic_uint n_endings; /* release, pairs with the run's acquire */
    fp_ending ending;

    /* written by the worker */
    atomic_uint has_entered; /* worker_init is over */
    atomic_uint is_leaving;  /* it ends because it was told to, or to be replaced */
    int32_t init_code;
} fp_seat;

typedef struct fp_board {
    uint64_t bytes; /* of the segment */
    uint32_t n_seats;
    uint32_t n_codes;
    uint64_t n_factors;
    uint64_t capacity; /* slots of a desk */
    uint64_t code_bytes;
    int32_t group_by;
    int32_t is_batch;
    int32_t one_worker_each;
    int32_t on_error;
    uint32_t attempts;
    uint32_t tasks_per_worker;
    uint64_t memory_limit_bytes;

    alignas(64) atomic_uint bell; /* rung for the run */
    atomic_uint is_asleep;
    atomic_uint is_over;
} fp_board;

/* The places of a segment; pointers of this process. */
typedef struct fp_layout {
    fp_board *board;
    fp_seat *seats;
    uint32_t *code_offsets; /* n_codes + 1, laid out as fp_texts is */
    char *code_bytes;
    uint8_t *desks;
    size_t desk_bytes;
} fp_layout;

/* One desk's arrays. */
typedef struct fp_desk_view {
    fp_desk *desk;
    int64_t *dates;
    uint64_t *indexes;
    uint32_t *code_ids;
    uint8_t *statuses;
    double *factors;
    fp_desk_mark *marks;
    char *text;
} fp_desk_view;

/* How large a segment must be for the board's numbers; 0: too large for any. */
size_t fp_layout_bytes(const fp_board *board);

/* Finds the places in memory that begins with a board, of fp_layout_bytes of it. */
void fp_layout_init(fp_layout *out, void *memory);

/* Desk `i` of all. */
void fp_desk_view_init(fp_desk_view *out, const fp_layout *layout, size_t i);

static inline uint64_t fp_claim_word(uint32_t begun, uint32_t limit)
{
    return (uint64_t)limit << 32 | begun;
}

static inline uint32_t fp_claim_limit(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

/* Slots that were begun: never more than the limit. */
static inline uint32_t fp_claim_begun(uint64_t word)
{
    uint32_t begun = (uint32_t)word, limit = fp_claim_limit(word);
    return begun < limit ? begun : limit;
}

/* In chunk_first while a chunk is taken in hand: chunk_finished is still that of the one before. */
#define FP_CHUNK_IS_FRESH (~(SIZE_MAX >> 1))

/* Slots that are finished: of a batch chunk all or none. Pairs with the release stores of the
 * worker: rows and marks are seen. Never less than once was shown, wherever the worker dies. */
static inline size_t fp_desk_finished(const fp_desk *desk)
{
    size_t first = atomic_load_explicit(&desk->chunk_first, memory_order_acquire);
    size_t finished = atomic_load_explicit(&desk->chunk_finished, memory_order_acquire);
    size_t now = atomic_load_explicit(&desk->chunk_first, memory_order_acquire);
    /* Where another chunk began in between, what lies before it is whole. */
    if (now != first || now & FP_CHUNK_IS_FRESH)
        return now & ~FP_CHUNK_IS_FRESH;
    return first + finished;
}

/* Rings: wakes who sleeps by these two words. */
void fp_bell_ring(atomic_uint *bell, const atomic_uint *is_asleep);

/* Messages between the run and its helper. */
#define FP_HELPER_MAGIC 0x66616370u /* "facp" */

typedef enum fp_letter_kind {
    FP_LETTER_HELLO = 1, /* run: with the segment's descriptor; to a worker, with its seat */
    FP_LETTER_SERVING,   /* helper: ready to start workers; worker: at work */
    FP_LETTER_REFUSED,   /* helper: `text` says why */
    FP_LETTER_START,     /* run: seat `seat` needs a worker */
    FP_LETTER_KILL,      /* run: kill that seat's worker, if it has had `n_endings` before */
    FP_LETTER_FAILED     /* helper: a worker could not be started: `text` */
} fp_letter_kind;

typedef struct fp_letter {
    uint32_t magic;
    uint32_t version; /* FACPOOL_VERSION as a number */
    uint32_t kind;
    uint32_t seat;
    uint32_t n_endings;
    int32_t code;
    uint64_t bytes; /* of the segment */
    int64_t pid;    /* of the sender */
    char text[1024];
} fp_letter;

uint32_t fp_helper_version(void);

/* The helper's life: serves the run at the other end of `end` until it is over. `options` has the
 * functions and hooks. */
int fp_helper_serve(int end, const facpool_serve_options *options, facpool_error *err);

/* A worker's life, in its own process: returns when the run is over, or it is to be replaced. */
void fp_process_worker(const fp_layout *layout, uint32_t seat,
                       const facpool_serve_options *options);

/* The run's side, opened before the backup is and closed when the job is freed. Errors: SYSTEM,
 * UNSUPPORTED, WORKER, NOMEM. */
typedef struct fp_pool fp_pool;
int fp_pool_open(facpool_job *job, facpool_error *err);
void fp_pool_close(facpool_job *job); /* nothing where there is none */

/* Wakes the executor: something was asked of it. From any thread. */
void fp_pool_ring(const facpool_job *job);

/* Works the job off. Errors stop the job, which keeps them. */
void fp_exec_process(facpool_job *job);

#endif
