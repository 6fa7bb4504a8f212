/* Proves that files with very much damage, honest or made, cost what they are long: damaged lines
 * among good ones, values that only the last look finds wrong, damaged blocks, beginnings of blocks
 * that are none, and indexes of blocks that can't be. What it may cost is said in hostile_files.h.
 */
#include "hostile_files.h"
#include "one_row.h"
#include "store/arrow_file.h"

/* ------------------------------------------------------------------ lines */

/* Every second line has a wrong byte: each of the others is a block between two damaged places. */
static void damaged_lines_among_good_ones_cost_what_they_are_long(void)
{
    const char *path = scratch_path("turns.jsonl");
    size_t size, n = of_tier(5000, 40000, 400000);
    write_rows(path, n, 1, false);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    bool is_bad = false;
    for (uint8_t *line = bytes; line < bytes + size; is_bad = !is_bad) {
        if (is_bad)
            line[10] ^= 1;
        line = (uint8_t *)memchr(line, '\n', size - (size_t)(line - bytes)) + 1;
    }
    CHECK(file_write(path, bytes, size));
    free(bytes);
    check_costs("every second line damaged", path, 0);
}

enum { WIDE = 2000 };

static int give_up_damage(const char *path)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_writer *writer = NULL;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    int rc = facpool_writer_open(&writer, &backup, NULL, WIDE, &err);
    return rc ? rc : facpool_writer_close(writer, &err);
}

/* How many pieces of memory a call takes for a row of many factors, bad lines, and a row. */
static size_t pieces_taken(const looking *call, int expected, size_t n_bad)
{
    const char *path = scratch_path("wide.jsonl");
    size_t size, before;
    write_rows(path, 1, WIDE, false);
    uint8_t *row = file_read(path, &size);
    FILE *file = fopen(path, "we");
    CHECK(row && file);
    fwrite(row, 1, size, file);
    for (size_t i = 0; i < n_bad; i++)
        fputs("x\n", file);
    fwrite(row, 1, size, file);
    fclose(file);
    free(row);
    cost_begin(&before);
    CHECK_INT(call->look(path), expected);
    cost c = cost_end(before);
    unlink(path);
    return c.n_taken;
}

/* What many factors cost is paid once, not for each bad line. */
static void bad_lines_among_many_factors_cost_what_they_are_long(void)
{
    static const looking all[] = {
        {"info", look_for_info}, {"verify", verify}, {"resume", give_up_damage}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int expected = i == 1 ? FACPOOL_E_CORRUPT : 0;
        size_t few = pieces_taken(&all[i], expected, 10);
        size_t many = pieces_taken(&all[i], expected, of_tier(500, 2000, 20000));
        printf("     bad lines, %s: %zu pieces of memory, %zu\n", all[i].what, few, many);
        CHECK(many < few + 100);
    }
}

/* The checksum is right, the rows descend, and so each is a block; and the number is none that a
 * double can hold, which is found when it is read. */
static void lines_whose_values_are_none_cost_what_they_are_long(void)
{
    const char *path = scratch_path("values.jsonl");
    size_t n = of_tier(5000, 40000, 400000);
    FILE *file = fopen(path, "we");
    CHECK(file);
    for (size_t i = 0; i < n; i++) {
        char line[200], sum[17];
        int length = snprintf(line, sizeof line,
                              "{\"date\":%zu,\"code\":\"a\",\"timestamp\":1,\"status\":\"ok\","
                              "\"f0\":1e999,\"checksum\":\"0000000000000000\"}",
                              90000000 - i);
        snprintf(sum, sizeof sum, "%016llx", (unsigned long long)fp_checksum(line, (size_t)length));
        memcpy(line + length - 18, sum, 16);
        fprintf(file, "%s\n", line);
    }
    fclose(file);
    check_costs("values that are none", path, 0);
}

/* ------------------------------------------------------------------ blocks */

/* Each block's front is zeros, what the index says of it is right. Were the list of what is to be
 * told gone through for each, this would take minutes. */
static void very_many_damaged_blocks_cost_what_they_are_long(void)
{
    const char *path = scratch_path("lost.fpb");
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_writer *writer = NULL;
    size_t size, n = of_tier(2000, 60000, 200000);
    options.path = path;
    options.durability = FACPOOL_DURABILITY_NONE;
    options.batch_rows = 1;
    options.no_async = 1;
    CHECK_OK(facpool_writer_open(&writer, &options, NULL, 1, &err), err);
    for (size_t i = 0; i < n; i++)
        append_row(writer, (int64_t)i, "a", 1);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    for (size_t at = 0; at < size; at += FP_BLOCK_ALIGNMENT)
        if (memcmp(bytes + at, FP_BINARY_BLOCK_MAGIC, FP_MAGIC_BYTES) == 0 &&
            bytes[at + FP_BLOCK_KIND] != FP_KIND_INDEX)
            memset(bytes + at, 0, FP_BLOCK_ALIGNMENT);
    CHECK(file_write(path, bytes, size));
    free(bytes);
    check_costs("damaged blocks", path, 0);
}

