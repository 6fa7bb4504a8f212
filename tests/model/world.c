/* The rules of the model's world, what may happen in it beside the actors' steps, and how it is
 * made: see world.h. */
#include "world_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"

enum { DEATH, WAKING = DEATH + SEATS_MAX }; /* what may happen; DEATH + seat */

scenario now;
world_state state;
facpool_job job;
int64_t task_dates[WORLD_TASKS_MAX];
char code_bytes[] = "a";
worker_memory memories[SEATS_MAX];
facpool_serve_options serving;
static facpool_tasks tasks;
static uint32_t task_codes[WORLD_TASKS_MAX];
static uint32_t code_offsets[] = {0, 2};
static _Alignas(64) fp_worker proxies[DESKS_MAX];

int seat_of_self(void)
{
    int actor = explorer_self();
    return actor >= FIRST_WORKER && actor < CANCELLER ? actor - FIRST_WORKER : -1;
}

/* ------------------------------------------------------------------ rules */

static const fp_layout *layout(void)
{
    return &job.pool->layout;
}

static fp_desk *desk_at(size_t i)
{
    return job.pool->views[i].desk;
}

/* Slots that a worker shows as finished: their rows are the run's to collect. */
static void note_finished(size_t i)
{
    if (seat_of_self() < 0)
        return;
    const fp_desk_view *v = &job.pool->views[i];
    size_t first = v->desk->chunk_first, n = v->desk->chunk_finished;
    for (size_t slot = first; slot < first + n && slot < now.chunk; slot++)
        if (v->indexes[slot] < now.tasks)
            state.is_finished[v->indexes[slot]] = true;
}

static void note_desk_state(size_t i)
{
    size_t seat = i / FP_DESKS_A_SEAT;
    unsigned desk_state = desk_at(i)->state;
    int self = seat_of_self();
    if (self >= 0)
        state.at_desk[self] = desk_state == FP_DESK_BUSY ? (int)i : -1;
    else if (desk_state == FP_DESK_READY && state.at_desk[seat] == (int)i)
        explorer_blame("desk %zu is laid while its worker may still write to it", i);
}

/* Words that nobody else looks at before something else tells him to: what lies on a desk that is
 * the run's, what a worker notes for later, and what is only shown to people. That the telling
 * comes last is what is checked. */
bool world_is_own(const volatile void *word)
{
    bool is_run = explorer_self() == RUN;
    for (size_t i = 0; i < now.seats; i++)
        if (word == &layout()->seats[i].pid)
            return true;
    for (size_t i = 0; i < job.pool->n_desks; i++) {
        const fp_desk *desk = desk_at(i);
        const uint8_t *at = (const uint8_t *)(uintptr_t)word, *begin = (const uint8_t *)desk;
        if (at < begin || at >= begin + sizeof *desk || word == &desk->state)
            continue;
        if (word == &desk->compute_ns || (word == &desk->attempt_shown && !now.timed))
            return true;
        unsigned desk_state = desk->state;
        return is_run && (desk_state == FP_DESK_EMPTY || desk_state == FP_DESK_DONE);
    }
    return false;
}

void world_note_write(const volatile void *word)
{
    for (size_t i = 0; i < job.pool->n_desks; i++) {
        if (word == &desk_at(i)->state)
            note_desk_state(i);
        else if (word == &desk_at(i)->chunk_finished)
            note_finished(i);
    }
}

static void check_task(size_t task, unsigned *n_blamed)
{
    bool is_stopped = job.stop_code != 0;
    if (state.collected[task] && state.status[task] >= FACPOOL_STATUS_TIMEOUT)
        ++*n_blamed;
    if (!state.collected[task] && !is_stopped)
        explorer_blame("task %zu is lost", task);
    else if (!state.collected[task] && state.is_finished[task])
        explorer_blame("the row of task %zu, which was finished, is not collected", task);
    if (state.is_finished[task] && state.status[task] >= FACPOOL_STATUS_TIMEOUT)
        explorer_blame("task %zu was finished, and is blamed for a death", task);
    bool was_called = false; /* who dies before its call used up an attempt all the same */
    for (unsigned attempt = 1; attempt < 4; attempt++)
        was_called |= state.called[task][attempt] > 0;
    if (state.collected[task] && !was_called && state.status[task] < FACPOOL_STATUS_TIMEOUT)
        explorer_blame("task %zu has a row, and was never called", task);
}

