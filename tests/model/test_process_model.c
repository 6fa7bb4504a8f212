/* Proves that the process executor keeps its promises whatever the order in which the run, its
 * helper and its workers take their steps, and wherever workers die: for small bounds, in every
 * order there is. No task is called twice in one attempt, none is lost, every finished row is
 * collected once and whole, no desk is laid while its worker may still write to it, and nobody
 * sleeps through a bell. What runs is the library's own code (see scheduled_atomics.h).
 *
 * With --must-find the program is one that has a bug seeded, and passes where a scenario finds it.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../scratch.h"

/* `from`: the lowest tier that explores it. */
typedef struct case_of_tiers {
    scenario what;
    unsigned from; /* 0 small, 1 usual, 2 long */
} case_of_tiers;

static const case_of_tiers cases[] = {
    {{.name = "one worker, two tasks", .seats = 1, .tasks = 2, .chunk = 2}, 0},
    {{.name = "one worker, desks in turn", .seats = 1, .tasks = 4, .chunk = 2}, 0},
    {{.name = "one worker, a third desk", .seats = 1, .tasks = 3, .chunk = 1}, 0},
    {{.name = "one worker that dies", .seats = 1, .tasks = 2, .chunk = 2, .deaths = 1}, 0},
    {{.name = "two deaths and two attempts",
      .seats = 1,
      .tasks = 2,
      .chunk = 2,
      .deaths = 2,
      .attempts = 2},
     1},
    {{.name = "a worker for each task", .seats = 1, .tasks = 3, .chunk = 3, .tasks_per_worker = 1},
     0},
    {{.name = "one worker, cancelled", .seats = 1, .tasks = 2, .chunk = 2, .cancelled = true}, 0},
    {{.name = "one worker, killed", .seats = 1, .tasks = 2, .chunk = 2, .killed = true}, 1},
    {{.name = "a failure that ends the run",
      .seats = 1,
      .tasks = 3,
      .chunk = 3,
      .fails = 2,
      .stops = true},
     0},
    {{.name = "failures whose messages fill the desk",
      .seats = 1,
      .tasks = 3,
      .chunk = 3,
      .wakings = 1,
      .fails = 2},
     0},
    {{.name = "a slice, and a death",
      .seats = 1,
      .tasks = 3,
      .chunk = 3,
      .deaths = 1,
      .batch = true},
     0},
    {{.name = "a group of single calls, and a death",
      .seats = 1,
      .tasks = 4,
      .chunk = 2,
      .deaths = 1,
      .grouped = true},
     1},
    {{.name = "groups by slices, and a death",
      .seats = 1,
      .tasks = 4,
      .chunk = 2,
      .deaths = 1,
      .grouped = true,
      .batch = true},
     1},
    {{.name = "a call that takes too long",
      .seats = 1,
      .tasks = 2,
      .chunk = 2,
      .wakings = 2,
      .timed = true},
     1},
    {{.name = "two workers, one task each", .seats = 2, .tasks = 2, .chunk = 1}, 1},
    {{.name = "two workers, one takes back from the other", .seats = 2, .tasks = 3, .chunk = 3}, 2},
    {{.name = "two workers, one dies", .seats = 2, .tasks = 2, .chunk = 1, .deaths = 1}, 2},
};

static bool explore(const scenario *what, bool tell, explorer_counts *total)
{
    explorer_counts counts;
    world_make(what);
    bool is_right = explorer_run(&counts, tell);
    printf(
        "%s %s: %.3g interleavings of at most %zu steps; %llu moments, %llu steps between them\n",
        is_right ? "ok  " : "FOUND", what->name, counts.interleavings, counts.longest,
        (unsigned long long)counts.moments, (unsigned long long)counts.steps);
    fflush(stdout);
    total->moments += counts.moments;
    total->steps += counts.steps;
    total->interleavings += counts.interleavings;
    return is_right;
}

int main(int n_arguments, char **arguments)
{
    bool must_find = n_arguments > 2 && strcmp(arguments[1], "--must-find") == 0;
    const char *only = must_find ? arguments[2] : getenv("FACPOOL_MODEL_CASE");
    unsigned tier = only ? 2 : of_tier(0, 1, 2);
    explorer_counts total = {0};
    bool is_found = false;
    for (size_t i = 0; i < sizeof cases / sizeof *cases && !is_found; i++) {
        if (cases[i].from > tier || (only && strcmp(only, cases[i].what.name) != 0))
            continue;
        is_found = !explore(&cases[i].what, !must_find, &total);
    }
    printf("%.3g interleavings, %llu moments, %llu steps\n", total.interleavings,
           (unsigned long long)total.moments, (unsigned long long)total.steps);
    if (is_found && must_find)
        printf("the seeded bug is found: %s\n", explorer_fault);
    else if (must_find)
        printf("the seeded bug is not found\n");
    return is_found == must_find ? EXIT_SUCCESS : EXIT_FAILURE;
}
