/* Finding out what is in a file: from the index block that closed it, or by walking it block by
 * block, telling a torn tail from damage. Called when a file is opened for reading, resuming or
 * verifying. It changes nothing.
 *
 * The walk has two passes. The first reads headers: where one is bad it looks for the next good
 * one, noting a gap; the largest durable end of all good headers is what was synced for certain.
 * The second decides: a gap below that end is damage, and the log goes on behind it; one at or
 * beyond it is where a write was torn, and the log ends there. Where the end of the file is that of
 * a closed one, a gap before its index is damage, too. Blocks beyond the durable end are read
 * whole, so that no reader ever sees a torn one. Blocks of a writer that never syncs say so: no
 * durable end can tell damage from a tear among them, so whatever is good behind a gap is kept. It
 * is the same with blocks of lines, which the format has found to be good in every byte.
 */
#include "store/file_log.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

#define WALK_AHEAD_BYTES  ((size_t)256 << 10)
#define LEAST_BLOCK_BYTES 64

typedef struct walked {
    uint64_t offset;
    uint64_t end;
    size_t n_entries; /* in the index, up to and including this one */
    uint64_t next_sequence;
    uint64_t missing; /* gap: blocks that must have been in it */
    bool is_gap;
    bool is_index;
} walked;

typedef struct walk {
    const fp_format *format;
    const fp_place *place;
    fp_log_contents *contents;
    walked *items;
    size_t n;
    size_t capacity;
    uint64_t durable_end;
    uint64_t closed_at; /* where the index begins that the file's end names; 0: none */
    uint64_t next_sequence;
    bool trust_index;
    size_t n_kept_anyway; /* items up to the last one of a writer that never syncs */
    size_t *living;       /* entries that no index block has given up, of the first n_looked_at */
    size_t n_living;
    size_t living_capacity;
    size_t n_looked_at;
} walk;

void fp_log_contents_free(fp_log_contents *contents)
{
    fp_log_index_free(&contents->index);
}

static int add_item(walk *w, const walked *item, facpool_error *err)
{
    void *items = w->items;
    if (fp_grow(NULL, &items, &w->capacity, w->n + 1, sizeof *w->items))
        return fp_fail_nomem(err, sizeof *w->items);
    w->items = items;
    w->items[w->n++] = *item;
    return 0;
}

static int add_block(walk *w, uint64_t offset, const fp_parsed_block *parsed, facpool_error *err)
{
    if (!parsed->is_index) {
        int rc = fp_log_index_add(&w->contents->index, &parsed->entry, err);
        if (rc)
            return rc;
    }
    w->next_sequence = parsed->entry.sequence + 1;
    walked item = {.offset = offset,
                   .end = offset + parsed->entry.block.bytes,
                   .n_entries = w->contents->index.n,
                   .next_sequence = w->next_sequence,
                   .is_index = parsed->is_index};
    int rc = add_item(w, &item, err);
    if (!rc && parsed->unsynced)
        w->n_kept_anyway = w->n;
    return rc;
}

typedef struct bad_lines {
    uint64_t n;
    uint64_t first; /* offset, where there are any */
} bad_lines;

static int note_bad_line(void *to, uint64_t offset, uint64_t bytes, facpool_error *err)
{
    bad_lines *lines = to;
    (void)bytes;
    (void)err;
    if (lines->n++ == 0)
        lines->first = offset;
    return 0;
}

int fp_log_recount_bad_lines(const fp_format *format, const fp_place *place,
                             fp_log_contents *contents, facpool_error *err)
{
    const fp_line_type *type = format->lines;
    bad_lines first = {0}, lines = {0};
    uint64_t at = contents->first_damage;
    int rc = type->each_bad_line(place, at, at + 1, note_bad_line, &first, err);
    if (rc || first.n) /* they are blanked in their order */
        return rc;
    rc = type->each_bad_line(place, 0, contents->end, note_bad_line, &lines, err);
    if (rc)
        return rc;
    contents->counts.damaged = lines.n;
    contents->first_damage = lines.first;
    return 0;
}

/* How many blocks are missing in a stretch. An untrusted sequence number proves no more than there
 * was room for; in a file of lines each bad one is one. */
