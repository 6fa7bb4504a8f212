/* Structs that begin with their size, in memory of exactly that size: of older callers, of newer
 * ones, and of callers who forgot to initialise them; with wild numbers and odd texts in them. And
 * whether a call left them as it must. Used by fuzz_options.c. */
#ifndef FP_FUZZ_SIZED_STRUCTS_H
#define FP_FUZZ_SIZED_STRUCTS_H

#include "bytes.h"

#include <facpool/facpool.h>

#define NAMES_MAX 6
#define GUARD     0xa5

/* ------------------------------------------------------------------ structs of any size */

/* Where a struct has numbers, and where its fields begin. */
typedef struct field {
    size_t at;
    size_t bytes;
} field;

#define FIELD(type, name)                                                                          \
    {                                                                                              \
        offsetof(type, name), sizeof(((type *)0)->name)                                            \
    }
#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef enum fit { FITS, NEWER, UNKNOWN } fit;

/* A copy in memory of its own, of the size of the caller it plays: an older one's ends where a
 * field begins, a newer one's goes on with zeros or, not understood here, with something else. */
static inline void *resize(fuzz_bytes *b, const void *whole, size_t own, const field *fields,
                           size_t n, fit *fits)
{
    uint8_t kind = take_byte(b);
    size_t size = own, extra = 1 + take_below(b, 200);
    *fits = FITS;
    if (kind >= 128 && kind < 180)
        size = fields[take_below(b, (uint32_t)n)].at;
    if (kind >= 180 && kind < 230)
        size = own + extra;
    uint8_t *copy = exact_memory(size);
    memset(copy, 0, size);
    memcpy(copy, whole, size < own ? size : own);
    if (kind >= 210 && kind < 230) {
        copy[own + take_below(b, (uint32_t)extra)] = 1 + kind % 255;
        *fits = NEWER;
    }
    if (kind >= 230) {
        size = kind < 240 ? take_below(b, 8) : SIZE_MAX - (size_t)take_number(b, 6);
        *fits = UNKNOWN;
    }
    memcpy(copy, &size, sizeof size);
    return copy;
}

/* Wild numbers in some of the fields. */
static inline void spoil_numbers(fuzz_bytes *b, void *whole, const field *fields, size_t n)
{
    for (uint32_t times = take_below(b, 4); times > 0; times--) {
        const field *f = &fields[take_below(b, (uint32_t)n)];
        int64_t value = take_wild(b);
        memcpy((char *)whole + f->at, &value, f->bytes < 8 ? f->bytes : 8);
    }
}

/* ------------------------------------------------------------------ errors of any size */

typedef struct error_memory {
    uint8_t *bytes; /* NULL: none is given */
    size_t size;    /* as it says */
    size_t room;
} error_memory;

static inline facpool_error *make_error(fuzz_bytes *b, error_memory *e)
{
    uint8_t kind = take_byte(b);
    e->size = kind < 160   ? sizeof(facpool_error)
              : kind < 220 ? take_below(b, sizeof(facpool_error) + 100)
                           : SIZE_MAX - kind;
    e->room = e->size > 65536 || e->size < sizeof e->size ? sizeof e->size : e->size;
    e->bytes = kind == 250 ? NULL : exact_memory(e->room);
    if (e->bytes)
        memset(e->bytes, GUARD, e->room);
    if (e->bytes)
        memcpy(e->bytes, &e->size, sizeof e->size);
    return (facpool_error *)(void *)e->bytes;
}

static inline void check_text(const error_memory *e, size_t at, size_t field_bytes, bool must_speak)
{
    if (e->room <= at)
        return;
    size_t room = e->room - at < field_bytes ? e->room - at : field_bytes;
    const char *text = (const char *)e->bytes + at;
    size_t length = strnlen(text, room);
    REQUIRE(length < room && is_utf8(text, length), "a text of %zu bytes in %zu", length, room);
    REQUIRE(!must_speak || length || room < 8, "no message");
}

