/* Proves what worker processes are to their host: what they inherit and what not, that none
 * outlives its run or the host, that nothing of theirs is left behind, and how they end with their
 * helper. Public header only; Linux.
 *
 * The program runs itself: as a host that is killed, as one that prints, as a helper. */
#include <pthread.h>
#include <sys/resource.h>
#include "process_server.h"

/* ------------------------------------------------------------------ what workers inherit */

/* What the first callback of a worker saw. */
typedef struct surroundings {
    atomic_int n;
    char descriptors[16][4096];
    uint64_t blocked;
    bool handlers_are_reset;
    bool interrupt_is_ignored;
    bool child_is_default;
    int group;
    int helper;
    int helper_group;
    int session;
    bool reads_nothing;
} surroundings;

static void list_descriptors(char *out, size_t size)
{
    DIR *open_ones = opendir("/proc/self/fd");
    size_t length = 0;
    for (struct dirent *entry; open_ones && (entry = readdir(open_ones));) {
        char path[64], target[256];
        int fd = atoi(entry->d_name);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (entry->d_name[0] == '.' || fd == dirfd(open_ones) || n < 0 || length >= size)
            continue;
        target[n] = '\0';
        if (fd > 0) /* standard input is nobody's */
            length += (size_t)snprintf(out + length, size - length, "%d %s\n", fd, target);
    }
    if (open_ones)
        closedir(open_ones);
}

static bool has_action(int number, void (*wanted)(int))
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == wanted;
}

static int look_around(const facpool_task *task, double *factors, void *user)
{
    surroundings *s = user;
    char byte;
    sigset_t blocked;
    factors[0] = (double)task->index;
    int n = atomic_fetch_add(&s->n, 1);
    if (n >= 16)
        return 0;
    list_descriptors(s->descriptors[n], sizeof s->descriptors[n]);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int number = 1; number < 32; number++)
        if (sigismember(&blocked, number))
            s->blocked |= UINT64_C(1) << number;
    s->handlers_are_reset = has_action(SIGTERM, SIG_DFL) && has_action(SIGUSR1, SIG_DFL) &&
                            has_action(SIGSEGV, SIG_DFL) && has_action(SIGALRM, SIG_DFL);
    s->interrupt_is_ignored = has_action(SIGINT, SIG_IGN);
    s->child_is_default = has_action(SIGCHLD, SIG_DFL);
    s->group = (int)getpgrp();
    s->helper = (int)getppid();
    s->helper_group = (int)getpgid(getppid());
    s->session = (int)getsid(0);
    s->reads_nothing = read(STDIN_FILENO, &byte, 1) == 0;
    return 0;
}

static void do_nothing(int number)
{
    (void)number;
}

static surroundings *surroundings_of_run(const char *backup_path)
{
    surroundings *s = SHARED(surroundings, 0);
    facpool_tasks *tasks = make_grid(4, 4);
    facpool_run_options options = process_options(NULL);
    options.fn = look_around;
    options.user = s;
    options.backup_path = backup_path;
    facpool_result_free(run_to_end(tasks, &options, 0));
    facpool_tasks_free(tasks);
    CHECK_INT(atomic_load(&s->n), 16);
    return s;
}

static void workers_have_the_hosts_descriptors_and_no_others(void)
{
    static char wanted[4096];
    CHECK(write(STDOUT_FILENO, "", 0) == 0);
    list_descriptors(wanted, sizeof wanted);
    surroundings *s = surroundings_of_run(fresh_path());
    for (int i = 0; i < 16; i++)
        CHECK_TEXT(s->descriptors[i], wanted);
}

static void workers_have_no_signal_blocked_and_no_handler_of_the_hosts(void)
{
    static const int handled[] = {SIGTERM, SIGUSR1, SIGALRM};
    struct sigaction mine = {.sa_handler = do_nothing}, ignored = {.sa_handler = SIG_IGN};
    struct sigaction before[3], child_before;
    sigset_t all, mask_before;
    for (int i = 0; i < 3; i++)
        sigaction(handled[i], &mine, &before[i]);
    sigaction(SIGCHLD, &ignored, &child_before);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &mask_before);
    surroundings *s = surroundings_of_run(NULL);
    pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
    sigaction(SIGCHLD, &child_before, NULL);
    for (int i = 0; i < 3; i++)
        sigaction(handled[i], &before[i], NULL);
    CHECK_INT(s->blocked, 0);
    CHECK(s->handlers_are_reset && s->child_is_default);
    CHECK(s->interrupt_is_ignored);
}

