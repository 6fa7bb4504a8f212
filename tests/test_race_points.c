/* Races of two at every point: while a writer opens a backup (in each mode), or while it is
 * compacted, converted onto itself or repaired, another writer does all of its work - opens,
 * appends and closes - right before the k-th call that touches a file, for every k. Whoever is
 * refused is told so and why, and in the end the backup holds the rows of all whose sessions count,
 * and no other: races whose windows are too small for test_races.c are met here, each time. */
#include "race_world.h"

#include <dlfcn.h>

typedef enum deed { CREATES = 1, RESUMES, OVERWRITES, COMPACTS, CONVERTS, REPAIRS } deed;

static const char *const deed_names[] = {"",        "create",  "resume", "overwrite",
                                         "compact", "convert", "repair"};

/* What is under the name at first. */
typedef enum beginning { NOTHING, A_BACKUP, ZEROS } beginning; /* ZEROS: as a power loss leaves */

static const char *const beginning_names[] = {"on nothing", "on a backup", "on zeros"};

static race *world;
static unsigned n_points, n_both, n_refused;

/* ------------------------------------------------------------------ calls with somebody before */

static deed intruder;         /* 0: nobody comes */
static unsigned calls_before; /* its turn */

static void intrude(void);

static void begin_call(void)
{
    if (intruder && calls_before && --calls_before == 0)
        intrude();
}

