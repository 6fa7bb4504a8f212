/* Picks a column's encoding by trying the candidates on samples of it. Called by the stores once
 * per column of a block. Cheap looks (digits, repeats, entropy of planes) rule out what can't win
 * before anything is tried, so that choosing costs little beside encoding. */
#include "codec/internal.h"

/* Cheap encodings are measured on four stretches all over the column. What zstd saves depends on
 * how much it sees, so that is measured on one piece of a page's usual length. */
#define STRETCHES     4
#define STRETCH_WORDS 256
#define PAGE_WORDS    (STRETCHES * STRETCH_WORDS)
#define DIGIT_SAMPLES 32
#define RATIO_SAMPLES 32
#define REPEAT_SLOTS  2048
#define SPLIT_SAMPLES 512

/* How much smaller, in per cent, an encoding must be than a faster one. */
#define CHEAP_GAIN 2
#define ZSTD_GAIN  4
#define RATIO_GAIN 10

/* ... and how much: a byte in so many words. */
#define MIN_SAVING 16

struct stretch {
    const uint64_t *words;
    size_t n;
};

struct choice {
    fp_codec *codec;
    struct stretch stretches[STRETCHES];
    size_t count; /* stretches that are not constant: those are stored as such anyway */
    size_t words; /* in these */
    struct stretch page;
    fp_encoding best;
    size_t best_size;
    size_t best_first; /* of the first stretch */
    int level;
    facpool_error *err;
};

/* What a scan for equal words finds. */
struct repeats {
    size_t single; /* words that occurred before */
    size_t runs;   /* of words that occurred before, in the same order */
    size_t most;   /* how many of these are one and the same word */
    uint64_t common;
};

static void take_stretches(struct choice *choice, const uint64_t *words, size_t n)
{
    size_t length = STRETCH_WORDS, count = STRETCHES;
    if (n <= PAGE_WORDS) {
        count = (n + STRETCH_WORDS - 1) / STRETCH_WORDS;
        length = (n + count - 1) / count;
    }
    choice->page = (struct stretch){words, n < PAGE_WORDS ? n : PAGE_WORDS};
    for (size_t i = 0; i < count; i++) {
        size_t start = count > 1 ? (n - length) * i / (count - 1) : 0;
        if (fp_words_all_equal(words + start, length))
            continue;
        choice->stretches[choice->count++] = (struct stretch){words + start, length};
        choice->words += length;
        /* From the middle rather than the first rows, which may well be special. */
        if (choice->count <= 2 && start + choice->page.n <= n)
            choice->page.words = words + start;
    }
}

/* Size of a stretch in an encoding, by encoding it. */
static int measure(struct choice *choice, const fp_encoding *encoding, struct stretch stretch,
                   size_t *size)
{
    uint8_t id;
    int code = fp_page_encode(choice->codec, encoding, stretch.words, stretch.n,
                              choice->codec->trial.data, 8 * stretch.n - 1, size, &id, choice->err);
    if (!code && *size == 0)
        *size = 8 * stretch.n;
    return code;
}

/* Takes the encoding if it is smaller by more than `gain` per cent than the best so far. One that
 * is far larger on the first stretch is not tried on the others. */
static int consider(struct choice *choice, fp_encoding encoding, unsigned gain)
{
    size_t first = 0, size = 0;
    encoding.level = (int8_t)choice->level;
    for (size_t i = 0; i < choice->count; i++) {
        size_t here = 0;
        int code = measure(choice, &encoding, choice->stretches[i], &here);
        if (code)
            return code;
        if (i == 0 && here > choice->best_first + choice->best_first / 4)
            return 0;
        first = i == 0 ? here : first;
        size += here;
    }
    if (size * 100 < choice->best_size * (100 - gain)) {
        choice->best = encoding;
        choice->best_size = size;
        choice->best_first = first;
    }
    return 0;
}

