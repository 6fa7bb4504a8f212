/* Every moment of a disk's life is a moment at which the power may go: runs, writers, overwriting,
 * compacting, converting and repairing are recorded on a simulated disk, in every format and at
 * every durability, and what a crash could leave after each operation is looked at. Rows reported
 * written outlast the process, rows reported durable the power; all that is read was submitted, bit
 * for bit; a name leads to the old file or to the new one, whole; a resumed run ends as if nothing
 * had happened, and computes nothing again that was recovered - also where it crashes itself, and
 * the one after it.
 *
 * FACPOOL_TEST_SEED, FACPOOL_TEST_TIER and FACPOOL_TEST_STATES (how many a format) choose the
 * states. A failure names its own: FACPOOL_TEST_CASE and FACPOOL_TEST_STATE then make that one
 * alone, and FACPOOL_TEST_KEEP is a folder for its files. */
#include "crash_oracle.h"

#include <signal.h>

#define DEPTHS    3 /* crashes in a row */
#define SEEN_SIZE (1u << 14)

#define GO_ON_PERCENT  6  /* of the states: the recovery is recorded, and crashes again */
#define NESTED_PERCENT 12 /* of the states of such a recording */

/* ------------------------------------------------------------------ which states */

static uint64_t seed;
static unsigned states_wanted; /* of a format */
static unsigned thin_percent;  /* of a recording's states */
static const char *only_state; /* "": all */

static uint64_t n_states[FORMATS];
static uint64_t n_by_kind[CRASH_KINDS][DEPTHS];
static uint64_t n_by_scenario[SCENARIOS];
static uint64_t n_same; /* were left out: they had been looked at */
static uint64_t n_refused;
static uint64_t n_recordings;
static uint64_t n_operations;

static unsigned case_number;
static char where[400]; /* what repeats the state at hand */
static const disk_image *state_at_hand;

static void say_where(const char *label, const crash_walk *walk, crash_kind kind)
{
    static const char *const durabilities[] = {"", "group", "none", "batch"};
    snprintf(
        where, sizeof where,
        "  again: FACPOOL_TEST_SEED=%llu FACPOOL_TEST_CASE=%u FACPOOL_TEST_STATE=%s\n"
        "  (%s, %s, durability %s, batch_rows %u, %u tasks: after %zu of %zu operations, %s)\n",
        (unsigned long long)seed, case_number, label, format_names[world.format],
        scenario_names[current.scenario], durabilities[world.durability], world.batch_rows, world.n,
        walk ? walk->at : 0, walk ? walk->recording->n : 0,
        walk ? crash_kind_names[kind] : "while it was recorded");
}

/* Writes the files of the state at hand into a folder, to be looked at. */
static void keep_files(const char *folder)
{
    for (unsigned i = 0; state_at_hand && i < state_at_hand->n_names; i++) {
        int file = state_at_hand->entries[i];
        char path[600];
        snprintf(path, sizeof path, "%s/%s", folder, disk_name_text((int)i));
        if (file >= 0 &&
            !file_write(path, state_at_hand->files[file].at, state_at_hand->files[file].n))
            printf("  '%s' can't be written\n", path);
    }
}

/* A crash of the library itself tells where, too. */
static void tell_and_die(int number)
{
    ssize_t ignored = write(STDOUT_FILENO, where, strlen(where));
    (void)ignored;
    signal(number, SIG_DFL);
    raise(number);
}

/* States that nothing tells apart are looked at once. */
typedef struct seen_states {
    uint64_t hashes[SEEN_SIZE];
    unsigned n;
} seen_states;

static bool is_new(seen_states *seen, uint64_t hash)
{
    hash |= 1;
    for (unsigned at = (unsigned)hash % SEEN_SIZE;; at = (at + 1) % SEEN_SIZE) {
        if (seen->hashes[at] == hash)
            return false;
        if (seen->hashes[at])
            continue;
        if (seen->n < SEEN_SIZE / 2) {
            seen->hashes[at] = hash;
            seen->n++;
        }
        return true;
    }
}

/* Whether the state with this label is to be made, alone or on the way to the one that is. */
static bool is_asked_for(const char *label)
{
    size_t a = strlen(label), b = strlen(only_state);
    size_t n = a < b ? a : b;
    if (strncmp(label, only_state, n) != 0)
        return false;
    return b == 0 || a == b || (a < b ? only_state[a] : label[b]) == '.';
}

/* ------------------------------------------------------------------ one state */

static void explore(const disk_recording *recording, size_t first, const ledger_history *history,
                    const crash_moment *from, uint64_t branch, const char *prefix);

/* What is known and promised when recovery begins. After a power loss, what is there is safe, and
 * all that the process had left is forgotten. */
