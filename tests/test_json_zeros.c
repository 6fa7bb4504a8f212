/* What a power loss leaves of a json file whose length was on the disk before its bytes were:
 * zeros, alone or behind the beginning of the first row. Nothing of it can have been durable, and a
 * run goes on as in an empty file; where one byte of it is something else, or the file would be of
 * a format whose header is durable before its name, it is nobody's backup and is left as it is.
 * Rows behind zeros are known, and files of others that hold rows of ours are not taken for it. */
#include "json_rows.h"
#include "scratch.h"

#define TAG "v1"

static facpool_backup_options options_of(const char *path, int mode)
{
    facpool_backup_options options = options_for(path, mode);
    options.tag = TAG;
    return options;
}

/* ------------------------------------------------------------------ what is expected of a file */

/* A run that goes on has nothing to go on from, says what it cut off, and ends as any other. */
static void check_goes_on(const facpool_backup_options *options, const bytes *b)
{
    save_file(options->path, b->at, b->n);
    fp_sink *sink;
    fp_sink_opening opening;
    fp_source *source;
    CHECK_OK(open_sink(&sink, options, &opening, &err), err);
    bool resumes = options->mode == FACPOOL_MODE_RESUME;
    CHECK_INT(opening.existed, resumes);
    CHECK_INT(opening.tail_bytes_cut, resumes ? b->n : 0);
    CHECK_INT(opening.damaged_blocks, 0);
    CHECK_INT(file_bytes_of(options->path), 0);
    CHECK_OK(fp_sink_source(sink, &source, &err), err);
    CHECK_INT(source->n_blocks, 0);
    fp_source_release(source);
    rows r = some_rows(40);
    CHECK_OK(append_rows(sink, &r, 0, 20, &err), err);
    CHECK_OK(append_rows(sink, &r, 20, 20, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    check_rows(options->path, &r);
    rows_free(&r);
}

static void check_same(const char *path, const bytes *b)
{
    bytes same = load_file(path);
    CHECK(same.n == b->n && memcmp(same.at, b->at, b->n) == 0);
    free(same.at);
}

/* Reading, verifying and repairing change nothing, and say that there is no backup. */
static void check_is_no_backup(const char *path, const bytes *b)
{
    save_file(path, b->at, b->n);
    fp_source *source;
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = fp_source_open(&source, path, NULL, &err);
    CHECK(rc == FACPOOL_E_UNSUPPORTED || rc == FACPOOL_E_CORRUPT);
    CHECK_INT(fp_store_verify(path, &report, &err), rc);
    CHECK_INT(fp_store_repair(path, &report, &err), rc);
    check_same(path, b);
}

static void check_is_left(const facpool_backup_options *options, const bytes *b)
{
    save_file(options->path, b->at, b->n);
    fp_sink *sink;
    int rc = open_sink(&sink, options, NULL, &err);
    CHECK(rc == FACPOOL_E_UNSUPPORTED || rc == FACPOOL_E_CORRUPT);
    check_same(options->path, b);
}

/* ------------------------------------------------------------------ zeros alone */

static const size_t sizes[] = {1, 8, 511, 512, 4095, 4096, 4097, 65536, 65537, 300000};

#define N_SIZES (sizeof sizes / sizeof *sizes)

static bytes zeros_of(size_t n)
{
    bytes b = {.at = calloc(1, n), .n = n};
    CHECK(b.at);
    return b;
}

static void zeros_are_continued_and_overwritten(void)
{
    const char *path = path_of("zeros.jsonl");
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    facpool_backup_options overwrite = options_of(path, FACPOOL_MODE_OVERWRITE);
    for (size_t i = 0; i < N_SIZES; i++) {
        bytes b = zeros_of(sizes[i]);
        check_goes_on(&resume, &b);
        check_goes_on(&overwrite, &b);
        check_is_no_backup(path, &b);
        free(b.at);
    }
}

/* Whose length is not 0 is there. */
static void zeros_are_no_absent_file(void)
{
    const char *path = path_of("there.jsonl");
    facpool_backup_options create = options_of(path, FACPOOL_MODE_CREATE);
    fp_sink *sink;
    bytes b = zeros_of(600);
    save_file(path, b.at, b.n);
    CHECK_INT(open_sink(&sink, &create, NULL, &err), FACPOOL_E_EXISTS);
    check_same(path, &b);
    free(b.at);
}

/* Only a name, or a format that is asked for, says that zeros were to be a json file. */
static void zeros_of_other_formats_are_left_alone(void)
{
    static const struct {
        const char *name, *format;
    } others[] = {{"zeros.fpb", NULL},       {"zeros.arrow", NULL},     {"zeros", NULL},
                  {"zeros.jsonl", "binary"}, {"z.jsonl", "memory_map"}, {"zeros.fpb", "binary"}};
    bytes b = zeros_of(4096);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        for (int mode = FACPOOL_MODE_RESUME; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
            facpool_backup_options options = options_of(path_of(others[i].name), mode);
            options.format = others[i].format;
            check_is_left(&options, &b);
        }
    facpool_backup_options named = options_of(path_of("zeros.fpb"), FACPOOL_MODE_RESUME);
    named.format = "json";
    check_goes_on(&named, &b);
    free(b.at);
}

static void one_byte_among_zeros_is_somebodys(void)
{
    const char *path = path_of("byte.jsonl");
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    facpool_backup_options overwrite = options_of(path, FACPOOL_MODE_OVERWRITE);
    for (size_t i = 0; i < N_SIZES; i++) {
        bytes b = zeros_of(sizes[i]);
        const size_t places[] = {0, b.n / 2, b.n - 1};
        for (size_t k = 0; k < 3; k++) {
            b.at[places[k]] = 'x';
            check_is_left(&resume, &b);
            check_is_left(&overwrite, &b);
            b.at[places[k]] = 0;
        }
        free(b.at);
    }
}

/* Small numbers and zeros, as binary files of others begin: the first byte may be one that a row,
 * or a blank line, begins with. */
static void files_of_numbers_are_somebodys(void)
{
    static const struct {
        const char *name, *format;
    } ways[] = {{"numbers.bin", NULL},
                {"numbers.bin", "binary"},
                {"numbers.bin", "json"},
                {"numbers.jsonl", NULL}};
    static const uint8_t firsts[] = {'\n', ' ', '{'};
    for (size_t k = 0; k < sizeof firsts; k++)
        for (int has_data = 0; has_data < 2; has_data++) {
            bytes b = zeros_of(90000);
            b.at[0] = firsts[k];
            for (size_t i = 8192; has_data && i < 60000; i += 4)
                b.at[i] = 0x81;
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
                for (int mode = FACPOOL_MODE_RESUME; mode <= FACPOOL_MODE_OVERWRITE; mode++) {
                    facpool_backup_options options = options_of(path_of(ways[w].name), mode);
                    options.format = ways[w].format;
                    if (has_data || w < 2)
                        check_is_left(&options, &b);
                }
            free(b.at);
        }
}

/* ------------------------------------------------------------------ zeros behind a beginning */

/* A file's first n bytes, and zeros. */
static bytes beginning_of(const bytes *b, size_t n, size_t n_zeros)
{
    bytes cut = zeros_of(n + n_zeros);
    memcpy(cut.at, b->at, n);
    return cut;
}

static void a_first_row_that_ends_in_zeros_is_continued(void)
{
    const char *path = path_of("row.jsonl");
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    rows r = some_rows(40);
    bytes b = write_file(path, &r, TAG);
    for (size_t n = 1, end = line_at(&b, 1); n < end; n++)
        for (size_t i = 0; i < N_SIZES; i += 3) {
            bytes cut = beginning_of(&b, n, sizes[i]);
            check_goes_on(&resume, &cut);
            free(cut.at);
        }
    free(b.at);
    rows_free(&r);
}

/* Rows that are whole are kept, whatever zeros there are. */
static void whole_rows_before_zeros_are_kept(void)
{
    const char *path = path_of("kept.jsonl");
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    rows r = some_rows(40);
    bytes b = write_file(path, &r, TAG);
    for (size_t n = line_at(&b, 1); n < line_at(&b, 3); n++) {
        bytes cut = beginning_of(&b, n, 700);
        save_file(path, cut.at, cut.n);
        size_t kept = count_lines(cut.at, cut.n);
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(open_sink_of_all(&sink, &resume, &opening, &err), err);
        CHECK_INT(opening.tail_bytes_cut, cut.n - line_at(&b, kept));
        CHECK_OK(fp_sink_close(sink, &err), err);
        rows expected = some_rows(40);
        expected.n = kept;
        check_rows(path, &expected);
        rows_free(&expected);
        free(cut.at);
    }
    free(b.at);
    rows_free(&r);
}

/* What is no beginning of a row of this run does not become one by zeros behind it. */
static void other_beginnings_stay_what_they_are(void)
{
    static const char *const others[] = {"{\"date\":\"2024-01-02\",\"close\":10.5}",
                                         "{\"date\":20240102,\"code\":\"000001\",\"open\":1.0",
                                         "{\"dates\":1", "date,code\n1,2", "[1,2"};
    const char *path = path_of("other.jsonl");
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        bytes text = {.at = (uint8_t *)(uintptr_t)others[i], .n = strlen(others[i])};
        bytes b = beginning_of(&text, text.n, 600);
        check_is_left(&resume, &b);
        check_is_no_backup(path, &b);
        free(b.at);
    }
}

/* Of a row that was there once, or somebody's: no run goes on behind it. */
static void zeros_with_more_behind_them_are_left_alone(void)
{
    const char *path = path_of("behind.jsonl");
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    char start[] = "{\"date\":20240102,\"code\":\"";
    bytes text = {.at = (uint8_t *)start, .n = strlen(start)};
    bytes b = beginning_of(&text, text.n, 6000);
    b.at[b.n - 100] = 'x';
    check_is_left(&resume, &b);
    check_is_no_backup(path, &b);
    free(b.at);
}

/* ------------------------------------------------------------------ a beginning that is lost */

/* n bytes of damage, and a file behind it. */
static bytes behind(const bytes *b, size_t n, uint8_t damage)
{
    bytes all = zeros_of(n + b->n);
    memset(all.at, damage, n);
    memcpy(all.at + n, b->at, b->n);
    return all;
}

/* The first line takes the damage along; the others are read, verified, resumed and overwritten as
 * those of any damaged file. */
static void check_is_known(const char *path, const bytes *b, size_t n_rows)
{
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    save_file(path, b->at, b->n);
    CHECK_INT(fp_store_verify(path, &report, &err), FACPOOL_E_CORRUPT);
    CHECK_INT(report.rows, n_rows - 1);
    CHECK_INT(report.damaged_blocks, 1);
    CHECK_INT(fp_store_repair(path, &report, &err), 0);
    check_same(path, b);
    fp_sink *sink;
    fp_sink_opening opening;
    CHECK_OK(open_sink_of_all(&sink, &resume, &opening, &err), err);
    CHECK_INT(opening.existed, 1);
    CHECK_INT(opening.damaged_blocks, 1);
    rows first = some_rows(1);
    CHECK_OK(append_rows(sink, &first, 0, 1, &err), err);
    CHECK_OK(fp_sink_close(sink, &err), err);
    rows all = some_rows(n_rows);
    check_rows(path, &all);
    rows_free(&first);
    rows_free(&all);
}

static void a_file_is_known_by_its_rows(void)
{
    static const struct {
        size_t n;
        uint8_t damage;
    } losses[] = {{1, 0},       {4096, 0},   {4097, 0},   {65536, 0},
                  {3000000, 0}, {4096, ' '}, {70000, ' '}};
    const char *path = path_of("known.jsonl");
    facpool_backup_options overwrite = options_of(path, FACPOOL_MODE_OVERWRITE);
    rows r = some_rows(40);
    bytes b = write_file(path, &r, TAG);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        bytes lost = behind(&b, losses[i].n, losses[i].damage);
        check_is_known(path, &lost, r.n);
        save_file(path, lost.at, lost.n);
        CHECK_OK(write_rows(&overwrite, &r, RUN_ROWS, &err), err);
        check_rows(path, &r);
        free(lost.at);
    }
    free(b.at);
    rows_free(&r);
}

