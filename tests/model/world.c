/* The world of the model check: see world.h. The first part stands in for lib/os, the second for
 * the job, which only the run's own thread touches; the last one judges. */
#include "world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "run/call.h"
#include "run/claim.h"
#include "run/process_run.h"

#define SEATS_MAX 2
#define DESKS_MAX (SEATS_MAX * FP_DESKS_A_SEAT)
#define FACTORS   2
#define LETTERS   8
#define KEPT_MAX  64

enum { RUN, HELPER, FIRST_WORKER, CANCELLER = FIRST_WORKER + SEATS_MAX };
enum { DEATH, WAKING = DEATH + SEATS_MAX };
enum { RUN_END = 10, HELPER_END, MEMORY_FD };
enum { RUN_PID = 40, HELPER_PID, FIRST_PID };

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

static scenario now;
static world_state state;
static facpool_job job;
static facpool_tasks tasks;
static int64_t task_dates[WORLD_TASKS_MAX];
static uint32_t task_codes[WORLD_TASKS_MAX];
static uint32_t code_offsets[] = {0, 2};
static char code_bytes[] = "a";
static worker_memory memories[SEATS_MAX];
static _Alignas(64) fp_worker proxies[DESKS_MAX];
static void *kept[KEPT_MAX]; /* to be freed before the next scenario */
static size_t n_kept;
static void *segment;
static size_t segment_bytes;
static facpool_serve_options serving;

static int seat_of_self(void)
{
    int actor = explorer_self();
    return actor >= FIRST_WORKER && actor < CANCELLER ? actor - FIRST_WORKER : -1;
}

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

/* ------------------------------------------------------------------ the job */

void fp_key_walk_start(fp_key_walk *walk, const fp_key_order *keys, size_t position)
{
    *walk = (fp_key_walk){.keys = keys, .position = position, .n_inner = SIZE_MAX};
}

void fp_key_walk_next_line(fp_key_walk *walk)
{
    (void)walk;
}

/* The lowest tasks that nobody has, as many as one claim takes; groups whole. */
int fp_job_claim(facpool_job *j, fp_worker *w, bool wait, facpool_error *err)
{
    (void)wait, (void)err;
    size_t first = 0, n = 0;
    if (fp_job_is_stopping(j) || !state.unclaimed)
        return 0;
    while (!(state.unclaimed >> first & 1))
        first++;
    while (n < now.chunk && first + n < now.tasks && (state.unclaimed >> (first + n) & 1))
        state.unclaimed &= ~(UINT64_C(1) << (first + n++));
    w->first = first;
    w->end = w->reserve_first = w->reserve_end = first + n;
    w->n = n;
    w->whole = true;
    w->collected = 0;
    w->n_failed_in_chunk = 0;
    atomic_store(w->finished, 0);
    memset(w->statuses, FACPOOL_STATUS_OK, n);
    return 1;
}

static void put_back(size_t first, size_t end)
{
    for (size_t task = first; task < end; task++) {
        if (state.collected[task] || (state.unclaimed >> task & 1))
            explorer_blame("task %zu goes back to the job, which has it or its row", task);
        state.unclaimed |= UINT64_C(1) << task;
    }
}

int fp_claim_give_back(facpool_job *j, fp_worker *w, size_t n_finished)
{
    size_t first = n_finished < w->n ? w->first + n_finished : w->reserve_first;
    if (first >= w->reserve_end || j->stop_code)
        return 0;
    put_back(first, w->reserve_end);
    w->reserve_first = w->reserve_end;
    return 0;
}

static void take_row(const fp_worker *w, size_t slot)
{
    size_t task = w->first + slot;
    const double *factors = w->factors + slot * FACTORS;
    state.collected[task]++;
    state.status[task] = w->statuses[slot];
    if (state.collected[task] > 1)
        explorer_blame("task %zu is collected twice", task);
    bool is_whole = factors[0] == (double)(task + 1) && factors[1] == (double)(task + 1) * 16;
    if (w->statuses[slot] == FACPOOL_STATUS_OK && !is_whole)
        explorer_blame("the row of task %zu is collected before it is whole", task);
    if (w->statuses[slot] == FACPOOL_STATUS_FAILED && task + 1 != now.fails)
        explorer_blame("task %zu is collected as failed, and never was", task);
    if (w->statuses[slot] == FACPOOL_STATUS_OK && task + 1 == now.fails)
        explorer_blame("task %zu failed, and is collected as ok", task);
}

int fp_job_collect_some(facpool_job *j, fp_worker *w, facpool_error *err)
{
    (void)err;
    size_t finished = atomic_load(w->finished);
    for (; w->collected < finished; w->collected++) {
        take_row(w, w->collected);
        if (w->statuses[w->collected] > FACPOOL_STATUS_SKIPPED)
            w->n_failed_in_chunk++;
        else
            atomic_store(&j->any_good, true);
    }
    return 0;
}

int fp_job_return(facpool_job *j, fp_worker *w, size_t n_finished, facpool_error *err)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_job_collect_some(j, w, err);
    if (w->n_failed_in_chunk && now.stops) {
        error.code = FACPOOL_E_TASK;
        fp_job_stop(j, FACPOOL_E_TASK, &error);
    }
    if (n_finished < w->n)
        fp_claim_give_back(j, w, n_finished);
    w->n = 0;
    return 0;
}

