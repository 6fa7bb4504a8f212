/* Between the house's own batches and those of facpool/sink.h. Called for each batch that is handed
 * to a store; copies nothing and can't fail. */
#include "store/sink_batch.h"

void fp_sink_batch_of(facpool_sink_batch *out, const fp_batch *batch)
{
    const fp_codes *codes = batch->codes;
    *out = (facpool_sink_batch){.size = sizeof *out,
                                .n_rows = batch->n_rows,
                                .all_ok = batch->ok,
                                .dates = batch->dates,
                                .timestamps = batch->timestamps,
                                .code_ids = batch->code_ids,
                                .n_codes = codes->texts.n,
                                .code_offsets = codes->texts.offsets,
                                .code_bytes = codes->texts.bytes,
                                .code_ranks = codes->rank,
                                .n_factors = batch->n_factors};
    if (batch->ok) {
        out->factors = (const double *const *)batch->factors;
        return;
    }
    out->statuses = batch->statuses;
    out->failure_codes = batch->failure_codes;
    out->message_offsets = batch->messages.offsets;
    out->message_bytes = batch->messages.bytes;
}

/* What is pointed to is only read: fp_batch and fp_codes are for those who fill them, too. */
#define READ_ONLY(type, pointer) ((type)(uintptr_t)(pointer))

void fp_batch_of_sink(fp_batch *out, fp_codes *codes, const facpool_sink_batch *batch)
{
    *codes = (fp_codes){.texts = {.n = batch->n_codes,
                                  .offsets = READ_ONLY(uint32_t *, batch->code_offsets),
                                  .bytes = READ_ONLY(char *, batch->code_bytes)},
                        .rank = READ_ONLY(uint32_t *, batch->code_ranks)};
    *out = (fp_batch){.ok = batch->all_ok,
                      .n_factors = batch->n_factors,
                      .n_rows = batch->n_rows,
                      .dates = READ_ONLY(int64_t *, batch->dates),
                      .code_ids = READ_ONLY(uint32_t *, batch->code_ids),
                      .timestamps = READ_ONLY(int64_t *, batch->timestamps),
                      .factors = READ_ONLY(double **, batch->factors),
                      .statuses = READ_ONLY(uint8_t *, batch->statuses),
                      .failure_codes = READ_ONLY(int32_t *, batch->failure_codes),
                      .codes = codes};
    if (!batch->all_ok)
        out->messages = (fp_texts){.n = batch->n_rows,
                                   .offsets = READ_ONLY(uint32_t *, batch->message_offsets),
                                   .bytes = READ_ONLY(char *, batch->message_bytes)};
}
