/* Proves that queries answer as a plain model does: random sources, filters, orders and ways of
 * reading, row by row against a search through all rows; and that damage costs the rows it touches
 * and no others. The seed is printed; give it, and a number of cases, to run them again. */
#include <math.h>
#include <stdint.h>
#include "fake_source.h"
#include "query/cursor.h"
#include "test.h"

#define CASES       2500
#define SOURCES_MAX 3
#define ROWS_MAX    40000

static uint64_t seed = 20240607;
static long n_cases = CASES;
static uint64_t random_state;

static uint64_t random_word(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return (size_t)(random_word() % n);
}

static bool one_in(size_t n)
{
    return below(n) == 0;
}

/* ------------------------------------------------------------------ the world of a case */

#define CODES_MAX 60
static char codes[CODES_MAX][40];
static size_t n_codes;
static int64_t dates[200];
static size_t n_dates;

typedef struct model_row {
    fake_row row;
    size_t source;
    size_t block;
    size_t place; /* in file order */
    size_t in_block;
    bool stands;
    bool expected;
} model_row;

static model_row rows[ROWS_MAX];
static size_t n_rows;
static fake_source *sources[SOURCES_MAX];
static size_t n_sources;
static size_t n_factors;

static void make_codes(void)
{
    static const char *const odd[] = {"A",         "AB",           "ABCDEFGH",  "ABCDEFGHI",
                                      "ABCDEFGHJ", "\xe5\xb9\xb3", "600000.SH", "zz"};
    n_codes = 1 + below(CODES_MAX);
    for (size_t i = 0; i < n_codes; i++) {
        if (i < sizeof odd / sizeof *odd && one_in(2))
            strcpy(codes[i], odd[i]);
        else if (one_in(3))
            sprintf(codes[i], "LONGER-THAN-EIGHT-%02zu", i);
        else
            sprintf(codes[i], "%06zu", i);
    }
}

static void make_dates(void)
{
    n_dates = 1 + below(sizeof dates / sizeof *dates);
    for (size_t i = 0; i < n_dates; i++)
        dates[i] = 20240000 + (int64_t)i;
    if (one_in(10))
        dates[0] = INT64_MIN;
    if (one_in(10))
        dates[n_dates - 1] = INT64_MAX;
}

static fake_row make_row(int64_t date, const char *code, uint8_t status)
{
    static const char *const messages[] = {NULL, "no bars", "", "division by zero, and more"};
    fake_row row = {.date = date, .code = code, .status = status};
    row.timestamp = (int64_t)below(30);
    for (size_t f = 0; f < FAKE_FACTORS; f++)
        row.factors[f] = one_in(20) ? NAN : (double)below(1000000) / 64;
    if (status > FACPOOL_STATUS_SKIPPED) {
        row.failure_code = (int32_t)below(5) - 2;
        row.message = messages[below(4)];
    }
    return row;
}

/* Which keys of a source have an ok row already (or, where it is mixed, any row). */
static uint8_t taken[200][CODES_MAX];

/* A block of up to n rows. kind: 0 ok, 1 not ok, 2 mixed. Keys run on from `*next` in key order, or
 * are drawn anywhere. */
static void make_block(fake_source *fake, size_t source, int kind, size_t n, size_t *next)
{
    static fake_row block[5000];
    size_t had = 0;
    bool in_order = one_in(2);
    for (size_t i = 0; i < n && n_rows + had < ROWS_MAX; i++) {
        size_t key = in_order ? (*next)++ : below(n_dates * n_codes);
        key %= n_dates * n_codes;
        size_t date = key / n_codes, code = key % n_codes;
        if (taken[date][code] && kind != 1)
            continue;
        taken[date][code] = taken[date][code] || kind != 1;
        uint8_t status = kind == 0   ? FACPOOL_STATUS_OK
                         : kind == 1 ? (uint8_t)(2 + below(4))
                                     : (uint8_t)below(6);
        if (kind == 2 && one_in(2))
            status = FACPOOL_STATUS_OK;
        block[had++] = make_row(dates[date], codes[code], status);
    }
    if (had == 0)
        return;
    fake_source_add(fake, block, had);
    size_t number = fake->source.n_blocks - 1;
    for (size_t i = 0; i < had; i++) {
        rows[n_rows] = (model_row){.row = fake->blocks[number].rows[i],
                                   .source = source,
                                   .block = number,
                                   .place = n_rows,
                                   .in_block = i};
        n_rows++;
    }
}

