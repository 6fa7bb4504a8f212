/* The text of JSON rows: doubles are the shortest text that reads back, in any locale; a line is
 * told from everything else; hostile text is refused by the library and by what is around it. */
#include "codec/json_checksum.h"
#include "codec/json_line.h"
#include "codec/json_values.h"
#include "comma_locale.h"
#include "test.h"

#include <math.h>
#include <unistd.h>

static fp_decimal_powers powers;
static uint64_t seed = 88172645463325252u;

static uint64_t random_bits(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* ------------------------------------------------------------------ numbers */

static const char *text_of(double value)
{
    static char text[FP_JSON_NUMBER_BYTES + 1];
    char *end = fp_json_put_double(text, value, &powers);
    CHECK(end - text <= FP_JSON_NUMBER_BYTES - 4);
    *end = '\0';
    return text;
}

/* The significant digits of a number's text, without zeros at either end. */
static size_t digits_of(const char *text, char *digits)
{
    size_t n = 0;
    for (; *text && *text != 'e'; text++)
        if (*text >= '1' || (*text == '0' && n > 0))
            if (*text <= '9')
                digits[n++] = *text;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    return n;
}

static void check_reads_back(double value)
{
    const char *text = text_of(value);
    if (!same_bits(strtod(text, NULL), value))
        printf("  %s is not %.17g\n", text, value);
    CHECK(same_bits(strtod(text, NULL), value));
    CHECK(strpbrk(text, ".e") != NULL); /* readers take it for a double */
}

/* No text with a digit less reads back; and of those with as many, none is nearer. */
static void check_is_shortest(double value)
{
    check_reads_back(value);
    char digits[64], others[64], text[64];
    size_t n = digits_of(text_of(value), digits);
    if (value == 0)
        return;
    CHECK(n >= 1 && n <= 17);
    if (n > 1) {
        snprintf(text, sizeof text, "%.*e", (int)n - 2, value);
        CHECK(strtod(text, NULL) != value);
    }
    snprintf(text, sizeof text, "%.*e", (int)n - 1, value);
    if (strtod(text, NULL) == value) {
        digits_of(text, others);
        CHECK_TEXT(digits, others);
    }
}

static void random_doubles_are_shortest(void)
{
    for (int i = 0; i < 200000; i++) {
        double any = double_of(random_bits());
        if (isfinite(any))
            check_is_shortest(any);
        check_is_shortest(double_of(random_bits() >> (12 + random_bits() % 52))); /* subnormal */
        check_is_shortest((double)(random_bits() % 100000000) / 100.0);
        check_is_shortest((double)(int64_t)(random_bits() >> random_bits() % 64));
    }
}

static void millions_of_random_doubles_read_back(void)
{
    for (int i = 0; i < 2000000; i++) {
        double any = double_of(random_bits());
        if (isfinite(any))
            check_reads_back(any);
    }
}

static void doubles_at_the_edges_are_shortest(void)
{
    for (uint64_t exponent = 0; exponent < 2047; exponent++)
        for (int64_t m = -3; m <= 3; m++) {
            double value = double_of((exponent << 52) + (uint64_t)m);
            if (isfinite(value))
                check_is_shortest(value);
        }
    for (int k = -323; k <= 308; k++) {
        char text[64];
        snprintf(text, sizeof text, "1e%d", k);
        double power = strtod(text, NULL);
        check_is_shortest(power);
        check_is_shortest(nextafter(power, 0));
        check_is_shortest(nextafter(power, INFINITY));
        CHECK_INT(digits_of(text_of(power), text), 1);
    }
}

static void doubles_look_as_people_write_them(void)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0.0, "0.0"},
                 {-0.0, "-0.0"},
                 {1.0, "1.0"},
                 {-1.5, "-1.5"},
                 {10.25, "10.25"},
                 {100.0, "100.0"},
                 {0.1, "0.1"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1.0 / 3, "0.3333333333333333"},
                 {4.35, "4.35"},
                 {0.0001, "0.0001"},
                 {0.000123, "0.000123"},
                 {0.00001, "1e-5"},
                 {1.5e-7, "1.5e-7"},
                 {1e15, "1000000000000000.0"},
                 {1e16, "1e16"},
                 {123456789012345678.0, "1.2345678901234568e17"},
                 {9007199254740992.0, "9007199254740992.0"},
                 {9007199254740994.0, "9007199254740994.0"},
                 {1e22, "1e22"},
                 {1e23, "1e23"},
                 {8.41e21, "8.41e21"},
                 {2.2250738585072014e-308, "2.2250738585072014e-308"},
                 {2.225073858507201e-308, "2.225073858507201e-308"},
                 {1.7976931348623157e308, "1.7976931348623157e308"},
                 {-1.7976931348623157e308, "-1.7976931348623157e308"},
                 {5e-324, "5e-324"},
                 {9.5367431640625e-7, "9.5367431640625e-7"},
                 {2.9802322387695312e-8, "2.9802322387695312e-8"},
                 {9.0608011534336e15, "9060801153433600.0"},
                 {4.708356024711512e18, "4.708356024711512e18"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_TEXT(text_of(cases[i].value), cases[i].text);
        check_is_shortest(cases[i].value);
    }
}

