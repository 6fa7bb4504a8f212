/* The disk of simulated_disk.h: files, names and the recording. Called by the tests of crashes and,
 * through the linker, by lib/os. What is not on it goes to the system. */
#include "simulated_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 1024
#define CHUNK_BYTES     ((size_t)1 << 18)

/* What a descriptor of the program leads to. */
#define NOT_OURS   0
#define THE_FOLDER (-1) /* else: the file's number + 1 */

static struct {
    int memory[DISK_FILES_MAX]; /* memfd of each file, kept for later starts */
    unsigned n_files;
    char names[DISK_NAMES_MAX][DISK_NAME_BYTES];
    unsigned n_names;
    int entries[DISK_NAMES_MAX];
    int leads_to[DESCRIPTORS_MAX];
    unsigned n_open;
    disk_recording *recording;
    int64_t now_ns;
    int64_t step_ns;
    uint64_t random;
} disk;

void (*disk_within_sync)(void *user);
void *disk_within_sync_user;
bool disk_lacks_rename_no_replace;

/* A limit of the simulation itself, or of the machine: no test can go on. */
static void expect(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "simulated disk: %s (errno %d)\n", what, errno);
    abort();
}

/* ------------------------------------------------------------------ bytes, images, recordings */

void disk_bytes_resize(disk_bytes *bytes, size_t n)
{
    if (n > bytes->capacity) {
        bytes->capacity = n + n / 2 + 4096;
        bytes->at = realloc(bytes->at, bytes->capacity);
        expect(bytes->at != NULL, "out of memory");
    }
    if (n > bytes->n)
        memset(bytes->at + bytes->n, 0, n - bytes->n);
    bytes->n = n;
}

void disk_image_copy(disk_image *to, const disk_image *from)
{
    to->n_files = from->n_files;
    for (unsigned i = 0; i < from->n_files; i++) {
        to->files[i].n = 0;
        disk_bytes_resize(&to->files[i], from->files[i].n);
        if (from->files[i].n)
            memcpy(to->files[i].at, from->files[i].at, from->files[i].n);
    }
    to->n_names = from->n_names;
    memcpy(to->entries, from->entries, sizeof to->entries);
}

void disk_image_free(disk_image *image)
{
    for (unsigned i = 0; i < DISK_FILES_MAX; i++)
        free(image->files[i].at);
    *image = (disk_image){0};
}

/* Memory for bytes, in chunks that are freed together. */
typedef struct chunk {
    struct chunk *next;
    size_t used;
    size_t capacity;
    uint8_t bytes[];
} chunk;

static uint8_t *keep_bytes(disk_recording *recording, const uint8_t *bytes, size_t n)
{
    chunk *c = recording->chunks;
    if (!c || c->capacity - c->used < n) {
        size_t capacity = n > CHUNK_BYTES ? n : CHUNK_BYTES;
        c = malloc(sizeof *c + capacity);
        expect(c != NULL, "out of memory");
        *c = (chunk){.next = recording->chunks, .capacity = capacity};
        recording->chunks = c;
    }
    uint8_t *kept = c->bytes + c->used;
    memcpy(kept, bytes, n);
    c->used += n;
    return kept;
}

/* The start of a recording has all names that come later, leading nowhere: so they keep their
 * numbers in whatever is made from it. */
static void know_name(disk_image *start, int name)
{
    while (name >= (int)start->n_names)
        start->entries[start->n_names++] = -1;
}

void disk_recording_add(disk_recording *recording, const disk_op *op)
{
    if (recording->n == recording->capacity) {
        recording->capacity = recording->capacity ? recording->capacity * 2 : 64;
        recording->ops = realloc(recording->ops, recording->capacity * sizeof *op);
        expect(recording->ops != NULL, "out of memory");
    }
    know_name(&recording->start, op->name);
    know_name(&recording->start, op->new_name);
    disk_op *added = &recording->ops[recording->n++];
    *added = *op;
    if (op->kind == DISK_WRITE)
        added->bytes = keep_bytes(recording, op->bytes, op->n);
}

