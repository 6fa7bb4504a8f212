/* The explorer: actors as coroutines, moments as copies of their memory, and a walk in depth over
 * all of them. See explorer.h. */
#include "explorer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define STACK_BYTES   (64u << 10)
#define REGIONS_MAX   96
#define DEPTH_MAX     8192
#define CLEARED_BYTES 8192 /* below a stack's end, so that old bytes make no moment different */

typedef enum actor_state {
    ACTOR_NONE,
    ACTOR_FRESH,
    ACTOR_READY,
    ACTOR_ASLEEP,
    ACTOR_WAITING
} actor_state;

typedef struct actor {
    actor_state state;
    explorer_step step;        /* the next one */
    const volatile void *word; /* of the next step, or slept on */
    void (*body)(int actor);
    jmp_buf place;
    uint8_t *stack_end; /* lowest byte in use */
} actor;

typedef struct region {
    uint8_t *memory;
    size_t bytes;
    bool is_shared;
} region;

/* A moment on the way: its bytes, and what can happen next. */
typedef struct frame {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    int next[EXPLORER_ACTORS + EXPLORER_CHOICES_MAX]; /* actors; choices from EXPLORER_ACTORS on */
    size_t n_next;
    size_t at;
    size_t slot; /* in the table of moments */
    double ways;
} frame;

typedef struct moment {
    uint64_t low, high; /* hash; both 0: free */
    double ways;        /* to an end; negative: still being explored */
    uint32_t longest;
    uint32_t reserved;
} moment;

static actor actors[EXPLORER_ACTORS];
static uint8_t stacks[EXPLORER_ACTORS][STACK_BYTES] __attribute__((aligned(4096)));
static region regions[REGIONS_MAX];
static size_t n_regions;
static int self = -1;
static jmp_buf scheduler;
static frame *frames;
static size_t depth;
static moment *moments;
static size_t n_moments, moments_room;
static explorer_counts counts_so_far;

char explorer_fault[512];

/* ------------------------------------------------------------------ actors */

void explorer_reset(void)
{
    memset(actors, 0, sizeof actors);
    n_regions = 0;
    self = -1;
    explorer_fault[0] = 0;
}

static void add_region(void *memory, size_t bytes, bool is_shared)
{
    if (n_regions == REGIONS_MAX)
        abort();
    regions[n_regions++] = (region){memory, bytes, is_shared};
}

void explorer_keep(void *memory, size_t bytes)
{
    add_region(memory, bytes, false);
}

void explorer_share(void *memory, size_t bytes)
{
    add_region(memory, bytes, true);
}

static bool is_shared(const volatile void *word)
{
    const uint8_t *at = (const uint8_t *)(uintptr_t)word;
    for (size_t i = 0; i < n_regions; i++)
        if (regions[i].is_shared && at >= regions[i].memory &&
            at < regions[i].memory + regions[i].bytes)
            return true;
    return false;
}

void explorer_start(int which, void (*body)(int actor))
{
    actors[which] = (actor){.state = ACTOR_FRESH, .body = body};
}

void explorer_kill(int which)
{
    memset(&actors[which], 0, sizeof actors[which]);
}

bool explorer_is_alive(int which)
{
    return actors[which].state != ACTOR_NONE;
}

int explorer_self(void)
{
    return self;
}

/* The lowest byte of the stack in use, or a little below where that can't be told: what lies there
 * by accident makes moments different that are the same, and is no worse. */
#if defined(__x86_64__)
#define STACK_POINTER(to) __asm__ volatile("mov %%rsp, %0" : "=r"(to))
#elif defined(__aarch64__)
#define STACK_POINTER(to) __asm__ volatile("mov %0, sp" : "=r"(to))
#else
#define STACK_POINTER(to) ((to) = (uint8_t *)__builtin_alloca(16) - 256)
#endif

/* Leaves the actor's stack until it is its turn again. */
static __attribute__((noinline)) void hand_over(void)
{
    uint8_t *lowest;
    STACK_POINTER(lowest);
    actors[self].stack_end = lowest;
    if (_setjmp(actors[self].place) == 0)
        _longjmp(scheduler, 1);
}

void explorer_pause(explorer_step step)
{
    if (self < 0)
        return;
    actors[self].state = ACTOR_READY;
    actors[self].step = step;
    actors[self].word = NULL;
    hand_over();
}

void explorer_before(const volatile void *word, explorer_step step)
{
    if (self < 0 || !is_shared(word) || world_is_own(word))
        return;
    actors[self].state = ACTOR_READY;
    actors[self].step = step;
    actors[self].word = word;
    hand_over();
}

void explorer_after(const volatile void *word)
{
    if (self >= 0 && is_shared(word))
        world_note_write(word);
}

void explorer_sleep(const volatile void *word)
{
    actors[self].state = ACTOR_ASLEEP;
    actors[self].step = STEP_SLEEP;
    actors[self].word = word;
    hand_over();
}

