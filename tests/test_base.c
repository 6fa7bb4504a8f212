/* base/: errors reach callers of every struct size and are always text, structs of older and newer
 * callers are understood, allocation goes through the run's allocator, bytes never run past their
 * end, and only valid text is let in. */
#include "floor_helpers.h"

#include "base/abi.h"
#include "base/alloc.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <errno.h>
#include <stddef.h>

/* ------------------------------------------------------------------ errors */

static void error_is_filled_and_its_code_returned(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    CHECK_INT(fp_fail(&err, FACPOOL_E_INVALID, "value %d is wrong", 7), FACPOOL_E_INVALID);
    CHECK_INT(err.code, FACPOOL_E_INVALID);
    CHECK_INT(err.size, sizeof err);
    CHECK_TEXT(err.message, "value 7 is wrong");
    CHECK_INT(err.has_task, 0);
    CHECK_INT(fp_fail(NULL, FACPOOL_E_IO, "no one listens"), FACPOOL_E_IO);
}

static void error_with_errno_ends_in_its_text(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    CHECK_INT(fp_fail_errno(&err, FACPOOL_E_IO, ENOSPC, "file '%s'", "x"), FACPOOL_E_IO);
    CHECK_INT(err.os_errno, ENOSPC);
    CHECK_TEXT(err.message, "file 'x': No space left on device");
}

static void error_with_a_long_path_keeps_the_text_of_the_errno(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    char path[4000];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    fp_fail_errno(&err, FACPOOL_E_IO, ENOSPC, "file '%s'", path);
    const char *tail = ": No space left on device";
    CHECK_TEXT(err.message + strlen(err.message) - strlen(tail), tail);
    CHECK_INT(strlen(err.message), sizeof err.message - 1);
}

static void error_names_the_task(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_fail_task(&err, FACPOOL_E_DUPLICATE, -5, "000001", "twice");
    CHECK_INT(err.has_task, 1);
    CHECK_INT(err.date, -5);
    CHECK_TEXT(err.task_code, "000001");
}

static void error_messages_are_text_whatever_they_quote(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    fp_fail(&err, FACPOOL_E_INVALID, "code '%s'", "a\xff\x1b[2J\xe4\xb8\xad\xe4\xb8");
    CHECK_TEXT(err.message, "code 'a\\xff\\x1b[2J\xe4\xb8\xad\\xe4\\xb8'");
    fp_fail_task(&err, FACPOOL_E_INVALID, 1, "\xc0\xaf", "-");
    CHECK_TEXT(err.task_code, "\\xc0\\xaf");
}

static void error_messages_are_cut_between_characters(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    char text[3001] = "";
    for (size_t i = 0; i < 1000; i++)
        memcpy(text + 3 * i, "\xe4\xb8\xad", 4);
    fp_fail(&err, FACPOOL_E_INVALID, "%s", text);
    CHECK_INT(strlen(err.message), 1023 / 3 * 3);
    CHECK(fp_utf8_valid(err.message, strlen(err.message)));
    fp_fail(&err, FACPOOL_E_INVALID, "x%s", text);
    CHECK(fp_utf8_valid(err.message, strlen(err.message)));
    CHECK_INT(strlen(err.message), 1 + 1022 / 3 * 3);
}

static void error_of_an_older_caller_is_not_written_past_its_size(void)
{
    size_t first = offsetof(facpool_error, code) + sizeof(int32_t);
    for (size_t size = first; size <= sizeof(facpool_error); size++) {
        _Alignas(facpool_error) unsigned char memory[sizeof(facpool_error) + 64];
        memset(memory, 0xa5, sizeof memory);
        memcpy(memory, &size, sizeof size);
        fp_fail_task((facpool_error *)(void *)memory, FACPOOL_E_TASK, 1, "code\xe4\xb8\xad",
                     "message \xe4\xb8\xad\xe4\xb8\xad");
        for (size_t i = size; i < sizeof memory; i++)
            CHECK_INT(memory[i], 0xa5);
        const facpool_error *err = (const facpool_error *)(const void *)memory;
        CHECK_INT(err->size, size);
        CHECK_INT(err->code, FACPOOL_E_TASK);
        size_t at = offsetof(facpool_error, message);
        if (size > at) {
            CHECK(memchr(err->message, '\0', size - at));
            CHECK(fp_utf8_valid(err->message, strlen(err->message)));
        }
        at = offsetof(facpool_error, task_code);
        if (size > at)
            CHECK(memchr(err->task_code, '\0', size - at));
    }
}