static void check_integer(int64_t value)
{
    char text[FP_JSON_NUMBER_BYTES], expected[FP_JSON_NUMBER_BYTES];
    *fp_json_put_integer(text, value) = '\0';
    snprintf(expected, sizeof expected, "%lld", (long long)value);
    CHECK_TEXT(text, expected);
}

static void integers_are_their_digits(void)
{
    static const int64_t edges[] = {0, 9, 10, 99, 100, INT64_MAX, INT64_MIN, INT32_MIN};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        check_integer(edges[i]);
    int64_t power = 1;
    for (int k = 0; k < 19; k++, power *= k < 19 ? 10 : 1) {
        check_integer(power - 1);
        check_integer(power);
        check_integer(-power);
    }
    for (int i = 0; i < 100000; i++)
        check_integer((int64_t)(random_bits() >> random_bits() % 64));
}

/* ------------------------------------------------------------------ lines */

static fp_texts names_of(const char *const *names, size_t n)
{
    fp_texts texts = {0};
    for (size_t i = 0; i < n; i++)
        CHECK(!fp_texts_add(&texts, names[i], strlen(names[i])));
    return texts;
}

static fp_json_layout layout_of(const char *const *names, size_t n, const char *tag)
{
    fp_texts texts = names_of(names, n);
    fp_json_layout layout;
    CHECK(!fp_json_layout_init(&layout, &texts, tag));
    fp_texts_free(&texts);
    return layout;
}

static const char *const two_names[] = {"ma5", "a \"b\"\\\n\xc3\xa9"};

/* The line without its newline, and its length. */
static size_t line_of(char *to, const fp_json_layout *layout, const fp_json_row *row)
{
    char *end = fp_json_put_line(to, layout, &powers, row);
    CHECK((size_t)(end - to) <= fp_json_line_bytes(layout, row));
    CHECK((size_t)(end - to) <= layout->most_bytes);
    CHECK(end[-1] == '\n' && !memchr(to, '\n', (size_t)(end - to) - 1));
    end[-1] = '\0';
    return (size_t)(end - to) - 1;
}