static int count_missing(const walk *w, uint64_t offset, uint64_t end, uint64_t next_sequence,
                         uint64_t *missing, facpool_error *err)
{
    uint64_t most = (end - offset) / LEAST_BLOCK_BYTES;
    uint64_t n = next_sequence - w->next_sequence;
    n = n < most ? n : most;
    const fp_line_type *lines = w->format->lines;
    bad_lines bad = {0};
    int rc = lines ? lines->each_bad_line(w->place, offset, end, note_bad_line, &bad, err) : 0;
    n += bad.n;
    *missing = n ? n : 1;
    return rc;
}

/* A stretch without a good block, or a jump in the sequence (then it is empty). */
static int add_gap(walk *w, uint64_t offset, uint64_t end, uint64_t next_sequence,
                   facpool_error *err)
{
    uint64_t missing;
    int rc = count_missing(w, offset, end, next_sequence, &missing, err);
    if (rc)
        return rc;
    walked item = {.offset = offset,
                   .end = end,
                   .n_entries = w->contents->index.n,
                   .next_sequence = next_sequence,
                   .missing = missing,
                   .is_gap = true};
    w->next_sequence = next_sequence;
    return add_item(w, &item, err);
}

/* A good block at its place in the sequence; an old or doubled one is as bad as no block. */
static bool is_next(const walk *w, const fp_parsed_block *parsed)
{
    return parsed->state != FP_BLOCK_BAD && parsed->entry.sequence >= w->next_sequence;
}

/* Lines have no numbers of their own: their blocks are counted as they come. */
static int parse_at(const walk *w, uint64_t offset, fp_parsed_block *parsed, facpool_error *err)
{
    int rc = w->format->parse_block(w->place, offset, parsed, err);
    if (!rc && w->format->lines)
        parsed->entry.sequence = w->next_sequence;
    return rc;
}

/* The next good block behind a bad one. *offset is UINT64_MAX where there is none. */
static int find_next(walk *w, uint64_t from, uint64_t *offset, fp_parsed_block *parsed,
                     facpool_error *err)
{
    for (;; from = *offset + 1) {
        int rc = w->format->find_block(w->place, from, offset, err);
        if (rc || *offset == UINT64_MAX)
            return rc;
        rc = parse_at(w, *offset, parsed, err);
        if (rc || is_next(w, parsed))
            return rc;
    }
}

/* First pass: all good headers, and the gaps between them. */
static int read_headers(walk *w, uint64_t offset, facpool_error *err)
{
    uint64_t size = w->place->window->size;
    while (offset < size) {
        fp_parsed_block parsed;
        int rc = parse_at(w, offset, &parsed, err);
        if (rc)
            return rc;
        uint64_t gap = offset;
        if (!is_next(w, &parsed)) {
            rc = find_next(w, offset + 1, &offset, &parsed, err);
            if (!rc && offset == UINT64_MAX && gap < w->closed_at)
                rc = add_gap(w, gap, w->closed_at, w->next_sequence, err);
            if (rc || offset == UINT64_MAX)
                return rc;
        }
        if (parsed.durable_end > w->durable_end)
            w->durable_end = parsed.durable_end;
        if (offset > gap || parsed.entry.sequence > w->next_sequence) {
            rc = add_gap(w, gap, offset, parsed.entry.sequence, err);
            if (rc)
                return rc;
        }
        if (parsed.state == FP_BLOCK_SHORT)
            return 0;
        rc = add_block(w, offset, &parsed, err);
        if (rc)
            return rc;
        offset += parsed.entry.block.bytes;
    }
    return 0;
}

/* Whether an item at or behind this place may be where a write was torn. What an index closes was
 * synced before it: its end, at the end of the file, proves that even where its header is lost. */
static bool may_be_torn(const walk *w, uint64_t offset)
{
    return offset >= w->durable_end && offset >= w->closed_at;
}

/* Whether the log ends before this item. */
static int is_torn(const walk *w, size_t i, bool *torn, facpool_error *err)
{
    const walked *item = &w->items[i];
    *torn = false;
    if (item->is_gap) {
        *torn = may_be_torn(w, item->offset) && i >= w->n_kept_anyway;
        return 0;
    }
    if (item->end <= w->durable_end || item->end <= w->closed_at)
        return 0;
    fp_block_check check;
    int rc = w->format->check_block(w->place, item->offset, &check, err);
    /* A bad block with good ones behind it that count stays listed: reading it says CORRUPT. */
    *torn = !rc && check.damaged_parts && i + 1 >= w->n_kept_anyway;
    return rc;
}

