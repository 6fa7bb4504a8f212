/* Answers as Python objects: lists of lists, and whole columns in buffers. Called by reader.c and
 * result.c; batches come from question.c. */
#include "core.h"

#include <string.h>

/* ------------------------------------------------------------------ the collector */

#if PY_VERSION_HEX >= 0x030a0000
bool core_collector_pause(void)
{
    return PyGC_Disable();
}

void core_collector_resume(bool was_on)
{
    if (was_on)
        PyGC_Enable();
}
#else
/* Before 3.10 only the module can. Failing costs time only. */
static bool ask_collector(const char *method)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *answer = gc ? PyObject_CallMethod(gc, method, NULL) : NULL;
    bool is_true = answer && PyObject_IsTrue(answer) == 1;
    PyErr_Clear();
    Py_XDECREF(answer);
    Py_XDECREF(gc);
    return is_true;
}

bool core_collector_pause(void)
{
    bool was_on = ask_collector("isenabled");
    (void)ask_collector("disable");
    return was_on;
}

void core_collector_resume(bool was_on)
{
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    PyErr_Fetch(&type, &value, &trace);
    if (was_on)
        (void)ask_collector("enable");
    PyErr_Restore(type, value, trace);
}
#endif

/* ------------------------------------------------------------------ lists of lists */

typedef struct row_builder {
    PyObject *rows;
    core_codes codes;
    core_date date;
    int64_t divisor;
} row_builder;

/* New reference. */
static PyObject *date_of(row_builder *builder, int64_t date)
{
    PyObject *number = core_date_number(&builder->date, date);
    Py_XINCREF(number);
    return number;
}

static PyObject *code_of(row_builder *builder, const facpool_batch_view *view, size_t i)
{
    size_t first = (size_t)view->code_offsets[i];
    PyObject *code = core_codes_str(&builder->codes, view->code_bytes + first,
                                    (size_t)view->code_offsets[i + 1] - first, false);
    Py_XINCREF(code);
    return code;
}

/* Sets item `at` of a list that is being made; false without a value. */
static bool set(PyObject *list, size_t at, PyObject *value)
{
    if (!value)
        return false;
    PyList_SET_ITEM(list, (Py_ssize_t)at, value);
    return true;
}

/* Rounds down, also before 1970. */
static int64_t divide(int64_t value, int64_t divisor)
{
    int64_t quotient = value / divisor;
    return quotient - (value % divisor < 0);
}

static PyObject *make_row(row_builder *builder, const facpool_batch_view *view, size_t i)
{
    bool is_ok = view->all_ok || view->statuses[i] == FACPOOL_STATUS_OK;
    PyObject *row = PyList_New((Py_ssize_t)(3 + view->n_factors));
    if (!row)
        return NULL;
    bool is_made = set(row, 0, date_of(builder, view->dates[i])) &&
                   set(row, 1, code_of(builder, view, i)) &&
                   set(row, 2, PyLong_FromLongLong(divide(view->timestamps[i], builder->divisor)));
    for (size_t f = 0; is_made && f < view->n_factors; f++) {
        if (is_ok) {
            is_made = set(row, 3 + f, PyFloat_FromDouble(view->factors[f][i]));
        } else {
            Py_INCREF(Py_None);
            PyList_SET_ITEM(row, (Py_ssize_t)(3 + f), Py_None);
        }
    }
    if (!is_made)
        Py_CLEAR(row);
    return row;
}

static int add_rows(row_builder *builder, const facpool_batch_view *view)
{
    for (size_t i = 0; i < view->n_rows; i++) {
        PyObject *row = make_row(builder, view, i);
        int rc = row ? PyList_Append(builder->rows, row) : -1;
        Py_XDECREF(row);
        if (rc)
            return -1;
    }
    return 0;
}

static int gather_rows(row_builder *builder, core_state *state, facpool_reader *reader,
                       const core_filter *filter)
{
    facpool_cursor *cursor = core_question_open(state, reader, NULL, filter);
    facpool_batch_view view;
    int rc = cursor ? 1 : -1;
    while (rc > 0) {
        rc = core_question_next(state, cursor, filter, &view);
        if (rc > 0 && add_rows(builder, &view))
            rc = -1;
    }
    facpool_cursor_free(cursor);
    return rc;
}

PyObject *core_question_rows(core_state *state, facpool_reader *reader, PyObject *dict,
                             int64_t timestamp_divisor)
{
    core_filter filter;
    row_builder builder = {.divisor = timestamp_divisor};
    if (core_filter_get(&filter, dict))
        return NULL;
    filter.filter.columns = 0;
    if (core_codes_init(&builder.codes)) {
        core_filter_drop(&filter);
        return NULL;
    }
    builder.rows = PyList_New(0);
    bool was_on = core_collector_pause();
    if (!builder.rows || gather_rows(&builder, state, reader, &filter))
        Py_CLEAR(builder.rows);
    core_collector_resume(was_on);
    Py_XDECREF(builder.date.number);
    core_codes_drop(&builder.codes);
    core_filter_drop(&filter);
    return builder.rows;
}

