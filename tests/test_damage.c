/* A small backup of each file format, cut at every byte, and with every bit of it flipped: never a
 * crash, never a wrong row. Every question gives right rows or an error, verify sees every flip
 * that could matter, and resume brings back exactly the right rows, each once. Through the public
 * header only. */
#include "damage_rows.h"

/* A part of the places that could be tried is: 1 in `small`, `usual` or `in_long`. Steps are odd,
 * so that every bit of a byte has its turn. */
typedef struct thinning {
    unsigned small, usual, in_long;
} thinning;

static size_t step_of(thinning t)
{
    return of_tier(t.small, t.usual, t.in_long);
}

/* Places of the larger files, of which each costs more, and of the smallest. */
static size_t step_for_format(thinning smallest, thinning others)
{
    return step_of(format == &formats[0] ? smallest : others);
}

/* In both orders: all rows, ok rows, failed ones, as far as n goes. With errors rows may be
 * missing; without them the answer is whole. Returns how many questions met damage, or -1 where the
 * file could not be opened. */
static int ask_questions(int n, bool *whole)
{
    static const uint32_t statuses[] = {FACPOOL_STATUS_ALL, 0,
                                        FACPOOL_STATUS_BIT(FACPOOL_STATUS_FAILED)};
    facpool_reader *reader = open_reader();
    if (!reader)
        return -1;
    int met = 0;
    *whole = true;
    for (int i = 0; i < n; i++) {
        answer a;
        ask(&a, reader, i % 2 ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE, statuses[i / 2]);
        unsigned expected = i / 2 == 0   ? (unsigned)n_keys
                            : i / 2 == 1 ? rows_of_status(FACPOOL_STATUS_OK)
                                         : rows_of_status(FACPOOL_STATUS_FAILED);
        met += !answer_is_silent(&a);
        CHECK_INT(a.n_twice, 0);
        if (a.n_rows != expected || a.n_older)
            *whole = false;
    }
    facpool_reader_free(reader);
    return met;
}

static int ask_everything(bool *whole)
{
    return ask_questions(6, whole);
}

/* ------------------------------------------------------------------ whole files */

static void the_backup_is_what_it_should_be(void)
{
    bool whole = false;
    make_backup(FACPOOL_DURABILITY_GROUP);
    CHECK_INT(ask_everything(&whole), 0);
    CHECK(whole);
    const facpool_info *info = NULL;
    CHECK_OK(facpool_backup_info(&info, path, &err), err);
    CHECK_TEXT(info->format, format->name);
    CHECK(info->closed);
    CHECK(info->blocks >= 3);
    CHECK(info->rows[FACPOOL_STATUS_OK] == rows_of_status(FACPOOL_STATUS_OK));
    CHECK(info->rows[FACPOOL_STATUS_FAILED] > rows_of_status(FACPOOL_STATUS_FAILED));
    printf("  %llu bytes, %llu blocks\n", (unsigned long long)info->file_bytes,
           (unsigned long long)info->blocks);
    facpool_info_free(info);
}

/* ------------------------------------------------------------------ cuts */

/* A cut file is a younger one: what is read is what was written by then, with no error. */
static void check_cut(size_t cut, unsigned *rows_before)
{
    facpool_reader *reader = open_reader();
    if (!reader) {
        CHECK_INT(*rows_before, 0);
        return;
    }
    unsigned n_rows = 0;
    for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        answer a;
        ask(&a, reader, order, FACPOOL_STATUS_ALL);
        CHECK_INT(a.n_errors, 0);
        CHECK_INT(a.open_error, 0);
        CHECK_INT(a.n_twice, 0);
        if (order == FACPOOL_ORDER_KEY)
            CHECK_INT(a.n_rows, n_rows);
        n_rows = a.n_rows;
    }
    facpool_reader_free(reader);
    if (n_rows < *rows_before)
        printf("  cut at %zu\n", cut);
    CHECK(n_rows >= *rows_before);
    *rows_before = n_rows;
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    CHECK_INT(report.damaged_blocks, 0);
}

