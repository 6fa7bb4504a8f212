/* Paths of backups in each file format, for the tests of what the library must not let happen.
 * Included by test programs; everything is static. */
#ifndef FP_SECURITY_PATHS_H
#define FP_SECURITY_PATHS_H

#include "run_helpers.h"

static const char *const suffixes[] = {"fpb", "jsonl", "arrow"};
enum { N_SUFFIXES = 3 };

static inline const char *path_of(const char *name, const char *suffix)
{
    static char paths[4][400];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s.%s", test_folder, name, suffix);
    return path;
}

#endif
