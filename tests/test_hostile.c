/* Proves what a file costs at most that someone made who knows the formats and means harm: all its
 * checksums are right, and its counts, lengths and texts are what is worst. Looking into it,
 * verifying it and reading all its rows holds no more than three times the file's size and 64 MiB
 * of memory (rows that are asked for in batches: and what one batch of them takes), and reads no
 * more than eight times the file's size; and it ends. What the file claims is believed only as far
 * as the file is long. */
#include "cost_of_calls.h"

#include <facpool/facpool.h>
#include <zstd.h>

#include "base/buffer.h"
#include "codec/checksum.h"
#include "codec/codec.h"
#include "scratch.h"
#include "store/binary.h"
#include "store/front.h"
#include "test.h"

#define MIB ((size_t)1 << 20)

static facpool_error err = FACPOOL_ERROR_INIT;

/* ------------------------------------------------------------------ the bound */

typedef struct looking {
    const char *what;
    int (*look)(const char *path);
} looking;

static int look_for_info(const char *path)
{
    const facpool_info *info = NULL;
    int rc = facpool_backup_info(&info, path, &err);
    facpool_info_free(info);
    return rc;
}

static int verify(const char *path)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    return facpool_backup_verify(path, &report, &err);
}

/* All rows, of all statuses; damaged blocks are passed over. */
static int read_rows(const char *path, int32_t order, bool in_batches)
{
    facpool_reader *reader = NULL;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = order;
    int rc = facpool_reader_open(&reader, &path, 1, &err);
    if (!rc)
        rc = facpool_query(reader, &filter, &cursor, &err);
    for (size_t n = 0; !rc && n < 10000000; n++) {
        int got = in_batches ? facpool_cursor_next_batch(cursor, &view, &err)
                             : facpool_cursor_next(cursor, &row, &err);
        if (got != 1 && got != FACPOOL_E_CORRUPT) {
            rc = got;
            break;
        }
    }
    facpool_cursor_free(cursor);
    facpool_reader_free(reader);
    return rc;
}

static int read_as_stored(const char *path)
{
    return read_rows(path, FACPOOL_ORDER_FILE, false);
}

static int read_in_order(const char *path)
{
    return read_rows(path, FACPOOL_ORDER_KEY, false);
}

static int read_batches(const char *path)
{
    return read_rows(path, FACPOOL_ORDER_FILE, true);
}

/* What resuming would find. */
static int plan_to_resume(const char *path)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    CHECK_OK(facpool_tasks_add(tasks, 1, "a", &err), err);
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    options.backup = &backup;
    options.n_factors = 1;
    options.dry_run = 1;
    options.workers = 1;
    facpool_job *job = NULL;
    int rc = facpool_job_open(&job, tasks, &options, &err);
    if (!rc)
        rc = facpool_job_finish(job, &result, &err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return rc;
}

static const looking lookings[] = {{"info", look_for_info},   {"verify", verify},
                                   {"rows", read_as_stored},  {"rows in order", read_in_order},
                                   {"batches", read_batches}, {"resume", plan_to_resume}};

/* `batch_bytes`: what a batch of the file's rows is large, decoded. */
static void check_costs(const char *name, const char *path, size_t batch_bytes)
{
    size_t file = (size_t)file_bytes(path);
    for (size_t i = 0; i < sizeof lookings / sizeof *lookings; i++) {
        size_t before;
        cost_begin(&before);
        int rc = lookings[i].look(path);
        cost c = cost_end(before);
        printf("     %-28s %-13s %9zu KiB file: held %7zu KiB, read %8zu KiB in %zu reads, %s\n",
               name, lookings[i].what, file >> 10, c.most_bytes >> 10, c.read_bytes >> 10,
               c.n_reads, rc ? facpool_error_name(rc) : "ok");
        CHECK_INT(costs.held, before); /* nothing is left */
        CHECK(c.most_bytes <= 3 * file + 64 * MIB + batch_bytes);
        CHECK(c.read_bytes <= 8 * file + 4 * MIB);
    }
    unlink(path);
}

/* ------------------------------------------------------------------ files */

static const char *const suffixes[] = {"fpb", "jsonl", "arrow"};

static void write_rows(const char *path, size_t n_rows, size_t n_factors, bool with_failures)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_writer *writer = NULL;
    double *factors = calloc(n_rows + 1, n_factors * sizeof *factors);
    int64_t *dates = calloc(n_rows + 1, sizeof *dates);
    const char **codes = calloc(n_rows + 1, sizeof *codes);
    uint8_t *statuses = calloc(n_rows + 1, 1);
    facpool_rows rows = FACPOOL_ROWS_INIT;
    for (size_t i = 0; i < n_rows; i++) {
        dates[i] = 1 + (int64_t)i;
        codes[i] = "a";
        statuses[i] = with_failures && i % 2 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK;
    }
    backup.path = path;
    backup.durability = FACPOOL_DURABILITY_NONE;
    rows.n = n_rows;
    rows.dates = dates;
    rows.codes = codes;
    rows.statuses = statuses;
    rows.factors = factors;
    CHECK_OK(facpool_writer_open(&writer, &backup, NULL, n_factors, &err), err);
    if (n_rows)
        CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    free(factors);
    free(dates);
    free(codes);
    free(statuses);
}

