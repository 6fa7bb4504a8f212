/* Rows that a case appends by hand through the writer, and what they do to the model. Used by
 * test_property.c alone; calls nothing of the library. */
#ifndef FP_PROPERTY_ROWS_H
#define FP_PROPERTY_ROWS_H

#include "property_check.h"

/* What a row appended by hand does to a key's state. */
static inline void supersede(key_state *old, const key_state *new)
{
    bool stands = !old->status || new->status == FACPOOL_STATUS_OK ||
                  (old->status != FACPOOL_STATUS_OK && new->low >= old->low);
    if (stands)
        *old = *new;
}

typedef struct hand_rows {
    facpool_rows rows;
    int64_t dates[64];
    const char *codes[64];
    int64_t timestamps[64];
    uint8_t statuses[64];
    double factors[64 * WORLD_FACTORS_MAX];
    const double *columns[WORLD_FACTORS_MAX];
    int32_t failure_codes[64];
    char texts[64][WORLD_TEXT_MAX];
    const char *messages[64];
} hand_rows;

/* Random rows and what they do to `state`; returns whether a row is refused. */
static inline bool make_rows(const world *w, random_numbers *r, hand_rows *h, key_state *state)
{
    size_t n = random_between(r, 0, 40);
    bool refused = false, by_column = random_chance(r, 50), all_ok = random_chance(r, 30);
    bool own_time = random_chance(r, 50), careless = random_chance(r, 15);
    int64_t now = wall_us();
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t key = random_below(r, (uint32_t)w->n_keys);
        key_state s = {.status = all_ok ? 1 : (uint8_t)random_between(r, 1, 5), .epoch = w->epoch};
        uint8_t had = state[key].status;
        /* Skipped is final for runs whatever a hand writes behind it: keep out of that corner. */
        bool odd = s.status != FACPOOL_STATUS_OK &&
                   (had == FACPOOL_STATUS_SKIPPED ||
                    (s.status == FACPOOL_STATUS_SKIPPED && had != FACPOOL_STATUS_NONE));
        if (odd || (had == FACPOOL_STATUS_OK && !careless))
            continue;
        refused = refused || had == FACPOOL_STATUS_OK;
        s.low = own_time ? 1000 + random_below(r, 3) : now;
        s.high = own_time ? s.low : INT64_MAX;
        h->dates[kept] = key_date(w, key);
        h->codes[kept] = key_code(w, key);
        h->timestamps[kept] = s.low;
        h->statuses[kept] = s.status;
        for (size_t f = 0; f < w->n_factors; f++) {
            uint64_t bits = factor_bits(w, key, w->epoch, f);
            memcpy(&h->factors[by_column ? f * 64 + kept : kept * w->n_factors + f], &bits, 8);
        }
        h->messages[kept] = NULL;
        h->failure_codes[kept] = 0;
        if (s.status != FACPOOL_STATUS_OK && s.status != FACPOOL_STATUS_SKIPPED) {
            s.code = code_of(w, key, w->epoch);
            s.speaks = random_chance(r, 60);
            h->failure_codes[kept] = s.code;
            message_text(w, key, w->epoch, h->texts[kept]);
            h->messages[kept] = s.speaks ? h->texts[kept] : NULL;
        }
        supersede(&state[key], &s);
        kept++;
    }
    for (size_t f = 0; f < w->n_factors; f++)
        h->columns[f] = h->factors + f * 64;
    h->rows = (facpool_rows)FACPOOL_ROWS_INIT;
    h->rows.n = kept;
    h->rows.dates = h->dates;
    h->rows.codes = h->codes;
    h->rows.timestamps = own_time ? h->timestamps : NULL;
    h->rows.statuses = all_ok ? NULL : h->statuses;
    if (by_column)
        h->rows.factor_columns = h->columns;
    else
        h->rows.factors = h->factors;
    h->rows.failure_codes = all_ok ? NULL : h->failure_codes;
    h->rows.messages = all_ok ? NULL : h->messages;
    return refused;
}

#endif
