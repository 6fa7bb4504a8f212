/* libfacpool: run a function of (date, code) over millions of pairs on every core, keep every
 * finished row in a backup file while it runs, resume after a crash, and ask questions of the rows.
 *
 * This header is all a user calls. Conventions that hold for every declaration:
 *
 * - Functions return int: 0 (or a count, where said) on success, else a negative FACPOOL_E_* code
 *   whose value never changes. The last argument is a caller-owned facpool_error, or NULL.
 * - Outputs are untouched on failure, except that a run that ends early (cancelled, stopped by a
 *   task, write error) still gives its result.
 * - Handles are opaque; facpool_x_free() takes NULL.
 * - Structs start with their size: initialise them with FACPOOL_X_INIT. Zero in any other field
 *   means "default" or "not given". A shorter struct of an older caller works; a longer one of a
 *   newer caller works while its unknown tail is zero, else FACPOOL_E_ABI.
 * - Option structs and what they point to need live only for the duration of the call they are
 *   given to, where nothing else is said.
 * - The library has no global settings, installs no signal handler, and never prints, exits or
 *   aborts. Threads it starts block all signals.
 * - Unless said otherwise a handle may be used by one thread at a time, different handles by
 *   different threads at once.
 * - Everything here is there since 0.1, where nothing else is said. Besides the errors listed with
 *   a call: INVALID for an argument that makes no sense, ABI for a struct whose size is not known,
 *   NOMEM.
 * - Codes, names, tags, paths and messages that come out are UTF-8 as they went in (paths: bytes as
 *   the system takes them).
 *
 * fork: a child may open its own handles; it must not use or free those of its parent, and must
 * not outlive the parent's use of an open backup it inherited (it would keep the file's lock). */
/* Initialisers and tables of comments are laid out by hand here. */
/* clang-format off */
#ifndef FACPOOL_FACPOOL_H
#define FACPOOL_FACPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "version.h"

#if defined(FACPOOL_BUILDING) && defined(__GNUC__)
#define FACPOOL_API __attribute__((visibility("default")))
#else
#define FACPOOL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ version and errors */

/* The version of the library in use, as "major.minor.patch". Static text. */
FACPOOL_API const char *facpool_version(void);

/* Error codes. Values are frozen. */
#define FACPOOL_E_INVALID     (-1)  /* a wrong argument */
#define FACPOOL_E_NOMEM       (-2)  /* out of memory */
#define FACPOOL_E_ABI         (-3)  /* a struct from a header that this library does not know */
#define FACPOOL_E_IO          (-4)  /* a read, write or sync failed: see os_errno */
#define FACPOOL_E_EXISTS      (-5)  /* a backup, or an ok row for this key, is there already */
#define FACPOOL_E_MISMATCH    (-6)  /* the backup holds other factors, or another tag */
#define FACPOOL_E_BUSY        (-7)  /* another writer has the backup open */
#define FACPOOL_E_UNSUPPORTED (-8)  /* this build, file system or file version can't do that */
#define FACPOOL_E_CORRUPT     (-9)  /* stored bytes fail their checks */
#define FACPOOL_E_NOT_FOUND   (-10) /* no such file, factor or row */
#define FACPOOL_E_DUPLICATE   (-11) /* a key occurs twice in a task set */
#define FACPOOL_E_CANCELLED   (-12) /* the run was cancelled */
#define FACPOOL_E_TASK        (-13) /* failing tasks stopped the run */
#define FACPOOL_E_FORKED      (-14) /* OpenMP in a forked child of a process that used it */
#define FACPOOL_E_SYSTEM      (-15) /* a thread, lock or other system object could not be had */
#define FACPOOL_E_STATE       (-16) /* the call does not fit what the handle is doing */
#define FACPOOL_E_WORKER      (-17) /* worker processes can't be started, or die before they work */

/* What went wrong, filled on failure. Owned by the caller. `date` and `task_code` name the task
 * concerned where `has_task` is nonzero. `message` names the offending value and the remedy. */
typedef struct facpool_error {
    size_t size;
    int32_t code;
    int32_t os_errno; /* errno of the failing system call, or 0 */
    int32_t has_task;
    int32_t reserved;
    int64_t date;
    char task_code[256];
    char message[1024];
} facpool_error;

#define FACPOOL_ERROR_INIT {sizeof(facpool_error), 0, 0, 0, 0, 0, {0}, {0}}

/* "FACPOOL_E_BUSY" for a code of the list above, "ok" for 0, "unknown error" for any other. Static
 * text. */
FACPOOL_API const char *facpool_error_name(int code);

/* Memory functions for a run. All three or none; each as its C namesake, plus the context.
 * Called from any thread at once. */
typedef struct facpool_allocator {
    size_t size;
    void *(*alloc)(void *ctx, size_t bytes);
    void *(*realloc)(void *ctx, void *memory, size_t bytes);
    void (*free)(void *ctx, void *memory);
    void *ctx;
} facpool_allocator;

#define FACPOOL_ALLOCATOR_INIT {sizeof(facpool_allocator), NULL, NULL, NULL, NULL}

/* ------------------------------------------------------------------ task sets */

/* An ordered set of (date, code) tasks: a list, or a date x code grid that is never materialised.
 * Dates are any int64, usually yyyymmdd. Codes are valid UTF-8 of 1 to 255 bytes without NUL, text
 * for ever. Runs take lists of up to 2^32 - 2 tasks; a grid holds up to 2^40.
 * Thread-safety: reading one task set from several runs at once is fine. While a run or a result
 * uses it, adding is refused with FACPOOL_E_STATE. */
typedef struct facpool_tasks facpool_tasks;

/* An empty list, to be freed with facpool_tasks_free. Errors: NOMEM. */
FACPOOL_API int facpool_tasks_new(facpool_tasks **out, facpool_error *err);

/* Appends one task; the code is copied (once per distinct code). Whether the key is there already
 * is found when a run starts. Errors: INVALID (bad code, or `tasks` is a grid), STATE, NOMEM. */
FACPOOL_API int facpool_tasks_add(facpool_tasks *tasks, int64_t date, const char *code,
                                  facpool_error *err);

/* Appends n tasks, all or none: (dates[i], codes[i]), both arrays n long and copied. Errors: as
 * facpool_tasks_add; the message says which row. */
