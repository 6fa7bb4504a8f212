/* What the benchmarks share: the clock, medians, the table, and the work that is measured.
 * One program, bench, is made of bench_main.c (arguments, table), bench_compute.c, bench_write.c,
 * bench_read.c, bench_scan.c, bench_verify.c and bench_origin.c (one group of figures each),
 * bench_stores.c (our part of the table of stores that peers.py makes) and the peers. It measures
 * and prints, and tests nothing: correctness is the business of the test programs. */
#ifndef FP_BENCH_H
#define FP_BENCH_H

#include <facpool/facpool.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define BENCH_PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define BENCH_PRINTF(at, first)
#endif

/* Prints a message and ends the program: a benchmark has nobody to hand an error to. */
_Noreturn void bench_die(const char *format, ...) BENCH_PRINTF(1, 2);

/* A library call that must succeed. */
#define BENCH_OK(call, err)                                                                        \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ < 0) {                                                                           \
            bench_die("%s:%d: %s gave %s: %s", __FILE__, __LINE__, #call,                          \
                      facpool_error_name(code_), (err).message);                                   \
        }                                                                                          \
    } while (0)

/* A note on what is being measured, to stderr. */
void bench_say(const char *format, ...) BENCH_PRINTF(1, 2);

/* ------------------------------------------------------------------ measuring */

#define BENCH_ROUNDS_MAX 1024

double bench_now(void); /* seconds, monotonic */
void *bench_alloc(size_t bytes);

typedef struct bench_series {
    size_t n;
    double values[BENCH_ROUNDS_MAX];
} bench_series;

void bench_add(bench_series *series, double value);
double bench_median(const bench_series *series);
double bench_min(const bench_series *series);
double bench_max(const bench_series *series);

/* The median of a's value over b's of the same round: what a slow minute of the machine, which
 * meets both, changes least. */
double bench_ratio(const bench_series *a, const bench_series *b);

/* Makes the compiler believe that the memory behind `pointer` is used. */
static inline void bench_keep(const void *pointer)
{
    __asm__ volatile("" : : "r"(pointer) : "memory");
}

/* ------------------------------------------------------------------ work */

/* dates x codes tasks of BENCH_FACTORS factors each. */
#define BENCH_FACTORS 3

typedef struct bench_work {
    size_t n_dates;
    size_t n_codes;
    size_t n;            /* n_dates * n_codes */
    int64_t *dates;      /* weekdays from 2016-01-01, as yyyymmdd */
    const char **codes;  /* "000001" to "005000" */
    facpool_tasks *grid; /* the same as a task set */
} bench_work;

/* At most 9,999 codes. `first_year` is where the dates begin. */
void bench_work_init(bench_work *work, size_t n_dates, size_t n_codes, int first_year);
void bench_work_free(bench_work *work);

extern const char *const bench_factor_names[BENCH_FACTORS];

static inline uint64_t bench_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93U;
    x ^= x >> 32;
    return x * 0xd6e8feb86659fd93U;
}

static inline double bench_unit_interval(uint64_t bits)
{
    return (double)(int64_t)(bits >> 11) * 0x1p-53;
}

/* A z-score whose bits are as good as random, a price of two decimals, a rank k/5000; a function of
 * date and code that costs a few ns. Hashed anew from each key, so that no value repeats within the
 * reach of a compressor. Codes are the six digits of bench_work. */
static inline void bench_factors_of(int64_t date, const char *code, double *factors)
{
    uint32_t digits;
    uint64_t h;

    memcpy(&digits, code + 2, sizeof(digits));
    h = bench_mix((uint64_t)date << 32 ^ digits);
    factors[0] = (bench_unit_interval(h) + bench_unit_interval(h * 0x9e3779b97f4a7c15U) - 1.0) *
                 2.449489742783178;
    factors[1] = (double)(int64_t)(500 + ((h & 0xffffffffU) * 9500 >> 32)) / 100.0;
    factors[2] = (double)(int64_t)(1 + ((h >> 32) * 5000 >> 32)) / 5000.0;
}

