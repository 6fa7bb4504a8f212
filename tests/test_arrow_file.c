/* The memory_map format from within: its files are Arrow files, as a parser of this test's own sees
 * them, closed, resumed or killed; rows come back bit for bit as pointers into the map, or copied;
 * no flipped bit, no tear and no lying block gets past the checks. */
#include <pthread.h>

#include "base/buffer.h"
#include "codec/arrow_flat.h"
#include "codec/checksum.h"
#include "store/arrow_file.h"
#include "store_rows.h"

/* Nothing here is about power loss: syncs would only take time. */
int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

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

static void a_closed_file_is_an_arrow_file_and_an_arrow_stream(void)
{
    const char *path = path_of("closed.arrow");
    rows r = make_rows(0, 7 * BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    rows_sort(&r);
    check_rows(path, &r);
    check_as_arrow(path, &r, 1);
    rows_free(&r);
}

static void a_resumed_file_keeps_its_bytes_and_is_one_again(void)
{
    const char *path = path_of("resumed.arrow");
    rows all = {0};
    for (size_t i = 0; i < 4; i++) {
        bytes before = load_file(path);
        rows more = make_rows(i * 3 * BLOCK_ROWS, 3 * BLOCK_ROWS);
        write_blocks(path, FACPOOL_MODE_RESUME, &more, BLOCK_ROWS);
        append_all(&all, &more);
        rows_free(&more);
        bytes after = load_file(path);
        CHECK(after.n > before.n && (!before.n || !memcmp(after.at, before.at, before.n)));
        free(before.at);
        free(after.at);
        rows sorted = {0};
        append_all(&sorted, &all);
        rows_sort(&sorted);
        check_rows(path, &sorted);
        check_as_arrow(path, &sorted, i + 1);
        rows_free(&sorted);
    }
    rows_free(&all);
}

static void a_file_without_rows_is_an_arrow_file(void)
{
    const char *path = path_of("empty.arrow");
    rows none = {0};
    write_blocks(path, FACPOOL_MODE_CREATE, &none, BLOCK_ROWS);
    check_as_arrow(path, &none, 1);
    rows r = make_rows(0, BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_RESUME, &r, BLOCK_ROWS);
    rows_sort(&r);
    check_as_arrow(path, &r, 2);
    rows_free(&r);
}

/* Codes of several lengths, long ones, and numbers of rows around those of chunks and pages. */
static void rows_of_all_sizes_come_back(void)
{
    static const size_t sizes[] = {1,    2,    255,  256,  257,  1023, 1024,
                                   1025, 1279, 1280, 2048, 5000, 65536};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int how = 0; how < 3; how++) {
            const char *path = path_of("sizes.arrow");
            rows r = {0};
            for (size_t i = 0; i < sizes[s]; i++) {
                row *added = rows_add(&r);
                *added = row_of(i, 700, how == 2 ? FACPOOL_STATUS_TIMEOUT : FACPOOL_STATUS_OK);
                if (how == 1)
                    snprintf(added->code, sizeof added->code, "%0*zu.XSHE", (int)(i % 200) + 1, i);
            }
            unlink(path);
            write_blocks(path, FACPOOL_MODE_CREATE, &r, sizes[s]);
            rows_sort(&r);
            check_rows(path, &r);
            check_as_arrow(path, &r, 1);
            rows_free(&r);
        }
    }
}

