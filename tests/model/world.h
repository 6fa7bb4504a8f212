/* The world in which the process executor is explored: its operating system (processes, sockets,
 * sleeping) and its job, both made of plain memory, and the rules that nothing may break. All else
 * is the library's own code. */
#ifndef FP_MODEL_WORLD_H
#define FP_MODEL_WORLD_H

#include "explorer.h"

#define WORLD_TASKS_MAX 8

/* What is explored. */
typedef struct scenario {
    const char *name;
    unsigned seats;
    unsigned tasks;
    unsigned chunk;    /* so many the job gives out at once; with `grouped` a group */
    unsigned deaths;   /* so many workers die, each at any moment of its life */
    unsigned wakings;  /* so many times the run's sleep ends by time */
    unsigned attempts; /* 0: 1 */
    unsigned tasks_per_worker;
    unsigned fails; /* the task that fails, counted from 1; 0: none */
    bool stops;     /* on_error: stop */
    bool cancelled; /* at any moment */
    bool killed;    /* the same, without waiting */
    bool grouped;
    bool batch;
    bool timed; /* task_timeout_ms is set: a call is found late at each look behind the first */
} scenario;

/* Sets everything up, and all actors to where the run begins. */
void world_make(const scenario *what);

#endif