static void ledger_of_moment(ledger *l, const crash_moment *m, found_file file,
                             const found_rows *rows)
{
    *l = m->ledger;
    if (file != NEW_FILE)
        return;
    if (!is_kill(m->kind)) {
        memset(l->written, 0, sizeof l->written);
        l->is_named = true;
    }
    ledger_of_rows(l, rows, !is_kill(m->kind));
}

/* Recovers with a recording, and crashes on the way. */
static void recover_recorded(const crash_walk *walk, const crash_moment *m, found_file file,
                             const found_rows *rows, const disk_op *part, const disk_image *left,
                             uint64_t branch, const char *label)
{
    disk_recording recording = {0};
    ledger_history history = {0};
    crash_go_on(walk, m->kind, part, left, &recording);
    size_t n_before = recording.n;
    ledger_of_moment(&history.start, m, file, rows);
    disk_record(&recording);
    keeping = &history;
    bool is_done = recover(m, file, rows);
    keeping = NULL;
    disk_record(NULL);
    n_recordings++;
    n_operations += recording.n - n_before;
    if (is_done)
        explore(&recording, n_before, &history, m, branch, label);
    else
        n_refused++;
    disk_recording_free(&recording);
    ledger_free(&history);
}

static void check_state(const crash_walk *walk, const crash_moment *m, const disk_op *part,
                        const disk_image *left, random_numbers *r, const char *label)
{
    found_rows rows;
    disk_load(left);
    disk_set_seed(random_bits(r));
    found_file file = judge(m, &rows);
    CHECK_INT(disk_open_files(), 0);
    bool goes_on = m->depth + 1 < DEPTHS && random_chance(r, GO_ON_PERCENT);
    uint64_t branch = random_bits(r);
    if (goes_on)
        recover_recorded(walk, m, file, &rows, part, left, branch, label);
    else
        n_refused += !recover(m, file, &rows);
    CHECK_INT(disk_open_files(), 0);
}

/* ------------------------------------------------------------------ the states of a recording */

/* How many states of a kind are tried at a place. */
static unsigned tries_of(crash_kind kind, bool is_again)
{
    static const unsigned tries[CRASH_KINDS] = {1, 2, 1, 1, 2, 3, 3, 2, 2};
    return is_again ? 1 : tries[kind];
}

static bool has_pending_names(const crash_walk *walk)
{
    for (size_t i = 0; i < walk->n_pending; i++)
        if (is_of_names(&walk->recording->ops[walk->pending[i]]))
            return true;
    return false;
}

static void try_state(const crash_walk *walk, const ledger *now, const crash_moment *from,
                      crash_kind kind, uint64_t branch, const char *label, seen_states *seen)
{
    static disk_image images[DEPTHS];
    unsigned depth = from ? from->depth + 1 : 0;
    random_numbers r = {branch};
    disk_op part = {0};
    disk_image *left = &images[depth];
    bool is_chosen = random_chance(&r, depth ? NESTED_PERCENT : thin_percent);
    if (!(is_chosen || *only_state) || (kind == CRASH_NAMES && !has_pending_names(walk)) ||
        !crash_make(walk, kind, &r, &part, left))
        return;
    uint64_t hash = crash_hash(left) + mix_bits(is_kill(kind)) + mix_bits(walk->at);
    if (kind == CRASH_KILL_WITHIN)
        hash += mix_bits(part.n);
    if (!is_new(seen, hash)) {
        n_same++;
        return;
    }
    crash_moment m = {.kind = kind,
                      .depth = depth,
                      .power_was_lost = !is_kill(kind) || (from && from->power_was_lost),
                      .ledger = *now};
    say_where(label, walk, kind);
    state_at_hand = left;
    check_state(walk, &m, &part, left, &r, label);
    n_states[world.format]++;
    n_by_kind[kind][depth]++;
    n_by_scenario[current.scenario]++;
}

/* All states behind the operations that the walk has taken in. */
static void try_states(const crash_walk *walk, const ledger *now, const crash_moment *from,
                       uint64_t branch, const char *prefix, unsigned *number, seen_states *seen)
{
    for (int kind = 0; kind < CRASH_KINDS; kind++) {
        for (unsigned i = 0; i < tries_of((crash_kind)kind, from != NULL); i++) {
            char label[64];
            snprintf(label, sizeof label, "%s%s%u", prefix, *prefix ? "." : "", ++*number);
            if (is_asked_for(label))
                try_state(walk, now, from, (crash_kind)kind, mix_bits(branch + *number), label,
                          seen);
        }
    }
}

/* Crashes after every operation from the first one on: those before it were done before the crash
 * `from`, and may still get lost. `from` is NULL where nothing crashed before. */