int fp_job_stop(facpool_job *j, int code, const facpool_error *why)
{
    (void)why;
    if (code == FACPOOL_E_WORKER || code == FACPOOL_E_NOMEM)
        explorer_blame("the run ends with %s", facpool_error_name(code));
    if (!j->stop_code)
        j->stop_code = code;
    atomic_fetch_or(&j->signal, FP_SIGNAL_STOP);
    return code;
}

bool fp_job_is_stopping(facpool_job *j)
{
    if (!j->stop_code && (atomic_load(&j->signal) & FP_SIGNAL_CANCEL))
        j->stop_code = FACPOOL_E_CANCELLED;
    return j->stop_code != 0;
}

/* ------------------------------------------------------------------ workers' tools */

void fp_worker_init(fp_worker *w, facpool_job *j, uint32_t number)
{
    w->job = j;
    w->number = number;
    w->chunk_size = w->attempt = w->first_attempt = 1;
    w->finished = &w->own_finished;
    int seat = seat_of_self();
    if (seat < 0)
        return;
    worker_memory *m = &memories[seat];
    w->marks = m->marks;
    w->marks_capacity = WORLD_TASKS_MAX;
    w->messages = (fp_texts){.offsets = m->offsets,
                             .offsets_capacity = WORLD_TASKS_MAX + 1,
                             .bytes = m->text,
                             .bytes_capacity = sizeof m->text};
}

void fp_worker_free(fp_worker *w)
{
    (void)w;
}

/* In the run a mark is a status and no more. */
int fp_worker_mark(fp_worker *w, size_t slot, uint8_t status, int32_t code, const char *message,
                   size_t length)
{
    w->statuses[slot] = status;
    w->factors[slot * FACTORS] = w->factors[slot * FACTORS + 1] = NAN;
    if (seat_of_self() < 0)
        return 0;
    if (fp_texts_add(&w->messages, message, length))
        abort();
    w->marks[w->n_marks++] = (fp_mark){slot, code, (uint32_t)(w->messages.n - 1)};
    return 0;
}

void fp_worker_unmark(fp_worker *w, size_t slot)
{
    for (size_t i = 0; i < w->n_marks; i++)
        if (w->marks[i].slot == slot)
            w->marks[i] = w->marks[--w->n_marks];
    w->statuses[slot] = FACPOOL_STATUS_OK;
}

int fp_worker_fill_slice(fp_worker *w, size_t first_slot, size_t n, facpool_slice *slice,
                         facpool_error *err)
{
    (void)err;
    worker_memory *m = &memories[seat_of_self()];
    for (size_t i = 0; i < n; i++) {
        size_t at = w->first + first_slot + i;
        m->dates[i] = w->job->tasks->dates[at];
        m->codes[i] = code_bytes;
        m->indexes[i] = w->desk_indexes[at];
        m->code_numbers[i] = 0;
    }
    w->slice_first = first_slot;
    *slice = (facpool_slice){.size = sizeof *slice,
                             .n = n,
                             .dates = m->dates,
                             .codes = m->codes,
                             .indexes = m->indexes,
                             .worker = w->number,
                             .attempt = w->attempt,
                             .internal = w,
                             .code_numbers = m->code_numbers};
    return 0;
}

/* ------------------------------------------------------------------ the user's function */

/* A slice that killed a worker is called again task by task, with the same attempt. */
static unsigned most_calls(void)
{
    bool may_repeat = now.batch || now.timed;
    return may_repeat ? 1 + now.deaths + now.wakings : 1;
}

static void note_call(size_t task, int64_t date, uint32_t attempt)
{
    if (task >= now.tasks || date != task_dates[task]) {
        explorer_blame("a function is called for a task that is none");
        return;
    }
    if (attempt < 1 || attempt > (now.attempts ? now.attempts : 1))
        explorer_blame("task %zu is called in attempt %u", task, attempt);
    else if (++state.called[task][attempt] > most_calls())
        explorer_blame("task %zu is called twice in attempt %u", task, attempt);
    if (state.is_finished[task])
        explorer_blame("task %zu is called after it was finished", task);
    if (state.collected[task])
        explorer_blame("task %zu is called after its row was collected", task);
    if (state.unclaimed >> task & 1)
        explorer_blame("task %zu is called while the job has it to give out", task);
}

/* The run must not see a row between these two stores. */
static int compute(size_t task, double *factors)
{
    factors[0] = (double)(task + 1);
    explorer_pause(STEP_CALL);
    factors[1] = (double)(task + 1) * 16;
    return task + 1 == now.fails ? 5 : 0;
}

static int call_task(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    note_call(task->index, task->date, task->attempt);
    int outcome = compute(task->index, factors);
    return outcome ? facpool_task_fail(task, outcome, "bad luck") : 0;
}

static int call_slice(const facpool_slice *slice, double *factors, void *user)
{
    (void)user;
    for (size_t i = 0; i < slice->n; i++)
        note_call(slice->indexes[i], slice->dates[i], slice->attempt);
    for (size_t i = 0; i < slice->n; i++) {
        int outcome = compute(slice->indexes[i], factors + i * FACTORS);
        if (outcome)
            facpool_slice_fail(slice, i, outcome, "bad luck");
    }
    return 0;
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

static void forget_last_world(void)
{
    while (n_kept)
        free(kept[--n_kept]);
    if (segment)
        (void)munmap(segment, segment_bytes);
    segment = NULL;
    explorer_reset();
}

void world_make(const scenario *what)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    forget_last_world();
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
