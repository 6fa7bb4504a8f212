/* Proves that reading a file that is long in a hostile way costs what the file is long, and ends:
 * equal columns, very many blocks and indexes, magic numbers with nothing behind them, lines
 * without an end, nested, blank or descending, holes, and Arrow headers whose entries share their
 * bytes. What it may cost is said in
 * hostile_files.h. */
#include "hostile_files.h"
#include "one_row.h"

#include "codec/arrow_flat.h"
#include "store/arrow_file.h"

/* ------------------------------------------------------------------ very many blocks */

static void set_trailer(uint8_t *block, size_t size, uint64_t offset)
{
    uint8_t *trailer = block + size - FP_TRAILER_BYTES;
    fp_store_u64(trailer + FP_TRAILER_INDEX_OFFSET, offset);
    fp_store_u64(trailer + FP_TRAILER_CHECKSUM, fp_checksum(trailer + FP_TRAILER_INDEX_OFFSET, 24));
}

/* The index block of a file without rows, which gives all blocks before it up. */
static void take_empty_index(fp_buffer *out, const parts *p)
{
    size_t size;
    const char *path = scratch_path("none.fpb");
    write_rows(path, 0, 1, false);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    size_t at = fp_load_u32(bytes + 24);
    put(out, bytes + at, size - at);
    memcpy(out->data + FP_BLOCK_FILE_ID, p->header.data + 32, 8);
    memcpy(out->data + out->size - 8, p->header.data + 32, 8);
    free(bytes);
    unlink(path);
}

static void very_many_blocks_cost_what_they_are_long(void)
{
    size_t n = of_tier(2000, 10000, 200000);
    for (int mixed = 0; mixed < 2; mixed++) {
        parts p;
        fp_buffer file = {0}, index = {0};
        take_apart(&p);
        take_empty_index(&index, &p);
        put(&file, p.header.data, p.header.size);
        uint64_t sequence = 0;
        for (size_t i = 0; i < n; i++)
            add_block(&p, &file, sequence++, mixed ? 0 : file.size);
        for (size_t i = 0; i < n; i++) {
            if (mixed)
                add_block(&p, &file, sequence++, 0);
            fp_seal seal = {.offset = file.size, .sequence = sequence++, .durable_end = file.size};
            fp_front_seal(index.data, &seal);
            set_trailer(index.data, index.size, file.size);
            put(&file, index.data, index.size);
        }
        put(&file, "torn", 4); /* so that the file is walked */
        check_costs(mixed ? "blocks and indexes" : "blocks, then indexes",
                    write_file("many.fpb", &file, 0), 0);
        fp_buffer_free(&file);
        fp_buffer_free(&index);
        forget(&p);
    }
}

/* Magic numbers of blocks wherever one could begin, and nothing behind them. */
static void magic_numbers_alone_are_passed_over(void)
{
    parts p;
    fp_buffer file = {0};
    take_apart(&p);
    put(&file, p.header.data, p.header.size);
    uint8_t nothing[64] = {0};
    memcpy(nothing, p.block, 8);
    for (size_t i = 0; i < 65536; i++)
        put(&file, nothing, sizeof nothing);
    add_block(&p, &file, 9, file.size);
    check_costs("magic numbers", write_file("magic.fpb", &file, 0), 0);
    fp_buffer_free(&file);
    forget(&p);
}

/* ------------------------------------------------------------------ lines */

static void lines_of_any_length_are_not_held(void)
{
    size_t most = (size_t)of_tier(16, 32, 1024) * MIB;
    const char *path = scratch_path("line.jsonl");
    write_rows(path, 3, 1, false);
    size_t size = (size_t)file_bytes(path);
    CHECK_INT(truncate(path, (off_t)(size + most)), 0); /* a line without an end */
    check_costs("a line without an end", path, 0);
    path = scratch_path("middle.jsonl");
    write_rows(path, 3, 1, false);
    uint8_t *rows = file_read(path, &size);
    CHECK(rows);
    CHECK_INT(truncate(path, (off_t)(size + most)), 0);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, "\n", 1) == 1 && write(fd, rows, size) == (ssize_t)size);
    close(fd);
    free(rows);
    check_costs("a line between", path, 0);
}

