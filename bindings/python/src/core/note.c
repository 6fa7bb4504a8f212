/* A text that a worker process leaves for the run: a page of memory shared between the run's
 * process, helper and workers, so that the traceback of a worker_init that raised reaches the user.
 * Used by call.c and serve.c. Only the first writer's text is kept. */
#include "core.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct core_note {
    atomic_int state; /* 0: empty, 1: being written, 2: written */
    char text[CORE_MESSAGE_BYTES + 1];
};

static int fail(facpool_error *error, const char *what)
{
    error->code = FACPOOL_E_SYSTEM;
    error->os_errno = errno;
    (void)snprintf(error->message, sizeof error->message,
                   "memory to share with worker processes can't be had (%s: %s): free some "
                   "descriptors or memory",
                   what, strerror(error->os_errno));
    return FACPOOL_E_SYSTEM;
}

static core_note *map(int fd)
{
    void *memory = mmap(NULL, sizeof(core_note), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int core_note_new(core_note **out, int *fd, facpool_error *error)
{
#ifdef __linux__
    int own = memfd_create("facpool-note", MFD_CLOEXEC);
    if (own < 0)
        return fail(error, "memfd_create");
    core_note *note = ftruncate(own, sizeof *note) ? NULL : map(own);
    if (!note) {
        int rc = fail(error, "mmap");
        close(own);
        return rc;
    }
    *out = note;
    *fd = own;
    return 0;
#else
    /* Worker processes are Linux's: the library says so when the run starts. */
    (void)error, (void)map, (void)fail;
    *out = NULL;
    *fd = -1;
    return 0;
#endif
}

int core_note_attach(core_note **out, int fd)
{
    if (lseek(fd, 0, SEEK_END) != (off_t)sizeof(core_note)) {
        errno = EINVAL;
        return -1;
    }
    core_note *note = map(fd);
    if (!note)
        return -1;
    *out = note;
    return 0;
}

void core_note_write(core_note *note, const char *text)
{
    int empty = 0;
    if (!note || !atomic_compare_exchange_strong(&note->state, &empty, 1))
        return;
    size_t length = strnlen(text, CORE_MESSAGE_BYTES);
    memcpy(note->text, text, length);
    note->text[length] = '\0';
    /* Pairs with the acquire in core_note_read. */
    atomic_store_explicit(&note->state, 2, memory_order_release);
}

const char *core_note_read(const core_note *note)
{
    if (!note || atomic_load_explicit(&note->state, memory_order_acquire) != 2)
        return NULL;
    return note->text;
}

void core_note_drop(core_note *note)
{
    if (note)
        (void)munmap(note, sizeof *note); /* can't fail for a whole mapping */
}
