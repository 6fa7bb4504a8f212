/* Damaged files: truncated at every byte, every bit flipped, blocks moved about, headers that lie.
 * Never a crash, never a wrong row; damage is told from a torn tail, and both are reported. */
#include <sys/syscall.h>

#include "base/buffer.h"
#include "codec/checksum.h"
#include "no_sync.h"
#include "store/binary.h"
#include "damage_outcome.h"
#include "tiers.h"

static facpool_error err = FACPOOL_ERROR_INIT;

enum { BLOCK_ROWS = 20, N_BLOCKS = 6 };

/* A small backup with ok and not-ok blocks of like size, closed; all of it is known. */
typedef struct sample {
    bytes file;
    rows expected;                  /* sorted */
    uint64_t offsets[N_BLOCKS + 1]; /* of blocks; the last one is the index block's */
    size_t header_end;
} sample;

static rows sample_rows(void)
{
    rows r = {0};
    for (size_t i = 0; i < BLOCK_ROWS * N_BLOCKS; i++)
        *rows_add(&r) =
            row_of(i, 10, i / BLOCK_ROWS % 3 == 2 ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK);
    return r;
}

static sample make_sample(const char *path, int durability)
{
    sample s = {.expected = sample_rows()};
    facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
    options.durability = durability;
    CHECK_OK(write_rows(&options, &s.expected, BLOCK_ROWS, &err), err);
    rows_sort(&s.expected);
    s.file = load_file(path);
    s.header_end = fp_load_u32(s.file.at + FP_FILE_HEADER_BYTES);
    uint64_t at = s.header_end;
    for (size_t i = 0; i <= N_BLOCKS; i++) {
        s.offsets[i] = at;
        at += fp_load_u64(s.file.at + at + FP_BLOCK_BYTES);
    }
    CHECK_INT(at, s.file.n);
    return s;
}

static void free_sample(sample *s)
{
    free(s->file.at);
    rows_free(&s->expected);
}

/* How many rows the whole blocks in the first `n` bytes hold. */
static size_t rows_in_prefix(const sample *s, size_t n)
{
    size_t blocks = 0;
    while (blocks < N_BLOCKS && s->offsets[blocks + 1] <= n)
        blocks++;
    return blocks * BLOCK_ROWS;
}

static void a_file_cut_at_any_byte_gives_its_whole_blocks(void)
{
    const char *path = path_of("cut.fpb");
    sample s = make_sample(path, 0);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    size_t step = of_tier(5, 1, 1);
    for (size_t n = 0; n < s.file.n; n += step) {
        save_file(path, s.file.at, n);
        outcome o = look_at(path, &s.expected, &context, &err);
        CHECK(o.rows_are_right);
        if (n < s.header_end) {
            CHECK(o.open_rc == FACPOOL_E_CORRUPT || o.open_rc == FACPOOL_E_UNSUPPORTED);
            continue;
        }
        CHECK_INT(o.open_rc, 0);
        CHECK_INT(o.n_rows, rows_in_prefix(&s, n));
        CHECK_INT(o.n_damaged, 0);
    }
    fp_read_context_free(&context);
    free_sample(&s);
}

static void a_torn_file_is_resumed_at_any_byte(void)
{
    const char *path = path_of("torn.fpb");
    sample s = make_sample(path, 0);
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    size_t step = of_tier(5, 1, 1);
    for (size_t n = s.header_end; n < s.file.n; n += step) {
        save_file(path, s.file.at, n);
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink_of_all(&sink, &options, &opening, &err), err);
        size_t kept = rows_in_prefix(&s, n);
        uint64_t end = s.offsets[kept / BLOCK_ROWS];
        CHECK_INT(opening.tail_bytes_cut, n - end);
        bytes cut = load_file(path); /* cut before anything is appended */
        CHECK_INT(cut.n, end);
        free(cut.at);
        CHECK_INT(opening.damaged_blocks, 0);
        rows all = sample_rows();
        all.n = kept;
        *rows_add(&all) = row_of(99999, 10, FACPOOL_STATUS_OK);
        CHECK_OK(append_rows(sink, &all, kept, 1, &err), err);
        CHECK_OK(fp_sink_close(sink, &err), err);
        bytes resumed = load_file(path); /* and synced: the new block says so */
        CHECK_INT(fp_load_u64(resumed.at + end + FP_BLOCK_DURABLE_END), end);
        free(resumed.at);
        rows found = {0};
        uint64_t tail = 0;
        CHECK_OK(read_file(path, &found, NULL, &tail, &err), err);
        rows_sort(&all);
        CHECK(rows_are_same(&found, &all));
        CHECK_INT(tail, 0);
        rows_free(&found);
        rows_free(&all);
    }
    free_sample(&s);
}

