/* Files of which is known what stands where: written part by part, closed and continued, with every
 * kind of block in them, so that a test can say which rows a damage may cost and which it may not.
 * Through the public header only. */
#ifndef FP_DAMAGE_PARTS_H
#define FP_DAMAGE_PARTS_H

#include "damage_rows.h"

typedef enum stretch_kind { STRETCH_HEADER, STRETCH_ROWS, STRETCH_INDEX } stretch_kind;

/* A piece of a file that is sound or damaged by itself: header, block, index; or a line. */
typedef struct stretch {
    size_t begin;
    size_t end;
    stretch_kind kind;
    unsigned n_rows;
    bool is_ok;      /* its rows are */
    bool is_damaged; /* from the beginning */
} stretch;

#define MOST_STRETCHES 2048

typedef struct parts {
    uint8_t *bytes;
    size_t size;
    uint64_t world;
    const char *tag;
    size_t n_stretches;
    unsigned n_rows; /* superseded ones counted */
    stretch at[MOST_STRETCHES];
    uint16_t stretch_of[MOST_KEYS]; /* where the key's latest row is */
} parts;

static inline stretch *parts_add(parts *p, size_t end, stretch_kind kind)
{
    CHECK(p->n_stretches < MOST_STRETCHES);
    size_t begin = p->n_stretches ? p->at[p->n_stretches - 1].end : 0;
    CHECK(end > begin);
    stretch *added = &p->at[p->n_stretches++];
    *added = (stretch){.begin = begin, .end = end, .kind = kind};
    return added;
}

/* ------------------------------------------------------------------ writing */

/* Rows of some keys of dates first .. end - 1, all of them ok or none. */
typedef struct part_rows {
    size_t n;
    int64_t dates[MOST_KEYS];
    const char *codes[MOST_KEYS];
    uint8_t statuses[MOST_KEYS];
    double factors[MOST_KEYS * N_FACTORS];
    int32_t failure_codes[MOST_KEYS];
    const char *messages[MOST_KEYS];
} part_rows;

static inline void part_add(part_rows *rows, parts *p, size_t key, int round)
{
    size_t i = rows->n++;
    int status = status_of(key, round);
    rows->dates[i] = date_of(key);
    rows->codes[i] = codes[key % N_CODES];
    rows->statuses[i] = (uint8_t)status;
    bool failed = status == FACPOOL_STATUS_FAILED;
    rows->failure_codes[i] = failed ? failure_code_of(key) : 0;
    rows->messages[i] = !failed ? NULL : round < 2 ? "not yet" : "no bars";
    factors_of(key, &rows->factors[i * N_FACTORS]);
    p->stretch_of[key] = (uint16_t)p->n_stretches;
}

/* Makes the part a block of the file. */
static inline void write_part(parts *p, facpool_writer *writer, part_rows *part)
{
    facpool_rows rows = FACPOOL_ROWS_INIT;
    rows.n = part->n;
    rows.dates = part->dates;
    rows.codes = part->codes;
    rows.statuses = part->statuses;
    rows.factors = part->factors;
    rows.failure_codes = part->failure_codes;
    rows.messages = part->messages;
    if (part->n == 0)
        return;
    CHECK_OK(facpool_writer_append(writer, &rows, &err), err);
    CHECK_OK(facpool_writer_sync(writer, &err), err);
    stretch *added = parts_add(p, (size_t)file_bytes(path), STRETCH_ROWS);
    added->n_rows = (unsigned)part->n;
    added->is_ok = part->statuses[0] == FACPOOL_STATUS_OK;
    p->n_rows += added->n_rows;
    part->n = 0;
}

static inline facpool_writer *open_part_writer(int32_t mode, int32_t durability)
{
    facpool_writer *writer = NULL;
    facpool_backup_options options = FACPOOL_BACKUP_OPTIONS_INIT;
    options.path = path;
    options.mode = mode;
    options.durability = durability;
    options.tag = tag;
    options.batch_rows = 65536; /* a part is a block */
    options.flush_ms = 3600000;
    CHECK_OK(facpool_writer_open(&writer, &options, NULL, N_FACTORS, &err), err);
    return writer;
}