FACPOOL_API int facpool_tasks_add_columns(facpool_tasks *tasks, size_t n, const int64_t *dates,
                                          const char *const *codes, facpool_error *err);

/* Every date with every code, in date-major order: task i is (dates[i / n_codes],
 * codes[i % n_codes]). Both arrays are copied: O(n_dates + n_codes) memory. A date or code that
 * occurs twice is found when a run starts. Errors: INVALID (a bad code, or more than 2^40 tasks),
 * NOMEM. */
FACPOOL_API int facpool_tasks_grid(facpool_tasks **out, const int64_t *dates, size_t n_dates,
                                   const char *const *codes, size_t n_codes, facpool_error *err);

/* A list from an Arrow stream (struct of the C stream interface: <facpool/arrow.h>) whose batches
 * have the columns `date` and `code`, or whose first two columns are these. Dates: int32, int64 as
 * they are; date32, date64 and timestamps (of any unit and zone) as yyyymmdd of their calendar day,
 * a timestamp with a zone by UTC. Codes: utf8, large utf8, utf8 view, or a dictionary of one of
 * these. Nulls are refused. The stream is read to its end and released, also on failure. Errors:
 * INVALID (a column is missing, of another type, or holds a null or a bad code: the message says
 * which row), IO (the stream failed: its own message), NOMEM. */
struct ArrowArrayStream;
FACPOOL_API int facpool_tasks_from_arrow(facpool_tasks **out, struct ArrowArrayStream *stream,
                                         facpool_error *err);

/* How many tasks are in the set, and how many distinct codes they have. */
FACPOOL_API size_t facpool_tasks_count(const facpool_tasks *tasks);
FACPOOL_API size_t facpool_tasks_n_codes(const facpool_tasks *tasks);

/* Task `index`: its date, and its code (owned by the task set, until it is freed or added to).
 * Errors: INVALID (no such index). */
FACPOOL_API int facpool_tasks_get(const facpool_tasks *tasks, size_t index, int64_t *date,
                                  const char **code, facpool_error *err);

/* Drops the caller's handle; runs and results that still use the set keep it alive. */
FACPOOL_API void facpool_tasks_free(facpool_tasks *tasks);

/* ------------------------------------------------------------------ callbacks */

/* How a task ended. 0 is "not run (yet)". */
#define FACPOOL_STATUS_NONE    0
#define FACPOOL_STATUS_OK      1
#define FACPOOL_STATUS_SKIPPED 2 /* the callback says there is nothing here: final, no failure */
#define FACPOOL_STATUS_FAILED  3
#define FACPOOL_STATUS_TIMEOUT 4
#define FACPOOL_STATUS_CRASHED 5

/* "ok", "skipped", "failed", "timeout", "crashed", or "none". Static text. */
FACPOOL_API const char *facpool_status_name(int status);

/* A callback's "nothing here" return value. */
#define FACPOOL_SKIP (-2147483647)

/* One task, as a callback sees it. Valid during the call. */
typedef struct facpool_task {
    size_t size;
    int64_t date;
    const char *code;     /* NUL-terminated */
    size_t index;         /* in task-set order */
    uint32_t worker;      /* 0 .. workers-1 */
    uint32_t attempt;     /* 1 for the first */
    void *worker_state;   /* what worker_init returned */
    void *internal;       /* the library's */
    uint32_t code_number; /* of this code: 0 .. facpool_tasks_n_codes() - 1, the same all through
                             a run, so that what belongs to a code can be kept in an array */
    uint32_t reserved;
} facpool_task;

/* Several tasks handed to one call. Arrays have n entries. Valid during the call, or until the
 * slice is completed. With group_by a slice is one whole group. */
typedef struct facpool_slice {
    size_t size;
    size_t n;
    const int64_t *dates;
    const char *const *codes;
    const size_t *indexes;
    uint32_t worker;
    uint32_t attempt;
    void *worker_state;
    void *internal;
    const uint32_t *code_numbers; /* as in facpool_task */
} facpool_slice;

/* Zero for slices that facpool_job_take is to fill. */
#define FACPOOL_SLICE_INIT {sizeof(facpool_slice), 0, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL}

/* The user's function. Returns 0 (ok), FACPOOL_SKIP, or anything else: this task's failure code.
 * `factors` has room for n_factors doubles and arrives filled with NaN. Must not throw, longjmp, or
 * call back into the run it serves. Runs on worker threads, several at once. */
typedef int (*facpool_task_fn)(const facpool_task *task, double *factors, void *user);

/* The same for a slice: factors are slice->n rows of n_factors, row-major. Single tasks are marked
 * by facpool_slice_fail and facpool_slice_skip. A nonzero return fails (or skips) the whole slice;
 * a failed slice of several tasks is then run again task by task, so that one bad task costs one
 * row (with group_by it fails whole). Without group_by the outcome must not depend on the slicing.
 */
typedef int (*facpool_batch_fn)(const facpool_slice *slice, double *factors, void *user);

/* Keeps a message (the first 16 KiB; NULL: none; bytes that are no UTF-8 become '?') for this
 * task's failure and returns `code`, so that a callback can
 * `return facpool_task_fail(task, 7, "no bars")`. Code 0 or FACPOOL_SKIP counts as 1. Called by the
 * callback that the task was given to, on its thread; as the next two. */
FACPOOL_API int facpool_task_fail(const facpool_task *task, int code, const char *message);

/* Marks task i of the slice failed, with a message or NULL. Returns `code`. */
FACPOOL_API int facpool_slice_fail(const facpool_slice *slice, size_t i, int code,
                                   const char *message);

/* Marks task i of the slice skipped. Returns 0. */
FACPOOL_API int facpool_slice_skip(const facpool_slice *slice, size_t i);

/* Called once on each worker's thread before its first and after its last task, with user as the
 * callback gets it. *state is passed on in worker_state. Nonzero from worker_init ends the run with
 * FACPOOL_E_TASK; worker_exit is called for those workers whose worker_init returned 0. */
typedef int (*facpool_worker_init_fn)(uint32_t worker, void **state, void *user);
typedef void (*facpool_worker_exit_fn)(uint32_t worker, void *state, void *user);

/* ------------------------------------------------------------------ progress, cancel, log */