/* The same bits of a file that was closed, and of one whose writer was killed before it closed. */
static void flip_every_bit(const sample *s, const char *path, size_t n)
{
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    size_t whole = rows_in_prefix(s, n);
    save_file(path, s->file.at, n);
    FILE *file = fopen(path, "r+b");
    setvbuf(file, NULL, _IONBF, 0);
    size_t step = of_tier(7, 1, 1); /* odd, so that every bit of a byte has its turn */
    for (size_t bit = 0; bit < n * 8; bit += step) {
        int was = s->file.at[bit / 8];
        fseek(file, (long)(bit / 8), SEEK_SET);
        fputc(was ^ 1 << bit % 8, file);
        outcome o = look_at(path, &s->expected, &context, &err);
        CHECK(o.rows_are_right);
        CHECK(o.n_rows == whole || o.is_reported);
        facpool_verify_report report = {0};
        int rc = fp_store_verify(path, &report, &err);
        CHECK(rc || report.tail_bytes > 0);
        CHECK(rc != FACPOOL_E_CORRUPT || o.open_rc || report.damaged_blocks > 0);
        fseek(file, (long)(bit / 8), SEEK_SET);
        fputc(was, file);
    }
    fclose(file);
    fp_read_context_free(&context);
}

static void every_flipped_bit_of_a_closed_file_is_found(void)
{
    const char *path = path_of("flip.fpb");
    sample s = make_sample(path, 0);
    flip_every_bit(&s, path, s.file.n);
    free_sample(&s);
}

static void every_flipped_bit_of_an_open_file_is_found(void)
{
    const char *path = path_of("flip-open.fpb");
    sample s = make_sample(path, 0);
    flip_every_bit(&s, path, s.offsets[N_BLOCKS]);
    free_sample(&s);
}

/* ------------------------------------------------------------------ damage and tears */

/* Makes block k's header say that everything before it was synced. */
static void set_durable_end(sample *s, size_t k, uint64_t durable_end)
{
    uint8_t *header = s->file.at + s->offsets[k];
    fp_seal seal = {.offset = s->offsets[k],
                    .sequence = fp_load_u64(header + FP_BLOCK_SEQUENCE),
                    .durable_end = durable_end};
    fp_front_seal(header, &seal);
}

static void break_header(sample *s, size_t k)
{
    s->file.at[s->offsets[k] + FP_BLOCK_N_ROWS] ^= 1;
}

/* Who resumes a file with a damaged block says so and gives the block up: its tasks run again, so
 * later readers leave it out, whole as it may be in parts, closed or killed again. */
static void check_given_up(const char *path, const sample *s, fp_read_context *context)
{
    fp_sink *sink;
    fp_sink_opening opening;
    facpool_backup_options options = options_for(path, FACPOOL_MODE_RESUME);
    CHECK_OK(open_sink_of_all(&sink, &options, &opening, &err), err);
    CHECK_INT(opening.damaged_blocks, 1);
    CHECK_INT(opening.tail_bytes_cut, 0);
    CHECK_OK(fp_sink_close(sink, &err), err);
    outcome o = look_at(path, &s->expected, context, &err);
    CHECK(o.rows_are_right && !o.is_reported);
    CHECK_INT(o.n_rows, BLOCK_ROWS * (N_BLOCKS - 1));
    const facpool_info *info = NULL;
    CHECK_OK(fp_store_info(&info, path, &err), err);
    CHECK_INT(info->damaged_blocks, 1);
    facpool_info_free(info);

    CHECK_OK(open_sink_of_all(&sink, &options, &opening, &err), err);
    CHECK_INT(opening.damaged_blocks, 0); /* said once */
    rows again = {0};
    for (size_t i = 0; i < 5; i++) /* keys that no other row has */
        *rows_add(&again) = row_of(BLOCK_ROWS * N_BLOCKS + i, 10, FACPOOL_STATUS_OK);
    CHECK_OK(append_rows(sink, &again, 0, 5, &err), err);
    rows_free(&again);
    CHECK_OK(fp_sink_sync(sink, &err), err);
    fp_source *walked; /* the file is open, so this reader walks it */
    CHECK_OK(fp_source_open(&walked, path, NULL, &err), err);
    CHECK_INT(walked->n_blocks, N_BLOCKS);
    CHECK_INT(walked->n_damaged, 0);
    fp_source_release(walked);
    CHECK_OK(fp_sink_close(sink, &err), err);
    facpool_verify_report report; /* the bytes are as bad as before */
    CHECK_INT(fp_store_verify(path, &report, &err), FACPOOL_E_CORRUPT);
    CHECK_INT(report.damaged_blocks, 1);
}

