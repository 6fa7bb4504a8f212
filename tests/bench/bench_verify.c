/* VERIFY: how fast a whole file is checked, for every format, beside what no check of every byte
 * can beat: adding the same bytes up by XXH3 in memory, and reading the file at all. The file is in
 * the page cache, so that the disk is not what is measured. Called by bench_main.c. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define READ_BYTES ((size_t)1 << 20)

typedef struct subject {
    const bench_format *format;
    char *path;
    uint64_t n_rows;
    size_t n_bytes;
    uint8_t *memory; /* the file's bytes */
    bench_series verify, checksum, read;
} subject;

/* ------------------------------------------------------------------ what is checked */

static void write_backup(subject *s, const bench_context *context)
{
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    bench_work work = {0};

    bench_work_init(&work, context->quick ? s->format->n_dates / 10 : s->format->n_dates, 5000,
                    2016);
    backup.path = s->path;
    backup.format = s->format->name;
    options.fn = bench_factors;
    options.n_factors = BENCH_FACTORS;
    options.factor_names = bench_factor_names;
    options.backup = &backup;
    BENCH_OK(facpool_run(work.grid, &options, &result, &err), err);
    facpool_result_free(result);
    s->n_rows = work.n;
    s->n_bytes = (size_t)bench_file_bytes(s->path);
    bench_work_free(&work);
}

/* The whole file by read(2), into `to` or (where that is NULL) again and again into one buffer. */
static void read_file(const subject *s, uint8_t *to)
{
    static uint8_t buffer[READ_BYTES];
    int file = open(s->path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;
    ssize_t got = 1;

    while (file >= 0 && got > 0 && done < s->n_bytes) {
        got = read(file, to ? to + done : buffer, READ_BYTES);
        done += got > 0 ? (size_t)got : 0;
    }
    if (file < 0 || done != s->n_bytes) {
        bench_die("can't read %s: %s", s->path, strerror(errno));
    }
    bench_keep(buffer);
    close(file);
}

/* ------------------------------------------------------------------ measuring */

static double gigabytes_a_second(const subject *s, double start)
{
    return 1e-9 * (double)s->n_bytes / (bench_now() - start);
}

static double verify(const subject *s)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    facpool_error err = FACPOOL_ERROR_INIT;
    double start = bench_now();

    BENCH_OK(facpool_backup_verify(s->path, &report, &err), err);
    if (report.rows != s->n_rows || report.tail_bytes || !report.closed) {
        bench_die("%s: %llu of %llu rows are sound", s->path, (unsigned long long)report.rows,
                  (unsigned long long)s->n_rows);
    }
    return gigabytes_a_second(s, start);
}

static double add_up(const subject *s)
{
    double start = bench_now();
    XXH64_hash_t sum = XXH3_64bits(s->memory, s->n_bytes);

    bench_keep(&sum);
    return gigabytes_a_second(s, start);
}

static double read_all(const subject *s)
{
    double start = bench_now();

    read_file(s, NULL);
    return gigabytes_a_second(s, start);
}

static void measure(subject *s, const bench_context *context)
{
    s->memory = bench_alloc(s->n_bytes + READ_BYTES);
    read_file(s, s->memory); /* now it is in the page cache, too */
    for (size_t i = 0; i < bench_rounds(context, 9); i++) {
        bench_add(&s->verify, verify(s));
        bench_add(&s->checksum, add_up(s));
        bench_add(&s->read, read_all(s));
    }
    free(s->memory);
    s->memory = NULL;
}

/* ------------------------------------------------------------------ reporting */

static void report(const subject *s, const char *peer_name, const bench_series *peer)
{
    bench_row row = {.id = "VERIFY", .target = "-"};

    snprintf(row.what, sizeof(row.what), "%s: verify of %.3g M rows, %.2f GB, 1 thread; %s",
             s->format->name, 1e-6 * (double)s->n_rows, 1e-9 * (double)s->n_bytes, peer_name);
    bench_cell(row.ours, &s->verify, 1.0, " GB/s");
    bench_cell(row.peer, peer, 1.0, " GB/s");
    snprintf(row.ratio, BENCH_CELL, "%.2fx", bench_ratio(&s->verify, peer));
    bench_report(&row);
}

void bench_verify(const bench_context *context)
{
    if (!bench_wanted(context, "VERIFY")) {
        return;
    }
    for (size_t i = 0; i < BENCH_FORMATS; i++) {
        subject s = {.format = &bench_formats[i]};
        char name[64];

        if (!bench_has_format(context, s.format)) {
            continue;
        }
        snprintf(name, sizeof(name), "verify%s", s.format->suffix);
        s.path = bench_path(context, name);
        bench_say("filling %s", s.format->name);
        write_backup(&s, context);
        bench_settle(context);
        measure(&s, context);
        report(&s, "XXH3 over the same bytes in memory", &s.checksum);
        report(&s, "read(2) of the file, from the page cache", &s.read);
        bench_remove(s.path);
        free(s.path);
    }
}
