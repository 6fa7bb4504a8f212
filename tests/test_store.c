/* The store: what goes in by a sink comes out by a source, bit for bit, under every mode, and what
 * must be refused is refused. Syncs and write errors are in test_store_sync.c, damage in
 * test_store_damage.c, threads in test_store_threads.c. */
#include "base/buffer.h"
#include "codec/checksum.h"
#include "store/binary.h"
#include "store_rows.h"
#include "tiers.h"

static facpool_error err = FACPOOL_ERROR_INIT;

static void add_rows(rows *r, size_t from, size_t n, int status)
{
    for (size_t i = from; i < from + n; i++)
        *rows_add(r) = row_of(i, 50, status);
}

static void every_row_comes_back_bit_for_bit(void)
{
    const char *path = path_of("round.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    rows expected = {0};
    add_rows(&expected, 0, 3000, FACPOOL_STATUS_OK);
    add_rows(&expected, 3000, 1500, FACPOOL_STATUS_FAILED);
    add_rows(&expected, 4500, 1, FACPOOL_STATUS_OK);
    for (int status = FACPOOL_STATUS_SKIPPED; status <= FACPOOL_STATUS_CRASHED; status++)
        add_rows(&expected, 4500 + (size_t)status, 1, status);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &expected, 0, 3000, &err), err);
    CHECK_OK(append_rows(sink, &expected, 3000, 1500, &err), err);
    CHECK_OK(append_rows(sink, &expected, 4500, 1, &err), err);
    CHECK_OK(append_rows(sink, &expected, 4501, 4, &err), err);
    CHECK_INT(sink->rows_written, expected.n);
    CHECK_OK(fp_sink_close(sink, &err), err);
    check_file(path, &expected, &err);
    rows_free(&expected);
}

static void compression_levels_change_no_value(void)
{
    static const int levels[] = {-1, 0, 1, 9, 19};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        const char *path = path_of("level.fpb");
        facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
        options.compression_level = levels[i];
        rows expected = rows_of_status(2500, FACPOOL_STATUS_OK);
        CHECK_OK(write_rows(&options, &expected, 2500, &err), err);
        check_file(path, &expected, &err);
        rows_free(&expected);
    }
}