static void damage_in_a_page_gives_the_block_up_on_resume(void)
{
    const char *path = path_of("page.fpb");
    for (size_t k = 0; k < N_BLOCKS; k++) {
        sample s = make_sample(path, 0);
        s.file.at[s.offsets[k + 1] - 1 - 64] ^= 1; /* in the last columns */
        save_file(path, s.file.at, s.file.n);
        fp_read_context context = {0};
        CHECK_OK(fp_read_context_init(&context, &err), err);
        check_given_up(path, &s, &context);
        fp_read_context_free(&context);
        free_sample(&s);
    }
}

static void damage_below_the_durable_end_costs_one_block(void)
{
    const char *path = path_of("below.fpb");
    for (size_t k = 0; k < N_BLOCKS - 1; k++) {
        sample s = make_sample(path, 0);
        set_durable_end(&s, N_BLOCKS - 1, s.offsets[N_BLOCKS - 1]);
        break_header(&s, k);
        save_file(path, s.file.at, s.offsets[N_BLOCKS]); /* killed before it was closed */
        fp_read_context context = {0};
        CHECK_OK(fp_read_context_init(&context, &err), err);
        outcome o = look_at(path, &s.expected, &context, &err);
        CHECK(o.rows_are_right);
        CHECK_INT(o.n_rows, BLOCK_ROWS * (N_BLOCKS - 1));
        CHECK_INT(o.n_damaged, 1);
        CHECK_INT(o.tail_bytes, 0);
        facpool_verify_report report;
        CHECK_INT(fp_store_verify(path, &report, &err), FACPOOL_E_CORRUPT);
        CHECK_INT(report.damaged_blocks, 1);
        CHECK_INT(report.blocks, N_BLOCKS);
        CHECK_INT(report.first_damage, s.offsets[k]);
        CHECK_INT(report.rows, BLOCK_ROWS * (N_BLOCKS - 1));

        check_given_up(path, &s, &context);
        fp_read_context_free(&context);
        free_sample(&s);
    }
}

static void a_hole_beyond_the_durable_end_is_a_torn_tail(void)
{
    const char *path = path_of("beyond.fpb");
    sample s = make_sample(path, 0);
    set_durable_end(&s, N_BLOCKS - 1, s.offsets[2]); /* two blocks were synced */
    break_header(&s, 3);
    save_file(path, s.file.at, s.offsets[N_BLOCKS]);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    outcome o = look_at(path, &s.expected, &context, &err);
    CHECK(o.rows_are_right);
    CHECK_INT(o.n_rows, BLOCK_ROWS * 3);
    CHECK_INT(o.n_damaged, 0);
    CHECK_INT(o.tail_bytes, s.offsets[N_BLOCKS] - s.offsets[3]);
    fp_read_context_free(&context);
    free_sample(&s);
}

/* A payload that is torn beyond the durable end must not be seen as a block at all. */
static void a_torn_payload_is_found_when_the_file_is_opened(void)
{
    const char *path = path_of("payload.fpb");
    sample s = make_sample(path, 0);
    for (uint64_t at = s.offsets[4] + 700; at < s.offsets[5]; at++)
        s.file.at[at] = 0;
    save_file(path, s.file.at, s.offsets[N_BLOCKS]);
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(source->n_blocks, 4);
    CHECK_INT(source->tail_bytes, s.offsets[N_BLOCKS] - s.offsets[4]);
    fp_source_release(source);

    set_durable_end(&s, 5, s.offsets[5]); /* now it was synced: damage, found when it is read */
    save_file(path, s.file.at, s.offsets[N_BLOCKS]);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    outcome o = look_at(path, &s.expected, &context, &err);
    CHECK_INT(o.tail_bytes, 0);
    CHECK(o.is_reported && o.rows_are_right);
    CHECK_INT(o.n_rows, BLOCK_ROWS * 5);
    fp_read_context_free(&context);
    free_sample(&s);
}