/* Sectors that were on the disk between others that were not. */
static void rows_between_lost_sectors_are_known(void)
{
    const char *path = path_of("sectors.jsonl");
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    rows r = some_rows(120);
    bytes b = write_file(path, &r, TAG);
    /* which of the first six, the first always among them */
    for (unsigned lost = 1; lost < 64; lost += 2) {
        bytes torn = behind(&b, 0, 0);
        for (size_t sector = 0; sector < 6; sector++)
            if (lost >> sector & 1)
                memset(torn.at + sector * 512, 0, 512);
        save_file(path, torn.at, torn.n);
        fp_source *source;
        CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
        CHECK(source->n_blocks > 0);
        fp_source_release(source);
        fp_sink *sink;
        CHECK_OK(open_sink(&sink, &resume, NULL, &err), err);
        CHECK_OK(fp_sink_close(sink, &err), err);
        CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
        fp_source_release(source);
        free(torn.at);
    }
    free(b.at);
    rows_free(&r);
}

/* Garbage in all of the first sectors, and blanks in place of some of it: what a resume leaves that
 * loses its power while it gives up damage. */
static void rows_behind_half_blanked_garbage_are_known(void)
{
    static const struct {
        size_t at; /* where a line begins */
        const char *line;
    } traces[] = {{900, "                    "},
                  {4000, "        \x01 rest of a row"},
                  {100, "       07,\"checksum\":\"0123456789abcdef\"}"},
                  {0, "          "}};
    const char *path = path_of("garbage.jsonl");
    rows r = some_rows(120);
    bytes b = write_file(path, &r, TAG);
    for (size_t i = 0; i <= sizeof traces / sizeof *traces; i++) {
        bytes torn = behind(&b, 0, 0);
        random_numbers garbage = {i};
        for (size_t at = 0; at < 4096; at++) {
            uint64_t bits = random_bits(&garbage);
            torn.at[at] = bits % 256 ? (uint8_t)bits : '\n';
        }
        torn.at[4095] = '\n'; /* or the last line of it ends as a row */
        bool is_traced = i < sizeof traces / sizeof *traces;
        if (is_traced) {
            size_t at = traces[i].at, n = strlen(traces[i].line);
            memcpy(torn.at + at, traces[i].line, n);
            torn.at[at + n] = '\n';
            if (at)
                torn.at[at - 1] = '\n';
        }
        save_file(path, torn.at, torn.n);
        fp_source *source = NULL;
        int rc = fp_source_open(&source, path, NULL, &err);
        CHECK_INT(rc, is_traced ? 0 : FACPOOL_E_UNSUPPORTED);
        CHECK(!is_traced || source->n_blocks > 0);
        fp_source_release(source);
        free(torn.at);
    }
    free(b.at);
    rows_free(&r);
}

