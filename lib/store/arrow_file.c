/* The memory_map format: its entry in the registry, and its file header, which is the schema
 * message of an Arrow IPC file. Rows lie in the file as they lie in memory, so that our readers and
 * any Arrow reader map them. FORMAT.md gives the bytes. */
#include "store/arrow_file.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/checksum.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY_PREFIX   "facpool."
#define KEY_VERSION  KEY_PREFIX "version"
#define KEY_FILE_ID  KEY_PREFIX "file_id"
#define KEY_CREATED  KEY_PREFIX "created_us"
#define KEY_TAG      KEY_PREFIX "tag"
#define KEY_CHECKSUM KEY_PREFIX "checksum"

#define ZERO_DIGITS "0000000000000000"

/* date, code, timestamp and status come before the factors. */
static const struct {
    const char *name;
    fp_arrow_type type;
} fixed_fields[] = {{"date", FP_ARROW_INT64},
                    {"code", FP_ARROW_UTF8},
                    {"timestamp", FP_ARROW_TIMESTAMP_US_UTC},
                    {"status", FP_ARROW_UINT8}};

#define N_FIXED (sizeof fixed_fields / sizeof *fixed_fields)

/* A header's columns, and its pairs of custom metadata: ours are five, newer versions may have
 * more. More than that is no header of ours, and takes no memory. */
#define MOST_FIELDS (N_FIXED + FP_FACTORS_MAX)
#define MOST_PAIRS  1000

/* How far from the file's begin our keys are looked for where its header can't be parsed. */
#define SEARCH_BYTES ((size_t)64 << 10)

static bool probe(const uint8_t *first, size_t n)
{
    return n >= FP_ARROW_FILE_START_BYTES &&
           memcmp(first, FP_ARROW_FILE_START, FP_ARROW_FILE_START_BYTES) == 0;
}

static bool mentions_us(const uint8_t *bytes, size_t n)
{
    size_t length = strlen(KEY_PREFIX);
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(bytes + i, KEY_PREFIX, length) == 0)
            return true;
    return false;
}

static bool is_foreign(const uint8_t *first, size_t n)
{
    return !mentions_us(first, n);
}

/* Values are used where they lie, so the machine's order of bytes must be the file's. */
static int check_machine(facpool_error *err)
{
    const uint16_t one = 1;
    if (*(const uint8_t *)&one == 1)
        return 0;
    return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                   "the memory_map format holds little-endian values as they lie in memory, this "
                   "machine is big-endian: use binary");
}

/* ------------------------------------------------------------------ writing the header */

static fp_arrow_text text_of(const char *text)
{
    return (fp_arrow_text){text, strlen(text)};
}

/* The values that have to be written out, in `texts`; their lengths are known. */
static int put_values(fp_buffer *texts, const fp_schema *schema, const char *checksum)
{
    static const char hex[] = "0123456789abcdef";
    int rc = fp_buffer_put(texts, checksum, FP_ARROW_CHECKSUM_DIGITS);
    for (size_t i = 0; !rc && i < sizeof schema->file_id; i++) {
        rc = fp_buffer_put_u8(texts, (uint8_t)hex[schema->file_id[i] >> 4]);
        if (!rc)
            rc = fp_buffer_put_u8(texts, (uint8_t)hex[schema->file_id[i] & 15]);
    }
    char created[24];
    int length = snprintf(created, sizeof created, "%" PRId64, schema->created_us);
    return rc ? rc : fp_buffer_put(texts, created, (size_t)length);
}