/* Without syncs there is no durable end to tell by: nothing good is thrown away. */
static void a_writer_that_never_syncs_loses_no_good_block(void)
{
    const char *path = path_of("unsynced.fpb");
    sample s = make_sample(path, FACPOOL_DURABILITY_NONE);
    break_header(&s, 2);
    save_file(path, s.file.at, s.offsets[N_BLOCKS]);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    outcome o = look_at(path, &s.expected, &context, &err);
    CHECK(o.rows_are_right);
    CHECK_INT(o.n_rows, BLOCK_ROWS * (N_BLOCKS - 1));
    CHECK_INT(o.n_damaged, 1);
    save_file(path, s.file.at, s.offsets[N_BLOCKS] - 100); /* a tear at the end is still a tear */
    o = look_at(path, &s.expected, &context, &err);
    CHECK_INT(o.n_rows, BLOCK_ROWS * (N_BLOCKS - 2));
    CHECK(o.tail_bytes > 0);
    fp_read_context_free(&context);
    free_sample(&s);
}

/* ------------------------------------------------------------------ blocks moved about */

static void moved_blocks_are_no_blocks(void)
{
    const char *path = path_of("moved.fpb");
    const char *other_path = path_of("foreign.fpb");
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    for (int how = 0; how < 4; how++) {
        sample s = make_sample(path, 0);
        sample other = make_sample(other_path, 0);
        uint8_t *at = s.file.at;
        size_t one = s.offsets[1] - s.offsets[0];
        size_t n = s.file.n;
        CHECK_INT(other.offsets[1] - other.offsets[0], one);
        if (how == 0) { /* two blocks of like size change places: as far as they are alike */
            size_t two = s.offsets[2] - s.offsets[1];
            uint8_t *keep = malloc(one);
            memcpy(keep, at + s.offsets[0], one);
            memmove(at + s.offsets[0], at + s.offsets[1], two);
            memcpy(at + s.offsets[0] + two, keep, one);
            free(keep);
        } else if (how == 1) { /* removed, from among blocks that were synced */
            set_durable_end(&s, N_BLOCKS - 1, s.offsets[1]);
            memmove(at + s.offsets[0], at + s.offsets[1], n - s.offsets[1]);
            n -= one;
        } else if (how == 2) { /* doubled over its neighbour */
            size_t two = s.offsets[2] - s.offsets[1];
            memcpy(at + s.offsets[1], at + s.offsets[0], one < two ? one : two);
        } else { /* the same block of another file, at the same place */
            memcpy(at + s.offsets[0], other.file.at + other.offsets[0], one);
        }
        save_file(path, at, n);
        outcome o = look_at(path, &s.expected, &context, &err);
        CHECK(o.rows_are_right);
        CHECK(o.is_reported);
        if (how == 1) /* none of the others is where it was written */
            CHECK_INT(o.n_rows, 0);
        facpool_verify_report report = {0};
        int rc = fp_store_verify(path, &report, &err);
        CHECK(rc == FACPOOL_E_CORRUPT || report.tail_bytes > 0);
        free_sample(&s);
        free_sample(&other);
    }
    fp_read_context_free(&context);
}

/* ------------------------------------------------------------------ headers that lie */

/* `room`: how much there is of the file from the block on. */
static void fix_block_checksums(uint8_t *block, size_t room)
{
    uint32_t header_bytes = fp_load_u32(block + FP_BLOCK_HEADER_BYTES);
    if (header_bytes > room || header_bytes < FP_BLOCK_HEADER_BYTES)
        return;
    fp_store_u64(block + FP_BLOCK_CHECKSUM,
                 fp_checksum(block + FP_BLOCK_HEADER_BYTES, header_bytes - FP_BLOCK_HEADER_BYTES));
}

/* Reads everything that a file with sound checksums and wild contents offers. What the rows are is
 * the liar's business; that nothing crashes is ours (the sanitizers watch). */
static void read_wild(const char *path, fp_read_context *context)
{
    fp_source *source;
    if (fp_source_open(&source, path, NULL, &err) == 0) {
        rows found = {0};
        if (read_rows(source, context, &found, &err) == 0)
            rows_free(&found);
        fp_source_release(source);
    }
    facpool_verify_report report;
    (void)fp_store_verify(path, &report, &err);
}

/* The file, to be changed; whoever changed it frees it. */
static uint8_t *copy_of(const sample *s)
{
    uint8_t *copy = malloc(s->file.n);
    CHECK(copy);
    memcpy(copy, s->file.at, s->file.n);
    return copy;
}

