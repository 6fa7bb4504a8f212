/* Lines of JSON rows: see json_line.h. Called by the json format to write rows, to walk a file and
 * to read a block; a reader may hand over bytes of any kind, and no byte behind a line's end is
 * looked at. */
#include "codec/json_line.h"

#include "base/alloc.h"
#include "codec/bits.h"
#include "codec/json_checksum.h"

#include <string.h>

#define DATE_KEY         "{\"date\":"
#define CODE_KEY         ",\"code\":"
#define TIMESTAMP_KEY    ",\"timestamp\":"
#define STATUS_KEY       ",\"status\":"
#define FAILURE_CODE_KEY ",\"failure_code\":"
#define MESSAGE_KEY      ",\"message\":"
#define TAG_KEY          ",\"tag\":"
#define CHECKSUM_KEY     ",\"checksum\":\""
#define LINE_END         "\"}"

#define LENGTH_OF(text) (sizeof(text) - 1)

/* From the checksum's key to the end of the line. */
#define CHECKSUM_PART_BYTES                                                                        \
    (LENGTH_OF(CHECKSUM_KEY) + FP_JSON_CHECKSUM_DIGITS + LENGTH_OF(LINE_END))

#define MOST_ESCAPED 6 /* bytes that one byte of text becomes at most: \u001f */

/* By FACPOOL_STATUS_*; the first one stands for none. */
static const struct status_text {
    const char *text;
    size_t length;
} status_texts[] = {{"", 0},           {"\"ok\"", 4},      {"\"skipped\"", 9},
                    {"\"failed\"", 8}, {"\"timeout\"", 9}, {"\"crashed\"", 9}};

#define N_STATUSES ((int)(sizeof status_texts / sizeof *status_texts))

/* Of everything in a line but codes, messages, factors and what the layout keeps. */
#define FIXED_BYTES                                                                                \
    (LENGTH_OF(DATE_KEY CODE_KEY TIMESTAMP_KEY STATUS_KEY FAILURE_CODE_KEY MESSAGE_KEY) +          \
     3 * (size_t)FP_JSON_NUMBER_BYTES + 16 + CHECKSUM_PART_BYTES + 1)

/* ------------------------------------------------------------------ text */

static char *put(char *to, const char *text, size_t length)
{
    memcpy(to, text, length);
    return to + length;
}

#define PUT(to, text) put(to, text, LENGTH_OF(text))

static char *put_escape(char *to, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = "btn\0fr"; /* 8 to 13; 11 has none */
    *to++ = '\\';
    if (byte == '"' || byte == '\\') {
        *to++ = (char)byte;
    } else if (byte >= 8 && byte <= 13 && letters[byte - 8]) {
        *to++ = letters[byte - 8];
    } else {
        to = PUT(to, "u00");
        *to++ = hex[byte >> 4];
        *to++ = hex[byte & 15];
    }
    return to;
}

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte != '"' && byte != '\\';
}

/* UTF-8 stays as it is. */
static char *put_text(char *to, const char *text, size_t length)
{
    *to++ = '"';
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (is_plain(byte))
            *to++ = (char)byte;
        else
            to = put_escape(to, byte);
    }
    *to++ = '"';
    return to;
}

/* ------------------------------------------------------------------ layout */

static int add_key(fp_texts *keys, const char *name, size_t length)
{
    char key[FP_CODE_MAX_BYTES * MOST_ESCAPED + 4];
    char *end = key;
    *end++ = ',';
    end = put_text(end, name, length);
    *end++ = ':';
    return fp_texts_add(keys, key, (size_t)(end - key));
}

static int put_end(fp_buffer *end, const char *tag)
{
    size_t tag_bytes = tag ? strlen(tag) : 0;
    size_t room = LENGTH_OF(TAG_KEY CHECKSUM_KEY) + tag_bytes * MOST_ESCAPED + 2;
    char *start = (char *)fp_buffer_reserve(end, room);
    if (!start)
        return FACPOOL_E_NOMEM;
    char *at = start;
    if (tag) {
        at = PUT(at, TAG_KEY);
        at = put_text(at, tag, tag_bytes);
    }
    at = PUT(at, CHECKSUM_KEY);
    end->size = (size_t)(at - start);
    return 0;
}

