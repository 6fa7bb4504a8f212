/* Text files that appear whole: written beside their final name, synced, then renamed. Called by
 * convert. It knows nothing of rows. */
#include "output.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct output {
    FILE *stream;
    bool is_stdout;
    bool overwrite;
    const char *given;   /* the path for messages */
    char path[PATH_MAX]; /* links followed */
};

/* The name that the file has until it is finished, for the signal handler too; "": none. */
static char temporary[PATH_MAX + 32];

static void end_by_signal(int number)
{
    unlink(temporary); /* safe in a handler; the name is complete before the handler is set */
    signal(number, SIG_DFL);
    raise(number);
}

/* A signal that is ignored stays so: nohup, for one, wants that. */
static void handle_signals(void (*handler)(int))
{
    static const int ending[] = {SIGHUP, SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (signal(ending[i], handler) == SIG_IGN)
            signal(ending[i], SIG_IGN);
}

/* ------------------------------------------------------------------ beginning */

/* A backup under this name is more likely a slip than what is to be replaced by text. */
static bool may_take(const output *out)
{
    struct stat status;
    if (stat(out->path, &status) != 0)
        return true;
    const facpool_info *info = NULL;
    if (facpool_backup_info(&info, out->path, NULL) == 0) {
        facpool_info_free(info);
        tool_fail("'%s' is a backup, which text is not to replace: choose another name",
                  out->given);
        return false;
    }
    if (!S_ISREG(status.st_mode)) {
        tool_fail("'%s' is no regular file: choose another name, or - for the standard output",
                  out->given);
        return false;
    }
    if (!out->overwrite)
        tool_fail("'%s' is there already: give --overwrite, or another name", out->given);
    return out->overwrite;
}

/* What the file would have got by being created, or has already. */
static mode_t mode_for(const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0)
        return status.st_mode & 0777;
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

static bool create(output *out)
{
    const char *slash = strrchr(out->path, '/');
    int folder = slash ? (int)(slash - out->path) + 1 : 0;
    snprintf(temporary, sizeof temporary, "%.*s.%.200s.XXXXXX", folder, out->path,
             out->path + folder);
    int fd = mkstemp(temporary);
    if (fd < 0) {
        temporary[0] = '\0';
        tool_fail("'%s' can't be made: %s", out->given, strerror(errno));
        return false;
    }
    handle_signals(end_by_signal);
    if (fchmod(fd, mode_for(out->path)) == 0)
        out->stream = fdopen(fd, "w");
    if (!out->stream) {
        tool_fail("'%s' can't be made: %s", out->given, strerror(errno));
        close(fd);
    }
    return out->stream != NULL;
}

output *output_begin(const char *path, bool overwrite)
{
    output *out = calloc(1, sizeof *out);
    if (!out) {
        tool_fail("out of memory");
        return NULL;
    }
    out->overwrite = overwrite;
    out->given = path;
    out->is_stdout = strcmp(path, "-") == 0;
    if (out->is_stdout) {
        out->stream = stdout;
        return out;
    }
    if (!realpath(path, out->path)) /* not there yet, as a rule; if not, making it says why */
        snprintf(out->path, sizeof out->path, "%s", path);
    if (may_take(out) && create(out))
        return out;
    output_discard(out);
    return NULL;
}

FILE *output_stream(const output *out)
{
    return out->stream;
}

/* ------------------------------------------------------------------ ending */

/* Returns 0 or an errno. */
static int publish(const output *out)
{
    if (out->overwrite)
        return rename(temporary, out->path) ? errno : 0;
    if (link(temporary, out->path) == 0)
        return 0;
    if (errno == EEXIST || access(out->path, F_OK) == 0)
        return EEXIST;
    return rename(temporary, out->path) ? errno : 0; /* a file system without hard links */
}

static int finish_file(output *out)
{
    FILE *stream = out->stream;
    bool written = fflush(stream) == 0 && !ferror(stream) && fsync(fileno(stream)) == 0;
    out->stream = NULL;
    if (fclose(stream) != 0 || !written)
        return tool_fail("'%s' could not be written: is the disk full? Nothing was left of it",
                         out->given);
    int failure = publish(out);
    if (failure)
        return tool_fail("'%s' can't be given its name: %s", out->given, strerror(failure));
    return TOOL_OK;
}

int output_finish(output *out)
{
    int status = out->is_stdout ? tool_end_output(TOOL_OK) : finish_file(out);
    output_discard(out);
    return status;
}

void output_discard(output *out)
{
    if (!out)
        return;
    if (out->stream && !out->is_stdout)
        fclose(out->stream);
    if (temporary[0])
        unlink(temporary); /* there is none any more where it was renamed */
    handle_signals(SIG_DFL);
    temporary[0] = '\0';
    free(out);
}
