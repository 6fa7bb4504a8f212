/* A store in memory behind a facpool_sink_type: it keeps rows as any store of a user's own would,
 * writes down which of its functions are called in which order, checks what it is given, and can be
 * told to fail. A vault outlives its states, as a database would; it is the `user` of the options.
 */
#ifndef FP_TEST_VAULT_SINK_H
#define FP_TEST_VAULT_SINK_H

#include <facpool/sink.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VAULT_FACTORS 4
#define VAULT_LOG     4096

typedef struct vault_row {
    int64_t date;
    int64_t timestamp;
    double factors[VAULT_FACTORS];
    int32_t failure_code;
    uint8_t status;
    char code[32];
    char message[64];
} vault_row;

/* Rows in columns, for reads: a snapshot never changes. */
typedef struct vault_snapshot {
    struct vault *vault;
    vault_row *rows; /* in key order */
    size_t n;
    size_t n_blocks;
    size_t block_rows;
} vault_snapshot;

typedef struct vault {
    pthread_mutex_t lock; /* guards what is not atomic */

    /* what is in it */
    bool made;
    size_t n_factors;
    char names[VAULT_FACTORS][32];
    char tag[64];
    vault_row *rows;
    size_t n;
    size_t capacity;

    /* how it behaves */
    char fails_at;       /* the letter of a function that fails; 0: none */
    size_t fails_after;  /* ... once it has been called so often */
    bool fails_silently; /* with a code alone */
    int odd_code;        /* which it then returns, whatever it says; 0: none */
    bool compares_nothing;
    bool counts_only;
    bool hides_codes; /* blocks do not say which codes they have */
    bool by_column;   /* reads give factor columns, not rows */
    size_t block_rows;
    bool meets; /* the first appends wait until two are at it */

    /* what was seen */
    char log[VAULT_LOG]; /* a letter a call: see the functions */
    size_t n_log;
    const char *wrong; /* what was given that may not be */
    size_t most_rows;  /* in one append */
    atomic_int writing_states;
    atomic_size_t overlaps; /* calls that met another on the same state */
    atomic_size_t reads;
    atomic_size_t releases;
    atomic_int snapshots; /* that are alive */
    size_t inside;
    bool met;
    pthread_cond_t meeting;
    char path[256]; /* as last given; "" for NULL */
    int32_t durability;
    int32_t mode;
} vault;

typedef struct vault_state {
    vault *vault;
    bool writes;
    bool locked;
    atomic_int inside;
} vault_state;

static inline void vault_init(vault *v)
{
    memset(v, 0, sizeof *v);
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->meeting, NULL);
    v->block_rows = 50;
}

static inline void vault_destroy(vault *v)
{
    free(v->rows);
    pthread_cond_destroy(&v->meeting);
    pthread_mutex_destroy(&v->lock);
}

static inline void vault_forget_log(vault *v)
{
    v->n_log = 0;
    memset(v->log, 0, sizeof v->log);
}

/* Writes the call down. Nonzero where it is to fail. */
static inline int vault_note(vault *v, char letter, const char *what, facpool_error *err)
{
    pthread_mutex_lock(&v->lock);
    if (v->n_log + 1 < sizeof v->log)
        v->log[v->n_log++] = letter;
    bool fails = v->fails_at == letter && v->fails_after == 0;
    if (v->fails_at == letter && v->fails_after)
        v->fails_after--;
    bool silently = v->fails_silently;
    int odd_code = v->odd_code;
    pthread_mutex_unlock(&v->lock);
    if (fails && odd_code) {
        facpool_sink_fail(err, odd_code, "what no one may say");
        return odd_code;
    }
    if (fails && !silently)
        return facpool_sink_fail(err, FACPOOL_E_IO, "the vault's %s was told to fail, code %d",
                                 what, 42);
    return fails ? FACPOOL_E_IO : 0;
}

static inline int vault_compare(const void *a, const void *b)
{
    const vault_row *x = a, *y = b;
    if (x->date != y->date)
        return x->date < y->date ? -1 : 1;
    return strcmp(x->code, y->code);
}

/* ------------------------------------------------------------------ writing: o open, l lock, a
 * append, y sync, c close */

static inline int vault_match(const vault *v, const facpool_sink_request *r, facpool_error *err)
{
    bool same = v->n_factors == r->n_factors && strcmp(v->tag, r->tag ? r->tag : "") == 0;
    for (size_t f = 0; same && f < v->n_factors; f++)
        same = strcmp(v->names[f], r->factor_names[f]) == 0;
    if (same || v->compares_nothing)
        return 0;
    return facpool_sink_fail(err, FACPOOL_E_MISMATCH,
                             "the vault holds %zu factors with tag '%s', not %zu with '%s'",
                             v->n_factors, v->tag, r->n_factors, r->tag ? r->tag : "");
}

