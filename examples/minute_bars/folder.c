#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The length of "AAPL" for "AAPL.csv", or 0 for what is no CSV file. */
static size_t stem_length(const char *name)
{
    size_t length = strlen(name);

    return length > 4 && name[0] != '.' && strcmp(name + length - 4, ".csv") == 0 ? length - 4 : 0;
}

static int add_name(char ***names, size_t *n, const char *name, size_t length)
{
    char **more = realloc(*names, (*n + 1) * sizeof *more);

    if (!more)
        return -1;
    *names = more;
    more[*n] = strndup(name, length);
    if (!more[*n])
        return -1;
    (*n)++;
    return 0;
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

int folder_list_csv(char ***names, size_t *n, const char *folder)
{
    char **found = NULL;
    size_t count = 0;
    struct dirent *entry;
    DIR *stream = opendir(folder);

    if (!stream)
        return -1;
    for (errno = 0; (entry = readdir(stream)) != NULL; errno = 0) {
        size_t length = stem_length(entry->d_name);

        if (length > 0 && add_name(&found, &count, entry->d_name, length))
            goto fail;
    }
    if (errno != 0)
        goto fail;
    closedir(stream);
    if (count > 0)
        qsort(found, count, sizeof *found, by_text);
    *names = found;
    *n = count;
    return 0;
fail:
    closedir(stream);
    folder_list_free(found, count);
    errno = errno ? errno : ENOMEM;
    return -1;
}

void folder_list_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

char *folder_make_temporary(void)
{
    const char *parent = getenv("TMPDIR");
    char *folder = folder_path(parent && *parent ? parent : "/tmp", "minute_bars.", "XXXXXX");

    if (folder && !mkdtemp(folder)) {
        free(folder);
        return NULL;
    }
    return folder;
}

int folder_remove(const char *folder)
{
    struct dirent *entry;
    DIR *stream = opendir(folder);

    if (!stream)
        return -1;
    while ((entry = readdir(stream)) != NULL) {
        char *path;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        path = folder_path(folder, entry->d_name, "");
        /* a folder can't be unlinked: then it is emptied the same way */
        if (path && unlink(path) != 0)
            folder_remove(path);
        free(path);
    }
    closedir(stream);
    return rmdir(folder);
}

char *folder_path(const char *folder, const char *name, const char *ending)
{
    size_t room = strlen(folder) + strlen(name) + strlen(ending) + 2;
    char *path = malloc(room);

    if (path)
        snprintf(path, room, "%s/%s%s", folder, name, ending);
    return path;
}