static void write_lines(const char *path, const char *line, size_t n)
{
    size_t size;
    write_rows(path, 3, 1, false);
    uint8_t *rows = file_read(path, &size);
    FILE *file = fopen(path, "we");
    CHECK(rows && file);
    fwrite(rows, 1, size, file);
    for (size_t i = 0; i < n; i++)
        fputs(line, file);
    fwrite(rows, 1, size, file);
    fclose(file);
    free(rows);
}

static void lines_that_are_no_rows_cost_what_they_are_long(void)
{
    char *nested = malloc(3 * MIB);
    memset(nested, '[', 2 * MIB);
    strcpy(nested + 2 * MIB, "\n");
    const char *path = scratch_path("nested.jsonl");
    write_lines(path, nested, 2);
    check_costs("deep nesting", path, 0);
    memset(nested, '\\', 2 * MIB);
    memcpy(nested, "{\"date\":1,\"code\":\"", 18);
    path = scratch_path("text.jsonl");
    write_lines(path, nested, 2);
    check_costs("a text without an end", path, 0);
    path = scratch_path("bad.jsonl");
    write_lines(path, "{}\n", of_tier(20000, 100000, 2000000));
    check_costs("very many bad lines", path, 0);
    path = scratch_path("blank.jsonl");
    write_lines(path, "\n", of_tier(20000, 100000, 2000000));
    check_costs("very many blank lines", path, 0);
    free(nested);
}

/* What a power loss may leave begins with zeros, and its lines are looked through for a row. */
static void lines_behind_a_zero_cost_what_they_are_long(void)
{
    static const char *const lines[] = {"\n", "x\n", " \n"};
    for (size_t i = 0; i < 3; i++) {
        fp_buffer file = {0};
        put(&file, "\0}\n", 3);
        for (size_t n = 0; n < of_tier(100000, 100000, 2000000); n++)
            put(&file, lines[i], strlen(lines[i]));
        check_costs("lines behind a zero", write_file("zero.jsonl", &file, 0), 0);
        fp_buffer_free(&file);
    }
}

/* Blank lines, as those that give damage up leave them. */
static void put_blanks(FILE *file, size_t n)
{
    char line[4096];
    memset(line, ' ', sizeof line);
    line[sizeof line - 1] = '\n';
    for (size_t done = 0; done < n; done += sizeof line)
        fwrite(line, 1, sizeof line, file);
}

static void check_blanks(const char *path, uint64_t n_rows)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK_INT(report.rows, n_rows);
    CHECK_INT(report.tail_bytes, 0);
    CHECK_INT(report.damaged_blocks, 0);
    CHECK_INT(report.closed, 1);
}

/* More blanks than a block holds, before the rows, between them and behind them: they are no
 * damage and no tail, whoever opens the file, and who reads a row does not hold them. */
static void blank_lines_are_not_held(void)
{
    const char *path = scratch_path("blanks.jsonl");
    size_t size, before, most = 40 * MIB;
    write_rows(path, 2, 1, false);
    uint8_t *rows = file_read(path, &size);
    FILE *file = fopen(path, "we");
    CHECK(rows && file);
    size_t first = (size_t)((uint8_t *)memchr(rows, '\n', size) - rows) + 1;
    put_blanks(file, most);
    fwrite(rows, 1, first, file);
    put_blanks(file, most);
    fwrite(rows + first, 1, size - first, file);
    put_blanks(file, most);
    fclose(file);
    free(rows);
    check_blanks(path, 2);
    cost_begin(&before);
    CHECK_INT(read_as_stored(path), 0);
    cost c = cost_end(before);
    printf("     %zu KiB of blanks: held %zu KiB\n", 3 * most >> 10, c.most_bytes >> 10);
    CHECK(c.most_bytes <= 34 * MIB);
    CHECK(c.read_bytes <= 3 * (size_t)file_bytes(path));
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_writer *writer = NULL;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    size = (size_t)file_bytes(path);
    CHECK_OK(facpool_writer_open(&writer, &backup, NULL, 1, &err), err);
    CHECK_INT(file_bytes(path), size); /* nothing was cut off */
    append_row(writer, 9, "a", 1);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    check_blanks(path, 3);
    unlink(path);
}

