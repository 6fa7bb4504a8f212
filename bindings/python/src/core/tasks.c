/* Tasks: a task set of the library, made from pairs, columns, a grid or Arrow. Immutable, so that
 * runs and results may share it between threads. */
#include "core.h"

#include <string.h>
#include <unistd.h>

/* Tasks that are handed to the library at a time. */
#define CHUNK 1024

#define FETCH_AHEAD 16

static PyObject *wrap(core_state *state, facpool_tasks *handle)
{
    core_tasks *self = PyObject_New(core_tasks, state->tasks_type);
    if (!self) {
        facpool_tasks_free(handle);
        return NULL;
    }
    self->handle = handle;
    self->process = getpid();
    return (PyObject *)self;
}

/* ------------------------------------------------------------------ from pairs */

typedef struct pair_reader {
    core_state *state;
    facpool_tasks *tasks;
    PyObject *date_of; /* borrowed, or NULL */
    size_t row;        /* being read */
    size_t n;          /* waiting in the chunk */
    PyObject *keep[CHUNK];
    int64_t dates[CHUNK];
    const char *codes[CHUNK];
} pair_reader;

static int add_chunk(pair_reader *reader)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc =
        facpool_tasks_add_columns(reader->tasks, reader->n, reader->dates, reader->codes, &error);
    for (size_t i = 0; i < reader->n; i++)
        Py_DECREF(reader->keep[i]);
    reader->n = 0;
    if (rc)
        core_raise(reader->state, rc, &error);
    return rc ? -1 : 0;
}

static int type_fault(const pair_reader *reader, const char *wanted, PyObject *value)
{
    PyErr_Format(PyExc_TypeError, "task %zu: %s, not %.80R of type '%.100s'", reader->row, wanted,
                 value, Py_TYPE(value)->tp_name);
    return -1;
}

static int read_date(pair_reader *reader, PyObject *date, int64_t *out)
{
    if (PyLong_CheckExact(date)) {
        int overflow = 0;
        *out = PyLong_AsLongLongAndOverflow(date, &overflow);
        if (overflow)
            PyErr_Format(PyExc_OverflowError, "task %zu: date %.80R does not fit in 64 bits",
                         reader->row, date);
        return overflow ? -1 : 0;
    }
    if (!PyBool_Check(date) && PyIndex_Check(date))
        return core_int64(date, out, "a date");
    if (!reader->date_of)
        return type_fault(reader, "the date must be an int", date);
    PyObject *converted = PyObject_CallFunctionObjArgs(reader->date_of, date, NULL);
    int rc = converted ? core_int64(converted, out, "what date_of returns") : -1;
    Py_XDECREF(converted);
    return rc;
}

static const char *read_code(pair_reader *reader, PyObject *code)
{
    if (!PyUnicode_Check(code)) {
        type_fault(reader, "the code must be a str", code);
        return NULL;
    }
    Py_ssize_t length = 0;
    const char *text = PyUnicode_AsUTF8AndSize(code, &length);
    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeError))
        PyErr_Format(PyExc_ValueError, "task %zu: code %.80R has no UTF-8 form", reader->row, code);
    if (text && strlen(text) != (size_t)length) {
        PyErr_Format(PyExc_ValueError, "task %zu: code %.80R holds a NUL character", reader->row,
                     code);
        return NULL;
    }
    return text;
}

static int read_pair(pair_reader *reader, PyObject *date, PyObject *code)
{
    int64_t number = 0;
    const char *text = read_code(reader, code);
    if (!text || read_date(reader, date, &number))
        return -1;
    Py_INCREF(code); /* the text is its */
    reader->keep[reader->n] = code;
    reader->dates[reader->n] = number;
    reader->codes[reader->n] = text;
    reader->n++;
    return reader->n == CHUNK ? add_chunk(reader) : 0;
}

/* Any sequence of at least two: date and code are held while Python code may run. */
static int read_any_pair(pair_reader *reader, PyObject *pair)
{
    if (!PySequence_Check(pair) || PyUnicode_Check(pair) || PyBytes_Check(pair))
        return type_fault(reader, "a task must be a (date, code) pair", pair);
    PyObject *date = PySequence_GetItem(pair, 0);
    PyObject *code = date ? PySequence_GetItem(pair, 1) : NULL;
    int rc = code ? read_pair(reader, date, code) : -1;
    Py_XDECREF(code);
    Py_XDECREF(date);
    if (rc && PyErr_ExceptionMatches(PyExc_IndexError)) {
        PyErr_Format(PyExc_ValueError, "task %zu: a task must be a (date, code) pair, not %.80R",
                     reader->row, pair);
    }
    return rc;
}