static void schema_and_tag_come_back(void)
{
    const char *path = path_of("schema.arrow");
    rows r = make_rows(0, BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_TEXT(source->type->name, "memory_map");
    CHECK(source->zero_copy);
    CHECK_TEXT(source->schema.tag, "a tag");
    CHECK_INT(source->schema.names.n, ROW_FACTORS);
    for (size_t i = 0; i < ROW_FACTORS; i++)
        CHECK_TEXT(fp_texts_at(&source->schema.names, i), row_names[i]);
    CHECK(source->schema.created_us > 0);
    fp_source_release(source);
    rows_free(&r);
}

/* ------------------------------------------------------------------ pointers and copies */

typedef struct opened {
    fp_source *source;
    fp_read_context context;
    fp_open_block *block;
} opened;

static opened open_first(const char *path, bool copies)
{
    opened o = {0};
    CHECK_OK(fp_source_open(&o.source, path, NULL, &err), err);
    CHECK_OK(fp_read_context_init(&o.context, &err), err);
    o.context.copies = copies;
    CHECK_OK(o.source->type->open_block(o.source, 0, &o.context, &o.block, &err), err);
    return o;
}

static void close_opened(opened *o)
{
    o->source->type->close_block(o->block);
    fp_read_context_free(&o->context);
    fp_source_release(o->source);
}

static const void *read_pages(opened *o, uint32_t column, uint32_t first, uint32_t n, void *scratch)
{
    const void *out = NULL;
    CHECK_OK(o->source->type->read(o->block, &o->context, column, first, n, scratch, &out, &err),
             err);
    return out;
}

static void columns_are_lent_out_of_the_map_and_outlive_their_block(void)
{
    const char *path = path_of("lent.arrow");
    rows r = {0};
    for (size_t i = 0; i < 3000; i++)
        *rows_add(&r) = row_of(i, 3000, FACPOOL_STATUS_OK);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, 3000);
    opened o = open_first(path, false);
    double scratch[3000];
    const double *prices = read_pages(&o, FP_COLUMN_FACTOR, 0, 3, scratch);
    CHECK(prices != scratch && (uintptr_t)prices % 64 == 0);
    CHECK(read_pages(&o, FP_COLUMN_FACTOR, 1, 1, scratch) == prices + 1024);
    CHECK(read_pages(&o, FP_COLUMN_FACTOR, 0, 3, scratch) == prices);
    const int64_t *dates = read_pages(&o, FP_COLUMN_DATE, 0, 3, scratch);
    CHECK(dates != (void *)scratch && (uintptr_t)dates % 64 == 0);
    fp_code_column codes;
    CHECK_OK(o.source->type->read_codes(o.block, &o.context, 1, 2, &codes, &err), err);
    o.source->type->close_block(o.block);
    o.block = NULL;
    for (size_t i = 0; i < r.n; i++) {
        CHECK(memcmp(&prices[i], &r.at[i].factors[0], 8) == 0);
        CHECK_INT(dates[i], r.at[i].date);
    }
    for (size_t i = 0; i < r.n - 1024; i++) {
        int32_t from = codes.offsets[i], end = codes.offsets[i + 1];
        CHECK_INT(end - from, 6);
        CHECK(memcmp(codes.bytes + from, r.at[i + 1024].code, 6) == 0);
    }
    close_opened(&o);
    rows_free(&r);
}

static void a_context_that_copies_gets_copies_of_the_same(void)
{
    const char *path = path_of("copied.arrow");
    rows r = make_rows(0, 3 * BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    rows_sort(&r);
    opened o = open_first(path, true);
    double scratch[BLOCK_ROWS];
    CHECK(read_pages(&o, FP_COLUMN_FACTOR, 0, 1, scratch) == scratch);
    CHECK(memcmp(scratch, &r.at[0].factors[0], 8) == 0);
    const fp_log_source *log = (const fp_log_source *)o.source;
    rows found = {0};
    CHECK_OK(read_rows(o.source, &o.context, &found, &err), err);
    CHECK(rows_are_same(&found, &r));
    CHECK(!atomic_load(&log->view)); /* no map was made */
    rows_free(&found);
    close_opened(&o);
    rows_free(&r);
}

static void few_wanted_rows_cost_few_bytes(void)
{
    for (int copies = 0; copies < 2; copies++) {
        const char *path = path_of("wanted.arrow");
        rows r = {0};
        for (size_t i = 0; i < 2048; i++)
            *rows_add(&r) = row_of(i, 2048, FACPOOL_STATUS_OK);
        write_blocks(path, FACPOOL_MODE_OVERWRITE, &r, 2048);
        opened o = open_first(path, copies);
        double scratch[1024];
        o.context.bytes_read = 0;
        o.context.wanted_first = 700;
        o.context.wanted_end = 702;
        const double *prices = read_pages(&o, FP_COLUMN_FACTOR, 1, 1, scratch);
        CHECK(memcmp(&prices[700], &r.at[1024 + 700].factors[0], 8) == 0);
        CHECK_INT(o.context.bytes_read, 256 * 8);
        o.context.wanted_first = o.context.wanted_end = 0;
        read_pages(&o, FP_COLUMN_FACTOR, 1, 1, scratch);
        CHECK_INT(o.context.bytes_read, 256 * 8 + 1024 * 8);
        close_opened(&o);
        rows_free(&r);
    }
}

static fp_source *shared_source;

static void *read_shared(void *expected)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    fp_read_context context = {0};
    rows found = {0};
    int rc = fp_read_context_init(&context, &error);
    if (!rc)
        rc = read_rows(shared_source, &context, &found, &error);
    bool same = !rc && rows_are_same(&found, expected);
    rows_free(&found);
    fp_read_context_free(&context);
    return same ? expected : NULL;
}