static void make_source(size_t source)
{
    static const uint32_t page_sizes[] = {1, 2, 3, 7, 16, 100, 1024, 5000};
    char path[32];
    sprintf(path, "source%zu.fpb", source);
    fake_source *fake = fake_source_new(path, n_factors, page_sizes[below(8)], one_in(3));
    if (one_in(2))
        fake_source_keep_codes(fake);
    fake->lends = one_in(4);
    memset(taken, 0, sizeof taken);
    size_t next = below(n_dates * n_codes), n_blocks = below(8);
    bool mixed = one_in(5), no_failures = one_in(2);
    size_t most = one_in(8) ? 5000 : one_in(2) ? 200 : 20;
    for (size_t b = 0; b < n_blocks; b++) {
        int kind = mixed ? (one_in(4) ? 0 : 2) : no_failures ? 0 : one_in(2);
        make_block(fake, source, kind, 1 + below(most), &next);
    }
    sources[source] = fake;
}

static void make_world(void)
{
    make_codes();
    make_dates();
    n_factors = 1 + below(FAKE_FACTORS);
    n_sources = one_in(2) ? 1 : 1 + below(SOURCES_MAX);
    n_rows = 0;
    for (size_t s = 0; s < n_sources; s++)
        make_source(s);
}

static void free_world(void)
{
    for (size_t s = 0; s < n_sources; s++)
        fp_source_release(&sources[s]->source);
}

/* ------------------------------------------------------------------ the model */

static int compare_keys(const model_row *a, const model_row *b)
{
    if (a->row.date != b->row.date)
        return a->row.date < b->row.date ? -1 : 1;
    return strcmp(a->row.code, b->row.code);
}

