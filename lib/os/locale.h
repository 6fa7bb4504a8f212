/* The locale of the calling thread, for libraries that ask it how numbers look: set to "C" for a
 * while and put back. The process' locale is never touched. */
#ifndef FP_OS_LOCALE_H
#define FP_OS_LOCALE_H

#include <stdbool.h>

typedef struct fp_c_locale {
    void *own;
    void *before;
} fp_c_locale;

bool fp_c_locale_enter(fp_c_locale *locale); /* false: out of memory; nothing is changed then */
void fp_c_locale_leave(fp_c_locale *locale);

#endif