static void threads_share_one_snapshot(void)
{
    const char *path = path_of("threads.arrow");
    rows r = make_rows(0, 30 * BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    rows_sort(&r);
    CHECK_OK(fp_source_open(&shared_source, path, NULL, &err), err);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, read_shared, &r), 0);
    bool all_same = true;
    for (size_t i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        all_same = all_same && result;
    }
    fp_source_release(shared_source);
    CHECK(all_same);
    rows_free(&r);
}

/* ------------------------------------------------------------------ damage */

typedef struct outcome {
    int open_rc;
    size_t n_rows;
    bool rows_are_right;
    bool is_reported;
} outcome;

static outcome look_at(const char *path, const rows *expected, fp_read_context *context)
{
    outcome o = {0};
    fp_source *source;
    o.open_rc = fp_source_open(&source, path, NULL, &err);
    if (o.open_rc) {
        o.rows_are_right = o.is_reported = true;
        return o;
    }
    rows found = {0};
    int rc = read_rows(source, context, &found, &err);
    o.n_rows = found.n;
    o.rows_are_right = !rc && rows_are_among(&found, expected);
    o.is_reported = found.corrupt_blocks || source->n_damaged || source->tail_bytes;
    rows_free(&found);
    fp_source_release(source);
    return o;
}

/* Flips every bit of the first n bytes of a file, one at a time, and reads and verifies it. */
static void flip_every_bit(const char *path, size_t n, const rows *expected, bool copies)
{
    bytes file = load_file(path);
    save_file(path, file.at, n);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    context.copies = copies;
    FILE *stream = fopen(path, "r+b");
    setvbuf(stream, NULL, _IONBF, 0);
    for (size_t bit = 0; bit < n * 8; bit++) {
        int was = file.at[bit / 8];
        fseek(stream, (long)(bit / 8), SEEK_SET);
        fputc(was ^ 1 << bit % 8, stream);
        outcome o = look_at(path, expected, &context);
        CHECK(o.rows_are_right);
        CHECK(o.n_rows == expected->n || o.is_reported);
        CHECK(!o.open_rc || o.open_rc == FACPOOL_E_CORRUPT || o.open_rc == FACPOOL_E_UNSUPPORTED);
        facpool_verify_report report = {0};
        int rc = fp_store_verify(path, &report, &err);
        CHECK(rc || report.tail_bytes > 0);
        fseek(stream, (long)(bit / 8), SEEK_SET);
        fputc(was, stream);
    }
    fclose(stream);
    fp_read_context_free(&context);
    free(file.at);
}

