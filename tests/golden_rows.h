/* The rows of the golden files under tests/data, as pure functions of a number. Shared by
 * make_golden.c, which wrote the files once, and test_golden.c, which reads them with every later
 * version of the library. Nothing here may ever change: what is in the files does not. */
#ifndef FP_GOLDEN_ROWS_H
#define FP_GOLDEN_ROWS_H

#include "scratch.h"

#include <facpool/facpool.h>

#define GOLDEN_DATES   6
#define GOLDEN_CODES   8
#define GOLDEN_ROWS    (GOLDEN_DATES * GOLDEN_CODES)
#define GOLDEN_FACTORS 5
#define GOLDEN_TAG     "golden v1 \xe7\x89\x88"

/* Which rows a file has. */
#define GOLDEN_CLOSED 0 /* all of round 0, closed */
#define GOLDEN_TORN   1 /* three blocks of round 2, the third of which is cut short */
#define GOLDEN_RESUMED                                                                             \
    2 /* most of round 0, closed; then round 1 of those to be done again and of the                \
         rest, closed again. It has a tag */
#define GOLDEN_KINDS 3

/* The first block of a torn file, and of its sisters; the first part of a resumed one. */
#define GOLDEN_BLOCK_ROWS 16
#define GOLDEN_FIRST_PART 40

static const char *const golden_kinds[GOLDEN_KINDS] = {"closed", "torn", "resumed"};

typedef struct golden_format {
    const char *name;
    const char *suffix;
    bool is_lines;  /* a torn file is whole up to its last line */
    bool keeps_nan; /* NaN payloads come back */
} golden_format;

static const golden_format golden_formats[] = {{"binary", ".fpb", false, true},
                                               {"json", ".jsonl", true, false},
                                               {"memory_map", ".arrow", false, true}};

#define N_GOLDEN_FORMATS (sizeof golden_formats / sizeof *golden_formats)

static const char *const golden_names[GOLDEN_FACTORS] = {"z", "price", "rank", "odd \"one\"",
                                                         "\xe5\x9b\xa0\xe5\xad\x90"};

/* In key order. */
static const int64_t golden_dates[GOLDEN_DATES] = {INT64_MIN, -20240102, 0,
                                                   20240101,  20240102,  INT64_MAX};

static inline int64_t golden_date(size_t i)
{
    return golden_dates[i / GOLDEN_CODES];
}

/* One of them is as long as codes may be. */
static inline const char *golden_code(size_t i)
{
    static const char *const codes[GOLDEN_CODES] = {
        "000001", "0000010", "600000", "AAPL", "q\"\\ \t", "\xc3\xa9", "\xe4\xb8\xad\xe5\x9b\xbd",
        NULL};
    static char longest[256];
    if (codes[i % GOLDEN_CODES])
        return codes[i % GOLDEN_CODES];
    memcpy(longest, "\xf0\x9f\x98\x80", 4);
    memset(longest + 4, 'x', 251);
    return longest;
}

typedef struct golden_row {
    int status;
    int64_t timestamp;
    int32_t failure_code;
    const char *message;
    double factors[GOLDEN_FACTORS];
} golden_row;

/* In round 2 every row is ok; in round 1 those that failed in round 0 are mostly. */
static inline int golden_status(size_t i, unsigned round)
{
    if (round == 2 || i % 4 != 1)
        return FACPOOL_STATUS_OK;
    if (i % 16 == 1)
        return FACPOOL_STATUS_SKIPPED;
    if (round == 1 && i % 16 != 5)
        return FACPOOL_STATUS_OK;
    return FACPOOL_STATUS_FAILED + (int)(i / 16 % 3);
}

static inline double golden_odd(size_t i)
{
    static const uint64_t odd[] = {
        UINT64_C(0x7ff8000000000000), UINT64_C(0xfff8000000000001), UINT64_C(0x7ff0000000000001),
        UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000), UINT64_C(0x8000000000000000),
        UINT64_C(0x0000000000000000), UINT64_C(0x0000000000000001), UINT64_C(0x800fffffffffffff),
        UINT64_C(0x0010000000000000), UINT64_C(0x7fefffffffffffff), UINT64_C(0x3ff0000000000000),
        UINT64_C(0x3fb999999999999a)};
    double value;
    memcpy(&value, &odd[i % (sizeof odd / sizeof *odd)], sizeof value);
    return value;
}

static inline golden_row golden_row_of(size_t i, unsigned round)
{
    static const char *const messages[] = {"no bars", "",
                                           "\xe6\xb2\xa1\xe6\x9c\x89\xe6\x95\xb0\xe6\x8d\xae",
                                           "two\nlines, \"quoted\" \\ \x01"};
    uint64_t h = mix_bits(i * 3 + round + 1);
    golden_row row = {.status = golden_status(i, round),
                      .timestamp = INT64_C(1704067200000000) + (int64_t)(round * 1000000 + i),
                      .message = ""};
    if (row.status == FACPOOL_STATUS_SKIPPED)
        return row;
    if (row.status != FACPOOL_STATUS_OK) {
        row.failure_code = i % 3 ? (int32_t)i - 20 : INT32_MIN;
        row.message = messages[(i / 4 + round) % 4];
        return row;
    }
    row.factors[0] = (double)(h >> 11) / 9007199254740992.0 * 6 - 3;
    row.factors[1] = (double)(h % 100000) / 100;
    row.factors[2] = (double)(h % 5000);
    row.factors[3] = golden_odd(i + round);
    row.factors[4] = -1e-300 * (double)(h % 7 + 1);
    return row;
}

/* The round whose row of key i a file has, or -1. */
static inline int golden_round(const golden_format *format, int kind, size_t i)
{
    if (kind == GOLDEN_CLOSED)
        return 0;
    if (kind == GOLDEN_TORN)
        return i < 2 * GOLDEN_BLOCK_ROWS || (format->is_lines && i + 1 < GOLDEN_ROWS) ? 2 : -1;
    return i >= GOLDEN_FIRST_PART || golden_status(i, 0) > FACPOOL_STATUS_SKIPPED ? 1 : 0;
}

/* A file's path in a folder. */
static inline void golden_path(char *out, size_t size, const char *folder,
                               const golden_format *format, int kind)
{
    snprintf(out, size, "%s/%s%s", folder, golden_kinds[kind], format->suffix);
}

#endif
