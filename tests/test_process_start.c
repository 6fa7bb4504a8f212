/* Proves what hosts can rely on that start the helper of a run, or each of its workers, themselves:
 * the promises are the same, what goes wrong is told, and serving what is no run is refused. Public
 * header only; Linux.
 *
 * The program runs itself, as a helper or as a worker. */
#include <sys/socket.h>
#include "process_server.h"

/* Runs with processes that the host starts, and without: the same comes out. */
static facpool_result *run_started(server_kind *kind, const facpool_tasks *tasks, bool by_slices,
                                   uint32_t tasks_per_worker, int expected)
{
    facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
    facpool_run_options options = process_options(NULL);
    facpool_result *result = NULL;
    process.start = start_server;
    process.start_user = kind;
    process.one_worker_each = kind->is_worker;
    process.tasks_per_worker = tasks_per_worker;
    options.process = &process;
    options.fn = by_slices ? NULL : task_fn; /* which of them counts, not what it would do */
    options.batch_fn = by_slices ? batch_fn : NULL;
    options.task_timeout_ms = strcmp(kind->name, "hang") == 0 ? PATIENCE_MS : 0;
    int rc = facpool_run(tasks, &options, &result, &err);
    if (rc != expected)
        printf("  %s: rc %d: %s\n", kind->name, rc, err.message);
    CHECK_INT(rc, expected);
    return result;
}

/* Waits for all processes that were started; the exit status of the last one, or 128 and the
 * signal. */
static int wait_for_servers(const server_kind *kind)
{
    int state, last = -1;
    for (pid_t pid; (pid = waitpid(-1, &state, 0)) > 0;)
        if (pid == kind->last)
            last = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    return last;
}

/* ------------------------------------------------------------------ runs that go well */

static void processes_that_the_host_starts_serve_the_run(void)
{
    static const char *const names[] = {"plain", "batch", "crash", "hang"};
    static const int ends[] = {0, 0, 128 + SIGSEGV, 128 + SIGKILL}; /* of a worker in trouble */
    for (int i = 0; i < 8; i++) {
        server_kind kind = {.name = names[i % 4], .is_worker = i >= 4};
        work expected = {.fail_every = 20, .skip_every = 30};
        facpool_tasks *tasks = i % 2 ? make_list(20, 20) : make_grid(20, 20);
        belongings before = take_stock();
        if (i % 4 >= 2) {
            expected.trouble_every = 60;
            expected.trouble_status = i % 4 == 2 ? FACPOOL_STATUS_CRASHED : FACPOOL_STATUS_TIMEOUT;
        }
        facpool_result *result = run_started(&kind, tasks, i % 4 == 1, 0, 0);
        check_result(result, &expected);
        size_t troubled = i % 4 >= 2 ? count_troubled(&expected, 20, 20) : 0;
        CHECK_INT(report_of(result).crashed + report_of(result).timeout, troubled);
        for (size_t f = 0; f < facpool_result_n_failures(result); f++) {
            facpool_failure failure = FACPOOL_FAILURE_INIT;
            CHECK_OK(facpool_result_failure(result, f, &failure, &err), err);
            if (failure.status == FACPOOL_STATUS_CRASHED)
                CHECK(strstr(failure.message, "SIGSEGV"));
        }
        facpool_result_free(result);
        if (kind.is_worker)
            CHECK(atomic_load(&kind.n_started) >= (int)troubled + 1);
        else
            CHECK_INT(atomic_load(&kind.n_started), 1);
        int last = wait_for_servers(&kind);
        if (!kind.is_worker || last != ends[i % 4]) /* there may be no work left for another one */
            CHECK_INT(last, 0);
        check_stock(&before);
        facpool_tasks_free(tasks);
    }
}

static void workers_that_the_host_starts_are_replaced(void)
{
    work expected = {.fail_every = 20, .skip_every = 30};
    server_kind kind = {.name = "plain", .is_worker = true};
    facpool_tasks *tasks = make_grid(20, 20);
    facpool_result *result = run_started(&kind, tasks, false, 20, 0);
    check_result(result, &expected);
    CHECK(atomic_load(&kind.n_started) >= 8 && atomic_load(&kind.n_started) <= 30);
    facpool_result_free(result);
    CHECK_INT(wait_for_servers(&kind), 0);
    facpool_tasks_free(tasks);
}

static void the_socket_may_be_standard_input(void)
{
    work expected = {.fail_every = 20, .skip_every = 30};
    facpool_tasks *tasks = make_grid(20, 20);
    for (int is_worker = 0; is_worker < 2; is_worker++) {
        server_kind kind = {.name = "plain", .is_worker = is_worker, .is_input = true};
        facpool_result *result = run_started(&kind, tasks, false, 0, 0);
        check_result(result, &expected);
        facpool_result_free(result);
        CHECK_INT(wait_for_servers(&kind), 0);
    }
    facpool_tasks_free(tasks);
}