/* Damage that cutting leaves is none: it was never said to be there. */
static void resume_and_check_all(size_t at)
{
    bool whole = false;
    uint64_t damaged = 0;
    resume(format->n_dates, FACPOOL_DURABILITY_NONE, &damaged);
    int met = ask_everything(&whole);
    if (met || !whole || damaged)
        printf("  at byte %zu\n", at);
    CHECK_INT(damaged, 0);
    CHECK_INT(met, 0);
    CHECK(whole);
    CHECK_INT(resume(format->n_dates, FACPOOL_DURABILITY_NONE, NULL),
              rows_of_status(FACPOOL_STATUS_FAILED));
}

/* How many lines are whole. */
static unsigned count_lines(const uint8_t *bytes, size_t size)
{
    unsigned n = 0;
    for (size_t i = 0; i < size; i++)
        n += bytes[i] == '\n';
    return n;
}

#define N_PARTS 6

/* A file of six blocks and, after each, how long the file was and how many rows it held. The first
 * ones are of two syncs: what was durable is told from what was not. */
static void write_parts(size_t *sizes, unsigned *n_rows)
{
    facpool_writer *writer = NULL;
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.mode = FACPOOL_MODE_OVERWRITE;
    CHECK_OK(facpool_writer_open(&writer, &options, NULL, N_FACTORS, &err), err);
    for (size_t part = 0; part < N_PARTS; part++) {
        bool ok = part % 3 != 1; /* a block holds ok rows or others */
        n_rows[part] = part ? n_rows[part - 1] : 0;
        for (size_t key = 0; key < n_keys; key++) {
            int64_t date = date_of(key);
            int status = status_of(key, 2);
            double factors[N_FACTORS];
            uint8_t byte = (uint8_t)status;
            const char *message = "no bars";
            int32_t code = 7 + (int32_t)key;
            if ((status == FACPOOL_STATUS_OK) != ok || key % 2 != part / 3)
                continue;
            factors_of(key, factors);
            facpool_rows rows = FACPOOL_ROWS_INIT;
            rows.n = 1;
            rows.dates = &date;
            rows.codes = &codes[key % N_CODES];
            rows.statuses = &byte;
            rows.factors = factors;
            rows.failure_codes = status == FACPOOL_STATUS_FAILED ? &code : NULL;
            rows.messages = status == FACPOOL_STATUS_FAILED ? &message : NULL;
            if (ok && (key / 2 % 2 == 0) != (part % 3 == 0))
                continue;
            CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
            n_rows[part]++;
        }
        CHECK_OK(facpool_writer_sync(writer, &err), err);
        sizes[part] = (size_t)file_bytes(path);
    }
    CHECK_OK(facpool_writer_close(writer, &err), err);
}

static void a_file_cut_at_any_byte_holds_exactly_what_is_whole(void)
{
    size_t size = 0, sizes[N_PARTS];
    unsigned n_rows[N_PARTS];
    write_parts(sizes, n_rows);
    CHECK_INT(n_rows[N_PARTS - 1], n_keys);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    size_t step = step_for_format((thinning){3, 1, 1}, (thinning){17, 1, 1});
    for (size_t cut = 0; cut <= size; cut += step) {
        unsigned expected = 0, found = 0;
        for (size_t part = 0; part < N_PARTS && sizes[part] <= cut; part++)
            expected = n_rows[part];
        if (!format->has_frame)
            expected = count_lines(bytes, cut);
        CHECK(file_write(path, bytes, cut));
        check_cut(cut, &found);
        if (found != expected)
            printf("  cut at %zu of %zu\n", cut, size);
        CHECK_INT(found, expected);
    }
    free(bytes);
}

