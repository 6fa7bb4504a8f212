/* The door to json-c: see json_values.h. Numbers are rounded exactly. json-c reads them in the "C"
 * locale whatever the caller's is, but (0.16, glibc 2.36) that leaks some bytes a call where the
 * caller's is another; so it is called in that locale. */
#include "codec/json_values.h"

#include "base/alloc.h"
#include "os/locale.h"

#include <json-c/json.h>
#include <math.h>
#include <string.h>

/* json-c forgives much by default. That texts are UTF-8 is checked here, of texts alone. */
#define STRICT JSON_TOKENER_STRICT

int fp_json_values_init(fp_json_values *values)
{
    *values = (fp_json_values){.tokener = json_tokener_new()};
    if (!values->tokener)
        return FACPOOL_E_NOMEM;
    json_tokener_set_flags(values->tokener, STRICT);
    return 0;
}

void fp_json_values_free(fp_json_values *values)
{
    json_object_put(values->array);
    if (values->tokener)
        json_tokener_free(values->tokener);
    fp_buffer_free(&values->text);
    *values = (fp_json_values){0};
}

void fp_json_values_clear(fp_json_values *values)
{
    json_object_put(values->array);
    values->array = NULL;
    values->text.size = 0;
    values->n = 0;
}

static int add(fp_json_values *values, fp_json_span value, bool is_quoted)
{
    char *start = (char *)fp_buffer_reserve(&values->text, value.n + 4), *to = start;
    if (!start)
        return FACPOOL_E_NOMEM;
    *to++ = values->n ? ',' : '[';
    if (is_quoted)
        *to++ = '"';
    memcpy(to, value.at, value.n);
    to += value.n;
    if (is_quoted)
        *to++ = '"';
    values->text.size += (size_t)(to - start);
    values->n++;
    return 0;
}

int fp_json_values_add(fp_json_values *values, fp_json_span value)
{
    return add(values, value, false);
}

int fp_json_values_add_text(fp_json_values *values, fp_json_span inside)
{
    return add(values, inside, true);
}

/* Parses a whole text as one value of the wanted type. */
static int parse(struct json_tokener *tokener, const char *text, size_t n, json_type wanted,
                 struct json_object **out)
{
    if (n > INT32_MAX)
        return FACPOOL_E_CORRUPT;
    fp_c_locale locale;
    if (!fp_c_locale_enter(&locale))
        return FACPOOL_E_NOMEM;
    json_tokener_reset(tokener);
    struct json_object *parsed = json_tokener_parse_ex(tokener, text, (int)n);
    fp_c_locale_leave(&locale);
    enum json_tokener_error error = json_tokener_get_error(tokener);
    if (!parsed && error == json_tokener_success) /* it says nothing else when memory runs out */
        return FACPOOL_E_NOMEM;
    if (!parsed || error != json_tokener_success || json_tokener_get_parse_end(tokener) != n ||
        !json_object_is_type(parsed, wanted)) {
        json_object_put(parsed);
        return FACPOOL_E_CORRUPT;
    }
    *out = parsed;
    return 0;
}

int fp_json_values_parse(fp_json_values *values)
{
    if (values->n == 0)
        return 0;
    if (fp_buffer_put_u8(&values->text, ']'))
        return FACPOOL_E_NOMEM;
    struct json_object *array;
    int rc = parse(values->tokener, (const char *)values->text.data, values->text.size,
                   json_type_array, &array);
    if (rc)
        return rc;
    if (json_object_array_length(array) != values->n) {
        json_object_put(array);
        return FACPOOL_E_CORRUPT;
    }
    values->array = array;
    return 0;
}

static bool is_exactly(struct json_object *value, const char *text)
{
    size_t n = strlen(text);
    return (size_t)json_object_get_string_len(value) == n &&
           memcmp(json_object_get_string(value), text, n) == 0;
}

bool fp_json_values_factor(const fp_json_values *values, size_t i, double *out)
{
    struct json_object *value = json_object_array_get_idx(values->array, i);
    switch (json_object_get_type(value)) {
    case json_type_null:
        *out = (double)NAN;
        return true;
    case json_type_double:
    case json_type_int:
        *out = json_object_get_double(value);
        return *out - *out == 0;
    case json_type_string:
        *out = is_exactly(value, "Infinity") ? (double)INFINITY : -(double)INFINITY;
        return *out > 0 || is_exactly(value, "-Infinity");
    default:
        return false;
    }
}

static bool is_text(struct json_object *value, const char **text, size_t *length)
{
    if (!json_object_is_type(value, json_type_string))
        return false;
    const char *found = json_object_get_string(value);
    size_t n = (size_t)json_object_get_string_len(value);
    if (memchr(found, 0, n) || !fp_utf8_valid(found, n))
        return false;
    *text = found;
    *length = n;
    return true;
}

bool fp_json_values_text(const fp_json_values *values, size_t i, const char **text, size_t *length)
{
    return is_text(json_object_array_get_idx(values->array, i), text, length);
}

/* ------------------------------------------------------------------ a whole row */

static const char *const first_fields[] = {"date", "code", "timestamp", "status"};
static const char *const last_fields[] = {"failure_code", "message", "tag", "checksum"};

#define N_FIRST_FIELDS (sizeof first_fields / sizeof *first_fields)
#define N_LAST_FIELDS  (sizeof last_fields / sizeof *last_fields)

static bool is_last_field(const char *key)
{
    for (size_t i = 0; i < N_LAST_FIELDS; i++)
        if (strcmp(key, last_fields[i]) == 0)
            return true;
    return false;
}

/* json-c keeps fields in the order of the text. */
static int read_fields(struct json_object *row, fp_texts *names, struct json_object **tag)
{
    size_t at = 0;
    bool names_are_over = false;
    json_object_object_foreach(row, key, value)
    {
        if (at < N_FIRST_FIELDS && strcmp(key, first_fields[at]) != 0)
            return FACPOOL_E_CORRUPT;
        names_are_over = names_are_over || is_last_field(key);
        if (at >= N_FIRST_FIELDS && !names_are_over && fp_texts_add(names, key, strlen(key)))
            return FACPOOL_E_NOMEM;
        if (strcmp(key, "tag") == 0)
            *tag = value;
        at++;
    }
    return names_are_over && names->n ? 0 : FACPOOL_E_CORRUPT;
}

static int copy_tag(struct json_object *tag, char **out)
{
    const char *text;
    size_t length;
    if (!is_text(tag, &text, &length))
        return FACPOOL_E_CORRUPT;
    *out = fp_strdup(NULL, text);
    return *out ? 0 : FACPOOL_E_NOMEM;
}

int fp_json_read_schema(const char *line, size_t n, fp_texts *names, char **tag)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *row = NULL, *tag_value = NULL;
    if (!tokener)
        return FACPOOL_E_NOMEM;
    json_tokener_set_flags(tokener, STRICT);
    *tag = NULL;
    int rc = parse(tokener, line, n, json_type_object, &row);
    if (!rc)
        rc = read_fields(row, names, &tag_value);
    if (!rc && tag_value)
        rc = copy_tag(tag_value, tag);
    json_object_put(row);
    json_tokener_free(tokener);
    return rc;
}