/* Reads the changed file, once the checksums of its block fit again; frees it. */
static void read_block_of(const char *path, const sample *s, uint8_t *copy, uint8_t *block,
                          fp_read_context *context)
{
    fix_block_checksums(block, s->file.n - (size_t)(block - copy));
    save_file(path, copy, s->file.n);
    read_wild(path, context);
    free(copy);
}

static const uint32_t wild_values[] = {0,     1,     2,          255,        1023,
                                       65536, 65537, 0x7fffffff, 0x80000000, 0xffffffff};
enum { N_WILD = sizeof wild_values / sizeof *wild_values };

static void lying_block_headers_do_no_harm(void)
{
    const char *path = path_of("wild.fpb");
    sample s = make_sample(path, 0);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    static const size_t targets[] = {0, 2, N_BLOCKS}; /* ok, not ok, index */
    for (size_t t = 0; t < 3; t++)
        for (size_t at = FP_BLOCK_HEADER_BYTES; at < FP_BLOCK_TEXTS + 16; at += 2)
            for (size_t v = 0; v < N_WILD; v++) {
                uint8_t *copy = copy_of(&s);
                uint8_t *block = copy + s.offsets[targets[t]];
                fp_store_u32(block + at, wild_values[v]);
                read_block_of(path, &s, copy, block, &context);
            }
    fp_read_context_free(&context);
    free_sample(&s);
}

/* Directory and dictionary of a block, or the entries of the index. */
static void lying_directories_do_no_harm(void)
{
    const char *path = path_of("wild-directory.fpb");
    sample s = make_sample(path, 0);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    static const size_t targets[] = {0, 2, N_BLOCKS};
    for (size_t t = 0; t < 3; t++) {
        size_t header_bytes =
            fp_load_u32(s.file.at + s.offsets[targets[t]] + FP_BLOCK_HEADER_BYTES);
        size_t size = fp_load_u32(s.file.at + s.offsets[targets[t]] + FP_BLOCK_DIRECTORY_BYTES);
        for (size_t at = 0; at + 4 <= size; at += 4)
            for (size_t v = 0; v < N_WILD; v++) {
                uint8_t *copy = copy_of(&s);
                uint8_t *block = copy + s.offsets[targets[t]];
                fp_store_u32(block + header_bytes + at, wild_values[v]);
                fp_store_u64(block + FP_BLOCK_DIRECTORY_CHECKSUM,
                             fp_checksum(block + header_bytes, size));
                read_block_of(path, &s, copy, block, &context);
            }
    }
    fp_read_context_free(&context);
    free_sample(&s);
}

/* Chunks and dictionaries with noise in them, checksums made to fit. */
static void lying_chunks_do_no_harm(void)
{
    const char *path = path_of("wild-chunks.fpb");
    sample s = make_sample(path, 0);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    uint64_t random = 88172645463325252u;
    size_t n_rounds = of_tier(500, 2000, 20000);
    for (size_t round = 0; round < n_rounds; round++) {
        uint8_t *copy = copy_of(&s);
        uint8_t *block = copy + s.offsets[round % N_BLOCKS];
        size_t header_bytes = fp_load_u32(block + FP_BLOCK_HEADER_BYTES);
        size_t directory_bytes = fp_load_u32(block + FP_BLOCK_DIRECTORY_BYTES);
        uint8_t *entry = block + header_bytes + FP_PAGE_ENTRY_BYTES; /* of one page */
        uint8_t *chunk =
            block + header_bytes + directory_bytes + fp_load_u32(block + FP_BLOCK_DICTIONARY_BYTES);
        for (; entry < block + header_bytes + directory_bytes; entry += FP_CHUNK_ENTRY_BYTES) {
            size_t size = fp_load_u32(entry + FP_CHUNK_BYTES);
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            if (size && random % 2)
                chunk[random / 2 % size] = (uint8_t)(random >> 32);
            if (random % 5 == 0)
                entry[FP_CHUNK_ENCODING] = (uint8_t)(random >> 40);
            fp_store_u64(entry + FP_CHUNK_CHECKSUM, fp_checksum(chunk, size));
            chunk += size;
        }
        uint8_t *dictionary = block + header_bytes + directory_bytes;
        size_t dictionary_bytes = fp_load_u32(block + FP_BLOCK_DICTIONARY_BYTES);
        if (round % 3 == 0)
            dictionary[random / 7 % dictionary_bytes] = (uint8_t)(random >> 20);
        fp_store_u64(block + FP_BLOCK_DICTIONARY_CHECKSUM,
                     fp_checksum(dictionary, dictionary_bytes));
        fp_store_u64(block + FP_BLOCK_DIRECTORY_CHECKSUM,
                     fp_checksum(block + header_bytes, directory_bytes));
        read_block_of(path, &s, copy, block, &context);
    }
    fp_read_context_free(&context);
    free_sample(&s);
}

