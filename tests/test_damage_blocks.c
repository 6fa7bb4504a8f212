/* Files in pieces: blocks (or lines) removed, doubled, swapped, moved and taken from other files,
 * headers exchanged, bytes spliced, repeated, zeroed and turned to noise, up to four accidents at
 * once, in files that were closed, killed, never synced, or resumed over damage. Every row of a
 * block that is still as it was is read, no row is wrong or read twice, verify sees the harm,
 * repair keeps what there is, and a resumed run brings everything back. Through the public header
 * only. */
#include "damage_surgery.h"

enum { N_DATES = 12, N_GROUPS = 4 };

static random_numbers dice;
static patient table; /* on which all of it is done */

/* ------------------------------------------------------------------ files */

/* What is operated on, and what others are there to take pieces from: one of the same keys and
 * names with other rows, and one of another format. */
static parts *own, *donor, *stranger;

/* A stretch's last bytes are damaged, then the run is resumed: what the stretch held is in the file
 * a second time, behind all that was. */
static void give_up(parts *p, size_t i)
{
    const stretch *s = &p->at[i];
    int fd = file_open_to_damage();
    file_flip(fd, p->bytes, (s->end - 10) * 8);
    close(fd);
    resume(N_DATES, FACPOOL_DURABILITY_GROUP, NULL);
    free(p->bytes);
    p->bytes = file_read(path, &p->size);
    CHECK(p->bytes);
    if (!format->has_frame) {
        find_lines(p);
        return;
    }
    p->at[i].is_damaged = true;
    uint16_t last = (uint16_t)p->n_stretches;
    parts_add(p, p->size, STRETCH_ROWS);
    for (size_t key = 0; key < n_keys; key++)
        if (p->stretch_of[key] == i || status_of(key, 2) == FACPOOL_STATUS_FAILED)
            p->stretch_of[key] = last;
}

/* As a killed writer leaves it: without its last index. */
static void uncover(parts *p)
{
    if (format->has_frame)
        p->size = p->at[--p->n_stretches].begin;
}

static void make_stranger(void)
{
    const damage_format *keep = format;
    char keep_path[sizeof path];
    memcpy(keep_path, path, sizeof path);
    format = &formats[format == &formats[0] ? 2 : 0];
    snprintf(path, sizeof path, "%s", scratch_path(format->has_frame ? "other" : "other.jsonl"));
    strcat(path, format->suffix);
    stranger = make_parts(N_DATES, N_GROUPS, 0);
    memcpy(path, keep_path, sizeof path);
    format = keep;
}

static void make_own(int32_t durability)
{
    free_parts(own);
    own = NULL;
    world = 1;
    tag = NULL;
    own = make_parts(N_DATES, N_GROUPS, durability);
}

/* Lines bear no file's name: only a tag tells those of one file from those of another. */
static void make_files(void)
{
    world = 3;
    tag = NULL;
    make_stranger();
    world = 2;
    tag = format->has_frame ? NULL : "of another version";
    donor = make_parts(N_DATES, N_GROUPS, FACPOOL_DURABILITY_GROUP);
    make_own(FACPOOL_DURABILITY_GROUP);
}

static void free_files(void)
{
    free_parts(own);
    free_parts(donor);
    free_parts(stranger);
    own = donor = stranger = NULL;
}

/* ------------------------------------------------------------------ what must be found */

typedef struct prognosis {
    const parts *owner; /* whose file it is now, by its header or its first line; NULL: nobody's */
    bool is_sound;      /* a file as a writer might have left it */
    bool has_blocks;
    bool starts_well;
    unsigned n_repeats; /* ok rows that are there more than once, each in a sound line */
    bool is_intact[MOST_STRETCHES];
} prognosis;

static bool holds_at(const patient *x, const parts *p, const stretch *s)
{
    return x->n >= s->end &&
           memcmp(x->bytes + s->begin, p->bytes + s->begin, stretch_bytes(s)) == 0;
}

/* A block counts where it is what it was and stands where it stood. What ends with an index block
 * can't be told from a younger file. */
