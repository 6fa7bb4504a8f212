/* serve: this process as the helper of a run in another one. It forks workers that call Python
 * functions; called by the package's worker module in a fresh process of one thread. */
#include "core.h"

#include <string.h>
#include <unistd.h>

static const char *const SERVE_KEYS[] = {
    "func",        "batch",       "batch_call",  "kwargs",   "native", "native_signature",
    "native_user", "keep",        "n_factors",   "known",    "log",    "factor_names",
    "group_by",    "worker_init", "worker_exit", "error_fd", NULL};

static int attach_note(core_call *call, PyObject *dict)
{
    int64_t fd = -1;
    if (core_option_int(dict, "error_fd", 0, INT32_MAX, &fd))
        return -1;
    if (fd < 0)
        return 0;
    int rc = core_note_attach(&call->note, (int)fd);
    if (rc)
        PyErr_SetFromErrno(PyExc_OSError);
    else
        close((int)fd);
    return rc;
}

static int set_functions(facpool_serve_options *options, PyObject *dict, core_call *call)
{
    options->user = call;
    options->before_fork = core_before_fork;
    options->after_fork_parent = core_after_fork_parent;
    options->after_fork_child = core_after_fork_child;
    options->hooks_user = call;
    if (call->is_native)
        return core_call_native(call, dict, &options->fn, &options->batch_fn, &options->user);
    options->fn = call->is_batch ? NULL : core_task_call;
    options->batch_fn = call->is_batch ? core_batch_call : NULL;
    options->worker_init = core_worker_init;
    options->worker_exit = core_worker_exit;
    return 0;
}

static PyObject *serve_with(core_call *call, int fd, PyObject *dict)
{
    facpool_serve_options options = FACPOOL_SERVE_OPTIONS_INIT;
    facpool_error error = FACPOOL_ERROR_INIT;
    if (set_functions(&options, dict, call) || attach_note(call, dict))
        return NULL;
    core_call_leave(call);
    int rc = facpool_serve(fd, &options, &error);
    core_call_return(call);
    if (rc)
        return core_raise(call->state, rc, &error);
    Py_RETURN_NONE;
}

PyObject *core_serve(PyObject *module, PyObject *args)
{
    int fd = -1;
    PyObject *dict = NULL;
    if (!PyArg_ParseTuple(args, "iO!", &fd, &PyDict_Type, &dict) ||
        core_option_check(dict, SERVE_KEYS, "the serve options"))
        return NULL;
    core_call *call = core_call_new(module, dict);
    PyObject *answer = call ? serve_with(call, fd, dict) : NULL;
    core_call_free(call);
    return answer;
}