/* A process that is one worker itself has a life of its own. */
static void a_started_worker_keeps_its_signal_handlers(void)
{
    work expected = {.fail_every = 20, .skip_every = 30};
    server_kind kind = {.name = "handler", .is_worker = true};
    facpool_tasks *tasks = make_grid(20, 20);
    facpool_result *result = run_started(&kind, tasks, false, 0, 0);
    check_result(result, &expected);
    facpool_result_free(result);
    CHECK_INT(wait_for_servers(&kind), 0);
    facpool_tasks_free(tasks);
}

/* The host may have its children reaped by the system. */
static void how_a_worker_ended_may_be_nobodys_to_know(void)
{
    struct sigaction ignored = {.sa_handler = SIG_IGN}, before;
    work expected = {.fail_every = 20,
                     .skip_every = 30,
                     .trouble_every = 60,
                     .trouble_status = FACPOOL_STATUS_CRASHED};
    server_kind kind = {.name = "crash", .is_worker = true};
    facpool_tasks *tasks = make_grid(20, 20);
    sigaction(SIGCHLD, &ignored, &before);
    facpool_result *result = run_started(&kind, tasks, false, 0, 0);
    wait_for_servers(&kind);
    sigaction(SIGCHLD, &before, NULL);
    check_result(result, &expected);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
}

/* ------------------------------------------------------------------ runs that go wrong */

static void starts_that_go_wrong_are_errors_of_the_run(void)
{
    facpool_tasks *tasks = make_grid(5, 5);
    for (int is_worker = 0; is_worker < 2; is_worker++) {
        belongings before = take_stock();
        server_kind refusing = {.name = "plain", .is_worker = is_worker, .refuse_at = 1};
        facpool_result_free(run_started(&refusing, tasks, false, 0, FACPOOL_E_WORKER));
        CHECK(strstr(err.message, "55"));
        server_kind leaving = {.name = "leave", .is_worker = is_worker}; /* without a word */
        facpool_result_free(run_started(&leaving, tasks, false, 0, FACPOOL_E_WORKER));
        CHECK(err.message[0]);
        CHECK_INT(wait_for_servers(&leaving), 7);
        server_kind mixed = {.name = "batch", .is_worker = is_worker}; /* and the run calls fn */
        facpool_result_free(run_started(&mixed, tasks, false, 0, FACPOOL_E_WORKER));
        CHECK(strstr(err.message, "batch_fn"));
        CHECK_INT(wait_for_servers(&mixed), -FACPOOL_E_MISMATCH);
        server_kind failing = {.name = "bad init", .is_worker = is_worker};
        facpool_result_free(run_started(&failing, tasks, false, 0, FACPOOL_E_TASK));
        CHECK(strstr(err.message, "42"));
        wait_for_servers(&failing);
        check_stock(&before);
    }
    facpool_tasks_free(tasks);
}

static void a_replacement_that_is_not_started_ends_the_run(void)
{
    server_kind kind = {.name = "plain", .is_worker = true, .refuse_at = 6};
    facpool_tasks *tasks = make_grid(50, 50);
    facpool_result *result = run_started(&kind, tasks, false, 50, FACPOOL_E_WORKER);
    CHECK(result && strstr(err.message, "55"));
    facpool_report r = report_of(result);
    CHECK(r.ok > 0 && r.not_run > 0 && r.crashed == 0);
    facpool_result_free(result);
    wait_for_servers(&kind);
    facpool_tasks_free(tasks);
}

/* A run that wants a helper is offered a worker, and the other way round. */
static int start_the_other_kind(int fd, void *user)
{
    server_kind *kind = user;
    kind->is_worker = !kind->is_worker;
    int rc = start_server(fd, user);
    kind->is_worker = !kind->is_worker;
    return rc;
}

static void helpers_and_workers_are_not_taken_for_one_another(void)
{
    for (int is_worker = 0; is_worker < 2; is_worker++) {
        server_kind kind = {.name = "plain", .is_worker = is_worker};
        facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
        facpool_tasks *tasks = make_grid(5, 5);
        facpool_run_options options = process_options(NULL);
        facpool_result *result = NULL;
        process.start = start_the_other_kind;
        process.start_user = &kind;
        process.one_worker_each = is_worker;
        options.process = &process;
        CHECK_INT(facpool_run(tasks, &options, &result, &err), FACPOOL_E_WORKER);
        CHECK(strstr(err.message, "no_fork"));
        facpool_result_free(result);
        CHECK_INT(wait_for_servers(&kind), -FACPOOL_E_MISMATCH);
        facpool_tasks_free(tasks);
    }
}

