/* The version of libfacpool. The build reads these three numbers; nothing else repeats them.
 *
 * FACPOOL_VERSION_MAJOR is also the number in the soname: it changes when, and only when,
 * a program built against an older library can no longer run with this one. */
#ifndef FACPOOL_VERSION_H
#define FACPOOL_VERSION_H

#define FACPOOL_VERSION_MAJOR 0
#define FACPOOL_VERSION_MINOR 1
#define FACPOOL_VERSION_PATCH 0

#endif
