/* The main job on market data: four factors of every (date, instrument) of a folder of CSV files,
 * with a live display and a backup; then the proof that a crash costs nothing. The same run is
 * started as a child process and killed half-way, continued from its backup, and compared bit for
 * bit with the run that was never disturbed. Last, two questions are asked of the file.
 *
 * The parts, in minute_bars/: minute_job.c is the use of libfacpool, factors.c what is computed,
 * bars.c and text.c read the files, market_time.c knows days and hours, minute_show.c prints. */
#include "minute_bars/folder.h"
#include "minute_bars/minute_show.h"
#include "minute_bars/synthetic.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static const char usage[] =
    "usage: minute_bars [options] [DIR]\n"
    "\n"
    "Computes four factors of every date and instrument from the bars in DIR, one CSV file an\n"
    "instrument (columns: high, low, close, volume and timestamp, datetime, date and time, or\n"
    "date; see minute_bars/bars.h). Without DIR, makes up bars in a temporary folder.\n"
    "Then kills a second run half-way, resumes it and compares the two bit for bit.\n"
    "\n"
    "  --backup FILE   keep the rows in FILE; continue if it is there (default: a temporary file)\n"
    "  --workers N     threads (default: what the machine allows)\n"
    "  --only-run      only the run and its report\n"
    "  --help          this text\n"
    "\n"
    "Ctrl-C ends the run after the files in hand; with --backup, the next run goes on from there.\n"
    "Exit status: 0; 1 if something failed or the results differ; 2 for wrong options.\n";

struct options {
    const char *program;
    const char *folder;
    const char *backup;
    uint32_t workers;
    int only_run;
    size_t hold_after; /* for the child alone: how many files it computes before it waits */
};

/* ------------------------------------------------------------------ options */

static int read_count(size_t *count, const char *name, const char *text)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = text ? strtoul(text, &end, 10) : 0;
    if (!text || *text < '0' || *text > '9' || *end || errno || value > UINT32_MAX) {
        fprintf(stderr, "minute_bars: %s needs a number, not '%s'\n", name, text ? text : "");
        return -1;
    }
    *count = value;
    return 0;
}

