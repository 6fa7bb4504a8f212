/* Files of the memory_map format for the tests of it: rows in blocks that are written and compared,
 * and the file as a parser of the tests' own sees it, which knows of Arrow alone. Included by test
 * programs; everything is static. */
#ifndef FP_TEST_ARROW_ROWS_H
#define FP_TEST_ARROW_ROWS_H

#include "codec/arrow_flat.h"
#include "no_sync.h"
#include "store/arrow_file.h"
#include "store_rows.h"

static facpool_error err = FACPOOL_ERROR_INIT;

enum { BLOCK_ROWS = 20 };

/* Rows in blocks of BLOCK_ROWS, every third of which is not ok. */
static rows make_rows(size_t first, size_t n)
{
    rows r = {0};
    for (size_t i = first; i < first + n; i++)
        *rows_add(&r) =
            row_of(i, 10, i / BLOCK_ROWS % 3 == 1 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK);
    return r;
}

static void write_blocks(const char *path, int mode, const rows *r, size_t block_rows)
{
    facpool_backup_options options = options_for(path, mode);
    options.format = "memory_map";
    options.tag = "a tag";
    CHECK_OK(write_rows(&options, r, block_rows, &err), err);
}

static void check_rows(const char *path, const rows *expected)
{
    rows found = {0};
    uint64_t damaged = 0, tail = 0;
    CHECK_OK(read_file(path, &found, &damaged, &tail, &err), err);
    CHECK_INT(found.corrupt_blocks, 0);
    CHECK_INT(damaged, 0);
    CHECK_INT(tail, 0);
    CHECK(rows_are_same(&found, expected));
    rows_free(&found);
}

static void append_all(rows *to, const rows *from)
{
    for (size_t i = 0; i < from->n; i++)
        *rows_add(to) = from->at[i];
}

/* ------------------------------------------------------------------ Arrow, as others read it */

/* A message found by walking the stream from byte 8 on, or by the footer. */
typedef struct message {
    uint64_t offset;
    uint64_t metadata_bytes; /* up to the body */
    uint64_t body_bytes;
    uint64_t n_rows;
} message;

typedef struct messages {
    message at[64];
    size_t n;
} messages;

/* Field numbers as Arrow's Message.fbs and File.fbs have them. */
static message read_message(const bytes *file, uint64_t offset)
{
    CHECK(offset + 8 <= file->n && offset % 64 == 0);
    CHECK_INT(fp_load_u32(file->at + offset), 0xFFFFFFFF);
    uint32_t metadata_bytes = fp_load_u32(file->at + offset + 4);
    CHECK(metadata_bytes <= file->n - offset - 8 && (metadata_bytes + 8) % 64 == 0);
    fp_flat_reader reader = {.bytes = file->at + offset + 8, .size = metadata_bytes};
    fp_flat_table root, batch;
    CHECK(fp_flat_root(&reader, &root));
    CHECK_INT(fp_flat_number(&reader, &root, 0, 2), 4); /* V5 */
    CHECK_INT(fp_flat_number(&reader, &root, 1, 1), 3); /* RecordBatch */
    CHECK(fp_flat_child(&reader, &root, 2, &batch));
    message m = {.offset = offset,
                 .metadata_bytes = metadata_bytes + 8,
                 .body_bytes = fp_flat_number(&reader, &root, 3, 8),
                 .n_rows = fp_flat_number(&reader, &batch, 0, 8)};
    CHECK(!reader.failed);
    return m;
}

static messages walk_stream(const bytes *file)
{
    messages found = {.n = 0};
    uint64_t at = 16 + fp_load_u32(file->at + 12);
    while (at < file->n && found.n < 64) {
        message m = read_message(file, at);
        CHECK(m.body_bytes <= file->n - at - m.metadata_bytes);
        found.at[found.n++] = m;
        at += m.metadata_bytes + m.body_bytes;
    }
    CHECK_INT(at, file->n);
    return found;
}

static messages read_footer(const bytes *file)
{
    CHECK(memcmp(file->at + file->n - 6, "ARROW1", 6) == 0);
    uint32_t footer_bytes = fp_load_u32(file->at + file->n - 10);
    fp_flat_reader reader = {.bytes = file->at + file->n - 10 - footer_bytes, .size = footer_bytes};
    fp_flat_table root, schema;
    fp_flat_vector dictionaries, blocks, fields;
    CHECK((file->n - 10 - footer_bytes) % 8 == 0);
    CHECK(fp_flat_root(&reader, &root) && fp_flat_child(&reader, &root, 1, &schema));
    CHECK(fp_flat_vector_of(&reader, &root, 2, 24, &dictionaries) && dictionaries.n == 0);
    CHECK(fp_flat_vector_of(&reader, &root, 3, 24, &blocks) && blocks.n <= 64);
    CHECK(fp_flat_vector_of(&reader, &schema, 1, 4, &fields));
    CHECK_INT(fields.n, 4 + ROW_FACTORS);
    messages found = {.n = 0};
    for (size_t i = 0; i < blocks.n; i++) {
        const uint8_t *at = reader.bytes + blocks.at + 24 * i;
        message m = read_message(file, fp_load_u64(at));
        CHECK_INT(fp_load_u32(at + 8), m.metadata_bytes);
        CHECK_INT(fp_load_u64(at + 16), m.body_bytes);
        found.at[found.n++] = m;
    }
    return found;
}

