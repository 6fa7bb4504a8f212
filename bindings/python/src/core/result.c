/* Result: what a run left. Columns are buffers into the library's memory that keep the result. */
#include "core.h"

#include <string.h>
#include <unistd.h>

typedef struct core_result {
    PyObject_HEAD facpool_result *handle;
    core_tasks *tasks;
    pid_t process;
} core_result;

PyObject *core_result_new(core_state *state, facpool_result *handle, core_tasks *tasks)
{
    core_result *self = PyObject_New(core_result, state->result_type);
    if (!self) {
        facpool_result_free(handle);
        return NULL;
    }
    self->handle = handle;
    Py_INCREF(tasks);
    self->tasks = tasks;
    self->process = getpid();
    return (PyObject *)self;
}

static void result_dealloc(core_result *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->process == getpid())
        facpool_result_free(self->handle);
    Py_DECREF(self->tasks);
    PyObject_Free(self);
    Py_DECREF(type);
}

static core_state *state_of(core_result *self)
{
    return core_state_of((PyObject *)self);
}

/* ------------------------------------------------------------------ columns */

/* Makes sure of the rows, which may mean reading a file. */
static int load(core_result *self)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = facpool_result_load(self->handle, &error);
    Py_END_ALLOW_THREADS if (rc) core_raise(state_of(self), rc, &error);
    return rc;
}

static PyObject *result_load(core_result *self, PyObject *nothing)
{
    (void)nothing;
    if (load(self))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *lend(core_result *self, const void *memory, char format)
{
    if (!memory)
        return PyErr_NoMemory();
    return core_buffer_lend(state_of(self), memory, facpool_result_count(self->handle), format,
                            (PyObject *)self);
}

static PyObject *result_factor(core_result *self, PyObject *argument)
{
    int64_t index = 0;
    size_t n = facpool_result_n_factors(self->handle);
    if (core_int_range(argument, 0, (int64_t)n - 1, &index, "a factor's index") || load(self))
        return NULL;
    return lend(self, facpool_result_factor(self->handle, (size_t)index), 'd');
}

static PyObject *result_dates(core_result *self, PyObject *nothing)
{
    (void)nothing;
    const int64_t *dates;
    Py_BEGIN_ALLOW_THREADS dates = facpool_result_dates(self->handle);
    Py_END_ALLOW_THREADS return lend(self, dates, 'q');
}

static PyObject *result_status(core_result *self, PyObject *nothing)
{
    (void)nothing;
    return load(self) ? NULL : lend(self, facpool_result_status(self->handle), 'B');
}

/* ------------------------------------------------------------------ failures */

static PyObject *failure_dict(const facpool_failure *failure)
{
    PyObject *code = core_str(failure->code), *message = core_str(failure->message);
    PyObject *dict = NULL;
    if (code && message)
        dict = Py_BuildValue("{s:n,s:L,s:O,s:s,s:i,s:O}", "index", (Py_ssize_t)failure->index,
                             "date", (long long)failure->date, "code", code, "status",
                             facpool_status_name(failure->status), "failure_code",
                             (int)failure->failure_code, "message", message);
    Py_XDECREF(message);
    Py_XDECREF(code);
    return dict;
}

static size_t count_failures(core_result *self)
{
    size_t n;
    Py_BEGIN_ALLOW_THREADS n = facpool_result_n_failures(self->handle); /* may read them in */
    Py_END_ALLOW_THREADS return n;
}

static PyObject *result_n_failures(core_result *self, PyObject *nothing)
{
    (void)nothing;
    return PyLong_FromSize_t(count_failures(self));
}

static PyObject *result_failures(core_result *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"limit", NULL};
    PyObject *limit_given = Py_None;
    int64_t limit = INT64_MAX;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &limit_given) ||
        (limit_given != Py_None && core_int_range(limit_given, 0, INT64_MAX, &limit, "limit")))
        return NULL;
    size_t n = count_failures(self);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < n && (int64_t)i < limit; i++) {
        facpool_failure failure = FACPOOL_FAILURE_INIT;
        facpool_error error = FACPOOL_ERROR_INIT;
        int rc = facpool_result_failure(self->handle, i, &failure, &error);
        PyObject *dict = rc ? core_raise(state_of(self), rc, &error) : failure_dict(&failure);
        if (!dict || PyList_Append(list, dict))
            Py_CLEAR(list);
        Py_XDECREF(dict);
    }
    return list;
}

/* ------------------------------------------------------------------ report */