/* The run has returned: all that it must have done. */
static void check_run(void)
{
    unsigned n_blamed = 0;
    for (size_t task = 0; task < now.tasks; task++)
        check_task(task, &n_blamed);
    unsigned per_death = now.grouped && now.batch ? now.chunk : 1;
    if (n_blamed > state.n_deaths * per_death)
        explorer_blame("%u tasks are blamed for %u deaths", n_blamed, state.n_deaths);
    if (n_blamed && now.attempts > now.deaths)
        explorer_blame("a task is blamed that had attempts left");
}

static void live_as_run(int actor)
{
    (void)actor;
    fp_exec_process(&job);
    check_run();
    state.run_is_over = true;
    explorer_end();
}

static void live_as_helper(int actor)
{
    (void)actor;
    (void)fp_helper_serve(HELPER_END, &serving, NULL);
    explorer_end();
}

static void live_as_canceller(int actor)
{
    (void)actor;
    int how = now.killed ? FP_SIGNAL_CANCEL | FP_SIGNAL_KILL : FP_SIGNAL_CANCEL;
    atomic_fetch_or(&job.signal, how);
    fp_pool_ring(&job);
    explorer_end();
}

void world_judge_end(void)
{
    for (unsigned seat = 0; seat < now.seats; seat++)
        if (state.is_doomed[seat] && explorer_is_alive(FIRST_WORKER + (int)seat))
            return; /* and will die */
    if (!state.run_is_over && !state.wakings_left)
        explorer_blame("everybody sleeps, and the run is not over: a bell was missed");
}

/* ------------------------------------------------------------------ what else may happen */

bool world_is_ready(int actor)
{
    if (actor != HELPER)
        return false;
    for (unsigned seat = 0; seat < now.seats; seat++)
        if (state.is_child[seat] && !explorer_is_alive(FIRST_WORKER + (int)seat))
            return true;
    return state.to_helper.n > 0;
}

size_t world_choices(int choices[])
{
    size_t n = 0;
    if (state.run_is_over)
        return 0;
    for (unsigned seat = 0; seat < now.seats; seat++)
        if (explorer_is_alive(FIRST_WORKER + (int)seat) &&
            (state.deaths_left || state.is_doomed[seat]))
            choices[n++] = DEATH + (int)seat;
    if (state.wakings_left)
        choices[n++] = WAKING;
    return n;
}

static void let_die(unsigned seat)
{
    if (!state.is_doomed[seat])
        state.deaths_left--;
    state.n_deaths++;
    state.is_doomed[seat] = false;
    state.at_desk[seat] = -1;
    explorer_kill(FIRST_WORKER + (int)seat);
}

void world_choose(int choice)
{
    if (choice < WAKING) {
        let_die((unsigned)(choice - DEATH));
        return;
    }
    state.wakings_left--;
    state.clock++;
    explorer_wake(&layout()->board->bell);
}

const char *world_choice_name(int choice)
{
    static const char *const names[] = {"worker 0 dies", "worker 1 dies", "time passes"};
    return names[choice];
}

const char *world_actor_name(int actor)
{
    static const char *const names[] = {"the run", "the helper", "worker 0", "worker 1",
                                        "who cancels"};
    return names[actor];
}

const char *world_word_name(const volatile void *word)
{
    static char text[64];
    const fp_board *board = layout()->board;
    size_t at = (size_t)((const uint8_t *)(uintptr_t)word - (const uint8_t *)board);
    snprintf(text, sizeof text, "word %zu", at);
    if (word == &board->bell || word == &board->is_asleep || word == &board->is_over)
        snprintf(text, sizeof text, "the run's %s",
                 word == &board->bell        ? "bell"
                 : word == &board->is_asleep ? "is_asleep"
                                             : "is_over");
    for (size_t i = 0; i < now.seats; i++) {
        const fp_seat *seat = &layout()->seats[i];
        const char *name = word == &seat->bell          ? "bell"
                           : word == &seat->is_asleep   ? "is_asleep"
                           : word == &seat->n_endings   ? "n_endings"
                           : word == &seat->pid         ? "pid"
                           : word == &seat->stop.set    ? "stop"
                           : word == &seat->has_entered ? "has_entered"
                           : word == &seat->is_leaving  ? "is_leaving"
                                                        : NULL;
        if (name)
            snprintf(text, sizeof text, "seat %zu's %s", i, name);
    }
    for (size_t i = 0; i < job.pool->n_desks; i++) {
        const fp_desk *desk = desk_at(i);
        const char *name = word == &desk->state            ? "state"
                           : word == &desk->claim          ? "claim"
                           : word == &desk->chunk_first    ? "chunk_first"
                           : word == &desk->chunk_finished ? "chunk_finished"
                           : word == &desk->attempt_shown  ? "attempt_shown"
                           : word == &desk->n_marks        ? "n_marks"
                           : word == &desk->compute_ns     ? "compute_ns"
                                                           : NULL;
        if (name)
            snprintf(text, sizeof text, "desk %zu's %s", i, name);
    }
    return text;
}

