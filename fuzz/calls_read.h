/* Readers and cursors of fuzz_calls.c, which stay open while other steps change the files: a reader
 * sees what was there at its last snapshot, a cursor what its reader saw when it was opened. */
#ifndef FP_FUZZ_CALLS_READ_H
#define FP_FUZZ_CALLS_READ_H

#include "calls_run.h"

#define N_READERS 3
#define N_CURSORS 3

typedef struct reader_slot {
    facpool_reader *reader;
    size_t files[N_FILES];
    size_t n_files;
    candidates rows[N_KEYS]; /* at the last snapshot */
} reader_slot;

typedef struct cursor_slot {
    facpool_cursor *cursor;
    question question;
} cursor_slot;

static reader_slot readers[N_READERS];
static cursor_slot cursors[N_CURSORS];

/* ------------------------------------------------------------------ readers and cursors */

/* What a reader sees of these files now; *code is an error that it must give, *may_fail one of a
 * file that has no rows yet. */
static inline void look_at_files(const size_t *at, size_t n, candidates *rows, bool *fails,
                                 bool *may_fail)
{
    *fails = *may_fail = false;
    for (size_t i = 0; i < n; i++) {
        const file_model *f = &files[at[i]];
        *fails = *fails || !f->exists;
        *may_fail = *may_fail || (f->user != NOBODY && is_lines(f));
        for (size_t key = 0; key < N_KEYS; key++) {
            if (i == 0)
                rows[key] = f->rows[key];
            else
                merge_files(&rows[key], &f->rows[key]);
        }
    }
}

static inline void check_opening(int rc, bool fails, bool may_fail, const facpool_error *err)
{
    if (rc == 0)
        REQUIRE(!fails, "a file is read that is not there");
    else
        REQUIRE((fails || may_fail) && (rc == FACPOOL_E_NOT_FOUND || rc == FACPOOL_E_UNSUPPORTED),
                "%d: %s", rc, err->message);
}

/* One to all files, each once, in some order. */
static inline size_t take_files(fuzz_bytes *b, size_t *at)
{
    uint8_t how = take_byte(b);
    size_t n = how < 160 ? 1 : 2 + how % 3, first = how / 3 % N_FILES;
    for (size_t i = 0; i < n; i++)
        at[i] = how % 2 ? (first + i) % N_FILES : (first + N_FILES - i) % N_FILES;
    return n;
}

static inline void open_reader(fuzz_bytes *b, reader_slot *r)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    const char *paths[N_FILES + 1];
    bool fails, may_fail;
    r->n_files = take_files(b, r->files);
    for (size_t i = 0; i < r->n_files; i++)
        paths[i] = files[r->files[i]].path;
    paths[r->n_files] = paths[0];
    if (take_rarely(b, 16)) {
        REQUIRE(facpool_reader_open(&r->reader, paths, r->n_files + 1, &err) == FACPOOL_E_INVALID,
                "a path is taken twice");
        REQUIRE(facpool_reader_open(&r->reader, paths, 0, &err) == FACPOOL_E_INVALID,
                "a reader of nothing");
    }
    look_at_files(r->files, r->n_files, r->rows, &fails, &may_fail);
    int rc = facpool_reader_open(&r->reader, paths, r->n_files, &err);
    check_opening(rc, fails, may_fail, &err);
    REQUIRE(!r->reader == (rc < 0), "a reader with %d", rc);
    if (rc)
        return;
    REQUIRE(facpool_reader_n_factors(r->reader) == N_FACTORS, "factors");
    for (size_t f = 0; f < N_FACTORS; f++)
        REQUIRE(strcmp(facpool_reader_factor_name(r->reader, f), factor_names[f]) == 0, "factors");
}

static inline void refresh_reader(reader_slot *r)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    candidates rows[N_KEYS];
    bool fails, may_fail;
    look_at_files(r->files, r->n_files, rows, &fails, &may_fail);
    int rc = facpool_reader_refresh(r->reader, &err);
    check_opening(rc, fails, may_fail, &err);
    if (!rc)
        memcpy(r->rows, rows, sizeof rows);
}

static inline void close_cursor(cursor_slot *c)
{
    facpool_cursor_free(c->cursor);
    c->cursor = NULL;
}

static inline void read_some(cursor_slot *c, size_t n)
{
    while (n-- > 0)
        if (!check_next(&c->question, c->cursor)) {
            close_cursor(c);
            return;
        }
}

static inline void ask(fuzz_bytes *b, facpool_reader *reader, const candidates *rows)
{
    facpool_error err = FACPOOL_ERROR_INIT;
    cursor_slot *c = &cursors[take_below(b, N_CURSORS)];
    close_cursor(c);
    take_question(b, &c->question, rows);
    int rc = facpool_query(reader, &c->question.filter, &c->cursor, &err);
    REQUIRE(rc == 0, "%s", err.message);
    read_some(c, take_below(b, 3) ? SIZE_MAX : take_byte(b) % 8);
}

static inline void step_reader(fuzz_bytes *b)
{
    reader_slot *r = &readers[take_below(b, N_READERS)];
    uint8_t what = take_byte(b);
    if (!r->reader)
        open_reader(b, r);
    else if (what < 60)
        refresh_reader(r);
    if (!r->reader)
        return;
    if (what < 240)
        return ask(b, r->reader, r->rows);
    facpool_reader_free(r->reader); /* cursors go on */
    r->reader = NULL;
}

static inline void step_cursor(fuzz_bytes *b)
{
    cursor_slot *c = &cursors[take_below(b, N_CURSORS)];
    uint8_t what = take_byte(b);
    if (!c->cursor)
        return;
    if (what < 230)
        read_some(c, what % 16);
    else
        close_cursor(c);
}

#endif