static void foresee_blocks(prognosis *out, const patient *x)
{
    const parts *p = out->owner;
    bool as_it_was = true;
    out->has_blocks = out->starts_well = true;
    for (size_t i = 0; i < p->n_stretches; i++) {
        out->is_intact[i] = holds_at(x, p, &p->at[i]) && !p->at[i].is_damaged;
        as_it_was = as_it_was && out->is_intact[i];
        if (as_it_was && x->n == p->at[i].end && p->at[i].kind == STRETCH_INDEX)
            out->is_sound = true;
    }
}

/* Whose header the file has. */
static const parts *find_header(const patient *x)
{
    const parts *candidates[] = {x->owner, donor, stranger};
    for (size_t c = 0; c < 3; c++)
        if (candidates[c]->at[0].kind == STRETCH_HEADER &&
            holds_at(x, candidates[c], &candidates[c]->at[0]))
            return candidates[c];
    return NULL;
}

/* Which line of the file it is, n bytes with its end; n_stretches: none. */
static size_t find_line(const parts *p, const uint8_t *line, size_t n)
{
    size_t i = 0;
    while (i < p->n_stretches && (p->at[i].n_rows == 0 || stretch_bytes(&p->at[i]) != n ||
                                  memcmp(p->bytes + p->at[i].begin, line, n) != 0))
        i++;
    return i;
}

static bool is_blank(const uint8_t *line, size_t n)
{
    while (n > 0 && line[n - 1] == ' ')
        n--;
    return n == 0;
}

/* A line counts wherever it is, and as often as it is there. */
static void foresee_line(prognosis *out, const patient *x, const uint8_t *line, size_t n)
{
    const parts *candidates[] = {x->owner, donor};
    for (size_t c = 0; c < 2 && !out->owner; c++)
        if (find_line(candidates[c], line, n) < candidates[c]->n_stretches)
            out->owner = candidates[c];
    size_t i = out->owner ? find_line(out->owner, line, n) : 0;
    if (!out->owner || i == out->owner->n_stretches) {
        out->is_sound = out->is_sound && is_blank(line, n - 1);
        return;
    }
    out->starts_well = out->starts_well || line == x->bytes;
    out->n_repeats += out->is_intact[i] && out->owner->at[i].is_ok;
    out->is_intact[i] = true;
}

static void foresee_lines(prognosis *out, const patient *x)
{
    out->is_sound = true;
    for (size_t at = 0; at < x->n;) {
        const uint8_t *newline = memchr(x->bytes + at, '\n', x->n - at);
        size_t end = newline ? (size_t)(newline - x->bytes) + 1 : x->n;
        if (newline)
            foresee_line(out, x, x->bytes + at, end - at);
        else
            out->is_sound = false;
        at = end;
    }
    out->is_sound = out->is_sound && out->owner;
}

static void foresee(prognosis *out, const patient *x)
{
    memset(out, 0, sizeof *out);
    out->owner = find_header(x);
    if (out->owner)
        foresee_blocks(out, x);
    else if (!format->has_frame)
        foresee_lines(out, x);
    world = out->owner ? out->owner->world : own->world;
    tag = out->owner ? out->owner->tag : own->tag;
}

/* ------------------------------------------------------------------ looking */

/* A line that is there twice is given twice, but where keys are put in order. */
static void check_no_row_comes_twice(const prognosis *p, const answer *a, int32_t order)
{
    CHECK(a->n_twice <= (order == FACPOOL_ORDER_FILE ? p->n_repeats : 0));
}

/* What is intact is read; of lines nothing else is. */
static void check_answer(const prognosis *p, const answer *a)
{
    for (size_t key = 0; key < n_keys; key++) {
        bool is_there = p->is_intact[p->owner->stretch_of[key]];
        if (is_there)
            CHECK_INT(a->seen[key], 1);
        else if (!p->has_blocks && status_of(key, 2) == FACPOOL_STATUS_OK)
            CHECK(a->seen[key] != 1);
    }
}