void disk_recording_free(disk_recording *recording)
{
    for (chunk *c = recording->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(recording->ops);
    disk_image_free(&recording->start);
    *recording = (disk_recording){0};
}

static void record(disk_op op)
{
    if (disk.recording)
        disk_recording_add(disk.recording, &op);
}

/* ------------------------------------------------------------------ the real calls */

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
ssize_t __real_pwrite(int fd, const void *from, size_t n, off_t offset);
int __real_ftruncate(int fd, off_t size);
int __real_fdatasync(int fd);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __real_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int __real_link(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_stat(const char *path, struct stat *out);
int __real_lstat(const char *path, struct stat *out);
char *__real_realpath(const char *path, char *resolved);
int __real_clock_gettime(clockid_t clock, struct timespec *out);
ssize_t __real_getrandom(void *out, size_t n, unsigned flags);

/* ------------------------------------------------------------------ starting */

static bool make_memory(unsigned file)
{
    int fd = memfd_create("simulated", MFD_CLOEXEC);
    if (fd < 0)
        return false;
    disk.memory[file] = fd;
    return true;
}

/* Opens a file's memory anew: locks belong to what was opened, and must not be shared. */
static int open_memory(unsigned file, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", disk.memory[file]);
    return __real_open(path, flags);
}

bool disk_begin(void)
{
    for (unsigned i = 0; i < DISK_FILES_MAX; i++)
        disk.memory[i] = -1;
    if (!make_memory(0))
        return false;
    int fd = open_memory(0, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    __real_close(fd);
    return true;
}

void disk_end(void)
{
    for (unsigned i = 0; i < DISK_FILES_MAX; i++)
        if (disk.memory[i] >= 0)
            __real_close(disk.memory[i]);
}

static void fill_memory(unsigned file, const disk_bytes *bytes)
{
    expect(disk.memory[file] >= 0 || make_memory(file), "a memfd can't be made");
    int fd = disk.memory[file];
    ssize_t written = bytes->n ? __real_pwrite(fd, bytes->at, bytes->n, 0) : 0;
    expect(written == (ssize_t)bytes->n, "a memfd can't be written");
    expect(__real_ftruncate(fd, (off_t)bytes->n) == 0, "a memfd can't be cut");
}

void disk_load(const disk_image *image)
{
    expect(disk.n_open == 0, "files are open");
    disk.n_files = image->n_files;
    for (unsigned i = 0; i < image->n_names; i++)
        if (image->entries[i] >= 0)
            fill_memory((unsigned)image->entries[i], &image->files[image->entries[i]]);
    disk.n_names = image->n_names;
    memcpy(disk.entries, image->entries, sizeof disk.entries);
}

void disk_save(disk_image *image)
{
    image->n_files = disk.n_files;
    for (unsigned i = 0; i < disk.n_files; i++) {
        struct stat status;
        expect(fstat(disk.memory[i], &status) == 0, "a memfd can't be looked at");
        disk_bytes_resize(&image->files[i], (size_t)status.st_size);
        ssize_t got =
            image->files[i].n ? pread(disk.memory[i], image->files[i].at, image->files[i].n, 0) : 0;
        expect(got == (ssize_t)image->files[i].n, "a memfd can't be read");
    }
    image->n_names = disk.n_names;
    memcpy(image->entries, disk.entries, sizeof image->entries);
}

disk_recording *disk_record(disk_recording *recording)
{
    disk_recording *before = disk.recording;
    disk.recording = recording;
    return before;
}

size_t disk_now(void)
{
    return disk.recording ? disk.recording->n : 0;
}

unsigned disk_open_files(void)
{
    return disk.n_open;
}

/* ------------------------------------------------------------------ names */

static bool is_ours(const char *path)
{
    return strncmp(path, DISK_FOLDER, sizeof DISK_FOLDER - 1) == 0;
}

int disk_name(const char *path)
{
    const char *name = path + sizeof DISK_FOLDER - 1;
    for (unsigned i = 0; i < disk.n_names; i++)
        if (strcmp(disk.names[i], name) == 0)
            return (int)i;
    return -1;
}

const char *disk_name_text(int name)
{
    return disk.names[name];
}

static int add_name(const char *path)
{
    int found = disk_name(path);
    if (found >= 0)
        return found;
    expect(disk.n_names < DISK_NAMES_MAX, "too many names");
    const char *name = path + sizeof DISK_FOLDER - 1;
    expect(strlen(name) < DISK_NAME_BYTES, "a long name");
    strcpy(disk.names[disk.n_names], name);
    disk.entries[disk.n_names] = -1;
    return (int)disk.n_names++;
}

/* The file of a path, or -1 with errno. */
static int file_at(const char *path)
{
    int name = disk_name(path), file = name < 0 ? -1 : disk.entries[name];
    if (file < 0)
        errno = ENOENT;
    return file;
}

/* ------------------------------------------------------------------ open and close */

static int take_descriptor(int fd, int leads_to)
{
    if (fd < 0)
        return fd;
    expect(fd < DESCRIPTORS_MAX, "too many descriptors");
    disk.leads_to[fd] = leads_to;
    disk.n_open++;
    return fd;
}

static int make_file(const char *path)
{
    expect(disk.n_files < DISK_FILES_MAX, "too many files");
    unsigned file = disk.n_files++;
    static const disk_bytes none;
    fill_memory(file, &none);
    int name = add_name(path);
    disk.entries[name] = (int)file;
    record((disk_op){.kind = DISK_MAKE, .file = (int)file, .name = name});
    return (int)file;
}

static int open_file(const char *path, int flags)
{
    if (strcmp(path, DISK_FOLDER) == 0)
        return take_descriptor(__real_open("/dev/null", O_RDONLY | O_CLOEXEC), THE_FOLDER);
    int file = file_at(path);
    bool makes = flags & O_CREAT;
    if (file >= 0 && makes && (flags & O_EXCL)) {
        errno = EEXIST;
        return -1;
    }
    if (file < 0 && makes)
        file = make_file(path);
    if (file < 0)
        return -1;
    int kept = flags & (O_ACCMODE | O_CLOEXEC | O_NONBLOCK);
    return take_descriptor(open_memory((unsigned)file, kept), file + 1);
}

static int leads_to(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS_MAX ? disk.leads_to[fd] : NOT_OURS;
}

int __wrap_close(int fd);
int __wrap_close(int fd)
{
    if (leads_to(fd) != NOT_OURS) {
        disk.leads_to[fd] = NOT_OURS;
        disk.n_open--;
    }
    return __real_close(fd);
}

/* ------------------------------------------------------------------ data */

static ssize_t write_file(int fd, const void *from, size_t n, off_t offset)
{
    ssize_t written = __real_pwrite(fd, from, n, offset);
    if (leads_to(fd) > 0 && written > 0)
        record((disk_op){.kind = DISK_WRITE,
                         .file = leads_to(fd) - 1,
                         .offset = (size_t)offset,
                         .n = (size_t)written,
                         .bytes = from});
    return written;
}

static int truncate_file(int fd, off_t size)
{
    int result = __real_ftruncate(fd, size);
    if (leads_to(fd) > 0 && result == 0)
        record((disk_op){.kind = DISK_TRUNCATE, .file = leads_to(fd) - 1, .offset = (size_t)size});
    return result;
}

static int sync_file(int fd)
{
    size_t began = disk_now();
    void (*within)(void *user) = disk_within_sync;
    disk_within_sync = NULL;
    if (within)
        within(disk_within_sync_user);
    disk_op op = {.kind = DISK_SYNC, .file = leads_to(fd) - 1, .covers = began};
    if (leads_to(fd) == THE_FOLDER)
        op.kind = DISK_SYNC_FOLDER;
    record(op);
    return 0;
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    return leads_to(fd) == NOT_OURS ? __real_fdatasync(fd) : sync_file(fd);
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return leads_to(fd) == NOT_OURS ? __real_fsync(fd) : sync_file(fd);
}

/* ------------------------------------------------------------------ moving names */

static int move_name(const char *from, const char *to, bool replace)
{
    int file = file_at(from);
    if (file < 0)
        return -1;
    int name = disk_name(from), new_name = add_name(to);
    if (!replace && disk.entries[new_name] >= 0) {
        errno = EEXIST;
        return -1;
    }
    disk.entries[name] = -1;
    disk.entries[new_name] = file;
    record((disk_op){.kind = DISK_RENAME, .file = file, .name = name, .new_name = new_name});
    return 0;
}

int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return is_ours(from) ? move_name(from, to, true) : __real_rename(from, to);
}

int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    if (!is_ours(from))
        return __real_renameat2(from_at, from, to_at, to, flags);
    if (disk_lacks_rename_no_replace) {
        errno = EINVAL;
        return -1;
    }
    return move_name(from, to, !(flags & RENAME_NOREPLACE));
}

static int add_link(const char *from, const char *to)
{
    int file = file_at(from);
    if (file < 0)
        return -1;
    int name = add_name(to);
    if (disk.entries[name] >= 0) {
        errno = EEXIST;
        return -1;
    }
    disk.entries[name] = file;
    record((disk_op){.kind = DISK_LINK, .file = file, .name = name});
    return 0;
}

int __wrap_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to)
{
    return is_ours(from) ? add_link(from, to) : __real_link(from, to);
}

