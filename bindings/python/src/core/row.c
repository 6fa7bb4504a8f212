/* What a function returned, read into a row of doubles: tuples and lists of floats fast, all that
 * counts as numbers besides. Called for every task; it never lets a value through that is no
 * number. */
#include "core.h"

#include <string.h>

/* The message of a failure is made here, once something is wrong: nothing above it costs time. */
typedef struct row_reader {
    const core_call *call;
    double *factors;
    PyObject **message;
} row_reader;

/* ------------------------------------------------------------------ what is wrong */

static PyObject *factor_name(const row_reader *reader, size_t factor)
{
    return PyTuple_GET_ITEM(reader->call->factor_names, (Py_ssize_t)factor);
}

static int refuse_value(const row_reader *reader, size_t factor, PyObject *value)
{
    const char *hint =
        value == Py_None ? ": return None in place of the whole row where there is nothing" : "";
    *reader->message =
        PyUnicode_FromFormat("factor '%U' is no number but %.80R of type '%.100s'%s",
                             factor_name(reader, factor), value, Py_TYPE(value)->tp_name, hint);
    return *reader->message ? CORE_FAILURE_VALUE : -1;
}

static PyObject *wanted_names(const row_reader *reader)
{
    PyObject *separator = PyUnicode_FromString(", ");
    PyObject *names = separator ? PyUnicode_Join(separator, reader->call->factor_names) : NULL;
    Py_XDECREF(separator);
    return names;
}

static int refuse_width(const row_reader *reader, Py_ssize_t width)
{
    size_t n_factors = reader->call->n_factors;
    PyObject *names = wanted_names(reader);
    if (!names)
        return -1;
    *reader->message =
        PyUnicode_FromFormat("the row has %zd value%s, this run has %zu factor%s (%.200U)", width,
                             width == 1 ? "" : "s", n_factors, n_factors == 1 ? "" : "s", names);
    Py_DECREF(names);
    return *reader->message ? CORE_FAILURE_WIDTH : -1;
}

static int refuse_names(const row_reader *reader, PyObject *dict)
{
    PyObject *names = wanted_names(reader);
    PyObject *keys = PyDict_Keys(dict);
    if (names && keys)
        *reader->message = PyUnicode_FromFormat(
            "the row has the names %.200R, this run has the factors (%.200U)", keys, names);
    Py_XDECREF(keys);
    Py_XDECREF(names);
    return *reader->message ? CORE_FAILURE_WIDTH : -1;
}

static int refuse_type(const row_reader *reader, PyObject *row)
{
    *reader->message = PyUnicode_FromFormat(
        "a row must be numbers, a dict by factor names, or None, not %.80R of type '%.100s'", row,
        Py_TYPE(row)->tp_name);
    return *reader->message ? CORE_FAILURE_VALUE : -1;
}

/* ------------------------------------------------------------------ numbers */

/* Types that turn into a float, but are no numbers to a row. */
static bool is_refused_type(PyTypeObject *type)
{
    static const char *const NAMES[] = {"bool_",      "bool",        "complex64",  "complex128",
                                        "complex256", "clongdouble", "datetime64", "timedelta64",
                                        "NaTType",    NULL};
    const char *dot = strrchr(type->tp_name, '.');
    const char *name = dot ? dot + 1 : type->tp_name;
    for (const char *const *refused = NAMES; *refused; refused++)
        if (strcmp(*refused, name) == 0)
            return true;
    return false;
}

static bool has_number(PyObject *item)
{
    const PyNumberMethods *number = Py_TYPE(item)->tp_as_number;
    return number && (number->nb_float || number->nb_index) && !PyBool_Check(item) &&
           !PyComplex_Check(item) && !PyUnicode_Check(item) && !is_refused_type(Py_TYPE(item));
}

/* What a type says when it is no number after all, as pandas.NA does; not what goes wrong in it. */
static bool is_conversion_error(void)
{
    return PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_ValueError) ||
           PyErr_ExceptionMatches(PyExc_OverflowError);
}

/* 1: a number, 0: none, -1: an exception that is the function's. */
static int number_of(PyObject *item, double *value)
{
    if (PyFloat_Check(item)) {
        *value = PyFloat_AS_DOUBLE(item);
        return 1;
    }
    if (!PyLong_CheckExact(item) && !has_number(item))
        return 0;
    PyObject *number = PyNumber_Float(item);
    if (!number && !is_conversion_error())
        return -1;
    if (!number) {
        PyErr_Clear();
        return 0;
    }
    *value = PyFloat_AS_DOUBLE(number);
    Py_DECREF(number);
    return 1;
}

static int read_number(const row_reader *reader, size_t factor, PyObject *item)
{
    int found = number_of(item, &reader->factors[factor]);
    if (found < 0)
        return -1;
    return found ? 0 : refuse_value(reader, factor, item);
}

/* ------------------------------------------------------------------ rows of items */

static int read_tuple(const row_reader *reader, PyObject *row)
{
    Py_ssize_t width = PyTuple_GET_SIZE(row);
    if ((size_t)width != reader->call->n_factors)
        return refuse_width(reader, width);
    for (Py_ssize_t i = 0; i < width; i++) {
        PyObject *item = PyTuple_GET_ITEM(row, i);
        if (PyFloat_CheckExact(item)) {
            reader->factors[i] = PyFloat_AS_DOUBLE(item);
            continue;
        }
        int outcome = read_number(reader, (size_t)i, item);
        if (outcome)
            return outcome;
    }
    return 0;
}

static int read_as_tuple(const row_reader *reader, PyObject *row)
{
    PyObject *tuple = PySequence_Tuple(row);
    if (!tuple)
        return -1;
    int outcome = read_tuple(reader, tuple);
    Py_DECREF(tuple);
    return outcome;
}

