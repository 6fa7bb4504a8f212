/* model/: codes get one id each and rank by their bytes, task sets keep what they are given in the
 * memory they promise, key sets and schemas answer rightly. Batches are in test_batch.c. */
#include "floor_helpers.h"

#include "base/alloc.h"
#include "base/error.h"
#include "model/batch.h"
#include "model/key_set.h"
#include "model/schema.h"
#include "model/tasks.h"

#include <math.h>

/* ------------------------------------------------------------------ codes */

static void codes_are_numbered_once_in_order_of_arrival(void)
{
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    CHECK_INT(fp_codes_find(&codes, "x", 1), FP_CODE_NONE);
    char text[32];
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "%0*u", (int)(1 + i % 20), i);
        uint32_t id = intern(&codes, text);
        CHECK(id <= i);
        CHECK_INT(intern(&codes, text), id);
        CHECK_INT(fp_codes_find(&codes, text, strlen(text)), id);
        CHECK_TEXT(fp_texts_at(&codes.texts, id), text);
    }
    CHECK_INT(fp_codes_find(&codes, "absent", 6), FP_CODE_NONE);
    CHECK(intern(&codes, "1") != intern(&codes, "000001"));
    fp_codes_free(&codes);
}

static void codes_rank_by_bytes_until_a_new_one_comes(void)
{
    static const char *const texts[] = {"b",        "a", "\xe4\xb8\xad", "aaaaaaaab",
                                        "aaaaaaaa", "Z", "aaaaaaaaa"};
    static const uint32_t places[] = {5, 1, 6, 4, 2, 0, 3};
    fp_codes codes;
    fp_codes_init(&codes, NULL);
    CHECK_INT(fp_codes_rank(&codes), 0); /* of none */
    for (size_t i = 0; i < 7; i++)
        intern(&codes, texts[i]);
    CHECK(!codes.rank);
    CHECK_INT(fp_codes_rank(&codes), 0);
    for (size_t i = 0; i < 7; i++)
        CHECK_INT(codes.rank[i], places[i]);
    intern(&codes, "a");
    CHECK(codes.rank);
    intern(&codes, "new");
    CHECK(!codes.rank);
    fp_codes_free(&codes);
}

/* Nobody who makes a file can tell which codes will share a slot. */
static void codes_lie_elsewhere_in_each_table(void)
{
    enum { CODES = 1000 };
    fp_codes tables[2];
    for (size_t t = 0; t < 2; t++) {
        fp_codes_init(&tables[t], NULL);
        for (uint32_t i = 0; i < CODES; i++) {
            char text[8];
            snprintf(text, sizeof text, "%06u", i);
            CHECK_INT(intern(&tables[t], text), i);
        }
    }
    CHECK_INT(tables[0].n_slots, tables[1].n_slots);
    CHECK(memcmp(tables[0].slots, tables[1].slots, tables[0].n_slots * sizeof(uint32_t)) != 0);
    fp_codes_free(&tables[0]);
    fp_codes_free(&tables[1]);
}

static void codes_out_of_memory_stay_whole(void)
{
    for (long left = 0; left < 12; left++) {
        counting count = {0, left};
        facpool_allocator a = COUNTING(count);
        fp_codes codes;
        fp_codes_init(&codes, &a);
        char text[16];
        uint32_t id = 0, n = 0;
        for (;; n++) {
            snprintf(text, sizeof text, "%06u", n);
            if (fp_codes_intern(&codes, text, 6, &id))
                break;
        }
        CHECK_INT(codes.texts.n, n);
        CHECK_INT(fp_codes_find(&codes, text, 6), FP_CODE_NONE);
        CHECK_INT(fp_codes_rank(&codes), FACPOOL_E_NOMEM);
        CHECK(!codes.rank);
        count.left = PLENTY;
        CHECK_INT(fp_codes_intern(&codes, text, 6, &id), 0);
        CHECK_INT(id, n);
        CHECK_INT(fp_codes_rank(&codes), 0);
        fp_codes_free(&codes);
        CHECK_INT(count.out, 0);
    }
}

/* ------------------------------------------------------------------ task sets */

