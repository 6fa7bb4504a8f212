/* Takes a caller's filter apart: checks it, sorts its lists and finds its factors. Called when a
 * cursor is opened; never reads a row. Holding it against blocks is block_filter.c. */
#include "query/filter.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "model/codes.h"

#define ALL_COLUMNS                                                                                \
    (FACPOOL_COLUMN_DATE | FACPOOL_COLUMN_CODE | FACPOOL_COLUMN_TIMESTAMP | FACPOOL_COLUMN_STATUS)

static int check_flags(const facpool_filter *asked, facpool_error *err)
{
    if (asked->statuses & ~FACPOOL_STATUS_ALL)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "filter.statuses 0x%x has bits that are no status: join "
                       "FACPOOL_STATUS_BIT()s of OK, SKIPPED, FAILED, TIMEOUT and CRASHED",
                       asked->statuses);
    if (asked->columns & ~(ALL_COLUMNS | FACPOOL_COLUMN_NONE))
        return fp_fail(err, FACPOOL_E_INVALID,
                       "filter.columns 0x%x has bits that are no column: join FACPOOL_COLUMN_*",
                       asked->columns);
    if ((asked->columns & FACPOOL_COLUMN_NONE) && asked->columns != FACPOOL_COLUMN_NONE)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "filter.columns 0x%x joins FACPOOL_COLUMN_NONE with columns: leave one out",
                       asked->columns);
    if (asked->order < 0 || asked->order > FACPOOL_ORDER_KEY)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "filter.order %d is unknown: give FACPOOL_ORDER_FILE or FACPOOL_ORDER_KEY",
                       asked->order);
    if (asked->copy && asked->require_zero_copy)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "filter.copy %d and filter.require_zero_copy %d contradict one another: "
                       "leave one of them 0",
                       asked->copy, asked->require_zero_copy);
    if (asked->reserved)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "filter.reserved is %d: initialise the filter with FACPOOL_FILTER_INIT",
                       asked->reserved);
    return 0;
}

static int check_lists(const facpool_filter *asked, facpool_error *err)
{
    const char *missing = !asked->dates && asked->n_dates       ? "dates"
                          : !asked->codes && asked->n_codes     ? "codes"
                          : !asked->factors && asked->n_factors ? "factors"
                                                                : NULL;
    if (missing)
        return fp_fail(err, FACPOOL_E_INVALID,
                       "filter.n_%s is not 0, but filter.%s is NULL: give the list", missing,
                       missing);
    for (size_t i = 0; i < asked->n_codes; i++)
        if (!asked->codes[i])
            return fp_fail(err, FACPOOL_E_INVALID, "filter.codes[%zu] is NULL: give a code", i);
    for (size_t i = 0; i < asked->n_factors; i++)
        if (!asked->factors[i])
            return fp_fail(err, FACPOOL_E_INVALID, "filter.factors[%zu] is NULL: give a name", i);
    return 0;
}

