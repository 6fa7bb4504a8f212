/* The run's side of its worker processes: the shared memory, the helper, and what it knows of each
 * seat. process_pool.c opens, closes and talks; exec_process.c works a job off with it. */
#ifndef FP_RUN_PROCESS_POOL_H
#define FP_RUN_PROCESS_POOL_H

#include "run/process_desk.h"

/* Why the run had a worker killed. */
typedef enum fp_kill_reason { FP_KILL_NONE, FP_KILL_TIMEOUT, FP_KILL_ASKED } fp_kill_reason;

/* The call that a worker is in, to see how long it takes. */
typedef struct fp_call_seen {
    bool is_set;
    size_t desk;
    size_t slot;
    uint32_t attempt;
    int64_t since_ns;
} fp_call_seen;

typedef struct fp_seat_state {
    bool is_taken; /* a worker was asked for and has not ended */
    int end;       /* one_worker_each: of the socket to it; else -1 */
    int64_t pid;   /* and its process, once it has said so */
    bool has_ended;
    bool knows_ending;
    uint32_t n_endings;
    uint32_t failed_starts; /* in a row */
    fp_kill_reason reason;
    fp_call_seen call;
} fp_seat_state;

typedef struct fp_desk_seen {
    bool is_laid;        /* its proxy has tasks in hand */
    bool is_broken;      /* a mark could not be kept: nothing more is taken over */
    size_t n_taken;      /* finished slots taken over */
    uint32_t marks_read; /* of the desk's marks */
    uint32_t sequence;   /* these two as in the desk */
    uint32_t single_end;
    uint32_t again_end; /* slots below are called again, by this desk's worker */
} fp_desk_seen;

struct fp_pool {
    fp_segment segment;
    fp_layout layout;
    fp_desk_view *views; /* a desk each */
    fp_desk_seen *desks;
    fp_seat_state *seats;
    uint32_t n_seats;
    size_t n_desks;
    uint32_t sequence;
    fp_signal_mask signals; /* of the thread that started the run */
    int end;                /* of the socket to the helper; -1: closed */
    int64_t helper_pid;     /* 0: started by the host */
    int64_t served_by;      /* the helper's process; 0: not known yet */
    size_t
        capacity; /* of a desk; this and the next as the board has them, for this process alone */
    bool one_worker_each;
    bool is_serving; /* the helper has said so */
    bool is_helper_gone;
    bool cannot_start; /* a worker: those that are there go on to the end of what is in hand */
};

/* Has a seat's worker started or killed. A helper that is gone is noticed by receive. Errors of
 * starting: WORKER, SYSTEM. */
int fp_pool_start_worker(fp_pool *pool, const facpool_job *job, uint32_t seat, facpool_error *err);
void fp_pool_kill_worker(fp_pool *pool, uint32_t seat, fp_kill_reason reason);

/* Whether the seat's worker has ended; true once for each. */
bool fp_pool_has_ended(fp_pool *pool, uint32_t seat);

/* Leaves helper and workers to themselves: nothing more comes from them. */
void fp_pool_abandon(fp_pool *pool);

/* Reads what helper or workers say. Returns 0, or the error that ends the run. */
int fp_pool_receive(fp_pool *pool, facpool_error *err);

#endif
