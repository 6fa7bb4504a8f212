/* model/batch: batches stay whole through append, sort and running out of memory. */
#include "floor_helpers.h"

#include "base/alloc.h"
#include "base/error.h"
#include "model/batch.h"

#include <math.h>

static fp_codes make_codes(uint32_t n, const facpool_allocator *a)
{
    fp_codes codes;
    fp_codes_init(&codes, a);
    char text[32];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%u", i * 7919 % n); /* byte order is not order of arrival */
        intern(&codes, text);
    }
    return codes;
}

/* Every column of a row follows from its number, so that a row torn apart is seen. */
static void add_row(fp_batch *b, int64_t date, uint32_t code_id, size_t number)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    CHECK_OK(fp_batch_reserve(b, 1, &err), err);
    size_t row = b->n_rows;
    b->dates[row] = date;
    b->code_ids[row] = code_id;
    b->timestamps[row] = (int64_t)number;
    for (size_t f = 0; b->ok && f < b->n_factors; f++)
        b->factors[f][row] = (double)number + (double)f / 16;
    if (!b->ok) {
        char text[32];
        b->statuses[row] = (uint8_t)(FACPOOL_STATUS_SKIPPED + number % 4);
        b->failure_codes[row] = (int32_t)number * 3;
        int length = snprintf(text, sizeof text, "%.*s%zu", (int)(number % 9), "because-", number);
        CHECK_INT(fp_texts_add(&b->messages, text, (size_t)length), 0);
    }
    b->n_rows++;
}

static void check_row_is_whole(const fp_batch *b, size_t row)
{
    size_t number = (size_t)b->timestamps[row];
    for (size_t f = 0; b->ok && f < b->n_factors; f++)
        CHECK(b->factors[f][row] == (double)number + (double)f / 16);
    if (!b->ok) {
        char text[32];
        CHECK_INT(b->statuses[row], FACPOOL_STATUS_SKIPPED + number % 4);
        CHECK_INT(b->failure_codes[row], (int32_t)number * 3);
        snprintf(text, sizeof text, "%.*s%zu", (int)(number % 9), "because-", number);
        CHECK_TEXT(fp_texts_at(&b->messages, row), text);
    }
}

static int compare_rows(const fp_batch *b, size_t a, size_t c)
{
    if (b->dates[a] != b->dates[c])
        return b->dates[a] < b->dates[c] ? -1 : 1;
    const fp_texts *texts = &b->codes->texts;
    uint32_t x = b->code_ids[a], y = b->code_ids[c];
    return fp_text_compare(fp_texts_at(texts, x), fp_texts_length(texts, x), fp_texts_at(texts, y),
                           fp_texts_length(texts, y));
}

static void check_sorted_and_stable(const fp_batch *b, size_t n)
{
    CHECK_INT(b->n_rows, n);
    for (size_t row = 0; row < n; row++) {
        check_row_is_whole(b, row);
        if (row == 0)
            continue;
        int order = compare_rows(b, row - 1, row);
        CHECK(order <= 0);
        if (order == 0)
            CHECK(b->timestamps[row - 1] < b->timestamps[row]);
    }
}

/* How keys are spread over the rows, from easy to hard. */
enum shape { SORTED, RUNS, STRETCHES, RANDOM, DESCENDING, REPEATED, ONE_KEY, SHAPES };

static uint64_t key_of(enum shape shape, size_t row, size_t n)
{
    switch (shape) {
    case SORTED:
        return row;
    case RUNS:
        return row % (n / 5 + 1) * 5 + row / (n / 5 + 1);
    case STRETCHES:
        return row % (n / 3 + 1) / 64 * 192 + row / (n / 3 + 1) * 64 + row % 64;
    case RANDOM:
        return next_random() % n;
    case DESCENDING:
        return n - row;
    case REPEATED: /* two runs with one long stretch of the same key in both */
        return row == n / 2 ? 3 : 5;
    default:
        return 3;
    }
}

