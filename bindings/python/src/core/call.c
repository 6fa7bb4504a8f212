/* What the callbacks of one run share: the user's functions, known rows, the thread state of who
 * waits, the first exception. Made by run.c and serve.c out of the options; never calls a task. */
#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ options */

static int take_callable(PyObject **out, PyObject *options, const char *key)
{
    PyObject *value = core_option(options, key);
    if (!value)
        return 0;
    if (!PyCallable_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be callable, not %.100s", key,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    Py_INCREF(value);
    *out = value;
    return 0;
}

static int take_callables(core_call *call, PyObject *options)
{
    return take_callable(&call->func, options, "func") ||
           take_callable(&call->batch_call, options, "batch_call") ||
           take_callable(&call->worker_init, options, "worker_init") ||
           take_callable(&call->worker_exit, options, "worker_exit") ||
           take_callable(&call->log, options, "log") ||
           take_callable(&call->start, options, "start");
}

/* A dict of its own, and the names as a vectorcall takes them. */
static int take_kwargs(core_call *call, PyObject *options)
{
    PyObject *given = core_option(options, "kwargs");
    call->kwargs = PyDict_New();
    if (!call->kwargs || (given && PyDict_Update(call->kwargs, given)))
        return -1;
    call->n_keywords = (size_t)PyDict_GET_SIZE(call->kwargs);
    PyObject *names = PyDict_Keys(call->kwargs);
    call->keyword_names = names && call->n_keywords ? PyList_AsTuple(names) : NULL;
    Py_XDECREF(names);
    if (!names || (call->n_keywords && !call->keyword_names))
        return -1;
    for (size_t i = 0; i < call->n_keywords; i++) {
        PyObject *name = PyTuple_GET_ITEM(call->keyword_names, (Py_ssize_t)i);
        if (!PyUnicode_Check(name)) {
            PyErr_Format(PyExc_TypeError, "names of kwargs must be str, not %R", name);
            return -1;
        }
    }
    return 0;
}

static PyObject *default_names(size_t n)
{
    PyObject *names = PyTuple_New((Py_ssize_t)n);
    for (size_t i = 0; names && i < n; i++) {
        PyObject *name = PyUnicode_FromFormat("f%zu", i);
        if (name)
            PyTuple_SET_ITEM(names, (Py_ssize_t)i, name);
        else
            Py_CLEAR(names);
    }
    return names;
}

static int take_names(core_call *call, PyObject *options)
{
    int64_t n = 0;
    if (core_option_int(options, "n_factors", 1, 65535, &n))
        return -1;
    if (!n) {
        PyErr_SetString(PyExc_TypeError, "n_factors is missing: give the width of a row");
        return -1;
    }
    call->n_factors = (size_t)n;
    PyObject *names = core_option(options, "factor_names");
    call->factor_names = names ? PySequence_Tuple(names) : default_names(call->n_factors);
    if (!call->factor_names)
        return -1;
    if ((size_t)PyTuple_GET_SIZE(call->factor_names) != call->n_factors) {
        PyErr_Format(PyExc_ValueError, "n_factors is %zu, but there are %zd factor_names",
                     call->n_factors, PyTuple_GET_SIZE(call->factor_names));
        return -1;
    }
    for (size_t i = 0; i < call->n_factors; i++)
        if (!core_text(PyTuple_GET_ITEM(call->factor_names, (Py_ssize_t)i), "a factor name"))
            return -1;
    return 0;
}

/* ------------------------------------------------------------------ known rows */

static int take_known_row(core_call *call, core_known *known, PyObject *row)
{
    PyObject *message = NULL;
    if (PyUnicode_Check(row)) {
        known->outcome = CORE_FAILURE_RAISED;
        known->keep = PyUnicode_AsEncodedString(row, "utf-8", "backslashreplace");
        return known->keep ? 0 : -1;
    }
    known->row = PyMem_RawMalloc(call->n_factors * sizeof *known->row);
    if (!known->row) {
        PyErr_NoMemory();
        return -1;
    }
    known->outcome = core_row_read(call, row, known->row, &message);
    if (message)
        PyErr_Format(PyExc_ValueError, "known row of task %zu: %U", known->index, message);
    Py_XDECREF(message);
    return known->outcome == 0 || known->outcome == FACPOOL_SKIP ? 0 : -1;
}

static int by_index(const void *a, const void *b)
{
    size_t x = ((const core_known *)a)->index, y = ((const core_known *)b)->index;
    return (x > y) - (x < y);
}

static int take_known(core_call *call, PyObject *options)
{
    PyObject *dict = core_option(options, "known"), *key = NULL, *row = NULL;
    Py_ssize_t at = 0;
    if (!dict)
        return 0;
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "known must be a dict of index -> row");
        return -1;
    }
    call->known = PyMem_RawCalloc((size_t)PyDict_GET_SIZE(dict) + 1, sizeof *call->known);
    if (!call->known) {
        PyErr_NoMemory();
        return -1;
    }
    while (PyDict_Next(dict, &at, &key, &row)) {
        core_known *known = &call->known[call->n_known];
        int64_t index = 0;
        if (core_int_range(key, 0, INT64_MAX, &index, "an index of known"))
            return -1;
        known->index = (size_t)index;
        call->n_known++;
        if (take_known_row(call, known, row))
            return -1;
    }
    qsort(call->known, call->n_known, sizeof *call->known, by_index);
    call->last_known = call->n_known ? call->known[call->n_known - 1].index : 0;
    return 0;
}

