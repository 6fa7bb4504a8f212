/* Races for one store, among threads of one process and among processes, in every file format and
 * the example's SQLite sink: creators of one name, of whom one wins; writers that resume, create
 * and overwrite, and follow one another or are told that the store is busy, or there; compact,
 * convert, repair and verify among them, sometimes killed; and readers, who at any moment see every
 * row that was closed before they looked, and never a wrong one. In the end no row is lost or
 * doubled.
 *
 * FACPOOL_TEST_SEED chooses the rounds. */
#include "race_world.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

typedef enum role { CREATES, RESUMES, WRITES_IN_ANY_MODE, REWRITES, READS } role;

typedef struct racer {
    race *world;
    role role;
    random_numbers random;
} racer;

static race *world;
static bool in_processes;
static unsigned round_number;
static unsigned n_rounds, n_sessions, n_busy, n_exists, n_looks, n_rewrites, n_killed;

/* ------------------------------------------------------------------ writers */

/* Being refused is no harm where it says why, and names the file. */
static void check_refusal(race *w, int rc, const facpool_error *error, int32_t mode)
{
    bool is_there = rc == FACPOOL_E_EXISTS && mode == FACPOOL_MODE_CREATE;
    atomic_fetch_add(rc == FACPOOL_E_BUSY ? &w->n_busy : &w->n_exists, 1);
    if ((rc != FACPOOL_E_BUSY && !is_there) || error->code != rc ||
        !strstr(error->message, w->path))
        tell_wrong(w, "opening in mode %d gave %d: %s", (int)mode, rc, error->message);
}

static int32_t choose_mode(role who, random_numbers *r)
{
    if (who == CREATES)
        return FACPOOL_MODE_CREATE;
    return who == RESUMES || random_chance(r, 60) ? FACPOOL_MODE_RESUME
                                                  : (int32_t)random_between(r, 1, 3);
}

/* An ok row is final, whoever wrote it: a session that resumes knows those of the one before. */
static void write_again(race *w, facpool_writer *writer, uint32_t number, facpool_error *error)
{
    if (number == 0 || w->sessions[number].is_overwrite || !w->sessions[number - 1].is_closed)
        return;
    int rc = append_session(w, writer, number - 1, error);
    if (rc != FACPOOL_E_EXISTS)
        tell_wrong(w, "rows of session %u could be written again: %d", number - 1, rc);
}

/* With the store open; closes it. */
static void write_session(racer *me, facpool_writer *writer, int32_t mode)
{
    race *w = me->world;
    facpool_error error = FACPOOL_ERROR_INIT;
    uint32_t number = atomic_fetch_add(&w->n_numbers, 1);
    w->sessions[number].is_overwrite = mode == FACPOOL_MODE_OVERWRITE;
    w->sessions[number].has_begun = 1;
    if (mode == FACPOOL_MODE_OVERWRITE)
        atomic_fetch_add(&w->overwrites_done, 1);
    if (random_chance(&me->random, 30))
        write_again(w, writer, number, &error);
    int rc = append_session(w, writer, number, &error);
    if (!rc && random_chance(&me->random, 30))
        rc = facpool_writer_sync(writer, &error);
    int close_rc = facpool_writer_close(writer, rc ? NULL : &error);
    if (rc || close_rc)
        tell_wrong(w, "session %u gave %d, %d: %s", number, rc, close_rc, error.message);
    else
        w->sessions[number].is_closed = 1;
}

/* Returns whether there was a session. */
static bool try_to_write(racer *me)
{
    race *w = me->world;
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_writer *writer = NULL;
    int32_t mode = choose_mode(me->role, &me->random);
    facpool_backup_options options = storage_options(w->path, mode);
    options.durability = (int32_t)random_between(&me->random, 1, 3);
    options.no_async = random_chance(&me->random, 50);
    options.batch_rows = 1;
    options.flush_ms = 1;
    if (mode == FACPOOL_MODE_OVERWRITE)
        atomic_fetch_add(&w->overwrites_begun, 1);
    int rc = facpool_writer_open(&writer, &options, NULL, 1, &error);
    if (rc == 0) {
        write_session(me, writer, mode);
        return true;
    }
    if (mode == FACPOOL_MODE_OVERWRITE) /* which was none */
        atomic_fetch_add(&w->overwrites_done, 1);
    check_refusal(w, rc, &error, mode);
    return false;
}

static void write_all(racer *me)
{
    race *w = me->world;
    while (!w->is_wrong && atomic_fetch_sub(&w->tries_left, 1) > 0)
        while (!try_to_write(me) && me->role != CREATES && !w->is_wrong)
            sched_yield();
    atomic_fetch_sub(&w->writers_left, 1);
}

/* ------------------------------------------------------------------ who else is there */

static int rewrite_once(race *w, uint32_t how, facpool_error *error)
{
    const char *path = w->path;
    facpool_backup_options to = storage_options(path, FACPOOL_MODE_OVERWRITE);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    switch (how) {
    case 0:
        return facpool_backup_compact(path, error);
    case 1:
        return facpool_backup_convert(&path, 1, &to, error);
    case 2:
        return facpool_backup_repair(path, &report, error);
    default:
        return facpool_backup_verify(path, &report, error);
    }
}

