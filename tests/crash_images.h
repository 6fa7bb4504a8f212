/* What a crash leaves of a recorded disk, after each of its operations: made from a recording, of
 * the kinds named below. The rules: what a sync covered is there, bytes and size; names are there
 * once the folder was synced; of all else anything may be, sector by sector. A sector that holds
 * bytes which were synced keeps them (it is written whole or not at all); garbage is only found
 * where nothing was synced. A process that is killed leaves all it wrote, and part of the write it
 * was in. Used by test_crash_states.c. */
#ifndef FP_CRASH_IMAGES_H
#define FP_CRASH_IMAGES_H

#include "scratch.h"
#include "simulated_disk.h"

#define SECTOR_BYTES 512

typedef enum crash_kind {
    CRASH_KILL,        /* all that was done */
    CRASH_KILL_WITHIN, /* and the first bytes of the next write */
    CRASH_NOTHING,     /* power loss, as the rest: nothing that was not synced */
    CRASH_PREFIX,      /* the first operations of those that were not synced */
    CRASH_SUBSET,      /* any of them */
    CRASH_TORN,        /* any sectors of any of them */
    CRASH_GARBAGE,     /* and some sectors are garbage */
    CRASH_SIZES,       /* sizes without their bytes: zeros; bytes without their sizes: cut */
    CRASH_NAMES,       /* all bytes, but names got lost, or were moved by half */
    CRASH_KINDS
} crash_kind;

static const char *const crash_kind_names[CRASH_KINDS] = {
    "killed",
    "killed within a write",
    "power lost: nothing unsynced",
    "... a prefix",
    "... a subset",
    "... torn sectors",
    "... garbage",
    "... sizes without bytes",
    "... names lost or moved by half",
};

static inline bool is_kill(crash_kind kind)
{
    return kind <= CRASH_KILL_WITHIN;
}

/* A place in a recording: behind its first `at` operations. */
typedef struct crash_walk {
    const disk_recording *recording;
    size_t at;
    disk_image safe; /* what no crash takes away */
    size_t *pending; /* operations that are not safe, in order */
    size_t n_pending;
    size_t capacity;
} crash_walk;

/* ------------------------------------------------------------------ one operation on an image */

static inline bool is_of_names(const disk_op *op)
{
    return op->kind == DISK_MAKE || op->kind == DISK_LINK || op->kind == DISK_RENAME ||
           op->kind == DISK_UNLINK;
}

static inline bool is_sync(const disk_op *op)
{
    return op->kind == DISK_SYNC || op->kind == DISK_SYNC_FOLDER;
}

static inline void put_bytes(disk_bytes *file, size_t offset, const uint8_t *bytes, size_t n)
{
    if (file->n < offset + n)
        disk_bytes_resize(file, offset + n);
    memcpy(file->at + offset, bytes, n);
}

static inline void apply_op(disk_image *image, const disk_op *op)
{
    disk_bytes *file = &image->files[op->file < 0 ? 0 : op->file];
    switch (op->kind) {
    case DISK_WRITE:
        put_bytes(file, op->offset, op->bytes, op->n);
        break;
    case DISK_TRUNCATE:
        disk_bytes_resize(file, op->offset);
        break;
    case DISK_RENAME:
        image->entries[op->name] = -1;
        image->entries[op->new_name] = op->file;
        break;
    case DISK_MAKE:
    case DISK_LINK:
        image->entries[op->name] = op->file;
        break;
    case DISK_UNLINK:
        image->entries[op->name] = -1;
        break;
    case DISK_SYNC:
    case DISK_SYNC_FOLDER:
        break;
    }
}

/* A name that moved by half: both are there, or the old one went and the new one did not come. */
static inline void apply_half(disk_image *image, const disk_op *op, random_numbers *r)
{
    if (op->kind != DISK_RENAME)
        return;
    if (random_chance(r, 50))
        image->entries[op->new_name] = op->file;
    else
        image->entries[op->name] = -1;
}

/* ------------------------------------------------------------------ walking */