static int consider_integers(struct choice *choice, unsigned transform, unsigned exponent)
{
    fp_encoding encoding = {.exponent = (uint8_t)exponent};
    encoding.id = (uint8_t)(FP_LAYOUT_PACKED | transform << 4);
    int code = consider(choice, encoding, CHEAP_GAIN);
    encoding.id = (uint8_t)(FP_LAYOUT_DELTA | transform << 4);
    return code ? code : consider(choice, encoding, CHEAP_GAIN);
}

static bool is_special(uint64_t word)
{
    return (word >> 52 & 0x7ff) == 0x7ff; /* NaN or infinite */
}

/* How many of the samples have exactly so many decimal digits; returns how many have any, 0 where
 * it is less than half of those that are numbers. */
static size_t count_digits(const struct choice *choice, size_t digits[FP_DECIMAL_MAX_EXPONENT + 1])
{
    size_t decimals = 0, others = 0;
    for (size_t sample = 0; sample < DIGIT_SAMPLES; sample++) {
        struct stretch stretch = choice->stretches[sample % choice->count];
        uint64_t word = stretch.words[(stretch.n - 1) * sample / (DIGIT_SAMPLES - 1)];
        if (is_special(word))
            continue;
        unsigned needed = fp_decimal_digits(word);
        if (needed == FP_DECIMAL_NONE) {
            others++;
        } else {
            decimals++;
            digits[needed]++;
        }
        if (others >= DIGIT_SAMPLES / 2)
            return 0;
    }
    return decimals >= others ? decimals : 0;
}

/* The least exponent that suits all but `spare` of the decimals. */
static unsigned exponent_for(const size_t digits[FP_DECIMAL_MAX_EXPONENT + 1], size_t spare)
{
    unsigned exponent = FP_DECIMAL_MAX_EXPONENT;
    while (exponent > 0 && digits[exponent] <= spare)
        spare -= digits[exponent--];
    return exponent;
}

static int consider_decimals(struct choice *choice, bool *are_decimal)
{
    size_t digits[FP_DECIMAL_MAX_EXPONENT + 1] = {0};
    size_t decimals = count_digits(choice, digits);
    *are_decimal = false;
    if (decimals == 0)
        return 0;
    unsigned all = exponent_for(digits, 0), most = exponent_for(digits, decimals / 8);
    int code = consider_integers(choice, FP_TRANSFORM_DECIMAL, all);
    if (!code && most != all)
        code = consider_integers(choice, FP_TRANSFORM_DECIMAL, most);
    *are_decimal = choice->best.id >> 4 == FP_TRANSFORM_DECIMAL;
    return code;
}

/* The place to split doubles at: behind the exponent unless a few digits more are worth it. */
static int best_low_bits(struct choice *choice, uint8_t *low_bits)
{
    static const uint8_t candidates[] = {52, 50, 48};
    size_t n = choice->page.n < SPLIT_SAMPLES ? choice->page.n : SPLIT_SAMPLES, least = SIZE_MAX;
    for (size_t i = 0; i < sizeof candidates; i++) {
        size_t size;
        int code = fp_split_measure(choice->codec, candidates[i], choice->page.words, n, &size,
                                    choice->err);
        if (code)
            return code;
        if (size + size / 64 < least) {
            least = size;
            *low_bits = candidates[i];
        }
    }
    return 0;
}

static void scan_repeats(struct repeats *repeats, const uint64_t *words, size_t n)
{
    uint16_t last[REPEAT_SLOTS] = {0}, times[REPEAT_SLOTS] = {0};
    size_t matched = 0; /* one past the word that the one before repeats */
    for (size_t i = 0; i < n; i++) {
        size_t slot = (size_t)(words[i] * 0x9e3779b97f4a7c15u >> 53), earlier = last[slot];
        last[slot] = (uint16_t)(i + 1);
        if (earlier == 0 || words[earlier - 1] != words[i]) {
            times[slot] = 0;
            matched = 0;
            continue;
        }
        if (++times[slot] > repeats->most) {
            repeats->most = times[slot];
            repeats->common = words[i];
        }
        *(matched == earlier - 1 && matched != 0 ? &repeats->runs : &repeats->single) += 1;
        matched = earlier;
    }
}