static void rewrite_meanwhile(racer *me)
{
    race *w = me->world;
    while (w->writers_left > 0 && !w->is_wrong) {
        facpool_error error = FACPOOL_ERROR_INIT;
        uint32_t how = random_below(&me->random, 4);
        int rc = rewrite_once(w, how, &error);
        if (rc && (rc != FACPOOL_E_BUSY || !strstr(error.message, w->path)))
            tell_wrong(w, "rewriting (%u) gave %d: %s", how, rc, error.message);
        atomic_fetch_add(rc ? &w->n_busy : &w->n_rewrites, 1);
        sched_yield();
    }
}

/* Opens the store anew, or refreshes. False where nobody had made it yet. */
static bool look_anew(race *w, facpool_reader **reader, random_numbers *r, bool is_made)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    const char *path = w->path;
    int rc;
    if (*reader && random_chance(r, 70)) {
        rc = facpool_reader_refresh(*reader, &error);
    } else {
        facpool_reader_free(*reader);
        *reader = NULL;
        rc = store->sink ? facpool_reader_from_source(reader, store->sink, NULL, &path, 1, &error)
                         : facpool_reader_open(reader, &path, 1, &error);
    }
    bool is_empty = rc == FACPOOL_E_UNSUPPORTED && store->is_its_rows;
    bool is_nothing_yet =
        (rc == FACPOOL_E_NOT_FOUND && !is_made) || (is_empty && (!is_made || w->overwrites_begun));
    if (rc && !is_nothing_yet)
        tell_wrong(w, "looking gave %d: %s", rc, error.message);
    return rc == 0;
}

static void note_closed(const race *w, uint8_t *closed)
{
    for (uint32_t number = 0; number < SESSIONS_MAX; number++)
        closed[number] = (uint8_t)w->sessions[number].is_closed;
}

/* What was closed before a look is seen by it, unless it was overwritten meanwhile. */
static void look_once(race *w, facpool_reader **reader, random_numbers *r, race_view *view,
                      uint8_t *closed)
{
    uint32_t done = w->overwrites_done, first = first_that_counts(w);
    note_closed(w, closed);
    if (!look_anew(w, reader, r, closed[0]) || !read_view(w, *reader, view))
        return;
    check_one_generation(w, view);
    if (w->overwrites_begun == done)
        check_whole(w, view, closed, first);
    atomic_fetch_add(&w->n_looks, 1);
}

static void read_meanwhile(racer *me)
{
    race *w = me->world;
    facpool_reader *reader = NULL;
    race_view *view = malloc(sizeof *view);
    uint8_t *closed = malloc(SESSIONS_MAX);
    if (!view || !closed)
        tell_wrong(w, "no memory");
    else
        do
            look_once(w, &reader, &me->random, view, closed);
        while (w->writers_left > 0 && !w->is_wrong);
    facpool_reader_free(reader);
    free(view);
    free(closed);
}

/* ------------------------------------------------------------------ the field */

static void *take_part(void *user)
{
    racer *me = user;
    wait_at_the_line(me->world);
    if (me->role == READS)
        read_meanwhile(me);
    else if (me->role == REWRITES)
        rewrite_meanwhile(me);
    else
        write_all(me);
    return NULL;
}

static void race_in_threads(racer *racers)
{
    pthread_t threads[RACERS_MAX];
    for (uint32_t i = 0; i < world->n_racers; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, take_part, &racers[i]), 0);
    for (uint32_t i = 0; i < world->n_racers; i++)
        pthread_join(threads[i], NULL);
}

static pid_t start_process(racer *me)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        take_part(me);
        _exit(0);
    }
    return pid;
}

/* Kills who rewrites, again and again, and lets another one go on. */
static void kill_rewriters(racer *me, pid_t *pid)
{
    while (world->writers_left > 0 && !world->is_wrong) {
        int state = 0;
        struct timespec moment = {0, (long)random_below(&me->random, 3000000)};
        nanosleep(&moment, NULL);
        kill(*pid, SIGKILL);
        CHECK_INT(waitpid(*pid, &state, 0), *pid);
        n_killed += WIFSIGNALED(state);
        *pid = start_process(me);
        CHECK(*pid > 0);
    }
}

static void race_in_processes(racer *racers)
{
    pid_t pids[RACERS_MAX];
    for (uint32_t i = 0; i < world->n_racers; i++)
        CHECK((pids[i] = start_process(&racers[i])) > 0);
    for (uint32_t i = 0; i < world->n_racers; i++)
        if (racers[i].role == REWRITES)
            kill_rewriters(&racers[i], &pids[i]);
    for (uint32_t i = 0; i < world->n_racers; i++) {
        int state = 0;
        CHECK_INT(waitpid(pids[i], &state, 0), pids[i]);
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    }
}

static void count_race(void)
{
    n_rounds++;
    n_sessions += world->n_numbers;
    n_busy += world->n_busy;
    n_exists += world->n_exists;
    n_looks += world->n_looks;
    n_rewrites += world->n_rewrites;
}

