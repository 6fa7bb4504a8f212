/* A result's columns as a source. Called by memory.c only. */
#ifndef FP_STORE_MEMORY_SOURCE_H
#define FP_STORE_MEMORY_SOURCE_H

#include "store/memory.h"

/* What all sources over one memory share: the rows cut into blocks by key. */
typedef struct fp_memory_view fp_memory_view;

int fp_memory_view_new(fp_memory_view **out, fp_memory *memory, facpool_error *err);
void fp_memory_view_free(fp_memory_view *view); /* takes NULL */

#endif
