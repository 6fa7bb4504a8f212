/* The calling thread's locale: see locale.h. Called around the JSON library. Where a thread has a
 * locale of its own, it gets that back. */
#include "os/locale.h"

#include <locale.h>

bool fp_c_locale_enter(fp_c_locale *locale)
{
    locale_t own = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (own == (locale_t)0)
        return false;
    locale->own = (void *)own;
    locale->before = (void *)uselocale(own);
    return true;
}

void fp_c_locale_leave(fp_c_locale *locale)
{
    uselocale((locale_t)locale->before);
    freelocale((locale_t)locale->own);
}
