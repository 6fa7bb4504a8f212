/* The mutator of files of blocks: it finds the blocks, changes a field, a part, or which blocks
 * there are, then goes through the file from front to back and seals everything anew. Whatever it
 * can't make sense of it leaves as it is; now and then it leaves out something that it could mend.
 */
#include "mend.h"

#include "codec/checksum.h"
#include "damage.h"

#define MOST_BLOCKS 64

bool mend_usually(mend_file *file)
{
    return random_below(&file->numbers, 32) != 0;
}

bool mend_splice(mend_file *file, size_t at, size_t length, const uint8_t *bytes, size_t n)
{
    return splice_bytes(file->bytes, &file->size, file->most, at, length, bytes, n);
}

/* ------------------------------------------------------------------ finding blocks */

static bool is_block(const mend_file *file, size_t at)
{
    return at + file->rules.at + FP_BLOCK_TEXTS <= file->size &&
           memcmp(file->bytes + at + file->rules.at, file->rules.magic, FP_MAGIC_BYTES) == 0;
}

static size_t find_blocks(const mend_file *file, mend_block *blocks)
{
    size_t n = 0;
    for (size_t at = file->header_end; at < file->size && n < MOST_BLOCKS;
         at += FP_BLOCK_ALIGNMENT) {
        if (!is_block(file, at))
            continue;
        if (n && blocks[n - 1].end > at)
            blocks[n - 1].end = at;
        const uint8_t *header = file->bytes + at + file->rules.at;
        uint64_t bytes = fp_load_u64(header + FP_BLOCK_BYTES);
        bool fits = bytes >= FP_BLOCK_ALIGNMENT && bytes <= file->size - at;
        blocks[n++] = (mend_block){.at = at,
                                   .end = fits ? at + bytes : file->size,
                                   .is_index = header[FP_BLOCK_KIND] == FP_KIND_INDEX};
    }
    return n;
}

mend_parts mend_parts_of(const mend_file *file, const mend_block *block)
{
    const uint8_t *header = mend_header_of(file, block);
    mend_parts parts = {
        .all_ok = header[FP_BLOCK_KIND] == FP_KIND_OK,
        .n_rows = fp_load_u32(header + FP_BLOCK_N_ROWS),
        .directory = file->rules.at + fp_load_u32(header + FP_BLOCK_HEADER_BYTES),
    };
    parts.n_columns = fp_front_n_columns(&file->rules, parts.all_ok);
    parts.dictionary = parts.directory + fp_load_u32(header + FP_BLOCK_DIRECTORY_BYTES);
    parts.columns = parts.dictionary + fp_load_u32(header + FP_BLOCK_DICTIONARY_BYTES);
    return parts;
}

/* ------------------------------------------------------------------ making right */

static void mend_statuses(uint8_t *header, bool all_ok, uint32_t n_rows)
{
    uint32_t failed = n_rows;
    fp_store_u32(header + FP_BLOCK_STATUS_ROWS, 0);
    for (uint32_t status = 1; status < 6; status++) {
        uint8_t *count = header + FP_BLOCK_STATUS_ROWS + 4 * (size_t)status;
        if ((status == FACPOOL_STATUS_OK) != all_ok || fp_load_u32(count) > failed)
            fp_store_u32(count, 0);
        failed -= fp_load_u32(count);
    }
    uint8_t *rest =
        header + FP_BLOCK_STATUS_ROWS + 4 * (all_ok ? FACPOOL_STATUS_OK : FACPOOL_STATUS_FAILED);
    fp_store_u32(rest, fp_load_u32(rest) + failed);
}

/* Counts that have to fit one another, by the number of rows. False: no such block has room. */
static bool mend_counts(mend_file *file, const mend_block *block)
{
    uint8_t *header = mend_header_of(file, block);
    bool all_ok = header[FP_BLOCK_KIND] == FP_KIND_OK;
    uint32_t n_rows = fp_load_u32(header + FP_BLOCK_N_ROWS);
    if (n_rows == 0 || n_rows > FP_BLOCK_ROWS)
        n_rows = random_between(&file->numbers, 1, 2100);
    uint32_t n_pages = fp_front_n_pages(n_rows);
    uint64_t directory = fp_front_directory_bytes(&file->rules, all_ok, n_pages);
    size_t room = block->end - block->at;
    uint64_t header_end = file->rules.at + fp_load_u32(header + FP_BLOCK_HEADER_BYTES);
    if (header_end + directory > room)
        return false;
    fp_store_u32(header + FP_BLOCK_N_ROWS, n_rows);
    fp_store_u32(header + FP_BLOCK_N_PAGES, n_pages);
    fp_store_u32(header + FP_BLOCK_N_COLUMNS, fp_front_n_columns(&file->rules, all_ok));
    fp_store_u32(header + FP_BLOCK_PAGE_ROWS, FP_PAGE_ROWS);
    fp_store_u32(header + FP_BLOCK_DIRECTORY_BYTES, (uint32_t)directory);
    uint64_t rest = room - header_end - directory;
    if (fp_load_u32(header + FP_BLOCK_DICTIONARY_BYTES) > rest)
        fp_store_u32(header + FP_BLOCK_DICTIONARY_BYTES, (uint32_t)rest);
    uint32_t n_codes = fp_load_u32(header + FP_BLOCK_N_CODES);
    if (n_codes == 0 || n_codes > n_rows)
        fp_store_u32(header + FP_BLOCK_N_CODES, n_codes ? n_rows : 1);
    mend_statuses(header, all_ok, n_rows);
    return true;
}