static PyObject *failures_list(const facpool_report *report)
{
    PyObject *list = PyList_New((Py_ssize_t)report->n_failures);
    for (size_t i = 0; list && i < report->n_failures; i++) {
        PyObject *dict = failure_dict(&report->failures[i]);
        if (dict)
            PyList_SET_ITEM(list, (Py_ssize_t)i, dict);
        else
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *slowest_list(const facpool_report *report)
{
    PyObject *list = PyList_New((Py_ssize_t)report->n_slowest);
    for (size_t i = 0; list && i < report->n_slowest; i++) {
        const facpool_slow_chunk *chunk = &report->slowest[i];
        PyObject *code = core_str(chunk->code);
        PyObject *dict =
            code ? Py_BuildValue("{s:L,s:N,s:n,s:d}", "date", (long long)chunk->date, "code", code,
                                 "n", (Py_ssize_t)chunk->n, "seconds", chunk->seconds)
                 : NULL;
        if (dict)
            PyList_SET_ITEM(list, (Py_ssize_t)i, dict);
        else
            Py_CLEAR(list);
    }
    return list;
}

typedef struct report_count {
    const char *name;
    size_t offset;
} report_count;

#define COUNT(name)                                                                                \
    {                                                                                              \
#name, offsetof(facpool_report, name)                                                      \
    }

static const report_count COUNTS[] = {
    COUNT(total),         COUNT(resumed),       COUNT(ok),
    COUNT(skipped),       COUNT(failed),        COUNT(timeout),
    COUNT(crashed),       COUNT(not_run),       COUNT(new_tasks),
    COUNT(retry_failed),  COUNT(retry_timeout), COUNT(retry_crashed),
    COUNT(rows_written),  COUNT(rows_durable),  COUNT(damaged_blocks),
    COUNT(tail_bytes_cut)};

static int put_counts(PyObject *dict, const facpool_report *report)
{
    for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
        uint64_t count = 0;
        memcpy(&count, (const char *)report + COUNTS[i].offset, sizeof count);
        if (core_put(dict, COUNTS[i].name, PyLong_FromUnsignedLongLong(count)))
            return -1;
    }
    return 0;
}

static PyObject *result_report(core_result *self, PyObject *nothing)
{
    (void)nothing;
    facpool_report report = FACPOOL_REPORT_INIT;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = facpool_result_report(self->handle, &report, &error);
    if (rc)
        return core_raise(state_of(self), rc, &error);
    PyObject *dict = Py_BuildValue("{s:I,s:d,s:d,s:d,s:d}", "workers", (unsigned)report.workers,
                                   "elapsed", report.elapsed_s, "compute", report.compute_s, "wait",
                                   report.wait_s, "write", report.write_s);
    if (dict && (put_counts(dict, &report) || core_put(dict, "failures", failures_list(&report)) ||
                 core_put(dict, "slowest", slowest_list(&report))))
        Py_CLEAR(dict);
    return dict;
}

/* ------------------------------------------------------------------ rows */

typedef struct row_source {
    const facpool_result *handle;
    const int64_t *dates;
    const uint8_t *statuses;
    const double **factors;
    size_t n_factors;
    core_codes codes;
    core_date date;
} row_source;

static int source_init(row_source *source, core_result *self)
{
    memset(source, 0, sizeof *source);
    source->handle = self->handle;
    source->n_factors = facpool_result_n_factors(self->handle);
    source->statuses = facpool_result_status(self->handle);
    source->dates = facpool_result_dates(self->handle);
    source->factors = PyMem_RawCalloc(source->n_factors + 1, sizeof *source->factors);
    if (!source->statuses || !source->dates || !source->factors) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t f = 0; f < source->n_factors; f++)
        source->factors[f] = facpool_result_factor(self->handle, f);
    return core_codes_init(&source->codes);
}

static void source_drop(row_source *source)
{
    PyMem_RawFree((void *)source->factors);
    core_codes_drop(&source->codes);
    Py_XDECREF(source->date.number);
}

static PyObject *make_row(row_source *source, size_t i)
{
    const char *text = facpool_result_code(source->handle, i);
    PyObject *code = core_codes_str(&source->codes, text, strlen(text), true);
    PyObject *row = code ? PyList_New((Py_ssize_t)(2 + source->n_factors)) : NULL;
    if (!row)
        return NULL;
    Py_INCREF(code);
    PyList_SET_ITEM(row, 1, code);
    PyObject *date = core_date_number(&source->date, source->dates[i]);
    Py_XINCREF(date);
    bool is_made = date != NULL;
    PyList_SET_ITEM(row, 0, date);
    for (size_t f = 0; is_made && f < source->n_factors; f++) {
        PyObject *value = PyFloat_FromDouble(source->factors[f][i]);
        is_made = value != NULL;
        PyList_SET_ITEM(row, (Py_ssize_t)(2 + f), value);
    }
    if (!is_made)
        Py_CLEAR(row);
    return row;
}

static int add_row(PyObject *rows, row_source *source, size_t i)
{
    if (source->statuses[i] != FACPOOL_STATUS_OK)
        return 0;
    PyObject *row = make_row(source, i);
    int rc = row ? PyList_Append(rows, row) : -1;
    Py_XDECREF(row);
    return rc;
}

static int refuse_index(int64_t index, size_t n)
{
    PyErr_Format(PyExc_IndexError, "there is no task %lld: there are %zu", (long long)index, n);
    return -1;
}