/* Returns whether the file can be opened. */
static bool check_questions(const prognosis *p)
{
    facpool_reader *reader = open_reader();
    if (!reader) {
        CHECK(!p->starts_well);
        return false;
    }
    CHECK(p->owner);
    for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        answer a;
        ask(&a, reader, order, FACPOOL_STATUS_ALL);
        check_no_row_comes_twice(p, &a, order);
        check_answer(p, &a);
        ask(&a, reader, order, 0);
        check_no_row_comes_twice(p, &a, order);
    }
    facpool_reader_free(reader);
    return true;
}

static void check_verify(const prognosis *p, bool opens)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = facpool_backup_verify(path, &report, &err);
    CHECK(rc == 0 || rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
    CHECK(opens || rc);
    bool is_sound = rc == 0 && report.tail_bytes == 0 && report.closed;
    CHECK_INT(is_sound, p->is_sound);
}

static void check_bytes_are(const patient *x)
{
    size_t n;
    uint8_t *bytes = file_read(path, &n);
    CHECK(bytes);
    bool same = n == x->n && memcmp(bytes, x->bytes, n) == 0;
    free(bytes);
    CHECK(same);
}

/* What was there is there still, and the file is one that was closed. */
static void check_repair(const patient *x, const prognosis *p, bool opens)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = facpool_backup_repair(path, &report, &err);
    CHECK_INT(rc == 0, opens);
    if (rc) {
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        check_bytes_are(x);
        return;
    }
    CHECK(check_questions(p));
    rc = facpool_backup_verify(path, &report, &err);
    CHECK(rc == 0 || rc == FACPOOL_E_CORRUPT);
    CHECK_INT(report.tail_bytes, 0);
    CHECK(report.closed);
}

static void check_everything_is_there(const prognosis *p)
{
    facpool_reader *reader = open_reader();
    CHECK(reader);
    for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
        answer a;
        ask(&a, reader, order, FACPOOL_STATUS_ALL);
        CHECK(answer_is_silent(&a));
        check_no_row_comes_twice(p, &a, order);
        for (size_t key = 0; key < n_keys; key++)
            CHECK_INT(a.seen[key], 1);
    }
    facpool_reader_free(reader);
}

/* The run ends with the rows of one that was never interrupted; of what is no backup it keeps its
 * hands off. */
static void check_resume(const patient *x, const prognosis *p, bool opens)
{
    int rc = try_resume(N_DATES, FACPOOL_DURABILITY_NONE, NULL);
    if (rc) {
        CHECK(!opens);
        CHECK(rc == FACPOOL_E_CORRUPT || rc == FACPOOL_E_UNSUPPORTED);
        check_bytes_are(x);
        return;
    }
    check_everything_is_there(p);
    cut_last_bytes();
    check_everything_is_there(p);
    CHECK_INT(resume(N_DATES, FACPOOL_DURABILITY_NONE, NULL),
              rows_of_status(FACPOOL_STATUS_FAILED));
}

/* ------------------------------------------------------------------ one case */

static void examine(const patient *x, bool heal)
{
    static prognosis p;
    foresee(&p, x);
    CHECK(file_write(path, x->bytes, x->n));
    bool opens = check_questions(&p);
    check_verify(&p, opens);
    if (heal && random_chance(&dice, 50))
        check_repair(x, &p, opens);
    if (heal)
        check_resume(x, &p, opens);
}

/* A case that fails says what was done to the file. */
static void try_case(const patient *x, bool heal)
{
    jmp_buf outer;
    memcpy(&outer, &test_end, sizeof outer);
    if (setjmp(test_end)) {
        printf("  %s file of %zu bytes%s\n", format->name, x->owner->size, x->story);
        memcpy(&test_end, &outer, sizeof outer);
        longjmp(test_end, 1);
    }
    examine(x, heal);
    memcpy(&test_end, &outer, sizeof outer);
}

/* ------------------------------------------------------------------ every block, one harm */