static void describe_pairs(fp_arrow_schema *out, const fp_buffer *texts, const fp_schema *schema)
{
    const char *digits = (const char *)texts->data;
    const char *id = digits + FP_ARROW_CHECKSUM_DIGITS;
    const char *created = id + 2 * sizeof schema->file_id;
    size_t created_bytes = texts->size - (size_t)(created - digits);
    out->pairs[0] = (fp_arrow_pair){text_of(KEY_VERSION), text_of("1")};
    out->pairs[1] = (fp_arrow_pair){text_of(KEY_CHECKSUM), {digits, FP_ARROW_CHECKSUM_DIGITS}};
    out->pairs[2] = (fp_arrow_pair){text_of(KEY_FILE_ID), {id, 2 * sizeof schema->file_id}};
    out->pairs[3] = (fp_arrow_pair){text_of(KEY_CREATED), {created, created_bytes}};
    out->n_pairs = 4;
    if (schema->tag)
        out->pairs[out->n_pairs++] = (fp_arrow_pair){text_of(KEY_TAG), text_of(schema->tag)};
}

static void describe_fields(fp_arrow_schema *out, const fp_schema *schema)
{
    for (size_t i = 0; i < N_FIXED; i++)
        out->fields[i] =
            (fp_arrow_field){.name = text_of(fixed_fields[i].name), .type = fixed_fields[i].type};
    for (size_t i = 0; i < schema->names.n; i++)
        out->fields[N_FIXED + i] = (fp_arrow_field){
            .name = {fp_texts_at(&schema->names, i), fp_texts_length(&schema->names, i)},
            .type = FP_ARROW_FLOAT64,
            .nullable = true};
    out->n_fields = N_FIXED + schema->names.n;
}

int fp_arrow_file_schema(fp_arrow_schema *out, fp_buffer *texts, const fp_schema *schema,
                         const char *checksum, facpool_error *err)
{
    fp_arrow_schema made = {0};
    size_t n_fields = N_FIXED + schema->names.n;
    texts->size = 0;
    made.fields = fp_alloc(NULL, n_fields * sizeof *made.fields);
    made.pairs = fp_alloc(NULL, 5 * sizeof *made.pairs);
    if (!made.fields || !made.pairs || put_values(texts, schema, checksum)) {
        fp_arrow_schema_free(&made);
        return fp_fail_nomem(err, n_fields * sizeof *made.fields);
    }
    describe_pairs(&made, texts, schema);
    describe_fields(&made, schema);
    *out = made;
    return 0;
}

/* The value of a key, or NULL. */
static const fp_arrow_text *find_value(const fp_arrow_schema *schema, const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < schema->n_pairs; i++) {
        const fp_arrow_pair *pair = &schema->pairs[i];
        if (pair->key.length == length && memcmp(pair->key.bytes, key, length) == 0)
            return &pair->value;
    }
    return NULL;
}

/* The digits of the checksum within a header's bytes, or NULL. */
static const char *find_digits(const fp_arrow_schema *schema)
{
    const fp_arrow_text *value = find_value(schema, KEY_CHECKSUM);
    return value && value->length == FP_ARROW_CHECKSUM_DIGITS ? value->bytes : NULL;
}

static void digits_of(char digits[FP_ARROW_CHECKSUM_DIGITS], uint64_t checksum)
{
    char text[FP_ARROW_CHECKSUM_DIGITS + 1];
    snprintf(text, sizeof text, "%016" PRIx64, checksum);
    memcpy(digits, text, FP_ARROW_CHECKSUM_DIGITS);
}

/* The header whose checksum has the digits 0: over that the checksum is. */
static int put_header(const fp_schema *schema, fp_buffer *out, facpool_error *err)
{
    fp_arrow_schema columns;
    fp_buffer texts = {0};
    int rc = fp_arrow_file_schema(&columns, &texts, schema, ZERO_DIGITS, err);
    if (rc) {
        fp_buffer_free(&texts);
        return rc;
    }
    out->size = 0;
    if (fp_buffer_put(out, FP_ARROW_FILE_START, FP_ARROW_FILE_START_BYTES) ||
        fp_arrow_put_schema(&columns, out))
        rc = fp_fail_nomem(err, out->size);
    else if (out->size > FP_MOST_HEADER_BYTES)
        rc = fp_fail(err, FACPOOL_E_UNSUPPORTED,
                     "%zu factor names take %zu bytes in a header of the memory_map format, which "
                     "holds %u: use shorter names",
                     schema->names.n, out->size, (unsigned)FP_MOST_HEADER_BYTES);
    fp_arrow_schema_free(&columns);
    fp_buffer_free(&texts);
    return rc;
}

