/* A text file that appears under its name whole, or not at all. */
#ifndef FACPOOL_TOOL_OUTPUT_H
#define FACPOOL_TOOL_OUTPUT_H

#include "tool.h"

typedef struct output output;

/* Begins one; output_stream is where its text goes. "-" is the standard output. Without `overwrite`
 * a file that is there is refused; a backup always is. The path must outlive it. NULL: it has been
 * told why. One at a time: a signal that ends the tool takes its temporary file along. */
output *output_begin(const char *path, bool overwrite);
FILE *output_stream(const output *out);

/* Gives the file its name, when all of it is on the disk, and frees `out`. Returns an exit status.
 */
int output_finish(output *out);

/* Frees `out`: nothing appears. Takes NULL. */
void output_discard(output *out);

#endif