static void sort_shape(enum shape shape, size_t n, bool ok, bool ranked, int64_t date_step)
{
    enum { CODES = 50 };
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codes codes = make_codes(CODES, NULL);
    CHECK_INT(fp_codes_rank(&codes), 0);
    uint32_t by_place[CODES];
    for (uint32_t id = 0; id < CODES; id++)
        by_place[codes.rank[id]] = id;
    fp_batch b;
    CHECK_OK(fp_batch_init(&b, ok, 3, &codes, NULL, &err), err);
    for (size_t row = 0; row < n; row++) {
        uint64_t key = key_of(shape, row, n);
        int64_t date = ((int64_t)(key / CODES) - 2) * date_step;
        add_row(&b, date, by_place[key % CODES], row);
    }
    if (!ranked) {
        fp_free(NULL, codes.rank);
        codes.rank = NULL;
    }
    CHECK_OK(fp_batch_sort(&b, &err), err);
    check_sorted_and_stable(&b, n);
    fp_batch_free(&b);
    fp_codes_free(&codes);
}

static void sort_orders_by_date_and_code_bytes_and_is_stable(void)
{
    static const size_t sizes[] = {1, 2, 3, 15, 16, 17, 31, 33, 100, 1000, 5000};
    random_state = 2;
    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int kind = 0; kind < 4; kind++)
                sort_shape((enum shape)shape, sizes[i], kind & 1, kind & 2, 1);
}

/* Such dates do not fit in the packed keys of the fast path. */
static void sort_orders_dates_however_far_apart(void)
{
    random_state = 3;
    for (int kind = 0; kind < 4; kind++)
        sort_shape(RANDOM, 1000, kind & 1, kind & 2, (int64_t)1 << 57);
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_codes codes = make_codes(2, NULL);
    CHECK_INT(fp_codes_rank(&codes), 0);
    fp_batch b;
    static const int64_t dates[] = {INT64_MAX, 0, INT64_MIN, UINT32_MAX, (int64_t)UINT32_MAX + 1};
    CHECK_OK(fp_batch_init(&b, true, 1, &codes, NULL, &err), err);
    for (size_t row = 0; row < 5; row++)
        add_row(&b, dates[row], 0, row);
    CHECK_OK(fp_batch_sort(&b, &err), err);
    check_sorted_and_stable(&b, 5);
    /* The widest that does fit, and one more. */
    for (int more = 0; more < 2; more++) {
        fp_batch_clear(&b);
        add_row(&b, (int64_t)UINT32_MAX + more - 5, 1, 0);
        add_row(&b, -5, 1, 1);
        add_row(&b, -5, 0, 2);
        CHECK_OK(fp_batch_sort(&b, &err), err);
        check_sorted_and_stable(&b, 3);
    }
    fp_batch_free(&b);
    fp_codes_free(&codes);
}

static void sort_of_sorted_rows_takes_no_memory(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    counting count = {0, PLENTY};
    facpool_allocator a = COUNTING(count);
    fp_codes codes = make_codes(10, NULL);
    fp_batch b;
    CHECK_OK(fp_batch_init(&b, true, 2, &codes, &a, &err), err);
    CHECK_OK(fp_batch_sort(&b, &err), err); /* of none */
    for (size_t row = 0; row < 100; row++)
        add_row(&b, (int64_t)row / 2, 4, row);
    count.left = 0;
    CHECK_OK(fp_batch_sort(&b, &err), err);
    check_sorted_and_stable(&b, 100);
    fp_batch_free(&b);
    fp_codes_free(&codes);
    CHECK_INT(count.out, 0);
}

