/* The world of test_races.c: one store, and what its racers did to it, in memory that threads and
 * forked processes share. Each writer's session takes a number while it has the store open, so that
 * numbers follow one another as the writers did; it appends rows that tell its number. From that
 * anyone can say which rows the store must have, at the end and at any moment. */
#ifndef FP_RACE_WORLD_H
#define FP_RACE_WORLD_H

#include "storage_suite.h"

#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>

#define SESSIONS_MAX 2048
#define ROWS_MAX     8 /* of a session */
#define RACERS_MAX   6

typedef struct session {
    atomic_int has_begun;
    atomic_int is_overwrite;
    atomic_int is_closed; /* its rows are there for good */
} session;

typedef struct race {
    char path[300];
    uint64_t seed;
    uint32_t n_racers;
    int32_t n_sessions;  /* that are to be tried */
    atomic_uint n_ready; /* at the starting line */
    atomic_int tries_left;
    atomic_uint n_numbers; /* given to sessions */
    atomic_uint overwrites_begun;
    atomic_uint overwrites_done;
    atomic_int writers_left;
    atomic_uint n_busy, n_exists, n_looks, n_rewrites; /* how it went */
    atomic_int is_wrong;
    char wrong[700]; /* what was wrong first */
    session sessions[SESSIONS_MAX];
} race;

static inline race *new_race(void)
{
    void *memory =
        mmap(NULL, sizeof(race), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Racers can't use CHECK: their stacks are their own. */
static inline void tell_wrong(race *w, const char *format, ...)
{
    va_list args;
    if (atomic_exchange(&w->is_wrong, 1))
        return;
    va_start(args, format);
    vsnprintf(w->wrong, sizeof w->wrong, format, args);
    va_end(args);
}

/* All begin at once. */
static inline void wait_at_the_line(race *w)
{
    atomic_fetch_add(&w->n_ready, 1);
    while (atomic_load(&w->n_ready) < w->n_racers)
        sched_yield();
}

/* ------------------------------------------------------------------ rows */

static inline uint32_t rows_of(const race *w, uint32_t number)
{
    return 1 + (uint32_t)(mix_bits(w->seed ^ number) % ROWS_MAX);
}

static inline uint8_t all_rows_of(const race *w, uint32_t number)
{
    return (uint8_t)((1u << rows_of(w, number)) - 1);
}

static inline double race_factor(const race *w, uint32_t number, uint32_t row)
{
    return (double)(mix_bits(w->seed + number * ROWS_MAX + row) >> 12) / 1024;
}

static inline int append_session(const race *w, facpool_writer *writer, uint32_t number,
                                 facpool_error *error)
{
    static const char *const codes[ROWS_MAX] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    int64_t dates[ROWS_MAX];
    double factors[ROWS_MAX];
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = rows_of(w, number);
    for (uint32_t i = 0; i < rows.n; i++) {
        dates[i] = number;
        factors[i] = race_factor(w, number, i);
    }
    rows.dates = dates;
    rows.codes = codes;
    rows.factors = factors;
    return facpool_writer_append(writer, &rows, error);
}

/* Which rows of each session a snapshot has. */
typedef struct race_view {
    uint8_t rows[SESSIONS_MAX];
    uint32_t n;
} race_view;

static inline bool take_row(race *w, race_view *out, const facpool_row *row)
{
    uint32_t number = (uint32_t)row->date, i = (uint32_t)(row->code[0] - '0');
    if (row->date < 0 || row->date >= SESSIONS_MAX || i >= rows_of(w, number) || row->code[1] ||
        !w->sessions[number].has_begun) {
        tell_wrong(w, "(%lld, '%s') was never written", (long long)row->date, row->code);
        return false;
    }
    if (out->rows[number] & 1u << i) {
        tell_wrong(w, "(%lld, '%s') is there twice", (long long)row->date, row->code);
        return false;
    }
    if (!row->factors || row->factors[0] != race_factor(w, number, i)) {
        tell_wrong(w, "(%lld, '%s') has another value", (long long)row->date, row->code);
        return false;
    }
    out->rows[number] |= (uint8_t)(1u << i);
    out->n++;
    return true;
}

static inline bool read_view(race *w, facpool_reader *reader, race_view *out)
{
    facpool_error error = FACPOOL_ERROR_INIT;
    facpool_cursor *cursor = NULL;
    facpool_filter filter = FACPOOL_FILTER_INIT;
    facpool_row row = FACPOOL_ROW_INIT;
    memset(out, 0, sizeof *out);
    filter.statuses = FACPOOL_STATUS_ALL;
    int rc = facpool_query(reader, &filter, &cursor, &error);
    while (!rc && (rc = facpool_cursor_next(cursor, &row, &error)) > 0)
        rc = take_row(w, out, &row) ? 0 : -1;
    facpool_cursor_free(cursor);
    if (rc)
        tell_wrong(w, "a reader got %d: %s", rc, error.message);
    return rc == 0;
}

/* ------------------------------------------------------------------ what must be there */

/* The sessions whose rows a closed store has: from the last overwrite on. */
static inline uint32_t first_that_counts(const race *w)
{
    uint32_t first = 0;
    for (uint32_t number = 0; number < w->n_numbers; number++)
        if (w->sessions[number].is_overwrite)
            first = number;
    return first;
}

/* Rows of sessions before an overwrite and behind it are never seen together. */
static inline void check_one_generation(race *w, const race_view *view)
{
    bool seen = false, overwritten = false;
    for (uint32_t number = 0; number < SESSIONS_MAX; number++) {
        overwritten = overwritten || (seen && w->sessions[number].is_overwrite);
        if (view->rows[number] && overwritten)
            tell_wrong(w, "rows of session %u are beside those that it had overwritten", number);
        seen = seen || view->rows[number];
    }
}

/* Sessions first .. end - 1, closed before the look, are seen whole. */
static inline void check_whole(race *w, const race_view *view, const uint8_t *was_closed,
                               uint32_t first)
{
    for (uint32_t number = first; number < SESSIONS_MAX; number++)
        if (was_closed[number] && view->rows[number] != all_rows_of(w, number))
            tell_wrong(w, "session %u was closed, and has rows %x of %x", number,
                       view->rows[number], all_rows_of(w, number));
}

/* At the end, when nobody writes any more: all rows that count, and no other. */
static inline void check_end_of_race(race *w)
{
    static race_view view;
    facpool_reader *reader = storage_reader(w->path);
    uint32_t first = first_that_counts(w);
    bool good = read_view(w, reader, &view);
    facpool_reader_free(reader);
    for (uint32_t number = 0; good && number < SESSIONS_MAX; number++) {
        bool counts = number >= first && w->sessions[number].is_closed;
        uint8_t wanted = counts ? all_rows_of(w, number) : 0;
        if (view.rows[number] != wanted)
            tell_wrong(w, "in the end session %u has rows %x, not %x", number, view.rows[number],
                       wanted);
    }
}

#endif
