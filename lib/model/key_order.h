/* The tasks of a set in key order. A position is a place in that order, an index a place in the
 * set as the user gave it. Runs walk positions, so that files get narrow key ranges; results are
 * kept by index. Grids stay two axes: nothing here costs memory per task of a grid, nor of a list
 * that is sorted already. */
#ifndef FP_MODEL_KEY_ORDER_H
#define FP_MODEL_KEY_ORDER_H

#include "model/tasks.h"

typedef struct fp_key_order {
    const facpool_tasks *tasks; /* not counted */
    bool code_major;            /* by (code, date) instead of (date, code) */
    uint32_t *order;            /* list: position -> index; NULL: they are the same */
    uint32_t *date_order;       /* grid: sorted place -> place on the axis */
    uint32_t *code_order;
    const facpool_allocator *allocator;
} fp_key_order;

/* The tasks must be held (their codes ranked). Errors: DUPLICATE (naming the key), INVALID (a list
 * of more than 2^32 - 2 tasks), NOMEM. */
int fp_key_order_init(fp_key_order *out, const facpool_tasks *tasks, bool code_major,
                      const facpool_allocator *allocator, facpool_error *err);
void fp_key_order_free(fp_key_order *order);

/* Whether position and index are the same everywhere. */
bool fp_key_order_is_identity(const fp_key_order *order);

/* A walk along positions. A grid is walked line by line: along the minor axis, with what the
 * major one gives worked out once a line. */
typedef struct fp_key_walk {
    const fp_key_order *keys;
    size_t position;
    size_t index; /* these three are filled by load */
    int64_t date;
    uint32_t code_id;
    uint32_t line_code;
    int64_t line_date;
    size_t line_index;           /* of the place 0 on the minor axis */
    size_t stride;               /* in index, of one place on it */
    const uint32_t *inner_order; /* grid; NULL: a list */
    size_t outer;
    size_t inner;
    size_t n_inner;
} fp_key_walk;

void fp_key_walk_start(fp_key_walk *walk, const fp_key_order *keys, size_t position);
void fp_key_walk_next_line(fp_key_walk *walk);

/* Fills index, date and code_id for the position the walk stands on. */
static inline void fp_key_walk_load(fp_key_walk *w)
{
    const fp_key_order *keys = w->keys;
    const facpool_tasks *tasks = keys->tasks;
    if (w->inner_order) {
        size_t place = w->inner_order[w->inner];
        w->index = w->line_index + place * w->stride;
        w->date = keys->code_major ? tasks->dates[place] : w->line_date;
        w->code_id = keys->code_major ? w->line_code : tasks->code_ids[place];
        return;
    }
    w->index = keys->order ? keys->order[w->position] : w->position;
    w->date = tasks->dates[w->index];
    w->code_id = tasks->code_ids[w->index];
}

static inline void fp_key_walk_next(fp_key_walk *w)
{
    w->position++;
    if (++w->inner == w->n_inner)
        fp_key_walk_next_line(w);
}

/* Moves the walk forward to a position, cheaply where it is the next one. */
static inline void fp_key_walk_to(fp_key_walk *w, size_t position)
{
    if (position == w->position)
        return;
    if (position == w->position + 1)
        fp_key_walk_next(w);
    else
        fp_key_walk_start(w, w->keys, position);
}

/* Finding stored rows among the tasks: rows come in batches that are sorted by (date, code) and
 * number their codes by a dictionary of their own. */
typedef struct fp_key_matcher {
    const fp_key_order *keys;
    uint32_t *places;   /* dictionary number -> sorted code place (grid) or rank (list), or NONE */
    size_t *hints;      /* dictionary number -> where the last search for that code ended */
    size_t capacity;    /* of both */
    uint32_t *place_of; /* grid: code id -> sorted place */
} fp_key_matcher;

#define FP_POSITION_NONE SIZE_MAX

int fp_key_matcher_init(fp_key_matcher *out, const fp_key_order *keys, facpool_error *err);
void fp_key_matcher_free(fp_key_matcher *matcher);

/* Makes the rows' dictionary known; rows given next refer to it. Errors: NOMEM. */
int fp_key_matcher_use(fp_key_matcher *matcher, const fp_texts *dictionary, facpool_error *err);

/* positions[i] gets the position of row i, or FP_POSITION_NONE where there is no such task. */
void fp_key_matcher_find(fp_key_matcher *matcher, const int64_t *dates, const uint32_t *codes,
                         size_t n, size_t *positions);

#endif
