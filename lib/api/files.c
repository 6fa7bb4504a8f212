/* The public calls on whole backup files. Called by users and the tool; thin: checks arguments and
 * struct sizes, and leaves the work to the store. */
#include "base/abi.h"
#include "base/alloc.h"
#include "base/error.h"
#include "store/sink.h"

#include <stdint.h>

static int check_path(const char *path, const void *out, facpool_error *err)
{
    if (!path || !*path)
        return fp_fail(err, FACPOOL_E_INVALID, "path is %s: name a backup",
                       path ? "empty" : "NULL");
    if (!out)
        return fp_fail(err, FACPOOL_E_INVALID, "no place is given for the answer: pass one");
    return 0;
}

FACPOOL_API int facpool_backup_info(const facpool_info **out, const char *path, facpool_error *err)
{
    int rc = check_path(path, out, err);
    return rc ? rc : fp_store_info(out, path, err);
}

FACPOOL_API void facpool_info_free(const facpool_info *info)
{
    /* One piece of memory, const only towards its owner. */
    fp_free(NULL, (void *)(uintptr_t)info);
}

/* Verify and repair differ in nothing else. The report also comes with CORRUPT. */
static int report_on(int (*work)(const char *, facpool_verify_report *, facpool_error *),
                     const char *path, facpool_verify_report *report, facpool_error *err)
{
    facpool_verify_report found;
    int rc = check_path(path, report, err);
    if (!rc) /* before anything is done: whether the report can be delivered */
        rc = fp_abi_import(&found, sizeof found, report, "facpool_verify_report", err);
    if (rc)
        return rc;
    found = (facpool_verify_report)FACPOOL_VERIFY_REPORT_INIT;
    int work_rc = work(path, &found, err);
    if (work_rc && work_rc != FACPOOL_E_CORRUPT)
        return work_rc;
    rc = fp_abi_export(report, &found, sizeof found, "facpool_verify_report", err);
    return work_rc ? work_rc : rc;
}

FACPOOL_API int facpool_backup_verify(const char *path, facpool_verify_report *report,
                                      facpool_error *err)
{
    return report_on(fp_store_verify, path, report, err);
}

FACPOOL_API int facpool_backup_repair(const char *path, facpool_verify_report *report,
                                      facpool_error *err)
{
    return report_on(fp_store_repair, path, report, err);
}
