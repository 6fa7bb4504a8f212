/* The memory_map format from within: its files are Arrow files and Arrow streams, closed or
 * resumed; rows come back bit for bit as pointers into the map, or copied; other Arrow files are
 * told apart. What damaged files give is test_arrow_file_damage.c. */
#include <pthread.h>

#include "arrow_rows.h"
#include "base/buffer.h"
#include "codec/checksum.h"

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
    RUN(other_arrow_files_are_told_apart);
    remove_folder();
    return TEST_END();
}