int fp_arrow_header_checksum(char digits[FP_ARROW_CHECKSUM_DIGITS], const fp_schema *schema,
                             facpool_error *err)
{
    fp_buffer header = {0};
    int rc = put_header(schema, &header, err);
    if (!rc)
        digits_of(digits, fp_checksum(header.data, header.size));
    fp_buffer_free(&header);
    return rc;
}

/* Metadata begins behind the file's start and the message's prefix. */
#define METADATA_AT ((size_t)FP_ARROW_FILE_START_BYTES + FP_ARROW_PREFIX_BYTES)

static int encode_header(const fp_schema *schema, fp_buffer *out, facpool_error *err)
{
    int rc = check_machine(err);
    if (!rc)
        rc = put_header(schema, out, err);
    fp_arrow_schema columns;
    if (!rc && fp_arrow_parse_schema(out->data + METADATA_AT, out->size - METADATA_AT, MOST_FIELDS,
                                     MOST_PAIRS, &columns))
        rc = fp_fail_nomem(err, out->size);
    if (rc)
        return rc;
    size_t digits_at = (size_t)(find_digits(&columns) - (const char *)out->data);
    digits_of((char *)out->data + digits_at, fp_checksum(out->data, out->size));
    fp_arrow_schema_free(&columns);
    return 0;
}

/* ------------------------------------------------------------------ reading the header */

static int bad_header(const fp_window *window, const char *what, facpool_error *err)
{
    return fp_fail(err, FACPOOL_E_CORRUPT,
                   "the header of '%s' is damaged (%s): its rows can't be understood without it",
                   window->file->path, what);
}

/* Damaged, or written by others: one of our keys somewhere tells. */
static int refuse(fp_window *window, const char *what, facpool_error *err)
{
    const uint8_t *bytes;
    size_t got;
    int rc = fp_window_get(window, 0, SEARCH_BYTES, &bytes, &got, err);
    if (rc)
        return rc;
    if (mentions_us(bytes, got))
        return bad_header(window, what, err);
    return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                   "'%s' is an Arrow file that facpool did not write: read it with "
                   "pyarrow.ipc.open_file or another Arrow reader",
                   window->file->path);
}

static bool checksum_is_right(const uint8_t *header, size_t size, const char *digits,
                              fp_buffer *copy)
{
    if (fp_buffer_put(copy, header, size))
        return false;
    size_t digits_at = (size_t)(digits - (const char *)header);
    memcpy(copy->data + digits_at, ZERO_DIGITS, FP_ARROW_CHECKSUM_DIGITS);
    char found[FP_ARROW_CHECKSUM_DIGITS];
    digits_of(found, fp_checksum(copy->data, size));
    return memcmp(found, digits, sizeof found) == 0;
}

/* These keys and the checksum's range keep their meaning in every future version, so that its
 * files are told apart from damaged ones. */
static int check_version(const fp_window *window, const fp_arrow_schema *columns,
                         facpool_error *err)
{
    const fp_arrow_text *version = find_value(columns, KEY_VERSION);
    if (version->length == 1 && *version->bytes == '0' + FP_ARROW_VERSION)
        return 0;
    return fp_fail(err, FACPOOL_E_UNSUPPORTED,
                   "'%s' is of version %.*s of the memory_map format, this library (%s) reads up "
                   "to version %d: use a newer library",
                   window->file->path, version->length < 20 ? (int)version->length : 20,
                   version->bytes, facpool_version(), FP_ARROW_VERSION);
}