/* Its first sectors, up to the middle of a row: each is zeros, garbage or blanks, these at least
 * once. So they are when the power is lost again while lost ones are given up. */
static bytes half_blanked(const bytes *b, random_numbers *r)
{
    bytes torn = behind(b, 0, 0);
    size_t n = line_at(b, 59) + 30, blank = 512 * random_below(r, 9);
    for (size_t begin = 0; begin < n; begin += 512) {
        size_t end = begin + 512 < n ? begin + 512 : n;
        unsigned kind = begin == blank ? 0 : random_below(r, 3);
        for (size_t at = begin; at < end; at++)
            torn.at[at] = kind == 0 ? ' ' : kind == 1 ? 0 : (uint8_t)random_bits(r);
    }
    return torn;
}

static void rows_behind_half_blanked_sectors_are_known(void)
{
    const char *path = path_of("blanked.jsonl");
    facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
    rows r = some_rows(120);
    bytes b = write_file(path, &r, TAG);
    CHECK(line_at(&b, 59) > 9 * 512);
    random_numbers choices = {1};
    for (unsigned i = 0; i < of_tier(300, 1000, 100000); i++) {
        bytes torn = half_blanked(&b, &choices);
        save_file(path, torn.at, torn.n);
        fp_source *source;
        fp_sink *sink;
        fp_sink_opening opening;
        CHECK_OK(fp_source_open(&source, path, NULL, &err), err);
        fp_source_release(source);
        CHECK_OK(open_sink_of_all(&sink, &resume, &opening, &err), err);
        rows lost = some_rows(60);
        for (size_t first = 0; first < lost.n; first += RUN_ROWS)
            CHECK_OK(append_rows(sink, &lost, first, RUN_ROWS, &err), err);
        CHECK_OK(fp_sink_close(sink, &err), err);
        check_rows(path, &r);
        rows_free(&lost);
        free(torn.at);
    }
    free(b.at);
    rows_free(&r);
}