static void check_all_cuts(int32_t durability)
{
    size_t size = 0;
    unsigned rows_before = 0;
    bool whole = false;
    make_backup(durability);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    size_t step = step_for_format((thinning){5, 1, 1}, (thinning){19, 3, 1});
    for (size_t cut = 0; cut <= size; cut += step) {
        CHECK(file_write(path, bytes, cut));
        check_cut(cut, &rows_before);
    }
    CHECK(file_write(path, bytes, size));
    CHECK_INT(ask_everything(&whole), 0);
    CHECK(whole);
    free(bytes);
}

static void a_file_cut_at_any_byte_gives_what_was_written_before(void)
{
    check_all_cuts(FACPOOL_DURABILITY_GROUP);
}

static void a_file_never_synced_and_cut_at_any_byte_gives_what_was_written_before(void)
{
    check_all_cuts(FACPOOL_DURABILITY_NONE);
}

static void a_file_cut_at_any_byte_is_completed_by_resume(void)
{
    size_t size = 0, resumed = 0, refused = 0;
    make_backup(FACPOOL_DURABILITY_GROUP);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    size_t step = step_for_format((thinning){19, 1, 1}, (thinning){61, 5, 1});
    for (size_t cut = 0; cut <= size; cut += step) {
        CHECK(file_write(path, bytes, cut));
        facpool_reader *reader = NULL;
        const char *paths[] = {path};
        /* A file cut in its header is no backup: resume refuses it too. */
        if (format->has_frame && facpool_reader_open(&reader, paths, 1, &err)) {
            int rc = try_resume(1, 0, NULL);
            CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED || rc == 0);
            refused += rc != 0;
            continue;
        }
        facpool_reader_free(reader);
        resume_and_check_all(cut);
        resumed++;
    }
    printf("  %zu cuts resumed, %zu refused\n", resumed, refused);
    free(bytes);
}

/* ------------------------------------------------------------------ flips */

/* A whole file, closed after a sync: all its rows are known to be there, so that a question either
 * gives them all or meets damage. (Bad lines at the end of a json file are its torn tail.) */
static void check_flip(size_t bit, int n_questions)
{
    bool whole = false;
    facpool_verify_report report;
    CHECK(verify_notices(&report));
    if (!n_questions)
        return;
    int met = ask_questions(n_questions, &whole);
    bool is_torn = report.tail_bytes > 0 && !format->has_frame;
    if (met == 0 && !whole && !is_torn)
        printf("  bit %zu of byte %zu\n", bit % 8, bit / 8);
    CHECK(met != 0 || whole || is_torn);
}

/* How many questions are asked of a file with this bit flipped. */
static int questions_about(size_t bit)
{
    if (bit % 8 == bit / 8 % 8)
        return 6;
    return bit % step_for_format((thinning){1, 1, 1}, (thinning){1, 5, 1}) == 0 ? 2 : 0;
}

static void any_flipped_bit_gives_right_rows_or_an_error(void)
{
    size_t size = 0;
    make_backup(FACPOOL_DURABILITY_GROUP);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    size_t step = step_for_format((thinning){9, 1, 1}, (thinning){37, 3, 1}), n_flips = 0;
    int fd = file_open_to_damage();
    for (size_t bit = 0; bit < size * 8; bit += step, n_flips++) {
        file_flip(fd, bytes, bit);
        check_flip(bit, questions_about(bit));
        file_flip(fd, bytes, bit);
    }
    close(fd);
    free(bytes);
    printf("  %zu of %zu bits flipped, one after another\n", n_flips, size * 8);
}

/* The same without the last sync and the index, as a killed writer leaves a file: its last blocks
 * may be taken for a torn tail. */
