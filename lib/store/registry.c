/* The registry of file formats. Called when a file is opened; keeps no state. */
#include "store/registry.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* A new file format goes here, and nowhere else. The first is what files are by default; json comes
 * last, as any line tells it, and other formats' texts may have such lines. */
static const fp_format *const formats[] = {
    &fp_format_binary,
    &fp_format_memory_map,
    &fp_format_json,
};

#define N_FORMATS (sizeof formats / sizeof *formats)

static bool ends_in(const char *path, const char *suffix)
{
    size_t length = strlen(path);
    size_t suffix_length = strlen(suffix);
    return length > suffix_length && strcmp(path + length - suffix_length, suffix) == 0;
}

const fp_format *fp_format_named(const char *name)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

const fp_format *fp_format_of_bytes(const uint8_t *first, size_t n)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (formats[i]->probe(first, n))
            return formats[i];
    return NULL;
}

int fp_format_of_rows(const fp_file *file, const fp_format **out, facpool_error *err)
{
    int rc = 0;
    *out = NULL;
    for (size_t i = 0; !rc && !*out && i < N_FORMATS; i++) {
        bool has = false;
        if (formats[i]->lines)
            rc = formats[i]->lines->has_row(file, &has, err);
        if (has)
            *out = formats[i];
    }
    return rc;
}

static int fail_unknown(const char *name, facpool_error *err)
{
    char known[128] = "";
    for (size_t i = 0, used = 0; i < N_FORMATS && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s'%s'", i ? ", " : "",
                                 formats[i]->name);
    return fp_fail(err, FACPOOL_E_INVALID, "there is no format '%s': use one of %s", name, known);
}

int fp_format_choose(const fp_format **out, const char *name, const char *path, facpool_error *err)
{
    const fp_format *found = name ? fp_format_named(name) : NULL;
    if (name && !found)
        return fail_unknown(name, err);
    for (size_t i = 0; !found && i < N_FORMATS; i++)
        if (ends_in(path, formats[i]->suffix))
            found = formats[i];
    *out = found ? found : formats[0];
    return 0;
}