static int digit_of(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool parse_file_id(const fp_arrow_schema *columns, uint8_t id[16])
{
    const fp_arrow_text *value = find_value(columns, KEY_FILE_ID);
    if (!value || value->length != 32)
        return false;
    for (size_t i = 0; i < 16; i++) {
        int high = digit_of(value->bytes[2 * i]), low = digit_of(value->bytes[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool parse_created(const fp_arrow_schema *columns, int64_t *out)
{
    const fp_arrow_text *value = find_value(columns, KEY_CREATED);
    bool negative = value && value->length && *value->bytes == '-';
    if (!value || value->length <= negative || value->length > 20)
        return false;
    uint64_t number = 0;
    for (size_t i = negative; i < value->length; i++) {
        int digit = digit_of(value->bytes[i]);
        if (digit < 0 || digit > 9 || number > (uint64_t)INT64_MAX / 10)
            return false;
        number = number * 10 + (uint64_t)digit;
    }
    if (number > (uint64_t)INT64_MAX + negative)
        return false;
    *out = (int64_t)(negative ? -number : number);
    return true;
}

/* All fields may refer to the same bytes: names that are longer together than the header are not
 * copied. */
static bool fields_are_ours(const fp_arrow_schema *columns, size_t header_bytes)
{
    if (columns->n_fields <= N_FIXED)
        return false;
    size_t name_bytes = 0;
    for (size_t i = 0; i < columns->n_fields; i++) {
        const fp_arrow_field *field = &columns->fields[i];
        bool fixed = i < N_FIXED;
        name_bytes += field->name.length;
        if (field->name.length > FP_CODE_MAX_BYTES || name_bytes > header_bytes)
            return false;
        if (field->type != (fixed ? fixed_fields[i].type : FP_ARROW_FLOAT64) ||
            field->nullable == fixed || memchr(field->name.bytes, 0, field->name.length))
            return false;
        if (fixed && (field->name.length != strlen(fixed_fields[i].name) ||
                      memcmp(field->name.bytes, fixed_fields[i].name, field->name.length) != 0))
            return false;
    }
    return true;
}

/* Names and tag, each copied with a NUL behind it, as fp_schema_init takes them. */
static int make_schema(const fp_arrow_schema *columns, const char *tag, fp_schema *out,
                       facpool_error *err)
{
    size_t n = columns->n_fields - N_FIXED;
    fp_texts names = {0};
    const char **pointers = fp_alloc(NULL, n * sizeof *pointers);
    int rc = pointers ? 0 : fp_fail_nomem(err, n * sizeof *pointers);
    for (size_t i = 0; !rc && i < n; i++) {
        const fp_arrow_text *name = &columns->fields[N_FIXED + i].name;
        if (fp_texts_add(&names, name->bytes, name->length))
            rc = fp_fail_nomem(err, name->length + 1);
    }
    for (size_t i = 0; !rc && i < n; i++)
        pointers[i] = fp_texts_at(&names, i);
    if (!rc)
        rc = fp_schema_init(out, n, pointers, tag, err);
    fp_texts_free(&names);
    fp_free(NULL, pointers);
    return rc;
}

static int parse_columns(const fp_window *window, size_t size, const fp_arrow_schema *columns,
                         fp_schema *schema, facpool_error *err)
{
    fp_schema parsed = {0};
    uint8_t file_id[16];
    int64_t created_us;
    char tag[FP_TAG_MAX_BYTES + 1] = "";
    const fp_arrow_text *stored = find_value(columns, KEY_TAG);
    if (!fields_are_ours(columns, size))
        return bad_header(window, "its columns", err);
    if (!parse_file_id(columns, file_id) || !parse_created(columns, &created_us))
        return bad_header(window, "file id or time", err);
    if (stored && (stored->length > FP_TAG_MAX_BYTES || memchr(stored->bytes, 0, stored->length)))
        return bad_header(window, "its tag", err);
    if (stored)
        memcpy(tag, stored->bytes, stored->length);
    int rc = make_schema(columns, stored ? tag : NULL, &parsed, err);
    if (rc == FACPOOL_E_INVALID)
        rc = bad_header(window, "factor names or tag", err);
    if (rc)
        return rc;
    memcpy(parsed.file_id, file_id, sizeof file_id);
    parsed.created_us = created_us;
    *schema = parsed;
    return 0;
}

/* The schema message, whole; *size is where it ends. */
static int load_header(fp_window *window, const uint8_t **header, size_t *size, facpool_error *err)
{
    size_t got;
    int rc = fp_window_get(window, 0, METADATA_AT, header, &got, err);
    if (rc)
        return rc;
    if (got < METADATA_AT)
        return refuse(window, "the file ends within it", err);
    uint32_t metadata_bytes = fp_load_u32(*header + FP_ARROW_FILE_START_BYTES + 4);
    if (!probe(*header, got) ||
        fp_load_u32(*header + FP_ARROW_FILE_START_BYTES) != FP_ARROW_CONTINUATION ||
        metadata_bytes > FP_MOST_HEADER_BYTES)
        return refuse(window, "its length", err);
    *size = METADATA_AT + metadata_bytes;
    rc = fp_window_get(window, 0, *size, header, &got, err);
    if (!rc && got < *size)
        rc = refuse(window, "the file ends within it", err);
    return rc;
}

/* Makes sure that the header is ours and as it was written, then understands it. */
static int understand(fp_window *window, const uint8_t *header, size_t size,
                      const fp_arrow_schema *columns, fp_schema *schema, facpool_error *err)
{
    const char *digits = find_digits(columns);
    if (!find_value(columns, KEY_VERSION) || !digits)
        return refuse(window, "its keys", err);
    fp_buffer copy = {0};
    bool right = checksum_is_right(header, size, digits, &copy);
    bool no_memory = copy.size < size;
    fp_buffer_free(&copy);
    if (no_memory)
        return fp_fail_nomem(err, size);
    if (!right)
        return bad_header(window, "its checksum", err);
    int rc = check_version(window, columns, err);
    if (!rc && size % FP_BLOCK_ALIGNMENT != 0)
        rc = bad_header(window, "its length", err);
    return rc ? rc : parse_columns(window, size, columns, schema, err);
}

static int parse_header(fp_window *window, fp_schema *schema, uint64_t *header_end,
                        facpool_error *err)
{
    const uint8_t *header = NULL;
    size_t size = 0;
    int rc = check_machine(err);
    if (!rc)
        rc = load_header(window, &header, &size, err);
    if (rc)
        return rc;
    fp_arrow_schema columns;
    rc = fp_arrow_parse_schema(header + METADATA_AT, size - METADATA_AT, MOST_FIELDS, MOST_PAIRS,
                               &columns);
    if (rc == FACPOOL_E_NOMEM)
        return fp_fail_nomem(err, size);
    if (rc)
        return refuse(window, "its schema", err);
    rc = understand(window, header, size, &columns, schema, err);
    if (!rc)
        *header_end = size;
    fp_arrow_schema_free(&columns);
    return rc;
}

const fp_format fp_format_memory_map = {
    .name = "memory_map",
    .suffix = ".arrow",
    .version = FP_ARROW_VERSION,
    .source_type = &fp_arrow_source_type,
    .zero_copy = true,
    .probe = probe,
    .is_foreign = is_foreign,
    .encode_header = encode_header,
    .parse_header = parse_header,
    .new_encoder = fp_arrow_new_encoder,
    .free_encoder = fp_arrow_free_encoder,
    .most_rows = fp_front_most_rows,
    .encode = fp_arrow_encode,
    .seal = fp_arrow_seal,
    .parse_block = fp_arrow_parse_block,
    .find_block = fp_arrow_find_block,
    .check_block = fp_arrow_check_block,
    .encode_index = fp_arrow_encode_index,
    .find_index = fp_arrow_find_index,
    .parse_index = fp_arrow_parse_index,
};
