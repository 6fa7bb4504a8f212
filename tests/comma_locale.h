/* A locale whose decimal point is a comma, for tests of what must not depend on it. Included by
 * test programs; everything is static. */
#ifndef FP_TEST_COMMA_LOCALE_H
#define FP_TEST_COMMA_LOCALE_H

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline bool has_comma(void)
{
    return strcmp(localeconv()->decimal_point, ",") == 0;
}

/* Takes such a locale for the whole process: one that is installed, else one that is compiled into
 * `folder`, where the system brings what that takes. False, having said so: there is none. */
static inline bool take_comma_locale(const char *folder)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ru_RU.UTF-8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_ALL, names[i]) && has_comma())
            return true;
    char command[1024];
    snprintf(command, sizeof command,
             "mkdir -p '%s/locale' && localedef -f UTF-8 -i de_DE '%s/locale/de_DE.UTF-8' "
             "> /dev/null 2>&1",
             folder, folder);
    if (system(command) >= 0) {
        snprintf(command, sizeof command, "%s/locale", folder);
        setenv("LOCPATH", command, 1);
        if (setlocale(LC_ALL, "de_DE.UTF-8") && has_comma())
            return true;
        unsetenv("LOCPATH");
    }
    setlocale(LC_ALL, "C");
    printf("  (no locale with a decimal comma here: the tests below run without)\n");
    return false;
}

#endif
