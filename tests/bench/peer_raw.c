/* Plain write(2) of rows as fixed-size structs: what the disk and the kernel can do, with no index,
 * no checksum and nothing to find a row by. Called by bench_write.c. */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER_ROWS 65536

typedef struct raw_row {
    int64_t date;
    char code[8];
    int64_t timestamp;
    double factors[BENCH_FACTORS];
} raw_row;

static void write_all(int file, const void *bytes, size_t n)
{
    const char *at = bytes;

    while (n > 0) {
        ssize_t done = write(file, at, n);
        if (done < 0) {
            bench_die("raw write: %s", strerror(errno));
        }
        at += done;
        n -= (size_t)done;
    }
}

static void sync_file(int file)
{
    if (fdatasync(file) != 0) {
        bench_die("raw sync: %s", strerror(errno));
    }
}

static void fill_row(raw_row *row, int64_t date, const char *code)
{
    facpool_task task = {.size = sizeof(task), .date = date, .code = code};

    row->date = date;
    memcpy(row->code, code, sizeof(row->code) - 1);
    row->timestamp = PEER_TIMESTAMP;
    bench_factors(&task, row->factors, NULL);
}

/* Whether the rows written so far are to be made safe now. */
static bool sync_is_due(const peer_load *load, double deadline)
{
    switch (load->durability) {
    case FACPOOL_DURABILITY_BATCH:
        return true;
    case FACPOOL_DURABILITY_GROUP:
        return bench_now() >= deadline;
    default:
        return false;
    }
}

/* How many bytes `rows` more rows are, so that all of them come to row_bytes each. */
static size_t bytes_of(const peer_load *load, size_t rows_before, size_t rows)
{
    if (load->row_bytes == 0.0) {
        return rows * sizeof(raw_row);
    }
    return (size_t)((double)(rows_before + rows) * load->row_bytes) -
           (size_t)((double)rows_before * load->row_bytes);
}

static size_t fill_rows(raw_row *rows, const bench_work *work, size_t first)
{
    size_t n = work->n - first < BUFFER_ROWS ? work->n - first : BUFFER_ROWS;

    for (size_t k = 0; k < n; k++) {
        size_t i = first + k;
        fill_row(&rows[k], work->dates[i / work->n_codes], work->codes[i % work->n_codes]);
    }
    return n;
}

static void load_rows(const peer_load *load)
{
    double row_bytes = load->row_bytes > sizeof(raw_row) ? load->row_bytes : sizeof(raw_row);
    size_t buffer_bytes = (size_t)(row_bytes * BUFFER_ROWS) + sizeof(raw_row);
    raw_row *rows = bench_alloc(buffer_bytes);
    int file = open(load->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    double deadline = bench_now() + PEER_GROUP_SECONDS;

    if (file < 0) {
        bench_die("can't create %s: %s", load->path, strerror(errno));
    }
    memset(rows, 0, buffer_bytes);
    for (size_t i = 0; i < load->work->n;) {
        size_t n = fill_rows(rows, load->work, i);
        write_all(file, rows, bytes_of(load, i, n));
        i += n;
        if (sync_is_due(load, deadline)) {
            sync_file(file);
            deadline = bench_now() + PEER_GROUP_SECONDS;
        }
    }
    sync_file(file);
    close(file);
    free(rows);
}

const peer_store peer_raw = {
    "write(2)",
    "structs in order, of 48 bytes or padded to what our rows take; no index, no checksum; one "
    "thread",
    "", load_rows};
