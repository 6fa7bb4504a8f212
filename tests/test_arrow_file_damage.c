/* Damaged files of the memory_map format: no flipped bit, no tear, no lying block and no schema of
 * any bytes gets past the checks; what was killed or repaired is an Arrow file again. */
#include "arrow_rows.h"
#include "codec/checksum.h"
#include "damage_outcome.h"
#include "tiers.h"

/* ------------------------------------------------------------------ flipped, cut, given up */

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
    size_t step = of_tier(7, 1, 1); /* odd, so that every bit of a byte has its turn */
    for (size_t bit = 0; bit < n * 8; bit += step) {
        int was = file.at[bit / 8];
        fseek(stream, (long)(bit / 8), SEEK_SET);
        fputc(was ^ 1 << bit % 8, stream);
        outcome o = look_at(path, expected, &context, &err);
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
    size_t step = of_tier(5, 1, 1);
    for (size_t n = 0; n < file.n; n += step) {
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
    int n_rounds = (int)of_tier(20000, 200000, 2000000);
    for (int round = 0; round < n_rounds; round++) {
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
        int rc = fp_arrow_parse_schema(exact, size, SIZE_MAX, SIZE_MAX, &schema);
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

int main(void)
{
    make_folder();
    RUN(every_flipped_bit_of_a_closed_file_is_found);
    RUN(every_flipped_bit_of_an_open_file_is_found);
    RUN(a_file_cut_at_any_byte_gives_its_whole_blocks_and_is_resumed);
    RUN(repair_gives_a_killed_file_its_footer);
    RUN(a_damaged_arrow_message_is_reported_when_its_block_is_read);
    RUN(a_damaged_block_is_given_up_and_no_longer_listed);
    RUN(blocks_that_lie_are_found_out);
    RUN(a_schema_of_any_bytes_is_refused_or_understood);
    remove_folder();
    return TEST_END();
}