/* Each row before the one before: each is a block of its own. */
static void rows_that_descend_cost_what_they_are_long(void)
{
    size_t n = of_tier(2000, 40000, 400000), size;
    const char *path = scratch_path("descends.jsonl");
    write_rows(path, n, 1, false);
    uint8_t *rows = file_read(path, &size);
    FILE *file = fopen(path, "we");
    CHECK(rows && file);
    for (size_t end = size; end;) {
        size_t begin = end - 1;
        while (begin && rows[begin - 1] != '\n')
            begin--;
        fwrite(rows + begin, 1, end - begin, file);
        end = begin;
    }
    fclose(file);
    free(rows);
    check_costs("rows that descend", path, 0);
}

static void a_file_of_nothing_but_a_hole_costs_little(void)
{
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "hole.%s", suffixes[i]);
        const char *path = scratch_path(name);
        write_rows(path, 3, 1, false);
        CHECK_INT(truncate(path, (off_t)((size_t)of_tier(16, 32, 1024) * MIB)), 0);
        check_costs("a hole behind the rows", path, 0);
    }
}

/* ------------------------------------------------------------------ almost nothing */

/* Rows that are all alike take almost nothing in the file, by right. */
static void many_equal_columns_cost_what_a_batch_of_them_is(void)
{
    enum { ROWS = 65536, FACTORS = 40 };
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "equal.%s", suffixes[i]);
        const char *path = scratch_path(name);
        write_rows(path, i == 1 ? 4096 : ROWS, FACTORS, false);
        check_costs("equal columns", path, (size_t)ROWS * (FACTORS + 4) * 8);
    }
}

/* Rows of one code, all alike but for the dates, or quite alike: failures of one task. */
static void write_equal_rows(const char *path, size_t n, bool failures)
{
    enum { AT_ONCE = 65536 };
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_writer *writer = NULL;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    int64_t *dates = calloc(AT_ONCE, sizeof *dates),
            *timestamps = calloc(AT_ONCE, sizeof *timestamps);
    const char **codes = calloc(AT_ONCE, sizeof *codes);
    double *factors = calloc(AT_ONCE, sizeof *factors);
    uint8_t *statuses = malloc(AT_ONCE);
    memset(statuses, failures ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK, AT_ONCE);
    for (size_t i = 0; i < AT_ONCE; i++)
        codes[i] = "a";
    backup.path = path;
    backup.durability = FACPOOL_DURABILITY_NONE;
    rows.n = AT_ONCE;
    rows.dates = dates;
    rows.timestamps = timestamps;
    rows.codes = codes;
    rows.factors = factors;
    rows.statuses = statuses;
    CHECK_OK(facpool_writer_open(&writer, &backup, NULL, 1, &err), err);
    for (size_t at = 0; at < n; at += AT_ONCE) {
        for (size_t i = 0; i < AT_ONCE; i++)
            dates[i] = failures ? 1 : (int64_t)(at + i);
        CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    }
    CHECK_OK(facpool_writer_close(writer, &err), err);
    free(dates);
    free(timestamps);
    free(codes);
    free(factors);
    free(statuses);
}

#define BLOCK_BYTES ((size_t)65536 * 5 * 8) /* decoded, with one factor */

static void many_failures_of_one_task_cost_what_a_block_of_them_is(void)
{
    const char *path = scratch_path("failures.fpb");
    write_equal_rows(path, of_tier(500000, 1000000, 4000000), true);
    check_costs("failures of one task", path, BLOCK_BYTES);
}

/* Each alone on its date: what a writer remembers of them is bounded by their number. */
static void keys_far_apart_cost_a_writer_what_they_are_many(void)
{
    const char *path = scratch_path("keys.fpb");
    write_equal_rows(path, of_tier(200000, 1000000, 4000000), false);
    check_costs("keys far apart", path, BLOCK_BYTES);
}

/* ------------------------------------------------------------------ Arrow headers */