static int read_item(pair_reader *reader, PyObject *pair)
{
    if (PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) >= 2)
        return read_pair(reader, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    return read_any_pair(reader, pair);
}

/* The pairs lie all over the memory: what is read soon is fetched meanwhile, the pair first, then
 * its code. */
static void fetch_ahead(PyObject *pairs, Py_ssize_t i)
{
    Py_ssize_t n = PySequence_Fast_GET_SIZE(pairs);
    if (i + 2 * FETCH_AHEAD < n)
        __builtin_prefetch(PySequence_Fast_GET_ITEM(pairs, i + 2 * FETCH_AHEAD));
    if (i + FETCH_AHEAD >= n)
        return;
    PyObject *pair = PySequence_Fast_GET_ITEM(pairs, i + FETCH_AHEAD);
    if (PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) >= 2)
        __builtin_prefetch(PyTuple_GET_ITEM(pair, 1));
}

/* A list may change while date_of runs: its size is looked at each time, the pair is held. */
static int read_pairs(pair_reader *reader, PyObject *pairs)
{
    int rc = 0;
    for (Py_ssize_t i = 0; !rc && i < PySequence_Fast_GET_SIZE(pairs); i++) {
        fetch_ahead(pairs, i);
        PyObject *pair = PySequence_Fast_GET_ITEM(pairs, i);
        Py_INCREF(pair);
        reader->row = (size_t)i;
        rc = read_item(reader, pair);
        Py_DECREF(pair);
    }
    if (!rc)
        return add_chunk(reader);
    for (size_t i = 0; i < reader->n; i++)
        Py_DECREF(reader->keep[i]);
    reader->n = 0;
    return rc;
}

/* A list or tuple of the pairs: a list as it is, but where other threads might change it. */
static PyObject *as_list(PyObject *pairs)
{
    if (PyUnicode_Check(pairs) || PyBytes_Check(pairs)) {
        PyErr_Format(PyExc_TypeError, "tasks must be a sequence of (date, code) pairs, not %.80R",
                     pairs);
        return NULL;
    }
#ifndef Py_GIL_DISABLED
    if (PyList_CheckExact(pairs)) {
        Py_INCREF(pairs);
        return pairs;
    }
#endif
    return PySequence_Tuple(pairs);
}

static PyObject *from_pairs_with(core_state *state, PyObject *pairs, PyObject *date_of)
{
    pair_reader *reader = PyMem_RawCalloc(1, sizeof *reader);
    if (!reader)
        return PyErr_NoMemory();
    reader->state = state;
    reader->date_of = date_of;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = facpool_tasks_new(&reader->tasks, &error);
    if (rc)
        core_raise(state, rc, &error);
    if (!rc)
        rc = read_pairs(reader, pairs);
    PyObject *made = rc ? NULL : wrap(state, reader->tasks);
    if (rc)
        facpool_tasks_free(reader->tasks);
    PyMem_RawFree(reader);
    return made;
}

/* Static methods have no class to find the module's state by: these get it as a class method. */
static core_state *state_of_class(PyObject *class)
{
    return PyType_GetModuleState((PyTypeObject *)class);
}

static PyObject *from_pairs(PyObject *class, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"pairs", "date_of", NULL};
    PyObject *source = NULL, *date_of = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", names, &source, &date_of))
        return NULL;
    PyObject *pairs = as_list(source);
    if (!pairs)
        return NULL;
    PyObject *made =
        from_pairs_with(state_of_class(class), pairs, date_of == Py_None ? NULL : date_of);
    Py_DECREF(pairs);
    return made;
}

/* ------------------------------------------------------------------ from columns, grid, Arrow */

typedef struct columns {
    core_int64s dates;
    core_texts codes;
} columns;