static void check_task(const facpool_tasks *tasks, size_t index, int64_t date, const char *code)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    int64_t stored_date = 0;
    const char *stored_code = NULL;
    CHECK_OK(facpool_tasks_get(tasks, index, &stored_date, &stored_code, &err), err);
    CHECK_INT(stored_date, date);
    CHECK_TEXT(stored_code, code);
}

static void list_keeps_tasks_as_given(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    CHECK_INT(facpool_tasks_count(tasks), 0);
    char code[] = "000001";
    CHECK_OK(facpool_tasks_add(tasks, 20240102, code, &err), err);
    code[5] = '2'; /* the code was copied */
    CHECK_OK(facpool_tasks_add(tasks, INT64_MIN, code, &err), err);
    CHECK_OK(facpool_tasks_add(tasks, 20240102, "000001", &err), err); /* twice: the run refuses */
    const int64_t dates[] = {INT64_MAX, -1};
    const char *const codes[] = {"1", "\xe5\xb9\xb3\xe5\xae\x89"};
    CHECK_OK(facpool_tasks_add_columns(tasks, 2, dates, codes, &err), err);
    CHECK_OK(facpool_tasks_add_columns(tasks, 0, NULL, NULL, &err), err);
    CHECK_INT(facpool_tasks_count(tasks), 5);
    check_task(tasks, 0, 20240102, "000001");
    check_task(tasks, 1, INT64_MIN, "000002");
    check_task(tasks, 2, 20240102, "000001");
    check_task(tasks, 3, INT64_MAX, "1");
    check_task(tasks, 4, -1, "\xe5\xb9\xb3\xe5\xae\x89");
    CHECK_INT(tasks->codes.texts.n, 4);
    CHECK_INT(facpool_tasks_get(tasks, 5, NULL, NULL, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "5"));
    CHECK_OK(facpool_tasks_get(tasks, 4, NULL, NULL, &err), err);
    facpool_tasks_free(tasks);
    facpool_tasks_free(NULL);
    CHECK_INT(facpool_tasks_count(NULL), 0);
}