/* How far a run is. Counts are of tasks, times in seconds. */
typedef struct facpool_progress {
    size_t size;
    uint64_t total;        /* tasks in the set */
    uint64_t done;         /* resumed + ok + skipped + failed */
    uint64_t resumed;      /* done before this run */
    uint64_t ok;           /* of this run, as the next two */
    uint64_t skipped;
    uint64_t failed;       /* failed, timeout or crashed */
    uint64_t rows_written; /* of this run, handed to the file: safe from the end of this process. If a
                              sync fails, those that are not durable by then are given up */
    uint64_t rows_durable; /* of this run, safe from power loss */
    double elapsed_s;
    double rate;           /* tasks a second, resumed ones left out */
    double eta_s;          /* seconds to go; negative: not known yet */
} facpool_progress;

#define FACPOOL_PROGRESS_INIT {sizeof(facpool_progress), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* Called on the thread that waits in facpool_run, _poll or _wait, at most once an interval and once
 * at the end. *progress is valid during the call. Nonzero cancels the run. */
typedef int (*facpool_progress_fn)(const facpool_progress *progress, void *user);

/* A ready-made display: pass the console as progress_user and facpool_console_progress as
 * progress. On a terminal one live line; else a line every 10 seconds and a last one. The stream
 * stays the caller's and must outlive the console. Thread-safety: one run at a time, others after
 * it. Errors of facpool_console_new: INVALID (no stream), NOMEM. facpool_console_progress returns 0
 * always; output that fails is no failure of the run. */
typedef struct facpool_console facpool_console;
FACPOOL_API int facpool_console_new(facpool_console **out, FILE *stream, facpool_error *err);
FACPOOL_API int facpool_console_progress(const facpool_progress *progress, void *console);
FACPOOL_API void facpool_console_free(facpool_console *console);

/* A cancel token. facpool_cancel_set may be called from any thread and from a signal handler; the
 * runs that were given the token end after the tasks, slices or groups in hand. A token stays set;
 * one that is set before a run starts ends that run at once. facpool_cancel_is_set returns 1 or 0,
 * from any thread. Free it when no run uses it any more. Errors of facpool_cancel_new: NOMEM. */
typedef struct facpool_cancel facpool_cancel;
FACPOOL_API int facpool_cancel_new(facpool_cancel **out, facpool_error *err);
FACPOOL_API void facpool_cancel_set(facpool_cancel *cancel);
FACPOOL_API int facpool_cancel_is_set(const facpool_cancel *cancel);
FACPOOL_API void facpool_cancel_free(facpool_cancel *cancel);

/* Notes on what the library did on its own (tail cut off, damage found, rows run again): called on
 * the thread that opens, waits for or finishes the run. `message` is valid during the call. */
typedef void (*facpool_log_fn)(const char *message, void *user);

/* ------------------------------------------------------------------ run */

#define FACPOOL_EXECUTOR_OMP     1 /* default where built with OpenMP */
#define FACPOOL_EXECUTOR_PROCESS 2 /* worker processes: see facpool_process_options. Linux */
#define FACPOOL_EXECUTOR_SERIAL  3 /* the calling thread itself */

#define FACPOOL_GROUP_NONE 1 /* default */
#define FACPOOL_GROUP_DATE 2
#define FACPOOL_GROUP_CODE 3

#define FACPOOL_ON_ERROR_CONTINUE 1 /* default: a failed task costs its row */
#define FACPOOL_ON_ERROR_STOP     2 /* the first failed task ends the run, as cancelling would */

/* What becomes of the rows. Default: in memory without a backup, read from the backup on demand
 * with one (which must then stay in its place while the result is used). */
#define FACPOOL_RESULTS_KEEP 1
#define FACPOOL_RESULTS_DROP 2

#define FACPOOL_MODE_CREATE    1 /* default: the file must not exist */
#define FACPOOL_MODE_RESUME    2 /* create or continue; what is damaged: see facpool_report */
#define FACPOOL_MODE_OVERWRITE 3 /* replace what is there, atomically, once nothing keeps the run from
                                    beginning */

#define FACPOOL_DURABILITY_GROUP 1 /* default: a sync every 100 ms or 64 MiB */
#define FACPOOL_DURABILITY_NONE  2
#define FACPOOL_DURABILITY_BATCH 3 /* a sync after every block */

/* Where and how rows are kept. */
typedef struct facpool_backup_options {
    size_t size;
    const char *path;
    const char *format;        /* "json", "binary" or "memory_map"; NULL: by the path's suffix
                                  (.jsonl, .arrow, else binary). A file that is there is continued
                                  as what it is: another name is MISMATCH */
    int32_t mode;              /* FACPOOL_MODE_* */
    int32_t durability;        /* FACPOOL_DURABILITY_* */
    const char *tag;           /* which version of the function writes, UTF-8 of at most 1024 bytes;
                                  NULL: none */
    uint32_t batch_rows;       /* hand rows over when so many wait; 0: 1000. A batch that is ready
                                  waits at most 100 ms more for company, so that blocks fill up */
    uint32_t flush_ms;         /* ... or after so long; 0: 1000 */
    int32_t no_async;          /* nonzero: no writer thread: workers write, between tasks or slices,
                                  and so does who waits for the run */
    int32_t no_retry_failed;   /* nonzero: resume leaves failed tasks alone */
    uint64_t queue_bytes;      /* rows waiting for the file may take so much; 0: 64 MiB. A worker
                                  whose share is full writes itself: so a slow disk slows the
                                  workers down */
    int32_t compression_level; /* binary: zstd level 1 to 19; 0: 1; negative: no zstd */
    int32_t reserved;
    const struct facpool_sink_type *sink; /* a store of the caller's own (sink.h), which is given
                                             `path`; NULL: a file. Not with `format` */
    void *sink_user;                      /* passed to its open */
} facpool_backup_options;

#define FACPOOL_BACKUP_OPTIONS_INIT \
    {sizeof(facpool_backup_options), NULL, NULL, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL}