static int add_rows(PyObject *rows, row_source *source, const core_int64s *indexes)
{
    size_t n = facpool_result_count(source->handle);
    int rc = 0;
    for (size_t i = 0; !rc && !indexes && i < n; i++)
        rc = add_row(rows, source, i);
    for (size_t i = 0; !rc && indexes && i < indexes->n; i++) {
        int64_t index = indexes->values[i];
        rc = index < 0 || (size_t)index >= n ? refuse_index(index, n)
                                             : add_row(rows, source, (size_t)index);
    }
    return rc;
}

static PyObject *list_rows(core_result *self, const core_int64s *indexes)
{
    row_source source;
    if (load(self))
        return NULL;
    PyObject *rows = source_init(&source, self) ? NULL : PyList_New(0);
    bool was_on = core_collector_pause();
    if (rows && add_rows(rows, &source, indexes))
        Py_CLEAR(rows);
    core_collector_resume(was_on);
    source_drop(&source);
    return rows;
}

static PyObject *result_rows(core_result *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"indexes", NULL};
    PyObject *given = Py_None;
    core_int64s indexes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &given))
        return NULL;
    if (given == Py_None)
        return list_rows(self, NULL);
    if (core_int64s_get(&indexes, given, "indexes"))
        return NULL;
    PyObject *rows = list_rows(self, &indexes);
    core_int64s_drop(&indexes);
    return rows;
}

/* ------------------------------------------------------------------ questions */

static PyObject *filter_of(PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"filter", NULL};
    PyObject *filter = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &filter))
        return NULL;
    return filter;
}

static PyObject *result_stream(core_result *self, PyObject *args, PyObject *kwargs)
{
    PyObject *filter = filter_of(args, kwargs);
    return filter ? core_question_stream(state_of(self), NULL, self->handle, filter) : NULL;
}

static PyObject *result_columns(core_result *self, PyObject *args, PyObject *kwargs)
{
    PyObject *filter = filter_of(args, kwargs);
    return filter ? core_question_columns(state_of(self), NULL, self->handle, filter) : NULL;
}

/* ------------------------------------------------------------------ the type */

static PyObject *result_count(core_result *self, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(facpool_result_count(self->handle));
}

static PyObject *result_n_factors(core_result *self, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(facpool_result_n_factors(self->handle));
}

static PyObject *result_factor_names(core_result *self, void *closure)
{
    (void)closure;
    size_t n = facpool_result_n_factors(self->handle);
    PyObject *names = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; names && i < n; i++) {
        PyObject *name = core_str(facpool_result_factor_name(self->handle, i));
        if (name)
            PyList_SET_ITEM(names, (Py_ssize_t)i, name);
        else
            Py_CLEAR(names);
    }
    return names;
}

static PyObject *result_tasks(core_result *self, void *closure)
{
    (void)closure;
    Py_INCREF(self->tasks);
    return (PyObject *)self->tasks;
}

#define WITH_KEYWORDS(function)                                                                    \
    (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef result_methods[] = {
    {"load", (PyCFunction)result_load, METH_NOARGS, "Makes sure that the rows are in memory."},
    {"factor", (PyCFunction)result_factor, METH_O, "factor(index): float64 in task order."},
    {"dates", (PyCFunction)result_dates, METH_NOARGS, "int64 in task order."},
    {"status", (PyCFunction)result_status, METH_NOARGS, "uint8 in task order; 1 is ok."},
    {"n_failures", (PyCFunction)result_n_failures, METH_NOARGS, "How many tasks failed."},
    {"failures", WITH_KEYWORDS(result_failures), "failures(limit=None): dicts in task order."},
    {"report", (PyCFunction)result_report, METH_NOARGS, "What the run did, as a dict."},
    {"rows", WITH_KEYWORDS(result_rows), "rows(indexes=None): [date, code, *factors] of ok rows."},
    {"stream", WITH_KEYWORDS(result_stream), "stream(filter=None): 'arrow_array_stream' capsule."},
    {"columns", WITH_KEYWORDS(result_columns), "columns(filter=None): whole columns."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef result_getset[] = {
    {"count", (getter)result_count, NULL, "How many tasks.", NULL},
    {"n_factors", (getter)result_n_factors, NULL, "How many factors a row has.", NULL},
    {"factor_names", (getter)result_factor_names, NULL, "Their names.", NULL},
    {"tasks", (getter)result_tasks, NULL, "The task set.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(result_doc, "What a run left, immutable.");

static PyType_Slot result_slots[] = {
    {Py_tp_doc, (void *)result_doc},
    {Py_tp_dealloc, result_dealloc},
    {Py_tp_methods, result_methods},
    {Py_tp_getset, result_getset},
    {0, NULL},
};

PyType_Spec core_result_spec = {
    .name = "facpool._core.Result",
    .basicsize = sizeof(core_result),
    .flags = Py_TPFLAGS_DEFAULT | CORE_NO_INSTANCES,
    .slots = result_slots,
};