void explorer_wake(const volatile void *word)
{
    for (int i = 0; i < EXPLORER_ACTORS; i++)
        if (actors[i].state == ACTOR_ASLEEP && actors[i].word == word)
            actors[i].state = ACTOR_READY;
}

void explorer_wait(void)
{
    actors[self].state = ACTOR_WAITING;
    actors[self].step = STEP_EVENT;
    actors[self].word = NULL;
    hand_over();
}

_Noreturn void explorer_end(void)
{
    explorer_kill(self);
    _longjmp(scheduler, 1);
}

static void enter(void)
{
    actors[self].body(self);
    explorer_end();
}

static void begin(int which)
{
    static ucontext_t fresh, here;
    if (getcontext(&fresh))
        abort();
    fresh.uc_stack.ss_sp = stacks[which];
    fresh.uc_stack.ss_size = STACK_BYTES;
    fresh.uc_link = NULL;
    makecontext(&fresh, enter, 0);
    (void)swapcontext(&here, &fresh);
}

/* One step of an actor, up to what it would do next. */
static void take_step(int which)
{
    self = which;
    if (_setjmp(scheduler) == 0) {
        if (actors[which].state == ACTOR_FRESH)
            begin(which);
        else
            _longjmp(actors[which].place, 1);
    }
    if (actors[which].state != ACTOR_NONE) {
        uint8_t *end = actors[which].stack_end;
        size_t room = (size_t)(end - stacks[which]);
        size_t cleared = room < CLEARED_BYTES ? room : CLEARED_BYTES;
        memset(end - cleared, 0, cleared);
    }
    self = -1;
}

static bool can_step(int which)
{
    switch (actors[which].state) {
    case ACTOR_FRESH:
    case ACTOR_READY:
        return true;
    case ACTOR_WAITING:
        return world_is_ready(which);
    default:
        return false;
    }
}

void explorer_settle(int which)
{
    while (can_step(which))
        take_step(which);
}

/* ------------------------------------------------------------------ moments */

static size_t stack_bytes(int which)
{
    if (actors[which].state == ACTOR_NONE || actors[which].state == ACTOR_FRESH)
        return 0;
    return (size_t)(stacks[which] + STACK_BYTES - actors[which].stack_end);
}

static size_t moment_bytes(void)
{
    size_t bytes = sizeof actors;
    for (size_t i = 0; i < n_regions; i++)
        bytes += regions[i].bytes;
    for (int i = 0; i < EXPLORER_ACTORS; i++)
        bytes += stack_bytes(i);
    return bytes;
}

static void save(frame *f)
{
    f->size = moment_bytes();
    if (f->size > f->capacity) {
        f->capacity = f->size + 4096;
        f->bytes = realloc(f->bytes, f->capacity);
        if (!f->bytes)
            abort();
    }
    uint8_t *to = f->bytes;
    memcpy(to, actors, sizeof actors);
    to += sizeof actors;
    for (size_t i = 0; i < n_regions; to += regions[i++].bytes)
        memcpy(to, regions[i].memory, regions[i].bytes);
    for (int i = 0; i < EXPLORER_ACTORS; to += stack_bytes(i++))
        if (stack_bytes(i))
            memcpy(to, actors[i].stack_end, stack_bytes(i));
}

static void restore(const frame *f)
{
    const uint8_t *from = f->bytes;
    memcpy(actors, from, sizeof actors);
    from += sizeof actors;
    for (size_t i = 0; i < n_regions; from += regions[i++].bytes)
        memcpy(regions[i].memory, from, regions[i].bytes);
    for (int i = 0; i < EXPLORER_ACTORS; from += stack_bytes(i++)) {
        if (!stack_bytes(i))
            continue;
        uint8_t *end = actors[i].stack_end;
        size_t room = (size_t)(end - stacks[i]);
        size_t cleared = room < CLEARED_BYTES ? room : CLEARED_BYTES;
        memcpy(end, from, stack_bytes(i));
        memset(end - cleared, 0, cleared);
    }
}

static void make_room(void)
{
    if (n_moments * 2 < moments_room)
        return;
    size_t old_room = moments_room;
    moment *old = moments;
    moments_room = old_room ? old_room * 4 : 1 << 16;
    moments = calloc(moments_room, sizeof *moments);
    if (!moments)
        abort();
    for (size_t i = 0; i < old_room; i++) {
        if (!old[i].low && !old[i].high)
            continue;
        size_t at = old[i].low & (moments_room - 1);
        while (moments[at].low || moments[at].high)
            at = (at + 1) & (moments_room - 1);
        moments[at] = old[i];
    }
    free(old);
    for (size_t i = 0; i < depth; i++) { /* slots have moved */
        XXH128_hash_t hash = XXH3_128bits(frames[i].bytes, frames[i].size);
        size_t at = hash.low64 & (moments_room - 1);
        while (moments[at].low != hash.low64 || moments[at].high != hash.high64)
            at = (at + 1) & (moments_room - 1);
        frames[i].slot = at;
    }
}