static void make_schema(fp_schema *schema, size_t n_factors)
{
    const char **names = malloc(n_factors * sizeof *names);
    char(*texts)[24] = malloc(n_factors * sizeof *texts);
    for (size_t i = 0; i < n_factors; i++) {
        snprintf(texts[i], sizeof texts[i], "f%zu", i);
        names[i] = texts[i];
    }
    CHECK_OK(fp_schema_init(schema, n_factors, names, NULL, &err), err);
    free(names);
    free(texts);
}

/* What stands before an Arrow block's header is long where there are many factors. */
static void beginnings_of_arrow_blocks_are_passed_over(void)
{
    static const size_t widths[] = {1, 1000, 10000};
    for (size_t i = 0; i < 3; i++) {
        fp_schema schema = {0};
        fp_buffer file = {0};
        make_schema(&schema, widths[i]);
        CHECK_OK(fp_format_memory_map.encode_header(&schema, &file, &err), err);
        uint32_t envelope = fp_arrow_envelope_bytes(widths[i]);
        uint8_t prefix[FP_BLOCK_ALIGNMENT] = {0};
        fp_store_u32(prefix, FP_ARROW_CONTINUATION);
        fp_store_u32(prefix + 4, envelope - FP_ARROW_PREFIX_BYTES);
        size_t header = file.size;
        for (size_t n = 0; n < of_tier(5000, 40000, 400000); n++)
            put(&file, prefix, sizeof prefix);
        /* And the magic of a header where one would be, as far as that is no beginning itself. */
        for (size_t at = header; at + envelope + FP_MAGIC_BYTES <= file.size; at += sizeof prefix)
            if (envelope % sizeof prefix || at / envelope % 2)
                memcpy(file.data + at + envelope, FP_ARROW_BLOCK_MAGIC, FP_MAGIC_BYTES);
        check_costs("beginnings of blocks", write_file("none.arrow", &file, 0), 0);
        fp_buffer_free(&file);
        fp_schema_free(&schema);
    }
}

/* ------------------------------------------------------------------ indexes */

/* Blocks of no bytes, or of fewer than their columns take, all in one place. */
static void an_index_of_blocks_that_can_not_be_is_not_believed(void)
{
    static const fp_format *const formats[] = {&fp_format_binary, &fp_format_memory_map};
    for (size_t f = 0; f < 4; f++) {
        const fp_format *format = formats[f % 2];
        bool is_wide = f >= 2;
        fp_schema schema = {0};
        fp_log_index index = {0};
        fp_buffer file = {0}, end = {0};
        make_schema(&schema, is_wide ? 5000 : 1);
        CHECK_OK(format->encode_header(&schema, &file, &err), err);
        for (size_t i = 0; i < of_tier(5000, 40000, 400000); i++) {
            fp_log_entry entry = {.sequence = i};
            entry.block = (fp_block){.offset = file.size,
                                     .n_rows = is_wide ? (uint32_t)fp_front_most_rows(5000) : 1,
                                     .all_ok = true,
                                     .has_factors = true,
                                     .date_min = 1,
                                     .date_max = 2,
                                     .code_min = "a",
                                     .code_max = "b"};
            entry.block.n_pages = fp_front_n_pages(entry.block.n_rows);
            entry.block.status_rows[FACPOOL_STATUS_OK] = entry.block.n_rows;
            CHECK_OK(fp_log_index_add(&index, &entry, &err), err);
        }
        fp_seal seal = {.offset = file.size, .sequence = index.n + 1, .durable_end = file.size};
        CHECK_OK(format->encode_index(&schema, &index, (fp_index_counts){0}, &seal, &end, &err),
                 err);
        put(&file, end.data, end.size);
        check_costs(is_wide ? "index of wide blocks" : "index of empty blocks",
                    write_file(f % 2 ? "index.arrow" : "index.fpb", &file, 0), 0);
        fp_buffer_free(&file);
        fp_buffer_free(&end);
        fp_log_index_free(&index);
        fp_schema_free(&schema);
    }
}

int main(void)
{
    if (!scratch_make("hostile-damage"))
        return 1;
    RUN(damaged_lines_among_good_ones_cost_what_they_are_long);
    RUN(bad_lines_among_many_factors_cost_what_they_are_long);
    RUN(lines_whose_values_are_none_cost_what_they_are_long);
    RUN(very_many_damaged_blocks_cost_what_they_are_long);
    RUN(beginnings_of_arrow_blocks_are_passed_over);
    RUN(an_index_of_blocks_that_can_not_be_is_not_believed);
    scratch_remove();
    return TEST_END();
}
