/* Explores every order in which a few actors can take their steps. Actors are plain functions on
 * stacks of their own; all that they share, and all else that they change, lies in memory that the
 * explorer was told of, so that it can go back to any moment and try another order from there.
 * Moments that are the same in every byte are explored once. It knows nothing of what is checked:
 * the world (world.h) makes the actors and judges what they do. */
#ifndef FP_EXPLORER_H
#define FP_EXPLORER_H

#include <stddef.h>
#include <stdint.h>
#include "scheduled_atomics.h"

#define EXPLORER_ACTORS 6

typedef struct explorer_counts {
    uint64_t moments;     /* different ones */
    uint64_t steps;       /* taken between them */
    uint64_t ends;        /* moments after which nobody has anything to do */
    double interleavings; /* different ways from the beginning to an end */
    size_t longest;       /* of these, in steps */
} explorer_counts;

/* Forgets all actors and memory. */
void explorer_reset(void);

/* Memory whose bytes are part of a moment. Told before exploring. */
void explorer_keep(void *memory, size_t bytes);

/* The same, and its words are shared: operations on them are steps. */
void explorer_share(void *memory, size_t bytes);

/* An actor begins, or begins anew; from within another's step, too. */
void explorer_start(int actor, void (*body)(int actor));

/* Runs an actor alone until it waits: for what comes before exploring. */
void explorer_settle(int actor);

/* From within an actor: lets others go first; waits to be woken by explorer_wake; waits until
 * world_is_ready says yes; ends. explorer_self is -1 outside of all. */
int explorer_self(void);
void explorer_pause(explorer_step step);
void explorer_sleep(const volatile void *word);
void explorer_wake(const volatile void *word);
void explorer_wait(void);
_Noreturn void explorer_end(void);

/* From anywhere: the actor is no more. Whether it is. */
void explorer_kill(int actor);
bool explorer_is_alive(int actor);

/* What the world adds to the actors' own steps: number 0 .. n - 1 of such as it has. */
#define EXPLORER_CHOICES_MAX 16

/* The world's part. */
bool world_is_ready(int actor);      /* one that waits may go on */
size_t world_choices(int choices[]); /* what may happen beside steps of actors */
void world_choose(int choice);
const char *world_choice_name(int choice);
const char *world_actor_name(int actor);
const char *world_word_name(const volatile void *word);
bool world_is_own(const volatile void *word);     /* the actor's alone now: no step of its own */
void world_note_write(const volatile void *word); /* right after it */
void world_judge_end(void);                       /* nobody has anything left to do */

/* Says what is wrong: ends the exploring. */
void explorer_blame(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Explores all. Returns true where nothing was wrong, else `fault` says what, and with `tell` the
 * steps that led there are printed. */
bool explorer_run(explorer_counts *counts, bool tell);
extern char explorer_fault[512];

#endif
