/* The helper of a process run: a process with one thread, which forks the workers, tells the run
 * how they end, and sees to it that none is left when the run's process is gone. It calls no
 * function of the user's but the language hooks. */
#include <stdio.h>
#include <string.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "run/process_desk.h"

typedef struct helper {
    int end;
    const facpool_serve_options *options;
    fp_segment segment;
    fp_layout layout;
    fp_watch watch;
    _Atomic bool is_over; /* no_fork: the worker has ended by itself */
    uint32_t n_seats;     /* as at first: the board is open to mistakes of workers */
    int64_t *pids;        /* of each seat's worker; 0: none */
    bool has_failed;      /* to start one: the run knows: one letter is enough to end it */
} helper;

/* ------------------------------------------------------------------ greeting */

static void answer(const helper *h, fp_letter_kind kind, uint32_t seat, int code, const char *text)
{
    fp_letter letter = {.magic = FP_HELPER_MAGIC,
                        .version = fp_helper_version(),
                        .kind = (uint32_t)kind,
                        .seat = seat,
                        .code = code,
                        .pid = fp_process_id()};
    snprintf(letter.text, sizeof letter.text, "%s", text);
    /* Where the run is gone, the next letter says so. */
    (void)fp_channel_send(h->end, &letter, sizeof letter, -1, NULL);
}

static bool is_letter(const fp_letter *letter, int n)
{
    return n == (int)sizeof *letter && letter->magic == FP_HELPER_MAGIC;
}

static int check_hello(const fp_letter *hello, int n, int fd, facpool_error *err)
{
    if (n < 0)
        return n;
    if (n == 0)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the run was over before this process served it, or the descriptor is not "
                       "the one that `start` was given");
    if (!is_letter(hello, n) || hello->kind != FP_LETTER_HELLO || fd < 0)
        return fp_fail(
            err, FACPOOL_E_INVALID,
            "what came is no run's greeting: pass the descriptor that `start` was given");
    if (hello->version != fp_helper_version())
        return fp_fail(err, FACPOOL_E_MISMATCH,
                       "the run has version %u of the library, this process has %u (major, minor "
                       "and patch as three digits each): use the same in both",
                       hello->version, fp_helper_version());
    return 0;
}

static int check_board(const helper *h, uint32_t seat, facpool_error *err)
{
    const fp_board *board = h->layout.board;
    const facpool_serve_options *o = h->options;
    if (board->bytes != h->segment.bytes || fp_layout_bytes(board) != board->bytes)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the run's shared memory is not laid out as it says");
    if (board->is_batch ? !o->batch_fn : !o->fn)
        return fp_fail(err, FACPOOL_E_MISMATCH,
                       "the run calls %s, and this process serves %s: give both the same kind",
                       board->is_batch ? "batch_fn" : "fn", board->is_batch ? "fn" : "batch_fn");
    if (!board->one_worker_each != !o->no_fork || seat >= board->n_seats)
        return fp_fail(err, FACPOOL_E_MISMATCH,
                       "the run wants a %s: set one_worker_each there and no_fork here, or neither",
                       board->one_worker_each ? "worker" : "helper that forks workers");
    return 0;
}

/* Takes the run's greeting and what it shares. */
static int greet(helper *h, int64_t *run_pid, uint32_t *seat, facpool_error *err)
{
    fp_letter hello = {0};
    int fd = -1;
    int n = fp_channel_receive(h->end, &hello, sizeof hello, &fd, true, err);
    int rc = check_hello(&hello, n, fd, err);
    if (!rc)
        rc = hello.bytes < sizeof(fp_board)
                 ? fp_fail(err, FACPOOL_E_INVALID, "the run shares no board")
                 : fp_segment_attach(&h->segment, fd, (size_t)hello.bytes, err);
    if (rc) {
        fp_channel_close(fd);
        return rc;
    }
    *run_pid = hello.pid;
    *seat = hello.seat;
    fp_layout_init(&h->layout, h->segment.memory);
    h->n_seats = h->layout.board->n_seats;
    return check_board(h, hello.seat, err);
}

/* ------------------------------------------------------------------ workers */

static void call_hook(void (*hook)(void *), const facpool_serve_options *options)
{
    if (hook)
        hook(options->hooks_user);
}

/* In the worker's process. */
static _Noreturn void be_worker(helper *h, uint32_t seat, int64_t helper_pid)
{
    fp_channel_close(h->end);
    fp_watch_close(&h->watch);
    fp_channel_close(h->segment.fd); /* the memory stays mapped */
    fp_signals_reset();
    if (!fp_die_with_parent(helper_pid))
        fp_leave_process(1);
    call_hook(h->options->after_fork_child, h->options);
    fp_process_worker(&h->layout, seat, h->options);
    fp_flush_streams();
    fp_leave_process(0);
}

/* For the run: the seat's worker has ended. */
static void tell_ending(helper *h, uint32_t seat)
{
    fp_board *board = h->layout.board;
    /* Pairs with the run's acquire: it sees how the worker ended, and all that it wrote. */
    atomic_fetch_add_explicit(&h->layout.seats[seat].n_endings, 1, memory_order_release);
    fp_bell_ring(&board->bell, &board->is_asleep);
}

/* One letter ends the run; a worker that is not there has ended, for whoever waits for it. */
static void tell_failure(helper *h, uint32_t seat, const facpool_error *error)
{
    if (!h->has_failed)
        answer(h, FP_LETTER_FAILED, seat, error->code, error->message);
    h->has_failed = true;
    h->layout.seats[seat].ending = (fp_ending){0};
    tell_ending(h, seat);
}