/* The ok rows of dates first .. end - 1 as one block, the others as another. */
static inline void write_dates(parts *p, facpool_writer *writer, part_rows *part, size_t first,
                               size_t end, int round)
{
    for (int ok = 1; ok >= 0; ok--) {
        for (size_t key = first * N_CODES; key < end * N_CODES; key++)
            if ((status_of(key, round) == FACPOOL_STATUS_OK) == ok)
                part_add(part, p, key, round);
        write_part(p, writer, part);
    }
}

static inline void close_parts(parts *p, facpool_writer *writer)
{
    CHECK_OK(facpool_writer_close(writer, &err), err);
    if (format->has_frame)
        parts_add(p, (size_t)file_bytes(path), STRETCH_INDEX);
}

/* Two sessions, the second of which also brings rows of tasks that had failed in the first. */
static inline void write_sessions(parts *p, size_t n_dates, size_t n_groups, int32_t durability)
{
    part_rows *part = calloc(1, sizeof *part);
    CHECK(part);
    unlink(path); /* it may be no backup any more, which nobody overwrites */
    facpool_writer *writer = open_part_writer(FACPOOL_MODE_CREATE, durability);
    if (format->has_frame)
        parts_add(p, (size_t)file_bytes(path), STRETCH_HEADER);
    for (size_t group = 0; group < n_groups; group++) {
        if (group == n_groups / 2) {
            close_parts(p, writer);
            writer = open_part_writer(FACPOOL_MODE_RESUME, durability);
        }
        write_dates(p, writer, part, n_dates * group / n_groups, n_dates * (group + 1) / n_groups,
                    group < n_groups / 2 ? 0 : 2);
    }
    for (size_t key = 0; key < n_dates * (n_groups / 2) / n_groups * N_CODES; key++)
        if (status_of(key, 0) != FACPOOL_STATUS_OK && status_of(key, 2) == FACPOOL_STATUS_OK)
            part_add(part, p, key, 2);
    write_part(p, writer, part);
    close_parts(p, writer);
    free(part);
}

/* ------------------------------------------------------------------ lines */

static inline size_t key_of_line(const uint8_t *line, size_t n)
{
    long long date = 0;
    char text[512], code[32] = "";
    snprintf(text, sizeof text, "%.*s", (int)n, (const char *)line);
    CHECK_INT(sscanf(text, "{\"date\":%lld,\"code\":\"%31[^\"]\"", &date, code), 2);
    return key_of(date, code);
}

/* Of a file of lines each line is a stretch; a later one of a key supersedes an earlier one. */
static inline void find_lines(parts *p)
{
    p->n_stretches = 0;
    for (size_t at = 0; at < p->size;) {
        const uint8_t *line = p->bytes + at;
        const uint8_t *newline = memchr(line, '\n', p->size - at);
        CHECK(newline);
        at = (size_t)(newline - p->bytes) + 1;
        if (*line == ' ') { /* given up */
            parts_add(p, at, STRETCH_ROWS);
            continue;
        }
        size_t key = key_of_line(line, (size_t)(newline - line));
        CHECK(key < n_keys);
        p->stretch_of[key] = (uint16_t)p->n_stretches;
        stretch *added = parts_add(p, at, STRETCH_ROWS);
        added->n_rows = 1;
        added->is_ok = memmem(line, (size_t)(newline - line), "\"status\":\"ok\"", 13) != NULL;
    }
}

/* ------------------------------------------------------------------ the whole */

/* Writes the file in hand for n_dates dates, in blocks of a part of them each. */
static inline parts *make_parts(size_t n_dates, size_t n_groups, int32_t durability)
{
    parts *p = calloc(1, sizeof *p);
    CHECK(p);
    CHECK(n_dates <= MOST_DATES);
    n_keys = n_dates * N_CODES;
    p->world = world;
    p->tag = tag;
    write_sessions(p, n_dates, n_groups, durability);
    p->bytes = file_read(path, &p->size);
    CHECK(p->bytes);
    if (format->has_frame)
        CHECK_INT(p->at[p->n_stretches - 1].end, p->size);
    else
        find_lines(p);
    return p;
}

static inline void free_parts(parts *p)
{
    if (p)
        free(p->bytes);
    free(p);
}

/* The stretch in which a byte lies. */
static inline const stretch *stretch_at(const parts *p, size_t byte)
{
    size_t low = 0, high = p->n_stretches;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (p->at[middle].begin <= byte)
            low = middle;
        else
            high = middle;
    }
    return &p->at[low];
}

#endif
