/* Proves that convert keeps every row, bit for bit, whatever the formats, and that a new file
 * appears whole or not at all. Through the public header only. */
#include "vault_sink.h" /* before anything else that is called err */

#include <sys/resource.h>
#include <sys/wait.h>

#include "convert_rows.h"

static int convert(const char *from, const facpool_backup_options *to)
{
    return facpool_backup_convert(&from, 1, to, &err);
}

static void convert_file(const char *from, const char *to, const char *format)
{
    facpool_backup_options options = options_for(to, format, FACPOOL_MODE_CREATE);
    CHECK_OK(convert(from, &options), err);
}

/* ------------------------------------------------------------------ what is written */

static void every_format_becomes_every_format(void)
{
    for (int a = 0; a < N_FORMATS; a++) {
        if (!has_format(formats[a]))
            continue;
        char from[300];
        snprintf(from, sizeof from, "%s/from", scratch_folder);
        write_rows(from, formats[a], 3000, "v1");
        for (int b = 0; b < N_FORMATS; b++) {
            if (!has_format(formats[b]))
                continue;
            const char *to = scratch_path("to");
            convert_file(from, to, formats[b]);
            const facpool_info *info = NULL;
            CHECK_OK(facpool_backup_info(&info, to, &err), err);
            CHECK_TEXT(info->format, formats[b]);
            CHECK_TEXT(info->tag, "v1");
            CHECK_INT(info->n_factors, FACTORS);
            CHECK_TEXT(info->factor_names[2], "rank");
            facpool_info_free(info);
            check_sound(to);
            check_same(read_file(to), read_file(from));
            unlink(to);
        }
    }
    empty_folder();
}

/* The formats' rows are those that were written, NaN payloads in json apart: there are none here.
 */
static void rows_of_all_formats_are_the_same(void)
{
    const char *binary = scratch_path("a.fpb");
    write_rows(binary, "binary", 3000, NULL);
    rows_read rows = read_file(binary);
    CHECK_INT(rows.n, 3000);
    for (size_t i = 0; i < rows.n; i++) {
        const stored *row = &rows.at[i];
        CHECK(i == 0 || row->date > row[-1].date ||
              (row->date == row[-1].date && strcmp(row->code, row[-1].code) > 0));
    }
    free(rows.at);
    for (int f = 1; f < N_FORMATS; f++) {
        if (!has_format(formats[f]))
            continue;
        write_rows(scratch_path("b"), formats[f], 3000, NULL);
        check_same(read_file(scratch_path("b")), read_file(binary));
    }
    empty_folder();
}

static void small_blocks_become_full_ones(void)
{
    const char *from = scratch_path("a.fpb"), *to = scratch_path("b.fpb");
    facpool_backup_options options = options_for(from, NULL, FACPOOL_MODE_CREATE);
    facpool_writer *writer = open_writer(&options);
    append_rows(writer, 0, 80000, 1, 1000);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    CHECK(blocks_in(from) >= 80);
    convert_file(from, to, NULL);
    CHECK_INT(blocks_in(to), 3); /* two of ok rows, one of the others */
    check_same(read_file(to), read_file(from));
    empty_folder();
}

/* Each key's row is the one that a reader over all of them gives. */
static void many_files_become_one(void)
{
    const char *const paths[] = {scratch_path("a"), scratch_path("b"), scratch_path("c")};
    for (int file = 0; file < 3; file++) {
        facpool_backup_options options = options_for(paths[file], NULL, FACPOOL_MODE_CREATE);
        options.tag = file == 0 ? "first" : "later";
        facpool_writer *writer = open_writer(&options);
        for (size_t i = (size_t)file; i < 2000; i += (size_t)file + 1) {
            bool fails = mix_bits(i + (size_t)file * 100000) % 3 == 0;
            append_row(writer, i, fails ? FACPOOL_STATUS_FAILED : FACPOOL_STATUS_OK,
                       (file * 2) % 3);
        }
        CHECK_OK(facpool_writer_close(writer, &err), err);
    }
    const char *to = scratch_path("all");
    facpool_backup_options options = options_for(to, NULL, FACPOOL_MODE_CREATE);
    CHECK_OK(facpool_backup_convert(paths, 3, &options, &err), err);
    rows_read all = read_file(to);
    CHECK_INT(all.n, 2000);
    check_same(all, read_files(paths, 3, FACPOOL_ORDER_KEY));
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, to, &err), err);
    CHECK_TEXT(info->tag, "first");
    facpool_info_free(info);
    empty_folder();
}