static void workers_lead_a_process_group_of_their_own(void)
{
    surroundings *s = surroundings_of_run(NULL);
    CHECK(s->group != (int)getpgrp());
    CHECK_INT(s->group, s->helper_group);
    CHECK_INT(s->group, s->helper);
    CHECK_INT(s->session, (int)getsid(0));
    CHECK(s->reads_nothing);
}

/* ------------------------------------------------------------------ two runs at once */

typedef struct gate {
    atomic_int in_hand;
    atomic_int is_open;
    atomic_int helper;
} gate;

static int wait_at_the_gate(const facpool_task *task, double *factors, void *user)
{
    gate *g = user;
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = value_of(task->date, task->code, f);
    atomic_store(&g->helper, (int)getppid());
    atomic_fetch_add(&g->in_hand, 1);
    return comes_to_be(&g->is_open, 1) ? 0 : 1;
}

static facpool_run_handle *start_at_gate(gate *g, const facpool_tasks *tasks,
                                         facpool_run_options *options)
{
    facpool_run_handle *run = NULL;
    options->fn = wait_at_the_gate;
    options->user = g;
    CHECK_OK(facpool_run_start(&run, tasks, options, &err), err);
    CHECK(comes_to_be(&g->in_hand, 3));
    return run;
}

/* What the second run's workers inherit of the first one's must not keep its backup locked, nor its
 * helper from seeing its end. */