static void a_block_of_one_row_is_small(void)
{
    const char *path = path_of("small.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    rows expected = rows_of_status(10, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &expected, 1, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_blocks, 10);
    for (size_t i = 0; i < 10; i++)
        CHECK(source->blocks[i].bytes <= 512);
    fp_source_release(source);
    check_file(path, &expected, &err);
    rows_free(&expected);
}

/* Codes that differ only behind their first 8 bytes, of the greatest length, and not ASCII. */
static void codes_of_all_kinds_come_back_in_byte_order(void)
{
    static const char *const kinds[] = {
        "a",      "abcdefgh", "abcdefghi", "abcdefgh0", "\xe8\x82\xa1",
        "000001", "1",        "~",         "Z",         "abcdefg"};
    enum { N_KINDS = sizeof kinds / sizeof *kinds };
    rows expected = {0};
    for (size_t i = 0; i < 400; i++) {
        row *r = rows_add(&expected);
        *r = row_of(i, 1, FACPOOL_STATUS_OK);
        r->date = 20240101 + (int64_t)(i / N_KINDS) * 3 % 40;
        snprintf(r->code, sizeof r->code, "%s", kinds[(i * 7) % N_KINDS]);
        if (i % N_KINDS == 3) {
            memset(r->code, 'x', FP_CODE_MAX_BYTES);
            r->code[FP_CODE_MAX_BYTES] = '\0';
        }
    }
    rows_sort(&expected);
    const char *path = path_of("codes.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    CHECK_OK(write_rows(&options, &expected, 400, &err), err);
    check_file(path, &expected, &err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_TEXT(source->blocks[0].code_min, "000001");
    CHECK_TEXT(source->blocks[0].code_max, "\xe8\x82\xa1");
    fp_source_release(source);
    rows_free(&expected);
}

/* The same rows with ranked and with unranked codes give the same bytes. */
static void codes_without_a_rank_give_the_same_dictionary(void)
{
    rows r = {0};
    add_rows(&r, 0, 777, FACPOOL_STATUS_OK);
    for (size_t i = 0; i < r.n; i++)
        snprintf(r.at[i].code, sizeof r.at[i].code, "sh.%zu", i * 7919 % 1009);
    rows_sort(&r);
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    fp_batch batch = {0};
    CHECK_OK(batch_of(&batch, &codes, &r, 0, r.n, &err), err);
    fp_schema schema;
    CHECK_OK(fp_schema_init(&schema, ROW_FACTORS, row_names, NULL, &err), err);
    fp_encoder *encoder = fp_format_binary.new_encoder(&schema, 1);
    fp_encoded_block block;
    CHECK_OK(fp_format_binary.encode(encoder, &batch, 0, r.n, &block, &err), err);
    size_t n = block.size;
    uint8_t *ranked = malloc(n);
    memcpy(ranked, block.bytes, n);
    uint32_t *rank = codes.rank;
    codes.rank = NULL;
    CHECK_OK(fp_format_binary.encode(encoder, &batch, 0, r.n, &block, &err), err);
    codes.rank = rank;
    CHECK_INT(block.size, n);
    CHECK(memcmp(block.bytes, ranked, n) == 0);
    free(ranked);

    /* An encoder remembers nothing of the codes of earlier blocks. */
    fp_encoder *fresh = fp_format_binary.new_encoder(&schema, 1);
    fp_encoded_block other;
    CHECK_OK(fp_format_binary.encode(encoder, &batch, 100, 200, &block, &err), err);
    CHECK_OK(fp_format_binary.encode(fresh, &batch, 100, 200, &other, &err), err);
    CHECK_INT(block.size, other.size);
    CHECK(memcmp(block.bytes, other.bytes, block.size) == 0);
    fp_format_binary.free_encoder(fresh);
    fp_format_binary.free_encoder(encoder);
    fp_schema_free(&schema);
    fp_batch_free(&batch);
    fp_codes_free(&codes);
    rows_free(&r);
}

static void wide_rows_go_into_smaller_blocks(void)
{
    CHECK_INT(fp_front_most_rows(3), FP_BLOCK_ROWS);
    CHECK_INT(fp_front_most_rows(65535), FP_PAGE_ROWS);
    for (size_t n = 1; n <= 65535; n += 97) {
        size_t rows_at_once = fp_front_most_rows(n);
        CHECK(rows_at_once >= FP_PAGE_ROWS && rows_at_once % FP_PAGE_ROWS == 0);
        CHECK(rows_at_once * (n + 3) * sizeof(double) < FP_MOST_BLOCK_BYTES);
    }
}

/* As many failures, each with the longest message, as are appended at once. */
static void long_messages_go_into_smaller_blocks(void)
{
    enum { MESSAGE = FP_MESSAGE_MAX_BYTES };
    static const char *const paths[] = {"messages.fpb", "messages.arrow"};
    size_t n = of_tier(5000, 5000, FP_BLOCK_ROWS);
    char *message = malloc(MESSAGE + 1);
    const char **messages = calloc(n, sizeof *messages), **codes = calloc(n, sizeof *codes);
    int64_t *dates = calloc(n, sizeof *dates);
    uint8_t *statuses = malloc(n);
    memset(message, 'x', MESSAGE);
    message[MESSAGE] = '\0';
    memset(statuses, FACPOOL_STATUS_FAILED, n);
    for (size_t i = 0; i < n; i++) {
        dates[i] = (int64_t)i;
        codes[i] = "a";
        messages[i] = message;
    }
    facpool_rows appended = FACPOOL_ROWS_INIT;
    appended.n = n;
    appended.dates = dates;
    appended.codes = codes;
    appended.statuses = statuses;
    appended.messages = messages;
    for (size_t p = 0; p < 2; p++) {
        const char *path = path_of(paths[p]);
        facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
        facpool_writer *writer = NULL;
        fp_source *source = NULL;
        CHECK_OK(facpool_writer_open(&writer, &options, NULL, 1, &err), err);
        CHECK_OK(facpool_writer_append(writer, &appended, &err), err);
        CHECK_OK(facpool_writer_close(writer, &err), err);
        CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
        size_t n_rows = 0;
        for (size_t i = 0; i < source->n_blocks; i++) {
            n_rows += source->blocks[i].n_rows;
            CHECK((size_t)source->blocks[i].n_rows * MESSAGE <= (size_t)64 << 20);
        }
        CHECK_INT(n_rows, n);
        fp_source_release(source);
        unlink(path);
    }
    free(message);
    free(messages);
    free(codes);
    free(dates);
    free(statuses);
}

static size_t ten_rows(size_t n_factors)
{
    (void)n_factors;
    return 10;
}

/* A batch with so many factors that it takes several blocks: here a format that takes ten rows
 * each, and a batch of 35. */
static void a_batch_may_take_several_blocks(void)
{
    fp_format format = fp_format_binary;
    format.most_rows = ten_rows;
    fp_log_settings settings = {.format = &format, .path = path_of("several.fpb")};
    fp_schema schema;
    fp_log *log;
    fp_codes codes = {0};
    fp_batch batch;
    rows expected = rows_of_status(35, FACPOOL_STATUS_OK);
    CHECK_OK(fp_schema_init(&schema, ROW_FACTORS, row_names, NULL, &err), err);
    CHECK_OK(fp_log_create(&log, &settings, &schema, NULL, &err), err);
    fp_codes_init(&codes, NULL);
    CHECK_OK(batch_of(&batch, &codes, &expected, 0, 35, &err), err);
    CHECK_OK(fp_log_append(log, &batch, &err), err);
    CHECK_INT(log->contents.index.n, 4);
    CHECK_OK(fp_log_close(log, &err), err);
    check_file(settings.path, &expected, &err);
    fp_batch_free(&batch);
    fp_codes_free(&codes);
    fp_schema_free(&schema);
    rows_free(&expected);
}

/* ------------------------------------------------------------------ modes */

static void create_leaves_an_existing_file_alone(void)
{
    const char *path = path_of("exists.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows expected = rows_of_status(100, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &expected, 100, &err), err);
    fp_sink *sink;
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_EXISTS);
    CHECK(strstr(err.message, path) != NULL);
    check_file(path, &expected, &err);
    rows_free(&expected);
}

static void an_empty_file_counts_as_absent(void)
{
    for (int mode = FACPOOL_MODE_CREATE; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
        const char *path = path_of("empty.fpb");
        save_file(path, (const uint8_t *)"", 0);
        rows expected = rows_of_status(100, FACPOOL_STATUS_OK);
        facpool_backup_options options = options_for(path, mode);
        CHECK_OK(write_rows(&options, &expected, 100, &err), err);
        check_file(path, &expected, &err);
        rows_free(&expected);
    }
    const char *path = path_of("empty.fpb");
    save_file(path, (const uint8_t *)"", 0);
    fp_source *source;
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_UNSUPPORTED);
}

static void resume_creates_then_continues(void)
{
    const char *path = path_of("resume.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    rows expected = {0};
    for (size_t part = 0; part < 4; part++) {
        add_rows(&expected, expected.n, 130, FACPOOL_STATUS_OK);
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink(&sink, &options, &opening, &err), err);
        CHECK_INT(opening.existed, part > 0);
        CHECK_INT(opening.tail_bytes_cut, 0);
        CHECK_OK(append_rows(sink, &expected, part * 130, 130, &err), err);
        CHECK_INT(sink->rows_written, 130);
        CHECK_OK(fp_sink_close(sink, &err), err);
    }
    check_file(path, &expected, &err);
    const facpool_info *info;
    CHECK_OK(fp_store_info(&info, path, &err), err);
    CHECK_INT(info->blocks, 4);
    CHECK_INT(info->closed, 1);
    free((void *)(uintptr_t)info);
    rows_free(&expected);
}

static void resuming_without_appending_writes_nothing(void)
{
    const char *path = path_of("idle.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    rows expected = rows_of_status(100, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &expected, 100, &err), err);
    bytes before = load_file(path);
    rows none = {0};
    CHECK_OK(write_rows(&options, &none, 1, &err), err);
    bytes after = load_file(path);
    CHECK_INT(after.n, before.n);
    CHECK(memcmp(after.at, before.at, before.n) == 0);
    free(before.at);
    free(after.at);
    rows_free(&expected);
}

static void resume_refuses_other_factors_tag_or_format(void)
{
    const char *path = path_of("other.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    options.tag = "v1";
    rows expected = rows_of_status(100, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &expected, 100, &err), err);
    fp_sink *sink;
    options.tag = "v2";
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "v1") && strstr(err.message, "v2"));
    options.tag = NULL;
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    options.tag = "v1";
    static const char *const other_names[] = {"price", "z", "volume"};
    fp_schema other;
    CHECK_OK(fp_schema_init(&other, 3, other_names, "v1", &err), err);
    CHECK_INT(fp_sink_open(&sink, &options, &other, NULL, &err), FACPOOL_E_MISMATCH);
    fp_schema_free(&other);
    options.format = "json";
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "json") && strstr(err.message, "binary"));
    options.format = "binary";
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_TEXT(sink->schema.tag, "v1");
    CHECK_OK(fp_sink_close(sink, &err), err);
    check_file(path, &expected, &err);
    rows_free(&expected);
}

