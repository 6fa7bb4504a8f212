/* A file of 64 KiB in each format, with every kind of block in it, and its bits flipped one after
 * another: verify names every flip and the block it is in, no question gives a wrong row or one
 * twice, and none loses a row outside the block, or the line, that was hit. Then it is cut, shorter
 * and shorter: what is whole is there, and verify sees the rest. In the long tier each of the more
 * than 524,288 bits of a format and every byte as an end, else some. Through the public header
 * only. */
#include "damage_parts.h"

#define FILE_BYTES ((size_t)64 << 10)
#define N_GROUPS   8

static random_numbers dice;
static parts *file;

/* What a flip has hit. A line end that is hit makes one bad line of two. */
typedef struct hit {
    size_t bit;
    const stretch *first;
    const stretch *second;
    unsigned n_rows;
} hit;

static hit hit_of(size_t bit)
{
    hit h = {.bit = bit, .first = stretch_at(file, bit / 8)};
    const stretch *behind = &file->at[file->n_stretches];
    bool joins = !format->has_frame && bit / 8 + 1 == h.first->end && h.first + 1 < behind;
    h.second = joins ? h.first + 1 : h.first;
    h.n_rows = h.first->n_rows + (joins ? h.second->n_rows : 0);
    return h;
}

static bool is_hit(const hit *h, size_t key)
{
    const stretch *holds = &file->at[file->stretch_of[key]];
    return holds == h->first || holds == h->second;
}

static bool is_at_end(const hit *h)
{
    return h->second == &file->at[file->n_stretches - 1];
}

/* ------------------------------------------------------------------ verify */

/* A bad line at the end of a file of lines is a torn tail, and the rows of all others are sound. */
static void check_tail(const hit *h, const facpool_verify_report *report)
{
    CHECK_INT(report->damaged_blocks, 0);
    CHECK_INT(report->tail_bytes, file->size - h->first->begin);
    CHECK_INT(report->rows, file->n_rows - h->n_rows);
}

/* One block is damaged, this one, and the rows are counted as they are. */
static void check_block(const hit *h, int rc, const facpool_verify_report *report)
{
    CHECK_INT(rc, FACPOOL_E_CORRUPT);
    CHECK_INT(report->damaged_blocks, 1);
    CHECK(report->first_damage >= h->first->begin && report->first_damage < h->first->end);
    CHECK_INT(report->tail_bytes, 0);
    CHECK_INT(report->rows, file->n_rows - h->n_rows);
    if (format->has_frame)
        CHECK_INT(report->rows_damaged, h->n_rows);
}

/* An index at the end that is damaged leaves a file that was not closed, or has a torn tail. */
static void check_last_index(int rc, const facpool_verify_report *report)
{
    CHECK(rc == FACPOOL_E_CORRUPT || report->tail_bytes > 0 || !report->closed);
    CHECK(rc == 0 || rc == FACPOOL_E_CORRUPT);
    CHECK_INT(report->rows, file->n_rows);
    CHECK_INT(report->rows_damaged, 0);
}

static void check_verify(const hit *h)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = facpool_backup_verify(path, &report, &err);
    if (h->first->kind == STRETCH_HEADER)
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
    else if (is_at_end(h) && !format->has_frame)
        check_tail(h, &report);
    else if (is_at_end(h))
        check_last_index(rc, &report);
    else
        check_block(h, rc, &report);
}

/* ------------------------------------------------------------------ questions */

/* Of the keys first .. end - 1 every row is there but those that were hit, and these too where no
 * damage was met. */
static void check_answer(const hit *h, const answer *a, size_t first, size_t end)
{
    CHECK_INT(a->n_twice, 0);
    bool may_lack = !answer_is_silent(a) || (is_at_end(h) && !format->has_frame);
    for (size_t key = first; key < end; key++) {
        if (!is_hit(h, key))
            CHECK_INT(a->seen[key], 1);
        else if (!may_lack)
            CHECK_INT(a->seen[key], format->has_frame ? 1 : a->seen[key]);
    }
}

#define WINDOW_KEYS ((size_t)16 * N_CODES)

/* A random part of a long range of keys, which is enough to have its pages read. */
static void narrow(size_t *first, size_t *end)
{
    if (*end - *first <= WINDOW_KEYS || random_chance(&dice, 10))
        return;
    *first += random_below(&dice, (uint32_t)(*end - *first - WINDOW_KEYS));
    *end = *first + WINDOW_KEYS;
}

/* Where rows of a stretch are, as whole dates. */
static void range_of(const hit *h, size_t *first, size_t *end)
{
    *first = n_keys;
    *end = 0;
    for (size_t key = 0; key < n_keys; key++)
        if (is_hit(h, key)) {
            *first = key < *first ? key : *first;
            *end = key + 1;
        }
    if (!*end) { /* no row: any date will do */
        *first = random_below(&dice, (uint32_t)n_keys);
        *end = *first + 1;
    }
    narrow(first, end);
    *first -= *first % N_CODES;
    *end += (N_CODES - *end % N_CODES) % N_CODES;
}

/* All rows are asked for, or those of the stretch that was hit. */
static void check_questions(const hit *h, bool all)
{
    facpool_reader *reader = open_reader();
    CHECK_INT(!reader, h->first->kind == STRETCH_HEADER);
    if (!reader)
        return;
    size_t first = 0, end = n_keys;
    if (!all)
        range_of(h, &first, &end);
    int64_t date_min = date_of(first), date_max = date_of(end - 1);
    facpool_filter filter = FACPOOL_FILTER_INIT;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.date_min = &date_min;
    filter.date_max = &date_max;
    filter.order = random_chance(&dice, 50) ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE;
    answer a;
    ask_for(&a, reader, &filter);
    check_answer(h, &a, first, end);
    facpool_reader_free(reader);
}

