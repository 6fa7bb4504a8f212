/* A worker's beginning and end, and the hooks around forks. A worker is a thread of the library's
 * with a thread state of its own, or the calling thread (serial), or a forked process that keeps
 * the GIL it was forked with. */
#include "core.h"

#include <string.h>

/* ------------------------------------------------------------------ streams */

static void flush_stream(const char *name)
{
    PyObject *stream = PySys_GetObject(name);
    if (!stream || stream == Py_None)
        return;
    Py_INCREF(stream);
    PyObject *answer = PyObject_CallMethod(stream, "flush", NULL);
    if (!answer)
        PyErr_Clear(); /* closed, or broken: nothing waits in it that could still be shown */
    Py_XDECREF(answer);
    Py_DECREF(stream);
}

static void flush_streams(void)
{
    flush_stream("stdout");
    flush_stream("stderr");
}

/* ------------------------------------------------------------------ forks */

/* The forking thread of the run's process waits in the library, without the GIL. Helper and workers
 * keep it all their life: they have one thread each. */
void core_before_fork(void *user)
{
    core_call *call = user;
    if (!call->is_child)
        core_call_return(call);
    flush_streams();
    PyOS_BeforeFork();
}

void core_after_fork_parent(void *user)
{
    core_call *call = user;
    PyOS_AfterFork_Parent();
    if (!call->is_child)
        core_call_leave(call);
}

/* Objects that were there before are none of the workers' garbage: the collector need not touch,
 * and so copy, the pages they lie in. The free-threaded collector marks them one by one, which
 * would copy them all. */
static void freeze_collector(void)
{
#ifndef Py_GIL_DISABLED
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *answer = gc ? PyObject_CallMethod(gc, "freeze", NULL) : NULL;
    if (!answer)
        PyErr_Clear(); /* costs memory only */
    Py_XDECREF(answer);
    Py_XDECREF(gc);
#endif
}

void core_after_fork_child(void *user)
{
    core_call *call = user;
    PyOS_AfterFork_Child();
    if (!call->is_child)
        freeze_collector();
    call->is_child = true;
}

/* ------------------------------------------------------------------ beginning */

static void worker_free(core_worker *worker)
{
    for (uint32_t i = 0; i < worker->n_codes; i++)
        Py_XDECREF(worker->codes[i]);
    PyMem_RawFree(worker->codes);
    PyMem_RawFree(worker->stack);
    Py_XDECREF(worker->date.number);
    Py_XDECREF(worker->rows);
    PyMem_RawFree(worker);
}

static core_worker *worker_new(const core_call *call)
{
    core_worker *worker = PyMem_RawCalloc(1, sizeof *worker);
    if (!worker)
        return NULL;
    worker->is_process = call->is_child;
    worker->stack = PyMem_RawCalloc(3 + call->n_keywords, sizeof *worker->stack);
    if (call->has_own_threads && !call->is_child)
        worker->away = worker->own = PyThreadState_New(call->interpreter);
    else if (!call->is_child)
        worker->away = call->away;
    if (worker->stack && (worker->own || !call->has_own_threads || call->is_child))
        return worker;
    PyMem_RawFree(worker->stack);
    PyMem_RawFree(worker);
    return NULL;
}

/* Values of the keywords are the same for every call; the kwargs dict keeps them. */
static void fill_stack(core_worker *worker, const core_call *call)
{
    for (size_t i = 0; i < call->n_keywords; i++)
        worker->stack[3 + i] =
            PyDict_GetItem(call->kwargs, PyTuple_GET_ITEM(call->keyword_names, (Py_ssize_t)i));
}

/* Ends the run with the exception itself, or its text where it can't leave its process. */
static void tell_exception(core_call *call, uint32_t number)
{
    if (!call->is_child) {
        core_call_keep_exception(call);
        return;
    }
    int code = 0;
    char *text = core_failure_text(call->state, &code);
    if (text && call->note)
        core_note_write(call->note, text);
    else if (text)
        PySys_FormatStderr("worker_init of worker %u:\n%s\n", (unsigned)number, text);
    PyMem_RawFree(text);
    flush_streams();
}

static int call_init(core_call *call, uint32_t number)
{
    if (!call->worker_init)
        return 0;
    PyObject *answer = PyObject_CallFunction(call->worker_init, "I", (unsigned)number);
    if (!answer) {
        tell_exception(call, number);
        return -1;
    }
    Py_DECREF(answer);
    return 0;
}

/* Attached; leaves the thread without a state where it was the worker's own. */
static void worker_end(core_worker *worker)
{
    PyThreadState *own = worker->own;
    bool stays = worker->is_process;
    worker_free(worker);
    if (own) {
        PyThreadState_Clear(own);
        PyThreadState_DeleteCurrent();
    } else if (!stays) {
        (void)PyEval_SaveThread(); /* the same state that the waiting thread left with */
    }
}

int core_worker_init(uint32_t number, void **state, void *user)
{
    core_call *call = user;
    core_worker *worker = worker_new(call);
    if (!worker)
        return 1;
    core_worker_attach(worker);
    worker->thread = PyThreadState_Get();
    fill_stack(worker, call);
    if (call_init(call, number)) {
        worker_end(worker);
        return 1;
    }
    core_worker_detach(worker);
    *state = worker;
    return 0;
}

/* ------------------------------------------------------------------ end */

void core_worker_exit(uint32_t number, void *state, void *user)
{
    core_call *call = user;
    core_worker *worker = state;
    core_worker_attach(worker);
    if (call->worker_exit) {
        PyObject *answer = PyObject_CallFunction(call->worker_exit, "I", (unsigned)number);
        if (!answer)
            PyErr_WriteUnraisable(call->worker_exit);
        Py_XDECREF(answer);
    }
    if (worker->is_process)
        flush_streams();
    worker_end(worker);
}

bool core_worker_interrupted(core_call *call, const core_worker *worker)
{
    bool is_caller = !worker->own && !worker->is_process;
    if (!is_caller || !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return false;
    call->is_interrupted = true;
    core_call_keep_exception(call);
    facpool_cancel_set(call->cancel);
    return true;
}

/* ------------------------------------------------------------------ codes */

static bool make_room(core_worker *worker, uint32_t number)
{
    if (number >= CORE_CACHED_CODES)
        return false;
    uint32_t n = worker->n_codes ? worker->n_codes : 256;
    while (n <= number)
        n *= 2;
    PyObject **codes = PyMem_RawRealloc(worker->codes, n * sizeof(PyObject *));
    if (!codes)
        return false;
    memset(codes + worker->n_codes, 0, (n - worker->n_codes) * sizeof(PyObject *));
    worker->codes = codes;
    worker->n_codes = n;
    return true;
}

PyObject *core_worker_code(core_worker *worker, const char *code, uint32_t number)
{
    PyObject *text = core_str(code);
    if (!text || (number >= worker->n_codes && !make_room(worker, number)))
        return text;
    Py_INCREF(text);
    worker->codes[number] = text;
    return text;
}
