/* The test harness: one executable a module, plain functions, one line printed a test.
 * CHECK stops the running test and counts it failed; the program's exit status says the rest. */
#ifndef FP_TEST_H
#define FP_TEST_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quiet_fork.h"

static int test_failures;
static int test_count;
static jmp_buf test_end;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("  %s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                     \
            longjmp(test_end, 1);                                                                  \
        }                                                                                          \
    } while (0)

#define CHECK_INT(actual, expected)                                                                \
    do {                                                                                           \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                \
        if (actual_ != expected_) {                                                                \
            printf("  %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #actual, actual_,        \
                   expected_);                                                                     \
            longjmp(test_end, 1);                                                                  \
        }                                                                                          \
    } while (0)

#define CHECK_TEXT(actual, expected)                                                               \
    do {                                                                                           \
        const char *actual_ = (actual), *expected_ = (expected);                                   \
        if (!actual_ || strcmp(actual_, expected_) != 0) {                                         \
            printf("  %s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #actual,             \
                   actual_ ? actual_ : "(null)", expected_);                                       \
            longjmp(test_end, 1);                                                                  \
        }                                                                                          \
    } while (0)

/* A public call that must succeed: prints the library's message where it does not. */
#define CHECK_OK(call, err)                                                                        \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ < 0) {                                                                           \
            printf("  %s:%d: %s gave %d: %s\n", __FILE__, __LINE__, #call, code_, (err).message);  \
            longjmp(test_end, 1);                                                                  \
        }                                                                                          \
    } while (0)

/* RUN(function): `function` says in its name what it proves. */
#define RUN(function)                                                                              \
    do {                                                                                           \
        test_count++;                                                                              \
        if (setjmp(test_end) == 0) {                                                               \
            function();                                                                            \
            printf("ok   %s\n", #function);                                                        \
        } else {                                                                                   \
            test_failures++;                                                                       \
            printf("FAIL %s\n", #function);                                                        \
        }                                                                                          \
        fflush(stdout);                                                                            \
    } while (0)

#define TEST_END()                                                                                 \
    (printf("%d of %d passed\n", test_count - test_failures, test_count),                          \
     test_failures ? EXIT_FAILURE : EXIT_SUCCESS)

#endif