static void every_flipped_bit_of_a_closed_file_is_found(void)
{
    const char *path = path_of("flip.arrow");
    rows r = make_rows(0, 2 * BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    rows_sort(&r);
    bytes file = load_file(path);
    flip_every_bit(path, file.n, &r, false);
    free(file.at);
    rows_free(&r);
}

static void every_flipped_bit_of_an_open_file_is_found(void)
{
    const char *path = path_of("flip-open.arrow");
    rows r = make_rows(0, 2 * BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    rows_sort(&r);
    bytes file = load_file(path);
    messages stream = walk_stream(&file);
    flip_every_bit(path, stream.at[stream.n - 1].offset, &r, true);
    free(file.at);
    rows_free(&r);
}

static void a_file_cut_at_any_byte_gives_its_whole_blocks_and_is_resumed(void)
{
    const char *path = path_of("cut.arrow");
    rows all = make_rows(0, 3 * BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &all, BLOCK_ROWS);
    bytes file = load_file(path);
    messages stream = walk_stream(&file);
    for (size_t n = 0; n < file.n; n++) {
        size_t whole = 0;
        while (whole < 3 && stream.at[whole + 1].offset <= n)
            whole++;
        save_file(path, file.at, n);
        rows found = {0};
        int rc = read_file(path, &found, NULL, NULL, &err);
        CHECK_INT(found.n, whole * BLOCK_ROWS);
        rows_free(&found);
        if (n < stream.at[0].offset) {
            CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
            continue;
        }
        CHECK_INT(rc, 0);
        rows rest = make_rows(whole * BLOCK_ROWS, (3 - whole) * BLOCK_ROWS);
        write_blocks(path, FACPOOL_MODE_RESUME, &rest, BLOCK_ROWS);
        rows_free(&rest);
        rows sorted = make_rows(0, 3 * BLOCK_ROWS);
        rows_sort(&sorted);
        check_rows(path, &sorted);
        check_as_arrow(path, &sorted, 1);
        rows_free(&sorted);
    }
    free(file.at);
    rows_free(&all);
}

/* A damaged footer is of no matter to us, but others could not open the file: repair mends it. */
static void repair_gives_a_killed_file_its_footer(void)
{
    const char *path = path_of("repair.arrow");
    rows r = make_rows(0, 3 * BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    rows_sort(&r);
    for (int how = 0; how < 2; how++) {
        bytes file = load_file(path);
        messages stream = walk_stream(&file);
        if (how == 1)
            file.at[file.n - 100] ^= 1;
        save_file(path, file.at, how ? file.n : stream.at[3].offset);
        facpool_verify_report report = {0};
        CHECK_OK(fp_store_repair(path, &report, &err), err);
        CHECK_OK(fp_store_verify(path, &report, &err), err);
        CHECK(report.closed);
        check_rows(path, &r);
        check_as_arrow(path, &r, 1);
        free(file.at);
    }
    rows_free(&r);
}

/* Its rows could be read, but not by others. */
static void a_damaged_arrow_message_is_reported_when_its_block_is_read(void)
{
    const char *path = path_of("message.arrow");
    rows r = make_rows(0, BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    bytes file = load_file(path);
    messages stream = walk_stream(&file);
    file.at[stream.at[0].offset + stream.at[0].metadata_bytes - 1] ^= 1;
    save_file(path, file.at, file.n);
    rows found = {0};
    CHECK_OK(read_file(path, &found, NULL, NULL, &err), err);
    CHECK_INT(found.corrupt_blocks, 1);
    rows_free(&found);
    rows_free(&r);
    free(file.at);
}

static void a_damaged_block_is_given_up_and_no_longer_listed(void)
{
    const char *path = path_of("given-up.arrow");
    rows r = make_rows(0, 3 * BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    bytes file = load_file(path);
    messages stream = walk_stream(&file);
    file.at[stream.at[1].offset - 100] ^= 1; /* in the first block's last column */
    save_file(path, file.at, file.n);
    free(file.at);
    rows again = make_rows(0, BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_RESUME, &again, BLOCK_ROWS);
    rows_free(&again);
    rows_sort(&r);
    check_rows(path, &r);
    file = load_file(path);
    messages listed = read_footer(&file);
    rows seen = seen_by_others(&r), by_footer = rows_of(&file, &listed);
    CHECK(rows_are_same(&seen, &by_footer));
    rows_free(&seen);
    rows_free(&by_footer);
    free(file.at);
    rows_free(&r);
}

/* ------------------------------------------------------------------ files that lie */

/* A block whose checksums are right, of which one thing is made wrong: what lies where. */
typedef struct liar {
    bytes file;
    uint8_t *block;
    uint8_t *header;
    uint8_t *directory;
    fp_arrow_layout layout;
    uint32_t n_pages;
} liar;

static liar begin_lie(const char *path, int status)
{
    rows r = {0};
    for (size_t i = 0; i < 300; i++)
        *rows_add(&r) = row_of(i, 10, status);
    write_blocks(path, FACPOOL_MODE_OVERWRITE, &r, 300);
    rows_free(&r);
    liar l = {.file = load_file(path), .n_pages = 1};
    uint32_t envelope_bytes = fp_arrow_envelope_bytes(ROW_FACTORS);
    l.block = l.file.at + 16 + fp_load_u32(l.file.at + 12);
    l.header = l.block + envelope_bytes;
    l.directory = l.header + fp_load_u32(l.header + FP_BLOCK_HEADER_BYTES);
    const uint8_t *more =
        l.directory + fp_load_u32(l.header + FP_BLOCK_DIRECTORY_BYTES) - FP_MORE_BYTES;
    uint64_t first = (uint64_t)(l.directory - l.block) +
                     fp_load_u32(l.header + FP_BLOCK_DIRECTORY_BYTES) +
                     fp_load_u32(l.header + FP_BLOCK_DICTIONARY_BYTES);
    l.layout = fp_arrow_layout_of(status == FACPOOL_STATUS_OK, 300, ROW_FACTORS, fp_load_u64(more),
                                  fp_load_u64(more + 8), first);
    return l;
}

static uint8_t *section_at(const liar *l, uint32_t section)
{
    return l->block + fp_arrow_section_at(&l->layout, section);
}

/* Makes all checksums right again, and tries to read the block. */
static int tell_lie(const char *path, liar *l, bool copies)
{
    uint8_t *sums = l->directory + l->n_pages * FP_PAGE_ENTRY_BYTES;
    uint32_t directory_bytes = fp_load_u32(l->header + FP_BLOCK_DIRECTORY_BYTES);
    for (uint32_t s = 0; s < l->layout.n_sections; s++)
        for (uint32_t c = 0; c < l->layout.n_chunks; c++) {
            const uint32_t *offsets =
                s ? (const uint32_t *)(const void *)section_at(l, s - 1) : NULL;
            fp_arrow_stretch stretch = fp_arrow_chunk_of(&l->layout, s, c, offsets);
            if (stretch.at + stretch.bytes > fp_arrow_section_bytes(&l->layout, s))
                continue; /* of texts that can't be */
            fp_store_u64(sums + fp_arrow_sum_at(&l->layout, s, c),
                         fp_checksum(section_at(l, s) + stretch.at, (size_t)stretch.bytes));
        }
    fp_store_u64(l->directory + directory_bytes - FP_MORE_BYTES + FP_MORE_ENVELOPE_CHECKSUM,
                 fp_checksum(l->block, l->layout.envelope_bytes));
    fp_store_u64(l->header + FP_BLOCK_DIRECTORY_CHECKSUM,
                 fp_checksum(l->directory, directory_bytes));
    fp_seal seal = {.offset = (uint64_t)(l->block - l->file.at),
                    .sequence = fp_load_u64(l->header + FP_BLOCK_SEQUENCE),
                    .durable_end = fp_load_u64(l->header + FP_BLOCK_DURABLE_END)};
    fp_front_seal(l->header, &seal);
    save_file(path, l->file.at, l->file.n);
    free(l->file.at);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    context.copies = copies;
    rows found = {0};
    int rc = read_block(source, 0, &context, &found, &err);
    fp_open_block *open;
    if (!rc && !copies && !source->type->open_block(source, 0, &context, &open, &err)) {
        fp_code_column codes;
        rc = source->type->read_codes(open, &context, 0, 1, &codes, &err);
        source->type->close_block(open);
    }
    rows_free(&found);
    fp_read_context_free(&context);
    fp_source_release(source);
    return rc;
}

static void blocks_that_lie_are_found_out(void)
{
    const char *path = path_of("liar.arrow");
    for (int copies = 0; copies < 2; copies++) {
        liar l = begin_lie(path, FACPOOL_STATUS_OK);
        CHECK_OK(tell_lie(path, &l, copies), err); /* as it was */
        l = begin_lie(path, FACPOOL_STATUS_FAILED);
        CHECK_OK(tell_lie(path, &l, copies), err);
        l = begin_lie(path, FACPOOL_STATUS_OK); /* a code that the dictionary has not */
        fp_store_u32(section_at(&l, FP_SECTION_NUMBER) + 4 * 299, 10);
        CHECK_INT(tell_lie(path, &l, copies), FACPOOL_E_CORRUPT);
        l = begin_lie(path, FACPOOL_STATUS_FAILED); /* ok where no row is */
        section_at(&l, FP_SECTION_STATUS)[5] = FACPOOL_STATUS_OK;
        CHECK_INT(tell_lie(path, &l, copies), FACPOOL_E_CORRUPT);
        l = begin_lie(path, FACPOOL_STATUS_FAILED); /* messages that end outside the section */
        fp_store_u32(section_at(&l, FP_SECTION_MESSAGE_OFFSET) + 4 * 300, 1u << 30);
        CHECK_INT(tell_lie(path, &l, copies), FACPOOL_E_CORRUPT);
        l = begin_lie(path, FACPOOL_STATUS_FAILED); /* and ones that end before they begin */
        fp_store_u32(section_at(&l, FP_SECTION_MESSAGE_OFFSET) + 4 * 7, 4000);
        CHECK_INT(tell_lie(path, &l, copies), FACPOOL_E_CORRUPT);
        l = begin_lie(path, FACPOOL_STATUS_OK); /* more bytes of codes than there are */
        fp_store_u64(l.directory + fp_load_u32(l.header + FP_BLOCK_DIRECTORY_BYTES) - FP_MORE_BYTES,
                     300 * 200);
        CHECK_INT(tell_lie(path, &l, copies), FACPOOL_E_CORRUPT);
        l = begin_lie(path, FACPOOL_STATUS_OK); /* an Arrow message of other rows */
        l.block[FP_ARROW_PREFIX_BYTES + 56] ^= 1;
        CHECK_INT(tell_lie(path, &l, copies), FACPOOL_E_CORRUPT);
    }
    liar l = begin_lie(path, FACPOOL_STATUS_OK); /* codes that only who maps them looks at */
    fp_store_u32(section_at(&l, FP_SECTION_CODE_OFFSET) + 4 * 300, 1u << 30);
    CHECK_INT(tell_lie(path, &l, false), FACPOOL_E_CORRUPT);
    l = begin_lie(path, FACPOOL_STATUS_OK);
    fp_store_u32(section_at(&l, FP_SECTION_CODE_OFFSET) + 4 * 7, 30);
    CHECK_INT(tell_lie(path, &l, false), FACPOOL_E_CORRUPT);
}

/* Header bytes changed and cut at will: always an error, never a crash; ASan watches. */
static void a_schema_of_any_bytes_is_refused_or_understood(void)
{
    const char *path = path_of("schema-any.arrow");
    rows r = make_rows(0, BLOCK_ROWS);
    write_blocks(path, FACPOOL_MODE_CREATE, &r, BLOCK_ROWS);
    bytes file = load_file(path);
    size_t n = fp_load_u32(file.at + 12);
    uint8_t *copy = malloc(n);
    uint64_t state = 88172645463325252u;
    for (int round = 0; round < 200000; round++) {
        size_t size = n;
        memcpy(copy, file.at + 16, n);
        for (int change = 0; change < 1 + round % 3; change++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            copy[state % n] = (uint8_t)(state >> 32);
        }
        if (round % 5 == 0)
            size = state % n;
        uint8_t *exact = malloc(size ? size : 1); /* so that a byte too far is noticed */
        memcpy(exact, copy, size);
        fp_arrow_schema schema;
        int rc = fp_arrow_parse_schema(exact, size, &schema);
        CHECK(rc == 0 || rc == FACPOOL_E_CORRUPT);
        if (!rc) {
            unsigned sum = 0;
            for (size_t i = 0; i < schema.n_fields; i++)
                for (size_t k = 0; k < schema.fields[i].name.length; k++)
                    sum += (unsigned char)schema.fields[i].name.bytes[k];
            for (size_t i = 0; i < schema.n_pairs; i++)
                for (size_t k = 0; k < schema.pairs[i].value.length; k++)
                    sum += (unsigned char)schema.pairs[i].value.bytes[k];
            CHECK(sum != 1);
            fp_arrow_schema_free(&schema);
        }
        free(exact);
    }
    free(copy);
    free(file.at);
    rows_free(&r);
}

/* ------------------------------------------------------------------ files of others */

/* A schema message behind the file's start, with these keys. */
static void save_header(const char *path, const char *version)
{
    fp_arrow_field field = {.name = {"date", 4}, .type = FP_ARROW_INT64};
    fp_arrow_pair pairs[2] = {{{"facpool.version", 15}, {version, version ? strlen(version) : 0}},
                              {{"facpool.checksum", 16}, {"0000000000000000", 16}}};
    fp_arrow_schema schema = {
        .n_fields = 1, .fields = &field, .n_pairs = version ? 2 : 0, .pairs = pairs};
    fp_buffer out = {0};
    CHECK_INT(fp_buffer_put(&out, "ARROW1\0", 8), 0);
    CHECK_INT(fp_arrow_put_schema(&schema, &out), 0);
    char digits[17];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)fp_checksum(out.data, out.size));
    for (size_t i = 0; version && i + 16 <= out.size; i++)
        if (memcmp(out.data + i, "0000000000000000", 16) == 0)
            memcpy(out.data + i, digits, 16);
    save_file(path, out.data, out.size);
    fp_buffer_free(&out);
}

static void other_arrow_files_are_told_apart(void)
{
    const char *path = path_of("other.arrow");
    fp_source *source;
    save_header(path, NULL);
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "is an Arrow file that facpool did not write") &&
          strstr(err.message, "pyarrow.ipc.open_file"));
    save_file(path, (const uint8_t *)"ARROW1\0\0", 8); /* another writer's, just begun */
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_UNSUPPORTED);
    save_header(path, "2");
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "version 2") && strstr(err.message, "newer library"));
    save_header(path, "1"); /* ours, but with columns that can't be */
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_CORRUPT);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    save_header(path, NULL);
    rows r = make_rows(0, BLOCK_ROWS);
    CHECK_INT(write_rows(&options, &r, BLOCK_ROWS, &err), FACPOOL_E_UNSUPPORTED);
    rows_free(&r);
}