int fp_json_layout_init(fp_json_layout *out, const fp_texts *names, const char *tag)
{
    fp_json_layout layout = {0};
    int rc = put_end(&layout.end, tag);
    for (size_t i = 0; !rc && i < names->n; i++)
        rc = add_key(&layout.keys, fp_texts_at(names, i), fp_texts_length(names, i));
    if (rc) {
        fp_json_layout_free(&layout);
        return rc;
    }
    layout.most_bytes = FIXED_BYTES + layout.keys.offsets[names->n] + layout.end.size +
                        names->n * FP_JSON_NUMBER_BYTES +
                        MOST_ESCAPED * (size_t)(FP_CODE_MAX_BYTES + FP_MESSAGE_MAX_BYTES);
    *out = layout;
    return 0;
}

void fp_json_layout_free(fp_json_layout *layout)
{
    fp_texts_free(&layout->keys);
    fp_buffer_free(&layout->end);
}

/* ------------------------------------------------------------------ writing */

size_t fp_json_line_bytes(const fp_json_layout *layout, const fp_json_row *row)
{
    size_t n = layout->keys.n;
    return FIXED_BYTES + layout->keys.offsets[n] + layout->end.size + n * FP_JSON_NUMBER_BYTES +
           MOST_ESCAPED * (row->code_length + row->message_length);
}

/* JSON has no numbers that are none: NaN is null, which the status tells from no value at all. */
static char *put_factor(char *to, double value, const fp_decimal_powers *powers)
{
    if (value != value)
        return PUT(to, "null");
    if (value - value != 0)
        return value > 0 ? PUT(to, "\"Infinity\"") : PUT(to, "\"-Infinity\"");
    return fp_json_put_double(to, value, powers);
}

static char *put_factors(char *to, const fp_json_layout *layout, const fp_decimal_powers *powers,
                         const fp_json_row *row)
{
    const fp_texts *keys = &layout->keys;
    bool is_ok = row->status == FACPOOL_STATUS_OK;
    for (size_t k = 0; k < keys->n; k++) {
        to = put(to, fp_texts_at(keys, k), fp_texts_length(keys, k));
        to = is_ok ? put_factor(to, row->factors[k][row->row], powers) : PUT(to, "null");
    }
    return to;
}

static char *put_failure(char *to, const fp_json_row *row)
{
    to = PUT(to, FAILURE_CODE_KEY);
    to = fp_json_put_integer(to, row->failure_code);
    to = PUT(to, MESSAGE_KEY);
    return put_text(to, row->message, row->message_length);
}

char *fp_json_put_line(char *to, const fp_json_layout *layout, const fp_decimal_powers *powers,
                       const fp_json_row *row)
{
    char *line = to;
    const struct status_text *status = &status_texts[row->status];
    to = PUT(to, DATE_KEY);
    to = fp_json_put_integer(to, row->date);
    to = PUT(to, CODE_KEY);
    to = put_text(to, row->code, row->code_length);
    to = PUT(to, TIMESTAMP_KEY);
    to = fp_json_put_integer(to, row->timestamp);
    to = PUT(to, STATUS_KEY);
    to = put(to, status->text, status->length);
    to = put_factors(to, layout, powers, row);
    if (row->status != FACPOOL_STATUS_OK)
        to = put_failure(to, row);
    to = put(to, (const char *)layout->end.data, layout->end.size);
    char *digits = to;
    memset(digits, '0', FP_JSON_CHECKSUM_DIGITS);
    to = PUT(to + FP_JSON_CHECKSUM_DIGITS, LINE_END);
    fp_json_checksum_put(digits, fp_json_checksum_of(line, (size_t)(to - line)));
    *to++ = '\n';
    return to;
}

