/* What the files of the extension share: module state, object layouts, and who calls whom. Included
 * by all of them, and by nobody else. Objects of Python that a struct names are owned references,
 * where nothing else is said. */
#ifndef FACPOOL_CORE_H
#define FACPOOL_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <facpool/arrow.h>
#include <facpool/facpool.h>

/* Failure codes of tasks, documented in _core.pyi. */
#define CORE_FAILURE_RAISED 1
#define CORE_FAILURE_WIDTH  2
#define CORE_FAILURE_VALUE  3

/* What the library keeps of a failure's message. */
#define CORE_MESSAGE_BYTES (16 * 1024)

#define CORE_N_ERRORS 18 /* codes -1 to -17, and the base class at 0 */

typedef struct core_state {
    PyTypeObject *buffer_type, *tasks_type, *run_type, *result_type, *reader_type;
    PyObject *errors[CORE_N_ERRORS]; /* by -code */
    PyObject *factor_not_found;
    PyObject *format_exception; /* traceback.format_exception */
    PyObject *empty_text;
} core_state;

/* For types whose objects only the extension makes; before 3.10 module.c sees to it. */
#ifdef Py_TPFLAGS_DISALLOW_INSTANTIATION
#define CORE_NO_INSTANCES Py_TPFLAGS_DISALLOW_INSTANTIATION
#else
#define CORE_NO_INSTANCES 0
#endif

/* Of an object whose type the module made. */
static inline core_state *core_state_of(PyObject *self)
{
    return PyType_GetModuleState(Py_TYPE(self));
}

/* ------------------------------------------------------------------ errors.c */

int core_errors_add(PyObject *module, core_state *state);

/* The exception for a code, new reference; NULL with another exception set. `error` may be NULL. */
PyObject *core_error_object(core_state *state, int code, const facpool_error *error);

/* Raises it. Returns NULL. */
PyObject *core_raise(core_state *state, int code, const facpool_error *error);
PyObject *core_raise_factor(core_state *state, int code, const facpool_error *error);

