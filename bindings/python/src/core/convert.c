/* Python objects into what the library takes: numbers, dates, texts, paths, and options out of
 * dicts. Called by all other files; never keeps an object longer than its caller says. */
#include "core.h"

#include <string.h>

/* ------------------------------------------------------------------ single values */

int core_int64(PyObject *value, int64_t *out, const char *what)
{
    if (PyBool_Check(value) || !PyIndex_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %.80R of type '%.100s'", what, value,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *number = PyNumber_Index(value);
    if (!number)
        return -1;
    int overflow = 0;
    *out = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow)
        PyErr_Format(PyExc_OverflowError, "%s %.80R does not fit in 64 bits", what, number);
    Py_DECREF(number);
    return overflow || (*out == -1 && PyErr_Occurred()) ? -1 : 0;
}

int core_int_range(PyObject *value, int64_t low, int64_t high, int64_t *out, const char *what)
{
    int64_t number = 0;
    if (core_int64(value, &number, what))
        return -1;
    if (number < low || number > high) {
        PyErr_Format(PyExc_ValueError, "%s must be from %lld to %lld, not %lld", what,
                     (long long)low, (long long)high, (long long)number);
        return -1;
    }
    *out = number;
    return 0;
}

const char *core_text(PyObject *value, const char *what)
{
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be a str, not %.80R of type '%.100s'", what, value,
                     Py_TYPE(value)->tp_name);
        return NULL;
    }
    Py_ssize_t length = 0;
    const char *text = PyUnicode_AsUTF8AndSize(value, &length);
    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeError))
        PyErr_Format(PyExc_ValueError, "%s %.80R has no UTF-8 form", what, value);
    if (text && strlen(text) != (size_t)length) {
        PyErr_Format(PyExc_ValueError, "%s %.80R holds a NUL character", what, value);
        return NULL;
    }
    return text;
}

PyObject *core_date_renew(core_date *date, int64_t value)
{
    PyObject *number = PyLong_FromLongLong(value);
    if (!number)
        return NULL;
    Py_XDECREF(date->number);
    date->number = number;
    date->value = value;
    return number;
}

