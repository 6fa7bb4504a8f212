/* What a reader believes of block headers whose checksums are right, whoever wrote them: every size
 * and number is taken up to what can be, and not one beyond. Where checksums are wrong: an index
 * that is damaged anywhere is no index, the file is walked, and all rows are found; a damaged block
 * never gives a wrong row. */
#include "base/buffer.h"
#include "codec/checksum.h"
#include "store/arrow_file.h"
#include "store/binary.h"
#include "store_rows.h"

static facpool_error err = FACPOOL_ERROR_INIT;

/* ------------------------------------------------------------------ block headers */

enum { HERE = 8192 }; /* the block's offset */

/* A header of a block of rows as they are written, large enough for all texts. */
typedef struct header {
    fp_front_rules rules;
    fp_schema schema;
    fp_seal seal;
    uint8_t bytes[FP_MOST_BLOCK_HEADER_BYTES];
    size_t n;
} header;

static void fill(header *h, uint32_t n_rows, bool all_ok)
{
    fp_front_header made = {.n_columns = fp_front_n_columns(&h->rules, all_ok), .n_codes = 1};
    fp_block *block = &made.parsed.entry.block;
    block->n_rows = n_rows;
    block->n_pages = fp_front_n_pages(n_rows);
    block->all_ok = all_ok;
    block->date_min = block->timestamp_min = -5;
    block->date_max = block->timestamp_max = 5;
    block->code_min = "a";
    block->code_max = "b";
    block->status_rows[all_ok ? FACPOOL_STATUS_OK : FACPOOL_STATUS_FAILED] = n_rows;
    h->n = FP_BLOCK_TEXTS + 4;
    made.header_bytes = (uint32_t)h->n;
    made.directory_bytes =
        (uint32_t)fp_front_directory_bytes(&h->rules, all_ok, made.parsed.entry.block.n_pages);
    block->bytes = h->rules.at + h->n + made.directory_bytes;
    block->bytes += fp_front_padding(block->bytes);
    fp_front_fill(&h->rules, &made, fp_front_file_id(&h->schema), h->bytes);
    fp_front_seal(h->bytes, &h->seal);
}

static void begin(header *h, uint32_t n_rows)
{
    *h = (header){.rules = fp_binary_rules(ROW_FACTORS),
                  .seal = {.offset = HERE, .sequence = 7, .durable_end = HERE}};
    memcpy(h->schema.file_id, "0123456789abcdef", sizeof h->schema.file_id);
    fill(h, n_rows, true);
}

static void checksum_again(header *h)
{
    fp_store_u64(h->bytes + FP_BLOCK_CHECKSUM,
                 fp_checksum(h->bytes + FP_BLOCK_HEADER_BYTES, h->n - FP_BLOCK_HEADER_BYTES));
}

static bool is_taken(const header *h)
{
    fp_front_header parsed;
    return fp_front_parse(&h->rules, &h->schema, HERE, h->bytes, h->n, &parsed);
}

/* Whether the header is taken with another number in a field. The field is put back. */
static bool with_u64(header *h, size_t field, uint64_t value)
{
    uint64_t before = fp_load_u64(h->bytes + field);
    fp_store_u64(h->bytes + field, value);
    checksum_again(h);
    bool taken = is_taken(h);
    fp_store_u64(h->bytes + field, before);
    checksum_again(h);
    return taken;
}

static bool with_u32(header *h, size_t field, uint32_t value)
{
    uint64_t both = fp_load_u64(h->bytes + field);
    return with_u64(h, field, (both & ~(uint64_t)UINT32_MAX) | value);
}

static bool with_u8(header *h, size_t field, uint8_t value)
{
    uint64_t all = fp_load_u64(h->bytes + field);
    return with_u64(h, field, (all & ~(uint64_t)UINT8_MAX) | value);
}

