/* Calls of batch functions: a slice of tasks goes to a Python helper (batch_call of the options) as
 * buffers and a list of codes, and its rows come back in a buffer of Python's own, so that nothing
 * that the function keeps can point into the library. */
#include "core.h"

#include <math.h>
#include <string.h>

/* A stretch of a slice: the whole of it, or what lies between known tasks. */
typedef struct stretch {
    core_call *call;
    core_worker *worker;
    const facpool_slice *slice;
    size_t first, n;
} stretch;

/* ------------------------------------------------------------------ failures */

/* Of a group that fails whole the first task gets the whole text, the others its last line. */
static void fail_all(const stretch *s, int code, const char *text)
{
    (void)facpool_slice_fail(s->slice, s->first, code, text);
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    const char *line = text + length;
    while (line > text && line[-1] != '\n')
        line--;
    char shorter[512];
    (void)snprintf(
        shorter, sizeof shorter, "%.*s (the whole group failed: see its first task)",
        (int)(length - (size_t)(line - text) > 400 ? 400 : length - (size_t)(line - text)), line);
    for (size_t i = 1; i < s->n; i++)
        (void)facpool_slice_fail(s->slice, s->first + i, code, shorter);
}

/* A slice of several tasks that is no group is called again task by task: the text is then theirs.
 */
static int stretch_raised(const stretch *s)
{
    int code = CORE_FAILURE_RAISED;
    if (core_worker_interrupted(s->call, s->worker))
        return code;
    char *text = core_failure_text(s->call->state, &code);
    if (s->call->is_group || s->slice->n == 1)
        fail_all(s, code, text ? text : "out of memory");
    PyMem_RawFree(text);
    return code;
}

/* ------------------------------------------------------------------ arguments */

static PyObject *make_dates(const stretch *s)
{
    int64_t *dates = PyMem_RawMalloc(s->n * sizeof *dates + 1);
    if (!dates)
        return PyErr_NoMemory();
    memcpy(dates, s->slice->dates + s->first, s->n * sizeof *dates);
    return core_buffer_take(s->call->state, dates, s->n, 'q');
}

static PyObject *make_codes(const stretch *s)
{
    PyObject *codes = PyList_New((Py_ssize_t)s->n);
    for (size_t i = 0; codes && i < s->n; i++) {
        uint32_t number = s->slice->code_numbers[s->first + i];
        PyObject *code = number < s->worker->n_codes ? s->worker->codes[number] : NULL;
        Py_XINCREF(code);
        if (!code)
            code = core_worker_code(s->worker, s->slice->codes[s->first + i], number);
        if (code)
            PyList_SET_ITEM(codes, (Py_ssize_t)i, code);
        else
            Py_CLEAR(codes);
    }
    return codes;
}

/* The buffer of the call before, where nobody kept it. Without a GIL a count of one may be out of
 * date. */
static PyObject *make_rows(const stretch *s)
{
#ifndef Py_GIL_DISABLED
    core_buffer *kept = (core_buffer *)s->worker->rows;
    if (kept && Py_REFCNT(kept) == 1 && kept->shape[0] == (Py_ssize_t)s->n) {
        double *values = kept->memory;
        for (size_t i = 0; i < s->n * s->call->n_factors; i++)
            values[i] = NAN;
        Py_INCREF(kept);
        return (PyObject *)kept;
    }
#endif
    Py_CLEAR(s->worker->rows);
    PyObject *rows = core_buffer_rows(s->call->state, s->n, s->call->n_factors);
    Py_XINCREF(rows);
    s->worker->rows = rows;
    return rows;
}

static PyObject *call_helper(const stretch *s, PyObject *rows)
{
    core_call *call = s->call;
    PyObject *dates = make_dates(s);
    PyObject *codes = dates ? make_codes(s) : NULL;
    PyObject *answer = NULL;
    if (codes)
        answer = PyObject_CallFunction(call->batch_call, "OOOOIIO", call->func, dates, codes, rows,
                                       (unsigned)s->slice->attempt, (unsigned)s->slice->worker,
                                       call->kwargs);
    Py_XDECREF(codes);
    Py_XDECREF(dates);
    return answer;
}

/* ------------------------------------------------------------------ the answer */

static const core_choice KINDS[] = {{"fail", 1}, {"skip", 2}, {NULL, 0}};