/* Returns 0; 1 where only the help was asked for; -1 for wrong options. */
static int read_options(struct options *options, char **arguments)
{
    size_t count = 0;

    options->program = *arguments++;
    for (; *arguments; arguments++) {
        const char *name = *arguments;

        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            fputs(usage, stdout);
            return 1;
        }
        if (strcmp(name, "--only-run") == 0) {
            options->only_run = 1;
        } else if (strcmp(name, "--backup") == 0 && arguments[1]) {
            options->backup = *++arguments;
        } else if (strcmp(name, "--workers") == 0 && arguments[1]) {
            if (read_count(&count, name, *++arguments))
                return -1;
            options->workers = (uint32_t)count;
        } else if (strcmp(name, "--hold-after") == 0 && arguments[1]) {
            if (read_count(&options->hold_after, name, *++arguments))
                return -1;
        } else if (name[0] == '-' || options->folder) {
            fprintf(stderr, "minute_bars: '%s' is not understood, or lacks its value\n\n%s", name,
                    usage);
            return -1;
        } else {
            options->folder = name;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ signals */

static facpool_cancel *cancel_token;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    facpool_cancel_set(cancel_token);
}

static int set_up_signals(void)
{
    struct sigaction action;
    facpool_error err = FACPOOL_ERROR_INIT;

    if (facpool_cancel_new(&cancel_token, &err) < 0) {
        fprintf(stderr, "minute_bars: %s\n", err.message);
        return -1;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* `minute_bars | head` must not leave the temporary folder behind */
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    return 0;
}

/* ------------------------------------------------------------------ the child that is killed */

struct child {
    pid_t pid;
    int life_line; /* the child waits on the other end, which ends with us */
};

static int start_child(struct child *child, const struct options *options, const char *backup,
                       size_t hold_after)
{
    char hold[24], workers[16];
    char *arguments[] = {(char *)"minute_bars",   (char *)"--only-run",
                         (char *)"--backup",      (char *)backup,
                         (char *)"--workers",     workers,
                         (char *)"--hold-after",  hold,
                         (char *)options->folder, NULL};
    const char *program = access("/proc/self/exe", X_OK) == 0 ? "/proc/self/exe" : options->program;
    posix_spawn_file_actions_t actions;
    int ends[2], problem;

    snprintf(hold, sizeof hold, "%zu", hold_after);
    snprintf(workers, sizeof workers, "%u", (unsigned)options->workers);
    if (pipe(ends) != 0)
        return errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    if (ends[0] != STDIN_FILENO)
        posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    problem = posix_spawnp(&child->pid, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    child->life_line = ends[1];
    if (problem)
        close(ends[1]);
    return problem;
}

/* Returns the child's wait status. */
static int kill_child(struct child *child)
{
    int status = 0;

    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(child->life_line);
    return status;
}

/* Watches the growing file, as any reader could, until it holds `enough` rows. */
static int wait_for_rows(uint64_t *rows, const char *backup, uint64_t enough, pid_t pid)
{
    const struct timespec pause = {0, 1000000};
    facpool_error err = FACPOOL_ERROR_INIT;
    siginfo_t ended;

    for (;;) {
        if (count_rows(rows, backup, &err) < 0) {
            fprintf(stderr, "minute_bars: %s\n", err.message);
            return -1;
        }
        if (*rows >= enough)
            return 0;
        if (facpool_cancel_is_set(cancel_token)) {
            fprintf(stderr, "minute_bars: interrupted\n");
            return -1;
        }
        memset(&ended, 0, sizeof ended);
        if (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid) {
            fprintf(stderr, "minute_bars: the child ended before it could be killed\n");
            return -1;
        }
        nanosleep(&pause, NULL);
    }
}

/* Kills the run when a third of the rows are in the file. The child takes up no more than half of
 * the files, so that on a fast machine and little data the kill can't come too late. */
static int run_and_kill(const struct options *options, const struct minute_job *job,
                        const char *backup)
{
    uint64_t total = facpool_tasks_count(job->tasks), rows = 0;
    struct child child;
    int problem = start_child(&child, options, backup, job->n_codes / 2);
    int status;

    if (problem) {
        fprintf(stderr, "minute_bars: no child process: %s\n", strerror(problem));
        return -1;
    }
    problem = wait_for_rows(&rows, backup, total / 3, child.pid);
    status = kill_child(&child);
    if (problem)
        return -1;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fprintf(stderr, "minute_bars: the child was not killed, its status is %d\n", status);
        return -1;
    }
    printf("  killed by SIGKILL when a reader saw %" PRIu64 " of %" PRIu64 " rows in its file\n",
           rows, total);
    return 0;
}

/* ------------------------------------------------------------------ the steps */

static struct minute_run usual_run(const struct options *options, const char *backup)
{
    struct minute_run run = {backup, FACPOOL_MODE_RESUME, options->workers,
                             0,      cancel_token,        stderr};

    return run;
}

static int say(const facpool_error *err)
{
    fprintf(stderr, "minute_bars: %s\n", err->message);
    return -1;
}

/* Runs and reports; the result is given also where the run ended early. */
static int run_and_report(struct minute_job *job, const struct minute_run *run,
                          facpool_result **result)
{
    facpool_error err = FACPOOL_ERROR_INIT, report_err = FACPOOL_ERROR_INIT;
    int code = minute_job_run(job, run, result, &err);

    if (*result && show_report(*result, run->backup, &report_err) < 0)
        say(&report_err);
    return code < 0 ? say(&err) : 0;
}

/* The killed run's backup, continued; then held against the undisturbed result. */
static int resume_and_compare(struct minute_job *job, const struct minute_run *run,
                              const facpool_result *undisturbed)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_report report = FACPOOL_REPORT_INIT;
    facpool_result *resumed = NULL;
    int64_t differences = -1;

    if (run_and_report(job, run, &resumed))
        goto done;
    if (facpool_result_report(resumed, &report, &err) < 0) {
        say(&err);
        goto done;
    }
    if (report.new_tasks == 0 || report.new_tasks == report.total) {
        fprintf(stderr, "minute_bars: the kill was not half-way: %" PRIu64 " tasks had no row\n",
                report.new_tasks);
        goto done;
    }
    differences = count_differences(undisturbed, resumed, &err);
    if (differences < 0)
        say(&err);
    else if (differences > 0)
        fprintf(stderr, "minute_bars: %" PRId64 " values differ from the undisturbed run\n",
                differences);
    else
        printf("  bit for bit equal: every status and factor of %" PRIu64 " tasks\n", report.total);
done:
    facpool_result_free(resumed);
    return differences == 0 ? 0 : -1;
}

static int demonstrate(const struct options *options, struct minute_job *job, const char *temporary,
                       const facpool_result *undisturbed)
{
    char *backup = folder_path(temporary, "killed", ".fpb");
    struct minute_run run = usual_run(options, backup);
    int problem = -1;

    if (!backup)
        return -1;
    printf("\n2. The same run in a child process, killed half-way\n");
    fflush(stdout);
    if (run_and_kill(options, job, backup))
        goto done;
    printf("\n3. The killed run, resumed\n");
    fflush(stdout);
    problem = resume_and_compare(job, &run, undisturbed);
done:
    free(backup);
    return problem;
}

static int run_all(const struct options *options, struct minute_job *job, const char *temporary)
{
    struct minute_run run = usual_run(options, options->backup);
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    int problem;

    printf("%s: %zu bars, %zu without a trade, %zu lines left out\n", options->folder, job->n_bars,
           job->n_idle, job->n_bad);
    printf("%zu dates x %zu codes = %zu tasks\n", job->n_dates, job->n_codes,
           facpool_tasks_count(job->tasks));
    printf("\n1. %s\n", options->only_run ? "The run" : "An undisturbed run");
    fflush(stdout);
    problem = run_and_report(job, &run, &result);
    if (!problem && !options->only_run) {
        if (job->n_codes < 2)
            printf("\nOne file alone can't be half done: no demonstration of a crash\n");
        else
            problem = demonstrate(options, job, temporary, result);
        if (!problem && show_queries(job, options->backup, &err) < 0)
            problem = say(&err);
    }
    facpool_result_free(result);
    return problem;
}

/* The child: no display, rows handed over at once, so that there is something to be killed in. */
static int run_as_child(const struct options *options, struct minute_job *job)
{
    struct minute_run run = usual_run(options, options->backup);
    facpool_error err = FACPOOL_ERROR_INIT;
    facpool_result *result = NULL;
    int code;

    job->hold_after = options->hold_after;
    run.progress = NULL;
    run.flush_ms = 10;
    code = minute_job_run(job, &run, &result, &err);
    facpool_result_free(result);
    return code < 0 ? say(&err) : 0;
}

static int open_and_run(struct options *options, const char *temporary)
{
    struct minute_job job;
    int is_child = options->hold_after > 0;
    int problem = minute_job_open(&job, options->folder, is_child ? NULL : stderr);

    if (problem)
        return problem;
    problem = is_child ? run_as_child(options, &job) : run_all(options, &job, temporary);
    minute_job_close(&job);
    return problem;
}

/* What was not given is made up in the temporary folder. */
static int fill_in(struct options *options, char **folder, char **backup, const char *temporary)
{
    if (!options->folder) {
        options->folder = *folder = folder_path(temporary, "bars", "");
        if (!*folder || mkdir(*folder, 0700) != 0) {
            fprintf(stderr, "minute_bars: no folder in '%s': %s\n", temporary, strerror(errno));
            return -1;
        }
        printf("No folder given: making up bars of %d instruments on %d days\n",
               SYNTHETIC_INSTRUMENTS, SYNTHETIC_DAYS);
        fflush(stdout);
        if (synthetic_write(*folder))
            return -1;
    }
    if (!options->backup)
        options->backup = *backup = folder_path(temporary, "undisturbed", ".fpb");
    return options->backup ? 0 : -1;
}

/* The child is given all it needs: it must leave nothing behind when it is killed. */
static int needs_temporary(const struct options *options)
{
    return !options->folder || !options->backup || !options->only_run;
}

static int run_with_temporary(struct options *options)
{
    char *temporary = folder_make_temporary(), *folder = NULL, *backup = NULL;
    int problem;

    if (!temporary) {
        fprintf(stderr, "minute_bars: no temporary folder: %s\n", strerror(errno));
        return -1;
    }
    problem = fill_in(options, &folder, &backup, temporary);
    if (!problem)
        problem = open_and_run(options, temporary);
    if (folder_remove(temporary) != 0)
        fprintf(stderr, "minute_bars: '%s' is left behind: %s\n", temporary, strerror(errno));
    free(backup);
    free(folder);
    free(temporary);
    return problem;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int outcome = argc > 0 ? read_options(&options, argv) : -1;

    if (outcome)
        return outcome > 0 ? EXIT_SUCCESS : 2;
    if (set_up_signals())
        return EXIT_FAILURE;
    outcome =
        needs_temporary(&options) ? run_with_temporary(&options) : open_and_run(&options, NULL);
    facpool_cancel_free(cancel_token);
    return outcome ? EXIT_FAILURE : EXIT_SUCCESS;
}