static int remove_name(const char *path)
{
    int file = file_at(path);
    if (file < 0)
        return -1;
    int name = disk_name(path);
    disk.entries[name] = -1;
    record((disk_op){.kind = DISK_UNLINK, .file = file, .name = name});
    return 0;
}

int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    return is_ours(path) ? remove_name(path) : __real_unlink(path);
}

/* No path here is a symbolic link. */
char *__wrap_realpath(const char *path, char *resolved);
char *__wrap_realpath(const char *path, char *resolved)
{
    if (!is_ours(path))
        return __real_realpath(path, resolved);
    return file_at(path) < 0 ? NULL : strcpy(resolved, path);
}

/* ------------------------------------------------------------------ names with and without 64 */

#define WRAP_OPEN(name)                                                                            \
    int __wrap_##name(const char *path, int flags, ...);                                           \
    int __wrap_##name(const char *path, int flags, ...)                                            \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;                                  \
        va_end(args);                                                                              \
        return is_ours(path) ? open_file(path, flags) : __real_open(path, flags, mode);            \
    }

#define WRAP_PWRITE(name)                                                                          \
    ssize_t __wrap_##name(int fd, const void *from, size_t n, off_t offset);                       \
    ssize_t __wrap_##name(int fd, const void *from, size_t n, off_t offset)                        \
    {                                                                                              \
        return write_file(fd, from, n, offset);                                                    \
    }