/* The process executor. Tasks and rows lie in memory that the run and its workers share; nothing is
 * copied or sent a task. A worker that dies (or takes longer than task_timeout_ms for one call) is
 * replaced: its finished rows count, the task it was on is called again while it has attempts left
 * and else gets the status CRASHED (TIMEOUT), with a message that names the signal or exit status;
 * of a batch function's slice the tasks are then called one by one; a group fails whole. The rest
 * goes on.
 *
 * Workers are forked from a helper process, which does nothing else. By default the helper is
 * forked from the calling process when the run starts, on the calling thread, and fn, user and all
 * they point to are as they were then. What forking a process with several threads means for
 * the code that workers call (locks held elsewhere stay held; OpenMP and some BLAS libraries hang)
 * is the host's to judge; a host that can't fork gives `start`, and one whose language can't fork
 * at all sets one_worker_each too.
 *
 * Workers live and end with the helper, and it with the run's process, also where that is killed.
 * In helper and workers SIGINT is ignored, other signals have their default action and none is
 * blocked; they lead a process group of their own. A worker ends by _exit, after worker_exit and
 * flushing stdout and stderr: no atexit function runs, and other streams are worker_exit's to close.
 * stdout and stderr are the host's, and are flushed before forking. */
typedef struct facpool_process_options {
    size_t size;
    uint32_t tasks_per_worker;   /* replace a worker after about so many tasks; 0: never */
    uint32_t reserved;
    uint64_t memory_limit_bytes; /* replace a worker whose resident memory is above it when a task
                                    ends; 0: never */
    /* Language hooks around each fork, on the forking thread: of the calling process once, of the
     * helper once a worker. Any may be NULL. */
    void (*before_fork)(void *hooks_user);
    void (*after_fork_parent)(void *hooks_user);
    void (*after_fork_child)(void *hooks_user);
    void *hooks_user;
    /* Given: starts the helper instead of forking it: makes a process call facpool_serve with a
     * duplicate of `fd` (a connected socket; closed by the library afterwards). Called on the
     * thread that starts the run, once. Returns 0, or nonzero, which the run's error then quotes
     * (WORKER). fn, batch_fn, worker_init and worker_exit are then those of facpool_serve; of this
     * process's only whether fn or batch_fn is given counts. */
    int (*start)(int fd, void *start_user);
    void *start_user;
    /* Nonzero: `start` starts one worker, with facpool_serve_options.no_fork; it is called once a
     * worker and once a replacement, also on a thread of the library (with the signal mask of the
     * thread that started the run), one call at a time. How such
     * a worker ended is only known where it is a child of this process that is not reaped yet. */
    int32_t one_worker_each;
    int32_t reserved_for_later;
} facpool_process_options;

#define FACPOOL_PROCESS_OPTIONS_INIT \
    {sizeof(facpool_process_options), 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0}

/* What to run, and how. */
typedef struct facpool_run_options {
    size_t size;
    facpool_task_fn fn;        /* one of fn and batch_fn (neither for facpool_job_open) */
    facpool_batch_fn batch_fn;
    void *user;                /* passed to fn, batch_fn, worker_init and worker_exit */
    size_t n_factors;          /* 1 to 65535 */
    const char *const *factor_names; /* n_factors distinct UTF-8 names of 1 to 255 bytes, not those
                                        of the fixed columns; NULL: f0, f1, ... */
    int32_t executor;
    uint32_t workers;          /* at most 4096; 0: what machine, cgroup, affinity and
                                  OMP_NUM_THREADS allow. The serial executor has one */
    const int32_t *cpus;       /* pin worker i to cpus[i % n_cpus]; NULL: don't */
    size_t n_cpus;
    int32_t group_by;
    int32_t on_error;
    facpool_worker_init_fn worker_init;
    facpool_worker_exit_fn worker_exit;
    uint32_t stop_if_first_fail; /* a run whose first so many finished tasks all failed stops;
                                    0: 100. Tasks that failed before and fail again come on top */
    int32_t no_stop_if_first_fail; /* nonzero: never */
    uint32_t attempts;         /* calls a failing task gets in all; 0: 1 */
    uint32_t task_timeout_ms;  /* process executor only: what one call of fn or batch_fn may take;
                                  0: for ever. A worker that is stopped (SIGSTOP) between two
                                  calls is waited for */
    int32_t results;
    int32_t dry_run;           /* nonzero: only report what would run */
    const char *backup_path;   /* short for a backup with default options */
    const facpool_backup_options *backup;
    facpool_progress_fn progress;
    void *progress_user;
    uint32_t progress_interval_ms; /* 0: 200 */
    uint32_t reserved;
    facpool_cancel *cancel;    /* must outlive the run */
    facpool_log_fn log;
    void *log_user;
    const facpool_allocator *allocator; /* copied; its ctx must outlive the result. NULL: malloc */
    const facpool_process_options *process; /* process executor only; NULL: all default */
} facpool_run_options;

#define FACPOOL_RUN_OPTIONS_INIT                                                             \
    {sizeof(facpool_run_options), NULL, NULL, NULL, 0, NULL, 0, 0, NULL, 0, 0, 0, NULL,      \
     NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL}

/* What a run left; a run that goes on; the work of a run, to be handed out to own threads. */
typedef struct facpool_result facpool_result;
typedef struct facpool_run_handle facpool_run_handle;
typedef struct facpool_job facpool_job;

/* Runs everything and waits. *out is given on success and when the run ends early (CANCELLED,
 * TASK, IO during the run; CORRUPT or IO where the rows of earlier runs can't be read back, with
 * results kept); free it either way. A failed task alone is no error: see the report.
 * Errors at the start, without a result: INVALID, DUPLICATE (names the key), EXISTS, MISMATCH,
 * BUSY, NOT_FOUND (the backup's folder), UNSUPPORTED, CORRUPT (the backup's header), FORKED,
 * WORKER, SYSTEM, NOMEM, IO. WORKER with a result: the helper of a process run died, or workers
 * kept dying before they began a task. Thread-safety: any number of runs at once. */
FACPOOL_API int facpool_run(const facpool_tasks *tasks, const facpool_run_options *options,
                            facpool_result **out, facpool_error *err);

/* The same without waiting: workers run on threads of the library. `user`, `cancel` and the
 * callbacks must stay valid until facpool_run_wait has returned, which every started run needs.
 * Errors: those of facpool_run at the start. */
FACPOOL_API int facpool_run_start(facpool_run_handle **out, const facpool_tasks *tasks,
                                  const facpool_run_options *options, facpool_error *err);

/* Calls progress if its time has come, and fills `progress` (or NULL). Returns 1 when the run is
 * over (wait will not block), 0 while it goes on. Poll and wait belong to one thread at a time.
 * Errors: ABI. */