/* A trace of blanking, letters in a line, garbage in lines, and a file. */
static bytes behind_garbage(const bytes *b, size_t n_letters, size_t n_garbage)
{
    static const char trace[] = "        \x01\n";
    size_t begin = strlen(trace) + n_letters + 1;
    bytes all = behind(b, begin + n_garbage, '\x01');
    memcpy(all.at, trace, strlen(trace));
    memset(all.at + strlen(trace), 'w', n_letters);
    for (size_t at = begin - 1; at < begin + n_garbage; at += 100)
        all.at[at] = '\n';
    all.at[begin + n_garbage - 1] = '\n';
    return all;
}

/* Rows count within a MiB, and where a few letters stand before them. */
static void rows_far_behind_garbage_or_letters_are_not_known(void)
{
    static const struct {
        size_t n_letters, n_garbage;
        bool is_known;
    } cases[] = {{31, 5000, true}, {32, 5000, false}, {31, 1000000, true}, {31, 1100000, false}};
    const char *path = path_of("far.jsonl");
    rows r = some_rows(120);
    bytes b = write_file(path, &r, TAG);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes torn = behind_garbage(&b, cases[i].n_letters, cases[i].n_garbage);
        save_file(path, torn.at, torn.n);
        fp_source *source = NULL;
        int rc = fp_source_open(&source, path, NULL, &err);
        CHECK_INT(rc, cases[i].is_known ? 0 : FACPOOL_E_UNSUPPORTED);
        fp_source_release(source);
        free(torn.at);
    }
    free(b.at);
    rows_free(&r);
}

