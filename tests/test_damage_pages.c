/* Files of several pages, a random bit of which is flipped: no other page than the damaged one is
 * lost to a question, no row is wrong, and resume brings every row back once. Through the public
 * header only. */
#include "damage_formats.h"

#define N_FACTORS 3

#define BIG_CODES 900
#define BIG_KEYS  (4 * BIG_CODES)

static int compute_big(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    for (size_t f = 0; f < N_FACTORS; f++)
        factors[f] = (double)(mix_bits(task->index * N_FACTORS + f) % 100000) / 100;
    return 0;
}

static void run_big(int32_t mode)
{
    static char texts[BIG_CODES][8];
    const char *big_codes[BIG_CODES];
    int64_t dates[4] = {1, 2, 3, 4};
    for (size_t c = 0; c < BIG_CODES; c++) {
        snprintf(texts[c], sizeof texts[c], "%06zu", c);
        big_codes[c] = texts[c];
    }
    facpool_tasks *tasks = NULL;
    facpool_result *result = NULL;
    CHECK_OK(facpool_tasks_grid(&tasks, dates, 4, big_codes, BIG_CODES, &err), err);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = path;
    backup.mode = mode;
    backup.batch_rows = 65536; /* all rows in one block */
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.fn = compute_big;
    options.n_factors = N_FACTORS;
    options.executor = FACPOOL_EXECUTOR_SERIAL;
    options.backup = &backup;
    options.results = FACPOOL_RESULTS_DROP;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* Asks for one factor of one date, or of all; every row is right and given once. Returns how many
 * there are, or -1 where damage was met. */
static int ask_big(facpool_reader *reader, int64_t date, size_t factor, int32_t order)
{
    static const char *const names[] = {"f0", "f1", "f2"};
    uint8_t seen[BIG_KEYS] = {0};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_cursor *cursor = NULL;
    facpool_row row = FACPOOL_ROW_INIT;
    filter.dates = date ? &date : NULL;
    filter.n_dates = date ? 1 : 0;
    filter.factors = &names[factor];
    filter.n_factors = 1;
    filter.order = order;
    int rc = facpool_query(reader, &filter, &cursor, &err), n = 0;
    bool damaged = rc != 0;
    while (!damaged || rc == 0) {
        rc = facpool_cursor_next(cursor, &row, &err);
        if (rc == 0)
            break;
        if (rc < 0) {
            CHECK_INT(rc, FACPOOL_E_CORRUPT);
            damaged = true;
            rc = 0;
            continue;
        }
        size_t index = (size_t)(row.date - 1) * BIG_CODES + (size_t)atoi(row.code);
        CHECK(index < BIG_KEYS && !seen[index]);
        seen[index] = 1;
        CHECK(row.factors[0] == (double)(mix_bits(index * N_FACTORS + factor) % 100000) / 100);
        n++;
        rc = 0;
    }
    facpool_cursor_free(cursor);
    return damaged ? -1 : n;
}

static void ask_big_everything(facpool_reader *reader, bool must_be_whole)
{
    for (int64_t date = 0; date <= 4; date++)
        for (size_t factor = 0; factor < N_FACTORS; factor++)
            for (int order = FACPOOL_ORDER_FILE; order <= FACPOOL_ORDER_KEY; order++) {
                int n = ask_big(reader, date, factor, order);
                if (n >= 0 || must_be_whole)
                    CHECK_INT(n, date ? BIG_CODES : BIG_KEYS);
            }
}

static facpool_reader *open_path(void)
{
    facpool_reader *reader = NULL;
    const char *paths[] = {path};
    return facpool_reader_open(&reader, paths, 1, &err) ? NULL : reader;
}

static void a_damaged_page_spoils_no_other_and_comes_back_once(void)
{
    size_t size = 0, n_flips = 0;
    unlink(path);
    run_big(FACPOOL_MODE_CREATE);
    uint8_t *bytes = file_read(path, &size);
    CHECK(bytes);
    size_t n_tries = format->has_frame ? of_tier(60, 250, 10000) : of_tier(4, 15, 600);
    for (size_t i = 0; i < n_tries; i++) {
        size_t byte = mix_bits(i) % size, bit = i % 8;
        bytes[byte] ^= (uint8_t)(1 << bit);
        CHECK(file_write(path, bytes, size));
        bytes[byte] ^= (uint8_t)(1 << bit);
        facpool_reader *reader = open_path();
        if (!reader)
            continue;
        ask_big_everything(reader, false);
        facpool_reader_free(reader);
        run_big(FACPOOL_MODE_RESUME);
        for (int cut = 0; cut < 2; cut++) {
            reader = open_path();
            CHECK(reader);
            ask_big_everything(reader, true);
            facpool_reader_free(reader);
            cut_last_bytes();
        }
        n_flips++;
    }
    free(bytes);
    printf("  %zu flips in %zu bytes\n", n_flips, size);
    CHECK(n_flips > n_tries * 4 / 5);
}

static void tests(void)
{
    RUN(a_damaged_page_spoils_no_other_and_comes_back_once);
}

int main(int argc, char **argv)
{
    return damage_main(argc, argv, "damage-pages", tests);
}
