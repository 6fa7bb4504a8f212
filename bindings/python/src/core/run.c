/* Runs: start and the Run object that waits for one, and run_serial on the calling thread. The GIL
 * is never held while the library waits; signal handlers run while a run goes on. */
#include "core.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How often a waiting thread looks whether the run is over: often at first, for runs of a few
 * milliseconds; and how long it stays away from Python's signal handlers at most. */
#define FIRST_NAP_NS   50000
#define LAST_NAP_NS    5000000
#define SIGNAL_LOOK_NS 50000000

typedef enum run_state { RUNNING, FINISHING, FINISHED } run_state;

typedef struct core_run {
    PyObject_HEAD facpool_run_handle *handle;
    core_call *call;
    core_tasks *tasks;
    pthread_mutex_t lock; /* of state and is_waited, and of the handle's being there */
    run_state state;
    bool is_waited; /* a thread is in poll or wait */
    int64_t nap_ns;
    pid_t process;
    facpool_progress last;
} core_run;

/* ------------------------------------------------------------------ outcome */

/* The exception of a callback, else the library's error with the text a worker left. */
static PyObject *outcome_exception(core_call *call, int rc, facpool_error *error, PyObject *message)
{
    PyObject *exception = core_call_take_exception(call);
    if (exception || !rc)
        return exception;
    exception = core_error_object(call->state, rc, error);
    if (exception && core_note_read(call->note)) {
        PyObject *arguments = PyTuple_Pack(1, message);
        int failed = arguments ? PyObject_SetAttrString(exception, "args", arguments) : -1;
        Py_XDECREF(arguments);
        if (failed)
            Py_CLEAR(exception);
    }
    return exception;
}

static PyObject *outcome_message(const core_call *call, int rc, const facpool_error *error)
{
    const char *text = core_note_read(call->note);
    PyObject *message = core_str(rc ? error->message : "");
    PyObject *note = message && text ? core_str(text) : NULL;
    if (!note)
        return message;
    PyObject *whole = PyUnicode_FromFormat("%U\n\n%U", message, note);
    Py_DECREF(note);
    Py_DECREF(message);
    return whole;
}

/* (code, message, result, exception); takes the result over. */
static PyObject *outcome_of(core_call *call, int rc, facpool_error *error, facpool_result *result,
                            core_tasks *tasks)
{
    PyObject *given = Py_None;
    Py_INCREF(given);
    if (result)
        Py_SETREF(given, core_result_new(call->state, result, tasks));
    PyObject *message = given ? outcome_message(call, rc, error) : NULL;
    PyObject *exception = message ? outcome_exception(call, rc, error, message) : NULL;
    if (message && !exception && !PyErr_Occurred()) {
        exception = Py_None;
        Py_INCREF(exception);
    }
    PyObject *outcome = NULL;
    if (exception)
        outcome = Py_BuildValue("(iOOO)", rc, message, given, exception);
    Py_XDECREF(exception);
    Py_XDECREF(message);
    Py_XDECREF(given);
    return outcome;
}

/* Raises why a run did not begin: what `start` or Ctrl-C raised, else the library's error (with
 * what a log raised as its context). */
static PyObject *raise_start(core_call *call, int rc, const facpool_error *error)
{
    PyObject *exception = core_call_take_exception(call);
    if (exception && (rc == FACPOOL_E_WORKER ||
                      !PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception))) {
        core_exception_set(exception);
        return NULL;
    }
    PyObject *raised = core_error_object(call->state, rc, error);
    if (raised && exception)
        PyException_SetContext(raised, exception); /* takes it over */
    else
        Py_XDECREF(exception);
    if (raised)
        core_exception_set(raised);
    return NULL;
}

/* ------------------------------------------------------------------ progress */

PyObject *core_progress_dict(const facpool_progress *p)
{
    PyObject *dict = Py_BuildValue(
        "{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:d,s:d}", "total", (unsigned long long)p->total, "done",
        (unsigned long long)p->done, "resumed", (unsigned long long)p->resumed, "ok",
        (unsigned long long)p->ok, "skipped", (unsigned long long)p->skipped, "failed",
        (unsigned long long)p->failed, "rows_written", (unsigned long long)p->rows_written,
        "rows_durable", (unsigned long long)p->rows_durable, "elapsed", p->elapsed_s, "rate",
        p->rate);
    if (!dict)
        return NULL;
    PyObject *eta = Py_None;
    if (p->eta_s >= 0)
        eta = PyFloat_FromDouble(p->eta_s);
    else
        Py_INCREF(eta);
    if (core_put(dict, "eta", eta))
        Py_CLEAR(dict);
    return dict;
}

