/* Factor names and tag: checked when a run, writer or backup is opened, compared when a backup is
 * resumed or several are read as one. Called by run, store and query; knows nothing of files. */
#include "model/schema.h"

#include "base/alloc.h"
#include "base/error.h"
#include "model/codes.h"

#include <stdio.h>
#include <string.h>

static int check_count(size_t n_factors, facpool_error *err)
{
    if (n_factors == 0 || n_factors > FP_FACTORS_MAX)
        return fp_fail(err, FACPOOL_E_INVALID, "n_factors is %zu: give 1 to %d", n_factors,
                       FP_FACTORS_MAX);
    return 0;
}

/* The fixed columns stand beside the factors in every format. */
static int check_not_fixed_column(const char *name, facpool_error *err)
{
    static const char *const fixed_columns[] = {"date",         "code",    "timestamp", "status",
                                                "failure_code", "message", "tag",       "checksum"};
    for (size_t i = 0; i < sizeof fixed_columns / sizeof *fixed_columns; i++)
        if (strcmp(name, fixed_columns[i]) == 0)
            return fp_fail(err, FACPOOL_E_INVALID,
                           "factor name '%s' is that of a fixed column: choose another", name);
    return 0;
}

static int check_tag(const char *tag, facpool_error *err)
{
    size_t length = strnlen(tag, FP_TAG_MAX_BYTES + 1);
    if (length > FP_TAG_MAX_BYTES)
        return fp_fail(err, FACPOOL_E_INVALID, "tag '%.*s...' is longer than %d bytes: shorten it",
                       (int)fp_utf8_cut(tag, length, 40), tag, FP_TAG_MAX_BYTES);
    if (!fp_utf8_valid(tag, length))
        return fp_fail(err, FACPOOL_E_INVALID, "tag '%.*s' is not valid UTF-8: convert it first",
                       (int)fp_utf8_cut(tag, length, 100), tag);
    return 0;
}

/* A table of codes tells whether a name was there before without comparing each with each. */
static int add_names(fp_texts *out, size_t n_factors, const char *const *names, facpool_error *err)
{
    fp_codes seen;
    fp_codes_init(&seen, NULL);
    int code = 0;
    for (size_t i = 0; i < n_factors && !code; i++) {
        char numbered[24];
        const char *name = names ? names[i] : numbered;
        if (!names)
            snprintf(numbered, sizeof numbered, "f%zu", i);
        size_t length = fp_text_check(name, "factor name", err);
        uint32_t id = 0;
        if (length == 0)
            code = FACPOOL_E_INVALID;
        else if ((code = check_not_fixed_column(name, err)))
            break;
        else if (fp_codes_intern(&seen, name, length, &id) || fp_texts_add(out, name, length))
            code = fp_fail_nomem(err, length + 1);
        else if (id != i)
            code = fp_fail(err, FACPOOL_E_INVALID,
                           "factor name '%s' is given twice, for factors %u and %zu: rename one",
                           name, (unsigned)id, i);
    }
    fp_codes_free(&seen);
    return code;
}

int fp_schema_init(fp_schema *out, size_t n_factors, const char *const *names, const char *tag,
                   facpool_error *err)
{
    fp_schema made = {0};
    int code = check_count(n_factors, err);
    if (!code)
        code = add_names(&made.names, n_factors, names, err);
    if (!code && tag)
        code = check_tag(tag, err);
    if (!code && tag && *tag) {
        made.tag = fp_strdup(NULL, tag);
        if (!made.tag)
            code = fp_fail_nomem(err, strlen(tag) + 1);
    }
    if (code) {
        fp_schema_free(&made);
        return code;
    }
    *out = made;
    return 0;
}

int fp_schema_copy(fp_schema *out, const fp_schema *from, facpool_error *err)
{
    fp_schema copy = {.created_us = from->created_us, .row_us = from->row_us};
    memcpy(copy.file_id, from->file_id, sizeof copy.file_id);
    for (size_t i = 0; i < from->names.n; i++)
        if (fp_texts_add(&copy.names, fp_texts_at(&from->names, i),
                         fp_texts_length(&from->names, i)))
            goto fail;
    if (from->tag) {
        copy.tag = fp_strdup(NULL, from->tag);
        if (!copy.tag)
            goto fail;
    }
    *out = copy;
    return 0;
fail:
    fp_schema_free(&copy);
    return fp_fail_nomem(err, from->names.n * sizeof(uint32_t));
}

