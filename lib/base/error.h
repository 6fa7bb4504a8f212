/* Errors: filling the caller's facpool_error. Every floor reports through these; nothing here
 * allocates, prints or keeps state. */
#ifndef FP_BASE_ERROR_H
#define FP_BASE_ERROR_H

#include <facpool/facpool.h>

#if defined(__GNUC__)
#define FP_PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define FP_PRINTF(at, first)
#endif

/* Fills *err (which may be NULL, or of an older and shorter type) and returns `code`. */
int fp_fail(facpool_error *err, int code, const char *format, ...) FP_PRINTF(3, 4);

/* The same with an errno, whose text is appended to the message. */
int fp_fail_errno(facpool_error *err, int code, int os_errno, const char *format, ...)
    FP_PRINTF(4, 5);

/* The same naming the task concerned. */
int fp_fail_task(facpool_error *err, int code, int64_t date, const char *task_code,
                 const char *format, ...) FP_PRINTF(5, 6);

/* FACPOOL_E_NOMEM for something of `bytes` bytes. */
int fp_fail_nomem(facpool_error *err, size_t bytes);

/* Hands an error kept elsewhere (on a worker, say) to the caller. Returns from->code. */
int fp_error_copy(facpool_error *to, const facpool_error *from);

#endif