/* Readers hold a block's columns in memory made for the most rows that a block may have. */
static void a_block_has_between_1_and_65536_rows(void)
{
    header h;
    static const uint32_t counts[] = {1, FP_PAGE_ROWS, FP_PAGE_ROWS + 1, FP_BLOCK_ROWS};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        begin(&h, counts[i]);
        CHECK(is_taken(&h));
    }
    static const uint32_t too_many[] = {0, FP_BLOCK_ROWS + 1, FP_BLOCK_ROWS * 4};
    for (size_t i = 0; i < sizeof too_many / sizeof *too_many; i++) {
        begin(&h, too_many[i]);
        CHECK(!is_taken(&h));
        fill(&h, too_many[i], false);
        CHECK(!is_taken(&h));
    }
}

static void numbers_of_rows_pages_and_codes_agree(void)
{
    header h;
    begin(&h, 100);
    CHECK(with_u32(&h, FP_BLOCK_N_CODES, 1));
    CHECK(with_u32(&h, FP_BLOCK_N_CODES, 100));
    CHECK(!with_u32(&h, FP_BLOCK_N_CODES, 0));
    CHECK(!with_u32(&h, FP_BLOCK_N_CODES, 101));
    CHECK(!with_u32(&h, FP_BLOCK_N_PAGES, 0));
    CHECK(!with_u32(&h, FP_BLOCK_N_PAGES, 2));
    CHECK(!with_u32(&h, FP_BLOCK_PAGE_ROWS, FP_PAGE_ROWS * 2));
    CHECK(!with_u32(&h, FP_BLOCK_N_COLUMNS, h.rules.ok_columns + 1));
    CHECK(!with_u32(&h, FP_BLOCK_N_ROWS, 99));
    CHECK(!with_u32(&h, FP_BLOCK_STATUS_ROWS + 4 * FACPOOL_STATUS_OK, 99));
    CHECK(!with_u32(&h, FP_BLOCK_STATUS_ROWS + 4 * FACPOOL_STATUS_FAILED, 1));
    fill(&h, 100, false);
    CHECK(is_taken(&h));
    h.bytes[FP_BLOCK_STATUS_ROWS] = 1; /* of no status */
    fp_store_u32(h.bytes + FP_BLOCK_STATUS_ROWS + 4 * FACPOOL_STATUS_FAILED, 99);
    checksum_again(&h);
    CHECK(!is_taken(&h));
    fill(&h, 100, false);
    fp_store_u32(h.bytes + FP_BLOCK_STATUS_ROWS + 4 * FACPOOL_STATUS_OK, 1);
    fp_store_u32(h.bytes + FP_BLOCK_STATUS_ROWS + 4 * FACPOOL_STATUS_FAILED, 99);
    checksum_again(&h);
    CHECK(!is_taken(&h)); /* a block is all ok, or has no ok row */
}

static void parts_fit_into_their_block(void)
{
    header h;
    begin(&h, 100);
    uint64_t block_bytes = fp_load_u64(h.bytes + FP_BLOCK_BYTES);
    CHECK(with_u64(&h, FP_BLOCK_BYTES, block_bytes + FP_BLOCK_ALIGNMENT));
    CHECK(with_u64(&h, FP_BLOCK_BYTES, FP_MOST_BLOCK_BYTES));
    CHECK(!with_u64(&h, FP_BLOCK_BYTES, FP_MOST_BLOCK_BYTES + FP_BLOCK_ALIGNMENT));
    CHECK(!with_u64(&h, FP_BLOCK_BYTES, UINT64_MAX - FP_BLOCK_ALIGNMENT + 1));
    CHECK(!with_u64(&h, FP_BLOCK_BYTES, block_bytes - FP_BLOCK_ALIGNMENT));
    CHECK(!with_u64(&h, FP_BLOCK_BYTES, block_bytes + 1));
    CHECK(!with_u64(&h, FP_BLOCK_BYTES, 0));
    CHECK(!with_u32(&h, FP_BLOCK_DICTIONARY_BYTES, (uint32_t)block_bytes));
    CHECK(!with_u32(&h, FP_BLOCK_DICTIONARY_BYTES, UINT32_MAX));
    CHECK(!with_u32(&h, FP_BLOCK_DIRECTORY_BYTES, 0));
    CHECK(!with_u32(&h, FP_BLOCK_DIRECTORY_BYTES, UINT32_MAX));
    CHECK(!with_u32(&h, FP_BLOCK_HEADER_BYTES, 0));
    CHECK(!with_u32(&h, FP_BLOCK_HEADER_BYTES, FP_BLOCK_TEXTS + 1));
    CHECK(!with_u32(&h, FP_BLOCK_HEADER_BYTES, (uint32_t)h.n + 1));
    CHECK(!with_u32(&h, FP_BLOCK_HEADER_BYTES, UINT32_MAX));
    h.n--;
    CHECK(!is_taken(&h)); /* it ends too early */
}