static void error_of_an_absurd_size_is_left_alone(void)
{
    size_t sizes[] = {0, 1, 8, 11, 65537, (size_t)1 << 40, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        facpool_error err, before;
        memset(&err, 0x5a, sizeof err);
        err.size = sizes[i];
        before = err;
        CHECK_INT(fp_fail(&err, FACPOOL_E_INVALID, "text"), FACPOOL_E_INVALID);
        CHECK(memcmp(&err, &before, sizeof err) == 0);
    }
}

static void error_of_a_newer_caller_is_filled_as_far_as_we_know_it(void)
{
    struct {
        facpool_error known;
        char beyond[32];
    } err = {FACPOOL_ERROR_INIT, "beyond"};
    err.known.size = sizeof err;
    fp_fail(&err.known, FACPOOL_E_INVALID, "text");
    CHECK_TEXT(err.known.message, "text");
    CHECK_INT(err.known.size, sizeof err);
    CHECK_TEXT(err.beyond, "beyond");
}

static void error_copy_keeps_everything_and_the_own_size(void)
{
    facpool_error from = FACPOOL_ERROR_INIT, to = FACPOOL_ERROR_INIT;
    fp_fail_task(&from, FACPOOL_E_TASK, 20240102, "000001", "why");
    from.os_errno = 5;
    CHECK_INT(fp_error_copy(&to, &from), FACPOOL_E_TASK);
    CHECK(memcmp(&to, &from, sizeof to) == 0);
    CHECK_INT(fp_error_copy(NULL, &from), FACPOOL_E_TASK);
    CHECK_INT(fp_error_copy(&to, &to), FACPOOL_E_TASK);
    CHECK_TEXT(to.message, "why");
}

static void names_are_those_of_the_header(void)
{
    CHECK_TEXT(facpool_error_name(FACPOOL_E_INVALID), "FACPOOL_E_INVALID");
    CHECK_TEXT(facpool_error_name(FACPOOL_E_BUSY), "FACPOOL_E_BUSY");
    CHECK_TEXT(facpool_error_name(FACPOOL_E_CORRUPT), "FACPOOL_E_CORRUPT");
    CHECK_TEXT(facpool_error_name(FACPOOL_E_FORKED), "FACPOOL_E_FORKED");
    CHECK_TEXT(facpool_error_name(FACPOOL_E_STATE), "FACPOOL_E_STATE");
    CHECK_TEXT(facpool_error_name(FACPOOL_E_WORKER), "FACPOOL_E_WORKER");
    CHECK_TEXT(facpool_error_name(-18), "unknown error");
    CHECK_TEXT(facpool_error_name(1), "unknown error");
    CHECK_TEXT(facpool_error_name(-2147483647 - 1), "unknown error");
    CHECK_TEXT(facpool_status_name(FACPOOL_STATUS_OK), "ok");
    CHECK_TEXT(facpool_status_name(FACPOOL_STATUS_SKIPPED), "skipped");
    CHECK_TEXT(facpool_status_name(FACPOOL_STATUS_CRASHED), "crashed");
    CHECK_TEXT(facpool_status_name(6), "unknown status");
    CHECK_TEXT(facpool_status_name(-1), "unknown status");
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", FACPOOL_VERSION_MAJOR, FACPOOL_VERSION_MINOR,
             FACPOOL_VERSION_PATCH);
    CHECK_TEXT(facpool_version(), version);
}