static void *real_function(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

/* These stand in for the C library's, under names of our own in C, as headers may lead the real
 * ones elsewhere. */
#define REPLACE(type, name, parameters, arguments)                                                 \
    type racing_##name parameters __asm__(#name) __attribute__((visibility("default")));           \
    type racing_##name parameters                                                                  \
    {                                                                                              \
        type(*real) parameters = (type(*) parameters)(uintptr_t)real_function(#name);              \
        begin_call();                                                                              \
        return real arguments;                                                                     \
    }

REPLACE(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode))
REPLACE(int, fcntl, (int fd, int command, void *argument), (fd, command, argument))
REPLACE(ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
REPLACE(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
REPLACE(int, ftruncate, (int fd, off_t size), (fd, size))
#ifdef __GLIBC__ /* whose headers lead to these names where file offsets have 64 bits */
REPLACE(int, open64, (const char *path, int flags, mode_t mode), (path, flags, mode))
REPLACE(int, fcntl64, (int fd, int command, void *argument), (fd, command, argument))
REPLACE(ssize_t, pread64, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
REPLACE(ssize_t, pwrite64, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
REPLACE(int, ftruncate64, (int fd, off_t size), (fd, size))
#endif
REPLACE(int, fdatasync, (int fd), (fd))
REPLACE(int, fsync, (int fd), (fd))
REPLACE(int, close, (int fd), (fd))
REPLACE(int, rename, (const char *from, const char *to), (from, to))
REPLACE(int, renameat2, (int from_at, const char *from, int to_at, const char *to, unsigned flags),
        (from_at, from, to_at, to, flags))
REPLACE(char *, realpath, (const char *path, char *out), (path, out))

/* ------------------------------------------------------------------ deeds */

/* Rows are written by the thread that appends them: no other thread makes calls. */
static int open_writer(facpool_writer **out, deed what, facpool_error *error)
{
    facpool_backup_options options = storage_options(world->path, (int32_t)what);
    options.durability = FACPOOL_DURABILITY_NONE;
    options.no_async = 1;
    options.batch_rows = 1;
    return facpool_writer_open(out, &options, NULL, 1, error);
}

static int write_session(facpool_writer *writer, deed what, facpool_error *error)
{
    uint32_t number = world->n_numbers++;
    session *s = &world->sessions[number];
    s->is_overwrite = what == OVERWRITES;
    s->has_begun = 1;
    int rc = append_session(world, writer, number, error);
    int close_rc = facpool_writer_close(writer, rc ? NULL : error);
    s->is_closed = !rc && !close_rc;
    return rc ? rc : close_rc;
}

static int rewrite(deed what, facpool_error *error)
{
    const char *path = world->path;
    facpool_backup_options to = storage_options(path, FACPOOL_MODE_OVERWRITE);
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    if (what == COMPACTS)
        return facpool_backup_compact(path, error);
    return what == CONVERTS ? facpool_backup_convert(&path, 1, &to, error)
                            : facpool_backup_repair(path, &report, error);
}

/* Being refused is right where it says why. */
static void check_refusal(int rc, deed what, const facpool_error *error)
{
    bool is_there = rc == FACPOOL_E_EXISTS && what == CREATES;
    if ((rc != FACPOOL_E_BUSY && !is_there) || !strstr(error->message, world->path))
        tell_wrong(world, "%s gave %d: %s", deed_names[what], rc, error->message);
    n_refused++;
}

static void intrude(void)
{
    deed what = intruder;
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_writer *writer = NULL;
    intruder = 0;
    int rc = open_writer(&writer, what, &error);
    if (rc)
        check_refusal(rc, what, &error);
    else if ((rc = write_session(writer, what, &error)))
        tell_wrong(world, "the intruder's session gave %d: %s", rc, error.message);
}

/* Only opening is intruded on: what comes after it has the lock. */
static void do_deed(deed what)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_writer *writer = NULL;
    int rc = what < COMPACTS ? open_writer(&writer, what, &error) : rewrite(what, &error);
    intruder = 0;
    if (rc)
        check_refusal(rc, what, &error);
    else if (writer && (rc = write_session(writer, what, &error)))
        tell_wrong(world, "the session gave %d: %s", rc, error.message);
}

/* ------------------------------------------------------------------ every point */

static void begin(beginning from)
{
    static const uint8_t zeros[5000];
    if (from == A_BACKUP)
        do_deed(RESUMES);
    if (from == ZEROS)
        CHECK(file_write(world->path, zeros, sizeof zeros));
}

/* Returns false where there is no k-th call any more. */
static bool try_point(deed what, deed other, beginning from, unsigned k)
{
    memset(world, 0, sizeof *world);
    world->seed = k * 100 + (unsigned)what * 10 + (unsigned)other;
    snprintf(world->path, sizeof world->path, "%s", storage_path());
    begin(from);
    calls_before = k;
    intruder = other;
    do_deed(what);
    bool came = calls_before == 0;
    calls_before = 0;
    if (!world->is_wrong && world->n_numbers)
        check_end_of_race(world);
    if (world->is_wrong)
        printf("  %s: %s before call %u of %s, %s: %s\n", store->name, deed_names[other], k,
               deed_names[what], beginning_names[from], world->wrong);
    CHECK(!world->is_wrong);
    /* One of them always comes through, and of two creators only one. */
    CHECK(world->n_numbers > 0);
    if (what == CREATES && other == CREATES)
        CHECK_INT(world->n_numbers, 1);
    n_points += came;
    n_both += world->n_numbers == 2u + (from == A_BACKUP);
    unlink(world->path);
    return came;
}

static bool can_begin(deed what, beginning from)
{
    bool is_json = strcmp(store->suffix, ".jsonl") == 0;
    return from == NOTHING
               ? what < COMPACTS
               : from == A_BACKUP || (is_json && (what == RESUMES || what == OVERWRITES));
}

static void two_at_once_at_every_point(void)
{
    for (size_t i = 0; i < N_FILE_FORMATS; i++) {
        store = &storage_cases[i];
        for (int what = CREATES; what <= REPAIRS; what++)
            for (int other = CREATES; other <= OVERWRITES; other++)
                for (int from = NOTHING; from <= ZEROS; from++)
                    for (unsigned k = 1; can_begin((deed)what, (beginning)from) &&
                                         try_point((deed)what, (deed)other, (beginning)from, k);
                         k++)
                        ;
    }
    printf("  %u points, %u times both came through, %u refusals\n", n_points, n_both, n_refused);
    CHECK(n_points > 500 && n_both > 0 && n_refused > 0);
}

int main(void)
{
    if (!scratch_make("race-points") || !(world = new_race())) {
        printf("no folder or memory can be had\n");
        return EXIT_FAILURE;
    }
    RUN(two_at_once_at_every_point);
    scratch_remove();
    return TEST_END();
}