/* A common word worth taking out saves more than its bitmap costs. */
static int consider_sparse(struct choice *choice, uint8_t low_bits)
{
    struct repeats repeats = {0};
    scan_repeats(&repeats, choice->page.words, choice->page.n);
    if (repeats.most * 32 < choice->page.n)
        return 0;
    fp_encoding encoding = {.low_bits = low_bits, .common = repeats.common};
    encoding.id = FP_LAYOUT_SPLIT | FP_TRANSFORM_SPARSE << 4;
    return consider(choice, encoding, CHEAP_GAIN);
}

static int consider_doubles(struct choice *choice)
{
    bool are_decimal;
    int code = consider_decimals(choice, &are_decimal);
    if (code || are_decimal)
        return code;
    fp_encoding encoding = {.id = FP_LAYOUT_SPLIT};
    code = best_low_bits(choice, &encoding.low_bits);
    if (!code)
        code = consider(choice, encoding, CHEAP_GAIN);
    if (!code)
        code = consider_integers(choice, FP_TRANSFORM_NONE, 0);
    return code ? code : consider_sparse(choice, encoding.low_bits);
}

/* What zstd has to work on: the page's words, or the integers they are decimals of. */
static const uint64_t *layout_words(struct choice *choice)
{
    if (choice->best.id >> 4 != FP_TRANSFORM_DECIMAL)
        return choice->page.words;
    fp_decimal_to_integers(choice->codec, choice->best.exponent, choice->page.words,
                           choice->page.n);
    return choice->codec->integers;
}

/* A size that zstd hardly comes below for a page that takes `now` bytes. A repeated word costs it
 * some 2 bytes, or next to nothing within a run; others what a word takes now, where a common word
 * taken out counts for nothing. */
static size_t zstd_least(const struct choice *choice, const struct repeats *repeats, size_t now)
{
    size_t n = choice->page.n;
    bool is_sparse = choice->best.id >> 4 == FP_TRANSFORM_SPARSE;
    size_t paid = is_sparse ? n - repeats->most : n, fresh = n - repeats->single - repeats->runs;
    return now * fresh / paid + 2 * repeats->single;
}

/* Takes a slower encoding if it beats the best so far on one whole page, and saves something worth
 * the name beside other columns. */
static int consider_page(struct choice *choice, fp_encoding encoding, unsigned gain)
{
    size_t now, then;
    int code = measure(choice, &choice->best, choice->page, &now);
    if (!code)
        code = measure(choice, &encoding, choice->page, &then);
    if (!code && then * 100 < now * (100 - gain) && then + choice->page.n / MIN_SAVING < now)
        choice->best = encoding;
    return code;
}

static int consider_compressed(struct choice *choice, unsigned layout, unsigned transform)
{
    fp_encoding encoding = {.exponent = choice->best.exponent, .level = (int8_t)choice->level};
    encoding.id = (uint8_t)(layout | transform << 4);
    return consider_page(choice, encoding, ZSTD_GAIN);
}

/* Finds out how many of the samples that are numbers come from dividing integers, exactly or
 * nearly; true where it is most of them. */
static bool are_ratios(const struct choice *choice, unsigned *ulps)
{
    uint64_t numbers[RATIO_SAMPLES];
    size_t n = 0;
    for (size_t sample = 0; sample < RATIO_SAMPLES; sample++) {
        size_t at = (choice->page.n - 1) * sample / (RATIO_SAMPLES - 1);
        uint64_t word = choice->page.words[at];
        if (!is_special(word) && word << 1 != 0)
            numbers[n++] = word;
    }
    size_t near = fp_ratio_count(numbers, n, FP_RATIO_MAX_ULPS);
    if (n == 0 || near * 4 < n * 3)
        return false;
    size_t exact = fp_ratio_count(numbers, n, 0);
    *ulps = exact * 16 >= near * 15 ? 0 : FP_RATIO_MAX_ULPS;
    return true;
}

