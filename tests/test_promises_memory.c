/* Proves the fourth promise, that memory is bounded, on every executor: however many tasks there
 * are, and however slow the store is that their rows go to. Public headers only. */
#include <facpool/sink.h>
#include "run_helpers.h"

static int32_t executor;

/* ------------------------------------------------------------------ many tasks */

typedef struct counting {
    atomic_size_t now;
    atomic_size_t peak;
} counting;

static void count_bytes(counting *c, size_t bytes)
{
    size_t now = atomic_fetch_add(&c->now, bytes) + bytes, peak = atomic_load(&c->peak);
    while (now > peak && !atomic_compare_exchange_weak(&c->peak, &peak, now))
        ;
}

static void *counting_alloc(void *ctx, size_t bytes)
{
    size_t *memory = malloc(bytes + 16);
    if (!memory)
        return NULL;
    memory[0] = bytes;
    count_bytes(ctx, bytes);
    return (char *)memory + 16;
}

static void counting_free(void *ctx, void *memory)
{
    counting *c = ctx;
    if (!memory)
        return;
    size_t *head = (size_t *)((char *)memory - 16);
    atomic_fetch_sub(&c->now, head[0]);
    free(head);
}

static void *counting_realloc(void *ctx, void *memory, size_t bytes)
{
    void *moved = counting_alloc(ctx, bytes);
    if (moved && memory) {
        size_t had = *(size_t *)((char *)memory - 16);
        memcpy(moved, memory, had < bytes ? had : bytes);
    }
    if (moved)
        counting_free(ctx, memory);
    return moved;
}

static int cheap(const facpool_task *task, double *factors, void *user)
{
    (void)user;
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = (double)(task->index * (f + 1)) / 100;
    return 0;
}

/* What this process has mapped of memory that others may share, as it is during the run. */
static int note_shared_memory(const facpool_progress *progress, void *user)
{
    size_t *peak = user, kilobytes = 0;
    char line[200];
    FILE *file = fopen("/proc/self/status", "r");
    (void)progress;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssShmem: %zu", &kilobytes) == 1)
            break;
    if (file)
        fclose(file);
    if (kilobytes * 1024 > *peak)
        *peak = kilobytes * 1024;
    return 0;
}

static size_t peak_of_run(size_t n_dates, uint64_t queue_bytes)
{
    size_t shared = 0, shared_before = 0;
    note_shared_memory(NULL, &shared_before);
    counting c = {0};
    facpool_allocator allocator = FACPOOL_ALLOCATOR_INIT;
    allocator.alloc = counting_alloc;
    allocator.realloc = counting_realloc;
    allocator.free = counting_free;
    allocator.ctx = &c;
    facpool_tasks *tasks = make_grid(n_dates, 1000);
    facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
    backup.path = fresh_path();
    backup.queue_bytes = queue_bytes;
    backup.durability = FACPOOL_DURABILITY_NONE;
    facpool_run_options options = make_options(NULL, executor);
    options.fn = cheap;
    options.backup = &backup;
    options.results = FACPOOL_RESULTS_DROP;
    options.allocator = &allocator;
    options.progress = note_shared_memory;
    options.progress_user = &shared;
    options.progress_interval_ms = 1;
    facpool_result *result = NULL;
    CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
    CHECK_INT(report_of(result).rows_written, n_dates * 1000);
    CHECK(!facpool_result_factor(result, 0));
    CHECK_INT(facpool_result_load(result, &err), FACPOOL_E_STATE);
    facpool_result_free(result);
    facpool_tasks_free(tasks);
    CHECK_INT(atomic_load(&c.now), 0);
    return atomic_load(&c.peak) + (shared > shared_before ? shared - shared_before : 0);
}

static void promise_04_memory_does_not_grow_with_the_number_of_tasks(void)
{
    size_t peak = peak_of_run(6000, 4 << 20);
    printf("  peak: %zu bytes for 6 M tasks\n", peak);
    /* Queue, the blocks being written, the index. Four bytes a task kept anywhere would show. */
    CHECK(peak < (24 << 20));
}

/* ------------------------------------------------------------------ a slow store */

/* A store that keeps nothing, and takes its time; notes how many rows were computed and not yet
 * taken at most. */
typedef struct slow_store {
    atomic_size_t computed;
    size_t taken;
    size_t most_ahead;
    long append_ms;
} slow_store;

static int slow_open(void **state, const facpool_sink_request *request,
                     facpool_sink_opening *opening, facpool_error *error)
{
    (void)opening;
    (void)error;
    *state = request->user;
    return 0;
}

static int slow_append(void *state, const facpool_sink_batch *batch, facpool_error *error)
{
    slow_store *s = state;
    (void)error;
    pause_ms(s->append_ms);
    size_t ahead = atomic_load(&s->computed) - s->taken;
    if (ahead > s->most_ahead)
        s->most_ahead = ahead;
    s->taken += batch->n_rows;
    return 0;
}

static int slow_nothing(void *state, facpool_error *error)
{
    (void)state;
    (void)error;
    return 0;
}

static const facpool_sink_type slow_type = {.size = sizeof(facpool_sink_type),
                                            .name = "slow store",
                                            .open = slow_open,
                                            .append = slow_append,
                                            .sync = slow_nothing,
                                            .close = slow_nothing};

static int count_computed(const facpool_task *task, double *factors, void *user)
{
    for (size_t f = 0; f < FACTORS; f++)
        factors[f] = (double)task->index;
    atomic_fetch_add(&((slow_store *)user)->computed, 1);
    return 0;
}

static void promise_04_a_slow_store_slows_the_workers_down(void)
{
    for (int no_async = 0; no_async < 2; no_async++) {
        slow_store *s = SHARED(slow_store, .append_ms = 5);
        facpool_tasks *tasks = make_grid(400, 1000);
        facpool_backup_options backup = FACPOOL_BACKUP_OPTIONS_INIT;
        backup.sink = &slow_type;
        backup.sink_user = s;
        backup.queue_bytes = 200000;
        backup.no_async = no_async;
        facpool_run_options options = make_options(NULL, executor);
        options.fn = count_computed;
        options.user = s;
        options.backup = &backup;
        options.results = FACPOOL_RESULTS_DROP;
        facpool_result *result = NULL;
        CHECK_OK(facpool_run(tasks, &options, &result, &err), err);
        CHECK_INT(s->taken, 400000);
        printf("  at most %zu rows ahead\n", s->most_ahead);
        CHECK(s->most_ahead < 100000);
        facpool_result_free(result);
        facpool_tasks_free(tasks);
    }
}

static void run_all(int32_t which)
{
    executor = which;
    RUN(promise_04_memory_does_not_grow_with_the_number_of_tasks);
    RUN(promise_04_a_slow_store_slows_the_workers_down);
}

int main(void)
{
    make_folder();
    for_each_executor(run_all);
    remove_folder();
    return TEST_END();
}
