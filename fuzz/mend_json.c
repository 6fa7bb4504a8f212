/* The mutator of the json format: changes a value, a field's name, a line or which lines there are,
 * as someone would who knows the format, then gives every line that ends like a row the checksum
 * that its bytes ask for. Now and then a line keeps its wrong one. */
#include "codec/json_checksum.h"

#include "damage.h"

#define TAIL       "\"checksum\":\"" /* 16 digits, then "} */
#define TAIL_BYTES (sizeof TAIL - 1)
#define END_BYTES  (TAIL_BYTES + FP_JSON_CHECKSUM_DIGITS + 2)

typedef struct text_file {
    uint8_t *bytes;
    size_t size;
    size_t most;
    random_numbers numbers;
} text_file;

typedef struct line {
    size_t at;
    size_t n; /* without its newline */
} line;

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most_bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most_bytes, unsigned seed);

static bool put_instead(text_file *file, size_t at, size_t length, const void *bytes, size_t n)
{
    return splice_bytes(file->bytes, &file->size, file->most, at, length, bytes, n);
}

/* ------------------------------------------------------------------ making right */

/* The digits begin behind the last "checksum":" of the line; what is behind them is brought into
 * form where it is not too far from it. */
static void mend_line(uint8_t *text, size_t n)
{
    static const char zeros[] = "0000000000000000";
    if (n < END_BYTES || memcmp(text + n - END_BYTES, TAIL, TAIL_BYTES) != 0)
        return;
    size_t digits_at = n - 2 - FP_JSON_CHECKSUM_DIGITS;
    memcpy(text + digits_at, zeros, FP_JSON_CHECKSUM_DIGITS);
    memcpy(text + n - 2, "\"}", 2);
    fp_json_checksum_put((char *)text + digits_at, fp_json_checksum_of((const char *)text, n));
}

static line line_at(const text_file *file, size_t at)
{
    const uint8_t *end = memchr(file->bytes + at, '\n', file->size - at);
    return (line){.at = at, .n = (end ? (size_t)(end - file->bytes) : file->size) - at};
}

static void mend(text_file *file)
{
    for (size_t at = 0; at < file->size;) {
        line l = line_at(file, at);
        if (random_below(&file->numbers, 64) != 0)
            mend_line(file->bytes + at, l.n);
        at += l.n + 1;
    }
}

/* ------------------------------------------------------------------ changing */

/* What JSON, numbers and UTF-8 are misread by. */
static const char *const odd_values[] = {"null",
                                         "true",
                                         "\"Infinity\"",
                                         "\"-Infinity\"",
                                         "\"NaN\"",
                                         "-0.0",
                                         "0",
                                         "-1",
                                         "5e-324",
                                         "2.2250738585072011e-308",
                                         "1.7976931348623157e308",
                                         "1e309",
                                         "1e-400",
                                         "-9223372036854775808",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "-2147483648",
                                         "2147483648",
                                         "00",
                                         "01.5",
                                         "1.",
                                         ".5",
                                         "1e",
                                         "+1",
                                         "0.1e+00000000000000000000001",
                                         "123456789012345678901234567890.5",
                                         "\"\"",
                                         "\"\\u0000\"",
                                         "\"\\ud800\"",
                                         "\"\\ud83d\\udca9\"",
                                         "\"\\u00e9\\/\\b\\f\\n\\r\\t\"",
                                         "\"\\x\"",
                                         "\"\x80\xff\"",
                                         "\"\xed\xa0\x80\"",
                                         "\"\xf4\x90\x80\x80\"",
                                         "\"a\tb\"",
                                         "\"ok\"",
                                         "\"skipped\"",
                                         "\"failed\"",
                                         "\"timeout\"",
                                         "\"crashed\"",
                                         "\"running\"",
                                         "{}",
                                         "[1]"};

/* A value (or, at times, a key) of a line, its quotes included: from behind a ':' or ',' up to the
 * next one. */
static line value_of(text_file *file, const line *l)
{
    size_t at = l->at + random_below(&file->numbers, (uint32_t)(l->n + 1));
    size_t end = l->at + l->n;
    while (at < end && file->bytes[at] != ':' && file->bytes[at] != ',')
        at++;
    size_t from = at < end ? at + 1 : end;
    size_t n = 0;
    while (from + n < end && file->bytes[from + n] != ',' && file->bytes[from + n] != '}')
        n++;
    return (line){.at = from, .n = n};
}

static void change_value(text_file *file, const line *l)
{
    uint8_t value[512];
    line old = value_of(file, l);
    if (random_chance(&file->numbers, 50)) {
        size_t n_odd = sizeof odd_values / sizeof *odd_values;
        const char *odd = odd_values[random_below(&file->numbers, (uint32_t)n_odd)];
        put_instead(file, old.at, old.n, odd, strlen(odd));
        return;
    }
    if (old.n > sizeof value)
        return;
    memcpy(value, file->bytes + old.at, old.n);
    size_t n = LLVMFuzzerMutate(value, old.n, sizeof value);
    put_instead(file, old.at, old.n, value, n);
}

static void change_bytes(text_file *file, const line *l)
{
    if (l->n == 0)
        return;
    size_t at = random_below(&file->numbers, (uint32_t)l->n);
    size_t n = l->n - at < 16 ? l->n - at : 16;
    (void)LLVMFuzzerMutate(file->bytes + l->at + at, n, n);
}

/* Removed, doubled at the end, blanked, cut, or joined with the next. */
static void change_order(text_file *file, const line *l)
{
    static const uint8_t blanks[] = "   \n\n  \n";
    size_t n = l->n + (l->at + l->n < file->size);
    switch (random_below(&file->numbers, 5)) {
    case 0:
        put_instead(file, l->at, n, NULL, 0);
        break;
    case 1:
        if (file->size + n <= file->most) {
            memcpy(file->bytes + file->size, file->bytes + l->at, n);
            file->size += n;
        }
        break;
    case 2:
        put_instead(file, l->at, 0, blanks, sizeof blanks - 1);
        break;
    case 3:
        file->size = l->at + random_below(&file->numbers, (uint32_t)n + 1);
        break;
    default:
        put_instead(file, l->at + l->n, n - l->n, NULL, 0);
    }
}

static void change_something(text_file *file)
{
    uint32_t dice = random_below(&file->numbers, 100);
    if (file->size == 0 || dice < 10) {
        file->size = LLVMFuzzerMutate(file->bytes, file->size, file->most);
        return;
    }
    size_t somewhere = random_below(&file->numbers, (uint32_t)file->size), at = 0;
    line l = line_at(file, 0);
    while (l.at + l.n < somewhere && l.at + l.n + 1 < file->size) {
        at = l.at + l.n + 1;
        l = line_at(file, at);
    }
    if (dice < 60)
        change_value(file, &l);
    else if (dice < 85)
        change_bytes(file, &l);
    else
        change_order(file, &l);
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most_bytes, unsigned seed)
{
    text_file file = {
        .bytes = bytes, .size = size, .most = most_bytes, .numbers.state = mix_bits(seed)};
    if (!begin_forging(bytes, &file.size, &file.most, &file.numbers))
        return file.size;
    for (uint32_t times = random_between(&file.numbers, 1, 3); times > 0; times--)
        change_something(&file);
    if (random_chance(&file.numbers, 95))
        mend(&file);
    return with_mark(bytes, file.size);
}
