/* Proves that what a hostile file claims is believed only as far as the file is long: counts and
 * lengths at their worst, in every place of a block, of a file's header and of an Arrow file;
 * frames that grow when they are decompressed. What such a file may cost is said in
 * hostile_files.h; long ones are test_hostile_lengths.c. */
#include <zstd.h>

#include "hostile_files.h"

/* ------------------------------------------------------------------ counts and lengths */

/* Every 32-bit and 64-bit number of a block's header, at its worst, before a long hole. */
static void what_a_block_claims_is_believed_as_far_as_the_file_goes(void)
{
    static const uint64_t worst[] = {0xffffffffffffffff,
                                     0x7fffffffffffffff,
                                     0xffffffff,
                                     0x80000000,
                                     0x7fffffff,
                                     0x40000000,
                                     65536,
                                     65535,
                                     1};
    static const uint32_t fields[] = {
        FP_BLOCK_BYTES,          FP_BLOCK_N_ROWS,           FP_BLOCK_N_PAGES,
        FP_BLOCK_N_CODES,        FP_BLOCK_DICTIONARY_BYTES, FP_BLOCK_N_COLUMNS,
        FP_BLOCK_DIRECTORY_BYTES};
    size_t n = 0;
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        for (size_t w = 0; w < sizeof worst / sizeof *worst; w++) {
            parts p;
            fp_buffer file = {0};
            size_t before;
            take_apart(&p);
            put(&file, p.header.data, p.header.size);
            add_block(&p, &file, 0, file.size);
            if (fields[f] == FP_BLOCK_BYTES)
                fp_store_u64(p.block + fields[f], worst[w] & ~UINT64_C(63));
            else
                fp_store_u32(p.block + fields[f], (uint32_t)worst[w]);
            add_claim(&p, &file, 1);
            const char *path = write_file("claims.fpb", &file, 0);
            for (size_t i = 0; i < sizeof lookings / sizeof *lookings; i++) {
                cost_begin(&before);
                (void)lookings[i].look(path);
                cost c = cost_end(before);
                CHECK(c.most_bytes <= 8 * MIB);
                CHECK(c.read_bytes <= 8 * MIB);
            }
            fp_buffer_free(&file);
            forget(&p);
            n++;
        }
    printf("     %zu claims\n", n);
}

/* All sizes add up to 1 GiB, which the file has, of zeros that are nowhere on the disk; but no
 * dictionary of one code is so large. */
static void a_gigabyte_of_nothing_is_not_held(void)
{
    parts p;
    fp_buffer file = {0};
    take_apart(&p);
    put(&file, p.header.data, p.header.size);
    uint64_t all = (uint64_t)of_tier(64, 256, 1024) * MIB;
    fp_store_u64(p.block + FP_BLOCK_BYTES, all);
    fp_store_u32(p.block + FP_BLOCK_N_CODES, 1);
    fp_store_u32(p.block + FP_BLOCK_DICTIONARY_BYTES,
                 (uint32_t)(all - p.block_header_bytes - p.directory.size));
    add_claim(&p, &file, 0);
    size_t size = file.size + (size_t)all;
    const char *path = write_file("sparse.fpb", &file, size);
    for (size_t i = 0; i < sizeof lookings / sizeof *lookings; i++) {
        size_t before;
        cost_begin(&before);
        (void)lookings[i].look(path);
        CHECK(cost_end(before).most_bytes <= 8 * MIB);
    }
    unlink(path);
    fp_buffer_free(&file);
    forget(&p);
}

/* A file's header that claims to be as long, or to have as many factors, as any. */
static void what_a_files_header_claims_is_believed_as_far_as_the_file_goes(void)
{
    static const uint32_t lengths[] = {0xffffffc0, 32u << 20, (32u << 20) + 64, 64, 128};
    static const uint32_t factors[] = {0xffffffff, 65535, 65536, 0};
    for (size_t l = 0; l < 5; l++)
        for (size_t f = 0; f < 4; f++) {
            parts p;
            take_apart(&p);
            fp_store_u32(p.header.data + 24, lengths[l]);
            fp_store_u32(p.header.data + 28, factors[f]);
            size_t covered = lengths[l] < p.header.size ? lengths[l] : p.header.size;
            fp_store_u64(p.header.data + 8, fp_checksum(p.header.data + 16, covered - 16));
            const char *path = write_file("header.fpb", &p.header, 0);
            for (size_t i = 0; i < sizeof lookings / sizeof *lookings; i++) {
                size_t before;
                cost_begin(&before);
                CHECK(lookings[i].look(path) < 0);
                CHECK(cost_end(before).most_bytes <= 2 * MIB);
            }
            forget(&p);
        }
}

