/* Our file formats, what is asked of each, and whether the library at hand writes it. Called by the
 * groups of figures that are measured for every format. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

const bench_format bench_formats[BENCH_FORMATS] = {
    {.name = "binary",
     .suffix = ".fpb",
     .n_dates = 2000,
     .point_ms = 0.5,
     .history_ms = 40.0,
     .scan_gb = 1.0},
    {.name = "memory_map",
     .suffix = ".arrow",
     .n_dates = 2000,
     .point_ms = 0.15,
     .history_ms = 20.0,
     .scan_of_memory = 0.8},
    {.name = "json", .suffix = ".jsonl", .n_dates = 200, .read_rows = 1.0, .write_rows = 2.0},
};

/* By making an empty backup: what can't be done is said at once. */
static bool try_format(const bench_context *context, const bench_format *format)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_writer *writer = NULL;
    char *path = bench_path(context, "trial");
    int code;

    backup.path = path;
    backup.format = format->name;
    code = facpool_writer_open(&writer, &backup, bench_factor_names, BENCH_FACTORS, &err);
    if (code == 0) {
        BENCH_OK(facpool_writer_close(writer, &err), err);
    } else if (code != FACPOOL_E_UNSUPPORTED && code != FACPOOL_E_INVALID) {
        bench_die("format %s: %s", format->name, err.message);
    }
    bench_remove(path);
    free(path);
    return code == 0;
}

bool bench_has_format(const bench_context *context, const bench_format *format)
{
    static int known[BENCH_FORMATS]; /* 1 yes, -1 no */
    int *answer = &known[format - bench_formats];

    if (*answer == 0) {
        *answer = try_format(context, format) ? 1 : -1;
        if (*answer < 0) {
            bench_row row = {.id = "-", .ours = "SKIPPED", .peer = "-", .ratio = "-"};
            snprintf(row.what, sizeof(row.what), "format %s: this library does not write it",
                     format->name);
            bench_report(&row);
        }
    }
    return *answer > 0;
}
