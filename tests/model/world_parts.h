/* What the three parts of the world share: world_system.c stands in for lib/os, world_job.c for the
 * job, its workers' tools and the user's function, and world.c has the rules, and makes it all. */
#ifndef FP_MODEL_WORLD_PARTS_H
#define FP_MODEL_WORLD_PARTS_H

#include "world.h"

#include "run/claim.h"
#include "run/process_run.h"

#define SEATS_MAX 2
#define DESKS_MAX (SEATS_MAX * FP_DESKS_A_SEAT)
#define FACTORS   2
#define LETTERS   8

enum { RUN, HELPER, FIRST_WORKER, CANCELLER = FIRST_WORKER + SEATS_MAX };
enum { RUN_END = 10, HELPER_END, MEMORY_FD };

typedef struct short_letter {
    uint32_t kind;
    uint32_t seat;
    uint32_t n_endings;
    int32_t code;
} short_letter;

typedef struct letters {
    short_letter of[LETTERS];
    size_t n;
} letters;

/* What a worker's process has for itself. */
typedef struct worker_memory {
    _Alignas(64) uint8_t of_worker[4224];
    fp_mark marks[WORLD_TASKS_MAX];
    uint32_t offsets[WORLD_TASKS_MAX + 1];
    char text[64];
    int64_t dates[WORLD_TASKS_MAX];
    const char *codes[WORLD_TASKS_MAX];
    size_t indexes[WORLD_TASKS_MAX];
    uint32_t code_numbers[WORLD_TASKS_MAX];
} worker_memory;

/* All that changes and is no memory of the library's. */
typedef struct world_state {
    letters to_helper;
    letters to_run;
    unsigned deaths_left;
    unsigned wakings_left;
    bool run_is_over;
    bool is_doomed[SEATS_MAX]; /* was sent a SIGKILL */
    bool is_child[SEATS_MAX];  /* of the helper, not reaped */
    bool left_well[SEATS_MAX];
    int at_desk[SEATS_MAX]; /* -1: at none */
    uint32_t start_for;     /* the seat of the letter that the helper obeys */
    unsigned n_deaths;
    uint64_t unclaimed;                 /* a bit a task */
    uint8_t called[WORLD_TASKS_MAX][4]; /* by attempt */
    uint8_t collected[WORLD_TASKS_MAX];
    uint8_t status[WORLD_TASKS_MAX];
    bool is_finished[WORLD_TASKS_MAX]; /* and was shown as such by its worker */
    uint8_t clock;
} world_state;

extern scenario now;
extern world_state state;
extern facpool_job job;
extern int64_t task_dates[WORLD_TASKS_MAX];
extern char code_bytes[];
extern worker_memory memories[SEATS_MAX];
extern facpool_serve_options serving;

/* Of the worker that acts; -1: another actor, or none. */
int seat_of_self(void);

/* Frees all that was allocated, before the next scenario. */
void forget_memory(void);

/* The user's functions. */
int call_task(const facpool_task *task, double *factors, void *user);
int call_slice(const facpool_slice *slice, double *factors, void *user);

#endif