static void explore(const disk_recording *recording, size_t first, const ledger_history *history,
                    const crash_moment *from, uint64_t branch, const char *prefix)
{
    crash_walk walk = {0};
    ledger now = history->start;
    size_t next_entry = 0;
    unsigned number = 0;
    seen_states *seen = calloc(1, sizeof *seen);
    CHECK(seen);
    crash_walk_begin(&walk, recording);
    for (;; crash_walk_step(&walk)) {
        while (next_entry < history->n && history->entries[next_entry].at <= walk.at)
            take_entry(&now, &history->entries[next_entry++]);
        if (walk.at >= first)
            try_states(&walk, &now, from, branch, prefix, &number, seen);
        if (walk.at == recording->n)
            break;
    }
    crash_walk_free(&walk);
    free(seen);
}

/* ------------------------------------------------------------------ cases */

/* A file that a run left which was killed on the way: mostly in the middle of a write. */
static void leave_killed(disk_image *out, random_numbers *r)
{
    disk_recording recording = {0};
    crash_walk walk = {0};
    disk_op part;
    disk_save(&recording.start);
    disk_record(&recording);
    work_run(1, 0, FACPOOL_MODE_CREATE, world.path, 0);
    disk_record(NULL);
    crash_walk_begin(&walk, &recording);
    size_t at = recording.n / 3 + random_below(r, (uint32_t)(recording.n - recording.n / 3));
    while (walk.at < at)
        crash_walk_step(&walk);
    if (!crash_make(&walk, CRASH_KILL_WITHIN, r, &part, out))
        crash_make(&walk, CRASH_KILL, r, &part, out);
    crash_walk_free(&walk);
    disk_recording_free(&recording);
}

static void leave_half(disk_image *out, random_numbers *r)
{
    if (random_chance(r, 60)) {
        leave_killed(out, r);
        return;
    }
    work_run(1, 0, FACPOOL_MODE_CREATE, world.path, random_between(r, 1, world.n));
    disk_save(out);
}

/* What can be repaired: a file of lines that has none yet is no file of ours. */
static void leave_torn(disk_image *out, random_numbers *r)
{
    found_rows rows;
    leave_killed(out, r);
    disk_load(out);
    read_rows(world.path, &rows);
    if (rows.rc) {
        work_run(1, 0, FACPOOL_MODE_RESUME, world.path, 0);
        disk_save(out);
    }
}

/* What is there before the recording begins. */
static void prepare(disk_image *start, random_numbers *r)
{
    static const disk_image nothing;
    disk_load(&nothing);
    switch (current.scenario) {
    case RUN_RESUMES:
    case JOB_RESUMES:
    case WRITER_RESUMES:
        leave_half(start, r);
        return;
    case REPAIR:
        leave_torn(start, r);
        return;
    case RUN_OVERWRITES:
        work_run(0, 1, FACPOOL_MODE_CREATE, world.path, 0);
        break;
    case COMPACT:
        work_run(1, 0, FACPOOL_MODE_CREATE, world.path, 0);
        work_run(1, 1, FACPOOL_MODE_RESUME, world.path,
                 random_chance(r, 50) ? random_between(r, 1, world.n) : 0);
        break;
    case CONVERT:
        work_run(1, 0, FACPOOL_MODE_CREATE, world.source, random_between(r, 1, 2 * world.n));
        if (current.had_old)
            work_run(0, 1, FACPOOL_MODE_CREATE, world.path, 0);
        break;
    default:
        break;
    }
    disk_save(start);
}

/* The ledger before the recording begins, in which all that is there is safe. *before gets the rows
 * that the work goes on from. */
static void begin_ledger(ledger *l, found_rows *before)
{
    read_rows(world.path, before);
    if (current.scenario == CONVERT) {
        found_rows source;
        read_rows(world.source, &source);
        CHECK_INT(source.rc, 0);
        ledger_of_rows(l, &source, true); /* where the new file is, it is there whole */
    } else if (!current.had_old) {
        ledger_of_rows(l, before, true);
        l->is_named = before->rc != FACPOOL_E_NOT_FOUND;
    }
}

static void work(const found_rows *before, random_numbers *r)
{
    switch (current.scenario) {
    case RUN_CREATES:
        work_run(1, 0, FACPOOL_MODE_CREATE, world.path, 0);
        break;
    case RUN_RESUMES:
        work_run(1, 1, FACPOOL_MODE_RESUME, world.path, 0);
        break;
    case JOB_CREATES:
    case JOB_RESUMES:
        work_job(before, r);
        break;
    case WRITER_CREATES:
        work_writer(FACPOOL_MODE_CREATE, before, r);
        break;
    case WRITER_RESUMES:
        work_writer(FACPOOL_MODE_RESUME, before, r);
        break;
    case RUN_OVERWRITES:
        work_run(1, 0, FACPOOL_MODE_OVERWRITE, world.path, 0);
        break;
    case COMPACT:
        work_compact();
        break;
    case CONVERT:
        work_convert(current.had_old);
        break;
    default:
        work_repair();
        break;
    }
}