/* ------------------------------------------------------------------ allocation */

static void allocation_goes_through_the_allocator_given(void)
{
    counting count = {0, 100};
    facpool_allocator a = COUNTING(count);
    char *text = fp_strdup(&a, "000001");
    unsigned char *zeros = fp_alloc_zero(&a, 3, 5);
    CHECK_TEXT(text, "000001");
    for (int i = 0; i < 15; i++)
        CHECK_INT(zeros[i], 0);
    CHECK_INT(count.out, 2);
    text = fp_realloc(&a, text, 100);
    CHECK_TEXT(text, "000001");
    fp_free(&a, text);
    fp_free(&a, zeros);
    fp_free(&a, NULL);
    CHECK_INT(count.out, 0);
}

static void allocation_of_nothing_is_not_out_of_memory(void)
{
    void *none = fp_alloc(NULL, 0), *zeros = fp_alloc_zero(NULL, 0, 8);
    CHECK(none && zeros);
    none = fp_realloc(NULL, none, 0);
    CHECK(none);
    fp_free(NULL, none);
    fp_free(NULL, zeros);
}

static void allocation_that_overflows_is_out_of_memory(void)
{
    CHECK(!fp_alloc_zero(NULL, SIZE_MAX / 4, 8));
    void *memory = NULL;
    size_t capacity = 0;
    CHECK_INT(fp_grow(NULL, &memory, &capacity, SIZE_MAX / 4, 8), FACPOOL_E_NOMEM);
    CHECK(!memory);
    CHECK_INT(capacity, 0);
}

static void grow_doubles_and_leaves_all_as_it_was_on_failure(void)
{
    counting count = {0, 100};
    facpool_allocator a = COUNTING(count);
    void *memory = NULL;
    size_t capacity = 0;
    CHECK_INT(fp_grow(&a, &memory, &capacity, 100, 4), 0);
    CHECK_INT(capacity, 100);
    CHECK_INT(fp_grow(&a, &memory, &capacity, 101, 4), 0);
    CHECK_INT(capacity, 200);
    memset(memory, 7, 800);
    void *before = memory;
    count.left = 0;
    CHECK_INT(fp_grow(&a, &memory, &capacity, 150, 4), 0);
    CHECK_INT(fp_grow(&a, &memory, &capacity, 201, 4), FACPOOL_E_NOMEM);
    CHECK(memory == before);
    CHECK_INT(capacity, 200);
    fp_free(&a, memory);
    CHECK_INT(count.out, 0);
}

/* ------------------------------------------------------------------ structs across the border */

typedef struct version_1 {
    size_t size;
    int32_t a;
    int32_t b;
} version_1;

typedef struct version_2 {
    size_t size;
    int32_t a;
    int32_t b;
    const char *name;
} version_2;

static void struct_of_an_older_caller_is_completed_with_zeros(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    version_1 theirs = {sizeof theirs, 1, 2};
    version_2 own;
    memset(&own, 0x77, sizeof own);
    CHECK_OK(fp_abi_import(&own, sizeof own, &theirs, "options", &err), err);
    CHECK_INT(own.size, sizeof own);
    CHECK_INT(own.a, 1);
    CHECK_INT(own.b, 2);
    CHECK(own.name == NULL);
}

static void struct_of_a_newer_caller_needs_a_zero_tail(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    version_2 theirs = {sizeof theirs, 1, 2, NULL};
    version_1 own = {0};
    CHECK_OK(fp_abi_import(&own, sizeof own, &theirs, "options", &err), err);
    CHECK_INT(own.b, 2);
    CHECK_INT(own.size, sizeof own);
    theirs.name = "x";
    theirs.b = 9;
    CHECK_INT(fp_abi_import(&own, sizeof own, &theirs, "options", &err), FACPOOL_E_ABI);
    CHECK(strstr(err.message, "options"));
    CHECK_INT(own.b, 2); /* outputs untouched on failure */
}

