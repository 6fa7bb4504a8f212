/* Files of the json format: rows come back bit for bit, also to readers of a file that grows; a
 * file is resumed by the same job only; nothing that is no backup is touched. What torn and damaged
 * files give is test_json_damage.c. */
#include <math.h>

#include "json_rows.h"

static void every_row_comes_back_bit_for_bit(void)
{
    const char *path = path_of("rows.jsonl");
    rows r = some_rows(300);
    bytes b = write_file(path, &r, NULL);
    CHECK_INT(count_lines(b.at, b.n), 300);
    check_rows(path, &r);
    free(b.at);
    rows_free(&r);
}

static void odd_values_come_back_bit_for_bit(void)
{
    const char *path = path_of("odd.jsonl");
    rows r = {0};
    uint64_t seed = 99;
    for (size_t i = 0; i < 3000; i++) {
        row *to = rows_add(&r);
        *to = row_of(i, 100, FACPOOL_STATUS_OK);
        to->date = (int64_t)(i / 100) - 3;
        to->timestamp = i % 2 ? INT64_MIN + (int64_t)i : INT64_MAX - (int64_t)i;
        snprintf(to->code, sizeof to->code, "%c\"\\/%zu\n\xe6\xb2\xaa", (int)(1 + i % 100), i);
        for (size_t f = 0; f < ROW_FACTORS; f++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint64_t bits = i % 3 ? seed : seed >> (12 + seed % 50);
            memcpy(&to->factors[f], &bits, sizeof bits);
            if (to->factors[f] != to->factors[f])
                to->factors[f] = NAN; /* payloads are not kept */
        }
    }
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    CHECK_OK(write_rows(&options, &r, r.n, &err), err);
    check_rows(path, &r);
    rows_free(&r);
}

static void resume_continues_a_file(void)
{
    const char *path = path_of("resume.jsonl");
    rows all = some_rows(200);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    for (size_t part = 0; part < 5; part++) {
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink(&sink, &options, &opening, &err), err);
        CHECK_INT(opening.existed, part > 0);
        CHECK_INT(opening.damaged_blocks + opening.tail_bytes_cut, 0);
        for (size_t first = part * 40; first < part * 40 + 40; first += RUN_ROWS)
            CHECK_OK(append_rows(sink, &all, first, RUN_ROWS, &err), err);
        fp_source *source; /* the writer's own view of it */
        rows found;
        fp_read_context context;
        CHECK_OK(fp_read_context_init(&context, &err), err);
        CHECK_OK(fp_sink_source(sink, &source, &err), err);
        CHECK_OK(read_rows(source, &context, &found, &err), err);
        CHECK_INT(found.n, part * 40 + 40);
        rows_free(&found);
        fp_source_release(source);
        fp_read_context_free(&context);
        CHECK_OK(fp_sink_close(sink, &err), err);
    }
    check_rows(path, &all);
    const facpool_info *info;
    CHECK_OK(fp_store_info(&info, path, &err), err);
    CHECK_TEXT(info->format, "json");
    CHECK_INT(info->closed, 1);
    CHECK_INT(info->damaged_blocks, 0);
    CHECK_INT(info->created_us, all.at[0].timestamp);
    facpool_info_free(info);
    rows_free(&all);
}

