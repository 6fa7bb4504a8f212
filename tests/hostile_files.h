/* Files that someone made who knows the formats and means harm, and what looking into them costs,
 * for the tests of it. All checksums are right, and counts, lengths and texts are what is worst.
 * Looking into such a file, verifying it and reading all its rows holds no more than five times
 * the file's size and 8 MiB of memory (rows that are asked for in batches: and what one batch of
 * them takes), and reads no more than eight times the file's size and 256 KiB. Included by test
 * programs; everything is static. */
#ifndef FP_HOSTILE_FILES_H
#define FP_HOSTILE_FILES_H

#include "cost_of_calls.h"

#include <facpool/facpool.h>

#include "base/buffer.h"
#include "codec/checksum.h"
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

static inline int look_for_info(const char *path)
{
    const facpool_info *info = NULL;
    int rc = facpool_backup_info(&info, path, &err);
    facpool_info_free(info);
    return rc;
}

static inline int verify(const char *path)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    return facpool_backup_verify(path, &report, &err);
}

/* All rows, of all statuses; damaged blocks are passed over. */
static inline int read_rows(const char *path, int32_t order, bool in_batches)
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

static inline int read_as_stored(const char *path)
{
    return read_rows(path, FACPOOL_ORDER_FILE, false);
}

static inline int read_in_order(const char *path)
{
    return read_rows(path, FACPOOL_ORDER_KEY, false);
}

static inline int read_batches(const char *path)
{
    return read_rows(path, FACPOOL_ORDER_FILE, true);
}

/* What the file says of itself, where it can be had: resuming needs its factors. */
static const facpool_info *said;

static int leave_factors(const facpool_task *task, double *factors, void *user)
{
    (void)task, (void)factors, (void)user;
    return 0;
}

static inline int run_one_task(const char *path, bool dry)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    CHECK_OK(facpool_tasks_add(tasks, 1, "a", &err), err);
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.durability = FACPOOL_DURABILITY_NONE;
    backup.no_async = 1;
    options.backup = &backup;
    options.n_factors = said ? said->n_factors : 1;
    options.factor_names = said ? said->factor_names : NULL;
    options.fn = leave_factors;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.results = FACPOOL_RESULTS_DROP;
    options.dry_run = dry;
    int rc = facpool_run(tasks, &options, &result, &err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return rc;
}

/* What resuming would find. */
static inline int plan_to_resume(const char *path)
{
    return run_one_task(path, true);
}

/* The same in earnest: damage is given up, a torn tail cut off, a row stored, the file closed. */
static inline int resume(const char *path)
{
    return run_one_task(path, false);
}

static inline int open_writer(const char *path)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_writer *writer = NULL;
    backup.path = path;
    backup.mode = FACPOOL_MODE_RESUME;
    backup.durability = FACPOOL_DURABILITY_NONE;
    int rc = facpool_writer_open(&writer, &backup, said ? said->factor_names : NULL,
                                 said ? said->n_factors : 1, &err);
    return rc ? rc : facpool_writer_close(writer, &err);
}

static const looking lookings[] = {{"info", look_for_info},   {"verify", verify},
                                   {"rows", read_as_stored},  {"rows in order", read_in_order},
                                   {"batches", read_batches}, {"resume", plan_to_resume}};

/* These write to the file, and are done to copies of it. */
static const looking writings[] = {{"resume, run", resume}, {"writer", open_writer}};

/* What a writer remembers of a row, at the most. */
#define KEY_BYTES 200

/* Holes stay holes. */
static inline void copy_file(const char *from, const char *to)
{
    static char bytes[65536];
    static const char zeros[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(in >= 0 && out >= 0);
    ssize_t n;
    off_t at = 0;
    for (; (n = read(in, bytes, sizeof bytes)) > 0; at += n)
        if (memcmp(bytes, zeros, (size_t)n) != 0)
            CHECK_INT(pwrite(out, bytes, (size_t)n, at), n);
    CHECK_INT(ftruncate(out, at), 0);
    close(in);
    close(out);
}

static inline void check_cost(const char *name, const looking *l, const char *path, size_t file,
                              size_t more_bytes)
{
    size_t before;
    cost_begin(&before);
    int rc = l->look(path);
    cost c = cost_end(before);
    printf("     %-28s %-13s %9zu KiB file: held %7zu KiB, read %8zu KiB in %zu reads, %s\n", name,
           l->what, file >> 10, c.most_bytes >> 10, c.read_bytes >> 10, c.n_reads,
           rc ? facpool_error_name(rc) : "ok");
    CHECK_INT(costs.held, before); /* nothing is left */
    CHECK(c.most_bytes <= 5 * file + 8 * MIB + more_bytes);
    CHECK(c.read_bytes <= 8 * file + MIB / 4);
}

/* What a run holds for itself, whatever its backup has: on a new file. */
static inline size_t cost_of_a_run(const char *path)
{
    size_t before;
    cost_begin(&before);
    CHECK_OK(resume(path), err);
    size_t bytes = cost_end(before).most_bytes;
    unlink(path);
    return bytes;
}

/* `batch_bytes`: what a batch of the file's rows is large, decoded. */
static inline void check_costs(const char *name, const char *path, size_t batch_bytes)
{
    size_t file = (size_t)file_bytes(path), n_rows = 0;
    char copy[4096];
    snprintf(copy, sizeof copy, "%s.copy%s", path, strrchr(path, '.'));
    said = NULL;
    (void)facpool_backup_info(&said, path, &err);
    for (size_t status = 0; said && status < 6; status++)
        n_rows += (size_t)said->rows[status];
    for (size_t i = 0; i < sizeof lookings / sizeof *lookings; i++)
        check_cost(name, &lookings[i], path, file, batch_bytes);
    for (size_t i = 0; i < sizeof writings / sizeof *writings; i++) {
        size_t own_bytes = i ? n_rows * KEY_BYTES : cost_of_a_run(copy);
        copy_file(path, copy);
        check_cost(name, &writings[i], copy, file, batch_bytes + own_bytes);
        unlink(copy);
    }
    facpool_info_free(said);
    unlink(path);
}

/* ------------------------------------------------------------------ files */

static const char *const suffixes[] = {"fpb", "jsonl", "arrow"};

static inline void write_rows(const char *path, size_t n_rows, size_t n_factors, bool with_failures)
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

static inline void put(fp_buffer *to, const void *bytes, size_t n)
{
    CHECK_INT(fp_buffer_put(to, bytes, n), 0);
}

static inline void take_apart(parts *p)
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

static inline void forget(parts *p)
{
    fp_buffer_free(&p->header);
    fp_buffer_free(&p->directory);
    fp_buffer_free(&p->dictionary);
    fp_buffer_free(&p->chunks);
}

/* Makes lengths and checksums of the block right, and appends it. */
static inline void add_block(parts *p, fp_buffer *file, uint64_t sequence, uint64_t durable_end)
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
static inline void add_claim(parts *p, fp_buffer *file, uint64_t sequence)
{
    fp_seal seal = {.offset = file->size, .sequence = sequence, .durable_end = file->size};
    fp_front_seal(p->block, &seal);
    put(file, p->block, fp_load_u32(p->block + FP_BLOCK_HEADER_BYTES));
}

static inline const char *write_file(const char *name, const fp_buffer *file, size_t sparse_bytes)
{
    const char *path = scratch_path(name);
    CHECK(file_write(path, file->data, file->size));
    if (sparse_bytes > file->size)
        CHECK_INT(truncate(path, (off_t)sparse_bytes), 0);
    return path;
}

#endif