/* A list that holds other things than floats may be changed by their __float__: it is read as a
 * tuple. So is every list where other threads may change it at any time. */
static int read_list(const row_reader *reader, PyObject *row)
{
#ifndef Py_GIL_DISABLED
    Py_ssize_t width = PyList_GET_SIZE(row), i = 0;
    if ((size_t)width != reader->call->n_factors)
        return refuse_width(reader, width);
    for (; i < width && PyFloat_CheckExact(PyList_GET_ITEM(row, i)); i++)
        reader->factors[i] = PyFloat_AS_DOUBLE(PyList_GET_ITEM(row, i));
    if (i == width)
        return 0;
#endif
    return read_as_tuple(reader, row);
}

static int read_dict(const row_reader *reader, PyObject *dict)
{
    size_t n_factors = reader->call->n_factors;
    if ((size_t)PyDict_GET_SIZE(dict) != n_factors)
        return refuse_names(reader, dict);
    for (size_t i = 0; i < n_factors; i++) {
        PyObject *item = PyDict_GetItemWithError(dict, factor_name(reader, i));
        if (!item)
            return PyErr_Occurred() ? -1 : refuse_names(reader, dict);
        Py_INCREF(item);
        int outcome = read_number(reader, i, item);
        Py_DECREF(item);
        if (outcome)
            return outcome;
    }
    return 0;
}

/* ------------------------------------------------------------------ rows in a buffer */

#define READ_VALUES(type)                                                                          \
    for (size_t i = 0; i < n; i++, at += stride) {                                                 \
        type value;                                                                                \
        memcpy(&value, at, sizeof value);                                                          \
        factors[i] = (double)value;                                                                \
    }                                                                                              \
    return true

/* False for a type that is not read here. */
static bool copy_values(double *factors, const char *at, Py_ssize_t stride, size_t n, char type)
{
    switch (type) {
    case 'd':
        READ_VALUES(double);
    case 'f':
        READ_VALUES(float);
    case 'q':
        READ_VALUES(long long);
    case 'l':
        READ_VALUES(long);
    case 'i':
        READ_VALUES(int);
    case 'h':
        READ_VALUES(short);
    case 'b':
        READ_VALUES(signed char);
    case 'Q':
        READ_VALUES(unsigned long long);
    case 'L':
        READ_VALUES(unsigned long);
    case 'I':
        READ_VALUES(unsigned int);
    case 'H':
        READ_VALUES(unsigned short);
    case 'B':
        READ_VALUES(unsigned char);
    default:
        return false;
    }
}

#define NOT_READ_HERE (-2)

static int read_view(const row_reader *reader, const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    if (*format == '@')
        format++;
    if (view->ndim > 1 || !format[0] || format[1] || view->suboffsets)
        return NOT_READ_HERE;
    size_t n = view->ndim == 1 ? (size_t)view->shape[0] : 1;
    Py_ssize_t stride = view->ndim == 1 ? view->strides[0] : view->itemsize;
    if (n != reader->call->n_factors)
        return refuse_width(reader, (Py_ssize_t)n);
    return copy_values(reader->factors, view->buf, stride, n, *format) ? 0 : NOT_READ_HERE;
}

static int read_buffer(const row_reader *reader, PyObject *row)
{
    Py_buffer view;
    if (PyObject_GetBuffer(row, &view, PyBUF_FORMAT | PyBUF_STRIDES)) {
        PyErr_Clear(); /* an array of objects or dates has none */
        return NOT_READ_HERE;
    }
    int outcome = read_view(reader, &view);
    PyBuffer_Release(&view);
    return outcome;
}

/* ------------------------------------------------------------------ everything else */

static bool is_iterable(PyObject *row)
{
    return Py_TYPE(row)->tp_iter && !PyUnicode_Check(row) && !PyBytes_Check(row) &&
           !PyByteArray_Check(row) && !PyAnySet_Check(row);
}

static int read_single(const row_reader *reader, PyObject *row)
{
    double value = 0;
    int found = number_of(row, &value);
    if (found <= 0)
        return found ? -1 : refuse_type(reader, row);
    if (reader->call->n_factors != 1)
        return refuse_width(reader, 1);
    reader->factors[0] = value;
    return 0;
}

static int read_other(const row_reader *reader, PyObject *row)
{
    if (PyFloat_Check(row) || PyLong_Check(row))
        return read_single(reader, row);
    if (PyDict_Check(row))
        return read_dict(reader, row);
    if (PyTuple_Check(row) || PyList_Check(row))
        return read_as_tuple(reader, row);
    if (PyObject_CheckBuffer(row) && !PyBytes_Check(row) && !PyByteArray_Check(row)) {
        int outcome = read_buffer(reader, row);
        if (outcome != NOT_READ_HERE)
            return outcome;
    }
    /* NumPy's scalars can be asked for an iterator, but give none: numbers come first. Arrays of
     * one dimension and more have a length. */
    bool has_length = PyObject_HasAttrString(row, "__len__") && PyObject_Size(row) >= 0;
    PyErr_Clear();
    if (!has_length && has_number(row))
        return read_single(reader, row);
    return is_iterable(row) ? read_as_tuple(reader, row) : refuse_type(reader, row);
}

int core_row_read(const core_call *call, PyObject *row, double *factors, PyObject **message)
{
    row_reader reader = {.call = call, .factors = factors, .message = message};
    if (PyTuple_CheckExact(row))
        return read_tuple(&reader, row);
    if (PyList_CheckExact(row))
        return read_list(&reader, row);
    if (row == Py_None)
        return FACPOOL_SKIP;
    return read_other(&reader, row);
}
