/* What every source shares: its count of holders, and the working memory of a reading thread.
 * Called by cursors, resume and the stores; knows no format. */
#include "store/source.h"

#include "base/error.h"

#include <string.h>

int fp_read_context_init(fp_read_context *context, facpool_error *err)
{
    fp_codec *codec = fp_codec_new(NULL);
    if (!codec)
        return fp_fail_nomem(err, sizeof *context);
    *context = (fp_read_context){.codec = codec};
    return 0;
}

void fp_read_context_free(fp_read_context *context)
{
    fp_codec_free(context->codec);
    context->codec = NULL;
    fp_buffer_free(&context->scratch);
}

fp_source *fp_source_hold(fp_source *source)
{
    atomic_fetch_add_explicit(&source->references, 1, memory_order_relaxed);
    return source;
}

void fp_source_release(fp_source *source)
{
    /* Release pairs with the acquire half of the last holder's own subtraction: what others did
     * with the source happens before it is freed. */
    if (source && atomic_fetch_sub_explicit(&source->references, 1, memory_order_acq_rel) == 1)
        source->type->free(source);
}

int fp_source_copy(fp_open_block *block, fp_read_context *context, uint32_t column,
                   uint32_t first_page, uint32_t n_pages, void *to, size_t each, facpool_error *err)
{
    const void *got = NULL;
    int rc = block->source->type->read(block, context, column, first_page, n_pages, to, &got, err);
    if (!rc && got != to && n_pages) {
        const fp_page *first = &block->pages[first_page], *last = first + n_pages - 1;
        memcpy(to, got, (last->first_row + last->n_rows - first->first_row) * each);
    }
    return rc;
}