/* ------------------------------------------------------------------ bombs */

/* Zeros, so many that `bytes` of a frame hold them; its end is a frame to be skipped, so that it is
 * of any length that is asked for. */
static void make_bomb(fp_buffer *out, size_t content, bool says_size)
{
    uint8_t *zeros = calloc(1, content);
    size_t most = ZSTD_compressBound(content);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    CHECK(zeros && context && fp_buffer_reserve(out, most));
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 3);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, says_size);
    size_t n = ZSTD_compress2(context, out->data + out->size, most, zeros, content);
    CHECK(!ZSTD_isError(n));
    out->size += n;
    ZSTD_freeCCtx(context);
    free(zeros);
}

/* In the place of the last chunk: 3 columns and a factor, each of one page. */
static void set_last_chunk(parts *p, const fp_buffer *chunk, uint8_t encoding)
{
    uint8_t *entry = p->directory.data + p->directory.size - 16;
    p->chunks.size -= fp_load_u32(entry + 8);
    put(&p->chunks, chunk->data, chunk->size);
    fp_store_u64(entry, fp_checksum(chunk->data, chunk->size));
    fp_store_u32(entry + 8, (uint32_t)chunk->size);
    entry[12] = encoding;
}

static void compressed_bombs_do_not_go_off(void)
{
    for (int says_size = 0; says_size < 2; says_size++)
        for (int in_dictionary = 0; in_dictionary < 2; in_dictionary++) {
            parts p;
            fp_buffer file = {0}, bomb = {0};
            uint8_t is_compressed = 1;
            take_apart(&p);
            put(&file, p.header.data, p.header.size);
            if (in_dictionary)
                put(&bomb, &is_compressed, 1);
            make_bomb(&bomb, 128 * MIB, says_size);
            if (in_dictionary) {
                p.dictionary.size = 0;
                put(&p.dictionary, bomb.data, bomb.size);
            } else {
                set_last_chunk(&p, &bomb, 5); /* ZSTD */
            }
            add_block(&p, &file, 0, file.size);
            check_costs(in_dictionary ? "bomb in the dictionary" : "bomb in a column",
                        write_file("bomb.fpb", &file, 0), 0);
            fp_buffer_free(&file);
            fp_buffer_free(&bomb);
            forget(&p);
        }
}

/* A block of as many rows and codes as there can be, whose dictionary is a frame that is large. */
static void a_dictionary_is_no_larger_than_its_codes_can_be(void)
{
    parts p;
    fp_buffer file = {0}, bomb = {0};
    uint8_t is_compressed = 1;
    take_apart(&p);
    put(&file, p.header.data, p.header.size);
    put(&bomb, &is_compressed, 1);
    make_bomb(&bomb, 128 * MIB, true);
    uint32_t directory = 64 * (FP_PAGE_ENTRY_BYTES + 4 * 16);
    CHECK(fp_buffer_reserve(&p.directory, directory));
    memset(p.directory.data, 0, directory);
    p.directory.size = directory;
    fp_store_u32(p.directory.data + directory - 8, (uint32_t)p.chunks.size);
    fp_store_u32(p.block + FP_BLOCK_N_ROWS, 65536);
    fp_store_u32(p.block + FP_BLOCK_STATUS_ROWS + 4 * FACPOOL_STATUS_OK, 65536);
    fp_store_u32(p.block + FP_BLOCK_N_PAGES, 64);
    fp_store_u32(p.block + FP_BLOCK_N_CODES, 65536);
    p.dictionary.size = 0;
    put(&p.dictionary, bomb.data, bomb.size);
    add_block(&p, &file, 0, file.size);
    /* Nothing checks it before it is read: it lies below what the next block says was synced. */
    parts next;
    take_apart(&next);
    memcpy(next.block + FP_BLOCK_FILE_ID, p.header.data + 32, 8);
    add_block(&next, &file, 1, file.size);
    forget(&next);
    check_costs("dictionary of large codes", write_file("codes.fpb", &file, 0), 0);
    fp_buffer_free(&file);
    fp_buffer_free(&bomb);
    forget(&p);
}