static int compare_by_key(const void *a, const void *b)
{
    const model_row *x = *(model_row *const *)a, *y = *(model_row *const *)b;
    int order = compare_keys(x, y);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* Rule 12: ok beats not ok, then the later timestamp, then the later path, then the later place. */
static bool beats(const model_row *a, const model_row *b)
{
    bool a_ok = a->row.status == FACPOOL_STATUS_OK, b_ok = b->row.status == FACPOOL_STATUS_OK;
    if (a_ok != b_ok)
        return a_ok;
    if (a->row.timestamp != b->row.timestamp)
        return a->row.timestamp > b->row.timestamp;
    return a->place > b->place;
}

static model_row *by_key[ROWS_MAX];

static void find_standing(void)
{
    for (size_t i = 0; i < n_rows; i++)
        by_key[i] = &rows[i];
    qsort(by_key, n_rows, sizeof *by_key, compare_by_key);
    for (size_t i = 0; i < n_rows;) {
        model_row *best = NULL;
        size_t end = i;
        for (; end < n_rows && compare_keys(by_key[i], by_key[end]) == 0; end++) {
            by_key[end]->stands = false;
            if (by_key[end]->row.status != FACPOOL_STATUS_NONE &&
                (!best || beats(by_key[end], best)))
                best = by_key[end];
        }
        if (best)
            best->stands = true;
        i = end;
    }
}

typedef struct question {
    facpool_filter filter;
    int64_t date_min, date_max;
    int64_t date_list[20];
    const char *code_list[20];
    const char *factor_list[8];
    size_t factors[8]; /* which ones are expected */
    size_t n_factors;
} question;

static bool is_listed(const question *q, const fake_row *row)
{
    bool date = !q->filter.dates, code = !q->filter.codes;
    for (size_t i = 0; i < q->filter.n_dates; i++)
        date = date || q->date_list[i] == row->date;
    for (size_t i = 0; i < q->filter.n_codes; i++)
        code = code || strcmp(q->code_list[i], row->code) == 0;
    return date && code;
}

static bool matches(const question *q, const fake_row *row)
{
    uint32_t statuses = q->filter.statuses ? q->filter.statuses : 2;
    return statuses >> row->status & 1 && (!q->filter.date_min || row->date >= q->date_min) &&
           (!q->filter.date_max || row->date <= q->date_max) && is_listed(q, row);
}

static model_row *expected[ROWS_MAX];
static size_t n_expected;

static void find_expected(const question *q)
{
    n_expected = 0;
    for (size_t i = 0; i < n_rows; i++) {
        model_row *row = q->filter.order == FACPOOL_ORDER_KEY ? by_key[i] : &rows[i];
        row->expected = row->stands && FAKE_PLACE(row->block + 1) > q->filter.skip_bytes &&
                        matches(q, &row->row);
        if (row->expected)
            expected[n_expected++] = row;
    }
}

/* ------------------------------------------------------------------ questions */

static void ask_dates(question *q)
{
    q->date_min = dates[below(n_dates)];
    q->date_max = dates[below(n_dates)];
    if (one_in(3))
        q->filter.date_min = &q->date_min;
    if (one_in(3))
        q->filter.date_max = &q->date_max;
    if (!one_in(3))
        return;
    q->filter.dates = q->date_list;
    q->filter.n_dates = below(one_in(2) ? 3 : 20);
    for (size_t i = 0; i < q->filter.n_dates; i++)
        q->date_list[i] = one_in(10) ? 7 : dates[below(n_dates)];
}

static void ask_codes(question *q)
{
    if (!one_in(2))
        return;
    q->filter.codes = q->code_list;
    q->filter.n_codes = below(one_in(2) ? 3 : 20);
    for (size_t i = 0; i < q->filter.n_codes; i++)
        q->code_list[i] = one_in(10) ? "NOT-THERE" : codes[below(n_codes)];
}

static void ask_factors(question *q)
{
    static const char *const names[] = {"f0", "f1", "f2", "f3"};
    q->n_factors = n_factors;
    for (size_t i = 0; i < n_factors; i++)
        q->factors[i] = i;
    if (one_in(2))
        return;
    q->filter.factors = q->factor_list;
    q->filter.n_factors = q->n_factors = below(6);
    for (size_t i = 0; i < q->n_factors; i++) {
        q->factors[i] = below(n_factors);
        q->factor_list[i] = names[q->factors[i]];
    }
}

static void ask(question *q)
{
    *q = (question){.filter = FACPOOL_FILTER_INIT};
    ask_dates(q);
    ask_codes(q);
    ask_factors(q);
    q->filter.statuses = one_in(2) ? 0 : (uint32_t)below(32) << 1;
    q->filter.order = (int32_t)below(3);
    q->filter.copy = one_in(8);
    if (one_in(4))
        q->filter.skip_bytes = FAKE_PLACE(below(9)) - below(2);
    if (one_in(3))
        q->filter.columns = one_in(4) ? FACPOOL_COLUMN_NONE : (uint32_t)below(16);
    if (one_in(6)) { /* mostly what can be had */
        q->filter.require_zero_copy = 1;
        q->filter.copy = 0;
        if (one_in(10))
            return;
        if (one_in(2))
            q->filter.columns =
                FACPOOL_COLUMN_DATE | FACPOOL_COLUMN_TIMESTAMP | FACPOOL_COLUMN_STATUS;
        q->filter.codes = NULL;
        q->filter.n_codes = 0;
        q->filter.dates = NULL;
        q->filter.n_dates = 0;
        q->filter.statuses = 0;
        q->filter.order = FACPOOL_ORDER_FILE;
    }
}

/* ------------------------------------------------------------------ reading */

/* What one row said, columns not asked for left out. */
typedef struct answer {
    bool has_date, has_code, has_timestamp, has_status;
    int64_t date;
    char code[256];
    int64_t timestamp;
    int status;
    int32_t failure_code;
    char message[256];
    bool null;
    double factors[8];
} answer;

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static bool says(const question *q, const answer *a, const model_row *m)
{
    const fake_row *row = &m->row;
    bool ok = row->status == FACPOOL_STATUS_OK;
    if ((a->has_date && a->date != row->date) || (a->has_code && strcmp(a->code, row->code) != 0) ||
        (a->has_timestamp && a->timestamp != row->timestamp) || a->null == ok)
        return false;
    if (a->has_status && (a->status != row->status || a->failure_code != row->failure_code ||
                          strcmp(a->message, row->message ? row->message : "") != 0))
        return false;
    for (size_t f = 0; f < q->n_factors; f++)
        if (ok ? !same_bits(a->factors[f], row->factors[q->factors[f]]) : !isnan(a->factors[f]))
            return false;
    return true;
}

static answer answer_of_row(const question *q, const facpool_row *row)
{
    uint32_t columns = q->filter.columns ? q->filter.columns : 15;
    answer a = {.date = row->date, .timestamp = row->timestamp, .status = row->status};
    a.has_date = columns & FACPOOL_COLUMN_DATE;
    a.has_code = columns & FACPOOL_COLUMN_CODE;
    a.has_timestamp = columns & FACPOOL_COLUMN_TIMESTAMP;
    a.has_status = columns & FACPOOL_COLUMN_STATUS;
    strcpy(a.code, row->code);
    strcpy(a.message, row->message);
    a.failure_code = row->failure_code;
    a.null = row->factors == NULL;
    CHECK_INT(row->n_factors, q->n_factors);
    for (size_t f = 0; f < q->n_factors; f++)
        a.factors[f] = a.null ? NAN : row->factors[f];
    return a;
}

static answer answer_of_view(const question *q, const facpool_batch_view *v, size_t i,
                             const model_row *m)
{
    answer a = {.has_date = v->dates,
                .has_code = v->code_offsets,
                .has_timestamp = v->timestamps,
                .has_status = v->statuses,
                .status = FACPOOL_STATUS_OK};
    if (v->dates)
        a.date = v->dates[i];
    if (v->timestamps)
        a.timestamp = v->timestamps[i];
    if (v->code_offsets)
        memcpy(a.code, v->code_bytes + v->code_offsets[i],
               (size_t)(v->code_offsets[i + 1] - v->code_offsets[i]));
    if (v->statuses)
        a.status = v->statuses[i];
    if (v->failure_codes)
        a.failure_code = v->failure_codes[i];
    if (v->message_offsets)
        memcpy(a.message, v->message_bytes + v->message_offsets[i],
               (size_t)(v->message_offsets[i + 1] - v->message_offsets[i]));
    /* Without statuses a view can't tell which of its rows are null; the factors must be NaN. */
    a.null = v->statuses ? v->statuses[i] != FACPOOL_STATUS_OK
                         : !v->all_ok && m->row.status != FACPOOL_STATUS_OK;
    for (size_t f = 0; f < q->n_factors; f++)
        a.factors[f] = v->factors[f][i];
    return a;
}

static void check_columns(const question *q, const facpool_batch_view *v)
{
    uint32_t columns = q->filter.columns ? q->filter.columns : 15;
    CHECK((v->dates != NULL) == ((columns & FACPOOL_COLUMN_DATE) != 0));
    CHECK((v->code_offsets != NULL) == ((columns & FACPOOL_COLUMN_CODE) != 0));
    CHECK((v->timestamps != NULL) == ((columns & FACPOOL_COLUMN_TIMESTAMP) != 0));
    CHECK((v->statuses != NULL) == ((columns & FACPOOL_COLUMN_STATUS) != 0));
    CHECK(!v->all_ok || !v->failure_codes);
    CHECK(v->n_rows > 0 && v->n_rows <= FP_BLOCK_ROWS);
    CHECK_INT(v->n_factors, q->n_factors);
}

/* Damaged cases: rows may be missing where they lie in a damaged page. */
static bool with_damage;
static size_t n_reports;

static bool may_be_missing(const model_row *m)
{
    const fake_source *fake = sources[m->source];
    for (size_t d = 0; d < fake->n_damages; d++)
        if (fake->damages[d].block == m->block &&
            (fake->damages[d].column == FAKE_OPENING ||
             fake->damages[d].page == m->in_block / fake->page_rows))
            return true;
    return false;
}

/* Goes past expected rows that damage explains, up to the one this answer is. */
static size_t find_next(const question *q, const answer *a, size_t at)
{
    while (with_damage && at < n_expected && may_be_missing(expected[at]) &&
           !says(q, a, expected[at]))
        at++;
    return at;
}

static size_t read_rows(const question *q, facpool_cursor *cursor, size_t most, size_t at, int *rc,
                        facpool_error *err)
{
    facpool_row row = FACPOOL_ROW_INIT;
    while (most-- && (*rc = facpool_cursor_next(cursor, &row, err)) == 1) {
        answer a = answer_of_row(q, &row);
        at = find_next(q, &a, at);
        CHECK(at < n_expected);
        CHECK(says(q, &a, expected[at]));
        at++;
    }
    return at;
}

static size_t read_batch(const question *q, facpool_cursor *cursor, size_t at, int *rc,
                         facpool_error *err)
{
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    *rc = facpool_cursor_next_batch(cursor, &view, err);
    if (*rc != 1)
        return at;
    check_columns(q, &view);
    for (size_t i = 0; i < view.n_rows; i++) {
        CHECK(at < n_expected);
        answer a = answer_of_view(q, &view, i, expected[at]);
        at = find_next(q, &a, at);
        CHECK(at < n_expected);
        a = answer_of_view(q, &view, i, expected[at]);
        CHECK(says(q, &a, expected[at]));
        at++;
    }
    return at;
}

static void check_answer(const question *q, facpool_cursor *cursor)
{
    size_t at = 0;
    int rc = 1, way = (int)below(3);
    facpool_error err = FACPOOL_ERROR_INIT;
    n_reports = 0;
    do {
        bool by_row = way == 0 || (way == 1 && one_in(2));
        at = by_row ? read_rows(q, cursor, 1 + below(300), at, &rc, &err)
                    : read_batch(q, cursor, at, &rc, &err);
        if (rc < 0) {
            CHECK_INT(rc, with_damage ? FACPOOL_E_CORRUPT : 1);
            CHECK(++n_reports < 1000);
        }
    } while (rc);
    for (; with_damage && at < n_expected && may_be_missing(expected[at]); at++)
        CHECK(n_reports > 0);
    CHECK_INT(at, n_expected);
    CHECK_INT(facpool_cursor_next(cursor, &(facpool_row)FACPOOL_ROW_INIT, &err), 0);
    if (with_damage)
        return;
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    CHECK_OK(facpool_cursor_stats(cursor, &stats, &err), err);
    CHECK_INT(stats.rows_matched, n_expected);
    CHECK(stats.pages_read <= stats.pages_total && stats.blocks_read <= stats.blocks_total);
}

/* Returns whether the question could be asked. */
static bool put_question(const question *q)
{
    fp_source *list[SOURCES_MAX];
    for (size_t s = 0; s < n_sources; s++)
        list[s] = &sources[s]->source;
    facpool_cursor *cursor = NULL;
    facpool_error err = FACPOOL_ERROR_INIT;
    int rc = fp_cursor_open(&cursor, list, n_sources, &q->filter, &err);
    if (rc == FACPOOL_E_UNSUPPORTED && q->filter.require_zero_copy)
        return false;
    CHECK_OK(rc, err);
    find_expected(q);
    check_answer(q, cursor);
    facpool_cursor_free(cursor);
    for (size_t s = 0; s < n_sources; s++)
        CHECK_INT(sources[s]->open, 0);
    return true;
}

static long case_number;
static uint64_t case_seed;

static void answers_are_those_of_a_plain_model(void)
{
    size_t asked = 0, with_rows = 0, zero_copy = 0;
    with_damage = false;
    for (case_number = 0; case_number < n_cases; case_number++) {
        random_state = case_seed = seed + (uint64_t)case_number;
        make_world();
        find_standing();
        for (int i = 0; i < 4; i++) {
            question q;
            ask(&q);
            bool put = put_question(&q);
            asked += put;
            with_rows += put && n_expected > 0;
            zero_copy += put && q.filter.require_zero_copy && n_expected > 0;
        }
        free_world();
    }
    printf("  %ld worlds, %zu questions, %zu with an answer, %zu without a copy\n", n_cases, asked,
           with_rows, zero_copy);
    CHECK(with_rows > (size_t)n_cases);
    CHECK(zero_copy > 0);
}

static void damage_costs_the_rows_it_touches_and_no_others(void)
{
    size_t reports = 0;
    with_damage = true;
    for (case_number = 0; case_number < n_cases / 2; case_number++) {
        random_state = case_seed = seed + 1000003 + (uint64_t)case_number;
        make_world();
        /* Ok rows of one source: with more, a damaged row lets one it superseded appear. */
        while (n_sources > 1)
            fp_source_release(&sources[--n_sources]->source);
        size_t kept = 0;
        while (kept < n_rows && rows[kept].source == 0)
            kept++;
        n_rows = kept;
        find_standing();
        fake_source *fake = sources[0];
        for (size_t i = 0; fake->source.n_blocks && i < 1 + below(4); i++) {
            size_t block = below(fake->source.n_blocks);
            uint32_t page = (uint32_t)below(fake->source.blocks[block].n_pages);
            fake_source_damage(fake, block, (uint32_t)below(FAKE_OPENING + 1), page);
        }
        for (int i = 0; i < 4; i++) {
            question q;
            ask(&q);
            q.filter.statuses = 0;
            q.filter.columns = 0; /* keys must tell rows apart to see which are missing */
            q.filter.require_zero_copy = q.filter.require_zero_copy && one_in(2);
            reports += put_question(&q) ? n_reports : 0;
        }
        free_world();
    }
    printf("  %zu reports of damage\n", reports);
    CHECK(reports > (size_t)n_cases / 8);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        n_cases = strtol(argv[2], NULL, 10);
    printf("seed %llu\n", (unsigned long long)seed);
    RUN(answers_are_those_of_a_plain_model);
    if (test_failures)
        printf("  seed of the failing case: %llu\n", (unsigned long long)case_seed);
    RUN(damage_costs_the_rows_it_touches_and_no_others);
    if (test_failures)
        printf("  last case: %ld\n", case_number);
    return TEST_END();
}
