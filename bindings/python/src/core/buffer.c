/* Buffer: memory with the buffer protocol, so that NumPy and memoryview see a result's columns
 * without a copy. It keeps the owner of the memory, or owns it. */
#include "core.h"

#include <math.h>
#include <string.h>

static Py_ssize_t item_bytes_of(char format)
{
    switch (format) {
    case 'q':
    case 'd':
        return 8;
    case 'i':
        return 4;
    default:
        return 1;
    }
}

static const char *format_text(char format)
{
    switch (format) {
    case 'q':
        return "q";
    case 'd':
        return "d";
    case 'i':
        return "i";
    default:
        return "B";
    }
}

static core_buffer *buffer_new(core_state *state, void *memory, size_t n, char format)
{
    core_buffer *buffer = PyObject_New(core_buffer, state->buffer_type);
    if (!buffer)
        return NULL;
    buffer->memory = memory;
    buffer->owner = NULL;
    buffer->format = format_text(format);
    buffer->item_bytes = item_bytes_of(format);
    buffer->n_dimensions = 1;
    buffer->shape[0] = (Py_ssize_t)n;
    buffer->shape[1] = 1;
    buffer->strides[0] = buffer->strides[1] = buffer->item_bytes;
    buffer->is_read_only = 0;
    return buffer;
}

PyObject *core_buffer_lend(core_state *state, const void *memory, size_t n, char format,
                           PyObject *owner)
{
    core_buffer *buffer = buffer_new(state, (void *)memory, n, format);
    if (!buffer)
        return NULL;
    Py_INCREF(owner);
    buffer->owner = owner;
    buffer->is_read_only = 1;
    return (PyObject *)buffer;
}

PyObject *core_buffer_take(core_state *state, void *memory, size_t n, char format)
{
    core_buffer *buffer = buffer_new(state, memory, n, format);
    if (!buffer)
        PyMem_RawFree(memory);
    return (PyObject *)buffer;
}

PyObject *core_buffer_rows(core_state *state, size_t n_rows, size_t n_columns)
{
    double *memory = PyMem_RawMalloc(n_rows * n_columns * sizeof *memory + 1);
    if (!memory)
        return PyErr_NoMemory();
    for (size_t i = 0; i < n_rows * n_columns; i++)
        memory[i] = NAN;
    core_buffer *buffer = buffer_new(state, memory, n_rows, 'd');
    if (!buffer) {
        PyMem_RawFree(memory);
        return NULL;
    }
    buffer->n_dimensions = 2;
    buffer->shape[1] = (Py_ssize_t)n_columns;
    buffer->strides[0] = (Py_ssize_t)(n_columns * sizeof *memory);
    return (PyObject *)buffer;
}

/* ------------------------------------------------------------------ the type */

static void buffer_dealloc(core_buffer *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->owner)
        Py_DECREF(self->owner);
    else
        PyMem_RawFree(self->memory);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int buffer_get(core_buffer *self, Py_buffer *view, int flags)
{
    if (self->is_read_only && (flags & PyBUF_WRITABLE)) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "the memory of a result is read-only");
        return -1;
    }
    Py_INCREF(self);
    view->obj = (PyObject *)self;
    view->buf = self->memory;
    view->len = self->shape[0] * self->shape[1] * self->item_bytes;
    view->itemsize = self->item_bytes;
    view->readonly = self->is_read_only;
    view->ndim = self->n_dimensions;
    view->format = flags & PyBUF_FORMAT ? (char *)self->format : NULL;
    view->shape = flags & PyBUF_ND ? self->shape : NULL;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? self->strides : NULL;
    view->suboffsets = NULL;
    view->internal = NULL;
    return 0;
}

static Py_ssize_t buffer_length(core_buffer *self)
{
    return self->shape[0];
}

PyDoc_STRVAR(buffer_doc, "Memory with the buffer protocol: memoryview(b), numpy.asarray(b). Keeps "
                         "its owner alive; what comes from a result is read-only.");

static PyType_Slot buffer_slots[] = {
    {Py_tp_doc, (void *)buffer_doc},
    {Py_tp_dealloc, buffer_dealloc},
    {Py_bf_getbuffer, buffer_get},
    {Py_sq_length, buffer_length},
    {0, NULL},
};

PyType_Spec core_buffer_spec = {
    .name = "facpool._core.Buffer",
    .basicsize = sizeof(core_buffer),
    .flags = Py_TPFLAGS_DEFAULT | CORE_NO_INSTANCES,
    .slots = buffer_slots,
};
