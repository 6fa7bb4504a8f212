"""Writes a source of the library with one bug seeded: mutate.py NAME SOURCE OUT; "mutate.py list"
prints all names, with their source and a case in which the explorer finds it. What a bug replaces must be there: else the source is written as it is,
and the test that must find the bug fails and says so."""

import sys
from pathlib import Path

# name: (file, case, [(what is there, what takes its place), ...])
BUGS = {
    # A worker claims behind the limit.
    "claim_ignores_limit": ("run/process_worker.c", "one worker, two tasks", [
        ("    if (*first >= limit)\n        return false;\n", ""),
    ]),
    # What was begun meanwhile is taken back.
    "take_back_without_exchange": ("run/process_desks.c", "one worker, cancelled", [
        ("if (atomic_compare_exchange_weak(&desk->claim, &word, fp_claim_word(begun, kept)))\n"
         "            return kept;",
         "atomic_store(&desk->claim, fp_claim_word(begun, kept));\n        return kept;"),
    ]),
    # The worker is woken before there is anything for it.
    "bell_before_desk": ("run/process_desks.c", "one worker, a third desk", [
        ("    /* Release: the worker sees the tasks. */\n", "    fp_bell_ring(&r->pool->layout.seats[i / FP_DESKS_A_SEAT].bell,\n"
         "                 &r->pool->layout.seats[i / FP_DESKS_A_SEAT].is_asleep);\n"),
        ("    atomic_store_explicit(&desk->state, FP_DESK_READY, memory_order_release);\n"
         "    fp_seat *seat = &r->pool->layout.seats[i / FP_DESKS_A_SEAT];\n"
         "    fp_bell_ring(&seat->bell, &seat->is_asleep);\n",
         "    atomic_store_explicit(&desk->state, FP_DESK_READY, memory_order_release);\n"),
    ]),
    # The run is woken before the desk is done.
    "bell_before_done": ("run/process_worker.c", "one worker, two tasks", [
        ("    atomic_store_explicit(&view->desk->state, FP_DESK_DONE, memory_order_release);\n"
         "    fp_bell_ring(&p->board->bell, &p->board->is_asleep);\n",
         "    fp_bell_ring(&p->board->bell, &p->board->is_asleep);\n"
         "    atomic_store_explicit(&view->desk->state, FP_DESK_DONE, memory_order_release);\n"),
    ]),
    # The run is woken before the ending counts.
    "bell_before_ending": ("run/process_helper.c", "one worker, two tasks", [
        ("    atomic_fetch_add_explicit(&h->layout.seats[seat].n_endings, 1, memory_order_release);\n"
         "    fp_bell_ring(&board->bell, &board->is_asleep);\n",
         "    fp_bell_ring(&board->bell, &board->is_asleep);\n"
         "    atomic_fetch_add_explicit(&h->layout.seats[seat].n_endings, 1, memory_order_release);\n"),
    ]),
    # A worker looks at its bell only when it has found nothing.
    "worker_looks_late": ("run/process_worker.c", "one worker, two tasks", [
        ("        uint32_t seen = atomic_load(&seat->bell);\n"
         "        if (atomic_load(&p->board->is_over))\n            return NULL;\n",
         "        if (atomic_load(&p->board->is_over))\n            return NULL;\n"),
        ("            return found;\n        atomic_store(&seat->is_asleep, 1);\n",
         "            return found;\n        uint32_t seen = atomic_load(&seat->bell);\n"
         "        atomic_store(&seat->is_asleep, 1);\n"),
    ]),
    # The run, too.
    "run_looks_late": ("run/exec_process.c", "one worker, two tasks", [
        ("            sleep_until_rung(r, seen);\n    }\n}\n\n/* ---",
         "            sleep_until_rung(r, atomic_load(&board->bell) + 0 * seen);\n    }\n}\n\n/* ---"),
    ]),
    # Nobody knows that the run sleeps.
    "run_sleeps_unseen": ("run/exec_process.c", "one worker, two tasks", [
        ("    atomic_store(&board->is_asleep, 1);\n", ""),
    ]),
    # Workers are not told that it is over.
    "end_without_bell": ("run/exec_process.c", "one worker, two tasks", [
        ("    for (uint32_t i = 0; i < r->pool->n_seats; i++)\n"
         "        fp_bell_ring(&r->pool->layout.seats[i].bell, &r->pool->layout.seats[i].is_asleep);\n", ""),
    ]),
    # Endings are not counted: that of an earlier worker counts for its successor.
    "ending_of_another_worker": ("run/process_pool.c", "a worker for each task", [
        ("state->has_ended || n_endings != state->n_endings;",
         "state->has_ended || n_endings != 0;"),
    ]),
    # A failure shows as finished before its mark does.
    "mark_after_finished": ("run/call.c", "failures whose messages fill the desk", [
        ("    return rc ? rc : publish(w, slot, 1);\n", "    return rc;\n"),
        ("        atomic_store_explicit(w->finished, slot, memory_order_release);\n        if (slot == n",
         "        atomic_store_explicit(w->finished, slot, memory_order_release);\n"
         "        (void)publish(w, slot - 1, 1);\n        if (slot == n"),
    ]),
    # A task shows as finished before it is called.
    "finished_before_call": ("run/call.c", "one worker, two tasks", [
        ("        int outcome = run->fn(&task, factors, run->user);\n        if (outcome != 0 && task",
         "        atomic_store_explicit(w->finished, slot + 1, memory_order_release);\n"
         "        int outcome = run->fn(&task, factors, run->user);\n        if (outcome != 0 && task"),
    ]),
    # A worker that dies as it takes a chunk in hand takes the one before along.
    "fresh_chunk_not_told": ("run/process_worker.c", "one worker that dies", [
        ("    atomic_store_explicit(&v->desk->chunk_first, first | FP_CHUNK_IS_FRESH, memory_order_release);\n",
         ""),
    ]),
    # A desk is taken for done while its worker is at it.
    "busy_desk_is_cleared": ("run/exec_process.c", "one worker, desks in turn", [
        ("        if (desk_state == FP_DESK_DONE) {", "        if (desk_state >= FP_DESK_BUSY) {"),
    ]),
    # The rest of a desk whose worker died is called again from its first task on.
    "dead_desk_from_the_start": ("run/process_endings.c", "one worker that dies", [
        ("        fp_desks_make_ready(r, i, next, n, attempt);",
         "        fp_desks_make_ready(r, i, 0, n, attempt);"),
    ]),
    # Tasks that were taken back are begun on their old desk, too.
    "taken_back_and_begun": ("run/process_desks.c", "two workers, one takes back from the other", [
        ("        if (atomic_compare_exchange_weak(&desk->claim, &word, fp_claim_word(begun, kept)))\n"
         "            return kept;",
         "        return kept;"),
    ]),
}


def main():
    if sys.argv[1] == "list":
        for name, (file, case, _) in BUGS.items():
            print(name, file, case, sep="|")
        return
    name, path, out = sys.argv[1:]
    file, _, replacements = BUGS[name]
    source = Path(path).read_text()
    for old, new in replacements:
        if source.count(old) != 1:
            print(f"seeded bug {name}: {file} has changed: mend the table in mutate.py", file=sys.stderr)
        source = source.replace(old, new)
    Path(out).write_text(source)


main()
