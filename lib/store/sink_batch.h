/* Between the house's own batches and those of facpool/sink.h: both are columns, so that one
 * becomes the other by pointing. Used by sink.c on the way out and by the file sink on the way in.
 */
#ifndef FP_STORE_SINK_BATCH_H
#define FP_STORE_SINK_BATCH_H

#include "model/batch.h"

#include <facpool/sink.h>

/* Both share the memory of what they are made from, and are read only. */
void fp_sink_batch_of(facpool_sink_batch *out, const fp_batch *batch);
void fp_batch_of_sink(fp_batch *out, fp_codes *codes, const facpool_sink_batch *batch);

#endif
