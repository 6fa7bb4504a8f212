/* The ledger of a crash test: what was submitted, and what the library had promised, at every
 * moment of a recording. The promises are those of the public header: rows reported written outlast
 * the process, rows reported durable outlast the power, a file that was opened keeps its name. Used
 * by test_crash_states.c. */
#ifndef FP_CRASH_LEDGER_H
#define FP_CRASH_LEDGER_H

#include "crash_world.h"

typedef struct ledger {
    uint8_t submitted[TASKS_MAX];            /* bits: 1 << row_version */
    uint8_t times[TASKS_MAX][ROW_FINAL + 1]; /* that it was, by row_version */
    uint8_t written[TASKS_MAX];              /* row_version that a killed process must leave */
    uint8_t durable[TASKS_MAX];              /* and a power loss */
    bool is_named;                           /* the path leads to the new file, for good */
} ledger;

typedef enum entry_kind { ENTRY_SUBMITTED, ENTRY_WRITTEN, ENTRY_DURABLE, ENTRY_NAMED } entry_kind;

typedef struct ledger_entry {
    size_t at; /* operations that had been completed */
    entry_kind kind;
    uint32_t task;
    row_version version;
} ledger_entry;

/* A ledger in time. Starts zeroed. */
typedef struct ledger_history {
    ledger start;
    ledger_entry *entries;
    size_t n;
    size_t capacity;
} ledger_history;

/* Where entries go now; NULL: nowhere. */
static ledger_history *keeping;

static inline void enter(entry_kind kind, size_t task, row_version version)
{
    if (!keeping)
        return;
    if (keeping->n == keeping->capacity) {
        keeping->capacity = keeping->capacity ? keeping->capacity * 2 : 256;
        keeping->entries = realloc(keeping->entries, keeping->capacity * sizeof *keeping->entries);
    }
    keeping->entries[keeping->n++] = (ledger_entry){disk_now(), kind, (uint32_t)task, version};
}

static inline void ledger_free(ledger_history *history)
{
    free(history->entries);
    *history = (ledger_history){0};
}

static inline void raise_to(uint8_t *version, row_version to)
{
    if (*version < (uint8_t)to)
        *version = (uint8_t)to;
}

static inline void submit(ledger *l, size_t task, row_version version)
{
    l->submitted[task] |= (uint8_t)(1u << version);
    if (l->times[task][version] < UINT8_MAX)
        l->times[task][version]++;
}

static inline void take_entry(ledger *l, const ledger_entry *entry)
{
    switch (entry->kind) {
    case ENTRY_SUBMITTED:
        submit(l, entry->task, entry->version);
        break;
    case ENTRY_DURABLE:
        raise_to(&l->durable[entry->task], entry->version);
        raise_to(&l->written[entry->task], entry->version);
        break;
    case ENTRY_WRITTEN:
        raise_to(&l->written[entry->task], entry->version);
        break;
    case ENTRY_NAMED:
        l->is_named = true;
        break;
    }
}

/* Rows of a file that is there when a recording begins. */
static inline void ledger_of_rows(ledger *l, const found_rows *rows, bool are_durable)
{
    for (size_t i = 0; i < world.n; i++) {
        if (!rows->version[i])
            continue;
        if (!l->times[i][rows->version[i]])
            submit(l, i, rows->version[i]);
        raise_to(&l->written[i], rows->version[i]);
        if (are_durable)
            raise_to(&l->durable[i], rows->version[i]);
    }
}

/* A row that is not ok gives way to a later one of its task as soon as that one's key can be read,
 * also where the rest of it is damaged, which is reported. */
static inline bool may_be_hidden(const found_rows *rows, size_t task, row_version promised)
{
    return rows->is_damaged &&
           (promised == ROW_FAILED || status_of(1, task, 1) != FACPOOL_STATUS_OK);
}

/* Whether a row of this version can be in a file behind another of its task: a failure behind any,
 * a final row behind a final one, as nothing else follows it. */
static inline bool may_be_behind_another(const ledger *l, size_t task, row_version version)
{
    const uint8_t *times = l->times[task];
    return times[ROW_FINAL] + (version == ROW_FAILED ? times[ROW_FAILED] : 0) > 1;
}

/* The rows agree with what was promised, and are such as were submitted. */
static inline void check_promises(const ledger *l, const found_rows *rows, bool was_killed)
{
    const uint8_t *promised = was_killed ? l->written : l->durable;
    for (size_t i = 0; i < world.n; i++) {
        if (rows->version[i])
            CHECK(l->submitted[i] & (1u << rows->version[i]));
        if (rows->version[i] >= promised[i] || may_be_hidden(rows, i, promised[i]))
            continue;
        printf("  row of task %zu (%lld, %s) was promised: version %d, there is %d\n", i,
               (long long)date_of(i), code_of(i), promised[i], rows->version[i]);
        CHECK(rows->version[i] >= promised[i]);
    }
}

#endif