int main(void)
{
    make_folder();
    RUN(a_closed_file_is_an_arrow_file_and_an_arrow_stream);
    RUN(a_resumed_file_keeps_its_bytes_and_is_one_again);
    RUN(a_file_without_rows_is_an_arrow_file);
    RUN(rows_of_all_sizes_come_back);
    RUN(schema_and_tag_come_back);
    RUN(columns_are_lent_out_of_the_map_and_outlive_their_block);
    RUN(a_context_that_copies_gets_copies_of_the_same);
    RUN(few_wanted_rows_cost_few_bytes);
    RUN(threads_share_one_snapshot);
    RUN(every_flipped_bit_of_a_closed_file_is_found);
    RUN(every_flipped_bit_of_an_open_file_is_found);
    RUN(a_file_cut_at_any_byte_gives_its_whole_blocks_and_is_resumed);
    RUN(repair_gives_a_killed_file_its_footer);
    RUN(a_damaged_arrow_message_is_reported_when_its_block_is_read);
    RUN(a_damaged_block_is_given_up_and_no_longer_listed);
    RUN(blocks_that_lie_are_found_out);
    RUN(a_schema_of_any_bytes_is_refused_or_understood);
    RUN(other_arrow_files_are_told_apart);
    remove_folder();
    return TEST_END();
}