static void record_case(disk_recording *recording, ledger_history *history, random_numbers *r)
{
    found_rows before;
    prepare(&recording->start, r);
    disk_load(&recording->start);
    begin_ledger(&history->start, &before);
    disk_record(recording);
    keeping = history;
    work(&before, r);
    keeping = NULL;
    disk_record(NULL);
    read_rows(world.path, &current.truth);
    CHECK_INT(current.truth.rc, 0);
    CHECK_INT(disk_open_files(), 0);
    n_recordings++;
    n_operations += recording->n;
}

static void one_case(unsigned number)
{
    random_numbers r = {mix_bits(seed + number)};
    disk_recording recording = {0};
    ledger_history history = {0};
    case_number = number;
    disk_set_seed(random_bits(&r));
    current = (crash_case){.scenario = (scenario)(number / FORMATS % SCENARIOS)};
    choose_world(random_bits(&r), (file_format)(number % FORMATS));
    disk_lacks_rename_no_replace = random_chance(&r, 25);
    current.had_old = current.scenario == RUN_OVERWRITES ||
                      (current.scenario == CONVERT && random_chance(&r, 50));
    say_where("", NULL, CRASH_KILL);
    record_case(&recording, &history, &r);
    explore(&recording, 0, &history, NULL, random_bits(&r), "");
    disk_recording_free(&recording);
    ledger_free(&history);
    facpool_tasks_free(world.tasks);
}

static bool are_enough(void)
{
    for (int format = 0; format < FORMATS; format++)
        if (n_states[format] < states_wanted)
            return false;
    return true;
}

/* ------------------------------------------------------------------ the tests */

static void cases_until_there_are_enough(void)
{
    uint64_t only = environment_number("FACPOOL_TEST_CASE", UINT64_MAX);
    if (only != UINT64_MAX) {
        one_case((unsigned)only);
        return;
    }
    for (unsigned number = 0; !are_enough(); number++)
        if (n_states[number % FORMATS] < states_wanted)
            one_case(number);
}

static void every_state_of_a_crash_is_recovered(void)
{
    jmp_buf outer;
    memcpy(&outer, &test_end, sizeof outer);
    if (setjmp(test_end) == 0) {
        cases_until_there_are_enough();
        memcpy(&test_end, &outer, sizeof outer);
        return;
    }
    memcpy(&test_end, &outer, sizeof outer);
    printf("%s", where);
    if (getenv("FACPOOL_TEST_KEEP"))
        keep_files(getenv("FACPOOL_TEST_KEEP"));
    longjmp(test_end, 1);
}

static void print_counts(void)
{
    printf("   states  crashed once  twice  three times in a row\n");
    for (int kind = 0; kind < CRASH_KINDS; kind++) {
        const uint64_t *n = n_by_kind[kind];
        printf("%9llu %13llu %6llu %6llu  %s\n", (unsigned long long)(n[0] + n[1] + n[2]),
               (unsigned long long)n[0], (unsigned long long)n[1], (unsigned long long)n[2],
               crash_kind_names[kind]);
    }
    for (int i = 0; i < SCENARIOS; i++)
        printf("%9llu  %s\n", (unsigned long long)n_by_scenario[i], scenario_names[i]);
    for (int i = 0; i < FORMATS; i++)
        printf("%9llu  %s\n", (unsigned long long)n_states[i], format_names[i]);
    printf("%llu recordings of %llu operations; %llu states that had been looked at were left "
           "out; %llu times a json file without one good row was refused\n"
           "%llu files were damaged; %llu rows came to light when the damage was given up\n",
           (unsigned long long)n_recordings, (unsigned long long)n_operations,
           (unsigned long long)n_same, (unsigned long long)n_refused,
           (unsigned long long)n_given_up, (unsigned long long)n_came_to_light);
}

int main(void)
{
    states_wanted =
        (unsigned)environment_number("FACPOOL_TEST_STATES", of_tier(1000, 17000, 1000000));
    thin_percent = of_tier(5, 20, 50);
    const char *state = getenv("FACPOOL_TEST_STATE");
    only_state = state ? state : "";
    if (!disk_begin()) {
        printf("SKIP: files in memory can't be had: memfd_create and /proc are needed\n");
        return 77;
    }
    seed = environment_seed();
    signal(SIGABRT, tell_and_die);
#if CAN_FORK_BUSY /* sanitizers have their own handlers */
    signal(SIGSEGV, tell_and_die);
    signal(SIGBUS, tell_and_die);
#endif
    RUN(every_state_of_a_crash_is_recovered);
    print_counts();
    disk_end();
    return TEST_END();
}
