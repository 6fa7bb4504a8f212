/* The public headers are clean C99: they compile without extensions or warnings, and every INIT
 * macro fills its whole struct. */
#include <facpool/arrow.h>
#include <facpool/sink.h>

int facpool_header_c99(void);

int facpool_header_c99(void)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_allocator allocator = FACPOOL_ALLOCATOR_INIT;
    facpool_slice slice = FACPOOL_SLICE_INIT;
    facpool_progress progress = FACPOOL_PROGRESS_INIT;
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    facpool_run_options run = FACPOOL_RUN_OPTIONS_INIT;
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    facpool_serve_options serve = FACPOOL_SERVE_OPTIONS_INIT;
    facpool_failure failure = FACPOOL_FAILURE_INIT;
    facpool_report report = FACPOOL_REPORT_INIT;
    facpool_rows rows = FACPOOL_ROWS_INIT;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    facpool_batch_view view = FACPOOL_BATCH_VIEW_INIT;
    facpool_query_stats stats = FACPOOL_QUERY_STATS_INIT;
    facpool_verify_report verified = FACPOOL_VERIFY_REPORT_INIT;
    facpool_source_options source = FACPOOL_SOURCE_OPTIONS_INIT;
    struct ArrowArrayStream stream = {0};
    return stream.release == 0 && source.size && error.size && allocator.size && slice.size &&
           progress.size && backup.size && run.size && failure.size && report.size && rows.size &&
           filter.size && row.size && view.size && stats.size && verified.size && process.size &&
           serve.size;
}