/* A binary file with one block of one row and one factor, in its parts. */
typedef struct parts {
    fp_buffer header; /* of the file */
    uint8_t block[1024];
    uint32_t block_header_bytes;
    fp_buffer directory;
    fp_buffer dictionary;
    fp_buffer chunks;
} parts;

static void put(fp_buffer *to, const void *bytes, size_t n)
{
    CHECK_INT(fp_buffer_put(to, bytes, n), 0);
}

static void take_apart(parts *p)
{
    size_t size;
    const char *path = scratch_path("one.fpb");
    *p = (parts){0};
    write_rows(path, 1, 1, false);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    unlink(path);
    size_t at = fp_load_u32(bytes + 24);
    const uint8_t *block = bytes + at;
    p->block_header_bytes = fp_load_u32(block + FP_BLOCK_HEADER_BYTES);
    uint32_t directory = fp_load_u32(block + FP_BLOCK_DIRECTORY_BYTES);
    uint32_t dictionary = fp_load_u32(block + FP_BLOCK_DICTIONARY_BYTES);
    size_t front = p->block_header_bytes + directory + dictionary;
    put(&p->header, bytes, at);
    memcpy(p->block, block, p->block_header_bytes);
    put(&p->directory, block + p->block_header_bytes, directory);
    put(&p->dictionary, block + p->block_header_bytes + directory, dictionary);
    put(&p->chunks, block + front, (size_t)fp_load_u64(block + FP_BLOCK_BYTES) - front);
    free(bytes);
}

static void forget(parts *p)
{
    fp_buffer_free(&p->header);
    fp_buffer_free(&p->directory);
    fp_buffer_free(&p->dictionary);
    fp_buffer_free(&p->chunks);
}

/* Makes lengths and checksums of the block right, and appends it. */
static void add_block(parts *p, fp_buffer *file, uint64_t sequence, uint64_t durable_end)
{
    uint32_t texts =
        FP_BLOCK_TEXTS + p->block[FP_BLOCK_CODE_MIN_BYTES] + p->block[FP_BLOCK_CODE_MAX_BYTES] + 2;
    size_t rest = p->directory.size + p->dictionary.size + p->chunks.size;
    uint32_t header = texts + fp_front_padding(texts + rest);
    memset(p->block + texts, 0, header - texts);
    fp_store_u32(p->block + FP_BLOCK_HEADER_BYTES, header);
    fp_store_u64(p->block + FP_BLOCK_BYTES, header + rest);
    fp_store_u32(p->block + FP_BLOCK_DIRECTORY_BYTES, (uint32_t)p->directory.size);
    fp_store_u32(p->block + FP_BLOCK_DICTIONARY_BYTES, (uint32_t)p->dictionary.size);
    fp_store_u64(p->block + FP_BLOCK_DIRECTORY_CHECKSUM,
                 fp_checksum(p->directory.data, p->directory.size));
    fp_store_u64(p->block + FP_BLOCK_DICTIONARY_CHECKSUM,
                 fp_checksum(p->dictionary.data, p->dictionary.size));
    fp_seal seal = {.offset = file->size, .sequence = sequence, .durable_end = durable_end};
    fp_front_seal(p->block, &seal);
    put(file, p->block, header);
    put(file, p->directory.data, p->directory.size);
    put(file, p->dictionary.data, p->dictionary.size);
    put(file, p->chunks.data, p->chunks.size);
}

/* The same for a block header that claims what it will, with nothing behind it. */
static void add_claim(parts *p, fp_buffer *file, uint64_t sequence)
{
    fp_seal seal = {.offset = file->size, .sequence = sequence, .durable_end = file->size};
    fp_front_seal(p->block, &seal);
    put(file, p->block, fp_load_u32(p->block + FP_BLOCK_HEADER_BYTES));
}

static const char *write_file(const char *name, const fp_buffer *file, size_t sparse_bytes)
{
    const char *path = scratch_path(name);
    CHECK(file_write(path, file->data, file->size));
    if (sparse_bytes > file->size)
        CHECK_INT(truncate(path, (off_t)sparse_bytes), 0);
    return path;
}

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

/* Each row before the one before: each is a block of its own. */
static void rows_that_descend_cost_what_they_are_long(void)
{
    size_t n = of_tier(2000, 10000, 100000), size;
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

int main(void)
{
    if (!scratch_make("hostile", true))
        return 1;
    RUN(what_a_block_claims_is_believed_as_far_as_the_file_goes);
    RUN(a_gigabyte_of_nothing_is_not_held);
    RUN(what_a_files_header_claims_is_believed_as_far_as_the_file_goes);
    RUN(compressed_bombs_do_not_go_off);
    RUN(a_dictionary_is_no_larger_than_its_codes_can_be);
    RUN(a_block_is_no_larger_than_writers_make_it);
    RUN(many_equal_columns_cost_what_a_batch_of_them_is);
    RUN(very_many_blocks_cost_what_they_are_long);
    RUN(magic_numbers_alone_are_passed_over);
    RUN(lines_of_any_length_are_not_held);
    RUN(lines_that_are_no_rows_cost_what_they_are_long);
    RUN(rows_that_descend_cost_what_they_are_long);
    RUN(what_an_arrow_file_claims_is_believed_as_far_as_it_goes);
    RUN(a_file_of_nothing_but_a_hole_costs_little);
    scratch_remove();
    return TEST_END();
}