static void any_flipped_bit_of_an_unclosed_file_gives_right_rows_or_fewer(void)
{
    size_t size = 0;
    make_backup(FACPOOL_DURABILITY_NONE);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    report.closed = 1;
    size_t cut = size; /* before the index: the last cut that is not closed and has no tail */
    while (format->has_frame && (report.tail_bytes || report.closed)) {
        CHECK(file_write(path, bytes, --cut));
        CHECK_OK(facpool_backup_verify(path, &report, &err), err);
    }
    CHECK(file_write(path, bytes, cut));
    size_t step = step_for_format((thinning){17, 5, 1}, (thinning){71, 11, 1});
    int fd = file_open_to_damage();
    for (size_t bit = 0; bit < cut * 8; bit += step) {
        file_flip(fd, bytes, bit);
        bool whole = false;
        int met = ask_questions(bit % 8 == bit / 8 % 8 ? 6 : 2, &whole);
        int rc = facpool_backup_verify(path, &report, &err);
        bool noticed = rc || report.tail_bytes;
        if (!noticed && (met || !whole))
            printf("  bit %zu of byte %zu is not noticed\n", bit % 8, bit / 8);
        CHECK(noticed || (!met && whole));
        file_flip(fd, bytes, bit);
    }
    close(fd);
    free(bytes);
}

/* After resume every key has its row exactly once, whatever is still damaged beside them. */
static void check_resumed_over_damage(size_t bit)
{
    facpool_reader *reader = NULL;
    const char *paths[] = {path};
    CHECK_OK(facpool_reader_open(&reader, paths, 1, &err), err);
    for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        answer a;
        ask(&a, reader, order, FACPOOL_STATUS_ALL);
        if (a.n_rows != n_keys || a.n_twice || a.n_older)
            printf("  bit %zu of byte %zu, order %d: %u rows, %u twice, %u older\n", bit % 8,
                   bit / 8, order, a.n_rows, a.n_twice, a.n_older);
        CHECK_INT(a.n_rows, n_keys);
        CHECK_INT(a.n_twice, 0);
        CHECK_INT(a.n_older, 0);
        ask(&a, reader, order, 0);
        CHECK_INT(a.n_rows, rows_of_status(FACPOOL_STATUS_OK));
        CHECK_INT(a.n_twice, 0);
    }
    facpool_reader_free(reader);
}

static void resume_over_any_flipped_bit_brings_every_row_back_once(void)
{
    size_t size = 0, refused = 0, resumed = 0;
    make_backup(FACPOOL_DURABILITY_GROUP);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    /* Every byte has one of its bits flipped, a different one from byte to byte. */
    size_t step = step_for_format((thinning){19, 1, 1}, (thinning){67, 7, 1});
    for (size_t byte = 0; byte < size; byte += step) {
        size_t bit = byte * 8 + mix_bits(byte) % 8;
        bytes[byte] ^= (uint8_t)(1 << bit % 8);
        CHECK(file_write(path, bytes, size));
        bytes[byte] ^= (uint8_t)(1 << bit % 8);
        facpool_reader *reader = NULL;
        const char *paths[] = {path};
        if (facpool_reader_open(&reader, paths, 1, &err)) {
            refused++;
            continue;
        }
        facpool_reader_free(reader);
        resume(format->n_dates, FACPOOL_DURABILITY_NONE, NULL);
        check_resumed_over_damage(bit);
        cut_last_bytes();
        check_resumed_over_damage(bit);
        resumed++;
    }
    free(bytes);
    printf("  %zu flips resumed, %zu in the header refused\n", resumed, refused);
}

static void tests(void)
{
    n_keys = format->n_dates * N_CODES;
    RUN(the_backup_is_what_it_should_be);
    RUN(a_file_cut_at_any_byte_holds_exactly_what_is_whole);
    RUN(a_file_cut_at_any_byte_gives_what_was_written_before);
    RUN(a_file_never_synced_and_cut_at_any_byte_gives_what_was_written_before);
    RUN(a_file_cut_at_any_byte_is_completed_by_resume);
    RUN(any_flipped_bit_gives_right_rows_or_an_error);
    RUN(any_flipped_bit_of_an_unclosed_file_gives_right_rows_or_fewer);
    RUN(resume_over_any_flipped_bit_brings_every_row_back_once);
}

int main(int argc, char **argv)
{
    return damage_main(argc, argv, "damage", tests);
}