#define TEXT(literal) literal, sizeof literal - 1

/* Rows of ours may stand in files of others: in a page about this format, an archive, the image of
 * a disk. Those are nobody's backup, and who would write one there leaves them as they are. */
static void files_of_others_with_rows_in_them_are_left_alone(void)
{
    static const struct {
        const char *begin;
        size_t n_begin, n_zeros;
        const char *end;
    } others[] = {
        {TEXT("# Rows\n\n```\n"), 0, "```\nmore text\n"},
        {TEXT("x.jsonl\0\0\0000644"), 498, ""},
        {TEXT(""), 1024, "\x01\x02"},
        {TEXT("\0\0\0\0\x53\xef\x01\n"), 2000, ""},
        {TEXT("\0\0\0\0a line of text\n"), 0, ""},
        {TEXT("\0\0\0\0,\"checksum\":\"0123456789abcdef\"\n"), 0, ""},
        {TEXT("\0\0\0\0,\"checksum\":\"0123456789abcdef\"} \n"), 0, ""},
        {TEXT("{\"user\":1}\n"), 0, ""},
        {TEXT("\xa5\xa5\xa5"), 0, ""},
        {TEXT("\xa5\xa5\xa5"), 4096, ""},
        {TEXT("{\"da"), 4096, ""},
        {TEXT("                    \n"), 0, ""},
        {TEXT("\xa5\xa5\n                    \n\x01\x02\n"), 0, ""},
    };
    static const char *const names[] = {"others.jsonl", "others.txt"};
    rows r = some_rows(40);
    bytes b = write_file(path_of("source.jsonl"), &r, TAG);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        size_t n_end = strlen(others[i].end), n_lead = others[i].n_begin + others[i].n_zeros;
        /* lines before the rows that are none, so that the first 4 KiB hold no beginning of one */
        bytes file = zeros_of(n_lead + n_end + 8000 + b.n);
        memcpy(file.at, others[i].begin, others[i].n_begin);
        memcpy(file.at + n_lead, others[i].end, n_end);
        for (size_t at = n_lead + n_end; at < file.n - b.n; at++)
            file.at[at] = at % 80 == 79 || at + 1 == file.n - b.n ? '\n' : 'w';
        memcpy(file.at + file.n - b.n, b.at, b.n);
        for (size_t k = 0; k < 2; k++) {
            const char *path = path_of(names[k]);
            facpool_backup_options resume = options_of(path, FACPOOL_MODE_RESUME);
            facpool_backup_options overwrite = options_of(path, FACPOOL_MODE_OVERWRITE);
            check_is_no_backup(path, &file);
            check_is_left(&resume, &file);
            check_is_left(&overwrite, &file);
        }
        free(file.at);
    }
    free(b.at);
    rows_free(&r);
}

int main(void)
{
    make_folder();
    RUN(zeros_are_continued_and_overwritten);
    RUN(zeros_are_no_absent_file);
    RUN(zeros_of_other_formats_are_left_alone);
    RUN(one_byte_among_zeros_is_somebodys);
    RUN(files_of_numbers_are_somebodys);
    RUN(a_first_row_that_ends_in_zeros_is_continued);
    RUN(whole_rows_before_zeros_are_kept);
    RUN(other_beginnings_stay_what_they_are);
    RUN(zeros_with_more_behind_them_are_left_alone);
    RUN(a_file_is_known_by_its_rows);
    RUN(rows_between_lost_sectors_are_known);
    RUN(rows_behind_half_blanked_garbage_are_known);
    RUN(rows_behind_half_blanked_sectors_are_known);
    RUN(rows_far_behind_garbage_or_letters_are_not_known);
    RUN(files_of_others_with_rows_in_them_are_left_alone);
    remove_folder();
    return TEST_END();
}
