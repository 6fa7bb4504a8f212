/* str objects of codes, one for each distinct code: a million rows of one code share one object.
 * Used wherever rows become Python objects; never by a run's callbacks, which know codes by number.
 */
#include "core.h"

#include <string.h>

#define FIRST_SLOTS 1024

static uint64_t hash_text(const char *text, size_t length)
{
    uint64_t hash = 1469598103934665603u; /* FNV-1a: codes are short */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash ^ (hash >> 32);
}

int core_codes_init(core_codes *codes)
{
    memset(codes, 0, sizeof *codes);
    codes->list = PyList_New(0);
    codes->n_slots = FIRST_SLOTS;
    codes->slots = PyMem_RawCalloc(codes->n_slots, sizeof *codes->slots);
    if (codes->list && codes->slots)
        return 0;
    core_codes_drop(codes);
    PyErr_NoMemory();
    return -1;
}

void core_codes_drop(core_codes *codes)
{
    Py_XDECREF(codes->list);
    PyMem_RawFree(codes->slots);
    PyMem_RawFree(codes->hashes);
    memset(codes, 0, sizeof *codes);
}

static int grow_slots(core_codes *codes)
{
    size_t n_slots = codes->n_slots * 2;
    uint32_t *slots = PyMem_RawCalloc(n_slots, sizeof *slots);
    if (!slots)
        return -1;
    for (size_t number = 0; number < codes->n; number++) {
        size_t at = codes->hashes[number] & (n_slots - 1);
        while (slots[at])
            at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)number + 1;
    }
    PyMem_RawFree(codes->slots);
    codes->slots = slots;
    codes->n_slots = n_slots;
    return 0;
}

static int make_room(core_codes *codes)
{
    if (codes->n == codes->hashes_room) {
        size_t room = codes->hashes_room ? codes->hashes_room * 2 : FIRST_SLOTS;
        uint64_t *hashes = PyMem_RawRealloc(codes->hashes, room * sizeof *hashes);
        if (!hashes)
            return -1;
        codes->hashes = hashes;
        codes->hashes_room = room;
    }
    return codes->n * 2 < codes->n_slots ? 0 : grow_slots(codes);
}

static int64_t add(core_codes *codes, const char *text, size_t length, uint64_t hash)
{
    if (make_room(codes)) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *code = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "replace");
    int rc = code ? PyList_Append(codes->list, code) : -1;
    Py_XDECREF(code);
    if (rc)
        return -1;
    size_t at = hash & (codes->n_slots - 1);
    while (codes->slots[at])
        at = (at + 1) & (codes->n_slots - 1);
    codes->hashes[codes->n] = hash;
    codes->slots[at] = (uint32_t)++codes->n;
    return (int64_t)codes->n - 1;
}

static bool is_code(const core_codes *codes, size_t number, const char *text, size_t length)
{
    Py_ssize_t own_length = 0;
    const char *own =
        PyUnicode_AsUTF8AndSize(PyList_GET_ITEM(codes->list, (Py_ssize_t)number), &own_length);
    return own && (size_t)own_length == length && memcmp(own, text, length) == 0;
}

int64_t core_codes_number(core_codes *codes, const char *text, size_t length)
{
    uint64_t hash = hash_text(text, length);
    size_t at = hash & (codes->n_slots - 1);
    for (; codes->slots[at]; at = (at + 1) & (codes->n_slots - 1)) {
        size_t number = codes->slots[at] - 1;
        if (codes->hashes[number] == hash && is_code(codes, number, text, length))
            return (int64_t)number;
    }
    return add(codes, text, length, hash);
}

PyObject *core_codes_str(core_codes *codes, const char *text, size_t length, bool is_stable)
{
    if (!is_stable || text != codes->last_text) {
        int64_t number = core_codes_number(codes, text, length);
        if (number < 0)
            return NULL;
        codes->last_text = text;
        codes->last_number = (uint32_t)number;
    }
    return PyList_GET_ITEM(codes->list, (Py_ssize_t)codes->last_number);
}
