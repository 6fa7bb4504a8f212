/* Putting a file right: cutting off a torn tail and writing the index. Called for the public
 * repair; damage within the file stays as it is, and is reported. */
#include "store/file_log.h"
#include "store/sink.h"

#include "base/error.h"

int fp_store_verify(const char *path, facpool_verify_report *report, facpool_error *err)
{
    return fp_log_verify(path, report, err);
}

/* Opening for writing does what is to be repaired, and closing writes the index. */
static int open_and_close(const char *path, fp_file *file, const fp_format *format,
                          facpool_error *err)
{
    fp_log_settings settings = {.format = format, .path = path};
    fp_log_findings findings;
    fp_log *log;
    int rc = fp_log_resume(&log, &settings, file, NULL, &findings, err);
    return rc ? rc : fp_log_close(log, err);
}

int fp_store_repair(const char *path, facpool_verify_report *report, facpool_error *err)
{
    facpool_verify_report found = FACPOOL_VERIFY_REPORT_INIT;
    fp_file file;
    int rc = fp_file_open(&file, path, true, err);
    if (rc)
        return rc;
    const fp_format *format = NULL;
    bool is_empty;
    rc = fp_log_probe(&file, path, &format, &is_empty, err);
    if (!rc && is_empty)
        rc = fp_fail(err, FACPOOL_E_UNSUPPORTED, "'%s' is empty: nothing to repair", path);
    if (!rc)
        rc = fp_file_lock(&file, err);
    if (!rc)
        rc = fp_log_verify(path, &found, err);
    if (rc == FACPOOL_E_CORRUPT && found.damaged_blocks)
        rc = 0; /* what the report is for */
    if (!rc)
        rc = open_and_close(path, &file, format, err);
    fp_file_close(&file);
    if (rc)
        return rc;
    found.closed = 1;
    *report = found;
    return 0;
}