/* Every so many of the pairs are tried: of lines there are too many. */
static size_t step_between_pairs(void)
{
    size_t n = own->n_stretches * own->n_stretches, most = of_tier(60, 600, 100000);
    return n / most + 1;
}

static bool is_healed_too(void)
{
    return random_below(&dice, of_tier(8, 4, 1)) == 0;
}

static void with_each_stretch(void (*harm)(size_t i))
{
    for (size_t i = 0; i < own->n_stretches; i++) {
        admit(&table, own);
        harm(i);
        try_case(&table, is_healed_too());
    }
}

static void with_each_pair(void (*harm)(size_t i, size_t j))
{
    size_t n = own->n_stretches, step = step_between_pairs();
    for (size_t pair = random_below(&dice, (uint32_t)step); pair < n * n; pair += step) {
        admit(&table, own);
        harm(pair / n, pair % n);
        try_case(&table, is_healed_too());
    }
}

static void remove_it(size_t i)
{
    remove_stretch(&table, i);
}

static void zero_it(size_t i)
{
    fill_bytes(&table, own->at[i].begin, stretch_bytes(&own->at[i]), 0);
}

static void end_within_it(size_t i)
{
    remove_bytes(&table,
                 own->at[i].begin + random_below(&dice, (uint32_t)stretch_bytes(&own->at[i])),
                 table.n);
}

static void take_its_like_from_the_donor(size_t i)
{
    replace_stretch(&table, i, donor, i, false);
}

static void lay_its_like_over_it(size_t i)
{
    replace_stretch(&table, i, donor, i, true);
}

static void begin_as_the_donor_up_to_it(size_t i)
{
    size_t n = donor->at[i].end;
    tell(&table, "; the donor's first %zu bytes", n);
    remove_bytes(&table, 0, own->at[i].end);
    insert_bytes(&table, 0, donor->bytes, n);
}

static void end_as_the_donor_from_it_on(size_t i)
{
    remove_bytes(&table, own->at[i].begin, table.n);
    insert_bytes(&table, table.n, donor->bytes + donor->at[i].begin,
                 donor->size - donor->at[i].begin);
}

static void swap_them(size_t i, size_t j)
{
    if (i < j)
        swap_stretches(&table, i, j);
}

static void move_it(size_t i, size_t j)
{
    move_stretch(&table, i, j);
}

static void double_it(size_t i, size_t j)
{
    graft_stretch(&table, i, own, j);
}

static void put_it_over(size_t i, size_t j)
{
    replace_stretch(&table, i, own, j, true);
}

static void insert_the_donors(size_t i, size_t j)
{
    graft_stretch(&table, i, donor, j);
}

static void insert_the_strangers(size_t i, size_t j)
{
    graft_stretch(&table, i, stranger, j % stranger->n_stretches);
}

static void a_block_removed_zeroed_or_cut_short_costs_no_other(void)
{
    with_each_stretch(remove_it);
    with_each_stretch(zero_it);
    with_each_stretch(end_within_it);
}

static void a_block_of_another_file_is_no_block(void)
{
    with_each_stretch(take_its_like_from_the_donor);
    with_each_stretch(lay_its_like_over_it);
    with_each_pair(insert_the_donors);
    with_each_pair(insert_the_strangers);
}

static void the_header_of_one_file_does_not_bring_the_rows_of_another(void)
{
    with_each_stretch(begin_as_the_donor_up_to_it);
    with_each_stretch(end_as_the_donor_from_it_on);
}

static void a_block_swapped_moved_or_doubled_gives_no_row_twice(void)
{
    with_each_pair(swap_them);
    with_each_pair(move_it);
    with_each_pair(double_it);
    with_each_pair(put_it_over);
}

static void a_file_with_another_behind_it_is_itself(void)
{
    const parts *others[] = {own, donor, stranger};
    for (size_t i = 0; i < 3; i++) {
        admit(&table, own);
        insert_bytes(&table, table.n, others[i]->bytes, others[i]->size);
        try_case(&table, true);
    }
}

/* ------------------------------------------------------------------ accidents */