static void a_line_looks_as_it_is_documented(void)
{
    fp_json_layout layout = layout_of(two_names, 2, "v1");
    double first = 10.25, second = NAN;
    double *factors[] = {&first, &second};
    fp_json_row row = {.date = 20240102,
                       .code = "000001",
                       .code_length = 6,
                       .timestamp = 1700000000000000,
                       .status = FACPOOL_STATUS_OK,
                       .factors = factors};
    char line[4096];
    size_t n = line_of(line, &layout, &row);
    static const char ok[] =
        "{\"date\":20240102,\"code\":\"000001\",\"timestamp\":1700000000000000,"
        "\"status\":\"ok\",\"ma5\":10.25,\"a \\\"b\\\"\\\\\\n\xc3\xa9\":null,"
        "\"tag\":\"v1\",\"checksum\":\"";
    CHECK(strncmp(line, ok, sizeof ok - 1) == 0);
    CHECK_INT(n, sizeof ok - 1 + 18);
    row.status = FACPOOL_STATUS_FAILED;
    row.failure_code = -7;
    row.message = "no \"bars\"";
    row.message_length = 9;
    line_of(line, &layout, &row);
    static const char failed[] =
        "{\"date\":20240102,\"code\":\"000001\",\"timestamp\":1700000000000000,"
        "\"status\":\"failed\",\"ma5\":null,\"a \\\"b\\\"\\\\\\n\xc3\xa9\":null,"
        "\"failure_code\":-7,\"message\":\"no \\\"bars\\\"\",\"tag\":\"v1\",\"checksum\":\"";
    CHECK(strncmp(line, failed, sizeof failed - 1) == 0);
    fp_json_layout_free(&layout);
}

/* Not-ok rows with every byte that JSON escapes, and ok ones with odd values. */
static void check_parts(const fp_json_layout *layout, const fp_json_row *row)
{
    char line[16384];
    size_t n = line_of(line, layout, row);
    CHECK(fp_json_line_is_sound(line, n));
    fp_json_parts parts;
    fp_json_span spans[2];
    CHECK(fp_json_match_line(layout, line, n, &parts, spans) == FP_JSON_LINE);
    CHECK(parts.date == row->date && parts.timestamp == row->timestamp);
    CHECK_INT(parts.status, row->status);
    fp_json_values values;
    CHECK(!fp_json_values_init(&values));
    CHECK(!fp_json_values_add_text(&values, parts.code));
    bool is_ok = row->status == FACPOOL_STATUS_OK;
    for (size_t k = 0; is_ok && k < 2; k++)
        CHECK(!fp_json_values_add(&values, spans[k]));
    if (!is_ok)
        CHECK(!fp_json_values_add_text(&values, parts.message));
    CHECK(!fp_json_values_parse(&values));
    const char *text;
    size_t length;
    CHECK(fp_json_values_text(&values, 0, &text, &length));
    CHECK(length == row->code_length && memcmp(text, row->code, length) == 0);
    for (size_t k = 0; is_ok && k < 2; k++) {
        double value;
        CHECK(fp_json_values_factor(&values, 1 + k, &value));
        CHECK(same_bits(value, row->factors[k][0]) || (isnan(value) && isnan(row->factors[k][0])));
    }
    if (!is_ok) {
        CHECK_INT(parts.failure_code, row->failure_code);
        CHECK(fp_json_values_text(&values, 1, &text, &length));
        CHECK(length == row->message_length && memcmp(text, row->message, length) == 0);
    }
    fp_json_values_free(&values);
}

static void values_come_back_from_a_line(void)
{
    fp_json_layout layout = layout_of(two_names, 2, NULL);
    char every[256];
    size_t n_every = 0;
    for (int byte = 1; byte < 128; byte++)
        every[n_every++] = (char)byte;
    memcpy(every + n_every, "\xe6\xb2\xaa\xf0\x9f\x98\x80", 7);
    n_every += 7;
    double first = 0, second = 0;
    double *factors[] = {&first, &second};
    fp_json_row row = {.date = INT64_MIN,
                       .code = every,
                       .code_length = n_every,
                       .timestamp = INT64_MAX,
                       .status = FACPOOL_STATUS_CRASHED,
                       .failure_code = INT32_MIN,
                       .message = every,
                       .message_length = n_every,
                       .factors = factors};
    check_parts(&layout, &row);
    row.status = FACPOOL_STATUS_OK;
    static const double odd[] = {INFINITY, -INFINITY, NAN, -0.0, 5e-324, 1e300, 0.1, -1.0};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        first = odd[i];
        second = odd[(i + 1) % 8];
        check_parts(&layout, &row);
    }
    for (int i = 0; i < 20000; i++) {
        first = double_of(random_bits());
        second = double_of(random_bits());
        row.date = (int64_t)random_bits();
        row.timestamp = (int64_t)random_bits() >> random_bits() % 64;
        check_parts(&layout, &row);
    }
    fp_json_layout_free(&layout);
}