/* Smallest before largest, and what is counted as text ends in NULs. */
static void mend_ranges(uint8_t *header)
{
    for (size_t i = 0; i < 2; i++) {
        uint8_t *least = header + FP_BLOCK_DATE_MIN + 16 * i, *most = least + 8;
        uint64_t a = fp_load_u64(least), b = fp_load_u64(most);
        if ((int64_t)a > (int64_t)b) {
            fp_store_u64(least, b);
            fp_store_u64(most, a);
        }
    }
    uint8_t *first = header + FP_BLOCK_TEXTS;
    uint8_t *last = first + header[FP_BLOCK_CODE_MIN_BYTES] + 1;
    first[header[FP_BLOCK_CODE_MIN_BYTES]] = 0;
    last[header[FP_BLOCK_CODE_MAX_BYTES]] = 0;
}

static void mend_place(mend_file *file, const mend_block *block, uint64_t *sequence)
{
    uint8_t *header = mend_header_of(file, block);
    fp_store_u64(header + FP_BLOCK_OFFSET, block->at);
    fp_store_u64(header + FP_BLOCK_BYTES, block->end - block->at);
    fp_store_u64(header + FP_BLOCK_FILE_ID, file->file_id);
    if (fp_load_u64(header + FP_BLOCK_DURABLE_END) > block->at)
        fp_store_u64(header + FP_BLOCK_DURABLE_END,
                     random_chance(&file->numbers, 50) ? block->at : file->header_end);
    uint64_t own = fp_load_u64(header + FP_BLOCK_SEQUENCE);
    if (own < *sequence || own >= FP_MOST_SEQUENCE)
        fp_store_u64(header + FP_BLOCK_SEQUENCE, *sequence);
    *sequence = fp_load_u64(header + FP_BLOCK_SEQUENCE) + 1;
}

/* The three checksums of a front, the header's own last. */
static void seal(mend_file *file, const mend_block *block)
{
    uint8_t *bytes = file->bytes + block->at, *header = mend_header_of(file, block);
    mend_parts parts = mend_parts_of(file, block);
    fp_store_u64(header + FP_BLOCK_DIRECTORY_CHECKSUM,
                 fp_checksum(bytes + parts.directory, parts.dictionary - parts.directory));
    if (!block->is_index)
        fp_store_u64(header + FP_BLOCK_DICTIONARY_CHECKSUM,
                     fp_checksum(bytes + parts.dictionary, parts.columns - parts.dictionary));
    fp_store_u64(header + FP_BLOCK_CHECKSUM,
                 fp_checksum(header + FP_BLOCK_HEADER_BYTES,
                             parts.directory - file->rules.at - FP_BLOCK_HEADER_BYTES));
}

