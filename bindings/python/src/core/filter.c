/* A question's conditions, out of a dict into the library's filter. */
#include "core.h"

#include <string.h>

static const char *const FILTER_KEYS[] = {"date_min", "date_max",    "dates", "codes", "factors",
                                          "statuses", "columns",     "order", "copy",  "zero_copy",
                                          "damage",   "skip_bytes", NULL};

static const core_choice ORDERS[] = {
    {"file", FACPOOL_ORDER_FILE}, {"key", FACPOOL_ORDER_KEY}, {NULL, 0}};
static const core_choice STATUSES[] = {{"ok", FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK)},
                                       {"skipped", FACPOOL_STATUS_BIT(FACPOOL_STATUS_SKIPPED)},
                                       {"failed", FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED)},
                                       {"timeout", FACPOOL_STATUS_BIT(FACPOOL_STATUS_TIMEOUT)},
                                       {"crashed", FACPOOL_STATUS_BIT(FACPOOL_STATUS_CRASHED)},
                                       {NULL, 0}};
static const core_choice COLUMNS[] = {{"date", FACPOOL_COLUMN_DATE},
                                      {"code", FACPOOL_COLUMN_CODE},
                                      {"timestamp", FACPOOL_COLUMN_TIMESTAMP},
                                      {"status", FACPOOL_COLUMN_STATUS},
                                      {NULL, 0}};

/* A sequence of names as bits; an empty one is `none`. */
static int take_bits(uint32_t *out, PyObject *dict, const char *key, const core_choice *choices,
                     uint32_t none)
{
    PyObject *given = core_option(dict, key);
    if (!given)
        return 0;
    if (PyUnicode_Check(given)) {
        PyErr_Format(PyExc_TypeError, "%s must be a sequence of str, not one: put it in a list",
                     key);
        return -1;
    }
    PyObject *items = PySequence_Tuple(given);
    uint32_t bits = 0;
    int rc = items ? 0 : -1, bit = 0;
    for (Py_ssize_t i = 0; !rc && i < PyTuple_GET_SIZE(items); i++) {
        rc = core_choose(PyTuple_GET_ITEM(items, i), key, choices, &bit);
        bits |= (uint32_t)bit;
    }
    Py_XDECREF(items);
    *out = bits ? bits : none;
    return rc;
}

static int take_bound(PyObject *dict, const char *key, int64_t *value, const int64_t **bound)
{
    PyObject *given = core_option(dict, key);
    if (!given)
        return 0;
    if (core_int64(given, value, key))
        return -1;
    *bound = value;
    return 0;
}

static int take_dates(core_filter *out, PyObject *dict)
{
    static const int64_t NO_DATE = 0; /* an empty list is given, all the same */
    PyObject *given = core_option(dict, "dates");
    if (!given)
        return 0;
    if (core_int64s_get(&out->dates, given, "dates"))
        return -1;
    out->filter.dates = out->dates.n ? out->dates.values : &NO_DATE;
    out->filter.n_dates = out->dates.n;
    return 0;
}

static int take_texts(core_texts *texts, PyObject *dict, const char *key,
                      const char *const **values, size_t *n)
{
    PyObject *given = core_option(dict, key);
    if (!given)
        return 0;
    if (core_texts_get(texts, given, key))
        return -1;
    *values = texts->values;
    *n = texts->n;
    return 0;
}

static int take_flags(core_filter *out, PyObject *dict)
{
    bool zero_copy = false, copy = false;
    int64_t skip_bytes = 0;
    if (core_option_flag(dict, "zero_copy", &zero_copy) || core_option_flag(dict, "copy", &copy) ||
        core_option_int(dict, "skip_bytes", 0, INT64_MAX, &skip_bytes))
        return -1;
    out->filter.require_zero_copy = zero_copy;
    out->filter.copy = copy;
    out->filter.skip_bytes = (uint64_t)skip_bytes;
    return 0;
}

static int take_all(core_filter *out, PyObject *dict)
{
    facpool_filter *filter = &out->filter;
    out->damage = core_option(dict, "damage");
    return core_option_check(dict, FILTER_KEYS, "filters") ||
                   take_bound(dict, "date_min", &out->date_min, &filter->date_min) ||
                   take_bound(dict, "date_max", &out->date_max, &filter->date_max) ||
                   take_dates(out, dict) ||
                   take_texts(&out->codes, dict, "codes", &filter->codes, &filter->n_codes) ||
                   take_texts(&out->factors, dict, "factors", &filter->factors,
                              &filter->n_factors) ||
                   take_bits(&filter->statuses, dict, "statuses", STATUSES,
                             FACPOOL_STATUS_BIT(FACPOOL_STATUS_NONE)) ||
                   take_bits(&filter->columns, dict, "columns", COLUMNS, FACPOOL_COLUMN_NONE) ||
                   core_option_choice(dict, "order", ORDERS, &filter->order) ||
                   take_flags(out, dict)
               ? -1
               : 0;
}

int core_filter_get(core_filter *out, PyObject *dict)
{
    memset(out, 0, sizeof *out);
    out->filter = (facpool_filter)FACPOOL_FILTER_INIT;
    if (!dict || dict == Py_None || !take_all(out, dict))
        return 0;
    core_filter_drop(out);
    return -1;
}

void core_filter_drop(core_filter *filter)
{
    core_int64s_drop(&filter->dates);
    core_texts_drop(&filter->codes);
    core_texts_drop(&filter->factors);
}