static void have_accidents(size_t n_cases)
{
    for (size_t i = 0; i < n_cases; i++) {
        admit(&table, own);
        for (size_t n = random_between(&dice, 1, 4); n > 0; n--)
            have_accident(&table, random_chance(&dice, 75) ? donor : stranger, &dice);
        try_case(&table, is_healed_too());
    }
}

static size_t n_accidents(void)
{
    return of_tier(150, 600, 60000);
}

static void up_to_four_accidents_lose_no_row_that_is_intact(void)
{
    have_accidents(n_accidents());
}

static void nor_in_a_file_whose_writer_was_killed(void)
{
    uncover(own);
    have_accidents(n_accidents());
}

static void nor_in_one_that_was_never_synced(void)
{
    make_own(FACPOOL_DURABILITY_NONE);
    have_accidents(n_accidents());
}

static void nor_in_one_that_was_resumed_over_damage(void)
{
    make_own(FACPOOL_DURABILITY_GROUP);
    give_up(own, 3);
    have_accidents(n_accidents());
}

/* One factor of all ok rows in the file's order, each once. */
static size_t ask_for_keys(facpool_reader *reader)
{
    static const char *const name = "f0";
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    bool seen[N_DATES * N_CODES] = {false};
    size_t n = 0;
    filter.factors = &name;
    filter.n_factors = 1;
    CHECK_OK(facpool_query(reader, &filter, &cursor, &err), err);
    for (int rc; (rc = facpool_cursor_next(cursor, &row, &err)) != 0;) {
        CHECK(rc == 1 || rc == FACPOOL_E_CORRUPT);
        if (rc != 1)
            continue;
        double factors[N_FACTORS];
        size_t key = key_of(row.date, row.code);
        factors_of(key, factors);
        CHECK(key < n_keys && row.factors[0] == factors[0]);
        CHECK(!seen[key]);
        seen[key] = true;
        n++;
    }
    facpool_cursor_free(cursor);
    return n;
}

/* Rows of a block that was given up are in the file twice, and it is index blocks that tell: with
 * all of these lost, too, the block's own damage is met by none who doesn't ask for what it is in.
 */
static void what_was_given_up_does_not_come_back_with_its_index_lost(void)
{
    if (!format->has_frame)
        return; /* it was blanked */
    for (size_t i = 0; i < 4; i++) {
        make_own(FACPOOL_DURABILITY_GROUP);
        size_t before = own->size;
        if (own->at[i].kind != STRETCH_ROWS || !own->at[i].is_ok)
            continue;
        give_up(own, i);
        for (size_t byte = 0; byte < 2; byte++) { /* the header, then the entries */
            int fd = file_open_to_damage();
            file_flip(fd, own->bytes, (before + byte * (format == &formats[0] ? 200 : 700)) * 8);
            close(fd);
            cut_last_bytes();
            facpool_reader *reader = open_reader();
            CHECK(reader);
            CHECK_INT(ask_for_keys(reader), rows_of_status(FACPOOL_STATUS_OK));
            facpool_reader_free(reader);
            CHECK(file_write(path, own->bytes, own->size));
        }
    }
}

static void tests(void)
{
    RUN(make_files);
    RUN(a_block_removed_zeroed_or_cut_short_costs_no_other);
    RUN(a_block_of_another_file_is_no_block);
    RUN(the_header_of_one_file_does_not_bring_the_rows_of_another);
    RUN(a_block_swapped_moved_or_doubled_gives_no_row_twice);
    RUN(a_file_with_another_behind_it_is_itself);
    RUN(up_to_four_accidents_lose_no_row_that_is_intact);
    RUN(nor_in_a_file_whose_writer_was_killed);
    RUN(nor_in_one_that_was_never_synced);
    RUN(nor_in_one_that_was_resumed_over_damage);
    RUN(what_was_given_up_does_not_come_back_with_its_index_lost);
    free_files();
}

int main(int argc, char **argv)
{
    dice.state = environment_seed();
    int failed = damage_main(argc, argv, "damage-blocks", tests);
    free(table.bytes);
    return failed;
}