static fp_json_row sample_row(double *const *factors, int status)
{
    return (fp_json_row){.date = 20240102,
                         .code = "00\"001",
                         .code_length = 6,
                         .timestamp = 17,
                         .status = status,
                         .failure_code = 12,
                         .message = "m\t",
                         .message_length = 2,
                         .factors = factors};
}

/* So that a torn first row is told from a file of someone else's. */
static void every_beginning_of_a_line_is_known_as_one(void)
{
    fp_json_layout layout = layout_of(two_names, 2, "t");
    double first = -12.5e-9, second = INFINITY;
    double *factors[] = {&first, &second};
    for (int status = FACPOOL_STATUS_OK; status <= FACPOOL_STATUS_CRASHED; status++) {
        fp_json_row row = sample_row(factors, status);
        char line[4096];
        size_t n = line_of(line, &layout, &row);
        fp_json_parts parts;
        for (size_t cut = 0; cut < n; cut++) {
            char *copy = malloc(cut ? cut : 1); /* nothing behind it may be looked at */
            memcpy(copy, line, cut);
            CHECK(fp_json_match_line(&layout, copy, cut, &parts, NULL) == FP_JSON_CUT);
            CHECK(!fp_json_line_is_sound(copy, cut));
            if (cut > 0) {
                copy[cut - 1] = '\x01';
                CHECK(fp_json_match_line(&layout, copy, cut, &parts, NULL) == FP_JSON_OTHER);
            }
            free(copy);
        }
        line[n] = ' ';
        CHECK(fp_json_match_line(&layout, line, n + 1, &parts, NULL) == FP_JSON_OTHER);
    }
    fp_json_layout_free(&layout);
}

static void every_flipped_bit_of_a_line_is_found(void)
{
    static const char *const names[] = {"a", "b"};
    fp_json_layout layout = layout_of(names, 2, NULL);
    double first = 1.25, second = 2;
    double *factors[] = {&first, &second};
    fp_json_row row = sample_row(factors, FACPOOL_STATUS_OK);
    char line[4096];
    size_t n = line_of(line, &layout, &row);
    for (size_t bit = 0; bit < n * 8; bit++) {
        line[bit / 8] ^= (char)(1 << bit % 8);
        CHECK(!fp_json_line_is_sound(line, n));
        line[bit / 8] ^= (char)(1 << bit % 8);
    }
    CHECK(fp_json_line_is_sound(line, n));
    fp_json_layout_free(&layout);
}

/* Copied whole or fed in parts, a line has one checksum. */
static void checksums_do_not_depend_on_how_they_are_computed(void)
{
    static char line[5000];
    for (size_t n = 100; n <= sizeof line; n += n < 1200 ? 1 : 97) {
        for (size_t i = 0; i < n; i++)
            line[i] = (char)random_bits();
        size_t at = n - FP_JSON_CHECKSUM_DIGITS - 2;
        uint64_t without = fp_json_checksum_without(line, n, at);
        memset(line + at, '0', FP_JSON_CHECKSUM_DIGITS);
        CHECK(without == fp_json_checksum_of(line, n));
    }
}

static fp_json_match match_text(const char *line)
{
    static const char *const names[] = {"a"};
    fp_json_layout layout = layout_of(names, 1, NULL);
    fp_json_parts parts;
    fp_json_match match = fp_json_match_line(&layout, line, strlen(line), &parts, NULL);
    fp_json_layout_free(&layout);
    return match;
}