/* It is the file behind a link that is continued and replaced, never the link. */
static void a_symbolic_link_leads_to_the_backup(void)
{
    const char *path = path_of("behind.fpb"), *link = path_of("link.fpb");
    CHECK(symlink("behind.fpb", link) == 0);
    facpool_backup_options options = options_for(link, FACPOOL_MODE_RESUME);
    rows first = rows_of_status(100, FACPOOL_STATUS_OK);
    CHECK_INT(write_rows(&options, &first, 100, &err), FACPOOL_E_NOT_FOUND);
    CHECK(strstr(err.message, "behind.fpb")); /* says where the link leads */
    facpool_backup_options direct = options_for(path, FACPOOL_MODE_CREATE);
    CHECK_OK(write_rows(&direct, &first, 100, &err), err);
    options.mode = FACPOOL_MODE_CREATE;
    CHECK_INT(write_rows(&options, &first, 100, &err), FACPOOL_E_EXISTS);
    options.mode = FACPOOL_MODE_OVERWRITE;
    rows second = {0};
    add_rows(&second, 5000, 200, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &second, 100, &err), err);
    check_file(path, &second, &err);
    char target[64];
    CHECK_INT(readlink(link, target, sizeof target), strlen("behind.fpb"));
    rows_free(&first);
    rows_free(&second);
}

