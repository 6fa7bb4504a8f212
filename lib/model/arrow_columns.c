/* Reads columns of Arrow arrays that come from strangers: checks spans, finds nulls, and turns
 * texts and dictionaries of texts into code ids. Called by the import of task sets; releases
 * nothing. */
#include "model/arrow_columns.h"

#include "base/alloc.h"
#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* Bytes of a view, and how long a text may be that lies in the view itself. */
#define VIEW_BYTES        16
#define VIEW_INLINE_BYTES 12

/* So that no place in a buffer overflows, with 16 bytes to a value. */
#define VALUES_MAX ((int64_t)(SIZE_MAX / 64))

/* ------------------------------------------------------------------ spans */

/* What must hold for values up to `end` of the array to be there. */
static int check_array(const struct ArrowArray *array, size_t end, int64_t n_buffers,
                       const char *what, facpool_error *err)
{
    if (!array)
        return fp_fail(err, FACPOOL_E_INVALID, "%s has no array: the stream is broken", what);
    if (array->offset < 0 || array->offset > VALUES_MAX || array->length < 0 ||
        array->length > VALUES_MAX)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "%s has an array of length %lld at offset %lld: the stream is broken", what,
                       (long long)array->length, (long long)array->offset);
    if ((uint64_t)array->length < end)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "%s has %lld values where the rows need %zu: the stream is broken", what,
                       (long long)array->length, end);
    if (array->n_buffers < n_buffers || !array->buffers)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "%s has %lld buffers where its type needs %lld: the stream is broken", what,
                       (long long)(array->buffers ? array->n_buffers : 0), (long long)n_buffers);
    if (n_buffers > 1 && !array->buffers[1])
        return fp_fail(err, FACPOOL_E_INVALID, "%s has no values: the stream is broken", what);
    return 0;
}

static bool is_null(const struct ArrowArray *array, size_t at)
{
    const uint8_t *validity = array->buffers[0];
    return validity && !(validity[at / 8] >> at % 8 & 1);
}

/* The bits decide, as a slice of an array may say of its nulls what the whole array has. */
static int refuse_nulls(const fp_arrow_span *span, const char *what, facpool_error *err)
{
    const struct ArrowArray *array = span->array;
    if (!array->buffers[0]) {
        if (array->null_count > 0)
            return fp_fail(err, FACPOOL_E_INVALID,
                           "%s says it has %lld nulls, but not which: the stream is broken", what,
                           (long long)array->null_count);
        return 0;
    }
    for (size_t i = 0; i < span->n; i++)
        if (is_null(array, span->first + i))
            return fp_fail(err, FACPOOL_E_INVALID,
                           "%s is null in row %zu: a task needs a date and a code, drop the row",
                           what, span->row + i);
    return 0;
}

int fp_arrow_span_open(fp_arrow_span *out, const struct ArrowArray *array, size_t skip, size_t n,
                       int64_t n_buffers, const char *what, size_t row, facpool_error *err)
{
    int failure = check_array(array, skip + n, n_buffers, what, err);
    if (failure)
        return failure;
    fp_arrow_span span = {array, (size_t)array->offset + skip, n, row};
    failure = refuse_nulls(&span, what, err);
    if (!failure)
        *out = span;
    return failure;
}

uint64_t fp_arrow_integer(const void *buffer, size_t at, uint32_t bytes, bool is_signed)
{
    union {
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
    } value;
    memcpy(&value, (const char *)buffer + at * bytes, bytes);
    switch (bytes) {
    case 1:
        return is_signed ? (uint64_t)(int64_t)(int8_t)value.u8 : value.u8;
    case 2:
        return is_signed ? (uint64_t)(int64_t)(int16_t)value.u16 : value.u16;
    case 4:
        return is_signed ? (uint64_t)(int64_t)(int32_t)value.u32 : value.u32;
    default:
        return value.u64;
    }
}

/* ------------------------------------------------------------------ types */

