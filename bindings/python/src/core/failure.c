/* Exceptions as text: the full traceback, cut in its middle where it is longer than the library
 * keeps. Called by whatever calls Python functions for the library. */
#include "core.h"

#include <limits.h>
#include <string.h>

/* What is kept of a text that is too long: the end says more than the beginning. */
#define HEAD_BYTES (4 * 1024)
#define CUT_BYTES  96 /* room for the line that says so */
#define TAIL_BYTES (CORE_MESSAGE_BYTES - HEAD_BYTES - CUT_BYTES)

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Writes a text of any length into CORE_MESSAGE_BYTES + 1. */
static void cut_into(char *out, const char *text, size_t length)
{
    if (length <= CORE_MESSAGE_BYTES) {
        memcpy(out, text, length);
        out[length] = '\0';
        return;
    }
    size_t head = HEAD_BYTES, tail = length - TAIL_BYTES;
    while (head > 0 && is_continuation(text[head]))
        head--;
    while (tail < length && is_continuation(text[tail]))
        tail++;
    memcpy(out, text, head);
    int written = snprintf(out + head, CUT_BYTES, "\n  ... %zu bytes left out ...\n", tail - head);
    memcpy(out + head + written, text + tail, length - tail);
    out[head + (size_t)written + length - tail] = '\0';
}

/* The library takes C strings. */
static void replace_nul(char *text, size_t length)
{
    for (char *at; (at = memchr(text, '\0', length)) != NULL;)
        *at = '?';
}

static char *cut_bytes(const char *text, size_t length)
{
    char *own = PyMem_RawMalloc(length + 1);
    char *out = PyMem_RawMalloc(CORE_MESSAGE_BYTES + 1);
    if (own && out) {
        memcpy(own, text, length);
        replace_nul(own, length);
        cut_into(out, own, length);
    } else {
        PyMem_RawFree(out);
        out = NULL;
    }
    PyMem_RawFree(own);
    return out;
}

char *core_failure_cut(PyObject *text)
{
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (!bytes) {
        PyErr_Clear();
        return NULL;
    }
    char *out = cut_bytes(PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return out;
}

/* ------------------------------------------------------------------ exceptions */

static PyObject *full_traceback(core_state *state, PyObject *exception)
{
    PyObject *trace = PyException_GetTraceback(exception);
    PyObject *lines =
        PyObject_CallFunctionObjArgs(state->format_exception, (PyObject *)Py_TYPE(exception),
                                     exception, trace ? trace : Py_None, NULL);
    PyObject *text = lines ? PyUnicode_Join(state->empty_text, lines) : NULL;
    Py_XDECREF(lines);
    Py_XDECREF(trace);
    return text;
}

/* A failure code that the exception carries, for failures that need no traceback; else 0. */
static int carried_code(PyObject *exception)
{
    PyObject *value = PyObject_GetAttrString(exception, "facpool_failure_code");
    int64_t code = 0;
    if (!value || core_int_range(value, INT_MIN + 2, INT_MAX, &code, "facpool_failure_code"))
        PyErr_Clear();
    Py_XDECREF(value);
    return (int)code;
}

/* Where not even a traceback can be made: out of memory, or at the recursion limit. */
static char *bare_text(PyObject *exception)
{
    char text[512];
    (void)snprintf(text, sizeof text, "%.400s (its traceback can't be formatted)",
                   Py_TYPE(exception)->tp_name);
    return cut_bytes(text, strlen(text));
}

char *core_failure_text(core_state *state, int *code)
{
    PyObject *exception = core_exception_take();
    *code = CORE_FAILURE_RAISED;
    if (!exception)
        return NULL;
    int carried = carried_code(exception);
    PyObject *text = carried ? PyObject_Str(exception) : full_traceback(state, exception);
    if (carried)
        *code = carried;
    char *out = text ? core_failure_cut(text) : NULL;
    PyErr_Clear();
    if (!out)
        out = bare_text(exception);
    Py_XDECREF(text);
    Py_DECREF(exception);
    return out;
}