static void a_killed_run_kills_what_the_host_started(void)
{
    for (int is_worker = 0; is_worker < 2; is_worker++) {
        server_kind kind = {.name = "hang", .is_worker = is_worker};
        facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
        facpool_tasks *tasks = make_grid(20, 20);
        facpool_run_options options = process_options(NULL);
        facpool_run_handle *run = NULL;
        facpool_result *result = NULL;
        facpool_progress progress = FACPOOL_PROGRESS_INIT;
        process.start = start_server;
        process.start_user = &kind;
        process.one_worker_each = is_worker;
        options.process = &process;
        CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
        while (progress.done < 20)
            CHECK_INT(facpool_run_poll(run, &progress, &err), 0);
        facpool_run_kill(run);
        CHECK_INT(facpool_run_wait(run, &result, &err), FACPOOL_E_CANCELLED);
        CHECK_INT(report_of(result).crashed + report_of(result).timeout, 0);
        CHECK(report_of(result).not_run > 0);
        facpool_result_free(result);
        wait_for_servers(&kind);
        facpool_tasks_free(tasks);
    }
}

/* Started, but never heard of again. */
static void a_run_whose_processes_never_serve_can_be_ended(void)
{
    for (int variant = 0; variant < 4; variant++) {
        server_kind kind = {.name = "deaf", .is_worker = variant % 2};
        facpool_process_options process = FACPOOL_PROCESS_OPTIONS_INIT;
        facpool_tasks *tasks = make_grid(5, 5);
        facpool_run_options options = process_options(NULL);
        facpool_run_handle *run = NULL;
        facpool_result *result = NULL;
        process.start = start_server;
        process.start_user = &kind;
        process.one_worker_each = kind.is_worker;
        options.process = &process;
        options.workers = 1;
        CHECK_OK(facpool_run_start(&run, tasks, &options, &err), err);
        for (int i = 0; i < 100 && !atomic_load(&kind.n_started); i++)
            pause_ms(10);
        if (variant < 2)
            facpool_run_kill(run);
        else
            facpool_run_cancel(run);
        CHECK_INT(facpool_run_wait(run, &result, &err), FACPOOL_E_CANCELLED);
        CHECK_INT(report_of(result).not_run, 25);
        facpool_result_free(result);
        kill(kind.last, SIGKILL);
        wait_for_servers(&kind);
        facpool_tasks_free(tasks);
    }
}

/* ------------------------------------------------------------------ serving */

static int serve_here(int fd)
{
    facpool_serve_options options = FACPOOL_SERVE_OPTIONS_INIT;
    options.fn = task_fn;
    return facpool_serve(fd, &options, &err);
}

/* In a process of its own: serving changes signals, group and standard input. */
static int exit_of_server(int fd)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(-serve_here(fd));
    int state;
    CHECK(waitpid(child, &state, 0) == child);
    close(fd);
    CHECK(WIFEXITED(state));
    return -WEXITSTATUS(state);
}

static void serving_what_is_no_run_is_refused(void)
{
    int ends[2];
    uint32_t letter[1024] = {0};
    CHECK_INT(serve_here(-1), FACPOOL_E_INVALID);
    CHECK(err.message[0]);
    CHECK_INT(exit_of_server(open("/dev/null", O_RDWR)), FACPOOL_E_INVALID);
    CHECK_INT(pipe(ends), 0);
    close(ends[1]);
    CHECK_INT(exit_of_server(ends[0]), FACPOOL_E_INVALID);
    /* Garbage of all lengths; what begins as a greeting does. */
    for (size_t length = 1; length <= sizeof letter; length = length * 3 + 1)
        for (int magic = 0; magic < 2; magic++) {
            CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
            letter[0] = magic ? UINT32_C(0x66616370) : 0;
            for (size_t i = 1; i < 1024; i++)
                letter[i] = magic ? 1 : (uint32_t)mix(i);
            CHECK(send(ends[1], letter, length, 0) == (ssize_t)length);
            int rc = exit_of_server(ends[0]);
            CHECK(rc == FACPOOL_E_INVALID || rc == FACPOOL_E_MISMATCH);
            close(ends[1]);
        }
    CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    close(ends[1]); /* gone before it was served */
    CHECK_INT(exit_of_server(ends[0]), FACPOOL_E_INVALID);
}

int main(int argc, char **argv)
{
    test_process = getpid();
    if (argc > 1 && strcmp(argv[1], "--serve") == 0)
        return serve_main(argc, argv);
    RUN(processes_that_the_host_starts_serve_the_run);
    RUN(workers_that_the_host_starts_are_replaced);
    RUN(the_socket_may_be_standard_input);
    RUN(a_started_worker_keeps_its_signal_handlers);
    RUN(how_a_worker_ended_may_be_nobodys_to_know);
    RUN(starts_that_go_wrong_are_errors_of_the_run);
    RUN(a_replacement_that_is_not_started_ends_the_run);
    RUN(helpers_and_workers_are_not_taken_for_one_another);
    RUN(a_killed_run_kills_what_the_host_started);
    RUN(a_run_whose_processes_never_serve_can_be_ended);
    RUN(serving_what_is_no_run_is_refused);
    return TEST_END();
}