static void messages_and_codes_of_any_length_come_back(void)
{
    const char *path = path_of("long.jsonl");
    char message[FP_MESSAGE_MAX_BYTES + 1], code[FP_CODE_MAX_BYTES + 1];
    for (size_t i = 0; i < FP_MESSAGE_MAX_BYTES; i++)
        message[i] = (char)(1 + i % 127);
    message[FP_MESSAGE_MAX_BYTES] = '\0';
    memset(code, '\x1f', FP_CODE_MAX_BYTES);
    code[FP_CODE_MAX_BYTES] = '\0';
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    fp_batch batch;
    CHECK_OK(fp_batch_init(&batch, false, ROW_FACTORS, &codes, NULL, &err), err);
    CHECK_OK(fp_batch_reserve(&batch, 1, &err), err);
    CHECK(!fp_codes_intern(&codes, code, FP_CODE_MAX_BYTES, &batch.code_ids[0]));
    CHECK(!fp_texts_add(&batch.messages, message, FP_MESSAGE_MAX_BYTES));
    batch.dates[0] = batch.timestamps[0] = INT64_MIN;
    batch.statuses[0] = FACPOOL_STATUS_TIMEOUT;
    batch.failure_codes[0] = INT32_MIN;
    batch.n_rows = 1;
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(fp_sink_append(sink, &batch, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_blocks, 1);
    CHECK_TEXT(source->blocks[0].code_max, code);
    CHECK(!source->zero_copy);
    fp_read_context context;
    fp_open_block *block;
    fp_texts messages = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    CHECK_OK(source->type->open_block(source, 0, &context, &block, &err), err);
    CHECK_TEXT(fp_texts_at(block->codes, 0), code);
    CHECK_OK(source->type->read_messages(block, &context, 0, &messages, &err), err);
    CHECK_TEXT(fp_texts_at(&messages, 0), message);
    source->type->close_block(block);
    fp_texts_free(&messages);
    fp_read_context_free(&context);
    fp_source_release(source);
    fp_batch_free(&batch);
    fp_codes_free(&codes);
}

/* More than a block of rows whose keys ascend are several blocks, of which a narrow question reads
 * what it needs; a run of failures between is a block of its own. */
static void long_runs_are_cut_into_blocks(void)
{
    const char *path = path_of("blocks.jsonl");
    rows r = {0};
    for (size_t i = 0; i < 140000; i++)
        *rows_add(&r) = row_of(i, 1000, FACPOOL_STATUS_OK);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    CHECK_OK(write_rows(&options, &r, 50000, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_blocks, 3);
    CHECK_INT(source->blocks[0].n_rows, FP_BLOCK_ROWS);
    CHECK_INT(source->blocks[1].date_min, 20240101 + FP_BLOCK_ROWS / 1000);
    CHECK_INT(source->blocks[0].n_pages, FP_BLOCK_ROWS / FP_PAGE_ROWS);
    fp_source_release(source);
    check_rows(path, &r);
    rows_free(&r);
}

/* Ranges are those of the rows, in whatever order these come. */
static void keys_that_do_not_ascend_begin_a_block(void)
{
    const char *path = path_of("order.jsonl");
    static const struct {
        size_t date, code;
    } keys[] = {{5, 5}, {5, 7}, {5, 6}, {6, 1}, {2, 9}, {2, 9}, {3, 0}};
    rows r = {0};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        *rows_add(&r) = row_of(keys[i].date * 10 + keys[i].code, 10, FACPOOL_STATUS_FAILED);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    CHECK_OK(write_rows(&options, &r, 1, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    static const uint32_t expected[] = {2, 2, 1, 2};
    CHECK_INT(source->n_blocks, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < source->n_blocks; i++)
        CHECK_INT(source->blocks[i].n_rows, expected[i]);
    CHECK_TEXT(source->blocks[1].code_min, "000001");
    CHECK_TEXT(source->blocks[1].code_max, "000006");
    CHECK_INT(source->blocks[1].date_max, 20240107);
    fp_source_release(source);
    check_rows(path, &r);
    rows_free(&r);
}

static void wide_rows_come_back(void)
{
    enum { WIDE = 3000, N = 40 };
    const char *path = path_of("wide.jsonl");
    fp_schema wanted;
    CHECK_OK(fp_schema_init(&wanted, WIDE, NULL, NULL, &err), err);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    fp_sink *sink;
    CHECK_OK(fp_sink_open(&sink, &options, &wanted, NULL, &err), err);
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    fp_batch batch;
    CHECK_OK(fp_batch_init(&batch, true, WIDE, &codes, NULL, &err), err);
    CHECK_OK(fp_batch_reserve(&batch, N, &err), err);
    for (size_t i = 0; i < N; i++) {
        CHECK(!fp_codes_intern(&codes, "x", 1, &batch.code_ids[i]));
        batch.dates[i] = batch.timestamps[i] = (int64_t)i;
        for (size_t f = 0; f < WIDE; f++)
            batch.factors[f][i] = sin((double)(f * N + i));
    }
    batch.n_rows = N;
    CHECK_OK(fp_sink_append(sink, &batch, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_blocks, 1);
    fp_read_context context;
    fp_open_block *block;
    CHECK_OK(fp_read_context_init(&context, &err), err);
    CHECK_OK(source->type->open_block(source, 0, &context, &block, &err), err);
    for (uint32_t f = 0; f < WIDE; f++) {
        const void *out;
        CHECK_OK(source->type->read(block, &context, FP_COLUMN_FACTOR + f, 0, 1, NULL, &out, &err),
                 err);
        CHECK(memcmp(out, batch.factors[f], N * sizeof(double)) == 0);
    }
    source->type->close_block(block);
    fp_read_context_free(&context);
    fp_source_release(source);
    bytes b = load_file(path); /* a wrong byte where the file is told by, with no other line near */
    b.at[3] ^= 1;
    save_file(path, b.at, b.n);
    free(b.at);
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_damaged, 1);
    CHECK_INT(source->blocks[0].n_rows, N - 1);
    fp_source_release(source);
    fp_batch_free(&batch);
    fp_codes_free(&codes);
    fp_schema_free(&wanted);
    CHECK_INT(fp_json_most_rows(1), FP_BLOCK_ROWS);
    CHECK(fp_json_most_rows(FP_FACTORS_MAX) >= 1 && fp_json_most_rows(FP_FACTORS_MAX) < 100);
}

/* ------------------------------------------------------------------ open or closed */

static int32_t says_closed(const char *path)
{
    const facpool_info *info;
    CHECK_OK(fp_store_info(&info, path, &err), err);
    int32_t closed = info->closed;
    facpool_info_free(info);
    return closed;
}

/* No byte of the file tells: the writer's lock does. */
static void a_file_is_closed_when_its_writer_is(void)
{
    const char *path = path_of("closed.jsonl");
    facpool_backup_options options = options_for(path, 0);
    rows r = some_rows(20);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_OK(append_rows(sink, &r, 0, 20, &err), err);
    CHECK_INT(says_closed(path), 0);
    CHECK_OK(fp_sink_close(sink, &err), err);
    CHECK_INT(says_closed(path), 1);
    rows_free(&r);
}

/* ------------------------------------------------------------------ what is no backup */

static void files_of_others_are_left_alone(void)
{
    static const char *const files[] = {
        "{\"date\":\"2024-01-02\",\"close\":10.5}\n{\"date\":\"2024-01-03\",\"close\":11}\n",
        "{\"date\":\"2024-01-02\",\"close\":10.5}",
        "{\"date\":20240102,\"close\":10.5}\n",
        "{\"date\":20240102,\"close\":10.5",
        "{\"code\":\"000001\"}\n",
        "date,code\n1,2\n",
        "[]",
    };
    const char *path = path_of("foreign.jsonl");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t n = strlen(files[i]);
        save_file(path, (const uint8_t *)files[i], n);
        fp_source *source;
        int rc = fp_source_open(&source, path, NULL, &err);
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
        fp_sink *sink;
        rc = open_sink(&sink, &options, NULL, &err);
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
        CHECK(fp_store_repair(path, &report, &err) < 0);
        bytes same = load_file(path);
        CHECK(same.n == n && memcmp(same.at, files[i], n) == 0);
        free(same.at);
    }
}

static void other_factors_and_tags_are_refused(void)
{
    const char *path = path_of("tag.jsonl");
    rows r = some_rows(40);
    bytes b = write_file(path, &r, "v \"1\"\n");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    fp_sink *sink;
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    options.tag = "v2";
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    options.tag = "v \"1\"\n";
    options.format = "binary";
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_MISMATCH);
    options.format = NULL;
    fp_schema other;
    static const char *const names[] = {"price", "z", "Rank"};
    CHECK_OK(fp_schema_init(&other, ROW_FACTORS, names, options.tag, &err), err);
    CHECK_INT(fp_sink_open(&sink, &options, &other, NULL, &err), FACPOOL_E_MISMATCH);
    fp_schema_free(&other);
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_TEXT(sink->schema.tag, options.tag);
    CHECK_OK(fp_sink_close(sink, &err), err);
    options.mode = FACPOOL_MODE_CREATE;
    CHECK_INT(open_sink(&sink, &options, NULL, &err), FACPOOL_E_EXISTS);
    check_rows(path, &r);
    free(b.at);
    rows_free(&r);
}

/* A file without a row is empty: its writer has it, and no one else; later it counts as absent. */
static void a_file_without_a_row_is_its_writers(void)
{
    const char *path = path_of("empty.jsonl");
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    fp_sink *sink, *second;
    fp_source *source;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    CHECK_INT(open_sink(&second, &options, NULL, &err), FACPOOL_E_BUSY);
    CHECK_INT(fp_source_open(&source, path, NULL, &err), FACPOOL_E_UNSUPPORTED);
    CHECK(strstr(err.message, "empty") != NULL);
    CHECK_OK(fp_sink_source(sink, &source, &err), err);
    CHECK_INT(source->n_blocks, 0);
    CHECK_INT(source->schema.names.n, ROW_FACTORS);
    fp_source_release(source);
    CHECK_OK(fp_sink_close(sink, &err), err);
    CHECK_INT(file_bytes_of(path), 0);
    rows r = some_rows(20);
    CHECK_OK(write_rows(&options, &r, RUN_ROWS, &err), err); /* create: nothing is lost */
    check_rows(path, &r);
    rows_free(&r);
}

/* ------------------------------------------------------------------ growing files */

static fp_source *open_after(const char *path, fp_source *previous)
{
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, previous, &err), err);
    fp_source_release(previous);
    return source;
}