static int columns_get(columns *out, PyObject *args)
{
    PyObject *dates = NULL, *codes = NULL;
    memset(out, 0, sizeof *out);
    if (!PyArg_ParseTuple(args, "OO", &dates, &codes) ||
        core_int64s_get(&out->dates, dates, "dates"))
        return -1;
    if (core_texts_get(&out->codes, codes, "codes")) {
        core_int64s_drop(&out->dates);
        return -1;
    }
    return 0;
}

static void columns_drop(columns *c)
{
    core_texts_drop(&c->codes);
    core_int64s_drop(&c->dates);
}

static PyObject *finish(core_state *state, int rc, facpool_tasks *tasks, const facpool_error *error)
{
    if (!rc)
        return wrap(state, tasks);
    facpool_tasks_free(tasks);
    return core_raise(state, rc, error);
}

static PyObject *from_columns(PyObject *class, PyObject *args)
{
    core_state *state = state_of_class(class);
    columns c;
    facpool_tasks *tasks = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    if (columns_get(&c, args))
        return NULL;
    if (c.dates.n != c.codes.n) {
        PyErr_Format(state->errors[-FACPOOL_E_INVALID], "%zu dates, but %zu codes: give one each",
                     c.dates.n, c.codes.n);
        columns_drop(&c);
        return NULL;
    }
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = facpool_tasks_new(&tasks, &error);
    if (!rc)
        rc = facpool_tasks_add_columns(tasks, c.dates.n, c.dates.values, c.codes.values, &error);
    Py_END_ALLOW_THREADS columns_drop(&c);
    return finish(state, rc, tasks, &error);
}

static PyObject *from_grid(PyObject *class, PyObject *args)
{
    columns c;
    facpool_tasks *tasks = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    if (columns_get(&c, args))
        return NULL;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc =
        facpool_tasks_grid(&tasks, c.dates.values, c.dates.n, c.codes.values, c.codes.n, &error);
    Py_END_ALLOW_THREADS columns_drop(&c);
    return finish(state_of_class(class), rc, tasks, &error);
}

static PyObject *from_arrow(PyObject *class, PyObject *capsule)
{
    core_state *state = state_of_class(class);
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (!stream)
        return NULL;
    if (!stream->release) {
        PyErr_SetString(state->errors[-FACPOOL_E_INVALID],
                        "the Arrow stream was read before: give a fresh one");
        return NULL;
    }
    struct ArrowArrayStream own = *stream;
    stream->release = NULL; /* moved out of the capsule */
    facpool_tasks *tasks = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = facpool_tasks_from_arrow(&tasks, &own, &error);
    Py_END_ALLOW_THREADS return finish(state, rc, tasks, &error);
}

/* ------------------------------------------------------------------ looking at tasks */

static void tasks_dealloc(core_tasks *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->process == getpid())
        facpool_tasks_free(self->handle);
    PyObject_Free(self);
    Py_DECREF(type);
}

static Py_ssize_t tasks_length(core_tasks *self)
{
    return (Py_ssize_t)facpool_tasks_count(self->handle);
}

static PyObject *tasks_n_codes(core_tasks *self, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(facpool_tasks_n_codes(self->handle));
}

static PyObject *tasks_key(core_tasks *self, PyObject *argument)
{
    int64_t index = 0, date = 0;
    const char *code = NULL;
    if (core_int64(argument, &index, "index"))
        return NULL;
    if (index < 0 || (size_t)index >= facpool_tasks_count(self->handle)) {
        PyErr_Format(PyExc_IndexError, "there is no task %lld: there are %zu", (long long)index,
                     facpool_tasks_count(self->handle));
        return NULL;
    }
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = facpool_tasks_get(self->handle, (size_t)index, &date, &code, &error);
    if (rc)
        return core_raise(core_state_of((PyObject *)self), rc, &error);
    PyObject *text = core_str(code);
    return text ? Py_BuildValue("(LN)", (long long)date, text) : NULL;
}

static PyObject *tasks_dates(core_tasks *self, PyObject *nothing)
{
    (void)nothing;
    size_t n = facpool_tasks_count(self->handle);
    int64_t *dates = PyMem_RawMalloc(n * sizeof *dates + 1);
    if (!dates)
        return PyErr_NoMemory();
    const char *code = NULL;
    Py_BEGIN_ALLOW_THREADS for (size_t i = 0; i < n; i++)(void)
        facpool_tasks_get(self->handle, i, &dates[i], &code, NULL); /* every i is there */
    Py_END_ALLOW_THREADS return core_buffer_take(core_state_of((PyObject *)self), dates, n, 'q');
}

