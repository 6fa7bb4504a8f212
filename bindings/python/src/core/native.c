/* Native functions: the address of a C function in place of a Python one. The library calls it on
 * its own threads without the GIL; only the simple signature needs the step in between made here.
 */
#include "core.h"

#define SIGNATURE_SIMPLE 1
#define SIGNATURE_TASK   2
#define SIGNATURE_BATCH  3

static int simple_call(const facpool_task *task, double *factors, void *user)
{
    const core_call *call = user;
    return call->simple(task->date, task->code, factors);
}

/* An address as Python gives it: a non-negative int. */
static int take_address(PyObject *value, const char *key, void **out)
{
    void *address = PyLong_AsVoidPtr(value);
    if (!address && PyErr_Occurred()) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "%s must be the address of a C function as an int, not %R",
                     key, value);
        return -1;
    }
    *out = address;
    return 0;
}

/* C has no cast from a data pointer to a function pointer; POSIX promises that the bits do. */
typedef union function_address {
    void *address;
    int (*simple)(int64_t date, const char *code, double *factors);
    facpool_task_fn task;
    facpool_batch_fn batch;
} function_address;

int core_call_native(core_call *call, PyObject *options, facpool_task_fn *fn,
                     facpool_batch_fn *batch_fn, void **user)
{
    static const core_choice SIGNATURES[] = {{"simple", SIGNATURE_SIMPLE},
                                             {"task", SIGNATURE_TASK},
                                             {"batch", SIGNATURE_BATCH},
                                             {NULL, 0}};
    int32_t signature = SIGNATURE_SIMPLE;
    function_address function = {NULL};
    void *native_user = NULL;
    PyObject *native = core_option(options, "native");
    PyObject *user_address = core_option(options, "native_user");
    if (core_option_choice(options, "native_signature", SIGNATURES, &signature) ||
        take_address(native, "native", &function.address) ||
        (user_address && take_address(user_address, "native_user", &native_user)))
        return -1;
    if (!function.address) {
        PyErr_SetString(PyExc_ValueError, "native is 0: no function is there");
        return -1;
    }
    *user = native_user;
    if (signature == SIGNATURE_TASK) {
        *fn = function.task;
    } else if (signature == SIGNATURE_BATCH) {
        *batch_fn = function.batch;
    } else {
        call->simple = function.simple;
        *fn = simple_call;
        *user = call;
    }
    return 0;
}