static inline void crash_walk_begin(crash_walk *walk, const disk_recording *recording)
{
    walk->recording = recording;
    walk->at = 0;
    walk->n_pending = 0;
    disk_image_copy(&walk->safe, &recording->start);
}

static inline void crash_walk_free(crash_walk *walk)
{
    disk_image_free(&walk->safe);
    free(walk->pending);
    *walk = (crash_walk){0};
}

static inline void add_pending(crash_walk *walk, size_t number)
{
    if (walk->n_pending == walk->capacity) {
        walk->capacity = walk->capacity ? walk->capacity * 2 : 64;
        walk->pending = realloc(walk->pending, walk->capacity * sizeof *walk->pending);
    }
    walk->pending[walk->n_pending++] = number;
}

static inline bool is_covered(const disk_op *op, size_t number, const disk_op *sync)
{
    bool same = sync->kind == DISK_SYNC_FOLDER ? is_of_names(op)
                                               : !is_of_names(op) && op->file == sync->file;
    return same && number < sync->covers;
}

static inline void take_sync(crash_walk *walk, const disk_op *sync)
{
    size_t kept = 0;
    for (size_t i = 0; i < walk->n_pending; i++) {
        size_t number = walk->pending[i];
        const disk_op *op = &walk->recording->ops[number];
        if (is_covered(op, number, sync))
            apply_op(&walk->safe, op);
        else
            walk->pending[kept++] = number;
    }
    walk->n_pending = kept;
}

/* Takes in the next operation. */
static inline void crash_walk_step(crash_walk *walk)
{
    size_t number = walk->at++;
    const disk_op *op = &walk->recording->ops[number];
    if (is_sync(op)) {
        take_sync(walk, op);
        return;
    }
    if (op->kind == DISK_MAKE && op->file >= (int)walk->safe.n_files) {
        walk->safe.n_files = (unsigned)op->file + 1;
        walk->safe.files[op->file].n = 0;
    }
    add_pending(walk, number);
}

/* ------------------------------------------------------------------ what is left of one operation
 */

static inline void fill_garbage(uint8_t *at, size_t n, random_numbers *r)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)random_bits(r);
}

/* Each sector of a write is there or not, or is garbage where nothing safe is in it. */
static inline void tear_write(const crash_walk *walk, disk_image *image, const disk_op *op,
                              bool garbage, random_numbers *r)
{
    disk_bytes *file = &image->files[op->file];
    size_t safe = walk->safe.files[op->file].n;
    uint32_t percent = random_between(r, 10, 90);
    for (size_t done = 0, n; done < op->n; done += n) {
        size_t offset = op->offset + done, sector = offset - offset % SECTOR_BYTES;
        n = sector + SECTOR_BYTES - offset;
        n = n < op->n - done ? n : op->n - done;
        if (random_chance(r, percent)) {
            put_bytes(file, offset, op->bytes + done, n);
        } else if (garbage && sector >= safe && random_chance(r, 60)) {
            put_bytes(file, offset, op->bytes + done, n);
            fill_garbage(file->at + offset, n, r);
        }
    }
}

/* Sizes are written apart from bytes: a file that lost sectors at its end may be as long as if it
 * had them, or as short as what was synced. */
static inline void choose_sizes(const crash_walk *walk, disk_image *image, crash_kind kind,
                                const size_t *full, random_numbers *r)
{
    for (unsigned i = 0; i < image->n_files; i++) {
        disk_bytes *file = &image->files[i];
        size_t safe = walk->safe.files[i].n;
        bool longer = random_chance(r, kind == CRASH_SIZES ? 60 : 30);
        if (longer && full[i] > file->n)
            disk_bytes_resize(file, full[i]);
        else if (file->n > safe && random_chance(r, kind == CRASH_SIZES ? 80 : 10))
            disk_bytes_resize(file, safe + random_below(r, (uint32_t)(file->n - safe)));
    }
}

static inline void leave_name(disk_image *image, const disk_op *op, random_numbers *r)
{
    uint32_t how = random_below(r, 3);
    if (how == 0)
        apply_op(image, op);
    else if (how == 1)
        apply_half(image, op, r);
}