static void superseded_failures_are_left_behind(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    facpool_backup_options options = options_for(from, NULL, FACPOOL_MODE_CREATE);
    facpool_writer *writer = open_writer(&options);
    for (size_t i = 0; i < 500; i++)
        append_row(writer, i, FACPOOL_STATUS_FAILED, 0);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    for (size_t i = 0; i < 500; i += 2)
        append_row(writer, i, FACPOOL_STATUS_OK, 1);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    convert_file(from, to, NULL);
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, to, &err), err);
    CHECK_INT(info->rows[FACPOOL_STATUS_OK], 250);
    CHECK_INT(info->rows[FACPOOL_STATUS_FAILED], 250);
    facpool_info_free(info);
    check_same(read_file(to), read_file(from));
    empty_folder();
}

static void the_tag_can_be_another_or_none(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    write_rows(from, NULL, 10, "v1");
    facpool_backup_options options = options_for(to, NULL, FACPOOL_MODE_CREATE);
    const facpool_info *info = NULL;
    options.tag = "v2";
    CHECK_OK(convert(from, &options), err);
    CHECK_OK(facpool_backup_info(&info, to, &err), err);
    CHECK_TEXT(info->tag, "v2");
    facpool_info_free(info);
    options.tag = "";
    options.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_OK(convert(from, &options), err);
    CHECK_OK(facpool_backup_info(&info, to, &err), err);
    CHECK(!info->tag);
    facpool_info_free(info);
    empty_folder();
}

static void a_backup_without_rows_becomes_one_without_rows(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    write_rows(from, NULL, 0, NULL);
    convert_file(from, to, NULL);
    rows_read rows = read_file(to);
    CHECK_INT(rows.n, 0);
    CHECK_INT(blocks_in(to), 0);
    empty_folder();
}

static void a_file_being_written_is_converted_as_far_as_it_is(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    facpool_backup_options options = options_for(from, NULL, FACPOOL_MODE_CREATE);
    facpool_writer *writer = open_writer(&options);
    append_rows(writer, 0, 300, 1, 100);
    convert_file(from, to, NULL);
    rows_read rows = read_file(to);
    CHECK_INT(rows.n, 300);
    free(rows.at);
    append_rows(writer, 300, 400, 1, 100);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    empty_folder();
}

/* ------------------------------------------------------------------ what is there already */

static void a_file_that_is_there_is_kept(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    write_rows(from, NULL, 100, NULL);
    write_rows(to, NULL, 7, NULL);
    rows_read before = read_file(to);
    facpool_backup_options options = options_for(to, NULL, FACPOOL_MODE_CREATE);
    CHECK_INT(convert(from, &options), FACPOOL_E_EXISTS);
    CHECK(strstr(err.message, to));
    options.mode = 0; /* create is the default */
    CHECK_INT(convert(from, &options), FACPOOL_E_EXISTS);
    check_same(read_file(to), before);
    CHECK_INT(count_files(), 2);
    empty_folder();
}