static void list_refuses_bad_codes_by_name(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    char long_code[257];
    memset(long_code, 'x', 256);
    long_code[256] = '\0';
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    CHECK_INT(facpool_tasks_add(tasks, 1, "", &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_add(tasks, 1, NULL, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_add(tasks, 1, long_code, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_add(tasks, 1, "\xed\xa0\x80", &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "\\xed\\xa0\\x80"));
    CHECK_INT(facpool_tasks_add(NULL, 1, "x", &err), FACPOOL_E_INVALID);
    long_code[255] = '\0';
    CHECK_OK(facpool_tasks_add(tasks, 1, long_code, &err), err);
    CHECK_INT(facpool_tasks_count(tasks), 1);
    facpool_tasks_free(tasks);
}

static void columns_are_added_whole_or_not_at_all(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    CHECK_OK(facpool_tasks_add(tasks, 1, "a", &err), err);
    const int64_t dates[] = {1, 2, 3};
    const char *const codes[] = {"b", "b", "\xff"};
    CHECK_INT(facpool_tasks_add_columns(tasks, 3, dates, codes, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "row 2") && strstr(err.message, "\\xff"));
    CHECK_INT(facpool_tasks_count(tasks), 1);
    const char *const missing[] = {"b", NULL, "c"};
    CHECK_INT(facpool_tasks_add_columns(tasks, 3, dates, missing, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "row 1"));
    CHECK_INT(facpool_tasks_add_columns(tasks, 3, NULL, codes, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_add_columns(tasks, 3, dates, NULL, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_add_columns(tasks, SIZE_MAX / 2, dates, codes, &err), FACPOOL_E_NOMEM);
    CHECK_INT(facpool_tasks_count(tasks), 1);
    CHECK_OK(facpool_tasks_add_columns(tasks, 2, dates, codes, &err), err);
    check_task(tasks, 2, 2, "b");
    facpool_tasks_free(tasks);
}

static void grid_is_dates_times_codes_and_never_materialised(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    const int64_t dates[] = {3, 1};
    const char *const codes[] = {"b", "a", "c"};
    CHECK_OK(facpool_tasks_grid(&tasks, dates, 2, codes, 3, &err), err);
    CHECK_INT(facpool_tasks_count(tasks), 6);
    for (size_t i = 0; i < 6; i++)
        check_task(tasks, i, dates[i / 3], codes[i % 3]);
    CHECK_INT(facpool_tasks_add(tasks, 1, "x", &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "grid"));
    CHECK_INT(facpool_tasks_add_columns(tasks, 2, dates, codes, &err), FACPOOL_E_INVALID);
    facpool_tasks_free(tasks);

    /* 2^40 tasks in a few megabytes. */
    size_t n = (size_t)1 << 20;
    int64_t *many_dates = calloc(n, sizeof *many_dates);
    const char **many_codes = calloc(n, sizeof *many_codes);
    CHECK(many_dates && many_codes);
    for (size_t i = 0; i < n; i++)
        many_codes[i] = "same";
    CHECK_OK(facpool_tasks_grid(&tasks, many_dates, n, many_codes, n, &err), err);
    CHECK_INT(facpool_tasks_count(tasks), (long long)1 << 40);
    CHECK_INT(tasks->codes.texts.n, 1); /* a code twice on the axis: the run refuses */
    facpool_tasks_free(tasks);
    free(many_dates);
    free(many_codes);
}

static void grid_refuses_what_it_can_not_hold(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    const int64_t dates[] = {1, 2};
    const char *const codes[] = {"a", ""};
    CHECK_INT(facpool_tasks_grid(&tasks, dates, 2, codes, 2, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "1"));
    CHECK_INT(facpool_tasks_grid(&tasks, NULL, 2, codes, 1, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_grid(&tasks, dates, 2, NULL, 1, &err), FACPOOL_E_INVALID);
    CHECK_INT(facpool_tasks_grid(NULL, dates, 2, codes, 1, &err), FACPOOL_E_INVALID);
    size_t n = ((size_t)1 << 20) + 1;
    CHECK_INT(facpool_tasks_grid(&tasks, dates, n, codes, (size_t)1 << 20, &err),
              FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "2^40"));
    CHECK_INT(facpool_tasks_grid(&tasks, dates, SIZE_MAX, codes, SIZE_MAX, &err),
              FACPOOL_E_INVALID);
    CHECK(!tasks);
    CHECK_OK(facpool_tasks_grid(&tasks, NULL, 0, codes, 1, &err), err);
    CHECK_INT(facpool_tasks_count(tasks), 0);
    facpool_tasks_free(tasks);
    CHECK_OK(facpool_tasks_grid(&tasks, dates, 2, NULL, 0, &err), err);
    CHECK_INT(facpool_tasks_count(tasks), 0);
    CHECK_INT(fp_tasks_hold(tasks), 0);
    fp_tasks_release(tasks);
    facpool_tasks_free(tasks);
}

static void list_in_use_can_not_be_added_to(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    CHECK_OK(facpool_tasks_add(tasks, 1, "b", &err), err);
    CHECK_OK(facpool_tasks_add(tasks, 1, "a", &err), err);
    CHECK_INT(fp_tasks_hold(tasks), 0);
    CHECK_INT(tasks->codes.rank[0], 1);
    CHECK_INT(facpool_tasks_add(tasks, 1, "c", &err), FACPOOL_E_STATE);
    const int64_t date = 1;
    const char *const code = "c";
    CHECK_INT(facpool_tasks_add_columns(tasks, 1, &date, &code, &err), FACPOOL_E_STATE);
    CHECK(tasks->codes.rank);
    fp_tasks_release(tasks);
    CHECK_OK(facpool_tasks_add(tasks, 1, "0", &err), err);
    CHECK_INT(fp_tasks_hold(tasks), 0);
    CHECK_INT(tasks->codes.rank[2], 0); /* ranked anew */
    facpool_tasks_free(tasks);
    CHECK_INT(facpool_tasks_count(tasks), 3); /* the run keeps it alive */
    fp_tasks_release(tasks);
}

static void *hold_and_read(void *arg)
{
    const facpool_tasks *tasks = arg;
    for (int round = 0; round < 200; round++) {
        if (fp_tasks_hold(tasks))
            return NULL;
        uint32_t sum = 0;
        for (size_t i = 0; i < tasks->codes.texts.n; i++)
            sum += tasks->codes.rank[i];
        fp_tasks_release(tasks);
        if (sum != 999 * 1000 / 2)
            return NULL;
    }
    return arg;
}

static void *start_hold_and_read(void *arg)
{
    void **place = arg;
    *place = hold_and_read(*place);
    return NULL;
}

static void runs_may_hold_one_set_at_once(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    char code[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(code, sizeof code, "%d", i * 7919 % 1000);
        CHECK_OK(facpool_tasks_add(tasks, i, code, &err), err);
    }
    fp_thread threads[4];
    void *results[4];
    for (int i = 0; i < 4; i++) {
        results[i] = tasks;
        CHECK_OK(fp_thread_start(&threads[i], start_hold_and_read, &results[i], &err), err);
    }
    for (int i = 0; i < 4; i++) {
        fp_thread_join(&threads[i]);
        CHECK(results[i] == tasks);
    }
    CHECK_OK(facpool_tasks_add(tasks, 1, "last", &err), err);
    facpool_tasks_free(tasks);
}

static void list_costs_twelve_bytes_a_task_and_slack(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_tasks *tasks = NULL;
    CHECK_OK(facpool_tasks_new(&tasks, &err), err);
    size_t n = 3000000;
    for (size_t i = 0; i < n; i++)
        CHECK_INT(facpool_tasks_add(tasks, (int64_t)i, i % 2 ? "000001" : "000002", NULL), 0);
    CHECK(tasks->dates_capacity <= n + n / 2 + 1);
    CHECK(tasks->code_ids_capacity <= 2 * n);
    CHECK_INT(tasks->codes.texts.n, 2);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ key set */

static void key_set_agrees_with_a_plain_table(void)
{
    enum { DATES = 37, CODES = 1500 };
    static bool plain[DATES][CODES];
    memset(plain, 0, sizeof plain);
    fp_key_set *set = fp_key_set_new(NULL);
    CHECK(set);
    CHECK(!fp_key_set_has(set, 0, 0));
    fp_key_set_remove(set, 0, 0);
    random_state = 1;
    for (int step = 0; step < 200000; step++) {
        uint64_t r = next_random();
        size_t d = r % DATES, c = (r >> 16) % CODES;
        int64_t date = ((int64_t)d - DATES / 2) * 1000003;
        bool was_there = !plain[d][c];
        if ((r >> 60) < 3) {
            fp_key_set_remove(set, date, (uint32_t)c);
            plain[d][c] = false;
        } else {
            CHECK_INT(fp_key_set_add(set, date, (uint32_t)c, &was_there), 0);
            CHECK_INT(was_there, plain[d][c]);
            plain[d][c] = true;
        }
    }
    for (size_t d = 0; d < DATES; d++)
        for (size_t c = 0; c < CODES; c++)
            CHECK_INT(fp_key_set_has(set, ((int64_t)d - DATES / 2) * 1000003, (uint32_t)c),
                      plain[d][c]);
    fp_key_set_free(set);
    fp_key_set_free(NULL);
}

static void key_set_tells_extreme_keys_apart(void)
{
    static const int64_t dates[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
    static const uint32_t codes[] = {0, 63, 64, 511, 512, UINT32_MAX};
    fp_key_set *set = fp_key_set_new(NULL);
    CHECK(set);
    bool was_there = true;
    for (size_t d = 0; d < 5; d++)
        for (size_t c = 0; c < 6; c++) {
            CHECK_INT(fp_key_set_add(set, dates[d], codes[c], &was_there), 0);
            CHECK(!was_there);
            CHECK_INT(fp_key_set_add(set, dates[d], codes[c], &was_there), 0);
            CHECK(was_there);
        }
    CHECK(!fp_key_set_has(set, 0, 1) && !fp_key_set_has(set, 2, 0));
    fp_key_set_free(set);
}

static void key_set_is_about_a_bit_a_dense_key(void)
{
    counting count = {0, 30}; /* growth by doubling: few calls, or there is a leak of them */
    facpool_allocator a = COUNTING(count);
    fp_key_set *set = fp_key_set_new(&a);
    CHECK(set);
    bool was_there = false;
    for (int64_t date = 0; date < 500; date++)
        for (uint32_t code = 0; code < 5000; code++)
            CHECK_INT(fp_key_set_add(set, date, code, &was_there), 0);
    CHECK(count.out <= 3);
    fp_key_set_free(set);
    CHECK_INT(count.out, 0);
}

static void key_set_out_of_memory_keeps_its_keys(void)
{
    for (long left = 0; left < 10; left++) {
        counting count = {0, left};
        facpool_allocator a = COUNTING(count);
        fp_key_set *set = fp_key_set_new(&a);
        if (!set) {
            CHECK_INT(left, 0);
            continue;
        }
        bool was_there = false;
        int64_t date = 0;
        while (fp_key_set_add(set, date, 7, &was_there) == 0)
            date++;
        CHECK(!fp_key_set_has(set, date, 7));
        for (int64_t d = 0; d < date; d++)
            CHECK(fp_key_set_has(set, d, 7));
        count.left = PLENTY;
        CHECK_INT(fp_key_set_add(set, date, 7, &was_there), 0);
        CHECK(!was_there);
        fp_key_set_free(set);
        CHECK_INT(count.out, 0);
    }
}

/* ------------------------------------------------------------------ schema */

static void schema_names_factors_by_default(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_schema schema;
    CHECK_OK(fp_schema_init(&schema, 12, NULL, NULL, &err), err);
    CHECK_INT(schema.names.n, 12);
    CHECK_TEXT(fp_texts_at(&schema.names, 0), "f0");
    CHECK_TEXT(fp_texts_at(&schema.names, 11), "f11");
    CHECK_INT(fp_schema_find(&schema, "f7"), 7);
    CHECK(fp_schema_find(&schema, "f12") == SIZE_MAX);
    CHECK(!schema.tag);
    fp_schema_free(&schema);
    CHECK_OK(fp_schema_init(&schema, FP_FACTORS_MAX, NULL, NULL, &err), err);
    fp_schema_free(&schema);
}

static void schema_refuses_names_and_tags_that_can_not_be_stored(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_schema schema;
    memset(&schema, 0x5a, sizeof schema);
    fp_schema before = schema;
    CHECK_INT(fp_schema_init(&schema, 0, NULL, NULL, &err), FACPOOL_E_INVALID);
    CHECK_INT(fp_schema_init(&schema, FP_FACTORS_MAX + 1, NULL, NULL, &err), FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "65536"));
    static const char *const bad[][3] = {
        {"a", "b", "a"},      {"a", "date", "b"}, {"code", "a", "b"}, {"a", "timestamp", ""},
        {"a", "b", "status"}, {"a", "", "b"},     {"a", NULL, "b"},   {"a", "b", "\xc0\x80"}};
    static const char *const named[] = {"'a' is given twice", "'date'", "'code'", "'timestamp'",
                                        "'status'",           "empty",  "NULL",   "\\xc0\\x80"};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        CHECK_INT(fp_schema_init(&schema, 3, bad[i], NULL, &err), FACPOOL_E_INVALID);
        CHECK(strstr(err.message, named[i]));
    }
    char tag[1026];
    memset(tag, 't', sizeof tag);
    tag[1025] = '\0';
    CHECK_INT(fp_schema_init(&schema, 1, NULL, tag, &err), FACPOOL_E_INVALID);
    CHECK_INT(fp_schema_init(&schema, 1, NULL, "\xff", &err), FACPOOL_E_INVALID);
    CHECK(memcmp(&schema, &before, sizeof schema) == 0);
    tag[1024] = '\0';
    CHECK_OK(fp_schema_init(&schema, 1, NULL, tag, &err), err);
    CHECK_TEXT(schema.tag, tag);
    fp_schema_free(&schema);
}

static void schema_copies_are_their_own(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    static const char *const names[] = {"ma5", "\xe5\x9d\x87"};
    fp_schema schema, copy;
    CHECK_OK(fp_schema_init(&schema, 2, names, "v1", &err), err);
    memset(schema.file_id, 9, sizeof schema.file_id);
    schema.created_us = 77;
    CHECK_OK(fp_schema_copy(&copy, &schema, &err), err);
    fp_schema_free(&schema);
    CHECK_INT(copy.names.n, 2);
    CHECK_TEXT(fp_texts_at(&copy.names, 1), "\xe5\x9d\x87");
    CHECK_TEXT(copy.tag, "v1");
    CHECK_INT(copy.file_id[15], 9);
    CHECK_INT(copy.created_us, 77);
    fp_schema_free(&copy);
}

static void schema_mismatch_says_both_sides(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    static const char *const two[] = {"ma5", "ma20"}, *const swapped[] = {"ma20", "ma5"};
    fp_schema stored, same, fewer, turned, many;
    CHECK_OK(fp_schema_init(&stored, 2, two, "v1", &err), err);
    CHECK_OK(fp_schema_init(&same, 2, two, "v1", &err), err);
    CHECK_OK(fp_schema_init(&fewer, 1, two, NULL, &err), err);
    CHECK_OK(fp_schema_init(&turned, 2, swapped, "v2", &err), err);
    CHECK_OK(fp_schema_init(&many, 1000, NULL, "", &err), err);
    CHECK(!many.tag);
    CHECK_OK(fp_schema_match_factors(&stored, &same, "x.fpb", &err), err);
    CHECK_OK(fp_schema_match_tag(&stored, &same, "x.fpb", &err), err);
    CHECK_INT(fp_schema_match_factors(&stored, &fewer, "x.fpb", &err), FACPOOL_E_MISMATCH);
    CHECK_TEXT(err.message,
               "backup 'x.fpb' holds factors (ma5, ma20), this run gives (ma5): resume "
               "with the same factors or choose another file");
    CHECK_INT(fp_schema_match_factors(&stored, &turned, "x.fpb", &err), FACPOOL_E_MISMATCH);
    CHECK_INT(fp_schema_match_factors(&many, &stored, "x.fpb", &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "1000 factors") && strstr(err.message, "gives 2") &&
          strstr(err.message, "factor 0 is 'f0' there, 'ma5' here"));
    CHECK_INT(fp_schema_match_tag(&stored, &turned, "x.fpb", &err), FACPOOL_E_MISMATCH);
    CHECK_TEXT(err.message,
               "backup 'x.fpb' was written with tag 'v1', this run has tag 'v2': resume "
               "with the same tag or choose another file");
    CHECK_INT(fp_schema_match_tag(&stored, &fewer, "x.fpb", &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "tag 'v1', this run has no tag:"));
    CHECK_INT(fp_schema_match_tag(&fewer, &stored, "x.fpb", &err), FACPOOL_E_MISMATCH);
    CHECK(strstr(err.message, "written with no tag, this run has tag 'v1'"));
    CHECK_INT(fp_schema_match_tag(&fewer, &many, "x.fpb", &err), 0); /* "" is no tag */
    fp_schema_free(&stored);
    fp_schema_free(&same);
    fp_schema_free(&fewer);
    fp_schema_free(&turned);
    fp_schema_free(&many);
}

int main(void)
{
    RUN(codes_are_numbered_once_in_order_of_arrival);
    RUN(codes_rank_by_bytes_until_a_new_one_comes);
    RUN(codes_lie_elsewhere_in_each_table);
    RUN(codes_out_of_memory_stay_whole);
    RUN(list_keeps_tasks_as_given);
    RUN(list_refuses_bad_codes_by_name);
    RUN(columns_are_added_whole_or_not_at_all);
    RUN(grid_is_dates_times_codes_and_never_materialised);
    RUN(grid_refuses_what_it_can_not_hold);
    RUN(list_in_use_can_not_be_added_to);
    RUN(runs_may_hold_one_set_at_once);
    RUN(list_costs_twelve_bytes_a_task_and_slack);
    RUN(key_set_agrees_with_a_plain_table);
    RUN(key_set_tells_extreme_keys_apart);
    RUN(key_set_is_about_a_bit_a_dense_key);
    RUN(key_set_out_of_memory_keeps_its_keys);
    RUN(schema_names_factors_by_default);
    RUN(schema_refuses_names_and_tags_that_can_not_be_stored);
    RUN(schema_copies_are_their_own);
    RUN(schema_mismatch_says_both_sides);
    return TEST_END();
}
