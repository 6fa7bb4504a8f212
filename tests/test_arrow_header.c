/* The header of a memory_map file, whose checksum anyone can compute: what it says is taken only
 * where it can be. Each test writes a good header, changes one thing in it, and makes the checksum
 * right again: the file is refused by a word, and as damage, unless it says that it is newer. */
#include "base/buffer.h"
#include "codec/arrow_message.h"
#include "codec/checksum.h"
#include "store/arrow_file.h"
#include "store_rows.h"

static facpool_error err = FACPOOL_ERROR_INIT;

#define ZEROS "0000000000000000"

/* A header's columns and keys, as they are written, to be changed. */
typedef struct header {
    fp_schema schema;
    fp_arrow_schema columns;
    fp_buffer texts;
} header;

enum { VERSION, CHECKSUM, FILE_ID, CREATED, TAG }; /* the keys */
enum { FIRST_FACTOR = 4 };

static void begin(header *h)
{
    *h = (header){0};
    CHECK_OK(fp_schema_init(&h->schema, ROW_FACTORS, row_names, "v1", &err), err);
    h->schema.created_us = 1700000000000000;
    memset(h->schema.file_id, 0x5a, sizeof h->schema.file_id);
    CHECK_OK(fp_arrow_file_schema(&h->columns, &h->texts, &h->schema, ZEROS, &err), err);
    CHECK_INT(h->columns.n_pairs, TAG + 1);
    CHECK_INT(h->columns.n_fields, FIRST_FACTOR + ROW_FACTORS);
}

static void end(header *h)
{
    fp_arrow_schema_free(&h->columns);
    fp_buffer_free(&h->texts);
    fp_schema_free(&h->schema);
}

static fp_arrow_text text(const char *letters)
{
    return (fp_arrow_text){letters, strlen(letters)};
}

/* Writes the header, its checksum right, and opens the file. */
static int open_it(const header *h)
{
    const char *path = path_of("header.arrow");
    fp_buffer out = {0};
    char digits[17];
    CHECK_INT(fp_buffer_put(&out, "ARROW1\0", 8), 0);
    CHECK_INT(fp_arrow_put_schema(&h->columns, &out), 0);
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)fp_checksum(out.data, out.size));
    uint8_t *at = memmem(out.data, out.size, ZEROS, 16);
    if (at)
        memcpy(at, digits, 16);
    save_file(path, out.data, out.size);
    fp_buffer_free(&out);
    fp_source *source = NULL;
    int rc = fp_source_open(&source, path, NULL, &err);
    fp_source_release(source);
    return rc;
}

static void a_header_that_is_as_it_should_be_is_taken(void)
{
    header h;
    begin(&h);
    CHECK_INT(open_it(&h), 0);
    h.columns.n_pairs = TAG; /* a tag need not be */
    CHECK_INT(open_it(&h), 0);
    end(&h);
}

static void versions_are_told(void)
{
    static const char *const newer[] = {"2", "11", "a very long name of a version indeed"};
    header h;
    begin(&h);
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++) {
        h.columns.pairs[VERSION].value = text(newer[i]);
        CHECK_INT(open_it(&h), FACPOOL_E_UNSUPPORTED);
        CHECK(strstr(err.message, "newer library"));
    }
    end(&h);
}

static void keys_are_needed(void)
{
    static const int keys[] = {VERSION, CHECKSUM, FILE_ID, CREATED};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        header h;
        begin(&h);
        h.columns.pairs[keys[i]].key = text("facpool.other");
        CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
        end(&h);
    }
}

static int with_value(int key, fp_arrow_text value)
{
    header h;
    begin(&h);
    h.columns.pairs[key].value = value;
    int rc = open_it(&h);
    end(&h);
    return rc;
}