static void overwrite_replaces_whole_files_and_backups_only(void)
{
    const char *path = path_of("over.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
    rows first = rows_of_status(100, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &first, 100, &err), err);
    fp_source *old;
    CHECK_OK(fp_source_open(&old, path, NULL, &err), err);
    rows second = {0};
    add_rows(&second, 5000, 200, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &second, 100, &err), err);
    check_file(path, &second, &err);

    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    rows found = {0};
    CHECK_OK(read_rows(old, &context, &found, &err), err);
    rows_sort(&first);
    CHECK(rows_are_same(&found, &first)); /* a snapshot of what was there */
    rows_free(&found);
    fp_read_context_free(&context);

    fp_source *again; /* the older snapshot is of another file now */
    CHECK_OK(fp_source_open(&again, path, old, &err), err);
    CHECK_INT(again->n_blocks, 2);
    fp_source_release(again);
    fp_source_release(old);

    static const char notes[] = "my notes, not a backup";
    save_file(path, (const uint8_t *)notes, sizeof notes);
    fp_sink *sink;
    for (int mode = FACPOOL_MODE_RESUME; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
        options.mode = mode;
        CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_UNSUPPORTED);
        CHECK(strstr(err.message, "my notes") != NULL);
    }
    bytes left = load_file(path);
    CHECK_INT(left.n, sizeof notes);
    free(left.at);
    rows_free(&first);
    rows_free(&second);
}