static inline void leave_some(const crash_walk *walk, crash_kind kind, random_numbers *r,
                              disk_image *out)
{
    size_t full[DISK_FILES_MAX];
    for (unsigned i = 0; i < out->n_files; i++)
        full[i] = out->files[i].n;
    uint32_t percent = random_between(r, 10, 90);
    bool all_bytes = kind == CRASH_NAMES && random_chance(r, 50);
    for (size_t i = 0; i < walk->n_pending; i++) {
        const disk_op *op = &walk->recording->ops[walk->pending[i]];
        if (op->kind == DISK_WRITE && full[op->file] < op->offset + op->n)
            full[op->file] = op->offset + op->n;
        if (is_of_names(op))
            leave_name(out, op, r);
        else if (op->kind == DISK_WRITE && (kind == CRASH_TORN || kind == CRASH_GARBAGE))
            tear_write(walk, out, op, kind == CRASH_GARBAGE, r);
        else if (all_bytes || random_chance(r, percent))
            apply_op(out, op);
    }
    if (kind == CRASH_SIZES || kind == CRASH_TORN || kind == CRASH_GARBAGE)
        choose_sizes(walk, out, kind, full, r);
}

/* ------------------------------------------------------------------ an image */

/* The part that is there of the write which the process was in; false where it was in none. Its
 * bytes stay the recording's. */
static inline bool crash_partial_write(const crash_walk *walk, random_numbers *r, disk_op *part)
{
    if (walk->at == walk->recording->n || walk->recording->ops[walk->at].kind != DISK_WRITE)
        return false;
    *part = walk->recording->ops[walk->at];
    if (part->n < 2)
        return false;
    part->n = 1 + random_below(r, (uint32_t)part->n - 1);
    return true;
}

/* What a crash of this kind leaves here; false where there is none such. `part` is filled for
 * CRASH_KILL_WITHIN. */
static inline bool crash_make(const crash_walk *walk, crash_kind kind, random_numbers *r,
                              disk_op *part, disk_image *out)
{
    bool is_partial = kind == CRASH_KILL_WITHIN;
    if (is_partial && !crash_partial_write(walk, r, part))
        return false;
    if (!is_kill(kind) && walk->n_pending == 0)
        return false;
    disk_image_copy(out, &walk->safe);
    size_t n_first = is_kill(kind)          ? walk->n_pending
                     : kind == CRASH_PREFIX ? random_below(r, (uint32_t)walk->n_pending + 1)
                                            : 0;
    for (size_t i = 0; i < n_first; i++)
        apply_op(out, &walk->recording->ops[walk->pending[i]]);
    if (is_partial)
        apply_op(out, part);
    if (kind >= CRASH_SUBSET)
        leave_some(walk, kind, r, out);
    return true;
}

/* Makes a recording begin at the state that the crash left. After a power loss all that is there is
 * safe; after a kill what was not synced may still get lost. */
static inline void crash_go_on(const crash_walk *walk, crash_kind kind, const disk_op *part,
                               const disk_image *left, disk_recording *next)
{
    disk_image_copy(&next->start, is_kill(kind) ? &walk->safe : left);
    for (size_t i = 0; is_kill(kind) && i < walk->n_pending; i++)
        disk_recording_add(next, &walk->recording->ops[walk->pending[i]]);
    if (kind == CRASH_KILL_WITHIN)
        disk_recording_add(next, part);
}

/* Tells images apart: by the names, and the bytes that they lead to. */
static inline uint64_t crash_hash(const disk_image *image)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < image->n_names; i++) {
        if (image->entries[i] < 0)
            continue;
        const disk_bytes *file = &image->files[image->entries[i]];
        hash = mix_bits(hash ^ (uint64_t)i << 32 ^ (uint64_t)image->entries[i]);
        hash = mix_bits(hash ^ file->n);
        for (size_t at = 0; at < file->n; at += 8) {
            uint64_t word = 0;
            memcpy(&word, file->at + at, file->n - at < 8 ? file->n - at : 8);
            hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
            hash ^= hash >> 29;
        }
    }
    return hash;
}

#endif