static inline void vault_make(vault *v, const facpool_sink_request *r)
{
    v->made = true;
    v->n = 0;
    v->n_factors = r->n_factors;
    snprintf(v->tag, sizeof v->tag, "%s", r->tag ? r->tag : "");
    for (size_t f = 0; f < r->n_factors && f < VAULT_FACTORS; f++)
        snprintf(v->names[f], sizeof v->names[f], "%s", r->factor_names[f]);
}

static inline int vault_enter(vault *v, const facpool_sink_request *r,
                              facpool_sink_opening *opening, facpool_error *err)
{
    if (r->size != sizeof *r || opening->size != sizeof *opening || opening->existed)
        v->wrong = "a request or an opening that is not as it should be";
    snprintf(v->path, sizeof v->path, "%s", r->path ? r->path : "");
    if (r->purpose == FACPOOL_SINK_READ)
        return v->made ? 0 : facpool_sink_fail(err, FACPOOL_E_NOT_FOUND, "the vault is empty");
    v->durability = r->durability;
    v->mode = r->mode;
    if (v->made && r->mode == FACPOOL_MODE_CREATE)
        return facpool_sink_fail(err, FACPOOL_E_EXISTS, "the vault is in use");
    if (!v->made || r->mode == FACPOOL_MODE_OVERWRITE) {
        vault_make(v, r);
        return 0;
    }
    opening->existed = 1;
    return vault_match(v, r, err);
}

static inline int vault_open(void **state, const facpool_sink_request *r,
                             facpool_sink_opening *opening, facpool_error *err)
{
    vault *v = r->user;
    int rc = vault_note(v, r->purpose == FACPOOL_SINK_READ ? 'r' : 'o', "open", err);
    if (rc)
        return rc;
    pthread_mutex_lock(&v->lock);
    rc = vault_enter(v, r, opening, err);
    pthread_mutex_unlock(&v->lock);
    if (rc)
        return rc;
    vault_state *s = calloc(1, sizeof *s);
    s->vault = v;
    s->writes = r->purpose == FACPOOL_SINK_WRITE;
    *state = s;
    return 0;
}

static inline int vault_lock(void *state, facpool_error *err)
{
    vault_state *s = state;
    int rc = vault_note(s->vault, 'l', "lock", err);
    if (rc)
        return rc;
    if (atomic_fetch_add(&s->vault->writing_states, 1)) {
        atomic_fetch_sub(&s->vault->writing_states, 1);
        return facpool_sink_fail(err, FACPOOL_E_BUSY, "the vault has a writer");
    }
    s->locked = true;
    return 0;
}

/* Around calls of one state: counts those that meet. */
static inline void vault_begin(vault_state *s)
{
    if (atomic_fetch_add(&s->inside, 1))
        atomic_fetch_add(&s->vault->overlaps, 1);
    for (int i = 0; i < 3; i++)
        sched_yield(); /* so that there is time to meet */
}

static inline void vault_end(vault_state *s)
{
    atomic_fetch_sub(&s->inside, 1);
}

static inline const char *vault_check(const vault *v, const facpool_sink_batch *b)
{
    if (b->size != sizeof *b || b->n_rows == 0 || b->n_rows > 65536 ||
        b->n_factors != v->n_factors || !b->dates || !b->timestamps || !b->code_ids)
        return "a batch without what every batch has";
    if (b->all_ok && (b->statuses || b->failure_codes || b->message_offsets || !b->factors))
        return "a batch of ok rows with columns of others, or without factors";
    if (!b->all_ok && (!b->statuses || !b->failure_codes || !b->message_bytes || b->factors))
        return "a batch of other rows with factors, or without their own columns";
    for (size_t i = 0; i < b->n_rows; i++) {
        const char *code = facpool_sink_code(b, i);
        if (b->code_ids[i] >= b->n_codes || strlen(code) != facpool_sink_code_length(b, i))
            return "a code that is not in the batch";
        if (!b->all_ok && (b->statuses[i] < 2 || b->statuses[i] > 5))
            return "a status that can't be";
        if (i && (b->dates[i] < b->dates[i - 1] || (b->dates[i] == b->dates[i - 1] &&
                                                    strcmp(facpool_sink_code(b, i - 1), code) > 0)))
            return "rows that are not in order";
    }
    return NULL;
}