static void lying_file_headers_do_no_harm(void)
{
    const char *path = path_of("wild-header.fpb");
    sample s = make_sample(path, 0);
    fp_read_context context = {0};
    CHECK_OK(fp_read_context_init(&context, &err), err);
    for (size_t at = FP_FILE_VERSION; at + 4 <= s.header_end; at++)
        for (size_t v = 0; v < N_WILD; v++) {
            uint8_t *copy = copy_of(&s);
            fp_store_u32(copy + at, wild_values[v]);
            size_t size = fp_load_u32(copy + FP_FILE_HEADER_BYTES);
            if (size >= FP_FILE_NAMES && size <= s.file.n)
                fp_store_u64(copy + FP_FILE_CHECKSUM,
                             fp_checksum(copy + FP_FILE_VERSION, size - FP_FILE_VERSION));
            save_file(path, copy, s.file.n);
            fp_source *source;
            int rc = fp_source_open(&source, path, NULL, &err);
            if (!rc)
                fp_source_release(source);
            CHECK(!rc || rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
            free(copy);
        }
    fp_read_context_free(&context);
    free_sample(&s);
}

/* ------------------------------------------------------------------ verify, repair */

static void repair_cuts_the_tail_and_closes_the_file(void)
{
    const char *path = path_of("repair.fpb");
    sample s = make_sample(path, 0);
    save_file(path, s.file.at, s.offsets[4] + 123);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK_INT(report.tail_bytes, 123);
    CHECK_INT(report.closed, 0);
    CHECK_INT(report.blocks, 4);
    CHECK_INT(report.rows, 4 * BLOCK_ROWS);
    CHECK_OK(facpool_backup_repair(path, &report, &err), err);
    CHECK_INT(report.tail_bytes, 123);
    CHECK_INT(report.closed, 1);
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK_INT(report.tail_bytes, 0);
    CHECK_INT(report.closed, 1);
    CHECK_INT(report.rows, 4 * BLOCK_ROWS);

    /* A damaged block stays; the file is closed around it. Its index remembers the lost rows. */
    break_header(&s, 1);
    save_file(path, s.file.at, s.file.n);
    CHECK_INT(facpool_backup_verify(path, &report, &err), FACPOOL_E_CORRUPT);
    CHECK_INT(report.damaged_blocks, 1);
    CHECK_INT(report.rows_damaged, BLOCK_ROWS);
    CHECK_INT(report.rows, (N_BLOCKS - 1) * BLOCK_ROWS);
    CHECK_OK(facpool_backup_repair(path, &report, &err), err);
    CHECK_INT(report.damaged_blocks, 1);
    CHECK_INT(facpool_backup_verify(path, &report, &err), FACPOOL_E_CORRUPT);
    report.size = 3;
    CHECK_INT(facpool_backup_verify(path, &report, &err), FACPOOL_E_ABI);
    CHECK_INT(facpool_backup_verify(NULL, &report, &err), FACPOOL_E_INVALID);
    free_sample(&s);
}

int main(void)
{
    make_folder();
    RUN(a_file_cut_at_any_byte_gives_its_whole_blocks);
    RUN(a_torn_file_is_resumed_at_any_byte);
    RUN(every_flipped_bit_of_a_closed_file_is_found);
    RUN(every_flipped_bit_of_an_open_file_is_found);
    RUN(damage_below_the_durable_end_costs_one_block);
    RUN(damage_in_a_page_gives_the_block_up_on_resume);
    RUN(a_hole_beyond_the_durable_end_is_a_torn_tail);
    RUN(a_torn_payload_is_found_when_the_file_is_opened);
    RUN(a_writer_that_never_syncs_loses_no_good_block);
    RUN(moved_blocks_are_no_blocks);
    RUN(lying_block_headers_do_no_harm);
    RUN(lying_directories_do_no_harm);
    RUN(lying_chunks_do_no_harm);
    RUN(lying_file_headers_do_no_harm);
    RUN(repair_cuts_the_tail_and_closes_the_file);
    remove_folder();
    return TEST_END();
}
