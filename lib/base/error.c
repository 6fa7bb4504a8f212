/* Fills the caller's facpool_error, and gives names to error codes and statuses. Called by every
 * floor; never allocates, prints or keeps state, and never writes past the size the caller gave. */
#include "base/error.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Below: no room for the code. Above: memory that was not initialised. */
#define ERROR_SIZE_LEAST (offsetof(facpool_error, code) + sizeof(int32_t))
#define ERROR_SIZE_MOST  ((size_t)65536)

/* A formatted message before it is made safe and cut to facpool_error.message. */
#define RAW_BYTES 2048

static const char *const error_names[] = {
    "ok",
    "FACPOOL_E_INVALID",
    "FACPOOL_E_NOMEM",
    "FACPOOL_E_ABI",
    "FACPOOL_E_IO",
    "FACPOOL_E_EXISTS",
    "FACPOOL_E_MISMATCH",
    "FACPOOL_E_BUSY",
    "FACPOOL_E_UNSUPPORTED",
    "FACPOOL_E_CORRUPT",
    "FACPOOL_E_NOT_FOUND",
    "FACPOOL_E_DUPLICATE",
    "FACPOOL_E_CANCELLED",
    "FACPOOL_E_TASK",
    "FACPOOL_E_FORKED",
    "FACPOOL_E_SYSTEM",
    "FACPOOL_E_STATE",
    "FACPOOL_E_WORKER",
};

static const char *const status_names[] = {"none", "ok", "skipped", "failed", "timeout", "crashed"};

#define TEXT_OF_TOKEN(token) #token
#define TEXT_OF(macro)       TEXT_OF_TOKEN(macro)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const char *facpool_error_name(int code)
{
    if (code > 0 || code <= -(int)COUNT_OF(error_names))
        return "unknown error";
    return error_names[-code];
}

const char *facpool_status_name(int status)
{
    if (status < 0 || status >= (int)COUNT_OF(status_names))
        return "unknown status";
    return status_names[status];
}

const char *facpool_version(void)
{
    return TEXT_OF(FACPOOL_VERSION_MAJOR) "." TEXT_OF(FACPOOL_VERSION_MINOR) "." TEXT_OF(
        FACPOOL_VERSION_PATCH);
}

/* Ends a text that was cut in the middle of a field: at a whole character, with a NUL. */
static void terminate_cut_text(facpool_error *to, size_t size, size_t at, size_t field_bytes)
{
    if (size <= at || size >= at + field_bytes)
        return;
    char *text = (char *)to + at;
    size_t kept = size - at;
    text[fp_utf8_cut(text, kept, kept - 1)] = '\0';
}

/* The only place that writes to the caller's struct. */
static int deliver(facpool_error *to, const facpool_error *from)
{
    if (!to)
        return from->code;
    size_t size = to->size;
    if (size < ERROR_SIZE_LEAST || size > ERROR_SIZE_MOST)
        return from->code;
    size_t shared = size < sizeof *from ? size : sizeof *from;
    memcpy((char *)to + sizeof size, (const char *)from + sizeof size, shared - sizeof size);
    terminate_cut_text(to, size, offsetof(facpool_error, task_code), sizeof from->task_code);
    terminate_cut_text(to, size, offsetof(facpool_error, message), sizeof from->message);
    return from->code;
}

/* Length of the valid character that begins here and is no control character, or 0. */
static size_t printable_length(const char *at, size_t n)
{
    unsigned char first = (unsigned char)at[0];
    if (first < 0x80)
        return first >= 0x20 && first != 0x7f ? 1 : 0;
    for (size_t length = 2; length <= 4 && length <= n; length++)
        if (fp_utf8_valid(at, length))
            return length;
    return 0;
}

/* Copies text, with bytes that are not UTF-8 and control characters as \xNN: codes and paths may
 * hold anything, messages are always text. Cuts where `to` is full, never within a character. */
static void copy_readable(char *to, size_t capacity, const char *from, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        size_t length = printable_length(from + i, n - i);
        if (used + (length ? length : 4) >= capacity)
            break;
        if (length) {
            memcpy(to + used, from + i, length);
            used += length;
            i += length;
        } else {
            unsigned char byte = (unsigned char)from[i++];
            to[used++] = '\\';
            to[used++] = 'x';
            to[used++] = digits[byte >> 4];
            to[used++] = digits[byte & 15];
        }
    }
    to[used] = '\0';
}

/* `tail` (the text of an errno) always fits: what is cut, if anything, is the message before it. */
FP_PRINTF(3, 0)
static void format_message(facpool_error *e, const char *tail, const char *format, va_list args)
{
    char raw[RAW_BYTES];
    int length = vsnprintf(raw, sizeof raw, format, args);
    if (length < 0) {
        raw[0] = '\0';
        length = 0;
    }
    size_t n = (size_t)length;
    if (n >= sizeof raw)
        n = fp_utf8_cut(raw, sizeof raw - 1, sizeof raw - 5);
    size_t room = sizeof e->message - strlen(tail);
    copy_readable(e->message, room, raw, n);
    strcat(e->message, tail);
}

int fp_fail(facpool_error *err, int code, const char *format, ...)
{
    facpool_error e = FACPOOL_ERROR_INIT;
    e.code = code;
    va_list args;
    va_start(args, format);
    format_message(&e, "", format, args);
    va_end(args);
    return deliver(err, &e);
}

/* strerror_r comes in two kinds, which differ by what they return. */
static const char *error_text_of_int(int result, const char *buffer)
{
    return result == 0 ? buffer : "unknown system error";
}

static const char *error_text_of_pointer(const char *result, const char *buffer)
{
    (void)buffer;
    return result;
}

#define ERROR_TEXT(os_errno, buffer)                                                               \
    _Generic(strerror_r(0, buffer, 0), int                                                         \
             : error_text_of_int, default                                                          \
             : error_text_of_pointer)(strerror_r(os_errno, buffer, sizeof(buffer)), buffer)

int fp_fail_errno(facpool_error *err, int code, int os_errno, const char *format, ...)
{
    facpool_error e = FACPOOL_ERROR_INIT;
    e.code = code;
    e.os_errno = os_errno;
    char text[128] = "";
    char tail[160];
    int length = snprintf(tail, sizeof tail, ": %s", ERROR_TEXT(os_errno, text));
    if (length < 0)
        tail[0] = '\0';
    va_list args;
    va_start(args, format);
    format_message(&e, tail, format, args);
    va_end(args);
    return deliver(err, &e);
}

int fp_fail_task(facpool_error *err, int code, int64_t date, const char *task_code,
                 const char *format, ...)
{
    facpool_error e = FACPOOL_ERROR_INIT;
    e.code = code;
    e.has_task = 1;
    e.date = date;
    copy_readable(e.task_code, sizeof e.task_code, task_code, strlen(task_code));
    va_list args;
    va_start(args, format);
    format_message(&e, "", format, args);
    va_end(args);
    return deliver(err, &e);
}

int fp_fail_nomem(facpool_error *err, size_t bytes)
{
    return fp_fail(err, FACPOOL_E_NOMEM,
                   "out of memory: %zu bytes could not be had; free some, or split the work",
                   bytes);
}

int fp_error_copy(facpool_error *to, const facpool_error *from)
{
    if (to == from)
        return from->code;
    facpool_error whole = FACPOOL_ERROR_INIT;
    size_t size = from->size < sizeof whole ? from->size : sizeof whole;
    if (size > sizeof size)
        memcpy((char *)&whole + sizeof size, (const char *)from + sizeof size, size - sizeof size);
    return deliver(to, &whole);
}
