/* The judge of a crash test: what a reader, verify and a resumed run must find in a state that a
 * crash left, given the ledger of that moment. Used by test_crash_states.c. */
#ifndef FP_CRASH_ORACLE_H
#define FP_CRASH_ORACLE_H

#include "crash_work.h"

/* ------------------------------------------------------------------ what a case is about */

typedef enum scenario {
    RUN_CREATES,
    RUN_RESUMES,
    JOB_CREATES,
    JOB_RESUMES,
    WRITER_CREATES,
    WRITER_RESUMES,
    RUN_OVERWRITES,
    COMPACT,
    CONVERT,
    REPAIR,
    SCENARIOS
} scenario;

static const char *const scenario_names[SCENARIOS] = {
    "a run creates",    "a run resumes",    "a job creates", "a job resumes", "a writer creates",
    "a writer resumes", "a run overwrites", "compact",       "convert",       "repair",
};

typedef struct crash_case {
    scenario scenario;
    bool had_old;     /* a whole file of generation 0 was there before */
    found_rows truth; /* what the recording ended with */
} crash_case;

static crash_case current;

static uint64_t n_given_up;      /* states whose damage was given up aside */
static uint64_t n_came_to_light; /* rows in them that no reader had given */

/* A state, and how it came to be. */
typedef struct crash_moment {
    crash_kind kind;
    unsigned depth;      /* crashes before this one: during recovery */
    bool power_was_lost; /* by this one, or one before */
    ledger ledger;
} crash_moment;

typedef enum found_file { NO_FILE, OLD_FILE, NEW_FILE } found_file;

/* Damage within a file, below rows that are good, is what these leave: nothing was synced, or there
 * is no place to note what was. Rows that were durable are there all the same. */
static inline bool may_be_damaged(const crash_moment *m)
{
    return m->power_was_lost &&
           (world.durability == FACPOOL_DURABILITY_NONE || world.format == FORMAT_JSON);
}

/* ------------------------------------------------------------------ reading */

static inline void check_verify(const crash_moment *m, const found_rows *rows)
{
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    int rc = facpool_backup_verify(world.path, &report, &err);
    if (rows->rc) {
        CHECK_INT(rc, rows->rc);
    } else if (rc == FACPOOL_E_CORRUPT) {
        CHECK(may_be_damaged(m));
        CHECK(report.damaged_blocks > 0);
    } else {
        CHECK_OK(rc, err);
        CHECK(!rows->is_damaged);
        CHECK(report.rows >= rows->n);
    }
}

/* All rows that a run of a generation ends with. */
static inline void check_complete(const found_rows *rows, int generation)
{
    CHECK_INT(rows->rc, 0);
    CHECK(rows->may_be[generation] && !rows->is_damaged);
    for (size_t i = 0; i < world.n; i++)
        CHECK_INT(rows->version[i], version_of(status_of(generation, i, 1)));
}

/* Recovered rows are the very rows that were stored, time and all. */
static inline void check_stamps(const found_rows *rows, const found_rows *truth)
{
    for (size_t i = 0; i < world.n; i++)
        if (rows->version[i] == ROW_FINAL && truth->version[i] == ROW_FINAL)
            CHECK_INT(rows->stamps[i], truth->stamps[i]);
}

static inline bool nothing_is_promised(const ledger *l)
{
    for (size_t i = 0; i < world.n; i++)
        if (l->written[i] || l->durable[i])
            return false;
    return true;
}

/* A file that can't be opened: only one of lines, that is its rows, while none was promised. */
static inline void check_unreadable(const crash_moment *m, const found_rows *rows)
{
    CHECK_INT(world.format, FORMAT_JSON);
    CHECK(rows->rc == FACPOOL_E_UNSUPPORTED || rows->rc == FACPOOL_E_CORRUPT);
    check_promises(&m->ledger, rows, is_kill(m->kind));
}