/* Entries say where the blocks before them are; only as many as there are. */
static void mend_entries(mend_file *file, const mend_block *index, const mend_block *blocks,
                         size_t n_before)
{
    mend_parts parts = mend_parts_of(file, index);
    uint8_t *entries = file->bytes + index->at + parts.directory;
    size_t bytes = parts.dictionary - parts.directory, at = FP_INDEX_ENTRIES, n = 0;
    for (size_t i = 0; i < n_before; i++) {
        if (blocks[i].is_index || at + FP_ENTRY_TEXTS > bytes)
            continue;
        const uint8_t *header = mend_header_of(file, &blocks[i]);
        uint8_t *entry = entries + at;
        fp_store_u64(entry + FP_ENTRY_OFFSET, blocks[i].at);
        fp_store_u64(entry + FP_ENTRY_BYTES, blocks[i].end - blocks[i].at);
        fp_store_u64(entry + FP_ENTRY_SEQUENCE, fp_load_u64(header + FP_BLOCK_SEQUENCE));
        if (mend_usually(file)) {
            fp_store_u32(entry + FP_ENTRY_OPEN_BYTES,
                         (uint32_t)mend_parts_of(file, &blocks[i]).columns);
            fp_store_u32(entry + FP_ENTRY_N_ROWS, fp_load_u32(header + FP_BLOCK_N_ROWS));
            fp_store_u32(entry + FP_ENTRY_N_PAGES, fp_load_u32(header + FP_BLOCK_N_PAGES));
            memcpy(entry + FP_ENTRY_STATUS_ROWS, header + FP_BLOCK_STATUS_ROWS, 24);
            entry[FP_ENTRY_KIND] = header[FP_BLOCK_KIND];
        }
        at += FP_ENTRY_TEXTS + entry[FP_ENTRY_CODE_MIN_BYTES] + entry[FP_ENTRY_CODE_MAX_BYTES] + 2u;
        n++;
    }
    if (at == bytes && mend_usually(file))
        fp_store_u64(entries, n);
}

static bool mend_header_length(mend_file *file, const mend_block *block)
{
    uint8_t *header = mend_header_of(file, block);
    uint32_t bytes = fp_load_u32(header + FP_BLOCK_HEADER_BYTES);
    uint32_t least =
        FP_BLOCK_TEXTS + header[FP_BLOCK_CODE_MIN_BYTES] + header[FP_BLOCK_CODE_MAX_BYTES] + 2u;
    if (bytes < least || bytes > FP_MOST_BLOCK_HEADER_BYTES)
        fp_store_u32(header + FP_BLOCK_HEADER_BYTES, bytes = least);
    return file->rules.at + bytes <= block->end - block->at;
}

static void mend_index(mend_file *file, const mend_block *block, const mend_block *blocks,
                       size_t n_before)
{
    uint8_t *header = mend_header_of(file, block);
    size_t room = block->end - block->at - mend_parts_of(file, block).directory;
    if (room < file->rules.least_tail_bytes + FP_INDEX_ENTRIES)
        return;
    room -= file->rules.least_tail_bytes;
    memset(header + FP_BLOCK_N_ROWS, 0, FP_BLOCK_DIRECTORY_CHECKSUM - FP_BLOCK_N_ROWS);
    uint32_t entries = fp_load_u32(header + FP_BLOCK_DIRECTORY_BYTES);
    if (entries > room || entries < FP_INDEX_ENTRIES)
        fp_store_u32(header + FP_BLOCK_DIRECTORY_BYTES, (uint32_t)room);
    if (random_chance(&file->numbers, 85))
        mend_entries(file, block, blocks, n_before);
    file->format->mend_index_tail(file, block);
    seal(file, block);
}

static void mend_block_at(mend_file *file, const mend_block *blocks, size_t i, uint64_t *sequence)
{
    const mend_block *block = &blocks[i];
    if (!mend_header_length(file, block) || !mend_usually(file))
        return;
    mend_place(file, block, sequence);
    if (block->is_index) {
        mend_index(file, block, blocks, i);
        return;
    }
    if (mend_usually(file) && !mend_counts(file, block))
        return;
    if (mend_usually(file))
        mend_ranges(mend_header_of(file, block));
    if (mend_parts_of(file, block).columns > block->end - block->at)
        return;
    file->format->mend_columns(file, block);
    seal(file, block);
}

static void mend(mend_file *file)
{
    static mend_block blocks[MOST_BLOCKS];
    uint64_t sequence = 0;
    if (!file->format->understand(file))
        return;
    if (mend_usually(file))
        file->format->mend_header(file);
    size_t n = find_blocks(file, blocks);
    for (size_t i = 0; i < n; i++)
        mend_block_at(file, blocks, i, &sequence);
}

/* ------------------------------------------------------------------ changing */

/* Numbers at which something changes: powers of two and their neighbours, small ones, the old one's
 * neighbours. */
static uint64_t odd_number(mend_file *file, uint64_t old)
{
    random_numbers *numbers = &file->numbers;
    uint64_t power = UINT64_C(1) << random_below(numbers, 64);
    switch (random_below(numbers, 8)) {
    case 0:
        return power;
    case 1:
        return power - 1;
    case 2:
        return old + power;
    case 3:
        return old + random_below(numbers, 3) - 1;
    case 4:
        return random_below(numbers, 256);
    case 5:
        return 0 - (uint64_t)random_below(numbers, 256);
    case 6:
        return random_below(numbers, (uint32_t)file->size);
    default:
        return random_bits(numbers);
    }
}

