/* The binary format: its entry in the registry, and its file header. The compact format: columns
 * apart, encoded by page, codes by a dictionary in each block. FORMAT.md gives the bytes. */
#include "store/binary.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/checksum.h"

#include <string.h>

static bool probe(const uint8_t *first, size_t n)
{
    return n >= FP_MAGIC_BYTES && memcmp(first, FP_BINARY_FILE_MAGIC, FP_MAGIC_BYTES) == 0;
}

/* ------------------------------------------------------------------ writing the header */

static int put_names(const fp_texts *names, fp_buffer *out)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < names->n; i++) {
        rc = fp_buffer_put_u8(out, (uint8_t)fp_texts_length(names, i));
        if (!rc)
            rc = fp_buffer_put(out, fp_texts_at(names, i), fp_texts_length(names, i));
    }
    return rc;
}

static int encode_header(const fp_schema *schema, fp_buffer *out, facpool_error *err)
{
    uint32_t tag_bytes = schema->tag ? (uint32_t)strlen(schema->tag) : 0;
    out->size = 0;
    if (!fp_buffer_reserve(out, FP_FILE_NAMES))
        return fp_fail_nomem(err, FP_FILE_NAMES);
    memset(out->data, 0, FP_FILE_NAMES);
    out->size = FP_FILE_NAMES;
    int rc = put_names(&schema->names, out);
    if (!rc)
        rc = fp_buffer_put(out, schema->tag, tag_bytes);
    if (!rc)
        rc = fp_buffer_pad(out, FP_BLOCK_ALIGNMENT);
    if (rc)
        return fp_fail_nomem(err, out->size);
    uint8_t *at = out->data;
    memcpy(at, FP_BINARY_FILE_MAGIC, FP_MAGIC_BYTES);
    fp_store_u32(at + FP_FILE_VERSION, FP_BINARY_VERSION);
    fp_store_u32(at + FP_FILE_HEADER_BYTES, (uint32_t)out->size);
    fp_store_u32(at + FP_FILE_N_FACTORS, (uint32_t)schema->names.n);
    memcpy(at + FP_FILE_ID, schema->file_id, sizeof schema->file_id);
    fp_store_u64(at + FP_FILE_CREATED, (uint64_t)schema->created_us);
    fp_store_u32(at + FP_FILE_TAG_BYTES, schema->tag ? tag_bytes : UINT32_MAX);
    fp_store_u64(at + FP_FILE_CHECKSUM,
                 fp_checksum(at + FP_FILE_VERSION, out->size - FP_FILE_VERSION));
    return 0;
}

/* ------------------------------------------------------------------ reading the header */

static int bad_header(const fp_window *window, const char *what, facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_CORRUPT,
                   "the header of '%s' is damaged (%s): its rows can't be understood without it",
                   window->file->path, what);
}

/* The names as the array that fp_schema_init takes. The texts are copied out of the header, each
 * with a NUL behind it. */
static int take_names(fp_bytes *bytes, uint32_t n, fp_texts *names, bool *sound, facpool_error *err)
{
    *sound = true;
    for (uint32_t i = 0; *sound && i < n; i++) {
        size_t length = fp_bytes_u8(bytes);
        const uint8_t *name = fp_bytes_take(bytes, length);
        *sound = name && !memchr(name, 0, length);
        if (*sound && fp_texts_add(names, (const char *)name, length))
            return fp_fail_nomem(err, length + 1);
    }
    return 0;
}

static int make_schema(const fp_texts *names, const char *tag, fp_schema *out, facpool_error *err)
{
    const char **pointers = fp_alloc(NULL, names->n * sizeof *pointers);
    if (!pointers)
        return fp_fail_nomem(err, names->n * sizeof *pointers);
    for (size_t i = 0; i < names->n; i++)
        pointers[i] = fp_texts_at(names, i);
    int rc = fp_schema_init(out, names->n, pointers, tag, err);
    fp_free(NULL, pointers);
    return rc;
}

