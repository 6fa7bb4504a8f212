/* What can be done with a backup as a file: info, verify, repair, convert, compact. */
#include "core.h"

/* ------------------------------------------------------------------ info */

static PyObject *status_counts(const facpool_info *info)
{
    PyObject *dict = PyDict_New();
    for (int status = FACPOOL_STATUS_OK; dict && status <= FACPOOL_STATUS_CRASHED; status++)
        if (core_put(dict, facpool_status_name(status),
                     PyLong_FromUnsignedLongLong(info->rows[status])))
            Py_CLEAR(dict);
    return dict;
}

static PyObject *factor_names(const facpool_info *info)
{
    PyObject *names = PyList_New((Py_ssize_t)info->n_factors);
    for (size_t i = 0; names && i < info->n_factors; i++) {
        PyObject *name = core_str(info->factor_names[i]);
        if (name)
            PyList_SET_ITEM(names, (Py_ssize_t)i, name);
        else
            Py_CLEAR(names);
    }
    return names;
}

/* Dates are there where a row is. */
static PyObject *date_or_none(const facpool_info *info, int64_t date)
{
    uint64_t n_rows = 0;
    for (int status = 0; status < 6; status++)
        n_rows += info->rows[status];
    if (n_rows)
        return PyLong_FromLongLong(date);
    Py_RETURN_NONE;
}

static PyObject *info_dict(const facpool_info *info)
{
    PyObject *dict = Py_BuildValue(
        "{s:s,s:I,s:N,s:K,s:K,s:K,s:K,s:K,s:K,s:L}", "format", info->format, "version",
        (unsigned)info->version, "closed", PyBool_FromLong(info->closed), "blocks",
        (unsigned long long)info->blocks, "pages", (unsigned long long)info->pages, "file_bytes",
        (unsigned long long)info->file_bytes, "valid_bytes", (unsigned long long)info->valid_bytes,
        "durable_bytes", (unsigned long long)info->durable_bytes, "damaged_blocks",
        (unsigned long long)info->damaged_blocks, "created_us", (long long)info->created_us);
    if (dict && (core_put(dict, "factor_names", factor_names(info)) ||
                 core_put(dict, "tag", core_str_or_none(info->tag)) ||
                 core_put(dict, "rows", status_counts(info)) ||
                 core_put(dict, "date_min", date_or_none(info, info->date_min)) ||
                 core_put(dict, "date_max", date_or_none(info, info->date_max))))
        Py_CLEAR(dict);
    return dict;
}

PyObject *core_info(PyObject *module, PyObject *given)
{
    PyObject *path = NULL;
    const facpool_info *info = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    if (!PyUnicode_FSConverter(given, &path))
        return NULL;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = facpool_backup_info(&info, PyBytes_AS_STRING(path), &error);
    Py_END_ALLOW_THREADS Py_DECREF(path);
    if (rc)
        return core_raise(PyModule_GetState(module), rc, &error);
    PyObject *dict = info_dict(info);
    facpool_info_free(info);
    return dict;
}

/* ------------------------------------------------------------------ verify and repair */

static PyObject *report_dict(const facpool_verify_report *report, bool is_sound)
{
    PyObject *first = Py_None;
    if (report->damaged_blocks)
        first = PyLong_FromUnsignedLongLong(report->first_damage);
    else
        Py_INCREF(first);
    if (!first)
        return NULL;
    return Py_BuildValue("{s:N,s:K,s:K,s:K,s:K,s:K,s:K,s:N,s:N}", "sound",
                         PyBool_FromLong(is_sound), "blocks", (unsigned long long)report->blocks,
                         "damaged_blocks", (unsigned long long)report->damaged_blocks,
                         "damaged_parts", (unsigned long long)report->damaged_parts, "rows",
                         (unsigned long long)report->rows, "rows_damaged",
                         (unsigned long long)report->rows_damaged, "tail_bytes",
                         (unsigned long long)report->tail_bytes, "first_damage", first, "closed",
                         PyBool_FromLong(report->closed));
}

typedef int (*check_function)(const char *path, facpool_verify_report *report,
                              facpool_error *error);

static PyObject *check(PyObject *module, PyObject *given, check_function function,
                       bool reports_damage)
{
    PyObject *path = NULL;
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    facpool_error error = FACPOOL_ERROR_INIT;
    if (!PyUnicode_FSConverter(given, &path))
        return NULL;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = function(PyBytes_AS_STRING(path), &report, &error);
    Py_END_ALLOW_THREADS Py_DECREF(path);
    bool is_report = rc == 0 || (reports_damage && rc == FACPOOL_E_CORRUPT && report.blocks);
    if (!is_report)
        return core_raise(PyModule_GetState(module), rc, &error);
    return report_dict(&report, rc == 0 && !report.damaged_blocks);
}

PyObject *core_verify(PyObject *module, PyObject *path)
{
    return check(module, path, facpool_backup_verify, true);
}

PyObject *core_repair(PyObject *module, PyObject *path)
{
    return check(module, path, facpool_backup_repair, false);
}

/* ------------------------------------------------------------------ convert and compact */

PyObject *core_convert(PyObject *module, PyObject *args)
{
    PyObject *sources = NULL, *dict = NULL, *path = NULL;
    core_texts paths;
    facpool_backup_options to;
    facpool_error error = FACPOOL_ERROR_INIT;
    if (!PyArg_ParseTuple(args, "OO!", &sources, &PyDict_Type, &dict) ||
        core_paths_get(&paths, sources))
        return NULL;
    int rc = core_backup_options_get(&to, dict, &path);
    if (rc) {
        core_texts_drop(&paths);
        Py_XDECREF(path);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS rc = facpool_backup_convert(paths.values, paths.n, &to, &error);
    Py_END_ALLOW_THREADS core_texts_drop(&paths);
    Py_XDECREF(path);
    if (rc)
        return core_raise(PyModule_GetState(module), rc, &error);
    Py_RETURN_NONE;
}

PyObject *core_compact(PyObject *module, PyObject *given)
{
    PyObject *path = NULL;
    facpool_error error = FACPOOL_ERROR_INIT;
    if (!PyUnicode_FSConverter(given, &path))
        return NULL;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = facpool_backup_compact(PyBytes_AS_STRING(path), &error);
    Py_END_ALLOW_THREADS Py_DECREF(path);
    if (rc)
        return core_raise(PyModule_GetState(module), rc, &error);
    Py_RETURN_NONE;
}