static void start_worker(helper *h, uint32_t seat)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    int64_t own_pid = fp_process_id();
    fp_flush_streams(); /* hooks may have printed */
    call_hook(h->options->before_fork, h->options);
    int64_t pid = fp_fork(&error);
    if (pid == 0)
        be_worker(h, seat, own_pid);
    call_hook(h->options->after_fork_parent, h->options);
    if (pid < 0) {
        tell_failure(h, seat, &error);
        return;
    }
    h->pids[seat] = pid;
    atomic_store(&h->layout.seats[seat].pid, pid);
}

static void obey(helper *h, const fp_letter *letter)
{
    if (letter->seat >= h->n_seats)
        return;
    fp_seat *seat = &h->layout.seats[letter->seat];
    int64_t pid = h->pids[letter->seat];
    if (letter->kind == FP_LETTER_START && !pid)
        start_worker(h, letter->seat);
    else if (letter->kind == FP_LETTER_KILL && letter->n_endings == atomic_load(&seat->n_endings))
        fp_child_kill(pid);
}

static void note_endings(helper *h)
{
    for (uint32_t i = 0; i < h->n_seats; i++) {
        fp_seat *seat = &h->layout.seats[i];
        if (!h->pids[i] || !fp_child_ended(h->pids[i], false, &seat->ending))
            continue;
        h->pids[i] = 0;
        tell_ending(h, i);
    }
}

/* Reads what has come; false: the run is over. */
static bool read_letters(helper *h)
{
    for (;;) {
        fp_letter letter;
        int n = fp_channel_receive(h->end, &letter, sizeof letter, NULL, false, NULL);
        if (n == FP_CHANNEL_EMPTY)
            return true;
        if (!is_letter(&letter, n))
            return false;
        obey(h, &letter);
    }
}

static void end_workers(helper *h)
{
    for (uint32_t i = 0; i < h->n_seats; i++)
        fp_child_kill(h->pids[i]);
    for (uint32_t i = 0; i < h->n_seats; i++)
        if (h->pids[i])
            (void)fp_child_ended(h->pids[i], true, &h->layout.seats[i].ending);
}

/* ------------------------------------------------------------------ a life */

static int serve(helper *h, int64_t run_pid, facpool_error *err)
{
    h->pids = fp_alloc_zero(NULL, h->n_seats, sizeof *h->pids);
    if (!h->pids)
        return fp_fail_nomem(err, h->n_seats * sizeof *h->pids);
    fp_signals_reset();
    fp_leave_terminal();
    int rc = fp_watch_open(&h->watch, h->end, run_pid, true, err);
    if (!rc) {
        answer(h, FP_LETTER_SERVING, 0, 0, "");
        bool is_gone = false;
        do {
            fp_watch_wait(&h->watch, &is_gone);
            note_endings(h);
        } while (!is_gone && read_letters(h));
        end_workers(h);
        fp_watch_close(&h->watch);
    }
    fp_free(NULL, h->pids);
    return rc;
}

/* ------------------------------------------------------------------ a worker of the host's own */

/* Ends the process as soon as the run's is gone: its thread may be in a task for hours. */
static void *watch_run(void *arg)
{
    helper *h = arg;
    fp_letter letter;
    bool is_gone = false;
    int n = FP_CHANNEL_EMPTY;
    while (!is_gone && n > 0) {
        fp_watch_wait(&h->watch, &is_gone);
        do
            n = fp_channel_receive(h->end, &letter, sizeof letter, NULL, false, NULL);
        while (n > 0 && n != FP_CHANNEL_EMPTY);
    }
    if (!atomic_load(&h->is_over))
        fp_leave_process(1);
    return NULL;
}

static int work_alone(helper *h, int64_t run_pid, uint32_t seat, facpool_error *err)
{
    fp_thread watcher = {0};
    fp_ignore_interrupts(); /* other signals are the business of the host's runtime */
    int rc = fp_watch_open(&h->watch, h->end, run_pid, false, err);
    if (!rc)
        rc = fp_thread_start(&watcher, watch_run, h, err);
    if (rc) {
        fp_watch_close(&h->watch);
        return rc;
    }
    answer(h, FP_LETTER_SERVING, seat, 0, "");
    fp_process_worker(&h->layout, seat, h->options);
    fp_flush_streams();
    atomic_store(&h->is_over, true);
    fp_channel_shut(h->end); /* wakes the watcher */
    fp_thread_join(&watcher);
    fp_watch_close(&h->watch);
    return 0;
}

int fp_helper_serve(int end, const facpool_serve_options *options, facpool_error *err)
{
    end = fp_descriptor_aside(end);
    helper h = {.end = end, .options = options, .watch = {.children = -1, .watched_fd = -1}};
    facpool_error error = FACPOOL_ERROR_INIT;
    int64_t run_pid = 0;
    uint32_t seat = 0;
    int rc = greet(&h, &run_pid, &seat, &error);
    if (!rc)
        rc = options->no_fork ? work_alone(&h, run_pid, seat, &error) : serve(&h, run_pid, &error);
    if (rc) {
        answer(&h, FP_LETTER_REFUSED, 0, rc, error.message);
        fp_error_copy(err, &error);
    }
    fp_segment_close(&h.segment);
    fp_channel_close(h.end);
    return rc;
}

int facpool_serve(int fd, const facpool_serve_options *options, facpool_error *err)
{
    facpool_serve_options own;
    int rc = fp_abi_import(&own, sizeof own, options, "facpool_serve_options", err);
    if (!rc && !own.fn == !own.batch_fn)
        rc = fp_fail(err, FACPOOL_E_INVALID, "%s of fn and batch_fn is given: give one",
                     own.fn ? "each" : "none");
    if (!rc)
        return fp_helper_serve(fd, &own, err);
    fp_channel_close(fd);
    return rc;
}