static inline vault_row *vault_find(vault *v, int64_t date, const char *code)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->rows[i].date == date && strcmp(v->rows[i].code, code) == 0)
            return &v->rows[i];
    return NULL;
}

static inline void vault_put(vault *v, const facpool_sink_batch *b, size_t i)
{
    const char *code = facpool_sink_code(b, i);
    vault_row *row = vault_find(v, b->dates[i], code);
    if (row && row->status == FACPOOL_STATUS_OK)
        v->wrong = "a row for a key that has an ok row";
    if (!row) {
        if (v->n == v->capacity) {
            v->capacity = v->capacity * 2 + 64;
            v->rows = realloc(v->rows, v->capacity * sizeof *v->rows);
        }
        row = &v->rows[v->n++];
    }
    memset(row, 0, sizeof *row);
    row->date = b->dates[i];
    row->timestamp = b->timestamps[i];
    row->status = (uint8_t)facpool_sink_status(b, i);
    row->failure_code = b->all_ok ? 0 : b->failure_codes[i];
    snprintf(row->code, sizeof row->code, "%s", code);
    snprintf(row->message, sizeof row->message, "%s", facpool_sink_message(b, i));
    for (size_t f = 0; b->all_ok && f < b->n_factors; f++)
        row->factors[f] = b->factors[f][i];
}

/* Until a second append is there, or none has come for long. */
static inline void vault_meet(vault *v)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    v->inside++;
    v->met = v->met || v->inside > 1;
    pthread_cond_broadcast(&v->meeting);
    while (!v->met && pthread_cond_timedwait(&v->meeting, &v->lock, &deadline) == 0)
        ;
    v->inside--;
}

static inline int vault_append(void *state, const facpool_sink_batch *b, facpool_error *err)
{
    vault_state *s = state;
    vault *v = s->vault;
    vault_begin(s);
    int rc = vault_note(v, 'a', "append", err);
    pthread_mutex_lock(&v->lock);
    const char *wrong = vault_check(v, b);
    v->wrong = wrong ? wrong : v->wrong;
    v->most_rows = b->n_rows > v->most_rows ? b->n_rows : v->most_rows;
    if (v->meets && !v->met)
        vault_meet(v);
    for (size_t i = 0; !rc && !wrong && !v->counts_only && i < b->n_rows; i++)
        vault_put(v, b, i);
    pthread_mutex_unlock(&v->lock);
    vault_end(s);
    return rc;
}

static inline int vault_sync(void *state, facpool_error *err)
{
    vault_state *s = state;
    vault_begin(s);
    int rc = vault_note(s->vault, 'y', "sync", err);
    vault_end(s);
    return rc;
}

/* q: a state that reads is closed */
static inline int vault_close(void *state, facpool_error *err)
{
    vault_state *s = state;
    vault_begin(s);
    int rc = vault_note(s->vault, s->writes ? 'c' : 'q', "close", err);
    if (s->locked)
        atomic_fetch_sub(&s->vault->writing_states, 1);
    free(s);
    return rc;
}

/* ------------------------------------------------------------------ reading: s scan */

/* One read's columns. */
typedef struct vault_columns {
    int64_t *dates;
    int64_t *timestamps;
    const char **codes;
    const char **messages;
    uint8_t *statuses;
    int32_t *failure_codes;
    double *factors;
    const double **factor_columns;
} vault_columns;

static inline size_t vault_rows_in(const vault_snapshot *s, size_t block)
{
    size_t left = s->n - block * s->block_rows;
    return left < s->block_rows ? left : s->block_rows;
}

static inline int vault_read(void *state, size_t block, facpool_rows *rows, facpool_error *err)
{
    vault_snapshot *s = state;
    vault *v = s->vault;
    (void)err;
    atomic_fetch_add(&v->reads, 1);
    const vault_row *from = s->rows + block * s->block_rows;
    size_t n = vault_rows_in(s, block), n_factors = v->n_factors;
    vault_columns c = {calloc(n, sizeof *c.dates),
                       calloc(n, sizeof *c.timestamps),
                       calloc(n, sizeof *c.codes),
                       calloc(n, sizeof *c.messages),
                       calloc(n, sizeof *c.statuses),
                       calloc(n, sizeof *c.failure_codes),
                       calloc(n * n_factors, sizeof(double)),
                       calloc(n_factors, sizeof(double *))};
    for (size_t k = 0; k < n; k++) {
        size_t i = n - 1 - k; /* any order will do */
        c.dates[k] = from[i].date;
        c.timestamps[k] = from[i].timestamp;
        c.codes[k] = from[i].code;
        c.messages[k] = from[i].message[0] ? from[i].message : NULL;
        c.statuses[k] = from[i].status;
        c.failure_codes[k] = from[i].failure_code;
        for (size_t f = 0; f < n_factors; f++)
            c.factors[v->by_column ? f * n + k : k * n_factors + f] = from[i].factors[f];
    }
    for (size_t f = 0; f < n_factors; f++)
        c.factor_columns[f] = c.factors + f * n;
    rows->n = n;
    rows->dates = c.dates;
    rows->codes = c.codes;
    rows->timestamps = c.timestamps;
    rows->statuses = c.statuses;
    rows->failure_codes = c.failure_codes;
    rows->messages = c.messages;
    rows->factors = v->by_column ? NULL : c.factors;
    rows->factor_columns = c.factor_columns;
    return 0;
}

