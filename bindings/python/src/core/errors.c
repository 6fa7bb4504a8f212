/* The exceptions of the package: one class for each error code of the library, under one base,
 * which also are what a Python user would expect (FileNotFoundError, ValueError, ...). Made once by
 * module.c; raised by every other file. */
#include "core.h"

#include <errno.h>
#include <string.h>

typedef struct error_class {
    int code;
    const char *name;
    PyObject **also; /* a built-in class it is one of, or NULL */
    const char *doc;
} error_class;

static const char BASE_DOC[] = "What the library refused or failed at.\n\n"
                               "The message names the offending value and the remedy.\n"
                               "code: the library's number, negative, never changes.\n"
                               "name: its name, as 'FACPOOL_E_BUSY'.\n"
                               "os_errno: errno of the failing system call, or 0.\n"
                               "task: (date, code) of the task concerned, or None.";

static const char FACTOR_DOC[] = "A question asks for a factor that the backup does not hold.";

#define N_CLASSES (CORE_N_ERRORS - 1)

/* By code, from -1 on. */
static const error_class CLASSES[N_CLASSES] = {
    {FACPOOL_E_INVALID, "facpool.InvalidError", &PyExc_ValueError, "A wrong argument."},
    {FACPOOL_E_NOMEM, "facpool.NoMemoryError", &PyExc_MemoryError, "Out of memory."},
    {FACPOOL_E_ABI, "facpool.AbiError", NULL, "A struct that this library does not know."},
    {FACPOOL_E_IO, "facpool.BackupIOError", &PyExc_OSError, "A read, write or sync failed."},
    {FACPOOL_E_EXISTS, "facpool.ExistsError", &PyExc_FileExistsError,
     "A backup, or an ok row for this key, is there already."},
    {FACPOOL_E_MISMATCH, "facpool.MismatchError", &PyExc_ValueError,
     "The backup holds other factors, or another tag."},
    {FACPOOL_E_BUSY, "facpool.BusyError", NULL, "Another writer has the backup open."},
    {FACPOOL_E_UNSUPPORTED, "facpool.UnsupportedError", &PyExc_NotImplementedError,
     "This build, file system or file version can't do that."},
    {FACPOOL_E_CORRUPT, "facpool.CorruptError", NULL, "Stored bytes fail their checks."},
    {FACPOOL_E_NOT_FOUND, "facpool.NotFoundError", &PyExc_FileNotFoundError,
     "No such backup, or no such folder."},
    {FACPOOL_E_DUPLICATE, "facpool.DuplicateError", &PyExc_ValueError,
     "A key occurs twice in a task set."},
    {FACPOOL_E_CANCELLED, "facpool.CancelledError", NULL, "The run was cancelled."},
    {FACPOOL_E_TASK, "facpool.TaskError", NULL, "Failing tasks stopped the run."},
    {FACPOOL_E_FORKED, "facpool.ForkedError", NULL,
     "OpenMP in a forked child of a process that used it."},
    {FACPOOL_E_SYSTEM, "facpool.SystemFault", NULL,
     "A thread, lock or other system object could not be had."},
    {FACPOOL_E_STATE, "facpool.StateError", NULL,
     "The call does not fit what the object is doing."},
    {FACPOOL_E_WORKER, "facpool.WorkerError", NULL,
     "Worker processes can't be started, or die before they work."},
};

/* ------------------------------------------------------------------ making the classes */

static PyObject *base_namespace(void)
{
    return Py_BuildValue("{s:i,s:s,s:i,s:O}", "code", 0, "name", "ok", "os_errno", 0, "task",
                         Py_None);
}

/* The built-in class comes first: its constructor then fills in errno and strerror. */
static PyObject *make_class(core_state *state, const error_class *class)
{
    PyObject *bases = class->also ? PyTuple_Pack(2, *class->also, state->errors[0])
                                  : PyTuple_Pack(1, state->errors[0]);
    PyObject *names =
        Py_BuildValue("{s:i,s:s}", "code", class->code, "name", facpool_error_name(class->code));
    PyObject *made = NULL;
    if (bases && names)
        made = PyErr_NewExceptionWithDoc(class->name, class->doc, bases, names);
    Py_XDECREF(names);
    Py_XDECREF(bases);
    return made;
}

/* KeyError shows its message in quotes; this one doesn't. */
static PyObject *make_factor_class(core_state *state)
{
    PyObject *bases = PyTuple_Pack(2, PyExc_KeyError, state->errors[0]);
    PyObject *show = PyObject_GetAttrString(PyExc_Exception, "__str__");
    PyObject *names = show ? Py_BuildValue("{s:i,s:s,s:O}", "code", FACPOOL_E_NOT_FOUND, "name",
                                           "FACPOOL_E_NOT_FOUND", "__str__", show)
                           : NULL;
    PyObject *made = NULL;
    if (bases && names)
        made = PyErr_NewExceptionWithDoc("facpool.FactorNotFoundError", FACTOR_DOC, bases, names);
    Py_XDECREF(names);
    Py_XDECREF(show);
    Py_XDECREF(bases);
    return made;
}