/* ------------------------------------------------------------------ making it */

static void make_job(void)
{
    memset(&job, 0, sizeof job);
    memset(&tasks, 0, sizeof tasks);
    memset(proxies, 0, sizeof proxies);
    for (unsigned i = 0; i < WORLD_TASKS_MAX; i++)
        task_dates[i] = 100 + i;
    tasks.count = now.tasks;
    tasks.dates = task_dates;
    tasks.code_ids = task_codes;
    tasks.codes.texts = (fp_texts){.n = 1, .offsets = code_offsets, .bytes = code_bytes};
    job.tasks = &tasks;
    job.plan.keys.tasks = &tasks;
    job.plan.count = now.tasks;
    job.plan.group_by = now.grouped ? FACPOOL_GROUP_DATE : FACPOOL_GROUP_NONE;
    job.plan.n_groups = now.grouped ? now.tasks / now.chunk : 0;
    job.plan.group_size = now.grouped ? now.chunk : 0;
    job.workers = proxies;
    job.n_workers = now.seats * FP_DESKS_A_SEAT;
    for (uint32_t i = 0; i < job.n_workers; i++)
        fp_worker_init(&proxies[i], &job, i);
    job.cancel = &job.no_cancel;
    facpool_run_options *run = &job.config.run;
    run->fn = now.batch ? NULL : call_task;
    run->batch_fn = now.batch ? call_slice : NULL;
    run->n_factors = FACTORS;
    run->group_by = job.plan.group_by;
    run->on_error = now.stops ? FACPOOL_ON_ERROR_STOP : FACPOOL_ON_ERROR_CONTINUE;
    run->attempts = now.attempts ? now.attempts : 1;
    run->task_timeout_ms = now.timed ? 1 : 0;
    job.config.process.tasks_per_worker = now.tasks_per_worker;
}

static void keep_desk(size_t i)
{
    fp_desk_view *v = &job.pool->views[i];
    size_t n = now.chunk;
    explorer_share(v->desk, sizeof *v->desk);
    explorer_keep(v->dates, n * sizeof *v->dates);
    explorer_keep(v->indexes, n * sizeof *v->indexes);
    explorer_keep(v->code_ids, n * sizeof *v->code_ids);
    explorer_keep(v->statuses, n);
    explorer_keep(v->factors, n * FACTORS * sizeof(double));
    if (now.fails) {
        explorer_keep(v->marks, n * sizeof *v->marks);
        explorer_keep(v->text, FP_DESK_TEXT_BYTES);
    }
}

void world_make(const scenario *what)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    forget_memory();
    explorer_reset();
    now = *what;
    memset(&state, 0, sizeof state);
    memset(memories, 0, sizeof memories);
    state.deaths_left = now.deaths;
    state.wakings_left = now.wakings;
    state.unclaimed = (UINT64_C(1) << now.tasks) - 1;
    state.at_desk[0] = state.at_desk[1] = -1;
    make_job();
    explorer_keep(&state, sizeof state);
    explorer_keep(&job, sizeof job);
    explorer_keep(proxies, job.n_workers * sizeof *proxies);
    explorer_keep(memories, now.seats * sizeof *memories);
    if (now.cancelled || now.killed)
        explorer_share(&job.signal, sizeof job.signal);
    if (fp_pool_open(&job, &error)) {
        printf("the pool can't be opened: %s\n", error.message);
        exit(1);
    }
    serving = (facpool_serve_options){
        .size = sizeof serving, .fn = job.config.run.fn, .batch_fn = job.config.run.batch_fn};
    explorer_share(layout()->board, sizeof(fp_board));
    explorer_share(layout()->seats, now.seats * sizeof(fp_seat));
    for (size_t i = 0; i < job.pool->n_desks; i++)
        keep_desk(i);
    explorer_start(HELPER, live_as_helper);
    explorer_settle(HELPER);
    explorer_start(RUN, live_as_run);
    if (now.cancelled || now.killed)
        explorer_start(CANCELLER, live_as_canceller);
}