static void struct_without_a_possible_size_is_refused(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    size_t sizes[] = {0, 7, 65537, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        version_1 theirs = {sizes[i], 1, 2}, own = {sizeof own, 3, 4};
        CHECK_INT(fp_abi_import(&own, sizeof own, &theirs, "row", &err), FACPOOL_E_ABI);
        CHECK_INT(fp_abi_export(&theirs, &own, sizeof own, "row", &err), FACPOOL_E_ABI);
        CHECK_INT(own.a, 3);
        CHECK_INT(theirs.a, 1);
    }
    version_1 own = {sizeof own, 3, 4};
    CHECK_INT(fp_abi_import(&own, sizeof own, NULL, "row", &err), FACPOOL_E_INVALID);
    CHECK_INT(fp_abi_export(NULL, &own, sizeof own, "row", &err), FACPOOL_E_INVALID);
}

static void struct_given_out_fits_its_caller(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    version_2 own = {sizeof own, 1, 2, "name"};
    struct {
        version_1 known;
        uint64_t behind;
    } older = {{sizeof(version_1), 0, 0}, 99};
    CHECK_OK(fp_abi_export(&older.known, &own, sizeof own, "row", &err), err);
    CHECK_INT(older.known.size, sizeof(version_1));
    CHECK_INT(older.known.b, 2);
    CHECK_INT(older.behind, 99);

    version_1 own_older = {sizeof own_older, 5, 6};
    version_2 newer = {sizeof newer, 0, 0, "stale"};
    CHECK_OK(fp_abi_export(&newer, &own_older, sizeof own_older, "row", &err), err);
    CHECK_INT(newer.size, sizeof newer);
    CHECK_INT(newer.a, 5);
    CHECK(newer.name == NULL);
}

/* ------------------------------------------------------------------ bytes */