static void a_second_writer_is_told_so(void)
{
    const char *path = path_of("busy.fpb");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    rows expected = rows_of_status(100, FACPOOL_STATUS_OK);
    fp_sink *sink, *second;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    for (int mode = FACPOOL_MODE_RESUME; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
        facpool_backup_options other = options_for(path, mode);
        CHECK_INT(open_sink(&second, &other, NULL, &err), FACPOOL_E_BUSY);
    }
    facpool_verify_report report;
    CHECK_INT(fp_store_repair(path, &report, &err), FACPOOL_E_BUSY);
    CHECK_OK(append_rows(sink, &expected, 0, 100, &err), err);
    fp_source *source; /* outlives the sink, and keeps no lock */
    CHECK_OK(fp_sink_source(sink, &source, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    options.mode = FACPOOL_MODE_RESUME;
    CHECK_OK(open_sink(&second, &options, NULL, &err), err);
    CHECK_OK(fp_sink_close(second, &err), err);
    fp_source_release(source);
    check_file(path, &expected, &err);
    rows_free(&expected);
}

/* The name decides, else the suffix, else it is binary. */
static void formats_are_chosen_by_name_and_suffix(void)
{
    static const struct {
        const char *file, *name, *chosen;
    } cases[] = {{"a.jsonl", NULL, "json"},       {"a.arrow", NULL, "memory_map"},
                 {"a.fpb", NULL, "binary"},       {"a", NULL, "binary"},
                 {"b.jsonl", "binary", "binary"}, {"b.fpb", "memory_map", "memory_map"},
                 {"b.arrow", "json", "json"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        facpool_backup_options options = options_for(path_of(cases[i].file), 0);
        options.format = cases[i].name;
        rows r = rows_of_status(10, FACPOOL_STATUS_OK);
        CHECK_OK(write_rows(&options, &r, 10, &err), err);
        const facpool_info *info;
        CHECK_OK(fp_store_info(&info, options.path, &err), err);
        CHECK_TEXT(info->format, cases[i].chosen);
        facpool_info_free(info);
        rows_free(&r);
    }
}

static void formats_that_are_not_there_are_named(void)
{
    fp_sink *sink;
    facpool_backup_options options = options_for(path_of("x.fpb"), 0);
    options.format = "parquet";
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "parquet") && strstr(err.message, "memory_map"));
    options = options_for(path_of("no-folder/x.fpb"), 0);
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_NOT_FOUND);
    options = options_for(path_of("x.dat"), 0);
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    fp_source *source;
    CHECK_INT(fp_source_open(&source, path_of("nothing.fpb"), NULL, &err), FACPOOL_E_NOT_FOUND);
    CHECK_INT(fp_source_open(&source, test_folder, NULL, &err), FACPOOL_E_UNSUPPORTED);
}

static void header_with(const char *path, size_t at, uint32_t value)
{
    bytes file = load_file(path);
    fp_store_u32(file.at + at, value);
    size_t size = fp_load_u32(file.at + FP_FILE_HEADER_BYTES);
    fp_store_u64(file.at + FP_FILE_CHECKSUM,
                 fp_checksum(file.at + FP_FILE_VERSION, size - FP_FILE_VERSION));
    save_file(path, file.at, file.n);
    free(file.at);
}

static void newer_versions_are_refused_by_name(void)
{
    const char *path = path_of("newer.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows expected = rows_of_status(10, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &expected, 10, &err), err);
    fp_source *source;
    fp_sink *sink;
    options.mode = FACPOOL_MODE_RESUME;
    header_with(path, FP_FILE_VERSION, 2);
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "version 2") && strstr(err.message, "version 1"));
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_UNSUPPORTED);
    header_with(path, FP_FILE_VERSION, 1);
    header_with(path, FP_FILE_INCOMPATIBLE, 4);
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_UNSUPPORTED);
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_UNSUPPORTED);
    header_with(path, FP_FILE_INCOMPATIBLE, 0);
    check_file(path, &expected, &err);
    rows_free(&expected);
}

/* ------------------------------------------------------------------ snapshots */