/* ------------------------------------------------------------------ who waits */

static int refuse(core_run *self, const char *why)
{
    PyErr_SetString(core_state_of((PyObject *)self)->errors[-FACPOOL_E_STATE], why);
    return -1;
}

/* One thread at a time waits; after the end nobody does. */
static int enter(core_run *self)
{
    if (self->process != getpid())
        return refuse(self, "the run belongs to the process that started it");
    pthread_mutex_lock(&self->lock);
    bool is_over = self->state != RUNNING, is_waited = self->is_waited;
    if (!is_over && !is_waited)
        self->is_waited = true;
    pthread_mutex_unlock(&self->lock);
    if (is_over)
        return refuse(self, "the run was waited for before");
    return is_waited ? refuse(self, "another thread waits for this run") : 0;
}

static void leave(core_run *self)
{
    pthread_mutex_lock(&self->lock);
    self->is_waited = false;
    pthread_mutex_unlock(&self->lock);
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* this clock is always there */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* False: a signal came in between. */
static bool nap(int64_t ns)
{
    struct timespec length = {.tv_sec = (time_t)(ns / 1000000000),
                              .tv_nsec = (long)(ns % 1000000000)};
    return nanosleep(&length, NULL) == 0 || errno != EINTR;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Without the GIL: until the run is over, `deadline`, or a signal. Returns as facpool_run_poll. */
static int watch(core_run *self, int64_t deadline_ns)
{
    for (;;) {
        int over = facpool_run_poll(self->handle, &self->last, NULL);
        int64_t left_ns = deadline_ns - now_ns();
        if (over || left_ns <= 0 || !nap(least(self->nap_ns, left_ns)))
            return over;
        self->nap_ns = least(self->nap_ns * 2, LAST_NAP_NS);
    }
}

/* 1 when the run is over, 0 at the deadline, -1 with an exception of a signal handler. */
static int wait_until(core_run *self, int64_t deadline_ns)
{
    for (;;) {
        int64_t look_ns = least(deadline_ns, now_ns() + SIGNAL_LOOK_NS);
        core_call_leave(self->call);
        int over = watch(self, look_ns);
        core_call_return(self->call);
        if (PyErr_CheckSignals())
            return -1;
        if (over || now_ns() >= deadline_ns)
            return over;
    }
}

static int64_t deadline_of(double seconds)
{
    if (!(seconds > 0))
        return 0;
    return seconds > 1e9 ? INT64_MAX : now_ns() + (int64_t)(seconds * 1e9);
}

/* ------------------------------------------------------------------ methods */

static PyObject *run_poll(core_run *self, PyObject *args)
{
    double seconds = 0;
    if (!PyArg_ParseTuple(args, "|d", &seconds) || enter(self))
        return NULL;
    int over = wait_until(self, deadline_of(seconds));
    PyObject *progress = over < 0 ? NULL : core_progress_dict(&self->last);
    leave(self);
    return progress ? Py_BuildValue("(NN)", PyBool_FromLong(over), progress) : NULL;
}

/* Asks the run to end. Its handle can't go away meanwhile: finish_handle takes the lock first. */
static void stop(core_run *self, void (*how)(facpool_run_handle *))
{
    if (self->process != getpid())
        return;
    pthread_mutex_lock(&self->lock);
    if (self->state == RUNNING)
        how(self->handle);
    pthread_mutex_unlock(&self->lock);
}

static PyObject *run_cancel(core_run *self, PyObject *nothing)
{
    (void)nothing;
    stop(self, facpool_run_cancel);
    Py_RETURN_NONE;
}

static PyObject *run_kill(core_run *self, PyObject *nothing)
{
    (void)nothing;
    stop(self, facpool_run_kill);
    Py_RETURN_NONE;
}

/* Ends a run that is over, or waits until it is: without the GIL either way. */
static int finish_handle(core_run *self, facpool_result **result, facpool_error *error)
{
    pthread_mutex_lock(&self->lock);
    self->state = FINISHING;
    pthread_mutex_unlock(&self->lock);
    core_call_leave(self->call);
    int rc = facpool_run_wait(self->handle, result, error);
    core_call_return(self->call);
    self->handle = NULL;
    self->state = FINISHED;
    return rc;
}

static PyObject *run_wait(core_run *self, PyObject *nothing)
{
    (void)nothing;
    if (enter(self))
        return NULL;
    if (wait_until(self, INT64_MAX) < 0) {
        leave(self);
        return NULL;
    }
    facpool_result *result = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = finish_handle(self, &result, &error);
    leave(self);
    PyObject *outcome = outcome_of(self->call, rc, &error, result, self->tasks);
    core_call_release(self->call);
    return outcome;
}

static PyObject *run_progress(core_run *self, void *closure)
{
    (void)closure;
    pthread_mutex_lock(&self->lock);
    if (self->state == RUNNING && !self->is_waited && self->process == getpid())
        (void)facpool_run_poll(self->handle, &self->last, NULL); /* no callback: nothing to fail */
    facpool_progress now = self->last;
    pthread_mutex_unlock(&self->lock);
    return core_progress_dict(&now);
}

/* ------------------------------------------------------------------ life */

static void run_dealloc(core_run *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->handle && self->process == getpid()) {
        facpool_result *result = NULL;
        PyObject *exception = core_exception_take();
        stop(self, facpool_run_kill);
        (void)finish_handle(self, &result, NULL); /* nobody is left to hear of it */
        facpool_result_free(result);
        if (exception)
            core_exception_set(exception);
    }
    /* In a forked child threads of the parent may have held anything: its handles stay. */
    if (self->process == getpid()) {
        core_call_free(self->call);
        pthread_mutex_destroy(&self->lock);
    }
    Py_XDECREF(self->tasks);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static int run_traverse(core_run *self, visitproc visit, void *arg)
{
#if PY_VERSION_HEX >= 0x03090000
    Py_VISIT(Py_TYPE(self));
#endif
    Py_VISIT(self->tasks);
    return core_call_traverse(self->call, visit, arg);
}

/* Takes the call over, also on failure. */
static core_run *run_new(core_state *state, core_call *call, core_tasks *tasks)
{
    core_run *self = PyObject_GC_New(core_run, state->run_type);
    if (!self || pthread_mutex_init(&self->lock, NULL)) {
        if (self) {
            PyObject_GC_Del(self);
            Py_DECREF(state->run_type);
            PyErr_NoMemory();
        }
        core_call_free(call);
        return NULL;
    }
    self->handle = NULL;
    self->call = call;
    Py_INCREF(tasks);
    self->tasks = tasks;
    self->state = RUNNING;
    self->is_waited = false;
    self->nap_ns = FIRST_NAP_NS;
    self->process = getpid();
    self->last = (facpool_progress)FACPOOL_PROGRESS_INIT;
    PyObject_GC_Track(self);
    return self;
}

/* ------------------------------------------------------------------ starting */

static int check_process(const core_call *call, const core_run_options *options)
{
    if (options->run.executor == FACPOOL_EXECUTOR_SERIAL) {
        PyErr_SetString(PyExc_ValueError, "the serial executor goes by run_serial");
        return -1;
    }
    if (options->run.executor != FACPOOL_EXECUTOR_PROCESS || call->start ||
        PyInterpreterState_Get() == PyInterpreterState_Main())
        return 0;
    PyErr_SetString(call->state->errors[-FACPOOL_E_UNSUPPORTED],
                    "worker processes can't be forked from a subinterpreter: give start");
    return -1;
}

static void close_note(core_call *call)
{
    if (call->note_fd >= 0)
        close(call->note_fd);
    call->note_fd = -1;
}

/* Where worker processes leave the traceback of a worker_init. */
static int make_note(core_call *call, const core_run_options *options)
{
    if (options->run.executor != FACPOOL_EXECUTOR_PROCESS || (!call->worker_init && !call->start))
        return 0;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = core_note_new(&call->note, &call->note_fd, &error);
    if (rc)
        core_raise(call->state, rc, &error);
    else if (!call->start)
        close_note(call); /* forked workers have the memory already */
    return rc;
}

static PyObject *start_with(core_run *self, core_run_options *options)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    core_call *call = self->call;
    if (check_process(call, options) || make_note(call, options))
        return NULL;
    core_call_leave(call);
    int rc = facpool_run_start(&self->handle, self->tasks->handle, &options->run, &error);
    core_call_return(call);
    close_note(call);
    if (!rc)
        return (PyObject *)self;
    self->handle = NULL;
    self->state = FINISHED;
    return raise_start(call, rc, &error);
}

PyObject *core_start(PyObject *module, PyObject *args)
{
    core_state *state = PyModule_GetState(module);
    core_tasks *tasks = NULL;
    PyObject *dict = NULL;
    if (!PyArg_ParseTuple(args, "O!O!", state->tasks_type, &tasks, &PyDict_Type, &dict))
        return NULL;
    core_call *call = core_call_new(module, dict);
    core_run *self = call ? run_new(state, call, tasks) : NULL;
    core_run_options options;
    if (!self)
        return NULL;
    PyObject *started = NULL;
    if (!core_run_options_get(&options, dict, call)) {
        started = start_with(self, &options);
        core_run_options_drop(&options);
    }
    if (!started)
        Py_DECREF(self);
    return started;
}

/* ------------------------------------------------------------------ on the calling thread */

static PyObject *run_here(core_call *call, core_tasks *tasks, core_run_options *options,
                          unsigned int interval_ms)
{
    options->run.progress = core_progress;
    options->run.progress_user = call;
    options->run.progress_interval_ms = interval_ms;
    if (!options->run.dry_run)
        options->run.executor = FACPOOL_EXECUTOR_SERIAL;
    call->has_own_threads = false;
    facpool_result *result = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    core_call_leave(call);
    int rc = facpool_run(tasks->handle, &options->run, &result, &error);
    core_call_return(call);
    if (rc && !result)
        return raise_start(call, rc, &error);
    return outcome_of(call, rc, &error, result, tasks);
}

PyObject *core_run_serial(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"tasks", "options", "progress", "interval_ms", NULL};
    core_state *state = PyModule_GetState(module);
    core_tasks *tasks = NULL;
    PyObject *dict = NULL, *progress = Py_None;
    unsigned int interval_ms = 200;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!|OI", names, state->tasks_type, &tasks,
                                     &PyDict_Type, &dict, &progress, &interval_ms))
        return NULL;
    core_call *call = core_call_new(module, dict);
    if (!call)
        return NULL;
    if (progress != Py_None) {
        Py_INCREF(progress);
        call->progress = progress;
    }
    core_run_options options;
    PyObject *outcome = NULL;
    if (!core_run_options_get(&options, dict, call)) {
        outcome = run_here(call, tasks, &options, interval_ms);
        core_run_options_drop(&options);
    }
    core_call_free(call);
    return outcome;
}

/* ------------------------------------------------------------------ the type */

static PyMethodDef run_methods[] = {
    {"poll", (PyCFunction)run_poll, METH_VARARGS,
     "poll(seconds=0.0): (over, progress); waits until the run is over, at most so long."},
    {"cancel", (PyCFunction)run_cancel, METH_NOARGS, "Ends the run after what is in hand."},
    {"kill", (PyCFunction)run_kill, METH_NOARGS, "The same, killing worker processes."},
    {"wait", (PyCFunction)run_wait, METH_NOARGS,
     "(code, message, result, exception) when the run is over."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef run_getset[] = {
    {"progress", (getter)run_progress, NULL, "Counts now, as a dict.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(run_doc, "A started run. Dropped unfinished, it is killed and waited for.");

static PyType_Slot run_slots[] = {
    {Py_tp_doc, (void *)run_doc}, {Py_tp_dealloc, run_dealloc}, {Py_tp_traverse, run_traverse},
    {Py_tp_methods, run_methods}, {Py_tp_getset, run_getset},   {0, NULL},
};

PyType_Spec core_run_spec = {
    .name = "facpool._core.Run",
    .basicsize = sizeof(core_run),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | CORE_NO_INSTANCES,
    .slots = run_slots,
};