static void accept(fp_log_contents *contents, const walked *item)
{
    contents->end = item->end;
    contents->next_sequence = item->next_sequence;
    contents->closed = item->is_index;
    if (item->is_gap && !contents->counts.damaged)
        contents->first_damage = item->offset;
    contents->counts.damaged += item->missing;
    contents->lost_index = contents->lost_index || item->is_gap;
}

/* Blocks before an index block, unless an earlier one has given them up: each is then looked at
 * once more than it is listed, however many index blocks there are. */
static int gather_living(walk *w, size_t n_entries, facpool_error *err)
{
    size_t wanted = w->n_living + n_entries - w->n_looked_at;
    void *living = w->living;
    if (fp_grow(NULL, &living, &w->living_capacity, wanted, sizeof *w->living))
        return fp_fail_nomem(err, wanted * sizeof *w->living);
    w->living = living;
    for (; w->n_looked_at < n_entries; w->n_looked_at++)
        w->living[w->n_living++] = w->n_looked_at;
    return 0;
}

static void give_up_unlisted(walk *w, const fp_log_index *listed)
{
    size_t at = 0, n_kept = 0;
    for (size_t i = 0; i < w->n_living; i++) {
        fp_log_entry *entry = &w->contents->index.entries[w->living[i]];
        while (at < listed->n && listed->entries[at].sequence < entry->sequence)
            at++;
        if (at < listed->n && listed->entries[at].sequence == entry->sequence)
            w->living[n_kept++] = w->living[i];
        else
            entry->is_given_up = true;
    }
    w->n_living = n_kept;
}

/* An index block says which blocks before it count: what it does not list was given up, and what it
 * counts as damaged is. */
static int adopt_index(walk *w, const walked *item, facpool_error *err)
{
    fp_parsed_index parsed;
    int rc = w->format->parse_index(w->place, item->offset, &parsed, err);
    if (rc || !parsed.found)
        return rc;
    rc = gather_living(w, item->n_entries, err);
    if (!rc) {
        give_up_unlisted(w, &parsed.index);
        w->contents->counts = parsed.counts;
        w->contents->lost_index = false; /* this one tells what they told */
    }
    fp_log_index_free(&parsed.index);
    return rc;
}

/* An index block of which a byte is wrong closes nothing: another one has to be written behind it.
 */
static int look_at_index(walk *w, const walked *item, facpool_error *err)
{
    fp_block_check check;
    int rc = w->format->check_block(w->place, item->offset, &check, err);
    if (rc)
        return rc;
    w->contents->closed = check.damaged_parts == 0;
    w->contents->lost_index = w->contents->lost_index || check.damaged_parts;
    return w->trust_index ? adopt_index(w, item, err) : 0;
}

/* Second pass: how far the log goes. */
static int decide(walk *w, size_t entries_before, facpool_error *err)
{
    fp_log_contents *contents = w->contents;
    contents->index.n = entries_before;
    for (size_t i = 0; i < w->n; i++) {
        bool torn;
        int rc = is_torn(w, i, &torn, err);
        if (rc)
            return rc;
        if (torn)
            break;
        accept(contents, &w->items[i]);
        contents->index.n = w->items[i].n_entries;
        if (w->items[i].is_index)
            rc = look_at_index(w, &w->items[i], err);
        if (rc)
            return rc;
    }
    fp_log_index_compact(&contents->index);
    if (w->durable_end > contents->durable_end)
        contents->durable_end = w->durable_end;
    return 0;
}

static int walk_blocks(walk *w, facpool_error *err)
{
    fp_log_contents *contents = w->contents;
    size_t entries_before = contents->index.n;
    w->durable_end = contents->durable_end;
    w->next_sequence = contents->next_sequence;
    w->place->window->ahead = WALK_AHEAD_BYTES;
    int rc = read_headers(w, contents->end, err);
    if (!rc)
        rc = decide(w, entries_before, err);
    if (rc)
        contents->index.n = entries_before;
    else if (w->format->lines)
        contents->closed = contents->end == w->place->window->size;
    fp_free(NULL, w->items);
    fp_free(NULL, w->living);
    return rc;
}

int fp_log_walk(const fp_format *format, const fp_place *place, bool trust_index,
                fp_log_contents *contents, facpool_error *err)
{
    walk w = {.format = format, .place = place, .contents = contents, .trust_index = trust_index};
    return walk_blocks(&w, err);
}