/* The same as a callback, never inlined into its caller. */
int bench_factors(const facpool_task *task, double *factors, void *user);

/* A chain of `steps` dependent multiplications: work that no clock is needed for. */
uint64_t bench_spin(uint64_t steps);
uint64_t bench_spin_steps(double seconds); /* how many steps take so long; measured on first use */

/* ------------------------------------------------------------------ the run of the benchmark */

typedef struct bench_context {
    bool quick;       /* smaller sizes, fewer rounds */
    const char *only; /* NULL: everything, else "P2" or "P2,P5" */
    const char *dir;  /* where files go: on a disk, there already */
    char *program;    /* to start a child that measures its own memory */
} bench_context;

/* A file format of ours. */
typedef struct bench_format {
    const char *name;   /* as facpool_backup_options.format */
    const char *suffix; /* of its files */
    size_t n_dates;     /* of the work it is measured on: text takes long enough with a tenth */
    double point_ms;    /* targets of P5, P6, P7; 0: none */
    double history_ms;
    double scan_gb;        /* a second, file opened for it */
    double scan_of_memory; /* against a loop over memory, file open */
    double read_rows;      /* millions a second, all columns */
    double write_rows;     /* the same written */
} bench_format;

#define BENCH_FORMATS 3
enum { BENCH_BINARY, BENCH_MEMORY_MAP, BENCH_JSON };

extern const bench_format bench_formats[BENCH_FORMATS];

/* Whether this library writes the format; says so, and in the table, where it does not. */
bool bench_has_format(const bench_context *context, const bench_format *format);

bool bench_wanted(const bench_context *context, const char *id);
size_t bench_rounds(const bench_context *context, size_t rounds);

/* "dir/name", to be freed. */
char *bench_path(const bench_context *context, const char *name);

void bench_remove(const char *path);             /* a file or a folder of files; may be missing */
uint64_t bench_file_bytes(const char *path);     /* 0 where missing */
void bench_sync_file(const char *path);          /* what is not on the disk yet */
void bench_settle(const bench_context *context); /* waits until the disk has nothing to do */

void bench_compute(const bench_context *context); /* P1, P12 */
void bench_write(const bench_context *context);   /* P2, P3, P9 */
void bench_read(const bench_context *context);    /* P5, P6, P7, P8 */
void bench_verify(const bench_context *context);  /* VERIFY */
void bench_origin(const bench_context *context);  /* ORIGIN: prints a table of its own */

int bench_memory_child(const char *path, size_t n_dates, size_t n_codes); /* the child of P9 */

/* Row sets in folders, for peers.py: see bench_rows.h and bench_stores.c. */
int bench_export_backup(const char *backup, const char *folder);
int bench_export_synthetic(const char *folder, size_t n_dates, size_t n_codes);
int bench_stores_round(const char *folder, const char *dir);

/* ------------------------------------------------------------------ the table */

#define BENCH_CELL 96

typedef enum bench_verdict { BENCH_INFO, BENCH_MET, BENCH_MISSED } bench_verdict;

typedef struct bench_row {
    char id[8];
    char what[192];
    char ours[BENCH_CELL];
    char peer[BENCH_CELL];
    char ratio[BENCH_CELL];
    char target[BENCH_CELL];
    bench_verdict verdict;
} bench_row;

static inline bench_verdict bench_judge(bool met)
{
    return met ? BENCH_MET : BENCH_MISSED;
}

/* Writes "median unit (least to most)" of a series times `scale` into a cell; `unit` brings the
 * space before it. */
void bench_cell(char *cell, const bench_series *series, double scale, const char *unit);

/* Adds a row to the table that is printed when everything is done. */
void bench_report(const bench_row *row);
void bench_print_table(void);

#endif