static void overwriting_replaces_a_file_but_not_its_permissions(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    write_rows(from, NULL, 1000, NULL);
    write_rows(to, NULL, 7, NULL);
    CHECK(chmod(to, 0640) == 0);
    const char *const old_path = to;
    facpool_reader *old = NULL;
    CHECK_OK(facpool_reader_open(&old, &old_path, 1, &err), err);
    facpool_backup_options options = options_for(to, NULL, FACPOOL_MODE_OVERWRITE);
    CHECK_OK(convert(from, &options), err);
    check_same(read_file(to), read_file(from));
    struct stat status;
    CHECK(stat(to, &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0640);
    rows_read rows = read_from(old, FACPOOL_ORDER_KEY);
    CHECK_INT(rows.n, 7); /* who has the old one open keeps it */
    free(rows.at);
    facpool_reader_free(old);
    CHECK_INT(count_files(), 2);
    empty_folder();
}

static void a_backup_can_replace_itself(void)
{
    const char *path = scratch_path("a"), *other = scratch_path("b");
    write_rows(path, NULL, 500, NULL);
    write_rows(other, NULL, 1500, NULL);
    const char *const paths[] = {path, other};
    rows_read before = read_files(paths, 2, FACPOOL_ORDER_KEY);
    facpool_backup_options options = options_for(path, NULL, FACPOOL_MODE_OVERWRITE);
    CHECK_OK(facpool_backup_convert(paths, 2, &options, &err), err);
    check_same(read_file(path), before);
    for (int f = 0; f < N_FORMATS; f++) {
        if (!has_format(formats[f]))
            continue;
        before = read_file(path);
        options.format = formats[f];
        CHECK_OK(convert(path, &options), err);
        check_same(read_file(path), before);
    }
    empty_folder();
}

static void a_file_that_is_being_written_is_not_replaced(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    write_rows(from, NULL, 100, NULL);
    facpool_backup_options options = options_for(to, NULL, FACPOOL_MODE_OVERWRITE);
    facpool_writer *writer = open_writer(&options);
    CHECK_INT(convert(from, &options), FACPOOL_E_BUSY);
    append_rows(writer, 0, 10, 1, 100);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    rows_read rows = read_file(to);
    CHECK_INT(rows.n, 10);
    free(rows.at);
    CHECK_INT(count_files(), 2);
    empty_folder();
}

/* ------------------------------------------------------------------ what goes wrong */

static void wrong_arguments_are_told_of(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    write_rows(from, NULL, 10, NULL);
    CHECK_INT(convert(from, NULL), FACPOOL_E_INVALID);
    facpool_backup_options options = options_for(to, NULL, FACPOOL_MODE_RESUME);
    CHECK_INT(convert(from, &options), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "OVERWRITE"));
    options = options_for(NULL, NULL, FACPOOL_MODE_CREATE);
    CHECK_INT(convert(from, &options), FACPOOL_E_INVALID);
    options = options_for(to, "parquet", FACPOOL_MODE_CREATE);
    CHECK_INT(convert(from, &options), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "parquet"));
    options = options_for(to, NULL, FACPOOL_MODE_CREATE);
    CHECK_INT(facpool_backup_convert(NULL, 1, &options, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_backup_convert(&from, 0, &options, &err), FACPOOL_E_INVALID);
    CHECK_INT(convert(scratch_path("not-there"), &options), FACPOOL_E_NOT_FOUND);
    options.path = scratch_path("no-folder/b");
    CHECK_INT(convert(from, &options), FACPOOL_E_NOT_FOUND);
    options.path = to;
    options.size = sizeof options + 8;
    struct {
        facpool_backup_options known;
        uint64_t unknown;
    } newer = {options, 1};
    CHECK_INT(convert(from, &newer.known), FACPOOL_E_ABI);
    CHECK_INT(count_files(), 1);
    empty_folder();
}

static void files_with_other_factors_are_not_joined(void)
{
    const char *const paths[] = {scratch_path("a"), scratch_path("b")};
    static const char *const other_names[] = {"z", "price", "volume"};
    write_rows(paths[0], NULL, 10, NULL);
    facpool_backup_options options = options_for(paths[1], NULL, FACPOOL_MODE_CREATE);
    facpool_writer *writer = NULL;
    CHECK_OK(facpool_writer_open(&writer, &options, other_names, FACTORS, &err), err);
    CHECK_OK(facpool_writer_close(writer, &err), err);
    options = options_for(scratch_path("c"), NULL, FACPOOL_MODE_CREATE);
    CHECK_INT(facpool_backup_convert(paths, 2, &options, &err), FACPOOL_E_MISMATCH);
    CHECK_INT(count_files(), 2);
    empty_folder();
}

static void a_damaged_block_stops_it(void)
{
    for (int f = 0; f < N_FORMATS; f++) {
        if (!has_format(formats[f]))
            continue;
        const char *from = scratch_path("a"), *to = scratch_path("b");
        write_rows(from, formats[f], 2000, NULL);
        damage_file(from);
        facpool_backup_options options = options_for(to, NULL, FACPOOL_MODE_CREATE);
        CHECK_INT(convert(from, &options), FACPOOL_E_CORRUPT);
        CHECK(strstr(err.message, "resume a run of all"));
        CHECK_INT(count_files(), 1);
        write_rows(to, NULL, 5, NULL);
        options.mode = FACPOOL_MODE_OVERWRITE;
        CHECK_INT(convert(from, &options), FACPOOL_E_CORRUPT);
        rows_read rows = read_file(to);
        CHECK_INT(rows.n, 5);
        free(rows.at);
        empty_folder();
    }
}

/* In a process that may write files of so many bytes at most. */
static int convert_with_limit(const char *from, const facpool_backup_options *to, rlim_t bytes)
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit limit = {bytes, bytes};
        setrlimit(RLIMIT_FSIZE, &limit);
        _exit(-convert(from, to));
    }
    int state = 0;
    CHECK(waitpid(child, &state, 0) == child);
    CHECK(WIFEXITED(state));
    return -WEXITSTATUS(state);
}