static void change_number(mend_file *file, size_t at, size_t bytes)
{
    uint8_t number[8] = {0};
    if (at + bytes > file->size)
        return;
    memcpy(number, file->bytes + at, bytes);
    fp_store_u64(number, odd_number(file, fp_load_u64(number)));
    memcpy(file->bytes + at, number, bytes);
}

/* A field of the front, or of the directory or the index's entries. */
static void change_field(mend_file *file, const mend_block *block)
{
    static const uint8_t fields[][2] = {
        {FP_BLOCK_KIND, 1},          {FP_BLOCK_FLAGS, 1},           {FP_BLOCK_BYTES, 8},
        {FP_BLOCK_SEQUENCE, 8},      {FP_BLOCK_DURABLE_END, 8},     {FP_BLOCK_N_ROWS, 4},
        {FP_BLOCK_DATE_MIN, 8},      {FP_BLOCK_DATE_MAX, 8},        {FP_BLOCK_TIMESTAMP_MIN, 8},
        {FP_BLOCK_TIMESTAMP_MAX, 8}, {FP_BLOCK_N_CODES, 4},         {FP_BLOCK_DICTIONARY_BYTES, 4},
        {FP_BLOCK_STATUS_ROWS, 4},   {FP_BLOCK_DIRECTORY_BYTES, 4}, {FP_BLOCK_TEXTS, 1},
        {FP_BLOCK_HEADER_BYTES, 4},
    };
    mend_parts parts = mend_parts_of(file, block);
    size_t directory = parts.dictionary - parts.directory;
    if (random_chance(&file->numbers, 40)) {
        const uint8_t *field = fields[random_below(&file->numbers, sizeof fields / sizeof *fields)];
        change_number(file, block->at + file->rules.at + field[0], field[1]);
    } else if (directory < file->size) {
        size_t width = (size_t)4 << random_below(&file->numbers, 2);
        size_t at = random_below(&file->numbers, (uint32_t)(directory / width + 1)) * width;
        change_number(file, block->at + parts.directory + at,
                      random_chance(&file->numbers, 20) ? 1 : width);
    }
}

/* A stretch of a block as it is, anywhere in it. */
static void change_bytes(mend_file *file, const mend_block *block)
{
    size_t at = block->at + random_below(&file->numbers, (uint32_t)(block->end - block->at));
    size_t n = random_between(&file->numbers, 1, 64);
    if (n > block->end - at)
        n = block->end - at;
    if (random_chance(&file->numbers, 50))
        change_number(file, at - at % 8, 8);
    else
        (void)LLVMFuzzerMutate(file->bytes + at, n, n);
}

/* Removed, doubled, moved to the end, or the file ends behind it. */
static void change_order(mend_file *file, const mend_block *block)
{
    size_t n = block->end - block->at;
    uint32_t what = random_below(&file->numbers, 4);
    if (what == 3) {
        file->size = block->end;
        return;
    }
    if (what && file->size + n <= file->most) {
        memcpy(file->bytes + file->size, file->bytes + block->at, n);
        file->size += n;
    }
    if (what < 2)
        mend_splice(file, block->at, n, NULL, 0);
}

static void change_something(mend_file *file)
{
    static mend_block blocks[MOST_BLOCKS];
    size_t n = file->format->understand(file) ? find_blocks(file, blocks) : 0;
    uint32_t dice = random_below(&file->numbers, 100);
    if (n == 0 || dice < 15) {
        file->size = LLVMFuzzerMutate(file->bytes, file->size, file->most);
        return;
    }
    const mend_block *block = &blocks[random_below(&file->numbers, (uint32_t)n)];
    if (dice < 50)
        change_field(file, block);
    else if (dice < 65)
        change_bytes(file, block);
    else if (dice < 92 && mend_parts_of(file, block).columns <= block->end - block->at)
        file->format->change_part(file, block);
    else
        change_order(file, block);
}

size_t mend_mutate(const mend_format *format, uint8_t *bytes, size_t size, size_t most,
                   unsigned seed)
{
    mend_file file = {.bytes = bytes,
                      .size = size,
                      .most = most,
                      .numbers.state = mix_bits(seed),
                      .format = format};
    if (!begin_forging(bytes, &file.size, &file.most, &file.numbers))
        return file.size;
    for (uint32_t times = random_between(&file.numbers, 1, 3); times > 0; times--)
        change_something(&file);
    if (random_chance(&file.numbers, 95))
        mend(&file);
    return with_mark(bytes, file.size);
}