static int publish(PyObject *module, const char *name, PyObject *class)
{
    return class ? PyObject_SetAttrString(module, strrchr(name, '.') + 1, class) : -1;
}

int core_errors_add(PyObject *module, core_state *state)
{
    PyObject *names = base_namespace();
    if (!names)
        return -1;
    state->errors[0] =
        PyErr_NewExceptionWithDoc("facpool.Error", BASE_DOC, PyExc_RuntimeError, names);
    Py_DECREF(names);
    if (publish(module, "facpool.Error", state->errors[0]))
        return -1;
    for (int i = 0; i < N_CLASSES; i++) {
        const error_class *class = &CLASSES[i];
        state->errors[-class->code] = make_class(state, class);
        if (publish(module, class->name, state->errors[-class->code]))
            return -1;
    }
    state->factor_not_found = make_factor_class(state);
    return publish(module, "facpool.FactorNotFoundError", state->factor_not_found);
}

/* ------------------------------------------------------------------ raising */

static int describe(PyObject *exception, const facpool_error *error)
{
    PyObject *os_errno = PyLong_FromLong(error->os_errno);
    int rc = os_errno ? PyObject_SetAttrString(exception, "os_errno", os_errno) : -1;
    Py_XDECREF(os_errno);
    if (rc || !error->has_task)
        return rc;
    PyObject *code = core_str(error->task_code);
    PyObject *task = code ? Py_BuildValue("(LN)", (long long)error->date, code) : NULL;
    rc = task ? PyObject_SetAttrString(exception, "task", task) : -1;
    Py_XDECREF(task);
    return rc;
}

/* Classes of OSError take errno first, where there is one. */
static PyObject *instantiate(PyObject *class, int os_errno, PyObject *message)
{
    bool is_os_error = PyType_IsSubtype((PyTypeObject *)class, (PyTypeObject *)PyExc_OSError);
    if (os_errno && is_os_error)
        return PyObject_CallFunction(class, "iO", os_errno, message);
    return PyObject_CallFunctionObjArgs(class, message, NULL);
}

static int os_errno_of(int code, const facpool_error *error)
{
    if (error->os_errno)
        return error->os_errno;
    if (code == FACPOOL_E_NOT_FOUND)
        return ENOENT;
    return code == FACPOOL_E_EXISTS ? EEXIST : 0;
}

static PyObject *object_of_class(PyObject *class, int code, const facpool_error *error)
{
    PyObject *message = core_str(error->message[0] ? error->message : facpool_error_name(code));
    if (!message)
        return NULL;
    PyObject *exception = instantiate(class, os_errno_of(code, error), message);
    Py_DECREF(message);
    if (exception && describe(exception, error))
        Py_CLEAR(exception);
    return exception;
}

PyObject *core_error_object(core_state *state, int code, const facpool_error *error)
{
    static const facpool_error NOTHING = FACPOOL_ERROR_INIT;
    bool is_known = code < 0 && code > -CORE_N_ERRORS;
    return object_of_class(state->errors[is_known ? -code : 0], code, error ? error : &NOTHING);
}

static PyObject *raise_object(PyObject *exception)
{
    if (exception)
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_XDECREF(exception);
    return NULL;
}

PyObject *core_raise(core_state *state, int code, const facpool_error *error)
{
    return raise_object(core_error_object(state, code, error));
}

PyObject *core_raise_factor(core_state *state, int code, const facpool_error *error)
{
    if (code != FACPOOL_E_NOT_FOUND)
        return core_raise(state, code, error);
    return raise_object(object_of_class(state->factor_not_found, code, error));
}

PyObject *core_make_error(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"code", "message", "os_errno", NULL};
    int code = 0, os_errno = 0;
    PyObject *message = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iU|i", names, &code, &message, &os_errno))
        return NULL;
    core_state *state = PyModule_GetState(module);
    bool is_known = code < 0 && code > -CORE_N_ERRORS;
    facpool_error error = FACPOOL_ERROR_INIT;
    error.os_errno = os_errno;
    PyObject *exception =
        instantiate(state->errors[is_known ? -code : 0], os_errno_of(code, &error), message);
    if (exception && describe(exception, &error))
        Py_CLEAR(exception);
    return exception;
}

PyObject *core_error_name(PyObject *module, PyObject *code)
{
    (void)module;
    int64_t number = 0;
    if (core_int_range(code, INT32_MIN, INT32_MAX, &number, "code"))
        return NULL;
    return core_str(facpool_error_name((int)number));
}

/* ------------------------------------------------------------------ carrying exceptions about */

PyObject *core_exception_take(void)
{
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    PyErr_Fetch(&type, &value, &trace);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace && value)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(trace);
    Py_XDECREF(type);
    return value;
#endif
}

void core_exception_set(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(exception);
#else
    PyObject *type = (PyObject *)Py_TYPE(exception);
    Py_INCREF(type);
    PyErr_Restore(type, exception, PyException_GetTraceback(exception));
#endif
}