/* The part behind the fixed fields: names, tag, padding. */
static int parse_texts(const fp_window *window, const uint8_t *header, size_t size,
                       fp_schema *schema, facpool_error *err)
{
    uint32_t n_factors = fp_load_u32(header + FP_FILE_N_FACTORS);
    uint32_t tag_bytes = fp_load_u32(header + FP_FILE_TAG_BYTES);
    if (n_factors == 0 || n_factors > FP_FACTORS_MAX)
        return bad_header(window, "number of factors", err);
    if (tag_bytes != UINT32_MAX && tag_bytes > FP_TAG_MAX_BYTES)
        return bad_header(window, "length of the tag", err);
    char tag[FP_TAG_MAX_BYTES + 1] = "";
    fp_texts names = {0};
    fp_bytes bytes = {.data = header, .size = size, .at = FP_FILE_NAMES};
    bool sound;
    int rc = take_names(&bytes, n_factors, &names, &sound, err);
    if (!rc && sound && tag_bytes != UINT32_MAX) {
        const uint8_t *text = fp_bytes_take(&bytes, tag_bytes);
        sound = text && !memchr(text, 0, tag_bytes);
        if (sound)
            memcpy(tag, text, tag_bytes);
    }
    if (!rc && (!sound || size - bytes.at >= FP_BLOCK_ALIGNMENT))
        rc = bad_header(window, "factor names or tag", err);
    if (!rc)
        rc = make_schema(&names, tag_bytes == UINT32_MAX ? NULL : tag, schema, err);
    if (rc == FACPOOL_E_INVALID)
        rc = bad_header(window, "factor names or tag", err);
    fp_texts_free(&names);
    return rc;
}

/* These fields stay where they are in every future version, so that its files are told apart from
 * damaged ones. */
static int check_version(const fp_window *window, const uint8_t *header, facpool_error *err)
{
    uint32_t version = fp_load_u32(header + FP_FILE_VERSION);
    uint32_t incompatible = fp_load_u32(header + FP_FILE_INCOMPATIBLE);
    if (version == 0)
        return bad_header(window, "version 0", err);
    if (version > FP_BINARY_VERSION)
        return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                       "'%s' is of version %u of the binary format, this library (%s) reads up to "
                       "version %u: use a newer library",
                       window->file->path, (unsigned)version, facpool_version(), FP_BINARY_VERSION);
    if (incompatible)
        return fp_fail(
            err, FACPOOL_E_UNSUPPORTED,
            "'%s' (version %u of the binary format) uses features 0x%x that this library "
            "(%s, version %u) does not know: use a newer library",
            window->file->path, (unsigned)version, (unsigned)incompatible, facpool_version(),
            FP_BINARY_VERSION);
    return 0;
}

static int parse_header(fp_window *window, fp_schema *schema, uint64_t *header_end,
                        facpool_error *err)
{
    const uint8_t *header;
    size_t got;
    int rc = fp_window_get(window, 0, FP_FILE_NAMES, &header, &got, err);
    if (rc)
        return rc;
    if (got < FP_FILE_NAMES)
        return bad_header(window, "the file ends within it", err);
    uint32_t size = fp_load_u32(header + FP_FILE_HEADER_BYTES);
    if (size < FP_FILE_NAMES || size > FP_MOST_HEADER_BYTES || size % FP_BLOCK_ALIGNMENT != 0)
        return bad_header(window, "its length", err);
    rc = fp_window_get(window, 0, size, &header, &got, err);
    if (rc)
        return rc;
    if (got < size)
        return bad_header(window, "the file ends within it", err);
    if (memcmp(header, FP_BINARY_FILE_MAGIC, FP_MAGIC_BYTES) != 0 ||
        fp_checksum(header + FP_FILE_VERSION, size - FP_FILE_VERSION) !=
            fp_load_u64(header + FP_FILE_CHECKSUM))
        return bad_header(window, "its checksum", err);
    rc = check_version(window, header, err);
    fp_schema parsed = {0};
    if (!rc)
        rc = parse_texts(window, header, size, &parsed, err);
    if (rc)
        return rc;
    memcpy(parsed.file_id, header + FP_FILE_ID, sizeof parsed.file_id);
    parsed.created_us = (int64_t)fp_load_u64(header + FP_FILE_CREATED);
    *schema = parsed;
    *header_end = size;
    return 0;
}

const fp_format fp_format_binary = {
    .name = "binary",
    .suffix = ".fpb",
    .version = FP_BINARY_VERSION,
    .source_type = &fp_binary_source_type,
    .probe = probe,
    .encode_header = encode_header,
    .parse_header = parse_header,
    .new_encoder = fp_binary_new_encoder,
    .free_encoder = fp_binary_free_encoder,
    .most_rows = fp_front_most_rows,
    .encode = fp_binary_encode,
    .seal = fp_binary_seal,
    .parse_block = fp_binary_parse_block,
    .find_block = fp_binary_find_block,
    .check_block = fp_binary_check_block,
    .encode_index = fp_binary_encode_index,
    .find_index = fp_binary_find_index,
    .parse_index = fp_binary_parse_index,
};
