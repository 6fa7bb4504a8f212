/* The index of a file in memory: see log_index.h. It holds what it is given, and reads no file. */
#include "store/log_index.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

void fp_log_index_free(fp_log_index *index)
{
    fp_free(NULL, index->entries);
    fp_buffer_free(&index->texts);
    *index = (fp_log_index){0};
}

int fp_log_index_reserve(fp_log_index *index, const fp_log_entry *entry, facpool_error *err)
{
    size_t texts = strlen(entry->block.code_min) + strlen(entry->block.code_max) + 2;
    void *entries = index->entries;
    if (fp_grow(NULL, &entries, &index->capacity, index->n + 1, sizeof *index->entries))
        return fp_fail_nomem(err, sizeof *index->entries);
    index->entries = entries;
    if (!fp_buffer_reserve(&index->texts, texts))
        return fp_fail_nomem(err, texts);
    return 0;
}

int fp_log_index_add(fp_log_index *index, const fp_log_entry *entry, facpool_error *err)
{
    int rc = fp_log_index_reserve(index, entry, err);
    if (rc)
        return rc;
    fp_log_entry *added = &index->entries[index->n++];
    *added = *entry;
    size_t code_min_bytes = strlen(entry->block.code_min) + 1;
    size_t code_max_bytes = strlen(entry->block.code_max) + 1;
    uint8_t *texts = index->texts.data + index->texts.size;
    memcpy(texts, entry->block.code_min, code_min_bytes);
    memcpy(texts + code_min_bytes, entry->block.code_max, code_max_bytes);
    added->code_min_at = index->texts.size;
    added->code_max_at = index->texts.size + code_min_bytes;
    index->texts.size += code_min_bytes + code_max_bytes;
    added->block.code_min = NULL;
    added->block.code_max = NULL;
    return 0;
}

size_t fp_log_index_compact(fp_log_index *index)
{
    size_t kept = 0, n = index->n;
    for (size_t i = 0; i < n; i++)
        if (!index->entries[i].is_given_up)
            index->entries[kept++] = index->entries[i];
    index->n = kept;
    return n - kept;
}

int fp_log_index_copy(fp_log_index *out, const fp_log_index *from, facpool_error *err)
{
    fp_log_index copy = {0};
    size_t bytes = from->n * sizeof *from->entries;
    copy.entries = fp_alloc(NULL, bytes);
    if (!copy.entries || fp_buffer_put(&copy.texts, from->texts.data, from->texts.size)) {
        fp_log_index_free(&copy);
        return fp_fail_nomem(err, bytes + from->texts.size);
    }
    if (from->n)
        memcpy(copy.entries, from->entries, bytes);
    copy.n = from->n;
    copy.capacity = from->n;
    *out = copy;
    return 0;
}

fp_block *fp_log_index_blocks(const fp_log_index *index, uint64_t *n_pages)
{
    fp_block *blocks = fp_alloc(NULL, index->n * sizeof *blocks);
    if (!blocks)
        return NULL;
    *n_pages = 0;
    for (size_t i = 0; i < index->n; i++) {
        blocks[i] = index->entries[i].block;
        blocks[i].code_min = fp_log_index_code_min(index, i);
        blocks[i].code_max = fp_log_index_code_max(index, i);
        *n_pages += blocks[i].n_pages;
    }
    return blocks;
}
