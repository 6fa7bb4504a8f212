/* What tests of helpers that the host starts share: this program run again as a helper or worker,
 * and memory that it shares with the test. */
#ifndef FP_TEST_PROCESS_SERVER_H
#define FP_TEST_PROCESS_SERVER_H

#include <spawn.h>
#include "process_helpers.h"

extern char **environ;

static char program[] = "/proc/self/exe";

/* Shared by way of a descriptor that stays open: hosts are programs of their own. */
typedef struct host_page {
    atomic_int in_hand;
    atomic_int pids[8];
} host_page;

#define HOST_PAGE_FD 100 /* in the host's processes */
#define ALIVE_FD     101 /* a pipe's end that they all hold */

static host_page *map_host_page(int fd)
{
    void *memory = mmap(NULL, sizeof(host_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Deaf to all that can be refused. */
static int hold_out(const facpool_task *task, double *factors, void *user)
{
    host_page *page = user;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    factors[0] = 1;
    atomic_store(&page->pids[task->worker % 8], (int)getpid());
    atomic_fetch_add(&page->in_hand, 1);
    if (task->index % 2)
        hang_busy();
    else
        hang_asleep();
    return 0;
}

/* ------------------------------------------------------------------ processes that serve */

/* What such a process is to be and do. */
typedef struct server_kind {
    const char *name; /* see serve_main */
    bool is_worker;   /* one_worker_each: it is one worker itself */
    bool is_input;    /* the socket is its standard input */
    atomic_int n_started;
    int refuse_at; /* the so-manyth is not started; 0: never */
    pid_t last;
} server_kind;

/* Makes a fresh process of this program that serves a run on `fd`; `user` is a server_kind. */
static int start_server(int fd, void *user)
{
    server_kind *kind = user;
    char number[16], name[32];
    char *arguments[] = {program,
                         (char *)"--serve",
                         number,
                         name,
                         kind->is_worker ? (char *)"worker" : (char *)"helper",
                         NULL};
    posix_spawn_file_actions_t actions;
    if (atomic_fetch_add(&kind->n_started, 1) + 1 == kind->refuse_at)
        return 55;
    int its_fd = kind->is_input ? STDIN_FILENO : fd;
    snprintf(number, sizeof number, "%d", its_fd);
    snprintf(name, sizeof name, "%s", kind->name);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, its_fd); /* stays open over exec */
    int rc = posix_spawn(&kind->last, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static inline int fail_init(uint32_t worker, void **state, void *user)
{
    (void)worker;
    (void)state;
    (void)user;
    return 42;
}

static inline void handle_nothing(int number)
{
    (void)number;
}

/* Fails where the process's own handler is not there any more. */
static inline int look_for_handler(const facpool_task *task, double *factors, void *user)
{
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    return now.sa_handler == handle_nothing ? task_fn(task, factors, user) : 99;
}

static int serve_main(int argc, char **argv)
{
    work w = {.fail_every = 20, .skip_every = 30};
    facpool_serve_options options = FACPOOL_SERVE_OPTIONS_INIT;
    if (argc != 5)
        return 90;
    const char *kind = argv[3];
    options.fn = task_fn;
    options.user = &w;
    options.no_fork = strcmp(argv[4], "worker") == 0;
    if (strcmp(kind, "batch") == 0) {
        options.fn = NULL;
        options.batch_fn = batch_fn;
    } else if (strcmp(kind, "crash") == 0 || strcmp(kind, "hang") == 0) {
        w.trouble_every = 60;
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would turn it into an exit */
        w.trouble = kind[0] == 'c' ? die_by_segfault : hang_asleep;
    } else if (strcmp(kind, "bad init") == 0) {
        options.worker_init = fail_init;
    } else if (strcmp(kind, "hold out") == 0) {
        options.fn = hold_out;
        options.user = map_host_page(HOST_PAGE_FD);
    } else if (strcmp(kind, "handler") == 0) {
        signal(SIGUSR1, handle_nothing);
        options.fn = look_for_handler;
    } else if (strcmp(kind, "deaf") == 0) {
        hang_asleep();
    } else if (strcmp(kind, "leave") == 0) {
        return 7;
    }
    return -facpool_serve(atoi(argv[2]), &options, &err);
}

#endif