static size_t rows_in(const fp_source *source, rows *found)
{
    fp_read_context context;
    CHECK_OK(fp_read_context_init(&context, &err), err);
    CHECK_OK(read_rows(source, &context, found, &err), err);
    CHECK_INT(found->corrupt_blocks, 0);
    fp_read_context_free(&context);
    return found->n;
}

/* Keys that go on ascending make the last block grow: what a reader knows of it stays true. */
static void a_reader_follows_a_growing_file(void)
{
    const char *path = path_of("grow.jsonl");
    rows r = {0}, found;
    for (size_t i = 0; i < 500; i++)
        *rows_add(&r) = row_of(i, 10, FACPOOL_STATUS_OK);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_CREATE);
    fp_sink *sink;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    fp_source *source = NULL;
    for (size_t n = 0; n < r.n; n += 50) {
        CHECK_OK(append_rows(sink, &r, n, 50, &err), err);
        fp_source *before = source ? fp_source_hold(source) : NULL;
        source = open_after(path, source);
        CHECK_INT(rows_in(source, &found), n + 50);
        CHECK_INT(source->n_blocks, n / 50 + 1); /* the walk went on, it did not begin again */
        rows_free(&found);
        if (before)
            CHECK_INT(rows_in(before, &found), n);
        if (before)
            rows_free(&found);
        fp_source_release(before);
    }
    CHECK_OK(fp_sink_close(sink, &err), err);
    fp_source *same = open_after(path, fp_source_hold(source));
    CHECK(same == source); /* nothing is new */
    fp_source_release(same);

    bytes b = load_file(path), other;
    rows replaced = {0};
    for (size_t i = 0; i < 40; i++)
        *rows_add(&replaced) = row_of(i, 10, i < 20 ? FACPOOL_STATUS_OK : FACPOOL_STATUS_FAILED);
    other = write_file(path_of("other.jsonl"), &replaced, NULL);
    FILE *file = fopen(path, "r+b"); /* the same file, cut and written anew */
    CHECK(file && ftruncate(fileno(file), 0) == 0 && fwrite(other.at, 1, other.n, file) == other.n);
    fclose(file);
    source = open_after(path, source);
    CHECK_INT(rows_in(source, &found), 40);
    rows_free(&found);
    fp_source_release(source);
    free(b.at);
    free(other.at);
    rows_free(&r);
    rows_free(&replaced);
}