/* Looks at what the crash left under the name, and compares it with the ledger. */
static inline found_file judge(const crash_moment *m, found_rows *rows)
{
    const ledger *l = &m->ledger;
    read_rows(world.path, rows);
    check_verify(m, rows);
    if (rows->rc == FACPOOL_E_NOT_FOUND) {
        CHECK(!l->is_named && !current.had_old);
        return NO_FILE;
    }
    if (rows->rc) {
        check_unreadable(m, rows);
        return NEW_FILE;
    }
    if (current.had_old && !l->is_named && rows->may_be[0] && rows->n == world.n) {
        check_complete(rows, 0);
        return OLD_FILE;
    }
    CHECK(rows->may_be[1]);
    check_promises(l, rows, is_kill(m->kind));
    if (m->depth == 0)
        check_stamps(rows, &current.truth);
    return NEW_FILE;
}

/* ------------------------------------------------------------------ recovering */

/* What was interrupted is done again. Returns whether the file may be another one now. */
static inline bool do_again(const crash_moment *m, found_file file)
{
    switch (current.scenario) {
    case COMPACT:
        if (may_be_damaged(m))
            return false; /* is refused where a block is damaged */
        work_compact();
        return true;
    case CONVERT:
        if (file == NEW_FILE)
            return false;
        work_convert(file == OLD_FILE);
        return true;
    case REPAIR:
        work_repair();
        return true;
    default:
        return false;
    }
}

static inline void check_result(const facpool_result *result)
{
    CHECK_OK(facpool_result_load(result, &err), err);
    const uint8_t *status = facpool_result_status(result);
    for (size_t i = 0; i < world.n; i++)
        CHECK_INT(status[i], status_of(1, i, 1));
    for (size_t f = 0; f < world.n_factors; f++) {
        const double *values = facpool_result_factor(result, f);
        for (size_t i = 0; i < world.n; i++) {
            double expected = status[i] == FACPOOL_STATUS_OK ? factor_of(1, i, f) : (double)NAN;
            CHECK(memcmp(&values[i], &expected, sizeof expected) == 0);
        }
    }
}

static inline void check_report(const facpool_result *result, const crash_run *run)
{
    facpool_report report = FACPOOL_REPORT_INIT;
    CHECK_OK(facpool_result_report(result, &report, &err), err);
    CHECK_INT(report.resumed, run->before->n_final);
    CHECK_INT(report.rows_written, run->n_called);
    if (world.durability != FACPOOL_DURABILITY_NONE)
        CHECK_INT(report.rows_durable, run->n_called);
    enter_rows(run, ENTRY_WRITTEN, &(uint32_t){0}, report.rows_written);
    enter_rows(run, ENTRY_DURABLE, &(uint32_t){0}, report.rows_durable);
}

/* Nothing that was recovered is computed again, and all else is. */
static inline void check_calls(const crash_run *run)
{
    for (size_t i = 0; i < world.n; i++) {
        bool is_left = run->before->version[i] != ROW_FINAL;
        if (run->times[i] != is_left)
            printf("  task %zu (%lld, %s) had version %d\n", i, (long long)date_of(i), code_of(i),
                   run->before->version[i]);
        CHECK_INT(run->times[i], is_left);
    }
}

/* What a damaged file holds when its damage is given up, and nothing is computed: found out on a
 * disk that is put back as it was, without a trace in the recording or the ledger. */
static inline void give_up_damage_aside(found_rows *out)
{
    static disk_image as_it_was;
    facpool_job *job = NULL;
    facpool_backup_options backup = backup_options(world.path, FACPOOL_MODE_RESUME);
    facpool_run_options options = FACPOOL_RUN_OPTIONS_INIT;
    options.n_factors = world.n_factors;
    options.workers = 1;
    options.results = FACPOOL_RESULTS_DROP;
    options.backup = &backup;
    disk_recording *recording = disk_record(NULL);
    disk_save(&as_it_was);
    disk_set_clock(0);
    CHECK_OK(facpool_job_open(&job, world.tasks, &options, &err), err);
    int rc = facpool_job_finish(job, NULL, &err);
    CHECK(rc == 0 || rc == FACPOOL_E_CANCELLED);
    read_rows(world.path, out);
    disk_load(&as_it_was);
    disk_record(recording);
}

