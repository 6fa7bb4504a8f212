/* How much of it tests do. */
#ifndef FP_TEST_TIERS_H
#define FP_TEST_TIERS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much a test does: $FACPOOL_TEST_TIER is "small" (sanitizers, valgrind), "usual" (also where
 * it is not set), or "long" (hours). */
static inline unsigned of_tier(unsigned small, unsigned usual, unsigned in_long)
{
    const char *tier = getenv("FACPOOL_TEST_TIER");
    if (!tier || strcmp(tier, "usual") == 0)
        return usual;
    if (strcmp(tier, "small") == 0)
        return small;
    if (strcmp(tier, "long") == 0)
        return in_long;
    printf("FACPOOL_TEST_TIER=%s is not understood: small, usual or long\n", tier);
    exit(2);
}

#endif
