#include "minute_show.h"
#include "factors.h"

#include <inttypes.h>
#include <string.h>

/* ------------------------------------------------------------------ the report */

static void print_counts(const facpool_report *report)
{
    printf("  tasks %" PRIu64 ": %" PRIu64 " resumed, %" PRIu64 " ok, %" PRIu64 " skipped, %" PRIu64
           " failed, %" PRIu64 " not run\n",
           report->total, report->resumed, report->ok, report->skipped, report->failed,
           report->not_run);
    printf("  rows  %" PRIu64 " written by this run, %" PRIu64 " of them durable\n",
           report->rows_written, report->rows_durable);
    printf("  time  %.3f s on %u workers: %.3f s computing, %.3f s waiting, %.3f s writing\n",
           report->elapsed_s, (unsigned)report->workers, report->compute_s, report->wait_s,
           report->write_s);
}

static void print_failures(const facpool_report *report)
{
    size_t shown = report->n_failures < 3 ? report->n_failures : 3;

    for (size_t i = 0; i < shown; i++) {
        const facpool_failure *failure = &report->failures[i];

        printf("  %s: %s on %" PRId64 ": %s\n", facpool_status_name(failure->status), failure->code,
               failure->date, failure->message);
    }
    if (report->failed > shown && shown > 0)
        printf("  ... and %" PRIu64 " more\n", report->failed - shown);
}

static void print_slowest(const facpool_report *report)
{
    size_t shown = report->n_slowest < 3 ? report->n_slowest : 3;

    for (size_t i = 0; i < shown; i++) {
        const facpool_slow_chunk *chunk = &report->slowest[i];

        printf("  slow  %-8s %6.1f ms for %zu tasks\n", chunk->code, chunk->seconds * 1e3,
               chunk->n);
    }
}

static uint64_t rows_in(const facpool_info *info)
{
    uint64_t rows = 0;

    for (size_t status = 0; status < sizeof info->rows / sizeof *info->rows; status++)
        rows += info->rows[status];
    return rows;
}

static void print_file(const facpool_info *info)
{
    uint64_t rows = rows_in(info);

    printf("  file  %.1f KiB, %s, %" PRIu64 " rows in %" PRIu64 " blocks, %.1f bytes a row\n",
           (double)info->file_bytes / 1024, info->format, rows, info->blocks,
           rows ? (double)info->file_bytes / (double)rows : 0.0);
}

int show_report(const facpool_result *result, const char *backup, facpool_error *err)
{
    facpool_report report = FACPOOL_REPORT_INIT;
    const facpool_info *info;
    int code = facpool_result_report(result, &report, err);

    if (code < 0)
        return code;
    print_counts(&report);
    print_failures(&report);
    print_slowest(&report);
    code = facpool_backup_info(&info, backup, err);
    if (code < 0)
        return code;
    print_file(info);
    facpool_info_free(info);
    return 0;
}

/* ------------------------------------------------------------------ questions */

static void print_heads(facpool_reader *reader, const facpool_filter *filter)
{
    size_t n = filter->factors ? filter->n_factors : facpool_reader_n_factors(reader);

    printf("  %-8s  %-8s  %-7s", "date", "code", "status");
    for (size_t i = 0; i < n; i++)
        printf("  %14s",
               filter->factors ? filter->factors[i] : facpool_reader_factor_name(reader, i));
    putchar('\n');
}

static void print_row(const facpool_row *row)
{
    printf("  %-8" PRId64 "  %-8s  %-7s", row->date, row->code, facpool_status_name(row->status));
    for (size_t i = 0; row->factors && i < row->n_factors; i++)
        printf("  %14.8f", row->factors[i]);
    putchar('\n');
}