static void a_full_disk_leaves_nothing(void)
{
    const char *from = scratch_path("a"), *to = scratch_path("b");
    write_rows(from, NULL, 20000, NULL);
    facpool_backup_options options = options_for(to, NULL, FACPOOL_MODE_CREATE);
    convert_file(from, to, NULL);
    rlim_t whole = (rlim_t)file_bytes(to);
    unlink(to);
    const rlim_t limits[] = {0, 1, 100, whole / 3, whole / 2, whole - 1};
    for (int i = 0; i < 6; i++) {
        CHECK_INT(convert_with_limit(from, &options, limits[i]), FACPOOL_E_IO);
        CHECK_INT(count_files(), 1);
    }
    write_rows(to, NULL, 5, NULL);
    options.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_INT(convert_with_limit(from, &options, whole / 2), FACPOOL_E_IO);
    rows_read rows = read_file(to);
    CHECK_INT(rows.n, 5);
    free(rows.at);
    CHECK_INT(count_files(), 2);
    CHECK_INT(convert_with_limit(from, &options, whole), 0);
    check_same(read_file(to), read_file(from));
    empty_folder();
}

/* ------------------------------------------------------------------ a store of the caller's own */

static facpool_backup_options options_for_vault(vault *v, int mode)
{
    facpool_backup_options options = options_for(NULL, NULL, mode);
    options.sink = &vault_type;
    options.sink_user = v;
    return options;
}

static void a_sink_of_the_callers_own_takes_the_rows(void)
{
    const char *from = scratch_path("a");
    write_rows(from, NULL, 1000, "v1");
    vault v;
    vault_init(&v);
    facpool_backup_options options = options_for_vault(&v, FACPOOL_MODE_CREATE);
    CHECK_OK(convert(from, &options), err);
    CHECK_TEXT(v.wrong ? v.wrong : "", "");
    CHECK_TEXT(v.tag, "v1");
    CHECK_INT(v.writing_states, 0);
    CHECK(v.n_log > 0 && v.log[v.n_log - 1] == 'c');
    facpool_reader *reader = NULL;
    const char *const nowhere = "";
    CHECK_OK(facpool_reader_from_source(&reader, &vault_type, &v, &nowhere, 1, &err), err);
    check_same(read_from(reader, FACPOOL_ORDER_KEY), read_file(from));
    facpool_reader_free(reader);
    CHECK_INT(convert(from, &options), FACPOOL_E_EXISTS);
    options.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_OK(convert(from, &options), err);
    CHECK_INT(v.n, 1000);
    options.format = "binary";
    CHECK_INT(convert(from, &options), FACPOOL_E_INVALID);
    vault_destroy(&v);
    empty_folder();
}

static void a_sink_that_fails_is_closed_and_its_error_told(void)
{
    const char *from = scratch_path("a");
    write_rows(from, NULL, 1000, NULL);
    for (const char *step = "olac"; *step; step++) {
        vault v;
        vault_init(&v);
        v.fails_at = *step;
        facpool_backup_options options = options_for_vault(&v, FACPOOL_MODE_CREATE);
        CHECK_INT(convert(from, &options), FACPOOL_E_IO);
        CHECK(strstr(err.message, "told to fail"));
        CHECK_INT(v.writing_states, 0);
        CHECK_INT(v.log[v.n_log - 1], *step == 'o' ? 'o' : 'c');
        vault_destroy(&v);
    }
    empty_folder();
}

int main(void)
{
    if (!scratch_make("convert"))
        return EXIT_FAILURE;
    RUN(every_format_becomes_every_format);
    RUN(rows_of_all_formats_are_the_same);
    RUN(small_blocks_become_full_ones);
    RUN(many_files_become_one);
    RUN(superseded_failures_are_left_behind);
    RUN(the_tag_can_be_another_or_none);
    RUN(a_backup_without_rows_becomes_one_without_rows);
    RUN(a_file_being_written_is_converted_as_far_as_it_is);
    RUN(a_file_that_is_there_is_kept);
    RUN(overwriting_replaces_a_file_but_not_its_permissions);
    RUN(a_backup_can_replace_itself);
    RUN(a_file_that_is_being_written_is_not_replaced);
    RUN(wrong_arguments_are_told_of);
    RUN(files_with_other_factors_are_not_joined);
    RUN(a_damaged_block_stops_it);
    RUN(a_full_disk_leaves_nothing);
    RUN(a_sink_of_the_callers_own_takes_the_rows);
    RUN(a_sink_that_fails_is_closed_and_its_error_told);
    scratch_remove();
    return TEST_END();
}
