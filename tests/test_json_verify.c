/* What verifying a json file costs, counted and not timed: every byte is read once, and no memory
 * is taken for a row. And what it says is what is in the file, however its rows lie: in long runs,
 * each in a block of its own, with damaged lines, blank ones and a torn tail among them. */
#include "cost_of_calls.h"
#include "json_rows.h"

/* What verifying costs is *c. */
static int verify(const char *path, facpool_verify_report *report, cost *c)
{
    size_t held;
    *report = (facpool_verify_report)FACPOOL_VERIFY_REPORT_INIT;
    cost_begin(&held);
    int rc = fp_store_verify(path, report, &err);
    *c = cost_end(held);
    return rc;
}

/* ------------------------------------------------------------------ files */

/* All ok, in ascending order: one run. */
static rows ascending_rows(size_t n)
{
    rows r = {0};
    for (size_t i = 0; i < n; i++)
        *rows_add(&r) = row_of(i, 10, FACPOOL_STATUS_OK);
    rows_sort(&r);
    return r;
}

static void write_run(const char *path, const rows *r, size_t block_rows)
{
    facpool_backup_options options = options_for(path, FACPOOL_MODE_OVERWRITE);
    options.format = "json";
    CHECK_OK(write_rows(&options, r, block_rows, &err), err);
}

/* ------------------------------------------------------------------ tests */

static void every_byte_is_read_once(void)
{
    const char *path = path_of("once.jsonl");
    rows r = ascending_rows(20000);
    write_run(path, &r, r.n);
    facpool_verify_report report;
    cost c;
    size_t file = (size_t)file_bytes_of(path);
    CHECK_OK(verify(path, &report, &c), err);
    CHECK_INT(report.rows, r.n);
    CHECK_INT(report.blocks, 1);
    CHECK(report.closed && report.damaged_blocks == 0 && report.tail_bytes == 0);
    CHECK(c.read_bytes >= file);
    CHECK(c.read_bytes <= file + file / 50 + (16u << 10));
    rows_free(&r);
}

static void no_memory_is_taken_for_a_row(void)
{
    const char *path = path_of("memory.jsonl");
    size_t n_before = 0;
    for (size_t n = 1000; n <= 8000; n *= 2) {
        rows r = ascending_rows(n);
        facpool_verify_report report;
        cost c;
        write_run(path, &r, r.n);
        CHECK_OK(verify(path, &report, &c), err);
        CHECK_INT(report.rows, n);
        if (n_before) /* the window grows to its size, and stays */
            CHECK(c.n_taken <= n_before + 4);
        n_before = c.n_taken;
        rows_free(&r);
    }
}

/* Rows that descend are each a block of their own. */
static void what_is_told_is_what_is_there(void)
{
    const char *path = path_of("told.jsonl");
    rows r = some_rows(600);
    bytes b = write_file(path, &r, NULL);
    facpool_verify_report report;
    cost c;
    fp_source *source;
    CHECK_OK(verify(path, &report, &c), err);
    CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
    CHECK_INT(report.blocks, source->n_blocks);
    CHECK(source->n_blocks > 10);
    CHECK_INT(report.rows, r.n);
    fp_source_release(source);
    check_rows(path, &r);
    free(b.at);
    rows_free(&r);
}

static void damage_is_told_by_the_line(void)
{
    const char *path = path_of("damage.jsonl");
    rows r = some_rows(600);
    bytes b = write_file(path, &r, NULL);
    facpool_verify_report report;
    cost c;
    size_t n_lines = count_lines(b.at, b.n);
    CHECK_INT(n_lines, r.n);
    b.at[line_at(&b, 99) + 20] ^= 1;
    b.at[line_at(&b, 100) + 30] ^= 1;
    memset(b.at + line_at(&b, 300), ' ', line_at(&b, 301) - line_at(&b, 300) - 1);
    b.at[line_at(&b, 500) + 40] ^= 1;
    b.n -= 10; /* of the last line */
    save_file(path, b.at, b.n);
    CHECK_INT(verify(path, &report, &c), FACPOOL_E_CORRUPT);
    CHECK(strstr(err.message, "3 damaged line(s), the first at line 100:") != NULL);
    CHECK_INT(report.rows, n_lines - 5);
    CHECK_INT(report.damaged_blocks, 3);
    CHECK_INT(report.rows_damaged, 3);
    CHECK_INT(report.first_damage, line_at(&b, 99));
    CHECK_INT(report.tail_bytes, b.n - line_at(&b, 599));
    free(b.at);
    rows_free(&r);
}

int main(void)
{
    make_folder();
    RUN(every_byte_is_read_once);
    RUN(no_memory_is_taken_for_a_row);
    RUN(what_is_told_is_what_is_there);
    RUN(damage_is_told_by_the_line);
    remove_folder();
    return TEST_END();
}
