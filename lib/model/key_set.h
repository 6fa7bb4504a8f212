/* A set of (date, code id) keys: a bit a key where keys are dense, as those of a grid are. A hash
 * table of 512-bit pieces, each for one date and 512 neighbouring code ids. */
#ifndef FP_MODEL_KEY_SET_H
#define FP_MODEL_KEY_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <facpool/facpool.h>

typedef struct fp_key_set fp_key_set;

fp_key_set *fp_key_set_new(const facpool_allocator *allocator); /* NULL: out of memory */
void fp_key_set_free(fp_key_set *set);
int fp_key_set_add(fp_key_set *set, int64_t date, uint32_t code_id, bool *was_there); /* 0, NOMEM */
bool fp_key_set_has(const fp_key_set *set, int64_t date, uint32_t code_id);
void fp_key_set_remove(fp_key_set *set, int64_t date, uint32_t code_id);

#endif