const core_known *core_known_find(const core_call *call, size_t index)
{
    core_known wanted = {.index = index};
    if (!call->n_known || index > call->last_known)
        return NULL;
    return bsearch(&wanted, call->known, call->n_known, sizeof *call->known, by_index);
}

/* ------------------------------------------------------------------ life */

static int check_together(const core_call *call)
{
    const char *fault = NULL;
    if (call->is_native && call->func)
        fault = "func and native exclude one another";
    else if (!call->is_native && !call->func)
        fault = "func is missing (or native)";
    else if (call->is_native && (call->worker_init || call->worker_exit || call->n_known))
        fault = "native functions go without worker_init, worker_exit and known";
    else if (call->is_batch && !call->batch_call)
        fault = "batch needs batch_call";
    if (!fault)
        return 0;
    PyErr_SetString(PyExc_TypeError, fault);
    return -1;
}

static int take_options(core_call *call, PyObject *options)
{
    call->is_native = core_option(options, "native") != NULL;
    call->is_group = core_option(options, "group_by") != NULL;
    PyObject *keep = core_option(options, "keep");
    Py_XINCREF(keep);
    call->keep = keep;
    if (take_callables(call, options) || core_option_flag(options, "batch", &call->is_batch) ||
        take_kwargs(call, options) || take_names(call, options) || take_known(call, options))
        return -1;
    return check_together(call);
}

static int make_system_objects(core_call *call)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    if (pthread_mutex_init(&call->lock, NULL)) {
        PyErr_NoMemory();
        return -1;
    }
    int rc = facpool_cancel_new(&call->cancel, &error);
    if (rc) {
        core_raise(call->state, rc, &error);
        pthread_mutex_destroy(&call->lock);
        return -1;
    }
    return 0;
}

core_call *core_call_new(PyObject *module, PyObject *options)
{
    core_call *call = PyMem_RawCalloc(1, sizeof *call);
    if (!call) {
        PyErr_NoMemory();
        return NULL;
    }
    call->state = PyModule_GetState(module);
    call->interpreter = PyInterpreterState_Get();
    call->note_fd = -1;
    if (make_system_objects(call)) {
        PyMem_RawFree(call);
        return NULL;
    }
    Py_INCREF(module);
    call->module = module;
    if (take_options(call, options)) {
        core_call_free(call);
        return NULL;
    }
    return call;
}