/* By Arrow's letters: c C s S i I l L, small ones being signed. */
static bool read_index_type(fp_arrow_code_type *type, const char *format)
{
    static const char letters[] = "cCsSiIlL";
    const char *at = format[0] && !format[1] ? strchr(letters, format[0]) : NULL;
    if (!at)
        return false;
    size_t place = (size_t)(at - letters);
    type->index_bytes = 1u << place / 2;
    type->index_is_signed = place % 2 == 0;
    return true;
}

static bool read_text_type(fp_arrow_code_type *type, const char *format)
{
    if (strcmp(format, "u") == 0)
        type->offset_bytes = 4;
    else if (strcmp(format, "U") == 0)
        type->offset_bytes = 8;
    else if (strcmp(format, "vu") == 0)
        type->offset_bytes = 0;
    else
        return false;
    return true;
}

int fp_arrow_code_type_read(fp_arrow_code_type *out, const struct ArrowSchema *column,
                            facpool_error *err)
{
    fp_arrow_code_type type = {0};
    const char *name = column->name ? column->name : "";
    const char *format = column->format;
    const struct ArrowSchema *dictionary = column->dictionary;
    if (dictionary && (!read_index_type(&type, format) || dictionary->dictionary))
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the code column '%s' is a dictionary within a dictionary, or one without "
                       "integer indexes (Arrow type '%s'): give text",
                       name, format);
    const char *text_format = dictionary ? dictionary->format : format;
    if (!text_format || !read_text_type(&type, text_format))
        return fp_fail(
            err, FACPOOL_E_INVALID,
            "the code column '%s' %s of Arrow type '%s': give utf8, large utf8, utf8 view "
            "or a dictionary of these",
            name, dictionary ? "is a dictionary" : "is", text_format ? text_format : "");
    type.n_buffers = dictionary ? 2 : 3;
    *out = type;
    return 0;
}

/* ------------------------------------------------------------------ texts */

static const char *text_by_offsets(const struct ArrowArray *array, size_t at, uint32_t offset_bytes,
                                   size_t *length)
{
    uint64_t begin = fp_arrow_integer(array->buffers[1], at, offset_bytes, true);
    uint64_t end = fp_arrow_integer(array->buffers[1], at + 1, offset_bytes, true);
    const char *bytes = array->buffers[2];
    if (end > INT64_MAX || begin > end || (!bytes && end > begin))
        return NULL;
    *length = (size_t)(end - begin);
    return bytes ? bytes + begin : "";
}

/* Sixteen bytes: the length, then a short text itself or, after four bytes of it, which buffer has
 * a long one, and where. The last buffer holds the sizes of those between. */
static const char *text_by_view(const struct ArrowArray *array, size_t at, size_t *length)
{
    const char *view = (const char *)array->buffers[1] + at * VIEW_BYTES;
    uint64_t n_bytes = fp_arrow_integer(view, 0, 4, true);
    *length = (size_t)n_bytes; /* one below zero is longer than any buffer */
    if (n_bytes <= VIEW_INLINE_BYTES)
        return view + 4;
    uint64_t buffer = fp_arrow_integer(view, 2, 4, true);
    uint64_t begin = fp_arrow_integer(view, 3, 4, true);
    const void *sizes = array->buffers[array->n_buffers - 1];
    if (buffer >= (uint64_t)array->n_buffers - 3 || !sizes || !array->buffers[2 + buffer])
        return NULL;
    uint64_t size = fp_arrow_integer(sizes, (size_t)buffer, 8, true);
    if (size > INT64_MAX || begin > size || n_bytes > size - begin)
        return NULL;
    return (const char *)array->buffers[2 + buffer] + begin;
}

static int fail_text(size_t row, facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_INVALID,
                   "the code of row %zu lies outside of its buffer: the stream is broken", row);
}