/* Bytes that change under a reader after it has listed them are found when they are read. */
static void lines_that_change_after_the_walk_are_found(void)
{
    const char *path = path_of("changed.jsonl");
    rows r = some_rows(40);
    bytes b = write_file(path, &r, NULL);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    size_t at = line_at(&b, 25) + 9; /* a digit of the date */
    FILE *file = fopen(path, "r+b");
    CHECK(file && fseek(file, (long)at, SEEK_SET) == 0);
    fputc(b.at[at] == '1' ? '2' : '1', file);
    fclose(file);
    fp_read_context context;
    fp_open_block *block;
    CHECK_OK(fp_read_context_init(&context, &err), err);
    size_t n_corrupt = 0;
    for (size_t i = 0; i < source->n_blocks; i++) {
        int rc = source->type->open_block(source, i, &context, &block, &err);
        if (!rc) {
            source->type->close_block(block);
            continue;
        }
        CHECK_INT(rc, FACPOOL_E_CORRUPT);
        CHECK(strstr(err.message, "line 26 ") != NULL);
        n_corrupt++;
    }
    CHECK_INT(n_corrupt, 1);
    fp_read_context_free(&context);
    fp_source_release(source);
    free(b.at);
    rows_free(&r);
}

int main(void)
{
    make_folder();
    RUN(every_row_comes_back_bit_for_bit);
    RUN(odd_values_come_back_bit_for_bit);
    RUN(resume_continues_a_file);
    RUN(messages_and_codes_of_any_length_come_back);
    RUN(long_runs_are_cut_into_blocks);
    RUN(keys_that_do_not_ascend_begin_a_block);
    RUN(wide_rows_come_back);
    RUN(a_file_is_closed_when_its_writer_is);
    RUN(files_of_others_are_left_alone);
    RUN(other_factors_and_tags_are_refused);
    RUN(a_file_without_a_row_is_its_writers);
    RUN(a_reader_follows_a_growing_file);
    RUN(lines_that_change_after_the_walk_are_found);
    remove_folder();
    return TEST_END();
}