void core_call_release(core_call *call)
{
    Py_CLEAR(call->func);
    Py_CLEAR(call->batch_call);
    Py_CLEAR(call->kwargs);
    Py_CLEAR(call->keyword_names);
    Py_CLEAR(call->worker_init);
    Py_CLEAR(call->worker_exit);
    Py_CLEAR(call->log);
    Py_CLEAR(call->start);
    Py_CLEAR(call->progress);
    Py_CLEAR(call->keep);
}

void core_call_free(core_call *call)
{
    if (!call)
        return;
    core_call_release(call);
    for (size_t i = 0; i < call->n_known; i++) {
        PyMem_RawFree(call->known[i].row);
        Py_XDECREF(call->known[i].keep);
    }
    PyMem_RawFree(call->known);
    Py_XDECREF(call->factor_names);
    Py_XDECREF(call->exception);
    if (call->note_fd >= 0)
        close(call->note_fd);
    core_note_drop(call->note);
    facpool_cancel_free(call->cancel);
    pthread_mutex_destroy(&call->lock);
    Py_XDECREF(call->module);
    PyMem_RawFree(call);
}

int core_call_traverse(core_call *call, visitproc visit, void *arg)
{
    if (!call)
        return 0;
    Py_VISIT(call->func);
    Py_VISIT(call->batch_call);
    Py_VISIT(call->kwargs);
    Py_VISIT(call->worker_init);
    Py_VISIT(call->worker_exit);
    Py_VISIT(call->log);
    Py_VISIT(call->start);
    Py_VISIT(call->progress);
    Py_VISIT(call->keep);
    Py_VISIT(call->exception);
    Py_VISIT(call->module);
    return 0;
}

/* ------------------------------------------------------------------ the GIL of who waits */

void core_call_leave(core_call *call)
{
    call->away = PyEval_SaveThread();
}

void core_call_return(core_call *call)
{
    PyEval_RestoreThread(call->away);
}

/* ------------------------------------------------------------------ the first exception */

void core_call_keep_exception(core_call *call)
{
    PyObject *exception = core_exception_take();
    pthread_mutex_lock(&call->lock);
    bool is_first = !call->exception;
    if (is_first)
        call->exception = exception;
    pthread_mutex_unlock(&call->lock);
    if (!is_first)
        Py_XDECREF(exception);
}

PyObject *core_call_take_exception(core_call *call)
{
    pthread_mutex_lock(&call->lock);
    PyObject *exception = call->exception;
    call->exception = NULL;
    pthread_mutex_unlock(&call->lock);
    return exception;
}

/* ------------------------------------------------------------------ what runs tell */

/* All three are called on the thread that waits, with its GIL released. */

void core_log(const char *message, void *user)
{
    core_call *call = user;
    core_call_return(call);
    PyObject *text = core_str(message);
    PyObject *answer = text ? PyObject_CallFunctionObjArgs(call->log, text, NULL) : NULL;
    if (!answer)
        core_call_keep_exception(call);
    Py_XDECREF(answer);
    Py_XDECREF(text);
    core_call_leave(call);
}

static int show_progress(core_call *call, const facpool_progress *progress)
{
    PyObject *dict = core_progress_dict(progress);
    PyObject *answer = dict ? PyObject_CallFunctionObjArgs(call->progress, dict, NULL) : NULL;
    int rc = answer ? PyErr_CheckSignals() : -1;
    Py_XDECREF(answer);
    Py_XDECREF(dict);
    return rc;
}

int core_progress(const facpool_progress *progress, void *user)
{
    core_call *call = user;
    core_call_return(call);
    int rc = call->progress ? show_progress(call, progress) : PyErr_CheckSignals();
    if (rc)
        core_call_keep_exception(call);
    core_call_leave(call);
    return rc;
}

int core_start_helper(int fd, void *user)
{
    core_call *call = user;
    core_call_return(call);
    PyObject *answer = PyObject_CallFunction(call->start, "ii", fd, call->note_fd);
    if (!answer)
        core_call_keep_exception(call);
    bool is_started = answer != NULL;
    Py_XDECREF(answer);
    core_call_leave(call);
    return is_started ? 0 : 1;
}