void fp_schema_free(fp_schema *schema)
{
    fp_texts_free(&schema->names);
    fp_free(NULL, schema->tag);
    schema->tag = NULL;
}

size_t fp_schema_find(const fp_schema *schema, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < schema->names.n; i++)
        if (fp_texts_length(&schema->names, i) == length &&
            memcmp(fp_texts_at(&schema->names, i), name, length) == 0)
            return i;
    return SIZE_MAX;
}

#define LIST_BYTES 300

/* "(ma5, ma20)", or false where that is too long to read. */
static bool list_names(char list[LIST_BYTES], const fp_texts *names)
{
    size_t used = 0;
    list[used++] = '(';
    for (size_t i = 0; i < names->n; i++) {
        size_t length = fp_texts_length(names, i);
        if (used + length + sizeof ", )" > LIST_BYTES)
            return false;
        if (i > 0) {
            list[used++] = ',';
            list[used++] = ' ';
        }
        memcpy(list + used, fp_texts_at(names, i), length);
        used += length;
    }
    list[used++] = ')';
    list[used] = '\0';
    return true;
}

static size_t first_difference(const fp_texts *a, const fp_texts *b)
{
    size_t shared = a->n < b->n ? a->n : b->n;
    for (size_t i = 0; i < shared; i++)
        if (strcmp(fp_texts_at(a, i), fp_texts_at(b, i)) != 0)
            return i;
    return shared;
}

int fp_schema_match_factors(const fp_schema *stored, const fp_schema *wanted, const char *path,
                            facpool_error *err)
{
    size_t at = first_difference(&stored->names, &wanted->names);
    if (at == stored->names.n && at == wanted->names.n)
        return 0;
    static const char remedy[] = "resume with the same factors or choose another file";
    char there[LIST_BYTES], here[LIST_BYTES];
    if (list_names(there, &stored->names) && list_names(here, &wanted->names))
        return fp_fail(err, FACPOOL_E_MISMATCH,
                       "backup '%s' holds factors %s, this run gives %s: %s", path, there, here,
                       remedy);
    return fp_fail(err, FACPOOL_E_MISMATCH,
                   "backup '%s' holds %zu factors, this run gives %zu; factor %zu is '%s' there, "
                   "'%s' here: %s",
                   path, stored->names.n, wanted->names.n, at,
                   at < stored->names.n ? fp_texts_at(&stored->names, at) : "",
                   at < wanted->names.n ? fp_texts_at(&wanted->names, at) : "", remedy);
}

#define TAG_TEXT_BYTES 240

/* "tag 'v1'" or "no tag"; a tag too long to read is cut. */
static void describe_tag(char text[TAG_TEXT_BYTES], const char *tag)
{
    size_t length = strlen(tag), shown = fp_utf8_cut(tag, length, 200);
    if (length == 0)
        snprintf(text, TAG_TEXT_BYTES, "no tag");
    else
        snprintf(text, TAG_TEXT_BYTES, "tag '%.*s%s'", (int)shown, tag,
                 shown < length ? "..." : "");
}

int fp_schema_match_tag(const fp_schema *stored, const fp_schema *wanted, const char *path,
                        facpool_error *err)
{
    const char *there = stored->tag ? stored->tag : "";
    const char *here = wanted->tag ? wanted->tag : "";
    if (strcmp(there, here) == 0)
        return 0;
    char there_text[TAG_TEXT_BYTES], here_text[TAG_TEXT_BYTES];
    describe_tag(there_text, there);
    describe_tag(here_text, here);
    return fp_fail(err, FACPOOL_E_MISMATCH,
                   "backup '%s' was written with %s, this run has %s: resume with the same tag or "
                   "choose another file",
                   path, there_text, here_text);
}
