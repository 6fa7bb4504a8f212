/* model/: codes get one id each and rank by their bytes, task sets keep what they are given in the
 * memory they promise, key sets and schemas answer rightly, and batches stay whole through append,
 * sort and running out of memory. */
#include "test.h"

#include "base/alloc.h"
#include "base/error.h"
#include "model/batch.h"
#include "model/key_set.h"
#include "model/schema.h"
#include "model/tasks.h"

#include <math.h>

/* An allocator that counts what is out, and fails once `left` calls are used up. */
typedef struct counting {
    long out;
    long left;
} counting;

static void *counting_alloc(void *ctx, size_t bytes)
{
    counting *c = ctx;
    if (c->left-- <= 0)
        return NULL;
    c->out++;
    return malloc(bytes);
}

static void *counting_realloc(void *ctx, void *memory, size_t bytes)
{
    counting *c = ctx;
    if (c->left-- <= 0)
        return NULL;
    c->out += memory == NULL;
    return realloc(memory, bytes);
}

static void counting_free(void *ctx, void *memory)
{
    ((counting *)ctx)->out--;
    free(memory);
}

#define COUNTING(c)                                                                                \
    {                                                                                              \
        sizeof(facpool_allocator), counting_alloc, counting_realloc, counting_free, &c             \
    }

#define PLENTY 1000000

/* The same numbers at every start, so that a failure can be had again. */
static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ------------------------------------------------------------------ codes */

static uint32_t intern(fp_codes *codes, const char *code)
{
    uint32_t id = FP_CODE_NONE;
    CHECK_INT(fp_codes_intern(codes, code, strlen(code), &id), 0);
    return id;
}

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

/* ------------------------------------------------------------------ batches */

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
    RUN(codes_are_numbered_once_in_order_of_arrival);
    RUN(codes_rank_by_bytes_until_a_new_one_comes);
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
    RUN(sort_orders_by_date_and_code_bytes_and_is_stable);
    RUN(sort_orders_dates_however_far_apart);
    RUN(sort_of_sorted_rows_takes_no_memory);
    RUN(sort_out_of_memory_leaves_the_batch_as_it_was);
    RUN(append_takes_rows_of_another_batch);
    RUN(batch_out_of_memory_is_as_it_was);
    return TEST_END();
}