static int print_rows(facpool_reader *reader, const facpool_filter *filter, facpool_error *err)
{
    facpool_row row = FACPOOL_ROW_INIT;
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    facpool_cursor *cursor = NULL;
    int code = facpool_query(reader, filter, &cursor, err);

    if (code < 0)
        return code;
    print_heads(reader, filter);
    while ((code = facpool_cursor_next(cursor, &row, err)) > 0)
        print_row(&row);
    if (code == 0)
        code = facpool_cursor_stats(cursor, &stats, err);
    if (code == 0)
        printf("  %" PRIu64 " rows from %" PRIu64 " of %" PRIu64 " pages\n", stats.rows_matched,
               stats.pages_read, stats.pages_total);
    facpool_cursor_free(cursor);
    return code;
}

/* A skipped day shows too, so that a halt can be told from a hole. */
static int ask_code_over_dates(facpool_reader *reader, const struct minute_job *job,
                               facpool_error *err)
{
    facpool_filter filter = FACPOOL_FILTER_INIT;
    size_t first = job->n_dates / 2;
    size_t last = first + 9 < job->n_dates ? first + 9 : job->n_dates - 1;
    const char *code = job->codes[job->n_codes / 2];

    filter.date_min = &job->dates[first];
    filter.date_max = &job->dates[last];
    filter.codes = &code;
    filter.n_codes = 1;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = FACPOOL_ORDER_KEY;
    printf("\n%s from %" PRId64 " to %" PRId64 ", all factors:\n", code, job->dates[first],
           job->dates[last]);
    return print_rows(reader, &filter, err);
}

static int ask_date_over_codes(facpool_reader *reader, const struct minute_job *job,
                               facpool_error *err)
{
    static const char *const factors[] = {"vwap_to_close", "last30_share"};
    facpool_filter filter = FACPOOL_FILTER_INIT;
    const char *codes[6];
    size_t n = job->n_codes < 6 ? job->n_codes : 6;

    for (size_t i = 0; i < n; i++)
        codes[i] = job->codes[i * job->n_codes / n];
    filter.dates = &job->dates[job->n_dates / 2];
    filter.n_dates = 1;
    filter.codes = codes;
    filter.n_codes = n;
    filter.factors = factors;
    filter.n_factors = 2;
    filter.statuses = FACPOOL_STATUS_ALL;
    filter.order = FACPOOL_ORDER_KEY;
    printf("\n%" PRId64 ", %zu codes, two factors:\n", *filter.dates, n);
    return print_rows(reader, &filter, err);
}

int show_queries(const struct minute_job *job, const char *backup, facpool_error *err)
{
    facpool_reader *reader = NULL;
    int code = facpool_reader_open(&reader, &backup, 1, err);

    if (code < 0)
        return code;
    code = ask_code_over_dates(reader, job, err);
    if (code == 0)
        code = ask_date_over_codes(reader, job, err);
    facpool_reader_free(reader);
    return code;
}

/* ------------------------------------------------------------------ comparing and counting */

int64_t count_differences(const facpool_result *left, const facpool_result *right,
                          facpool_error *err)
{
    size_t n = facpool_result_count(left);
    const uint8_t *left_status, *right_status;
    int64_t differences = 0;
    int code = facpool_result_load(left, err);

    if (code == 0)
        code = facpool_result_load(right, err);
    if (code < 0)
        return code;
    left_status = facpool_result_status(left);
    right_status = facpool_result_status(right);
    for (size_t i = 0; i < n; i++)
        differences += left_status[i] != right_status[i];
    for (size_t factor = 0; factor < N_FACTORS; factor++) {
        const double *a = facpool_result_factor(left, factor);
        const double *b = facpool_result_factor(right, factor);

        for (size_t i = 0; i < n; i++)
            differences += memcmp(&a[i], &b[i], sizeof *a) != 0;
    }
    return differences;
}

int count_rows(uint64_t *rows, const char *backup, facpool_error *err)
{
    const facpool_info *info;
    int code = facpool_backup_info(&info, backup, err);

    if (code == FACPOOL_E_NOT_FOUND) {
        *rows = 0;
        return 0;
    }
    if (code < 0)
        return code;
    *rows = rows_in(info);
    facpool_info_free(info);
    return 0;
}
