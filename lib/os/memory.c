/* Large memory straight from the system. Called for results and queues, where huge pages and a
 * first touch by the worker that fills them decide the speed. Never goes through malloc. */
#include "os/os.h"

#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
/* From here on the memory is aligned for huge pages: below, rounding would waste too much. */
#define HUGE_FROM_BYTES ((size_t)4 << 20)

static size_t round_to_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return bytes > SIZE_MAX - page ? 0 : (bytes + page - 1) / page * page;
}

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Maps a huge page more than asked for, and gives back what lies before and behind the aligned
 * part. */
static void *map_aligned(size_t bytes)
{
    char *memory = map(bytes + HUGE_PAGE_BYTES);
    if (!memory)
        return NULL;
    size_t before = (HUGE_PAGE_BYTES - (uintptr_t)memory % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    size_t behind = HUGE_PAGE_BYTES - before;
    /* What can't be given back stays mapped and untouched, which costs address space only. */
    if (before)
        (void)munmap(memory, before);
    if (behind)
        (void)munmap(memory + before + bytes, behind);
    return memory + before;
}

void *fp_pages_alloc(size_t bytes)
{
    size_t rounded = round_to_pages(bytes ? bytes : 1);
    if (rounded == 0)
        return NULL;
    if (rounded < HUGE_FROM_BYTES || rounded > SIZE_MAX - HUGE_PAGE_BYTES)
        return map(rounded);
    void *memory = map_aligned(rounded);
    if (!memory)
        return map(rounded);
#ifdef MADV_HUGEPAGE
    /* A wish: where it is not granted the pages are of normal size. */
    (void)madvise(memory, rounded, MADV_HUGEPAGE);
#endif
    return memory;
}

void fp_pages_free(void *memory, size_t bytes)
{
    if (memory)
        (void)munmap(memory, round_to_pages(bytes ? bytes : 1));
}