static int apply_mark(const stretch *s, PyObject *mark)
{
    PyObject *kind = NULL, *message = Py_None;
    long long i = -1;
    int code = CORE_FAILURE_RAISED, chosen = 0;
    PyObject *items = PySequence_Tuple(mark);
    int rc = items && PyArg_ParseTuple(items, "LO|iO", &i, &kind, &code, &message) ? 0 : -1;
    if (!rc && (i < 0 || (size_t)i >= s->n)) {
        PyErr_Format(PyExc_IndexError, "batch_call marks row %lld of %zu", i, s->n);
        rc = -1;
    }
    if (!rc)
        rc = core_choose(kind, "a mark's kind", KINDS, &chosen);
    if (!rc && chosen == 2) {
        (void)facpool_slice_skip(s->slice, s->first + (size_t)i);
    } else if (!rc) {
        char *text = message == Py_None ? NULL : core_failure_cut(message);
        (void)facpool_slice_fail(s->slice, s->first + (size_t)i, code, text);
        PyMem_RawFree(text);
    }
    Py_XDECREF(items);
    return rc;
}

static int apply_marks(const stretch *s, PyObject *answer)
{
    if (answer == Py_None)
        return 0;
    PyObject *marks = PySequence_Tuple(answer);
    int rc = marks ? 0 : -1;
    for (Py_ssize_t i = 0; !rc && i < PyTuple_GET_SIZE(marks); i++)
        rc = apply_mark(s, PyTuple_GET_ITEM(marks, i));
    Py_XDECREF(marks);
    return rc;
}

static int call_stretch(const stretch *s, double *factors)
{
    PyObject *rows = make_rows(s);
    PyObject *answer = rows ? call_helper(s, rows) : NULL;
    int outcome = 0;
    if (!answer || apply_marks(s, answer))
        outcome = stretch_raised(s);
    else
        memcpy(factors + s->first * s->call->n_factors, ((core_buffer *)rows)->memory,
               s->n * s->call->n_factors * sizeof *factors);
    Py_XDECREF(answer);
    Py_XDECREF(rows);
    return outcome;
}

/* ------------------------------------------------------------------ known tasks */

static void apply_known(const core_call *call, const core_known *known, const facpool_slice *slice,
                        size_t i, double *factors)
{
    if (known->outcome == 0)
        memcpy(factors + i * call->n_factors, known->row, call->n_factors * sizeof *factors);
    else if (known->outcome == FACPOOL_SKIP)
        (void)facpool_slice_skip(slice, i);
    else
        (void)facpool_slice_fail(slice, i, known->outcome, PyBytes_AS_STRING(known->keep));
}

static size_t count_known(const core_call *call, const facpool_slice *slice)
{
    size_t n = 0;
    for (size_t i = 0; call->n_known && i < slice->n; i++)
        n += core_known_find(call, slice->indexes[i]) != NULL;
    return n;
}

/* Tasks up to the next known one. */
static size_t unknown_from(const core_call *call, const facpool_slice *slice, size_t first)
{
    size_t end = first;
    while (end < slice->n && !core_known_find(call, slice->indexes[end]))
        end++;
    return end - first;
}

static int call_around_known(stretch *s, double *factors)
{
    int outcome = 0;
    for (size_t i = 0; !outcome && i < s->slice->n;) {
        const core_known *known = core_known_find(s->call, s->slice->indexes[i]);
        if (known) {
            apply_known(s->call, known, s->slice, i, factors);
            i++;
            continue;
        }
        s->first = i;
        s->n = unknown_from(s->call, s->slice, i);
        outcome = call_stretch(s, factors);
        i += s->n;
    }
    return outcome;
}

int core_batch_call(const facpool_slice *slice, double *factors, void *user)
{
    core_call *call = user;
    stretch s = {.call = call, .worker = slice->worker_state, .slice = slice, .n = slice->n};
    size_t n_known = count_known(call, slice);
    /* A group is called whole, so that it sees all of its rows. */
    bool is_whole = n_known == 0 || (call->is_group && n_known < slice->n);
    if (call->is_interrupted) /* no further attempts */
        return CORE_FAILURE_RAISED;
    core_worker_attach(s.worker);
    int outcome = is_whole ? call_stretch(&s, factors) : call_around_known(&s, factors);
    core_worker_detach(s.worker);
    return outcome;
}