#define LINE(date, code, timestamp, status, rest)                                                  \
    "{\"date\":" date ",\"code\":" code ",\"timestamp\":" timestamp ",\"status\":" status rest     \
    ",\"checksum\":\"0123456789abcdef\"}"

static void lines_of_another_form_are_told_apart(void)
{
    CHECK(match_text(LINE("1", "\"x\"", "2", "\"ok\"", ",\"a\":1")) == FP_JSON_LINE);
    CHECK(match_text(LINE("-9223372036854775808", "\"x\"", "9223372036854775807", "\"ok\"",
                          ",\"a\":null")) == FP_JSON_LINE);
    static const char *const others[] = {
        LINE("01", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("-0", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("+1", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("1.0", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("1e3", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("9223372036854775808", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("-9223372036854775809", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("99999999999999999999999", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("\"1\"", "\"x\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("1", "7", "2", "\"ok\"", ",\"a\":1"),
        LINE("1", "\"x\ty\"", "2", "\"ok\"", ",\"a\":1"),
        LINE("1", "\"x\"", "2", "\"okay\"", ",\"a\":1"),
        LINE("1", "\"x\"", "2", "\"\"", ",\"a\":1"),
        LINE("1", "\"x\"", "2", "\"ok\"", ",\"b\":1"),
        LINE("1", "\"x\"", "2", "\"ok\"", ",\"a\":1,\"b\":1"),
        LINE("1", "\"x\"", "2", "\"ok\"", ""),
        LINE("1", "\"x\"", "2", "\"ok\"", ",\"a\":"),
        LINE("1", "\"x\"", "2", "\"ok\"", ",\"a\":true"),
        LINE("1", "\"x\"", "2", "\"ok\"", ",\"a\": 1"),
        LINE("1", "\"x\"", "2", "\"ok\"", ",\"a\":1,\"tag\":\"t\""),
        LINE("1", "\"x\"", "2", "\"ok\"", ",\"a\":1,\"failure_code\":0,\"message\":\"\""),
        LINE("1", "\"x\"", "2", "\"failed\"", ",\"a\":null"),
        LINE("1", "\"x\"", "2", "\"failed\"", ",\"a\":1,\"failure_code\":0,\"message\":\"\""),
        LINE("1", "\"x\"", "2", "\"failed\"",
             ",\"a\":null,\"failure_code\":2147483648,\"message\":\"\""),
        "",
        "{}",
        "null",
        "[1,2]",
        "{\"date\":\"2024-01-02\",\"close\":1}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        CHECK(match_text(others[i]) != FP_JSON_LINE);
    CHECK(match_text(LINE("1", "\"x\"", "2", "\"failed\"",
                          ",\"a\":null,\"failure_code\":-2147483648,\"message\":\"\"")) ==
          FP_JSON_LINE);
}

/* ------------------------------------------------------------------ values */

static int parse_one(const char *text, double *factor, bool *is_factor)
{
    fp_json_values values;
    CHECK(!fp_json_values_init(&values));
    fp_json_span span = {text, strlen(text)};
    CHECK(!fp_json_values_add(&values, span));
    int rc = fp_json_values_parse(&values);
    *is_factor = !rc && fp_json_values_factor(&values, 0, factor);
    fp_json_values_free(&values);
    return rc;
}

static void hostile_values_are_refused(void)
{
    static const char *const refused[] = {"",         "1,2",       "1]",
                                          "[1",       "]",         "1.2.3",
                                          "--1",      "1e",        "e5",
                                          ".5",       "NaN",       "nan",
                                          "tru",      "\"a",       "'a'",
                                          "+1",       "1e999",     "-",
                                          "0x1",      "true",      "[1]",
                                          "{}",       "\"inf\"",   "\"\"",
                                          "\"NaN\"",  "/**/1",     "1e5e5",
                                          "1-1",      "//",        "\\",
                                          "infinity", "-Infinity", "\"Infinity\\u0000\""};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        double value;
        bool is_factor;
        int rc = parse_one(refused[i], &value, &is_factor);
        if (rc != FACPOOL_E_CORRUPT && is_factor)
            printf("  taken: %s\n", refused[i]);
        CHECK(rc == FACPOOL_E_CORRUPT || (rc == 0 && !is_factor));
    }
    double value;
    bool is_factor;
    CHECK(!parse_one("17", &value, &is_factor));
    CHECK(is_factor && value == 17);
}

static void hostile_texts_are_refused(void)
{
    static const char *const refused[] = {"\\",    "\\x",  "\\u12",  "\\u0000",
                                          "a\xff", "\xc3", "\\\"\\", "a\"b"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        fp_json_values values;
        CHECK(!fp_json_values_init(&values));
        fp_json_span span = {refused[i], strlen(refused[i])};
        CHECK(!fp_json_values_add_text(&values, span));
        const char *text;
        size_t length;
        int rc = fp_json_values_parse(&values);
        CHECK(rc == FACPOOL_E_CORRUPT || !fp_json_values_text(&values, 0, &text, &length));
        fp_json_values_free(&values);
    }
}

static void names_and_tag_are_found_in_a_line(void)
{
    fp_json_layout layout = layout_of(two_names, 2, "v\"1");
    double first = 1, second = 2;
    double *factors[] = {&first, &second};
    for (int status = FACPOOL_STATUS_OK; status <= FACPOOL_STATUS_FAILED; status++) {
        fp_json_row row = sample_row(factors, status);
        char line[4096];
        size_t n = line_of(line, &layout, &row);
        fp_texts names = {0};
        char *tag = NULL;
        CHECK(!fp_json_read_schema(line, n, &names, &tag));
        CHECK_INT(names.n, 2);
        CHECK_TEXT(fp_texts_at(&names, 0), two_names[0]);
        CHECK_TEXT(fp_texts_at(&names, 1), two_names[1]);
        CHECK_TEXT(tag, "v\"1");
        free(tag);
        fp_texts_free(&names);
    }
    fp_json_layout_free(&layout);
    static const char *const others[] = {"{}", "[]", "{\"date\":1}", "{\"a\":1,\"checksum\":1}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        fp_texts names = {0};
        char *tag = NULL;
        CHECK_INT(fp_json_read_schema(others[i], strlen(others[i]), &names, &tag),
                  FACPOOL_E_CORRUPT);
        fp_texts_free(&names);
    }
}

/* ------------------------------------------------------------------ locale */

static void a_decimal_comma_changes_nothing(void)
{
    char folder[] = "/tmp/facpool-locale-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    if (take_comma_locale(folder)) {
        char comma[16];
        snprintf(comma, sizeof comma, "%.1f", 1.5);
        CHECK_TEXT(comma, "1,5");
    }
    CHECK_TEXT(text_of(1234567.25), "1234567.25");
    CHECK_TEXT(text_of(1.5e-300), "1.5e-300");
    values_come_back_from_a_line();
    setlocale(LC_ALL, "C");
    unsetenv("LOCPATH");
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK_INT(system(command), 0);
}

int main(void)
{
    fp_decimal_powers_init(&powers);
    RUN(doubles_look_as_people_write_them);
    RUN(doubles_at_the_edges_are_shortest);
    RUN(random_doubles_are_shortest);
    RUN(millions_of_random_doubles_read_back);
    RUN(integers_are_their_digits);
    RUN(a_line_looks_as_it_is_documented);
    RUN(values_come_back_from_a_line);
    RUN(every_beginning_of_a_line_is_known_as_one);
    RUN(every_flipped_bit_of_a_line_is_found);
    RUN(checksums_do_not_depend_on_how_they_are_computed);
    RUN(lines_of_another_form_are_told_apart);
    RUN(hostile_values_are_refused);
    RUN(hostile_texts_are_refused);
    RUN(names_and_tag_are_found_in_a_line);
    RUN(a_decimal_comma_changes_nothing);
    return TEST_END();
}
