/* Reader: backups that are open for questions. */
#include "core.h"

#include <unistd.h>

typedef struct core_reader {
    PyObject_HEAD facpool_reader *handle;
    pid_t process;
} core_reader;

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"paths", NULL};
    PyObject *given = NULL;
    core_texts paths;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &given) ||
        core_paths_get(&paths, given))
        return NULL;
    facpool_reader *handle = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = facpool_reader_open(&handle, paths.values, paths.n, &error);
    Py_END_ALLOW_THREADS core_texts_drop(&paths);
    if (rc)
        return core_raise(PyType_GetModuleState(type), rc, &error);
    core_reader *self = PyObject_New(core_reader, type);
    if (!self) {
        facpool_reader_free(handle);
        return NULL;
    }
    self->handle = handle;
    self->process = getpid();
    return (PyObject *)self;
}

static void reader_dealloc(core_reader *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->process == getpid())
        facpool_reader_free(self->handle);
    PyObject_Free(self);
    Py_DECREF(type);
}

static core_state *state_of(core_reader *self)
{
    return core_state_of((PyObject *)self);
}

/* ------------------------------------------------------------------ methods */

static PyObject *reader_refresh(core_reader *self, PyObject *nothing)
{
    (void)nothing;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = facpool_reader_refresh(self->handle, &error);
    Py_END_ALLOW_THREADS if (rc) return core_raise(state_of(self), rc, &error);
    Py_RETURN_NONE;
}

static PyObject *reader_stream(core_reader *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"filter", NULL};
    PyObject *filter = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &filter))
        return NULL;
    return core_question_stream(state_of(self), self->handle, NULL, filter);
}

static PyObject *reader_columns(core_reader *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"filter", NULL};
    PyObject *filter = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &filter))
        return NULL;
    return core_question_columns(state_of(self), self->handle, NULL, filter);
}

static PyObject *reader_rows(core_reader *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"filter", "timestamp", NULL};
    static const core_choice UNITS[] = {{"ms", 1000}, {"us", 1}, {NULL, 0}};
    PyObject *filter = Py_None, *unit = NULL;
    int divisor = 1000;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO", names, &filter, &unit) ||
        (unit && core_choose(unit, "timestamp", UNITS, &divisor)))
        return NULL;
    return core_question_rows(state_of(self), self->handle, filter, divisor);
}

static PyObject *reader_n_factors(core_reader *self, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(facpool_reader_n_factors(self->handle));
}

static PyObject *reader_factor_names(core_reader *self, void *closure)
{
    (void)closure;
    size_t n = facpool_reader_n_factors(self->handle);
    PyObject *names = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; names && i < n; i++) {
        PyObject *name = core_str(facpool_reader_factor_name(self->handle, i));
        if (name)
            PyList_SET_ITEM(names, (Py_ssize_t)i, name);
        else
            Py_CLEAR(names);
    }
    return names;
}

/* ------------------------------------------------------------------ the type */

#define WITH_KEYWORDS(function)                                                                    \
    (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef reader_methods[] = {
    {"refresh", (PyCFunction)reader_refresh, METH_NOARGS, "Takes a new snapshot."},
    {"stream", WITH_KEYWORDS(reader_stream), "stream(filter=None): 'arrow_array_stream' capsule."},
    {"rows", WITH_KEYWORDS(reader_rows),
     "rows(filter=None, timestamp='ms'): [date, code, timestamp, *factors]."},
    {"columns", WITH_KEYWORDS(reader_columns), "columns(filter=None): whole columns."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef reader_getset[] = {
    {"n_factors", (getter)reader_n_factors, NULL, "How many factors a row has.", NULL},
    {"factor_names", (getter)reader_factor_names, NULL, "Their names.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(reader_doc, "Reader(paths): backups that are open for questions, a snapshot.");

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, (void *)reader_doc}, {Py_tp_new, reader_new},       {Py_tp_dealloc, reader_dealloc},
    {Py_tp_methods, reader_methods}, {Py_tp_getset, reader_getset}, {0, NULL},
};

PyType_Spec core_reader_spec = {
    .name = "facpool._core.Reader",
    .basicsize = sizeof(core_reader),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = reader_slots,
};