static void a_file_id_is_32_digits(void)
{
    CHECK_INT(with_value(FILE_ID, text("0123456789abcdef0123456789abcdef")), 0);
    CHECK_INT(with_value(FILE_ID, text("0123456789abcdef0123456789abcde")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(FILE_ID, text("0123456789abcdef0123456789abcdef0")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(FILE_ID, text("g123456789abcdef0123456789abcdef")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(FILE_ID, text("0 23456789abcdef0123456789abcdef")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(FILE_ID, text("0123456789ABCDEF0123456789abcdef")), FACPOOL_E_CORRUPT);
}

static void a_time_is_a_64_bit_number(void)
{
    CHECK_INT(with_value(CREATED, text("0")), 0);
    CHECK_INT(with_value(CREATED, text("-1")), 0);
    CHECK_INT(with_value(CREATED, text("9223372036854775807")), 0);
    CHECK_INT(with_value(CREATED, text("-9223372036854775808")), 0);
    CHECK_INT(with_value(CREATED, text("9223372036854775808")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(CREATED, text("-9223372036854775809")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(CREATED, text("92233720368547758070")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(CREATED, text("999999999999999999999")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(CREATED, text("")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(CREATED, text("-")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(CREATED, text("17a")), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(CREATED, text("17 ")), FACPOOL_E_CORRUPT);
}

static void a_tag_is_text_of_bounded_length(void)
{
    static char long_tag[FP_TAG_MAX_BYTES + 2];
    memset(long_tag, 'x', sizeof long_tag - 1);
    CHECK_INT(with_value(TAG, (fp_arrow_text){long_tag, FP_TAG_MAX_BYTES}), 0);
    CHECK_INT(with_value(TAG, text(long_tag)), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(TAG, (fp_arrow_text){"a\0b", 3}), FACPOOL_E_CORRUPT);
    CHECK_INT(with_value(TAG, text("\xff\xfe")), FACPOOL_E_CORRUPT);
}

static void columns_are_ours(void)
{
    header h;
    begin(&h);
    fp_arrow_field *fields = h.columns.fields, before;
    h.columns.n_fields = FIRST_FACTOR; /* no factor */
    CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
    h.columns.n_fields = FIRST_FACTOR + ROW_FACTORS;
    for (size_t i = 0; i <= FIRST_FACTOR; i++) {
        before = fields[i];
        fields[i].nullable = !fields[i].nullable;
        CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
        fields[i] = before;
        fields[i].type = before.type == FP_ARROW_FLOAT64 ? FP_ARROW_INT64 : FP_ARROW_FLOAT64;
        CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
        fields[i] = before;
        fields[i].name = (fp_arrow_text){"a\0b", 3};
        CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
        fields[i] = before;
        if (i < FIRST_FACTOR) {
            fields[i].name.length--;
            CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
            fields[i].name = text("123456789"); /* a name as long as one of them */
            fields[i].name.length = before.name.length;
            CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
        } else {
            fields[i].name = fields[i + 1].name; /* twice */
            CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
            fields[i].name = text("");
            CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
        }
        fields[i] = before;
    }
    CHECK_INT(open_it(&h), 0);
    end(&h);
}

/* More than a version of ours has; newer ones may have some. */
static void there_may_be_other_keys_but_not_any_number(void)
{
    static fp_arrow_pair pairs[1001];
    header h;
    begin(&h);
    fp_arrow_pair *own = h.columns.pairs;
    for (size_t i = 0; i < 1001; i++)
        pairs[i] = (fp_arrow_pair){text("facpool.other"), text("")};
    memcpy(pairs, own, h.columns.n_pairs * sizeof *pairs);
    h.columns.pairs = pairs;
    h.columns.n_pairs = 1000;
    CHECK_INT(open_it(&h), 0);
    h.columns.n_pairs = 1001;
    CHECK_INT(open_it(&h), FACPOOL_E_CORRUPT);
    CHECK(strstr(err.message, "its schema"));
    h.columns.pairs = own;
    end(&h);
}

int main(void)
{
    make_folder();
    RUN(a_header_that_is_as_it_should_be_is_taken);
    RUN(versions_are_told);
    RUN(keys_are_needed);
    RUN(a_file_id_is_32_digits);
    RUN(a_time_is_a_64_bit_number);
    RUN(a_tag_is_text_of_bounded_length);
    RUN(columns_are_ours);
    RUN(there_may_be_other_keys_but_not_any_number);
    remove_folder();
    return TEST_END();
}
