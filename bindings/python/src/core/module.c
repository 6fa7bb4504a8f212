/* The module facpool._core: its functions, its types, its state. Nothing else happens here. What it
 * offers is described in _core.pyi. */
#include "core.h"

static PyMethodDef functions[] = {
    {"start", core_start, METH_VARARGS, "start(tasks, options): starts a run; gives a Run."},
    {"run_serial", (PyCFunction)(void (*)(void))core_run_serial, METH_VARARGS | METH_KEYWORDS,
     "run_serial(tasks, options, progress=None, interval_ms=200): runs on this thread."},
    {"serve", core_serve, METH_VARARGS, "serve(fd, options): serves as a run's helper process."},
    {"make_error", (PyCFunction)(void (*)(void))core_make_error, METH_VARARGS | METH_KEYWORDS,
     "make_error(code, message, os_errno=0): the exception for an error code."},
    {"error_name", core_error_name, METH_O, "error_name(code): 'FACPOOL_E_BUSY' for -7."},
    {"info", core_info, METH_O, "info(path): what a backup holds."},
    {"verify", core_verify, METH_O, "verify(path): reads and checks every byte."},
    {"repair", core_repair, METH_O, "repair(path): cuts off a torn tail, writes the index."},
    {"convert", core_convert, METH_VARARGS, "convert(paths, to): writes all rows anew."},
    {"compact", core_compact, METH_O, "compact(path): rewrites a backup, sorted, in its place."},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyTypeObject **out, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (!type)
        return -1;
    *out = type;
#if PY_VERSION_HEX < 0x030a0000
    if (spec != &core_reader_spec)
        type->tp_new = NULL; /* only the extension makes them */
#endif
    return PyModule_AddType(module, type);
}

static int add_constants(PyObject *module)
{
#ifdef CORE_HAS_OPENMP
    PyObject *has_openmp = Py_True;
#else
    PyObject *has_openmp = Py_False;
#endif
    return PyModule_AddStringConstant(module, "VERSION", facpool_version()) ||
                   PyModule_AddIntConstant(module, "SKIP", FACPOOL_SKIP) ||
                   PyModule_AddIntConstant(module, "FAILURE_RAISED", CORE_FAILURE_RAISED) ||
                   PyModule_AddIntConstant(module, "FAILURE_WIDTH", CORE_FAILURE_WIDTH) ||
                   PyModule_AddIntConstant(module, "FAILURE_VALUE", CORE_FAILURE_VALUE) ||
                   PyObject_SetAttrString(module, "HAS_OPENMP", has_openmp)
               ? -1
               : 0;
}

static int find_helpers(core_state *state)
{
    PyObject *traceback = PyImport_ImportModule("traceback");
    state->format_exception =
        traceback ? PyObject_GetAttrString(traceback, "format_exception") : NULL;
    Py_XDECREF(traceback);
    state->empty_text = PyUnicode_FromString("");
    return state->format_exception && state->empty_text ? 0 : -1;
}

static int fill_module(PyObject *module)
{
    core_state *state = PyModule_GetState(module);
    return add_type(module, &state->buffer_type, &core_buffer_spec) ||
                   add_type(module, &state->tasks_type, &core_tasks_spec) ||
                   add_type(module, &state->run_type, &core_run_spec) ||
                   add_type(module, &state->result_type, &core_result_spec) ||
                   add_type(module, &state->reader_type, &core_reader_spec) ||
                   core_errors_add(module, state) || find_helpers(state) || add_constants(module)
               ? -1
               : 0;
}

/* ------------------------------------------------------------------ life */

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    core_state *state = PyModule_GetState(module);
    Py_VISIT(state->buffer_type);
    Py_VISIT(state->tasks_type);
    Py_VISIT(state->run_type);
    Py_VISIT(state->result_type);
    Py_VISIT(state->reader_type);
    for (int i = 0; i < CORE_N_ERRORS; i++)
        Py_VISIT(state->errors[i]);
    Py_VISIT(state->factor_not_found);
    Py_VISIT(state->format_exception);
    return 0;
}

static int module_clear(PyObject *module)
{
    core_state *state = PyModule_GetState(module);
    Py_CLEAR(state->buffer_type);
    Py_CLEAR(state->tasks_type);
    Py_CLEAR(state->run_type);
    Py_CLEAR(state->result_type);
    Py_CLEAR(state->reader_type);
    for (int i = 0; i < CORE_N_ERRORS; i++)
        Py_CLEAR(state->errors[i]);
    Py_CLEAR(state->factor_not_found);
    Py_CLEAR(state->format_exception);
    Py_CLEAR(state->empty_text);
    return 0;
}

static void module_free(void *module)
{
    (void)module_clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)fill_module},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "facpool._core",
    .m_doc = "The C side of the package facpool: see _core.pyi.",
    .m_size = sizeof(core_state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
