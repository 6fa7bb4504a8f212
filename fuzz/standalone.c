/* Runs a fuzz target without libFuzzer: over each file given, and each file of the folders given;
 * then over changed copies of them, made by the target's own mutator where it has one. So what
 * fuzzing found once is tried in every round of the tests, under any compiler and sanitizer.
 *
 * FACPOOL_FUZZ_CHANGES: how many changed copies a file; FACPOOL_TEST_SEED: of which seed. Before a
 * changed copy is tried it is written to $FACPOOL_FUZZ_LAST, where that is set. */
#include <errno.h>

#include "scratch.h"

#define MOST_BYTES ((size_t)64 << 10) /* of a changed copy */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most_bytes);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most_bytes,
                                                     unsigned seed);

static random_numbers numbers;
static unsigned changes_of_a_file;
static size_t files, changed_copies;

/* ------------------------------------------------------------------ changing */

/* A byte flipped, a stretch taken out or doubled, the end cut off: what libFuzzer's own does, in
 * small. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most_bytes)
{
    size_t at = size ? random_below(&numbers, (uint32_t)size) : 0;
    size_t n = size ? random_below(&numbers, (uint32_t)(size - at < 64 ? size - at : 64)) : 0;
    switch (size ? random_below(&numbers, 6) : 6) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << random_below(&numbers, 8));
        return size;
    case 1:
        bytes[at] = (uint8_t)random_below(&numbers, 256);
        return size;
    case 2:
        memset(bytes + at, random_chance(&numbers, 50) ? 0 : 0xff, n);
        return size;
    case 3:
        memmove(bytes + at, bytes + at + n, size - at - n);
        return size - n;
    case 4:
        if (size + n > most_bytes)
            return size;
        memmove(bytes + at + n, bytes + at, size - at);
        return size + n;
    case 5:
        return random_chance(&numbers, 90) ? size : at;
    default:
        bytes[0] = (uint8_t)random_below(&numbers, 256);
        return most_bytes ? 1 : 0;
    }
}

static size_t change(uint8_t *bytes, size_t size, size_t most_bytes)
{
    unsigned seed = (unsigned)random_bits(&numbers);
    return LLVMFuzzerCustomMutator ? LLVMFuzzerCustomMutator(bytes, size, most_bytes, seed)
                                   : LLVMFuzzerMutate(bytes, size, most_bytes);
}

/* ------------------------------------------------------------------ running */

/* The bytes lie in memory that ends where they do: what reads behind them is seen. */
static void run_copy(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        exit(2);
    if (size)
        memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_changed(const uint8_t *bytes, size_t size)
{
    const char *last = getenv("FACPOOL_FUZZ_LAST");
    size_t most_bytes = size > MOST_BYTES ? size : MOST_BYTES;
    uint8_t *copy = malloc(most_bytes);
    if (!copy)
        exit(2);
    for (unsigned i = 0; i < changes_of_a_file; i++) {
        size_t changed = size;
        memcpy(copy, bytes, size);
        for (uint32_t times = random_between(&numbers, 1, 4); times > 0; times--)
            changed = change(copy, changed, most_bytes);
        if (last && !file_write(last, copy, changed))
            perror(last);
        run_copy(copy, changed);
        changed_copies++;
    }
    free(copy);
}

static void run_file(const char *path)
{
    size_t size;
    uint8_t *bytes = file_read(path, &size);
    if (!bytes) {
        printf("%s can't be read: %s\n", path, strerror(errno));
        exit(2);
    }
    if (getenv("FACPOOL_FUZZ_VERBOSE"))
        printf("%s: %zu bytes\n", path, size);
    fflush(stdout);
    run_copy(bytes, size);
    files++;
    run_changed(bytes, size);
    free(bytes);
}

static int is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of names, so that a seed says all. */
static void run_folder(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, is_file, alphasort);
    if (n < 0) {
        printf("%s can't be listed: %s\n", path, strerror(errno));
        exit(2);
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        run_file(file);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    struct stat status;
    numbers.state = environment_seed();
    changes_of_a_file = (unsigned)environment_number("FACPOOL_FUZZ_CHANGES", of_tier(4, 20, 2000));
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode))
            run_folder(argv[i]);
        else
            run_file(argv[i]);
    }
    printf("%zu files and %zu changed copies of them: nothing found\n", files, changed_copies);
    return files > 0 ? 0 : 1;
}