/* On failure the code and texts that end where the struct ends; else what was there. */
static inline void check_error(error_memory *e, int rc)
{
    REQUIRE(rc >= FACPOOL_E_WORKER, "code %d is unknown", rc);
    size_t code_end = offsetof(facpool_error, code) + sizeof(int32_t), size;
    if (!e->bytes)
        return;
    memcpy(&size, e->bytes, sizeof size);
    REQUIRE(size == e->size, "the size of an error is changed");
    bool filled = rc < 0 && e->room >= code_end;
    for (size_t i = sizeof size; !filled && i < e->room; i++)
        REQUIRE(e->bytes[i] == GUARD, "an error is touched by a call that returns %d", rc);
    if (filled) {
        int32_t code;
        memcpy(&code, e->bytes + offsetof(facpool_error, code), sizeof code);
        REQUIRE(code == rc, "%d is told, %d returned", code, rc);
        check_text(e, offsetof(facpool_error, task_code), 256, false);
        check_text(e, offsetof(facpool_error, message), 1024, true);
    }
    free(e->bytes);
}

/* ------------------------------------------------------------------ structs that come out */

typedef struct filled_struct {
    uint8_t *memory;
    uint8_t *before;
    size_t size; /* as it says */
    size_t room;
    size_t own;
} filled_struct;

static inline void make_filled(fuzz_bytes *b, filled_struct *s, size_t own, bool zero)
{
    uint8_t kind = take_byte(b);
    s->own = own;
    s->size = kind < 100   ? own
              : kind < 230 ? take_below(b, (uint32_t)own + 100)
                           : SIZE_MAX - (size_t)take_number(b, 5);
    s->room = s->size < sizeof(size_t) || s->size > 65536 ? sizeof(size_t) : s->size;
    s->memory = exact_memory(s->room);
    memset(s->memory, zero ? 0 : GUARD, s->room);
    memcpy(s->memory, &s->size, sizeof s->size);
    s->before = exact_copy(s->memory, s->room);
}

/* Untouched on failure, or else filled as far as both know it, and zero beyond. */
static inline void check_filled(filled_struct *s, int rc, bool may_be_kept)
{
    bool fits = s->size >= sizeof(size_t) && s->size <= 65536;
    REQUIRE(fits || rc < 0 || may_be_kept, "%d for size %zu", rc, s->size);
    if (rc < 0 || may_be_kept) {
        REQUIRE(memcmp(s->memory, s->before, s->room) == 0, "an output is touched, with %d", rc);
    } else {
        REQUIRE(memcmp(s->memory, s->before, sizeof s->size) == 0, "a size is changed");
        for (size_t i = s->own; i < s->room; i++)
            REQUIRE(s->memory[i] == 0, "what this library does not know is not zero");
    }
    free(s->memory);
    free(s->before);
}

/* ------------------------------------------------------------------ texts */

/* Of every kind; NULL among them. `room` must be 1200 bytes. */
static inline const char *take_text(fuzz_bytes *b, char *room, const char *usual)
{
    static const char *const odd[] = {
        "",         "\xff", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "date",
        "checksum", "f0",   "f1",    "\x01\x7f",     "'\"\\%s%n"};
    uint8_t kind = take_byte(b);
    if (kind < 160)
        return usual;
    if (kind < 220)
        return odd[kind % COUNT(odd)];
    if (kind < 230)
        return NULL;
    if (kind < 250) { /* about the ends of what may be */
        size_t length = (kind % 2 ? 254 : 1023) + take_below(b, 3);
        memset(room, 'k', length);
        room[length] = '\0';
        return room;
    }
    take_raw_text(b, room, 60);
    return room;
}

typedef struct names {
    char texts[NAMES_MAX][1200];
    const char *list[NAMES_MAX];
} names;

static inline const char *const *take_names(fuzz_bytes *b, names *n, const char *usual[NAMES_MAX])
{
    for (size_t i = 0; i < NAMES_MAX; i++)
        n->list[i] = take_text(b, n->texts[i], usual[i]);
    return n->list;
}

#endif