static int compare_dates(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Keeps the dates of the list that lie within the bounds, each once, in order. */
static int take_date_list(fp_filter *filter, const facpool_filter *asked, facpool_error *err)
{
    filter->dates = fp_alloc(NULL, asked->n_dates * sizeof *filter->dates);
    if (!filter->dates)
        return fp_fail_nomem(err, asked->n_dates * sizeof *filter->dates);
    size_t n = 0;
    for (size_t i = 0; i < asked->n_dates; i++)
        if (asked->dates[i] >= filter->date_min && asked->dates[i] <= filter->date_max)
            filter->dates[n++] = asked->dates[i];
    if (n == 0) {
        filter->nothing = true;
        return 0;
    }
    qsort(filter->dates, n, sizeof *filter->dates, compare_dates);
    for (size_t i = 0; i < n; i++)
        if (filter->n_dates == 0 || filter->dates[i] != filter->dates[filter->n_dates - 1])
            filter->dates[filter->n_dates++] = filter->dates[i];
    filter->date_min = filter->dates[0];
    filter->date_max = filter->dates[filter->n_dates - 1];
    if (filter->n_dates == 1) { /* a range of one date, which is quicker to test for */
        fp_free(NULL, filter->dates);
        filter->dates = NULL;
    }
    return 0;
}

static int take_dates(fp_filter *filter, const facpool_filter *asked, facpool_error *err)
{
    filter->date_min = asked->date_min ? *asked->date_min : INT64_MIN;
    filter->date_max = asked->date_max ? *asked->date_max : INT64_MAX;
    filter->any_date = !asked->date_min && !asked->date_max && !asked->dates;
    if (filter->date_min > filter->date_max || (asked->dates && asked->n_dates == 0))
        filter->nothing = true;
    if (!asked->dates || filter->nothing)
        return 0;
    return take_date_list(filter, asked, err);
}

static int compare_codes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int take_codes(fp_filter *filter, const facpool_filter *asked, facpool_error *err)
{
    filter->any_code = !asked->codes;
    if (!asked->codes)
        return 0;
    if (asked->n_codes == 0) {
        filter->nothing = true;
        return 0;
    }
    size_t bytes = asked->n_codes * sizeof(const char *);
    const char **sorted = fp_alloc(NULL, bytes);
    if (!sorted)
        return fp_fail_nomem(err, bytes);
    memcpy(sorted, asked->codes, bytes);
    qsort(sorted, asked->n_codes, sizeof *sorted, compare_codes);
    int rc = 0;
    for (size_t i = 0; !rc && i < asked->n_codes; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
            rc = fp_texts_add(&filter->codes, sorted[i], strlen(sorted[i]));
    fp_free(NULL, sorted);
    return rc ? fp_fail_nomem(err, bytes) : 0;
}

/* Lists names for a message, as many as fit. */
static void list_names(const fp_schema *schema, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < schema->names.n; i++) {
        size_t room = size - used;
        size_t needed = fp_texts_length(&schema->names, i) + strlen(", ");
        if (needed + strlen("... (65535 in all)") >= room) {
            snprintf(text + used, room, "... (%zu in all)", schema->names.n);
            return;
        }
        used += (size_t)snprintf(text + used, room, "%s%s", i ? ", " : "",
                                 fp_texts_at(&schema->names, i));
    }
}

/* Up to so many factors are looked for one by one, more in a table of all names. */
#define FEW_FACTORS 16

/* Names are distinct, so a name's number in the table is its factor's. */
static int number_names(fp_codes *numbers, const fp_texts *names, facpool_error *err)
{
    uint32_t number;
    for (size_t i = 0; i < names->n; i++)
        if (fp_codes_intern(numbers, fp_texts_at(names, i), fp_texts_length(names, i), &number))
            return fp_fail_nomem(err, names->n * sizeof(uint32_t));
    return 0;
}

static int find_factor(uint32_t *out, const char *name, bool many, fp_codes *numbers,
                       const fp_schema *schema, facpool_error *err)
{
    if (!many) {
        size_t found = fp_schema_find(schema, name);
        *out = found == SIZE_MAX ? FP_CODE_NONE : (uint32_t)found;
        return 0;
    }
    int rc = numbers->texts.n ? 0 : number_names(numbers, &schema->names, err);
    if (!rc)
        *out = fp_codes_find(numbers, name, strlen(name));
    return rc;
}

static int fail_no_factor(const char *name, const fp_schema *schema, const char *path,
                          facpool_error *err)
{
    char names[480];
    list_names(schema, names, sizeof names);
    return fp_fail(err, FACPOOL_E_NOT_FOUND, "there is no factor '%.255s' in '%.200s': it has %s",
                   name, path, names);
}

static int find_factors(fp_filter *filter, const char *const *asked, fp_codes *numbers,
                        const fp_schema *schema, const char *path, facpool_error *err)
{
    const fp_texts *names = &schema->names;
    bool many = filter->n_factors > FEW_FACTORS;
    uint32_t expected = 0; /* factors are usually asked for in the order they are stored in */
    for (size_t i = 0; i < filter->n_factors; i++) {
        uint32_t found = expected;
        int rc = 0;
        if (expected >= names->n || strcmp(fp_texts_at(names, expected), asked[i]) != 0)
            rc = find_factor(&found, asked[i], many, numbers, schema, err);
        if (rc)
            return rc;
        if (found == FP_CODE_NONE)
            return fail_no_factor(asked[i], schema, path, err);
        filter->factors[i] = found;
        expected = found + 1;
    }
    return 0;
}

static int take_factors(fp_filter *filter, const facpool_filter *asked, const fp_schema *schema,
                        const char *path, facpool_error *err)
{
    size_t n = asked->factors ? asked->n_factors : schema->names.n;
    filter->factors = fp_alloc(NULL, n * sizeof *filter->factors);
    if (!filter->factors)
        return fp_fail_nomem(err, n * sizeof *filter->factors);
    filter->n_factors = n;
    if (!asked->factors) {
        for (size_t i = 0; i < n; i++)
            filter->factors[i] = (uint32_t)i;
        return 0;
    }
    fp_codes numbers;
    fp_codes_init(&numbers, NULL);
    int rc = find_factors(filter, asked->factors, &numbers, schema, path, err);
    fp_codes_free(&numbers);
    return rc;
}

static void take_flags(fp_filter *filter, const facpool_filter *asked)
{
    filter->statuses = asked->statuses ? asked->statuses : FACPOOL_STATUS_BIT(FACPOOL_STATUS_OK);
    filter->columns = asked->columns ? asked->columns & ALL_COLUMNS : ALL_COLUMNS;
    filter->by_key = asked->order == FACPOOL_ORDER_KEY;
    filter->zero_copy = asked->require_zero_copy != 0;
    filter->copies = asked->copy != 0;
    filter->skip_bytes = asked->skip_bytes;
}

int fp_filter_init(fp_filter *out, const facpool_filter *asked, const fp_schema *schema,
                   const char *path, facpool_error *err)
{
    facpool_filter own = FACPOOL_FILTER_INIT;
    int rc = asked ? fp_abi_import(&own, sizeof own, asked, "facpool_filter", err) : 0;
    if (!rc)
        rc = check_flags(&own, err);
    if (!rc)
        rc = check_lists(&own, err);
    if (rc)
        return rc;
    fp_filter filter = {.nothing = false};
    take_flags(&filter, &own);
    rc = take_dates(&filter, &own, err);
    if (!rc)
        rc = take_codes(&filter, &own, err);
    if (!rc)
        rc = take_factors(&filter, &own, schema, path, err);
    if (rc) {
        fp_filter_free(&filter);
        return rc;
    }
    *out = filter;
    return 0;
}

void fp_filter_free(fp_filter *filter)
{
    fp_free(NULL, filter->dates);
    fp_free(NULL, filter->factors);
    fp_texts_free(&filter->codes);
    *filter = (fp_filter){.nothing = true};
}