/* ------------------------------------------------------------------ columns */

/* Columns that grow with each batch. Items of `n_items` bytes; the fixed ones, then the factors. */
typedef struct column {
    char *memory;
    size_t item_bytes;
    char format;
} column;

enum { DATES, CODES, TIMESTAMPS, STATUSES, FAILURE_CODES, N_FIXED };

static const char FORMATS[N_FIXED] = {'q', 'i', 'q', 'B', 'i'};
static const size_t ITEM_BYTES[N_FIXED] = {8, 4, 8, 1, 4};

typedef struct column_builder {
    core_state *state;
    column *columns; /* N_FIXED + n_factors */
    size_t n_factors, n, room;
    core_codes codes;
    PyObject *messages; /* NULL while all rows are ok */
} column_builder;

static int builder_init(column_builder *b, core_state *state, size_t n_factors)
{
    memset(b, 0, sizeof *b);
    b->state = state;
    b->n_factors = n_factors;
    b->columns = PyMem_RawCalloc(N_FIXED + n_factors, sizeof *b->columns);
    if (!b->columns) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < N_FIXED + n_factors; i++) {
        b->columns[i].item_bytes = i < N_FIXED ? ITEM_BYTES[i] : sizeof(double);
        b->columns[i].format = i < N_FIXED ? FORMATS[i] : 'd';
    }
    return core_codes_init(&b->codes);
}

static void builder_drop(column_builder *b)
{
    for (size_t i = 0; b->columns && i < N_FIXED + b->n_factors; i++)
        PyMem_RawFree(b->columns[i].memory);
    PyMem_RawFree(b->columns);
    core_codes_drop(&b->codes);
    Py_CLEAR(b->messages);
}

static int make_room(column_builder *b, size_t n)
{
    if (n <= b->room)
        return 0;
    size_t room = b->room * 2 > n ? b->room * 2 : n;
    for (size_t i = 0; i < N_FIXED + b->n_factors; i++) {
        column *c = &b->columns[i];
        char *memory = PyMem_RawRealloc(c->memory, room * c->item_bytes);
        if (!memory) {
            PyErr_NoMemory();
            return -1;
        }
        c->memory = memory;
    }
    b->room = room;
    return 0;
}

static void copy_column(column_builder *b, size_t i, const void *values, size_t n)
{
    column *c = &b->columns[i];
    memcpy(c->memory + b->n * c->item_bytes, values, n * c->item_bytes);
}

static int copy_codes(column_builder *b, const facpool_batch_view *view)
{
    int32_t *numbers = (int32_t *)(void *)b->columns[CODES].memory + b->n;
    for (size_t i = 0; i < view->n_rows; i++) {
        size_t first = (size_t)view->code_offsets[i];
        int64_t number = core_codes_number(&b->codes, view->code_bytes + first,
                                           (size_t)view->code_offsets[i + 1] - first);
        if (number < 0)
            return -1;
        numbers[i] = (int32_t)number;
    }
    return 0;
}

static int add_message(column_builder *b, const facpool_batch_view *view, size_t i)
{
    size_t first = view->message_offsets ? (size_t)view->message_offsets[i] : 0;
    size_t end = view->message_offsets ? (size_t)view->message_offsets[i + 1] : 0;
    PyObject *message = b->state->empty_text;
    if (end > first)
        message =
            PyUnicode_DecodeUTF8(view->message_bytes + first, (Py_ssize_t)(end - first), "replace");
    else
        Py_INCREF(message);
    int rc = message ? PyList_Append(b->messages, message) : -1;
    Py_XDECREF(message);
    return rc;
}

/* The messages of all rows so far are empty: none of them failed. */
static int start_messages(column_builder *b)
{
    if (b->messages)
        return 0;
    b->messages = PyList_New((Py_ssize_t)b->n);
    for (size_t i = 0; b->messages && i < b->n; i++) {
        Py_INCREF(b->state->empty_text);
        PyList_SET_ITEM(b->messages, (Py_ssize_t)i, b->state->empty_text);
    }
    return b->messages ? 0 : -1;
}

static int copy_failures(column_builder *b, const facpool_batch_view *view)
{
    int32_t *failure_codes = (int32_t *)(void *)b->columns[FAILURE_CODES].memory + b->n;
    if (view->failure_codes)
        memcpy(failure_codes, view->failure_codes, view->n_rows * sizeof *failure_codes);
    else
        memset(failure_codes, 0, view->n_rows * sizeof *failure_codes);
    if (view->all_ok && !b->messages)
        return 0;
    if (start_messages(b))
        return -1;
    for (size_t i = 0; i < view->n_rows; i++)
        if (add_message(b, view, i))
            return -1;
    return 0;
}