PyObject *core_make_error(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *core_error_name(PyObject *module, PyObject *code);

/* The exception that is set, taken off, with its traceback; and set again (steals it). */
PyObject *core_exception_take(void);
void core_exception_set(PyObject *exception);

/* ------------------------------------------------------------------ convert.c */

/* int64 values out of a buffer or a sequence. */
typedef struct core_int64s {
    const int64_t *values;
    size_t n;
    Py_buffer view;
    int64_t *own;
} core_int64s;

int core_int64s_get(core_int64s *out, PyObject *source, const char *what);
void core_int64s_drop(core_int64s *values);

/* UTF-8 texts out of a sequence of str; the pointers belong to the str objects, kept by `keep`. */
typedef struct core_texts {
    const char **values;
    size_t n;
    PyObject *keep;
} core_texts;

int core_texts_get(core_texts *out, PyObject *source, const char *what);
void core_texts_drop(core_texts *texts);

/* Paths out of a sequence; `keep` holds bytes objects. */
int core_paths_get(core_texts *out, PyObject *source);

/* UTF-8 of a str without NUL, or NULL with an exception. `what` names it in the message. */
const char *core_text(PyObject *value, const char *what);

/* An int (also of NumPy; not bool) as int64. */
int core_int64(PyObject *value, int64_t *out, const char *what);
int core_int_range(PyObject *value, int64_t low, int64_t high, int64_t *out, const char *what);

/* A dict's value, borrowed: NULL where it is missing or None. -1 of the _int calls: exception. */
PyObject *core_option(PyObject *dict, const char *key);
int core_option_int(PyObject *dict, const char *key, int64_t low, int64_t high, int64_t *out);
int core_option_flag(PyObject *dict, const char *key, bool *out);
int core_option_text(PyObject *dict, const char *key, const char **out);

typedef struct core_choice {
    const char *name;
    int value;
} core_choice;

/* `choices` ends with a NULL name. */
int core_option_choice(PyObject *dict, const char *key, const core_choice *choices, int32_t *out);
int core_choose(PyObject *value, const char *key, const core_choice *choices, int *out);

/* Refuses a key that is not in `known` (which ends with NULL). */
int core_option_check(PyObject *dict, const char *const *known, const char *what);

/* Puts a value into a dict and drops the reference. -1 where value is NULL or putting it fails. */
int core_put(PyObject *dict, const char *key, PyObject *value);

/* The int of a date, kept while the date stays the same. Starts zeroed. */
typedef struct core_date {
    PyObject *number;
    int64_t value;
} core_date;

/* Borrowed from the date; NULL with an exception. */
PyObject *core_date_renew(core_date *date, int64_t value);

static inline PyObject *core_date_number(core_date *date, int64_t value)
{
    return date->number && date->value == value ? date->number : core_date_renew(date, value);
}

/* Text that came from the library, as str. */
PyObject *core_str(const char *text);
PyObject *core_str_or_none(const char *text);

/* ------------------------------------------------------------------ buffer.c */

extern PyType_Spec core_buffer_spec;

/* Memory with the buffer protocol. */
typedef struct core_buffer {
    PyObject_HEAD void *memory;
    PyObject *owner; /* of the memory; NULL: it is the buffer's own, PyMem_RawFree */
    const char *format;
    Py_ssize_t shape[2], strides[2];
    Py_ssize_t item_bytes;
    int n_dimensions;
    int is_read_only;
} core_buffer;

/* Memory of `owner`, read-only. Takes a new reference to owner. */
PyObject *core_buffer_lend(core_state *state, const void *memory, size_t n, char format,
                           PyObject *owner);

/* Takes PyMem_RawMalloc'ed memory over, also on failure. */
PyObject *core_buffer_take(core_state *state, void *memory, size_t n, char format);

/* Own memory of rows x columns doubles, filled with NaN; writable. */
PyObject *core_buffer_rows(core_state *state, size_t n_rows, size_t n_columns);

/* ------------------------------------------------------------------ codes.c */

/* str objects of codes, one for each distinct code, numbered in order of appearance. */
typedef struct core_codes {
    PyObject *list;   /* by number */
    uint32_t *slots;  /* number + 1, or 0; open addressing */
    uint64_t *hashes; /* by number */
    size_t n_slots, n, hashes_room;
    const char *last_text; /* a pointer that was seen last, as a shortcut */
    uint32_t last_number;
} core_codes;

int core_codes_init(core_codes *codes);
void core_codes_drop(core_codes *codes);

/* Number of a code, or -1 with an exception. */
int64_t core_codes_number(core_codes *codes, const char *text, size_t length);

/* Borrowed. `is_stable`: the same pointer means the same text until the codes are dropped. */
PyObject *core_codes_str(core_codes *codes, const char *text, size_t length, bool is_stable);

/* ------------------------------------------------------------------ tasks.c */

extern PyType_Spec core_tasks_spec;

typedef struct core_tasks {
    PyObject_HEAD facpool_tasks *handle;
    pid_t process; /* that made it: a forked child leaves it alone */
} core_tasks;

/* ------------------------------------------------------------------ note.c */

/* A text that a worker process leaves for the run: memory shared by all of them. */
typedef struct core_note core_note;

/* Makes one, with a descriptor that a fresh process can attach to. */
int core_note_new(core_note **out, int *fd, facpool_error *error);
int core_note_attach(core_note **out, int fd);
void core_note_write(core_note *note, const char *text);
const char *core_note_read(const core_note *note); /* NULL: nothing was written */
void core_note_drop(core_note *note);

/* ------------------------------------------------------------------ call.c: what runs call */

/* A task whose outcome is known before the run. */
typedef struct core_known {
    size_t index;
    int outcome;    /* 0, FACPOOL_SKIP or a failure code */
    double *row;    /* where outcome is 0 */
    PyObject *keep; /* bytes of the message, or NULL */
} core_known;

/* All that callbacks of one run need: their `user`. One for a run; worker processes have copies of
 * their own by fork. */
typedef struct core_call {
    core_state *state;
    PyObject *module; /* keeps the state */
    PyObject *func, *batch_call, *kwargs, *keyword_names, *worker_init, *worker_exit, *log, *start,
        *progress, *keep, *factor_names;
    size_t n_keywords, n_factors;
    bool is_batch, is_group, is_native;
    bool has_own_threads; /* workers are threads that the library made */
    bool is_interrupted;  /* KeyboardInterrupt in a function on the calling thread */
    PyInterpreterState *interpreter;
    core_known *known;
    size_t n_known, last_known; /* last_known: highest index */

    int (*simple)(int64_t date, const char *code, double *factors);

    /* The thread state of the thread that waits in the library, while it does. */
    PyThreadState *away;
    bool is_child; /* this process was forked by the library */

    pthread_mutex_t lock; /* of exception */
    PyObject *exception;  /* the first one raised by a callback that is not a task's */

    core_note *note;
    int note_fd; /* to be handed to `start`; -1: none */
    facpool_cancel *cancel;
} core_call;

/* Reads what concerns callbacks out of the options; NULL with an exception. */
core_call *core_call_new(PyObject *module, PyObject *options);
void core_call_free(core_call *call);
int core_call_traverse(core_call *call, visitproc visit, void *arg);

/* Drops what refers to the caller's objects, when nothing is called any more. */
void core_call_release(core_call *call);

/* Around each call into the library that may wait or call back. */
void core_call_leave(core_call *call);  /* releases the GIL */
void core_call_return(core_call *call); /* takes it again */

/* Keeps the exception that is set, if it is the first one. */
void core_call_keep_exception(core_call *call);

/* The exception that was kept, or NULL; the caller owns it. */
PyObject *core_call_take_exception(core_call *call);

/* What to give the library for these options. */
facpool_task_fn core_call_task_fn(const core_call *call);
facpool_batch_fn core_call_batch_fn(const core_call *call);
int core_call_native(core_call *call, PyObject *options, facpool_task_fn *fn,
                     facpool_batch_fn *batch_fn, void **user);

void core_log(const char *message, void *user);
int core_progress(const facpool_progress *progress, void *user);
int core_start_helper(int fd, void *user);

/* ------------------------------------------------------------------ worker.c */

/* Codes beyond so many get a fresh str at every call. */
#define CORE_CACHED_CODES (1u << 18)

/* One worker's own things. */
typedef struct core_worker {
    PyThreadState *away;   /* to be attached before Python is used; NULL: attached */
    PyThreadState *own;    /* of a thread that the library made, or NULL */
    PyThreadState *thread; /* the one in use */
    bool is_process;
    PyObject **stack; /* of the call: a free place, date, code, values of the keywords */
    core_date date;
    PyObject **codes; /* by code number, NULL where not made yet */
    uint32_t n_codes;
    PyObject *rows; /* a buffer that may be used again */
} core_worker;

int core_worker_init(uint32_t number, void **state, void *user);
void core_worker_exit(uint32_t number, void *state, void *user);
void core_before_fork(void *user);
void core_after_fork_parent(void *user);
void core_after_fork_child(void *user);

/* The str of a code, new reference. */
PyObject *core_worker_code(core_worker *worker, const char *code, uint32_t number);

static inline void core_worker_attach(core_worker *worker)
{
    if (worker->away) {
        PyEval_RestoreThread(worker->away);
        worker->away = NULL;
    }
}

/* A worker process keeps the GIL between tasks as long as nobody else could want it: taking and
 * releasing it costs as much as a small function. */
static inline void core_worker_detach(core_worker *worker)
{
    if (worker->is_process && !PyThreadState_Next(worker->thread) &&
        PyInterpreterState_ThreadHead(worker->thread->interp) == worker->thread)
        return;
    worker->away = PyEval_SaveThread();
}

/* Ctrl-C in a function that runs on the calling thread ends the run, and is the run's: takes the
 * exception off and returns true. */
bool core_worker_interrupted(core_call *call, const core_worker *worker);

/* ------------------------------------------------------------------ task_call.c, batch_call.c */

int core_task_call(const facpool_task *task, double *factors, void *user);
int core_batch_call(const facpool_slice *slice, double *factors, void *user);

/* What is known of a task, or NULL. */
const core_known *core_known_find(const core_call *call, size_t index);

/* ------------------------------------------------------------------ row.c */

/* Reads what a function returned into n_factors doubles. Returns 0, FACPOOL_SKIP, a failure code
 * with *message, or -1 with an exception set. */
int core_row_read(const core_call *call, PyObject *row, double *factors, PyObject **message);

/* ------------------------------------------------------------------ failure.c */

/* Text of the exception that is set, which it takes off: PyMem_RawMalloc'ed, at most
 * CORE_MESSAGE_BYTES, without NUL inside; *code is its failure code. Never fails for long: NULL
 * only without memory. */
char *core_failure_text(core_state *state, int *code);

/* The same of a str. */
char *core_failure_cut(PyObject *text);

/* ------------------------------------------------------------------ options.c, filter.c */

/* facpool_run_options and what they point to. */
typedef struct core_run_options {
    facpool_run_options run;
    facpool_backup_options backup;
    facpool_process_options process;
    core_texts factor_names;
    PyObject *path;
} core_run_options;

int core_run_options_get(core_run_options *out, PyObject *options, core_call *call);
void core_run_options_drop(core_run_options *options);

int core_backup_options_get(facpool_backup_options *out, PyObject *dict, PyObject **path);

typedef struct core_filter {
    facpool_filter filter;
    int64_t date_min, date_max;
    core_int64s dates;
    core_texts codes, factors;
    PyObject *damage; /* borrowed */
} core_filter;

int core_filter_get(core_filter *out, PyObject *dict);
void core_filter_drop(core_filter *filter);

/* ------------------------------------------------------------------ question.c, gather.c */

/* Opens a question over a reader, or (where it is NULL) a result. NULL with an exception. */
facpool_cursor *core_question_open(core_state *state, facpool_reader *reader,
                                   const facpool_result *result, const core_filter *filter);

/* The next batch: 1, 0 at the end, -1 with an exception. Calls the filter's damage. */
int core_question_next(core_state *state, facpool_cursor *cursor, const core_filter *filter,
                       facpool_batch_view *view);

PyObject *core_question_stream(core_state *state, facpool_reader *reader,
                               const facpool_result *result, PyObject *filter);
PyObject *core_question_columns(core_state *state, facpool_reader *reader,
                                const facpool_result *result, PyObject *filter);

/* [date, code, timestamp, *factors] of all rows. */
PyObject *core_question_rows(core_state *state, facpool_reader *reader, PyObject *filter,
                             int64_t timestamp_divisor);

/* Building millions of lists makes the collector look at all of them again and again. */
bool core_collector_pause(void);
void core_collector_resume(bool was_on);

/* ------------------------------------------------------------------ run.c, result.c, reader.c */

extern PyType_Spec core_run_spec;
extern PyType_Spec core_result_spec;
extern PyType_Spec core_reader_spec;

PyObject *core_start(PyObject *module, PyObject *args);
PyObject *core_run_serial(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *core_serve(PyObject *module, PyObject *args);

PyObject *core_progress_dict(const facpool_progress *progress);

/* Takes the handle over, also on failure. */
PyObject *core_result_new(core_state *state, facpool_result *handle, core_tasks *tasks);

/* ------------------------------------------------------------------ files.c */

PyObject *core_info(PyObject *module, PyObject *path);
PyObject *core_verify(PyObject *module, PyObject *path);
PyObject *core_repair(PyObject *module, PyObject *path);
PyObject *core_convert(PyObject *module, PyObject *args);
PyObject *core_compact(PyObject *module, PyObject *path);

#endif