static void ranges_begin_before_they_end(void)
{
    header h;
    begin(&h, 100);
    CHECK(with_u64(&h, FP_BLOCK_DATE_MIN, 5));
    CHECK(!with_u64(&h, FP_BLOCK_DATE_MIN, 6));
    CHECK(with_u64(&h, FP_BLOCK_TIMESTAMP_MAX, (uint64_t)-5));
    CHECK(!with_u64(&h, FP_BLOCK_TIMESTAMP_MAX, (uint64_t)-6));
    CHECK(!with_u8(&h, FP_BLOCK_CODE_MIN_BYTES, 0));
    CHECK(!with_u8(&h, FP_BLOCK_CODE_MIN_BYTES, 2));
    CHECK(!with_u8(&h, FP_BLOCK_CODE_MIN_BYTES, 255));
    CHECK(!with_u8(&h, FP_BLOCK_CODE_MAX_BYTES, 0));
    CHECK(!with_u8(&h, FP_BLOCK_CODE_MAX_BYTES, 2));
    CHECK(!with_u8(&h, FP_BLOCK_TEXTS, 0));
    CHECK(!with_u8(&h, FP_BLOCK_TEXTS + 2, 0));
}

/* A block that was copied, moved, or is of an older life of the file's bytes. */
static void a_block_is_at_home_in_one_place_of_one_file(void)
{
    header h;
    begin(&h, 100);
    CHECK(!with_u64(&h, FP_BLOCK_OFFSET, HERE + FP_BLOCK_ALIGNMENT));
    CHECK(!with_u64(&h, FP_BLOCK_FILE_ID, 1));
    CHECK(with_u64(&h, FP_BLOCK_DURABLE_END, 0));
    CHECK(!with_u64(&h, FP_BLOCK_DURABLE_END, HERE + 1));
    CHECK(with_u64(&h, FP_BLOCK_SEQUENCE, FP_MOST_SEQUENCE - 1));
    CHECK(!with_u64(&h, FP_BLOCK_SEQUENCE, FP_MOST_SEQUENCE));
    CHECK(!with_u8(&h, FP_BLOCK_KIND, 0));
    CHECK(!with_u8(&h, FP_BLOCK_KIND, FP_KIND_INDEX));
    CHECK(!with_u8(&h, FP_BLOCK_KIND, FP_KIND_INDEX + 1));
    CHECK(!with_u8(&h, 0, 'x')); /* the magic */
}

static void every_bit_of_a_header_counts(void)
{
    header h;
    begin(&h, 100);
    for (size_t bit = 0; bit < h.n * 8; bit++) {
        h.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!is_taken(&h));
        h.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK(is_taken(&h));
}

/* ------------------------------------------------------------------ files */

/* A small closed file of three blocks, one of them of failures; its rows, sorted. */
static void write_sample(const char *path, rows *r)
{
    facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
    *r = (rows){0};
    for (size_t i = 0; i < 60; i++)
        *rows_add(r) = row_of(i, 10, i / 20 == 1 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, r, 20, &err), err);
    rows_sort(r);
}

static void flip(const char *path, size_t bit)
{
    FILE *file = fopen(path, "r+b");
    CHECK(file);
    fseek(file, (long)(bit / 8), SEEK_SET);
    int byte = fgetc(file);
    fseek(file, (long)(bit / 8), SEEK_SET);
    fputc(byte ^ 1 << bit % 8, file);
    CHECK_INT(fclose(file), 0);
}