/* A round on a fresh name, or with `exists` on a store with one session. */
static void run_race(uint64_t seed, const role *roles, uint32_t n_racers, int32_t tries,
                     bool exists)
{
    racer racers[RACERS_MAX];
    memset(world, 0, sizeof *world);
    snprintf(world->path, sizeof world->path, "%s", storage_path());
    world->seed = seed;
    world->n_racers = n_racers;
    world->tries_left = tries;
    for (uint32_t i = 0; i < n_racers; i++) {
        racers[i] = (racer){world, roles[i], {mix_bits(seed + i)}};
        world->writers_left += roles[i] < REWRITES;
    }
    if (exists) {
        racer first = {world, RESUMES, {seed}};
        CHECK(try_to_write(&first));
    }
    if (in_processes)
        race_in_processes(racers);
    else
        race_in_threads(racers);
    if (!world->is_wrong && world->n_numbers)
        check_end_of_race(world);
    if (world->is_wrong)
        printf("  %s, %s, round %u: %s\n", store->name, in_processes ? "processes" : "threads",
               round_number, world->wrong);
    CHECK(!world->is_wrong);
    count_race();
}

/* So many sessions came to be. */
static void check_sessions(uint32_t wanted)
{
    if (world->n_numbers != wanted)
        printf("  %s, %s, round %u: %u sessions\n", store->name,
               in_processes ? "processes" : "threads", round_number, world->n_numbers);
    CHECK_INT(world->n_numbers, wanted);
}

static void remove_race(void)
{
    DIR *listing = opendir(scratch_folder);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        const char *path = scratch_path(entry->d_name);
        unlink(path); /* folders stay */
    }
    if (listing)
        closedir(listing);
}

/* ------------------------------------------------------------------ the races */

/* Rounds for the first n stores, in threads and in processes. */
static void for_rounds(unsigned rounds, size_t n_stores, void (*body)(uint64_t seed))
{
    uint64_t seed = environment_seed();
    for (size_t i = 0; i < 2 * n_stores; i++) {
        store = &storage_cases[i / 2];
        in_processes = i % 2;
        for (round_number = 0; round_number < rounds; round_number++) {
            body(mix_bits(seed + i * 1000003 + round_number));
            remove_race();
        }
    }
}

/* SQLite's locks let those who come at once keep one another out, until all have given up. */
static bool is_undecided(void)
{
    return store->sink && world->n_numbers == 0 && world->n_busy == 3;
}

static void race_to_create(uint64_t seed)
{
    static const role roles[] = {CREATES, CREATES, READS, CREATES};
    run_race(seed, roles, 4, 3, false);
    check_sessions(is_undecided() ? 0 : 1);
    CHECK_INT(world->n_busy + world->n_exists + world->n_numbers, 3);
}

static void of_all_who_create_a_name_one_wins(void)
{
    for_rounds(of_tier(6, 60, 4000), N_STORAGE_CASES, race_to_create);
}

static void race_to_resume(uint64_t seed)
{
    static const role roles[] = {RESUMES, READS, RESUMES, RESUMES};
    run_race(seed, roles, 4, 12, false);
    check_sessions(12);
}

static void writers_that_resume_follow_one_another(void)
{
    for_rounds(of_tier(2, 12, 800), N_STORAGE_CASES, race_to_resume);
}

static void race_in_any_mode(uint64_t seed)
{
    static const role roles[] = {WRITES_IN_ANY_MODE, WRITES_IN_ANY_MODE, READS, WRITES_IN_ANY_MODE,
                                 READS};
    run_race(seed, roles, 5, 16, true);
    check_sessions(17);
}

static void writers_of_all_modes_never_mix_their_rows(void)
{
    for_rounds(of_tier(2, 12, 800), N_STORAGE_CASES, race_in_any_mode);
}

static void race_with_rewriters(uint64_t seed)
{
    static const role roles[] = {RESUMES, REWRITES, READS, RESUMES};
    run_race(seed, roles, 4, 30, true);
    check_sessions(31);
}

static void compact_convert_and_repair_lose_no_row_of_a_writer(void)
{
    for_rounds(of_tier(2, 12, 800), N_FILE_FORMATS, race_with_rewriters);
}

/* All this would prove little if nobody had met anybody. */
static void racers_met(void)
{
    printf("  %u rounds, %u sessions, %u times busy, %u times there already, %u looks, %u "
           "rewrites, %u rewriters killed\n",
           n_rounds, n_sessions, n_busy, n_exists, n_looks, n_rewrites, n_killed);
    CHECK(n_busy > n_rounds && n_exists > 0 && n_looks > n_rounds && n_rewrites > 0);
}

int main(void)
{
    if (!scratch_make("races") || !(world = new_race())) {
        printf("no folder or memory can be had\n");
        return EXIT_FAILURE;
    }
    RUN(of_all_who_create_a_name_one_wins);
    RUN(writers_that_resume_follow_one_another);
    RUN(writers_of_all_modes_never_mix_their_rows);
    RUN(compact_convert_and_repair_lose_no_row_of_a_writer);
    RUN(racers_met);
    scratch_remove();
    return TEST_END();
}