/* Finds the moment that a frame holds; true: it is new. */
static bool find_moment(frame *f)
{
    make_room();
    XXH128_hash_t hash = XXH3_128bits(f->bytes, f->size);
    size_t at = hash.low64 & (moments_room - 1);
    while (moments[at].low || moments[at].high) {
        if (moments[at].low == hash.low64 && moments[at].high == hash.high64) {
            f->slot = at;
            return false;
        }
        at = (at + 1) & (moments_room - 1);
    }
    moments[at] = (moment){.low = hash.low64, .high = hash.high64, .ways = -1};
    n_moments++;
    f->slot = at;
    return true;
}

/* ------------------------------------------------------------------ the walk */

void explorer_blame(const char *format, ...)
{
    if (explorer_fault[0])
        return; /* the first counts */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(explorer_fault, sizeof explorer_fault, format, arguments);
    va_end(arguments);
}

static void describe_step(int which)
{
    static const char *const names[] = {"loads",     "stores", "adds to",      "exchanges",
                                        "sleeps on", "wakes",  "is in a call", "hears"};
    if (which >= EXPLORER_ACTORS) {
        printf("    %s\n", world_choice_name(which - EXPLORER_ACTORS));
        return;
    }
    const actor *a = &actors[which];
    if (a->state == ACTOR_FRESH)
        printf("    %s begins\n", world_actor_name(which));
    else
        printf("    %s %s %s\n", world_actor_name(which), names[a->step],
               a->word ? world_word_name(a->word) : "");
}

static void tell_way(void)
{
    printf("  %s\n  after these steps:\n", explorer_fault);
    for (size_t i = 0; i < depth; i++) {
        restore(&frames[i]);
        describe_step(frames[i].next[frames[i].at - 1]);
    }
}

static void list_next(frame *f)
{
    int choices[EXPLORER_CHOICES_MAX];
    f->n_next = f->at = 0;
    f->ways = 0;
    for (int i = 0; i < EXPLORER_ACTORS; i++)
        if (can_step(i))
            f->next[f->n_next++] = i;
    size_t n = world_choices(choices);
    for (size_t i = 0; i < n; i++)
        f->next[f->n_next++] = EXPLORER_ACTORS + choices[i];
}

/* The present moment, on top of those on the way; false: it was explored, or is an end. */
static bool enter_moment(void)
{
    if (depth == DEPTH_MAX) {
        explorer_blame("more than %d steps without an end", DEPTH_MAX);
        return false;
    }
    frame *f = &frames[depth];
    frame *before = depth ? &frames[depth - 1] : NULL;
    save(f);
    bool is_new = find_moment(f);
    moment *m = &moments[f->slot];
    if (!is_new) {
        if (m->ways < 0)
            explorer_blame("it goes round without an end");
        else if (before)
            before->ways += m->ways;
        return false;
    }
    list_next(f);
    bool any_step = false;
    for (size_t i = 0; i < f->n_next; i++)
        any_step |= f->next[i] < EXPLORER_ACTORS;
    if (!any_step)
        world_judge_end();
    if (!f->n_next) {
        counts_so_far.ends++;
        m->ways = 1;
        if (depth > counts_so_far.longest)
            counts_so_far.longest = depth;
        if (before)
            before->ways += 1;
        return false;
    }
    depth++;
    return true;
}

static void leave_moment(void)
{
    frame *f = &frames[--depth];
    moments[f->slot].ways = f->ways;
    if (depth)
        frames[depth - 1].ways += f->ways;
}

bool explorer_run(explorer_counts *counts, bool tell)
{
    counts_so_far = (explorer_counts){0};
    free(moments);
    moments = NULL;
    n_moments = moments_room = depth = 0;
    if (!frames)
        frames = calloc(DEPTH_MAX + 1, sizeof *frames);
    if (!frames)
        abort();
    bool is_current = enter_moment(); /* what memory holds is the top frame's moment */
    while (depth && !explorer_fault[0]) {
        frame *f = &frames[depth - 1];
        if (f->at == f->n_next) {
            if (depth == 1)
                counts_so_far.interleavings = f->ways;
            leave_moment();
            is_current = false;
            continue;
        }
        if (!is_current)
            restore(f);
        int which = f->next[f->at++];
        if (which < EXPLORER_ACTORS)
            take_step(which);
        else
            world_choose(which - EXPLORER_ACTORS);
        counts_so_far.steps++;
        is_current = !explorer_fault[0] && enter_moment();
    }
    counts_so_far.moments = n_moments;
    *counts = counts_so_far;
    if (explorer_fault[0] && tell)
        tell_way();
    return !explorer_fault[0];
}