/* ------------------------------------------------------------------ soundness */

bool fp_json_line_is_sound(const char *line, size_t n)
{
    if (n < CHECKSUM_PART_BYTES)
        return false;
    size_t key_at = n - CHECKSUM_PART_BYTES;
    size_t digits_at = key_at + LENGTH_OF(CHECKSUM_KEY);
    size_t end_at = digits_at + FP_JSON_CHECKSUM_DIGITS;
    char digits[FP_JSON_CHECKSUM_DIGITS];
    if (memcmp(line + key_at, CHECKSUM_KEY, LENGTH_OF(CHECKSUM_KEY)) != 0 ||
        memcmp(line + end_at, LINE_END, LENGTH_OF(LINE_END)) != 0)
        return false;
    fp_json_checksum_put(digits, fp_json_checksum_without(line, n, digits_at));
    return memcmp(line + digits_at, digits, sizeof digits) == 0;
}

bool fp_json_is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ')
            return false;
    return true;
}

/* ------------------------------------------------------------------ matching */

/* What is left of a line. After the first thing that does not fit, nothing fits any more. */
typedef struct scan {
    const char *at;
    const char *end;
    fp_json_match state; /* FP_JSON_LINE while all went well */
} scan;

static size_t left_of(const scan *s)
{
    return (size_t)(s->end - s->at);
}

/* What does not stand there as a whole: the line ends within it, or it is another. */
static void miss(scan *s, const char *text, size_t length)
{
    size_t left = left_of(s);
    if (s->state == FP_JSON_LINE)
        s->state = left < length && memcmp(s->at, text, left) == 0 ? FP_JSON_CUT : FP_JSON_OTHER;
}

static inline void take_fixed(scan *s, const char *text, size_t length)
{
    if (s->state == FP_JSON_LINE && left_of(s) >= length && memcmp(s->at, text, length) == 0)
        s->at += length;
    else
        miss(s, text, length);
}

#define TAKE(s, text) take_fixed(s, text, LENGTH_OF(text))

/* How many digits stand at `at`, before `end`. Eight bytes are looked at together. */
static inline size_t count_digits(const char *at, const char *end)
{
    const char *start = at;
    for (; end - at >= 8; at += 8) {
        uint64_t values = fp_word_load((const uint8_t *)at) ^ FP_EIGHT_TIMES('0');
        uint64_t large = (values & FP_EIGHT_TIMES(0x7f)) + FP_EIGHT_TIMES(0x80 - 10);
        uint64_t others = (large | values) & FP_EIGHT_TIMES(0x80);
        if (others)
            return (size_t)(at - start) + (size_t)__builtin_ctzll(others) / 8;
    }
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return (size_t)(at - start);
}

static inline bool is_of_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || (c | 0x20) == 'e';
}

/* The highest bit of each of eight bytes that are at least `byte`, of those below 0x80. */
static inline uint64_t marks_from(uint64_t bytes, uint8_t byte)
{
    return (bytes & FP_EIGHT_TIMES(0x7f)) + FP_EIGHT_TIMES(0x80 - byte);
}

/* The highest bit of each of eight bytes that is_of_number is false of. */
static inline uint64_t marks_of_others(uint64_t bytes)
{
    uint64_t outside = ~marks_from(bytes, '+') | marks_from(bytes, '9' + 1);
    uint64_t not_comma = marks_from(bytes ^ FP_EIGHT_TIMES(','), 1);
    uint64_t not_slash = marks_from(bytes ^ FP_EIGHT_TIMES('/'), 1);
    uint64_t not_e = marks_from((bytes | FP_EIGHT_TIMES(0x20)) ^ FP_EIGHT_TIMES('e'), 1);
    uint64_t marks = ((outside | ~not_comma | ~not_slash) & not_e) | bytes;
    return marks & FP_EIGHT_TIMES(0x80);
}