/* Rows so wide, and so many of them, as no writer puts into a block. */
static void a_block_is_no_larger_than_writers_make_it(void)
{
    enum { ROWS = 1024, FACTORS = 8192 };
    const char *path = scratch_path("wide.fpb");
    size_t size;
    write_rows(path, ROWS, FACTORS, false);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    size_t at = fp_load_u32(bytes + 24);
    uint8_t *block = bytes + at;
    size_t header = fp_load_u32(block + FP_BLOCK_HEADER_BYTES);
    uint32_t columns = fp_load_u32(block + FP_BLOCK_N_COLUMNS), n_pages = 64;
    uint32_t directory = n_pages * (FP_PAGE_ENTRY_BYTES + columns * 16);
    fp_buffer file = {0};
    put(&file, bytes, at + header);
    uint8_t *to = file.data + at;
    size_t block_bytes = header + directory + fp_load_u32(block + FP_BLOCK_DICTIONARY_BYTES);
    block_bytes += fp_front_padding(block_bytes);
    fp_store_u32(to + FP_BLOCK_N_ROWS, 65536);
    fp_store_u32(to + FP_BLOCK_STATUS_ROWS + 4 * FACPOOL_STATUS_OK, 65536);
    fp_store_u32(to + FP_BLOCK_N_PAGES, n_pages);
    fp_store_u32(to + FP_BLOCK_DIRECTORY_BYTES, directory);
    fp_store_u64(to + FP_BLOCK_BYTES, block_bytes);
    fp_seal seal = {.offset = at, .unsynced = true};
    fp_front_seal(to, &seal);
    fp_schema schema = {0};
    memcpy(schema.file_id, bytes + 32, sizeof schema.file_id);
    schema.names.n = FACTORS;
    fp_front_rules rules = fp_binary_rules(FACTORS);
    fp_front_header parsed;
    CHECK(!fp_front_parse(&rules, &schema, at, to, header, &parsed));
    fp_buffer_free(&file);
    free(bytes);
    unlink(path);
}

/* ------------------------------------------------------------------ Arrow */

/* Every 32-bit word of the header, of a message and of the footer, at its worst. */
static void what_an_arrow_file_claims_is_believed_as_far_as_it_goes(void)
{
    static const uint32_t worst[] = {0xffffffff, 0x7fffffff, 4};
    const char *path = scratch_path("claims.arrow");
    size_t size, n = 0, step = of_tier(36, 12, 4);
    write_rows(path, 3, 2, true);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    for (size_t at = 8; at + 4 <= size; at += step)
        for (size_t w = 0; w < (step > 4 ? 2 : 3); w++) {
            uint8_t kept[4];
            size_t before;
            memcpy(kept, bytes + at, 4);
            fp_store_u32(bytes + at, worst[w]);
            CHECK(file_write(path, bytes, size));
            for (size_t i = 0; i < 3; i++) {
                cost_begin(&before);
                (void)lookings[i].look(path);
                CHECK(cost_end(before).most_bytes <= 4 * MIB);
            }
            memcpy(bytes + at, kept, 4);
            n++;
        }
    printf("     %zu claims\n", n);
    free(bytes);
    unlink(path);
}

int main(void)
{
    if (!scratch_make("hostile"))
        return 1;
    RUN(what_a_block_claims_is_believed_as_far_as_the_file_goes);
    RUN(a_gigabyte_of_nothing_is_not_held);
    RUN(what_a_files_header_claims_is_believed_as_far_as_the_file_goes);
    RUN(compressed_bombs_do_not_go_off);
    RUN(a_dictionary_is_no_larger_than_its_codes_can_be);
    RUN(a_block_is_no_larger_than_writers_make_it);
    RUN(what_an_arrow_file_claims_is_believed_as_far_as_it_goes);
    scratch_remove();
    return TEST_END();
}