static inline void vault_release(void *state, size_t block, facpool_rows *rows)
{
    vault_snapshot *s = state;
    (void)block;
    atomic_fetch_add(&s->vault->releases, 1);
    free((void *)rows->dates);
    free((void *)rows->timestamps);
    free((void *)rows->codes);
    free((void *)rows->messages);
    free((void *)rows->statuses);
    free((void *)rows->failure_codes);
    free((void *)rows->factor_columns[0]);
    free((void *)rows->factor_columns);
}

static inline void vault_free_snapshot(void *state)
{
    vault_snapshot *s = state;
    atomic_fetch_sub(&s->vault->snapshots, 1);
    free(s->rows);
    free(s);
}

static inline void vault_describe(const vault_snapshot *s, size_t block, facpool_source_block *to)
{
    const vault_row *from = s->rows + block * s->block_rows;
    size_t n = vault_rows_in(s, block);
    *to = (facpool_source_block){.n_rows = (uint32_t)n,
                                 .date_min = from[0].date,
                                 .date_max = from[n - 1].date,
                                 .code_min = from[0].code,
                                 .code_max = from[0].code};
    for (size_t i = 0; i < n; i++) {
        to->status_rows[from[i].status]++;
        to->code_min = strcmp(from[i].code, to->code_min) < 0 ? from[i].code : to->code_min;
        to->code_max = strcmp(from[i].code, to->code_max) > 0 ? from[i].code : to->code_max;
    }
    if (s->vault->hides_codes)
        to->code_min = to->code_max = NULL;
}

static inline int vault_scan(void *state, facpool_source *previous, facpool_source **out,
                             facpool_error *err)
{
    vault_state *state_of = state;
    vault *v = state_of->vault;
    (void)previous;
    vault_begin(state_of);
    int rc = vault_note(v, 's', "scan", err);
    vault_end(state_of);
    if (rc)
        return rc;
    const char *names[VAULT_FACTORS];
    vault_snapshot *s = calloc(1, sizeof *s);
    pthread_mutex_lock(&v->lock);
    s->vault = v;
    s->n = v->n;
    s->block_rows = v->block_rows;
    s->n_blocks = (s->n + s->block_rows - 1) / s->block_rows;
    s->rows = malloc((s->n + 1) * sizeof *s->rows);
    memcpy(s->rows, v->rows ? v->rows : s->rows, s->n * sizeof *s->rows);
    pthread_mutex_unlock(&v->lock);
    qsort(s->rows, s->n, sizeof *s->rows, vault_compare);
    facpool_source_block *blocks = calloc(s->n_blocks + 1, sizeof *blocks);
    for (size_t b = 0; b < s->n_blocks; b++)
        vault_describe(s, b, &blocks[b]);
    for (size_t f = 0; f < v->n_factors; f++)
        names[f] = v->names[f];
    facpool_source_options o = FACPOOL_SOURCE_OPTIONS_INIT;
    o.name = "vault";
    o.n_factors = v->n_factors;
    o.factor_names = names;
    o.tag = v->tag;
    o.n_blocks = s->n_blocks;
    o.blocks = blocks;
    o.read = vault_read;
    o.release = vault_release;
    o.free = vault_free_snapshot;
    o.state = s;
    atomic_fetch_add(&v->snapshots, 1);
    rc = facpool_source_new(out, &o, err);
    free(blocks);
    return rc;
}

static const facpool_sink_type vault_type = {
    .size = sizeof(facpool_sink_type),
    .name = "vault",
    .open = vault_open,
    .append = vault_append,
    .sync = vault_sync,
    .close = vault_close,
    .scan = vault_scan,
    .lock = vault_lock,
};

#endif
