/* A worker process: takes chunks of tasks from its seat's desks, calls the user's function for them
 * just as a thread would (call.c), and leaves rows and marks on the desk. It knows nothing of
 * backups or of other workers, and takes no lock that the run could wait for. */
#include <math.h>
#include <string.h>
#include "base/alloc.h"
#include "run/call.h"
#include "run/process_desk.h"

/* A chunk should take about so long: what is in it can't be taken back. */
#define CHUNK_TARGET_NS 100000
#define CHUNK_TASKS_MAX 1024

/* A slice, so long: calling a batch function costs its host much more than calling a task. */
#define SLICE_TARGET_NS 2000000

/* How often a worker looks at its memory. */
#define MEMORY_LOOK_NS 10000000

typedef struct process_worker {
    const fp_layout *layout;
    fp_board *board;
    fp_seat *seat;
    const facpool_serve_options *options;
    fp_desk_view views[FP_DESKS_A_SEAT];
    fp_desk_view *view; /* the one in hand */
    facpool_tasks tasks;
    facpool_job job; /* as much of one as calling needs */
    fp_worker worker;
    uint32_t chunk_size;
    uint64_t n_called;
    int64_t memory_looked_ns;
    bool is_leaving;
    bool has_failed; /* a task of the desk in hand */
} process_worker;

/* ------------------------------------------------------------------ handing marks over */

/* A message that is the same as the last one shares its text: a failing slice has one for all. */
static bool is_last_text(const fp_desk_view *v, uint32_t n_marks, const char *text, uint32_t length)
{
    if (!n_marks || v->marks[n_marks - 1].length != length)
        return false;
    return !memcmp(v->text + v->marks[n_marks - 1].text, text, length);
}

static void hand_over(process_worker *p, const fp_mark *mark)
{
    fp_desk_view *v = p->view;
    fp_worker *w = &p->worker;
    uint32_t n = atomic_load_explicit(&v->desk->n_marks, memory_order_relaxed);
    const char *text = fp_texts_at(&w->messages, mark->message);
    uint32_t room = FP_DESK_TEXT_BYTES - v->desk->text_bytes;
    size_t length = fp_utf8_cut(text, fp_texts_length(&w->messages, mark->message), room);
    fp_desk_mark *to = &v->marks[n];
    p->has_failed |= w->statuses[mark->slot] == FACPOOL_STATUS_FAILED;
    *to = (fp_desk_mark){.slot = (uint32_t)(w->first + mark->slot),
                         .status = w->statuses[mark->slot],
                         .code = mark->code,
                         .text = v->desk->text_bytes,
                         .length = (uint32_t)length};
    if (is_last_text(v, n, text, to->length)) {
        to->text = v->marks[n - 1].text;
    } else {
        memcpy(v->text + to->text, text, length);
        v->desk->text_bytes += to->length;
    }
    /* Pairs with the acquire of the run. */
    atomic_store_explicit(&v->desk->n_marks, n + 1, memory_order_release);
}

/* Called before slots show as finished. Where the next message may not fit, ends the chunk. */
static int publish(fp_worker *w, size_t first_slot, size_t n)
{
    process_worker *p = w->publisher;
    for (size_t i = 0; i < w->n_marks; i++)
        if (w->marks[i].slot - first_slot < n)
            hand_over(p, &w->marks[i]);
    w->n_marks = 0;
    w->mark_hint = 0;
    fp_texts_clear(&w->messages);
    if (FP_DESK_TEXT_BYTES - p->view->desk->text_bytes < FP_MESSAGE_MAX_BYTES)
        atomic_store_explicit(&p->job.signal, FP_SIGNAL_STOP, memory_order_relaxed);
    return 0;
}

/* ------------------------------------------------------------------ a desk */

static bool ends_early(const process_worker *p)
{
    return p->is_leaving || atomic_load_explicit(&p->job.signal, memory_order_relaxed) ||
           atomic_load_explicit(&p->seat->stop.set, memory_order_relaxed);
}

/* How many to claim: so many as should take the right time; one where an earlier worker died. */
static uint32_t wanted_tasks(const process_worker *p)
{
    const fp_board *board = p->board;
    const fp_desk *desk = p->view->desk;
    if (board->group_by != FACPOOL_GROUP_NONE && board->is_batch)
        return (uint32_t)board->capacity;
    uint32_t begun = fp_claim_begun(atomic_load(&desk->claim));
    if (desk->attempt > 1 || begun < desk->single_end)
        return 1;
    uint64_t left = board->tasks_per_worker ? board->tasks_per_worker - p->n_called : UINT64_MAX;
    return left < p->chunk_size ? (uint32_t)left : p->chunk_size;
}