/* ------------------------------------------------------------------ files and flips */

/* The least number of dates whose file is no smaller than FILE_BYTES. */
static void make_file(void)
{
    size_t n_dates = 2 * N_GROUPS;
    file = make_parts(n_dates, N_GROUPS, FACPOOL_DURABILITY_GROUP);
    while (file->size < FILE_BYTES) {
        size_t lacking = FILE_BYTES - file->size;
        n_dates += 1 + n_dates * lacking / file->size / 3;
        free_parts(file);
        file = make_parts(n_dates, N_GROUPS, FACPOOL_DURABILITY_GROUP);
    }
}

/* Reading lines is what verify does with them: outside the long tier fewer flips of theirs are met
 * by questions, too. */
static void check_flip(int fd, size_t bit)
{
    hit h = hit_of(bit);
    file_flip(fd, file->bytes, bit);
    check_verify(&h);
    if (format->has_frame || random_below(&dice, of_tier(4, 4, 1)) == 0)
        check_questions(&h, random_below(&dice, 32) == 0);
    file_flip(fd, file->bytes, bit);
}

/* The file is as it was, or the next checks are of another one. */
static void check_whole(void)
{
    facpool_verify_report report;
    CHECK(!verify_notices(&report));
    CHECK_INT(report.rows, file->n_rows);
    facpool_reader *reader = open_reader();
    CHECK(reader);
    for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        answer a;
        ask(&a, reader, order, FACPOOL_STATUS_ALL);
        CHECK(answer_is_silent(&a) && a.n_rows == n_keys && !a.n_twice && !a.n_older);
    }
    facpool_reader_free(reader);
}

/* In the long tier all bits of a byte, else a random one of every so many bytes. */
static void verify_names_any_flipped_bit_and_it_costs_one_block_at_most(void)
{
    make_file();
    check_whole();
    size_t step = of_tier(29, 3, 1), n_bits = of_tier(1, 1, 8), n_flips = 0;
    int fd = file_open_to_damage();
    for (size_t byte = random_below(&dice, (uint32_t)step); byte < file->size; byte += step)
        for (size_t i = 0; i < n_bits; i++, n_flips++) {
            size_t bit = n_bits == 8 ? i : random_below(&dice, 8);
            check_flip(fd, byte * 8 + bit);
        }
    close(fd);
    check_whole();
    printf("  %zu bits of %zu bytes, %u rows in %zu stretches\n", n_flips, file->size, file->n_rows,
           file->n_stretches);
    free_parts(file);
}

/* ------------------------------------------------------------------ cuts */

static void check_cut_verify(size_t cut, unsigned n_rows, bool has_header)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = facpool_backup_verify(path, &report, &err);
    if (!has_header) {
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        return;
    }
    /* Cut behind a line, or behind the index of an earlier writer, it is what it once was. */
    const stretch *behind = stretch_at(file, cut);
    bool is_whole =
        behind->begin == cut && (!format->has_frame || behind[-1].kind == STRETCH_INDEX);
    CHECK(rc == FACPOOL_E_CORRUPT || report.tail_bytes > 0 || !report.closed || is_whole);
    CHECK_INT(report.rows, n_rows);
    CHECK_INT(report.rows_damaged, 0);
}

static void check_cut_questions(size_t cut)
{
    facpool_reader *reader = open_reader();
    answer a;
    CHECK(reader);
    ask(&a, reader, random_chance(&dice, 50) ? FACPOOL_ORDER_KEY : FACPOOL_ORDER_FILE,
        FACPOOL_STATUS_ALL);
    facpool_reader_free(reader);
    CHECK_INT(a.n_twice, 0);
    for (size_t key = 0; key < n_keys; key++)
        if (file->at[file->stretch_of[key]].end <= cut)
            CHECK_INT(a.seen[key], 1);
}

static void a_cut_anywhere_costs_what_is_behind_it(void)
{
    make_file();
    size_t step = of_tier(61, 5, 1), n_cuts = 0;
    int fd = file_open_to_damage();
    size_t n_whole = file->n_stretches;
    unsigned n_rows = file->n_rows;
    for (size_t cut = file->size - 1 - random_below(&dice, (uint32_t)step);; cut -= step) {
        for (; n_whole && file->at[n_whole - 1].end > cut; n_whole--)
            n_rows -= file->at[n_whole - 1].n_rows;
        bool is_something = n_whole > 0; /* the header, or the first line, is whole */
        CHECK_INT(ftruncate(fd, (off_t)cut), 0);
        check_cut_verify(cut, n_rows, is_something);
        if (is_something && random_below(&dice, 16) == 0)
            check_cut_questions(cut);
        n_cuts++;
        if (cut < step)
            break;
    }
    close(fd);
    CHECK_INT(n_rows, 0);
    printf("  %zu cuts of %zu bytes\n", n_cuts, file->size);
    free_parts(file);
}

static void tests(void)
{
    RUN(a_cut_anywhere_costs_what_is_behind_it);
    RUN(verify_names_any_flipped_bit_and_it_costs_one_block_at_most);
}

int main(int argc, char **argv)
{
    dice.state = environment_seed();
    return damage_main(argc, argv, "damage-bits", tests);
}