static size_t size_of(const char *path)
{
    bytes file = load_file(path);
    free(file.at);
    return file.n;
}

static bool same_blocks(const fp_source *a, const fp_source *b)
{
    bool same = a->n_blocks == b->n_blocks;
    for (size_t i = 0; same && i < a->n_blocks; i++) {
        const fp_block *x = &a->blocks[i], *y = &b->blocks[i];
        same = x->offset == y->offset && x->bytes == y->bytes && x->n_rows == y->n_rows &&
               x->n_pages == y->n_pages && x->all_ok == y->all_ok && x->date_min == y->date_min &&
               x->date_max == y->date_max && x->timestamp_min == y->timestamp_min &&
               x->timestamp_max == y->timestamp_max && strcmp(x->code_min, y->code_min) == 0 &&
               strcmp(x->code_max, y->code_max) == 0 &&
               memcmp(x->status_rows, y->status_rows, sizeof x->status_rows) == 0;
    }
    return same;
}

static void any_flipped_bit_of_an_index_costs_nothing(void)
{
    static const char *const names[] = {"index.fpb", "index.arrow"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = path_of(names[i]);
        fp_source *whole, *found;
        rows r;
        write_sample(path, &r);
        CHECK_OK(fp_source_open(&whole, path, NULL, &err), err);
        size_t n_bits = size_of(path) * 8;
        const fp_block *last = &whole->blocks[whole->n_blocks - 1];
        for (size_t bit = (size_t)(last->offset + last->bytes) * 8; bit < n_bits; bit += 3) {
            flip(path, bit);
            CHECK_OK(fp_source_open(&found, path, NULL, &err), err);
            CHECK(same_blocks(whole, found));
            fp_source_release(found);
            flip(path, bit);
        }
        fp_source_release(whole);
        rows_free(&r);
    }
}

static void any_flipped_bit_of_a_file_header_is_found(void)
{
    static const char *const names[] = {"file.fpb", "file.arrow"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = path_of(names[i]);
        fp_source *source;
        rows r;
        write_sample(path, &r);
        CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
        size_t n_bits = (size_t)source->blocks[0].offset * 8;
        fp_source_release(source);
        for (size_t bit = 0; bit < n_bits; bit++) {
            flip(path, bit);
            int rc = fp_source_open(&source, path, NULL, &err);
            CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
            flip(path, bit);
        }
        rows_free(&r);
    }
}

/* Wherever a bit of a block is wrong: no row is. A prime step meets all parts and all bits. */
static void a_flipped_bit_of_a_block_is_never_a_wrong_row(void)
{
    static const char *const names[] = {"rows.fpb", "rows.arrow", "rows.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = path_of(names[i]);
        rows r, found;
        write_sample(path, &r);
        size_t n_bits = size_of(path) * 8, n_damaged = 0;
        for (size_t bit = 1; bit < n_bits; bit += 101) {
            uint64_t n_bad, tail;
            flip(path, bit);
            int rc = read_file(path, &found, &n_bad, &tail, &err);
            CHECK(rc == 0 || rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
            CHECK(rc || rows_are_among(&found, &r));
            n_damaged += rc || found.corrupt_blocks || n_bad || tail;
            if (!rc)
                rows_free(&found);
            flip(path, bit);
        }
        CHECK(n_damaged > n_bits / 101 / 4);
        rows_free(&r);
    }
}

int main(void)
{
    make_folder();
    RUN(a_block_has_between_1_and_65536_rows);
    RUN(numbers_of_rows_pages_and_codes_agree);
    RUN(parts_fit_into_their_block);
    RUN(ranges_begin_before_they_end);
    RUN(a_block_is_at_home_in_one_place_of_one_file);
    RUN(every_bit_of_a_header_counts);
    RUN(any_flipped_bit_of_an_index_costs_nothing);
    RUN(any_flipped_bit_of_a_file_header_is_found);
    RUN(a_flipped_bit_of_a_block_is_never_a_wrong_row);
    remove_folder();
    return TEST_END();
}