/* The next chunk of the desk; false: there is none left. */
static bool claim_chunk(process_worker *p, uint32_t *first, uint32_t *n)
{
    fp_desk *desk = p->view->desk;
    uint32_t wanted = wanted_tasks(p);
    uint64_t before = atomic_fetch_add(&desk->claim, wanted);
    uint32_t limit = fp_claim_limit(before);
    *first = (uint32_t)before;
    if (*first >= limit)
        return false;
    *n = limit - *first < wanted ? limit - *first : wanted;
    return true;
}

/* Slots from `first_left` on were claimed, but not begun. */
static void unclaim(fp_desk *desk, uint32_t first_left)
{
    uint64_t word = atomic_load(&desk->claim);
    while (!atomic_compare_exchange_weak(&desk->claim, &word,
                                         fp_claim_word(first_left, fp_claim_limit(word))))
        ;
}

static void take_in_hand(process_worker *p, uint32_t first, uint32_t n)
{
    fp_worker *w = &p->worker;
    fp_desk_view *v = p->view;
    size_t n_factors = (size_t)p->board->n_factors;
    w->first = first;
    w->end = first + n;
    w->n = n;
    w->factors = v->factors + first * n_factors;
    w->statuses = v->statuses + first;
    w->first_attempt = v->desk->attempt;
    w->n_marks = 0;
    w->mark_hint = 0;
    fp_texts_clear(&w->messages);
    memset(w->statuses, FACPOOL_STATUS_OK, n);
    for (size_t i = 0; i < n * n_factors; i++)
        w->factors[i] = NAN;
    atomic_store_explicit(&v->desk->attempt_shown, w->first_attempt, memory_order_relaxed);
    /* In this order, see fp_desk_finished: one who dies in between takes nothing finished along. */
    atomic_store_explicit(&v->desk->chunk_first, first | FP_CHUNK_IS_FRESH, memory_order_release);
    atomic_store_explicit(&v->desk->chunk_finished, 0, memory_order_release);
    atomic_store_explicit(&v->desk->chunk_first, first, memory_order_release);
}

static void adapt_chunk(process_worker *p, size_t n, int64_t took_ns)
{
    int64_t target = p->board->is_batch ? SLICE_TARGET_NS : CHUNK_TARGET_NS;
    size_t most = p->board->is_batch ? FP_SLICE_TASKS_MAX : CHUNK_TASKS_MAX;
    int64_t fits = took_ns > 0 ? (int64_t)n * target / took_ns : (int64_t)most;
    if (n * 8 < most)
        most = n * 8;
    p->chunk_size = fits < 1 ? 1 : (size_t)fits > most ? (uint32_t)most : (uint32_t)fits;
}

/* Whether this worker is to be replaced by a fresh one. */
static bool is_worn_out(process_worker *p, int64_t now_ns)
{
    const fp_board *board = p->board;
    if (board->tasks_per_worker && p->n_called >= board->tasks_per_worker)
        return true;
    if (!board->memory_limit_bytes || now_ns - p->memory_looked_ns < MEMORY_LOOK_NS)
        return false;
    p->memory_looked_ns = now_ns;
    return fp_resident_bytes() > board->memory_limit_bytes;
}

static void call_chunk(process_worker *p, uint32_t first, uint32_t n, int64_t *now_ns)
{
    fp_desk *desk = p->view->desk;
    size_t n_finished = 0;
    int64_t began_ns = *now_ns;
    take_in_hand(p, first, n);
    /* What can't be kept for lack of memory ends the worker: the run then knows what it was at. */
    if (fp_call_chunk(&p->job, &p->worker, &n_finished))
        fp_leave_process(1);
    desk->attempt = 1;
    if (n_finished < n)
        unclaim(desk, first + (uint32_t)n_finished);
    *now_ns = fp_clock_ns();
    int64_t took_ns = *now_ns - began_ns;
    atomic_fetch_add_explicit(&desk->compute_ns, took_ns, memory_order_relaxed);
    if (n_finished)
        adapt_chunk(p, n_finished, took_ns);
    p->n_called += n_finished;
    p->is_leaving = is_worn_out(p, *now_ns);
}

/* Where one failure is to end the run: begins nothing more before the run has seen it. */
static void wait_for_judgement(process_worker *p, const fp_desk *desk)
{
    fp_seat *seat = p->seat;
    for (;;) {
        uint32_t seen = atomic_load(&seat->bell);
        if (atomic_load_explicit(&desk->state, memory_order_acquire) != FP_DESK_DONE ||
            atomic_load(&p->board->is_over))
            return;
        atomic_store(&seat->is_asleep, 1);
        fp_word_wait(&seat->bell, seen, -1);
        atomic_store(&seat->is_asleep, 0);
    }
}