/* Having come to the end, more may follow; having found nothing is another line. */
static void end_number(scan *s, const char *start)
{
    if (s->state == FP_JSON_LINE && s->at == s->end)
        s->state = FP_JSON_CUT;
    else if (s->state == FP_JSON_LINE && s->at == start)
        s->state = FP_JSON_OTHER;
}

/* The longest stretch that may be a number. */
static void take_number(scan *s)
{
    const char *start = s->at, *at = start;
    uint64_t others = 0;
    for (; !others && s->end - at >= 8; at += others ? __builtin_ctzll(others) / 8 : 8)
        others = marks_of_others(fp_word_load((const uint8_t *)at));
    while (!others && at < s->end && is_of_number(*at))
        at++;
    s->at = at;
    end_number(s, start);
}

/* What n digits say, modulo 2^64. Eight of them are made pairs, of which there are at most 99, and
 * these are weighed by two multiplications: 10^6 and 10^2 in one, 10^4 and 1 in the other. */
static inline uint64_t value_of_digits(const char *at, size_t n)
{
    const uint64_t every_second = 0x000000ff000000ff;
    uint64_t value = 0;
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t digits = fp_word_load((const uint8_t *)at) ^ FP_EIGHT_TIMES('0');
        uint64_t pairs = digits * 10 + (digits >> 8);
        uint64_t eight = (pairs & every_second) * ((uint64_t)1000000 << 32 | 100) +
                         (pairs >> 16 & every_second) * ((uint64_t)10000 << 32 | 1);
        value = value * 100000000 + (eight >> 32);
    }
    for (; n > 0; n--, at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

/* Its digits as they are written: no plus, no leading zeros, no "-0". */
static int64_t take_integer(scan *s, int64_t least, int64_t most)
{
    if (s->state != FP_JSON_LINE)
        return 0;
    bool is_negative = s->at < s->end && *s->at == '-';
    const char *start = s->at + is_negative;
    size_t n = count_digits(start, s->end);
    uint64_t limit = is_negative ? 0 - (uint64_t)least : (uint64_t)most;
    uint64_t value = value_of_digits(start, n); /* 19 digits fit into 64 bits */
    s->at = start + n;
    end_number(s, start);
    if (n > 19 || value > limit || (n > 0 && *start == '0' && (n > 1 || is_negative)))
        s->state = FP_JSON_OTHER;
    return (int64_t)(is_negative ? 0 - value : value);
}

/* A text, quotes and all; the span is what is between them. */
static fp_json_span take_text(scan *s, bool *is_all_plain)
{
    fp_json_span span = {NULL, 0};
    TAKE(s, "\"");
    *is_all_plain = true;
    if (s->state != FP_JSON_LINE)
        return span;
    span.at = s->at;
    while (s->at < s->end && is_plain((unsigned char)*s->at))
        s->at++;
    bool is_escaped = false; /* then a quote ends no text */
    while (s->at < s->end && (is_escaped || *s->at != '"')) {
        if ((unsigned char)*s->at < 0x20) {
            s->state = FP_JSON_OTHER;
            return span;
        }
        is_escaped = !is_escaped && *s->at == '\\';
        *is_all_plain = *is_all_plain && !is_escaped;
        s->at++;
    }
    span.n = (size_t)(s->at - span.at);
    TAKE(s, "\"");
    return span;
}

static int take_status(scan *s)
{
    static const char ok[] = "\"ok\""; /* of nearly all rows */
    if (s->state == FP_JSON_LINE && left_of(s) >= LENGTH_OF(ok) &&
        memcmp(s->at, ok, LENGTH_OF(ok)) == 0) {
        s->at += LENGTH_OF(ok);
        return FACPOOL_STATUS_OK;
    }
    scan before = *s;
    bool is_cut = false;
    for (int status = FACPOOL_STATUS_OK; before.state == FP_JSON_LINE && status < N_STATUSES;
         status++) {
        *s = before;
        take_fixed(s, status_texts[status].text, status_texts[status].length);
        if (s->state == FP_JSON_LINE)
            return status;
        is_cut |= s->state == FP_JSON_CUT;
    }
    if (before.state == FP_JSON_LINE)
        s->state = is_cut ? FP_JSON_CUT : FP_JSON_OTHER;
    return FACPOOL_STATUS_NONE;
}

/* A number, null, or one of the two texts; a row that is not ok has null. */
static fp_json_span take_factor(scan *s, bool is_ok)
{
    fp_json_span span = {s->at, 0};
    bool is_plain_text;
    char first = s->at < s->end ? *s->at : 'n';
    if (first == 'n') {
        TAKE(s, "null");
    } else if (!is_ok) {
        s->state = s->state == FP_JSON_LINE ? FP_JSON_OTHER : s->state;
    } else if (first == '"') {
        take_text(s, &is_plain_text);
    } else {
        take_number(s);
    }
    span.n = (size_t)(s->at - span.at);
    return span;
}

static void take_factors(scan *s, const fp_json_layout *layout, bool is_ok, fp_json_span *factors)
{
    const fp_texts *keys = &layout->keys;
    for (size_t k = 0; k < keys->n && s->state == FP_JSON_LINE; k++) {
        take_fixed(s, fp_texts_at(keys, k), fp_texts_length(keys, k));
        fp_json_span factor = take_factor(s, is_ok);
        if (factors)
            factors[k] = factor;
    }
}

static void take_failure(scan *s, fp_json_parts *parts)
{
    bool is_plain_text;
    TAKE(s, FAILURE_CODE_KEY);
    parts->failure_code = (int32_t)take_integer(s, INT32_MIN, INT32_MAX);
    TAKE(s, MESSAGE_KEY);
    parts->message = take_text(s, &is_plain_text);
}

static inline bool are_checksum_digits(const char *at, size_t n)
{
    bool are = true;
    for (size_t i = 0; i < n; i++)
        are &= fp_json_is_checksum_digit(at[i]);
    return are;
}

/* Any digits: that they are right is another question. All 16 are looked at together, as compilers
 * do with a loop whose length they know. */
static void take_checksum(scan *s)
{
    bool is_whole = left_of(s) >= FP_JSON_CHECKSUM_DIGITS;
    size_t n = is_whole ? FP_JSON_CHECKSUM_DIGITS : left_of(s);
    bool are_digits = is_whole ? are_checksum_digits(s->at, FP_JSON_CHECKSUM_DIGITS)
                               : are_checksum_digits(s->at, n);
    if (s->state == FP_JSON_LINE && !are_digits)
        s->state = FP_JSON_OTHER;
    else if (s->state == FP_JSON_LINE && !is_whole)
        s->state = FP_JSON_CUT;
    s->at += n;
}

fp_json_match fp_json_match_line(const fp_json_layout *layout, const char *line, size_t n,
                                 fp_json_parts *parts, fp_json_span *factors)
{
    scan s = {line, line + n, FP_JSON_LINE};
    *parts = (fp_json_parts){0};
    TAKE(&s, DATE_KEY);
    parts->date = take_integer(&s, INT64_MIN, INT64_MAX);
    TAKE(&s, CODE_KEY);
    parts->code = take_text(&s, &parts->code_is_plain);
    TAKE(&s, TIMESTAMP_KEY);
    parts->timestamp = take_integer(&s, INT64_MIN, INT64_MAX);
    TAKE(&s, STATUS_KEY);
    parts->status = take_status(&s);
    bool is_ok = parts->status == FACPOOL_STATUS_OK;
    take_factors(&s, layout, is_ok, factors);
    if (!is_ok)
        take_failure(&s, parts);
    take_fixed(&s, (const char *)layout->end.data, layout->end.size);
    take_checksum(&s);
    TAKE(&s, LINE_END);
    if (s.state == FP_JSON_LINE && s.at != s.end)
        s.state = FP_JSON_OTHER;
    return s.state;
}