/* A schema whose fields and keys are one vector, every entry of which leads to one empty table. */
static void very_many_fields_of_four_bytes_are_not_held(void)
{
    static const uint32_t tables[] = {16, 12 | 12 << 16, 4 | 6 << 16, 8, 12, 4 | 1 << 16,
                                      16, 10 | 12 << 16, 4 << 16,     8, 12, 8,
                                      4};
    enum { N_WORDS = sizeof tables / sizeof *tables };
    uint32_t n = (uint32_t)of_tier(1, 2, 8) << 20;
    uint32_t size = (N_WORDS + 1 + n + 2) * 4, table_at = size - 4;
    fp_buffer file = {0};
    put(&file, "ARROW1\0\0\xff\xff\xff\xff", 12);
    CHECK_INT(fp_buffer_put_u32(&file, size), 0);
    for (size_t i = 0; i < N_WORDS; i++)
        CHECK_INT(fp_buffer_put_u32(&file, tables[i]), 0);
    CHECK_INT(fp_buffer_put_u32(&file, n), 0);
    for (uint32_t i = 0; i < n; i++)
        CHECK_INT(fp_buffer_put_u32(&file, table_at - (N_WORDS + 1 + i) * 4), 0);
    CHECK_INT(fp_buffer_put_u32(&file, 4 | 4 << 16), 0);
    CHECK_INT(fp_buffer_put_u32(&file, 4), 0);
    check_costs("fields of four bytes", write_file("fields.arrow", &file, 0), 0);
    fp_buffer_free(&file);
}

/* All factors are made to be the first, and the others are cut off; the checksum is right. */
static void check_one_name(size_t length)
{
    enum { FACTORS = 65535, FIRST = 4 };
    fp_schema schema;
    fp_arrow_schema columns;
    fp_buffer file = {0}, texts = {0};
    CHECK_OK(fp_schema_init(&schema, FACTORS, NULL, NULL, &err), err);
    CHECK_OK(fp_arrow_file_schema(&columns, &texts, &schema, "0000000000000000", &err), err);
    char *name = malloc(length);
    memset(name, 'x', length);
    columns.fields[FIRST].name = (fp_arrow_text){name, length};
    put(&file, FP_ARROW_FILE_START, FP_ARROW_FILE_START_BYTES);
    CHECK_INT(fp_arrow_put_schema(&columns, &file), 0);
    fp_flat_reader reader = {.bytes = file.data + 16, .size = file.size - 16};
    fp_flat_table message, table, field, next;
    fp_flat_vector fields;
    CHECK(fp_flat_root(&reader, &message) && fp_flat_child(&reader, &message, 2, &table) &&
          fp_flat_vector_of(&reader, &table, 1, 4, &fields) &&
          fp_flat_element(&reader, &fields, FIRST, &field) &&
          fp_flat_element(&reader, &fields, FIRST + 1, &next));
    for (size_t i = FIRST + 1; i < fields.n; i++) {
        size_t at = fields.at + 4 * i;
        fp_store_u32(file.data + 16 + at, (uint32_t)(field.at - at));
    }
    size_t used = 16 + next.shape_at;
    file.size = used + -used % 64;
    memset(file.data + used, 0, file.size - used);
    fp_store_u32(file.data + 12, (uint32_t)file.size - 16);
    char digits[17];
    snprintf(digits, sizeof digits, "%016llx",
             (unsigned long long)fp_checksum(file.data, file.size));
    memcpy(memmem(file.data, file.size, "0000000000000000", 16), digits, 16);
    check_costs("one name for all factors", write_file("names.arrow", &file, 0), 0);
    fp_buffer_free(&file);
    fp_buffer_free(&texts);
    fp_arrow_schema_free(&columns);
    fp_schema_free(&schema);
    free(name);
}

static void a_name_that_all_factors_share_is_not_held_for_each(void)
{
    check_one_name(255);
    check_one_name(20000);
}

int main(void)
{
    if (!scratch_make("hostile"))
        return 1;
    RUN(many_equal_columns_cost_what_a_batch_of_them_is);
    RUN(many_failures_of_one_task_cost_what_a_block_of_them_is);
    RUN(keys_far_apart_cost_a_writer_what_they_are_many);
    RUN(very_many_blocks_cost_what_they_are_long);
    RUN(magic_numbers_alone_are_passed_over);
    RUN(lines_of_any_length_are_not_held);
    RUN(lines_that_are_no_rows_cost_what_they_are_long);
    RUN(lines_behind_a_zero_cost_what_they_are_long);
    RUN(blank_lines_are_not_held);
    RUN(rows_that_descend_cost_what_they_are_long);
    RUN(a_file_of_nothing_but_a_hole_costs_little);
    RUN(very_many_fields_of_four_bytes_are_not_held);
    RUN(a_name_that_all_factors_share_is_not_held_for_each);
    scratch_remove();
    return TEST_END();
}