static void buffer_holds_little_endian_values(void)
{
    fp_buffer b = {0};
    CHECK_INT(fp_buffer_put_u8(&b, 0xab), 0);
    CHECK_INT(fp_buffer_put_u32(&b, 0x01020304), 0);
    CHECK_INT(fp_buffer_put_u64(&b, 0x1122334455667788), 0);
    static const uint8_t expected[] = {0xab, 4,    3,    2,    1,    0x88, 0x77,
                                       0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
    CHECK_INT(b.size, sizeof expected);
    CHECK(memcmp(b.data, expected, sizeof expected) == 0);
    CHECK_INT(fp_buffer_pad(&b, 8), 0);
    CHECK_INT(b.size, 16);
    CHECK_INT(b.data[13] | b.data[14] | b.data[15], 0);
    CHECK_INT(fp_buffer_pad(&b, 8), 0);
    CHECK_INT(b.size, 16);

    fp_bytes bytes = {.data = b.data, .size = 13};
    CHECK_INT(fp_bytes_u8(&bytes), 0xab);
    CHECK_INT(fp_bytes_u32(&bytes), 0x01020304);
    CHECK(fp_bytes_u64(&bytes) == 0x1122334455667788);
    CHECK(!bytes.failed);
    fp_buffer_free(&b);
    CHECK(!b.data);
}

static void buffer_out_of_memory_leaves_it_as_it_was(void)
{
    counting count = {0, 1};
    facpool_allocator a = COUNTING(count);
    fp_buffer b = {.allocator = &a};
    CHECK_INT(fp_buffer_put(&b, "abc", 3), 0);
    char big[4096] = {0};
    CHECK_INT(fp_buffer_put(&b, big, sizeof big), FACPOOL_E_NOMEM);
    CHECK(!fp_buffer_reserve(&b, SIZE_MAX));
    CHECK_INT(b.size, 3);
    CHECK(memcmp(b.data, "abc", 3) == 0);
    fp_buffer_free(&b);
    CHECK_INT(count.out, 0);
}

static void bytes_never_run_past_their_end(void)
{
    static const uint8_t data[] = {1, 2, 3, 4, 5};
    fp_bytes bytes = {.data = data, .size = sizeof data};
    CHECK_INT(fp_bytes_u32(&bytes), 0x04030201);
    CHECK_INT(fp_bytes_u32(&bytes), 0);
    CHECK(bytes.failed);
    CHECK_INT(fp_bytes_u8(&bytes), 0); /* although one byte is left: failed once is failed */
    CHECK(!fp_bytes_take(&bytes, 0));
    bytes = (fp_bytes){.data = data, .size = sizeof data, .at = 2};
    CHECK(!fp_bytes_take(&bytes, SIZE_MAX));
    CHECK_INT(bytes.at, 2);
}

/* ------------------------------------------------------------------ text */

static void utf8_is_told_from_what_is_not(void)
{
    static const char *const valid[] = {"a",
                                        "\xc2\x80",
                                        "\xdf\xbf",
                                        "\xe0\xa0\x80",
                                        "\xed\x9f\xbf",
                                        "\xee\x80\x80",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf"};
    static const char *const invalid[] = {"\x80",
                                          "\xbf",
                                          "\xc0\x80",
                                          "\xc1\xbf",
                                          "\xc2",
                                          "\xc2\x41",
                                          "\xe0\x9f\xbf", /* overlong */
                                          "\xed\xa0\x80",
                                          "\xed\xbf\xbf", /* surrogates */
                                          "\xe4\xb8",
                                          "\xe4\xb8\x41",
                                          "\xf0\x8f\xbf\xbf",
                                          "\xf4\x90\x80\x80", /* > 10FFFF */
                                          "\xf5\x80\x80\x80",
                                          "\xf0\x90\x80",
                                          "\xff",
                                          "a\xfe"};
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
        CHECK(fp_utf8_valid(valid[i], strlen(valid[i])));
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        CHECK(!fp_utf8_valid(invalid[i], strlen(invalid[i])));
    CHECK(fp_utf8_valid("", 0));
}

static void utf8_is_cut_between_characters(void)
{
    const char *text = "a\xe4\xb8\xad\xf0\x9f\x98\x80z"; /* 1 + 3 + 4 + 1 bytes */
    static const size_t kept[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 9, 9};
    for (size_t max = 0; max < sizeof kept / sizeof *kept; max++)
        CHECK_INT(fp_utf8_cut(text, 9, max), kept[max]);
    CHECK_INT(fp_utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5); /* no text: cut anywhere */
}

static void codes_are_one_to_255_bytes_of_utf8(void)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    char text[300];
    CHECK_INT(fp_text_check("000001", "code", &err), 6);
    memset(text, 'x', sizeof text);
    text[255] = '\0';
    CHECK_INT(fp_text_check(text, "code", &err), 255);
    text[255] = 'x';
    text[299] = '\0';
    CHECK_INT(fp_text_check(text, "code", &err), 0);
    CHECK_INT(err.code, FACPOOL_E_INVALID);
    CHECK(strstr(err.message, "code 'xxxx") && strstr(err.message, "255"));
    CHECK_INT(fp_text_check("", "factor name", &err), 0);
    CHECK(strstr(err.message, "factor name"));
    CHECK_INT(fp_text_check(NULL, "code", &err), 0);
    CHECK_INT(fp_text_check("a\xffz", "code", &err), 0);
    CHECK_TEXT(err.message, "code 'a\\xffz' is not valid UTF-8: convert it first");
}

static void codes_are_checked_without_reading_past_256_bytes(void)
{
    char *exact = malloc(256); /* not terminated: a sanitizer sees a read behind it */
    CHECK(exact);
    memset(exact, 'x', 256);
    CHECK_INT(fp_text_check(exact, "code", NULL), 0);
    free(exact);
}

static void texts_are_listed_cleared_and_freed(void)
{
    fp_texts texts = {0};
    CHECK_INT(fp_texts_add(&texts, "ab", 2), 0);
    CHECK_INT(fp_texts_add(&texts, "", 0), 0);
    CHECK_INT(fp_texts_add(&texts, "cde", 3), 0);
    CHECK_INT(texts.n, 3);
    CHECK_TEXT(fp_texts_at(&texts, 0), "ab");
    CHECK_TEXT(fp_texts_at(&texts, 1), "");
    CHECK_TEXT(fp_texts_at(&texts, 2), "cde");
    CHECK_INT(fp_texts_length(&texts, 2), 3);
    fp_texts_clear(&texts);
    CHECK_INT(texts.n, 0);
    CHECK_INT(fp_texts_add(&texts, "z", 1), 0);
    CHECK_TEXT(fp_texts_at(&texts, 0), "z");
    CHECK_INT(texts.offsets[0], 0);
    fp_texts_free(&texts);
}

static void texts_out_of_memory_keep_what_they_have(void)
{
    for (long left = 0; left < 2; left++) {
        counting count = {0, left};
        facpool_allocator a = COUNTING(count);
        fp_texts texts = {.allocator = &a};
        CHECK_INT(fp_texts_add(&texts, "ab", 2), FACPOOL_E_NOMEM);
        CHECK_INT(texts.n, 0);
        count.left = 10;
        CHECK_INT(fp_texts_add(&texts, "ab", 2), 0);
        CHECK_TEXT(fp_texts_at(&texts, 0), "ab");
        fp_texts_free(&texts);
        CHECK_INT(count.out, 0);
    }
}

static void codes_compare_as_unsigned_bytes(void)
{
    CHECK(fp_text_compare("a", 1, "b", 1) < 0);
    CHECK(fp_text_compare("ab", 2, "a", 1) > 0);
    CHECK(fp_text_compare("a", 1, "ab", 2) < 0);
    CHECK(fp_text_compare("\xe4\xb8\xad", 3, "z", 1) > 0);
    CHECK_INT(fp_text_compare("abc", 3, "abc", 3), 0);
    CHECK(fp_text_compare("", 0, "a", 1) < 0);
}

int main(void)
{
    RUN(error_is_filled_and_its_code_returned);
    RUN(error_with_errno_ends_in_its_text);
    RUN(error_with_a_long_path_keeps_the_text_of_the_errno);
    RUN(error_names_the_task);
    RUN(error_messages_are_text_whatever_they_quote);
    RUN(error_messages_are_cut_between_characters);
    RUN(error_of_an_older_caller_is_not_written_past_its_size);
    RUN(error_of_an_absurd_size_is_left_alone);
    RUN(error_of_a_newer_caller_is_filled_as_far_as_we_know_it);
    RUN(error_copy_keeps_everything_and_the_own_size);
    RUN(names_are_those_of_the_header);
    RUN(allocation_goes_through_the_allocator_given);
    RUN(allocation_of_nothing_is_not_out_of_memory);
    RUN(allocation_that_overflows_is_out_of_memory);
    RUN(grow_doubles_and_leaves_all_as_it_was_on_failure);
    RUN(struct_of_an_older_caller_is_completed_with_zeros);
    RUN(struct_of_a_newer_caller_needs_a_zero_tail);
    RUN(struct_without_a_possible_size_is_refused);
    RUN(struct_given_out_fits_its_caller);
    RUN(buffer_holds_little_endian_values);
    RUN(buffer_out_of_memory_leaves_it_as_it_was);
    RUN(bytes_never_run_past_their_end);
    RUN(utf8_is_told_from_what_is_not);
    RUN(utf8_is_cut_between_characters);
    RUN(codes_are_one_to_255_bytes_of_utf8);
    RUN(codes_are_checked_without_reading_past_256_bytes);
    RUN(texts_are_listed_cleared_and_freed);
    RUN(texts_out_of_memory_keep_what_they_have);
    RUN(codes_compare_as_unsigned_bytes);
    return TEST_END();
}
