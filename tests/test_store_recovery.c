/* What a resuming writer finds: a hole behind what was synced or within it, a block that was torn,
 * a block or a line that is damaged. Proves what of it counts, what is cut or given up, and that
 * what was given up does not come back. Few cases, chosen by hand: all of them are in test_damage.c
 * and test_store_damage.c. */
#include "store_rows.h"

static facpool_error err = FACPOOL_ERROR_INIT;

/* ------------------------------------------------------------------ holes */

/* Three blocks of 100 rows, the first of them synced (or two), whose second one is then gone, as
 * the power may leave it. Returns where it began. */
static uint64_t lose_the_second_block(const char *path, const rows *r, size_t n_synced)
{
    facpool_backup_options options = options_for(path, 0);
    fp_sink *sink;
    uint64_t begin = 0;
    CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
    for (size_t i = 0; i < 3; i++) {
        if (i == 1) {
            bytes so_far = load_file(path);
            begin = so_far.n;
            free(so_far.at);
        }
        if (i == n_synced)
            CHECK_OK(fp_sink_sync(sink, &err), err);
        CHECK_OK(append_rows(sink, r, i * 100, 100, &err), err);
    }
    fp_sink_abandon(sink);
    bytes file = load_file(path);
    memset(file.at + begin, 0, 200);
    save_file(path, file.at, file.n);
    free(file.at);
    return begin;
}

static void a_hole_right_behind_what_was_synced_is_a_torn_tail(void)
{
    const char *path = path_of("hole.fpb");
    rows r = rows_of_status(300, FACPOOL_STATUS_OK);
    uint64_t begin = lose_the_second_block(path, &r, 1);
    bytes file = load_file(path);
    rows found = {0};
    uint64_t n_damaged, tail;
    CHECK_OK(read_file(path, &found, &n_damaged, &tail, &err), err);
    CHECK_INT(n_damaged, 0);
    CHECK_INT(tail, file.n - begin);
    CHECK_INT(found.n, 100);
    free(file.at);
    rows_free(&found);
    rows_free(&r);
}

static void a_hole_in_what_was_synced_is_damage(void)
{
    const char *path = path_of("damage.fpb");
    rows r = rows_of_status(300, FACPOOL_STATUS_OK);
    lose_the_second_block(path, &r, 2);
    rows found = {0};
    uint64_t n_damaged, tail;
    CHECK_OK(read_file(path, &found, &n_damaged, &tail, &err), err);
    CHECK_INT(n_damaged, 1);
    CHECK_INT(tail, 0);
    CHECK_INT(found.n, 200);
    rows_free(&found);
    rows_free(&r);
}

/* Flips a bit of n block headers, of those that begin with the magic bytes, from the first-th on.
 */
static size_t spoil_headers(bytes *file, const char *magic, size_t first, size_t n)
{
    size_t at_all = 0, spoiled = 0;
    for (size_t at = 0; at + 8 <= file->n; at += 8) {
        if (memcmp(file->at + at, magic, 8) != 0)
            continue;
        bool wanted = at_all >= first && at_all < first + n;
        at_all++;
        spoiled += wanted;
        file->at[at + 40] ^= wanted;
    }
    return spoiled;
}

/* Only the index's header says what was synced last: where it is lost, too, the end of a closed
 * file still tells that all before was, and no sound block behind damage is taken for a torn tail.
 */
static void the_end_of_a_closed_file_tells_damage_from_a_tear(void)
{
    static const struct {
        const char *name, *magic;
    } files[] = {{"closed.fpb", "\x8f"
                                "FPBLOCK"},
                 {"closed.arrow", "\x8f"
                                  "FPARROW"}};
    static const size_t first_damaged[] = {0, 1, 0}, n_damaged_blocks[] = {1, 1, 3};
    for (size_t i = 0; i < 6; i++) {
        const char *path = path_of(files[i / 3].name), *magic = files[i / 3].magic;
        facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
        rows r = rows_of_status(300, FACPOOL_STATUS_OK), found = {0};
        CHECK_OK(write_rows(&options, &r, 100, &err), err);
        bytes file = load_file(path);
        size_t n = n_damaged_blocks[i % 3];
        CHECK_INT(spoil_headers(&file, magic, first_damaged[i % 3], n), n);
        CHECK_INT(spoil_headers(&file, magic, 3, 1), 1); /* the index */
        save_file(path, file.at, file.n);
        for (int repaired = 0; repaired < 2; repaired++) {
            uint64_t n_damaged, tail;
            facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
            CHECK_OK(read_file(path, &found, &n_damaged, &tail, &err), err);
            CHECK_INT(n_damaged, 1); /* one stretch: how many blocks it was is lost, too */
            CHECK_INT(found.n, 300 - 100 * n);
            CHECK_INT(fp_store_verify(path, &report, &err), FACPOOL_E_CORRUPT);
            CHECK_INT(report.rows, 300 - 100 * n);
            CHECK_OK(fp_store_repair(path, &report, &err), err);
            rows_free(&found);
            found = (rows){0};
        }
        free(file.at);
        rows_free(&r);
    }
}