static void sort_out_of_memory_leaves_the_batch_as_it_was(void)
{
    for (int ok = 0; ok < 2; ok++) {
        int failures = 0;
        for (long left = 0;; left++) {
            facpool_error err = FACPOOL_ERROR_INIT;
            counting count = {0, PLENTY};
            facpool_allocator a = COUNTING(count);
            fp_codes codes = make_codes(10, NULL);
            fp_batch b;
            CHECK_OK(fp_batch_init(&b, ok, 2, &codes, &a, &err), err);
            for (size_t row = 0; row < 100; row++)
                add_row(&b, (int64_t)(99 - row), 4, row);
            count.left = left;
            int code = fp_batch_sort(&b, &err);
            for (size_t row = 0; code && row < 100; row++) {
                CHECK_INT(b.timestamps[row], row);
                CHECK_INT(b.dates[row], 99 - row);
                check_row_is_whole(&b, row);
            }
            if (!code)
                check_sorted_and_stable(&b, 100);
            fp_batch_free(&b);
            fp_codes_free(&codes);
            CHECK_INT(count.out, 0);
            if (!code)
                break;
            CHECK_INT(code, FACPOOL_E_NOMEM);
            failures++;
        }
        CHECK(failures >= 1);
    }
}

static void append_takes_rows_of_another_batch(void)
{
    for (int ok = 0; ok < 2; ok++) {
        facpool_error err = FACPOOL_ERROR_INIT;
        fp_codes codes = make_codes(10, NULL);
        fp_batch from, to;
        CHECK_OK(fp_batch_init(&from, ok, 3, &codes, NULL, &err), err);
        CHECK_OK(fp_batch_init(&to, ok, 3, &codes, NULL, &err), err);
        for (size_t row = 0; row < 200; row++)
            add_row(&from, 5, 1, row);
        CHECK_OK(fp_batch_append(&to, &from, 150, 50, &err), err);
        CHECK_OK(fp_batch_append(&to, &from, 0, 0, &err), err);
        CHECK_OK(fp_batch_append(&to, &from, 0, 150, &err), err);
        CHECK_INT(to.n_rows, 200);
        for (size_t row = 0; row < 200; row++) {
            CHECK_INT(to.timestamps[row], (row + 150) % 200);
            check_row_is_whole(&to, row);
        }
        CHECK(fp_batch_bytes(&to) >= 200 * 20);
        fp_batch_clear(&to);
        CHECK_INT(to.n_rows, 0);
        CHECK_INT(fp_batch_bytes(&to), 0);
        CHECK_OK(fp_batch_append(&to, &from, 7, 1, &err), err);
        check_row_is_whole(&to, 0);
        fp_batch_free(&from);
        fp_batch_free(&to);
        fp_codes_free(&codes);
    }
}

static void batch_out_of_memory_is_as_it_was(void)
{
    for (int ok = 0; ok < 2; ok++)
        for (long left = 0; left < 40; left++) {
            facpool_error err = FACPOOL_ERROR_INIT;
            counting count = {0, left};
            facpool_allocator a = COUNTING(count);
            fp_codes codes = make_codes(10, NULL);
            fp_batch from, to;
            CHECK_OK(fp_batch_init(&from, ok, 3, &codes, NULL, &err), err);
            for (size_t row = 0; row < 64; row++)
                add_row(&from, 5, 1, row);
            int code = fp_batch_init(&to, ok, 3, &codes, &a, &err);
            size_t rows = 0;
            while (!code && rows < 1000) {
                code = fp_batch_append(&to, &from, 0, 64, &err);
                rows += code ? 0 : 64;
            }
            if (rows || !code) {
                CHECK_INT(to.n_rows, rows);
                CHECK_INT(ok ? 0 : to.messages.n, ok ? 0 : rows);
                for (size_t row = 0; row < rows; row++)
                    check_row_is_whole(&to, row);
            }
            count.left = PLENTY;
            if (rows) {
                CHECK_OK(fp_batch_append(&to, &from, 0, 64, &err), err);
                check_row_is_whole(&to, rows + 63);
            }
            if (left > 0 || !ok)
                fp_batch_free(&to);
            fp_batch_free(&from);
            fp_codes_free(&codes);
            CHECK_INT(count.out, 0);
        }
}

int main(void)
{
    RUN(sort_orders_by_date_and_code_bytes_and_is_stable);
    RUN(sort_orders_dates_however_far_apart);
    RUN(sort_of_sorted_rows_takes_no_memory);
    RUN(sort_out_of_memory_leaves_the_batch_as_it_was);
    RUN(append_takes_rows_of_another_batch);
    RUN(batch_out_of_memory_is_as_it_was);
    return TEST_END();
}