static const char *code_at(const core_tasks *self, size_t index)
{
    int64_t date = 0;
    const char *code = "";
    (void)facpool_tasks_get(self->handle, index, &date, &code, NULL); /* every index is there */
    return code;
}

static PyObject *tasks_codes(core_tasks *self, PyObject *nothing)
{
    (void)nothing;
    size_t n = facpool_tasks_count(self->handle);
    core_codes codes;
    if (core_codes_init(&codes))
        return NULL;
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; list && i < n; i++) {
        const char *text = code_at(self, i);
        PyObject *code = core_codes_str(&codes, text, strlen(text), true);
        Py_XINCREF(code);
        if (code)
            PyList_SET_ITEM(list, (Py_ssize_t)i, code);
        else
            Py_CLEAR(list);
    }
    core_codes_drop(&codes);
    return list;
}

static int number_codes(const core_tasks *self, core_codes *codes, int32_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *text = code_at(self, i);
        int64_t number = core_codes_number(codes, text, strlen(text));
        if (number < 0)
            return -1;
        numbers[i] = (int32_t)number;
    }
    return 0;
}

static PyObject *tasks_code_index(core_tasks *self, PyObject *nothing)
{
    (void)nothing;
    size_t n = facpool_tasks_count(self->handle);
    core_codes codes;
    if (core_codes_init(&codes))
        return NULL;
    int32_t *numbers = PyMem_RawMalloc(n * sizeof *numbers + 1);
    PyObject *pair = NULL, *buffer = NULL;
    if (!numbers) {
        PyErr_NoMemory();
    } else if (number_codes(self, &codes, numbers, n)) {
        PyMem_RawFree(numbers);
    } else {
        buffer = core_buffer_take(core_state_of((PyObject *)self), numbers, n, 'i');
        pair = buffer ? PyTuple_Pack(2, buffer, codes.list) : NULL;
    }
    Py_XDECREF(buffer);
    core_codes_drop(&codes);
    return pair;
}

/* ------------------------------------------------------------------ the type */

static PyMethodDef tasks_methods[] = {
    {"from_pairs", (PyCFunction)(void (*)(void))from_pairs,
     METH_VARARGS | METH_KEYWORDS | METH_CLASS,
     "from_pairs(pairs, date_of=None): from (date, code[, ...]) sequences."},
    {"from_columns", from_columns, METH_VARARGS | METH_CLASS,
     "from_columns(dates, codes): task i is (dates[i], codes[i])."},
    {"from_grid", from_grid, METH_VARARGS | METH_CLASS,
     "from_grid(dates, codes): every date with every code, date by date."},
    {"from_arrow", from_arrow, METH_O | METH_CLASS,
     "from_arrow(capsule): from an 'arrow_array_stream' capsule, which is consumed."},
    {"key", (PyCFunction)tasks_key, METH_O, "key(index): (date, code) of a task."},
    {"dates", (PyCFunction)tasks_dates, METH_NOARGS, "int64 dates of all tasks, a copy."},
    {"codes", (PyCFunction)tasks_codes, METH_NOARGS, "Codes of all tasks."},
    {"code_index", (PyCFunction)tasks_code_index, METH_NOARGS,
     "(int32 numbers, distinct codes): code of task i is distinct[numbers[i]]."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef tasks_getset[] = {
    {"n_codes", (getter)tasks_n_codes, NULL, "How many distinct codes there are.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(tasks_doc, "An ordered, immutable set of (date, code) tasks.");

static PyType_Slot tasks_slots[] = {
    {Py_tp_doc, (void *)tasks_doc}, {Py_tp_dealloc, tasks_dealloc}, {Py_sq_length, tasks_length},
    {Py_tp_methods, tasks_methods}, {Py_tp_getset, tasks_getset},   {0, NULL},
};

PyType_Spec core_tasks_spec = {
    .name = "facpool._core.Tasks",
    .basicsize = sizeof(core_tasks),
    .flags = Py_TPFLAGS_DEFAULT | CORE_NO_INSTANCES,
    .slots = tasks_slots,
};