/* Of the last block, beyond the durable end, only a part is there: it is no block. */
static void a_block_that_was_torn_is_not_listed(void)
{
    static const char *const names[] = {"torn.fpb", "torn.arrow"};
    rows r = rows_of_status(200, FACPOOL_STATUS_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = path_of(names[i]);
        facpool_backup_options options = options_for(path, 0);
        fp_sink *sink;
        fp_source *source;
        CHECK_OK(open_sink(&sink, &options, NULL, &err), err);
        CHECK_OK(append_rows(sink, &r, 0, 100, &err), err);
        CHECK_OK(fp_sink_sync(sink, &err), err);
        bytes synced = load_file(path);
        CHECK_OK(append_rows(sink, &r, 100, 100, &err), err);
        fp_sink_abandon(sink);
        bytes file = load_file(path);
        memset(file.at + synced.n + (file.n - synced.n) / 2, 0, 128); /* of its payload */
        save_file(path, file.at, file.n);
        CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
        CHECK_INT(source->n_blocks, 1);
        CHECK_INT(source->tail_bytes, file.n - synced.n);
        fp_source_release(source);
        free(synced.at);
        free(file.at);
    }
    rows_free(&r);
}

/* ------------------------------------------------------------------ damage */

static void damage_second_block(const char *path)
{
    fp_source *source;
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    const fp_block *block = &source->blocks[1];
    bytes file = load_file(path);
    file.at[block->offset + block->bytes * 3 / 4] ^= 1;
    save_file(path, file.at, file.n);
    free(file.at);
    fp_source_release(source);
}

/* Its header is good, what it holds is not. Its tasks run again, so none of its rows may be read
 * any more: not while the file is open, not after, whether its index is there or not. */
static void a_damaged_block_is_given_up_for_good(void)
{
    static const char *const names[] = {"given-up.fpb", "given-up.arrow"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = path_of(names[i]);
        facpool_backup_options options = options_for(path, 0);
        rows all = rows_of_status(400, FACPOOL_STATUS_OK),
             left = rows_of_status(300, FACPOOL_STATUS_OK);
        fp_sink *sink;
        fp_sink_opening opening;
        all.n = 300;
        CHECK_OK(write_rows(&options, &all, 100, &err), err);
        damage_second_block(path);
        options.mode = FACPOOL_MODE_RESUME;
        CHECK_OK(open_sink_of_all(&sink, &options, &opening, &err), err);
        CHECK_INT(opening.damaged_blocks, 1);
        memmove(left.at + 100, left.at + 200, 100 * sizeof *left.at);
        left.n = 200;
        check_file(path, &left, &err);
        all.n = 400;
        CHECK_OK(append_rows(sink, &all, 300, 100, &err), err);
        for (size_t k = 300; k < 400; k++)
            *rows_add(&left) = all.at[k];
        check_file(path, &left, &err); /* now the file is walked */
        CHECK_OK(fp_sink_close(sink, &err), err);
        check_file(path, &left, &err);
        rows_free(&all);
        rows_free(&left);
    }
}

/* A damaged line is given up on resume: it becomes spaces, so that other programs can read the
 * file, and nobody finds it damaged again. */
static void a_damaged_line_is_blanked_when_a_file_of_lines_is_resumed(void)
{
    const char *path = path_of("lines.jsonl");
    facpool_backup_options options = options_for(path, 0);
    rows all = rows_of_status(30, FACPOOL_STATUS_OK), left = rows_of_status(30, FACPOOL_STATUS_OK);
    CHECK_OK(write_rows(&options, &all, 10, &err), err);
    bytes file = load_file(path);
    uint8_t *second = (uint8_t *)memchr(file.at, '\n', file.n) + 1;
    uint8_t *end = memchr(second, '\n', (size_t)(file.at + file.n - second));
    second[9] ^= 1;
    save_file(path, file.at, file.n);
    options.mode = FACPOOL_MODE_RESUME;
    fp_sink *sink;
    fp_sink_opening opening;
    CHECK_OK(open_sink_of_all(&sink, &options, &opening, &err), err);
    CHECK_INT(opening.damaged_blocks, 1);
    CHECK_OK(fp_sink_close(sink, &err), err);
    bytes after = load_file(path);
    memset(second, ' ', (size_t)(end - second));
    CHECK_INT(after.n, file.n);
    CHECK(memcmp(after.at, file.at, file.n) == 0);
    left.at[1] = left.at[--left.n];
    check_file(path, &left, &err);
    free(file.at);
    free(after.at);
    rows_free(&left);
    rows_free(&all);
}

int main(void)
{
    make_folder();
    RUN(a_hole_right_behind_what_was_synced_is_a_torn_tail);
    RUN(a_hole_in_what_was_synced_is_damage);
    RUN(the_end_of_a_closed_file_tells_damage_from_a_tear);
    RUN(a_block_that_was_torn_is_not_listed);
    RUN(a_damaged_block_is_given_up_for_good);
    RUN(a_damaged_line_is_blanked_when_a_file_of_lines_is_resumed);
    remove_folder();
    return TEST_END();
}