static void work_at(process_worker *p, fp_desk_view *view)
{
    uint32_t first, n;
    int64_t now_ns = fp_clock_ns();
    fp_worker *w = &p->worker;
    p->view = view;
    p->has_failed = false;
    p->tasks.dates = view->dates;
    p->tasks.code_ids = view->code_ids;
    w->desk_indexes = view->indexes;
    w->attempt_shown = &view->desk->attempt_shown;
    w->finished = &view->desk->chunk_finished;
    atomic_store_explicit(&p->job.signal, 0, memory_order_relaxed);
    while (!ends_early(p) && claim_chunk(p, &first, &n)) {
        call_chunk(p, first, n, &now_ns);
        if (p->has_failed && p->job.config.run.on_error == FACPOOL_ON_ERROR_STOP)
            break;
    }
    /* Release: the run sees all of the above. */
    atomic_store_explicit(&view->desk->state, FP_DESK_DONE, memory_order_release);
    fp_bell_ring(&p->board->bell, &p->board->is_asleep);
    if (p->has_failed && p->board->on_error == FACPOOL_ON_ERROR_STOP)
        wait_for_judgement(p, view->desk);
}

/* ------------------------------------------------------------------ a life */

static fp_desk_view *ready_desk(process_worker *p)
{
    fp_desk_view *found = NULL;
    for (int i = 0; i < FP_DESKS_A_SEAT; i++) {
        fp_desk_view *v = &p->views[i];
        if (atomic_load_explicit(&v->desk->state, memory_order_acquire) != FP_DESK_READY)
            continue;
        if (!found || (int32_t)(v->desk->sequence - found->desk->sequence) < 0)
            found = v;
    }
    if (found)
        atomic_store_explicit(&found->desk->state, FP_DESK_BUSY, memory_order_release);
    return found;
}

/* Waits for a desk; NULL: the run is over. */
static fp_desk_view *next_desk(process_worker *p)
{
    fp_seat *seat = p->seat;
    for (;;) {
        uint32_t seen = atomic_load(&seat->bell);
        if (atomic_load(&p->board->is_over))
            return NULL;
        fp_desk_view *found = ready_desk(p);
        if (found)
            return found;
        atomic_store(&seat->is_asleep, 1);
        fp_word_wait(&seat->bell, seen, -1);
        atomic_store(&seat->is_asleep, 0);
    }
}

static void sit_down(process_worker *p, uint32_t number)
{
    fp_board *board = p->board;
    facpool_run_options *run = &p->job.config.run;
    run->fn = board->is_batch ? NULL : p->options->fn;
    run->batch_fn = board->is_batch ? p->options->batch_fn : NULL;
    run->user = p->options->user;
    run->n_factors = (size_t)board->n_factors;
    run->attempts = board->attempts;
    /* A group is one desk: its tasks go in chunks like others, but none of them ends it. */
    bool is_group = board->group_by != FACPOOL_GROUP_NONE;
    run->on_error = is_group ? FACPOOL_ON_ERROR_CONTINUE : board->on_error;
    p->job.plan.group_by = board->is_batch ? board->group_by : FACPOOL_GROUP_NONE;
    p->job.plan.count = (size_t)board->capacity;
    p->job.plan.keys.tasks = &p->tasks;
    p->job.tasks = &p->tasks;
    p->job.cancel = &p->seat->stop;
    p->tasks.count = (size_t)board->capacity;
    p->tasks.codes.texts = (fp_texts){
        .n = board->n_codes, .offsets = p->layout->code_offsets, .bytes = p->layout->code_bytes};
    fp_worker_init(&p->worker, &p->job, number);
    p->worker.is_borrowed = true;
    p->worker.whole = true;
    p->worker.publish = publish;
    p->worker.publisher = p;
    p->chunk_size = 1;
    for (uint32_t i = 0; i < FP_DESKS_A_SEAT; i++)
        fp_desk_view_init(&p->views[i], p->layout, number * FP_DESKS_A_SEAT + i);
}

void fp_process_worker(const fp_layout *layout, uint32_t number,
                       const facpool_serve_options *options)
{
    void *memory = fp_alloc_zero(NULL, 1, sizeof(process_worker) + 64);
    if (!memory)
        fp_leave_process(1);
    process_worker *p = (process_worker *)(((uintptr_t)memory + 63) / 64 * 64);
    p->layout = layout;
    p->board = layout->board;
    p->seat = &layout->seats[number];
    p->options = options;
    sit_down(p, number);
    if (p->seat->cpu >= 0)
        (void)fp_thread_pin(p->seat->cpu, NULL); /* the run has checked it */
    int code =
        options->worker_init ? options->worker_init(number, &p->worker.state, options->user) : 0;
    p->seat->init_code = code;
    atomic_store(&p->seat->has_entered, !code);
    fp_desk_view *view;
    while (!code && !p->is_leaving && (view = next_desk(p)))
        work_at(p, view);
    atomic_store(&p->seat->is_leaving, 1);
    if (!code && options->worker_exit)
        options->worker_exit(number, p->worker.state, options->user);
    p->worker.statuses = NULL; /* of the desk */
    fp_worker_free(&p->worker);
    fp_free(NULL, memory);
}