#define WRAP_FTRUNCATE(name)                                                                       \
    int __wrap_##name(int fd, off_t size);                                                         \
    int __wrap_##name(int fd, off_t size)                                                          \
    {                                                                                              \
        return truncate_file(fd, size);                                                            \
    }

#define WRAP_STAT(name, real)                                                                      \
    int __wrap_##name(const char *path, struct stat *out);                                         \
    int __wrap_##name(const char *path, struct stat *out)                                          \
    {                                                                                              \
        if (!is_ours(path))                                                                        \
            return real(path, out);                                                                \
        int file = file_at(path);                                                                  \
        return file < 0 ? -1 : fstat(disk.memory[file], out);                                      \
    }

WRAP_OPEN(open)
WRAP_PWRITE(pwrite)
WRAP_FTRUNCATE(ftruncate)
WRAP_STAT(stat, __real_stat)
WRAP_STAT(lstat, __real_lstat)
#ifdef __GLIBC__ /* whose headers lead to these names where file offsets have 64 bits */
WRAP_OPEN(open64)
WRAP_PWRITE(pwrite64)
WRAP_FTRUNCATE(ftruncate64)
WRAP_STAT(stat64, __real_stat)
WRAP_STAT(lstat64, __real_lstat)
#endif

/* ------------------------------------------------------------------ clock and random numbers */

#define BEGINNING_NS ((int64_t)1700000000 * 1000000000)

void disk_set_clock(int64_t step_ns)
{
    disk.step_ns = step_ns;
}

void disk_turn_clock(int64_t by_ns)
{
    disk.now_ns += by_ns;
}

void disk_set_seed(uint64_t seed)
{
    disk.random = seed;
    disk.now_ns = BEGINNING_NS;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    if (disk.now_ns == 0)
        return __real_clock_gettime(clock, out);
    disk.now_ns += disk.step_ns;
    out->tv_sec = (time_t)(disk.now_ns / 1000000000);
    out->tv_nsec = (long)(disk.now_ns % 1000000000);
    return 0;
}

static uint8_t next_random_byte(void)
{
    disk.random = disk.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint8_t)(disk.random >> 56);
}

ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags)
{
    if (disk.now_ns == 0)
        return __real_getrandom(out, n, flags);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = next_random_byte();
    return (ssize_t)n;
}