typedef struct foreign_column {
    const uint8_t *validity; /* NULL: none */
    const uint8_t *values;
    uint64_t bytes;
    uint64_t nulls;
    const uint8_t *texts;
} foreign_column;

/* Columns by the message's nodes and buffers alone: date, code, timestamp, status, factors. */
static void read_columns_of(const bytes *file, const message *m,
                            foreign_column columns[4 + ROW_FACTORS])
{
    fp_flat_reader reader = {.bytes = file->at + m->offset + 8, .size = m->metadata_bytes - 8};
    fp_flat_table root, batch;
    fp_flat_vector nodes, buffers;
    CHECK(fp_flat_root(&reader, &root) && fp_flat_child(&reader, &root, 2, &batch));
    CHECK(fp_flat_vector_of(&reader, &batch, 1, 16, &nodes));
    CHECK(fp_flat_vector_of(&reader, &batch, 2, 16, &buffers));
    CHECK_INT(nodes.n, 4 + ROW_FACTORS);
    CHECK_INT(buffers.n, 9 + 2 * ROW_FACTORS);
    const uint8_t *at = reader.bytes + buffers.at;
    for (size_t i = 0; i < nodes.n; i++) {
        const uint8_t *node = reader.bytes + nodes.at + 16 * i;
        CHECK_INT(fp_load_u64(node), m->n_rows);
        columns[i].nulls = fp_load_u64(node + 8);
        size_t n_buffers = i == 1 ? 3 : 2;
        const uint8_t *place[3];
        uint64_t length[3];
        for (size_t k = 0; k < n_buffers; k++, at += 16) {
            uint64_t offset = fp_load_u64(at);
            length[k] = fp_load_u64(at + 8);
            CHECK(offset <= m->body_bytes && length[k] <= m->body_bytes - offset);
            uint64_t in_file = m->offset + m->metadata_bytes + offset;
            CHECK_INT(in_file % 64, 0);
            place[k] = file->at + in_file;
        }
        columns[i].validity = length[0] ? place[0] : NULL;
        columns[i].values = place[1];
        columns[i].bytes = length[1];
        columns[i].texts = n_buffers == 3 ? place[2] : NULL;
    }
}

/* Rows of the messages as a foreign reader sees them; what it does not see is taken from
 * `expected`. */
static rows rows_of(const bytes *file, const messages *found)
{
    rows r = {0};
    for (size_t i = 0; i < found->n; i++) {
        const message *m = &found->at[i];
        foreign_column c[4 + ROW_FACTORS];
        read_columns_of(file, m, c);
        for (size_t k = 0; k < m->n_rows; k++) {
            row *to = rows_add(&r);
            to->date = (int64_t)fp_load_u64(c[0].values + 8 * k);
            uint32_t from = fp_load_u32(c[1].values + 4 * k);
            uint32_t end = fp_load_u32(c[1].values + 4 * k + 4);
            CHECK(from <= end && end - from < sizeof to->code);
            memcpy(to->code, c[1].texts + from, end - from);
            to->timestamp = (int64_t)fp_load_u64(c[2].values + 8 * k);
            to->status = c[3].values[k];
            for (size_t f = 0; f < ROW_FACTORS; f++) {
                const foreign_column *factor = &c[4 + f];
                bool is_null = factor->validity && !(factor->validity[k / 8] >> k % 8 & 1);
                CHECK_INT(is_null, to->status != FACPOOL_STATUS_OK);
                CHECK_INT(factor->nulls, to->status == FACPOOL_STATUS_OK ? 0 : m->n_rows);
                if (!is_null)
                    memcpy(&to->factors[f], factor->values + 8 * k, 8);
            }
        }
    }
    rows_sort(&r);
    return r;
}

/* What foreign readers can see of rows. */
static rows seen_by_others(const rows *r)
{
    rows seen = {0};
    append_all(&seen, r);
    for (size_t i = 0; i < seen.n; i++) {
        seen.at[i].failure_code = 0;
        memset(seen.at[i].message, 0, sizeof seen.at[i].message);
    }
    rows_sort(&seen);
    return seen;
}

static void check_as_arrow(const char *path, const rows *expected, size_t n_closings)
{
    bytes file = load_file(path);
    CHECK(memcmp(file.at, "ARROW1\0", 8) == 0);
    messages stream = walk_stream(&file);
    messages listed = read_footer(&file);
    CHECK_INT(stream.n, listed.n + n_closings);
    CHECK_INT(stream.at[stream.n - 1].n_rows, 0);
    rows seen = seen_by_others(expected);
    rows by_footer = rows_of(&file, &listed), by_stream = rows_of(&file, &stream);
    CHECK(rows_are_same(&by_footer, &seen));
    CHECK(rows_are_same(&by_stream, &seen));
    rows_free(&by_footer);
    rows_free(&by_stream);
    rows_free(&seen);
    free(file.at);
}

#endif
