/* A run's options, read once from the caller's struct, checked, and with every default filled in.
 */
#ifndef FP_RUN_CONFIG_H
#define FP_RUN_CONFIG_H

#include <stdbool.h>
#include "model/schema.h"

typedef struct fp_config {
    facpool_run_options run;         /* defaults filled in; pointers still the caller's */
    facpool_backup_options backup;   /* meaningful where has_backup */
    facpool_process_options process; /* all zero where none are given */
    bool has_backup;
    facpool_allocator own_allocator;
    const facpool_allocator *allocator; /* NULL: malloc; points to own_allocator else */
    fp_schema schema;                   /* wanted: names and tag */
    char *backup_path;                  /* owned copy */
    int32_t *cpus;                      /* owned copy */
} fp_config;

/* What calls the user's function: a job on foreign threads needs neither function nor executor. */
typedef enum fp_config_kind { FP_CONFIG_RUN, FP_CONFIG_JOB } fp_config_kind;

/* `out` must stay where it is (it points into itself). Errors: INVALID, ABI, UNSUPPORTED, NOMEM. */
int fp_config_init(fp_config *out, const facpool_run_options *options, fp_config_kind kind,
                   facpool_error *err);
void fp_config_free(fp_config *config);

/* Reads backup options with defaults filled in; for the writer handle too. */
int fp_backup_options_read(facpool_backup_options *out, const facpool_backup_options *given,
                           facpool_error *err);

#endif