FACPOOL_API int facpool_run_poll(facpool_run_handle *run, facpool_progress *progress,
                                 facpool_error *err);

/* Asks the run to end after what is in hand. From any thread; returns at once. */
FACPOOL_API void facpool_run_cancel(facpool_run_handle *run);

/* The same, and with the process executor without waiting for what is in hand: workers are killed,
 * and their tasks in hand count as not run. From any thread; returns at once. */
FACPOOL_API void facpool_run_kill(facpool_run_handle *run);

/* The other side of facpool_process_options.start: serves as a run's helper on `fd`, which it
 * takes over, forking workers that call these functions; fn or batch_fn, as the run was told.
 * Blocks; returns 0 when the run is over, or its process is gone. The calling process must have one
 * thread only. With no_fork it works as one worker itself, on the calling thread, and may have
 * others; its signal handlers stay, but SIGINT is ignored where it has none; it returns 0 when the
 * run is over or wants a fresh worker, and is ended by _exit where the run's process is gone. Errors: INVALID (fd is no such socket), MISMATCH (the other side is of
 * another version of the library, or the run wants the other one of fn and batch_fn, or of helper
 * and worker), SYSTEM, UNSUPPORTED (not on Linux), NOMEM. */
typedef struct facpool_serve_options {
    size_t size;
    facpool_task_fn fn;
    facpool_batch_fn batch_fn;
    void *user;
    facpool_worker_init_fn worker_init;
    facpool_worker_exit_fn worker_exit;
    void (*before_fork)(void *hooks_user);
    void (*after_fork_parent)(void *hooks_user);
    void (*after_fork_child)(void *hooks_user);
    void *hooks_user;
    int32_t no_fork;
    int32_t reserved;
} facpool_serve_options;