PyObject *core_str(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

PyObject *core_str_or_none(const char *text)
{
    if (text)
        return core_str(text);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ int64 values */

static bool is_int64_format(const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    if (*format == '@' || *format == '=' || *format == '<')
        format++;
    return (*format == 'q' || *format == 'l') && !format[1] && view->itemsize == 8;
}

static int take_buffer(core_int64s *out, PyObject *source, const char *what)
{
    if (PyObject_GetBuffer(source, &out->view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS))
        return -1;
    if (out->view.ndim != 1 || !is_int64_format(&out->view)) {
        PyErr_Format(PyExc_TypeError, "%s must be one-dimensional and of int64, not %dd of '%s'",
                     what, out->view.ndim, out->view.format ? out->view.format : "B");
        PyBuffer_Release(&out->view);
        out->view.obj = NULL;
        return -1;
    }
    out->values = out->view.buf;
    out->n = (size_t)out->view.shape[0];
    return 0;
}

static int take_sequence(core_int64s *out, PyObject *source, const char *what)
{
    PyObject *items = PySequence_Tuple(source);
    if (!items)
        return -1;
    size_t n = (size_t)PyTuple_GET_SIZE(items);
    out->own = PyMem_RawMalloc(n * sizeof *out->own + 1);
    int rc = 0;
    if (!out->own) {
        PyErr_NoMemory();
        rc = -1;
    }
    for (size_t i = 0; !rc && i < n; i++)
        rc = core_int64(PyTuple_GET_ITEM(items, (Py_ssize_t)i), &out->own[i], what);
    Py_DECREF(items);
    out->values = out->own;
    out->n = n;
    return rc;
}

int core_int64s_get(core_int64s *out, PyObject *source, const char *what)
{
    memset(out, 0, sizeof *out);
    int rc = PyObject_CheckBuffer(source) ? take_buffer(out, source, what)
                                          : take_sequence(out, source, what);
    if (rc)
        core_int64s_drop(out);
    return rc;
}

void core_int64s_drop(core_int64s *values)
{
    if (values->view.obj)
        PyBuffer_Release(&values->view);
    PyMem_RawFree(values->own);
    memset(values, 0, sizeof *values);
}

/* ------------------------------------------------------------------ texts and paths */

static int texts_start(core_texts *out, PyObject *keep)
{
    out->keep = keep;
    out->n = (size_t)PyTuple_GET_SIZE(keep);
    out->values = PyMem_RawCalloc(out->n + 1, sizeof *out->values);
    if (out->values)
        return 0;
    PyErr_NoMemory();
    return -1;
}

int core_texts_get(core_texts *out, PyObject *source, const char *what)
{
    memset(out, 0, sizeof *out);
    if (PyUnicode_Check(source) || PyBytes_Check(source)) {
        PyErr_Format(PyExc_TypeError,
                     "%s must be a sequence of str, not one %.100s: put it in a list", what,
                     Py_TYPE(source)->tp_name);
        return -1;
    }
    PyObject *keep = PySequence_Tuple(source);
    int rc = keep ? texts_start(out, keep) : -1;
    for (size_t i = 0; !rc && i < out->n; i++) {
        out->values[i] = core_text(PyTuple_GET_ITEM(keep, (Py_ssize_t)i), what);
        rc = out->values[i] ? 0 : -1;
    }
    if (rc)
        core_texts_drop(out);
    return rc;
}

static PyObject *paths_as_bytes(PyObject *source)
{
    PyObject *items = PySequence_Tuple(source);
    PyObject *keep = items ? PyTuple_New(PyTuple_GET_SIZE(items)) : NULL;
    for (Py_ssize_t i = 0; keep && i < PyTuple_GET_SIZE(items); i++) {
        PyObject *path = NULL;
        if (PyUnicode_FSConverter(PyTuple_GET_ITEM(items, i), &path))
            PyTuple_SET_ITEM(keep, i, path);
        else
            Py_CLEAR(keep);
    }
    Py_XDECREF(items);
    return keep;
}

int core_paths_get(core_texts *out, PyObject *source)
{
    memset(out, 0, sizeof *out);
    if (PyUnicode_Check(source) || PyBytes_Check(source)) {
        PyErr_SetString(PyExc_TypeError,
                        "paths must be a sequence of paths, not one: put it in a list");
        return -1;
    }
    PyObject *keep = paths_as_bytes(source);
    int rc = keep ? texts_start(out, keep) : -1;
    for (size_t i = 0; !rc && i < out->n; i++)
        out->values[i] = PyBytes_AS_STRING(PyTuple_GET_ITEM(keep, (Py_ssize_t)i));
    if (rc)
        core_texts_drop(out);
    return rc;
}

void core_texts_drop(core_texts *texts)
{
    PyMem_RawFree((void *)texts->values);
    Py_XDECREF(texts->keep);
    memset(texts, 0, sizeof *texts);
}

/* ------------------------------------------------------------------ options */

PyObject *core_option(PyObject *dict, const char *key)
{
    PyObject *value = dict ? PyDict_GetItemString(dict, key) : NULL;
    return value == Py_None ? NULL : value;
}

int core_option_int(PyObject *dict, const char *key, int64_t low, int64_t high, int64_t *out)
{
    PyObject *value = core_option(dict, key);
    return value ? core_int_range(value, low, high, out, key) : 0;
}

int core_option_flag(PyObject *dict, const char *key, bool *out)
{
    PyObject *value = core_option(dict, key);
    if (!value)
        return 0;
    int is_true = PyObject_IsTrue(value);
    if (is_true < 0)
        return -1;
    *out = is_true;
    return 0;
}

int core_option_text(PyObject *dict, const char *key, const char **out)
{
    PyObject *value = core_option(dict, key);
    if (!value)
        return 0;
    const char *text = core_text(value, key);
    if (!text)
        return -1;
    *out = text;
    return 0;
}

static int refuse_choice(PyObject *value, const char *key, const core_choice *choices)
{
    PyObject *names = PyUnicode_FromString("");
    for (const core_choice *c = choices; names && c->name; c++) {
        PyObject *longer =
            PyUnicode_FromFormat("%U%s'%s'", names, c == choices ? "" : ", ", c->name);
        Py_SETREF(names, longer);
    }
    if (names)
        PyErr_Format(PyExc_ValueError, "%s is %R: choose one of %U", key, value, names);
    Py_XDECREF(names);
    return -1;
}

int core_choose(PyObject *value, const char *key, const core_choice *choices, int *out)
{
    const char *text = core_text(value, key);
    if (!text)
        return -1;
    for (const core_choice *c = choices; c->name; c++)
        if (strcmp(c->name, text) == 0) {
            *out = c->value;
            return 0;
        }
    return refuse_choice(value, key, choices);
}

int core_option_choice(PyObject *dict, const char *key, const core_choice *choices, int32_t *out)
{
    PyObject *value = core_option(dict, key);
    int chosen = *out;
    if (value && core_choose(value, key, choices, &chosen))
        return -1;
    *out = chosen;
    return 0;
}

int core_option_check(PyObject *dict, const char *const *known, const char *what)
{
    PyObject *key = NULL, *value = NULL;
    Py_ssize_t at = 0;
    if (!PyDict_Check(dict)) {
        PyErr_Format(PyExc_TypeError, "%s must be a dict, not %.100s", what,
                     Py_TYPE(dict)->tp_name);
        return -1;
    }
    while (PyDict_Next(dict, &at, &key, &value)) {
        const char *const *name = known;
        while (*name &&
               !(PyUnicode_Check(key) && PyUnicode_CompareWithASCIIString(key, *name) == 0))
            name++;
        if (!*name) {
            PyErr_Format(PyExc_TypeError, "%s have no %R", what, key);
            return -1;
        }
    }
    return 0;
}

int core_put(PyObject *dict, const char *key, PyObject *value)
{
    int rc = value ? PyDict_SetItemString(dict, key, value) : -1;
    Py_XDECREF(value);
    return rc;
}
