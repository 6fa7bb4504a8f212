/* Open questions over a reader or a result: as a capsule with an Arrow stream, or batch by batch
 * for gather.c. The GIL is released whenever the library reads. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

facpool_cursor *core_question_open(core_state *state, facpool_reader *reader,
                                   const facpool_result *result, const core_filter *filter)
{
    facpool_cursor *cursor = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc =
        reader ? facpool_query(reader, &filter->filter, &cursor, &error)
               : facpool_result_query(result, &filter->filter, &cursor, &error);
    Py_END_ALLOW_THREADS
        /* A missing file was met when the reader was opened: what is missing here is a factor,
         * unless the system says otherwise. */
        if (rc && filter->filter.n_factors && !error.os_errno) core_raise_factor(state, rc, &error);
    else if (rc) core_raise(state, rc, &error);
    return cursor;
}

static int tell_damage(core_state *state, const core_filter *filter, int rc,
                       const facpool_error *error)
{
    if (rc != FACPOOL_E_CORRUPT || !filter->damage) {
        core_raise(state, rc, error);
        return -1;
    }
    PyObject *message = core_str(error->message);
    PyObject *answer = message ? PyObject_CallFunctionObjArgs(filter->damage, message, NULL) : NULL;
    Py_XDECREF(message);
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

int core_question_next(core_state *state, facpool_cursor *cursor, const core_filter *filter,
                       facpool_batch_view *view)
{
    for (;;) {
        facpool_error error = FACPOOL_ERROR_INIT;
        *view = (facpool_batch_view)FACPOOL_BATCH_VIEW_INIT;
        int rc;
        Py_BEGIN_ALLOW_THREADS rc = facpool_cursor_next_batch(cursor, view, &error);
        Py_END_ALLOW_THREADS if (PyErr_CheckSignals()) return -1;
        if (rc >= 0)
            return rc;
        if (tell_damage(state, filter, rc, &error))
            return -1;
    }
}

/* ------------------------------------------------------------------ Arrow */

static const char STREAM_NAME[] = "arrow_array_stream";

/* A consumer that took the stream has marked it released. */
static void capsule_destructor(PyObject *capsule)
{
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, STREAM_NAME);
    if (stream && stream->release)
        stream->release(stream);
    free(stream);
}

static PyObject *capsule_of(core_state *state, facpool_cursor *cursor)
{
    struct ArrowArrayStream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        facpool_cursor_free(cursor);
        return PyErr_NoMemory();
    }
    facpool_error error = FACPOOL_ERROR_INIT;
    int rc = facpool_cursor_to_arrow(cursor, stream, &error);
    if (rc) {
        facpool_cursor_free(cursor);
        free(stream);
        return core_raise(state, rc, &error);
    }
    PyObject *capsule = PyCapsule_New(stream, STREAM_NAME, capsule_destructor);
    if (!capsule) {
        stream->release(stream);
        free(stream);
    }
    return capsule;
}

PyObject *core_question_stream(core_state *state, facpool_reader *reader,
                               const facpool_result *result, PyObject *dict)
{
    core_filter filter;
    if (core_filter_get(&filter, dict))
        return NULL;
    facpool_cursor *cursor = core_question_open(state, reader, result, &filter);
    core_filter_drop(&filter);
    return cursor ? capsule_of(state, cursor) : NULL;
}