/* Ratios are slow to find, so they must save a good deal. */
static int consider_ratios(struct choice *choice)
{
    unsigned ulps = 0;
    int rounding = fp_round_to_nearest();
    bool tried = are_ratios(choice, &ulps);
    fp_round_as_before(rounding);
    if (!tried)
        return 0;
    fp_encoding encoding = choice->best; /* its low_bits serve pages that are no ratios */
    encoding.ulps = (uint8_t)ulps;
    unsigned layout = choice->level < 0 ? FP_LAYOUT_PACKED : FP_LAYOUT_PLANES;
    encoding.id = (uint8_t)(layout | FP_TRANSFORM_RATIO << 4);
    return consider_page(choice, encoding, RATIO_GAIN);
}

static int consider_zstd(struct choice *choice)
{
    unsigned transform = choice->best.id >> 4;
    const uint64_t *words = layout_words(choice);
    size_t now = choice->best_size * choice->page.n / choice->words;
    size_t worth = now * (100 - ZSTD_GAIN) / 100;
    struct repeats repeats = {0};
    scan_repeats(&repeats, words, choice->page.n);
    bool try_zstd = zstd_least(choice, &repeats, now) < worth;
    /* What comes again in the same order costs zstd less than its entropy: timestamps of the same
     * codes on each date, where a run is grouped by code. */
    bool try_planes = 2 * repeats.runs > choice->page.n ||
                      fp_planes_least(choice->codec, words, choice->page.n) < worth;
    if (transform != FP_TRANSFORM_DECIMAL)
        transform = FP_TRANSFORM_NONE;
    int code = 0;
    if (try_zstd)
        code = consider_compressed(choice, FP_LAYOUT_ZSTD, transform);
    if (!code && try_planes)
        code = consider_compressed(choice, FP_LAYOUT_PLANES, transform);
    return code;
}

/* Where the samples are all constant, other pages may still not be. */
static uint8_t layout_of_nearly_constant(const uint64_t *words, size_t n, bool is_double)
{
    if (fp_words_all_equal(words, n))
        return FP_LAYOUT_CONSTANT;
    return is_double ? FP_LAYOUT_PACKED : FP_LAYOUT_DELTA;
}

int fp_words_choose(fp_codec *codec, const uint64_t *words, size_t n, bool is_double, int level,
                    fp_encoding *out, facpool_error *err)
{
    if (n == 0)
        return fp_fail(err, FACPOOL_E_INVALID, "a column of 0 words has no encoding");
    struct choice choice = {.codec = codec, .level = level, .err = err};
    choice.best = (fp_encoding){.id = FP_LAYOUT_RAW, .level = (int8_t)level};
    take_stretches(&choice, words, n);
    if (choice.count == 0) {
        choice.best.id = layout_of_nearly_constant(words, n, is_double);
        *out = choice.best;
        return 0;
    }
    int code = fp_codec_ensure(codec, PAGE_WORDS, err);
    if (code)
        return code;
    codec->trial.size = 0;
    if (!fp_buffer_reserve(&codec->trial, 8 * PAGE_WORDS + FP_BITS_SLACK))
        return fp_fail_nomem(err, 8 * PAGE_WORDS);
    choice.best_size = 8 * choice.words;
    choice.best_first = 8 * choice.stretches[0].n;
    code = is_double ? consider_doubles(&choice) : consider_integers(&choice, FP_TRANSFORM_NONE, 0);
    if (!code && level >= 0)
        code = consider_zstd(&choice);
    if (!code && is_double && choice.best.id >> 4 != FP_TRANSFORM_DECIMAL)
        code = consider_ratios(&choice);
    if (!code)
        *out = choice.best;
    return code;
}
