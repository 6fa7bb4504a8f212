/* A worker: the chunk it has in hand, the factors and outcomes of its tasks, and what it counts.
 * One thread computes; the writer's thread may collect finished rows of a chunk that takes long,
 * with the lane entered. */
#ifndef FP_RUN_WORKER_H
#define FP_RUN_WORKER_H

#include <stdalign.h>
#include "run/plan.h"
#include "run/writer.h"
#include "store/memory.h"

#define FP_SLICE_TASKS_MAX 4096
#define FP_SLOW_CHUNKS     10
#define FP_REPORT_FAILURES 20

typedef struct fp_slow_chunk {
    size_t position;
    size_t n;
    int64_t ns;
} fp_slow_chunk;

/* A task marked not ok. */
typedef struct fp_mark {
    size_t slot;
    int32_t code;
    uint32_t message;
} fp_mark;

/* Tasks of a chunk have slots 0 .. n - 1. */
typedef struct fp_worker {
    alignas(64) struct facpool_job *job;
    uint32_t number;
    fp_lane *lane; /* NULL without a backup */
    void *state;   /* worker_init's */

    /* positions claimed for chunks to come; guarded by nothing, its owner's alone */
    size_t reserve_first;
    size_t reserve_end;

    /* the chunk in hand */
    bool busy;
    size_t first; /* positions first .. end - 1 */
    size_t end;
    size_t n;          /* slots: tasks that are called */
    bool whole;        /* slot s is position first + s */
    bool has_done;     /* some slots were done before: called for their group's sake, not stored */
    size_t *positions; /* of the slots, where not whole */
    size_t capacity;   /* of all arrays a slot */
    bool is_borrowed;  /* factors are not its own to grow or free: they are shared memory */
    double *factors;
    uint8_t *statuses;
    fp_mark *marks; /* guarded by the lane's lock where there is a lane */
    size_t n_marks;
    size_t mark_hint;
    size_t marks_capacity;
    fp_texts messages;
    atomic_size_t *finished; /* slots done; release, pairs with the acquire in collect */
    atomic_size_t own_finished;
    size_t collected; /* slots taken over; guarded as marks are */
    uint32_t attempt;
    uint32_t first_attempt; /* of the first slot: more than 1 where earlier ones killed a process */
    char pending_message[FP_MESSAGE_MAX_BYTES + 1]; /* of the task being called */
    size_t pending_length;
    bool out_of_memory; /* a mark of the slice could not be kept */

    /* in a worker process; else NULL */
    const uint64_t *desk_indexes;    /* task index of each position */
    _Atomic uint32_t *attempt_shown; /* where the run sees which attempt is in hand */
    int (*publish)(struct fp_worker *worker, size_t first_slot, size_t n); /* hands marks over,
                                                                              before `finished` */
    void *publisher;

    /* slices, made for batch functions and job clients */
    int64_t *dates;
    const char **codes;
    size_t *indexes;
    uint32_t *code_numbers;
    size_t slice_capacity;
    size_t slice_first; /* slot of the slice's first task */

    /* counts; written by whoever collects, read by progress */
    _Atomic uint64_t done[6]; /* tasks by status */

    /* the chunk's last failure, for messages */
    size_t n_failed_in_chunk;
    size_t failed_position;
    int32_t failed_code;
    char failed_message[256];

    /* results */
    fp_stamp *stamps;
    size_t n_stamps;
    size_t stamps_capacity;
    fp_failed *failed;
    size_t n_failed;
    size_t failed_capacity;
    fp_texts failed_messages;
    bool failed_trimmed; /* failures behind failed_last were dropped */
    size_t failed_last;  /* task index */

    /* how it went */
    size_t chunk_size;   /* tasks to take next */
    size_t reserve_size; /* and to claim at once */
    int64_t began_ns;
    int64_t compute_ns;
    int64_t wait_ns;
    fp_slow_chunk slow[FP_SLOW_CHUNKS]; /* longest first */
} fp_worker;

void fp_worker_init(fp_worker *worker, struct facpool_job *job, uint32_t number);
void fp_worker_free(fp_worker *worker);

/* Takes positions first .. end - 1 in hand: those not done, or with `all` every one. Factors are
 * filled with NaN. Errors: NOMEM. */
int fp_worker_begin(fp_worker *worker, size_t first, size_t end, bool all, facpool_error *err);

/* Fills dates, codes and indexes for slots first_slot .. first_slot + n - 1. Errors: NOMEM. */
int fp_worker_fill_slice(fp_worker *worker, size_t first_slot, size_t n, facpool_slice *slice,
                         facpool_error *err);

static inline size_t fp_worker_position(const fp_worker *w, size_t slot)
{
    return w->whole ? w->first + slot : w->positions[slot];
}

/* Marks a slot failed or skipped, replacing an earlier mark. Errors: NOMEM. */
int fp_worker_mark(fp_worker *worker, size_t slot, uint8_t status, int32_t code,
                   const char *message, size_t length);

/* Takes a mark back before another attempt. */
void fp_worker_unmark(fp_worker *worker, size_t slot);

/* Moves slots that are finished and not yet collected to the results, the lane and the counts. With
 * the lane entered where there is one. Errors: NOMEM. */
int fp_worker_collect(fp_worker *worker, facpool_error *err);

/* Notes how long the chunk of n tasks took, and how many to take next. */
void fp_worker_note_time(fp_worker *worker, size_t n, int64_t now_ns);

#endif