/* A code that is not in the table yet. Arrow's texts end without a NUL and may have some inside. */
static int add_code(fp_codes *codes, const char *bytes, size_t length, size_t row, uint32_t *id,
                    facpool_error *err)
{
    char what[64];
    snprintf(what, sizeof what, "code of row %zu:", row);
    char code[FP_CODE_MAX_BYTES + 2] = {0}; /* one more than may be, so that too long shows */
    size_t kept = length <= FP_CODE_MAX_BYTES ? length : FP_CODE_MAX_BYTES + 1;
    if (kept)
        memcpy(code, bytes, kept);
    if (memchr(code, '\0', kept))
        return fp_fail(err, FACPOOL_E_INVALID, "%s '%s' goes on behind a NUL: remove it", what,
                       code);
    if (fp_text_check(code, what, err) == 0)
        return FACPOOL_E_INVALID;
    if (fp_codes_intern(codes, code, length, id))
        return fp_fail_nomem(err, length + 1);
    return 0;
}

/* `array` holds texts; `row` is for messages. */
static int intern_text(fp_codes *codes, const fp_arrow_code_type *type,
                       const struct ArrowArray *array, size_t at, size_t row, uint32_t *id,
                       facpool_error *err)
{
    size_t length = 0;
    const char *bytes = type->offset_bytes ? text_by_offsets(array, at, type->offset_bytes, &length)
                                           : text_by_view(array, at, &length);
    if (!bytes)
        return fail_text(row, err);
    uint32_t found =
        length <= FP_CODE_MAX_BYTES ? fp_codes_find(codes, bytes, length) : FP_CODE_NONE;
    if (found == FP_CODE_NONE)
        return add_code(codes, bytes, length, row, id, err);
    *id = found;
    return 0;
}

/* ------------------------------------------------------------------ dictionaries */

/* The dictionary of a chunk, whose values are looked at when a row needs them. */
typedef struct dictionary {
    const struct ArrowArray *array;
    uint32_t *id_of; /* value -> id + 1, 0 where not known yet; NULL: not kept */
} dictionary;

static int intern_value(fp_codes *codes, const fp_arrow_code_type *type, const dictionary *texts,
                        uint64_t value, size_t row, uint32_t *id, facpool_error *err)
{
    if (value >= (uint64_t)texts->array->length)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the code of row %zu is value %lld of a dictionary of %lld: the stream is "
                       "broken",
                       row, (long long)value, (long long)texts->array->length);
    if (texts->id_of && texts->id_of[value]) {
        *id = texts->id_of[value] - 1;
        return 0;
    }
    size_t at = (size_t)(texts->array->offset + (int64_t)value);
    if (is_null(texts->array, at))
        return fp_fail(err, FACPOOL_E_INVALID,
                       "the code of row %zu is a null of its dictionary: drop the row", row);
    int failure = intern_text(codes, type, texts->array, at, row, id, err);
    if (!failure && texts->id_of)
        texts->id_of[value] = *id + 1;
    return failure;
}

static int intern_indexes(fp_codes *codes, uint32_t *ids, const fp_arrow_code_type *type,
                          const fp_arrow_span *span, facpool_error *err)
{
    dictionary texts = {span->array->dictionary, NULL};
    int failure = check_array(texts.array, 1, 3, "the code column's dictionary", err);
    if (failure)
        return failure;
    /* A chunk shorter than its dictionary has no use for a table as long as that. */
    size_t n_values = (size_t)texts.array->length;
    if (n_values <= span->n) {
        texts.id_of = fp_alloc_zero(NULL, n_values, sizeof *texts.id_of);
        if (!texts.id_of)
            return fp_fail_nomem(err, n_values * sizeof *texts.id_of);
    }
    for (size_t i = 0; i < span->n && !failure; i++) {
        uint64_t value = fp_arrow_integer(span->array->buffers[1], span->first + i,
                                          type->index_bytes, type->index_is_signed);
        failure = intern_value(codes, type, &texts, value, span->row + i, &ids[i], err);
    }
    fp_free(NULL, texts.id_of);
    return failure;
}

int fp_arrow_codes_intern(fp_codes *codes, uint32_t *ids, const fp_arrow_code_type *type,
                          const fp_arrow_span *span, facpool_error *err)
{
    if (type->index_bytes)
        return intern_indexes(codes, ids, type, span, err);
    int failure = 0;
    for (size_t i = 0; i < span->n && !failure; i++)
        failure =
            intern_text(codes, type, span->array, span->first + i, span->row + i, &ids[i], err);
    return failure;
}