static void contents_of_index(const fp_place *place, const fp_parsed_index *parsed,
                              fp_log_contents *out)
{
    *out = (fp_log_contents){.header_end = place->header_end,
                             .end = place->window->size,
                             .durable_end = parsed->durable_end,
                             .next_sequence = parsed->sequence + 1,
                             .counts = parsed->counts,
                             .closed = true,
                             .index = parsed->index};
}

int fp_log_find_contents(const fp_format *format, const fp_place *place, bool trust_index,
                         fp_log_contents *out, facpool_error *err)
{
    uint64_t index_offset;
    bool is_sound;
    fp_parsed_index parsed = {0};
    int rc = format->find_index(place, &index_offset, &is_sound, err);
    if (!rc && is_sound && trust_index)
        rc = format->parse_index(place, index_offset, &parsed, err);
    if (rc)
        return rc;
    if (parsed.found) {
        contents_of_index(place, &parsed, out);
        return 0;
    }
    fp_log_contents contents = {
        .header_end = place->header_end,
        .end = place->header_end,
        .durable_end = place->header_end, /* the header was synced before the file had its name */
        .next_sequence = 0,
    };
    walk w = {.format = format,
              .place = place,
              .contents = &contents,
              .trust_index = trust_index,
              .closed_at = index_offset};
    rc = walk_blocks(&w, err);
    if (rc) {
        fp_log_contents_free(&contents);
        return rc;
    }
    *out = contents;
    return 0;
}

/* A block of lines may have grown since: those that it had must be as they were. */
static bool are_same_lines(const fp_log_index *index, size_t i, const fp_block *found)
{
    const fp_block *known = &index->entries[i].block;
    return known->n_rows == found->n_rows && known->bytes == found->bytes &&
           known->date_min == found->date_min && known->date_max == found->date_max &&
           known->timestamp_min == found->timestamp_min &&
           known->timestamp_max == found->timestamp_max &&
           memcmp(known->status_rows, found->status_rows, sizeof known->status_rows) == 0 &&
           strcmp(fp_log_index_code_min(index, i), found->code_min) == 0 &&
           strcmp(fp_log_index_code_max(index, i), found->code_max) == 0;
}

int fp_log_find_entry(const fp_format *format, const fp_place *place, const fp_log_index *index,
                      size_t i, bool *is_there, facpool_error *err)
{
    const fp_log_entry *entry = &index->entries[i];
    uint64_t end = entry->block.offset + entry->block.bytes, size = place->window->size;
    fp_parsed_block parsed;
    if (format->lines && end < size)
        place->window->size = end;
    int rc = format->parse_block(place, entry->block.offset, &parsed, err);
    place->window->size = size;
    if (rc)
        return rc;
    *is_there = parsed.state == FP_BLOCK_WHOLE && !parsed.is_index;
    if (format->lines)
        *is_there = *is_there && are_same_lines(index, i, &parsed.entry.block);
    else
        *is_there = *is_there && parsed.entry.sequence == entry->sequence &&
                    parsed.entry.block.bytes == entry->block.bytes;
    return 0;
}

/* Whether the block that the index lists is there and sound, every byte of it. */
static int check_entry(const fp_format *format, const fp_place *place, const fp_log_index *index,
                       size_t i, facpool_error *err)
{
    fp_log_entry *entry = &index->entries[i];
    bool is_there;
    int rc = fp_log_find_entry(format, place, index, i, &is_there, err);
    if (rc)
        return rc;
    entry->is_damaged = !is_there;
    if (!is_there)
        return 0;
    fp_block_check check;
    rc = format->check_block(place, entry->block.offset, &check, err);
    entry->is_damaged = !rc && check.damaged_parts > 0;
    return rc;
}

int fp_log_find_damaged(const fp_format *format, const fp_place *place, fp_log_contents *contents,
                        facpool_error *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < contents->index.n; i++)
        rc = check_entry(format, place, &contents->index, i, err);
    return rc;
}

uint64_t fp_log_n_damaged(const fp_log_contents *contents)
{
    uint64_t n = contents->counts.damaged;
    for (size_t i = 0; i < contents->index.n; i++)
        n += contents->index.entries[i].is_damaged;
    return n;
}

size_t fp_log_take_off_damaged(fp_log_contents *contents, const uint8_t *blocks)
{
    fp_log_index *index = &contents->index;
    for (size_t i = 0; i < index->n; i++)
        index->entries[i].is_given_up = index->entries[i].is_damaged && (!blocks || blocks[i]);
    return fp_log_index_compact(index);
}
