/* What the peers share: when a transaction ends. With durability group that is every 100 ms, with
 * batch after as many rows as our own blocks have, else after what the peer likes best. */
#include "peer.h"

#define ROWS_BETWEEN_CLOCK_READS 256

void peer_pace_begin(peer_pace *pace, const peer_load *load, size_t best_rows)
{
    pace->durability = load->durability;
    pace->rows = 0;
    pace->transaction_rows =
        load->durability == FACPOOL_DURABILITY_BATCH ? load->transaction_rows : best_rows;
    pace->deadline = bench_now() + PEER_GROUP_SECONDS;
}

static bool group_is_due(peer_pace *pace, size_t rows_before)
{
    double now;

    if (pace->rows / ROWS_BETWEEN_CLOCK_READS == rows_before / ROWS_BETWEEN_CLOCK_READS) {
        return false;
    }
    now = bench_now();
    if (now < pace->deadline) {
        return false;
    }
    pace->deadline = now + PEER_GROUP_SECONDS;
    return true;
}

bool peer_pace_rows(peer_pace *pace, size_t n)
{
    size_t rows_before = pace->rows;
    bool ends;

    pace->rows += n;
    ends = pace->durability == FACPOOL_DURABILITY_GROUP ? group_is_due(pace, rows_before)
                                                        : pace->rows >= pace->transaction_rows;
    if (ends) {
        pace->rows = 0;
    }
    return ends;
}
