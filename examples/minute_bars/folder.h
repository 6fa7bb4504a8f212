/* Folders for the minute bar example: listing the CSV files of one, making a temporary one and
 * removing it with what is in it. */
#ifndef FOLDER_H
#define FOLDER_H

#include <stddef.h>

/* The names of the files that end in ".csv", sorted, without the ending. Returns 0; or -1 with
 * errno set, and the outputs untouched. */
int folder_list_csv(char ***names, size_t *n, const char *folder);
void folder_list_free(char **names, size_t n);

/* A new folder under $TMPDIR or /tmp. Returns its name, to be freed, or NULL with errno set. */
char *folder_make_temporary(void);

/* Removes a folder, its files and its folders' files. Returns 0, or -1 with errno set. */
int folder_remove(const char *folder);

/* "folder/name" and an ending, to be freed; NULL when out of memory. */
char *folder_path(const char *folder, const char *name, const char *ending);

#endif
