/* A set of rows as plain columns in a folder, so that peers.py stores the very rows that we store.
 * Made by bench from a backup or from the synthetic work; read by bench and by peers.py.
 *
 *   meta        text: number of rows; number of factors; their names, one a line
 *   codes       text: the distinct codes in order, one a line
 *   dates, timestamps (i64), code_ids (u32: line of `codes`), factor_0, factor_1, ... (f64):
 *               little-endian as the machine is, in order of (date, code)
 *   questions   text: "point DATE CODE CODE" and "history CODE", one a line */
#ifndef FP_BENCH_ROWS_H
#define FP_BENCH_ROWS_H

#include "bench.h"

#define ROW_FACTORS_MAX 16
#define QUESTIONS_MAX   64

typedef struct bench_question {
    bool point; /* else history */
    int64_t date;
    char codes[2][256];
} bench_question;

typedef struct bench_rows {
    size_t n;
    size_t n_factors;
    size_t n_codes;
    char *names[ROW_FACTORS_MAX];
    char **codes;
    int64_t *dates;
    int64_t *timestamps;
    uint32_t *code_ids;
    double *factors[ROW_FACTORS_MAX];
    size_t n_questions;
    bench_question questions[QUESTIONS_MAX];
} bench_rows;

void bench_rows_save(const bench_rows *rows, const char *folder); /* the folder is there */
void bench_rows_load(bench_rows *rows, const char *folder);
void bench_rows_free(bench_rows *rows);

#endif