static void a_run_does_not_hold_on_to_what_an_earlier_one_has_open(void)
{
    gate *first = SHARED(gate, 0), *second = SHARED(gate, 0);
    facpool_tasks *tasks = make_grid(5, 5);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = process_options(NULL), other = process_options(NULL);
    facpool_result *result = NULL;
    belongings before = take_stock();
    options.backup = &backup;
    facpool_run_handle *run = start_at_gate(first, tasks, &options);
    facpool_run_handle *beside = start_at_gate(second, tasks, &other);
    atomic_store(&first->is_open, 1);
    CHECK_OK(facpool_run_wait(run, &result, &err), err);
    facpool_result_free(result);
    CHECK(is_gone(atomic_load(&first->helper)));
    result = run_to_end(tasks, &options, 0); /* while the second one goes on */
    CHECK_INT(report_of(result).resumed, 25);
    facpool_result_free(result);
    atomic_store(&second->is_open, 1);
    CHECK_OK(facpool_run_wait(beside, &result, &err), err);
    CHECK_INT(report_of(result).ok, 25);
    facpool_result_free(result);
    check_stock(&before);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ the helper's death */

static void a_helper_that_dies_ends_the_run_and_resume_continues(void)
{
    gate *g = SHARED(gate, 0);
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.mode = FACPOOL_MODE_RESUME;
    facpool_run_options options = process_options(NULL);
    facpool_result *result = NULL;
    belongings before = take_stock();
    options.backup = &backup;
    facpool_run_handle *run = start_at_gate(g, tasks, &options);
    kill(atomic_load(&g->helper), SIGKILL);
    CHECK_INT(facpool_run_wait(run, &result, &err), FACPOOL_E_WORKER);
    CHECK(result && err.message[0]);
    facpool_report r = report_of(result);
    CHECK_INT(r.ok + r.not_run, 100); /* nobody is blamed */
    CHECK(r.not_run >= 3);
    facpool_result_free(result);
    check_stock(&before);
    atomic_store(&g->is_open, 1);
    result = run_to_end(tasks, &options, 0);
    work none = {0};
    check_result(result, &none);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ the host's death */

typedef enum host_end {
    HOST_KILLED,
    HOST_EXITS,
    HOST_OF_HELPER_KILLED,
    HOST_OF_WORKERS_KILLED,
    N_HOST_ENDS
} host_end;

static int host_main(host_end end)
{
    host_page *page = map_host_page(HOST_PAGE_FD);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = process_options(NULL);
    facpool_run_handle *run = NULL;
    options.fn = hold_out;
    options.user = page;
    options.process = &process;
    server_kind kind = {.name = "hold out", .is_worker = end == HOST_OF_WORKERS_KILLED};
    if (end >= HOST_OF_HELPER_KILLED) {
        process.start = start_server;
        process.start_user = &kind;
        process.one_worker_each = kind.is_worker;
    }
    if (!page || facpool_run_start(&run, tasks, &options, &err)) {
        printf("  host: %s\n", err.message);
        return 3;
    }
    if (!comes_to_be(&page->in_hand, 3))
        return 4;
    if (end == HOST_EXITS)
        exit(0);
    pause();
    return 5;
}

static pid_t spawn_host(host_end end, int page_fd, int alive_fd)
{
    char number[16];
    char *arguments[] = {program, (char *)"--host", number, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    snprintf(number, sizeof number, "%d", (int)end);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, page_fd, HOST_PAGE_FD);
    posix_spawn_file_actions_adddup2(&actions, alive_fd, ALIVE_FD);
    CHECK_INT(posix_spawn(&pid, program, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void nothing_outlives_the_host_however_it_ends(void)
{
    for (host_end end = HOST_KILLED; end < N_HOST_ENDS; end++) {
        int page_fd = memfd_create("host", MFD_CLOEXEC), alive[2], state;
        CHECK(page_fd >= 0 && ftruncate(page_fd, sizeof(host_page)) == 0);
        CHECK_INT(pipe2(alive, O_CLOEXEC), 0);
        host_page *page = map_host_page(page_fd);
        pid_t host = spawn_host(end, page_fd, alive[1]);
        close(alive[1]);
        CHECK(comes_to_be(&page->in_hand, 3));
        if (end != HOST_EXITS)
            kill(host, SIGKILL);
        CHECK_INT(waitpid(host, &state, 0), host);
        struct pollfd pipe_end = {.fd = alive[0]};
        CHECK_INT(poll(&pipe_end, 1, LONG_MS / 2), 1); /* every holder of the other end is gone */
        CHECK(pipe_end.revents & POLLHUP);
        for (int i = 0; i < 3; i++)
            CHECK(is_gone(atomic_load(&page->pids[i])));
        munmap(page, sizeof *page);
        close(page_fd);
        close(alive[0]);
    }
}

/* The thread that starts a run may end before it. */
static void *start_and_leave(void *arg)
{
    void **given = arg;
    facpool_error error = FACPOOL_ERROR_INIT;
    if (facpool_run_start(given[0], given[1], given[2], &error))
        printf("  %s\n", error.message);
    return NULL;
}

static void a_run_outlives_the_thread_that_started_it(void)
{
    gate *g = SHARED(gate, 0);
    facpool_tasks *tasks = make_grid(5, 5);
    facpool_run_options options = process_options(NULL);
    facpool_run_handle *run = NULL;
    facpool_result *result = NULL;
    pthread_t thread;
    void *given[] = {&run, tasks, &options};
    options.fn = wait_at_the_gate;
    options.user = g;
    CHECK_INT(pthread_create(&thread, NULL, start_and_leave, given), 0);
    pthread_join(thread, NULL);
    CHECK(run && comes_to_be(&g->in_hand, 3));
    atomic_store(&g->is_open, 1);
    CHECK_OK(facpool_run_wait(run, &result, &err), err);
    CHECK_INT(report_of(result).ok, 25);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ hosts with threads */

#if CAN_FORK_BUSY

typedef struct busy_host {
    atomic_bool over;
} busy_host;

/* Takes and gives back memory, and prints to nowhere: locks that a fork may meet held. */
static void *keep_busy(void *arg)
{
    busy_host *b = arg;
    FILE *nowhere = fopen("/dev/null", "w");
    for (unsigned i = 0; !atomic_load(&b->over); i++) {
        char *memory = malloc(100 + i % 5000);
        memset(memory, 1, 100);
        if (nowhere)
            fprintf(nowhere, "%d", memory[i % 100]);
        free(memory);
    }
    if (nowhere)
        fclose(nowhere);
    return NULL;
}

static void a_host_with_busy_threads_can_run_processes(void)
{
    busy_host b = {0};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, keep_busy, &b), 0);
    for (int i = 0; i < 20; i++) {
        work *w = SHARED(work, .fail_every = 9, .trouble_every = 60, .trouble = die_by_kill,
                         .trouble_status = FACPOOL_STATUS_CRASHED);
        facpool_tasks *tasks = make_grid(10, 20);
        facpool_run_options options = process_options(w);
        facpool_result *result = run_to_end(tasks, &options, 0);
        check_result(result, w);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
    atomic_store(&b.over, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

#endif

/* ------------------------------------------------------------------ hooks */

typedef struct hook_calls {
    atomic_int before;
    atomic_int parent;
    atomic_int child;
    atomic_int out_of_order;
} hook_calls;

static _Thread_local int hook_state; /* 1: between before and after */

static void note_before(void *user)
{
    hook_calls *h = user;
    atomic_fetch_add(&h->before, 1);
    atomic_fetch_add(&h->out_of_order, hook_state != 0);
    hook_state = 1;
}

static void note_parent(void *user)
{
    hook_calls *h = user;
    atomic_fetch_add(&h->parent, 1);
    atomic_fetch_add(&h->out_of_order, hook_state != 1);
    hook_state = 0;
}

static void note_child(void *user)
{
    hook_calls *h = user;
    atomic_fetch_add(&h->child, 1);
    atomic_fetch_add(&h->out_of_order, hook_state != 1);
    hook_state = 0;
}

static void hooks_are_called_around_every_fork(void)
{
    hook_calls *h = SHARED(hook_calls, 0);
    gate *g = SHARED(gate, .is_open = 1);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    facpool_tasks *tasks = make_grid(10, 10);
    facpool_run_options options = process_options(NULL);
    process.before_fork = note_before;
    process.after_fork_parent = note_parent;
    process.after_fork_child = note_child;
    process.hooks_user = h;
    options.process = &process;
    options.fn = wait_at_the_gate;
    options.user = g;
    facpool_result_free(run_to_end(tasks, &options, 0));
    int n = atomic_load(&h->before); /* the helper, and at least one worker */
    CHECK(n >= 2 && n <= 4);
    CHECK_INT(atomic_load(&h->parent), n);
    CHECK_INT(atomic_load(&h->child), n);
    CHECK_INT(atomic_load(&h->out_of_order), 0);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ printing */

static int print_a_line(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    factors[0] = 1;
    printf("task %zu\n", task->index);
    return 0;
}

static int printing_main(void)
{
    facpool_tasks *tasks = make_grid(10, 20);
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    facpool_run_options options = process_options(NULL);
    facpool_result *result = NULL;
    options.fn = print_a_line;
    options.process = &process;
    process.tasks_per_worker = 30;
    printf("before\n"); /* not flushed: to a file, lines wait */
    int rc = facpool_run(tasks, &options, &result, &err);
    printf("after\n");
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    return -rc;
}

static void what_host_and_workers_print_comes_once(void)
{
    char path[320], line[100], *arguments[] = {program, (char *)"--print", NULL};
    snprintf(path, sizeof path, "%s/printed", test_folder);
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int state;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, path, O_WRONLY | O_CREAT | O_APPEND,
                                     0666);
    CHECK_INT(posix_spawn(&pid, program, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    CHECK_INT(waitpid(pid, &state, 0), pid);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    int n_before = 0, n_after = 0, seen[200] = {0};
    FILE *file = fopen(path, "r");
    CHECK(file);
    while (fgets(line, sizeof line, file)) {
        size_t index;
        n_before += strcmp(line, "before\n") == 0;
        n_after += strcmp(line, "after\n") == 0;
        if (sscanf(line, "task %zu", &index) == 1 && index < 200)
            seen[index]++;
    }
    fclose(file);
    CHECK_INT(n_before, 1);
    CHECK_INT(n_after, 1);
    for (int i = 0; i < 200; i++)
        CHECK_INT(seen[i], 1);
}

/* ------------------------------------------------------------------ no process to be had */

/* As a user who may have so many processes; the last of its kind, as nobody is like that. */
static int run_with_few_processes(int limit)
{
    work none = {0};
    struct rlimit few = {(rlim_t)limit, (rlim_t)limit};
    facpool_tasks *tasks = make_grid(5, 5);
    facpool_run_options options = process_options(&none);
    facpool_result *result = NULL;
    if (setresuid(54321, 54321, 54321) && geteuid() == 0)
        return 90;
    if (setjmp(test_end))
        return 91;
    belongings before = take_stock();
    if (setrlimit(RLIMIT_NPROC, &few))
        return 92;
    int rc = facpool_run(tasks, &options, &result, &err);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    check_stock(&before);
    return err.message[0] ? -rc : 93;
}

static void a_host_that_may_not_fork_gets_an_error(void)
{
    /* As root: no process, or the helper alone. Others have processes that nobody counted. */
    for (int limit = 0; limit <= (geteuid() == 0 ? 2 : 0); limit++) {
        int state;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0)
            _exit(run_with_few_processes(limit));
        CHECK(waitpid(child, &state, 0) == child);
        CHECK(WIFEXITED(state));
        int rc = -WEXITSTATUS(state);
        if (rc != FACPOOL_E_SYSTEM && rc != FACPOOL_E_WORKER)
            printf("  limit %d\n", limit);
        CHECK(rc == FACPOOL_E_SYSTEM || rc == FACPOOL_E_WORKER);
    }
}

/* ------------------------------------------------------------------ many runs */

/* Ends of all kinds, one after the other: nothing is left of any of them. */
static void runs_of_all_ends_leave_nothing_behind(void)
{
    facpool_tasks *tasks = make_grid(10, 10);
    belongings before = take_stock();
    for (int i = 0; i < 40; i++) {
        work *w = SHARED(work, .trouble_every = i % 4 == 1 ? 40 : 0, .trouble = die_by_kill,
                         .fail_every = i % 4 == 2 ? 10 : 0, .cancel_at_call = i % 4 == 3 ? 20 : 0);
        facpool_run_options options = process_options(w);
        options.cancel = listen_for_cancel();
        options.on_error = i % 4 == 2 ? FACPOOL_ON_ERROR_STOP : 0;
        options.backup_path = i % 3 ? fresh_path() : NULL;
        facpool_result *result = NULL;
        int rc = facpool_run(tasks, &options, &result, &err);
        CHECK_INT(rc, i % 4 == 2 ? FACPOOL_E_TASK : i % 4 == 3 ? FACPOOL_E_CANCELLED : 0);
        facpool_result_free(result);
        forget_cancel();
        check_stock(&before);
    }
    facpool_tasks_free(tasks);
}

int main(int argc, char **argv)
{
    test_process = getpid();
    if (argc == 3 && strcmp(argv[1], "--host") == 0)
        return host_main((host_end)atoi(argv[2]));
    if (argc == 2 && strcmp(argv[1], "--print") == 0)
        return printing_main();
    if (argc > 1 && strcmp(argv[1], "--serve") == 0)
        return serve_main(argc, argv);
    make_folder();
    RUN(workers_have_the_hosts_descriptors_and_no_others);
    RUN(workers_have_no_signal_blocked_and_no_handler_of_the_hosts);
    RUN(workers_lead_a_process_group_of_their_own);
    RUN(a_run_does_not_hold_on_to_what_an_earlier_one_has_open);
    RUN(a_helper_that_dies_ends_the_run_and_resume_continues);
    RUN(nothing_outlives_the_host_however_it_ends);
    RUN(a_run_outlives_the_thread_that_started_it);
#if CAN_FORK_BUSY
    RUN(a_host_with_busy_threads_can_run_processes);
#endif
    RUN(hooks_are_called_around_every_fork);
    RUN(what_host_and_workers_print_comes_once);
    RUN(a_host_that_may_not_fork_gets_an_error);
    RUN(runs_of_all_ends_leave_nothing_behind);
    remove_folder();
    return TEST_END();
}
