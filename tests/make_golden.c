/* Writes the golden files: small backups of each format, closed, torn and resumed, that every later
 * version of the library must read. Run by hand, once for a new format; what is there is never
 * replaced without being told to.
 *
 *   make_golden FOLDER [--overwrite] [FORMAT...] */
#include "golden_rows.h"

static facpool_error err = FACPOOL_ERROR_INIT;

static int fail(const char *path, const char *what)
{
    fprintf(stderr, "make_golden: %s: %s\n", path, what);
    return 1;
}

static int append(facpool_writer *writer, size_t i, unsigned round)
{
    int64_t date = golden_date(i);
    const char *code = golden_code(i);
    golden_row row = golden_row_of(i, round);
    uint8_t status = (uint8_t)row.status;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = 1;
    rows.dates = &date;
    rows.codes = &code;
    rows.timestamps = &row.timestamp;
    rows.statuses = &status;
    rows.factors = row.factors;
    rows.failure_codes = &row.failure_code;
    rows.messages = &row.message;
    return facpool_writer_append(writer, &rows, &err);
}

static int open_writer(facpool_writer **out, const char *path, const golden_format *format,
                       int kind, int32_t mode)
{
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.format = format->name;
    options.mode = mode;
    options.tag = kind == GOLDEN_RESUMED ? GOLDEN_TAG : NULL;
    return facpool_writer_open(out, &options, golden_names, GOLDEN_FACTORS, &err);
}

static int write_closed(const char *path, const golden_format *format)
{
    facpool_writer *writer = NULL;
    int rc = open_writer(&writer, path, format, GOLDEN_CLOSED, FACPOOL_MODE_OVERWRITE);
    for (size_t i = 0; !rc && i < GOLDEN_ROWS; i++)
        rc = append(writer, i, 0);
    int close_rc = facpool_writer_close(writer, &err);
    return rc ? rc : close_rc;
}

/* As it was before it was closed, less its last bytes. */
static int write_torn(const char *path, const golden_format *format)
{
    facpool_writer *writer = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    int rc = open_writer(&writer, path, format, GOLDEN_TORN, FACPOOL_MODE_OVERWRITE);
    for (size_t i = 0; !rc && i < GOLDEN_ROWS; i++) {
        rc = append(writer, i, 2);
        if (!rc && i % GOLDEN_BLOCK_ROWS == GOLDEN_BLOCK_ROWS - 1)
            rc = facpool_writer_sync(writer, &err);
    }
    if (!rc)
        bytes = file_read(path, &size);
    int close_rc = facpool_writer_close(writer, &err);
    bool torn = bytes && file_write(path, bytes, size - 21);
    free(bytes);
    return rc ? rc : close_rc ? close_rc : torn ? 0 : FACPOOL_E_IO;
}

static int write_resumed(const char *path, const golden_format *format)
{
    int rc = 0;
    for (unsigned round = 0; !rc && round < 2; round++) {
        facpool_writer *writer = NULL;
        rc = open_writer(&writer, path, format, GOLDEN_RESUMED,
                         round ? FACPOOL_MODE_RESUME : FACPOOL_MODE_OVERWRITE);
        for (size_t i = 0; !rc && i < GOLDEN_ROWS; i++) {
            bool is_wanted =
                round ? golden_round(format, GOLDEN_RESUMED, i) == 1 : i < GOLDEN_FIRST_PART;
            if (is_wanted)
                rc = append(writer, i, round);
        }
        int close_rc = facpool_writer_close(writer, &err);
        rc = rc ? rc : close_rc;
    }
    return rc;
}

static int write_files(const char *folder, const golden_format *format, bool overwrite)
{
    static int (*const write_kind[GOLDEN_KINDS])(const char *, const golden_format *) = {
        write_closed, write_torn, write_resumed};
    for (int kind = 0; kind < GOLDEN_KINDS; kind++) {
        char path[600];
        golden_path(path, sizeof path, folder, format, kind);
        if (!overwrite && access(path, F_OK) == 0)
            return fail(path, "is there; later versions must read what is there, so only "
                              "--overwrite replaces it");
        unlink(path);
        if (write_kind[kind](path, format))
            return fail(path, err.message);
        printf("%s: %lld bytes\n", path, file_bytes(path));
    }
    return 0;
}

static bool is_named(int argc, char **argv, const char *name)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: make_golden FOLDER [--overwrite] [FORMAT...]\n");
        return 2;
    }
    bool overwrite = is_named(argc, argv, "--overwrite");
    bool all = argc == 2 + overwrite;
    int rc = 0;
    for (size_t i = 0; !rc && i < N_GOLDEN_FORMATS; i++)
        if (all || is_named(argc, argv, golden_formats[i].name))
            rc = write_files(argv[1], &golden_formats[i], overwrite);
    return rc;
}
