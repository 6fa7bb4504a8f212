/* The hot path: one call of the user's Python function for one task. Arguments are kept from call
 * to call (the date while it stays the same, codes by their number), and nothing is allocated but
 * what the function itself makes. */
#include "core.h"

static int fail_with(const facpool_task *task, int code, char *text)
{
    int outcome = facpool_task_fail(task, code, text ? text : "out of memory");
    PyMem_RawFree(text);
    return outcome;
}

static int interrupted(const facpool_task *task)
{
    return facpool_task_fail(task, CORE_FAILURE_RAISED,
                             "KeyboardInterrupt: the run was interrupted");
}

static int task_raised(core_call *call, const core_worker *worker, const facpool_task *task)
{
    int code = CORE_FAILURE_RAISED;
    if (core_worker_interrupted(call, worker))
        return interrupted(task);
    char *text = core_failure_text(call->state, &code);
    return fail_with(task, code, text);
}

/* Not ok for what it returned: outcome and message as core_row_read gave them. */
static int row_refused(core_call *call, const core_worker *worker, const facpool_task *task,
                       int outcome, PyObject *message)
{
    if (outcome < 0 || !message)
        return task_raised(call, worker, task);
    char *text = core_failure_cut(message);
    Py_DECREF(message);
    return fail_with(task, outcome, text);
}

static int apply_known(const core_call *call, const core_known *known, const facpool_task *task,
                       double *factors)
{
    for (size_t i = 0; known->outcome == 0 && i < call->n_factors; i++)
        factors[i] = known->row[i];
    if (known->outcome == 0 || known->outcome == FACPOOL_SKIP)
        return known->outcome;
    return facpool_task_fail(task, known->outcome, PyBytes_AS_STRING(known->keep));
}

static int call_function(core_call *call, core_worker *worker, const facpool_task *task,
                         double *factors)
{
    PyObject *fresh = NULL, *message = NULL, **stack = worker->stack;
    stack[1] = core_date_number(&worker->date, task->date);
    if (!stack[1])
        return task_raised(call, worker, task);
    if (task->code_number < worker->n_codes && worker->codes[task->code_number])
        stack[2] = worker->codes[task->code_number];
    else
        stack[2] = fresh = core_worker_code(worker, task->code, task->code_number);
    if (!stack[2])
        return task_raised(call, worker, task);
    PyObject *row = PyObject_Vectorcall(call->func, stack + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                        call->keyword_names);
    Py_XDECREF(fresh);
    if (!row)
        return task_raised(call, worker, task);
    int outcome = core_row_read(call, row, factors, &message);
    if (outcome != 0 && outcome != FACPOOL_SKIP)
        outcome = row_refused(call, worker, task, outcome, message);
    Py_DECREF(row);
    return outcome;
}

int core_task_call(const facpool_task *task, double *factors, void *user)
{
    core_call *call = user;
    core_worker *worker = task->worker_state;
    if (call->n_known && task->index <= call->last_known) {
        const core_known *known = core_known_find(call, task->index);
        if (known)
            return apply_known(call, known, task, factors);
    }
    if (call->is_interrupted) /* no further attempts */
        return interrupted(task);
    core_worker_attach(worker);
    int outcome = call_function(call, worker, task, factors);
    core_worker_detach(worker);
    return outcome;
}