#define FACPOOL_SERVE_OPTIONS_INIT \
    {sizeof(facpool_serve_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0}

FACPOOL_API int facpool_serve(int fd, const facpool_serve_options *options, facpool_error *err);

/* Waits for the end (calling progress), gives and returns what facpool_run would have, and frees
 * `run`, also on an error. */
FACPOOL_API int facpool_run_wait(facpool_run_handle *run, facpool_result **out,
                                 facpool_error *err);

/* The same on the caller's own threads. Worker numbers 0 .. workers-1 (options.workers must be
 * given) each belong to one thread at a time; different workers call take and complete at once.
 * fn, batch_fn, executor, cpus, attempts, worker_init and worker_exit are not used, progress only
 * through facpool_job_progress. Without group_by a slice has at most 4096 tasks. Errors: those of
 * facpool_run at the start. */
FACPOOL_API int facpool_job_open(facpool_job **out, const facpool_tasks *tasks,
                                 const facpool_run_options *options, facpool_error *err);

/* Gives the next slice and where its factors go (slice->n rows of n_factors, row-major, filled
 * with NaN). Returns 1, or 0 when nothing is left to take or the job was stopped. A worker
 * completes its slice before it takes another, and takes until it gets 0: tasks may be kept for it
 * that no other worker is given. The slice and its factors are the job's, and valid until then.
 * Errors: INVALID (no such worker), STATE (a slice is in hand), IO (the backup can't be written: the
 * job is stopped), ABI, NOMEM. */
FACPOOL_API int facpool_job_take(facpool_job *job, uint32_t worker, facpool_slice *slice,
                                 double **factors, facpool_error *err);

/* Takes a slice back, on the thread that took it; `outcome` is what a batch function would have
 * returned (0: as marked). Errors: IO (the backup can't be written: the job is stopped), STATE (not
 * a slice in hand), ABI, NOMEM. */
FACPOOL_API int facpool_job_complete(facpool_job *job, const facpool_slice *slice, int outcome,
                                     facpool_error *err);

/* Counts so far. From any thread. Errors: ABI. */
FACPOOL_API int facpool_job_progress(const facpool_job *job, facpool_progress *progress);

/* Ends the job after what is in hand. From any thread. */
FACPOOL_API void facpool_job_cancel(facpool_job *job);

/* Closes the backup, gives the result and frees the job, also on an error. To be called when no
 * other thread uses the job any more. A slice taken but not completed counts as not run. Returns
 * what facpool_run would have returned. */
FACPOOL_API int facpool_job_finish(facpool_job *job, facpool_result **out, facpool_error *err);

/* ------------------------------------------------------------------ result */

/* One failed task. Texts are owned by the result. */
typedef struct facpool_failure {
    size_t size;
    size_t index; /* task-set order */
    int64_t date;
    const char *code;
    int32_t status; /* FAILED, TIMEOUT or CRASHED */
    int32_t failure_code;
    const char *message; /* "" where there is none */
} facpool_failure;

#define FACPOOL_FAILURE_INIT {sizeof(facpool_failure), 0, 0, NULL, 0, 0, NULL}

/* A stretch of work that took long. n is 1 where the stretch is one task. */
typedef struct facpool_slow_chunk {
    int64_t date; /* first task's key */
    const char *code;
    size_t n;
    double seconds;
} facpool_slow_chunk;

/* What a run did. Pointers are owned by the result. */
typedef struct facpool_report {
    size_t size;
    uint64_t total;
    uint64_t resumed;     /* had a final row before */
    uint64_t ok;          /* of this run, as the next four */
    uint64_t skipped;
    uint64_t failed;
    uint64_t timeout;
    uint64_t crashed;
    uint64_t not_run;     /* left over by a run that ended early; all to do in a dry run */
    uint64_t new_tasks;   /* why tasks were to run: no row yet, */
    uint64_t retry_failed; /* or a row of this status */
    uint64_t retry_timeout;
    uint64_t retry_crashed;
    uint64_t rows_written; /* to the backup, by this run */
    uint64_t rows_durable;
    uint64_t damaged_blocks; /* found in the backup when it was opened. Those whose keys can all be
                                read and are tasks of this run, or all, where every row that can be
                                read in the file is one of its tasks, were given up: their tasks ran
                                again. The others stay, and who asks is told of them */
    uint64_t tail_bytes_cut; /* a torn tail, cut off when the backup was opened */
    uint32_t workers;
    uint32_t reserved;
    double elapsed_s;
    double compute_s; /* in callbacks, summed over workers */
    double wait_s;    /* workers waiting for work or for the file */
    double write_s;   /* encoding, writing, syncing */
    /* These two are arrays of structs, which will therefore never grow. */
    size_t n_failures; /* the first ones, at most 20, by task order */
    const facpool_failure *failures;
    size_t n_slowest; /* at most 10, longest first */
    const facpool_slow_chunk *slowest;
} facpool_report;

#define FACPOOL_REPORT_INIT                                                                  \
    {sizeof(facpool_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
     0, NULL, 0, NULL}

/* Results are immutable; the getters below may be called from several threads at once. Where the
 * rows were left in the backup, the first getter that needs them reads them in (STATE where they
 * were dropped). Arrays are in task-set order, facpool_result_count long, owned by the result. */
FACPOOL_API size_t facpool_result_count(const facpool_result *result);

/* How many factors a row has, and the name of one (NULL where there is no such factor). */
FACPOOL_API size_t facpool_result_n_factors(const facpool_result *result);
FACPOOL_API const char *facpool_result_factor_name(const facpool_result *result, size_t factor);

/* A factor's values; NaN where the status is not ok. NULL where they can't be had: then
 * facpool_result_load says why. */
FACPOOL_API const double *facpool_result_factor(const facpool_result *result, size_t factor);

/* Dates (materialised on first use) and status of every task; NULL as above. */
FACPOOL_API const int64_t *facpool_result_dates(const facpool_result *result);
FACPOOL_API const uint8_t *facpool_result_status(const facpool_result *result);

/* The code of task `index`, or NULL. */
FACPOOL_API const char *facpool_result_code(const facpool_result *result, size_t index);

/* Makes sure that the rows are in memory. The backup may have been resumed and compacted since. A
 * json file has no id: it is known by the timestamp of one of its rows, an ok one where there is
 * any, and is taken for another file once damage has cost it that row, for the same one where
 * another has a row of that very microsecond. Errors: STATE (dropped), NOT_FOUND, MISMATCH (the
 * backup was replaced since), IO, CORRUPT, NOMEM. */
FACPOOL_API int facpool_result_load(const facpool_result *result, facpool_error *err);

/* Tasks that are not ok and not skipped, by task order: all of them where rows are kept or in a
 * backup, else the report's first ones. facpool_result_failure fills in failure i. Errors: INVALID
 * (there is no such one), ABI. */
FACPOOL_API size_t facpool_result_n_failures(const facpool_result *result);
FACPOOL_API int facpool_result_failure(const facpool_result *result, size_t i,
                                       facpool_failure *failure, facpool_error *err);

/* Fills in what the run did. Errors: ABI. */
FACPOOL_API int facpool_result_report(const facpool_result *result, facpool_report *report,
                                      facpool_error *err);

/* Frees the result and all that its getters gave; cursors over it keep what they need. */
FACPOOL_API void facpool_result_free(facpool_result *result);

/* ------------------------------------------------------------------ rows computed elsewhere */

/* Rows in columns. Factors row-major in `factors`, or one pointer a column in `factor_columns`. */
typedef struct facpool_rows {
    size_t size;
    size_t n;
    const int64_t *dates;
    const char *const *codes;
    const int64_t *timestamps;         /* us UTC; NULL: now */
    const uint8_t *statuses;           /* FACPOOL_STATUS_*; NULL: all ok */
    const double *factors;             /* not looked at for rows that are not ok */
    const double *const *factor_columns;
    const int32_t *failure_codes;      /* NULL: 0 */
    const char *const *messages;       /* entries may be NULL; at most 16 KiB are kept */
} facpool_rows;

#define FACPOOL_ROWS_INIT {sizeof(facpool_rows), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}

/* A handle that appends rows to a backup. Thread-safety: append, sync may be called from several
 * threads at once. */
typedef struct facpool_writer facpool_writer;

/* Makes or continues a backup, as backup->mode says, with n_factors names (NULL: f0, f1, ...). The
 * options batch_rows, flush_ms, durability and the others mean what they mean for a run. The writer
 * leaves what is damaged in the file, to be reported, and to be computed again by a run. It
 * remembers every key that has an ok row, those that the file has already too: about a bit a key
 * where a date has many codes, up to 200 bytes for a key that is alone on its date, however little
 * the row takes in the file; and every code once. Errors: INVALID, EXISTS, MISMATCH, BUSY,
 * NOT_FOUND (the folder), UNSUPPORTED, CORRUPT (the header), SYSTEM, NOMEM, IO. */
FACPOOL_API int facpool_writer_open(facpool_writer **out, const facpool_backup_options *backup,
                                    const char *const *factor_names, size_t n_factors,
                                    facpool_error *err);

/* Appends rows, all or none. Errors: INVALID, EXISTS (a key has an ok row in the file, or
 * before it in `rows`: an ok row is final), IO (this and all later appends fail), NOMEM. */
FACPOOL_API int facpool_writer_append(facpool_writer *writer, const facpool_rows *rows,
                                      facpool_error *err);

/* Returns when everything appended so far is durable. Errors: IO. */
FACPOOL_API int facpool_writer_sync(facpool_writer *writer, facpool_error *err);

/* Writes what waits, syncs (unless durability is none), closes the file, frees the writer (also on
 * error). NULL is fine. Errors: IO (what was appended since the last sync may be lost), NOMEM. */
FACPOOL_API int facpool_writer_close(facpool_writer *writer, facpool_error *err);

/* ------------------------------------------------------------------ query */

#define FACPOOL_ORDER_FILE 1 /* default: as stored (sorted within each block) */
#define FACPOOL_ORDER_KEY  2 /* by (date, code); codes compare as bytes */

/* Bits for facpool_filter.statuses and .columns. */
#define FACPOOL_STATUS_BIT(status) (1u << (status))
#define FACPOOL_STATUS_ALL         0x3eu
#define FACPOOL_COLUMN_DATE        1u
#define FACPOOL_COLUMN_CODE        2u
#define FACPOOL_COLUMN_TIMESTAMP   4u
#define FACPOOL_COLUMN_STATUS      8u
#define FACPOOL_COLUMN_NONE        16u /* no fixed column at all */

/* What to look for. Conditions are joined by "and". A list that is given but empty matches
 * nothing. */
typedef struct facpool_filter {
    size_t size;
    const int64_t *date_min; /* inclusive; NULL: no bound */
    const int64_t *date_max;
    const int64_t *dates;
    size_t n_dates;
    const char *const *codes;
    size_t n_codes;
    const char *const *factors; /* which factors, in this order; NULL: all */
    size_t n_factors;
    uint32_t statuses; /* 0: ok only. A key has one status: superseded failures do not show */
    uint32_t columns;  /* which fixed columns a batch view must have; 0: all. Without date and code
                          damage to these is not seen: rows that were computed again because of it
                          may be given twice */
    int32_t order;
    int32_t require_zero_copy; /* nonzero: fail with UNSUPPORTED rather than decode or copy, when the
                                  question is opened (which reads a page of each backup). The
                                  statuses of rows that are all ok are filler all the same */
    int32_t copy;         /* nonzero: read into memory, give no pointers into a mapped file. A
                             memory_map file that someone else cuts short while it is mapped ends
                             the process with SIGBUS when the lost part is touched; copies can't.
                             Resuming, converting, compacting and facpool_result_load copy */
    int32_t reserved;
    uint64_t skip_bytes; /* leave out what was stored before this place of each backup: for
                            following one, with facpool_query_stats.end_bytes. Of a json file that
                            was opened anew since, rows just before the place may come again */
} facpool_filter;

#define FACPOOL_FILTER_INIT \
    {sizeof(facpool_filter), NULL, NULL, NULL, 0, NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0}

/* One row. Pointers are valid until the next call on the cursor. */
typedef struct facpool_row {
    size_t size;
    int64_t date;
    const char *code; /* NUL-terminated */
    int64_t timestamp; /* us since 1970-01-01 UTC */
    int32_t status;
    int32_t failure_code;
    const char *message;   /* "" where there is none */
    size_t n_factors;
    const double *factors; /* NULL where the status is not ok */
} facpool_row;

#define FACPOOL_ROW_INIT {sizeof(facpool_row), 0, NULL, 0, 0, 0, NULL, 0, NULL}

/* Rows in columns. Pointers are valid until the next call on the cursor; columns not asked for are
 * NULL. Codes are laid out as Arrow utf8: that of row i is code_bytes from code_offsets[i] up to,
 * but without, code_offsets[i + 1]; messages are laid out alike.
 * Values of factors are NaN filler where the status is not ok: such values are null, not NaN. */
typedef struct facpool_batch_view {
    size_t size;
    size_t n_rows;
    size_t n_factors;
    const int64_t *dates;
    const int32_t *code_offsets;
    const char *code_bytes;
    const int64_t *timestamps;
    const uint8_t *statuses;
    const double *const *factors;
    const int32_t *failure_codes;    /* NULL where all rows are ok, as the messages */
    const int32_t *message_offsets;
    const char *message_bytes;
    int32_t all_ok;                  /* nonzero: every row is ok, no value is null */
    int32_t reserved;
} facpool_batch_view;

#define FACPOOL_BATCH_VIEW_INIT \
    {sizeof(facpool_batch_view), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0}

/* What a cursor touched so far. */
typedef struct facpool_query_stats {
    size_t size;
    uint64_t blocks_total;  /* in all files */
    uint64_t blocks_read;   /* opened: page directory and dictionary read */
    uint64_t pages_total;   /* in all files */
    uint64_t pages_read;    /* at least one column read */
    uint64_t bytes_read;    /* from files, by this cursor */
    uint64_t rows_matched;  /* given out */
    uint64_t blocks_damaged; /* left out, each reported once by an error */
    uint64_t end_bytes;      /* up to where the backup was asked: what is stored later begins there
                                or behind it. 0 where several are; of a store of one's own, blocks */
} facpool_query_stats;

#define FACPOOL_QUERY_STATS_INIT {sizeof(facpool_query_stats), 0, 0, 0, 0, 0, 0, 0, 0}

/* Backups that are open for questions; an open question. */
typedef struct facpool_reader facpool_reader;
typedef struct facpool_cursor facpool_cursor;

/* Opens one or many backups as one, also while they are being written: a snapshot of what was
 * whole in them. All must have the same factor names. For one key ok beats not ok, then the later
 * timestamp, then the later path. Takes no lock. Errors: NOT_FOUND, MISMATCH, UNSUPPORTED (not a
 * backup, or of a newer version), CORRUPT (the header), IO, NOMEM. */
FACPOOL_API int facpool_reader_open(facpool_reader **out, const char *const *paths, size_t n_paths,
                                    facpool_error *err);

/* The same over stores of the caller's own (sink.h): `paths` and `user` are handed to the type's
 * open. Type and user must stay as long as the reader. Errors: also UNSUPPORTED (the type has no
 * scan), and what the store gives. */
FACPOOL_API int facpool_reader_from_source(facpool_reader **out,
                                           const struct facpool_sink_type *type, void *user,
                                           const char *const *paths, size_t n_paths,
                                           facpool_error *err);

/* Takes a new snapshot. Cursors opened before keep theirs. A file replaced under its name
 * (overwrite, compact) is opened anew. Errors: as open; the old snapshot then stays. */
FACPOOL_API int facpool_reader_refresh(facpool_reader *reader, facpool_error *err);

/* How many factors a row has, and the name of one (NULL where there is no such factor; owned by the
 * reader). */
FACPOOL_API size_t facpool_reader_n_factors(const facpool_reader *reader);
FACPOOL_API const char *facpool_reader_factor_name(const facpool_reader *reader, size_t factor);

/* Cursors keep what they need of the reader alive. */
FACPOOL_API void facpool_reader_free(facpool_reader *reader);

/* Opens a question. filter NULL: all ok rows. Errors: INVALID, NOT_FOUND (no such factor),
 * UNSUPPORTED (zero copy can't be had), IO, CORRUPT, NOMEM. Thread-safety: several threads may
 * query one reader at once; a cursor belongs to one thread at a time. */
FACPOOL_API int facpool_query(facpool_reader *reader, const facpool_filter *filter,
                              facpool_cursor **out, facpool_error *err);

/* The same over a run's own result. Errors: also STATE (its rows were dropped). */
FACPOOL_API int facpool_result_query(const facpool_result *result, const facpool_filter *filter,
                                     facpool_cursor **out, facpool_error *err);

/* The next row: 1, or 0 at the end. CORRUPT: a damaged block was met and is left out; calling
 * again goes on behind it. Other errors: IO, NOMEM. */
FACPOOL_API int facpool_cursor_next(facpool_cursor *cursor, facpool_row *row, facpool_error *err);

/* The next rows, up to 65,536: 1, or 0 at the end. Errors as above. Rows and batches may be mixed:
 * a batch begins behind the last row given. */
FACPOOL_API int facpool_cursor_next_batch(facpool_cursor *cursor, facpool_batch_view *view,
                                          facpool_error *err);

/* Makes the rest of the cursor's answer an Arrow stream (C stream interface: <facpool/arrow.h>) of
 * struct arrays: the fixed columns asked for (date int64, code utf8, timestamp[us, UTC], status
 * uint8); where the filter asks for the status and for rows that are not ok, failure_code int32 and
 * message utf8 (null where ok); and the factors, float64, null where the status is not ok. On success the stream owns
 * the cursor: the caller neither uses nor frees it any more. Values lie in the file's map or the
 * result's memory where they can (memory_map, memory), else in memory of the arrays' own; arrays
 * and their children may be moved, and outlive stream, cursor, reader and result. get_next may be
 * called from any thread, one at a time. A damaged block fails get_next once with EIO; calling
 * again goes on behind it. Errors: INVALID, NOMEM; the cursor is then as it was. */
FACPOOL_API int facpool_cursor_to_arrow(facpool_cursor *cursor, struct ArrowArrayStream *out,
                                        facpool_error *err);

/* What the cursor touched so far. Errors: ABI. */
FACPOOL_API int facpool_cursor_stats(const facpool_cursor *cursor, facpool_query_stats *stats,
                                     facpool_error *err);

/* Closes the question; what its rows and batches pointed to is gone. */
FACPOOL_API void facpool_cursor_free(facpool_cursor *cursor);

/* ------------------------------------------------------------------ files */

/* What a backup holds, from its header and index. Owned by itself: free with facpool_info_free. */
typedef struct facpool_info {
    size_t size;
    const char *format; /* "json", "binary" or "memory_map" */
    uint32_t version;
    int32_t closed;     /* ends in an index, as a writer leaves it that closed it */
    size_t n_factors;
    const char *const *factor_names;
    const char *tag;    /* NULL: none */
    uint64_t rows[6];   /* stored rows by status (FACPOOL_STATUS_*), superseded ones counted */
    uint64_t blocks;
    uint64_t pages;
    int64_t date_min;   /* where there is a row */
    int64_t date_max;
    uint64_t file_bytes;
    uint64_t valid_bytes;   /* what readers see; behind it is a torn tail */
    uint64_t durable_bytes; /* known to have survived a sync */
    uint64_t damaged_blocks; /* that can't be listed, and those that runs gave up */
    int64_t created_us;
} facpool_info;

/* Looks into a backup without reading its rows (json has nothing else, and is read whole), also
 * while it is being written. Takes no lock.
 * Errors: NOT_FOUND, UNSUPPORTED (not a backup, or of a newer version), CORRUPT (the header), IO,
 * NOMEM. */
FACPOOL_API int facpool_backup_info(const facpool_info **out, const char *path,
                                    facpool_error *err);
FACPOOL_API void facpool_info_free(const facpool_info *info);

/* What a check of a whole file found. */
typedef struct facpool_verify_report {
    size_t size;
    uint64_t blocks;         /* checked */
    uint64_t damaged_blocks; /* header unreadable, or at least one part fails its check */
    uint64_t damaged_parts;  /* page columns and dictionaries that fail */
    uint64_t rows;           /* in sound blocks */
    uint64_t rows_damaged;   /* in damaged blocks, as far as their headers tell */
    uint64_t tail_bytes;     /* torn tail: cut off by repair or by the next resume */
    uint64_t first_damage;   /* file offset, where there is damage */
    int32_t closed;
    int32_t reserved;
} facpool_verify_report;

#define FACPOOL_VERIFY_REPORT_INIT {sizeof(facpool_verify_report), 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* Reads every byte and checks it. Returns 0 where all is sound (a torn tail is not damage: see
 * tail_bytes), FACPOOL_E_CORRUPT with the report filled where something is damaged, else an error
 * that kept it from looking. Takes no lock: works on a file being written.
 *
 * No file makes this, or opening or reading it, hold more memory than 5 times its length, 8 MiB and
 * one block decoded (at most 512 MiB of factors, or 1 GiB of messages), nor read more than 8 times its
 * length and 256 KiB. What zstd and json-c take for themselves is not counted. */
FACPOOL_API int facpool_backup_verify(const char *path, facpool_verify_report *report,
                                      facpool_error *err);

/* Cuts off a torn tail and writes the index, so that the file is closed; the report says what was
 * found before. Damaged blocks stay as they are, and are no error here (see damaged_blocks); a run
 * of their tasks that resumes the file computes them again. Errors: BUSY (a writer is at work),
 * NOT_FOUND, UNSUPPORTED (not a backup), CORRUPT (the header), IO, NOMEM. */
FACPOOL_API int facpool_backup_repair(const char *path, facpool_verify_report *report,
                                      facpool_error *err);

/* Writes all rows of one or many backups that a reader over them sees, of every status, into a new
 * backup that `to` describes (path, format or sink, mode create or overwrite, durability, tag;
 * NULL tag: that of the first). A new file appears whole under its name or not at all. Errors:
 * those of facpool_reader_open and of opening a backup, CORRUPT (a damaged block: resume a run of all
 * the file's tasks first), IO, NOMEM. Killed, it leaves a '.NAME.*.tmp' as compacting does. */
FACPOOL_API int facpool_backup_convert(const char *const *paths, size_t n_paths,
                                       const facpool_backup_options *to, facpool_error *err);

/* Rewrites a backup in place of itself: sorted by key in full blocks, superseded failures dropped.
 * The new file takes the old one's name when it is whole and on the disk; readers that have the old
 * one open keep it. A process that is killed meanwhile leaves the beginning of the new file beside the
 * old one, as '.NAME.*.tmp', which may be removed. Errors: BUSY (a writer is at work), CORRUPT (a
 * damaged block: resume a run of all the file's tasks first, so that nothing is dropped unseen),
 * NOT_FOUND, UNSUPPORTED, IO, NOMEM. */
FACPOOL_API int facpool_backup_compact(const char *path, facpool_error *err);

#ifdef __cplusplus
}
#endif

#endif