/* A damaged file may hold a row twice, where what gave one of them up is lost: readers leave a row
 * out when a later one of its task is damaged, and who gives that one up has the other. Nothing
 * else comes to light, nothing that was read goes, and every promise is kept without an excuse. */
static inline void check_given_up(const crash_moment *m, const found_rows *found,
                                  const found_rows *kept)
{
    CHECK_INT(kept->rc, 0);
    CHECK(kept->may_be[1] && !kept->is_damaged);
    check_promises(&m->ledger, kept, is_kill(m->kind));
    check_stamps(found, kept);
    if (m->depth == 0)
        check_stamps(kept, &current.truth);
    for (size_t i = 0; i < world.n; i++) {
        CHECK(kept->version[i] >= found->version[i]);
        if (kept->version[i] > found->version[i]) {
            n_came_to_light++;
            CHECK(may_be_behind_another(&m->ledger, i, (row_version)kept->version[i]));
        }
    }
}

/* The file after its recovery is as if nothing had ever happened; blocks that were damaged, and
 * whose tasks were run again, stay in it, and verify goes on naming them. */
static inline void check_recovered(const crash_moment *m, const found_rows *before)
{
    found_rows after;
    facpool_verify_report report = FACPOOL_VERIFY_REPORT_INIT;
    read_rows(world.path, &after);
    check_complete(&after, 1);
    check_stamps(before, &after);
    int rc = facpool_backup_verify(world.path, &report, &err);
    if (rc != FACPOOL_E_CORRUPT || !may_be_damaged(m) || world.format == FORMAT_JSON)
        CHECK_OK(rc, err);
    CHECK_INT(report.tail_bytes, 0);
    CHECK(report.closed);
}

/* A file of lines whose first row never was whole, or is garbage, is not taken for one of ours:
 * it is left as it is, and says so. One of zeros only is no one's. */
static inline bool may_be_refused(const crash_moment *m, const found_rows *rows, int rc)
{
    return m->power_was_lost && world.format == FORMAT_JSON && rows->rc && !rows->is_blank &&
           (rc == FACPOOL_E_UNSUPPORTED || rc == FACPOOL_E_CORRUPT);
}

/* Completes what the crash interrupted; false where it was refused as the documents say. */
static inline bool recover(const crash_moment *m, found_file file, const found_rows *found)
{
    static const found_rows none;
    found_rows rows = *found;
    if (current.scenario == REPAIR && rows.rc)
        return false;
    if (do_again(m, file)) {
        read_rows(world.path, &rows);
        CHECK_INT(rows.rc, 0);
        file = NEW_FILE;
    }
    if (rows.is_damaged && file == NEW_FILE) {
        found_rows kept;
        give_up_damage_aside(&kept);
        check_given_up(m, &rows, &kept);
        n_given_up++;
        rows = kept;
    }
    facpool_result *result = NULL;
    crash_run run = {.generation = 1,
                     .epoch = 1 + m->depth,
                     .mode = file == OLD_FILE ? FACPOOL_MODE_OVERWRITE : FACPOOL_MODE_RESUME,
                     .path = world.path,
                     .before = file == NEW_FILE ? &rows : &none};
    int rc = do_run(&run, &result);
    if (rc && may_be_refused(m, &rows, rc))
        return false;
    CHECK_OK(rc, err);
    check_calls(&run);
    check_report(result, &run);
    check_result(result);
    facpool_result_free(result);
    check_recovered(m, run.before);
    return true;
}

#endif