static int add_batch(column_builder *b, const facpool_batch_view *view)
{
    if (make_room(b, b->n + view->n_rows))
        return -1;
    copy_column(b, DATES, view->dates, view->n_rows);
    copy_column(b, TIMESTAMPS, view->timestamps, view->n_rows);
    if (view->statuses)
        copy_column(b, STATUSES, view->statuses, view->n_rows);
    else
        memset(b->columns[STATUSES].memory + b->n, FACPOOL_STATUS_OK, view->n_rows);
    for (size_t f = 0; f < b->n_factors; f++)
        copy_column(b, N_FIXED + f, view->factors[f], view->n_rows);
    if (copy_codes(b, view) || copy_failures(b, view))
        return -1;
    b->n += view->n_rows;
    return 0;
}

/* Hands a column's memory over, cut to what is used. */
static PyObject *take_column(column_builder *b, size_t i)
{
    column *c = &b->columns[i];
    char *memory = PyMem_RawRealloc(c->memory, b->n * c->item_bytes + 1);
    if (!memory)
        return PyErr_NoMemory();
    c->memory = NULL;
    return core_buffer_take(b->state, memory, b->n, c->format);
}

static PyObject *take_factors(column_builder *b)
{
    PyObject *factors = PyList_New((Py_ssize_t)b->n_factors);
    for (size_t f = 0; factors && f < b->n_factors; f++) {
        PyObject *buffer = take_column(b, N_FIXED + f);
        if (buffer)
            PyList_SET_ITEM(factors, (Py_ssize_t)f, buffer);
        else
            Py_CLEAR(factors);
    }
    return factors;
}

static PyObject *take_codes(column_builder *b)
{
    PyObject *numbers = take_column(b, CODES);
    PyObject *pair = numbers ? PyTuple_Pack(2, numbers, b->codes.list) : NULL;
    Py_XDECREF(numbers);
    return pair;
}

static int put_messages(column_builder *b, PyObject *dict)
{
    if (!b->messages)
        return PyDict_SetItemString(dict, "failure_code", Py_None) ||
                       PyDict_SetItemString(dict, "message", Py_None)
                   ? -1
                   : 0;
    return core_put(dict, "failure_code", take_column(b, FAILURE_CODES)) ||
                   PyDict_SetItemString(dict, "message", b->messages)
               ? -1
               : 0;
}

static PyObject *columns_dict(column_builder *b, PyObject *names)
{
    PyObject *dict = PyDict_New();
    if (!dict || core_put(dict, "date", take_column(b, DATES)) ||
        core_put(dict, "code", take_codes(b)) ||
        core_put(dict, "timestamp", take_column(b, TIMESTAMPS)) ||
        core_put(dict, "status", take_column(b, STATUSES)) || put_messages(b, dict) ||
        core_put(dict, "factors", take_factors(b)) ||
        PyDict_SetItemString(dict, "factor_names", names))
        Py_CLEAR(dict);
    return dict;
}

/* ------------------------------------------------------------------ columns of a question */

static size_t n_factors_of(facpool_reader *reader, const facpool_result *result)
{
    return reader ? facpool_reader_n_factors(reader) : facpool_result_n_factors(result);
}

/* The names asked for, or all. */
static PyObject *names_of(facpool_reader *reader, const facpool_result *result,
                          const core_filter *filter)
{
    if (filter->filter.factors)
        return PySequence_List(filter->factors.keep);
    size_t n = n_factors_of(reader, result);
    PyObject *names = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; names && i < n; i++) {
        PyObject *name = core_str(reader ? facpool_reader_factor_name(reader, i)
                                         : facpool_result_factor_name(result, i));
        if (name)
            PyList_SET_ITEM(names, (Py_ssize_t)i, name);
        else
            Py_CLEAR(names);
    }
    return names;
}

static PyObject *gather_columns(core_state *state, facpool_cursor *cursor,
                                const core_filter *filter, PyObject *names)
{
    column_builder b;
    facpool_batch_view view;
    int rc = builder_init(&b, state, (size_t)PyList_GET_SIZE(names)) ? -1 : 1;
    while (rc > 0) {
        rc = core_question_next(state, cursor, filter, &view);
        if (rc > 0 && add_batch(&b, &view))
            rc = -1;
    }
    PyObject *dict = rc ? NULL : columns_dict(&b, names);
    builder_drop(&b);
    return dict;
}

PyObject *core_question_columns(core_state *state, facpool_reader *reader,
                                const facpool_result *result, PyObject *dict)
{
    core_filter filter;
    if (core_filter_get(&filter, dict))
        return NULL;
    filter.filter.columns = 0;
    PyObject *names = names_of(reader, result, &filter), *columns = NULL;
    facpool_cursor *cursor = names ? core_question_open(state, reader, result, &filter) : NULL;
    if (cursor)
        columns = gather_columns(state, cursor, &filter, names);
    facpool_cursor_free(cursor);
    Py_XDECREF(names);
    core_filter_drop(&filter);
    return columns;
}