static void a_snapshot_grows_only_by_being_taken_again(void)
{
    const char *path = path_of("live.fpb");
    facpool_backup_options options = options_for(path, 0);
    rows expected = rows_of_status(300, FACPOOL_STATUS_OK);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    fp_source *old;
    CHECK_OK(fp_source_open(&old, path, NULL, &err), err);
    CHECK_INT(old->n_blocks, 0);
    for (size_t part = 0; part < 3; part++) {
        CHECK_OK(append_rows(sink, &expected, part * 100, 100, &err), err);
        CHECK_INT(old->n_blocks, part);
        fp_source *newer, *own, *same;
        CHECK_OK(fp_source_open(&newer, path, old, &err), err);
        CHECK_INT(newer->n_blocks, part + 1);
        CHECK_OK(fp_sink_source(sink, &own, &err), err);
        CHECK_INT(own->n_blocks, part + 1);
        CHECK_INT(own->n_pages, newer->n_pages);
        CHECK_OK(fp_source_open(&same, path, newer, &err), err);
        CHECK(same == newer); /* nothing new: the same snapshot */
        fp_source_release(same);
        fp_source_release(own);
        fp_source_release(old);
        old = newer;
    }
    CHECK_OK(fp_sink_close(sink, &err), err);
    fp_source *closed;
    CHECK_OK(fp_source_open(&closed, path, old, &err), err);
    CHECK_INT(closed->n_blocks, 3);
    CHECK_INT(closed->tail_bytes, 0);
    fp_source_release(closed);
    fp_source_release(old);
    check_file(path, &expected, &err);
    rows_free(&expected);
}

static void info_says_what_is_there(void)
{
    const char *path = path_of("info.fpb");
    facpool_backup_options options = options_for(path, 0);
    options.tag = "momentum, v3";
    rows expected = {0};
    add_rows(&expected, 0, 2100, FACPOOL_STATUS_OK);
    add_rows(&expected, 2100, 50, FACPOOL_STATUS_FAILED);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &expected, 0, 2100, &err), err);
    CHECK_OK(append_rows(sink, &expected, 2100, 50, &err), err);
    const facpool_info *info;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    CHECK_INT(info->closed, 0);
    facpool_info_free(info);
    CHECK_OK(fp_sink_close(sink, &err), err);
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    CHECK_TEXT(info->format, "binary");
    CHECK_INT(info->version, 1);
    CHECK_INT(info->closed, 1);
    CHECK_INT(info->n_factors, 3);
    CHECK_TEXT(info->factor_names[0], "price");
    CHECK_TEXT(info->factor_names[2], "rank");
    CHECK_TEXT(info->tag, "momentum, v3");
    CHECK_INT(info->rows[FACPOOL_STATUS_OK], 2100);
    CHECK_INT(info->rows[FACPOOL_STATUS_FAILED], 50);
    CHECK_INT(info->blocks, 2);
    CHECK_INT(info->pages, 4);
    CHECK_INT(info->date_min, 20240101);
    CHECK_INT(info->date_max, 20240101 + 2149 / 50);
    CHECK_INT(info->file_bytes, info->valid_bytes);
    CHECK(info->durable_bytes < info->file_bytes && info->durable_bytes > 0);
    CHECK_INT(info->damaged_blocks, 0);
    CHECK(info->created_us > 1600000000000000);
    facpool_info_free(info);
    facpool_info_free(NULL);
    rows_free(&expected);
}

static void no_temporary_file_is_left_behind(void)
{
    DIR *folder = opendir(test_folder);
    CHECK(folder != NULL);
    int temporary = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        temporary += strstr(entry->d_name, ".tmp") != NULL;
    closedir(folder);
    CHECK_INT(temporary, 0);
}

int main(void)
{
    make_folder();
    RUN(every_row_comes_back_bit_for_bit);
    RUN(compression_levels_change_no_value);
    RUN(a_block_of_one_row_is_small);
    RUN(codes_of_all_kinds_come_back_in_byte_order);
    RUN(codes_without_a_rank_give_the_same_dictionary);
    RUN(wide_rows_go_into_smaller_blocks);
    RUN(long_messages_go_into_smaller_blocks);
    RUN(a_batch_may_take_several_blocks);
    RUN(create_leaves_an_existing_file_alone);
    RUN(an_empty_file_counts_as_absent);
    RUN(resume_creates_then_continues);
    RUN(resuming_without_appending_writes_nothing);
    RUN(resume_refuses_other_factors_tag_or_format);
    RUN(a_symbolic_link_leads_to_the_backup);
    RUN(overwrite_replaces_whole_files_and_backups_only);
    RUN(a_second_writer_is_told_so);
    RUN(formats_are_chosen_by_name_and_suffix);
    RUN(formats_that_are_not_there_are_named);
    RUN(newer_versions_are_refused_by_name);
    RUN(a_snapshot_grows_only_by_being_taken_again);
    RUN(info_says_what_is_there);
    RUN(no_temporary_file_is_left_behind);
    remove_folder();
    return TEST_END();
}
